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

// The CA root to seal for the agent with this node.state: SHA-256 in hex. It is the newest of this node
// when both have its key, so that an older one, whose end may be near because its key is stolen, serves
// only who has no other; else the one that the agent signs with, "" when it says none.
int kts_seal_root_for(const struct kt_paths *paths, const json_t *state, char root[KT_SHA256_TEXT],
                      struct kt_error *error) KT_MUST_CHECK;
// The other way: the root to seal for this node, by the agent with this node.state: its newest when the
// agent trusts that too, else the first of `ca`, its own.
int kts_seal_root_here(const struct kt_paths *paths, X509 *ca, const json_t *state,
                       char root[KT_SHA256_TEXT], struct kt_error *error) KT_MUST_CHECK;
// `root` must be one of `ca`, this node's own, whatever a door says: KT_ERR_CERTIFICATE_UNKNOWN_CA. *sealed
// receives base64, the caller's. `purpose` and `about` as in lib/seal.h.
int kts_seal_for(X509 *ca, const char *root, const char *purpose, const char *about,
                 const char *text, char **sealed, struct kt_error *error) KT_MUST_CHECK;
// KT_ERR_SIGNATURE when it is not for this cluster's agents, or for something else.
int kts_seal_open(const struct kt_paths *paths, const char *purpose, const char *about,
                  const char *sealed, struct kt_secret **text,
                  struct kt_error *error) KT_MUST_CHECK;

#endif
