// SPDX-License-Identifier: Apache-2.0
// The backups of a folder, as their manifests tell.
#ifndef KTB_CATALOG_H
#define KTB_CATALOG_H

#include "lib/backup_file.h"

struct ktb_entry {
    struct kt_backup_file file;
    int rc;                // why it does not count: 0, or of kt_backup_find
    struct kt_error error; // the words
};

struct ktb_catalog {
    struct ktb_entry **entries; // oldest first: by cluster, owner, sequence
    size_t count, room;
};

// Reads all manifests of the folder, and names artefacts that have none. Signatures are checked
// when `trust` can; lengths of artefacts always, their content not.
int ktb_catalog_read(const char *folder, const struct kt_backup_trust *trust,
                     struct ktb_catalog *catalog, struct kt_error *error) KT_MUST_CHECK;
void ktb_catalog_free(struct ktb_catalog *catalog);
// The newest good one of this cluster and owner (`owner` NULL: of any); NULL when there is none.
const struct ktb_entry *ktb_catalog_newest(const struct ktb_catalog *catalog,
                                           const struct kt_uuid *cluster_id, const char *owner);

#endif
