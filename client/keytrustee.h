/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libkeytrustee: deposit secrets with a key trustee server and fetch them back.
 *
 * A secret is signed and encrypted on this host, under an OpenPGP key that never leaves it; the
 * server stores ciphertext. What the library hands back was decrypted here and its signature, its
 * hash and its receipt were checked here.
 *
 * Handles and threads. A `struct keytrustee` is used by one thread at a time. Any number of them
 * may be open, in any threads and processes, also on the same confdir. The library keeps no state
 * of its own outside the handles, installs no signal handlers, and prints nothing.
 * gpg and gpgconf are run as child processes: the program must not ignore SIGCHLD, and must not
 * wait() for children it did not start.
 *
 * Results. Functions that can fail return KEYTRUSTEE_OK (0) or another value of
 * enum keytrustee_result, and then say why in `error`, which may be NULL. Outputs are set only on
 * success. Text given out is UTF-8, NUL-terminated, without control characters.
 *
 * Versions. The library follows semantic versioning: within a major version nothing is removed.
 * Structures that the caller fills in carry their size, so that they can grow at the end; those
 * that the library fills in for the caller (keytrustee_error, keytrustee_deposit) keep their size,
 * and have reserved space for what is added. Structures that the library allocates may grow at the
 * end; never copy them by sizeof.
 *
 * Compile and link with `pkg-config --cflags --libs keytrustee`.
 */
#ifndef KEYTRUSTEE_H
#define KEYTRUSTEE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define KEYTRUSTEE_API __attribute__((visibility("default")))
#else
#define KEYTRUSTEE_API
#endif

#define KEYTRUSTEE_VERSION_MAJOR 0
#define KEYTRUSTEE_VERSION_MINOR 1
#define KEYTRUSTEE_VERSION_PATCH 0

/* The largest secret, in bytes. A server may have a smaller bound. */
#define KEYTRUSTEE_SECRET_MAX 1048576
/* Sizes of texts, NUL included. */
#define KEYTRUSTEE_UUID_SIZE        37
#define KEYTRUSTEE_HANDLE_SIZE      256
#define KEYTRUSTEE_SHA256_SIZE      65
#define KEYTRUSTEE_INCARNATION_SIZE 32
#define KEYTRUSTEE_TIME_SIZE        32
#define KEYTRUSTEE_NAME_SIZE        64

/* What came of a call. The command keytrustee(1) exits with the same numbers. */
enum keytrustee_result {
    KEYTRUSTEE_OK = 0,
    KEYTRUSTEE_FAILURE = 1,   /* it did not work; the message says why */
    KEYTRUSTEE_USAGE = 2,     /* an argument is wrong: an empty secret, a malformed handle */
    KEYTRUSTEE_NOT_FOUND = 3, /* no such deposit or version, confirmed by an up-to-date node */
    /* not permitted: certificate, grant, approval, auth code, release policy */
    KEYTRUSTEE_REFUSED = 4,
    /* no server can be reached or can answer now; or, with the name "unchecked": not found, on
     * nodes that may not be up to date; try again */
    KEYTRUSTEE_UNAVAILABLE = 5,
    KEYTRUSTEE_IN_DOUBT = 6, /* the change may or may not have taken effect; repeat the call */
    KEYTRUSTEE_INTEGRITY = 7 /* a signature, hash, receipt or history does not verify */
};

struct keytrustee_error {
    int result;                         /* enum keytrustee_result */
    char name[40];                      /* stable name of the precise error: "deposit_not_found" */
    char message[512];                  /* for a person, one line */
    char hint[256];                     /* what to do next, or "" */
    char request[KEYTRUSTEE_UUID_SIZE]; /* with "votes_required": what trustees vote on; or "" */
    char reserved[27];                  /* 0; for later versions */
};

/* A client: its confdir, its keys, its connections. */
struct keytrustee;

/* The version of the library that is loaded: "0.1.0". */
KEYTRUSTEE_API const char *keytrustee_version(void);

