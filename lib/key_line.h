// SPDX-License-Identifier: Apache-2.0
// The line of a cluster's OpenPGP keys, as the newest of them vouches for it: each statement has the
// hash of the one before, and the last one the signature of the key that it names. So the file beside
// the keys, confdir/cluster-keys.json, needs no other proof, and a key that only lies in a keyring under
// the cluster's name is none of the line.
#ifndef KT_KEY_LINE_H
#define KT_KEY_LINE_H

#include "lib/cluster_key.h"

#define KT_KEY_LINE_MAX  ((size_t)4 << 20) // bytes of the file
#define KT_KEY_LINE_FILE "cluster-keys.json"

struct kt_key_line {
    size_t count; // of statements, the oldest first; the last one names the key that is trusted
    struct kt_key_link {
        struct kt_key_statement statement;
        char *text;
    } links[KT_CLUSTER_KEYS_MAX];
};
void kt_key_line_free(struct kt_key_line *line);

// The line that ends with `key`, out of {"version": 1, "statements": [text]} in any order; what else is
// in it is left out. Empty when no statement names `key`: then it is the first. KT_ERR_SIGNATURE: one
// before it is missing, or the last one is not signed; KT_ERR_INVALID: not of that form.
int kt_key_line_parse(const char *text, size_t n, const struct kt_uuid *cluster_id, const char *key,
                      struct kt_key_line *line, struct kt_error *error) KT_MUST_CHECK;
// The same of the file; empty when there is none.
int kt_key_line_load(const struct kt_paths *paths, const struct kt_uuid *cluster_id,
                     const char *key, struct kt_key_line *line,
                     struct kt_error *error) KT_MUST_CHECK;
// Writes the file, unless it says that already. Not looked into: who reads it proves it.
int kt_key_line_save(const struct kt_paths *paths, const char *text,
                     struct kt_error *error) KT_MUST_CHECK;
// 1 for a key that counted before the one that is trusted.
int kt_key_line_has(const struct kt_key_line *line, const char *fingerprint);
// For who trusts the older `key` only: that it leads to the last one, each signature checked.
// KT_ERR_NOT_FOUND: it is none of the line; KT_ERR_SIGNATURE.
int kt_key_line_follow(const struct kt_key_line *line, const char *key,
                       struct kt_error *error) KT_MUST_CHECK;

#endif
