// SPDX-License-Identifier: Apache-2.0
// Join tokens of this node, in node/tokens.json: their secrets'
// hashes, when they expire, who used them.
#ifndef KTS_AGENT_TOKEN_H
#define KTS_AGENT_TOKEN_H

#include "kts/agent.h"
#include "lib/formats.h"

// Whether the token is one of this node's and has not expired, and whoever used it is no member
// yet. KT_ERR_TOKEN_INVALID: one answer for unknown ids and wrong secrets.
int kts_token_check(struct kts_agent *agent, const struct kt_join_token *token,
                    struct kt_error *error) KT_MUST_CHECK;
// Whether `member` with its key (kt_pki_key_sha256) may use the token: it is unused, or this is the
// same use again (*again 1). KT_ERR_TOKEN_INVALID when another has used it.
int kts_token_may_use(struct kts_agent *agent, const struct kt_join_token *token,
                      const char *member, const uint8_t key_sha256[KT_SHA256_LEN], int *again,
                      struct kt_error *error) KT_MUST_CHECK;
// The same, and it is used: durably, before it has any effect.
int kts_token_use(struct kts_agent *agent, const struct kt_join_token *token, const char *member,
                  const uint8_t key_sha256[KT_SHA256_LEN], struct kt_error *error) KT_MUST_CHECK;

#endif
