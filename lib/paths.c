// SPDX-License-Identifier: Apache-2.0
// Where a node's things are, derived from the confdir.
#include "lib/paths.h"

#include <fnmatch.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/file.h"

#define CONFDIR_NAME ".keytrustee"

static int is_folder(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

static int too_long(const char *path, struct kt_error *error)
{
    return kt_error_set(error, KT_ERR_TOO_LARGE, "choose a shorter confdir",
                        "the path '%.100s...' is longer than %d bytes", path, KT_PATH_MAX - 1);
}

// Absolute, without "//", "/./" and a slash at the end. ".." is left to the system: only it knows
// where a link leads, so the folder has to exist then.
static int make_absolute(const char *given, char out[KT_PATH_MAX], struct kt_error *error)
{
    char full[KT_PATH_MAX], real[PATH_MAX];
    size_t at = 0;

    if (given[0] == '\0')
        return kt_error_set(error, KT_ERR_INVALID, "name a folder", "the confdir is empty");
    if (given[0] == '/') {
        if (kt_path_join(full, sizeof(full), "/", given + strspn(given, "/")) != 0)
            return too_long(given, error);
    } else {
        char cwd[KT_PATH_MAX];
        if (!getcwd(cwd, sizeof(cwd)))
            return kt_error_errno(error, "cannot find out the current folder");
        if (kt_path_join(full, sizeof(full), cwd, given) != 0)
            return too_long(given, error);
    }
    for (const char *part = full + strspn(full, "/"); *part;) {
        size_t n = strcspn(part, "/");
        if (n == 2 && memcmp(part, "..", 2) == 0) {
            if (!realpath(full, real))
                return kt_error_errno(error, "cannot follow the path '%s'", given);
            return kt_path_join(out, KT_PATH_MAX, "/", real + 1) ? too_long(real, error) : 0;
        }
        if (!(n == 1 && part[0] == '.')) {
            out[at++] = '/';
            memcpy(out + at, part, n);
            at += n;
        }
        part += n;
        part += strspn(part, "/");
    }
    if (at == 0)
        out[at++] = '/';
    out[at] = '\0';
    return 0;
}

// Whether `dir` is a confdir under a name of the operator's own.
static int holds_settings(const char *dir)
{
    char path[KT_PATH_MAX];

    return (kt_path_join(path, sizeof(path), dir, "keytrustee.conf") == 0 &&
            kt_file_exists(path)) ||
           (kt_path_join(path, sizeof(path), dir, "cluster.json") == 0 && kt_file_exists(path));
}

// Decides whether what was given is the confdir or the folder above it.
static int choose_confdir(const char *dir, char confdir[KT_PATH_MAX], struct kt_error *error)
{
    char inner[KT_PATH_MAX];
    int has_inner = kt_path_join(inner, sizeof(inner), dir, CONFDIR_NAME) == 0;
    int is_itself;

    if (has_inner && is_folder(inner))
        is_itself = 0;
    else
        is_itself = strcmp(last_part(dir), CONFDIR_NAME) == 0 || holds_settings(dir);
    if (!is_itself && !has_inner)
        return too_long(dir, error);
    return kt_path_join(confdir, KT_PATH_MAX, "/", (is_itself ? dir : inner) + 1)
               ? too_long(dir, error)
               : 0;
}

static void parent_of(const char *path, char out[KT_PATH_MAX])
{
    size_t n = (size_t)(last_part(path) - path);

    if (n > 1)
        n--; // the slash
    memcpy(out, path, n);
    out[n] = '\0';
}

// One path each: the field, the field it lies in, the name in there.
static const struct {
    size_t field, above;
    const char *name;
} LAYOUT[] = {
#define IN(folder, field, name)                                                                    \
    {                                                                                              \
        offsetof(struct kt_paths, field), offsetof(struct kt_paths, folder), name                  \
    }
    IN(confdir, settings, "keytrustee.conf"),
    IN(confdir, cluster, "cluster.json"),
    IN(confdir, gnupg, ""),
    IN(confdir, ca_key, "ca/key.pem"),
    IN(confdir, ca_cert, "ca/cert.pem"),
    IN(confdir, ca_next_key, "ca/next-key.pem"),
    IN(confdir, server_key, "tls/server-key.pem"),
    IN(confdir, server_cert, "tls/server-cert.pem"),
    IN(confdir, node_key, "tls/node-key.pem"),
    IN(confdir, node_cert, "tls/node-cert.pem"),
    IN(confdir, receipt_key, "receipt/key.pem"),
    IN(confdir, receipt_cert, "receipt/cert.pem"),
    IN(confdir, receipt_next, "receipt/next.pem"),
    IN(confdir, secrets, "secrets"),
    IN(base, node, "node"),
    IN(node, promise, "promise"),
    IN(node, replication, "replication"),
    IN(node, peers, "peers.json"),
    IN(node, tokens, "tokens.json"),
    IN(node, joining, "joining"),
    IN(base, audit, "audit"),
    IN(base, logs, "logs"),
    IN(base, run, "run"),
    IN(run, agent_socket, "agent.sock"),
    IN(run, pid_file, "kts.pid"),
    IN(base, db, "db"),
#undef IN
};

int kt_paths_resolve(const char *confdir, struct kt_paths *paths, struct kt_error *error)
{
    struct kt_paths fresh = {0};
    char given[KT_PATH_MAX];
    int rc;

    rc = make_absolute(confdir ? confdir : KT_DEFAULT_CONFDIR, given, error);
    if (rc == 0 && confdir)
        rc = choose_confdir(given, fresh.confdir, error);
    else if (rc == 0)
        memcpy(fresh.confdir, given, sizeof(given));
    if (rc)
        return rc;
    parent_of(fresh.confdir, fresh.base);
    for (size_t i = 0; i < sizeof(LAYOUT) / sizeof(LAYOUT[0]); i++) {
        char *out = (char *)&fresh + LAYOUT[i].field;
        const char *above = (const char *)&fresh + LAYOUT[i].above;
        rc = LAYOUT[i].name[0] ? kt_path_join(out, KT_PATH_MAX, above, LAYOUT[i].name)
                               : (memcpy(out, above, KT_PATH_MAX), 0);
        if (rc)
            return too_long(fresh.confdir, error);
    }
    if (strlen(fresh.run) > KT_SOCKET_DIR_MAX)
        return kt_error_set(error, KT_ERR_TOO_LARGE, "choose a shorter confdir",
                            "the socket folder '%s' is longer than %d bytes", fresh.run,
                            KT_SOCKET_DIR_MAX);
    *paths = fresh;
    return 0;
}

int kt_path_is_shared(const char *inside)
{
    // The CA, the receipt key with the one to follow it, the secrets of the database roles, and GnuPG's keys; not GnuPG's
    // settings, which name programs to run.
    static const char *const SHARED[] = {
        "ca/key.pem",
        "ca/cert.pem",
        "ca/next-key.pem",
        "receipt/key.pem",
        "receipt/cert.pem",
        "receipt/next.pem",
        "secrets/*",
        "pubring.kbx",
        "public-keys.d/pubring.db",
        "trustdb.gpg",
        "private-keys-v1.d/*.key",
        "openpgp-revocs.d/*.rev",
    };

    for (size_t i = 0; i < sizeof(SHARED) / sizeof(SHARED[0]); i++) {
        if (fnmatch(SHARED[i], inside, FNM_PATHNAME | FNM_PERIOD) == 0)
            return 1;
    }
    return 0;
}
