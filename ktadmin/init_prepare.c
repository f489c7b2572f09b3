// SPDX-License-Identifier: Apache-2.0
// What init does before it touches anything: names, lengths, the account, what stands in the way.
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ktadmin/init.h"
#include "lib/file.h"
#include "lib/proc.h"

#define DEFAULT_NODE "kts-01"
// sun_path holds 107 characters and a NUL; the longest name that GnuPG's agent puts in its home.
#define SOCKET_PATH_MAX 107
#define GPG_SOCKET      "/S.gpg-agent.browser"

int kta_init_check_paths(const struct kt_paths *paths, struct kt_error *error)
{
    size_t room = SOCKET_PATH_MAX - (sizeof(GPG_SOCKET) - 1);

    if (strlen(paths->confdir) > room)
        return kt_error_set(error, KT_ERR_TOO_LARGE, "choose a shorter confdir",
                            "'%s' is longer than %zu characters: GnuPG's socket would not fit",
                            paths->confdir, room);
    if (strlen(paths->run) > KT_SOCKET_DIR_MAX)
        return kt_error_set(error, KT_ERR_TOO_LARGE, "choose a shorter confdir",
                            "'%s' is longer than %d characters: sockets would not fit", paths->run,
                            KT_SOCKET_DIR_MAX);
    for (const char *at = paths->confdir; *at; at++)
        if ((unsigned char)*at <= 0x20 || strchr("'\",\\\x7f", *at))
            return kt_error_set(error, KT_ERR_INVALID, "choose a path without them",
                                "'%s' has a space, quote, comma or backslash, which PostgreSQL's "
                                "settings cannot hold",
                                paths->confdir);
    return 0;
}

void kta_init_node_name(const char *host, char node[KT_NODE_NAME_MAX + 1])
{
    size_t n = 0;

    for (; *host && *host != '.' && n < KT_NODE_NAME_MAX; host++) {
        int c = tolower((unsigned char)*host);
        if (isalnum(c) || c == '-' || c == '_')
            node[n++] = c == '_' ? '-' : (char)c;
    }
    node[n] = '\0';
    if (kt_name_check(node, KT_NODE_NAME_MAX) != 0 || (*host && *host != '.'))
        memcpy(node, DEFAULT_NODE, sizeof(DEFAULT_NODE));
}

static const struct {
    const char *option;
    enum kt_setting setting;
} SETTINGS[] = {
    {"port", KT_SET_HTTPS_PORT},        {"database-port", KT_SET_DATABASE_PORT},
    {"agent-port", KT_SET_AGENT_PORT},  {"address", KT_SET_HTTPS_ADDRESS},
    {"advertise", KT_SET_NODE_ADDRESS}, {"pg-rootdir", KT_SET_DATABASE_DIRECTORY},
};
#define SETTINGS_COUNT (sizeof(SETTINGS) / sizeof(SETTINGS[0]))

// The options as settings; wrong values are found here.
static int take_options(struct kta_init *init, struct kt_error *error)
{
    const char *node = kt_cli_value(init->run, "node");
    struct kt_error why = {0};
    char host[256] = "";
    int rc = kt_settings_new(&init->settings);

    if (rc)
        return kt_error_set(error, rc, NULL, "out of memory");
    for (size_t i = 0; i < SETTINGS_COUNT; i++) {
        const char *value = kt_cli_value(init->run, SETTINGS[i].option);
        if (value && kt_settings_set(init->settings, SETTINGS[i].setting, value, &why) != 0)
            return kt_error_set(error, KT_ERR_USAGE, why.hint, "--%s: %.300s", SETTINGS[i].option,
                                why.message);
    }
    if (kt_settings_number(init->settings, KT_SET_HTTPS_PORT) ==
        kt_settings_number(init->settings, KT_SET_AGENT_PORT))
        return kt_error_set(error, KT_ERR_USAGE, NULL, "--port and --agent-port are the same");
    if (node && kt_name_check(node, KT_NODE_NAME_MAX) != 0)
        return kt_error_set(error, KT_ERR_USAGE,
                            "a name begins with a letter and has up to 16 of a-z, 0-9 and -",
                            "--node: '%.40s' is not a name for a node", node);
    if (node) {
        memcpy(init->node, node, strlen(node) + 1);
    } else {
        (void)!gethostname(host, sizeof(host) - 1);
        kta_init_node_name(host, init->node);
    }
    return 0;
}

static int is_host(const char *name)
{
    size_t n = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.:-");

    return n > 0 && n <= 253 && name[n] == '\0';
}

