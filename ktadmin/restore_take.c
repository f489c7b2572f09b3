// SPDX-License-Identifier: Apache-2.0
// The members of a backup as they come: keys into the confdir, tables into the database. Nothing is
// believed before the end: until the promise file is there, nothing starts from it.
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ktadmin/restore.h"
#include "lib/file.h"

#define KEPT_MAX    ((size_t)256 << 10)
#define PROGRESS_US 500000
#define MIB         (1u << 20)

// Files of the confdir that are looked at, and made anew for this machine.
static const struct {
    const char *path;
    enum kta_kept_file file;
} KEPT[] = {
    {"keytrustee.conf", KTA_KEPT_SETTINGS},
    {"cluster.json", KTA_KEPT_CLUSTER},
    {"tls/node-key.pem", KTA_KEPT_NODE_KEY},
    {"tls/node-cert.pem", KTA_KEPT_NODE_CERT},
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

// Of what all nodes have in common, the same list as a newcomer takes. A run that was killed left
// some: they are written again.
static int open_file(struct kta_restore *restore, const char *inside, struct kt_error *error)
{
    char path[KT_PATH_MAX];
    int rc = make_parent(&restore->init.paths, inside, error);

    if (rc == 0)
        rc = kt_path_join(path, sizeof(path), restore->init.paths.confdir, inside);
    if (rc)
        return rc;
    restore->out = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    return restore->out >= 0 ? 0 : kt_error_errno(error, "cannot make '%s'", path);
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
            if (member->member->size > KEPT_MAX || kept->text)
                return kt_error_set(error, KT_ERR_INVALID, "use another backup",
                                    "'%s' in the backup is not what it should be", member->path);
            kept->text = calloc(1, (size_t)member->member->size + 1);
            if (!kept->text)
                return kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
            restore->keeping = KEPT[i].file;
            restore->is_keeping = 1;
            return 0;
        }
    if (!kt_path_is_shared(member->path))
        return 0;
    restore->files++;
    return restore->is_dry ? 0 : open_file(restore, member->path, error);
}

static int begin(void *arg, const struct kt_backup_about *about,
                 const struct kt_backup_member *member, struct kt_error *error)
{
    struct kta_restore *restore = arg;
    int rc = 0;

    restore->about = *about;
    restore->is_keeping = restore->is_table = 0;
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
    if (restore->out >= 0 && kt_write_all(restore->out, bytes, n) != 0)
        return kt_error_errno(error, "cannot write into '%s'", restore->init.paths.confdir);
    return 0;
}

static int end(void *arg, struct kt_error *error)
{
    struct kta_restore *restore = arg;
    uint64_t rows = 0;
    int rc = 0;

    if (restore->is_table)
        rc = db_load_end(restore->load, &rows, error);
    restore->restored_rows += rows;
    if (restore->out >= 0) {
        if (fsync(restore->out) != 0)
            rc = kt_error_errno(error, "cannot write into '%s'", restore->init.paths.confdir);
        close(restore->out);
    }
    restore->out = -1;
    restore->is_keeping = restore->is_table = 0;
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

    restore->out = -1;
    rc = kt_backup_read(restore->stream, &restore->file, &visitor, error);
    if (restore->out >= 0)
        close(restore->out);
    restore->out = -1;
    if (restore->shown_us)
        fputs("\r\033[K", stderr);
    if (rc == 0 && !restore->has_identity)
        rc =
            kt_error_set(error, KT_ERR_INVALID, "use another backup", "the backup has no database");
    if (rc == 0 && restore->file.manifest.table_count > 0 && restore->restored_rows == 0 &&
        !restore->is_dry)
        rc =
            kt_error_set(error, KT_ERR_USAGE,
                         "unpack it with tar, run its .sql with psql, then ktadmin restore --adopt",
                         "a backup that was made with --plain-sql is for psql");
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
}
