// SPDX-License-Identifier: Apache-2.0
// keytrustee recovery: keys of the organisation that can open this client's deposits too.
#include <stdio.h>

#include "client/cmd.h"

static int print_key(void *arg, const char *fingerprint, int in_force, int accepted)
{
    struct ktc_cmd_listing *listing = arg;

    if (listing->array != NULL)
        return ktc_cmd_listing_json(listing,
                                    json_pack("{s:s, s:b, s:b}", "fingerprint", fingerprint,
                                              "in_force", in_force, "accepted", accepted));
    printf("%s  %s\n", fingerprint,
           !accepted   ? "NOT ACCEPTED: deposits are refused until it is"
           : !in_force ? "accepted, NOT ASKED FOR: deposits are refused until it is forgotten"
                       : "accepted");
    return 0;
}

static int ask(const struct kt_cli_run *run, struct keytrustee *client,
               struct ktc_cmd_listing *listing, struct keytrustee_error *error)
{
    (void)run;
    return keytrustee_recovery_list(client, print_key, listing, error);
}

static int run_list(struct kt_cli_run *run)
{
    return ktc_cmd_listing_print(run, NULL, ask);
}

static int edit(struct kt_cli_run *run, const char *done,
                int (*change)(struct keytrustee *, const char *, struct keytrustee_error *))
{
    struct keytrustee *client = NULL;
    struct keytrustee_error error;
    int rc = ktc_cmd_open(run, &client);

    if (rc == 0 && change(client, run->argv[0], &error) != KEYTRUSTEE_OK)
        rc = ktc_cmd_fail(run, &error);
    else if (rc == 0 && !kt_cli_flag(run, "quiet"))
        puts(done);
    keytrustee_close(client);
    return rc;
}

static int run_accept(struct kt_cli_run *run)
{
    return edit(run, "accepted: who has its private half can open what is deposited from now on",
                keytrustee_recovery_accept);
}

static int run_forget(struct kt_cli_run *run)
{
    return edit(run, "forgotten: what was deposited stays encrypted to it",
                keytrustee_recovery_forget);
}

const struct kt_cli_command ktc_cmd_recovery_list = {
    .verb = "recovery list",
    .arguments = "",
    .summary = "show the organisation's recovery keys, and which are accepted",
    .run = run_list,
};
const struct kt_cli_command ktc_cmd_recovery_accept = {
    .verb = "recovery accept",
    .arguments = "FINGERPRINT",
    .summary = "encrypt deposits to this recovery key too",
    .help = "Compare the fingerprint with the organisation's administrator, not with the server:\n"
            "whoever has the private half of the key can open what is deposited from then on.",
    .min_args = 1,
    .max_args = 1,
    .run = run_accept,
};
const struct kt_cli_command ktc_cmd_recovery_forget = {
    .verb = "recovery forget",
    .arguments = "FINGERPRINT",
    .summary = "accept a recovery key no more",
    .help =
        "Ask the organisation's administrator first, not the server's: until then deposits are\n"
        "refused when the server leaves the key out, and from then on they are made without it.",
    .min_args = 1,
    .max_args = 1,
    .run = run_forget,
};
