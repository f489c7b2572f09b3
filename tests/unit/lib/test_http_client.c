// SPDX-License-Identifier: Apache-2.0
// HTTPS requests against a small TLS server in a forked child.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <limits.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/http_client.h"
#include "lib/pki.h"
#include "lib/tls.h"

#include "lib/encode.h"

#define BIG 100000

// --- the server ---

struct server {
    pid_t pid;
    char address[32];
};

// Our server contexts allow partial writes.
static void send_all(SSL *ssl, const char *bytes, size_t n)
{
    for (int sent = 1; n > 0 && sent > 0; bytes += sent, n -= (size_t)(sent > 0 ? sent : 0))
        sent = SSL_write(ssl, bytes, (int)n);
}

static void reply(SSL *ssl, const char *head, const char *body, size_t n)
{
    char text[512];

    snprintf(text, sizeof text,
             "HTTP/1.1 %s\r\nContent-Length: %zu\r\nETag: \"abc\"\r\nkt-epoch:  7 \r\n"
             "X-Other: dropped\r\n\r\n",
             head, n);
    send_all(ssl, text, strlen(text));
    send_all(ssl, body, n);
}

static int starts(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

// Answers one request; 0 = close.
static int answer(SSL *ssl, const char *request, const char *body, size_t n)
{
    static char big[BIG];

    if (starts(request, "GET /big "))
        reply(ssl, "200 OK", big, BIG);
    else if (starts(request, "GET /moved "))
        reply(ssl, "302 Found\r\nLocation: https://keytrustee/hello", "", 0);
    else if (starts(request, "GET /continue "))
        SSL_write(ssl, "HTTP/1.1 100 Continue\r\nETag: \"no\"\r\n\r\n", 38),
            reply(ssl, "200 OK", "", 0);
    else if (starts(request, "GET /cut ") || starts(request, "GET /gone "))
        return request[5] == 'c'
               ? SSL_write(ssl, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", 38),
               0 : 0;
    else if (starts(request, "GET /many "))
        reply(ssl,
              "200 OK\r\nKT-1: 1\r\nKT-2: 1\r\nKT-3: 1\r\nKT-4: 1\r\nKT-5: 1\r\nKT-6: 1\r\nKT-7: "
              "1\r\n"
              "KT-8: 1\r\nKT-9: 1\r\nKT-10: 1\r\nKT-11: 1\r\nKT-12: 1\r\nKT-13: 1\r\nKT-14: 1\r\n"
              "KT-15: 1\r\nKT-16: 1\r\nKT-17: 1\r\nKT-18: 1\r\nKT-19: 1\r\nKT-20: 1\r\nKT-21: 1\r\n"
              "KT-22: 1\r\nKT-23: 1",
              "", 0);
    else if (starts(request, "GET /hang "))
        return SSL_read(ssl, big, 1), 0; // until the peer goes
    else if (starts(request, "HEAD "))
        SSL_write(ssl, "HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n", 39);
    else if (starts(request, "PUT ") || starts(request, "POST "))
        reply(ssl, "201 Created", body, n);
    else // the request itself, so that its head can be looked at
        reply(ssl, "404 Not Found", request, strlen(request));
    return 1;
}

static void serve(SSL_CTX *ctx, int fd)
{
    static char request[65536];
    SSL *ssl = SSL_new(ctx);

    SSL_set_fd(ssl, fd);
    for (int more = SSL_accept(ssl) == 1; more;) {
        size_t used = 0, length = 0;
        char *end = NULL;
        while (end == NULL) {
            int n = SSL_read(ssl, request + used, (int)(sizeof request - 1 - used));
            if (n <= 0)
                _exit(0);
            used += (size_t)n;
            request[used] = '\0';
            end = strstr(request, "\r\n\r\n");
        }
        const char *header = strstr(request, "Content-Length: ");
        if (header != NULL)
            length = strtoul(header + 16, NULL, 10);
        size_t head = (size_t)(end - request) + 4;
        while (used < head + length) {
            int n = SSL_read(ssl, request + used, (int)(sizeof request - 1 - used));
            if (n <= 0)
                _exit(0);
            used += (size_t)n;
        }
        end[2] = '\0';
        more = answer(ssl, request, request + head, length);
    }
    SSL_shutdown(ssl);
    _exit(0);
}

static void start(struct server *server, const char *cert, const char *key, const char *ca)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof address;
    struct kt_error error = {0};
    SSL_CTX *ctx = NULL;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&address, n), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &n), 0);
    snprintf(server->address, sizeof server->address, "127.0.0.1:%u", ntohs(address.sin_port));
    assert_int_equal(kt_tls_server_new(cert, key, ca, "test", &ctx, &error), 0);
    server->pid = fork();
    if (server->pid == 0) {
        signal(SIGCHLD, SIG_IGN);
        for (;;) {
            int peer = accept(fd, NULL, NULL);
            if (fork() == 0)
                serve(ctx, peer);
            close(peer);
        }
    }
    close(fd);
    SSL_CTX_free(ctx);
}

