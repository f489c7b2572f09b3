// SPDX-License-Identifier: Apache-2.0
// keytrustee delete: deletes a version of a handle, or all of them.
#include <stdio.h>

#include "client/cmd.h"
#include "lib/encode.h"

static int confirm(const struct kt_cli_run *run, uint32_t version)
{
    char question[512];

    if (version != 0)
        snprintf(question, sizeof question, "Delete version %u of \"%s\"?", (unsigned)version,
                 run->argv[0]);
    else
        snprintf(question, sizeof question, "Delete all versions of \"%s\"?", run->argv[0]);
    return kt_cli_confirm(run, question);
}

static int run_delete(struct kt_cli_run *run)
{
    struct keytrustee *client = NULL;
    struct keytrustee_error error;
    uint32_t version = 0;
    uint64_t count = 0;
    int rc = ktc_cmd_version(run, &version);

    if (rc == 0 && kt_handle_check(run->argv[0]) != 0) // before it is printed in a question
        rc = ktc_cmd_say(run, KT_ERR_HANDLE_INVALID, NULL, "not a valid handle");
    if (rc == 0)
        rc = ktc_cmd_open(run, &client);
    if (rc == 0 && !confirm(run, version)) // which has said why, when nobody could be asked
        rc = KT_EXIT_FAILURE;
    if (rc != 0)
        goto out;
    if (keytrustee_delete(client, run->argv[0], version, &count, &error) != KEYTRUSTEE_OK)
        rc = ktc_cmd_fail(run, &error);
    else if (kt_cli_flag(run, "json"))
        rc = ktc_cmd_print_json(
            run, json_pack("{s:s, s:I}", "handle", run->argv[0], "deleted", (json_int_t)count));
    else if (!kt_cli_flag(run, "quiet"))
        printf("%s deleted %llu version%s\n", run->argv[0], (unsigned long long)count,
               count == 1 ? "" : "s");
out:
    keytrustee_close(client);
    return rc;
}

static const struct kt_cli_option options[] = {
    {"version", 0, "N", "only this version; without it all present ones"},
    {"yes", 'y', NULL, "do not ask"},
    {NULL},
};

const struct kt_cli_command ktc_cmd_delete = {
    .verb = "delete",
    .arguments = "HANDLE",
    .summary = "delete a version of a handle, or all of them",
    .help = "A deletion is not a purge: keytrustee undelete takes it back until then.",
    .options = options,
    .min_args = 1,
    .max_args = 1,
    .run = run_delete,
};
