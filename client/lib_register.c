// SPDX-License-Identifier: Apache-2.0
// Enrolment: keys first, on disk; then the certificate, from the cluster the auth code names.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/client.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/pki.h"
#include "lib/secret.h"

#define NAME_CHARACTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"
#define OPENPGP_KEY_MAX 65536

// --- the confdir ---

// Makes the folders above the confdir (as mkdir -p does), then the confdir and what is in it.
static int make_folders(const struct keytrustee *client, struct kt_error *error)
{
    static const char *const folders[] = {"gnupg", "receipt-keys", "receipts", "receipts/latest",
                                          "pending"};
    char path[KT_PATH_MAX];
    int rc = 0;

    snprintf(path, sizeof path, "%s", client->confdir);
    for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(path, 0755) != 0 && errno != EEXIST)
            return kt_error_errno(error, "cannot make folder \"%s\"", path);
        *slash = '/';
    }
    rc = kt_dir_make(client->confdir, 0700, error);
    for (size_t i = 0; rc == 0 && i < sizeof folders / sizeof folders[0]; i++) {
        rc = ktc_path(client, folders[i], path);
        if (rc == 0)
            rc = kt_dir_make(path, 0700, error);
    }
    return rc;
}

// --- what the caller wants ---

static int choose_name(const char *given, char out[KEYTRUSTEE_NAME_SIZE], struct kt_error *error)
{
    size_t n = 0;

    if (given != NULL) {
        n = strlen(given);
        if (n == 0 || n >= KEYTRUSTEE_NAME_SIZE || strspn(given, NAME_CHARACTERS) != n)
            return kt_error_set(error, KT_ERR_USAGE, "1 to 63 of A-Z a-z 0-9 . _ -",
                                "not a valid client name");
        memcpy(out, given, n + 1);
        return 0;
    }
    if (gethostname(out, KEYTRUSTEE_NAME_SIZE) != 0)
        out[0] = '\0';
    out[KEYTRUSTEE_NAME_SIZE - 1] = '\0';
    for (n = strspn(out, NAME_CHARACTERS); out[n] != '\0'; n += strspn(out + n, NAME_CHARACTERS))
        out[n] = '-';
    if (n == 0)
        snprintf(out, KEYTRUSTEE_NAME_SIZE, "client");
    return 0;
}

int ktc_choose_servers(const char *const *given, struct ktc_state *state, struct kt_error *error)
{
    size_t n = 0;

    for (; given != NULL && given[n] != NULL; n++) {
        if (n == KTC_SERVERS_MAX)
            return kt_error_set(error, KT_ERR_USAGE, NULL, "more than %d servers", KTC_SERVERS_MAX);
        if (strlen(given[n]) >= KTC_SERVER_TEXT || kt_http_server_check(given[n]) != 0)
            return kt_error_set(error, KT_ERR_USAGE, "write HOST, HOST:PORT or [IPV6]:PORT",
                                "\"%.200s\" is not a server", given[n]);
        snprintf(state->servers[n], KTC_SERVER_TEXT, "%s", given[n]);
    }
    if (n == 0)
        return kt_error_set(error, KT_ERR_USAGE, "name at least one with --server", "no server");
    state->server_count = n;
    return 0;
}

// --- keys ---

static int need_tls_key(const struct keytrustee *client, struct kt_error *error)
{
    char path[KT_PATH_MAX];
    EVP_PKEY *key = NULL;
    int rc = ktc_path(client, "client-key.pem", path);

    if (rc != 0 || kt_file_exists(path))
        return rc;
    rc = kt_pki_new_p256(&key);
    if (rc == 0)
        rc = kt_pki_key_save(path, key, error);
    EVP_PKEY_free(key);
    return rc;
}

static int need_openpgp_key(struct keytrustee *client, struct kt_error *error)
{
    char user_id[128];
    int rc = 0;

    if (client->state.fingerprint[0] != '\0')
        return 0;
    rc = ktc_need_gpg(client, error);
    if (rc != 0)
        return rc;
    // A run that was killed before it saved the fingerprint has left the key.
    snprintf(user_id, sizeof user_id, "keytrustee client %s", client->state.name);
    rc = kt_gpg_find_secret(client->gpg, user_id, client->state.fingerprint, NULL);
    if (rc == KT_ERR_NOT_FOUND)
        rc = kt_gpg_generate(client->gpg, KT_GPG_CLIENT, user_id, client->state.fingerprint, error);
    return rc;
}

