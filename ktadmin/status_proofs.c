// SPDX-License-Identifier: Apache-2.0
// status: who could be promoted, and with whose help, by the rules that failover itself goes by.
#include <stdlib.h>
#include <string.h>

#include "ktadmin/failover.h"
#include "ktadmin/status.h"
#include "lib/rules.h"

#define ROWS_MS     3000
#define HELPERS_MAX 6 // others whose sets are tried

struct proofs {
    struct kta_nodes *nodes;
    struct kt_report reports[KT_PEERS_MAX]; // as if each were sealed now
    size_t node[KT_PEERS_MAX];              // whose they are
    size_t count;
};

// What a node would report if it were sealed.
static int take_rows(struct proofs *proofs, size_t node, const json_t *answer)
{
    struct kt_report *report = &proofs->reports[proofs->count];
    const struct kta_member *member = &proofs->nodes->list[node];
    const char *lsn = json_string_value(json_object_get(answer, "lsn"));
    struct kt_promise promise;
    int rc = kta_state_promise(member, &promise);

    memset(report, 0, sizeof(*report));
    if (rc == 0)
        rc = lsn ? kt_lsn_parse(lsn, &report->lsn) : KT_ERR_PROTOCOL;
    if (rc == 0)
        rc = kt_epoch_rows_from_json(json_object_get(answer, "rows"), &report->rows, NULL);
    if (rc)
        return rc;
    memcpy(report->member, member->peer.member, sizeof(report->member));
    memcpy(report->retired_by, promise.retired_by, sizeof(report->retired_by));
    report->incarnation = promise.incarnation;
    report->floor = promise.floor_lsn;
    report->active_since = promise.active_since;
    report->epoch = promise.epoch;
    proofs->node[proofs->count++] = node;
    return 0;
}

static void ask_rows(struct proofs *proofs)
{
    struct kta_answer answers[KT_PEERS_MAX] = {{0}};
    size_t count = 0;

    for (size_t i = 0; i < proofs->nodes->count; i++)
        if (proofs->nodes->list[i].state)
            answers[count++].node = i;
    kta_nodes_ask(proofs->nodes, "node.rows", NULL, ROWS_MS, answers, count);
    for (size_t i = 0; i < count; i++)
        if (answers[i].rc == 0)
            (void)!take_rows(proofs, answers[i].node, answers[i].result);
    kta_answers_free(answers, count);
}

// One attempt with T and the helpers in `mask`. The reports are copies that borrow their rows.
static int try_set(const struct proofs *proofs, size_t target, const size_t *helpers, unsigned mask,
                   struct kt_error *error)
{
    struct kt_report set[HELPERS_MAX + 1];
    struct kt_attempt attempt = {.reports = set, .count = 1};
    const struct kt_report *donor;
    struct kt_epoch_row row;
    uint64_t epoch = 0;
    int rc;

    set[0] = proofs->reports[target];
    for (unsigned i = 0; i < HELPERS_MAX && mask >> i; i++)
        if (mask >> i & 1)
            set[attempt.count++] = proofs->reports[helpers[i]];
    for (size_t i = 0; i < proofs->count; i++)
        epoch = proofs->reports[i].epoch > epoch ? proofs->reports[i].epoch : epoch;
    for (size_t i = 0; i < attempt.count; i++) {
        set[i].epoch = epoch + 1;
        snprintf(set[i].active, sizeof(set[i].active), "%s",
                 proofs->nodes->list[proofs->node[target]].name);
    }
    memcpy(attempt.target, set[0].member, sizeof(attempt.target));
    donor = kt_rule_donor(&attempt);
    if (donor) { // T would have copied from it first
        set[0].rows = donor->rows;
        set[0].lsn = donor->lsn;
    }
    rc = kt_rule_prove(&attempt, NULL, error);
    if (rc == 0)
        rc = kt_rule_default_list(&attempt, &row, error);
    return rc ? rc : kt_rule_list_allowed(&attempt, &row, error);
}

