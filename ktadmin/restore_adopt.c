// SPDX-License-Identifier: Apache-2.0
// restore --adopt: a database that psql has restored in this node's PostgreSQL becomes the first of
// a new incarnation.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "db/backup.h"
#include "db/replication.h"
#include "ktadmin/restore.h"
#include "ktadmin/start.h"
#include "lib/ca.h"
#include "lib/agent_call.h"
#include "lib/file.h"
#include "lib/pki.h"
#include "lib/tls_pairs.h"

#define START_S 120
#define STOP_S  120
#define ASK_MS  2000
#define PEM_MAX 65536

static int check_stopped(const struct kt_paths *paths, struct kt_error *error)
{
    json_t *answer = NULL;
    int rc = kt_agent_call(paths->agent_socket, "ping", NULL, ASK_MS, &answer, NULL);

    json_decref(answer);
    return rc == KT_ERR_NOT_RUNNING
               ? 0
               : kt_error_set(error, KT_ERR_BUSY, "systemctl stop keytrusteed",
                              "the server is running: it would go on with the node it was");
}

// Only the node that led: a passive's log would part from its active's at the first start as a primary.
static int check_led(const struct kta_restore *restore, struct kt_error *error)
{
    const struct kta_init *init = &restore->init;
    struct db_replication now;
    struct kt_promise promise;
    int rc = kt_promise_load(init->paths.promise, &promise, error);

    if (rc == 0)
        rc = db_replication_load(&init->paths, &now, error);
    if (rc)
        return rc;
    if (now.mode != DB_MODE_ACTIVE || strcmp(promise.active, init->info.node) != 0)
        return kt_error_set(error, KT_ERR_PASSIVE, "adopt on the node whose database was restored",
                            "this node follows '%s': there is nothing to adopt", promise.active);
    return 0;
}

// A run that was killed with nothing left to do but to remove its note.
static int is_done(struct kta_restore *restore)
{
    const struct kt_incarnation none = {0};
    struct kt_promise promise;

    return kta_restore_is_begun(&restore->init.paths) &&
           kta_restore_note(restore, &none, 0, NULL) == 0 &&
           kt_promise_load(restore->init.paths.promise, &promise, NULL) == 0 &&
           strcmp(promise.member, restore->init.promise.member) == 0;
}

// PostgreSQL as a primary that waits for nobody: the members of before are no longer members.
static int start_alone(struct kta_restore *restore, struct kt_error *error)
{
    const struct db_replication alone = {.mode = DB_MODE_ACTIVE};
    struct kta_init *init = &restore->init;
    int rc = db_cluster_stop(init->cluster, STOP_S, error);

    restore->is_begun = 1;
    if (rc == 0)
        rc = db_replication_save(&init->paths, &alone, error);
    if (rc == 0)
        rc = db_replication_render(init->cluster, error);
    return rc ? rc : db_cluster_start(init->cluster, START_S, error);
}

static int start_as_it_is(struct kta_restore *restore, struct kt_error *error)
{
    enum db_run_state state;
    long pid;
    int rc = db_cluster_state(restore->init.cluster, &state, &pid, error);

    restore->was_stopped = rc == 0 && state == DB_STOPPED;
    return rc ? rc : db_cluster_start(restore->init.cluster, START_S, error);
}

static int read_facts(struct kta_restore *restore, struct kt_error *error)
{
    struct kta_init *init = &restore->init;
    struct db_backup *backup = NULL;
    int rc = db_backup_open(&init->paths, init->settings, 0, &backup, error);

    if (rc == 0)
        restore->facts = *db_backup_facts(backup);
    db_backup_close(backup);
    if (rc)
        return rc;
    if (memcmp(&restore->facts.cluster_id, &init->info.cluster_id, sizeof(init->info.cluster_id)) !=
        0)
        return kt_error_set(error, KT_ERR_NOT_OURS, "restore the confdir of the same backup",
                            "the database is of another cluster than the confdir");
    if (!restore->facts.is_restored && !kta_restore_is_begun(&init->paths))
        return kt_error_set(error, KT_ERR_EXISTS, NULL,
                            "nothing to adopt: the database was not restored with psql");
    restore->file.manifest.cluster_id = init->info.cluster_id;
    return 0;
}

static int keep(struct kta_restore *restore, enum kta_kept_file file, const char *path,
                struct kt_error *error)
{
    int rc = kt_file_read_text(path, PEM_MAX, &restore->kept[file].text, error);

    if (rc == 0)
        restore->kept[file].n = strlen(restore->kept[file].text);
    return rc;
}

