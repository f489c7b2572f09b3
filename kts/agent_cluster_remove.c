// SPDX-License-Identifier: Apache-2.0
// Taking a node out of the list (rules 12 and 15): by acknowledgement where the rest suffices, by a
// `retired` of the passive itself, or by an override that is recorded for ever.
#include <stdio.h>
#include <string.h>

#include "kts/agent_member.h"
#include "lib/json.h"
#include "lib/log.h"

#define STREAMS_MAX 32
#define RETIRE_MS   2000

struct removal {
    const char *member;
    int destroyed;  // it is gone for good: the override of rule 15
    int standalone; // the active may go on alone
    const char *cluster_id;
};

static int take_args(const json_t *args, struct removal *removal, struct kt_error *error)
{
    int rc = kts_args_member(args, "member", 1, &removal->member, error);

    if (rc == 0)
        rc = kt_json_string(args, "cluster_id", 0, KT_UUID_TEXT - 1, &removal->cluster_id, error);
    removal->destroyed = kt_json_boolean(args, "destroyed", 0);
    removal->standalone = kt_json_boolean(args, "standalone", 0);
    return rc;
}

// An override wants the cluster's id, typed.
static int check_override(struct kts_local *local, const struct removal *removal,
                          struct kt_error *error)
{
    char id[KT_UUID_TEXT];

    if (!removal->destroyed)
        return kt_error_set(error, KT_ERR_NOT_PROVEN,
                            "if it is gone for good: ktadmin remove --destroyed, with --standalone "
                            "or a newcomer that streams",
                            "without '%s' too few members are left to acknowledge",
                            removal->member);
    kt_uuid_format(&local->job->start->info->cluster_id, id);
    if (removal->cluster_id && strcmp(removal->cluster_id, id) == 0)
        return 0;
    return kt_error_set(error, KT_ERR_NOT_PROVEN, "ktadmin asks for it",
                        "an override needs the id of this cluster");
}

static void note_override(struct kts_local *local, const char *what, const char *member,
                          struct kt_epoch_row *next)
{
    char when[KT_TIME_TEXT];

    kt_time_format(kt_time_now(), when);
    next->ends = 1;
    snprintf(next->note, sizeof(next->note), "%s %s by %.100s at %s", what, member,
             local->job->actor, when);
}

// Those who stream under this epoch's name and are not in the list yet take the place of what is
// gone, as far as it needs some.
static void add_newcomers(struct kts_local *local, const char *removed, struct kt_epoch_row *next)
{
    struct db_streaming list[STREAMS_MAX];
    size_t count = 0;

    if (db_admin_streaming(local->admin, list, STREAMS_MAX, &count, NULL))
        return;
    for (size_t i = 0; i < count; i++) {
        const struct kt_peer *peer = kt_peers_by_member(&local->peers, list[i].member);
        json_t *state = NULL;
        if (!peer || peer->removed || strcmp(list[i].member, removed) == 0 ||
            kt_epoch_row_has_member(next, list[i].member) ||
            !kts_member_streams(local, list[i].member))
            continue;
        if (kts_remote_ask(local, peer, "node.state", NULL, KTS_ASK_MS, &state, NULL) == 0 &&
            !kt_json_boolean(state, "below_floor", 1))
            kts_row_add_member(next, list[i].member);
        json_decref(state);
    }
}

static int ask_to_retire(struct kts_local *local, const char *member, int timeout_ms,
                         struct kt_error *error)
{
    const struct kt_peer *peer = kt_peers_by_member(&local->peers, member);
    json_t *args =
        json_pack("{s:I, s:s}", "epoch", (json_int_t)local->promise.epoch, "by", local->node);
    json_t *answer = NULL;
    int rc;

