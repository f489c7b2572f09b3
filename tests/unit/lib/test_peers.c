// SPDX-License-Identifier: Apache-2.0
// The list of nodes: looking up, merging, its file, and lists from strangers.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "lib/json.h"
#include "lib/peers.h"
#include "tests/unit/lib/temp_dir.h"

static struct kt_peers peers, others;
static struct kt_error error;

static int setup(void **state)
{
    memset(&peers, 0, sizeof(peers));
    memset(&others, 0, sizeof(others));
    return temp_dir_setup(state);
}

static struct kt_peer *add(struct kt_peers *to, const char *member, uint32_t revision)
{
    struct kt_peer *peer = &to->peers[to->count++];

    snprintf(peer->member, sizeof(peer->member), "%s", member);
    snprintf(peer->address, sizeof(peer->address), "10.0.0.%u", revision);
    peer->agent_port = 11382;
    peer->database_port = 5432;
    peer->https_port = 11371;
    memset(peer->cert_sha256, (int)to->count, sizeof(peer->cert_sha256));
    peer->revision = revision;
    return peer;
}

static void a_node_is_found_by_member_name_and_certificate(void **state)
{
    uint8_t unknown[KT_SHA256_LEN] = {0};

    (void)state;
    add(&peers, "kts-01.00000001", 1);
    add(&peers, "kts-011.00000002", 1);
    assert_ptr_equal(kt_peers_by_member(&peers, "kts-011.00000002"), &peers.peers[1]);
    assert_null(kt_peers_by_member(&peers, "kts-01"));
    assert_ptr_equal(kt_peers_by_node(&peers, "kts-01"), &peers.peers[0]);
    assert_ptr_equal(kt_peers_by_node(&peers, "kts-011"), &peers.peers[1]);
    assert_null(kt_peers_by_node(&peers, "kts-0"));
    assert_ptr_equal(kt_peers_by_cert(&peers, peers.peers[1].cert_sha256), &peers.peers[1]);
    assert_null(kt_peers_by_cert(&peers, unknown));
}

static void a_removed_nodes_certificate_is_refused_and_its_name_free(void **state)
{
    (void)state;
    add(&peers, "kts-01.00000001", 1)->removed = 1;
    assert_null(kt_peers_by_cert(&peers, peers.peers[0].cert_sha256));
    assert_null(kt_peers_by_node(&peers, "kts-01"));
    assert_non_null(kt_peers_by_member(&peers, "kts-01.00000001"));
    add(&peers, "kts-01.00000002", 1);
    assert_ptr_equal(kt_peers_by_node(&peers, "kts-01"), &peers.peers[1]);
}

static void merge_takes_new_members_and_higher_revisions(void **state)
{
    (void)state;
    add(&peers, "kts-01.00000001", 2);
    add(&others, "kts-01.00000001", 1);
    assert_int_equal(kt_peers_merge(&peers, &others), 0);
    assert_string_equal(peers.peers[0].address, "10.0.0.2");
    others.peers[0].revision = 3;
    add(&others, "kts-02.00000002", 1);
    assert_int_equal(kt_peers_merge(&peers, &others), 1);
    assert_string_equal(peers.peers[0].address, "10.0.0.1");
    assert_int_equal(peers.peers[0].revision, 3);
    assert_int_equal(peers.count, 2);
    assert_int_equal(kt_peers_merge(&peers, &others), 0);
}

static void removal_is_never_taken_back(void **state)
{
    (void)state;
    add(&peers, "kts-01.00000001", 2);
    add(&others, "kts-01.00000001", 1)->removed = 1;
    assert_int_equal(kt_peers_merge(&peers, &others), 1); // also from an older revision
    assert_true(peers.peers[0].removed);
    assert_int_equal(peers.peers[0].revision, 2);
    others.peers[0].removed = 0;
    others.peers[0].revision = 9;
    assert_int_equal(kt_peers_merge(&peers, &others), 1);
    assert_true(peers.peers[0].removed);
}

static void a_full_list_takes_no_more(void **state)
{
    char member[KT_MEMBER_TEXT];

    (void)state;
    for (int i = 0; i < KT_PEERS_MAX; i++) {
        snprintf(member, sizeof(member), "kts-01.%08d", i);
        add(&peers, member, 1);
    }
    add(&others, "kts-02.00000002", 1);
    assert_int_equal(kt_peers_merge(&peers, &others), KT_ERR_TOO_LARGE);
    assert_int_equal(peers.count, KT_PEERS_MAX);
}

// One too many must not keep the others back, a removal least of all.
static void a_full_list_still_hears_of_those_it_has(void **state)
{
    char member[KT_MEMBER_TEXT];

    (void)state;
    for (int i = 0; i < KT_PEERS_MAX; i++) {
        snprintf(member, sizeof(member), "kts-01.%08d", i);
        add(&peers, member, 1);
    }
    add(&others, "kts-02.00000002", 1);
    add(&others, "kts-01.00000007", 1)->removed = 1;
    assert_int_equal(kt_peers_merge(&peers, &others), KT_ERR_TOO_LARGE);
    assert_int_equal(peers.count, KT_PEERS_MAX);
    assert_true(peers.peers[7].removed);
}

