// SPDX-License-Identifier: Apache-2.0
// Where the log ends, what this standby receives, and who streams from here.
#include <stdlib.h>
#include <string.h>

#include <libpq-fe.h>

#include "db/replication_inner.h"

static int bad_answer(struct kt_error *error)
{
    return kt_error_set(error, KT_ERR_DATABASE, NULL, "PostgreSQL's positions cannot be read");
}

int db_admin_position(struct db_admin *admin, struct db_position *position, struct kt_error *error)
{
    // CASE: what is asked of a primary fails on a standby, and the other way round. What a receiver
    // that is gone has received beyond the replay's position is a record without its end.
    static const char SQL[] =
        "SELECT pg_is_in_recovery(),"
        " CASE WHEN pg_is_in_recovery() THEN CASE WHEN EXISTS (SELECT FROM pg_stat_wal_receiver)"
        "   THEN greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())"
        "   ELSE pg_last_wal_replay_lsn() END"
        " ELSE pg_current_wal_flush_lsn() END,"
        " CASE WHEN NOT pg_is_in_recovery()"
        "   THEN pg_walfile_name(pg_current_wal_flush_lsn()) END";
    struct db_position fresh = {0};
    PGresult *result = NULL;
    uint64_t number;
    int rc = db_admin_ask(admin, SQL, 0, NULL, &result, error);

    if (rc)
        return rc;
    fresh.in_recovery = db_true_column(result, 0);
    if (db_lsn_column(result, 1, &fresh.lsn) != 0 || fresh.lsn == 0)
        rc = bad_answer(error);
    else if (fresh.in_recovery)
        rc = db_timeline_of_log(admin->cluster, fresh.lsn, &fresh.timeline, error);
    else if (db_wal_name_parse(PQgetvalue(result, 0, 2), 1u << 24, &fresh.timeline, &number) != 0)
        rc = bad_answer(error);
    PQclear(result);
    if (rc == 0)
        rc = db_timeline_start(admin->cluster, fresh.timeline, &fresh.start_lsn, error);
    if (rc == 0)
        *position = fresh;
    return rc;
}

int db_admin_receiver(struct db_admin *admin, struct db_receiver *receiver, struct kt_error *error)
{
    static const char SQL[] =
        "SELECT coalesce(r.status = 'streaming', false),"
        " greatest(0, coalesce(extract(epoch FROM clock_timestamp() - r.last_msg_receipt_time), 0)"
        "   * 1000000)::bigint,"
        " CASE WHEN pg_is_in_recovery()"
        "   THEN greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) END,"
        " CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() END"
        " FROM (SELECT 1) AS one LEFT JOIN pg_stat_wal_receiver r ON true";
    struct db_receiver fresh = {0};
    PGresult *result = NULL;
    int rc = db_admin_ask(admin, SQL, 0, NULL, &result, error);

    if (rc)
        return rc;
    fresh.is_streaming = db_true_column(result, 0);
    fresh.silent_us = (int64_t)db_number_column(result, 1);
    if (db_lsn_column(result, 2, &fresh.received_lsn) != 0 ||
        db_lsn_column(result, 3, &fresh.replayed_lsn) != 0)
        rc = bad_answer(error);
    else
        *receiver = fresh;
    PQclear(result);
    return rc;
}

// Row `i` of the answer: 1 taken over, 0 somebody else (a copy under way, a name that is not the
// role's), negative when it cannot be read.
static int read_streaming(const PGresult *result, int i, struct db_streaming *one)
{
    const char *role = PQgetvalue(result, i, 0), *name = PQgetvalue(result, i, 1);
    size_t n = strlen(role);

    memset(one, 0, sizeof(*one));
    if (kt_member_check(role) != 0 || strncmp(name, role, n) != 0 || name[n] != '_' ||
        strlen(name) >= sizeof(one->application_name))
        return 0;
    memcpy(one->member, role, n + 1);
    memcpy(one->application_name, name, strlen(name) + 1);
    one->is_streaming = strcmp(PQgetvalue(result, i, 2), "streaming") == 0;
    if (kt_lsn_parse(PQgetvalue(result, i, 3), &one->flush_lsn) != 0 ||
        kt_lsn_parse(PQgetvalue(result, i, 4), &one->replay_lsn) != 0)
        return KT_ERR_DATABASE;
    one->lag_bytes = strtoull(PQgetvalue(result, i, 5), NULL, 10);
    one->lag_us = strtoll(PQgetvalue(result, i, 6), NULL, 10);
    one->silent_us = strtoll(PQgetvalue(result, i, 7), NULL, 10);
    return 1;
}

int db_admin_streaming(struct db_admin *admin, struct db_streaming *list, size_t size,
                       size_t *count, struct kt_error *error)
{
    static const char SQL[] =
        "SELECT usename, application_name, state, coalesce(flush_lsn, '0/0'),"
        " coalesce(replay_lsn, '0/0'),"
        " greatest(0, coalesce((CASE WHEN pg_is_in_recovery()"
        "   THEN greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())"
        "   ELSE pg_current_wal_flush_lsn() END) - replay_lsn, 0))::bigint,"
        " (coalesce(extract(epoch FROM replay_lag), 0) * 1000000)::bigint,"
        " greatest(0, coalesce(extract(epoch FROM clock_timestamp() - reply_time), 0)"
        "   * 1000000)::bigint"
        " FROM pg_stat_replication ORDER BY application_name, pid";
    PGresult *result = NULL;
    size_t n = 0;
    int rc = db_admin_ask(admin, SQL, 0, NULL, &result, error);

    for (int i = 0; rc == 0 && i < PQntuples(result) && n < size; i++) {
        int taken = read_streaming(result, i, &list[n]);
        if (taken < 0)
            rc = bad_answer(error);
        else
            n += (size_t)taken;
    }
    PQclear(result);
    if (rc == 0)
        *count = n;
    return rc;
}
