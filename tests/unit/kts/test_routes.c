// SPDX-License-Identifier: Apache-2.0
// The route table, the search in it, and the verdict on rows.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "kts/dispatch.h"

static int find(enum kts_method method, const char *path, struct kts_match *match)
{
    return kts_route_find(method, (struct kts_span){path, strlen(path)}, match);
}

static void every_row_is_found_by_its_own_form(void **state)
{
    size_t count;
    const struct kts_route *routes = kts_routes_all(&count);

    (void)state;
    for (size_t i = 0; i < count; i++) {
        char path[256] = "";
        struct kts_match match;
        for (const char *p = routes[i].pattern; *p; p++) {
            if (strncmp(p, "{handle}", 8) == 0)
                strcat(path, "a%2Fb");
            else if (strncmp(p, "{uuid}", 6) == 0)
                strcat(path, "00000000-0000-4000-8000-000000000001");
            else if (strncmp(p, "{fingerprint}", 13) == 0)
                strcat(path, "ABCDEF0123456789abcdef0123456789ABCDEF01");
            else
                strncat(path, p, 1);
            if (*p == '{')
                p = strchr(p, '}');
        }
        assert_int_equal(find(routes[i].method, path, &match), 0);
        assert_ptr_equal(match.route, &routes[i]);
    }
}

// What the dispatcher takes from the columns must make sense together.
static void every_row_is_sound(void **state)
{
    size_t count;
    const struct kts_route *routes = kts_routes_all(&count);

    (void)state;
    for (size_t i = 0; i < count; i++) {
        const struct kts_route *r = &routes[i];
        assert_non_null(r->start);
        assert_non_null(r->query);
        assert_int_equal(r->body_max == 0, r->accepts == KTS_ACCEPTS_NOTHING);
        if (r->caller == KTS_ANYONE || r->caller == KTS_AUTH_CODE)
            assert_null(r->right);
        // P6: a deposit's ciphertext never leaves without a record.
        if (r->right && strcmp(r->right, "retrieve") == 0)
            assert_true(r->audited);
        if (strstr(r->pattern, "/v1/deposits"))
            assert_non_null(r->right);
        if (r->class == KTS_CHANGE)
            assert_false(r->freshness);
    }
}

static void handles_are_decoded_once(void **state)
{
    struct kts_match match;

    (void)state;
    assert_int_equal(find(KTS_GET, "/v1/deposits/db%2Fprod%40x", &match), 0);
    assert_string_equal(match.handle, "db/prod@x");
    assert_int_equal(find(KTS_GET, "/v1/deposits/a+b", &match), 0);
    assert_string_equal(match.handle, "a+b");
    assert_int_equal(find(KTS_GET, "/v1/deposits/a%252Fb", &match), KT_ERR_HANDLE_INVALID);
}

static void wrong_handles_are_refused(void **state)
{
    static const char *const WRONG[] = {
        "/v1/deposits/",    "/v1/deposits/a%20b", "/v1/deposits/%00",    "/v1/deposits/a%",
        "/v1/deposits/a%2", "/v1/deposits/a%zz",  "/v1/deposits/%c3%a9", "/v1/deposits/a%0a",
    };
    char path[600] = "/v1/deposits/";
    struct kts_match match;

    (void)state;
    for (size_t i = 0; i < sizeof(WRONG) / sizeof(WRONG[0]); i++)
        assert_int_equal(find(KTS_GET, WRONG[i], &match), KT_ERR_HANDLE_INVALID);
    memset(path + 13, 'a', 255);
    assert_int_equal(find(KTS_GET, path, &match), 0);
    path[13 + 255] = 'a';
    assert_int_equal(find(KTS_GET, path, &match), KT_ERR_HANDLE_INVALID);
}

