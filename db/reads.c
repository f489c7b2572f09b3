// SPDX-License-Identifier: Apache-2.0
// The statements of the workers, and their rows.
#include "db/reads.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "db/reader_inner.h"

// Parameters: $1 certificate's SHA-256, then as each statement says. None of the statements can
// raise for any value of the right type: an error would abort its neighbours in the pipeline.

#define WHO                                                                                        \
    "WITH w AS MATERIALIZED ("                                                                     \
    " SELECT c.client_id, c.organisation_id, o.name AS organisation, c.state,"                     \
    "  k.revoked_at IS NOT NULL AS certificate_revoked, k.not_after,"                              \
    "  o.disabled_at IS NOT NULL AS disabled,"                                                     \
    "  c.state = 'active' AND k.revoked_at IS NULL AND o.disabled_at IS NULL"                      \
    "   AND k.not_after > now() AS good"                                                           \
    " FROM client_certificates k JOIN clients c ON c.client_id = k.client_id"                      \
    "  JOIN organisations o ON o.organisation_id = c.organisation_id WHERE k.sha256 = $1) "

#define WHO_COLUMNS                                                                                \
    "w.client_id, w.organisation_id, w.organisation, w.state, w.certificate_revoked,"              \
    " w.not_after, w.disabled"

// Whether a grant of `access` to this client, or to all of its organisation, covers the row `d`.
#define COVERS                                                                                     \
    "CASE g.object WHEN 'own' THEN d.client_id = w.client_id"                                      \
    " WHEN 'prefix' THEN starts_with(d.handle, g.prefix)"                                          \
    " ELSE d.key_group_id IS NOT DISTINCT FROM g.key_group_id END"
#define SUBJECT_HAS(subject, access, object)                                                       \
    "EXISTS (SELECT 1 FROM grants g WHERE g.organisation_id = w.organisation_id"                   \
    " AND g.access = " access " AND g.client_id " subject " AND g.revoked_at IS NULL AND " object  \
    ")"
#define GRANTED(access)                                                                            \
    "(" SUBJECT_HAS("= w.client_id", access, COVERS) " OR "                                        \
    SUBJECT_HAS("IS NULL", access, COVERS) ")"
#define GRANTED_ANYTHING(access)                                                                   \
    "(" SUBJECT_HAS("= w.client_id", access, "true") " OR "                                        \
    SUBJECT_HAS("IS NULL", access, "true") ")"

#define ISO_TIME(column)                                                                           \
    "to_char(" column " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"

#define PRESENT "d.deleted_at IS NULL AND d.purged_at IS NULL"

// Columns behind WHO_COLUMNS, the same in all statements on deposits (NULL: not asked for).
#define DEPOSIT_COLUMNS                                                                            \
    "d.deposit_id, d.client_id, d.handle, d.version, d.content_type, d.sha256, d.size,"            \
    " d.log_index, d.deposited_at"
#define NO_RECEIPT                                                                                 \
    "NULL::int4, NULL::bytea, NULL::int8, NULL::int4, NULL::bytea, NULL::bytea, NULL::bool"
#define RECEIPT                                                                                    \
    "d.incarnation, i.bits, d.epoch, d.w, d.receipt_key_id, d.receipt_signature,"                  \
    " d.deleted_at IS NOT NULL OR d.purged_at IS NOT NULL"
enum column {
    WHO_CLIENT, WHO_ORGANISATION_ID, WHO_ORGANISATION, WHO_STATE, WHO_CERTIFICATE_REVOKED,
    WHO_NOT_AFTER, WHO_DISABLED,
    DEPOSIT_ID, DEPOSIT_CLIENT, DEPOSIT_HANDLE, DEPOSIT_VERSION, DEPOSIT_TYPE, DEPOSIT_SHA256,
    DEPOSIT_SIZE, DEPOSIT_INDEX, DEPOSIT_TIME,
    RECEIPT_INCARNATION, RECEIPT_BITS, RECEIPT_EPOCH, RECEIPT_W, RECEIPT_KEY_ID,
    RECEIPT_SIGNATURE, DEPOSIT_DELETED,
    GRANTED_COLUMN, BROWSABLE_COLUMN, VERSION_COLUMN, BODY_COLUMN,
    SELF_COLUMN = DEPOSIT_ID, KEY_COLUMN = DEPOSIT_ID,
};

