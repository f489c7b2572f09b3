// SPDX-License-Identifier: Apache-2.0
// Encrypting, writing and checking the artefact; finding those who may open it.
#include "ktbackup/seal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ktbackup/progress.h"
#include "lib/file.h"
#include "lib/openpgp_file.h"

#define PIECE       ((size_t)1 << 18)
#define WRITE_AHEAD ((uint64_t)32 << 20)
#define DAY_US      (INT64_C(86400) * 1000000)

// --- recipients ---

static void warn_expiry(const struct kt_cli_run *run, const struct kt_gpg_recipient *recipient,
                        uint64_t warn_days)
{
    int64_t left = recipient->expires_us - kt_time_now();

    if (recipient->expires_us == 0 || left > (int64_t)warn_days * DAY_US)
        return;
    fprintf(stderr,
            "%s: warning: the key of %s (%s) expires in %" PRId64 " days; after that no backup is "
            "made for it\n"
            "hint: import a key with a later date, or another one\n",
            run->program->name, recipient->user_id, recipient->fingerprint, left / DAY_US);
}

int ktb_find_recipients(const struct kt_cli_run *run, struct kt_gpg *keyring, uint64_t warn_days,
                        struct kt_gpg_recipient *recipients, size_t *count, struct kt_error *error)
{
    int given = kt_cli_count(run, "gpg-recipient");

    if (given > KT_MANIFEST_RECIPIENTS_MAX)
        return kt_error_set(error, KT_ERR_USAGE, NULL, "more than %d recipients",
                            KT_MANIFEST_RECIPIENTS_MAX);
    for (int i = 0; i < given; i++) {
        const char *text = kt_cli_nth(run, "gpg-recipient", i);
        int rc = kt_gpg_find_recipient(keyring, text, &recipients[i], error);
        if (rc)
            return rc;
        for (int k = 0; k < i; k++)
            if (strcmp(recipients[k].fingerprint, recipients[i].fingerprint) == 0)
                return kt_error_set(error, KT_ERR_USAGE, "name each key once",
                                    "two recipients are the same key %s",
                                    recipients[i].fingerprint);
        warn_expiry(run, &recipients[i], warn_days);
    }
    *count = (size_t)given;
    return 0;
}

// --- writing ---

struct sink {
    const struct ktb_producer *producer;
    struct ktb_progress progress;
    EVP_MD_CTX *hash;
    uint64_t bytes, begun; // written; handed to the disk
    int fd;
};

static int take(void *arg, const void *bytes, size_t n, struct kt_error *error)
{
    struct sink *sink = arg;

    if (kt_write_all(sink->fd, bytes, n) != 0)
        return kt_error_errno(error, "cannot write the backup");
    if (EVP_DigestUpdate(sink->hash, bytes, n) != 1)
        return kt_error_set(error, KT_ERR_CRYPTO, NULL, "cannot hash the backup");
    sink->bytes += n;
    // The disk begins now, so that the fsync at the end has little left to wait for.
    if (sink->bytes - sink->begun >= WRITE_AHEAD) {
        (void)sync_file_range(sink->fd, (off_t)sink->begun, (off_t)(sink->bytes - sink->begun),
                              SYNC_FILE_RANGE_WRITE);
        sink->begun = sink->bytes;
    }
    ktb_progress_show(&sink->progress, ktb_producer_done(sink->producer));
    return 0;
}

static int copy(int in_fd, struct sink *sink, struct kt_error *error)
{
    uint8_t *piece = malloc(PIECE);
    int rc = piece ? 0 : kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");

    while (rc == 0) {
        ssize_t n = read(in_fd, piece, PIECE);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            rc = kt_error_errno(error, "cannot read the backup's content");
        if (n <= 0)
            break;
        rc = take(sink, piece, (size_t)n, error);
    }
    if (piece)
        explicit_bzero(piece, PIECE);
    free(piece);
    return rc;
}

// The producer ends first when something is wrong with what is saved, and then its words count:
// gpg and the disk have only seen a stream that ended.
static int run_stream(const struct ktb_seal *seal, struct sink *sink, struct kt_error *error)
{
    struct kt_error why = {0}, theirs = {0};
    struct ktb_producer *producer = NULL;
    int in_fd = -1, rc = ktb_producer_start(seal->content, &producer, &in_fd, error), made;

    if (rc)
        return rc;
    sink->producer = producer;
    rc = seal->recipient_count == 0
             ? copy(in_fd, sink, &why)
             : kt_gpg_encrypt_stream(seal->keyring, seal->recipients, seal->recipient_count, in_fd,
                                     take, sink, &why);
    close(in_fd); // should it still be writing: it ends by EPIPE
    made = ktb_producer_finish(producer, &theirs);
    ktb_progress_end(&sink->progress);
    if (made && rc == 0) {
        rc = made;
        why = theirs;
    }
    if (rc && error)
        *error = why;
    return rc;
}

// --- looking at it again ---

static int match(const struct ktb_seal *seal, int fd, struct kt_manifest *manifest,
                 struct kt_error *error)
{
    struct kt_openpgp_message message;
    int rc;

    manifest->is_cleartext = seal->recipient_count == 0;
    manifest->recipient_count = 0;
    if (manifest->is_cleartext)
        return 0;
    rc = kt_openpgp_check_file(fd, &message, error);
    return rc ? rc
              : kt_backup_match_recipients(&message, seal->recipients, seal->recipient_count,
                                           manifest, error);
}

int ktb_seal(const struct ktb_seal *seal, int fd, struct kt_manifest *manifest,
             struct kt_error *error)
{
    struct sink sink = {.fd = fd, .hash = EVP_MD_CTX_new()};
    int rc = 0;

    ktb_progress_begin(&sink.progress, "saving", seal->total, seal->shows_progress);
    if (!sink.hash || EVP_DigestInit_ex(sink.hash, EVP_sha256(), NULL) != 1)
        rc = kt_error_set(error, KT_ERR_CRYPTO, NULL, "cannot make a hash");
    if (rc == 0)
        rc = run_stream(seal, &sink, error);
    if (rc == 0 && EVP_DigestFinal_ex(sink.hash, manifest->sha256, NULL) != 1)
        rc = kt_error_set(error, KT_ERR_CRYPTO, NULL, "cannot hash the backup");
    if (rc == 0 && fsync(fd) != 0)
        rc = kt_error_errno(error, "cannot make the backup durable");
    manifest->bytes = sink.bytes;
    if (rc == 0)
        rc = match(seal, fd, manifest, error);
    if (rc == 0) {
        ktb_progress_begin(&sink.progress, "checking", sink.bytes, seal->shows_progress);
        rc = kt_backup_check(fd, manifest, ktb_progress_call, &sink.progress, error);
        ktb_progress_end(&sink.progress);
    }
    EVP_MD_CTX_free(sink.hash);
    return rc;
}
