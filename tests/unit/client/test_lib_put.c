// SPDX-License-Identifier: Apache-2.0
// Depositing: one deposit whatever happens to the network, and only with a receipt that verifies.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tests/unit/client/fake_cluster.h"

static struct keytrustee_deposit deposit;
static struct keytrustee_error error;

static int put(const char *handle, const char *secret)
{
    return keytrustee_put(client, handle, secret, strlen(secret), NULL, &deposit, &error);
}

static size_t pending_count(void)
{
    struct kt_uuid ids[8];
    size_t count = 0;

    assert_int_equal(ktc_pending_list(client, ids, 8, &count, NULL), 0);
    return count;
}

static void a_deposit_is_acknowledged_with_a_kept_receipt(void **state)
{
    char path[128];

    (void)state;
    must_work(put("a/b", "secret"), &error);
    assert_int_equal(deposit.version, 1);
    assert_string_equal(deposit.handle, "a/b");
    assert_int_equal(deposit.receipt, 1);
    assert_int_equal(deposit.copies, 1);
    assert_string_equal(deposit.id, fake.deposits[0].id);
    snprintf(path, sizeof path, "receipts/%s.receipt", deposit.id);
    assert_true(kt_file_exists(fake_path(path)));
    assert_int_equal(pending_count(), 0);
    must_work(put("a/b", "secret 2"), &error);
    assert_int_equal(deposit.version, 2);
}

static void the_server_never_sees_the_secret(void **state)
{
    static const char secret[] = "a text that would be found";

    (void)state;
    must_work(put("h", secret), &error);
    assert_null(memmem(fake.deposits[0].body, fake.deposits[0].len, secret, strlen(secret)));
}

static void wrong_arguments_are_refused_before_anything_is_sent(void **state)
{
    static char large[KEYTRUSTEE_SECRET_MAX + 1];

    (void)state;
    assert_int_equal(put("h", ""), KEYTRUSTEE_USAGE);
    assert_int_equal(put("a b", "s"), KEYTRUSTEE_USAGE);
    assert_int_equal(put("", "s"), KEYTRUSTEE_USAGE);
    assert_int_equal(keytrustee_put(client, "h", large, sizeof large, NULL, NULL, &error),
                     KEYTRUSTEE_USAGE);
    assert_int_equal(keytrustee_put(client, "h", "s", 1, "no-uuid", NULL, &error),
                     KEYTRUSTEE_USAGE);
    assert_int_equal(fake.requests, 0);
}

static void an_unregistered_client_is_refused(void **state)
{
    (void)state;
    assert_int_equal(put("h", "s"), KEYTRUSTEE_REFUSED);
    assert_string_equal(error.name, "certificate_missing");
}

// The first answer is lost after the server acted; later ones arrive.
static int lose_first_answer(const char *server, const struct kt_http_request *request, int *sent)
{
    (void)server, (void)request;
    *sent = 1;
    return fake.requests == 1 ? KT_ERR_NETWORK : 0;
}

static void a_lost_answer_is_asked_for_again_and_stored_once(void **state)
{
    (void)state;
    fake.network = lose_first_answer;
    must_work(put("h", "s"), &error);
    assert_int_equal(fake.deposit_count, 1);
    assert_int_equal(deposit.version, 1);
}

static int lose_every_answer(const char *server, const struct kt_http_request *request, int *sent)
{
    (void)server, (void)request;
    *sent = 1;
    return KT_ERR_NETWORK;
}

static int reach_nobody(const char *server, const struct kt_http_request *request, int *sent)
{
    (void)server, (void)request;
    *sent = 0;
    return KT_ERR_NETWORK;
}

static int count_deposits(void *arg, const struct keytrustee_deposit *one)
{
    (void)one;
    ++*(int *)arg;
    return 0;
}

