// SPDX-License-Identifier: Apache-2.0
// Which backups --roll and --keep-within let go: a pure function.
#ifndef KTB_RETAIN_H
#define KTB_RETAIN_H

#include "ktbackup/catalog.h"

struct ktb_retention {
    uint64_t keep;          // the last so many, the new one included; 0: all
    int64_t keep_within_us; // and all that are not older; 0: no such rule
    struct kt_uuid cluster_id;
    const char *owner; // only backups of this cluster and owner count, and go
};

// Marks in drop[i] (count of the catalog) what goes. Only good ones count: signature checked (of
// folders that nobody signs: unsigned), length right; what is not good stays, and so does what is
// newer than the newest sequence. Age is the manifests' own time against the newest one's: neither
// the clock of today nor a file's time can make a backup old. The newest one never goes, nor the last
// of each incarnation, nor one that holds more than the newest. Returns how many go.
size_t ktb_retain(const struct ktb_catalog *catalog, const struct ktb_retention *retention,
                  int *drop);

// One that counts and next to which `now` is suspiciously small; NULL: none.
const struct kt_manifest *ktb_find_larger(const struct ktb_catalog *catalog,
                                          const struct ktb_retention *retention,
                                          const struct kt_manifest *now);
// 1 when `now` has so much less in it than the backup before (NULL: there was none) that the old
// ones are to stay: less than half of its deposits, or of its bytes
// where there are no deposits.
int ktb_is_suspicious(const struct kt_manifest *before, const struct kt_manifest *now);

#endif
