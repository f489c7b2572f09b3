// SPDX-License-Identifier: Apache-2.0
// The agent's watch over the node: what it learns stands in the shared status, and the writer gets
// or loses its permission.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kts/agent_backup.h"
#include "kts/agent_ca_rotate.h"
#include "kts/agent_cluster.h"
#include "kts/agent_cluster_key.h"
#include "kts/agent_endings.h"
#include "kts/agent_listed.h"
#include "kts/agent_own.h"
#include "kts/agent_peers.h"
#include "kts/agent_role.h"
#include "kts/agent_view.h"
#include "kts/gate.h"
#include "lib/log.h"

// How soon it looks again: an active with members, a job on an active, anybody else, no database.
#define ACTIVE_MS         100
#define JOB_MS            20
#define UP_MS             1000
#define DOWN_MS           100
#define LISTED_US         2000000
#define OPERATORS_KEPT_US 300000000LL
#define CUT_US            6000000 // nothing from the active for so long, though a receiver is there
#define HEARD_STEP_US     60000000 // how often it is written how old the data is, at most
// A look that waits in vain keeps the agent from everything else: then ever fewer of them.
#define SLOW_US       500000
#define SLOW_FIRST_MS 1000
#define SLOW_LAST_MS  5000

static void again(struct kts_agent *agent, int ms)
{
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

    event_add(agent->watch, &tv);
}

static void forget_end(struct kts_agent *agent)
{
    if (agent->watch_end)
        event_free(agent->watch_end);
    agent->watch_end = NULL;
}

struct db_session *kts_agent_database(struct kts_agent *agent)
{
    forget_end(agent);
    return agent->database;
}

// --- what it means ---

static uint64_t fresh_ticket(uint64_t now)
{
    uint64_t fresh = (uint64_t)kt_monotonic_now();

    return fresh > now ? fresh : now + 1;
}

static void permit(struct kts_agent *agent, enum kts_role role)
{
    struct kts_status *status = agent->start->status;
    struct kts_view *view = agent->view;
    uint64_t ticket = atomic_load(&status->writer_ticket);
    struct kts_ticket_facts facts = {
        .role = role,
        .held = kts_job_holds(agent) || kt_monotonic_now() < view->hold_until_us,
        .members = view->members,
        .w = view->w,
        .had_enough = view->had_enough,
        .writer_is_open = (int)atomic_load(&status->writer_open),
        .ticket = ticket,
        .fresh = fresh_ticket(ticket),
    };
    uint64_t next = kts_ticket_of(&facts);

    // A hold is for the hand-over that it began: it ends with it, and is not one for the next
    // epoch.
    if (role != KTS_ROLE_ACTIVE && role != KTS_ROLE_STANDALONE)
        view->hold_until_us = 0;
    view->had_enough = facts.members >= facts.w;
    if (next == ticket)
        return;
    atomic_store(&status->writer_ticket, next);
    // Without a link there is no writer, or it looks at the ticket by itself.
    if (agent->changes.link &&
        kts_agent_send(&agent->changes, KTS_MSG_RECHECK, ++agent->next_id, NULL, 0))
        kt_log(KT_LOG_WARNING, "the writer cannot be told of its permission");
}

// "host:port" of the HTTPS service of the node that the highest promise known here names.
static void publish_active(struct kts_agent *agent, const struct kt_promise *highest)
{
    const struct kt_peer *peer =
        highest ? kt_peers_by_node(kts_agent_peers(agent), highest->active) : NULL;
    char text[256] = "";

    if (peer)
        snprintf(text, sizeof(text), strchr(peer->address, ':') ? "[%.230s]:%u" : "%.230s:%u",
                 peer->address, (unsigned)peer->https_port);
    kts_status_set_text(&agent->start->status->active_service, text);
}

static enum kts_role find_role(struct kts_agent *agent)
{
    const struct kts_view *view = agent->view;
    struct kt_promise others[KTS_VIEW_PROMISES];
    struct kts_role_facts facts = {
        .promise = view->has_promise ? &view->promise : NULL,
        .others = others,
        .other_count = kts_view_promises(agent, others),
        .newest = kt_epoch_rows_newest(&view->rows),
        .pending = view->has_pending ? &view->pending : NULL,
        .in_recovery = view->in_recovery,
        .restored = view->restored,
        .removed = view->has_promise && kts_agent_is_removed(agent, view->promise.member),
    };

