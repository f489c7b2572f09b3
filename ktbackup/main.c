// SPDX-License-Identifier: Apache-2.0
// ktbackup: backups of a node or a client, from cron. The list of its commands.
#include <signal.h>
#include <stdio.h>

#include "ktbackup/commands.h"
#include "lib/json.h"
#include "lib/proc.h"
#include "lib/version.h"

static const struct kt_cli_option GLOBALS[] = {
    {"confdir", 'c', "DIR", "the confdir of the node or client (looked for in the usual places)"},
    {"quiet", 'q', NULL, "print the result only"},
    {"json", 0, NULL, "print JSON instead of text for people"},
    {NULL},
};

static const struct kt_cli_command *const COMMANDS[] = {
    &ktb_cmd_backup, &ktb_cmd_verify, &ktb_cmd_list, &ktb_cmd_cat, NULL,
};

static const struct kt_cli_program PROGRAM = {
    .name = "ktbackup",
    .summary = "Saves keys, settings and database of a key trustee, encrypted to those who may "
               "restore them.",
    .synopsis = "--gpg-recipient=KEY [--output=DIR] [--roll=N]",
    .globals = GLOBALS,
    .commands = COMMANDS,
    .version = KT_VERSION_LINE,
};

int main(int argc, char **argv)
{
    // Keys pass through this process: no core, nobody looks in, and nothing is made for others.
    if (kt_proc_harden() != 0) {
        fputs("ktbackup: cannot protect its memory\n", stderr);
        return KT_EXIT_FAILURE;
    }
    kt_json_wipe_freed();
    signal(SIGPIPE, SIG_IGN); // a pipe whose reader is gone is an error like any other
    return kt_cli_main(&PROGRAM, argc, argv);
}
