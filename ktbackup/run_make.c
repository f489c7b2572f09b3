// SPDX-License-Identifier: Apache-2.0
// Making a backup: what is proven, the snapshot, the artefact, its manifest, their names.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ktbackup/run.h"
#include "lib/file.h"
#include "lib/version.h"

// --- what it is and stands on ---

static void prove_position(struct ktb_run *backup)
{
    if (backup->place.kind != KT_BACKUP_SERVER)
        return;
    backup->is_proven =
        ktb_position_prove(&backup->place, &backup->position, &backup->unproven) == 0;
    ktb_say(backup,
            backup->is_proven ? "position: proven by a barrier in epoch %" PRIu64
                              : "position: unproven",
            backup->position.epoch);
}

static int open_database(struct ktb_run *backup, struct kt_error *error)
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

static int make_plan(struct ktb_run *backup, struct kt_error *error)
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

static void take_database(struct kt_manifest *manifest, const struct ktb_run *backup)
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
static void chain(struct ktb_run *backup, const struct ktb_catalog *catalog)
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
}

static int begin_manifest(struct ktb_run *backup, struct kt_error *error)
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

static int sign(struct ktb_run *backup, struct kt_buf *out, struct kt_error *error)
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
    if (rc == KT_ERR_NOT_FOUND) // it was there when the confdir was opened
        rc = kt_error_set(error, KT_ERR_CRYPTO, "gpg --homedir with that folder and -K shows why",
                          "cannot sign the manifest: gpg finds no secret key %s in '%s'",
                          backup->place.signer, backup->place.gnupg);
    if (rc == 0)
        rc = kt_sha256(kt_buf_ptr(out), kt_buf_left(out), backup->state.manifest_sha256);
    kt_buf_free(&text);
    return rc;
}

// What was packed names the key that signs; replaced meanwhile, they would not be of one cluster.
static int check_key(const struct ktb_run *backup, struct kt_error *error)
{
    struct kt_cluster_info now;
    const char *listed = "";
    int rc;

    if (backup->place.kind != KT_BACKUP_SERVER)
        return 0;
    rc = kt_cluster_info_load(backup->place.paths.cluster, &now, error);
    if (rc == 0 && backup->database)
        listed = db_backup_facts(backup->database)->cluster_key;
    // Restored, it would sign by a key that the restored database says is replaced.
    if (rc == 0 && listed[0] && strcmp(now.openpgp_fingerprint, listed) != 0)
        rc = kt_error_set(
            error, KT_ERR_BUSY,
            "run ktadmin rotate --cluster-key on the active to its end, then this again",
            "the database lists the cluster's OpenPGP key %.40s, which this node does "
            "not use yet",
            listed);
    if (rc == 0 && strcmp(now.openpgp_fingerprint, backup->place.signer) != 0)
        rc = kt_error_set(error, KT_ERR_BUSY, "run it again",
                          "the cluster's OpenPGP key was replaced while the backup was made");
    return rc;
}

static int make(struct ktb_run *backup, struct kt_error *error)
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
        rc = check_key(backup, error);
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

int ktb_run_make(struct ktb_run *backup, struct kt_error *error)
{
    int rc = ktb_trust_open(backup->run, &backup->place, &backup->trust, error);

    if (rc == 0 && backup->trust.trust.gpg)
        rc = ktb_place_export(&backup->place, backup->trust.trust.gpg, error);
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