// The body leaves the table only for a good caller with the right: a second lock behind the
// dispatcher's. OFFSET 0 is a fence: without it the grants would be looked up once for each use of
// a.granted. `rows` selects at most one deposit as d, beside w.
#define ONE_DEPOSIT(access, receipt, joins, version_found, body, rows)                             \
    WHO "SELECT " WHO_COLUMNS ", " DEPOSIT_COLUMNS ", " receipt ", a.granted,"                     \
    " a.granted OR (d.deposit_id IS NOT NULL AND " GRANTED("'browse'") "), " version_found ", "    \
    body " FROM w LEFT JOIN LATERAL (" rows ") d ON true " joins                                   \
    " CROSS JOIN LATERAL (SELECT d.deposit_id IS NOT NULL AND " GRANTED(access) " AS granted"      \
    " OFFSET 0) a"
#define BODY(condition) "CASE WHEN w.good AND a.granted AND " condition " THEN d.body END"
#define NO_BODY         "NULL::bytea"
#define BY_HANDLE       "d.organisation_id = w.organisation_id AND d.handle = $3"
#define LATEST          " ORDER BY d.version DESC LIMIT 1"
#define INCARNATION     "LEFT JOIN incarnations i ON i.number = d.incarnation"

// That version if it is there, else the latest, so that "no such version" can be told from "no
// such deposit".
#define THAT_OR_LATEST(condition)                                                                  \
    "(SELECT * FROM deposits d WHERE " BY_HANDLE " AND d.version = $4 AND " condition ") UNION ALL" \
    " (SELECT * FROM deposits d WHERE " BY_HANDLE " AND " condition LATEST ") LIMIT 1"

enum statement {
    GET_LATEST, GET_VERSION, GET_BY_ID, HEAD_LATEST, HEAD_VERSION, RECEIPT_LATEST, RECEIPT_VERSION,
    LIST, SELF, OPENPGP,
};

