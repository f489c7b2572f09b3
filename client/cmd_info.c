// SPDX-License-Identifier: Apache-2.0
// keytrustee info: what is known of a deposit, with its receipt verified.
#include <stdio.h>

#include "client/cmd.h"

static void print(const struct keytrustee_deposit *deposit,
                  const struct keytrustee_release *release)
{
    printf("handle       %s\n", deposit->handle);
    printf("version      %u%s\n", (unsigned)deposit->version, deposit->deleted ? " (deleted)" : "");
    printf("deposit      %s\n", deposit->id);
    printf("deposited    %s\n", deposit->time);
    printf("client       %s\n", deposit->client);
    if (deposit->key_group[0] != '\0')
        printf("key group    %s\n", deposit->key_group);
    printf("size         %llu bytes, encrypted\n", (unsigned long long)deposit->size);
    printf("sha256       %s\n", deposit->sha256);
    printf("log index    %llu\n", (unsigned long long)deposit->log_index);
    printf("epoch        %llu of incarnation %s\n", (unsigned long long)deposit->epoch,
           deposit->incarnation);
    if (deposit->copies == 1)
        printf("copies       1: acknowledged by a standalone node\n");
    else
        printf("copies       at least %u when it was acknowledged\n", (unsigned)deposit->copies);
    printf("receipt      verified\n");
    if (release != NULL)
        ktc_cmd_print_release(release);
}

static json_t *as_json(const struct keytrustee_deposit *deposit,
                       const struct keytrustee_release *release)
{
    json_t *object = ktc_cmd_deposit_json(deposit);

    if (object != NULL && release != NULL &&
        json_object_set_new(object, "policy", ktc_cmd_release_json(release)) != 0) {
        json_decref(object);
        object = NULL;
    }
    return object;
}

static int run_info(struct kt_cli_run *run)
{
    struct keytrustee *client = NULL;
    struct keytrustee_release *release = NULL;
    struct keytrustee_deposit deposit;
    struct keytrustee_error error;
    uint32_t version = 0;
    int rc = ktc_cmd_version(run, &version);

    if (rc == 0)
        rc = ktc_cmd_open(run, &client);
    if (rc != 0)
        return rc;
    if (keytrustee_info_release(client, run->argv[0], version, &deposit, &release, &error) !=
        KEYTRUSTEE_OK)
        rc = ktc_cmd_fail(run, &error);
    else if (kt_cli_flag(run, "json"))
        rc = ktc_cmd_print_json(run, as_json(&deposit, release));
    else
        print(&deposit, release);
    keytrustee_release_free(release);
    keytrustee_close(client);
    return rc;
}

static const struct kt_cli_option options[] = {
    {"version", 0, "N", "this version instead of the latest"},
    {NULL},
};

const struct kt_cli_command ktc_cmd_info = {
    .verb = "info",
    .arguments = "HANDLE",
    .summary = "show what is known of a deposit and verify its receipt",
    .help = NULL,
    .options = options,
    .min_args = 1,
    .max_args = 1,
    .run = run_info,
};
