// SPDX-License-Identifier: Apache-2.0
// Join tokens of this node, in node/tokens.json: their secrets' hashes, when they expire, who used them.
#ifndef KTS_AGENT_TOKEN_H
#define KTS_AGENT_TOKEN_H

#include "kts/agent.h"
#include "lib/formats.h"

// Whether the token is one of this node's and has not expired. KT_ERR_TOKEN_INVALID: one answer for
// unknown ids and wrong secrets.
int kts_token_check(struct kts_agent *agent, const struct kt_join_token *token,
                    struct kt_error *error) KT_MUST_CHECK;
// The token is used by `member`, durably, before it has any effect. The same member again is the same
// use (*again 1); KT_ERR_TOKEN_INVALID for another.
int kts_token_use(struct kts_agent *agent, const struct kt_join_token *token, const char *member,
                  int *again, struct kt_error *error) KT_MUST_CHECK;

#endif
