// SPDX-License-Identifier: Apache-2.0
// The list of servers in client.json: shown, lengthened, shortened.
#include <string.h>
#include <unistd.h>

#include "client/client.h"

int keytrustee_servers(struct keytrustee *client, keytrustee_server_fn each, void *arg,
                       struct keytrustee_error *error)
{
    struct kt_error why = {0};
    int rc = ktc_need_registration(client, &why);

    if (rc == 0)
        ktc_servers_load(client); // other processes may know more
    for (size_t i = 0; rc == 0 && i < client->servers.count; i++) {
        const struct ktc_server *server = &client->servers.list[i];
        const struct keytrustee_server told = {
            .name = server->name,
            .problem = "",
            .learned = server->learned,
            .is_active = i == client->servers.active,
            .set_aside = ktc_server_waits(client, i),
            .node = "",
            .role = "",
        };
        if (each(arg, &told) != 0)
            break;
    }
    return ktc_end(NULL, rc, &why, error);
}

// Changes the list on disk, which is what other processes know, and takes it over.
static int edit(struct keytrustee *client, const char *const *servers,
                int (*change)(struct ktc_state *, const char *, struct kt_error *),
                struct kt_error *error)
{
    struct ktc_state disk = {0};
    char path[KT_PATH_MAX];
    int fd = -1;
    int rc = ktc_need_registration(client, error);

    if (rc == 0)
        rc = ktc_path(client, "client.json", path);
    if (rc == 0)
        rc = ktc_lock(client, &fd, error);
    if (rc == 0)
        rc = ktc_state_load(path, &disk, error);
    for (size_t i = 0; rc == 0 && servers[i] != NULL; i++)
        rc = change(&disk, servers[i], error);
    if (rc == 0)
        rc = ktc_state_save(path, &disk, error);
    if (fd >= 0)
        close(fd);
    if (rc != 0)
        return rc;
    client->state = disk;
    ktc_servers_load(client);
    return 0;
}

static int add(struct ktc_state *state, const char *server, struct kt_error *error)
{
    const char *longer[KTC_SERVERS_MAX + 2] = {NULL};
    struct ktc_state made = *state;

    for (size_t i = 0; i < state->server_count; i++) {
        if (ktc_server_same_name(state->servers[i], server))
            return 0;
        longer[i] = state->servers[i];
    }
    longer[state->server_count] = server;
    int rc = ktc_choose_servers(longer, &made, error);
    if (rc == 0)
        *state = made;
    return rc;
}

static int drop(struct ktc_state *state, const char *server, struct kt_error *error)
{
    for (size_t i = 0; i < state->server_count; i++) {
        if (!ktc_server_same_name(state->servers[i], server))
            continue;
        if (state->server_count == 1)
            return kt_error_set(error, KT_ERR_USAGE, "add another one first",
                                "\"%.200s\" is the last server", server);
        state->server_count--;
        memmove(state->servers[i], state->servers[i + 1],
                (state->server_count - i) * sizeof state->servers[0]);
        return 0;
    }
    return kt_error_set(error, KT_ERR_NOT_FOUND, "list them with keytrustee servers list",
                        "\"%.200s\" is not in the list of servers", server);
}

int keytrustee_servers_add(struct keytrustee *client, const char *const *servers,
                           struct keytrustee_error *error)
{
    struct kt_error why = {0};

    return ktc_end(NULL, edit(client, servers, add, &why), &why, error);
}

int keytrustee_servers_remove(struct keytrustee *client, const char *const *servers,
                              struct keytrustee_error *error)
{
    struct kt_error why = {0};

    return ktc_end(NULL, edit(client, servers, drop, &why), &why, error);
}
