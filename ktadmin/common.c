// SPDX-License-Identifier: Apache-2.0
// Finding the node and asking its agent.
#include "ktadmin/common.h"

#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ktadmin/init.h"
#include "lib/agent_call.h"
#include "lib/file.h"
#include "lib/peers.h"
#include "lib/proc.h"

// Says who may, when the caller is neither root nor the owner.
static int check_caller(const struct kt_paths *paths, struct kt_error *error)
{
    char caller[64];
    struct stat st;

    if (stat(paths->confdir, &st) != 0) {
        if (errno == ENOENT || errno == ENOTDIR)
            return kt_error_set(error, KT_ERR_NOT_INITIALISED,
                                "run ktadmin init, or give --confdir", "no key trustee in '%s'",
                                paths->confdir);
        if (errno != EACCES)
            return kt_error_errno(error, "cannot look at '%s'", paths->confdir);
        kt_proc_user_name(caller, sizeof(caller));
        return kt_error_set(error, KT_ERR_PERMISSION,
                            "run it as root or as the service account: "
                            "sudo -u " KTA_ACCOUNT " ktadmin ...",
                            "the account '%s' cannot look into '%s'", caller, paths->base);
    }
    if (geteuid() == 0 || st.st_uid == geteuid())
        return 0;
    const struct passwd *owner = getpwuid(st.st_uid);
    char owner_name[64];
    snprintf(owner_name, sizeof(owner_name), "%s", owner ? owner->pw_name : "somebody else");
    kt_proc_user_name(caller, sizeof(caller));
    return kt_error_set(error, KT_ERR_PERMISSION, "run it as root or as the owner",
                        "'%s' belongs to '%s', you are '%s'", paths->confdir, owner_name, caller);
}

int kta_join_is_unfinished(const struct kt_paths *paths)
{
    char path[KT_PATH_MAX];

    return kt_path_join(path, sizeof(path), paths->confdir, KTA_JOIN_NOTE) == 0 &&
           kt_file_exists(path);
}

int kta_join_unfinished(const struct kt_paths *paths, struct kt_error *error)
{
    return kt_error_set(error, KT_ERR_NOT_INITIALISED,
                        "run ktadmin join again, with the same token or a new one",
                        "a join was not finished in '%s'", paths->confdir);
}

int kta_has_left(const struct kt_paths *paths)
{
    struct kt_peers peers = {0};
    const struct kt_peer *own = NULL;
    struct kt_promise promise;

    if (kt_promise_load(paths->promise, &promise, NULL) != 0)
        return 0;
    if (kt_peers_load(paths->peers, &peers, NULL) == 0)
        own = kt_peers_by_member(&peers, promise.member);
    return promise.retired_by[0] != '\0' || (own && own->removed);
}

int kta_open(const struct kt_cli_run *run, enum kta_use use, struct kta_node *node,
             struct kt_error *error)
{
    int rc;

    memset(node, 0, sizeof(*node));
    rc = kt_paths_resolve(kt_cli_value(run, "confdir"), &node->paths, error);
    if (rc == 0)
        rc = check_caller(&node->paths, error);
    if (rc || use == KTA_AGENT)
        return rc;
    // From here on files are read that the service account may write: never as root.
    rc = kt_proc_drop_to_owner(node->paths.confdir, error);
    if (rc)
        return rc;
    // PostgreSQL's programs want a folder that they may stand in.
    if (chdir("/") != 0)
        return kt_error_errno(error, "cannot change to '/'");
    rc = kt_settings_load(node->paths.settings, &node->settings, error);
    if (rc == KT_ERR_NOT_FOUND && kta_join_is_unfinished(&node->paths))
        rc = kta_join_unfinished(&node->paths, error);
    else if (rc == KT_ERR_NOT_FOUND)
        rc = kt_error_set(error, KT_ERR_NOT_INITIALISED, "run ktadmin init, or give --confdir",
                          "no settings file '%s'", node->paths.settings);
    return rc;
}

void kta_close(struct kta_node *node)
{
    kt_settings_free(node->settings);
    node->settings = NULL;
}

int kta_ask(const struct kt_cli_run *run, const char *verb, json_t *args, json_t **result)
{
    struct kt_error error = {0};
    struct kta_node node;
    int rc = kta_open(run, KTA_AGENT, &node, &error);

    if (rc == 0)
        rc = kt_agent_call(node.paths.agent_socket, verb, args, KTA_TIMEOUT_MS, result, &error);
    else
        json_decref(args);
    kta_close(&node);
    return rc ? kt_cli_fail(run, &error) : 0;
}

// "kts-02, kts-03".
static void join_names(const json_t *list, char *out, size_t size)
{
    size_t i, n = 0;
    const json_t *name;

    out[0] = '\0';
    json_array_foreach(list, i, name)
    {
        if (n < size)
            n += (size_t)snprintf(out + n, size - n, "%s%s", i ? ", " : "",
                                  json_string_value(name) ? json_string_value(name) : "?");
    }
}

