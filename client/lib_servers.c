// SPDX-License-Identifier: Apache-2.0
// The servers a client knows, which of them to ask first, and which
// are set aside because they are dead.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "client/client.h"
#include "lib/file.h"
#include "lib/json.h"

#define FILE_NAME     "servers.json"
#define FILE_VERSION  1
#define FILE_MAX      65536
#define FIRST_PAUSE_S 5
#define LONG_PAUSE_S  60
#define SECOND        ((int64_t)1000000)

// --- names ---

// "host" and "host:11371" are the same server.
int ktc_server_same_name(const char *a, const char *b)
{
    char host_a[256], host_b[256];
    uint16_t port_a = 0, port_b = 0;

    return kt_http_server_parse(a, host_a, sizeof host_a, &port_a) == 0 &&
           kt_http_server_parse(b, host_b, sizeof host_b, &port_b) == 0 && port_a == port_b &&
           strcasecmp(host_a, host_b) == 0;
}

size_t ktc_servers_find(const struct ktc_servers *servers, const char *name)
{
    for (size_t i = 0; i < servers->count; i++)
        if (ktc_server_same_name(servers->list[i].name, name))
            return i;
    for (size_t i = 0; i < servers->count; i++) // by the address it was reached at
        if (servers->list[i].address[0] != '\0' &&
            ktc_server_same_name(servers->list[i].address, name))
            return i;
    return KTC_NONE;
}

int ktc_servers_same(const struct ktc_servers *servers, size_t a, size_t b)
{
    const struct ktc_server *x = &servers->list[a], *y = &servers->list[b];

    return a == b || (x->address[0] != '\0' && strcmp(x->address, y->address) == 0);
}

static size_t add(struct ktc_servers *servers, const char *name, int learned)
{
    struct ktc_server *made = &servers->list[servers->count];

    if (servers->count == KTC_NODES_MAX || strlen(name) >= sizeof made->name ||
        kt_http_server_check(name) != 0)
        return KTC_NONE;
    memset(made, 0, sizeof *made);
    snprintf(made->name, sizeof made->name, "%s", name);
    made->learned = learned;
    return servers->count++;
}

// --- servers.json: what one process learned is known to the next ---

static void take_server(struct ktc_servers *servers, const json_t *entry)
{
    const char *name = json_string_value(json_object_get(entry, "server"));
    const char *address = json_string_value(json_object_get(entry, "address"));
    int64_t until = 0, pause = 0, now = kt_time_now();
    size_t i = name != NULL ? ktc_servers_find(servers, name) : KTC_NONE;

    if (name == NULL || kt_json_integer(entry, "aside_until", 0, INT64_MAX, 0, &until, NULL) != 0 ||
        kt_json_integer(entry, "pause", 0, LONG_PAUSE_S, 0, &pause, NULL) != 0)
        return;
    if (i == KTC_NONE && kt_json_boolean(entry, "learned", 0))
        i = add(servers, name, 1);
    if (i == KTC_NONE) // it was removed from the list
        return;
    struct ktc_server *server = &servers->list[i];
    if (address != NULL && strlen(address) < sizeof server->address &&
        kt_http_server_check(address) == 0)
        snprintf(server->address, sizeof server->address, "%s", address);
    server->pause_s = (int)pause;
    server->aside_until = until > now + LONG_PAUSE_S * SECOND ? now : until; // a clock was set back
}

static size_t take_choice(const struct ktc_servers *servers, const json_t *object, const char *name)
{
    const char *server = json_string_value(json_object_get(object, name));

    return server != NULL ? ktc_servers_find(servers, server) : KTC_NONE;
}

