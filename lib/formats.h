// SPDX-License-Identifier: Apache-2.0
// Formats that outlive a process, version 1 of each; docs/formats.md has them with test vectors.
#ifndef KT_FORMATS_H
#define KT_FORMATS_H

#include <stdint.h>

#include "lib/digest.h"
#include "lib/encode.h"
#include "lib/err.h"
#include "lib/secret.h"

struct x509_st; // X509

// An incarnation: number and 64 random bits. Text form "<number>.<16 hex>".
struct kt_incarnation {
    uint32_t number;
    uint64_t bits;
};
#define KT_INCARNATION_TEXT 32
void kt_incarnation_format(const struct kt_incarnation *inc, char out[KT_INCARNATION_TEXT]);
int kt_incarnation_parse(const char *text, struct kt_incarnation *inc) KT_MUST_CHECK;
// Order is by (number, epoch); equal numbers with other bits: KT_ERR_PROTOCOL. *order is <0, 0, >0.
int kt_incarnation_compare(const struct kt_incarnation *a, uint64_t epoch_a,
                           const struct kt_incarnation *b, uint64_t epoch_b,
                           int *order) KT_MUST_CHECK;

// --- leaf and receipt (formats_receipt.c) ---
struct kt_leaf {
    struct kt_incarnation incarnation;
    uint64_t epoch;
    uint64_t log_index;
    struct kt_uuid deposit_id;
    struct kt_uuid client_id;
    uint8_t handle_hash[KT_SHA256_LEN]; // SHA-256 of the handle's bytes
    uint32_t version;
    uint8_t sha256[KT_SHA256_LEN]; // of the body
    uint64_t size;                 // bytes of the body
    int64_t time_us;
};
#define KT_LEAF_TEXT    768
#define KT_RECEIPT_TEXT 1280
// Fixed text, one "name value" a line, first line "keytrustee-leaf 1".
void kt_leaf_format(const struct kt_leaf *leaf, char out[KT_LEAF_TEXT]);
int kt_leaf_parse(const char *text, size_t n, struct kt_leaf *leaf) KT_MUST_CHECK;

struct kt_receipt {
    struct kt_leaf leaf;
    uint32_t w; // members that had it beside the active when acknowledged
    uint8_t key_id[KT_KEY_ID_LEN];
    uint8_t signature[KT_ED25519_SIG_LEN];
};
// Signs "keytrustee-receipt 1\n", the leaf and "w N\n". Fills w, key_id, signature.
int kt_receipt_sign(struct kt_receipt *receipt, uint32_t w, struct evp_pkey_st *key) KT_MUST_CHECK;
int kt_receipt_verify(const struct kt_receipt *receipt,
                      const uint8_t pub[KT_ED25519_PUB_LEN]) KT_MUST_CHECK;
void kt_receipt_format(const struct kt_receipt *receipt, char out[KT_RECEIPT_TEXT]);
int kt_receipt_parse(const char *text, size_t n, struct kt_receipt *receipt) KT_MUST_CHECK;

// --- tree head (formats_tree_head.c): what the log of deposits was when the head was signed ---
struct kt_tree_head {
    struct kt_incarnation incarnation;
    uint64_t epoch;
    uint64_t size; // leaves; the last one has this log index
    uint8_t root[KT_SHA256_LEN];
    int64_t time_us;
    uint8_t key_id[KT_KEY_ID_LEN];
    uint8_t signature[KT_ED25519_SIG_LEN];
};
#define KT_TREE_HEAD_TEXT 512
// Signs with a receipt key; fills key_id and signature.
int kt_tree_head_sign(struct kt_tree_head *head, struct evp_pkey_st *key) KT_MUST_CHECK;
int kt_tree_head_verify(const struct kt_tree_head *head,
                        const uint8_t pub[KT_ED25519_PUB_LEN]) KT_MUST_CHECK;
void kt_tree_head_format(const struct kt_tree_head *head, char out[KT_TREE_HEAD_TEXT]);
int kt_tree_head_parse(const char *text, size_t n, struct kt_tree_head *head) KT_MUST_CHECK;

