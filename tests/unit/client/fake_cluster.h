// SPDX-License-Identifier: Apache-2.0
// A cluster inside the test: takes the place of lib/http_client.c at link time, so that a case can
// break any call, and answers as docs/protocol.md says. Include behind cmocka.h.
#ifndef KTC_TEST_FAKE_CLUSTER_H
#define KTC_TEST_FAKE_CLUSTER_H

#include <ftw.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/client.h"
#include "lib/file.h"
#include "lib/http_client.h"
#include "lib/json.h"
#include "lib/pki.h"

#define FAKE_DEPOSITS_MAX 1300

struct fake_deposit {
    char id[KT_UUID_TEXT], handle[KT_HANDLE_MAX + 1], sha256[KT_SHA256_TEXT];
    char receipt[KT_RECEIPT_TEXT];
    uint32_t version;
    uint8_t *body;
    size_t len;
    int deleted;
};

static struct {
    EVP_PKEY *ca_key, *receipt_key;
    X509 *ca, *receipt_cert;
    char receipt_key_id[2 * KT_KEY_ID_LEN + 1];
    json_t *keys_before; // what is listed to those who ask for no barrier; NULL: what there is
    struct kt_authcode code;
    char auth_code[KT_AUTHCODE_TEXT];
    char client[KT_UUID_TEXT], certificate[8192], name[64];
    int64_t certificate_lifetime_s;
    struct fake_deposit deposits[FAKE_DEPOSITS_MAX];
    size_t deposit_count;
    unsigned long long epoch;
    const char *incarnation;
    int registrations, renewals, requests, selves_asked;
    const char *state; // of the client
    // What /v1/incarnations gives; NULL: an old server, which has no such call.
    const char *incarnations;
    int statements_asked;     // how often it was
    const char *cluster_keys; // the same of /v1/cluster-keys
    int cluster_keys_asked;
    const char *cluster_key; // KT-Cluster-Key of every answer, or NULL
    const char *active;      // KT-Active of every answer, or NULL
    X509 *ca_set;            // KT-CA of every answer, and what /v1/clients/self tells; or NULL
    char asked[4096];        // "one two ", the servers in the order of the requests
    // Called for each request; anything but 0 is what kt_http_client_run returns. `*sent` = 1 lets
    // the request be acted on first, as when only the answer is lost.
    int (*network)(const char *server, const struct kt_http_request *request, int *sent);
    // Called before a request is acted on; 1 = it is not.
    int (*declines)(const char *server, const struct kt_http_request *request);
    // Called for each answer; may change it.
    void (*meddle)(const char *server, const struct kt_http_request *request,
                   struct kt_http_answer *answer);
} fake;

static char fake_fingerprint[KT_OPENPGP_FINGERPRINT_TEXT] = // of the cluster's OpenPGP key
    "0123456789ABCDEF0123456789ABCDEF01234567";
#define FAKE_CLUSTER_ID "11111111-2222-4333-8444-555555555555"

struct kt_http_client {
    char server[KTC_SERVER_TEXT];
    int sent;
};

// --- what lib/http_client.c would do ---

static void fake_header(struct kt_http_answer *answer, const char *name, const char *value)
{
    for (size_t i = 0; i < answer->header_count; i++) {
        if (strcasecmp(answer->header_names[i], name) == 0) {
            free(answer->header_values[i]);
            answer->header_values[i] = strdup(value);
            return;
        }
    }
    answer->header_names[answer->header_count] = strdup(name);
    answer->header_values[answer->header_count++] = strdup(value);
}

static void fake_body(struct kt_http_answer *answer, int status, const void *bytes, size_t n)
{
    answer->status = status;
    kt_buf_reset(&answer->body);
    assert_int_equal(kt_buf_put(&answer->body, bytes, n), 0);
}

static void fake_json(struct kt_http_answer *answer, int status, json_t *object)
{
    char *text = kt_json_text(object);

    assert_non_null(text);
    fake_body(answer, status, text, strlen(text));
    free(text);
    json_decref(object);
}

