// SPDX-License-Identifier: Apache-2.0
// The verbs by which ktadmin rotates the cluster's OpenPGP key, step by step: made on the active,
// handed to the others, listed with the statement that names it, and in use on every node, where the
// older ones are erased. Each can be asked again, so that a killed run is finished by the next.
#include "kts/agent_cluster_key.h"

#include <stdlib.h>
#include <string.h>

#include "kts/agent_cluster.h"
#include "kts/agent_join.h"
#include "kts/agent_listed.h"
#include "kts/agent_view.h"
#include "lib/cluster_key.h"
#include "lib/json.h"
#include "lib/key_line.h"
#include "lib/log.h"

#define BRING_AGAIN_US 5000000 // between attempts to hand it to a node that was away

// --- what is known ---

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text ? text : "";
}

// The newest that is listed; NULL: the first one counts still, or the list was not read.
static const json_t *newest_row(const struct kts_agent *agent)
{
    return json_array_get(agent->view->cluster_keys, 0);
}

static const char *newest_key(const struct kts_agent *agent)
{
    return text_of(newest_row(agent), "fingerprint");
}

json_t *kts_cluster_key_state(const struct kts_agent *agent)
{
    const char *key = agent->start->info->openpgp_fingerprint, *newest = newest_key(agent),
               *since = text_of(newest_row(agent), "since");
    struct kt_cluster_key_next next = {.statement = NULL};
    int has_next = kt_cluster_key_next_load(agent->start->paths, &next, NULL) == 0;
    json_t *state = json_pack("{s:s, s:s?, s:s?, s:s?, s:b}", "key", key, "next",
                              has_next ? next.fingerprint : NULL, "newest",
                              newest[0] ? newest : NULL, "since", since[0] ? since : NULL,
                              "settled", !has_next && (!newest[0] || strcmp(newest, key) == 0));

    kt_cluster_key_next_free(&next);
    return state;
}

int kts_cluster_key_is_own(const struct kts_agent *agent, const char *fingerprint)
{
    const json_t *row;
    size_t i;

    json_array_foreach(agent->view->cluster_keys, i, row)
    {
        if (strcmp(text_of(row, "fingerprint"), fingerprint) == 0 ||
            strcmp(text_of(row, "before"), fingerprint) == 0)
            return 1;
    }
    return strcmp(agent->start->info->openpgp_fingerprint, fingerprint) == 0;
}

void kts_cluster_key_keep_line(struct kts_agent *agent)
{
    const char *newest = newest_key(agent);
    struct kt_error why = {0};
    json_t *object = NULL;
    char *text = NULL;
    int rc;

    if (!newest[0] || strcmp(agent->view->key_line, newest) == 0)
        return;
    rc = db_query_key_statements(kts_agent_database(agent), &object, &why);
    if (rc == 0 && !(text = kt_json_text(object)))
        rc = kt_error_set(&why, KT_ERR_NO_MEMORY, NULL, "out of memory");
    if (rc == 0)
        rc = kt_key_line_save(agent->start->paths, text, &why);
    if (rc == 0)
        snprintf(agent->view->key_line, sizeof(agent->view->key_line), "%s", newest);
    else
        kt_log_error(&why, "the statements about the cluster's OpenPGP keys cannot be kept");
    free(text);
    json_decref(object);
}

// --- who may ask for what ---

static int check_active(struct kts_agent *agent, struct kt_error *error)
{
    int here = 0;

    (void)!kts_join_find_active(agent, &here);
    return here ? 0 : kt_error_set(error, KT_ERR_PASSIVE, NULL, "this node is not the active");
}

// Any other node could put a key of its own in place of the cluster's, or learn the cluster's before
// it is meant to.
static int check_from_active(const struct kts_call *call, struct kt_error *error)
{
    int here = 0;
    const struct kt_peer *active = kts_join_find_active(kts_call_agent(call), &here);

    return !here && active && strcmp(active->member, kts_call_member(call)) == 0
               ? 0
               : kt_error_set(error, KT_ERR_NOT_MEMBER,
                              "run ktadmin rotate --cluster-key on the active",
                              "the cluster's key goes from and to the active only, which the "
                              "caller is not");
}

static int take_fingerprint(const json_t *args, const char **fingerprint, struct kt_error *error)
{
    int rc = kt_json_string(args, "fingerprint", KT_OPENPGP_FINGERPRINT_TEXT - 1,
                            KT_OPENPGP_FINGERPRINT_TEXT - 1, fingerprint, error);

    if (rc == 0 && !kt_cluster_key_is_id(*fingerprint))
        rc = kt_error_set(error, KT_ERR_BAD_REQUEST, NULL,
                          "'fingerprint' is not that of an OpenPGP key");
    return rc;
}

