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
    char server_names[KTC_NODES_MAX][KTC_SERVER_TEXT];
    char problems[KTC_NODES_MAX][256];
    json_t *health[KTC_NODES_MAX]; // texts of the servers are owned by these
    struct keytrustee_server servers[KTC_NODES_MAX];
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
    for (size_t i = 0; i < KTC_NODES_MAX; i++)
        json_decref(full->health[i]);
    free(full);
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

static int takes_changes(const char *role)
{
    return strcmp(role, "active") == 0 || strcmp(role, "standalone") == 0;
}

// An active names itself: that is another name of server `i`.
static void learn_active(struct keytrustee *client, size_t i, const char *name, json_t *health)
{
    struct ktc_server *list = client->servers.list;
    size_t named = ktc_servers_learn_active(client, name);

    if (named != KTC_NONE && list[named].address[0] == '\0' &&
        takes_changes(text_of(health, "role")))
        memcpy(list[named].address, list[i].address, sizeof list[named].address);
}

// Health needs no certificate and no database: whatever else is wrong, the process says how it is.
static int ask_health(struct keytrustee *client, size_t i, int time_ms, json_t **health,
                      struct kt_error *error)
{
    const struct ktc_call call = {.method = "GET", .path = "/v1/health"};
    int connect_ms = client->connect_timeout_ms;
    struct ktc_answer answer = {0};
    enum ktc_seen seen = KTC_SEEN_SAME;
    int rc = ktc_ask(client, &call, i, time_ms, connect_ms, 0, &answer, error);

    if (rc == KT_ERR_TIMEOUT && time_ms >= connect_ms)
        ktc_server_failed(client, i);
    if (rc != 0)
        return rc;
    ktc_server_answered(client, i);
    if (answer.http.status == 200) {
        const char *active = kt_http_answer_header(&answer.http, "KT-Active");
        rc = kt_json_parse_object(kt_buf_ptr(&answer.http.body), kt_buf_left(&answer.http.body),
                                  health, error);
        rc = ktc_protocol(error, answer.server, rc);
        if (rc == 0)
            rc = ktc_observe(client, &answer.http, answer.server, &seen, error);
        if (rc == 0 && active != NULL)
            learn_active(client, i, active, *health);
    } else {
        rc = ktc_answer_error(&answer.http, answer.server, error);
    }
    ktc_answer_free(&answer);
    return rc;
}

// Each server is asked by itself, so that one that hangs or is gone shows. Those that are learned
// meanwhile are asked too.
static void ask_servers(struct keytrustee *client, struct full_status *full)
{
    struct ktc_servers *servers = &client->servers;
    size_t i = 0;

    for (; i < servers->count; i++) {
        struct keytrustee_server *told = &full->servers[i];
        struct kt_error why = {0};
        int64_t epoch = 0;
        int time = ktc_time_left(client) / (int)(servers->count - i) + 1;
        int rc = ask_health(client, i, time, &full->health[i], &why);

        snprintf(full->server_names[i], KTC_SERVER_TEXT, "%s", servers->list[i].name);
        snprintf(full->problems[i], sizeof full->problems[i], "%.255s",
                 rc == 0 ? "" : (why.message[0] ? why.message : kt_err_text(rc)));
        if (kt_json_integer(full->health[i], "epoch", 0, INT64_MAX, 0, &epoch, NULL) != 0)
            epoch = 0;
        told->name = full->server_names[i];
        told->problem = full->problems[i];
        told->reachable = full->health[i] != NULL;
        told->learned = servers->list[i].learned;
        told->set_aside = ktc_server_waits(client, i);
        told->node = full->health[i] ? text_of(full->health[i], "node") : "";
        told->role = full->health[i] ? text_of(full->health[i], "role") : "";
        told->epoch = (uint64_t)epoch;
    }
    full->status.servers = full->servers;
    full->status.server_count = i;
    for (size_t k = 0; k < i; k++) {
        struct keytrustee_server *told = &full->servers[k];
        told->is_active = told->problem[0] == '\0' && told->epoch == client->state.epoch &&
                          takes_changes(told->role);
        if (told->is_active && !told->learned)
            ktc_servers_active(client, k);
    }
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

static void take_certificate(struct keytrustee *client, struct full_status *full)
{
    struct keytrustee_status *status = &full->status;
    int64_t renew_us = 0, not_after_us = 0;

    status->certificate_not_after = full->not_after;
    if (ktc_certificate_times(client, &renew_us, &not_after_us, NULL) != 0)
        return;
    kt_time_format(not_after_us, full->not_after);
    status->certificate_days_left = (int)((not_after_us - kt_time_now()) / DAY_US);
    status->certificate_expires_soon = ktc_certificate_expires_soon(renew_us, not_after_us);
}

static void take_local(struct keytrustee *client, struct full_status *full)
{
    struct keytrustee_status *status = &full->status;
    struct kt_uuid *ids = calloc(KTC_PENDING_MAX, sizeof *ids);
    size_t pending = 0;

    snprintf(full->confdir, sizeof full->confdir, "%s", client->confdir);
    full->state = client->state;
    kt_incarnation_format(&full->state.incarnation, full->incarnation);
    if (ids != NULL && ktc_pending_list(client, ids, KTC_PENDING_MAX, &pending, NULL) != 0)
        pending = 0;
    free(ids);
    status->pending_puts = (uint32_t)pending;
    status->confdir = full->confdir;
    status->fingerprint = full->state.fingerprint;
    status->cluster = full->state.cluster;
    status->incarnation = full->incarnation;
    status->epoch = full->state.epoch;
}

static int get_status(struct keytrustee *client, struct full_status *full, struct kt_error *error)
{
    struct kt_error why = {0};
    struct ktc_call call = {.method = "GET", .path = "/v1/clients/self"};
    struct ktc_answer answer = {0};
    int rc = ktc_need_registration(client, error);

    if (rc != 0)
        return rc;
    ask_servers(client, full);
    ktc_begin(client);
    rc = ktc_call_json(client, &call, &answer, &full->self, error);
    if (rc == 0)
        rc = ktc_protocol(error, answer.server, take_self(full, error));
    if (rc == 0 && ktc_ca_learn(client, full->self, &why) != 0)
        ktc_warn(client, why.hint, "%s", why.message);
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
    int result = ktc_end(client, rc, &why, error); // it may renew the certificate
    if (rc == 0) {
        take_certificate(client, full);
        *status = &full->status;
    } else if (full != NULL) {
        keytrustee_status_free(&full->status);
    }
    return result;
}
