// SPDX-License-Identifier: Apache-2.0
// The table of error codes, and the words that go with one failure.
#include "lib/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/cli.h"

// Hints that several rows share.
#define TRY_AGAIN      "try again in a few seconds, or ask another node"
#define ASK_OPERATOR   "ask the operator of the key trustee"
#define NEW_AUTH_CODE  "ask the operator for a new auth code (ktadmin authcode new)"
#define REGISTER_AGAIN "register this client again with a new auth code"

// Columns: code, name, HTTP status, exit code, text, hint. A row with an HTTP status has a hint.
static const struct kt_err_info TABLE[] = {
    {KT_OK, "ok", 0, KT_EXIT_OK, "no error", NULL},

    // general
    {KT_ERR_INTERNAL, "internal", 500, KT_EXIT_FAILURE, "internal error",
     "give the request id to the operator: the server's log has the reason"},
    {KT_ERR_NO_MEMORY, "no_memory", 0, KT_EXIT_FAILURE, "out of memory", NULL},
    {KT_ERR_SYSTEM, "system", 0, KT_EXIT_FAILURE, "a system call failed", NULL},
    {KT_ERR_INVALID, "invalid", 0, KT_EXIT_FAILURE, "input has the wrong form", NULL},
    {KT_ERR_TOO_LARGE, "too_large", 0, KT_EXIT_FAILURE, "input is over its bound", NULL},
    {KT_ERR_TRUNCATED, "truncated", 0, KT_EXIT_FAILURE, "input ended too early", NULL},
    {KT_ERR_NOT_FOUND, "not_found", 0, KT_EXIT_NOT_FOUND, "not found", NULL},
    {KT_ERR_EXISTS, "exists", 0, KT_EXIT_FAILURE, "exists already", NULL},
    {KT_ERR_BUSY, "busy", 0, KT_EXIT_UNAVAILABLE, "in use by somebody else", "try again later"},
    {KT_ERR_TIMEOUT, "timeout", 0, KT_EXIT_UNAVAILABLE, "it took too long", "try again later"},
    {KT_ERR_USAGE, "usage", 0, KT_EXIT_USAGE, "wrong command line", "try --help"},
    {KT_ERR_SETTINGS, "settings", 0, KT_EXIT_USAGE, "wrong settings", "see keytrustee.conf(5)"},
    {KT_ERR_PERMISSION, "permission", 0, KT_EXIT_FAILURE, "permission denied",
     "check the owner and mode of the file, and the account that runs this"},
    {KT_ERR_NOT_OURS, "not_ours", 0, KT_EXIT_FAILURE, "not made by the key trustee",
     "choose another folder, or look at what is in this one"},
    {KT_ERR_NOT_INITIALISED, "not_initialised", 0, KT_EXIT_FAILURE, "no cluster here yet",
     "run ktadmin init, or check --confdir"},
    {KT_ERR_NOT_RUNNING, "not_running", 0, KT_EXIT_UNAVAILABLE, "the server does not answer",
     "start it (systemctl start keytrusteed) and look at its log"},
    {KT_ERR_CHILD, "child", 0, KT_EXIT_FAILURE, "a program that was called failed", NULL},
    {KT_ERR_CRYPTO, "crypto", 0, KT_EXIT_FAILURE, "a cryptographic operation failed", NULL},
    {KT_ERR_SIGNATURE, "signature", 0, KT_EXIT_INTEGRITY, "the signature does not verify", NULL},
    {KT_ERR_NETWORK, "network", 0, KT_EXIT_UNAVAILABLE, "no connection",
     "check that the server runs, and the address and port"},
    {KT_ERR_PROTOCOL, "protocol", 0, KT_EXIT_FAILURE, "the other side broke the protocol",
     "check that both sides run versions that fit"},
    {KT_ERR_REFUSED_BY_USER, "refused_by_user", 0, KT_EXIT_FAILURE, "not confirmed", NULL},
    {KT_ERR_AGAIN, "again", 0, KT_EXIT_UNAVAILABLE, "not ready yet", NULL},
    {KT_ERR_UNCHECKED, "unchecked", 0, KT_EXIT_UNAVAILABLE,
     "not found here, and it could not be checked with the active",
     "try again when the active can be reached"},
    {KT_ERR_RECOVERY_WITHDRAWN, "recovery_withdrawn", 0, KT_EXIT_REFUSED,
     "the server does not ask for a recovery key that was accepted here",
     "ask the organisation's administrator; when it was retired: keytrustee recovery forget "
     "FINGERPRINT"},

    // failover
    {KT_ERR_NOT_PROVEN, "not_proven", 409, KT_EXIT_FAILURE,
     "it cannot be proven that nothing is lost",
     "bring one of the named nodes up and run it again"},
    {KT_ERR_DIVERGED, "diverged", 409, KT_EXIT_FAILURE, "this node's log went another way",
     "run ktadmin rejoin on it: what is ahead is kept aside"},
    {KT_ERR_RETIRED, "retired", 409, KT_EXIT_FAILURE, "this node was retired",
     "it never votes or starts again; join it under a new identity"},
    {KT_ERR_TOKEN_INVALID, "token_invalid", 403, KT_EXIT_REFUSED,
     "the join token is unknown, expired or used", "make a new one with ktadmin token new"},
    {KT_ERR_NOT_MEMBER, "not_member", 403, KT_EXIT_REFUSED, "the caller is no node of this cluster",
     "ask from a node of the cluster, or with an operator's certificate"},

    // HTTP: the request itself
    {KT_ERR_BAD_REQUEST, "bad_request", 400, KT_EXIT_FAILURE, "malformed request",
     "compare the request with docs/protocol.md"},
    {KT_ERR_HEADER_TOO_LARGE, "header_too_large", 431, KT_EXIT_FAILURE,
     "the request's header is too large", "send fewer or shorter header fields"},
    {KT_ERR_BODY_TOO_LARGE, "body_too_large", 413, KT_EXIT_FAILURE,
     "the request's body is too large", "deposit keys, not data; the bound is limits.body_size"},
    {KT_ERR_LENGTH_REQUIRED, "length_required", 411, KT_EXIT_FAILURE,
     "the request has no content-length",
     "send Content-Length; transfer codings are not supported"},
    {KT_ERR_ROUTE_UNKNOWN, "route_unknown", 404, KT_EXIT_NOT_FOUND, "no such call",
     "check the path; handles are one percent-encoded segment"},
    {KT_ERR_METHOD_NOT_ALLOWED, "method_not_allowed", 405, KT_EXIT_FAILURE,
     "this path does not have that method", "the Allow header lists the methods it has"},
    {KT_ERR_CONTENT_TYPE, "content_type", 415, KT_EXIT_FAILURE,
     "this call does not take that content type",
     "deposits are application/pgp-encrypted, all else is application/json"},
    {KT_ERR_REQUEST_TIMEOUT, "request_timeout", 408, KT_EXIT_UNAVAILABLE,
     "the request did not arrive in time", "send the request again on a new connection"},
    {KT_ERR_VERSION_NOT_SUPPORTED, "version_not_supported", 505, KT_EXIT_FAILURE,
     "this HTTP version is not supported", "use HTTP/1.1"},
    {KT_ERR_HANDLE_INVALID, "handle_invalid", 400, KT_EXIT_USAGE, "not a valid handle",
     "a handle has 1 to 255 characters of A-Z a-z 0-9 . _ / @ : + -"},
    {KT_ERR_TOO_MANY_CONNECTIONS, "too_many_connections", 503, KT_EXIT_UNAVAILABLE,
     "the server has too many connections", TRY_AGAIN},

    // who asks
    {KT_ERR_CERTIFICATE_MISSING, "certificate_missing", 401, KT_EXIT_REFUSED,
     "this call needs a client certificate", "register this client first"},
    {KT_ERR_CERTIFICATE_UNKNOWN_CA, "certificate_unknown_ca", 401, KT_EXIT_REFUSED,
     "the certificate was not issued by this cluster",
     "check that client and server belong to the same cluster"},
    {KT_ERR_CERTIFICATE_EXPIRED, "certificate_expired", 401, KT_EXIT_REFUSED,
     "the certificate is outside its validity",
     "check the clocks; if it has expired register this client again, with a new auth code"},
    {KT_ERR_CERTIFICATE_REVOKED, "certificate_revoked", 401, KT_EXIT_REFUSED,
     "the certificate was revoked", REGISTER_AGAIN},
    {KT_ERR_CERTIFICATE_UNKNOWN, "certificate_unknown", 401, KT_EXIT_REFUSED,
     "no client has this certificate", REGISTER_AGAIN},
    {KT_ERR_CLIENT_PENDING, "client_pending", 403, KT_EXIT_REFUSED, "the client waits for approval",
     "ask the operator to approve it (ktadmin client approve)"},
    {KT_ERR_CLIENT_REVOKED, "client_revoked", 403, KT_EXIT_REFUSED, "the client was revoked",
     REGISTER_AGAIN},
    {KT_ERR_ORGANISATION_DISABLED, "organisation_disabled", 403, KT_EXIT_REFUSED,
     "the organisation is disabled", ASK_OPERATOR},
    {KT_ERR_NOT_GRANTED, "not_granted", 403, KT_EXIT_REFUSED, "the client does not have this right",
     "ask the operator for a grant (ktadmin grant)"},
    {KT_ERR_AUTH_CODE_INVALID, "auth_code_invalid", 403, KT_EXIT_REFUSED,
     "the auth code is not valid", "check it for typing errors, or ask for a new one"},
    {KT_ERR_AUTH_CODE_EXPIRED, "auth_code_expired", 403, KT_EXIT_REFUSED,
     "the auth code has expired", NEW_AUTH_CODE},
    {KT_ERR_AUTH_CODE_USED_UP, "auth_code_used_up", 403, KT_EXIT_REFUSED,
     "the auth code has no uses left", NEW_AUTH_CODE},

    // what is asked
    {KT_ERR_DEPOSIT_NOT_FOUND, "deposit_not_found", 404, KT_EXIT_NOT_FOUND, "no such deposit",
     "list the handles that this client can see"},
    {KT_ERR_VERSION_NOT_FOUND, "version_not_found", 404, KT_EXIT_NOT_FOUND,
     "the deposit has no such version", "ask without a version for the latest"},
    {KT_ERR_CLIENT_NOT_FOUND, "client_not_found", 404, KT_EXIT_NOT_FOUND, "no such client",
     "list the clients (ktadmin client list)"},
    {KT_ERR_ORGANISATION_NOT_FOUND, "organisation_not_found", 404, KT_EXIT_NOT_FOUND,
     "no such organisation", "list the organisations (ktadmin org list)"},
    {KT_ERR_ORGANISATION_EXISTS, "organisation_exists", 409, KT_EXIT_FAILURE,
     "an organisation of that name exists", "choose another name"},
    {KT_ERR_HANDLE_TAKEN, "handle_taken", 409, KT_EXIT_REFUSED,
     "the handle belongs to another client",
     "choose another handle, or ask for a grant on this one"},
    {KT_ERR_DEPOSIT_ID_CONFLICT, "deposit_id_conflict", 409, KT_EXIT_FAILURE,
     "the deposit id was used for other content", "use a new deposit id for each deposit"},
    {KT_ERR_BODY_EMPTY, "body_empty", 422, KT_EXIT_FAILURE, "the body is empty",
     "send the encrypted secret as the body"},
    {KT_ERR_HASH_MISMATCH, "hash_mismatch", 422, KT_EXIT_INTEGRITY,
     "the body does not have the SHA-256 that was sent", "send the deposit again"},
    {KT_ERR_NOT_CIPHERTEXT, "not_ciphertext", 422, KT_EXIT_FAILURE,
     "the body is not an encrypted OpenPGP message",
     "encrypt it to the client's own OpenPGP key, binary, not armored"},
    {KT_ERR_ENCRYPTED_TO_CLUSTER, "encrypted_to_cluster", 422, KT_EXIT_FAILURE,
     "the body is encrypted to the cluster's own key",
     "encrypt it to the client's own OpenPGP key only"},
    {KT_ERR_OPENPGP_KEY_INVALID, "openpgp_key_invalid", 422, KT_EXIT_FAILURE,
     "not a valid OpenPGP public key", "send one binary public key of version 4"},
    {KT_ERR_CSR_INVALID, "csr_invalid", 422, KT_EXIT_FAILURE, "not a valid certificate request",
     "send a PEM request for a P-256, P-384 or Ed25519 key"},
    {KT_ERR_CLIENT_EXISTS, "client_exists", 409, KT_EXIT_FAILURE, "that key is registered already",
     "make a new key, or use the registration there is"},
    {KT_ERR_GRANT_NOT_FOUND, "grant_not_found", 404, KT_EXIT_NOT_FOUND, "no such grant",
     "list the grants (ktadmin grants)"},
    {KT_ERR_DEPOSIT_LOCKED, "deposit_locked", 409, KT_EXIT_REFUSED, "the deposit is locked",
     "wait for the lock to end, or ask the operator"},
    {KT_ERR_NOT_DELETED, "not_deleted", 409, KT_EXIT_REFUSED, "the deposit was not deleted before",
     "delete it first: purging is for what was deleted"},
    {KT_ERR_DEPOSIT_PURGED, "deposit_purged", 410, KT_EXIT_NOT_FOUND, "the deposit was purged",
     "its ciphertext is gone for ever; its receipt and hash are kept"},
    {KT_ERR_RECOVERY_MISSING, "recovery_missing", 422, KT_EXIT_REFUSED,
     "the body is not encrypted to the organisation's recovery recipients",
     "run keytrustee recovery list: it shows them, and how to accept them"},
    {KT_ERR_KEY_GROUP_NOT_FOUND, "key_group_not_found", 404, KT_EXIT_NOT_FOUND, "no such key group",
     "list the key groups (ktadmin group list)"},
    {KT_ERR_RELEASE_TOO_EARLY, "release_too_early", 403, KT_EXIT_REFUSED,
     "the deposit is not released yet", "its policy says from when on"},
    {KT_ERR_RELEASE_EXPIRED, "release_expired", 403, KT_EXIT_REFUSED,
     "the deposit's time to live is over", "it can be deleted; it is not released any more"},
    {KT_ERR_RELEASE_USED_UP, "release_used_up", 403, KT_EXIT_REFUSED,
     "the deposit was retrieved as often as its policy allows", "deposit it anew"},
    {KT_ERR_JUSTIFICATION_REQUIRED, "justification_required", 403, KT_EXIT_REFUSED,
     "the deposit is released with a justification only", "give one: keytrustee get --why TEXT"},
    {KT_ERR_VOTES_REQUIRED, "votes_required", 403, KT_EXIT_REFUSED, "the retrieval waits for votes",
     "ask the trustees to vote, then repeat the command"},
    {KT_ERR_RELEASE_DENIED, "release_denied", 403, KT_EXIT_REFUSED,
     "the trustees denied the retrieval", "talk to them; a new request can be made after it ends"},
    {KT_ERR_REQUEST_NOT_FOUND, "request_not_found", 404, KT_EXIT_NOT_FOUND, "no such request",
     "list the requests (keytrustee requests)"},
    {KT_ERR_REQUEST_CLOSED, "request_closed", 409, KT_EXIT_REFUSED,
     "the request is decided, used or expired", "list the requests (keytrustee requests)"},
    {KT_ERR_JUSTIFICATION_DIFFERS, "justification_differs", 403, KT_EXIT_REFUSED,
     "trustees vote on this retrieval with another justification",
     "give the same one (keytrustee requests shows it), or wait until that request has ended"},
    {KT_ERR_CLOCK_JUMPED, "clock_jumped", 503, KT_EXIT_UNAVAILABLE,
     "the server's clock made a long step, purges wait",
     "the operator checks the time and runs ktadmin clock confirm"},
    {KT_ERR_TOO_MANY_REQUESTS, "too_many_requests", 429, KT_EXIT_UNAVAILABLE,
     "too many requests or failures from here", "slow down and try again later"},

    // the server cannot now
    {KT_ERR_DATABASE_UNAVAILABLE, "database_unavailable", 503, KT_EXIT_UNAVAILABLE,
     "the database does not answer", TRY_AGAIN},
    {KT_ERR_DATABASE_TIMEOUT, "database_timeout", 503, KT_EXIT_UNAVAILABLE,
     "the database did not answer in time", TRY_AGAIN},
    {KT_ERR_DATABASE, "database", 500, KT_EXIT_FAILURE, "the database refused a statement",
     "give the request id to the operator: the server's log has the reason"},
    {KT_ERR_WRITER_UNAVAILABLE, "writer_unavailable", 503, KT_EXIT_UNAVAILABLE,
     "the writer does not answer", TRY_AGAIN},
    {KT_ERR_AUDIT_UNAVAILABLE, "audit_unavailable", 503, KT_EXIT_UNAVAILABLE,
     "the audit record cannot be written",
     "ask another node; the operator looks at the audit folder's disk"},
    {KT_ERR_AGENT_UNAVAILABLE, "agent_unavailable", 503, KT_EXIT_UNAVAILABLE,
     "the agent does not answer", TRY_AGAIN},
    {KT_ERR_IN_DOUBT, "in_doubt", 503, KT_EXIT_IN_DOUBT,
     "the change may or may not have taken effect",
     "send the same request again: it is done at most once"},
    {KT_ERR_NO_QUORUM, "no_quorum", 503, KT_EXIT_UNAVAILABLE,
     "too few nodes are connected to make a change durable",
     "the operator runs ktadmin status; changes go on when a passive is back"},
    {KT_ERR_PASSIVE, "passive", 503, KT_EXIT_UNAVAILABLE, "this node is a passive",
     "send changes to the active; ktadmin status names it"},
    {KT_ERR_FENCED, "fenced", 503, KT_EXIT_UNAVAILABLE, "this node belongs to an older epoch",
     "use another node, and tell the operator"},
    {KT_ERR_WRITE_TIMEOUT, "write_timeout", 503, KT_EXIT_IN_DOUBT,
     "the change was not durable in time and may still take effect",
     "send the same request again: it is done at most once"},
    {KT_ERR_SHUTTING_DOWN, "shutting_down", 503, KT_EXIT_UNAVAILABLE, "the server is stopping",
     TRY_AGAIN},
    {KT_ERR_STORAGE_FULL, "storage_full", 507, KT_EXIT_UNAVAILABLE, "the disk is full",
     "the operator makes room on the node's disk"},
    {KT_ERR_UNSAFE_SETTINGS, "unsafe_settings", 503, KT_EXIT_UNAVAILABLE,
     "the database's settings do not guarantee durability",
     "the operator runs ktadmin status and restores the settings it names"},
    {KT_ERR_CUT_OFF, "cut_off", 503, KT_EXIT_UNAVAILABLE,
     "this node has been cut off from its active for too long to serve clients",
     "use another node; the operator reconnects it or promotes it (ktadmin status)"},
};

