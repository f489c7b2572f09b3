// SPDX-License-Identifier: Apache-2.0
// Small helpers on libpq for the files of db: connecting and asking with a deadline. Never included
// outside of db.
#ifndef DB_PG_H
#define DB_PG_H

#include "db/cluster.h"

// As in libpq-fe.h, which only files that call libpq include.
typedef struct pg_conn PGconn;
typedef struct pg_result PGresult;

// Connects within `timeout_ms`. Nothing but `target` decides where to and as whom: variables of the
// environment (PGHOST, PGSERVICE, PGOPTIONS, ...) are dropped from this process, no password or
// service file is read. KT_ERR_DATABASE_UNAVAILABLE, KT_ERR_DATABASE_TIMEOUT.
// `*conn` is closed by PQfinish; its notices are dropped.
int db_pg_connect(const struct db_target *target, int timeout_ms, PGconn **conn,
                  struct kt_error *error) KT_MUST_CHECK;
// The first half, for those who poll themselves: keywords and values for PQconnectStartParams, all
// given explicitly. `port` is room for the number's text.
#define DB_PG_PARAMETERS 16
void db_pg_parameters(const struct db_target *target, char port[8],
                      const char *keywords[DB_PG_PARAMETERS], const char *values[DB_PG_PARAMETERS]);
// Drops PG* from the environment of this process. Not while other threads run.
void db_pg_clean_environment(void);

// Runs one statement with text parameters ($1, ...; NULL is SQL NULL) within `timeout_ms`; beyond
// it the statement is cancelled: KT_ERR_DATABASE_TIMEOUT. `*result` (may be NULL when the rows do
// not matter) is freed by PQclear.
int db_pg_query(PGconn *conn, int timeout_ms, const char *sql, int count,
                const char *const *parameters, PGresult **result,
                struct kt_error *error) KT_MUST_CHECK;
// Runs a text of one or more statements without parameters; rows are dropped.
int db_pg_run(PGconn *conn, int timeout_ms, const char *sql, struct kt_error *error) KT_MUST_CHECK;

// Words for a failed result: the server's primary message and SQLSTATE. Never its detail, which
// repeats values. `what` says what was tried. Returns the code that fits.
int db_pg_result_error(const PGresult *result, const char *what, struct kt_error *error);

#endif
