// SPDX-License-Identifier: Apache-2.0
// A group of changes: checked, planned, prepared on enough nodes, and only then made visible.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db/write.h"
#include "lib/log.h"

static int64_t deadline(const struct db_writer *writer)
{
    return kt_monotonic_now() + (int64_t)writer->settings.timeout_ms * 1000;
}

int db_refuse(struct db_member *member, int code, const char *message)
{
    member->outcome.code = code;
    snprintf(member->outcome.message, sizeof(member->outcome.message), "%s",
             message ? message : "");
    return 0;
}

int db_check_client(struct db_member *member, const PGresult *result)
{
    const char *state;

    if (PQntuples(result) != 1)
        return db_refuse(member, KT_ERR_CERTIFICATE_UNKNOWN, NULL);
    if (db_column_uuid(result, 0, &member->client_id) != 0 ||
        db_column_uuid(result, 1, &member->organisation_id) != 0)
        return KT_ERR_DATABASE;
    snprintf(member->organisation, sizeof(member->organisation), "%s", db_column_text(result, 2));
    state = db_column_text(result, 3);
    if (strcmp(state, "revoked") == 0)
        return db_refuse(member, KT_ERR_CLIENT_REVOKED, NULL);
    if (db_column_true(result, 4))
        return db_refuse(member, KT_ERR_CERTIFICATE_REVOKED, NULL);
    if (db_column_true(result, 5))
        return db_refuse(member, KT_ERR_CERTIFICATE_EXPIRED, NULL);
    if (db_column_true(result, 6))
        return db_refuse(member, KT_ERR_ORGANISATION_DISABLED, NULL);
    if (strcmp(state, "active") != 0)
        return db_refuse(member, KT_ERR_CLIENT_PENDING, NULL);
    return 1;
}

static int has_deposit_id(const struct kt_change *change)
{
    return change->kind == KT_CHANGE_DEPOSIT || change->kind == KT_CHANGE_RETRIEVE;
}

// Two changes with one deposit id, or of one handle: the later one must see the earlier one in the
// database, so it waits for the next group. So retrievals that are counted are counted one by one.
static int touches_the_same(const struct db_member *a, const struct db_member *b)
{
    if (memcmp(a->organisation_id.bytes, b->organisation_id.bytes, 16) != 0)
        return 0;
    if (strcmp(a->change->handle, b->change->handle) == 0)
        return 1;
    return has_deposit_id(a->change) && has_deposit_id(b->change) &&
           memcmp(a->change->deposit_id.bytes, b->change->deposit_id.bytes, 16) == 0;
}

static void find_waiting(struct db_member *members, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        if (members[i].change->kind == KT_CHANGE_BARRIER || members[i].outcome.code != 0)
            continue;
        for (size_t j = 0; j < i && !members[i].wait; j++) {
            if (members[j].change->kind != KT_CHANGE_BARRIER && members[j].outcome.code == 0)
                members[i].wait = touches_the_same(&members[j], &members[i]);
        }
    }
}

static int send_checks(struct db_writer *writer, struct db_member *members, size_t count)
{
    int r = 0;

    for (size_t i = 0; i < count && r == 0; i++) {
        const struct db_change_ops *ops = db_change_ops(members[i].change->kind);
        struct db_params params = {0};

        if (ops == NULL)
            continue; // a barrier
        ops->check_params(members[i].change, &params);
        r = db_pipe_send(writer->main, ops->check_name, &params);
    }
    return r != 0 ? r : db_pipe_sync(writer->main);
}

int db_group_check(struct db_writer *writer, struct db_member *members, size_t count,
                   struct kt_error *error)
{
    int64_t until = deadline(writer), now = kt_time_now();
    int r = send_checks(writer, members, count), failed = 0;

