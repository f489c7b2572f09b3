// SPDX-License-Identifier: Apache-2.0
// Words of Key Trustee's ktadmin that have another form here: they do the same, or say what does.
#include <string.h>

#include "ktadmin/commands.h"
#include "ktadmin/nodes.h"
#include "lib/agent_call.h"

static int answer(const struct kt_cli_run *run, int code, const char *hint, const char *message)
{
    struct kt_error error = {0};

    kt_error_set(&error, code, hint, "%s", message);
    return kt_cli_fail(run, &error);
}

static int run_init_master(struct kt_cli_run *run)
{
    return answer(run, KT_ERR_USAGE, "ktadmin init, then start kts and ktadmin db --start",
                  "a first node is made with ktadmin init");
}

static int run_init_slave(struct kt_cli_run *run)
{
    return answer(run, KT_ERR_USAGE,
                  "on the other node: ktadmin token new; here: ktadmin join TOKEN",
                  "a further node is made with ktadmin join; nothing is copied by hand");
}

// The list that this node goes by; on failure the exit code.
static int own_list(const struct kt_cli_run *run, struct kt_epoch_row *row, int *exit_code)
{
    struct kta_member member = {.name = ""};
    int rc = kta_ask(run, "node.state", NULL, &member.state);

    *exit_code = rc;
    if (rc)
        return rc;
    rc = kta_state_list(&member, row);
    if (rc)
        *exit_code = answer(run, KT_ERR_DATABASE_UNAVAILABLE, NULL,
                            "this node does not know yet who its members are");
    json_decref(member.state);
    return rc;
}

static int run_enable(struct kt_cli_run *run)
{
    struct kt_epoch_row row = {.epoch = 0};
    int exit_code = KT_EXIT_OK;

    if (own_list(run, &row, &exit_code) != 0)
        return exit_code;
    if (row.count == 0)
        return answer(
            run, KT_ERR_NO_QUORUM,
            "ktadmin token new here, then ktadmin join TOKEN on another machine",
            "there is no other node yet: replication is synchronous from the first one on");
    if (kt_cli_flag(run, "json"))
        printf("{\"members\": %u, \"w\": %u}\n", (unsigned)row.count, (unsigned)row.w);
    else if (!kt_cli_flag(run, "quiet"))
        printf("Replication is synchronous, always: every write is on %u of %u members before it "
               "is acknowledged\n",
               (unsigned)row.w, (unsigned)row.count);
    return KT_EXIT_OK;
}

static int run_disable(struct kt_cli_run *run)
{
    return answer(
        run, KT_ERR_USAGE,
        "ktadmin remove NODE; when it is gone for good ktadmin remove NODE --destroyed "
        "--standalone",
        "replication is always synchronous: take the node that is gone out of the cluster "
        "instead");
}

const struct kt_cli_command kta_cmd_init_master = {
    .verb = "init-master",
    .arguments = "",
    .summary = "(of Key Trustee) now: init",
    .run = run_init_master,
};
const struct kt_cli_command kta_cmd_init_slave = {
    .verb = "init-slave",
    .arguments = "",
    .summary = "(of Key Trustee) now: token new, join",
    .max_args = 8,
    .run = run_init_slave,
};
const struct kt_cli_command kta_cmd_enable_synchronous = {
    .verb = "enable-synchronous-replication",
    .arguments = "",
    .summary = "(of Key Trustee) says who has every write; it is always on",
    .run = run_enable,
};
const struct kt_cli_command kta_cmd_disable_synchronous = {
    .verb = "disable-synchronous-replication",
    .arguments = "",
    .summary = "(of Key Trustee) now: remove",
    .run = run_disable,
};