#define TABLE_ROWS (sizeof(TABLE) / sizeof(TABLE[0]))

const struct kt_err_info *kt_err_info(int code)
{
    const struct kt_err_info *internal = TABLE; // a row in any case

    for (size_t i = 0; i < TABLE_ROWS; i++) {
        if (TABLE[i].code == code)
            return &TABLE[i];
        if (TABLE[i].code == KT_ERR_INTERNAL)
            internal = &TABLE[i];
    }
    return internal;
}

const struct kt_err_info *kt_err_by_name(const char *name)
{
    for (size_t i = 0; name && i < TABLE_ROWS; i++) {
        if (strcmp(TABLE[i].name, name) == 0)
            return &TABLE[i];
    }
    return NULL;
}

const struct kt_err_info *kt_err_all(size_t *count)
{
    *count = TABLE_ROWS;
    return TABLE;
}

const char *kt_err_text(int code)
{
    return kt_err_info(code)->text;
}

// Messages go into JSON, where half a UTF-8 character would make them unprintable.
static void trim_broken_tail(char *s, size_t len)
{
    size_t start = len;

    while (start > 0 && len - start < 3 && ((unsigned char)s[start - 1] & 0xc0) == 0x80)
        start--;
    if (start == 0)
        return;
    unsigned char lead = (unsigned char)s[start - 1];
    size_t want = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
    if (want > len - start + 1)
        s[start - 1] = '\0';
}

