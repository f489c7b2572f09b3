// SPDX-License-Identifier: Apache-2.0
// Questions to agents: through a socket, over HTTPS, and what is made of each kind of answer.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "lib/buf.h"
#include "lib/encode.h"
#include "lib/json.h"
#include "lib/node_call.h"
#include "lib/pki.h"
#include "lib/tls.h"
#include "tests/unit/lib/temp_dir.h"

#define TIMEOUT_MS 10000
#define MEMBER     "kts-01.0a1b2c3d"

// --- an agent over HTTPS, which answers by the verb's name ---

static struct {
    pid_t pid;
    uint16_t port;
    char ca[512], cert[512], key[512];
    uint8_t ca_sha256[KT_SHA256_LEN], cert_sha256[KT_SHA256_LEN];
} server;

static void reply(SSL *ssl, int status, const char *body)
{
    char text[2048];
    size_t sent = 0;

    snprintf(text, sizeof(text), "HTTP/1.1 %d \r\nContent-Length: %zu\r\n\r\n%s", status,
             strlen(body), body);
    if (SSL_write_ex(ssl, text, strlen(text), &sent) != 1 || sent != strlen(text))
        _exit(1);
}

static int is_for(const char *request, const char *verb)
{
    char line[128];

    snprintf(line, sizeof(line), "POST /v1/cluster/%s HTTP/1.1\r\n", verb);
    return strncmp(request, line, strlen(line)) == 0;
}

static void answer(SSL *ssl, const char *request, const char *body)
{
    char text[1024];

    if (is_for(request, "echo")) {
        snprintf(text, sizeof(text), "{\"args\": %s}", body);
        reply(ssl, 200, text);
    } else if (is_for(request, "token")) {
        reply(ssl, 200,
              strstr(request, "\r\nAuthorization: Keytrustee ktj1-abc\r\n") ? "[true]" : "[false]");
    } else if (is_for(request, "refuse")) {
        reply(
            ssl, 409,
            "{\"error\": {\"code\": \"not_proven\", \"message\": \"row 3\", \"hint\": \"wait\"}}");
    } else if (is_for(request, "busy")) {
        reply(ssl, 503, "{\"error\": {\"code\": \"busy\", \"message\": \"m\"}}");
    } else if (is_for(request, "newer")) {
        reply(ssl, 409, "{\"error\": {\"code\": \"from_the_future\", \"message\": \"m\"}}");
    } else if (is_for(request, "page")) {
        reply(ssl, 404, "<html>no</html>");
    } else if (is_for(request, "nonsense")) {
        reply(ssl, 200, "no json");
    } else if (is_for(request, "hang")) {
        size_t n;
        SSL_read_ex(ssl, text, 1, &n);
    }
}

static void serve(SSL_CTX *ctx, int fd)
{
    char request[8192];
    SSL *ssl = SSL_new(ctx);
    size_t used = 0, n = 0;
    char *end = NULL;

    SSL_set_fd(ssl, fd);
    if (SSL_accept(ssl) != 1)
        _exit(0);
    for (;;) {
        char *length;
        if (SSL_read_ex(ssl, request + used, sizeof(request) - 1 - used, &n) != 1)
            _exit(0);
        used += n;
        request[used] = '\0';
        end = strstr(request, "\r\n\r\n");
        length = strstr(request, "Content-Length: ");
        if (end && length && used >= (size_t)(end - request) + 4 + strtoul(length + 16, NULL, 10))
            break;
    }
    end[2] = '\0';
    answer(ssl, request, end + 4);
    SSL_shutdown(ssl);
    _exit(0);
}

