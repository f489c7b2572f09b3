// SPDX-License-Identifier: Apache-2.0
// The next key of a cluster beside the one in use, and the step from one to the other.
#include "lib/cluster_key.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/file.h"
#include "lib/json.h"

#define NAME     "cluster-key.json"
#define FOLDER   "private-keys-v1.d"
#define REVOKING "openpgp-revocs.d"
#define FILE_MAX 65536
#define VERSION  1

void kt_cluster_key_user_id(const struct kt_uuid *cluster_id, char out[KT_CLUSTER_USER_ID])
{
    char id[KT_UUID_TEXT];

    kt_uuid_format(cluster_id, id);
    snprintf(out, KT_CLUSTER_USER_ID, "keytrustee cluster %s", id);
}

void kt_cluster_key_next_free(struct kt_cluster_key_next *next)
{
    free(next->statement);
    *next = (struct kt_cluster_key_next){.statement = NULL};
}

int kt_cluster_key_is_id(const char *text)
{
    return strlen(text) == KT_OPENPGP_FINGERPRINT_TEXT - 1 &&
           strspn(text, "0123456789ABCDEF") == KT_OPENPGP_FINGERPRINT_TEXT - 1;
}

// --- cluster-key.json ---

static int next_path(const struct kt_paths *paths, char out[KT_PATH_MAX], struct kt_error *error)
{
    int rc = kt_path_join(out, KT_PATH_MAX, paths->confdir, NAME);

    return rc ? kt_error_set(error, rc, NULL, "a path in the confdir is too long") : 0;
}

static int take_id(const json_t *object, const char *name, char out[KT_OPENPGP_FINGERPRINT_TEXT],
                   struct kt_error *error)
{
    const char *text = NULL;
    int rc = kt_json_string(object, name, KT_OPENPGP_FINGERPRINT_TEXT - 1,
                            KT_OPENPGP_FINGERPRINT_TEXT - 1, &text, error);

    if (rc == 0 && !kt_cluster_key_is_id(text))
        rc = kt_error_set(error, KT_ERR_INVALID, NULL, "'%s' is not 40 hex digits", name);
    if (rc == 0)
        memcpy(out, text, KT_OPENPGP_FINGERPRINT_TEXT);
    return rc;
}

static int read_members(const json_t *object, struct kt_cluster_key_next *next,
                        struct kt_error *error)
{
    static const char *const NAMES[] = {"version", "fingerprint", "keygrip", "statement", NULL};
    const char *statement = NULL;
    int64_t version = 0;
    int rc = kt_json_integer(object, "version", VERSION, VERSION, 1, &version, error);

    if (rc == 0)
        rc = kt_json_only(object, NAMES, error);
    if (rc == 0)
        rc = take_id(object, "fingerprint", next->fingerprint, error);
    if (rc == 0)
        rc = take_id(object, "keygrip", next->keygrip, error);
    if (rc == 0)
        rc = kt_json_string(object, "statement", 0, KT_KEY_STATEMENT_MAX, &statement, error);
    if (rc == 0 && statement && statement[0] && !(next->statement = strdup(statement)))
        rc = kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    return rc;
}

int kt_cluster_key_next_load(const struct kt_paths *paths, struct kt_cluster_key_next *next,
                             struct kt_error *error)
{
    struct kt_cluster_key_next fresh = {.statement = NULL};
    struct kt_error why = {0};
    json_t *object = NULL;
    char path[KT_PATH_MAX], *text = NULL;
    int rc = next_path(paths, path, error);

    if (rc)
        return rc;
    rc = kt_file_read_text(path, FILE_MAX, &text, error);
    if (rc)
        return rc;
    rc = kt_json_parse_object(text, strlen(text), &object, &why);
    if (rc == 0)
        rc = read_members(object, &fresh, &why);
    if (rc) {
        kt_cluster_key_next_free(&fresh);
        rc = kt_error_set(error, KT_ERR_INVALID,
                          "remove it, then run ktadmin rotate --cluster-key again", "'%s': %s",
                          path, why.message);
    } else {
        *next = fresh;
    }
    json_decref(object);
    free(text);
    return rc;
}

int kt_cluster_key_next_save(const struct kt_paths *paths, const struct kt_cluster_key_next *next,
                             struct kt_error *error)
{
    char path[KT_PATH_MAX], *text = NULL;
    json_t *object =
        json_pack("{s:i, s:s, s:s, s:s*}", "version", VERSION, "fingerprint", next->fingerprint,
                  "keygrip", next->keygrip, "statement", next->statement);
    int rc = next_path(paths, path, error);

    text = object ? kt_json_text(object) : NULL;
    if (rc == 0 && !text)
        rc = kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    if (rc == 0)
        rc = kt_file_replace(path, text, strlen(text), 0600, error);
    free(text);
    json_decref(object);
    return rc;
}

// --- from one key to the next ---

static int inner_path(const struct kt_paths *paths, const char *folder, const char *id,
                      const char *suffix, char out[KT_PATH_MAX], struct kt_error *error)
{
    char name[128];

    snprintf(name, sizeof(name), "%.20s/%.40s%.4s", folder, id, suffix);
    return kt_path_join(out, KT_PATH_MAX, paths->gnupg, name)
               ? kt_error_set(error, KT_ERR_TOO_LARGE, NULL, "a path in the confdir is too long")
               : 0;
}