static void a_deposit_in_doubt_is_kept_and_resumed(void **state)
{
    int resumed = 0;

    (void)state;
    client->timeout_ms = 2000;
    fake.network = lose_every_answer;
    assert_int_equal(put("h", "s"), KEYTRUSTEE_IN_DOUBT);
    assert_non_null(strstr(error.hint, "--resume"));
    assert_int_equal(pending_count(), 1);
    assert_int_equal(fake.deposit_count, 1);
    fake.network = NULL;
    must_work(keytrustee_resume(client, count_deposits, &resumed, &error), &error);
    assert_int_equal(resumed, 1);
    assert_int_equal(pending_count(), 0);
    assert_int_equal(fake.deposit_count, 1);
    must_work(keytrustee_resume(client, count_deposits, &resumed, &error), &error);
    assert_int_equal(resumed, 1);
}

static void a_deposit_that_was_never_sent_is_not_kept(void **state)
{
    (void)state; // else an old secret could become the latest version later
    client->timeout_ms = 2000;
    fake.network = reach_nobody;
    assert_int_equal(put("h", "s"), KEYTRUSTEE_UNAVAILABLE);
    assert_int_equal(pending_count(), 0);
}

static void the_next_deposit_settles_one_in_doubt_first(void **state)
{
    (void)state;
    client->timeout_ms = 2000;
    fake.network = lose_every_answer;
    assert_int_equal(put("h", "first"), KEYTRUSTEE_IN_DOUBT);
    fake.deposit_count = 0; // it had not taken effect after all
    free(fake.deposits[0].body);
    fake.network = NULL;
    must_work(put("h", "second"), &error);
    assert_int_equal(deposit.version, 2);
    assert_int_equal(fake.deposit_count, 2);
    assert_int_equal(pending_count(), 0);
}

static void a_deposit_in_doubt_survives_tries_that_reach_nobody(void **state)
{
    (void)state; // they say nothing of the first try
    client->timeout_ms = 2000;
    fake.network = lose_every_answer;
    assert_int_equal(put("h", "first"), KEYTRUSTEE_IN_DOUBT);
    fake.network = reach_nobody;
    assert_int_equal(put("h", "second"), KEYTRUSTEE_UNAVAILABLE);
    assert_non_null(strstr(error.message, "not deposited"));
    assert_int_equal(keytrustee_resume(client, NULL, NULL, &error), KEYTRUSTEE_UNAVAILABLE);
    assert_int_equal(pending_count(), 1);
    fake.network = NULL;
    must_work(put("other", "s"), &error); // does not wait for it
    must_work(keytrustee_resume(client, NULL, NULL, &error), &error);
    assert_int_equal(pending_count(), 0);
    assert_int_equal(fake.deposit_count, 2);
}

static void a_damaged_pending_file_stops_no_other_deposit(void **state)
{
    static const char name[] = "pending/6fa459ea-ee8a-4ca4-894e-db77e160355e";

    (void)state;
    assert_int_equal(kt_file_replace(fake_path(name), "x", 1, 0600, NULL), 0);
    must_work(put("h", "s"), &error);
    assert_non_null(strstr(warned, "damaged"));
    assert_int_equal(keytrustee_resume(client, NULL, NULL, &error), KEYTRUSTEE_FAILURE);
}

static int answer_code;

static void answer_with_code(const char *server, const struct kt_http_request *request,
                             struct kt_http_answer *answer)
{
    (void)server, (void)request;
    fake_error(answer, answer_code);
}

static void a_refusal_is_passed_on_and_nothing_is_kept(void **state)
{
    static const struct {
        int code, result;
    } cases[] = {{KT_ERR_NOT_GRANTED, KEYTRUSTEE_REFUSED},
                 {KT_ERR_CLIENT_PENDING, KEYTRUSTEE_REFUSED},
                 {KT_ERR_HANDLE_TAKEN, KEYTRUSTEE_REFUSED},
                 {KT_ERR_BODY_TOO_LARGE, KEYTRUSTEE_FAILURE}};

    (void)state;
    fake.meddle = answer_with_code;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fake.requests = 0;
        answer_code = cases[i].code;
        assert_int_equal(put("h", "s"), cases[i].result);
        assert_string_equal(error.name, kt_err_info(answer_code)->name);
        assert_int_equal(pending_count(), 0);
        assert_int_equal(fake.requests, 1);
    }
}

