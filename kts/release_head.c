// SPDX-License-Identifier: Apache-2.0
// The header fields of release: the policy that a deposit is made with, and what a retrieval says
// for itself.
#include <stdlib.h>
#include <string.h>

#include "kts/request.h"
#include "lib/release.h"

#define NUMBER_TEXT 24

static int bad(struct kts_request *request, const char *name, const char *form)
{
    return kts_fail(request, KT_ERR_BAD_REQUEST, "%s is not %s", name, form);
}

// 1 with the value in `out`, 0 when the field is not there. Not a byte more than `size`.
static int take_text(struct kts_request *request, const struct kts_http_head *head,
                     const char *name, char *out, size_t size)
{
    struct kts_span value = kts_http_field(head, name);

    if (!value.at)
        return 0;
    if (value.len == 0 || value.len >= size)
        return bad(request, name, "of a proper length");
    memcpy(out, value.at, value.len);
    out[value.len] = '\0';
    return 1;
}

static int take_time(struct kts_request *request, const struct kts_http_head *head,
                     const char *name, int64_t *us)
{
    char text[KT_TIME_TEXT];
    int rc = take_text(request, head, name, text, sizeof(text));

    if (rc == 1 && strlen(text) == strlen("2026-11-22T06:11:43Z"))
        memcpy(text + strlen(text) - 1, ".000000Z", sizeof(".000000Z"));
    if (rc == 1 && (kt_time_parse(text, us) || *us <= 0))
        rc = bad(request, name, "a time in UTC: 2026-11-22T06:11:43Z");
    return rc < 0 ? rc : 0;
}

static int take_number(struct kts_request *request, const struct kts_http_head *head,
                       const char *name, uint64_t max, uint64_t *number)
{
    char text[NUMBER_TEXT];
    int rc = take_text(request, head, name, text, sizeof(text));

    if (rc == 1 && kt_u64_parse(text, 1, max, number))
        rc = kts_fail(request, KT_ERR_BAD_REQUEST, "%s is not a number from 1 to %llu", name,
                      (unsigned long long)max);
    return rc < 0 ? rc : 0;
}

// Client ids with commas between them, and at most a space behind each comma.
static int take_trustees(struct kts_request *request, const struct kts_http_head *head,
                         struct kt_release_policy *policy)
{
    struct kts_span rest = kts_http_field(head, "kt-trustees");
    char text[KT_UUID_TEXT];

    while (rest.at) {
        size_t used = KT_UUID_TEXT - 1;

        if (policy->trustee_count == KT_TRUSTEES_MAX || rest.len < used)
            return bad(request, "KT-Trustees", "a list of at most 16 client ids");
        memcpy(text, rest.at, used);
        text[used] = '\0';
        if (kt_uuid_parse(text, &policy->trustees[policy->trustee_count]))
            return bad(request, "KT-Trustees", "a list of client ids");
        policy->trustee_count++;
        if (rest.len == used)
            break;
        if (rest.at[used++] != ',')
            return bad(request, "KT-Trustees", "a list of client ids with commas between them");
        if (used < rest.len && rest.at[used] == ' ')
            used++;
        rest = (struct kts_span){rest.at + used, rest.len - used};
    }
    return 0;
}

static int take_required(struct kts_request *request, const struct kts_http_head *head,
                         struct kt_release_policy *policy)
{
    struct kts_span value = kts_http_field(head, "kt-justification");

    if (value.at && !kts_span_equal(value, "required"))
        return bad(request, "KT-Justification", "the word 'required'");
    policy->justification = value.at != NULL;
    return 0;
}

static int take_policy(struct kts_request *request, const struct kts_http_head *head)
{
    struct kt_release_policy policy = {0};
    uint64_t most = 0, votes = 0, lifetime = 0;
    int rc = take_time(request, head, "KT-Not-Before", &policy.not_before_us);

    if (rc == 0)
        rc = take_time(request, head, "KT-Not-After", &policy.not_after_us);
    if (rc == 0)
        rc = take_number(request, head, "KT-Max-Retrievals", INT32_MAX, &most);
    if (rc == 0)
        rc = take_required(request, head, &policy);
    if (rc == 0)
        rc = take_trustees(request, head, &policy);
    if (rc == 0)
        rc = take_number(request, head, "KT-Votes", KT_TRUSTEES_MAX, &votes);
    if (rc == 0)
        rc =
            take_number(request, head, "KT-Request-Lifetime", KT_REQUEST_LIFETIME_MAX_S, &lifetime);
    if (rc)
        return rc;
    policy.max_retrievals = (uint32_t)most;
    policy.votes = (uint32_t)votes;
    policy.request_lifetime_s = (int64_t)lifetime;
    if (votes > 0 && lifetime == 0)
        policy.request_lifetime_s = KT_REQUEST_LIFETIME_DEFAULT_S;
    if (!kt_release_policy_is_set(&policy))
        return 0;
    rc = kt_release_policy_check(&policy, &request->error);
    if (rc)
        return rc;
    request->policy = malloc(sizeof(policy));
    if (!request->policy)
        return KT_ERR_NO_MEMORY;
    *request->policy = policy;
    return 0;
}

// Percent-encoded, as header fields are ASCII.
static int take_justification(struct kts_request *request, const struct kts_http_head *head)
{
    struct kts_span value = kts_http_field(head, "kt-justification");
    char text[KT_JUSTIFICATION_MAX + 1];

    if (!value.at)
        return 0;
    if (kts_percent_decode(value, text, sizeof(text)) || kt_justification_check(text))
        return kts_fail(request, KT_ERR_BAD_REQUEST,
                        "KT-Justification is not 1 to %d bytes of percent-encoded UTF-8 without"
                        " control characters",
                        KT_JUSTIFICATION_MAX);
    request->justification = strdup(text);
    return request->justification ? 0 : KT_ERR_NO_MEMORY;
}

static int take_retrieval(struct kts_request *request, const struct kts_http_head *head)
{
    char text[KT_UUID_TEXT];
    int rc = take_text(request, head, "KT-Retrieval-Id", text, sizeof(text));

    if (rc == 1 &&
        (kt_uuid_parse(text, &request->retrieval_id) || kt_uuid_is_nil(&request->retrieval_id)))
        rc = bad(request, "KT-Retrieval-Id", "a UUID");
    return rc < 0 ? rc : 0;
}

int kts_release_take_head(struct kts_request *request, const struct kts_http_head *head)
{
    const struct kts_route *route = request->match.route;
    int rc;

    if (!route->right)
        return 0;
    if (strcmp(route->right, "deposit") == 0)
        return take_policy(request, head);
    if (strcmp(route->right, "retrieve") != 0)
        return 0;
    rc = take_justification(request, head);
    return rc ? rc : take_retrieval(request, head);
}
