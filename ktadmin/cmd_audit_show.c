// SPDX-License-Identifier: Apache-2.0
// audit show, audit export: the records themselves, for people and for programs.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ktadmin/audit_files.h"
#include "ktadmin/audit_filter.h"
#include "ktadmin/commands.h"
#include "ktadmin/nodes.h"
#include "lib/json.h"

#define LAST_DEFAULT 20
#define LAST_MAX     100000
#define FOLLOW_MS    250

// A record with its number; one that is not JSON, by whatever way it got there, is shown as that.
static json_t *with_number(const char *json, size_t n, uint64_t seq)
{
    json_t *object = NULL;

    if (kt_json_parse_object(json, n, &object, NULL) != 0)
        object = json_pack("{s:s}", "problem", "the record is not JSON");
    json_object_set_new(object, "seq", json_integer((json_int_t)seq));
    return object;
}

static int check_chain(const struct kta_audit_report *report, struct kt_error *error)
{
    return report->problem[0] ? kt_error_set(error, KT_ERR_SIGNATURE, "run ktadmin audit verify",
                                             "%s: %s", report->where, report->problem)
                              : 0;
}

// --- show ---

// The last `room` records that fit the filter, in a ring.
struct shown {
    struct kta_audit_filter filter;
    json_t **ring;
    size_t room;
    uint64_t count; // that fitted
};

static int keep(void *arg, uint64_t seq, const uint8_t hash[KT_SHA256_LEN], const char *json,
                size_t n)
{
    struct shown *shown = arg;
    json_t *object = with_number(json, n, seq);
    size_t at;

    (void)hash;
    if (!kta_audit_filter_fits(&shown->filter, object)) {
        json_decref(object);
        return 0;
    }
    at = (size_t)(shown->count++ % shown->room);
    json_decref(shown->ring[at]);
    shown->ring[at] = object;
    return 0;
}

