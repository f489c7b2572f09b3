// SPDX-License-Identifier: Apache-2.0
// The script that puts a backup into a new database with nothing but psql.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <libpq-fe.h>

#include "db/backup_inner.h"
#include "db/cluster_inner.h"
#include "db/rebuild_sql.h"
#include "db/replication_inner.h"
#include "lib/version.h"

#define TEXT_MAX (16u << 20)

// What a start file of psql may have set is set back; a savepoint a statement would also forbid to
// load rows as old ones (freeze). The commit must not wait for standbys: none has this database.
static const char BEGIN_TEXT[] =
    "\\set ON_ERROR_STOP on\n"
    "\\set ON_ERROR_ROLLBACK off\n"
    "\\set AUTOCOMMIT on\n"
    "SET client_encoding = 'UTF8';\n"
    "SET standard_conforming_strings = on;\n"
    "SET client_min_messages = warning;\n"
    "SET search_path = public;\n"
    "SET default_transaction_read_only = off;\n"
    "SET synchronous_commit = local;\n"
    "SET statement_timeout = 0;\n"
    "SET lock_timeout = 0;\n"
    "SET idle_in_transaction_session_timeout = 0;\n"
    "SET DateStyle = 'ISO, YMD';\n"
    "SET TimeZone = 'UTC';\n"
    "BEGIN;\n"
    "DO $$\n"
    "BEGIN\n"
    "    IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN\n"
    "        RAISE EXCEPTION 'role \"%\" may not restore', current_user\n"
    "            USING HINT = 'run it as a superuser: psql -U " DB_OWNER "';\n"
    "    END IF;\n"
    "    IF EXISTS (SELECT FROM pg_prepared_xacts WHERE database = current_database()) THEN\n"
    "        RAISE EXCEPTION 'prepared transactions are left in database \"%\"',"
    " current_database()\n"
    "            USING HINT = 'list them with SELECT gid FROM pg_prepared_xacts, end each with"
    " ROLLBACK PREPARED, then drop and create the database';\n"
    "    END IF;\n"
    "    IF EXISTS (SELECT FROM pg_class WHERE relnamespace = 'public'::regnamespace) THEN\n"
    "        RAISE EXCEPTION 'database \"%\" is not empty', current_database()\n"
    "            USING HINT = 'drop and create the database first';\n"
    "    END IF;\n"
    "END\n"
    "$$;\n";

static const char GRANTS_TEXT[] =
    "DO $$\n"
    "BEGIN\n"
    "    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());\n"
    "    EXECUTE format('GRANT CONNECT ON DATABASE %I TO kts_reader, kts_writer, kts_agent',\n"
    "        current_database());\n"
    "END\n"
    "$$;\n";

static const char END_TEXT[] = DB_REBUILD_ADD "UPDATE cluster SET state = 'restored';\n"
                                              "COMMIT;\n"
                                              "ANALYZE;\n";

struct script {
    struct db_backup *backup;
    struct db_stream stream;
    const char *folder;
};

static int put(struct script *script, const char *text, struct kt_error *error)
{
    return db_stream_put(&script->stream, text, strlen(text), error);
}

static int put_buf(struct script *script, struct kt_buf *text, int built, struct kt_error *error)
{
    int rc = built ? kt_error_set(error, built, NULL, "the script cannot be put together") : 0;

    if (rc == 0)
        rc = db_stream_put(&script->stream, kt_buf_ptr(text), kt_buf_left(text), error);
    kt_buf_reset(text);
    return rc;
}

// Each line of it behind "-- "; nothing in it may end a comment early.
static int put_comments(struct script *script, const char *text, struct kt_error *error)
{
    struct kt_buf line = KT_BUF_INIT(TEXT_MAX);
    int rc = 0, built = 0;

    while (*text && rc == 0) {
        size_t n = strcspn(text, "\r\n");
        built = kt_buf_putf(&line, "-- %.*s\n", (int)n, text);
        rc = put_buf(script, &line, built, error);
        text += n;
        text += strspn(text, "\r");
        text += *text == '\n';
    }
    kt_buf_free(&line);
    return rc;
}

