// SPDX-License-Identifier: Apache-2.0
// SHA-256, random bytes and Ed25519, as thin checked calls on OpenSSL.
#include "lib/digest.h"

#include <string.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

// Leaves nothing in OpenSSL's error queue, or SSL_get_error would blame the next connection.
static int refused(int code)
{
    ERR_clear_error();
    return code;
}

int kt_sha256(const void *bytes, size_t n, uint8_t out[KT_SHA256_LEN])
{
    unsigned len = 0;

    if (EVP_Digest(bytes, n, out, &len, EVP_sha256(), NULL) != 1 || len != KT_SHA256_LEN)
        return refused(KT_ERR_CRYPTO);
    return 0;
}

int kt_random(void *bytes, size_t n)
{
    uint8_t *at = bytes;

    while (n > 0) { // RAND_bytes counts in int
        int part = n > 65536 ? 65536 : (int)n;
        if (RAND_bytes(at, part) != 1)
            return refused(KT_ERR_CRYPTO);
        at += part;
        n -= (size_t)part;
    }
    return 0;
}

int kt_ed25519_sign(struct evp_pkey_st *key, const void *msg, size_t n,
                    uint8_t sig[KT_ED25519_SIG_LEN])
{
    EVP_MD_CTX *ctx;
    uint8_t fresh[KT_ED25519_SIG_LEN];
    size_t len = sizeof(fresh);
    int ok;

    if (!key || EVP_PKEY_get_id(key) != EVP_PKEY_ED25519)
        return KT_ERR_INVALID;
    ctx = EVP_MD_CTX_new();
    if (!ctx)
        return refused(KT_ERR_NO_MEMORY);
    ok = EVP_DigestSignInit(ctx, NULL, NULL, NULL, key) == 1 &&
         EVP_DigestSign(ctx, fresh, &len, msg, n) == 1 && len == sizeof(fresh);
    EVP_MD_CTX_free(ctx);
    if (!ok)
        return refused(KT_ERR_CRYPTO);
    memcpy(sig, fresh, sizeof(fresh));
    return 0;
}

int kt_ed25519_verify(const uint8_t pub[KT_ED25519_PUB_LEN], const void *msg, size_t n,
                      const uint8_t sig[KT_ED25519_SIG_LEN])
{
    EVP_PKEY *key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, pub, KT_ED25519_PUB_LEN);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    int rc = KT_ERR_CRYPTO;

    if (key && ctx && EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, key) == 1)
        rc = EVP_DigestVerify(ctx, sig, KT_ED25519_SIG_LEN, msg, n) == 1 ? 0 : KT_ERR_SIGNATURE;
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(key);
    return rc ? refused(rc) : 0;
}

int kt_ed25519_public(struct evp_pkey_st *key, uint8_t pub[KT_ED25519_PUB_LEN])
{
    uint8_t fresh[KT_ED25519_PUB_LEN];
    size_t len = sizeof(fresh);

    if (!key || EVP_PKEY_get_id(key) != EVP_PKEY_ED25519)
        return KT_ERR_INVALID;
    if (EVP_PKEY_get_raw_public_key(key, fresh, &len) != 1 || len != sizeof(fresh))
        return refused(KT_ERR_CRYPTO);
    memcpy(pub, fresh, sizeof(fresh));
    return 0;
}

int kt_ed25519_key_id(const uint8_t pub[KT_ED25519_PUB_LEN], uint8_t id[KT_KEY_ID_LEN])
{
    uint8_t hash[KT_SHA256_LEN];
    int rc = kt_sha256(pub, KT_ED25519_PUB_LEN, hash);

    if (rc)
        return rc;
    memcpy(id, hash, KT_KEY_ID_LEN);
    return 0;
}