static void make_keys(enum kt_pki_role role)
{
    const struct kt_pki_subject subject = {.role = role, .common_name = MEMBER, .lifetime_s = 3600};
    EVP_PKEY *ca_key = NULL, *key = NULL;
    X509 *ca = NULL, *cert = NULL;

    snprintf(server.ca, sizeof(server.ca), "%s/ca.pem", temp_dir);
    snprintf(server.cert, sizeof(server.cert), "%s/cert.pem", temp_dir);
    snprintf(server.key, sizeof(server.key), "%s/key.pem", temp_dir);
    assert_int_equal(kt_pki_new_p256(&ca_key), 0);
    assert_int_equal(kt_pki_new_p256(&key), 0);
    assert_int_equal(kt_pki_make_ca(ca_key, "test", 3600, &ca), 0);
    assert_int_equal(kt_pki_sign(ca_key, ca, key, &subject, &cert), 0);
    assert_int_equal(kt_pki_cert_save(server.ca, ca, NULL, NULL), 0);
    assert_int_equal(kt_pki_cert_save(server.cert, cert, ca, NULL), 0);
    assert_int_equal(kt_pki_key_save(server.key, key, NULL), 0);
    assert_int_equal(kt_pki_cert_sha256(ca, server.ca_sha256), 0);
    assert_int_equal(kt_pki_cert_sha256(cert, server.cert_sha256), 0);
    EVP_PKEY_free(ca_key);
    EVP_PKEY_free(key);
    X509_free(ca);
    X509_free(cert);
}

static int set_up_as(void **state, enum kt_pki_role role)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(address);
    SSL_CTX *ctx = NULL;
    int fd;

    if (temp_dir_setup(state))
        return -1;
    make_keys(role);
    fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, n), 0);
    assert_int_equal(listen(fd, 64), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &n), 0);
    server.port = ntohs(address.sin_port);
    assert_int_equal(kt_tls_server_new(server.cert, server.key, server.ca, "test", &ctx, NULL), 0);
    server.pid = fork();
    if (server.pid == 0) {
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
    return 0;
}

static int set_up(void **state)
{
    return set_up_as(state, KT_PKI_NODE);
}

static int set_up_server(void **state)
{
    return set_up_as(state, KT_PKI_SERVER);
}

static int tear_down(void **state)
{
    kill(server.pid, SIGKILL);
    waitpid(server.pid, NULL, 0);
    return temp_dir_teardown(state);
}

static struct kt_node *node_of(uint16_t port, const char *token)
{
    const struct kt_node_credentials credentials = {
        .ca_file = token ? NULL : server.ca,
        .ca_sha256 = token ? server.ca_sha256 : NULL,
        .token = token,
    };
    struct kt_node *node = NULL;

    assert_int_equal(kt_node_remote("127.0.0.1", port, &credentials, &node, NULL), 0);
    return node;
}

static int ask(const char *verb, int timeout_ms, struct kt_error *error)
{
    struct kt_node *node = node_of(server.port, NULL);
    json_t *result = NULL;
    int rc = kt_node_call(node, verb, NULL, 1000, timeout_ms, &result, error);

    json_decref(result);
    kt_node_free(node);
    return rc;
}

// --- cases ---

static void arguments_go_and_the_result_comes_back(void **state)
{
    struct kt_node *node = node_of(server.port, NULL);
    struct kt_error error = {0};
    json_t *result = NULL;

    (void)state;
    assert_int_equal(
        kt_node_call(node, "echo", json_pack("{s:i}", "a", 1), 1000, TIMEOUT_MS, &result, &error),
        0);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(result, "args"), "a")), 1);
    json_decref(result);
    result = NULL;
    assert_int_equal(kt_node_call(node, "echo", NULL, 1000, TIMEOUT_MS, &result, &error), 0);
    assert_int_equal(json_object_size(json_object_get(result, "args")), 0);
    json_decref(result);
    kt_node_free(node);
}

static void a_token_is_shown_and_the_ca_pinned(void **state)
{
    struct kt_node *node = node_of(server.port, "ktj1-abc");
    struct kt_error error = {0};
    json_t *result = NULL;

    (void)state;
    assert_int_equal(kt_node_call(node, "token", NULL, 1000, TIMEOUT_MS, &result, &error), 0);
    assert_true(json_is_true(json_array_get(result, 0)));
    json_decref(result);
    kt_node_free(node);
}

