// SPDX-License-Identifier: Apache-2.0
// ktbackup without a verb: makes a backup. In this order: who may open it, where it goes, what is
// proven, the snapshot, the artefact, its manifest, their names; only then old ones go.
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ktbackup/commands.h"
#include "ktbackup/metrics.h"
#include "ktbackup/position.h"
#include "ktbackup/progress.h"
#include "ktbackup/roll.h"
#include "ktbackup/seal.h"
#include "lib/backup_state.h"
#include "lib/json.h"
#include "lib/file.h"
#include "lib/version.h"

#define WARN_DAYS 30

struct backup {
    const struct kt_cli_run *run;
    struct ktb_place place;
    struct ktb_trust trust;
    struct ktb_output output;
    struct ktb_plan plan;
    struct db_backup *database;
    struct kt_gpg *keyring; // the account's own, with the recipients' keys
    struct kt_gpg_recipient recipients[KT_MANIFEST_RECIPIENTS_MAX];
    size_t recipient_count;
    uint64_t port, warn_days;
    struct ktb_retention retention;
    struct ktb_position position;
    int is_proven;
    struct kt_error unproven; // why not
    struct kt_manifest manifest, before;
    int has_before;
    struct kt_backup_state state;
    char stem[KT_BACKUP_STEM], path[KT_PATH_MAX];
    size_t removed;
    struct kt_error kept; // why old ones stay, though they were to go
};

