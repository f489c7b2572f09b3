// SPDX-License-Identifier: Apache-2.0
// Rows of the failover protocol in the database: read, written, and proven to be on enough members.
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include <libpq-fe.h>

#include "db/epoch_sql.h"
#include "db/replication_inner.h"

#define STREAMING_MAX 64
#define CONNECT_MS    3000

// --- reading ---

int db_admin_rows(struct db_admin *admin, struct kt_epoch_rows *rows, struct kt_error *error)
{
    struct kt_error why = {0};
    PGresult *result = NULL;
    json_t *list = NULL;
    int rc = db_admin_ask(admin, "SELECT " DB_EPOCH_ROWS, 0, NULL, &result, error);

    if (rc)
        return rc;
    list = json_loads(PQgetvalue(result, 0, 0), JSON_REJECT_DUPLICATES, NULL);
    if (!list || kt_epoch_rows_from_json(list, rows, &why) != 0)
        rc = kt_error_set(error, KT_ERR_DATABASE, NULL, "the table epochs cannot be read: %s",
                          list ? why.message : "not JSON");
    json_decref(list);
    PQclear(result);
    return rc;
}

// --- a commit that waits for standbys ---

// A session of its own, which is closed when its commit is not answered: a cancel would show what
// no standby has. The next db_admin_end_sessions ends what goes on waiting behind it.
struct waiting {
    PGconn *conn;
    int notices; // of any kind: the commit is not clean then
    int64_t deadline;
};

static void count_notice(void *context, const PGresult *result)
{
    struct waiting *waiting = context;

    (void)result;
    waiting->notices++;
}

static int left_ms(const struct waiting *waiting)
{
    int64_t left = (waiting->deadline - kt_monotonic_now()) / 1000;

    return left < 1 ? 1 : (int)left;
}

static int begin(struct db_admin *admin, struct waiting *waiting, struct kt_error *error)
{
    struct db_cluster *cluster = admin->cluster;
    struct db_target owner;
    int rc, ms = left_ms(waiting);

    db_target_owner(cluster->paths, cluster->settings,
                    kt_settings_text(cluster->settings, KT_SET_DATABASE_NAME), &owner);
    owner.application_name = DB_ROW_SESSION;
    rc = db_pg_connect(&owner, ms < CONNECT_MS ? ms : CONNECT_MS, &waiting->conn, error);
    if (rc)
        return rc;
    (void)PQsetNoticeReceiver(waiting->conn, count_notice, waiting);
    return db_pg_run(waiting->conn, left_ms(waiting),
                     "BEGIN READ WRITE; SET LOCAL synchronous_commit = on;"
                     " SET LOCAL lock_timeout = '2s'",
                     error);
}

// The next result (NULL: the last was the last one), without a cancel when it does not come in
// time. 1 when there is one, 0 when not.
static int next_result(struct waiting *waiting, PGresult **result, const char **why)
{
    while (PQisBusy(waiting->conn)) {
        struct pollfd one = {.fd = PQsocket(waiting->conn), .events = POLLIN};
        int n = kt_monotonic_now() < waiting->deadline ? poll(&one, 1, left_ms(waiting)) : 0;

        if (n == 0) {
            *why = "the commit was not answered in time";
            return 0;
        }
        if ((n < 0 && errno != EINTR) || (n > 0 && !PQconsumeInput(waiting->conn))) {
            *why = "the connection broke during the commit";
            return 0;
        }
    }
    *result = PQgetResult(waiting->conn);
    return 1;
}

// 0 when the COMMIT came back clean in time; KT_ERR_IN_DOUBT otherwise.
static int commit(struct waiting *waiting, struct kt_error *error)
{
    const char *why = "the connection broke before the commit";
    PGresult *result = NULL, *end = NULL;
    int is_clean = 0;

    if (PQsendQuery(waiting->conn, "COMMIT") && next_result(waiting, &result, &why) &&
        next_result(waiting, &end, &why)) {
        is_clean = result && !end && PQresultStatus(result) == PGRES_COMMAND_OK &&
                   strcmp(PQcmdStatus(result), "COMMIT") == 0 && waiting->notices == 0;
        why = waiting->notices ? "the commit came back with a warning: its wait was ended"
                               : "the commit failed";
    }
    PQclear(result);
    PQclear(end);
    return is_clean ? 0 : kt_error_set(error, KT_ERR_IN_DOUBT, NULL, "%s", why);
}

// The flushed end of the log, which is behind what was committed before.
static int flushed(PGconn *conn, int timeout_ms, uint64_t *lsn, struct kt_error *error)
{
    PGresult *result = NULL;
    int rc =
        db_pg_query(conn, timeout_ms, "SELECT pg_current_wal_flush_lsn()", 0, NULL, &result, error);

    if (rc == 0 && (db_lsn_column(result, 0, lsn) != 0 || *lsn == 0))
        rc = kt_error_set(error, KT_ERR_DATABASE, NULL, "PostgreSQL's position cannot be read");
    PQclear(result);
    return rc;
}

