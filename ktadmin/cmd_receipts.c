// SPDX-License-Identifier: Apache-2.0
// receipts check: whether everything that was acknowledged is in this node's database.
#include <stdlib.h>
#include <string.h>

#include <openssl/objects.h>

#include "db/receipts.h"
#include "ktadmin/commands.h"
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
    struct kta_node node;
    struct db_receipts *database;
    X509 *ca;
    struct key {
        uint8_t id[KT_KEY_ID_LEN], pub[KT_ED25519_PUB_LEN];
        X509 *cert;
    } keys[KEYS_MAX];
    size_t key_count;
    char **texts; // of the files
    json_t *bad;  // [{"file", "deposit_id", "index", "problem"}]
    uint64_t checked;
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

// --- the command ---

// As whoever calls, and where they are: the files may be a client's. Only then
// this process becomes the account.
static int read_files(struct check *check, struct kt_error *error)
{
    int rc = 0;

    check->texts = calloc((size_t)check->run->argc, sizeof(*check->texts));
    if (!check->texts)
        return kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    for (int i = 0; i < check->run->argc && rc == 0; i++)
        rc = kt_file_read_text(check->run->argv[i], FILE_MAX, &check->texts[i], error);
    return rc;
}

static int check_all(struct check *check, struct kt_error *error)
{
    int rc = read_files(check, error);

    if (rc == 0)
        rc = kta_open(check->run, KTA_FILES, &check->node, error);
    if (rc == 0)
        rc = kt_pki_cert_load(check->node.paths.ca_cert, &check->ca, error);
    if (rc == 0)
        rc = db_receipts_open(&check->node.paths, check->node.settings, &check->database, error);
    for (int i = 0; i < check->run->argc && rc == 0; i++)
        rc = check_file(check, check->run->argv[i], check->texts[i], error);
    return rc;
}

static void print_result(const struct check *check)
{
    size_t bad = json_array_size(check->bad);
    int is_standby = db_receipts_is_standby(check->database);

    if (kt_cli_flag(check->run, "json")) {
        json_t *answer = json_pack("{s:I, s:O, s:b}", "checked", (json_int_t)check->checked, "bad",
                                   check->bad, "standby", is_standby);
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
    if (is_standby && bad > 0)
        printf("note: this node is a passive: what was acknowledged a moment ago may not have "
               "arrived\n");
}

static int run_check(struct kt_cli_run *run)
{
    struct check check = {.run = run, .bad = json_array()};
    struct kt_error error = {0};
    int rc = check.bad ? check_all(&check, &error)
                       : kt_error_set(&error, KT_ERR_NO_MEMORY, NULL, "out of memory"),
        code = KT_EXIT_OK;

    if (rc)
        code = kt_cli_fail(run, &error);
    else
        print_result(&check);
    if (rc == 0 && json_array_size(check.bad) > 0)
        code = KT_EXIT_INTEGRITY;
    for (size_t i = 0; i < check.key_count; i++)
        X509_free(check.keys[i].cert);
    for (int i = 0; i < run->argc && check.texts; i++)
        free(check.texts[i]);
    free(check.texts);
    db_receipts_close(check.database);
    X509_free(check.ca);
    json_decref(check.bad);
    kta_close(&check.node);
    return code;
}

const struct kt_cli_command kta_cmd_receipts_check = {
    .verb = "receipts check",
    .arguments = "FILE...",
    .summary = "check that what receipts prove is in this node's database",
    .help =
        "A FILE is one that 'keytrustee receipts export' has written, or that a client keeps. "
        "Signature, place\nin the log and the body's hash are checked. Each receipt that is not "
        "proven is printed, and the exit\ncode is then 7.",
    .min_args = 1,
    .max_args = 1000000,
    .run = run_check,
};