// The list of client.json with what the file knows of it. A missing or damaged file is an empty
// one: nothing in it is needed.
static void read_servers(const struct keytrustee *client, struct ktc_servers *servers)
{
    char path[KT_PATH_MAX];
    char *text = NULL;
    json_t *object = NULL;
    int64_t version = 0;

    memset(servers, 0, sizeof *servers);
    servers->preferred = servers->active = KTC_NONE;
    for (size_t i = 0; i < client->state.server_count; i++)
        (void)add(servers, client->state.servers[i], 0);
    if (ktc_path(client, FILE_NAME, path) != 0 || !kt_file_exists(path) ||
        kt_file_check_private(path, 0, NULL) != 0 ||
        kt_file_read_text(path, FILE_MAX, &text, NULL) != 0)
        return;
    if (kt_json_parse_object(text, strlen(text), &object, NULL) == 0 &&
        kt_json_integer(object, "version", FILE_VERSION, FILE_VERSION, 1, &version, NULL) == 0) {
        const json_t *list = json_object_get(object, "servers");
        for (size_t i = 0; i < json_array_size(list); i++)
            take_server(servers, json_array_get(list, i));
        servers->preferred = take_choice(servers, object, "preferred");
        servers->active = take_choice(servers, object, "active");
    }
    json_decref(object);
    free(text);
}

static void set_choice(json_t *object, const char *name, const struct ktc_servers *servers,
                       size_t i)
{
    if (i < servers->count)
        json_object_set_new(object, name, json_string(servers->list[i].name));
}

static void write_servers(const struct keytrustee *client, const struct ktc_servers *servers)
{
    json_t *list = json_array(), *object = json_pack("{s:i}", "version", FILE_VERSION);
    char path[KT_PATH_MAX];
    char *text = NULL;

    for (size_t i = 0; i < servers->count; i++) {
        const struct ktc_server *server = &servers->list[i];
        json_array_append_new(
            list, json_pack("{s:s, s:s, s:b, s:I, s:i}", "server", server->name, "address",
                            server->address, "learned", server->learned, "aside_until",
                            (json_int_t)server->aside_until, "pause", server->pause_s));
    }
    json_object_set_new(object, "servers", list);
    set_choice(object, "preferred", servers, servers->preferred);
    set_choice(object, "active", servers, servers->active);
    text = object != NULL ? json_dumps(object, JSON_INDENT(2) | JSON_SORT_KEYS) : NULL;
    if (text != NULL && ktc_path(client, FILE_NAME, path) == 0 &&
        kt_file_replace(path, text, strlen(text), 0600, NULL) != 0) {
        // A confdir that cannot be written serves as well, a little slower.
    }
    free(text);
    json_decref(object);
}

// Writes our choices and what we know of server `changed` (KTC_NONE: of none), and takes over what
// other processes wrote of the others. The lock is the caller's.
static void merge(struct keytrustee *client, size_t changed)
{
    struct ktc_servers *ours = &client->servers;
    struct ktc_servers *disk = malloc(sizeof *disk);

    if (disk == NULL)
        return;
    read_servers(client, disk);
    for (size_t i = 0; i < ours->count; i++) {
        struct ktc_server *server = &ours->list[i];
        size_t there = ktc_servers_find(disk, server->name);
        if (there == KTC_NONE)
            there = add(disk, server->name, server->learned);
        if (there == KTC_NONE)
            continue;
        if (i == changed) {
            disk->list[there].aside_until = server->aside_until;
            disk->list[there].pause_s = server->pause_s;
            memcpy(disk->list[there].address, server->address, sizeof server->address);
        } else {
            server->aside_until = disk->list[there].aside_until;
            server->pause_s = disk->list[there].pause_s;
        }
        if (i == ours->preferred)
            disk->preferred = there;
        if (i == ours->active)
            disk->active = there;
    }
    write_servers(client, disk);
    free(disk);
}

static void save(struct keytrustee *client, size_t changed)
{
    int fd = -1;

    if (client->state.client[0] == '\0' || ktc_lock(client, &fd, NULL) != 0)
        return;
    merge(client, changed);
    close(fd);
}

// --- the list of a handle ---

void ktc_servers_disconnect(struct keytrustee *client)
{
    for (size_t i = 0; i < KTC_NODES_MAX; i++) {
        kt_http_client_free(client->servers.list[i].http);
        client->servers.list[i].http = NULL;
    }
}

void ktc_servers_load(struct keytrustee *client)
{
    ktc_servers_disconnect(client);
    read_servers(client, &client->servers);
}

