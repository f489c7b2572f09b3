// SPDX-License-Identifier: Apache-2.0
// Formats: the vectors of docs/formats.md, and that only their one spelling is accepted.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/evp.h>

#include "lib/file.h"
#include "lib/formats.h"
#include "lib/merkle.h"

#define BITS 0x0123456789abcdefULL

static char *page;

static int read_page(void **state)
{
    (void)state;
    return kt_file_read_text(KT_SOURCE_DIR "/docs/formats.md", 1 << 20, &page, NULL);
}

static int free_page(void **state)
{
    (void)state;
    free(page);
    return 0;
}

// The text of a vector of the page; the caller frees.
static char *vector(const char *name)
{
    char mark[80];
    snprintf(mark, sizeof(mark), "<!-- vector: %s -->\n```text\n", name);
    char *begin = strstr(page, mark);
    assert_non_null(begin);
    begin += strlen(mark);
    char *end = strstr(begin, "```\n");
    assert_non_null(end);
    char *text = strndup(begin, (size_t)(end - begin));
    assert_non_null(text);
    return text;
}

// As vector(), for those of one line: without its newline.
static char *line_vector(const char *name)
{
    char *text = vector(name);
    text[strcspn(text, "\n")] = '\0';
    return text;
}

static void fill(uint8_t *bytes, size_t n, uint8_t first)
{
    for (size_t i = 0; i < n; i++)
        bytes[i] = (uint8_t)(first + i);
}

static void test_ca(uint8_t sha256[KT_SHA256_LEN])
{
    assert_int_equal(kt_sha256("keytrustee test CA", 18, sha256), 0);
}

static struct kt_leaf sample_leaf(void)
{
    struct kt_leaf leaf = {
        .incarnation = {1, BITS}, .epoch = 3, .log_index = 42, .version = 2, .size = 20};
    assert_int_equal(kt_uuid_parse("6f9619ff-8b86-4d11-b42d-00c04fc964ff", &leaf.deposit_id), 0);
    assert_int_equal(kt_uuid_parse("1b4e28ba-2fa1-41d2-883f-0016d3cca427", &leaf.client_id), 0);
    assert_int_equal(kt_sha256("kms/prod/master-key", 19, leaf.handle_hash), 0);
    assert_int_equal(kt_sha256("keytrustee test body", 20, leaf.sha256), 0);
    assert_int_equal(kt_time_parse("2026-11-22T06:11:43.123456Z", &leaf.time_us), 0);
    return leaf;
}

static EVP_PKEY *sample_key(void)
{
    uint8_t seed[32];
    fill(seed, sizeof(seed), 0);
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, sizeof(seed));
    assert_non_null(key);
    return key;
}

static int parse_leaf(const char *text, size_t n)
{
    struct kt_leaf leaf;
    return kt_leaf_parse(text, n, &leaf);
}

static int parse_receipt(const char *text, size_t n)
{
    struct kt_receipt receipt;
    return kt_receipt_parse(text, n, &receipt);
}

static int parse_tree_head(const char *text, size_t n)
{
    struct kt_tree_head head;
    return kt_tree_head_parse(text, n, &head);
}

static int parse_promise(const char *text, size_t n)
{
    struct kt_promise promise;
    return kt_promise_parse(text, n, &promise);
}

// Every shorter text, bytes behind the end, upper case, and one line left out or said twice.
static void assert_one_spelling(int (*parse)(const char *, size_t), const char *text)
{
    size_t n = strlen(text);
    char copy[2 * KT_RECEIPT_TEXT];
    const char *last = strstr(text, "\nsignature ");
    size_t signature = last != NULL ? (size_t)(last - text) + strlen("\nsignature ") : n;
    assert_int_equal(parse(text, n), 0);
    for (size_t len = 0; len < n; len++)
        assert_int_equal(parse(text, len), KT_ERR_INVALID);
    assert_int_equal(parse(text, n + 1), KT_ERR_INVALID); // with the NUL
    snprintf(copy, sizeof(copy), "%s\n", text);
    assert_int_equal(parse(copy, n + 1), KT_ERR_INVALID);
    for (size_t i = 0; i < n; i++) {
        memcpy(copy, text, n);
        copy[i] ^= 0x20;                 // other case, or no text at all
        if (i < signature || i == n - 1) // a letter of other case is another signature in form
            assert_int_not_equal(parse(copy, n), 0);
    }
    for (const char *line = text; *line != '\0';) {
        size_t before = (size_t)(line - text), len = strcspn(line, "\n") + 1;
        memcpy(copy, text, before);
        memcpy(copy + before, line + len, n - before - len);
        assert_int_equal(parse(copy, n - len), KT_ERR_INVALID);
        memcpy(copy, text, before + len);
        memcpy(copy + before + len, line, n - before);
        assert_int_equal(parse(copy, n + len), KT_ERR_INVALID);
        line += len;
    }
}

