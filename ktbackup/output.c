// SPDX-License-Identifier: Apache-2.0
// Names in the output folder: .part until complete, then artefact, then manifest.
#include "ktbackup/output.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ktbackup/place.h"
#include "lib/file.h"

#define NAME_SIZE (KT_BACKUP_STEM + 32)
#define TRIES     120 // seconds by which a stem may be late

static const char *const SUFFIXES[] = {KT_BACKUP_ENCRYPTED, KT_BACKUP_CLEARTEXT,
                                       KT_BACKUP_MANIFEST};
#define SUFFIX_COUNT (sizeof(SUFFIXES) / sizeof(SUFFIXES[0]))

int ktb_output_open(const char *path, struct ktb_output *output, struct kt_error *error)
{
    int rc;

    output->fd = -1;
    rc = ktb_real_path(path, output->path, error);
    if (rc == KT_ERR_NOT_FOUND)
        return kt_error_set(error, rc,
                            "mkdir -m 0700 it as the account that ktbackup runs as, or mount what "
                            "belongs there",
                            "there is no folder '%.300s' for backups", path);
    if (rc)
        return rc;
    output->fd = open(output->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (output->fd < 0 && errno == ENOTDIR)
        return kt_error_set(error, KT_ERR_INVALID, "give a folder", "'%s' is not a folder",
                            output->path);
    if (output->fd < 0)
        return kt_error_errno(error, "cannot open the folder '%s'", output->path);
    // The kernel's own lock: it ends with the process, whatever ends that.
    if (flock(output->fd, LOCK_EX | LOCK_NB) != 0)
        return errno == EWOULDBLOCK
                   ? kt_error_set(error, KT_ERR_BUSY, "wait for it; it ends by itself",
                                  "another ktbackup is at work in '%s'", output->path)
                   : kt_error_errno(error, "cannot lock the folder '%s'", output->path);
    if (faccessat(output->fd, ".", W_OK | X_OK, AT_EACCESS) != 0)
        return kt_error_errno(error, "cannot write to the folder '%s'", output->path);
    return 0;
}

void ktb_output_close(struct ktb_output *output)
{
    if (output->fd >= 0)
        close(output->fd);
    output->fd = -1;
}

static void make_name(const char *stem, const char *suffix, const char *part, char out[NAME_SIZE])
{
    snprintf(out, NAME_SIZE, "%s%s%s", stem, suffix, part);
}

static int is_there(const struct ktb_output *output, const char *name)
{
    struct stat st;

    return fstatat(output->fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static int sync_folder(const struct ktb_output *output, struct kt_error *error)
{
    return fsync(output->fd) == 0
               ? 0
               : kt_error_errno(error, "cannot make the folder '%s' durable", output->path);
}

// --- what killed runs left ---

// The artefact has its name, the manifest not yet: both were complete then. Looked at once more.
static int complete(const struct ktb_output *output, const char *stem,
                    const struct kt_backup_trust *trust)
{
    char part[NAME_SIZE], name[NAME_SIZE], path[KT_PATH_MAX];
    struct kt_backup_file *file = calloc(1, sizeof(*file));
    int fd = -1, rc = file ? 0 : KT_ERR_NO_MEMORY;

    make_name(stem, KT_BACKUP_MANIFEST, KT_BACKUP_PART, part);
    make_name(stem, KT_BACKUP_MANIFEST, "", name);
    if (rc == 0)
        rc = kt_path_join(path, sizeof(path), output->path, part);
    if (rc == 0)
        rc = kt_backup_read_manifest(path, NULL, file, NULL);
    // A client's and a node's may go to one folder: what the other has signed is for its own next run.
    if (rc == 0 && strcmp(file->manifest.signer, trust->signer) != 0) {
        kt_backup_file_free(file);
        free(file);
        return 0;
    }
    if (rc == 0)
        rc = kt_backup_check_signature(file, trust, NULL);
    if (rc == 0 && strncmp(file->manifest.artefact, stem, strlen(stem)) != 0)
        rc = KT_ERR_INVALID;
    if (rc == 0) {
        fd = openat(output->fd, file->manifest.artefact, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        rc = fd >= 0           ? kt_backup_check(fd, &file->manifest, NULL, NULL, NULL)
             : errno == ENOENT ? KT_ERR_NOT_FOUND
                               : KT_ERR_SYSTEM;
    }
    if (rc == 0 && renameat(output->fd, part, output->fd, name) != 0)
        rc = KT_ERR_SYSTEM;
    if (fd >= 0)
        close(fd);
    kt_backup_file_free(file);
    free(file);
    return rc;
}

// Whether the backup is at fault. Of what could not be looked at nothing is removed.
static int is_verdict(int rc)
{
    return rc == KT_ERR_NOT_FOUND || rc == KT_ERR_SIGNATURE || rc == KT_ERR_INVALID ||
           rc == KT_ERR_TRUNCATED || rc == KT_ERR_TOO_LARGE || rc == KT_ERR_NOT_CIPHERTEXT;
}

static int settle_one(const struct ktb_output *output, const char *name, const char *stem,
                      const char *suffix, const struct kt_backup_trust *trust,
                      struct kt_error *error)
{
    int rc =
        strcmp(suffix, KT_BACKUP_MANIFEST) == 0 ? complete(output, stem, trust) : KT_ERR_NOT_FOUND;

    if (rc == 0)
        return 0;
    if (!is_verdict(rc))
        return kt_error_set(error, rc, NULL,
                            "cannot check '%s/%s', which a stopped run left behind", output->path,
                            name);
    if (unlinkat(output->fd, name, 0) != 0 && errno != ENOENT)
        return kt_error_errno(error, "cannot remove '%s/%s', which a stopped run left behind",
                              output->path, name);
    return 0;
}

int ktb_output_settle(const struct ktb_output *output, const char *host,
                      const struct kt_backup_trust *trust, struct kt_error *error)
{
    char stem[KT_BACKUP_STEM], own[KT_BACKUP_STEM], suffix[64];
    struct dirent *entry;
    DIR *folder = opendir(output->path);
    size_t n;
    int rc = 0;

    if (!folder)
        return kt_error_errno(error, "cannot read the folder '%s'", output->path);
    kt_backup_stem(host, 0, own);
    n = strlen(own) - strlen("0000-00-00_00-00-00"); // "kts_bak_<host>_": others' runs go on
    while (rc == 0 && (entry = readdir(folder)))
        for (size_t i = 0; i < SUFFIX_COUNT && rc == 0; i++) {
            snprintf(suffix, sizeof(suffix), "%s%s", SUFFIXES[i], KT_BACKUP_PART);
            if (kt_backup_name_is(entry->d_name, suffix, stem) && strlen(stem) == strlen(own) &&
                strncmp(stem, own, n) == 0)
                rc = settle_one(output, entry->d_name, stem, SUFFIXES[i], trust, error);
        }
    closedir(folder);
    return rc ? rc : sync_folder(output, error);
}

// --- a new one ---

int ktb_output_stem(const struct ktb_output *output, const char *host, int64_t time_us,
                    char stem[KT_BACKUP_STEM], struct kt_error *error)
{
    char name[NAME_SIZE];

    for (int late = 0; late < TRIES; late++) {
        int taken = 0;
        kt_backup_stem(host, time_us + (int64_t)late * 1000000, stem);
        for (size_t i = 0; i < SUFFIX_COUNT; i++) {
            make_name(stem, SUFFIXES[i], "", name);
            taken |= is_there(output, name);
            make_name(stem, SUFFIXES[i], KT_BACKUP_PART, name);
            taken |= is_there(output, name);
        }
        if (!taken)
            return 0;
    }
    return kt_error_set(error, KT_ERR_EXISTS, "look at the clock",
                        "'%s' has backups of the next %d seconds already", output->path, TRIES);
}

int ktb_part_open(const struct ktb_output *output, const char *stem, const char *suffix, int *fd,
                  struct kt_error *error)
{
    char name[NAME_SIZE];

    make_name(stem, suffix, KT_BACKUP_PART, name);
    *fd = openat(output->fd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    return *fd >= 0 ? 0 : kt_error_errno(error, "cannot make '%s/%s'", output->path, name);
}

void ktb_part_drop(const struct ktb_output *output, const char *stem, const char *suffix)
{
    char name[NAME_SIZE];

    make_name(stem, suffix, KT_BACKUP_PART, name);
    (void)unlinkat(output->fd, name, 0);
}

static int write_part(const struct ktb_output *output, const char *stem,
                      const struct kt_buf *manifest, struct kt_error *error)
{
    int fd = -1, rc = ktb_part_open(output, stem, KT_BACKUP_MANIFEST, &fd, error);

    if (rc)
        return rc;
    if (kt_write_all(fd, kt_buf_ptr(manifest), kt_buf_left(manifest)) != 0 || fsync(fd) != 0)
        rc = kt_error_errno(error, "cannot write the manifest into '%s'", output->path);
    if (close(fd) != 0 && rc == 0)
        rc = kt_error_errno(error, "cannot write the manifest into '%s'", output->path);
    return rc;
}

static int give_name(const struct ktb_output *output, const char *stem, const char *suffix,
                     struct kt_error *error)
{
    char part[NAME_SIZE], name[NAME_SIZE];

    make_name(stem, suffix, KT_BACKUP_PART, part);
    make_name(stem, suffix, "", name);
    return renameat(output->fd, part, output->fd, name) == 0
               ? 0
               : kt_error_errno(error, "cannot rename '%s/%s'", output->path, part);
}

// What is not known to be durable is not to be taken for a backup.
static void take_back(const struct ktb_output *output, const char *stem, const char *suffix)
{
    char part[NAME_SIZE], name[NAME_SIZE];

    make_name(stem, KT_BACKUP_MANIFEST, KT_BACKUP_PART, part);
    make_name(stem, KT_BACKUP_MANIFEST, "", name);
    (void)!renameat(output->fd, name, output->fd, part);
    make_name(stem, suffix, "", name);
    (void)unlinkat(output->fd, name, 0);
}

int ktb_output_publish(const struct ktb_output *output, const char *stem, const char *suffix,
                       const struct kt_buf *manifest, struct kt_error *error)
{
    int rc = write_part(output, stem, manifest, error);

    // Between the two renames a kill leaves all that ktb_output_settle needs.
    if (rc == 0)
        rc = sync_folder(output, error);
    if (rc == 0)
        rc = give_name(output, stem, suffix, error);
    if (rc)
        return rc;
    rc = give_name(output, stem, KT_BACKUP_MANIFEST, error);
    if (rc == 0)
        rc = sync_folder(output, error);
    if (rc)
        take_back(output, stem, suffix);
    return rc;
}
