// SPDX-License-Identifier: Apache-2.0
// keytrustee list: the handles this client may see.
#include <stdio.h>

#include "client/cmd.h"

static json_t *as_json(const struct keytrustee_deposit *deposit)
{
    json_t *object = ktc_cmd_deposit_json(deposit);

    // A listing carries no receipts: say nothing rather than "not verified".
    if (object != NULL)
        json_object_del(object, "receipt_verified");
    return object;
}

static int add(void *arg, const struct keytrustee_deposit *deposit)
{
    struct ktc_cmd_listing *listing = arg;
    char version[16], size[24];
    const char *const cells[] = {deposit->handle,
                                 version,
                                 size,
                                 deposit->time,
                                 deposit->id,
                                 deposit->key_group,
                                 deposit->deleted  ? "deleted"
                                 : deposit->policy ? "policy"
                                                   : "",
                                 NULL};

    if (listing->array != NULL)
        return ktc_cmd_listing_json(listing, as_json(deposit));
    snprintf(version, sizeof version, "%u", (unsigned)deposit->version);
    snprintf(size, sizeof size, "%llu", (unsigned long long)deposit->size);
    return ktc_cmd_listing_row(listing, cells);
}

static int ask(const struct kt_cli_run *run, struct keytrustee *client,
               struct ktc_cmd_listing *listing, struct keytrustee_error *error)
{
    return keytrustee_list(client, run->argc > 0 ? run->argv[0] : "", add, listing, error);
}

static int run_list(struct kt_cli_run *run)
{
    static const char *const headers[] = {"handle",  "version",   "size",  "deposited",
                                          "deposit", "key group", "state", NULL};

    return ktc_cmd_listing_print(run, headers, ask);
}

const struct kt_cli_command ktc_cmd_list = {
    .verb = "list",
    .arguments = "[PREFIX]",
    .summary = "list handles and their latest versions",
    .help = NULL,
    .options = NULL,
    .min_args = 0,
    .max_args = 1,
    .run = run_list,
};
