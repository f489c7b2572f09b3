// SPDX-License-Identifier: Apache-2.0
// The cluster's OpenPGP key that this client knows, and those that followed it: each is named by a
// statement of the one before, which it has signed too. There is no way back to an older one.
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "client/client.h"
#include "lib/cluster_key.h"
#include "lib/json.h"

#define LONGEST_FETCH_MS 5000
#define TWO_SUCCESSORS                                                                             \
    "ask the operator which of the two is the cluster's (docs/security.md); a client that "        \
    "follows "                                                                                     \
    "the other one must register anew, with a new --confdir"
#define ASK_OPERATOR "do not use this server; ask the operator which OpenPGP key the cluster has"

// How far the line was followed from the key that is known.
struct walk {
    char key[KT_OPENPGP_FINGERPRINT_TEXT];
    const char *text; // of the statement that named it; NULL: known before
    uint32_t number;  // of that
    size_t steps;
    char keys[KT_CLUSTER_KEYS_MAX][KT_OPENPGP_FINGERPRINT_TEXT]; // each step's
};

// --- what is known ---

// Another process of this confdir may have followed the line further.
static void take_over(struct keytrustee *client)
{
    struct ktc_state disk = {0};
    char path[KT_PATH_MAX];

    if (ktc_path(client, "client.json", path) == 0 && ktc_state_load(path, &disk, NULL) == 0 &&
        disk.cluster_fingerprint[0] != '\0' && strcmp(disk.cluster, client->state.cluster) == 0)
        ktc_state_take_key(&client->state, &disk);
}

// The steps from the key that is known, unless another process has changed it: then what that one has
// stays, and the next answer shows whether there is more to follow.
static int remember(struct keytrustee *client, const struct walk *walk, struct kt_error *error)
{
    const char *known = client->state.cluster_fingerprint;
    struct ktc_state disk = {0};
    char path[KT_PATH_MAX];
    int fd = -1;
    int rc = ktc_path(client, "client.json", path);

    if (rc == 0)
        rc = ktc_lock(client, &fd, error);
    if (rc == 0)
        rc = ktc_state_load(path, &disk, error);
    if (rc == 0 && strcasecmp(disk.cluster_fingerprint, known) == 0) {
        for (size_t i = 0; i < walk->steps; i++)
            ktc_state_next_key(&disk, walk->keys[i]);
        rc = ktc_state_save(path, &disk, error);
    }
    if (rc == 0)
        ktc_state_take_key(&client->state, &disk);
    if (fd >= 0)
        close(fd);
    return rc;
}

// --- the statements ---

// Asks that server only, and once. *object stays NULL when it does not know the call.
static int fetch(struct keytrustee *client, const char *server, const uint8_t *pin, json_t **object,
                 struct kt_error *error)
{
    const struct ktc_call call = {.method = "GET", .path = "/v1/cluster-keys", .pin = pin};
    size_t i = ktc_servers_find(&client->servers, server);
    int time_ms = ktc_time_left(client) / 2 + 1; // others may have to be asked after it
    struct ktc_answer answer = {0};
    struct kt_error why = {0};
    int rc = i == KTC_NONE ? KT_ERR_NETWORK : 0;

    if (time_ms > LONGEST_FETCH_MS)
        time_ms = LONGEST_FETCH_MS;
    if (rc == 0)
        rc = ktc_ask(client, &call, i, time_ms, client->connect_timeout_ms, 0, &answer, &why);
    if (rc == 0 && answer.http.status != 200)
        rc = ktc_answer_error(&answer.http, server, &why);
    if (rc == 0) {
        rc = kt_json_parse_object(kt_buf_ptr(&answer.http.body), kt_buf_left(&answer.http.body),
                                  object, &why);
        rc = ktc_protocol(&why, server, rc);
    }
    ktc_answer_free(&answer);
    if (rc == 0 || rc == KT_ERR_ROUTE_UNKNOWN)
        return 0;
    return kt_error_set(
        error, KT_ERR_UNCHECKED, "try again later",
        "the statements of %s about the cluster's OpenPGP key cannot be had: %.250s", server,
        why.message[0] ? why.message : kt_err_text(rc));
}

// The text of entry `i`, owned by `object`, and what it says, unchecked. NULL for what is none.
static const char *text_at(const json_t *object, size_t i, struct kt_key_statement *statement)
{
    const json_t *one = json_array_get(json_object_get(object, "cluster_keys"), i);
    const char *text = NULL;

    return kt_json_string(one, "statement", 1, KT_KEY_STATEMENT_MAX, &text, NULL) == 0 &&
                   kt_key_statement_read(text, strlen(text), statement) == 0
               ? text
               : NULL;
}

