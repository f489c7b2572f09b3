// SPDX-License-Identifier: Apache-2.0
// Deposits on their way: the ciphertext is on disk before it is sent and until its receipt is.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/client.h"
#include "lib/file.h"

// A file is text, an empty line, and the ciphertext.
#define FIRST_LINE "keytrustee-pending 1\n"
#define HEADER_MAX (1024 + 2 * KTC_POLICY_TEXT)

static int pending_path(const struct keytrustee *client, const struct kt_uuid *id,
                        char out[KT_PATH_MAX])
{
    char name[KT_UUID_TEXT];

    kt_uuid_format(id, name);
    return ktc_path_in(client, "pending", name, "", out);
}

void ktc_pending_free(struct ktc_pending *pending)
{
    kt_buf_free(&pending->body);
}

int ktc_pending_save(const struct keytrustee *client, const struct ktc_pending *pending,
                     struct kt_error *error)
{
    struct kt_buf file = KT_BUF_INIT(KTC_BODY_MAX + HEADER_MAX);
    char path[KT_PATH_MAX], hex[KT_SHA256_TEXT];
    int rc = pending_path(client, &pending->id, path);

    kt_hex_encode(pending->sha256, sizeof pending->sha256, hex);
    if (rc == 0)
        rc = kt_buf_putf(&file, FIRST_LINE "handle %s\nsha256 %s\n", pending->handle, hex);
    for (const char *line = pending->policy; rc == 0 && *line; line += strcspn(line, "\n") + 1)
        rc = kt_buf_putf(&file, "policy %.*s\n", (int)strcspn(line, "\n"), line);
    if (rc == 0 && pending->key_group[0] != '\0')
        rc = kt_buf_putf(&file, "key-group %s\n", pending->key_group);
    if (rc == 0)
        rc = kt_buf_put(&file, "\n", 1);
    if (rc == 0)
        rc = kt_buf_put(&file, kt_buf_ptr(&pending->body), kt_buf_left(&pending->body));
    if (rc == 0)
        rc = kt_file_create(path, kt_buf_ptr(&file), kt_buf_left(&file), 0600, error);
    kt_buf_free(&file);
    return rc;
}

// Consumes "name value\n" from the buffer; KT_ERR_INVALID when something else stands there.
static int take_line(struct kt_buf *file, const char *name, char *out, size_t size)
{
    const char *text = (const char *)kt_buf_ptr(file);
    size_t left = kt_buf_left(file), n = strlen(name);
    const char *end = left ? memchr(text, '\n', left) : NULL;

    if (end == NULL || (size_t)(end - text) <= n || memcmp(text, name, n) != 0)
        return KT_ERR_INVALID;
    size_t len = (size_t)(end - text) - n;
    if (len >= size || memchr(text + n, '\0', len) != NULL)
        return KT_ERR_INVALID;
    memcpy(out, text + n, len);
    out[len] = '\0';
    return kt_buf_consume(file, (size_t)(end - text) + 1);
}

// What it was asked to be released by: kept, as a later send without it would be another deposit.
static int take_policy(struct kt_buf *file, char out[KTC_POLICY_TEXT])
{
    char line[KTC_POLICY_TEXT];
    size_t used = 0;

    while (take_line(file, "policy ", line, sizeof line) == 0) {
        int n = snprintf(out + used, KTC_POLICY_TEXT - used, "%s\n", line);
        if (n < 0 || (size_t)n >= KTC_POLICY_TEXT - used)
            return KT_ERR_INVALID;
        used += (size_t)n;
    }
    return 0;
}

static int parse(struct kt_buf *file, struct ktc_pending *pending)
{
    char version[8], hex[KT_SHA256_TEXT], group[KT_UUID_TEXT] = "", newline = 0;
    struct kt_uuid uuid;
    uint8_t hash[KT_SHA256_LEN];
    int rc = take_line(file, "keytrustee-pending ", version, sizeof version);

    if (rc == 0 && strcmp(version, "1") != 0)
        rc = KT_ERR_INVALID;
    if (rc == 0)
        rc = take_line(file, "handle ", pending->handle, sizeof pending->handle);
    if (rc == 0)
        rc = kt_handle_check(pending->handle);
    if (rc == 0)
        rc = take_line(file, "sha256 ", hex, sizeof hex);
    if (rc == 0)
        rc = kt_hex_decode(hex, pending->sha256, sizeof pending->sha256);
    if (rc == 0)
        rc = take_policy(file, pending->policy);
    if (rc == 0 && take_line(file, "key-group ", group, sizeof group) == 0) {
        rc = kt_uuid_parse(group, &uuid);
        memcpy(pending->key_group, group, sizeof group);
    }
    if (rc == 0)
        rc = kt_buf_get(file, &newline, 1);
    if (rc == 0 && (newline != '\n' || kt_buf_left(file) == 0))
        rc = KT_ERR_INVALID;
    if (rc == 0)
        rc = kt_sha256(kt_buf_ptr(file), kt_buf_left(file), hash);
    if (rc == 0 && memcmp(hash, pending->sha256, sizeof hash) != 0)
        rc = KT_ERR_INVALID;
    return rc;
}

