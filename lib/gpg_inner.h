// SPDX-License-Identifier: Apache-2.0
// What gpg.c and gpg_key.c share; for nobody else.
#ifndef KT_GPG_INNER_H
#define KT_GPG_INNER_H

#include <gpgme.h>
#include <signal.h>

#include "lib/gpg.h"

struct kt_gpg {
    gpgme_ctx_t ctx;
    char *home;
    int users_fd; // shared lock on home/.users, see gpg.c
};

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

#endif
