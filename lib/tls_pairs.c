// SPDX-License-Identifier: Apache-2.0
// The node's pairs of key and certificate, renewed all at once.
#include "lib/tls_pairs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/digest.h"
#include "lib/file.h"
#include "lib/encode.h"
#include "lib/pki.h"

#define TLS     "tls"
#define CURRENT "current"
#define NEXT    "next"
#define PREFIX  "pairs-"
#define PEM_MAX 65536

#define NAMED(name) name, CURRENT "/" name
static const struct {
    const char *name, *link;
    enum kt_pair pair;
    int is_key;
} FILES[] = {
    {NAMED("node-key.pem"), KT_PAIR_NODE, 1},
    {NAMED("node-cert.pem"), KT_PAIR_NODE, 0},
    {NAMED("server-key.pem"), KT_PAIR_SERVER, 1},
    {NAMED("server-cert.pem"), KT_PAIR_SERVER, 0},
};
#define FILES_COUNT (sizeof(FILES) / sizeof(FILES[0]))

// <confdir>/tls/<a>[/<b>]
static int path_of(const struct kt_paths *paths, const char *a, const char *b,
                   char out[KT_PATH_MAX])
{
    int n = snprintf(out, KT_PATH_MAX, "%s/" TLS "%s%s%s%s", paths->confdir, a ? "/" : "",
                     a ? a : "", b ? "/" : "", b ? b : "");

    return n > 0 && n < KT_PATH_MAX ? 0 : KT_ERR_TOO_LARGE;
}

static int too_long(struct kt_error *error)
{
    return kt_error_set(error, KT_ERR_TOO_LARGE, NULL, "a path in the confdir is too long");
}

int kt_pair_path(const struct kt_paths *paths, enum kt_pair pair, int is_next, int is_key,
                 char out[KT_PATH_MAX])
{
    for (size_t i = 0; i < FILES_COUNT; i++) {
        if (FILES[i].pair == pair && FILES[i].is_key == is_key)
            return is_next ? path_of(paths, NEXT, FILES[i].name, out)
                           : path_of(paths, FILES[i].name, NULL, out);
    }
    return KT_ERR_INVALID;
}

static int new_name(char name[NAME_MAX + 1], struct kt_error *error)
{
    uint32_t number = 0;
    int rc = kt_random(&number, sizeof(number));

    snprintf(name, NAME_MAX + 1, PREFIX "%08x", (unsigned)number);
    return rc ? kt_error_set(error, rc, NULL, "no random bytes for the name of a folder") : 0;
}

// --- links ---

// What a link of tls/ names. KT_ERR_NOT_FOUND: there is none; a plain file is none either.
static int read_link(const struct kt_paths *paths, const char *name, char out[NAME_MAX + 1])
{
    char path[KT_PATH_MAX];
    ssize_t n;

    if (path_of(paths, name, NULL, path))
        return KT_ERR_TOO_LARGE;
    n = readlink(path, out, NAME_MAX + 1);
    if (n < 0 || n > NAME_MAX)
        return KT_ERR_NOT_FOUND;
    out[n] = '\0';
    return 0;
}

// To where the end of a renewal removes it.
static int put_aside(const struct kt_paths *paths, const char *path, struct kt_error *error)
{
    char name[NAME_MAX + 1], to[KT_PATH_MAX];
    int rc = new_name(name, error);

    if (rc == 0 && path_of(paths, name, NULL, to))
        rc = too_long(error);
    if (rc == 0 && rename(path, to))
        rc = kt_error_errno(error, "cannot rename the folder '%s'", path);
    return rc;
}

// A folder has the link's name: they change places, so that the name leads to the pairs at any
// time.
static int replace_folder(const struct kt_paths *paths, const char *link, const char *folder,
                          struct kt_error *error)
{
    if (renameat2(AT_FDCWD, link, AT_FDCWD, folder, RENAME_EXCHANGE))
        return kt_error_errno(error, "cannot put a link in place of the folder '%s'", folder);
    return put_aside(paths, link, error);
}

