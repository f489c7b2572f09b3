// SPDX-License-Identifier: Apache-2.0
// Places for requests: who waits behind whom, who never does, and how much memory the bodies of one
// organisation may take. Stands in for the connection.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "kts/conn.h"
#include "kts/request.h"
#include "kts/shares.h"
#include "kts/worker.h"

#define MIB    (1024 * 1024)
#define PLACES 256 // of each lane

static struct kts_worker *worker;
static struct kt_settings *settings;
static struct kts_caller_keys keys;
static int resumed;

// --- what the connection would do ---

const struct kts_caller_keys *kts_conn_keys(struct kts_conn *conn)
{
    (void)conn;
    return &keys;
}

void kts_conn_resume(struct kts_conn *conn)
{
    (void)conn;
    resumed++;
}

int kts_fail(struct kts_request *request, int code, const char *fmt, ...)
{
    (void)request, (void)fmt;
    return code;
}

// --- requests ---

static const struct kts_route ROUTE_HEALTH = {.class = KTS_READ, .caller = KTS_ANYONE};
static const struct kts_route ROUTE_GET = {.class = KTS_READ, .caller = KTS_CLIENT};
static const struct kts_route ROUTE_PUT = {.class = KTS_CHANGE, .caller = KTS_CLIENT};

// The result of kts_share_begin for one of that client, which is then under way.
static int begin(struct kts_request *request, const struct kts_route *route, uint64_t organisation,
                 uint64_t client, uint64_t body)
{
    int rc;

    memset(request, 0, sizeof(*request));
    request->worker = worker;
    request->match.route = route;
    request->share.lane = KTS_LANE_NONE;
    request->body_expected = body;
    keys = (struct kts_caller_keys){organisation, client, 1};
    rc = kts_share_begin(request);
    if (rc == 0) { // as the dispatcher reserves it
        request->body_reserved = (size_t)body;
        worker->body_bytes += (size_t)body;
    }
    return rc;
}

static void end(struct kts_request *request)
{
    worker->body_bytes -= request->body_reserved;
    kts_share_end(request);
}

static int set_up(void **state)
{
    (void)state;
    worker = calloc(1, sizeof(*worker));
    resumed = 0;
    if (kt_settings_new(&settings))
        return -1;
    worker->settings = settings;
    return kts_shares_new(&worker->shares) ||
                   kt_settings_set(settings, KT_SET_LIMIT_BODIES, "8MiB", NULL) ||
                   kt_settings_set(settings, KT_SET_LIMIT_CLIENT_REQUESTS, "1000", NULL) ||
                   kt_settings_set(settings, KT_SET_LIMIT_ORG_REQUESTS, "1000", NULL)
               ? -1
               : 0;
}

static int tear_down(void **state)
{
    (void)state;
    kts_shares_free(&worker->shares);
    kt_settings_free(settings);
    free(worker);
    return 0;
}

static void health_is_answered_while_clients_wait_for_a_place(void **state)
{
    static struct kts_request all[PLACES + 1], health;

    (void)state;
    for (size_t i = 0; i < PLACES; i++) {
        assert_int_equal(begin(&all[i], &ROUTE_GET, 1, i % 10, 0), 0);
        assert_int_equal(kts_share_enter(&all[i]), 1);
    }
    assert_int_equal(begin(&all[PLACES], &ROUTE_GET, 2, 1, 0), 0);
    assert_int_equal(kts_share_enter(&all[PLACES]), 0);
    assert_int_equal(begin(&health, &ROUTE_HEALTH, 1, 1, 0), 0);
    assert_int_equal(kts_share_enter(&health), 1);
    end(&health); // gives no place away that it never had
    assert_int_equal(resumed, 0);
    for (size_t i = 0; i < PLACES; i++)
        end(&all[i]);
    assert_int_equal(resumed, 1);
    end(&all[PLACES]);
}

static void health_counts_for_nobody(void **state)
{
    static struct kts_request health[50];

    (void)state;
    assert_int_equal(kt_settings_set(settings, KT_SET_LIMIT_CLIENT_REQUESTS, "8", NULL), 0);
    for (size_t i = 0; i < 50; i++)
        assert_int_equal(begin(&health[i], &ROUTE_HEALTH, 1, 1, 0), 0);
    for (size_t i = 0; i < 50; i++)
        end(&health[i]);
}

static void changes_that_wait_keep_nobody_from_reading(void **state)
{
    static struct kts_request all[PLACES + 1], read;

    (void)state;
    for (size_t i = 0; i <= PLACES; i++) {
        assert_int_equal(begin(&all[i], &ROUTE_PUT, 1, 1, 0), 0);
        assert_int_equal(kts_share_enter(&all[i]), i < PLACES);
    }
    assert_int_equal(begin(&read, &ROUTE_GET, 1, 1, 0), 0);
    assert_int_equal(kts_share_enter(&read), 1);
    end(&read);
    for (size_t i = 0; i <= PLACES; i++)
        end(&all[i]);
}

static void bodies_of_one_organisation_leave_room_for_the_next(void **state)
{
    struct kts_request one[5], two[5], refused;

    (void)state;
    for (size_t i = 0; i < 4; i++) // half of limits.bodies
        assert_int_equal(begin(&one[i], &ROUTE_PUT, 1, i, MIB), 0);
    assert_int_equal(begin(&refused, &ROUTE_PUT, 1, 9, MIB), KT_ERR_TOO_MANY_REQUESTS);
    end(&refused);
    assert_int_equal(begin(&one[4], &ROUTE_PUT, 1, 9, 0), 0); // what has no body takes no room
    for (size_t i = 0; i < 2; i++)                            // half of what is left
        assert_int_equal(begin(&two[i], &ROUTE_PUT, 2, i, MIB), 0);
    assert_int_equal(begin(&refused, &ROUTE_PUT, 2, 9, MIB), KT_ERR_TOO_MANY_REQUESTS);
    end(&refused);
    assert_int_equal(begin(&two[2], &ROUTE_PUT, 3, 1, MIB), 0); // one body always may
    for (size_t i = 0; i < 3; i++)
        end(&two[i]);
    end(&one[0]);
    assert_int_equal(begin(&one[0], &ROUTE_PUT, 1, 9, MIB), 0); // room again
    for (size_t i = 0; i < 5; i++)
        end(&one[i]);
    assert_int_equal(worker->body_bytes, 0);
}

static void one_client_has_no_more_requests_under_way_than_its_limit(void **state)
{
    struct kts_request all[8], refused, other;

    (void)state;
    assert_int_equal(kt_settings_set(settings, KT_SET_LIMIT_CLIENT_REQUESTS, "8", NULL), 0);
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(begin(&all[i], &ROUTE_GET, 1, 1, 0), 0);
    assert_int_equal(begin(&refused, &ROUTE_GET, 1, 1, 0), KT_ERR_TOO_MANY_REQUESTS);
    assert_true(refused.retry_after_s > 0);
    end(&refused);
    assert_int_equal(begin(&other, &ROUTE_GET, 1, 2, 0), 0);
    end(&other);
    for (size_t i = 0; i < 8; i++)
        end(&all[i]);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(health_is_answered_while_clients_wait_for_a_place),
        CASE(health_counts_for_nobody),
        CASE(changes_that_wait_keep_nobody_from_reading),
        CASE(bodies_of_one_organisation_leave_room_for_the_next),
        CASE(one_client_has_no_more_requests_under_way_than_its_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
