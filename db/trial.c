// SPDX-License-Identifier: Apache-2.0
// The trial restore, and what it is compared with: the manifest, and the log that is alive.
#include "db/trial.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libpq-fe.h>

#include "db/cluster_inner.h"
#include "db/load_inner.h"

#define CONNECT_MS 10000
// Deposits that are compared by one hash: to name the place, and to bound memory.
#define BLOCK "65536"

struct db_trial {
    const struct kt_backup_file *file;
    const char *above;
    struct db_scratch *scratch;
    struct db_load *load;
    struct db_backup_facts facts;
    int is_table; // the member being read
    kt_backup_progress progress;
    void *progress_arg;
};

// --- taking the members in ---

static int begin(void *arg, const struct kt_backup_about *about,
                 const struct kt_backup_member *member, struct kt_error *error)
{
    struct db_trial *trial = arg;
    int rc = 0;

    (void)about;
    trial->is_table = member->part == KT_PART_TABLE;
    if (!trial->is_table)
        return 0;
    if (!trial->load) {
        rc = db_scratch_new(trial->above, NULL, &trial->scratch, error);
        if (rc == 0)
            rc = db_load_scratch(trial->scratch, trial->file->manifest.schema, &trial->load, error);
    }
    return rc ? rc : db_load_begin(trial->load, member->path, error);
}

static int data(void *arg, const void *bytes, size_t n, struct kt_error *error)
{
    struct db_trial *trial = arg;

    return trial->is_table ? db_load_put(trial->load, bytes, n, error) : 0;
}

static int end(void *arg, struct kt_error *error)
{
    struct db_trial *trial = arg;
    uint64_t rows = 0;

    return trial->is_table ? db_load_end(trial->load, &rows, error) : 0;
}

static void pass_progress(void *arg, uint64_t done, uint64_t total)
{
    const struct db_trial *trial = arg;

    if (trial->progress)
        trial->progress(trial->progress_arg, done, total);
}

int db_trial_run(struct kt_backup_stream *stream, const struct kt_backup_file *file,
                 const char *above, kt_backup_progress progress, void *arg, struct db_trial **trial,
                 struct kt_error *error)
{
    struct db_trial *fresh = calloc(1, sizeof(*fresh));
    const struct kt_backup_visitor visitor = {
        .begin = begin, .data = data, .end = end, .progress = pass_progress, .arg = fresh};
    int rc = 0;

    if (!fresh)
        return kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    *fresh =
        (struct db_trial){.file = file, .above = above, .progress = progress, .progress_arg = arg};
    if (file->manifest.kind != KT_BACKUP_SERVER)
        rc = kt_error_set(error, KT_ERR_USAGE, "give the backup of a node",
                          "a client's backup has no database to restore");
    if (rc == 0)
        rc = kt_backup_read(stream, file, &visitor, error);
    if (rc == 0 && !fresh->load)
        rc = kt_error_set(error, KT_ERR_USAGE, "restore it with psql -f into a scratch database",
                          "a backup that was made with --plain-sql cannot be tried");
    if (rc == 0)
        rc = db_load_finish(fresh->load, NULL, error);
    if (rc == 0)
        rc = db_load_facts(fresh->load, &fresh->facts, error);
    if (rc == 0)
        rc = db_facts_match(&fresh->facts, &file->manifest, error);
    if (rc)
        db_trial_free(fresh);
    else
        *trial = fresh;
    return rc;
}

const struct db_backup_facts *db_trial_facts(const struct db_trial *trial)
{
    return &trial->facts;
}

int db_trial_receipts(struct db_trial *trial, struct db_receipts **receipts, struct kt_error *error)
{
    struct db_target target;

    db_scratch_target(trial->scratch, DB_SCRATCH_DATABASE, &target);
    return db_receipts_open_target(&target, receipts, error);
}

void db_trial_free(struct db_trial *trial)
{
    if (!trial)
        return;
    db_load_free(trial->load);
    db_scratch_free(trial->scratch);
    free(trial);
}

// --- against the log that is alive ---

// Block, deposits in it, hash over what never changes of them. A purged body stays what it was by
// its hash; a deletion does not change these columns.
static const char BLOCKS[] =
    "SELECT log_index / " BLOCK ", count(*), encode(sha256(string_agg(receipt_signature || sha256"
    " || uuid_send(deposit_id), ''::bytea ORDER BY log_index)), 'hex')"
    " FROM deposits WHERE log_index <= $1::bigint GROUP BY 1 ORDER BY 1";

static int compare_blocks(const PGresult *live, const PGresult *backup, struct kt_error *error)
{
    int rows = PQntuples(live) > PQntuples(backup) ? PQntuples(live) : PQntuples(backup);

    for (int i = 0; i < rows; i++)
        for (int column = 0; column < 3; column++) {
            const char *a = i < PQntuples(live) ? PQgetvalue(live, i, column) : "none",
                       *b = i < PQntuples(backup) ? PQgetvalue(backup, i, column) : "none";
            if (strcmp(a, b) != 0)
                return kt_error_set(error, KT_ERR_SIGNATURE,
                                    "stop: one of the two has lost or changed deposits; keep both",
                                    "the backup and the running database differ from log index %d "
                                    "* " BLOCK " on (%s and %s)",
                                    i, b, a);
        }
    return 0;
}

static int ask_live(const struct kt_paths *paths, const struct kt_settings *settings,
                    const char *upto, PGresult **blocks, uint64_t *live_index,
                    struct kt_error *error)
{
    struct db_target target;
    PGresult *newest = NULL;
    PGconn *conn = NULL;
    int rc;

    db_target_owner(paths, settings, kt_settings_text(settings, KT_SET_DATABASE_NAME), &target);
    rc = db_pg_connect(&target, CONNECT_MS, &conn, error);
    if (rc == 0)
        rc =
            db_pg_query(conn, DB_BACKUP_LONG_MS, "SELECT coalesce(max(log_index), 0) FROM deposits",
                        0, NULL, &newest, error);
    if (rc == 0 && kt_u64_parse(PQgetvalue(newest, 0, 0), 0, INT64_MAX, live_index) != 0)
        rc = kt_error_set(error, KT_ERR_DATABASE, NULL, "the log has no index");
    if (rc == 0)
        rc = db_pg_query(conn, DB_BACKUP_LONG_MS, BLOCKS, 1, &upto, blocks, error);
    PQclear(newest);
    PQfinish(conn);
    return rc;
}

int db_trial_compare(struct db_trial *trial, const struct kt_paths *paths,
                     const struct kt_settings *settings, uint64_t *live_index,
                     struct kt_error *error)
{
    PGresult *live = NULL, *backup = NULL;
    char upto[24];
    const char *parameter = upto;
    int rc;

    snprintf(upto, sizeof(upto), "%" PRIu64, trial->facts.log_index);
    rc = ask_live(paths, settings, upto, &live, live_index, error);
    if (rc == 0)
        rc = db_pg_query(trial->load->conn, DB_BACKUP_LONG_MS, BLOCKS, 1, &parameter, &backup,
                         error);
    if (rc == 0)
        rc = compare_blocks(live, backup, error);
    PQclear(live);
    PQclear(backup);
    return rc;
}
