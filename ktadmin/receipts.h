// SPDX-License-Identifier: Apache-2.0
// Checking receipts against a node's database, for `receipts check`, `restore` and `drill`.
#ifndef KTA_RECEIPTS_H
#define KTA_RECEIPTS_H

#include "db/receipts.h"
#include "ktadmin/common.h"

// Files with receipts, read as whoever called, before anything is given up.
struct kta_receipt_files {
    const char **names;
    char **texts;
    size_t count;
};
int kta_receipts_read(const char *const *names, size_t count, struct kta_receipt_files *files,
                      struct kt_error *error) KT_MUST_CHECK;
// The values of a repeatable option.
int kta_receipts_read_options(const struct kt_cli_run *run, const char *option,
                              struct kta_receipt_files *files,
                              struct kt_error *error) KT_MUST_CHECK;
void kta_receipts_free(struct kta_receipt_files *files);

// Prints each receipt that the database does not prove, and their number. `upto` is the log index
// that the database is known to end with: newer receipts are counted, not looked for (UINT64_MAX:
// all are). *missing receives 1 when there is one.
int kta_receipts_check(const struct kt_cli_run *run, const struct kt_paths *paths,
                       struct db_receipts *database, uint64_t upto,
                       const struct kta_receipt_files *files, int *missing,
                       struct kt_error *error) KT_MUST_CHECK;

#endif
