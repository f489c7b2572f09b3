// SPDX-License-Identifier: Apache-2.0
// One group through its steps: check, audit, write in two phases, answer.
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kts/writer_inner.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/release.h"

struct group {
    struct kts_queued **queued; // NULL once answered or put back
    struct db_member *members;
    size_t count;
};

static void group_free(struct group *group)
{
    for (size_t i = 0; i < group->count; i++)
        db_member_free(&group->members[i]);
    free(group->members);
    free(group->queued);
}

// The head of the queue: one change that must be alone, or as many as may share a group.
static int take_group(struct kts_writer *writer, size_t max, struct group *group)
{
    memset(group, 0, sizeof(*group));
    // NOLINTNEXTLINE(bugprone-sizeof-expression): pointers are meant
    group->queued = calloc(max, sizeof(*group->queued));
    group->members = calloc(max, sizeof(*group->members));
    if (group->queued == NULL || group->members == NULL) {
        group_free(group);
        return KT_ERR_NO_MEMORY;
    }
    while (group->count < max && kts_writer_next(writer)) {
        int groupable = db_change_is_groupable(kts_writer_next(writer)->change.kind);

        if (!groupable && group->count > 0)
            break;
        group->queued[group->count] = kts_writer_pop(writer);
        group->members[group->count].change = &group->queued[group->count]->change;
        group->count++;
        if (!groupable)
            break;
    }
    return 0;
}

static void set_uuid(json_t *record, const char *name, const struct kt_uuid *uuid)
{
    char text[KT_UUID_TEXT];

    if (kt_uuid_is_nil(uuid))
        return;
    kt_uuid_format(uuid, text);
    json_object_set_new(record, name, json_string(text));
}

static void set_text(json_t *record, const char *name, const char *text)
{
    if (text && *text)
        json_object_set_new(record, name, json_string(text));
}

// Of releases and votes: what the client said for it, as it said it.
static void set_release(json_t *record, const struct db_member *member)
{
    const struct kt_change *change = member->change;

    set_uuid(record, "retrieval", &change->retrieval_id);
    set_uuid(record, "release_request", &member->release_request);
    if (change->kind == KT_CHANGE_VOTE)
        json_object_set_new(record, "approve", json_boolean(change->approve));
    set_text(record, change->kind == KT_CHANGE_VOTE ? "comment" : "justification",
             change->justification);
    if (kt_release_policy_is_set(&change->policy))
        json_object_set_new(record, "policy", json_true());
}

static void set_lock(json_t *record, const struct kt_change *change)
{
    char until[KT_TIME_TEXT];

    set_text(record, "mode", change->lock_mode);
    if (change->lock_until_us != 0) {
        kt_time_format(change->lock_until_us, until);
        set_text(record, "until", until);
    }
    if (change->hold != 0)
        json_object_set_new(record, "hold", json_boolean(change->hold == 1));
    if (change->bypass)
        json_object_set_new(record, "bypass", json_true());
}

