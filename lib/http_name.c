// SPDX-License-Identifier: Apache-2.0
// Names in HTTP requests: servers as people write them, and path segments as URLs want them.
#include <stdlib.h>
#include <string.h>

#include "lib/encode.h"
#include "lib/http_client.h"

#define DEFAULT_PORT 11371

int kt_http_server_parse(const char *server, char *host, size_t size, uint16_t *port)
{
    const char *end = NULL, *rest = NULL;
    uint64_t number = DEFAULT_PORT;

    if (server[0] == '[') {
        server++;
        end = strchr(server, ']');
        if (end == NULL || strchr(server, ':') == NULL)
            return KT_ERR_INVALID;
        rest = end + 1;
    } else {
        end = strchr(server, ':');
        if (end != NULL && strchr(end + 1, ':') != NULL) // a bare IPv6 address
            end = NULL;
        if (end == NULL)
            end = server + strlen(server);
        rest = end;
    }
    size_t n = (size_t)(end - server);
    if (n == 0 || n >= size)
        return KT_ERR_INVALID;
    if (rest[0] == ':' ? kt_u64_parse(rest + 1, 1, 65535, &number) != 0 : rest[0] != '\0')
        return KT_ERR_INVALID;
    if (strspn(server, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_:%") < n)
        return KT_ERR_INVALID;
    memcpy(host, server, n);
    host[n] = '\0';
    *port = (uint16_t)number;
    return 0;
}

int kt_http_server_check(const char *server)
{
    char host[256];
    uint16_t port;

    return kt_http_server_parse(server, host, sizeof host, &port);
}

char *kt_http_escape(const char *segment)
{
    static const char hex[] = "0123456789ABCDEF";
    char *out = malloc(3 * strlen(segment) + 1);
    char *to = out;

    if (out == NULL)
        return NULL;
    for (const unsigned char *from = (const unsigned char *)segment; *from != 0; from++) {
        // RFC 3986 section 2.3: unreserved
        if ((*from >= 'a' && *from <= 'z') || (*from >= 'A' && *from <= 'Z') ||
            (*from >= '0' && *from <= '9') || strchr("-._~", *from) != NULL) {
            *to++ = (char)*from;
        } else {
            *to++ = '%';
            *to++ = hex[*from >> 4];
            *to++ = hex[*from & 15];
        }
    }
    *to = '\0';
    return out;
}
