// SPDX-License-Identifier: Apache-2.0
// The writer: takes changes from workers and agent, one group at a time, on the only write path.
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kts/reload.h"
#include "kts/sandbox.h"
#include "kts/writer_inner.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/pki.h"

#define CA_CERT_MAX 65536

// --- links ---

static void drop_asker(struct kts_asker *asker)
{
    kts_link_free(asker->link);
    asker->link = NULL;
    asker->serial = 0;
}

static int add_asker(struct kts_writer *writer, enum kts_process process, int index, int fd)
{
    struct kts_asker *place = NULL;
    int r;

    for (int i = 0; i < KTS_WRITER_ASKERS_MAX; i++) {
        if (writer->askers[i].link == NULL)
            place = place ? place : &writer->askers[i];
    }
    if (place == NULL) {
        close(fd);
        return KT_ERR_BUSY;
    }
    if ((r = kts_link_new(fd, &place->link)) != 0) {
        close(fd);
        return r;
    }
    place->process = process;
    place->index = index;
    place->serial = ++writer->next_serial;
    return 0;
}

static int take_link(struct kts_writer *writer, struct kts_control_message *message)
{
    uint8_t asker = 0, other = 0;
    uint16_t index = 0;
    struct kts_link **own;
    int r;

    if (kt_buf_get_u8(&message->payload, &asker) != 0 ||
        kt_buf_get_u8(&message->payload, &other) != 0 ||
        kt_buf_get_u16(&message->payload, &index) != 0 || message->fd < 0)
        return KT_ERR_PROTOCOL;
    if (other == KTS_WRITER)
        return add_asker(writer, (enum kts_process)asker, index, message->fd);
    own = other == KTS_AUDIT ? &writer->audit : &writer->agent;
    kts_link_free(*own);
    *own = NULL;
    if ((r = kts_link_new(message->fd, own)) != 0)
        close(message->fd);
    return r;
}

static void apply_settings(struct kts_writer *writer, struct kt_settings *settings)
{
    kt_settings_free(writer->start->settings);
    writer->start->settings = settings;
    writer->timeout_ms = (int)kt_settings_number(settings, KT_SET_TIMEOUT_WRITE);
    writer->group_max = (int)kt_settings_number(settings, KT_SET_GROUP_MAX);
    if (writer->db)
        db_writer_set_timeout(writer->db, writer->timeout_ms);
    kts_reload_level(settings);
}

static int take_control(struct kts_writer *writer, struct kt_buf *storage)
{
    for (;;) {
        struct kts_control_message message = {0};
        struct kts_reload reload = {0};
        struct kt_error error = {0};
        int r = kts_control_receive(writer->start->control_fd, storage, &message);

        if (r == KT_ERR_AGAIN)
            return 0;
        if (r != 0)
            return r; // the master is gone
        if (message.type == KTS_CTL_LINK) {
            if ((r = take_link(writer, &message)) != 0)
                kt_log_code(KT_LOG_ERROR, r, "a link could not be taken");
        } else if (message.type == KTS_CTL_STOP) {
            writer->stopping = 1;
        } else if (message.type == KTS_CTL_RELOAD) {
            if (kts_reload_decode(&message.payload, &reload, &error) == 0)
                apply_settings(writer, reload.settings);
            else
                kt_log_error(&error, "cannot take new settings");
            kts_reload_log(message.fd);
        } else if (message.fd >= 0) {
            close(message.fd);
        }
    }
}

static void take_change(struct kts_writer *writer, int place, struct kts_message *message)
{
    struct kts_asker *asker = &writer->askers[place];
    struct kts_queued *q = calloc(1, sizeof(*q));
    int r = q ? kt_change_decode(&message->payload, &q->change) : KT_ERR_NO_MEMORY;

    if (r != 0 || message->type != KTS_MSG_CHANGE) {
        kt_log_code(KT_LOG_ERROR, r ? r : KT_ERR_PROTOCOL, "a change from %s %d cannot be read",
                    kts_process_name(asker->process), asker->index);
        free(q);
        drop_asker(asker);
        return;
    }
    q->asker = place;
    q->serial = asker->serial;
    q->id = message->id;
    kts_writer_push(writer, q);
}

static int has_room(const struct kts_writer *writer)
{
    return writer->queued < KTS_WRITER_QUEUE_MAX && writer->queued_bytes < KTS_WRITER_QUEUE_BYTES;
}

// Takes whole messages out of the link as long as the queue has room.
static void take_changes(struct kts_writer *writer, int place)
{
    struct kts_asker *asker = &writer->askers[place];
    struct kts_message message;

    while (asker->link && has_room(writer)) {
        int r = kts_link_next(asker->link, &message);

        if (r == 0)
            return;
        if (r < 0)
            drop_asker(asker);
        else
            take_change(writer, place, &message);
    }
}

