// SPDX-License-Identifier: Apache-2.0
// A node's folders with a real private PostgreSQL below them. Include behind cmocka.h.
#ifndef KT_TEST_REAL_CLUSTER_H
#define KT_TEST_REAL_CLUSTER_H

#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "db/cluster_inner.h"
#include "db/pg.h"
#include "lib/file.h"
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

// Folders, settings and cluster.json, without PostgreSQL.
static inline int real_folders(void)
{
    char confdir[300];

    memset(&real, 0, sizeof(real));
    if (temp_dir_setup(NULL) != 0)
        return -1;
    snprintf(confdir, sizeof(confdir), "%s/.keytrustee", temp_dir);
    if (kt_paths_resolve(confdir, &real.paths, NULL) != 0 || mkdir(real.paths.confdir, 0700) != 0 ||
        mkdir(real.paths.secrets, 0700) != 0 || mkdir(real.paths.run, 0700) != 0 ||
        mkdir(real.paths.logs, 0700) != 0 || kt_settings_new(&real.settings) != 0 ||
        kt_uuid_random(&real.info.cluster_id) != 0)
        return -1;
    strcpy(real.info.node, "kts-01");
    strcpy(real.info.openpgp_fingerprint, "0123456789ABCDEF0123456789ABCDEF01234567");
    return kt_cluster_info_save(real.paths.cluster, &real.info, NULL);
}

static inline void real_rows(struct db_first_rows *rows)
{
    memset(rows, 0, sizeof(*rows));
    rows->info = &real.info;
    rows->incarnation.number = 1;
    rows->incarnation.bits = 0x0123456789abcdefULL;
    rows->member = "kts-01.0a1b2c3d";
    rows->receipt_cert_pem = "receipt certificate";
    rows->node_cert_pem = "node certificate";
    memset(rows->receipt_key_id, 7, sizeof(rows->receipt_key_id));
    memset(rows->node_cert_sha256, 9, sizeof(rows->node_cert_sha256));
    rows->node_cert_not_after_us = INT64_C(1900000000000000);
}

// A populated and running cluster for all cases of a program.
static inline int real_setup(void **state)
{
    struct kt_error error = {0};
    struct db_first_rows rows;
    int done = 0, rc;

    (void)state;
    if (become_ordinary() != 0 || real_folders() != 0)
        return -1;
    setenv("KEYTRUSTEE_SCHEMA_DIR", KT_SOURCE_DIR "/db/schema", 1);
    real_rows(&rows);
    rc = db_cluster_open(&real.paths, real.settings, &real.cluster, &error);
    for (int role = 0; role < DB_ROLE_COUNT && rc == 0; role++)
        rc = db_secret_make(&real.paths, (enum db_role)role, &done, &error);
    if (rc == 0)
        rc = db_cluster_initdb(real.cluster, &done, &error);
    if (rc == 0)
        rc = db_cluster_configure(real.cluster, &done, &error);
    if (rc == 0)
        rc = db_cluster_start(real.cluster, 60, &error);
    if (rc == 0)
        rc = db_cluster_populate(real.cluster, &rows, &done, &error);
    if (rc)
        fprintf(stderr, "%s (%s)\n", error.message, error.hint);
    return rc;
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
