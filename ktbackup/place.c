// SPDX-License-Identifier: Apache-2.0
// Finding the confdir, what kind it is, and who may read it.
#include "ktbackup/place.h"

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/backup_state.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/proc.h"

#define CLIENT_FILE_MAX 65536
#define OLD_KMS         "/var/lib/kms-keytrustee"
#define KEY_FILE_MAX    ((size_t)1 << 20)

// Where a confdir usually is; the first that exists is taken.
static const char *const USUAL[] = {
    KT_DEFAULT_CONFDIR,
    "/var/lib/keytrustee-client",
    OLD_KMS "/keytrustee/.keytrustee",
};

int ktb_real_path(const char *path, char out[KT_PATH_MAX], struct kt_error *error)
{
    char real[PATH_MAX];

    if (!realpath(path, real))
        return errno == ENOENT || errno == ENOTDIR
                   ? kt_error_set(error, KT_ERR_NOT_FOUND, NULL, "there is no '%.300s'", path)
                   : kt_error_errno(error, "cannot follow the path '%.300s'", path);
    if (strlen(real) >= KT_PATH_MAX)
        return kt_error_set(error, KT_ERR_TOO_LARGE, NULL, "the path '%.100s...' is too long",
                            real);
    memcpy(out, real, strlen(real) + 1);
    return 0;
}

static int holds(const char *dir, const char *name)
{
    char path[KT_PATH_MAX];

    return kt_path_join(path, sizeof(path), dir, name) == 0 && kt_file_exists(path);
}

static int own_file(const struct ktb_place *place, const char *name, char out[KT_PATH_MAX])
{
    return kt_path_join(out, KT_PATH_MAX, place->confdir, name);
}

// The folder that --confdir means: itself, or .keytrustee in it.
static int choose(const char *given, char out[KT_PATH_MAX], struct kt_error *error)
{
    char inner[KT_PATH_MAX];
    int rc = ktb_real_path(given, out, error);

    if (rc == KT_ERR_NOT_FOUND)
        return kt_error_set(error, KT_ERR_NOT_INITIALISED, "give --confdir",
                            "there is no confdir '%.300s'", given);
    if (rc == 0 && !holds(out, "cluster.json") && !holds(out, "client.json") &&
        kt_path_join(inner, sizeof(inner), out, ".keytrustee") == 0 && kt_file_exists(inner))
        memcpy(out, inner, strlen(inner) + 1);
    return rc;
}

static int find_confdir(const struct kt_cli_run *run, char out[KT_PATH_MAX], struct kt_error *error)
{
    const char *given = kt_cli_value(run, "confdir");
    struct stat st;

    if (given)
        return choose(given, out, error);
    for (size_t i = 0; i < sizeof(USUAL) / sizeof(USUAL[0]); i++)
        // What may not be looked into is there as well: it will say why.
        if (stat(USUAL[i], &st) == 0 || errno == EACCES)
            return choose(USUAL[i], out, error);
    return kt_error_set(error, KT_ERR_NOT_INITIALISED, "give --confdir",
                        "there is no confdir in any of the usual places");
}

static void name_owner(const struct stat *st, struct ktb_place *place)
{
    const struct passwd *user = getpwuid(st->st_uid);
    const struct group *group = getgrgid(st->st_gid);

    snprintf(place->user, sizeof(place->user), "%.32s", user ? user->pw_name : "");
    snprintf(place->group, sizeof(place->group), "%.32s", group ? group->gr_name : "");
}

// As root: never reads with root's rights what the account may have put there.
static int become_owner(struct ktb_place *place, struct kt_error *error)
{
    struct stat st;

    if (stat(place->confdir, &st) != 0)
        return kt_error_errno(error, "cannot look at '%s'", place->confdir);
    name_owner(&st, place);
    if (geteuid() == 0 && st.st_uid != 0)
        return kt_proc_drop_to_owner(place->confdir, error);
    if (geteuid() != st.st_uid)
        return kt_error_set(error, KT_ERR_PERMISSION, "run it as that account, or as root",
                            "'%s' belongs to the account '%s'", place->confdir, place->user);
    return 0;
}

