// SPDX-License-Identifier: Apache-2.0
// verify: whether a backup is what its manifest says, with the private key whether it can be
// opened and holds what it should, and whether a database comes out of it.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "db/trial.h"
#include "ktbackup/catalog.h"
#include "ktbackup/commands.h"
#include "ktbackup/progress.h"
#include "ktbackup/source.h"
#include "lib/backup_state.h"
#include "lib/json.h"

enum level { KEYLESS, MEMBERS, RESTORED };
static const char *const LEVELS[] = {"keyless", "members", "restored"};

struct verify {
    const struct kt_cli_run *run;
    enum level level;
    struct ktb_source source;
    struct ktb_progress progress;
    char chain[KT_BACKUP_STEM + 64];
};

static void begin_progress(struct verify *verify, const char *what)
{
    ktb_progress_begin(&verify->progress, what, verify->source.file.manifest.bytes,
                       isatty(STDERR_FILENO) && !kt_cli_flag(verify->run, "quiet"));
}

// The manifest names the hash of the one before; that one must be in the folder, or its absence is
// told. A gap is no fault of this backup.
static int check_chain(struct verify *verify, struct kt_error *error)
{
    const struct kt_manifest *manifest = &verify->source.file.manifest;
    char folder[KT_PATH_MAX];
    struct ktb_catalog catalog;
    char *slash;
    int rc;

    if (manifest->sequence == 1) {
        snprintf(verify->chain, sizeof(verify->chain), "the first of its kind");
        return 0;
    }
    snprintf(verify->chain, sizeof(verify->chain),
             "sequence %" PRIu64 "; the one before is not in this folder", manifest->sequence);
    memcpy(folder, verify->source.file.manifest_path, sizeof(folder));
    slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder] = '\0';
    else
        memcpy(folder, ".", 2);
    rc = ktb_catalog_read(folder, NULL, &catalog, NULL);
    if (rc) // no right to look around is no fault of the backup either
        return 0;
    for (size_t i = 0; i < catalog.count && rc == 0; i++) {
        const struct ktb_entry *entry = catalog.entries[i];
        const struct kt_manifest *other = &entry->file.manifest;
        if (entry->rc || other->sequence + 1 != manifest->sequence ||
            strcmp(other->owner, manifest->owner) != 0 ||
            memcmp(&other->cluster_id, &manifest->cluster_id, sizeof(other->cluster_id)) != 0)
            continue;
        if (memcmp(entry->file.manifest_sha256, manifest->previous, KT_SHA256_LEN) != 0)
            rc = kt_error_set(
                error, KT_ERR_SIGNATURE, "one of the two was replaced; compare with another copy",
                "the chain is broken: '%s' is not the one before", entry->file.manifest_path);
        else
            snprintf(verify->chain, sizeof(verify->chain), "sequence %" PRIu64 "; follows '%s'",
                     manifest->sequence, entry->file.stem);
    }
    ktb_catalog_free(&catalog);
    return rc;
}

static int check_content(struct verify *verify, struct kt_error *error)
{
    struct ktb_source *source = &verify->source;
    const struct kt_backup_visitor visitor = {.progress = ktb_progress_call,
                                              .arg = &verify->progress};
    const char *scratch = kt_cli_value(verify->run, "scratch"), *tmp = getenv("TMPDIR");
    struct db_trial *trial = NULL;
    int rc;

    if (verify->level == KEYLESS)
        return 0;
    begin_progress(verify, verify->level == MEMBERS ? "reading" : "restoring");
    if (verify->level == MEMBERS)
        rc = kt_backup_read(source->stream, &source->file, &visitor, error);
    else
        rc = db_trial_run(source->stream, &source->file,
                          scratch ? scratch
                          : tmp   ? tmp
                                  : "/tmp",
                          ktb_progress_call, &verify->progress, &trial, error);
    db_trial_free(trial);
    ktb_progress_end(&verify->progress);
    return rc;
}

static int check_all(struct verify *verify, struct kt_error *error)
{
    struct ktb_source *source = &verify->source;
    int rc;

    begin_progress(verify, "checking");
    rc = kt_backup_check(source->fd, &source->file.manifest, ktb_progress_call, &verify->progress,
                         error);
    ktb_progress_end(&verify->progress);
    if (rc == 0)
        rc = check_chain(verify, error);
    return rc ? rc : check_content(verify, error);
}

// What was verified of this node's own backups, for status.
static void note_verified(const struct verify *verify)
{
    const struct ktb_place *place = &verify->source.place;
    const struct kt_manifest *manifest = &verify->source.file.manifest;
    struct kt_backup_state state;

    if (place->confdir[0] == '\0' || place->state[0] == '\0' ||
        strcmp(place->owner, manifest->owner) != 0 ||
        memcmp(&place->cluster_id, &manifest->cluster_id, sizeof(place->cluster_id)) != 0 ||
        kt_backup_state_load(place->state, &state, NULL) != 0)
        return;
    state.verified_us = kt_time_now();
    snprintf(state.verified, sizeof(state.verified), "%s", manifest->artefact);
    snprintf(state.verified_how, sizeof(state.verified_how), "%s", LEVELS[verify->level]);
    if (verify->level == RESTORED)
        state.proven_us = state.verified_us;
    (void)!kt_backup_state_save(place->state, &state, NULL);
}

