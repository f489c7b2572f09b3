// SPDX-License-Identifier: Apache-2.0
// What the nodes tell each other of their audit logs: signed heads, taken and compared, and given.
#include <stdio.h>
#include <string.h>

#include "kts/agent_audit_inner.h"
#include "kts/agent_peers.h"
#include "lib/json.h"
#include "lib/log.h"

#define UNSIGNED_US 60000000 // between two warnings of heads that one peer has not signed

// --- what others say ---

// The record that a peer knows of this node's log, by this node's own signature; 0: none behind the
// last one that is here, or none that is signed.
static uint64_t known_of_own(const struct kts_agent *agent, const json_t *heads)
{
    const struct kt_audit_head *own = &agent->audit_heads->own;
    const char *text = json_string_value(json_object_get(heads, own->member));
    static struct kt_audit_head head; // large
    size_t used = 0;

    if (own->seq == 0 || !text || kt_audit_head_parse(text, strlen(text), &head, &used) ||
        text[used] != '\0' || head.seq <= own->seq || strcmp(head.member, own->member) != 0 ||
        memcmp(&head.cluster, &own->cluster, sizeof(head.cluster)) != 0)
        return 0;
    return kt_audit_head_verify(&head, agent->ca_cert) == 0 ? head.seq : 0;
}

// A peer has heard of records that this node's log does not have: it was cut, or written anew,
// while this node was off. The log itself says so from here on.
static void hear_of_own(struct kts_agent *agent, const char *member, const json_t *heads)
{
    struct kts_agent_audit *audit = agent->audit_heads;
    uint64_t theirs = known_of_own(agent, heads);
    size_t i = 0;

    if (theirs == 0)
        return;
    while (i < audit->behind_count && strcmp(audit->behind[i].member, member) != 0)
        i++;
    if (i == KT_PEERS_MAX || (i < audit->behind_count && audit->behind[i].seq == theirs))
        return;
    if (i == audit->behind_count)
        audit->behind_count++;
    snprintf(audit->behind[i].member, sizeof(audit->behind[i].member), "%s", member);
    audit->behind[i].seq = theirs;
    kt_log(KT_LOG_ERROR,
           "the audit log ends at record %llu, and node '%s' knows record %llu of it; hint: run "
           "ktadmin audit verify",
           (unsigned long long)audit->own.seq, member, (unsigned long long)theirs);
    kts_agent_audit(agent, json_pack("{s:s, s:s, s:I, s:s}", "event", "audit.behind", "member",
                                     member, "known", (json_int_t)theirs, "problem",
                                     "records are gone that another node knows of"));
}

static void went_back(struct kts_agent *agent, const struct kt_audit_head *head,
                      const struct kt_audit_head *before)
{
    kt_log(KT_LOG_ERROR,
           "the audit log of node '%s' went back from record %llu to %llu; hint: run ktadmin audit "
           "verify there",
           head->member, (unsigned long long)before->seq, (unsigned long long)head->seq);
    kts_agent_audit(agent, json_pack("{s:s, s:s, s:I, s:I, s:s}", "event", "audit.back", "member",
                                     head->member, "known", (json_int_t)before->seq, "said",
                                     (json_int_t)head->seq, "problem",
                                     "the audit log of that node was cut or written anew"));
}

// Once for each head: it comes with every heartbeat. And not faster than once a minute, if each one
// is another.
static void tell_unsigned(struct kts_agent_audit *audit, const char *member, const char *text)
{
    int64_t now_us = kt_monotonic_now();
    uint8_t sha256[KT_SHA256_LEN];
    size_t i = 0;

    while (i < KT_PEERS_MAX && strcmp(audit->unsigned_heads[i].member, member) != 0)
        i++;
    if (kt_sha256(text, strlen(text), sha256) ||
        (i < KT_PEERS_MAX &&
         (memcmp(audit->unsigned_heads[i].sha256, sha256, sizeof(sha256)) == 0 ||
          now_us < audit->unsigned_heads[i].told_us + UNSIGNED_US)))
        return;
    if (i == KT_PEERS_MAX) {
        i = audit->unsigned_next;
        audit->unsigned_next = (i + 1) % KT_PEERS_MAX;
        snprintf(audit->unsigned_heads[i].member, KT_MEMBER_TEXT, "%s", member);
    }
    memcpy(audit->unsigned_heads[i].sha256, sha256, sizeof(sha256));
    audit->unsigned_heads[i].told_us = now_us;
    kt_log(KT_LOG_WARNING, "node '%s' shows an audit head that it has not signed", member);
}