static void another_ca_than_the_pinned_one_is_refused(void **state)
{
    struct kt_error error = {0};
    struct kt_node *node;
    json_t *result = NULL;

    (void)state;
    server.ca_sha256[0] ^= 1;
    node = node_of(server.port, "ktj1-abc");
    assert_int_equal(kt_node_call(node, "token", NULL, 1000, TIMEOUT_MS, &result, &error),
                     KT_ERR_CRYPTO);
    assert_null(result);
    kt_node_free(node);
}

static int ask_member(const char *member, const char *token, struct kt_error *error)
{
    const struct kt_node_credentials credentials = {.ca_file = token ? NULL : server.ca,
                                                    .ca_sha256 = token ? server.ca_sha256 : NULL,
                                                    .token = token,
                                                    .member = member};
    struct kt_node *node = NULL;
    json_t *result = NULL;
    int rc;

    assert_int_equal(kt_node_remote("127.0.0.1", server.port, &credentials, &node, NULL), 0);
    rc = kt_node_call(node, "token", NULL, 1000, TIMEOUT_MS, &result, error);
    json_decref(result);
    kt_node_free(node);
    return rc;
}

static void the_member_asked_is_who_answers(void **state)
{
    struct kt_error error = {0};

    (void)state;
    assert_int_equal(ask_member(MEMBER, NULL, &error), 0);
    assert_int_equal(ask_member("", NULL, &error), 0); // not known yet
    assert_int_equal(ask_member("kts-02.0a1b2c3d", NULL, &error), KT_ERR_CRYPTO);
}

static int ask_listed(const uint8_t (*listed)[KT_SHA256_LEN], size_t count, const char *token,
                      struct kt_error *error)
{
    const struct kt_node_credentials credentials = {.ca_file = token ? NULL : server.ca,
                                                    .ca_sha256 = token ? server.ca_sha256 : NULL,
                                                    .token = token,
                                                    .member = MEMBER,
                                                    .peer_sha256 = listed,
                                                    .peer_count = count};
    struct kt_node *node = NULL;
    json_t *result = NULL;
    int rc = kt_node_remote("127.0.0.1", server.port, &credentials, &node, error);

    for (int i = 0; rc == 0 && i < 2;
         i++) { // no connection or session of before spares it the look
        rc = kt_node_call(node, "token", NULL, 1000, TIMEOUT_MS, &result, error);
        json_decref(result);
        result = NULL;
    }
    kt_node_free(node);
    return rc;
}

// As the CA's thief could make one for himself: of the CA, for the member that is asked.
static void a_member_with_another_certificate_than_the_listed_is_asked_nothing(void **state)
{
    uint8_t listed[2][KT_SHA256_LEN];
    const uint8_t(*list)[KT_SHA256_LEN] = (const uint8_t(*)[KT_SHA256_LEN])listed;
    struct kt_error error = {0};

    (void)state;
    memcpy(listed[0], server.cert_sha256, KT_SHA256_LEN);
    memcpy(listed[1], server.cert_sha256, KT_SHA256_LEN);
    assert_int_equal(ask_listed(list, 1, NULL, &error), 0);
    listed[0][31] ^= 1;
    assert_int_equal(ask_listed(list, 2, NULL, &error), 0); // the one before a renewal
    assert_int_equal(ask_listed(list, 2, "ktj1-abc", &error), 0);
    assert_int_equal(ask_listed(list, 1, NULL, &error), KT_ERR_CRYPTO);
    assert_non_null(strstr(error.message, "is not the one that the table of nodes has"));
    assert_non_null(strstr(error.hint, "ktadmin rotate"));
    assert_int_equal(ask_listed(list, 1, "ktj1-abc", &error), KT_ERR_CRYPTO);
    listed[1][0] ^= 1;
    assert_int_equal(ask_listed(list, 2, NULL, &error), KT_ERR_CRYPTO);
    assert_int_equal(ask_listed(list, 0, NULL, &error), KT_ERR_INVALID);
    assert_int_equal(ask_listed(list, 3, NULL, &error), KT_ERR_INVALID);
}

