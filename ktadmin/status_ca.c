// SPDX-License-Identifier: Apache-2.0
// status: how far a replacement of the CA is, and which node is behind.
#include <string.h>

#include "ktadmin/status.h"
#include "lib/encode.h"

static const json_t *ca_of(const struct kta_member *member)
{
    return json_object_get(member->state, "ca");
}

static const char *text_of(const struct kta_member *member, const char *name)
{
    const char *text = json_string_value(json_object_get(ca_of(member), name));

    return text ? text : "";
}

static void add(json_t *list, json_t *line)
{
    json_array_append_new(list, line);
}

void kta_status_look_at_ca(const struct kta_nodes *nodes, size_t active, json_t *list)
{
    const struct kta_member *first = &nodes->list[active];
    const json_t *roots = json_object_get(ca_of(first), "roots");

    if (strcmp(text_of(first, "phase"), "begun") == 0)
        add(list, json_sprintf("a replacement of the CA has begun on %s and not ended: run ktadmin "
                               "rotate --ca on %s",
                               text_of(first, "since"), first->name));
    for (size_t i = 0; i < nodes->count; i++) {
        const struct kta_member *member = &nodes->list[i];
        if (!ca_of(member) || member->is_removed)
            continue;
        if (!json_equal(json_object_get(ca_of(member), "roots"), roots))
            add(list, json_sprintf("%s has another CA than the active: %s hands it over when both "
                                   "run, or run ktadmin rotate --ca there",
                                   member->name, first->name));
        else if (json_is_true(json_object_get(ca_of(member), "renew")))
            add(list, json_sprintf("%s: its certificates are of the older CA: run ktadmin rotate "
                                   "there",
                                   member->name));
    }
}

void kta_status_note_ca(const struct kta_nodes *nodes, json_t *list)
{
    int64_t until_us = 0;
    size_t active = 0;

    if (kta_nodes_active(nodes, &active, NULL) != 0)
        return;
    const struct kta_member *member = &nodes->list[active];
    if (strcmp(text_of(member, "phase"), "both") == 0 &&
        kt_time_parse(text_of(member, "until"), &until_us) == 0 && until_us > kt_time_now())
        add(list, json_sprintf("the CA was replaced on %s; the older one counts until %s",
                               text_of(member, "since"), text_of(member, "until")));
}
