// SPDX-License-Identifier: Apache-2.0
// What the agent learns of other nodes, and the heartbeat that asks them.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <sys/wait.h>

#include "kts/agent_peers_inner.h"
#include "kts/agent_view.h"
#include "tests/unit/kts/agent_fixture.h"

#define DEADLINE_S 20
#define NEW        "kts-07.00000007"

static struct kts_view view;

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
    fail_msg("nothing was heard of the peer");
}

// Runs the agent until the peer was asked (`answered`: until it answered).
static void wait_for(const char *member, int answered)
{
    static const struct timeval DEADLINE = {.tv_sec = DEADLINE_S};
    struct event *timer = evtimer_new(fixture.agent.base, on_deadline, NULL);

    event_add(timer, &DEADLINE);
    while (answered ? !kts_agent_peer_state(&fixture.agent, member, NULL)
                    : !kts_agent_peers_asked_all(&fixture.agent))
        event_base_loop(fixture.agent.base, EVLOOP_ONCE);
    event_free(timer);
}

static int set_up(void **state)
{
    struct kt_error why = {0};

    if (fixture_set_up(state))
        return -1;
    signal(SIGPIPE, SIG_IGN);
    memset(&view, 0, sizeof(view));
    fixture.agent.view = &view;
    return kts_agent_peers_start(&fixture.agent, &why);
}

static struct kt_peers *one(const char *member, uint16_t port, uint32_t revision)
{
    static struct kt_peers peers;
    uint8_t sha256[KT_SHA256_LEN] = {9};

    peers.count = 0;
    fixture_peer(&peers, member, port, sha256, 0);
    peers.peers[0].revision = revision;
    return &peers;
}

static void the_list_is_read_at_the_start(void **state)
{
    (void)state;
    assert_int_equal(kts_agent_peers(&fixture.agent)->count, 3);
    assert_string_equal(kts_agent_own_peer(&fixture.agent)->member, OWN);
}

static void what_is_learned_is_kept_in_the_file(void **state)
{
    static struct kt_peers saved;

    (void)state;
    kts_agent_peers_learn(&fixture.agent, one(NEW, 1, 1));
    assert_non_null(kt_peers_by_member(kts_agent_peers(&fixture.agent), NEW));
    assert_int_equal(kt_peers_load(fixture.paths.peers, &saved, NULL), 0);
    assert_non_null(kt_peers_by_member(&saved, NEW));
}

static void an_older_entry_changes_nothing(void **state)
{
    const struct kt_peer *peer;

    (void)state;
    kts_agent_peers_learn(&fixture.agent, one(NEW, 7, 3));
    kts_agent_peers_learn(&fixture.agent, one(NEW, 8, 2));
    peer = kt_peers_by_member(kts_agent_peers(&fixture.agent), NEW);
    assert_int_equal(peer->agent_port, 7);
}

static void a_peer_that_does_not_answer_counts_as_asked(void **state)
{
    (void)state;
    assert_false(kts_agent_peers_asked_all(&fixture.agent));
    wait_for(PEER, 0);
    assert_false(kts_agent_peer_is_reachable(&fixture.agent, PEER));
    assert_null(kts_agent_peer_state(&fixture.agent, PEER, NULL));
    // A new one has not been asked.
    kts_agent_peers_learn(&fixture.agent, one(NEW, 1, 1));
    assert_false(kts_agent_peers_asked_all(&fixture.agent));
    wait_for(NEW, 0);
}

static void without_peers_all_were_asked(void **state)
{
    static struct kt_peers none;

    (void)state;
    none = *kts_agent_peers(&fixture.agent);
    none.peers[1].removed = 1;
    kts_agent_peers_learn(&fixture.agent, &none);
    assert_true(kts_agent_peers_asked_all(&fixture.agent));
    assert_int_equal(fixture.agent.peers->pid, 0);
}

// This agent's door in the peer's place, with the peer's certificate. It is asked with that too: an
// agent refuses its own certificate.
static void open_door_of_peer(void)
{
    snprintf(fixture.paths.node_cert, KT_PATH_MAX, "%s/peer.pem", temp_dir);
    snprintf(fixture.paths.node_key, KT_PATH_MAX, "%s/peer-key.pem", temp_dir);
    fixture_open_door("peer");
}

static struct kt_peers *peer_at_the_door(void)
{
    struct kt_peers *peers = one(PEER, fixture.port, 2);

    memcpy(peers->peers[0].cert_sha256,
           kt_peers_by_member(kts_agent_peers(&fixture.agent), PEER)->cert_sha256, KT_SHA256_LEN);
    return peers;
}

static void an_answer_of_a_peer_is_kept(void **state)
{
    int64_t asked_us = 0;

    (void)state;
    open_door_of_peer();
    kts_agent_peers_learn(&fixture.agent, peer_at_the_door());
    wait_for(PEER, 1);
    assert_string_equal(json_string_value(json_object_get(
                            kts_agent_peer_state(&fixture.agent, PEER, &asked_us), "node")),
                        "kts-01");
    assert_true(asked_us > 0 && asked_us <= kt_monotonic_now());
    assert_true(kts_agent_peer_is_reachable(&fixture.agent, PEER));
    fixture_close_door();
}

