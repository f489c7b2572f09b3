// SPDX-License-Identifier: Apache-2.0
// status: what wants attention, and how bad it is, for people and for monitoring.
#include <stdarg.h>
#include <string.h>

#include "ktadmin/rotate_cluster_key.h"
#include "ktadmin/rotate_receipt.h"
#include "ktadmin/status.h"

#define DAYS_LEAST     30
#define CA_LEAST       180 // no certificate that it signs is good for longer
#define LAG_BYTES_MOST (64 << 20)
#define LAG_MS_MOST    30000
#define STRANGERS_S    86400 // for so long it is news
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

    if (json_is_true(json_object_get(days, "renewing")))
        say(list, "%s: a renewal of its certificates has not ended: run ktadmin rotate there",
            member->name);
    json_object_foreach(days, name, value)
    {
        size_t n = strcspn(name, "_");
        int is_ca = strncmp(name, "ca_", 3) == 0;
        if (json_is_integer(value) && json_integer_value(value) < (is_ca ? CA_LEAST : DAYS_LEAST))
            say(list, "%s: the %.*s certificate is good for %lld more days: %s", member->name,
                (int)n, name, (long long)json_integer_value(value),
                is_ca ? "run ktadmin rotate --ca on the active" : "run ktadmin rotate there");
    }
}

