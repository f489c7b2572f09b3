// SPDX-License-Identifier: Apache-2.0
// What a backup saves of the file system: which files, in which order, how long each is.
#ifndef KTB_PLAN_H
#define KTB_PLAN_H

#include "ktbackup/place.h"

struct ktb_file {
    char *path; // absolute
    int is_dir;
    uint64_t size; // as it was when the plan was made
    mode_t mode;
    int64_t mtime_us;
};

struct ktb_plan {
    struct ktb_file *files;
    size_t count, room;
    uint64_t bytes; // of all files
    // Links to folders in folders that are not ours: not followed, and to be told about.
    size_t links;
    char link[KT_PATH_MAX]; // the first of them
};

// Adds a folder and all in it, sorted by name. Links to files become files. Of a confdir of ours
// what can be made again is left out: locks, sockets, backups. KT_ERR_INVALID: a device or pipe, or
// a name that an archive cannot hold. `skip` (may be NULL) is a folder inside that is not saved: the
// one that backups go to.
int ktb_plan_add(struct ktb_plan *plan, const char *folder, int is_ours, const char *skip,
                 struct kt_error *error) KT_MUST_CHECK;
void ktb_plan_free(struct ktb_plan *plan);

#endif