// In place of whatever has the name, at once.
static int put_link(const struct kt_paths *paths, const char *name, const char *to,
                    struct kt_error *error)
{
    char path[KT_PATH_MAX], temp[KT_PATH_MAX], folder[KT_PATH_MAX];
    int rc = 0;

    if (path_of(paths, name, NULL, path) || path_of(paths, ".link.tmp", NULL, temp) ||
        path_of(paths, NULL, NULL, folder))
        return too_long(error);
    if (unlink(temp) && errno != ENOENT) {
        if (errno != EISDIR)
            return kt_error_errno(error, "cannot remove '%s'", temp);
        rc = put_aside(paths, temp, error); // of a run that was killed in replace_folder()
    }
    if (rc == 0 && symlink(to, temp))
        rc = kt_error_errno(error, "cannot make the link '%s'", temp);
    if (rc == 0 && rename(temp, path))
        rc = errno == EISDIR ? replace_folder(paths, temp, path, error)
                             : kt_error_errno(error, "cannot put the link '%s' in place", path);
    return rc ? rc : kt_dir_sync(folder, error);
}

// --- folders ---

static int make_folder(const struct kt_paths *paths, char name[NAME_MAX + 1],
                       struct kt_error *error)
{
    char path[KT_PATH_MAX];
    int rc = new_name(name, error);

    if (rc)
        return rc;
    if (path_of(paths, name, NULL, path))
        return too_long(error);
    return mkdir(path, 0700) ? kt_error_errno(error, "cannot make the folder '%s'", path) : 0;
}

// The file that is used now, as it is.
static int copy_file(const char *from, const char *to, int is_key, struct kt_error *error)
{
    struct kt_buf bytes = KT_BUF_INIT(PEM_MAX);
    int rc = kt_file_read(from, &bytes, error);

    if (rc == 0)
        rc = kt_file_replace(to, kt_buf_ptr(&bytes), kt_buf_left(&bytes), is_key ? 0600 : 0644,
                             error);
    kt_buf_free(&bytes); // wipes
    return rc;
}

// A complete set in a new folder: the given pairs, the others copied.
static int fill_folder(const struct kt_paths *paths, EVP_PKEY *const keys[KT_PAIRS],
                       X509 *const certs[KT_PAIRS], X509 *ca, char name[NAME_MAX + 1],
                       struct kt_error *error)
{
    char from[KT_PATH_MAX], to[KT_PATH_MAX], folder[KT_PATH_MAX];
    int rc = make_folder(paths, name, error);

    for (size_t i = 0; i < FILES_COUNT && rc == 0; i++) {
        enum kt_pair pair = FILES[i].pair;
        if (path_of(paths, FILES[i].name, NULL, from) || path_of(paths, name, FILES[i].name, to))
            return too_long(error);
        if (!keys || !keys[pair])
            rc = copy_file(from, to, FILES[i].is_key, error);
        else if (FILES[i].is_key)
            rc = kt_pki_key_save(to, keys[pair], error);
        else
            rc = kt_pki_cert_save(to, certs[pair], ca, error);
    }
    if (rc == 0 && path_of(paths, NULL, NULL, folder))
        rc = too_long(error);
    return rc ? rc : kt_dir_sync(folder, error); // it has a name before a link names it
}

static int is_link_to(const struct kt_paths *paths, const char *name, const char *to)
{
    char now[NAME_MAX + 1];

    return read_link(paths, name, now) == 0 && (!to || strcmp(now, to) == 0);
}

// The names become links to what they are now: first a folder with the same content, then name by
// name. A name that is a file again was put there by somebody: it counts.
static int make_links(const struct kt_paths *paths, struct kt_error *error)
{
    char folder[NAME_MAX + 1];
    int all = is_link_to(paths, CURRENT, NULL), rc;

    for (size_t i = 0; i < FILES_COUNT; i++)
        all &= is_link_to(paths, FILES[i].name, FILES[i].link);
    if (all)
        return 0;
    rc = fill_folder(paths, NULL, NULL, NULL, folder, error);
    if (rc == 0)
        rc = put_link(paths, CURRENT, folder, error);
    for (size_t i = 0; i < FILES_COUNT && rc == 0; i++) {
        if (!is_link_to(paths, FILES[i].name, FILES[i].link))
            rc = put_link(paths, FILES[i].name, FILES[i].link, error);
    }
    return rc;
}