static void stop(const struct server *server)
{
    kill(server->pid, SIGKILL);
    waitpid(server->pid, NULL, 0);
}

// --- keys ---

struct party { // a CA and a server of it
    EVP_PKEY *ca_key;
    X509 *ca;
    char ca_file[PATH_MAX], cert_file[PATH_MAX], key_file[PATH_MAX];
    uint8_t ca_sha256[KT_SHA256_LEN];
    struct server server;
};

static char folder[] = "/tmp/kt-http-XXXXXX";
static struct party ours, theirs, nameless, a_client;

static void make_party(struct party *party, const struct party *of, enum kt_pki_role role,
                       const char *name)
{
    struct kt_pki_subject subject = {.role = role, .common_name = name, .lifetime_s = 86400};
    struct kt_error error = {0};
    EVP_PKEY *key = NULL;
    X509 *cert = NULL;

    snprintf(party->ca_file, sizeof party->ca_file, "%s/%s-ca.pem", folder, name);
    snprintf(party->cert_file, sizeof party->cert_file, "%s/%s.pem", folder, name);
    snprintf(party->key_file, sizeof party->key_file, "%s/%s.key", folder, name);
    if (of != NULL) {
        party->ca_key = of->ca_key;
        party->ca = of->ca;
    } else {
        assert_int_equal(kt_pki_new_p256(&party->ca_key), 0);
        assert_int_equal(kt_pki_make_ca(party->ca_key, "test", 864000, &party->ca), 0);
    }
    assert_int_equal(kt_pki_cert_sha256(party->ca, party->ca_sha256), 0);
    assert_int_equal(kt_pki_new_p256(&key), 0);
    assert_int_equal(kt_pki_sign(party->ca_key, party->ca, key, &subject, &cert), 0);
    if (party == &nameless) { // good for a server, and of our CA, but for no name
        X509_EXTENSION_free(
            X509_delete_ext(cert, X509_get_ext_by_NID(cert, NID_subject_alt_name, -1)));
        assert_true(X509_sign(cert, party->ca_key, EVP_sha256()) > 0);
    }
    assert_int_equal(kt_pki_key_save(party->key_file, key, &error), 0);
    assert_int_equal(kt_pki_cert_save(party->cert_file, cert, party->ca, &error), 0);
    assert_int_equal(kt_pki_cert_save(party->ca_file, party->ca, NULL, &error), 0);
    X509_free(cert);
    EVP_PKEY_free(key);
    start(&party->server, party->cert_file, party->key_file, party->ca_file);
}

static int group_setup(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(folder));
    make_party(&ours, NULL, KT_PKI_SERVER, "ours");
    make_party(&theirs, NULL, KT_PKI_SERVER, "theirs");
    make_party(&nameless, &ours, KT_PKI_SERVER, "nameless");
    make_party(&a_client, &ours, KT_PKI_CLIENT, "client");
    return 0;
}

