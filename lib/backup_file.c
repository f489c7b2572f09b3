// SPDX-License-Identifier: Apache-2.0
// Finished backups: the pair of files, the manifest's signature, and the check without a private key.
#include "lib/backup_file.h"

#include <fcntl.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/file.h"
#include "lib/key_line.h"
#include "lib/openpgp_file.h"

#define PIECE ((size_t)1 << 20)

#define SIGNED_FIRST "-----BEGIN PGP SIGNED MESSAGE-----"
#define SIGNED_LAST  "\n-----BEGIN PGP SIGNATURE-----"

// --- manifests ---

// What stands between the armor's lines, unchecked: for places that have no key.
static int strip_signature(const char *text, const char **inner, size_t *n)
{
    const char *from = strstr(text, "\n\n"), *to = strstr(text, SIGNED_LAST);

    if (!from || !to || to < from + 2)
        return KT_ERR_INVALID;
    *inner = from + 2;
    *n = (size_t)(to + 1 - *inner);
    return 0;
}

static int is_signed(const struct kt_backup_file *file)
{
    return strncmp(file->text, SIGNED_FIRST, strlen(SIGNED_FIRST)) == 0;
}

static int parse_manifest(struct kt_backup_file *file, struct kt_error *error)
{
    const char *body = file->text;
    size_t length = strlen(file->text);
    int rc = is_signed(file) ? strip_signature(file->text, &body, &length) : 0;

    file->signature = is_signed(file) ? KT_SIGNATURE_UNCHECKED : KT_SIGNATURE_NONE;
    if (rc == 0)
        rc = kt_manifest_parse(body, length, &file->manifest, error);
    if (rc == 0 && is_signed(file) != (file->manifest.kind != KT_BACKUP_FILES))
        rc = kt_error_set(error, KT_ERR_SIGNATURE, NULL, "it %s",
                          is_signed(file) ? "is signed, though nobody could" : "is not signed");
    return rc;
}

int kt_backup_trust_older(const struct kt_paths *paths, const struct kt_uuid *cluster_id,
                          struct kt_backup_trust *trust, struct kt_error *error)
{
    struct kt_key_line *line = calloc(1, sizeof(*line));
    int rc = line ? kt_key_line_load(paths, cluster_id, trust->signer, line, error)
                  : kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");

    trust->older_count = rc == 0 ? line->count : 0;
    for (size_t i = 0; i < trust->older_count; i++)
        memcpy(trust->older[i], line->links[i].statement.key, sizeof(trust->older[i]));
    if (line)
        kt_key_line_free(line);
    free(line);
    return rc;
}

int kt_backup_trusts(const struct kt_backup_trust *trust, const char *signer)
{
    for (size_t i = 0; i < trust->older_count; i++) {
        if (strcmp(signer, trust->older[i]) == 0)
            return 1;
    }
    return strcmp(signer, trust->signer) == 0;
}

// What is signed must be what was read: the same text, parsed from what gpg confirms.
static int check_signed(struct kt_backup_file *file, const struct kt_backup_trust *trust,
                        struct kt_error *error)
{
    struct kt_buf inner = KT_BUF_INIT(KT_MANIFEST_FILE_MAX);
    // Of a manifest that was read before; what is signed is compared below.
    int is_older = strcmp(file->manifest.signer, trust->signer) != 0 &&
                   kt_backup_trusts(trust, file->manifest.signer);
    char signer[KT_OPENPGP_FINGERPRINT_TEXT];
    int rc;

    memcpy(signer, is_older ? file->manifest.signer : trust->signer, sizeof(signer));
    rc = kt_gpg_verify_text(trust->gpg, signer, file->text, strlen(file->text), &inner, error);

    if (rc == 0)
        rc = kt_manifest_parse((const char *)kt_buf_ptr(&inner), kt_buf_left(&inner),
                               &file->manifest, error);
    if (rc == 0 && strcmp(signer, file->manifest.signer) != 0)
        rc =
            kt_error_set(error, KT_ERR_SIGNATURE, NULL,
                         "it is of another key, %s, than it is signed with", file->manifest.signer);
    if (rc == 0) {
        file->signature = KT_SIGNATURE_GOOD;
        file->by_older_key = is_older;
    }
    kt_buf_free(&inner);
    return rc;
}

static int about_manifest(const struct kt_backup_file *file, int rc, const struct kt_error *why,
                          struct kt_error *error)
{
    return kt_error_set(error, rc, why->hint[0] ? why->hint : NULL, "manifest '%s': %.300s",
                        file->manifest_path, why->message[0] ? why->message : kt_err_text(rc));
}

int kt_backup_check_signature(struct kt_backup_file *file, const struct kt_backup_trust *trust,
                              struct kt_error *error)
{
    struct kt_error why = {0};
    int rc = is_signed(file) && trust->gpg ? check_signed(file, trust, &why) : 0;

