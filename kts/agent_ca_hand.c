// SPDX-License-Identifier: Apache-2.0
// Replacing the CA: the active hands it to the other nodes, also to one that was away meanwhile.
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kts/agent_ca_rotate.h"
#include "kts/agent_join.h"
#include "kts/agent_listed.h"
#include "kts/agent_peers.h"
#include "kts/agent_seal.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/secret.h"

#define KEY_MAX       4096
#define SET_MAX       32768
#define CONNECT_MS    1000
#define TAKE_MS       15000
#define BUSY_US       10000000 // a node that is at work on something else is asked again so long
#define BUSY_MS       200
#define HAND_AGAIN_US 5000000 // between attempts to hand it to a node that was away

// What ca.take is asked with, by the agent that has the key of `root`. The key handed over is that of
// the newest root, which is next-key.pem until it is in use. NULL: `error` says why.
static json_t *take_args(const struct kts_job *job, const char *root, int use,
                         struct kt_error *error)
{
    const struct kt_paths *paths = job->start->paths;
    const char *file = kt_file_exists(paths->ca_next_key) ? paths->ca_next_key : paths->ca_key;
    struct kt_secret *key = NULL;
    json_t *args = NULL;
    char *set = NULL, *sealed = NULL;

    if (kt_secret_from_file(file, KEY_MAX, 0, &key, error) == 0 &&
        kts_seal_for(job->ca_cert, root, KTS_CA_SEALED, "", kt_secret_text(key), &sealed, error) ==
            0 &&
        kt_file_read_text(paths->ca_cert, SET_MAX, &set, error) == 0)
        args = json_pack("{s:s, s:s, s:b}", "sealed", sealed, "certificates", set, "use", use);
    kt_secret_free(key);
    free(sealed);
    free(set);
    return args;
}

// What ca.ended is asked with.
static json_t *told_args(const struct kt_paths *paths, struct kt_error *error)
{
    json_t *args = NULL;
    char *set = NULL;

    if (kt_file_read_text(paths->ca_cert, SET_MAX, &set, error) == 0)
        args = json_pack("{s:s}", "certificates", set);
    free(set);
    return args;
}

static int ask(struct kt_node *node, const char *verb, const json_t *args, json_t **result,
               struct kt_error *error)
{
    int64_t until_us = kt_monotonic_now() + BUSY_US;

    for (;;) {
        const struct timespec pause = {.tv_nsec = BUSY_MS * 1000000};
        json_t *answer = NULL;
        int rc =
            kt_node_call(node, verb, json_deep_copy(args), CONNECT_MS, TAKE_MS, &answer, error);
        if (rc == 0 && result)
            *result = answer;
        else
            json_decref(answer);
        if (rc != KT_ERR_BUSY || kt_monotonic_now() > until_us)
            return rc;
        nanosleep(&pause, NULL);
    }
}

// A left-out node whose root has ended here is handed nothing: who has that root's key could open it.
static int give(const struct kts_job *job, struct kt_node *node, int use, struct kt_error *error)
{
    json_t *nothing = json_object(), *state = NULL, *take = NULL;
    char root[KT_SHA256_TEXT];
    int rc = ask(node, "node.state", nothing, &state, error);

    if (rc == 0)
        rc = kts_seal_root_for(job->start->paths, state, root, error);
    if (rc == 0 && !(take = take_args(job, root, use, error)))
        rc = error->code ? error->code : KT_ERR_NO_MEMORY;
    if (rc == 0)
        rc = ask(node, "ca.take", take, NULL, error);
    json_decref(take);
    json_decref(state);
    json_decref(nothing);
    return rc;
}

static int tell(const struct kts_job *job, struct kt_node *node, struct kt_error *error)
{
    json_t *told = told_args(job->start->paths, error);
    int rc = told          ? ask(node, "ca.ended", told, NULL, error)
             : error->code ? error->code
                           : KT_ERR_NO_MEMORY;

    json_decref(told);
    return rc;
}

// The key goes to whom the table of nodes has, and to the certificate that it has for it; who is told of
// an end alone gets nothing that is secret.
static int hand_to(const struct kts_job *job, const struct kt_peer *peer, const json_t *args,
                   struct kt_error *error)
{
    int told = json_is_true(json_object_get(args, "told"));
    struct kt_node_credentials credentials = job->credentials;
    const struct kt_peer *row = job->listed ? kt_peers_by_member(job->listed, peer->member) : NULL;
    struct kt_node *node = NULL;
    json_t *nothing = json_object();
    struct kts_pins pins = {{{0}}};
    int rc = 0;

    credentials.member = peer->member;
    if (!told && row)
        kts_listed_pin(peer = row, &pins, &credentials);
    else if (!told)
        rc =
            kt_error_set(error, KT_ERR_NOT_MEMBER, "see ktadmin status",
                         "'%s' is not in the table of nodes, or this cannot be read", peer->member);
    if (rc == 0)
        rc = kt_node_remote(peer->address, peer->agent_port, &credentials, &node, error);
    if (rc == 0)
        rc = told ? tell(job, node, error)
                  : give(job, node, json_is_true(json_object_get(args, "use")), error);
    if (rc == 0)
        rc = ask(node, "ca.load", nothing, NULL, error);
    json_decref(nothing);
    kt_node_free(node);
    return rc;
}

