// SPDX-License-Identifier: Apache-2.0
// The owner's session: opening, waiting for conditions, ending other sessions, sealing, promoting.
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <libpq-fe.h>

#include "db/replication_inner.h"

#define STEP_NS   5000000
#define APPLY_MS  10000
#define SETTLE_US 350000 // more than three of wal_retrieve_retry_interval

int db_admin_open(struct db_cluster *cluster, int timeout_ms, struct db_admin **out,
                  struct kt_error *error)
{
    struct db_admin *admin = calloc(1, sizeof(*admin));
    struct db_target owner;
    int rc;

    if (!admin)
        return kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    admin->cluster = cluster;
    db_target_owner(cluster->paths, cluster->settings,
                    kt_settings_text(cluster->settings, KT_SET_DATABASE_NAME), &owner);
    owner.application_name = "kts_admin";
    rc = db_pg_connect(&owner, timeout_ms, &admin->conn, error);
    // Nothing on this session may wait for standbys: rows and probes have sessions of their own.
    if (rc == 0)
        rc = db_pg_run(admin->conn, DB_ADMIN_MS,
                       "SET synchronous_commit = local; SET lock_timeout = '2s'", error);
    if (rc) {
        db_admin_close(admin);
        return rc;
    }
    *out = admin;
    return 0;
}

void db_admin_close(struct db_admin *admin)
{
    if (!admin)
        return;
    PQfinish(admin->conn);
    free(admin);
}

int db_admin_ask(struct db_admin *admin, const char *sql, int count, const char *const *parameters,
                 PGresult **result, struct kt_error *error)
{
    return db_pg_query(admin->conn, DB_ADMIN_MS, sql, count, parameters, result, error);
}

int db_wait_until(db_condition is_done, void *arg, int64_t deadline, struct kt_error *error)
{
    const struct timespec step = {.tv_nsec = STEP_NS};

    for (;;) {
        int rc = is_done(arg, error);
        if (rc)
            return rc > 0 ? 0 : rc;
        if (kt_monotonic_now() >= deadline)
            return KT_ERR_TIMEOUT;
        nanosleep(&step, NULL);
    }
}

int db_lsn_column(const PGresult *result, int column, uint64_t *lsn)
{
    *lsn = 0;
    return PQgetisnull(result, 0, column) ? 0 : kt_lsn_parse(PQgetvalue(result, 0, column), lsn);
}

int db_true_column(const PGresult *result, int column)
{
    return PQgetvalue(result, 0, column)[0] == 't';
}

uint64_t db_number_column(const PGresult *result, int column)
{
    return strtoull(PQgetvalue(result, 0, column), NULL, 10);
}

static int64_t deadline_of(int timeout_ms)
{
    return kt_monotonic_now() + timeout_ms * INT64_C(1000);
}

int db_admin_in_doubt(struct db_admin *admin, uint32_t *count, struct kt_error *error)
{
    PGresult *result = NULL;
    int rc = db_admin_ask(admin,
                          "SELECT count(*) FROM pg_prepared_xacts WHERE gid LIKE 'kt:%'"
                          " AND owner = 'kts_writer'",
                          0, NULL, &result, error);

    if (rc == 0)
        *count = (uint32_t)db_number_column(result, 0);
    PQclear(result);
    return rc;
}

// Asked again each time: a session may be in the making while the first ones end.
static int are_gone(void *arg, struct kt_error *error)
{
    struct db_admin *admin = arg;
    PGresult *result = NULL;
    int rc =
        db_admin_ask(admin,
                     "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                     " WHERE pid <> pg_backend_pid()"
                     " AND (usename = 'kts_writer' OR application_name = '" DB_ROW_SESSION "')",
                     0, NULL, &result, error);

    if (rc == 0)
        rc = db_number_column(result, 0) == 0;
    PQclear(result);
    return rc;
}

