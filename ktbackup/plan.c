// SPDX-License-Identifier: Apache-2.0
// The walk over a confdir.
#include "ktbackup/plan.h"

#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/file.h"

#define DEPTH_MAX 16

// What is not saved of a confdir of ours, by its name. To leave out something else, a row with the reason.
static const struct {
    const char *pattern, *why;
} LEFT_OUT[] = {
    {".#lk*", "GnuPG's locks"},
    {"*.lock", "locks"},
    {".lock", "the client's lock"},
    {".users", "who has the keyring open"},
    {"random_seed", "GnuPG makes a new one"},
    {".*.tmp", "files in the making"},
    {"pairs-????????", "certificates: saved under the names of the links that lead to them"},
    {"backup.json", "the state of backups"},
    {"kts_bak_*", "backups"},
};

static int is_left_out(const char *name)
{
    for (size_t i = 0; i < sizeof(LEFT_OUT) / sizeof(LEFT_OUT[0]); i++)
        if (fnmatch(LEFT_OUT[i].pattern, name, 0) == 0)
            return 1;
    return 0;
}

static int add(struct ktb_plan *plan, const char *path, const struct stat *st,
               struct kt_error *error)
{
    struct ktb_file *file;

    if (kt_archive_path_check(path + 1) != 0)
        return kt_error_set(error, KT_ERR_INVALID, "rename it",
                            "the name of a file in '%.*s' cannot be kept in an archive",
                            (int)(strrchr(path, '/') - path), path);
    if (plan->count == plan->room) {
        size_t room = plan->room ? 2 * plan->room : 64;
        struct ktb_file *grown =
            room > KT_ARCHIVE_MEMBERS_MAX ? NULL : realloc(plan->files, room * sizeof(*grown));
        if (!grown)
            return kt_error_set(error, KT_ERR_TOO_LARGE, NULL, "more than %d files in '%s'",
                                KT_ARCHIVE_MEMBERS_MAX, path);
        plan->files = grown;
        plan->room = room;
    }
    file = &plan->files[plan->count];
    memset(file, 0, sizeof(*file));
    file->path = strdup(path);
    if (!file->path)
        return kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    file->is_dir = S_ISDIR(st->st_mode);
    file->size = file->is_dir ? 0 : (uint64_t)st->st_size;
    file->mode = st->st_mode & 07777;
    file->mtime_us = (int64_t)st->st_mtim.tv_sec * 1000000 + st->st_mtim.tv_nsec / 1000;
    plan->bytes += file->size;
    plan->count++;
    return 0;
}

struct walk {
    struct ktb_plan *plan;
    const char *skip;
    int is_ours;
};

static int add_folder(const struct walk *walk, const char *folder, int depth,
                      struct kt_error *error);

static int add_link(const struct walk *walk, const char *path, struct kt_error *error)
{
    struct stat target;

    if (stat(path, &target) == 0 && S_ISREG(target.st_mode))
        return add(walk->plan, path, &target, error);
    // In a confdir of ours it is another name of what is saved as itself.
    if (!walk->is_ours && walk->plan->links++ == 0)
        memcpy(walk->plan->link, path, strlen(path) + 1);
    return 0;
}

static int add_entry(const struct walk *walk, const char *folder, const char *name, int depth,
                     struct kt_error *error)
{
    char path[KT_PATH_MAX];
    struct stat st;

    if (kt_path_join(path, sizeof(path), folder, name) != 0)
        return kt_error_set(error, KT_ERR_TOO_LARGE, NULL, "a path in '%s' is too long", folder);
    if (lstat(path, &st) != 0)
        return errno == ENOENT ? 0 : kt_error_errno(error, "cannot look at '%s'", path);
    if (S_ISSOCK(st.st_mode) || (walk->skip && strcmp(path, walk->skip) == 0))
        return 0;
    if (S_ISLNK(st.st_mode))
        return add_link(walk, path, error);
    if (S_ISDIR(st.st_mode))
        return add_folder(walk, path, depth + 1, error);
    if (!S_ISREG(st.st_mode))
        return kt_error_set(error, KT_ERR_INVALID, "remove it", "'%s' is no file that can be saved",
                            path);
    return add(walk->plan, path, &st, error);
}

static int is_wanted(const struct dirent *entry)
{
    return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int add_folder(const struct walk *walk, const char *folder, int depth,
                      struct kt_error *error)
{
    struct dirent **entries = NULL;
    struct stat st;
    int count, rc;

    if (depth > DEPTH_MAX)
        return kt_error_set(error, KT_ERR_TOO_LARGE, NULL, "folders in '%s' are too deep", folder);
    if (stat(folder, &st) != 0)
        return kt_error_errno(error, "cannot look at '%s'", folder);
    if (!S_ISDIR(st.st_mode))
        return kt_error_set(error, KT_ERR_INVALID, NULL, "'%s' is not a folder", folder);
    rc = add(walk->plan, folder, &st, error);
    if (rc)
        return rc;
    count = scandir(folder, &entries, is_wanted, by_name);
    if (count < 0)
        return kt_error_errno(error, "cannot read the folder '%s'", folder);
    for (int i = 0; i < count; i++) {
        if (rc == 0 && !(walk->is_ours && is_left_out(entries[i]->d_name)))
            rc = add_entry(walk, folder, entries[i]->d_name, depth, error);
        free(entries[i]);
    }
    free(entries);
    return rc;
}

int ktb_plan_add(struct ktb_plan *plan, const char *folder, int is_ours, const char *skip,
                 struct kt_error *error)
{
    const struct walk walk = {.plan = plan, .skip = skip, .is_ours = is_ours};

    return add_folder(&walk, folder, 0, error);
}

void ktb_plan_free(struct ktb_plan *plan)
{
    for (size_t i = 0; i < plan->count; i++)
        free(plan->files[i].path);
    free(plan->files);
    memset(plan, 0, sizeof(*plan));
}
