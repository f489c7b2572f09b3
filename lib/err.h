// SPDX-License-Identifier: Apache-2.0
// The one list of error codes: number, name on the wire, HTTP status, exit code, text and hint.
#ifndef KT_ERR_H
#define KT_ERR_H

#include <stddef.h>

#define KT_MUST_CHECK __attribute__((warn_unused_result))

// Every function that can fail returns 0 or one of these (all negative).
// To add one: a line here and a row in err.c; docs/protocol.md lists those with an HTTP status.
enum kt_err_code {
    KT_OK = 0,
    // general
    KT_ERR_INTERNAL = -1, // a broken invariant, or a library that failed without a reason
    KT_ERR_NO_MEMORY = -2,
    KT_ERR_SYSTEM = -3,    // a system call failed; errno or the message says which
    KT_ERR_INVALID = -4,   // an argument or input has the wrong form
    KT_ERR_TOO_LARGE = -5, // over a stated bound
    KT_ERR_TRUNCATED = -6, // input ended too early
    KT_ERR_NOT_FOUND = -7,
    KT_ERR_EXISTS = -8,
    KT_ERR_BUSY = -9, // somebody else holds it, or a queue is full
    KT_ERR_TIMEOUT = -10,
    KT_ERR_USAGE = -11,           // wrong command line
    KT_ERR_SETTINGS = -12,        // the settings file is wrong
    KT_ERR_PERMISSION = -13,      // file modes or owners are wrong, or the system refused
    KT_ERR_NOT_OURS = -14,        // a directory or file that init did not make
    KT_ERR_NOT_INITIALISED = -15, // no cluster here yet
    KT_ERR_NOT_RUNNING = -16,     // the server (or its agent) does not answer
    KT_ERR_CHILD = -17,           // a child process failed
    KT_ERR_CRYPTO = -18,          // OpenSSL or GPGME refused; the message says what
    KT_ERR_SIGNATURE = -19,       // a signature does not verify
    KT_ERR_NETWORK = -20,         // no connection, or it broke
    KT_ERR_PROTOCOL = -21,        // the other side sent what the protocol does not allow
    KT_ERR_REFUSED_BY_USER = -22, // the person said no
    KT_ERR_AGAIN = -23,           // not enough input yet (parsers), or it would block
    KT_ERR_UNCHECKED = -24,       // absent on a node that may not be up to date
    // a recovery key that was accepted is not asked for any more
    KT_ERR_RECOVERY_WITHDRAWN = -25,

    // failover
    KT_ERR_NOT_PROVEN = -30,    // the rules do not allow it with the nodes that answered
    KT_ERR_DIVERGED = -31,      // this node's log went another way: it must rejoin
    KT_ERR_RETIRED = -32,       // this node was retired: it never votes or starts again
    KT_ERR_TOKEN_INVALID = -33, // unknown join token or wrong secret, expired, or used
    KT_ERR_NOT_MEMBER = -34,    // the node is no member of this cluster

    // HTTP: the request itself
    KT_ERR_BAD_REQUEST = -40, // malformed request line, header, JSON or parameter
    KT_ERR_HEADER_TOO_LARGE = -41,
    KT_ERR_BODY_TOO_LARGE = -42,
    KT_ERR_LENGTH_REQUIRED = -43, // no Content-Length (transfer codings are not spoken)
    KT_ERR_ROUTE_UNKNOWN = -44,
    KT_ERR_METHOD_NOT_ALLOWED = -45,
    KT_ERR_CONTENT_TYPE = -46,
    KT_ERR_REQUEST_TIMEOUT = -47,
    KT_ERR_VERSION_NOT_SUPPORTED = -48, // HTTP version
    KT_ERR_HANDLE_INVALID = -49,
    KT_ERR_TOO_MANY_CONNECTIONS = -50,

    // who asks
    KT_ERR_CERTIFICATE_MISSING = -60,
    KT_ERR_CERTIFICATE_UNKNOWN_CA = -61,
    KT_ERR_CERTIFICATE_EXPIRED = -62,
    KT_ERR_CERTIFICATE_REVOKED = -63,
    KT_ERR_CERTIFICATE_UNKNOWN = -64, // signed by our CA, but no client has it
    KT_ERR_CLIENT_PENDING = -65,      // registered, waits for approval
    KT_ERR_CLIENT_REVOKED = -66,
    KT_ERR_ORGANISATION_DISABLED = -67,
    KT_ERR_NOT_GRANTED = -68,
    KT_ERR_AUTH_CODE_INVALID = -69, // unknown id or wrong secret: one answer for both
    KT_ERR_AUTH_CODE_EXPIRED = -70,
    KT_ERR_AUTH_CODE_USED_UP = -71,

