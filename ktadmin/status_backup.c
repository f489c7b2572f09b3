// SPDX-License-Identifier: Apache-2.0
// status: the backups that the nodes have made.
#include <string.h>

#include "ktadmin/status.h"

#define OLD_S     (2 * 86400) // a backup of this age wants attention
#define TEXT_MAX  256
#define UNITS_MAX 64

// What another node says, without what could drive a terminal.
static void clean(const json_t *object, const char *name, char out[TEXT_MAX])
{
    const char *text = json_string_value(json_object_get(object, name));

    snprintf(out, TEXT_MAX, "%.255s", text ? text : "");
    for (char *at = out; *at; at++)
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            *at = '?';
}

static void age_text(int64_t s, char out[UNITS_MAX])
{
    if (s < 120)
        snprintf(out, UNITS_MAX, "%lld s", (long long)s);
    else if (s < 7200)
        snprintf(out, UNITS_MAX, "%lld min", (long long)s / 60);
    else if (s < OLD_S)
        snprintf(out, UNITS_MAX, "%lld h", (long long)s / 3600);
    else
        snprintf(out, UNITS_MAX, "%lld days", (long long)s / 86400);
}

static void size_text(double bytes, char out[UNITS_MAX])
{
    static const char *const UNITS[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_t unit = 0;

    for (; bytes >= 1024 && unit < 4; unit++)
        bytes /= 1024;
    snprintf(out, UNITS_MAX, unit ? "%.1f %s" : "%.0f %s", bytes, UNITS[unit]);
}

// --- this node's, as lines ---

static void print_last(const json_t *backup)
{
    const json_t *age = json_object_get(backup, "age_s");
    char ago[UNITS_MAX], size[UNITS_MAX];

    if (!json_is_integer(age)) {
        printf("%-24s none yet\n", "backup");
        return;
    }
    age_text(json_integer_value(age), ago);
    size_text((double)json_integer_value(json_object_get(backup, "bytes")), size);
    printf("%-24s %s ago, %s, %s, %lld deposits\n", "backup", ago,
           json_is_true(json_object_get(backup, "proven")) ? "proven" : "unproven", size,
           (long long)json_integer_value(json_object_get(backup, "deposits")));
}

void kta_status_print_backup(const json_t *backup)
{
    char when[TEXT_MAX], words[TEXT_MAX];

    if (!json_is_object(backup)) // an older server
        return;
    print_last(backup);
    clean(backup, "failed", when);
    clean(backup, "failure", words);
    if (when[0])
        printf("%-24s %s, %s\n", "backup failed", when, words);
    clean(backup, "verified", when);
    clean(backup, "verified_how", words);
    if (when[0])
        printf("%-24s %s, %s\n", "backup verified", when, words);
    else
        printf("%-24s never\n", "backup verified");
    clean(backup, "last_proven_restore", when);
    printf("%-24s %s\n", "last proven restore", when[0] ? when : "never");
}

// --- of all nodes ---

static void add(json_t *list, json_t *line)
{
    json_array_append_new(list, line);
}

void kta_status_look_at_backup(const struct kta_member *member, json_t *list)
{
    const json_t *backup = json_object_get(member->state, "backup");
    char words[TEXT_MAX];

    if (!json_is_object(backup))
        return;
    clean(backup, "failure", words);
    if (json_is_string(json_object_get(backup, "failed")))
        add(list, json_sprintf("%s: the last run of ktbackup failed: %s", member->name, words));
    if (json_is_false(json_object_get(backup, "drill_passed")))
        add(list, json_sprintf("%s: the last drill failed: that backup could not be restored whole",
                               member->name));
    clean(backup, "error", words);
    if (words[0])
        add(list, json_sprintf("%s: it is not known what became of its backups: %s", member->name,
                               words));
}

// Nodes that tell of backups; *newest is the one with the last, NULL when none was made.
static size_t find_newest(const struct kta_nodes *nodes, const struct kta_member **newest,
                          json_int_t *age_s)
{
    size_t count = 0;

    *newest = NULL;
    for (size_t i = 0; i < nodes->count; i++) {
        const struct kta_member *member = &nodes->list[i];
        const json_t *backup = json_object_get(member->state, "backup");
        const json_t *age = json_object_get(backup, "age_s");
        if (!json_is_object(backup) || strcmp(kta_state_text(member, "role"), "removed") == 0)
            continue;
        count++;
        if (!json_is_integer(age) || (*newest && json_integer_value(age) >= *age_s))
            continue;
        *newest = member;
        *age_s = json_integer_value(age);
    }
    return count;
}

void kta_status_look_at_backups(const struct kta_nodes *nodes, json_t *list)
{
    const struct kta_member *newest;
    json_int_t age_s = 0;

    if (find_newest(nodes, &newest, &age_s) > 0 && newest && age_s >= OLD_S)
        add(list, json_sprintf("the last backup is %lld days old (%s made it)",
                               (long long)age_s / 86400, newest->name));
}

json_t *kta_status_notes(const struct kta_nodes *nodes)
{
    const struct kta_member *newest;
    json_t *list = json_array();
    json_int_t age_s = 0;

    if (find_newest(nodes, &newest, &age_s) > 0 && !newest)
        add(list, json_string("no backup yet: see ktbackup(1)"));
    return list;
}
