// SPDX-License-Identifier: Apache-2.0
// OpenPGP decryption into locked memory, with the signer checked.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/gpg_inner.h"

#define PLAIN_START ((size_t)4096)
#define PLAIN_MAX   ((size_t)1 << 20) // the bound of kt_secret

// Plaintext as it arrives: grows by moving into a larger secret, so that no copy is left behind.
struct sink {
    struct kt_secret *secret;
    size_t used;
    int code; // why writing stopped
};

static ssize_t take_bytes(struct sink *sink, const void *bytes, size_t n)
{
    size_t room = kt_secret_len(sink->secret);

    if (n > PLAIN_MAX - sink->used) {
        sink->code = KT_ERR_TOO_LARGE;
        errno = EFBIG;
        return -1;
    }
    if (n > room - sink->used) {
        struct kt_secret *larger = NULL;
        size_t want = room;
        while (want - sink->used < n)
            want *= 2;
        sink->code = kt_secret_new(want < PLAIN_MAX ? want : PLAIN_MAX, &larger);
        if (sink->code != 0) {
            errno = ENOMEM;
            return -1;
        }
        memcpy(kt_secret_data(larger), kt_secret_data(sink->secret), sink->used);
        kt_secret_free(sink->secret);
        sink->secret = larger;
    }
    memcpy(kt_secret_data(sink->secret) + sink->used, bytes, n);
    sink->used += n;
    return (ssize_t)n;
}

// GPGME reads into a buffer on its stack, hands it to us as a whole and does not look at it again:
// wiped here, also when the bytes are refused, the plaintext stays in no memory but the locked.
static ssize_t write_to_sink(void *handle, const void *bytes, size_t n)
{
    union {
        const void *in;
        void *out;
    } buffer = {.in = bytes};
    ssize_t taken = take_bytes(handle, bytes, n);
    int saved = errno;

    kt_wipe(buffer.out, n);
    errno = saved;
    return taken;
}

// A good signature by `signer` (NULL: by any key of the home). Our keys sign with the primary key;
// a subkey's signature is matched through its key.
static int check_signer(struct kt_gpg *gpg, const char *signer, struct kt_error *error)
{
    gpgme_verify_result_t result = gpgme_op_verify_result(gpg->ctx);

    for (gpgme_signature_t sig = result ? result->signatures : NULL; sig != NULL; sig = sig->next) {
        gpgme_key_t key = NULL;
        int same = 0;
        if (gpgme_err_code(sig->status) != GPG_ERR_NO_ERROR || sig->fpr == NULL)
            continue;
        if (signer == NULL || strcasecmp(sig->fpr, signer) == 0)
            return 0;
        if (kt_gpg_get_key(gpg, sig->fpr, 0, &key, NULL) == 0) {
            same = key->fpr != NULL && strcasecmp(key->fpr, signer) == 0;
            gpgme_key_unref(key);
        }
        if (same)
            return 0;
    }
    return kt_error_set(error, KT_ERR_SIGNATURE, NULL, "no good signature by the expected key");
}

static int explain(gpgme_error_t err, const struct sink *sink, struct kt_error *error)
{
    if (sink->code == KT_ERR_TOO_LARGE)
        return kt_error_set(error, KT_ERR_TOO_LARGE, NULL,
                            "the decrypted content is larger than %zu bytes", PLAIN_MAX);
    if (sink->code != 0)
        return sink->code;
    switch ((int)gpgme_err_code(err)) {
    case GPG_ERR_NO_SECKEY:
        return kt_error_set(error, KT_ERR_CRYPTO, "it was encrypted to another key",
                            "no secret key here opens it");
    case GPG_ERR_BAD_SIGNATURE:
    case GPG_ERR_DECRYPT_FAILED: // the integrity protection failed, too
        return kt_error_set(error, KT_ERR_SIGNATURE, NULL,
                            "the encrypted content is damaged or not authentic");
    default:
        return kt_gpg_fail(error, err, "cannot decrypt");
    }
}

// The name that was put inside the encryption; empty when there is none or it does not fit.
static void take_name(struct kt_gpg *gpg, char *name, size_t size)
{
    gpgme_decrypt_result_t result = gpgme_op_decrypt_result(gpg->ctx);

    if (size == 0)
        return;
    name[0] = '\0';
    if (result != NULL && result->file_name != NULL && strlen(result->file_name) < size)
        memcpy(name, result->file_name, strlen(result->file_name) + 1);
}

int kt_gpg_decrypt_named(struct kt_gpg *gpg, const char *signer, const void *bytes, size_t n,
                         char *name, size_t name_size, struct kt_secret **plain,
                         struct kt_error *error)
{
    static struct gpgme_data_cbs callbacks = {.write = write_to_sink};
    struct sink sink = {NULL, 0, 0};
    gpgme_data_t cipher = NULL, clear = NULL;
    gpgme_error_t err = 0;
    struct kt_gpg_guard guard;
    int rc = kt_secret_new(PLAIN_START, &sink.secret);

    if (rc != 0)
        return rc;
    kt_gpg_guard_enter(&guard);
    err = gpgme_data_new_from_mem(&cipher, bytes, n, 0);
    if (err == 0)
        err = gpgme_data_new_from_cbs(&clear, &callbacks, &sink);
    if (err == 0)
        err = gpgme_op_decrypt_verify(gpg->ctx, cipher, clear);
    if (err != 0 || sink.code != 0)
        rc = explain(err, &sink, error);
    if (rc == 0) {
        take_name(gpg, name, name_size);
        rc = check_signer(gpg, signer, error);
    }
    gpgme_data_release(cipher);
    gpgme_data_release(clear);
    kt_gpg_guard_leave(&guard);
    if (rc == 0) {
        kt_secret_truncate(sink.secret, sink.used);
        *plain = sink.secret;
        sink.secret = NULL;
    }
    kt_secret_free(sink.secret);
    return rc;
}

int kt_gpg_decrypt(struct kt_gpg *gpg, const char *signer, const void *bytes, size_t n,
                   struct kt_secret **plain, struct kt_error *error)
{
    return kt_gpg_decrypt_named(gpg, signer, bytes, n, NULL, 0, plain, error);
}
