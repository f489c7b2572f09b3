// SPDX-License-Identifier: Apache-2.0
// Changes of the member list (rules 12 and 15): what the files that make them share.
#ifndef KTS_AGENT_MEMBER_H
#define KTS_AGENT_MEMBER_H

#include "kts/agent_cluster.h"

// The list that a change begins from.
struct kts_member_base {
    struct kt_epoch_row row;
    int is_established; // 0: `row` is the one that waits to be written
};
// Promoted, the writer's sessions ended, what a killed change left finished.
int kts_member_begin(struct kts_local *local, struct kts_member_base *base,
                     struct kt_error *error) KT_MUST_CHECK;
// From base->row to `next` in the order of rule 12; on an unestablished active `next` becomes the
// row that is written first. On success *row is in force.
int kts_member_change(struct kts_local *local, const struct kts_member_base *base,
                      const struct kt_epoch_row *next, struct kt_epoch_row *row,
                      struct kt_error *error) KT_MUST_CHECK;
// 1 when `member` streams under this epoch's name.
int kts_member_streams(struct kts_local *local, const char *member);
void kts_row_add_member(struct kt_epoch_row *row, const char *member);
void kts_row_drop_member(struct kt_epoch_row *row, const char *member);

#endif
