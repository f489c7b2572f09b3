// SPDX-License-Identifier: Apache-2.0
// The release policy of a deposit: compared with the stored one, checked, and written.
#include "db/policy.h"

#include <stdio.h>
#include <string.h>

#include "lib/release.h"

void db_policy_trustees(const struct kt_change *change, struct db_params *params)
{
    db_param_bytes(params, change->policy.trustees,
                   change->policy.trustee_count * sizeof(change->policy.trustees[0]));
}

static int take_trustees(const char *text, struct kt_release_policy *policy)
{
    char one[KT_UUID_TEXT];

    for (; *text && policy->trustee_count < KT_TRUSTEES_MAX; text += KT_UUID_TEXT - 1) {
        snprintf(one, sizeof(one), "%s", text);
        if (kt_uuid_parse(one, &policy->trustees[policy->trustee_count]) != 0)
            return KT_ERR_DATABASE;
        policy->trustee_count++;
    }
    return *text ? KT_ERR_DATABASE : 0;
}

int db_policy_is_same(const struct kt_change *change, const PGresult *result, int first)
{
    struct kt_release_policy policy = {0};

    if (!db_column_is_null(result, first + 4)) { // there is one
        policy.not_before_us = (int64_t)db_column_number(result, first);
        policy.not_after_us = (int64_t)db_column_number(result, first + 1);
        policy.max_retrievals = (uint32_t)db_column_number(result, first + 2);
        policy.justification = (uint8_t)db_column_true(result, first + 3);
        policy.votes = (uint32_t)db_column_number(result, first + 4);
        policy.request_lifetime_s = (int64_t)db_column_number(result, first + 5);
        if (take_trustees(db_column_text(result, first + 6), &policy) != 0)
            return 0;
    }
    return kt_release_policy_equal(&policy, &change->policy);
}

// What could never be released, or by nobody, is a mistake.
int db_policy_check(struct db_member *member, const PGresult *result, int first)
{
    const struct kt_release_policy *policy = &member->change->policy;
    struct kt_error why = {0};

    if (kt_release_policy_check(policy, &why) != 0)
        return db_refuse(member, KT_ERR_BAD_REQUEST, why.message);
    if (policy->not_after_us != 0 && policy->not_after_us <= member->now_us)
        return db_refuse(member, KT_ERR_BAD_REQUEST, "release policy: its end is over already");
    if (db_column_number(result, first + 7) != policy->trustee_count)
        return db_refuse(member, KT_ERR_CLIENT_NOT_FOUND,
                         "a trustee is no active client of the organisation");
    return 0;
}

static void number_or_null(struct db_params *params, uint64_t number)
{
    if (number)
        db_param_number(params, number);
    else
        db_param_text(params, NULL);
}

static void time_or_null(struct db_params *params, int64_t us)
{
    if (us)
        db_param_time(params, us);
    else
        db_param_text(params, NULL);
}

void db_policy_params(const struct kt_change *change, struct db_params *params)
{
    const struct kt_release_policy *policy = &change->policy;
    int64_t lifetime = policy->request_lifetime_s;

    db_param_boolean(params, kt_release_policy_is_set(policy));
    time_or_null(params, policy->not_before_us);
    time_or_null(params, policy->not_after_us);
    number_or_null(params, policy->max_retrievals);
    db_param_boolean(params, policy->justification);
    db_param_number(params, policy->votes);
    db_policy_trustees(change, params);
    // stands for nothing without votes
    db_param_number(params, (uint64_t)(lifetime ? lifetime : KT_REQUEST_LIFETIME_DEFAULT_S));
}