    return rc ? about_manifest(file, rc, &why, error) : 0;
}

int kt_backup_read_manifest(const char *path, const struct kt_backup_trust *trust,
                            struct kt_backup_file *file, struct kt_error *error)
{
    struct kt_error why = {0};
    int rc;

    snprintf(file->manifest_path, sizeof(file->manifest_path), "%s", path);
    rc = kt_file_read_text(path, KT_MANIFEST_FILE_MAX, &file->text, &why);
    if (rc == 0)
        rc = kt_sha256(file->text, strlen(file->text), file->manifest_sha256);
    if (rc == 0)
        rc = parse_manifest(file, &why);
    if (rc == 0 && is_signed(file) && trust && trust->gpg)
        rc = check_signed(file, trust, &why);
    if (rc) {
        kt_backup_file_free(file);
        return about_manifest(file, rc, &why, error);
    }
    return 0;
}

void kt_backup_file_free(struct kt_backup_file *file)
{
    if (!file)
        return;
    free(file->text);
    file->text = NULL;
}

// The path without the suffix by which it names one of the two files.
static int cut_suffix(const char *path, char out[KT_PATH_MAX])
{
    static const char *const SUFFIXES[] = {KT_BACKUP_ENCRYPTED, KT_BACKUP_MANIFEST,
                                           KT_BACKUP_CLEARTEXT};
    size_t n = strlen(path);

    for (size_t i = 0; i < sizeof(SUFFIXES) / sizeof(SUFFIXES[0]); i++) {
        size_t length = strlen(SUFFIXES[i]);
        if (n > length && n < KT_PATH_MAX && strcmp(path + n - length, SUFFIXES[i]) == 0) {
            memcpy(out, path, n - length);
            out[n - length] = '\0';
            return 0;
        }
    }
    return KT_ERR_INVALID;
}

int kt_backup_find(const char *path, const struct kt_backup_trust *trust,
                   struct kt_backup_file *file, struct kt_error *error)
{
    char stem[KT_PATH_MAX], name[KT_PATH_MAX + 16];
    const char *slash;
    size_t folder;
    int rc = 0;

    memset(file, 0, sizeof(*file));
    if (cut_suffix(path, stem) != 0)
        return kt_error_set(error, KT_ERR_USAGE,
                            "give the file that ktbackup made, which ends in " KT_BACKUP_ENCRYPTED
                            " or " KT_BACKUP_CLEARTEXT,
                            "'%.300s' is not the name of a backup", path);
    if (snprintf(name, sizeof(name), "%s%s", stem, KT_BACKUP_MANIFEST) >= KT_PATH_MAX)
        return kt_error_set(error, KT_ERR_TOO_LARGE, NULL, "the path is too long");
    if (!kt_file_exists(name))
        return kt_error_set(error, KT_ERR_NOT_FOUND,
                            "the two files belong together; take both from where the backup was "
                            "copied to",
                            "no manifest '%s'", name);
    rc = kt_backup_read_manifest(name, trust, file, error);
    if (rc)
        return rc;
    slash = strrchr(stem, '/');
    folder = slash ? (size_t)(slash + 1 - stem) : 0;
    if (strlen(stem + folder) >= sizeof(file->stem) ||
        snprintf(file->artefact, sizeof(file->artefact), "%.*s%s", (int)folder, stem,
                 file->manifest.artefact) >= KT_PATH_MAX) {
        kt_backup_file_free(file);
        return kt_error_set(error, KT_ERR_TOO_LARGE, NULL, "the path is too long");
    }
    memcpy(file->stem, stem + folder, strlen(stem + folder) + 1);
    if (cut_suffix(file->manifest.artefact, stem) != 0 || strcmp(stem, file->stem) != 0)
        rc = kt_error_set(error, KT_ERR_INVALID, "files must keep their names",
                          "manifest '%s' is of '%s'", file->manifest_path, file->manifest.artefact);
    else if (!kt_file_exists(file->artefact))
        rc = kt_error_set(error, KT_ERR_NOT_FOUND, NULL, "no file '%s'", file->artefact);
    if (rc)
        kt_backup_file_free(file);
    return rc;
}

// --- artefacts ---

static int differs(struct kt_error *error, const char *what)
{
    return kt_error_set(error, KT_ERR_SIGNATURE, "use another copy of the backup",
                        "the file is not the one that the manifest is of: %s", what);
}

