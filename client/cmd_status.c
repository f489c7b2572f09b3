// SPDX-License-Identifier: Apache-2.0
// keytrustee status: this client, its rights, its servers, and how safe a deposit is now.
#include <stdio.h>
#include <string.h>

#include "client/cmd.h"

// In a plain sentence: what an acknowledgement of this node is worth.
static void print_node(const struct keytrustee_status *status)
{
    printf("node         %s, %s\n", status->node, status->node_role);
    if (strcmp(status->node_role, "standalone") == 0)
        printf("             a standalone node keeps one copy: what it acknowledges is lost with "
               "its disk\n");
    else
        printf("             each change is on at least %u of %u other nodes before it is "
               "acknowledged\n",
               (unsigned)status->node_w, (unsigned)status->node_members);
}

static void print_server(const struct keytrustee_server *server)
{
    printf("server       %s: ", server->name);
    if (!server->reachable)
        printf("%s\n", server->problem);
    else
        printf("%s, node %s, epoch %llu%s%s%s\n", server->role, server->node,
               (unsigned long long)server->epoch, server->is_active ? ", takes changes" : "",
               server->problem[0] ? ": " : "", server->problem);
}

static void print(const struct keytrustee_status *status)
{
    printf("client       %s (%s)\n", status->name, status->client);
    printf("organisation %s\n", status->organisation);
    printf("state        %s%s\n", status->state,
           strcmp(status->state, "pending") == 0 ? ": waits for approval by an operator" : "");
    printf("confdir      %s\n", status->confdir);
    printf("OpenPGP key  %s\n", status->fingerprint);
    printf("certificate  until %s, %d days left%s\n", status->certificate_not_after,
           status->certificate_days_left,
           status->certificate_expires_soon
               ? ": it could not be renewed yet; any command that reaches the active does, or ask "
                 "the operator"
               : "");
    printf("cluster      %s, epoch %llu of incarnation %s\n", status->cluster,
           (unsigned long long)status->epoch, status->incarnation);
    print_node(status);
    for (size_t i = 0; i < status->server_count; i++)
        print_server(&status->servers[i]);
    for (size_t i = 0; i < status->grant_count; i++)
        printf("may          %s: %s%s%s%s\n", status->grants[i].right, status->grants[i].object,
               status->grants[i].prefix[0] || status->grants[i].key_group[0] ? " " : "",
               status->grants[i].prefix, status->grants[i].key_group);
    if (status->pending_puts > 0)
        printf("interrupted  %u deposits: run keytrustee put --resume\n",
               (unsigned)status->pending_puts);
}

static json_t *grants_json(const struct keytrustee_status *status)
{
    json_t *array = json_array();

    for (size_t i = 0; i < status->grant_count; i++) {
        const struct keytrustee_grant *grant = &status->grants[i];
        json_t *object = json_pack("{s:s, s:s}", "right", grant->right, "object", grant->object);
        if (grant->prefix[0] != '\0')
            json_object_set_new(object, "prefix", json_string(grant->prefix));
        if (grant->key_group[0] != '\0')
            json_object_set_new(object, "key_group", json_string(grant->key_group));
        json_array_append_new(array, object);
    }
    return array;
}

static json_t *servers_json(const struct keytrustee_status *status)
{
    json_t *array = json_array();

    for (size_t i = 0; i < status->server_count; i++) {
        const struct keytrustee_server *server = &status->servers[i];
        json_t *object =
            json_pack("{s:s, s:b, s:b, s:b}", "server", server->name, "answers", server->reachable,
                      "active", server->is_active, "learned", server->learned);
        if (server->reachable) {
            json_object_set_new(object, "node", json_string(server->node));
            json_object_set_new(object, "role", json_string(server->role));
            json_object_set_new(object, "epoch", json_integer((json_int_t)server->epoch));
        }
        if (server->problem[0] != '\0')
            json_object_set_new(object, "problem", json_string(server->problem));
        json_array_append_new(array, object);
    }
    return array;
}

static json_t *make_json(const struct keytrustee_status *status)
{
    json_t *node =
        json_pack("{s:s, s:s, s:I, s:I}", "name", status->node, "role", status->node_role,
                  "members", (json_int_t)status->node_members, "w", (json_int_t)status->node_w);
    json_t *certificate =
        json_pack("{s:s, s:i, s:b}", "not_after", status->certificate_not_after, "days_left",
                  status->certificate_days_left, "expires_soon", status->certificate_expires_soon);

    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:o, s:o, s:o, s:o, s:I}",
                     "client", status->client, "name", status->name, "organisation",
                     status->organisation, "state", status->state, "created", status->created,
                     "confdir", status->confdir, "openpgp", status->fingerprint, "cluster",
                     status->cluster, "incarnation", status->incarnation, "epoch",
                     (json_int_t)status->epoch, "certificate", certificate, "node", node, "servers",
                     servers_json(status), "grants", grants_json(status), "pending_puts",
                     (json_int_t)status->pending_puts);
}

static int run_status(struct kt_cli_run *run)
{
    struct keytrustee *client = NULL;
    struct keytrustee_status *status = NULL;
    struct keytrustee_error error;
    int rc = ktc_cmd_open(run, &client);

    if (rc != 0)
        return rc;
    if (keytrustee_status(client, &status, &error) != KEYTRUSTEE_OK)
        rc = ktc_cmd_fail(run, &error);
    else if (kt_cli_flag(run, "json"))
        rc = ktc_cmd_print_json(run, make_json(status));
    else
        print(status);
    keytrustee_status_free(status);
    keytrustee_close(client);
    return rc;
}

const struct kt_cli_command ktc_cmd_status = {
    .verb = "status",
    .arguments = "",
    .summary = "show this client, its rights and its servers",
    .help = NULL,
    .options = NULL,
    .min_args = 0,
    .max_args = 0,
    .run = run_status,
};
