// SPDX-License-Identifier: Apache-2.0
// The agent's verbs that only read, and the look-up of all.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kts/agent_audit.h"
#include "kts/agent_backup.h"
#include "kts/agent_job.h"
#include "kts/agent_listed.h"
#include "lib/json.h"
#include "lib/version.h"

#define DAY_US (24LL * 3600 * 1000000)

static int run_ping(struct kts_call *call, const json_t *args, json_t **result,
                    struct kt_error *error)
{
    (void)call;
    (void)args;
    (void)error;
    *result = json_pack("{s:s}", "version", KT_VERSION);
    return 0;
}

static void set_text(json_t *object, const char *name, const char *text)
{
    json_object_set_new(object, name, json_string(text));
}

static void set_number(json_t *object, const char *name, uint64_t number)
{
    json_object_set_new(object, name, json_integer((json_int_t)number));
}

static void put_epoch(struct kts_status *status, json_t *object)
{
    struct kt_incarnation incarnation = {atomic_load(&status->incarnation),
                                         atomic_load(&status->incarnation_bits)};
    char text[KT_INCARNATION_TEXT];

    set_text(object, "role", kts_role_name((enum kts_role)atomic_load(&status->role)));
    if (incarnation.number == 0)
        return; // the database was not seen yet
    kt_incarnation_format(&incarnation, text);
    set_text(object, "incarnation", text);
    set_number(object, "epoch", atomic_load(&status->epoch));
    set_number(object, "members", atomic_load(&status->members));
    set_number(object, "w", atomic_load(&status->w));
}

static void put_writer(struct kts_status *status, json_t *object)
{
    int64_t last = atomic_load(&status->last_commit_us);
    char text[KT_TIME_TEXT];

    set_text(object, "writer", atomic_load(&status->writer_open) ? "open" : "closed");
    set_number(object, "in_doubt", kts_status_in_doubt(status));
    set_number(object, "log_index", atomic_load(&status->log_index));
    kt_time_format(last, text);
    json_object_set_new(object, "last_commit", last ? json_string(text) : json_null());
}

static json_t *database_state(const struct kts_agent *agent)
{
    const struct kts_start *start = agent->start;

    return json_pack("{s:s, s:I}", "state",
                     atomic_load(&start->status->database_up) ? "up" : "down", "port",
                     (json_int_t)kt_settings_number(start->settings, KT_SET_DATABASE_PORT));
}

static json_t *certificates(const struct kts_agent *agent)
{
    int64_t server = atomic_load(&agent->start->status->server_certificate_not_after_us);
    int64_t now = kt_time_now();

    return json_pack("{s:I, s:I}", "ca_days", (json_int_t)((agent->ca_not_after_us - now) / DAY_US),
                     "server_days", (json_int_t)((server - now) / DAY_US));
}

static int run_status(struct kts_call *call, const json_t *args, json_t **result,
                      struct kt_error *error)
{
    struct kts_agent *agent = kts_call_agent(call);
    const struct kts_start *start = agent->start;
    struct kts_status *status = start->status;
    char cluster_id[KT_UUID_TEXT], problem[256];
    json_t *object = json_object();

    (void)args;
    (void)error;
    kt_uuid_format(&start->info->cluster_id, cluster_id);
    set_text(object, "node", start->info->node);
    set_text(object, "cluster", cluster_id);
    put_epoch(status, object);
    put_writer(status, object);
    set_text(object, "audit", atomic_load(&status->audit_open) ? "open" : "closed");
    kts_status_get_text(&start->audit_page->problem, problem);
    if (problem[0])
        set_text(object, "audit_problem", problem);
    set_number(object, "audit_seq", atomic_load(&start->audit_page->seq));
    json_object_set_new(object, "database", database_state(agent));
    set_number(object, "connections", kts_status_connections(status));
    set_number(object, "requests", atomic_load(&status->requests));
    set_number(object, "retrievals", atomic_load(&status->retrievals));
    json_object_set_new(object, "certificates", certificates(agent));
    json_object_set_new(object, "backup", kts_agent_backup_json(agent));
    set_text(object, "fingerprint", start->info->openpgp_fingerprint);
    set_text(object, "version", KT_VERSION);
    set_number(object, "pid", (uint64_t)getppid());
    *result = object;
    return 0;
}

