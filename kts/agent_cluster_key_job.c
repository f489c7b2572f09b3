// SPDX-License-Identifier: Apache-2.0
// The rotation of the cluster's OpenPGP key: making the next one, and handing it from node to node.
// Every job can be repeated.
#include "kts/agent_cluster_key_inner.h"

#include <stdlib.h>
#include <string.h>

#include "kts/agent_listed.h"
#include "kts/agent_seal.h"
#include "lib/buf.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/secret.h"

#define TAKE_MS 20000

const char *kts_cluster_key_text(const json_t *args, const char *name)
{
    const char *text = json_string_value(json_object_get(args, name));

    return text ? text : "";
}

// --- keys of the home ---

int kts_cluster_keys_list(struct kts_cluster_keys *keys, struct kt_error *error)
{
    return kt_gpg_list_named(keys->gpg, keys->user_id, 1, keys->list, KT_CLUSTER_KEYS_MAX,
                             &keys->count, error);
}

int kts_cluster_keys_open(const struct kts_job *job, struct kts_cluster_keys *keys,
                          struct kt_error *error)
{
    int rc = kt_gpg_new(job->start->paths->gnupg, &keys->gpg, error);

    kt_cluster_key_user_id(&job->start->info->cluster_id, keys->user_id);
    return rc ? rc : kts_cluster_keys_list(keys, error);
}

const struct kt_gpg_named *kts_cluster_keys_find(const struct kts_cluster_keys *keys,
                                                 const char *fingerprint)
{
    for (size_t i = 0; i < keys->count; i++) {
        if (strcmp(keys->list[i].fingerprint, fingerprint) == 0)
            return &keys->list[i];
    }
    return NULL;
}

// --- making ---

static int is_in_line(const json_t *args, const char *fingerprint)
{
    const json_t *line = json_object_get(args, "line"), *one;
    size_t i;

    json_array_foreach(line, i, one)
    {
        if (strcmp(json_string_value(one), fingerprint) == 0)
            return 1;
    }
    return 0;
}

// Only what this node's own run has written down, or was handed by a statement of the key in use: what
// else lies in the keyring may be anybody's.
static const struct kt_gpg_named *find_left(const struct kts_job *job, const json_t *args,
                                            const struct kts_cluster_keys *keys)
{
    struct kt_cluster_key_next next = {.statement = NULL};
    const struct kt_gpg_named *found = NULL;

    if (kt_cluster_key_next_load(job->start->paths, &next, NULL) == 0 &&
        strcmp(next.fingerprint, job->start->info->openpgp_fingerprint) != 0 &&
        !is_in_line(args, next.fingerprint))
        found = kts_cluster_keys_find(keys, next.fingerprint);
    kt_cluster_key_next_free(&next);
    return found;
}

// One that never counted: a killed run has left it. Else a new one.
static int choose(const struct kts_job *job, const json_t *args, struct kts_cluster_keys *keys,
                  struct kt_cluster_key_next *next, struct kt_error *error)
{
    const struct kt_gpg_named *found = find_left(job, args, keys);
    char made[KT_OPENPGP_FINGERPRINT_TEXT];
    int rc;

    if (!found) {
        rc = kt_gpg_generate(keys->gpg, KT_GPG_CLUSTER, keys->user_id, made, error);
        if (rc == 0)
            rc = kts_cluster_keys_list(keys, error);
        if (rc)
            return rc;
        found = kts_cluster_keys_find(keys, made);
    }
    if (!found)
        return kt_error_set(error, KT_ERR_CRYPTO, NULL, "gpg does not show the key that it made");
    memcpy(next->fingerprint, found->fingerprint, sizeof(next->fingerprint));
    memcpy(next->keygrip, found->keygrip, sizeof(next->keygrip));
    return 0;
}

static int fill_statement(const struct kts_job *job, const json_t *args, const char *next,
                          struct kt_key_statement *statement)
{
    const struct kt_cluster_info *info = job->start->info;
    const char *before = kts_cluster_key_text(args, "before"),
               *restored = kts_cluster_key_text(args, "restored");

    *statement = (struct kt_key_statement){
        .cluster_id = info->cluster_id,
        .number = (uint32_t)json_integer_value(json_object_get(args, "number")),
        .time_us = kt_time_now()};
    memcpy(statement->key, info->openpgp_fingerprint, sizeof(statement->key));
    memcpy(statement->next, next, sizeof(statement->next));
    if ((before[0] && kt_hex_decode(before, statement->before, KT_SHA256_LEN) != 0) ||
        (restored[0] && kt_hex_decode(restored, statement->restored, KT_SHA256_LEN) != 0))
        return KT_ERR_INVALID;
    return kt_incarnation_parse(kts_cluster_key_text(args, "incarnation"), &statement->incarnation);
}

