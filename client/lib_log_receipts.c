// SPDX-License-Identifier: Apache-2.0
// The receipts of this host, held against the log of deposits: each is in it, or it is told.
#include <inttypes.h>
#include <string.h>

#include "client/log.h"
#include "lib/merkle.h"

static int add_place(void *arg, const char *text, size_t len)
{
    struct ktc_log_check *check = arg;
    struct kt_receipt receipt;
    struct ktc_log_place place = {.index = 0};
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

void ktc_log_receipts_read(struct ktc_log_check *check)
{
    int rc = ktc_receipts_each(check->client, add_place, check, &check->unreadable_why);

    if (check->unreadable == 0)
        check->unreadable = rc;
}

// --- the verdict ---

static void tell(struct ktc_log_check *check, const struct ktc_log_place *place,
                 enum keytrustee_log_problem problem)
{
    if (problem == KEYTRUSTEE_LOG_LOST)
        check->lost++;
    else if (problem == KEYTRUSTEE_LOG_UNKNOWN)
        check->unknown++;
    else
        check->wrong++;
    if (check->each != NULL)
        check->each(check->arg, problem, place->id, place->index);
}

// Has it proven that the deposit is in the log; `otherwise` is what is told when it is not.
static int prove_receipt(struct ktc_log_check *check, const struct ktc_log_place *place,
                         enum keytrustee_log_problem otherwise, struct kt_error *error)
{
    int rc = KT_ERR_SIGNATURE;

    ktc_begin(check->client); // the timeout is for each of them
    if (place->index <= check->head.size)
        rc = ktc_log_inclusion(check->client, &check->head, place->index, place->leaf, error);
    if (rc == KT_ERR_SIGNATURE)
        tell(check, place, otherwise);
    else if (rc == KT_ERR_DEPOSIT_ID_CONFLICT)
        tell(check, place, KEYTRUSTEE_LOG_CHANGED);
    else if (rc != 0)
        return rc;
    else
        check->log.proven++;
    return 0;
}

// Nothing is called lost that the log has, nor what no statement of the cluster says is lost.
static int check_receipt(struct ktc_log_check *check, const struct ktc_log_place *place, int prove,
                         struct kt_error *error)
{
    uint64_t last = ktc_line_last(&check->line, &place->incarnation);
    int rc = 0;

    if (last == 0 && ktc_line_unknown(&check->line, &place->incarnation))
        rc = prove_receipt(check, place, KEYTRUSTEE_LOG_UNKNOWN, error);
    else if (place->index > last)
        rc = prove_receipt(check, place, KEYTRUSTEE_LOG_LOST, error);
    else if (place->index > check->head.size)
        tell(check, place, KEYTRUSTEE_LOG_BEHIND);
    else if (prove)
        rc = prove_receipt(check, place, KEYTRUSTEE_LOG_MISSING, error);
    if (rc == 0)
        check->log.receipts++;
    return rc;
}

int ktc_log_receipts_check(struct ktc_log_check *check, unsigned flags, struct kt_error *error)
{
    const struct ktc_log_place *places = (const struct ktc_log_place *)kt_buf_ptr(&check->places);
    size_t count = kt_buf_left(&check->places) / sizeof(struct ktc_log_place);
    int rc = 0;

    for (size_t i = 0; i < count && rc == 0; i++)
        rc = check_receipt(check, &places[i], (flags & KEYTRUSTEE_LOG_RECEIPTS) != 0, error);
    if (rc == 0 && check->wrong > 0)
        rc = kt_error_set(error, KT_ERR_SIGNATURE, KTC_LOG_WHAT_TO_DO,
                          "%" PRIu64 " deposits that were acknowledged to this host are not in the "
                          "log of %s as its receipts say",
                          check->wrong, check->server);
    return rc;
}
