// SPDX-License-Identifier: Apache-2.0
// The verbs of key groups and recovery keys, and those that say what grants amount to.
#include <stdlib.h>
#include <string.h>

#include "db/rights.h"
#include "kts/agent_cluster_key.h"
#include "lib/json.h"

// --- key groups ---

static int run_group_add(struct kts_call *call, const json_t *args, json_t **result,
                         struct kt_error *error)
{
    static const char *const MEMBERS[] = {"organisation", "name", NULL};
    struct kt_change change = {.kind = KT_CHANGE_KEY_GROUP_ADD};
    const char *label = NULL;
    struct kt_uuid uuid;
    int rc = kt_json_only(args, MEMBERS, error);

    (void)result;
    if (rc == 0)
        rc = kts_take_name(args, "organisation", change.name, error);
    if (rc == 0)
        rc = kt_json_string(args, "name", 0, KT_ORG_NAME_MAX, &label, error);
    if (rc)
        return rc;
    // What reads as an id would never be found by its name.
    if (label && (kt_name_check(label, KT_ORG_NAME_MAX) || kt_uuid_parse(label, &uuid) == 0))
        return kt_error_set(error, KT_ERR_INVALID,
                            "a name begins with a letter and has up to 63 of a-z, 0-9 and -",
                            "'%s' is not a name for a key group", label);
    if (label)
        memcpy(change.label, label, strlen(label) + 1);
    return kts_agent_change(call, &change, NULL, error);
}

static int take_organisation(const json_t *args, const char **organisation, struct kt_error *error)
{
    static const char *const MEMBERS[] = {"organisation", NULL};
    int rc = kt_json_only(args, MEMBERS, error);

    *organisation = NULL;
    return rc ? rc : kt_json_string(args, "organisation", 0, KT_ORG_NAME_MAX, organisation, error);
}

static int run_group_list(struct kts_call *call, const json_t *args, json_t **result,
                          struct kt_error *error)
{
    const char *organisation;
    int rc = take_organisation(args, &organisation, error);

    return rc ? rc
              : db_query_key_groups(kts_agent_database(kts_call_agent(call)), organisation, result,
                                    error);
}

// --- recovery keys ---

static int take_fingerprint(const json_t *args, struct kt_change *change, struct kt_error *error)
{
    const char *text = NULL;
    uint8_t bytes[KT_OPENPGP_FINGERPRINT_LEN];
    int rc = kt_json_string(args, "fingerprint", 1, sizeof(change->fingerprint) - 1, &text, error);

    if (rc)
        return rc;
    if (kt_hex_decode(text, bytes, sizeof(bytes)))
        return kt_error_set(error, KT_ERR_INVALID, NULL, "'%s' is not a fingerprint", text);
    for (size_t i = 0; i < sizeof(change->fingerprint); i++)
        change->fingerprint[i] = text[i] >= 'a' && text[i] <= 'f' ? (char)(text[i] - 32) : text[i];
    return 0;
}

static int take_bytes(const json_t *args, struct kt_change *change, struct kt_error *error)
{
    const char *text = NULL;
    size_t n;
    int rc = kt_json_string(args, "openpgp", 1, (KT_OPENPGP_KEY_MAX + 2) / 3 * 4, &text, error);

    if (rc)
        return rc;
    n = strlen(text);
    change->openpgp = malloc(n + 1);
    if (!change->openpgp)
        return kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    if (kt_base64_decode(text, strlen(text), change->openpgp, &n) || n > KT_OPENPGP_KEY_MAX)
        return kt_error_set(error, KT_ERR_INVALID, NULL,
                            "openpgp: not base64, or more than %d bytes", KT_OPENPGP_KEY_MAX);
    change->openpgp_len = n;
    return 0;
}

// What the cluster itself could open is no deposit, whoever asks for it.
static int check_key(const struct kts_agent *agent, struct kt_change *change,
                     struct kt_error *error)
{
    struct kt_openpgp_key key;
    char hex[KT_OPENPGP_FINGERPRINT_TEXT];
    int rc = kt_openpgp_read_key(change->openpgp, change->openpgp_len, &key, error);

    if (rc)
        return rc;
    kt_hex_encode(key.fingerprint, sizeof(key.fingerprint), hex);
    for (size_t i = 0; i < sizeof(hex); i++)
        change->fingerprint[i] = hex[i] >= 'a' && hex[i] <= 'f' ? (char)(hex[i] - 32) : hex[i];
    if (kts_cluster_key_is_own(agent, change->fingerprint))
        return kt_error_set(error, KT_ERR_ENCRYPTED_TO_CLUSTER,
                            "take a key whose private half is on no server",
                            "a key of the cluster's own cannot be a recovery key");
    if (key.encryption_count == 0)
        return kt_error_set(error, KT_ERR_OPENPGP_KEY_INVALID,
                            "add a subkey for encryption, and export it again",
                            "the key has no part that encrypts");
    change->recipient_count = (uint32_t)key.encryption_count;
    memcpy(change->recipients, key.encryption_ids, sizeof(key.encryption_ids));
    return 0;
}

