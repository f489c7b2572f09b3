// SPDX-License-Identifier: Apache-2.0
// The folder that backups go to: its lock, what killed runs left in it, and names that appear only
// when what they name is complete and durable.
#ifndef KTB_OUTPUT_H
#define KTB_OUTPUT_H

#include "lib/backup_file.h"

struct ktb_output {
    char path[KT_PATH_MAX]; // absolute, no links
    int fd;                 // the folder, locked
};

// Opens and locks the folder. KT_ERR_NOT_FOUND, KT_ERR_PERMISSION; KT_ERR_BUSY: another run is at
// work in it.
int ktb_output_open(const char *path, struct ktb_output *output,
                    struct kt_error *error) KT_MUST_CHECK;
void ktb_output_close(struct ktb_output *output);

// What killed runs of this host left: a backup that lacked only its manifest's last name gets it,
// everything else that was in the making is removed.
int ktb_output_settle(const struct ktb_output *output, const char *host,
                      const struct kt_backup_trust *trust, struct kt_error *error) KT_MUST_CHECK;

// A stem that nothing in the folder has: of now, or of the next seconds.
int ktb_output_stem(const struct ktb_output *output, const char *host, int64_t time_us,
                    char stem[KT_BACKUP_STEM], struct kt_error *error) KT_MUST_CHECK;

// <stem><suffix>.part, new, 0600, for this process only.
int ktb_part_open(const struct ktb_output *output, const char *stem, const char *suffix, int *fd,
                  struct kt_error *error) KT_MUST_CHECK;
// Removes it; nothing when it is not there.
void ktb_part_drop(const struct ktb_output *output, const char *stem, const char *suffix);
// Writes the manifest's part, durable; then gives both their names, artefact first, and makes the
// folder durable. After an error neither has its name; their parts are for ktb_part_drop.
int ktb_output_publish(const struct ktb_output *output, const char *stem, const char *suffix,
                       const struct kt_buf *manifest, struct kt_error *error) KT_MUST_CHECK;

#endif
