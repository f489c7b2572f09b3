// SPDX-License-Identifier: Apache-2.0
// Changes and outcomes survive the way between two processes; damaged ones are refused.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "lib/change.h"

static void fill(struct kt_change *c)
{
    static uint8_t body[] = {1, 2, 3}, csr[] = "csr", key[] = {9, 8};
    static char contacts[] = "a@example.org";

    memset(c, 0, sizeof(*c));
    c->kind = KT_CHANGE_REGISTER;
    strcpy(c->request_id, "0123456789abcdef0123456789abcdef");
    strcpy(c->peer, "127.0.0.1:1");
    strcpy(c->actor, "root (uid 0)");
    strcpy(c->handle, "a/b");
    strcpy(c->content_type, "application/pgp-encrypted");
    strcpy(c->code_id, "abcdefgh");
    strcpy(c->name, "host-1");
    strcpy(c->fingerprint, "0123456789ABCDEF0123456789ABCDEF01234567");
    strcpy(c->rights, "deposit");
    strcpy(c->object, "own");
    c->deposit_id.bytes[3] = 7;
    c->version = 9;
    c->sha256[31] = 1;
    c->body = body;
    c->body_len = sizeof(body);
    c->csr = csr;
    c->csr_len = 3;
    c->openpgp = key;
    c->openpgp_len = sizeof(key);
    c->contacts = contacts;
    c->max_uses = 4;
    c->lifetime_s = 86400;
    c->undo = 1;
    strcpy(c->lock_mode, "governance");
    c->lock_until_us = 1800000000000000;
    c->hold = 2;
    c->bypass = 1;
    strcpy(c->justification, "incident 17");
    c->policy.max_retrievals = 3;
    c->policy.votes = 1;
    c->policy.trustee_count = 2;
    c->policy.trustees[1].bytes[15] = 6;
    c->recipient_count = 2;
    c->recipients[1] = 0x0123456789abcdef;
    strcpy(c->lock_default, "none");
    c->purge_delay_s = -1;
}

static void change_comes_back_as_it_was(void **state)
{
    struct kt_buf buf = KT_BUF_INIT(1 << 20);
    struct kt_change in, out;

    (void)state;
    fill(&in);
    assert_int_equal(kt_change_encode(&in, &buf), 0);
    assert_int_equal(kt_change_decode(&buf, &out), 0);
    assert_int_equal(out.kind, KT_CHANGE_REGISTER);
    assert_string_equal(out.request_id, in.request_id);
    assert_string_equal(out.handle, "a/b");
    assert_string_equal(out.name, "host-1");
    assert_string_equal(out.contacts, "a@example.org");
    assert_int_equal(out.body_len, 3);
    assert_memory_equal(out.body, in.body, 3);
    assert_string_equal((char *)out.csr, "csr");
    assert_int_equal(out.version, 9);
    assert_int_equal(out.lifetime_s, 86400);
    assert_int_equal(out.undo, 1);
    assert_string_equal(out.lock_mode, "governance");
    assert_int_equal(out.lock_until_us, 1800000000000000);
    assert_int_equal(out.hold, 2);
    assert_int_equal(out.bypass, 1);
    assert_string_equal(out.justification, "incident 17");
    assert_int_equal(out.policy.max_retrievals, 3);
    assert_int_equal(out.policy.trustees[1].bytes[15], 6);
    assert_int_equal(out.recipient_count, 2);
    assert_true(out.recipients[1] == 0x0123456789abcdef);
    assert_string_equal(out.lock_default, "none");
    assert_int_equal(out.purge_delay_s, -1);
    kt_change_free(&out);
    kt_buf_free(&buf);
}

static void truncated_change_is_refused_at_every_length(void **state)
{
    struct kt_buf whole = KT_BUF_INIT(1 << 20);
    struct kt_change in, out;

    (void)state;
    fill(&in);
    assert_int_equal(kt_change_encode(&in, &whole), 0);
    for (size_t n = 0; n < kt_buf_left(&whole); n++) {
        struct kt_buf part = {whole.data, n, n, 0, n};

        assert_int_equal(kt_change_decode(&part, &out), KT_ERR_PROTOCOL);
    }
    kt_buf_free(&whole);
}