static void say(const struct backup *backup, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void say(const struct backup *backup, const char *fmt, ...)
{
    va_list list;

    if (!kt_cli_flag(backup->run, "verbose") || kt_cli_flag(backup->run, "quiet"))
        return;
    va_start(list, fmt);
    vfprintf(stderr, fmt, list);
    va_end(list);
    fputc('\n', stderr);
}

// --- the command line ---

static int take_number(const struct kt_cli_run *run, const char *option, uint64_t min, uint64_t max,
                       uint64_t *number, struct kt_error *error)
{
    const char *text = kt_cli_value(run, option);

    if (!text || kt_u64_parse(text, min, max, number) == 0)
        return 0;
    return kt_error_set(error, KT_ERR_USAGE, NULL,
                        "--%s: '%.40s' is no number from %" PRIu64 " to %" PRIu64, option, text,
                        min, max);
}

static int take_options(struct backup *backup, struct kt_error *error)
{
    const struct kt_cli_run *run = backup->run;
    const char *within = kt_cli_value(run, "keep-within");
    int has_recipient = kt_cli_count(run, "gpg-recipient") > 0;
    int rc = 0;

    backup->warn_days = WARN_DAYS;
    if (!has_recipient && !kt_cli_flag(run, "cleartext"))
        return kt_error_set(error, KT_ERR_USAGE, "see ktbackup(1), KEYS, for how to make one",
                            "say who may open the backup: --gpg-recipient=NAME");
    if (has_recipient && kt_cli_flag(run, "cleartext"))
        return kt_error_set(error, KT_ERR_USAGE, NULL,
                            "--cleartext and --gpg-recipient exclude each other");
    if (kt_cli_flag(run, "cleartext") && !kt_cli_flag(run, "accept-cleartext-risk"))
        return kt_error_set(error, KT_ERR_USAGE,
                            "if that is what you want, give --accept-cleartext-risk as well",
                            "a clear-text backup holds the cluster's private keys: whoever reads "
                            "the file can pass for the cluster");
    rc = take_number(run, "roll", 1, UINT32_MAX, &backup->retention.keep, error);
    if (rc == 0)
        rc = take_number(run, "database-port", 1, 65535, &backup->port, error);
    if (rc == 0)
        rc = take_number(run, "warn-days", 0, 3650, &backup->warn_days, error);
    if (rc == 0 && within)
        rc = ktb_duration("keep-within", within, &backup->retention.keep_within_us, error);
    if (rc == 0 && within && backup->retention.keep == 0)
        backup->retention.keep = 1; // by age alone; the newest one always stays
    return rc;
}

static int open_output(struct backup *backup, struct kt_error *error)
{
    const char *given = kt_cli_value(backup->run, "output");
    struct stat st;
    int rc;

    if (!given && backup->place.output[0] == '\0')
        return kt_error_set(error, KT_ERR_USAGE, "give --output=DIR",
                            "there is no usual place for the backups of '%s'",
                            backup->place.confdir);
    rc = ktb_output_open(given ? given : backup->place.output, &backup->output, error);
    if (rc == 0 && fstat(backup->output.fd, &st) == 0 && (st.st_mode & S_IWOTH) &&
        !(st.st_mode & S_ISVTX))
        fprintf(stderr, "ktbackup: warning: everybody can remove backups from '%s'\n",
                backup->output.path);
    return rc;
}

// --- what it is and stands on ---

static void prove_position(struct backup *backup)
{
    if (backup->place.kind != KT_BACKUP_SERVER)
        return;
    backup->is_proven =
        ktb_position_prove(&backup->place, &backup->position, &backup->unproven) == 0;
    say(backup,
        backup->is_proven ? "position: proven by a barrier in epoch %" PRIu64
                          : "position: unproven",
        backup->position.epoch);
}

static int open_database(struct backup *backup, struct kt_error *error)
{
    const struct db_backup_facts *facts;
    int rc;

    if (backup->place.kind != KT_BACKUP_SERVER)
        return 0;
    rc = db_backup_open(&backup->place.paths, backup->place.settings, (uint16_t)backup->port,
                        &backup->database, error);
    if (rc)
        return rc;
    facts = db_backup_facts(backup->database);
    if (memcmp(&facts->cluster_id, &backup->place.cluster_id, sizeof(facts->cluster_id)) != 0)
        return kt_error_set(error, KT_ERR_NOT_OURS, "check --confdir and --database-port",
                            "the database is another cluster's than the confdir '%s'",
                            backup->place.confdir);
    // A barrier of another history than the snapshot's says nothing about it.
    if (backup->is_proven && (facts->epoch != backup->position.epoch ||
                              facts->incarnation.number != backup->position.incarnation.number ||
                              facts->incarnation.bits != backup->position.incarnation.bits)) {
        backup->is_proven = 0;
        kt_error_set(&backup->unproven, KT_ERR_FENCED, NULL,
                     "this node's database is not in the active's epoch");
    }
    return 0;
}

static int make_plan(struct backup *backup, struct kt_error *error)
{
    const struct ktb_place *place = &backup->place;
    char folder[KT_PATH_MAX];
    int rc = ktb_plan_add(&backup->plan, place->confdir, place->kind != KT_BACKUP_FILES,
                          backup->output.path, error);

    for (int i = 0; i < kt_cli_count(backup->run, "include") && rc == 0; i++) {
        rc = ktb_real_path(kt_cli_nth(backup->run, "include", i), folder, error);
        if (rc == 0)
            rc = ktb_plan_add(&backup->plan, folder, 0, backup->output.path, error);
    }
    if (rc == 0 && backup->plan.links > 0)
        fprintf(stderr,
                "ktbackup: warning: %zu links to folders are not followed, '%s' first\n"
                "hint: give the folders themselves with --include\n",
                backup->plan.links, backup->plan.link);
    return rc;
}

static void take_database(struct kt_manifest *manifest, const struct backup *backup)
{
    const struct db_backup_facts *facts = db_backup_facts(backup->database);
    struct kt_promise promise;

    if (kt_promise_load(backup->place.paths.promise, &promise, NULL) == 0)
        memcpy(manifest->member, promise.member, sizeof(manifest->member));
    manifest->incarnation = facts->incarnation;
    manifest->epoch = facts->epoch;
    manifest->is_passive = facts->in_recovery;
    manifest->lsn = facts->lsn;
    manifest->timeline = facts->timeline;
    manifest->is_proven = backup->is_proven;
    manifest->log_index = facts->log_index;
    memcpy(manifest->log_head, facts->log_head, sizeof(manifest->log_head));
    manifest->schema = facts->schema;
    memcpy(manifest->postgresql, facts->postgresql, sizeof(manifest->postgresql));
    manifest->table_count = facts->table_count;
    for (size_t i = 0; i < facts->table_count; i++) {
        memcpy(manifest->tables[i].name, facts->tables[i].name, sizeof(facts->tables[i].name));
        manifest->tables[i].rows = facts->tables[i].rows;
    }
}

// The one before: by this node's own state, or by what lies in the folder, whichever knows more.
static void chain(struct backup *backup, const struct ktb_catalog *catalog)
{
    struct kt_manifest *manifest = &backup->manifest;
    const struct ktb_entry *newest =
        ktb_catalog_newest(catalog, &backup->place.cluster_id, backup->place.owner);

    manifest->sequence = backup->state.sequence + 1;
    if (backup->state.sequence > 0)
        memcpy(manifest->previous, backup->state.manifest_sha256, sizeof(manifest->previous));
    if (newest && newest->file.manifest.sequence > backup->state.sequence) {
        manifest->sequence = newest->file.manifest.sequence + 1;
        memcpy(manifest->previous, newest->file.manifest_sha256, sizeof(manifest->previous));
    }
    backup->has_before = newest != NULL;
    if (newest)
        backup->before = newest->file.manifest;
}

static int begin_manifest(struct backup *backup, struct kt_error *error)
{
    struct kt_manifest *manifest = &backup->manifest;
    struct ktb_catalog catalog;
    int rc = ktb_catalog_read(backup->output.path, &backup->trust.trust, &catalog, error);

    if (rc)
        return rc;
    manifest->kind = backup->place.kind;
    memcpy(manifest->signer, backup->place.signer, sizeof(manifest->signer));
    manifest->cluster_id = backup->place.cluster_id;
    memcpy(manifest->owner, backup->place.owner, sizeof(manifest->owner));
    snprintf(manifest->program, sizeof(manifest->program), "%s", KT_VERSION);
    manifest->time_us = kt_time_now();
    if (backup->database)
        take_database(manifest, backup);
    chain(backup, &catalog);
    ktb_catalog_free(&catalog);
    return 0;
}

// --- making it ---

static int sign(struct backup *backup, struct kt_buf *out, struct kt_error *error)
{
    struct kt_buf text = KT_BUF_INIT(KT_MANIFEST_FILE_MAX);
    int rc = kt_manifest_format(&backup->manifest, &text);

    if (rc == 0)
        rc = kt_buf_put_u8(&text, 0);
    if (rc)
        kt_error_set(error, rc, NULL, "cannot write the manifest: %s", kt_err_text(rc));
    else if (backup->trust.trust.gpg)
        rc = kt_gpg_sign_text(backup->trust.trust.gpg, backup->place.signer,
                              (const char *)kt_buf_ptr(&text), out, error);
    else
        rc = kt_buf_put(out, kt_buf_ptr(&text), kt_buf_left(&text) - 1);
    if (rc == 0)
        rc = kt_sha256(kt_buf_ptr(out), kt_buf_left(out), backup->state.manifest_sha256);
    kt_buf_free(&text);
    return rc;
}

static int make(struct backup *backup, struct kt_error *error)
{
    const char *suffix = backup->recipient_count ? KT_BACKUP_ENCRYPTED : KT_BACKUP_CLEARTEXT;
    const struct ktb_content content = {.place = &backup->place,
                                        .plan = &backup->plan,
                                        .stem = backup->stem,
                                        .database = backup->database,
                                        .is_plain_sql = kt_cli_flag(backup->run, "plain-sql")};
    struct ktb_seal seal = {.content = &content,
                            .recipients = backup->recipients,
                            .recipient_count = backup->recipient_count,
                            .keyring = backup->keyring,
                            .shows_progress =
                                isatty(STDERR_FILENO) && !kt_cli_flag(backup->run, "quiet")};
    struct kt_buf manifest = KT_BUF_INIT(KT_MANIFEST_FILE_MAX);
    int fd = -1, rc = ktb_content_size(&content, &seal.total, error);

    if (rc == 0)
        rc = ktb_output_stem(&backup->output, backup->place.host, backup->manifest.time_us,
                             backup->stem, error);
    if (rc)
        return rc;
    snprintf(backup->manifest.artefact, sizeof(backup->manifest.artefact), "%s%s", backup->stem,
             suffix);
    rc = kt_path_join(backup->path, sizeof(backup->path), backup->output.path,
                      backup->manifest.artefact);
    if (rc)
        return kt_error_set(error, rc, NULL, "the path of the backup is too long");
    rc = ktb_part_open(&backup->output, backup->stem, suffix, &fd, error);
    if (rc)
        return rc;
    rc = ktb_seal(&seal, fd, &backup->manifest, error);
    if (close(fd) != 0 && rc == 0)
        rc = kt_error_errno(error, "cannot write '%s'", backup->path);
    if (rc == 0)
        rc = sign(backup, &manifest, error);
    if (rc == 0)
        rc = ktb_output_publish(&backup->output, backup->stem, suffix, &manifest, error);
    if (rc) {
        ktb_part_drop(&backup->output, backup->stem, suffix);
        ktb_part_drop(&backup->output, backup->stem, KT_BACKUP_MANIFEST);
    }
    kt_buf_free(&manifest);
    return rc;
}

static int run_all(struct backup *backup, struct kt_error *error)
{
    int rc = ktb_trust_open(backup->run, &backup->place, &backup->trust, error);

    if (rc == 0)
        rc = ktb_output_settle(&backup->output, backup->place.host, &backup->trust.trust, error);
    prove_position(backup);
    if (rc == 0 && backup->place.kind == KT_BACKUP_SERVER && !backup->is_proven &&
        kt_cli_flag(backup->run, "require-proof"))
        rc = kt_error_set(error, KT_ERR_NO_QUORUM,
                          "see ktadmin status; without --require-proof the backup is made, and "
                          "says that it is unproven",
                          "the position is not proven: %.300s", backup->unproven.message);
    if (rc == 0)
        rc = open_database(backup, error);
    if (rc == 0)
        rc = begin_manifest(backup, error);
    if (rc == 0) // the last: checking signatures above makes gpg write to the keyring
        rc = make_plan(backup, error);
    return rc ? rc : make(backup, error);
}

// --- afterwards ---

static int roll(struct backup *backup)
{
    struct ktb_catalog catalog = {0};
    int rc;

    if (backup->retention.keep == 0)
        return 0;
    if (ktb_is_suspicious(backup->has_before ? &backup->before : NULL, &backup->manifest))
        return kt_error_set(
            &backup->kept, KT_ERR_REFUSED_BY_USER,
            "if that is right, remove old backups by hand; the next run rolls again",
            "the new backup has much less in it than the one before: old ones "
            "stay");
    backup->retention.cluster_id = backup->place.cluster_id;
    backup->retention.owner = backup->place.owner;
    rc = ktb_catalog_read(backup->output.path, &backup->trust.trust, &catalog, &backup->kept);
    if (rc == 0)
        rc = ktb_roll(&backup->output, &catalog, &backup->retention, &backup->removed,
                      &backup->kept);
    ktb_catalog_free(&catalog);
    return rc;
}

// Neither the state file nor the metrics are worth a backup that was made: a warning.
static void save_state(const struct backup *backup, const struct kt_backup_state *state)
{
    const char *metrics = kt_cli_value(backup->run, "metrics");
    struct kt_error error = {0};

    if (backup->place.state[0] && kt_backup_state_save(backup->place.state, state, &error) != 0)
        fprintf(stderr, "ktbackup: warning: %s\n", error.message);
    if (metrics && ktb_metrics_write(metrics, state, &error) != 0)
        fprintf(stderr, "ktbackup: warning: %s\n", error.message);
}

static void note_made(struct backup *backup)
{
    struct kt_backup_state *state = &backup->state;

    state->made_us = backup->manifest.time_us;
    snprintf(state->path, sizeof(state->path), "%s", backup->path);
    state->bytes = backup->manifest.bytes;
    state->deposits = kt_manifest_rows(&backup->manifest, "deposits");
    state->sequence = backup->manifest.sequence;
    state->log_index = backup->manifest.log_index;
    state->is_proven = backup->manifest.is_proven;
    state->failed_us = 0;
    state->failure[0] = '\0';
    state->verified_us = kt_time_now();
    snprintf(state->verified, sizeof(state->verified), "%s", backup->manifest.artefact);
    snprintf(state->verified_how, sizeof(state->verified_how), "keyless");
    save_state(backup, state);
}

static void note_failed(struct backup *backup, const struct kt_error *error)
{
    if (backup->place.state[0] == '\0')
        return;
    // Of what it knows nothing changes but that this run has failed.
    struct kt_backup_state state;
    if (kt_backup_state_load(backup->place.state, &state, NULL) != 0)
        return;
    state.failed_us = kt_time_now();
    snprintf(state.failure, sizeof(state.failure), "%.255s", error->message);
    save_state(backup, &state);
}

static void print_json(const struct backup *backup)
{
    json_t *object = json_pack(
        "{s:s, s:I, s:I, s:I, s:b, s:I}", "path", backup->path, "bytes",
        (json_int_t)backup->manifest.bytes, "sequence", (json_int_t)backup->manifest.sequence,
        "deposits", (json_int_t)kt_manifest_rows(&backup->manifest, "deposits"), "proven",
        backup->manifest.is_proven, "removed", (json_int_t)backup->removed);

    json_dumpf(object, stdout, JSON_INDENT(2) | JSON_SORT_KEYS);
    putchar('\n');
    json_decref(object);
}

static void print_end(const struct backup *backup)
{
    char size[KTB_SIZE_TEXT];

    if (kt_cli_flag(backup->run, "json")) {
        print_json(backup);
        return;
    }
    if (kt_cli_flag(backup->run, "quiet")) {
        printf("%s\n", backup->path);
        return;
    }
    ktb_size_format(backup->manifest.bytes, size);
    printf("%s\n", backup->path);
    printf("  %s", size);
    if (backup->database)
        printf(", %" PRIu64 " deposits, log index %" PRIu64 ", position: %s",
               kt_manifest_rows(&backup->manifest, "deposits"), backup->manifest.log_index,
               backup->manifest.is_proven ? "proven" : "unproven");
    putchar('\n');
    for (size_t i = 0; i < backup->recipient_count; i++)
        printf("  opened by %s (%s)\n", backup->recipients[i].user_id,
               backup->recipients[i].fingerprint);
    if (backup->recipient_count == 0)
        printf("  CLEAR TEXT: whoever reads this file has the private keys in it\n");
    if (backup->removed > 0)
        printf("  %zu older backups removed\n", backup->removed);
    if (backup->database && !backup->manifest.is_proven)
        printf("note: %s\n", backup->unproven.message);
}

static int fail(const struct backup *backup, const struct kt_error *error)
{
    int code = kt_cli_fail(backup->run, error);

    return error->code == KT_ERR_BUSY && backup->output.fd < 0 ? KTB_EXIT_BUSY : code;
}

static void close_all(struct backup *backup)
{
    db_backup_close(backup->database);
    ktb_plan_free(&backup->plan);
    ktb_trust_close(&backup->trust);
    kt_gpg_free(backup->keyring);
    ktb_output_close(&backup->output);
    ktb_place_close(&backup->place);
}

static int run_backup(struct kt_cli_run *run)
{
    struct backup *backup = calloc(1, sizeof(*backup));
    struct kt_error error = {0};
    int code = KT_EXIT_OK, rc;

    if (!backup)
        return KT_EXIT_FAILURE;
    backup->run = run;
    backup->output.fd = -1;
    rc = take_options(backup, &error);
    if (rc == 0)
        rc = ktb_place_open(run, &backup->place, &error);
    if (rc == 0 && backup->place.state[0])
        rc = kt_backup_state_load(backup->place.state, &backup->state, &error);
    if (rc == 0 && !kt_cli_flag(run, "cleartext"))
        rc = kt_gpg_new_own(NULL, &backup->keyring, &error);
    if (rc == 0 && backup->keyring)
        rc = ktb_find_recipients(run, backup->keyring, backup->warn_days, backup->recipients,
                                 &backup->recipient_count, &error);
    if (rc == 0)
        rc = open_output(backup, &error);
    if (rc == KT_ERR_BUSY)
        ktb_output_close(&backup->output);
    if (rc == 0)
        rc = run_all(backup, &error);
    if (rc) {
        error.code = rc;
        if (rc != KT_ERR_USAGE && !(rc == KT_ERR_BUSY && backup->output.fd < 0))
            note_failed(backup, &error);
        code = fail(backup, &error);
    } else {
        note_made(backup);
        rc = roll(backup);
        print_end(backup);
        if (rc) {
            (void)kt_cli_fail(run, &backup->kept);
            code = KTB_EXIT_NOT_ROLLED;
        }
    }
    close_all(backup);
    free(backup);
    return code;
}

static const struct kt_cli_option OPTIONS[] = {
    {"gpg-recipient", 0, "KEY",
     "who may open it: name, e-mail address or fingerprint of a key in this account's keyring; "
     "repeatable"},
    {"output", 0, "DIR", "folder for it (a node: the one above the confdir)"},
    {"roll", 0, "N", "afterwards keep the last N of this node, the new one included"},
    {"keep-within", 0, "AGE", "and all that are not older than AGE (90d, 12h)"},
    {"include", 0, "DIR", "save this folder too; repeatable"},
    {"database-port", 0, "PORT", "port of PostgreSQL (that of the settings)"},
    {"plain-sql", 0, NULL, "one .sql file with all rows: slower, larger, for psql alone"},
    {"require-proof", 0, NULL, "fail unless a quorum proves the position"},
    {"warn-days", 0, "N", "warn when a recipient's key expires within N days (30)"},
    {"metrics", 0, "FILE",
     "write the metrics of backups there, for node_exporter's textfile collector"},
    {"cleartext", 0, NULL, "do not encrypt; wants --accept-cleartext-risk"},
    {"accept-cleartext-risk", 0, NULL, "the file may hold private keys that anybody can read"},
    {"verbose", 0, NULL, "say more about what is done"},
    {NULL},
};

const struct kt_cli_command ktb_cmd_backup = {
    .verb = "",
    .arguments = "",
    .summary = "make a backup",
    .help = "Writes two files, <name>.tar.gpg and <name>.manifest. They appear under these names "
            "only when they\nare complete, on disk, and encrypted to exactly the recipients that "
            "were named. Runs as the account\nthat owns the confdir; as root it becomes that "
            "account.",
    .options = OPTIONS,
    .run = run_backup,
};
