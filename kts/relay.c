// SPDX-License-Identifier: Apache-2.0
// The frames between door and agent.
#include "kts/relay.h"

#include <string.h>

#include "lib/agent_call.h"

// A digit, a colon, ...: an address with its port as kts_conn_format_peer writes it. It gets into
// records and the log.
static int is_peer(const char *text)
{
    if (strcmp(text, "unknown") == 0)
        return 1;
    return text[0] && text[strspn(text, "0123456789abcdef.:[]")] == '\0';
}

int kts_relay_is_verb(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!((text[i] >= 'a' && text[i] <= 'z') || text[i] == '.' || text[i] == '_'))
            return 0;
    }
    return n > 0 && n < KTS_RELAY_VERB_TEXT;
}

static int is_verdict(int code)
{
    return code == 0 || code == KT_ERR_CERTIFICATE_MISSING ||
           code == KT_ERR_CERTIFICATE_UNKNOWN_CA || code == KT_ERR_CERTIFICATE_EXPIRED;
}

int kts_relay_call_encode(const struct kts_relay_call *call, struct kt_buf *out)
{
    int rc = kt_buf_put_cstr(out, call->peer);

    if (rc == 0)
        rc = kt_buf_put_cstr(out, call->verb);
    if (rc == 0)
        rc = kt_buf_put_u32(out, (uint32_t)-call->verdict);
    if (rc == 0)
        rc = kt_buf_put_block(out, call->cert, call->cert_len);
    if (rc == 0)
        rc = kt_buf_put_u8(out, (uint8_t)(call->has_authorization != 0));
    if (rc == 0)
        rc = kt_buf_put_block(out, call->authorization, call->authorization_len);
    if (rc == 0)
        rc = kt_buf_put_u64(out, call->body_len);
    return rc ? rc : kt_buf_put_block(out, call->link, call->link_len);
}

static int is_sound(const struct kts_relay_call *call)
{
    int is_greeting = call->verb[0] == '\0';

    if (!is_peer(call->peer) || !is_verdict(call->verdict) ||
        (call->verdict == 0) != (call->cert_len > 0) || (call->link_len && !call->cert_len) ||
        (call->authorization_len && !call->has_authorization))
        return 0;
    if (is_greeting)
        return !call->has_authorization && call->body_len == 0;
    return kts_relay_is_verb(call->verb, strlen(call->verb));
}

int kts_relay_call_decode(struct kt_buf *in, struct kts_relay_call *call)
{
    struct kts_relay_call fresh = {.verdict = 0};
    uint32_t verdict = 0;
    uint8_t flag = 0;

    if (kt_buf_get_cstr(in, fresh.peer, sizeof(fresh.peer)) ||
        kt_buf_get_cstr(in, fresh.verb, sizeof(fresh.verb)) || kt_buf_get_u32(in, &verdict) ||
        verdict > 1000 || kt_buf_get_block(in, &fresh.cert, &fresh.cert_len, KTS_RELAY_CERT_MAX) ||
        kt_buf_get_u8(in, &flag) || flag > 1 ||
        kt_buf_get_block(in, &fresh.authorization, &fresh.authorization_len, KTS_RELAY_AUTH_MAX) ||
        kt_buf_get_u64(in, &fresh.body_len) ||
        kt_buf_get_block(in, &fresh.link, &fresh.link_len, KTS_RELAY_CERT_MAX) ||
        kt_buf_left(in) != 0)
        return KT_ERR_PROTOCOL;
    fresh.verdict = -(int)verdict;
    fresh.has_authorization = flag;
    if (!is_sound(&fresh))
        return KT_ERR_PROTOCOL;
    *call = fresh;
    return 0;
}

int kts_relay_answer_encode(const struct kts_relay_answer *answer, struct kt_buf *out)
{
    int rc = kt_buf_put_u32(out, (uint32_t)-answer->code);

    return rc ? rc : kt_buf_put_block(out, answer->text, answer->text_len);
}

int kts_relay_answer_decode(struct kt_buf *in, struct kts_relay_answer *answer)
{
    struct kts_relay_answer fresh = {.code = 0};
    uint32_t code = 0;

    if (kt_buf_get_u32(in, &code) || code > 1000 ||
        kt_buf_get_block(in, &fresh.text, &fresh.text_len, KT_AGENT_MESSAGE_MAX) ||
        kt_buf_left(in) != 0)
        return KT_ERR_PROTOCOL;
    fresh.code = -(int)code;
    *answer = fresh;
    return 0;
}
