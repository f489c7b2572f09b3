// SPDX-License-Identifier: Apache-2.0
// The route table: for each call who may make it, with which right, and within which bounds. The
// dispatcher (kts/dispatch.c) checks the columns, so that no handler can forget one.
#ifndef KTS_ROUTES_H
#define KTS_ROUTES_H

#include <stdint.h>

#include "kts/http.h"
#include "lib/encode.h"

struct kts_request;

enum kts_class {
    KTS_READ,   // answered from this node's database or memory
    KTS_CHANGE, // goes through the writer
};

enum kts_caller {
    KTS_ANYONE,            // no certificate is looked at
    KTS_AUTH_CODE,         // the body has an auth code, which the writer checks
    KTS_CLIENT,            // an active client's certificate
    KTS_CLIENT_PENDING_OK, // also one that waits for approval
    KTS_OPERATOR,          // an operator's certificate, listed and not revoked
};

#define KTS_BODY_SETTING SIZE_MAX // bound: limits.body_size

// What Content-Type may be.
enum kts_accepts {
    KTS_ACCEPTS_NOTHING, // no body
    KTS_ACCEPTS_JSON,
    KTS_ACCEPTS_CIPHERTEXT, // a row of the table in kts/ciphertext.c
};

// To add a call: a row in routes.c, a start function in a file kts/h_<call>.c, a line in
// docs/protocol.md (a test compares).
struct kts_route {
    const char *event; // names the call in audit records and the log
    enum kts_method method;
    const char *pattern; // segments; {handle}, {uuid} and {fingerprint} are checked and decoded
    const char *query;   // names of the query parameters, separated by spaces
    int (*start)(struct kts_request *request); // 0, or the error to answer
    const char *right;                         // access word of grants, or NULL
    enum kts_class class;
    enum kts_caller caller;
    int freshness;   // 1: `KT-Freshness: barrier` is honoured
    size_t body_max; // bytes, 0: no body, KTS_BODY_SETTING
    enum kts_accepts accepts;
    int audited; // 1: no answer before its audit record is on disk. Changes: by the writer
};

const struct kts_route *kts_routes_all(size_t *count);

struct kts_match {
    const struct kts_route *route;
    unsigned allow; // enum kts_method, or-ed: what the path has
    char handle[KT_HANDLE_MAX + 1];
    struct kt_uuid uuid;
    char fingerprint[41]; // upper-case hex
};

// Finds the row for a path (still percent-encoded). Segments are split before they are decoded,
// once: an encoded '/' stays part of its segment. Literals are compared as they were sent.
// KT_ERR_ROUTE_UNKNOWN; KT_ERR_METHOD_NOT_ALLOWED (`allow` is set); KT_ERR_HANDLE_INVALID,
// KT_ERR_BAD_REQUEST when the path has the form of a call but a parameter is wrong.
int kts_route_find(enum kts_method method, struct kts_span path,
                   struct kts_match *match) KT_MUST_CHECK;
// "client" and so on, as in docs/protocol.md.
const char *kts_caller_name(enum kts_caller caller);

#endif
