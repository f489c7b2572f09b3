// SPDX-License-Identifier: Apache-2.0
// restore FILE: from the file to a node that runs.
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ktadmin/receipts.h"
#include "ktadmin/restore.h"
#include "ktadmin/start.h"
#include "lib/backup_state.h"
#include "lib/file.h"

#define START_S        120
#define STOP_S         120
#define PASSPHRASE_MAX 1024
#define KEY_MAX        ((size_t)48 << 10)

void kta_restore_say(const struct kta_restore *restore, const char *fmt, ...)
{
    va_list list;

    if (kt_cli_flag(restore->init.run, "quiet"))
        return;
    va_start(list, fmt);
    fputs("  ", stderr);
    vfprintf(stderr, fmt, list);
    va_end(list);
    fputc('\n', stderr);
}

// --- opening, as who called ---

// The tar that comes decrypted on standard input has its manifest beside it on the command line.
static int open_stdin(struct kta_restore *restore, struct kt_error *error)
{
    const char *manifest = kt_cli_value(restore->init.run, "manifest");
    char *suffix;
    int rc;

    if (!manifest)
        return kt_error_set(error, KT_ERR_USAGE, "gpg -d FILE | ktadmin restore - --manifest FILE",
                            "a backup on standard input needs its manifest: --manifest FILE");
    rc = kt_backup_read_manifest(manifest, NULL, &restore->file, error);
    if (rc)
        return rc;
    snprintf(restore->file.stem, sizeof(restore->file.stem), "%.*s", KT_BACKUP_STEM - 1,
             restore->file.manifest.artefact);
    suffix = strstr(restore->file.stem, KT_BACKUP_CLEARTEXT);
    if (suffix)
        *suffix = '\0';
    restore->fd = STDIN_FILENO;
    return 0;
}

