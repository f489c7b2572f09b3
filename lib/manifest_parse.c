// SPDX-License-Identifier: Apache-2.0
// Reads a backup's manifest: what it has read is written again and must be the same bytes.
#include "lib/manifest_inner.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/epoch.h"
#include "lib/formats_text.h"

#define VALUE 512 // longest value of a line and NUL: a recipient with all its key ids

// As kt_text_line, for longer values. On a failure the reader stays at the line.
static int read_line(struct kt_text *text, const char *name, char value[VALUE])
{
    struct kt_text rest = *text;
    const char *end;
    size_t n;
    int rc = kt_text_literal(&rest, name);

    if (rc == 0)
        rc = kt_text_literal(&rest, " ");
    if (rc != 0)
        return rc;
    end = memchr(rest.at, '\n', rest.left);
    if (end == NULL || end - rest.at >= VALUE)
        return KT_ERR_INVALID;
    n = (size_t)(end - rest.at);
    if (memchr(rest.at, '\0', n) != NULL)
        return KT_ERR_INVALID;
    memcpy(value, rest.at, n);
    value[n] = '\0';
    text->at = end + 1;
    text->left = rest.left - n - 1;
    return 0;
}

static int read_word(struct kt_text *text, const char *name, char *out, size_t size)
{
    char value[VALUE];
    struct kt_text rest = *text;
    int rc = read_line(&rest, name, value);

    if (rc == 0 && strlen(value) >= size)
        rc = KT_ERR_INVALID;
    if (rc != 0)
        return rc;
    memcpy(out, value, strlen(value) + 1);
    *text = rest;
    return 0;
}

// One of two words: *value is 0 for the first.
static int read_choice(struct kt_text *text, const char *name, const char *first,
                       const char *second, int *value)
{
    char word[16];
    struct kt_text rest = *text;
    int rc = read_word(&rest, name, word, sizeof(word));

    if (rc == 0 && strcmp(word, first) != 0 && strcmp(word, second) != 0)
        rc = KT_ERR_INVALID;
    if (rc != 0)
        return rc;
    *value = strcmp(word, second) == 0;
    *text = rest;
    return 0;
}

static int read_kind(struct kt_text *text, enum kt_backup_kind *kind)
{
    char word[16];
    struct kt_text rest = *text;
    int rc = read_word(&rest, "kind", word, sizeof(word));

    for (unsigned i = 0; rc == 0 && kt_manifest_kinds[i]; i++) {
        if (strcmp(word, kt_manifest_kinds[i]) == 0) {
            *kind = (enum kt_backup_kind)i;
            *text = rest;
            return 0;
        }
    }
    return KT_ERR_INVALID;
}

static int read_time(struct kt_text *text, int64_t *time_us)
{
    char value[KT_TEXT_VALUE];
    struct kt_text rest = *text;
    int rc = kt_text_line(&rest, "time", value);

    if (rc == 0 && kt_time_parse(value, time_us) != 0)
        rc = KT_ERR_INVALID;
    if (rc == 0)
        *text = rest;
    return rc;
}

static int read_signer(struct kt_text *text, char signer[KT_OPENPGP_FINGERPRINT_TEXT])
{
    int rc = read_word(text, "signer", signer, KT_OPENPGP_FINGERPRINT_TEXT);

    if (rc == 0 && strcmp(signer, "none") == 0)
        signer[0] = '\0';
    return rc;
}

static int read_common(struct kt_text *text, struct kt_manifest *manifest)
{
    int rc = kt_text_literal(text, "keytrustee-backup 1\n");

    if (rc == 0)
        rc = read_kind(text, &manifest->kind);
    if (rc == 0)
        rc = read_word(text, "artefact", manifest->artefact, sizeof(manifest->artefact));
    if (rc == 0)
        rc = kt_text_u64(text, "bytes", 0, UINT64_MAX, &manifest->bytes);
    if (rc == 0)
        rc = kt_text_hex(text, "sha256", manifest->sha256, KT_SHA256_LEN);
    if (rc == 0)
        rc = read_choice(text, "encrypted", "yes", "no", &manifest->is_cleartext);
    if (rc == 0)
        rc = read_signer(text, manifest->signer);
    if (rc == 0)
        rc = kt_text_uuid(text, "cluster", &manifest->cluster_id);
    if (rc == 0)
        rc = read_word(text, "owner", manifest->owner, sizeof(manifest->owner));
    if (rc == 0)
        rc = kt_text_u64(text, "sequence", 1, UINT64_MAX, &manifest->sequence);
    if (rc == 0)
        rc = kt_text_hex(text, "previous", manifest->previous, KT_SHA256_LEN);
    if (rc == 0)
        rc = read_time(text, &manifest->time_us);
    if (rc == 0)
        rc = read_word(text, "program", manifest->program, sizeof(manifest->program));
    return rc;
}

static int starts_with(const struct kt_text *text, const char *word)
{
    return text->left >= strlen(word) && memcmp(text->at, word, strlen(word)) == 0;
}

