// SPDX-License-Identifier: Apache-2.0
// For which root of the CA a key is sealed while the CA is replaced, and who opens it.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <setjmp.h> // cmocka.h needs it

#include <cmocka.h>

#include "kts/agent_listed.h"
#include "kts/agent_seal.h"
#include "kts/agent_view.h"
#include "lib/ca.h"
#include "lib/pki.h"
#include "tests/unit/lib/temp_dir.h"

#define CLUSTER "0aa1c2d3-0000-4000-8000-00000000c0de"
#define DAY_S   86400

static struct kt_paths paths;
static char older[KT_SHA256_TEXT], newer[KT_SHA256_TEXT];

static void newest(char root[KT_SHA256_TEXT])
{
    uint8_t sha256[KT_SHA256_LEN];

    assert_int_equal(kt_ca_newest(&paths, sha256, NULL), 0);
    kt_hex_encode(sha256, sizeof(sha256), root);
}

static int set_up(void **state)
{
    EVP_PKEY *key = NULL;
    X509 *ca = NULL;

    if (temp_dir_setup(state))
        return -1;
    snprintf(paths.ca_key, sizeof(paths.ca_key), "%s/key.pem", temp_dir);
    snprintf(paths.ca_cert, sizeof(paths.ca_cert), "%s/cert.pem", temp_dir);
    snprintf(paths.ca_next_key, sizeof(paths.ca_next_key), "%s/next-key.pem", temp_dir);
    assert_int_equal(kt_pki_new_p256(&key), 0);
    assert_int_equal(kt_pki_make_ca(key, CLUSTER, 100 * DAY_S, &ca), 0);
    assert_int_equal(kt_pki_key_save(paths.ca_key, key, NULL), 0);
    assert_int_equal(kt_pki_ca_save(paths.ca_cert, ca, NULL), 0);
    EVP_PKEY_free(key);
    X509_free(ca);
    newest(older);
    assert_int_equal(kt_ca_begin(&paths, CLUSTER, 200 * DAY_S, NULL), 0);
    newest(newer);
    assert_string_not_equal(older, newer);
    return 0;
}

// node.state of an agent with these roots, the one that signs first.
static json_t *state_of(const char *phase, const char *first, const char *second)
{
    return json_pack("{s:{s:s, s:[s, s*]}}", "ca", "phase", phase, "roots", first, second);
}

// Sealed for an agent in that state, and opened with the keys that are here.
static void check_for(json_t *state, const char *wanted, int opens)
{
    char root[KT_SHA256_TEXT], *sealed = NULL;
    struct kt_secret *text = NULL;
    X509 *ca = NULL;

    assert_int_equal(kts_seal_root_for(&paths, state, root, NULL), 0);
    assert_string_equal(root, wanted);
    assert_int_equal(kt_pki_ca_load(paths.ca_cert, &ca, NULL), 0);
    assert_int_equal(kts_seal_for(ca, root, "test", "x", "secret", &sealed, NULL), 0);
    assert_int_equal(kts_seal_open(&paths, "test", "x", sealed, &text, NULL),
                     opens ? 0 : KT_ERR_SIGNATURE);
    kt_secret_free(text);
    free(sealed);
    X509_free(ca);
    json_decref(state);
}

static void check_here(json_t *state, const char *wanted)
{
    char root[KT_SHA256_TEXT];
    X509 *ca = NULL;

    assert_int_equal(kt_pki_ca_load(paths.ca_cert, &ca, NULL), 0);
    assert_int_equal(kts_seal_root_here(&paths, ca, state, root, NULL), 0);
    assert_string_equal(root, wanted);
    X509_free(ca);
    json_decref(state);
}

static void the_older_root_serves_only_who_has_no_other(void **state)
{
    (void)state;
    check_for(state_of("one", older, NULL), older, 1);
    check_for(state_of("begun", older, newer), newer, 1);
    check_for(state_of("both", newer, older), newer, 1);
    check_here(state_of("one", older, NULL), older);
    check_here(state_of("begun", older, newer), newer);
    check_here(state_of("both", newer, older), newer);
    assert_int_equal(kt_ca_use(&paths, NULL), 0);
    check_for(state_of("begun", older, newer), newer, 1);
    check_for(state_of("both", newer, older), newer, 1);
    check_for(state_of("one", older, NULL), older, 0); // one that was away, to be handed the newer
    check_here(state_of("one", older, NULL), newer);   // which it does not know: it hands nothing
}

