// SPDX-License-Identifier: Apache-2.0
// The list of all kinds of change that the writer can make.
#include "db/write.h"

static const struct db_change_ops *const all_changes[] = {
    &db_change_deposit,
    &db_change_delete,
    &db_change_register,
    &db_change_renew,
    &db_change_org_add,
    &db_change_org_disable,
    &db_change_authcode_new,
    &db_change_authcode_revoke,
    &db_change_client_approve,
    &db_change_client_revoke,
    &db_change_grant,
    &db_change_grant_revoke,
    &db_change_operator_add,
    &db_change_operator_revoke,
    &db_change_retrieve,
    &db_change_vote,
    &db_change_lock,
    &db_change_undelete,
    &db_change_purge,
    &db_change_org_set,
    &db_change_clock_confirm,
    &db_change_tick,
    &db_change_key_group_add,
    &db_change_recovery_add,
    &db_change_recovery_retire,
    &db_change_receipt_key_add,
    &db_change_receipt_key_certify,
    &db_change_receipt_key_retire,
    &db_change_cluster_key_add,
};

const struct db_change_ops *db_change_ops(enum kt_change_kind kind)
{
    for (size_t i = 0; i < sizeof(all_changes) / sizeof(all_changes[0]); i++) {
        if (all_changes[i]->kind == kind)
            return all_changes[i];
    }
    return NULL;
}

int db_change_is_groupable(enum kt_change_kind kind)
{
    const struct db_change_ops *ops = db_change_ops(kind);

    return ops == NULL || ops->groupable;
}

const struct db_change_ops *const *db_changes_all(size_t *count)
{
    *count = sizeof(all_changes) / sizeof(all_changes[0]);
    return all_changes;
}
