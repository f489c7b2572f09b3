// SPDX-License-Identifier: Apache-2.0
// Fuzz target: arguments of the agent's verbs that change something. The first byte chooses the
// verb, the rest is its JSON. What is taken to the writer is an operator's, and arrives as it is.
#include <stdlib.h>
#include <string.h>

#include "kts/agent.h"
#include "lib/json.h"
#include "tests/fuzz/fuzz.h"

static struct kts_start start;
static struct kts_agent agent = {.start = &start};

// --- in the place of kts/agent_call.c and kts/agent_change.c ---

struct kts_agent *kts_call_agent(const struct kts_call *call)
{
    (void)call;
    return &agent;
}

const char *kts_call_actor(const struct kts_call *call)
{
    (void)call;
    return "root (uid 0)";
}

static void check(const struct kt_change *change)
{
    struct kt_buf out = KT_BUF_INIT(1 << 20), again = KT_BUF_INIT(1 << 20);
    struct kt_change read = {0};

    fuzz_must(kt_change_origin(change->kind) == KT_FROM_OPERATOR);
    fuzz_must(kt_change_encode(change, &out) == 0 && kt_change_encode(change, &again) == 0);
    fuzz_must(kt_change_decode(&out, &read) == 0);
    kt_buf_reset(&out);
    fuzz_must(kt_change_encode(&read, &out) == 0);
    fuzz_same(kt_buf_ptr(&out), kt_buf_left(&out), kt_buf_ptr(&again), kt_buf_left(&again));
    kt_change_free(&read);
    kt_buf_free(&out);
    kt_buf_free(&again);
}

int kts_agent_change(struct kts_call *call, struct kt_change *change, struct kt_secret *code,
                     struct kt_error *error)
{
    (void)call;
    (void)error;
    check(change);
    kt_secret_free(code);
    return KT_ERR_AGAIN;
}

int kts_agent_change_showing(struct kts_call *call, struct kt_change *change, json_t *shown,
                             struct kt_error *error)
{
    (void)call;
    (void)error;
    check(change);
    json_decref(shown);
    return KT_ERR_AGAIN;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    size_t count = 0, which = fuzz_byte(&input);
    struct kt_error error = {0};
    json_t *args = NULL, *result = NULL;

    if (start.settings == NULL)
        fuzz_must(kt_settings_new(&start.settings) == 0);
    while (kts_change_verbs[count].name != NULL)
        count++;
    if (kt_json_parse_object(input.at, input.left, &args, &error) != 0)
        return 0;
    error = (struct kt_error){0};
    if (kts_change_verbs[which % count].run != NULL &&
        kts_change_verbs[which % count].run(NULL, args, &result, &error) != KT_ERR_AGAIN)
        fuzz_must(error.message[0] != '\0' || result != NULL);
    json_decref(result);
    json_decref(args);
    return 0;
}
