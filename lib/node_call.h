// SPDX-License-Identifier: Apache-2.0
// Asking the agent of any node: this one's through its unix socket, another's over
// HTTPS with a node's or operator's certificate, or with a join token. Verbs,
// arguments and answers are the same.
#ifndef KT_NODE_CALL_H
#define KT_NODE_CALL_H

#include "lib/paths.h"
#include "lib/peers.h"

// With what a caller shows who it is. Files, so that libcurl can read them; `ca_sha256` pins the CA
// for a token's first contact, when there is no ca_file yet.
struct kt_node_credentials {
    const char *ca_file, *cert_file, *key_file;
    const uint8_t *ca_sha256;
    const char *token;  // text of a join token, sent as Authorization: or NULL
    const char *member; // who is to answer, or NULL: any node of the cluster
    // SHA-256 of which its certificate must have one (lib/http_client.h); NULL: any that the CA has
    // given that member. For what only the listed node may get.
    const uint8_t (*peer_sha256)[KT_SHA256_LEN];
    size_t peer_count;
};

struct kt_node; // where and how to ask one agent

int kt_node_local(const char *agent_socket, struct kt_node **node) KT_MUST_CHECK;
// Only a node's certificate is taken for the other side's: what
// others of the CA's hold is not enough.
int kt_node_remote(const char *host, uint16_t port, const struct kt_node_credentials *credentials,
                   struct kt_node **node, struct kt_error *error) KT_MUST_CHECK;
void kt_node_free(struct kt_node *node);
const char *kt_node_text(const struct kt_node *node); // "kts-02 (10.0.0.2:11372)" for messages
void kt_node_set_text(struct kt_node *node, const char *text);
// Over HTTPS: a longer answer is KT_ERR_TOO_LARGE (KT_ERR_IN_DOUBT, as the other side has acted).
void kt_node_set_max_answer(struct kt_node *node, size_t bytes);

// POST /v1/cluster/<verb> with the JSON of `args` (stolen, may be NULL), or the same through the
// socket. Success: *result is a new reference. Errors keep the agent's code, message and hint.
// KT_ERR_NOT_RUNNING, KT_ERR_NETWORK (nobody there), KT_ERR_TIMEOUT, KT_ERR_IN_DOUBT
// (it may have acted). Not to be shared by threads; several nodes may be asked at
// the same time by several threads.
int kt_node_call(struct kt_node *node, const char *verb, json_t *args, int connect_ms,
                 int timeout_ms, json_t **result, struct kt_error *error) KT_MUST_CHECK;

// The same question to several nodes at the same time (one thread each). results[i] is NULL and
// errors[i] set where it failed. `args` is borrowed.
void kt_node_call_all(struct kt_node *const *nodes, size_t count, const char *verb,
                      const json_t *args, int connect_ms, int timeout_ms, json_t **results,
                      struct kt_error *errors);

#endif