// --- the call ---

// The request without the auth code, which must not pass through memory that is not wiped.
static int describe(struct keytrustee *client, char **text, struct kt_error *error)
{
    struct kt_buf key = KT_BUF_INIT(OPENPGP_KEY_MAX);
    char *csr = NULL, *base64 = NULL;
    json_t *object = NULL;
    int rc = ktc_need_gpg(client, error);

    if (rc == 0)
        rc = kt_gpg_export(client->gpg, client->state.fingerprint, &key, error);
    if (rc == KT_ERR_NOT_FOUND)
        rc = kt_error_set(error, KT_ERR_CRYPTO, "restore the confdir, or use a new --confdir",
                          "this client's OpenPGP key is not in \"%s/gnupg\"", client->confdir);
    if (rc == 0)
        rc = ktc_certificate_request(client, &csr, error);
    if (rc != 0)
        goto out;
    base64 = malloc(4 * ((kt_buf_left(&key) + 2) / 3) + 1);
    if (base64 == NULL) {
        rc = KT_ERR_NO_MEMORY;
        goto out;
    }
    kt_base64_encode(kt_buf_ptr(&key), kt_buf_left(&key), base64);
    object =
        json_pack("{s:s, s:s, s:s}", "name", client->state.name, "csr", csr, "openpgp", base64);
    *text = object ? kt_json_text(object) : NULL;
    rc = *text ? 0 : KT_ERR_NO_MEMORY;
out:
    free(csr);
    free(base64);
    json_decref(object);
    kt_buf_free(&key);
    return rc;
}

static int make_body(struct keytrustee *client, const struct kt_authcode *code,
                     struct kt_secret **body, struct kt_error *error)
{
    static const char before[] = "{\"auth_code\":\"", behind[] = "\",";
    struct kt_secret *made = NULL;
    char *text = NULL;
    size_t size, n;
    int rc = describe(client, &text, error);

    if (rc != 0)
        return rc;
    // `text` begins with a brace, which `before` has already; an auth code needs no escapes.
    size = strlen(before) + KT_AUTHCODE_TEXT + strlen(behind) + strlen(text);
    rc = kt_secret_new(size, &made);
    if (rc == 0) {
        char *to = (char *)kt_secret_data(made);
        memcpy(to, before, strlen(before));
        kt_authcode_format(code, to + strlen(before));
        n = strlen(to);
        n += (size_t)snprintf(to + n, size - n, "%s%s", behind, text + 1);
        kt_secret_truncate(made, n);
        *body = made;
    }
    free(text);
    return rc;
}

// The code and the keys make it repeatable: a lost answer leaves nothing in doubt.
static int ask(struct keytrustee *client, const struct kt_authcode *code, struct ktc_answer *answer,
               json_t **object, struct kt_error *error)
{
    static const char *const headers[] = {"Content-Type: application/json", NULL};
    struct ktc_call call = {.method = "POST",
                            .path = "/v1/clients",
                            .headers = headers,
                            .has_body = 1,
                            .change = 1,
                            .pin = code->ca_sha256};
    struct kt_secret *body = NULL;
    int rc = make_body(client, code, &body, error);

    if (rc != 0)
        return rc;
    call.body = kt_secret_text(body);
    call.body_len = kt_secret_len(body);
    rc = ktc_call(client, &call, answer, error);
    if (rc == 0) {
        rc = kt_json_parse_object(kt_buf_ptr(&answer->http.body), kt_buf_left(&answer->http.body),
                                  object, error);
        rc = ktc_protocol(error, answer->server, rc);
    } else if (rc == KT_ERR_IN_DOUBT) {
        rc = kt_error_set(error, KT_ERR_NETWORK,
                          "run the same command again: it goes on with the same keys", "%.400s",
                          error->message);
    }
    kt_secret_free(body);
    return rc;
}

// What client.json says now.
static int reload(struct keytrustee *client, struct kt_error *error)
{
    char path[KT_PATH_MAX];
    int rc = ktc_path(client, "client.json", path);

    return rc == 0 && kt_file_exists(path) ? ktc_state_load(path, &client->state, error) : rc;
}