static int open_file(struct kta_restore *restore, const char *path, struct kt_error *error)
{
    int rc = kt_backup_find(path, NULL, &restore->file, error);

    if (rc)
        return rc;
    restore->fd = open(restore->file.artefact, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    return restore->fd >= 0 ? 0 : kt_error_errno(error, "cannot open '%s'", restore->file.artefact);
}

static int open_backup(struct kta_restore *restore, struct kt_error *error)
{
    const struct kt_cli_run *run = restore->init.run;
    const char *passphrase = kt_cli_value(run, "passphrase-file");
    int is_stdin = strcmp(run->argv[0], "-") == 0,
        rc = is_stdin ? open_stdin(restore, error) : open_file(restore, run->argv[0], error);

    if (rc == 0 && restore->file.manifest.kind != KT_BACKUP_SERVER)
        rc =
            kt_error_set(error, KT_ERR_USAGE, "unpack it into its place: gpg -d FILE | tar -x -C /",
                         "this is the backup of a client, not of a node");
    if (rc == 0 && kt_cli_value(run, "key"))
        rc = kt_file_read(kt_cli_value(run, "key"), &restore->key, error);
    if (rc == 0 && passphrase)
        rc = kt_secret_from_file(passphrase, PASSPHRASE_MAX, 1, &restore->passphrase, error);
    if (rc)
        return rc;
    // From here on a process of its own has the private key; this one will be the service account.
    return kt_backup_stream_new(restore->fd, is_stdin || restore->file.manifest.is_cleartext,
                                kt_cli_value(run, "gnupg-home"), restore->passphrase,
                                &restore->stream, error);
}

static int check_artefact(struct kta_restore *restore, struct kt_error *error)
{
    int rc;

    if (restore->fd == STDIN_FILENO)
        return 0;
    rc = kt_backup_check(restore->fd, &restore->file.manifest, NULL, NULL, error);
    if (rc == 0)
        kta_restore_say(restore, "the backup's length, hash and recipients");
    return rc;
}

// --- the parts ---

// What cannot be taken back comes when nothing of the backup can be wrong any more: first that the
// old nodes give up their history, then the commit.
static int commit(struct kta_restore *restore, struct kt_error *error)
{
    const struct kt_manifest *manifest = &restore->file.manifest;
    char note[KT_BACKUP_STEM + 32];
    struct db_restored rows;
    struct kt_peer self;
    struct db_line line = {.statement = NULL};
    char *statement = NULL;
    int rc;

    snprintf(note, sizeof(note), "restored from %s", restore->file.stem);
    rc = db_load_check(restore->load, error);
    if (rc == 0)
        rc = db_load_facts(restore->load, &restore->facts, error);
    if (rc == 0)
        rc = db_facts_match(&restore->facts, manifest, error);
    if (rc == 0)
        rc = kta_restore_key_choose(restore, error);
    if (rc == 0)
        rc = db_load_line(restore->load, &line, error);
    if (rc == 0)
        rc = kta_restore_rows(restore, &manifest->incarnation, manifest->epoch, &line, note, &rows,
                              &self, &statement, error);
    if (rc == 0)
        rc = kta_restore_look_again(restore, error);
    if (rc == 0)
        rc = kta_restore_seal(restore, error);
    if (rc == 0)
        rc = db_load_finish(restore->load, &rows, error);
    if (rc == 0)
        rc = kta_restore_key_use(restore, error);
    free(line.statement);
    free(statement);
    return rc;
}

static int load(struct kta_restore *restore, struct kt_error *error)
{
    int ignored, rc = check_artefact(restore, error);

    if (rc == 0 && !restore->is_dry)
        rc = kta_init_folders(&restore->init, &ignored, error);
    if (rc == 0)
        rc = kta_restore_take(restore, error);
    if (rc == 0 && !restore->is_dry)
        rc = commit(restore, error);
    db_load_free(restore->load);
    restore->load = NULL;
    return rc;
}

// A run that was killed behind the commit only lacks the end. With the promise it was at its end: the
// node may have lived on since, and only the note is to go.
static int resume(struct kta_restore *restore, struct kt_error *error)
{
    struct kta_init *init = &restore->init;
    const struct kt_incarnation none = {0};
    struct kt_promise promise;
    int rc = kta_restore_note(restore, &none, 0, error);

    if (rc)
        return rc;
    if (kt_promise_load(init->paths.promise, &promise, NULL) == 0) {
        if (strcmp(promise.member, init->promise.member) != 0)
            return kt_error_set(error, KT_ERR_NOT_OURS, "choose another place with --confdir",
                                "'%s' is of another member than the restore that was begun",
                                init->paths.promise);
        restore->is_done = 1;
        return kta_restore_note_remove(restore, error);
    }
    if (!db_cluster_is_populated(init->cluster))
        return 0;
    restore->is_loaded = 1;
    return kt_cluster_info_load(init->paths.cluster, &init->info, error);
}

static int restore_all(struct kta_restore *restore, struct kt_error *error)
{
    int rc = kta_init_prepare(&restore->init, error);

    if (rc == 0 && kta_restore_is_begun(&restore->init.paths) && !restore->is_dry)
        rc = resume(restore, error);
    if (rc == 0 && !restore->is_loaded && !restore->is_done)
        rc = load(restore, error);
    if (rc || restore->is_dry || restore->is_done)
        return rc;
    kta_restore_say(restore, "%" PRIu64 " deposits, log index %" PRIu64,
                    kt_manifest_rows(&restore->file.manifest, "deposits"),
                    restore->file.manifest.log_index);
    return 0;
}

// --- the end ---

static void print_dry(const struct kta_restore *restore)
{
    const struct kt_manifest *manifest = &restore->file.manifest;
    char id[KT_UUID_TEXT], time[KT_TIME_TEXT];

    kt_uuid_format(&manifest->cluster_id, id);
    kt_time_format(manifest->time_us, time);
    printf("cluster      %s\nnode         %s (confdir %s)\nmade         %s\n"
           "would be     incarnation %u, epoch %" PRIu64 "\n"
           "content      %" PRIu64 " deposits, log index %" PRIu64 ", position %s\n"
           "keys         %zu files\n",
           id, restore->about.node, restore->about.confdir, time,
           (unsigned)manifest->incarnation.number + 1, manifest->epoch + 1,
           kt_manifest_rows(manifest, "deposits"), manifest->log_index,
           manifest->is_proven ? "proven" : "unproven", restore->shared_count);
    printf("Signature and every member of the backup are right; %zu nodes of the cluster answer.\n"
           "Nothing was written. Not tried: loading it (ktbackup verify --restore does).\n",
           restore->answered);
}

static void print_json(const struct kta_restore *restore)
{
    const struct kta_init *init = &restore->init;
    char id[KT_UUID_TEXT], incarnation[KT_INCARNATION_TEXT];
    json_t *answer;

    kt_uuid_format(&restore->file.manifest.cluster_id, id);
    kt_incarnation_format(&restore->incarnation, incarnation);
    answer = json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:b}", "cluster_id", id, "node",
                       restore->is_dry ? restore->about.node : init->info.node, "member",
                       init->promise.member, "incarnation", incarnation, "epoch",
                       (json_int_t)restore->epoch, "log_index",
                       (json_int_t)restore->file.manifest.log_index, "deposits",
                       (json_int_t)kt_manifest_rows(&restore->file.manifest, "deposits"), "sealed",
                       (json_int_t)restore->sealed, "dry_run", restore->is_dry);
    kta_print_json(answer);
    json_decref(answer);
}

