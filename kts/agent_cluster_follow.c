// SPDX-License-Identifier: Apache-2.0
// Following the active of an epoch (rule 2).
#include <string.h>

#include "kts/agent_cluster.h"
#include "lib/json.h"

#define STREAM_MS 5000
#define STEADY_US 1000000 // a receiver that is refused says "streaming" for a moment, too

// The replication of a node that streams under the promised epoch's name.
static int following(const struct kts_local *local, const struct kts_upstream *upstream,
                     struct db_replication *replication, struct kt_error *error)
{
    const struct kt_promise *promise = &local->promise;
    int rc;

    *replication =
        (struct db_replication){.mode = DB_MODE_FOLLOW, .port = upstream->peer.database_port};
    memcpy(replication->host, upstream->peer.address, sizeof(replication->host));
    memcpy(replication->member, promise->member, sizeof(replication->member));
    rc = kt_replication_name(promise->member, promise->epoch, promise->active,
                             replication->application_name);
    return rc ? kt_error_set(error, rc, NULL, "the name under which this node streams is too long")
              : 0;
}

int kts_wait_streaming(struct kts_local *local, int timeout_ms, struct kt_error *error)
{
    int64_t until = kt_monotonic_now() + timeout_ms * INT64_C(1000);
    struct db_receiver receiver = {.is_streaming = 0};
    int rc = db_admin_receiver(local->admin, &receiver, error);

    while (rc == 0 && !receiver.is_streaming && kt_monotonic_now() < until) {
        kts_breath();
        rc = db_admin_receiver(local->admin, &receiver, error);
    }
    if (rc == 0 && !receiver.is_streaming)
        rc = kt_error_set(error, KT_ERR_TIMEOUT, "look into the database's log on both nodes",
                          "this node does not stream from the active yet");
    return rc;
}

int kts_wait_steady(struct kts_local *local, int timeout_ms, struct kt_error *error)
{
    int64_t now = kt_monotonic_now(), until = now + timeout_ms * INT64_C(1000), since = 0;
    struct db_receiver receiver = {.is_streaming = 0};
    int rc = 0;

    while (rc == 0 && now < until && (since == 0 || now - since < STEADY_US)) {
        rc = db_admin_receiver(local->admin, &receiver, error);
        if (!receiver.is_streaming)
            since = 0;
        else if (since == 0)
            since = now;
        kts_breath();
        now = kt_monotonic_now();
    }
    if (rc == 0 && (since == 0 || now - since < STEADY_US))
        rc = kt_error_set(error, KT_ERR_TIMEOUT, "look into the database's log on both nodes",
                          "this node does not stream from the active");
    return rc;
}

int kts_follow_attach(struct kts_local *local, const struct kts_upstream *upstream,
                      struct kt_error *error)
{
    struct db_replication replication;
    int rc = following(local, upstream, &replication, error);

    if (rc)
        return rc;
    if (kts_local_is_running(local))
        return kts_local_apply(local, &replication, error);
    rc = kts_local_save_mode(local, &replication, error);
    return rc ? rc : kts_local_start(local, error);
}

// Sealed, so that the end of this log stands still while it is compared.
static int compare_logs(struct kts_local *local, const struct kts_upstream *upstream,
                        struct kt_error *error)
{
    struct kt_epoch_rows rows = {.count = 0};
    struct db_position own;
    int rc = db_admin_rows(local->admin, &rows, error);

    if (rc == 0)
        rc = kts_local_end(local, &rows, &own, error);
    if (rc == 0)
        rc = kt_rule_is_prefix(&rows, own.lsn, own.start_lsn, &upstream->rows,
                               upstream->position.start_lsn, error);
    kt_epoch_rows_free(&rows);
    return rc;
}