// --- auth code (formats_authcode.c): <id>-<160 random bits>-<CA fingerprint>, base32 ---
#define KT_AUTHCODE_ID_LEN     5  // bytes; 8 characters
#define KT_AUTHCODE_SECRET_LEN 20 // bytes; 32 characters
#define KT_AUTHCODE_TEXT       95 // 8 + 1 + 32 + 1 + 52 characters and NUL
struct kt_authcode {
    char id[9];                             // base32 text
    uint8_t secret[KT_AUTHCODE_SECRET_LEN]; // wipe after use
    uint8_t ca_sha256[KT_SHA256_LEN];       // SHA-256 of the CA certificate's DER
};
int kt_authcode_new(const uint8_t ca_sha256[KT_SHA256_LEN], struct kt_authcode *code) KT_MUST_CHECK;
void kt_authcode_format(const struct kt_authcode *code, char out[KT_AUTHCODE_TEXT]);
int kt_authcode_is_id(const char *text); // the form of the first part
int kt_authcode_parse(const char *text, struct kt_authcode *code) KT_MUST_CHECK;
// What the server stores: SHA-256 of "keytrustee-authcode 1\n", the id, "\n" and the secret bytes.
int kt_authcode_hash(const struct kt_authcode *code, uint8_t out[KT_SHA256_LEN]) KT_MUST_CHECK;

// --- join token (formats_token.c): ktj1-<id>-<128 random bits>-<CA fingerprint>-<host>:<port> ---
#define KT_TOKEN_TEXT 384
struct kt_join_token {
    char id[9];
    uint8_t secret[16];
    uint8_t ca_sha256[KT_SHA256_LEN];
    char host[256]; // name, IPv4, or IPv6 without brackets
    uint16_t port;
};
int kt_join_token_format(const struct kt_join_token *token, char out[KT_TOKEN_TEXT]) KT_MUST_CHECK;
int kt_join_token_parse(const char *text, struct kt_join_token *token) KT_MUST_CHECK;

// --- gid of a prepared group (formats_gid.c): kt:<number>.<bits>:<epoch>:<group> ---
#define KT_GID_TEXT 80
struct kt_gid {
    struct kt_incarnation incarnation;
    uint64_t epoch;
    uint64_t group;
};
void kt_gid_format(const struct kt_gid *gid, char out[KT_GID_TEXT]);
int kt_gid_parse(const char *text, struct kt_gid *gid) KT_MUST_CHECK;

// --- promise file (formats_promise.c): text, last line "sha256 <hex of all before>" ---
#define KT_MEMBER_TEXT 32 // "<node>.<8 hex>"
struct kt_promise {
    char member[KT_MEMBER_TEXT];
    struct kt_incarnation incarnation;
    uint64_t epoch;
    char active[KT_MEMBER_TEXT]; // X of the promised pair (e, X): a node name
    uint64_t floor_lsn;          // 0 = none
    uint64_t active_since;       // active without rewind since this epoch; 0 = not
    char retired_by[64];         // "" or "<epoch> <node>"
};
// A floor that no log reaches: stands there while the data directory is being replaced, so that a
// node that was killed in the middle has no vote and does not serve.
#define KT_FLOOR_UNFINISHED UINT64_MAX
#define KT_PROMISE_TEXT     1024
int kt_promise_format(const struct kt_promise *promise, char out[KT_PROMISE_TEXT]) KT_MUST_CHECK;
int kt_promise_parse(const char *text, size_t n, struct kt_promise *promise) KT_MUST_CHECK;
int kt_promise_load(const char *path, struct kt_promise *promise,
                    struct kt_error *error) KT_MUST_CHECK;
int kt_promise_save(const char *path, const struct kt_promise *promise,
                    struct kt_error *error) KT_MUST_CHECK;

