// SPDX-License-Identifier: Apache-2.0
// What the files with the agent's reads share; nobody else includes it.
#ifndef DB_QUERIES_INNER_H
#define DB_QUERIES_INNER_H

#include "db/queries.h"

#define DB_TIME_FORM   "'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'"
#define DB_ISO(column) "to_char(" column " AT TIME ZONE 'UTC', " DB_TIME_FORM ") "

// Runs one statement with text parameters (NULL: SQL NULL) and gives each row as an object whose
// members are named as the columns. KT_ERR_TOO_LARGE beyond 10,000 rows.
int db_rows_of(struct db_session *session, const char *sql, int count, const char *const *values,
               json_t **rows, struct kt_error *error) KT_MUST_CHECK;
// One JSON object, which the statement makes itself.
int db_object_of(struct db_session *session, const char *sql, json_t **object,
                 struct kt_error *error) KT_MUST_CHECK;

#endif
