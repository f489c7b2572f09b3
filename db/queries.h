// SPDX-License-Identifier: Apache-2.0
// Reads of the agent for ktadmin and for the shared status: blocking, bounded in time.
#ifndef DB_QUERIES_H
#define DB_QUERIES_H

#include <jansson.h>

#include "db/cluster.h"

struct db_session; // one connection, opened again when it broke

int db_session_new(const struct db_target *target, struct db_session **session) KT_MUST_CHECK;
void db_session_free(struct db_session *session);
// For a statement, from the next connection on; 2.5 s otherwise.
void db_session_set_timeout(struct db_session *session, int statement_ms);
// The connection's descriptor, -1 when there is none. Readable while idle: it has probably ended.
int db_session_fd(const struct db_session *session);
// Connects when needed (bounded: 2 s). KT_ERR_DATABASE_UNAVAILABLE.
int db_session_check(struct db_session *session, struct kt_error *error) KT_MUST_CHECK;

// What the watch has to see, in one statement, as an object: "in_recovery", "restored",
// "log_index", "prepared" (groups of the
// writer's), "strangers" (prepared by other roles; "strangers_owner" is one of these, "(removed)" when it is
// gone), "spared" (prepared by a superuser under a name as the writer's), "clock_jumped", "timeline", "lsn" (flushed; on a standby received), "replayed",
// "lag_us", "rows" (as kt_epoch_rows_from_json takes them), "receiver" (null, or {"streaming",
// "silent_us"}), and "streaming", an
// array of {"member", "name", "streaming", "flush_lsn", "replay_lsn", "lag_bytes", "lag_us",
// "replied"} of those whose role is the member of their name. "replied" is a time on the member's
// clock: only its changes say something.
int db_query_look(struct db_session *session, json_t **look, struct kt_error *error) KT_MUST_CHECK;
// Changes rarely: "nodes" (as kt_peers_from_json takes them), "expired", an array of those members whose
// certificate has, and "operators", an array of {"name",
// "cert_sha256"} of the certificates that are listed now; "receipt_keys", an array of {"id",
// "retired"}, the newest first; "cluster_keys", an array of {"number", "fingerprint", "before",
// "sha256" (of the statement), "since"}, the newest first; "restored", SHA-256 of the statement of the
// present incarnation, or null; "settings", an object of those that must be equal on all nodes, name
// to value.
int db_query_listed(struct db_session *session, json_t **listed,
                    struct kt_error *error) KT_MUST_CHECK;

// The statements that name the cluster's keys, as lib/key_line.h has them: {"version", "statements"}.
int db_query_key_statements(struct db_session *session, json_t **object,
                            struct kt_error *error) KT_MUST_CHECK;

// Certificates that end within 30 days, and have no more than a sixth (operators: a third) of their
// life left, of those who have no other that is good for longer: {"clients": {"count", "first" (a
// name), "not_after"}, "operators": the same}, null where there is none.
int db_query_endings(struct db_session *session, json_t **endings,
                     struct kt_error *error) KT_MUST_CHECK;

// Each gives a JSON array of objects (times as ISO text, ids as UUID text, fingerprints as hex).
// Filters may be NULL. At most 10,000 rows: KT_ERR_TOO_LARGE beyond it.
int db_query_organisations(struct db_session *session, json_t **rows,
                           struct kt_error *error) KT_MUST_CHECK;
int db_query_clients(struct db_session *session, const char *organisation, const char *state,
                     json_t **rows, struct kt_error *error) KT_MUST_CHECK;
// Of auth codes that are good now, or (`with_ended`) of all: never what they are compared with.
int db_query_auth_codes(struct db_session *session, const char *organisation, int with_ended,
                        json_t **rows, struct kt_error *error) KT_MUST_CHECK;
// The row of the clock, and how many deposits wait to be purged, as an object.
int db_query_clock(struct db_session *session, json_t **clock,
                   struct kt_error *error) KT_MUST_CHECK;
int db_query_grants(struct db_session *session, const char *organisation, const char *client,
                    json_t **rows, struct kt_error *error) KT_MUST_CHECK;

#endif