// --- kinds ---

static int open_server(struct ktb_place *place, struct kt_error *error)
{
    int rc = kt_paths_resolve(place->confdir, &place->paths, error);

    if (rc == 0)
        rc = kt_cluster_info_load(place->paths.cluster, &place->info, error);
    if (rc == 0)
        rc = kt_settings_load(place->paths.settings, &place->settings, error);
    if (rc == 0)
        rc = kt_backup_state_path(&place->paths, place->state);
    if (rc)
        return rc;
    place->kind = KT_BACKUP_SERVER;
    place->cluster_id = place->info.cluster_id;
    memcpy(place->owner, place->info.node, sizeof(place->info.node));
    memcpy(place->signer, place->info.openpgp_fingerprint, sizeof(place->signer));
    memcpy(place->gnupg, place->paths.gnupg, sizeof(place->gnupg));
    memcpy(place->output, place->base, sizeof(place->output));
    return 0;
}

// Cluster and client id, and the key that signs, from client.json.
static int read_client(struct ktb_place *place, const char *path, struct kt_error *error)
{
    const char *client = NULL, *cluster = NULL, *key = NULL;
    struct kt_uuid id;
    char *text = NULL;
    json_t *object = NULL;
    int rc = kt_file_read_text(path, CLIENT_FILE_MAX, &text, error);

    if (rc)
        return rc;
    if (kt_json_parse_object(text, strlen(text), &object, NULL) != 0 ||
        kt_json_string(object, "client", 0, KT_UUID_TEXT - 1, &client, NULL) != 0 ||
        kt_json_string(object, "cluster", 0, KT_UUID_TEXT - 1, &cluster, NULL) != 0 ||
        kt_json_string(object, "openpgp_fingerprint", 40, 40, &key, NULL) != 0)
        rc = kt_error_set(error, KT_ERR_INVALID, "restore it from a backup", "'%s' is damaged",
                          path);
    else if (!client || !cluster || kt_uuid_parse(client, &id) != 0 ||
             kt_uuid_parse(cluster, &place->cluster_id) != 0)
        rc = kt_error_set(error, KT_ERR_NOT_INITIALISED, "keytrustee register",
                          "the client in '%s' is not registered yet", place->confdir);
    if (rc == 0 && key) {
        kt_uuid_format(&id, place->owner);
        memcpy(place->signer, key, 40);
        place->signer[40] = '\0';
    }
    json_decref(object);
    free(text);
    return rc;
}

static int open_client(struct ktb_place *place, struct kt_error *error)
{
    char path[KT_PATH_MAX];
    int rc = own_file(place, "client.json", path);

    place->kind = KT_BACKUP_CLIENT;
    if (rc == 0)
        rc = own_file(place, "gnupg", place->gnupg);
    if (rc == 0)
        rc = own_file(place, "backup.json", place->state);
    if (rc)
        return kt_error_set(error, rc, "choose a shorter confdir", "a path is too long");
    return read_client(place, path, error);
}

// Somebody else's confdir: the old KMS's, or one of Navigator Encrypt.
static int open_files(struct ktb_place *place)
{
    size_t n = strlen(OLD_KMS);

    place->kind = KT_BACKUP_FILES;
    for (size_t i = 0; i < sizeof(place->owner) - 1 && place->host[i]; i++)
        place->owner[i] = place->host[i];
    if (strncmp(place->confdir, OLD_KMS "/", n + 1) == 0)
        memcpy(place->output, OLD_KMS, n + 1);
    return 0;
}