static void fake_error(struct kt_http_answer *answer, int code)
{
    const struct kt_err_info *info = kt_err_info(code);

    fake_json(answer, info->http,
              json_pack("{s:{s:s, s:s, s:s, s:s}}", "error", "code", info->name, "message",
                        info->text, "hint", info->hint ? info->hint : "", "request_id", "r-1"));
}

int kt_http_client_new(const char *server, const struct kt_http_tls *tls,
                       struct kt_http_client **client, struct kt_error *error)
{
    (void)tls, (void)error;
    *client = calloc(1, sizeof **client);
    snprintf((*client)->server, sizeof(*client)->server, "%s", server);
    return 0;
}

void kt_http_client_free(struct kt_http_client *client)
{
    free(client);
}

int kt_http_client_sent(const struct kt_http_client *client)
{
    return client->sent;
}

const char *kt_http_client_server(const struct kt_http_client *client)
{
    return client->server;
}

const char *kt_http_client_address(const struct kt_http_client *client)
{
    (void)client;
    return "";
}

const char *kt_http_answer_header(const struct kt_http_answer *answer, const char *name)
{
    for (size_t i = 0; i < answer->header_count; i++)
        if (strcasecmp(answer->header_names[i], name) == 0)
            return answer->header_values[i];
    return NULL;
}

void kt_http_answer_free(struct kt_http_answer *answer)
{
    for (size_t i = 0; i < answer->header_count; i++) {
        free(answer->header_names[i]);
        free(answer->header_values[i]);
    }
    answer->header_count = 0;
    kt_buf_free(&answer->body);
}

// --- what the server would do ---

static void fake_pem(X509 *cert, char *out, size_t size)
{
    struct kt_buf pem = KT_BUF_INIT(8192);

    assert_int_equal(kt_pki_cert_to_pem(cert, &pem), 0);
    snprintf(out, size, "%.*s", (int)kt_buf_left(&pem), (const char *)kt_buf_ptr(&pem));
    kt_buf_free(&pem);
}

static void fake_certify(const char *csr)
{
    struct kt_pki_subject subject = {.role = KT_PKI_CLIENT,
                                     .common_name = fake.client,
                                     .organisation = "org",
                                     .lifetime_s = fake.certificate_lifetime_s};
    EVP_PKEY *key = NULL;
    X509 *cert = NULL;

    assert_int_equal(kt_pki_csr_key(csr, strlen(csr), &key, NULL), 0);
    assert_int_equal(kt_pki_sign(fake.ca_key, fake.ca, key, &subject, &cert), 0);
    fake_pem(cert, fake.certificate, sizeof fake.certificate);
    X509_free(cert);
    EVP_PKEY_free(key);
}

static json_t *fake_receipt_keys(void)
{
    char pem[8192];

    fake_pem(fake.receipt_cert, pem, sizeof pem);
    return json_pack("[{s:s, s:s}]", "id", fake.receipt_key_id, "certificate", pem);
}

static void fake_register(const struct kt_http_request *request, struct kt_http_answer *answer)
{
    json_t *object = NULL;
    const char *code = NULL, *csr = NULL, *openpgp = NULL;
    char ca[8192];

    assert_int_equal(kt_json_parse_object(request->body, request->body_len, &object, NULL), 0);
    assert_int_equal(kt_json_string(object, "auth_code", 1, 200, &code, NULL), 0);
    assert_int_equal(kt_json_string(object, "csr", 1, 8192, &csr, NULL), 0);
    assert_int_equal(kt_json_string(object, "openpgp", 1, 65536, &openpgp, NULL), 0);
    assert_string_equal(code, fake.auth_code);
    snprintf(fake.name, sizeof fake.name, "%s", json_string_value(json_object_get(object, "name")));
    if (fake.registrations++ == 0)
        fake_certify(csr);
    fake_pem(fake.ca, ca, sizeof ca);
    fake_json(answer, fake.registrations == 1 ? 201 : 200,
              json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:{s:s, s:s, s:s, s:I}}", "client",
                        fake.client, "organisation", "org", "state", fake.state, "certificate",
                        fake.certificate, "ca", ca, "receipt_keys", fake_receipt_keys(), "cluster",
                        "id", FAKE_CLUSTER_ID, "openpgp_fingerprint", fake_fingerprint,
                        "incarnation", fake.incarnation, "epoch", (json_int_t)fake.epoch));
    json_decref(object);
}

