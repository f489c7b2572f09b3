// SPDX-License-Identifier: Apache-2.0
// Finding PostgreSQL's programs and checking their release; the mark that a data directory is ours.
#include "db/cluster.h"

#include <errno.h>
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "db/cluster_inner.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/proc.h"
#include "lib/version.h"

#define VERSION_TIMEOUT_MS 10000
#define MARK_FORMAT        1
#define MARK_MAX           4096

// Earlier minors can skip the wait for a synchronous standby while they start up. Later majors than
// these have the correction from their first release.
static const struct {
    int major, minor;
} OLDEST[] = {{15, 13}, {16, 9}, {17, 5}};

int db_leading_number(const char *text)
{
    char digits[16];
    uint64_t number = 0;
    size_t n = strspn(text, "0123456789");

    if (n >= sizeof(digits))
        return 0;
    memcpy(digits, text, n);
    digits[n] = '\0';
    return kt_u64_parse(digits, 1, INT_MAX, &number) == 0 ? (int)number : 0;
}

int db_version_check(const char *line, int *major, int *minor, struct kt_error *error)
{
    static const char HEAD[] = "postgres (PostgreSQL) ";
    const char *install = "install PostgreSQL 15.13, 16.9, 17.5 or later";
    int got[2] = {0, 0}, used = 0;

    if (strncmp(line, HEAD, sizeof(HEAD) - 1) != 0 ||
        sscanf(line + sizeof(HEAD) - 1, "%4d.%4d%n", &got[0], &got[1], &used) != 2 || used == 0)
        return kt_error_set(error, KT_ERR_INVALID, install, "not a release of PostgreSQL: '%.60s'",
                            line);
    if (got[0] < OLDEST[0].major)
        return kt_error_set(error, KT_ERR_UNSAFE_SETTINGS, install, "PostgreSQL %d.%d is too old",
                            got[0], got[1]);
    for (size_t i = 0; i < sizeof(OLDEST) / sizeof(OLDEST[0]); i++)
        if (got[0] == OLDEST[i].major && got[1] < OLDEST[i].minor)
            return kt_error_set(error, KT_ERR_UNSAFE_SETTINGS, install,
                                "PostgreSQL %d.%d is too old: before %d.%d a start may skip the "
                                "wait for standbys",
                                got[0], got[1], OLDEST[i].major, OLDEST[i].minor);
    *major = got[0];
    *minor = got[1];
    return 0;
}

// A program says the same as long as it is the same file. The agent asks before each of its jobs,
// which are children of its own, and a question takes as long as a promotion.
static struct {
    char path[KT_PATH_MAX];
    struct stat file;
    int major, minor;
} asked;

static int was_asked(const char *path, const struct stat *file)
{
    return strcmp(asked.path, path) == 0 && asked.file.st_dev == file->st_dev &&
           asked.file.st_ino == file->st_ino && asked.file.st_size == file->st_size &&
           asked.file.st_ctim.tv_sec == file->st_ctim.tv_sec &&
           asked.file.st_ctim.tv_nsec == file->st_ctim.tv_nsec;
}

// Asks `path` for its release, unless it has answered before.
static int ask_version(const char *path, int *major, int *minor, struct kt_error *error)
{
    const char *argv[] = {path, "--version", NULL};
    struct kt_buf line = KT_BUF_INIT(256);
    struct kt_proc proc = {.argv = argv, .output = &line, .timeout_ms = VERSION_TIMEOUT_MS};
    char text[257];
    struct stat file;
    size_t n;
    int rc;

    if (stat(path, &file) != 0)
        return kt_error_errno(error, "cannot look at '%s'", path);
    if (was_asked(path, &file)) {
        *major = asked.major;
        *minor = asked.minor;
        return 0;
    }
    rc = kt_proc_run(&proc, NULL, error);
    if (rc == 0) {
        n = kt_buf_left(&line);
        if (n > 0)
            memcpy(text, kt_buf_ptr(&line), n);
        text[n] = '\0';
        text[strcspn(text, "\n")] = '\0';
        rc = db_version_check(text, major, minor, error);
    }
    if (rc == 0) {
        snprintf(asked.path, sizeof(asked.path), "%s", path);
        asked.file = file;
        asked.major = *major;
        asked.minor = *minor;
    }
    kt_buf_free(&line);
    return rc;
}

