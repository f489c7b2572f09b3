// SPDX-License-Identifier: Apache-2.0
// The agent's HTTPS door with real TLS: who gets in, what is refused and how, and that nobody keeps
// others waiting.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

#include <openssl/err.h>

#include "kts/agent_token.h"
#include "kts/agent_view.h"
#include "lib/json.h"
#include "lib/node_call.h"
#include "tests/unit/kts/agent_fixture.h"

#define TIMEOUT_MS 10000

#define IMPOSTOR "kts-07.00000007"

static pid_t server;
static int with_impostors, with_renewal;
static char token[KT_TOKEN_TEXT];

// --- the agent, in a process of its own ---

static void no_answer(struct kts_call *call, const json_t *result, const struct kt_error *error)
{
    (void)call;
    (void)error;
    snprintf(token, sizeof(token), "%s", json_string_value(json_object_get(result, "token")));
}

static void make_token(void)
{
    struct kts_call call = {
        .agent = &fixture.agent, .caller = KTS_CALLER_LOCAL, .actor = "root", .answer = no_answer};

    kts_call_begin(&call);
    kts_verb_run(&call, "token.new", NULL);
    kts_call_end(&call);
    assert_string_not_equal(token, "");
}

// Listed, by whoever writes lists, as what they are not.
static void list_impostors(struct kts_operators *operators)
{
    // A client's certificate, as the writer may have it signed, with an operator's name.
    const struct kt_pki_subject client = {
        .role = KT_PKI_CLIENT, .common_name = "eve", .organisation = "acme", .lifetime_s = 3600};
    struct kts_operator *eve = &operators->operators[operators->count++];
    static struct kt_peers peers;
    uint8_t sha256[KT_SHA256_LEN];

    fixture_sign("eve", &client, eve->cert_sha256);
    snprintf(eve->name, sizeof(eve->name), "eve");
    assert_int_equal(kt_peers_load(fixture.paths.peers, &peers, NULL), 0);
    fixture_cert("impostor", KT_PKI_CLIENT, IMPOSTOR, 3600, sha256);
    fixture_peer(&peers, IMPOSTOR, 1, sha256, 0);
    assert_int_equal(kt_peers_save(fixture.paths.peers, &peers, NULL), 0);
}

// PEER's certificate is being replaced by "fresh".
static void list_renewal(void)
{
    static struct kt_peers peers;
    struct kt_peer *peer = &peers.peers[1];

    assert_int_equal(kt_peers_load(fixture.paths.peers, &peers, NULL), 0);
    assert_string_equal(peer->member, PEER);
    memcpy(peer->cert_before, peer->cert_sha256, KT_SHA256_LEN);
    fixture_cert("fresh", KT_PKI_NODE, PEER, 3600, peer->cert_sha256);
    assert_int_equal(kt_peers_save(fixture.paths.peers, &peers, NULL), 0);
}

static int set_up(void **state)
{
    static struct kts_operators operators;
    uint8_t sha256[KT_SHA256_LEN];
    struct kt_error why = {0};

    if (fixture_set_up(state))
        return -1;
    fixture_cert("client", KT_PKI_CLIENT, "a client", 3600, sha256);
    fixture_cert("expired", KT_PKI_NODE, PEER, 1, sha256);
    fixture_cert("operator", KT_PKI_CLIENT, "ada", 3600, operators.operators[0].cert_sha256);
    snprintf(operators.operators[0].name, sizeof(operators.operators[0].name), "ada");
    operators.count = 1;
    if (with_impostors)
        list_impostors(&operators);
    if (with_renewal)
        list_renewal();
    fixture.agent.operators = operators;
    assert_int_equal(kts_agent_peers_start(&fixture.agent, &why), 0);
    make_token();
    kts_agent_peers_stop(&fixture.agent);
    server = fork();
    if (server == 0) {
        signal(SIGPIPE, SIG_IGN);
        event_reinit(fixture.agent.base);
        if (kts_agent_peers_start(&fixture.agent, &why) || kts_https_start(&fixture.agent, &why))
            _exit(1);
        event_base_dispatch(fixture.agent.base);
        _exit(1);
    }
    return server > 0 ? 0 : -1;
}

