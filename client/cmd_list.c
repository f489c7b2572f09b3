// SPDX-License-Identifier: Apache-2.0
// keytrustee list: the handles this client may see.
#include <stdio.h>

#include "client/cmd.h"

struct listing {
    struct kt_table *table; // one of the two
    json_t *array;
    int failed;
};

static int add_json(struct listing *listing, const struct keytrustee_deposit *deposit)
{
    json_t *object = ktc_cmd_deposit_json(deposit);

    // A listing carries no receipts: say nothing rather than "not verified".
    if (object != NULL)
        json_object_del(object, "receipt_verified");
    return object == NULL || json_array_append_new(listing->array, object) != 0;
}

static int add(void *arg, const struct keytrustee_deposit *deposit)
{
    struct listing *listing = arg;
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

    if (listing->array != NULL) {
        listing->failed = add_json(listing, deposit);
    } else {
        snprintf(version, sizeof version, "%u", (unsigned)deposit->version);
        snprintf(size, sizeof size, "%llu", (unsigned long long)deposit->size);
        listing->failed = kt_table_row(listing->table, cells) != 0;
    }
    return listing->failed;
}

static int run_list(struct kt_cli_run *run)
{
    static const char *const headers[] = {"handle",  "version",   "size",  "deposited",
                                          "deposit", "key group", "state", NULL};
    struct listing listing = {NULL, NULL, 0};
    struct keytrustee *client = NULL;
    struct keytrustee_error error;
    int json = kt_cli_flag(run, "json");
    int rc = ktc_cmd_open(run, &client);

    if (rc != 0)
        return rc;
    if (json)
        listing.array = json_array();
    else
        listing.table = kt_table_new(headers);
    listing.failed = listing.array == NULL && listing.table == NULL;
    if (!listing.failed && keytrustee_list(client, run->argc > 0 ? run->argv[0] : "", add, &listing,
                                           &error) != KEYTRUSTEE_OK) {
        rc = ktc_cmd_fail(run, &error);
    } else if (listing.failed) {
        rc = ktc_cmd_say(run, KT_ERR_NO_MEMORY, NULL, "out of memory");
    } else if (json) {
        rc = ktc_cmd_print_json(run, listing.array);
        listing.array = NULL;
    } else {
        kt_table_print(listing.table, stdout);
    }
    json_decref(listing.array);
    kt_table_free(listing.table);
    keytrustee_close(client);
    return rc;
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