static void by_id_is_special_only_before_a_uuid(void **state)
{
    struct kts_match match;

    (void)state;
    assert_int_equal(find(KTS_GET, "/v1/deposits/by-id", &match), 0);
    assert_string_equal(match.handle, "by-id");
    assert_int_equal(find(KTS_GET, "/v1/deposits/by-id/receipt", &match), 0);
    assert_string_equal(match.route->event, "deposit.receipt");
    assert_string_equal(match.handle, "by-id");
    assert_int_equal(
        find(KTS_GET, "/v1/deposits/by-id/00000000-0000-4000-8000-000000000001", &match), 0);
    assert_string_equal(match.route->pattern, "/v1/deposits/by-id/{uuid}");
    assert_int_equal(match.uuid.bytes[15], 1);
    assert_int_equal(find(KTS_GET, "/v1/deposits/by-id/nonsense", &match), KT_ERR_BAD_REQUEST);
    assert_int_equal(
        find(KTS_PUT, "/v1/deposits/by-id/00000000-0000-4000-8000-000000000001", &match),
        KT_ERR_METHOD_NOT_ALLOWED);
    assert_int_equal(match.allow, KTS_GET);
}

static void unknown_paths_and_methods_are_told_apart(void **state)
{
    static const char *const UNKNOWN[] = {"",
                                          "//",
                                          "/v1",
                                          "/v1/",
                                          "/v1/deposits/a/b",
                                          "/v1/deposits/a/receipt/",
                                          "/V1/health",
                                          "/v1/health/",
                                          "/v1/%68ealth",
                                          "/v2/health",
                                          "/v1/deposits/a/receipt/b"};
    struct kts_match match;

    (void)state;
    for (size_t i = 0; i < sizeof(UNKNOWN) / sizeof(UNKNOWN[0]); i++)
        assert_int_equal(find(KTS_GET, UNKNOWN[i], &match), KT_ERR_ROUTE_UNKNOWN);
    assert_int_equal(find(KTS_POST, "/v1/deposits/a", &match), KT_ERR_METHOD_NOT_ALLOWED);
    assert_int_equal(match.allow, KTS_GET | KTS_HEAD | KTS_PUT | KTS_DELETE);
    assert_int_equal(find(KTS_METHOD_OTHER, "/v1/health", &match), KT_ERR_METHOD_NOT_ALLOWED);
    assert_int_equal(match.allow, KTS_GET);
    assert_null(match.route);
}

static void fingerprints_are_forty_hex_digits(void **state)
{
    struct kts_match match;

    (void)state;
    assert_int_equal(
        find(KTS_GET, "/v1/clients/abcdef0123456789abcdef0123456789abcdef01/openpgp", &match), 0);
    assert_string_equal(match.fingerprint, "ABCDEF0123456789ABCDEF0123456789ABCDEF01");
    assert_int_equal(find(KTS_GET, "/v1/clients/abcdef/openpgp", &match), KT_ERR_BAD_REQUEST);
    assert_int_equal(
        find(KTS_GET, "/v1/clients/gbcdef0123456789abcdef0123456789abcdef01/openpgp", &match),
        KT_ERR_BAD_REQUEST);
}

// --- the verdict ---

#define NOW_US INT64_C(1000000)

struct verdict_case {
    struct db_answer answer;
    int wire, reason;
};

static void verdicts_are_right(const struct verdict_case *cases, size_t count, const char *path)
{
    struct kts_match match;

    assert_int_equal(find(KTS_GET, path, &match), 0);
    for (size_t i = 0; i < count; i++) {
        int reason = 1;
        int wire = kts_access_check(match.route, match.handle[0] != '\0', &cases[i].answer, NOW_US,
                                    &reason);
        if (wire != cases[i].wire || reason != cases[i].reason)
            fail_msg("case %zu: wire %d, reason %d", i, wire, reason);
    }
}

#define GOOD .known = 1, .who = {.not_after_us = NOW_US}
#define WHO(...)                                                                                   \
    .known = 1, .granted = 1, .browsable = 1, .count = 1, .version_found = 1,                      \
    .who = {.not_after_us = NOW_US, __VA_ARGS__}

