// SPDX-License-Identifier: Apache-2.0
// The one file that ties database descriptors to libevent.
#include "kts/database.h"

#include <stdlib.h>

#include "kts/worker.h"
#include "lib/log.h"

#define OPEN_TIMEOUT_MS 2000
#define TICK_MS         1000

struct line {
    struct kts_database *database;
    struct db_reader *reader;
    struct event *read_event;
    struct event *write_event;
};

struct kts_database {
    struct kts_worker *worker;
    struct line lines[KTS_DB_USES];
    int64_t stuck_us;   // without an answer: the connection is lost
    struct event *tick; // looks after connections that say nothing
    int lost;
    int told; // the master knows
};

static void close_line(struct line *line)
{
    if (line->read_event)
        event_free(line->read_event);
    if (line->write_event)
        event_free(line->write_event);
    db_reader_close(line->reader);
    line->read_event = line->write_event = NULL;
    line->reader = NULL;
}

int kts_database_open(struct kts_worker *worker, struct kts_database **database)
{
    const struct kts_start *start = worker->start;
    struct kts_database *fresh = calloc(1, sizeof(*fresh));
    struct db_target target = {0};
    struct kt_secret *secret = NULL;
    struct kt_error error = {0};
    int timeout_ms = (int)kt_settings_number(worker->settings, KT_SET_TIMEOUT_READ);
    int rc;

    if (!fresh)
        return KT_ERR_NO_MEMORY;
    fresh->worker = worker;
    fresh->stuck_us = (int64_t)timeout_ms * 2000; // twice what each read may take
    rc = db_target_load(start->paths, worker->settings, DB_ROLE_READER, &target, &secret, &error);
    for (int i = 0; rc == 0 && i < KTS_DB_USES; i++) {
        fresh->lines[i].database = fresh;
        rc = db_reader_open(&target, OPEN_TIMEOUT_MS, timeout_ms, &fresh->lines[i].reader, &error);
    }
    kt_secret_free(secret);
    if (rc) {
        kt_log_error(&error, "worker %d has no database", start->index);
        for (int i = 0; i < KTS_DB_USES; i++)
            close_line(&fresh->lines[i]);
    }
    *database = fresh;
    return 0;
}

static void tell_master(struct kts_database *database)
{
    const struct kts_start *start = database->worker->start;
    int rc = kts_control_send(start->control_fd, KTS_CTL_DATABASE_LOST, NULL, 0, -1);

    database->told = rc != KT_ERR_AGAIN; // no room: at the next tick
    if (rc && rc != KT_ERR_AGAIN)
        kt_log_code(KT_LOG_ERROR, rc, "worker %d cannot tell the master", start->index);
}

// Both go together: the master replaces the process, which opens both again. The readers are freed
// at the end of the turn, not under the feet of a caller that is using one.
static void lose(struct kts_database *database)
{
    struct kts_worker *worker = database->worker;

    if (database->lost)
        return;
    database->lost = 1;
    kt_log(KT_LOG_WARNING, "worker %d has lost its database", worker->start->index);
    tell_master(database);
    for (int i = 0; i < KTS_DB_USES; i++) {
        struct line *line = &database->lines[i];
        if (line->read_event)
            event_del(line->read_event);
        if (line->write_event)
            event_del(line->write_event);
    }
    kts_worker_put_off(worker);
}

static void watch(struct line *line)
{
    if (db_reader_waits_for(line->reader) & DB_WAIT_WRITE)
        event_add(line->write_event, NULL);
}

static void on_ready(evutil_socket_t fd, short what, void *arg)
{
    struct line *line = arg;

    (void)fd;
    (void)what;
    if (line->database->lost)
        return;
    if (db_reader_process(line->reader))
        lose(line->database);
    else
        watch(line);
}

// A database that hangs closes nothing: its reads would only pile up.
static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct kts_database *database = arg;
    int64_t now_us = kt_monotonic_now();

    (void)fd;
    (void)what;
    if (database->lost && !database->told)
        tell_master(database);
    for (int i = 0; i < KTS_DB_USES && !database->lost; i++) {
        struct db_reader *reader = database->lines[i].reader;
        if (reader && db_reader_is_stuck(reader, now_us, database->stuck_us))
            lose(database);
    }
}

int kts_database_start(struct kts_database *database)
{
    struct event_base *base = database->worker->base;
    struct timeval every = kts_milliseconds(TICK_MS);

    database->tick = event_new(base, -1, EV_PERSIST, on_tick, database);
    if (!database->tick || event_add(database->tick, &every))
        return KT_ERR_NO_MEMORY;

    for (int i = 0; i < KTS_DB_USES; i++) {
        struct line *line = &database->lines[i];
        if (!line->reader)
            continue;
        int fd = db_reader_fd(line->reader);
        line->read_event = event_new(base, fd, EV_READ | EV_PERSIST, on_ready, line);
        line->write_event = event_new(base, fd, EV_WRITE, on_ready, line);
        if (!line->read_event || !line->write_event || event_add(line->read_event, NULL))
            return KT_ERR_NO_MEMORY;
    }
    return 0;
}

void kts_database_close(struct kts_database *database)
{
    if (!database)
        return;
    for (int i = 0; i < KTS_DB_USES; i++)
        close_line(&database->lines[i]);
    if (database->tick)
        event_free(database->tick);
    free(database);
}

struct db_reader *kts_database_reader(struct kts_database *database, enum kts_database_use use)
{
    return database->lost ? NULL : database->lines[use].reader;
}

int kts_database_is_open(const struct kts_database *database)
{
    return !database->lost && database->lines[KTS_DB_SHORT].reader != NULL;
}

void kts_database_turn(struct kts_database *database)
{
    for (int i = 0; i < KTS_DB_USES && !database->lost; i++) {
        struct line *line = &database->lines[i];
        if (!line->reader)
            continue;
        if (db_reader_flush(line->reader))
            lose(database);
        else
            watch(line);
    }
    if (!database->lost || !database->lines[KTS_DB_SHORT].reader)
        return;
    // What is still under way gets its error now; then nothing points to the readers any more.
    for (int i = 0; i < KTS_DB_USES; i++) {
        db_reader_fail(database->lines[i].reader);
        close_line(&database->lines[i]);
    }
}
