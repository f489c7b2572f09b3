// SPDX-License-Identifier: Apache-2.0
// ktadmin: the operator's tool. The list of its commands; to add one, a file and a line here.
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "ktadmin/commands.h"
#include "ktadmin/orgtool.h"
#include "lib/json.h"
#include "lib/proc.h"
#include "lib/version.h"

static const struct kt_cli_option GLOBALS[] = {
    {"confdir", 'c', "DIR", "the node's confdir (" KT_DEFAULT_CONFDIR ")"},
    {"json", 0, NULL, "print JSON instead of text for people"},
    {"yes", 0, NULL, "do not ask for confirmation"},
    {"quiet", 'q', NULL, "print results only"},
    {NULL},
};

static const struct kt_cli_command *const COMMANDS[] = {
    &kta_cmd_init,
    &kta_cmd_status,
    &kta_cmd_db,
    &kta_cmd_join,
    &kta_cmd_restore,
    &kta_cmd_drill_restore,
    &kta_cmd_failover,
    &kta_cmd_switchover,
    &kta_cmd_rejoin,
    &kta_cmd_remove,
    &kta_cmd_quorum,
    &kta_cmd_leave,
    &kta_cmd_rotate,
    &kta_cmd_token_new,
    &kta_cmd_token_list,
    &kta_cmd_token_revoke,
    &kta_cmd_operator_new,
    &kta_cmd_operator_revoke,
    &kta_cmd_receipts_check,
    &kta_cmd_org_add,
    &kta_cmd_org_list,
    &kta_cmd_org_disable,
    &kta_cmd_org_set,
    &kta_cmd_authcode_new,
    &kta_cmd_authcode_list,
    &kta_cmd_authcode_revoke,
    &kta_cmd_client_list,
    &kta_cmd_client_approve,
    &kta_cmd_client_revoke,
    &kta_cmd_grant,
    &kta_cmd_revoke,
    &kta_cmd_grants,
    &kta_cmd_clock_show,
    &kta_cmd_clock_confirm,
    &kta_cmd_group_add,
    &kta_cmd_group_list,
    &kta_cmd_recovery_add,
    &kta_cmd_recovery_list,
    &kta_cmd_recovery_retire,
    &kta_cmd_config_show,
    &kta_cmd_config_check,
    &kta_cmd_audit_verify,
    &kta_cmd_audit_show,
    &kta_cmd_audit_head,
    &kta_cmd_audit_export,
    &kta_cmd_init_master,
    &kta_cmd_init_slave,
    &kta_cmd_enable_synchronous,
    &kta_cmd_disable_synchronous,
    NULL,
};

static const struct kt_cli_program PROGRAM = {
    .name = "ktadmin",
    .summary = "Sets up and looks after a node of the key trustee.",
    .globals = GLOBALS,
    .commands = COMMANDS,
    .version = KT_VERSION_LINE,
};

// Under the old name of a tool it takes that tool's words.
static const struct kt_cli_program *program_of(const char *path)
{
    const char *slash = path ? strrchr(path, '/') : NULL, *name = slash ? slash + 1 : path;

    return name && strcmp(name, KTA_ORGTOOL_NAME) == 0 ? &kta_orgtool : &PROGRAM;
}

int main(int argc, char **argv)
{
    // Keys pass through this process: no core, nobody looks in, and nothing is made for others.
    if (kt_proc_harden() != 0) {
        fputs("ktadmin: cannot protect its memory\n", stderr);
        return KT_EXIT_FAILURE;
    }
    kt_json_wipe_freed();
    return kt_cli_main(program_of(argv[0]), argc, argv);
}