static void fake_ca_text(X509 *set, char *out, size_t size)
{
    struct kt_buf pem = KT_BUF_INIT(32768);

    assert_int_equal(kt_pki_ca_to_pem(set, &pem), 0);
    snprintf(out, size, "%.*s", (int)kt_buf_left(&pem), (const char *)kt_buf_ptr(&pem));
    kt_buf_free(&pem);
}

static void fake_self(int fresh, struct kt_http_answer *answer)
{
    json_t *keys = fresh || !fake.keys_before ? fake_receipt_keys() : json_incref(fake.keys_before);
    char ca[16384] = "";

    fake.selves_asked++;
    if (fake.ca_set != NULL)
        fake_ca_text(fake.ca_set, ca, sizeof ca);
    fake_json(answer, 200,
              json_pack("{s:s*, s:s, s:s, s:s, s:s, s:s, s:o, s:[{s:s, s:s}, {s:s, s:s, s:s}], "
                        "s:{s:s, s:s, s:i, s:i}}",
                        "ca", ca[0] ? ca : NULL, "client", fake.client, "name", fake.name,
                        "organisation", "org", "state", fake.state, "created",
                        "2026-11-22T06:11:43.123456Z", "receipt_keys", keys, "grants", "right",
                        "deposit", "object", "own", "right", "browse", "object", "prefix", "prefix",
                        "a/", "node", "name", "kts-01", "role", "standalone", "members", 0, "w",
                        0));
}

static void fake_incarnations(struct kt_http_answer *answer)
{
    fake.statements_asked++;
    if (fake.incarnations != NULL)
        fake_body(answer, 200, fake.incarnations, strlen(fake.incarnations));
    else
        fake_error(answer, KT_ERR_ROUTE_UNKNOWN);
}

static void fake_cluster_keys(struct kt_http_answer *answer)
{
    fake.cluster_keys_asked++;
    if (fake.cluster_keys != NULL)
        fake_body(answer, 200, fake.cluster_keys, strlen(fake.cluster_keys));
    else
        fake_error(answer, KT_ERR_ROUTE_UNKNOWN);
}

static void fake_renew(const struct kt_http_request *request, struct kt_http_answer *answer)
{
    json_t *object = NULL;

    assert_int_equal(kt_json_parse_object(request->body, request->body_len, &object, NULL), 0);
    fake_certify(json_string_value(json_object_get(object, "csr")));
    fake.renewals++;
    fake_json(answer, 200, json_pack("{s:s}", "certificate", fake.certificate));
    json_decref(object);
}

static json_t *fake_describe(const struct fake_deposit *deposit)
{
    return json_pack("{s:s, s:s, s:I, s:s, s:I, s:I, s:s, s:s, s:b}", "id", deposit->id, "handle",
                     deposit->handle, "version", (json_int_t)deposit->version, "sha256",
                     deposit->sha256, "size", (json_int_t)deposit->len, "index",
                     (json_int_t)(deposit - fake.deposits), "time", "2026-11-22T06:11:43.123456Z",
                     "client", fake.client, "deleted", deposit->deleted);
}

