// SPDX-License-Identifier: Apache-2.0
// The log of deposits as this host has seen it: the last good head is kept, and a new one must
// continue it and cover every receipt.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/client.h"
#include "lib/json.h"
#include "lib/merkle.h"

#define WHAT_TO_DO                                                                                 \
    "report this to the operator with the files log-head and log-head.refused of the confdir, "    \
    "and "                                                                                         \
    "deposit elsewhere until it is explained"

// What a receipt says of its place in the log.
struct place {
    char id[KT_UUID_TEXT];
    struct kt_incarnation incarnation;
    uint64_t index;
    uint8_t leaf[KT_SHA256_LEN];
};

struct check {
    struct keytrustee *client;
    struct kt_buf places; // of struct place
    int unreadable;       // code of the first receipt that could not be read, with `unreadable_why`
    struct kt_error unreadable_why;
    char known_text[KT_TREE_HEAD_TEXT]; // "" = none
    char head_text[KT_TREE_HEAD_TEXT];
    struct kt_tree_head known, head; // size 0: an empty log
    struct ktc_line line;
    char server[KTC_SERVER_TEXT];
    keytrustee_log_fn each;
    void *arg;
    struct keytrustee_log log;
    uint64_t log_lost;    // deposits of the known head that a restored cluster does not have
    uint64_t lost, wrong; // receipts
};

static int same(const struct kt_incarnation *a, const struct kt_incarnation *b)
{
    return a->number == b->number && a->bits == b->bits;
}

// --- what this host has ---

static int add_place(void *arg, const char *text, size_t len)
{
    struct check *check = arg;
    struct kt_receipt receipt;
    struct place place = {.index = 0};
    char leaf[KT_LEAF_TEXT];

    if (kt_receipt_parse(text, len, &receipt) != 0)
        return 0; // was looked at before
    kt_uuid_format(&receipt.leaf.deposit_id, place.id);
    place.incarnation = receipt.leaf.incarnation;
    place.index = receipt.leaf.log_index;
    kt_leaf_format(&receipt.leaf, leaf);
    if (kt_merkle_leaf(leaf, strlen(leaf), place.leaf) != 0 ||
        kt_buf_put(&check->places, &place, sizeof place) != 0)
        check->unreadable = KT_ERR_NO_MEMORY;
    return check->unreadable == KT_ERR_NO_MEMORY;
}

// --- what the server says ---

// Behind a barrier: a passive that is behind would look like a server that was rolled back.
static int fetch_head(struct check *check, struct kt_error *error)
{
    const struct ktc_call call = {.method = "GET", .path = "/v1/log/head", .barrier = 1};
    struct ktc_answer answer = {0};
    const char *text = NULL;
    json_t *object = NULL;
    int rc = ktc_call_json(check->client, &call, &answer, &object, error);

    snprintf(check->server, sizeof check->server, "%s", answer.server);
    if (rc == KT_ERR_ROUTE_UNKNOWN)
        rc = kt_error_set(error, KT_ERR_PROTOCOL, "the server has to be newer",
                          "%s does not show its log of deposits", answer.server);
    if (rc == 0 && !json_is_null(json_object_get(object, "head"))) {
        rc = ktc_protocol(error, answer.server,
                          kt_json_string(object, "head", 1, KT_TREE_HEAD_TEXT - 1, &text, error));
        if (rc == 0)
            snprintf(check->head_text, sizeof check->head_text, "%s", text);
    }
    json_decref(object);
    ktc_answer_free(&answer);
    return rc;
}

