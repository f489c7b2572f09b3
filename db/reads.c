// SPDX-License-Identifier: Apache-2.0
// Parameters and rows of the workers' reads.
#include "db/reads.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "db/reads_inner.h"
#include "lib/merkle.h"

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
    get_bytes(r, row, DEPOSIT_KEY_GROUP, d->key_group.bytes, 16);
    get_text(r, row, DEPOSIT_TYPE, d->content_type, sizeof(d->content_type));
    get_bytes(r, row, DEPOSIT_SHA256, d->sha256, KT_SHA256_LEN);
    d->size = get_number(r, row, DEPOSIT_SIZE);
    d->deleted = get_number(r, row, DEPOSIT_DELETED) != 0;
    d->has_policy = get_number(r, row, DEPOSIT_POLICY) != 0;
    get_text(r, row, LOCK_MODE, d->lock_mode, sizeof(d->lock_mode));
    d->lock_until_us = get_time(r, row, LOCK_UNTIL);
    d->legal_hold = get_number(r, row, LEGAL_HOLD) != 0;
    d->lock_in_force = get_number(r, row, LOCK_IN_FORCE) != 0;
    d->purge_after_us = get_time(r, row, PURGE_AFTER);
    d->purged_at_us = get_time(r, row, PURGED_AT);
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
    answer.gone = get_number(r, 0, GONE_COLUMN) != 0;
    answer.bytes = cell(r, 0, BODY_COLUMN, &answer.len);
    answer.release = (enum db_release)get_number(r, 0, RELEASE_COLUMN);
    answer.text = (const char *)cell(r, 0, POLICY_COLUMN, &answer.text_len);
    done(arg, 0, &answer);
    free(list);
}

// Callbacks pass through the reader as void (*)(void) and get their type back here.
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

// One value, for whoever asks.
static void public_done(void (*done)(void), void *arg, int code, const PGresult *r)
{
    struct db_answer answer = {0};

    if (code == 0)
        answer.text = (const char *)cell(r, 0, 0, &answer.text_len);
    answer_done(done)(arg, code, code ? NULL : &answer);
}

static void add(struct db_params *params, const void *value, size_t n)
{
    params->values[params->count] = value;
    params->lengths[params->count++] = (int)n;
}

static const struct db_statement *statement(enum statement place)
{
    size_t count;

    return &db_reads_statements(&count)[place];
}

static int send_handle(struct db_reader *reader, enum statement latest, enum statement version_one,
                       const uint8_t *certificate, const char *right, const char *handle,
                       uint32_t version, const uint8_t *justified, db_answer_done done, void *arg,
                       struct db_read **read)
{
    struct db_params params = {0};
    uint32_t number = htobe32(version);

    add(&params, certificate, KT_SHA256_LEN);
    add(&params, right, strlen(right));
    add(&params, handle, strlen(handle));
    if (version > 0)
        add(&params, &number, sizeof(number));
    if (justified)
        add(&params, justified, 1);
    return db_reader_send(reader, statement(version > 0 ? version_one : latest), &params,
                          deposit_done, (void (*)(void))done, arg, read);
}

int db_read_deposit(struct db_reader *reader, const uint8_t certificate[KT_SHA256_LEN],
                    const char *right, const char *handle, uint32_t version, int justified,
                    db_answer_done done, void *arg, struct db_read **read)
{
    uint8_t flag = justified != 0;

    return send_handle(reader, GET_LATEST, GET_VERSION, certificate, right, handle, version, &flag,
                       done, arg, read);
}

int db_read_head(struct db_reader *reader, const uint8_t certificate[KT_SHA256_LEN],
                 const char *right, const char *handle, uint32_t version, db_answer_done done,
                 void *arg, struct db_read **read)
{
    return send_handle(reader, HEAD_LATEST, HEAD_VERSION, certificate, right, handle, version, NULL,
                       done, arg, read);
}

int db_read_receipt(struct db_reader *reader, const uint8_t certificate[KT_SHA256_LEN],
                    const char *right, const char *handle, uint32_t version, db_answer_done done,
                    void *arg, struct db_read **read)
{
    return send_handle(reader, RECEIPT_LATEST, RECEIPT_VERSION, certificate, right, handle, version,
                       NULL, done, arg, read);
}

int db_read_deposit_by_id(struct db_reader *reader, const uint8_t certificate[KT_SHA256_LEN],
                          const char *right, const struct kt_uuid *id, int justified,
                          db_answer_done done, void *arg, struct db_read **read)
{
    struct db_params params = {0};
    uint8_t flag = justified != 0;

    add(&params, certificate, KT_SHA256_LEN);
    add(&params, right, strlen(right));
    add(&params, id->bytes, 16);
    add(&params, &flag, 1);
    return db_reader_send(reader, statement(GET_BY_ID), &params, deposit_done, (void (*)(void))done,
                          arg, read);
}

