// SPDX-License-Identifier: Apache-2.0
// COPY TO STDOUT as a stream of large pieces.
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include <libpq-fe.h>

#include "db/backup_inner.h"

#define BLOCK_SIZE (256 * 1024)
#define SILENCE_MS 300000 // a server that says nothing for so long in the middle of a table

int db_name_is_plain(const char *name)
{
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_");

    return n > 0 && n <= 63 && name[n] == '\0';
}

int db_stream_begin(struct db_stream *stream, db_sink sink, void *arg, uint64_t limit,
                    struct kt_error *error)
{
    memset(stream, 0, sizeof(*stream));
    stream->sink = sink;
    stream->arg = arg;
    stream->limit = limit;
    if (!sink)
        return 0;
    stream->block = malloc(BLOCK_SIZE);
    return stream->block ? 0 : kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
}

void db_stream_free(struct db_stream *stream)
{
    // Deposits are ciphertext, but the verifiers of passwords came this way too.
    if (stream->block)
        kt_wipe(stream->block, BLOCK_SIZE);
    free(stream->block);
    stream->block = NULL;
}

int db_stream_flush(struct db_stream *stream, struct kt_error *error)
{
    size_t n = stream->used;

    stream->used = 0;
    return n > 0 ? stream->sink(stream->arg, stream->block, n, error) : 0;
}

int db_stream_put(struct db_stream *stream, const void *bytes, size_t n, struct kt_error *error)
{
    int rc = 0;

    if (n > stream->limit - stream->bytes)
        return kt_error_set(error, KT_ERR_TOO_LARGE, NULL,
                            "the database sends more than the %" PRIu64 " bytes it counted",
                            stream->limit);
    stream->bytes += n;
    if (!stream->sink)
        return 0;
    if (n > BLOCK_SIZE - stream->used)
        rc = db_stream_flush(stream, error);
    if (rc == 0 && n >= BLOCK_SIZE)
        return stream->sink(stream->arg, bytes, n, error);
    if (rc == 0) {
        memcpy(stream->block + stream->used, bytes, n);
        stream->used += n;
    }
    return rc;
}

static int broken(PGconn *conn, struct kt_error *error)
{
    const char *text = PQerrorMessage(conn);

    return kt_error_set(error, KT_ERR_DATABASE_UNAVAILABLE, NULL, "the database broke off: %.*s",
                        (int)strcspn(text, "\n"), text);
}

// Waits for more from the server and takes it in.
static int take_in(PGconn *conn, struct kt_error *error)
{
    struct pollfd one = {.fd = PQsocket(conn), .events = POLLIN};
    int n;

    do
        n = poll(&one, 1, SILENCE_MS);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return kt_error_errno(error, "cannot wait for the database");
    if (n == 0)
        return kt_error_set(error, KT_ERR_DATABASE_TIMEOUT, NULL, "the database does not answer");
    return PQconsumeInput(conn) ? 0 : broken(conn, error);
}

// The next result must have this status.
static int expect(PGconn *conn, ExecStatusType status, struct kt_error *error)
{
    PGresult *result;
    int rc = 0;

    while (PQisBusy(conn) && rc == 0)
        rc = take_in(conn, error);
    if (rc)
        return rc;
    result = PQgetResult(conn);
    if (PQresultStatus(result) != status)
        rc = db_pg_result_error(result, "the table cannot be read", error);
    PQclear(result);
    return rc;
}

int db_stream_copy(struct db_stream *stream, PGconn *conn, const char *sql, struct kt_error *error)
{
    char *row = NULL;
    int n, rc;

    if (!PQsendQuery(conn, sql))
        return broken(conn, error);
    rc = expect(conn, PGRES_COPY_OUT, error);
    while (rc == 0) {
        n = PQgetCopyData(conn, &row, 1);
        if (n == -1)
            break;
        if (n == -2)
            return broken(conn, error);
        if (n == 0) {
            rc = take_in(conn, error);
            continue;
        }
        rc = db_stream_put(stream, row, (size_t)n, error);
        PQfreemem(row);
    }
    if (rc == 0)
        rc = expect(conn, PGRES_COMMAND_OK, error);
    while (rc == 0) {
        PGresult *result = PQgetResult(conn);
        if (!result)
            break;
        PQclear(result);
    }
    return rc ? rc : db_stream_flush(stream, error);
}
