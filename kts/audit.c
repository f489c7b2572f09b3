// SPDX-License-Identifier: Apache-2.0
// The audit process: takes the records that are there, makes them durable together, then says so.
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kts/audit_file.h"
#include "kts/audit_syslog.h"
#include "kts/link.h"
#include "kts/process.h"
#include "kts/reload.h"
#include "kts/sandbox.h"
#include "lib/json.h"
#include "lib/log.h"

#define LINKS_MAX 512
#define LOOK_MS   500 // between two looks at the file, the folder and the disk

struct asker {
    struct kts_link *link; // NULL: free
    enum kts_process process;
    int index;
    int gone;
};

struct pending {
    struct asker *asker;
    uint64_t id;
    int code;
};

struct audit {
    struct kts_start *start;
    struct kts_audit_file *file;
    struct kt_buf storage; // of control messages
    struct asker askers[LINKS_MAX];
    struct pending pending[KTS_AUDIT_BATCH_MAX];
    size_t count;
    size_t turn; // rounds so far
    int stopping;
    int failed; // the last commit or look: logged at the change only
    int64_t next_look_us;
    char problem[256]; // of the failure, for the record of its end
};

static void publish(struct audit *audit, int code, const struct kt_error *why)
{
    struct kts_status *status = audit->start->status;
    struct kts_audit_page *page = audit->start->own_audit_page;
    const struct kts_audit_head *head = kts_audit_file_head(audit->file);

    if (code && !audit->failed) {
        kt_log_error(why, "records cannot be written, requests that need one are refused");
        snprintf(audit->problem, sizeof(audit->problem), "%.255s", why->message);
        kts_status_set_text(&page->problem, audit->problem);
    }
    if (!code && audit->failed)
        kt_log(KT_LOG_NOTICE, "records can be written again");
    if (!code)
        kts_status_set_text(&page->problem, "");
    audit->failed = code != 0;
    kts_status_set_head(&page->head, kts_audit_file_current(audit->file), head->seq, head->hash);
    atomic_store(&page->seq, head->seq);
    atomic_store(&status->audit_seq, head->seq);
    atomic_store(&status->audit_open, code == 0);
}

static void add_link(struct audit *audit, struct kts_control_message *message)
{
    struct asker *free_one = NULL;
    uint8_t process = 0, other = 0;
    uint16_t index = 0;

    if (message->fd < 0 || kt_buf_get_u8(&message->payload, &process) ||
        kt_buf_get_u8(&message->payload, &other) || kt_buf_get_u16(&message->payload, &index)) {
        kt_log(KT_LOG_ERROR, "malformed link message");
        return;
    }
    for (size_t i = 0; i < LINKS_MAX && !free_one; i++) {
        if (!audit->askers[i].link)
            free_one = &audit->askers[i];
    }
    // The link of an asker that was replaced stays until it is read to its end: its records count.
    if (!free_one || kts_link_new(message->fd, &free_one->link)) {
        kt_log(KT_LOG_ERROR, "no room for a link");
        return;
    }
    message->fd = -1;
    free_one->process = (enum kts_process)process;
    free_one->index = index;
    free_one->gone = 0;
}

static void reload(struct audit *audit, struct kts_control_message *message)
{
    struct kts_reload fresh;
    struct kt_error why = {0};

    kts_reload_log(message->fd);
    message->fd = -1;
    if (kts_reload_decode(&message->payload, &fresh, &why)) {
        kt_log_error(&why, "reload");
        return;
    }
    kt_settings_free(audit->start->settings);
    audit->start->settings = fresh.settings;
    kts_audit_file_set_size(audit->file,
                            kt_settings_number(fresh.settings, KT_SET_AUDIT_FILE_SIZE));
    kts_audit_syslog_set(kt_settings_text(fresh.settings, KT_SET_AUDIT_SYSLOG));
    kts_reload_level(fresh.settings);
    kts_reload_info(audit->start->info, &fresh);
}