void kta_print_nodes(const struct kt_cli_run *run, const json_t *result)
{
    const json_t *nodes = json_object_get(result, "nodes");
    char names[1024];

    join_names(json_object_get(nodes, "reached"), names, sizeof(names));
    if (names[0] && !kt_cli_flag(run, "quiet") && !kt_cli_flag(run, "json"))
        printf("In force here and on %s\n", names);
    join_names(json_object_get(nodes, "unreached"), names, sizeof(names));
    if (names[0])
        fprintf(stderr,
                "%s: warning: not reached: %s; what changed is not in force there until it is "
                "connected again (node.passive_max_silence bounds how long it serves without)\n",
                run->program->name, names);
}

int kta_key_group_id(const struct kta_node *node, const char *organisation, const char *text,
                     char out[KT_UUID_TEXT], struct kt_error *error)
{
    json_t *rows = NULL, *row;
    struct kt_uuid uuid;
    size_t i;
    int rc;

    if (kt_uuid_parse(text, &uuid) == 0) {
        kt_uuid_format(&uuid, out);
        return 0;
    }
    rc = kt_agent_call(node->paths.agent_socket, "group.list",
                       json_pack("{s:s}", "organisation", organisation), KTA_TIMEOUT_MS, &rows,
                       error);
    if (rc)
        return rc;
    rc = KT_ERR_KEY_GROUP_NOT_FOUND;
    json_array_foreach(rows, i, row)
    {
        const char *name = json_string_value(json_object_get(row, "name"));
        const char *id = json_string_value(json_object_get(row, "key_group_id"));
        if (name && id && strcmp(name, text) == 0 && kt_uuid_parse(id, &uuid) == 0) {
            kt_uuid_format(&uuid, out);
            rc = 0;
        }
    }
    if (rc)
        kt_error_set(error, rc, NULL, "no key group '%.63s' in organisation '%.63s'", text,
                     organisation);
    json_decref(rows);
    return rc;
}

int kta_change(const struct kt_cli_run *run, const char *verb, json_t *args, const char *done)
{
    json_t *result = NULL;
    int rc = kta_ask(run, verb, args, &result);

    if (rc)
        return rc;
    if (kt_cli_flag(run, "json"))
        kta_print_json(result);
    else if (!kt_cli_flag(run, "quiet"))
        printf("%s\n", done);
    kta_print_nodes(run, result);
    json_decref(result);
    return KT_EXIT_OK;
}

int kta_client_id(const struct kta_node *node, const char *text, char out[KT_UUID_TEXT],
                  struct kt_error *error)
{
    json_t *rows = NULL, *row;
    struct kt_uuid uuid;
    const char *found = NULL;
    size_t i, matches = 0;
    int rc;

    if (kt_uuid_parse(text, &uuid) == 0) {
        kt_uuid_format(&uuid, out);
        return 0;
    }
    rc = kt_agent_call(node->paths.agent_socket, "client.list", json_object(), KTA_TIMEOUT_MS,
                       &rows, error);
    if (rc)
        return rc;
    json_array_foreach(rows, i, row)
    {
        const char *name = json_string_value(json_object_get(row, "name"));
        if (name && strcmp(name, text) == 0) {
            found = json_string_value(json_object_get(row, "client_id"));
            matches++;
        }
    }
    if (matches == 1 && found && kt_uuid_parse(found, &uuid) == 0)
        kt_uuid_format(&uuid, out);
    else if (matches > 1)
        rc = kt_error_set(error, KT_ERR_USAGE, "give the id that ktadmin client list shows",
                          "%zu clients are named '%.63s'", matches, text);
    else
        rc = kt_error_set(error, KT_ERR_CLIENT_NOT_FOUND, NULL, "no client '%.63s'", text);
    json_decref(rows);
    return rc;
}

void kta_caller(char *out, size_t size)
{
    const char *sudo = geteuid() == 0 ? getenv("SUDO_USER") : NULL;

    if (sudo && getpwnam(sudo))
        snprintf(out, size, "%s", sudo);
    else
        kt_proc_user_name(out, size);
}

int kta_confirm_cluster(const struct kt_cli_run *run, const char *cluster_id, const char *what,
                        struct kt_error *error)
{
    const char *given = kt_cli_value(run, "cluster-id");
    char line[KT_UUID_TEXT + 2] = "";

    if (given)
        return strcmp(given, cluster_id) == 0
                   ? 0
                   : kt_error_set(error, KT_ERR_USAGE, "ktadmin status shows it",
                                  "--cluster-id: this cluster is another one");
    if (kt_cli_flag(run, "yes") || !isatty(STDIN_FILENO))
        return kt_error_set(error, KT_ERR_REFUSED_BY_USER,
                            "give --cluster-id ID; ktadmin status shows it",
                            "not confirmed: this wants the cluster id");
    fflush(stdout);
    fprintf(stderr, "%s\nType the cluster id (%s) to go on: ", what, cluster_id);
    fflush(stderr);
    if (!fgets(line, sizeof(line), stdin))
        line[0] = '\0';
    line[strcspn(line, "\r\n")] = '\0';
    if (strcmp(line, cluster_id) != 0)
        return kt_error_set(error, KT_ERR_REFUSED_BY_USER, NULL, "not confirmed");
    return 0;
}
