// SPDX-License-Identifier: Apache-2.0
// status: which OpenPGP key the cluster has, since when, and which node is behind.
#include <string.h>

#include "ktadmin/rotate_cluster_key.h"
#include "ktadmin/status.h"

const char *kta_cluster_key_text(const struct kta_member *member, const char *name)
{
    const char *text =
        json_string_value(json_object_get(json_object_get(member->state, "cluster_key"), name));

    return text ? text : "";
}

static void look_at(const struct kta_member *member, const char *active, json_t *list)
{
    const char *key = kta_cluster_key_text(member, "key"),
               *newest = kta_cluster_key_text(member, "newest");
    json_t *line = NULL;

    if (!key[0] || member->is_removed ||
        json_is_true(json_object_get(json_object_get(member->state, "cluster_key"), "settled")))
        return;
    if (newest[0] && strcmp(key, newest) != 0)
        line =
            json_sprintf("%s still has the OpenPGP key %s, the cluster's is %s: the active hands "
                         "it over when both run, or run ktadmin rotate --cluster-key on %s",
                         member->name, key, newest, active);
    else
        line =
            json_sprintf("%s: a rotation of the cluster's OpenPGP key has not ended: run ktadmin "
                         "rotate --cluster-key on %s",
                         member->name, active);
    json_array_append_new(list, line);
}

// With the same list, two nodes have the same key.
static void compare(const struct kta_nodes *nodes, json_t *list)
{
    const struct kta_member *first = NULL;

    for (size_t i = 0; i < nodes->count; i++) {
        const struct kta_member *member = &nodes->list[i];
        const char *key = kta_cluster_key_text(member, "key"),
                   *newest = kta_cluster_key_text(member, "newest");
        if (!key[0] || member->is_removed || (newest[0] && strcmp(key, newest) != 0))
            continue; // said above
        if (!first)
            first = member;
        else if (strcmp(kta_cluster_key_text(first, "key"), key) != 0 &&
                 strcmp(kta_cluster_key_text(first, "newest"), newest) == 0)
            json_array_append_new(
                list, json_sprintf("%s and %s have different OpenPGP keys: one of them is not of "
                                   "this cluster",
                                   first->name, member->name));
    }
}

void kta_status_look_at_cluster_key(const struct kta_nodes *nodes, json_t *list)
{
    const char *name = "the active";
    size_t active = 0;

    if (kta_nodes_active(nodes, &active, NULL) == 0)
        name = nodes->list[active].name;
    for (size_t i = 0; i < nodes->count; i++)
        look_at(&nodes->list[i], name, list);
    compare(nodes, list);
}

void kta_status_note_cluster_key(const struct kta_nodes *nodes, json_t *status)
{
    const struct kta_member *said = NULL;
    size_t active = 0;

    if (kta_nodes_active(nodes, &active, NULL) == 0)
        said = &nodes->list[active];
    for (size_t i = 0; i < nodes->count && !said; i++) {
        if (nodes->list[i].state)
            said = &nodes->list[i];
    }
    if (!said || !kta_cluster_key_text(said, "key")[0])
        return;
    json_object_set_new(
        status, "cluster_key",
        json_pack("{s:s, s:s*}", "fingerprint", kta_cluster_key_text(said, "key"), "since",
                  kta_cluster_key_text(said, "since")[0] ? kta_cluster_key_text(said, "since")
                                                         : NULL));
}

void kta_status_print_cluster_key(const json_t *status)
{
    const json_t *key = json_object_get(status, "cluster_key");
    const char *fingerprint = json_string_value(json_object_get(key, "fingerprint")),
               *since = json_string_value(json_object_get(key, "since"));

    if (fingerprint)
        printf("\nthe cluster's OpenPGP key: 4096R/%s%s%s\n", fingerprint, since ? ", since " : "",
               since ? since : "");
}