static void print_end(const struct kta_restore *restore)
{
    const struct kta_init *init = &restore->init;
    const char *option = kt_cli_value(init->run, "confdir") ? " -c " : "",
               *dir = option[0] ? init->paths.confdir : "";

    printf("%s holds the cluster again, in incarnation %u, epoch %" PRIu64 "\n", init->info.node,
           (unsigned)restore->incarnation.number, restore->epoch);
    if (kt_cli_flag(init->run, "quiet"))
        return;
    printf(
        "Revocations, grants, deletions and used auth codes are those of the backup too: what was\n"
        "revoked or deleted since then is to be so again.\n");
    printf("What was acknowledged after log index %" PRIu64 " is not in it: ask the clients for "
           "their receipts,\n  ktadmin%s%s receipts check FILE...\n",
           restore->file.manifest.log_index, option, dir);
    printf("This node stands alone: what it acknowledges is on one disk, until other nodes join:\n"
           "  ktadmin%s%s token new\n",
           option, dir);
    if (!kt_cli_flag(init->run, "start"))
        printf("next:\n"
               "  start the server            kts%s%s (or systemctl start keytrusteed)\n"
               "  start its database          ktadmin%s%s db --start --background\n",
               option, dir, option, dir);
    printf("No decrypted copy of the backup was left. The backup itself is where it was: it holds "
           "keys;\nkeep or delete '%s'.\n",
           restore->fd == STDIN_FILENO ? restore->file.manifest_path : restore->file.artefact);
    if (restore->others > 0)
        printf("note: %" PRIu64 " files of other folders (--include) were not restored: gpg -d | "
               "tar -x\n",
               restore->others);
}

static int check_receipts(struct kta_restore *restore, struct kta_receipt_files *receipts,
                          int *missing, struct kt_error *error)
{
    struct db_receipts *database = NULL;
    int rc;

    if (receipts->count == 0)
        return 0;
    rc = db_cluster_start(restore->init.cluster, START_S, error);
    if (rc == 0)
        rc = db_receipts_open(&restore->init.paths, restore->init.settings, &database, error);
    if (rc == 0)
        rc = kta_receipts_check(restore->init.run, &restore->init.paths, database, UINT64_MAX,
                                receipts, missing, error);
    db_receipts_close(database);
    return rc;
}

