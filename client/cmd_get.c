// SPDX-License-Identifier: Apache-2.0
// keytrustee get: fetches a secret; exact bytes, or nothing.
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/cmd.h"
#include "lib/file.h"

static int write_secret(const struct kt_cli_run *run, const struct keytrustee_secret *secret)
{
    const char *path = kt_cli_value(run, "output");
    const void *bytes = keytrustee_secret_bytes(secret);
    size_t n = keytrustee_secret_length(secret);
    struct kt_error error = {0};

    if (path != NULL && strcmp(path, "-") != 0) {
        if (kt_file_replace(path, bytes, n, 0600, &error) != 0)
            return kt_cli_fail(run, &error);
        return KT_EXIT_OK;
    }
    // Not through stdio, whose buffer would keep a copy.
    if (kt_write_all(STDOUT_FILENO, bytes, n) != 0)
        return ktc_cmd_say(run, KT_ERR_SYSTEM, NULL, "cannot write to standard output");
    return KT_EXIT_OK;
}

static int run_get(struct kt_cli_run *run)
{
    struct keytrustee *client = NULL;
    struct keytrustee_secret *secret = NULL;
    struct keytrustee_error error;
    uint32_t version = 0;
    int rc = ktc_cmd_version(run, &version);

    if (rc == 0)
        rc = ktc_cmd_open(run, &client);
    if (rc != 0)
        return rc;
    if (keytrustee_get(client, run->argv[0], version, &secret, NULL, &error) != KEYTRUSTEE_OK)
        rc = ktc_cmd_fail(run, &error);
    else
        rc = write_secret(run, secret);
    keytrustee_free(secret);
    keytrustee_close(client);
    return rc;
}

static const struct kt_cli_option options[] = {
    {"version", 0, "N", "this version instead of the latest"},
    {"output", 'o', "FILE", "write to FILE (mode 0600) instead of standard output"},
    {NULL},
};

const struct kt_cli_command ktc_cmd_get = {
    .verb = "get",
    .arguments = "HANDLE",
    .summary = "fetch a secret and print its exact bytes",
    .help = "Hash, receipt and signature are checked first: on any failure nothing is written and\n"
            "the exit code is not 0.",
    .options = options,
    .min_args = 1,
    .max_args = 1,
    .run = run_get,
};