/* --- opening --- */

struct keytrustee_options {
    size_t size; /* sizeof(struct keytrustee_options) */
    /* Where keys, certificates and receipts are. NULL: the environment's KEYTRUSTEE_CONFDIR, else
     * /var/lib/keytrustee-client for root and ~/.config/keytrustee for others. */
    const char *confdir;
    /* For each call as a whole, retries included. 0: 30 seconds. */
    int timeout_ms;
    /* Told of what is worth knowing but no failure: a retry, a certificate that could not be
     * renewed or is about to expire, a cluster that was restored from a backup. May be NULL. The texts are valid during
     * the call; `hint` may be "". Must not call the library. */
    void (*warn)(void *arg, const char *message, const char *hint);
    void *warn_arg;
    /* For a connection to one server, and how long a server that was connected to may acknowledge
     * nothing before it counts as dead. 0: 1 second. */
    int connect_timeout_ms;
    /* Servers to use instead of those of the confdir, NULL-terminated, at most 16; they are not
     * saved. May be NULL. */
    const char *const *servers;
};

/* Opens the client of a confdir. `options` may be NULL. The confdir need not exist yet: it is made
 * by keytrustee_register, and until then every other call fails with KEYTRUSTEE_REFUSED
 * ("certificate_missing"). Nothing is sent. */
KEYTRUSTEE_API int keytrustee_open(const struct keytrustee_options *options,
                                   struct keytrustee **client, struct keytrustee_error *error);
/* For the calls that follow; 0 leaves one as it is. */
KEYTRUSTEE_API void keytrustee_set_timeouts(struct keytrustee *client, int timeout_ms,
                                            int connect_timeout_ms);
/* NULL is fine. */
KEYTRUSTEE_API void keytrustee_close(struct keytrustee *client);

/* --- servers ---
 *
 * A client knows the servers it was registered with, and those that nodes name as the active.
 *
 * Reads go to the server that answered last, and to the next one when that fails. One that cost a
 * timeout is set aside: it is passed over, for 5 seconds at first and for a minute at most, and
 * then looked at by one request. This is remembered in the confdir, so that the next process does
 * not pay for it again. A refused connection costs nothing.
 *
 * Changes go to the active: the last one known, the one that a passive or fenced node names, or
 * whichever takes it. They are repeated until the timeout, as the same change, so that a failover
 * meanwhile is not noticed.
 *
 * A server with too many requests of this client says for how long it wants to be left alone. The
 * call waits for that, and a random part of it more, and asks again; `warn` is told once. When the
 * timeout does not allow it the call fails at once: KEYTRUSTEE_UNAVAILABLE ("too_many_requests"), and
 * the hint says how long. A change that fails so was not made.
 *
 * A deposit that a node has is right on any node, always. What a node that is behind can be wrong
 * about - that there is no such deposit, that a version is the latest although a later one was
 * acknowledged to this host, that this client has not the right - is asked again of the active,
 * behind a proof that it is the active now, and of the other nodes. When that cannot be had the
 * call fails with KEYTRUSTEE_UNAVAILABLE and the name "unchecked" (a refusal stays one, and says so
 * in its message).
 *
 * The newest incarnation and epoch that any node has shown are remembered. Nodes of an older epoch
 * are not believed about absence, lists and rights, and get no changes; a deposit of theirs is
 * taken when no node of the newest epoch answers, with a warning. Nodes of an older incarnation are
 * not believed at all.
 *
 * A newer incarnation is a cluster that was restored from a backup. It is believed when its node
 * shows a statement of it for this cluster, signed by the cluster's OpenPGP key: that is asked once,
 * and `warn` is told what the backup lacks. Without one the call fails: KEYTRUSTEE_INTEGRITY
 * ("signature"), or KEYTRUSTEE_UNAVAILABLE ("unchecked") when the statement cannot be had now; a
 * change that such a node has taken is KEYTRUSTEE_IN_DOUBT. */

