// SPDX-License-Identifier: Apache-2.0
// Receipt keys: a new one is listed, those before it are retired. Their certificates stay for ever,
// so that what they have signed is verified.
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "db/write.h"
#include "lib/json.h"
#include "lib/pki.h"

// Clients take no longer list (RECEIPT_KEYS_MAX in client/lib_receipt_keys.c).
#define LISTED_MAX "64"

static int answer(struct db_member *member)
{
    json_t *object = json_pack("{s:s}", "receipt_key", member->change->name);

    free(member->outcome.text);
    member->outcome.text = object ? kt_json_text(object) : NULL;
    json_decref(object);
    return member->outcome.text ? 0 : KT_ERR_NO_MEMORY;
}

static void check_params(const struct kt_change *change, struct db_params *params)
{
    db_param_text(params, change->name);
}

// The certificate is that of the key: clients refuse the whole list for one that is not.
static int is_of_key(const struct kt_change *change)
{
    uint8_t public_key[KT_ED25519_PUB_LEN], id[KT_KEY_ID_LEN];
    char hex[2 * KT_KEY_ID_LEN + 1] = "";
    X509 *cert = NULL;

    if (change->csr && kt_pki_cert_from_pem(change->csr, change->csr_len, &cert) == 0 &&
        kt_ed25519_public(X509_get0_pubkey(cert), public_key) == 0 &&
        kt_ed25519_key_id(public_key, id) == 0)
        kt_hex_encode(id, sizeof(id), hex);
    X509_free(cert);
    return hex[0] && strcmp(hex, change->name) == 0;
}

// --- a new one ---

// 0 it is listed, 1 retired, 2 there is room for another one
static int add_checked(struct db_writer *writer, struct db_member *member, const PGresult *result)
{
    (void)writer;
    if (!is_of_key(member->change))
        return db_refuse(member, KT_ERR_INVALID, "the certificate is not that of the key");
    if (db_column_true(result, 1))
        return db_refuse(member, KT_ERR_EXISTS, "the receipt key was retired");
    if (!db_column_true(result, 0) && !db_column_true(result, 2))
        return db_refuse(member, KT_ERR_TOO_LARGE,
                         "there are " LISTED_MAX " receipt keys, and clients take no more");
    member->outcome.repeated = db_column_true(result, 0);
    return answer(member);
}

static void add_params(struct db_writer *writer, const struct db_member *member,
                       struct db_params *params)
{
    (void)writer;
    db_param_text(params, member->change->name);
    db_param_text(params, (const char *)member->change->csr); // it has a NUL behind it
    db_param_time(params, member->now_us);
    db_param_text(params, member->change->actor);
}

const struct db_change_ops db_change_receipt_key_add = {
    .kind = KT_CHANGE_RECEIPT_KEY_ADD,
    .check_name = "check_receipt_key_add",
    .check_sql = "SELECT coalesce(bool_or(key_id = decode($1::text, 'hex')), false),"
                 " coalesce(bool_or(key_id = decode($1::text, 'hex') AND retired_at IS NOT NULL),"
                 "  false), count(*) < " LISTED_MAX " FROM receipt_keys",
    .check_params = check_params,
    .checked = add_checked,
    .write_name = "write_receipt_key_add",
    // The newest signs: it is newer than all others, whatever the clock of this node says.
    .write_sql = "WITH c AS (INSERT INTO receipt_keys (key_id, certificate, created_at)"
                 "  SELECT decode($1::text, 'hex'), $2::text, greatest($3::timestamptz,"
                 "   (SELECT max(k.created_at) + interval '1 microsecond' FROM receipt_keys k)))"
                 " INSERT INTO change_log (changed_at, event, by_whom, detail)"
                 "  VALUES ($3::timestamptz, 'receipt_key.add', $4::text,"
                 "  jsonb_build_object('receipt_key', $1::text))",
    .write_params = add_params,
};

// --- another certificate for one that is listed ---

// 0 it is listed, 1 with this certificate
static int certify_checked(struct db_writer *writer, struct db_member *member,
                           const PGresult *result)
{
    (void)writer;
    if (!is_of_key(member->change))
        return db_refuse(member, KT_ERR_INVALID, "the certificate is not that of the key");
    if (!db_column_true(result, 0))
        return db_refuse(member, KT_ERR_NOT_FOUND, "the receipt key is not listed");
    member->outcome.repeated = db_column_true(result, 1);
    return answer(member);
}

static void certify_check_params(const struct kt_change *change, struct db_params *params)
{
    db_param_text(params, change->name);
    db_param_text(params, (const char *)change->csr); // it has a NUL behind it
}

const struct db_change_ops db_change_receipt_key_certify = {
    .kind = KT_CHANGE_RECEIPT_KEY_CERTIFY,
    .check_name = "check_receipt_key_certify",
    .check_sql = "SELECT count(*) > 0, coalesce(bool_or(certificate = $2::text), false)"
                 " FROM receipt_keys WHERE key_id = decode($1::text, 'hex')",
    .check_params = certify_check_params,
    .checked = certify_checked,
    .write_name = "write_receipt_key_certify",
    .write_sql = "WITH c AS (UPDATE receipt_keys SET certificate = $2::text"
                 "  WHERE key_id = decode($1::text, 'hex'))"
                 " INSERT INTO change_log (changed_at, event, by_whom, detail)"
                 "  VALUES ($3::timestamptz, 'receipt_key.certify', $4::text,"
                 "  jsonb_build_object('receipt_key', $1::text))",
    .write_params = add_params,
};

// --- those before it ---

// 0 the one that stays is listed and not retired, 1 there are others that are not retired
static int retire_checked(struct db_writer *writer, struct db_member *member,
                          const PGresult *result)
{
    char hex[2 * KT_KEY_ID_LEN + 1];

    kt_hex_encode(writer->receipt_key_id, KT_KEY_ID_LEN, hex);
    if (!db_column_true(result, 0))
        return db_refuse(member, KT_ERR_NOT_FOUND, "the receipt key is not listed, or retired");
    if (strcmp(hex, member->change->name) != 0) // or receipts by a retired key would follow
        return db_refuse(member, KT_ERR_BUSY, "receipts are signed by another key still");
    member->outcome.repeated = !db_column_true(result, 1);
    return answer(member);
}

static void retire_params(struct db_writer *writer, const struct db_member *member,
                          struct db_params *params)
{
    (void)writer;
    db_param_text(params, member->change->name);
    db_param_time(params, member->now_us);
    db_param_text(params, member->change->actor);
}

const struct db_change_ops db_change_receipt_key_retire = {
    .kind = KT_CHANGE_RECEIPT_KEY_RETIRE,
    .check_name = "check_receipt_key_retire",
    .check_sql = "SELECT coalesce(bool_or(key_id = decode($1::text, 'hex')), false),"
                 " coalesce(bool_or(key_id <> decode($1::text, 'hex')), false)"
                 " FROM receipt_keys WHERE retired_at IS NULL",
    .check_params = check_params,
    .checked = retire_checked,
    .write_name = "write_receipt_key_retire",
    .write_sql = "WITH c AS (UPDATE receipt_keys SET retired_at = $2::timestamptz"
                 "  WHERE retired_at IS NULL AND key_id <> decode($1::text, 'hex'))"
                 " INSERT INTO change_log (changed_at, event, by_whom, detail)"
                 "  VALUES ($2::timestamptz, 'receipt_key.retire', $3::text,"
                 "  jsonb_build_object('stays', $1::text))",
    .write_params = retire_params,
};
