// SPDX-License-Identifier: Apache-2.0
// The fake cluster's OpenPGP key, and what it signs when the cluster was restored from a backup.
// Include behind fake_cluster.h or fake_nodes.h.
#ifndef KTC_TEST_FAKE_STATEMENT_H
#define KTC_TEST_FAKE_STATEMENT_H

#include "lib/statement.h"

static char fake_keys[64]; // the home of the key
static char fake_incarnations_text[4 * KT_STATEMENT_MAX];

// Before registration, once a program: the clients are given its fingerprint.
static int fake_key_make(void **state)
{
    struct kt_gpg *gpg = NULL;

    (void)state;
    strcpy(fake_keys, "/tmp/kt-keys-XXXXXX");
    assert_non_null(mkdtemp(fake_keys));
    assert_int_equal(kt_gpg_new(fake_keys, &gpg, NULL), 0);
    assert_int_equal(kt_gpg_generate(gpg, KT_GPG_CLIENT, "cluster", fake_fingerprint, NULL), 0);
    kt_gpg_free(gpg);
    return 0;
}

static int fake_key_remove(void **state)
{
    (void)state;
    nftw(fake_keys, fake_remove_one, 16, FTW_DEPTH | FTW_PHYS); // an agent may be leaving it yet
    return 0;
}

static uint8_t fake_root[KT_SHA256_LEN]; // what statements say of the log that survived

static struct kt_statement fake_statement(const char *incarnation, const char *previous,
                                          uint64_t log_index)
{
    struct kt_statement statement = {.epoch = 1,
                                     .previous_epoch = 1,
                                     .log_index = log_index,
                                     .number = 1,
                                     .time_us = kt_time_now()};

    memcpy(statement.root, fake_root, sizeof statement.root);
    assert_int_equal(kt_uuid_parse(FAKE_CLUSTER_ID, &statement.cluster_id), 0);
    assert_int_equal(kt_incarnation_parse(incarnation, &statement.incarnation), 0);
    assert_int_equal(kt_incarnation_parse(previous, &statement.previous), 0);
    return statement;
}

// Signs it with the cluster's key; the caller frees.
static char *fake_signed(const struct kt_statement *statement)
{
    struct kt_buf out = KT_BUF_INIT(KT_STATEMENT_MAX);
    struct kt_error error = {0};
    char *text = NULL;

    if (kt_statement_sign(fake_keys, fake_fingerprint, statement, &out, &error) != 0)
        fail_msg("%s", error.message);
    text = strndup((const char *)kt_buf_ptr(&out), kt_buf_left(&out));
    kt_buf_free(&out);
    return text;
}

// Nodes tell of the first incarnation, and of this one with that statement (NULL: null).
static void fake_show(const char *incarnation, const char *statement)
{
    json_t *first = json_pack("{s:s, s:s, s:n}", "incarnation", "1.00000000000000ab", "started_at",
                              "2026-11-22T06:11:43.123456Z", "statement");
    json_t *second = json_pack("{s:s, s:s, s:s?}", "incarnation", incarnation, "started_at",
                               "2026-11-23T06:11:43.123456Z", "statement", statement);
    json_t *object = json_pack("{s:[o, o]}", "incarnations", first, second);
    char *text = kt_json_text(object);

    assert_true(strlen(text) < sizeof fake_incarnations_text);
    strcpy(fake_incarnations_text, text);
    fake.incarnations = fake_incarnations_text;
    free(text);
    json_decref(object);
}

// The cluster is in `incarnation` from now on, restored from a backup of `previous`.
static __attribute__((unused)) void fake_restore(const char *incarnation, const char *previous,
                                                 uint64_t log_index)
{
    struct kt_statement statement = fake_statement(incarnation, previous, log_index);
    char *text = fake_signed(&statement);

    fake_show(incarnation, text);
    fake.incarnation = incarnation;
    free(text);
}

#endif
