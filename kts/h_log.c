// SPDX-License-Identifier: Apache-2.0
// GET /v1/log/head, /v1/log/proof and /v1/log/consistency: the signed head of the log of deposits,
// and what proves that a deposit is in it, or that it continues an earlier one.
#include <string.h>

#include "kts/handlers.h"
#include "kts/request.h"
#include "lib/merkle.h"

static int answer_text(struct kts_request *request, const struct db_answer *answer)
{
    return kts_respond(request, 200, "application/json", NULL, answer->text, answer->text_len);
}

static int answer_head(struct kts_request *request, const struct db_answer *answer)
{
    return answer->text ? answer_text(request, answer) : KT_ERR_DATABASE;
}

int kts_h_log_head(struct kts_request *request)
{
    const struct kts_query query = {.kind = KTS_READ_LOG_HEAD};

    return kts_read(request, &query, answer_head);
}

// A passive that is behind has fewer deposits than the head that was signed elsewhere.
static int answer_proof(struct kts_request *request, const struct db_answer *answer)
{
    if (answer->text == NULL)
        return kts_fail(request, KT_ERR_DEPOSIT_NOT_FOUND, "this node's log has fewer deposits");
    if (answer->text_len == strlen("null") && memcmp(answer->text, "null", answer->text_len) == 0)
        return kts_fail(request, KT_ERR_DATABASE, "this node's log of deposits is not whole");
    return answer_text(request, answer);
}

static int take_number(struct kts_request *request, const char *name, uint64_t *number)
{
    char text[24];
    int rc = kts_request_query(request, name, text, sizeof(text));

    if (rc == 0 && kt_u64_parse(text, 1, KT_MERKLE_MAX - 1, number) != 0)
        rc = kts_fail(request, KT_ERR_BAD_REQUEST, "%s is not a number from 1 on", name);
    return rc;
}

static int read_proof(struct kts_request *request, enum kts_query_kind kind, const char *first,
                      const char *second)
{
    struct kts_query query = {.kind = kind};
    int rc = take_number(request, first, &query.first);

    if (rc == 0)
        rc = take_number(request, second, &query.second);
    if (rc == 0 && query.first > query.second)
        rc = kts_fail(request, KT_ERR_BAD_REQUEST, "%s is greater than %s", first, second);
    return rc ? rc : kts_read(request, &query, answer_proof);
}

int kts_h_log_proof(struct kts_request *request)
{
    return read_proof(request, KTS_READ_LOG_INCLUSION, "index", "size");
}

int kts_h_log_consistency(struct kts_request *request)
{
    return read_proof(request, KTS_READ_LOG_CONSISTENCY, "from", "to");
}