static void what_could_not_be_loaded_is_not_saved(void **state)
{
    (void)state;
    add(&peers, "kts-01.00000001", 1);
    assert_int_equal(kt_peers_save(temp_path("peers.json"), &peers, &error), 0);
    snprintf(peers.peers[0].address, sizeof(peers.peers[0].address), "fe80::1%%eth0");
    assert_int_equal(kt_peers_save(temp_path("peers.json"), &peers, &error), KT_ERR_INVALID);
    assert_int_equal(kt_peers_load(temp_path("peers.json"), &others, &error), 0);
    assert_int_equal(others.count, 1);
}

static void saved_list_is_loaded_again(void **state)
{
    (void)state;
    add(&peers, "kts-01.00000001", 1);
    add(&peers, "kts-02.00000002", 7)->removed = 1;
    snprintf(peers.peers[1].address, sizeof(peers.peers[1].address), "2001:db8::1");
    assert_int_equal(kt_peers_save(temp_path("peers.json"), &peers, &error), 0);
    assert_int_equal(kt_peers_load(temp_path("peers.json"), &others, &error), 0);
    assert_memory_equal(&others, &peers, sizeof(peers));
}

static void longest_list_is_loaded_again(void **state)
{
    char member[KT_MEMBER_TEXT];

    (void)state;
    for (int i = 0; i < KT_PEERS_MAX; i++) {
        snprintf(member, sizeof(member), "abcdefghijklmnop.%08d", i);
        struct kt_peer *peer = add(&peers, member, UINT32_MAX);
        memset(peer->address, 'a', KT_HOST_MAX);
        peer->agent_port = peer->database_port = peer->https_port = UINT16_MAX;
    }
    assert_int_equal(kt_peers_save(temp_path("peers.json"), &peers, &error), 0);
    assert_int_equal(kt_peers_load(temp_path("peers.json"), &others, &error), 0);
    assert_memory_equal(&others, &peers, sizeof(peers));
}

static void missing_file_is_an_empty_list(void **state)
{
    (void)state;
    others.count = 7;
    assert_int_equal(kt_peers_load(temp_path("none"), &others, &error), 0);
    assert_int_equal(others.count, 0);
}

static void list_that_cannot_be_saved_is_an_error(void **state)
{
    (void)state;
    assert_int_not_equal(kt_peers_save(temp_path("none/peers.json"), &peers, &error), 0);
}

#define HASH "\"0101010101010101010101010101010101010101010101010101010101010101\""
#define PEER(member, address, port, hash, more)                                                    \
    "{\"version\":1,\"peers\":[{\"member\":" member ",\"address\":" address                        \
    ",\"agent_port\":" port ",\"database_port\":5432,\"https_port\":11371,\"cert_sha256\":" hash   \
    ",\"revision\":1" more "}]}"
#define M "\"kts-01.00000001\""
#define A "\"10.0.0.1\""

static int load(const char *text)
{
    return kt_peers_load(temp_text("f", text), &others, &error);
}

static void hostile_lists_are_refused(void **state)
{
    static const char *const WRONG[] = {
        "",
        "[]",
        "{}",
        "{\"version\":2,\"peers\":[]}",
        "{\"version\":1}",
        "{\"version\":1,\"peers\":{}}",
        "{\"version\":1,\"peers\":[7]}",
        "{\"version\":1,\"peers\":[],\"more\":1}",
        PEER("7", A, "1", HASH, ""),
        PEER("\"kts-01\"", A, "1", HASH, ""),
        PEER("\"kts-01.0000000100000000000000000\"", A, "1", HASH, ""),
        PEER(M, "\"\"", "1", HASH, ""),
        PEER(M, "\"a b\"", "1", HASH, ""),
        PEER(M, "\"a' port=1\"", "1", HASH, ""),
        PEER(M, "\"-a\"", "1", HASH, ""),
        PEER(M, "\"/tmp\"", "1", HASH, ""),
        PEER(M, "7", "1", HASH, ""),
        PEER(M, A, "0", HASH, ""),
        PEER(M, A, "65536", HASH, ""),
        PEER(M, A, "\"1\"", HASH, ""),
        PEER(M, A, "1", "\"01\"", ""),
        PEER(M, A, "1", "7", ""),
        PEER(M, A, "1", HASH, ",\"removed\":0"),
        PEER(M, A, "1", HASH, ",\"more\":0"),
        "{\"version\":1,\"peers\":[{\"member\":" M "}]}",
    };

    (void)state;
    assert_int_equal(load(PEER(M, A, "1", HASH, "")), 0);
    others.count = 7;
    for (size_t i = 0; i < sizeof(WRONG) / sizeof(WRONG[0]); i++) {
        if (load(WRONG[i]) != KT_ERR_INVALID)
            fail_msg("taken: %s", WRONG[i]);
    }
    assert_int_equal(others.count, 7);
    assert_non_null(strstr(error.hint, "remove it"));
}