static int check_external_names(const struct kt_cli_run *run, struct kt_error *error)
{
    const char *advertise = kt_cli_value(run, "advertise");

    if (advertise && !is_host(advertise))
        return kt_error_set(error, KT_ERR_USAGE, "give a host name or an address, without port",
                            "--advertise: '%.80s' is not a host name", advertise);
    for (int i = 0; i < kt_cli_count(run, "external-name"); i++) {
        const char *name = kt_cli_nth(run, "external-name", i);
        if (!is_host(name))
            return kt_error_set(error, KT_ERR_USAGE, "give a host name or an address, without port",
                                "--external-name: '%.80s' is not a host name", name);
    }
    return 0;
}

// Root gives a folder that is new, or empty and still root's, to the account.
static int hand_over(const char *base, const struct passwd *account, struct kt_error *error)
{
    struct stat st;
    int fd, rc = 0;

    if (mkdir(base, 0700) != 0 && errno != EEXIST)
        return kt_error_errno(error, "cannot make the folder '%s'", base);
    // By descriptor: nobody can put another folder or a link in its place in between.
    fd = open(base, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return kt_error_errno(error, "cannot open the folder '%s'", base);
    if (fstat(fd, &st) != 0)
        rc = kt_error_errno(error, "cannot look at '%s'", base);
    else if (st.st_uid != 0 || kt_dir_is_empty(base, NULL) != 1)
        rc = kt_error_set(error, KT_ERR_NOT_OURS,
                          "give it to the service account, or choose "
                          "another place with --confdir",
                          "the folder '%s' belongs to root and is not empty", base);
    else if (fchown(fd, account->pw_uid, account->pw_gid) != 0 || fchmod(fd, 0700) != 0)
        rc = kt_error_errno(error, "cannot give '%s' to '%s'", base, account->pw_name);
    close(fd);
    return rc;
}

// As root: becomes the owner of the base folder, or the packaged account, whose base it makes.
static int become_account(const char *base, struct kt_error *error)
{
    const struct passwd *account;
    struct stat st;
    int rc;

    if (geteuid() != 0)
        return 0;
    if (stat(base, &st) == 0 && st.st_uid != 0)
        return kt_proc_drop_to_owner(base, error);
    account = getpwnam(KTA_ACCOUNT);
    if (!account)
        return kt_error_set(error, KT_ERR_NOT_FOUND,
                            "useradd --system --user-group --home-dir /var/lib/keytrustee --shell "
                            "/usr/sbin/nologin keytrustee",
                            "there is no account '%s' to run the key trustee", KTA_ACCOUNT);
    rc = hand_over(base, account, error);
    return rc ? rc : kt_proc_drop_to_user(KTA_ACCOUNT, error);
}

// With a settings file from an earlier run, or put there beforehand, the file rules.
static int take_settings_file(struct kta_init *init, struct kt_error *error)
{
    struct kt_settings *file = NULL;
    int rc;

    if (!kt_file_exists(init->paths.settings))
        return 0;
    rc = kt_settings_load(init->paths.settings, &file, error);
    for (size_t i = 0; i < SETTINGS_COUNT && rc == 0; i++) {
        const char *given = kt_settings_text(init->settings, SETTINGS[i].setting);
        if (kt_settings_is_set(init->settings, SETTINGS[i].setting) &&
            strcmp(given, kt_settings_text(file, SETTINGS[i].setting)) != 0)
            rc = kt_error_set(error, KT_ERR_EXISTS, "leave the option out, or edit the file first",
                              "--%s '%.80s' differs from the settings file '%s', which is there "
                              "already",
                              SETTINGS[i].option, given, init->paths.settings);
    }
    if (rc) {
        kt_settings_free(file);
        return rc;
    }
    kt_settings_free(init->settings);
    init->settings = file;
    return 0;
}

// What a run that was killed before it wrote init.json may have left in the confdir.
static int is_early_trace(const char *name)
{
    static const char *const NAMES[] = {".",  "..",  "keytrustee.conf", "init.lock",
                                        "ca", "tls", "receipt",         "secrets"};
    size_t n = strlen(name);

    for (size_t i = 0; i < sizeof(NAMES) / sizeof(NAMES[0]); i++)
        if (strcmp(name, NAMES[i]) == 0)
            return 1;
    return name[0] == '.' && n > 4 && strcmp(name + n - 4, ".tmp") == 0;
}

static int check_confdir_fresh(const char *confdir, struct kt_error *error)
{
    struct dirent *entry;
    int rc = 0;
    DIR *dir = opendir(confdir);

    if (!dir)
        return errno == ENOENT ? 0 : kt_error_errno(error, "cannot open the folder '%s'", confdir);
    while (rc == 0 && (entry = readdir(dir)))
        if (!is_early_trace(entry->d_name))
            rc = kt_error_set(error, KT_ERR_NOT_OURS,
                              "move it away, or choose another place with "
                              "--confdir",
                              "'%s/%s' is there, and init did not make it", confdir, entry->d_name);
    closedir(dir);
    return rc;
}

// Nothing of ours is here yet: then nothing at all may be.
static int check_fresh(const struct kt_paths *paths, struct kt_error *error)
{
    const char *const folders[] = {paths->node, paths->audit, paths->logs, paths->run};
    int rc = check_confdir_fresh(paths->confdir, error);

    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]) && rc == 0; i++) {
        rc = kt_dir_is_empty(folders[i], error);
        if (rc == 0)
            rc = kt_error_set(error, KT_ERR_NOT_OURS,
                              "move it away, or choose another place with "
                              "--confdir",
                              "the folder '%s' is not empty, and there is no key trustee in '%s'",
                              folders[i], paths->confdir);
        else if (rc == 1)
            rc = 0;
    }
    return rc;
}