static int set_up_impostors(void **state)
{
    with_impostors = 1;
    return set_up(state);
}

static int set_up_renewal(void **state)
{
    with_renewal = 1;
    return set_up(state);
}

static int tear_down(void **state)
{
    with_impostors = with_renewal = 0;
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
    return fixture_tear_down(state);
}

// --- asking properly ---

// The code of the answer; `who` is a certificate's name, or NULL.
static int ask(const char *who, const char *with_token, const char *verb, json_t *args,
               json_t **result)
{
    char cert[512], key[512];
    struct kt_node_credentials credentials = {.ca_file = fixture.paths.ca_cert,
                                              .token = with_token};
    struct kt_node *node = NULL;
    struct kt_error error = {0};
    json_t *answer = NULL;
    int rc;

    if (who) {
        snprintf(cert, sizeof(cert), "%s/%s.pem", temp_dir, who);
        snprintf(key, sizeof(key), "%s/%s-key.pem", temp_dir, who);
        credentials.cert_file = cert;
        credentials.key_file = key;
    }
    if (with_token) { // first contact: nothing but the token's fingerprint of the CA
        credentials.ca_file = NULL;
        credentials.ca_sha256 = fixture.agent.ca_sha256;
    }
    assert_int_equal(kt_node_remote("127.0.0.1", fixture.port, &credentials, &node, &error), 0);
    for (int i = 0; i < 500; i++) { // until it listens
        rc = kt_node_call(node, verb, json_incref(args), 1000, TIMEOUT_MS, &answer, &error);
        if (rc != KT_ERR_NETWORK)
            break;
        usleep(10000);
    }
    json_decref(args);
    kt_node_free(node);
    if (rc)
        print_message("%s: %s\n", kt_err_info(rc)->name, error.message);
    if (result)
        *result = answer;
    else
        json_decref(answer);
    return rc;
}

static void who_has_no_certificate_is_no_member(void **state)
{
    (void)state;
    assert_int_equal(ask(NULL, NULL, "token.list", NULL, NULL), KT_ERR_NOT_MEMBER);
}

static void a_clients_certificate_is_no_members(void **state)
{
    (void)state;
    assert_int_equal(ask("client", NULL, "token.list", NULL, NULL), KT_ERR_NOT_MEMBER);
}

// The writer lists clients and has their certificates signed: that makes nobody more than a client.
static void who_is_listed_as_what_the_ca_did_not_sign_is_refused(void **state)
{
    (void)state;
    assert_int_equal(ask("operator", NULL, "token.list", NULL, NULL), 0);
    assert_int_equal(ask("eve", NULL, "token.new", NULL, NULL), KT_ERR_NOT_MEMBER);
    assert_int_equal(ask("impostor", NULL, "node.state", NULL, NULL), KT_ERR_NOT_MEMBER);
    assert_int_equal(ask("eve", NULL, "node.removed", NULL, NULL), KT_ERR_NOT_MEMBER);
}

static void a_removed_nodes_certificate_is_refused(void **state)
{
    (void)state;
    assert_int_equal(ask("removed", NULL, "node.add", NULL, NULL), KT_ERR_NOT_MEMBER);
    assert_int_equal(ask("removed", NULL, "no.such", NULL, NULL), KT_ERR_NOT_MEMBER);
    // but it is told so, by a node that knows its rows
    assert_int_equal(ask("removed", NULL, "node.removed", NULL, NULL), KT_ERR_DATABASE_UNAVAILABLE);
}

static void an_expired_certificate_is_refused(void **state)
{
    int64_t until = kt_monotonic_now() + 10 * 1000000LL;
    int rc = KT_ERR_NOT_MEMBER;

    (void)state;
    while (rc == KT_ERR_NOT_MEMBER && kt_monotonic_now() < until) // it is good for a second
        rc = ask("expired", NULL, "node.add", NULL, NULL);
    assert_int_equal(rc, KT_ERR_CERTIFICATE_EXPIRED);
}