static const struct db_statement STATEMENTS[] = {
    // $2 right, $3 handle
    [GET_LATEST] = {"get_latest",
                    ONE_DEPOSIT("$2", NO_RECEIPT, "", "true", BODY("true"),
                                "SELECT * FROM deposits d WHERE " BY_HANDLE " AND " PRESENT LATEST),
                    3, {DB_OID_BYTEA, DB_OID_TEXT, DB_OID_TEXT}},
    // $4 version
    [GET_VERSION] = {"get_version",
                     ONE_DEPOSIT("$2", NO_RECEIPT, "", "d.version = $4", BODY("d.version = $4"),
                                 THAT_OR_LATEST(PRESENT)),
                     4, {DB_OID_BYTEA, DB_OID_TEXT, DB_OID_TEXT, DB_OID_INT4}},
    // $3 deposit id
    [GET_BY_ID] = {"get_by_id",
                   ONE_DEPOSIT("$2", NO_RECEIPT, "", "true", BODY("true"),
                               "SELECT * FROM deposits d WHERE d.organisation_id ="
                               " w.organisation_id AND d.deposit_id = $3 AND " PRESENT),
                   3, {DB_OID_BYTEA, DB_OID_TEXT, DB_OID_UUID}},
    [HEAD_LATEST] = {"head_latest",
                     ONE_DEPOSIT("$2", NO_RECEIPT, "", "true", NO_BODY,
                                 "SELECT * FROM deposits d WHERE " BY_HANDLE " AND " PRESENT LATEST),
                     3, {DB_OID_BYTEA, DB_OID_TEXT, DB_OID_TEXT}},
    [HEAD_VERSION] = {"head_version",
                      ONE_DEPOSIT("$2", NO_RECEIPT, "", "d.version = $4", NO_BODY,
                                  THAT_OR_LATEST(PRESENT)),
                      4, {DB_OID_BYTEA, DB_OID_TEXT, DB_OID_TEXT, DB_OID_INT4}},
    [RECEIPT_LATEST] = {"receipt_latest",
                        ONE_DEPOSIT("$2", RECEIPT, INCARNATION, "true", NO_BODY,
                                    "SELECT * FROM deposits d WHERE " BY_HANDLE LATEST),
                        3, {DB_OID_BYTEA, DB_OID_TEXT, DB_OID_TEXT}},
    [RECEIPT_VERSION] = {"receipt_version",
                         ONE_DEPOSIT("$2", RECEIPT, INCARNATION, "d.version = $4", NO_BODY,
                                     THAT_OR_LATEST("true")),
                         4, {DB_OID_BYTEA, DB_OID_TEXT, DB_OID_TEXT, DB_OID_INT4}},
    // $2 right, $3 after (exclusive), $4 from (inclusive), $5 to (exclusive), $6 limit. Inside the
    // LATERAL the organisation is a constant: rows come in index order, only the versions of one
    // handle are sorted (x: PostgreSQL 15 sorts increments for ORDER BY, not for DISTINCT), and the
    // LIMIT ends the scan.
    [LIST] = {"list",
              WHO "SELECT " WHO_COLUMNS ", " DEPOSIT_COLUMNS ", " NO_RECEIPT ", "
              "a.granted, true, true, " NO_BODY
              " FROM w CROSS JOIN LATERAL (SELECT " GRANTED_ANYTHING("$2") " AS granted OFFSET 0) a"
              " LEFT JOIN LATERAL (SELECT DISTINCT ON (x.handle) x.* FROM ("
              "   SELECT d.deposit_id, d.client_id, d.handle, d.version, d.content_type, d.sha256,"
              "    d.size, d.log_index, d.deposited_at FROM deposits d"
              "   WHERE d.organisation_id = w.organisation_id AND d.handle > $3 AND d.handle >= $4"
              "    AND d.handle < $5 AND w.good AND " PRESENT " AND " GRANTED("$2")
              "   ORDER BY d.handle, d.version DESC) x"
              "  ORDER BY x.handle, x.version DESC LIMIT $6) d ON true",
              6, {DB_OID_BYTEA, DB_OID_TEXT, DB_OID_TEXT, DB_OID_TEXT, DB_OID_TEXT, DB_OID_INT4}},
    [SELF] = {"self",
              WHO "SELECT " WHO_COLUMNS ", json_build_object('client', c.client_id,"
              " 'name', c.name, 'organisation', w.organisation, 'state', c.state,"
              " 'created', " ISO_TIME("c.created_at") ","
              " 'certificate_not_after', " ISO_TIME("w.not_after") ","
              " 'openpgp', (SELECT coalesce(json_agg(p.fingerprint ORDER BY p.created_at), '[]')"
              "  FROM client_openpgp_keys p"
              "  WHERE p.client_id = w.client_id AND p.retired_at IS NULL),"
              " 'grants', (SELECT coalesce(json_agg(json_build_object('right', g.access,"
              "   'object', g.object, 'prefix', g.prefix, 'key_group', g.key_group_id)"
              "   ORDER BY g.created_at, g.access), '[]') FROM grants g"
              "  WHERE g.organisation_id = w.organisation_id AND g.revoked_at IS NULL"
              "  AND (g.client_id = w.client_id OR g.client_id IS NULL)),"
              " 'receipt_keys', (SELECT coalesce(json_agg(json_build_object("
              "   'id', encode(r.key_id, 'hex'), 'certificate', r.certificate)"
              "   ORDER BY r.created_at), '[]') FROM receipt_keys r))::text"
              " FROM w JOIN clients c ON c.client_id = w.client_id",
              1, {DB_OID_BYTEA}},
    // $2 fingerprint
    [OPENPGP] = {"openpgp",
                 WHO "SELECT " WHO_COLUMNS ", (SELECT p.public_key FROM client_openpgp_keys p"
                 " JOIN clients c ON c.client_id = p.client_id WHERE p.fingerprint = $2"
                 " AND c.organisation_id = w.organisation_id AND w.good LIMIT 1) FROM w",
                 2, {DB_OID_BYTEA, DB_OID_TEXT}},
};