// Keeps the answer while no other process of this confdir changes client.json: what they have seen
// of the cluster's history since we read it must not be forgotten.
static int keep(struct keytrustee *client, const json_t *object, const char *server,
                const struct kt_authcode *code, struct kt_error *error)
{
    struct ktc_state disk = {0};
    enum ktc_seen seen = KTC_SEEN_SAME;
    char path[KT_PATH_MAX];
    int fd = -1;
    int rc = ktc_path(client, "client.json", path);

    if (rc == 0)
        rc = ktc_lock(client, &fd, error);
    if (rc == 0)
        rc = ktc_state_load(path, &disk, error);
    if (rc == 0 && disk.incarnation.number != 0)
        rc = ktc_state_observe(&client->state, &disk.incarnation, disk.epoch, &seen);
    if (rc == 0 && disk.cluster_fingerprint[0] != '\0')
        ktc_state_take_key(&client->state, &disk);
    if (rc == 0)
        rc = ktc_identity_keep(client, object, server, code, error);
    if (fd >= 0)
        close(fd);
    return rc;
}

static int do_register(struct keytrustee *client, const struct keytrustee_registration *wanted,
                       const struct kt_authcode *code, struct kt_error *error)
{
    struct ktc_state before, state = {0};
    struct ktc_answer answer = {0};
    json_t *object = NULL;
    char name[KEYTRUSTEE_NAME_SIZE], path[KT_PATH_MAX];
    int fd = -1;
    int rc = ktc_choose_servers(wanted->servers, &state, error);

    if (rc == 0)
        rc = choose_name(wanted->name, name, error);
    if (rc == 0)
        rc = make_folders(client, error);
    if (rc == 0)
        rc = ktc_path(client, ".register", path);
    if (rc == 0) // two at once would make two sets of keys
        rc = kt_file_lock(path, &fd, error);
    if (rc == 0) // another process may have registered since we were opened
        rc = reload(client, error);
    if (rc != 0)
        goto out;
    before = client->state;
    client->state.server_count = state.server_count;
    memcpy(client->state.servers, state.servers, sizeof state.servers);
    ktc_servers_load(client);
    if (wanted->name != NULL || before.name[0] == '\0')
        snprintf(client->state.name, sizeof client->state.name, "%s", name);
    rc = need_tls_key(client, error);
    if (rc == 0)
        rc = need_openpgp_key(client, error);
    if (rc == 0 && before.client[0] == '\0') // a client that works keeps what it has until success
        rc = ktc_identity_save(client, error);
    if (rc == 0)
        rc = ask(client, code, &answer, &object, error);
    if (rc == 0)
        rc = ktc_identity_check_cluster(client, object, code, error);
    if (rc == 0)
        rc = ktc_identity_history(client, object, answer.server, code, error);
    if (rc == 0)
        rc = keep(client, object, answer.server, code, error);
    if (rc != 0 && before.client[0] != '\0')
        client->state = before;
    ktc_servers_load(client); // they may be others now, and shall see our certificate
out:
    json_decref(object);
    ktc_answer_free(&answer);
    if (fd >= 0)
        close(fd);
    return rc;
}

int keytrustee_register(struct keytrustee *client,
                        const struct keytrustee_registration *registration,
                        struct keytrustee_error *error)
{
    struct keytrustee_registration wanted = {0};
    struct kt_authcode code;
    struct kt_error why = {0};
    int rc = 0;

    memcpy(&wanted, registration,
           registration->size < sizeof wanted ? registration->size : sizeof wanted);
    ktc_begin(client);
    if (wanted.auth_code == NULL || kt_authcode_parse(wanted.auth_code, &code) != 0)
        rc = kt_error_set(&why, KT_ERR_AUTH_CODE_INVALID, NULL,
                          "this is not an auth code: it has the form ID-SECRET-FINGERPRINT");
    else
        rc = ktc_recovery_check_all(wanted.recovery, &why);
    if (rc == 0)
        rc = do_register(client, &wanted, &code, &why);
    if (rc == 0)
        rc = ktc_recovery_accept_all(client, wanted.recovery, &why);
    kt_wipe(&code, sizeof code);
    return ktc_end(client, rc, &why, error);
}
