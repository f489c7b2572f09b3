// SPDX-License-Identifier: Apache-2.0
// Removing old backups, by what ktb_retain has decided.
#include "ktbackup/roll.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *name_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

static int remove_file(const struct ktb_output *output, const char *path, struct kt_error *error)
{
    return unlinkat(output->fd, name_of(path), 0) == 0 || errno == ENOENT
               ? 0
               : kt_error_errno(error, "cannot remove '%s'", path);
}

// First the manifest becomes a part again. A run that is killed before the artefact is gone has
// removed nothing: ktb_output_settle gives the manifest its name back; afterwards it removes it.
static int remove_backup(const struct ktb_output *output, const struct kt_backup_file *file,
                         struct kt_error *error)
{
    char part[KT_PATH_MAX + sizeof(KT_BACKUP_PART)];
    int rc;

    snprintf(part, sizeof(part), "%s%s", file->manifest_path, KT_BACKUP_PART);
    if (renameat(output->fd, name_of(file->manifest_path), output->fd, name_of(part)) != 0)
        return kt_error_errno(error, "cannot rename '%s'", file->manifest_path);
    rc = remove_file(output, file->artefact, error);
    return rc ? rc : remove_file(output, part, error);
}

int ktb_roll(const struct ktb_output *output, const struct ktb_catalog *catalog,
             const struct ktb_retention *retention, size_t *removed, struct kt_error *error)
{
    int *drop = calloc(catalog->count + 1, sizeof(*drop));
    int rc = drop ? 0 : kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");

    *removed = 0;
    if (rc == 0 && ktb_retain(catalog, retention, drop) == 0)
        goto out;
    for (size_t i = 0; i < catalog->count && rc == 0; i++) {
        if (!drop[i])
            continue;
        rc = remove_backup(output, &catalog->entries[i]->file, error);
        *removed += rc == 0;
    }
    if (rc == 0 && fsync(output->fd) != 0)
        rc = kt_error_errno(error, "cannot make the folder '%s' durable", output->path);
out:
    free(drop);
    return rc;
}
