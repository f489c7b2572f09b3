// SPDX-License-Identifier: Apache-2.0
// The verbs that change something: checked for form here, decided by the writer.
#include <stdlib.h>
#include <string.h>

#include "kts/agent.h"
#include "lib/json.h"

#define USES_MAX       100000
#define LIFETIME_MAX_S (3650LL * 24 * 3600)
#define LOCK_DAYS_MAX  36500
#define ALL_RIGHTS     "deposit,browse,retrieve,delete"

// --- arguments ---

int kts_take_name(const json_t *args, const char *member, char out[KT_ORG_NAME_MAX + 1],
                  struct kt_error *error)
{
    const char *name = NULL;
    int rc = kt_json_string(args, member, 1, KT_ORG_NAME_MAX, &name, error);

    if (rc)
        return rc;
    if (kt_name_check(name, KT_ORG_NAME_MAX))
        return kt_error_set(error, KT_ERR_INVALID,
                            "a name begins with a letter and has up to 63 of a-z, 0-9 and -",
                            "'%s' is not a name for an organisation", name);
    memcpy(out, name, strlen(name) + 1);
    return 0;
}

int kts_take_uuid(const json_t *args, const char *member, int required, struct kt_uuid *out,
                  struct kt_error *error)
{
    const char *text = NULL;
    int rc = kt_json_string(args, member, required ? 1 : 0, KT_UUID_TEXT - 1, &text, error);

    if (rc || !text)
        return rc;
    if (kt_uuid_parse(text, out) || kt_uuid_is_nil(out))
        return kt_error_set(error, KT_ERR_INVALID, NULL, "%s: '%s' is not an id", member, text);
    return 0;
}

// A list with commas of known rights; the order is kept, repetitions are refused.
int kts_take_rights(const json_t *args, const char *fallback, char *out, size_t size,
                    struct kt_error *error)
{
    static const char *const KNOWN[] = {"deposit",  "browse", "retrieve", "delete",
                                        "undelete", "purge",  "lock",     "bypass"};
    const char *text = NULL;
    unsigned seen = 0;
    int rc = kt_json_string(args, "rights", fallback ? 0 : 1, size - 1, &text, error);

    if (rc)
        return rc;
    if (!text)
        text = fallback ? fallback : "";
    for (const char *at = text;; at++) {
        size_t n = strcspn(at, ","), i = 0;
        while (i < sizeof(KNOWN) / sizeof(KNOWN[0]) &&
               (strlen(KNOWN[i]) != n || memcmp(KNOWN[i], at, n) != 0))
            i++;
        if (i == sizeof(KNOWN) / sizeof(KNOWN[0]) || seen & 1u << i)
            return kt_error_set(error, KT_ERR_INVALID,
                                "rights are deposit, browse, retrieve, delete, undelete, purge, "
                                "lock, bypass, each once, with commas",
                                "'%.*s' is not a right, or given twice", (int)n, at);
        seen |= 1u << i;
        at += n;
        if (!*at)
            break;
    }
    memcpy(out, text, strlen(text) + 1);
    return 0;
}

// --- the verbs ---

static int run_org_add(struct kts_call *call, const json_t *args, json_t **result,
                       struct kt_error *error)
{
    static const char *const MEMBERS[] = {"name", "contacts", "needs_approval", NULL};
    struct kt_change change = {.kind = KT_CHANGE_ORG_ADD};
    const char *contacts = NULL;
    int rc = kt_json_only(args, MEMBERS, error);

    (void)result;
    if (rc == 0)
        rc = kts_take_name(args, "name", change.name, error);
    if (rc == 0)
        rc = kt_json_string(args, "contacts", 0, 4096, &contacts, error);
    change.needs_approval = kt_json_boolean(args, "needs_approval", 0);
    if (rc == 0 && contacts && contacts[0] && !(change.contacts = strdup(contacts)))
        rc = kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    if (rc == 0)
        rc = kts_agent_change(call, &change, NULL, error);
    kt_change_free(&change);
    return rc;
}

static int run_org_disable(struct kts_call *call, const json_t *args, json_t **result,
                           struct kt_error *error)
{
    static const char *const MEMBERS[] = {"name", "undo", NULL};
    struct kt_change change = {.kind = KT_CHANGE_ORG_DISABLE};
    int rc = kt_json_only(args, MEMBERS, error);

    (void)result;
    if (rc == 0)
        rc = kts_take_name(args, "name", change.name, error);
    change.undo = kt_json_boolean(args, "undo", 0);
    return rc ? rc : kts_agent_change(call, &change, NULL, error);
}