// Arguments: "peers", "use"; or "told" instead of that: no more than that an older root has ended.
// The answer: {"failed": [{"member", "why"}]}.
static int job_hand(struct kts_job *job, const json_t *args, json_t **result,
                    struct kt_error *error)
{
    static struct kt_peers peers;
    json_t *failed = json_array();
    int rc = kt_peers_from_json(json_object_get(args, "peers"), &peers, error);

    for (size_t i = 0; rc == 0 && i < peers.count; i++) {
        struct kt_error why = {0};
        if (hand_to(job, &peers.peers[i], args, &why) == 0)
            continue;
        kt_log_error(&why, "the next CA is not handed to '%s'", peers.peers[i].member);
        json_array_append_new(
            failed, json_pack("{s:s, s:s}", "member", peers.peers[i].member, "why", why.message));
    }
    if (rc == 0)
        *result = json_pack("{s:O}", "failed", failed);
    json_decref(failed);
    return rc;
}

static int is_left_out(const json_t *without, const char *member)
{
    char node[KT_NODE_NAME_MAX + 1];
    json_t *one;
    size_t i;

    kt_member_node(member, node);
    json_array_foreach(without, i, one)
    {
        const char *name = json_string_value(one);
        if (name && (strcmp(name, node) == 0 || strcmp(name, member) == 0))
            return 1;
    }
    return 0;
}

// Every listed node but this one and those of `without`; or that member alone, unless NULL.
static json_t *hand_args(const struct kts_agent *agent, const json_t *without, const char *only,
                         int use)
{
    const struct kt_peer *own = kts_agent_own_peer(agent);
    const struct kt_peers *list = kts_agent_peers(agent);
    static struct kt_peers to;

    to.count = 0;
    for (size_t i = 0; i < list->count; i++) {
        const struct kt_peer *peer = &list->peers[i];
        if (peer->removed || (own && strcmp(peer->member, own->member) == 0) ||
            is_left_out(without, peer->member) || (only && strcmp(only, peer->member) != 0))
            continue;
        to.peers[to.count++] = *peer;
    }
    return json_pack("{s:o, s:b}", "peers", kt_peers_to_json(&to), "use", use);
}

int kts_run_ca_hand(struct kts_call *call, const json_t *args, json_t **result,
                    struct kt_error *error)
{
    static const char *const MEMBERS[] = {"without", "use", NULL};
    struct kts_agent *agent = kts_call_agent(call);
    json_t *with;
    int here = 0, rc = kt_json_only(args, MEMBERS, error);

    (void)result;
    if (rc)
        return rc;
    (void)!kts_join_find_active(agent, &here);
    if (!here)
        return kt_error_set(error, KT_ERR_PASSIVE, NULL, "this node is not the active");
    (void)kts_listed_now(agent); // for the job
    with = hand_args(agent, json_object_get(args, "without"), NULL,
                     json_is_true(json_object_get(args, "use")));
    rc = with ? kts_job_start(call, "ca.hand", job_hand, KTS_JOB_ALONE, with, error)
              : kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    json_decref(with);
    return rc;
}

static int has(const json_t *list, const char *text)
{
    json_t *one;
    size_t i;

    json_array_foreach(list, i, one)
    {
        if (json_is_string(one) && strcmp(json_string_value(one), text) == 0)
            return 1;
    }
    return 0;
}

// 1 when a root has ended here that counts there.
static int lacks_end(const struct kts_agent *agent, const json_t *theirs)
{
    json_t *one;
    size_t i;

    json_array_foreach(agent->ca_ended, i, one)
    {
        if (!has(theirs, json_string_value(one)))
            return 1;
    }
    return 0;
}

// As the active all of it. Any node tells of an end: the root that both have first vouches for that,
// and the active may be who has not heard of it.
static json_t *news_for(const struct kts_agent *agent, const char *member, const json_t *ca)
{
    const json_t *roots = json_object_get(ca, "roots");
    const char *first = json_string_value(json_array_get(agent->ca_roots, 0));
    int lacks = lacks_end(agent, json_object_get(ca, "ended")), here = 0;
    int differs = !json_equal(roots, agent->ca_roots);
    json_t *args;

    if (!roots || !(lacks || (differs && agent->ca_phase == KT_CA_BOTH)))
        return NULL;
    (void)!kts_join_find_active(agent, &here);
    if (!here && !(lacks && first && has(roots, first)))
        return NULL;
    args = hand_args(agent, NULL, member, 1);
    if (args && !here)
        json_object_set_new(args, "told", json_true());
    return args;
}

void kts_ca_hear(struct kts_agent *agent, const char *member, const json_t *state,
                 int64_t *tried_us)
{
    struct kt_error why = {0};
    json_t *args;

    if (kt_monotonic_now() < *tried_us + HAND_AGAIN_US)
        return;
    args = news_for(agent, member, json_object_get(state, "ca"));
    if (!args)
        return;
    *tried_us = kt_monotonic_now();
    kts_agent_audit(agent, json_pack("{s:s, s:s}", "event", "ca.hand", "member", member));
    if (kts_job_start_own(agent, "the agent", "ca.hand", job_hand, 0, args, &why))
        kt_log_error(&why, "'%s' has not heard of the cluster's CA", member);
    json_decref(args);
}
