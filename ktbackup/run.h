// SPDX-License-Identifier: Apache-2.0
// One run of ktbackup that makes a backup: what its parts hand on to each other.
#ifndef KTB_RUN_H
#define KTB_RUN_H

#include "ktbackup/position.h"
#include "ktbackup/roll.h"
#include "ktbackup/seal.h"
#include "lib/backup_state.h"

struct ktb_run {
    const struct kt_cli_run *run;
    struct ktb_place place;
    struct ktb_trust trust;
    struct ktb_output output;
    struct ktb_plan plan;
    struct db_backup *database;
    struct kt_gpg *keyring; // the account's own, with the recipients' keys
    struct kt_gpg_recipient recipients[KT_MANIFEST_RECIPIENTS_MAX];
    size_t recipient_count;
    uint64_t port, warn_days;
    struct ktb_retention retention;
    struct ktb_position position;
    int is_proven;
    struct kt_error unproven; // why not
    struct kt_manifest manifest;
    struct kt_backup_state state;
    char stem[KT_BACKUP_STEM], path[KT_PATH_MAX];
    size_t removed;
    struct kt_error kept; // why old ones stay, though they were to go
};

// Says it on standard error with --verbose.
void ktb_say(const struct ktb_run *backup, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

// --- run_make.c ---
// From the open output folder on: settles what killed runs left, proves the position, takes the
// snapshot, writes the artefact, signs the manifest and gives both their names.
int ktb_run_make(struct ktb_run *backup, struct kt_error *error) KT_MUST_CHECK;

// --- run_end.c ---
// Lets old backups go, if that was asked for. backup->kept says why they stay though they were to go.
int ktb_run_roll(struct ktb_run *backup) KT_MUST_CHECK;
// The state file and --metrics. A failure to write them is a warning.
void ktb_run_note_made(struct ktb_run *backup);
void ktb_run_note_failed(struct ktb_run *backup, const struct kt_error *error);
void ktb_run_print(const struct ktb_run *backup);

#endif