static void a_node_may_ask_for_what_nodes_may(void **state)
{
    (void)state;
    // Let in, and then asked for what is missing.
    assert_int_equal(ask("peer", NULL, "node.add", NULL, NULL), KT_ERR_BAD_REQUEST);
    assert_int_equal(ask("peer", NULL, "token.new", NULL, NULL), KT_ERR_NOT_MEMBER);
    assert_int_equal(ask("peer", NULL, "org.add", NULL, NULL), KT_ERR_NOT_MEMBER);
    assert_int_equal(ask("peer", NULL, "no.such", NULL, NULL), KT_ERR_ROUTE_UNKNOWN);
}

static json_t *renewal(const char *member, const char *name, const char *before)
{
    struct kt_buf pem = KT_BUF_INIT(KT_CERT_PEM_MAX);
    json_t *args;

    assert_int_equal(kt_file_read(temp_path(name), &pem, NULL), 0);
    args = json_pack("{s:s, s:s%, s:s*}", "member", member, "cert", (const char *)kt_buf_ptr(&pem),
                     (size_t)kt_buf_left(&pem), "before", before);
    kt_buf_free(&pem);
    return args;
}

static void a_renewal_is_asked_for_by_the_node_itself_and_listed_by_the_table_only(void **state)
{
    static struct kt_peers peers;
    char before[KT_SHA256_TEXT];
    uint8_t sha256[KT_SHA256_LEN];

    (void)state;
    assert_int_equal(kt_peers_load(fixture.paths.peers, &peers, NULL), 0);
    kt_hex_encode(kt_peers_by_member(&peers, PEER)->cert_sha256, KT_SHA256_LEN, before);
    fixture_cert("fresh", KT_PKI_NODE, PEER, 3600, sha256);
    fixture_cert("other", KT_PKI_NODE, "kts-09.00000009", 3600, sha256);
    assert_int_equal(ask("peer", NULL, "node.renew", renewal(PEER, "fresh.pem", before), NULL),
                     KT_ERR_PASSIVE);
    atomic_store(&fixture.status->role, KTS_ROLE_ACTIVE);
    // its own only, of its own name, and nobody else's
    assert_int_equal(ask("peer", NULL, "node.renew", renewal(OWN, "fresh.pem", before), NULL),
                     KT_ERR_NOT_MEMBER);
    assert_int_equal(ask("peer", NULL, "node.renew", renewal(PEER, "other.pem", before), NULL),
                     KT_ERR_INVALID);
    assert_int_equal(ask("peer", NULL, "node.renew", renewal(PEER, "client.pem", before), NULL),
                     KT_ERR_INVALID);
    assert_int_equal(ask("operator", NULL, "node.renew", renewal(PEER, "fresh.pem", before), NULL),
                     KT_ERR_NOT_MEMBER);
    assert_int_equal(ask("fresh", NULL, "node.add", NULL, NULL), KT_ERR_NOT_MEMBER);
    // There is no database here: what the table does not take changes no list.
    assert_int_not_equal(ask("peer", NULL, "node.renew", renewal(PEER, "fresh.pem", before), NULL),
                         0);
    assert_int_equal(ask("fresh", NULL, "node.add", NULL, NULL), KT_ERR_NOT_MEMBER);
    assert_int_equal(ask("peer", NULL, "node.add", NULL, NULL), KT_ERR_BAD_REQUEST);
}

// Both are let in, and with the old one nothing is undone.
static void in_a_renewal_the_old_certificate_does_not_come_back(void **state)
{
    static struct kt_peers peers;
    char fresh[KT_SHA256_TEXT];

    (void)state;
    assert_int_equal(kt_peers_load(fixture.paths.peers, &peers, NULL), 0);
    kt_hex_encode(kt_peers_by_member(&peers, PEER)->cert_sha256, KT_SHA256_LEN, fresh);
    atomic_store(&fixture.status->role, KTS_ROLE_ACTIVE);
    assert_int_equal(ask("fresh", NULL, "node.add", NULL, NULL), KT_ERR_BAD_REQUEST);
    assert_int_equal(ask("peer", NULL, "node.add", NULL, NULL), KT_ERR_BAD_REQUEST);
    assert_int_equal(ask("peer", NULL, "node.renew", renewal(PEER, "peer.pem", NULL), NULL),
                     KT_ERR_INVALID);
    assert_int_equal(ask("peer", NULL, "node.renew", renewal(PEER, "peer.pem", fresh), NULL),
                     KT_ERR_INVALID);
    assert_int_not_equal(ask("fresh", NULL, "node.renew", renewal(PEER, "fresh.pem", NULL), NULL),
                         KT_ERR_INVALID);
}

