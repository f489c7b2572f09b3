// SPDX-License-Identifier: Apache-2.0
// The nodes a node knows: names, addresses, certificates. Replicated in the table `nodes`; each
// agent keeps a copy in node/peers.json, since it must find its peers before PostgreSQL runs.
#ifndef KT_PEERS_H
#define KT_PEERS_H

#include <jansson.h>

#include "lib/digest.h"
#include "lib/formats.h"

#define KT_PEERS_MAX 32
#define KT_HOST_MAX  255

struct kt_peer {
    char member[KT_MEMBER_TEXT];   // "<node>.<8 hex>"
    char address[KT_HOST_MAX + 1]; // host name or address, IPv6 without brackets
    uint16_t agent_port, database_port, https_port;
    uint8_t cert_sha256[KT_SHA256_LEN]; // of its node certificate
    // While that is being renewed: of the one before, which still lets it in. Zeros: none. One that
    // was removed meanwhile keeps it.
    uint8_t cert_before[KT_SHA256_LEN];
    uint32_t revision; // grows when address, ports or certificate change
    int removed;       // stays known: its certificate is refused
};

struct kt_peers {
    struct kt_peer peers[KT_PEERS_MAX];
    size_t count;
};

// Missing file: an empty list. The file is replaced whole and fsynced.
int kt_peers_load(const char *path, struct kt_peers *peers, struct kt_error *error) KT_MUST_CHECK;
int kt_peers_save(const char *path, const struct kt_peers *peers,
                  struct kt_error *error) KT_MUST_CHECK;
// Takes over what `from` knows better: new members, higher revisions; `removed` is
// never taken back. 1 when something changed, 0 when not, negative when not all new
// ones fit: the rest is taken over.
int kt_peers_merge(struct kt_peers *into, const struct kt_peers *from);
const struct kt_peer *kt_peers_by_member(const struct kt_peers *peers, const char *member);
// By node name: the one that is not removed; by certificate (also the one before a renewal that has
// not ended): not a removed one. NULL when there is none.
const struct kt_peer *kt_peers_by_node(const struct kt_peers *peers, const char *node);
const struct kt_peer *kt_peers_by_cert(const struct kt_peers *peers,
                                       const uint8_t sha256[KT_SHA256_LEN]);
// Whether a certificate of before counts too.
int kt_peer_has_before(const struct kt_peer *peer);
// The removed one that had this certificate (or that one before a renewal), or NULL.
const struct kt_peer *kt_peers_removed_by_cert(const struct kt_peers *peers,
                                               const uint8_t sha256[KT_SHA256_LEN]);
// The same members in the same revisions.
int kt_peers_equal(const struct kt_peers *a, const struct kt_peers *b);
json_t *kt_peers_to_json(const struct kt_peers *peers);
int kt_peer_from_json(const json_t *object, struct kt_peer *peer,
                      struct kt_error *error) KT_MUST_CHECK;
int kt_peers_from_json(const json_t *array, struct kt_peers *peers,
                       struct kt_error *error) KT_MUST_CHECK;

#endif
