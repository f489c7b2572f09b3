// SPDX-License-Identifier: Apache-2.0
// A node's folders with a real private PostgreSQL below them. Include behind cmocka.h.
#ifndef KT_TEST_REAL_CLUSTER_H
#define KT_TEST_REAL_CLUSTER_H

#include <arpa/inet.h>
#include <grp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "db/cluster_inner.h"
#include "db/pg.h"
#include "lib/file.h"
#include "lib/pki.h"
#include "tests/unit/lib/temp_dir.h"

#define NOBODY 65534

// The little of libpq that tests need; its header is not on their path.
void PQfinish(PGconn *conn);
void PQclear(PGresult *result);
int PQntuples(const PGresult *result);
char *PQgetvalue(const PGresult *result, int row, int column);

struct real {
    struct kt_paths paths;
    struct kt_settings *settings;
    struct kt_cluster_info info;
    struct db_cluster *cluster;
    struct kt_peer peer;
};
static struct real real;

// PostgreSQL refuses to be run by root: the whole test then runs as nobody.
static inline int become_ordinary(void)
{
    return geteuid() == 0 && (setgroups(0, NULL) != 0 || setresgid(NOBODY, NOBODY, NOBODY) != 0 ||
                              setresuid(NOBODY, NOBODY, NOBODY) != 0)
               ? -1
               : 0;
}

// A port that nobody listens on at the moment.
static inline int real_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), port = 0;

    if (fd >= 0 && bind(fd, (struct sockaddr *)&address, n) == 0 &&
        getsockname(fd, (struct sockaddr *)&address, &n) == 0)
        port = ntohs(address.sin_port);
    if (fd >= 0)
        close(fd);
    return port;
}

static inline int real_settings(struct real *node)
{
    char port[8];

    snprintf(port, sizeof(port), "%d", real_port());
    return kt_settings_new(&node->settings) != 0 ||
                   kt_settings_set(node->settings, KT_SET_DATABASE_PORT, port, NULL) != 0 ||
                   kt_settings_set(node->settings, KT_SET_HTTPS_ADDRESS, "127.0.0.1", NULL) != 0
               ? -1
               : 0;
}

// Folders, settings and cluster.json below `base`, without keys and PostgreSQL. The node belongs to
// the cluster of `first`, unless that is NULL.
static inline int real_folders_of(struct real *node, const char *base, const char *name,
                                  const struct real *first)
{
    char confdir[512], inner[KT_PATH_MAX];
    static const char *const INNER[] = {"ca", "tls", "receipt"};

    memset(node, 0, sizeof(*node));
    snprintf(confdir, sizeof(confdir), "%s/.keytrustee", base);
    if (kt_paths_resolve(confdir, &node->paths, NULL) != 0 ||
        mkdir(node->paths.confdir, 0700) != 0 || mkdir(node->paths.secrets, 0700) != 0 ||
        mkdir(node->paths.run, 0700) != 0 || mkdir(node->paths.logs, 0700) != 0 ||
        mkdir(node->paths.node, 0700) != 0 || real_settings(node) != 0)
        return -1;
    for (size_t i = 0; i < 3; i++)
        if (kt_path_join(inner, sizeof(inner), node->paths.confdir, INNER[i]) != 0 ||
            mkdir(inner, 0700) != 0)
            return -1;
    if (first)
        node->info = first->info;
    else if (kt_uuid_random(&node->info.cluster_id) != 0)
        return -1;
    strcpy(node->info.node, name);
    strcpy(node->info.openpgp_fingerprint, "0123456789ABCDEF0123456789ABCDEF01234567");
    return kt_cluster_info_save(node->paths.cluster, &node->info, NULL);
}

