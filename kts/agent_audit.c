// SPDX-License-Identifier: Apache-2.0
// Signed heads of this node's audit log: one a second for the others while there are records, one a
// minute, at each new file, at start and stop for the file beside the log.
#include "kts/agent_audit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kts/agent_heads.h"
#include "kts/agent_peers.h"
#include "kts/agent_view.h"
#include "lib/audit_heads.h"
#include "lib/epoch.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/pki.h"

#define APPEND_US   60000000  // between two heads in the file beside the log
#define SAVE_US     5000000   // between two replacements of what is known
#define FILE_LIMIT  (1 << 20) // of the file beside the log, before it is thinned
#define KEPT_LATEST 256

struct kts_agent_audit {
    struct kts_heads *known;
    struct kt_audit_head own; // seq 0: none signed since the start
    char text[KT_AUDIT_HEAD_TEXT];
    char path[KT_PATH_MAX]; // of the file beside the log
    uint64_t appended_seq;
    uint32_t appended_file;
    int64_t appended_us, saved_us;
    int failed; // the last try: logged at the change only
    struct event *timer;
    struct kt_epoch_row recorded; // the newest row of which there is a record; epoch 0: none yet
    // Told once: peers that know more of this log than it has.
    struct {
        char member[KT_MEMBER_TEXT];
        uint64_t seq;
    } behind[KT_PEERS_MAX];
    size_t behind_count;
};

// --- signing ---

static int sign(struct kts_agent *agent, uint32_t file, uint64_t seq,
                const uint8_t hash[KT_SHA256_LEN], struct kt_error *error)
{
    const struct kts_start *start = agent->start;
    struct kts_agent_audit *audit = agent->audit_heads;
    struct kt_audit_head head = {
        .cluster = start->info->cluster_id, .file = file, .seq = seq, .time_us = kt_time_now()};
    struct kt_promise promise;
    EVP_PKEY *key = NULL;
    X509 *cert = NULL;
    int rc = kt_promise_load(start->paths->promise, &promise, error);

    if (rc == 0)
        rc = kt_pki_key_load(start->paths->node_key, &key, error);
    if (rc == 0)
        rc = kt_pki_cert_load(start->paths->node_cert, &cert, error);
    if (rc == 0) {
        memcpy(head.member, promise.member, sizeof(head.member));
        memcpy(head.hash, hash, KT_SHA256_LEN);
        rc = kt_audit_head_sign(&head, key, cert);
        if (rc == 0)
            rc = kt_audit_head_format(&head, audit->text);
        if (rc)
            kt_error_set(error, rc, NULL, "the audit head cannot be signed: %s", kt_err_text(rc));
        else
            audit->own = head;
    }
    EVP_PKEY_free(key);
    X509_free(cert);
    return rc;
}

// --- the file beside the log ---

// Keeps the last head of each audit file, and the latest ones.
static int thin_file(const struct kts_agent_audit *audit, struct kt_error *error)
{
    struct kt_audit_heads all = {0}, kept = {0};
    int rc = kt_audit_heads_load(audit->path, &all, error);

    for (size_t i = 0; rc == 0 && i < all.count; i++) {
        int is_last = i + 1 == all.count || all.heads[i + 1].file != all.heads[i].file;
        if (is_last || all.count - i <= KEPT_LATEST)
            rc = kt_audit_heads_add(&kept, &all.heads[i]);
    }
    if (rc == 0)
        rc = kt_audit_heads_save(audit->path, &kept, error);
    kt_audit_heads_free(&all);
    kt_audit_heads_free(&kept);
    return rc;
}