static void a_refusal_settles_a_resumed_deposit_only_for_its_content(void **state)
{
    (void)state;
    client->timeout_ms = 2000;
    fake.network = lose_every_answer;
    assert_int_equal(put("h", "first"), KEYTRUSTEE_IN_DOUBT);
    fake.network = NULL;
    fake.meddle = answer_with_code;
    answer_code = KT_ERR_NOT_GRANTED;
    assert_int_equal(keytrustee_resume(client, NULL, NULL, &error), KEYTRUSTEE_REFUSED);
    assert_int_equal(pending_count(), 1);
    answer_code = KT_ERR_DEPOSIT_ID_CONFLICT;
    assert_int_equal(keytrustee_resume(client, NULL, NULL, &error), KEYTRUSTEE_FAILURE);
    assert_int_equal(pending_count(), 0);
}

static void what_may_be_good_later_keeps_the_ciphertext_of_a_deposit_in_doubt(void **state)
{
    static const int codes[] = {KT_ERR_TOO_MANY_REQUESTS, KT_ERR_RECOVERY_MISSING,
                                KT_ERR_REQUEST_TIMEOUT};

    (void)state; // "later" says nothing of the first try, and it may be the only copy
    client->timeout_ms = 500;
    fake.network = lose_every_answer;
    assert_int_equal(put("h", "first"), KEYTRUSTEE_IN_DOUBT);
    fake.network = NULL;
    fake.meddle = answer_with_code;
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        answer_code = codes[i];
        assert_int_not_equal(keytrustee_resume(client, NULL, NULL, &error), KEYTRUSTEE_OK);
        assert_string_equal(error.name, kt_err_info(answer_code)->name);
        assert_int_equal(pending_count(), 1);
        assert_int_not_equal(put("h", "second"), KEYTRUSTEE_OK);
        assert_non_null(strstr(error.message, "not deposited"));
        assert_int_equal(pending_count(), 1);
    }
    fake.meddle = NULL;
    must_work(keytrustee_resume(client, NULL, NULL, &error), &error);
    assert_int_equal(fake.deposit_count, 1);
}

static void in_doubt_is_tried_until_the_deadline(void **state)
{
    (void)state;
    client->timeout_ms = 2000;
    fake.meddle = answer_with_code;
    answer_code = KT_ERR_IN_DOUBT;
    assert_int_equal(put("h", "s"), KEYTRUSTEE_IN_DOUBT);
    assert_true(fake.requests > 2);
    assert_int_equal(pending_count(), 1);
}

// The first server acts on it and its answer is lost; the second one refuses.
static int lose_answer_of_one(const char *server, const struct kt_http_request *request, int *sent)
{
    (void)request;
    *sent = strcmp(server, "one") == 0;
    return *sent ? KT_ERR_NETWORK : 0;
}

static void answer_with_code_at_two(const char *server, const struct kt_http_request *request,
                                    struct kt_http_answer *answer)
{
    if (strcmp(server, "two") == 0)
        answer_with_code(server, request, answer);
}