static int read_recipient(struct kt_text *text, struct kt_manifest *manifest)
{
    const size_t digits = 16, name = KT_OPENPGP_FINGERPRINT_TEXT - 1;
    size_t i = manifest->recipient_count;
    char value[VALUE];
    struct kt_text rest = *text;
    int rc = read_line(&rest, "recipient", value);

    if (rc != 0 || i == KT_MANIFEST_RECIPIENTS_MAX || strlen(value) <= name || value[name] != ' ')
        return KT_ERR_INVALID;
    memcpy(manifest->recipients[i].fingerprint, value, name);
    for (const char *at = value + name + 1;; at += digits + 1) {
        size_t k = manifest->recipients[i].key_id_count;
        char end = '\0';
        if (k == KT_MANIFEST_KEY_IDS_MAX || strspn(at, "0123456789ABCDEF") != digits ||
            sscanf(at, "%16" SCNx64 "%c", &manifest->recipients[i].key_ids[k], &end) < 1)
            return KT_ERR_INVALID;
        manifest->recipients[i].key_id_count++;
        if (end == '\0')
            break;
        if (end != ',')
            return KT_ERR_INVALID;
    }
    manifest->recipient_count++;
    *text = rest;
    return 0;
}

static int read_table(struct kt_text *text, struct kt_manifest *manifest)
{
    size_t i = manifest->table_count;
    char value[VALUE], *space;
    struct kt_text rest = *text;
    int rc = read_line(&rest, "rows", value);

    space = rc == 0 ? strchr(value, ' ') : NULL;
    if (space == NULL || i == KT_MANIFEST_TABLES_MAX)
        return KT_ERR_INVALID;
    *space = '\0';
    if (strlen(value) >= sizeof(manifest->tables[i].name) ||
        kt_u64_parse(space + 1, 0, UINT64_MAX, &manifest->tables[i].rows) != 0)
        return KT_ERR_INVALID;
    memcpy(manifest->tables[i].name, value, strlen(value) + 1);
    manifest->table_count++;
    *text = rest;
    return 0;
}

static int read_position(struct kt_text *text, uint64_t *lsn)
{
    char value[KT_LSN_TEXT];
    struct kt_text rest = *text;
    int rc = read_word(&rest, "position", value, sizeof(value));

    if (rc != 0 || kt_lsn_parse(value, lsn) != 0)
        return KT_ERR_INVALID;
    *text = rest;
    return 0;
}

static int read_server(struct kt_text *text, struct kt_manifest *manifest)
{
    int rc = read_word(text, "member", manifest->member, sizeof(manifest->member));

    if (rc == 0)
        rc = kt_text_incarnation(text, "incarnation", &manifest->incarnation);
    if (rc == 0)
        rc = kt_text_u64(text, "epoch", 0, UINT64_MAX, &manifest->epoch);
    if (rc == 0)
        rc = read_choice(text, "role", "active", "passive", &manifest->is_passive);
    if (rc == 0)
        rc = read_position(text, &manifest->lsn);
    if (rc == 0)
        rc = kt_text_u32(text, "timeline", 0, &manifest->timeline);
    if (rc == 0)
        rc = read_choice(text, "proven", "no", "yes", &manifest->is_proven);
    if (rc == 0)
        rc = kt_text_u64(text, "log-index", 0, UINT64_MAX, &manifest->log_index);
    if (rc == 0)
        rc = kt_text_hex(text, "log-head", manifest->log_head, KT_SHA256_LEN);
    if (rc == 0)
        rc = kt_text_u32(text, "schema", 0, &manifest->schema);
    if (rc == 0)
        rc = read_word(text, "postgresql", manifest->postgresql, sizeof(manifest->postgresql));
    while (rc == 0 && starts_with(text, "rows "))
        rc = read_table(text, manifest);
    return rc;
}

// The line where reading stopped.
static int malformed(const char *text, const struct kt_text *rest, struct kt_error *error)
{
    size_t line = 1;

    for (const char *at = text; at < rest->at; at++)
        line += *at == '\n';
    return kt_error_set(error, KT_ERR_INVALID, NULL, "line %zu of the manifest is malformed", line);
}

int kt_manifest_parse(const char *text, size_t n, struct kt_manifest *manifest,
                      struct kt_error *error)
{
    struct kt_text rest = {text, n};
    struct kt_manifest parsed = {.kind = KT_BACKUP_SERVER};
    struct kt_buf again = KT_BUF_INIT(KT_MANIFEST_FILE_MAX);
    int rc;

    if (n > KT_MANIFEST_FILE_MAX)
        return kt_error_set(error, KT_ERR_INVALID, NULL, "the manifest is too long");
    rc = read_common(&rest, &parsed);
    while (rc == 0 && starts_with(&rest, "recipient "))
        rc = read_recipient(&rest, &parsed);
    if (rc == 0 && parsed.kind == KT_BACKUP_SERVER)
        rc = read_server(&rest, &parsed);
    if (rc != 0 || rest.left > 0) {
        rc = malformed(text, &rest, error);
        goto out;
    }
    rc = kt_manifest_format(&parsed, &again);
    if (rc == 0 && (kt_buf_left(&again) != n || memcmp(kt_buf_ptr(&again), text, n) != 0))
        rc = KT_ERR_INVALID;
    if (rc != 0) {
        rc = kt_error_set(error, rc, NULL,
                          "the manifest has a value that is out of bounds or spelled another way");
        goto out;
    }
    *manifest = parsed;
out:
    kt_buf_free(&again);
    return rc;
}
