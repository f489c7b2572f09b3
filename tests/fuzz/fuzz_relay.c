// SPDX-License-Identifier: Apache-2.0
// Fuzz target: what door and agent tell each other of a call and its answer. What is taken is spelt
// back. The first byte chooses the frame.
#include <string.h>

#include "kts/relay.h"
#include "tests/fuzz/fuzz.h"

#define FRAME_MAX (1u << 20)

// NUL-terminated, in bounds, and nothing in it that a log line or record could not bear.
static void check_text(const char *text, size_t size)
{
    size_t n = strnlen(text, size);

    fuzz_must(n < size);
    for (size_t i = 0; i < n; i++)
        fuzz_must(text[i] > ' ' && text[i] < 0x7f && text[i] != '"' && text[i] != '\'');
}

static int read_call(struct kt_buf *in, struct kt_buf *out)
{
    struct kts_relay_call call;

    if (kts_relay_call_decode(in, &call))
        return 0;
    check_text(call.peer, sizeof(call.peer));
    check_text(call.verb, sizeof(call.verb));
    fuzz_must((call.verdict == 0) == (call.cert_len > 0));
    fuzz_must(call.cert_len <= KTS_RELAY_CERT_MAX && call.authorization_len <= KTS_RELAY_AUTH_MAX);
    fuzz_must(kts_relay_call_encode(&call, out) == 0);
    return 1;
}

static int read_answer(struct kt_buf *in, struct kt_buf *out)
{
    struct kts_relay_answer answer;

    if (kts_relay_answer_decode(in, &answer))
        return 0;
    fuzz_must(answer.code <= 0);
    fuzz_must(kts_relay_answer_encode(&answer, out) == 0);
    return 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    unsigned which = fuzz_byte(&input) % 2;
    struct kt_buf in = KT_BUF_INIT(FRAME_MAX), out = KT_BUF_INIT(FRAME_MAX);
    const uint8_t *bytes = input.at;
    size_t n = input.left;

    if (n <= FRAME_MAX && kt_buf_put(&in, bytes, n) == 0 &&
        (which ? read_answer(&in, &out) : read_call(&in, &out)))
        fuzz_same(kt_buf_ptr(&out), kt_buf_left(&out), bytes, n);
    kt_buf_free(&in);
    kt_buf_free(&out);
    return 0;
}