static void receive(struct kts_writer *writer, int place)
{
    struct kts_asker *asker = &writer->askers[place];

    if (kts_link_receive(asker->link) != 0)
        drop_asker(asker);
    else
        take_changes(writer, place);
}

// --- start, loop, end ---

// Asks the agent for a client's certificate.
static int sign(void *arg, const char *common_name, const char *organisation, const uint8_t *csr,
                size_t csr_len, char **pem)
{
    struct kts_writer *writer = arg;
    struct kts_sign_request request = {.csr = csr, .csr_len = csr_len};
    struct kt_buf buf = KT_BUF_INIT(65536);
    struct kts_message answer = {0};
    const uint8_t *bytes = NULL;
    size_t n = 0;
    uint32_t code = 0;
    int r;

    *pem = NULL;
    if (writer->agent == NULL)
        return KT_ERR_AGENT_UNAVAILABLE;
    snprintf(request.common_name, sizeof(request.common_name), "%s", common_name);
    snprintf(request.organisation, sizeof(request.organisation), "%s", organisation);
    request.lifetime_s =
        kt_settings_number(writer->start->settings, KT_SET_CLIENT_CERTIFICATE_LIFETIME) / 1000;
    if ((r = kts_sign_encode(&request, &buf)) != 0)
        goto out;
    r = kts_link_call(writer->agent, KTS_MSG_SIGN, ++writer->next_call, kt_buf_ptr(&buf),
                      kt_buf_left(&buf), KTS_MSG_SIGNED, writer->timeout_ms, &answer);
    if (r == KT_ERR_NETWORK || r == KT_ERR_PROTOCOL) {
        // the agent is gone: the master brings the link to the next one
        kts_link_free(writer->agent);
        writer->agent = NULL;
    }
    if (r != 0) {
        r = KT_ERR_AGENT_UNAVAILABLE;
    } else if (kt_buf_get_u32(&answer.payload, &code) != 0 || code > 1000 ||
               kt_buf_get_block(&answer.payload, &bytes, &n, KT_CERT_PEM_MAX) != 0) {
        r = KT_ERR_AGENT_UNAVAILABLE;
    } else if (code != 0) {
        r = -(int)code;
    } else if ((*pem = strndup((const char *)bytes, n)) == NULL) {
        r = KT_ERR_NO_MEMORY;
    }
out:
    kt_buf_free(&buf);
    return r;
}

static int open_database(struct kts_writer *writer, struct kt_error *error)
{
    struct kts_start *start = writer->start;
    struct db_writer_settings settings = {
        .receipt_key = writer->receipt_key,
        .ca_cert_pem = writer->ca_cert_pem,
        .info = start->info,
        .client_certificate_lifetime_s =
            kt_settings_number(start->settings, KT_SET_CLIENT_CERTIFICATE_LIFETIME) / 1000,
        .timeout_ms = writer->timeout_ms,
        .sign = sign,
        .arg = writer,
    };
    struct db_writer_state state;
    struct db_target target = {0};
    struct kt_secret *secret = NULL;
    int r = db_target_load(start->paths, start->settings, DB_ROLE_WRITER, &target, &secret, error);

    if (r == 0)
        r = db_writer_open(&target, &settings, &writer->db, error);
    kt_secret_free(secret);
    if (r != 0)
        return r;
    db_writer_state(writer->db, &state);
    atomic_store(&start->status->log_index, state.log_index);
    atomic_store(&start->status->in_doubt, 0);
    atomic_store(&start->status->writer_open, 1);
    kt_log(KT_LOG_INFO, "writing in epoch %llu, %u members, W %u, last log index %llu",
           (unsigned long long)state.epoch, state.members, state.w,
           (unsigned long long)state.log_index);
    return 0;
}

static int load_keys(struct kts_writer *writer, struct kt_error *error)
{
    const struct kt_paths *paths = writer->start->paths;
    int r = kt_pki_key_load(paths->receipt_key, &writer->receipt_key, error);

    if (r == 0)
        r = kt_file_read_text(paths->ca_cert, CA_CERT_MAX, &writer->ca_cert_pem, error);
    return r;
}

static int flush_askers(struct kts_writer *writer)
{
    int waiting = 0;

    for (int i = 0; i < KTS_WRITER_ASKERS_MAX; i++) {
        struct kts_asker *asker = &writer->askers[i];
        int r = asker->link ? kts_link_flush(asker->link) : 0;

        if (r == KT_ERR_AGAIN)
            waiting = 1;
        else if (r != 0)
            drop_asker(asker);
    }
    return waiting;
}