    // what is asked
    KT_ERR_DEPOSIT_NOT_FOUND = -80,
    KT_ERR_VERSION_NOT_FOUND = -81,
    KT_ERR_CLIENT_NOT_FOUND = -82,
    KT_ERR_ORGANISATION_NOT_FOUND = -83,
    KT_ERR_ORGANISATION_EXISTS = -84,
    KT_ERR_HANDLE_TAKEN = -85,        // next version of another client's handle
    KT_ERR_DEPOSIT_ID_CONFLICT = -86, // same deposit id, other content
    KT_ERR_BODY_EMPTY = -87,
    KT_ERR_HASH_MISMATCH = -88,  // body does not have the SHA-256 that was sent
    KT_ERR_NOT_CIPHERTEXT = -89, // body is not an encrypted OpenPGP message in form
    KT_ERR_ENCRYPTED_TO_CLUSTER = -90,
    KT_ERR_OPENPGP_KEY_INVALID = -91,
    KT_ERR_CSR_INVALID = -92,
    KT_ERR_CLIENT_EXISTS = -93, // that key is registered already, by another auth code
    KT_ERR_GRANT_NOT_FOUND = -94,
    KT_ERR_DEPOSIT_LOCKED = -95,
    KT_ERR_NOT_DELETED = -96,      // purge of a deposit that was not deleted before
    KT_ERR_DEPOSIT_PURGED = -97,   // its body is gone for ever
    KT_ERR_RECOVERY_MISSING = -98, // the body is not encrypted to a recovery key
    KT_ERR_KEY_GROUP_NOT_FOUND = -99,
    KT_ERR_RELEASE_TOO_EARLY = -100, // a release policy says no
    KT_ERR_RELEASE_EXPIRED = -101,
    KT_ERR_RELEASE_USED_UP = -102,
    KT_ERR_JUSTIFICATION_REQUIRED = -103,
    KT_ERR_VOTES_REQUIRED = -104, // a request was made, or still waits
    KT_ERR_RELEASE_DENIED = -105,
    KT_ERR_REQUEST_NOT_FOUND = -106,
    KT_ERR_REQUEST_CLOSED = -107,
    // trustees were shown another one
    KT_ERR_JUSTIFICATION_DIFFERS = -125,
    KT_ERR_CLOCK_JUMPED = -108,      // purges wait until the time is confirmed
    KT_ERR_TOO_MANY_REQUESTS = -109, // a rate limit

    // the server cannot now (all 5xx; the client may try again or elsewhere)
    KT_ERR_DATABASE_UNAVAILABLE = -110,
    KT_ERR_DATABASE_TIMEOUT = -111,
    KT_ERR_DATABASE = -112, // the database refused a statement: ours to mend
    KT_ERR_WRITER_UNAVAILABLE = -113,
    KT_ERR_AUDIT_UNAVAILABLE = -114,
    KT_ERR_AGENT_UNAVAILABLE = -115,
    KT_ERR_IN_DOUBT = -116, // the change may or may not take effect; asking again is safe
    KT_ERR_NO_QUORUM = -117,
    KT_ERR_PASSIVE = -118, // this node is a passive: changes go to the active
    KT_ERR_FENCED = -119,  // a newer epoch exists
    KT_ERR_WRITE_TIMEOUT = -120,
    KT_ERR_SHUTTING_DOWN = -121,
    KT_ERR_STORAGE_FULL = -122,
    KT_ERR_UNSAFE_SETTINGS = -123, // the guard found weakened PostgreSQL settings
    KT_ERR_CUT_OFF = -124,         // cut off from the active for longer than it may serve
};

// One row of the table. `http` is 0 for codes that never reach the wire.
struct kt_err_info {
    int code;         // enum kt_err_code
    const char *name; // "certificate_missing": stable, documented, on the wire
    int http;         // HTTP status
    int exit;         // exit code of a command, see lib/cli.h
    const char *text; // lower case, no full stop
    const char *hint; // what to do next, or NULL
};

// The row for `code`; never NULL (an unknown code gives the row of KT_ERR_INTERNAL).
const struct kt_err_info *kt_err_info(int code);
// The row whose name is `name`, or NULL.
const struct kt_err_info *kt_err_by_name(const char *name);
// All rows, in order; `*count` receives their number.
const struct kt_err_info *kt_err_all(size_t *count);
// Shorthand for kt_err_info(code)->text.
const char *kt_err_text(int code);

// What went wrong, in words for a person. A function that can say more than its code takes a
// `struct kt_error *` (which may be NULL) and fills it through kt_error_set.
struct kt_error {
    int code;
    char message[512];
    char hint[256];
};

// Fills `error` (if not NULL) and returns `code`. `hint` may be NULL: the table's hint then serves.
// Never pass secrets, bodies or parameters of statements.
int kt_error_set(struct kt_error *error, int code, const char *hint, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
// As kt_error_set with KT_ERR_SYSTEM (or KT_ERR_PERMISSION for EACCES, EPERM; KT_ERR_STORAGE_FULL
// for ENOSPC, EDQUOT) and ": strerror(errno)" appended.
int kt_error_errno(struct kt_error *error, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
