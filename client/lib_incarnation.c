// SPDX-License-Identifier: Apache-2.0
// The place in the cluster's history that this client remembers. A cluster that was restored from a
// backup is believed by its statement only, which its OpenPGP key has signed.
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "client/client.h"
#include "lib/json.h"
#include "lib/statement.h"

#define LONGEST_FETCH_MS 5000
#define NO_STATEMENT     "do not use this server; ask the operator, who must show how it was restored"

// --- what is remembered ---

// Other processes may have seen a newer place in history still.
static void save_history(struct keytrustee *client)
{
    struct ktc_state disk = {0};
    enum ktc_seen seen = KTC_SEEN_SAME;
    char path[KT_PATH_MAX];
    struct kt_error why = {0};
    int fd = -1;
    int rc = ktc_path(client, "client.json", path);

    if (rc == 0)
        rc = ktc_lock(client, &fd, &why);
    if (rc == 0)
        rc = ktc_state_load(path, &disk, &why);
    if (rc == 0)
        rc = ktc_state_observe(&disk, &client->state.incarnation, client->state.epoch, &seen);
    if (rc == 0 && (seen == KTC_SEEN_NEWER || seen == KTC_SEEN_RESTORED))
        rc = ktc_state_save(path, &disk, &why);
    if (rc == 0) {
        client->state.incarnation = disk.incarnation;
        client->state.epoch = disk.epoch;
    } else {
        ktc_warn(client, NULL, "cannot remember epoch %llu: %s",
                 (unsigned long long)client->state.epoch,
                 why.message[0] ? why.message : kt_err_text(rc));
    }
    if (fd >= 0)
        close(fd);
}

void ktc_history_remember(struct keytrustee *client, const struct kt_incarnation *incarnation,
                          uint64_t epoch)
{
    enum ktc_seen seen = KTC_SEEN_SAME;

    if (ktc_state_observe(&client->state, incarnation, epoch, &seen) == 0 &&
        (seen == KTC_SEEN_NEWER || seen == KTC_SEEN_RESTORED))
        save_history(client);
}

void ktc_history_reload(struct keytrustee *client)
{
    struct ktc_state disk = {0};
    enum ktc_seen seen = KTC_SEEN_SAME;
    char path[KT_PATH_MAX];

    if (ktc_path(client, "client.json", path) == 0 && ktc_state_load(path, &disk, NULL) == 0 &&
        disk.incarnation.number != 0 &&
        ktc_state_observe(&client->state, &disk.incarnation, disk.epoch, &seen) != 0)
        ktc_warn(client, NULL, "\"%s\" is of another history than this process has seen", path);
}

// --- the statement ---

static int same(const struct kt_incarnation *a, const struct kt_incarnation *b)
{
    return a->number == b->number && a->bits == b->bits;
}

// The statement of exactly this incarnation, owned by `object`; NULL when there is none.
static const char *find(const json_t *object, const struct kt_incarnation *wanted)
{
    const json_t *list = json_object_get(object, "incarnations");
    const char *name = NULL, *text = NULL;

    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *one = json_array_get(list, i);
        struct kt_incarnation incarnation;
        if (kt_json_string(one, "incarnation", 1, KT_INCARNATION_TEXT, &name, NULL) != 0 ||
            kt_incarnation_parse(name, &incarnation) != 0 || !same(&incarnation, wanted))
            continue;
        if (json_is_string(json_object_get(one, "statement")) &&
            kt_json_string(one, "statement", 1, KT_STATEMENT_MAX, &text, NULL) == 0)
            return text;
    }
    return NULL;
}

// Asks that server only, and once: what its answer says of its own place in history is not looked
// at, since that is what is being asked.
static int fetch(struct keytrustee *client, const char *server, const uint8_t *pin, json_t **object,
                 struct kt_error *error)
{
    const struct ktc_call call = {.method = "GET", .path = "/v1/incarnations", .pin = pin};
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
    if (rc == 0 || rc == KT_ERR_ROUTE_UNKNOWN) // a server that does not know the call has none
        return 0;
    return kt_error_set(error, KT_ERR_UNCHECKED, "try again later",
                        "%s says that the cluster was restored from a backup, and its statement of "
                        "it cannot be had: %.250s",
                        server, why.message[0] ? why.message : kt_err_text(rc));
}

// How a statement by an older key of the cluster is known to be of the time when that key counted.
enum older_key {
    OLDER_CLOSED, // by the word of the newest key
    OLDER_HASHED, // by the hash in the statement behind it
};