// The workers hold a key of the same CA: it must not do for a node.
static void a_server_is_no_node(void **state)
{
    struct kt_error error = {0};

    (void)state;
    assert_int_equal(ask_member(NULL, NULL, &error), KT_ERR_CRYPTO);
    assert_int_equal(ask_member(MEMBER, NULL, &error), KT_ERR_CRYPTO);
    assert_int_equal(ask_member(NULL, "ktj1-abc", &error), KT_ERR_CRYPTO);
}

static void an_error_keeps_code_message_and_hint(void **state)
{
    struct kt_error error = {0};

    (void)state;
    assert_int_equal(ask("refuse", TIMEOUT_MS, &error), KT_ERR_NOT_PROVEN);
    assert_string_equal(error.message, "row 3");
    assert_string_equal(error.hint, "wait");
    assert_int_equal(ask("busy", TIMEOUT_MS, &error), KT_ERR_BUSY);
    assert_int_equal(ask("newer", TIMEOUT_MS, &error), KT_ERR_INTERNAL);
}

static void what_is_not_an_agent_is_a_broken_protocol(void **state)
{
    struct kt_error error = {0};

    (void)state;
    assert_int_equal(ask("page", TIMEOUT_MS, &error), KT_ERR_PROTOCOL);
    assert_non_null(strstr(error.message, "404"));
    assert_int_equal(ask("nonsense", TIMEOUT_MS, &error), KT_ERR_PROTOCOL);
}

static void what_was_sent_and_not_answered_is_in_doubt(void **state)
{
    struct kt_error error = {0};

    (void)state;
    assert_int_equal(ask("hang", 300, &error), KT_ERR_IN_DOUBT);
    assert_int_equal(ask("close", TIMEOUT_MS, &error), KT_ERR_IN_DOUBT);
}

static void nobody_there_is_a_network_error(void **state)
{
    struct kt_error error = {0};
    struct kt_node *node = node_of(1, NULL);
    json_t *result = NULL;

    (void)state;
    assert_int_equal(kt_node_call(node, "echo", NULL, 1000, TIMEOUT_MS, &result, &error),
                     KT_ERR_NETWORK);
    assert_string_equal(kt_node_text(node), "127.0.0.1:1");
    kt_node_set_text(node, "kts-09");
    assert_string_equal(kt_node_text(node), "kts-09");
    kt_node_free(node);
}

// A listener whose queue is full takes no connection: the kernel drops what comes.
static void a_connection_that_does_not_come_ends_at_its_limit(void **state)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM, 0), full[8];
    int64_t begun = kt_monotonic_now();
    struct kt_error error = {0};
    struct kt_node *node;
    json_t *result = NULL;
    int rc;

    (void)state;
    assert_int_equal(bind(fd, (struct sockaddr *)&address, n), 0);
    assert_int_equal(listen(fd, 0), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &n), 0);
    for (size_t i = 0; i < 8; i++) {
        full[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        if (connect(full[i], (struct sockaddr *)&address, sizeof(address))) {
            // on its way for good
        }
    }
    node = node_of(ntohs(address.sin_port), NULL);
    rc = kt_node_call(node, "echo", NULL, 300, TIMEOUT_MS, &result, &error);
    assert_true(rc == KT_ERR_TIMEOUT || rc == KT_ERR_NETWORK);
    assert_true(kt_monotonic_now() - begun < 5000000);
    kt_node_free(node);
    for (size_t i = 0; i < 8; i++)
        close(full[i]);
    close(fd);
}

