// SPDX-License-Identifier: Apache-2.0
// ktbackup without a verb: makes a backup. In this order: who may open it, where it goes, the backup
// itself; only then old ones go.
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "ktbackup/commands.h"
#include "ktbackup/run.h"

#define WARN_DAYS 30

void ktb_say(const struct ktb_run *backup, const char *fmt, ...)
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

static int take_options(struct ktb_run *backup, struct kt_error *error)
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

static int open_output(struct ktb_run *backup, struct kt_error *error)
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

static int fail(const struct ktb_run *backup, const struct kt_error *error)
{
    int code = kt_cli_fail(backup->run, error);

    return error->code == KT_ERR_BUSY && backup->output.fd < 0 ? KTB_EXIT_BUSY : code;
}

static void close_all(struct ktb_run *backup)
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
    struct ktb_run *backup = calloc(1, sizeof(*backup));
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
        rc = ktb_run_make(backup, &error);
    if (rc) {
        error.code = rc;
        if (rc != KT_ERR_USAGE && !(rc == KT_ERR_BUSY && backup->output.fd < 0))
            ktb_run_note_failed(backup, &error);
        code = fail(backup, &error);
    } else {
        ktb_run_note_made(backup);
        rc = ktb_run_roll(backup);
        ktb_run_print(backup);
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
    {"plain-sql", 0, NULL,
     "one .sql with all rows: slower, larger, for psql alone and not for ktadmin restore"},
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
