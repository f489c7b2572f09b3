// SPDX-License-Identifier: Apache-2.0
// The manifest that lies beside each backup: text, signed by the cluster's OpenPGP key (a client's
// backup: by the client's). docs/backup-format.md has the format.
#ifndef KT_MANIFEST_H
#define KT_MANIFEST_H

#include "lib/buf.h"
#include "lib/digest.h"
#include "lib/formats.h"
#include "lib/openpgp.h"

#define KT_MANIFEST_RECIPIENTS_MAX 16
#define KT_MANIFEST_KEY_IDS_MAX    16
#define KT_MANIFEST_TABLES_MAX     64
#define KT_MANIFEST_FILE_MAX       65536 // bytes of a manifest, signature included

enum kt_backup_kind {
    KT_BACKUP_SERVER, // confdir and database of a node
    KT_BACKUP_CLIENT, // confdir of a client of ours
    KT_BACKUP_FILES,  // folders of somebody else (an old KMS): nobody signs
};

struct kt_manifest {
    enum kt_backup_kind kind;
    char artefact[256]; // name of the file beside it
    uint64_t bytes;     // of the artefact
    uint8_t sha256[KT_SHA256_LEN];
    int is_cleartext;
    char signer[KT_OPENPGP_FINGERPRINT_TEXT]; // "" for KT_BACKUP_FILES
    // Whose: the cluster, and the node's name; a client's: its cluster and its UUID as text; files:
    // the host's name. Sequences are counted by (cluster, owner).
    struct kt_uuid cluster_id; // zeros for KT_BACKUP_FILES
    char owner[64];
    uint64_t sequence;               // 1, 2, 3 ...
    uint8_t previous[KT_SHA256_LEN]; // SHA-256 of the manifest of the one before; zeros: the first
    int64_t time_us;                 // of the snapshot
    char program[32];                // "0.1.0"
    struct {
        char fingerprint[KT_OPENPGP_FINGERPRINT_TEXT];
        size_t key_id_count; // session keys in the artefact that are its
        uint64_t key_ids[KT_MANIFEST_KEY_IDS_MAX];
    } recipients[KT_MANIFEST_RECIPIENTS_MAX];
    size_t recipient_count; // 0: clear text

    // --- KT_BACKUP_SERVER only ---
    char member[KT_MEMBER_TEXT];
    struct kt_incarnation incarnation;
    uint64_t epoch;
    int is_passive;
    uint64_t lsn;
    uint32_t timeline;
    int is_proven;                   // a barrier behind the snapshot: the position is on a quorum
    uint64_t log_index;              // of the newest deposit; 0: none
    uint8_t log_head[KT_SHA256_LEN]; // SHA-256 of its receipt's signature; zeros: none
    uint32_t schema;
    char postgresql[32]; // "15.20"
    struct {
        char name[64];
        uint64_t rows;
    } tables[KT_MANIFEST_TABLES_MAX];
    size_t table_count;
};

// The text that is signed, appended to `out`. KT_ERR_INVALID: a value that the format cannot hold.
int kt_manifest_format(const struct kt_manifest *manifest, struct kt_buf *out) KT_MUST_CHECK;
// Reads exactly what kt_manifest_format writes.
int kt_manifest_parse(const char *text, size_t n, struct kt_manifest *manifest,
                      struct kt_error *error) KT_MUST_CHECK;
// The rows of a table; 0 when it is not there.
uint64_t kt_manifest_rows(const struct kt_manifest *manifest, const char *table);

// "kts_bak_<host, dots as underscores>_<date>_<time>", local time, as the old script named them.
#define KT_BACKUP_STEM 160
void kt_backup_stem(const char *host, int64_t time_us, char out[KT_BACKUP_STEM]);
// 1 when `name` is such a stem with `suffix` behind it (".tar.gpg", ".tar", ".manifest"); `stem`
// (may be NULL) receives the part before it.
int kt_backup_name_is(const char *name, const char *suffix, char stem[KT_BACKUP_STEM]);

#endif
