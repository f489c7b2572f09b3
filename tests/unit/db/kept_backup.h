// SPDX-License-Identifier: Apache-2.0
// A backup that was read once, and the places to load it into, for the tests of load. Include behind
// real_cluster.h.
#ifndef KT_TEST_KEPT_BACKUP_H
#define KT_TEST_KEPT_BACKUP_H

#include "db/load_inner.h"
#include "lib/version.h"
#include "tests/unit/db/backup_rows.h"

static struct real other; // a node without database, of the same cluster
static PGconn *source;    // the owner's session on the first one

// What was read from the first node: the backup of all cases.
static struct {
    struct db_backup_facts facts;
    struct kt_buf rows[DB_BACKUP_TABLES_MAX];
} kept;

static inline const void *bytes_of(size_t i)
{
    return kt_buf_ptr(&kept.rows[i]);
}

static inline size_t length_of(size_t i)
{
    return kt_buf_left(&kept.rows[i]);
}

// One table whole, in pieces of odd lengths.
static inline int load_bytes(struct db_load *load, const char *table, const void *bytes, size_t n)
{
    uint64_t rows = 0;
    size_t piece = 1, at = 0;
    int rc = db_load_begin(load, table, &error);

    while (rc == 0 && at < n) {
        size_t some = n - at < piece ? n - at : piece;
        rc = db_load_put(load, (const char *)bytes + at, some, &error);
        at += some;
        piece = piece * 3 % 99991 + 1;
    }
    return rc ? rc : db_load_end(load, &rows, &error);
}

// All tables but `except` (NULL: all).
static inline void load_all(struct db_load *load, const char *except)
{
    for (size_t i = 0; i < kept.facts.table_count; i++)
        if (!except || strcmp(kept.facts.tables[i].name, except) != 0)
            OK(load_bytes(load, kept.facts.tables[i].name, bytes_of(i), length_of(i)));
}

static struct kt_peer self;

static inline struct db_restored restored_as(uint32_t number)
{
    struct db_restored restored = {.incarnation = {.number = number, .bits = 0xfedcba9876543210ULL},
                                   .statement = "keytrustee-incarnation 1\n\xc3\xa4\n",
                                   .epoch = 7,
                                   .self = &self,
                                   .cert_not_after_us = INT64_C(1900000000000000),
                                   .note = "restored from kts_bak"};

    self = other.peer;
    return restored;
}

// --- set-up ---

static inline int make_other(void)
{
    char base[300];
    int done, rc;

    snprintf(base, sizeof(base), "%s/2", temp_dir);
    rc = mkdir(base, 0700) != 0 || real_folders_of(&other, base, "kts-02", &real) != 0 ||
         real_keys(&other, "kts-02.0a1b2c32", &real) != 0 ||
         real_promise(&other, 1, "kts-02", 0) != 0;
    if (rc == 0)
        rc = SAY(db_cluster_open(&other.paths, other.settings, &other.cluster, &error));
    for (int role = 0; role < DB_ROLE_COUNT && rc == 0; role++)
        rc = db_secret_make(&other.paths, (enum db_role)role, &done, &error);
    if (rc == 0)
        rc = SAY(db_cluster_initdb(other.cluster, &done, &error));
    if (rc == 0)
        rc = SAY(db_cluster_configure(other.cluster, &done, &error));
    return rc ? rc : SAY(db_cluster_start(other.cluster, 60, &error));
}

static inline int kept_setup(void **state)
{
    struct db_backup *backup = NULL;
    struct db_target target;

    if (real_setup(state) != 0)
        return -1;
    node_target(&real, "keytrustee", &target);
    if (SAY(db_pg_connect(&target, MS, &source, &error)) != 0 ||
        SAY(db_pg_run(source, MS, ROWS, &error)) != 0 || make_other() != 0 ||
        SAY(db_backup_open(&real.paths, real.settings, 0, &backup, &error)) != 0)
        return -1;
    kept.facts = *db_backup_facts(backup);
    for (size_t i = 0; i < kept.facts.table_count; i++) {
        struct bytes bytes = {.buf = KT_BUF_INIT(1u << 30)};
        if (SAY(db_backup_copy(backup, i, take, &bytes, &error)) != 0)
            return -1;
        kept.rows[i] = bytes.buf;
    }
    db_backup_close(backup);
    return 0;
}

static inline int kept_teardown(void **state)
{
    PQfinish(source);
    for (size_t i = 0; i < kept.facts.table_count; i++)
        kt_buf_free(&kept.rows[i]);
    if (other.cluster)
        (void)!db_cluster_stop(other.cluster, 60, &error);
    db_cluster_close(other.cluster);
    kt_settings_free(other.settings);
    return real_teardown(state);
}

#endif
