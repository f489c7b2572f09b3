// SPDX-License-Identifier: Apache-2.0
// Writes a backup's manifest, and names backups.
#include "lib/manifest_inner.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "lib/epoch.h"

#define UPPER_HEX "0123456789ABCDEF"
#define DIGITS    "0123456789"
#define LETTERS   "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define STEM      "kts_bak_"
#define STEM_TIME "_0000-00-00_00-00-00" // behind the host

const char *const kt_manifest_kinds[] = {"server", "client", "files", NULL};

// --- what the format can hold ---

// A word of printable ASCII that fits `size`, NUL included.
static int is_word(const char *text, size_t size)
{
    size_t n = strnlen(text, size);

    if (n == 0 || n == size)
        return 0;
    for (size_t i = 0; i < n; i++)
        if (text[i] <= ' ' || text[i] > '~')
            return 0;
    return 1;
}

static int is_fingerprint(const char text[KT_OPENPGP_FINGERPRINT_TEXT])
{
    size_t n = strnlen(text, KT_OPENPGP_FINGERPRINT_TEXT);

    return n == KT_OPENPGP_FINGERPRINT_TEXT - 1 && strspn(text, UPPER_HEX) == n;
}

static int is_zero(const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (bytes[i] != 0)
            return 0;
    return 1;
}

static int check_recipients(const struct kt_manifest *manifest)
{
    if (manifest->recipient_count > KT_MANIFEST_RECIPIENTS_MAX ||
        (manifest->recipient_count == 0) != (manifest->is_cleartext != 0))
        return KT_ERR_INVALID;
    for (size_t i = 0; i < manifest->recipient_count; i++) {
        size_t count = manifest->recipients[i].key_id_count;
        if (!is_fingerprint(manifest->recipients[i].fingerprint) || count == 0 ||
            count > KT_MANIFEST_KEY_IDS_MAX)
            return KT_ERR_INVALID;
        for (size_t k = 0; k < count; k++)
            if (manifest->recipients[i].key_ids[k] == 0)
                return KT_ERR_INVALID;
        for (size_t k = 0; k < i; k++)
            if (strcmp(manifest->recipients[i].fingerprint, manifest->recipients[k].fingerprint) ==
                0)
                return KT_ERR_INVALID;
    }
    return 0;
}

static int check_tables(const struct kt_manifest *manifest)
{
    if (manifest->table_count > KT_MANIFEST_TABLES_MAX)
        return KT_ERR_INVALID;
    for (size_t i = 0; i < manifest->table_count; i++) {
        const char *name = manifest->tables[i].name;
        size_t n = strnlen(name, sizeof(manifest->tables[i].name));
        if (n == 0 || n == sizeof(manifest->tables[i].name) ||
            strspn(name, "abcdefghijklmnopqrstuvwxyz_" DIGITS) != n)
            return KT_ERR_INVALID;
        for (size_t k = 0; k < i; k++)
            if (strcmp(name, manifest->tables[k].name) == 0)
                return KT_ERR_INVALID;
    }
    return 0;
}

static int check(const struct kt_manifest *manifest)
{
    int is_files = manifest->kind == KT_BACKUP_FILES;

    if ((unsigned)manifest->kind > KT_BACKUP_FILES || manifest->sequence == 0 ||
        !is_word(manifest->owner, sizeof(manifest->owner)) ||
        !is_word(manifest->program, sizeof(manifest->program)) ||
        !is_word(manifest->artefact, sizeof(manifest->artefact)) ||
        !kt_backup_name_is(manifest->artefact, manifest->is_cleartext ? ".tar" : ".tar.gpg", NULL))
        return KT_ERR_INVALID;
    if (is_files ? manifest->signer[0] != '\0' : !is_fingerprint(manifest->signer))
        return KT_ERR_INVALID;
    if (is_files != kt_uuid_is_nil(&manifest->cluster_id))
        return KT_ERR_INVALID;
    if (check_recipients(manifest) != 0)
        return KT_ERR_INVALID;
    if (manifest->kind != KT_BACKUP_SERVER)
        return 0;
    if (kt_member_check(manifest->member) != 0 ||
        !is_word(manifest->postgresql, sizeof(manifest->postgresql)) ||
        (manifest->log_index == 0 && !is_zero(manifest->log_head, KT_SHA256_LEN)))
        return KT_ERR_INVALID;
    return check_tables(manifest);
}

// --- the text ---

static int put_common(const struct kt_manifest *manifest, struct kt_buf *out)
{
    char sha256[KT_SHA256_TEXT], previous[KT_SHA256_TEXT], cluster[KT_UUID_TEXT],
        when[KT_TIME_TEXT];

    kt_hex_encode(manifest->sha256, KT_SHA256_LEN, sha256);
    kt_hex_encode(manifest->previous, KT_SHA256_LEN, previous);
    kt_uuid_format(&manifest->cluster_id, cluster);
    kt_time_format(manifest->time_us, when);
    return kt_buf_putf(out,
                       "keytrustee-backup 1\n"
                       "kind %s\n"
                       "artefact %s\n"
                       "bytes %" PRIu64 "\n"
                       "sha256 %s\n"
                       "encrypted %s\n"
                       "signer %s\n"
                       "cluster %s\n"
                       "owner %s\n"
                       "sequence %" PRIu64 "\n"
                       "previous %s\n"
                       "time %s\n"
                       "program %s\n",
                       kt_manifest_kinds[manifest->kind], manifest->artefact, manifest->bytes,
                       sha256, manifest->is_cleartext ? "no" : "yes",
                       manifest->signer[0] ? manifest->signer : "none", cluster, manifest->owner,
                       manifest->sequence, previous, when, manifest->program);
}