    for (size_t i = 0; i < count && r == 0; i++) {
        const struct db_change_ops *ops = db_change_ops(members[i].change->kind);
        PGresult *result = NULL;
        struct kt_error why = {0};
        int code;

        members[i].now_us = now;
        if (ops == NULL && members[i].change->kind != KT_CHANGE_BARRIER)
            r = db_refuse(&members[i], KT_ERR_PROTOCOL, "the writer knows no such change");
        if (ops == NULL)
            continue;
        if ((r = db_pipe_result(writer->main, until, &result)) != 0)
            break;
        // a failed check fails its neighbours in the segment too: the first one's reason counts
        code = db_result_code(result, &why);
        if (code == 0)
            r = ops->checked(writer, &members[i], result);
        else if (failed == 0)
            failed = kt_error_set(error, code, NULL, "cannot check a change of kind '%s': %.300s",
                                  kt_change_event(members[i].change->kind), why.message);
        PQclear(result);
    }
    if (r == 0)
        r = db_pipe_end(writer->main, until);
    if (r != 0) // whatever is left in the pipeline, the connection cannot be used any more
        return kt_error_set(error, KT_ERR_DATABASE_UNAVAILABLE, NULL,
                            "the checks of a group were not answered");
    if (failed == 0)
        find_waiting(members, count);
    return failed;
}

static int takes_part(const struct db_member *member)
{
    return member->outcome.code == 0 && !member->outcome.repeated && !member->wait;
}

int db_group_plan(struct db_writer *writer, struct db_member *members, size_t count)
{
    uint64_t first = writer->state.log_index;

    for (size_t i = 0; i < count; i++) {
        const struct db_change_ops *ops = db_change_ops(members[i].change->kind);
        int r;

        members[i].writes = 0;
        if (ops == NULL || !takes_part(&members[i]))
            continue;
        r = ops->plan ? ops->plan(writer, &members[i]) : 0;
        if (r != 0 && r != KT_ERR_NO_MEMORY) {
            db_refuse(&members[i], r, NULL);
        } else if (r != 0) {
            writer->state.log_index = first;
            return r;
        }
        members[i].writes = members[i].outcome.code == 0;
    }
    return 0;
}

static int send_group(struct db_writer *writer, struct db_member *members, size_t count,
                      const struct db_log_growth *growth, const char *gid)
{
    char sql[KT_GID_TEXT + 32];
    // The default of a node that is not established yet is read-only; a reload may come late.
    int r = db_pipe_send_text(writer->main, "BEGIN READ WRITE");

    if (r == 0)
        r = db_prove_send_guard(writer);
    for (size_t i = 0; i < count && r == 0; i++) {
        const struct db_change_ops *ops = db_change_ops(members[i].change->kind);
        struct db_params params = {0};

        if (!members[i].writes)
            continue;
        ops->write_params(writer, &members[i], &params);
        r = db_pipe_send(writer->main, ops->write_name, &params);
    }
    if (r == 0 && growth->writes)
        r = db_log_send(writer, growth);
    snprintf(sql, sizeof(sql), "PREPARE TRANSACTION '%s'", gid);
    if (r == 0)
        r = db_pipe_send_text(writer->main, sql);
    return r != 0 ? r : db_pipe_sync(writer->main);
}

// What comes of a member's write. Not 0: the result cannot be used.
static int take_written(struct db_writer *writer, struct db_member *member, PGresult *result)
{
    const struct db_change_ops *ops = db_change_ops(member->change->kind);

    return ops->written ? ops->written(writer, member, result) : 0;
}

// Reads BEGIN, the guard, the writes, the log's and the PREPARE. A definite failure gives its code; a lost
// connection or silence gives KT_ERR_IN_DOUBT, as the PREPARE may have been carried out.
static int read_group(struct db_writer *writer, struct db_member *members, size_t count,
                      int log_writes, int64_t until, struct kt_error *error)
{
    size_t writes = 0, results, member = 0;
    int failed = 0, odd = 0;

    for (size_t i = 0; i < count; i++)
        writes += (size_t)members[i].writes;
    results = 3 + writes + (size_t)log_writes;
    for (size_t i = 0; i < results; i++) {
        PGresult *result = NULL;
        int r = db_prove_result(writer, until, &result);

        if (r != 0)
            return KT_ERR_IN_DOUBT;
        if (failed == 0) {
            const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);

            failed = db_result_code(result, error);
            if (i == 1 && sqlstate && strcmp(sqlstate, DB_UNSAFE) == 0)
                failed = db_prove_unsafe(error);
        }
        if (failed == 0 && i > 1 && i < 2 + writes) {
            while (!members[member].writes)
                member++;
            odd |= take_written(writer, &members[member++], result) != 0;
        }
        PQclear(result);
    }
    // a result that cannot be used does not undo the PREPARE that was carried out behind it
    if (db_pipe_end(writer->main, until) != 0 || (failed == 0 && odd))
        return KT_ERR_IN_DOUBT;
    return failed;
}

