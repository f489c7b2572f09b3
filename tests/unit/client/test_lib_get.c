// SPDX-License-Identifier: Apache-2.0
// Fetching: exact bytes or nothing, and "not found" and "latest" only from a node that can know.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tests/unit/client/fake_cluster.h"
#include "tests/unit/client/fake_statement.h"

static struct keytrustee_deposit deposit;
static struct keytrustee_error error;
static struct keytrustee_secret *secret;

static void put(const char *handle, const char *text)
{
    must_work(keytrustee_put(client, handle, text, strlen(text), NULL, &deposit, &error), &error);
    fake.requests = 0;
}

static int get(const char *handle, uint32_t version)
{
    secret = NULL;
    return keytrustee_get(client, handle, version, &secret, &deposit, &error);
}

static void assert_got(const char *text)
{
    assert_int_equal(keytrustee_secret_length(secret), strlen(text));
    assert_memory_equal(keytrustee_secret_bytes(secret), text, strlen(text));
    keytrustee_free(secret);
    secret = NULL;
}

static void refused(int result, const char *handle, uint32_t version)
{
    assert_int_equal(get(handle, version), result);
    assert_null(secret);
}

static void exact_bytes_come_back(void **state)
{
    static const char bytes[] = "\0\n\r\xff secret\n";

    (void)state;
    must_work(keytrustee_put(client, "a/b", bytes, sizeof bytes, NULL, NULL, &error), &error);
    must_work(get("a/b", 0), &error);
    assert_int_equal(keytrustee_secret_length(secret), sizeof bytes);
    assert_memory_equal(keytrustee_secret_bytes(secret), bytes, sizeof bytes);
    keytrustee_free(secret);
    assert_int_equal(deposit.receipt, 1);
    assert_int_equal(deposit.version, 1);
}

static void a_version_can_be_named(void **state)
{
    (void)state;
    put("h", "one");
    put("h", "two");
    must_work(get("h", 0), &error);
    assert_got("two");
    must_work(get("h", 1), &error);
    assert_got("one");
}

static void absence_is_believed_behind_a_barrier_only(void **state)
{
    (void)state;
    refused(KEYTRUSTEE_NOT_FOUND, "h", 0);
    assert_int_equal(fake.requests, 2);
    refused(KEYTRUSTEE_NOT_FOUND, "h", 3);
    assert_string_equal(error.name, "version_not_found");
}

static void no_barrier(const char *server, const struct kt_http_request *request,
                       struct kt_http_answer *answer)
{
    (void)server;
    if (fake_request_header(request, "KT-Freshness") != NULL) {
        fake_error(answer, KT_ERR_NO_QUORUM);
        fake_header(answer, "KT-Freshness", "local");
    }
}

static void absence_without_a_barrier_is_unavailable(void **state)
{
    (void)state;
    fake.meddle = no_barrier;
    client->timeout_ms = 300;
    refused(KEYTRUSTEE_UNAVAILABLE, "h", 0);
    assert_string_equal(error.name, "unchecked");
    assert_non_null(strstr(error.message, "could not be checked"));
}

static void ignore_barrier(const char *server, const struct kt_http_request *request,
                           struct kt_http_answer *answer)
{
    (void)server, (void)request;
    fake_header(answer, "KT-Freshness", "local");
}

static void a_server_that_ignores_the_barrier_is_not_believed(void **state)
{
    (void)state;
    client->timeout_ms = 300;
    fake.meddle = ignore_barrier;
    refused(KEYTRUSTEE_UNAVAILABLE, "h", 0);
}

// A passive that has not replayed the second version yet.
static void lag(const char *server, const struct kt_http_request *request,
                struct kt_http_answer *answer)
{
    (void)server;
    if (fake_request_header(request, "KT-Freshness") == NULL &&
        strcmp(request->path, "/v1/deposits/h") == 0) {
        fake_get(&fake.deposits[0], answer);
        fake_header(answer, "KT-Freshness", "local");
    }
}

static void lag_without_quorum(const char *server, const struct kt_http_request *request,
                               struct kt_http_answer *answer)
{
    lag(server, request, answer);
    no_barrier(server, request, answer);
}