// Who, what, when, from where, with which result: never a body.
static char *record_text(const struct db_member *member, const char *result, int code)
{
    const struct kt_change *change = member->change;
    json_t *record = json_object();
    char hex[KT_SHA256_TEXT], *text;

    set_text(record, "event", kt_change_event(change->kind));
    set_text(record, "result", result);
    set_text(record, "request", change->request_id);
    set_text(record, "peer", change->peer);
    set_text(record, "operator", change->actor);
    set_text(record, "organisation", member->organisation);
    set_uuid(record, "client", &member->client_id);
    if (change->kind == KT_CHANGE_DEPOSIT || change->kind == KT_CHANGE_DELETE ||
        change->kind == KT_CHANGE_RENEW || change->kind == KT_CHANGE_OPERATOR_ADD ||
        change->kind == KT_CHANGE_LOCK || change->kind == KT_CHANGE_UNDELETE ||
        change->kind == KT_CHANGE_PURGE || change->kind == KT_CHANGE_RETRIEVE ||
        change->kind == KT_CHANGE_VOTE) {
        kt_hex_encode(change->certificate_sha256, KT_SHA256_LEN, hex);
        set_text(record, "certificate", hex);
    }
    set_text(record, change->kind == KT_CHANGE_GRANT ? "prefix" : "handle", change->handle);
    set_uuid(record, "deposit", &change->deposit_id);
    if (member->version)
        json_object_set_new(record, "version", json_integer(member->version));
    if (member->log_index)
        json_object_set_new(record, "index", json_integer((json_int_t)member->log_index));
    set_text(record, "code", change->code_id);
    set_text(record, "rights", change->rights);
    set_text(record, "object", change->object);
    set_uuid(record, "grant", &change->grant_id);
    set_uuid(record, "key_group", &member->key_group);
    if (change->kind == KT_CHANGE_KEY_GROUP_ADD)
        set_text(record, "name", change->label);
    if (change->kind == KT_CHANGE_RECOVERY_ADD || change->kind == KT_CHANGE_RECOVERY_RETIRE)
        set_text(record, "openpgp", change->fingerprint);
    if (change->undo)
        json_object_set_new(record, "undo", json_true());
    if (change->kind == KT_CHANGE_LOCK)
        set_lock(record, change);
    if (change->kind == KT_CHANGE_ORG_SET) {
        set_text(record, "lock_default", change->lock_default);
        if (change->purge_delay_s >= 0)
            json_object_set_new(record, "purge_delay_s", json_integer(change->purge_delay_s));
    }
    if (change->kind == KT_CHANGE_REGISTER || change->kind == KT_CHANGE_OPERATOR_ADD ||
        change->kind == KT_CHANGE_OPERATOR_REVOKE)
        set_text(record, "name", change->name);
    set_release(record, member);
    if (member->outcome.repeated)
        json_object_set_new(record, "repeated", json_true());
    if (code != 0)
        set_text(record, "reason", kt_err_info(code)->name);
    kts_writer_record_about(record, change);
    text = kt_json_text(record);
    json_decref(record);
    return text;
}

static int is_audited(const struct group *group, size_t i)
{
    return group->queued[i] && !group->members[i].wait &&
           group->members[i].change->kind != KT_CHANGE_BARRIER;
}

// Waits until the audit process has said of `count` records, the first with the id `first`, that
// they are on disk. Late answers to records of a group that was given up are passed over.
static int wait_for_audit(struct kts_writer *writer, uint64_t first, size_t count)
{
    int64_t until = kt_monotonic_now() + (int64_t)writer->timeout_ms * 1000;
    int verdict = 0;

    while (count > 0) {
        struct pollfd p = {.fd = kts_link_fd(writer->audit), .events = POLLIN};
        struct kts_message message;
        int r;

        while (count > 0 && (r = kts_link_next(writer->audit, &message)) != 0) {
            uint32_t code = 0;

            if (r < 0 || kt_buf_get_u32(&message.payload, &code) != 0)
                return KT_ERR_PROTOCOL;
            if (message.id < first)
                continue;
            if (code != 0)
                verdict = KT_ERR_AUDIT_UNAVAILABLE;
            count--;
        }
        if (count == 0)
            break;
        if (kts_link_flush(writer->audit) == KT_ERR_AGAIN)
            p.events |= POLLOUT;
        if (kt_monotonic_now() > until)
            return KT_ERR_TIMEOUT;
        if (poll(&p, 1, 100) > 0 && (p.revents & ~POLLOUT) && kts_link_receive(writer->audit) != 0)
            return KT_ERR_NETWORK;
    }
    return verdict;
}

// How many records a member has: a tick one for each deposit that it erases.
static size_t record_count(const struct db_member *member)
{
    return member->change->kind == KT_CHANGE_TICK ? member->due_count : 1;
}