static size_t count_of(const json_t *object)
{
    size_t count = json_array_size(json_object_get(object, "cluster_keys"));

    return count < KT_CLUSTER_KEYS_MAX ? count : KT_CLUSTER_KEYS_MAX;
}

static int verify(const struct keytrustee *client, const char *text, const char *server,
                  struct kt_key_statement *statement, struct kt_error *error)
{
    struct kt_error why = {0};
    struct kt_uuid cluster;
    int rc = kt_key_statement_verify(text, strlen(text), statement, &why);

    if (rc == 0 && (kt_uuid_parse(client->state.cluster, &cluster) != 0 ||
                    memcmp(&cluster, &statement->cluster_id, sizeof cluster) != 0))
        rc = kt_error_set(&why, KT_ERR_SIGNATURE, NULL, "it is of another cluster");
    if (rc == 0)
        return 0;
    if (rc != KT_ERR_SIGNATURE && rc != KT_ERR_PROTOCOL)
        return kt_error_set(error, KT_ERR_UNCHECKED, why.hint[0] ? why.hint : NULL,
                            "a statement about the cluster's OpenPGP key cannot be verified here: "
                            "%.250s",
                            why.message[0] ? why.message : kt_err_text(rc));
    return kt_error_set(error, KT_ERR_SIGNATURE, ASK_OPERATOR,
                        "a statement that %s shows about the cluster's OpenPGP key is not good: "
                        "%.250s",
                        server, why.message[0] ? why.message : kt_err_text(rc));
}

// --- the line ---

static int check_link(const struct walk *walk, const struct kt_key_statement *statement,
                      const char *server, struct kt_error *error)
{
    uint8_t hash[KT_SHA256_LEN];

    if (walk->text == NULL || (statement->number == walk->number + 1 &&
                               kt_sha256(walk->text, strlen(walk->text), hash) == 0 &&
                               memcmp(hash, statement->before, sizeof hash) == 0))
        return 0;
    return kt_error_set(error, KT_ERR_SIGNATURE, ASK_OPERATOR,
                        "%s leaves a statement about the cluster's OpenPGP key out", server);
}

// The one key that follows walk->key. *moved 0: none does.
static int step(const struct keytrustee *client, const json_t *object, const char *server,
                struct walk *walk, int *moved, struct kt_error *error)
{
    struct kt_key_statement read, found = {.number = 0};
    const char *text = NULL;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < count_of(object); i++) {
        const char *candidate = text_at(object, i, &read);
        if (candidate == NULL || strcasecmp(read.key, walk->key) != 0)
            continue;
        if (ktc_time_left(client) == 0)
            return kt_error_set(error, KT_ERR_UNCHECKED, "try again later",
                                "no time is left to verify what %s says of the cluster's key",
                                server);
        rc = verify(client, candidate, server, &read, error);
        if (rc == 0 && text != NULL && strcmp(read.next, found.next) != 0)
            rc = kt_error_set(error, KT_ERR_SIGNATURE, ASK_OPERATOR,
                              "two keys, %s and %s, claim to follow the cluster's OpenPGP key %s: "
                              "that one may have been stolen",
                              found.next, read.next, walk->key);
        text = candidate;
        found = read;
    }
    *moved = rc == 0 && text != NULL;
    if (*moved)
        rc = check_link(walk, &found, server, error);
    if (rc == 0 && *moved) {
        memcpy(walk->key, found.next, sizeof walk->key);
        walk->text = text;
        walk->number = found.number;
        memcpy(walk->keys[walk->steps++], found.next, sizeof found.next);
    }
    return rc;
}

static const struct ktc_left_key *find_left(const struct ktc_state *state, const char *key)
{
    for (size_t i = 0; i < state->left_count; i++) {
        if (strcasecmp(state->left[i].key, key) == 0)
            return &state->left[i];
    }
    return NULL;
}

// A key has one successor: when one that was left names another than the one it was left for, either
// may be the thief's, also the one that this client follows.
static int check_left(const struct keytrustee *client, const json_t *object, const char *server,
                      struct kt_error *error)
{
    struct kt_key_statement read;