// Waits for something to do and takes it in. A negative code ends the writer.
static int turn(struct kts_writer *writer, struct kt_buf *storage)
{
    struct pollfd fds[KTS_WRITER_ASKERS_MAX + 3];
    int places[KTS_WRITER_ASKERS_MAX + 3];
    int db_fds[2] = {-1, -1};
    nfds_t n = 0;
    int r;

    fds[n++] = (struct pollfd){.fd = writer->start->control_fd, .events = POLLIN};
    if (writer->db)
        db_writer_fds(writer->db, db_fds);
    fds[n++] = (struct pollfd){.fd = db_fds[0], .events = POLLIN};
    fds[n++] = (struct pollfd){.fd = db_fds[1], .events = POLLIN};
    for (int i = 0; i < KTS_WRITER_ASKERS_MAX; i++) {
        struct kts_link *link = writer->askers[i].link;

        if (link == NULL)
            continue;
        take_changes(writer, i); // what the queue had no room for before
        if ((link = writer->askers[i].link) == NULL)
            continue;
        places[n] = i;
        fds[n] = (struct pollfd){.fd = kts_link_fd(link)};
        fds[n].events |=
            (short)((has_room(writer) ? POLLIN : 0) | (kts_link_wants_write(link) ? POLLOUT : 0));
        n++;
    }
    if (poll(fds, n, writer->first ? 0 : writer->stopping ? 50 : -1) < 0)
        return errno == EINTR ? 0 : KT_ERR_SYSTEM;
    if (fds[0].revents && (r = take_control(writer, storage)) != 0)
        return r;
    if (writer->db && (fds[1].revents || fds[2].revents) && db_writer_idle(writer->db) != 0)
        return KT_ERR_DATABASE_UNAVAILABLE;
    for (nfds_t i = 3; i < n; i++) {
        if (fds[i].revents && writer->askers[places[i]].link)
            receive(writer, places[i]);
    }
    return 0;
}

// The last answers, for a moment; then the process ends and a new one settles what is in doubt.
static void give_up(struct kts_writer *writer, int code)
{
    int64_t until = kt_monotonic_now() + 1000000;

    atomic_store(&writer->start->status->writer_open, 0);
    kts_writer_refuse_all(writer, code);
    while (flush_askers(writer) && kt_monotonic_now() < until)
        poll(NULL, 0, 5);
}

static int run(struct kts_writer *writer, struct kt_buf *storage)
{
    for (;;) {
        int r = turn(writer, storage);

        if (r == 0 && writer->db == NULL)
            kts_writer_refuse_all(writer, writer->refusal);
        while (r == 0 && writer->first)
            r = kts_writer_group(writer);
        if (r == KT_ERR_DATABASE_UNAVAILABLE || r == KT_ERR_IN_DOUBT) {
            kt_log_code(KT_LOG_WARNING, r, "giving the database up");
            // a retry of what is in doubt may stand in the queue
            give_up(writer, r);
            return KTS_EXIT_DATABASE_LOST;
        }
        if (r != 0)
            return 1;
        if (flush_askers(writer) == 0 && writer->stopping && writer->first == NULL)
            return 0;
    }
}

static void writer_free(struct kts_writer *writer)
{
    db_writer_close(writer->db);
    for (int i = 0; i < KTS_WRITER_ASKERS_MAX; i++)
        drop_asker(&writer->askers[i]);
    kts_link_free(writer->audit);
    kts_link_free(writer->agent);
    EVP_PKEY_free(writer->receipt_key);
    free(writer->ca_cert_pem);
    free(writer);
}

int kts_writer_main(struct kts_start *start)
{
    struct kts_writer *writer = calloc(1, sizeof(*writer));
    struct kt_buf storage = KT_BUF_INIT(KTS_CONTROL_MAX);
    struct kt_error error = {0};
    uint8_t with_database;
    int exit_code = 1, r;

    if (writer == NULL)
        return 1;
    writer->start = start;
    writer->last = &writer->first;
    writer->timeout_ms = (int)kt_settings_number(start->settings, KT_SET_TIMEOUT_WRITE);
    writer->group_max = (int)kt_settings_number(start->settings, KT_SET_GROUP_MAX);
    atomic_store(&start->status->writer_open, 0);
    if ((r = load_keys(writer, &error)) != 0) {
        kt_log_error(&error, "the writer cannot start");
        goto out;
    }
    r = open_database(writer, &error);
    if (r == KT_ERR_PASSIVE) {
        writer->refusal = r; // changes go to the active; this process waits to be replaced
    } else if (r != 0) {
        kt_log_error(&error, "the writer cannot open the database");
        exit_code = KTS_EXIT_DATABASE_LOST;
        goto out;
    }
    if (kts_sandbox_enter(KTS_SANDBOX_WRITER, &error) != 0) {
        kt_log_error(&error, "the writer cannot be confined");
        goto out;
    }
    with_database = writer->db != NULL;
    if (kts_control_send(start->control_fd, KTS_CTL_READY, &with_database, 1, -1) == 0)
        exit_code = run(writer, &storage);
out:
    atomic_store(&start->status->writer_open, 0);
    kt_buf_free(&storage);
    writer_free(writer);
    return exit_code;
}
