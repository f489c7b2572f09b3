// SPDX-License-Identifier: Apache-2.0
// Release policies: asked for by header fields, told as JSON.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/client.h"
#include "lib/json.h"
#include "lib/release.h"

static int bad(struct kt_error *error, const char *what)
{
    return kt_error_set(error, KT_ERR_USAGE, NULL, "release policy: %s", what);
}

// "...Z", with or without microseconds.
static int parse_time(const char *text, int64_t *us)
{
    char full[KT_TIME_TEXT];
    size_t n = strlen(text);

    if (n == strlen("2026-11-22T06:11:43Z") && text[n - 1] == 'Z')
        snprintf(full, sizeof full, "%.*s.000000Z", (int)n - 1, text);
    else
        snprintf(full, sizeof full, "%s", text);
    return n >= sizeof full || kt_time_parse(full, us) != 0 || *us <= 0 ? KT_ERR_INVALID : 0;
}

static int take_trustees(const struct keytrustee_policy *from, struct kt_release_policy *policy,
                         struct kt_error *error)
{
    for (size_t i = 0; from->trustees && from->trustees[i]; i++) {
        if (i == KT_TRUSTEES_MAX)
            return bad(error, "at most 16 trustees");
        if (kt_uuid_parse(from->trustees[i], &policy->trustees[i]) != 0)
            return kt_error_set(error, KT_ERR_USAGE, "keytrustee status shows a client's own id",
                                "release policy: a trustee is not the id of a client");
        policy->trustee_count++;
    }
    return 0;
}

static int check(const struct keytrustee_policy *from, struct kt_release_policy *policy,
                 struct kt_error *error)
{
    struct kt_error why = {0};
    int rc = 0;

    memset(policy, 0, sizeof *policy);
    if ((from->not_before && parse_time(from->not_before, &policy->not_before_us) != 0) ||
        (from->not_after && parse_time(from->not_after, &policy->not_after_us) != 0))
        return bad(error, "times have the form 2026-11-22T06:11:43Z");
    policy->max_retrievals = from->max_retrievals;
    policy->justification = from->justification != 0;
    policy->votes = from->votes;
    policy->request_lifetime_s = from->request_lifetime;
    if (policy->votes > 0 && policy->request_lifetime_s == 0)
        policy->request_lifetime_s = KT_REQUEST_LIFETIME_DEFAULT_S;
    rc = take_trustees(from, policy, error);
    if (rc == 0 && kt_release_policy_check(policy, &why) != 0)
        rc = kt_error_set(error, KT_ERR_USAGE, NULL, "%s", why.message);
    return rc;
}

static int put_time(struct kt_buf *out, const char *name, int64_t us)
{
    char text[KT_TIME_TEXT];

    if (us == 0)
        return 0;
    kt_time_format(us, text);
    return kt_buf_putf(out, "%s: %s\n", name, text);
}

static int put_trustees(struct kt_buf *out, const struct kt_release_policy *policy)
{
    int rc = kt_buf_putf(out, "KT-Votes: %u\nKT-Request-Lifetime: %lld\nKT-Trustees: ",
                         (unsigned)policy->votes, (long long)policy->request_lifetime_s);

    for (size_t i = 0; i < policy->trustee_count && rc == 0; i++) {
        char id[KT_UUID_TEXT];
        kt_uuid_format(&policy->trustees[i], id);
        rc = kt_buf_putf(out, "%s%s", i ? "," : "", id);
    }
    return rc == 0 ? kt_buf_put(out, "\n", 1) : rc;
}

int ktc_policy_text(const struct keytrustee_policy *policy, char out[KTC_POLICY_TEXT],
                    struct kt_error *error)
{
    struct kt_buf text = KT_BUF_INIT(KTC_POLICY_TEXT - 1);
    struct kt_release_policy checked;
    int rc = 0;

    out[0] = '\0';
    if (policy == NULL)
        return 0;
    rc = check(policy, &checked, error);
    if (rc == 0)
        rc = put_time(&text, "KT-Not-Before", checked.not_before_us);
    if (rc == 0)
        rc = put_time(&text, "KT-Not-After", checked.not_after_us);
    if (rc == 0 && checked.max_retrievals > 0)
        rc = kt_buf_putf(&text, "KT-Max-Retrievals: %u\n", (unsigned)checked.max_retrievals);
    if (rc == 0 && checked.justification)
        rc = kt_buf_putf(&text, "KT-Justification: required\n");
    if (rc == 0 && checked.votes > 0)
        rc = put_trustees(&text, &checked);
    if (rc == 0) {
        size_t n = kt_buf_left(&text);
        if (n > 0)
            memcpy(out, kt_buf_ptr(&text), n);
        out[n] = '\0';
    }
    kt_buf_free(&text);
    return rc;
}

