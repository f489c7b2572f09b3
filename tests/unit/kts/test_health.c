// SPDX-License-Identifier: Apache-2.0
// Which status and which words tell what a node can do now.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kts/health.h"

static struct kts_status status;
static const struct kts_health well = {.reads = 1, .writes = 1, .audits = 1};

static int set_up(void **state)
{
    (void)state;
    memset(&status, 0, sizeof(status));
    atomic_store(&status.database_up, 1);
    return 0;
}

static int ready(enum kts_role role, struct kts_health health)
{
    atomic_store(&status.role, role);
    return kts_health_ready(&status, &health);
}

static void active_is_ready_only_when_it_takes_changes(void **state)
{
    (void)state;
    assert_int_equal(ready(KTS_ROLE_ACTIVE, well), 200);
    assert_int_equal(ready(KTS_ROLE_STANDALONE, well), 200);
    assert_int_equal(ready(KTS_ROLE_ACTIVE, (struct kts_health){1, 0, 1}), 503);
    assert_int_equal(ready(KTS_ROLE_STANDALONE, (struct kts_health){1, 0, 1}), 503);
    assert_int_equal(ready(KTS_ROLE_ACTIVE, (struct kts_health){0, 1, 1}), 503);
    assert_int_equal(ready(KTS_ROLE_UNESTABLISHED, well), 503);
}

static void passive_says_whether_it_hears_its_active(void **state)
{
    (void)state;
    assert_int_equal(ready(KTS_ROLE_PASSIVE, (struct kts_health){1, 0, 1}), 473);
    atomic_store(&status.is_cut_off, 1);
    assert_int_equal(ready(KTS_ROLE_PASSIVE, (struct kts_health){1, 0, 1}), 474);
    assert_int_equal(ready(KTS_ROLE_PASSIVE, (struct kts_health){0, 0, 1}), 503);
}

static void node_of_an_older_epoch_is_fenced_whatever_else_it_has(void **state)
{
    (void)state;
    assert_int_equal(ready(KTS_ROLE_FENCED, well), 530);
    assert_int_equal(ready(KTS_ROLE_FENCED, (struct kts_health){0}), 530);
}

static void without_audit_records_nothing_is_served(void **state)
{
    (void)state;
    assert_int_equal(ready(KTS_ROLE_ACTIVE, (struct kts_health){1, 1, 0}), 507);
    assert_int_equal(ready(KTS_ROLE_PASSIVE, (struct kts_health){1, 0, 0}), 507);
}

static void node_without_a_role_is_not_initialised_or_has_no_database(void **state)
{
    (void)state;
    assert_int_equal(ready(KTS_ROLE_UNKNOWN, well), 501);
    atomic_store(&status.database_up, 0);
    assert_int_equal(ready(KTS_ROLE_UNKNOWN, well), 503);
}

static json_int_t number(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);

    assert_true(json_is_integer(value));
    return json_integer_value(value);
}

static void body_of_an_active_has_members_and_barrier_and_no_lag(void **state)
{
    json_t *object;

    (void)state;
    atomic_store(&status.role, KTS_ROLE_ACTIVE);
    atomic_store(&status.incarnation, 1);
    atomic_store(&status.incarnation_bits, 0xaa);
    atomic_store(&status.epoch, 7);
    atomic_store(&status.members, 2);
    atomic_store(&status.w, 1);
    atomic_store(&status.last_commit_us, INT64_C(1000000));
    atomic_store(&status.lag_bytes, 99); // of an earlier life as a passive
    kts_status_set_text(&status.active_service, "[2001:db8::1]:11371");
    object = kts_health_json(&status, &well, INT64_C(1250000));
    assert_non_null(object);
    assert_string_equal(json_string_value(json_object_get(object, "role")), "active");
    assert_string_equal(json_string_value(json_object_get(object, "incarnation")),
                        "1.00000000000000aa");
    assert_string_equal(json_string_value(json_object_get(object, "active")),
                        "[2001:db8::1]:11371");
    assert_int_equal(number(object, "epoch"), 7);
    assert_int_equal(number(object, "members"), 2);
    assert_int_equal(number(object, "w"), 1);
    assert_int_equal(number(object, "last_barrier_ms"), 250);
    assert_true(json_is_null(json_object_get(object, "lag_bytes")));
    assert_true(json_is_null(json_object_get(object, "lag_ms")));
    assert_true(json_is_false(json_object_get(object, "cut_off")));
    assert_null(json_object_get(object, "copies"));
    json_decref(object);
}

static void age_of_the_last_backup_is_told_or_null(void **state)
{
    json_t *object = kts_health_json(&status, &well, INT64_C(5000000));

    (void)state;
    assert_true(json_is_null(json_object_get(object, "backup_age_s")));
    json_decref(object);
    atomic_store(&status.backup_made_us, 1500000);
    object = kts_health_json(&status, &well, INT64_C(5000000));
    assert_int_equal(number(object, "backup_age_s"), 3);
    json_decref(object);
    object = kts_health_json(&status, &well, INT64_C(1000000)); // the clock went back
    assert_int_equal(number(object, "backup_age_s"), 0);
    json_decref(object);
}

static void body_of_a_passive_has_its_lag(void **state)
{
    json_t *object;

    (void)state;
    atomic_store(&status.role, KTS_ROLE_PASSIVE);
    atomic_store(&status.lag_bytes, 4096);
    atomic_store(&status.lag_us, 1500);
    atomic_store(&status.is_cut_off, 1);
    object = kts_health_json(&status, &well, INT64_C(1250000));
    assert_non_null(object);
    assert_int_equal(number(object, "lag_bytes"), 4096);
    assert_int_equal(number(object, "lag_ms"), 1);
    assert_true(json_is_true(json_object_get(object, "cut_off")));
    assert_true(json_is_null(json_object_get(object, "last_barrier_ms")));
    assert_true(json_is_null(json_object_get(object, "active")));
    json_decref(object);
}

static void standalone_node_says_that_there_is_one_copy(void **state)
{
    json_t *object;

    (void)state;
    atomic_store(&status.role, KTS_ROLE_STANDALONE);
    object = kts_health_json(&status, &well, INT64_C(1250000));
    assert_non_null(object);
    assert_true(json_is_string(json_object_get(object, "copies")));
    json_decref(object);
}

#define CASE(name) cmocka_unit_test_setup(name, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(active_is_ready_only_when_it_takes_changes),
        CASE(passive_says_whether_it_hears_its_active),
        CASE(node_of_an_older_epoch_is_fenced_whatever_else_it_has),
        CASE(without_audit_records_nothing_is_served),
        CASE(node_without_a_role_is_not_initialised_or_has_no_database),
        CASE(body_of_an_active_has_members_and_barrier_and_no_lag),
        CASE(age_of_the_last_backup_is_told_or_null),
        CASE(body_of_a_passive_has_its_lag),
        CASE(standalone_node_says_that_there_is_one_copy),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
