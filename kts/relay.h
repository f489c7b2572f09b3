// SPDX-License-Identifier: Apache-2.0
// What the door hands to the agent over their link, and what comes back. The door may have been
// taken over: each of its frames is a stranger's, and is read as such.
#ifndef KTS_RELAY_H
#define KTS_RELAY_H

#include "lib/buf.h"
#include "lib/change.h"

#define KTS_RELAY_CALLS_MAX    128 // at a time: the door has no more connections
#define KTS_RELAY_VERB_TEXT    65
#define KTS_RELAY_CERT_MAX     8192
#define KTS_RELAY_AUTH_MAX     512
#define KTS_RELAY_BODY_MAX     (1u << 20)
#define KTS_RELAY_STRANGER_MAX (64u << 10) // body of who has no listed certificate
#define KTS_RELAY_FRAME_MAX    KTS_RELAY_BODY_MAX

// Payload of KTS_MSG_GREETING (without verb, authorization and body) and KTS_MSG_CALL: who is at
// the other end of a connection, and what is asked for.
struct kts_relay_call {
    char peer[KT_PEER_TEXT]; // address
    char verb[KTS_RELAY_VERB_TEXT];
    // What TLS says of its certificate: 0, KT_ERR_CERTIFICATE_MISSING, _UNKNOWN_CA or _EXPIRED.
    // The certificate (DER) is there exactly when it is 0. Points into what was decoded.
    int verdict;
    const uint8_t *cert;
    size_t cert_len;
    // While the CA is replaced: the link by which TLS went from the certificate to a root; or empty.
    const uint8_t *link;
    size_t link_len;
    // Text of the header, not ended by NUL; a length of 0 when it was longer than the bound.
    int has_authorization;
    const uint8_t *authorization;
    size_t authorization_len;
    uint64_t body_len; // as announced; may be over any bound
};
int kts_relay_call_encode(const struct kts_relay_call *call, struct kt_buf *out) KT_MUST_CHECK;
// KT_ERR_PROTOCOL for whatever the encoder would not have written.
int kts_relay_call_decode(struct kt_buf *in, struct kts_relay_call *call) KT_MUST_CHECK;

// Payload of KTS_MSG_ANSWER: 0 or an error's code, and the JSON text that the caller gets.
struct kts_relay_answer {
    int code;
    const uint8_t *text;
    size_t text_len; // 0: there is no answer, the connection is closed
};
int kts_relay_answer_encode(const struct kts_relay_answer *answer,
                            struct kt_buf *out) KT_MUST_CHECK;
int kts_relay_answer_decode(struct kt_buf *in, struct kts_relay_answer *answer) KT_MUST_CHECK;

// Whether a verb's name has a verb's form.
int kts_relay_is_verb(const char *text, size_t n);

#endif
