// SPDX-License-Identifier: Apache-2.0
// All receipts of a host, as they are given to an operator.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tests/unit/client/fake_cluster.h"

static struct keytrustee_error error;

struct collected {
    int count, stop_at;
    char last[KT_RECEIPT_TEXT];
};

static int collect(void *arg, const char *text, size_t len)
{
    struct collected *collected = arg;
    struct kt_receipt receipt;

    assert_int_equal(strlen(text), len);
    assert_int_equal(kt_receipt_parse(text, len, &receipt), 0);
    assert_string_not_equal(text, collected->last);
    snprintf(collected->last, sizeof collected->last, "%s", text);
    return ++collected->count == collected->stop_at;
}

static void put(const char *handle)
{
    must_work(keytrustee_put(client, handle, "s", 1, NULL, NULL, &error), &error);
}

static void every_receipt_is_given_once(void **state)
{
    struct collected all = {0}, some = {.stop_at = 2};

    (void)state;
    must_work(keytrustee_receipts(client, collect, &all, &error), &error);
    assert_int_equal(all.count, 0);
    put("a");
    put("a");
    put("b");
    must_work(keytrustee_receipts(client, collect, &all, &error), &error);
    assert_int_equal(all.count, 3);
    must_work(keytrustee_receipts(client, collect, &some, &error), &error);
    assert_int_equal(some.count, 2);
}

static void a_damaged_receipt_is_told_and_the_others_are_given(void **state)
{
    static const char name[] = "receipts/00000000-0000-4000-8000-000000000000.receipt";
    struct collected all = {0};

    (void)state;
    put("a");
    put("b");
    assert_int_equal(kt_file_replace(fake_path(name), "x", 1, 0600, NULL), 0);
    assert_int_equal(keytrustee_receipts(client, collect, &all, &error), KEYTRUSTEE_INTEGRITY);
    assert_non_null(strstr(error.message, name));
    assert_int_equal(all.count, 2);
}

static void an_unregistered_client_has_none(void **state)
{
    (void)state;
    assert_int_equal(keytrustee_receipts(client, collect, NULL, &error), KEYTRUSTEE_REFUSED);
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, fake_registered, fake_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(every_receipt_is_given_once),
        CASE(a_damaged_receipt_is_told_and_the_others_are_given),
        cmocka_unit_test_setup_teardown(an_unregistered_client_has_none, fake_setup, fake_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
