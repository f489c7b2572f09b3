// SPDX-License-Identifier: Apache-2.0
// What a node's log holds beyond the place where it went another way is kept before it is rewound.
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "db/copy_inner.h"
#include "lib/file.h"

#define PART 65536

// The page header at the front of a segment: magic, flags, timeline, the position of its first byte
// (src/include/access/xlog_internal.h). A recycled segment still has its old position there.
struct page_header {
    uint16_t magic, info;
    uint32_t timeline;
    uint64_t position;
};

static int is_written(int fd, uint64_t position)
{
    struct page_header header;

    return pread(fd, &header, sizeof(header), 0) == (ssize_t)sizeof(header) &&
           header.position == position;
}

static int copy_bytes(int from, int to)
{
    char *part = malloc(PART);
    ssize_t n = -1;

    while (part && (n = read(from, part, PART)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 || kt_write_all(to, part, (size_t)n) != 0)
            break;
    }
    free(part);
    return n == 0 && fsync(to) == 0 ? 0 : -1;
}

// `position`: of a segment's first byte; 0 for other files.
static int copy_file(int folder, const char *name, uint64_t position, const char *aside,
                     struct kt_error *error)
{
    char path[KT_PATH_MAX + 128];
    int rc = 0, to = -1, from = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

    if (from < 0)
        return kt_error_errno(error, "cannot open '%s' of the log", name);
    if (position > 0 && !is_written(from, position))
        goto out;
    snprintf(path, sizeof(path), "%s/%s", aside, name);
    to = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (to < 0 || copy_bytes(from, to) != 0)
        rc = kt_error_errno(error, "cannot keep '%s'", path);
out:
    if (to >= 0)
        close(to);
    close(from);
    return rc;
}

static int is_history(const char *name)
{
    size_t n = strlen(name);

    return n == 16 && strcmp(name + 8, ".history") == 0;
}

static int copy_all(DIR *folder, uint64_t fork_lsn, uint64_t size, const char *aside,
                    struct kt_error *error)
{
    struct dirent *entry;
    uint64_t number;
    uint32_t timeline;
    int rc = 0;

    while (rc == 0 && (entry = readdir(folder))) {
        if (is_history(entry->d_name))
            rc = copy_file(dirfd(folder), entry->d_name, 0, aside, error);
        else if (db_wal_name_parse(entry->d_name, size, &timeline, &number) == 0 &&
                 number >= fork_lsn / size)
            rc = copy_file(dirfd(folder), entry->d_name, number * size, aside, error);
    }
    return rc ? rc : kt_dir_sync(aside, error);
}

int db_copy_aside(const struct db_cluster *cluster, uint64_t fork_lsn, struct kt_error *error)
{
    char wal[KT_PATH_MAX], aside[KT_PATH_MAX + 64], stamp[DB_COPY_STAMP];
    uint64_t size = 0;
    DIR *folder;
    int rc = db_wal_segment_size(cluster, &size, error);

    if (rc == 0 && kt_path_join(wal, sizeof(wal), cluster->dir, "pg_wal") != 0)
        rc = kt_error_set(error, KT_ERR_TOO_LARGE, NULL, "the data directory's path is too long");
    if (rc)
        return rc;
    db_copy_stamp(stamp);
    snprintf(aside, sizeof(aside), "%s/aside-%s", cluster->paths->node, stamp);
    rc = kt_dir_make(aside, 0700, error);
    if (rc)
        return rc;
    folder = opendir(wal);
    if (!folder)
        return kt_error_errno(error, "cannot open the folder '%s'", wal);
    rc = copy_all(folder, fork_lsn, size, aside, error);
    closedir(folder);
    return rc ? rc : kt_dir_sync(cluster->paths->node, error);
}
