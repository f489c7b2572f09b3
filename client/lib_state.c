// SPDX-License-Identifier: Apache-2.0
// client.json: who this client is, its servers, and the newest history it has seen.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/client.h"
#include "lib/file.h"
#include "lib/json.h"

#define STATE_VERSION  1
#define STATE_FILE_MAX 65536

static int take(const json_t *object, const char *name, char *out, size_t size,
                struct kt_error *error)
{
    const char *text = NULL;
    int rc = kt_json_string(object, name, 0, size - 1, &text, error);

    if (rc == 0 && text != NULL)
        snprintf(out, size, "%s", text);
    return rc;
}

static int take_servers(const json_t *object, struct ktc_state *state, struct kt_error *error)
{
    const json_t *list = json_object_get(object, "servers");
    size_t count = json_array_size(list);

    if (count > KTC_SERVERS_MAX)
        return kt_error_set(error, KT_ERR_INVALID, NULL, "more than %d servers", KTC_SERVERS_MAX);
    for (size_t i = 0; i < count; i++) {
        const char *server = json_string_value(json_array_get(list, i));
        if (server == NULL || strlen(server) >= KTC_SERVER_TEXT ||
            kt_http_server_check(server) != 0)
            return kt_error_set(error, KT_ERR_INVALID, NULL, "server %zu is malformed", i + 1);
        snprintf(state->servers[i], KTC_SERVER_TEXT, "%s", server);
    }
    state->server_count = count;
    return 0;
}

// The keys of the cluster that were left, each with the one that it was left for.
static int take_left(const json_t *object, struct ktc_state *state, struct kt_error *error)
{
    const json_t *list = json_object_get(object, "left_keys");
    size_t count = json_array_size(list);
    int rc = 0;

    if (count > KTC_LEFT_MAX)
        return kt_error_set(error, KT_ERR_INVALID, NULL, "more than %d left keys", KTC_LEFT_MAX);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        const json_t *one = json_array_get(list, i);
        struct ktc_left_key *left = &state->left[i];
        rc = take(one, "key", left->key, sizeof left->key, error);
        if (rc == 0)
            rc = take(one, "next", left->next, sizeof left->next, error);
    }
    state->left_count = count;
    return rc;
}

static int take_marks(const json_t *object, struct ktc_state *state, struct kt_error *error)
{
    const json_t *list = json_object_get(object, "ca_marks");
    size_t count = json_array_size(list);

    if (count > KTC_MARKS_MAX)
        return kt_error_set(error, KT_ERR_INVALID, NULL, "more than %d CA marks", KTC_MARKS_MAX);
    for (size_t i = 0; i < count; i++) {
        const char *mark = json_string_value(json_array_get(list, i));
        if (mark == NULL || strlen(mark) >= sizeof state->marks[i])
            return kt_error_set(error, KT_ERR_INVALID, NULL, "CA mark %zu is malformed", i + 1);
        snprintf(state->marks[i], sizeof state->marks[i], "%s", mark);
    }
    state->mark_count = count;
    return 0;
}

static int take_all(const json_t *object, struct ktc_state *state, struct kt_error *error)
{
    char incarnation[KT_INCARNATION_TEXT] = "";
    int64_t version = 0, epoch = 0;
    int rc = kt_json_integer(object, "version", STATE_VERSION, STATE_VERSION, 1, &version, error);

    if (rc == 0)
        rc = take_servers(object, state, error);
    if (rc == 0)
        rc = take(object, "client", state->client, sizeof state->client, error);
    if (rc == 0)
        rc = take(object, "name", state->name, sizeof state->name, error);
    if (rc == 0)
        rc = take(object, "organisation", state->organisation, sizeof state->organisation, error);
    if (rc == 0)
        rc = take(object, "openpgp_fingerprint", state->fingerprint, sizeof state->fingerprint,
                  error);
    if (rc == 0)
        rc = take(object, "cluster", state->cluster, sizeof state->cluster, error);
    if (rc == 0)
        rc = take(object, "cluster_fingerprint", state->cluster_fingerprint,
                  sizeof state->cluster_fingerprint, error);
    if (rc == 0)
        rc = take_left(object, state, error);
    if (rc == 0)
        rc = take_marks(object, state, error);
    if (rc == 0)
        rc = take(object, "ca_early_mark", state->early_mark, sizeof state->early_mark, error);
    if (rc == 0)
        rc = take(object, "incarnation", incarnation, sizeof incarnation, error);
    if (rc == 0 && incarnation[0] != '\0')
        rc = kt_incarnation_parse(incarnation, &state->incarnation);
    if (rc == 0)
        rc = kt_json_integer(object, "epoch", 0, INT64_MAX, 0, &epoch, error);
    state->epoch = (uint64_t)epoch;
    return rc;
}

int ktc_state_load(const char *path, struct ktc_state *state, struct kt_error *error)
{
    struct kt_buf text = KT_BUF_INIT(STATE_FILE_MAX);
    struct kt_error inner = {0};
    struct ktc_state loaded = {0};
    json_t *object = NULL;
    int rc = 0;

    if (!kt_file_exists(path)) {
        kt_error_set(error, KT_ERR_NOT_FOUND, NULL, "no file \"%s\"", path);
        return KT_ERR_NOT_FOUND;
    }
    rc = kt_file_read(path, &text, error);
    if (rc != 0)
        goto out;
    rc = kt_json_parse_object(kt_buf_ptr(&text), kt_buf_left(&text), &object, &inner);
    if (rc == 0)
        rc = take_all(object, &loaded, &inner);
    if (rc != 0) {
        rc = kt_error_set(error, KT_ERR_INVALID, "restore it from a backup of the confdir",
                          "\"%s\" is damaged: %.300s", path,
                          inner.message[0] ? inner.message : kt_err_text(rc));
        goto out;
    }
    *state = loaded;
out:
    json_decref(object);
    kt_buf_free(&text);
    return rc;
}

