// SPDX-License-Identifier: Apache-2.0
// status: what this node is doing, from its agent or its files, and what the others say.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db/cluster.h"
#include "ktadmin/commands.h"
#include "ktadmin/rotate_cluster_key.h"
#include "ktadmin/status.h"
#include "lib/agent_call.h"

#define CELL_MAX 512

// "name: value" lines; members of inner objects are indented below their name.
static void print_lines(const json_t *object, int depth)
{
    const char *name;
    json_t *value;
    char text[CELL_MAX];

    json_object_foreach((json_t *)(uintptr_t)object, name, value)
    {
        if (json_is_object(value)) {
            printf("%*s%s:\n", 2 * depth, "", name);
            print_lines(value, depth + 1);
            continue;
        }
        kta_text_of(object, name, text, sizeof(text));
        for (char *at = text; *at; at++)
            if ((unsigned char)*at < 0x20 || *at == 0x7f)
                *at = '?';
        printf("%*s%-*s %s\n", 2 * depth, "", 24 - 2 * depth, name, text);
    }
}

static const char *state_word(enum db_run_state state)
{
    static const char *const WORDS[] = {"stopped", "starting", "running", "stopping"};

    return WORDS[state];
}

static void add_database(const struct kta_node *node, json_t *status)
{
    struct db_cluster *cluster = NULL;
    enum db_run_state state;
    long pid;

    if (db_cluster_open(&node->paths, node->settings, &cluster, NULL) == 0 &&
        db_cluster_state(cluster, &state, &pid, NULL) == 0)
        json_object_set_new(status, "database", json_string(state_word(state)));
    else
        json_object_set_new(status, "database", json_string("unknown"));
    db_cluster_close(cluster);
}

// What the files say. Gives NULL when memory is short.
static json_t *from_files(const struct kta_node *node)
{
    char id[KT_UUID_TEXT], incarnation[KT_INCARNATION_TEXT];
    struct kt_cluster_info info;
    struct kt_promise promise;
    json_t *status = json_pack("{s:s}", "server", "not running");

    if (status && kt_cluster_info_load(node->paths.cluster, &info, NULL) == 0) {
        kt_uuid_format(&info.cluster_id, id);
        json_object_set_new(status, "cluster_id", json_string(id));
        json_object_set_new(status, "node", json_string(info.node));
        json_object_set_new(status, "openpgp_fingerprint", json_string(info.openpgp_fingerprint));
    }
    if (status && kt_promise_load(node->paths.promise, &promise, NULL) == 0) {
        kt_incarnation_format(&promise.incarnation, incarnation);
        json_object_set_new(status, "member", json_string(promise.member));
        json_object_set_new(status, "promised_incarnation", json_string(incarnation));
        json_object_set_new(status, "promised_epoch", json_integer((json_int_t)promise.epoch));
        json_object_set_new(status, "promised_active", json_string(promise.active));
        if (promise.retired_by[0])
            json_object_set_new(status, "retired_by", json_string(promise.retired_by));
    }
    if (status)
        add_database(node, status);
    return status;
}

// --- the cluster ---

static void print_texts(const char *title, const json_t *list)
{
    json_t *one;
    size_t i;

    json_array_foreach(list, i, one) printf("%s%s\n", title, json_string_value(one));
}

static void print_cluster(struct kta_nodes *nodes, const json_t *status)
{
    const json_t *proofs = json_object_get(status, "proofs");

    printf("\n");
    kta_status_print_nodes(nodes);
    kta_status_print_cluster_key(status);
    if (nodes->count > 1 && json_array_size(proofs) > 0) {
        printf("\nwho could be promoted:\n");
        kta_status_print_proofs(proofs);
    }
    if (json_array_size(json_object_get(status, "overrides")) > 0)
        printf("\n");
    print_texts("override: ", json_object_get(status, "overrides"));
    if (json_array_size(json_object_get(status, "attention")) > 0)
        printf("\n");
    print_texts("attention: ", json_object_get(status, "attention"));
    if (json_array_size(json_object_get(status, "notes")) > 0)
        printf("\n");
    print_texts("note: ", json_object_get(status, "notes"));
}

// Asks all nodes; adds what they say to `status`.
static int add_cluster(struct kta_nodes *nodes, json_t *status, int *exit_code)
{
    static const char *const HEALTH[] = {"degraded", "no writes", "down"};
    int rc = kta_nodes_look(nodes, NULL);

    kta_status_note_cluster_key(nodes, status);
    json_object_set_new(status, "nodes", kta_status_nodes(nodes));
    json_object_set_new(status, "proofs", kta_status_proofs(nodes));
    json_object_set_new(status, "overrides", kta_status_overrides(nodes));
    json_object_set_new(status, "attention",
                        kta_status_attention(nodes, json_object_get(status, "proofs"), exit_code));
    json_object_set_new(status, "notes", kta_status_notes(nodes));
    kta_status_note_ca(nodes, json_object_get(status, "notes"));
    json_object_set_new(status, "health",
                        json_string(*exit_code == KT_EXIT_OK ? "ok"
                                    : *exit_code >= KTA_EXIT_DEGRADED
                                        ? HEALTH[*exit_code - KTA_EXIT_DEGRADED]
                                        : "refused"));
    return rc;
}

