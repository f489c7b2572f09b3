// SPDX-License-Identifier: Apache-2.0
// A scripted libpq: the calls that the writer makes, answered from a table.
#include "tests/support/fake_pq.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STATEMENTS_MAX 1024

struct pg_result {
    const struct fake_answer *answer; // NULL: the end of a segment
    int aborted;
};

// A sent statement or sync, in the order of sending.
struct item {
    const struct fake_answer *answer; // NULL: sync
    int taken;                        // its result was given; the NULL behind it comes next
};

static const struct fake_answer *script;
static int script_at;
static void (*on_notice)(void *arg);
static void *notice_arg;
static struct item queue[STATEMENTS_MAX];
static int queued, at, aborted;
static char sent[STATEMENTS_MAX][512];
static char parameters[STATEMENTS_MAX][2048];
static PGconn *connections[STATEMENTS_MAX];
static int sent_count;
static int main_object, commit_object;
PGconn *const fake_pq_main = (PGconn *)&main_object;
PGconn *const fake_pq_commit = (PGconn *)&commit_object;

void fake_pq_script(const struct fake_answer *answers, void (*noticed)(void *arg), void *arg)
{
    script = answers;
    script_at = queued = at = aborted = sent_count = 0;
    on_notice = noticed;
    notice_arg = arg;
}

int fake_pq_sent(void)
{
    return sent_count;
}

const char *fake_pq_statement(int i)
{
    return sent[i];
}

int fake_pq_was_sent(const char *text)
{
    for (int i = 0; i < sent_count; i++) {
        if (strstr(sent[i], text))
            return 1;
    }
    return 0;
}

const char *fake_pq_parameters(int i)
{
    return parameters[i];
}

PGconn *fake_pq_connection(int i)
{
    return connections[i];
}

static void keep_parameters(int n, const char *const *values, const int *formats)
{
    char *out = parameters[sent_count];
    size_t used = 0;

    out[0] = '\0';
    for (int i = 0; i < n && (formats == NULL || formats[i] == 0); i++) {
        used += (size_t)snprintf(out + used, sizeof(parameters[0]) - used, "%s\n",
                                 values[i] ? values[i] : "(null)");
        assert_in_range(used, 0, sizeof(parameters[0]) - 1);
    }
}

static int send_statement(PGconn *conn, const char *text)
{
    assert_in_range(queued, 0, STATEMENTS_MAX - 1);
    connections[sent_count] = conn;
    snprintf(sent[sent_count++], sizeof(sent[0]), "%s", text);
    if (script[script_at].expect == NULL)
        fail_msg("statement behind the end of the script: %s", text);
    if (strstr(text, script[script_at].expect) == NULL)
        fail_msg("expected '%s', was sent '%s'", script[script_at].expect, text);
    queue[queued++] = (struct item){&script[script_at++], 0};
    return 1;
}

int PQsendQueryParams(PGconn *conn, const char *command, int n, const Oid *types,
                      const char *const *values, const int *lengths, const int *formats, int format)
{
    (void)types, (void)lengths, (void)format;
    keep_parameters(n, values, formats);
    return send_statement(conn, command);
}

int PQsendQueryPrepared(PGconn *conn, const char *name, int n, const char *const *values,
                        const int *lengths, const int *formats, int format)
{
    (void)lengths, (void)format;
    keep_parameters(n, values, formats);
    return send_statement(conn, name);
}

int PQsendPrepare(PGconn *conn, const char *name, const char *query, int n, const Oid *types)
{
    (void)query, (void)n, (void)types;
    keep_parameters(0, NULL, NULL);
    return send_statement(conn, name);
}

int PQpipelineSync(PGconn *conn)
{
    (void)conn;
    queue[queued++] = (struct item){NULL, 0};
    return 1;
}

static const struct fake_answer *current(void)
{
    return at < queued ? queue[at].answer : NULL;
}

int PQflush(PGconn *conn)
{
    (void)conn;
    return 0;
}

int PQsocket(const PGconn *conn)
{
    (void)conn;
    return -1; // poll() ignores it: a silent server is one that poll() waits for in vain
}

int PQisBusy(PGconn *conn)
{
    const struct fake_answer *answer = current();

    (void)conn;
    if (answer && !queue[at].taken && answer->kind == FAKE_SILENT && answer->then)
        answer->then();
    return answer && !queue[at].taken && answer->kind == FAKE_SILENT;
}

int PQconsumeInput(PGconn *conn)
{
    (void)conn;
    return 1;
}

ConnStatusType PQstatus(const PGconn *conn)
{
    const struct fake_answer *answer = current();

    (void)conn;
    return answer && answer->kind == FAKE_GONE ? CONNECTION_BAD : CONNECTION_OK;
}

PGresult *PQgetResult(PGconn *conn)
{
    const struct fake_answer *answer = current();
    PGresult *result;

    (void)conn;
    if (at >= queued || (answer && answer->kind == FAKE_GONE))
        return NULL;
    if (queue[at].taken) {
        at++;
        return NULL;
    }
    result = calloc(1, sizeof(*result));
    assert_non_null(result);
    result->answer = answer;
    if (answer == NULL) {
        aborted = 0;
        at++;
        return result;
    }
    result->aborted = aborted;
    for (int i = 0; i < answer->notices; i++)
        on_notice(notice_arg);
    if (answer->then)
        answer->then();
    if (answer->kind == FAKE_ERROR)
        aborted = 1;
    queue[at].taken = 1;
    return result;
}

void PQclear(PGresult *result)
{
    free(result);
}

ExecStatusType PQresultStatus(const PGresult *result)
{
    if (result == NULL)
        return PGRES_FATAL_ERROR;
    if (result->answer == NULL)
        return PGRES_PIPELINE_SYNC;
    if (result->aborted)
        return PGRES_PIPELINE_ABORTED;
    if (result->answer->kind == FAKE_ERROR)
        return PGRES_FATAL_ERROR;
    return result->answer->columns ? PGRES_TUPLES_OK : PGRES_COMMAND_OK;
}

char *PQresultErrorField(const PGresult *result, int code)
{
    static char sqlstate[6], message[] = "scripted";

    if (result == NULL || result->answer == NULL || result->answer->kind != FAKE_ERROR)
        return NULL;
    snprintf(sqlstate, sizeof(sqlstate), "%s", result->answer->sqlstate);
    return code == PG_DIAG_SQLSTATE ? sqlstate : message;
}

int PQntuples(const PGresult *result)
{
    if (result->answer == NULL || result->answer->columns == 0)
        return 0;
    return result->answer->rows ? result->answer->rows : 1;
}

int PQgetisnull(const PGresult *result, int row, int column)
{
    return result->answer->row[row * result->answer->columns + column] == NULL;
}

char *PQgetvalue(const PGresult *result, int row, int column)
{
    static char value[64][1024];
    int place = row * result->answer->columns + column;

    snprintf(value[place], sizeof(value[0]), "%s",
             result->answer->row[place] ? result->answer->row[place] : "");
    return value[place];
}

char *PQcmdTuples(PGresult *result)
{
    static char tag[32];

    snprintf(tag, sizeof(tag), "%s", result->answer->tag ? result->answer->tag : "");
    return tag;
}
