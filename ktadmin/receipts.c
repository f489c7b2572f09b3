// SPDX-License-Identifier: Apache-2.0
// Receipts against a database: signature, place in the log, the body's hash.
#include "ktadmin/receipts.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/objects.h>

#include "lib/file.h"
#include "lib/pki.h"

#define FILE_MAX   ((size_t)1 << 30)
#define KEYS_MAX   64
#define FIRST_LINE "keytrustee-receipt 1\n"
#define LAST_NAME  "\nsignature "
#define RECEIPT_UNIT                                                                               \
    "keytrustee receipt key" // of the certificates of receipt keys, and of no others

struct check {
    const struct kt_cli_run *run;
    const struct kta_receipt_files *files;
    struct db_receipts *database;
    X509 *ca;
    struct key {
        uint8_t id[KT_KEY_ID_LEN], pub[KT_ED25519_PUB_LEN];
        X509 *cert;
    } keys[KEYS_MAX];
    size_t key_count;
    json_t *bad; // [{"file", "deposit_id", "index", "problem"}]
    uint64_t checked, upto, newer;
};

// --- keys ---

static int is_receipt_cert(X509 *cert, const uint8_t id[KT_KEY_ID_LEN],
                           uint8_t pub[KT_ED25519_PUB_LEN])
{
    char unit[64] = "";
    uint8_t key_id[KT_KEY_ID_LEN];
    EVP_PKEY *key = X509_get0_pubkey(cert);

    X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_organizationalUnitName, unit,
                              sizeof(unit));
    return strcmp(unit, RECEIPT_UNIT) == 0 && key && kt_ed25519_public(key, pub) == 0 &&
           kt_ed25519_key_id(pub, key_id) == 0 && memcmp(key_id, id, sizeof(key_id)) == 0;
}

// The key, from the database, once.
static int find_key(struct check *check, const uint8_t id[KT_KEY_ID_LEN], const struct key **key,
                    struct kt_error *error)
{
    struct key *fresh = &check->keys[check->key_count];
    char *pem = NULL;
    int rc;

    for (size_t i = 0; i < check->key_count; i++)
        if (memcmp(check->keys[i].id, id, KT_KEY_ID_LEN) == 0) {
            *key = &check->keys[i];
            return 0;
        }
    if (check->key_count == KEYS_MAX)
        return kt_error_set(error, KT_ERR_TOO_LARGE, NULL, "more than %d receipt keys", KEYS_MAX);
    rc = db_receipts_key(check->database, id, &pem, error);
    if (rc == 0)
        rc = kt_pki_cert_from_pem(pem, strlen(pem), &fresh->cert);
    if (rc == 0 && !is_receipt_cert(fresh->cert, id, fresh->pub))
        rc = kt_error_set(error, KT_ERR_SIGNATURE, NULL, "its key is no receipt key");
    free(pem);
    if (rc) {
        X509_free(fresh->cert);
        fresh->cert = NULL;
        return rc;
    }
    memcpy(fresh->id, id, sizeof(fresh->id));
    check->key_count++;
    *key = fresh;
    return 0;
}

// Signed by a key that the CA had certified then.
static int verify(struct check *check, const struct kt_receipt *receipt, struct kt_error *error)
{
    const struct key *key = NULL;
    int rc = find_key(check, receipt->key_id, &key, error);

    if (rc == 0)
        rc = kt_pki_cert_check(key->cert, check->ca, receipt->leaf.time_us);
    if (rc == 0)
        rc = kt_receipt_verify(receipt, key->pub);
    return rc;
}

// --- receipts ---

static int note(struct check *check, const char *file, const struct kt_receipt *receipt,
                const char *problem)
{
    char id[KT_UUID_TEXT], hash[KT_SHA256_TEXT];
    json_t *one = json_pack("{s:s, s:s}", "file", file, "problem", problem);

    if (one && receipt) {
        kt_uuid_format(&receipt->leaf.deposit_id, id);
        kt_hex_encode(receipt->leaf.handle_hash, KT_SHA256_LEN, hash);
        json_object_set_new(one, "deposit_id", json_string(id));
        json_object_set_new(one, "index", json_integer((json_int_t)receipt->leaf.log_index));
        json_object_set_new(one, "epoch", json_integer((json_int_t)receipt->leaf.epoch));
        json_object_set_new(one, "version", json_integer(receipt->leaf.version));
        json_object_set_new(one, "handle_sha256", json_string(hash));
        if (!kt_cli_flag(check->run, "json"))
            printf("%s: %s: deposit %s, log index %llu, epoch %llu, version %u, handle-sha256 %s\n",
                   file, problem, id, (unsigned long long)receipt->leaf.log_index,
                   (unsigned long long)receipt->leaf.epoch, (unsigned)receipt->leaf.version, hash);
    } else if (!kt_cli_flag(check->run, "json")) {
        printf("%s: %s\n", file, problem);
    }
    return one && json_array_append_new(check->bad, one) == 0 ? 0 : KT_ERR_NO_MEMORY;
}