int ktc_pending_load(const struct keytrustee *client, const struct kt_uuid *id,
                     struct ktc_pending *pending, struct kt_error *error)
{
    struct ktc_pending loaded = {.id = *id, .body = KT_BUF_INIT(KTC_BODY_MAX + HEADER_MAX)};
    char path[KT_PATH_MAX];
    int rc = pending_path(client, id, path);

    if (rc == 0 && !kt_file_exists(path))
        return kt_error_set(error, KT_ERR_NOT_FOUND, NULL, "no file \"%s\"", path);
    if (rc == 0)
        rc = kt_file_read(path, &loaded.body, error);
    if (rc == 0 && parse(&loaded.body, &loaded) != 0)
        rc = kt_error_set(error, KT_ERR_INVALID, "remove it; what it held was not acknowledged",
                          "\"%s\" is damaged", path);
    if (rc == 0)
        *pending = loaded;
    else
        kt_buf_free(&loaded.body);
    return rc;
}

int ktc_pending_lock(const struct keytrustee *client, const struct kt_uuid *id, int *fd,
                     struct kt_error *error)
{
    struct stat held, named;
    char path[KT_PATH_MAX];
    int rc = pending_path(client, id, path);
    int got = rc == 0 ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY) : -1;

    if (rc != 0)
        return rc;
    if (got < 0 && errno == ENOENT)
        return kt_error_set(error, KT_ERR_NOT_FOUND, NULL, "no file \"%s\"", path);
    if (got < 0)
        return kt_error_errno(error, "cannot open \"%s\"", path);
    if (flock(got, LOCK_EX | LOCK_NB) != 0)
        rc = errno == EWOULDBLOCK ? kt_error_set(error, KT_ERR_BUSY, NULL,
                                                 "\"%s\" is being sent by another process", path)
                                  : kt_error_errno(error, "cannot lock \"%s\"", path);
    else if (fstat(got, &held) != 0 || stat(path, &named) != 0 || held.st_ino != named.st_ino ||
             held.st_dev != named.st_dev) // settled between our open and our lock
        rc = kt_error_set(error, KT_ERR_NOT_FOUND, NULL, "no file \"%s\"", path);
    if (rc == 0)
        *fd = got;
    else
        close(got);
    return rc;
}

void ktc_pending_remove(const struct keytrustee *client, const struct kt_uuid *id)
{
    char path[KT_PATH_MAX];

    // Another process may have settled the same one: then it is gone already.
    if (pending_path(client, id, path) == 0 && unlink(path) != 0 && errno != ENOENT)
        ktc_warn(client, NULL, "cannot remove \"%s\": %s", path, strerror(errno));
}

struct found {
    struct kt_uuid id;
    struct timespec time;
};

static int compare(const void *a, const void *b)
{
    const struct found *x = a, *y = b;

    if (x->time.tv_sec != y->time.tv_sec)
        return x->time.tv_sec < y->time.tv_sec ? -1 : 1;
    if (x->time.tv_nsec != y->time.tv_nsec)
        return x->time.tv_nsec < y->time.tv_nsec ? -1 : 1;
    return memcmp(&x->id, &y->id, sizeof x->id);
}

int ktc_pending_list(const struct keytrustee *client, struct kt_uuid *ids, size_t room,
                     size_t *count, struct kt_error *error)
{
    struct found *all = calloc(room, sizeof *all);
    char path[KT_PATH_MAX];
    struct dirent *entry = NULL;
    size_t n = 0;
    DIR *dir = NULL;
    int rc = all ? ktc_path(client, "pending", path) : KT_ERR_NO_MEMORY;

    if (rc != 0)
        goto out;
    dir = opendir(path);
    if (dir == NULL && errno != ENOENT) {
        rc = kt_error_errno(error, "cannot read \"%s\"", path);
        goto out;
    }
    while (dir != NULL && n < room && (entry = readdir(dir)) != NULL) {
        struct stat st;
        if (kt_uuid_parse(entry->d_name, &all[n].id) == 0 &&
            fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
            all[n++].time = st.st_mtim;
    }
    qsort(all, n, sizeof *all, compare);
    for (size_t i = 0; i < n; i++)
        ids[i] = all[i].id;
    *count = n;
out:
    if (dir != NULL)
        closedir(dir);
    free(all);
    return rc;
}
