// SPDX-License-Identifier: Apache-2.0
// Whose certificates end soon.
#include "db/queries_inner.h"

// A certificate of a short life is not near its end for all of it: an operator is warned in the last
// third of it; a client, which renews by itself in the last third, in the last sixth.
#define SOON(parts)                                                                                \
    " HAVING max(k.not_after) <= now() + interval '30 days'"                                       \
    " AND max(k.not_after) <= now() + (max(k.not_after) - max(k.created_at)) / " parts

int db_query_endings(struct db_session *session, json_t **endings, struct kt_error *error)
{
    // clang-format off
    static const char SQL[] =
        "WITH lasts AS MATERIALIZED ("
        "  SELECT k.client_id, max(k.not_after) AS not_after FROM client_certificates k"
        "  WHERE k.revoked_at IS NULL AND k.not_after > now() GROUP BY k.client_id" SOON("6") "),"
        " clients_ending AS MATERIALIZED ("
        "  SELECT l.client_id, l.not_after FROM lasts l JOIN clients c USING (client_id)"
        "  JOIN organisations o USING (organisation_id)"
        "  WHERE c.state = 'active' AND o.disabled_at IS NULL),"
        " operators_ending AS MATERIALIZED ("
        "  SELECT k.name, max(k.not_after) AS not_after FROM node_certificates k"
        "  WHERE k.kind = 'operator' AND k.revoked_at IS NULL AND k.not_after > now()"
        "  GROUP BY k.name" SOON("3") ")"
        " SELECT json_build_object("
        " 'clients', (SELECT json_build_object('count', count(*), 'first', (SELECT c.name"
        "    FROM clients_ending f JOIN clients c USING (client_id)"
        "    ORDER BY f.not_after, c.name LIMIT 1),"
        "   'not_after', " DB_ISO("min(e.not_after)") ") FROM clients_ending e),"
        " 'operators', (SELECT json_build_object('count', count(*), 'first', (SELECT f.name"
        "    FROM operators_ending f ORDER BY f.not_after, f.name LIMIT 1),"
        "   'not_after', " DB_ISO("min(e.not_after)") ") FROM operators_ending e))";
    // clang-format on

    return db_object_of(session, SQL, endings, error);
}
