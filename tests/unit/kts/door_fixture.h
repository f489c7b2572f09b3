// SPDX-License-Identifier: Apache-2.0
// The agent and its door in processes of their own, and asking them as nodes do.
#ifndef KT_TEST_AGENT_HTTP_FIXTURE_H
#define KT_TEST_AGENT_HTTP_FIXTURE_H

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

static pid_t server, door;
static int with_impostors, with_renewal;
static char token[KT_TOKEN_TEXT];

// --- the agent, in a process of its own ---

static inline void no_answer(struct kts_call *call, const json_t *result,
                             const struct kt_error *error)
{
    (void)call;
    (void)error;
    snprintf(token, sizeof(token), "%s", json_string_value(json_object_get(result, "token")));
}

static inline void make_token(void)
{
    struct kts_call call = {
        .agent = &fixture.agent, .caller = KTS_CALLER_LOCAL, .actor = "root", .answer = no_answer};

    kts_call_begin(&call);
    kts_verb_run(&call, "token.new", NULL);
    kts_call_end(&call);
    assert_string_not_equal(token, "");
}

// Listed, by whoever writes lists, as what they are not.
static inline void list_impostors(struct kts_operators *operators)
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
static inline void list_renewal(void)
{
    static struct kt_peers peers;
    struct kt_peer *peer = &peers.peers[1];

    assert_int_equal(kt_peers_load(fixture.paths.peers, &peers, NULL), 0);
    assert_string_equal(peer->member, PEER);
    memcpy(peer->cert_before, peer->cert_sha256, KT_SHA256_LEN);
    fixture_cert("fresh", KT_PKI_NODE, PEER, 3600, peer->cert_sha256);
    assert_int_equal(kt_peers_save(fixture.paths.peers, &peers, NULL), 0);
}

static inline int set_up(void **state)
{
    static struct kts_operators operators;
    uint8_t sha256[KT_SHA256_LEN];
    struct kt_error why = {0};
    int link_fd = -1;

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
    door = fixture_fork_door(".keytrustee/tls/node");
    link_fd = fixture_link_door();
    server = fork();
    if (server == 0) {
        signal(SIGPIPE, SIG_IGN);
        event_reinit(fixture.agent.base);
        if (kts_agent_peers_start(&fixture.agent, &why) || kts_relay_start(&fixture.agent, &why) ||
            kts_agent_attach(&fixture.agent.door, link_fd))
            _exit(1);
        event_base_dispatch(fixture.agent.base);
        _exit(1);
    }
    close(link_fd);
    return server > 0 ? 0 : -1;
}

static inline int set_up_impostors(void **state)
{
    with_impostors = 1;
    return set_up(state);
}

static inline int set_up_renewal(void **state)
{
    with_renewal = 1;
    return set_up(state);
}

static inline int tear_down(void **state)
{
    with_impostors = with_renewal = 0;
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
    waitpid(door, NULL, 0); // ends with its link
    close(fixture.door_control);
    return fixture_tear_down(state);
}

// --- asking properly ---

// The code of the answer; `who` is a certificate's name, or NULL.
static inline int ask(const char *who, const char *with_token, const char *verb, json_t *args,
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

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
