// SPDX-License-Identifier: Apache-2.0
// drill restore: whether a backup would save us, tried beside the running node.
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "db/trial.h"
#include "ktadmin/commands.h"
#include "ktadmin/receipts.h"
#include "lib/backup_state.h"
#include "lib/cluster_info.h"
#include "lib/file.h"

#define PASSPHRASE_MAX 1024
#define PROGRESS_US    500000
#define MIB            (1u << 20)

struct drill {
    const struct kt_cli_run *run;
    struct kt_backup_file file;
    int fd;
    struct kt_secret *passphrase;
    struct kt_backup_stream *stream;
    struct kta_node node;
    char state_path[KT_PATH_MAX];
    struct kt_backup_state state;
    struct kt_backup_trust trust;
    struct kta_receipt_files receipts;
    uint64_t live_index;
    int64_t begun_us, spent_us, shown_us;
};

// --- which backup ---

// The state file says where the newest is. It is read as who called: the private key's process is
// made before rights are given up.
static int find_latest(struct drill *drill, char out[KT_PATH_MAX], struct kt_error *error)
{
    struct kt_paths paths;
    struct kt_backup_state state;
    char path[KT_PATH_MAX];
    int rc = kt_paths_resolve(kt_cli_value(drill->run, "confdir"), &paths, error);

    if (rc == 0)
        rc = kt_backup_state_path(&paths, path);
    if (rc == 0)
        rc = kt_backup_state_load(path, &state, error);
    if (rc == 0 && state.made_us == 0)
        rc = kt_error_set(error, KT_ERR_NOT_FOUND, "make one: ktbackup --gpg-recipient=KEY",
                          "this node has made no backup yet");
    if (rc == 0)
        memcpy(out, state.path, sizeof(state.path));
    return rc;
}