static void an_operator_may_make_and_revoke_tokens(void **state)
{
    json_t *result = NULL;
    const char *id;

    (void)state;
    assert_int_equal(
        ask("operator", NULL, "token.new", json_pack("{s:i}", "expires_s", 60), &result), 0);
    id = json_string_value(json_object_get(result, "id"));
    assert_non_null(id);
    assert_int_equal(ask("operator", NULL, "token.revoke", json_pack("{s:s}", "id", id), NULL), 0);
    assert_int_equal(ask("operator", NULL, "token.revoke", json_pack("{s:s}", "id", id), NULL),
                     KT_ERR_NOT_FOUND);
    json_decref(result);
    assert_int_equal(ask("operator", NULL, "token.list", NULL, &result), 0);
    assert_int_equal(json_array_size(result), 1);
    assert_null(json_object_get(json_array_get(result, 0), "sha256"));
    json_decref(result);
    assert_int_equal(ask("operator", NULL, "node.add", NULL, NULL), KT_ERR_NOT_MEMBER);
    assert_int_equal(ask("operator", NULL, "token.new", json_pack("{s:i}", "expires_s", 0), NULL),
                     KT_ERR_BAD_REQUEST);
}

// --- tokens ---

static json_t *join_args_with(EVP_PKEY *key, const char *node, const char *member)
{
    struct kt_buf csr = KT_BUF_INIT(8192);
    json_t *args;

    assert_int_equal(kt_pki_csr_make(key, &csr), 0);
    args = json_pack("{s:s, s:s, s:s#, s:s, s:i, s:i, s:i}", "node", node, "member", member, "csr",
                     kt_buf_ptr(&csr), (int)kt_buf_left(&csr), "address", "10.0.0.9", "agent_port",
                     11372, "database_port", 11381, "https_port", 11371);
    kt_buf_free(&csr);
    assert_non_null(args);
    return args;
}

static json_t *join_args(const char *node, const char *member)
{
    EVP_PKEY *key = NULL;
    json_t *args;

    assert_int_equal(kt_pki_new_p256(&key), 0);
    args = join_args_with(key, node, member);
    EVP_PKEY_free(key);
    return args;
}

static void a_token_lets_one_newcomer_in_and_hands_over_the_keys(void **state)
{
    json_t *result = NULL, *files;
    EVP_PKEY *key = NULL;
    X509 *cert = NULL;
    const char *pem;

    (void)state;
    assert_int_equal(kt_pki_new_p256(&key), 0);
    temp_text(".keytrustee/cluster.json", "{}");
    temp_text(".keytrustee/keytrustee.conf", "");
    temp_text(".keytrustee/init.lock", "");
    temp_text(".keytrustee/gpg.conf", "");
    temp_text(".keytrustee/ca/key.pem~", ""); // somebody's copy
    assert_int_equal(mkdir(temp_path(".keytrustee/secrets"), 0700), 0);
    temp_text(".keytrustee/secrets/role", "{}");
    assert_int_equal(
        ask(NULL, token, "join.begin", join_args_with(key, "kts-04", "kts-04.0000000a"), &result),
        0);
    files = json_object_get(result, "files");
    assert_non_null(json_object_get(files, "ca/cert.pem"));
    assert_string_equal(json_string_value(json_object_get(files, "secrets/role")), "e30=");
    assert_null(json_object_get(files, "cluster.json"));
    assert_null(json_object_get(files, "gpg.conf"));
    assert_null(json_object_get(files, "ca/key.pem~"));
    assert_null(json_object_get(files, "tls/node-key.pem"));
    assert_null(json_object_get(files, "keytrustee.conf"));
    assert_null(json_object_get(files, "init.lock"));
    pem = json_string_value(json_object_get(result, "node_cert"));
    assert_int_equal(kt_pki_cert_from_pem(pem, strlen(pem), &cert), 0);
    assert_int_equal(kt_pki_cert_check(cert, fixture.ca, kt_time_now()), 0);
    X509_free(cert);
    // No active is in sight here: the newcomer is known to this node at least.
    assert_true(json_is_null(json_object_get(result, "active")));
    assert_true(json_is_false(json_object_get(result, "registered")));
    assert_int_equal(json_array_size(json_object_get(result, "peers")), 4);
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(result, "settings"), "database.name")),
        "keytrustee");
    json_decref(result);
    // The same one again with its key: the same use. Another key, or another one: not.
    assert_int_equal(
        ask(NULL, token, "join.begin", join_args_with(key, "kts-04", "kts-04.0000000a"), NULL), 0);
    EVP_PKEY_free(key);
    assert_int_equal(ask(NULL, token, "join.begin", join_args("kts-04", "kts-04.0000000a"), NULL),
                     KT_ERR_TOKEN_INVALID);
    assert_int_equal(ask(NULL, token, "join.begin", join_args("kts-05", "kts-05.0000000b"), NULL),
                     KT_ERR_TOKEN_INVALID);
}