int kt_cluster_key_path(const struct kt_paths *paths, const char *keygrip, char out[KT_PATH_MAX],
                        struct kt_error *error)
{
    return inner_path(paths, FOLDER, keygrip, ".key", out, error);
}

// The revocation that GnuPG made with the key goes with it: who has it could revoke the key, and what
// it has signed would verify no more. It goes first: by the key's file the next run finds both.
static int erase(const struct kt_paths *paths, const struct kt_gpg_named *key,
                 struct kt_error *error)
{
    char path[KT_PATH_MAX];
    int rc = inner_path(paths, REVOKING, key->fingerprint, ".rev", path, error);

    if (rc == 0)
        rc = kt_file_erase(path, error);
    if (rc == 0)
        rc = kt_cluster_key_path(paths, key->keygrip, path, error);
    return rc ? rc : kt_file_erase(path, error);
}

static int erase_others(const struct kt_paths *paths, const struct kt_gpg_named *list, size_t count,
                        const char *fingerprint, struct kt_error *error)
{
    char folder[KT_PATH_MAX];
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < count; i++) {
        if (strcmp(list[i].fingerprint, fingerprint) != 0)
            rc = erase(paths, &list[i], error);
    }
    if (rc == 0 && kt_path_join(folder, sizeof(folder), paths->gnupg, FOLDER))
        rc = kt_error_set(error, KT_ERR_TOO_LARGE, NULL, "a path in the confdir is too long");
    return rc ? rc : kt_dir_sync(folder, error);
}

static int forget_next(const struct kt_paths *paths, struct kt_error *error)
{
    char path[KT_PATH_MAX];
    int rc = next_path(paths, path, error);

    if (rc == 0 && unlink(path) != 0 && errno != ENOENT)
        rc = kt_error_errno(error, "cannot remove '%s'", path);
    return rc ? rc : kt_dir_sync(paths->confdir, error);
}

static int sync_file(const char *path, struct kt_error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC), rc = 0;

    if (fd < 0 || fsync(fd) != 0)
        rc = kt_error_errno(error, "cannot make '%s' durable", path);
    if (fd >= 0)
        close(fd);
    return rc;
}

int kt_cluster_key_sync(const struct kt_paths *paths, const char *keygrip, struct kt_error *error)
{
    char path[KT_PATH_MAX], ring[KT_PATH_MAX], folder[KT_PATH_MAX];
    int rc = kt_cluster_key_path(paths, keygrip, path, error);

    if (rc == 0 && (kt_path_join(ring, sizeof(ring), paths->gnupg, "pubring.kbx") ||
                    kt_path_join(folder, sizeof(folder), paths->gnupg, FOLDER)))
        rc = kt_error_set(error, KT_ERR_TOO_LARGE, NULL, "a path in the confdir is too long");
    if (rc == 0)
        rc = sync_file(path, error);
    if (rc == 0)
        rc = sync_file(ring, error);
    if (rc == 0)
        rc = kt_dir_sync(folder, error);
    return rc ? rc : kt_dir_sync(paths->gnupg, error);
}

// A late word about the key that is in use must not take the next one away.
static int has_another_next(const struct kt_paths *paths, const char *fingerprint)
{
    struct kt_cluster_key_next next = {.statement = NULL};
    int has = kt_cluster_key_next_load(paths, &next, NULL) == 0 &&
              strcmp(next.fingerprint, fingerprint) != 0;

    kt_cluster_key_next_free(&next);
    return has;
}

int kt_cluster_key_use(const struct kt_paths *paths, struct kt_gpg *gpg, const char *fingerprint,
                       struct kt_error *error)
{
    struct kt_gpg_named list[KT_CLUSTER_KEYS_MAX];
    struct kt_cluster_info info;
    char user_id[KT_CLUSTER_USER_ID], path[KT_PATH_MAX];
    size_t count = 0;
    int found = 0, rc = kt_cluster_info_load(paths->cluster, &info, error);

    if (rc)
        return rc;
    if (strcmp(info.openpgp_fingerprint, fingerprint) == 0 && has_another_next(paths, fingerprint))
        return 0;
    kt_cluster_key_user_id(&info.cluster_id, user_id);
    rc = kt_gpg_list_named(gpg, user_id, 1, list, KT_CLUSTER_KEYS_MAX, &count, error);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        if (strcmp(list[i].fingerprint, fingerprint) != 0)
            continue;
        rc = kt_cluster_key_path(paths, list[i].keygrip, path, error);
        found = rc == 0 && kt_file_exists(path);
    }
    if (rc == 0 && !found)
        rc = kt_error_set(error, KT_ERR_NOT_FOUND, "run ktadmin rotate --cluster-key again",
                          "this node does not have the cluster's key %s", fingerprint);
    if (rc == 0 && strcmp(info.openpgp_fingerprint, fingerprint) != 0) {
        memcpy(info.openpgp_fingerprint, fingerprint, KT_OPENPGP_FINGERPRINT_TEXT);
        rc = kt_cluster_info_save(paths->cluster, &info, error);
    }
    if (rc == 0)
        rc = erase_others(paths, list, count, fingerprint, error);
    return rc ? rc : forget_next(paths, error);
}