// Statements cost a request and a run of gpg: they are asked for where an earlier incarnation plays
// a part.
static int read_line(struct check *check, struct kt_error *error)
{
    const struct kt_incarnation *now = &check->client->state.incarnation;
    const struct place *places = (const struct place *)kt_buf_ptr(&check->places);
    size_t count = kt_buf_left(&check->places) / sizeof(struct place);
    int needed = (check->known.size > 0 && !same(&check->known.incarnation, now)) ||
                 (check->head.size > 0 && !same(&check->head.incarnation, now));

    for (size_t i = 0; i < count && !needed; i++)
        needed = !same(&places[i].incarnation, now);
    if (needed)
        return ktc_line_read(check->client, check->server, &check->line, error);
    check->line.count = 1;
    check->line.list[0].incarnation = *now;
    check->line.list[0].last = UINT64_MAX;
    return 0;
}

// --- the verdict ---

// A head of an incarnation from which the present one went on ends where that began: in the present
// one nothing was deposited yet.
static int check_place(const struct check *check, struct kt_error *error)
{
    uint64_t last = ktc_line_last(&check->line, &check->head.incarnation);
    char name[KT_INCARNATION_TEXT];

    if (check->head.size == 0 || last == UINT64_MAX)
        return 0;
    kt_incarnation_format(&check->head.incarnation, name);
    if (last == 0)
        return kt_error_set(error, KT_ERR_SIGNATURE, WHAT_TO_DO,
                            "%s shows a log of incarnation %s, which is not in the cluster's line "
                            "of history",
                            check->server, name);
    if (check->head.size != last)
        return kt_error_set(error, KT_ERR_SIGNATURE, WHAT_TO_DO,
                            "%s shows a log of %" PRIu64 " deposits of incarnation %s, but the "
                            "cluster was restored with %" PRIu64,
                            check->server, check->head.size, name, last);
    return 0;
}

// 1 when the head is of an older time than the one that is kept.
static int is_before_known(const struct check *check)
{
    int order = 0;

    return check->head.size < check->known.size ||
           kt_incarnation_compare(&check->head.incarnation, check->head.epoch,
                                  &check->known.incarnation, check->known.epoch, &order) != 0 ||
           order < 0;
}

static int rewritten(const struct check *check, const char *what, uint64_t size,
                     struct kt_error *error)
{
    return kt_error_set(error, KT_ERR_SIGNATURE, WHAT_TO_DO,
                        "the log was rewritten: what %s shows with %" PRIu64
                        " deposits does not continue the %" PRIu64 " that %s",
                        check->server, check->head.size, size, what);
}

// What survived each restore, by its statement, is in the log that is shown.
static int check_survived(const struct check *check, struct kt_error *error)
{
    const struct ktc_line *line = &check->line;

    for (size_t i = 1; i < line->count; i++) {
        struct kt_tree_head survived = {.size = line->list[i].last};
        struct kt_error why = {0};
        int rc;

        // Without any head the log is of before there were heads.
        if (survived.size == 0 || survived.size == line->list[i - 1].last || check->head.size == 0)
            continue;
        memcpy(survived.root, line->list[i].root, sizeof survived.root);
        if (check->head.size < survived.size)
            return kt_error_set(error, KT_ERR_SIGNATURE, WHAT_TO_DO,
                                "the log was rolled back: %s shows %" PRIu64 " deposits, but the "
                                "cluster was restored with %" PRIu64,
                                check->server, check->head.size, survived.size);
        rc = ktc_log_consistency(check->client, &survived, &check->head, &why);
        if (rc == KT_ERR_SIGNATURE)
            return rewritten(check, "it was restored with", survived.size, error);
        *error = why;
        if (rc != 0)
            return rc;
    }
    return 0;
}

// The head that is kept covers what a restore has lost: nobody can prove any more what else it
// covered. An older one that covers less can still be compared.
static int check_past(const struct check *check, struct kt_error *error)
{
    struct kt_tree_head best = {.size = 0};
    struct kt_error why = {0};
    int rc = ktc_log_past_best(check->client, &check->line, &best);

    if (rc != 0 || best.size == 0) {
        ktc_warn(check->client, "keytrustee log check --receipts proves the deposits of this host",
                 "no head of before the restore is kept here: what survived is not compared");
        return 0;
    }
    if (best.size > check->head.size)
        return rewritten(check, "had been signed before the restore", best.size, error);
    rc = ktc_log_consistency(check->client, &best, &check->head, &why);
    if (rc == KT_ERR_SIGNATURE)
        return rewritten(check, "had been signed before the restore", best.size, error);
    *error = why;
    return rc;
}

