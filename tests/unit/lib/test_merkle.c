// SPDX-License-Identifier: Apache-2.0
// Merkle trees: the published vectors, and all sizes against the definition written down naively.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lib/encode.h"
#include "lib/merkle.h"
#include "tests/unit/lib/naive_tree.h"

#define SIZES NAIVE_MAX
#define LEN   KT_SHA256_LEN

// --- the vectors of the certificate-transparency project, for a tree of 8 leaves ---

static const struct {
    const char *bytes;
    size_t n;
    const char *root; // of the tree that ends with it
} VECTOR[8] = {
    {"", 0, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"},
    {"\x00", 1, "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"},
    {"\x10", 1, "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"},
    {"\x20\x21", 2, "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"},
    {"\x30\x31", 2, "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4"},
    {"\x40\x41\x42\x43", 4, "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef"},
    {"\x50\x51\x52\x53\x54\x55\x56\x57", 8,
     "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c"},
    {"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f", 16,
     "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"},
};
#define NODE_B "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
#define NODE_C "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
#define NODE_D "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"
#define NODE_E "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
#define NODE_F "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
#define NODE_G "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"

static void from_hex(const char *hex, uint8_t out[LEN])
{
    assert_int_equal(kt_hex_decode(hex, out, LEN), 0);
}

static size_t proof_from(const char *const hex[3], uint8_t proof[3 * LEN])
{
    size_t n = 0;

    for (; n < 3 && hex[n]; n++)
        from_hex(hex[n], proof + n * LEN);
    return n;
}

static void roots_are_those_of_the_vectors(void **state)
{
    struct kt_merkle tree = {0};
    uint8_t leaf[LEN], root[LEN], expected[LEN];

    (void)state;
    assert_int_equal(kt_merkle_root(&tree, root), 0);
    from_hex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", expected);
    assert_memory_equal(root, expected, LEN);
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(kt_merkle_leaf(VECTOR[i].bytes, VECTOR[i].n, leaf), 0);
        assert_int_equal(kt_merkle_append(&tree, leaf, NULL), 0);
        assert_int_equal(kt_merkle_root(&tree, root), 0);
        from_hex(VECTOR[i].root, expected);
        assert_memory_equal(root, expected, LEN);
    }
}

static void inclusion_proofs_of_the_vectors_hold(void **state)
{
    static const struct {
        uint64_t index, size;
        const char *proof[3];
    } cases[] = {
        {0, 1, {NULL}},
        {0, 8, {NODE_B, NODE_C, NODE_D}},
        {5,
         8,
         {NODE_E, NODE_F, "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"}},
        {2, 3, {"fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"}},
        {1,
         5,
         {"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d", NODE_C, NODE_E}},
    };
    uint8_t leaf[LEN], root[LEN], proof[3 * LEN];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t at = (size_t)cases[i].index, n = proof_from(cases[i].proof, proof);

        assert_int_equal(kt_merkle_leaf(VECTOR[at].bytes, VECTOR[at].n, leaf), 0);
        from_hex(VECTOR[cases[i].size - 1].root, root);
        assert_int_equal(
            kt_merkle_check_inclusion(cases[i].index, cases[i].size, leaf, root, proof, n), 0);
    }
}

static void consistency_proofs_of_the_vectors_hold(void **state)
{
    static const struct {
        uint64_t from, to;
        const char *proof[3];
    } cases[] = {
        {1, 1, {NULL}},
        {1, 8, {NODE_B, NODE_C, NODE_D}},
        {6,
         8,
         {NODE_G, NODE_F, "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"}},
        {2, 5, {NODE_C, NODE_E}},
    };
    uint8_t from[LEN], to[LEN], proof[3 * LEN];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t n = proof_from(cases[i].proof, proof);

        from_hex(VECTOR[cases[i].from - 1].root, from);
        from_hex(VECTOR[cases[i].to - 1].root, to);
        assert_int_equal(
            kt_merkle_check_consistency(cases[i].from, cases[i].to, from, to, proof, n), 0);
    }
}

