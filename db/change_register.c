// SPDX-License-Identifier: Apache-2.0
// The changes "register" and "renew": a client's certificate, signed by the agent, and its rows.
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db/write.h"
#include "lib/json.h"
#include "lib/pki.h"

// 0 organisation id, 1 its name, 2 needs approval, 3 disabled, 4 secret is right, 5 used up,
// 6 expired, 7 revoked, 8 rights, 9-14 of a certificate for this TLS key: client, its code,
// certificate, client's state, revoked, client's name; 15 the OpenPGP key is that client's, 16 it
// is another client's of the organisation that is not revoked; 17 the client is of the code's
// organisation, 18 its certificate has expired.
static const char register_check_sql[] =
    "SELECT a.organisation_id, o.name, o.needs_approval, o.disabled_at IS NOT NULL,"
    " a.secret_sha256 = $2::bytea, a.uses >= a.max_uses, a.expires_at <= now(),"
    " a.revoked_at IS NOT NULL, array_to_string(a.rights, ','), e.client_id, e.code_id,"
    " e.certificate, e.state, e.revoked, e.name,"
    " EXISTS (SELECT 1 FROM client_openpgp_keys k WHERE k.client_id = e.client_id"
    "  AND k.fingerprint = $4::text COLLATE \"C\" AND k.retired_at IS NULL),"
    " EXISTS (SELECT 1 FROM client_openpgp_keys k JOIN clients c1 USING (client_id)"
    "  WHERE k.fingerprint = $4::text COLLATE \"C\" AND k.retired_at IS NULL"
    "   AND c1.organisation_id = a.organisation_id AND c1.state <> 'revoked'),"
    " e.organisation_id = a.organisation_id, e.expired"
    " FROM auth_codes a JOIN organisations o USING (organisation_id)"
    " LEFT JOIN LATERAL (SELECT cc.client_id, c.code_id, cc.certificate, c.state, c.name,"
    "  c.organisation_id, cc.revoked_at IS NOT NULL AS revoked, cc.not_after <= now() AS expired"
    "  FROM client_certificates cc"
    "  JOIN clients c USING (client_id) WHERE cc.key_sha256 = $3::bytea"
    "  ORDER BY cc.created_at DESC LIMIT 1) e ON true"
    " WHERE a.code_id = $1::text COLLATE \"C\"";

static void register_check_params(const struct kt_change *change, struct db_params *params)
{
    db_param_text(params, change->code_id);
    db_param_bytes(params, change->code_hash, KT_SHA256_LEN);
    db_param_bytes(params, change->key_sha256, KT_SHA256_LEN);
    db_param_text(params, change->fingerprint);
}

// The answer's JSON. `certificate` PEM.
static int register_answer(struct db_writer *writer, struct db_member *member,
                           const char *certificate, const char *state)
{
    char client[KT_UUID_TEXT], cluster[KT_UUID_TEXT], incarnation[KT_INCARNATION_TEXT];
    json_t *keys = json_loads(writer->receipt_keys_json, 0, NULL);
    json_t *answer;

    kt_uuid_format(&member->client_id, client);
    kt_uuid_format(&writer->settings.info->cluster_id, cluster);
    kt_incarnation_format(&writer->state.incarnation, incarnation);
    answer =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:{s:s, s:s, s:s, s:I}}", "client", client,
                  "organisation", member->organisation, "state", state, "certificate", certificate,
                  "ca", writer->settings.ca_cert_pem, "receipt_keys", keys, "cluster", "id",
                  cluster, "openpgp_fingerprint", writer->settings.info->openpgp_fingerprint,
                  "incarnation", incarnation, "epoch", (json_int_t)writer->state.epoch);
    free(member->outcome.text);
    member->outcome.text = answer ? kt_json_text(answer) : NULL;
    json_decref(answer);
    return member->outcome.text ? 0 : KT_ERR_NO_MEMORY;
}

// The TLS key is registered already. The same code gets the same certificate, whatever became of
// the code since. A code that is still good gets a new one for the same client: so a host whose
// certificate has expired comes back. 1: the latter.
static int registered_before(struct db_writer *writer, struct db_member *member,
                             const PGresult *result)
{
    const char *state = db_column_text(result, 12);

    if (!db_column_true(result, 15) || !db_column_true(result, 17))
        return db_refuse(member, KT_ERR_CLIENT_EXISTS, NULL);
    if (strcmp(state, "revoked") == 0 || db_column_true(result, 13))
        return db_refuse(member, KT_ERR_CLIENT_REVOKED, NULL);
    if (db_column_uuid(result, 9, &member->client_id) != 0)
        return KT_ERR_DATABASE;
    member->pending = strcmp(state, "pending") == 0;
    member->again = 1;
    if (strcmp(db_column_text(result, 10), member->change->code_id) != 0 ||
        db_column_true(result, 18))
        return 1;
    member->outcome.repeated = 1;
    return register_answer(writer, member, db_column_text(result, 11), state);
}

