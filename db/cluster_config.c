// SPDX-License-Identifier: Apache-2.0
// The managed settings of PostgreSQL: keytrustee.conf, pg_hba.conf, pg_ident.conf.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <libpq-fe.h>

#include "db/replication_inner.h"
#include "lib/file.h"
#include "lib/proc.h"

#define FILE_MAX        262144
#define INCLUDE_LINE    "include '" DB_SETTINGS_FILE "' # kept last by ktadmin\n"
#define LIVE_TIMEOUT_MS 5000

// What must be so for the promises of the product, on every node alike; the last column is what
// pg_settings shows for it, NULL when it is the same.
static const struct {
    const char *name, *value, *shown;
} FIXED[] = {
    {"unix_socket_permissions", "0700", NULL},
    // 64 workers with two connections each, the writer's, the agent's, a backup's
    {"max_connections", "200", NULL},
    // durability
    {"wal_level", "replica", NULL},
    {"fsync", "on", NULL},
    {"full_page_writes", "on", NULL},
    {"synchronous_commit", "on", NULL},
    {"max_prepared_transactions", "32", NULL},
    {"wal_log_hints", "on", NULL},
    {"restart_after_crash", "on", NULL},
    // standbys
    {"hot_standby", "on", NULL},
    {"hot_standby_feedback", "on", NULL},
    {"max_wal_senders", "16", NULL},
    {"max_replication_slots", "16", NULL},
    {"max_slot_wal_keep_size", "4GB", "4096"},
    {"wal_keep_size", "256MB", "256"},
    {"recovery_target_timeline", "latest", NULL},
    // a node that is gone is noticed within seconds, in both directions
    {"wal_sender_timeout", "5s", "5000"},
    {"wal_receiver_timeout", "5s", "5000"},
    {"wal_receiver_status_interval", "1s", "1"},
    {"wal_retrieve_retry_interval", "100ms", "100"},
    // who comes in
    {"authentication_timeout", "5s", "5"}, // the port is open to strangers, who hold a place each
    {"password_encryption", "scram-sha-256", NULL},
    {"ssl", "on", NULL},
    {"ssl_min_protocol_version", "'TLSv1.3'", "TLSv1.3"},
    // small statements of known shape only
    {"jit", "off", NULL},
    {"timezone", "'UTC'", "UTC"},
    // the log: never statements, parameters or the values in an error's detail
    {"log_statement", "none", NULL},
    {"log_min_error_statement", "panic", NULL},
    {"log_min_duration_statement", "-1", NULL},
    {"log_parameter_max_length", "0", NULL},
    {"log_parameter_max_length_on_error", "0", NULL},
    {"log_error_verbosity", "terse", NULL},
    {"logging_collector", "on", NULL},
    {"log_destination", "stderr", NULL},
    {"log_file_mode", "0600", NULL},
    {"log_filename", "'postgresql-%a.log'", "postgresql-%a.log"},
    {"log_rotation_age", "1d", "1440"},
    {"log_rotation_size", "0", NULL},
    {"log_truncate_on_rotation", "on", NULL},
    {"log_line_prefix", "'%m [%p] %q%u %a '", "%m [%p] %q%u %a "},
    {"log_timezone", "'UTC'", "UTC"},
};
#define FIXED_COUNT (sizeof(FIXED) / sizeof(FIXED[0]))

int db_config_quote(const char *text, struct kt_buf *out)
{
    int rc = kt_buf_put_u8(out, '\'');

    for (const char *at = text; *at && rc == 0; at++) {
        if ((unsigned char)*at < 0x20 || *at == 0x7f || *at == '\\')
            return KT_ERR_INVALID;
        rc = *at == '\'' ? kt_buf_put(out, "''", 2) : kt_buf_put_u8(out, (uint8_t)*at);
    }
    return rc ? rc : kt_buf_put_u8(out, '\'');
}

// Where the service listens, its standbys' connections come in too.
static const char *listen_addresses(const struct kt_settings *settings)
{
    const char *address = kt_settings_text(settings, KT_SET_HTTPS_ADDRESS);

    return strcmp(address, "0.0.0.0") == 0 || strcmp(address, "::") == 0 ? "*" : address;
}

static int put_path(const char *name, const char *path, struct kt_buf *out, struct kt_error *error)
{
    int rc = kt_buf_putf(out, "%s = ", name);

    if (rc == 0)
        rc = db_config_quote(path, out);
    if (rc == 0)
        rc = kt_buf_put(out, "\n", 1);
    return rc ? kt_error_set(error, rc, "choose a confdir with plain characters in its path",
                             "PostgreSQL's settings cannot hold the path '%s'", path)
              : 0;
}

