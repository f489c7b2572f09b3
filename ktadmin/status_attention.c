// SPDX-License-Identifier: Apache-2.0
// status: what wants attention, and how bad it is, for people and for monitoring.
#include <stdarg.h>
#include <string.h>

#include "ktadmin/status.h"

#define DAYS_LEAST     30
#define LAG_BYTES_MOST (64 << 20)
#define LAG_MS_MOST    30000
#define LINE_MAX_TEXT  640

static void say(json_t *list, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void say(json_t *list, const char *fmt, ...)
{
    char line[LINE_MAX_TEXT];
    va_list args;

    va_start(args, fmt);
    vsnprintf(line, sizeof(line), fmt, args);
    va_end(args);
    json_array_append_new(list, json_string(line));
}

static void look_at_certificates(const struct kta_member *member, json_t *list)
{
    json_t *days = json_object_get(member->state, "certificates"), *value;
    const char *name;

    json_object_foreach(days, name, value)
    {
        size_t n = strcspn(name, "_");
        if (json_is_integer(value) && json_integer_value(value) < DAYS_LEAST)
            say(list, "%s: the %.*s certificate is good for %lld more days", member->name, (int)n,
                name, (long long)json_integer_value(value));
    }
}

static void look_at_standby(const struct kta_member *member, json_t *list)
{
    const json_t *receiver = json_object_get(member->state, "receiver");
    json_int_t bytes = json_integer_value(json_object_get(receiver, "lag_bytes")),
               ms = json_integer_value(json_object_get(receiver, "lag_ms"));

    if (!json_is_object(receiver))
        return;
    if (!json_is_true(json_object_get(receiver, "streaming")))
        say(list, "%s receives nothing from the active", member->name);
    else if (bytes > LAG_BYTES_MOST || ms > LAG_MS_MOST)
        say(list, "%s is %lld bytes and %.1f s behind", member->name, (long long)bytes,
            (double)ms / 1000);
    if (json_is_true(json_object_get(member->state, "below_floor")))
        say(list, "%s is below its floor: it has no vote until it has caught up", member->name);
}

// What one node says of itself.
static void look_at_node(const struct kta_member *member, json_t *list)
{
    const char *role = kta_state_text(member, "role");
    const json_t *unequal = json_object_get(json_object_get(member->state, "settings"), "unequal");
    json_t *one;
    size_t i;

    if (strcmp(kta_state_text(member, "database"), "up") != 0)
        say(list, "%s: the database is down", member->name);
    if (strcmp(role, "fenced") == 0)
        say(list, "%s is fenced: run ktadmin rejoin %s", member->name, member->name);
    else if (strcmp(role, "removed") == 0)
        say(list,
            "%s was removed from the cluster and serves nothing: wipe it; ktadmin join makes it a "
            "new node",
            member->name);
    else if (strcmp(role, "unestablished") == 0)
        say(list,
            "%s is unestablished: it takes writes when a member of its list streams; bring one "
            "back "
            "with ktadmin rejoin, or let a new machine join",
            member->name);
    else if (strcmp(role, "unknown") == 0)
        say(list, "%s does not know its role", member->name);
    look_at_standby(member, list);
    if (kta_state_number(member, "in_doubt") > 0)
        say(list, "%s: %llu groups are in doubt", member->name,
            (unsigned long long)kta_state_number(member, "in_doubt"));
    if (json_is_false(json_object_get(json_object_get(member->state, "audit"), "open")))
        say(list, "%s cannot write its audit log", member->name);
    json_array_foreach(unequal, i, one) if (json_is_string(one))
        say(list, "%s: the setting %s differs", member->name, json_string_value(one));
    look_at_certificates(member, list);
}

static int same(const char *a, const char *b)
{
    return !a || !b || strcmp(a, b) == 0;
}

static const char *settings_hash(const struct kta_member *member)
{
    return json_string_value(json_object_get(json_object_get(member->state, "settings"), "hash"));
}

// What must be equal everywhere, against the first node that answers.
static void compare(const struct kta_nodes *nodes, json_t *list)
{
    const struct kta_member *first = NULL;

    for (size_t i = 0; i < nodes->count; i++) {
        const struct kta_member *member = &nodes->list[i];
        if (!member->state)
            continue;
        if (!first) {
            first = member;
            continue;
        }
        if (!same(kta_state_text(first, "fingerprint"), kta_state_text(member, "fingerprint")))
            say(list, "%s and %s have different OpenPGP keys: one of them is not of this cluster",
                first->name, member->name);
        if (!same(settings_hash(first), settings_hash(member)))
            say(list, "%s and %s have different settings", first->name, member->name);
        if (strcmp(kta_state_text(first, "version"), kta_state_text(member, "version")) != 0)
            say(list, "%s has version %s, %s has %s", first->name, kta_state_text(first, "version"),
                member->name, kta_state_text(member, "version"));
    }
}

// Members of the active's list that do not stream.
static void look_at_members(const struct kta_member *active, json_t *list)
{
    const json_t *streams = json_object_get(active->state, "streaming");
    struct kt_epoch_row row;
    json_t *one;
    size_t i;

    if (kta_state_list(active, &row) != 0)
        return;
    for (uint32_t k = 0; k < row.count; k++) {
        int found = 0;
        json_array_foreach(streams, i, one)
        {
            const char *name = json_string_value(json_object_get(one, "member"));
            found |= name && strcmp(name, row.members[k]) == 0 &&
                     json_is_true(json_object_get(one, "streaming"));
        }
        if (!found)
            say(list, "%s does not stream from %s", row.members[k], active->name);
    }
}

json_t *kta_status_attention(const struct kta_nodes *nodes, int *exit_code)
{
    json_t *list = json_array();
    size_t active = 0, serving = 0;
    int writes = 0;

    for (size_t i = 0; i < nodes->count; i++) {
        const struct kta_member *member = &nodes->list[i];
        if (!member->state) {
            say(list, "%s does not answer: %s", member->name[0] ? member->name : "a node",
                member->error.message);
            continue;
        }
        serving += strcmp(kta_state_text(member, "database"), "up") == 0;
        look_at_node(member, list);
    }
    compare(nodes, list);
    if (kta_nodes_active(nodes, &active, NULL) == 0) {
        const struct kta_member *member = &nodes->list[active];
        writes = strcmp(kta_state_text(member, "writer"), "open") == 0;
        look_at_members(member, list);
        if (!writes && strcmp(kta_state_text(member, "role"), "unestablished") != 0)
            say(list, "%s is the active and takes no writes", member->name);
    } else {
        say(list, "no node is the active: run ktadmin failover");
    }
    *exit_code = serving == 0                ? KTA_EXIT_DOWN
                 : !writes                   ? KTA_EXIT_NO_WRITES
                 : json_array_size(list) > 0 ? KTA_EXIT_DEGRADED
                                             : KT_EXIT_OK;
    return list;
}

static int has(const json_t *array, const char *text)
{
    json_t *one;
    size_t i;

    json_array_foreach(array, i, one) if (strcmp(json_string_value(one), text) == 0) return 1;
    return 0;
}

json_t *kta_status_overrides(const struct kta_nodes *nodes)
{
    json_t *list = json_array(), *one;
    size_t k;

    for (size_t i = 0; i < nodes->count; i++) {
        const json_t *notes = json_object_get(nodes->list[i].state, "overrides");
        json_array_foreach(notes, k,
                           one) if (json_is_string(one) && !has(list, json_string_value(one)))
            json_array_append(list, one);
    }
    return list;
}