static int check_one(struct check *check, const char *file, const char *text, size_t n,
                     struct kt_error *error)
{
    enum db_receipt_found found = DB_RECEIPT_MISSING;
    struct kt_receipt receipt;
    struct kt_error why = {0};
    int rc;

    check->checked++;
    if (kt_receipt_parse(text, n, &receipt) != 0)
        return note(check, file, NULL, "not a receipt");
    rc = verify(check, &receipt, &why);
    if (rc == KT_ERR_DATABASE_UNAVAILABLE || rc == KT_ERR_DATABASE_TIMEOUT)
        return kt_error_set(error, rc, why.hint, "%s", why.message);
    if (rc)
        return note(check, file, &receipt, "bad signature");
    if (receipt.leaf.log_index > check->upto) {
        check->newer++;
        return 0;
    }
    rc = db_receipts_look(check->database, &receipt, &found, error);
    if (rc == 0 && found == DB_RECEIPT_MISSING)
        rc = note(check, file, &receipt, "missing");
    else if (rc == 0 && found == DB_RECEIPT_DIFFERS)
        rc = note(check, file, &receipt, "other content");
    return rc;
}

// A file holds one receipt, as a client keeps it, or many, one behind the other.
static int check_file(struct check *check, const char *file, const char *text,
                      struct kt_error *error)
{
    int rc = 0;

    for (const char *at = text; rc == 0 && *at;) {
        const char *last = strstr(at, LAST_NAME),
                   *end = last ? strchr(last + strlen(LAST_NAME), '\n') : NULL;
        size_t n = end ? (size_t)(end - at) + 1 : strlen(at);
        rc = check_one(check, file, at, n, error);
        at += n;
    }
    if (rc == KT_ERR_NO_MEMORY)
        kt_error_set(error, rc, NULL, "out of memory");
    return rc;
}

// --- all of them ---

int kta_receipts_read(const char *const *names, size_t count, struct kta_receipt_files *files,
                      struct kt_error *error)
{
    int rc = 0;

    memset(files, 0, sizeof(*files));
    files->names = calloc(count + 1, sizeof(*files->names));
    files->texts = calloc(count + 1, sizeof(*files->texts));
    if (!files->names || !files->texts)
        rc = kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    for (size_t i = 0; i < count && rc == 0; i++) {
        files->names[i] = names[i];
        rc = kt_file_read_text(names[i], FILE_MAX, &files->texts[i], error);
        files->count += rc == 0;
    }
    return rc;
}

int kta_receipts_read_options(const struct kt_cli_run *run, const char *option,
                              struct kta_receipt_files *files, struct kt_error *error)
{
    int count = kt_cli_count(run, option);
    const char **names = calloc((size_t)count + 1, sizeof(*names));
    int rc;

    if (!names)
        return kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    for (int i = 0; i < count; i++)
        names[i] = kt_cli_nth(run, option, i);
    rc = kta_receipts_read(names, (size_t)count, files, error);
    free(names);
    return rc;
}

void kta_receipts_free(struct kta_receipt_files *files)
{
    for (size_t i = 0; files->texts && i < files->count; i++)
        free(files->texts[i]);
    free(files->texts);
    free(files->names);
    memset(files, 0, sizeof(*files));
}

static void print_result(const struct check *check)
{
    size_t bad = json_array_size(check->bad);
    int is_standby = db_receipts_is_standby(check->database);

    if (kt_cli_flag(check->run, "json")) {
        json_t *answer =
            json_pack("{s:I, s:I, s:O, s:b}", "checked", (json_int_t)check->checked, "newer",
                      (json_int_t)check->newer, "bad", check->bad, "standby", is_standby);
        kta_print_json(answer);
        json_decref(answer);
        return;
    }
    if (kt_cli_flag(check->run, "quiet"))
        return;
    if (bad == 0)
        printf("%llu receipts: all present\n", (unsigned long long)check->checked);
    else
        printf("%llu receipts: %zu not proven by this database\n",
               (unsigned long long)check->checked, bad);
    if (check->newer > 0)
        printf("%llu of them are newer than the backup\n", (unsigned long long)check->newer);
    if (is_standby && bad > 0)
        printf("note: this node is a passive: what was acknowledged a moment ago may not have "
               "arrived\n");
}

int kta_receipts_check(const struct kt_cli_run *run, const struct kt_paths *paths,
                       struct db_receipts *database, uint64_t upto,
                       const struct kta_receipt_files *files, int *missing, struct kt_error *error)
{
    struct check check = {
        .run = run, .files = files, .database = database, .upto = upto, .bad = json_array()};
    int rc = check.bad ? kt_pki_ca_load(paths->ca_cert, &check.ca, error)
                       : kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");

    for (size_t i = 0; i < files->count && rc == 0; i++)
        rc = check_file(&check, files->names[i], files->texts[i], error);
    if (rc == 0) {
        print_result(&check);
        *missing = json_array_size(check.bad) > 0;
    }
    for (size_t i = 0; i < check.key_count; i++)
        X509_free(check.keys[i].cert);
    X509_free(check.ca);
    json_decref(check.bad);
    return rc;
}
