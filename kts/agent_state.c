// SPDX-License-Identifier: Apache-2.0
// node.state: all that this node knows of itself now, from memory: it
// answers with a dead database too.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "kts/agent_ca_rotate.h"
#include "kts/agent_audit.h"
#include "kts/agent_backup.h"
#include "kts/agent_cluster.h"
#include "kts/agent_endings.h"
#include "kts/agent_cluster_key.h"
#include "kts/agent_peers.h"
#include "kts/agent_receipt_key.h"
#include "kts/agent_view.h"
#include "lib/json.h"
#include "lib/pki.h"
#include "lib/tls_pairs.h"
#include "lib/version.h"

#define DAY_US       (24LL * 3600 * 1000000)
#define CERT_LOOK_US 60000000

static void set(json_t *object, const char *name, json_t *value)
{
    json_object_set_new(object, name, value ? value : json_null());
}

static void put_promise(const struct kts_view *view, int database_up, json_t *state)
{
    const struct kt_promise *promise = &view->promise;
    json_t *object;

    if (!view->has_promise) {
        set(state, "promise", NULL);
        return;
    }
    object = json_pack("{s:I, s:s, s:I, s:s}", "epoch", (json_int_t)promise->epoch, "active",
                       promise->active, "active_since", (json_int_t)promise->active_since,
                       "retired_by", promise->retired_by);
    kts_json_set_incarnation(object, "incarnation", &promise->incarnation);
    kts_json_set_lsn(object, "floor", promise->floor_lsn);
    set(state, "promise", object);
    set(state, "member", json_string(promise->member));
    // What was seen before PostgreSQL went may be of a log that was replaced meanwhile.
    set(state, "below_floor",
        json_boolean(!view->is_known || !database_up ||
                     (view->in_recovery ? view->replayed : view->lsn) < promise->floor_lsn));
}

static void put_rows(const struct kts_view *view, json_t *state)
{
    const struct kt_epoch_row *newest = kt_epoch_rows_newest(&view->rows);
    json_t *overrides = json_array();

    for (size_t i = 0; i < view->rows.count; i++) {
        if (view->rows.rows[i].note[0])
            json_array_append_new(overrides, json_string(view->rows.rows[i].note));
    }
    set(state, "overrides", overrides);
    set(state, "row", newest ? kt_epoch_row_to_json(newest) : NULL);
    set(state, "pending_row", view->has_pending ? kt_epoch_row_to_json(&view->pending) : NULL);
    if (!newest)
        return;
    kts_json_set_incarnation(state, "incarnation", &newest->incarnation);
    set(state, "epoch", json_integer((json_int_t)newest->epoch));
    kts_json_set_lsn(state, "start_lsn", newest->start_lsn);
}

static void put_streams(const struct kts_view *view, json_t *state)
{
    int64_t now_us = kt_monotonic_now();
    json_t *list = json_array(), *one;

    for (size_t i = 0; i < view->stream_count; i++) {
        const struct kts_stream *s = &view->streams[i];
        one =
            json_pack("{s:s, s:s, s:b, s:b, s:I, s:I, s:I}", "member", s->member, "name", s->name,
                      "streaming", s->is_streaming, "counts", kts_view_counts(view, s), "lag_bytes",
                      (json_int_t)s->lag_bytes, "lag_ms", (json_int_t)(s->lag_us / 1000),
                      "silent_ms", (json_int_t)((now_us - s->replied_us) / 1000));
        kts_json_set_lsn(one, "flush_lsn", s->flush_lsn);
        json_array_append_new(list, one);
    }
    set(state, "streaming", list);
}

static void put_database(const struct kts_agent *agent, json_t *state)
{
    const struct kts_view *view = agent->view;
    int is_up = view->is_known && atomic_load(&agent->start->status->database_up);
    struct db_replication now;

    set(state, "database", json_string(is_up ? "up" : "down"));
    if (db_replication_load(agent->start->paths, &now, NULL) == 0)
        set(state, "mode",
            json_string(now.mode == DB_MODE_ACTIVE   ? "active"
                        : now.mode == DB_MODE_FOLLOW ? "follow"
                                                     : "sealed"));
    set(state, "in_recovery", json_boolean(view->in_recovery));
    set(state, "restored", json_boolean(view->restored));
    set(state, "clock_jumped", json_boolean(view->clock_jumped));
    set(state, "timeline", json_integer((json_int_t)view->timeline));
    if (view->sweep.last_us)
        set(state, "strangers",
            json_pack("{s:I, s:b, s:I, s:s, s:I}", "prepared", (json_int_t)view->sweep.rolled_back,
                      "failing", view->sweep.pause_us > 0, "left", (json_int_t)view->strangers,
                      "role", view->strangers_owner, "seconds_ago",
                      (json_int_t)((kt_monotonic_now() - view->sweep.last_us) / 1000000)));
    kts_json_set_lsn(state, "lsn", view->lsn);
    set(state, "lsn_age_ms", json_integer((kt_monotonic_now() - view->looked_us) / 1000 + 1));
    if (view->in_recovery)
        set(state, "receiver",
            json_pack("{s:b, s:I, s:I, s:I}", "streaming", is_up && view->receiver_streams,
                      "silent_ms", (json_int_t)(view->receiver_silent_us / 1000), "lag_bytes",
                      (json_int_t)(view->lsn > view->replayed ? view->lsn - view->replayed : 0),
                      "lag_ms", (json_int_t)(view->lag_us / 1000)));
    put_streams(view, state);
}

