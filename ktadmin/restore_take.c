// SPDX-License-Identifier: Apache-2.0
// The members of a backup as they come: keys into the confdir, tables into the database. Nothing is
// believed before the end: until the promise file is there, nothing starts from it.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ktadmin/restore.h"
#include "lib/file.h"
#include "lib/key_line.h"

#define KEPT_MAX    ((size_t)256 << 10)
#define PROGRESS_US 500000
#define MIB         (1u << 20)

// Files of the confdir that are looked at, and made anew for this machine; or written as they were.
static const struct {
    const char *path;
    enum kta_kept_file file;
    size_t max;
    int is_written;
} KEPT[] = {
    {"keytrustee.conf", KTA_KEPT_SETTINGS, KEPT_MAX, 0},
    {"cluster.json", KTA_KEPT_CLUSTER, KEPT_MAX, 0},
    {"tls/node-key.pem", KTA_KEPT_NODE_KEY, KEPT_MAX, 0},
    {"tls/node-cert.pem", KTA_KEPT_NODE_CERT, KEPT_MAX, 0},
    {KT_KEY_LINE_FILE, KTA_KEPT_KEY_LINE, KT_KEY_LINE_MAX, 1},
    {"cluster-key.json", KTA_KEPT_NEXT_KEY, KEPT_MAX, 1},
};

// Folders on the way to a file of the confdir: one level, as our files have.
static int make_parent(const struct kt_paths *paths, const char *inside, struct kt_error *error)
{
    char name[KT_PATH_MAX], path[KT_PATH_MAX];
    const char *slash = strchr(inside, '/');

    if (!slash)
        return 0;
    memcpy(name, inside, (size_t)(slash - inside));
    name[slash - inside] = '\0';
    if (kt_path_join(path, sizeof(path), paths->confdir, name) != 0)
        return kt_error_set(error, KT_ERR_TOO_LARGE, "choose a shorter confdir",
                            "a path is too long");
    return kt_dir_make(path, 0700, error);
}

static int write_file(const struct kt_paths *paths, const char *inside, const void *bytes, size_t n,
                      struct kt_error *error)
{
    char path[KT_PATH_MAX];
    int rc = make_parent(paths, inside, error);

    if (rc == 0 && kt_path_join(path, sizeof(path), paths->confdir, inside) != 0)
        rc =
            kt_error_set(error, KT_ERR_TOO_LARGE, "choose a shorter confdir", "a path is too long");
    return rc ? rc : kt_file_replace(path, bytes, n, 0600, error);
}

int kta_restore_write_shared(struct kta_restore *restore, struct kt_error *error)
{
    const struct kt_paths *paths = &restore->init.paths;
    int rc = 0;

    for (size_t i = 0; i < restore->shared_count && rc == 0; i++) {
        const struct kta_shared *file = &restore->shared[i];
        rc = write_file(paths, file->path, kt_secret_data(file->content), file->n, error);
    }
    for (size_t i = 0; i < sizeof(KEPT) / sizeof(KEPT[0]) && rc == 0; i++) {
        const struct kta_kept *kept = &restore->kept[KEPT[i].file];
        if (KEPT[i].is_written && kept->text)
            rc = write_file(paths, KEPT[i].path, kept->text, kept->n, error);
    }
    return rc;
}

const struct kta_shared *kta_restore_shared(const struct kta_restore *restore, const char *path)
{
    for (size_t i = 0; i < restore->shared_count; i++)
        if (strcmp(restore->shared[i].path, path) == 0)
            return &restore->shared[i];
    return NULL;
}

static int odd_file(const char *path, struct kt_error *error)
{
    return kt_error_set(error, KT_ERR_INVALID, "use another backup",
                        "'%.200s' in the backup is not what it should be", path);
}

// Of what all nodes have in common, the same list as a newcomer takes.
static int begin_shared(struct kta_restore *restore, const struct kt_backup_member *member,
                        struct kt_error *error)
{
    struct kta_shared *file = &restore->shared[restore->shared_count];
    uint64_t size = member->member->size;

    if (size == 0)
        return 0;
    if (restore->shared_count == KTA_SHARED_MAX || size > KEPT_MAX ||
        kta_restore_shared(restore, member->path))
        return odd_file(member->path, error);
    if (kt_secret_new((size_t)size, &file->content) != 0)
        return kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    memcpy(file->path, member->path, strlen(member->path) + 1);
    file->n = 0;
    restore->shared_count++;
    restore->is_sharing = 1;
    return 0;
}

