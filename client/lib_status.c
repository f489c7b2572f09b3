// SPDX-License-Identifier: Apache-2.0
// The state of this client: what it knows, what a node says of it, which servers answer.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/client.h"
#include "lib/json.h"

#define GRANTS_MAX 1000
#define DAY_US     ((int64_t)86400 * 1000000)

// What the public structure points into.
struct full_status {
    struct keytrustee_status status; // first: keytrustee_status_free gets its address
    char confdir[KT_PATH_MAX];
    struct ktc_state state;
    char incarnation[KT_INCARNATION_TEXT];
    char not_after[KT_TIME_TEXT];
    char server_names[KTC_SERVERS_MAX][KTC_SERVER_TEXT];
    char problems[KTC_SERVERS_MAX][256];
    struct keytrustee_server servers[KTC_SERVERS_MAX];
    struct keytrustee_grant *grants;
    json_t *self; // texts of the answer are owned by it
};

void keytrustee_status_free(struct keytrustee_status *status)
{
    struct full_status *full = (struct full_status *)status;

    if (full == NULL)
        return;
    free(full->grants);
    json_decref(full->self);
    free(full);
}

// Each server is asked by itself, so that one that hangs or is gone shows.
static void ask_servers(struct keytrustee *client, struct full_status *full)
{
    struct keytrustee single = *client; // borrows the connections of one server at a time
    size_t count = client->state.server_count;

    for (size_t i = 0; i < count; i++) {
        struct ktc_call call = {.method = "GET", .path = "/v1/clients/self"};
        struct ktc_answer answer = {0};
        struct kt_error why = {0};
        json_t *self = NULL;
        int rc = 0;

        memset(single.http, 0, sizeof single.http);
        single.http[0] = client->http[i];
        single.state = client->state;
        single.state.server_count = 1;
        memmove(single.state.servers[0], client->state.servers[i], KTC_SERVER_TEXT);
        single.preferred = 0;
        single.deadline =
            kt_monotonic_now() + (int64_t)ktc_time_left(client) * 1000 / (int64_t)(count - i);
        rc = ktc_call_json(&single, &call, &answer, &self, &why);
        client->http[i] = single.http[0];
        client->state.incarnation = single.state.incarnation;
        client->state.epoch = single.state.epoch;
        snprintf(full->server_names[i], KTC_SERVER_TEXT, "%s", client->state.servers[i]);
        snprintf(full->problems[i], sizeof full->problems[i], "%.255s",
                 rc == 0 ? "" : (why.message[0] ? why.message : kt_err_text(rc)));
        full->servers[i].name = full->server_names[i];
        full->servers[i].problem = full->problems[i];
        full->servers[i].reachable = rc == 0;
        json_decref(self);
        ktc_answer_free(&answer);
    }
    full->status.servers = full->servers;
    full->status.server_count = count;
}

// The text of a member, without control characters, owned by the object; "" when missing.
static const char *text_of(json_t *object, const char *name)
{
    json_t *value = json_object_get(object, name);
    char *clean = NULL;

    if (!json_is_string(value))
        return "";
    clean = strdup(json_string_value(value));
    if (clean == NULL)
        return "";
    ktc_printable(clean);
    if (json_string_set_nocheck(value, clean) != 0) {
        free(clean);
        return "";
    }
    free(clean);
    return json_string_value(value);
}

static int take_grants(struct full_status *full, struct kt_error *error)
{
    json_t *list = json_object_get(full->self, "grants");
    size_t count = json_array_size(list);

    if (count > GRANTS_MAX)
        return kt_error_set(error, KT_ERR_BAD_REQUEST, NULL, "more than %d grants", GRANTS_MAX);
    if (count == 0)
        return 0;
    full->grants = calloc(count, sizeof *full->grants);
    if (full->grants == NULL)
        return KT_ERR_NO_MEMORY;
    for (size_t i = 0; i < count; i++) {
        json_t *grant = json_array_get(list, i);
        full->grants[i].right = text_of(grant, "right");
        full->grants[i].object = text_of(grant, "object");
        full->grants[i].prefix = text_of(grant, "prefix");
        full->grants[i].key_group = text_of(grant, "key_group");
    }
    full->status.grants = full->grants;
    full->status.grant_count = count;
    return 0;
}

static int take_self(struct full_status *full, struct kt_error *error)
{
    struct keytrustee_status *status = &full->status;
    json_t *node = json_object_get(full->self, "node");
    int64_t members = 0, w = 0;
    int rc = kt_json_integer(node, "members", 0, UINT32_MAX, 1, &members, error);

    if (rc == 0)
        rc = kt_json_integer(node, "w", 0, UINT32_MAX, 1, &w, error);
    if (rc == 0)
        rc = take_grants(full, error);
    status->client = text_of(full->self, "client");
    status->name = text_of(full->self, "name");
    status->organisation = text_of(full->self, "organisation");
    status->state = text_of(full->self, "state");
    status->created = text_of(full->self, "created");
    status->node = text_of(node, "name");
    status->node_role = text_of(node, "role");
    status->node_members = (uint32_t)members;
    status->node_w = (uint32_t)w;
    return rc;
}

static void take_local(struct keytrustee *client, struct full_status *full)
{
    struct keytrustee_status *status = &full->status;
    struct kt_uuid *ids = calloc(KTC_PENDING_MAX, sizeof *ids);
    int64_t renew_us = 0, not_after_us = 0;
    size_t pending = 0;

    snprintf(full->confdir, sizeof full->confdir, "%s", client->confdir);
    full->state = client->state;
    kt_incarnation_format(&full->state.incarnation, full->incarnation);
    if (ktc_certificate_times(client, &renew_us, &not_after_us, NULL) == 0) {
        kt_time_format(not_after_us, full->not_after);
        status->certificate_days_left = (int)((not_after_us - kt_time_now()) / DAY_US);
    }
    if (ids != NULL && ktc_pending_list(client, ids, KTC_PENDING_MAX, &pending, NULL) != 0)
        pending = 0;
    free(ids);
    status->pending_puts = (uint32_t)pending;
    status->confdir = full->confdir;
    status->fingerprint = full->state.fingerprint;
    status->cluster = full->state.cluster;
    status->incarnation = full->incarnation;
    status->epoch = full->state.epoch;
    status->certificate_not_after = full->not_after;
}

static int get_status(struct keytrustee *client, struct full_status *full, struct kt_error *error)
{
    struct ktc_call call = {.method = "GET", .path = "/v1/clients/self", .latest = 1};
    struct ktc_answer answer = {0};
    int rc = ktc_need_registration(client, error);

    if (rc != 0)
        return rc;
    ask_servers(client, full);
    ktc_begin(client);
    rc = ktc_call_json(client, &call, &answer, &full->self, error);
    if (rc == 0)
        rc = ktc_protocol(error, answer.server, take_self(full, error));
    if (rc == 0)
        take_local(client, full);
    ktc_answer_free(&answer);
    return rc;
}

int keytrustee_status(struct keytrustee *client, struct keytrustee_status **status,
                      struct keytrustee_error *error)
{
    struct full_status *full = calloc(1, sizeof *full);
    struct kt_error why = {0};
    int rc = full ? 0 : KT_ERR_NO_MEMORY;

    ktc_begin(client);
    if (rc == 0)
        rc = get_status(client, full, &why);
    if (rc == 0) {
        *status = &full->status;
        full = NULL;
    }
    if (full != NULL)
        keytrustee_status_free(&full->status);
    return ktc_end(client, rc, &why, error);
}
