// SPDX-License-Identifier: Apache-2.0
// Collecting signed audit heads and comparing a log with them.
#include "ktadmin/audit_known.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ktadmin/nodes.h"
#include "lib/audit_heads.h"
#include "lib/cluster_info.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/pki.h"

#define ASK_MS 5000

int kta_known_init(struct kta_known *known)
{
    memset(known, 0, sizeof(*known));
    known->peers = json_array();
    known->findings = json_array();
    return known->peers && known->findings ? 0 : KT_ERR_NO_MEMORY;
}

void kta_known_free(struct kta_known *known)
{
    free(known->heads);
    json_decref(known->peers);
    json_decref(known->findings);
    memset(known, 0, sizeof(*known));
}

static void find(struct kta_known *known, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static void find(struct kta_known *known, const char *fmt, ...)
{
    char text[512];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    json_array_append_new(known->findings, json_string(text));
}

static int add(struct kta_known *known, const struct kta_known_head *head, struct kt_error *error)
{
    if (known->count == known->room) {
        size_t room = known->room ? 2 * known->room : 64;
        struct kta_known_head *more = realloc(known->heads, room * sizeof(*more));
        if (!more)
            return kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
        known->heads = more;
        known->room = room;
    }
    known->heads[known->count++] = *head;
    known->sorted = 0;
    return 0;
}

static int add_signed(struct kta_known *known, const struct kt_audit_head *head, const char *source,
                      struct kt_error *error)
{
    struct kta_known_head one = {.seq = head->seq};

    memcpy(one.hash, head->hash, sizeof(one.hash));
    kt_time_format(head->time_us, one.time);
    snprintf(one.source, sizeof(one.source), "%s", source);
    return add(known, &one, error);
}

// This node, its cluster, and the certificate by which heads are checked.
struct judge {
    struct kt_cluster_info info;
    X509 *ca;
};

static int open_judge(const struct kta_node *node, struct judge *judge, struct kt_error *error)
{
    int rc = kt_cluster_info_load(node->paths.cluster, &judge->info, error);

    judge->ca = NULL;
    return rc ? rc : kt_pki_ca_load(node->paths.ca_cert, &judge->ca, error);
}

static int is_own(const struct judge *judge, const struct kt_audit_head *head)
{
    char node[KT_NODE_NAME_MAX + 1];

    kt_member_node(head->member, node);
    return memcmp(&head->cluster, &judge->info.cluster_id, sizeof(head->cluster)) == 0 &&
           strcmp(node, judge->info.node) == 0;
}

static int take_file(struct kta_known *known, const struct judge *judge, const char *path,
                     const char *source, struct kt_error *error)
{
    struct kt_audit_heads heads = {0};
    int rc = kt_audit_heads_load(path, &heads, error);

    if (rc == 0 && heads.damaged)
        find(known, "'%s' was changed: behind its first %zu heads stands something else", path,
             heads.count);
    for (size_t i = 0; rc == 0 && i < heads.count; i++) {
        const struct kt_audit_head *head = &heads.heads[i];
        if (!is_own(judge, head))
            continue;
        if (kt_audit_head_verify_kept(head, judge->ca))
            find(known, "'%s': the head of record %llu is not signed by this node", path,
                 (unsigned long long)head->seq);
        else
            rc = add_signed(known, head, source, error);
    }
    kt_audit_heads_free(&heads);
    return rc;
}

int kta_known_own(struct kta_known *known, const struct kta_node *node, struct kt_error *error)
{
    char path[KT_PATH_MAX];
    struct judge judge;
    int rc = open_judge(node, &judge, error);

    if (rc == 0)
        rc = kt_path_join(path, sizeof(path), node->paths.audit, KT_AUDIT_HEADS_NAME);
    if (rc == 0)
        rc = take_file(known, &judge, path, "its own signed head", error);
    if (rc == 0)
        rc = kt_path_join(path, sizeof(path), node->paths.node, KT_AUDIT_HEADS_KNOWN);
    if (rc == 0)
        rc = take_file(known, &judge, path, "the node's own note", error);
    X509_free(judge.ca);
    return rc;
}

int kta_known_note(struct kta_known *known, const struct kta_node *node, const char *text,
                   struct kt_error *error)
{
    struct kta_known_head one = {.source = "the noted head"};
    const char *colon = strchr(text, ':');
    size_t before = known->count;
    char number[24];
    struct judge judge;
    int rc;

    if (colon && (size_t)(colon - text) < sizeof(number)) {
        memcpy(number, text, (size_t)(colon - text));
        number[colon - text] = '\0';
        if (kt_u64_parse(number, 1, KT_AUDIT_SEQ_MAX, &one.seq) == 0 &&
            kt_hex_decode(colon + 1, one.hash, KT_SHA256_LEN) == 0)
            return add(known, &one, error);
    }
    if (!kt_file_exists(text))
        return kt_error_set(error, KT_ERR_USAGE, "give what ktadmin audit head printed, or a file",
                            "--head: '%.100s' is neither NUMBER:HASH nor a file", text);
    rc = open_judge(node, &judge, error);
    if (rc == 0)
        rc = take_file(known, &judge, text, "the noted head", error);
    X509_free(judge.ca);
    if (rc == 0 && known->count == before && json_array_size(known->findings) == 0)
        rc = kt_error_set(error, KT_ERR_USAGE, NULL,
                          "--head: '%.100s' has no signed head of this node", text);
    return rc;
}

// Of all member ids that this node has had: `member` is the one of now.
static int take_answer(struct kta_known *known, const struct judge *judge, const char *member,
                       const char *name, const struct kta_answer *answer, struct kt_error *error)
{
    json_t *entry = json_pack("{s:s}", "member", name);
    char source[80];
    const json_t *one;
    size_t i, n = 0;
    int rc = 0;

    snprintf(source, sizeof(source), "node %.60s", name);
    if (answer->rc)
        json_object_set_new(entry, "error", json_string(answer->error.message));
    json_array_foreach(answer->result, i, one)
    {
        const char *text = json_string_value(json_object_get(one, "text"));
        struct kt_audit_head head;
        size_t used;
        if (rc || !text || kt_audit_head_parse(text, strlen(text), &head, &used) ||
            !is_own(judge, &head))
            continue;
        if (kt_audit_head_verify_kept(&head, judge->ca)) {
            find(known, "%s shows a head of record %llu that this node has not signed", source,
                 (unsigned long long)head.seq);
            continue;
        }
        rc = add_signed(known, &head, source, error);
        if (rc == 0)
            known->heads[known->count - 1].is_old = strcmp(head.member, member) != 0;
        n++;
    }
    if (!answer->rc)
        json_object_set_new(entry, "heads", json_integer((json_int_t)n));
    json_array_append_new(known->peers, entry);
    return rc;
}

int kta_known_ask(struct kta_known *known, const struct kta_node *node, struct kt_error *error)
{
    struct kta_nodes *nodes = calloc(1, sizeof(*nodes));
    static struct kta_answer answers[KT_PEERS_MAX];
    struct kt_promise promise;
    struct judge judge = {.ca = NULL};
    json_t *args;
    int rc = nodes ? 0 : kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");

    if (rc == 0 && kt_promise_load(node->paths.promise, &promise, error))
        goto out; // no member yet: nobody knows of it
    if (rc == 0)
        rc = open_judge(node, &judge, error);
    if (rc == 0)
        rc = kta_nodes_open_paths(&node->paths, promise.member, nodes, error);
    if (rc)
        goto out;
    args = json_pack("{s:s}", "member", judge.info.node);
    for (size_t i = 0; i < nodes->count; i++)
        answers[i] = (struct kta_answer){.node = i};
    kta_nodes_ask(nodes, "audit.heads", args, ASK_MS, answers, nodes->count);
    json_decref(args);
    for (size_t i = 0; rc == 0 && i < nodes->count; i++)
        rc = take_answer(known, &judge, promise.member, nodes->list[i].name, &answers[i], error);
    kta_answers_free(answers, nodes->count);
    kta_nodes_close(nodes);
out:
    X509_free(judge.ca);
    free(nodes);
    return rc;
}

// --- comparing ---

static int by_seq(const void *a, const void *b)
{
    const struct kta_known_head *x = a, *y = b;

    return x->seq < y->seq ? -1 : x->seq > y->seq;
}

// The first head whose number is not below `seq`.
static size_t first_at(const struct kta_known *known, uint64_t seq)
{
    size_t low = 0, high = known->count;

    while (low < high) {
        size_t middle = (low + high) / 2;
        if (known->heads[middle].seq < seq)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void note_beginning(struct kta_known *known, const char *json, size_t n)
{
    json_t *record = NULL;
    const char *time;

    if (kt_json_parse_object(json, n, &record, NULL))
        return;
    time = json_string_value(json_object_get(record, "time"));
    snprintf(known->begins, sizeof(known->begins), "%s", time ? time : "");
    json_decref(record);
}

// Times have one form, in which the later one is greater.
static int is_of_before(const struct kta_known *known, const struct kta_known_head *head)
{
    return head->is_old && strcmp(head->time, known->begins) < 0;
}

void kta_known_compare(struct kta_known *known, uint64_t seq, const uint8_t hash[KT_SHA256_LEN],
                       const char *json, size_t n)
{
    if (!known->begins[0])
        note_beginning(known, json, n);
    if (!known->sorted && known->count > 0)
        qsort(known->heads, known->count, sizeof(*known->heads), by_seq);
    known->sorted = 1;
    for (size_t i = first_at(known, seq); i < known->count && known->heads[i].seq == seq; i++) {
        known->heads[i].found = 1;
        known->heads[i].differs = memcmp(known->heads[i].hash, hash, KT_SHA256_LEN) != 0;
    }
}

static const char *of_time(const struct kta_known_head *head, char out[KT_TIME_TEXT + 8])
{
    snprintf(out, KT_TIME_TEXT + 8, head->time[0] ? " of %.19sZ" : "%s", head->time);
    return out;
}

void kta_known_conclude(struct kta_known *known, uint64_t last)
{
    const struct kta_known_head *gone = NULL, *other = NULL;
    char time[KT_TIME_TEXT + 8];
    uint64_t good = 0;

    for (size_t i = 0; i < known->count; i++) {
        const struct kta_known_head *head = &known->heads[i];
        if (is_of_before(known, head))
            continue;
        if (!head->found && head->seq > last && (!gone || head->seq > gone->seq))
            gone = head;
        if (head->found && head->differs && (!other || head->seq < other->seq))
            other = head;
    }
    for (size_t i = 0; other && i < known->count; i++) {
        const struct kta_known_head *head = &known->heads[i];
        if (head->found && !head->differs && head->seq < other->seq && head->seq > good)
            good = head->seq;
    }
    if (gone)
        find(known, "records %llu to %llu are gone: %s knows record %llu%s",
             (unsigned long long)last + 1, (unsigned long long)gone->seq, gone->source,
             (unsigned long long)gone->seq, of_time(gone, time));
    if (other)
        find(known,
             "record %llu is another one than %s knows%s: the log was written anew behind "
             "record %llu",
             (unsigned long long)other->seq, other->source, of_time(other, time),
             (unsigned long long)good);
}