// The CA (that of `first`, unless it is NULL), the node's certificate for `member`, and its entry.
static inline int real_keys(struct real *node, const char *member, const struct real *first)
{
    const struct kt_paths *of = first ? &first->paths : &node->paths;
    struct kt_pki_subject subject = {
        .role = KT_PKI_NODE, .common_name = member, .lifetime_s = 86400};
    EVP_PKEY *ca_key = NULL, *key = NULL;
    X509 *ca = NULL, *cert = NULL;
    int rc = first ? kt_pki_key_load(of->ca_key, &ca_key, NULL) : kt_pki_new_p256(&ca_key);

    if (rc == 0)
        rc = first ? kt_pki_cert_load(of->ca_cert, &ca, NULL)
                   : kt_pki_make_ca(ca_key, "test", 86400, &ca);
    if (rc == 0)
        rc = kt_pki_key_save(node->paths.ca_key, ca_key, NULL);
    if (rc == 0)
        rc = kt_pki_cert_save(node->paths.ca_cert, ca, NULL, NULL);
    if (rc == 0)
        rc = kt_pki_new_p256(&key);
    if (rc == 0)
        rc = kt_pki_sign(ca_key, ca, key, &subject, &cert);
    if (rc == 0)
        rc = kt_pki_key_save(node->paths.node_key, key, NULL);
    if (rc == 0)
        rc = kt_pki_cert_save(node->paths.node_cert, cert, ca, NULL);
    if (rc == 0)
        rc = kt_pki_cert_sha256(cert, node->peer.cert_sha256);
    X509_free(ca);
    X509_free(cert);
    EVP_PKEY_free(ca_key);
    EVP_PKEY_free(key);
    snprintf(node->peer.member, sizeof(node->peer.member), "%s", member);
    snprintf(node->peer.address, sizeof(node->peer.address), "127.0.0.1");
    node->peer.database_port = (uint16_t)kt_settings_number(node->settings, KT_SET_DATABASE_PORT);
    node->peer.agent_port = node->peer.https_port = 1;
    node->peer.revision = 1;
    return rc;
}

// Its promise: (epoch, active) of the first incarnation.
static inline int real_promise(struct real *node, uint64_t epoch, const char *active, int rewound)
{
    struct kt_promise promise = {.epoch = epoch,
                                 .incarnation = {.number = 1, .bits = 0x0123456789abcdefULL},
                                 .active_since = rewound ? 0 : epoch};

    snprintf(promise.member, sizeof(promise.member), "%s", node->peer.member);
    snprintf(promise.active, sizeof(promise.active), "%s", active);
    return kt_promise_save(node->paths.promise, &promise, NULL);
}

// One node in the case's own folder.
static inline int real_folders(void)
{
    return temp_dir_setup(NULL) != 0 || real_folders_of(&real, temp_dir, "kts-01", NULL) != 0 ? -1
                                                                                              : 0;
}

static inline void real_rows_of(const struct real *node, struct db_first_rows *rows)
{
    memset(rows, 0, sizeof(*rows));
    rows->info = &node->info;
    rows->incarnation.number = 1;
    rows->incarnation.bits = 0x0123456789abcdefULL;
    rows->member = node->peer.member;
    rows->receipt_cert_pem = "receipt certificate";
    memset(rows->receipt_key_id, 7, sizeof(rows->receipt_key_id));
    memcpy(rows->node_cert_sha256, node->peer.cert_sha256, sizeof(rows->node_cert_sha256));
    rows->node_cert_not_after_us = INT64_C(1900000000000000);
    rows->self = &node->peer;
}

static inline void real_rows(struct db_first_rows *rows)
{
    real_rows_of(&real, rows);
}

// Makes, starts and populates the database of a first node whose folders are there.
static inline int real_make(struct real *node, const char *member)
{
    struct kt_error error = {0};
    struct db_first_rows rows;
    int done = 0, rc = real_keys(node, member, NULL);

    setenv("KEYTRUSTEE_SCHEMA_DIR", KT_SOURCE_DIR "/db/schema", 1);
    real_rows_of(node, &rows);
    if (rc == 0)
        rc = real_promise(node, 1, node->info.node, 0);
    if (rc == 0)
        rc = db_cluster_open(&node->paths, node->settings, &node->cluster, &error);
    for (int role = 0; role < DB_ROLE_COUNT && rc == 0; role++)
        rc = db_secret_make(&node->paths, (enum db_role)role, &done, &error);
    if (rc == 0)
        rc = db_cluster_initdb(node->cluster, &done, &error);
    if (rc == 0)
        rc = db_cluster_configure(node->cluster, &done, &error);
    if (rc == 0)
        rc = db_cluster_start(node->cluster, 60, &error);
    if (rc == 0)
        rc = db_cluster_populate(node->cluster, &rows, &done, &error);
    if (rc)
        fprintf(stderr, "%s (%s)\n", error.message, error.hint);
    return rc;
}

// A populated and running cluster for all cases of a program.
static inline int real_setup(void **state)
{
    (void)state;
    return become_ordinary() != 0 || real_folders() != 0 ? -1 : real_make(&real, "kts-01.0a1b2c3d");
}

static inline int real_teardown(void **state)
{
    struct kt_error error = {0};
    int rc = real.cluster ? db_cluster_stop(real.cluster, 60, &error) : 0;

    if (rc)
        fprintf(stderr, "%s\n", error.message);
    db_cluster_close(real.cluster);
    kt_settings_free(real.settings);
    return temp_dir_teardown(state);
}

#endif
