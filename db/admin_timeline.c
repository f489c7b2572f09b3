// SPDX-License-Identifier: Apache-2.0
// Timelines of a data directory, from the names and history files in pg_wal.
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "db/replication_inner.h"
#include "lib/file.h"

#define HISTORY_MAX  (1u << 20)
#define SEGMENT_NAME 24 // hex digits: timeline, and number of the segment in two parts

int db_wal_name_parse(const char *name, uint64_t segment_size, uint32_t *timeline, uint64_t *number)
{
    unsigned parts[3];
    int used = 0;

    if (strlen(name) != SEGMENT_NAME || strspn(name, "0123456789ABCDEF") != SEGMENT_NAME ||
        sscanf(name, "%8X%8X%8X%n", &parts[0], &parts[1], &parts[2], &used) != 3 ||
        used != SEGMENT_NAME || parts[0] == 0 || segment_size == 0)
        return KT_ERR_INVALID;
    *timeline = parts[0];
    *number = parts[1] * (UINT64_C(0x100000000) / segment_size) + parts[2];
    return 0;
}

static int wal_path(const struct db_cluster *cluster, char out[KT_PATH_MAX], struct kt_error *error)
{
    int rc = kt_path_join(out, KT_PATH_MAX, cluster->dir, "pg_wal");

    return rc ? kt_error_set(error, rc, NULL, "the data directory's path is too long") : 0;
}

static int read_history(const struct db_cluster *cluster, uint32_t timeline, char **text,
                        struct kt_error *error)
{
    char dir[KT_PATH_MAX], path[KT_PATH_MAX + 32];
    int rc = wal_path(cluster, dir, error);

    if (rc)
        return rc;
    snprintf(path, sizeof(path), "%s/%08X.history", dir, (unsigned)timeline);
    return kt_file_read_text(path, HISTORY_MAX, text, error);
}

// "1\t0/3000060\tno recovery target specified": parent, where it was left, why. Oldest first.
static int last_switch(const char *text, uint64_t *lsn)
{
    int found = KT_ERR_NOT_FOUND;

    while (*text) {
        size_t n = strcspn(text, "\n");
        char where[KT_LSN_TEXT];
        unsigned parent;
        uint64_t at;

        if (sscanf(text, "%10u %19[0-9A-Fa-f/]", &parent, where) == 2 &&
            kt_lsn_parse(where, &at) == 0) {
            *lsn = at;
            found = 0;
        }
        text += n + (text[n] == '\n');
    }
    return found;
}

int db_timeline_start(const struct db_cluster *cluster, uint32_t timeline, uint64_t *start_lsn,
                      struct kt_error *error)
{
    char *text = NULL;
    int rc;

    *start_lsn = 0;
    if (timeline <= 1)
        return 0;
    rc = read_history(cluster, timeline, &text, error);
    if (rc == 0 && last_switch(text, start_lsn) != 0)
        rc = kt_error_set(error, KT_ERR_INVALID, NULL, "the history of timeline %u cannot be read",
                          (unsigned)timeline);
    free(text);
    return rc;
}

int db_admin_timeline_left(struct db_admin *admin, uint32_t timeline, uint64_t *lsn,
                           struct kt_error *error)
{
    struct db_position now;
    char *text = NULL;
    int rc = db_admin_position(admin, &now, error);

    if (rc == 0 && now.timeline <= 1)
        rc = kt_error_set(error, KT_ERR_NOT_FOUND, NULL, "the log is on its first timeline");
    else if (rc == 0)
        rc = read_history(admin->cluster, now.timeline, &text, error);
    if (rc == 0) {
        rc = kt_timeline_left(text, timeline, lsn);
        if (rc)
            kt_error_set(error, rc, NULL, "the log did not leave timeline %u", (unsigned)timeline);
    }
    free(text);
    return rc;
}

int db_wal_segment_size(const struct db_cluster *cluster, uint64_t *size, struct kt_error *error)
{
    char dir[KT_PATH_MAX];
    struct dirent *entry;
    uint64_t number;
    uint32_t timeline;
    struct stat st;
    DIR *folder;
    int rc = wal_path(cluster, dir, error);

    if (rc)
        return rc;
    folder = opendir(dir);
    if (!folder)
        return kt_error_errno(error, "cannot open the folder '%s'", dir);
    rc = KT_ERR_NOT_FOUND;
    while (rc && (entry = readdir(folder)))
        if (db_wal_name_parse(entry->d_name, 1u << 24, &timeline, &number) == 0 &&
            fstatat(dirfd(folder), entry->d_name, &st, 0) == 0 && st.st_size >= 1 << 20 &&
            (st.st_size & (st.st_size - 1)) == 0) { // a power of two, from 1 MB
            *size = (uint64_t)st.st_size;
            rc = 0;
        }
    closedir(folder);
    return rc ? kt_error_set(error, rc, NULL, "there is no segment of the log in '%s'", dir) : 0;
}

// The segment of a timeline may be here before the log goes on in it: it is sent from its first
// byte, which is older than the timeline. So the timeline counts from its switch point on.
static int goes_on_at(const struct db_cluster *cluster, uint32_t timeline, uint64_t lsn)
{
    uint64_t start;

    return db_timeline_start(cluster, timeline, &start, NULL) == 0 && lsn > start;
}

int db_timeline_of_log(const struct db_cluster *cluster, uint64_t lsn, uint32_t *timeline,
                       struct kt_error *error)
{
    char dir[KT_PATH_MAX];
    uint64_t size = 0, number, wanted;
    uint32_t one, found = 0;
    struct dirent *entry;
    DIR *folder;
    int rc = db_wal_segment_size(cluster, &size, error);

    if (rc == 0)
        rc = wal_path(cluster, dir, error);
    if (rc)
        return rc;
    folder = opendir(dir);
    if (!folder)
        return kt_error_errno(error, "cannot open the folder '%s'", dir);
    // At a segment's end the last byte counts: the next segment may not be here yet.
    wanted = (lsn > 0 ? lsn - 1 : 0) / size;
    while ((entry = readdir(folder)))
        if (db_wal_name_parse(entry->d_name, size, &one, &number) == 0 && number == wanted &&
            one > found && goes_on_at(cluster, one, lsn))
            found = one;
    closedir(folder);
    if (found == 0)
        return kt_error_set(error, KT_ERR_NOT_FOUND, NULL,
                            "the segment of the log's end is not in '%s'", dir);
    *timeline = found;
    return 0;
}