    publish_active(agent, kts_role_highest(facts.promise, others, facts.other_count));
    return kts_role_of(&facts);
}

static void publish_passive(struct kts_status *status, const struct kts_view *view)
{
    int cut = view->in_recovery && (!view->receiver_streams || view->receiver_silent_us > CUT_US);

    atomic_store(&status->is_cut_off, (uint32_t)cut);
    atomic_store(&status->lag_us, view->in_recovery ? view->lag_us : 0);
    atomic_store(&status->lag_bytes,
                 view->in_recovery && view->lsn > view->replayed ? view->lsn - view->replayed : 0);
}

// Whether a passive, or a node that was replaced, is to go on serving: it hears of no revocation.
static void publish_silence(struct kts_agent *agent, enum kts_role role)
{
    struct kts_view *view = agent->view;
    struct kts_status *status = agent->start->status;
    int64_t limit_us =
        kt_settings_number(agent->start->settings, KT_SET_PASSIVE_MAX_SILENCE) * 1000;
    int64_t now_us = kt_monotonic_now(), silence_us;
    struct kt_promise others[KTS_VIEW_PROMISES];
    int lags = role == KTS_ROLE_PASSIVE || role == KTS_ROLE_FENCED;
    struct kts_heard_facts facts = {
        .leads = !lags,
        .has_quorum = kts_gate_has_quorum(status),
        .follows = role == KTS_ROLE_PASSIVE && view->receiver_streams &&
                   view->receiver_silent_us <= CUT_US &&
                   !kts_role_is_overtaken(&view->promise, others, kts_view_promises(agent, others)),
        .replayed_lsn = view->replayed,
    };
    const struct kt_peer *active = kt_peers_by_node(kts_agent_peers(agent), view->promise.active);
    int64_t question_us = 0;
    const json_t *answer =
        active ? kts_agent_peer_question(agent, active->member, &question_us) : NULL;
    int is_silent;

    if (answer)
        kts_heard_answer(answer, question_us, &facts);
    kts_heard_look(&view->heard, &facts, now_us);
    kts_heard_save(&view->heard, agent->start->paths->node,
                   limit_us > 0 && limit_us / 4 < HEARD_STEP_US ? limit_us / 4 : HEARD_STEP_US);
    silence_us = now_us - view->heard.as_of_us;
    is_silent = lags && limit_us > 0 && silence_us > limit_us;
    atomic_store(&status->silence_us, lags ? silence_us : 0);
    if (atomic_exchange(&status->is_silent, (uint32_t)is_silent) != (uint32_t)is_silent)
        kt_log(is_silent ? KT_LOG_WARNING : KT_LOG_NOTICE,
               is_silent ? "this node has not had its active's data for longer than "
                           "node.passive_max_silence: it serves no client; hint: run ktadmin status"
                         : "this node serves clients again");
}

static void forget_again(const struct kt_paths *paths)
{
    char path[KT_PATH_MAX];

    if (kts_again_path(paths, path) == 0)
        (void)unlink(path);
}

static void publish(struct kts_agent *agent)
{
    struct kts_status *status = agent->start->status;
    struct kts_view *view = agent->view;
    const struct kt_epoch_row *newest = kt_epoch_rows_newest(&view->rows);
    const struct kt_epoch_row *own = kts_view_row(view);
    enum kts_role role = find_role(agent);

    view->members = kts_view_count(view);
    view->w = own ? own->w : newest ? newest->w : 0;
    if (newest) {
        atomic_store(&status->incarnation, newest->incarnation.number);
        atomic_store(&status->incarnation_bits, newest->incarnation.bits);
        atomic_store(&status->epoch, newest->epoch);
    }
    atomic_store(&status->w, view->w);
    atomic_store(&status->members, view->members);
    publish_passive(status, view);
    publish_silence(agent, role);
    // Before the role, by which changes are refused: none is called undone that stands in the log.
    // A group of a writer that is open is under way as it should be: kts_status_in_doubt.
    atomic_store(&status->left_prepared, atomic_load(&status->writer_open) ? 0 : view->prepared);
    if (atomic_exchange(&status->role, role) != role)
        kt_log(KT_LOG_NOTICE, "this node is %s, epoch %llu%s", kts_role_name(role),
               newest ? (unsigned long long)newest->epoch : 0ULL,
               role != KTS_ROLE_FENCED       ? ""
               : view->promise.retired_by[0] ? "; it was retired"
                                             : "; hint: run ktadmin rejoin");
    permit(agent, role);
    if (atomic_load(&status->database_up))
        return;
    // The generation first: who sees "up" must not see the old number with it.
    atomic_fetch_add(&status->database_generation, 1);
    atomic_store(&status->database_up, 1);
    kt_log(KT_LOG_NOTICE, "the database is up");
    // The wish of a job that was killed is fulfilled: it is not one for the next crash.
    if (!kts_job_is_running(agent))
        forget_again(agent->start->paths);
}

