// SPDX-License-Identifier: Apache-2.0
// Failover: the proof, and the list of members of the row to be.
#include <string.h>

#include "ktadmin/failover.h"

// "kts-01" or "kts-01.1a2b3c4d" as a member id: of the newest row first, then of the known nodes.
static int resolve(const struct kta_failover *failover, const struct kt_epoch_row *old,
                   const char *name, char member[KT_MEMBER_TEXT], struct kt_error *error)
{
    char node[KT_NODE_NAME_MAX + 1];
    int at;

    if (kt_member_check(name) == 0) {
        snprintf(member, KT_MEMBER_TEXT, "%s", name);
        return 0;
    }
    for (uint32_t i = 0; i <= old->count; i++) {
        const char *known = i < old->count ? old->members[i] : old->active;
        if (kt_member_check(known) != 0)
            continue;
        kt_member_node(known, node);
        if (strcmp(node, name) == 0) {
            memcpy(member, known, KT_MEMBER_TEXT);
            return 0;
        }
    }
    at = kta_nodes_find(failover->nodes, name);
    if (at < 0 || failover->nodes->list[at].peer.member[0] == '\0')
        return kt_error_set(error, KT_ERR_USAGE, "ktadmin status lists the nodes",
                            "--members: no node '%.63s'", name);
    memcpy(member, failover->nodes->list[at].peer.member, KT_MEMBER_TEXT);
    return 0;
}

// --members "a,b".
static int given_list(const struct kta_failover *failover, const struct kt_epoch_row *old,
                      struct kt_epoch_row *row, struct kt_error *error)
{
    row->count = 0;
    for (const char *at = failover->members; *at;) {
        char name[KT_MEMBER_TEXT];
        size_t n = strcspn(at, ",");
        int rc;
        if (n == 0 || n >= sizeof(name) || row->count == KT_MEMBERS_MAX)
            return kt_error_set(error, KT_ERR_USAGE, "give names with commas between them",
                                "--members: '%.80s' is not a list of nodes", failover->members);
        memcpy(name, at, n);
        name[n] = '\0';
        rc = resolve(failover, old, name, row->members[row->count], error);
        if (rc)
            return rc;
        row->count++;
        at += n + (at[n] == ',');
    }
    return 0;
}

static int is_sealed(const struct kta_failover *failover, const char *member)
{
    for (size_t i = 0; i < failover->report_count; i++)
        if (strcmp(failover->reports[i].member, member) == 0)
            return 1;
    return 0;
}

// The newcomer in the place of the first member that did not answer.
static int put_newcomer(const struct kta_failover *failover, struct kt_epoch_row *row)
{
    for (uint32_t i = 0; i < row->count; i++) {
        if (is_sealed(failover, row->members[i]))
            continue;
        snprintf(row->members[i], sizeof(row->members[i]), "%s", failover->newcomer);
        return 1;
    }
    return 0;
}

// The row that is to follow; *old is the newest one that counts, as far as it is known.
static int make_row(struct kta_failover *failover, const struct kt_attempt *attempt,
                    struct kt_error *error)
{
    struct kt_epoch_row row = {0}, with;
    int rc = kt_rule_default_list(attempt, &row, error);

    if (rc == 0 && failover->members) {
        struct kt_epoch_row old = row; // names that it may mean
        rc = given_list(failover, &old, &row, error);
    }
    if (rc)
        return rc;
    if (failover->members || failover->w > 0) {
        uint64_t w = failover->w > 0 ? failover->w : row.w > 0 ? row.w : 1;
        row.w = (uint32_t)(row.count == 0 ? 0 : w > row.count && failover->w == 0 ? row.count : w);
        if (row.w > row.count)
            return kt_error_set(error, KT_ERR_USAGE, NULL,
                                "--w %llu is more than the list has members: %u",
                                (unsigned long long)w, (unsigned)row.count);
    }
    row.incarnation = failover->incarnation;
    row.epoch = failover->epoch;
    row.sequence = 1;
    memcpy(row.active, attempt->target, sizeof(row.active));
    with = row;
    if (failover->newcomer && put_newcomer(failover, &with) &&
        kt_rule_list_allowed(attempt, &with, NULL) == 0)
        row = with;
    failover->row = row;
    return 0;
}

// What the rules do not allow goes on only when the loss was accepted, and stays recorded.
static int accept(struct kta_failover *failover, int rc, struct kt_error *why, int *is_accepted,
                  struct kt_error *error)
{
    if (rc != KT_ERR_NOT_PROVEN || !failover->accept_loss)
        return rc ? kt_error_set(error, rc, why->hint, "%s", why->message) : 0;
    *is_accepted = 1;
    kta_append(failover->proved, KTA_PROVED_MAX, "%snot proven, loss accepted: %s",
               failover->proved[0] ? "; " : "", why->message);
    return 0;
}

static void say_list(struct kta_failover *failover)
{
    const struct kt_epoch_row *row = &failover->row;
    char *out = failover->proved;

    kta_append(out, KTA_PROVED_MAX, "%snew list: ", out[0] ? "; " : "");
    for (uint32_t i = 0; i < row->count; i++)
        kta_append(out, KTA_PROVED_MAX, "%s%s", i ? ", " : "", row->members[i]);
    if (row->count == 0)
        kta_append(out, KTA_PROVED_MAX, "none (standalone: one copy)");
    else
        kta_append(out, KTA_PROVED_MAX, ", %u of them for each write", (unsigned)row->w);
}

static void note_loss(struct kta_failover *failover)
{
    char when[KT_TIME_TEXT];

    kt_time_format(kt_time_now(), when);
    failover->row.ends = 1;
    snprintf(failover->row.note, sizeof(failover->row.note), "accept-loss by %.60s at %s",
             failover->by ? failover->by : "an operator", when);
}

int kta_step_prove(struct kta_failover *failover, struct kt_error *error)
{
    struct kt_attempt attempt = kta_failover_attempt(failover);
    struct kt_proof proof = {{0}};
    struct kt_error why = {0};
    int is_accepted = 0, rc = kt_rule_prove(&attempt, &proof, &why);

    if (rc == 0)
        kta_append(failover->proved, KTA_PROVED_MAX, "%s", proof.text);
    for (char *at = failover->proved; *at; at++)
        if (*at == '\n')
            *at = at[1] ? ';' : '\0';
    rc = accept(failover, rc, &why, &is_accepted, error);
    if (rc == 0)
        rc = make_row(failover, &attempt, error);
    if (rc)
        return rc;
    rc = accept(failover, kt_rule_list_allowed(&attempt, &failover->row, &why), &why, &is_accepted,
                error);
    if (rc)
        return rc;
    if (is_accepted)
        note_loss(failover);
    say_list(failover);
    return 0;
}