    for (size_t i = 0; i < count_of(object); i++) {
        const char *text = text_at(object, i, &read);
        const struct ktc_left_key *left = text ? find_left(&client->state, read.key) : NULL;
        struct kt_error why = {0};
        int rc = 0;

        if (left == NULL || strcasecmp(left->next, read.next) == 0)
            continue;
        if (ktc_time_left(client) == 0)
            return kt_error_set(error, KT_ERR_UNCHECKED, "try again later",
                                "no time is left to verify what %s says of the cluster's key",
                                server);
        rc = verify(client, text, server, &read, &why);
        if (rc == KT_ERR_SIGNATURE) // anybody can write that
            continue;
        if (rc != 0)
            return kt_error_set(error, rc, why.hint, "%s", why.message);
        return kt_error_set(
            error, KT_ERR_SIGNATURE, TWO_SUCCESSORS,
            "the cluster's OpenPGP key %.40s has two successors: %.40s, which this "
            "client followed, and %.40s, which %s shows: the older key is in strange "
            "hands",
            left->key, left->next, read.next, server);
    }
    return 0;
}

int ktc_cluster_key_follow(struct keytrustee *client, const char *server, const uint8_t *pin,
                           struct kt_error *error)
{
    struct walk walk = {.text = NULL};
    json_t *object = NULL;
    int moved = 1, rc;

    take_over(client);
    memcpy(walk.key, client->state.cluster_fingerprint, sizeof walk.key);
    if (walk.key[0] == '\0') // not registered
        return 0;
    rc = fetch(client, server, pin, &object, error);
    for (size_t i = 0; rc == 0 && moved && i < KT_CLUSTER_KEYS_MAX; i++)
        rc = step(client, object, server, &walk, &moved, error);
    if (rc == 0 && walk.steps > 0)
        rc = remember(client, &walk, error);
    if (rc == 0) // behind the line of the key that is known, which an older one cannot stop
        rc = check_left(client, object, server, error);
    if (rc != 0 && error != NULL)
        ktc_printable(error->message);
    json_decref(object);
    return rc;
}

// Asked again when another key is named than at the last time, or when there was no answer.
void ktc_cluster_key_seen(struct keytrustee *client, const struct kt_http_answer *answer,
                          const char *server)
{
    const char *named = kt_http_answer_header(answer, "KT-Cluster-Key");
    const char *known = client->state.cluster_fingerprint;
    struct kt_error why = {0};
    int rc;

    if (named == NULL || known[0] == '\0' || !kt_cluster_key_is_id(named) ||
        strcasecmp(named, known) == 0 || strcmp(named, client->key_asked) == 0)
        return;
    memcpy(client->key_asked, named, sizeof client->key_asked);
    rc = ktc_cluster_key_follow(client, server, NULL, &why);
    if (rc == KT_ERR_SIGNATURE)
        ktc_warn(client, why.hint, "%s", why.message);
    if (rc != 0)
        client->key_asked[0] = '\0';
}

int ktc_cluster_key_named(struct keytrustee *client, const char *cluster, const char *named,
                          const char *server, const uint8_t *pin, struct kt_error *error)
{
    int rc = 0;

    if (client->state.cluster_fingerprint[0] == '\0' ||
        strcmp(client->state.cluster, cluster) != 0 ||
        strcasecmp(client->state.cluster_fingerprint, named) == 0)
        return 0;
    rc = ktc_cluster_key_follow(client, server, pin, error);
    if (rc == 0 && strcasecmp(client->state.cluster_fingerprint, named) != 0)
        rc = kt_error_set(
            error, KT_ERR_SIGNATURE,
            "ask the operator: was the cluster restored from a backup of before its "
            "key was replaced? A new --confdir begins anew",
            "%s has the cluster's OpenPGP key %.40s, which does not follow %s, the one "
            "that this client knows",
            server, named, client->state.cluster_fingerprint);
    return rc;
}

// What the newest key has signed when it came: only that statement of an older one holds, and by its
// hash those before it.
int ktc_cluster_key_closed(struct keytrustee *client, const char *server,
                           const struct kt_incarnation *incarnation, const char *text,
                           struct kt_error *error)
{
    struct kt_key_statement read;
    uint8_t hash[KT_SHA256_LEN];
    json_t *object = NULL;
    int found = 0, rc = fetch(client, server, NULL, &object, error);

    if (rc == 0)
        rc = kt_sha256(text, strlen(text), hash);
    for (size_t i = 0; rc == 0 && !found && i < count_of(object); i++) {
        const char *candidate = text_at(object, i, &read);
        if (candidate == NULL || strcasecmp(read.next, client->state.cluster_fingerprint) != 0)
            continue;
        rc = verify(client, candidate, server, &read, error);
        found = rc == 0 && read.incarnation.number == incarnation->number &&
                read.incarnation.bits == incarnation->bits &&
                memcmp(read.restored, hash, sizeof hash) == 0;
    }
    json_decref(object);
    return rc == 0 && !found ? KT_ERR_NOT_FOUND : rc;
}
