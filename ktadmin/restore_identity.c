// SPDX-License-Identifier: Apache-2.0
// A new member with the cluster's old keys: settings, names, certificates, an empty database; and at
// the end its promise.
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "db/replication.h"
#include "ktadmin/restore.h"
#include "lib/file.h"
#include "lib/gpg.h"
#include "lib/json.h"
#include "lib/pki.h"
#include "lib/statement.h"

#define START_S     120
#define CLUSTER_MAX 4096

int kta_memory_file(const void *bytes, size_t n, char path[64], struct kt_error *error)
{
    int fd = memfd_create("restore", MFD_CLOEXEC);

    if (fd < 0 || fchmod(fd, 0600) != 0 || kt_write_all(fd, bytes, n) != 0)
        return kt_error_errno(error, "cannot hold a file in memory");
    snprintf(path, 64, "/proc/self/fd/%d", fd);
    return 0;
}

// --- settings ---

// What belongs to a machine and not to a node: where PostgreSQL's programs and logs are is never taken
// from a backup; a data directory of its own only where the confdir is where it was: beside the old one
// it would be the old one's.
static int is_left_out(const struct kta_restore *restore, enum kt_setting setting)
{
    if (setting == KT_SET_DATABASE_DIRECTORY)
        return strcmp(restore->about.confdir, restore->init.paths.confdir) != 0;
    return setting == KT_SET_DATABASE_BIN_DIRECTORY || setting == KT_SET_LOG_FILE;
}

// The node's own of before, and over them the options.
static int take_settings(struct kta_restore *restore, struct kt_error *error)
{
    const struct kta_kept *kept = &restore->kept[KTA_KEPT_SETTINGS];
    struct kt_settings *old = NULL, *given = restore->init.settings;
    char path[64];
    int rc;

    if (kt_file_exists(restore->init.paths.settings) || !kept->text) // of a run before, or none
        return 0;
    rc = kta_memory_file(kept->text, kept->n, path, error);
    if (rc == 0)
        rc = kt_settings_load(path, &old, error);
    for (int i = 0; i < KT_SET_COUNT && rc == 0; i++) {
        enum kt_setting setting = (enum kt_setting)i;
        if (kt_settings_is_set(old, setting) && !kt_settings_is_set(given, setting) &&
            !is_left_out(restore, setting))
            rc = kt_settings_set(given, setting, kt_settings_text(old, setting), error);
    }
    kt_settings_free(old);
    return rc;
}

// --- names ---

static int read_cluster(struct kta_restore *restore, struct kt_cluster_info *info,
                        struct kt_error *error)
{
    const struct kta_kept *kept = &restore->kept[KTA_KEPT_CLUSTER];
    char path[64];
    int rc;

    if (!kept->text || kept->n > CLUSTER_MAX)
        return kt_error_set(error, KT_ERR_INVALID, "use another backup",
                            "the backup does not say of which cluster it is");
    rc = kta_memory_file(kept->text, kept->n, path, error);
    if (rc == 0)
        rc = kt_cluster_info_load(path, info, error);
    if (rc == 0 && memcmp(&info->cluster_id, &restore->file.manifest.cluster_id,
                          sizeof(info->cluster_id)) != 0)
        rc = kt_error_set(error, KT_ERR_SIGNATURE, "use another backup",
                          "the manifest is of another cluster than the backup");
    return rc;
}

// Who it will be.
static int take_names(struct kta_restore *restore, struct kt_error *error)
{
    struct kta_init *init = &restore->init;
    int rc;

    if (kt_cli_value(init->run, "node"))
        memcpy(init->info.node, init->node, sizeof(init->node));
    rc = kta_restore_note(restore, &restore->file.manifest.incarnation,
                          restore->file.manifest.epoch, error);
    if (rc == 0)
        kta_restore_say(restore, "%s becomes %s, in incarnation %u", init->info.node,
                        init->promise.member, (unsigned)restore->incarnation.number);
    return rc;
}

// The key of --key must be the cluster's, or one that leads to it.
static int check_given(const struct kta_restore *restore, struct kt_error *error)
{
    const char *of_cluster = restore->init.info.openpgp_fingerprint;
    char given[KT_OPENPGP_FINGERPRINT_TEXT] = "";
    struct kt_gpg *gpg = NULL;
    int rc = kt_gpg_new_temporary(kt_buf_ptr(&restore->key), kt_buf_left(&restore->key), &gpg,
                                  given, error);

    kt_gpg_free_temporary(gpg);
    if (rc || strcmp(given, of_cluster) == 0)
        return rc;
    rc = kta_restore_key_leads(restore, given, error);
    if (rc == 0)
        kta_restore_say(restore, "the key %s, which leads to the cluster's", given);
    return rc;
}

