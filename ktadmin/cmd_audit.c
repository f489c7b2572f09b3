// SPDX-License-Identifier: Apache-2.0
// audit verify, audit head: whether the hash-chained record of who did what on this node is whole.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ktadmin/audit_files.h"
#include "ktadmin/audit_known.h"
#include "ktadmin/commands.h"
#include "lib/file.h"

// --- verify ---

static int compare(void *arg, uint64_t seq, const uint8_t hash[KT_SHA256_LEN], const char *json,
                   size_t n)
{
    kta_known_compare(arg, seq, hash, json, n);
    return 0;
}

static int is_whole(const struct kta_audit_report *report, const struct kta_known *known)
{
    return !report->problem[0] && json_array_size(known->findings) == 0;
}

static void print_json(const struct kta_audit_report *report, const struct kta_known *known,
                       const char *hash)
{
    const char *finding = json_string_value(json_array_get(known->findings, 0));
    const char *problem = report->problem[0] ? report->problem : finding;
    json_t *answer = json_pack(
        "{s:b, s:i, s:I, s:I, s:I, s:s, s:s*, s:s*, s:O, s:I, s:O}", "ok", is_whole(report, known),
        "files", (int)report->files, "records", (json_int_t)report->records, "first",
        (json_int_t)report->first_seq, "last", (json_int_t)report->last_seq, "hash", hash,
        "problem", problem, "where", report->where[0] ? report->where : NULL, "findings",
        known->findings, "heads", (json_int_t)known->count, "peers", known->peers);

    kta_print_json(answer);
    json_decref(answer);
}

static void print_text(const struct kta_audit_report *report, const struct kta_known *known,
                       const char *hash)
{
    const json_t *one;
    size_t i;

    if (report->problem[0])
        printf("%s: %s\n", report->where, report->problem);
    json_array_foreach(known->findings, i, one) printf("%s\n", json_string_value(one));
    if (report->records == 0)
        printf("no records\n");
    else if (!is_whole(report, known))
        printf("%" PRIu64 " records in %u file(s) are whole apart from that, up to %" PRIu64 "\n",
               report->records, report->files, report->last_seq);
    else
        printf("%" PRIu64 " records in %u file(s) are whole, %" PRIu64 " to %" PRIu64
               "\nhead %" PRIu64 ":%s\n",
               report->records, report->files, report->first_seq, report->last_seq,
               report->last_seq, hash);
    if (report->unfinished)
        printf("behind it %" PRId64 " bytes of an unfinished record: a write in progress, or the "
               "end of a crash\n",
               report->unfinished);
    printf("compared with %zu signed or noted heads\n", known->count);
    json_array_foreach(known->peers, i, one)
    {
        const char *error = json_string_value(json_object_get(one, "error"));
        if (error)
            printf("node %s was not asked: %s\n", json_string_value(json_object_get(one, "member")),
                   error);
    }
}

static int verify(const struct kt_cli_run *run, struct kta_known *known,
                  struct kta_audit_report *report, struct kt_error *error)
{
    struct kta_node node;
    int rc = kta_open(run, KTA_FILES, &node, error);

    // The heads first: what is written meanwhile is then no contradiction.
    if (rc == 0 && kt_cli_value(run, "head"))
        rc = kta_known_note(known, &node, kt_cli_value(run, "head"), error);
    if (rc == 0 && kt_file_exists(node.paths.cluster))
        rc = kta_known_own(known, &node, error);
    if (rc == 0 && kt_file_exists(node.paths.cluster) && !kt_cli_flag(run, "local"))
        rc = kta_known_ask(known, &node, error);
    if (rc == 0)
        rc = kta_audit_walk(node.paths.audit, compare, known, report, error);
    if (rc == KT_ERR_NOT_FOUND && known->count > 0)
        rc = 0; // all of it is gone
    if (rc == 0)
        kta_known_conclude(known, report->last_seq);
    kta_close(&node);
    return rc;
}

static int run_verify(struct kt_cli_run *run)
{
    struct kta_audit_report report = {0};
    struct kt_error error = {0};
    struct kta_known known;
    char hash[KT_SHA256_TEXT];
    int rc = kta_known_init(&known), whole;

    if (rc)
        kt_error_set(&error, rc, NULL, "out of memory");
    else
        rc = verify(run, &known, &report, &error);
    whole = rc == 0 && is_whole(&report, &known);
    kt_hex_encode(report.last_hash, KT_SHA256_LEN, hash);
    if (rc == 0 && kt_cli_flag(run, "json"))
        print_json(&report, &known, hash);
    else if (rc == 0)
        print_text(&report, &known, hash);
    kta_known_free(&known);
    if (rc)
        return kt_cli_fail(run, &error);
    return whole ? KT_EXIT_OK : KT_EXIT_INTEGRITY;
}

// --- head ---

// By the agent, with the node's key.
static int run_signed_head(struct kt_cli_run *run)
{
    json_t *answer = NULL;
    int rc = kta_ask(run, "audit.sign", NULL, &answer);

    if (rc)
        return rc;
    if (kt_cli_flag(run, "json"))
        kta_print_json(answer);
    else
        fputs(json_string_value(json_object_get(answer, "text")), stdout);
    json_decref(answer);
    return KT_EXIT_OK;
}

static int run_head(struct kt_cli_run *run)
{
    struct kta_audit_report report = {0};
    struct kt_error error = {0};
    char hash[KT_SHA256_TEXT];
    struct kta_node node;
    int rc;

    if (kt_cli_flag(run, "sign"))
        return run_signed_head(run);
    rc = kta_open(run, KTA_FILES, &node, &error);
    if (rc == 0)
        rc = kta_audit_walk(node.paths.audit, NULL, NULL, &report, &error);
    kta_close(&node);
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

static const struct kt_cli_option VERIFY_OPTIONS[] = {
    {"head", 0, "NUMBER:HASH|FILE", "a head noted earlier, or a file of signed ones"},
    {"local", 0, NULL, "do not ask the other nodes"},
    {NULL},
};
static const struct kt_cli_option HEAD_OPTIONS[] = {
    {"sign", 0, NULL, "have the agent sign it with the node's key"},
    {NULL},
};

const struct kt_cli_command kta_cmd_audit_verify = {
    .verb = "audit verify",
    .arguments = "",
    .summary = "check that no audit record was changed or removed",
    .help = "Prints the first bad record as FILE:LINE, and exits with 7 when there is one.\n"
            "Records that are gone at the end, and a log that was written anew, show against the "
            "heads that this node has signed and that the other nodes have heard of it; they are "
            "asked, as far as they can be reached.",
    .options = VERIFY_OPTIONS,
    .run = run_verify,
};
const struct kt_cli_command kta_cmd_audit_head = {
    .verb = "audit head",
    .arguments = "",
    .summary = "print number and hash of the last audit record",
    .help = "Keep it in another place: 'audit verify --head' then shows whether records were cut "
            "off. With --sign it is a text that the node has signed.",
    .options = HEAD_OPTIONS,
    .run = run_head,
};