static int has_note(const struct kt_paths *paths, const char *name)
{
    char path[KT_PATH_MAX];

    return kt_path_join(path, sizeof(path), paths->confdir, name) == 0 && kt_file_exists(path);
}

// Runs that have not finished, of other commands than this one.
static int check_others(const struct kt_paths *paths, const char *own, struct kt_error *error)
{
    static const struct {
        const char *note, *command;
    } NOTES[] = {{"init.json", "init"}, {KTA_JOIN_NOTE, "join"}, {KTA_RESTORE_NOTE, "restore"}};

    for (size_t i = 0; i < sizeof(NOTES) / sizeof(NOTES[0]); i++)
        if (strcmp(NOTES[i].note, own) != 0 && has_note(paths, NOTES[i].note))
            return kt_error_set(error, KT_ERR_NOT_OURS, "finish it, or choose another --confdir",
                                "a run of ktadmin %s was begun in '%s'", NOTES[i].command,
                                paths->confdir);
    return 0;
}

// For join and restore: nothing, or what a run that was stopped has left.
static int check_unused(const struct kt_paths *paths, const char *note, struct kt_error *error)
{
    struct kt_cluster_info info;
    int rc = check_others(paths, note, error);

    if (rc || has_note(paths, note))
        return rc;
    if (!kt_file_exists(paths->cluster))
        return check_fresh(paths, error);
    if (kt_cluster_info_load(paths->cluster, &info, error) != 0)
        return KT_ERR_INVALID;
    if (kta_has_left(paths))
        return kt_error_set(error, KT_ERR_NOT_OURS,
                            "wipe or move it away, or choose another place with --confdir",
                            "'%s' is what is left of node '%s', which has left its cluster",
                            paths->confdir, info.node);
    return kt_error_set(error, KT_ERR_EXISTS,
                        "to give it up: stop it, and move away the folder above the confdir, all "
                        "of it; or choose another place with --confdir",
                        "'%s' is node '%s' of a cluster already", paths->confdir, info.node);
}

static int check_in_the_way(const struct kt_paths *paths, struct kt_error *error)
{
    struct kt_cluster_info state, info;
    int unfinished = kta_init_state_load(paths, &state, NULL) == 0;

    if (check_others(paths, "init.json", error) != 0)
        return KT_ERR_NOT_OURS;
    if (!kt_file_exists(paths->cluster))
        return unfinished ? 0 : check_fresh(paths, error);
    if (kt_cluster_info_load(paths->cluster, &info, error) != 0)
        return KT_ERR_INVALID;
    if (kt_file_exists(paths->promise))
        return 0;
    // The confdir of a backup: a second node with this one's identity and an empty database would
    // be a second line of history.
    return kt_error_set(
        error, KT_ERR_NOT_OURS,
        "init makes new clusters only: see ktadmin(8), FILES, about copied confdirs",
        "'%s' is a copy of the confdir of node '%s': there is no promise file '%s'", paths->confdir,
        info.node, paths->promise);
}

int kta_init_prepare(struct kta_init *init, struct kt_error *error)
{
    int exists = 0, rc = kt_paths_resolve(kt_cli_value(init->run, "confdir"), &init->paths, error);

    if (rc == 0)
        rc = kta_init_check_paths(&init->paths, error);
    if (rc == 0)
        rc = take_options(init, error);
    if (rc == 0)
        rc = check_external_names(init->run, error);
    if (rc == 0)
        rc = become_account(init->paths.base, error);
    if (rc == 0 && chdir("/") != 0) // PostgreSQL's programs want a folder they may stand in
        rc = kt_error_errno(error, "cannot change to '/'");
    if (rc == 0)
        rc = take_settings_file(init, error);
    if (rc == 0)
        rc = init->note ? check_unused(&init->paths, init->note, error)
                        : check_in_the_way(&init->paths, error);
    if (rc == 0)
        rc = db_cluster_open(&init->paths, init->settings, &init->cluster, error);
    if (rc == 0)
        rc = db_cluster_look(init->cluster, &exists, error);
    return rc;
}
