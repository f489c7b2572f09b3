// SPDX-License-Identifier: Apache-2.0
// The receipt key's rotation: what is done to files, and what nodes hand to each other. Every job can
// be repeated.
#include "kts/agent_receipt_key.h"

#include <stdlib.h>
#include <string.h>

#include "kts/agent_cluster.h"
#include "kts/agent_listed.h"
#include "kts/agent_seal.h"
#include "lib/json.h"
#include "lib/pki.h"

#define PURPOSE "keytrustee receipt key"

static const char *text_of(const json_t *args, const char *name)
{
    const char *text = json_string_value(json_object_get(args, name));

    return text ? text : "";
}

int kts_receipt_pair_of(const struct kt_paths *paths, const char *id, struct kt_receipt_pair *pair,
                        struct kt_error *error)
{
    char own[KT_KEY_ID_TEXT];

    for (int is_next = 0; is_next < 2; is_next++) {
        kt_receipt_key_id_of(paths, is_next, own);
        if (strcmp(own, id) == 0)
            return kt_receipt_pair_load(paths, is_next, pair, error);
    }
    return kt_error_set(error, KT_ERR_NOT_FOUND, "see ktadmin status: which nodes have it",
                        "this node does not have the receipt key '%s'", id);
}

int kts_receipt_pair_seal(const struct kt_paths *paths, X509 *ca, const char *id, const char *root,
                          char **sealed, struct kt_error *error)
{
    struct kt_receipt_pair pair = {.key = NULL};
    struct kt_secret *text = NULL;
    int rc = kts_receipt_pair_of(paths, id, &pair, error);

    if (rc == 0 && (rc = kt_receipt_pair_text(&pair, &text)) != 0)
        kt_error_set(error, rc, NULL, "a receipt key cannot be encoded");
    if (rc == 0)
        rc = kts_seal_for(ca, root, PURPOSE, id, kt_secret_text(text), sealed, error);
    kt_secret_free(text);
    kt_receipt_pair_free(&pair);
    return rc;
}

// --- making ---

static int64_t ca_lifetime_s(X509 *ca)
{
    int64_t from = 0, to = 0;

    return kt_pki_cert_validity(ca, &from, &to) == 0 ? (to - kt_time_now()) / 1000000 : 0;
}

// Clients verify receipts for as long as they keep them: certified for as long as the CA lasts.
static int make(const struct kts_job *job, char id[KT_KEY_ID_TEXT], struct kt_error *error)
{
    struct kt_receipt_pair pair = {.key = NULL};
    int rc = job->ca_key && job->ca_cert
                 ? kt_receipt_pair_make(job->ca_key, job->ca_cert, ca_lifetime_s(job->ca_cert),
                                        &pair, error)
                 : kt_error_set(error, KT_ERR_NOT_FOUND,
                                "put it back for the run: every node has the same one",
                                "this node does not have the CA's key");

    if (rc == 0)
        rc = kt_receipt_next_save(job->start->paths, &pair, error);
    if (rc == 0)
        memcpy(id, pair.id, KT_KEY_ID_TEXT);
    kt_receipt_pair_free(&pair);
    return rc;
}

int kts_job_receipt_make(struct kts_job *job, const json_t *args, json_t **result,
                         struct kt_error *error)
{
    const struct kt_paths *paths = job->start->paths;
    const char *newest = text_of(args, "newest");
    char used[KT_KEY_ID_TEXT], id[KT_KEY_ID_TEXT];
    int rc = 0, has = 1;

    kt_receipt_key_id_of(paths, 0, used);
    kt_receipt_key_id_of(paths, 1, id);
    // One that a killed run has left is gone on with, unless another one has come after it.
    if (id[0] && strcmp(id, newest) != 0 && json_is_true(json_object_get(args, "known"))) {
        rc = kt_receipt_next_drop(paths, error);
        id[0] = '\0';
    }
    if (rc == 0 && !id[0] && json_is_true(json_object_get(args, "fresh"))) {
        rc = make(job, id, error);
    } else if (rc == 0 && !id[0]) {
        snprintf(id, sizeof(id), "%s", newest);
        has = strcmp(id, used) == 0;
    }
    if (rc == 0)
        *result =
            json_pack("{s:s, s:b, s:b}", "id", id, "has", has, "listed", strcmp(id, newest) == 0);
    return rc;
}

// --- between nodes ---

static int ask(const struct kts_job *job, const json_t *args, const char *verb, json_t *question,
               json_t **answer, struct kt_error *error)
{
    return kts_listed_ask(job, text_of(args, "member"), verb, question, KTS_ASK_MS, answer, error);
}