// Looks at one folder: all programs there, a release that will do, and of the major release that
// the data directory needs (0: any).
static int try_folder(const char *folder, int wanted, struct db_cluster *cluster,
                      struct kt_error *error)
{
    // The last one is asked for its version.
    static const char *const PROGRAMS[] = {"initdb",    "pg_ctl",         "pg_basebackup",
                                           "pg_rewind", "pg_controldata", "postgres"};
    char path[KT_PATH_MAX];
    int rc = 0, major, minor;

    for (size_t i = 0; i < sizeof(PROGRAMS) / sizeof(PROGRAMS[0]); i++)
        if (kt_path_join(path, sizeof(path), folder, PROGRAMS[i]) != 0 || access(path, X_OK) != 0)
            return kt_error_set(error, KT_ERR_NOT_FOUND,
                                "install the PostgreSQL server, or set "
                                "database.bin_directory",
                                "no program '%s' in '%s'", PROGRAMS[i], folder);
    rc = ask_version(path, &major, &minor, error);
    if (rc)
        return rc;
    if (wanted && major != wanted)
        return kt_error_set(error, KT_ERR_NOT_FOUND, "install that release of PostgreSQL",
                            "the data directory '%s' is of PostgreSQL %d; '%s' has %d.%d",
                            cluster->dir, wanted, folder, major, minor);
    cluster->major = major;
    cluster->minor = minor;
    return kt_path_join(cluster->bin, sizeof(cluster->bin), "/", folder + 1);
}

// "/usr/lib/postgresql/15/bin": its number. glob's order is by name, where 9.6 comes after 17.
static int folder_major(const char *path)
{
    const char *digits = strpbrk(path, "0123456789");

    return digits ? db_leading_number(digits) : 0;
}

static int newest_first(const void *a, const void *b)
{
    return folder_major(*(char *const *)b) - folder_major(*(char *const *)a);
}

// The first folder that will do. When none does, `error` keeps what was wrong with the first that
// has PostgreSQL at all.
static int search_folders(int wanted, struct db_cluster *cluster, struct kt_error *error)
{
    static const char *const PATTERNS[] = {"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin"};
    struct kt_error first = {0}, one;
    const char *search = getenv("PATH");
    char folder[KT_PATH_MAX];
    glob_t found = {0};
    int rc = KT_ERR_NOT_FOUND, flags = 0;

    while (search && *search && rc) {
        size_t n = strcspn(search, ":");
        if (*search == '/' && n < sizeof(folder)) {
            memcpy(folder, search, n);
            folder[n] = '\0';
            rc = try_folder(folder, wanted, cluster, &one);
            if (rc && rc != KT_ERR_NOT_FOUND && !first.code)
                first = one;
        }
        search += n + (search[n] == ':');
    }
    for (size_t i = 0; i < sizeof(PATTERNS) / sizeof(PATTERNS[0]) && rc; i++)
        if (glob(PATTERNS[i], flags, NULL, &found) == 0 || flags)
            flags = GLOB_APPEND;
    if (found.gl_pathc > 1)
        qsort(found.gl_pathv, found.gl_pathc, sizeof(char *), newest_first);
    for (size_t i = 0; i < found.gl_pathc && rc; i++) {
        rc = try_folder(found.gl_pathv[i], wanted, cluster, &one);
        if (rc && !first.code)
            first = one;
    }
    globfree(&found);
    if (rc == 0)
        return 0;
    if (first.code)
        return kt_error_set(error, first.code, first.hint, "%s", first.message);
    return kt_error_set(error, KT_ERR_NOT_FOUND,
                        "install the PostgreSQL server, or set database.bin_directory",
                        "PostgreSQL's programs were not found");
}

