// SPDX-License-Identifier: Apache-2.0
// The list of nodes as JSON, and in node/peers.json.
#include "lib/peers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/epoch.h"
#include "lib/file.h"
#include "lib/json.h"

#define FORMAT_VERSION 1
#define FILE_MAX       32768 // 32 nodes with the longest names

static json_t *peer_to_json(const struct kt_peer *peer)
{
    char hash[KT_SHA256_TEXT], before[KT_SHA256_TEXT];

    kt_hex_encode(peer->cert_sha256, sizeof(peer->cert_sha256), hash);
    kt_hex_encode(peer->cert_before, sizeof(peer->cert_before), before);
    return json_pack("{s:s, s:s, s:i, s:i, s:i, s:s, s:s*, s:I, s:b}", "member", peer->member,
                     "address", peer->address, "agent_port", (int)peer->agent_port, "database_port",
                     (int)peer->database_port, "https_port", (int)peer->https_port, "cert_sha256",
                     hash, "cert_before", kt_peer_has_before(peer) ? before : NULL, "revision",
                     (json_int_t)peer->revision, "removed", peer->removed != 0);
}

json_t *kt_peers_to_json(const struct kt_peers *peers)
{
    json_t *array = json_array();

    for (size_t i = 0; array && i < peers->count; i++) {
        if (json_array_append_new(array, peer_to_json(&peers->peers[i])) != 0) {
            json_decref(array);
            array = NULL;
        }
    }
    return array;
}

// It goes into PostgreSQL's connection strings: nothing that would need quoting.
static int check_address(const char *address)
{
    size_t n = strspn(address, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                               ".:-_");

    return address[n] == '\0' && address[0] != '-' ? 0 : KT_ERR_INVALID;
}

static int read_port(const json_t *object, const char *name, uint16_t *port, struct kt_error *error)
{
    int64_t value = 0;
    int rc = kt_json_integer(object, name, 1, UINT16_MAX, 1, &value, error);

    if (rc == 0)
        *port = (uint16_t)value;
    return rc;
}

static int read_texts(const json_t *object, struct kt_peer *peer, struct kt_error *error)
{
    const char *member, *address, *hash;
    int rc = kt_json_string(object, "member", 1, KT_MEMBER_TEXT - 1, &member, error);

    if (rc == 0)
        rc = kt_json_string(object, "address", 1, KT_HOST_MAX, &address, error);
    if (rc == 0)
        rc = kt_json_string(object, "cert_sha256", KT_SHA256_TEXT - 1, KT_SHA256_TEXT - 1, &hash,
                            error);
    if (rc != 0)
        return rc;
    if (kt_member_check(member) != 0)
        return kt_error_set(error, KT_ERR_BAD_REQUEST, NULL, "'member' is not a member id");
    if (check_address(address) != 0)
        return kt_error_set(error, KT_ERR_BAD_REQUEST, NULL,
                            "'address' is not the name or address of a host");
    if (kt_hex_decode(hash, peer->cert_sha256, sizeof(peer->cert_sha256)) != 0)
        return kt_error_set(error, KT_ERR_BAD_REQUEST, NULL, "'cert_sha256' is malformed");
    snprintf(peer->member, sizeof(peer->member), "%s", member);
    snprintf(peer->address, sizeof(peer->address), "%s", address);
    return 0;
}

// Absent, null, or a second fingerprint.
static int read_before(const json_t *object, struct kt_peer *peer, struct kt_error *error)
{
    const json_t *value = json_object_get(object, "cert_before");
    const char *text = json_string_value(value);

    memset(peer->cert_before, 0, sizeof(peer->cert_before));
    if (!value || json_is_null(value))
        return 0;
    if (!text || strlen(text) != KT_SHA256_TEXT - 1 ||
        kt_hex_decode(text, peer->cert_before, sizeof(peer->cert_before)) != 0)
        return kt_error_set(error, KT_ERR_BAD_REQUEST, NULL, "'cert_before' is malformed");
    return 0;
}