static void incarnation_has_one_spelling(void **state)
{
    (void)state;
    static const char *const wrong[] = {"",
                                        "1",
                                        "1.",
                                        ".0123456789abcdef",
                                        "01.0123456789abcdef",
                                        "1.0123456789ABCDEF",
                                        "1.0123456789abcde",
                                        "1.0123456789abcdef0",
                                        "-1.0123456789abcdef",
                                        "4294967296.0123456789abcdef",
                                        "1.0123456789abcdeg",
                                        "1.0123456789abcdef ",
                                        "11111111111111111111.0123456789abcdef"};
    struct kt_incarnation inc = {0};
    char text[KT_INCARNATION_TEXT];
    assert_int_equal(kt_incarnation_parse("1.0123456789abcdef", &inc), 0);
    assert_int_equal(inc.number, 1);
    assert_true(inc.bits == BITS);
    kt_incarnation_format(&inc, text);
    assert_string_equal(text, "1.0123456789abcdef");
    assert_int_equal(kt_incarnation_parse("4294967295.ffffffffffffffff", &inc), 0);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_int_equal(kt_incarnation_parse(wrong[i], &inc), KT_ERR_INVALID);
}

static void incarnations_are_ordered_by_number_then_epoch(void **state)
{
    (void)state;
    struct kt_incarnation one = {1, BITS}, two = {2, 5}, other = {1, BITS + 1};
    int order = 7;
    assert_int_equal(kt_incarnation_compare(&one, 9, &two, 1, &order), 0);
    assert_true(order < 0);
    assert_int_equal(kt_incarnation_compare(&two, 1, &one, 9, &order), 0);
    assert_true(order > 0);
    assert_int_equal(kt_incarnation_compare(&one, 2, &one, 3, &order), 0);
    assert_true(order < 0);
    assert_int_equal(kt_incarnation_compare(&one, 4, &one, 3, &order), 0);
    assert_true(order > 0);
    assert_int_equal(kt_incarnation_compare(&one, 3, &one, 3, &order), 0);
    assert_int_equal(order, 0);
    assert_int_equal(kt_incarnation_compare(&one, 3, &other, 4, &order), KT_ERR_PROTOCOL);
}

static void leaf_is_as_documented(void **state)
{
    (void)state;
    struct kt_leaf leaf = sample_leaf(), parsed;
    char text[KT_LEAF_TEXT], *expected = vector("leaf");
    kt_leaf_format(&leaf, text);
    assert_string_equal(text, expected);
    assert_int_equal(kt_leaf_parse(expected, strlen(expected), &parsed), 0);
    assert_int_equal(parsed.version, 2);
    assert_true(parsed.log_index == 42 && parsed.size == 20 && parsed.time_us == leaf.time_us);
    free(expected);
}

static void leaf_has_one_spelling(void **state)
{
    (void)state;
    char *text = vector("leaf");
    assert_one_spelling(parse_leaf, text);
    free(text);
}

static void longest_leaf_and_receipt_fit(void **state)
{
    (void)state;
    struct kt_receipt receipt = {.leaf = sample_leaf(), .w = UINT32_MAX}, parsed;
    struct kt_leaf *leaf = &receipt.leaf;
    char text[KT_RECEIPT_TEXT];
    leaf->incarnation = (struct kt_incarnation){UINT32_MAX, UINT64_MAX};
    leaf->epoch = leaf->log_index = leaf->size = UINT64_MAX;
    leaf->version = UINT32_MAX;
    kt_receipt_format(&receipt, text);
    assert_int_equal(kt_receipt_parse(text, strlen(text), &parsed), 0);
    assert_true(parsed.leaf.size == UINT64_MAX && parsed.w == UINT32_MAX);
}

static void receipt_is_as_documented(void **state)
{
    (void)state;
    struct kt_receipt receipt = {.leaf = sample_leaf()}, parsed;
    char text[KT_RECEIPT_TEXT], hex[2 * KT_ED25519_PUB_LEN + 1];
    uint8_t pub[KT_ED25519_PUB_LEN];
    EVP_PKEY *key = sample_key();
    char *expected = vector("receipt"), *expected_pub = line_vector("receipt-public-key");
    assert_int_equal(kt_receipt_sign(&receipt, 1, key), 0);
    kt_receipt_format(&receipt, text);
    assert_string_equal(text, expected);
    assert_int_equal(kt_ed25519_public(key, pub), 0);
    kt_hex_encode(pub, sizeof(pub), hex);
    assert_string_equal(hex, expected_pub);
    assert_int_equal(kt_receipt_parse(expected, strlen(expected), &parsed), 0);
    assert_int_equal(kt_receipt_verify(&parsed, pub), 0);
    EVP_PKEY_free(key);
    free(expected);
    free(expected_pub);
}

