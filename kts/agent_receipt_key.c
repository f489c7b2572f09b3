// SPDX-License-Identifier: Apache-2.0
// The verbs by which ktadmin rotates the receipt key, step by step: made on the active, handed to the
// others, listed, loaded by the writer, and in use on every node when those before it are retired. Each
// can be asked again, so that a killed run is finished by the next.
#include "kts/agent_receipt_key.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "kts/agent_cluster.h"
#include "kts/agent_listed.h"
#include "kts/agent_seal.h"
#include "kts/agent_view.h"
#include "lib/json.h"
#include "lib/pki.h"

// --- what is known ---

static const char *id_of(const json_t *key)
{
    const char *id = json_string_value(json_object_get(key, "id"));

    return id ? id : "";
}

// The newest one that is not retired, ""; how many are not.
static const char *newest_key(const struct kts_agent *agent, size_t *open)
{
    const char *newest = "";
    const json_t *one;
    size_t i;

    *open = 0;
    json_array_foreach(agent->view->receipt_keys, i, one)
    {
        if (json_is_true(json_object_get(one, "retired")))
            continue;
        if (++*open == 1)
            newest = id_of(one);
    }
    return newest;
}

static int is_listed(const struct kts_agent *agent, const char *id)
{
    const json_t *one;
    size_t i;

    json_array_foreach(agent->view->receipt_keys, i, one)
    {
        if (strcmp(id_of(one), id) == 0)
            return 1;
    }
    return 0;
}

json_t *kts_receipt_key_state(const struct kts_agent *agent)
{
    const struct kts_status *status = agent->start->status;
    uint64_t number = atomic_load(&status->receipt_key);
    char used[KT_KEY_ID_TEXT], next[KT_KEY_ID_TEXT], signs[KT_KEY_ID_TEXT + 1] = "";
    size_t open = 0;
    const char *newest = newest_key(agent, &open);

    kt_receipt_key_id_of(agent->start->paths, 0, used);
    kt_receipt_key_id_of(agent->start->paths, 1, next);
    if (atomic_load(&status->writer_open))
        snprintf(signs, sizeof(signs), "%016" PRIx64, number);
    return json_pack("{s:s?, s:s?, s:s?, s:I, s:b, s:s?}", "key", used[0] ? used : NULL, "next",
                     next[0] ? next : NULL, "newest", newest[0] ? newest : NULL, "open",
                     (json_int_t)open, "known", next[0] && is_listed(agent, next), "signs",
                     signs[0] ? signs : NULL);
}

// --- who may ask for what ---

static int check_active(const struct kts_agent *agent, struct kt_error *error)
{
    uint32_t role = atomic_load(&agent->start->status->role);

    return role == KTS_ROLE_ACTIVE || role == KTS_ROLE_STANDALONE
               ? 0
               : kt_error_set(error, KT_ERR_PASSIVE, NULL, "this node is not the active");
}

// Of the newest row that this node has, in the epoch of its promise.
static int check_from_active(const struct kts_call *call, struct kt_error *error)
{
    const struct kts_view *view = kts_call_agent(call)->view;
    const struct kt_epoch_row *row = kt_epoch_rows_newest(&view->rows);
    char node[KT_NODE_NAME_MAX + 1];

    if (view->is_known && view->has_promise && row &&
        strcmp(row->active, kts_call_member(call)) == 0 && row->epoch == view->promise.epoch) {
        kt_member_node(row->active, node);
        if (strcmp(node, view->promise.active) == 0)
            return 0;
    }
    return kt_error_set(error, KT_ERR_NOT_MEMBER,
                        "see ktadmin status: when the active has changed, wait until all stream",
                        "receipt keys go from and to the active only, which the caller is not");
}

static int take_id(const json_t *args, const char **id, struct kt_error *error)
{
    uint8_t raw[KT_KEY_ID_LEN];
    char text[KT_KEY_ID_TEXT];
    int rc = kt_json_string(args, "id", KT_KEY_ID_TEXT - 1, KT_KEY_ID_TEXT - 1, id, error);

    if (rc)
        return rc;
    if (kt_hex_decode(*id, raw, sizeof(raw)) == 0)
        kt_hex_encode(raw, sizeof(raw), text);
    else
        text[0] = '\0';
    return strcmp(text, *id) == 0
               ? 0
               : kt_error_set(error, KT_ERR_BAD_REQUEST, NULL, "'id' is not that of a receipt key");
}

static int take_only_id(const json_t *args, const char **id, struct kt_error *error)
{
    static const char *const MEMBERS[] = {"id", NULL};
    int rc = kt_json_only(args, MEMBERS, error);

    return rc ? rc : take_id(args, id, error);
}

