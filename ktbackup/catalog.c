// SPDX-License-Identifier: Apache-2.0
// Reading a folder of backups.
#include "ktbackup/catalog.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/file.h"

#define ENTRIES_MAX 100000

static struct ktb_entry *add(struct ktb_catalog *catalog)
{
    if (catalog->count == catalog->room) {
        size_t room = catalog->room ? 2 * catalog->room : 32;
        struct ktb_entry **grown =
            room > ENTRIES_MAX ? NULL
                               : realloc(catalog->entries, room * sizeof(struct ktb_entry *));
        if (!grown)
            return NULL;
        catalog->entries = grown;
        catalog->room = room;
    }
    catalog->entries[catalog->count] = calloc(1, sizeof(struct ktb_entry));
    return catalog->entries[catalog->count] ? catalog->entries[catalog->count++] : NULL;
}

static int check_length(struct ktb_entry *entry)
{
    struct stat st;

    if (stat(entry->file.artefact, &st) != 0)
        return kt_error_errno(&entry->error, "cannot look at '%s'", entry->file.artefact);
    if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != entry->file.manifest.bytes)
        return kt_error_set(&entry->error, KT_ERR_SIGNATURE, "use another copy",
                            "'%s' has not the length that its manifest gives it",
                            entry->file.artefact);
    return 0;
}

// An artefact is read by way of its manifest; one without is an entry of its own.
static int take_name(const char *folder, const char *name, const struct kt_backup_trust *trust,
                     struct ktb_catalog *catalog, struct kt_error *error)
{
    char path[KT_PATH_MAX], beside[KT_PATH_MAX], stem[KT_BACKUP_STEM], other[KT_BACKUP_STEM + 16];
    int is_manifest = kt_backup_name_is(name, KT_BACKUP_MANIFEST, stem);
    struct ktb_entry *entry;

    if (!is_manifest && !kt_backup_name_is(name, KT_BACKUP_ENCRYPTED, stem) &&
        !kt_backup_name_is(name, KT_BACKUP_CLEARTEXT, stem))
        return 0;
    snprintf(other, sizeof(other), "%s%s", stem, KT_BACKUP_MANIFEST);
    if (kt_path_join(path, sizeof(path), folder, name) != 0 ||
        kt_path_join(beside, sizeof(beside), folder, other) != 0)
        return kt_error_set(error, KT_ERR_TOO_LARGE, NULL, "a path in '%s' is too long", folder);
    if (!is_manifest && kt_file_exists(beside))
        return 0;
    entry = add(catalog);
    if (!entry)
        return kt_error_set(error, KT_ERR_TOO_LARGE, NULL, "too many backups in '%s'", folder);
    entry->rc = kt_backup_find(path, trust, &entry->file, &entry->error);
    if (entry->rc) {
        memcpy(entry->file.stem, stem, sizeof(stem));
        memset(&entry->file.manifest, 0, sizeof(entry->file.manifest));
    } else {
        entry->rc = check_length(entry);
    }
    return 0;
}

static int order(const void *a, const void *b)
{
    const struct ktb_entry *x = *(struct ktb_entry *const *)a, *y = *(struct ktb_entry *const *)b;
    const struct kt_manifest *m = &x->file.manifest, *n = &y->file.manifest;
    int by = memcmp(&m->cluster_id, &n->cluster_id, sizeof(m->cluster_id));

    if (by == 0)
        by = strcmp(m->owner, n->owner);
    if (by == 0 && m->sequence != n->sequence)
        by = m->sequence < n->sequence ? -1 : 1;
    return by ? by : strcmp(x->file.stem, y->file.stem);
}

int ktb_catalog_read(const char *folder, const struct kt_backup_trust *trust,
                     struct ktb_catalog *catalog, struct kt_error *error)
{
    struct dirent *entry;
    DIR *dir = opendir(folder);
    int rc = 0;

    memset(catalog, 0, sizeof(*catalog));
    if (!dir)
        return kt_error_errno(error, "cannot read the folder '%s'", folder);
    while (rc == 0 && (entry = readdir(dir)))
        rc = take_name(folder, entry->d_name, trust, catalog, error);
    closedir(dir);
    if (rc)
        ktb_catalog_free(catalog);
    else if (catalog->count > 0)
        // NOLINTNEXTLINE(bugprone-sizeof-expression): pointers are meant
        qsort(catalog->entries, catalog->count, sizeof(*catalog->entries), order);
    return rc;
}

void ktb_catalog_free(struct ktb_catalog *catalog)
{
    for (size_t i = 0; i < catalog->count; i++) {
        kt_backup_file_free(&catalog->entries[i]->file);
        free(catalog->entries[i]);
    }
    free(catalog->entries);
    memset(catalog, 0, sizeof(*catalog));
}

const struct ktb_entry *ktb_catalog_newest(const struct ktb_catalog *catalog,
                                           const struct kt_uuid *cluster_id, const char *owner)
{
    const struct ktb_entry *newest = NULL;

    for (size_t i = 0; i < catalog->count; i++) {
        const struct ktb_entry *entry = catalog->entries[i];
        const struct kt_manifest *manifest = &entry->file.manifest;
        if (entry->rc || memcmp(&manifest->cluster_id, cluster_id, sizeof(*cluster_id)) != 0 ||
            (owner && strcmp(manifest->owner, owner) != 0))
            continue;
        if (!newest || manifest->sequence > newest->file.manifest.sequence)
            newest = entry;
    }
    return newest;
}
