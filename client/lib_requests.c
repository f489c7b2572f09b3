// SPDX-License-Identifier: Apache-2.0
// Retrievals that wait for trustees: listed, and voted on.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/client.h"
#include "lib/json.h"
#include "lib/release.h"

#define PAGE        200
#define PAGES_MAX   10000 // a server that goes round in circles ends too
#define STATE_TEXT  16
#define COMMENT_MAX (KT_JUSTIFICATION_MAX + 1)

struct texts {
    char id[KT_UUID_TEXT], deposit[KT_UUID_TEXT], client[KT_UUID_TEXT];
    char state[STATE_TEXT], handle[KT_HANDLE_MAX + 1], name[KEYTRUSTEE_NAME_SIZE];
    char justification[COMMENT_MAX], created[KT_TIME_TEXT], expires[KT_TIME_TEXT];
};

static int take_text(const json_t *object, const char *name, char *out, size_t size,
                     struct kt_error *error)
{
    const char *text = NULL;
    int rc = 0;

    out[0] = '\0';
    if (!json_is_null(json_object_get(object, name)))
        rc = kt_json_string(object, name, 0, size - 1, &text, error);
    if (rc == 0 && text != NULL) {
        snprintf(out, size, "%s", text);
        ktc_printable(out);
    }
    return rc;
}

static int take_texts(const json_t *object, struct texts *texts, struct kt_error *error)
{
    struct kt_uuid id;
    int rc = 0;

    if ((rc = take_text(object, "id", texts->id, sizeof texts->id, error)) != 0 ||
        (rc = take_text(object, "deposit", texts->deposit, sizeof texts->deposit, error)) != 0 ||
        (rc = take_text(object, "client", texts->client, sizeof texts->client, error)) != 0 ||
        (rc = take_text(object, "state", texts->state, sizeof texts->state, error)) != 0 ||
        (rc = take_text(object, "handle", texts->handle, sizeof texts->handle, error)) != 0 ||
        (rc = take_text(object, "name", texts->name, sizeof texts->name, error)) != 0 ||
        (rc = take_text(object, "created", texts->created, sizeof texts->created, error)) != 0 ||
        (rc = take_text(object, "expires", texts->expires, sizeof texts->expires, error)) != 0 ||
        (rc = take_text(object, "justification", texts->justification, sizeof texts->justification,
                        error)) != 0)
        return rc;
    if (kt_uuid_parse(texts->id, &id) != 0)
        rc = kt_error_set(error, KT_ERR_BAD_REQUEST, NULL, "a request without an id");
    return rc;
}

static int take_request(const json_t *object, struct texts *texts,
                        struct keytrustee_request *request, struct kt_error *error)
{
    const json_t *voted = json_object_get(object, "voted");
    int64_t version = 0, votes = 0, approvals = 0, denials = 0;
    int rc = take_texts(object, texts, error);

    if (rc == 0)
        rc = kt_json_integer(object, "version", 1, UINT32_MAX, 1, &version, error);
    if (rc == 0)
        rc = kt_json_integer(object, "votes", 0, KT_TRUSTEES_MAX, 1, &votes, error);
    if (rc == 0)
        rc = kt_json_integer(object, "approvals", 0, KT_TRUSTEES_MAX, 1, &approvals, error);
    if (rc == 0)
        rc = kt_json_integer(object, "denials", 0, KT_TRUSTEES_MAX, 1, &denials, error);
    if (rc != 0)
        return rc;
    *request = (struct keytrustee_request){
        .id = texts->id,
        .state = texts->state,
        .handle = texts->handle,
        .version = (uint32_t)version,
        .deposit = texts->deposit,
        .client = texts->client,
        .name = texts->name,
        .justification = texts->justification,
        .created = texts->created,
        .expires = texts->expires,
        .own = kt_json_boolean(object, "own", 0),
        .voted = json_is_true(voted)    ? 1
                 : json_is_false(voted) ? -1
                                        : 0,
        .votes = (uint32_t)votes,
        .approvals = (uint32_t)approvals,
        .denials = (uint32_t)denials,
    };
    return 0;
}

// Hands out one page. `after` receives the request to go on behind; "" = that was all.
static int give_page(const json_t *object, keytrustee_request_fn each, void *arg,
                     char after[KT_UUID_TEXT], struct kt_error *error)
{
    const json_t *list = json_object_get(object, "requests");
    int more = json_is_string(json_object_get(object, "next"));

    after[0] = '\0';
    if (!json_is_array(list))
        return kt_error_set(error, KT_ERR_BAD_REQUEST, NULL, "member \"requests\" is missing");
    for (size_t i = 0; i < json_array_size(list); i++) {
        struct keytrustee_request request;
        struct texts texts;
        int rc = take_request(json_array_get(list, i), &texts, &request, error);
        if (rc != 0)
            return rc;
        if (each(arg, &request) != 0) {
            after[0] = '\0';
            return 0;
        }
        if (more)
            memcpy(after, texts.id, KT_UUID_TEXT);
    }
    return 0;
}

