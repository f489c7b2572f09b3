// SPDX-License-Identifier: Apache-2.0
// keytrustee: deposits secrets with a key trustee and fetches them back. The list of its commands.
#include <stdio.h>

#include "client/cmd.h"
#include "lib/proc.h"
#include "lib/version.h"

static const struct kt_cli_option globals[] = {
    {"confdir", 'c', "DIR", "keys and receipts of this client (KEYTRUSTEE_CONFDIR)"},
    {"timeout", 't', "TIME", "give up after so long, retries included: 30 (seconds), 2min"},
    {"connect-timeout", 0, "TIME", "pass a server over after so long: 1 (second), 500ms"},
    {"json", 0, NULL, "print JSON instead of text for people"},
    {"quiet", 'q', NULL, "print no results of changes and no warnings"},
    {NULL},
};

static const struct kt_cli_command *const commands[] = {
    &ktc_cmd_register,
    &ktc_cmd_put,
    &ktc_cmd_get,
    &ktc_cmd_info,
    &ktc_cmd_list,
    &ktc_cmd_delete,
    &ktc_cmd_requests,
    &ktc_cmd_approve,
    &ktc_cmd_deny,
    &ktc_cmd_status,
    &ktc_cmd_servers_list,
    &ktc_cmd_servers_add,
    &ktc_cmd_servers_remove,
    &ktc_cmd_receipts_export,
    &ktc_cmd_log_check,
    NULL,
};

static const struct kt_cli_program program = {
    .name = "keytrustee",
    .summary = "Deposits secrets with a key trustee server and fetches them back.",
    .globals = globals,
    .commands = commands,
    .version = KT_VERSION_LINE,
};

int main(int argc, char **argv)
{
    // Secrets pass through this process: no core, nobody looks in, and nothing is made for others.
    if (kt_proc_harden() != 0) {
        fputs("keytrustee: cannot protect its memory\n", stderr);
        return KT_EXIT_FAILURE;
    }
    return kt_cli_main(&program, argc, argv);
}
