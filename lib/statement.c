// SPDX-License-Identifier: Apache-2.0
// Statements about new incarnations: their text, and the signature of the cluster's key.
#include "lib/statement.h"

#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "lib/formats_text.h"
#include "lib/signed_text.h"

#define TEXT_MAX 1024

int kt_statement_format(const struct kt_statement *statement, struct kt_buf *out)
{
    char cluster[KT_UUID_TEXT], incarnation[KT_INCARNATION_TEXT], previous[KT_INCARNATION_TEXT];
    char when[KT_TIME_TEXT], root[KT_SHA256_TEXT], before[KT_SHA256_TEXT];
    static const uint8_t none[KT_SHA256_LEN];

    // A new incarnation is a greater number, or no client could tell which one is the newer. The
    // first statement is the one behind no other.
    if (kt_uuid_is_nil(&statement->cluster_id) ||
        statement->incarnation.number <= statement->previous.number || statement->number == 0 ||
        (statement->number == 1) != (memcmp(statement->before, none, sizeof(none)) == 0))
        return KT_ERR_INVALID;
    kt_hex_encode(statement->root, KT_SHA256_LEN, root);
    kt_hex_encode(statement->before, KT_SHA256_LEN, before);
    kt_uuid_format(&statement->cluster_id, cluster);
    kt_incarnation_format(&statement->incarnation, incarnation);
    kt_incarnation_format(&statement->previous, previous);
    kt_time_format(statement->time_us, when);
    return kt_buf_putf(out,
                       "keytrustee-incarnation 1\n"
                       "cluster %s\n"
                       "incarnation %s\n"
                       "epoch %" PRIu64 "\n"
                       "previous %s\n"
                       "previous-epoch %" PRIu64 "\n"
                       "log-index %" PRIu64 "\n"
                       "root %s\n"
                       "statement %" PRIu32 "\n"
                       "before %s\n"
                       "time %s\n",
                       cluster, incarnation, statement->epoch, previous, statement->previous_epoch,
                       statement->log_index, root, statement->number, before, when);
}

int kt_statement_parse(const char *text, size_t n, struct kt_statement *statement)
{
    struct kt_text rest = {text, n};
    struct kt_statement parsed = {.epoch = 0};
    struct kt_buf again = KT_BUF_INIT(TEXT_MAX);
    char when[KT_TEXT_VALUE];
    uint64_t number = 0;
    int rc = kt_text_literal(&rest, "keytrustee-incarnation 1\n");

    if (rc == 0)
        rc = kt_text_uuid(&rest, "cluster", &parsed.cluster_id);
    if (rc == 0)
        rc = kt_text_incarnation(&rest, "incarnation", &parsed.incarnation);
    if (rc == 0)
        rc = kt_text_u64(&rest, "epoch", 0, UINT64_MAX, &parsed.epoch);
    if (rc == 0)
        rc = kt_text_incarnation(&rest, "previous", &parsed.previous);
    if (rc == 0)
        rc = kt_text_u64(&rest, "previous-epoch", 0, UINT64_MAX, &parsed.previous_epoch);
    if (rc == 0)
        rc = kt_text_u64(&rest, "log-index", 0, UINT64_MAX, &parsed.log_index);
    if (rc == 0)
        rc = kt_text_hex(&rest, "root", parsed.root, KT_SHA256_LEN);
    if (rc == 0)
        rc = kt_text_u64(&rest, "statement", 1, UINT32_MAX, &number);
    parsed.number = (uint32_t)number;
    if (rc == 0)
        rc = kt_text_hex(&rest, "before", parsed.before, KT_SHA256_LEN);
    if (rc == 0)
        rc = kt_text_line(&rest, "time", when);
    if (rc == 0 && kt_time_parse(when, &parsed.time_us) != 0)
        rc = KT_ERR_INVALID;
    if (rc == 0)
        rc = kt_statement_format(&parsed, &again);
    if (rc == 0 && (kt_buf_left(&again) != n || memcmp(kt_buf_ptr(&again), text, n) != 0))
        rc = KT_ERR_INVALID;
    kt_buf_free(&again);
    if (rc == 0)
        *statement = parsed;
    return rc;
}

int kt_statement_sign(const char *home, const char *fingerprint,
                      const struct kt_statement *statement, struct kt_buf *out,
                      struct kt_error *error)
{
    struct kt_gpg *gpg = NULL;
    struct kt_buf text = KT_BUF_INIT(TEXT_MAX), made = KT_BUF_INIT(KT_STATEMENT_MAX);
    int rc = kt_statement_format(statement, &text);

    if (rc == 0)
        rc = kt_buf_put_u8(&text, 0);
    if (rc != 0) {
        kt_error_set(error, rc, NULL, "no statement can say this");
        goto out;
    }
    rc = kt_gpg_new(home, &gpg, error);
    if (rc == 0)
        rc = kt_signed_text_make(gpg, fingerprint, (const char *)kt_buf_ptr(&text), &made, error);
    if (rc == 0)
        rc = kt_buf_put(out, kt_buf_ptr(&made), kt_buf_left(&made));
out:
    kt_gpg_free(gpg);
    kt_buf_free(&text);
    kt_buf_free(&made);
    return rc;
}

int kt_statement_verify_any(const void *bytes, size_t n, char signer[KT_OPENPGP_FINGERPRINT_TEXT],
                            struct kt_statement *statement, struct kt_error *error)
{
    struct kt_buf text = KT_BUF_INIT(KT_STATEMENT_MAX);
    struct kt_statement parsed;
    int rc = n <= KT_STATEMENT_MAX
                 ? kt_signed_text_check(bytes, n, signer, &text, error)
                 : kt_error_set(error, KT_ERR_PROTOCOL, NULL, "a statement of more than %d bytes",
                                KT_STATEMENT_MAX);

    if (rc == 0) {
        rc = kt_statement_parse((const char *)kt_buf_ptr(&text), kt_buf_left(&text), &parsed);
        if (rc == KT_ERR_NO_MEMORY)
            rc = kt_error_set(error, rc, NULL, "out of memory");
        else if (rc != 0)
            rc =
                kt_error_set(error, KT_ERR_PROTOCOL, NULL,
                             "the key signed something else than a statement about an incarnation");
    }
    kt_buf_free(&text);
    if (rc == 0)
        *statement = parsed;
    return rc;
}

int kt_statement_verify(const char *fingerprint, const void *bytes, size_t n,
                        struct kt_statement *statement, struct kt_error *error)
{
    char signer[KT_OPENPGP_FINGERPRINT_TEXT];
    struct kt_statement parsed;
    int rc = kt_statement_verify_any(bytes, n, signer, &parsed, error);

    if (rc == 0 && strcasecmp(signer, fingerprint) != 0)
        rc = kt_error_set(error, KT_ERR_SIGNATURE, NULL,
                          "the statement is signed by key %s, not by the cluster's", signer);
    if (rc == 0)
        *statement = parsed;
    return rc;
}