static int check_signer(struct keytrustee *client, const char *signer, enum older_key older,
                        const char *server, const struct kt_incarnation *incarnation,
                        const char *text, struct kt_error *error)
{
    int rc = 0;

    if (strcasecmp(signer, client->state.cluster_fingerprint) != 0 && older == OLDER_CLOSED)
        rc = ktc_cluster_key_closed(client, server, incarnation, text, error);
    if (rc == KT_ERR_NOT_FOUND)
        rc = kt_error_set(error, KT_ERR_SIGNATURE, NULL,
                          "the statement is signed by key %s, not by the cluster's, which is %s",
                          signer, client->state.cluster_fingerprint);
    return rc;
}

static int check(struct keytrustee *client, const char *text,
                 const struct kt_incarnation *incarnation, enum older_key older, const char *server,
                 struct kt_statement *statement, struct kt_error *error)
{
    char signer[KT_OPENPGP_FINGERPRINT_TEXT] = "";
    char name[KT_INCARNATION_TEXT];
    struct kt_statement read = {0};
    struct kt_error why = {0};
    struct kt_uuid cluster;
    const char *wrong = NULL;
    int rc = 0;

    kt_incarnation_format(incarnation, name);
    if (text == NULL)
        return kt_error_set(error, KT_ERR_SIGNATURE, NO_STATEMENT,
                            "%s says that the cluster was restored as incarnation %s, and shows no "
                            "statement of it by the cluster's OpenPGP key",
                            server, name);
    rc = kt_statement_verify_any(text, strlen(text), signer, &read, &why);
    if (rc == 0)
        rc = check_signer(client, signer, older, server, incarnation, text, &why);
    if (rc != 0 && rc != KT_ERR_SIGNATURE && rc != KT_ERR_PROTOCOL)
        return kt_error_set(error, KT_ERR_UNCHECKED, why.hint[0] ? why.hint : NULL,
                            "the statement of incarnation %s cannot be verified here: %.250s", name,
                            why.message[0] ? why.message : kt_err_text(rc));
    if (rc != 0)
        wrong = why.message[0] ? why.message : kt_err_text(rc);
    else if (kt_uuid_parse(client->state.cluster, &cluster) != 0 ||
             memcmp(&cluster, &read.cluster_id, sizeof cluster) != 0)
        wrong = "it is of another cluster";
    else if (!same(&read.incarnation, incarnation))
        wrong = "it is of another incarnation";
    if (wrong != NULL)
        return kt_error_set(error, KT_ERR_SIGNATURE, NO_STATEMENT,
                            "%s says that the cluster was restored as incarnation %s, and its "
                            "statement of it is not good: %.200s",
                            server, name, wrong);
    *statement = read;
    return 0;
}

// --- the verdict ---

static void tell(const struct keytrustee *client, const struct kt_statement *statement,
                 const struct kt_incarnation *known)
{
    char name[KT_INCARNATION_TEXT], previous[KT_INCARNATION_TEXT], before[KT_INCARNATION_TEXT];
    unsigned long long index = statement->log_index;

    kt_incarnation_format(&statement->incarnation, name);
    kt_incarnation_format(&statement->previous, previous);
    kt_incarnation_format(known, before);
    ktc_warn(client,
             "keytrustee receipts export, and let the operator run ktadmin receipts check: it "
             "lists what is missing",
             "the cluster was restored from a backup (incarnation %s): deposits that were "
             "acknowledged after log index %llu are not in it",
             name, index);
    if (!same(&statement->previous, known))
        ktc_warn(client, "check the receipts of all deposits of this client",
                 "it was restored from incarnation %s, a line that this client has not seen (it "
                 "knew %s): deposits up to log index %llu may be missing too",
                 previous, before, index);
}

int ktc_restored_accept(struct keytrustee *client, const struct kt_incarnation *incarnation,
                        uint64_t epoch, const char *server, const uint8_t *pin,
                        struct kt_error *error)
{
    const struct kt_incarnation known = client->state.incarnation;
    struct kt_statement statement = {0};
    json_t *object = NULL;
    // A key that was replaced says nothing any more: first which one the cluster has.
    int rc = ktc_cluster_key_follow(client, server, pin, error);

    if (rc == 0)
        rc = fetch(client, server, pin, &object, error);
    if (rc == 0)
        rc = check(client, find(object, incarnation), incarnation, OLDER_CLOSED, server, &statement,
                   error);
    if (rc == 0) {
        ktc_history_remember(client, incarnation, epoch);
        tell(client, &statement, &known);
    }
    if (rc != 0 && error != NULL)
        ktc_printable(error->message);
    json_decref(object);
    return rc;
}