// A new member has a new certificate; the server's stays. A run that was killed before finds the
// member's name in the one that is there.
static int renew_certificate(struct kta_restore *restore, struct kt_error *error)
{
    struct kta_init *init = &restore->init;
    const struct kt_paths *paths = &init->paths;
    struct kt_pki_subject subject = {
        .role = KT_PKI_NODE,
        .common_name = init->promise.member,
        .lifetime_s = kt_settings_number(init->settings, KT_SET_NODE_CERTIFICATE_LIFETIME) / 1000};
    EVP_PKEY *keys[KT_PAIRS] = {NULL}, *ca_key = NULL;
    X509 *certs[KT_PAIRS] = {NULL}, *ca = NULL;
    int rc;

    if (kt_pairs_is_begun(paths, NULL)) {
        rc = kt_pairs_use(paths, error);
        return rc ? rc : kt_pairs_end(paths, error);
    }
    rc = kt_ca_mend(paths, error);
    if (rc == 0)
        rc = kt_pki_key_load(paths->ca_key, &ca_key, error);
    if (rc == 0)
        rc = kt_pki_ca_load(paths->ca_cert, &ca, error);
    if (rc == 0 && kt_pki_new_p256(&keys[KT_PAIR_NODE]) != 0)
        rc = kt_error_set(error, KT_ERR_CRYPTO, NULL, "cannot make a key");
    if (rc == 0 && kt_pki_sign(ca_key, ca, keys[KT_PAIR_NODE], &subject, &certs[KT_PAIR_NODE]) != 0)
        rc = kt_error_set(error, KT_ERR_CRYPTO, NULL, "cannot make the node's certificate");
    if (rc == 0)
        rc = kt_pairs_stage(paths, keys, certs, ca, error);
    if (rc == 0)
        rc = kt_pairs_use(paths, error);
    if (rc == 0)
        rc = kt_pairs_end(paths, error);
    EVP_PKEY_free(keys[KT_PAIR_NODE]);
    EVP_PKEY_free(ca_key);
    X509_free(certs[KT_PAIR_NODE]);
    X509_free(ca);
    return rc;
}

static int write_files(struct kta_restore *restore, struct kt_error *error)
{
    struct kta_init *init = &restore->init;
    int ignored, rc = renew_certificate(restore, error);

    // The list of nodes begins with this one again.
    if (rc == 0 && unlink(init->paths.peers) != 0 && kt_file_exists(init->paths.peers))
        rc = kt_error_errno(error, "cannot remove '%s'", init->paths.peers);
    return rc ? rc : kta_init_node_files(init, &ignored, error);
}

// A run before was killed behind its commit. Statement and certificate are those that it made: another
// statement would follow itself.
static int is_committed(const struct kta_restore *restore)
{
    return !restore->facts.is_restored &&
           restore->facts.incarnation.number == restore->incarnation.number &&
           restore->facts.incarnation.bits == restore->incarnation.bits;
}

// What such a run left to do: everything behind the rows.
static int end_adoption(struct kta_restore *restore, struct kt_error *error)
{
    struct kta_init *init = &restore->init;
    struct kt_peer self = {.removed = 0};
    const struct db_restored rows = {
        .incarnation = restore->incarnation, .epoch = restore->epoch, .self = &self};

    memcpy(self.member, init->promise.member, sizeof(self.member));
    return db_adopt(init->cluster, &rows, error);
}

static int commit(struct kta_restore *restore, struct kt_error *error)
{
    struct kta_init *init = &restore->init;
    struct db_restored rows;
    struct kt_peer self;
    struct db_line line = {.statement = NULL};
    char *statement = NULL;
    int rc = db_adopt_line(init->cluster, &line, error);

    if (rc == 0)
        rc = kta_restore_rows(restore, &restore->facts.incarnation, restore->facts.epoch, &line,
                              "restored with stock tools", &rows, &self, &statement, error);
    if (rc == 0)
        rc = db_adopt(init->cluster, &rows, error);
    free(line.statement);
    free(statement);
    return rc;
}

// The names are fixed: from here on a run that is killed is finished by the next.
static int adopt(struct kta_restore *restore, struct kt_error *error)
{
    struct kta_init *init = &restore->init;
    int rc;

    if (is_committed(restore)) {
        rc = end_adoption(restore, error);
        return rc ? rc : kta_restore_key_use(restore, error);
    }
    rc = keep(restore, KTA_KEPT_NODE_KEY, init->paths.node_key, error);
    if (rc == 0)
        rc = keep(restore, KTA_KEPT_NODE_CERT, init->paths.node_cert, error);
    if (rc == 0)
        rc = kta_restore_look(restore, &restore->facts.peers, error);
    if (rc == 0)
        rc = kta_restore_seal(restore, error);
    if (rc == 0)
        rc = write_files(restore, error);
    if (rc == 0)
        rc = commit(restore, error);
    return rc ? rc : kta_restore_key_use(restore, error);
}