int db_admin_end_sessions(struct db_admin *admin, int timeout_ms, struct kt_error *error)
{
    int rc = db_wait_until(are_gone, admin, deadline_of(timeout_ms), error);

    return rc == KT_ERR_TIMEOUT ? kt_error_set(error, KT_ERR_DATABASE_TIMEOUT, NULL,
                                               "sessions of the writer did not end in time")
                                : rc;
}

// --- sealing ---

struct sealing {
    struct db_admin *admin;
    uint64_t replayed, received;
    int receiver;     // is there
    int had_upstream; // since PostgreSQL started: it may turn to it once more
    int64_t since_us; // the same position since, with the startup process waiting for more
};

// Whether the receiver process is gone, and the startup process has found no more in pg_wal and has
// no upstream to ask ("RecoveryWalStream" would be one that was asked already, and may begin to
// send). The last record may be received in part only: then it waits in front of it.
static int is_sealed(void *arg, struct kt_error *error)
{
    static const char SQL[] =
        "SELECT pg_is_in_recovery(), pg_last_wal_replay_lsn(), pg_last_wal_receive_lsn(),"
        " (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walreceiver')"
        "   + (SELECT count(*) FROM pg_stat_wal_receiver),"
        " EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'startup'"
        "   AND wait_event = 'RecoveryRetrieveRetryInterval')";
    struct sealing *seal = arg;
    PGresult *result = NULL;
    int64_t now = kt_monotonic_now();
    uint64_t replayed = 0;
    int waits = 0, rc = db_admin_ask(seal->admin, SQL, 0, NULL, &result, error);

    if (rc == 0 && !db_true_column(result, 0))
        rc = kt_error_set(error, KT_ERR_INVALID, NULL, "PostgreSQL is not a standby");
    if (rc == 0 && (db_lsn_column(result, 1, &replayed) != 0 ||
                    db_lsn_column(result, 2, &seal->received) != 0))
        rc = kt_error_set(error, KT_ERR_DATABASE, NULL, "PostgreSQL's positions cannot be read");
    if (rc == 0) {
        seal->receiver = db_number_column(result, 3) > 0;
        waits = db_true_column(result, 4);
    }
    PQclear(result);
    if (rc)
        return rc;
    if (seal->receiver || !waits || replayed != seal->replayed)
        seal->since_us = now;
    seal->replayed = replayed;
    if (seal->receiver || !waits)
        return 0;
    // Everything that was received is replayed; or the startup process has looked again and again.
    return !seal->had_upstream || (seal->received > 0 && replayed >= seal->received) ||
           now - seal->since_us >= SETTLE_US;
}

int db_admin_wait_sealed(struct db_admin *admin, int had_upstream, int timeout_ms,
                         struct kt_error *error)
{
    struct sealing seal = {
        .admin = admin, .had_upstream = had_upstream, .since_us = kt_monotonic_now()};
    char replayed[KT_LSN_TEXT], received[KT_LSN_TEXT];
    // A replay that somebody paused would never come to its end.
    int rc = db_admin_ask(admin,
                          "SELECT pg_wal_replay_resume() WHERE CASE WHEN pg_is_in_recovery()"
                          " THEN pg_is_wal_replay_paused() ELSE false END",
                          0, NULL, NULL, error);

    if (rc == 0)
        rc = db_wait_until(is_sealed, &seal, deadline_of(timeout_ms), error);
    if (rc != KT_ERR_TIMEOUT)
        return rc;
    kt_lsn_format(seal.replayed, replayed);
    kt_lsn_format(seal.received, received);
    return kt_error_set(error, KT_ERR_DATABASE_TIMEOUT, NULL,
                        "the node is not sealed yet: %s, replayed to %s, received to %s",
                        seal.receiver ? "it still receives" : "it still replays", replayed,
                        received);
}

struct replaying {
    struct db_admin *admin;
    uint64_t wanted, replayed;
};

static int is_replayed(void *arg, struct kt_error *error)
{
    struct replaying *replay = arg;
    PGresult *result = NULL;
    int rc =
        db_admin_ask(replay->admin, "SELECT pg_last_wal_replay_lsn()", 0, NULL, &result, error);

    if (rc == 0 && db_lsn_column(result, 0, &replay->replayed) != 0)
        rc = kt_error_set(error, KT_ERR_DATABASE, NULL, "PostgreSQL's position cannot be read");
    PQclear(result);
    return rc ? rc : replay->replayed >= replay->wanted;
}

