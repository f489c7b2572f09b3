// SPDX-License-Identifier: Apache-2.0
// Writing and reading operators' bundles: PEM blocks, with lines of text before them.
#include "ktadmin/operator.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/pem.h>

#include "lib/file.h"
#include "lib/http_client.h"
#include "lib/pki.h"
#include "lib/secret.h"

#define BUNDLE_MAX 65536
#define SERVER     "server: "

static int read_servers(const char *text, char servers[KTA_BUNDLE_SERVERS_MAX][KT_HOST_MAX + 16],
                        size_t *count)
{
    *count = 0;
    for (const char *at = text; *at;) {
        size_t n = strcspn(at, "\n");
        if (strncmp(at, SERVER, strlen(SERVER)) == 0 && *count < KTA_BUNDLE_SERVERS_MAX) {
            size_t len = n - strlen(SERVER);
            if (len == 0 || len >= KT_HOST_MAX + 16)
                return KT_ERR_INVALID;
            memcpy(servers[*count], at + strlen(SERVER), len);
            servers[*count][len] = '\0';
            if (kt_http_server_check(servers[*count]) != 0)
                return KT_ERR_INVALID;
            (*count)++;
        }
        at += n + (at[n] == '\n');
    }
    return 0;
}

int kta_bundle_check(const char *path, char servers[KTA_BUNDLE_SERVERS_MAX][KT_HOST_MAX + 16],
                     size_t *count, struct kt_error *error)
{
    char *text = NULL;
    int rc = kt_file_check_private(path, 1, error);

    if (rc == 0)
        rc = kt_file_read_text(path, BUNDLE_MAX, &text, error);
    if (rc)
        return rc;
    if (!strstr(text, "-----BEGIN CERTIFICATE-----") || !strstr(text, "PRIVATE KEY-----") ||
        read_servers(text, servers, count) != 0)
        rc = kt_error_set(error, KT_ERR_INVALID, "make one with ktadmin operator new",
                          "'%.300s' is not an operator's bundle", path);
    kt_wipe(text, strlen(text));
    free(text);
    return rc;
}

static int put_key(EVP_PKEY *key, struct kt_buf *out)
{
    BIO *bio = BIO_new(BIO_s_secmem());
    char *bytes = NULL;
    long n;
    int rc = bio && PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1
                 ? 0
                 : KT_ERR_CRYPTO;

    if (rc == 0) {
        n = BIO_get_mem_data(bio, &bytes);
        rc = n > 0 ? kt_buf_put(out, bytes, (size_t)n) : KT_ERR_CRYPTO;
    }
    BIO_free(bio);
    return rc;
}

static int put_text(struct kt_buf *out, const char *text)
{
    return kt_buf_put(out, text, strlen(text));
}

int kta_bundle_save(const char *path, const char *title, const struct kt_peers *peers,
                    const char *cert_pem, const char *ca_pem, EVP_PKEY *key, struct kt_error *error)
{
    struct kt_buf out = KT_BUF_INIT(BUNDLE_MAX);
    char line[KT_HOST_MAX + 64];
    int rc = put_text(&out, title);

    for (size_t i = 0; i < peers->count && rc == 0; i++) {
        const struct kt_peer *peer = &peers->peers[i];
        if (peer->removed || peer->address[0] == '\0')
            continue;
        snprintf(line, sizeof(line),
                 strchr(peer->address, ':') ? SERVER "[%s]:%u\n" : SERVER "%s:%u\n", peer->address,
                 (unsigned)peer->agent_port);
        rc = put_text(&out, line);
    }
    if (rc == 0)
        rc = put_text(&out, cert_pem);
    if (rc == 0)
        rc = put_text(&out, ca_pem);
    if (rc == 0)
        rc = put_key(key, &out);
    if (rc)
        kt_error_set(error, rc, NULL, "cannot make the bundle");
    else
        rc = kt_file_create(path, kt_buf_ptr(&out), kt_buf_left(&out), 0600, error);
    kt_wipe((void *)(uintptr_t)kt_buf_ptr(&out), kt_buf_left(&out));
    kt_buf_free(&out);
    return rc;
}
