// SPDX-License-Identifier: Apache-2.0
// Rows of every shape in a populated database, and what its tables hold, for the tests of backup
// and load. Include behind real_cluster.h or real_nodes.h.
#ifndef KT_TEST_BACKUP_ROWS_H
#define KT_TEST_BACKUP_ROWS_H

#include "db/backup.h"

#ifndef KT_TEST_REAL_NODES_H // which has the same
#define MS        120000
#define SAY(call) say(#call, (call))
#define OK(call)  assert_int_equal(SAY(call), 0)

static struct kt_error error;

// The call's words are shown when it fails.
static inline int say(const char *what, int rc)
{
    if (rc)
        fprintf(stderr, "%s: %d %s (%s)\n", what, rc, error.message, error.hint);
    return rc;
}

#endif

// Empty texts and arrays, NULL in each column that takes it, quotes, tabs, newlines and backslashes,
// letters of several bytes, bodies of 1 byte to 1 MiB, and one that was purged.
static const char ROWS[] =
    "BEGIN;"
    "INSERT INTO organisations SELECT ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid,"
    " 'org-' || n, CASE n % 3 WHEN 0 THEN '{}' WHEN 1 THEN ARRAY['a@b', NULL, E'q\"\\t\\\\\\n']"
    " ELSE ARRAY['\xc3\xa4\xe2\x82\xac'] END, n % 2 = 0, CASE WHEN n = 3 THEN now() END,"
    " CASE WHEN n = 1 THEN 'governance 30d' END, CASE WHEN n = 1 THEN"
    " '{\"a\": [1, 2.50, null, \"\\u00e4\"], \"b\": {}}'::jsonb ELSE '{}' END, now(), 'op'"
    " FROM generate_series(1, 5) n;"
    "INSERT INTO auth_codes SELECT 'code' || n, organisation_id, sha256(name::text::bytea), 3, 1,"
    " ARRAY['deposit', 'retrieve'], now(), NULL, now(), '' FROM organisations,"
    " generate_series(1, 1) n WHERE name = 'org-1';"
    "INSERT INTO clients SELECT gen_random_uuid(), organisation_id, E'host\\n' || k, 'active',"
    " CASE WHEN name = 'org-1' THEN 'code1' END, now(), now(), 'op', NULL, NULL"
    " FROM organisations, generate_series(1, 4) k;"
    "INSERT INTO client_certificates SELECT sha256(client_id::text::bytea), client_id,"
    " sha256(name::text::bytea), E'-----BEGIN\\nCERT', 'infinity', '-infinity', now() FROM clients;"
    "INSERT INTO client_openpgp_keys SELECT upper(left(encode(sha256(client_id::text::bytea),"
    " 'hex'), 40)), client_id, '\\x9900', now(), NULL FROM clients;"
    "INSERT INTO node_certificates VALUES (sha256('op'), 'operator', 'anna', 'infinity', NULL,"
    " now()), (sha256('gone'), 'operator', 'otto', now(), now(), now());"
    "INSERT INTO key_groups SELECT gen_random_uuid(), organisation_id, NULL, now(), 'x'"
    " FROM organisations;"
    "INSERT INTO grants SELECT gen_random_uuid(), organisation_id, NULL::uuid, 'prefix', 'disks/',"
    " NULL::uuid, 'retrieve', now(), 'x', NULL::timestamptz, NULL FROM organisations UNION ALL "
    "SELECT gen_random_uuid(),"
    " organisation_id, NULL, 'key_group', NULL, key_group_id, 'browse', now(), 'x', now(), 'y'"
    " FROM key_groups;"
    "INSERT INTO epochs VALUES (1, 2, 1, 'kts-01.0a1b2c3d', '{kts-02.00000001,kts-03.00000002}', 1,"
    " '0/3000060', 2, NULL, now(), true), (1, 2, 2, 'kts-01.0a1b2c3d', '{}', 0, 'A/B', 2, 'n',"
    " now(), false);"
    "INSERT INTO nodes VALUES ('kts-02.00000001', '::1', 1, 2, 3, sha256('n'), 4, NULL, now()),"
    " ('kts-03.00000002', 'a.example', 1, 2, 3, sha256('m'), 4, now(), now());"
    "INSERT INTO change_log (changed_at, event, organisation_id, client_id, by_whom, detail)"
    " SELECT now(), 'e', CASE WHEN n % 2 = 0 THEN gen_random_uuid() END, NULL, 'me',"
    " jsonb_build_object('n', n, 't', E'\\\\.\\n') FROM generate_series(1, 7) n;"
    "INSERT INTO deposits SELECT gen_random_uuid(), organisation_id, client_id, 'h/' || n, 1,"
    " 'application/pgp-encrypted', CASE n % 4 WHEN 0 THEN '\\x00'::bytea"
    " WHEN 1 THEN decode(repeat(md5(n::text), 256), 'hex')" // 4 KiB
    " WHEN 2 THEN decode(repeat(md5(n::text), CASE WHEN n < 20 THEN 65536 ELSE 100 END), 'hex')"
    " END, sha256(n::text::bytea), 5, NULL, n, 1, 1, now(), 1,"
    " '\\x0707070707070707', decode(repeat(md5(n::text), 4), 'hex'),"
    " CASE WHEN n = 8 THEN now() END, CASE WHEN n = 8 THEN client_id END, NULL, NULL, n = 5, NULL,"
    " CASE WHEN n % 4 = 3 THEN now() END"
    " FROM generate_series(1, 400) n, (SELECT client_id, organisation_id FROM clients LIMIT 1) c;"
    "INSERT INTO clock VALUES (true, now(), NULL, now(), 'op');"
    "INSERT INTO release_policies SELECT organisation_id, deposit_id, now(), NULL, 3, true, 1,"
    " ARRAY[client_id], '1 day 2 hours' FROM deposits WHERE log_index < 4;"
    "INSERT INTO release_requests SELECT gen_random_uuid(), organisation_id, deposit_id, client_id,"
    " E'why\n', now(), 'infinity', NULL, 'waiting' FROM deposits WHERE log_index < 3;"
    "INSERT INTO release_votes SELECT request_id, client_id, true, NULL, now()"
    " FROM release_requests;"
    "INSERT INTO releases SELECT organisation_id, deposit_id, client_id, gen_random_uuid(), NULL,"
    " NULL, now() FROM deposits WHERE log_index = 1;"
    "INSERT INTO log_tiles VALUES (1, 0, sha256('tile'));"
    "INSERT INTO tree_heads VALUES (1, 2, 400, sha256('root'), now(), '\\x0707070707070707',"
    " decode(repeat('ab', 64), 'hex'));"
    "INSERT INTO recovery_keys SELECT organisation_id, repeat('A', 40), ARRAY[-1, 5], '\\x99',"
    " now(), 'op', NULL, NULL FROM organisations;"
    "INSERT INTO cluster_keys VALUES (1, repeat('B', 40), repeat('A', 40), E'signed\n', now());"
    "COMMIT";