static int take_only_fingerprint(const json_t *args, const char **fingerprint,
                                 struct kt_error *error)
{
    static const char *const MEMBERS[] = {"fingerprint", NULL};
    int rc = kt_json_only(args, MEMBERS, error);

    return rc ? rc : take_fingerprint(args, fingerprint, error);
}

static void record(struct kts_call *call, const char *event, const char *fingerprint,
                   const char *member)
{
    kts_verb_record(call, event,
                    json_pack("{s:s, s:s*}", "cluster_key", fingerprint, "member", member));
}

// As in node.state, of now.
static int run_state(struct kts_call *call, const json_t *args, json_t **result,
                     struct kt_error *error)
{
    (void)args;
    (void)error;
    kts_agent_watch_lists(kts_call_agent(call));
    *result = kts_cluster_key_state(kts_call_agent(call));
    return 0;
}

// --- the verbs of the active ---

// What the next statement has to say, but for the key that it names.
static json_t *make_args(const struct kts_agent *agent)
{
    const struct kt_epoch_row *row = kt_epoch_rows_newest(&agent->view->rows);
    const json_t *newest = newest_row(agent), *one;
    char incarnation[KT_INCARNATION_TEXT] = "";
    json_t *line = json_array();
    size_t i;

    if (row)
        kt_incarnation_format(&row->incarnation, incarnation);
    json_array_foreach(agent->view->cluster_keys, i, one)
    {
        json_array_append_new(line, json_string(text_of(one, "fingerprint")));
        json_array_append_new(line, json_string(text_of(one, "before")));
    }
    return json_pack("{s:o, s:s, s:I, s:s, s:s, s:s}", "line", line, "newest",
                     text_of(newest, "fingerprint"), "number",
                     json_integer_value(json_object_get(newest, "number")) + 1, "before",
                     text_of(newest, "sha256"), "incarnation", incarnation, "restored",
                     agent->view->restored_sha256);
}

static int run_make(struct kts_call *call, const json_t *args, json_t **result,
                    struct kt_error *error)
{
    struct kts_agent *agent = kts_call_agent(call);
    static const char *const MEMBERS[] = {"fresh", NULL};
    json_t *known;
    int rc = kt_json_only(args, MEMBERS, error);

    (void)result;
    if (rc == 0)
        rc = check_active(agent, error);
    if (rc)
        return rc;
    kts_agent_watch_lists(agent);
    if (!agent->view->cluster_keys || !kt_epoch_rows_newest(&agent->view->rows))
        return kt_error_set(error, KT_ERR_DATABASE_UNAVAILABLE, NULL,
                            "the list of the cluster's keys cannot be read");
    if (json_array_size(agent->view->cluster_keys) >= KT_CLUSTER_KEYS_MAX &&
        strcmp(newest_key(agent), agent->start->info->openpgp_fingerprint) == 0 &&
        kt_json_boolean(args, "fresh", 0))
        return kt_error_set(error, KT_ERR_TOO_LARGE,
                            "a new cluster begins a new line; clients are registered there anew",
                            "the cluster has replaced its OpenPGP key %d times, and clients follow "
                            "no longer line; nothing has changed",
                            KT_CLUSTER_KEYS_MAX);
    known = make_args(agent);
    json_object_set_new(known, "fresh", json_boolean(kt_json_boolean(args, "fresh", 0)));
    rc = known ? kts_job_start(call, "cluster_key.make", kts_job_cluster_key_make, KTS_JOB_ALONE,
                               known, error)
               : kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    json_decref(known);
    return rc;
}

static int run_between(struct kts_call *call, const char *verb, kts_job_function *job,
                       const json_t *args, struct kt_error *error)
{
    static const char *const MEMBERS[] = {"fingerprint", "member", NULL};
    const char *fingerprint = NULL, *member = NULL;
    int rc = kt_json_only(args, MEMBERS, error);

    if (rc == 0)
        rc = check_active(kts_call_agent(call), error);
    if (rc == 0)
        rc = take_fingerprint(args, &fingerprint, error);
    if (rc == 0)
        rc = kts_args_member(args, "member", 1, &member, error);
    if (rc)
        return rc;
    record(call, verb, fingerprint, member);
    (void)kts_listed_now(kts_call_agent(call)); // for the job
    return kts_job_start(call, verb, job, KTS_JOB_ALONE, args, error);
}

