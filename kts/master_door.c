// SPDX-License-Identifier: Apache-2.0
// What the master does for the door: the port for nodes and operators, and the node's certificate
// and key. Without them the node serves its clients, but no other node reaches it.
#include <string.h>
#include <unistd.h>

#include "kts/master.h"
#include "kts/worker.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/pki.h"

#define BACKLOG  64
#define AGAIN_MS 5000 // when the port could not be opened
#define PEM_MAX  32768

// --- certificate ---

// The chain ends in the CA's certificates: who has nothing but a token's fingerprint finds it there.
static int read_chain(const struct kts_master *master, struct kt_buf *pem, struct kt_error *error)
{
    X509 *cert = NULL, *ca = NULL;
    int rc = kt_pki_cert_load(master->paths->node_cert, &cert, error);

    if (rc == 0)
        rc = kt_pki_ca_load(master->paths->ca_cert, &ca, error);
    if (rc == 0 && (kt_pki_cert_to_pem(cert, pem) || kt_pki_chain_to_pem(ca, pem)))
        rc = kt_error_set(error, KT_ERR_TOO_LARGE, NULL, "the node's certificate is too large");
    X509_free(cert);
    X509_free(ca);
    return rc;
}

static int try_tls(const struct kts_master *master, const struct kt_buf *cert,
                   const struct kt_secret *key, struct kt_error *error)
{
    const struct kt_tls_pem pem = {
        .cert = kt_buf_ptr(cert),
        .cert_len = kt_buf_left(cert),
        .key = kt_secret_text(key),
        .key_len = kt_secret_len(key),
        .ca = kt_buf_ptr(&master->ca_cert),
        .ca_len = kt_buf_left(&master->ca_cert),
    };
    char cluster_id[KT_UUID_TEXT];
    SSL_CTX *trial = NULL;
    int rc;

    kt_uuid_format(&master->info.cluster_id, cluster_id);
    rc = kt_tls_server_new_pem(&pem, cluster_id, &trial, error);
    SSL_CTX_free(trial);
    return rc;
}

int kts_master_load_node_tls(struct kts_master *master, struct kt_error *error)
{
    struct kt_buf cert = KT_BUF_INIT(PEM_MAX);
    struct kt_secret *key = NULL;
    int rc = read_chain(master, &cert, error);

    if (rc == 0)
        rc = kt_secret_from_file(master->paths->node_key, PEM_MAX, 0, &key, error);
    if (rc == 0)
        rc = try_tls(master, &cert, key, error);
    if (rc) {
        kt_buf_free(&cert);
        kt_secret_free(key);
        return rc;
    }
    kt_buf_free(&master->node_cert);
    kt_secret_free(master->node_key);
    master->node_cert = cert;
    master->node_key = key;
    return 0;
}

// --- the port ---

static int open_door(struct kts_master *master, struct kt_error *error)
{
    struct kts_child *child;
    int rc = 0;

    if (!master->node_key) {
        kts_master_as_owner(master);
        rc = kts_master_load_node_tls(master, error);
        kts_master_as_root(master);
    }
    if (rc == 0)
        rc = kts_listen(kt_settings_text(master->settings, KT_SET_HTTPS_ADDRESS),
                        (int)kt_settings_number(master->settings, KT_SET_AGENT_PORT), BACKLOG,
                        "agent.port", &master->door_fd, error);
    if (rc)
        return rc;
    rc = kts_child_new(master, KTS_DOOR, 0, &child);
    if (rc) {
        kts_master_door_close(master);
        return kt_error_set(error, rc, NULL, "out of memory");
    }
    kts_child_start(child);
    return 0;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct timeval t = kts_milliseconds(AGAIN_MS);
    struct kts_master *master = arg;
    struct kt_error why = {0};

    (void)fd;
    (void)what;
    if (master->stopping)
        return;
    if (open_door(master, &why) == 0) {
        if (master->door_complained)
            kt_log(KT_LOG_NOTICE, "the agent's port is open now");
        return;
    }
    if (!master->door_complained)
        kt_log_error(&why, "the agent's port cannot be opened, it is tried again");
    master->door_complained = 1;
    event_add(master->door_timer, &t);
}

int kts_master_door_start(struct kts_master *master)
{
    master->door_timer = evtimer_new(master->base, on_timer, master);
    if (!master->door_timer)
        return KT_ERR_NO_MEMORY;
    on_timer(-1, 0, master);
    return 0;
}

void kts_master_door_close(struct kts_master *master)
{
    if (master->door_fd >= 0)
        close(master->door_fd);
    master->door_fd = -1;
}