// The major release of the data directory, 0 when there is none yet.
static int data_major(const char *dir)
{
    char path[KT_PATH_MAX], *text = NULL;
    int major = 0;

    if (kt_path_join(path, sizeof(path), dir, "PG_VERSION") == 0 &&
        kt_file_read_text(path, 32, &text, NULL) == 0)
        major = db_leading_number(text);
    free(text);
    return major;
}

int db_cluster_open(const struct kt_paths *paths, const struct kt_settings *settings,
                    struct db_cluster **cluster, struct kt_error *error)
{
    const char *given = kt_settings_text(settings, KT_SET_DATABASE_DIRECTORY);
    const char *bin = kt_settings_text(settings, KT_SET_DATABASE_BIN_DIRECTORY);
    struct db_cluster *fresh = calloc(1, sizeof(*fresh));
    int rc, wanted;

    if (!fresh)
        return kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    fresh->paths = paths;
    fresh->settings = settings;
    rc = kt_path_join(fresh->dir, sizeof(fresh->dir), "/", (*given ? given : paths->db) + 1);
    if (rc) {
        kt_error_set(error, rc, "choose a shorter path", "the data directory's path is too long");
        goto out;
    }
    wanted = data_major(fresh->dir);
    rc = *bin ? try_folder(bin, wanted, fresh, error) : search_folders(wanted, fresh, error);
    if (rc)
        goto out;
    *cluster = fresh;
    fresh = NULL;
out:
    free(fresh);
    return rc;
}

int db_find_programs(const char *given, char out[KT_PATH_MAX], struct kt_error *error)
{
    struct db_cluster *probe = calloc(1, sizeof(*probe));
    int rc;

    if (!probe)
        return kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    rc = given ? try_folder(given, 0, probe, error) : search_folders(0, probe, error);
    if (rc == 0)
        memcpy(out, probe->bin, sizeof(probe->bin));
    free(probe);
    return rc;
}

void db_cluster_close(struct db_cluster *cluster)
{
    free(cluster);
}

const char *db_cluster_bin(const struct db_cluster *cluster)
{
    return cluster->bin;
}

const char *db_cluster_dir(const struct db_cluster *cluster)
{
    return cluster->dir;
}

int db_mark_load(const char *dir, struct db_mark *mark, struct kt_error *error)
{
    struct kt_buf text = KT_BUF_INIT(MARK_MAX);
    struct db_mark fresh = {0};
    char path[KT_PATH_MAX];
    const char *id = NULL;
    json_t *object = NULL;
    int64_t format = 0;
    int rc = kt_path_join(path, sizeof(path), dir, DB_MARK_FILE);

    if (rc)
        return kt_error_set(error, rc, NULL, "the path '%.100s...' is too long", dir);
    rc = kt_file_read(path, &text, error);
    if (rc)
        goto out;
    if (kt_json_parse_object(kt_buf_ptr(&text), kt_buf_left(&text), &object, NULL) != 0 ||
        kt_json_integer(object, "format", 1, MARK_FORMAT, 1, &format, NULL) != 0 ||
        kt_json_string(object, "cluster_id", 1, 64, &id, NULL) != 0 ||
        kt_uuid_parse(id, &fresh.cluster_id) != 0) {
        rc = kt_error_set(error, KT_ERR_NOT_OURS, NULL, "'%s' is not a mark of this version", path);
        goto out;
    }
    fresh.populated = kt_json_boolean(object, "populated", 0);
    *mark = fresh;
out:
    json_decref(object);
    kt_buf_free(&text);
    return rc;
}

