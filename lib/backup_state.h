// SPDX-License-Identifier: Apache-2.0
// What became of the last backups, checks and drills: node/backup.json of a node, backup.json in a
// client's confdir. ktbackup and ktadmin drill write it, the agent reads it for status and metrics.
#ifndef KT_BACKUP_STATE_H
#define KT_BACKUP_STATE_H

#include "lib/digest.h"
#include "lib/err.h"
#include "lib/paths.h"

struct kt_backup_state {
    // the last backup that was made; time 0: none yet
    int64_t made_us;
    char path[KT_PATH_MAX]; // of the artefact, where it was made
    uint64_t bytes, deposits, sequence, log_index;
    uint8_t manifest_sha256[KT_SHA256_LEN];
    int is_proven;
    // the last run that failed; 0: never, or one has succeeded since
    int64_t failed_us;
    char failure[256];
    // the last check of a finished artefact; 0: never
    int64_t verified_us;
    char verified[256];    // its file name
    char verified_how[16]; // "keyless", "members", "restored"
    // the last drill; 0: never
    int64_t drilled_us;
    char drilled[256];
    int drill_passed;
    uint64_t drill_log_index; // up to which the restored backup held every deposit
    int64_t proven_us;        // the last drill or trial restore that passed: "last proven restore"
};

// <base>/node/backup.json.
int kt_backup_state_path(const struct kt_paths *paths, char out[KT_PATH_MAX]) KT_MUST_CHECK;
// A missing file: zeros. KT_ERR_INVALID.
int kt_backup_state_load(const char *path, struct kt_backup_state *state,
                         struct kt_error *error) KT_MUST_CHECK;
int kt_backup_state_save(const char *path, const struct kt_backup_state *state,
                         struct kt_error *error) KT_MUST_CHECK;

#endif
