// SPDX-License-Identifier: Apache-2.0
// What the agent's watch sees: files and the database's answer, taken apart.
#include "kts/agent_view.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kts/agent_cluster.h"
#include "kts/agent_peers.h"
#include "lib/file.h"
#include "lib/json.h"

void kts_view_files(const struct kt_paths *paths, struct kts_view *view)
{
    view->has_promise = kt_promise_load(paths->promise, &view->promise, NULL) == 0;
    view->has_pending = view->has_promise &&
                        kts_pending_row_load(paths, &view->pending, NULL) == 0 &&
                        kt_epoch_row_is_own(&view->pending, &view->promise);
    view->is_joining = kt_file_exists(paths->joining);
}

static uint64_t lsn_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    uint64_t lsn = 0;

    return text && kt_lsn_parse(text, &lsn) == 0 ? lsn : 0;
}

static int64_t number_of(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

static const struct kts_stream *find_stream(const struct kts_view *view, const char *name)
{
    for (size_t i = 0; i < view->stream_count; i++) {
        if (strcmp(view->streams[i].name, name) == 0)
            return &view->streams[i];
    }
    return NULL;
}

static void take_stream(const struct kts_view *before, const json_t *object, int64_t now_us,
                        struct kts_stream *stream)
{
    const char *replied = json_string_value(json_object_get(object, "replied"));
    const struct kts_stream *old;

    *stream = (struct kts_stream){
        .is_streaming = kt_json_boolean(object, "streaming", 0),
        .flush_lsn = lsn_of(object, "flush_lsn"),
        .replay_lsn = lsn_of(object, "replay_lsn"),
        .lag_bytes = (uint64_t)number_of(object, "lag_bytes"),
        .lag_us = number_of(object, "lag_us"),
        .replied_us = now_us,
    };
    snprintf(stream->member, sizeof(stream->member), "%s",
             json_string_value(json_object_get(object, "member")));
    snprintf(stream->name, sizeof(stream->name), "%s",
             json_string_value(json_object_get(object, "name")));
    snprintf(stream->replied, sizeof(stream->replied), "%s", replied ? replied : "");
    old = find_stream(before, stream->name);
    if (old && strcmp(old->replied, stream->replied) == 0)
        stream->replied_us = old->replied_us;
}

static void take_streams(struct kts_view *view, const json_t *list)
{
    static struct kts_view before; // the agent has one view and one thread
    int64_t now_us = kt_monotonic_now();
    const json_t *one;
    size_t i;

    before.stream_count = view->stream_count;
    memcpy(before.streams, view->streams, sizeof(before.streams));
    view->stream_count = 0;
    json_array_foreach(list, i, one)
    {
        const char *member = json_string_value(json_object_get(one, "member"));
        const char *name = json_string_value(json_object_get(one, "name"));
        if (member && name && kt_member_check(member) == 0 &&
            strlen(name) < KT_REPLICATION_NAME_TEXT && view->stream_count < KTS_VIEW_STREAMS)
            take_stream(&before, one, now_us, &view->streams[view->stream_count++]);
    }
}

int kts_view_take(struct kts_view *view, const json_t *look, struct kt_error *error)
{
    const json_t *receiver = json_object_get(look, "receiver");
    struct kt_epoch_rows rows = {.count = 0};
    const char *names;
    int rc = kt_epoch_rows_from_json(json_object_get(look, "rows"), &rows, error);

    if (rc)
        return rc;
    kt_epoch_rows_free(&view->rows);
    view->rows = rows;
    view->in_recovery = kt_json_boolean(look, "in_recovery", 1);
    view->restored = kt_json_boolean(look, "restored", 0);
    view->clock_jumped = kt_json_boolean(look, "clock_jumped", 0);
    names = json_string_value(json_object_get(look, "names"));
    snprintf(view->names, sizeof(view->names), "%s", names ? names : "");
    view->log_index = (uint64_t)number_of(look, "log_index");
    view->prepared = (uint32_t)number_of(look, "prepared");
    view->strangers = (uint32_t)number_of(look, "strangers");
    view->spared = (uint32_t)number_of(look, "spared");
    names = json_string_value(json_object_get(look, "strangers_owner"));
    if (names)
        snprintf(view->strangers_owner, sizeof(view->strangers_owner), "%s", names);
    view->timeline = (uint32_t)number_of(look, "timeline");
    view->lsn = lsn_of(look, "lsn");
    view->replayed = lsn_of(look, "replayed");
    view->lag_us = number_of(look, "lag_us");
    view->receives = json_is_object(receiver);
    view->receiver_streams = view->receives && kt_json_boolean(receiver, "streaming", 0);
    view->receiver_silent_us = view->receives ? number_of(receiver, "silent_us") : 0;
    take_streams(view, json_object_get(look, "streaming"));
    view->is_known = 1;
    return 0;
}

void kts_view_free(struct kts_view *view)
{
    if (!view)
        return;
    kt_epoch_rows_free(&view->rows);
    json_decref(view->settings);
    json_decref(view->receipt_keys);
    json_decref(view->cluster_keys);
    free(view);
}

const struct kt_epoch_row *kts_view_row(const struct kts_view *view)
{
    const struct kt_epoch_row *newest = kt_epoch_rows_newest(&view->rows);

    if (view->has_promise && kt_epoch_row_is_own(newest, &view->promise))
        return newest;
    return view->has_pending ? &view->pending : NULL;
}

int kts_view_counts(const struct kts_view *view, const struct kts_stream *stream)
{
    char name[KT_REPLICATION_NAME_TEXT];

    return view->has_promise && stream->is_streaming &&
           kt_replication_name(stream->member, view->promise.epoch, view->promise.active, name) ==
               0 &&
           strcmp(name, stream->name) == 0 &&
           kt_monotonic_now() - stream->replied_us < KTS_SILENT_US;
}

int kts_view_streams(const struct kts_view *view, const char *member)
{
    for (size_t i = 0; i < view->stream_count; i++) {
        if (strcmp(view->streams[i].member, member) == 0 &&
            kts_view_counts(view, &view->streams[i]))
            return 1;
    }
    return 0;
}

uint32_t kts_view_count(const struct kts_view *view)
{
    const struct kt_epoch_row *row = kts_view_row(view);
    uint32_t count = 0;

    for (uint32_t i = 0; row && i < row->count; i++)
        count += (uint32_t)kts_view_streams(view, row->members[i]);
    return count;
}

// "promise" of a node.state: what is needed to compare it.
static int read_promise(const json_t *state, struct kt_promise *promise)
{
    const json_t *object = json_object_get(state, "promise");
    const char *active = json_string_value(json_object_get(object, "active"));

    *promise = (struct kt_promise){.epoch = 0};
    if (!active || strlen(active) >= sizeof(promise->active) ||
        kts_args_epoch(object, &promise->incarnation, &promise->epoch, NULL))
        return -1;
    memcpy(promise->active, active, strlen(active) + 1);
    return 0;
}

size_t kts_view_promises(const struct kts_agent *agent, struct kt_promise out[KTS_VIEW_PROMISES])
{
    const struct kt_peers *peers = kts_agent_peers(agent);
    size_t count = 0;

    for (size_t i = 0; i < peers->count && count < KTS_VIEW_PROMISES; i++) {
        const struct kt_peer *peer = &peers->peers[i];
        const json_t *state =
            peer->removed ? NULL : kts_agent_peer_state(agent, peer->member, NULL);
        if (state && read_promise(state, &out[count]) == 0)
            memcpy(out[count++].member, peer->member, sizeof(out[0].member));
    }
    return count;
}
