// SPDX-License-Identifier: Apache-2.0
// The commands, one file each (cmd_*.c; a file may hold the verbs of one noun).
#ifndef KTA_COMMANDS_H
#define KTA_COMMANDS_H

#include "ktadmin/common.h"

extern const struct kt_cli_command kta_cmd_init, kta_cmd_status, kta_cmd_db, kta_cmd_org_add,
    kta_cmd_org_list, kta_cmd_org_disable, kta_cmd_org_set, kta_cmd_clock_show,
    kta_cmd_clock_confirm, kta_cmd_authcode_new, kta_cmd_authcode_list, kta_cmd_authcode_revoke,
    kta_cmd_client_list, kta_cmd_client_approve, kta_cmd_client_revoke, kta_cmd_grant,
    kta_cmd_revoke, kta_cmd_grants, kta_cmd_config_show, kta_cmd_config_check, kta_cmd_audit_verify,
    kta_cmd_audit_show, kta_cmd_audit_head, kta_cmd_audit_export, kta_cmd_failover,
    kta_cmd_switchover, kta_cmd_rejoin, kta_cmd_remove, kta_cmd_quorum, kta_cmd_leave,
    kta_cmd_token_new, kta_cmd_token_list, kta_cmd_token_revoke, kta_cmd_operator_new, kta_cmd_join,
    kta_cmd_restore, kta_cmd_receipts_check, kta_cmd_init_master, kta_cmd_init_slave,
    kta_cmd_enable_synchronous, kta_cmd_disable_synchronous, kta_cmd_rotate, kta_cmd_drill_restore,
    kta_cmd_group_add, kta_cmd_group_list, kta_cmd_recovery_add, kta_cmd_recovery_list,
    kta_cmd_recovery_retire, kta_cmd_operator_revoke;

#endif
