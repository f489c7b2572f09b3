// SPDX-License-Identifier: Apache-2.0
// The release policy of a deposit in the statements of the change "deposit".
#ifndef DB_POLICY_H
#define DB_POLICY_H

#include "db/write.h"

// The layout is that of the SQL.
// clang-format off

// Client ids, 16 bytes each, one behind the other, as uuid[].
#define DB_TRUSTEES(bytes)                                                                         \
    "ARRAY(SELECT encode(substring(" bytes " FROM 16 * i + 1 FOR 16), 'hex')::uuid"                \
    " FROM generate_series(0, octet_length(" bytes ") / 16 - 1) i)"

// Eight columns of the check: the policy p of the deposit d that has this id (not before, not after,
// retrievals, justification, votes, lifetime of requests, trustees), and how many of the trustees that
// are named are active clients of the organisation.
#define DB_POLICY_COLUMNS(trustees)                                                                \
    "(extract(epoch FROM p.not_before) * 1000000)::bigint,"                                        \
    " (extract(epoch FROM p.not_after) * 1000000)::bigint, p.max_retrievals, p.justification,"     \
    " p.votes, extract(epoch FROM p.request_lifetime)::bigint, array_to_string(p.trustees, ''),"   \
    " CASE WHEN octet_length(" trustees ") > 0 THEN (SELECT count(*) FROM clients tc"              \
    "  WHERE tc.organisation_id = c.organisation_id AND tc.state = 'active'"                       \
    "  AND tc.client_id = ANY (" DB_TRUSTEES(trustees) ")) ELSE 0 END"
#define DB_POLICY_JOIN                                                                             \
    " LEFT JOIN release_policies p ON p.organisation_id = c.organisation_id"                       \
    "  AND p.deposit_id = d.deposit_id"

// clang-format on

void db_policy_trustees(const struct kt_change *change, struct db_params *params);
// 1 when the policy in the row (its columns from `first` on) is the one that is asked for.
int db_policy_is_same(const struct kt_change *change, const PGresult *result, int first);
// Refuses the member when its policy is wrong.
int db_policy_check(struct db_member *member, const PGresult *result, int first);
// Eight parameters: there is one, not before, not after, retrievals, justification, votes, trustees,
// lifetime of requests.
void db_policy_params(const struct kt_change *change, struct db_params *params);

#endif
