// SPDX-License-Identifier: Apache-2.0
// restore: out of a backup; from another node, when a bare machine takes the place of one that was
// lost, the active too; or what stock tools have restored.
#include <stdlib.h>
#include <string.h>

#include "ktadmin/commands.h"
#include "ktadmin/join.h"
#include "ktadmin/restore.h"
#include "ktadmin/switchover.h"

#define MEMBER_US       120000000
#define MEMBER_PAUSE_MS 100

// Until the newest row has this node.
static int wait_member(struct kta_join *join, struct kt_error *error)
{
    int64_t until = kt_monotonic_now() + MEMBER_US;
    struct kt_epoch_row row;
    size_t active = 0;

    for (;;) {
        if (kta_nodes_look(join->nodes, NULL) == 0 &&
            kta_nodes_active(join->nodes, &active, NULL) == 0 &&
            kta_state_row(&join->nodes->list[active], &row) == 0 &&
            kt_epoch_row_has_member(&row, join->self.member) &&
            strcmp(kta_state_text(&join->nodes->list[active], "writer"), "open") == 0)
            return 0;
        if (kt_monotonic_now() > until)
            return kt_error_set(error, KT_ERR_TIMEOUT, "ktadmin switchover does the rest",
                                "this node was not let in as a member in time");
        kta_pause_ms(MEMBER_PAUSE_MS);
    }
}

static int become_active(struct kta_join *join, struct kt_error *error)
{
    struct kta_failover *failover;
    int64_t pause_us = 0;
    int rc;

    if (!kt_cli_flag(join->base.run, "start")) {
        printf("  when it counts, make it the active:  ktadmin switchover --to %s\n",
               join->base.info.node);
        return 0;
    }
    join->nodes->skip[0] = '\0'; // it answers now
    rc = wait_member(join, error);
    failover = calloc(1, sizeof(*failover));
    if (rc == 0 && !failover)
        rc = kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    if (rc == 0) {
        failover->nodes = join->nodes;
        failover->say = kta_walk_say;
        failover->say_arg = &join->walk;
        rc = kta_switchover(failover, join->self.member, &pause_us, error);
        kta_failover_settle(failover);
        if (rc == 0 && !failover->is_established)
            rc = kt_error_set(error, KT_ERR_NO_QUORUM, "see ktadmin status", "%s",
                              failover->unestablished.message);
        if (rc == 0 && !kt_cli_flag(join->base.run, "quiet"))
            printf("%s is the active; writes paused for %.2f s\n", join->base.info.node,
                   (double)pause_us / 1e6);
        kta_failover_free(failover);
    }
    free(failover);
    return rc;
}

// Which of the three it is, and that nothing is asked for that belongs to another.
static const struct {
    const char *option;
    int of_file, of_node, of_adopt;
} BELONGS[] = {
    {"gnupg-home", 1, 0, 0}, {"passphrase-file", 1, 0, 0}, {"manifest", 1, 0, 0},
    {"receipts", 1, 0, 0},   {"dry-run", 1, 0, 0},         {"incarnation", 1, 0, 1},
    {"key", 1, 0, 0},        {"accept-loss", 1, 0, 0},     {"cluster-id", 1, 0, 1},
    {"from", 0, 1, 0},       {"token-file", 0, 1, 0},      {"active", 0, 1, 0},
    {"adopt", 0, 0, 1},
};

static int check_options(const struct kt_cli_run *run, int is_file, int is_adopt,
                         struct kt_error *error)
{
    int is_node = !is_file && !is_adopt;

    if (is_file && is_adopt)
        return kt_error_set(error, KT_ERR_USAGE, NULL, "--adopt takes no FILE");
    if (is_node && !kt_cli_value(run, "from") && !kt_cli_value(run, "token-file"))
        return kt_error_set(error, KT_ERR_USAGE, "FILE, --from TOKEN, or --adopt",
                            "say what to restore from");
    for (size_t i = 0; i < sizeof(BELONGS) / sizeof(BELONGS[0]); i++)
        if (kt_cli_flag(run, BELONGS[i].option) && !(is_file    ? BELONGS[i].of_file
                                                     : is_adopt ? BELONGS[i].of_adopt
                                                                : BELONGS[i].of_node))
            return kt_error_set(error, KT_ERR_USAGE, "see ktadmin restore --help",
                                "--%s does not go with this kind of restore", BELONGS[i].option);
    return 0;
}

static int run_restore(struct kt_cli_run *run)
{
    int is_file = run->argc > 0, is_adopt = kt_cli_flag(run, "adopt");
    struct kt_error error = {0};

    if (check_options(run, is_file, is_adopt, &error) != 0)
        return kt_cli_fail(run, &error);
    if (is_file)
        return kta_restore_file(run);
    if (is_adopt)
        return kta_restore_adopt(run);
    return kta_join_command(run, kt_cli_value(run, "from"), 1,
                            kt_cli_flag(run, "active") ? become_active : NULL);
}

static const struct kt_cli_option OPTIONS[] = {
    {"gnupg-home", 0, "DIR", "FILE: keyring with the private key (GnuPG's default)"},
    {"passphrase-file", 0, "FILE", "FILE: the private key's passphrase; - is standard input"},
    {"key", 0, "FILE", "FILE: the cluster's public key: refuse a backup that it did not sign"},
    {"manifest", 0, "FILE", "with - : the manifest of the backup that standard input is"},
    {"receipts", 0, "FILE",
     "FILE: list which of these receipts the restored database does not hold; repeatable"},
    {"dry-run", 0, NULL, "FILE: read and check all of it, say what would be done, write nothing"},
    {"incarnation", 0, "N", "number of the new incarnation, when one was made from here before"},
    {"accept-loss", 0, NULL,
     "FILE: although nodes of the cluster are alive; asks for the cluster id"},
    KTA_CLUSTER_ID_OPTION,
    {"adopt", 0, NULL, "take over a database that psql has restored in this node's PostgreSQL"},
    {"from", 0, "TOKEN",
     "a token made on a passive that has survived (or --token-file); - reads it from standard "
     "input"},
    {"active", 0, NULL, "--from: hand the active role over to this node at the end; with --start"},
    KTA_JOIN_OPTIONS,
    {NULL},
};

const struct kt_cli_command kta_cmd_restore = {
    .verb = "restore",
    .arguments = "[FILE|-]",
    .summary = "bring a node back: from a backup, or from a node that has survived",
    .help =
        "FILE is a backup of ktbackup. On a bare machine it makes a node that holds the cluster "
        "again, alone, in\na new incarnation, which clients accept once, by its signed statement. "
        "It refuses when a node of the\ncluster answers. - is the tar itself, decrypted elsewhere: "
        "gpg -d FILE | ktadmin restore - --manifest M.\n\n"
        "With --from, on a bare machine, with the same or another name and address: when no active "
        "answers, the\ntoken's node is promoted first, with this one in its list, if it can be "
        "proven that nothing is lost; then\nthis machine joins.\n\n"
        "A run that was stopped at any point is repeated with the same command.",
    .options = OPTIONS,
    .max_args = 1,
    .run = run_restore,
};
