// SPDX-License-Identifier: Apache-2.0
// The writer: takes changes from workers and agent, one group at a time, on the only write path.
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "kts/gate.h"
#include "kts/reload.h"
#include "kts/sandbox.h"
#include "kts/writer_inner.h"
#include "lib/file.h"
#include "lib/log.h"

#define CA_CERT_MAX 65536
#define LOOK_MS     20  // how soon a permission is seen by a writer that waits for one
#define IDLE_MS     100 // ... and its end by an idle one that was not told

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

// What it hands to new clients. It can open no file any more.
static void take_ca(struct kts_writer *writer, const struct kts_reload *reload)
{
    char *pem = reload->ca_len ? strndup((const char *)reload->ca, reload->ca_len) : NULL;

    if (!pem)
        return;
    if (writer->db)
        db_writer_set_ca(writer->db, pem);
    free(writer->ca_cert_pem);
    writer->ca_cert_pem = pem;
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
            if ((r = kts_writer_take_link(writer, &message)) != 0)
                kt_log_code(KT_LOG_ERROR, r, "a link could not be taken");
        } else if (message.type == KTS_CTL_STOP) {
            writer->stopping = 1;
        } else if (message.type == KTS_CTL_RELOAD) {
            if (kts_reload_decode(&message.payload, &reload, &error) == 0) {
                take_ca(writer, &reload);
                kts_reload_info(writer->start->info, &reload);
                apply_settings(writer, reload.settings);
                kts_writer_bring_receipt_key(writer, reload.key, reload.key_len);
                kt_wipe(storage->data, storage->cap);
            } else {
                kt_log_error(&error, "cannot take new settings");
            }
            kts_reload_log(message.fd);
        } else if (message.fd >= 0) {
            close(message.fd);
        }
    }
}

// --- start, loop, end ---

int kts_writer_is_permitted(const struct kts_writer *writer)
{
    const struct kts_status *status = writer->start->status;
    uint32_t role = atomic_load(&status->role);

    return (role == KTS_ROLE_ACTIVE || role == KTS_ROLE_STANDALONE) && writer->ticket != 0 &&
           atomic_load(&status->writer_ticket) == writer->ticket;
}

static int permitted(void *arg)
{
    return kts_writer_is_permitted(arg);
}

int kts_writer_has_quorum(const struct kts_writer *writer)
{
    const struct kts_status *status = writer->start->status;

    return atomic_load(&status->role) == KTS_ROLE_STANDALONE || kts_gate_has_quorum(status);
}

static int quorum(void *arg)
{
    return kts_writer_has_quorum(arg);
}

static int open_database(struct kts_writer *writer, struct kt_error *error)
{
    struct kts_start *start = writer->start;
    struct db_writer_settings settings = {
        .receipt_key = writer->receipt_key,
        .next_receipt_key = writer->next_receipt_key,
        .ca_cert_pem = writer->ca_cert_pem,
        .info = start->info,
        .client_certificate_lifetime_s =
            kt_settings_number(start->settings, KT_SET_CLIENT_CERTIFICATE_LIFETIME) / 1000,
        .timeout_ms = writer->timeout_ms,
        .incarnation = {atomic_load(&start->status->incarnation),
                        atomic_load(&start->status->incarnation_bits)},
        .epoch = atomic_load(&start->status->epoch),
        .sign = kts_writer_sign,
        .permitted = permitted,
        .quorum = quorum,
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
    atomic_store(&start->status->gave_in_doubt, 0);
    kts_writer_show_receipt_key(writer);
    atomic_store(&start->status->writer_open, 1);
    kt_log(KT_LOG_INFO, "writing in epoch %llu, %u members, W %u, last log index %llu",
           (unsigned long long)state.epoch, state.members, state.w,
           (unsigned long long)state.log_index);
    return 0;
}

static int load_keys(struct kts_writer *writer, struct kt_error *error)
{
    const struct kt_paths *paths = writer->start->paths;
    int r = kts_writer_load_receipt_keys(writer, error);

    if (r == 0)
        r = kt_file_read_text(paths->ca_cert, CA_CERT_MAX, &writer->ca_cert_pem, error);
    return r;
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
        kts_writer_take_changes(writer, i); // what the queue had no room for before
        if ((link = writer->askers[i].link) == NULL)
            continue;
        places[n] = i;
        fds[n] = (struct pollfd){.fd = kts_link_fd(link)};
        fds[n].events |= (short)((kts_writer_has_room(writer) ? POLLIN : 0) |
                                 (kts_link_wants_write(link) ? POLLOUT : 0));
        n++;
    }
    if (poll(fds, n, kts_writer_next(writer) ? 0 : writer->db ? IDLE_MS : LOOK_MS) < 0)
        return errno == EINTR ? 0 : KT_ERR_SYSTEM;
    if (fds[0].revents && (r = take_control(writer, storage)) != 0)
        return r;
    if (writer->db && (fds[1].revents || fds[2].revents) && db_writer_idle(writer->db) != 0)
        return KT_ERR_DATABASE_UNAVAILABLE;
    for (nfds_t i = 3; i < n; i++) {
        if (fds[i].revents && writer->askers[places[i]].link)
            kts_writer_receive(writer, places[i]);
    }
    return 0;
}