static const char *signature_text(const struct kt_backup_file *file)
{
    switch (file->signature) {
    case KT_SIGNATURE_GOOD:
        return file->by_older_key ? "good, by a key that the cluster has had before" : "good";
    case KT_SIGNATURE_UNCHECKED:
        return "not checked: no key here (--key FILE)";
    case KT_SIGNATURE_NONE:
        return "none: nobody signs backups of these folders";
    }
    return "";
}

static void print_json(const struct verify *verify)
{
    const struct kt_manifest *manifest = &verify->source.file.manifest;
    char time[KT_TIME_TEXT];
    json_t *object;

    kt_time_format(manifest->time_us, time);
    object = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:b, s:I, s:I}", "artefact",
                       verify->source.file.artefact, "verified", LEVELS[verify->level], "signature",
                       verify->source.file.signature == KT_SIGNATURE_GOOD        ? "good"
                       : verify->source.file.signature == KT_SIGNATURE_UNCHECKED ? "unchecked"
                                                                                 : "none",
                       "signer", manifest->signer, "chain", verify->chain, "time", time, "sequence",
                       (json_int_t)manifest->sequence, "bytes", (json_int_t)manifest->bytes,
                       "proven", manifest->is_proven, "deposits",
                       (json_int_t)kt_manifest_rows(manifest, "deposits"), "log_index",
                       (json_int_t)manifest->log_index);
    json_dumpf(object, stdout, JSON_INDENT(2) | JSON_SORT_KEYS);
    putchar('\n');
    json_decref(object);
}

static void print_end(const struct verify *verify)
{
    const struct kt_manifest *manifest = &verify->source.file.manifest;
    char time[KT_TIME_TEXT], size[KTB_SIZE_TEXT];

    if (kt_cli_flag(verify->run, "quiet"))
        return;
    kt_time_format(manifest->time_us, time);
    ktb_size_format(manifest->bytes, size);
    printf("artefact    %s, %s: whole, as the manifest says\n", verify->source.file.artefact, size);
    printf("made        %s\n", time);
    printf("signature   %s\n", signature_text(&verify->source.file));
    printf("chain       %s\n", verify->chain);
    for (size_t i = 0; i < manifest->recipient_count; i++)
        printf("opened by   %s\n", manifest->recipients[i].fingerprint);
    if (manifest->is_cleartext)
        printf("opened by   anybody: it is not encrypted\n");
    if (manifest->kind == KT_BACKUP_SERVER)
        printf("content     %" PRIu64 " deposits, log index %" PRIu64 ", position %s\n",
               kt_manifest_rows(manifest, "deposits"), manifest->log_index,
               manifest->is_proven ? "proven" : "unproven");
    printf("verified    %s\n",
           verify->level == KEYLESS
               ? "without the private key; --decrypt reads all of it, --restore tries it"
           : verify->level == MEMBERS ? "every member, decrypted"
                                      : "every member, and a database was restored from it");
}

static int run_verify(struct kt_cli_run *run)
{
    struct verify *verify = calloc(1, sizeof(*verify));
    struct kt_error error = {0};
    int code = KT_EXIT_OK, rc;

    if (!verify)
        return KT_EXIT_FAILURE;
    verify->run = run;
    verify->level = kt_cli_flag(run, "restore")   ? RESTORED
                    : kt_cli_flag(run, "decrypt") ? MEMBERS
                                                  : KEYLESS;
    rc = ktb_source_open(run, run->argv[0], verify->level != KEYLESS, &verify->source, &error);
    if (rc == 0)
        rc = check_all(verify, &error);
    if (rc) {
        error.code = rc;
        code = ktb_source_fail(run, &error);
    } else {
        note_verified(verify);
        if (kt_cli_flag(run, "json"))
            print_json(verify);
        else
            print_end(verify);
    }
    ktb_source_close(&verify->source);
    free(verify);
    return code;
}

static const struct kt_cli_option OPTIONS[] = {
    {"decrypt", 0, NULL, "with the private key: read every member and compare its hash"},
    {"restore", 0, NULL, "the same, and restore into a PostgreSQL that exists only for this"},
    {"scratch", 0, "DIR", "folder for that PostgreSQL (TMPDIR, or /tmp)"},
    KTB_KEY_OPTION,
    KTB_DECRYPT_OPTIONS,
    {NULL},
};

const struct kt_cli_command ktb_cmd_verify = {
    .verb = "verify",
    .arguments = "FILE",
    .summary = "check a backup, with or without the private key",
    .help = "Without options no private key is needed: length, hash, OpenPGP packets, recipients, "
            "the manifest's\nsignature and its place in the chain. The exit code is 7 when "
            "something is wrong with the backup.",
    .options = OPTIONS,
    .min_args = 1,
    .max_args = 1,
    .run = run_verify,
};
