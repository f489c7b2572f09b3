// SPDX-License-Identifier: Apache-2.0
// With which log a new incarnation begins, and which statement was the last one before it.
#include <string.h>

#include <libpq-fe.h>

#include "db/load_inner.h"
#include "db/replication_inner.h"

int db_read_line(PGconn *conn, struct db_line *line, struct kt_error *error)
{
    static const char SQL[] =
        "SELECT d.n, encode(CASE WHEN d.n = 0 THEN sha256('') ELSE log_node(0, d.n) END, 'hex'),"
        " (SELECT convert_from(i.statement, 'UTF8') FROM incarnations i"
        "  ORDER BY i.number DESC LIMIT 1)"
        " FROM (SELECT coalesce(max(log_index), 0) AS n FROM deposits) d";
    struct db_line fresh = {.statement = NULL};
    PGresult *result = NULL;
    int rc = db_pg_query(conn, DB_BACKUP_LONG_MS, SQL, 0, NULL, &result, error);

    if (rc)
        return rc;
    fresh.log_index = db_number_column(result, 0);
    if (PQgetisnull(result, 0, 1) ||
        kt_hex_decode(PQgetvalue(result, 0, 1), fresh.root, KT_SHA256_LEN) != 0)
        rc = kt_error_set(error, KT_ERR_INVALID, "use another backup",
                          "the log of deposits is not whole: a row or a tile is missing");
    if (rc == 0 && !PQgetisnull(result, 0, 2)) {
        fresh.statement = strdup(PQgetvalue(result, 0, 2));
        if (!fresh.statement)
            rc = kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    }
    PQclear(result);
    if (rc == 0)
        *line = fresh;
    return rc;
}
