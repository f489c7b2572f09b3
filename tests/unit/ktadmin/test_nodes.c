// SPDX-License-Identifier: Apache-2.0
// The list of nodes: who is known, who is the active, what wants attention.
#include "fake_nodes.h"

#include "ktadmin/status.h"

struct fixture {
    struct fakes fakes;
    struct kta_nodes nodes;
    struct kt_error error;
    json_t *proofs;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    *state = f;
    if (!f)
        return -1;
    fakes_make(&f->fakes, &f->nodes, 3, 1);
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    json_decref(f->proofs);
    fakes_free(&f->fakes, &f->nodes);
    free(f);
    return 0;
}

static void nodes_are_found_by_name_and_by_member(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(kta_nodes_find(&f->nodes, "kts-02"), 1);
    assert_int_equal(kta_nodes_find(&f->nodes, fake_id(2)), 2);
    assert_int_equal(kta_nodes_find(&f->nodes, "kts-09"), -1);
}

static void a_node_is_listed_once(void **state)
{
    struct fixture *f = *state;
    struct kt_peer peer = {.address = "127.0.0.9", .agent_port = 5};

    memcpy(peer.member, fake_id(1), KT_MEMBER_TEXT / 2);
    assert_int_equal(kta_nodes_add(&f->nodes, &peer, &f->error), 1);
    assert_int_equal(f->nodes.count, 3);
}

static void more_nodes_than_there_may_be_are_refused(void **state)
{
    struct fixture *f = *state;
    struct kt_peer peer = {.address = "127.0.0.9", .agent_port = 5};
    int at = 0;

    for (int i = 0; i < KT_PEERS_MAX && at >= 0; i++) {
        snprintf(peer.member, sizeof(peer.member), "kts-x.%08x", i);
        at = kta_nodes_add(&f->nodes, &peer, &f->error);
    }
    assert_int_equal(at, KT_ERR_TOO_LARGE);
}

static void a_look_keeps_what_answered_and_why_not(void **state)
{
    struct fixture *f = *state;

    f->fakes.list[2].is_down = 1;
    assert_int_equal(kta_nodes_look(&f->nodes, &f->error), 0);
    assert_int_equal(kta_nodes_reachable(&f->nodes), 2);
    assert_null(f->nodes.list[2].state);
    assert_int_equal(f->nodes.list[2].error.code, KT_ERR_NETWORK);
    // and forgets it when it comes back
    f->fakes.list[2].is_down = 0;
    kta_nodes_look_at(&f->nodes, 2);
    assert_non_null(f->nodes.list[2].state);
}

static void the_active_is_the_one_of_the_highest_epoch(void **state)
{
    struct fixture *f = *state;
    size_t active = 9;

    f->fakes.list[2].role = "unestablished"; // promoted while the old active was cut off
    f->fakes.list[2].promise.epoch = 2;
    assert_int_equal(kta_nodes_look(&f->nodes, &f->error), 0);
    assert_int_equal(kta_nodes_active(&f->nodes, &active, &f->error), 0);
    assert_int_equal(active, 2);
    f->fakes.list[2].promise.incarnation.bits++; // of another restore
    kta_nodes_look_at(&f->nodes, 2);
    assert_int_equal(kta_nodes_active(&f->nodes, &active, &f->error), KT_ERR_PROTOCOL);
}

static void without_an_active_it_is_said(void **state)
{
    struct fixture *f = *state;
    size_t active = 0;

    f->fakes.list[0].is_down = 1;
    assert_int_equal(kta_nodes_look(&f->nodes, &f->error), 0);
    assert_int_equal(kta_nodes_active(&f->nodes, &active, &f->error), KT_ERR_NOT_FOUND);
    assert_non_null(strstr(f->error.hint, "failover"));
}

// --- what status makes of it ---

static void put(struct kta_member *member, const char *name, json_t *value)
{
    assert_int_equal(json_object_set_new(member->state, name, value), 0);
}

// All well: an active with its writer open, whose members stream.
static void make_well(struct fixture *f)
{
    json_t *streams = json_array();

    assert_int_equal(kta_nodes_look(&f->nodes, &f->error), 0);
    for (size_t i = 0; i < 3; i++)
        put(&f->nodes.list[i], "database", json_string("up"));
    for (size_t i = 1; i < 3; i++) {
        put(&f->nodes.list[i], "receiver",
            json_pack("{s:b, s:i, s:i}", "streaming", 1, "lag_bytes", 0, "lag_ms", 0));
        json_array_append_new(streams, json_pack("{s:s, s:b}", "member",
                                                 f->nodes.list[i].peer.member, "streaming", 1));
    }
    put(&f->nodes.list[0], "streaming", streams);
    put(&f->nodes.list[0], "writer", json_string("open"));
}

static int attention(struct fixture *f, const char *expected)
{
    int code = -1;
    json_t *list = kta_status_attention(&f->nodes, f->proofs, &code), *one;
    size_t i, found = expected == NULL && json_array_size(list) == 0;

    json_array_foreach(list, i, one)
    {
        if (expected && strstr(json_string_value(one), expected))
            found = 1;
        else if (!expected)
            print_message("%s\n", json_string_value(one));
    }
    assert_true(found);
    json_decref(list);
    return code;
}

static int mentions(struct fixture *f, const char *text)
{
    int code = -1, found = 0;
    json_t *list = kta_status_attention(&f->nodes, f->proofs, &code), *one;
    size_t i;

    json_array_foreach(list, i, one) found |= strstr(json_string_value(one), text) != NULL;
    json_decref(list);
    return found;
}

static void when_all_is_well_nothing_wants_attention(void **state)
{
    struct fixture *f = *state;

    make_well(f);
    assert_int_equal(attention(f, NULL), KT_EXIT_OK);
}