static void copy_text(char *out, size_t size, const char *text)
{
    int n = snprintf(out, size, "%s", text);

    if (n >= 0 && (size_t)n >= size)
        trim_broken_tail(out, size - 1);
}

__attribute__((format(printf, 4, 0))) static void fill(struct kt_error *error, int code,
                                                       const char *hint, const char *fmt,
                                                       va_list args)
{
    // Through a local: callers may pass the old message as an argument to wrap it.
    struct kt_error fresh = {.code = code};

    int n = vsnprintf(fresh.message, sizeof(fresh.message), fmt, args);
    if (n < 0)
        copy_text(fresh.message, sizeof(fresh.message), kt_err_text(code));
    else if ((size_t)n >= sizeof(fresh.message))
        trim_broken_tail(fresh.message, sizeof(fresh.message) - 1);
    if (!hint)
        hint = kt_err_info(code)->hint;
    if (hint)
        copy_text(fresh.hint, sizeof(fresh.hint), hint);
    *error = fresh;
}

int kt_error_set(struct kt_error *error, int code, const char *hint, const char *fmt, ...)
{
    va_list args;

    if (error) {
        va_start(args, fmt);
        fill(error, code, hint, fmt, args);
        va_end(args);
    }
    return code;
}

static int code_of_errno(int number)
{
    switch (number) {
    case EACCES:
    case EPERM:
        return KT_ERR_PERMISSION;
    case ENOSPC:
    case EDQUOT:
        return KT_ERR_STORAGE_FULL;
    default:
        return KT_ERR_SYSTEM;
    }
}

int kt_error_errno(struct kt_error *error, const char *fmt, ...)
{
    int saved = errno;
    int code = code_of_errno(saved);
    va_list args;

    if (error) {
        char why[128];
        va_start(args, fmt);
        fill(error, code, NULL, fmt, args);
        va_end(args);
        copy_text(why, sizeof(why), strerror(saved));
        size_t len = strlen(error->message);
        size_t room = sizeof(error->message) - strlen(why) - 3;
        if (len > room) { // the reason is worth more than the end of a long path
            trim_broken_tail(error->message, room);
            len = strnlen(error->message, room);
        }
        snprintf(error->message + len, sizeof(error->message) - len, ": %s", why);
    }
    errno = saved;
    return code;
}
