// SPDX-License-Identifier: Apache-2.0
// What the agent makes of node/backup.json, for operators and for the shared status.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "kts/agent_backup.h"
#include "lib/backup_state.h"
#include "tests/unit/kts/agent_fixture.h"

#define SECOND INT64_C(1000000)

static char path[KT_PATH_MAX];

static int set_up(void **state)
{
    int rc = fixture_set_up(state);

    assert_int_equal(kt_backup_state_path(&fixture.paths, path), 0);
    return rc;
}

static void save(const struct kt_backup_state *made)
{
    struct kt_error error = {0};

    if (kt_backup_state_save(path, made, &error) != 0)
        fail_msg("%s", error.message);
}

static struct kt_backup_state a_good_one(void)
{
    struct kt_backup_state made = {.made_us = kt_time_now() - 90 * SECOND,
                                   .bytes = 4096,
                                   .deposits = 12,
                                   .sequence = 3,
                                   .is_proven = 1,
                                   .verified_us = kt_time_now(),
                                   .verified_how = "members",
                                   .drilled_us = 1700000000 * SECOND,
                                   .drill_passed = 1,
                                   .proven_us = 1700000000 * SECOND};

    return made;
}

static int is_null(const json_t *object, const char *name)
{
    return json_is_null(json_object_get(object, name));
}

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text ? text : "";
}

static json_int_t number_of(const json_t *object, const char *name)
{
    assert_true(json_is_integer(json_object_get(object, name)));
    return json_integer_value(json_object_get(object, name));
}

static void a_node_without_backups_has_nothing_but_nulls(void **state)
{
    json_t *object = kts_agent_backup_json(&fixture.agent), *value;
    const char *name;

    (void)state;
    assert_int_equal(json_object_size(object), 13);
    json_object_foreach(object, name, value)
    {
        if (!json_is_null(value))
            fail_msg("%s is not null", name);
    }
    assert_int_equal(atomic_load(&fixture.status->backup_made_us), 0);
    json_decref(object);
}

static void a_backup_is_told_with_its_age_and_published(void **state)
{
    struct kt_backup_state made = a_good_one();
    json_t *object;

    (void)state;
    save(&made);
    object = kts_agent_backup_json(&fixture.agent);
    assert_in_range(number_of(object, "age_s"), 90, 100);
    assert_int_equal(number_of(object, "bytes"), 4096);
    assert_int_equal(number_of(object, "deposits"), 12);
    assert_int_equal(number_of(object, "sequence"), 3);
    assert_true(json_is_true(json_object_get(object, "proven")));
    assert_true(is_null(object, "failed"));
    assert_true(is_null(object, "failure"));
    assert_string_equal(text_of(object, "verified_how"), "members");
    assert_true(json_is_true(json_object_get(object, "drill_passed")));
    assert_string_equal(text_of(object, "last_proven_restore"), "2023-11-14T22:13:20.000000Z");
    assert_null(json_object_get(object, "error"));
    assert_true(atomic_load(&fixture.status->backup_made_us) == made.made_us);
    assert_int_equal(atomic_load(&fixture.status->backup_bytes), 4096);
    assert_int_equal(atomic_load(&fixture.status->backup_deposits), 12);
    assert_true(atomic_load(&fixture.status->backup_verified_us) == made.verified_us);
    assert_true(atomic_load(&fixture.status->restore_proven_us) == made.proven_us);
    assert_int_equal(atomic_load(&fixture.status->backup_failed_us), 0);
    json_decref(object);
}

static void a_failed_run_is_told_with_its_reason(void **state)
{
    struct kt_backup_state made = a_good_one();
    json_t *object;

    (void)state;
    made.failed_us = 1700000001 * SECOND;
    snprintf(made.failure, sizeof(made.failure), "the disk is full");
    made.drill_passed = 0;
    save(&made);
    object = kts_agent_backup_json(&fixture.agent);
    assert_string_equal(text_of(object, "failed"), "2023-11-14T22:13:21.000000Z");
    assert_string_equal(text_of(object, "failure"), "the disk is full");
    assert_true(json_is_false(json_object_get(object, "drill_passed")));
    assert_true(atomic_load(&fixture.status->backup_failed_us) == made.failed_us);
    json_decref(object);
}

static void a_newer_backup_and_a_lost_file_are_seen(void **state)
{
    struct kt_backup_state made = a_good_one();

    (void)state;
    save(&made);
    json_decref(kts_agent_backup_json(&fixture.agent));
    made.bytes = 8192;
    save(&made);
    json_decref(kts_agent_backup_json(&fixture.agent));
    assert_int_equal(atomic_load(&fixture.status->backup_bytes), 8192);
    assert_int_equal(unlink(path), 0);
    json_decref(kts_agent_backup_json(&fixture.agent));
    assert_int_equal(atomic_load(&fixture.status->backup_made_us), 0);
    assert_int_equal(atomic_load(&fixture.status->backup_bytes), 0);
}

static void a_clock_that_went_back_gives_no_negative_age(void **state)
{
    struct kt_backup_state made = a_good_one();
    json_t *object;

    (void)state;
    made.made_us = kt_time_now() + 3600 * SECOND;
    save(&made);
    object = kts_agent_backup_json(&fixture.agent);
    assert_int_equal(number_of(object, "age_s"), 0);
    json_decref(object);
}

static void a_damaged_file_is_told_and_claims_nothing(void **state)
{
    struct kt_backup_state made = a_good_one();
    json_t *object;

    (void)state;
    save(&made);
    json_decref(kts_agent_backup_json(&fixture.agent));
    assert_int_equal(kt_file_replace(path, "{", 1, 0600, NULL), 0);
    object = kts_agent_backup_json(&fixture.agent);
    assert_true(text_of(object, "error")[0] != '\0');
    assert_true(is_null(object, "made"));
    assert_int_equal(atomic_load(&fixture.status->backup_made_us), 0);
    json_decref(object);
    save(&made);
    object = kts_agent_backup_json(&fixture.agent);
    assert_null(json_object_get(object, "error"));
    json_decref(object);
}

// The first look of this process; the next one would come two seconds later.
static void the_watch_publishes_without_being_asked(void **state)
{
    struct kt_backup_state made = a_good_one();

    (void)state;
    save(&made);
    kts_agent_backup_look(&fixture.agent);
    assert_true(atomic_load(&fixture.status->backup_made_us) == made.made_us);
    made.bytes++;
    save(&made);
    kts_agent_backup_look(&fixture.agent);
    assert_int_equal(atomic_load(&fixture.status->backup_bytes), 4096);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_node_without_backups_has_nothing_but_nulls),
        CASE(a_backup_is_told_with_its_age_and_published),
        CASE(a_failed_run_is_told_with_its_reason),
        CASE(a_newer_backup_and_a_lost_file_are_seen),
        CASE(a_clock_that_went_back_gives_no_negative_age),
        CASE(a_damaged_file_is_told_and_claims_nothing),
        CASE(the_watch_publishes_without_being_asked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