// --- lists ---

static int run_org_list(struct kts_call *call, const json_t *args, json_t **result,
                        struct kt_error *error)
{
    (void)args;
    return db_query_organisations(kts_agent_database(kts_call_agent(call)), result, error);
}

static int run_clock_show(struct kts_call *call, const json_t *args, json_t **result,
                          struct kt_error *error)
{
    (void)args;
    return db_query_clock(kts_agent_database(kts_call_agent(call)), result, error);
}

static int run_client_list(struct kts_call *call, const json_t *args, json_t **result,
                           struct kt_error *error)
{
    static const char *const MEMBERS[] = {"organisation", "state", NULL};
    const char *organisation = NULL, *state = NULL;
    int rc = kt_json_only(args, MEMBERS, error);

    if (rc == 0)
        rc = kt_json_string(args, "organisation", 0, KT_ORG_NAME_MAX, &organisation, error);
    if (rc == 0)
        rc = kt_json_string(args, "state", 0, 16, &state, error);
    return rc ? rc
              : db_query_clients(kts_agent_database(kts_call_agent(call)), organisation, state,
                                 result, error);
}

static int run_authcode_list(struct kts_call *call, const json_t *args, json_t **result,
                             struct kt_error *error)
{
    static const char *const MEMBERS[] = {"organisation", "ended", NULL};
    const char *organisation = NULL;
    int rc = kt_json_only(args, MEMBERS, error);

    if (rc == 0)
        rc = kt_json_string(args, "organisation", 0, KT_ORG_NAME_MAX, &organisation, error);
    return rc ? rc
              : db_query_auth_codes(kts_agent_database(kts_call_agent(call)), organisation,
                                    json_is_true(json_object_get(args, "ended")), result, error);
}

static int run_grant_list(struct kts_call *call, const json_t *args, json_t **result,
                          struct kt_error *error)
{
    static const char *const MEMBERS[] = {"organisation", "client_id", NULL};
    const char *organisation = NULL, *client = NULL;
    int rc = kt_json_only(args, MEMBERS, error);

    if (rc == 0)
        rc = kt_json_string(args, "organisation", 0, KT_ORG_NAME_MAX, &organisation, error);
    if (rc == 0)
        rc = kt_json_string(args, "client_id", 0, KT_UUID_TEXT - 1, &client, error);
    return rc ? rc
              : db_query_grants(kts_agent_database(kts_call_agent(call)), organisation, client,
                                result, error);
}

// --- the database ---

static int run_db_status(struct kts_call *call, const json_t *args, json_t **result,
                         struct kt_error *error)
{
    (void)args;
    (void)error;
    *result = database_state(kts_call_agent(call));
    return 0;
}

// To add a verb: a row here, or in another of TABLES, and a function.
static const struct kts_verb READS[] = {
    {"ping", KTS_CALLER_LOCAL, 0, run_ping, NULL, NULL},
    {"status", KTS_CALLER_LOCAL, 0, run_status, NULL, NULL},
    {"org.list", KTS_CALLER_LOCAL, 0, run_org_list, NULL, NULL},
    {"clock.show", KTS_CALLER_LOCAL, 0, run_clock_show, NULL, NULL},
    {"authcode.list", KTS_CALLER_LOCAL, 0, run_authcode_list, NULL, NULL},
    {"client.list", KTS_CALLER_LOCAL, 0, run_client_list, NULL, NULL},
    {"grant.list", KTS_CALLER_LOCAL, 0, run_grant_list, NULL, NULL},
    {"db.status", KTS_CALLER_LOCAL, 0, run_db_status, NULL, NULL},
    {NULL, 0, 0, NULL, NULL, NULL},
};

static const struct kts_verb *const TABLES[] = {READS,
                                                kts_change_verbs,
                                                kts_cluster_verbs,
                                                kts_peers_verbs,
                                                kts_token_verbs,
                                                kts_join_verbs,
                                                kts_operator_verbs,
                                                kts_cert_verbs,
                                                kts_ca_verbs,
                                                kts_ca_end_verbs,
                                                kts_rights_verbs,
                                                kts_audit_verbs,
                                                kts_receipt_verbs,
                                                kts_cluster_key_verbs};