int db_config_settings(const struct db_cluster *cluster, const char *node, struct kt_buf *out,
                       struct kt_error *error)
{
    const struct kt_paths *paths = cluster->paths;
    const struct {
        const char *name, *path;
    } places[] = {
        {"listen_addresses", listen_addresses(cluster->settings)},
        {"unix_socket_directories", paths->run},
        {"log_directory", paths->logs},
        {"ssl_cert_file", paths->node_cert},
        {"ssl_key_file", paths->node_key},
        {"ssl_ca_file", paths->ca_cert},
    };
    int rc;

    // PostgreSQL reads this one as a list.
    if (strpbrk(paths->run, ",\" \t"))
        return kt_error_set(error, KT_ERR_INVALID,
                            "choose a confdir with plain characters in its "
                            "path",
                            "the socket folder '%s' has a comma, quote or space", paths->run);
    rc = kt_buf_putf(out,
                     "# Written by ktadmin; changes are overwritten. Own settings belong in "
                     "postgresql.conf.\n"
                     "port = %d\n"
                     "cluster_name = '%s'\n",
                     (int)kt_settings_number(cluster->settings, KT_SET_DATABASE_PORT), node);
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]) && rc == 0; i++)
        rc = put_path(places[i].name, places[i].path, out, error);
    for (size_t i = 0; i < FIXED_COUNT && rc == 0; i++)
        rc = kt_buf_putf(out, "%s = %s\n", FIXED[i].name, FIXED[i].value);
    // Missing, it stops the start: nothing runs without having been told what to be.
    return rc ? rc : kt_buf_putf(out, "include '" DB_REPLICATION_FILE "'\n");
}

int db_config_hba(const char *database, struct kt_buf *out)
{
    // A name with a quote cannot be written down here; nobody needs one.
    if (strchr(database, '"') || strchr(database, '\n'))
        return KT_ERR_INVALID;
    return kt_buf_putf(out,
                       "# Written by ktadmin; changes are overwritten.\n"
                       "local all keytrustee peer map=keytrustee\n"
                       "local \"%s\" kts_reader,kts_writer,kts_agent scram-sha-256\n"
                       "local all all reject\n"
                       "local replication all reject\n"
                       "hostssl replication +kts_members all cert\n"
                       "hostssl \"%s\" +kts_members all cert\n"
                       "host all all all reject\n"
                       "host replication all all reject\n",
                       database, database);
}

int db_config_ident(const char *account, struct kt_buf *out)
{
    int rc;

    if (strchr(account, '"') || strchr(account, '\n') || account[0] == '/')
        return KT_ERR_INVALID;
    rc = kt_buf_putf(out,
                     "# Written by ktadmin; changes are overwritten.\n"
                     "keytrustee \"%s\" keytrustee\n",
                     account);
    if (rc == 0 && strcmp(account, DB_OWNER) != 0)
        rc = kt_buf_put(out, "keytrustee keytrustee keytrustee\n", 33);
    return rc;
}

// One managed file: compares, and writes it when `write` is set. *same: it was right before.
static int manage(const char *dir, const char *name, const struct kt_buf *text, int write,
                  int *same, struct kt_error *error)
{
    struct kt_buf old = KT_BUF_INIT(FILE_MAX);
    char path[KT_PATH_MAX];
    int rc = kt_path_join(path, sizeof(path), dir, name);

    if (rc)
        return kt_error_set(error, rc, NULL, "the path of '%s' is too long", name);
    rc = kt_file_read(path, &old, error);
    if (rc && rc != KT_ERR_NOT_FOUND && rc != KT_ERR_TOO_LARGE)
        goto out;
    *same = rc == 0 && kt_buf_left(&old) == kt_buf_left(text) &&
            memcmp(kt_buf_ptr(&old), kt_buf_ptr(text), kt_buf_left(text)) == 0;
    rc = 0;
    if (!*same && write)
        rc = kt_file_replace(path, kt_buf_ptr(text), kt_buf_left(text), 0600, error);
out:
    kt_buf_free(&old);
    return rc;
}

// postgresql.conf as initdb wrote it (or as the operator changed it) with our include at its end.
static int included_text(const char *dir, struct kt_buf *out, struct kt_error *error)
{
    char path[KT_PATH_MAX];
    size_t n = sizeof(INCLUDE_LINE) - 1;
    int rc = kt_path_join(path, sizeof(path), dir, "postgresql.conf");

    if (rc == 0)
        rc = kt_file_read(path, out, error);
    if (rc)
        return rc;
    if (kt_buf_left(out) >= n &&
        memcmp(kt_buf_ptr(out) + kt_buf_left(out) - n, INCLUDE_LINE, n) == 0)
        return 0;
    if (kt_buf_left(out) > 0 && kt_buf_ptr(out)[kt_buf_left(out) - 1] != '\n')
        rc = kt_buf_put(out, "\n", 1);
    return rc ? rc : kt_buf_put(out, INCLUDE_LINE, n);
}