static void hear_head(struct kts_agent *agent, const char *member, const char *text)
{
    struct kts_heads *known = agent->audit_heads->known;
    static struct kt_audit_head head, before; // large
    size_t used = 0;
    const struct kt_audit_head *newest = kts_heads_newest(known, member);

    if (kt_audit_head_parse(text, strlen(text), &head, &used) || text[used] != '\0' ||
        strcmp(head.member, member) != 0 ||
        memcmp(&head.cluster, &agent->start->info->cluster_id, sizeof(head.cluster)) != 0)
        return;
    if (newest && newest->seq == head.seq && memcmp(newest->hash, head.hash, KT_SHA256_LEN) == 0)
        return; // most of the time: not worth a check of the signature
    if (kt_audit_head_verify(&head, agent->ca_cert)) {
        tell_unsigned(agent->audit_heads, member, text);
        return;
    }
    if (kts_heads_hear(known, &head, &before) == KTS_HEARD_BACK)
        went_back(agent, &head, &before);
}

void kts_agent_audit_hear(struct kts_agent *agent, const char *member, const json_t *state)
{
    const json_t *audit = json_object_get(state, "audit");
    const char *text = json_string_value(json_object_get(audit, "head"));

    if (!agent->audit_heads)
        return;
    if (text)
        hear_head(agent, member, text);
    hear_of_own(agent, member, json_object_get(state, "heads"));
}

// --- what this node says ---

static int is_present(void *arg, const char *member)
{
    const struct kt_peer *peer = kt_peers_by_member(kts_agent_peers(arg), member);

    return peer && !peer->removed;
}

void kts_agent_audit_state(struct kts_agent *agent, json_t *state)
{
    struct kts_status *status = agent->start->status;
    struct kts_agent_audit *audit = agent->audit_heads;
    char problem[256];
    json_t *object = json_pack("{s:b, s:I}", "open", (int)atomic_load(&status->audit_open), "seq",
                               (json_int_t)atomic_load(&agent->start->audit_page->seq));

    kts_status_get_text(&agent->start->audit_page->problem, problem);
    if (problem[0])
        json_object_set_new(object, "problem", json_string(problem));
    if (audit && audit->own.seq)
        json_object_set_new(object, "head", json_string(audit->text));
    if (audit && audit->behind_count)
        json_object_set_new(object, "behind", json_string(audit->behind[0].member));
    json_object_set_new(state, "audit", object);
    json_object_set_new(state, "heads",
                        audit ? kts_heads_highest(audit->known, is_present, agent) : json_object());
}

static int run_heads(struct kts_call *call, const json_t *args, json_t **result,
                     struct kt_error *error)
{
    static const char *const MEMBERS[] = {"member", NULL};
    const char *member = NULL;
    int rc = kt_json_only(args, MEMBERS, error);

    if (rc == 0)
        rc = kt_json_string(args, "member", 0, KT_MEMBER_TEXT - 1, &member, error);
    if (rc == 0)
        *result = kts_heads_to_json(kts_call_agent(call)->audit_heads->known, member);
    return rc;
}

static int run_sign(struct kts_call *call, const json_t *args, json_t **result,
                    struct kt_error *error)
{
    static const char *const MEMBERS[] = {NULL};
    struct kts_agent *agent = kts_call_agent(call);
    const struct kts_agent_audit *audit = agent->audit_heads;
    char hash[KT_SHA256_TEXT];
    int rc = kt_json_only(args, MEMBERS, error);

    if (rc == 0)
        rc = kts_agent_audit_tick(agent, 1, error);
    if (rc)
        return rc;
    kt_hex_encode(audit->own.hash, KT_SHA256_LEN, hash);
    *result = json_pack("{s:I, s:s, s:s}", "seq", (json_int_t)audit->own.seq, "hash", hash, "text",
                        audit->text);
    return 0;
}

const struct kts_verb kts_audit_verbs[] = {
    {"audit.heads", KTS_CALLER_LOCAL | KTS_CALLER_NODE | KTS_CALLER_OPERATOR, 0, run_heads, NULL,
     NULL},
    {"audit.sign", KTS_CALLER_LOCAL, 0, run_sign, NULL, NULL},
    {NULL, 0, 0, NULL, NULL, NULL},
};
