// SPDX-License-Identifier: Apache-2.0
// Statements about cluster keys: their text, and the signatures of both keys.
#include "lib/key_statement.h"

#include <inttypes.h>
#include <string.h>

#include "lib/formats_text.h"
#include "lib/signed_text.h"

#define TEXT_MAX   1024
#define BEGIN_TEXT "-----BEGIN PGP SIGNED MESSAGE-----\n"
#define BEGIN_SIGN "-----BEGIN PGP SIGNATURE-----\n"

static int is_fingerprint(const char *text)
{
    return strlen(text) == KT_OPENPGP_FINGERPRINT_TEXT - 1 &&
           strspn(text, "0123456789ABCDEF") == KT_OPENPGP_FINGERPRINT_TEXT - 1;
}

int kt_key_statement_format(const struct kt_key_statement *statement, struct kt_buf *out)
{
    char cluster[KT_UUID_TEXT], incarnation[KT_INCARNATION_TEXT], when[KT_TIME_TEXT];
    char before[KT_SHA256_TEXT], restored[KT_SHA256_TEXT];
    static const uint8_t none[KT_SHA256_LEN];

    // The first one is the one behind no other; a key does not follow itself.
    if (kt_uuid_is_nil(&statement->cluster_id) || statement->number == 0 ||
        (statement->number == 1) != (memcmp(statement->before, none, sizeof(none)) == 0) ||
        !is_fingerprint(statement->key) || !is_fingerprint(statement->next) ||
        strcmp(statement->key, statement->next) == 0 || statement->incarnation.number == 0)
        return KT_ERR_INVALID;
    kt_uuid_format(&statement->cluster_id, cluster);
    kt_hex_encode(statement->before, KT_SHA256_LEN, before);
    kt_hex_encode(statement->restored, KT_SHA256_LEN, restored);
    kt_incarnation_format(&statement->incarnation, incarnation);
    kt_time_format(statement->time_us, when);
    return kt_buf_putf(out,
                       "keytrustee-cluster-key 1\n"
                       "cluster %s\n"
                       "statement %" PRIu32 "\n"
                       "before %s\n"
                       "key %s\n"
                       "next %s\n"
                       "incarnation %s\n"
                       "restored %s\n"
                       "time %s\n",
                       cluster, statement->number, before, statement->key, statement->next,
                       incarnation, restored, when);
}

static int take_fingerprint(struct kt_text *rest, const char *name,
                            char out[KT_OPENPGP_FINGERPRINT_TEXT])
{
    char value[KT_TEXT_VALUE];
    int rc = kt_text_line(rest, name, value);

    if (rc == 0 && !is_fingerprint(value))
        rc = KT_ERR_INVALID;
    if (rc == 0)
        memcpy(out, value, KT_OPENPGP_FINGERPRINT_TEXT);
    return rc;
}

static int parse_lines(struct kt_text *rest, struct kt_key_statement *parsed)
{
    char when[KT_TEXT_VALUE];
    uint64_t number = 0;
    int rc = kt_text_literal(rest, "keytrustee-cluster-key 1\n");

    if (rc == 0)
        rc = kt_text_uuid(rest, "cluster", &parsed->cluster_id);
    if (rc == 0)
        rc = kt_text_u64(rest, "statement", 1, UINT32_MAX, &number);
    parsed->number = (uint32_t)number;
    if (rc == 0)
        rc = kt_text_hex(rest, "before", parsed->before, KT_SHA256_LEN);
    if (rc == 0)
        rc = take_fingerprint(rest, "key", parsed->key);
    if (rc == 0)
        rc = take_fingerprint(rest, "next", parsed->next);
    if (rc == 0)
        rc = kt_text_incarnation(rest, "incarnation", &parsed->incarnation);
    if (rc == 0)
        rc = kt_text_hex(rest, "restored", parsed->restored, KT_SHA256_LEN);
    if (rc == 0)
        rc = kt_text_line(rest, "time", when);
    if (rc == 0 && kt_time_parse(when, &parsed->time_us) != 0)
        rc = KT_ERR_INVALID;
    return rc;
}

int kt_key_statement_parse(const char *text, size_t n, struct kt_key_statement *statement)
{
    struct kt_text rest = {text, n};
    struct kt_key_statement parsed = {.number = 0};
    struct kt_buf again = KT_BUF_INIT(TEXT_MAX);
    int rc = parse_lines(&rest, &parsed);

    if (rc == 0)
        rc = kt_key_statement_format(&parsed, &again);
    if (rc == 0 && (kt_buf_left(&again) != n || memcmp(kt_buf_ptr(&again), text, n) != 0))
        rc = KT_ERR_INVALID;
    kt_buf_free(&again);
    if (rc == 0)
        *statement = parsed;
    return rc;
}

