// SPDX-License-Identifier: Apache-2.0
// list: the backups of a folder, whether each is good, and what is missing between them.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ktbackup/catalog.h"
#include "ktbackup/commands.h"
#include "ktbackup/place.h"
#include "ktbackup/progress.h"
#include "lib/json.h"

#define CELL 192

static void age_text(int64_t time_us, char out[CELL])
{
    int64_t s = (kt_time_now() - time_us) / 1000000;

    if (s < 0)
        snprintf(out, CELL, "in the future");
    else if (s < 3600)
        snprintf(out, CELL, "%" PRId64 " min", s / 60);
    else if (s < 48 * 3600)
        snprintf(out, CELL, "%" PRId64 " h", s / 3600);
    else
        snprintf(out, CELL, "%" PRId64 " d", s / 86400);
}

static const char *state_of(const struct ktb_entry *entry)
{
    if (entry->rc == KT_ERR_NOT_FOUND)
        return "incomplete";
    if (entry->rc)
        return "bad";
    return entry->file.signature == KT_SIGNATURE_GOOD        ? "verified"
           : entry->file.signature == KT_SIGNATURE_UNCHECKED ? "unchecked"
                                                             : "unsigned";
}

static void recipients_text(const struct kt_manifest *manifest, char out[CELL])
{
    size_t at = 0;

    snprintf(out, CELL, "%s", manifest->is_cleartext ? "CLEAR TEXT" : "");
    for (size_t i = 0; i < manifest->recipient_count && at + 20 < CELL; i++)
        at += (size_t)snprintf(out + at, CELL - at, "%s%s", i ? "," : "",
                               manifest->recipients[i].fingerprint + 24);
}

// How many sequences are missing before entry i, of the same cluster and owner.
static uint64_t gap_before(const struct ktb_catalog *catalog, size_t i)
{
    const struct kt_manifest *now = &catalog->entries[i]->file.manifest;

    if (catalog->entries[i]->rc)
        return 0;
    while (i-- > 0) {
        const struct kt_manifest *before = &catalog->entries[i]->file.manifest;
        if (catalog->entries[i]->rc)
            continue;
        if (strcmp(before->owner, now->owner) != 0 ||
            memcmp(&before->cluster_id, &now->cluster_id, sizeof(now->cluster_id)) != 0)
            return 0;
        return now->sequence > before->sequence + 1 ? now->sequence - before->sequence - 1 : 0;
    }
    return 0;
}

static int print_table(const struct ktb_catalog *catalog)
{
    static const char *const HEADERS[] = {"BACKUP",   "OF",     "SEQUENCE", "AGE",       "SIZE",
                                          "DEPOSITS", "PROVEN", "STATE",    "OPENED BY", NULL};
    struct kt_table *table = kt_table_new(HEADERS);
    int rc = table ? 0 : KT_ERR_NO_MEMORY;

    for (size_t i = 0; i < catalog->count && rc == 0; i++) {
        const struct ktb_entry *entry = catalog->entries[i];
        const struct kt_manifest *manifest = &entry->file.manifest;
        char sequence[32] = "", age[CELL] = "", size[KTB_SIZE_TEXT] = "", deposits[32] = "",
             keys[CELL] = "";
        const char *proven = "";
        if (manifest->sequence > 0) {
            snprintf(sequence, sizeof(sequence), "%" PRIu64, manifest->sequence);
            age_text(manifest->time_us, age);
            ktb_size_format(manifest->bytes, size);
            recipients_text(manifest, keys);
            if (manifest->kind == KT_BACKUP_SERVER) {
                snprintf(deposits, sizeof(deposits), "%" PRIu64,
                         kt_manifest_rows(manifest, "deposits"));
                proven = manifest->is_proven ? "yes" : "no";
            }
        }
        const char *cells[] = {entry->file.stem, manifest->owner, sequence,        age, size,
                               deposits,         proven,          state_of(entry), keys};
        rc = kt_table_row(table, cells);
    }
    if (rc == 0)
        kt_table_print(table, stdout);
    kt_table_free(table);
    return rc;
}