static int open_found(struct ktb_place *place, struct kt_error *error)
{
    const char *slash = strrchr(place->confdir, '/');
    size_t n = slash == place->confdir ? 1 : (size_t)(slash - place->confdir);

    memcpy(place->base, place->confdir, n);
    place->base[n] = '\0';
    if (gethostname(place->host, sizeof(place->host) - 1) != 0)
        return kt_error_errno(error, "cannot learn the host's name");
    if (kt_archive_path_check(place->confdir + 1) != 0)
        return kt_error_set(error, KT_ERR_INVALID, "choose a path without them",
                            "the confdir's path has characters that an archive cannot hold");
    if (holds(place->confdir, "client.json"))
        return open_client(place, error);
    if (holds(place->confdir, "cluster.json"))
        return open_server(place, error);
    if (holds(place->confdir, "init.json") || holds(place->confdir, "join.json"))
        return kt_error_set(error, KT_ERR_NOT_INITIALISED, "finish ktadmin init or join first",
                            "the node in '%s' is not finished", place->confdir);
    return open_files(place);
}

int ktb_place_open(const struct kt_cli_run *run, struct ktb_place *place, struct kt_error *error)
{
    int rc;

    memset(place, 0, sizeof(*place));
    rc = find_confdir(run, place->confdir, error);
    if (rc == 0)
        rc = become_owner(place, error);
    return rc ? rc : open_found(place, error);
}

int ktb_place_try(const struct kt_cli_run *run, struct ktb_place *place, struct kt_error *error)
{
    int rc;

    memset(place, 0, sizeof(*place));
    if (!kt_cli_value(run, "confdir")) {
        rc = find_confdir(run, place->confdir, NULL);
        if (rc || access(place->confdir, R_OK | X_OK) != 0) { // not for this caller
            place->confdir[0] = '\0';
            return 0;
        }
    }
    return ktb_place_open(run, place, error);
}

void ktb_place_close(struct ktb_place *place)
{
    kt_settings_free(place->settings);
    place->settings = NULL;
}

// --- keys for signatures ---

int ktb_place_export(struct ktb_place *place, struct kt_gpg *gpg, struct kt_error *error)
{
    struct kt_buf text = KT_BUF_INIT(KT_BACKUP_KEY - 1);
    int rc = kt_gpg_export_text(gpg, place->signer, &text, error);

    if (rc == 0) {
        memcpy(place->key, kt_buf_ptr(&text), kt_buf_left(&text));
        place->key[kt_buf_left(&text)] = '\0';
    }
    kt_buf_free(&text);
    return rc;
}

static int open_key(const char *path, struct ktb_trust *trust, struct kt_error *error)
{
    struct kt_buf key = KT_BUF_INIT(KEY_FILE_MAX);
    int rc = kt_file_read(path, &key, error);

    if (rc == 0)
        rc = kt_gpg_new_temporary(kt_buf_ptr(&key), kt_buf_left(&key), &trust->trust.gpg,
                                  trust->trust.signer, error);
    trust->is_temporary = rc == 0;
    kt_buf_free(&key);
    return rc;
}

int ktb_trust_open(const struct kt_cli_run *run, const struct ktb_place *place,
                   struct ktb_trust *trust, struct kt_error *error)
{
    const char *key = kt_cli_value(run, "key");
    struct kt_error why = {0};

    memset(trust, 0, sizeof(*trust));
    if (key)
        return open_key(key, trust, error);
    if (place->confdir[0] == '\0' || place->gnupg[0] == '\0')
        return 0;
    memcpy(trust->trust.signer, place->signer, sizeof(trust->trust.signer));
    // Without them backups by the present key are still made and checked.
    if (place->kind == KT_BACKUP_SERVER &&
        kt_backup_trust_older(&place->paths, &place->cluster_id, &trust->trust, &why) != 0)
        fprintf(stderr, "ktbackup: warning: no older key of the cluster is known: %s\nhint: %s\n",
                why.message, why.hint);
    return kt_gpg_new(place->gnupg, &trust->trust.gpg, error);
}

void ktb_trust_close(struct ktb_trust *trust)
{
    if (trust->is_temporary)
        kt_gpg_free_temporary(trust->trust.gpg);
    else
        kt_gpg_free(trust->trust.gpg);
    trust->trust.gpg = NULL;
}
