// SPDX-License-Identifier: Apache-2.0
// An operator's bundle: one file with certificate, key, the cluster's CA, and where the nodes are.
#ifndef KTA_OPERATOR_H
#define KTA_OPERATOR_H

#include <openssl/evp.h>

#include "lib/err.h"
#include "lib/peers.h"

#define KTA_AGENT_PORT         11372
#define KTA_BUNDLE_SERVERS_MAX 16

// The file must be the caller's alone and hold a certificate and a key. `servers`
// receives the lines "server: HOST:PORT".
int kta_bundle_check(const char *path, char servers[KTA_BUNDLE_SERVERS_MAX][KT_HOST_MAX + 16],
                     size_t *count, struct kt_error *error) KT_MUST_CHECK;
// Writes a new file, mode 0600: `title` (lines of text), the nodes, both certificates, the key.
int kta_bundle_save(const char *path, const char *title, const struct kt_peers *peers,
                    const char *cert_pem, const char *ca_pem, EVP_PKEY *key,
                    struct kt_error *error) KT_MUST_CHECK;

#endif