static int check_continues(struct check *check, struct kt_error *error)
{
    const struct kt_tree_head *known = &check->known, *head = &check->head;
    struct kt_error why = {0};
    int rc = 0;

    if (known->size == 0)
        return 0;
    uint64_t last = ktc_line_last(&check->line, &known->incarnation);
    if (known->size > last) { // a restore, by the cluster's own statement
        check->log_lost = known->size - last;
        return check_past(check, error);
    }
    if (is_before_known(check))
        return kt_error_set(error, KT_ERR_SIGNATURE, WHAT_TO_DO,
                            "the log was rolled back: %s shows %" PRIu64
                            " deposits of epoch %" PRIu64 ", but %" PRIu64 " of epoch %" PRIu64
                            " had been signed",
                            check->server, head->size, head->epoch, known->size, known->epoch);
    rc = ktc_log_consistency(check->client, known, head, &why);
    if (rc == KT_ERR_SIGNATURE)
        return rewritten(check, "had been signed", known->size, error);
    *error = why;
    return rc;
}

static void tell(struct check *check, const struct place *place,
                 enum keytrustee_log_problem problem)
{
    if (problem == KEYTRUSTEE_LOG_LOST)
        check->lost++;
    else
        check->wrong++;
    if (check->each != NULL)
        check->each(check->arg, problem, place->id, place->index);
}

static int check_receipt(struct check *check, const struct place *place, int prove,
                         struct kt_error *error)
{
    int rc = 0;

    if (place->index > ktc_line_last(&check->line, &place->incarnation)) {
        tell(check, place, KEYTRUSTEE_LOG_LOST);
    } else if (place->index > check->head.size) {
        tell(check, place, KEYTRUSTEE_LOG_BEHIND);
    } else if (prove) {
        ktc_begin(check->client); // the timeout is for each of them
        rc = ktc_log_inclusion(check->client, &check->head, place->index, place->leaf, error);
        if (rc == KT_ERR_SIGNATURE)
            tell(check, place, KEYTRUSTEE_LOG_MISSING);
        else if (rc == KT_ERR_DEPOSIT_ID_CONFLICT)
            tell(check, place, KEYTRUSTEE_LOG_CHANGED);
        else if (rc != 0)
            return rc;
        else
            check->log.proven++;
    }
    check->log.receipts++;
    return 0;
}

static int check_receipts(struct check *check, unsigned flags, struct kt_error *error)
{
    const struct place *places = (const struct place *)kt_buf_ptr(&check->places);
    size_t count = kt_buf_left(&check->places) / sizeof(struct place);
    int rc = 0;

    for (size_t i = 0; i < count && rc == 0; i++)
        rc = check_receipt(check, &places[i], (flags & KEYTRUSTEE_LOG_RECEIPTS) != 0, error);
    if (rc == 0 && check->wrong > 0)
        rc = kt_error_set(error, KT_ERR_SIGNATURE, WHAT_TO_DO,
                          "%" PRIu64 " deposits that were acknowledged to this host are not in the "
                          "log of %s as its receipts say",
                          check->wrong, check->server);
    return rc;
}

// --- all of it ---

static void fill(struct check *check)
{
    const struct kt_tree_head *head = &check->head;
    struct keytrustee_log *log = &check->log;

    log->known_size = check->known.size;
    if (head->size == 0)
        return;
    kt_incarnation_format(&head->incarnation, log->incarnation);
    log->epoch = head->epoch;
    log->size = head->size;
    kt_hex_encode(head->root, KT_SHA256_LEN, log->root);
    kt_time_format(head->time_us, log->time);
}

