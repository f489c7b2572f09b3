// SPDX-License-Identifier: Apache-2.0
// Whose certificates end soon: asked every few minutes, for status and metrics.
#include "kts/agent_endings.h"

#include "db/queries.h"
#include "lib/log.h"
#include "lib/pki.h"

#define LOOK_US  600000000LL // half a second with 100,000 clients, on a busy machine: not each look
#define AGAIN_US 60000000LL  // after one that failed
#define REST     1000        // and so many times as long as it took: the agent waits for the answer
#define DAY_US   (24LL * 3600 * 1000000)

// One agent a process.
static struct {
    json_t *listed; // of the database; NULL: not known
    int64_t receipt_not_after_us;
    int64_t next_us;
    int failed; // the last question: logged at the change only
} seen;

static uint32_t count_of(const char *whose)
{
    json_int_t n =
        json_integer_value(json_object_get(json_object_get(seen.listed, whose), "count"));

    return n > 0 && n < UINT32_MAX ? (uint32_t)n : 0;
}

static int64_t receipt_not_after(const struct kt_paths *paths)
{
    int64_t before_us, after_us = 0;
    X509 *cert = NULL;

    if (kt_pki_cert_load(paths->receipt_cert, &cert, NULL) ||
        kt_pki_cert_validity(cert, &before_us, &after_us))
        after_us = 0;
    X509_free(cert);
    return after_us;
}

void kts_agent_endings_look(struct kts_agent *agent)
{
    struct kts_status *status = agent->start->status;
    int64_t begun_us = kt_monotonic_now(), now_us, pause_us;
    struct kt_error why = {0};
    json_t *listed = NULL;
    int rc;

    if (begun_us < seen.next_us)
        return;
    rc = db_query_endings(kts_agent_database(agent), &listed, &why);
    if (rc && !seen.failed)
        kt_log_error(&why, "whose certificates end soon cannot be read");
    seen.failed = rc != 0;
    now_us = kt_monotonic_now();
    pause_us = rc ? AGAIN_US : LOOK_US;
    if (pause_us < REST * (now_us - begun_us))
        pause_us = REST * (now_us - begun_us);
    seen.next_us = now_us + pause_us;
    json_decref(seen.listed);
    seen.listed = rc ? NULL : listed;
    seen.receipt_not_after_us = receipt_not_after(agent->start->paths);
    atomic_store(&status->clients_ending, count_of("clients"));
    atomic_store(&status->operators_ending, count_of("operators"));
    atomic_store(&status->receipt_not_after_us, seen.receipt_not_after_us);
}

json_t *kts_agent_endings_json(void)
{
    int64_t until_us = seen.receipt_not_after_us;
    char text[KT_TIME_TEXT];

    kt_time_format(until_us, text);
    return json_pack("{s:o, s:O?, s:O?}", "receipt_key",
                     until_us ? json_pack("{s:I, s:s}", "days",
                                          (json_int_t)((until_us - kt_time_now()) / DAY_US),
                                          "not_after", text)
                              : json_null(),
                     "operators", json_object_get(seen.listed, "operators"), "clients",
                     json_object_get(seen.listed, "clients"));
}