static void callers_not_in_good_standing_are_refused(void **state)
{
    const struct verdict_case CASES[] = {
        {{WHO(.pending = 0)}, 0, 0},
        {{.known = 0}, KT_ERR_CERTIFICATE_UNKNOWN, KT_ERR_CERTIFICATE_UNKNOWN},
        {{WHO(.certificate_revoked = 1)}, KT_ERR_CERTIFICATE_REVOKED, KT_ERR_CERTIFICATE_REVOKED},
        {{WHO(.revoked = 1)}, KT_ERR_CLIENT_REVOKED, KT_ERR_CLIENT_REVOKED},
        {{WHO(.pending = 1)}, KT_ERR_CLIENT_PENDING, KT_ERR_CLIENT_PENDING},
        {{WHO(.organisation_disabled = 1)},
         KT_ERR_ORGANISATION_DISABLED,
         KT_ERR_ORGANISATION_DISABLED},
        {{.known = 1, .who = {.not_after_us = NOW_US - 1}},
         KT_ERR_CERTIFICATE_EXPIRED,
         KT_ERR_CERTIFICATE_EXPIRED},
    };

    (void)state;
    verdicts_are_right(CASES, sizeof(CASES) / sizeof(CASES[0]), "/v1/deposits/a");
}

static void pending_clients_may_see_their_own_state_only(void **state)
{
    const struct verdict_case CASES[] = {
        {{WHO(.pending = 1)}, 0, 0},
        {{WHO(.revoked = 1)}, KT_ERR_CLIENT_REVOKED, KT_ERR_CLIENT_REVOKED},
    };

    (void)state;
    verdicts_are_right(CASES, sizeof(CASES) / sizeof(CASES[0]), "/v1/clients/self");
}

static void names_that_may_not_be_browsed_do_not_leak(void **state)
{
    const struct verdict_case CASES[] = {
        {{GOOD, .count = 0}, KT_ERR_DEPOSIT_NOT_FOUND, KT_ERR_DEPOSIT_NOT_FOUND},
        {{GOOD, .count = 1, .version_found = 1}, KT_ERR_DEPOSIT_NOT_FOUND, KT_ERR_NOT_GRANTED},
        {{GOOD, .count = 1, .version_found = 1, .browsable = 1},
         KT_ERR_NOT_GRANTED,
         KT_ERR_NOT_GRANTED},
        {{GOOD, .count = 1, .version_found = 1, .browsable = 1, .granted = 1}, 0, 0},
        {{GOOD, .count = 1}, KT_ERR_DEPOSIT_NOT_FOUND, KT_ERR_VERSION_NOT_FOUND},
        {{GOOD, .count = 1, .browsable = 1}, KT_ERR_VERSION_NOT_FOUND, KT_ERR_VERSION_NOT_FOUND},
        {{GOOD, .count = 1, .browsable = 1, .granted = 1},
         KT_ERR_VERSION_NOT_FOUND,
         KT_ERR_VERSION_NOT_FOUND},
    };

    (void)state;
    verdicts_are_right(CASES, sizeof(CASES) / sizeof(CASES[0]), "/v1/deposits/a");
}

static void a_list_needs_the_right_on_anything(void **state)
{
    const struct verdict_case CASES[] = {
        {{GOOD, .granted = 1}, 0, 0},
        {{GOOD}, KT_ERR_NOT_GRANTED, KT_ERR_NOT_GRANTED},
    };

    (void)state;
    verdicts_are_right(CASES, sizeof(CASES) / sizeof(CASES[0]), "/v1/deposits");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_is_found_by_its_own_form),
        cmocka_unit_test(every_row_is_sound),
        cmocka_unit_test(handles_are_decoded_once),
        cmocka_unit_test(wrong_handles_are_refused),
        cmocka_unit_test(by_id_is_special_only_before_a_uuid),
        cmocka_unit_test(unknown_paths_and_methods_are_told_apart),
        cmocka_unit_test(fingerprints_are_forty_hex_digits),
        cmocka_unit_test(callers_not_in_good_standing_are_refused),
        cmocka_unit_test(pending_clients_may_see_their_own_state_only),
        cmocka_unit_test(names_that_may_not_be_browsed_do_not_leak),
        cmocka_unit_test(a_list_needs_the_right_on_anything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
