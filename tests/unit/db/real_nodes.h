// SPDX-License-Identifier: Apache-2.0
// Several nodes of one cluster with real PostgreSQLs, and the few steps that tests take with them.
// Include behind cmocka.h, and behind a define of NODES when they are not two.
#ifndef KT_TEST_REAL_NODES_H
#define KT_TEST_REAL_NODES_H

#include "db/replication_inner.h"
#include "tests/unit/db/real_cluster.h"

#ifndef NODES
#define NODES 2
#endif
#define MS        20000
#define SAY(call) say(#call, (call))

static struct real nodes[NODES];
static struct db_admin *admins[NODES];
static struct kt_error error;

// The call's words are shown when it fails.
static inline int say(const char *what, int rc)
{
    if (rc)
        fprintf(stderr, "%s: %d %s (%s)\n", what, rc, error.message, error.hint);
    return rc;
}

#define OK(call) assert_int_equal(SAY(call), 0)

static inline const char *member_of(int i)
{
    return nodes[i].peer.member;
}

// The first value that a node's PostgreSQL answers with, until the next call.
static inline const char *ask(int i, const char *sql)
{
    static char text[512];
    PGresult *result = NULL;

    OK(db_admin_ask(admins[i], sql, 0, NULL, &result, &error));
    snprintf(text, sizeof(text), "%s", PQntuples(result) ? PQgetvalue(result, 0, 0) : "");
    PQclear(result);
    return text;
}

// Asks until the answer is true.
static inline void wait_for(int i, const char *sql)
{
    for (int64_t until = kt_monotonic_now() + 20000000; strcmp(ask(i, sql), "t") != 0;)
        if (kt_monotonic_now() > until)
            fail_msg("not so in time: %s", sql);
}

static inline void admin_open(int i)
{
    db_admin_close(admins[i]);
    admins[i] = NULL;
    OK(db_admin_open(nodes[i].cluster, MS, &admins[i], &error));
}

static inline void stop_one(int i)
{
    db_admin_close(admins[i]);
    admins[i] = NULL;
    OK(db_cluster_stop(nodes[i].cluster, 60, &error));
}

// As after a power failure.
static inline void kill_one(int i)
{
    enum db_run_state run_state = DB_RUNNING;
    long pid = 0, now;

    db_admin_close(admins[i]);
    admins[i] = NULL;
    OK(db_cluster_state(nodes[i].cluster, &run_state, &pid, &error));
    assert_int_equal(kill((pid_t)pid, SIGKILL), 0);
    for (int64_t until = kt_monotonic_now() + 10000000; run_state != DB_STOPPED;) {
        OK(db_cluster_state(nodes[i].cluster, &run_state, &now, &error));
        assert_true(kt_monotonic_now() < until);
    }
}

static inline void start_one(int i)
{
    OK(db_cluster_start(nodes[i].cluster, 60, &error));
    admin_open(i);
}

// Follows node `active` in `epoch`; a running standby is reloaded, a stopped node not started.
static inline void follow(int i, int active, uint64_t epoch)
{
    struct db_replication replication = {.mode = DB_MODE_FOLLOW,
                                         .port = nodes[active].peer.database_port};

    strcpy(replication.host, "127.0.0.1");
    strcpy(replication.member, member_of(i));
    OK(kt_replication_name(member_of(i), epoch, nodes[active].info.node,
                           replication.application_name));
    OK(real_promise(&nodes[i], epoch, nodes[active].info.node, 1));
    OK(db_replication_apply(nodes[i].cluster, &replication, MS, &error));
}

static inline void seal(int i)
{
    struct db_replication replication = {.mode = DB_MODE_SEALED};

    OK(db_replication_apply(nodes[i].cluster, &replication, MS, &error));
    OK(db_admin_wait_sealed(admins[i], 1, MS, &error));
}

// The row that makes node `active` active in `epoch` with one member.
static inline struct kt_epoch_row row_of(int active, uint64_t epoch, int member)
{
    struct kt_epoch_row row = {.incarnation = {.number = 1, .bits = 0x0123456789abcdefULL},
                               .epoch = epoch,
                               .sequence = 1,
                               .count = 1,
                               .w = 1,
                               .timeline = 1};

    strcpy(row.active, member_of(active));
    strcpy(row.members[0], member_of(member));
    return row;
}

// The settings of an active with that row.
static inline struct db_replication active_with(const struct kt_epoch_row *row, int read_only)
{
    struct db_replication replication = {.mode = DB_MODE_ACTIVE, .read_only = read_only};

    OK(kt_standby_names(row, replication.standby_names));
    return replication;
}

// For a whole program: a first node, running; for the others folders and keys only.
static inline int nodes_setup(void **state)
{
    char base[300], name[17], member[64];

    (void)state;
    if (become_ordinary() != 0 || temp_dir_setup(NULL) != 0)
        return -1;
    for (int i = 0; i < NODES; i++) {
        snprintf(base, sizeof(base), "%s/%d", temp_dir, i + 1);
        snprintf(name, sizeof(name), "kts-0%d", i + 1);
        snprintf(member, sizeof(member), "%s.0a1b2c3%d", name, i + 1);
        if (mkdir(base, 0700) != 0 ||
            real_folders_of(&nodes[i], base, name, i ? &nodes[0] : NULL) != 0)
            return -1;
        if (i == 0 ? real_make(&nodes[0], member) != 0
                   : real_keys(&nodes[i], member, &nodes[0]) != 0 ||
                         SAY(db_cluster_open(&nodes[i].paths, nodes[i].settings, &nodes[i].cluster,
                                             &error)) != 0)
            return -1;
    }
    return SAY(db_admin_open(nodes[0].cluster, MS, &admins[0], &error));
}

static inline struct db_source source_of(int i, int from)
{
    struct db_source source = {.port = nodes[from].peer.database_port};

    strcpy(source.host, "127.0.0.1");
    strcpy(source.member, member_of(i));
    return source;
}

// Node `i` as a copy of node `from`, running as its standby in `epoch`.
static inline void nodes_copy(int i, int from, uint64_t epoch)
{
    struct db_source source = source_of(i, from);

    OK(db_admin_node_put(admins[from], &nodes[i].peer, NULL, &error));
    OK(db_copy_base(nodes[i].cluster, &source, NULL, NULL, &error));
    follow(i, from, epoch);
    start_one(i);
}

static inline int nodes_teardown(void **state)
{
    int rc = 0;

    (void)state;
    for (int i = 0; i < NODES; i++) {
        db_admin_close(admins[i]);
        if (nodes[i].cluster)
            rc |= SAY(db_cluster_stop(nodes[i].cluster, 60, &error));
        db_cluster_close(nodes[i].cluster);
        kt_settings_free(nodes[i].settings);
    }
    return rc | temp_dir_teardown(NULL);
}

#endif
