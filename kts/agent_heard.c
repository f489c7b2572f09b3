// SPDX-License-Identifier: Apache-2.0
// How old what a passive shows is.
#include "kts/agent_heard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/encode.h"
#include "lib/epoch.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/paths.h"

#define FILE_NAME  "heard"
#define FIRST_LINE "keytrustee-heard 1\nas-of "
#define FILE_MAX   256
// Older than any passive_max_silence: what is not known to be newer is served by none that has one.
#define UNKNOWN_AGE_US (100LL * 365 * 24 * 3600 * 1000000)

static int parse(const char *text, int64_t *time_us)
{
    char time[KT_TIME_TEXT] = "";
    size_t skip = strlen(FIRST_LINE), n;

    if (strncmp(text, FIRST_LINE, skip) != 0)
        return KT_ERR_INVALID;
    n = strcspn(text + skip, "\n");
    if (n >= sizeof(time) || strcmp(text + skip + n, "\n") != 0)
        return KT_ERR_INVALID;
    memcpy(time, text + skip, n);
    return kt_time_parse(time, time_us);
}

void kts_heard_load(const char *node, struct kts_heard *heard)
{
    int64_t time_us = 0, age_us = 0;
    struct kt_error why = {0};
    char path[KT_PATH_MAX];
    char *text = NULL;
    int rc = kt_path_join(path, sizeof(path), node, FILE_NAME);

    if (rc == 0)
        rc = kt_file_read_text(path, FILE_MAX, &text, &why);
    if (rc == 0 && (rc = parse(text, &time_us)) != 0)
        kt_error_set(&why, rc, NULL, "'%s' is damaged", path);
    if (rc == 0)
        age_us = kt_time_now() - time_us;
    if (age_us < 0)
        rc = kt_error_set(&why, KT_ERR_INVALID, "check the clock of this machine",
                          "the time in '%s' has not come yet", path);
    if (rc && rc != KT_ERR_NOT_FOUND) {
        kt_log_error(&why, "how old this node's data is is not known until it hears its active");
        age_us = UNKNOWN_AGE_US;
    }
    free(text);
    *heard = (struct kts_heard){.as_of_us = kt_monotonic_now() - age_us};
    heard->saved_us = heard->as_of_us;
}

static void advance(struct kts_heard *heard, int64_t to_us)
{
    if (to_us > heard->as_of_us)
        heard->as_of_us = to_us;
}

void kts_heard_answer(const json_t *state, int64_t question_us, struct kts_heard_facts *facts)
{
    const char *role = json_string_value(json_object_get(state, "role"));
    const char *database = json_string_value(json_object_get(state, "database"));
    const char *text = json_string_value(json_object_get(state, "lsn"));
    const json_t *age = json_object_get(state, "lsn_age_ms");
    uint64_t lsn = 0;

    facts->asked_us = 0;
    facts->end_lsn = 0;
    if (!role || (strcmp(role, "active") != 0 && strcmp(role, "standalone") != 0) || !database ||
        strcmp(database, "up") != 0 || !text || kt_lsn_parse(text, &lsn) != 0 || lsn == 0 ||
        !json_is_integer(age) || json_integer_value(age) < 0 ||
        json_integer_value(age) >= question_us / 1000)
        return;
    facts->asked_us = question_us - json_integer_value(age) * 1000;
    facts->end_lsn = lsn;
}

void kts_heard_look(struct kts_heard *heard, const struct kts_heard_facts *facts, int64_t now_us)
{
    if (facts->leads && facts->has_quorum) { // alone it may have been replaced
        advance(heard, now_us);
        return;
    }
    if (!facts->follows || facts->end_lsn == 0 || facts->asked_us == 0 ||
        facts->asked_us > now_us) { // a time that has not come says nothing
        heard->streak_us = 0;
        heard->mark_lsn = 0;
        return;
    }
    if (heard->streak_us == 0)
        heard->streak_us = now_us;
    // What was asked before it streamed says nothing of what it streams.
    if (facts->asked_us <= heard->streak_us)
        return;
    if (heard->mark_lsn && facts->replayed_lsn >= heard->mark_lsn) {
        advance(heard, heard->mark_us);
        heard->mark_lsn = 0;
    }
    if (heard->mark_lsn == 0) {
        heard->mark_lsn = facts->end_lsn;
        heard->mark_us = facts->asked_us;
    }
    if (facts->replayed_lsn >= heard->mark_lsn)
        advance(heard, heard->mark_us);
}

void kts_heard_save(struct kts_heard *heard, const char *node, int64_t step_us)
{
    int64_t age_us = kt_monotonic_now() - heard->as_of_us;
    char text[FILE_MAX], time[KT_TIME_TEXT], path[KT_PATH_MAX];
    struct kt_error why = {0};

    if (heard->as_of_us < heard->saved_us + step_us)
        return;
    heard->saved_us = heard->as_of_us;
    kt_time_format(kt_time_now() - age_us, time);
    snprintf(text, sizeof(text), FIRST_LINE "%s\n", time);
    if (kt_path_join(path, sizeof(path), node, FILE_NAME) ||
        kt_file_replace(path, text, strlen(text), 0600, &why))
        kt_log_error(&why, "how old this node's data is cannot be written");
}