// The owner's session on a database reached by `target`.
static inline PGconn *owner_of(const struct db_target *target)
{
    PGconn *conn = NULL;

    OK(db_pg_connect(target, MS, &conn, &error));
    OK(db_pg_run(conn, MS, "SET synchronous_commit = local", &error));
    return conn;
}

static inline void node_target(const struct real *node, const char *database,
                               struct db_target *target)
{
    db_target_owner(&node->paths, node->settings, database, target);
}

// The first value of the answer, until the next call.
static inline const char *value(PGconn *conn, const char *sql)
{
    static char text[4096];
    PGresult *result = NULL;

    OK(db_pg_query(conn, MS, sql, 0, NULL, &result, &error));
    snprintf(text, sizeof(text), "%s", PQntuples(result) ? PQgetvalue(result, 0, 0) : "");
    PQclear(result);
    return text;
}

// Name and content hash of each table but `cluster`, whose state a restore changes; its indexes
// and constraints; who may do what.
static inline void fingerprint(PGconn *conn, char out[16384])
{
    static const char TABLES[] =
        "SELECT string_agg(format('SELECT %L || coalesce(md5(string_agg(t::text, E''\\n'' ORDER BY"
        " t::text)), ''-'') || count(*) AS x FROM public.%I t', relname, relname), ' UNION ALL ')"
        " FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
        " AND relname <> 'cluster'";
    static const char SHAPE[] =
        "SELECT md5(string_agg(x, E'\\n' ORDER BY x)) FROM ("
        "SELECT conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid)"
        "   || convalidated FROM pg_constraint WHERE connamespace = 'public'::regnamespace"
        " UNION ALL SELECT pg_get_indexdef(indexrelid) || indisvalid FROM pg_index i JOIN pg_class "
        "c"
        "   ON c.oid = i.indexrelid WHERE relnamespace = 'public'::regnamespace"
        " UNION ALL SELECT attrelid::regclass || ' ' || attname || ' ' || attnotnull || ' '"
        "   || coalesce(attacl::text, '') || attstorage::text || coalesce(relacl::text, '')"
        "   || coalesce(reloptions::text, '') FROM pg_attribute JOIN pg_class c ON c.oid = attrelid"
        "   WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND attnum > 0"
        " UNION ALL SELECT proname || proacl::text FROM pg_proc WHERE proacl IS NOT NULL"
        " UNION ALL SELECT sequencename || ' ' || last_value FROM pg_sequences) AS s (x)";
    char sql[8192];
    size_t n;

    OK(db_pg_run(conn, MS, "SET TimeZone = 'UTC'; SET search_path = public", &error));
    snprintf(sql, sizeof(sql), "SELECT string_agg(x, ' ' ORDER BY x) FROM (%s) s",
             value(conn, TABLES));
    n = (size_t)snprintf(out, 16384, "%s ", value(conn, sql));
    snprintf(out + n, 16384 - n, "%s", value(conn, SHAPE));
}

// --- bytes that come ---

struct bytes {
    struct kt_buf buf;
    size_t stop_after; // refuse beyond it; 0: never
};

static inline int take(void *arg, const void *data, size_t n, struct kt_error *why)
{
    struct bytes *bytes = arg;

    if (bytes->stop_after && kt_buf_left(&bytes->buf) + n > bytes->stop_after)
        return kt_error_set(why, KT_ERR_STORAGE_FULL, NULL, "full");
    return kt_buf_put(&bytes->buf, data, n);
}

static inline struct db_backup *backup_of(const struct real *node)
{
    struct db_backup *backup = NULL;

    OK(db_backup_open(&node->paths, node->settings, 0, &backup, &error));
    return backup;
}

// Table `i`, exactly as long as it was said to be.
static inline void read_table(struct db_backup *backup, size_t i, struct kt_buf *out)
{
    struct bytes bytes = {.buf = KT_BUF_INIT(1u << 30)};

    OK(db_backup_copy(backup, i, take, &bytes, &error));
    assert_int_equal(kt_buf_left(&bytes.buf), db_backup_facts(backup)->tables[i].bytes);
    *out = bytes.buf;
}

static inline size_t table_of(const struct db_backup_facts *facts, const char *name)
{
    for (size_t i = 0; i < facts->table_count; i++)
        if (strcmp(facts->tables[i].name, name) == 0)
            return i;
    fail_msg("no table %s", name);
    return 0;
}

#endif