// --- against the definition ---

static uint8_t roots[SIZES + 1][LEN]; // of the first n leaves

static int make_leaves(void **state)
{
    (void)state;
    for (size_t i = 0; i < SIZES; i++)
        if (kt_merkle_leaf(&i, sizeof(i), naive_leaves[i]) != 0)
            return -1;
    for (size_t n = 1; n <= SIZES; n++)
        naive_root(0, n, roots[n]);
    return 0;
}

static void growing_trees_have_the_roots_of_the_definition(void **state)
{
    struct kt_merkle tree = {0};
    struct kt_merkle_grown grown;
    uint8_t root[LEN], tile[LEN];

    (void)state;
    for (size_t n = 1; n <= SIZES; n++) {
        assert_int_equal(kt_merkle_append(&tree, naive_leaves[n - 1], &grown), 0);
        assert_int_equal(tree.size, n);
        assert_int_equal(kt_merkle_root(&tree, root), 0);
        assert_memory_equal(root, roots[n], LEN);
        assert_int_equal(grown.levels, n == 256);
        if (n == 256) {
            naive_root(0, 256, tile);
            assert_memory_equal(grown.tile[0], tile, LEN);
        }
    }
}

static void a_leaf_may_complete_tiles_of_several_levels(void **state)
{
    struct kt_merkle tree = {0}, part = {0};
    struct kt_merkle_grown grown;
    uint8_t root[LEN];

    (void)state;
    for (size_t i = 1; i <= 65536; i++) {
        assert_int_equal(kt_merkle_append(&tree, naive_leaves[i % SIZES], &grown), 0);
        assert_int_equal(grown.levels, i == 65536 ? 2 : i % 256 == 0);
        if (i > 65280)
            assert_int_equal(kt_merkle_append(&part, naive_leaves[i % SIZES], NULL), 0);
    }
    assert_int_equal(kt_merkle_root(&part, root), 0);
    assert_memory_equal(grown.tile[0], root, LEN);
    assert_int_equal(kt_merkle_root(&tree, root), 0);
    assert_memory_equal(grown.tile[1], root, LEN);
}

static void a_full_log_takes_no_more(void **state)
{
    struct kt_merkle tree = {.size = KT_MERKLE_MAX - 1};

    (void)state;
    assert_int_equal(kt_merkle_append(&tree, naive_leaves[0], NULL), KT_ERR_TOO_LARGE);
    assert_true(tree.size == KT_MERKLE_MAX - 1);
}

static void every_leaf_of_every_tree_has_its_proof_and_no_other(void **state)
{
    uint8_t proof[(KT_MERKLE_PROOF + 1) * LEN];

    (void)state;
    for (size_t size = 1; size <= SIZES; size++) {
        for (size_t i = 0; i < size; i++) {
            size_t n = naive_path(i, 0, size, proof);
            const uint8_t *root = roots[size], *leaf = naive_leaves[i];

            assert_int_equal(kt_merkle_check_inclusion(i, size, leaf, root, proof, n), 0);
            if (size % 16 != 1 && size > 40) // the wrong ones of some
                continue;
            assert_int_not_equal(
                kt_merkle_check_inclusion(i, size, naive_leaves[(i + 1) % SIZES], root, proof, n),
                0);
            assert_int_not_equal(kt_merkle_check_inclusion(i, size, leaf, root, proof, n + 1), 0);
            if (n > 0) {
                assert_int_not_equal(kt_merkle_check_inclusion(i, size, leaf, root, proof, n - 1),
                                     0);
                assert_int_not_equal(
                    kt_merkle_check_inclusion((i + 1) % size, size, leaf, root, proof, n), 0);
                proof[(i % n) * LEN] ^= 1;
                assert_int_not_equal(kt_merkle_check_inclusion(i, size, leaf, root, proof, n), 0);
            }
        }
    }
}