// --- looking ---

static void on_watch(evutil_socket_t fd, short what, void *arg);

// Between two looks the database has nothing to say but that it ends: the others lose it at the
// same moment, and are not to be started again as long as "up" stands in the status.
static void watch_end(struct kts_agent *agent)
{
    int fd = db_session_fd(agent->database);

    agent->watch_end = fd < 0 ? NULL : event_new(agent->base, fd, EV_READ, on_watch, agent);
    if (agent->watch_end)
        event_add(agent->watch_end, NULL);
}

static int pause_after(struct kts_agent *agent, int64_t took_us)
{
    if (took_us < SLOW_US)
        agent->watch_ms = 0;
    else if (agent->watch_ms == 0)
        agent->watch_ms = SLOW_FIRST_MS;
    else
        agent->watch_ms = agent->watch_ms * 2 < SLOW_LAST_MS ? agent->watch_ms * 2 : SLOW_LAST_MS;
    return agent->watch_ms ? agent->watch_ms : DOWN_MS;
}

static int pause_of(const struct kts_agent *agent)
{
    const struct kts_view *view = agent->view;
    const struct kt_epoch_row *row = kts_view_row(view);

    if (!view->in_recovery && (kts_job_is_running(agent) || kts_agent_changes_wait(agent)))
        return JOB_MS;
    return !view->in_recovery && row && row->count > 0 ? ACTIVE_MS : UP_MS;
}

static int look(struct kts_agent *agent, struct kt_error *error)
{
    json_t *seen = NULL;
    int64_t begun_us = kt_monotonic_now();
    int rc = db_query_look(kts_agent_database(agent), &seen, error);

    if (rc == 0)
        agent->view->looked_us = begun_us;
    if (rc == 0)
        rc = kts_view_take(agent->view, seen, error);
    json_decref(seen);
    return rc;
}

static void take_operators(struct kts_agent *agent, const json_t *list)
{
    struct kts_operators *all = &agent->operators;
    const json_t *one;
    size_t i;

    all->count = 0;
    json_array_foreach(list, i, one)
    {
        const char *name = json_string_value(json_object_get(one, "name"));
        const char *hash = json_string_value(json_object_get(one, "cert_sha256"));
        struct kts_operator *place = &all->operators[all->count];
        if (!name || !hash || all->count == KTS_OPERATORS_MAX ||
            kt_hex_decode(hash, place->cert_sha256, KT_SHA256_LEN))
            continue;
        snprintf(place->name, sizeof(place->name), "%s", name);
        all->count++;
    }
}

// What can be read of the table, and what this node knows already first: one row that is wrong, or
// one too many, keeps no removal back.
static void learn_nodes(struct kts_agent *agent, const json_t *nodes)
{
    static struct kt_peers found;
    size_t i, left_out = 0;
    const json_t *one;

    found.count = 0;
    for (int known = 1; known >= 0; known--) {
        json_array_foreach(nodes, i, one)
        {
            const char *member = json_string_value(json_object_get(one, "member"));
            struct kt_error why = {0};
            struct kt_peer peer;
            if (!member || known != (kt_peers_by_member(kts_agent_peers(agent), member) != NULL))
                continue;
            if (found.count == KT_PEERS_MAX || kt_peer_from_json(one, &peer, &why))
                left_out++;
            else
                found.peers[found.count++] = peer;
        }
    }
    if (left_out)
        kt_log(KT_LOG_ERROR, "%zu rows of the table of nodes cannot be taken", left_out);
    kts_agent_peers_learn(agent, &found);
}

// An old list says nothing of who was revoked since.
static void forget_operators(struct kts_agent *agent)
{
    if (agent->operators.count == 0 ||
        kt_monotonic_now() < agent->view->operators_us + OPERATORS_KEPT_US)
        return;
    kt_log(KT_LOG_NOTICE, "operators are not let in until their list can be read again");
    agent->operators.count = 0;
}

