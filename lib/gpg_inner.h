// SPDX-License-Identifier: Apache-2.0
// What lib/gpg*.c share; for nobody else.
#ifndef KT_GPG_INNER_H
#define KT_GPG_INNER_H

#include <gpgme.h>
#include <signal.h>

#include "lib/gpg.h"
#include "lib/gpg_stream.h"

struct kt_gpg {
    gpgme_ctx_t ctx;
    char *home;
    int users_fd; // shared lock on home/.users, see gpg.c; -1: somebody else's keyring
    const struct kt_secret *passphrase; // given to the agent instead of a question, or NULL
};

// To be called before anything else of GPGME.
void kt_gpg_init(void);

// GPGME writes to pipes of a gpg that may have died: SIGPIPE must not reach the calling program,
// whose signal handling is not ours. Enter and leave surround each operation.
struct kt_gpg_guard {
    sigset_t old;
    int was_pending;
};
void kt_gpg_guard_enter(struct kt_gpg_guard *guard);
void kt_gpg_guard_leave(const struct kt_gpg_guard *guard);

// Fills `error` with `what` and GPGME's words, and gives the code that fits.
int kt_gpg_fail(struct kt_error *error, gpgme_error_t err, const char *what);
// A GPGME data object that appends to `buf`; `buf` must outlive it.
int kt_gpg_data_to_buf(struct kt_buf *buf, gpgme_data_t *data);
// The key with this fingerprint (secret = 1: its secret half must be here). KT_ERR_NOT_FOUND.
int kt_gpg_get_key(struct kt_gpg *gpg, const char *fingerprint, int secret, gpgme_key_t *key,
                   struct kt_error *error) KT_MUST_CHECK;

// --- gpg as a child that a stream runs through (gpg_child.c) ---

// Counts of the status lines that matter (GnuPG's doc/DETAILS).
struct kt_gpg_status {
    unsigned end_encryption, invalid_recipient;
    unsigned decryption_info, decryption_okay, good_mdc, bad_mdc; // info: a session key was found
};
struct kt_gpg_child {
    const char *const *args; // behind the common ones; NULL-terminated
    int in_fd;               // the stream; gpg's own stdin when `look` is NULL
    // Sees the input before gpg does; n = 0 at its end. May be NULL.
    int (*look)(void *arg, const void *bytes, size_t n, struct kt_error *error);
    void *look_arg;
    kt_gpg_sink sink;
    void *sink_arg;
    // --- results ---
    struct kt_gpg_status status;
    int exit_status;     // as of wait
    char last_line[256]; // of its stderr
};
// Runs it to its end. 0 when all of its output went to the sink, whatever gpg made of it: the caller
// looks at the results. Else what `look` or `sink` returned, or an error of the system.
int kt_gpg_child_run(struct kt_gpg *gpg, struct kt_gpg_child *child,
                     struct kt_error *error) KT_MUST_CHECK;

// Applies the passphrase to GPGME's context, see kt_gpg_set_passphrase.
gpgme_error_t kt_gpg_use_passphrase(struct kt_gpg *gpg);
// Copies 40 hex digits in upper case; KT_ERR_CRYPTO for anything else (a version 5 key).
int kt_gpg_take_fingerprint(const char *from, char out[KT_OPENPGP_FINGERPRINT_TEXT],
                            struct kt_error *error) KT_MUST_CHECK;

#endif