static void hash_of_a_leaf_is_as_documented(void **state)
{
    (void)state;
    struct kt_leaf leaf = sample_leaf();
    char text[KT_LEAF_TEXT], hex[KT_SHA256_TEXT], *expected = line_vector("leaf-hash");
    uint8_t hash[KT_SHA256_LEN];
    kt_leaf_format(&leaf, text);
    assert_int_equal(kt_merkle_leaf(text, strlen(text), hash), 0);
    kt_hex_encode(hash, sizeof(hash), hex);
    assert_string_equal(hex, expected);
    free(expected);
}

static struct kt_tree_head sample_head(void)
{
    struct kt_tree_head head = {.incarnation = {1, BITS}, .epoch = 3, .size = 42};
    assert_int_equal(kt_sha256("", 0, head.root), 0);
    assert_int_equal(kt_time_parse("2026-11-22T06:11:43.123456Z", &head.time_us), 0);
    return head;
}

static void tree_head_is_as_documented(void **state)
{
    (void)state;
    struct kt_tree_head head = sample_head(), parsed;
    char text[KT_TREE_HEAD_TEXT], *expected = vector("tree-head");
    uint8_t pub[KT_ED25519_PUB_LEN];
    EVP_PKEY *key = sample_key();
    assert_int_equal(kt_tree_head_sign(&head, key), 0);
    kt_tree_head_format(&head, text);
    assert_string_equal(text, expected);
    assert_int_equal(kt_ed25519_public(key, pub), 0);
    assert_int_equal(kt_tree_head_parse(expected, strlen(expected), &parsed), 0);
    assert_int_equal(kt_tree_head_verify(&parsed, pub), 0);
    assert_one_spelling(parse_tree_head, text);
    head.incarnation = (struct kt_incarnation){UINT32_MAX, UINT64_MAX};
    head.epoch = head.size = UINT64_MAX;
    kt_tree_head_format(&head, text);
    assert_int_equal(kt_tree_head_parse(text, strlen(text), &parsed), 0);
    EVP_PKEY_free(key);
    free(expected);
}

static void changed_tree_head_does_not_verify(void **state)
{
    (void)state;
    struct kt_tree_head good = sample_head(), bad;
    uint8_t pub[KT_ED25519_PUB_LEN];
    EVP_PKEY *key = sample_key(), *other = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    assert_int_equal(kt_ed25519_public(key, pub), 0);
    assert_int_equal(kt_tree_head_sign(&good, key), 0);
    assert_int_equal(kt_tree_head_verify(&good, pub), 0);
    bad = good, bad.size++;
    assert_int_equal(kt_tree_head_verify(&bad, pub), KT_ERR_SIGNATURE);
    bad = good, bad.root[31] ^= 1;
    assert_int_equal(kt_tree_head_verify(&bad, pub), KT_ERR_SIGNATURE);
    bad = good, bad.epoch++;
    assert_int_equal(kt_tree_head_verify(&bad, pub), KT_ERR_SIGNATURE);
    bad = good, bad.incarnation.bits++;
    assert_int_equal(kt_tree_head_verify(&bad, pub), KT_ERR_SIGNATURE);
    bad = good, bad.time_us++;
    assert_int_equal(kt_tree_head_verify(&bad, pub), KT_ERR_SIGNATURE);
    assert_int_equal(kt_tree_head_sign(&bad, other), 0);
    assert_int_equal(kt_tree_head_verify(&bad, pub), KT_ERR_SIGNATURE);
    EVP_PKEY_free(key);
    EVP_PKEY_free(other);
}

static void receipt_has_one_spelling(void **state)
{
    (void)state;
    char *text = vector("receipt");
    assert_one_spelling(parse_receipt, text);
    free(text);
}

static void changed_receipt_does_not_verify(void **state)
{
    (void)state;
    struct kt_receipt good = {.leaf = sample_leaf()}, bad;
    uint8_t pub[KT_ED25519_PUB_LEN];
    EVP_PKEY *key = sample_key();
    assert_int_equal(kt_ed25519_public(key, pub), 0);
    assert_int_equal(kt_receipt_sign(&good, 1, key), 0);
    assert_int_equal(kt_receipt_verify(&good, pub), 0);
    bad = good, bad.w = 2;
    assert_int_equal(kt_receipt_verify(&bad, pub), KT_ERR_SIGNATURE);
    bad = good, bad.leaf.log_index++;
    assert_int_equal(kt_receipt_verify(&bad, pub), KT_ERR_SIGNATURE);
    bad = good, bad.leaf.sha256[31] ^= 1;
    assert_int_equal(kt_receipt_verify(&bad, pub), KT_ERR_SIGNATURE);
    bad = good, bad.signature[0] ^= 1;
    assert_int_equal(kt_receipt_verify(&bad, pub), KT_ERR_SIGNATURE);
    bad = good, bad.key_id[0] ^= 1;
    assert_int_equal(kt_receipt_verify(&bad, pub), KT_ERR_SIGNATURE);
    EVP_PKEY_free(key);
}