static int send_records(struct kts_writer *writer, const struct db_member *member,
                        const char *result, int code, size_t *sent)
{
    // a request may have been made, but nothing is released
    int own = member->held ? KT_ERR_VOTES_REQUIRED : member->outcome.code, r = 0;

    for (size_t i = 0; i < record_count(member) && r == 0; i++) {
        const char *word = own != 0 ? "denied" : result;
        char *text = member->change->kind == KT_CHANGE_TICK
                         ? kts_writer_purge_record(member, i, word, own != 0 ? own : code)
                         : record_text(member, word, own != 0 ? own : code);

        if (text == NULL)
            return KT_ERR_NO_MEMORY;
        r = kts_link_send(writer->audit, KTS_MSG_AUDIT, ++writer->next_call, text, strlen(text));
        free(text);
        (*sent)++;
    }
    return r;
}

// Has a record of every member on disk before anything is written or refused.
static int audit_group(struct kts_writer *writer, const struct group *group, const char *result,
                       int code)
{
    uint64_t first = writer->next_call + 1;
    size_t sent = 0;
    int r = 0;

    for (size_t i = 0; i < group->count && r == 0; i++) {
        const struct db_member *member = &group->members[i];

        if (!is_audited(group, i) || (code != 0 && !member->writes) || record_count(member) == 0)
            continue;
        if (writer->audit == NULL)
            return KT_ERR_AUDIT_UNAVAILABLE;
        r = send_records(writer, member, result, code, &sent);
    }
    if (r == 0 && sent > 0)
        r = wait_for_audit(writer, first, sent);
    if (r == KT_ERR_NETWORK || r == KT_ERR_PROTOCOL) {
        // the audit process is gone: the master brings the link to the next one
        kts_link_free(writer->audit);
        writer->audit = NULL;
    }
    return r == 0 || r == KT_ERR_NO_MEMORY ? r : KT_ERR_AUDIT_UNAVAILABLE;
}

// Answers all that are left in the group; `code` (if not 0) is for those that were not refused or
// answered from their row before.
static void answer_group(struct kts_writer *writer, struct group *group, int code,
                         const struct kt_error *error)
{
    for (size_t i = 0; i < group->count; i++) {
        struct kt_outcome *outcome = &group->members[i].outcome;

        if (group->queued[i] == NULL)
            continue;
        if (code != 0 && outcome->code == 0 && !outcome->repeated) {
            outcome->code = code;
            snprintf(outcome->message, sizeof(outcome->message), "%.255s",
                     error && code == KT_ERR_UNSAFE_SETTINGS ? error->message : "");
        }
        if (outcome->code != 0)
            memset(&outcome->receipt, 0, sizeof(outcome->receipt));
        kts_writer_tick_done(writer, &group->members[i]);
        kts_writer_answer(writer, group->queued[i], outcome);
        group->queued[i] = NULL;
    }
}

// Puts back, in their order, those that must come in a later group (or all, to be tried singly).
static void put_back(struct kts_writer *writer, struct group *group, int all)
{
    for (size_t i = group->count; i > 0; i--) {
        if (group->queued[i - 1] && (all || group->members[i - 1].wait)) {
            kts_writer_push_front(writer, group->queued[i - 1]);
            group->queued[i - 1] = NULL;
        }
    }
}

static void publish(struct kts_writer *writer)
{
    struct db_writer_state state;

    db_writer_state(writer->db, &state);
    atomic_store(&writer->start->status->log_index, state.log_index);
    atomic_store(&writer->start->status->last_commit_us, kt_time_now());
}

// What the steps so far have said does not count: the group comes to nothing.
static void clear_outcomes(struct group *group)
{
    for (size_t i = 0; i < group->count; i++) {
        kt_outcome_free(&group->members[i].outcome);
        memset(&group->members[i].outcome, 0, sizeof(group->members[i].outcome));
    }
}

