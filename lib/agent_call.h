// SPDX-License-Identifier: Apache-2.0
// ktadmin's side of the agent's unix socket: one JSON request, one JSON answer.
#ifndef KT_AGENT_CALL_H
#define KT_AGENT_CALL_H

#include <jansson.h>

#include "lib/err.h"

#define KT_AGENT_MESSAGE_MAX (16u << 20)

// Frame both ways: u32 length (big endian), then the JSON text.
// Request {"verb": "org.add", "args": {...}}; answer {"ok": true, "result": {...}} or
// {"ok": false, "error": {"code", "message", "hint"}}. The agent learns who asks by SO_PEERCRED and
// serves its own account and root only.
// On success `*result` is a new reference. KT_ERR_NOT_RUNNING when nobody listens,
// KT_ERR_IN_DOUBT when the agent ended with the request.
int kt_agent_call(const char *socket_path, const char *verb, json_t *args /* stolen, may be NULL */,
                  int timeout_ms, json_t **result, struct kt_error *error) KT_MUST_CHECK;

#endif
