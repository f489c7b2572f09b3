// SPDX-License-Identifier: Apache-2.0
// The steps of init that make the database: secrets, data directory, settings, content.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ktadmin/init.h"
#include "lib/file.h"
#include "lib/pki.h"

#define START_S 120
#define STOP_S  120

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

// What the first rows say of the receipt key and of the node's certificate. *receipt is
// the PEM text that `rows` points to.
static int read_certificates(const struct kt_paths *paths, struct db_first_rows *rows,
                             char **receipt, struct kt_error *error)
{
    uint8_t public_key[KT_ED25519_PUB_LEN];
    EVP_PKEY *key = NULL;
    X509 *cert = NULL;
    int64_t from;
    int rc = kt_file_read_text(paths->receipt_cert, 65536, receipt, error);

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
out:
    X509_free(cert);
    EVP_PKEY_free(key);
    return rc;
}

// run/init-db says that it was init that started PostgreSQL: a repeated run stops it then.
static int note_path(const struct kta_init *init, char out[KT_PATH_MAX], struct kt_error *error)
{
    int rc = kt_path_join(out, KT_PATH_MAX, init->paths.run, "init-db");

    return rc ? kt_error_set(error, rc, NULL, "the path of the run folder is too long") : 0;
}

static int start_database(struct kta_init *init, struct kt_error *error)
{
    char note[KT_PATH_MAX];
    enum db_run_state state;
    long pid;
    int rc = db_cluster_state(init->cluster, &state, &pid, error);

    if (rc == 0)
        rc = note_path(init, note, error);
    if (rc == 0 && state == DB_STOPPED)
        rc = kt_file_replace(note, "", 0, 0600, error);
    return rc ? rc : db_cluster_start(init->cluster, START_S, error);
}

// Only what init started.
static int stop_database(struct kta_init *init, struct kt_error *error)
{
    char note[KT_PATH_MAX];
    int rc = note_path(init, note, error);

    if (rc || !kt_file_exists(note))
        return rc;
    rc = db_cluster_stop(init->cluster, STOP_S, error);
    if (rc == 0 && unlink(note) != 0)
        rc = kt_error_errno(error, "cannot remove '%s'", note);
    return rc;
}

int kta_init_populate(struct kta_init *init, int *done, struct kt_error *error)
{
    struct db_first_rows rows = {.info = &init->info,
                                 .incarnation = init->promise.incarnation,
                                 .member = init->promise.member};
    const struct kt_peer *self;
    struct kt_peers peers;
    char *receipt = NULL;
    int stopped, rc;

    *done = db_cluster_is_populated(init->cluster);
    if (*done)
        return stop_database(init, error);
    rc = read_certificates(&init->paths, &rows, &receipt, error);
    if (rc == 0)
        rc = kt_peers_load(init->paths.peers, &peers, error);
    if (rc == 0) {
        self = kt_peers_by_member(&peers, init->promise.member);
        rows.self = self;
        if (!self)
            rc = kt_error_set(error, KT_ERR_NOT_OURS, "remove the file and repeat init",
                              "'%s' does not name member '%s'", init->paths.peers,
                              init->promise.member);
    }
    if (rc == 0)
        rc = start_database(init, error);
    if (rc == 0)
        rc = db_cluster_populate(init->cluster, &rows, done, error);
    stopped = stop_database(init, rc ? NULL : error);
    free(receipt);
    return rc ? rc : stopped;
}
