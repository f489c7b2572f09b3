// SPDX-License-Identifier: Apache-2.0
// What the parts of libkeytrustee share; programs include keytrustee.h.
#ifndef KTC_CLIENT_H
#define KTC_CLIENT_H

#include <jansson.h>
#include <openssl/x509.h>

#include "client/keytrustee.h"
#include "lib/buf.h"
#include "lib/encode.h"
#include "lib/formats.h"
#include "lib/gpg.h"
#include "lib/http_client.h"
#include "lib/paths.h"
#include "lib/pki.h"

#define KTC_SERVERS_MAX 16
#define KTC_LEARNED_MAX 8
#define KTC_SERVER_TEXT 300
#define KTC_JSON_MAX    ((size_t)4 << 20) // an answer in JSON, a full page of a listing included
// A ciphertext that is fetched: the largest secret, and room for what OpenPGP adds.
#define KTC_BODY_MAX ((size_t)KEYTRUSTEE_SECRET_MAX + 65536)

// --- client.json (lib_state.c) ---
// A key of the cluster that this client went on from, and the one that it went to.
struct ktc_left_key {
    char key[KT_OPENPGP_FINGERPRINT_TEXT];
    char next[KT_OPENPGP_FINGERPRINT_TEXT];
};
#define KTC_LEFT_MAX  64
#define KTC_MARKS_MAX 4 // while the CA is replaced the nodes do not all have the same set

struct ktc_state {
    size_t server_count;
    char servers[KTC_SERVERS_MAX][KTC_SERVER_TEXT];
    char client[KT_UUID_TEXT]; // "" until registered
    char name[KEYTRUSTEE_NAME_SIZE];
    char organisation[KT_ORG_NAME_MAX + 1];
    char fingerprint[KT_OPENPGP_FINGERPRINT_TEXT]; // of our OpenPGP key, "" until made
    char cluster[KT_UUID_TEXT];
    char cluster_fingerprint[KT_OPENPGP_FINGERPRINT_TEXT];
    size_t left_count;
    struct ktc_left_key left[KTC_LEFT_MAX]; // the oldest first
    size_t mark_count;                      // of the CA's sets that were learned, the newest first
    char marks[KTC_MARKS_MAX][KT_PKI_CA_MARK_TEXT];
    // Of the set whose newest root did not sign yet when our certificate was to be renewed; or "".
    char early_mark[KT_PKI_CA_MARK_TEXT];
    struct kt_incarnation incarnation; // the highest (incarnation, epoch) seen; 0 = none yet
    uint64_t epoch;
};

// KT_ERR_NOT_FOUND when the file is missing.
int ktc_state_load(const char *path, struct ktc_state *state, struct kt_error *error) KT_MUST_CHECK;
int ktc_state_save(const char *path, const struct ktc_state *state,
                   struct kt_error *error) KT_MUST_CHECK;

// The cluster's key that `from` knows, and those that it left for it.
void ktc_state_take_key(struct ktc_state *state, const struct ktc_state *from);
// Goes on to the next key; of those that were left the oldest is forgotten where there is no room.
void ktc_state_next_key(struct ktc_state *state, const char *next);
// Whether the CA's set with this mark was learned; that it was.
int ktc_state_has_mark(const struct ktc_state *state, const char *mark);
void ktc_state_add_mark(struct ktc_state *state, const char *mark);

enum ktc_seen {
    KTC_SEEN_SAME,
    KTC_SEEN_NEWER,    // a higher epoch, or the first that is seen at all
    KTC_SEEN_RESTORED, // a higher incarnation: its statement has to be seen before it is believed
    KTC_SEEN_OLDER,    // an epoch that has been replaced
    KTC_SEEN_UNDONE,   // an incarnation that has been replaced, by a restored cluster
};
// Compares what a server says with the highest seen. KT_ERR_PROTOCOL when two histories claim one
// incarnation number.
int ktc_state_compare(const struct ktc_state *state, const struct kt_incarnation *incarnation,
                      uint64_t epoch, enum ktc_seen *seen) KT_MUST_CHECK;
// As ktc_state_compare, and remembers what is newer: for what may be believed.
int ktc_state_observe(struct ktc_state *state, const struct kt_incarnation *incarnation,
                      uint64_t epoch, enum ktc_seen *seen) KT_MUST_CHECK;