int kt_peer_from_json(const json_t *object, struct kt_peer *peer, struct kt_error *error)
{
    static const char *const NAMES[] = {"member",     "address",     "agent_port",  "database_port",
                                        "https_port", "cert_sha256", "cert_before", "revision",
                                        "removed",    NULL};
    const json_t *removed;
    int64_t revision = 0;
    int rc;

    if (!json_is_object(object))
        return kt_error_set(error, KT_ERR_BAD_REQUEST, NULL, "a node is not an object");
    removed = json_object_get(object, "removed");
    if (removed && !json_is_boolean(removed)) // read as false it would let a removed node in
        return kt_error_set(error, KT_ERR_BAD_REQUEST, NULL,
                            "member 'removed' is not true or false");
    rc = kt_json_only(object, NAMES, error);
    if (rc == 0)
        rc = read_texts(object, peer, error);
    if (rc == 0)
        rc = read_before(object, peer, error);
    if (rc == 0)
        rc = read_port(object, "agent_port", &peer->agent_port, error);
    if (rc == 0)
        rc = read_port(object, "database_port", &peer->database_port, error);
    if (rc == 0)
        rc = read_port(object, "https_port", &peer->https_port, error);
    if (rc == 0)
        rc = kt_json_integer(object, "revision", 0, UINT32_MAX, 1, &revision, error);
    peer->revision = (uint32_t)revision;
    peer->removed = json_is_true(removed);
    return rc;
}

int kt_peers_from_json(const json_t *array, struct kt_peers *peers, struct kt_error *error)
{
    struct kt_peers parsed = {.count = 0};

    if (!json_is_array(array))
        return kt_error_set(error, KT_ERR_BAD_REQUEST, NULL, "the nodes are not a list");
    if (json_array_size(array) > KT_PEERS_MAX)
        return kt_error_set(error, KT_ERR_TOO_LARGE, NULL, "there are more than %d nodes",
                            KT_PEERS_MAX);
    for (size_t i = 0; i < json_array_size(array); i++) {
        struct kt_peer *peer = &parsed.peers[i];
        int rc = kt_peer_from_json(json_array_get(array, i), peer, error);
        if (rc != 0)
            return rc;
        if (kt_peers_by_member(&parsed, peer->member))
            return kt_error_set(error, KT_ERR_BAD_REQUEST, NULL, "'%s' is there twice",
                                peer->member);
        parsed.count++;
    }
    *peers = parsed;
    return 0;
}

static int read_file(const json_t *object, struct kt_peers *peers, struct kt_error *error)
{
    static const char *const NAMES[] = {"version", "peers", NULL};
    int64_t version = 0;
    int rc = kt_json_integer(object, "version", FORMAT_VERSION, FORMAT_VERSION, 1, &version, error);

    if (rc == 0)
        rc = kt_json_only(object, NAMES, error);
    if (rc == 0)
        rc = kt_peers_from_json(json_object_get(object, "peers"), peers, error);
    return rc;
}

int kt_peers_load(const char *path, struct kt_peers *peers, struct kt_error *error)
{
    struct kt_error why = {0};
    json_t *object = NULL;
    char *text = NULL;
    int rc = kt_file_read_text(path, FILE_MAX, &text, &why);

    if (rc == KT_ERR_NOT_FOUND) {
        memset(peers, 0, sizeof(*peers));
        return 0;
    }
    if (rc == 0)
        rc = kt_json_parse_object(text, strlen(text), &object, &why);
    if (rc == 0)
        rc = read_file(object, peers, &why);
    if (rc != 0)
        rc = kt_error_set(error, rc == KT_ERR_BAD_REQUEST ? KT_ERR_INVALID : rc,
                          "remove it: it is made again from the table of nodes",
                          "the list of nodes '%s' cannot be read: %s", path, why.message);
    json_decref(object);
    free(text);
    return rc;
}

int kt_peers_save(const char *path, const struct kt_peers *peers, struct kt_error *error)
{
    json_t *list = kt_peers_to_json(peers), *object;
    struct kt_error why = {0};
    struct kt_peers read;
    char *text;
    int rc;

    // What could not be loaded again would end this node's agent for good.
    if (list && kt_peers_from_json(list, &read, &why)) {
        json_decref(list);
        return kt_error_set(error, KT_ERR_INVALID, NULL, "no list of nodes: %s", why.message);
    }
    object = json_pack("{s:i, s:o}", "version", FORMAT_VERSION, "peers", list);
    text = object ? json_dumps(object, JSON_INDENT(2) | JSON_PRESERVE_ORDER) : NULL;
    rc = text ? kt_file_replace(path, text, strlen(text), 0600, error)
              : kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory for '%s'", path);

    free(text);
    json_decref(object);
    return rc;
}