static void fake_sign(struct fake_deposit *deposit)
{
    struct kt_receipt receipt = {0};

    assert_int_equal(kt_incarnation_parse(fake.incarnation, &receipt.leaf.incarnation), 0);
    assert_int_equal(kt_uuid_parse(deposit->id, &receipt.leaf.deposit_id), 0);
    assert_int_equal(kt_uuid_parse(fake.client, &receipt.leaf.client_id), 0);
    assert_int_equal(kt_sha256(deposit->handle, strlen(deposit->handle), receipt.leaf.handle_hash),
                     0);
    assert_int_equal(kt_sha256(deposit->body, deposit->len, receipt.leaf.sha256), 0);
    receipt.leaf.epoch = fake.epoch;
    receipt.leaf.log_index = (uint64_t)(deposit - fake.deposits) + 1;
    receipt.leaf.version = deposit->version;
    receipt.leaf.size = deposit->len;
    receipt.leaf.time_us = kt_time_now();
    assert_int_equal(kt_receipt_sign(&receipt, 0, fake.receipt_key), 0);
    kt_receipt_format(&receipt, deposit->receipt);
}

static struct fake_deposit *fake_find(const char *handle, uint64_t version)
{
    struct fake_deposit *best = NULL;

    for (size_t i = 0; i < fake.deposit_count; i++) {
        struct fake_deposit *one = &fake.deposits[i];
        if (strcmp(one->handle, handle) == 0 && !one->deleted &&
            (version == 0 || one->version == version) && (!best || one->version > best->version))
            best = one;
    }
    return best;
}

static const char *fake_request_header(const struct kt_http_request *request, const char *name)
{
    for (size_t i = 0; request->headers && request->headers[i]; i++)
        if (strncasecmp(request->headers[i], name, strlen(name)) == 0)
            return request->headers[i] + strlen(name) + 2;
    return NULL;
}

static struct fake_deposit *fake_add(const char *id, const char *handle, const void *body, size_t n)
{
    struct fake_deposit *latest = fake_find(handle, 0);
    struct fake_deposit *made = &fake.deposits[fake.deposit_count++];
    uint8_t hash[KT_SHA256_LEN];

    assert_true(fake.deposit_count < FAKE_DEPOSITS_MAX);
    snprintf(made->id, sizeof made->id, "%s", id);
    snprintf(made->handle, sizeof made->handle, "%.255s", handle);
    made->version = latest ? latest->version + 1 : 1;
    made->body = malloc(n);
    memcpy(made->body, body, n);
    made->len = n;
    assert_int_equal(kt_sha256(body, n, hash), 0);
    kt_hex_encode(hash, sizeof hash, made->sha256);
    fake_sign(made);
    return made;
}

static void fake_put(const struct kt_http_request *request, const char *handle,
                     struct kt_http_answer *answer)
{
    const char *id = fake_request_header(request, "KT-Deposit-Id");
    struct fake_deposit *deposit = NULL;
    int status = 200;

    for (size_t i = 0; i < fake.deposit_count; i++)
        if (strcmp(fake.deposits[i].id, id) == 0)
            deposit = &fake.deposits[i];
    if (deposit == NULL) {
        deposit = fake_add(id, handle, request->body, request->body_len);
        status = 201;
    } else if (strcmp(deposit->sha256, fake_request_header(request, "KT-SHA256")) != 0) {
        fake_error(answer, KT_ERR_DEPOSIT_ID_CONFLICT);
        return;
    }
    assert_string_equal(deposit->sha256, fake_request_header(request, "KT-SHA256"));
    fake_json(answer, status,
              json_pack("{s:o, s:s, s:i}", "deposit", fake_describe(deposit), "receipt",
                        deposit->receipt, "w", 0));
}

static void fake_get(struct fake_deposit *deposit, struct kt_http_answer *answer)
{
    char text[80];

    fake_body(answer, 200, deposit->body, deposit->len);
    snprintf(text, sizeof text, "\"%s\"", deposit->sha256);
    fake_header(answer, "ETag", text);
    fake_header(answer, "KT-Deposit-Id", deposit->id);
    snprintf(text, sizeof text, "%u", (unsigned)deposit->version);
    fake_header(answer, "KT-Version", text);
}

static int fake_by_handle(const void *a, const void *b)
{
    return strcmp((*(struct fake_deposit *const *)a)->handle,
                  (*(struct fake_deposit *const *)b)->handle);
}

