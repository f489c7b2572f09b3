// SPDX-License-Identifier: Apache-2.0
// libFuzzer target: request heads from anybody, and the route search behind them.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "kts/routes.h"

#define MAX 8192

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// In two pieces and whole, the verdict must be the same: it must not depend on the network.
static void compare(const uint8_t *data, size_t size, int whole_rc, size_t whole_used)
{
    struct kts_http_head head;
    struct kt_error error;
    size_t scanned = 0, used = 0;
    int rc = kts_http_read_head(data, size / 2, MAX, &scanned, &head, &used, &error);

    if (rc == KT_ERR_AGAIN)
        rc = kts_http_read_head(data, size, MAX, &scanned, &head, &used, &error);
    if (rc != whole_rc || (rc == 0 && used != whole_used))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kts_http_head head;
    struct kts_match match;
    struct kt_error error;
    size_t scanned = 0, used = 0;
    char text[300];
    int rc = kts_http_read_head(data, size, MAX, &scanned, &head, &used, &error);

    compare(data, size, rc, used);
    if (rc)
        return 0;
    if (used > size || used > MAX || head.field_count > KTS_HTTP_FIELDS_MAX)
        abort();
    if (kts_route_find(head.method, head.path, &match) == 0 && !match.route)
        abort();
    if (kts_query_value(head.query, "version", text, sizeof(text)) == 0 &&
        strlen(text) >= sizeof(text))
        abort();
    if (kts_query_only(head.query, "version prefix after limit") == 0)
        (void)!kts_query_value(head.query, "prefix", text, 8);
    return 0;
}
