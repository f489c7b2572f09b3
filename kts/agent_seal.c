// SPDX-License-Identifier: Apache-2.0
// Keys on their way from agent to agent, sealed to the CA's key.
#include "kts/agent_seal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/ca.h"
#include "lib/encode.h"
#include "lib/file.h"
#include "lib/pki.h"
#include "lib/seal.h"

static const char *text_of(const json_t *value)
{
    const char *text = json_string_value(value);

    return text ? text : "";
}

static int trusts(const json_t *ca, const char *root)
{
    const json_t *roots = json_object_get(ca, "roots"), *one;
    size_t i;

    json_array_foreach(roots, i, one)
    {
        if (strcmp(text_of(one), root) == 0)
            return 1;
    }
    return 0;
}

// In the phase "begun" it has the keys of all that it trusts, else that of the first.
static int has_key(const json_t *ca, const char *root)
{
    int begun = strcmp(text_of(json_object_get(ca, "phase")), kt_ca_phase_name(KT_CA_BEGUN)) == 0;

    return begun ? trusts(ca, root)
                 : strcmp(text_of(json_array_get(json_object_get(ca, "roots"), 0)), root) == 0;
}

static int newest(const struct kt_paths *paths, char root[KT_SHA256_TEXT], struct kt_error *error)
{
    uint8_t sha256[KT_SHA256_LEN];
    int rc = kt_ca_newest(paths, sha256, error);

    if (rc == 0)
        kt_hex_encode(sha256, sizeof(sha256), root);
    return rc;
}

int kts_seal_root_for(const struct kt_paths *paths, const json_t *state, char root[KT_SHA256_TEXT],
                      struct kt_error *error)
{
    const json_t *ca = json_object_get(state, "ca");
    int rc = newest(paths, root, error);

    if (rc == 0 && !has_key(ca, root))
        snprintf(root, KT_SHA256_TEXT, "%s",
                 text_of(json_array_get(json_object_get(ca, "roots"), 0)));
    return rc;
}

static int hash_of(X509 *ca, char root[KT_SHA256_TEXT])
{
    uint8_t sha256[KT_SHA256_LEN];
    int rc = kt_pki_cert_sha256(ca, sha256);

    if (rc == 0)
        kt_hex_encode(sha256, sizeof(sha256), root);
    return rc;
}

int kts_seal_root_here(const struct kt_paths *paths, X509 *ca, const json_t *state,
                       char root[KT_SHA256_TEXT], struct kt_error *error)
{
    int rc = newest(paths, root, error);

    if (rc == 0 && !trusts(json_object_get(state, "ca"), root) &&
        (!ca || (rc = hash_of(ca, root)) != 0))
        rc = kt_error_set(error, KT_ERR_CRYPTO, NULL, "this node's CA cannot be read");
    return rc;
}

static X509 *find_root(X509 *ca, const char *root)
{
    for (size_t i = 0; i < kt_pki_ca_count(ca); i++) {
        X509 *cert = kt_pki_ca_at(ca, i);
        char hex[KT_SHA256_TEXT];
        if ((i == 0 || kt_pki_is_root(cert)) && hash_of(cert, hex) == 0 && strcmp(hex, root) == 0)
            return cert;
    }
    return NULL;
}

int kts_seal_for(X509 *ca, const char *root, const char *purpose, const char *about,
                 const char *text, char **sealed, struct kt_error *error)
{
    struct kt_buf bytes = KT_BUF_INIT(KTS_SEALED_MAX);
    X509 *cert = ca ? find_root(ca, root) : NULL;
    char *base64 = NULL;
    int rc;

    if (!cert)
        return kt_error_set(error, KT_ERR_CERTIFICATE_UNKNOWN_CA,
                            "compare ktadmin status of both nodes, and run it again",
                            "the other node has a CA that this node does not know");
    rc = kt_seal(X509_get0_pubkey(cert), purpose, about, text, strlen(text), &bytes);
    if (rc == 0 && kt_buf_left(&bytes) / 3 * 4 + 8 > KTS_SEALED_MAX)
        rc = KT_ERR_TOO_LARGE;
    if (rc == 0 && !(base64 = malloc(KTS_SEALED_MAX)))
        rc = KT_ERR_NO_MEMORY;
    if (rc == 0) {
        kt_base64_encode(kt_buf_ptr(&bytes), kt_buf_left(&bytes), base64);
        *sealed = base64;
    } else {
        kt_error_set(error, rc, NULL, "a key cannot be sealed: %s", kt_err_text(rc));
    }
    kt_buf_free(&bytes);
    return rc;
}

// With the key that signs, or the next one: the other side may be a step ahead.
static int open_with(const char *path, const char *purpose, const char *about, const uint8_t *bytes,
                     size_t n, struct kt_secret **text, struct kt_error *error)
{
    EVP_PKEY *key = NULL;
    int rc = kt_pki_key_load(path, &key, error);

    if (rc == 0 && (rc = kt_unseal(key, purpose, about, bytes, n, text)) != 0)
        kt_error_set(error, rc, "see ktadmin status: the nodes must have the same CA",
                     "a sealed key cannot be opened: %s", kt_err_text(rc));
    EVP_PKEY_free(key);
    return rc;
}

int kts_seal_open(const struct kt_paths *paths, const char *purpose, const char *about,
                  const char *sealed, struct kt_secret **text, struct kt_error *error)
{
    size_t len = strlen(sealed), n = len / 4 * 3;
    uint8_t *bytes = malloc(n + 1);
    int rc = bytes ? kt_base64_decode(sealed, len, bytes, &n) : KT_ERR_NO_MEMORY;

    if (rc)
        kt_error_set(error, rc == KT_ERR_NO_MEMORY ? rc : KT_ERR_BAD_REQUEST, NULL,
                     "a sealed key cannot be read");
    if (rc == 0)
        rc = open_with(paths->ca_key, purpose, about, bytes, n, text, error);
    if (rc == KT_ERR_SIGNATURE && kt_file_exists(paths->ca_next_key))
        rc = open_with(paths->ca_next_key, purpose, about, bytes, n, text, error);
    free(bytes);
    return rc;
}