static void latest_is_not_older_than_what_was_acknowledged_here(void **state)
{
    (void)state;
    put("h", "one");
    put("h", "two");
    fake.meddle = lag;
    must_work(get("h", 0), &error);
    assert_got("two");
    fake.meddle = lag_without_quorum;
    client->timeout_ms = 300;
    refused(KEYTRUSTEE_UNAVAILABLE, "h", 0);
    must_work(get("h", 1), &error); // a named version is right on any node
    assert_got("one");
}

static void a_deleted_latest_is_believed_behind_a_barrier(void **state)
{
    (void)state;
    put("h", "one");
    put("h", "two");
    fake.deposits[1].deleted = 1;
    must_work(get("h", 0), &error);
    assert_got("one");
}

// A server that hides the second version, and says that it is up to date.
static int hides_receipt;

static void hide_version_two(const char *server, const struct kt_http_request *request,
                             struct kt_http_answer *answer)
{
    (void)server;
    if (strcmp(request->path, "/v1/deposits/h") == 0)
        fake_get(&fake.deposits[0], answer);
    else if (hides_receipt)
        fake_error(answer, KT_ERR_VERSION_NOT_FOUND);
    fake_header(answer, "KT-Freshness", "barrier");
}

static void hide_all(const char *server, const struct kt_http_request *request,
                     struct kt_http_answer *answer)
{
    (void)server, (void)request;
    fake_error(answer, KT_ERR_DEPOSIT_NOT_FOUND);
    fake_header(answer, "KT-Freshness", "barrier");
}

static void a_barrier_alone_does_not_hide_an_acknowledged_version(void **state)
{
    (void)state;
    put("h", "one");
    put("h", "two");
    fake.meddle = hide_version_two; // its receipt says that it is not deleted
    refused(KEYTRUSTEE_INTEGRITY, "h", 0);
    hides_receipt = 1;
    refused(KEYTRUSTEE_INTEGRITY, "h", 0);
    hides_receipt = 0;
    fake.meddle = hide_all;
    refused(KEYTRUSTEE_INTEGRITY, "h", 0);
    assert_int_equal(keytrustee_info(client, "h", 0, &deposit, &error), KEYTRUSTEE_INTEGRITY);
    fake.meddle = NULL;
    fake.deposits[1].deleted = 1;
    must_work(get("h", 0), &error);
    assert_got("one");
    assert_non_null(strstr(warned, "version 2 of \"h\""));
    fake.deposits[0].deleted = 1;
    refused(KEYTRUSTEE_NOT_FOUND, "h", 0);
}

static void a_deposit_to_a_restored_cluster_is_the_latest(void **state)
{
    (void)state;
    put("h", "one");
    put("h", "two");
    put("h", "three");
    free(fake.deposits[1].body); // the backup has the first one only
    free(fake.deposits[2].body);
    fake.deposit_count = 1;
    fake_restore("2.00000000000000cd", fake.incarnation, 1);
    refused(KEYTRUSTEE_INTEGRITY, "h", 0);
    assert_non_null(strstr(error.hint, "restored"));
    put("h", "new");
    assert_int_equal(deposit.version, 2);
    must_work(get("h", 0), &error);
    assert_got("new");
}

static const char *dropped_header;

static void drop_header(const char *server, const struct kt_http_request *request,
                        struct kt_http_answer *answer)
{
    (void)server, (void)request;
    for (size_t i = 0; i < answer->header_count; i++)
        if (strcmp(answer->header_names[i], dropped_header) == 0)
            answer->header_names[i][0] = 'x';
}

static void an_answer_without_incarnation_or_epoch_is_refused(void **state)
{
    (void)state;
    put("h", "one");
    fake.meddle = drop_header;
    dropped_header = "KT-Incarnation";
    refused(KEYTRUSTEE_FAILURE, "h", 0);
    assert_string_equal(error.name, "protocol");
    dropped_header = "KT-Epoch";
    refused(KEYTRUSTEE_FAILURE, "h", 0);
    assert_string_equal(error.name, "protocol");
}

static void change_body(const char *server, const struct kt_http_request *request,
                        struct kt_http_answer *answer)
{
    (void)server, (void)request;
    answer->body.data[kt_buf_left(&answer->body) / 2] ^= 1;
}

