// SPDX-License-Identifier: Apache-2.0
// A change of node/replication under a running PostgreSQL: saved, rendered, reloaded, seen.
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include <libpq-fe.h>

#include "db/replication_inner.h"

#define CONNECT_MS 2000

struct apply {
    struct db_cluster *cluster;
    struct db_replication_value *values;
    const char *wrong;      // the setting that was not as wanted last
    char shown[200];        // its value
    struct kt_error reason; // why nothing could be asked last
    int is_overridden;      // by another file
};

// Whether our file is the one that a setting's last value in the files comes from.
static int is_ours(PGconn *conn, const char *name)
{
    const char *parameters[] = {name};
    PGresult *result = NULL;
    int ours = 1;

    if (db_pg_query(conn, DB_ADMIN_MS,
                    "SELECT sourcefile LIKE '%/" DB_REPLICATION_FILE "' FROM pg_file_settings"
                    " WHERE name = $1 ORDER BY seqno DESC LIMIT 1",
                    1, parameters, &result, NULL) == 0)
        ours = PQntuples(result) == 1 && db_true_column(result, 0);
    PQclear(result);
    return ours;
}

// In a new session, which has what the postmaster has read.
static int look(struct apply *apply)
{
    PGresult *result = NULL;
    struct db_target owner;
    PGconn *conn = NULL;
    int rc;

    // Its own database may be missing while init makes it.
    db_target_owner(apply->cluster->paths, apply->cluster->settings, "postgres", &owner);
    rc = db_pg_connect(&owner, CONNECT_MS, &conn, &apply->reason);
    apply->wrong = NULL;
    for (size_t i = 0; i < DB_REPLICATION_VALUES && rc == 0 && !apply->wrong; i++) {
        const char *parameters[] = {apply->values[i].name};
        rc = db_pg_query(conn, CONNECT_MS, "SELECT current_setting($1)", 1, parameters, &result,
                         &apply->reason);
        if (rc)
            break;
        const char *shown = PQgetvalue(result, 0, 0);
        if (strcmp(shown, apply->values[i].value) != 0) {
            apply->wrong = apply->values[i].name;
            snprintf(apply->shown, sizeof(apply->shown), "%.190s", shown);
            apply->is_overridden = !is_ours(conn, apply->wrong);
        }
        PQclear(result);
        result = NULL;
    }
    if (rc == 0)
        apply->reason.code = 0;
    PQfinish(conn);
    return rc == 0 && !apply->wrong;
}

static int is_shown(void *arg, struct kt_error *error)
{
    struct apply *apply = arg;

    (void)error;
    return look(apply) || apply->is_overridden;
}

static int complain(const struct apply *apply, struct kt_error *error)
{
    if (apply->reason.code)
        return kt_error_set(error, apply->reason.code, NULL, "%s", apply->reason.message);
    return kt_error_set(error, KT_ERR_UNSAFE_SETTINGS,
                        "look for it in postgresql.auto.conf, and in ALTER DATABASE and ALTER ROLE",
                        "PostgreSQL goes on with %s = '%s'%s", apply->wrong, apply->shown,
                        apply->is_overridden ? ", which another file says" : "");
}

// By a signal, which also reaches a standby that does not take connections yet; across user
// namespaces, where signals may be refused, by a statement.
static int reload(struct db_cluster *cluster, long pid, struct kt_error *error)
{
    struct db_target owner;
    PGconn *conn = NULL;
    int rc;

    if (kill((pid_t)pid, SIGHUP) == 0)
        return 0;
    db_target_owner(cluster->paths, cluster->settings, "postgres", &owner);
    rc = db_pg_connect(&owner, CONNECT_MS, &conn, error);
    if (rc == 0)
        rc = db_pg_query(conn, CONNECT_MS, "SELECT pg_reload_conf()", 0, NULL, NULL, error);
    PQfinish(conn);
    return rc;
}

int db_reload_certificates(struct db_cluster *cluster, struct kt_error *error)
{
    enum db_run_state state;
    long pid = 0;
    int rc = db_cluster_state(cluster, &state, &pid, error);

    return rc || state == DB_STOPPED ? rc : reload(cluster, pid, error);
}

int db_replication_reload(struct db_cluster *cluster, const struct db_replication *replication,
                          int timeout_ms, struct kt_error *error)
{
    int64_t deadline = kt_monotonic_now() + timeout_ms * INT64_C(1000);
    struct apply apply = {.cluster = cluster};
    enum db_run_state state;
    long pid = 0;
    int rc = db_cluster_state(cluster, &state, &pid, error);

    if (rc || state == DB_STOPPED)
        return rc;
    apply.values = calloc(DB_REPLICATION_VALUES, sizeof(*apply.values));
    if (!apply.values)
        return kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    rc = db_replication_values(cluster->paths, replication, apply.values);
    if (rc)
        kt_error_set(error, rc, NULL, "PostgreSQL's settings cannot hold the paths or the host");
    if (rc == 0)
        rc = reload(cluster, pid, error);
    if (rc == 0)
        rc = db_wait_until(is_shown, &apply, deadline, error);
    if (rc == KT_ERR_TIMEOUT || (rc == 0 && apply.is_overridden))
        rc = complain(&apply, error);
    free(apply.values);
    return rc;
}

int db_replication_apply(struct db_cluster *cluster, const struct db_replication *replication,
                         int timeout_ms, struct kt_error *error)
{
    struct db_replication now, next = *replication;
    enum db_run_state state;
    long pid = 0;
    int rc = db_cluster_state(cluster, &state, &pid, error);

    if (rc == 0 && state != DB_STOPPED) {
        rc = db_replication_of_node(cluster->paths, &now, error);
        if (rc == 0 && (now.mode == DB_MODE_ACTIVE) != (replication->mode == DB_MODE_ACTIVE))
            rc = kt_error_set(error, KT_ERR_INVALID, "stop PostgreSQL first",
                              "a running PostgreSQL cannot turn from '%s' to '%s'",
                              db_mode_name(now.mode), db_mode_name(replication->mode));
    }
    if (rc)
        return rc;
    db_replication_resolve(&next);
    rc = db_replication_save(cluster->paths, &next, error);
    if (rc == 0)
        rc = db_replication_write(cluster, &next, error);
    return rc ? rc : db_replication_reload(cluster, &next, timeout_ms, error);
}
