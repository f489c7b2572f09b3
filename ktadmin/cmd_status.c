// SPDX-License-Identifier: Apache-2.0
// status: what the node is doing, from its agent; what its files tell when there is no server.
#include <stdio.h>
#include <string.h>

#include "db/cluster.h"
#include "ktadmin/commands.h"
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

static int show_files(struct kt_cli_run *run, const struct kt_error *why)
{
    struct kt_error error = {0};
    struct kta_node node;
    json_t *status = NULL;
    int rc = kta_open(run, KTA_FILES, &node, &error);

    if (rc == 0)
        status = from_files(&node);
    kta_close(&node);
    if (rc)
        return kt_cli_fail(run, &error);
    if (kt_cli_flag(run, "json"))
        kta_print_json(status);
    else
        print_lines(status, 0);
    json_decref(status);
    (void)kt_cli_fail(run, why);
    return KT_EXIT_UNAVAILABLE;
}

static int run_status(struct kt_cli_run *run)
{
    struct kt_error error = {0};
    struct kta_node node;
    json_t *status = NULL;
    int rc = kta_open(run, KTA_AGENT, &node, &error);

    if (rc == 0)
        rc =
            kt_agent_call(node.paths.agent_socket, "status", NULL, KTA_TIMEOUT_MS, &status, &error);
    kta_close(&node);
    if (rc == KT_ERR_NOT_RUNNING)
        return show_files(run, &error);
    if (rc)
        return kt_cli_fail(run, &error);
    if (kt_cli_flag(run, "json"))
        kta_print_json(status);
    else
        print_lines(status, 0);
    json_decref(status);
    return KT_EXIT_OK;
}

const struct kt_cli_command kta_cmd_status = {
    .verb = "status",
    .arguments = "",
    .summary = "show what the node is doing",
    .help = "Asks the server. When that does not run, shows what the files say and exits with 5.",
    .run = run_status,
};
