// SPDX-License-Identifier: Apache-2.0
// A cluster of scripted nodes for the walker: each keeps a promise, rows and an end of log, and
// answers the verbs of failover as an agent would, unless a case says otherwise.
#ifndef FAKE_NODES_H
#define FAKE_NODES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <pthread.h>

#include <cmocka.h>

#include "ktadmin/failover.h"

#define FAKES_MAX 4
static const struct kt_incarnation FAKE_INCARNATION = {.number = 1, .bits = 0x1234};

struct fake {
    char member[KT_MEMBER_TEXT];
    const char *role;
    struct kt_promise promise;
    struct kt_epoch_rows rows;
    uint64_t lsn;
    int is_down;
    // what the case wants of it
    const char *fails; // a verb
    int fails_with, fail_count;
    const char *reports_as;   // another member id in its report
    int streams;              // when it follows
    uint64_t meets_epoch;     // when sealed it has meanwhile promised this ...
    const char *meets_active; // ... to that node
    int is_stopped;           // the first half of its seal is done
};

struct fakes {
    struct fake list[FAKES_MAX];
    size_t count;
    pthread_mutex_t lock;
    char log[4096]; // "kts-01:node.seal 2 ..." in the order of the calls
    struct kt_epoch_row promoted, established;
    int is_promoted, is_established, no_quorum;
};

static const char *fake_id(int number)
{
    static const char *const IDS[] = {"kts-01.00000001", "kts-02.00000002", "kts-03.00000003",
                                      "kts-04.00000004"};

    return IDS[number];
}

static inline struct fake *fake_of(struct fakes *fakes, const char *member)
{
    for (size_t i = 0; i < fakes->count; i++)
        if (strcmp(fakes->list[i].member, member) == 0)
            return &fakes->list[i];
    fail_msg("no node %s", member);
    return NULL;
}

static json_t *fake_promise(const struct fake *fake)
{
    char incarnation[KT_INCARNATION_TEXT], floor[KT_LSN_TEXT];

    kt_incarnation_format(&fake->promise.incarnation, incarnation);
    kt_lsn_format(fake->promise.floor_lsn, floor);
    return json_pack("{s:s, s:I, s:s, s:s, s:I, s:s}", "incarnation", incarnation, "epoch",
                     (json_int_t)fake->promise.epoch, "active", fake->promise.active, "floor",
                     floor, "active_since", (json_int_t)fake->promise.active_since, "retired_by",
                     fake->promise.retired_by);
}

static json_t *fake_state(const struct fake *fake)
{
    const struct kt_epoch_row *row = kt_epoch_rows_newest(&fake->rows);

    return json_pack("{s:s, s:s, s:s, s:o, s:o*}", "member", fake->member, "cluster",
                     "0e37df36-f698-41e6-88dd-2c1f2e5c2f5b", "role", fake->role, "promise",
                     fake_promise(fake), "row", row ? kt_epoch_row_to_json(row) : NULL);
}

static json_t *fake_report(const struct fake *fake)
{
    struct kt_report report = {.incarnation = fake->promise.incarnation,
                               .epoch = fake->promise.epoch,
                               .lsn = fake->lsn,
                               .floor = fake->promise.floor_lsn,
                               .active_since = fake->promise.active_since,
                               .rows = fake->rows};

    snprintf(report.member, sizeof(report.member), "%s",
             fake->reports_as ? fake->reports_as : fake->member);
    memcpy(report.active, fake->promise.active, sizeof(report.active));
    return kt_report_to_json(&report);
}

static json_t *fake_rows(const struct fake *fake)
{
    char lsn[KT_LSN_TEXT];

    kt_lsn_format(fake->lsn, lsn);
    return json_pack("{s:s, s:o}", "lsn", lsn, "rows", kt_epoch_rows_to_json(&fake->rows));
}

static int fake_seal(struct fake *fake, const json_t *args, json_t **result, struct kt_error *error)
{
    uint64_t epoch = (uint64_t)json_integer_value(json_object_get(args, "epoch"));
    const char *target = json_string_value(json_object_get(args, "target"));

    if (fake->meets_epoch) {
        fake->promise.epoch = fake->meets_epoch;
        snprintf(fake->promise.active, sizeof(fake->promise.active), "%s", fake->meets_active);
        fake->meets_epoch = 0;
    }
    if (fake->promise.retired_by[0])
        return kt_error_set(error, KT_ERR_RETIRED, NULL, "retired");
    if (fake->is_stopped && fake->promise.epoch == epoch) {
        fake->is_stopped = 0;
        *result = fake_report(fake);
        return 0;
    }
    if (fake->promise.epoch >= epoch)
        return kt_error_set(error, KT_ERR_FENCED, NULL, "promised %llu",
                            (unsigned long long)fake->promise.epoch);
    fake->promise.epoch = epoch;
    snprintf(fake->promise.active, sizeof(fake->promise.active), "%s", target);
    fake->is_stopped = json_is_true(json_object_get(args, "stop"));
    *result = fake->is_stopped ? json_pack("{s:b}", "stopped", 1) : fake_report(fake);
    return 0;
}