static int run_give(struct kts_call *call, const json_t *args, json_t **result,
                    struct kt_error *error)
{
    (void)result;
    return run_between(call, "cluster_key.give", kts_job_cluster_key_give, args, error);
}

static int run_fetch(struct kts_call *call, const json_t *args, json_t **result,
                     struct kt_error *error)
{
    (void)result;
    return run_between(call, "cluster_key.fetch", kts_job_cluster_key_fetch, args, error);
}

static int run_list(struct kts_call *call, const json_t *args, json_t **result,
                    struct kt_error *error)
{
    struct kt_change change = {.kind = KT_CHANGE_CLUSTER_KEY_ADD};
    const struct kt_paths *paths = kts_call_agent(call)->start->paths;
    struct kt_cluster_key_next next = {.statement = NULL};
    struct kt_key_statement statement;
    const char *fingerprint = NULL;
    int rc = take_only_fingerprint(args, &fingerprint, error);

    (void)result;
    if (rc == 0)
        rc = kt_cluster_key_next_load(paths, &next, error);
    if (rc == 0 && (strcmp(next.fingerprint, fingerprint) != 0 || !next.statement ||
                    kt_key_statement_read(next.statement, strlen(next.statement), &statement) != 0))
        rc = kt_error_set(error, KT_ERR_NOT_FOUND, "run ktadmin rotate --cluster-key again",
                          "this node has no statement that names the key %s", fingerprint);
    if (rc == 0) {
        change.openpgp = (uint8_t *)next.statement;
        change.openpgp_len = strlen(next.statement);
        next.statement = NULL;
        memcpy(change.fingerprint, fingerprint, KT_OPENPGP_FINGERPRINT_TEXT);
        memcpy(change.name, statement.key, KT_OPENPGP_FINGERPRINT_TEXT);
        rc = kts_agent_change(call, &change, NULL, error);
    }
    kt_change_free(&change);
    kt_cluster_key_next_free(&next);
    return rc;
}

// --- the verbs of each node ---

static int run_take(struct kts_call *call, const json_t *args, json_t **result,
                    struct kt_error *error)
{
    static const char *const MEMBERS[] = {"fingerprint", "keygrip",   "sealed",
                                          "public",      "statement", NULL};
    struct kts_agent *agent = kts_call_agent(call);
    const char *fingerprint = NULL;
    json_t *with;
    int rc = kt_json_only(args, MEMBERS, error);

    (void)result;
    if (rc == 0)
        rc = check_from_active(call, error);
    if (rc == 0)
        rc = take_fingerprint(args, &fingerprint, error);
    if (rc)
        return rc;
    kts_agent_watch_lists(agent);
    with = json_copy((json_t *)(uintptr_t)args);
    json_object_set_new(with, "listed", json_boolean(strcmp(newest_key(agent), fingerprint) == 0));
    record(call, "cluster_key.take", fingerprint, NULL);
    rc = kts_job_start(call, "cluster_key.take", kts_job_cluster_key_take, KTS_JOB_ALONE, with,
                       error);
    json_decref(with);
    return rc;
}

static int run_hand(struct kts_call *call, const json_t *args, json_t **result,
                    struct kt_error *error)
{
    static const char *const MEMBERS[] = {"fingerprint", "to", NULL};
    const char *fingerprint = NULL, *to = NULL;
    int rc = kt_json_only(args, MEMBERS, error);

    (void)result;
    if (rc == 0)
        rc = check_from_active(call, error);
    if (rc == 0)
        rc = take_fingerprint(args, &fingerprint, error);
    if (rc == 0)
        rc = kt_json_string(args, "to", KT_SHA256_TEXT - 1, KT_SHA256_TEXT - 1, &to, error);
    if (rc)
        return rc;
    record(call, "cluster_key.hand", fingerprint, NULL);
    return kts_job_start(call, "cluster_key.hand", kts_job_cluster_key_hand, KTS_JOB_ALONE, args,
                         error);
}

// Not before this node knows it as the newest: the older one is erased.
static int run_use(struct kts_call *call, const json_t *args, json_t **result,
                   struct kt_error *error)
{
    struct kts_agent *agent = kts_call_agent(call);
    const char *fingerprint = NULL;
    int rc = take_only_fingerprint(args, &fingerprint, error);