/* Whom the last answer that counted came from. */
struct keytrustee_source {
    char server[300];                              /* as registered, or as a node named it */
    char incarnation[KEYTRUSTEE_INCARNATION_SIZE]; /* the history it is in */
    uint64_t epoch;
    int fresh;         /* 1: the active answered, behind a proof that it is up to date */
    int older_epoch;   /* 1: no node of the newest epoch answered; what was read is right, but
                        * there may be a later version */
    char reserved[64]; /* 0; for later versions */
};
/* About the last call that had an answer: KEYTRUSTEE_OK or KEYTRUSTEE_NOT_FOUND. For
 * keytrustee_list `fresh` is 1 when the whole list was. */
KEYTRUSTEE_API void keytrustee_answered_by(const struct keytrustee *client,
                                           struct keytrustee_source *source);

struct keytrustee_server {
    const char *name;    /* as registered, or as a node named it */
    int reachable;       /* keytrustee_status: 1: it answered just now */
    const char *problem; /* keytrustee_status: why not, or what is wrong with its answer, or "" */
    int learned;         /* 1: not registered, a node named it */
    int is_active;       /* keytrustee_status: it is the active now; keytrustee_servers: it is
                           * the last one known */
    int set_aside;       /* 1: it cost a timeout and is passed over */
    const char *node;    /* keytrustee_status: the node's name, or "" */
    const char *role;    /* keytrustee_status: "active", "passive", "standalone", ... or "" */
    uint64_t epoch;      /* keytrustee_status: of that node */
};
/* A callback that is given one server; anything but 0 ends the call, which then returns
 * KEYTRUSTEE_OK. */
typedef int (*keytrustee_server_fn)(void *arg, const struct keytrustee_server *server);
/* The servers this client knows. None is asked. */
KEYTRUSTEE_API int keytrustee_servers(struct keytrustee *client, keytrustee_server_fn each,
                                      void *arg, struct keytrustee_error *error);
/* Adds servers ("HOST", "HOST:PORT", "[IPV6]:PORT"; NULL-terminated) to those of the confdir, or
 * removes them: the last one stays (KEYTRUSTEE_USAGE). Nothing is sent. A server that is there is
 * not added again; one that is not there cannot be removed (KEYTRUSTEE_NOT_FOUND). */
KEYTRUSTEE_API int keytrustee_servers_add(struct keytrustee *client, const char *const *servers,
                                          struct keytrustee_error *error);
KEYTRUSTEE_API int keytrustee_servers_remove(struct keytrustee *client, const char *const *servers,
                                             struct keytrustee_error *error);

/* --- enrolment --- */

struct keytrustee_registration {
    size_t size; /* sizeof(struct keytrustee_registration) */
    const char *const
        *servers;          /* "HOST", "HOST:PORT", "[IPV6]:PORT"; NULL-terminated, at most 16 */
    const char *auth_code; /* from the operator; the caller wipes its copy */
    const char *name;      /* 1-63 of A-Z a-z 0-9 . _ -; NULL: this host's name */
    /* Fingerprints of recovery keys to accept, NULL-terminated; or NULL. */
    const char *const *recovery;
};

/* Makes this client's keys, and has its certificate signed by the cluster the auth code belongs
 * to. Keys are saved first: an interrupted registration that is repeated goes on with the same
 * keys and gets the same certificate. A client that waits for approval is a success; see
 * keytrustee_status. */
KEYTRUSTEE_API int keytrustee_register(struct keytrustee *client,
                                       const struct keytrustee_registration *registration,
                                       struct keytrustee_error *error);

/* --- deposits --- */

enum keytrustee_lock_mode {
    KEYTRUSTEE_LOCK_NONE = 0,
    KEYTRUSTEE_LOCK_GOVERNANCE = 1, /* the right "bypass" lifts it */
    KEYTRUSTEE_LOCK_COMPLIANCE = 2  /* nobody shortens it */
};