int db_mark_save(const char *dir, const struct db_mark *mark, struct kt_error *error)
{
    char id[KT_UUID_TEXT], text[512], path[KT_PATH_MAX];
    int n, rc = kt_path_join(path, sizeof(path), dir, DB_MARK_FILE);

    if (rc)
        return kt_error_set(error, rc, NULL, "the path '%.100s...' is too long", dir);
    kt_uuid_format(&mark->cluster_id, id);
    n = snprintf(text, sizeof(text),
                 "{\n"
                 "  \"format\": %d,\n"
                 "  \"what\": \"data directory of a key trustee node, made by ktadmin init\",\n"
                 "  \"cluster_id\": \"%s\",\n"
                 "  \"made_by\": \"%s\",\n"
                 "  \"populated\": %s\n"
                 "}\n",
                 MARK_FORMAT, id, KT_VERSION, mark->populated ? "true" : "false");
    return kt_file_replace(path, text, (size_t)n, 0600, error);
}

// What stands in the way, in words.
static int refuse_foreign(const char *dir, struct kt_error *error)
{
    int major = data_major(dir);
    struct stat st;

    if (lstat(dir, &st) == 0 && !S_ISDIR(st.st_mode))
        return kt_error_set(error, KT_ERR_NOT_OURS,
                            "move it away, or choose another place with "
                            "--pg-rootdir",
                            "'%s' is not a folder", dir);
    if (major)
        return kt_error_set(
            error, KT_ERR_NOT_OURS, "move it away, or choose another place with --pg-rootdir",
            "'%s' is a PostgreSQL %d data directory that ktadmin did not make", dir, major);
    return kt_error_set(error, KT_ERR_NOT_OURS,
                        "choose an empty place with --pg-rootdir (in a mounted file system: a "
                        "folder below its root)",
                        "the folder '%s' is not empty and was not made by ktadmin", dir);
}

int db_cluster_check_ours(const struct db_cluster *cluster, struct db_mark *mark,
                          struct kt_error *error)
{
    char theirs[KT_UUID_TEXT], ours[KT_UUID_TEXT];
    struct kt_cluster_info info;
    struct stat st;
    int empty, rc;

    if (lstat(cluster->dir, &st) != 0) {
        if (errno != ENOENT)
            return kt_error_errno(error, "cannot look at '%s'", cluster->dir);
        return kt_error_set(error, KT_ERR_NOT_FOUND, "run ktadmin init", "no data directory '%s'",
                            cluster->dir);
    }
    if (!S_ISDIR(st.st_mode))
        return refuse_foreign(cluster->dir, error);
    rc = db_mark_load(cluster->dir, mark, error);
    if (rc == KT_ERR_NOT_FOUND) {
        empty = kt_dir_is_empty(cluster->dir, error);
        if (empty < 0)
            return empty;
        return empty ? kt_error_set(error, KT_ERR_NOT_FOUND, "run ktadmin init",
                                    "the data directory '%s' is empty", cluster->dir)
                     : refuse_foreign(cluster->dir, error);
    }
    if (rc)
        return rc;
    kt_uuid_format(&mark->cluster_id, theirs);
    rc = kt_cluster_info_load(cluster->paths->cluster, &info, error);
    if (rc == KT_ERR_NOT_INITIALISED)
        return kt_error_set(error, KT_ERR_NOT_OURS, "check --confdir, or move it away",
                            "the data directory '%s' is of cluster %s, this confdir has none yet",
                            cluster->dir, theirs);
    if (rc)
        return rc;
    if (memcmp(&info.cluster_id, &mark->cluster_id, sizeof(info.cluster_id)) == 0)
        return 0;
    kt_uuid_format(&info.cluster_id, ours);
    return kt_error_set(error, KT_ERR_NOT_OURS, "check --confdir and database.directory",
                        "the data directory '%s' is of cluster %s, the confdir of cluster %s",
                        cluster->dir, theirs, ours);
}
