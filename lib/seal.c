// SPDX-License-Identifier: Apache-2.0
// Sealing to a public key: HPKE (RFC 9180), base mode. Labels and numbers are the RFC's.
#include "lib/seal.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>

#include "lib/digest.h"
#include "lib/pki.h"

#define POINT_LEN 65 // uncompressed
#define HASH_LEN  32
#define KEY_LEN   16
#define NONCE_LEN 12
#define TAG_LEN   16
#define INFO_MAX  64

_Static_assert(KT_SEAL_EXTRA == POINT_LEN + TAG_LEN, "what a seal adds");

// "KEM" 0x0010: DHKEM(P-256, HKDF-SHA256); then 0x0001 HKDF-SHA256, 0x0001 AES-128-GCM.
static const uint8_t KEM_SUITE[] = {'K', 'E', 'M', 0, 0x10};
static const uint8_t HPKE_SUITE[] = {'H', 'P', 'K', 'E', 0, 0x10, 0, 1, 0, 1};

struct suite {
    const uint8_t *id;
    size_t len;
};
static const struct suite KEM = {KEM_SUITE, sizeof(KEM_SUITE)};
static const struct suite HPKE = {HPKE_SUITE, sizeof(HPKE_SUITE)};

struct bytes {
    const void *at;
    size_t len;
};

// What is hashed: a label with its suite, and up to two points.
struct labeled {
    uint8_t at[256];
    size_t len;
};

static void put(struct labeled *text, const void *bytes, size_t n)
{
    // What is put never comes from outside but for INFO_MAX; a length over the room fails at hmac().
    if (n > 0 && text->len + n <= sizeof(text->at))
        memcpy(text->at + text->len, bytes, n);
    text->len += n;
}

static void put_label(struct labeled *text, const struct suite *suite, const char *label)
{
    put(text, "HPKE-v1", 7);
    put(text, suite->id, suite->len);
    put(text, label, strlen(label));
}

static int hmac(const uint8_t key[HASH_LEN], struct labeled *text, uint8_t out[HASH_LEN])
{
    unsigned len = HASH_LEN;
    int rc = text->len <= sizeof(text->at) &&
                     HMAC(EVP_sha256(), key, HASH_LEN, text->at, text->len, out, &len)
                 ? 0
                 : KT_ERR_CRYPTO;

    kt_wipe(text, sizeof(*text));
    return rc;
}

// LabeledExtract. No salt is one of zeros.
static int extract(const struct suite *suite, const uint8_t *salt, const char *label,
                   struct bytes input, uint8_t out[HASH_LEN])
{
    static const uint8_t ZEROS[HASH_LEN];
    struct labeled text = {.len = 0};

    put_label(&text, suite, label);
    put(&text, input.at, input.len);
    return hmac(salt ? salt : ZEROS, &text, out);
}

// LabeledExpand, for results of one hash at most.
static int expand(const struct suite *suite, const uint8_t key[HASH_LEN], const char *label,
                  struct bytes info, uint8_t *out, size_t n)
{
    const uint8_t length[2] = {0, (uint8_t)n}, one = 1;
    struct labeled text = {.len = 0};
    uint8_t block[HASH_LEN];
    int rc;

    put(&text, length, sizeof(length));
    put_label(&text, suite, label);
    put(&text, info.at, info.len);
    put(&text, &one, 1);
    rc = hmac(key, &text, block);
    if (rc == 0)
        memcpy(out, block, n);
    kt_wipe(block, sizeof(block));
    return rc;
}

// --- the key that both sides get ---

static int point_of(EVP_PKEY *key, uint8_t point[POINT_LEN])
{
    char group[32];
    size_t len = 0;

    if (EVP_PKEY_get_group_name(key, group, sizeof(group), &len) != 1 ||
        strcmp(group, "prime256v1") != 0)
        return KT_ERR_INVALID;
    return EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, point,
                                           POINT_LEN, &len) == 1 &&
                   len == POINT_LEN && point[0] == 4
               ? 0
               : KT_ERR_CRYPTO;
}

