// SPDX-License-Identifier: Apache-2.0
// A change on its way to the writer, and its outcome: the one write path of clients and operators.
#ifndef KT_CHANGE_H
#define KT_CHANGE_H

#include "lib/buf.h"
#include "lib/digest.h"
#include "lib/encode.h"
#include "lib/formats.h"

// To add a change: a line here, its fields below, a case in db/change_*.c, a row in the route table
// or in the agent's verbs.
enum kt_change_kind {
    KT_CHANGE_BARRIER = 0, // writes nothing: proves that a quorum is here now
    KT_CHANGE_DEPOSIT,     // actor: client
    KT_CHANGE_DELETE,
    KT_CHANGE_REGISTER,    // actor: auth code
    KT_CHANGE_RENEW,       // actor: client
    KT_CHANGE_ORG_ADD,     // from here on, actor: operator
    KT_CHANGE_ORG_DISABLE, // undo = 1: enable
    KT_CHANGE_AUTHCODE_NEW,
    KT_CHANGE_CLIENT_APPROVE,
    KT_CHANGE_CLIENT_REVOKE,
    KT_CHANGE_GRANT,
    KT_CHANGE_GRANT_REVOKE,
    KT_CHANGE_OPERATOR_ADD,    // certificate of an operator: name, certificate, lifetime
    KT_CHANGE_OPERATOR_REVOKE, // all of a name
    KT_CHANGE_UNDELETE,        // from here on, actor: client
    KT_CHANGE_PURGE,
    KT_CHANGE_LOCK,
    KT_CHANGE_RETRIEVE, // a retrieval under a release policy
    KT_CHANGE_VOTE,
    KT_CHANGE_ORG_SET, // from here on, actor: operator
    KT_CHANGE_KEY_GROUP_ADD,
    KT_CHANGE_RECOVERY_ADD,
    KT_CHANGE_RECOVERY_RETIRE,
    KT_CHANGE_CLOCK_CONFIRM,
    KT_CHANGE_RECEIPT_KEY_ADD,     // name: the key's id in hex; csr: its certificate, PEM
    KT_CHANGE_RECEIPT_KEY_CERTIFY, // name: the id of one that is listed; csr: another certificate of it
    KT_CHANGE_RECEIPT_KEY_RETIRE, // name: the id of the one that stays; all others
    KT_CHANGE_AUTHCODE_REVOKE,    // code_id
    KT_CHANGE_CLUSTER_KEY_ADD,    // fingerprint: the next key's; name: that of the one
                                  // before it; openpgp: the statement by that one
    KT_CHANGE_TICK, // actor: the writer itself. Looks at the clock, purges what is due
    KT_CHANGE_KIND_COUNT
};

#define KT_SHARE_STRANGERS                                                                         \
    1 // organisation_share of those without a certificate; 0: the server's own
#define KT_REQUEST_ID_TEXT   33 // 16 random bytes as hex, NUL
#define KT_PEER_TEXT         64
#define KT_ACTOR_TEXT        96
#define KT_CLIENT_NAME_MAX   63
#define KT_CSR_MAX           8192
#define KT_CERT_PEM_MAX      8192
#define KT_OPENPGP_KEY_MAX   65536
#define KT_JUSTIFICATION_MAX 512 // bytes of UTF-8
#define KT_RECIPIENTS_MAX    32
#define KT_TRUSTEES_MAX      16
#define KT_LOCK_DEFAULT_TEXT 24 // "governance 30d", "none"

// What must be true before a deposit is handed out; all zero: no policy.
struct kt_release_policy {
    int64_t not_before_us, not_after_us; // 0: no bound
    uint32_t max_retrievals;             // 0: any number
    uint32_t votes;                      // of the trustees, 0: none needed
    int64_t request_lifetime_s;          // how long a request waits and an approval lasts
    uint8_t justification;               // 1: the request must have one
    uint8_t trustee_count;
    struct kt_uuid trustees[KT_TRUSTEES_MAX]; // clients of the organisation
};

