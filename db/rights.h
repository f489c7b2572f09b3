// SPDX-License-Identifier: Apache-2.0
// Key groups, recovery keys, and what grants amount to: reads of the agent for ktadmin.
#ifndef DB_RIGHTS_H
#define DB_RIGHTS_H

#include "db/queries.h"
#include "lib/change.h"

// Arrays of objects, of one organisation or (NULL) of all.
int db_query_key_groups(struct db_session *session, const char *organisation, json_t **rows,
                        struct kt_error *error) KT_MUST_CHECK;
int db_query_recovery_keys(struct db_session *session, const char *organisation, json_t **rows,
                           struct kt_error *error) KT_MUST_CHECK;

// What a grant would change (members as of KT_CHANGE_GRANT) or, with grant_id, taking one back: an
// array with a row for each client and right that it is about, with the numbers of handles that are
// covered "now" and "then". Takes time: it looks at every deposit of the organisation. The codes
// that the change itself would get; KT_ERR_DATABASE_TIMEOUT.
int db_rights_preview(struct db_session *session, const struct kt_change *change, json_t **rows,
                      struct kt_error *error) KT_MUST_CHECK;
// What a client may do, and by which grant, on everything or (`handle` not NULL) on that handle: an
// object with "client", "name", "organisation", "state", "disabled" and "grants".
// KT_ERR_CLIENT_NOT_FOUND; as above.
int db_rights_effective(struct db_session *session, const struct kt_uuid *client,
                        const char *handle, json_t **object, struct kt_error *error) KT_MUST_CHECK;

#endif
