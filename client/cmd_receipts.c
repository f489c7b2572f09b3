// SPDX-License-Identifier: Apache-2.0
// keytrustee receipts: gives out what proves this host's deposits.
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/cmd.h"
#include "lib/buf.h"
#include "lib/file.h"

#define ALL_MAX ((size_t)1 << 30)

static int collect(void *arg, const char *text, size_t len)
{
    return kt_buf_put(arg, text, len);
}

static int write_out(const struct kt_cli_run *run, const struct kt_buf *all)
{
    const char *path = kt_cli_value(run, "output");
    struct kt_error error = {0};

    if (path == NULL || strcmp(path, "-") == 0) {
        if (kt_write_all(STDOUT_FILENO, kt_buf_ptr(all), kt_buf_left(all)) != 0)
            return ktc_cmd_say(run, KT_ERR_SYSTEM, NULL, "cannot write to standard output");
        return KT_EXIT_OK;
    }
    if (kt_file_replace(path, kt_buf_ptr(all), kt_buf_left(all), 0600, &error) != 0)
        return kt_cli_fail(run, &error);
    return KT_EXIT_OK;
}

// What can be read is given out also when something cannot: the exit code tells.
static int run_export(struct kt_cli_run *run)
{
    struct kt_buf all = KT_BUF_INIT(ALL_MAX);
    struct keytrustee *client = NULL;
    struct keytrustee_error error;
    int rc = ktc_cmd_open(run, &client);

    if (rc == 0) {
        int result = keytrustee_receipts(client, collect, &all, &error);
        if (result == KEYTRUSTEE_OK || kt_buf_left(&all) > 0)
            rc = write_out(run, &all);
        if (result != KEYTRUSTEE_OK)
            rc = ktc_cmd_fail(run, &error);
    }
    kt_buf_free(&all);
    keytrustee_close(client);
    return rc;
}

static const struct kt_cli_option options[] = {
    {"output", 'o', "FILE|-", "write to FILE instead of standard output"},
    {NULL},
};

const struct kt_cli_command ktc_cmd_receipts_export = {
    .verb = "receipts export",
    .arguments = "",
    .summary = "print all receipts of this host, one behind the other",
    .help = "An operator's ktadmin receipts check FILE tells whether all of them are in a cluster.",
    .options = options,
    .run = run_export,
};
