// SPDX-License-Identifier: Apache-2.0
// Listing deposits page by page, and deleting them.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/client.h"
#include "lib/json.h"

#define PAGE 500
// All pages together may take so many timeouts: a server that gives a row at a time ends too.
#define LIST_TIMEOUTS 20

// The path of the page behind `after` ("" = the first); the caller frees. NULL = no memory.
static char *page_path(const char *prefix, const char *after)
{
    char *escaped_prefix = kt_http_escape(prefix), *escaped_after = kt_http_escape(after);
    char *path = NULL;
    int n = -1;

    if (escaped_prefix != NULL && escaped_after != NULL)
        n = asprintf(&path, "/v1/deposits?limit=%d%s%s%s%s", PAGE, prefix[0] ? "&prefix=" : "",
                     escaped_prefix, after[0] ? "&after=" : "", escaped_after);
    free(escaped_prefix);
    free(escaped_after);
    return n < 0 ? NULL : path;
}

// Hands out one page. `after` receives the handle to go on behind; "" = that was all.
static int give_page(const json_t *object, const char *prefix, keytrustee_deposit_fn each,
                     void *arg, char after[KT_HANDLE_MAX + 1], struct kt_error *error)
{
    const json_t *list = json_object_get(object, "deposits");
    const char *next = json_string_value(json_object_get(object, "next"));
    size_t count = json_array_size(list);

    if (!json_is_array(list))
        return kt_error_set(error, KT_ERR_BAD_REQUEST, NULL, "member \"deposits\" is missing");
    // The rows ascend, see below: a next that is the last one's handle comes to an end.
    const json_t *last = count > 0 ? json_array_get(list, count - 1) : NULL;
    const char *handle = json_string_value(json_object_get(last, "handle"));
    if (next != NULL && (handle == NULL || strcmp(next, handle) != 0))
        return kt_error_set(error, KT_ERR_BAD_REQUEST, NULL,
                            "member \"next\" is not the handle of the last deposit");
    for (size_t i = 0; i < count; i++) {
        struct keytrustee_deposit deposit;
        int rc = ktc_deposit_from_json(json_array_get(list, i), &deposit, error);
        if (rc != 0)
            return rc;
        if (strncmp(deposit.handle, prefix, strlen(prefix)) != 0 ||
            strcmp(deposit.handle, after) <= 0)
            return kt_error_set(error, KT_ERR_BAD_REQUEST, NULL,
                                "deposits are out of order or were not asked for");
        snprintf(after, KT_HANDLE_MAX + 1, "%s", deposit.handle);
        if (each(arg, &deposit) != 0) {
            after[0] = '\0';
            return 0;
        }
    }
    if (next == NULL)
        after[0] = '\0';
    return 0;
}

// Asks for one page: behind a barrier while that works, `*fresh` tells, else any node that answers.
static int ask_page(struct keytrustee *client, const char *path, int *fresh,
                    struct ktc_answer *answer, json_t **object, struct kt_error *error)
{
    struct ktc_call call = {.method = "GET", .path = path, .barrier = 1};
    int64_t deadline = client->deadline;
    int rc = KT_ERR_UNCHECKED;

    if (*fresh) {
        // What the proof takes must leave time for an answer without.
        client->deadline -= (int64_t)ktc_time_left(client) * 1000 / 2;
        rc = ktc_call_json(client, &call, answer, object, error);
        client->deadline = deadline;
        if (kt_err_info(rc)->exit != KEYTRUSTEE_UNAVAILABLE)
            return rc;
        ktc_warn(client, "list again when the active can be reached",
                 "this list could not be checked with the active, and may miss what is new: %.300s",
                 error->message);
        *fresh = 0;
    }
    ktc_answer_free(answer);
    call.barrier = 0;
    return ktc_call_json(client, &call, answer, object, error);
}

static int list(struct keytrustee *client, const char *prefix, keytrustee_deposit_fn each,
                void *arg, struct kt_error *error)
{
    const int64_t end = kt_monotonic_now() + LIST_TIMEOUTS * (int64_t)client->timeout_ms * 1000;
    char after[KT_HANDLE_MAX + 1] = "";
    int fresh = 1, rc = 0;

    if (prefix[0] != '\0')
        rc = ktc_check_handle(prefix, error);
    if (rc == 0)
        rc = ktc_need_registration(client, error);
    if (rc != 0)
        return rc;
    do {
        struct ktc_answer answer = {0};
        json_t *object = NULL;
        char *path = page_path(prefix, after);
        if (path == NULL)
            return KT_ERR_NO_MEMORY;
        ktc_begin(client); // the timeout is for each page
        if (client->deadline > end)
            client->deadline = end;
        rc = ask_page(client, path, &fresh, &answer, &object, error);
        if (rc == 0)
            rc = ktc_protocol(error, answer.server,
                              give_page(object, prefix, each, arg, after, error));
        json_decref(object);
        ktc_answer_free(&answer);
        free(path);
    } while (rc == 0 && after[0] != '\0');
    if (!fresh)
        client->source.fresh = 0;
    return rc;
}

int keytrustee_list(struct keytrustee *client, const char *prefix, keytrustee_deposit_fn each,
                    void *arg, struct keytrustee_error *error)
{
    struct kt_error why = {0};

    ktc_begin(client);
    int rc = list(client, prefix ? prefix : "", each, arg, &why);
    return ktc_end(client, rc, &why, error);
}

static int delete_deposit(struct keytrustee *client, const char *handle, uint32_t version,
                          uint64_t *count, struct kt_error *error)
{
    struct ktc_call call = {.method = "DELETE", .change = 1};
    struct ktc_answer answer = {0};
    json_t *object = NULL;
    int64_t deleted = 0;
    char *path = NULL;
    int rc = ktc_check_handle(handle, error);

    if (rc != 0)
        return rc;
    path = ktc_deposit_path(handle, "", version);
    if (path == NULL)
        return KT_ERR_NO_MEMORY;
    call.path = path;
    rc = ktc_call_json(client, &call, &answer, &object, error);
    if (rc == 0) {
        rc = kt_json_integer(object, "deleted", 0, INT64_MAX, 1, &deleted, error);
        if (rc != 0)
            rc = ktc_in_doubt(error, ktc_protocol(error, answer.server, rc));
    }
    if (rc == 0)
        *count = (uint64_t)deleted;
    if (rc == KT_ERR_IN_DOUBT)
        snprintf(error->hint, sizeof error->hint,
                 "run the command again; \"not found\" then means that it was done");
    json_decref(object);
    ktc_answer_free(&answer);
    free(path);
    return rc;
}

int keytrustee_delete(struct keytrustee *client, const char *handle, uint32_t version,
                      uint64_t *count, struct keytrustee_error *error)
{
    struct kt_error why = {0};
    uint64_t deleted = 0;

    ktc_begin(client);
    int rc = delete_deposit(client, handle, version, &deleted, &why);
    if (rc == 0 && count != NULL)
        *count = deleted;
    return ktc_end(client, rc, &why, error);
}
