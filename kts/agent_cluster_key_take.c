// SPDX-License-Identifier: Apache-2.0
// The rotation of the cluster's OpenPGP key: a key that came is looked at apart from all others, kept
// beside the one in use, proved, and put in its place. Every job can be repeated.
#include "kts/agent_cluster_key_inner.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "kts/agent_seal.h"
#include "lib/buf.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/secret.h"

#define PROOF "this node has the cluster's key\n"

// --- a key that came ---

static int unseal(const struct kts_job *job, const json_t *args, struct kt_buf *out,
                  struct kt_error *error)
{
    const char *sealed = NULL;
    struct kt_secret *text = NULL;
    size_t n = KT_CLUSTER_KEY_FILE_MAX;
    uint8_t *bytes = NULL;
    int rc = kt_json_string(args, "sealed", 1, KTS_SEALED_MAX, &sealed, error);

    if (rc == 0)
        rc = kts_seal_open(job->start->paths, KTS_CLUSTER_KEY_SEALED,
                           kts_cluster_key_text(args, "fingerprint"), sealed, &text, error);
    if (rc)
        return rc;
    bytes = kt_secret_len(text) <= KTS_CLUSTER_KEY_BASE64_MAX ? malloc(KTS_CLUSTER_KEY_BASE64_MAX)
                                                              : NULL;
    rc = bytes ? kt_base64_decode(kt_secret_text(text), kt_secret_len(text), bytes, &n)
               : KT_ERR_TOO_LARGE;
    if (rc == 0)
        rc = kt_buf_put(out, bytes, n);
    if (bytes)
        kt_wipe(bytes, KTS_CLUSTER_KEY_BASE64_MAX);
    free(bytes);
    kt_secret_free(text);
    return rc ? kt_error_set(error, rc, NULL, "what was sealed is no key in base64") : 0;
}

static int decode(const json_t *args, const char *name, struct kt_buf *out, struct kt_error *error)
{
    const char *text = NULL;
    size_t n = KT_CLUSTER_KEY_FILE_MAX;
    uint8_t *bytes = NULL;
    int rc = kt_json_string(args, name, 1, KTS_CLUSTER_KEY_BASE64_MAX, &text, error);

    if (rc)
        return rc;
    bytes = malloc(KTS_CLUSTER_KEY_BASE64_MAX);
    rc = bytes ? kt_base64_decode(text, strlen(text), bytes, &n) : KT_ERR_NO_MEMORY;
    if (rc == 0)
        rc = kt_buf_put(out, bytes, n);
    if (bytes)
        kt_wipe(bytes, KTS_CLUSTER_KEY_BASE64_MAX);
    free(bytes);
    return rc ? kt_error_set(error, rc, NULL, "'%s' is no key in base64", name) : 0;
}

// What is not listed yet must be named by the key that this node uses, and by no other.
static int check_named(const struct kts_job *job, const json_t *args, const char *fingerprint,
                       struct kt_error *error)
{
    const char *text = kts_cluster_key_text(args, "statement");
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
static int prove(struct kts_cluster_keys *keys, const char *fingerprint, const char *keygrip,
                 struct kt_error *error)
{
    struct kt_buf made = KT_BUF_INIT(KT_KEY_STATEMENT_MAX), text = KT_BUF_INIT(256);
    const struct kt_gpg_named *key;
    int rc = kts_cluster_keys_list(keys, error);

    key = rc == 0 ? kts_cluster_keys_find(keys, fingerprint) : NULL;
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
static int check_public(const struct kts_cluster_keys *keys, const char *fingerprint,
                        const char *keygrip, const struct kt_buf *offered, struct kt_buf *exact,
                        struct kt_error *error)
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
static int put_in_place(const struct kts_job *job, struct kts_cluster_keys *keys,
                        const char *fingerprint, const char *keygrip, const struct kt_buf *file,
                        const struct kt_buf *exact, struct kt_error *error)
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
    const char *fingerprint = kts_cluster_key_text(args, "fingerprint"),
               *keygrip = kts_cluster_key_text(args, "keygrip"),
               *statement = kts_cluster_key_text(args, "statement");
    struct kt_cluster_key_next next = {.statement = NULL};
    struct kt_buf exact = KT_BUF_INIT(KT_CLUSTER_KEY_FILE_MAX);
    struct kts_cluster_keys keys = {.gpg = NULL};
    int rc = kts_cluster_keys_open(job, &keys, error);

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
    const char *fingerprint = kts_cluster_key_text(args, "fingerprint"),
               *keygrip = kts_cluster_key_text(args, "keygrip");
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
// --- taking into use ---

// Proved once more: the older ones are erased by it.
int kts_job_cluster_key_use(struct kts_job *job, const json_t *args, json_t **result,
                            struct kt_error *error)
{
    const char *fingerprint = kts_cluster_key_text(args, "fingerprint");
    const struct kt_gpg_named *key;
    struct kts_cluster_keys keys = {.gpg = NULL};
    int rc = kts_cluster_keys_open(job, &keys, error);

    key = rc == 0 ? kts_cluster_keys_find(&keys, fingerprint) : NULL;
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