static int begin_confdir(struct kta_restore *restore, const struct kt_backup_member *member,
                         struct kt_error *error)
{
    if (member->member->is_dir)
        return 0;
    if (restore->has_identity)
        return kt_error_set(error, KT_ERR_INVALID, "use another backup",
                            "'%.200s' stands behind the database", member->path);
    for (size_t i = 0; i < sizeof(KEPT) / sizeof(KEPT[0]); i++)
        if (strcmp(KEPT[i].path, member->path) == 0) {
            struct kta_kept *kept = &restore->kept[KEPT[i].file];
            if (member->member->size > KEPT[i].max || kept->text)
                return odd_file(member->path, error);
            kept->text = calloc(1, (size_t)member->member->size + 1);
            if (!kept->text)
                return kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
            restore->keeping = KEPT[i].file;
            restore->is_keeping = 1;
            return 0;
        }
    return kt_path_is_shared(member->path) ? begin_shared(restore, member, error) : 0;
}

static int begin(void *arg, const struct kt_backup_about *about,
                 const struct kt_backup_member *member, struct kt_error *error)
{
    struct kta_restore *restore = arg;
    int rc = 0;

    restore->about = *about;
    restore->is_keeping = restore->is_sharing = restore->is_table = 0;
    switch (member->part) {
    case KT_PART_CONFDIR:
        return begin_confdir(restore, member, error);
    case KT_PART_SCRIPT: // the confdir is complete
        if (!restore->has_identity)
            rc = kta_restore_identity(restore, error);
        restore->has_identity = 1;
        return rc;
    case KT_PART_TABLE:
        restore->is_table = !restore->is_dry;
        if (!restore->has_identity)
            return kt_error_set(error, KT_ERR_INVALID, "use another backup",
                                "the tables stand before the script");
        return restore->is_table ? db_load_begin(restore->load, member->path, error) : 0;
    case KT_PART_OTHER:
        restore->others += !member->member->is_dir;
        return 0;
    case KT_PART_ABOUT:
        return 0;
    }
    return 0;
}

static int data(void *arg, const void *bytes, size_t n, struct kt_error *error)
{
    struct kta_restore *restore = arg;
    struct kta_kept *kept = &restore->kept[restore->keeping];

    if (restore->is_table)
        return db_load_put(restore->load, bytes, n, error);
    if (restore->is_keeping) { // no longer than was announced
        memcpy(kept->text + kept->n, bytes, n);
        kept->n += n;
    }
    if (restore->is_sharing) {
        struct kta_shared *file = &restore->shared[restore->shared_count - 1];
        memcpy(kt_secret_data(file->content) + file->n, bytes, n);
        file->n += n;
    }
    return 0;
}

static int end(void *arg, struct kt_error *error)
{
    struct kta_restore *restore = arg;
    uint64_t rows = 0;
    int rc = 0;

    if (restore->is_table)
        rc = db_load_end(restore->load, &rows, error);
    restore->is_keeping = restore->is_sharing = restore->is_table = 0;
    return rc;
}

static void progress(void *arg, uint64_t done, uint64_t total)
{
    struct kta_restore *restore = arg;
    int64_t now = kt_monotonic_now();

    (void)total;
    if (!isatty(STDERR_FILENO) || kt_cli_flag(restore->init.run, "quiet") ||
        now - restore->shown_us < PROGRESS_US)
        return;
    restore->shown_us = now;
    fprintf(stderr, "\r\033[K%llu of %llu MiB ...", (unsigned long long)(done / MIB),
            (unsigned long long)(restore->file.manifest.bytes / MIB));
    fflush(stderr);
}

int kta_restore_take(struct kta_restore *restore, struct kt_error *error)
{
    const struct kt_backup_visitor visitor = {
        .begin = begin, .data = data, .end = end, .progress = progress, .arg = restore};
    int rc;

    rc = kt_backup_read(restore->stream, &restore->file, &visitor, error);
    if (restore->shown_us)
        fputs("\r\033[K", stderr);
    if (rc == 0 && !restore->has_identity)
        rc =
            kt_error_set(error, KT_ERR_INVALID, "use another backup", "the backup has no database");
    return rc;
}

void kta_restore_forget(struct kta_restore *restore)
{
    for (size_t i = 0; i < KTA_KEPT_COUNT; i++) {
        if (restore->kept[i].text)
            kt_wipe(restore->kept[i].text, restore->kept[i].n);
        free(restore->kept[i].text);
        restore->kept[i] = (struct kta_kept){0};
    }
    for (size_t i = 0; i < restore->shared_count; i++)
        kt_secret_free(restore->shared[i].content);
    restore->shared_count = 0;
}
