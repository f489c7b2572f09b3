// SPDX-License-Identifier: Apache-2.0
// The nodes as the database's table lists them, by which keys are handed out and taken. The list of
// kts/agent_peers.h is no measure for that: other nodes' words are in it, and who has the CA's key can
// answer as one of them.
#ifndef KTS_AGENT_LISTED_H
#define KTS_AGENT_LISTED_H

#include "kts/agent.h"
#include "lib/node_call.h"

struct kts_view;

// Takes over "nodes" of db_query_listed, those that are not removed, and "expired".
void kts_listed_take(struct kts_view *view, const json_t *nodes, const json_t *expired);
// Read anew first, when the database is up. NULL: it cannot be read.
const struct kt_peers *kts_listed_now(struct kts_agent *agent);
// 0 when the caller is this machine, or a node that shows the certificate that the table has for it, or
// in a renewal had. Else KT_ERR_NOT_MEMBER, or KT_ERR_DATABASE_UNAVAILABLE.
int kts_listed_check(const struct kts_call *call, struct kt_error *error) KT_MUST_CHECK;
// For callers of which only other nodes' lists know: 0 when the table may get a row for them, or another
// certificate, by their own word. They must not be in it, or only with a certificate that has expired,
// and the CA must not be in replacement: its key may be stolen then.
int kts_listed_check_newcomer(const struct kts_call *call, struct kt_error *error) KT_MUST_CHECK;

// The certificates that `peer`, a row of the table, may show. `pins` must outlive the credentials.
struct kts_pins {
    uint8_t sha256[2][KT_SHA256_LEN];
};
void kts_listed_pin(const struct kt_peer *peer, struct kts_pins *pins,
                    struct kt_node_credentials *credentials);

// In a job: asks the agent of `member`, which must be in the table and show the certificate that this
// has for it. `args` is stolen. KT_ERR_NOT_MEMBER, KT_ERR_CRYPTO, and those of kt_node_call.
struct kts_job;
int kts_listed_ask(const struct kts_job *job, const char *member, const char *verb, json_t *args,
                   int timeout_ms, json_t **result, struct kt_error *error) KT_MUST_CHECK;

#endif
