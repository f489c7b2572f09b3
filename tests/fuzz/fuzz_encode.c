// SPDX-License-Identifier: Apache-2.0
// Fuzz target: hex, base64, base32, ids, numbers, times and names as text; the first byte chooses.
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/encode.h"
#include "lib/epoch.h"
#include "lib/http_client.h"
#include "tests/fuzz/fuzz.h"

static void same_nocase(const char *a, const char *b)
{
    fuzz_must(strlen(a) == strlen(b));
    for (; *a; a++, b++)
        fuzz_must(tolower((unsigned char)*a) == tolower((unsigned char)*b));
}

static void try_bytes(unsigned which, const char *text)
{
    size_t len = strlen(text), room = len;
    uint8_t *bytes = malloc(len + 1);
    char *again = malloc(2 * len + 16);

    fuzz_must(bytes != NULL && again != NULL);
    if (which == 0 && kt_hex_decode(text, bytes, len / 2) == 0) {
        kt_hex_encode(bytes, len / 2, again);
        same_nocase(text, again);
    } else if (which == 1 && kt_base64_decode(text, len, bytes, &room) == 0) {
        kt_base64_encode(bytes, room, again);
        fuzz_same(text, len, again, strlen(again));
    } else if (which == 2 && kt_base32_decode(text, len, bytes, len * 5 / 8) == 0) {
        kt_base32_encode(bytes, len * 5 / 8, again);
        same_nocase(text, again);
    }
    free(bytes);
    free(again);
}

static void try_values(unsigned which, const char *text)
{
    char again[64];
    struct kt_uuid uuid;
    uint64_t number = 0;
    int64_t us = 0;

    if (which == 3 && kt_uuid_parse(text, &uuid) == 0) {
        kt_uuid_format(&uuid, again);
        same_nocase(text, again);
    } else if (which == 4 && kt_u64_parse(text, 3, UINT64_MAX - 1, &number) == 0) {
        fuzz_must(number >= 3 && number < UINT64_MAX);
        snprintf(again, sizeof(again), "%" PRIu64, number);
        fuzz_must(strcmp(text, again) == 0);
    } else if (which == 5 && kt_time_parse(text, &us) == 0) {
        kt_time_format(us, again);
        fuzz_must(strcmp(text, again) == 0);
    } else if (which == 6 && kt_lsn_parse(text, &number) == 0) {
        uint64_t number_again = 0;
        kt_lsn_format(number, again);
        fuzz_must(kt_lsn_parse(again, &number_again) == 0 && number_again == number);
    }
}

static void try_names(unsigned which, const char *text)
{
    char host[256], node[KT_NODE_NAME_MAX + 1];
    uint16_t port = 0;

    if (which == 7 && kt_http_server_parse(text, host, sizeof(host), &port) == 0)
        fuzz_must(host[0] != '\0' && port != 0 && strlen(host) < sizeof(host));
    if (which == 8 && kt_member_check(text) == 0) {
        fuzz_must(strlen(text) < KT_MEMBER_TEXT);
        kt_member_node(text, node);
        fuzz_must(kt_name_check(node, KT_NODE_NAME_MAX) == 0);
    }
    if (which == 9 && kt_handle_check(text) == 0)
        fuzz_must(text[0] != '\0' && strlen(text) <= KT_HANDLE_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    unsigned which = fuzz_byte(&input) % 11;
    char *text = fuzz_rest(&input);
    uint64_t lsn = 0;

    try_bytes(which, text);
    try_values(which, text);
    try_names(which, text);
    if (which == 10)
        (void)!kt_timeline_left(text, 3, &lsn);
    free(text);
    return 0;
}