static void fake_list(const char *prefix, const char *after, size_t limit,
                      struct kt_http_answer *answer)
{
    static struct fake_deposit *found[FAKE_DEPOSITS_MAX];
    json_t *list = json_array();
    size_t count = 0, given = 0;

    for (size_t i = 0; i < fake.deposit_count; i++) {
        struct fake_deposit *one = &fake.deposits[i];
        if (strncmp(one->handle, prefix, strlen(prefix)) == 0 && strcmp(one->handle, after) > 0 &&
            fake_find(one->handle, 0) == one)
            found[count++] = one;
    }
    qsort(found, count, sizeof *found, fake_by_handle);
    for (; given < count && given < limit; given++)
        json_array_append_new(list, fake_describe(found[given]));
    fake_json(answer, 200,
              json_pack("{s:o, s:o}", "deposits", list, "next",
                        given < count ? json_string(found[given - 1]->handle) : json_null()));
}

// "a%2Fb" in place.
static void fake_unescape(char *text)
{
    char *to = text;

    for (const char *from = text; *from; from++) {
        char hex[3] = {0};
        if (*from == '%') {
            memcpy(hex, from + 1, 2);
            *to++ = (char)strtol(hex, NULL, 16);
            from += 2;
        } else {
            *to++ = *from;
        }
    }
    *to = '\0';
}

// The value of a query parameter, decoded; "" when absent.
static void fake_query(const char *query, const char *name, char *out, size_t size)
{
    char key[32];
    const char *at = NULL;

    snprintf(key, sizeof key, "%s=", name);
    at = query ? strstr(query, key) : NULL;
    snprintf(out, size, "%.*s", at ? (int)strcspn(at + strlen(key), "&") : 0,
             at ? at + strlen(key) : "");
    fake_unescape(out);
}

static void fake_deposits(const struct kt_http_request *request, char *path, const char *query,
                          struct kt_http_answer *answer)
{
    char handle[1024], number[32], after[300];
    int receipt = 0;
    size_t n = strlen(path);

    fake_query(query, "version", number, sizeof number);
    if (path[0] == '\0') {
        fake_query(query, "prefix", handle, sizeof handle);
        fake_query(query, "after", after, sizeof after);
        fake_list(handle, after, 500, answer);
        return;
    }
    if (n > 8 && strcmp(path + n - 8, "/receipt") == 0) {
        receipt = 1;
        path[n - 8] = '\0';
    }
    snprintf(handle, sizeof handle, "%.1000s", path + 1);
    assert_null(strchr(handle, '/')); // one segment
    fake_unescape(handle);
    struct fake_deposit *deposit = fake_find(handle, strtoull(number, NULL, 10));
    for (size_t i = 0; receipt && number[0] && i < fake.deposit_count; i++) // also of deleted ones
        if (strcmp(fake.deposits[i].handle, handle) == 0 &&
            fake.deposits[i].version == strtoull(number, NULL, 10))
            deposit = &fake.deposits[i];
    if (strcmp(request->method, "PUT") == 0) {
        fake_put(request, handle, answer);
    } else if (deposit == NULL) {
        fake_error(answer, number[0] ? KT_ERR_VERSION_NOT_FOUND : KT_ERR_DEPOSIT_NOT_FOUND);
    } else if (strcmp(request->method, "DELETE") == 0) {
        int count = 0;
        for (; deposit; deposit = number[0] ? NULL : fake_find(handle, 0), count++)
            deposit->deleted = 1;
        fake_json(answer, 200, json_pack("{s:i}", "deleted", count));
    } else if (receipt) {
        fake_json(answer, 200,
                  json_pack("{s:o, s:s, s:i, s:b}", "deposit", fake_describe(deposit), "receipt",
                            deposit->receipt, "w", 0, "deleted", deposit->deleted));
    } else {
        fake_get(deposit, answer);
    }
}