// What a restore has lost is no lie of the server's, and yet no success.
static int say_lost(const struct check *check, struct kt_error *error)
{
    char name[KT_INCARNATION_TEXT];

    kt_incarnation_format(&check->known.incarnation, name);
    if (check->log_lost > 0)
        ktc_warn(check->client, "the head of before is kept beside the new one",
                 "%" PRIu64 " of the %" PRIu64 " deposits that were in the log of incarnation %s "
                 "are not in the restored cluster's",
                 check->log_lost, check->known.size, name);
    if (check->lost > 0)
        return kt_error_set(
            error, KT_ERR_SIGNATURE,
            "deposit them again from where the secrets are used; their receipts can "
            "be removed from the confdir then",
            "%" PRIu64 " deposits of this host are lost: the cluster was restored "
            "from a backup of before",
            check->lost);
    if (check->log_lost > 0)
        return kt_error_set(error, KT_ERR_SIGNATURE,
                            "none of this host is among them; this is told once",
                            "%" PRIu64 " deposits are lost: the cluster was restored from a backup "
                            "of before",
                            check->log_lost);
    return 0;
}

// The head, from its signature to what stands in it.
static int check_head(struct check *check, unsigned flags, struct kt_error *error)
{
    int rc = 0;

    if (check->head_text[0] != '\0')
        rc = ktc_tree_head_accept(check->client, check->head_text, &check->head, error);
    if (rc == 0)
        rc = read_line(check, error);
    if (rc == 0)
        rc = check_place(check, error);
    if (rc == 0)
        rc = check_survived(check, error);
    if (rc == 0)
        rc = check_continues(check, error);
    // Behind a loss each deposit of this host is looked for: the head cannot say that it is there.
    if (rc == 0)
        rc = check_receipts(check, check->log_lost > 0 ? flags | KEYTRUSTEE_LOG_RECEIPTS : flags,
                            error);
    return rc;
}

static int log_check(struct check *check, unsigned flags, struct kt_error *error)
{
    struct keytrustee *client = check->client;
    struct kt_error why = {0};
    int rc = ktc_need_registration(client, error);

    // Receipts and the known head first: what comes to this host later may be newer than the head.
    if (rc == 0)
        rc = ktc_log_known(client, check->known_text, &check->known, error);
    if (rc != 0)
        return rc;
    int unreadable = ktc_receipts_each(client, add_place, check, &check->unreadable_why);
    if (check->unreadable == 0)
        check->unreadable = unreadable;
    rc = fetch_head(check, error);
    if (rc != 0)
        return rc;
    rc = check_head(check, flags, error);
    if (rc == KT_ERR_SIGNATURE && check->head_text[0] != '\0' &&
        ktc_log_refused(client, check->head_text, &why) != 0)
        ktc_warn(client, NULL, "the head could not be kept as evidence: %s", why.message);
    if (rc == 0 && check->head.size > 0)
        rc = ktc_log_keep(client, check->known_text, check->head_text, check->log_lost > 0, error);
    if (rc == 0)
        rc = say_lost(check, error);
    if (rc == 0 && check->unreadable != 0) {
        *error = check->unreadable_why;
        rc = check->unreadable;
    }
    return rc;
}

int keytrustee_log_check(struct keytrustee *client, unsigned flags, keytrustee_log_fn each,
                         void *arg, struct keytrustee_log *log, struct keytrustee_error *error)
{
    struct check *check = calloc(1, sizeof *check);
    struct kt_error why = {0};
    int rc = check ? 0 : KT_ERR_NO_MEMORY;

    ktc_begin(client);
    if (rc == 0) {
        check->client = client;
        check->each = each;
        check->arg = arg;
        check->places = (struct kt_buf)KT_BUF_INIT(SIZE_MAX / 2);
        rc = log_check(check, flags, &why);
        fill(check);
        if (rc == 0 && log != NULL)
            *log = check->log;
        kt_buf_free(&check->places);
    }
    free(check);
    return ktc_end(client, rc, &why, error);
}
