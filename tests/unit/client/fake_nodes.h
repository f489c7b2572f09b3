// SPDX-License-Identifier: Apache-2.0
// Nodes of the fake cluster that differ: which are dead, passive, behind, or of another epoch.
// Include behind cmocka.h, in place of fake_cluster.h.
#ifndef KTC_TEST_FAKE_NODES_H
#define KTC_TEST_FAKE_NODES_H

#include <poll.h>

#include "tests/unit/client/fake_cluster.h"

#define FAKE_NODES 4

struct fake_node {
    const char *name; // "one"
    int dead; // 1: connections time out; 2: they are refused; 3: it takes requests and says nothing
    int passive;
    int behind;              // has no deposits yet, unless it is asked behind a barrier
    int refuses;             // an error code for all it is asked, 0 = none
    const char *epoch;       // instead of the cluster's, or NULL
    const char *incarnation; // likewise
    const char *active;      // KT-Active
};
static struct fake_node fake_nodes[FAKE_NODES];
static int fake_lost; // so many answers to changes are lost behind the deed

static struct fake_node *fake_node(const char *name)
{
    for (size_t i = 0; i < FAKE_NODES; i++)
        if (fake_nodes[i].name != NULL && strcmp(fake_nodes[i].name, name) == 0)
            return &fake_nodes[i];
    fail_msg("no node %s", name);
    return NULL;
}

static int fake_changes(const struct kt_http_request *request)
{
    return strcmp(request->method, "GET") != 0;
}

static int fake_reach(const char *server, const struct kt_http_request *request, int *sent)
{
    const struct fake_node *node = fake_node(server);

    *sent = 0;
    if (node->dead == 1)
        return poll(NULL, 0, request->connect_timeout_ms), KT_ERR_TIMEOUT;
    if (node->dead == 2)
        return KT_ERR_NETWORK;
    if (node->dead == 3)
        return poll(NULL, 0, request->timeout_ms), KT_ERR_TIMEOUT;
    if (fake_lost > 0 && !node->passive && fake_changes(request)) {
        fake_lost--;
        *sent = 1;
        return KT_ERR_NETWORK;
    }
    return 0;
}

static int fake_declines(const char *server, const struct kt_http_request *request)
{
    const struct fake_node *node = fake_node(server);

    return (node->passive || node->refuses != 0) && fake_changes(request);
}

static void fake_speak(const char *server, const struct kt_http_request *request,
                       struct kt_http_answer *answer)
{
    const struct fake_node *node = fake_node(server);
    const char *fresh = fake_request_header(request, "KT-Freshness");

    if (node->epoch != NULL)
        fake_header(answer, "KT-Epoch", node->epoch);
    if (node->incarnation != NULL)
        fake_header(answer, "KT-Incarnation", node->incarnation);
    if (node->active != NULL)
        fake_header(answer, "KT-Active", node->active);
    if (node->refuses != 0 || (node->passive && (fake_changes(request) || fresh != NULL))) {
        fake_error(answer, node->refuses ? node->refuses : KT_ERR_PASSIVE);
        fake_header(answer, "KT-Freshness", "local");
    } else if (node->behind && fresh == NULL && strstr(request->path, "/v1/deposits/") != NULL) {
        fake_error(answer, strchr(request->path, '?') != NULL ? KT_ERR_VERSION_NOT_FOUND
                                                              : KT_ERR_DEPOSIT_NOT_FOUND);
    }
}

// Registered at "one", "two" and "three"; "one" is the active and is known to be.
static __attribute__((unused)) int fake_three(void **state)
{
    static const char *const servers[] = {"one", "two", "three", NULL};
    struct keytrustee_registration wanted = {
        .size = sizeof wanted, .servers = servers, .name = "host-1"};
    struct keytrustee_error error;

    fake_setup(state);
    wanted.auth_code = fake.auth_code;
    must_work(keytrustee_register(client, &wanted, &error), &error);
    memset(fake_nodes, 0, sizeof fake_nodes);
    for (size_t i = 0; i < 3; i++)
        fake_nodes[i].name = servers[i];
    fake_nodes[3].name = "four:4444";
    fake_nodes[1].passive = fake_nodes[2].passive = 1;
    fake_lost = 0;
    fake.network = fake_reach;
    fake.declines = fake_declines;
    fake.meddle = fake_speak;
    fake.requests = 0;
    fake.asked[0] = '\0';
    client->connect_timeout_ms = 100;
    ktc_servers_active(client, 0);
    return 0;
}

// "one two " since the last time.
static __attribute__((unused)) const char *fake_asked(void)
{
    static char asked[sizeof fake.asked];

    strcpy(asked, fake.asked);
    fake.asked[0] = '\0';
    return asked;
}

// As another process would: nothing is known but what is on disk.
static __attribute__((unused)) void fake_reopen(void)
{
    keytrustee_close(client);
    fake_open(2000);
    client->connect_timeout_ms = 100;
}

#endif