const struct db_statement *db_reads_statements(size_t *count)
{
    *count = sizeof(STATEMENTS) / sizeof(STATEMENTS[0]);
    return STATEMENTS;
}

// --- columns in binary form; a NULL leaves zero ---

static const uint8_t *cell(const PGresult *r, int row, int column, size_t *n)
{
    *n = 0;
    if (column >= PQnfields(r) || PQgetisnull(r, row, column))
        return NULL;
    *n = (size_t)PQgetlength(r, row, column);
    return (const uint8_t *)PQgetvalue(r, row, column);
}

static void get_bytes(const PGresult *r, int row, int column, void *out, size_t size)
{
    size_t n;
    const uint8_t *p = cell(r, row, column, &n);

    if (p && n == size)
        memcpy(out, p, size);
}

static void get_text(const PGresult *r, int row, int column, char *out, size_t size)
{
    size_t n;
    const uint8_t *p = cell(r, row, column, &n);

    if (p && n < size)
        memcpy(out, p, n); // *out was zeroed
}

static uint64_t get_number(const PGresult *r, int row, int column)
{
    size_t n;
    const uint8_t *p = cell(r, row, column, &n);
    uint64_t v = 0;

    for (size_t i = 0; p && i < n && i < 8; i++)
        v = v << 8 | p[i];
    return v;
}

// timestamptz: microseconds since 2000-01-01.
static int64_t get_time(const PGresult *r, int row, int column)
{
    size_t n;

    if (!cell(r, row, column, &n))
        return 0;
    return (int64_t)(get_number(r, row, column) + UINT64_C(946684800000000));
}

static void get_who(const PGresult *r, struct db_who *who)
{
    char state[16] = "";

    get_bytes(r, 0, WHO_CLIENT, who->client_id.bytes, 16);
    get_bytes(r, 0, WHO_ORGANISATION_ID, who->organisation_id.bytes, 16);
    get_text(r, 0, WHO_ORGANISATION, who->organisation, sizeof(who->organisation));
    get_text(r, 0, WHO_STATE, state, sizeof(state));
    who->pending = strcmp(state, "pending") == 0;
    // Whatever is neither active nor pending can do nothing.
    who->revoked = !who->pending && strcmp(state, "active") != 0;
    who->certificate_revoked = get_number(r, 0, WHO_CERTIFICATE_REVOKED) != 0;
    who->not_after_us = get_time(r, 0, WHO_NOT_AFTER);
    who->organisation_disabled = get_number(r, 0, WHO_DISABLED) != 0;
}

