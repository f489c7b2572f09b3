// SPDX-License-Identifier: Apache-2.0
// The log of deposits as this host has seen it: the last good head is kept, and a new one must
// continue it and cover every receipt.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/log.h"
#include "lib/json.h"

#define HINT_UNKNOWN                                                                               \
    "keep the receipts; try keytrustee get on each handle, and let the operator run ktadmin "      \
    "receipts check on what keytrustee receipts export prints"

static int same(const struct kt_incarnation *a, const struct kt_incarnation *b)
{
    return a->number == b->number && a->bits == b->bits;
}

// --- what the server says ---

// Behind a barrier: a passive that is behind would look like a server that was rolled back.
static int fetch_head(struct ktc_log_check *check, struct kt_error *error)
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
static int read_line(struct ktc_log_check *check, struct kt_error *error)
{
    const struct kt_incarnation *now = &check->client->state.incarnation;
    const struct ktc_log_place *places = (const struct ktc_log_place *)kt_buf_ptr(&check->places);
    size_t count = kt_buf_left(&check->places) / sizeof(struct ktc_log_place);
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
static int check_place(const struct ktc_log_check *check, struct kt_error *error)
{
    uint64_t last = ktc_line_last(&check->line, &check->head.incarnation);
    char name[KT_INCARNATION_TEXT];

    if (check->head.size == 0 || last == UINT64_MAX)
        return 0;
    if (last == 0 && ktc_line_unknown(&check->line, &check->head.incarnation))
        last = check->line.list[check->line.count - 1].last; // nothing was deposited since either
    kt_incarnation_format(&check->head.incarnation, name);
    if (last == 0)
        return kt_error_set(error, KT_ERR_SIGNATURE, KTC_LOG_WHAT_TO_DO,
                            "%s shows a log of incarnation %s, which is not in the cluster's line "
                            "of history",
                            check->server, name);
    if (check->head.size != last)
        return kt_error_set(error, KT_ERR_SIGNATURE, KTC_LOG_WHAT_TO_DO,
                            "%s shows a log of %" PRIu64 " deposits of incarnation %s, but the "
                            "cluster was restored with %" PRIu64,
                            check->server, check->head.size, name, last);
    return 0;
}

// 1 when the head is of an older time than the one that is kept.
static int is_before_known(const struct ktc_log_check *check)
{
    int order = 0;

    return check->head.size < check->known.size ||
           kt_incarnation_compare(&check->head.incarnation, check->head.epoch,
                                  &check->known.incarnation, check->known.epoch, &order) != 0 ||
           order < 0;
}

static int rewritten(const struct ktc_log_check *check, const char *what, uint64_t size,
                     struct kt_error *error)
{
    return kt_error_set(error, KT_ERR_SIGNATURE, KTC_LOG_WHAT_TO_DO,
                        "the log was rewritten: what %s shows with %" PRIu64
                        " deposits does not continue the %" PRIu64 " that %s",
                        check->server, check->head.size, size, what);
}

// What survived each restore, by its statement, is in the log that is shown.
static int check_survived(const struct ktc_log_check *check, struct kt_error *error)
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
            return kt_error_set(error, KT_ERR_SIGNATURE, KTC_LOG_WHAT_TO_DO,
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
static int check_past(const struct ktc_log_check *check, struct kt_error *error)
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

// The head that is kept covers more than the restores left, by the cluster's own statements; or none
// of them leads back to it, and nobody can say what they left. Whatever the log continues is there.
static int check_restored(struct ktc_log_check *check, uint64_t last, struct kt_error *error)
{
    const struct kt_tree_head *known = &check->known, *head = &check->head;
    struct kt_error why = {0};
    int rc = KT_ERR_SIGNATURE;

    if (known->size <= head->size)
        rc = ktc_log_consistency(check->client, known, head, &why);
    if (rc == KT_ERR_SIGNATURE) {
        if (ktc_line_unknown(&check->line, &known->incarnation))
            check->log_unknown = known->size;
        else
            check->log_lost = known->size - last;
        return check_past(check, error);
    }
    *error = why;
    return rc;
}

static int check_continues(struct ktc_log_check *check, struct kt_error *error)
{
    const struct kt_tree_head *known = &check->known, *head = &check->head;
    struct kt_error why = {0};
    int rc = 0;

    if (known->size == 0)
        return 0;
    uint64_t last = ktc_line_last(&check->line, &known->incarnation);
    if (known->size > last)
        return check_restored(check, last, error);
    if (is_before_known(check))
        return kt_error_set(error, KT_ERR_SIGNATURE, KTC_LOG_WHAT_TO_DO,
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

// --- all of it ---

static void fill(struct ktc_log_check *check)
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
static int say_lost(const struct ktc_log_check *check, struct kt_error *error)
{
    char name[KT_INCARNATION_TEXT];

    kt_incarnation_format(&check->known.incarnation, name);
    if (check->log_lost > 0)
        ktc_warn(check->client, "the head of before is kept beside the new one",
                 "%" PRIu64 " of the %" PRIu64 " deposits that were in the log of incarnation %s "
                 "are not in the restored cluster's",
                 check->log_lost, check->known.size, name);
    if (check->log_unknown > 0)
        ktc_warn(check->client, "the head of before is kept beside the new one",
                 "history unknown: whether the %" PRIu64 " deposits that were in the log of "
                 "incarnation %s are in the restored cluster's cannot be told: its statements do "
                 "not lead back to there",
                 check->log_unknown, name);
    if (check->lost > 0 && check->unknown > 0)
        ktc_warn(check->client, HINT_UNKNOWN,
                 "history unknown: whether %" PRIu64
                 " more deposits of this host are lost cannot be "
                 "told; they are not in the log",
                 check->unknown);
    if (check->lost > 0)
        return kt_error_set(
            error, KT_ERR_SIGNATURE,
            "deposit them again from where the secrets are used; their receipts can "
            "be removed from the confdir then",
            "%" PRIu64 " deposits of this host are lost: the cluster was restored "
            "from a backup of before",
            check->lost);
    if (check->unknown > 0)
        return kt_error_set(error, KT_ERR_SIGNATURE, HINT_UNKNOWN,
                            "history unknown: %" PRIu64
                            " deposits of this host, of before what the server's "
                            "statements tell of, are not in its log as their receipts say",
                            check->unknown);
    if (check->log_unknown > 0)
        return kt_error_set(
            error, KT_ERR_SIGNATURE,
            "none of this host's deposits is missing; this is told once; the operator "
            "has to explain it",
            "history unknown: the log does not continue the %" PRIu64 " deposits "
            "that this host had seen, and no statement says why",
            check->log_unknown);
    if (check->log_lost > 0)
        return kt_error_set(error, KT_ERR_SIGNATURE,
                            "none of this host is among them; this is told once",
                            "%" PRIu64 " deposits are lost: the cluster was restored from a backup "
                            "of before",
                            check->log_lost);
    return 0;
}

// The head, from its signature to what stands in it.
static int check_head(struct ktc_log_check *check, unsigned flags, struct kt_error *error)
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
    if (check->log_lost > 0 || check->log_unknown > 0)
        flags |= KEYTRUSTEE_LOG_RECEIPTS;
    if (rc == 0)
        rc = ktc_log_receipts_check(check, flags, error);
    return rc;
}

static int log_check(struct ktc_log_check *check, unsigned flags, struct kt_error *error)
{
    struct keytrustee *client = check->client;
    struct kt_error why = {0};
    int rc = ktc_need_registration(client, error);

    // Receipts and the known head first: what comes to this host later may be newer than the head.
    if (rc == 0)
        rc = ktc_log_known(client, check->known_text, &check->known, error);
    if (rc != 0)
        return rc;
    ktc_log_receipts_read(check);
    rc = fetch_head(check, error);
    if (rc != 0)
        return rc;
    rc = check_head(check, flags, error);
    if (rc == KT_ERR_SIGNATURE && check->head_text[0] != '\0' &&
        ktc_log_refused(client, check->head_text, &why) != 0)
        ktc_warn(client, NULL, "the head could not be kept as evidence: %s", why.message);
    if (rc == 0 && check->head.size > 0)
        rc = ktc_log_keep(client, check->known_text, check->head_text,
                          check->log_lost > 0 || check->log_unknown > 0, error);
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
    struct ktc_log_check *check = calloc(1, sizeof *check);
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