// --- servers (lib_servers.c) ---
#define KTC_NODES_MAX    (KTC_SERVERS_MAX + KTC_LEARNED_MAX)
#define KTC_NONE         SIZE_MAX
#define KTC_ADDRESS_TEXT 64

struct ktc_server {
    char name[KTC_SERVER_TEXT];     // as registered, or as a node named it
    char address[KTC_ADDRESS_TEXT]; // "ip:port" it was last reached at, "" = never
    int learned;                    // not registered: KT-Active named it
    // It cost a timeout, and is asked again from then on by one request (microseconds
    // since 1970); 0 = it is not set aside.
    int64_t aside_until;
    int pause_s;                 // how long it is set aside, grows
    struct kt_http_client *http; // made at first use
};
// The registered ones first. What is learned of them stands in servers.json, which may be lost.
struct ktc_servers {
    size_t count;
    struct ktc_server list[KTC_NODES_MAX];
    size_t preferred; // answered a read last; KTC_NONE
    size_t active; // of which a change or a fresh answer came last, or which a node named; KTC_NONE
};

// Reads client->state and servers.json; ends all connections.
void ktc_servers_load(struct keytrustee *client);
void ktc_servers_disconnect(struct keytrustee *client);
// 1 when they name the same host and port.
int ktc_server_same_name(const char *a, const char *b);
// By name, or by the address it was reached at; KTC_NONE.
size_t ktc_servers_find(const struct ktc_servers *servers, const char *name);
// 1 when two entries are known to be the same node.
int ktc_servers_same(const struct ktc_servers *servers, size_t a, size_t b);
// 0 when it may be asked now. When its time has come this claims
// the one request that looks: ask it.
int ktc_server_is_aside(struct keytrustee *client, size_t i);
// As ktc_server_is_aside, and claims nothing.
int ktc_server_waits(const struct keytrustee *client, size_t i);
// It cost a timeout: it is set aside. It answered, whatever it said: it is not.
void ktc_server_failed(struct keytrustee *client, size_t i);
void ktc_server_answered(struct keytrustee *client, size_t i);
void ktc_servers_prefer(struct keytrustee *client, size_t i);
void ktc_servers_active(struct keytrustee *client, size_t i);
// A node names the active's service. Gives its place in the list; KTC_NONE for what is no server.
size_t ktc_servers_learn_active(struct keytrustee *client, const char *name);

// --- the handle (lib_open.c) ---
struct keytrustee {
    char confdir[KT_PATH_MAX];
    int timeout_ms;
    int connect_timeout_ms;
    void (*warn)(void *arg, const char *message, const char *hint);
    void *warn_arg;
    struct ktc_state state;
    struct ktc_servers servers;
    struct keytrustee_source source; // of the last answer
    struct kt_gpg *gpg;              // made at first use
    char request[KT_UUID_TEXT];      // that the last answer named as waiting for votes, or ""
    // Which other key of the cluster a node named last, once its statements were looked at; or "".
    char key_asked[KT_OPENPGP_FINGERPRINT_TEXT];
    // Of the CA's set that a server named last, and that is to be learned from it; or "". And the last
    // one that was asked for, whatever came of it.
    char ca_mark[KT_PKI_CA_MARK_TEXT], ca_asked[KT_PKI_CA_MARK_TEXT];
    char ca_server[KTC_SERVER_TEXT];
    int64_t deadline;       // of the present call, monotonic microseconds
    int64_t expiry_told_us; // when the certificate's end was last warned of, monotonic; 0: never
};

// Where the confdir is when the caller names none. KT_ERR_USAGE without a home directory.
int ktc_confdir_default(char *out, size_t size, struct kt_error *error) KT_MUST_CHECK;
// "<confdir>/<name>", and "<confdir>/<folder>/<name><suffix>".
int ktc_path(const struct keytrustee *client, const char *name,
             char out[KT_PATH_MAX]) KT_MUST_CHECK;
int ktc_path_in(const struct keytrustee *client, const char *folder, const char *name,
                const char *suffix, char out[KT_PATH_MAX]) KT_MUST_CHECK;
// Every public call begins and ends with these. The end learns the CA when a server named another set,
// renews the certificate when that is due, or warns of its end, and turns a code and its words into the public form.
void ktc_begin(struct keytrustee *client);
int ktc_end(struct keytrustee *client, int rc, const struct kt_error *why,
            struct keytrustee_error *error);