static void every_tree_continues_all_smaller_ones_by_its_proof_only(void **state)
{
    uint8_t proof[(KT_MERKLE_PROOF + 1) * LEN], other[LEN];

    (void)state;
    for (size_t to = 1; to <= SIZES; to++) {
        for (size_t from = 1; from <= to; from++) {
            size_t n = naive_subproof(from, 0, to, 1, proof);

            assert_int_equal(
                kt_merkle_check_consistency(from, to, roots[from], roots[to], proof, n), 0);
            if (to % 16 != 1 && to > 40)
                continue;
            memcpy(other, roots[from], LEN);
            other[5] ^= 1;
            assert_int_not_equal(kt_merkle_check_consistency(from, to, other, roots[to], proof, n),
                                 0);
            assert_int_not_equal(
                kt_merkle_check_consistency(from, to, roots[from], other, proof, n), 0);
            assert_int_not_equal(
                kt_merkle_check_consistency(from, to, roots[from], roots[to], proof, n + 1), 0);
            if (n > 0) {
                assert_int_not_equal(
                    kt_merkle_check_consistency(from, to, roots[from], roots[to], proof, n - 1), 0);
                proof[(from % n) * LEN + 3] ^= 8;
                assert_int_not_equal(
                    kt_merkle_check_consistency(from, to, roots[from], roots[to], proof, n), 0);
            }
        }
    }
}

static void numbers_that_make_no_sense_prove_nothing(void **state)
{
    uint8_t proof[2 * LEN] = {0};
    const uint8_t *root = roots[2];

    (void)state;
    assert_int_equal(kt_merkle_check_inclusion(0, 0, naive_leaves[0], root, proof, 0),
                     KT_ERR_SIGNATURE);
    assert_int_equal(kt_merkle_check_inclusion(2, 2, naive_leaves[0], root, proof, 1),
                     KT_ERR_SIGNATURE);
    assert_int_equal(
        kt_merkle_check_inclusion(UINT64_MAX - 1, UINT64_MAX, naive_leaves[0], root, proof, 2),
        KT_ERR_SIGNATURE);
    assert_int_equal(kt_merkle_check_inclusion(0, 2, naive_leaves[0], root, proof, SIZE_MAX),
                     KT_ERR_SIGNATURE);
    assert_int_equal(kt_merkle_check_consistency(0, 2, root, root, proof, 0), KT_ERR_SIGNATURE);
    assert_int_equal(kt_merkle_check_consistency(3, 2, root, root, proof, 1), KT_ERR_SIGNATURE);
    assert_int_equal(kt_merkle_check_consistency(1, UINT64_MAX, root, root, proof, 2),
                     KT_ERR_SIGNATURE);
    assert_int_equal(kt_merkle_check_consistency(2, 3, root, root, proof, SIZE_MAX),
                     KT_ERR_SIGNATURE);
    assert_int_equal(kt_merkle_check_consistency(2, 3, root, root, NULL, 0), KT_ERR_SIGNATURE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(roots_are_those_of_the_vectors),
        cmocka_unit_test(inclusion_proofs_of_the_vectors_hold),
        cmocka_unit_test(consistency_proofs_of_the_vectors_hold),
        cmocka_unit_test(growing_trees_have_the_roots_of_the_definition),
        cmocka_unit_test(a_leaf_may_complete_tiles_of_several_levels),
        cmocka_unit_test(a_full_log_takes_no_more),
        cmocka_unit_test(every_leaf_of_every_tree_has_its_proof_and_no_other),
        cmocka_unit_test(every_tree_continues_all_smaller_ones_by_its_proof_only),
        cmocka_unit_test(numbers_that_make_no_sense_prove_nothing),
    };

    return cmocka_run_group_tests(tests, make_leaves, NULL);
}
