// SPDX-License-Identifier: Apache-2.0
// The roots of the cluster's CA that this client trusts: the one that its auth code named, and those
// that it vouches for by a link.
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/client.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/pki.h"

#define CA_MAX           32768
#define LONGEST_FETCH_MS 5000

int ktc_ca_load(const struct keytrustee *client, X509 **ca, struct kt_error *error)
{
    char path[KT_PATH_MAX];
    int rc = ktc_path(client, "ca.pem", path);

    return rc != 0 ? rc : kt_pki_ca_load(path, ca, error);
}

int ktc_ca_choose(X509 *known, X509 *offered, X509 **set, struct kt_error *error)
{
    int rc = kt_pki_ca_choose(known, offered, 0, set);

    if (rc == KT_ERR_SIGNATURE)
        return kt_error_set(error, rc, "ask the operator of the key trustee",
                            "the server offers a CA that the one this client trusts does not vouch "
                            "for");
    return rc ? kt_error_set(error, rc, NULL, "the CA: %s", kt_err_text(rc)) : 0;
}

static int is_same(X509 *a, X509 *b)
{
    if (kt_pki_ca_count(a) != kt_pki_ca_count(b))
        return 0;
    for (size_t i = 0; i < kt_pki_ca_count(a); i++) {
        if (X509_cmp(kt_pki_ca_at(a, i), kt_pki_ca_at(b, i)) != 0)
            return 0;
    }
    return 1;
}

// Under ktc_lock: what another process has learned is not thrown away.
static int learn(const struct keytrustee *client, X509 *offered, int *is_new,
                 struct kt_error *error)
{
    X509 *known = NULL, *set = NULL;
    char path[KT_PATH_MAX];
    int rc = ktc_ca_load(client, &known, error);

    if (rc == 0)
        rc = ktc_ca_choose(known, offered, &set, error);
    if (rc == 0)
        rc = ktc_path(client, "ca.pem", path);
    if (rc == 0 && !is_same(known, set)) {
        rc = kt_pki_ca_save(path, set, error);
        *is_new = 1;
    }
    X509_free(known);
    X509_free(set);
    return rc;
}

// Under ktc_lock.
static int remember(struct keytrustee *client, const char *mark, struct kt_error *error)
{
    struct ktc_state disk = {0};
    char path[KT_PATH_MAX];
    int rc = ktc_path(client, "client.json", path);

    ktc_state_add_mark(&client->state, mark);
    if (rc == 0)
        rc = ktc_state_load(path, &disk, error);
    if (rc != 0 || ktc_state_has_mark(&disk, mark))
        return rc;
    ktc_state_add_mark(&disk, mark);
    return ktc_state_save(path, &disk, error);
}

int ktc_ca_learn(struct keytrustee *client, const json_t *answer, struct kt_error *error)
{
    char mark[KT_PKI_CA_MARK_TEXT];
    X509 *offered = NULL;
    const char *pem = NULL;
    int fd = -1, is_new = 0;
    int rc = kt_json_string(answer, "ca", 0, CA_MAX, &pem, error);

    if (rc != 0 || pem == NULL)
        return rc;
    if (kt_pki_ca_from_pem(pem, strlen(pem), &offered) != 0)
        return kt_error_set(error, KT_ERR_BAD_REQUEST, NULL, "the server's CA cannot be read");
    rc = kt_pki_ca_mark(pem, strlen(pem), mark);
    if (rc == 0)
        rc = ktc_lock(client, &fd, error);
    if (rc == 0)
        rc = learn(client, offered, &is_new, error);
    // Another process may have learned it, when our connections were there already.
    is_new |= rc == 0 && !ktc_state_has_mark(&client->state, mark);
    if (rc == 0)
        rc = remember(client, mark, error);
    if (fd >= 0)
        close(fd);
    if (is_new)
        ktc_servers_disconnect(client);
    X509_free(offered);
    return rc;
}