int kt_pairs_stage(const struct kt_paths *paths, EVP_PKEY *const keys[KT_PAIRS],
                   X509 *const certs[KT_PAIRS], X509 *ca, struct kt_error *error)
{
    char name[NAME_MAX + 1];
    int rc;

    if (kt_pairs_is_begun(paths, NULL))
        return kt_error_set(error, KT_ERR_EXISTS, "run ktadmin rotate again: it ends it first",
                            "a renewal of the certificates has begun and not ended");
    rc = make_links(paths, error); // what is a file later was put there meanwhile
    if (rc == 0)
        rc = fill_folder(paths, keys, certs, ca, name, error);
    return rc ? rc : put_link(paths, NEXT, name, error);
}

int kt_pairs_is_begun(const struct kt_paths *paths, int *is_used)
{
    char next[NAME_MAX + 1], current[NAME_MAX + 1];

    if (is_used)
        *is_used = 0;
    if (read_link(paths, NEXT, next))
        return 0;
    if (is_used)
        *is_used = read_link(paths, CURRENT, current) == 0 && strcmp(next, current) == 0;
    return 1;
}

static int remove_next(const struct kt_paths *paths, struct kt_error *error)
{
    char folder[KT_PATH_MAX], next[KT_PATH_MAX];

    if (path_of(paths, NULL, NULL, folder) || path_of(paths, NEXT, NULL, next))
        return too_long(error);
    if (unlink(next) && errno != ENOENT)
        return kt_error_errno(error, "cannot remove '%s'", next);
    return kt_dir_sync(folder, error);
}

int kt_pairs_drop(const struct kt_paths *paths, struct kt_error *error)
{
    int is_used = 0;

    (void)!kt_pairs_is_begun(paths, &is_used);
    return is_used ? kt_error_set(error, KT_ERR_INVALID, NULL, "the certificates are in use")
                   : remove_next(paths, error);
}

// --- taking them into use ---

// 1 when it is in use already, or has not ended.
static int is_good(const struct kt_paths *paths, enum kt_pair pair, X509 *cert)
{
    uint8_t next[KT_SHA256_LEN], now[KT_SHA256_LEN];
    int64_t from = 0, to = 0;
    char path[KT_PATH_MAX];
    X509 *used = NULL;
    int is_used = kt_pair_path(paths, pair, 0, 0, path) == 0 &&
                  kt_pki_cert_load(path, &used, NULL) == 0 && kt_pki_cert_sha256(cert, next) == 0 &&
                  kt_pki_cert_sha256(used, now) == 0 && memcmp(next, now, sizeof(next)) == 0;

    X509_free(used);
    return is_used || (kt_pki_cert_validity(cert, &from, &to) == 0 && to > kt_time_now());
}

static int check_pair(const struct kt_paths *paths, enum kt_pair pair, struct kt_error *error)
{
    char key_path[KT_PATH_MAX], cert_path[KT_PATH_MAX];
    EVP_PKEY *key = NULL;
    X509 *cert = NULL;
    int rc = kt_pair_path(paths, pair, 1, 1, key_path);

    rc = rc ? rc : kt_pair_path(paths, pair, 1, 0, cert_path);
    if (rc)
        return too_long(error);
    rc = kt_pki_key_load(key_path, &key, error);
    if (rc == 0)
        rc = kt_pki_cert_load(cert_path, &cert, error);
    if (rc == 0 && X509_check_private_key(cert, key) != 1)
        rc = kt_error_set(error, KT_ERR_CRYPTO,
                          "remove the link " TLS "/" NEXT " in the confdir, then run it again",
                          "'%s' is not the key of '%s'", key_path, cert_path);
    if (rc == 0 && !is_good(paths, pair, cert))
        rc = kt_error_set(error, KT_ERR_CERTIFICATE_EXPIRED, "run ktadmin rotate again",
                          "the certificate '%s' has expired before it was used", cert_path);
    EVP_PKEY_free(key);
    X509_free(cert);
    return rc;
}