static void change_with_bytes_behind_it_is_refused(void **state)
{
    struct kt_buf buf = KT_BUF_INIT(1 << 20);
    struct kt_change in, out;

    (void)state;
    fill(&in);
    assert_int_equal(kt_change_encode(&in, &buf), 0);
    assert_int_equal(kt_buf_put_u8(&buf, 0), 0);
    assert_int_equal(kt_change_decode(&buf, &out), KT_ERR_PROTOCOL);
    kt_buf_free(&buf);
}

static void change_of_unknown_kind_is_refused(void **state)
{
    struct kt_buf buf = KT_BUF_INIT(1 << 20);
    struct kt_change in, out;

    (void)state;
    fill(&in);
    assert_int_equal(kt_change_encode(&in, &buf), 0);
    buf.data[0] = KT_CHANGE_KIND_COUNT;
    assert_int_equal(kt_change_decode(&buf, &out), KT_ERR_PROTOCOL);
    kt_buf_free(&buf);
}

static void outcome_comes_back_as_it_was(void **state)
{
    struct kt_buf buf = KT_BUF_INIT(1 << 20);
    struct kt_outcome in = {.code = KT_ERR_HANDLE_TAKEN, .count = 3, .repeated = 1}, out;
    char text[] = "{}";

    (void)state;
    strcpy(in.message, "why");
    in.text = text;
    in.receipt.leaf.log_index = 5;
    in.receipt.leaf.epoch = 1;
    in.receipt.leaf.version = 1;
    in.receipt.leaf.size = 1;
    in.receipt.leaf.incarnation.number = 1;
    in.receipt.leaf.deposit_id.bytes[0] = 1;
    in.receipt.leaf.client_id.bytes[0] = 1;
    in.receipt.leaf.time_us = 1700000000000000;
    assert_int_equal(kt_outcome_encode(&in, &buf), 0);
    assert_int_equal(kt_outcome_decode(&buf, &out), 0);
    assert_int_equal(out.code, KT_ERR_HANDLE_TAKEN);
    assert_string_equal(out.message, "why");
    assert_string_equal(out.text, "{}");
    assert_int_equal(out.receipt.leaf.log_index, 5);
    assert_int_equal(out.count, 3);
    kt_outcome_free(&out);
    kt_buf_free(&buf);
}

static void only_what_clients_do_comes_from_clients(void **state)
{
    (void)state;
    assert_int_equal(kt_change_origin(KT_CHANGE_BARRIER), KT_FROM_ANY);
    assert_int_equal(kt_change_origin(KT_CHANGE_DEPOSIT), KT_FROM_CLIENT);
    assert_int_equal(kt_change_origin(KT_CHANGE_VOTE), KT_FROM_CLIENT);
    assert_int_equal(kt_change_origin(KT_CHANGE_GRANT), KT_FROM_OPERATOR);
    assert_int_equal(kt_change_origin(KT_CHANGE_OPERATOR_ADD), KT_FROM_OPERATOR);
    assert_int_equal(kt_change_origin(KT_CHANGE_CLOCK_CONFIRM), KT_FROM_OPERATOR);
    assert_int_equal(kt_change_origin(KT_CHANGE_TICK), KT_FROM_WRITER);
}

static void every_kind_has_an_audit_event(void **state)
{
    (void)state;
    for (int i = 0; i < KT_CHANGE_KIND_COUNT; i++) {
        assert_non_null(kt_change_event((enum kt_change_kind)i));
        assert_string_not_equal(kt_change_event((enum kt_change_kind)i), "unknown");
    }
    assert_string_equal(kt_change_event((enum kt_change_kind)99), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(change_comes_back_as_it_was),
        cmocka_unit_test(truncated_change_is_refused_at_every_length),
        cmocka_unit_test(change_with_bytes_behind_it_is_refused),
        cmocka_unit_test(change_of_unknown_kind_is_refused),
        cmocka_unit_test(outcome_comes_back_as_it_was),
        cmocka_unit_test(only_what_clients_do_comes_from_clients),
        cmocka_unit_test(every_kind_has_an_audit_event),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