size_t ktc_policy_lines(char *text, const char **lines)
{
    size_t n = 0;

    while (*text && n < KTC_POLICY_HEADERS) {
        char *end = strchr(text, '\n');
        if (end == NULL)
            break;
        *end = '\0';
        lines[n++] = text;
        text = end + 1;
    }
    return n;
}

// --- what the server tells ---

// One block: the structure, the list, and the texts behind it.
struct told {
    struct keytrustee_release release;
    const char *list[KT_TRUSTEES_MAX + 1];
    char trustees[KT_TRUSTEES_MAX][KT_UUID_TEXT];
    char not_before[KT_TIME_TEXT], not_after[KT_TIME_TEXT];
};

static int take_time(const json_t *object, const char *name, char out[KT_TIME_TEXT],
                     struct kt_error *error)
{
    const char *text = NULL;
    int64_t us = 0;
    int rc = 0;

    if (!json_is_null(json_object_get(object, name)))
        rc = kt_json_string(object, name, 0, KT_TIME_TEXT - 1, &text, error);
    if (rc == 0 && text != NULL && kt_time_parse(text, &us) != 0)
        rc = kt_error_set(error, KT_ERR_BAD_REQUEST, NULL, "member \"%s\" is no time", name);
    if (rc == 0 && text != NULL)
        kt_time_format(us, out);
    return rc;
}

static int take_number(const json_t *object, const char *name, uint32_t *out,
                       struct kt_error *error)
{
    int64_t number = 0;
    int rc = 0;

    if (!json_is_null(json_object_get(object, name)))
        rc = kt_json_integer(object, name, 0, UINT32_MAX, 0, &number, error);
    *out = (uint32_t)number;
    return rc;
}

static int take_list(const json_t *object, struct told *told, struct kt_error *error)
{
    const json_t *list = json_object_get(object, "trustees");
    size_t count = json_array_size(list);

    if (count > KT_TRUSTEES_MAX)
        return kt_error_set(error, KT_ERR_BAD_REQUEST, NULL, "too many trustees");
    for (size_t i = 0; i < count; i++) {
        const char *text = json_string_value(json_array_get(list, i));
        struct kt_uuid id;
        if (text == NULL || kt_uuid_parse(text, &id) != 0)
            return kt_error_set(error, KT_ERR_BAD_REQUEST, NULL, "a trustee is no client id");
        kt_uuid_format(&id, told->trustees[i]);
        told->list[i] = told->trustees[i];
    }
    told->release.trustee_count = count;
    return 0;
}

int ktc_release_from_json(const json_t *object, struct keytrustee_release **release,
                          struct kt_error *error)
{
    const json_t *policy = json_object_get(object, "policy");
    struct told *told = NULL;
    int rc = 0;

    *release = NULL;
    if (!json_is_object(policy))
        return 0;
    told = calloc(1, sizeof *told);
    if (told == NULL)
        return KT_ERR_NO_MEMORY;
    told->release.not_before = told->not_before;
    told->release.not_after = told->not_after;
    told->release.trustees = told->list;
    told->release.justification = kt_json_boolean(policy, "justification", 0);
    if ((rc = take_time(policy, "not_before", told->not_before, error)) != 0 ||
        (rc = take_time(policy, "not_after", told->not_after, error)) != 0 ||
        (rc = take_number(policy, "max_retrievals", &told->release.max_retrievals, error)) != 0 ||
        (rc = take_number(policy, "retrievals", &told->release.retrievals, error)) != 0 ||
        (rc = take_number(policy, "votes", &told->release.votes, error)) != 0 ||
        (rc = take_number(policy, "request_lifetime", &told->release.request_lifetime, error)) !=
            0 ||
        (rc = take_list(policy, told, error)) != 0)
        free(told);
    else
        *release = &told->release;
    return rc;
}

void keytrustee_release_free(struct keytrustee_release *release)
{
    free(release); // the first member of its block
}