struct keytrustee_deposit {
    char id[KEYTRUSTEE_UUID_SIZE];
    char handle[KEYTRUSTEE_HANDLE_SIZE];
    uint32_t version;                              /* 1, 2, 3 ... under one handle */
    char sha256[KEYTRUSTEE_SHA256_SIZE];           /* of the ciphertext, lower-case hex */
    uint64_t size;                                 /* of the ciphertext, bytes */
    uint64_t log_index;                            /* position in the cluster's log of deposits */
    char incarnation[KEYTRUSTEE_INCARNATION_SIZE]; /* "" when the call does not tell it */
    uint64_t epoch;                                /* 0 when the call does not tell it */
    char time[KEYTRUSTEE_TIME_SIZE];               /* "2026-11-22T06:11:43.123456Z", or "" */
    char client[KEYTRUSTEE_UUID_SIZE];             /* who deposited it, or "" */
    int deleted;                                   /* 1: deleted, and not yet purged */
    uint32_t copies; /* nodes that had it on disk when it was acknowledged, at least; 0: not told */
    int receipt;     /* 1: a receipt for exactly this deposit was verified */
    int policy;      /* 1: it has a release policy, says the server; told by lists and info */
    /* keytrustee_info; the server's word, which no receipt proves. Times are microseconds since
     * 1970, 0: none */
    int lock;                             /* enum keytrustee_lock_mode */
    int lock_in_force;                    /* 1: not deleted or purged before lock_until_us */
    int legal_hold;                       /* 1: not deleted or purged until the hold is lifted */
    int64_t lock_until_us;                /* ends the lock */
    int64_t purge_after_us;               /* deleted, and erased from then on */
    int64_t purged_us;                    /* erased: the ciphertext is gone */
    char key_group[KEYTRUSTEE_UUID_SIZE]; /* the key group it is in, by the server's word, or "" */
    char reserved[67];                    /* 0; for later versions */
};

/* Signs and encrypts `len` bytes and deposits them as the next version of `handle`, trying again
 * (with the same deposit id, so that it is stored once) until the timeout. KEYTRUSTEE_OK means that
 * the receipt was verified and is on this host's disk.
 * `deposit_id` is a UUID that names this deposit, for callers that repeat calls themselves; NULL
 * makes one. With another secret than before it fails ("deposit_id_conflict"). `deposit` may be
 * NULL.
 * After KEYTRUSTEE_IN_DOUBT, KEYTRUSTEE_INTEGRITY, or a kill, the ciphertext stays in the confdir
 * while it may have been stored: the next put under that handle, or keytrustee_resume, settles it
 * first. After any other failure this secret was not deposited. */
KEYTRUSTEE_API int keytrustee_put(struct keytrustee *client, const char *handle, const void *secret,
                                  size_t len, const char *deposit_id,
                                  struct keytrustee_deposit *deposit,
                                  struct keytrustee_error *error);

/* What must be true before a deposit is handed out, beside the right to retrieve it. The server
 * enforces it, also against the client that made the deposit, and nobody changes it later. Whoever
 * runs the server can break it: it protects against clients. */
struct keytrustee_policy {
    size_t size;            /* sizeof(struct keytrustee_policy) */
    const char *not_before; /* UTC, "2026-11-22T06:11:43Z"; NULL: no bound */
    const char *not_after;
    uint32_t max_retrievals; /* by all clients together; 0: any number */
    int justification;       /* 1: a retrieval must say what for */
    /* Clients of the organisation (ids, NULL-terminated, at most 16) of which `votes` must approve
     * each retrieval. The one that retrieves does not vote. NULL and 0: none. */
    const char *const *trustees;
    uint32_t votes;
    uint32_t request_lifetime; /* seconds that a request waits and an approval lasts; 0: a day */
};