    kts_json_set_incarnation(args, "incarnation", &local->promise.incarnation);
    if (!peer) {
        json_decref(args);
        return kt_error_set(error, KT_ERR_NOT_MEMBER, NULL, "no node '%s' is known here", member);
    }
    rc = kts_remote_ask(local, peer, "node.retire", args, timeout_ms, &answer, error);
    json_decref(answer);
    return rc;
}

// The last passive goes, and nobody takes its place.
static int make_alone(struct kts_local *local, const struct removal *removal,
                      struct kt_epoch_row *next, struct kt_error *error)
{
    int rc;

    if (!removal->standalone)
        return kt_error_set(error, KT_ERR_NOT_PROVEN,
                            "add another node first, or give --standalone: then what is "
                            "acknowledged is on one disk",
                            "without '%s' this node is alone", removal->member);
    next->w = 0;
    if (removal->destroyed) {
        rc = check_override(local, removal, error);
        note_override(local, "destroyed, standalone:", removal->member, next);
        return rc;
    }
    // It can be reached: it promises never to vote or start again, which proves all that is needed.
    rc = ask_to_retire(local, removal->member, KTS_ASK_MS, error);
    note_override(local, "retired, standalone:", removal->member, next);
    return rc;
}

static int plan(struct kts_local *local, const struct kts_member_base *base,
                const struct removal *removal, struct kt_epoch_row *next, struct kt_error *error)
{
    int rc = 0;

    *next = base->row;
    next->ends = 0;
    next->note[0] = '\0';
    kts_row_drop_member(next, removal->member);
    if (next->count >= next->w && next->w > 0)
        return 0; // the rest acknowledges it
    if (removal->destroyed && !removal->standalone)
        add_newcomers(local, removal->member, next);
    if (next->count == 0)
        return make_alone(local, removal, next, error);
    rc = check_override(local, removal, error);
    if (next->w > next->count)
        next->w = next->count;
    note_override(local, "destroyed", removal->member, next);
    return rc;
}

// Role and slot go, the certificate is refused from now on. What fails here is tried again by the
// next removal of the same node.
static void forget_node(struct kts_local *local, const struct removal *removal, int is_retired)
{
    struct kt_error why = {0};

    if (!removal->destroyed && !is_retired &&
        ask_to_retire(local, removal->member, RETIRE_MS, &why))
        kt_log_error(&why, "'%s' was not told that it is removed", removal->member);
    if (db_admin_node_remove(local->admin, removal->member, &why))
        kt_log_error(&why, "the role of '%s' was not removed", removal->member);
}

int kts_job_member_remove(struct kts_job *job, const json_t *args, json_t **result,
                          struct kt_error *error)
{
    struct removal removal = {.member = NULL};
    struct kts_member_base base;
    struct kt_epoch_row next, row;
    struct kts_local local;
    int is_retired = 0, rc = kts_local_open(job, &local, error);

    if (rc == 0)
        rc = take_args(args, &removal, error);
    if (rc == 0)
        rc = kts_member_begin(&local, &base, error);
    if (rc == 0 && strcmp(removal.member, local.promise.member) == 0)
        rc = kt_error_set(error, KT_ERR_INVALID, "make another node the active first",
                          "the active cannot be removed");
    if (rc)
        goto out;
    row = base.row;
    if (kt_epoch_row_has_member(&base.row, removal.member)) {
        rc = plan(&local, &base, &removal, &next, error);
        is_retired = rc == 0 && next.ends && !removal.destroyed;
        if (rc == 0)
            rc = kts_member_change(&local, &base, &next, &row, error);
    } else if (!kt_peers_by_member(&local.peers, removal.member)) {
        rc = kt_error_set(error, KT_ERR_NOT_MEMBER, "see ktadmin status",
                          "no node '%s' is known here", removal.member);
    }
    if (rc == 0) {
        forget_node(&local, &removal, is_retired);
        *result = json_pack("{s:o*}", "row", kt_epoch_row_to_json(&row));
    }
out:
    kts_local_close(&local);
    return rc;
}