int kta_forecast(struct kta_nodes *nodes, size_t target, struct kt_error *error)
{
    struct proofs *proofs = calloc(1, sizeof(*proofs));
    size_t helpers[HELPERS_MAX], count = 0, at = KT_PEERS_MAX;
    int rc = 0;

    if (!proofs)
        return kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    proofs->nodes = nodes;
    ask_rows(proofs);
    for (size_t i = 0; i < proofs->count; i++) {
        if (proofs->node[i] == target)
            at = i;
        else if (count < HELPERS_MAX)
            helpers[count++] = i;
    }
    if (at < KT_PEERS_MAX)
        rc = try_set(proofs, at, helpers, (1u << count) - 1, error);
    for (size_t i = 0; i < proofs->count; i++)
        kt_report_free(&proofs->reports[i]);
    free(proofs);
    return rc;
}

static int bits(unsigned mask)
{
    int n = 0;

    for (; mask; mask &= mask - 1)
        n++;
    return n;
}

static json_t *names_of(const struct proofs *proofs, const size_t *helpers, unsigned mask)
{
    json_t *names = json_array();

    for (unsigned i = 0; i < HELPERS_MAX; i++)
        if (mask >> i & 1)
            json_array_append_new(names,
                                  json_string(proofs->nodes->list[proofs->node[helpers[i]]].name));
    return names;
}

// The smallest sets that prove T.
static json_t *proofs_of(const struct proofs *proofs, size_t target)
{
    size_t helpers[HELPERS_MAX], count = 0;
    struct kt_error why = {0};
    json_t *with = json_array(), *one;
    int best = HELPERS_MAX + 1;

    for (size_t i = 0; i < proofs->count && count < HELPERS_MAX; i++)
        if (i != target)
            helpers[count++] = i;
    for (int size = 0; size <= (int)count && best > HELPERS_MAX; size++)
        for (unsigned mask = 0; mask < 1u << count; mask++) {
            if (bits(mask) != size || try_set(proofs, target, helpers, mask, &why) != 0)
                continue;
            best = size;
            json_array_append_new(with, names_of(proofs, helpers, mask));
        }
    one = json_pack("{s:s, s:O}", "node", proofs->nodes->list[proofs->node[target]].name, "with",
                    with);
    if (one && json_array_size(with) == 0)
        json_object_set_new(one, "why", json_string(why.message));
    json_decref(with);
    return one;
}

json_t *kta_status_proofs(struct kta_nodes *nodes)
{
    struct proofs *proofs = calloc(1, sizeof(*proofs));
    json_t *list = json_array();

    if (!proofs)
        return list;
    proofs->nodes = nodes;
    ask_rows(proofs);
    for (size_t i = 0; i < proofs->count; i++)
        json_array_append_new(list, proofs_of(proofs, i));
    for (size_t i = 0; i < proofs->count; i++)
        kt_report_free(&proofs->reports[i]);
    free(proofs);
    return list;
}

static void print_set(const json_t *set)
{
    json_t *name;
    size_t i;

    if (json_array_size(set) == 0)
        printf("alone");
    json_array_foreach(set, i, name)
        printf("%s%s", i == 0 ? "with " : " and ", json_string_value(name));
}

void kta_status_print_proofs(const json_t *proofs)
{
    json_t *one, *set;
    size_t i, k;

    json_array_foreach(proofs, i, one)
    {
        const json_t *with = json_object_get(one, "with");
        const char *why = json_string_value(json_object_get(one, "why"));
        printf("  %-16s ", json_string_value(json_object_get(one, "node")));
        json_array_foreach(with, k, set)
        {
            printf("%s", k ? ", or " : "");
            print_set(set);
        }
        if (json_array_size(with) == 0)
            printf("not by the nodes that answer: %s", why ? why : "");
        printf("\n");
    }
}