static int group_teardown(void **state)
{
    char command[64];

    (void)state;
    stop(&ours.server);
    stop(&theirs.server);
    stop(&nameless.server);
    stop(&a_client.server);
    EVP_PKEY_free(ours.ca_key);
    EVP_PKEY_free(theirs.ca_key);
    X509_free(ours.ca);
    X509_free(theirs.ca);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

// --- cases ---

static struct kt_http_client *connect_to(const char *address, const struct kt_http_tls *tls)
{
    struct kt_http_client *client = NULL;
    struct kt_error error = {0};

    assert_int_equal(kt_http_client_new(address, tls, &client, &error), 0);
    return client;
}

static struct kt_http_client *connect_ours(void)
{
    const struct kt_http_tls tls = {.ca_file = ours.ca_file};

    return connect_to(ours.server.address, &tls);
}

static int fetch(struct kt_http_client *client, const char *path, size_t max,
                 struct kt_http_answer *answered, struct kt_error *error)
{
    const struct kt_http_request request = {.method = "GET",
                                            .path = path,
                                            .timeout_ms = 10000,
                                            .connect_timeout_ms = 5000,
                                            .max_answer = max};

    return kt_http_client_run(client, &request, answered, error);
}

static void an_answer_arrives_whole_with_the_headers_we_keep(void **state)
{
    struct kt_http_client *client = connect_ours();
    struct kt_http_answer answered;
    struct kt_error error = {0};

    (void)state;
    assert_int_equal(fetch(client, "/big", BIG, &answered, &error), 0);
    assert_int_equal(answered.status, 200);
    assert_int_equal(kt_buf_left(&answered.body), BIG);
    assert_string_equal(kt_http_answer_header(&answered, "etag"), "\"abc\"");
    assert_string_equal(kt_http_answer_header(&answered, "KT-Epoch"), "7");
    assert_null(kt_http_answer_header(&answered, "X-Other"));
    assert_int_equal(kt_http_client_sent(client), 1);
    kt_http_answer_free(&answered);
    kt_http_client_free(client);
}

static void an_answer_over_its_bound_is_refused(void **state)
{
    struct kt_http_client *client = connect_ours();
    struct kt_http_answer answered;
    struct kt_error error = {0};

    (void)state;
    assert_int_equal(fetch(client, "/big", BIG - 1, &answered, &error), KT_ERR_TOO_LARGE);
    assert_int_equal(fetch(client, "/many", 100, &answered, &error), KT_ERR_TOO_LARGE);
    assert_int_equal(fetch(client, "/big", BIG, &answered, &error), 0); // the client is still good
    kt_http_answer_free(&answered);
    kt_http_client_free(client);
}

static void a_request_looks_as_the_server_expects(void **state)
{
    static const char *const headers[] = {"KT-Freshness: barrier", NULL};
    struct kt_http_client *client = connect_ours();
    struct kt_http_request request = {.method = "DELETE",
                                      .path = "/v1/deposits/..%2Fa?version=1",
                                      .headers = headers,
                                      .timeout_ms = 10000,
                                      .connect_timeout_ms = 5000,
                                      .max_answer = 4096};
    struct kt_http_answer answered;
    struct kt_error error = {0};
    char text[4097];

    (void)state;
    assert_int_equal(kt_http_client_run(client, &request, &answered, &error), 0);
    assert_int_equal(answered.status, 404);
    snprintf(text, sizeof text, "%.*s", (int)kt_buf_left(&answered.body),
             (const char *)kt_buf_ptr(&answered.body));
    assert_true(starts(text, "DELETE /v1/deposits/..%2Fa?version=1 HTTP/1.1\r\n"));
    assert_non_null(strstr(text, "\r\nKT-Freshness: barrier\r\n"));
    assert_non_null(strstr(text, "\r\nHost: " KT_PKI_SERVICE_NAME));
    assert_null(strstr(text, "Content-Length"));
    assert_null(strstr(text, "Expect"));
    kt_http_answer_free(&answered);
    request.path = "/v1/../x"; // a handle may be ".."
    assert_int_equal(kt_http_client_run(client, &request, &answered, &error), 0);
    assert_memory_equal(kt_buf_ptr(&answered.body), "DELETE /v1/../x ", 16);
    kt_http_answer_free(&answered);
    kt_http_client_free(client);
}

static void a_body_is_sent_as_it_is(void **state)
{
    static const char *const headers[] = {"Content-Type: application/pgp-encrypted", NULL};
    static const char bytes[] = "\0\x01 bytes\r\n\r\n\xff";
    struct kt_http_client *client = connect_ours();
    struct kt_http_request request = {.method = "PUT",
                                      .path = "/x",
                                      .headers = headers,
                                      .body = bytes,
                                      .body_len = sizeof bytes,
                                      .has_body = 1,
                                      .timeout_ms = 10000,
                                      .connect_timeout_ms = 5000,
                                      .max_answer = 4096};
    struct kt_http_answer answered;
    struct kt_error error = {0};

    (void)state;
    assert_int_equal(kt_http_client_run(client, &request, &answered, &error), 0);
    assert_int_equal(answered.status, 201);
    assert_int_equal(kt_buf_left(&answered.body), sizeof bytes);
    assert_memory_equal(kt_buf_ptr(&answered.body), bytes, sizeof bytes);
    kt_http_answer_free(&answered);
    request.method = "POST";
    request.body_len = 0;
    assert_int_equal(kt_http_client_run(client, &request, &answered, &error), 0);
    assert_int_equal(kt_buf_left(&answered.body), 0);
    kt_http_answer_free(&answered);
    kt_http_client_free(client);
}

static void a_head_request_has_no_body(void **state)
{
    struct kt_http_client *client = connect_ours();
    const struct kt_http_request request = {.method = "HEAD",
                                            .path = "/x",
                                            .timeout_ms = 10000,
                                            .connect_timeout_ms = 5000,
                                            .max_answer = 4096};
    struct kt_http_answer answered;
    struct kt_error error = {0};

    (void)state;
    assert_int_equal(kt_http_client_run(client, &request, &answered, &error), 0);
    assert_string_equal(kt_http_answer_header(&answered, "Content-Length"), "77");
    assert_int_equal(kt_buf_left(&answered.body), 0);
    kt_http_answer_free(&answered);
    kt_http_client_free(client);
}

static void headers_of_an_interim_answer_are_forgotten(void **state)
{
    struct kt_http_client *client = connect_ours();
    struct kt_http_answer answered;
    struct kt_error error = {0};

    (void)state;
    assert_int_equal(fetch(client, "/continue", 100, &answered, &error), 0);
    assert_int_equal(answered.status, 200);
    assert_string_equal(kt_http_answer_header(&answered, "ETag"), "\"abc\"");
    kt_http_answer_free(&answered);
    kt_http_client_free(client);
}

static void a_redirection_is_not_followed(void **state)
{
    struct kt_http_client *client = connect_ours();
    struct kt_http_answer answered;
    struct kt_error error = {0};

    (void)state;
    assert_int_equal(fetch(client, "/moved", 100, &answered, &error), 0);
    assert_int_equal(answered.status, 302);
    kt_http_answer_free(&answered);
    kt_http_client_free(client);
}

static void a_proxy_of_the_environment_is_not_used(void **state)
{
    struct kt_http_client *client = connect_ours();
    struct kt_http_answer answered;
    struct kt_error error = {0};

    (void)state;
    setenv("https_proxy", "http://127.0.0.1:1", 1);
    setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
    assert_int_equal(fetch(client, "/x", 4096, &answered, &error), 0);
    unsetenv("https_proxy");
    unsetenv("ALL_PROXY");
    kt_http_answer_free(&answered);
    kt_http_client_free(client);
}

static void a_server_of_another_ca_is_refused(void **state)
{
    const struct kt_http_tls tls = {.ca_file = ours.ca_file};
    struct kt_http_client *client = connect_to(theirs.server.address, &tls);
    struct kt_http_answer answered;
    struct kt_error error = {0};

    (void)state;
    assert_int_equal(fetch(client, "/x", 4096, &answered, &error), KT_ERR_CRYPTO);
    assert_int_equal(kt_http_client_sent(client), 0);
    kt_http_client_free(client);
}

// With the CA's file, and with its pin.
static void assert_refused(const struct party *party)
{
    const struct kt_http_tls tls[] = {{.ca_file = ours.ca_file}, {.ca_sha256 = ours.ca_sha256}};

    for (size_t i = 0; i < 2; i++) {
        struct kt_http_client *client = connect_to(party->server.address, &tls[i]);
        struct kt_http_answer answered;
        struct kt_error error = {0};
        assert_int_equal(fetch(client, "/x", 4096, &answered, &error), KT_ERR_CRYPTO);
        assert_int_equal(kt_http_client_sent(client), 0);
        kt_http_client_free(client);
    }
}

static void a_certificate_without_our_name_is_refused(void **state)
{
    (void)state;
    assert_refused(&nameless);
}

static void the_certificate_of_a_client_is_no_servers(void **state)
{
    (void)state;
    assert_refused(&a_client);
}

static void a_pin_accepts_its_ca_and_no_other(void **state)
{
    const struct kt_http_tls right = {.ca_sha256 = ours.ca_sha256};
    const struct kt_http_tls wrong = {.ca_sha256 = theirs.ca_sha256};
    struct kt_http_client *client = connect_to(ours.server.address, &right);
    struct kt_http_answer answered;
    struct kt_error error = {0};

    (void)state;
    assert_int_equal(fetch(client, "/x", 4096, &answered, &error), 0);
    kt_http_answer_free(&answered);
    kt_http_client_free(client);
    client = connect_to(ours.server.address, &wrong);
    assert_int_equal(fetch(client, "/x", 4096, &answered, &error), KT_ERR_CRYPTO);
    kt_http_client_free(client);
}

static void a_broken_answer_is_a_network_error(void **state)
{
    struct kt_http_client *client = connect_ours();
    struct kt_http_answer answered;
    struct kt_error error = {0};

    (void)state;
    assert_int_equal(fetch(client, "/cut", 4096, &answered, &error), KT_ERR_NETWORK);
    assert_int_equal(kt_http_client_sent(client), 1);
    assert_int_equal(fetch(client, "/gone", 4096, &answered, &error), KT_ERR_NETWORK);
    assert_int_equal(kt_http_client_sent(client), 1);
    kt_http_client_free(client);
}

static void a_server_that_hangs_times_out(void **state)
{
    struct kt_http_client *client = connect_ours();
    const struct kt_http_request request = {.method = "GET",
                                            .path = "/hang",
                                            .timeout_ms = 200,
                                            .connect_timeout_ms = 200,
                                            .max_answer = 4096};
    struct kt_http_answer answered;
    struct kt_error error = {0};

    (void)state;
    assert_int_equal(kt_http_client_run(client, &request, &answered, &error), KT_ERR_TIMEOUT);
    kt_http_client_free(client);
}

static void nobody_listening_is_a_network_error(void **state)
{
    const struct kt_http_tls tls = {.ca_file = ours.ca_file};
    struct kt_http_client *client = connect_to("127.0.0.1:1", &tls);
    struct kt_http_answer answered;
    struct kt_error error = {0};

    (void)state;
    assert_int_equal(fetch(client, "/x", 4096, &answered, &error), KT_ERR_NETWORK);
    assert_int_equal(kt_http_client_sent(client), 0);
    assert_non_null(strstr(error.message, "127.0.0.1:1"));
    kt_http_client_free(client);
}

static void a_client_without_ca_and_pin_is_refused(void **state)
{
    const struct kt_http_tls tls = {0};
    struct kt_http_client *client = NULL;

    (void)state;
    assert_int_equal(kt_http_client_new("host", &tls, &client, NULL), KT_ERR_INVALID);
    assert_null(client);
}

static void servers_are_written_in_four_forms(void **state)
{
    static const struct {
        const char *text, *host;
        uint16_t port;
    } good[] = {
        {"host", "host", 11371},         {"a.b.example:443", "a.b.example", 443},
        {"10.0.0.1", "10.0.0.1", 11371}, {"[::1]:8443", "::1", 8443},
        {"[fe80::1]", "fe80::1", 11371}, {"fe80::1", "fe80::1", 11371},
    };
    static const char *const bad[] = {
        "",       ":443",   "host:", "host:0",    "host:65536", "host:x",    "[::1",
        "[::1]x", "[host]", "a b",   "https://h", "host/path",  "user@host", "host:1:2x y"};
    char host[64];
    uint16_t port = 0;

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(kt_http_server_parse(good[i].text, host, sizeof host, &port), 0);
        assert_string_equal(host, good[i].host);
        assert_int_equal(port, good[i].port);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(kt_http_server_check(bad[i]), KT_ERR_INVALID);
    assert_int_equal(kt_http_server_parse("toolong", host, 7, &port), KT_ERR_INVALID);
}

static void segments_are_percent_encoded(void **state)
{
    char *text = kt_http_escape("a/b c?%+@:~-._Z9\xc3\xa4");

    (void)state;
    assert_string_equal(text, "a%2Fb%20c%3F%25%2B%40%3A~-._Z9%C3%A4");
    free(text);
}

static void silence_ends_a_request(void **state)
{
    struct kt_http_client *client = connect_ours();
    const struct kt_http_request request = {.method = "GET",
                                            .path = "/hang",
                                            .timeout_ms = 20000,
                                            .connect_timeout_ms = 5000,
                                            .max_answer = 100,
                                            .dead_after_ms = 5000,
                                            .silence_ms = 300};
    struct kt_http_answer answered;
    struct kt_error error = {0};
    int64_t begun = kt_monotonic_now();

    (void)state;
    assert_int_equal(kt_http_client_run(client, &request, &answered, &error), KT_ERR_TIMEOUT);
    assert_true(kt_monotonic_now() - begun < 5000000);
    assert_non_null(strstr(error.message, "says nothing"));
    assert_int_equal(kt_http_client_sent(client), 1);
    assert_int_equal(fetch(client, "/big", BIG, &answered, &error), 0); // the client is still good
    kt_http_answer_free(&answered);
    kt_http_client_free(client);
}

static void the_address_of_the_connection_is_told(void **state)
{
    struct kt_http_client *client = connect_ours();
    struct kt_http_answer answered;
    struct kt_error error = {0};

    (void)state;
    assert_string_equal(kt_http_client_address(client), "");
    assert_int_equal(fetch(client, "/big", BIG, &answered, &error), 0);
    assert_string_equal(kt_http_client_address(client), ours.server.address);
    kt_http_answer_free(&answered);
    kt_http_client_free(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_arrives_whole_with_the_headers_we_keep),
        cmocka_unit_test(an_answer_over_its_bound_is_refused),
        cmocka_unit_test(a_request_looks_as_the_server_expects),
        cmocka_unit_test(a_body_is_sent_as_it_is),
        cmocka_unit_test(a_head_request_has_no_body),
        cmocka_unit_test(headers_of_an_interim_answer_are_forgotten),
        cmocka_unit_test(a_redirection_is_not_followed),
        cmocka_unit_test(a_proxy_of_the_environment_is_not_used),
        cmocka_unit_test(a_server_of_another_ca_is_refused),
        cmocka_unit_test(a_certificate_without_our_name_is_refused),
        cmocka_unit_test(the_certificate_of_a_client_is_no_servers),
        cmocka_unit_test(a_pin_accepts_its_ca_and_no_other),
        cmocka_unit_test(a_broken_answer_is_a_network_error),
        cmocka_unit_test(a_server_that_hangs_times_out),
        cmocka_unit_test(nobody_listening_is_a_network_error),
        cmocka_unit_test(a_client_without_ca_and_pin_is_refused),
        cmocka_unit_test(servers_are_written_in_four_forms),
        cmocka_unit_test(silence_ends_a_request),
        cmocka_unit_test(the_address_of_the_connection_is_told),
        cmocka_unit_test(segments_are_percent_encoded),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