struct keytrustee_put_options {
    size_t size;                            /* sizeof(struct keytrustee_put_options) */
    const char *deposit_id;                 /* as for keytrustee_put */
    const struct keytrustee_policy *policy; /* NULL: none */
    /* The key group it goes into: a UUID, or a name of one that this client has grants on. NULL: that
     * of the version before, if any. */
    const char *key_group;
};
/* As keytrustee_put. `options` may be NULL. A deposit that is repeated with its id and another policy
 * fails ("deposit_id_conflict"), unless its receipt is on this host: that is taken as it is. */
KEYTRUSTEE_API int keytrustee_put_with(struct keytrustee *client, const char *handle,
                                       const void *secret, size_t len,
                                       const struct keytrustee_put_options *options,
                                       struct keytrustee_deposit *deposit,
                                       struct keytrustee_error *error);

/* A callback that is given one deposit; anything but 0 ends the call, which then returns
 * KEYTRUSTEE_OK. */
typedef int (*keytrustee_deposit_fn)(void *arg, const struct keytrustee_deposit *deposit);

/* Sends again every deposit that was interrupted; `each` (may be NULL) is told of those that are
 * now stored. */
KEYTRUSTEE_API int keytrustee_resume(struct keytrustee *client, keytrustee_deposit_fn each,
                                     void *arg, struct keytrustee_error *error);

/* A decrypted secret, in memory that is locked, left out of core dumps, and wiped when freed. */
struct keytrustee_secret;
KEYTRUSTEE_API const void *keytrustee_secret_bytes(const struct keytrustee_secret *secret);
KEYTRUSTEE_API size_t keytrustee_secret_length(const struct keytrustee_secret *secret);
/* Wipes and frees. NULL is fine. */
KEYTRUSTEE_API void keytrustee_free(struct keytrustee_secret *secret);

/* Gives the text of every receipt that this host was given for its deposits, each as the server
 * signed it, to `each`, in the order of the deposit ids; anything but 0 ends the call. A receipt
 * that cannot be read is reported by the result, behind all others. */
typedef int (*keytrustee_receipt_fn)(void *arg, const char *text, size_t len);
KEYTRUSTEE_API int keytrustee_receipts(struct keytrustee *client, keytrustee_receipt_fn each,
                                       void *arg, struct keytrustee_error *error);

/* Fetches a version of `handle` (0: the latest), checks hash, receipt (when this host has one) and
 * signature, and decrypts. `deposit` may be NULL. */
KEYTRUSTEE_API int keytrustee_get(struct keytrustee *client, const char *handle, uint32_t version,
                                  struct keytrustee_secret **secret,
                                  struct keytrustee_deposit *deposit,
                                  struct keytrustee_error *error);

struct keytrustee_get_options {
    size_t size;               /* sizeof(struct keytrustee_get_options) */
    const char *justification; /* what for: UTF-8, at most 512 bytes, one line; or NULL. Recorded */
    /* A UUID that names this retrieval, for callers that repeat calls themselves: within 5 minutes a
     * repeat does not count again. NULL makes one. */
    const char *retrieval_id;
};
/* As keytrustee_get. `options` may be NULL. A deposit whose release policy says no is
 * KEYTRUSTEE_REFUSED with the name "release_too_early", "release_expired", "release_used_up",
 * "justification_required", "release_denied", or "votes_required": then trustees have been asked,
 * and the call is to be repeated later, with the same justification ("justification_differs"
 * otherwise); the same request is found again, error->request names it. */
KEYTRUSTEE_API int keytrustee_get_with(struct keytrustee *client, const char *handle,
                                       uint32_t version,
                                       const struct keytrustee_get_options *options,
                                       struct keytrustee_secret **secret,
                                       struct keytrustee_deposit *deposit,
                                       struct keytrustee_error *error);

/* A release policy as the server tells it. Allocated by the library; free with
 * keytrustee_release_free. */