static void auth_code_is_as_documented(void **state)
{
    (void)state;
    struct kt_authcode code = {0}, parsed;
    uint8_t id[KT_AUTHCODE_ID_LEN], hash[KT_SHA256_LEN];
    char text[KT_AUTHCODE_TEXT], hex[KT_SHA256_TEXT];
    char *expected = line_vector("authcode"), *expected_hash = line_vector("authcode-hash");
    fill(id, sizeof(id), 1);
    fill(code.secret, sizeof(code.secret), 0x10);
    test_ca(code.ca_sha256);
    kt_base32_encode(id, sizeof(id), code.id);
    kt_authcode_format(&code, text);
    assert_string_equal(text, expected);
    assert_int_equal(strlen(text), KT_AUTHCODE_TEXT - 1);
    assert_int_equal(kt_authcode_parse(expected, &parsed), 0);
    assert_memory_equal(&parsed, &code, sizeof(code));
    assert_int_equal(kt_authcode_hash(&code, hash), 0);
    kt_hex_encode(hash, sizeof(hash), hex);
    assert_string_equal(hex, expected_hash);
    free(expected);
    free(expected_hash);
}

static void auth_codes_differ_and_parse(void **state)
{
    (void)state;
    struct kt_authcode one, two, parsed;
    char text[KT_AUTHCODE_TEXT];
    uint8_t ca[KT_SHA256_LEN];
    test_ca(ca);
    assert_int_equal(kt_authcode_new(ca, &one), 0);
    assert_int_equal(kt_authcode_new(ca, &two), 0);
    assert_memory_not_equal(one.secret, two.secret, sizeof(one.secret));
    assert_string_not_equal(one.id, two.id);
    kt_authcode_format(&one, text);
    assert_int_equal(kt_authcode_parse(text, &parsed), 0);
    assert_memory_equal(&parsed, &one, sizeof(one));
}

static void malformed_auth_codes_are_refused(void **state)
{
    (void)state;
    struct kt_authcode parsed;
    char *text = line_vector("authcode"), copy[KT_AUTHCODE_TEXT + 8];
    size_t n = strlen(text);
    for (size_t len = 0; len < n; len++) {
        memcpy(copy, text, len);
        copy[len] = '\0';
        assert_int_equal(kt_authcode_parse(copy, &parsed), KT_ERR_INVALID);
    }
    snprintf(copy, sizeof(copy), "%sa", text);
    assert_int_equal(kt_authcode_parse(copy, &parsed), KT_ERR_INVALID);
    snprintf(copy, sizeof(copy), "%s\n", text);
    assert_int_equal(kt_authcode_parse(copy, &parsed), KT_ERR_INVALID);
    for (size_t i = 0; i < n; i++) {
        memcpy(copy, text, n + 1);
        copy[i] = '1'; // not of the base32 alphabet
        assert_int_equal(kt_authcode_parse(copy, &parsed), KT_ERR_INVALID);
    }
    free(text);
}

static struct kt_join_token sample_token(const char *host)
{
    struct kt_join_token token = {.port = 11382};
    uint8_t id[5];
    fill(id, sizeof(id), 1);
    fill(token.secret, sizeof(token.secret), 0x40);
    test_ca(token.ca_sha256);
    kt_base32_encode(id, sizeof(id), token.id);
    snprintf(token.host, sizeof(token.host), "%s", host);
    return token;
}

static void join_token_is_as_documented(void **state)
{
    (void)state;
    static const char *const cases[][2] = {{"token", "kts-01.example.com"},
                                           {"token-ipv6", "2001:db8::1"}};
    for (size_t i = 0; i < 2; i++) {
        struct kt_join_token token = sample_token(cases[i][1]), parsed;
        char text[KT_TOKEN_TEXT], *expected = line_vector(cases[i][0]);
        assert_int_equal(kt_join_token_format(&token, text), 0);
        assert_string_equal(text, expected);
        assert_int_equal(kt_join_token_parse(expected, &parsed), 0);
        assert_string_equal(parsed.host, cases[i][1]);
        assert_int_equal(parsed.port, 11382);
        assert_memory_equal(parsed.secret, token.secret, sizeof(token.secret));
        assert_memory_equal(parsed.ca_sha256, token.ca_sha256, KT_SHA256_LEN);
        free(expected);
    }
}