// One page, behind a barrier while that works.
static int ask_page(struct keytrustee *client, const char *state, const char *after, int *fresh,
                    struct ktc_answer *answer, json_t **object, struct kt_error *error)
{
    char path[128];
    struct ktc_call call = {.method = "GET", .path = path, .barrier = *fresh};
    int rc = 0;

    snprintf(path, sizeof path, "/v1/requests?limit=%d%s%s%s%s", PAGE, state[0] ? "&state=" : "",
             state, after[0] ? "&after=" : "", after);
    ktc_begin(client); // the timeout is for each page
    if (*fresh)
        client->deadline -= (int64_t)ktc_time_left(client) * 1000 / 2;
    rc = ktc_call_json(client, &call, answer, object, error);
    if (!*fresh || kt_err_info(rc)->exit != KEYTRUSTEE_UNAVAILABLE)
        return rc;
    ktc_warn(client, "list again when the active can be reached",
             "this list could not be checked with the active, and may be behind: %.300s",
             error->message);
    *fresh = call.barrier = 0;
    ktc_begin(client);
    ktc_answer_free(answer);
    return ktc_call_json(client, &call, answer, object, error);
}

static int list(struct keytrustee *client, const char *state, keytrustee_request_fn each, void *arg,
                struct kt_error *error)
{
    char after[KT_UUID_TEXT] = "";
    int fresh = 1, pages = 0;
    int rc = ktc_need_registration(client, error);

    if (rc == 0 && (strlen(state) >= STATE_TEXT ||
                    strspn(state, "abcdefghijklmnopqrstuvwxyz") != strlen(state)))
        rc = kt_error_set(error, KT_ERR_USAGE,
                          "the states are waiting, approved, denied, used, expired",
                          "no such state of requests");
    if (rc != 0)
        return rc;
    do {
        struct ktc_answer answer = {0};
        json_t *object = NULL;
        rc = ask_page(client, state, after, &fresh, &answer, &object, error);
        if (rc == 0)
            rc = ktc_protocol(error, answer.server, give_page(object, each, arg, after, error));
        json_decref(object);
        ktc_answer_free(&answer);
    } while (rc == 0 && after[0] != '\0' && ++pages < PAGES_MAX);
    if (!fresh)
        client->source.fresh = 0;
    return rc;
}

int keytrustee_requests(struct keytrustee *client, const char *state, keytrustee_request_fn each,
                        void *arg, struct keytrustee_error *error)
{
    struct kt_error why = {0};

    ktc_begin(client);
    int rc = list(client, state ? state : "", each, arg, &why);
    return ktc_end(client, rc, &why, error);
}

// --- votes ---

static int make_body(int approve, const char *comment, char **body, struct kt_error *error)
{
    json_t *object;

    if (comment && kt_justification_check(comment) != 0)
        return kt_error_set(error, KT_ERR_USAGE, NULL,
                            "a comment is one line of UTF-8, 1 to %d bytes", KT_JUSTIFICATION_MAX);
    object = json_pack("{s:b, s:s*}", "approve", approve != 0, "comment", comment);
    *body = object ? kt_json_text(object) : NULL;
    json_decref(object);
    return *body ? 0 : KT_ERR_NO_MEMORY;
}

static int vote(struct keytrustee *client, const char *text, int approve, const char *comment,
                char state[STATE_TEXT], struct kt_error *error)
{
    static const char *const headers[] = {"Content-Type: application/json", NULL};
    char path[80], id[KT_UUID_TEXT], *body = NULL;
    struct ktc_call call = {
        .method = "POST", .path = path, .headers = headers, .has_body = 1, .change = 1};
    struct ktc_answer answer = {0};
    json_t *object = NULL;
    struct kt_uuid uuid;
    int rc = ktc_need_registration(client, error);

    if (rc == 0 && kt_uuid_parse(text, &uuid) != 0)
        rc = kt_error_set(error, KT_ERR_USAGE, "list the requests (keytrustee requests)",
                          "that is not the id of a request");
    if (rc == 0)
        rc = make_body(approve, comment, &body, error);
    if (rc != 0)
        return rc;
    kt_uuid_format(&uuid, id);
    snprintf(path, sizeof path, "/v1/requests/%s/vote", id);
    call.body = body;
    call.body_len = strlen(body);
    rc = ktc_call_json(client, &call, &answer, &object, error);
    if (rc == 0) {
        rc = take_text(object, "state", state, STATE_TEXT, error);
        if (rc != 0)
            rc = ktc_in_doubt(error, ktc_protocol(error, answer.server, rc));
    }
    json_decref(object);
    ktc_answer_free(&answer);
    free(body);
    return rc;
}

int keytrustee_vote(struct keytrustee *client, const char *request, int approve,
                    const char *comment, char state[16], struct keytrustee_error *error)
{
    char now[STATE_TEXT] = "";
    struct kt_error why = {0};

    ktc_begin(client);
    int rc = vote(client, request, approve, comment, now, &why);
    if (rc == 0 && state != NULL)
        memcpy(state, now, sizeof now);
    return ktc_end(client, rc, &why, error);
}