// Changes the body, and its hash in the header.
static void change_body_and_etag(const char *server, const struct kt_http_request *request,
                                 struct kt_http_answer *answer)
{
    uint8_t hash[KT_SHA256_LEN];
    char hex[KT_SHA256_TEXT], etag[KT_SHA256_TEXT + 2];

    change_body(server, request, answer);
    assert_int_equal(kt_sha256(kt_buf_ptr(&answer->body), kt_buf_left(&answer->body), hash), 0);
    kt_hex_encode(hash, sizeof hash, hex);
    snprintf(etag, sizeof etag, "\"%s\"", hex);
    fake_header(answer, "ETag", etag);
}

static void forget_receipts(void)
{
    char command[300];

    snprintf(command, sizeof command, "rm -rf %s/*", fake_path("receipts"));
    assert_int_equal(system(command), 0);
}

static void changed_content_is_refused(void **state)
{
    (void)state;
    put("h", "secret");
    fake.meddle = change_body;
    refused(KEYTRUSTEE_INTEGRITY, "h", 0);
    fake.meddle = change_body_and_etag;
    refused(KEYTRUSTEE_INTEGRITY, "h", 0);
    assert_non_null(strstr(error.message, "receipt"));
    forget_receipts(); // a host that only reads: the signature is what is left
    assert_int_not_equal(get("h", 0), KEYTRUSTEE_OK);
    assert_null(secret);
}

static void give_the_other(const char *server, const struct kt_http_request *request,
                           struct kt_http_answer *answer)
{
    (void)server, (void)request;
    fake_get(&fake.deposits[1], answer);
}

static void content_of_another_handle_is_refused(void **state)
{
    (void)state;
    put("a", "of a");
    put("b", "of b");
    fake.meddle = give_the_other;
    refused(KEYTRUSTEE_INTEGRITY, "a", 0);
    forget_receipts(); // both are signed by our key: the name inside tells them apart
    refused(KEYTRUSTEE_INTEGRITY, "a", 0);
    assert_non_null(strstr(error.message, "another handle"));
    must_work(get("b", 0), &error);
    assert_got("of b");
}

static void give_version_one(const char *server, const struct kt_http_request *request,
                             struct kt_http_answer *answer)
{
    (void)server, (void)request;
    fake_get(&fake.deposits[0], answer);
}

static void replace_header(struct kt_http_answer *answer, const char *name, const char *value)
{
    for (size_t i = 0; i < answer->header_count; i++) {
        if (strcmp(answer->header_names[i], name) == 0) {
            free(answer->header_values[i]);
            answer->header_values[i] = strdup(value);
        }
    }
}

// Version one's content under an invented deposit id, as if it were the newest.
static void give_version_one_as_new(const char *server, const struct kt_http_request *request,
                                    struct kt_http_answer *answer)
{
    (void)server, (void)request;
    fake_get(&fake.deposits[0], answer);
    replace_header(answer, "KT-Deposit-Id", "9d3b9a0e-3a52-4f0c-8a2e-2b8d5f1c7e11");
    replace_header(answer, "KT-Version", "3");
}

static void an_old_version_under_an_invented_id_is_refused(void **state)
{
    (void)state;
    put("h", "one");
    put("h", "two");
    fake.meddle = give_version_one_as_new;
    refused(KEYTRUSTEE_INTEGRITY, "h", 0);
    forget_receipts();
    refused(KEYTRUSTEE_INTEGRITY, "h", 0);
}

static void another_version_than_asked_for_is_refused(void **state)
{
    (void)state;
    put("h", "one");
    put("h", "two");
    fake.meddle = give_version_one;
    refused(KEYTRUSTEE_INTEGRITY, "h", 2);
}

static void drop_etag(const char *server, const struct kt_http_request *request,
                      struct kt_http_answer *answer)
{
    (void)server, (void)request;
    fake_header(answer, "ETag", "");
}

static void an_answer_without_hash_is_refused(void **state)
{
    (void)state;
    put("h", "one");
    fake.meddle = drop_etag;
    refused(KEYTRUSTEE_INTEGRITY, "h", 0);
}

