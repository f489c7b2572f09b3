// SPDX-License-Identifier: Apache-2.0
// Rows of the failover protocol, and the names that are made of them.
#ifndef KT_EPOCH_H
#define KT_EPOCH_H

#include <jansson.h>

#include "lib/formats.h"

#define KT_MEMBERS_MAX    16   // members apart from the active
#define KT_EPOCH_ROWS_MAX 4096 // failovers and membership changes of a cluster's life

// One row of the table `epochs`: who is active, who counts beside
// it, and how many must have a change.
struct kt_epoch_row {
    struct kt_incarnation incarnation;
    uint64_t epoch;
    uint32_t sequence;           // in the epoch, from 1
    char active[KT_MEMBER_TEXT]; // member id
    uint32_t count;              // N
    char members[KT_MEMBERS_MAX][KT_MEMBER_TEXT];
    uint32_t w;
    uint64_t start_lsn; // where its log left the timeline of the row before (kt_timeline_left)
    uint32_t timeline;
    int ends;       // written after an override or a `retired`: ends the rows before it (rule 15)
    char note[256]; // what was overridden or retired, for people; "" = none
};

// The rows a log holds, oldest first.
struct kt_epoch_rows {
    struct kt_epoch_row *rows;
    size_t count;
};
// KT_ERR_INVALID when `row` is not behind the newest. All zero is the empty list.
int kt_epoch_rows_add(struct kt_epoch_rows *rows, const struct kt_epoch_row *row) KT_MUST_CHECK;
void kt_epoch_rows_free(struct kt_epoch_rows *rows);
// NULL when there are none.
const struct kt_epoch_row *kt_epoch_rows_newest(const struct kt_epoch_rows *rows);

// Order of rows: incarnation, epoch, sequence. <0, 0, >0. Equal numbers of incarnations with other
// bits compare as different (never 0), and so do equal epochs of two actives.
int kt_epoch_row_compare(const struct kt_epoch_row *a, const struct kt_epoch_row *b);
int kt_epoch_row_has_member(const struct kt_epoch_row *row, const char *member);
// 1 when `row` (may be NULL) is of exactly the epoch that was promised, incarnation
// included, and its active is the very member that promised: not another on the
// same node, nor one of another epoch.
int kt_epoch_row_is_own(const struct kt_epoch_row *row, const struct kt_promise *promise);

// JSON as the agents speak it: {"incarnation": "1.<16 hex>", "epoch", "sequence", "active",
// "members": [...], "w", "start_lsn": "0/3000060", "timeline", "ends", "note"}.
// All but "ends" (false) and "note" ("") must be there; W is 1 to N, or both are 0.
json_t *kt_epoch_row_to_json(const struct kt_epoch_row *row); // NULL = no memory
int kt_epoch_row_from_json(const json_t *object, struct kt_epoch_row *row,
                           struct kt_error *error) KT_MUST_CHECK;
json_t *kt_epoch_rows_to_json(const struct kt_epoch_rows *rows);
int kt_epoch_rows_from_json(const json_t *array, struct kt_epoch_rows *rows,
                            struct kt_error *error) KT_MUST_CHECK;

// PostgreSQL's text of a position, "16/B374D848".
#define KT_LSN_TEXT 20
void kt_lsn_format(uint64_t lsn, char out[KT_LSN_TEXT]);
int kt_lsn_parse(const char *text, uint64_t *lsn) KT_MUST_CHECK;
// Where a log left `timeline`, by the text of its current timeline's history file (PostgreSQL,
// "timeline TAB switch point TAB reason" lines, oldest first). KT_ERR_NOT_FOUND when `timeline` is
// not in it (then the log is still on it, or never was), KT_ERR_INVALID.
int kt_timeline_left(const char *history, uint32_t timeline, uint64_t *lsn) KT_MUST_CHECK;

// --- names (rule 2) ---
// A member id is "<node>.<8 hex>"; its node's name.
int kt_member_check(const char *member) KT_MUST_CHECK; // 0, or KT_ERR_INVALID
void kt_member_node(const char *member, char out[KT_NODE_NAME_MAX + 1]);
int kt_member_new(const char *node, char out[KT_MEMBER_TEXT]) KT_MUST_CHECK; // random 8 hex
// "<member>_e<e>_<node of X>": the application name under which a member streams in an epoch.
// PostgreSQL cuts names off silently beyond 63 bytes: KT_ERR_TOO_LARGE instead.
#define KT_REPLICATION_NAME_TEXT 64
int kt_replication_name(const char *member, uint64_t epoch, const char *active_node,
                        char out[KT_REPLICATION_NAME_TEXT]) KT_MUST_CHECK;
// The row's synchronous_standby_names: "" when N is 0, else ANY w
// ("name", ...), in the row's order.
#define KT_STANDBY_NAMES_TEXT 1280
int kt_standby_names(const struct kt_epoch_row *row, char out[KT_STANDBY_NAMES_TEXT]) KT_MUST_CHECK;
// The member's physical replication slot: the member id with '-' and '.' as '_'.
void kt_slot_name(const char *member, char out[KT_MEMBER_TEXT]);

#endif