static int open_node(struct kta_restore *restore, struct kta_node *node, struct kt_error *error)
{
    struct kta_init *init = &restore->init;
    int exists = 0, rc = kta_open(init->run, KTA_FILES, node, error);

    if (rc)
        return rc;
    init->paths = node->paths;
    init->settings = node->settings;
    node->settings = NULL;
    rc = kt_cluster_info_load(init->paths.cluster, &init->info, error);
    memcpy(init->node, init->info.node, sizeof(init->node));
    if (rc == 0)
        rc = db_cluster_open(&init->paths, init->settings, &init->cluster, error);
    if (rc == 0)
        rc = db_cluster_look(init->cluster, &exists, error);
    if (rc == 0 && !exists)
        rc = kt_error_set(error, KT_ERR_NOT_INITIALISED,
                          "ktadmin restore FILE makes one out of a backup",
                          "this node has no database");
    return rc;
}

static int adopt_all(struct kta_restore *restore, struct kta_node *node, struct kt_error *error)
{
    struct kta_init *init = &restore->init;
    char id[KT_UUID_TEXT];
    int rc = open_node(restore, node, error);

    if (rc == 0)
        rc = check_stopped(&init->paths, error);
    if (rc)
        return rc;
    restore->is_done = is_done(restore);
    if (restore->is_done)
        return kta_restore_note_remove(restore, error);
    rc = check_led(restore, error);
    if (rc == 0)
        rc = kta_init_lock(init, error);
    // As it is: what it says decides whether anything may be changed.
    if (rc == 0)
        rc = start_as_it_is(restore, error);
    if (rc == 0)
        rc = read_facts(restore, error);
    if (rc == 0)
        rc = kta_restore_key_choose(restore, error);
    kt_uuid_format(&init->info.cluster_id, id);
    if (rc == 0)
        rc = kta_confirm_cluster(init->run, id,
                                 "This begins a new incarnation: what the cluster acknowledged and "
                                 "the restored database does not hold is given up for ever.",
                                 error);
    if (rc == 0)
        rc = start_alone(restore, error);
    if (rc == 0)
        rc = kta_restore_note(restore, &restore->facts.incarnation, restore->facts.epoch, error);
    if (rc == 0)
        rc = adopt(restore, error);
    return rc ? rc : kta_restore_finish(restore, error);
}

static void print_end(const struct kta_restore *restore)
{
    const struct kta_init *init = &restore->init;

    if (restore->is_done) {
        printf("the adoption had come to its end already\n");
        return;
    }
    printf("%s is adopted, in incarnation %u, epoch %" PRIu64 "\n", init->info.node,
           (unsigned)restore->incarnation.number, restore->epoch);
    if (kt_cli_flag(init->run, "quiet"))
        return;
    printf("What was acknowledged after log index %" PRIu64 " is not in it: ask the clients for "
           "their receipts,\n  ktadmin receipts check FILE...\n",
           restore->facts.log_index);
    if (!kt_cli_flag(init->run, "start"))
        printf("next: start the server (systemctl start keytrusteed), then its database\n");
    printf("Files that the backup was unpacked into hold private keys and are still there.\n");
}

int kta_restore_adopt(struct kt_cli_run *run)
{
    struct kta_restore *restore = calloc(1, sizeof(*restore));
    struct kta_node node = {0};
    struct kt_error error = {0};
    int rc;

    if (!restore)
        return KT_EXIT_FAILURE;
    restore->fd = -1;
    restore->init.run = run;
    restore->init.lock_fd = -1;
    restore->accepts_loss = 1; // asked for by the cluster id
    rc = adopt_all(restore, &node, &error);
    if (rc == 0 && !restore->is_done && kt_cli_flag(run, "start")) {
        rc = kta_start_node(&restore->init.paths, restore->init.cluster, &error);
    } else if (restore->is_begun || (rc && restore->was_stopped)) {
        int stopped = db_cluster_stop(restore->init.cluster, STOP_S, rc ? NULL : &error);
        rc = rc ? rc : stopped;
    }
    if (rc == 0)
        print_end(restore);
    kta_restore_free(restore);
    kta_close(&node);
    return rc ? kt_cli_fail(run, &error) : KT_EXIT_OK;
}