static void a_token_is_void_once_its_member_has_a_vote(void **state)
{
    const uint8_t key[KT_SHA256_LEN] = {7};
    struct kt_epoch_row row = {.epoch = 1, .sequence = 1, .active = "kts-01.00000001", .count = 1};
    struct kts_view view = {.rows = {.rows = &row, .count = 1}};
    struct kt_join_token parsed;
    struct kt_error why = {0};

    (void)state;
    fixture.agent.view = &view;
    snprintf(row.members[0], sizeof(row.members[0]), "kts-05.00000005");
    assert_int_equal(kt_join_token_parse(token, &parsed), 0);
    assert_int_equal(kts_token_use(&fixture.agent, &parsed, "kts-04.0000000a", key, &why), 0);
    assert_int_equal(kts_token_check(&fixture.agent, &parsed, &why), 0);
    snprintf(row.members[0], sizeof(row.members[0]), "kts-04.0000000a");
    assert_int_equal(kts_token_check(&fixture.agent, &parsed, &why), KT_ERR_TOKEN_INVALID);
    fixture.agent.view = NULL;
}

// What the list of nodes would not be read with costs neither the token nor the list.
static void an_address_that_no_list_holds_is_refused(void **state)
{
    static const char *const WRONG[] = {"fe80::1%eth0", "-10.0.0.9"};
    struct kt_peers peers;
    json_t *args;

    (void)state;
    for (size_t i = 0; i < sizeof(WRONG) / sizeof(WRONG[0]); i++) {
        args = join_args("kts-04", "kts-04.0000000a");
        json_object_set_new(args, "address", json_string(WRONG[i]));
        assert_int_equal(ask(NULL, token, "join.begin", args, NULL), KT_ERR_BAD_REQUEST);
    }
    assert_int_equal(kt_peers_load(fixture.paths.peers, &peers, NULL), 0);
    assert_int_equal(peers.count, 3);
    assert_int_equal(ask(NULL, token, "join.begin", join_args("kts-04", "kts-04.0000000a"), NULL),
                     0);
}

static void nobody_is_let_in_without_a_record(void **state)
{
    (void)state;
    atomic_store(&fixture.status->audit_open, 0); // shared with the agent
    assert_int_equal(ask(NULL, token, "join.begin", join_args("kts-04", "kts-04.0000000a"), NULL),
                     KT_ERR_AUDIT_UNAVAILABLE);
    assert_int_equal(ask("operator", NULL, "token.new", NULL, NULL), KT_ERR_AUDIT_UNAVAILABLE);
    assert_int_equal(ask("peer", NULL, "node.add", NULL, NULL), KT_ERR_AUDIT_UNAVAILABLE);
    atomic_store(&fixture.status->audit_open, 1); // the token is as it was
    assert_int_equal(ask(NULL, token, "join.begin", join_args("kts-04", "kts-04.0000000a"), NULL),
                     0);
}

// Of the only one; until the next call.
static const char *token_state(void)
{
    static char text[16];
    json_t *list = NULL;

    assert_int_equal(ask("operator", NULL, "token.list", NULL, &list), 0);
    snprintf(text, sizeof(text), "%s",
             json_string_value(json_object_get(json_array_get(list, 0), "state")));
    json_decref(list);
    return text;
}