static int register_checked(struct db_writer *writer, struct db_member *member,
                            const PGresult *result)
{
    int r;

    if (PQntuples(result) != 1 || !db_column_true(result, 4))
        return db_refuse(member, KT_ERR_AUTH_CODE_INVALID, NULL);
    if (db_column_uuid(result, 0, &member->organisation_id) != 0)
        return KT_ERR_DATABASE;
    snprintf(member->organisation, sizeof(member->organisation), "%s", db_column_text(result, 1));
    if (db_column_true(result, 3))
        return db_refuse(member, KT_ERR_ORGANISATION_DISABLED, NULL);
    if (!db_column_is_null(result, 9) && (r = registered_before(writer, member, result)) != 1)
        return r;
    if (db_column_true(result, 7))
        return db_refuse(member, KT_ERR_AUTH_CODE_INVALID, "the auth code was withdrawn");
    if (db_column_true(result, 6))
        return db_refuse(member, KT_ERR_AUTH_CODE_EXPIRED, NULL);
    if (db_column_true(result, 5))
        return db_refuse(member, KT_ERR_AUTH_CODE_USED_UP, NULL);
    if (member->again)
        return 0;
    if (db_column_true(result, 16))
        return db_refuse(member, KT_ERR_CLIENT_EXISTS,
                         "a client of the organisation has this OpenPGP key");
    member->pending = db_column_true(result, 2);
    snprintf(member->rights, sizeof(member->rights), "%s", db_column_text(result, 8));
    return kt_uuid_random(&member->client_id);
}

// Has the agent sign, and reads what the rows need from the new certificate.
static int sign_certificate(struct db_writer *writer, struct db_member *member)
{
    char name[KT_UUID_TEXT];
    int64_t not_before = 0;
    X509 *cert = NULL;
    int r;

    kt_uuid_format(&member->client_id, name);
    r = writer->settings.sign(writer->settings.arg, name, member->organisation, member->change->csr,
                              member->change->csr_len, &member->certificate);
    if (r != 0)
        return r;
    if ((r = kt_pki_cert_from_pem(member->certificate, strlen(member->certificate), &cert)) != 0)
        return r;
    r = kt_pki_cert_sha256(cert, member->certificate_sha256);
    if (r == 0)
        r = kt_pki_cert_validity(cert, &not_before, &member->certificate_not_after_us);
    X509_free(cert);
    return r;
}

static int register_plan(struct db_writer *writer, struct db_member *member)
{
    int r = sign_certificate(writer, member);

    if (r == 0)
        r = register_answer(writer, member, member->certificate,
                            member->pending ? "pending" : "active");
    return r;
}

static const char register_write_sql[] =
    "WITH a AS (UPDATE auth_codes SET uses = uses + 1 WHERE code_id = $1::text COLLATE \"C\""
    "  RETURNING organisation_id),"
    " c AS (INSERT INTO clients (client_id, organisation_id, name, state, code_id, created_at)"
    "  SELECT $2::uuid, organisation_id, $3::text,"
    "   CASE WHEN $4::boolean THEN 'pending' ELSE 'active' END, $1::text, $5::timestamptz FROM a"
    "   WHERE NOT $13::boolean),"
    " cc AS (INSERT INTO client_certificates (sha256, client_id, key_sha256, certificate,"
    "   not_after, created_at)"
    "  VALUES ($6::bytea, $2::uuid, $7::bytea, $8::text, $9::timestamptz, $5::timestamptz)),"
    " k AS (INSERT INTO client_openpgp_keys (fingerprint, client_id, public_key, created_at)"
    "  SELECT $10::text, $2::uuid, $11::bytea, $5::timestamptz WHERE NOT $13::boolean),"
    " g AS (INSERT INTO grants (grant_id, organisation_id, client_id, object, access, created_at,"
    "   created_by) SELECT gen_random_uuid(), organisation_id, $2::uuid, 'own', x, $5::timestamptz,"
    "   'auth code ' || $1::text FROM a, unnest(string_to_array($12::text, ',')) x"
    "   WHERE NOT $13::boolean)"
    " INSERT INTO change_log (changed_at, event, organisation_id, client_id, by_whom, detail)"
    "  SELECT $5::timestamptz, CASE WHEN $13::boolean THEN 'client.renew' ELSE 'client.register' "
    "END,"
    "   organisation_id, $2::uuid,"
    "   'auth code ' || $1::text, jsonb_build_object('name', $3::text, 'certificate',"
    "   encode($6::bytea, 'hex'), 'openpgp', $10::text, 'rights', $12::text) FROM a";

static void register_write_params(struct db_writer *writer, const struct db_member *member,
                                  struct db_params *params)
{
    const struct kt_change *change = member->change;

    (void)writer;
    db_param_text(params, change->code_id);
    db_param_uuid(params, &member->client_id);
    db_param_text(params, change->name);
    db_param_boolean(params, member->pending);
    db_param_time(params, member->now_us);
    db_param_bytes(params, member->certificate_sha256, KT_SHA256_LEN);
    db_param_bytes(params, change->key_sha256, KT_SHA256_LEN);
    db_param_text(params, member->certificate);
    db_param_time(params, member->certificate_not_after_us);
    db_param_text(params, change->fingerprint);
    db_param_bytes(params, change->openpgp, change->openpgp_len);
    db_param_text(params, member->rights);
    db_param_boolean(params, member->again);
}