// The last answers, for a moment; then the process ends and a new one settles what is in doubt.
static void give_up(struct kts_writer *writer, int code)
{
    int64_t until = kt_monotonic_now() + 1000000;

    atomic_store(&writer->start->status->writer_open, 0);
    kts_writer_refuse_all(writer, code);
    while (kts_writer_flush(writer) && kt_monotonic_now() < until)
        poll(NULL, 0, 5);
}

// Without a database everything is refused, until there is a permission: to open a database the
// process must be a new one, as this one can connect no more.
static int wait_for_permission(struct kts_writer *writer)
{
    struct kts_status *status = writer->start->status;

    kts_writer_refuse_all(writer, kts_gate_refusal(status));
    if (atomic_load(&status->role) == KTS_ROLE_PASSIVE)
        atomic_store(&status->gave_in_doubt, 0); // the active settles them
    return kts_gate_ticket(status) != 0 ? KT_ERR_AGAIN : 0;
}

static int run_groups(struct kts_writer *writer)
{
    int r = kts_writer_is_permitted(writer) ? 0 : KT_ERR_AGAIN;

    if (r == 0)
        r = kts_writer_use_receipt_key(writer);
    if (!writer->stopping)
        kts_writer_tick(writer);
    while (r == 0 && kts_writer_next(writer))
        r = kts_writer_group(writer);
    return r;
}

static int run(struct kts_writer *writer, struct kt_buf *storage)
{
    for (;;) {
        int r = turn(writer, storage);

        if (r == 0)
            r = writer->db ? run_groups(writer) : wait_for_permission(writer);
        if (r == KT_ERR_AGAIN) {
            if (writer->db)
                kt_log(KT_LOG_NOTICE, "the permission to write has ended, giving the database up");
            give_up(writer, kts_gate_refusal(writer->start->status));
            return KTS_EXIT_DATABASE_LOST;
        }
        if (r == KT_ERR_DATABASE_UNAVAILABLE || r == KT_ERR_IN_DOUBT || r == KT_ERR_NO_QUORUM) {
            kt_log_code(KT_LOG_WARNING, r, "giving the database up");
            // a retry of what is in doubt may stand in the queue
            give_up(writer, r);
            return KTS_EXIT_DATABASE_LOST;
        }
        if (r != 0)
            return 1;
        if (kts_writer_flush(writer) == 0 && writer->stopping && kts_writer_next(writer) == NULL)
            return 0;
    }
}

static void writer_free(struct kts_writer *writer)
{
    db_writer_close(writer->db);
    for (int i = 0; i < KTS_WRITER_ASKERS_MAX; i++)
        kts_writer_drop(&writer->askers[i]);
    kts_link_free(writer->audit);
    kts_link_free(writer->agent);
    kts_fair_free(writer->fair);
    kts_writer_free_receipt_keys(writer);
    free(writer->ca_cert_pem);
    free(writer);
}

int kts_writer_main(struct kts_start *start)
{
    struct kts_writer *writer = calloc(1, sizeof(*writer));
    struct kt_buf storage = KT_BUF_INIT(KTS_CONTROL_MAX);
    struct kt_error error = {0};
    uint8_t with_database;
    int exit_code = 1;

    if (writer == NULL)
        return 1;
    writer->start = start;
    if (kts_fair_new(&writer->fair) != 0) {
        free(writer);
        return 1;
    }
    writer->timeout_ms = (int)kt_settings_number(start->settings, KT_SET_TIMEOUT_WRITE);
    writer->group_max = (int)kt_settings_number(start->settings, KT_SET_GROUP_MAX);
    atomic_store(&start->status->writer_open, 0);
    if (load_keys(writer, &error) != 0) {
        kt_log_error(&error, "the writer cannot start");
        goto out;
    }
    writer->ticket = kts_gate_ticket(start->status);
    if (writer->ticket != 0 && open_database(writer, &error) != 0) {
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
