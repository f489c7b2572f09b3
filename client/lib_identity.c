// SPDX-License-Identifier: Apache-2.0
// What a registration hands over: the CA, our certificate, receipt
// keys, who we and the cluster are.
#include <stdio.h>
#include <string.h>

#include "client/client.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/pki.h"

#define CA_MAX 32768

int ktc_identity_save(const struct keytrustee *client, struct kt_error *error)
{
    char path[KT_PATH_MAX];
    int rc = ktc_path(client, "client.json", path);

    return rc != 0 ? rc : ktc_state_save(path, &client->state, error);
}

// The CA of the answer, and of that the root that the auth code names. Both are the caller's.
static int find_named(const json_t *object, const struct kt_authcode *code, X509 **offered,
                      X509 **named, struct kt_error *error)
{
    X509 *all = NULL, *one = NULL;
    uint8_t sha256[KT_SHA256_LEN];
    const char *pem = NULL;
    int rc = kt_json_string(object, "ca", 1, CA_MAX, &pem, error);

    if (rc == 0)
        rc = kt_pki_ca_from_pem(pem, strlen(pem), &all);
    for (size_t i = 0; rc == 0 && !one && i < kt_pki_ca_count(all); i++) {
        X509 *cert = kt_pki_ca_at(all, i);
        if (kt_pki_is_root(cert) && kt_pki_cert_sha256(cert, sha256) == 0 &&
            memcmp(sha256, code->ca_sha256, sizeof sha256) == 0)
            rc = kt_pki_ca_make(&cert, 1, &one);
    }
    if (rc == 0 && !one)
        rc = kt_error_set(error, KT_ERR_SIGNATURE, "ask the operator of the key trustee",
                          "the server's CA is not the one the auth code names");
    if (rc == 0) {
        *offered = all;
        *named = one;
        return 0;
    }
    X509_free(all);
    X509_free(one);
    return rc;
}

// *known is NULL in a new confdir.
static int load_known(const struct keytrustee *client, X509 **known, struct kt_error *error)
{
    char path[KT_PATH_MAX];
    int rc = ktc_path(client, "ca.pem", path);

    return rc == 0 && kt_file_exists(path) ? ktc_ca_load(client, known, error) : rc;
}

// Every root of a cluster has its id as its name.
int ktc_identity_check_cluster(const struct keytrustee *client, const json_t *object,
                               const struct kt_authcode *code, struct kt_error *error)
{
    X509 *offered = NULL, *named = NULL, *known = NULL;
    int rc = find_named(object, code, &offered, &named, error);

    if (rc == 0)
        rc = load_known(client, &known, error);
    if (rc == 0 && known &&
        X509_NAME_cmp(X509_get_subject_name(known), X509_get_subject_name(named)) != 0)
        rc = kt_error_set(error, KT_ERR_EXISTS, "use another --confdir for another cluster",
                          "\"%s\" belongs to a client of another cluster", client->confdir);
    else if (rc == 0 && known && kt_pki_has_ended(known, named))
        rc = kt_error_set(error, KT_ERR_SIGNATURE, "ask the operator for a new auth code",
                          "the auth code names a CA that has ended");
    X509_free(offered);
    X509_free(named);
    X509_free(known);
    return rc;
}

// The root with, of what this client knows, the ends of others: those are not forgotten.
static int with_ends(X509 *root, X509 *known, X509 **set)
{
    X509 *list[KT_PKI_CA_CERTS_MAX] = {root};
    size_t n = 1;

    for (size_t i = 1; known && i < kt_pki_ca_count(known); i++) {
        if (kt_pki_link_kind(kt_pki_ca_at(known, i)) == KT_PKI_LINK_END)
            list[n++] = kt_pki_ca_at(known, i);
    }
    return kt_pki_ca_make(list, n, set);
}

// What was learned from the root that was trusted before may have to be learned anew.
static int take_mark(const json_t *object, struct ktc_state *state, struct kt_error *error)
{
    char mark[KT_PKI_CA_MARK_TEXT];
    const char *pem = NULL;
    int rc = kt_json_string(object, "ca", 1, CA_MAX, &pem, error);

    if (rc == 0)
        rc = kt_pki_ca_mark(pem, strlen(pem), mark);
    state->mark_count = 0;
    if (rc == 0)
        ktc_state_add_mark(state, mark);
    return rc;
}

static int is_trusted(X509 *known, X509 *root)
{
    for (size_t i = 0; known && i < kt_pki_ca_count(known); i++) {
        if (X509_cmp(kt_pki_ca_at(known, i), root) == 0)
            return 1;
    }
    return 0;
}

// What to trust from now on, the caller's. Where the root that the auth code names is trusted already,
// the newest of those that are vouches for the others: a code of before must not lead back. Else that
// root alone does. What else the text may hold is not trusted.
static int choose_ca(const struct keytrustee *client, const json_t *object,
                     const struct kt_authcode *code, X509 **ca, struct kt_error *error)
{
    X509 *offered = NULL, *named = NULL, *known = NULL, *pinned = NULL;
    int rc = find_named(object, code, &offered, &named, error);

    if (rc == 0)
        rc = load_known(client, &known, error);
    if (rc == 0 && !is_trusted(known, named))
        rc = with_ends(named, known, &pinned);
    if (rc == 0)
        rc = ktc_ca_choose(pinned ? pinned : known, offered, ca, error);
    X509_free(offered);
    X509_free(named);
    X509_free(known);
    X509_free(pinned);
    return rc;
}

static int copy_text(const json_t *object, const char *name, char *out, size_t size,
                     struct kt_error *error)
{
    const char *text = NULL;
    int rc = kt_json_string(object, name, 1, size - 1, &text, error);

    if (rc == 0) {
        snprintf(out, size, "%s", text);
        ktc_printable(out);
    }
    return rc;
}