static int sign(const struct kts_job *job, const json_t *args, struct kts_cluster_keys *keys,
                struct kt_cluster_key_next *next, struct kt_error *error)
{
    struct kt_buf text = KT_BUF_INIT(KT_KEY_STATEMENT_MAX);
    struct kt_key_statement statement;
    int rc = fill_statement(job, args, next->fingerprint, &statement);

    if (rc)
        rc = kt_error_set(error, rc, NULL, "the place in the line of keys is not known");
    if (rc == 0)
        rc = kt_key_statement_sign(keys->gpg, &statement, &text, error);
    if (rc == 0)
        rc = kt_key_statement_verify(kt_buf_ptr(&text), kt_buf_left(&text), &statement, error);
    if (rc == 0 &&
        !(next->statement = strndup((const char *)kt_buf_ptr(&text), kt_buf_left(&text))))
        rc = kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    kt_buf_free(&text);
    return rc;
}

// The statement is made anew in each run: a restore may have come since the last one.
static int make_next(struct kts_job *job, const json_t *args, struct kts_cluster_keys *keys,
                     char out[KT_OPENPGP_FINGERPRINT_TEXT], struct kt_error *error)
{
    struct kt_cluster_key_next next = {.statement = NULL};
    int rc = choose(job, args, keys, &next, error);

    if (rc == 0)
        rc = sign(job, args, keys, &next, error);
    if (rc == 0)
        rc = kt_cluster_key_sync(job->start->paths, next.keygrip, error);
    if (rc == 0)
        rc = kt_cluster_key_next_save(job->start->paths, &next, error);
    if (rc == 0)
        memcpy(out, next.fingerprint, KT_OPENPGP_FINGERPRINT_TEXT);
    kt_cluster_key_next_free(&next);
    return rc;
}

// A key that is listed and not in use here is what an earlier run has left to be done.
int kts_job_cluster_key_make(struct kts_job *job, const json_t *args, json_t **result,
                             struct kt_error *error)
{
    const char *newest = kts_cluster_key_text(args, "newest");
    struct kt_cluster_key_next next = {.statement = NULL};
    char fingerprint[KT_OPENPGP_FINGERPRINT_TEXT] = "";
    struct kts_cluster_keys keys = {.gpg = NULL};
    int rc = kts_cluster_keys_open(job, &keys, error);
    int has_next = kt_cluster_key_next_load(job->start->paths, &next, NULL) == 0;
    int listed = newest[0] && (strcmp(newest, job->start->info->openpgp_fingerprint) != 0 ||
                               (has_next && strcmp(newest, next.fingerprint) == 0) ||
                               !json_is_true(json_object_get(args, "fresh")));

    if (rc == 0 && listed)
        snprintf(fingerprint, sizeof(fingerprint), "%s", newest);
    else if (rc == 0)
        rc = make_next(job, args, &keys, fingerprint, error);
    if (rc == 0)
        *result = json_pack("{s:s, s:b, s:b}", "fingerprint", fingerprint, "has",
                            !listed || kts_cluster_keys_find(&keys, fingerprint) != NULL, "listed",
                            listed);
    kt_cluster_key_next_free(&next);
    kt_gpg_free(keys.gpg);
    return rc;
}

// --- between nodes ---

// The key's file in base64, sealed for an agent with the CA `root`; NULL: `error` says why.
static json_t *sealed_json(const struct kts_job *job, const struct kt_gpg_named *key,
                           const char *root, struct kt_error *error)
{
    struct kt_buf bytes = KT_BUF_INIT(KT_CLUSTER_KEY_FILE_MAX);
    char path[KT_PATH_MAX], *text = NULL, *sealed = NULL;
    json_t *value = NULL;

    if (kt_cluster_key_path(job->start->paths, key->keygrip, path, error) == 0 &&
        kt_file_read(path, &bytes, error) == 0 && (text = malloc(KTS_CLUSTER_KEY_BASE64_MAX + 1))) {
        kt_base64_encode(kt_buf_ptr(&bytes), kt_buf_left(&bytes), text);
        if (kts_seal_for(job->ca_cert, root, KTS_CLUSTER_KEY_SEALED, key->fingerprint, text,
                         &sealed, error) == 0)
            value = json_string(sealed);
        kt_wipe(text, KTS_CLUSTER_KEY_BASE64_MAX + 1);
    }
    free(sealed);
    free(text);
    kt_buf_free(&bytes); // wipes
    return value;
}

static json_t *public_json(struct kts_cluster_keys *keys, const char *fingerprint,
                           struct kt_error *error)
{
    struct kt_buf bytes = KT_BUF_INIT(KT_CLUSTER_KEY_FILE_MAX);
    char *text = NULL;
    json_t *value = NULL;

    if (kt_gpg_export(keys->gpg, fingerprint, &bytes, error) == 0 &&
        (text = malloc(KTS_CLUSTER_KEY_BASE64_MAX + 1))) {
        kt_base64_encode(kt_buf_ptr(&bytes), kt_buf_left(&bytes), text);
        value = json_string(text);
    }
    free(text);
    kt_buf_free(&bytes);
    return value;
}

