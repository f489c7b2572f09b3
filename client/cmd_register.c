// SPDX-License-Identifier: Apache-2.0
// keytrustee register: enrols this host with an auth code.
#include <stdio.h>
#include <stdlib.h>

#include "client/cmd.h"
#include "lib/secret.h"

#define AUTH_CODE_FILE_MAX 256

// From a file, from standard input, or asked for: never from the command line, which others see.
static int read_auth_code(const struct kt_cli_run *run, struct kt_secret **code)
{
    const char *path = kt_cli_value(run, "auth-code-file");
    struct kt_error error = {0};
    int rc = path ? kt_secret_from_file(path, AUTH_CODE_FILE_MAX, 1, code, &error)
                  : kt_secret_prompt("Auth code: ", code, &error);

    if (rc == 0)
        return 0;
    if (error.code == 0)
        kt_error_set(&error, rc, NULL, "cannot read the auth code: %s", kt_err_text(rc));
    if (path == NULL && rc == KT_ERR_USAGE)
        kt_error_set(&error, rc, "give --auth-code-file FILE, or - for standard input",
                     "no terminal to ask for the auth code on");
    return kt_cli_fail(run, &error);
}

static int report(const struct kt_cli_run *run, struct keytrustee *client)
{
    struct keytrustee_status *status = NULL;
    struct keytrustee_error error;

    if (kt_cli_flag(run, "quiet"))
        return KT_EXIT_OK;
    if (keytrustee_status(client, &status, &error) != KEYTRUSTEE_OK) {
        // The registration is done; that it cannot be asked about just now does not undo it.
        fprintf(stderr, "%s: warning: registered, but: %s\n", run->program->name, error.message);
        return KT_EXIT_OK;
    }
    if (kt_cli_flag(run, "json")) {
        int rc = ktc_cmd_print_json(run, json_pack("{s:s, s:s, s:s, s:s, s:s}", "client",
                                                   status->client, "name", status->name,
                                                   "organisation", status->organisation, "state",
                                                   status->state, "openpgp", status->fingerprint));
        keytrustee_status_free(status);
        return rc;
    }
    printf("registered \"%s\" as client %s of organisation \"%s\"\n", status->name, status->client,
           status->organisation);
    printf("keys are in %s: back it up, deposits can be opened with nothing else\n",
           status->confdir);
    if (status->state[0] == 'p')
        printf("waits for approval by an operator: ktadmin client approve %s\n", status->client);
    keytrustee_status_free(status);
    return KT_EXIT_OK;
}

static int run_register(struct kt_cli_run *run)
{
    int count = kt_cli_count(run, "server"), keys = kt_cli_count(run, "recovery");
    const char **servers = calloc((size_t)count + 1, sizeof *servers);
    const char **recovery = calloc((size_t)keys + 1, sizeof *recovery);
    struct keytrustee_registration registration = {.size = sizeof registration};
    struct keytrustee *client = NULL;
    struct keytrustee_error error;
    struct kt_secret *code = NULL;
    int rc = 0;

    if (servers == NULL || recovery == NULL) {
        rc = ktc_cmd_say(run, KT_ERR_NO_MEMORY, NULL, "out of memory");
        goto out;
    }
    for (int i = 0; i < count; i++)
        servers[i] = kt_cli_nth(run, "server", i);
    for (int i = 0; i < keys; i++)
        recovery[i] = kt_cli_nth(run, "recovery", i);
    if (count == 0) {
        rc = ktc_cmd_say(run, KT_ERR_USAGE, "name at least one: --server HOST", "no server");
        goto out;
    }
    rc = ktc_cmd_open(run, &client);
    if (rc == 0)
        rc = read_auth_code(run, &code);
    if (rc != 0)
        goto out;
    registration.servers = servers;
    registration.auth_code = kt_secret_text(code);
    registration.name = kt_cli_value(run, "name");
    registration.recovery = recovery;
    if (keytrustee_register(client, &registration, &error) != KEYTRUSTEE_OK)
        rc = ktc_cmd_fail(run, &error);
    else
        rc = report(run, client);
out:
    kt_secret_free(code);
    keytrustee_close(client);
    free(servers);
    free(recovery);
    return rc;
}

static const struct kt_cli_option options[] = {
    {"server", 's', "HOST[:PORT]", "a server of the cluster; once for each (port 11371)"},
    {"auth-code-file", 'a', "FILE|-",
     "where the auth code is; asked for on the terminal if absent"},
    {"recovery", 0, "FINGERPRINT", "accept this recovery key of the organisation; once for each"},
    {"name", 'n', "NAME", "what operators see this client as (the host's name)"},
    {NULL},
};

const struct kt_cli_command ktc_cmd_register = {
    .verb = "register",
    .arguments = "",
    .summary = "make this client's keys and have them certified",
    .help = "The auth code comes from the operator (ktadmin authcode new). An interrupted\n"
            "registration is repeated with the same command and goes on with the same keys.",
    .options = options,
    .min_args = 0,
    .max_args = 0,
    .run = run_register,
};
