// SPDX-License-Identifier: Apache-2.0
// One HTTPS connection of a campaign's client, kept open between requests. Says of each request
// whether any byte of it was sent: only then may it have had an effect.
#ifndef CHAOS_WIRE_H
#define CHAOS_WIRE_H

#include <openssl/ssl.h>
#include <stddef.h>

struct chaos_wire {
    SSL_CTX *ctx; // borrowed
    const char *host;
    int port, timeout_ms;
    SSL *ssl; // NULL: not connected
};

struct chaos_answer {
    int status; // 0: no whole answer came
    int sent;   // bytes of the request may have reached the server
    char head[8192];
    unsigned char body[65536];
    size_t length;
};

// CONFDIR is a client's: ca.pem, client-cert.pem, client-key.pem. NULL: cannot be read.
SSL_CTX *chaos_wire_context(const char *confdir);
void chaos_wire_close(struct chaos_wire *wire);
// Sends `head` (request line and fields, with the empty line) and `body`, and reads the answer.
// After anything but a whole answer the connection is closed.
void chaos_wire_ask(struct chaos_wire *wire, const char *head, const void *body, size_t length,
                    struct chaos_answer *answer);
// A field of the answer's head; "" when there is none.
void chaos_answer_field(const struct chaos_answer *answer, const char *name, char *out,
                        size_t size);

#endif