static int put_recipients(const struct kt_manifest *manifest, struct kt_buf *out)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < manifest->recipient_count; i++) {
        rc = kt_buf_putf(out, "recipient %s ", manifest->recipients[i].fingerprint);
        for (size_t k = 0; rc == 0 && k < manifest->recipients[i].key_id_count; k++)
            rc = kt_buf_putf(out, "%s%016" PRIX64, k > 0 ? "," : "",
                             manifest->recipients[i].key_ids[k]);
        if (rc == 0)
            rc = kt_buf_put(out, "\n", 1);
    }
    return rc;
}

static int put_server(const struct kt_manifest *manifest, struct kt_buf *out)
{
    char incarnation[KT_INCARNATION_TEXT], head[KT_SHA256_TEXT], position[KT_LSN_TEXT];
    int rc;

    kt_incarnation_format(&manifest->incarnation, incarnation);
    kt_lsn_format(manifest->lsn, position);
    kt_hex_encode(manifest->log_head, KT_SHA256_LEN, head);
    rc = kt_buf_putf(out,
                     "member %s\n"
                     "incarnation %s\n"
                     "epoch %" PRIu64 "\n"
                     "role %s\n"
                     "position %s\n"
                     "timeline %" PRIu32 "\n"
                     "proven %s\n"
                     "log-index %" PRIu64 "\n"
                     "log-head %s\n"
                     "schema %" PRIu32 "\n"
                     "postgresql %s\n",
                     manifest->member, incarnation, manifest->epoch,
                     manifest->is_passive ? "passive" : "active", position, manifest->timeline,
                     manifest->is_proven ? "yes" : "no", manifest->log_index, head,
                     manifest->schema, manifest->postgresql);
    for (size_t i = 0; rc == 0 && i < manifest->table_count; i++)
        rc = kt_buf_putf(out, "rows %s %" PRIu64 "\n", manifest->tables[i].name,
                         manifest->tables[i].rows);
    return rc;
}

int kt_manifest_format(const struct kt_manifest *manifest, struct kt_buf *out)
{
    int rc = check(manifest);

    if (rc == 0)
        rc = put_common(manifest, out);
    if (rc == 0)
        rc = put_recipients(manifest, out);
    if (rc == 0 && manifest->kind == KT_BACKUP_SERVER)
        rc = put_server(manifest, out);
    return rc;
}

uint64_t kt_manifest_rows(const struct kt_manifest *manifest, const char *table)
{
    for (size_t i = 0; i < manifest->table_count; i++)
        if (strcmp(manifest->tables[i].name, table) == 0)
            return manifest->tables[i].rows;
    return 0;
}

// --- names ---

void kt_backup_stem(const char *host, int64_t time_us, char out[KT_BACKUP_STEM])
{
    const size_t host_max = KT_BACKUP_STEM - strlen(STEM) - strlen(STEM_TIME) - 1;
    time_t seconds = (time_t)(time_us / 1000000);
    struct tm tm = {.tm_mday = 1, .tm_year = 70};
    size_t n = strlen(STEM);

    memcpy(out, STEM, n);
    if (host[0] == '\0')
        host = "unknown";
    for (size_t i = 0; i < host_max && host[i]; i++)
        out[n++] = strchr(LETTERS DIGITS "-_", host[i]) ? host[i] : '_';
    if (!localtime_r(&seconds, &tm) || tm.tm_year < 0 || tm.tm_year > 9999 - 1900)
        tm = (struct tm){.tm_mday = 1, .tm_year = 70}; // a clock of no use
    strftime(out + n, KT_BACKUP_STEM - n, "_%Y-%m-%d_%H-%M-%S", &tm);
}

int kt_backup_name_is(const char *name, const char *suffix, char stem[KT_BACKUP_STEM])
{
    const char *form = STEM_TIME;
    size_t n = strnlen(name, 256), form_len = strlen(form), host;

    if (n >= 256 || n < strlen(suffix) || strcmp(name + n - strlen(suffix), suffix) != 0)
        return 0;
    n -= strlen(suffix);
    if (n >= KT_BACKUP_STEM || n <= strlen(STEM) + form_len ||
        memcmp(name, STEM, strlen(STEM)) != 0)
        return 0;
    host = n - form_len - strlen(STEM);
    for (size_t i = 0; i < host; i++)
        if (!strchr(LETTERS DIGITS "-_", name[strlen(STEM) + i]))
            return 0;
    for (size_t i = 0; i < form_len; i++) {
        char c = name[n - form_len + i];
        if (form[i] == '0' ? c < '0' || c > '9' : c != form[i])
            return 0;
    }
    if (stem) {
        memcpy(stem, name, n);
        stem[n] = '\0';
    }
    return 1;
}
