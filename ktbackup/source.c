// SPDX-License-Identifier: Apache-2.0
// Opening a backup for reading, and giving up rights before it is looked into.
#include "ktbackup/source.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define PASSPHRASE_MAX 1024

static int start_stream(const struct kt_cli_run *run, struct ktb_source *source,
                        struct kt_error *error)
{
    const char *passphrase = kt_cli_value(run, "passphrase-file");
    int rc = 0;

    if (passphrase)
        rc = kt_secret_from_file(passphrase, PASSPHRASE_MAX, 1, &source->passphrase, error);
    return rc ? rc
              : kt_backup_stream_new(source->fd, source->file.manifest.is_cleartext,
                                     kt_cli_value(run, "gnupg-home"), source->passphrase,
                                     &source->stream, error);
}

int ktb_source_open(const struct kt_cli_run *run, const char *path, int decrypts,
                    struct ktb_source *source, struct kt_error *error)
{
    int rc;

    memset(source, 0, sizeof(*source));
    source->fd = -1;
    rc = kt_backup_find(path, NULL, &source->file, error);
    if (rc)
        return rc;
    source->fd = open(source->file.artefact, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (source->fd < 0)
        rc = kt_error_errno(error, "cannot open '%s'", source->file.artefact);
    if (rc == 0 && decrypts)
        rc = start_stream(run, source, error);
    if (rc == 0)
        rc = ktb_place_try(run, &source->place, error);
    if (rc == 0)
        rc = ktb_trust_open(run, &source->place, &source->trust, error);
    // With a key to check by, only what that key has signed is good: who replaces both files by those of
    // a cluster of his own must not pass.
    if (rc == 0 && source->trust.trust.gpg && source->file.manifest.signer[0] &&
        !kt_backup_trusts(&source->trust.trust, source->file.manifest.signer))
        return kt_error_set(error, KT_ERR_SIGNATURE,
                            "to check a backup of another cluster, give its public key: --key FILE",
                            "the manifest is signed by key %s, not by %s",
                            source->file.manifest.signer, source->trust.trust.signer);
    return rc ? rc : kt_backup_check_signature(&source->file, &source->trust.trust, error);
}

void ktb_source_close(struct ktb_source *source)
{
    kt_backup_stream_free(source->stream);
    kt_secret_free(source->passphrase);
    ktb_trust_close(&source->trust);
    ktb_place_close(&source->place);
    kt_backup_file_free(&source->file);
    if (source->fd >= 0)
        close(source->fd);
}

int ktb_source_fail(const struct kt_cli_run *run, const struct kt_error *error)
{
    int code = kt_cli_fail(run, error);

    switch (error->code) {
    case KT_ERR_SIGNATURE:
    case KT_ERR_INVALID:
    case KT_ERR_TRUNCATED:
    case KT_ERR_NOT_CIPHERTEXT:
    case KT_ERR_CRYPTO:
        return KT_EXIT_INTEGRITY;
    default:
        return code;
    }
}
