// SPDX-License-Identifier: Apache-2.0
// audit verify, audit show, audit head: the hash-chained record of who did what on this node.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ktadmin/audit_files.h"
#include "ktadmin/commands.h"
#include "lib/json.h"

#define LAST_DEFAULT 20
#define LAST_MAX     100000

// --- verify and head ---

// A head that was noted down earlier must be one of the records.
struct noted {
    uint64_t seq;
    uint8_t hash[KT_SHA256_LEN];
    int wanted, found;
};

static int look_for_noted(void *arg, uint64_t seq, const uint8_t hash[KT_SHA256_LEN],
                          const char *json, size_t n)
{
    struct noted *noted = arg;

    (void)json;
    (void)n;
    if (noted->wanted && seq == noted->seq)
        noted->found = memcmp(hash, noted->hash, KT_SHA256_LEN) == 0;
    return 0;
}

// "<seq>:<hash>", as audit head prints it.
static int parse_noted(const char *text, struct noted *noted, struct kt_error *error)
{
    const char *colon = strchr(text, ':');
    char number[24];

    if (colon && (size_t)(colon - text) < sizeof(number)) {
        memcpy(number, text, (size_t)(colon - text));
        number[colon - text] = '\0';
        noted->wanted = 1;
        if (kt_u64_parse(number, 1, UINT64_MAX, &noted->seq) == 0 &&
            kt_hex_decode(colon + 1, noted->hash, KT_SHA256_LEN) == 0)
            return 0;
    }
    return kt_error_set(error, KT_ERR_USAGE, "give what ktadmin audit head printed",
                        "--head: '%.100s' is not NUMBER:HASH", text);
}

static int walk(const struct kt_cli_run *run, kta_audit_record record, void *arg,
                struct kta_audit_report *report, struct kt_error *error)
{
    struct kta_node node;
    int rc = kta_open(run, KTA_FILES, &node, error);

    if (rc == 0)
        rc = kta_audit_walk(node.paths.audit, record, arg, report, error);
    kta_close(&node);
    return rc;
}

static void print_report(const struct kt_cli_run *run, const struct kta_audit_report *report)
{
    char hash[KT_SHA256_TEXT];

    kt_hex_encode(report->last_hash, KT_SHA256_LEN, hash);
    if (kt_cli_flag(run, "json")) {
        json_t *answer = json_pack(
            "{s:b, s:i, s:I, s:I, s:I, s:s, s:s*, s:s*}", "ok", report->problem[0] == '\0', "files",
            (int)report->files, "records", (json_int_t)report->records, "first",
            (json_int_t)report->first_seq, "last", (json_int_t)report->last_seq, "hash", hash,
            "problem", report->problem[0] ? report->problem : NULL, "where",
            report->where[0] ? report->where : NULL);
        kta_print_json(answer);
        json_decref(answer);
        return;
    }
    if (report->problem[0]) {
        printf("%s: %s\n", report->where, report->problem);
        printf("%" PRIu64 " records in %u file(s) are whole apart from that, up to %" PRIu64 "\n",
               report->records, report->files, report->last_seq);
        return;
    }
    printf("%" PRIu64 " records in %u file(s) are whole, %" PRIu64 " to %" PRIu64 "\nhead %" PRIu64
           ":%s\n",
           report->records, report->files, report->first_seq, report->last_seq, report->last_seq,
           hash);
    if (report->unfinished)
        printf("behind it %" PRId64 " bytes of an unfinished record: a write in progress, or the "
               "end of a crash\n",
               report->unfinished);
}

static int run_verify(struct kt_cli_run *run)
{
    const char *head = kt_cli_value(run, "head");
    struct kta_audit_report report = {0};
    struct noted noted = {0};
    struct kt_error error = {0};
    int rc = head ? parse_noted(head, &noted, &error) : 0;

    if (rc == 0)
        rc = walk(run, look_for_noted, &noted, &report, &error);
    if (rc)
        return kt_cli_fail(run, &error);
    if (!report.problem[0] && noted.wanted && !noted.found) {
        snprintf(report.where, sizeof(report.where), "record %" PRIu64, noted.seq);
        snprintf(report.problem, sizeof(report.problem), "%s",
                 noted.seq > report.last_seq ? "the noted head is gone: records are missing at the "
                                               "end"
                                             : "the noted head has another hash: the files were "
                                               "written anew");
    }
    print_report(run, &report);
    return report.problem[0] ? KT_EXIT_INTEGRITY : KT_EXIT_OK;
}

static int run_head(struct kt_cli_run *run)
{
    struct kta_audit_report report = {0};
    struct kt_error error = {0};
    char hash[KT_SHA256_TEXT];
    int rc = walk(run, NULL, NULL, &report, &error);

    if (rc)
        return kt_cli_fail(run, &error);
    kt_hex_encode(report.last_hash, KT_SHA256_LEN, hash);
    if (kt_cli_flag(run, "json"))
        printf("{\"seq\": %" PRIu64 ", \"hash\": \"%s\"}\n", report.last_seq, hash);
    else
        printf("%" PRIu64 ":%s\n", report.last_seq, hash);
    if (!report.problem[0])
        return KT_EXIT_OK;
    kt_error_set(&error, KT_ERR_SIGNATURE, "run ktadmin audit verify", "%s: %s", report.where,
                 report.problem);
    return kt_cli_fail(run, &error);
}

// --- show ---