static void record(struct kts_call *call, const char *event, const char *id, const char *member)
{
    kts_verb_record(
        call, event,
        json_pack("{s:s, s:s*}", "receipt_key", id, "member", member && member[0] ? member : NULL));
}

// As in node.state, of now.
static int run_state(struct kts_call *call, const json_t *args, json_t **result,
                     struct kt_error *error)
{
    (void)args;
    (void)error;
    kts_agent_watch_lists(kts_call_agent(call));
    *result = kts_receipt_key_state(kts_call_agent(call));
    return 0;
}

// --- the verbs of the active ---

static int run_make(struct kts_call *call, const json_t *args, json_t **result,
                    struct kt_error *error)
{
    static const char *const MEMBERS[] = {"fresh", NULL};
    struct kts_agent *agent = kts_call_agent(call);
    char next[KT_KEY_ID_TEXT];
    const char *newest;
    size_t open = 0;
    json_t *known;
    int rc = kt_json_only(args, MEMBERS, error);

    (void)result;
    if (rc == 0)
        rc = check_active(agent, error);
    if (rc)
        return rc;
    kts_agent_watch_lists(agent);
    newest = newest_key(agent, &open);
    if (!newest[0])
        return kt_error_set(error, KT_ERR_DATABASE_UNAVAILABLE, NULL,
                            "the list of receipt keys cannot be read");
    kt_receipt_key_id_of(agent->start->paths, 1, next);
    known =
        json_pack("{s:s, s:b, s:b}", "newest", newest, "known", next[0] && is_listed(agent, next),
                  "fresh", kt_json_boolean(args, "fresh", 0));
    rc = kts_job_start(call, "receipt.make", kts_job_receipt_make, KTS_JOB_ALONE, known, error);
    json_decref(known);
    return rc;
}

static int run_between(struct kts_call *call, const char *verb, kts_job_function *job,
                       const json_t *args, struct kt_error *error)
{
    static const char *const MEMBERS[] = {"id", "member", NULL};
    const char *id = NULL, *member = NULL;
    int rc = kt_json_only(args, MEMBERS, error);

    if (rc == 0)
        rc = check_active(kts_call_agent(call), error);
    if (rc == 0)
        rc = take_id(args, &id, error);
    if (rc == 0)
        rc = kts_args_member(args, "member", 1, &member, error);
    if (rc)
        return rc;
    record(call, verb, id, member);
    (void)kts_listed_now(kts_call_agent(call)); // for the job
    return kts_job_start(call, verb, job, KTS_JOB_ALONE, args, error);
}

static int run_give(struct kts_call *call, const json_t *args, json_t **result,
                    struct kt_error *error)
{
    (void)result;
    return run_between(call, "receipt.give", kts_job_receipt_give, args, error);
}

static int run_fetch(struct kts_call *call, const json_t *args, json_t **result,
                     struct kt_error *error)
{
    (void)result;
    return run_between(call, "receipt.fetch", kts_job_receipt_fetch, args, error);
}

static int run_list(struct kts_call *call, const json_t *args, json_t **result,
                    struct kt_error *error)
{
    struct kt_change change = {.kind = KT_CHANGE_RECEIPT_KEY_ADD};
    const struct kt_paths *paths = kts_call_agent(call)->start->paths;
    struct kt_receipt_pair pair = {.key = NULL};
    struct kt_buf pem = KT_BUF_INIT(KT_CERT_PEM_MAX);
    const char *id = NULL;
    int rc = take_only_id(args, &id, error);

    (void)result;
    if (rc == 0)
        rc = kts_receipt_pair_of(paths, id, &pair, error);
    if (rc == 0 &&
        (kt_pki_cert_to_pem(pair.cert, &pem) != 0 ||
         !(change.csr = (uint8_t *)strndup((const char *)kt_buf_ptr(&pem), kt_buf_left(&pem)))))
        rc = kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    if (rc == 0) {
        change.csr_len = kt_buf_left(&pem);
        memcpy(change.name, id, KT_KEY_ID_TEXT);
        rc = kts_agent_change(call, &change, NULL, error);
    }
    kt_change_free(&change);
    kt_buf_free(&pem);
    kt_receipt_pair_free(&pair);
    return rc;
}

// The master reads the file, as at SIGHUP, and hands the key to the writer.
static int run_load(struct kts_call *call, const json_t *args, json_t **result,
                    struct kt_error *error)
{
    struct kts_agent *agent = kts_call_agent(call);
    int rc = check_active(agent, error);

    (void)args;
    if (rc)
        return rc;
    rc = kts_control_send(agent->start->control_fd, KTS_CTL_RELOAD, NULL, 0, -1);
    if (rc)
        return kt_error_set(error, rc, "send SIGHUP to kts, then run it again",
                            "the master does not listen");
    *result = json_object();
    return 0;
}