// --- audit record (formats_audit.c): one line "kta1 <seq> <hash> <json>\n" ---
// hash = SHA-256("kta1\n" || previous hash (32 bytes) || seq (u64, big endian) || json)
#define KT_AUDIT_SEQ_MAX  INT64_MAX // of the numbers: also as a number in JSON
#define KT_AUDIT_JSON_MAX 4096
#define KT_AUDIT_LINE_MAX (KT_AUDIT_JSON_MAX + 128)
int kt_audit_hash(const uint8_t previous[KT_SHA256_LEN], uint64_t seq, const char *json, size_t n,
                  uint8_t out[KT_SHA256_LEN]) KT_MUST_CHECK;
// Formats the line (newline included); `*len` receives its length.
int kt_audit_line_format(uint64_t seq, const uint8_t hash[KT_SHA256_LEN], const char *json,
                         size_t n, char out[KT_AUDIT_LINE_MAX], size_t *len) KT_MUST_CHECK;
// Splits a line without its newline; json points into it.
int kt_audit_line_parse(const char *line, size_t n, uint64_t *seq, uint8_t hash[KT_SHA256_LEN],
                        const char **json, size_t *json_len) KT_MUST_CHECK;

// --- signed audit head (formats_audit_head.c): a node's word on how far its audit log reaches ---
#define KT_AUDIT_HEAD_CERT_MAX 2048 // bytes of DER
#define KT_AUDIT_HEAD_SIG_MAX  80   // bytes of DER, ECDSA with P-256
#define KT_AUDIT_HEAD_TEXT     4096
struct kt_audit_head {
    struct kt_uuid cluster;
    char member[KT_MEMBER_TEXT]; // who signs
    uint32_t file;               // number of the audit file
    uint64_t seq;
    uint8_t hash[KT_SHA256_LEN];
    int64_t time_us;
    uint8_t certificate[KT_AUDIT_HEAD_CERT_MAX]; // the signer's, DER
    size_t certificate_len;
    uint8_t signature[KT_AUDIT_HEAD_SIG_MAX];
    size_t signature_len;
};
// Signs all lines but the last with the node's key; fills certificate and signature. KT_ERR_INVALID
// when key and certificate are no pair (they are being renewed).
int kt_audit_head_sign(struct kt_audit_head *head, struct evp_pkey_st *key,
                       struct x509_st *certificate) KT_MUST_CHECK;
// The signature, the certificate by the CA at the time of the head, and that it is the member's.
// KT_ERR_SIGNATURE, or the codes of kt_pki_cert_check.
int kt_audit_head_verify(const struct kt_audit_head *head, struct x509_st *ca) KT_MUST_CHECK;
// One that was kept: also of a time whose root has ended since, as the set `ca` says.
int kt_audit_head_verify_kept(const struct kt_audit_head *head, struct x509_st *ca) KT_MUST_CHECK;
int kt_audit_head_format(const struct kt_audit_head *head,
                         char out[KT_AUDIT_HEAD_TEXT]) KT_MUST_CHECK;
// The head at the beginning of the text; *used receives its length. KT_ERR_TRUNCATED when the text
// ends inside it.
int kt_audit_head_parse(const char *text, size_t n, struct kt_audit_head *head,
                        size_t *used) KT_MUST_CHECK;

// --- wrapped key (formats_wrapped.c): application/vnd.keytrustee.wrapped ---
// "KTW1", KEK deposit id (16 bytes), KEK version (u32), algorithm (u8: 1 = AES-256-KW RFC 3394,
// 2 = AES-256-KWP RFC 5649), length (u32), the wrapped bytes. Nothing behind them.
struct kt_wrapped {
    struct kt_uuid kek_id;
    uint32_t kek_version;
    uint8_t algorithm;
    const uint8_t *bytes; // points into the input
    size_t len;           // 24 .. 65536, a multiple of 8
};
int kt_wrapped_parse(const void *bytes, size_t n, struct kt_wrapped *wrapped) KT_MUST_CHECK;
int kt_wrapped_format(const struct kt_wrapped *wrapped, void *out, size_t size,
                      size_t *len) KT_MUST_CHECK;

#endif