// This node's own, by its agent or else by its files. `why` receives
// the error when there is no agent.
static int own_status(struct kta_nodes *nodes, json_t **status, struct kt_error *why,
                      struct kt_error *error)
{
    struct kt_error said = {0};
    int rc =
        kt_agent_call(nodes->own.paths.agent_socket, "status", NULL, KTA_TIMEOUT_MS, status, &said);

    if (rc == KT_ERR_NOT_RUNNING) {
        *why = said;
        *status = from_files(&nodes->own);
        rc = *status ? 0 : KT_ERR_NO_MEMORY;
    }
    return rc ? kt_error_set(error, rc, said.hint, "%s", said.message) : 0;
}

static void print_own(json_t *status)
{
    json_t *backup = json_incref(json_object_get(status, "backup"));

    json_object_del(status, "backup"); // in words
    print_lines(status, 0);
    kta_status_print_backup(backup);
    json_decref(backup);
}

static int show(struct kt_cli_run *run, struct kta_nodes *nodes, struct kt_error *error)
{
    struct kt_error why = {0};
    json_t *status = NULL;
    int exit_code = KT_EXIT_OK, rc = 0;

    if (nodes->bundle[0])
        status = json_object();
    else
        rc = own_status(nodes, &status, &why, error);
    if (rc)
        return kt_cli_fail(run, error);
    if (!kt_cli_flag(run, "json"))
        print_own(status);
    (void)add_cluster(nodes, status, &exit_code);
    if (kt_cli_flag(run, "json"))
        kta_print_json(status);
    else
        print_cluster(nodes, status);
    json_decref(status);
    if (!why.code && exit_code == KT_EXIT_REFUSED)
        kt_error_set(&why, KT_ERR_NOT_MEMBER,
                     nodes->bundle[0]
                         ? "was the operator's certificate revoked, or has it expired? "
                           "ktadmin operator new makes another; until a node has "
                           "heard of a new one some seconds may pass"
                         : "was this node removed, or has its certificate expired? see "
                           "ktadmin status on another node",
                     "nodes refuse this certificate");
    if (why.code == KT_ERR_NOT_RUNNING && nodes->oath.retired_by[0])
        snprintf(why.hint, sizeof(why.hint), "this node has left the cluster: wipe it");
    if (why.code == KT_ERR_NOT_MEMBER)
        return kt_cli_fail(run, &why);
    if (!why.code)
        return exit_code;
    (void)kt_cli_fail(run, &why);
    return KT_EXIT_UNAVAILABLE;
}

// Without a promise file there is no node to speak for: what the files say.
static int show_files(struct kt_cli_run *run, const struct kta_nodes *nodes,
                      const struct kt_error *why)
{
    json_t *status = from_files(&nodes->own);

    if (kt_cli_flag(run, "json"))
        kta_print_json(status);
    else
        print_lines(status, 0);
    json_decref(status);
    return kt_cli_fail(run, why);
}

static int run_status(struct kt_cli_run *run)
{
    struct kta_nodes *nodes = calloc(1, sizeof(*nodes));
    struct kt_error error = {0};
    int code, rc = nodes ? kta_nodes_open(run, nodes, &error)
                         : kt_error_set(&error, KT_ERR_NO_MEMORY, NULL, "out of memory");

    if (rc && nodes && nodes->own.settings && !nodes->bundle[0])
        code = show_files(run, nodes, &error);
    else if (rc || !nodes)
        code = kt_cli_fail(run, &error);
    else
        code = show(run, nodes, &error);
    if (nodes)
        kta_nodes_close(nodes);
    free(nodes);
    return code;
}

static const struct kt_cli_option OPTIONS[] = {KTA_OPERATOR_OPTIONS, {NULL}};

const struct kt_cli_command kta_cmd_status = {
    .verb = "status",
    .arguments = "",
    .summary = "show what this node and the others are doing",
    .help = "This node first, then a line for each node, who could be promoted and with whom, and "
            "what wants\nattention. Exits with 0 when all is well, 8 when something wants "
            "attention, 9 when no writes are\ntaken, 10 when no node serves, 5 when this node's "
            "server does not run, 4 when nodes refuse the\ncertificate.",
    .options = OPTIONS,
    .run = run_status,
};