int ktc_server_is_aside(struct keytrustee *client, size_t i)
{
    struct ktc_server *server = &client->servers.list[i];
    int64_t now = kt_time_now();
    int64_t ours = server->aside_until;
    int fd = -1;

    if (server->aside_until == 0 || server->aside_until > now)
        return server->aside_until != 0;
    // One request may look whether it is back: the others, also of other processes, wait on.
    if (ktc_lock(client, &fd, NULL) != 0)
        return 0;
    merge(client, KTC_NONE);
    if (server->aside_until == 0 || server->aside_until == ours) {
        if (server->aside_until != 0)
            server->aside_until = now + server->pause_s * SECOND;
        merge(client, i);
        close(fd);
        return 0;
    }
    close(fd);
    return server->aside_until > now;
}

int ktc_server_waits(const struct keytrustee *client, size_t i)
{
    return client->servers.list[i].aside_until > kt_time_now();
}

void ktc_server_failed(struct keytrustee *client, size_t i)
{
    struct ktc_server *server = &client->servers.list[i];

    server->pause_s = server->pause_s == 0 ? FIRST_PAUSE_S : server->pause_s * 2;
    if (server->pause_s > LONG_PAUSE_S)
        server->pause_s = LONG_PAUSE_S;
    server->aside_until = kt_time_now() + server->pause_s * SECOND;
    save(client, i);
    for (size_t k = 0; k < client->servers.count; k++) { // known by another name too
        struct ktc_server *alias = &client->servers.list[k];
        if (k != i && ktc_servers_same(&client->servers, i, k)) {
            alias->aside_until = server->aside_until;
            alias->pause_s = server->pause_s;
            save(client, k);
        }
    }
}

void ktc_server_answered(struct keytrustee *client, size_t i)
{
    struct ktc_server *server = &client->servers.list[i];
    const char *address = kt_http_client_address(server->http);
    int changed = server->aside_until != 0 || server->pause_s != 0;

    server->aside_until = 0;
    server->pause_s = 0;
    if (address[0] != '\0' && strlen(address) < sizeof server->address &&
        strcmp(address, server->address) != 0) {
        snprintf(server->address, sizeof server->address, "%s", address);
        changed = 1;
    }
    if (changed)
        save(client, i);
}

void ktc_servers_prefer(struct keytrustee *client, size_t i)
{
    if (client->servers.preferred == i)
        return;
    client->servers.preferred = i;
    save(client, KTC_NONE);
}

void ktc_servers_active(struct keytrustee *client, size_t i)
{
    if (client->servers.active == i)
        return;
    client->servers.active = i;
    save(client, KTC_NONE);
}

// Room for one more: the place of a learned one that nobody needs now.
static size_t replace_learned(struct keytrustee *client, const char *name)
{
    struct ktc_servers *servers = &client->servers;

    for (size_t i = 0; i < servers->count; i++) {
        struct ktc_server *server = &servers->list[i];
        if (!server->learned || i == servers->preferred || i == servers->active)
            continue;
        kt_http_client_free(server->http);
        memset(server, 0, sizeof *server);
        snprintf(server->name, sizeof server->name, "%s", name);
        server->learned = 1;
        return i;
    }
    return KTC_NONE;
}

size_t ktc_servers_learn_active(struct keytrustee *client, const char *name)
{
    size_t i = KTC_NONE;

    if (strlen(name) >= KTC_SERVER_TEXT || kt_http_server_check(name) != 0)
        return KTC_NONE;
    i = ktc_servers_find(&client->servers, name);
    if (i == KTC_NONE)
        i = add(&client->servers, name, 1);
    if (i == KTC_NONE)
        i = replace_learned(client, name);
    // The same node by the name it was registered with, which is known to lead there.
    for (size_t k = 0; i != KTC_NONE && client->servers.list[i].learned && k < i; k++)
        if (ktc_servers_same(&client->servers, k, i))
            i = k;
    if (i != KTC_NONE)
        ktc_servers_active(client, i);
    return i;
}
