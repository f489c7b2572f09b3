// SPDX-License-Identifier: Apache-2.0
// The workers' TLS material, which the master reads for them.
#include <string.h>

#include "kts/master.h"
#include "lib/file.h"
#include "lib/log.h"

#define PEM_MAX 32768

// A context made and thrown away, of the bytes that the workers get: that they fit is known before
// a worker depends on it.
static int try_tls(const struct kts_master *master, const struct kt_buf *cert,
                   const struct kt_secret *key, const struct kt_buf *ca, struct kt_error *error)
{
    const struct kt_tls_pem pem = {
        .cert = kt_buf_ptr(cert),
        .cert_len = kt_buf_left(cert),
        .key = kt_secret_text(key),
        .key_len = kt_secret_len(key),
        .ca = kt_buf_ptr(ca),
        .ca_len = kt_buf_left(ca),
    };
    const struct kt_paths *paths = master->paths;
    char cluster_id[KT_UUID_TEXT];
    struct kt_error why = {0};
    SSL_CTX *trial = NULL;
    int rc;

    kt_uuid_format(&master->info.cluster_id, cluster_id);
    rc = kt_tls_server_new_pem(&pem, cluster_id, &trial, &why);
    SSL_CTX_free(trial);
    return rc ? kt_error_set(error, rc, NULL, "certificate '%s' with key '%s' and CA '%s': %s",
                             paths->server_cert, paths->server_key, paths->ca_cert, why.message)
              : 0;
}

int kts_master_load_tls(struct kts_master *master, struct kt_error *error)
{
    const struct kt_paths *paths = master->paths;
    struct kt_buf cert = KT_BUF_INIT(PEM_MAX), ca = KT_BUF_INIT(PEM_MAX);
    struct kt_secret *key = NULL;
    struct kt_error why = {0};
    int rc = 0;

    if (kt_file_read(paths->server_cert, &cert, &why))
        rc = kt_error_set(error, KT_ERR_CRYPTO, NULL, "no certificate: %s", why.message);
    if (rc == 0)
        rc = kt_file_read(paths->ca_cert, &ca, error);
    if (rc == 0)
        rc = kt_secret_from_file(paths->server_key, PEM_MAX, 0, &key, error);
    if (rc == 0)
        rc = try_tls(master, &cert, key, &ca, error);
    if (rc) {
        kt_buf_free(&cert);
        kt_buf_free(&ca);
        kt_secret_free(key);
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
