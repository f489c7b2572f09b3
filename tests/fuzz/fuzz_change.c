// SPDX-License-Identifier: Apache-2.0
// Fuzz target: payloads between the server's processes. What one of them takes out is put in again
// the same, and nothing is out of its bounds: a worker may have been taken over. The first byte
// chooses change, outcome or the request for a certificate.
#include <stdlib.h>
#include <string.h>

#include "kts/process.h"
#include "lib/change.h"
#include "tests/fuzz/fuzz.h"

#define ROOM (20u << 20)

static struct kt_buf view(const uint8_t *bytes, size_t n)
{
    uint8_t *copy = malloc(n + 1);

    fuzz_must(copy != NULL);
    if (n > 0)
        memcpy(copy, bytes, n);
    return (struct kt_buf){copy, n, n, 0, n};
}

static void check_bounds(const struct kt_change *change)
{
    const struct kt_release_policy *policy = &change->policy;

    fuzz_must((unsigned)change->kind < KT_CHANGE_KIND_COUNT && change->lifetime_s >= 0);
    fuzz_must(strlen(change->handle) <= KT_HANDLE_MAX && strlen(change->name) <= KT_ORG_NAME_MAX);
    fuzz_must(change->recipient_count <= KT_RECIPIENTS_MAX);
    fuzz_must(policy->trustee_count <= KT_TRUSTEES_MAX);
    fuzz_must(change->lock_until_us >= 0 && policy->not_before_us >= 0);
    fuzz_must(change->contacts == NULL || strlen(change->contacts) < ROOM);
    fuzz_must(change->csr_len <= KT_CSR_MAX && change->openpgp_len <= KT_OPENPGP_KEY_MAX);
    fuzz_must(kt_change_event(change->kind) != NULL);
}

static void fuzz_change(struct kt_buf *in)
{
    struct kt_change change = {0}, again = {0};
    struct kt_buf once = KT_BUF_INIT(ROOM), twice = KT_BUF_INIT(ROOM), copy = KT_BUF_INIT(ROOM);

    if (kt_change_decode(in, &change) == 0) {
        check_bounds(&change);
        fuzz_must(kt_change_encode(&change, &once) == 0);
        fuzz_must(kt_buf_put(&copy, kt_buf_ptr(&once), kt_buf_left(&once)) == 0);
        fuzz_must(kt_change_decode(&copy, &again) == 0);
        fuzz_must(kt_change_encode(&again, &twice) == 0);
        fuzz_same(kt_buf_ptr(&once), kt_buf_left(&once), kt_buf_ptr(&twice), kt_buf_left(&twice));
    }
    kt_change_free(&change);
    kt_change_free(&again);
    kt_buf_free(&once);
    kt_buf_free(&twice);
    kt_buf_free(&copy);
}

static void fuzz_outcome(struct kt_buf *in)
{
    struct kt_outcome outcome = {0}, again = {0};
    struct kt_buf once = KT_BUF_INIT(ROOM), twice = KT_BUF_INIT(ROOM), copy = KT_BUF_INIT(ROOM);

    if (kt_outcome_decode(in, &outcome) == 0) {
        fuzz_must(outcome.code <= 0 && strlen(outcome.message) < sizeof(outcome.message));
        fuzz_must(kt_outcome_encode(&outcome, &once) == 0);
        fuzz_must(kt_buf_put(&copy, kt_buf_ptr(&once), kt_buf_left(&once)) == 0);
        fuzz_must(kt_outcome_decode(&copy, &again) == 0);
        fuzz_must(kt_outcome_encode(&again, &twice) == 0);
        fuzz_same(kt_buf_ptr(&once), kt_buf_left(&once), kt_buf_ptr(&twice), kt_buf_left(&twice));
    }
    kt_outcome_free(&outcome);
    kt_outcome_free(&again);
    kt_buf_free(&once);
    kt_buf_free(&twice);
    kt_buf_free(&copy);
}

static void fuzz_sign(struct kt_buf *in, const uint8_t *bytes, size_t n)
{
    struct kts_sign_request request = {.lifetime_s = 0};
    struct kt_buf again = KT_BUF_INIT(ROOM);

    if (kts_sign_decode(in, &request) == 0) {
        fuzz_must(request.lifetime_s > 0 && request.common_name[0] != '\0');
        fuzz_must(kts_sign_encode(&request, &again) == 0);
        fuzz_same(bytes, n, kt_buf_ptr(&again), kt_buf_left(&again));
    }
    kt_buf_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    unsigned which = fuzz_byte(&input) % 3;
    struct kt_buf in = view(input.at, input.left);

    if (which == 0)
        fuzz_change(&in);
    else if (which == 1)
        fuzz_outcome(&in);
    else
        fuzz_sign(&in, input.at, input.left);
    free(in.data);
    return 0;
}