int kt_key_statement_sign(struct kt_gpg *gpg, const struct kt_key_statement *statement,
                          struct kt_buf *out, struct kt_error *error)
{
    struct kt_buf text = KT_BUF_INIT(TEXT_MAX), made = KT_BUF_INIT(KT_KEY_STATEMENT_MAX);
    int rc = kt_key_statement_format(statement, &text);

    if (rc == 0)
        rc = kt_buf_put_u8(&text, 0);
    if (rc != 0)
        kt_error_set(error, rc, NULL, "no statement can say this");
    if (rc == 0)
        rc =
            kt_signed_text_make(gpg, statement->key, (const char *)kt_buf_ptr(&text), &made, error);
    if (rc == 0)
        rc = kt_signed_text_make(gpg, statement->next, (const char *)kt_buf_ptr(&text), &made,
                                 error);
    if (rc == 0)
        rc = kt_buf_put(out, kt_buf_ptr(&made), kt_buf_left(&made));
    kt_buf_free(&text);
    kt_buf_free(&made);
    return rc;
}

int kt_key_statement_read(const void *bytes, size_t n, struct kt_key_statement *statement)
{
    const char *from, *to;

    if (n > KT_KEY_STATEMENT_MAX || n < strlen(BEGIN_TEXT) ||
        memcmp(bytes, BEGIN_TEXT, strlen(BEGIN_TEXT)) != 0)
        return KT_ERR_INVALID;
    from = memmem(bytes, n, "\n\n", 2); // behind the armor's header lines
    to = memmem(bytes, n, "\n" BEGIN_SIGN, strlen(BEGIN_SIGN) + 1);
    if (from == NULL || to == NULL || from + 2 > to)
        return KT_ERR_INVALID;
    return kt_key_statement_parse(from + 2, (size_t)(to + 1 - (from + 2)), statement);
}

// One of the two halves: signed by whom it is to be, and what it says.
static int check_half(const void *bytes, size_t n, int is_next, struct kt_buf *text,
                      struct kt_key_statement *statement, struct kt_error *error)
{
    char signer[KT_OPENPGP_FINGERPRINT_TEXT];
    int rc = kt_signed_text_check(bytes, n, signer, text, error);

    if (rc == 0) {
        rc = kt_key_statement_parse((const char *)kt_buf_ptr(text), kt_buf_left(text), statement);
        if (rc == KT_ERR_NO_MEMORY)
            rc = kt_error_set(error, rc, NULL, "out of memory");
        else if (rc != 0)
            rc = kt_error_set(error, KT_ERR_PROTOCOL, NULL,
                              "the key signed something else than a statement about a key");
    }
    if (rc == 0 && strcmp(signer, is_next ? statement->next : statement->key) != 0)
        rc = kt_error_set(error, KT_ERR_SIGNATURE, NULL,
                          "the statement about the cluster's key is signed by key %s, not by %s",
                          signer, is_next ? statement->next : statement->key);
    return rc;
}

static const uint8_t *find_second(const void *bytes, size_t n)
{
    const uint8_t *at = n <= KT_KEY_STATEMENT_MAX
                            ? memmem(bytes, n, "\n" BEGIN_TEXT, strlen(BEGIN_TEXT) + 1)
                            : NULL;

    return at ? at + 1 : NULL;
}

int kt_key_statement_verify(const void *bytes, size_t n, struct kt_key_statement *statement,
                            struct kt_error *error)
{
    const uint8_t *from = bytes, *second = find_second(bytes, n);
    struct kt_buf said = KT_BUF_INIT(KT_KEY_STATEMENT_MAX),
                  accepted = KT_BUF_INIT(KT_KEY_STATEMENT_MAX);
    struct kt_key_statement parsed;
    int rc;

    if (second == NULL)
        return kt_error_set(error, KT_ERR_PROTOCOL, NULL,
                            "not a statement about a cluster's key, signed by both keys");
    rc = check_half(from, (size_t)(second - from), 0, &said, &parsed, error);
    if (rc == 0)
        rc = check_half(second, n - (size_t)(second - from), 1, &accepted, &parsed, error);
    if (rc == 0 && (kt_buf_left(&said) != kt_buf_left(&accepted) ||
                    memcmp(kt_buf_ptr(&said), kt_buf_ptr(&accepted), kt_buf_left(&said)) != 0))
        rc = kt_error_set(error, KT_ERR_SIGNATURE, NULL,
                          "the two keys signed different statements about the cluster's key");
    kt_buf_free(&said);
    kt_buf_free(&accepted);
    if (rc == 0)
        *statement = parsed;
    return rc;
}