// "governance 30d", "compliance 7d", "none".
static int take_lock_default(const json_t *args, struct kt_change *change, struct kt_error *error)
{
    const char *text = NULL, *space;
    uint64_t days = 0;
    char number[8] = "";
    int rc = kt_json_string(args, "lock", 0, sizeof(change->lock_default) - 1, &text, error);

    if (rc || !text)
        return rc;
    space = strchr(text, ' ');
    if (space && strlen(space + 1) < sizeof(number) && strlen(space + 1) > 1 &&
        space[strlen(space) - 1] == 'd')
        memcpy(number, space + 1, strlen(space + 1) - 1);
    if (strcmp(text, "none") != 0 &&
        ((strncmp(text, "governance ", 11) != 0 && strncmp(text, "compliance ", 11) != 0) ||
         kt_u64_parse(number, 1, LOCK_DAYS_MAX, &days) != 0))
        return kt_error_set(error, KT_ERR_INVALID,
                            "give governance:DAYS, compliance:DAYS (1 to 36500) or none",
                            "'%s' is not a default lock", text);
    memcpy(change->lock_default, text, strlen(text) + 1);
    return 0;
}

static int run_org_set(struct kts_call *call, const json_t *args, json_t **result,
                       struct kt_error *error)
{
    static const char *const MEMBERS[] = {"name", "lock", "purge_delay_s", NULL};
    struct kt_change change = {.kind = KT_CHANGE_ORG_SET, .purge_delay_s = -1};
    int rc = kt_json_only(args, MEMBERS, error);

    (void)result;
    if (rc == 0)
        rc = kts_take_name(args, "name", change.name, error);
    if (rc == 0)
        rc = take_lock_default(args, &change, error);
    if (rc == 0)
        rc = kt_json_integer(args, "purge_delay_s", 0, LIFETIME_MAX_S, 0, &change.purge_delay_s,
                             error);
    if (rc == 0 && !change.lock_default[0] && change.purge_delay_s < 0)
        rc = kt_error_set(error, KT_ERR_INVALID, NULL, "nothing is to be set");
    return rc ? rc : kts_agent_change(call, &change, NULL, error);
}

static int run_clock_confirm(struct kts_call *call, const json_t *args, json_t **result,
                             struct kt_error *error)
{
    static const char *const MEMBERS[] = {NULL};
    struct kt_change change = {.kind = KT_CHANGE_CLOCK_CONFIRM};
    int rc = kt_json_only(args, MEMBERS, error);

    (void)result;
    return rc ? rc : kts_agent_change(call, &change, NULL, error);
}

static int make_code(struct kts_agent *agent, struct kt_change *change, struct kt_secret **text)
{
    char shown[KT_AUTHCODE_TEXT];
    struct kt_authcode code;
    int rc = kt_authcode_new(agent->ca_sha256, &code);

    if (rc == 0)
        rc = kt_authcode_hash(&code, change->code_hash);
    if (rc == 0) {
        memcpy(change->code_id, code.id, sizeof(change->code_id));
        memcpy(change->sha256, code.ca_sha256, sizeof(change->sha256));
        kt_authcode_format(&code, shown);
        rc = kt_secret_from_bytes(shown, strlen(shown), text);
    }
    kt_wipe(&code, sizeof(code));
    kt_wipe(shown, sizeof(shown));
    return rc;
}

static int run_authcode_new(struct kts_call *call, const json_t *args, json_t **result,
                            struct kt_error *error)
{
    static const char *const MEMBERS[] = {"organisation", "uses", "lifetime_s", "rights", NULL};
    struct kts_agent *agent = kts_call_agent(call);
    struct kt_change change = {.kind = KT_CHANGE_AUTHCODE_NEW};
    struct kt_secret *text = NULL;
    int64_t uses = 1;
    int rc = kt_json_only(args, MEMBERS, error);

    (void)result;
    change.lifetime_s =
        kt_settings_number(agent->start->settings, KT_SET_AUTH_CODE_LIFETIME) / 1000;
    if (rc == 0)
        rc = kts_take_name(args, "organisation", change.name, error);
    if (rc == 0)
        rc = kt_json_integer(args, "uses", 1, USES_MAX, 0, &uses, error);
    if (rc == 0)
        rc = kt_json_integer(args, "lifetime_s", 1, LIFETIME_MAX_S, 0, &change.lifetime_s, error);
    if (rc == 0)
        rc = kts_take_rights(args, ALL_RIGHTS, change.rights, sizeof(change.rights), error);
    if (rc)
        return rc;
    change.max_uses = (uint32_t)uses;
    rc = make_code(agent, &change, &text);
    if (rc)
        return kt_error_set(error, rc, NULL, "the auth code cannot be made");
    return kts_agent_change(call, &change, text, error);
}

static int run_authcode_revoke(struct kts_call *call, const json_t *args, json_t **result,
                               struct kt_error *error)
{
    static const char *const MEMBERS[] = {"id", NULL};
    struct kt_change change = {.kind = KT_CHANGE_AUTHCODE_REVOKE};
    const char *id = NULL;
    int rc = kt_json_only(args, MEMBERS, error);

    (void)result;
    if (rc == 0)
        rc = kt_json_string(args, "id", 1, sizeof(change.code_id) - 1, &id, error);
    if (rc == 0 && !kt_authcode_is_id(id))
        rc = kt_error_set(error, KT_ERR_INVALID, NULL, "that is not the id of an auth code");
    if (rc)
        return rc;
    memcpy(change.code_id, id, sizeof(change.code_id));
    return kts_agent_change(call, &change, NULL, error);
}

