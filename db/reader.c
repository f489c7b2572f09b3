// SPDX-License-Identifier: Apache-2.0
// The workers' pipelined connection.
#include "db/reader.h"

#include <stdlib.h>
#include <string.h>

#include "db/reader_inner.h"
#include "lib/log.h"

#define STORE_MAX    1024 // bytes of all parameters of a read
#define ATTEMPTS_MAX 3    // of a read whose neighbours failed, or that replay was in the way of

// A read, from db_reader_send until its answer. They stand in the order in which libpq answers.
struct db_read {
    struct db_read *next;
    const struct db_statement *statement;
    int count;
    int lengths[DB_PARAMS_MAX];
    size_t offsets[DB_PARAMS_MAX];
    uint8_t store[STORE_MAX]; // kept: an aborted neighbour of a failed read is sent again
    int attempts;
    int syncs; // PQpipelineSync calls that came right behind it
    db_result_done result_done;
    void (*done)(void);
    void *arg;
    int forgotten; // nobody waits for it any more, or it was called back
    int again;     // aborted: to be sent again once its syncs have come
};

void db_reader_close(struct db_reader *reader)
{
    if (!reader)
        return;
    while (reader->first) {
        struct db_read *read = reader->first;
        reader->first = read->next;
        free(read);
    }
    PQfinish(reader->conn);
    free(reader);
}

int db_reader_fd(const struct db_reader *reader)
{
    return PQsocket(reader->conn);
}

unsigned db_reader_waits_for(const struct db_reader *reader)
{
    if (reader->broken)
        return 0;
    // Also when idle: the end of the connection is seen at once. PQflush without output is cheap.
    return DB_WAIT_READ | (PQflush(reader->conn) == 1 ? DB_WAIT_WRITE : 0);
}

void db_read_forget(struct db_read *read)
{
    if (read)
        read->forgotten = 1;
}

static void call_back(struct db_read *read, int code, const PGresult *result)
{
    if (!read->forgotten)
        read->result_done(read->done, read->arg, code, result);
    read->forgotten = 1;
}

static int sync_now(struct db_reader *reader)
{
    if (reader->unsynced == 0 || !reader->last)
        return 0;
    if (!PQpipelineSync(reader->conn))
        return KT_ERR_DATABASE_UNAVAILABLE;
    reader->last->syncs++;
    reader->unsynced = 0;
    return 0;
}

// Puts it on the wire's queue and behind the others.
static int dispatch(struct db_reader *reader, struct db_read *read)
{
    const char *values[DB_PARAMS_MAX];
    int formats[DB_PARAMS_MAX];

    for (int i = 0; i < read->count; i++) {
        values[i] = (const char *)read->store + read->offsets[i];
        formats[i] = 1;
    }
    if (!PQsendQueryPrepared(reader->conn, read->statement->name, read->count, values,
                             read->lengths, formats, 1))
        return KT_ERR_DATABASE_UNAVAILABLE;
    if (!reader->first)
        reader->progress_us = kt_monotonic_now();
    reader->count++;
    read->next = NULL;
    read->attempts++;
    read->syncs = 0;
    read->again = 0;
    if (reader->last)
        reader->last->next = read;
    else
        reader->first = read;
    reader->last = read;
    reader->unsynced++;
    return 0;
}

int db_reader_send(struct db_reader *reader, const struct db_statement *statement,
                   const struct db_params *params, db_result_done result_done, void (*done)(void),
                   void *arg, struct db_read **read)
{
    struct db_read *fresh;
    size_t used = 0;
    int rc;

    if (reader->broken || reader->count >= DB_READS_MAX)
        return KT_ERR_DATABASE_UNAVAILABLE;
    fresh = malloc(sizeof(*fresh));
    if (!fresh)
        return KT_ERR_NO_MEMORY;
    fresh->attempts = 0;
    fresh->forgotten = 0;
    fresh->statement = statement;
    fresh->count = params->count;
    for (int i = 0; i < params->count; i++) {
        size_t n = (size_t)params->lengths[i];
        if (n > STORE_MAX - used) {
            free(fresh);
            return KT_ERR_TOO_LARGE;
        }
        if (n > 0)
            memcpy(fresh->store + used, params->values[i], n);
        fresh->offsets[i] = used;
        fresh->lengths[i] = params->lengths[i];
        used += n;
    }
    fresh->result_done = result_done;
    fresh->done = done;
    fresh->arg = arg;
    rc = dispatch(reader, fresh);
    if (rc) {
        free(fresh);
        return rc;
    }
    *read = fresh;
    return 0;
}

int db_reader_flush(struct db_reader *reader)
{
    int rc = reader->broken ? KT_ERR_DATABASE_UNAVAILABLE : sync_now(reader);

    if (rc == 0 && PQflush(reader->conn) < 0)
        rc = KT_ERR_DATABASE_UNAVAILABLE;
    return rc;
}

