// SPDX-License-Identifier: Apache-2.0
// receipts check: whether everything that was acknowledged is in this node's database.
#include <stdlib.h>

#include "ktadmin/commands.h"
#include "ktadmin/receipts.h"

static int run_check(struct kt_cli_run *run)
{
    struct kta_receipt_files files = {0};
    struct db_receipts *database = NULL;
    struct kta_node node = {0};
    struct kt_error error = {0};
    // As whoever calls, and where they are: the files may be a client's. Only then this process
    // becomes the account.
    int missing = 0, rc = kta_receipts_read(run->argv, (size_t)run->argc, &files, &error);

    if (rc == 0)
        rc = kta_open(run, KTA_FILES, &node, &error);
    if (rc == 0)
        rc = db_receipts_open(&node.paths, node.settings, &database, &error);
    if (rc == 0)
        rc = kta_receipts_check(run, &node.paths, database, UINT64_MAX, &files, &missing, &error);
    db_receipts_close(database);
    kta_receipts_free(&files);
    kta_close(&node);
    if (rc)
        return kt_cli_fail(run, &error);
    return missing ? KT_EXIT_INTEGRITY : KT_EXIT_OK;
}

const struct kt_cli_command kta_cmd_receipts_check = {
    .verb = "receipts check",
    .arguments = "FILE...",
    .summary = "check that what receipts prove is in this node's database",
    .help =
        "A FILE is one that 'keytrustee receipts export' has written, or that a client keeps. "
        "Signature, place\nin the log and the body's hash are checked. Each receipt that is not "
        "proven is printed, and the exit\ncode is then 7.",
    .min_args = 1,
    .max_args = 1000000,
    .run = run_check,
};
