// SPDX-License-Identifier: Apache-2.0
// The audit files: hash-chained lines, appended in batches, each batch durable before it counts.
#ifndef KTS_AUDIT_FILE_H
#define KTS_AUDIT_FILE_H

#include <stdint.h>

#include "lib/cluster_info.h"
#include "lib/encode.h"
#include "lib/formats.h"
#include "lib/paths.h"

#define KTS_AUDIT_BATCH_MAX 1024 // records in one batch

struct kts_audit_head {
    uint64_t seq; // 0: no record yet
    uint8_t hash[KT_SHA256_LEN];
};

// A record that is known to have been written: by the node's signed heads, or by the audit process
// before this one.
struct kts_audit_known {
    struct kts_audit_head head; // seq 0: nothing is known
    unsigned file;              // where it stands; 0: only the number is known
};

struct kts_audit_settings {
    const char *dir;
    const char *cluster_id; // UUID text
    const char *node;
    int64_t file_size; // a new file is begun beyond it
    struct kts_audit_known known;
};

struct kts_audit_file;

// Takes up the last file after checking its chain: a torn last line is cut off; after anything else
// that is wrong a new file is begun whose first record names the broken one, which stays as it is.
// The strings of `settings` are copied.
int kts_audit_file_open(const struct kts_audit_settings *settings, struct kts_audit_file **file,
                        struct kt_error *error) KT_MUST_CHECK;
void kts_audit_file_free(struct kts_audit_file *file);
void kts_audit_file_set_size(struct kts_audit_file *file, int64_t file_size);

// Puts a record (a JSON object; "time" and "node" are added) into the batch.
// KT_ERR_PROTOCOL: no object, or over KT_AUDIT_JSON_MAX with what is added. KT_ERR_BUSY: full.
int kts_audit_file_add(struct kts_audit_file *file, const void *json, size_t n) KT_MUST_CHECK;
// Writes the batch; 0 when it is on disk. KT_ERR_AUDIT_UNAVAILABLE: nothing of it is, and the next
// batch may be tried. An empty batch is 0.
int kts_audit_file_commit(struct kts_audit_file *file, struct kt_error *error) KT_MUST_CHECK;
// The lines of the last commit that went well, until the next record is added; *n their bytes.
const char *kts_audit_file_written(const struct kts_audit_file *file, size_t *n);
// Looks whether the next batch could be written: KT_ERR_AUDIT_UNAVAILABLE when somebody touched the
// file or its folder, when the disk is full or read-only, or when it cannot be looked at.
int kts_audit_file_look(struct kts_audit_file *file, struct kt_error *error) KT_MUST_CHECK;
// 1 when somebody removed, replaced, cut, extended or changed the file: nothing is written until a
// restart has begun a new one.
int kts_audit_file_is_lost(const struct kts_audit_file *file);
// Of the last record that is on disk.
uint64_t kts_audit_file_seq(const struct kts_audit_file *file);
const struct kts_audit_head *kts_audit_file_head(const struct kts_audit_file *file);
unsigned kts_audit_file_current(const struct kts_audit_file *file); // the file's number

// --- kts/audit_known.c ---
// The highest record that signed heads of this node name: those beside the audit files and those
// in the node folder. Heads that do not verify are passed over, with a word in the log.
void kts_audit_known_load(const struct kt_paths *paths, const struct kt_cluster_info *info,
                          struct kts_audit_known *known);

// --- kts/audit_check.c ---
// What a look at one file found. `head` is the last record of the good beginning.
struct kts_audit_check {
    struct kts_audit_head head;
    int64_t good; // bytes of whole, verified lines
    int64_t size;
    int torn;                            // only the last line is not whole
    const struct kts_audit_head *wanted; // what was looked for, or NULL
    int differs;                         // it is there with another hash
    char problem[128]; // "" or what is wrong, for the log and the next file's first record
};
// `wanted` (may be NULL) is a record to be looked for.
int kts_audit_check_file(const char *path, const struct kts_audit_head *wanted,
                         struct kts_audit_check *check, struct kt_error *error) KT_MUST_CHECK;
// The highest number of a file in the folder, 0 when there is none.
int kts_audit_last_number(const char *dir, unsigned *number, struct kt_error *error) KT_MUST_CHECK;
void kts_audit_file_name(unsigned number, char out[32]); // "audit-000001.log"
unsigned kts_audit_file_number(const char *name);        // of such a name; 0 for any other

#endif