static int open_backup(struct drill *drill, struct kt_error *error)
{
    const char *passphrase = kt_cli_value(drill->run, "passphrase-file");
    char path[KT_PATH_MAX];
    int rc = 0;

    if (drill->run->argc > 0 && kt_cli_flag(drill->run, "latest"))
        return kt_error_set(error, KT_ERR_USAGE, NULL, "give either FILE or --latest");
    if (drill->run->argc > 0)
        snprintf(path, sizeof(path), "%s", drill->run->argv[0]);
    else
        rc = find_latest(drill, path, error);
    if (rc == 0)
        rc = kt_backup_find(path, NULL, &drill->file, error);
    if (rc)
        return rc;
    drill->fd = open(drill->file.artefact, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (drill->fd < 0)
        return kt_error_errno(error, "cannot open '%s'", drill->file.artefact);
    if (passphrase)
        rc = kt_secret_from_file(passphrase, PASSPHRASE_MAX, 1, &drill->passphrase, error);
    return rc ? rc
              : kt_backup_stream_new(drill->fd, drill->file.manifest.is_cleartext,
                                     kt_cli_value(drill->run, "gnupg-home"), drill->passphrase,
                                     &drill->stream, error);
}

// --- the drill ---

static void progress(void *arg, uint64_t done, uint64_t total)
{
    struct drill *drill = arg;
    int64_t now = kt_monotonic_now();

    (void)total;
    if (!isatty(STDERR_FILENO) || kt_cli_flag(drill->run, "quiet") ||
        now - drill->shown_us < PROGRESS_US)
        return;
    drill->shown_us = now;
    fprintf(stderr, "\r\033[K%llu of %llu MiB ...", (unsigned long long)(done / MIB),
            (unsigned long long)(drill->file.manifest.bytes / MIB));
    fflush(stderr);
}

static int open_node(struct drill *drill, struct kt_error *error)
{
    struct kt_cluster_info info;
    int rc = kta_open(drill->run, KTA_FILES, &drill->node, error);

    if (rc == 0)
        rc = kt_backup_state_path(&drill->node.paths, drill->state_path);
    if (rc == 0)
        rc = kt_backup_state_load(drill->state_path, &drill->state, error);
    if (rc == 0)
        rc = kt_cluster_info_load(drill->node.paths.cluster, &info, error);
    if (rc == 0)
        rc = kt_gpg_new(drill->node.paths.gnupg, &drill->trust.gpg, error);
    if (rc)
        return rc;
    memcpy(drill->trust.signer, info.openpgp_fingerprint, sizeof(drill->trust.signer));
    rc = kt_backup_trust_older(&drill->node.paths, &info.cluster_id, &drill->trust, error);
    if (rc)
        return rc;
    if (memcmp(&info.cluster_id, &drill->file.manifest.cluster_id, sizeof(info.cluster_id)) != 0)
        return kt_error_set(error, KT_ERR_NOT_OURS, NULL, "the backup is of another cluster");
    return 0;
}

// Those that clients keep: the backup must hold what they prove, up to its end.
static int check_receipts(struct drill *drill, struct db_trial *trial, struct kt_error *error)
{
    struct db_receipts *database = NULL;
    int missing = 0, rc;

    if (drill->receipts.count == 0)
        return 0;
    rc = db_trial_receipts(trial, &database, error);
    if (rc == 0)
        rc = kta_receipts_check(drill->run, &drill->node.paths, database,
                                drill->file.manifest.log_index, &drill->receipts, &missing, error);
    db_receipts_close(database);
    if (rc == 0 && missing)
        rc = kt_error_set(error, KT_ERR_SIGNATURE, "keep the receipts, and every other backup",
                          "the backup does not hold what the receipts prove");
    return rc;
}

static int try_restore(struct drill *drill, struct kt_error *error)
{
    struct db_trial *trial = NULL;
    int rc = kt_backup_check_signature(&drill->file, &drill->trust, error);

    if (rc == 0)
        rc = kt_backup_check(drill->fd, &drill->file.manifest, NULL, NULL, error);
    if (rc == 0)
        rc = db_trial_run(drill->stream, &drill->file, drill->node.paths.base, progress, drill,
                          &trial, error);
    if (rc == 0)
        rc = db_trial_compare(trial, &drill->node.paths, drill->node.settings, &drill->live_index,
                              error);
    if (drill->shown_us)
        fputs("\r\033[K", stderr);
    if (rc == 0)
        rc = check_receipts(drill, trial, error);
    db_trial_free(trial);
    return rc;
}

static int note(struct drill *drill, int failed, struct kt_error *error)
{
    struct kt_backup_state *state = &drill->state;

    state->drilled_us = kt_time_now();
    snprintf(state->drilled, sizeof(state->drilled), "%s", drill->file.manifest.artefact);
    state->drill_passed = !failed;
    state->drill_log_index = failed ? 0 : drill->file.manifest.log_index;
    if (!failed)
        state->proven_us = state->drilled_us;
    return kt_backup_state_save(drill->state_path, state, error);
}

// Whether the backup is at fault: no key here, no room, no database say nothing about it.
static int is_verdict(int rc)
{
    return rc == KT_ERR_SIGNATURE || rc == KT_ERR_INVALID || rc == KT_ERR_TRUNCATED ||
           rc == KT_ERR_NOT_CIPHERTEXT;
}

static void print_end(const struct drill *drill)
{
    const struct kt_manifest *manifest = &drill->file.manifest;
    double seconds = (double)drill->spent_us / 1e6;
    char time[KT_TIME_TEXT];

    kt_time_format(manifest->time_us, time);
    if (kt_cli_flag(drill->run, "json")) {
        json_t *answer =
            json_pack("{s:s, s:s, s:I, s:I, s:I, s:f, s:b}", "backup", drill->file.artefact, "made",
                      time, "deposits", (json_int_t)kt_manifest_rows(manifest, "deposits"),
                      "log_index", (json_int_t)manifest->log_index, "live_log_index",
                      (json_int_t)drill->live_index, "seconds", seconds, "passed", 1);
        kta_print_json(answer);
        json_decref(answer);
        return;
    }
    printf("%s was restored in %.1f s, and is what the node has\n", drill->file.stem, seconds);
    if (kt_cli_flag(drill->run, "quiet"))
        return;
    printf("  made %s: %" PRIu64 " deposits, log index %" PRIu64 "\n", time,
           kt_manifest_rows(manifest, "deposits"), manifest->log_index);
    printf("  the node is at log index %" PRIu64 ": %" PRIu64 " deposits would be lost today\n",
           drill->live_index,
           drill->live_index > manifest->log_index ? drill->live_index - manifest->log_index : 0);
}

static int run_drill(struct kt_cli_run *run)
{
    struct drill *drill = calloc(1, sizeof(*drill));
    struct kt_error error = {0};
    int rc, tried = 0, code = KT_EXIT_OK;

    if (!drill)
        return KT_EXIT_FAILURE;
    signal(SIGPIPE, SIG_IGN);
    drill->run = run;
    drill->fd = -1;
    drill->begun_us = kt_monotonic_now();
    rc = kta_receipts_read_options(run, "receipts", &drill->receipts, &error);
    if (rc == 0)
        rc = open_backup(drill, &error);
    if (rc == 0)
        rc = open_node(drill, &error);
    if (rc == 0) {
        tried = 1;
        rc = try_restore(drill, &error);
    }
    drill->spent_us = kt_monotonic_now() - drill->begun_us;
    if (tried && (rc == 0 || is_verdict(rc))) {
        int noted = note(drill, rc, rc ? NULL : &error);
        rc = rc ? rc : noted;
    }
    if (rc)
        code = kt_cli_fail(run, &error);
    else
        print_end(drill);
    if (rc && is_verdict(rc))
        code = KT_EXIT_INTEGRITY;
    kta_receipts_free(&drill->receipts);
    kt_gpg_free(drill->trust.gpg);
    kt_backup_stream_free(drill->stream);
    kt_secret_free(drill->passphrase);
    kt_backup_file_free(&drill->file);
    kta_close(&drill->node);
    if (drill->fd >= 0)
        close(drill->fd);
    free(drill);
    return code;
}

static const struct kt_cli_option OPTIONS[] = {
    {"latest", 0, NULL, "the newest backup that this node has made (the default)"},
    {"receipts", 0, "FILE",
     "receipts of clients: the backup must hold what they prove; repeatable"},
    {"gnupg-home", 0, "DIR", "keyring with the private key (GnuPG's default)"},
    {"passphrase-file", 0, "FILE", "the private key's passphrase; - is standard input"},
    {NULL},
};

const struct kt_cli_command kta_cmd_drill_restore = {
    .verb = "drill restore",
    .arguments = "[FILE]",
    .summary = "restore a backup beside the running node, compare, and note the result",
    .help = "Needs the private key that opens the backup, and room for a second database. The "
            "result is shown by\n'ktadmin status' and in the metrics as the last proven restore. "
            "Exit code 7: the backup does not\nrestore, or is not what the node has.",
    .options = OPTIONS,
    .max_args = 1,
    .run = run_drill,
};