// --- the row ---

// How many standbys the settings of now demand: the number in ANY n (...), 0 for the empty list.
// KT_ERR_UNSAFE_SETTINGS when the row has members and nobody is waited for.
static int check_setting(PGconn *conn, const struct kt_epoch_row *row, int timeout_ms, uint32_t *w,
                         struct kt_error *error)
{
    PGresult *result = NULL;
    const char *names;
    int rc = db_pg_query(conn, timeout_ms,
                         "SELECT current_setting('synchronous_standby_names'),"
                         " current_setting('fsync') = 'on'"
                         " AND current_setting('full_page_writes') = 'on'"
                         " AND current_setting('synchronous_commit') = 'on'",
                         0, NULL, &result, error);

    if (rc)
        return rc;
    names = PQgetvalue(result, 0, 0);
    *w = 0;
    if (PQgetvalue(result, 0, 1)[0] != 't' || (names[0] == '\0' && row->count > 0) ||
        (names[0] != '\0' && (sscanf(names, "ANY %9" SCNu32 " (", w) != 1 || *w == 0)))
        rc = kt_error_set(error, KT_ERR_UNSAFE_SETTINGS, NULL,
                          "synchronous_standby_names, fsync or full_page_writes of PostgreSQL were "
                          "changed");
    PQclear(result);
    return rc;
}

static int insert(PGconn *conn, const struct kt_epoch_row *row, int timeout_ms,
                  struct kt_error *error)
{
    char incarnation[16], epoch[24], sequence[16], w[16], start[KT_LSN_TEXT], timeline[16];
    char members[KT_MEMBERS_MAX * KT_MEMBER_TEXT] = "";
    const char *parameters[] = {incarnation, epoch,    sequence,
                                row->active, members,  w,
                                start,       timeline, row->ends ? "true" : "false",
                                row->note};
    size_t n = 0;

    if (row->count > KT_MEMBERS_MAX)
        return kt_error_set(error, KT_ERR_INVALID, NULL, "too many members");
    snprintf(incarnation, sizeof(incarnation), "%" PRIu32, row->incarnation.number);
    snprintf(epoch, sizeof(epoch), "%" PRIu64, row->epoch);
    snprintf(sequence, sizeof(sequence), "%" PRIu32, row->sequence);
    snprintf(w, sizeof(w), "%" PRIu32, row->w);
    snprintf(timeline, sizeof(timeline), "%" PRIu32, row->timeline);
    kt_lsn_format(row->start_lsn, start);
    for (uint32_t i = 0; i < row->count; i++)
        n += (size_t)snprintf(members + n, sizeof(members) - n, "%s%s", i ? "," : "",
                              row->members[i]);
    return db_pg_query(conn, timeout_ms,
                       "INSERT INTO epochs (incarnation, epoch, sequence, active, members, w,"
                       " start_lsn, timeline, ends, note)"
                       " VALUES ($1::integer, $2::bigint, $3::integer, $4,"
                       " coalesce(string_to_array(nullif($5, ''), ','), '{}'), $6::integer,"
                       " $7::pg_lsn, $8::integer, $9::boolean, nullif($10, ''))",
                       10, parameters, NULL, error);
}

struct flush_check {
    struct db_admin *admin;
    uint64_t lsn;
    uint32_t wanted, found;
    const struct kt_epoch_row *row; // NULL: whom the settings of now name
};

// PostgreSQL's own view of who counts, less those who stream under another role's name.
static int setting_has_it(void *arg, struct kt_error *error)
{
    struct flush_check *check = arg;
    char lsn[KT_LSN_TEXT];
    const char *parameters[] = {lsn};
    PGresult *result = NULL;
    int rc;

    kt_lsn_format(check->lsn, lsn);
    rc = db_admin_ask(check->admin,
                      "SELECT count(DISTINCT usename) FROM pg_stat_replication"
                      " WHERE sync_state IN ('sync', 'quorum') AND flush_lsn >= $1::pg_lsn"
                      " AND starts_with(application_name, usename || '_')",
                      1, parameters, &result, error);
    if (rc == 0)
        check->found = (uint32_t)db_number_column(result, 0);
    PQclear(result);
    return rc ? rc : check->found >= check->wanted;
}

int db_admin_row_insert(struct db_admin *admin, const struct kt_epoch_row *row, int timeout_ms,
                        struct kt_error *error)
{
    struct waiting waiting = {.deadline = kt_monotonic_now() + timeout_ms * INT64_C(1000)};
    struct flush_check check = {.admin = admin};
    int rc = begin(admin, &waiting, error);