static int append(struct kts_agent_audit *audit, struct kt_error *error)
{
    int fd = open(audit->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    struct stat st = {0};
    int rc = fd < 0 ? KT_ERR_SYSTEM : 0;

    if (rc == 0 &&
        (fstat(fd, &st) || kt_write_all(fd, audit->text, strlen(audit->text)) || fdatasync(fd)))
        rc = KT_ERR_SYSTEM;
    audit->appended_us = kt_monotonic_now(); // a full disk is not asked each second
    if (rc)
        rc = kt_error_errno(error, "cannot write to '%s'", audit->path);
    // Half a head in front of the next one would look like tampering.
    if (rc && fd >= 0 && st.st_nlink > 0 && ftruncate(fd, st.st_size))
        kt_log(KT_LOG_WARNING, "'%s' cannot be cut to its last whole head", audit->path);
    if (fd >= 0)
        close(fd);
    if (rc == 0 && st.st_size > FILE_LIMIT)
        rc = thin_file(audit, error);
    if (rc)
        return rc;
    audit->appended_seq = audit->own.seq;
    audit->appended_file = audit->own.file;
    return 0;
}

// A crash may have left half a head, behind which none could be read; what is damaged otherwise is
// put aside for whoever wants to know.
static void mend_file(const struct kts_agent_audit *audit)
{
    struct kt_audit_heads heads = {0};
    struct kt_error why = {0};
    char aside[KT_PATH_MAX + 16];
    int rc = kt_audit_heads_load(audit->path, &heads, &why);

    if (rc == 0 && heads.damaged) {
        snprintf(aside, sizeof(aside), "%s.damaged", audit->path);
        kt_log(KT_LOG_ERROR,
               "'%s' was changed by somebody else behind its %zu heads, it is kept as '%s'",
               audit->path, heads.count, aside);
        (void)rename(audit->path, aside);
    }
    if (rc == 0 && (heads.damaged || heads.torn))
        rc = kt_audit_heads_save(audit->path, &heads, &why);
    if (rc)
        kt_log_error(&why, "signed audit heads");
    kt_audit_heads_free(&heads);
}

// --- once a second ---

static void report(struct kts_agent_audit *audit, int rc, const struct kt_error *why)
{
    if (rc && !audit->failed)
        kt_log_error(why, "the audit log's head is not signed or kept");
    audit->failed = rc != 0;
}

// Signs what is new, has it in the file when that is due (or `now`), and keeps what is known.
static int tick(struct kts_agent *agent, int now, struct kt_error *error)
{
    struct kts_agent_audit *audit = agent->audit_heads;
    uint8_t hash[KT_SHA256_LEN];
    uint64_t seq = 0;
    uint32_t file = 0;
    int rc = kts_status_get_head(&agent->start->audit_page->head, &file, &seq, hash);

    if (rc)
        return rc == KT_ERR_AGAIN || !now
                   ? 0
                   : kt_error_set(error, rc, NULL, "there is no audit record yet");
    if (seq != audit->own.seq || memcmp(hash, audit->own.hash, sizeof(hash)) != 0) {
        rc = sign(agent, file, seq, hash, error);
        if (rc == 0 && kts_heads_hear(audit->known, &audit->own, NULL) < 0)
            rc = kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    }
    if (rc == 0 && audit->own.seq != audit->appended_seq &&
        (now || audit->own.file != audit->appended_file ||
         kt_monotonic_now() >= audit->appended_us + APPEND_US))
        rc = append(audit, error);
    if (rc == 0 && (now || kt_monotonic_now() >= audit->saved_us + SAVE_US)) {
        audit->saved_us = kt_monotonic_now();
        rc = kts_heads_save(audit->known, error);
    }
    return rc;
}

// Each change of the epoch or of the members is a row that this node sees, whoever made it: it gets
// a record here too. At a start that of the newest says from where the log goes on.
static void record_epochs(struct kts_agent *agent)
{
    struct kts_agent_audit *audit = agent->audit_heads;
    const struct kt_epoch_rows *rows = agent->view ? &agent->view->rows : NULL;
    size_t first;

    if (!rows || rows->count == 0 || !agent->audit.link ||
        !atomic_load(&agent->start->status->audit_open))
        return;
    first = rows->count - 1;
    while (audit->recorded.epoch && first > 0 &&
           kt_epoch_row_compare(&rows->rows[first - 1], &audit->recorded) > 0)
        first--;
    if (audit->recorded.epoch && kt_epoch_row_compare(&rows->rows[first], &audit->recorded) == 0)
        return;
    for (size_t i = first; i < rows->count; i++) {
        json_t *record = kt_epoch_row_to_json(&rows->rows[i]);
        if (record)
            json_object_set_new(record, "event", json_string("epoch"));
        kts_agent_audit(agent, record);
    }
    audit->recorded = rows->rows[rows->count - 1];
}

static int is_member(void *arg, const char *member)
{
    return kt_peers_by_member(kts_agent_peers(arg), member) != NULL;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct kts_agent *agent = arg;
    struct kt_error why = {0};

    (void)fd;
    (void)what;
    report(agent->audit_heads, tick(agent, 0, &why), &why);
    record_epochs(agent);
    kts_heads_trim(agent->audit_heads->known, is_member, agent);
}

// --- what others say ---

// The record that a peer knows of this node's log, by this node's own signature; 0: none behind the
// last one that is here, or none that is signed.
static uint64_t known_of_own(const struct kts_agent *agent, const json_t *heads)
{
    const struct kt_audit_head *own = &agent->audit_heads->own;
    const char *text = json_string_value(json_object_get(heads, own->member));
    static struct kt_audit_head head; // large
    size_t used = 0;

    if (own->seq == 0 || !text || kt_audit_head_parse(text, strlen(text), &head, &used) ||
        text[used] != '\0' || head.seq <= own->seq || strcmp(head.member, own->member) != 0 ||
        memcmp(&head.cluster, &own->cluster, sizeof(head.cluster)) != 0)
        return 0;
    return kt_audit_head_verify(&head, agent->ca_cert) == 0 ? head.seq : 0;
}

// A peer has heard of records that this node's log does not have: it was cut, or written anew,
// while this node was off. The log itself says so from here on.
static void hear_of_own(struct kts_agent *agent, const char *member, const json_t *heads)
{
    struct kts_agent_audit *audit = agent->audit_heads;
    uint64_t theirs = known_of_own(agent, heads);
    size_t i = 0;

    if (theirs == 0)
        return;
    while (i < audit->behind_count && strcmp(audit->behind[i].member, member) != 0)
        i++;
    if (i == KT_PEERS_MAX || (i < audit->behind_count && audit->behind[i].seq == theirs))
        return;
    if (i == audit->behind_count)
        audit->behind_count++;
    snprintf(audit->behind[i].member, sizeof(audit->behind[i].member), "%s", member);
    audit->behind[i].seq = theirs;
    kt_log(KT_LOG_ERROR,
           "the audit log ends at record %llu, and node '%s' knows record %llu of it; hint: run "
           "ktadmin audit verify",
           (unsigned long long)audit->own.seq, member, (unsigned long long)theirs);
    kts_agent_audit(agent, json_pack("{s:s, s:s, s:I, s:s}", "event", "audit.behind", "member",
                                     member, "known", (json_int_t)theirs, "problem",
                                     "records are gone that another node knows of"));
}

static void went_back(struct kts_agent *agent, const struct kt_audit_head *head,
                      const struct kt_audit_head *before)
{
    kt_log(KT_LOG_ERROR,
           "the audit log of node '%s' went back from record %llu to %llu; hint: run ktadmin audit "
           "verify there",
           head->member, (unsigned long long)before->seq, (unsigned long long)head->seq);
    kts_agent_audit(agent, json_pack("{s:s, s:s, s:I, s:I, s:s}", "event", "audit.back", "member",
                                     head->member, "known", (json_int_t)before->seq, "said",
                                     (json_int_t)head->seq, "problem",
                                     "the audit log of that node was cut or written anew"));
}

static void hear_head(struct kts_agent *agent, const char *member, const char *text)
{
    struct kts_heads *known = agent->audit_heads->known;
    static struct kt_audit_head head, before; // large
    size_t used = 0;
    const struct kt_audit_head *newest = kts_heads_newest(known, member);

    if (kt_audit_head_parse(text, strlen(text), &head, &used) || text[used] != '\0' ||
        strcmp(head.member, member) != 0 ||
        memcmp(&head.cluster, &agent->start->info->cluster_id, sizeof(head.cluster)) != 0)
        return;
    if (newest && newest->seq == head.seq && memcmp(newest->hash, head.hash, KT_SHA256_LEN) == 0)
        return; // most of the time: not worth a check of the signature
    if (kt_audit_head_verify(&head, agent->ca_cert)) {
        kt_log(KT_LOG_WARNING, "node '%s' shows an audit head that it has not signed", member);
        return;
    }
    if (kts_heads_hear(known, &head, &before) == KTS_HEARD_BACK)
        went_back(agent, &head, &before);
}

void kts_agent_audit_hear(struct kts_agent *agent, const char *member, const json_t *state)
{
    const json_t *audit = json_object_get(state, "audit");
    const char *text = json_string_value(json_object_get(audit, "head"));

    if (!agent->audit_heads)
        return;
    if (text)
        hear_head(agent, member, text);
    hear_of_own(agent, member, json_object_get(state, "heads"));
}

// --- what this node says ---

static int is_present(void *arg, const char *member)
{
    const struct kt_peer *peer = kt_peers_by_member(kts_agent_peers(arg), member);

    return peer && !peer->removed;
}

void kts_agent_audit_state(struct kts_agent *agent, json_t *state)
{
    struct kts_status *status = agent->start->status;
    struct kts_agent_audit *audit = agent->audit_heads;
    char problem[256];
    json_t *object = json_pack("{s:b, s:I}", "open", (int)atomic_load(&status->audit_open), "seq",
                               (json_int_t)atomic_load(&agent->start->audit_page->seq));

    kts_status_get_text(&status->audit_problem, problem);
    if (problem[0])
        json_object_set_new(object, "problem", json_string(problem));
    if (audit && audit->own.seq)
        json_object_set_new(object, "head", json_string(audit->text));
    if (audit && audit->behind_count)
        json_object_set_new(object, "behind", json_string(audit->behind[0].member));
    json_object_set_new(state, "audit", object);
    json_object_set_new(state, "heads",
                        audit ? kts_heads_highest(audit->known, is_present, agent) : json_object());
}

static int run_heads(struct kts_call *call, const json_t *args, json_t **result,
                     struct kt_error *error)
{
    static const char *const MEMBERS[] = {"member", NULL};
    const char *member = NULL;
    int rc = kt_json_only(args, MEMBERS, error);

    if (rc == 0)
        rc = kt_json_string(args, "member", 0, KT_MEMBER_TEXT - 1, &member, error);
    if (rc == 0)
        *result = kts_heads_to_json(kts_call_agent(call)->audit_heads->known, member);
    return rc;
}

static int run_sign(struct kts_call *call, const json_t *args, json_t **result,
                    struct kt_error *error)
{
    static const char *const MEMBERS[] = {NULL};
    struct kts_agent *agent = kts_call_agent(call);
    const struct kts_agent_audit *audit = agent->audit_heads;
    char hash[KT_SHA256_TEXT];
    int rc = kt_json_only(args, MEMBERS, error);

    if (rc == 0)
        rc = tick(agent, 1, error);
    if (rc)
        return rc;
    kt_hex_encode(audit->own.hash, KT_SHA256_LEN, hash);
    *result = json_pack("{s:I, s:s, s:s}", "seq", (json_int_t)audit->own.seq, "hash", hash, "text",
                        audit->text);
    return 0;
}

const struct kts_verb kts_audit_verbs[] = {
    {"audit.heads", KTS_CALLER_LOCAL | KTS_CALLER_NODE | KTS_CALLER_OPERATOR, 0, run_heads, NULL,
     NULL},
    {"audit.sign", KTS_CALLER_LOCAL, 0, run_sign, NULL, NULL},
    {NULL, 0, 0, NULL, NULL, NULL},
};

// --- start and end ---

int kts_agent_audit_start(struct kts_agent *agent, struct kt_error *error)
{
    static const struct timeval SECOND = {.tv_sec = 1};
    const struct kt_paths *paths = agent->start->paths;
    struct kts_agent_audit *audit = calloc(1, sizeof(*audit));
    char path[KT_PATH_MAX];
    int rc;

    agent->audit_heads = audit;
    if (!audit || !(audit->timer = event_new(agent->base, -1, EV_PERSIST, on_timer, agent)))
        return kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    rc = kt_path_join(audit->path, sizeof(audit->path), paths->audit, KT_AUDIT_HEADS_NAME);
    if (rc == 0)
        rc = kt_path_join(path, sizeof(path), paths->node, KT_AUDIT_HEADS_KNOWN);
    if (rc)
        return kt_error_set(error, rc, NULL, "the audit folder's path is too long");
    mend_file(audit);
    rc = kts_heads_open(path, &audit->known, error);
    if (rc == 0 && event_add(audit->timer, &SECOND))
        rc = kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    return rc;
}

void kts_agent_audit_stop(struct kts_agent *agent)
{
    struct kts_agent_audit *audit = agent->audit_heads;
    struct kt_error why = {0};

    if (!audit)
        return;
    if (audit->known)
        report(audit, tick(agent, 1, &why), &why);
    if (audit->timer)
        event_free(audit->timer);
    kts_heads_free(audit->known);
    free(audit);
    agent->audit_heads = NULL;
}