static int change_client(struct kts_call *call, enum kt_change_kind kind, const json_t *args,
                         struct kt_error *error)
{
    static const char *const MEMBERS[] = {"client_id", NULL};
    struct kt_change change = {.kind = kind};
    int rc = kt_json_only(args, MEMBERS, error);

    if (rc == 0)
        rc = kts_take_uuid(args, "client_id", 1, &change.client_id, error);
    return rc ? rc : kts_agent_change(call, &change, NULL, error);
}

static int run_client_approve(struct kts_call *call, const json_t *args, json_t **result,
                              struct kt_error *error)
{
    (void)result;
    return change_client(call, KT_CHANGE_CLIENT_APPROVE, args, error);
}

static int run_client_revoke(struct kts_call *call, const json_t *args, json_t **result,
                             struct kt_error *error)
{
    (void)result;
    return change_client(call, KT_CHANGE_CLIENT_REVOKE, args, error);
}

// What is granted on: own deposits, a prefix, or a key group.
int kts_take_object(const json_t *args, struct kt_change *change, struct kt_error *error)
{
    const char *object = NULL, *prefix = NULL;
    int rc = kt_json_string(args, "object", 1, sizeof(change->object) - 1, &object, error);

    if (rc == 0)
        rc = kt_json_string(args, "prefix", 0, KT_HANDLE_MAX, &prefix, error);
    if (rc == 0)
        rc = kts_take_uuid(args, "key_group", 0, &change->key_group, error);
    if (rc)
        return rc;
    int is_prefix = strcmp(object, "prefix") == 0, is_group = strcmp(object, "key_group") == 0;
    if ((!is_prefix && !is_group && strcmp(object, "own") != 0) || is_prefix != (prefix != NULL) ||
        is_group == kt_uuid_is_nil(&change->key_group))
        return kt_error_set(error, KT_ERR_INVALID, "give one of own, prefix and key_group",
                            "a grant needs one object");
    if (prefix && kt_handle_check(prefix))
        return kt_error_set(error, KT_ERR_HANDLE_INVALID, NULL, "'%s' cannot begin a handle",
                            prefix);
    memcpy(change->object, object, strlen(object) + 1);
    if (prefix)
        memcpy(change->handle, prefix, strlen(prefix) + 1);
    return 0;
}

static int run_grant_add(struct kts_call *call, const json_t *args, json_t **result,
                         struct kt_error *error)
{
    static const char *const MEMBERS[] = {"organisation", "client_id", "object", "prefix",
                                          "key_group",    "rights",    NULL};
    struct kt_change change = {.kind = KT_CHANGE_GRANT};
    int rc = kt_json_only(args, MEMBERS, error);

    (void)result;
    if (rc == 0)
        rc = kts_take_name(args, "organisation", change.name, error);
    if (rc == 0)
        rc = kts_take_uuid(args, "client_id", 0, &change.client_id, error);
    if (rc == 0)
        rc = kts_take_object(args, &change, error);
    if (rc == 0)
        rc = kts_take_rights(args, NULL, change.rights, sizeof(change.rights), error);
    return rc ? rc : kts_agent_change(call, &change, NULL, error);
}

static int run_grant_revoke(struct kts_call *call, const json_t *args, json_t **result,
                            struct kt_error *error)
{
    static const char *const MEMBERS[] = {"grant_id", NULL};
    struct kt_change change = {.kind = KT_CHANGE_GRANT_REVOKE};
    int rc = kt_json_only(args, MEMBERS, error);

    (void)result;
    if (rc == 0)
        rc = kts_take_uuid(args, "grant_id", 1, &change.grant_id, error);
    return rc ? rc : kts_agent_change(call, &change, NULL, error);
}

// The writer makes their records: it knows the outcome.
const struct kts_verb kts_change_verbs[] = {
    {"org.add", KTS_CALLER_LOCAL, 0, run_org_add, NULL, NULL},
    {"org.disable", KTS_CALLER_LOCAL, 0, run_org_disable, NULL, NULL},
    {"org.set", KTS_CALLER_LOCAL, 0, run_org_set, NULL, NULL},
    {"clock.confirm", KTS_CALLER_LOCAL, 0, run_clock_confirm, NULL, NULL},
    {"authcode.new", KTS_CALLER_LOCAL, 0, run_authcode_new, NULL, NULL},
    {"authcode.revoke", KTS_CALLER_LOCAL, 0, run_authcode_revoke, NULL, NULL},
    {"client.approve", KTS_CALLER_LOCAL, 0, run_client_approve, NULL, NULL},
    {"client.revoke", KTS_CALLER_LOCAL, 0, run_client_revoke, NULL, NULL},
    {"grant.add", KTS_CALLER_LOCAL, 0, run_grant_add, NULL, NULL},
    {"grant.revoke", KTS_CALLER_LOCAL, 0, run_grant_revoke, NULL, NULL},
    {NULL, 0, 0, NULL, NULL, NULL},
};
