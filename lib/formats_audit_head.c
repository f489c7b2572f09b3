// SPDX-License-Identifier: Apache-2.0
// Signed heads of audit logs: text that ends in the signer's certificate and signature.
#include "lib/formats.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <openssl/evp.h>

#include "lib/formats_text.h"
#include "lib/pki.h"

#define FIRST_LINE "keytrustee-audit-head 1\n"
#define LAST_NAME  "signature "
#define CERT_TEXT  (4 * ((KT_AUDIT_HEAD_CERT_MAX + 2) / 3) + 1)
#define SIG_TEXT   (4 * ((KT_AUDIT_HEAD_SIG_MAX + 2) / 3) + 1)

// What is signed: all lines but the last.
static int format_signed(const struct kt_audit_head *head, char out[KT_AUDIT_HEAD_TEXT], size_t *n)
{
    char cluster[KT_UUID_TEXT], hash[KT_SHA256_TEXT], time[KT_TIME_TEXT], cert[CERT_TEXT];
    int len;

    if (head->certificate_len == 0 || head->certificate_len > KT_AUDIT_HEAD_CERT_MAX ||
        head->member[0] == '\0' || strpbrk(head->member, "\n ") != NULL)
        return KT_ERR_INVALID;
    kt_uuid_format(&head->cluster, cluster);
    kt_hex_encode(head->hash, KT_SHA256_LEN, hash);
    kt_time_format(head->time_us, time);
    kt_base64_encode(head->certificate, head->certificate_len, cert);
    len = snprintf(out, KT_AUDIT_HEAD_TEXT,
                   FIRST_LINE "cluster %s\nmember %s\nfile %" PRIu32 "\nseq %" PRIu64
                              "\nhash %s\ntime %s\ncertificate %s\n",
                   cluster, head->member, head->file, head->seq, hash, time, cert);
    if (len < 0 || (size_t)len + sizeof(LAST_NAME) + SIG_TEXT > KT_AUDIT_HEAD_TEXT)
        return KT_ERR_TOO_LARGE;
    *n = (size_t)len;
    return 0;
}

int kt_audit_head_format(const struct kt_audit_head *head, char out[KT_AUDIT_HEAD_TEXT])
{
    char signature[SIG_TEXT];
    size_t n = 0;
    int rc = head->signature_len == 0 || head->signature_len > KT_AUDIT_HEAD_SIG_MAX
                 ? KT_ERR_INVALID
                 : format_signed(head, out, &n);

    if (rc)
        return rc;
    kt_base64_encode(head->signature, head->signature_len, signature);
    snprintf(out + n, KT_AUDIT_HEAD_TEXT - n, LAST_NAME "%s\n", signature);
    return 0;
}

// A line "name <base64>\n".
static int take_bytes(struct kt_text *text, const char *name, uint8_t *out, size_t *len, size_t max)
{
    struct kt_text rest = *text;
    const char *end;
    int rc = kt_text_literal(&rest, name);

    if (rc == 0)
        rc = kt_text_literal(&rest, " ");
    if (rc)
        return rc;
    end = memchr(rest.at, '\n', rest.left);
    if (end == NULL || (size_t)(end - rest.at) > 4 * ((max + 2) / 3))
        return KT_ERR_INVALID;
    *len = max;
    rc = kt_base64_decode(rest.at, (size_t)(end - rest.at), out, len);
    if (rc)
        return KT_ERR_INVALID;
    text->left -= (size_t)(end + 1 - text->at);
    text->at = end + 1;
    return 0;
}

static int take_text(struct kt_text *text, struct kt_audit_head *head)
{
    char line[KT_TEXT_VALUE];
    int rc = kt_text_literal(text, FIRST_LINE);

    if (rc == 0)
        rc = kt_text_uuid(text, "cluster", &head->cluster);
    if (rc == 0)
        rc = kt_text_line(text, "member", line);
    if (rc == 0 && strlen(line) >= sizeof(head->member))
        rc = KT_ERR_INVALID;
    if (rc == 0)
        memcpy(head->member, line, strlen(line) + 1);
    if (rc == 0)
        rc = kt_text_u32(text, "file", 1, &head->file);
    if (rc == 0)
        rc = kt_text_u64(text, "seq", 1, KT_AUDIT_SEQ_MAX, &head->seq);
    if (rc == 0)
        rc = kt_text_hex(text, "hash", head->hash, sizeof(head->hash));
    if (rc == 0)
        rc = kt_text_line(text, "time", line);
    if (rc == 0)
        rc = kt_time_parse(line, &head->time_us);
    if (rc == 0)
        rc = take_bytes(text, "certificate", head->certificate, &head->certificate_len,
                        KT_AUDIT_HEAD_CERT_MAX);
    if (rc == 0)
        rc = take_bytes(text, "signature", head->signature, &head->signature_len,
                        KT_AUDIT_HEAD_SIG_MAX);
    return rc;
}

