// SPDX-License-Identifier: Apache-2.0
// What join does before it asks anybody: options, names, the key of the newcomer.
#include <arpa/inet.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ktadmin/join.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/pki.h"

#define STATE_MAX 16384

static int state_path(const struct kta_join *join, char out[KT_PATH_MAX], struct kt_error *error)
{
    int rc = kt_path_join(out, KT_PATH_MAX, join->base.paths.confdir, KTA_JOIN_NOTE);

    return rc ? kt_error_set(error, rc, "choose a shorter confdir", "a path is too long") : 0;
}

int kta_join_state_save(struct kta_join *join, struct kt_error *error)
{
    char path[KT_PATH_MAX];
    char *text = json_dumps(join->state, JSON_INDENT(2) | JSON_SORT_KEYS);
    int rc = text ? state_path(join, path, error)
                  : kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");

    if (rc == 0)
        rc = kt_file_replace(path, text, strlen(text), 0600, error);
    free(text);
    return rc;
}

// An empty object when there is no file.
static int state_load(struct kta_join *join, struct kt_error *error)
{
    char path[KT_PATH_MAX], *text = NULL;
    int rc = state_path(join, path, error);

    if (rc == 0)
        rc = kt_file_read_text(path, STATE_MAX, &text, error);
    if (rc == KT_ERR_NOT_FOUND) {
        join->state = json_object();
        return join->state ? 0 : kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    }
    if (rc == 0 && kt_json_parse_object(text, strlen(text), &join->state, NULL) != 0)
        rc = kt_error_set(error, KT_ERR_NOT_OURS, "move it away", "'%s' is not join's", path);
    free(text);
    return rc;
}