static int take_history(const json_t *object, struct kt_incarnation *incarnation, int64_t *epoch,
                        struct kt_error *error)
{
    const json_t *cluster = json_object_get(object, "cluster");
    char text[KT_INCARNATION_TEXT];
    int rc = copy_text(cluster, "incarnation", text, sizeof text, error);

    if (rc == 0)
        rc = kt_incarnation_parse(text, incarnation);
    if (rc == 0)
        rc = kt_json_integer(cluster, "epoch", 0, INT64_MAX, 1, epoch, error);
    return rc;
}

int ktc_identity_history(struct keytrustee *client, const json_t *object, const char *server,
                         const struct kt_authcode *code, struct kt_error *error)
{
    const json_t *cluster = json_object_get(object, "cluster");
    char id[KT_UUID_TEXT], named[KT_OPENPGP_FINGERPRINT_TEXT];
    struct kt_incarnation incarnation;
    enum ktc_seen seen = KTC_SEEN_SAME;
    int64_t epoch = 0;
    int rc = take_history(object, &incarnation, &epoch, error);

    if (rc == 0)
        rc = copy_text(cluster, "id", id, sizeof id, error);
    if (rc == 0)
        rc = copy_text(cluster, "openpgp_fingerprint", named, sizeof named, error);
    if (rc != 0)
        return ktc_protocol(error, server, rc);
    rc = ktc_cluster_key_named(client, id, named, server, code->ca_sha256, error);
    if (rc != 0)
        return rc;
    if (ktc_state_compare(&client->state, &incarnation, (uint64_t)epoch, &seen) != 0 ||
        seen != KTC_SEEN_RESTORED)
        return 0; // ktc_identity_keep refuses what is not the newest history
    return ktc_restored_accept(client, &incarnation, (uint64_t)epoch, server, code->ca_sha256,
                               error);
}

// A cluster's key that is known already was judged by ktc_cluster_key_named. When it is another one by
// now, another process has followed it: there is no way back from that.
static int take_cluster(const json_t *object, struct ktc_state *state, struct kt_error *error)
{
    const json_t *cluster = json_object_get(object, "cluster");
    char id[KT_UUID_TEXT], key[KT_OPENPGP_FINGERPRINT_TEXT];
    int rc = copy_text(cluster, "id", id, sizeof id, error);

    if (rc == 0)
        rc = copy_text(cluster, "openpgp_fingerprint", key, sizeof key, error);
    if (rc != 0)
        return rc;
    if (state->cluster[0] != '\0' && strcmp(state->cluster, id) != 0)
        return kt_error_set(
            error, KT_ERR_EXISTS, "use another --confdir for another cluster",
            "this confdir belongs to a client of cluster %s, and the server's is %s",
            state->cluster, id);
    memcpy(state->cluster, id, sizeof id);
    if (state->cluster_fingerprint[0] == '\0')
        memcpy(state->cluster_fingerprint, key, sizeof key);
    return 0;
}

// What client.json says of us once we are registered.
static int take_identity(const json_t *object, struct ktc_state *state, struct kt_error *error)
{
    struct kt_incarnation incarnation;
    enum ktc_seen seen = KTC_SEEN_SAME;
    struct kt_uuid uuid;
    int64_t epoch = 0;
    int rc = copy_text(object, "client", state->client, sizeof state->client, error);

    if (rc == 0)
        rc = kt_uuid_parse(state->client, &uuid);
    if (rc == 0)
        rc = copy_text(object, "organisation", state->organisation, sizeof state->organisation,
                       error);
    if (rc == 0)
        rc = take_cluster(object, state, error);
    if (rc == 0)
        rc = take_history(object, &incarnation, &epoch, error);
    if (rc != 0)
        return rc;
    rc = ktc_state_observe(state, &incarnation, (uint64_t)epoch, &seen);
    if (rc != 0 || seen == KTC_SEEN_OLDER || seen == KTC_SEEN_UNDONE || seen == KTC_SEEN_RESTORED)
        rc = kt_error_set(error, rc != 0 ? KT_ERR_SIGNATURE : KT_ERR_FENCED, NULL,
                          "the server is not in the newest history this client has seen");
    return rc;
}

static int save_ca(const struct keytrustee *client, X509 *ca, struct kt_error *error)
{
    char path[KT_PATH_MAX];
    int rc = ktc_path(client, "ca.pem", path);

    return rc != 0 ? rc : kt_pki_ca_save(path, ca, error);
}

// Nothing is kept before all was checked: a client that works stays as it is. client.json last: it is
// what makes this confdir a registered client.
int ktc_identity_keep(struct keytrustee *client, const json_t *object, const char *server,
                      const struct kt_authcode *code, struct kt_error *error)
{
    struct ktc_state state = client->state;
    const char *certificate = NULL;
    X509 *ca = NULL, *cert = NULL;
    int rc = choose_ca(client, object, code, &ca, error);

    if (rc == 0)
        rc = kt_json_string(object, "certificate", 1, 16384, &certificate, error);
    if (rc == 0)
        rc = ktc_certificate_check(client, certificate, ca, &cert, error);
    if (rc == 0)
        rc = take_identity(object, &state, error);
    if (rc == 0)
        rc = take_mark(object, &state, error);
    if (rc == 0)
        rc = ktc_receipt_keys_keep(client, json_object_get(object, "receipt_keys"), ca, error);
    if (rc == 0)
        rc = save_ca(client, ca, error);
    if (rc == 0)
        rc = ktc_certificate_save(client, cert, error);
    if (rc == 0) {
        client->state = state;
        rc = ktc_identity_save(client, error);
    }
    X509_free(ca);
    X509_free(cert);
    return ktc_protocol(error, server, rc);
}