static void hosts_that_are_none_are_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {"",   "a b", "a\nb", "-a",    ".a",           "a..b",
                                        "a-", "::g", "a/b",  "[::1]", "fe80::1%eth0", "a@b"};
    char text[KT_TOKEN_TEXT], name[sizeof(((struct kt_join_token *)0)->host)];
    struct kt_join_token token, parsed;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        token = sample_token(wrong[i]);
        assert_int_equal(kt_join_token_format(&token, text), KT_ERR_INVALID);
    }
    token = sample_token("a");
    token.port = 0;
    assert_int_equal(kt_join_token_format(&token, text), KT_ERR_INVALID);
    token = sample_token("a");
    token.id[0] = '1';
    assert_int_equal(kt_join_token_format(&token, text), KT_ERR_INVALID);
    memset(name, 'a', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    token = sample_token(name);
    assert_int_equal(kt_join_token_format(&token, text), 0);
    assert_int_equal(kt_join_token_parse(text, &parsed), 0);
    assert_string_equal(parsed.host, name);
}

static void malformed_join_tokens_are_refused(void **state)
{
    (void)state;
    static const char *const ends[] = {"",        ":",        "a",    "a:",    "a:0",
                                       "a:65536", "a:011382", "a:1 ", "[a]:1", "[1.2.3.4]:1",
                                       "::1:1",   "[::1:1",   ":1",   "[]:1"};
    struct kt_join_token parsed;
    char *text = line_vector("token"), copy[KT_TOKEN_TEXT * 2];
    size_t n = strlen(text), head = (size_t)(strstr(text, "kts-01") - text);
    for (size_t len = 0; len < n - 4; len++) { // fewer digits of a port are a port too
        memcpy(copy, text, len);
        copy[len] = '\0';
        assert_int_equal(kt_join_token_parse(copy, &parsed), KT_ERR_INVALID);
    }
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        snprintf(copy, sizeof(copy), "%.*s%s", (int)head, text, ends[i]);
        assert_int_equal(kt_join_token_parse(copy, &parsed), KT_ERR_INVALID);
    }
    memcpy(copy, text, head);
    memset(copy + head, 'a', sizeof(copy) - head);
    copy[sizeof(copy) - 1] = '\0';
    assert_int_equal(kt_join_token_parse(copy, &parsed), KT_ERR_INVALID);
    copy[head + 256] = ':', copy[head + 257] = '1', copy[head + 258] = '\0';
    assert_int_equal(kt_join_token_parse(copy, &parsed), KT_ERR_INVALID);
    free(text);
}

static void gid_is_as_documented(void **state)
{
    (void)state;
    static const char *const wrong[] = {"",
                                        "kt:",
                                        "kt:1.0123456789abcdef",
                                        "kt:1.0123456789abcdef:3",
                                        "kt:1.0123456789abcdef:3:",
                                        "kt:1.0123456789abcdef::1",
                                        "xx:1.0123456789abcdef:3:1042",
                                        "kt:1.0123456789abcdef:3:1042:",
                                        "kt:1.0123456789abcdef:03:1042",
                                        "kt:1.0123456789abcdef:3:1042'",
                                        "kt:1.0123456789abcdef:3:18446744073709551616"};
    struct kt_gid gid = {{1, BITS}, 3, 1042}, parsed;
    char text[KT_GID_TEXT], *expected = line_vector("gid");
    kt_gid_format(&gid, text);
    assert_string_equal(text, expected);
    assert_int_equal(kt_gid_parse(expected, &parsed), 0);
    assert_true(parsed.incarnation.number == 1 && parsed.incarnation.bits == BITS);
    assert_true(parsed.epoch == 3 && parsed.group == 1042);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_int_equal(kt_gid_parse(wrong[i], &parsed), KT_ERR_INVALID);
    gid = (struct kt_gid){{UINT32_MAX, UINT64_MAX}, UINT64_MAX, UINT64_MAX};
    kt_gid_format(&gid, text);
    assert_int_equal(kt_gid_parse(text, &parsed), 0);
    assert_true(parsed.group == UINT64_MAX);
    free(expected);
}

static struct kt_promise sample_promise(void)
{
    return (struct kt_promise){.member = "kts-01.9f3a2b1c",
                               .incarnation = {1, BITS},
                               .epoch = 3,
                               .active = "kts-02",
                               .floor_lsn = 0x20a00bc18ULL};
}

static void assert_same_promise(const struct kt_promise *a, const struct kt_promise *b)
{
    int order = 1;
    assert_string_equal(a->member, b->member);
    assert_int_equal(
        kt_incarnation_compare(&a->incarnation, a->epoch, &b->incarnation, b->epoch, &order), 0);
    assert_int_equal(order, 0);
    assert_string_equal(a->active, b->active);
    assert_true(a->floor_lsn == b->floor_lsn && a->active_since == b->active_since);
    assert_string_equal(a->retired_by, b->retired_by);
}

