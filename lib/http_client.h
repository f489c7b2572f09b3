// SPDX-License-Identifier: Apache-2.0
// HTTPS requests through libcurl: TLS 1.2 or later, pinned CA, client certificate, bounded answers.
#ifndef KT_HTTP_CLIENT_H
#define KT_HTTP_CLIENT_H

#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/digest.h"
#include "lib/err.h"

struct kt_http_client;

struct kt_http_tls {
    const char *ca_file;      // PEM, or NULL with a pin
    const uint8_t *ca_sha256; // pin for the first contact (KT_SHA256_LEN bytes), or NULL
    const char *cert_file;    // client certificate and key, or NULL
    const char *key_file;
    const char *name; // to be in the server's certificate; NULL: KT_PKI_SERVICE_NAME
    // SHA-256 of the certificates of which the server's own must be one, in addition to all else that
    // is asked of it; NULL: any. Up to KT_TLS_PEERS_MAX, copied.
    const uint8_t (*peer_sha256)[KT_SHA256_LEN];
    size_t peer_count;
};

struct kt_http_request {
    const char *method;
    const char *path;           // with query, already percent-encoded
    const char *const *headers; // "Name: value", NULL-terminated, or NULL
    const void *body;
    size_t body_len;
    int has_body;   // 1: send Content-Length even when empty
    int timeout_ms; // whole request
    int connect_timeout_ms;
    size_t max_answer; // bytes of body
    // New connections end when the other host has acknowledged nothing for so long: a
    // machine that died behind an open connection costs no more than one that cannot
    // be connected to. 0: the system's.
    int dead_after_ms;
    // Gives up when no byte has moved for so long, to within a
    // second: a process that hangs. 0: never.
    int silence_ms;
};

#define KT_HTTP_ANSWER_HEADERS 24

struct kt_http_answer {
    int status;
    struct kt_buf body;
    char *header_names[KT_HTTP_ANSWER_HEADERS];
    char *header_values[KT_HTTP_ANSWER_HEADERS];
    size_t header_count;
};

// `server` is "host", "host:port", "[v6]:port"; default port 11371. The name checked in the
// certificate is that of `tls`, whatever the host. Keeps the connection between requests.
// Not to be shared by threads.
int kt_http_client_new(const char *server, const struct kt_http_tls *tls,
                       struct kt_http_client **client, struct kt_error *error) KT_MUST_CHECK;
void kt_http_client_free(struct kt_http_client *client);
// 0 when an answer of any status arrived whole. KT_ERR_NETWORK (no connection, broken),
// KT_ERR_TIMEOUT, KT_ERR_TOO_LARGE, KT_ERR_CRYPTO (certificate of the server refused).
int kt_http_client_run(struct kt_http_client *client, const struct kt_http_request *request,
                       struct kt_http_answer *answer, struct kt_error *error) KT_MUST_CHECK;
// 1 when bytes of the last request left this host: the server may have acted on it whatever `run`
// returned.
int kt_http_client_sent(const struct kt_http_client *client);
// "host:port", as messages name it.
const char *kt_http_client_server(const struct kt_http_client *client);
// "address:port" of the last connection, numeric; "" before there was one.
const char *kt_http_client_address(const struct kt_http_client *client);
// Splits a server into host (IPv6 without brackets) and port. KT_ERR_INVALID.
int kt_http_server_parse(const char *server, char *host, size_t size, uint16_t *port) KT_MUST_CHECK;
// 0 when `server` has a form kt_http_client_new takes, else KT_ERR_INVALID.
int kt_http_server_check(const char *server) KT_MUST_CHECK;
// Header names are compared without case; NULL when absent. Kept are ETag, Content-Type,
// Content-Length, Retry-After and KT-*.
const char *kt_http_answer_header(const struct kt_http_answer *answer, const char *name);
void kt_http_answer_free(struct kt_http_answer *answer);
// Percent-encodes one path segment; the caller frees. NULL = no memory.
char *kt_http_escape(const char *segment);

#endif
