// SPDX-License-Identifier: Apache-2.0
// Which nodes have a change: those that have replayed past it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "kts/agent_spread.h"
#include "lib/encode.h"

static struct kts_view view;
static struct kt_peers peers;

static void add_peer(const char *member, int removed)
{
    struct kt_peer *peer = &peers.peers[peers.count++];

    memset(peer, 0, sizeof(*peer));
    snprintf(peer->member, sizeof(peer->member), "%s", member);
    peer->removed = removed;
}

static void add_stream(const char *member, uint64_t replayed, int64_t silent_us)
{
    struct kts_stream *stream = &view.streams[view.stream_count++];

    memset(stream, 0, sizeof(*stream));
    snprintf(stream->member, sizeof(stream->member), "%s", member);
    stream->is_streaming = 1;
    stream->flush_lsn = 1000;
    stream->replay_lsn = replayed;
    stream->replied_us = kt_monotonic_now() - silent_us;
}

static int set_up(void **state)
{
    (void)state;
    memset(&view, 0, sizeof(view));
    memset(&peers, 0, sizeof(peers));
    snprintf(view.promise.member, sizeof(view.promise.member), "kts-01.00000001");
    add_peer("kts-01.00000001", 0);
    add_peer("kts-02.00000002", 0);
    add_peer("kts-03.00000003", 1); // removed
    return 0;
}

static void expect(int complete, const char *reached, const char *unreached)
{
    int is_complete = -1;
    json_t *nodes = kts_spread_look(&view, &peers, 500, &is_complete), *list;
    const char *const wanted[] = {reached, unreached};
    const char *const names[] = {"reached", "unreached"};

    assert_non_null(nodes);
    assert_int_equal(is_complete, complete);
    for (int i = 0; i < 2; i++) {
        list = json_object_get(nodes, names[i]);
        assert_int_equal(json_array_size(list), wanted[i] ? 1 : 0);
        if (wanted[i])
            assert_string_equal(json_string_value(json_array_get(list, 0)), wanted[i]);
    }
    json_decref(nodes);
}

static void node_that_has_replayed_it_has_it(void **state)
{
    (void)state;
    add_stream("kts-02.00000002", 500, 0);
    expect(1, "kts-02", NULL);
}

static void node_that_has_flushed_it_only_is_waited_for(void **state)
{
    (void)state;
    add_stream("kts-02.00000002", 499, 0);
    expect(0, NULL, "kts-02");
}

static void node_that_is_not_connected_is_named_and_not_waited_for(void **state)
{
    (void)state;
    expect(1, NULL, "kts-02");
}

static void node_that_reports_nothing_counts_as_not_connected(void **state)
{
    (void)state;
    add_stream("kts-02.00000002", 600, KTS_SILENT_US + 1);
    expect(1, NULL, "kts-02");
}

static void what_says_who_may_do_what_is_awaited(void **state)
{
    (void)state;
    assert_true(kts_spread_is_awaited(KT_CHANGE_GRANT_REVOKE));
    assert_true(kts_spread_is_awaited(KT_CHANGE_CLIENT_REVOKE));
    assert_true(kts_spread_is_awaited(KT_CHANGE_ORG_DISABLE));
    assert_true(kts_spread_is_awaited(KT_CHANGE_OPERATOR_REVOKE));
    assert_true(kts_spread_is_awaited(KT_CHANGE_GRANT));
    assert_true(kts_spread_is_awaited(KT_CHANGE_RECOVERY_ADD));
    assert_true(kts_spread_is_awaited(KT_CHANGE_RECEIPT_KEY_ADD));
    assert_false(kts_spread_is_awaited(KT_CHANGE_DEPOSIT));
    assert_false(kts_spread_is_awaited(KT_CHANGE_AUTHCODE_NEW));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(node_that_has_replayed_it_has_it, set_up),
        cmocka_unit_test_setup(node_that_has_flushed_it_only_is_waited_for, set_up),
        cmocka_unit_test_setup(node_that_is_not_connected_is_named_and_not_waited_for, set_up),
        cmocka_unit_test_setup(node_that_reports_nothing_counts_as_not_connected, set_up),
        cmocka_unit_test(what_says_who_may_do_what_is_awaited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