// --- the line of history ---

// Only the first incarnation of a cluster began without a restore, so without a statement; and a
// statement names the one before it.
static int hidden(const struct kt_incarnation *incarnation, const char *server,
                  struct kt_error *error)
{
    char name[KT_INCARNATION_TEXT];

    kt_incarnation_format(incarnation, name);
    return kt_error_set(error, KT_ERR_SIGNATURE, NO_STATEMENT,
                        "%s hides the statement of incarnation %s, or shows another one than that "
                        "which the cluster's history goes on from",
                        server, name);
}

// The statement of the newest entry of `line`; `after` is that of the entry before, NULL for the
// first. *text receives NULL where the line begins.
static int find_link(const json_t *object, const struct ktc_line *line,
                     const struct kt_statement *after, const char *server, const char **text,
                     struct kt_error *error)
{
    const struct kt_incarnation *incarnation = &line->list[line->count - 1].incarnation;
    const char *found = find(object, incarnation);
    uint8_t hash[KT_SHA256_LEN];

    if (after == NULL) {
        if (found == NULL && incarnation->number > 1)
            return hidden(incarnation, server, error);
    } else if (after->number == 1) {
        found = NULL;
    } else if (found == NULL || kt_sha256(found, strlen(found), hash) != 0 ||
               memcmp(hash, after->before, sizeof hash) != 0) {
        return hidden(incarnation, server, error);
    }
    *text = found;
    return 0;
}

// The entry that the statement leads to: its log is that of the present one as far as no statement
// between them cuts it off earlier.
static int add_entry(struct ktc_line *line, const struct kt_statement *statement,
                     const char *server, struct kt_error *error)
{
    size_t i = line->count - 1;
    int is_first = i == 0, is_same = statement->log_index == line->list[i].last;

    if (!is_first && is_same &&
        memcmp(statement->root, line->list[i].root, sizeof statement->root) != 0)
        return kt_error_set(error, KT_ERR_SIGNATURE, NO_STATEMENT,
                            "two statements that %s shows say different things of the log's first "
                            "%llu deposits",
                            server, (unsigned long long)statement->log_index);
    line->list[i + 1] = line->list[i];
    line->list[i + 1].incarnation = statement->previous;
    if (is_first || statement->log_index < line->list[i].last) {
        line->list[i + 1].last = statement->log_index;
        memcpy(line->list[i + 1].root, statement->root, sizeof statement->root);
    }
    line->count++;
    return 0;
}

// Follows the statements back from the newest entry of `line`.
static int follow(struct keytrustee *client, const json_t *object, const char *server,
                  struct ktc_line *line, struct kt_error *error)
{
    struct kt_statement after = {0}, statement = {0};

    while (line->count < KTC_LINE_MAX) {
        const struct kt_incarnation *incarnation = &line->list[line->count - 1].incarnation;
        const char *text = NULL;
        int rc = find_link(object, line, line->count == 1 ? NULL : &after, server, &text, error);

        if (rc != 0 || text == NULL)
            return rc;
        rc = check(client, text, incarnation, line->count == 1 ? OLDER_CLOSED : OLDER_HASHED,
                   server, &statement, error);
        if (rc == 0 && line->count > 1 && statement.number != after.number - 1)
            rc = hidden(incarnation, server, error);
        if (rc == 0)
            rc = add_entry(line, &statement, server, error);
        if (rc != 0)
            return rc;
        after = statement;
    }
    return 0;
}

int ktc_line_read(struct keytrustee *client, const char *server, struct ktc_line *line,
                  struct kt_error *error)
{
    json_t *object = NULL;
    int rc = fetch(client, server, NULL, &object, error);

    memset(line, 0, sizeof *line);
    line->count = 1;
    line->list[0].incarnation = client->state.incarnation;
    line->list[0].last = UINT64_MAX;
    if (rc == 0)
        rc = follow(client, object, server, line, error);
    json_decref(object);
    return rc;
}

uint64_t ktc_line_last(const struct ktc_line *line, const struct kt_incarnation *incarnation)
{
    for (size_t i = 0; i < line->count; i++)
        if (same(&line->list[i].incarnation, incarnation))
            return line->list[i].last;
    return 0;
}

int ktc_line_unknown(const struct ktc_line *line, const struct kt_incarnation *incarnation)
{
    uint32_t oldest = line->list[line->count - 1].incarnation.number;

    // A cluster begins as number 1, and each restore has a higher one than what it goes on from.
    return oldest > 1 && incarnation->number < oldest;
}