static int fake_catch_up(struct fakes *fakes, struct fake *fake, const json_t *args,
                         json_t **result)
{
    struct fake *donor = fake_of(fakes, json_string_value(json_object_get(args, "donor")));

    for (size_t i = fake->rows.count; i < donor->rows.count; i++)
        assert_int_equal(kt_epoch_rows_add(&fake->rows, &donor->rows.rows[i]), 0);
    fake->lsn = donor->lsn;
    *result = fake_report(fake);
    return 0;
}

static int fake_answer(struct fakes *fakes, struct fake *fake, const char *verb, const json_t *args,
                       json_t **result, struct kt_error *error)
{
    if (strcmp(verb, "node.state") == 0) {
        *result = fake_state(fake);
    } else if (strcmp(verb, "node.rows") == 0) {
        *result = fake_rows(fake);
    } else if (strcmp(verb, "node.seal") == 0) {
        return fake_seal(fake, args, result, error);
    } else if (strcmp(verb, "node.catch_up") == 0) {
        return fake_catch_up(fakes, fake, args, result);
    } else if (strcmp(verb, "node.promote") == 0) {
        fakes->is_promoted++;
        assert_int_equal(
            kt_epoch_row_from_json(json_object_get(args, "row"), &fakes->promoted, NULL), 0);
        *result = json_pack("{s:i, s:s}", "timeline", 2, "start_lsn", "0/3000000");
    } else if (strcmp(verb, "node.follow") == 0) {
        *result = json_pack("{s:b}", "streaming", fake->streams);
    } else if (strcmp(verb, "node.rejoin") == 0) {
        *result = json_object();
    } else if (strcmp(verb, "node.establish") == 0) {
        if (fakes->no_quorum)
            return kt_error_set(error, KT_ERR_NO_QUORUM, NULL, "nobody streams");
        fakes->is_established++;
        assert_int_equal(
            kt_epoch_row_from_json(json_object_get(args, "row"), &fakes->established, NULL), 0);
        *result = json_pack("{s:s}", "writer", "open");
    } else {
        fail_msg("unexpected verb %s", verb);
    }
    return 0;
}

static int fake_call(void *arg, struct kta_member *member, const char *verb, json_t *args,
                     int timeout_ms, json_t **result, struct kt_error *error)
{
    struct fakes *fakes = arg;
    struct fake *fake = fake_of(fakes, member->peer.member);
    int rc;

    (void)timeout_ms;
    pthread_mutex_lock(&fakes->lock);
    if (strcmp(verb, "node.state") != 0 && strcmp(verb, "node.rows") != 0)
        kta_append(fakes->log, sizeof(fakes->log), "%s:%s ", member->name, verb);
    if (fake->is_down) {
        rc = kt_error_set(error, KT_ERR_NETWORK, NULL, "no connection");
    } else if (fake->fails && strcmp(verb, fake->fails) == 0 && fake->fail_count != 0) {
        fake->fail_count--;
        rc = kt_error_set(error, fake->fails_with, NULL, "scripted");
    } else {
        rc = fake_answer(fakes, fake, verb, args, result, error);
    }
    pthread_mutex_unlock(&fakes->lock);
    json_decref(args);
    return rc;
}

// `count` nodes in epoch 1 of the first, which is the active with the others as members and W = w.
static inline void fakes_make(struct fakes *fakes, struct kta_nodes *nodes, size_t count,
                              uint32_t w)
{
    struct kt_epoch_row row = {
        .incarnation = FAKE_INCARNATION, .epoch = 1, .sequence = 1, .w = w, .timeline = 1};

    memset(fakes, 0, sizeof(*fakes));
    memset(nodes, 0, sizeof(*nodes));
    pthread_mutex_init(&fakes->lock, NULL);
    memcpy(row.active, fake_id(0), KT_MEMBER_TEXT / 2);
    for (size_t i = 1; i < count; i++)
        snprintf(row.members[row.count++], KT_MEMBER_TEXT, "%s", fake_id((int)i));
    fakes->count = count;
    nodes->call = fake_call;
    nodes->call_arg = fakes;
    for (size_t i = 0; i < count; i++) {
        struct fake *fake = &fakes->list[i];
        struct kt_peer peer = {.address = "127.0.0.1", .agent_port = (uint16_t)(1000 + i)};
        snprintf(fake->member, sizeof(fake->member), "%s", fake_id((int)i));
        fake->role = i == 0 ? "active" : "passive";
        fake->promise.incarnation = FAKE_INCARNATION;
        fake->promise.epoch = 1;
        fake->promise.active_since = i == 0;
        snprintf(fake->promise.active, sizeof(fake->promise.active), "kts-01");
        fake->lsn = 0x3000000;
        fake->streams = 1;
        fake->fail_count = -1;
        assert_int_equal(kt_epoch_rows_add(&fake->rows, &row), 0);
        memcpy(peer.member, fake->member, sizeof(peer.member));
        assert_int_equal(kta_nodes_add(nodes, &peer, NULL), (int)i);
    }
}

static inline void fakes_free(struct fakes *fakes, struct kta_nodes *nodes)
{
    kta_nodes_close(nodes);
    for (size_t i = 0; i < fakes->count; i++)
        kt_epoch_rows_free(&fakes->list[i].rows);
    pthread_mutex_destroy(&fakes->lock);
}

#endif
