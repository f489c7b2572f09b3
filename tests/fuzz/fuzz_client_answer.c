// SPDX-License-Identifier: Apache-2.0
// Fuzz target: answers of a server that lies. First byte: what was asked for; second: the status by
// hundreds; then header lines, an empty one, and the body. No control character reaches a terminal,
// and no place in history that is not newer is remembered.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/client.h"
#include "lib/http_inner.h"
#include "lib/json.h"
#include "tests/fuzz/fuzz.h"

#define BODY_MAX 8192

static struct keytrustee client;

static int read_answer(struct fuzz_input *input, struct kt_http_answer *answer)
{
    struct kt_http_receiver receiver = {answer, 0};
    size_t left;

    while (input->left > 0) {
        char *line = fuzz_line(input);
        size_t n = strlen(line), taken = n > 0 ? kt_http_on_header(line, 1, n, &receiver) : n;
        free(line);
        if (n == 0)
            break;
        if (taken != n) {
            fuzz_must(receiver.code != 0);
            return receiver.code;
        }
    }
    left = input->left;
    char *body = fuzz_rest(input);
    int taken = kt_http_on_body(body, 1, left, &receiver) == left;
    free(body);
    fuzz_must(taken || receiver.code != 0 || left == 0);
    return taken ? 0 : receiver.code;
}

static void check_printable(const char *text)
{
    for (; *text; text++)
        fuzz_must((unsigned char)*text >= 0x20 && *text != 0x7f);
}

static void check_deposit(const struct kt_http_answer *answer)
{
    struct keytrustee_deposit deposit;
    struct kt_error error = {0};
    json_t *object = NULL;

    if (kt_json_parse_object(kt_buf_ptr(&answer->body), kt_buf_left(&answer->body), &object,
                             NULL) != 0)
        return;
    if (ktc_deposit_from_json(json_object_get(object, "deposit"), &deposit, &error) == 0)
        fuzz_must(kt_handle_check(deposit.handle) == 0);
    json_decref(object);
}

static void judge(const struct ktc_call *call, struct ktc_answer *answer)
{
    const struct kt_incarnation known = {UINT32_MAX, 0x0123456789abcdef};
    struct ktc_verdict verdict = {.active = KTC_NONE};

    client.state.incarnation = known; // none is higher: what is restored would be asked for
    client.state.epoch = 7;
    int rc = ktc_judge(&client, call, answer, &verdict);
    const char *text = kt_http_answer_header(&answer->http, "KT-Epoch");
    uint64_t epoch = 0;
    if (text != NULL && kt_u64_parse(text, 0, 6, &epoch) == 0)
        fuzz_must(!answer->fresh && (rc != 0 || verdict.older));
    fuzz_must(client.state.epoch >= 7 && client.state.incarnation.bits == known.bits);
    fuzz_must(rc != 0 || (answer->http.status >= 200 && answer->http.status < 300));
    fuzz_must(rc != 0 || !call->barrier || answer->fresh);
    fuzz_must(!verdict.doubt || call->change);
    fuzz_must(client.servers.count <= KTC_NODES_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    unsigned asked = fuzz_byte(&input);
    struct ktc_call call = {.method = "GET",
                            .path = "/",
                            .immutable = asked & 1,
                            .barrier = (asked & 2) != 0,
                            .change = (asked & 4) != 0,
                            .version_in_json = (asked & 8) != 0,
                            .min_version = asked & 16 ? 3 : 0};
    struct ktc_answer answer = {.http = {.body = KT_BUF_INIT(BODY_MAX)}, .server = "one.example"};
    struct kt_error error = {0};

    if (client.confdir[0] == '\0')
        snprintf(client.confdir, sizeof(client.confdir), "%s", fuzz_folder());
    client.servers.count = 0; // what the answer before named
    client.servers.preferred = client.servers.active = KTC_NONE;
    answer.http.status = 100 * (1 + (int)(fuzz_byte(&input) % 5));
    if (read_answer(&input, &answer.http) == 0) {
        (void)ktc_answer_error(&answer.http, answer.server, &error);
        check_printable(error.message);
        check_printable(error.hint);
        (void)ktc_answered_version(&answer, call.version_in_json);
        check_deposit(&answer.http);
        judge(&call, &answer);
    }
    kt_http_answer_free(&answer.http);
    return 0;
}