// The CA root by which the other node, or this one, opens what is sealed.
static int ask_root(const struct kts_job *job, const json_t *args, int here,
                    char root[KT_SHA256_TEXT], struct kt_error *error)
{
    json_t *state = NULL;
    int rc = ask(job, args, "node.state", NULL, &state, error);

    if (rc == 0)
        rc = here ? kts_seal_root_here(job->start->paths, job->ca_cert, state, root, error)
                  : kts_seal_root_for(job->start->paths, state, root, error);
    json_decref(state);
    return rc;
}

int kts_job_receipt_give(struct kts_job *job, const json_t *args, json_t **result,
                         struct kt_error *error)
{
    char root[KT_SHA256_TEXT], *sealed = NULL;
    int rc = ask_root(job, args, 0, root, error);

    if (rc == 0)
        rc = kts_receipt_pair_seal(job->start->paths, job->ca_cert, text_of(args, "id"), root,
                                   &sealed, error);
    if (rc == 0)
        rc = ask(job, args, "receipt.take",
                 json_pack("{s:s, s:s}", "id", text_of(args, "id"), "sealed", sealed), result,
                 error);
    free(sealed);
    return rc;
}

// Whole, of the cluster's CA, and the one that is meant.
static int keep(const struct kts_job *job, const char *id, const char *sealed,
                struct kt_error *error)
{
    struct kt_secret *pem = NULL;
    const struct kt_paths *paths = job->start->paths;
    struct kt_receipt_pair pair = {.key = NULL};
    char used[KT_KEY_ID_TEXT], certified[KT_KEY_ID_TEXT];
    int rc = kts_seal_open(job->start->paths, PURPOSE, id, sealed, &pem, error);

    if (rc == 0)
        rc = kt_receipt_pair_parse(kt_secret_text(pem), kt_secret_len(pem), &pair, error);
    if (rc == 0 && (rc = kt_receipt_cert_check(pair.cert, job->ca_cert, certified)) != 0)
        kt_error_set(error, rc, "compare the clocks of the nodes; they must have the same CA",
                     "the receipt key is not certified by this cluster's CA: %s", kt_err_text(rc));
    if (rc == 0 && strcmp(certified, id) != 0)
        rc = kt_error_set(error, KT_ERR_INVALID, NULL, "the receipt key is not '%s'", id);
    kt_receipt_key_id_of(paths, 0, used);
    if (rc == 0 && strcmp(used, id) != 0)
        rc = kt_receipt_next_save(paths, &pair, error);
    kt_receipt_pair_free(&pair);
    kt_secret_free(pem);
    return rc;
}

int kts_job_receipt_take(struct kts_job *job, const json_t *args, json_t **result,
                         struct kt_error *error)
{
    int rc = keep(job, text_of(args, "id"), text_of(args, "sealed"), error);

    if (rc == 0)
        *result = json_object();
    return rc;
}

int kts_job_receipt_fetch(struct kts_job *job, const json_t *args, json_t **result,
                          struct kt_error *error)
{
    const char *id = text_of(args, "id"), *sealed = NULL;
    json_t *answer = NULL;
    char root[KT_SHA256_TEXT];
    int rc = ask_root(job, args, 1, root, error);

    if (rc == 0)
        rc = ask(job, args, "receipt.hand", json_pack("{s:s, s:s}", "id", id, "to", root), &answer,
                 error);
    if (rc == 0)
        rc = kt_json_string(answer, "sealed", 1, KTS_SEALED_MAX, &sealed, error);
    if (rc == 0)
        rc = keep(job, id, sealed, error);
    json_decref(answer);
    if (rc == 0)
        *result = json_object();
    return rc;
}

// --- taking into use ---

int kts_job_receipt_use(struct kts_job *job, const json_t *args, json_t **result,
                        struct kt_error *error)
{
    const struct kt_paths *paths = job->start->paths;
    const char *id = text_of(args, "id");
    char used[KT_KEY_ID_TEXT], next[KT_KEY_ID_TEXT];
    int rc;

    kt_receipt_key_id_of(paths, 0, used);
    kt_receipt_key_id_of(paths, 1, next);
    if (strcmp(next, id) == 0)
        rc = kt_receipt_next_use(paths, error);
    else if (strcmp(used, id) == 0)
        rc = kt_receipt_next_drop(paths, error);
    else
        rc = kt_error_set(error, KT_ERR_NOT_FOUND, "run ktadmin rotate --receipt-key again",
                          "this node does not have the receipt key '%s'", id);
    if (rc == 0)
        *result = json_object();
    return rc;
}