static int put_usage(struct script *script, struct kt_error *error)
{
    struct kt_buf text = KT_BUF_INIT(TEXT_MAX);
    int rc;

    if (script->folder)
        rc = kt_buf_putf(
            &text,
            "--\n"
            "-- Into a new, empty database, as a superuser:  psql -X -d DATABASE -f THIS_FILE\n"
            "-- It is one transaction and stops at the first error (exit status 3). The rows are\n"
            "-- read from %s.\n"
            "-- With those files elsewhere, in /some/where:\n"
            "--   sed \"/^.copy /s| from '.*/| from '/some/where/|\" THIS_FILE > other.sql\n"
            "-- A backup made with --plain-sql has all rows in its script.\n",
            script->folder);
    else
        rc = kt_buf_putf(
            &text,
            "--\n"
            "-- Into a new, empty database, as a superuser:  psql -X -d DATABASE -f THIS_FILE\n"
            "-- It is one transaction and stops at the first error (exit status 3).\n");
    rc = put_buf(script, &text, rc, error);
    kt_buf_free(&text);
    return rc ? rc : put(script, BEGIN_TEXT, error);
}

// The verifiers let the server's processes in with the secrets of the confdir that is in the same
// backup. A standby has them too.
static int put_roles(struct script *script, struct kt_error *error)
{
    static const char SQL[] = "SELECT format(E'ALTER ROLE %I PASSWORD %L;\\n', rolname,"
                              " rolpassword) FROM pg_authid WHERE rolname = $1"
                              " AND rolpassword LIKE 'SCRAM-SHA-256$%'";
    struct kt_buf text = KT_BUF_INIT(TEXT_MAX);
    int rc = 0;

    for (int role = 0; role < DB_ROLE_COUNT && rc == 0; role++) {
        const char *parameters[] = {db_role_name((enum db_role)role)};
        PGresult *result = NULL;

        rc = put_buf(script, &text, db_role_statements((enum db_role)role, &text), error);
        if (rc == 0)
            rc =
                db_pg_query(script->backup->conn, DB_BACKUP_MS, SQL, 1, parameters, &result, error);
        if (rc == 0 && PQntuples(result) > 0)
            rc = put(script, PQgetvalue(result, 0, 0), error);
        PQclear(result);
    }
    kt_buf_free(&text);
    return rc ? rc : put(script, GRANTS_TEXT, error);
}

static int put_file(struct script *script, const char *dir, int version, const char *recorded,
                    struct kt_error *error)
{
    char sha256[KT_SHA256_TEXT], *text = NULL;
    int rc;

    if (version > KT_SCHEMA_VERSION)
        return kt_error_set(error, KT_ERR_INVALID, "install the newer program",
                            "the database has schema %d, this program knows %d", version,
                            KT_SCHEMA_VERSION);
    rc = db_schema_text(dir, version, &text, sha256, error);
    if (rc == 0 && strcmp(sha256, recorded) != 0)
        rc = kt_error_set(error, KT_ERR_INVALID,
                          "install the package again: applied files are never edited",
                          "schema file %d is not the one that was applied", version);
    if (rc == 0)
        rc = put(script, text, error);
    if (rc == 0)
        rc = put(script, "\n", error);
    free(text);
    return rc;
}

static int put_schema(struct script *script, struct kt_error *error)
{
    char dir[KT_PATH_MAX];
    PGresult *result = NULL;
    int rc = db_schema_dir(dir, sizeof(dir), error);

    if (rc == 0)
        rc = db_pg_query(script->backup->conn, DB_BACKUP_MS,
                         "SELECT version, encode(sha256, 'hex') FROM schema_version"
                         " ORDER BY version",
                         0, NULL, &result, error);
    for (int i = 0; rc == 0 && i < PQntuples(result); i++) {
        if (db_leading_number(PQgetvalue(result, i, 0)) != i + 1)
            rc = kt_error_set(error, KT_ERR_INVALID, NULL,
                              "the database has no record of schema %d", i + 1);
        else
            rc = put_file(script, dir, i + 1, PQgetvalue(result, i, 1), error);
    }
    PQclear(result);
    return rc ? rc : put(script, DB_REBUILD_DROP, error);
}