static void a_newcomer_cannot_take_the_place_of_another(void **state)
{
    (void)state;
    assert_int_equal(ask(NULL, token, "join.begin", join_args("kts-02", PEER), NULL),
                     KT_ERR_EXISTS);
}

static void a_newcomer_cannot_have_the_name_of_this_node(void **state)
{
    (void)state;
    assert_int_equal(ask(NULL, token, "join.begin", join_args("kts-01", "kts-01.0000000c"), NULL),
                     KT_ERR_EXISTS);
}

static void a_name_that_is_refused_does_not_use_the_token(void **state)
{
    (void)state;
    assert_int_equal(ask(NULL, token, "join.begin", join_args("kts-01", "kts-01.0000000c"), NULL),
                     KT_ERR_EXISTS);
    assert_string_equal(token_state(), "open");
    assert_int_equal(ask(NULL, token, "join.begin", join_args("kts-04", "kts-04.0000000a"), NULL),
                     0);
    assert_string_equal(token_state(), "used");
}

static void a_token_serves_for_joining_only(void **state)
{
    (void)state;
    assert_int_equal(ask(NULL, token, "token.list", NULL, NULL), KT_ERR_NOT_MEMBER);
    assert_int_equal(ask(NULL, token, "node.add", NULL, NULL), KT_ERR_NOT_MEMBER);
    assert_int_equal(ask(NULL, token, "no.such", NULL, NULL), KT_ERR_NOT_MEMBER);
}

static void a_token_with_another_secret_is_refused(void **state)
{
    struct kt_join_token parsed;
    char text[KT_TOKEN_TEXT];

    (void)state;
    assert_int_equal(kt_join_token_parse(token, &parsed), 0);
    parsed.secret[3] ^= 1;
    assert_int_equal(kt_join_token_format(&parsed, text), 0);
    assert_int_equal(ask(NULL, text, "join.begin", join_args("kts-04", "kts-04.0000000a"), NULL),
                     KT_ERR_TOKEN_INVALID);
    assert_int_equal(ask(NULL, "nonsense", "join.begin", NULL, NULL), KT_ERR_TOKEN_INVALID);
}

// --- speaking by hand ---

struct wire {
    SSL_CTX *ctx;
    SSL *ssl;
    int fd;
};

static int connect_from(const char *source)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(fixture.port)};
    int fd = -1;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int i = 0; i < 500; i++) {
        struct sockaddr_in own = {.sin_family = AF_INET};
        assert_int_equal(inet_pton(AF_INET, source, &own.sin_addr), 1);
        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(fd, (struct sockaddr *)&own, sizeof(own)), 0);
        if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
            return fd;
        close(fd);
        usleep(10000);
    }
    fail_msg("nobody listens");
    return -1;
}

static int connect_fd(void)
{
    return connect_from("127.0.0.1");
}

static void open_wire(struct wire *wire, const char *who, int version)
{
    char path[512];

    wire->ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_max_proto_version(wire->ctx, version);
    if (who) {
        snprintf(path, sizeof(path), "%s/%s.pem", temp_dir, who);
        assert_int_equal(SSL_CTX_use_certificate_file(wire->ctx, path, SSL_FILETYPE_PEM), 1);
        snprintf(path, sizeof(path), "%s/%s-key.pem", temp_dir, who);
        assert_int_equal(SSL_CTX_use_PrivateKey_file(wire->ctx, path, SSL_FILETYPE_PEM), 1);
    }
    wire->ssl = SSL_new(wire->ctx);
    wire->fd = connect_fd();
    SSL_set_fd(wire->ssl, wire->fd);
}

static void close_wire(struct wire *wire)
{
    SSL_free(wire->ssl);
    SSL_CTX_free(wire->ctx);
    close(wire->fd);
    ERR_clear_error();
}