static void promise_is_as_documented(void **state)
{
    (void)state;
    struct kt_promise promise = sample_promise(), parsed;
    char text[KT_PROMISE_TEXT], *expected = vector("promise"), *retired = vector("promise-retired");
    assert_int_equal(kt_promise_format(&promise, text), 0);
    assert_string_equal(text, expected);
    assert_int_equal(kt_promise_parse(expected, strlen(expected), &parsed), 0);
    assert_same_promise(&parsed, &promise);
    promise.floor_lsn = 0;
    snprintf(promise.retired_by, sizeof(promise.retired_by), "4 kts-02");
    assert_int_equal(kt_promise_format(&promise, text), 0);
    assert_string_equal(text, retired);
    assert_int_equal(kt_promise_parse(retired, strlen(retired), &parsed), 0);
    assert_string_equal(parsed.retired_by, "4 kts-02");
    free(expected);
    free(retired);
}

static void promise_has_one_spelling(void **state)
{
    (void)state;
    char *text = vector("promise"), *retired = vector("promise-retired");
    assert_one_spelling(parse_promise, text);
    assert_one_spelling(parse_promise, retired);
    char *epoch = strstr(text, "epoch 3");
    epoch[6] = '4'; // well-formed, but not what was hashed
    assert_int_equal(parse_promise(text, strlen(text)), KT_ERR_INVALID);
    free(text);
    free(retired);
}

static void promise_with_wrong_names_is_refused(void **state)
{
    (void)state;
    static const char *const members[] = {"",
                                          "kts-01",
                                          "kts-01.",
                                          "kts-01.9f3a2b1",
                                          ".9f3a2b1c",
                                          "kts-01.9f3a2b1c0",
                                          "kts-01.9F3A2B1C",
                                          "Kts.9f3a2b1c",
                                          "kts\n.9f3a2b1c",
                                          "abcdefghijklmnopq.9f3a2b1c"};
    static const char *const retired[] = {"4",         "4 ",         " kts-02",  "x kts-02",
                                          "4  kts-02", "4 kts-02\n", "04 kts-02"};
    char text[KT_PROMISE_TEXT];
    struct kt_promise promise;
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        promise = sample_promise();
        snprintf(promise.member, sizeof(promise.member), "%s", members[i]);
        assert_int_equal(kt_promise_format(&promise, text), KT_ERR_INVALID);
    }
    for (size_t i = 0; i < sizeof(retired) / sizeof(retired[0]); i++) {
        promise = sample_promise();
        snprintf(promise.retired_by, sizeof(promise.retired_by), "%s", retired[i]);
        assert_int_equal(kt_promise_format(&promise, text), KT_ERR_INVALID);
    }
    promise = sample_promise();
    promise.active[0] = '\0';
    assert_int_equal(kt_promise_format(&promise, text), KT_ERR_INVALID);
}

static void promise_file_is_saved_and_loaded(void **state)
{
    (void)state;
    char dir[] = "/tmp/kt-formats-XXXXXX", path[64];
    struct kt_promise promise = sample_promise(), loaded;
    struct kt_error error = {0};
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/promise", dir);
    assert_int_equal(kt_promise_load(path, &loaded, &error), KT_ERR_NOT_FOUND);
    assert_int_equal(kt_promise_save(path, &promise, &error), 0);
    assert_int_equal(kt_promise_load(path, &loaded, &error), 0);
    assert_same_promise(&loaded, &promise);
    promise.epoch = 4;
    assert_int_equal(kt_promise_save(path, &promise, &error), 0);
    assert_int_equal(kt_promise_load(path, &loaded, &error), 0);
    assert_true(loaded.epoch == 4);
    assert_int_equal(truncate(path, 100), 0);
    assert_int_equal(kt_promise_load(path, &loaded, &error), KT_ERR_INVALID);
    assert_non_null(strstr(error.message, path));
    promise.member[0] = '\0';
    assert_int_equal(kt_promise_save(path, &promise, &error), KT_ERR_INVALID);
    unlink(path);
    rmdir(dir);
}

static void audit_records_are_as_documented(void **state)
{
    (void)state;
    uint8_t previous[KT_SHA256_LEN] = {0}, hash[KT_SHA256_LEN], computed[KT_SHA256_LEN];
    char *text = vector("audit"), *line = text, out[KT_AUDIT_LINE_MAX];
    uint64_t seq = 0, expected = 1;
    const char *json = NULL;
    size_t n = 0, len = 0;
    for (; *line != '\0'; expected++) {
        size_t line_len = strcspn(line, "\n");
        assert_int_equal(kt_audit_line_parse(line, line_len, &seq, hash, &json, &n), 0);
        assert_true(seq == expected);
        assert_int_equal(kt_audit_hash(previous, seq, json, n, computed), 0);
        assert_memory_equal(computed, hash, sizeof(hash));
        assert_int_equal(kt_audit_line_format(seq, hash, json, n, out, &len), 0);
        assert_int_equal(len, line_len + 1);
        assert_memory_equal(out, line, len);
        memcpy(previous, hash, sizeof(hash));
        line += line_len + 1;
    }
    assert_true(expected == 4);
    free(text);
}