void ktc_ca_named(struct keytrustee *client, const struct kt_http_answer *answer,
                  const char *server)
{
    const char *mark = kt_http_answer_header(answer, "KT-CA");
    uint8_t bytes[(KT_PKI_CA_MARK_TEXT - 1) / 2];

    if (mark == NULL || kt_hex_decode(mark, bytes, sizeof bytes) != 0 ||
        ktc_state_has_mark(&client->state, mark) || strcmp(mark, client->ca_asked) == 0)
        return;
    memcpy(client->ca_mark, mark, sizeof client->ca_mark);
    snprintf(client->ca_server, sizeof client->ca_server, "%s", server);
}

// That server only, and once: others may have another set.
static int ask(struct keytrustee *client, struct kt_error *error)
{
    const struct ktc_call call = {.method = "GET", .path = "/v1/clients/self"};
    size_t i = ktc_servers_find(&client->servers, client->ca_server);
    int time_ms = ktc_time_left(client);
    struct ktc_answer answer = {0};
    json_t *self = NULL;
    int rc = i == KTC_NONE ? KT_ERR_NETWORK : 0;

    if (time_ms > LONGEST_FETCH_MS) // the call itself is done: do not hold it up
        time_ms = LONGEST_FETCH_MS;
    if (rc == 0)
        rc = ktc_ask(client, &call, i, time_ms, client->connect_timeout_ms, 0, &answer, error);
    if (rc == 0 && answer.http.status != 200)
        rc = ktc_answer_error(&answer.http, client->ca_server, error);
    if (rc == 0)
        rc = kt_json_parse_object(kt_buf_ptr(&answer.http.body), kt_buf_left(&answer.http.body),
                                  &self, error);
    if (rc == 0)
        rc = ktc_ca_learn(client, self, error);
    json_decref(self);
    ktc_answer_free(&answer);
    return rc;
}

void ktc_ca_catch_up(struct keytrustee *client)
{
    struct kt_error why = {0};

    if (client->ca_mark[0] == '\0' || ktc_time_left(client) == 0)
        return; // the next call has time for it
    if (!ktc_state_has_mark(&client->state, client->ca_mark)) {
        memcpy(client->ca_asked, client->ca_mark, sizeof client->ca_asked);
        if (ask(client, &why) == KT_ERR_SIGNATURE)
            ktc_warn(client, why.hint, "%s: %s", client->ca_server, why.message);
    }
    client->ca_mark[0] = '\0';
}

int ktc_ca_is_older(const struct keytrustee *client, X509 *cert)
{
    const struct ktc_state *state = &client->state;
    int is_early = state->mark_count > 0 && strcmp(state->early_mark, state->marks[0]) == 0;
    X509 *ca = NULL, *first = NULL;
    int is_older = !is_early && ktc_ca_load(client, &ca, NULL) == 0 && kt_pki_ca_count(ca) > 1 &&
                   kt_pki_ca_make(&ca, 1, &first) == 0 &&
                   kt_pki_cert_check(cert, first, kt_time_now()) == KT_ERR_CERTIFICATE_UNKNOWN_CA;

    X509_free(ca);
    X509_free(first);
    return is_older;
}

int ktc_ca_is_early(struct keytrustee *client, struct kt_error *error)
{
    struct ktc_state disk = {0};
    char path[KT_PATH_MAX];
    int fd = -1;
    int rc = ktc_path(client, "client.json", path);

    if (client->state.mark_count == 0)
        return rc;
    memcpy(client->state.early_mark, client->state.marks[0], sizeof client->state.early_mark);
    if (rc == 0)
        rc = ktc_lock(client, &fd, error);
    if (rc == 0)
        rc = ktc_state_load(path, &disk, error);
    memcpy(disk.early_mark, client->state.early_mark, sizeof disk.early_mark);
    if (rc == 0)
        rc = ktc_state_save(path, &disk, error);
    if (fd >= 0)
        close(fd);
    return rc;
}