void kta_restore_free(struct kta_restore *restore)
{
    kt_backup_stream_free(restore->stream);
    kt_secret_free(restore->passphrase);
    kt_backup_file_free(&restore->file);
    kta_restore_forget(restore);
    kt_buf_free(&restore->key);
    free(restore->key_rows);
    if (restore->nodes)
        kta_nodes_close(restore->nodes);
    free(restore->nodes);
    if (restore->fd > STDIN_FILENO)
        close(restore->fd);
    kta_init_unlock(&restore->init);
    db_cluster_close(restore->init.cluster);
    kt_settings_free(restore->init.settings);
    free(restore);
}

// Backups of the restored node follow the one it was restored from, also in an empty folder.
static int seed_backups(const struct kta_restore *restore, struct kt_error *error)
{
    const struct kt_backup_file *file = &restore->file;
    struct kt_backup_state state = {.sequence = file->manifest.sequence};
    char path[KT_PATH_MAX];
    int rc;

    if (strcmp(file->manifest.owner, restore->init.info.node) != 0)
        return 0;
    memcpy(state.manifest_sha256, file->manifest_sha256, sizeof(state.manifest_sha256));
    rc = kt_backup_state_path(&restore->init.paths, path);
    return rc ? kt_error_set(error, rc, "choose a shorter confdir", "a path is too long")
              : kt_backup_state_save(path, &state, error);
}

// PostgreSQL was started for the load. The promise comes last: with it the node is one, and there is
// nothing left that a repeated run would have to do.
static int end_restore(struct kta_restore *restore, int failed, struct kt_error *error)
{
    struct kta_init *init = &restore->init;
    int rc = 0;

    if (restore->is_dry || restore->is_done)
        return 0;
    if (restore->is_begun || restore->is_loaded)
        rc = db_cluster_stop(init->cluster, STOP_S, failed ? NULL : error);
    if (failed || rc)
        return rc;
    rc = seed_backups(restore, error);
    if (rc == 0)
        rc = kta_restore_finish(restore, error);
    if (rc == 0 && kt_cli_flag(init->run, "start"))
        rc = kta_start_node(&init->paths, init->cluster, error);
    return rc;
}

int kta_restore_file(struct kt_cli_run *run)
{
    struct kta_restore *restore = calloc(1, sizeof(*restore));
    struct kta_receipt_files receipts = {0};
    struct kt_error error = {0};
    int rc, missing = 0, settled;

    if (!restore)
        return KT_EXIT_FAILURE;
    signal(SIGPIPE, SIG_IGN);
    restore->fd = -1;
    restore->key = (struct kt_buf)KT_BUF_INIT(KEY_MAX);
    restore->init.run = run;
    restore->init.lock_fd = -1;
    restore->init.note = KTA_RESTORE_NOTE;
    restore->is_dry = kt_cli_flag(run, "dry-run");
    restore->accepts_loss = kt_cli_flag(run, "accept-loss");
    rc = kta_receipts_read_options(run, "receipts", &receipts, &error);
    if (rc == 0)
        rc = open_backup(restore, &error);
    if (rc == 0)
        rc = restore_all(restore, &error);
    if (rc == 0 && !restore->is_dry && !restore->is_done)
        rc = check_receipts(restore, &receipts, &missing, &error);
    settled = end_restore(restore, rc, &error);
    rc = rc ? rc : settled;
    if (rc == 0 && restore->is_done)
        printf("the restore had come to its end already\n");
    else if (rc == 0 && kt_cli_flag(run, "json"))
        print_json(restore);
    else if (rc == 0 && restore->is_dry)
        print_dry(restore);
    else if (rc == 0)
        print_end(restore);
    kta_receipts_free(&receipts);
    kta_restore_free(restore);
    if (rc) {
        error.code = rc;
        return kt_cli_fail(run, &error);
    }
    return missing ? KT_EXIT_INTEGRITY : KT_EXIT_OK;
}
