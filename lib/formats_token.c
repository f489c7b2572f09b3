// SPDX-License-Identifier: Apache-2.0
// Join tokens: "ktj1-<id>-<128 random bits>-<CA fingerprint>-<host>:<port>".
#include "lib/formats.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "lib/formats_text.h"

#define ID_CHARS     8
#define SECRET_CHARS 26
#define CA_CHARS     52

static int is_ipv6(const char *host)
{
    struct in6_addr address;
    return inet_pton(AF_INET6, host, &address) == 1;
}

// Labels of letters, digits and hyphens; an IPv4 address has that form too. Or an IPv6 address.
static int check_host(const char *host)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.";
    size_t n = strlen(host);
    if (strchr(host, ':') != NULL)
        return is_ipv6(host) ? 0 : KT_ERR_INVALID;
    if (n == 0 || strspn(host, letters) != n || strstr(host, "..") != NULL || host[0] == '.' ||
        host[0] == '-' || host[n - 1] == '-')
        return KT_ERR_INVALID;
    return 0;
}

int kt_join_token_format(const struct kt_join_token *token, char out[KT_TOKEN_TEXT])
{
    char secret[SECRET_CHARS + 1], ca[CA_CHARS + 1];
    uint8_t id[5];
    if (check_host(token->host) != 0 || token->port == 0 ||
        strnlen(token->id, sizeof(token->id)) != ID_CHARS ||
        kt_base32_decode(token->id, ID_CHARS, id, sizeof(id)) != 0)
        return KT_ERR_INVALID;
    kt_base32_encode(token->secret, sizeof(token->secret), secret);
    kt_base32_encode(token->ca_sha256, KT_SHA256_LEN, ca);
    int v6 = strchr(token->host, ':') != NULL;
    snprintf(out, KT_TOKEN_TEXT, "ktj1-%s-%s-%s-%s%s%s:%u", token->id, secret, ca, v6 ? "[" : "",
             token->host, v6 ? "]" : "", (unsigned)token->port);
    kt_wipe(secret, sizeof(secret));
    return 0;
}

// "host:port" or "[IPv6 address]:port".
static int parse_address(const struct kt_text *text, struct kt_join_token *token)
{
    char copy[sizeof(token->host) + 10];
    uint64_t port = 0;
    if (text->left >= sizeof(copy))
        return KT_ERR_INVALID;
    memcpy(copy, text->at, text->left);
    copy[text->left] = '\0';
    char *colon = strrchr(copy, ':');
    if (colon == NULL || kt_u64_parse(colon + 1, 1, UINT16_MAX, &port) != 0)
        return KT_ERR_INVALID;
    *colon = '\0';
    char *host = copy;
    size_t n = strlen(copy);
    if (n >= 2 && copy[0] == '[' && copy[n - 1] == ']') {
        copy[n - 1] = '\0';
        host++;
        n -= 2;
    }
    if (n >= sizeof(token->host) || check_host(host) != 0)
        return KT_ERR_INVALID;
    memcpy(token->host, host, n + 1);
    token->port = (uint16_t)port;
    return 0;
}

int kt_join_token_parse(const char *text, struct kt_join_token *token)
{
    struct kt_text rest = {text, strnlen(text, KT_TOKEN_TEXT)};
    const char *id = NULL, *secret = NULL, *ca = NULL;
    char again[KT_TOKEN_TEXT] = "";
    struct kt_join_token parsed = {0};
    int rc = kt_text_literal(&rest, "ktj1-");
    if (rc == 0)
        rc = kt_text_part(&rest, ID_CHARS, '-', &id);
    if (rc == 0)
        rc = kt_text_part(&rest, SECRET_CHARS, '-', &secret);
    if (rc == 0)
        rc = kt_text_part(&rest, CA_CHARS, '-', &ca);
    if (rc == 0)
        rc = parse_address(&rest, &parsed);
    if (rc != 0)
        return rc;
    memcpy(parsed.id, id, ID_CHARS);
    if (kt_base32_decode(secret, SECRET_CHARS, parsed.secret, sizeof(parsed.secret)) != 0 ||
        kt_base32_decode(ca, CA_CHARS, parsed.ca_sha256, sizeof(parsed.ca_sha256)) != 0 ||
        kt_join_token_format(&parsed, again) != 0 || strcmp(again, text) != 0)
        rc = KT_ERR_INVALID;
    else
        *token = parsed;
    kt_wipe(again, sizeof(again));
    kt_wipe(&parsed, sizeof(parsed));
    return rc;
}