static void too_many_nodes_or_the_same_one_twice_are_refused(void **state)
{
    json_t *array = json_array(), *one;

    (void)state;
    add(&peers, "kts-01.00000001", 1);
    one = kt_peers_to_json(&peers);
    json_array_extend(array, one);
    json_array_extend(array, one);
    assert_int_equal(kt_peers_from_json(array, &others, &error), KT_ERR_BAD_REQUEST);
    assert_non_null(strstr(error.message, "there twice"));
    while (json_array_size(array) <= KT_PEERS_MAX)
        json_array_extend(array, one);
    assert_int_equal(kt_peers_from_json(array, &others, &error), KT_ERR_TOO_LARGE);
    assert_int_equal(kt_peers_from_json(NULL, &others, &error), KT_ERR_BAD_REQUEST);
    json_decref(array);
    json_decref(one);
}

static void while_a_certificate_is_renewed_the_one_before_counts_too(void **state)
{
    static const uint8_t NONE[KT_SHA256_LEN];
    uint8_t before[KT_SHA256_LEN];
    struct kt_peer *peer;
    json_t *array;

    (void)state;
    peer = add(&peers, "kts-01.00000001", 1);
    add(&peers, "kts-02.00000002", 1);
    memset(before, 0x5b, sizeof(before));
    assert_null(kt_peers_by_cert(&peers, before));
    assert_null(kt_peers_by_cert(&peers, NONE));
    memcpy(peer->cert_before, before, sizeof(before));
    assert_ptr_equal(kt_peers_by_cert(&peers, before), peer);
    assert_ptr_equal(kt_peers_by_cert(&peers, peer->cert_sha256), peer);
    array = kt_peers_to_json(&peers);
    assert_int_equal(kt_peers_from_json(array, &others, &error), 0);
    assert_memory_equal(others.peers[0].cert_before, before, sizeof(before));
    assert_null(json_object_get(json_array_get(array, 1), "cert_before"));
    json_object_set_new(json_array_get(array, 0), "cert_before", json_string("5b"));
    assert_int_equal(kt_peers_from_json(array, &others, &error), KT_ERR_BAD_REQUEST);
    json_object_set_new(json_array_get(array, 0), "cert_before", json_null());
    assert_int_equal(kt_peers_from_json(array, &others, &error), 0);
    assert_int_equal(kt_peer_has_before(&others.peers[0]), 0);
    // the end of the renewal is heard by whoever has the entry of before
    others.peers[0].revision = 2;
    assert_int_equal(kt_peers_merge(&peers, &others), 1);
    assert_null(kt_peers_by_cert(&peers, before));
    memcpy(peer->cert_before, before, sizeof(before));
    peer->removed = 1;
    assert_null(kt_peers_by_cert(&peers, before));
    json_decref(array);
}

// It shows the certificate of before until it has the new one.
static void who_was_removed_in_the_middle_of_a_renewal_is_known_by_both(void **state)
{
    uint8_t before[KT_SHA256_LEN];
    struct kt_peer *peer;

    (void)state;
    memset(before, 0x5b, sizeof(before));
    peer = add(&peers, "kts-01.00000001", 1);
    memcpy(peer->cert_before, before, sizeof(before));
    add(&others, "kts-01.00000001", 2)->removed = 1; // as the table has it: without the one before
    assert_null(kt_peers_removed_by_cert(&peers, before));
    assert_int_equal(kt_peers_merge(&peers, &others), 1);
    assert_ptr_equal(kt_peers_removed_by_cert(&peers, before), peer);
    assert_ptr_equal(kt_peers_removed_by_cert(&peers, peer->cert_sha256), peer);
    assert_null(kt_peers_by_cert(&peers, before));
    assert_null(kt_peers_removed_by_cert(&others, (const uint8_t[KT_SHA256_LEN]){0}));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, temp_dir_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_node_is_found_by_member_name_and_certificate),
        CASE(a_removed_nodes_certificate_is_refused_and_its_name_free),
        CASE(merge_takes_new_members_and_higher_revisions),
        CASE(removal_is_never_taken_back),
        CASE(a_full_list_takes_no_more),
        CASE(a_full_list_still_hears_of_those_it_has),
        CASE(what_could_not_be_loaded_is_not_saved),
        CASE(saved_list_is_loaded_again),
        CASE(longest_list_is_loaded_again),
        CASE(missing_file_is_an_empty_list),
        CASE(list_that_cannot_be_saved_is_an_error),
        CASE(hostile_lists_are_refused),
        CASE(too_many_nodes_or_the_same_one_twice_are_refused),
        CASE(while_a_certificate_is_renewed_the_one_before_counts_too),
        CASE(who_was_removed_in_the_middle_of_a_renewal_is_known_by_both),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