// A point that is not on the curve makes no key.
static int key_of(const uint8_t point[POINT_LEN], EVP_PKEY **key)
{
    char group[] = "prime256v1";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, (void *)(uintptr_t)point,
                                          POINT_LEN),
        OSSL_PARAM_construct_end(),
    };
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    EVP_PKEY *made = NULL;
    int is_made = ctx && EVP_PKEY_fromdata_init(ctx) == 1 &&
                  EVP_PKEY_fromdata(ctx, &made, EVP_PKEY_PUBLIC_KEY, params) == 1;

    EVP_PKEY_CTX_free(ctx);
    ERR_clear_error();
    if (is_made)
        *key = made;
    return is_made ? 0 : KT_ERR_SIGNATURE;
}

static int agree(EVP_PKEY *own, EVP_PKEY *other, uint8_t shared[HASH_LEN])
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(own, NULL);
    size_t len = HASH_LEN;
    int is_agreed = ctx && EVP_PKEY_derive_init(ctx) == 1 &&
                    EVP_PKEY_derive_set_peer(ctx, other) == 1 &&
                    EVP_PKEY_derive(ctx, shared, &len) == 1 && len == HASH_LEN;

    EVP_PKEY_CTX_free(ctx);
    ERR_clear_error();
    return is_agreed ? 0 : KT_ERR_CRYPTO;
}

// ExtractAndExpand of the KEM: `points` are the ephemeral one and the receiver's.
static int shared_secret(EVP_PKEY *own, EVP_PKEY *other, const uint8_t points[2 * POINT_LEN],
                         uint8_t secret[HASH_LEN])
{
    uint8_t dh[HASH_LEN], key[HASH_LEN];
    int rc = agree(own, other, dh);

    if (rc == 0)
        rc = extract(&KEM, NULL, "eae_prk", (struct bytes){dh, sizeof(dh)}, key);
    if (rc == 0)
        rc = expand(&KEM, key, "shared_secret", (struct bytes){points, (size_t)2 * POINT_LEN},
                    secret, HASH_LEN);
    kt_wipe(dh, sizeof(dh));
    kt_wipe(key, sizeof(key));
    return rc;
}

struct schedule {
    uint8_t key[KEY_LEN], nonce[NONCE_LEN];
};

// KeySchedule of the base mode, without a PSK.
static int make_schedule(const uint8_t shared[HASH_LEN], const char *purpose,
                         struct schedule *schedule)
{
    uint8_t context[1 + 2 * HASH_LEN] = {0}, secret[HASH_LEN];
    const struct bytes info = {purpose, strlen(purpose)}, all = {context, sizeof(context)},
                       nothing = {NULL, 0};
    int rc = info.len > INFO_MAX ? KT_ERR_TOO_LARGE
                                 : extract(&HPKE, NULL, "psk_id_hash", nothing, context + 1);

    if (rc == 0)
        rc = extract(&HPKE, NULL, "info_hash", info, context + 1 + HASH_LEN);
    if (rc == 0)
        rc = extract(&HPKE, shared, "secret", nothing, secret);
    if (rc == 0)
        rc = expand(&HPKE, secret, "key", all, schedule->key, KEY_LEN);
    if (rc == 0)
        rc = expand(&HPKE, secret, "base_nonce", all, schedule->nonce, NONCE_LEN);
    kt_wipe(secret, sizeof(secret));
    return rc;
}

static int schedule_of(EVP_PKEY *own, EVP_PKEY *other, const uint8_t points[2 * POINT_LEN],
                       const char *purpose, struct schedule *schedule)
{
    uint8_t shared[HASH_LEN];
    int rc = shared_secret(own, other, points, shared);

    if (rc == 0)
        rc = make_schedule(shared, purpose, schedule);
    kt_wipe(shared, sizeof(shared));
    return rc;
}

// --- both ways ---

static int encrypt(const struct schedule *schedule, const char *about, const void *text, size_t n,
                   uint8_t *out)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int len = 0, last = 0;
    int is_done =
        ctx &&
        EVP_EncryptInit_ex(ctx, EVP_aes_128_gcm(), NULL, schedule->key, schedule->nonce) == 1 &&
        EVP_EncryptUpdate(ctx, NULL, &len, (const uint8_t *)about, (int)strlen(about)) == 1 &&
        EVP_EncryptUpdate(ctx, out, &len, text, (int)n) == 1 && (size_t)len == n &&
        EVP_EncryptFinal_ex(ctx, out + len, &last) == 1 &&
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, TAG_LEN, out + n) == 1;

    EVP_CIPHER_CTX_free(ctx);
    return is_done ? 0 : KT_ERR_CRYPTO;
}