static void get_deposit(const PGresult *r, int row, struct db_deposit *d)
{
    struct kt_receipt *receipt = &d->receipt;
    struct kt_leaf *leaf = &receipt->leaf;

    get_bytes(r, row, DEPOSIT_ID, d->deposit_id.bytes, 16);
    get_bytes(r, row, DEPOSIT_CLIENT, d->client_id.bytes, 16);
    get_text(r, row, DEPOSIT_HANDLE, d->handle, sizeof(d->handle));
    get_text(r, row, DEPOSIT_TYPE, d->content_type, sizeof(d->content_type));
    get_bytes(r, row, DEPOSIT_SHA256, d->sha256, KT_SHA256_LEN);
    d->size = get_number(r, row, DEPOSIT_SIZE);
    d->deleted = get_number(r, row, DEPOSIT_DELETED) != 0;
    leaf->incarnation.number = (uint32_t)get_number(r, row, RECEIPT_INCARNATION);
    leaf->incarnation.bits = get_number(r, row, RECEIPT_BITS);
    leaf->epoch = get_number(r, row, RECEIPT_EPOCH);
    leaf->log_index = get_number(r, row, DEPOSIT_INDEX);
    leaf->deposit_id = d->deposit_id;
    leaf->client_id = d->client_id;
    leaf->version = (uint32_t)get_number(r, row, DEPOSIT_VERSION);
    memcpy(leaf->sha256, d->sha256, KT_SHA256_LEN);
    leaf->size = d->size;
    leaf->time_us = get_time(r, row, DEPOSIT_TIME);
    receipt->w = (uint32_t)get_number(r, row, RECEIPT_W);
    get_bytes(r, row, RECEIPT_KEY_ID, receipt->key_id, KT_KEY_ID_LEN);
    get_bytes(r, row, RECEIPT_SIGNATURE, receipt->signature, KT_ED25519_SIG_LEN);
}

// Calls `done` with the rows; one deposit lies on the stack, a list on the heap.
static void decode(const PGresult *r, db_answer_done done, void *arg)
{
    struct db_answer answer = {0};
    struct db_deposit one = {0}, *list = NULL;
    size_t rows = (size_t)PQntuples(r), n;

    answer.known = rows > 0;
    if (!answer.known) {
        done(arg, 0, &answer);
        return;
    }
    get_who(r, &answer.who);
    answer.count = cell(r, 0, DEPOSIT_ID, &n) ? rows : 0;
    answer.deposits = &one;
    if (answer.count > 1) {
        list = calloc(answer.count, sizeof(*list));
        if (!list) {
            done(arg, KT_ERR_NO_MEMORY, NULL);
            return;
        }
        answer.deposits = list;
    }
    for (size_t i = 0; i < answer.count; i++)
        get_deposit(r, (int)i, &answer.deposits[i]);
    answer.granted = get_number(r, 0, GRANTED_COLUMN) != 0;
    answer.browsable = get_number(r, 0, BROWSABLE_COLUMN) != 0;
    answer.version_found = get_number(r, 0, VERSION_COLUMN) != 0;
    answer.bytes = cell(r, 0, BODY_COLUMN, &answer.len);
    done(arg, 0, &answer);
    free(list);
}

// function pointers keep their type through this one only
static db_answer_done answer_done(void (*done)(void))
{
    return (db_answer_done)done;
}

static void deposit_done(void (*done)(void), void *arg, int code, const PGresult *r)
{
    if (code)
        answer_done(done)(arg, code, NULL);
    else
        decode(r, answer_done(done), arg);
}

// One row of who, and one value.
static void value_done(void (*done)(void), void *arg, int code, const PGresult *r)
{
    struct db_answer answer = {0};

    if (code) {
        answer_done(done)(arg, code, NULL);
        return;
    }
    answer.known = PQntuples(r) > 0;
    if (answer.known) {
        get_who(r, &answer.who);
        answer.bytes = cell(r, 0, KEY_COLUMN, &answer.len);
        answer.text = (const char *)answer.bytes;
        answer.text_len = answer.len;
    }
    answer_done(done)(arg, 0, &answer);
}

static void add(struct db_params *params, const void *value, size_t n)
{
    params->values[params->count] = value;
    params->lengths[params->count++] = (int)n;
}