static void a_refusal_behind_a_lost_answer_leaves_it_in_doubt(void **state)
{
    static const int codes[] = {KT_ERR_CERTIFICATE_REVOKED, KT_ERR_NOT_GRANTED,
                                KT_ERR_REQUEST_TIMEOUT, KT_ERR_TOO_MANY_REQUESTS,
                                KT_ERR_RECOVERY_MISSING};
    static const int count = sizeof codes / sizeof codes[0];

    (void)state;
    client->timeout_ms = 2000;
    fake.network = lose_answer_of_one;
    fake.meddle = answer_with_code_at_two;
    for (int i = 0; i < count; i++) {
        char handle[16];
        snprintf(handle, sizeof handle, "h%d", i);
        answer_code = codes[i];
        client->servers.active = 0;
        assert_int_equal(put(handle, "s"), KEYTRUSTEE_IN_DOUBT);
        assert_int_equal(pending_count(), i + 1);
    }
    answer_code = KT_ERR_HANDLE_TAKEN; // holds for the first server too
    client->servers.active = 0;
    assert_int_equal(put("taken", "s"), KEYTRUSTEE_REFUSED);
    assert_int_equal(pending_count(), count);
}

static void a_stored_deposit_without_kept_receipt_is_in_doubt(void **state)
{
    (void)state;
    assert_int_equal(rmdir(fake_path("receipts/latest")), 0);
    assert_int_equal(kt_file_replace(fake_path("receipts/latest"), "x", 1, 0600, NULL), 0);
    assert_int_equal(put("h", "s"), KEYTRUSTEE_IN_DOUBT);
    assert_non_null(strstr(error.message, "receipts/latest"));
    assert_int_equal(pending_count(), 1);
    assert_int_equal(unlink(fake_path("receipts/latest")), 0);
    assert_int_equal(mkdir(fake_path("receipts/latest"), 0700), 0);
    must_work(keytrustee_resume(client, NULL, NULL, &error), &error);
    assert_int_equal(fake.deposit_count, 1);
    assert_int_equal(pending_count(), 0);
}