struct keytrustee_release {
    const char *not_before; /* UTC, or "" */
    const char *not_after;
    uint32_t max_retrievals; /* 0: any number */
    uint32_t retrievals;     /* so many were counted; where nothing is counted 0 */
    int justification;
    uint32_t votes;
    size_t trustee_count;
    const char *const *trustees;
    uint32_t request_lifetime; /* seconds, 0 without votes */
};
/* As keytrustee_info; *release receives the release policy, or NULL when there is none. */
KEYTRUSTEE_API int keytrustee_info_release(struct keytrustee *client, const char *handle,
                                           uint32_t version, struct keytrustee_deposit *deposit,
                                           struct keytrustee_release **release,
                                           struct keytrustee_error *error);
KEYTRUSTEE_API void keytrustee_release_free(struct keytrustee_release *release);

/* What is known of a version of `handle` (0: the latest), with its receipt verified; the secret is
 * not fetched. */
KEYTRUSTEE_API int keytrustee_info(struct keytrustee *client, const char *handle, uint32_t version,
                                   struct keytrustee_deposit *deposit,
                                   struct keytrustee_error *error);

/* The latest version of every handle that begins with `prefix` ("" or NULL: all) and that this
 * client may see, in byte order of the handles. A list that could not be checked with the active
 * may miss what is new: there is a warning then, and keytrustee_answered_by tells. */
KEYTRUSTEE_API int keytrustee_list(struct keytrustee *client, const char *prefix,
                                   keytrustee_deposit_fn each, void *arg,
                                   struct keytrustee_error *error);

/* Deletes a version of `handle`, or with 0 all present ones; keytrustee_undelete takes it back.
 * `count` (may be NULL) receives how many were deleted. After KEYTRUSTEE_IN_DOUBT repeat it; a
 * repeat that finds nothing left is KEYTRUSTEE_NOT_FOUND. */
KEYTRUSTEE_API int keytrustee_delete(struct keytrustee *client, const char *handle,
                                     uint32_t version, uint64_t *count,
                                     struct keytrustee_error *error);

/* --- votes --- */

/* A retrieval that waits for the votes of trustees. The texts are valid during the callback. */
struct keytrustee_request {
    const char *id;
    const char *state; /* "waiting", "approved", "denied", "used", "expired" */
    const char *handle;
    uint32_t version;
    const char *deposit;
    const char *client; /* who asks: id and name */
    const char *name;
    const char *justification; /* or "" */
    const char *created;
    const char *expires;
    int own;        /* 1: made by this client, which does not vote on it */
    int voted;      /* 1: this client has approved it, -1: denied it, 0: has not voted */
    uint32_t votes; /* that are needed */
    uint32_t approvals;
    uint32_t denials;
};
/* Anything but 0 ends the call, which then returns KEYTRUSTEE_OK. */
typedef int (*keytrustee_request_fn)(void *arg, const struct keytrustee_request *request);
/* The requests that this client made or may vote on, newest first; `state` NULL: all. They come from
 * the active; a list that could not be checked with it may be behind: there is a warning then. */
KEYTRUSTEE_API int keytrustee_requests(struct keytrustee *client, const char *state,
                                       keytrustee_request_fn each, void *arg,
                                       struct keytrustee_error *error);
/* Approves (1) or denies (0) a request. `comment` (one line, at most 512 bytes) may be NULL; the
 * other trustees and the one that asks can read it. A vote can be changed until the request is
 * decided ("request_closed"). `state` (may be NULL) receives how the request then stands. */
KEYTRUSTEE_API int keytrustee_vote(struct keytrustee *client, const char *request, int approve,
                                   const char *comment, char state[16],
                                   struct keytrustee_error *error);

/* --- the log of deposits ---
 *
 * All deposits of a cluster stand in one log, in the order of their log index, whose head the
 * cluster signs with every acknowledgement. A client that keeps the last head it has seen notices by
 * itself when a server takes back or rewrites what it had signed: a server restored to an older
 * state that does not say so, a second server with another history, a row changed behind the
 * server's back. */

