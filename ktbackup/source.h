// SPDX-License-Identifier: Apache-2.0
// A backup that is to be read: found, opened, and where the private key is, decrypted.
#ifndef KTB_SOURCE_H
#define KTB_SOURCE_H

#include "ktbackup/place.h"
#include "lib/backup_read.h"

struct ktb_source {
    struct kt_backup_file file;
    int fd;                          // the artefact
    struct kt_backup_stream *stream; // NULL: not to be decrypted
    struct kt_secret *passphrase;
    struct ktb_place place; // confdir "" when there is none
    struct ktb_trust trust;
};

// Opens the backup that `path` names, as the caller; begins to decrypt it when `decrypts`; then
// becomes the confdir's owner, if there is one, and checks the manifest's signature.
int ktb_source_open(const struct kt_cli_run *run, const char *path, int decrypts,
                    struct ktb_source *source, struct kt_error *error) KT_MUST_CHECK;
void ktb_source_close(struct ktb_source *source);

// Prints the error and gives the exit code: whatever is wrong with the backup itself is one.
int ktb_source_fail(const struct kt_cli_run *run, const struct kt_error *error);

#endif