static int decrypt(const struct schedule *schedule, const char *about, const uint8_t *sealed,
                   size_t n, uint8_t *out)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int len = 0, last = 0;
    int is_begun =
        ctx &&
        EVP_DecryptInit_ex(ctx, EVP_aes_128_gcm(), NULL, schedule->key, schedule->nonce) == 1 &&
        EVP_DecryptUpdate(ctx, NULL, &len, (const uint8_t *)about, (int)strlen(about)) == 1 &&
        EVP_DecryptUpdate(ctx, out, &len, sealed, (int)n) == 1 && (size_t)len == n &&
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, TAG_LEN, (void *)(uintptr_t)(sealed + n)) ==
            1;
    int is_right = is_begun && EVP_DecryptFinal_ex(ctx, out + len, &last) == 1;

    EVP_CIPHER_CTX_free(ctx);
    ERR_clear_error();
    return is_right ? 0 : is_begun ? KT_ERR_SIGNATURE : KT_ERR_CRYPTO;
}

int kt_seal(EVP_PKEY *to, const char *purpose, const char *about, const void *text, size_t text_len,
            struct kt_buf *sealed)
{
    uint8_t points[2 * POINT_LEN], *out = NULL;
    struct schedule schedule = {{0}, {0}};
    EVP_PKEY *ephemeral = NULL;
    int rc = text_len > INT32_MAX ? KT_ERR_TOO_LARGE : point_of(to, points + POINT_LEN);

    if (rc == 0)
        rc = kt_pki_new_p256(&ephemeral);
    if (rc == 0)
        rc = point_of(ephemeral, points);
    if (rc == 0)
        rc = schedule_of(ephemeral, to, points, purpose, &schedule);
    if (rc == 0 && !(out = malloc(text_len + TAG_LEN)))
        rc = KT_ERR_NO_MEMORY;
    if (rc == 0)
        rc = encrypt(&schedule, about, text, text_len, out);
    if (rc == 0)
        rc = kt_buf_put(sealed, points, POINT_LEN);
    if (rc == 0)
        rc = kt_buf_put(sealed, out, text_len + TAG_LEN);
    kt_wipe(&schedule, sizeof(schedule));
    free(out);
    EVP_PKEY_free(ephemeral);
    return rc;
}

int kt_unseal(EVP_PKEY *key, const char *purpose, const char *about, const void *sealed,
              size_t sealed_len, struct kt_secret **text)
{
    uint8_t points[2 * POINT_LEN];
    struct kt_secret *opened = NULL;
    struct schedule schedule = {{0}, {0}};
    EVP_PKEY *ephemeral = NULL;
    int rc = sealed_len <= KT_SEAL_EXTRA || sealed_len > INT32_MAX
                 ? KT_ERR_SIGNATURE
                 : point_of(key, points + POINT_LEN);

    if (rc)
        return rc;
    memcpy(points, sealed, POINT_LEN);
    rc = points[0] == 4 ? key_of(points, &ephemeral) : KT_ERR_SIGNATURE;
    if (rc == 0)
        rc = schedule_of(key, ephemeral, points, purpose, &schedule);
    if (rc == 0)
        rc = kt_secret_new(sealed_len - KT_SEAL_EXTRA, &opened);
    if (rc == 0)
        rc = decrypt(&schedule, about, (const uint8_t *)sealed + POINT_LEN,
                     sealed_len - KT_SEAL_EXTRA, kt_secret_data(opened));
    kt_wipe(&schedule, sizeof(schedule));
    EVP_PKEY_free(ephemeral);
    if (rc)
        kt_secret_free(opened);
    else
        *text = opened;
    return rc;
}

int kt_seal_is_for_newcomer(const char *path, size_t len)
{
    return len > 0 && strcmp(path, "ca/cert.pem") != 0;
}
