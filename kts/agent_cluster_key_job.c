// SPDX-License-Identifier: Apache-2.0
// The rotation of the cluster's OpenPGP key: what is done to GnuPG's home and to files, and what nodes
// hand to each other. Every job can be repeated.
#include "kts/agent_cluster_key.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "kts/agent_cluster.h"
#include "kts/agent_listed.h"
#include "kts/agent_seal.h"
#include "lib/buf.h"
#include "lib/cluster_key.h"
#include "lib/file.h"
#include "lib/gpg_stream.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/secret.h"

#define TAKE_MS    20000
#define BASE64_MAX (4 * ((KT_CLUSTER_KEY_FILE_MAX + 2) / 3))
#define PURPOSE    "keytrustee cluster key"
#define PROOF      "this node has the cluster's key\n"

static const char *text_of(const json_t *args, const char *name)
{
    const char *text = json_string_value(json_object_get(args, name));

    return text ? text : "";
}

// --- keys of the home ---

struct keys {
    struct kt_gpg *gpg;
    struct kt_gpg_named list[KT_CLUSTER_KEYS_MAX]; // the cluster's with their secret half here
    size_t count;
    char user_id[KT_CLUSTER_USER_ID];
};

static int list_keys(struct keys *keys, struct kt_error *error)
{
    return kt_gpg_list_named(keys->gpg, keys->user_id, 1, keys->list, KT_CLUSTER_KEYS_MAX,
                             &keys->count, error);
}

static int open_keys(const struct kts_job *job, struct keys *keys, struct kt_error *error)
{
    int rc = kt_gpg_new(job->start->paths->gnupg, &keys->gpg, error);

    kt_cluster_key_user_id(&job->start->info->cluster_id, keys->user_id);
    return rc ? rc : list_keys(keys, error);
}

static const struct kt_gpg_named *find_key(const struct keys *keys, const char *fingerprint)
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
                                            const struct keys *keys)
{
    struct kt_cluster_key_next next = {.statement = NULL};
    const struct kt_gpg_named *found = NULL;

    if (kt_cluster_key_next_load(job->start->paths, &next, NULL) == 0 &&
        strcmp(next.fingerprint, job->start->info->openpgp_fingerprint) != 0 &&
        !is_in_line(args, next.fingerprint))
        found = find_key(keys, next.fingerprint);
    kt_cluster_key_next_free(&next);
    return found;
}

// One that never counted: a killed run has left it. Else a new one.
static int choose(const struct kts_job *job, const json_t *args, struct keys *keys,
                  struct kt_cluster_key_next *next, struct kt_error *error)
{
    const struct kt_gpg_named *found = find_left(job, args, keys);
    char made[KT_OPENPGP_FINGERPRINT_TEXT];
    int rc;

    if (!found) {
        rc = kt_gpg_generate(keys->gpg, KT_GPG_CLUSTER, keys->user_id, made, error);
        if (rc == 0)
            rc = list_keys(keys, error);
        if (rc)
            return rc;
        found = find_key(keys, made);
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
    const char *before = text_of(args, "before"), *restored = text_of(args, "restored");

    *statement = (struct kt_key_statement){
        .cluster_id = info->cluster_id,
        .number = (uint32_t)json_integer_value(json_object_get(args, "number")),
        .time_us = kt_time_now()};
    memcpy(statement->key, info->openpgp_fingerprint, sizeof(statement->key));
    memcpy(statement->next, next, sizeof(statement->next));
    if ((before[0] && kt_hex_decode(before, statement->before, KT_SHA256_LEN) != 0) ||
        (restored[0] && kt_hex_decode(restored, statement->restored, KT_SHA256_LEN) != 0))
        return KT_ERR_INVALID;
    return kt_incarnation_parse(text_of(args, "incarnation"), &statement->incarnation);
}

static int sign(const struct kts_job *job, const json_t *args, struct keys *keys,
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
static int make_next(struct kts_job *job, const json_t *args, struct keys *keys,
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
    const char *newest = text_of(args, "newest");
    struct kt_cluster_key_next next = {.statement = NULL};
    char fingerprint[KT_OPENPGP_FINGERPRINT_TEXT] = "";
    struct keys keys = {.gpg = NULL};
    int rc = open_keys(job, &keys, error);
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
                            !listed || find_key(&keys, fingerprint) != NULL, "listed", listed);
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
        kt_file_read(path, &bytes, error) == 0 && (text = malloc(BASE64_MAX + 1))) {
        kt_base64_encode(kt_buf_ptr(&bytes), kt_buf_left(&bytes), text);
        if (kts_seal_for(job->ca_cert, root, PURPOSE, key->fingerprint, text, &sealed, error) == 0)
            value = json_string(sealed);
        kt_wipe(text, BASE64_MAX + 1);
    }
    free(sealed);
    free(text);
    kt_buf_free(&bytes); // wipes
    return value;
}