static void answer_unreadable(const char *server, const struct kt_http_request *request,
                              struct kt_http_answer *answer)
{
    (void)server, (void)request;
    fake_body(answer, 201, "<html>", 6);
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

static void an_answer_that_breaks_the_protocol_leaves_it_in_doubt(void **state)
{
    (void)state;
    client->timeout_ms = 2000;
    fake.meddle = answer_unreadable;
    assert_int_equal(put("h1", "s"), KEYTRUSTEE_IN_DOUBT);
    fake.meddle = drop_header;
    dropped_header = "KT-Epoch";
    assert_int_equal(put("h2", "s"), KEYTRUSTEE_IN_DOUBT);
    assert_non_null(strstr(error.message, "KT-Epoch"));
    dropped_header = "KT-Incarnation";
    assert_int_equal(put("h3", "s"), KEYTRUSTEE_IN_DOUBT);
    assert_int_equal(pending_count(), 3);
}

static int self_is_down(const char *server, const struct kt_http_request *request, int *sent)
{
    (void)server;
    *sent = 0;
    return strcmp(request->path, "/v1/clients/self") == 0 ? KT_ERR_NETWORK : 0;
}

static void a_new_receipt_key_that_cannot_be_fetched_leaves_it_in_doubt(void **state)
{
    (void)state;
    fake_make_receipt_key();
    fake.network = self_is_down;
    assert_int_equal(put("h", "s"), KEYTRUSTEE_IN_DOUBT);
    assert_int_equal(pending_count(), 1);
    assert_int_equal(keytrustee_info(client, "h", 0, &deposit, &error), KEYTRUSTEE_UNAVAILABLE);
    fake.network = NULL;
    must_work(keytrustee_resume(client, NULL, NULL, &error), &error);
    assert_int_equal(fake.deposit_count, 1);
}

static int put_named(const char *id, const char *text)
{
    return keytrustee_put(client, "h", text, strlen(text), id, &deposit, &error);
}

static void another_secret_under_a_used_id_is_refused(void **state)
{
    static const char id[] = "6fa459ea-ee8a-4ca4-894e-db77e160355e";
    static const char check[] = "receipts/6fa459ea-ee8a-4ca4-894e-db77e160355e.check";

    (void)state;
    must_work(put_named(id, "one"), &error);
    must_work(put_named(id, "one"), &error);
    assert_int_equal(put_named(id, "two"), KEYTRUSTEE_FAILURE);
    assert_string_equal(error.name, "deposit_id_conflict");
    assert_int_equal(kt_file_replace(fake_path(check), "x", 1, 0600, NULL), 0);
    assert_int_equal(put_named(id, "one"), KEYTRUSTEE_FAILURE);
    assert_int_equal(unlink(fake_path(check)), 0); // of an earlier version of the client
    must_work(put_named(id, "two"), &error);
    assert_int_equal(fake.deposit_count, 1);
}

static void a_refused_deposit_leaves_no_hash_of_its_secret(void **state)
{
    static const char id[] = "6fa459ea-ee8a-4ca4-894e-db77e160355e";

    (void)state;
    fake.meddle = answer_with_code;
    answer_code = KT_ERR_NOT_GRANTED;
    assert_int_equal(put_named(id, "one"), KEYTRUSTEE_REFUSED);
    assert_false(kt_file_exists(fake_path("receipts/6fa459ea-ee8a-4ca4-894e-db77e160355e.check")));
}

static void what_another_process_sends_is_left_to_it(void **state)
{
    struct kt_uuid id;
    size_t count = 0;
    int resumed = 0, fd = -1, second = -1;

    (void)state;
    client->timeout_ms = 2000;
    fake.network = lose_every_answer;
    assert_int_equal(put("h", "s"), KEYTRUSTEE_IN_DOUBT);
    fake.network = NULL;
    assert_int_equal(ktc_pending_list(client, &id, 1, &count, NULL), 0);
    assert_int_equal(ktc_pending_lock(client, &id, &fd, NULL), 0);
    assert_int_equal(ktc_pending_lock(client, &id, &second, NULL), KT_ERR_BUSY);
    must_work(keytrustee_resume(client, count_deposits, &resumed, &error), &error);
    assert_int_equal(resumed, 0);
    assert_int_equal(pending_count(), 1);
    close(fd);
    must_work(keytrustee_resume(client, count_deposits, &resumed, &error), &error);
    assert_int_equal(resumed, 1);
    assert_int_equal(ktc_pending_lock(client, &id, &fd, NULL), KT_ERR_NOT_FOUND);
}

static int locked_while_sent;

static int look_at_lock(const char *server, const struct kt_http_request *request, int *sent)
{
    struct kt_uuid id;
    int fd = -1;

    (void)server, (void)sent;
    if (strcmp(request->method, "PUT") == 0 &&
        kt_uuid_parse(fake_request_header(request, "KT-Deposit-Id"), &id) == 0)
        locked_while_sent = ktc_pending_lock(client, &id, &fd, NULL) == KT_ERR_BUSY;
    return 0;
}

static void a_deposit_is_locked_while_it_is_sent(void **state)
{
    (void)state;
    fake.network = look_at_lock;
    must_work(put("h", "s"), &error);
    assert_int_equal(locked_while_sent, 1);
}

static void no_quorum_means_that_nothing_was_stored(void **state)
{
    (void)state;
    client->timeout_ms = 2000;
    fake.meddle = answer_with_code;
    answer_code = KT_ERR_NO_QUORUM;
    assert_int_equal(put("h", "s"), KEYTRUSTEE_UNAVAILABLE);
    assert_int_equal(pending_count(), 0);
}

// --- receipts that lie ---

static void (*spoil)(struct kt_receipt *receipt);
static EVP_PKEY *spoil_key;

static void answer_spoilt(const char *server, const struct kt_http_request *request,
                          struct kt_http_answer *answer)
{
    struct kt_receipt receipt;
    char text[KT_RECEIPT_TEXT];
    json_t *object = NULL;