// 1 when this node runs as a standby of exactly this upstream and epoch already.
static int follows_already(struct kts_local *local, const struct kts_upstream *upstream)
{
    struct db_replication now, wanted;
    struct db_position position;

    return kts_local_has_promised(local, &upstream->promise.incarnation, upstream->promise.epoch,
                                  upstream->promise.active) &&
           db_replication_load(local->paths, &now, NULL) == 0 && now.mode == DB_MODE_FOLLOW &&
           following(local, upstream, &wanted, NULL) == 0 && now.port == wanted.port &&
           strcmp(now.host, wanted.host) == 0 &&
           strcmp(now.application_name, wanted.application_name) == 0 &&
           kts_local_is_running(local) && kts_local_connect(local, NULL) == 0 &&
           db_admin_position(local->admin, &position, NULL) == 0 && position.in_recovery;
}

int kts_follow(struct kts_local *local, const struct kts_upstream *upstream, struct kt_error *error)
{
    const struct kt_promise *theirs = &upstream->promise;
    struct kt_promise promise = local->promise;
    int rc =
        kt_rule_may_promise(&promise, &theirs->incarnation, theirs->epoch, theirs->active, error);

    if (rc == 0 && !kts_upstream_is_promoted(upstream))
        rc = kt_error_set(error, KT_ERR_NOT_PROVEN, "promote it first",
                          "'%s' is not the active of the epoch it promised", upstream->peer.member);
    if (rc)
        return rc;
    if (follows_already(local, upstream))
        return kts_follow_attach(local, upstream, error); // PostgreSQL may not have been told
    promise.incarnation = theirs->incarnation;
    promise.epoch = theirs->epoch;
    memcpy(promise.active, theirs->active, sizeof(promise.active));
    rc = kts_local_promise(local, &promise, error);
    if (rc == 0)
        rc = kts_pending_row_remove(local->paths, error); // of an epoch that is over
    if (rc == 0 && !kts_local_was_sealed(local))
        rc = kts_local_seal(local, error);
    if (rc == 0)
        rc = compare_logs(local, upstream, error);
    return rc ? rc : kts_follow_attach(local, upstream, error);
}

int kts_job_node_follow(struct kts_job *job, const json_t *args, json_t **result,
                        struct kt_error *error)
{
    struct kts_upstream upstream = {.members = NULL};
    struct db_position position = {.lsn = 0};
    struct kt_incarnation incarnation;
    const char *active = NULL;
    struct kts_local local;
    uint64_t epoch = 0;
    int streams, rc = kts_local_open(job, &local, error);

    if (rc == 0)
        rc = kts_args_epoch(args, &incarnation, &epoch, error);
    if (rc == 0)
        rc = kts_args_member(args, "active", 1, &active, error);
    if (rc == 0 && strcmp(active, local.promise.member) == 0)
        rc = kt_error_set(error, KT_ERR_BAD_REQUEST, NULL, "a node does not follow itself");
    if (rc == 0)
        rc = kts_upstream_ask(&local, active, &upstream, error);
    if (rc == 0 && (upstream.promise.epoch != epoch ||
                    upstream.promise.incarnation.number != incarnation.number ||
                    upstream.promise.incarnation.bits != incarnation.bits))
        rc = kt_error_set(error, KT_ERR_NOT_PROVEN, "see ktadmin status",
                          "'%s' is in epoch %llu, not in %llu", active,
                          (unsigned long long)upstream.promise.epoch, (unsigned long long)epoch);
    if (rc == 0)
        rc = kts_follow(&local, &upstream, error);
    if (rc == 0) {
        // That it does not stream at once is no failure: it goes on trying.
        streams = kts_wait_streaming(&local, STREAM_MS, NULL) == 0;
        rc = db_admin_position(local.admin, &position, error);
    }
    if (rc == 0) {
        *result = json_pack("{s:b}", "streaming", streams);
        kts_json_set_lsn(*result, "lsn", position.lsn);
    }
    kts_upstream_free(&upstream);
    kts_local_close(&local);
    return rc;
}
