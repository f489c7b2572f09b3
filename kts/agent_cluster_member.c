// SPDX-License-Identifier: Apache-2.0
// Changing the member list by one name or W by one (rule 12):
// adding, W, and the steps of each change.
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "kts/agent_member.h"
#include "lib/json.h"
#include "lib/log.h"

#define INSERT_MS    10000
#define PROBE_MS     5000
#define QUORUM_MS    500
#define ESTABLISH_MS 5000
#define STREAMS_MAX  32

void kts_row_add_member(struct kt_epoch_row *row, const char *member)
{
    if (row->count < KT_MEMBERS_MAX)
        snprintf(row->members[row->count++], sizeof(row->members[0]), "%s", member);
}

void kts_row_drop_member(struct kt_epoch_row *row, const char *member)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < row->count; i++) {
        if (strcmp(row->members[i], member) != 0 && kept++ != i)
            memcpy(row->members[kept - 1], row->members[i], sizeof(row->members[0]));
    }
    row->count = kept;
}

int kts_member_streams(struct kts_local *local, const char *member)
{
    struct db_streaming list[STREAMS_MAX];
    char name[KT_REPLICATION_NAME_TEXT];
    size_t count = 0;

    if (kt_replication_name(member, local->promise.epoch, local->promise.active, name) ||
        db_admin_streaming(local->admin, list, STREAMS_MAX, &count, NULL))
        return 0;
    for (size_t i = 0; i < count; i++) {
        if (list[i].is_streaming && strcmp(list[i].member, member) == 0 &&
            strcmp(list[i].application_name, name) == 0)
            return 1;
    }
    return 0;
}

// --- one change ---

static int is_established(struct kts_local *local, int *is, struct kt_error *error)
{
    struct kt_epoch_rows rows = {.count = 0};
    const struct kt_epoch_row *newest;
    int rc = db_admin_rows(local->admin, &rows, error);

    newest = rc ? NULL : kt_epoch_rows_newest(&rows);
    *is = kt_epoch_row_is_own(newest, &local->promise);
    kt_epoch_rows_free(&rows);
    return rc;
}

int kts_member_begin(struct kts_local *local, struct kts_member_base *base, struct kt_error *error)
{
    struct db_position position;
    int rc = 0;

    if (strcmp(local->promise.active, local->node) != 0)
        return kt_error_set(error, KT_ERR_PASSIVE, "give the command for the active",
                            "the members are changed on the active, '%s'", local->promise.active);
    rc = kts_local_connect(local, error);
    if (rc == 0)
        rc = db_admin_position(local->admin, &position, error);
    if (rc == 0 && position.in_recovery)
        rc = kt_error_set(error, KT_ERR_PASSIVE, "see ktadmin status",
                          "this node's database is a standby");
    if (rc == 0)
        rc = db_admin_end_sessions(local->admin, KTS_ADMIN_MS, error);
    if (rc == 0)
        rc = is_established(local, &base->is_established, error);
    if (rc)
        return rc;
    if (base->is_established)
        return kts_member_settle(local, &base->row, error);
    rc = kts_pending_row_load(local->paths, &base->row, error);
    return rc == KT_ERR_NOT_FOUND
               ? kt_error_set(error, KT_ERR_NO_QUORUM, "see ktadmin status",
                              "this node is not the established active of epoch %llu",
                              (unsigned long long)local->promise.epoch)
               : rc;
}

static int set_names(struct kts_local *local, const struct kt_epoch_row *row, int read_only,
                     struct kt_error *error)
{
    struct db_replication wanted;
    int rc = kts_replication_active(local, row, read_only, &wanted, error);

    return rc ? rc : kts_local_apply(local, &wanted, error);
}

static int setting_first(struct kts_local *local, const struct kt_epoch_row *now,
                         const struct kt_epoch_row *next, struct kt_error *error)
{
    int rc = set_names(local, next, 0, error);

    if (rc == 0)
        rc = db_admin_probe(local->admin, next, PROBE_MS, error);
    // Not acknowledged: without a row the old list is in force.
    if (rc && set_names(local, now, 0, NULL))
        kt_log(KT_LOG_WARNING, "a change of members is undone later");
    return rc ? rc : db_admin_row_insert(local->admin, next, INSERT_MS, error);
}