/* What is wrong with one receipt of this host. */
enum keytrustee_log_problem {
    /* The backup that the cluster was restored from lacks the deposit, by the cluster's own
     * statement, and it is not in the log. */
    KEYTRUSTEE_LOG_LOST = 1,
    KEYTRUSTEE_LOG_BEHIND = 2,  /* the signed head ends before it */
    KEYTRUSTEE_LOG_MISSING = 3, /* there is no proof that it is in the log */
    KEYTRUSTEE_LOG_CHANGED = 4, /* it is in the log, but the server's row says something else now */
    /* It is not in the log, and of an incarnation before those that the cluster's statements tell
     * of: nobody can say from them whether it was lost. */
    KEYTRUSTEE_LOG_UNKNOWN = 5
};
typedef void (*keytrustee_log_fn)(void *arg, enum keytrustee_log_problem problem,
                                  const char *deposit_id, uint64_t log_index);

struct keytrustee_log {
    char incarnation[KEYTRUSTEE_INCARNATION_SIZE]; /* of the head, "": the log is empty */
    uint64_t epoch;
    uint64_t size;                     /* deposits in the log */
    char root[KEYTRUSTEE_SHA256_SIZE]; /* hex */
    char time[KEYTRUSTEE_TIME_SIZE];   /* when it was signed */
    uint64_t known_size; /* of the head that was kept before, which this one continues; 0: none */
    uint64_t receipts;   /* of this host that were looked at */
    uint64_t proven;     /* those of them that were proven to be in the log */
    char reserved[64];   /* 0; for later versions */
};

/* Fetches the newest signed head from the active, behind a proof that it is the active, and checks
 * it: its signature, that it continues the head that was kept, and that it covers every receipt of
 * this host. With KEYTRUSTEE_LOG_RECEIPTS the inclusion of each receipt is proven too, by a request
 * each. Then the head is kept in place of the old one. `each` (may be NULL) is told of receipts that
 * something is wrong with. `log` may be NULL.
 * KEYTRUSTEE_INTEGRITY: the server does not have the log that it had signed; the old head stays,
 * and the new one is kept beside it ("log-head.refused"). Also when a restore has lost deposits: the
 * new head is kept then, so this is told once, and of receipts of this host each time. */
#define KEYTRUSTEE_LOG_RECEIPTS 1u
KEYTRUSTEE_API int keytrustee_log_check(struct keytrustee *client, unsigned flags,
                                        keytrustee_log_fn each, void *arg,
                                        struct keytrustee_log *log, struct keytrustee_error *error);

/* Takes the deletion of a version of `handle`, or with 0 of all, back, also when a purge was asked
 * for that is not yet due. `count` (may be NULL) receives how many came back: 0 when none was
 * deleted. What was purged is KEYTRUSTEE_NOT_FOUND ("deposit_purged"). */
KEYTRUSTEE_API int keytrustee_undelete(struct keytrustee *client, const char *handle,
                                       uint32_t version, uint64_t *count,
                                       struct keytrustee_error *error);

/* Asks that a deleted version of `handle`, or with 0 all deleted ones, be erased for ever when the
 * organisation's purge delay is over. `count` (may be NULL) receives how many; `purge_after_us` (may
 * be NULL) when the last of them is erased, in microseconds since 1970. What is not deleted
 * ("not_deleted") or locked ("deposit_locked") is KEYTRUSTEE_REFUSED. */
KEYTRUSTEE_API int keytrustee_purge(struct keytrustee *client, const char *handle, uint32_t version,
                                    uint64_t *count, int64_t *purge_after_us,
                                    struct keytrustee_error *error);