static void content_signed_by_another_key_is_refused(void **state)
{
    char other[KT_OPENPGP_FINGERPRINT_TEXT];
    const char *const recipients[] = {client->state.fingerprint, NULL};
    struct kt_buf cipher = KT_BUF_INIT(65536);
    struct kt_error why = {0};

    (void)state; // anybody can encrypt to a public key
    assert_int_equal(kt_gpg_generate(client->gpg, KT_GPG_CLIENT, "mallory", other, &why), 0);
    assert_int_equal(kt_gpg_encrypt(client->gpg, other, recipients, "planted", 7, &cipher, &why),
                     0);
    fake_add("6fa459ea-ee8a-4ca4-894e-db77e160355e", "h", kt_buf_ptr(&cipher),
             kt_buf_left(&cipher));
    refused(KEYTRUSTEE_INTEGRITY, "h", 0);
    kt_buf_free(&cipher);
}

static int one_is_down(const char *server, const struct kt_http_request *request, int *sent)
{
    (void)request;
    *sent = 0;
    return strcmp(server, "one") == 0 ? KT_ERR_TIMEOUT : 0;
}

static int all_are_down(const char *server, const struct kt_http_request *request, int *sent)
{
    (void)request, (void)server;
    *sent = 0;
    return KT_ERR_NETWORK;
}

static void the_next_server_answers(void **state)
{
    (void)state;
    put("h", "secret");
    fake.network = one_is_down;
    must_work(get("h", 0), &error);
    assert_got("secret");
    must_work(get("h", 0), &error);
    assert_got("secret");
    assert_int_equal(fake.requests, 3); // the second time the good one first
    fake.network = all_are_down;
    client->timeout_ms = 300;
    refused(KEYTRUSTEE_UNAVAILABLE, "h", 0);
    assert_non_null(strstr(error.message, "one"));
    assert_non_null(strstr(error.message, "two"));
}

static char retrieval[2][80], justification[80];
static int tries;

// The first answer is lost.
static int lose_first_answer(const char *server, const struct kt_http_request *request, int *sent)
{
    (void)server;
    if (tries > 1)
        return 0;
    for (size_t i = 0; request->headers[i] != NULL; i++) {
        if (strncmp(request->headers[i], "KT-Retrieval-Id: ", 17) == 0)
            snprintf(retrieval[tries], sizeof retrieval[tries], "%s", request->headers[i]);
        if (strncmp(request->headers[i], "KT-Justification: ", 18) == 0)
            snprintf(justification, sizeof justification, "%s", request->headers[i]);
    }
    *sent = 1;
    return tries++ == 0 ? KT_ERR_NETWORK : 0;
}

static void a_get_that_is_asked_again_is_the_same_retrieval(void **state)
{
    struct keytrustee_get_options options = {.size = sizeof options,
                                             .justification = "die Gr\xc3\xb6\xc3\x9f"
                                                              "e"};

    (void)state;
    put("h", "text");
    tries = 0;
    fake.network = lose_first_answer;
    must_work(keytrustee_get_with(client, "h", 0, &options, &secret, NULL, &error), &error);
    assert_got("text");
    assert_int_equal(tries, 2);
    assert_true(strlen(retrieval[0]) == 17 + 36);
    assert_string_equal(retrieval[0], retrieval[1]);
    assert_string_equal(justification, "KT-Justification: die%20Gr%C3%B6%C3%9Fe");
    options.retrieval_id = "11111111-2222-4333-8444-555555555555";
    tries = 1;
    must_work(keytrustee_get_with(client, "h", 0, &options, &secret, NULL, &error), &error);
    assert_got("text");
    assert_string_equal(retrieval[1], "KT-Retrieval-Id: 11111111-2222-4333-8444-555555555555");
}

static void a_wish_that_is_malformed_is_not_sent(void **state)
{
    struct keytrustee_get_options options = {.size = sizeof options, .justification = "a\nb"};

    (void)state;
    put("h", "text");
    assert_int_equal(keytrustee_get_with(client, "h", 0, &options, &secret, NULL, &error),
                     KEYTRUSTEE_USAGE);
    options.justification = NULL;
    options.retrieval_id = "x";
    assert_int_equal(keytrustee_get_with(client, "h", 0, &options, &secret, NULL, &error),
                     KEYTRUSTEE_USAGE);
    assert_int_equal(fake.requests, 0);
}