int kts_job_cluster_key_hand(struct kts_job *job, const json_t *args, json_t **result,
                             struct kt_error *error)
{
    const char *fingerprint = kts_cluster_key_text(args, "fingerprint");
    struct kt_cluster_key_next next = {.statement = NULL};
    struct kts_cluster_keys keys = {.gpg = NULL};
    const struct kt_gpg_named *key = NULL;
    json_t *file = NULL, *public_key = NULL;
    int rc = kts_cluster_keys_open(job, &keys, error);
    int has_next = kt_cluster_key_next_load(job->start->paths, &next, NULL) == 0 &&
                   strcmp(next.fingerprint, fingerprint) == 0;

    if (rc == 0 && !(key = kts_cluster_keys_find(&keys, fingerprint)))
        rc = kt_error_set(error, KT_ERR_NOT_FOUND, "see ktadmin status: which nodes have it",
                          "this node does not have the cluster's key %s", fingerprint);
    if (rc == 0 && (!(file = sealed_json(job, key, kts_cluster_key_text(args, "to"), error)) ||
                    !(public_key = public_json(&keys, fingerprint, error))))
        rc = error->code ? error->code : KT_ERR_NO_MEMORY;
    if (rc == 0)
        *result = json_pack("{s:s, s:s, s:O, s:O, s:s*}", "fingerprint", fingerprint, "keygrip",
                            key->keygrip, "sealed", file, "public", public_key, "statement",
                            has_next ? next.statement : NULL);
    json_decref(file);
    json_decref(public_key);
    kt_cluster_key_next_free(&next);
    kt_gpg_free(keys.gpg);
    return rc;
}

static int ask(const struct kts_job *job, const json_t *args, const char *verb, json_t *question,
               json_t **answer, struct kt_error *error)
{
    return kts_listed_ask(job, kts_cluster_key_text(args, "member"), verb, question, TAKE_MS,
                          answer, error);
}

// {"fingerprint", "to": the CA root by which the other node, or this one, opens it}; NULL: `error` says
// why.
static json_t *hand_args(const struct kts_job *job, const json_t *args, int here,
                         struct kt_error *error)
{
    char root[KT_SHA256_TEXT];
    json_t *state = NULL, *with = NULL;

    int rc = ask(job, args, "node.state", NULL, &state, error);

    if (rc == 0)
        rc = here ? kts_seal_root_here(job->start->paths, job->ca_cert, state, root, error)
                  : kts_seal_root_for(job->start->paths, state, root, error);
    if (rc == 0)
        with = json_pack("{s:O, s:s}", "fingerprint", json_object_get(args, "fingerprint"), "to",
                         root);
    json_decref(state);
    return with;
}

int kts_job_cluster_key_give(struct kts_job *job, const json_t *args, json_t **result,
                             struct kt_error *error)
{
    json_t *question = NULL, *with = hand_args(job, args, 0, error);
    int rc = with          ? kts_job_cluster_key_hand(job, with, &question, error)
             : error->code ? error->code
                           : KT_ERR_NO_MEMORY;

    json_decref(with);
    return rc ? rc : ask(job, args, "cluster_key.take", question, result, error);
}

int kts_job_cluster_key_fetch(struct kts_job *job, const json_t *args, json_t **result,
                              struct kt_error *error)
{
    const char *fingerprint = kts_cluster_key_text(args, "fingerprint");
    json_t *answer = NULL, *with = hand_args(job, args, 1, error);
    int rc = with          ? ask(job, args, "cluster_key.hand", with, &answer, error)
             : error->code ? error->code
                           : KT_ERR_NO_MEMORY;

    if (rc == 0 && strcmp(kts_cluster_key_text(answer, "fingerprint"), fingerprint) != 0)
        rc = kt_error_set(error, KT_ERR_PROTOCOL, NULL, "another key came than was asked for");
    if (rc == 0) {
        json_object_set_new(answer, "listed", json_true());
        rc = kts_job_cluster_key_take(job, answer, result, error);
    }
    json_decref(answer);
    return rc;
}

int kts_job_cluster_key_bring(struct kts_job *job, const json_t *args, json_t **result,
                              struct kt_error *error)
{
    json_t *answer = NULL;
    int rc = kts_job_cluster_key_give(job, args, &answer, error);

    json_decref(answer);
    answer = NULL;
    if (rc == 0)
        rc = ask(job, args, "cluster_key.use",
                 json_pack("{s:O}", "fingerprint", json_object_get(args, "fingerprint")), &answer,
                 error);
    json_decref(answer);
    answer = NULL;
    if (rc == 0)
        rc = ask(job, args, "cluster_key.load", json_object(), &answer, error);
    json_decref(answer);
    if (rc == 0)
        *result = json_object();
    return rc;
}
