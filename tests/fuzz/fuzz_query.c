// SPDX-License-Identifier: Apache-2.0
// Fuzz target: paths and query strings. The first line is a path, the second a query.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kts/routes.h"
#include "lib/http_client.h"
#include "tests/fuzz/fuzz.h"

// What the client would send for a decoded value is decoded to it again.
static void check_decoded(const char *value, size_t n)
{
    char *escaped = kt_http_escape(value), again[600];

    fuzz_must(escaped != NULL && n < sizeof(again));
    struct kts_span span = {escaped, strlen(escaped)};
    fuzz_must(kts_percent_decode(span, again, sizeof(again)) == 0);
    fuzz_same(value, n, again, strlen(again));
    free(escaped);
}

static void check_query(struct kts_span query)
{
    static const char NAMES[] = "version prefix after limit";
    static const char *const EACH[] = {"version", "prefix", "after", "limit"};
    char value[300];
    int is_listed = kts_query_only(query, NAMES) == 0, found = 0;

    for (size_t i = 0; i < sizeof(EACH) / sizeof(EACH[0]); i++) {
        int rc = kts_query_value(query, EACH[i], value, sizeof(value));
        if (rc == 0)
            fuzz_must(strlen(value) < sizeof(value));
        found += rc != KT_ERR_NOT_FOUND;
    }
    if (is_listed) // then there is nothing that none of the names finds
        fuzz_must((found > 0) == (query.len > 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum kts_method METHODS[] = {KTS_GET,  KTS_HEAD,   KTS_PUT,
                                              KTS_POST, KTS_DELETE, KTS_METHOD_OTHER};
    struct fuzz_input input = {data, size};
    char *path = fuzz_line(&input), *query = fuzz_rest(&input);
    struct kts_span path_span = {path, strlen(path)}, query_span = {query, strlen(query)};
    struct kts_match match;
    char decoded[600];

    for (size_t i = 0; i < sizeof(METHODS) / sizeof(METHODS[0]); i++) {
        int rc = kts_route_find(METHODS[i], path_span, &match);
        if (rc == 0)
            fuzz_must(match.route != NULL && (match.route->method & METHODS[i]) != 0);
        if (rc == 0 && strstr(match.route->pattern, "{handle}") != NULL)
            fuzz_must(kt_handle_check(match.handle) == 0);
        if (rc == KT_ERR_METHOD_NOT_ALLOWED)
            fuzz_must(match.allow != 0 && (match.allow & METHODS[i]) == 0);
    }
    if (kts_percent_decode(path_span, decoded, 300) == 0 && decoded[0] != '\0')
        check_decoded(decoded, strlen(decoded));
    check_query(query_span);
    free(path);
    free(query);
    return 0;
}