    if (rc == 0)
        rc = check_setting(waiting.conn, row, left_ms(&waiting), &check.wanted, error);
    if (rc == 0)
        rc = insert(waiting.conn, row, left_ms(&waiting), error);
    if (rc == 0 && waiting.notices)
        rc = kt_error_set(error, KT_ERR_DATABASE, NULL, "the database warned of the row");
    if (rc == 0)
        rc = commit(&waiting, error);
    // A list that was empty a moment ago may not be waited for yet.
    if (rc == 0 && check.wanted > 0) {
        rc = flushed(waiting.conn, left_ms(&waiting), &check.lsn, error);
        if (rc == 0)
            rc = db_wait_until(setting_has_it, &check, waiting.deadline, error);
        if (rc)
            rc = kt_error_set(error, KT_ERR_IN_DOUBT, NULL,
                              "%" PRIu32 " of %" PRIu32 " members have the row", check.found,
                              check.wanted);
    }
    PQfinish(waiting.conn);
    return rc;
}

// --- the probe ---

// Which members of the row stream under its names and, for `lsn` > 0, have flushed it. *missing
// (may be NULL) names the others.
static int count_members(struct db_admin *admin, const struct kt_epoch_row *row, uint64_t lsn,
                         uint32_t *found, char *missing, size_t size, struct kt_error *error)
{
    struct db_streaming list[STREAMING_MAX];
    char node[KT_NODE_NAME_MAX + 1], name[KT_REPLICATION_NAME_TEXT];
    size_t count = 0, n = 0;
    int rc = db_admin_streaming(admin, list, STREAMING_MAX, &count, error);

    kt_member_node(row->active, node);
    *found = 0;
    if (missing)
        missing[0] = '\0';
    for (uint32_t i = 0; i < row->count && rc == 0; i++) {
        int there = 0;
        rc = kt_replication_name(row->members[i], row->epoch, node, name);
        if (rc)
            return kt_error_set(error, rc, NULL, "the member's replication name is too long");
        for (size_t k = 0; k < count && !there; k++)
            there = list[k].is_streaming && strcmp(list[k].member, row->members[i]) == 0 &&
                    strcmp(list[k].application_name, name) == 0 && list[k].flush_lsn >= lsn;
        *found += (uint32_t)there;
        if (!there && missing && n < size)
            n += (size_t)snprintf(missing + n, size - n, "%s%s", n ? ", " : "", row->members[i]);
    }
    return rc;
}

static int members_have_it(void *arg, struct kt_error *error)
{
    struct flush_check *check = arg;
    int rc = count_members(check->admin, check->row, check->lsn, &check->found, NULL, 0, error);

    return rc ? rc : check->found >= check->wanted;
}

// KT_ERR_NO_QUORUM with who is missing.
static int no_quorum(struct flush_check *check, const char *what, struct kt_error *error)
{
    char missing[256];

    if (count_members(check->admin, check->row, check->lsn, &check->found, missing, sizeof(missing),
                      NULL) != 0)
        missing[0] = '\0';
    return kt_error_set(error, KT_ERR_NO_QUORUM, NULL, "%" PRIu32 " of %" PRIu32 " members %s%s%s",
                        check->found, check->wanted, what, missing[0] ? "; missing: " : "",
                        missing);
}

int db_admin_probe(struct db_admin *admin, const struct kt_epoch_row *row, int timeout_ms,
                   struct kt_error *error)
{
    struct waiting waiting = {.deadline = kt_monotonic_now() + timeout_ms * INT64_C(1000)};
    struct flush_check check = {.admin = admin, .row = row, .wanted = row->w};
    struct kt_error why = {0};
    int rc = begin(admin, &waiting, error);

    if (rc == 0)
        rc = db_pg_query(waiting.conn, left_ms(&waiting),
                         "SELECT pg_logical_emit_message(true, 'kt', 'probe')", 0, NULL, NULL,
                         error);
    if (rc == 0 && commit(&waiting, &why) != 0)
        rc = kt_error_set(error, KT_ERR_NO_QUORUM, NULL, "%s", why.message);
    if (rc == 0 && check.wanted > 0) {
        rc = flushed(waiting.conn, left_ms(&waiting), &check.lsn, error);
        if (rc == 0)
            rc = db_wait_until(members_have_it, &check, waiting.deadline, error);
        if (rc == KT_ERR_TIMEOUT)
            rc = no_quorum(&check, "have flushed the probe", error);
    }
    PQfinish(waiting.conn);
    return rc;
}

int db_admin_wait_streaming(struct db_admin *admin, const struct kt_epoch_row *row, int timeout_ms,
                            struct kt_error *error)
{
    struct flush_check check = {.admin = admin, .row = row, .wanted = row->w};
    int rc = db_wait_until(members_have_it, &check, kt_monotonic_now() + timeout_ms * INT64_C(1000),
                           error);

    return rc == KT_ERR_TIMEOUT ? no_quorum(&check, "stream", error) : rc;
}
