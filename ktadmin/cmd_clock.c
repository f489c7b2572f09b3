// SPDX-License-Identifier: Apache-2.0
// clock show, clock confirm: the time by which locks end and purges are due.
#include <stdio.h>

#include "ktadmin/commands.h"

static void print(const json_t *clock)
{
    static const struct kta_column LINES[] = {
        {"clock", "now"},
        {"highest time seen", "highest"},
        {"long step to", "jumped_to"},
        {"confirmed", "confirmed_at"},
        {"by", "confirmed_by"},
        {"purges that wait", "purging"},
        {NULL, NULL},
    };
    char text[160];

    for (const struct kta_column *line = LINES; line->title; line++) {
        kta_text_of(clock, line->member, text, sizeof(text));
        printf("%-18s %s\n", line->title, text);
    }
}

static int run_show(struct kt_cli_run *run)
{
    json_t *clock = NULL;
    int rc = kta_ask(run, "clock.show", NULL, &clock);

    if (rc)
        return rc;
    if (kt_cli_flag(run, "json"))
        kta_print_json(clock);
    else
        print(clock);
    json_decref(clock);
    return KT_EXIT_OK;
}

static int run_confirm(struct kt_cli_run *run)
{
    char now[160], question[400];
    json_t *clock = NULL;
    int rc = kta_ask(run, "clock.show", NULL, &clock);

    if (rc)
        return rc;
    kta_text_of(clock, "now", now, sizeof(now));
    json_decref(clock);
    snprintf(question, sizeof(question),
             "This node's clock says %s. Is that right? Locks that are over by then end, and what "
             "is to be purged by then is erased for ever.",
             now);
    if (!kt_cli_confirm(run, question))
        return KT_EXIT_FAILURE;
    return kta_change(run, "clock.confirm", NULL, "Confirmed the time");
}

const struct kt_cli_command kta_cmd_clock_show = {
    .verb = "clock show",
    .arguments = "",
    .summary = "show the time by which locks end and purges are due",
    .run = run_show,
};
const struct kt_cli_command kta_cmd_clock_confirm = {
    .verb = "clock confirm",
    .arguments = "",
    .summary = "say that the clock is right after a long step",
    .help = "After a step of more than an hour forward (or as long without a node that takes "
            "writes) locks stay and purges wait until this is said. Asks first, unless --yes is "
            "given.",
    .run = run_confirm,
};
