// SPDX-License-Identifier: Apache-2.0
// What a node said of itself in node.state.
#include <string.h>

#include "ktadmin/nodes.h"

const char *kta_state_text(const struct kta_member *member, const char *name)
{
    const char *text = json_string_value(json_object_get(member->state, name));

    return text ? text : "";
}

uint64_t kta_state_number(const struct kta_member *member, const char *name)
{
    json_int_t number = json_integer_value(json_object_get(member->state, name));

    return number > 0 ? (uint64_t)number : 0;
}

int kta_state_lsn(const struct kta_member *member, const char *name, uint64_t *lsn)
{
    const char *text = json_string_value(json_object_get(member->state, name));

    return text ? kt_lsn_parse(text, lsn) : KT_ERR_NOT_FOUND;
}

static int copy_name(const json_t *object, const char *name, char *out, size_t size)
{
    const char *text = json_string_value(json_object_get(object, name));

    if (!text)
        return 0;
    if (strlen(text) >= size)
        return KT_ERR_PROTOCOL;
    memcpy(out, text, strlen(text) + 1);
    return 0;
}

int kta_state_promise(const struct kta_member *member, struct kt_promise *promise)
{
    const json_t *said = json_object_get(member->state, "promise");
    const char *incarnation = json_string_value(json_object_get(said, "incarnation")),
               *floor = json_string_value(json_object_get(said, "floor"));
    json_int_t epoch = json_integer_value(json_object_get(said, "epoch")),
               since = json_integer_value(json_object_get(said, "active_since"));

    memset(promise, 0, sizeof(*promise));
    memcpy(promise->member, member->peer.member, sizeof(promise->member));
    if (!incarnation || kt_incarnation_parse(incarnation, &promise->incarnation) != 0 || epoch < 0)
        return KT_ERR_PROTOCOL;
    if (floor && kt_lsn_parse(floor, &promise->floor_lsn) != 0)
        return KT_ERR_PROTOCOL;
    promise->epoch = (uint64_t)epoch;
    promise->active_since = since > 0 ? (uint64_t)since : 0;
    if (copy_name(said, "active", promise->active, sizeof(promise->active)) != 0 ||
        copy_name(said, "retired_by", promise->retired_by, sizeof(promise->retired_by)) != 0)
        return KT_ERR_PROTOCOL;
    return 0;
}

static int row_of(const struct kta_member *member, const char *name, struct kt_epoch_row *row)
{
    const json_t *said = json_object_get(member->state, name);

    return json_is_object(said) ? kt_epoch_row_from_json(said, row, NULL) : KT_ERR_NOT_FOUND;
}

int kta_state_row(const struct kta_member *member, struct kt_epoch_row *row)
{
    return row_of(member, "row", row);
}

int kta_state_list(const struct kta_member *member, struct kt_epoch_row *row)
{
    int rc = row_of(member, "pending_row", row);

    return rc ? row_of(member, "row", row) : 0;
}

int kta_member_refuses(const struct kta_member *member)
{
    return !member->state && member->error.code &&
           kt_err_info(member->error.code)->exit == KT_EXIT_REFUSED;
}

static int is_active_role(const char *role)
{
    return strcmp(role, "active") == 0 || strcmp(role, "standalone") == 0 ||
           strcmp(role, "unestablished") == 0;
}

int kta_nodes_active(const struct kta_nodes *nodes, size_t *index, struct kt_error *error)
{
    struct kt_promise best = {0}, promise;
    int found = 0;

    for (size_t i = 0; i < nodes->count; i++) {
        int order = 0;
        if (!nodes->list[i].state || !is_active_role(kta_state_text(&nodes->list[i], "role")) ||
            kta_state_promise(&nodes->list[i], &promise) != 0)
            continue;
        if (found && kt_incarnation_compare(&promise.incarnation, promise.epoch, &best.incarnation,
                                            best.epoch, &order) != 0)
            return kt_error_set(error, KT_ERR_PROTOCOL, NULL,
                                "nodes of two restored clusters answer: '%s' and others",
                                nodes->list[i].name);
        if (!found || order > 0) {
            found = 1;
            best = promise;
            *index = i;
        }
    }
    if (!found)
        return kt_error_set(error, KT_ERR_NOT_FOUND,
                            "see ktadmin status; ktadmin failover makes another node the active",
                            "no node that answers is the active");
    return 0;
}