static int row_first(struct kts_local *local, const struct kt_epoch_row *next,
                     struct kt_error *error)
{
    int rc = db_admin_row_insert(local->admin, next, INSERT_MS, error);

    if (rc == 0)
        rc = set_names(local, next, 0, error);
    return rc ? rc : db_admin_probe(local->admin, next, PROBE_MS, error);
}

// The change is made; what is left is tried again by the agent itself.
static void repeat(struct kts_local *local, struct kt_epoch_row *row)
{
    struct kt_epoch_row again = *row;
    struct kt_error why = {0};

    if (kts_member_repeat(local, &again, &why))
        kt_log_error(&why, "the list of members is written once more later");
    else
        *row = again;
}

static int change_unestablished(struct kts_local *local, const struct kt_epoch_row *next,
                                struct kt_epoch_row *row, struct kt_error *error)
{
    int rc = kts_pending_row_save(local->paths, next, error);

    return rc ? rc : kts_establish(local, next, ESTABLISH_MS, row, error);
}

int kts_member_change(struct kts_local *local, const struct kts_member_base *base,
                      const struct kt_epoch_row *next, struct kt_epoch_row *row,
                      struct kt_error *error)
{
    enum kt_change_order order = KT_ORDER_NOTHING;
    int rc;

    if (!base->is_established)
        return change_unestablished(local, next, row, error);
    *row = *next;
    row->sequence = base->row.sequence + 1;
    rc = kt_rule_change_order(&base->row, row, &order, error);
    if (rc)
        return rc;
    if (order == KT_ORDER_NOTHING) {
        *row = base->row;
        return 0;
    }
    if (order == KT_ORDER_SETTING_FIRST)
        return setting_first(local, &base->row, row, error);
    rc = row_first(local, row, error);
    if (rc == 0)
        repeat(local, row);
    return rc;
}

// --- adding ---

// Streams under this epoch's name, and is past its floor as it says itself.
static int check_newcomer(struct kts_local *local, const char *member, struct kt_error *error)
{
    const struct kt_peer *peer = kt_peers_by_member(&local->peers, member);
    json_t *state = NULL;
    int rc;

    if (!peer || peer->removed)
        return kt_error_set(error, KT_ERR_NOT_MEMBER, "join it: ktadmin token new",
                            "no node '%s' is known here", member);
    if (!kts_member_streams(local, member))
        return kt_error_set(error, KT_ERR_NOT_PROVEN, "see ktadmin status on that node",
                            "'%s' does not stream from this node in epoch %llu", member,
                            (unsigned long long)local->promise.epoch);
    rc = kts_remote_ask(local, peer, "node.state", NULL, KTS_ASK_MS, &state, error);
    if (rc == 0 && kt_json_boolean(state, "below_floor", 1))
        rc = kt_error_set(error, KT_ERR_NOT_PROVEN, "wait until it has caught up",
                          "'%s' is below its floor", member);
    json_decref(state);
    return rc;
}

int kts_job_member_add(struct kts_job *job, const json_t *args, json_t **result,
                       struct kt_error *error)
{
    struct kts_member_base base;
    struct kt_epoch_row next, row;
    const char *member = NULL;
    struct kts_local local;
    int rc = kts_local_open(job, &local, error);

    if (rc == 0)
        rc = kts_args_member(args, "member", 1, &member, error);
    if (rc == 0)
        rc = kts_member_begin(&local, &base, error);
    if (rc)
        goto out;
    next = row = base.row;
    if (!kt_epoch_row_has_member(&next, member)) {
        if (!base.is_established)
            rc = kt_error_set(error, KT_ERR_NO_QUORUM, "see ktadmin status",
                              "'%s' is not in the list of this epoch, which is not established",
                              member);
        else if (next.count == KT_MEMBERS_MAX)
            rc = kt_error_set(error, KT_ERR_TOO_LARGE, NULL, "there are %d members already",
                              KT_MEMBERS_MAX);
        if (rc == 0)
            rc = check_newcomer(&local, member, error);
        // Asked before the row is written: without W of the old list it would wait.
        if (rc == 0 && base.row.count > 0)
            rc = db_admin_wait_streaming(local.admin, &base.row, QUORUM_MS, error);
        kts_row_add_member(&next, member);
        next.w = next.w ? next.w : 1;
        next.ends = 0;
        next.note[0] = '\0';
    }
    if (rc == 0 && (!base.is_established || next.count != base.row.count))
        rc = kts_member_change(&local, &base, &next, &row, error);
    if (rc == 0)
        *result = json_pack("{s:o*}", "row", kt_epoch_row_to_json(&row));
out:
    kts_local_close(&local);
    return rc;
}

