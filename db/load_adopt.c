// SPDX-License-Identifier: Apache-2.0
// Taking over a database that psql has restored in the node's own PostgreSQL.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libpq-fe.h>

#include "db/cluster_inner.h"
#include "db/load_inner.h"
#include "db/replication_inner.h"

struct adopt {
    struct db_admin admin; // its connection is the one to the database
    PGconn *lock;
    const struct db_restored *restored; // NULL: no rows yet
    int is_done;                        // the rows are there
};

static int open_sessions(struct adopt *adopt, struct kt_error *error)
{
    const struct db_cluster *cluster = adopt->admin.cluster;
    struct db_target target;
    PGresult *result = NULL;
    int rc;

    db_target_owner(cluster->paths, cluster->settings, "postgres", &target);
    rc = db_pg_connect(&target, DB_BACKUP_MS, &adopt->lock, error);
    if (rc == 0)
        rc = db_pg_run(adopt->lock, DB_BACKUP_MS, DB_LOAD_SESSION, error);
    if (rc == 0)
        rc = db_pg_query(adopt->lock, DB_BACKUP_MS, DB_POPULATE_LOCK, 0, NULL, NULL, error);
    if (rc == 0)
        rc = db_pg_query(adopt->lock, DB_BACKUP_MS, "SELECT pg_is_in_recovery()", 0, NULL, &result,
                         error);
    if (rc == 0 && db_true_column(result, 0))
        rc = kt_error_set(error, KT_ERR_PASSIVE, NULL,
                          "this database follows another node and cannot be adopted");
    PQclear(result);
    target.database = kt_settings_text(cluster->settings, KT_SET_DATABASE_NAME);
    if (rc == 0)
        rc = db_pg_connect(&target, DB_BACKUP_MS, &adopt->admin.conn, error);
    return rc ? rc : db_pg_run(adopt->admin.conn, DB_BACKUP_MS, DB_LOAD_SESSION, error);
}

// Whether it is for us to adopt, or was adopted just so before.
static int look(struct adopt *adopt, struct kt_error *error)
{
    static const char SQL[] =
        "SELECT c.cluster_id, c.state, i.number || '.' || encode(i.bits, 'hex')"
        " FROM cluster c, (SELECT * FROM incarnations ORDER BY number DESC LIMIT 1) i";
    char id[KT_UUID_TEXT], own[KT_INCARNATION_TEXT] = "";
    struct db_mark mark;
    PGresult *result = NULL;
    int rc = db_cluster_check_ours(adopt->admin.cluster, &mark, error);

    if (rc == 0)
        rc = db_pg_query(adopt->admin.conn, DB_BACKUP_MS, SQL, 0, NULL, &result, error);
    if (rc == KT_ERR_DATABASE)
        return kt_error_set(error, KT_ERR_INVALID, "run the backup's script with psql first",
                            "nothing was restored into the database");
    if (rc)
        return rc;
    kt_uuid_format(&mark.cluster_id, id);
    if (adopt->restored)
        kt_incarnation_format(&adopt->restored->incarnation, own);
    if (PQntuples(result) != 1) {
        rc = kt_error_set(error, KT_ERR_INVALID, "run the backup's script with psql first",
                          "the database does not say of which cluster it is");
    } else if (strcmp(PQgetvalue(result, 0, 0), id) != 0) {
        rc = kt_error_set(error, KT_ERR_NOT_OURS, "restore the confdir of the same backup",
                          "the database is of cluster %s, the confdir of cluster %s",
                          PQgetvalue(result, 0, 0), id);
    } else if (strcmp(PQgetvalue(result, 0, 1), "normal") == 0) {
        adopt->is_done = strcmp(PQgetvalue(result, 0, 2), own) == 0;
        if (!adopt->is_done && adopt->restored)
            rc = kt_error_set(error, KT_ERR_EXISTS, NULL,
                              "the database is in use: nothing was restored into it");
    }
    PQclear(result);
    return rc;
}