struct keytrustee_lock {
    size_t size;      /* sizeof(struct keytrustee_lock) */
    const char *mode; /* "governance", "compliance", "none" (lifts it); NULL: as it is */
    int64_t until_us; /* microseconds since 1970; 0: as it is */
    int hold;         /* legal hold: 1 sets it, -1 lifts it, 0: as it is */
    int bypass;       /* 1: make a lock shorter, or lift lock or hold, by the right "bypass" */
};
/* Locks a version of `handle`, or with 0 all of them, against deletion and purge. `count` (may be
 * NULL) receives how many versions. What would make a lock weaker without `bypass`, and a
 * compliance lock shorter, is KEYTRUSTEE_REFUSED ("deposit_locked"). */
KEYTRUSTEE_API int keytrustee_lock(struct keytrustee *client, const char *handle, uint32_t version,
                                   const struct keytrustee_lock *lock, uint64_t *count,
                                   struct keytrustee_error *error);

/* --- recovery keys ---
 *
 * An organisation can ask that deposits are encrypted to keys of its own too. A deposit is encrypted
 * to this client's key, and to those that are asked for and that were accepted here, by the
 * fingerprint, which a person compares: a server cannot slip in a key. While a key is asked for that
 * was not accepted, keytrustee_put fails with "recovery_missing", and names it. Nor can a server leave
 * one out: while a key that was accepted is not asked for, keytrustee_put fails with
 * "recovery_withdrawn", until keytrustee_recovery_forget is called for that key. */

/* Accepts a key by its fingerprint: 40 hex digits, spaces between them are fine. Nothing is sent. */
KEYTRUSTEE_API int keytrustee_recovery_accept(struct keytrustee *client, const char *fingerprint,
                                              struct keytrustee_error *error);
/* Accepts it no more: KEYTRUSTEE_NOT_FOUND when it was not. */
KEYTRUSTEE_API int keytrustee_recovery_forget(struct keytrustee *client, const char *fingerprint,
                                              struct keytrustee_error *error);
/* A callback that is given one key: whether the organisation asks for it, and whether it was
 * accepted; anything but 0 ends the call. */
typedef int (*keytrustee_recovery_fn)(void *arg, const char *fingerprint, int in_force,
                                      int accepted);
/* Asks the server which keys are in force. */
KEYTRUSTEE_API int keytrustee_recovery_list(struct keytrustee *client, keytrustee_recovery_fn each,
                                            void *arg, struct keytrustee_error *error);

/* --- state --- */

struct keytrustee_grant {
    const char *right;     /* "deposit", "browse", "retrieve", "delete", ... */
    const char *object;    /* "own", "prefix", "group" */
    const char *prefix;    /* of handles, or "" */
    const char *key_group; /* UUID, or "" */
};

/* Allocated by the library; free with keytrustee_status_free. */
struct keytrustee_status {
    const char *confdir;
    const char *client; /* UUID */
    const char *name;
    const char *organisation;
    const char *state; /* "active", "pending", ... */
    const char *created;
    const char *fingerprint; /* of the OpenPGP key, 40 hex digits */
    const char *cluster;     /* UUID */
    const char *incarnation;
    uint64_t epoch;
    const char *certificate_not_after;
    int certificate_days_left;
    const char *node;      /* the node that answered */
    const char *node_role; /* "standalone", "active", "passive", ... */
    uint32_t node_members; /* nodes counted for durability beside the active */
    uint32_t node_w;       /* how many of them must have a change before it is acknowledged */
    uint32_t pending_puts; /* interrupted deposits, see keytrustee_resume */
    size_t grant_count;
    const struct keytrustee_grant *grants;
    size_t server_count;
    const struct keytrustee_server *servers;
    /* 1: less than 30 days are left, and it should have been renewed by now. */
    int certificate_expires_soon;
};

/* Asks every server that is known how it is, and one of them about this client. */
KEYTRUSTEE_API int keytrustee_status(struct keytrustee *client, struct keytrustee_status **status,
                                     struct keytrustee_error *error);
KEYTRUSTEE_API void keytrustee_status_free(struct keytrustee_status *status);

#ifdef __cplusplus
}
#endif

#endif