// --- W ---

int kts_job_member_w(struct kts_job *job, const json_t *args, json_t **result,
                     struct kt_error *error)
{
    struct kts_member_base base;
    struct kt_epoch_row next, row;
    struct kts_local local;
    int64_t w = 0;
    int rc = kts_local_open(job, &local, error);

    if (rc == 0)
        rc = kt_json_integer(args, "w", 1, KT_MEMBERS_MAX, 1, &w, error);
    if (rc == 0)
        rc = kts_member_begin(&local, &base, error);
    if (rc == 0 && !base.is_established)
        rc = kt_error_set(error, KT_ERR_NO_QUORUM, "see ktadmin status",
                          "this node is not established yet");
    if (rc == 0 && base.row.count == 0)
        rc = kt_error_set(error, KT_ERR_INVALID, "ktadmin token new, and ktadmin join there",
                          "this node is alone: join another first");
    if (rc == 0 && w > base.row.count)
        rc = kt_error_set(error, KT_ERR_INVALID, "add members first",
                          "W can be 1 to %u, the number of members", base.row.count);
    row = base.row;
    // One by one, each with its own row.
    while (rc == 0 && row.w != (uint32_t)w) {
        next = base.row = row;
        next.w = row.w < (uint32_t)w ? row.w + 1 : row.w - 1;
        next.ends = 0;
        next.note[0] = '\0';
        rc = kts_member_change(&local, &base, &next, &row, error);
    }
    if (rc == 0)
        *result = json_pack("{s:o*}", "row", kt_epoch_row_to_json(&row));
    kts_local_close(&local);
    return rc;
}

// --- the newcomer's side ---

static int has_joined(struct kts_local *local)
{
    struct kt_epoch_rows rows = {.count = 0};
    const struct kt_epoch_row *newest;
    int has = 0;

    if (kts_local_connect(local, NULL) == 0 && db_admin_rows(local->admin, &rows, NULL) == 0) {
        newest = kt_epoch_rows_newest(&rows);
        has = newest && kt_epoch_row_has_member(newest, local->promise.member);
    }
    kt_epoch_rows_free(&rows);
    return has;
}

// The active is not ready for it yet: asked again in a second, and nothing to log.
static int is_not_yet(int code)
{
    return code == KT_ERR_BUSY || code == KT_ERR_NO_QUORUM || code == KT_ERR_NOT_PROVEN ||
           code == KT_ERR_PASSIVE;
}

int kts_job_member_ask(struct kts_job *job, const json_t *args, json_t **result,
                       struct kt_error *error)
{
    const struct kt_peer *active;
    json_t *answer = NULL;
    struct kts_local local;
    int rc = kts_local_open(job, &local, error);

    (void)args;
    if (rc == 0 && !has_joined(&local)) {
        active = kt_peers_by_node(&local.peers, local.promise.active);
        rc = active ? kts_remote_ask(&local, active, "member.add",
                                     json_pack("{s:s}", "member", local.promise.member),
                                     2 * INSERT_MS, &answer, error)
                    : kt_error_set(error, KT_ERR_NOT_MEMBER, NULL, "no active '%s' is known here",
                                   local.promise.active);
    }
    if (is_not_yet(rc)) {
        *result = json_pack("{s:s}", "waits", kt_err_text(rc));
        rc = 0;
    } else if (rc == 0) {
        if (unlink(local.paths->joining) == 0)
            kt_log(KT_LOG_NOTICE, "this node is a member now");
        *result = json_pack("{s:s}", "member", local.promise.member);
    }
    json_decref(answer);
    kts_local_close(&local);
    return rc;
}
