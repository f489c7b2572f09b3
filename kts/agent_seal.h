// SPDX-License-Identifier: Apache-2.0
// Keys on their way from agent to agent: sealed to the CA's key, which the doors between them, who
// read all that passes, do not have.
#ifndef KTS_AGENT_SEAL_H
#define KTS_AGENT_SEAL_H

#include <jansson.h>
#include <openssl/x509.h>

#include "lib/digest.h"
#include "lib/paths.h"
#include "lib/secret.h"

#define KTS_SEALED_MAX 65536 // characters of base64

// The CA root whose key the agent with this node.state holds: SHA-256 in hex; "" when it says none.
const char *kts_seal_root_of(const json_t *state);
// The same of one's own: the first of `ca`.
int kts_seal_root(X509 *ca, char root[KT_SHA256_TEXT]) KT_MUST_CHECK;
// `root` must be one of `ca`, this node's own, whatever a door says: KT_ERR_CERTIFICATE_UNKNOWN_CA. *sealed
// receives base64, the caller's. `purpose` and `about` as in lib/seal.h.
int kts_seal_for(X509 *ca, const char *root, const char *purpose, const char *about,
                 const char *text, char **sealed, struct kt_error *error) KT_MUST_CHECK;
// KT_ERR_SIGNATURE when it is not for this cluster's agents, or for something else.
int kts_seal_open(const struct kt_paths *paths, const char *purpose, const char *about,
                  const char *sealed, struct kt_secret **text,
                  struct kt_error *error) KT_MUST_CHECK;

#endif