int db_read_released(struct db_reader *reader, const uint8_t certificate[KT_SHA256_LEN],
                     const char *right, const struct kt_uuid *id, const struct kt_uuid *retrieval,
                     db_answer_done done, void *arg, struct db_read **read)
{
    struct db_params params = {0};

    add(&params, certificate, KT_SHA256_LEN);
    add(&params, right, strlen(right));
    add(&params, id->bytes, 16);
    add(&params, retrieval->bytes, 16);
    return db_reader_send(reader, statement(GET_RELEASED), &params, deposit_done,
                          (void (*)(void))done, arg, read);
}

int db_read_requests(struct db_reader *reader, const uint8_t certificate[KT_SHA256_LEN],
                     const char *state, const struct kt_uuid *after, uint32_t limit,
                     db_answer_done done, void *arg, struct db_read **read)
{
    struct db_params params = {0};
    uint32_t number = htobe32(limit);

    if (limit == 0 || limit > DB_LIST_MAX)
        return KT_ERR_INVALID;
    add(&params, certificate, KT_SHA256_LEN);
    add(&params, state, strlen(state));
    add(&params, after->bytes, 16);
    add(&params, &number, sizeof(number));
    return db_reader_send(reader, statement(REQUESTS), &params, value_done, (void (*)(void))done,
                          arg, read);
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
    return db_reader_send(reader, statement(LIST), &params, deposit_done, (void (*)(void))done, arg,
                          read);
}

int db_read_self(struct db_reader *reader, const uint8_t certificate[KT_SHA256_LEN],
                 db_answer_done done, void *arg, struct db_read **read)
{
    struct db_params params = {0};

    add(&params, certificate, KT_SHA256_LEN);
    return db_reader_send(reader, statement(SELF), &params, value_done, (void (*)(void))done, arg,
                          read);
}

int db_read_openpgp(struct db_reader *reader, const uint8_t certificate[KT_SHA256_LEN],
                    const char *fingerprint, db_answer_done done, void *arg, struct db_read **read)
{
    struct db_params params = {0};

    add(&params, certificate, KT_SHA256_LEN);
    add(&params, fingerprint, strlen(fingerprint));
    return db_reader_send(reader, statement(OPENPGP), &params, value_done, (void (*)(void))done,
                          arg, read);
}

int db_read_operator(struct db_reader *reader, const uint8_t certificate[KT_SHA256_LEN],
                     db_answer_done done, void *arg, struct db_read **read)
{
    struct db_params params = {0};

    add(&params, certificate, KT_SHA256_LEN);
    return db_reader_send(reader, statement(OPERATOR), &params, value_done, (void (*)(void))done,
                          arg, read);
}

int db_read_incarnations(struct db_reader *reader, db_answer_done done, void *arg,
                         struct db_read **read)
{
    const struct db_params none = {0};

    return db_reader_send(reader, statement(INCARNATIONS), &none, public_done, (void (*)(void))done,
                          arg, read);
}

int db_read_cluster_keys(struct db_reader *reader, db_answer_done done, void *arg,
                         struct db_read **read)
{
    const struct db_params none = {0};

    return db_reader_send(reader, statement(CLUSTER_KEYS), &none, public_done, (void (*)(void))done,
                          arg, read);
}

int db_read_log_head(struct db_reader *reader, const uint8_t certificate[KT_SHA256_LEN],
                     db_answer_done done, void *arg, struct db_read **read)
{
    struct db_params params = {0};

    add(&params, certificate, KT_SHA256_LEN);
    return db_reader_send(reader, statement(LOG_HEAD), &params, value_done, (void (*)(void))done,
                          arg, read);
}

static int send_proof(struct db_reader *reader, enum statement which, const uint8_t *certificate,
                      uint64_t first, uint64_t second, db_answer_done done, void *arg,
                      struct db_read **read)
{
    struct db_params params = {0};
    uint64_t one = htobe64(first), two = htobe64(second);

    if (first == 0 || first > second || second >= KT_MERKLE_MAX)
        return KT_ERR_INVALID;
    add(&params, certificate, KT_SHA256_LEN);
    add(&params, &one, sizeof(one));
    add(&params, &two, sizeof(two));
    return db_reader_send(reader, statement(which), &params, value_done, (void (*)(void))done, arg,
                          read);
}

int db_read_log_inclusion(struct db_reader *reader, const uint8_t certificate[KT_SHA256_LEN],
                          uint64_t index, uint64_t size, db_answer_done done, void *arg,
                          struct db_read **read)
{
    return send_proof(reader, LOG_INCLUSION, certificate, index, size, done, arg, read);
}

int db_read_log_consistency(struct db_reader *reader, const uint8_t certificate[KT_SHA256_LEN],
                            uint64_t from, uint64_t to, db_answer_done done, void *arg,
                            struct db_read **read)
{
    return send_proof(reader, LOG_CONSISTENCY, certificate, from, to, done, arg, read);
}