static int add_left(const struct ktc_state *state, json_t *object)
{
    json_t *list = json_array();

    for (size_t i = 0; i < state->left_count; i++) {
        if (json_array_append_new(list, json_pack("{s:s, s:s}", "key", state->left[i].key, "next",
                                                  state->left[i].next)) != 0) {
            json_decref(list);
            return KT_ERR_NO_MEMORY;
        }
    }
    return json_object_set_new(object, "left_keys", list) == 0 ? 0 : KT_ERR_NO_MEMORY;
}

static int add_marks(const struct ktc_state *state, json_t *object)
{
    json_t *list = json_array();

    for (size_t i = 0; i < state->mark_count; i++) {
        if (json_array_append_new(list, json_string(state->marks[i])) != 0) {
            json_decref(list);
            return KT_ERR_NO_MEMORY;
        }
    }
    return json_object_set_new(object, "ca_marks", list) == 0 &&
                   json_object_set_new(object, "ca_early_mark", json_string(state->early_mark)) == 0
               ? 0
               : KT_ERR_NO_MEMORY;
}

int ktc_state_save(const char *path, const struct ktc_state *state, struct kt_error *error)
{
    char incarnation[KT_INCARNATION_TEXT] = "";
    json_t *servers = json_array();
    json_t *object = NULL;
    char *text = NULL;
    int rc = 0;

    for (size_t i = 0; servers && i < state->server_count; i++)
        if (json_array_append_new(servers, json_string(state->servers[i])) != 0)
            rc = KT_ERR_NO_MEMORY;
    if (state->incarnation.number != 0)
        kt_incarnation_format(&state->incarnation, incarnation);
    object = json_pack(
        "{s:i, s:o, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I}", "version", STATE_VERSION, "servers",
        servers, "client", state->client, "name", state->name, "organisation", state->organisation,
        "openpgp_fingerprint", state->fingerprint, "cluster", state->cluster, "cluster_fingerprint",
        state->cluster_fingerprint, "incarnation", incarnation, "epoch", (json_int_t)state->epoch);
    if (rc == 0)
        rc = add_left(state, object);
    if (rc == 0)
        rc = add_marks(state, object);
    if (object != NULL)
        text = json_dumps(object, JSON_INDENT(2) | JSON_SORT_KEYS);
    if (rc != 0 || text == NULL)
        rc = kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "cannot format \"%s\"", path);
    else
        rc = kt_file_replace(path, text, strlen(text), 0600, error);
    free(text);
    json_decref(object);
    return rc;
}

void ktc_state_take_key(struct ktc_state *state, const struct ktc_state *from)
{
    memcpy(state->cluster_fingerprint, from->cluster_fingerprint,
           sizeof state->cluster_fingerprint);
    memcpy(state->left, from->left, sizeof state->left);
    state->left_count = from->left_count;
}

void ktc_state_next_key(struct ktc_state *state, const char *next)
{
    struct ktc_left_key *left = NULL;

    if (state->left_count == KTC_LEFT_MAX) {
        memmove(state->left, state->left + 1, (KTC_LEFT_MAX - 1) * sizeof state->left[0]);
        state->left_count--;
    }
    left = &state->left[state->left_count++];
    memcpy(left->key, state->cluster_fingerprint, sizeof left->key);
    memcpy(left->next, next, sizeof left->next);
    memcpy(state->cluster_fingerprint, next, sizeof state->cluster_fingerprint);
}

int ktc_state_has_mark(const struct ktc_state *state, const char *mark)
{
    for (size_t i = 0; i < state->mark_count; i++) {
        if (strcmp(state->marks[i], mark) == 0)
            return 1;
    }
    return 0;
}

void ktc_state_add_mark(struct ktc_state *state, const char *mark)
{
    if (ktc_state_has_mark(state, mark))
        return;
    memmove(state->marks[1], state->marks[0], (KTC_MARKS_MAX - 1) * sizeof state->marks[0]);
    snprintf(state->marks[0], sizeof state->marks[0], "%s", mark);
    if (state->mark_count < KTC_MARKS_MAX)
        state->mark_count++;
}

int ktc_state_compare(const struct ktc_state *state, const struct kt_incarnation *incarnation,
                      uint64_t epoch, enum ktc_seen *seen)
{
    int order = 0;
    int rc = 0;

    if (state->incarnation.number == 0) { // the first answer ever
        *seen = KTC_SEEN_NEWER;
        return 0;
    }
    rc = kt_incarnation_compare(incarnation, epoch, &state->incarnation, state->epoch, &order);
    if (rc != 0)
        return rc;
    if (order < 0)
        *seen = incarnation->number < state->incarnation.number ? KTC_SEEN_UNDONE : KTC_SEEN_OLDER;
    else if (order == 0)
        *seen = KTC_SEEN_SAME;
    else
        *seen =
            incarnation->number > state->incarnation.number ? KTC_SEEN_RESTORED : KTC_SEEN_NEWER;
    return 0;
}

int ktc_state_observe(struct ktc_state *state, const struct kt_incarnation *incarnation,
                      uint64_t epoch, enum ktc_seen *seen)
{
    int rc = ktc_state_compare(state, incarnation, epoch, seen);

    if (rc == 0 && (*seen == KTC_SEEN_NEWER || *seen == KTC_SEEN_RESTORED)) {
        state->incarnation = *incarnation;
        state->epoch = epoch;
    }
    return rc;
}
