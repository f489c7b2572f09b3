// SPDX-License-Identifier: Apache-2.0
// What a release policy and a justification may be.
#include "lib/release.h"

#include <string.h>

int kt_release_policy_is_set(const struct kt_release_policy *policy)
{
    return policy->not_before_us != 0 || policy->not_after_us != 0 || policy->max_retrievals != 0 ||
           policy->votes != 0 || policy->justification != 0 || policy->trustee_count != 0 ||
           policy->request_lifetime_s != 0;
}

static int bad(struct kt_error *error, const char *what)
{
    return kt_error_set(error, KT_ERR_BAD_REQUEST, NULL, "release policy: %s", what);
}

static int check_trustees(const struct kt_release_policy *policy, struct kt_error *error)
{
    if (policy->trustee_count > KT_TRUSTEES_MAX)
        return bad(error, "too many trustees");
    for (size_t i = 0; i < policy->trustee_count; i++) {
        if (kt_uuid_is_nil(&policy->trustees[i]))
            return bad(error, "a trustee is no client id");
        for (size_t k = 0; k < i; k++)
            if (memcmp(&policy->trustees[i], &policy->trustees[k], sizeof(policy->trustees[i])) ==
                0)
                return bad(error, "a trustee is named twice");
    }
    return 0;
}

int kt_release_policy_check(const struct kt_release_policy *policy, struct kt_error *error)
{
    int64_t lifetime = policy->request_lifetime_s;
    int rc = check_trustees(policy, error);

    if (rc)
        return rc;
    if (policy->not_before_us < 0 || policy->not_after_us < 0)
        return bad(error, "a time before 1970");
    if (policy->not_after_us != 0 && policy->not_after_us <= policy->not_before_us)
        return bad(error, "it ends before it begins");
    if (policy->max_retrievals > INT32_MAX)
        return bad(error, "too many retrievals");
    if ((policy->votes == 0) != (policy->trustee_count == 0))
        return bad(error, "trustees and the number of their votes go together");
    if (policy->votes > policy->trustee_count)
        return bad(error, "more votes than trustees");
    if (policy->votes == 0 && lifetime != 0)
        return bad(error, "a lifetime of requests without votes");
    if (policy->votes != 0 &&
        (lifetime < KT_REQUEST_LIFETIME_MIN_S || lifetime > KT_REQUEST_LIFETIME_MAX_S))
        return bad(error, "the lifetime of requests is out of its bounds");
    return 0;
}

int kt_release_policy_equal(const struct kt_release_policy *a, const struct kt_release_policy *b)
{
    return a->not_before_us == b->not_before_us && a->not_after_us == b->not_after_us &&
           a->max_retrievals == b->max_retrievals && a->votes == b->votes &&
           (a->votes == 0 || a->request_lifetime_s == b->request_lifetime_s) &&
           (a->justification != 0) == (b->justification != 0) &&
           a->trustee_count == b->trustee_count &&
           memcmp(a->trustees, b->trustees, a->trustee_count * sizeof(a->trustees[0])) == 0;
}

// The length of the UTF-8 sequence at `p`, and its code point; 0 when it is none. Stops at a NUL.
static size_t decode(const unsigned char *p, uint32_t *point)
{
    static const uint32_t LEAST[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = p[0] < 0x80 ? 1 : p[0] < 0xc0 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    uint32_t value = n == 1 ? p[0] : p[0] & (0x7fU >> n);

    if (n == 0 || p[0] > 0xf4)
        return 0;
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        value = value << 6 | (p[i] & 0x3f);
    }
    if (value < LEAST[n] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff))
        return 0;
    *point = value;
    return n;
}

int kt_justification_check(const char *text)
{
    const unsigned char *p = (const unsigned char *)text;
    size_t len = strnlen(text, KT_JUSTIFICATION_MAX + 1), n = 0;

    if (len == 0 || len > KT_JUSTIFICATION_MAX)
        return KT_ERR_INVALID;
    for (; *p; p += n) {
        uint32_t point = 0;

        n = decode(p, &point);
        if (n == 0 || point < 0x20 || (point >= 0x7f && point <= 0x9f))
            return KT_ERR_INVALID;
    }
    return 0;
}
