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
        drop[i] = 1;
        dropped++;
    }
    return dropped;
}

int ktb_is_suspicious(const struct kt_manifest *before, const struct kt_manifest *now)
{
    if (!before)
        return 0;
    if (kt_manifest_rows(now, "deposits") < kt_manifest_rows(before, "deposits") / 2)
        return 1;
    return before->bytes > SMALL_BYTES && now->bytes < before->bytes / 2;
}