// Checks a NULL-terminated list of servers and puts it into the state.
int ktc_choose_servers(const char *const *given, struct ktc_state *state,
                       struct kt_error *error) KT_MUST_CHECK;
// KT_ERR_CERTIFICATE_MISSING before registration.
int ktc_need_registration(const struct keytrustee *client, struct kt_error *error) KT_MUST_CHECK;
int ktc_need_gpg(struct keytrustee *client, struct kt_error *error) KT_MUST_CHECK;
void ktc_warn(const struct keytrustee *client, const char *hint, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
// Holds off other processes on this confdir while client.json is changed; waits. Close to release.
int ktc_lock(const struct keytrustee *client, int *fd, struct kt_error *error) KT_MUST_CHECK;
// Milliseconds left of the present call, at least 0.
int ktc_time_left(const struct keytrustee *client);
// Replaces control characters, so that text of a server cannot drive a terminal.
void ktc_printable(char *text);

// --- calls (lib_call.c, lib_order.c) ---
struct ktc_call {
    const char *method;
    const char *path;
    const char *const *headers; // at most 12, NULL-terminated, or NULL
    const void *body;
    size_t body_len;
    int has_body;
    size_t max_answer;
    // A positive answer is right on any node always, since deposits never change: of an older epoch
    // it is taken when no node of the present one answers.
    int immutable;
    // The latest version that is asked for is at least this one (0 = any); where its number stands.
    uint32_t min_version;
    int version_in_json;
    int barrier; // only an answer behind a barrier will do
    int change;  // for the active, until the deadline; a lost answer leaves it in doubt
    int once;    // one round is enough
    // First contact: trust the CA with this SHA-256, show no
    // certificate, remember no epoch. Or NULL.
    const uint8_t *pin;
};
struct ktc_answer {
    struct kt_http_answer http; // filled on success only
    int fresh;                  // answered behind a barrier; also set when an error was answered
    int older;                  // of an older epoch: no node of the present one answered
    int doubt;                  // a change whose request may have been acted on (errors only)
    char server[KTC_SERVER_TEXT];
};
// 0 for an answer of status 2xx. Otherwise the code of the server's error, or why no server
// answered; KT_ERR_IN_DOUBT for a change that may have happened. What a node that is not up to date
// can be wrong about - absence, a latest version below min_version, a missing right -
// is asked again of the active behind a barrier, and of the other nodes.
// KT_ERR_UNCHECKED: an absence that could not be.
int ktc_call(struct keytrustee *client, const struct ktc_call *call, struct ktc_answer *answer,
             struct kt_error *error) KT_MUST_CHECK;
void ktc_answer_free(struct ktc_answer *answer);
// 1 for refusals of the content itself: they hold for every earlier try too. That we may not change
// it now does not tell whether a try before was acted on.
int ktc_is_refusal_of_content(int rc);
// One request to one server, whatever is set aside. 0 for an answer of any status.
int ktc_ask(struct keytrustee *client, const struct ktc_call *call, size_t i, int timeout_ms,
            int connect_ms, int silence_ms, struct ktc_answer *answer,
            struct kt_error *error) KT_MUST_CHECK;
// As ktc_call, for answers in JSON; the caller json_decref()s.
int ktc_call_json(struct keytrustee *client, const struct ktc_call *call, struct ktc_answer *answer,
                  json_t **object, struct kt_error *error) KT_MUST_CHECK;

// --- what answers mean (lib_answer.c) ---
// What one try said, and what it means for the next.
struct ktc_verdict {
    struct kt_error error;
    int doubt;     // the change may have happened
    int elsewhere; // another server may do better
    int again;     // so may this one, later
    int unchecked; // right for this node, which may not be up to date
    int older;     // good, but of an older epoch
    int current;   // a node of the present epoch has spoken
    int later_s;   // with KT_ERR_TOO_MANY_REQUESTS: so long it wants to be left alone, at least 1
    size_t active; // the server it names as the active, or KTC_NONE
};
// 0: it is the one.
int ktc_judge(struct keytrustee *client, const struct ktc_call *call, struct ktc_answer *answer,
              struct ktc_verdict *verdict) KT_MUST_CHECK;
// The version that an answer is about: header or JSON member; 0 = none.
uint32_t ktc_answered_version(const struct ktc_answer *answer, int json);
// The error an answer carries as code and words; KT_ERR_PROTOCOL when it has none.
int ktc_answer_error(const struct kt_http_answer *answer, const char *server,
                     struct kt_error *error);
// Remembers incarnation and epoch of an answer, which errors may lack; a higher incarnation only
// once its statement was seen. KT_ERR_FENCED for a replaced epoch or incarnation, KT_ERR_SIGNATURE
// for another history or a restored cluster without a good statement, KT_ERR_UNCHECKED when the
// statement cannot be had now. Nothing of an answer may be used unless this returns 0.
int ktc_observe(struct keytrustee *client, const struct kt_http_answer *answer, const char *server,
                enum ktc_seen *seen, struct kt_error *error) KT_MUST_CHECK;

// --- the cluster's OpenPGP key (lib_cluster_key.c) ---
// An answer of `server` names another key than the one that is known: follows the statements. A line
// that forks, or a statement that is not good, is a warning, and the key stays.
void ktc_cluster_key_seen(struct keytrustee *client, const struct kt_http_answer *answer,
                          const char *server);
// Follows the statements that `server` shows from the key that is known, and remembers the newest. 0
// also when there are none. `pin` as in struct ktc_call. KT_ERR_SIGNATURE, KT_ERR_UNCHECKED.
int ktc_cluster_key_follow(struct keytrustee *client, const char *server, const uint8_t *pin,
                           struct kt_error *error) KT_MUST_CHECK;
// Registering again at the same cluster, whose answer names this key. KT_ERR_SIGNATURE when it does
// not follow the one that is known.
int ktc_cluster_key_named(struct keytrustee *client, const char *cluster, const char *named,
                          const char *server, const uint8_t *pin,
                          struct kt_error *error) KT_MUST_CHECK;
// 0 when the newest key said, when it came, that `text` is the statement of this incarnation: the
// older key that signed it counted then. KT_ERR_NOT_FOUND; KT_ERR_SIGNATURE, KT_ERR_UNCHECKED.
int ktc_cluster_key_closed(struct keytrustee *client, const char *server,
                           const struct kt_incarnation *incarnation, const char *text,
                           struct kt_error *error) KT_MUST_CHECK;

// --- restored clusters (lib_incarnation.c) ---
// A higher incarnation than the one that is known, as `server` claims: asks it for the statement,
// which must be by the cluster's OpenPGP key for exactly this incarnation, then remembers it and
// warns. `pin` as in struct ktc_call. KT_ERR_SIGNATURE, KT_ERR_UNCHECKED: the state is as before.
int ktc_restored_accept(struct keytrustee *client, const struct kt_incarnation *incarnation,
                        uint64_t epoch, const char *server, const uint8_t *pin,
                        struct kt_error *error) KT_MUST_CHECK;
// Remembers a place in history that may be believed, also on disk; failing there is only a warning.
void ktc_history_remember(struct keytrustee *client, const struct kt_incarnation *incarnation,
                          uint64_t epoch);
// The incarnations that the present one goes back to, newest first, each with the last log index up
// to which its log is that of the present one (UINT64_MAX: to its end), and the root of the log up to
// there, as the cluster's key has signed it.
// The line may be cut off: behind KTC_LINE_MAX, or where a cluster was restored without the statement
// of before. Of what came earlier nothing is known then.
#define KTC_LINE_MAX 65
struct ktc_line {
    size_t count;
    struct {
        struct kt_incarnation incarnation;
        uint64_t last;
        uint8_t root[KT_SHA256_LEN]; // not of the first, which has no end
    } list[KTC_LINE_MAX];
};
// By the statements that `server` shows, without a gap. KT_ERR_SIGNATURE, KT_ERR_UNCHECKED.
int ktc_line_read(struct keytrustee *client, const char *server, struct ktc_line *line,
                  struct kt_error *error) KT_MUST_CHECK;
// 0 for an incarnation that is not in the line.
uint64_t ktc_line_last(const struct ktc_line *line, const struct kt_incarnation *incarnation);
// 1 when this incarnation may have been in the part of the line that is cut off.
int ktc_line_unknown(const struct ktc_line *line, const struct kt_incarnation *incarnation);
// Takes over what other processes of this confdir have accepted since.
void ktc_history_reload(struct keytrustee *client);

// A path of deposits: "/v1/deposits/<handle>[tail][?version=n]";
// the caller frees. NULL = no memory.
char *ktc_deposit_path(const char *handle, const char *tail, uint32_t version);
// Turns codes of the JSON helpers into KT_ERR_PROTOCOL naming `server`.
int ktc_protocol(struct kt_error *error, const char *server, int rc);
// Turns a failure behind an answer that says "done" into KT_ERR_IN_DOUBT with its words.
int ktc_in_doubt(struct kt_error *error, int rc);

// --- deposits (lib_deposit.c) ---
// KT_ERR_HANDLE_INVALID with words.
int ktc_check_handle(const char *handle, struct kt_error *error) KT_MUST_CHECK;
int ktc_deposit_from_json(const json_t *object, struct keytrustee_deposit *deposit,
                          struct kt_error *error) KT_MUST_CHECK;
void ktc_deposit_from_receipt(const struct kt_receipt *receipt, const char *handle,
                              struct keytrustee_deposit *deposit);

// --- receipts (lib_receipt_keys.c, lib_receipt.c, lib_receipts.c) ---
// Verifies receipt keys ([{"id","certificate"}]) against the CA and keeps them.
int ktc_receipt_keys_keep(const struct keytrustee *client, const json_t *keys, X509 *ca,
                          struct kt_error *error) KT_MUST_CHECK;
// Parses a receipt and verifies it with a kept key. KT_ERR_SIGNATURE; KT_ERR_NOT_FOUND when its key
// is not here.
int ktc_receipt_verify(const struct keytrustee *client, const char *text,
                       struct kt_receipt *receipt, struct kt_error *error) KT_MUST_CHECK;
// As ktc_receipt_verify, and asks the server for new receipt keys when the key is not here: any
// code of that call, too.
int ktc_receipt_accept(struct keytrustee *client, const char *text, struct kt_receipt *receipt,
                       struct kt_error *error) KT_MUST_CHECK;
// The same for the text of a tree head.
int ktc_tree_head_accept(struct keytrustee *client, const char *text, struct kt_tree_head *head,
                         struct kt_error *error) KT_MUST_CHECK;
// keytrustee_receipts, within another call.
int ktc_receipts_each(const struct keytrustee *client, keytrustee_receipt_fn each, void *arg,
                      struct kt_error *error) KT_MUST_CHECK;
// KT_ERR_SIGNATURE when the receipt is not for this handle, hash and size, (`version` > 0) version,
// (`id` not NULL) deposit.
int ktc_receipt_matches(const struct kt_receipt *receipt, const char *handle, uint32_t version,
                        const struct kt_uuid *id, const uint8_t sha256[KT_SHA256_LEN],
                        uint64_t size, struct kt_error *error) KT_MUST_CHECK;
// Keeps the text, and that `handle` has at least this version.
int ktc_receipt_keep(const struct keytrustee *client, const char *handle,
                     const struct kt_receipt *receipt, const char *text,
                     struct kt_error *error) KT_MUST_CHECK;
// KT_ERR_NOT_FOUND when there is none for this deposit.
int ktc_receipt_load(const struct keytrustee *client, const struct kt_uuid *id,
                     struct kt_receipt *receipt, struct kt_error *error) KT_MUST_CHECK;
// Keeps a salted hash of the plaintext of deposit `id`, for a caller that repeats
// the call with that id. ktc_check_compare: KT_ERR_DEPOSIT_ID_CONFLICT for
// another plaintext; 0 when none is kept.
int ktc_check_keep(const struct keytrustee *client, const struct kt_uuid *id, const void *secret,
                   size_t len, struct kt_error *error) KT_MUST_CHECK;
int ktc_check_compare(const struct keytrustee *client, const struct kt_uuid *id, const void *secret,
                      size_t len, struct kt_error *error) KT_MUST_CHECK;
void ktc_check_remove(const struct keytrustee *client, const struct kt_uuid *id);
// The highest version of `handle` this host has a receipt for; 0 = none.
uint32_t ktc_receipt_latest(const struct keytrustee *client, const char *handle);

// --- release policies (lib_release.c) ---
#define KTC_POLICY_TEXT    1024
#define KTC_POLICY_HEADERS 7
// The header fields that ask for a policy; NULL is none. KT_ERR_USAGE.
int ktc_policy_text(const struct keytrustee_policy *policy, char out[KTC_POLICY_TEXT],
                    struct kt_error *error) KT_MUST_CHECK;
// Cuts the text at its line ends. At most KTC_POLICY_HEADERS.
size_t ktc_policy_lines(char *text, const char **lines);
// The member "policy" of an answer; *release NULL when it is null or not there.
int ktc_release_from_json(const json_t *object, struct keytrustee_release **release,
                          struct kt_error *error) KT_MUST_CHECK;

// --- deposits on their way (lib_pending.c) ---
struct ktc_pending {
    struct kt_uuid id;
    char handle[KT_HANDLE_MAX + 1];
    uint8_t sha256[KT_SHA256_LEN];
    char policy[KTC_POLICY_TEXT]; // header fields of the release policy, each with its '\n'; or ""
    char key_group[KT_UUID_TEXT]; // that was asked for, or ""
    struct kt_buf body;           // the ciphertext
};
#define KTC_PENDING_MAX 1024
int ktc_pending_save(const struct keytrustee *client, const struct ktc_pending *pending,
                     struct kt_error *error) KT_MUST_CHECK;
// `pending` must be zero or freed. KT_ERR_NOT_FOUND.
int ktc_pending_load(const struct keytrustee *client, const struct kt_uuid *id,
                     struct ktc_pending *pending, struct kt_error *error) KT_MUST_CHECK;
// Held while it is sent, until the descriptor is closed. Take ktc_lock around saving and this, or
// around this alone, so that nobody comes between. KT_ERR_BUSY: another process sends it;
// KT_ERR_NOT_FOUND: it is settled.
int ktc_pending_lock(const struct keytrustee *client, const struct kt_uuid *id, int *fd,
                     struct kt_error *error) KT_MUST_CHECK;
void ktc_pending_remove(const struct keytrustee *client, const struct kt_uuid *id);
void ktc_pending_free(struct ktc_pending *pending);
// The ids of all of them, oldest first, at most `room`.
int ktc_pending_list(const struct keytrustee *client, struct kt_uuid *ids, size_t room,
                     size_t *count, struct kt_error *error) KT_MUST_CHECK;
// Sends one until it is settled; keeps its receipt, removes it (lib_put.c). `resumed` tells that an
// earlier run may have sent it: not reaching anybody now then settles nothing.
int ktc_pending_send(struct keytrustee *client, const struct ktc_pending *pending, int resumed,
                     struct keytrustee_deposit *deposit, struct kt_error *error) KT_MUST_CHECK;

// --- recovery keys (lib_recovery.c, lib_recovery_keep.c) ---
#define KTC_RECOVERY_MAX 16
struct ktc_fingerprints {
    size_t count;
    char texts[KTC_RECOVERY_MAX][KT_OPENPGP_FINGERPRINT_TEXT]; // upper-case hex
};
// recovery.json: what the user accepted, and what the organisation last asked for.
struct ktc_recovery {
    struct ktc_fingerprints accepted, in_force;
};
int ktc_fingerprints_have(const struct ktc_fingerprints *list, const char *fingerprint);
// Nothing when it is there. KT_ERR_TOO_LARGE when the list is full.
int ktc_fingerprints_add(struct ktc_fingerprints *list, const char *fingerprint) KT_MUST_CHECK;
// 40 hex digits in either case, with spaces between them as people write them. KT_ERR_USAGE.
int ktc_fingerprint_read(const char *text, char out[KT_OPENPGP_FINGERPRINT_TEXT],
                         struct kt_error *error) KT_MUST_CHECK;
int ktc_recovery_save(const struct keytrustee *client, const struct ktc_recovery *recovery,
                      struct kt_error *error) KT_MUST_CHECK;
// Empty when there is no file.
int ktc_recovery_load(const struct keytrustee *client, struct ktc_recovery *recovery,
                      struct kt_error *error) KT_MUST_CHECK;
// Asks the server which keys are in force, and takes those that were accepted into the keyring; gives
// what is accepted by the file then. Takes ktc_lock.
// KT_ERR_SIGNATURE when it gives another key under an accepted fingerprint; any code of a call.
int ktc_recovery_refresh(struct keytrustee *client, int barrier, struct ktc_recovery *recovery,
                         struct kt_error *error) KT_MUST_CHECK;
// KT_ERR_RECOVERY_MISSING, naming them, when keys in force were not accepted;
// KT_ERR_RECOVERY_WITHDRAWN when accepted ones are not in force.
int ktc_recovery_check(const struct keytrustee *client, const struct ktc_recovery *recovery,
                       struct kt_error *error) KT_MUST_CHECK;
// What a deposit is to be encrypted to. The server is asked when any key was ever accepted; a client
// that knows of none hears of them when its deposit is refused. KT_ERR_RECOVERY_MISSING,
// KT_ERR_RECOVERY_WITHDRAWN (by an up-to-date node), KT_ERR_SIGNATURE; a server that cannot be asked
// is no failure while all that were accepted are known to be in force.
int ktc_recovery_find(struct keytrustee *client, struct ktc_recovery *recovery,
                      struct kt_error *error) KT_MUST_CHECK;
// Those in force that were accepted, NULL-terminated when fewer; they point into `recovery`.
void ktc_recovery_recipients(const struct ktc_recovery *recovery,
                             const char *recipients[KTC_RECOVERY_MAX]);
// A NULL-terminated list (or NULL): KT_ERR_USAGE for what is no fingerprint; and accepts them.
int ktc_recovery_check_all(const char *const *fingerprints, struct kt_error *error) KT_MUST_CHECK;
int ktc_recovery_accept_all(struct keytrustee *client, const char *const *fingerprints,
                            struct kt_error *error) KT_MUST_CHECK;

// --- key groups (lib_group.c) ---
// From a UUID, or the name of a group that this client has grants on, as the server tells it.
// KT_ERR_KEY_GROUP_NOT_FOUND; any code of a call.
int ktc_group_find(struct keytrustee *client, const char *text, char out[KT_UUID_TEXT],
                   struct kt_error *error) KT_MUST_CHECK;

// --- fetching (lib_get.c) ---
// The name that stands inside the encryption of deposit `id` under `handle`: a server that gives
// one handle's ciphertext for another, or an old one under an invented id, is noticed also where no
// receipt is.
#define KTC_BIND_TEXT 120
int ktc_bind_name(const char *handle, const struct kt_uuid *id,
                  char out[KTC_BIND_TEXT]) KT_MUST_CHECK;
// Fetches `path`, which is about this handle and version (0 = the latest); `json` tells what it
// answers with. What only an up-to-date node can know - that there is no such deposit, or that no
// version is later than one older than we were acknowledged - is not believed of others:
// KT_ERR_UNCHECKED. Nor when a version that was acknowledged here is gone
// and the server does not show its receipt as that of a deleted one: KT_ERR_SIGNATURE.
// `headers` as in struct ktc_call.
int ktc_fetch(struct keytrustee *client, const char *handle, uint32_t version, const char *path,
              const char *const *headers, int json, struct ktc_answer *answer,
              struct kt_error *error) KT_MUST_CHECK;
// Compares with the receipt this host was given for that deposit, when it was, and fills the rest
// of `deposit` from it. KT_ERR_SIGNATURE.
int ktc_check_kept_receipt(struct keytrustee *client, const uint8_t sha256[KT_SHA256_LEN],
                           struct keytrustee_deposit *deposit,
                           struct kt_error *error) KT_MUST_CHECK;

// --- the log of deposits (lib_log*.c) ---
// The head that is kept, and its text; "" when there is none. KT_ERR_SIGNATURE when it is damaged.
int ktc_log_known(const struct keytrustee *client, char text[KT_TREE_HEAD_TEXT],
                  struct kt_tree_head *head, struct kt_error *error) KT_MUST_CHECK;
// Keeps a head in place of the one that was there before (its text); `aside`: keeps that too. Not
// when another process has kept one meanwhile.
int ktc_log_keep(const struct keytrustee *client, const char *before, const char *text, int aside,
                 struct kt_error *error) KT_MUST_CHECK;
// Adds a good head to the older ones that are kept, at most 64 (lib_log_past.c). Under the lock of the
// confdir.
int ktc_log_past_add(const struct keytrustee *client, const char *text,
                     struct kt_error *error) KT_MUST_CHECK;
// The greatest of them that the log of the present incarnation must still continue; size 0: there is
// none.
int ktc_log_past_best(const struct keytrustee *client, const struct ktc_line *line,
                      struct kt_tree_head *best) KT_MUST_CHECK;
// Keeps a head that was refused, as evidence.
int ktc_log_refused(const struct keytrustee *client, const char *text,
                    struct kt_error *error) KT_MUST_CHECK;
// That the log with this head has the leaf at this place. KT_ERR_SIGNATURE; KT_ERR_DEPOSIT_ID_CONFLICT
// when it has, and yet the server's row is not what the leaf says.
int ktc_log_inclusion(struct keytrustee *client, const struct kt_tree_head *head, uint64_t index,
                      const uint8_t leaf[KT_SHA256_LEN], struct kt_error *error) KT_MUST_CHECK;
// That `head` continues `known`, which is not larger. KT_ERR_SIGNATURE.
int ktc_log_consistency(struct keytrustee *client, const struct kt_tree_head *known,
                        const struct kt_tree_head *head, struct kt_error *error) KT_MUST_CHECK;

// --- registration (lib_identity.c) ---
// Writes client.json.
int ktc_identity_save(const struct keytrustee *client, struct kt_error *error) KT_MUST_CHECK;
// Before it is kept: a client that registers again, at a cluster that was restored since, needs the
// statement of that. As ktc_restored_accept; 0 where there is nothing to show.
int ktc_identity_history(struct keytrustee *client, const json_t *object, const char *server,
                         const struct kt_authcode *code, struct kt_error *error) KT_MUST_CHECK;
// The answer is of the cluster that this confdir belongs to, if it belongs to one: KT_ERR_EXISTS; and
// the auth code names a root that has not ended: KT_ERR_SIGNATURE.
int ktc_identity_check_cluster(const struct keytrustee *client, const json_t *object,
                               const struct kt_authcode *code,
                               struct kt_error *error) KT_MUST_CHECK;
// Checks the answer of `server` to a registration and keeps what is in it. Under ktc_lock, with the
// history and the cluster's key that client.json has.
int ktc_identity_keep(struct keytrustee *client, const json_t *object, const char *server,
                      const struct kt_authcode *code, struct kt_error *error) KT_MUST_CHECK;

// --- the CA (lib_ca.c) ---
// All roots that this client trusts, the one that signs now first (kt_pki_ca_load).
int ktc_ca_load(const struct keytrustee *client, X509 **ca, struct kt_error *error) KT_MUST_CHECK;
// What to trust after an offer (kt_pki_ca_choose), with words.
int ktc_ca_choose(X509 *known, X509 *offered, X509 **set, struct kt_error *error) KT_MUST_CHECK;
// The same with "ca" of a server's answer, if it has that; kept in ca.pem. Connections to servers that
// another set of roots let through are closed. Takes ktc_lock.
int ktc_ca_learn(struct keytrustee *client, const json_t *answer,
                 struct kt_error *error) KT_MUST_CHECK;
// An answer of `server` names a set that was not learned yet (KT-CA): ktc_ca_catch_up asks for it when
// the call is done, each set once a process. Failing is at most a warning.
void ktc_ca_named(struct keytrustee *client, const struct kt_http_answer *answer,
                  const char *server);
void ktc_ca_catch_up(struct keytrustee *client);
// 1 when another root than the newest has signed it; but 0 while that does not sign yet, as a server
// said, which ktc_ca_is_early remembers: until a server names another set. Takes ktc_lock.
int ktc_ca_is_older(const struct keytrustee *client, X509 *cert);
int ktc_ca_is_early(struct keytrustee *client, struct kt_error *error) KT_MUST_CHECK;

// --- certificates (lib_certificate.c) ---
// A certificate of the server for our key: of this CA, valid now, and for our key. The caller's.
int ktc_certificate_check(const struct keytrustee *client, const char *pem, X509 *ca, X509 **cert,
                          struct kt_error *error) KT_MUST_CHECK;
int ktc_certificate_save(const struct keytrustee *client, X509 *cert,
                         struct kt_error *error) KT_MUST_CHECK;
// notAfter of our certificate in microseconds, and the time to renew it (two thirds of its life; at
// once when its CA was replaced).
int ktc_certificate_times(const struct keytrustee *client, int64_t *renew_us, int64_t *not_after_us,
                          struct kt_error *error) KT_MUST_CHECK;
// A request for our key as PEM text; the caller frees.
int ktc_certificate_request(const struct keytrustee *client, char **pem,
                            struct kt_error *error) KT_MUST_CHECK;
// Renews it when that is due; failing is only a warning.
void ktc_certificate_renew(struct keytrustee *client);
// 1 when its renewal is due and less than 30 days are left; one that is made for fewer is not always
// about to expire.
int ktc_certificate_expires_soon(int64_t renew_us, int64_t not_after_us);
// Warns then: behind a call that failed, which renews nothing.
void ktc_certificate_warn(struct keytrustee *client);
#define KTC_HINT_RENEW                                                                             \
    "any command that reaches the active renews it, as keytrustee status does; if it does not, "   \
    "ask the operator"

#endif
