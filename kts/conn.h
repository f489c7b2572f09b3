// SPDX-License-Identifier: Apache-2.0
// A client's TLS connection: bytes in, requests in order, answers out, a deadline for each step.
#ifndef KTS_CONN_H
#define KTS_CONN_H

#include <sys/socket.h>

#include "lib/buf.h"
#include "kts/meter.h"
#include "lib/digest.h"

struct kts_conn;
struct kts_worker;

// Takes the descriptor over (non-blocking, TCP), also on failure; begins the handshake.
void kts_conn_new(struct kts_worker *worker, int fd, const struct sockaddr *peer,
                  const uint8_t address[KTS_ADDRESS_LEN]);
// To make room: at once, and without a word beyond the proper end.
void kts_conn_turn_out(struct kts_conn *conn);
// At the worker's end: closes and frees.
void kts_conn_free(struct kts_conn *conn);
// At a stop: closes every connection of the worker that is between two requests. One that has not
// had its first is answered once, when that comes soon: its client has no reason to try again.
void kts_conns_close_idle(struct kts_worker *worker);
void kts_conns_free_all(struct kts_worker *worker);

// "192.0.2.1:40000", "[2001:db8::1]:40000".
const char *kts_conn_peer(const struct kts_conn *conn);
// The verdict on its certificate now, and the certificate's SHA-256 when there is one.
int kts_conn_certificate(struct kts_conn *conn, uint8_t sha256[KT_SHA256_LEN]);
// Whose turns its requests take: hashes of the organisation and the client that its certificate
// names (0 without one), and of its address.
struct kts_caller_keys {
    uint64_t organisation, client, address;
};
const struct kts_caller_keys *kts_conn_keys(struct kts_conn *conn);
const uint8_t *kts_conn_address(const struct kts_conn *conn); // KTS_ADDRESS_LEN bytes
// Its request has a place now (kts/shares.h): it goes on in its next event.
void kts_conn_resume(struct kts_conn *conn);
// Where an answer is composed. It is empty while a request is being worked on.
struct kt_buf *kts_conn_out(struct kts_conn *conn);
// The connection is closed when the answer is sent.
void kts_conn_close_after(struct kts_conn *conn);
// The answer is complete (or empty: the connection is closed). The request is freed when it is
// sent.
void kts_conn_send(struct kts_conn *conn);
// The request's present phase may take this long from now on.
void kts_conn_deadline(struct kts_conn *conn, int64_t ms);

#endif
