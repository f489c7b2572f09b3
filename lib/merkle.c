// SPDX-License-Identifier: Apache-2.0
// Hashing, growing and proofs of a Merkle tree.
#include "lib/merkle.h"

#include <stdlib.h>
#include <string.h>

#include "lib/buf.h"

#define TILE_BITS 8

int kt_merkle_leaf(const void *text, size_t n, uint8_t out[KT_SHA256_LEN])
{
    struct kt_buf all = KT_BUF_INIT(n + 1);
    int rc = kt_buf_put(&all, "\0", 1);

    if (rc == 0)
        rc = kt_buf_put(&all, text, n);
    if (rc == 0)
        rc = kt_sha256(kt_buf_ptr(&all), kt_buf_left(&all), out);
    kt_buf_free(&all);
    return rc;
}

int kt_merkle_node(const uint8_t left[KT_SHA256_LEN], const uint8_t right[KT_SHA256_LEN],
                   uint8_t out[KT_SHA256_LEN])
{
    uint8_t all[1 + 2 * KT_SHA256_LEN] = {1};

    memcpy(all + 1, left, KT_SHA256_LEN);
    memcpy(all + 1 + KT_SHA256_LEN, right, KT_SHA256_LEN);
    return kt_sha256(all, sizeof(all), out);
}

int kt_merkle_append(struct kt_merkle *tree, const uint8_t leaf[KT_SHA256_LEN],
                     struct kt_merkle_grown *grown)
{
    struct kt_merkle_grown made = {0};
    uint8_t hash[KT_SHA256_LEN];
    int height = 0;

    if (tree->size + 1 >= KT_MERKLE_MAX)
        return KT_ERR_TOO_LARGE;
    memcpy(hash, leaf, sizeof(hash));
    // Like adding one to a binary number: two subtrees of a size become one of twice the size.
    for (; tree->size >> height & 1; height++) {
        int rc = kt_merkle_node(tree->node[height], hash, hash);
        if (rc != 0)
            return rc;
        if ((height + 1) % TILE_BITS == 0)
            memcpy(made.tile[made.levels++], hash, sizeof(hash));
    }
    memcpy(tree->node[height], hash, sizeof(hash));
    tree->size++;
    if (grown)
        *grown = made;
    return 0;
}

int kt_merkle_root(const struct kt_merkle *tree, uint8_t root[KT_SHA256_LEN])
{
    uint8_t hash[KT_SHA256_LEN];
    int any = 0;

    if (tree->size == 0)
        return kt_sha256("", 0, root);
    for (int height = 0; height < KT_MERKLE_HEIGHT; height++) {
        int rc = 0;
        if ((tree->size >> height & 1) == 0)
            continue;
        if (any)
            rc = kt_merkle_node(tree->node[height], hash, hash);
        else
            memcpy(hash, tree->node[height], sizeof(hash));
        if (rc != 0)
            return rc;
        any = 1;
    }
    memcpy(root, hash, sizeof(hash));
    return 0;
}

// --- proofs; the names are those of the RFC ---

static int equal(const uint8_t *a, const uint8_t *b)
{
    return memcmp(a, b, KT_SHA256_LEN) == 0;
}

int kt_merkle_check_inclusion(uint64_t index, uint64_t size, const uint8_t leaf[KT_SHA256_LEN],
                              const uint8_t root[KT_SHA256_LEN], const uint8_t *proof, size_t count)
{
    uint64_t fn = index, sn = size - 1;
    uint8_t r[KT_SHA256_LEN];

    if (index >= size || size > KT_MERKLE_MAX || count > KT_MERKLE_PROOF)
        return KT_ERR_SIGNATURE;
    memcpy(r, leaf, sizeof(r));
    for (size_t i = 0; i < count; i++) {
        const uint8_t *p = proof + i * KT_SHA256_LEN;
        int is_right = (fn & 1) == 1 || fn == sn;
        int rc;

        if (sn == 0)
            return KT_ERR_SIGNATURE;
        rc = is_right ? kt_merkle_node(p, r, r) : kt_merkle_node(r, p, r);
        if (rc != 0)
            return rc;
        while (is_right && (fn & 1) == 0 && fn != 0) {
            fn >>= 1;
            sn >>= 1;
        }
        fn >>= 1;
        sn >>= 1;
    }
    return sn == 0 && equal(r, root) ? 0 : KT_ERR_SIGNATURE;
}

// The proof's walk, which begins with the hash `fr` and goes on with what is left of the proof.
static int walk_consistency(uint64_t fn, uint64_t sn, uint8_t fr[KT_SHA256_LEN],
                            uint8_t sr[KT_SHA256_LEN], const uint8_t *proof, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const uint8_t *c = proof + i * KT_SHA256_LEN;
        int rc = 0;

        if (sn == 0)
            return KT_ERR_SIGNATURE;
        if ((fn & 1) == 1 || fn == sn) {
            rc = kt_merkle_node(c, fr, fr);
            if (rc == 0)
                rc = kt_merkle_node(c, sr, sr);
            while ((fn & 1) == 0 && fn != 0) {
                fn >>= 1;
                sn >>= 1;
            }
        } else {
            rc = kt_merkle_node(sr, c, sr);
        }
        if (rc != 0)
            return rc;
        fn >>= 1;
        sn >>= 1;
    }
    return sn == 0 ? 0 : KT_ERR_SIGNATURE;
}

int kt_merkle_check_consistency(uint64_t from, uint64_t to, const uint8_t from_root[KT_SHA256_LEN],
                                const uint8_t to_root[KT_SHA256_LEN], const uint8_t *proof,
                                size_t count)
{
    uint8_t fr[KT_SHA256_LEN], sr[KT_SHA256_LEN];
    uint64_t fn = from - 1, sn = to - 1;
    const uint8_t *first = from_root;
    int rc;

    if (from == 0 || from > to || to > KT_MERKLE_MAX || count > KT_MERKLE_PROOF)
        return KT_ERR_SIGNATURE;
    if (from == to)
        return count == 0 && equal(from_root, to_root) ? 0 : KT_ERR_SIGNATURE;
    // A whole subtree's root is the first tree's: it is not in the proof.
    if ((from & (from - 1)) != 0) {
        if (count == 0)
            return KT_ERR_SIGNATURE;
        first = proof;
        proof += KT_SHA256_LEN;
        count--;
    }
    if (count == 0)
        return KT_ERR_SIGNATURE;
    while (fn & 1) {
        fn >>= 1;
        sn >>= 1;
    }
    memcpy(fr, first, sizeof(fr));
    memcpy(sr, first, sizeof(sr));
    rc = walk_consistency(fn, sn, fr, sr, proof, count);
    if (rc == 0 && (!equal(fr, from_root) || !equal(sr, to_root)))
        rc = KT_ERR_SIGNATURE;
    return rc;
}
