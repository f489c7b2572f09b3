// SPDX-License-Identifier: Apache-2.0
// The workers' TLS material, which the master reads for them.
#include <string.h>

#include "kts/master.h"
#include "lib/file.h"
#include "lib/log.h"

#define PEM_MAX 32768

int kts_master_load_tls(struct kts_master *master, struct kt_error *error)
{
    const struct kt_paths *paths = master->paths;
    struct kt_buf cert = KT_BUF_INIT(PEM_MAX), ca = KT_BUF_INIT(PEM_MAX);
    struct kt_secret *key = NULL;
    char cluster_id[KT_UUID_TEXT];
    SSL_CTX *trial = NULL;
    int rc;

    kt_uuid_format(&master->info.cluster_id, cluster_id);
    // Made and thrown away: that the files fit is known before a worker depends on it.
    rc = kt_tls_server_new(paths->server_cert, paths->server_key, paths->ca_cert, cluster_id,
                           &trial, error);
    SSL_CTX_free(trial);
    if (rc == 0)
        rc = kt_file_read(paths->server_cert, &cert, error);
    if (rc == 0)
        rc = kt_file_read(paths->ca_cert, &ca, error);
    if (rc == 0)
        rc = kt_secret_from_file(paths->server_key, PEM_MAX, 0, &key, error);
    if (rc) {
        kt_buf_free(&cert);
        kt_buf_free(&ca);
        return rc;
    }
    kt_buf_free(&master->server_cert);
    kt_buf_free(&master->ca_cert);
    kt_secret_free(master->server_key);
    master->server_cert = cert;
    master->ca_cert = ca;
    master->server_key = key;
    return 0;
}

int kts_master_new_tickets(struct kts_master *master)
{
    struct kt_tls_tickets fresh;
    int rc;

    memcpy(fresh.previous, master->tickets.current, sizeof(fresh.previous));
    rc = kt_random(fresh.current, sizeof(fresh.current));
    if (rc == 0)
        master->tickets = fresh;
    kt_wipe(&fresh, sizeof(fresh));
    if (rc)
        kt_log_code(KT_LOG_ERROR, rc, "no new TLS ticket keys, the old ones stay");
    return rc;
}