static json_t *public_json(struct keys *keys, const char *fingerprint, struct kt_error *error)
{
    struct kt_buf bytes = KT_BUF_INIT(KT_CLUSTER_KEY_FILE_MAX);
    char *text = NULL;
    json_t *value = NULL;

    if (kt_gpg_export(keys->gpg, fingerprint, &bytes, error) == 0 &&
        (text = malloc(BASE64_MAX + 1))) {
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
    const char *fingerprint = text_of(args, "fingerprint");
    struct kt_cluster_key_next next = {.statement = NULL};
    struct keys keys = {.gpg = NULL};
    const struct kt_gpg_named *key = NULL;
    json_t *file = NULL, *public_key = NULL;
    int rc = open_keys(job, &keys, error);
    int has_next = kt_cluster_key_next_load(job->start->paths, &next, NULL) == 0 &&
                   strcmp(next.fingerprint, fingerprint) == 0;

    if (rc == 0 && !(key = find_key(&keys, fingerprint)))
        rc = kt_error_set(error, KT_ERR_NOT_FOUND, "see ktadmin status: which nodes have it",
                          "this node does not have the cluster's key %s", fingerprint);
    if (rc == 0 && (!(file = sealed_json(job, key, text_of(args, "to"), error)) ||
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
    return kts_listed_ask(job, text_of(args, "member"), verb, question, TAKE_MS, answer, error);
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

static int unseal(const struct kts_job *job, const json_t *args, struct kt_buf *out,
                  struct kt_error *error)
{
    const char *sealed = NULL;
    struct kt_secret *text = NULL;
    size_t n = KT_CLUSTER_KEY_FILE_MAX;
    uint8_t *bytes = NULL;
    int rc = kt_json_string(args, "sealed", 1, KTS_SEALED_MAX, &sealed, error);

    if (rc == 0)
        rc = kts_seal_open(job->start->paths, PURPOSE, text_of(args, "fingerprint"), sealed, &text,
                           error);
    if (rc)
        return rc;
    bytes = kt_secret_len(text) <= BASE64_MAX ? malloc(BASE64_MAX) : NULL;
    rc = bytes ? kt_base64_decode(kt_secret_text(text), kt_secret_len(text), bytes, &n)
               : KT_ERR_TOO_LARGE;
    if (rc == 0)
        rc = kt_buf_put(out, bytes, n);
    if (bytes)
        kt_wipe(bytes, BASE64_MAX);
    free(bytes);
    kt_secret_free(text);
    return rc ? kt_error_set(error, rc, NULL, "what was sealed is no key in base64") : 0;
}

static int decode(const json_t *args, const char *name, struct kt_buf *out, struct kt_error *error)
{
    const char *text = NULL;
    size_t n = KT_CLUSTER_KEY_FILE_MAX;
    uint8_t *bytes = NULL;
    int rc = kt_json_string(args, name, 1, BASE64_MAX, &text, error);

    if (rc)
        return rc;
    bytes = malloc(BASE64_MAX);
    rc = bytes ? kt_base64_decode(text, strlen(text), bytes, &n) : KT_ERR_NO_MEMORY;
    if (rc == 0)
        rc = kt_buf_put(out, bytes, n);
    if (bytes)
        kt_wipe(bytes, BASE64_MAX);
    free(bytes);
    return rc ? kt_error_set(error, rc, NULL, "'%s' is no key in base64", name) : 0;
}

// What is not listed yet must be named by the key that this node uses, and by no other.
static int check_named(const struct kts_job *job, const json_t *args, const char *fingerprint,
                       struct kt_error *error)
{
    const char *text = text_of(args, "statement");
    struct kt_key_statement statement;
    int rc;

    if (json_is_true(json_object_get(args, "listed")))
        return 0;
    rc = kt_key_statement_verify(text, strlen(text), &statement, error);
    if (rc == 0 &&
        (strcmp(statement.key, job->start->info->openpgp_fingerprint) != 0 ||
         strcmp(statement.next, fingerprint) != 0 ||
         memcmp(&statement.cluster_id, &job->start->info->cluster_id, sizeof(struct kt_uuid)) != 0))
        rc = kt_error_set(error, KT_ERR_SIGNATURE, "see ktadmin status: which key each node has",
                          "the key %s does not follow this node's", fingerprint);
    return rc;
}

static int write_key(const struct kts_job *job, const char *keygrip, const struct kt_buf *bytes,
                     struct kt_error *error)
{
    char folder[KT_PATH_MAX], path[KT_PATH_MAX];
    int rc = kt_path_join(folder, sizeof(folder), job->start->paths->gnupg, "private-keys-v1.d");

    if (rc == 0 && mkdir(folder, 0700) != 0 && errno != EEXIST)
        return kt_error_errno(error, "cannot make the folder '%s'", folder);
    if (rc == 0)
        rc = kt_cluster_key_path(job->start->paths, keygrip, path, error);
    return rc ? rc : kt_file_replace(path, kt_buf_ptr(bytes), kt_buf_left(bytes), 0600, error);
}

// Signs and verifies: gpg has both halves, they are of one key, and it has the cluster's name.
static int prove(struct keys *keys, const char *fingerprint, const char *keygrip,
                 struct kt_error *error)
{
    struct kt_buf made = KT_BUF_INIT(KT_KEY_STATEMENT_MAX), text = KT_BUF_INIT(256);
    const struct kt_gpg_named *key;
    int rc = list_keys(keys, error);

    key = rc == 0 ? find_key(keys, fingerprint) : NULL;
    if (rc == 0 && (!key || strcmp(key->keygrip, keygrip) != 0))
        rc = kt_error_set(error, KT_ERR_CRYPTO, NULL,
                          "what was handed over is not both halves of the key %s", fingerprint);
    if (rc == 0)
        rc = kt_gpg_sign_text(keys->gpg, fingerprint, PROOF, &made, error);
    if (rc == 0)
        rc = kt_gpg_verify_text(keys->gpg, fingerprint, kt_buf_ptr(&made), kt_buf_left(&made),
                                &text, error);
    kt_buf_free(&made);
    kt_buf_free(&text);
    return rc;
}

// In a keyring of its own first: exactly the key that was named, under the cluster's name, and with that
// keygrip. What else came with it is left out.
static int check_public(const struct keys *keys, const char *fingerprint, const char *keygrip,
                        const struct kt_buf *offered, struct kt_buf *exact, struct kt_error *error)
{
    struct kt_gpg_named list[KT_CLUSTER_KEYS_MAX];
    char imported[KT_OPENPGP_FINGERPRINT_TEXT] = "";
    struct kt_gpg *gpg = NULL;
    size_t count = 0, i = 0;
    int rc = kt_gpg_new_temporary(kt_buf_ptr(offered), kt_buf_left(offered), &gpg, imported, error);

    if (rc == 0)
        rc = kt_gpg_list_named(gpg, keys->user_id, 0, list, KT_CLUSTER_KEYS_MAX, &count, error);
    while (rc == 0 && i < count && strcmp(list[i].fingerprint, fingerprint) != 0)
        i++;
    if (rc == 0 && (i == count || strcmp(list[i].keygrip, keygrip) != 0))
        rc = kt_error_set(error, KT_ERR_INVALID, NULL, "what came is not the key %s", fingerprint);
    if (rc == 0)
        rc = kt_gpg_export(gpg, fingerprint, exact, error);
    if (gpg)
        kt_gpg_free_temporary(gpg);
    return rc;
}

// One that is here and works stays as it is; one that does not work leaves nothing.
static int put_in_place(const struct kts_job *job, struct keys *keys, const char *fingerprint,
                        const char *keygrip, const struct kt_buf *file, const struct kt_buf *exact,
                        struct kt_error *error)
{
    char path[KT_PATH_MAX], imported[KT_OPENPGP_FINGERPRINT_TEXT] = "";
    int rc = kt_cluster_key_path(job->start->paths, keygrip, path, error);

    if (rc == 0 && kt_file_exists(path) && prove(keys, fingerprint, keygrip, NULL) == 0)
        return 0;
    if (rc == 0)
        rc = write_key(job, keygrip, file, error);
    if (rc)
        return rc;
    rc = kt_gpg_import(keys->gpg, kt_buf_ptr(exact), kt_buf_left(exact), imported, error);
    if (rc == 0)
        rc = prove(keys, fingerprint, keygrip, error);
    if (rc && kt_file_erase(path, NULL))
        kt_log(KT_LOG_WARNING, "'%s' is no key and cannot be removed", path);
    return rc;
}

static int keep(struct kts_job *job, const json_t *args, const struct kt_buf *file,
                const struct kt_buf *public_key, struct kt_error *error)
{
    const char *fingerprint = text_of(args, "fingerprint"), *keygrip = text_of(args, "keygrip"),
               *statement = text_of(args, "statement");
    struct kt_cluster_key_next next = {.statement = NULL};
    struct kt_buf exact = KT_BUF_INIT(KT_CLUSTER_KEY_FILE_MAX);
    struct keys keys = {.gpg = NULL};
    int rc = open_keys(job, &keys, error);

    if (rc == 0)
        rc = check_public(&keys, fingerprint, keygrip, public_key, &exact, error);
    if (rc == 0)
        rc = put_in_place(job, &keys, fingerprint, keygrip, file, &exact, error);
    memcpy(next.fingerprint, fingerprint, sizeof(next.fingerprint));
    memcpy(next.keygrip, keygrip, sizeof(next.keygrip));
    if (rc == 0 && statement[0] && !(next.statement = strdup(statement)))
        rc = kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    if (rc == 0)
        rc = kt_cluster_key_sync(job->start->paths, keygrip, error);
    if (rc == 0)
        rc = kt_cluster_key_next_save(job->start->paths, &next, error);
    kt_cluster_key_next_free(&next);
    kt_buf_free(&exact);
    kt_gpg_free(keys.gpg);
    return rc;
}

int kts_job_cluster_key_take(struct kts_job *job, const json_t *args, json_t **result,
                             struct kt_error *error)
{
    const char *fingerprint = text_of(args, "fingerprint"), *keygrip = text_of(args, "keygrip");
    struct kt_buf file = KT_BUF_INIT(KT_CLUSTER_KEY_FILE_MAX),
                  public_key = KT_BUF_INIT(KT_CLUSTER_KEY_FILE_MAX);
    int rc = 0;

    if (!kt_cluster_key_is_id(fingerprint) || !kt_cluster_key_is_id(keygrip))
        rc = kt_error_set(error, KT_ERR_BAD_REQUEST, NULL, "'keygrip' is not 40 hex digits");
    if (rc == 0)
        rc = check_named(job, args, fingerprint, error);
    if (rc == 0 && strcmp(job->start->info->openpgp_fingerprint, fingerprint) == 0) {
        *result = json_object(); // in use: nobody puts anything in its place
        return 0;
    }
    if (rc == 0)
        rc = unseal(job, args, &file, error);
    if (rc == 0)
        rc = decode(args, "public", &public_key, error);
    if (rc == 0)
        rc = keep(job, args, &file, &public_key, error);
    if (rc == 0)
        *result = json_object();
    kt_buf_free(&file); // wipes
    kt_buf_free(&public_key);
    return rc;
}

// What comes is what the active lists already.
int kts_job_cluster_key_fetch(struct kts_job *job, const json_t *args, json_t **result,
                              struct kt_error *error)
{
    const char *fingerprint = text_of(args, "fingerprint");
    json_t *answer = NULL, *with = hand_args(job, args, 1, error);
    int rc = with          ? ask(job, args, "cluster_key.hand", with, &answer, error)
             : error->code ? error->code
                           : KT_ERR_NO_MEMORY;

    if (rc == 0 && strcmp(text_of(answer, "fingerprint"), fingerprint) != 0)
        rc = kt_error_set(error, KT_ERR_PROTOCOL, NULL, "another key came than was asked for");
    if (rc == 0) {
        json_object_set_new(answer, "listed", json_true());
        rc = kts_job_cluster_key_take(job, answer, result, error);
    }
    json_decref(answer);
    return rc;
}

// --- taking into use ---

// Proved once more: the older ones are erased by it.
int kts_job_cluster_key_use(struct kts_job *job, const json_t *args, json_t **result,
                            struct kt_error *error)
{
    const char *fingerprint = text_of(args, "fingerprint");
    const struct kt_gpg_named *key;
    struct keys keys = {.gpg = NULL};
    int rc = open_keys(job, &keys, error);

    key = rc == 0 ? find_key(&keys, fingerprint) : NULL;
    if (key) {
        const struct kt_gpg_named copy = *key; // the list is read again
        rc = prove(&keys, fingerprint, copy.keygrip, error);
        if (rc == 0)
            rc = kt_cluster_key_sync(job->start->paths, copy.keygrip, error);
    }
    if (rc == 0)
        rc = kt_cluster_key_use(job->start->paths, keys.gpg, fingerprint, error);
    kt_gpg_free(keys.gpg);
    if (rc == 0)
        *result = json_object();
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