static void several_are_asked_at_the_same_time(void **state)
{
    struct kt_node *nodes[4] = {node_of(server.port, NULL), node_of(1, NULL),
                                node_of(server.port, NULL), node_of(server.port, NULL)};
    json_t *args = json_pack("{s:i}", "a", 5), *results[4];
    struct kt_error errors[4];
    int64_t begun;

    (void)state;
    kt_node_call_all(nodes, 4, "echo", args, 1000, TIMEOUT_MS, results, errors);
    for (size_t i = 0; i < 4; i++) {
        if (i == 1) {
            assert_null(results[i]);
            assert_int_equal(errors[i].code, KT_ERR_NETWORK);
            continue;
        }
        assert_true(json_equal(json_object_get(results[i], "args"), args));
        assert_int_equal(errors[i].code, 0);
        json_decref(results[i]);
    }
    begun = kt_monotonic_now();
    kt_node_call_all(nodes, 4, "hang", NULL, 1000, 700, results, errors);
    assert_true(kt_monotonic_now() - begun < 3 * 700000);
    assert_int_equal(errors[0].code, KT_ERR_IN_DOUBT);
    for (size_t i = 0; i < 4; i++)
        kt_node_free(nodes[i]);
    json_decref(args);
}

// --- the unix socket ---

static void read_whole(int fd, void *out, size_t n)
{
    uint8_t *at = out;

    while (n > 0) {
        ssize_t got = recv(fd, at, n, 0);
        if (got <= 0)
            _exit(1);
        at += got;
        n -= (size_t)got;
    }
}

static void this_machines_agent_is_asked_through_its_socket(void **state)
{
    static const char TEXT[] = "{\"ok\": true, \"result\": {\"version\": \"7\"}}";
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct kt_error error = {0};
    struct kt_node *node = NULL;
    json_t *result = NULL;
    pid_t pid;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    (void)state;
    snprintf(address.sun_path, sizeof(address.sun_path), "%.90s/s", temp_dir);
    assert_int_equal(kt_node_local(address.sun_path, &node), 0);
    assert_int_equal(kt_node_call(node, "ping", NULL, 0, TIMEOUT_MS, &result, &error),
                     KT_ERR_NOT_RUNNING);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 1), 0);
    pid = fork();
    if (pid == 0) {
        uint8_t head[4], request[256];
        int peer = accept(fd, NULL, NULL);
        read_whole(peer, head, 4);
        read_whole(peer, request, head[3]);
        head[0] = head[1] = head[2] = 0;
        head[3] = sizeof(TEXT) - 1;
        if (send(peer, head, 4, 0) != 4 || send(peer, TEXT, sizeof(TEXT) - 1, 0) < 0)
            _exit(1);
        _exit(0);
    }
    assert_int_equal(kt_node_call(node, "ping", json_object(), 0, TIMEOUT_MS, &result, &error), 0);
    assert_string_equal(json_string_value(json_object_get(result, "version")), "7");
    json_decref(result);
    kt_node_free(node);
    waitpid(pid, NULL, 0);
    close(fd);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(arguments_go_and_the_result_comes_back),
        CASE(a_token_is_shown_and_the_ca_pinned),
        CASE(another_ca_than_the_pinned_one_is_refused),
        CASE(the_member_asked_is_who_answers),
        CASE(a_member_with_another_certificate_than_the_listed_is_asked_nothing),
        cmocka_unit_test_setup_teardown(a_server_is_no_node, set_up_server, tear_down),
        CASE(an_error_keeps_code_message_and_hint),
        CASE(what_is_not_an_agent_is_a_broken_protocol),
        CASE(what_was_sent_and_not_answered_is_in_doubt),
        CASE(nobody_there_is_a_network_error),
        CASE(a_connection_that_does_not_come_ends_at_its_limit),
        CASE(several_are_asked_at_the_same_time),
        CASE(this_machines_agent_is_asked_through_its_socket),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