// The rotation of the receipt key, or a node that was away from it.
static void look_at_receipt_key(const struct kta_member *member, json_t *list)
{
    const char *key = kta_receipt_text(member, "key"), *next = kta_receipt_text(member, "next"),
               *newest = kta_receipt_text(member, "newest");

    if (!newest[0] || kta_receipt_is_settled(member))
        return;
    if (strcmp(key, newest) != 0 && strcmp(next, newest) != 0)
        say(list,
            "%s does not have the receipt key %s and cannot take deposits as the active: run "
            "ktadmin rotate --receipt-key",
            member->name, newest);
    else
        say(list,
            "%s: a rotation of the receipt key has not ended: run ktadmin rotate --receipt-key",
            member->name);
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

// It was removed, or has sworn never to vote again: nothing else of it matters.
static int has_left(const struct kta_member *member)
{
    struct kt_promise promise;

    return member->state && (strcmp(kta_state_text(member, "role"), "removed") == 0 ||
                             (kta_state_promise(member, &promise) == 0 && promise.retired_by[0]));
}

static void say_left(const struct kta_member *member, json_t *list)
{
    say(list,
        "%s was removed from the cluster, or has left it, and serves nothing: wipe it; ktadmin "
        "join makes it a new node",
        member->name);
}

// What one node says of itself.
static void look_at_audit(const struct kta_member *member, json_t *list)
{
    const json_t *audit = json_object_get(member->state, "audit");
    const char *problem = json_string_value(json_object_get(audit, "problem"));
    const char *behind = json_string_value(json_object_get(audit, "behind"));

    if (json_is_false(json_object_get(audit, "open")))
        say(list, "%s cannot write its audit log%s%s", member->name, problem ? ": " : "",
            problem ? problem : "");
    if (behind)
        say(list,
            "%s: records of its audit log are gone that %s knows of: run ktadmin audit verify",
            member->name, behind);
}

static void look_at_strangers(const struct kta_member *member, json_t *list)
{
    const json_t *strangers = json_object_get(member->state, "strangers");
    const char *role = json_string_value(json_object_get(strangers, "role"));
    json_int_t left = json_integer_value(json_object_get(strangers, "left")),
               prepared = json_integer_value(json_object_get(strangers, "prepared"));

    if (!role || json_integer_value(json_object_get(strangers, "seconds_ago")) >= STRANGERS_S)
        return;
    if (json_is_true(json_object_get(strangers, "failing")) && left > 0)
        say(list,
            "%s: %lld transactions that the role %s has prepared cannot be rolled back: a process "
            "of this node may have been taken over, see its log",
            member->name, left, role);
    if (prepared > 0)
        say(list,
            "%s: %lld transactions that the role %s had prepared were rolled back: a process of "
            "this node may have been taken over, see its log",
            member->name, prepared, role);
}

static void look_at_node(const struct kta_member *member, json_t *list)
{
    const char *role = kta_state_text(member, "role");
    const json_t *unequal = json_object_get(json_object_get(member->state, "settings"), "unequal");
    json_t *one;
    size_t i;

    if (has_left(member)) {
        say_left(member, list);
        return;
    }
    if (strcmp(kta_state_text(member, "database"), "up") != 0)
        say(list, "%s: the database is down", member->name);
    if (json_is_true(json_object_get(member->state, "restored")))
        say(list,
            "%s: its database was restored with stock tools and serves reads only: stop the server "
            "and run ktadmin restore --adopt",
            member->name);
    else if (strcmp(role, "fenced") == 0)
        say(list, "%s is fenced: run ktadmin rejoin %s", member->name, member->name);
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
    look_at_strangers(member, list);
    look_at_audit(member, list);
    json_array_foreach(unequal, i, one) if (json_is_string(one))
        say(list, "%s: the setting %s differs", member->name, json_string_value(one));
    look_at_certificates(member, list);
    look_at_receipt_key(member, list);
    kta_status_look_at_backup(member, list);
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

// The names of who could be promoted, "kts-02 or kts-03"; how many.
static size_t candidates(const json_t *proofs, char out[LINE_MAX_TEXT / 2])
{
    size_t i, used = 0, count = 0;
    const json_t *one;

    out[0] = '\0';
    json_array_foreach(proofs, i, one)
    {
        const char *name = json_string_value(json_object_get(one, "node"));
        if (!name || json_array_size(json_object_get(one, "with")) == 0)
            continue;
        if (used < LINE_MAX_TEXT / 2)
            used += (size_t)snprintf(out + used, LINE_MAX_TEXT / 2 - used, "%s%s",
                                     count ? " or " : "", name);
        count++;
    }
    return count;
}

// What is to be done depends on who does not say anything: this node that was not started, nodes
// that refuse the caller, or an active that is gone.
static void say_no_active(const struct kta_nodes *nodes, const json_t *proofs, json_t *list)
{
    char names[LINE_MAX_TEXT / 2];
    size_t refused = 0, count;

    for (size_t i = 0; i < nodes->count; i++) {
        const struct kta_member *member = &nodes->list[i];
        refused += (size_t)kta_member_refuses(member);
        if (!member->is_local || has_left(member))
            continue;
        if (!member->state || strcmp(kta_state_text(member, "database"), "up") != 0) {
            say(list,
                "no node that answers is the active, and %s is not started: systemctl start "
                "keytrusteed keytrustee-db",
                member->name);
            return;
        }
    }
    if (refused) // they may be; each is named
        return;
    count = candidates(proofs, names);
    if (count > 1)
        say(list, "no node is the active: run ktadmin failover --to NODE, which can be %s", names);
    else
        say(list, "no node is the active: run ktadmin failover");
}

// Also by its file, when its server is stopped.
static int own_has_left(const struct kta_nodes *nodes)
{
    if (nodes->oath.retired_by[0])
        return 1;
    for (size_t i = 0; i < nodes->count; i++)
        if (nodes->list[i].is_local && has_left(&nodes->list[i]))
            return 1;
    return 0;
}

static void say_silent(const struct kta_member *member, json_t *list)
{
    const char *name = member->name[0] ? member->name : "a node";

    if (kta_member_refuses(member))
        say(list, "%s refuses this certificate: %s", name, member->error.message);
    else
        say(list, "%s does not answer: %s", name, member->error.message);
}

json_t *kta_status_attention(const struct kta_nodes *nodes, const json_t *proofs, int *exit_code)
{
    json_t *list = json_array();
    size_t active = 0, serving = 0, refused = 0;
    const struct kta_member *says = NULL; // of what is the same on all nodes
    int writes = 0, left = own_has_left(nodes);

    for (size_t i = 0; i < nodes->count; i++) {
        const struct kta_member *member = &nodes->list[i];
        if (!member->state) {
            refused += (size_t)kta_member_refuses(member);
            if (!left)
                say_silent(member, list);
            else if (member->is_local) // others need not answer it
                say_left(member, list);
            continue;
        }
        serving += strcmp(kta_state_text(member, "database"), "up") == 0;
        if (!says && !has_left(member))
            says = member;
        look_at_node(member, list);
    }
    compare(nodes, list);
    kta_status_look_at_cluster_key(nodes, list);
    kta_status_look_at_backups(nodes, list);
    if (kta_nodes_active(nodes, &active, NULL) == 0) {
        const struct kta_member *member = &nodes->list[active];
        writes = strcmp(kta_state_text(member, "writer"), "open") == 0;
        says = member;
        look_at_members(member, list);
        kta_status_look_at_ca(nodes, active, list);
        if (json_is_true(json_object_get(member->state, "clock_jumped")))
            say(list, "the clock has made a step of more than an hour: locks stay and purges wait "
                      "until the time was looked at and ktadmin clock confirm was run");
        if (!writes && strcmp(kta_state_text(member, "role"), "unestablished") != 0)
            say(list, "%s is the active and takes no writes", member->name);
    } else if (!left) {
        say_no_active(nodes, proofs, list);
    }
    if (says)
        kta_status_look_at_endings(says, list);
    *exit_code = refused && !writes && !left ? KT_EXIT_REFUSED
                 : serving == 0              ? KTA_EXIT_DOWN
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
