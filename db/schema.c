// SPDX-License-Identifier: Apache-2.0
// Schema files: found, applied in order, each in a transaction, recorded, never edited afterwards.
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <libpq-fe.h>

#include "db/cluster_inner.h"
#include "db/pg.h"
#include "lib/file.h"
#include "lib/version.h"

#define SCHEMA_FILE_MAX (1u << 20)
#define SCHEMA_NAME_MAX 100
#define STEP_MS         60000
// Whoever applies schema files holds this advisory lock ("ktsc").
#define LOCK_SQL "SELECT pg_advisory_lock(1802793827)"

struct schema_file {
    char name[SCHEMA_NAME_MAX + 1];
    int version;
    char *text;
    char sha256[KT_SHA256_TEXT];
};

static void free_file(struct schema_file *file)
{
    free(file->text);
    memset(file, 0, sizeof(*file));
}

static int has_files(const char *dir)
{
    char path[KT_PATH_MAX];

    return kt_path_join(path, sizeof(path), dir, "001_initial.sql") == 0 && kt_file_exists(path);
}

int db_schema_dir(char *out, size_t size, struct kt_error *error)
{
    const char *given = getenv("KEYTRUSTEE_SCHEMA_DIR");
    char program[KT_PATH_MAX];
    ssize_t n;

    if (given && *given) {
        if (given[0] != '/' || kt_path_join(out, size, "/", given + 1) != 0 || !has_files(out))
            return kt_error_set(error, KT_ERR_NOT_FOUND,
                                "KEYTRUSTEE_SCHEMA_DIR is the absolute path of their folder",
                                "no schema files in '%.200s'", given);
        return 0;
    }
    n = readlink("/proc/self/exe", program, sizeof(program) - 1);
    if (n > 0) {
        program[n] = '\0';
        *strrchr(program, '/') = '\0';
        if (kt_path_join(out, size, program, "../share/keytrustee/schema") == 0 && has_files(out))
            return 0;
    }
    if (kt_path_join(out, size, "/", &KT_SCHEMA_DIR[1]) == 0 && has_files(out))
        return 0;
    return kt_error_set(error, KT_ERR_NOT_FOUND, "install the package again",
                        "the schema files are not in '%s'", KT_SCHEMA_DIR);
}

// "001_initial.sql"
static int version_of(const char *name)
{
    size_t n = strlen(name);

    if (n < 9 || n > SCHEMA_NAME_MAX || !isdigit((unsigned char)name[0]) ||
        !isdigit((unsigned char)name[1]) || !isdigit((unsigned char)name[2]) || name[3] != '_' ||
        strcmp(name + n - 4, ".sql") != 0)
        return 0;
    return 100 * (name[0] - '0') + 10 * (name[1] - '0') + name[2] - '0';
}

// The one file of this version; KT_ERR_NOT_FOUND when there is none, KT_ERR_INVALID for two.
static int load_file(const char *dir, int version, struct schema_file *file, struct kt_error *error)
{
    uint8_t hash[KT_SHA256_LEN];
    char path[KT_PATH_MAX];
    struct dirent *entry;
    int found = 0, rc;
    DIR *folder = opendir(dir);

    memset(file, 0, sizeof(*file));
    if (!folder)
        return kt_error_errno(error, "cannot open the folder '%s'", dir);
    while ((entry = readdir(folder)))
        if (version_of(entry->d_name) == version) {
            memcpy(file->name, entry->d_name, strlen(entry->d_name) + 1);
            found++;
        }
    closedir(folder);
    if (found != 1)
        return kt_error_set(error, found ? KT_ERR_INVALID : KT_ERR_NOT_FOUND,
                            "install the package again", "'%s' has %s schema file of version %d",
                            dir, found ? "more than one" : "no", version);
    file->version = version;
    rc = kt_path_join(path, sizeof(path), dir, file->name);
    if (rc == 0)
        rc = kt_file_read_text(path, SCHEMA_FILE_MAX, &file->text, error);
    if (rc == 0)
        rc = kt_sha256(file->text, strlen(file->text), hash);
    if (rc == 0)
        kt_hex_encode(hash, sizeof(hash), file->sha256);
    return rc;
}

int db_schema_text(const char *dir, int version, char **text, char sha256[KT_SHA256_TEXT],
                   struct kt_error *error)
{
    struct schema_file file = {0};
    int rc = load_file(dir, version, &file, error);

