// SPDX-License-Identifier: Apache-2.0
// node/replication, and what becomes of it in the data directory.
#include "db/replication.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "db/replication_inner.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/pki.h"

#define FORMAT        1
#define FILE_MAX      8192
#define CONF_MAX      16384
#define STANDBY_FILE  "standby.signal"
#define RECOVERY_FILE "recovery.signal" // of archive recovery, which is never ours

static const char *const MODES[] = {
    [DB_MODE_ACTIVE] = "active", [DB_MODE_FOLLOW] = "follow", [DB_MODE_SEALED] = "sealed"};
#define MODE_COUNT (sizeof(MODES) / sizeof(MODES[0]))

const char *db_mode_name(enum db_mode mode)
{
    return (size_t)mode < MODE_COUNT ? MODES[mode] : NULL;
}

// A host name or address: nothing that means something in a connection string or a settings file.
static int check_host(const char *host)
{
    size_t n = strspn(host, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.:-_%");

    return n > 0 && n <= KT_HOST_MAX && host[n] == '\0' ? 0 : KT_ERR_INVALID;
}

static int check(const struct db_replication *replication)
{
    const char *names = replication->standby_names;

    if (!db_mode_name(replication->mode) || strchr(names, '\'') || strchr(names, '\\') ||
        strchr(names, '\n'))
        return KT_ERR_INVALID;
    if (replication->mode != DB_MODE_FOLLOW)
        return 0;
    // Beyond 63 bytes PostgreSQL cuts a name off silently.
    if (check_host(replication->host) != 0 || replication->port == 0 ||
        replication->addresses[strspn(replication->addresses, "0123456789abcdef.:,")] != '\0' ||
        kt_member_check(replication->member) != 0 || replication->application_name[0] == '\0' ||
        strlen(replication->application_name) >= KT_REPLICATION_NAME_TEXT ||
        strpbrk(replication->application_name, "'\\\n"))
        return KT_ERR_INVALID;
    return 0;
}

static int copy_text(const json_t *object, const char *name, char *out, size_t size)
{
    const char *text = NULL;

    if (kt_json_string(object, name, 0, size - 1, &text, NULL) != 0)
        return KT_ERR_INVALID;
    snprintf(out, size, "%s", text ? text : "");
    return 0;
}

static int from_json(const json_t *object, struct db_replication *replication)
{
    int64_t format = 0, port = 0;
    const char *mode = NULL;
    size_t found = 0;

    memset(replication, 0, sizeof(*replication));
    if (kt_json_integer(object, "format", 1, FORMAT, 1, &format, NULL) != 0 ||
        kt_json_integer(object, "port", 0, 65535, 0, &port, NULL) != 0 ||
        kt_json_string(object, "mode", 1, 16, &mode, NULL) != 0 ||
        copy_text(object, "standby_names", replication->standby_names,
                  sizeof(replication->standby_names)) != 0 ||
        copy_text(object, "host", replication->host, sizeof(replication->host)) != 0 ||
        copy_text(object, "addresses", replication->addresses, sizeof(replication->addresses)) !=
            0 ||
        copy_text(object, "member", replication->member, sizeof(replication->member)) != 0 ||
        copy_text(object, "application_name", replication->application_name,
                  sizeof(replication->application_name)) != 0)
        return KT_ERR_INVALID;
    while (found < MODE_COUNT && strcmp(mode, MODES[found]) != 0)
        found++;
    replication->mode = (enum db_mode)found;
    replication->port = (uint16_t)port;
    replication->read_only = kt_json_boolean(object, "read_only", 0);
    return check(replication);
}

int db_replication_load(const struct kt_paths *paths, struct db_replication *replication,
                        struct kt_error *error)
{
    struct db_replication fresh;
    json_t *object = NULL;
    char *text = NULL;
    int rc = kt_file_read_text(paths->replication, FILE_MAX, &text, error);

    if (rc)
        return rc;
    if (kt_json_parse_object(text, strlen(text), &object, NULL) != 0 ||
        from_json(object, &fresh) != 0)
        rc = kt_error_set(error, KT_ERR_INVALID, "run ktadmin rejoin on this node",
                          "'%s' does not say what PostgreSQL is to be", paths->replication);
    else
        *replication = fresh;
    json_decref(object);
    free(text);
    return rc;
}

int db_replication_save(const struct kt_paths *paths, const struct db_replication *replication,
                        struct kt_error *error)
{
    json_t *object = NULL;
    char *text = NULL;
    int rc = check(replication);

    if (rc)
        return kt_error_set(error, rc, NULL,
                            "host, names or member cannot stand in PostgreSQL's settings");
    object = json_pack("{s:i, s:s, s:s, s:b, s:s, s:s, s:i, s:s, s:s}", "format", FORMAT, "mode",
                       MODES[replication->mode], "standby_names", replication->standby_names,
                       "read_only", replication->read_only, "host", replication->host, "addresses",
                       replication->addresses, "port", (int)replication->port, "member",
                       replication->member, "application_name", replication->application_name);
    text = object ? json_dumps(object, JSON_INDENT(2)) : NULL;
    if (!text)
        rc = kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    else
        rc = kt_file_replace(paths->replication, text, strlen(text), 0600, error);
    free(text);
    json_decref(object);
    return rc;
}

int db_replication_of_node(const struct kt_paths *paths, struct db_replication *replication,
                           struct kt_error *error)
{
    struct kt_promise promise;
    size_t n;
    int rc = db_replication_load(paths, replication, error);

    if (rc != KT_ERR_NOT_FOUND)
        return rc;
    rc = kt_promise_load(paths->promise, &promise, error);
    if (rc == KT_ERR_NOT_FOUND)
        return kt_error_set(error, KT_ERR_NOT_INITIALISED,
                            "a copied confdir does not make a member: see ktadmin(8), FILES",
                            "no promise file '%s'", paths->promise);
    if (rc)
        return rc;
    // Made before nodes had this file: then it is a first node that never had a member.
    n = strcspn(promise.member, ".");
    if (promise.retired_by[0] || promise.active_since == 0 || strlen(promise.active) != n ||
        memcmp(promise.active, promise.member, n) != 0)
        return kt_error_set(error, KT_ERR_FENCED, "run ktadmin rejoin on this node",
                            "no file '%s', and this node is not active by its promise",
                            paths->replication);
    memset(replication, 0, sizeof(*replication));
    replication->mode = DB_MODE_ACTIVE;
    return 0;
}

// --- the data directory's part ---

// One value of a connection string: quoted, since a path may have any plain character. What is in
// it was checked for quotes and backslashes.
static int put_word(struct kt_buf *out, const char *name, const char *value)
{
    if (strpbrk(value, "'\\\n"))
        return KT_ERR_INVALID;
    return kt_buf_putf(out, "%s%s='%s'", kt_buf_left(out) > 0 ? " " : "", name, value);
}

// "keytrustee-node", as often as there are addresses.
static void name_each(const char *addresses, char out[DB_ADDRESSES_MAX * 32])
{
    size_t n = 0;

    n += (size_t)snprintf(out, 32, "%s", KT_PKI_NODE_SERVICE_NAME);
    for (int i = 1; i < DB_ADDRESSES_MAX && (addresses = strchr(addresses, ',')); i++, addresses++)
        n += (size_t)snprintf(out + n, 32, ",%s", KT_PKI_NODE_SERVICE_NAME);
}

int db_replication_conninfo(const struct kt_paths *paths, const struct db_source *source,
                            const char *addresses, const char *application_name,
                            const char *database, struct kt_buf *out)
{
    char port[8], hosts[DB_ADDRESSES_MAX * 32];
    const struct {
        const char *name, *value;
    } words[] = {
        {"host", hosts},
        {"hostaddr", addresses},
        {"port", port},
        {"user", source->member},
        {"dbname", database},
        {"application_name", application_name},
        {"sslmode", "verify-full"},
        {"sslcert", paths->node_cert},
        {"sslkey", paths->node_key},
        {"sslrootcert", paths->ca_cert},
        {"ssl_min_protocol_version", "TLSv1.3"},
        {"gssencmode", "disable"},
        {"passfile", "/dev/null/none"},
        {"connect_timeout", "2"},
        {"keepalives_idle", "5"},
        {"keepalives_interval", "2"},
        {"keepalives_count", "3"},
        {"tcp_user_timeout", "10000"},
    };
    int rc = check_host(source->host);

    name_each(addresses, hosts);
    snprintf(port, sizeof(port), "%u", (unsigned)source->port);
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]) && rc == 0; i++)
        rc = put_word(out, words[i].name, words[i].value);
    return rc;
}