static void a_missing_passive_is_degraded(void **state)
{
    struct fixture *f = *state;

    make_well(f);
    f->fakes.list[2].is_down = 1;
    kta_nodes_look_at(&f->nodes, 2);
    assert_int_equal(attention(f, "kts-03 does not answer"), KTA_EXIT_DEGRADED);
}

static void lag_fences_and_certificates_are_degraded(void **state)
{
    struct fixture *f = *state;

    make_well(f);
    put(&f->nodes.list[1], "receiver",
        json_pack("{s:b, s:I, s:i}", "streaming", 1, "lag_bytes", (json_int_t)1 << 40, "lag_ms",
                  5));
    assert_int_equal(attention(f, "kts-02 is 1099511627776 bytes"), KTA_EXIT_DEGRADED);
    make_well(f);
    put(&f->nodes.list[1], "role", json_string("fenced"));
    assert_int_equal(attention(f, "ktadmin rejoin kts-02"), KTA_EXIT_DEGRADED);
    make_well(f);
    put(&f->nodes.list[1], "certificates", json_pack("{s:i}", "node_days", 3));
    assert_int_equal(
        attention(f,
                  "kts-02: the node certificate is good for 3 more days: run ktadmin rotate there"),
        KTA_EXIT_DEGRADED);
    make_well(f);
    put(&f->nodes.list[1], "cluster_key", json_pack("{s:s}", "key", "A"));
    put(&f->nodes.list[0], "cluster_key", json_pack("{s:s}", "key", "B"));
    assert_int_equal(attention(f, "different OpenPGP keys"), KTA_EXIT_DEGRADED);
    make_well(f);
    put(&f->nodes.list[1], "settings", json_pack("{s:s, s:[s]}", "hash", "x", "unequal", "jit"));
    assert_int_equal(attention(f, "the setting jit differs"), KTA_EXIT_DEGRADED);
}

static void a_closed_writer_is_no_writes(void **state)
{
    struct fixture *f = *state;

    make_well(f);
    put(&f->nodes.list[0], "writer", json_string("closed"));
    assert_int_equal(attention(f, "takes no writes"), KTA_EXIT_NO_WRITES);
}

static void a_node_that_refuses_the_caller_is_not_taken_for_dead(void **state)
{
    struct fixture *f = *state;

    make_well(f);
    f->fakes.list[0].fails = "node.state";
    f->fakes.list[0].fails_with = KT_ERR_NOT_MEMBER;
    f->fakes.list[0].fail_count = 9;
    kta_nodes_look_at(&f->nodes, 0);
    assert_true(kta_member_refuses(&f->nodes.list[0]));
    assert_int_equal(attention(f, "kts-01 refuses this certificate"), KT_EXIT_REFUSED);
    assert_int_equal(mentions(f, "failover"), 0);
}

static void without_an_active_it_is_said_what_to_do(void **state)
{
    struct fixture *f = *state;

    make_well(f);
    put(&f->nodes.list[0], "role", json_string("fenced"));
    assert_int_equal(mentions(f, "run ktadmin failover"), 1);
    f->proofs = json_pack("[{s:s, s:[[]]}, {s:s, s:[]}, {s:s, s:[[]]}]", "node", "kts-01", "with",
                          "node", "kts-02", "with", "node", "kts-03", "with");
    assert_int_equal(mentions(f, "failover --to NODE, which can be kts-01 or kts-03"), 1);
    f->nodes.list[1].is_local = 1;
    put(&f->nodes.list[1], "database", json_string("down"));
    assert_int_equal(mentions(f, "kts-02 is not started: systemctl start"), 1);
    assert_int_equal(mentions(f, "run ktadmin failover"), 0);
}

static void a_node_that_has_left_is_to_be_wiped_and_nothing_else(void **state)
{
    struct fixture *f = *state;

    make_well(f);
    put(&f->nodes.list[1], "role", json_string("fenced"));
    json_object_set_new(json_object_get(f->nodes.list[1].state, "promise"), "retired_by",
                        json_string("kts-01"));
    assert_int_equal(mentions(f, "kts-02 was removed from the cluster"), 1);
    assert_int_equal(mentions(f, "rejoin"), 0);
    f->nodes.list[1].is_local = 1;
    put(&f->nodes.list[0], "role", json_string("fenced"));
    assert_int_equal(mentions(f, "failover"), 0);
}

static void no_database_anywhere_is_down(void **state)
{
    struct fixture *f = *state;

    make_well(f);
    for (size_t i = 0; i < 3; i++)
        put(&f->nodes.list[i], "database", json_string("down"));
    assert_int_equal(attention(f, "the database is down"), KTA_EXIT_DOWN);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest cases[] = {
        CASE(nodes_are_found_by_name_and_by_member),
        CASE(a_node_is_listed_once),
        CASE(more_nodes_than_there_may_be_are_refused),
        CASE(a_look_keeps_what_answered_and_why_not),
        CASE(the_active_is_the_one_of_the_highest_epoch),
        CASE(without_an_active_it_is_said),
        CASE(when_all_is_well_nothing_wants_attention),
        CASE(a_missing_passive_is_degraded),
        CASE(lag_fences_and_certificates_are_degraded),
        CASE(a_closed_writer_is_no_writes),
        CASE(a_node_that_refuses_the_caller_is_not_taken_for_dead),
        CASE(without_an_active_it_is_said_what_to_do),
        CASE(a_node_that_has_left_is_to_be_wiped_and_nothing_else),
        CASE(no_database_anywhere_is_down),
    };
    return cmocka_run_group_tests(cases, NULL, NULL);
}