// The key that came must be the cluster's and have signed the manifest: then artefact, manifest and
// content belong together.
static int check_signature(struct kta_restore *restore, struct kt_error *error)
{
    const char *of_cluster = restore->init.info.openpgp_fingerprint;
    struct kt_backup_trust trust = {0};
    int rc = kt_buf_left(&restore->key) > 0 ? check_given(restore, error) : 0;

    if (rc)
        return rc;
    rc = kt_gpg_new_temporary(restore->about.key, strlen(restore->about.key), &trust.gpg,
                              trust.signer, error);
    if (rc == 0 && strcmp(trust.signer, of_cluster) != 0)
        rc = kt_error_set(error, KT_ERR_SIGNATURE, "use another backup",
                          "the backup is of the cluster with key %s, not %s", of_cluster,
                          trust.signer);
    if (rc == 0)
        rc = kt_backup_check_signature(&restore->file, &trust, error);
    if (rc == 0 && restore->file.signature != KT_SIGNATURE_GOOD)
        rc = kt_error_set(error, KT_ERR_SIGNATURE, "use another backup",
                          "the manifest is not signed");
    kt_gpg_free_temporary(trust.gpg);
    return rc;
}

// --- the steps ---

static int make_database(struct kta_init *init, int *done, struct kt_error *error)
{
    int rc = kta_init_initdb(init, done, error);

    if (rc == 0)
        rc = kta_init_configure(init, done, error);
    return rc ? rc : db_cluster_start(init->cluster, START_S, error);
}

static const struct {
    const char *text;
    int (*run)(struct kta_init *init, int *done, struct kt_error *error);
} STEPS[] = {
    {"settings file", kta_init_settings},
    {"the cluster's CA", kta_init_ca},
    {"receipt key", kta_init_receipt},
    {"the cluster's OpenPGP key", kta_init_openpgp},
    {"identity file", kta_init_cluster_info},
    {"server certificate", kta_init_server},
    {"node certificate", kta_init_node},
    {"node's files", kta_init_node_files},
    {"secrets of the database roles", kta_init_secrets},
    {"an empty database", make_database},
};

// With the settings that the backup brought.
static int open_cluster(struct kta_init *init, struct kt_error *error)
{
    int exists = 0, rc;

    db_cluster_close(init->cluster);
    init->cluster = NULL;
    rc = db_cluster_open(&init->paths, init->settings, &init->cluster, error);
    return rc ? rc : db_cluster_look(init->cluster, &exists, error);
}

// Until all of this is right nothing of the backup is written.
static int check_all(struct kta_restore *restore, struct kt_error *error)
{
    int rc;

    if (restore->about.is_plain_sql)
        return kt_error_set(error, KT_ERR_USAGE,
                            "take a backup that was made without it; or restore into the node that "
                            "is there with psql, then ktadmin restore --adopt",
                            "a backup that was made with --plain-sql is for psql");
    rc = take_settings(restore, error);

    if (rc == 0)
        rc = read_cluster(restore, &restore->init.info, error);
    if (rc == 0)
        rc = check_signature(restore, error);
    if (rc == 0)
        kta_restore_say(restore, "the cluster's signature, by %s",
                        restore->init.info.openpgp_fingerprint);
    return rc ? rc : kta_restore_look(restore, &restore->about.peers, error);
}

int kta_restore_identity(struct kta_restore *restore, struct kt_error *error)
{
    struct kta_init *init = &restore->init;
    int rc = check_all(restore, error);

    if (rc || restore->is_dry)
        return rc;
    rc = take_names(restore, error);
    if (rc == 0)
        rc = kta_restore_write_shared(restore, error);
    if (rc == 0)
        kta_restore_say(restore, "%zu files of keys", restore->shared_count);
    if (rc == 0)
        rc = open_cluster(init, error);
    for (size_t i = 0; i < sizeof(STEPS) / sizeof(STEPS[0]) && rc == 0; i++) {
        int done = 0;
        restore->is_begun |= STEPS[i].run == make_database;
        rc = STEPS[i].run(init, &done, error);
        if (rc == 0)
            kta_restore_say(restore, "%s%s", STEPS[i].text, done ? " (already there)" : "");
    }
    if (rc == 0)
        rc = db_load_cluster(init->cluster, restore->file.manifest.schema, &restore->load, error);
    return rc;
}