// On a passive the replay of a change may need what a read holds: the read then fails, and can be
// asked again at once (serialization_failure, deadlock_detected).
static int is_conflict(const PGresult *result)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);

    return state && (strcmp(state, "40001") == 0 || strcmp(state, "40P01") == 0);
}

// SQLSTATEs that say something about the server's state, not about the statement.
static int code_of(const struct db_read *read, const PGresult *result)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

    if (state && strcmp(state, "57014") == 0)
        return KT_ERR_DATABASE_TIMEOUT;
    if (!state || strncmp(state, "57P", 3) == 0 || strncmp(state, "08", 2) == 0 ||
        strncmp(state, "53", 2) == 0 || is_conflict(result) || strcmp(state, "55P03") == 0)
        return KT_ERR_DATABASE_UNAVAILABLE;
    kt_log(KT_LOG_ERROR, "the database refused the statement '%s': %s (%s)", read->statement->name,
           message ? message : "", state);
    return KT_ERR_DATABASE;
}

static void take_result(struct db_read *read, const PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);

    if (status == PGRES_TUPLES_OK)
        call_back(read, 0, result);
    else if (is_conflict(result) && read->attempts < ATTEMPTS_MAX)
        read->again = !read->forgotten;
    else if (status != PGRES_PIPELINE_ABORTED)
        call_back(read, code_of(read, result), NULL);
    else if (read->attempts >= ATTEMPTS_MAX)
        call_back(read, KT_ERR_DATABASE_UNAVAILABLE, NULL);
    else // a neighbour in the same batch failed
        read->again = !read->forgotten;
}

// In a batch of its own: what failed next to it cannot do so again.
static int send_again(struct db_reader *reader, struct db_read *read)
{
    int rc = sync_now(reader);

    if (rc == 0)
        rc = dispatch(reader, read);
    if (rc) {
        call_back(read, KT_ERR_DATABASE_UNAVAILABLE, NULL);
        free(read);
        return rc;
    }
    return sync_now(reader);
}

static struct db_read *take_first(struct db_reader *reader)
{
    struct db_read *read = reader->first;

    reader->first = read->next;
    if (!reader->first)
        reader->last = NULL;
    reader->count--;
    return read;
}

int db_reader_is_stuck(const struct db_reader *reader, int64_t now_us, int64_t us)
{
    return reader->first != NULL && now_us - reader->progress_us > us;
}

void db_reader_fail(struct db_reader *reader)
{
    reader->broken = 1;
    while (reader->first) {
        struct db_read *read = take_first(reader);
        call_back(read, KT_ERR_DATABASE_UNAVAILABLE, NULL);
        free(read);
    }
}

// Takes one thing from libpq for the first read. libpq gives, for each read in order: a result,
// NULL, and a sync result for each sync behind it.
static int step(struct db_reader *reader)
{
    struct db_read *read = reader->first;
    PGresult *result = PQgetResult(reader->conn);
    int rc = 0;

    switch (reader->stage) {
    case STAGE_RESULT:
        if (!result)
            return KT_ERR_DATABASE_UNAVAILABLE;
        reader->progress_us = kt_monotonic_now();
        take_result(read, result);
        reader->stage = STAGE_END;
        break;
    case STAGE_END:
        if (result)
            rc = KT_ERR_DATABASE_UNAVAILABLE;
        reader->stage = STAGE_SYNC;
        break;
    case STAGE_SYNC:
        if (!result || PQresultStatus(result) != PGRES_PIPELINE_SYNC)
            rc = KT_ERR_DATABASE_UNAVAILABLE;
        else
            read->syncs--;
        break;
    }
    PQclear(result);
    if (rc || reader->stage != STAGE_SYNC || read->syncs > 0)
        return rc;
    // The last one waits for its sync, which is still to be sent.
    if (read == reader->last && reader->unsynced > 0)
        return sync_now(reader);
    take_first(reader);
    reader->stage = STAGE_RESULT;
    if (read->again)
        return send_again(reader, read);
    free(read);
    return 0;
}

int db_reader_process(struct db_reader *reader)
{
    int rc = 0;

    if (reader->broken)
        return KT_ERR_DATABASE_UNAVAILABLE;
    if (PQflush(reader->conn) < 0 || !PQconsumeInput(reader->conn))
        rc = KT_ERR_DATABASE_UNAVAILABLE;
    while (rc == 0 && reader->first && !PQisBusy(reader->conn))
        rc = step(reader);
    if (rc == 0 && PQstatus(reader->conn) != CONNECTION_OK)
        rc = KT_ERR_DATABASE_UNAVAILABLE;
    if (rc)
        db_reader_fail(reader);
    return rc;
}
