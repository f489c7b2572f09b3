// SPDX-License-Identifier: Apache-2.0
// Who is at the other end of the door: a listed node or operator, or a node that was removed.
#include <stdio.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "kts/agent_door.h"
#include "kts/agent_peers.h"
#include "kts/relay.h"
#include "lib/pki.h"

static const char *operator_of(const struct kts_agent *agent, const uint8_t sha256[KT_SHA256_LEN])
{
    const struct kts_operators *all = &agent->operators;

    for (size_t i = 0; i < all->count; i++) {
        if (memcmp(all->operators[i].cert_sha256, sha256, KT_SHA256_LEN) == 0)
            return all->operators[i].name;
    }
    return NULL;
}

// What a certificate is listed as: at most one of them.
struct listed {
    const struct kt_peer *peer, *removed;
    const char *admin; // an operator's name
};

static struct listed look_up(struct kts_agent *agent, const uint8_t sha256[KT_SHA256_LEN])
{
    struct listed listed = {NULL, NULL, NULL};

    // One that is revoked is refused from the next request on, not from the next look at the list.
    if (operator_of(agent, sha256))
        kts_agent_watch_lists(agent);
    listed.admin = operator_of(agent, sha256);
    listed.peer = kt_peers_by_cert(kts_agent_peers(agent), sha256);
    listed.removed = kt_peers_removed_by_cert(kts_agent_peers(agent), sha256);
    return listed;
}

// Away while the CA was replaced, this node knows the older root only, and is handed the other by the
// active, whose certificate has a link to the one that is known here.
static int look_along(const struct kts_agent *agent, const struct kts_relay_call *from, X509 *cert)
{
    int64_t now_us = kt_time_now();
    X509 *link = NULL;
    int rc = kt_pki_cert_from_der(from->link, from->link_len, &link);

    if (rc == 0)
        rc = kt_pki_cert_check(link, agent->ca_cert, now_us);
    if (rc == 0 && X509_check_ca(link) != 1) // what the CA signs for others signs nothing
        rc = KT_ERR_CERTIFICATE_UNKNOWN_CA;
    if (rc == 0)
        rc = kt_pki_cert_check(cert, link, now_us);
    X509_free(link);
    return rc;
}

// The lists are the writer's and other nodes' word, and the verdict is the door's: the names, the
// CA's signature and the validity are looked at here too. Only a certificate with a listed hash is
// parsed.
static int look_into(const struct kts_agent *agent, const struct kts_relay_call *from,
                     struct listed *listed)
{
    X509 *cert = NULL;
    int rc;

    if (!listed->peer && !listed->admin && !listed->removed)
        return 0;
    rc = kt_pki_cert_from_der(from->cert, from->cert_len, &cert);
    if (rc == 0)
        rc = kt_pki_cert_check(cert, agent->ca_cert, kt_time_now());
    if (rc == KT_ERR_CERTIFICATE_UNKNOWN_CA && from->link_len)
        rc = look_along(agent, from, cert);
    if (listed->peer && (rc || !kt_pki_is_node(cert, listed->peer->member)))
        listed->peer = NULL;
    if (listed->admin && (rc || !kt_pki_is_operator(cert, listed->admin)))
        listed->admin = NULL;
    if (listed->removed && (rc || !kt_pki_is_node(cert, listed->removed->member)))
        listed->removed = NULL;
    X509_free(cert);
    return rc;
}

// What this node asks of itself goes by the unix socket. Through the door its certificate comes from
// whoever has the door, which holds the key.
static int is_own(const struct kts_agent *agent, const char *member)
{
    const struct kt_peer *own = kts_agent_own_peer(agent);

    return own && strcmp(own->member, member) == 0;
}

static void become(struct kts_call *call, enum kts_asker caller, const char *what,
                   const char *member, const char *name)
{
    call->caller = caller;
    snprintf(call->member, sizeof(call->member), "%s", member);
    snprintf(call->actor, sizeof(call->actor), "%s %s", what, name);
}

int kts_caller_identify(struct kts_call *call, const struct kts_relay_call *from,
                        struct kt_error *error)
{
    struct listed listed = {NULL, NULL, NULL};
    uint8_t sha256[KT_SHA256_LEN] = {0};
    int rc = from->verdict;

    if (rc == 0)
        rc = kt_sha256(from->cert, from->cert_len, sha256);
    if (rc == 0) {
        listed = look_up(call->agent, sha256);
        rc = look_into(call->agent, from, &listed);
    }
    call->member[0] = '\0';
    memcpy(call->cert_sha256, sha256, sizeof(sha256));
    if (listed.peer && is_own(call->agent, listed.peer->member))
        return kt_error_set(error, KT_ERR_NOT_MEMBER, "ask a node itself by its unix socket",
                            "the certificate is this node's own");
    if (listed.peer)
        become(call, KTS_CALLER_NODE, "node", listed.peer->member, listed.peer->member);
    else if (listed.admin)
        become(call, KTS_CALLER_OPERATOR, "operator", "", listed.admin);
    else if (listed.removed)
        become(call, KTS_CALLER_REMOVED, "removed node", listed.removed->member,
               listed.removed->member);
    else if (rc == KT_ERR_CERTIFICATE_EXPIRED || rc == KT_ERR_CERTIFICATE_UNKNOWN_CA)
        return kt_error_set(error, rc, NULL, "%s", kt_err_text(rc));
    else
        return kt_error_set(error, KT_ERR_NOT_MEMBER, NULL, "%s", kt_err_text(KT_ERR_NOT_MEMBER));
    return 0;
}