// psql takes what stands between the quotes as it is, but for doubled quotes; a line is a command.
static int put_file_name(const char *folder, struct kt_buf *out)
{
    int rc = 0;

    for (; *folder && rc == 0; folder++)
        rc = *folder == '\'' ? kt_buf_put(out, "''", 2) : kt_buf_put_u8(out, (uint8_t)*folder);
    return rc;
}

static int put_reference(struct script *script, const char *name, struct kt_error *error)
{
    struct kt_buf text = KT_BUF_INIT(TEXT_MAX);
    int rc = kt_buf_putf(&text, "\\copy public.%s from '", name);

    if (rc == 0)
        rc = put_file_name(script->folder, &text);
    if (rc == 0)
        rc = kt_buf_putf(&text, "/%s.bin' with (format binary, freeze)\n", name);
    rc = put_buf(script, &text, rc, error);
    kt_buf_free(&text);
    return rc;
}

static int put_rows(struct script *script, const char *name, struct kt_error *error)
{
    static const char COLUMNS[] =
        "SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute"
        " WHERE attrelid = ('public.' || $1)::regclass AND attnum > 0 AND NOT attisdropped"
        " AND attgenerated = ''";
    const char *parameters[] = {name};
    struct kt_buf text = KT_BUF_INIT(TEXT_MAX), sql = KT_BUF_INIT(TEXT_MAX);
    PGresult *result = NULL;
    int rc =
        db_pg_query(script->backup->conn, DB_BACKUP_MS, COLUMNS, 1, parameters, &result, error);

    if (rc)
        goto out;
    rc = kt_buf_putf(&text, "COPY public.%s (%s) FROM stdin WITH (FREEZE);\n", name,
                     PQgetvalue(result, 0, 0));
    rc = put_buf(script, &text, rc, error);
    if (rc)
        goto out;
    rc = kt_buf_putf(&sql, "COPY public.%s (%s) TO STDOUT", name, PQgetvalue(result, 0, 0));
    if (rc == 0)
        rc = kt_buf_put_u8(&sql, 0);
    if (rc) {
        kt_error_set(error, rc, NULL, "the columns of table '%s' are too many", name);
        goto out;
    }
    rc = db_stream_copy(&script->stream, script->backup->conn, (const char *)kt_buf_ptr(&sql),
                        error);
    if (rc == 0)
        rc = put(script, "\\.\n", error);
out:
    PQclear(result);
    kt_buf_free(&text);
    kt_buf_free(&sql);
    return rc;
}

static int put_script(struct script *script, const char *header, struct kt_error *error)
{
    const struct db_backup_facts *facts = &script->backup->facts;
    int rc = put_comments(script, header ? header : "", error);

    if (rc == 0)
        rc = put_usage(script, error);
    if (rc == 0)
        rc = put_roles(script, error);
    if (rc == 0)
        rc = put_schema(script, error);
    for (size_t i = 0; i < facts->table_count && rc == 0; i++)
        rc = script->folder ? put_reference(script, facts->tables[i].name, error)
                            : put_rows(script, facts->tables[i].name, error);
    if (rc == 0)
        rc = put(script, END_TEXT, error);
    return rc ? rc : db_stream_flush(&script->stream, error);
}

int db_backup_script(struct db_backup *backup, const char *folder, const char *header, db_sink sink,
                     void *arg, uint64_t *bytes, struct kt_error *error)
{
    struct script script = {.backup = backup, .folder = folder};
    int rc;

    if (folder && (folder[0] != '/' || strpbrk(folder, "\r\n")))
        return kt_error_set(error, KT_ERR_INVALID, "use --plain-sql, or another place",
                            "psql cannot read rows from a folder of this name");
    if (!backup->conn)
        return kt_error_set(error, KT_ERR_DATABASE_UNAVAILABLE, NULL, "the snapshot is gone");
    rc = db_stream_begin(&script.stream, sink, arg, UINT64_MAX, error);
    if (rc == 0)
        rc = put_script(&script, header, error);
    db_stream_free(&script.stream);
    // It may have ended in the middle of a table.
    if (rc && PQtransactionStatus(backup->conn) == PQTRANS_ACTIVE) {
        PQfinish(backup->conn);
        backup->conn = NULL;
    }
    if (rc == 0)
        *bytes = script.stream.bytes;
    return rc;
}