int db_replication_values(const struct kt_paths *paths, const struct db_replication *replication,
                          struct db_replication_value values[DB_REPLICATION_VALUES])
{
    static const char *const NAMES[DB_REPLICATION_VALUES] = {
        "primary_conninfo", "primary_slot_name", "synchronous_standby_names",
        "default_transaction_read_only"};
    struct kt_buf conninfo = KT_BUF_INIT(DB_REPLICATION_VALUE_MAX - 1);
    struct db_source source;
    int rc = 0, read_only = replication->read_only;
    const char *names = replication->standby_names;

    for (size_t i = 0; i < DB_REPLICATION_VALUES; i++)
        values[i] = (struct db_replication_value){.name = NAMES[i]};
    if (replication->mode == DB_MODE_FOLLOW) {
        memcpy(source.host, replication->host, sizeof(source.host));
        memcpy(source.member, replication->member, sizeof(source.member));
        source.port = replication->port;
        rc = db_replication_conninfo(
            paths, &source, db_host_is_address(source.host) ? source.host : replication->addresses,
            replication->application_name, "replication", &conninfo);
        if (rc == 0 && kt_buf_left(&conninfo) > 0)
            memcpy(values[0].value, kt_buf_ptr(&conninfo), kt_buf_left(&conninfo));
        // A sealed donor keeps no slots.
        if (!db_is_copy_name(replication->application_name))
            kt_slot_name(replication->member, values[1].value);
    }
    // A standby that somebody promotes by hand acknowledges nothing.
    if (replication->mode == DB_MODE_FOLLOW ||
        (replication->mode == DB_MODE_SEALED && names[0] == '\0')) {
        names = "\"" DB_NOBODY "\"";
        read_only = 1;
    }
    snprintf(values[2].value, DB_REPLICATION_VALUE_MAX, "%s", names);
    snprintf(values[3].value, DB_REPLICATION_VALUE_MAX, "%s", read_only ? "on" : "off");
    kt_buf_free(&conninfo);
    return rc;
}

