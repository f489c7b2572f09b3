// SPDX-License-Identifier: Apache-2.0
// Under which row the writer writes, and what a writer before it left in doubt.
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "db/epoch_sql.h"
#include "db/write.h"
#include "lib/json.h"
#include "lib/log.h"

static int64_t deadline(const struct db_writer *writer)
{
    return kt_monotonic_now() + (int64_t)writer->settings.timeout_ms * 1000;
}

static const char newest_row_sql[] =
    "SELECT " DB_EPOCH_ROW ", c.state, pg_is_in_recovery(), c.cluster_id"
    " FROM " DB_EPOCH_FROM ", cluster c"
    " ORDER BY e.incarnation DESC, e.epoch DESC, e.sequence DESC LIMIT 1";

static int parse_row(const char *text, struct kt_epoch_row *row, struct kt_error *error)
{
    json_t *object = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    struct kt_error why = {0};
    int r = object ? kt_epoch_row_from_json(object, row, &why) : KT_ERR_DATABASE;

    json_decref(object);
    return r == 0 ? 0
                  : kt_error_set(error, KT_ERR_DATABASE, NULL, "the newest epoch row is wrong: %s",
                                 why.message);
}

// The agent's permission is for one pair (e, X): the row must say the same, whole.
static int check_row(const struct db_writer *writer, struct kt_error *error)
{
    const struct db_writer_settings *settings = &writer->settings;
    const struct kt_epoch_row *row = &writer->row;
    char node[KT_NODE_NAME_MAX + 1];

    kt_member_node(row->active, node);
    if (strcmp(node, settings->info->node) != 0)
        return kt_error_set(error, KT_ERR_FENCED, NULL, "the active of epoch %" PRIu64 " is '%s'",
                            row->epoch, node);
    if (row->incarnation.number != settings->incarnation.number ||
        row->incarnation.bits != settings->incarnation.bits || row->epoch != settings->epoch)
        return kt_error_set(error, KT_ERR_FENCED, NULL,
                            "the newest row is of epoch %u.%" PRIu64 ", not of %u.%" PRIu64,
                            row->incarnation.number, row->epoch, settings->incarnation.number,
                            settings->epoch);
    return 0;
}

int db_write_use_row(struct db_writer *writer, struct kt_error *error)
{
    const struct kt_epoch_row *row = &writer->row;
    char node[KT_NODE_NAME_MAX + 1], name[KT_REPLICATION_NAME_TEXT];
    json_t *counted = json_object();
    int r = counted ? kt_standby_names(row, writer->standby_names) : KT_ERR_NO_MEMORY;

    kt_member_node(row->active, node);
    for (uint32_t i = 0; i < row->count && r == 0; i++) {
        r = kt_replication_name(row->members[i], row->epoch, node, name);
        if (r == 0 && json_object_set_new(counted, name, json_string(row->members[i])) != 0)
            r = KT_ERR_NO_MEMORY;
    }
    if (r == 0 && (writer->counted = kt_json_text(counted)) == NULL)
        r = KT_ERR_NO_MEMORY;
    json_decref(counted);
    if (r != 0)
        return kt_error_set(error, r, NULL, "the members of the newest row cannot be used");
    writer->state.incarnation = row->incarnation;
    writer->state.epoch = row->epoch;
    writer->state.w = row->w;
    writer->state.members = row->count;
    return 0;
}

int db_write_read_row(struct db_writer *writer, struct kt_error *error)
{
    struct kt_uuid cluster = {{0}};
    PGresult *result = NULL;
    int r = db_pipe_run(writer->main, newest_row_sql, deadline(writer), &result, error);

    if (r != 0)
        return r;
    if (PQntuples(result) != 1) {
        r = kt_error_set(error, KT_ERR_NOT_INITIALISED, "run ktadmin init", "no epoch row");
    } else if (db_column_true(result, 2)) {
        r = kt_error_set(error, KT_ERR_PASSIVE, NULL, "the database is in recovery");
    } else if (strcmp(db_column_text(result, 1), "normal") != 0) {
        r = kt_error_set(error, KT_ERR_PASSIVE, "run ktadmin restore --adopt",
                         "the database was restored by hand: reads only");
    } else if (db_column_uuid(result, 3, &cluster) != 0) {
        r = kt_error_set(error, KT_ERR_DATABASE, NULL, "the cluster's id cannot be read");
    } else if (memcmp(cluster.bytes, writer->settings.info->cluster_id.bytes, 16) != 0) {
        r = kt_error_set(error, KT_ERR_NOT_OURS, "check database.directory in keytrustee.conf",
                         "the database belongs to another cluster");
    } else if ((r = parse_row(db_column_text(result, 0), &writer->row, error)) == 0 &&
               (r = check_row(writer, error)) == 0) {
        r = db_write_use_row(writer, error);
    }
    PQclear(result);
    return r;
}

// It may have been shown already, by this node or by an active before it: never rolled back.
static int commit_left_over(struct db_writer *writer, const char *name, struct kt_error *error)
{
    struct kt_gid gid;
    char text[KT_GID_TEXT], sql[KT_GID_TEXT + 32];
    int r;

    if (kt_gid_parse(name, &gid) != 0) {
        kt_log(KT_LOG_WARNING, "a prepared transaction with a foreign name is left alone");
        return 0;
    }
    kt_gid_format(&gid, text);
    snprintf(sql, sizeof(sql), "COMMIT PREPARED '%s'", text);
    r = db_pipe_run(writer->commit, sql, deadline(writer), NULL, error);
    if (r != 0)
        return r;
    writer->state.settled++;
    kt_log(KT_LOG_NOTICE, "settled the group '%s' that was in doubt", text);
    return 0;
}

// The barrier comes first: it proves that this node leads now, and that members have all that was
// prepared before it.
int db_write_settle(struct db_writer *writer, struct kt_error *error)
{
    PGresult *left = NULL;
    int r = db_write_barrier(writer, error);

    if (r == 0)
        r = db_pipe_run(writer->main,
                        "SELECT gid FROM pg_prepared_xacts WHERE database = current_database()"
                        " AND gid LIKE 'kt:%' AND owner = current_user" // no other role's counts
                        " ORDER BY prepared, gid",
                        deadline(writer), &left, error);
    for (int i = 0; r == 0 && i < PQntuples(left); i++)
        r = commit_left_over(writer, PQgetvalue(left, i, 0), error);
    PQclear(left);
    return r;
}
