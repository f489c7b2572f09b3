// SPDX-License-Identifier: Apache-2.0
// The forms of ciphertext that a deposit may have: content type and checker.
#ifndef KTS_CIPHERTEXT_H
#define KTS_CIPHERTEXT_H

#include <stddef.h>
#include <stdint.h>

#include "lib/change.h"
#include "lib/err.h"

// What the checkers may compare with.
struct kts_own_keys {
    const uint64_t *key_ids; // of the cluster's own OpenPGP key: nothing may be encrypted to it
    size_t count;
};

// The keys that a body is encrypted to, by its packets.
struct kts_recipients {
    size_t count;
    uint64_t key_ids[KT_RECIPIENTS_MAX];
};

// The content type as the table spells it, or NULL when no row has it (parameters are not allowed).
const char *kts_ciphertext_type(const char *content_type);
// Checks the form only: the server can never read a deposit. KT_ERR_CONTENT_TYPE,
// KT_ERR_NOT_CIPHERTEXT (also of more than KT_RECIPIENTS_MAX recipients),
// KT_ERR_ENCRYPTED_TO_CLUSTER.
int kts_ciphertext_check(const char *content_type, const void *body, size_t n,
                         const struct kts_own_keys *own, struct kts_recipients *recipients,
                         struct kt_error *error) KT_MUST_CHECK;

#endif