const struct db_change_ops db_change_register = {
    .kind = KT_CHANGE_REGISTER,
    .check_name = "check_register",
    .check_sql = register_check_sql,
    .check_params = register_check_params,
    .checked = register_checked,
    .plan = register_plan,
    .write_name = "write_register",
    .write_sql = register_write_sql,
    .write_params = register_write_params,
};

// 7: the certificate that this client has for this TLS key and that is not revoked, newest first,
// when it still has two thirds of its life; 8: another client has this key.
static const char renew_check_sql[] =
    "SELECT " DB_AUTH_COLUMNS ","
    " (SELECT n.certificate FROM client_certificates n WHERE n.client_id = c.client_id"
    "  AND n.key_sha256 = $2::bytea AND n.revoked_at IS NULL"
    "  AND n.not_after - now() > (n.not_after - n.created_at) * 2 / 3"
    "  ORDER BY n.created_at DESC LIMIT 1),"
    " EXISTS (SELECT 1 FROM client_certificates n WHERE n.key_sha256 = $2::bytea"
    "  AND n.client_id <> c.client_id)" DB_AUTH_FROM " WHERE cc.sha256 = $1::bytea";

static void renew_check_params(const struct kt_change *change, struct db_params *params)
{
    db_param_bytes(params, change->certificate_sha256, KT_SHA256_LEN);
    db_param_bytes(params, change->key_sha256, KT_SHA256_LEN);
}

static int renew_answer(struct db_member *member, const char *certificate)
{
    json_t *answer = json_pack("{s:s}", "certificate", certificate);

    free(member->outcome.text);
    member->outcome.text = answer ? kt_json_text(answer) : NULL;
    json_decref(answer);
    return member->outcome.text ? 0 : KT_ERR_NO_MEMORY;
}

// 1 when it is of an older CA than the one that signs now: it is replaced, however new it is.
static int is_outlived(const struct db_writer *writer, const char *certificate)
{
    const char *pem = writer->settings.ca_cert_pem;
    X509 *cert = NULL, *ca = NULL;
    int is_older = kt_pki_cert_from_pem(pem, strlen(pem), &ca) == 0 && // the first: it signs
                   kt_pki_cert_from_pem(certificate, strlen(certificate), &cert) == 0 &&
                   kt_pki_cert_check(cert, ca, kt_time_now()) == KT_ERR_CERTIFICATE_UNKNOWN_CA;

    X509_free(cert);
    X509_free(ca);
    return is_older;
}

static int renew_checked(struct db_writer *writer, struct db_member *member, const PGresult *result)
{
    int r = db_check_client(member, result);

    if (r <= 0)
        return r;
    if (db_column_true(result, 8))
        return db_refuse(member, KT_ERR_CLIENT_EXISTS, NULL);
    if (db_column_is_null(result, 7) || is_outlived(writer, db_column_text(result, 7)))
        return 0;
    member->outcome.repeated = 1;
    return renew_answer(member, db_column_text(result, 7));
}

static int renew_plan(struct db_writer *writer, struct db_member *member)
{
    int r = sign_certificate(writer, member);

    return r != 0 ? r : renew_answer(member, member->certificate);
}

static const char renew_write_sql[] =
    "WITH cc AS (INSERT INTO client_certificates (sha256, client_id, key_sha256, certificate,"
    "  not_after, created_at)"
    "  VALUES ($1::bytea, $2::uuid, $3::bytea, $4::text, $5::timestamptz, $6::timestamptz))"
    " INSERT INTO change_log (changed_at, event, organisation_id, client_id, by_whom, detail)"
    "  VALUES ($6::timestamptz, 'client.renew', $7::uuid, $2::uuid, 'client',"
    "  jsonb_build_object('certificate', encode($1::bytea, 'hex')))";

static void renew_write_params(struct db_writer *writer, const struct db_member *member,
                               struct db_params *params)
{
    (void)writer;
    db_param_bytes(params, member->certificate_sha256, KT_SHA256_LEN);
    db_param_uuid(params, &member->client_id);
    db_param_bytes(params, member->change->key_sha256, KT_SHA256_LEN);
    db_param_text(params, member->certificate);
    db_param_time(params, member->certificate_not_after_us);
    db_param_time(params, member->now_us);
    db_param_uuid(params, &member->organisation_id);
}

const struct db_change_ops db_change_renew = {
    .kind = KT_CHANGE_RENEW,
    .check_name = "check_renew",
    .check_sql = renew_check_sql,
    .check_params = renew_check_params,
    .checked = renew_checked,
    .plan = renew_plan,
    .write_name = "write_renew",
    .write_sql = renew_write_sql,
    .write_params = renew_write_params,
};