int db_is_copy_name(const char *application_name)
{
    size_t n = strlen(application_name);

    return n > 5 && strcmp(application_name + n - 5, "_copy") == 0;
}

static int make_text(const struct kt_paths *paths, const struct db_replication *replication,
                     struct kt_buf *out)
{
    struct db_replication_value *values = calloc(DB_REPLICATION_VALUES, sizeof(*values));
    int rc = values ? db_replication_values(paths, replication, values) : KT_ERR_NO_MEMORY;

    if (rc == 0)
        rc = kt_buf_putf(out,
                         "# Written from node/replication at each start and change; changes are "
                         "overwritten.\n"
                         "# %s\n",
                         MODES[replication->mode]);
    for (size_t i = 0; i < DB_REPLICATION_VALUES && rc == 0; i++) {
        rc = kt_buf_putf(out, "%s = ", values[i].name);
        if (rc == 0)
            rc = db_config_quote(values[i].value, out);
        if (rc == 0)
            rc = kt_buf_put_u8(out, '\n');
    }
    free(values);
    return rc;
}

// There for a standby, away for the active; the folder is synced either way.
static int place_signal(const char *dir, int standby, struct kt_error *error)
{
    char path[KT_PATH_MAX];
    int rc = kt_path_join(path, sizeof(path), dir, STANDBY_FILE);

    if (rc)
        return kt_error_set(error, rc, NULL, "the data directory's path is too long");
    if (standby)
        return kt_file_exists(path) ? 0 : kt_file_replace(path, "", 0, 0600, error);
    if (unlink(path) != 0 && errno != ENOENT)
        return kt_error_errno(error, "cannot remove '%s'", path);
    return kt_dir_sync(dir, error);
}

