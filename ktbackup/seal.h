// SPDX-License-Identifier: Apache-2.0
// From the plaintext's pipe into the artefact: through gpg, counted and hashed; then looked at again
// as a stranger would.
#ifndef KTB_SEAL_H
#define KTB_SEAL_H

#include "ktbackup/output.h"
#include "ktbackup/produce.h"

struct ktb_seal {
    const struct ktb_content *content;
    const struct kt_gpg_recipient *recipients;
    size_t recipient_count; // 0: clear text
    struct kt_gpg *keyring; // with the recipients' keys; NULL for clear text
    int shows_progress;     // on standard error
    uint64_t total;         // of the progress
};

// Writes all of the backup to `fd`, a new file, makes it durable and checks it. Fills the
// manifest's bytes, sha256, recipients, is_cleartext. Every part must have succeeded: reading,
// packing, encrypting, writing.
int ktb_seal(const struct ktb_seal *seal, int fd, struct kt_manifest *manifest,
             struct kt_error *error) KT_MUST_CHECK;

// Finds the recipients that were named. Warns on standard error of those that expire within
// `warn_days`. KT_ERR_NOT_FOUND, KT_ERR_INVALID, KT_ERR_USAGE (one named twice).
int ktb_find_recipients(const struct kt_cli_run *run, struct kt_gpg *keyring, uint64_t warn_days,
                        struct kt_gpg_recipient *recipients, size_t *count,
                        struct kt_error *error) KT_MUST_CHECK;

#endif