int kta_restore_finish(struct kta_restore *restore, struct kt_error *error)
{
    struct kta_init *init = &restore->init;
    int rc = kt_promise_save(init->paths.promise, &init->promise, error);

    return rc ? rc : kta_restore_note_remove(restore, error);
}

// --- what the database is to say ---

static int sign(struct kta_restore *restore, const struct kt_statement *statement, char **text,
                struct kt_error *error)
{
    struct kt_buf out = KT_BUF_INIT(KT_STATEMENT_MAX);
    int rc = kt_statement_sign(restore->init.paths.gnupg, restore->init.info.openpgp_fingerprint,
                               statement, &out, error);

    if (rc == 0) {
        *text = strndup((const char *)kt_buf_ptr(&out), kt_buf_left(&out));
        if (!*text)
            rc = kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    }
    kt_buf_free(&out);
    return rc;
}

// By a key that the cluster has, or had.
static int verify_before(const struct kta_restore *restore, const char *before,
                         struct kt_statement *statement, struct kt_error *error)
{
    char signer[KT_OPENPGP_FINGERPRINT_TEXT];
    int rc = kt_statement_verify_any(before, strlen(before), signer, statement, error);

    if (rc || strcmp(signer, restore->init.info.openpgp_fingerprint) == 0)
        return rc;
    return kta_restore_had_key(restore, signer, error);
}

// Ties the statement to the one before it. One that is seen not to be the cluster's is no link: then the
// new one begins a chain, and clients that know a place before it say so. One that could not be looked
// at may be a link, and a chain must not break for want of memory or of room in TMPDIR.
static int follow(struct kta_restore *restore, const char *before, struct kt_statement *statement,
                  struct kt_error *error)
{
    struct kt_statement parsed;
    struct kt_error why = {0};
    int rc;

    statement->number = 1;
    if (!before)
        return 0;
    rc = verify_before(restore, before, &parsed, &why);
    if (rc && rc != KT_ERR_SIGNATURE && rc != KT_ERR_PROTOCOL)
        return kt_error_set(error, rc, why.hint[0] ? why.hint : "mend that, then run it again",
                            "the statement of the incarnation before cannot be checked: %.300s",
                            why.message);
    if (rc || parsed.number == UINT32_MAX) {
        kta_restore_say(restore, "the statement of the incarnation before is left out: %s",
                        why.message[0] ? why.message : "it has no usable number");
        return 0;
    }
    statement->number = parsed.number + 1;
    return kt_sha256(before, strlen(before), statement->before) == 0
               ? 0
               : kt_error_set(error, KT_ERR_CRYPTO, NULL, "cannot hash a statement");
}

int kta_restore_rows(struct kta_restore *restore, const struct kt_incarnation *previous,
                     uint64_t previous_epoch, const struct db_line *line, const char *note,
                     struct db_restored *rows, struct kt_peer *self, char **statement,
                     struct kt_error *error)
{
    struct kt_statement what = {.cluster_id = restore->init.info.cluster_id,
                                .incarnation = restore->incarnation,
                                .epoch = restore->epoch,
                                .previous = *previous,
                                .previous_epoch = previous_epoch,
                                .log_index = line->log_index,
                                .time_us = kt_time_now()};
    const struct kt_peer *own;
    struct kt_peers peers;
    X509 *cert = NULL;
    int64_t from;
    int rc = kt_peers_load(restore->init.paths.peers, &peers, error);

    if (rc)
        return rc;
    own = kt_peers_by_member(&peers, restore->init.promise.member);
    if (!own)
        return kt_error_set(error, KT_ERR_NOT_OURS, "remove the file and repeat the restore",
                            "'%s' does not name this node", restore->init.paths.peers);
    *self = *own;
    *rows = (struct db_restored){
        .incarnation = restore->incarnation, .epoch = restore->epoch, .self = self, .note = note};
    rc = kt_pki_cert_load(restore->init.paths.node_cert, &cert, error);
    if (rc == 0)
        rc = kt_pki_cert_validity(cert, &from, &rows->cert_not_after_us);
    X509_free(cert);
    memcpy(what.root, line->root, sizeof(what.root));
    if (rc == 0)
        rc = follow(restore, line->statement, &what, error);
    if (rc == 0)
        rc = sign(restore, &what, statement, error);
    rows->statement = *statement;
    rows->key_rows = restore->key_rows;
    return rc;
}