// Sends the text and gives the status of the answer; 0: closed without one.
static int say(struct wire *wire, const char *text, size_t n)
{
    char answer[4096] = "";
    size_t got = 0, sent = 0;
    int status = 0, length = 0;

    if (n && SSL_write_ex(wire->ssl, text, n, &sent) != 1)
        return 0;
    for (;;) {
        size_t more = 0;
        if (SSL_read_ex(wire->ssl, answer + got, sizeof(answer) - 1 - got, &more) != 1)
            break;
        got += more;
        answer[got] = '\0';
        char *end = strstr(answer, "\r\n\r\n"), *field = strstr(answer, "Content-Length: ");
        if (end && field && sscanf(field, "Content-Length: %d", &length) == 1 &&
            answer + got >= end + 4 + length)
            break;
    }
    sscanf(answer, "HTTP/1.1 %d ", &status);
    return status;
}

// What a stranger or `who` is answered to one text.
static int status_of(const char *who, const char *text)
{
    struct wire wire;
    int status;

    open_wire(&wire, who, TLS1_3_VERSION);
    assert_int_equal(SSL_connect(wire.ssl), 1);
    status = say(&wire, text, strlen(text));
    close_wire(&wire);
    return status;
}

#define HEAD " HTTP/1.1\r\nHost: keytrustee\r\n"
#define JSON "Content-Type: application/json\r\n"

static void malformed_requests_get_a_clear_answer(void **state)
{
    (void)state;
    assert_int_equal(status_of("peer", "GARBAGE\r\n\r\n"), 400);
    assert_int_equal(status_of("peer", "POST /v1/cluster/node.add HTTP/2.0\r\n\r\n"), 505);
    assert_int_equal(status_of("peer", "GET /v1/cluster/node.add" HEAD "\r\n"), 405);
    assert_int_equal(status_of("peer", "POST /v1/deposits/x" HEAD "\r\n"), 404);
    assert_int_equal(status_of("peer", "POST /v1/cluster/Node" HEAD "\r\n"), 404);
    assert_int_equal(status_of("peer", "POST /v1/cluster/node.add?x=1" HEAD "\r\n"), 404);
    assert_int_equal(status_of("peer", "POST /v1/cluster/node.add" HEAD "\r\n"), 411);
    assert_int_equal(
        status_of("peer", "POST /v1/cluster/node.add" HEAD "Content-Length: 2\r\n\r\n{}"), 415);
    assert_int_equal(
        status_of("peer", "POST /v1/cluster/node.add" HEAD JSON "Content-Length: 2\r\n\r\n[]"),
        400);
    assert_int_equal(
        status_of("peer", "POST /v1/cluster/node.add" HEAD JSON "Content-Length: 1048577\r\n\r\n"),
        413);
    assert_int_equal(
        status_of(NULL, "POST /v1/cluster/node.add" HEAD JSON "Content-Length: 1048577\r\n\r\n"),
        403);
    assert_int_equal(status_of(NULL, "POST /v1/cluster/join.begin" HEAD JSON
                                     "Authorization: Basic abc\r\nContent-Length: 2\r\n\r\n{}"),
                     400);
}

static void a_header_that_is_too_large_is_refused(void **state)
{
    static char text[20000];

    (void)state;
    memset(text, 'a', sizeof(text) - 1);
    memcpy(text, "POST /", 6);
    assert_int_equal(status_of("peer", text), 431);
}

static void a_connection_serves_several_requests(void **state)
{
    static const char TEXT[] = "POST /v1/cluster/node.add" HEAD JSON "Content-Length: 2\r\n\r\n{}";
    struct wire wire;

    (void)state;
    open_wire(&wire, "peer", TLS1_3_VERSION);
    assert_int_equal(SSL_connect(wire.ssl), 1);
    for (int i = 0; i < 3; i++)
        assert_int_equal(say(&wire, TEXT, strlen(TEXT)), 400);
    close_wire(&wire);
}

static void older_tls_is_not_spoken(void **state)
{
    struct wire wire;

    (void)state;
    open_wire(&wire, "peer", TLS1_2_VERSION);
    assert_int_not_equal(SSL_connect(wire.ssl), 1);
    close_wire(&wire);
}

static void what_is_not_tls_is_dropped(void **state)
{
    char byte;
    int fd = connect_fd();

    (void)state;
    assert_int_equal(send(fd, "GET / HTTP/1.0\r\n\r\n", 18, MSG_NOSIGNAL), 18);
    while (recv(fd, &byte, 1, 0) > 0)
        ;
    close(fd);
    assert_int_equal(ask("peer", NULL, "node.add", NULL, NULL), KT_ERR_BAD_REQUEST);
}