// Nodes and operators, which change rarely.
static void look_at_lists(struct kts_agent *agent)
{
    struct kts_view *view = agent->view;
    struct kt_error why = {0};
    json_t *listed = NULL;
    const char *restored;
    int rc;

    if (kt_monotonic_now() < view->listed_us + LISTED_US)
        return;
    view->listed_us = kt_monotonic_now();
    rc = db_query_listed(kts_agent_database(agent), &listed, &why);
    if (rc == 0) {
        view->operators_us = view->listed_us;
        kts_listed_take(view, json_object_get(listed, "nodes"), json_object_get(listed, "expired"));
        learn_nodes(agent, json_object_get(listed, "nodes"));
        take_operators(agent, json_object_get(listed, "operators"));
        json_decref(view->settings);
        view->settings = json_incref(json_object_get(listed, "settings"));
        json_decref(view->receipt_keys);
        view->receipt_keys = json_incref(json_object_get(listed, "receipt_keys"));
        json_decref(view->cluster_keys);
        view->cluster_keys = json_incref(json_object_get(listed, "cluster_keys"));
        kts_cluster_key_keep_line(agent);
        restored = json_string_value(json_object_get(listed, "restored"));
        snprintf(view->restored_sha256, sizeof(view->restored_sha256), "%s",
                 restored ? restored : "");
    } else {
        view->listed.is_known = 0;
        kt_log_error(&why, "the list of nodes cannot be read");
    }
    json_decref(listed);
}

static void on_watch(evutil_socket_t fd, short what, void *arg)
{
    struct kts_agent *agent = arg;
    struct kts_status *status = agent->start->status;
    struct kt_error why = {0};
    int64_t begun_us = kt_monotonic_now();

    (void)fd;
    (void)what;
    kts_view_files(agent->start->paths, agent->view);
    kts_agent_backup_look(agent);
    kts_ca_cut_look(agent);
    forget_operators(agent);
    if (look(agent, &why) == 0) {
        publish(agent);
        kts_agent_changes_look(agent);
        look_at_lists(agent);
        kts_agent_endings_look(agent);
        kts_own_jobs(agent);
        watch_end(agent);
        agent->watch_ms = 0;
        again(agent, pause_of(agent));
        return;
    }
    agent->view->is_known = 0;
    agent->view->listed_us = 0;
    if (atomic_exchange(&status->database_up, 0))
        kt_log_error(&why, "the database is down");
    again(agent, pause_after(agent, kt_monotonic_now() - begun_us));
}

void kts_agent_watch_permit(struct kts_agent *agent)
{
    permit(agent, (enum kts_role)atomic_load(&agent->start->status->role));
}

void kts_agent_watch_lists(struct kts_agent *agent)
{
    if (!agent->view || !agent->view->is_known)
        return;
    agent->view->listed_us = 0;
    look_at_lists(agent);
}

void kts_agent_watch_now(struct kts_agent *agent)
{
    again(agent, 0);
}

int kts_agent_watch_start(struct kts_agent *agent, struct kt_error *error)
{
    const struct kts_start *start = agent->start;
    struct db_target target;
    int rc = db_target_load(start->paths, start->settings, DB_ROLE_AGENT, &target,
                            &agent->database_secret, error);

    if (rc)
        return rc;
    // One that was left by an agent that died: this one has to see it come up.
    atomic_store(&start->status->database_up, 0);
    agent->watch = evtimer_new(agent->base, on_watch, agent);
    agent->view = calloc(1, sizeof(*agent->view));
    rc = agent->watch && agent->view ? db_session_new(&target, &agent->database) : KT_ERR_NO_MEMORY;
    if (rc)
        return kt_error_set(error, rc, NULL, "%s", kt_err_text(rc));
    agent->view->begun_us = kt_monotonic_now();
    kts_heard_load(start->paths->node, &agent->view->heard);
    kts_view_files(start->paths, agent->view);
    // Workers may serve before the first look: of a removed node that need not be waited for.
    if (agent->view->has_promise && kts_agent_is_removed(agent, agent->view->promise.member))
        atomic_store(&start->status->role, KTS_ROLE_REMOVED);
    again(agent, 0);
    return 0;
}