// The last `room` records that fit the filters, in a ring.
struct shown {
    const char *client, *handle, *event; // or NULL
    json_t **ring;
    size_t room;
    uint64_t count; // that fitted
};

static int has_value(const json_t *object, const char *member, const char *wanted)
{
    const char *value = json_string_value(json_object_get(object, member));

    return !wanted || (value && strcmp(value, wanted) == 0);
}

static int keep(void *arg, uint64_t seq, const uint8_t hash[KT_SHA256_LEN], const char *json,
                size_t n)
{
    struct shown *shown = arg;
    json_t *object = NULL;
    size_t at;

    (void)hash;
    if (kt_json_parse_object(json, n, &object, NULL) != 0)
        return 0; // its hash is right: somebody wrote it so, and verify does not mind
    if (!has_value(object, "client", shown->client) ||
        !has_value(object, "handle", shown->handle) || !has_value(object, "event", shown->event)) {
        json_decref(object);
        return 0;
    }
    json_object_set_new(object, "seq", json_integer((json_int_t)seq));
    at = (size_t)(shown->count++ % shown->room);
    json_decref(shown->ring[at]);
    shown->ring[at] = object;
    return 0;
}

// "SEQ TIME EVENT name=value ..."
static void print_record(json_t *object)
{
    char text[KT_AUDIT_JSON_MAX];
    const char *name;
    json_t *value;

    kta_text_of(object, "seq", text, sizeof(text));
    printf("%s", text);
    kta_text_of(object, "time", text, sizeof(text));
    printf(" %s", text);
    kta_text_of(object, "event", text, sizeof(text));
    printf(" %s", text);
    json_object_foreach(object, name, value)
    {
        if (strcmp(name, "seq") == 0 || strcmp(name, "time") == 0 || strcmp(name, "event") == 0 ||
            json_is_null(value))
            continue;
        kta_text_of(object, name, text, sizeof(text));
        for (char *at = text; *at; at++)
            if ((unsigned char)*at < 0x20 || *at == 0x7f)
                *at = '?';
        printf(strchr(text, ' ') ? " %s=\"%s\"" : " %s=%s", name, text);
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

// Records name clients by id. A name is looked up, which needs the server.
static int find_client(const struct kt_cli_run *run, const char *text, char id[KT_UUID_TEXT],
                       struct kt_error *error)
{
    struct kta_node node;
    int rc = kta_open(run, KTA_AGENT, &node, error);

    if (rc == 0)
        rc = kta_client_id(&node, text, id, error);
    kta_close(&node);
    return rc;
}

static int run_show(struct kt_cli_run *run)
{
    const char *client = kt_cli_value(run, "client");
    char id[KT_UUID_TEXT];
    struct shown shown = {.client = client ? id : NULL,
                          .handle = kt_cli_value(run, "handle"),
                          .event = kt_cli_value(run, "event")};
    const char *last = kt_cli_value(run, "last");
    struct kta_audit_report report = {0};
    struct kt_error error = {0};
    uint64_t room = LAST_DEFAULT;
    int rc = last ? kta_number("last", last, 1, LAST_MAX, &room, &error) : 0;

    if (rc == 0 && client)
        rc = find_client(run, client, id, &error);
    shown.room = (size_t)room;
    shown.ring = rc ? NULL : calloc(shown.room, sizeof(*shown.ring));
    if (rc == 0 && !shown.ring)
        rc = kt_error_set(&error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    if (rc == 0)
        rc = walk(run, keep, &shown, &report, &error);
    if (rc == 0)
        print_shown(run, &shown);
    if (rc == 0 && report.problem[0])
        rc = kt_error_set(&error, KT_ERR_SIGNATURE, "run ktadmin audit verify", "%s: %s",
                          report.where, report.problem);
    for (size_t i = 0; shown.ring && i < shown.room; i++)
        json_decref(shown.ring[i]);
    free(shown.ring);
    return rc ? kt_cli_fail(run, &error) : KT_EXIT_OK;
}

static const struct kt_cli_option VERIFY_OPTIONS[] = {
    {"head", 0, "NUMBER:HASH", "a head noted earlier, which must still be part of the chain"},
    {NULL},
};
static const struct kt_cli_option SHOW_OPTIONS[] = {
    {"last", 0, "N", "how many records, the latest (20)"},
    {"client", 0, "CLIENT", "only those of this client (id or name)"},
    {"handle", 0, "HANDLE", "only those about this handle"},
    {"event", 0, "EVENT", "only these, for example deposit.get"},
    {NULL},
};

const struct kt_cli_command kta_cmd_audit_verify = {
    .verb = "audit verify",
    .arguments = "",
    .summary = "check that no audit record was changed or removed",
    .help = "Prints the first bad record as FILE:LINE and exits with 7 when there is one.\n"
            "Records cut off at the very end show only against a head that was noted elsewhere: "
            "--head.",
    .options = VERIFY_OPTIONS,
    .run = run_verify,
};
const struct kt_cli_command kta_cmd_audit_show = {
    .verb = "audit show",
    .arguments = "",
    .summary = "show audit records",
    .options = SHOW_OPTIONS,
    .run = run_show,
};
const struct kt_cli_command kta_cmd_audit_head = {
    .verb = "audit head",
    .arguments = "",
    .summary = "print number and hash of the last audit record",
    .help = "Keep it in another place: 'audit verify --head' then shows whether records were cut "
            "off.",
    .run = run_head,
};
