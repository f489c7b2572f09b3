// SPDX-License-Identifier: Apache-2.0
// status: the nodes of a cluster as a table.
#include <string.h>

#include "ktadmin/status.h"

#define CELL_MAX 64
#define KIB      1024

static void size_text(json_int_t bytes, char out[CELL_MAX])
{
    if (bytes < KIB)
        snprintf(out, CELL_MAX, "%lld B", (long long)bytes);
    else if (bytes < KIB * KIB)
        snprintf(out, CELL_MAX, "%lld KiB", (long long)bytes / KIB);
    else
        snprintf(out, CELL_MAX, "%lld MiB", (long long)bytes / (KIB * KIB));
}

// "0 B, 0.0 s" of a standby.
static void lag_text(const json_t *receiver, char out[CELL_MAX])
{
    char bytes[CELL_MAX];
    json_t *lag = json_object_get(receiver, "lag_bytes");

    if (!json_is_integer(lag)) {
        snprintf(out, CELL_MAX, "-");
        return;
    }
    size_text(json_integer_value(lag), bytes);
    snprintf(out, CELL_MAX, "%.40s, %.1f s", bytes,
             (double)json_integer_value(json_object_get(receiver, "lag_ms")) / 1000);
}

static void ago_text(const json_t *value, char out[CELL_MAX])
{
    if (json_is_integer(value))
        snprintf(out, CELL_MAX, "%.1f s ago", (double)json_integer_value(value) / 1000);
    else
        snprintf(out, CELL_MAX, "-");
}

// "1 of 2, W 1" of an active; of a standby whether it receives.
static void members_text(const struct kta_member *member, char out[CELL_MAX])
{
    const json_t *receiver = json_object_get(member->state, "receiver");
    struct kt_epoch_row row = {0};

    if (json_is_object(receiver))
        snprintf(out, CELL_MAX, "%s",
                 json_is_true(json_object_get(receiver, "streaming")) ? "streams" : "cut off");
    else if (kta_state_list(member, &row) == 0)
        snprintf(out, CELL_MAX, "%llu of %u, W %llu",
                 (unsigned long long)kta_state_number(member, "members_streaming"),
                 (unsigned)row.count, (unsigned long long)row.w);
    else
        snprintf(out, CELL_MAX, "-");
}

// The fewest days that a certificate of the node is still good.
static void days_text(const struct kta_member *member, char out[CELL_MAX])
{
    json_t *days = json_object_get(member->state, "certificates"), *value;
    json_int_t least = -1;
    const char *name;

    json_object_foreach(days, name, value)
    {
        if (json_is_integer(value) && (least < 0 || json_integer_value(value) < least))
            least = json_integer_value(value);
    }
    snprintf(out, CELL_MAX, least < 0 ? "-" : "%lld", (long long)least);
}

static int add_row(struct kt_table *table, const struct kta_member *member)
{
    char epoch[CELL_MAX] = "-", lag[CELL_MAX] = "-", members[CELL_MAX] = "-",
         barrier[CELL_MAX] = "-", doubt[CELL_MAX] = "-", days[CELL_MAX] = "-",
         where[KT_HOST_MAX + 16];
    const char *cells[] = {member->name[0] ? member->name : "?",
                           kta_member_refuses(member) ? "refused" : "no answer",
                           epoch,
                           where,
                           "-",
                           lag,
                           members,
                           "-",
                           barrier,
                           doubt,
                           days};
    struct kt_promise promise;
    const char *writer;

    snprintf(where, sizeof(where), "%s", member->peer.address[0] ? member->peer.address : "-");
    if (member->state) {
        if (kta_state_promise(member, &promise) == 0)
            snprintf(epoch, sizeof(epoch), "%llu %s", (unsigned long long)promise.epoch,
                     promise.active);
        lag_text(json_object_get(member->state, "receiver"), lag);
        members_text(member, members);
        ago_text(json_object_get(member->state, "last_barrier_ms_ago"), barrier);
        snprintf(doubt, sizeof(doubt), "%llu",
                 (unsigned long long)kta_state_number(member, "in_doubt"));
        days_text(member, days);
        writer = kta_state_text(member, "writer");
        cells[1] = kta_state_text(member, "role");
        cells[4] = kta_state_text(member, "database");
        cells[7] = writer[0] ? writer : "-";
    }
    return kt_table_row(table, cells);
}

void kta_status_print_nodes(const struct kta_nodes *nodes)
{
    static const char *const TITLES[] = {"node",    "role",   "epoch",   "address", "db",   "lag",
                                         "members", "writer", "barrier", "doubt",   "days", NULL};
    struct kt_table *table = kt_table_new(TITLES);
    int rc = table ? 0 : KT_ERR_NO_MEMORY;

    for (size_t i = 0; i < nodes->count && rc == 0; i++)
        rc = add_row(table, &nodes->list[i]);
    if (rc == 0)
        kt_table_print(table, stdout);
    kt_table_free(table);
}

json_t *kta_status_nodes(const struct kta_nodes *nodes)
{
    json_t *array = json_array();

    for (size_t i = 0; i < nodes->count; i++) {
        const struct kta_member *member = &nodes->list[i];
        json_t *one = json_pack("{s:s, s:s, s:s, s:b, s:O?}", "node", member->name, "member",
                                member->peer.member, "address", member->peer.address, "reachable",
                                member->state != NULL, "state", member->state);
        if (one && !member->state)
            json_object_set_new(one, "error", json_string(member->error.message));
        json_array_append_new(array, one);
    }
    return array;
}
