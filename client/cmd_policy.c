// SPDX-License-Identifier: Apache-2.0
// Release policies on the command line: the options of put, and what info shows.
#include <stdio.h>
#include <string.h>

#include "client/cmd.h"
#include "lib/encode.h"

#define DAY_S       86400
#define SPAN_MAX_S  (100 * 366 * (uint64_t)DAY_S)
#define NUMBER_TEXT 12

// "90", "30s", "15min", "12h", "7d".
static int parse_span(const char *text, uint64_t *seconds)
{
    static const struct {
        const char *unit;
        uint64_t s;
    } UNITS[] = {{"", 1}, {"s", 1}, {"min", 60}, {"h", 3600}, {"d", DAY_S}};
    size_t digits = strspn(text, "0123456789");
    char number[NUMBER_TEXT];

    if (digits == 0 || digits >= sizeof number)
        return KT_ERR_INVALID;
    snprintf(number, sizeof number, "%.*s", (int)digits, text);
    for (size_t i = 0; i < sizeof UNITS / sizeof UNITS[0]; i++) {
        uint64_t count = 0;
        if (strcmp(text + digits, UNITS[i].unit) != 0)
            continue;
        if (kt_u64_parse(number, 1, SPAN_MAX_S / UNITS[i].s, &count) != 0)
            return KT_ERR_INVALID;
        *seconds = count * UNITS[i].s;
        return 0;
    }
    return KT_ERR_INVALID;
}

// A day (its beginning in UTC), a time in UTC, or so long from now: "+7d".
static int take_time(const struct kt_cli_run *run, const char *name, char out[KT_TIME_TEXT],
                     const char **where)
{
    const char *text = kt_cli_value(run, name);
    uint64_t seconds = 0;
    int64_t us = 0;
    int rc = KT_ERR_INVALID;

    if (text == NULL)
        return 0;
    if (text[0] == '+') {
        rc = parse_span(text + 1, &seconds);
        us = kt_time_now() + (int64_t)seconds * 1000000;
    } else if (strlen(text) == strlen("2026-11-22")) {
        snprintf(out, KT_TIME_TEXT, "%sT00:00:00.000000Z", text);
        rc = kt_time_parse(out, &us);
    } else if (strlen(text) == strlen("2026-11-22T06:11:43Z") && text[19] == 'Z') {
        snprintf(out, KT_TIME_TEXT, "%.19s.000000Z", text);
        rc = kt_time_parse(out, &us);
    } else {
        rc = kt_time_parse(text, &us);
    }
    if (rc != 0)
        return ktc_cmd_say(run, KT_ERR_USAGE, NULL,
                           "--%s takes a day (2027-01-31), a time in UTC (2027-01-31T08:00:00Z) or "
                           "a span from now (+7d)",
                           name);
    kt_time_format(us, out);
    *where = out;
    return 0;
}

static int take_lifetime(const struct kt_cli_run *run, struct keytrustee_policy *policy)
{
    const char *text = kt_cli_value(run, "request-lifetime");
    uint64_t seconds = 0;

    if (text == NULL)
        return 0;
    if (parse_span(text, &seconds) != 0 || seconds > UINT32_MAX)
        return ktc_cmd_say(run, KT_ERR_USAGE, NULL,
                           "--request-lifetime takes seconds or a span: 3600, 15min, 12h, 7d");
    policy->request_lifetime = (uint32_t)seconds;
    return 0;
}

int ktc_cmd_policy(const struct kt_cli_run *run, struct ktc_cmd_policy *room)
{
    struct keytrustee_policy *policy = &room->policy;
    const int most = (int)(sizeof room->trustees / sizeof room->trustees[0]) - 1;
    uint64_t retrievals = 0, votes = 0;
    int count = kt_cli_count(run, "trustee"), rc = 0;

    memset(room, 0, sizeof *room);
    policy->size = sizeof *policy;
    rc = take_time(run, "not-before", room->not_before, &policy->not_before);
    if (rc == 0)
        rc = take_time(run, "not-after", room->not_after, &policy->not_after);
    if (rc == 0)
        rc = ktc_cmd_number(run, "max-retrievals", INT32_MAX, &retrievals);
    if (rc == 0)
        rc = ktc_cmd_number(run, "votes", (uint64_t)most, &votes);
    if (rc == 0)
        rc = take_lifetime(run, policy);
    if (rc == 0 && count > most)
        rc = ktc_cmd_say(run, KT_ERR_USAGE, NULL, "at most %d trustees", most);
    if (rc != 0)
        return rc;
    for (int i = 0; i < count; i++)
        room->trustees[i] = kt_cli_nth(run, "trustee", i);
    policy->trustees = count > 0 ? room->trustees : NULL;
    policy->max_retrievals = (uint32_t)retrievals;
    policy->votes = (uint32_t)votes;
    policy->justification = kt_cli_flag(run, "justification");
    room->given = policy->not_before || policy->not_after || retrievals > 0 || votes > 0 ||
                  count > 0 || policy->justification || policy->request_lifetime > 0;
    return 0;
}

void ktc_cmd_print_release(const struct keytrustee_release *release)
{
    if (release->not_before[0] != '\0')
        printf("not before   %s\n", release->not_before);
    if (release->not_after[0] != '\0')
        printf("not after    %s\n", release->not_after);
    if (release->max_retrievals > 0)
        printf("retrievals   %u of %u\n", (unsigned)release->retrievals,
               (unsigned)release->max_retrievals);
    if (release->justification)
        printf("wants        a justification\n");
    if (release->votes == 0)
        return;
    printf("wants        %u of %zu trustees, who have %u s\n", (unsigned)release->votes,
           release->trustee_count, (unsigned)release->request_lifetime);
    for (size_t i = 0; i < release->trustee_count; i++)
        printf("trustee      %s\n", release->trustees[i]);
}

json_t *ktc_cmd_release_json(const struct keytrustee_release *release)
{
    json_t *trustees = json_array();

    for (size_t i = 0; i < release->trustee_count; i++)
        if (json_array_append_new(trustees, json_string(release->trustees[i])) != 0) {
            json_decref(trustees);
            return NULL;
        }
    return json_pack("{s:s, s:s, s:I, s:I, s:b, s:I, s:o, s:I}", "not_before", release->not_before,
                     "not_after", release->not_after, "max_retrievals",
                     (json_int_t)release->max_retrievals, "retrievals",
                     (json_int_t)release->retrievals, "justification", release->justification,
                     "votes", (json_int_t)release->votes, "trustees", trustees, "request_lifetime",
                     (json_int_t)release->request_lifetime);
}
