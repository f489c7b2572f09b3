// SPDX-License-Identifier: Apache-2.0
// Reads of the agent for ktadmin and for the shared status: blocking, bounded in time.
#ifndef DB_QUERIES_H
#define DB_QUERIES_H

#include <jansson.h>

#include "db/cluster.h"

struct db_session; // one connection, opened again when it broke

int db_session_new(const struct db_target *target, struct db_session **session) KT_MUST_CHECK;
void db_session_free(struct db_session *session);
// The connection's descriptor, -1 when there is none. Readable while idle: it has probably ended.
int db_session_fd(const struct db_session *session);
// Connects when needed (bounded: 2 s). KT_ERR_DATABASE_UNAVAILABLE.
int db_session_check(struct db_session *session, struct kt_error *error) KT_MUST_CHECK;

// Who is active: the newest row of epochs, and whether this database is in recovery.
struct db_epoch_state {
    struct kt_incarnation incarnation;
    uint64_t epoch;
    char active[KT_MEMBER_TEXT];
    uint32_t members; // in the row
    uint32_t w;
    int in_recovery;
    int restored;      // cluster.state = 'restored': reads only
    uint64_t deposits; // highest log index
};
int db_query_epoch(struct db_session *session, struct db_epoch_state *state,
                   struct kt_error *error) KT_MUST_CHECK;

// Each gives a JSON array of objects (times as ISO text, ids as UUID text, fingerprints as hex).
// Filters may be NULL. At most 10,000 rows: KT_ERR_TOO_LARGE beyond it.
int db_query_organisations(struct db_session *session, json_t **rows,
                           struct kt_error *error) KT_MUST_CHECK;
int db_query_clients(struct db_session *session, const char *organisation, const char *state,
                     json_t **rows, struct kt_error *error) KT_MUST_CHECK;
int db_query_grants(struct db_session *session, const char *organisation, const char *client,
                    json_t **rows, struct kt_error *error) KT_MUST_CHECK;

#endif
