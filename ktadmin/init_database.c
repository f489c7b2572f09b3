// SPDX-License-Identifier: Apache-2.0
// The steps of init that make the database: secrets, data directory, settings, content.
#include <stdlib.h>
#include <string.h>

#include "ktadmin/init.h"
#include "lib/file.h"
#include "lib/pki.h"

#define START_S 120
#define STOP_S 120

int kta_init_secrets(struct kta_init *init, int *done, struct kt_error *error)
{
    int rc = 0;

    *done = 1;
    for (int role = 0; role < DB_ROLE_COUNT && rc == 0; role++) {
        int there = 0;
        rc = db_secret_make(&init->paths, (enum db_role)role, &there, error);
        *done &= there;
    }
    return rc;
}

int kta_init_initdb(struct kta_init *init, int *done, struct kt_error *error)
{
    return db_cluster_initdb(init->cluster, done, error);
}

int kta_init_configure(struct kta_init *init, int *done, struct kt_error *error)
{
    return db_cluster_configure(init->cluster, done, error);
}

// What the first rows say of the receipt key and of the node's certificate. *receipt and *node are
// the PEM texts that `rows` points to.
static int read_certificates(const struct kt_paths *paths, struct db_first_rows *rows,
                             char **receipt, char **node, struct kt_error *error)
{
    uint8_t public_key[KT_ED25519_PUB_LEN];
    EVP_PKEY *key = NULL;
    X509 *cert = NULL;
    int64_t from;
    int rc = kt_file_read_text(paths->receipt_cert, 65536, receipt, error);

    if (rc == 0)
        rc = kt_file_read_text(paths->node_cert, 65536, node, error);
    if (rc == 0)
        rc = kt_pki_key_load(paths->receipt_key, &key, error);
    if (rc == 0)
        rc = kt_pki_cert_load(paths->node_cert, &cert, error);
    if (rc)
        goto out;
    rc = kt_ed25519_public(key, public_key);
    if (rc == 0)
        rc = kt_ed25519_key_id(public_key, rows->receipt_key_id);
    if (rc == 0)
        rc = kt_pki_cert_sha256(cert, rows->node_cert_sha256);
    if (rc == 0)
        rc = kt_pki_cert_validity(cert, &from, &rows->node_cert_not_after_us);
    if (rc)
        kt_error_set(error, rc, NULL, "cannot read the keys that the database is to know");
    rows->receipt_cert_pem = *receipt;
    rows->node_cert_pem = *node;
out:
    X509_free(cert);
    EVP_PKEY_free(key);
    return rc;
}

// The database is up for as long as it takes, and as it was afterwards.
static int populate_running(struct kta_init *init, const struct db_first_rows *rows, int *done,
                            struct kt_error *error)
{
    struct kt_error late;
    enum db_run_state before;
    long pid;
    int stopped, rc = db_cluster_state(init->cluster, &before, &pid, error);

    if (rc == 0)
        rc = db_cluster_start(init->cluster, START_S, error);
    if (rc)
        return rc;
    rc = db_cluster_populate(init->cluster, rows, done, error);
    if (before != DB_STOPPED)
        return rc;
    stopped = db_cluster_stop(init->cluster, STOP_S, &late);
    if (rc == 0 && stopped)
        rc = kt_error_set(error, stopped, late.hint, "%s", late.message);
    return rc;
}

int kta_init_populate(struct kta_init *init, int *done, struct kt_error *error)
{
    struct db_first_rows rows = {.info = &init->info,
                                 .incarnation = init->promise.incarnation,
                                 .member = init->promise.member};
    char *receipt = NULL, *node = NULL;
    int rc;

    *done = db_cluster_is_populated(init->cluster);
    if (*done)
        return 0;
    rc = read_certificates(&init->paths, &rows, &receipt, &node, error);
    if (rc == 0)
        rc = populate_running(init, &rows, done, error);
    free(receipt);
    free(node);
    return rc;
}