static void put_writer(const struct kts_status *status, json_t *state)
{
    int64_t last = atomic_load(&status->last_commit_us);
    const char *writer = atomic_load(&status->writer_open)     ? "open"
                         : atomic_load(&status->writer_ticket) ? "closed"
                                                               : "held";

    set(state, "writer", json_string(writer));
    set(state, "in_doubt", json_integer(kts_status_in_doubt(status)));
    set(state, "last_barrier_ms_ago",
        last ? json_integer((kt_time_now() - last) / 1000) : json_null());
    set(state, "members_streaming", json_integer(atomic_load(&status->members)));
    set(state, "w", json_integer(atomic_load(&status->w)));
}

// The settings of PostgreSQL, and those in which a peer differs.
static void put_settings(const struct kts_agent *agent, json_t *state)
{
    const struct kt_peers *peers = kts_agent_peers(agent);
    json_t *own = agent->view->settings, *unequal = json_array(), *object = json_object();
    char *text = own ? kt_json_text(own) : NULL, hex[2 * KT_SHA256_LEN + 1];
    uint8_t hash[KT_SHA256_LEN];
    const char *name;
    json_t *value;

    json_object_foreach(own, name, value)
    {
        for (size_t i = 0; i < peers->count; i++) {
            const json_t *theirs = kts_agent_peer_state(agent, peers->peers[i].member, NULL);
            const json_t *other = json_object_get(
                json_object_get(json_object_get(theirs, "settings"), "values"), name);
            if (!peers->peers[i].removed && other && !json_equal(value, other)) {
                json_array_append_new(unequal, json_string(name));
                break;
            }
        }
    }
    if (text && kt_sha256(text, strlen(text), hash) == 0) {
        kt_hex_encode(hash, sizeof(hash), hex);
        set(object, "hash", json_string(hex));
    }
    free(text);
    json_object_set(object, "values", own);
    set(object, "unequal", unequal);
    set(state, "settings", object);
}

static json_int_t node_certificate_days(const struct kts_agent *agent)
{
    static int64_t looked_us, not_after_us;
    static ino_t inode; // a renewed one is another file
    int64_t now_us = kt_monotonic_now(), before_us;
    struct stat st = {0};
    X509 *cert = NULL;

    (void)!stat(agent->start->paths->node_cert, &st);
    if (looked_us == 0 || now_us > looked_us + CERT_LOOK_US || st.st_ino != inode) {
        looked_us = now_us;
        inode = st.st_ino;
        if (kt_pki_cert_load(agent->start->paths->node_cert, &cert, NULL) == 0 &&
            kt_pki_cert_validity(cert, &before_us, &not_after_us))
            not_after_us = 0;
        X509_free(cert);
    }
    return (not_after_us - kt_time_now()) / DAY_US;
}

// Who it is, and how the others reach it.
static void put_identity(const struct kts_agent *agent, json_t *state)
{
    const struct kts_start *start = agent->start;
    const struct kt_peer *own = kts_agent_own_peer(agent);
    int64_t server = atomic_load(&start->status->server_certificate_not_after_us);
    char text[KT_UUID_TEXT], hex[2 * KT_SHA256_LEN + 1];

    kt_uuid_format(&start->info->cluster_id, text);
    set(state, "cluster", json_string(text));
    set(state, "node", json_string(start->info->node));
    set(state, "version", json_string(KT_VERSION));
    set(state, "fingerprint", json_string(start->info->openpgp_fingerprint));
    set(state, "certificates",
        json_pack("{s:I, s:I, s:I, s:b}", "ca_days",
                  (json_int_t)((agent->ca_not_after_us - kt_time_now()) / DAY_US), "server_days",
                  (json_int_t)((server - kt_time_now()) / DAY_US), "node_days",
                  node_certificate_days(agent), "renewing", kt_pairs_is_begun(start->paths, NULL)));
    set(state, "ca", kts_ca_state(agent));
    set(state, "peers", kt_peers_to_json(kts_agent_peers(agent)));
    if (!own)
        return;
    kt_hex_encode(own->cert_sha256, sizeof(own->cert_sha256), hex);
    set(state, "cert_sha256", json_string(hex));
    set(state, "address", json_string(own->address));
    set(state, "agent_port", json_integer(own->agent_port));
    set(state, "database_port", json_integer(own->database_port));
    set(state, "https_port", json_integer(own->https_port));
}

int kts_run_node_state(struct kts_call *call, const json_t *args, json_t **result,
                       struct kt_error *error)
{
    struct kts_agent *agent = kts_call_agent(call);
    struct kts_status *status = agent->start->status;
    json_t *state = json_object();

    (void)args;
    kts_ca_look(agent);
    if (!state)
        return kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    // The promise as it stands now: it may have been made a moment ago.
    kts_view_files(agent->start->paths, agent->view);
    set(state, "role", json_string(kts_role_name((enum kts_role)atomic_load(&status->role))));
    put_identity(agent, state);
    put_promise(agent->view, (int)atomic_load(&agent->start->status->database_up), state);
    put_rows(agent->view, state);
    put_database(agent, state);
    put_writer(status, state);
    kts_agent_audit_state(agent, state);
    put_settings(agent, state);
    set(state, "backup", kts_agent_backup_json(agent));
    set(state, "cluster_key", kts_cluster_key_state(agent));
    set(state, "receipt_key", kts_receipt_key_state(agent));
    set(state, "endings", kts_agent_endings_json());
    set(state, "log_index", json_integer((json_int_t)agent->view->log_index));
    set(state, "joining", json_boolean(agent->view->is_joining));
    set(state, "job", kts_job_state(agent));
    *result = state;
    return 0;
}