// The address of this machine from which the token's node is reached.
static int own_address(const struct kt_join_token *token, char out[KT_HOST_MAX + 1])
{
    struct addrinfo hints = {.ai_socktype = SOCK_DGRAM}, *list = NULL;
    struct sockaddr_storage own;
    socklen_t len = sizeof(own);
    char port[8];
    int fd, rc = KT_ERR_NETWORK;

    snprintf(port, sizeof(port), "%u", (unsigned)token->port);
    if (getaddrinfo(token->host, port, &hints, &list) != 0)
        return KT_ERR_NETWORK;
    fd = socket(list->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    // A datagram socket only looks up the way; nothing is sent.
    if (fd >= 0 && connect(fd, list->ai_addr, list->ai_addrlen) == 0 &&
        getsockname(fd, (struct sockaddr *)&own, &len) == 0 &&
        getnameinfo((struct sockaddr *)&own, len, out, KT_HOST_MAX + 1, NULL, 0, NI_NUMERICHOST) ==
            0)
        rc = 0;
    if (fd >= 0)
        close(fd);
    freeaddrinfo(list);
    return rc;
}

static int is_any(const char *address)
{
    return address[0] == '\0' || strcmp(address, "0.0.0.0") == 0 || strcmp(address, "::") == 0 ||
           strcmp(address, "*") == 0;
}

// Where the others reach the newcomer: --advertise, else the address it listens on, else its own on
// the way to the token's node. It stands in the settings from then on.
static int find_address(struct kta_join *join, struct kt_error *error)
{
    struct kt_settings *settings = join->base.settings;
    const char *listens = kt_settings_text(settings, KT_SET_HTTPS_ADDRESS);

    if (kt_settings_text(settings, KT_SET_NODE_ADDRESS)[0] != '\0') {
        snprintf(join->self.address, sizeof(join->self.address), "%s",
                 kt_settings_text(settings, KT_SET_NODE_ADDRESS));
    } else if (!is_any(listens)) {
        snprintf(join->self.address, sizeof(join->self.address), "%s", listens);
    } else if (own_address(&join->token, join->self.address) != 0) {
        return kt_error_set(error, KT_ERR_NETWORK, "give --advertise HOST",
                            "cannot tell how other nodes reach this machine: no way to '%s'",
                            join->token.host);
    }
    return kt_settings_set(settings, KT_SET_NODE_ADDRESS, join->self.address, error);
}

static int take_token(struct kta_join *join, const char *text, struct kt_error *error)
{
    if (kt_join_token_parse(text, &join->token) != 0)
        return kt_error_set(error, KT_ERR_TOKEN_INVALID, "it is one line that begins with ktj1-",
                            "this is not a join token");
    join->token_text = text;
    return 0;
}

int kta_join_prepare(struct kta_join *join, struct kt_error *error)
{
    struct kta_init *base = &join->base;
    int rc = take_token(join, join->token_text, error);

    base->note = KTA_JOIN_NOTE;
    if (rc == 0)
        rc = kta_init_prepare(base, error);
    if (rc == 0)
        rc = find_address(join, error);
    if (rc)
        return rc;
    join->self.agent_port = (uint16_t)kt_settings_number(base->settings, KT_SET_AGENT_PORT);
    join->self.database_port = (uint16_t)kt_settings_number(base->settings, KT_SET_DATABASE_PORT);
    join->self.https_port = (uint16_t)kt_settings_number(base->settings, KT_SET_HTTPS_PORT);
    return 0;
}

void kta_join_free(struct kta_join *join)
{
    if (join->nodes)
        kta_nodes_close(join->nodes);
    free(join->nodes);
    json_decref(join->state);
    kta_init_unlock(&join->base);
    db_cluster_close(join->base.cluster);
    kt_settings_free(join->base.settings);
    kt_wipe(&join->token, sizeof(join->token));
}

// A token lets one member in. Until this one is, another token means another member.
static int is_for_other_token(const struct kta_join *join)
{
    const char *id = json_string_value(json_object_get(join->state, "token"));

    return !kt_file_exists(join->base.paths.node_cert) && (!id || strcmp(id, join->token.id) != 0);
}

// The token's node has refused the name, and nothing was made of it: it may be given anew.
static int may_be_renamed(const struct kta_join *join)
{
    const char *member = json_string_value(json_object_get(join->state, "member"));
    char node[KT_NODE_NAME_MAX + 1];

    if (!kt_cli_value(join->base.run, "node") || kt_file_exists(join->base.paths.node_cert) ||
        !json_is_true(json_object_get(join->state, "refused")) || kt_member_check(member) != 0)
        return 0;
    kt_member_node(member, node);
    return strcmp(node, join->base.node) != 0;
}

// The member id is made once: with it the same run is known again by the node that lets it in.
int kta_join_names(struct kta_join *join, int *done, struct kt_error *error)
{
    const char *member, *node = join->base.node;
    int rc = state_load(join, error);

    if (rc)
        return rc;
    member = json_string_value(json_object_get(join->state, "member"));
    *done = member != NULL && !is_for_other_token(join) && !may_be_renamed(join);
    if (*done && kt_member_check(member) != 0)
        return kt_error_set(error, KT_ERR_NOT_OURS, "move it away", "'%s' names no member",
                            KTA_JOIN_NOTE);
    if (*done) {
        snprintf(join->self.member, sizeof(join->self.member), "%s", member);
        kt_member_node(member, join->base.info.node);
        if (kt_cli_value(join->base.run, "node") && strcmp(join->base.info.node, node) != 0)
            return kt_error_set(error, KT_ERR_EXISTS, "leave --node out; a node keeps its name",
                                "this node is named '%s' already", join->base.info.node);
        return 0;
    }
    rc = kt_member_new(node, join->self.member);
    if (rc)
        return kt_error_set(error, rc, NULL, "no random bytes for the member id");
    snprintf(join->base.info.node, sizeof(join->base.info.node), "%s", node);
    json_object_set_new(join->state, "member", json_string(join->self.member));
    json_object_set_new(join->state, "token", json_string(join->token.id));
    json_object_del(join->state, "refused");
    return kta_join_state_save(join, error);
}

int kta_join_node_key(struct kta_join *join, int *done, struct kt_error *error)
{
    const char *path = join->base.paths.node_key;
    EVP_PKEY *key = NULL;
    int rc;

    *done = kt_file_exists(path);
    if (*done)
        return 0;
    rc = kt_pki_new_p256(&key);
    if (rc)
        return kt_error_set(error, rc, NULL, "cannot make a key for '%s'", path);
    rc = kt_pki_key_save(path, key, error);
    EVP_PKEY_free(key);
    return rc;
}
