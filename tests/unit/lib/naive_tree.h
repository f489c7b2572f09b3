// SPDX-License-Identifier: Apache-2.0
// Merkle trees and their proofs as RFC 9162 section 2.1 defines them, written down naively. Include
// behind cmocka.h.
#ifndef KT_TEST_NAIVE_TREE_H
#define KT_TEST_NAIVE_TREE_H

#include <string.h>

#include "lib/merkle.h"

#define NAIVE_MAX 300
#define NAIVE_LEN KT_SHA256_LEN

static uint8_t naive_leaves[NAIVE_MAX][NAIVE_LEN];
// Each node once: they are asked for again and again. Forget them when a leaf changes.
static struct {
    uint8_t hash[NAIVE_LEN];
    int known;
} naive_nodes[NAIVE_MAX + 1][NAIVE_MAX + 1];

static inline void naive_forget(void)
{
    memset(naive_nodes, 0, sizeof(naive_nodes));
}

static inline size_t naive_split(size_t n)
{
    size_t k = 1;

    while (2 * k < n)
        k *= 2;
    return k;
}

static inline void naive_root(size_t lo, size_t hi, uint8_t out[NAIVE_LEN])
{
    uint8_t left[NAIVE_LEN], right[NAIVE_LEN];

    if (hi - lo == 1) {
        memcpy(out, naive_leaves[lo], NAIVE_LEN);
        return;
    }
    if (!naive_nodes[lo][hi].known) {
        naive_root(lo, lo + naive_split(hi - lo), left);
        naive_root(lo + naive_split(hi - lo), hi, right);
        assert_int_equal(kt_merkle_node(left, right, naive_nodes[lo][hi].hash), 0);
        naive_nodes[lo][hi].known = 1;
    }
    memcpy(out, naive_nodes[lo][hi].hash, NAIVE_LEN);
}

// PATH(m - lo, D[lo:hi]); gives the number of hashes.
static inline size_t naive_path(size_t m, size_t lo, size_t hi, uint8_t *proof)
{
    size_t k = lo + naive_split(hi - lo), n;

    if (hi - lo == 1)
        return 0;
    n = m < k ? naive_path(m, lo, k, proof) : naive_path(m, k, hi, proof);
    naive_root(m < k ? k : lo, m < k ? hi : k, proof + n * NAIVE_LEN);
    return n + 1;
}

// SUBPROOF(m - lo, D[lo:hi], whole); PROOF(m, D[n]) is naive_subproof(m, 0, n, 1, proof).
static inline size_t naive_subproof(size_t m, size_t lo, size_t hi, int whole, uint8_t *proof)
{
    size_t k = lo + naive_split(hi - lo), n;

    if (m == hi) {
        if (!whole)
            naive_root(lo, hi, proof);
        return !whole;
    }
    n = m <= k ? naive_subproof(m, lo, k, whole, proof) : naive_subproof(m, k, hi, 0, proof);
    naive_root(m <= k ? k : lo, m <= k ? hi : k, proof + n * NAIVE_LEN);
    return n + 1;
}

#endif
