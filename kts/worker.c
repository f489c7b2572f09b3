// SPDX-License-Identifier: Apache-2.0
// A worker: TLS, HTTP and reads. It holds what it needs before the sandbox closes behind it.
#include "kts/worker.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "kts/conn.h"
#include "kts/records.h"
#include "kts/sandbox.h"
#include "kts/worker_inner.h"
#include "lib/log.h"
#include "lib/pki.h"
#include "lib/proc.h"

#define TURN_AFTER 256 // events of connections that the turn's work may be put off by
#define CA_PEM_MAX 32768

struct timeval kts_milliseconds(int64_t ms)
{
    return (struct timeval){.tv_sec = (time_t)(ms / 1000),
                            .tv_usec = (suseconds_t)(ms % 1000 * 1000)};
}

// --- the turn ---

static void do_turn(struct kts_worker *worker)
{
    worker->turn_pending = 0;
    kts_records_turn(worker);
    kts_database_turn(worker->database);
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
    struct kts_worker *worker = arg;

    (void)fd;
    (void)what;
    if (worker->turn_pending)
        do_turn(worker);
}

void kts_worker_put_off(struct kts_worker *worker)
{
    if (worker->turn_pending)
        return;
    worker->turn_pending = 1;
    worker->turn_calls = 0;
    event_active(worker->turn_event, 0, 0);
}

void kts_worker_count_call(struct kts_worker *worker)
{
    if (worker->turn_pending && ++worker->turn_calls >= TURN_AFTER)
        do_turn(worker);
}

// --- stop ---

static void end(struct kts_worker *worker, int exit_code)
{
    worker->exit_code = exit_code;
    event_base_loopbreak(worker->base);
}

static void on_stop_timer(evutil_socket_t fd, short what, void *arg)
{
    struct kts_worker *worker = arg;

    (void)fd;
    (void)what;
    kt_log(KT_LOG_WARNING, "worker %d stops with %zu connections open", worker->start->index,
           worker->conn_count);
    end(worker, 0);
}

void kts_worker_conn_closed(struct kts_worker *worker)
{
    if (!worker->stopping)
        kts_accept_resume(worker);
    else if (worker->conn_count == 0)
        end(worker, 0);
}

void kts_worker_stop(struct kts_worker *worker)
{
    struct timeval t = kts_milliseconds(kt_settings_number(worker->settings, KT_SET_TIMEOUT_STOP));

    if (worker->stopping)
        return;
    worker->stopping = 1;
    kts_accept_stop(worker);
    kts_conns_close_idle(worker);
    event_add(worker->stop_timer, &t);
    if (worker->conn_count == 0)
        end(worker, 0);
}

void kts_worker_master_gone(struct kts_worker *worker)
{
    end(worker, 1);
}

// --- TLS ---

// By it a client sees that there is something to learn, without asking for the whole set.
static void mark_ca(struct kts_worker *worker)
{
    struct kt_buf pem = KT_BUF_INIT(CA_PEM_MAX);
    char mark[KT_PKI_CA_MARK_TEXT];

    worker->ca_field[0] = '\0';
    if (kt_pki_ca_to_pem(worker->ca, &pem) == 0 &&
        kt_pki_ca_mark(kt_buf_ptr(&pem), kt_buf_left(&pem), mark) == 0)
        snprintf(worker->ca_field, sizeof(worker->ca_field), "KT-CA: %s\r\n", mark);
    kt_buf_free(&pem);
}

int kts_worker_use_tls(struct kts_worker *worker, const struct kt_tls_pem *pem,
                       struct kt_error *error)
{
    SSL_CTX *fresh = NULL;
    X509 *ca = NULL;
    int rc = kt_pki_ca_from_pem(pem->ca, pem->ca_len, &ca);

    if (rc)
        return kt_error_set(error, rc, NULL, "the CA certificate cannot be read");
    rc = kt_tls_server_new_pem(pem, worker->cluster_id, &fresh, error);
    if (rc) {
        X509_free(ca);
        return rc;
    }
    kt_tls_server_set_tickets(fresh, &worker->tickets);
    SSL_CTX_free(worker->tls); // open connections keep the old one as long as they need it
    worker->tls = fresh;
    worker->tls_age++;
    X509_free(worker->ca);
    worker->ca = ca;
    mark_ca(worker);
    return 0;
}

static int first_tls(struct kts_worker *worker, struct kt_error *error)
{
    struct kts_start *start = worker->start;
    struct kt_tls_pem pem = {
        .cert = kt_buf_ptr(&start->tls_cert),
        .cert_len = kt_buf_left(&start->tls_cert),
        .key = kt_secret_text(start->tls_key),
        .key_len = kt_secret_len(start->tls_key),
        .ca = kt_buf_ptr(&start->ca_cert),
        .ca_len = kt_buf_left(&start->ca_cert),
    };
    int rc = kts_worker_use_tls(worker, &pem, error);

    // OpenSSL has its own copy; ours would only be one more to lose.
    kt_secret_free(start->tls_key);
    start->tls_key = NULL;
    return rc;
}

