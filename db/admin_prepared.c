// SPDX-License-Identifier: Apache-2.0
// Prepared transactions that are not the writer's: every role may make them, and take all places
// that there are for the writer's.
#include <stdio.h>
#include <string.h>

#include <libpq-fe.h>

#include "db/replication_inner.h"
#include "db/strangers_sql.h"

#define STATEMENT_MAX 512 // a name has at most 199 bytes, each escaped at most to two

// Those who made them would make them again. A worker cannot connect a second time: the master
// starts another in its place. The agent's session is left: it is who is asking. So is what streams:
// with one node's key an honest passive would be cut off.
static int end_owners(struct db_admin *admin, struct kt_error *error)
{
    return db_admin_ask(admin,
                        "SELECT pg_terminate_backend(a.pid, 1000) FROM pg_stat_activity a"
                        " WHERE a.pid <> pg_backend_pid() AND a.usename <> 'kts_agent'"
                        " AND a.backend_type = 'client backend'"
                        " AND a.usename IN (SELECT x.owner FROM pg_prepared_xacts x"
                        "  WHERE x.owner NOT IN ('kts_writer', '" DB_OWNER "'))",
                        0, NULL, NULL, error);
}

static int run_with(struct db_admin *admin, const char *what, char *quoted, struct kt_error *error)
{
    char sql[STATEMENT_MAX];
    int n = quoted ? snprintf(sql, sizeof(sql), "%s %s", what, quoted) : -1;

    PQfreemem(quoted);
    if (n < 0 || (size_t)n >= sizeof(sql))
        return kt_error_set(error, KT_ERR_DATABASE, NULL,
                            "a prepared transaction has no usable name or owner");
    return db_pg_run(admin->conn, DB_ADMIN_MS, sql, error);
}

// As the owner that the list gave, when there is one: PostgreSQL lets it roll back nothing that is
// another role's, so that a group of the writer's which has taken the same name meanwhile stays.
// What belongs to a role that is gone only a superuser can end, so its name cannot be taken before.
static int roll_back(struct db_admin *admin, const char *gid, const char *owner,
                     struct kt_error *error)
{
    PGconn *conn = admin->conn;
    int rc =
        owner ? run_with(admin, "SET ROLE", PQescapeIdentifier(conn, owner, strlen(owner)), error)
              : 0;

    if (rc)
        return rc;
    rc = run_with(admin, "ROLLBACK PREPARED", PQescapeLiteral(conn, gid, strlen(gid)), error);
    // A session that stays another role's would do nothing right any more.
    if (owner && db_pg_run(conn, DB_ADMIN_MS, "RESET ROLE", rc ? NULL : error) != 0) {
        PQfinish(admin->conn);
        admin->conn = NULL;
        return KT_ERR_DATABASE_UNAVAILABLE;
    }
    return rc;
}

int db_admin_roll_back_strangers(struct db_admin *admin, int end_sessions, uint32_t *count,
                                 struct kt_error *error)
{
    PGresult *list = NULL;
    struct kt_error first = {0}, why = {0};
    uint32_t done = 0;
    int rc = end_sessions ? end_owners(admin, error) : 0;

    if (rc == 0)
        rc = db_admin_ask(admin,
                          "SELECT x.gid, x.owner FROM pg_prepared_xacts x"
                          " WHERE " DB_STRANGERS " AND x.database = current_database()"
                          " ORDER BY x.prepared",
                          0, NULL, &list, error);
    if (rc)
        return rc;
    // One that cannot be ended (or was, by its owner) does not keep the others.
    for (int i = 0; i < PQntuples(list) && admin->conn; i++) {
        const char *owner = PQgetisnull(list, i, 1) ? NULL : PQgetvalue(list, i, 1);
        if (roll_back(admin, PQgetvalue(list, i, 0), owner, &why) == 0)
            done++;
        else if (!first.code)
            first = why;
    }
    PQclear(list);
    *count = done;
    if (admin->conn && (!first.code || done))
        return 0;
    return kt_error_set(error, first.code, NULL, "%s", first.message);
}