    (void)server, (void)request;
    if (strcmp(request->method, "PUT") != 0)
        return;
    assert_int_equal(
        kt_json_parse_object(kt_buf_ptr(&answer->body), kt_buf_left(&answer->body), &object, NULL),
        0);
    const char *old = json_string_value(json_object_get(object, "receipt"));
    assert_int_equal(kt_receipt_parse(old, strlen(old), &receipt), 0);
    if (spoil != NULL)
        spoil(&receipt);
    if (spoil_key != NULL)
        assert_int_equal(kt_receipt_sign(&receipt, receipt.w, spoil_key), 0);
    kt_receipt_format(&receipt, text);
    json_object_set_new(object, "receipt", json_string(text));
    fake_json(answer, 201, object);
}

static void spoil_handle(struct kt_receipt *receipt)
{
    receipt->leaf.handle_hash[0] ^= 1;
}
static void spoil_hash(struct kt_receipt *receipt)
{
    receipt->leaf.sha256[31] ^= 1;
}
static void spoil_size(struct kt_receipt *receipt)
{
    receipt->leaf.size++;
}
static void spoil_id(struct kt_receipt *receipt)
{
    receipt->leaf.deposit_id.bytes[3] ^= 1;
}
static void spoil_client(struct kt_receipt *receipt)
{
    receipt->leaf.client_id.bytes[3] ^= 1;
}
static void spoil_w(struct kt_receipt *receipt)
{
    receipt->w = 3;
}

static void a_receipt_for_something_else_is_refused(void **state)
{
    void (*const fields[])(struct kt_receipt *) = {spoil_handle, spoil_hash, spoil_size, spoil_id,
                                                   spoil_client};

    (void)state;
    fake.meddle = answer_spoilt;
    spoil_key = fake.receipt_key; // rightly signed, so that only the field is wrong
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        char handle[8];
        snprintf(handle, sizeof handle, "h%zu", i);
        spoil = fields[i];
        assert_int_equal(put(handle, "s"), KEYTRUSTEE_INTEGRITY);
        assert_int_equal(pending_count(), i + 1);
    }
}

static void a_receipt_changed_after_signing_is_refused(void **state)
{
    (void)state;
    fake.meddle = answer_spoilt;
    spoil = spoil_w;
    spoil_key = NULL;
    assert_int_equal(put("h", "s"), KEYTRUSTEE_INTEGRITY);
}

static void a_receipt_by_an_uncertified_key_is_refused(void **state)
{
    EVP_PKEY *key = NULL;

    (void)state;
    assert_int_equal(kt_pki_new_ed25519(&key), 0);
    fake.meddle = answer_spoilt;
    spoil = NULL;
    spoil_key = key;
    assert_int_equal(put("h", "s"), KEYTRUSTEE_INTEGRITY);
    EVP_PKEY_free(key);
}

static void a_new_receipt_key_is_fetched_and_verified(void **state)
{
    (void)state;
    fake_make_receipt_key();
    must_work(put("h", "s"), &error);
    assert_int_equal(deposit.receipt, 1);
}

static void a_new_receipt_key_that_a_node_lacks_is_asked_of_the_active(void **state)
{
    (void)state;
    fake.keys_before = fake_receipt_keys();
    fake_make_receipt_key();
    must_work(put("h", "s"), &error);
    assert_int_equal(deposit.receipt, 1);
}

static void a_receipt_key_of_another_role_is_refused(void **state)
{
    // A client could have its own Ed25519 key certified by the CA, as a client.
    struct kt_pki_subject subject = {
        .role = KT_PKI_CLIENT, .common_name = "evil", .organisation = "org", .lifetime_s = 86400};

    (void)state;
    fake_make_receipt_key();
    X509_free(fake.receipt_cert);
    fake.receipt_cert = NULL;
    assert_int_equal(
        kt_pki_sign(fake.ca_key, fake.ca, fake.receipt_key, &subject, &fake.receipt_cert), 0);
    assert_int_equal(put("h", "s"), KEYTRUSTEE_INTEGRITY);
}

