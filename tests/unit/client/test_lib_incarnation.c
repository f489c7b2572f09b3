// SPDX-License-Identifier: Apache-2.0
// A cluster that was restored from a backup: which statement is believed, and what happens without.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tests/unit/client/fake_nodes.h"
#include "tests/unit/client/fake_statement.h"

#define FIRST  "1.00000000000000ab"
#define SECOND "2.00000000000000cd"
#define OTHER  "2.00000000000000ef"

static struct keytrustee_error error;
static struct keytrustee_deposit deposit;
static struct kt_buf before; // client.json

static int put(const char *handle)
{
    return keytrustee_put(client, handle, "s", 1, NULL, &deposit, &error);
}

static int get_by(struct keytrustee *reader, const char *handle, uint32_t version)
{
    struct keytrustee_secret *secret = NULL;
    int rc = keytrustee_get(reader, handle, version, &secret, &deposit, &error);

    keytrustee_free(secret);
    return rc;
}

static int get(const char *handle, uint32_t version)
{
    return get_by(client, handle, version);
}

static void read_state(struct kt_buf *out)
{
    *out = (struct kt_buf)KT_BUF_INIT(65536);
    assert_int_equal(kt_file_read(fake_path("client.json"), out, NULL), 0);
}

// All nodes have a deposit "h", and the first incarnation is known.
static int in_the_first_incarnation(void **state)
{
    fake_three(state);
    must_work(put("h"), &error);
    (void)fake_asked();
    client->timeout_ms = 500;
    read_state(&before);
    return 0;
}

static int tear_down(void **state)
{
    kt_buf_free(&before);
    return fake_teardown(state);
}

static void assert_nothing_remembered(void)
{
    struct kt_buf now = {0};

    read_state(&now);
    assert_int_equal(kt_buf_left(&now), kt_buf_left(&before));
    assert_memory_equal(kt_buf_ptr(&now), kt_buf_ptr(&before), kt_buf_left(&now));
    kt_buf_free(&now);
    assert_int_equal(client->state.incarnation.number, 1);
    assert_null(strstr(warned, "restored"));
}

