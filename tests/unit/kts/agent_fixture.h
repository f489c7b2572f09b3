// SPDX-License-Identifier: Apache-2.0
// An agent without PostgreSQL for unit tests: a folder with keys, certificates and peers, and the
// parts of the agent that a test asks for. Include behind cmocka.h.
#ifndef KT_TEST_AGENT_FIXTURE_H
#define KT_TEST_AGENT_FIXTURE_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "kts/agent_door.h"
#include "kts/agent_job.h"
#include "kts/agent_peers.h"
#include "kts/master.h"
#include "lib/file.h"
#include "lib/pki.h"
#include "tests/unit/lib/temp_dir.h"

#define OWN     "kts-01.00000001"
#define PEER    "kts-02.00000002"
#define REMOVED "kts-03.00000003"

static struct {
    struct kt_paths paths;
    struct kt_cluster_info info;
    struct kts_status *status;
    struct kts_audit_pages audit_pages;
    struct kts_start start;
    struct kts_agent agent;
    uint16_t port;
    EVP_PKEY *ca_key;
    X509 *ca;
    pid_t door;
    int door_control; // the master's end
} fixture;

// A certificate of the CA, as <name>.pem and <name>-key.pem in the folder; its SHA-256.
static inline void fixture_sign(const char *name, const struct kt_pki_subject *subject,
                                uint8_t sha256[KT_SHA256_LEN])
{
    char cert_path[512], key_path[512];
    EVP_PKEY *key = NULL;
    X509 *cert = NULL;

    snprintf(cert_path, sizeof(cert_path), "%s/%s.pem", temp_dir, name);
    snprintf(key_path, sizeof(key_path), "%s/%s-key.pem", temp_dir, name);
    assert_int_equal(kt_pki_new_p256(&key), 0);
    assert_int_equal(kt_pki_sign(fixture.ca_key, fixture.ca, key, subject, &cert), 0);
    assert_int_equal(kt_pki_key_save(key_path, key, NULL), 0);
    assert_int_equal(kt_pki_cert_save(cert_path, cert, NULL, NULL), 0);
    assert_int_equal(kt_pki_cert_sha256(cert, sha256), 0);
    X509_free(cert);
    EVP_PKEY_free(key);
}

static inline void fixture_cert(const char *name, enum kt_pki_role role, const char *common_name,
                                int64_t lifetime_s, uint8_t sha256[KT_SHA256_LEN])
{
    const struct kt_pki_subject subject = {
        .role = role, .common_name = common_name, .lifetime_s = lifetime_s};

    fixture_sign(name, &subject, sha256);
}

static inline uint16_t fixture_free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t n = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &n), 0);
    close(fd);
    return ntohs(address.sin_port);
}

static inline void fixture_peer(struct kt_peers *peers, const char *member, uint16_t port,
                                const uint8_t sha256[KT_SHA256_LEN], int removed)
{
    struct kt_peer *peer = &peers->peers[peers->count++];

    *peer = (struct kt_peer){
        .agent_port = port, .database_port = 1, .https_port = 1, .revision = 1, .removed = removed};
    snprintf(peer->member, sizeof(peer->member), "%s", member);
    snprintf(peer->address, sizeof(peer->address), "127.0.0.1");
    memcpy(peer->cert_sha256, sha256, KT_SHA256_LEN);
}

static inline void fixture_files(void)
{
    static struct kt_peers peers;
    uint8_t sha256[KT_SHA256_LEN];
    const struct kt_promise promise = {.member = OWN,
                                       .incarnation = {.number = 1, .bits = 7},
                                       .epoch = 1,
                                       .active = "kts-01",
                                       .active_since = 1};

    peers.count = 0;
    fixture_cert(".keytrustee/tls/node", KT_PKI_NODE, OWN, 3600, sha256);
    fixture_peer(&peers, OWN, fixture.port, sha256, 0);
    fixture_cert("peer", KT_PKI_NODE, PEER, 3600, sha256);
    fixture_peer(&peers, PEER, 1, sha256, 0);
    fixture_cert("removed", KT_PKI_NODE, REMOVED, 3600, sha256);
    fixture_peer(&peers, REMOVED, 1, sha256, 1);
    assert_int_equal(kt_peers_save(fixture.paths.peers, &peers, NULL), 0);
    assert_int_equal(kt_promise_save(fixture.paths.promise, &promise, NULL), 0);
}

// --- the door, in a process of its own ---

static inline void fixture_read_pem(const char *name, struct kt_buf *pem)
{
    char path[512];

    snprintf(path, sizeof(path), "%s/%s.pem", temp_dir, name);
    *pem = (struct kt_buf)KT_BUF_INIT(16384);
    assert_int_equal(kt_file_read(path, pem, NULL), 0);
}

static inline void fixture_run_door(const char *cert, int listen_fd, int control_fd)
{
    struct kts_start start = fixture.start;
    struct kt_buf chain;
    char key[512];

    signal(SIGPIPE, SIG_IGN);
    fixture_read_pem(cert, &start.tls_cert);
    assert_int_equal(kt_pki_cert_to_pem(fixture.ca, &start.tls_cert), 0);
    chain = (struct kt_buf)KT_BUF_INIT(16384);
    assert_int_equal(kt_pki_cert_to_pem(fixture.ca, &chain), 0);
    start.ca_cert = chain;
    snprintf(key, sizeof(key), "%s/%s-key.pem", temp_dir, cert);
    assert_int_equal(kt_secret_from_file(key, 16384, 0, &start.tls_key, NULL), 0);
    start.process = KTS_DOOR;
    start.control_fd = control_fd;
    start.listen_fd = listen_fd;
    _exit(kts_door_main(&start));
}