// 0, or negative when the master is gone.
static int serve_control(struct audit *audit)
{
    struct kts_control_message message;
    int rc;

    while ((rc = kts_control_receive(audit->start->control_fd, &audit->storage, &message)) == 0) {
        if (message.type == KTS_CTL_LINK)
            add_link(audit, &message);
        else if (message.type == KTS_CTL_RELOAD)
            reload(audit, &message);
        else if (message.type == KTS_CTL_STOP)
            audit->stopping = 1;
        if (message.fd >= 0)
            close(message.fd);
    }
    return rc == KT_ERR_AGAIN ? 0 : rc;
}

// Takes the messages of one asker into the batch, as far as there is room. 1: more may be there.
static int gather_from(struct audit *audit, struct asker *asker)
{
    struct kts_message message;
    int rc;

    while (audit->count < KTS_AUDIT_BATCH_MAX) {
        rc = kts_link_next(asker->link, &message);
        if (rc == 0)
            return 0;
        if (rc < 0 || message.type != KTS_MSG_AUDIT) {
            kt_log(KT_LOG_ERROR, "%s %d broke the protocol, its link is closed",
                   kts_process_name(asker->process), asker->index);
            asker->gone = 1;
            return 0;
        }
        rc = kts_audit_file_add(audit->file, kt_buf_ptr(&message.payload),
                                kt_buf_left(&message.payload));
        if (rc)
            kt_log_code(KT_LOG_ERROR, rc, "a record of %s %d is not usable",
                        kts_process_name(asker->process), asker->index);
        audit->pending[audit->count++] = (struct pending){asker, message.id, rc};
    }
    return 1;
}

static void answer_all(struct audit *audit, int code)
{
    for (size_t i = 0; i < audit->count; i++) {
        struct pending *p = &audit->pending[i];
        uint32_t said = (uint32_t)(-(p->code ? p->code : code));
        uint8_t payload[4] = {(uint8_t)(said >> 24), (uint8_t)(said >> 16), (uint8_t)(said >> 8),
                              (uint8_t)said};
        if (!p->asker->gone &&
            kts_link_send(p->asker->link, KTS_MSG_AUDIT_DONE, p->id, payload, sizeof(payload)))
            p->asker->gone = 1;
    }
    audit->count = 0;
}

static void commit(struct audit *audit)
{
    struct kt_error why = {0};
    int rc = kts_audit_file_commit(audit->file, &why);
    const char *lines;
    size_t n;

    publish(audit, rc, &why);
    answer_all(audit, rc);
    // Behind the answers: nobody waits for a copy.
    lines = kts_audit_file_written(audit->file, &n);
    kts_audit_syslog_send(lines, n);
}

// A record of the audit process itself.
static void commit_own(struct audit *audit, const char *event, const char *problem)
{
    json_t *record = json_pack("{s:s, s:s*}", "event", event, "problem", problem);
    char *text = record ? kt_json_text(record) : NULL;

    if (text && kts_audit_file_add(audit->file, text, strlen(text)) == 0)
        commit(audit);
    free(text);
    json_decref(record);
}

// What is done to the file or the disk is found without a record that would find it; and while
// records cannot be written askers do not send any (they see audit_open = 0): so try alone.
static void look(struct audit *audit)
{
    struct kt_error why = {0};
    int rc;

    audit->next_look_us = kt_monotonic_now() + LOOK_MS * 1000;
    rc = kts_audit_file_look(audit->file, &why);
    if (rc)
        publish(audit, rc, &why);
    else if (!atomic_load(&audit->start->status->audit_open))
        commit_own(audit, "audit.resumed", audit->problem[0] ? audit->problem : NULL);
}

// One round over all links. 1 when there is more to do at once.
static int serve_links(struct audit *audit, const struct pollfd *fds, struct asker *const *of,
                       size_t n)
{
    int more = 0;

    // Each round begins with another link: a batch has an end, and nobody waits for the same ones
    // for ever.
    audit->turn++;
    for (size_t k = 0; k < n; k++) {
        size_t i = (k + audit->turn) % n;
        int ended = 0, left;
        if (fds[i].revents & POLLOUT) {
            int rc = kts_link_flush(of[i]->link);
            of[i]->gone |= rc && rc != KT_ERR_AGAIN;
        }
        if (fds[i].revents & (POLLIN | POLLHUP | POLLERR))
            ended = kts_link_receive(of[i]->link) != 0;
        left = gather_from(audit, of[i]);
        more |= left;
        of[i]->gone |= ended && !left;
    }
    if (audit->count > 0)
        commit(audit);
    for (size_t i = 0; i < n; i++) {
        if (of[i]->gone) {
            kts_link_free(of[i]->link);
            of[i]->link = NULL;
        }
    }
    return more;
}

