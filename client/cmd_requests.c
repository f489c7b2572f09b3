// SPDX-License-Identifier: Apache-2.0
// keytrustee requests, approve, deny: retrievals that wait for trustees.
#include <stdio.h>
#include <string.h>

#include "client/cmd.h"

static const char *vote_text(const struct keytrustee_request *request)
{
    if (request->own)
        return "own";
    return request->voted > 0 ? "approved" : request->voted < 0 ? "denied" : "";
}

static json_t *as_json(const struct keytrustee_request *request)
{
    return json_pack(
        "{s:s, s:s, s:s, s:I, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I}", "id", request->id,
        "state", request->state, "handle", request->handle, "version", (json_int_t)request->version,
        "deposit", request->deposit, "client", request->client, "name", request->name,
        "justification", request->justification, "created", request->created, "expires",
        request->expires, "vote", vote_text(request), "votes", (json_int_t)request->votes,
        "approvals", (json_int_t)request->approvals, "denials", (json_int_t)request->denials);
}

static int add(void *arg, const struct keytrustee_request *request)
{
    struct ktc_cmd_listing *listing = arg;
    char votes[40];
    const char *const cells[] = {request->id,        request->state,         votes,
                                 vote_text(request), request->handle,        request->name,
                                 request->expires,   request->justification, NULL};

    if (listing->array != NULL)
        return ktc_cmd_listing_json(listing, as_json(request));
    snprintf(votes, sizeof votes, "%u of %u", (unsigned)request->approvals,
             (unsigned)request->votes);
    return ktc_cmd_listing_row(listing, cells);
}

static int ask(const struct kt_cli_run *run, struct keytrustee *client,
               struct ktc_cmd_listing *listing, struct keytrustee_error *error)
{
    return keytrustee_requests(client, kt_cli_value(run, "state"), add, listing, error);
}

static int run_requests(struct kt_cli_run *run)
{
    static const char *const headers[] = {"request", "state",   "approvals", "vote", "handle",
                                          "client",  "expires", "for",       NULL};

    return ktc_cmd_listing_print(run, headers, ask);
}

static int run_vote(struct kt_cli_run *run, int approve)
{
    struct keytrustee *client = NULL;
    struct keytrustee_error error;
    char state[16] = "";
    int rc = ktc_cmd_open(run, &client);

    if (rc != 0)
        return rc;
    if (keytrustee_vote(client, run->argv[0], approve, kt_cli_value(run, "comment"), state,
                        &error) != KEYTRUSTEE_OK)
        rc = ktc_cmd_fail(run, &error);
    else if (kt_cli_flag(run, "json"))
        rc = ktc_cmd_print_json(run, json_pack("{s:s, s:b, s:s}", "id", run->argv[0], "approve",
                                               approve, "state", state));
    else if (!kt_cli_flag(run, "quiet"))
        printf("%s is %s\n", run->argv[0], state);
    keytrustee_close(client);
    return rc;
}

static int run_approve(struct kt_cli_run *run)
{
    return run_vote(run, 1);
}

static int run_deny(struct kt_cli_run *run)
{
    return run_vote(run, 0);
}

static const struct kt_cli_option list_options[] = {
    {"state", 0, "STATE", "only those: waiting, approved, denied, used, expired"},
    {NULL},
};

static const struct kt_cli_option vote_options[] = {
    {"comment", 0, "TEXT", "for the other trustees and the one that asks"},
    {NULL},
};

const struct kt_cli_command ktc_cmd_requests = {
    .verb = "requests",
    .arguments = "",
    .summary = "list retrievals that this client may vote on, and its own",
    .help = NULL,
    .options = list_options,
    .min_args = 0,
    .max_args = 0,
    .run = run_requests,
};

const struct kt_cli_command ktc_cmd_approve = {
    .verb = "approve",
    .arguments = "REQUEST",
    .summary = "vote for a retrieval",
    .help = "Votes can be changed until the request is decided.",
    .options = vote_options,
    .min_args = 1,
    .max_args = 1,
    .run = run_approve,
};

const struct kt_cli_command ktc_cmd_deny = {
    .verb = "deny",
    .arguments = "REQUEST",
    .summary = "vote against a retrieval",
    .help = "Votes can be changed until the request is decided.",
    .options = vote_options,
    .min_args = 1,
    .max_args = 1,
    .run = run_deny,
};