static void audit_hash_covers_chain_number_and_text(void **state)
{
    (void)state;
    uint8_t zero[KT_SHA256_LEN] = {0}, other[KT_SHA256_LEN] = {1};
    uint8_t base[KT_SHA256_LEN], changed[KT_SHA256_LEN];
    assert_int_equal(kt_audit_hash(zero, 1, "{}", 2, base), 0);
    assert_int_equal(kt_audit_hash(other, 1, "{}", 2, changed), 0);
    assert_memory_not_equal(base, changed, sizeof(base));
    assert_int_equal(kt_audit_hash(zero, 2, "{}", 2, changed), 0);
    assert_memory_not_equal(base, changed, sizeof(base));
    assert_int_equal(kt_audit_hash(zero, 1, "{ }", 3, changed), 0);
    assert_memory_not_equal(base, changed, sizeof(base));
}

static void malformed_audit_lines_are_refused(void **state)
{
    (void)state;
    char *text = line_vector("audit"), copy[1024], out[KT_AUDIT_LINE_MAX];
    static char big[KT_AUDIT_JSON_MAX + 2];
    uint8_t hash[KT_SHA256_LEN] = {0};
    uint64_t seq = 0;
    const char *json = NULL;
    size_t n = strlen(text), json_len = 0, len = 0;
    for (size_t i = 0; i < n; i++)
        assert_int_equal(kt_audit_line_parse(text, i, &seq, hash, &json, &json_len),
                         KT_ERR_INVALID);
    for (size_t i = 0; i < 72; i++) { // magic, number, hash
        memcpy(copy, text, n);
        copy[i] = (char)(copy[i] == 'G' ? 'H' : 'G');
        assert_int_equal(kt_audit_line_parse(copy, n, &seq, hash, &json, &json_len),
                         KT_ERR_INVALID);
    }
    assert_int_equal(kt_audit_line_format(1, hash, "{\n}", 3, out, &len), KT_ERR_INVALID);
    assert_int_equal(kt_audit_line_format(1, hash, "[]", 2, out, &len), KT_ERR_INVALID);
    assert_int_equal(kt_audit_hash(hash, 1, "", 0, hash), KT_ERR_INVALID);
    memset(big, ' ', sizeof(big));
    big[0] = '{';
    big[KT_AUDIT_JSON_MAX - 1] = '}';
    assert_int_equal(kt_audit_line_format(UINT64_MAX, hash, "{}", 2, out, &len), 0);
    assert_int_equal(kt_audit_line_parse(out, len - 1, &seq, hash, &json, &json_len),
                     KT_ERR_INVALID); // nothing could follow it
    assert_int_equal(
        kt_audit_line_format(KT_AUDIT_SEQ_MAX, hash, big, KT_AUDIT_JSON_MAX, out, &len), 0);
    assert_int_equal(kt_audit_line_parse(out, len - 1, &seq, hash, &json, &json_len), 0);
    assert_int_equal(json_len, KT_AUDIT_JSON_MAX);
    big[KT_AUDIT_JSON_MAX] = '}';
    assert_int_equal(kt_audit_line_format(1, hash, big, KT_AUDIT_JSON_MAX + 1, out, &len),
                     KT_ERR_TOO_LARGE);
    free(text);
}

// The vector's hex, its lines joined.
static size_t wrapped_vector(uint8_t *out, size_t size)
{
    char *text = vector("wrapped"), *to = text;
    for (char *from = text; *from != '\0'; from++)
        if (*from != '\n')
            *to++ = *from;
    *to = '\0';
    size_t n = strlen(text) / 2;
    assert_true(n <= size);
    assert_int_equal(kt_hex_decode(text, out, n), 0);
    free(text);
    return n;
}

