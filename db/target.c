// SPDX-License-Identifier: Apache-2.0
// The roles of the private PostgreSQL, their secrets, and how to reach it.
#include "db/cluster.h"
#include "db/pg.h"

#include <stdio.h>
#include <string.h>

#include "db/cluster_inner.h"
#include "lib/file.h"

#define SECRET_BYTES    32 // random bytes of a role's secret; the file holds them as hex
#define SECRET_FILE_MAX 128

static const char *const ROLES[DB_ROLE_COUNT] = {
    [DB_ROLE_READER] = "kts_reader",
    [DB_ROLE_WRITER] = "kts_writer",
    [DB_ROLE_AGENT] = "kts_agent",
};

const char *db_role_name(enum db_role role)
{
    return (unsigned)role < DB_ROLE_COUNT ? ROLES[role] : NULL;
}

static int secret_path(const struct kt_paths *paths, enum db_role role, char out[KT_PATH_MAX],
                       struct kt_error *error)
{
    const char *name = db_role_name(role);

    if (!name)
        return kt_error_set(error, KT_ERR_INVALID, NULL, "no database role %d", (int)role);
    if (kt_path_join(out, KT_PATH_MAX, paths->secrets, name) != 0)
        return kt_error_set(error, KT_ERR_TOO_LARGE, "choose a shorter confdir",
                            "the path of the secret of role '%s' is too long", name);
    return 0;
}

int db_secret_make(const struct kt_paths *paths, enum db_role role, int *done,
                   struct kt_error *error)
{
    char path[KT_PATH_MAX];
    struct kt_secret *secret = NULL;
    int rc = secret_path(paths, role, path, error);

    if (rc)
        return rc;
    *done = kt_file_exists(path);
    if (*done)
        return 0;
    rc = kt_secret_random_hex(SECRET_BYTES, &secret);
    if (rc)
        return kt_error_set(error, rc, NULL, "cannot make the secret of role '%s'", ROLES[role]);
    rc = kt_file_create(path, kt_secret_text(secret), kt_secret_len(secret), 0600, error);
    kt_secret_free(secret);
    return rc;
}

int db_target_load(const struct kt_paths *paths, const struct kt_settings *settings,
                   enum db_role role, struct db_target *target, struct kt_secret **secret,
                   struct kt_error *error)
{
    char path[KT_PATH_MAX];
    struct kt_secret *fresh = NULL;
    int rc = secret_path(paths, role, path, error);

    if (rc)
        return rc;
    db_pg_clean_environment(); // of every process that connects by a target
    rc = kt_secret_from_file(path, SECRET_FILE_MAX, 1, &fresh, error);
    if (rc == KT_ERR_NOT_FOUND)
        return kt_error_set(error, KT_ERR_NOT_INITIALISED, "run ktadmin init",
                            "the secret of database role '%s' is missing: no file '%s'",
                            ROLES[role], path);
    if (rc)
        return rc;
    if (kt_secret_len(fresh) != 2 * SECRET_BYTES) {
        rc = kt_error_set(error, KT_ERR_INVALID, "take the file from a backup of the confdir",
                          "'%s' does not hold a role's secret", path);
        kt_secret_free(fresh);
        return rc;
    }
    db_target_owner(paths, settings, kt_settings_text(settings, KT_SET_DATABASE_NAME), target);
    target->user = ROLES[role];
    target->password = kt_secret_text(fresh);
    target->application_name = ROLES[role];
    *secret = fresh;
    return 0;
}

void db_target_owner(const struct kt_paths *paths, const struct kt_settings *settings,
                     const char *database, struct db_target *target)
{
    memset(target, 0, sizeof(*target));
    target->socket_dir = paths->run;
    target->port = (int)kt_settings_number(settings, KT_SET_DATABASE_PORT);
    target->database = database;
    target->user = DB_OWNER;
    target->application_name = "ktadmin";
}