void kts_verbs_walk(void (*each)(const struct kts_verb *verb, void *arg), void *arg)
{
    for (size_t t = 0; t < sizeof(TABLES) / sizeof(TABLES[0]); t++) {
        for (const struct kts_verb *verb = TABLES[t]; verb->name; verb++)
            each(verb, arg);
    }
}

struct search {
    const char *name;
    const struct kts_verb *found;
};

static void compare(const struct kts_verb *verb, void *arg)
{
    struct search *search = arg;

    if (!search->found && strcmp(verb->name, search->name) == 0)
        search->found = verb;
}

const struct kts_verb *kts_verb_find(const char *name)
{
    struct search search = {.name = name};

    kts_verbs_walk(compare, &search);
    return search.found;
}

int kts_verb_check(const struct kts_verb *verb, enum kts_asker caller, struct kt_error *error)
{
    if (verb && (verb->callers & (unsigned)caller))
        return 0;
    // A stranger does not learn which verbs there are.
    if (caller == KTS_CALLER_TOKEN)
        return kt_error_set(error, KT_ERR_NOT_MEMBER, NULL, "a join token serves for joining only");
    if (caller == KTS_CALLER_REMOVED)
        return kt_error_set(error, KT_ERR_NOT_MEMBER,
                            "to make it a node again: wipe it, then ktadmin join",
                            "the node that asks was removed from the cluster");
    if (!verb)
        return kt_error_set(error, KT_ERR_ROUTE_UNKNOWN,
                            "check that both sides have the same version", "there is no such verb");
    return kt_error_set(error, KT_ERR_NOT_MEMBER, "give the command on the node itself",
                        "the verb '%s' is not for this caller", verb->name);
}

void kts_verb_record(struct kts_call *call, const char *event, json_t *more)
{
    json_t *record = json_pack("{s:s, s:s, s:s}", "event", event, "result", "allowed", "operator",
                               kts_call_actor(call));

    if (record && more)
        json_object_update(record, more);
    json_decref(more);
    kts_agent_audit(kts_call_agent(call), record);
}

// What lets somebody in is not done in the dark.
static int check_audit(const struct kts_call *call, const struct kts_verb *verb,
                       struct kt_error *error)
{
    int closed = (verb->flags & KTS_VERB_CLOSED) &&
                 !atomic_load(&kts_call_agent(call)->start->status->audit_open);

    return closed ? kt_error_set(error, KT_ERR_AUDIT_UNAVAILABLE, NULL, "%s",
                                 kt_err_text(KT_ERR_AUDIT_UNAVAILABLE))
                  : 0;
}

static int run(struct kts_call *call, const struct kts_verb *verb, const json_t *args,
               json_t **result, struct kt_error *error)
{
    int rc = kts_verb_check(verb, kts_call_caller(call), error);

    if (rc == 0)
        rc = check_audit(call, verb, error);
    if (rc == 0 && (verb->flags & KTS_VERB_LISTED))
        rc = kts_listed_check(call, error);
    if (rc)
        return rc;
    if (verb->event && !(verb->flags & KTS_VERB_RECORDS))
        kts_verb_record(call, verb->event, NULL);
    return verb->job ? kts_job_start(call, verb->name, verb->job, verb->flags, args, error)
                     : verb->run(call, args, result, error);
}

void kts_verb_run(struct kts_call *call, const char *name, const json_t *args)
{
    json_t *result = NULL, *none = json_object();
    struct kt_error error = {0};
    int rc;

    if (args && !json_is_object(args) && !json_is_null(args))
        rc = kt_error_set(&error, KT_ERR_BAD_REQUEST, NULL, "args must be an object");
    else
        rc = run(call, kts_verb_find(name), json_is_object(args) ? args : none, &result, &error);
    json_decref(none);
    if (rc == KT_ERR_AGAIN)
        return;
    if (rc == 0 && !result)
        rc = kt_error_set(&error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    if (rc && !error.code)
        kt_error_set(&error, rc, NULL, "%s", kt_err_text(rc));
    if (rc)
        kts_call_fail(call, &error);
    else
        kts_call_succeed(call, result);
}