static void fake_serve(const struct kt_http_request *request, struct kt_http_answer *answer)
{
    char path[4096], epoch[32], ca[16384], mark[KT_PKI_CA_MARK_TEXT];
    char *query = NULL;
    const char *fresh = fake_request_header(request, "KT-Freshness");

    snprintf(path, sizeof path, "%s", request->path);
    query = strchr(path, '?');
    if (query != NULL)
        *query++ = '\0';
    snprintf(epoch, sizeof epoch, "%llu", fake.epoch);
    if (strcmp(path, "/v1/clients") == 0)
        fake_register(request, answer);
    else if (strcmp(path, "/v1/clients/self") == 0)
        fake_self(fresh && strcmp(fresh, "barrier") == 0, answer);
    else if (strcmp(path, "/v1/clients/self/renew") == 0)
        fake_renew(request, answer);
    else if (strcmp(path, "/v1/health") == 0)
        fake_json(answer, 200,
                  json_pack("{s:s, s:s, s:I}", "node", "kts-01", "role", "standalone", "epoch",
                            (json_int_t)fake.epoch));
    else if (strcmp(path, "/v1/incarnations") == 0)
        fake_incarnations(answer);
    else if (strcmp(path, "/v1/cluster-keys") == 0)
        fake_cluster_keys(answer);
    else if (strncmp(path, "/v1/deposits", 12) == 0)
        fake_deposits(request, path + 12, query, answer);
    else
        fake_error(answer, KT_ERR_ROUTE_UNKNOWN);
    fake_header(answer, "KT-Incarnation", fake.incarnation);
    fake_header(answer, "KT-Epoch", epoch);
    fake_header(answer, "KT-Freshness", fresh ? fresh : "local");
    if (fake.active != NULL)
        fake_header(answer, "KT-Active", fake.active);
    if (fake.cluster_key != NULL)
        fake_header(answer, "KT-Cluster-Key", fake.cluster_key);
    if (fake.ca_set != NULL) {
        fake_ca_text(fake.ca_set, ca, sizeof ca);
        assert_int_equal(kt_pki_ca_mark(ca, strlen(ca), mark), 0);
        fake_header(answer, "KT-CA", mark);
    }
}

static void fake_decline(struct kt_http_answer *answer)
{
    char epoch[32];

    snprintf(epoch, sizeof epoch, "%llu", fake.epoch);
    fake_error(answer, KT_ERR_PASSIVE);
    fake_header(answer, "KT-Incarnation", fake.incarnation);
    fake_header(answer, "KT-Epoch", epoch);
}

int kt_http_client_run(struct kt_http_client *client, const struct kt_http_request *request,
                       struct kt_http_answer *answer, struct kt_error *error)
{
    int rc = 0, sent = 0;

    memset(answer, 0, sizeof *answer);
    answer->body.max = request->max_answer;
    fake.requests++;
    size_t used = strlen(fake.asked);
    snprintf(fake.asked + used, sizeof fake.asked - used, "%s ", client->server);
    if (fake.network != NULL)
        rc = fake.network(client->server, request, &sent);
    client->sent = rc == 0 || sent;
    if (client->sent && fake.declines != NULL && fake.declines(client->server, request))
        fake_decline(answer);
    else if (client->sent)
        fake_serve(request, answer);
    if (rc == 0 && fake.meddle != NULL)
        fake.meddle(client->server, request, answer);
    if (rc != 0) {
        kt_http_answer_free(answer);
        kt_error_set(error, rc, NULL, "%s: scripted", client->server);
    }
    return rc;
}

// --- set-up ---

static char fake_folder[64];
static struct keytrustee *client;
static char warned[4096]; // all warnings since the set-up

static void fake_warn(void *arg, const char *message, const char *hint)
{
    size_t used = strlen(warned);

    (void)arg, (void)hint;
    snprintf(warned + used, sizeof warned - used, "%s\n", message);
}

