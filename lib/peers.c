// SPDX-License-Identifier: Apache-2.0
// The nodes a node knows: looking one up, and taking over what another list knows better.
#include "lib/peers.h"

#include <string.h>

const struct kt_peer *kt_peers_by_member(const struct kt_peers *peers, const char *member)
{
    for (size_t i = 0; i < peers->count; i++) {
        if (strcmp(peers->peers[i].member, member) == 0)
            return &peers->peers[i];
    }
    return NULL;
}

const struct kt_peer *kt_peers_by_node(const struct kt_peers *peers, const char *node)
{
    size_t n = strlen(node);

    for (size_t i = 0; i < peers->count; i++) {
        const struct kt_peer *peer = &peers->peers[i];
        if (!peer->removed && strncmp(peer->member, node, n) == 0 && peer->member[n] == '.')
            return peer;
    }
    return NULL;
}

int kt_peer_has_before(const struct kt_peer *peer)
{
    static const uint8_t NONE[KT_SHA256_LEN];

    return memcmp(peer->cert_before, NONE, KT_SHA256_LEN) != 0;
}

const struct kt_peer *kt_peers_by_cert(const struct kt_peers *peers,
                                       const uint8_t sha256[KT_SHA256_LEN])
{
    for (size_t i = 0; i < peers->count; i++) {
        const struct kt_peer *peer = &peers->peers[i];
        if (!peer->removed && memcmp(peer->cert_sha256, sha256, KT_SHA256_LEN) == 0)
            return peer;
        if (!peer->removed && kt_peer_has_before(peer) &&
            memcmp(peer->cert_before, sha256, KT_SHA256_LEN) == 0)
            return peer;
    }
    return NULL;
}

const struct kt_peer *kt_peers_removed_by_cert(const struct kt_peers *peers,
                                               const uint8_t sha256[KT_SHA256_LEN])
{
    for (size_t i = 0; i < peers->count; i++) {
        const struct kt_peer *peer = &peers->peers[i];
        if (peer->removed &&
            (memcmp(peer->cert_sha256, sha256, KT_SHA256_LEN) == 0 ||
             (kt_peer_has_before(peer) && memcmp(peer->cert_before, sha256, KT_SHA256_LEN) == 0)))
            return peer;
    }
    return NULL;
}

static int merge_one(struct kt_peer *into, const struct kt_peer *from)
{
    int removed = into->removed || from->removed;
    int changed = removed != into->removed;

    if (from->revision > into->revision) {
        uint8_t before[KT_SHA256_LEN];
        memcpy(before, into->cert_before, sizeof(before));
        *into = *from;
        // It may use that one still, and is to hear of its removal.
        if (removed && !kt_peer_has_before(into))
            memcpy(into->cert_before, before, sizeof(before));
        changed = 1;
    }
    into->removed = removed;
    return changed;
}

int kt_peers_equal(const struct kt_peers *a, const struct kt_peers *b)
{
    int is_equal = a->count == b->count;

    for (size_t i = 0; is_equal && i < a->count; i++) {
        const struct kt_peer *x = &a->peers[i], *y = &b->peers[i];
        is_equal = strcmp(x->member, y->member) == 0 && x->revision == y->revision &&
                   x->removed == y->removed;
    }
    return is_equal;
}

int kt_peers_merge(struct kt_peers *into, const struct kt_peers *from)
{
    int changed = 0, is_full = 0;

    // Those that are known first: that one was removed is heard however full the list is.
    for (size_t i = 0; i < from->count; i++) {
        const struct kt_peer *known = kt_peers_by_member(into, from->peers[i].member);
        if (known)
            changed |= merge_one(&into->peers[known - into->peers], &from->peers[i]);
    }
    for (size_t i = 0; i < from->count; i++) {
        if (kt_peers_by_member(into, from->peers[i].member))
            continue;
        is_full = into->count == KT_PEERS_MAX;
        if (is_full)
            break;
        into->peers[into->count++] = from->peers[i];
        changed = 1;
    }
    return is_full ? KT_ERR_TOO_LARGE : changed;
}