static void nothing_is_sealed_for_a_root_that_has_ended(void **state)
{
    char root[KT_SHA256_TEXT], *sealed = NULL;
    json_t *node = state_of("one", older, NULL);
    X509 *ca = NULL;

    (void)state;
    assert_int_equal(kt_ca_use(&paths, NULL), 0);
    assert_int_equal(kt_ca_end(&paths, NULL), 0);
    assert_int_equal(kt_pki_ca_load(paths.ca_cert, &ca, NULL), 0);
    assert_int_equal(kts_seal_root_for(&paths, node, root, NULL), 0);
    assert_int_equal(kts_seal_for(ca, root, "test", "x", "secret", &sealed, NULL),
                     KT_ERR_CERTIFICATE_UNKNOWN_CA);
    assert_null(sealed);
    X509_free(ca);
    json_decref(node);
}

// --- the table of nodes ---

static json_t *row(const char *member, const char *byte, int removed)
{
    char hash[KT_SHA256_TEXT] = "";

    for (size_t i = 0; i < KT_SHA256_LEN; i++)
        memcpy(hash + 2 * i, byte, 3);
    return json_pack("{s:s, s:s, s:i, s:i, s:i, s:s, s:n, s:i, s:b}", "member", member, "address",
                     "127.0.0.1", "agent_port", 1, "database_port", 1, "https_port", 1,
                     "cert_sha256", hash, "cert_before", "revision", 1, "removed", removed);
}

static void the_table_has_who_can_be_read_and_was_not_removed(void **state)
{
    static struct kts_view view;
    json_t *nodes = json_pack("[o, o, {s:s}, o]", row("kts-01.00000001", "11", 0),
                              row("kts-02.00000002", "22", 1), "member", "kts-03.00000003",
                              row("kts-04.00000004", "44", 0));
    json_t *expired = json_pack("[s, s]", "kts-02.00000002", "kts-04.00000004");
    struct kt_node_credentials credentials = {.member = NULL};
    struct kts_pins pins;

    (void)state;
    kts_listed_take(&view, nodes, expired);
    assert_true(view.listed.is_known);
    assert_int_equal(view.listed.nodes.count, 2);
    assert_string_equal(view.listed.nodes.peers[1].member, "kts-04.00000004");
    assert_int_equal(view.listed.expired, 2);
    kts_listed_pin(&view.listed.nodes.peers[1], &pins, &credentials);
    assert_int_equal(credentials.peer_count, 1);
    assert_int_equal(credentials.peer_sha256[0][0], 0x44);
    memset(view.listed.nodes.peers[1].cert_before, 0x55, KT_SHA256_LEN);
    kts_listed_pin(&view.listed.nodes.peers[1], &pins, &credentials);
    assert_int_equal(credentials.peer_count, 2);
    assert_int_equal(credentials.peer_sha256[1][31], 0x55);
    json_decref(nodes);
    json_decref(expired);
}

static void who_takes_or_is_handed_a_key_shows_what_the_table_has(void **state)
{
    static const char *const VERBS[] = {"ca.take",          "receipt.take",     "receipt.hand",
                                        "cluster_key.take", "cluster_key.hand", "cluster_key.use"};

    (void)state;
    for (size_t i = 0; i < sizeof(VERBS) / sizeof(VERBS[0]); i++) {
        const struct kts_verb *verb = kts_verb_find(VERBS[i]);
        assert_non_null(verb);
        assert_true(verb->flags & KTS_VERB_LISTED);
    }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, temp_dir_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(the_older_root_serves_only_who_has_no_other),
        CASE(nothing_is_sealed_for_a_root_that_has_ended),
        CASE(the_table_has_who_can_be_read_and_was_not_removed),
        CASE(who_takes_or_is_handed_a_key_shows_what_the_table_has),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