static int send_handle(struct db_reader *reader, enum statement latest, enum statement version_one,
                       const uint8_t *certificate, const char *right, const char *handle,
                       uint32_t version, db_answer_done done, void *arg, struct db_read **read)
{
    struct db_params params = {0};
    uint32_t number = htobe32(version);

    add(&params, certificate, KT_SHA256_LEN);
    add(&params, right, strlen(right));
    add(&params, handle, strlen(handle));
    if (version > 0)
        add(&params, &number, sizeof(number));
    return db_reader_send(reader, &STATEMENTS[version > 0 ? version_one : latest], &params,
                          deposit_done, (void (*)(void))done, arg, read);
}

int db_read_deposit(struct db_reader *reader, const uint8_t certificate[KT_SHA256_LEN],
                    const char *right, const char *handle, uint32_t version, int with_body,
                    db_answer_done done, void *arg, struct db_read **read)
{
    return send_handle(reader, with_body ? GET_LATEST : HEAD_LATEST,
                       with_body ? GET_VERSION : HEAD_VERSION, certificate, right, handle, version,
                       done, arg, read);
}

int db_read_receipt(struct db_reader *reader, const uint8_t certificate[KT_SHA256_LEN],
                    const char *right, const char *handle, uint32_t version, db_answer_done done,
                    void *arg, struct db_read **read)
{
    return send_handle(reader, RECEIPT_LATEST, RECEIPT_VERSION, certificate, right, handle,
                       version, done, arg, read);
}

int db_read_deposit_by_id(struct db_reader *reader, const uint8_t certificate[KT_SHA256_LEN],
                          const char *right, const struct kt_uuid *id, db_answer_done done,
                          void *arg, struct db_read **read)
{
    struct db_params params = {0};

    add(&params, certificate, KT_SHA256_LEN);
    add(&params, right, strlen(right));
    add(&params, id->bytes, 16);
    return db_reader_send(reader, &STATEMENTS[GET_BY_ID], &params, deposit_done,
                          (void (*)(void))done, arg, read);
}

int db_read_list(struct db_reader *reader, const uint8_t certificate[KT_SHA256_LEN],
                 const char *right, const char *prefix, const char *after, uint32_t limit,
                 db_answer_done done, void *arg, struct db_read **read)
{
    struct db_params params = {0};
    uint32_t number = htobe32(limit);
    char end[KT_HANDLE_MAX + 1] = "~"; // behind every character of a handle
    size_t n = strlen(prefix);

    if (n > KT_HANDLE_MAX || strlen(after) > KT_HANDLE_MAX || limit == 0 || limit > DB_LIST_MAX)
        return KT_ERR_INVALID;
    // Bytes compare as bytes (COLLATE "C") and handles are ASCII: the first text behind all those
    // with the prefix is the prefix with its last byte one higher.
    if (n > 0) {
        memcpy(end, prefix, n + 1);
        end[n - 1]++;
    }
    add(&params, certificate, KT_SHA256_LEN);
    add(&params, right, strlen(right));
    add(&params, after, strlen(after));
    add(&params, prefix, n);
    add(&params, end, strlen(end));
    add(&params, &number, sizeof(number));
    return db_reader_send(reader, &STATEMENTS[LIST], &params, deposit_done, (void (*)(void))done,
                          arg, read);
}

int db_read_self(struct db_reader *reader, const uint8_t certificate[KT_SHA256_LEN],
                 db_answer_done done, void *arg, struct db_read **read)
{
    struct db_params params = {0};

    add(&params, certificate, KT_SHA256_LEN);
    return db_reader_send(reader, &STATEMENTS[SELF], &params, value_done, (void (*)(void))done, arg,
                          read);
}

int db_read_openpgp(struct db_reader *reader, const uint8_t certificate[KT_SHA256_LEN],
                    const char *fingerprint, db_answer_done done, void *arg,
                    struct db_read **read)
{
    struct db_params params = {0};

    add(&params, certificate, KT_SHA256_LEN);
    add(&params, fingerprint, strlen(fingerprint));
    return db_reader_send(reader, &STATEMENTS[OPENPGP], &params, value_done, (void (*)(void))done,
                          arg, read);
}