// 1 when that name leads to what `current` has.
static int is_as_current(const struct kt_paths *paths, const char *name)
{
    struct kt_buf now = KT_BUF_INIT(PEM_MAX), current = KT_BUF_INIT(PEM_MAX);
    char path[KT_PATH_MAX], in_current[KT_PATH_MAX];
    int is_same =
        path_of(paths, name, NULL, path) == 0 && path_of(paths, CURRENT, name, in_current) == 0 &&
        kt_file_read(path, &now, NULL) == 0 && kt_file_read(in_current, &current, NULL) == 0 &&
        kt_buf_left(&now) == kt_buf_left(&current) &&
        memcmp(kt_buf_ptr(&now), kt_buf_ptr(&current), kt_buf_left(&now)) == 0;

    kt_buf_free(&now); // wipes
    kt_buf_free(&current);
    return is_same;
}

// All names were links when the renewal began.
static int check_nobody_else(const struct kt_paths *paths, struct kt_error *error)
{
    for (size_t i = 0; i < FILES_COUNT; i++) {
        if (!is_link_to(paths, FILES[i].name, FILES[i].link) &&
            !is_as_current(paths, FILES[i].name))
            return kt_error_set(error, KT_ERR_EXISTS,
                                "to keep it remove the link " TLS "/" NEXT " in the confdir; else "
                                "make it a link to " CURRENT "/ again; then run ktadmin rotate",
                                "'" TLS "/%s' was put there by hand after the renewal had begun",
                                FILES[i].name);
    }
    return 0;
}

int kt_pairs_use(const struct kt_paths *paths, struct kt_error *error)
{
    char next[NAME_MAX + 1];
    int rc = read_link(paths, NEXT, next);

    if (rc)
        return kt_error_set(error, rc, "run ktadmin rotate", "no renewal has begun");
    for (int pair = 0; pair < KT_PAIRS && rc == 0; pair++)
        rc = check_pair(paths, (enum kt_pair)pair, error);
    if (rc == 0)
        rc = check_nobody_else(paths, error);
    if (rc == 0)
        rc = make_links(paths, error);
    return rc ? rc : put_link(paths, CURRENT, next, error);
}

// --- the end ---

static int remove_folder(const struct kt_paths *paths, const char *name, struct kt_error *error)
{
    char path[KT_PATH_MAX];

    for (size_t i = 0; i < FILES_COUNT; i++) {
        if (path_of(paths, name, FILES[i].name, path))
            return too_long(error);
        if (unlink(path) && errno != ENOENT)
            return kt_error_errno(error, "cannot remove '%s'", path);
    }
    if (path_of(paths, name, NULL, path))
        return too_long(error);
    // What else is in there was put there by somebody, or is a file that was being written.
    return rmdir(path) && errno != ENOTEMPTY && errno != EEXIST
               ? kt_error_errno(error, "cannot remove the folder '%s'", path)
               : 0;
}

int kt_pairs_end(const struct kt_paths *paths, struct kt_error *error)
{
    char current[NAME_MAX + 1], folder[KT_PATH_MAX];
    int is_used = 0, rc = 0;
    DIR *dir;

    if (!kt_pairs_is_begun(paths, &is_used))
        return 0;
    if (!is_used || read_link(paths, CURRENT, current))
        return kt_error_set(error, KT_ERR_INVALID, "run ktadmin rotate again",
                            "the renewed certificates are not in use yet");
    if (path_of(paths, NULL, NULL, folder))
        return too_long(error);
    dir = opendir(folder);
    if (!dir)
        return kt_error_errno(error, "cannot open the folder '%s'", folder);
    for (struct dirent *entry = readdir(dir); rc == 0 && entry; entry = readdir(dir)) {
        if (strncmp(entry->d_name, PREFIX, strlen(PREFIX)) == 0 &&
            strcmp(entry->d_name, current) != 0)
            rc = remove_folder(paths, entry->d_name, error);
    }
    closedir(dir);
    // Last: as long as it is there the renewal is ended again.
    return rc ? rc : remove_next(paths, error);
}
