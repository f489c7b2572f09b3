// SPDX-License-Identifier: Apache-2.0
// keytrustee servers: which servers this client knows; adds and removes them.
#include <stdio.h>

#include "client/cmd.h"

static int print_server(void *arg, const struct keytrustee_server *server)
{
    struct ktc_cmd_listing *listing = arg;

    if (listing->array != NULL)
        return ktc_cmd_listing_json(listing,
                                    json_pack("{s:s, s:b, s:b, s:b}", "server", server->name,
                                              "active", server->is_active, "learned",
                                              server->learned, "set_aside", server->set_aside));
    printf("%s%s%s%s\n", server->name, server->is_active ? " (active, when last seen)" : "",
           server->learned ? " (named by a node)" : "",
           server->set_aside ? " (does not answer)" : "");
    return 0;
}

static int ask(const struct kt_cli_run *run, struct keytrustee *client,
               struct ktc_cmd_listing *listing, struct keytrustee_error *error)
{
    (void)run;
    return keytrustee_servers(client, print_server, listing, error);
}

static int run_list(struct kt_cli_run *run)
{
    return ktc_cmd_listing_print(run, NULL, ask);
}

static int edit(struct kt_cli_run *run,
                int (*change)(struct keytrustee *, const char *const *, struct keytrustee_error *))
{
    struct keytrustee *client = NULL;
    struct keytrustee_error error;
    int rc = ktc_cmd_open(run, &client);

    for (int i = 0; rc == 0 && i < run->argc; i++) {
        const char *const one[] = {run->argv[i], NULL};
        if (change(client, one, &error) != KEYTRUSTEE_OK)
            rc = ktc_cmd_fail(run, &error);
    }
    keytrustee_close(client);
    return rc;
}

static int run_add(struct kt_cli_run *run)
{
    return edit(run, keytrustee_servers_add);
}

static int run_remove(struct kt_cli_run *run)
{
    return edit(run, keytrustee_servers_remove);
}

const struct kt_cli_command ktc_cmd_servers_list = {
    .verb = "servers list",
    .arguments = "",
    .summary = "show the servers this client knows",
    .help = "None is asked; keytrustee status does that.",
    .run = run_list,
};

const struct kt_cli_command ktc_cmd_servers_add = {
    .verb = "servers add",
    .arguments = "HOST[:PORT] ...",
    .summary = "add servers of the cluster",
    .min_args = 1,
    .max_args = 16,
    .run = run_add,
};

const struct kt_cli_command ktc_cmd_servers_remove = {
    .verb = "servers remove",
    .arguments = "HOST[:PORT] ...",
    .summary = "forget servers",
    .min_args = 1,
    .max_args = 16,
    .run = run_remove,
};