int db_admin_wait_replayed(struct db_admin *admin, uint64_t lsn, int timeout_ms,
                           struct kt_error *error)
{
    struct replaying replay = {.admin = admin, .wanted = lsn};
    char wanted[KT_LSN_TEXT], replayed[KT_LSN_TEXT];
    int rc = db_wait_until(is_replayed, &replay, deadline_of(timeout_ms), error);

    if (rc != KT_ERR_TIMEOUT)
        return rc;
    kt_lsn_format(lsn, wanted);
    kt_lsn_format(replay.replayed, replayed);
    return kt_error_set(error, KT_ERR_DATABASE_TIMEOUT, NULL,
                        "the log is replayed to %s only, not to %s", replayed, wanted);
}

int db_admin_checkpoint(struct db_admin *admin, int timeout_ms, struct kt_error *error)
{
    return db_pg_query(admin->conn, timeout_ms, "CHECKPOINT", 0, NULL, NULL, error);
}

// --- promotion ---

// A run that was killed behind its promotion left an active, and node/replication with these names.
static int check_promoted(struct db_cluster *cluster, const struct db_replication *replication,
                          struct kt_error *error)
{
    struct db_replication now;
    int rc = db_replication_load(cluster->paths, &now, error);

    if (rc)
        return rc;
    if (now.mode == DB_MODE_FOLLOW || !now.read_only ||
        strcmp(now.standby_names, replication->standby_names) != 0)
        return kt_error_set(error, KT_ERR_FENCED, "seal this node first",
                            "PostgreSQL is active already, under other names");
    return 0;
}

static int is_active(void *arg, struct kt_error *error)
{
    struct db_admin *admin = arg;
    PGresult *result = NULL;
    int rc = db_admin_ask(admin, "SELECT pg_is_in_recovery()", 0, NULL, &result, error);

    if (rc == 0)
        rc = !db_true_column(result, 0);
    PQclear(result);
    return rc;
}

int db_admin_promote(struct db_cluster *cluster, struct db_admin *admin,
                     const struct db_replication *replication, int timeout_ms,
                     struct db_position *position, struct kt_error *error)
{
    int64_t deadline = deadline_of(timeout_ms);
    struct db_replication next = *replication;
    PGresult *result = NULL;
    int rc = is_active(admin, error);

    if (rc > 0) {
        rc = check_promoted(cluster, replication, error);
    } else if (rc == 0) {
        // Until it is promoted the file says sealed: should it stop now, it is to start as a
        // standby; as an active it would go on without a timeline of its own.
        next.mode = DB_MODE_SEALED;
        rc = db_replication_apply(cluster, &next, APPLY_MS, error);
        if (rc == 0)
            rc = db_admin_wait_sealed(admin, 1, timeout_ms, error);
        if (rc == 0)
            rc = db_admin_ask(admin, "SELECT pg_promote(false)", 0, NULL, &result, error);
        PQclear(result);
        if (rc == 0)
            rc = db_wait_until(is_active, admin, deadline, error);
        if (rc == KT_ERR_TIMEOUT)
            rc = kt_error_set(error, KT_ERR_DATABASE_TIMEOUT, "run the same command again",
                              "PostgreSQL did not become active in time");
    }
    // The others' pg_rewind looks at the control file, which names the new timeline from now on.
    if (rc == 0)
        rc = db_admin_checkpoint(admin, timeout_ms, error);
    next.mode = DB_MODE_ACTIVE;
    if (rc == 0)
        rc = db_replication_save(cluster->paths, &next, error);
    if (rc == 0)
        rc = db_replication_write(cluster, &next, error);
    if (rc == 0)
        rc = db_replication_reload(cluster, &next, APPLY_MS, error);
    return rc ? rc : db_admin_position(admin, position, error);
}
