// SPDX-License-Identifier: Apache-2.0
// A finished backup as two files, artefact and manifest: found, and checked without a private key.
#ifndef KT_BACKUP_FILE_H
#define KT_BACKUP_FILE_H

#include "lib/cluster_key.h"
#include "lib/gpg_stream.h"
#include "lib/manifest.h"
#include "lib/paths.h"

#define KT_BACKUP_ENCRYPTED ".tar.gpg"
#define KT_BACKUP_CLEARTEXT ".tar"
#define KT_BACKUP_MANIFEST  ".manifest"
#define KT_BACKUP_PART      ".part" // behind either, until it is complete

// Where a manifest's signature is checked: a keyring with the signer's public key.
struct kt_backup_trust {
    struct kt_gpg *gpg;                       // NULL: signatures cannot be checked here
    char signer[KT_OPENPGP_FINGERPRINT_TEXT]; // who must have signed
    // Or an older key of the cluster: one whose line of statements ends with `signer`.
    size_t older_count;
    char older[KT_CLUSTER_KEYS_MAX][KT_OPENPGP_FINGERPRINT_TEXT];
};

// Takes the older keys from the statements of a node's confdir; `signer` is the key in use. On errors,
// which are those of kt_key_line_load, none is trusted.
int kt_backup_trust_older(const struct kt_paths *paths, const struct kt_uuid *cluster_id,
                          struct kt_backup_trust *trust, struct kt_error *error) KT_MUST_CHECK;

// 1 when a manifest signed by this key would be taken: by the key itself, or an older one.
int kt_backup_trusts(const struct kt_backup_trust *trust, const char *signer);

enum kt_backup_signature {
    KT_SIGNATURE_GOOD,
    KT_SIGNATURE_UNCHECKED, // no key to check it with
    KT_SIGNATURE_NONE,      // of folders that are not ours: nobody signs
};

struct kt_backup_file {
    char artefact[KT_PATH_MAX], manifest_path[KT_PATH_MAX];
    char stem[KT_BACKUP_STEM];
    struct kt_manifest manifest;
    uint8_t manifest_sha256[KT_SHA256_LEN];
    enum kt_backup_signature signature;
    int by_older_key; // of the cluster: see kt_backup_trust
    char *text;       // of the manifest, signature and all; freed by kt_backup_file_free
};
// The content only. NULL is fine.
void kt_backup_file_free(struct kt_backup_file *file);

// Finds the pair that `path` (either of the two) belongs to and reads the manifest.
// KT_ERR_NOT_FOUND: no such pair; KT_ERR_INVALID: not a manifest of ours, or of another artefact;
// KT_ERR_SIGNATURE. Does not look into the artefact. `trust` NULL: the signature is left for
// kt_backup_check_signature. `file` holds nothing to be freed after an error.
int kt_backup_find(const char *path, const struct kt_backup_trust *trust,
                   struct kt_backup_file *file, struct kt_error *error) KT_MUST_CHECK;
// The same of a manifest alone, whatever it is called: for an artefact that comes as a stream.
int kt_backup_read_manifest(const char *path, const struct kt_backup_trust *trust,
                            struct kt_backup_file *file, struct kt_error *error) KT_MUST_CHECK;

// Checks the signature of a manifest that was read before: by a process that has less rights now, or
// with a key that was found inside of the backup. KT_ERR_SIGNATURE.
int kt_backup_check_signature(struct kt_backup_file *file, const struct kt_backup_trust *trust,
                              struct kt_error *error) KT_MUST_CHECK;

typedef void (*kt_backup_progress)(void *arg, uint64_t done, uint64_t total);
// The keyless check of an artefact: length, SHA-256, OpenPGP packets to the end, and session keys
// for exactly the recipients that the manifest names. KT_ERR_SIGNATURE with what differs.
// `progress` may be NULL.
int kt_backup_check(int fd, const struct kt_manifest *manifest, kt_backup_progress progress,
                    void *arg, struct kt_error *error) KT_MUST_CHECK;

// Whether the message's session keys belong to these recipients: each has one, and there is no
// other. Fills manifest->recipients[].key_ids from the message. KT_ERR_SIGNATURE.
int kt_backup_match_recipients(const struct kt_openpgp_message *message,
                               const struct kt_gpg_recipient *recipients, size_t count,
                               struct kt_manifest *manifest, struct kt_error *error) KT_MUST_CHECK;

#endif