    if (rc == 0) {
        memcpy(sha256, file.sha256, sizeof(file.sha256));
        *text = file.text;
        file.text = NULL;
    }
    free_file(&file);
    return rc;
}

// What is recorded must be what the files say.
static int check_recorded(const PGresult *rows, const char *dir, struct kt_error *error)
{
    for (int i = 0; i < PQntuples(rows); i++) {
        int version = db_leading_number(PQgetvalue(rows, i, 0));
        struct schema_file file = {0};
        int rc;

        if (version > KT_SCHEMA_VERSION)
            return kt_error_set(error, KT_ERR_INVALID, "install the newer program",
                                "the database has schema %d, this program knows %d", version,
                                KT_SCHEMA_VERSION);
        if (version != i + 1)
            return kt_error_set(error, KT_ERR_INVALID, NULL,
                                "the database has no record of schema %d", i + 1);
        rc = load_file(dir, version, &file, error);
        if (rc == 0 && strcmp(file.sha256, PQgetvalue(rows, i, 1)) != 0)
            rc = kt_error_set(error, KT_ERR_INVALID,
                              "install the package again: applied files are never edited",
                              "the schema file '%s' is not the one that was applied", file.name);
        free_file(&file);
        if (rc)
            return rc;
    }
    return 0;
}

// In the transaction that is open.
static int run_file(PGconn *conn, const struct schema_file *file, struct kt_error *error)
{
    char number[16];
    const char *parameters[] = {number, file->name, file->sha256};
    struct kt_error inner;
    int rc = db_pg_run(conn, STEP_MS, file->text, &inner);

    // A COMMIT inside of the file would end our transaction.
    if (rc == 0 && PQtransactionStatus(conn) != PQTRANS_INTRANS)
        rc = kt_error_set(&inner, KT_ERR_INVALID, NULL, "the file ends the transaction");
    snprintf(number, sizeof(number), "%d", file->version);
    if (rc == 0)
        rc = db_pg_query(conn, STEP_MS,
                         "INSERT INTO schema_version (version, file, sha256)"
                         " VALUES ($1, $2, decode($3, 'hex'))",
                         3, parameters, NULL, &inner);
    if (rc)
        kt_error_set(error, rc, inner.hint, "schema file '%s': %.300s", file->name, inner.message);
    return rc;
}

static int apply_one(PGconn *conn, const struct schema_file *file, struct kt_error *error)
{
    int rc = db_pg_run(conn, STEP_MS, "BEGIN", error);

    if (rc == 0)
        rc = run_file(conn, file, error);
    return rc ? rc : db_pg_run(conn, STEP_MS, "COMMIT", error);
}

int db_schema_add(PGconn *conn, const char *dir, int version, struct kt_error *error)
{
    struct schema_file file = {0};
    int rc = load_file(dir, version, &file, error);

    if (rc == 0)
        rc = run_file(conn, &file, error);
    free_file(&file);
    return rc;
}

int db_schema_apply(const struct db_target *owner, const char *schema_dir, int *applied,
                    struct kt_error *error)
{
    struct schema_file file = {0};
    PGresult *result = NULL;
    PGconn *conn = NULL;
    int count = 0, recorded = 0, there = 0;
    int rc = db_pg_connect(owner, STEP_MS, &conn, error);

    if (rc == 0)
        rc = db_pg_query(conn, STEP_MS, LOCK_SQL, 0, NULL, NULL, error);
    if (rc == 0)
        rc = db_pg_query(conn, STEP_MS, "SELECT to_regclass('public.schema_version') IS NOT NULL",
                         0, NULL, &result, error);
    if (rc)
        goto out;
    there = PQgetvalue(result, 0, 0)[0] == 't';
    PQclear(result);
    result = NULL;
    if (there) {
        rc = db_pg_query(
            conn, STEP_MS,
            "SELECT version, encode(sha256, 'hex') FROM schema_version ORDER BY version", 0, NULL,
            &result, error);
        if (rc == 0)
            rc = check_recorded(result, schema_dir, error);
        if (rc)
            goto out;
        recorded = PQntuples(result);
    }
    for (int version = recorded + 1; version <= KT_SCHEMA_VERSION && rc == 0; version++) {
        rc = load_file(schema_dir, version, &file, error);
        if (rc == 0)
            rc = apply_one(conn, &file, error);
        if (rc == 0)
            count++;
        free_file(&file);
    }
    if (rc == 0)
        *applied = count;
out:
    PQclear(result);
    PQfinish(conn); // ends the lock, and what was not committed
    return rc;
}