// Which members a kind uses is said beside them; all others are zero. Owned memory: `body`, `csr`,
// `openpgp`, `contacts`, `certificate`; freed by kt_change_free.
struct kt_change {
    enum kt_change_kind kind;
    char request_id[KT_REQUEST_ID_TEXT];
    uint64_t organisation_share, client_share; // whose turn it takes in the writer's queue
    char peer[KT_PEER_TEXT];                   // address of the client, "" for operators
    char actor[KT_ACTOR_TEXT];                 // operator: "root (uid 0)"; "" for clients
    uint8_t certificate_sha256[KT_SHA256_LEN]; // changes of clients but REGISTER: who asks;
                                               // OPERATOR_ADD: the new one
    struct kt_uuid deposit_id;                 // DEPOSIT, RETRIEVE
    char handle[KT_HANDLE_MAX +
                1];        // DEPOSIT, DELETE, UNDELETE, PURGE, LOCK, RETRIEVE; GRANT: prefix
    uint32_t version;      // DELETE, UNDELETE, PURGE, LOCK: 0 = all of the handle
    char content_type[64]; // DEPOSIT
    uint8_t sha256[KT_SHA256_LEN]; // DEPOSIT: of the body, checked by the worker; AUTHCODE_NEW,
                                   // OPERATOR_ADD: of the root that it names, or that has signed
    struct kt_uuid key_group;      // DEPOSIT, GRANT: nil = none
    uint8_t *body;                 // DEPOSIT
    size_t body_len;
    char code_id[9];                  // REGISTER, AUTHCODE_*
    uint8_t code_hash[KT_SHA256_LEN]; // REGISTER, AUTHCODE_NEW
    char name[KT_ORG_NAME_MAX + 1];   // REGISTER: client's label; ORG_*, AUTHCODE_NEW,
                                      // ORG_SET, KEY_GROUP_ADD, RECOVERY_*,
                                      // GRANT: organisation's name; OPERATOR_*: operator's;
                                      // RECEIPT_KEY_*: key id; CLUSTER_KEY_ADD
    char label[KT_ORG_NAME_MAX + 1];  // KEY_GROUP_ADD: the group's name
    uint8_t *csr;                     // REGISTER, RENEW, RECEIPT_KEY_ADD and _CERTIFY: PEM
    size_t csr_len;
    uint8_t key_sha256[KT_SHA256_LEN]; // REGISTER, RENEW: of the CSR's SubjectPublicKeyInfo
    uint8_t *openpgp;                  // REGISTER, RECOVERY_ADD: binary public key; CLUSTER_KEY_ADD
    size_t openpgp_len;
    char fingerprint[41];     // REGISTER, RECOVERY_*: of it, upper-case hex; CLUSTER_KEY_ADD
    char *contacts;           // ORG_ADD: comma separated, or NULL
    int needs_approval;       // ORG_ADD
    int undo;                 // ORG_DISABLE
    uint32_t max_uses;        // AUTHCODE_NEW
    int64_t lifetime_s;       // AUTHCODE_NEW, OPERATOR_ADD
    char rights[128];         // AUTHCODE_NEW, GRANT: "deposit,browse"
    char object[16];          // GRANT: "own", "prefix", "key_group"
    struct kt_uuid client_id; // CLIENT_*, GRANT: nil = the whole organisation
    struct kt_uuid grant_id;  // GRANT_REVOKE
    // LOCK: mode "governance", "compliance", "none" (lifts) or "" (as it is), until when, and the
    // legal hold: 0 as it is, 1 set, 2 lifted. `bypass`: the header that lifting wants was there.
    char lock_mode[12];
    int64_t lock_until_us;
    uint8_t hold;
    uint8_t bypass;
    char justification[KT_JUSTIFICATION_MAX + 1]; // RETRIEVE; VOTE: comment
    struct kt_uuid retrieval_id;                  // RETRIEVE: a repeat is the same retrieval
    struct kt_uuid vote_id;                       // VOTE: the request that is voted on
    uint8_t approve;                              // VOTE: 1 yes, 0 no
    struct kt_release_policy policy;              // DEPOSIT
    uint32_t recipient_count;                     // DEPOSIT: key ids that open the body
    uint64_t recipients[KT_RECIPIENTS_MAX];       // DEPOSIT; RECOVERY_ADD: of the key's parts
    char lock_default[KT_LOCK_DEFAULT_TEXT];      // ORG_SET: "none", "" as it is
    int64_t purge_delay_s;                        // ORG_SET: -1 as it is
};

// What came of it. Owned: `text`.
struct kt_outcome {
    int code;                  // 0 or enum kt_err_code
    char message[256];         // more than the code's text, or ""
    int repeated;              // the same change was made before: answered from its row
    uint64_t count;            // DELETE: versions; GRANT: rows
    struct kt_receipt receipt; // DEPOSIT
    char *text;                // REGISTER, RENEW, operators' changes: JSON for the answer, or NULL
};

int kt_change_encode(const struct kt_change *change, struct kt_buf *out) KT_MUST_CHECK;
// Every length is checked; KT_ERR_PROTOCOL for what no worker would send.
int kt_change_decode(struct kt_buf *in, struct kt_change *change) KT_MUST_CHECK;
void kt_change_free(struct kt_change *change);
// Who makes a kind: clients, through a worker, or operators, through the agent. TICK is the
// writer's own. The writer takes no other process' word for it.
enum kt_change_origin { KT_FROM_ANY, KT_FROM_CLIENT, KT_FROM_OPERATOR, KT_FROM_WRITER };
enum kt_change_origin kt_change_origin(enum kt_change_kind kind);
// "deposit.put", "client.register", ...: the audit event of a kind.
const char *kt_change_event(enum kt_change_kind kind);
int kt_outcome_encode(const struct kt_outcome *outcome, struct kt_buf *out) KT_MUST_CHECK;
int kt_outcome_decode(struct kt_buf *in, struct kt_outcome *outcome) KT_MUST_CHECK;
void kt_outcome_free(struct kt_outcome *outcome);

#endif