static int is_plain(const char *text)
{
    static const char PLAIN[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "._/@:+,-[]";

    return text[0] && text[strspn(text, PLAIN)] == '\0';
}

// Plain words as they are; anything else quoted, so that no value can pass for two.
static void print_value(const json_t *value)
{
    const char *plain = json_string_value(value);
    char *text = plain && is_plain(plain) ? NULL : kta_audit_line(value);

    fputs(text ? text : plain ? plain : "?", stdout);
    free(text);
}

// "SEQ TIME EVENT name=value ..."
static void print_record(json_t *object)
{
    static const char *const FIRST[] = {"seq", "time", "event"};
    const char *name;
    json_t *value;

    for (size_t i = 0; i < 3; i++) {
        value = json_object_get(object, FIRST[i]);
        if (i > 0)
            putchar(' ');
        if (value)
            print_value(value);
        else
            putchar('-');
    }
    json_object_foreach(object, name, value)
    {
        if (strcmp(name, "seq") == 0 || strcmp(name, "time") == 0 || strcmp(name, "event") == 0 ||
            json_is_null(value) || !is_plain(name))
            continue;
        printf(" %s=", name);
        print_value(value);
    }
    putchar('\n');
}

static void print_shown(const struct kt_cli_run *run, const struct shown *shown)
{
    size_t n = shown->count < shown->room ? (size_t)shown->count : shown->room;
    size_t first = shown->count < shown->room ? 0 : (size_t)(shown->count % shown->room);
    json_t *list = kt_cli_flag(run, "json") ? json_array() : NULL;

    for (size_t i = 0; i < n; i++) {
        json_t *object = shown->ring[(first + i) % shown->room];
        if (list)
            json_array_append(list, object);
        else
            print_record(object);
    }
    if (list)
        kta_print_json(list);
    json_decref(list);
}

static int run_show(struct kt_cli_run *run)
{
    const char *last = kt_cli_value(run, "last");
    struct kta_audit_report report = {0};
    struct shown shown = {.ring = NULL};
    struct kt_error error = {0};
    uint64_t room = LAST_DEFAULT;
    struct kta_node node;
    int rc = last ? kta_number("last", last, 1, LAST_MAX, &room, &error) : 0;

    if (rc == 0)
        rc = kta_audit_filter_take(run, &shown.filter, &error);
    shown.room = (size_t)room;
    // NOLINTNEXTLINE(bugprone-sizeof-expression): pointers are meant
    shown.ring = rc ? NULL : calloc(shown.room, sizeof(*shown.ring));
    if (rc == 0 && !shown.ring)
        rc = kt_error_set(&error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    if (rc == 0) {
        rc = kta_open(run, KTA_FILES, &node, &error);
        if (rc == 0)
            rc = kta_audit_walk(node.paths.audit, keep, &shown, &report, &error);
        kta_close(&node);
    }
    if (rc == 0) {
        print_shown(run, &shown);
        rc = check_chain(&report, &error);
    }
    for (size_t i = 0; shown.ring && i < shown.room; i++)
        json_decref(shown.ring[i]);
    free(shown.ring);
    return rc ? kt_cli_fail(run, &error) : KT_EXIT_OK;
}

// --- export ---

static int write_line(void *arg, uint64_t seq, const uint8_t hash[KT_SHA256_LEN], const char *json,
                      size_t n)
{
    const struct kta_audit_filter *filter = arg;
    json_t *object = with_number(json, n, seq);
    char *line = kta_audit_filter_fits(filter, object) ? kta_audit_line(object) : NULL;
    int failed = line && (fputs(line, stdout) < 0 || putchar('\n') == EOF);

    (void)hash;
    free(line);
    json_decref(object);
    return failed ? KT_ERR_SYSTEM : 0;
}

static int wait_for_more(void *arg)
{
    (void)arg;
    if (fflush(stdout))
        return KT_ERR_SYSTEM;
    kta_pause_ms(FOLLOW_MS);
    return 0;
}

static int run_export(struct kt_cli_run *run)
{
    struct kta_audit_report report = {0};
    struct kta_audit_filter filter;
    struct kt_error error = {0};
    struct kta_node node;
    int rc = kta_audit_filter_take(run, &filter, &error);

    if (rc)
        return kt_cli_fail(run, &error);
    rc = kta_open(run, KTA_FILES, &node, &error);
    if (rc == 0 && kt_cli_flag(run, "follow"))
        rc =
            kta_audit_follow(node.paths.audit, write_line, wait_for_more, &filter, &report, &error);
    else if (rc == 0)
        rc = kta_audit_walk(node.paths.audit, write_line, &filter, &report, &error);
    kta_close(&node);
    if (rc == 0 && fflush(stdout))
        rc = KT_ERR_SYSTEM;
    if (rc && !error.message[0])
        kt_error_set(&error, rc, NULL, "the records cannot be written out");
    if (rc == 0)
        rc = check_chain(&report, &error);
    return rc ? kt_cli_fail(run, &error) : KT_EXIT_OK;
}

static const struct kt_cli_option SHOW_OPTIONS[] = {
    {"last", 0, "N", "how many records, the latest (20)"},
    KTA_AUDIT_FILTER_OPTIONS,
    {NULL},
};
static const struct kt_cli_option EXPORT_OPTIONS[] = {
    {"follow", 'f', NULL, "go on with what is recorded from now on, until interrupted"},
    KTA_AUDIT_FILTER_OPTIONS,
    {NULL},
};

const struct kt_cli_command kta_cmd_audit_show = {
    .verb = "audit show",
    .arguments = "",
    .summary = "show audit records",
    .options = SHOW_OPTIONS,
    .run = run_show,
};
const struct kt_cli_command kta_cmd_audit_export = {
    .verb = "audit export",
    .arguments = "",
    .summary = "write audit records as JSON, one a line",
    .help = "All records, or those that fit the options, oldest first, as they are read: however "
            "many there are. Exits with 7 behind the last one when the chain does not hold.",
    .options = EXPORT_OPTIONS,
    .run = run_export,
};
