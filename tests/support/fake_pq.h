// SPDX-License-Identifier: Apache-2.0
// A scripted libpq: answers that a real server does not give on demand.
#ifndef FAKE_PQ_H
#define FAKE_PQ_H

#include <libpq-fe.h>

enum fake_kind {
    FAKE_OK,    // the command's or rows' success
    FAKE_ERROR, // with an SQLSTATE
    FAKE_GONE,  // the connection is lost instead of an answer
    FAKE_SILENT // no answer ever comes
};

struct fake_answer {
    const char *expect; // must occur in the statement's name or text
    enum fake_kind kind;
    const char *sqlstate; // FAKE_ERROR
    int notices;          // warnings that come with the answer
    const char *tag;      // rows affected
    int columns;          // > 0: rows
    int rows;             // 0: one
    const char *row[48];  // NULL = SQL NULL; all rows, one behind the other
    void (*then)(void);   // called when the answer is given, or is waited for in vain
};

// The script for all statements to come on any connection, in order, up to one with expect NULL.
// `noticed` is called for each warning.
void fake_pq_script(const struct fake_answer *answers, void (*noticed)(void *arg), void *arg);
// How many statements were sent, and the i-th one's name or text.
int fake_pq_sent(void);
const char *fake_pq_statement(int i);
// Its text parameters, each with a newline behind it; "(null)" for SQL NULL.
const char *fake_pq_parameters(int i);
// On which connection.
PGconn *fake_pq_connection(int i);
// 1 when a statement containing `text` was sent.
int fake_pq_was_sent(const char *text);
extern PGconn *const fake_pq_main;
extern PGconn *const fake_pq_commit;

#endif