static int wait_ms(const struct audit *audit, int more)
{
    int64_t left_us = audit->next_look_us - kt_monotonic_now();

    if (more || audit->stopping || left_us <= 0)
        return 0;
    return (int)(left_us / 1000) + 1;
}

static int run(struct audit *audit)
{
    static struct pollfd fds[LINKS_MAX + 1];
    static struct asker *of[LINKS_MAX];
    int more = 0;

    for (;;) {
        size_t n = 0;
        fds[0] = (struct pollfd){.fd = audit->start->control_fd, .events = POLLIN};
        for (size_t i = 0; i < LINKS_MAX; i++) {
            struct kts_link *link = audit->askers[i].link;
            if (!link)
                continue;
            of[n] = &audit->askers[i];
            fds[++n] = (struct pollfd){.fd = kts_link_fd(link), .events = POLLIN};
            if (kts_link_wants_write(link))
                fds[n].events |= POLLOUT;
        }
        int ready = poll(fds, n + 1, wait_ms(audit, more));
        if (ready < 0 && errno != EINTR)
            return 1;
        if (ready == 0 && audit->stopping && !more)
            return 0; // the others have stopped before, and all that they sent is answered
        if (kt_monotonic_now() >= audit->next_look_us)
            look(audit);
        if (ready < 0)
            continue;
        if (fds[0].revents && serve_control(audit))
            return 1;
        more = serve_links(audit, fds + 1, of, n);
    }
}

// The head that the process before this one has published, or that the node has signed.
static struct kts_audit_known find_known(struct kts_start *start)
{
    struct kts_audit_known known = {.file = 0};
    const struct kts_audit_page *page = start->audit_page;
    uint64_t published = atomic_load(&page->seq), seq = 0;
    uint8_t hash[KT_SHA256_LEN];
    uint32_t file = 0;

    kts_audit_known_load(start->paths, start->info, &known);
    if (kts_status_get_head(&page->head, &file, &seq, hash) == 0 && seq > known.head.seq) {
        known.head.seq = seq;
        known.file = file;
        memcpy(known.head.hash, hash, sizeof(hash));
    }
    if (published > known.head.seq) { // it died between the two
        known.head.seq = published;
        known.file = 0;
    }
    return known;
}

int kts_audit_main(struct kts_start *start)
{
    static struct audit audit; // large, and the process is nothing else
    char cluster_id[KT_UUID_TEXT];
    struct kt_error why = {0};
    uint8_t with_database = 1; // it needs none
    int rc;

    kt_uuid_format(&start->info->cluster_id, cluster_id);
    struct kts_audit_settings settings = {
        .dir = start->paths->audit,
        .cluster_id = cluster_id,
        .node = start->info->node,
        .file_size = kt_settings_number(start->settings, KT_SET_AUDIT_FILE_SIZE),
        .known = find_known(start),
    };
    audit.start = start;
    audit.storage = (struct kt_buf)KT_BUF_INIT(KTS_CONTROL_MAX);
    kts_audit_syslog_open();
    kts_audit_syslog_set(kt_settings_text(start->settings, KT_SET_AUDIT_SYSLOG));
    if (kts_sandbox_enter(KTS_SANDBOX_AUDIT, &why) ||
        kts_audit_file_open(&settings, &audit.file, &why)) {
        kt_log_error(&why, "cannot start");
        return 1;
    }
    commit_own(&audit, "audit.start", NULL); // opens, when it goes well
    rc = kts_control_send(start->control_fd, KTS_CTL_READY, &with_database, 1, -1);
    rc = rc ? 1 : run(&audit);
    atomic_store(&start->status->audit_open, 0);
    kts_audit_file_free(audit.file);
    kt_buf_free(&audit.storage);
    return rc;
}
