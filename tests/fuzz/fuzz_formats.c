// SPDX-License-Identifier: Apache-2.0
// Fuzz target: what a parser of lib/formats.h accepts is spelt as its formatter spells it.
// The first byte chooses the format.
#include <stdlib.h>
#include <string.h>

#include "lib/formats.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void same(const char *text, size_t n, const char *again)
{
    if (strlen(again) != n || memcmp(text, again, n) != 0)
        abort();
}

static void fuzz_text(int which, const char *text, size_t n)
{
    struct kt_leaf leaf;
    struct kt_receipt receipt;
    struct kt_promise promise;
    struct kt_tree_head head;
    char again[KT_RECEIPT_TEXT];
    if (which == 0 && kt_leaf_parse(text, n, &leaf) == 0) {
        kt_leaf_format(&leaf, again);
        same(text, n, again);
    } else if (which == 1 && kt_receipt_parse(text, n, &receipt) == 0) {
        kt_receipt_format(&receipt, again);
        same(text, n, again);
    } else if (which == 2 && kt_promise_parse(text, n, &promise) == 0) {
        if (kt_promise_format(&promise, again) != 0)
            abort();
        same(text, n, again);
    } else if (which == 9 && kt_tree_head_parse(text, n, &head) == 0) {
        kt_tree_head_format(&head, again);
        same(text, n, again);
    }
}

// `line` ends with a NUL.
static void fuzz_line(int which, const char *line)
{
    struct kt_authcode code;
    struct kt_join_token token;
    struct kt_gid gid;
    struct kt_incarnation incarnation;
    char again[KT_TOKEN_TEXT];
    if (which == 3 && kt_authcode_parse(line, &code) == 0) {
        kt_authcode_format(&code, again);
    } else if (which == 4 && kt_join_token_parse(line, &token) == 0) {
        if (kt_join_token_format(&token, again) != 0)
            abort();
    } else if (which == 5 && kt_gid_parse(line, &gid) == 0) {
        kt_gid_format(&gid, again);
    } else if (which == 6 && kt_incarnation_parse(line, &incarnation) == 0) {
        kt_incarnation_format(&incarnation, again);
    } else {
        return;
    }
    same(line, strlen(line), again);
}

static void fuzz_audit(const char *line, size_t n)
{
    char again[KT_AUDIT_LINE_MAX];
    uint8_t hash[KT_SHA256_LEN], computed[KT_SHA256_LEN];
    uint64_t seq = 0;
    const char *json = NULL;
    size_t json_len = 0, len = 0;
    if (kt_audit_line_parse(line, n, &seq, hash, &json, &json_len) != 0)
        return;
    if (kt_audit_line_format(seq, hash, json, json_len, again, &len) != 0 || len != n + 1 ||
        memcmp(line, again, n) != 0 || kt_audit_hash(hash, seq, json, json_len, computed) != 0)
        abort();
}

static void fuzz_wrapped(const uint8_t *bytes, size_t n)
{
    struct kt_wrapped wrapped;
    size_t len = 0;
    if (kt_wrapped_parse(bytes, n, &wrapped) != 0)
        return;
    uint8_t *again = malloc(n);
    if (again == NULL || kt_wrapped_format(&wrapped, again, n, &len) != 0 || len != n ||
        memcmp(bytes, again, n) != 0)
        abort();
    free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    int which = data[0] % 10;
    // An allocation of just the size, so that a step too far is seen; lines end with a NUL.
    int is_line = which >= 3 && which <= 6;
    size_t n = size - 1;
    char *copy = malloc(n + 1);
    if (copy == NULL)
        return 0;
    memcpy(copy, data + 1, n);
    copy[n] = '\0';
    if (is_line) {
        fuzz_line(which, copy);
    } else if (which < 3 || which == 9) {
        fuzz_text(which, (const char *)data + 1, n);
    } else if (which == 7) {
        fuzz_audit((const char *)data + 1, n);
    } else {
        fuzz_wrapped(data + 1, n);
    }
    free(copy);
    return 0;
}