// The steps up to the write. 0: all went well, everything is answered.
static int run_group(struct kts_writer *writer, struct group *group, struct kt_error *error)
{
    int r;

    if ((r = db_group_check(writer->db, group->members, group->count, error)) != 0) {
        clear_outcomes(group);
        return r;
    }
    put_back(writer, group, 0);
    if ((r = db_group_plan(writer->db, group->members, group->count)) != 0)
        return r;
    if ((r = audit_group(writer, group, "allowed", 0)) != 0) {
        db_group_forget(writer->db, group->members, group->count);
        clear_outcomes(group); // without its record nothing is answered, not even a refusal
        return r;
    }
    return db_group_write(writer->db, group->members, group->count, error);
}

// How many are left that write, or that ask for a barrier.
static size_t count_left(const struct group *group, int barriers)
{
    size_t n = 0;

    for (size_t i = 0; i < group->count; i++) {
        if (group->queued[i] == NULL)
            continue;
        n += (size_t)group->members[i].writes;
        n += barriers && group->members[i].change->kind == KT_CHANGE_BARRIER;
    }
    return n;
}

// A group that failed as a whole, nothing written: its members alone, one after the other.
static int retry_singly(struct kts_writer *writer, struct group *group)
{
    size_t left = 0;
    int r = 0;

    for (size_t i = 0; i < group->count; i++)
        left += group->queued[i] != NULL;
    put_back(writer, group, 1);
    for (; left > 0 && r == 0 && kts_writer_next(writer); left--) {
        int group_max = writer->group_max;

        writer->group_max = 1;
        r = kts_writer_group(writer);
        writer->group_max = group_max;
    }
    return r;
}

// Nothing of the group was written, and the database goes on.
static int group_failed(struct kts_writer *writer, struct group *group, int code,
                        const struct kt_error *error)
{
    if (group->count > 1) {
        kt_log_error(error, "a group of %zu changes failed, trying them singly", group->count);
        return retry_singly(writer, group);
    }
    kt_log_error(error, "a change was not written");
    if (count_left(group, 0) > 0 && audit_group(writer, group, "failed", code) != 0)
        kt_log(KT_LOG_WARNING, "the failure could not be audited");
    answer_group(writer, group, code, error);
    return 0;
}

// Codes behind which the connection to the database cannot be used any more, and the permission's
// end that was seen while members were tried singly.
static int gives_up(int code)
{
    return code == KT_ERR_IN_DOUBT || code == KT_ERR_DATABASE_UNAVAILABLE ||
           code == KT_ERR_NO_QUORUM || code == KT_ERR_AGAIN;
}

int kts_writer_group(struct kts_writer *writer)
{
    struct group group;
    struct kt_error error = {0};
    int r;

    if (!kts_writer_is_permitted(writer))
        return KT_ERR_AGAIN;
    if (!kts_writer_has_quorum(writer)) { // refused before anything can come into doubt
        kts_writer_refuse_all(writer, KT_ERR_NO_QUORUM);
        return 0;
    }
    r = take_group(writer, (size_t)writer->group_max, &group);
    if (r != 0)
        return KT_ERR_DATABASE_UNAVAILABLE; // no memory: a fresh process is the way out
    r = run_group(writer, &group, &error);
    if (r == 0) {
        if (count_left(&group, 1) > 0)
            publish(writer);
        answer_group(writer, &group, 0, NULL);
    } else if (r == KT_ERR_IN_DOUBT) {
        atomic_fetch_add(&writer->start->status->gave_in_doubt, 1);
        kt_log_error(&error, "a group of %zu changes is in doubt", count_left(&group, 0));
        answer_group(writer, &group, r, &error);
    } else if (gives_up(r) || r == KT_ERR_AUDIT_UNAVAILABLE) {
        answer_group(writer, &group, r, &error);
    } else {
        r = group_failed(writer, &group, r, &error);
    }
    group_free(&group);
    return gives_up(r) ? r : 0;
}