static void assert_refused(int result, const char *name, const char *words)
{
    assert_int_equal(get("h", 1), result);
    assert_string_equal(error.name, name);
    if (strstr(error.message, words) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", words, error.message);
    assert_nothing_remembered();
}

// --- good ones ---

static void a_restored_cluster_is_accepted_by_its_statement_and_asked_once(void **state)
{
    (void)state;
    fake_restore(SECOND, FIRST, 17);
    must_work(get("h", 1), &error);
    assert_int_equal(fake.statements_asked, 1);
    assert_non_null(strstr(warned, "restored"));
    assert_non_null(strstr(warned, "after log index 17 "));
    assert_null(strstr(warned, "has not seen"));
    assert_int_equal(client->state.incarnation.number, 2);
    warned[0] = '\0';
    must_work(get("h", 1), &error);
    must_work(put("new"), &error);
    fake_reopen();
    must_work(get("h", 1), &error);
    assert_int_equal(fake.statements_asked, 1);
    assert_string_equal(warned, "");
}

static void a_backup_of_an_unknown_line_is_accepted_and_told(void **state)
{
    (void)state;
    fake_restore("3.00000000000000ee", SECOND, 17);
    must_work(get("h", 1), &error);
    assert_non_null(strstr(warned, "restored from incarnation " SECOND));
    assert_non_null(strstr(warned, "has not seen"));
    assert_int_equal(client->state.incarnation.number, 3);
}

static void a_backup_of_other_bits_is_an_unknown_line(void **state)
{
    (void)state;
    fake_restore(SECOND, "1.00000000000000ac", 17);
    must_work(get("h", 1), &error);
    assert_non_null(strstr(warned, "has not seen"));
}

static void what_another_process_has_accepted_is_not_asked_again(void **state)
{
    char confdir[96];
    struct keytrustee_options options = {.size = sizeof options, .confdir = confdir};
    struct keytrustee *other = NULL;

    (void)state;
    snprintf(confdir, sizeof confdir, "%s/conf", fake_folder);
    fake_restore(SECOND, FIRST, 17);
    assert_int_equal(keytrustee_open(&options, &other, NULL), KEYTRUSTEE_OK);
    must_work(get_by(other, "h", 1), &error);
    keytrustee_close(other);
    assert_int_equal(client->state.incarnation.number, 1);
    must_work(get("h", 1), &error);
    assert_int_equal(client->state.incarnation.number, 2);
    assert_int_equal(fake.statements_asked, 1);
    assert_string_equal(warned, "");
}

static void yet_another(const char *server, const struct kt_http_request *request,
                        struct kt_http_answer *answer)
{
    fake_speak(server, request, answer);
    if (strcmp(request->path, "/v1/incarnations") == 0)
        fake_header(answer, "KT-Incarnation", "9.0000000000000099");
}

static void the_place_in_history_of_the_statements_answer_does_not_count(void **state)
{
    (void)state;
    fake_restore(SECOND, FIRST, 17);
    fake.meddle = yet_another;
    must_work(get("h", 1), &error);
    assert_int_equal(client->state.incarnation.number, 2);
    assert_int_equal(fake.statements_asked, 1);
}

// --- bad ones ---

static void a_signature_by_another_key_is_refused(void **state)
{
    (void)state;
    fake_restore(SECOND, FIRST, 17);
    client->state.cluster_fingerprint[0] ^= 1; // as if it had registered with that
    assert_int_equal(ktc_identity_save(client, NULL), 0);
    kt_buf_free(&before);
    read_state(&before);
    assert_refused(KEYTRUSTEE_INTEGRITY, "signature", "not good");
    assert_null(strstr(error.message, "another"));
}

static void a_changed_statement_is_refused(void **state)
{
    char *index = NULL;

    (void)state;
    fake_restore(SECOND, FIRST, 1777);
    index = strstr(fake_incarnations_text, "1777");
    assert_non_null(index);
    index[0] = '2';
    assert_refused(KEYTRUSTEE_INTEGRITY, "signature", "not good");
    assert_null(strstr(error.message, "another"));
}

static void a_statement_of_another_cluster_is_refused(void **state)
{
    struct kt_statement statement = fake_statement(SECOND, FIRST, 17);
    char *text = NULL;

    (void)state;
    statement.cluster_id.bytes[3] ^= 1;
    text = fake_signed(&statement);
    fake_show(SECOND, text);
    free(text);
    fake.incarnation = SECOND;
    assert_refused(KEYTRUSTEE_INTEGRITY, "signature", "another cluster");
}

static void a_statement_of_other_bits_is_refused(void **state)
{
    struct kt_statement statement = fake_statement(OTHER, FIRST, 17);
    char *text = fake_signed(&statement);

    (void)state;
    fake.incarnation = SECOND;
    fake_show(OTHER, text);
    assert_refused(KEYTRUSTEE_INTEGRITY, "signature", "no statement");
    fake_show(SECOND, text); // under the other's name
    assert_refused(KEYTRUSTEE_INTEGRITY, "signature", "another incarnation");
    free(text);
}

static void an_incarnation_without_a_statement_is_refused(void **state)
{
    static const char *const shown[] = {
        "{}",
        "{\"incarnations\": 7}",
        "{\"incarnations\": [7, {}, {\"incarnation\": 2}, {\"incarnation\": \"x\"}]}",
        "{\"incarnations\": [{\"incarnation\": \"" SECOND "\", \"statement\": 7}]}",
        "{\"incarnations\": [{\"incarnation\": \"" SECOND "\"}]}",
        "{\"incarnations\": [{\"incarnation\": \"" SECOND "\", \"statement\": \"\"}]}",
    };

    (void)state;
    fake.incarnation = SECOND;
    fake_show(SECOND, NULL);
    assert_refused(KEYTRUSTEE_INTEGRITY, "signature", "no statement");
    for (size_t i = 0; i < sizeof shown / sizeof shown[0]; i++) {
        fake.incarnations = shown[i];
        assert_refused(KEYTRUSTEE_INTEGRITY, "signature", "no statement");
    }
}

static void a_statement_over_its_bound_is_none(void **state)
{
    static char text[KT_STATEMENT_MAX + 2];

    (void)state;
    memset(text, 'x', KT_STATEMENT_MAX + 1);
    fake.incarnation = SECOND;
    fake_show(SECOND, text);
    assert_refused(KEYTRUSTEE_INTEGRITY, "signature", "no statement");
}

static void a_server_that_does_not_know_the_call_has_none(void **state)
{
    (void)state;
    fake.incarnation = SECOND;
    assert_refused(KEYTRUSTEE_INTEGRITY, "signature", "no statement");
    assert_true(fake.statements_asked > 0);
}

// --- statements that cannot be had ---

static int cut_off; // 1: no connection for the statement
static int cuts;    // how often that was so

static int reach_but_for_the_statement(const char *server, const struct kt_http_request *request,
                                       int *sent)
{
    *sent = 0;
    if (cut_off && strcmp(request->path, "/v1/incarnations") == 0) {
        cuts++;
        return KT_ERR_NETWORK;
    }
    return fake_reach(server, request, sent);
}

static void a_statement_that_cannot_be_had_is_asked_for_again(void **state)
{
    (void)state;
    fake_restore(SECOND, FIRST, 17);
    fake.network = reach_but_for_the_statement;
    cut_off = 1;
    assert_refused(KEYTRUSTEE_UNAVAILABLE, "unchecked", "cannot be had");
    cut_off = 0;
    must_work(get("h", 1), &error);
    assert_int_equal(client->state.incarnation.number, 2);
}

static void busy(const char *server, const struct kt_http_request *request,
                 struct kt_http_answer *answer)
{
    fake_speak(server, request, answer);
    if (strcmp(request->path, "/v1/incarnations") == 0)
        fake_error(answer, KT_ERR_DATABASE_UNAVAILABLE);
}

static void a_server_without_a_database_shows_its_statement_later(void **state)
{
    (void)state;
    fake_restore(SECOND, FIRST, 17);
    fake.meddle = busy;
    assert_refused(KEYTRUSTEE_UNAVAILABLE, "unchecked", "cannot be had");
    fake.meddle = fake_speak;
    fake.incarnations = "no JSON";
    assert_refused(KEYTRUSTEE_UNAVAILABLE, "unchecked", "cannot be had");
}

// --- what is not used of such an answer ---

static void an_absence_at_an_unproven_cluster_is_not_believed(void **state)
{
    (void)state;
    fake.incarnation = SECOND;
    fake_show(SECOND, NULL);
    assert_int_equal(get("none", 0), KEYTRUSTEE_INTEGRITY);
    assert_int_equal(get("none", 7), KEYTRUSTEE_INTEGRITY);
    assert_nothing_remembered();
}

static void nodes_of_the_known_incarnation_are_used_instead(void **state)
{
    (void)state;
    fake_nodes[0].incarnation = SECOND;
    must_work(get("h", 1), &error);
    assert_nothing_remembered();
    assert_string_equal(fake_asked(), "one one one two ");
}

static void a_proven_cluster_silences_the_nodes_it_replaced(void **state)
{
    (void)state;
    fake_restore(SECOND, FIRST, 17);
    fake_nodes[1].incarnation = fake_nodes[2].incarnation = FIRST;
    must_work(get("h", 1), &error);
    fake_nodes[0].dead = 2;
    assert_int_equal(get("h", 1), KEYTRUSTEE_UNAVAILABLE);
    assert_string_equal(error.name, "fenced");
    assert_int_equal(fake.statements_asked, 1);
}

static size_t receipts_kept(void)
{
    size_t count = 0;
    char command[400], line[64] = "";
    FILE *pipe = NULL;

    snprintf(command, sizeof command, "ls '%s' | grep -c '[.]receipt$'", fake_path("receipts"));
    pipe = popen(command, "r");
    assert_non_null(pipe);
    assert_non_null(fgets(line, sizeof line, pipe));
    count = strtoul(line, NULL, 10);
    pclose(pipe);
    return count;
}

static void an_acknowledgement_of_an_unproven_cluster_is_none(void **state)
{
    (void)state;
    assert_int_equal(receipts_kept(), 1);
    fake.incarnation = SECOND;
    fake_show(SECOND, NULL);
    assert_int_equal(put("new"), KEYTRUSTEE_IN_DOUBT);
    assert_nothing_remembered();
    assert_int_equal(receipts_kept(), 1);
    fake_restore(SECOND, FIRST, 17); // its operator mends that
    must_work(keytrustee_resume(client, NULL, NULL, &error), &error);
    assert_int_equal(receipts_kept(), 2);
    assert_int_equal(fake.deposit_count, 2);
}

static void a_change_waits_for_a_statement_that_cannot_be_had_now(void **state)
{
    (void)state;
    fake_restore(SECOND, FIRST, 17);
    fake.network = reach_but_for_the_statement;
    cut_off = 1;
    cuts = 0;
    assert_int_equal(put("new"), KEYTRUSTEE_IN_DOUBT);
    assert_int_equal(receipts_kept(), 1);
    assert_true(cuts > 1); // repeated until the timeout
    cut_off = 0;
    must_work(keytrustee_resume(client, NULL, NULL, &error), &error);
    assert_int_equal(receipts_kept(), 2);
    assert_int_equal(fake.deposit_count, 2);
}

static void the_active_that_an_unproven_node_names_is_not_followed(void **state)
{
    (void)state;
    fake_nodes[0].passive = 1;
    fake_nodes[0].incarnation = SECOND;
    fake_nodes[0].active = "four:4444";
    fake_nodes[1].passive = 0;
    must_work(put("new"), &error);
    assert_null(strstr(fake.asked, "four"));
    assert_nothing_remembered();
}

static void status_tells_of_an_unproven_node(void **state)
{
    struct keytrustee_status *status = NULL;

    (void)state;
    fake_nodes[2].incarnation = SECOND;
    must_work(keytrustee_status(client, &status, &error), &error);
    assert_string_equal(status->servers[0].problem, "");
    assert_non_null(strstr(status->servers[2].problem, "no statement"));
    assert_int_equal(status->servers[2].is_active, 0);
    keytrustee_status_free(status);
    assert_nothing_remembered();
}

// --- registration ---

static int register_again(void)
{
    static const char *const servers[] = {"one", NULL};
    struct keytrustee_registration wanted = {.size = sizeof wanted, .servers = servers};

    wanted.auth_code = fake.auth_code;
    return keytrustee_register(client, &wanted, &error);
}

static void a_first_registration_takes_the_incarnation_it_finds(void **state)
{
    (void)state;
    fake.incarnation = SECOND;
    must_work(register_again(), &error);
    assert_int_equal(client->state.incarnation.number, 2);
    assert_int_equal(fake.statements_asked, 0);
    assert_string_equal(warned, "");
}

static void a_client_that_registers_again_needs_the_statement(void **state)
{
    (void)state;
    fake.incarnation = SECOND;
    fake_show(SECOND, NULL);
    assert_int_equal(register_again(), KEYTRUSTEE_INTEGRITY);
    assert_nothing_remembered();
    fake_restore(SECOND, FIRST, 17);
    must_work(register_again(), &error);
    assert_int_equal(client->state.incarnation.number, 2);
    assert_non_null(strstr(warned, "after log index 17 "));
    assert_int_equal(fake.statements_asked, 2);
    must_work(get("h", 1), &error);
    assert_int_equal(fake.statements_asked, 2);
}

#define CASE(function)                                                                             \
    cmocka_unit_test_setup_teardown(function, in_the_first_incarnation, tear_down)
#define NEW(function) cmocka_unit_test_setup_teardown(function, fake_setup, fake_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_restored_cluster_is_accepted_by_its_statement_and_asked_once),
        CASE(a_backup_of_an_unknown_line_is_accepted_and_told),
        CASE(a_backup_of_other_bits_is_an_unknown_line),
        CASE(what_another_process_has_accepted_is_not_asked_again),
        CASE(the_place_in_history_of_the_statements_answer_does_not_count),
        CASE(a_signature_by_another_key_is_refused),
        CASE(a_changed_statement_is_refused),
        CASE(a_statement_of_another_cluster_is_refused),
        CASE(a_statement_of_other_bits_is_refused),
        CASE(an_incarnation_without_a_statement_is_refused),
        CASE(a_statement_over_its_bound_is_none),
        CASE(a_server_that_does_not_know_the_call_has_none),
        CASE(a_statement_that_cannot_be_had_is_asked_for_again),
        CASE(a_server_without_a_database_shows_its_statement_later),
        CASE(an_absence_at_an_unproven_cluster_is_not_believed),
        CASE(nodes_of_the_known_incarnation_are_used_instead),
        CASE(a_proven_cluster_silences_the_nodes_it_replaced),
        CASE(an_acknowledgement_of_an_unproven_cluster_is_none),
        CASE(a_change_waits_for_a_statement_that_cannot_be_had_now),
        CASE(the_active_that_an_unproven_node_names_is_not_followed),
        CASE(status_tells_of_an_unproven_node),
        NEW(a_first_registration_takes_the_incarnation_it_finds),
        CASE(a_client_that_registers_again_needs_the_statement),
    };

    return cmocka_run_group_tests(tests, fake_key_make, fake_key_remove);
}