static int commit_group(struct db_writer *writer, const char *gid, struct kt_error *error)
{
    char sql[KT_GID_TEXT + 32];

    snprintf(sql, sizeof(sql), "COMMIT PREPARED '%s'", gid);
    return db_pipe_run(writer->commit, sql, deadline(writer), NULL, error);
}

// Takes a transaction that failed before its PREPARE out of the session.
static int roll_back(struct db_writer *writer)
{
    int r = db_pipe_run(writer->main, "ROLLBACK", deadline(writer), NULL, NULL);

    writer->notices = 0; // "there is no transaction in progress" is expected after a failed PREPARE
    return r;
}

void db_group_forget(struct db_writer *writer, const struct db_member *members, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (members[i].writes && members[i].log_index != 0 &&
            members[i].log_index <= writer->state.log_index)
            writer->state.log_index = members[i].log_index - 1;
    }
}

// The transaction, up to its commit. 0: it is prepared, and all of it is durable.
static int prepare_group(struct db_writer *writer, struct db_member *members, size_t count,
                         const struct db_log_growth *growth, const char *name,
                         struct kt_error *error)
{
    int64_t until = deadline(writer);
    int r;

    writer->notices = 0;
    if (send_group(writer, members, count, growth, name) != 0)
        return kt_error_set(error, KT_ERR_IN_DOUBT, NULL, "the connection broke in group '%s'",
                            name);
    r = read_group(writer, members, count, growth->writes, until, error);
    if (r == KT_ERR_IN_DOUBT)
        return kt_error_set(error, r, NULL, "no clean answer to the PREPARE of '%s'", name);
    if (r != 0) {
        db_group_forget(writer, members, count);
        return roll_back(writer) == 0 ? r : KT_ERR_DATABASE_UNAVAILABLE;
    }
    // from here on the group is prepared: it can only be committed, now or when it is settled
    if (writer->notices != 0)
        return kt_error_set(error, KT_ERR_IN_DOUBT, NULL, "the PREPARE of '%s' was not clean",
                            name);
    if (db_prove(writer, until, error) != 0 || writer->notices != 0)
        return KT_ERR_IN_DOUBT;
    return 0;
}

int db_group_write(struct db_writer *writer, struct db_member *members, size_t count,
                   struct kt_error *error)
{
    struct kt_gid gid = {writer->state.incarnation, writer->state.epoch, 0};
    struct db_log_growth growth;
    char name[KT_GID_TEXT];
    int writes = 0, barrier = 0, r;

    for (size_t i = 0; i < count; i++) {
        writes |= members[i].writes;
        barrier |= members[i].change->kind == KT_CHANGE_BARRIER;
    }
    if (!writes)
        return barrier ? db_write_barrier(writer, error) : 0;
    gid.group = writer->next_group++;
    kt_gid_format(&gid, name);
    r = db_log_grow(writer, members, count, &growth);
    if (r != 0) {
        db_group_forget(writer, members, count);
        r = kt_error_set(error, r, NULL, "the log of deposits cannot take group '%s'", name);
        goto out;
    }
    r = prepare_group(writer, members, count, &growth, name, error);
    if (r == 0 && commit_group(writer, name, error) != 0)
        r = KT_ERR_IN_DOUBT;
    if (r == 0)
        writer->log = growth.log;
out:
    db_log_growth_free(&growth);
    return r;
}

void db_member_free(struct db_member *member)
{
    free(member->certificate);
    member->certificate = NULL;
    kt_outcome_free(&member->outcome);
}