static void a_given_deposit_id_is_stored_once(void **state)
{
    static const char id[] = "6fa459ea-ee8a-4ca4-894e-db77e160355e";

    (void)state;
    must_work(keytrustee_put(client, "h", "s", 1, id, &deposit, &error), &error);
    must_work(keytrustee_put(client, "h", "s", 1, id, &deposit, &error), &error);
    assert_int_equal(deposit.version, 1);
    assert_string_equal(deposit.id, id);
    assert_int_equal(fake.deposit_count, 1);
    assert_int_equal(keytrustee_put(client, "other", "s", 1, id, &deposit, &error),
                     KEYTRUSTEE_FAILURE);
    assert_string_equal(error.name, "deposit_id_conflict");
}

static int server_one_is_down(const char *server, const struct kt_http_request *request, int *sent)
{
    (void)request;
    *sent = 0;
    return strcmp(server, "one") == 0 ? KT_ERR_NETWORK : 0;
}

static void the_next_server_takes_the_deposit(void **state)
{
    (void)state;
    fake.network = server_one_is_down;
    must_work(put("h", "s"), &error);
    assert_int_equal(fake.requests, 2);
}

static void one_is_passive(const char *server, const struct kt_http_request *request,
                           struct kt_http_answer *answer)
{
    (void)request;
    if (strcmp(server, "one") == 0)
        fake_error(answer, KT_ERR_PASSIVE);
}

static void a_passive_is_passed_over(void **state)
{
    (void)state;
    fake.meddle = one_is_passive;
    must_work(put("h", "s"), &error);
    assert_int_equal(fake.requests, 2);
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, fake_registered, fake_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_deposit_is_acknowledged_with_a_kept_receipt),
        CASE(the_server_never_sees_the_secret),
        CASE(wrong_arguments_are_refused_before_anything_is_sent),
        cmocka_unit_test_setup_teardown(an_unregistered_client_is_refused, fake_setup,
                                        fake_teardown),
        CASE(a_lost_answer_is_asked_for_again_and_stored_once),
        CASE(a_deposit_in_doubt_is_kept_and_resumed),
        CASE(a_deposit_that_was_never_sent_is_not_kept),
        CASE(the_next_deposit_settles_one_in_doubt_first),
        CASE(a_deposit_in_doubt_survives_tries_that_reach_nobody),
        CASE(a_refusal_settles_a_resumed_deposit_only_for_its_content),
        CASE(a_damaged_pending_file_stops_no_other_deposit),
        CASE(a_refusal_is_passed_on_and_nothing_is_kept),
        CASE(what_may_be_good_later_keeps_the_ciphertext_of_a_deposit_in_doubt),
        CASE(in_doubt_is_tried_until_the_deadline),
        CASE(no_quorum_means_that_nothing_was_stored),
        CASE(a_refusal_behind_a_lost_answer_leaves_it_in_doubt),
        CASE(a_stored_deposit_without_kept_receipt_is_in_doubt),
        CASE(an_answer_that_breaks_the_protocol_leaves_it_in_doubt),
        CASE(a_new_receipt_key_that_cannot_be_fetched_leaves_it_in_doubt),
        CASE(another_secret_under_a_used_id_is_refused),
        CASE(a_refused_deposit_leaves_no_hash_of_its_secret),
        CASE(what_another_process_sends_is_left_to_it),
        CASE(a_deposit_is_locked_while_it_is_sent),
        CASE(a_receipt_for_something_else_is_refused),
        CASE(a_receipt_changed_after_signing_is_refused),
        CASE(a_receipt_by_an_uncertified_key_is_refused),
        CASE(a_new_receipt_key_is_fetched_and_verified),
        CASE(a_new_receipt_key_that_a_node_lacks_is_asked_of_the_active),
        CASE(a_receipt_key_of_another_role_is_refused),
        CASE(a_given_deposit_id_is_stored_once),
        CASE(the_next_server_takes_the_deposit),
        CASE(a_passive_is_passed_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