// --- start and end ---

static int make_events(struct kts_worker *worker)
{
    struct event_config *config = event_config_new();
    int rc = KT_ERR_NO_MEMORY;

    if (!config)
        return rc;
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
    worker->base = event_base_new_with_config(config);
    event_config_free(config);
    // What the master says, then what comes in (libevent's default is the middle), then the turn.
    if (!worker->base || event_base_priority_init(worker->base, KTS_PRIORITIES))
        return rc;
    worker->turn_event = event_new(worker->base, -1, 0, on_turn, worker);
    worker->stop_timer = evtimer_new(worker->base, on_stop_timer, worker);
    if (!worker->turn_event || !worker->stop_timer ||
        event_priority_set(worker->turn_event, KTS_PRIORITY_TURN))
        return rc;
    rc = kts_ask_new(worker->base, "writer", KTS_MSG_OUTCOME, &worker->writer);
    if (rc == 0)
        rc = kts_ask_new(worker->base, "audit process", KTS_MSG_AUDIT_DONE, &worker->audit);
    if (rc == 0)
        rc = kts_strangers_start(worker);
    if (rc == 0)
        rc = kts_shares_new(&worker->shares);
    if (rc == 0)
        rc = kts_origins_new((size_t)kt_settings_number(worker->settings, KT_SET_MAX_CONNECTIONS),
                             &worker->origins);
    return rc;
}

// Until now it had the owner's effective ids (kts_child_run), for the files and the database.
static int become_network_user(struct kts_worker *worker, struct kt_error *error)
{
    int rc;

    if (seteuid(0) || setegid(0))
        return kt_error_errno(error, "cannot become root again");
    rc = kt_proc_drop_to_user(kt_settings_text(worker->settings, KT_SET_NETWORK_USER), error);
    // a change of user forgets it: the worker must not outlive the master
    if (rc == 0 && prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
        rc = kt_error_errno(error, "cannot tie the worker to the master");
    return rc;
}

// In this order: what needs files or the network, the account, the sandbox.
static int prepare(struct kts_worker *worker, struct kt_error *error)
{
    struct kts_start *start = worker->start;
    int rc = first_tls(worker, error);

    if (rc == 0)
        rc = kts_database_open(worker, &worker->database);
    if (rc == 0)
        rc = make_events(worker);
    if (rc == 0 && start->started_as_root)
        rc = become_network_user(worker, error);
    if (rc == 0)
        rc = kts_sandbox_enter(KTS_SANDBOX_WORKER, error);
    if (rc == 0)
        rc = kts_database_start(worker->database);
    if (rc == 0)
        rc = kts_worker_control_start(worker);
    if (rc == 0)
        rc = kts_accept_start(worker);
    if (rc && error->code == 0)
        kt_error_set(error, rc, NULL, "%s", kt_err_text(rc));
    return rc;
}

static void clean_up(struct kts_worker *worker)
{
    struct event **events[] = {&worker->control_event, &worker->listen_event, &worker->accept_timer,
                               &worker->stop_timer, &worker->turn_event};

    kts_conns_free_all(worker);
    kts_origins_free(worker->origins);
    kts_shares_free(&worker->shares);
    kts_ask_free(worker->writer);
    kts_ask_free(worker->audit);
    kts_strangers_end(&worker->strangers);
    kts_database_close(worker->database);
    for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
        if (*events[i])
            event_free(*events[i]);
    }
    if (worker->base)
        event_base_free(worker->base);
    SSL_CTX_free(worker->tls);
    X509_free(worker->ca);
    kt_buf_free(&worker->control_storage);
    kt_wipe(&worker->tickets, sizeof(worker->tickets));
}

static int tell_ready(struct kts_worker *worker)
{
    uint8_t with_database = (uint8_t)kts_database_is_open(worker->database);

    return kts_control_send(worker->start->control_fd, KTS_CTL_READY, &with_database, 1, -1);
}

int kts_worker_main(struct kts_start *start)
{
    struct kts_worker worker = {
        .start = start,
        .settings = start->settings,
        .status = start->status,
        .tickets = start->tickets,
        .own_keys = {&start->info->openpgp_key_id, 1},
        .control_storage = KT_BUF_INIT(KTS_CONTROL_MAX),
        .exit_code = 0,
    };
    struct kt_error error = {0};
    int rc;

    worker.records_end = &worker.records;
    worker.senders_end = &worker.senders;
    kt_uuid_format(&start->info->cluster_id, worker.cluster_id);
    // The master decides about stopping; what a terminal sends to the whole group is for it.
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    rc = prepare(&worker, &error);
    if (rc) {
        kt_log_error(&error, "worker %d cannot start", start->index);
    } else if (tell_ready(&worker) == 0) {
        kt_log(KT_LOG_INFO, "worker %d serves%s", start->index,
               kts_database_is_open(worker.database) ? "" : " without a database");
        event_base_dispatch(worker.base);
    }
    clean_up(&worker);
    return rc ? 1 : worker.exit_code;
}
