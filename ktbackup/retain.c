// SPDX-License-Identifier: Apache-2.0
// Retention, without a clock and without a file.
#include "ktbackup/retain.h"

#include <string.h>

// A client's backup of some kilobytes may halve for good reasons.
#define SMALL_BYTES ((uint64_t)256 << 10)

static int counts(const struct ktb_entry *entry, const struct ktb_retention *retention)
{
    const struct kt_manifest *manifest = &entry->file.manifest;

    return entry->rc == 0 && entry->file.signature != KT_SIGNATURE_UNCHECKED &&
           memcmp(&manifest->cluster_id, &retention->cluster_id, sizeof(manifest->cluster_id)) ==
               0 &&
           strcmp(manifest->owner, retention->owner) == 0;
}

// Whether a later history or more of it is in this one than in the newest: deposits and the log index
// only grow, so the newest has lost something, or is of a cluster that was restored from before.
static int holds_more(const struct kt_manifest *manifest, const struct kt_manifest *newest)
{
    return manifest->log_index > newest->log_index || ktb_is_suspicious(manifest, newest);
}

// A restored cluster is another history: the last backup of each is kept.
static int is_last_of_incarnation(const struct ktb_catalog *catalog,
                                  const struct ktb_retention *retention, size_t i)
{
    const struct kt_manifest *manifest = &catalog->entries[i]->file.manifest;

    for (size_t k = i + 1; k < catalog->count; k++)
        if (counts(catalog->entries[k], retention) &&
            catalog->entries[k]->file.manifest.incarnation.number == manifest->incarnation.number &&
            catalog->entries[k]->file.manifest.incarnation.bits == manifest->incarnation.bits)
            return 0;
    return 1;
}

size_t ktb_retain(const struct ktb_catalog *catalog, const struct ktb_retention *retention,
                  int *drop)
{
    const struct kt_manifest *newest = NULL;
    size_t seen = 0, dropped = 0;

    memset(drop, 0, catalog->count * sizeof(*drop));
    if (retention->keep == 0)
        return 0;
    // Oldest first in the catalog: from its end the newest come first.
    for (size_t i = catalog->count; i-- > 0;) {
        const struct ktb_entry *entry = catalog->entries[i];
        const struct kt_manifest *manifest = &entry->file.manifest;
        if (!counts(entry, retention))
            continue;
        if (!newest)
            newest = manifest;
        if (++seen <= retention->keep)
            continue;
        if (retention->keep_within_us > 0 &&
            manifest->time_us > newest->time_us - retention->keep_within_us)
            continue;
        if (holds_more(manifest, newest) || is_last_of_incarnation(catalog, retention, i))
            continue;
        drop[i] = 1;
        dropped++;
    }
    return dropped;
}

const struct kt_manifest *ktb_find_larger(const struct ktb_catalog *catalog,
                                          const struct ktb_retention *retention,
                                          const struct kt_manifest *now)
{
    for (size_t i = 0; i < catalog->count; i++)
        if (counts(catalog->entries[i], retention) &&
            ktb_is_suspicious(&catalog->entries[i]->file.manifest, now))
            return &catalog->entries[i]->file.manifest;
    return NULL;
}

int ktb_is_suspicious(const struct kt_manifest *before, const struct kt_manifest *now)
{
    uint64_t deposits;

    if (!before)
        return 0;
    if (before->kind != KT_BACKUP_SERVER) // nothing to count but bytes
        return before->bytes > SMALL_BYTES && now->bytes < before->bytes / 2;
    deposits = kt_manifest_rows(before, "deposits");
    return kt_manifest_rows(now, "deposits") < deposits - deposits / 2;
}