static int run_retire(struct kts_call *call, const json_t *args, json_t **result,
                      struct kt_error *error)
{
    struct kt_change change = {.kind = KT_CHANGE_RECEIPT_KEY_RETIRE};
    const char *id = NULL;
    int rc = take_only_id(args, &id, error);

    (void)result;
    if (rc)
        return rc;
    memcpy(change.name, id, KT_KEY_ID_TEXT);
    return kts_agent_change(call, &change, NULL, error);
}

// --- the verbs of the others ---

static int run_take(struct kts_call *call, const json_t *args, json_t **result,
                    struct kt_error *error)
{
    static const char *const MEMBERS[] = {"id", "sealed", NULL};
    const char *id = NULL, *sealed = NULL;
    int rc = kt_json_only(args, MEMBERS, error);

    (void)result;
    if (rc == 0)
        rc = check_from_active(call, error);
    if (rc == 0)
        rc = take_id(args, &id, error);
    if (rc == 0)
        rc = kt_json_string(args, "sealed", 1, KTS_SEALED_MAX, &sealed, error);
    if (rc)
        return rc;
    record(call, "receipt.take", id, NULL);
    return kts_job_start(call, "receipt.take", kts_job_receipt_take, KTS_JOB_ALONE, args, error);
}

static int run_hand(struct kts_call *call, const json_t *args, json_t **result,
                    struct kt_error *error)
{
    static const char *const MEMBERS[] = {"id", "to", NULL};
    struct kts_agent *agent = kts_call_agent(call);
    const char *id = NULL, *to = NULL;
    char *sealed = NULL;
    int rc = kt_json_only(args, MEMBERS, error);

    if (rc == 0)
        rc = check_from_active(call, error);
    if (rc == 0)
        rc = take_id(args, &id, error);
    if (rc == 0)
        rc = kt_json_string(args, "to", KT_SHA256_TEXT - 1, KT_SHA256_TEXT - 1, &to, error);
    if (rc == 0)
        rc = kts_receipt_pair_seal(agent->start->paths, agent->ca_cert, id, to, &sealed, error);
    if (rc == 0) {
        record(call, "receipt.hand", id, NULL);
        *result = json_pack("{s:s, s:s}", "id", id, "sealed", sealed);
    }
    free(sealed);
    return rc;
}

// Not before this node knows it as the newest: as the active it signs by what it has.
static int run_use(struct kts_call *call, const json_t *args, json_t **result,
                   struct kt_error *error)
{
    struct kts_agent *agent = kts_call_agent(call);
    const char *id = NULL;
    size_t open = 0;
    int rc = take_only_id(args, &id, error);

    (void)result;
    if (rc)
        return rc;
    kts_agent_watch_lists(agent);
    if (strcmp(newest_key(agent, &open), id) != 0 || open != 1)
        return kt_error_set(error, KT_ERR_BUSY,
                            "see ktadmin status whether it is behind, then run it again",
                            "this node does not know yet that receipts are signed by '%s'", id);
    record(call, "receipt.use", id, NULL);
    return kts_job_start(call, "receipt.use", kts_job_receipt_use, KTS_JOB_ALONE, args, error);
}

#define ANY_OPERATOR (KTS_CALLER_LOCAL | KTS_CALLER_NODE | KTS_CALLER_OPERATOR)
#define IN_THE_OPEN  (KTS_VERB_CLOSED | KTS_VERB_RECORDS)

const struct kts_verb kts_receipt_verbs[] = {
    {"receipt.state", ANY_OPERATOR, 0, run_state, NULL, NULL},
    {"receipt.make", ANY_OPERATOR, KTS_VERB_CLOSED, run_make, NULL, "receipt.make"},
    {"receipt.give", ANY_OPERATOR, IN_THE_OPEN, run_give, NULL, "receipt.give"},
    {"receipt.fetch", ANY_OPERATOR, IN_THE_OPEN, run_fetch, NULL, "receipt.fetch"},
    {"receipt.list", ANY_OPERATOR, 0, run_list, NULL, NULL},
    {"receipt.load", ANY_OPERATOR, 0, run_load, NULL, NULL},
    {"receipt.retire", ANY_OPERATOR, 0, run_retire, NULL, NULL},
    {"receipt.take", KTS_CALLER_NODE, IN_THE_OPEN | KTS_VERB_LISTED, run_take, NULL,
     "receipt.take"},
    {"receipt.hand", KTS_CALLER_NODE, IN_THE_OPEN | KTS_VERB_LISTED, run_hand, NULL,
     "receipt.hand"},
    {"receipt.use", ANY_OPERATOR, IN_THE_OPEN, run_use, NULL, "receipt.use"},
    {NULL, 0, 0, NULL, NULL, NULL},
};