// The agent's end of a new link to the door.
static inline int fixture_link_door(void)
{
    uint8_t payload[] = {KTS_DOOR, KTS_AGENT, 0, 0};
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    assert_int_equal(kts_control_send(fixture.door_control, KTS_CTL_LINK, payload, 4, fds[1]), 0);
    close(fds[1]);
    return fds[0];
}

// Its port, with the certificate of that name, and no link yet.
static inline pid_t fixture_fork_door(const char *cert)
{
    int listen_fd = -1, control[2];
    pid_t pid;

    assert_int_equal(kts_listen("127.0.0.1", fixture.port, 64, "agent.port", &listen_fd, NULL), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, control),
                     0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(control[0]);
        fixture_run_door(cert, listen_fd, control[1]);
    }
    close(control[1]);
    close(listen_fd);
    fixture.door_control = control[0];
    return pid;
}

// The agent's side of the door too.
static inline void fixture_open_door(const char *cert)
{
    struct kt_error why = {0};

    fixture.door = fixture_fork_door(cert);
    assert_int_equal(kts_relay_start(&fixture.agent, &why), 0);
    assert_int_equal(kts_agent_attach(&fixture.agent.door, fixture_link_door()), 0);
}

static inline void fixture_close_door(void)
{
    kts_relay_stop(&fixture.agent); // the door ends with its link
    assert_int_equal(waitpid(fixture.door, NULL, 0), fixture.door);
    close(fixture.door_control);
}

static inline void fixture_noop(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
}

// Folder, keys, settings, and an agent with an event loop, nothing of it started.
static inline int fixture_set_up(void **state)
{
    static const char *const FOLDERS[] = {
        ".keytrustee", ".keytrustee/ca", ".keytrustee/tls", "node", "run", NULL};
    char number[8];

    if (temp_dir_setup(state))
        return -1;
    memset(&fixture, 0, sizeof(fixture));
    assert_int_equal(kt_paths_resolve(temp_dir, &fixture.paths, NULL), 0);
    for (size_t i = 0; FOLDERS[i]; i++)
        assert_int_equal(mkdir(temp_path(FOLDERS[i]), 0700), 0);
    snprintf(fixture.paths.node_cert, KT_PATH_MAX, "%s/.keytrustee/tls/node.pem", temp_dir);
    assert_int_equal(kt_pki_new_p256(&fixture.ca_key), 0);
    assert_int_equal(kt_pki_make_ca(fixture.ca_key, "test", 7200, &fixture.ca), 0);
    assert_int_equal(kt_pki_cert_save(fixture.paths.ca_cert, fixture.ca, NULL, NULL), 0);
    snprintf(fixture.info.node, sizeof(fixture.info.node), "kts-01");
    fixture.port = fixture_free_port();
    fixture_files();
    assert_int_equal(kts_status_new(&fixture.status), 0);
    assert_int_equal(kts_audit_pages_new(&fixture.audit_pages), 0);
    atomic_store(&fixture.status->audit_open, 1);
    fixture.start = (struct kts_start){.process = KTS_AGENT,
                                       .paths = &fixture.paths,
                                       .info = &fixture.info,
                                       .status = fixture.status,
                                       .audit_page = fixture.audit_pages.readable};
    assert_int_equal(kt_settings_new(&fixture.start.settings), 0);
    snprintf(number, sizeof(number), "%u", fixture.port);
    assert_int_equal(kt_settings_set(fixture.start.settings, KT_SET_AGENT_PORT, number, NULL), 0);
    assert_int_equal(
        kt_settings_set(fixture.start.settings, KT_SET_HTTPS_ADDRESS, "127.0.0.1", NULL), 0);
    assert_int_equal(
        kt_settings_set(fixture.start.settings, KT_SET_NODE_ADDRESS, "127.0.0.1", NULL), 0);
    fixture.agent.start = &fixture.start;
    fixture.agent.listen_fd = -1;
    fixture.agent.base = event_base_new();
    fixture.agent.watch = evtimer_new(fixture.agent.base, fixture_noop, NULL);
    fixture.agent.ca_key = fixture.ca_key;
    fixture.agent.ca_cert = fixture.ca;
    assert_int_equal(kt_pki_cert_sha256(fixture.ca, fixture.agent.ca_sha256), 0);
    assert_non_null(fixture.agent.watch);
    return 0;
}

static inline int fixture_tear_down(void **state)
{
    kts_jobs_end(&fixture.agent);
    kts_agent_peers_stop(&fixture.agent);
    event_free(fixture.agent.watch);
    event_base_free(fixture.agent.base);
    kt_settings_free(fixture.start.settings);
    EVP_PKEY_free(fixture.ca_key);
    X509_free(fixture.ca);
    return temp_dir_teardown(state);
}

#endif