static int run_recovery_add(struct kts_call *call, const json_t *args, json_t **result,
                            struct kt_error *error)
{
    static const char *const MEMBERS[] = {"organisation", "openpgp", NULL};
    struct kt_change change = {.kind = KT_CHANGE_RECOVERY_ADD};
    int rc = kt_json_only(args, MEMBERS, error);

    (void)result;
    if (rc == 0)
        rc = kts_take_name(args, "organisation", change.name, error);
    if (rc == 0)
        rc = take_bytes(args, &change, error);
    if (rc == 0)
        rc = check_key(kts_call_agent(call), &change, error);
    if (rc == 0)
        rc = kts_agent_change(call, &change, NULL, error);
    kt_change_free(&change);
    return rc;
}

static int run_recovery_retire(struct kts_call *call, const json_t *args, json_t **result,
                               struct kt_error *error)
{
    static const char *const MEMBERS[] = {"organisation", "fingerprint", NULL};
    struct kt_change change = {.kind = KT_CHANGE_RECOVERY_RETIRE};
    int rc = kt_json_only(args, MEMBERS, error);

    (void)result;
    if (rc == 0)
        rc = kts_take_name(args, "organisation", change.name, error);
    if (rc == 0)
        rc = take_fingerprint(args, &change, error);
    return rc ? rc : kts_agent_change(call, &change, NULL, error);
}

static int run_recovery_list(struct kts_call *call, const json_t *args, json_t **result,
                             struct kt_error *error)
{
    const char *organisation;
    int rc = take_organisation(args, &organisation, error);

    return rc ? rc
              : db_query_recovery_keys(kts_agent_database(kts_call_agent(call)), organisation,
                                       result, error);
}

// --- what grants amount to: counted over all deposits, so in a process of its own ---

static int open_database(struct kts_job *job, struct kt_secret **secret,
                         struct db_session **session, struct kt_error *error)
{
    struct db_target target;
    int rc = db_target_load(job->start->paths, job->start->settings, DB_ROLE_AGENT, &target, secret,
                            error);

    return rc ? rc : db_session_new(&target, session);
}

static int job_preview(struct kts_job *job, const json_t *args, json_t **result,
                       struct kt_error *error)
{
    static const char *const MEMBERS[] = {"organisation", "client_id", "object",   "prefix",
                                          "key_group",    "rights",    "grant_id", NULL};
    struct kt_change change = {.kind = KT_CHANGE_GRANT};
    struct kt_secret *secret = NULL;
    struct db_session *session = NULL;
    int rc = kt_json_only(args, MEMBERS, error);

    if (rc == 0 && json_object_get(args, "grant_id"))
        rc = kts_take_uuid(args, "grant_id", 1, &change.grant_id, error);
    else if (rc == 0) {
        rc = kts_take_name(args, "organisation", change.name, error);
        if (rc == 0)
            rc = kts_take_uuid(args, "client_id", 0, &change.client_id, error);
        if (rc == 0)
            rc = kts_take_object(args, &change, error);
        if (rc == 0)
            rc = kts_take_rights(args, NULL, change.rights, sizeof(change.rights), error);
    }
    if (rc == 0)
        rc = open_database(job, &secret, &session, error);
    if (rc == 0)
        rc = db_rights_preview(session, &change, result, error);
    db_session_free(session);
    kt_secret_free(secret);
    return rc;
}

static int job_effective(struct kts_job *job, const json_t *args, json_t **result,
                         struct kt_error *error)
{
    static const char *const MEMBERS[] = {"client_id", "handle", NULL};
    struct kt_secret *secret = NULL;
    struct db_session *session = NULL;
    const char *handle = NULL;
    struct kt_uuid client;
    int rc = kt_json_only(args, MEMBERS, error);

    if (rc == 0)
        rc = kts_take_uuid(args, "client_id", 1, &client, error);
    if (rc == 0)
        rc = kt_json_string(args, "handle", 0, KT_HANDLE_MAX, &handle, error);
    if (rc == 0 && handle && kt_handle_check(handle))
        rc = kt_error_set(error, KT_ERR_HANDLE_INVALID, NULL, "'%s' is not a handle", handle);
    if (rc == 0)
        rc = open_database(job, &secret, &session, error);
    if (rc == 0)
        rc = db_rights_effective(session, &client, handle, result, error);
    db_session_free(session);
    kt_secret_free(secret);
    return rc;
}

// The writer makes the records of the changes: it knows the outcome.
const struct kts_verb kts_rights_verbs[] = {
    {"group.add", KTS_CALLER_LOCAL, 0, run_group_add, NULL, NULL},
    {"group.list", KTS_CALLER_LOCAL, 0, run_group_list, NULL, NULL},
    {"recovery.add", KTS_CALLER_LOCAL, 0, run_recovery_add, NULL, NULL},
    {"recovery.retire", KTS_CALLER_LOCAL, 0, run_recovery_retire, NULL, NULL},
    {"recovery.list", KTS_CALLER_LOCAL, 0, run_recovery_list, NULL, NULL},
    {"grant.preview", KTS_CALLER_LOCAL, 0, NULL, job_preview, NULL},
    {"grant.effective", KTS_CALLER_LOCAL, 0, NULL, job_effective, NULL},
    {NULL, 0, 0, NULL, NULL, NULL},
};