    (void)result;
    if (rc == 0 && kts_call_member(call)[0])
        rc = check_from_active(call, error);
    if (rc)
        return rc;
    kts_agent_watch_lists(agent);
    if (strcmp(newest_key(agent), fingerprint) != 0)
        return kt_error_set(
            error, KT_ERR_BUSY, "see ktadmin status whether it is behind, then run it again",
            "this node does not know yet that the cluster's key is %s", fingerprint);
    // What the older one has signed is known by them only, once its secret half is gone.
    if (strcmp(agent->view->key_line, fingerprint) != 0)
        return kt_error_set(error, KT_ERR_SYSTEM, "see this node's log, then run it again",
                            "the statements about the cluster's keys cannot be kept");
    record(call, "cluster_key.use", fingerprint, NULL);
    return kts_job_start(call, "cluster_key.use", kts_job_cluster_key_use, KTS_JOB_ALONE, args,
                         error);
}

// The master reads the file, as at SIGHUP, and tells all processes: for no node but the active, or any
// other could keep this one busy with it.
static int run_load(struct kts_call *call, const json_t *args, json_t **result,
                    struct kt_error *error)
{
    int rc = kts_call_member(call)[0] ? check_from_active(call, error) : 0;

    (void)args;
    if (rc)
        return rc;
    rc = kts_control_send(kts_call_agent(call)->start->control_fd, KTS_CTL_RELOAD, NULL, 0, -1);
    if (rc)
        return kt_error_set(error, rc, "send SIGHUP to kts, then run it again",
                            "the master does not listen");
    *result = json_object();
    return 0;
}

// --- nodes that were away ---

void kts_cluster_key_hear(struct kts_agent *agent, const char *member, const json_t *state,
                          int64_t *tried_us)
{
    const json_t *theirs = json_object_get(state, "cluster_key");
    const char *newest = newest_key(agent);
    struct kt_error why = {0};
    json_t *args;

    // As long as a run is under way it is left to that: this node is the last to change.
    if (!newest[0] || strcmp(text_of(theirs, "newest"), newest) != 0 ||
        strcmp(text_of(theirs, "key"), newest) == 0 ||
        strcmp(agent->start->info->openpgp_fingerprint, newest) != 0 ||
        kt_monotonic_now() < *tried_us + BRING_AGAIN_US || check_active(agent, NULL) != 0)
        return;
    *tried_us = kt_monotonic_now();
    kts_agent_audit(agent, json_pack("{s:s, s:s, s:s}", "event", "cluster_key.bring", "cluster_key",
                                     newest, "member", member));
    args = json_pack("{s:s, s:s}", "fingerprint", newest, "member", member);
    if (args && kts_job_start_own(agent, "the agent", "cluster_key.bring",
                                  kts_job_cluster_key_bring, 0, args, &why))
        kt_log_error(&why, "'%s' does not have the cluster's key", member);
    json_decref(args);
}

#define ANY_OPERATOR (KTS_CALLER_LOCAL | KTS_CALLER_NODE | KTS_CALLER_OPERATOR)
#define HERE_OR_NODE (KTS_CALLER_LOCAL | KTS_CALLER_NODE)
#define IN_THE_OPEN  (KTS_VERB_CLOSED | KTS_VERB_RECORDS)

const struct kts_verb kts_cluster_key_verbs[] = {
    {"cluster_key.state", ANY_OPERATOR, 0, run_state, NULL, NULL},
    {"cluster_key.make", KTS_CALLER_LOCAL, KTS_VERB_CLOSED, run_make, NULL, "cluster_key.make"},
    {"cluster_key.give", KTS_CALLER_LOCAL, IN_THE_OPEN, run_give, NULL, "cluster_key.give"},
    {"cluster_key.fetch", KTS_CALLER_LOCAL, IN_THE_OPEN, run_fetch, NULL, "cluster_key.fetch"},
    {"cluster_key.list", KTS_CALLER_LOCAL, 0, run_list, NULL, NULL},
    {"cluster_key.take", KTS_CALLER_NODE, IN_THE_OPEN | KTS_VERB_LISTED, run_take, NULL,
     "cluster_key.take"},
    {"cluster_key.hand", KTS_CALLER_NODE, IN_THE_OPEN | KTS_VERB_LISTED, run_hand, NULL,
     "cluster_key.hand"},
    {"cluster_key.use", HERE_OR_NODE, IN_THE_OPEN | KTS_VERB_LISTED, run_use, NULL,
     "cluster_key.use"},
    {"cluster_key.load", HERE_OR_NODE, 0, run_load, NULL, NULL},
    {NULL, 0, 0, NULL, NULL, NULL},
};