static void a_slow_sender_is_cut_and_keeps_nobody_waiting(void **state)
{
    int64_t until = kt_monotonic_now() + 20 * 1000000LL;
    struct wire wire;
    int asked = 0;

    (void)state;
    open_wire(&wire, "peer", TLS1_3_VERSION);
    assert_int_equal(SSL_connect(wire.ssl), 1);
    for (;;) {
        struct pollfd p = {.fd = wire.fd, .events = POLLIN};
        size_t sent;
        if (poll(&p, 1, 100) > 0) // the answer
            break;
        assert_true(kt_monotonic_now() < until);
        assert_int_equal(SSL_write_ex(wire.ssl, "P", 1, &sent), 1);
        if (!asked++)
            assert_int_equal(ask("peer", NULL, "node.add", NULL, NULL), KT_ERR_BAD_REQUEST);
    }
    assert_int_equal(say(&wire, "", 0), 408);
    close_wire(&wire);
}

// Long before the first of them is cut for saying nothing.
static void strangers_that_hold_connections_keep_no_node_out(void **state)
{
    int64_t begun_us;
    int fds[80];

    (void)state;
    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
        fds[i] = connect_fd();
    begun_us = kt_monotonic_now();
    assert_int_equal(ask("peer", NULL, "node.add", NULL, NULL), KT_ERR_BAD_REQUEST);
    assert_true(kt_monotonic_now() - begun_us < 3000000);
    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
        close(fds[i]);
}

// What makes a handshake of a node so short that no flood comes in between is not for it to choose.
static void a_flood_from_elsewhere_ends_no_handshake(void **state)
{
    static const char FLOODED[] = "POST /v1/cluster/Node" HEAD "\r\n";
    struct wire wire;
    int fds[160];

    (void)state;
    open_wire(&wire, "peer", TLS1_3_VERSION);
    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
        fds[i] = connect_from("127.0.0.2");
    usleep(200000); // all of them are accepted
    assert_int_equal(SSL_connect(wire.ssl), 1);
    assert_int_equal(say(&wire, FLOODED, strlen(FLOODED)), 404);
    close_wire(&wire);
    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
        close(fds[i]);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(who_has_no_certificate_is_no_member),
        CASE(a_clients_certificate_is_no_members),
        cmocka_unit_test_setup_teardown(who_is_listed_as_what_the_ca_did_not_sign_is_refused,
                                        set_up_impostors, tear_down),
        CASE(a_removed_nodes_certificate_is_refused),
        CASE(an_expired_certificate_is_refused),
        CASE(a_node_may_ask_for_what_nodes_may),
        CASE(a_renewal_is_asked_for_by_the_node_itself_and_listed_by_the_table_only),
        cmocka_unit_test_setup_teardown(in_a_renewal_the_old_certificate_does_not_come_back,
                                        set_up_renewal, tear_down),
        CASE(an_operator_may_make_and_revoke_tokens),
        CASE(a_token_lets_one_newcomer_in_and_hands_over_the_keys),
        CASE(a_token_is_void_once_its_member_has_a_vote),
        CASE(an_address_that_no_list_holds_is_refused),
        CASE(nobody_is_let_in_without_a_record),
        CASE(a_newcomer_cannot_take_the_place_of_another),
        CASE(a_newcomer_cannot_have_the_name_of_this_node),
        CASE(a_name_that_is_refused_does_not_use_the_token),
        CASE(a_token_serves_for_joining_only),
        CASE(a_token_with_another_secret_is_refused),
        CASE(malformed_requests_get_a_clear_answer),
        CASE(a_header_that_is_too_large_is_refused),
        CASE(a_connection_serves_several_requests),
        CASE(older_tls_is_not_spoken),
        CASE(what_is_not_tls_is_dropped),
        CASE(a_slow_sender_is_cut_and_keeps_nobody_waiting),
        CASE(strangers_that_hold_connections_keep_no_node_out),
        CASE(a_flood_from_elsewhere_ends_no_handshake),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