// Groups of before hold locks that the rows of the new incarnation need. Whoever waits for them is
// answered by what the backup has.
static int roll_back_groups(PGconn *conn, struct kt_error *error)
{
    PGresult *result = NULL;
    char sql[512];
    int rc = db_pg_query(conn, DB_BACKUP_MS,
                         "SELECT gid FROM pg_prepared_xacts WHERE database = current_database()"
                         " AND gid LIKE 'kt:%'",
                         0, NULL, &result, error);

    for (int i = 0; rc == 0 && i < PQntuples(result); i++) {
        const char *gid = PQgetvalue(result, i, 0);
        char *quoted = PQescapeLiteral(conn, gid, strlen(gid));

        if (!quoted || strlen(quoted) > 420) {
            rc = kt_error_set(error, KT_ERR_DATABASE, NULL, "a prepared group has no usable name");
        } else {
            snprintf(sql, sizeof(sql), "ROLLBACK PREPARED %s", quoted);
            rc = db_pg_run(conn, DB_BACKUP_MS, sql, error);
        }
        PQfreemem(quoted);
    }
    PQclear(result);
    return rc;
}

static int put_rows(struct adopt *adopt, struct kt_error *error)
{
    PGconn *conn = adopt->admin.conn;
    int rc = db_pg_run(conn, DB_BACKUP_MS, "BEGIN", error);

    if (rc == 0)
        rc = db_restored_rows(conn, adopt->admin.cluster, adopt->restored, error);
    if (rc == 0)
        rc = db_pg_run(conn, DB_BACKUP_MS, "COMMIT", error);
    if (rc)
        (void)!db_pg_run(conn, DB_BACKUP_MS, "ROLLBACK", NULL);
    return rc;
}

// Roles and slots are PostgreSQL's, not the database's: those of all members of before are still
// there, also of such as the backup does not know.
static int drop_members(struct adopt *adopt, struct kt_error *error)
{
    static const char SQL[] = "SELECT r.rolname FROM pg_auth_members m"
                              " JOIN pg_roles g ON g.oid = m.roleid"
                              " JOIN pg_roles r ON r.oid = m.member"
                              " WHERE g.rolname = 'kts_members' AND r.rolname <> $1";
    const char *parameters[] = {adopt->restored->self->member};
    struct kt_epoch_row alone = {0};
    PGresult *result = NULL;
    int rc = db_admin_ask(&adopt->admin, SQL, 1, parameters, &result, error);

    for (int i = 0; rc == 0 && i < PQntuples(result); i++)
        if (kt_member_check(PQgetvalue(result, i, 0)) == 0)
            rc = db_admin_node_remove(&adopt->admin, PQgetvalue(result, i, 0), error);
    PQclear(result);
    memcpy(alone.active, adopt->restored->self->member, sizeof(alone.active));
    return rc ? rc : db_admin_slots(&adopt->admin, &alone, error);
}

// All but the rows: what db_adopt repeats.
static int begin(struct adopt *adopt, struct kt_error *error)
{
    struct db_cluster *cluster = adopt->admin.cluster;
    struct db_target owner;
    char dir[KT_PATH_MAX];
    int applied, rc = open_sessions(adopt, error);

    if (rc == 0)
        rc = look(adopt, error);
    if (rc == 0)
        rc = roll_back_groups(adopt->admin.conn, error);
    if (rc == 0)
        rc = db_make_roles(cluster, adopt->lock, error);
    if (rc == 0)
        rc = db_schema_dir(dir, sizeof(dir), error);
    db_target_owner(cluster->paths, cluster->settings,
                    kt_settings_text(cluster->settings, KT_SET_DATABASE_NAME), &owner);
    return rc ? rc : db_schema_apply(&owner, dir, &applied, error);
}

int db_adopt_line(struct db_cluster *cluster, struct db_line *line, struct kt_error *error)
{
    struct adopt adopt = {.admin = {.cluster = cluster}};
    int rc = begin(&adopt, error);

    if (rc == 0)
        rc = db_read_line(adopt.admin.conn, line, error);
    PQfinish(adopt.admin.conn);
    PQfinish(adopt.lock);
    return rc;
}

int db_adopt(struct db_cluster *cluster, const struct db_restored *restored, struct kt_error *error)
{
    struct adopt adopt = {.admin = {.cluster = cluster}, .restored = restored};
    int rc = begin(&adopt, error);

    if (rc == 0 && !adopt.is_done)
        rc = put_rows(&adopt, error);
    if (rc == 0)
        rc = drop_members(&adopt, error);
    if (rc == 0)
        rc = db_mark_populated(cluster, error);
    PQfinish(adopt.admin.conn);
    PQfinish(adopt.lock);
    return rc;
}