static void print_notes(const struct ktb_catalog *catalog)
{
    for (size_t i = 0; i < catalog->count; i++) {
        uint64_t gap = gap_before(catalog, i);
        if (gap > 0)
            printf("note: before '%s' %" PRIu64 " backups of %s are missing\n",
                   catalog->entries[i]->file.stem, gap, catalog->entries[i]->file.manifest.owner);
        if (catalog->entries[i]->rc)
            printf("note: '%s': %s\n", catalog->entries[i]->file.stem,
                   catalog->entries[i]->error.message);
    }
}

static json_t *entry_json(const struct ktb_catalog *catalog, size_t i)
{
    const struct ktb_entry *entry = catalog->entries[i];
    const struct kt_manifest *manifest = &entry->file.manifest;
    char time[KT_TIME_TEXT], cluster[KT_UUID_TEXT];
    json_t *object = json_pack("{s:s, s:s}", "name", entry->file.stem, "state", state_of(entry)),
           *keys = json_array();

    if (entry->rc)
        json_object_set_new(object, "problem", json_string(entry->error.message));
    for (size_t k = 0; k < manifest->recipient_count; k++)
        json_array_append_new(keys, json_string(manifest->recipients[k].fingerprint));
    if (manifest->sequence > 0) {
        kt_time_format(manifest->time_us, time);
        kt_uuid_format(&manifest->cluster_id, cluster);
        json_t *more = json_pack("{s:s, s:s, s:s, s:I, s:I, s:s, s:I, s:b, s:I, s:b, s:O}", "path",
                                 entry->file.artefact, "cluster", cluster, "owner", manifest->owner,
                                 "sequence", (json_int_t)manifest->sequence, "missing_before",
                                 (json_int_t)gap_before(catalog, i), "time", time, "bytes",
                                 (json_int_t)manifest->bytes, "proven", manifest->is_proven,
                                 "deposits", (json_int_t)kt_manifest_rows(manifest, "deposits"),
                                 "cleartext", manifest->is_cleartext, "recipients", keys);
        json_object_update(object, more);
        json_decref(more);
    }
    json_decref(keys);
    return object;
}

static void print_json(const struct ktb_catalog *catalog)
{
    json_t *list = json_array();

    for (size_t i = 0; i < catalog->count; i++)
        json_array_append_new(list, entry_json(catalog, i));
    json_dumpf(list, stdout, JSON_INDENT(2) | JSON_SORT_KEYS);
    putchar('\n');
    json_decref(list);
}

static int run_list(struct kt_cli_run *run)
{
    const char *given = kt_cli_value(run, "output");
    char folder[KT_PATH_MAX];
    struct kt_error error = {0};
    struct ktb_catalog catalog = {0};
    struct ktb_place place;
    struct ktb_trust trust = {0};
    int rc = ktb_place_try(run, &place, &error);

    if (rc == 0 && !given && place.output[0] == '\0')
        rc = kt_error_set(&error, KT_ERR_USAGE, "give --output=DIR",
                          "there is no usual folder of backups here");
    if (rc == 0)
        rc = ktb_real_path(given ? given : place.output, folder, &error);
    if (rc == 0)
        rc = ktb_trust_open(run, &place, &trust, &error);
    if (rc == 0)
        rc = ktb_catalog_read(folder, &trust.trust, &catalog, &error);
    if (rc == 0 && kt_cli_flag(run, "json")) {
        print_json(&catalog);
    } else if (rc == 0) {
        rc = print_table(&catalog);
        if (rc == 0 && !kt_cli_flag(run, "quiet"))
            print_notes(&catalog);
    }
    ktb_catalog_free(&catalog);
    ktb_trust_close(&trust);
    ktb_place_close(&place);
    return rc ? kt_cli_fail(run, &error) : KT_EXIT_OK;
}

static const struct kt_cli_option OPTIONS[] = {
    {"output", 0, "DIR", "folder of the backups (a node: the one above the confdir)"},
    KTB_KEY_OPTION,
    {NULL},
};

const struct kt_cli_command ktb_cmd_list = {
    .verb = "list",
    .arguments = "",
    .summary = "list the backups of a folder",
    .help = "STATE is verified (signature and length are right), unchecked (no key here to check "
            "the signature\nwith), unsigned, incomplete (artefact or manifest is missing) or bad. "
            "Signed manifests count, not the\nnames or times of files. Content is checked by "
            "'ktbackup verify'.",
    .options = OPTIONS,
    .run = run_list,
};