static void wrapped_key_is_as_documented(void **state)
{
    (void)state;
    uint8_t bytes[256], again[256], kek[32], plain[64];
    char id[KT_UUID_TEXT];
    struct kt_wrapped wrapped;
    size_t n = wrapped_vector(bytes, sizeof(bytes)), len = 0;
    int part = 0, total = 0;
    assert_int_equal(kt_wrapped_parse(bytes, n, &wrapped), 0);
    kt_uuid_format(&wrapped.kek_id, id);
    assert_string_equal(id, "6f9619ff-8b86-4d11-b42d-00c04fc964ff");
    assert_int_equal(wrapped.kek_version, 2);
    assert_int_equal(wrapped.algorithm, 1);
    assert_int_equal(kt_wrapped_format(&wrapped, again, sizeof(again), &len), 0);
    assert_int_equal(len, n);
    assert_memory_equal(again, bytes, n);
    // It is what OpenSSL's key wrap makes of it, under the key 00 01 … 1f.
    fill(kek, sizeof(kek), 0);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    EVP_CIPHER_CTX_set_flags(ctx, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    assert_int_equal(EVP_DecryptInit_ex(ctx, EVP_aes_256_wrap(), NULL, kek, NULL), 1);
    assert_int_equal(EVP_DecryptUpdate(ctx, plain, &part, wrapped.bytes, (int)wrapped.len), 1);
    total = part;
    EVP_CIPHER_CTX_free(ctx);
    assert_int_equal(total, 32);
    assert_int_equal(plain[1], 0x11);
}

static void malformed_wrapped_keys_are_refused(void **state)
{
    (void)state;
    uint8_t bytes[256], copy[257] = {0}, out[256];
    struct kt_wrapped wrapped, changed;
    size_t n = wrapped_vector(bytes, sizeof(bytes)), len = 0;
    for (size_t i = 0; i < n; i++)
        assert_int_equal(kt_wrapped_parse(bytes, i, &wrapped),
                         i < 4 ? KT_ERR_INVALID : KT_ERR_TRUNCATED);
    memcpy(copy, bytes, n);
    assert_int_equal(kt_wrapped_parse(copy, n + 1, &wrapped), KT_ERR_INVALID);
    copy[24] = 3;
    assert_int_equal(kt_wrapped_parse(copy, n, &wrapped), KT_ERR_INVALID);
    copy[24] = 1, copy[23] = 0;
    assert_int_equal(kt_wrapped_parse(copy, n, &wrapped), KT_ERR_INVALID);
    copy[23] = 2, copy[28] = 16;
    assert_int_equal(kt_wrapped_parse(copy, n - 24, &wrapped), KT_ERR_INVALID);
    copy[28] = 39;
    assert_int_equal(kt_wrapped_parse(copy, n - 1, &wrapped), KT_ERR_INVALID);
    copy[25] = 0xff;
    assert_int_equal(kt_wrapped_parse(copy, n, &wrapped), KT_ERR_TOO_LARGE);
    assert_int_equal(kt_wrapped_parse(bytes, n, &wrapped), 0);
    assert_int_equal(kt_wrapped_format(&wrapped, out, n - 1, &len), KT_ERR_TOO_LARGE);
    changed = wrapped, changed.len = 65544;
    assert_int_equal(kt_wrapped_format(&changed, out, sizeof(out), &len), KT_ERR_TOO_LARGE);
    changed = wrapped, changed.algorithm = 0;
    assert_int_equal(kt_wrapped_format(&changed, out, sizeof(out), &len), KT_ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(incarnation_has_one_spelling),
        cmocka_unit_test(incarnations_are_ordered_by_number_then_epoch),
        cmocka_unit_test(leaf_is_as_documented),
        cmocka_unit_test(leaf_has_one_spelling),
        cmocka_unit_test(longest_leaf_and_receipt_fit),
        cmocka_unit_test(receipt_is_as_documented),
        cmocka_unit_test(receipt_has_one_spelling),
        cmocka_unit_test(hash_of_a_leaf_is_as_documented),
        cmocka_unit_test(tree_head_is_as_documented),
        cmocka_unit_test(changed_tree_head_does_not_verify),
        cmocka_unit_test(changed_receipt_does_not_verify),
        cmocka_unit_test(auth_code_is_as_documented),
        cmocka_unit_test(auth_codes_differ_and_parse),
        cmocka_unit_test(malformed_auth_codes_are_refused),
        cmocka_unit_test(join_token_is_as_documented),
        cmocka_unit_test(hosts_that_are_none_are_refused),
        cmocka_unit_test(malformed_join_tokens_are_refused),
        cmocka_unit_test(gid_is_as_documented),
        cmocka_unit_test(promise_is_as_documented),
        cmocka_unit_test(promise_has_one_spelling),
        cmocka_unit_test(promise_with_wrong_names_is_refused),
        cmocka_unit_test(promise_file_is_saved_and_loaded),
        cmocka_unit_test(audit_records_are_as_documented),
        cmocka_unit_test(audit_hash_covers_chain_number_and_text),
        cmocka_unit_test(malformed_audit_lines_are_refused),
        cmocka_unit_test(wrapped_key_is_as_documented),
        cmocka_unit_test(malformed_wrapped_keys_are_refused),
    };
    return cmocka_run_group_tests(tests, read_page, free_page);
}