int db_replication_write(struct db_cluster *cluster, const struct db_replication *replication,
                         struct kt_error *error)
{
    struct kt_buf text = KT_BUF_INIT(CONF_MAX);
    char path[KT_PATH_MAX], recovery[KT_PATH_MAX];
    int rc = kt_path_join(path, sizeof(path), cluster->dir, DB_REPLICATION_FILE);

    if (rc == 0)
        rc = kt_path_join(recovery, sizeof(recovery), cluster->dir, RECOVERY_FILE);
    if (rc)
        return kt_error_set(error, rc, NULL, "the data directory's path is too long");
    rc = make_text(cluster->paths, replication, &text);
    if (rc)
        rc = kt_error_set(error, rc, "choose a confdir with plain characters in its path",
                          "PostgreSQL's settings cannot hold the paths or the host");
    // The signal first: with it, an active's settings start a standby without upstream.
    if (rc == 0 && replication->mode != DB_MODE_ACTIVE)
        rc = place_signal(cluster->dir, 1, error);
    if (rc == 0)
        rc = kt_file_replace(path, kt_buf_ptr(&text), kt_buf_left(&text), 0600, error);
    if (rc == 0 && replication->mode == DB_MODE_ACTIVE)
        rc = place_signal(cluster->dir, 0, error);
    if (rc == 0 && unlink(recovery) != 0 && errno != ENOENT)
        rc = kt_error_errno(error, "cannot remove '%s'", recovery);
    kt_buf_free(&text);
    return rc;
}

int db_replication_check(const struct db_cluster *cluster, struct kt_error *error)
{
    struct kt_buf text = KT_BUF_INIT(CONF_MAX), there = KT_BUF_INIT(CONF_MAX);
    struct db_replication replication;
    char path[KT_PATH_MAX];
    int rc = db_replication_of_node(cluster->paths, &replication, error);

    if (rc)
        return rc;
    rc = kt_path_join(path, sizeof(path), cluster->dir, DB_REPLICATION_FILE);
    if (rc == 0)
        rc = make_text(cluster->paths, &replication, &text);
    if (rc == 0)
        rc = kt_file_read(path, &there, NULL);
    if (rc || kt_buf_left(&text) != kt_buf_left(&there) ||
        memcmp(kt_buf_ptr(&text), kt_buf_ptr(&there), kt_buf_left(&text)) != 0)
        rc = kt_error_set(error, KT_ERR_UNSAFE_SETTINGS,
                          "stop PostgreSQL and start it again: the file is written at each start",
                          "'%s' is not as node/replication says", path);
    kt_buf_free(&text);
    kt_buf_free(&there);
    return rc;
}

int db_replication_render(struct db_cluster *cluster, struct kt_error *error)
{
    struct db_replication replication, before;
    int done, rc = db_replication_of_node(cluster->paths, &replication, error);

    if (rc == 0) {
        before = replication;
        db_replication_resolve(&replication);
        if (strcmp(replication.addresses, before.addresses) != 0)
            rc = db_replication_save(cluster->paths, &replication, error);
    }
    // A copy brought the other node's files along.
    if (rc == 0)
        rc = db_cluster_configure(cluster, &done, error);
    return rc ? rc : db_replication_write(cluster, &replication, error);
}