static int make_texts(struct db_cluster *cluster, struct kt_buf texts[4], struct kt_error *error)
{
    const char *database = kt_settings_text(cluster->settings, KT_SET_DATABASE_NAME);
    struct kt_cluster_info info;
    char account[256];
    int rc = kt_cluster_info_load(cluster->paths->cluster, &info, error);

    if (rc == 0)
        rc = db_config_settings(cluster, info.node, &texts[0], error);
    if (rc)
        return rc;
    kt_proc_user_name(account, sizeof(account));
    if (db_config_hba(database, &texts[1]) != 0)
        return kt_error_set(error, KT_ERR_SETTINGS, NULL, "database.name cannot be '%s'", database);
    if (db_config_ident(account, &texts[2]) != 0)
        return kt_error_set(error, KT_ERR_INVALID, NULL, "the account's name cannot be '%s'",
                            account);
    return included_text(cluster->dir, &texts[3], error);
}

// The include comes last: from then on the settings hold.
static const char *const MANAGED[4] = {DB_SETTINGS_FILE, "pg_hba.conf", "pg_ident.conf",
                                       "postgresql.conf"};

static int walk_managed(struct db_cluster *cluster, int write, int *wrong, struct kt_error *error)
{
    struct kt_buf texts[4] = {KT_BUF_INIT(FILE_MAX), KT_BUF_INIT(FILE_MAX), KT_BUF_INIT(FILE_MAX),
                              KT_BUF_INIT(FILE_MAX)};
    struct db_mark mark;
    int rc = db_cluster_check_ours(cluster, &mark, error);

    *wrong = -1;
    if (rc == 0)
        rc = make_texts(cluster, texts, error);
    for (int i = 0; i < 4 && rc == 0; i++) {
        int same = 0;
        rc = manage(cluster->dir, MANAGED[i], &texts[i], write, &same, error);
        if (!same && *wrong < 0)
            *wrong = i;
    }
    for (int i = 0; i < 4; i++)
        kt_buf_free(&texts[i]);
    return rc;
}

int db_cluster_configure(struct db_cluster *cluster, int *done, struct kt_error *error)
{
    int wrong, rc = walk_managed(cluster, 1, &wrong, error);

    if (rc == 0)
        *done = wrong < 0;
    return rc;
}

int db_cluster_config_check(struct db_cluster *cluster, struct kt_error *error)
{
    int wrong, rc = walk_managed(cluster, 0, &wrong, error);

    if (rc || wrong < 0)
        return rc ? rc : db_replication_check(cluster, error);
    return kt_error_set(error, KT_ERR_UNSAFE_SETTINGS,
                        "run ktadmin init again: it writes the managed files and leaves all else",
                        "'%s/%s' is not as ktadmin wrote it", cluster->dir, MANAGED[wrong]);
}

int db_cluster_live_check(struct db_cluster *cluster, struct kt_error *error)
{
    struct db_target target = {0};
    struct kt_secret *secret = NULL;
    PGconn *conn = NULL;
    int rc =
        db_target_load(cluster->paths, cluster->settings, DB_ROLE_AGENT, &target, &secret, error);

    if (rc == 0)
        rc = db_pg_connect(&target, LIVE_TIMEOUT_MS, &conn, error);
    for (size_t i = 0; i < FIXED_COUNT && rc == 0; i++) {
        const char *wanted = FIXED[i].shown ? FIXED[i].shown : FIXED[i].value;
        const char *names[] = {FIXED[i].name};
        PGresult *result = NULL;
        rc = db_pg_query(conn, LIVE_TIMEOUT_MS, "SELECT setting FROM pg_settings WHERE name = $1",
                         1, names, &result, error);
        if (rc)
            break;
        const char *value = PQntuples(result) == 1 ? PQgetvalue(result, 0, 0) : "(not visible)";
        // log_* are hidden from roles without pg_read_all_settings: not visible is not wrong
        if (PQntuples(result) == 1 && strcmp(value, wanted) != 0)
            rc = kt_error_set(error, KT_ERR_UNSAFE_SETTINGS,
                              "look for it in postgresql.conf and postgresql.auto.conf, then "
                              "restart PostgreSQL",
                              "PostgreSQL runs with %s = '%s' instead of '%s'", FIXED[i].name,
                              value, wanted);
        PQclear(result);
    }
    PQfinish(conn);
    kt_secret_free(secret);
    return rc;
}
