// SPDX-License-Identifier: Apache-2.0
// The Merkle tree of a log (RFC 9162 section 2.1, the hashing of RFC 6962): its growing edge, and
// the proofs that a leaf is in a tree and that a tree continues another.
#ifndef KT_MERKLE_H
#define KT_MERKLE_H

#include "lib/digest.h"

#define KT_MERKLE_HEIGHT 53                     // a log has fewer than 2^53 leaves
#define KT_MERKLE_MAX    (UINT64_C(1) << 53)    // ... so that its numbers are exact in JSON
#define KT_MERKLE_PROOF  (2 * KT_MERKLE_HEIGHT) // most hashes of a proof

// SHA-256 of a zero byte and the text.
int kt_merkle_leaf(const void *text, size_t n, uint8_t out[KT_SHA256_LEN]) KT_MUST_CHECK;
// SHA-256 of a byte 1 and both hashes. `out` may be one of them.
int kt_merkle_node(const uint8_t left[KT_SHA256_LEN], const uint8_t right[KT_SHA256_LEN],
                   uint8_t out[KT_SHA256_LEN]) KT_MUST_CHECK;

// The growing edge of a tree: the roots of the whole subtrees that its size is the sum of.
struct kt_merkle {
    uint64_t size;
    // node[j] counts where bit j of the size is set: a subtree of 2^j leaves
    uint8_t node[KT_MERKLE_HEIGHT][KT_SHA256_LEN];
};

// Tiles: roots of subtrees of 256^level leaves. What one leaf has completed: levels 1 to `levels`.
#define KT_MERKLE_TILE_LEVELS 6
struct kt_merkle_grown {
    int levels;
    uint8_t tile[KT_MERKLE_TILE_LEVELS][KT_SHA256_LEN];
};

// Appends a leaf's hash; `grown` may be NULL. KT_ERR_TOO_LARGE: the log is full. On failure the
// tree is as it was.
int kt_merkle_append(struct kt_merkle *tree, const uint8_t leaf[KT_SHA256_LEN],
                     struct kt_merkle_grown *grown) KT_MUST_CHECK;
// The root; of a tree without leaves SHA-256 of nothing.
int kt_merkle_root(const struct kt_merkle *tree, uint8_t root[KT_SHA256_LEN]) KT_MUST_CHECK;

// Proofs are hashes one behind the other. KT_ERR_SIGNATURE when they prove nothing.

// That leaf number `index` (from 0) of the tree of `size` leaves has this hash: RFC 9162 section
// 2.1.3.2.
int kt_merkle_check_inclusion(uint64_t index, uint64_t size, const uint8_t leaf[KT_SHA256_LEN],
                              const uint8_t root[KT_SHA256_LEN], const uint8_t *proof,
                              size_t count) KT_MUST_CHECK;
// That the first `from` leaves of the tree of `to` leaves are those of the tree with root
// `from_root`: RFC 9162 section 2.1.4.2; trees of equal size have equal roots and no proof. `from`
// is not 0, as anything continues nothing.
int kt_merkle_check_consistency(uint64_t from, uint64_t to, const uint8_t from_root[KT_SHA256_LEN],
                                const uint8_t to_root[KT_SHA256_LEN], const uint8_t *proof,
                                size_t count) KT_MUST_CHECK;

#endif