static void fake_open(int timeout_ms)
{
    char confdir[96];
    struct keytrustee_options options = {
        .size = sizeof options, .confdir = confdir, .timeout_ms = timeout_ms, .warn = fake_warn};

    snprintf(confdir, sizeof confdir, "%s/conf", fake_folder);
    assert_int_equal(keytrustee_open(&options, &client, NULL), KEYTRUSTEE_OK);
}

static void fake_make_receipt_key(void)
{
    struct kt_pki_subject subject = {
        .role = KT_PKI_RECEIPT, .common_name = "receipts", .lifetime_s = 86400};
    uint8_t pub[KT_ED25519_PUB_LEN], id[KT_KEY_ID_LEN];

    EVP_PKEY_free(fake.receipt_key);
    X509_free(fake.receipt_cert);
    assert_int_equal(kt_pki_new_ed25519(&fake.receipt_key), 0);
    assert_int_equal(
        kt_pki_sign(fake.ca_key, fake.ca, fake.receipt_key, &subject, &fake.receipt_cert), 0);
    assert_int_equal(kt_ed25519_public(fake.receipt_key, pub), 0);
    assert_int_equal(kt_ed25519_key_id(pub, id), 0);
    kt_hex_encode(id, sizeof id, fake.receipt_key_id);
}

static int fake_setup(void **state)
{
    uint8_t sha256[KT_SHA256_LEN];
    struct kt_uuid id;

    (void)state;
    memset(&fake, 0, sizeof fake);
    warned[0] = '\0';
    strcpy(fake_folder, "/tmp/kt-client-XXXXXX");
    assert_non_null(mkdtemp(fake_folder));
    fake.incarnation = "1.00000000000000ab";
    fake.epoch = 1;
    fake.state = "active";
    fake.certificate_lifetime_s = 86400;
    assert_int_equal(kt_pki_new_p256(&fake.ca_key), 0);
    assert_int_equal(kt_pki_make_ca(fake.ca_key, "fake", 864000, &fake.ca), 0);
    assert_int_equal(kt_pki_cert_sha256(fake.ca, sha256), 0);
    fake_make_receipt_key();
    assert_int_equal(kt_authcode_new(sha256, &fake.code), 0);
    kt_authcode_format(&fake.code, fake.auth_code);
    assert_int_equal(kt_uuid_random(&id), 0);
    kt_uuid_format(&id, fake.client);
    fake_open(2000);
    return 0;
}

static int fake_remove_one(const char *path, const struct stat *st, int type, struct FTW *walk)
{
    (void)st, (void)type, (void)walk;
    return remove(path);
}

static int fake_teardown(void **state)
{
    (void)state;
    keytrustee_close(client);
    client = NULL;
    for (size_t i = 0; i < fake.deposit_count; i++)
        free(fake.deposits[i].body);
    EVP_PKEY_free(fake.ca_key);
    EVP_PKEY_free(fake.receipt_key);
    json_decref(fake.keys_before);
    X509_free(fake.ca);
    X509_free(fake.receipt_cert);
    nftw(fake_folder, fake_remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}

static void must_work(int result, const struct keytrustee_error *error)
{
    if (result != KEYTRUSTEE_OK)
        print_error("%s: %s\n", error->name, error->message);
    assert_int_equal(result, KEYTRUSTEE_OK);
}

// Registers at "one" and "two".
static __attribute__((unused)) int fake_registered(void **state)
{
    static const char *const servers[] = {"one", "two", NULL};
    struct keytrustee_registration wanted = {
        .size = sizeof wanted, .servers = servers, .name = "host-1"};
    struct keytrustee_error error;

    fake_setup(state);
    wanted.auth_code = fake.auth_code;
    must_work(keytrustee_register(client, &wanted, &error), &error);
    fake.requests = 0;
    fake.asked[0] = '\0';
    return 0;
}

static __attribute__((unused)) const char *fake_path(const char *name)
{
    static char path[256];

    snprintf(path, sizeof path, "%s/conf/%s", fake_folder, name);
    return path;
}

#endif