// 1 when the last line is there to its end.
static int is_whole(const char *text, size_t n)
{
    const char *last = memmem(text, n, "\n" LAST_NAME, sizeof("\n" LAST_NAME) - 1);

    return last && memchr(last + 1, '\n', n - (size_t)(last + 1 - text)) != NULL;
}

int kt_audit_head_parse(const char *text, size_t n, struct kt_audit_head *head, size_t *used)
{
    size_t first = sizeof(FIRST_LINE) - 1;
    struct kt_text rest = {text, n};
    struct kt_audit_head parsed = {0};
    char again[KT_AUDIT_HEAD_TEXT];

    if (n == 0 || memcmp(text, FIRST_LINE, n < first ? n : first) != 0)
        return KT_ERR_INVALID;
    if (!is_whole(text, n))
        return n < KT_AUDIT_HEAD_TEXT ? KT_ERR_TRUNCATED : KT_ERR_INVALID;
    if (take_text(&rest, &parsed) != 0 || kt_audit_head_format(&parsed, again) != 0 ||
        strlen(again) != n - rest.left || memcmp(again, text, n - rest.left) != 0)
        return KT_ERR_INVALID;
    *head = parsed;
    *used = n - rest.left;
    return 0;
}

int kt_audit_head_sign(struct kt_audit_head *head, EVP_PKEY *key, X509 *certificate)
{
    struct kt_buf der = KT_BUF_INIT(KT_AUDIT_HEAD_CERT_MAX);
    char text[KT_AUDIT_HEAD_TEXT];
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    size_t n = 0, len = sizeof(head->signature);
    int rc = ctx ? 0 : KT_ERR_NO_MEMORY;

    if (rc == 0 && X509_check_private_key(certificate, key) != 1)
        rc = KT_ERR_INVALID;
    if (rc == 0)
        rc = kt_pki_cert_to_der(certificate, &der);
    if (rc == 0) {
        head->certificate_len = kt_buf_left(&der);
        memcpy(head->certificate, kt_buf_ptr(&der), head->certificate_len);
        rc = format_signed(head, text, &n);
    }
    if (rc == 0 &&
        (EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) != 1 ||
         EVP_DigestSign(ctx, head->signature, &len, (const unsigned char *)text, n) != 1))
        rc = KT_ERR_CRYPTO;
    if (rc == 0)
        head->signature_len = len;
    EVP_MD_CTX_free(ctx);
    kt_buf_free(&der);
    return rc;
}

static int verify(const struct kt_audit_head *head, X509 *ca, int is_kept)
{
    char text[KT_AUDIT_HEAD_TEXT];
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    X509 *cert = NULL;
    size_t n = 0;
    int rc = ctx ? format_signed(head, text, &n) : KT_ERR_NO_MEMORY;

    if (rc == 0)
        rc = kt_pki_cert_from_der(head->certificate, head->certificate_len, &cert);
    if (rc == 0 && !(is_kept && kt_pki_is_of_ended(cert, ca)))
        rc = kt_pki_cert_check(cert, ca, head->time_us);
    if (rc == 0 && !kt_pki_is_node(cert, head->member))
        rc = KT_ERR_SIGNATURE;
    if (rc == 0 &&
        (EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, X509_get0_pubkey(cert)) != 1 ||
         EVP_DigestVerify(ctx, head->signature, head->signature_len, (const unsigned char *)text,
                          n) != 1))
        rc = KT_ERR_SIGNATURE;
    X509_free(cert);
    EVP_MD_CTX_free(ctx);
    return rc;
}

int kt_audit_head_verify(const struct kt_audit_head *head, X509 *ca)
{
    return verify(head, ca, 0);
}

int kt_audit_head_verify_kept(const struct kt_audit_head *head, X509 *ca)
{
    return verify(head, ca, 1);
}
