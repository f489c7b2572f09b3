// SPDX-License-Identifier: Apache-2.0
// Signed heads of this node's audit log: one a second for the others while there are records, one a
// minute, at each new file, at start and stop for the file beside the log.
#include "kts/agent_audit_inner.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kts/agent_peers.h"
#include "kts/agent_view.h"
#include "lib/audit_heads.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/pki.h"

#define APPEND_US   60000000  // between two heads in the file beside the log
#define SAVE_US     5000000   // between two replacements of what is known
#define FILE_LIMIT  (2 << 20) // of the file beside the log, before it is thinned
#define KEPT_LATEST 256       // heads
#define KEPT_FILES  512       // audit files, of each the last head

// However large heads are, what is kept of them can be written and read again.
_Static_assert((KEPT_LATEST + KEPT_FILES) * KT_AUDIT_HEAD_TEXT < KT_AUDIT_HEADS_FILE_MAX,
               "the heads that are kept fit into their file");

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

static int is_last_of_file(const struct kt_audit_heads *all, size_t i)
{
    return i + 1 == all->count || all->heads[i + 1].file != all->heads[i].file;
}

// Keeps the latest heads, and the last one of each of the latest audit files: each head vouches for
// all records before it, and audit files go too.
static int save_thinned(const char *path, const struct kt_audit_heads *all, struct kt_error *error)
{
    struct kt_audit_heads kept = {0};
    size_t files = 0;
    int rc = 0;

    for (size_t i = 0; i < all->count; i++)
        files += (size_t)is_last_of_file(all, i);
    for (size_t i = 0; rc == 0 && i < all->count; i++) {
        int is_last = is_last_of_file(all, i);
        if ((is_last && files <= KEPT_FILES) || all->count - i <= KEPT_LATEST)
            rc = kt_audit_heads_add(&kept, &all->heads[i]);
        files -= (size_t)is_last;
    }
    if (rc)
        kt_error_set(error, rc, NULL, "%s", kt_err_text(rc));
    else
        rc = kt_audit_heads_save(path, &kept, error);
    kt_audit_heads_free(&kept);
    return rc;
}

static int thin_file(const struct kts_agent_audit *audit, struct kt_error *error)
{
    struct kt_audit_heads all = {0};
    int rc = kt_audit_heads_load(audit->path, &all, error);

    if (rc == 0)
        rc = save_thinned(audit->path, &all, error);
    kt_audit_heads_free(&all);
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
    if (rc == 0 && (heads.damaged || heads.torn || heads.cut))
        rc = save_thinned(audit->path, &heads, &why);
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

int kts_agent_audit_tick(struct kts_agent *agent, int now, struct kt_error *error)
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
    report(agent->audit_heads, kts_agent_audit_tick(agent, 0, &why), &why);
    record_epochs(agent);
    kts_heads_trim(agent->audit_heads->known, is_member, agent);
}

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
        report(audit, kts_agent_audit_tick(agent, 1, &why), &why);
    if (audit->timer)
        event_free(audit->timer);
    kts_heads_free(audit->known);
    free(audit);
    agent->audit_heads = NULL;
}
