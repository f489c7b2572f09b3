// SPDX-License-Identifier: Apache-2.0
// What a newcomer is handed: the confdir's common part, with the
// cluster's keys, and common settings.
#include <dirent.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "kts/agent_join.h"
#include "lib/buf.h"
#include "lib/encode.h"
#include "lib/file.h"
#include "lib/seal.h"
#include "lib/secret.h"

#define DEPTH_MAX 4

// Names that stay here, as patterns: a node's own keys and settings, traces of init, locks, files
// that are being written, GnuPG's seed and hidden files.
static const char *const STAYS[] = {
    ".*",          "tls", "keytrustee.conf", "init.*", "*.lock", "lock",
    "random_seed", "S.*", "*.new",           "*.bak",  NULL};

struct walk {
    EVP_PKEY *to;
    json_t *files;
    size_t total;
    struct kt_error *error;
};

static int stays(const char *name)
{
    for (size_t i = 0; STAYS[i]; i++) {
        if (fnmatch(STAYS[i], name, 0) == 0)
            return 1;
    }
    return 0;
}

// In place of what was read.
static int seal(const struct walk *walk, const char *inside, struct kt_buf *bytes)
{
    struct kt_buf sealed = KT_BUF_INIT(KTS_BUNDLE_MAX + KT_SEAL_EXTRA);
    int rc;

    if (!kt_seal_is_for_newcomer(inside, kt_buf_left(bytes)))
        return 0;
    rc =
        kt_seal(walk->to, KT_SEAL_NEWCOMER, inside, kt_buf_ptr(bytes), kt_buf_left(bytes), &sealed);
    kt_buf_free(bytes); // wipes
    if (rc == 0)
        *bytes = sealed;
    else
        kt_buf_free(&sealed);
    return rc ? kt_error_set(walk->error, rc, NULL, "'%s' cannot be sealed for the newcomer: %s",
                             inside, kt_err_text(rc))
              : 0;
}

static int add_file(struct walk *walk, const char *path, const char *inside)
{
    struct kt_buf bytes = KT_BUF_INIT(KTS_BUNDLE_MAX);
    int rc = kt_file_read(path, &bytes, walk->error);
    size_t n = kt_buf_left(&bytes), room;
    char *text = NULL;

    walk->total += n;
    if (rc == 0 && walk->total > KTS_BUNDLE_MAX)
        rc = kt_error_set(walk->error, KT_ERR_TOO_LARGE,
                          "move what the key trustee did not put there out of the confdir",
                          "the confdir has more than %u bytes", KTS_BUNDLE_MAX);
    if (rc == 0)
        rc = seal(walk, inside, &bytes);
    n = kt_buf_left(&bytes);
    room = 4 * ((n + 2) / 3) + 1;
    if (rc == 0 && !(text = malloc(room)))
        rc = kt_error_set(walk->error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    if (rc == 0) {
        kt_base64_encode(kt_buf_ptr(&bytes), n, text);
        if (json_object_set_new(walk->files, inside, json_string(text)))
            rc = kt_error_set(walk->error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    }
    if (text)
        kt_wipe(text, room);
    free(text);
    kt_buf_free(&bytes); // wipes
    return rc;
}

static int walk_folder(struct walk *walk, const char *folder, const char *inside, int depth);

static int add_entry(struct walk *walk, const char *folder, const char *inside, const char *name,
                     int depth)
{
    char path[KT_PATH_MAX], below[KT_PATH_MAX];
    struct stat st;
    int rc = kt_path_join(path, sizeof(path), folder, name);

    if (rc == 0 && inside[0])
        rc = kt_path_join(below, sizeof(below), inside, name);
    else if (rc == 0)
        memcpy(below, name, strlen(name) + 1);
    if (rc)
        return kt_error_set(walk->error, rc, NULL, "a path in the confdir is too long");
    if (lstat(path, &st)) // gone meanwhile: it was nobody's key
        return 0;
    if (S_ISREG(st.st_mode))
        return kt_path_is_shared(below) ? add_file(walk, path, below) : 0;
    return S_ISDIR(st.st_mode) && depth < DEPTH_MAX ? walk_folder(walk, path, below, depth + 1) : 0;
}

static int walk_folder(struct walk *walk, const char *folder, const char *inside, int depth)
{
    DIR *dir = opendir(folder);
    int rc = 0;

    if (!dir)
        return kt_error_errno(walk->error, "cannot open '%s'", folder);
    for (struct dirent *entry = readdir(dir); rc == 0 && entry; entry = readdir(dir)) {
        if (!stays(entry->d_name))
            rc = add_entry(walk, folder, inside, entry->d_name, depth);
    }
    closedir(dir);
    return rc;
}

int kts_bundle_files(const struct kt_paths *paths, EVP_PKEY *to, json_t **files,
                     struct kt_error *error)
{
    struct walk walk = {.to = to, .files = json_object(), .error = error};
    int rc = walk.files ? walk_folder(&walk, paths->confdir, "", 0) : KT_ERR_NO_MEMORY;

    if (rc) {
        json_decref(walk.files);
        return rc;
    }
    *files = walk.files;
    return 0;
}

json_t *kts_bundle_settings(const struct kt_settings *settings)
{
    static const enum kt_setting EQUAL[] = {
        KT_SET_DATABASE_NAME,
        KT_SET_LIMIT_HEADER,
        KT_SET_LIMIT_BODY,
        KT_SET_LIMIT_LIST,
        KT_SET_CLIENT_CERTIFICATE_LIFETIME,
        KT_SET_NODE_CERTIFICATE_LIFETIME,
        KT_SET_AUTH_CODE_LIFETIME,
    };
    json_t *object = json_object();

    for (size_t i = 0; object && i < sizeof(EQUAL) / sizeof(EQUAL[0]); i++) {
        const struct kt_setting_info *info = kt_setting_info(EQUAL[i]);
        char name[64];
        if (kt_path_join(name, sizeof(name), info->section, info->name))
            continue;
        name[strlen(info->section)] = '.';
        json_object_set_new(object, name, json_string(kt_settings_text(settings, EQUAL[i])));
    }
    return object;
}