static void another_history_is_refused(void **state)
{
    (void)state;
    put("h", "secret");
    fake.incarnation = "1.00000000000000cd";
    refused(KEYTRUSTEE_INTEGRITY, "h", 0);
}

static void a_restored_cluster_is_told_once(void **state)
{
    (void)state;
    put("h", "secret");
    fake_restore("2.00000000000000cd", fake.incarnation, 1);
    must_work(get("h", 0), &error);
    assert_got("secret");
    assert_non_null(strstr(warned, "restored"));
    warned[0] = '\0';
    keytrustee_close(client);
    fake_open(2000);
    must_work(get("h", 0), &error);
    assert_got("secret");
    assert_string_equal(warned, "");
    fake.incarnation = "1.00000000000000ab"; // the old one comes back
    refused(KEYTRUSTEE_UNAVAILABLE, "h", 0);
}

static void info_shows_a_verified_receipt(void **state)
{
    (void)state;
    put("a/b", "one");
    put("a/b", "two");
    must_work(keytrustee_info(client, "a/b", 0, &deposit, &error), &error);
    assert_int_equal(deposit.version, 2);
    assert_int_equal(deposit.receipt, 1);
    assert_string_equal(deposit.client, fake.client);
    must_work(keytrustee_info(client, "a/b", 1, &deposit, &error), &error);
    assert_string_equal(deposit.id, fake.deposits[0].id);
    assert_int_equal(keytrustee_info(client, "none", 0, &deposit, &error), KEYTRUSTEE_NOT_FOUND);
}

static void swap_receipt(const char *server, const struct kt_http_request *request,
                         struct kt_http_answer *answer)
{
    (void)server, (void)request;
    fake_json(answer, 200,
              json_pack("{s:o, s:s}", "deposit", fake_describe(&fake.deposits[0]), "receipt",
                        fake.deposits[1].receipt));
}

static void answer_nonsense(const char *server, const struct kt_http_request *request,
                            struct kt_http_answer *answer)
{
    (void)server, (void)request;
    fake_json(answer, 200, json_pack("{s:{s:s}}", "deposit", "id", "\033[31m"));
}

static void info_with_another_receipt_is_refused(void **state)
{
    (void)state;
    put("h", "one");
    put("h", "two");
    fake.meddle = swap_receipt;
    assert_int_equal(keytrustee_info(client, "h", 1, &deposit, &error), KEYTRUSTEE_INTEGRITY);
    fake.meddle = answer_nonsense;
    assert_int_equal(keytrustee_info(client, "h", 1, &deposit, &error), KEYTRUSTEE_FAILURE);
    assert_string_equal(error.name, "protocol");
    assert_null(strchr(error.message, '\033'));
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, fake_registered, fake_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(exact_bytes_come_back),
        CASE(a_version_can_be_named),
        CASE(a_get_that_is_asked_again_is_the_same_retrieval),
        CASE(a_wish_that_is_malformed_is_not_sent),
        CASE(absence_is_believed_behind_a_barrier_only),
        CASE(absence_without_a_barrier_is_unavailable),
        CASE(a_server_that_ignores_the_barrier_is_not_believed),
        CASE(latest_is_not_older_than_what_was_acknowledged_here),
        CASE(a_deleted_latest_is_believed_behind_a_barrier),
        CASE(a_barrier_alone_does_not_hide_an_acknowledged_version),
        CASE(a_deposit_to_a_restored_cluster_is_the_latest),
        CASE(an_answer_without_incarnation_or_epoch_is_refused),
        CASE(changed_content_is_refused),
        CASE(content_of_another_handle_is_refused),
        CASE(an_old_version_under_an_invented_id_is_refused),
        CASE(another_version_than_asked_for_is_refused),
        CASE(an_answer_without_hash_is_refused),
        CASE(content_signed_by_another_key_is_refused),
        CASE(the_next_server_answers),
        CASE(another_history_is_refused),
        CASE(a_restored_cluster_is_told_once),
        CASE(info_shows_a_verified_receipt),
        CASE(info_with_another_receipt_is_refused),
    };

    return cmocka_run_group_tests(tests, fake_key_make, fake_key_remove);
}