static int hash_file(int fd, uint64_t bytes, uint8_t sha256[KT_SHA256_LEN],
                     kt_backup_progress progress, void *arg, struct kt_error *error)
{
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    uint8_t *piece = malloc(PIECE);
    uint64_t at = 0;
    int rc = 0;

    if (!hash || !piece || EVP_DigestInit_ex(hash, EVP_sha256(), NULL) != 1)
        rc = kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    while (rc == 0 && at < bytes) {
        ssize_t n = pread(fd, piece, PIECE, (off_t)at);
        if (n < 0)
            rc = kt_error_errno(error, "cannot read the backup");
        else if (n == 0)
            rc = differs(error, "it is shorter");
        else if (EVP_DigestUpdate(hash, piece, (size_t)n) != 1)
            rc = kt_error_set(error, KT_ERR_CRYPTO, NULL, "cannot hash the backup");
        else
            at += (uint64_t)n;
        if (rc == 0 && progress)
            progress(arg, at, bytes);
    }
    if (rc == 0 && EVP_DigestFinal_ex(hash, sha256, NULL) != 1)
        rc = kt_error_set(error, KT_ERR_CRYPTO, NULL, "cannot hash the backup");
    EVP_MD_CTX_free(hash);
    free(piece);
    return rc;
}

static int owner_of(const struct kt_manifest *manifest, uint64_t key_id)
{
    for (size_t i = 0; i < manifest->recipient_count; i++)
        for (size_t k = 0; k < manifest->recipients[i].key_id_count; k++)
            if (manifest->recipients[i].key_ids[k] == key_id)
                return 1;
    return 0;
}

static int check_packets(int fd, const struct kt_manifest *manifest, struct kt_error *error)
{
    struct kt_openpgp_message message;
    struct kt_error why = {0};
    size_t wanted = 0;

    if (kt_openpgp_check_file(fd, &message, &why) != 0)
        return kt_error_set(error, KT_ERR_SIGNATURE, NULL, "not a backup: %.300s", why.message);
    for (size_t i = 0; i < manifest->recipient_count; i++)
        wanted += manifest->recipients[i].key_id_count;
    if (message.passphrases != 0 || message.recipients != wanted)
        return differs(error, "it has other recipients");
    for (size_t i = 0; i < message.recipients; i++)
        if (!owner_of(manifest, message.key_ids[i]))
            return differs(error, "it has other recipients");
    return 0;
}

int kt_backup_check(int fd, const struct kt_manifest *manifest, kt_backup_progress progress,
                    void *arg, struct kt_error *error)
{
    uint8_t sha256[KT_SHA256_LEN];
    struct stat st;
    int rc = 0;

    if (fstat(fd, &st) != 0)
        return kt_error_errno(error, "cannot look at the backup");
    if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != manifest->bytes)
        return differs(error, "its length");
    if (!manifest->is_cleartext)
        rc = check_packets(fd, manifest, error);
    if (rc == 0)
        rc = hash_file(fd, manifest->bytes, sha256, progress, arg, error);
    if (rc == 0 && memcmp(sha256, manifest->sha256, sizeof(sha256)) != 0)
        rc = differs(error, "its SHA-256");
    return rc;
}

int kt_backup_match_recipients(const struct kt_openpgp_message *message,
                               const struct kt_gpg_recipient *recipients, size_t count,
                               struct kt_manifest *manifest, struct kt_error *error)
{
    if (count > KT_MANIFEST_RECIPIENTS_MAX || message->passphrases != 0)
        return kt_error_set(error, KT_ERR_SIGNATURE, NULL,
                            "gpg encrypted to a passphrase or to too many");
    manifest->recipient_count = count;
    for (size_t i = 0; i < count; i++) {
        memcpy(manifest->recipients[i].fingerprint, recipients[i].fingerprint,
               sizeof(manifest->recipients[i].fingerprint));
        manifest->recipients[i].key_id_count = 0;
    }
    for (size_t m = 0; m < message->recipients; m++) {
        int found = 0;
        for (size_t i = 0; i < count && !found; i++)
            for (size_t k = 0; k < recipients[i].key_id_count && !found; k++)
                if (recipients[i].key_ids[k] == message->key_ids[m] &&
                    manifest->recipients[i].key_id_count < KT_MANIFEST_KEY_IDS_MAX) {
                    size_t at = manifest->recipients[i].key_id_count++;
                    manifest->recipients[i].key_ids[at] = message->key_ids[m];
                    found = 1;
                }
        if (!found)
            return kt_error_set(error, KT_ERR_SIGNATURE,
                                "look for hidden-encrypt-to, encrypt-to, group and recipient in "
                                "the account's gpg.conf",
                                "gpg encrypted to key %016" PRIX64 ", which nobody asked for",
                                message->key_ids[m]);
    }
    for (size_t i = 0; i < count; i++)
        if (manifest->recipients[i].key_id_count == 0)
            return kt_error_set(error, KT_ERR_SIGNATURE, NULL, "gpg did not encrypt to key %s",
                                recipients[i].fingerprint);
    return 0;
}
