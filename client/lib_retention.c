// SPDX-License-Identifier: Apache-2.0
// Taking deletions back, asking for purges, and locks.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/client.h"
#include "lib/json.h"

// Makes a change of the versions of a handle; `member` of the answer says of how many. The caller
// json_decref()s *object.
static int change(struct keytrustee *client, struct ktc_call *call, const char *handle,
                  const char *tail, uint32_t version, const char *member, uint64_t *count,
                  json_t **object, struct kt_error *error)
{
    struct ktc_answer answer = {0};
    int64_t number = 0;
    char *path = NULL;
    int rc = ktc_check_handle(handle, error);

    if (rc != 0)
        return rc;
    path = ktc_deposit_path(handle, tail, version);
    if (path == NULL)
        return KT_ERR_NO_MEMORY;
    call->path = path;
    call->change = 1;
    rc = ktc_call_json(client, call, &answer, object, error);
    if (rc == 0) {
        rc = kt_json_integer(*object, member, 0, INT64_MAX, 1, &number, error);
        if (rc != 0)
            rc = ktc_in_doubt(error, ktc_protocol(error, answer.server, rc));
    }
    if (rc == 0)
        *count = (uint64_t)number;
    ktc_answer_free(&answer);
    free(path);
    return rc;
}

int keytrustee_undelete(struct keytrustee *client, const char *handle, uint32_t version,
                        uint64_t *count, struct keytrustee_error *error)
{
    struct ktc_call call = {.method = "POST"};
    struct kt_error why = {0};
    json_t *object = NULL;
    uint64_t back = 0;

    ktc_begin(client);
    int rc = change(client, &call, handle, "/undelete", version, "undeleted", &back, &object, &why);
    if (rc == 0 && count != NULL)
        *count = back;
    json_decref(object);
    return ktc_end(client, rc, &why, error);
}

int keytrustee_purge(struct keytrustee *client, const char *handle, uint32_t version,
                     uint64_t *count, int64_t *purge_after_us, struct keytrustee_error *error)
{
    struct ktc_call call = {.method = "POST"};
    const char *text = NULL;
    struct kt_error why = {0};
    json_t *object = NULL;
    uint64_t purging = 0;
    int64_t after_us = 0;

    ktc_begin(client);
    int rc = change(client, &call, handle, "/purge", version, "purging", &purging, &object, &why);
    if (rc == 0) {
        rc = kt_json_string(object, "purge_after", 1, KT_TIME_TEXT - 1, &text, &why);
        if (rc == 0)
            rc = kt_time_parse(text, &after_us);
        if (rc != 0)
            rc = ktc_in_doubt(&why, rc);
    }
    if (rc == 0 && count != NULL)
        *count = purging;
    if (rc == 0 && purge_after_us != NULL)
        *purge_after_us = after_us;
    json_decref(object);
    return ktc_end(client, rc, &why, error);
}

// The body of the request; the caller frees. NULL = no memory.
static char *lock_text(const struct keytrustee_lock *lock)
{
    json_t *object = json_object();
    char until[KT_TIME_TEXT], *text = NULL;
    int bad = object == NULL;

    if (!bad && lock->mode != NULL)
        bad |= json_object_set_new(object, "mode", json_string(lock->mode));
    if (!bad && lock->until_us != 0) {
        kt_time_format(lock->until_us, until);
        bad |= json_object_set_new(object, "until", json_string(until));
    }
    if (!bad && lock->hold != 0)
        bad |= json_object_set_new(object, "hold", json_boolean(lock->hold > 0));
    if (!bad)
        text = kt_json_text(object);
    json_decref(object);
    return text;
}

// The caller's structure may be that of an older version, which ended earlier.
static int check_lock(const struct keytrustee_lock *lock, struct kt_error *error)
{
    static const char *const modes[] = {"governance", "compliance", "none"};
    int known = 0;

    if (lock == NULL || lock->size < sizeof *lock)
        return kt_error_set(error, KT_ERR_USAGE, NULL, "no lock was given");
    for (size_t i = 0; lock->mode != NULL && i < sizeof modes / sizeof modes[0]; i++)
        known |= strcmp(lock->mode, modes[i]) == 0;
    if (lock->mode != NULL && !known)
        return kt_error_set(error, KT_ERR_USAGE, "modes are governance, compliance and none",
                            "no such mode of a lock");
    if (lock->until_us < 0)
        return kt_error_set(error, KT_ERR_USAGE, NULL, "the end of the lock is before 1970");
    return 0;
}

int keytrustee_lock(struct keytrustee *client, const char *handle, uint32_t version,
                    const struct keytrustee_lock *lock, uint64_t *count,
                    struct keytrustee_error *error)
{
    const char *headers[] = {"Content-Type: application/json", NULL, NULL};
    struct ktc_call call = {.method = "PUT", .headers = headers, .has_body = 1};
    struct kt_error why = {0};
    json_t *object = NULL;
    char *text = NULL;
    uint64_t versions = 0;

    ktc_begin(client);
    int rc = check_lock(lock, &why);
    if (rc == 0) {
        text = lock_text(lock);
        rc = text ? 0 : KT_ERR_NO_MEMORY;
    }
    if (rc == 0) {
        if (lock->bypass)
            headers[1] = "KT-Bypass-Governance: yes";
        call.body = text;
        call.body_len = strlen(text);
        rc = change(client, &call, handle, "/lock", version, "versions", &versions, &object, &why);
    }
    if (rc == 0 && count != NULL)
        *count = versions;
    json_decref(object);
    free(text);
    return ktc_end(client, rc, &why, error);
}