static void a_heartbeat_that_dies_is_replaced(void **state)
{
    pid_t first;

    (void)state;
    open_door_of_peer();
    first = fixture.agent.peers->pid;
    assert_true(first > 0);
    assert_int_equal(kill(first, SIGKILL), 0);
    while (fixture.agent.peers->pid == first || fixture.agent.peers->pid == 0)
        event_base_loop(fixture.agent.base, EVLOOP_ONCE);
    kts_agent_peers_learn(&fixture.agent, peer_at_the_door());
    wait_for(PEER, 1);
    fixture_close_door();
}

static void a_peer_that_was_heard_of_is_told_with_its_age(void **state)
{
    const struct kts_verb *verb = kts_verb_find("node.peers");
    struct kts_call call = {.agent = &fixture.agent, .caller = KTS_CALLER_LOCAL};
    json_t *args = json_object(), *result = NULL, *entry;
    struct kt_error why = {0};

    (void)state;
    open_door_of_peer();
    kts_agent_peers_learn(&fixture.agent, peer_at_the_door());
    wait_for(PEER, 1);
    assert_int_equal(verb->run(&call, args, &result, &why), 0);
    assert_int_equal(json_array_size(result), 1); // neither this node nor the removed one
    entry = json_array_get(result, 0);
    assert_true(json_is_true(json_object_get(entry, "reachable")));
    assert_true(json_is_object(json_object_get(entry, "state")));
    assert_true(json_integer_value(json_object_get(entry, "asked_ms_ago")) >= 0);
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(entry, "peer"), "member")), PEER);
    json_decref(result);
    json_decref(args);
    fixture_close_door();
}

// A round in which PEER refuses, and says what it says of `member`, by a row of its own epoch.
static void hear_removed(const char *member, int64_t epoch)
{
    json_t *round =
        json_pack("[{s:s, s:s, s:{s:s, s:{s:s, s:I, s:I, s:s, s:[], s:i, s:s, s:i}}}]", "member",
                  PEER, "error", "no", "removed", "member", member, "row", "incarnation",
                  "1.0000000000000007", "epoch", (json_int_t)epoch, "sequence", (json_int_t)1,
                  "active", PEER, "members", "w", 0, "start_lsn", "0/3000060", "timeline", 2);

    assert_non_null(round);
    kts_peers_take_round(fixture.agent.peers, round);
    json_decref(round);
}

static void what_a_later_epoch_says_of_this_nodes_removal_is_kept(void **state)
{
    static struct kt_peers saved;

    (void)state;
    hear_removed(OWN, 2);
    assert_true(kts_agent_is_removed(&fixture.agent, OWN));
    assert_int_equal(kt_peers_load(fixture.paths.peers, &saved, NULL), 0);
    assert_true(kt_peers_by_member(&saved, OWN)->removed);
    assert_int_equal(fixture.agent.peers->pid, 0); // nobody is asked any more
}

static void what_says_nothing_for_sure_removes_nobody(void **state)
{
    json_t *refused = json_pack("[{s:s, s:s}]", "member", PEER, "error", "no node of this cluster");

    (void)state;
    kts_peers_take_round(fixture.agent.peers, refused);
    json_decref(refused);
    hear_removed(OWN, 1); // the epoch that this node leads
    hear_removed(NEW, 2);
    assert_false(kts_agent_is_removed(&fixture.agent, OWN));
}

// A list that comes with an answer is not a verdict.
static void another_nodes_list_removes_not_this_one(void **state)
{
    static struct kt_peers theirs;
    json_t *round;

    (void)state;
    theirs = *kts_agent_peers(&fixture.agent);
    for (size_t i = 0; i < theirs.count; i++)
        theirs.peers[i].removed = 1;
    kts_view_files(&fixture.paths, &view);
    round =
        json_pack("[{s:s, s:{s:o}}]", "member", PEER, "state", "peers", kt_peers_to_json(&theirs));
    kts_peers_take_round(fixture.agent.peers, round);
    json_decref(round);
    assert_false(kts_agent_is_removed(&fixture.agent, OWN));
    assert_true(kt_peers_by_member(kts_agent_peers(&fixture.agent), PEER)->removed);
}

static void this_node_is_described_as_it_is_now(void **state)
{
    struct kt_error why = {0};
    struct kt_peer self;

    (void)state;
    assert_int_equal(kts_agent_self(&fixture.agent, &self, &why), 0);
    assert_string_equal(self.member, OWN);
    assert_string_equal(self.address, "127.0.0.1");
    assert_int_equal(self.agent_port, fixture.port);
    assert_memory_equal(self.cert_sha256, kts_agent_own_peer(&fixture.agent)->cert_sha256,
                        KT_SHA256_LEN);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(the_list_is_read_at_the_start),
        CASE(what_is_learned_is_kept_in_the_file),
        CASE(an_older_entry_changes_nothing),
        CASE(a_peer_that_does_not_answer_counts_as_asked),
        CASE(without_peers_all_were_asked),
        CASE(an_answer_of_a_peer_is_kept),
        CASE(a_heartbeat_that_dies_is_replaced),
        CASE(a_peer_that_was_heard_of_is_told_with_its_age),
        CASE(what_a_later_epoch_says_of_this_nodes_removal_is_kept),
        CASE(what_says_nothing_for_sure_removes_nobody),
        CASE(another_nodes_list_removes_not_this_one),
        CASE(this_node_is_described_as_it_is_now),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
