// SPDX-License-Identifier: Apache-2.0
// Filling the tables of a new schema: the statements around the rows, the same in a backup's script
// and in a load. Within the transaction that made the tables, with search_path = public.
#ifndef DB_REBUILD_SQL_H
#define DB_REBUILD_SQL_H

// Before the rows: indexes and keys are noted down and dropped. Built once over all rows they take
// a fraction of the time, and foreign keys are checked as a whole.
#define DB_REBUILD_DROP                                                                            \
    "CREATE TEMPORARY TABLE kt_rebuild (step integer, at oid, name name, statement text)\n"        \
    "    ON COMMIT DROP;\n"                                                                        \
    "INSERT INTO kt_rebuild\n"                                                                     \
    "    SELECT CASE contype WHEN 'f' THEN 3 ELSE 1 END, conrelid, conname,\n"                     \
    "        format('ALTER TABLE %s ADD CONSTRAINT %I %s', conrelid::regclass, conname,\n"         \
    "            pg_get_constraintdef(oid))\n"                                                     \
    "        FROM pg_constraint\n"                                                                 \
    "        WHERE connamespace = 'public'::regnamespace AND contype IN ('p', 'u', 'f')\n"         \
    "    UNION ALL SELECT 2, i.indexrelid, c.relname, pg_get_indexdef(i.indexrelid)\n"             \
    "        FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid\n"                            \
    "        WHERE c.relnamespace = 'public'::regnamespace AND NOT EXISTS\n"                       \
    "            (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid\n"                   \
    "                AND k.contype IN ('p', 'u'));\n"                                              \
    "DO $$\n"                                                                                      \
    "DECLARE one record;\n"                                                                        \
    "BEGIN\n"                                                                                      \
    "    FOR one IN SELECT * FROM kt_rebuild ORDER BY step DESC LOOP\n"                            \
    "        IF one.step = 2 THEN\n"                                                               \
    "            EXECUTE format('DROP INDEX %s', one.at::regclass);\n"                             \
    "        ELSE\n"                                                                               \
    "            EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', one.at::regclass, one.name);" \
    "\n"                                                                                           \
    "        END IF;\n"                                                                            \
    "    END LOOP;\n"                                                                              \
    "END\n"                                                                                        \
    "$$;\n"

// Behind the rows: all of it again, under the same names; every row is checked. Then the numbers of
// identity columns go on behind the highest.
#define DB_REBUILD_ADD                                                                             \
    "DO $$\n"                                                                                      \
    "DECLARE one record;\n"                                                                        \
    "BEGIN\n"                                                                                      \
    "    FOR one IN SELECT statement FROM kt_rebuild ORDER BY step, at, name LOOP\n"               \
    "        EXECUTE one.statement;\n"                                                             \
    "    END LOOP;\n"                                                                              \
    "    FOR one IN SELECT attrelid::regclass AS t, attname AS a,\n"                               \
    "            pg_get_serial_sequence(attrelid::regclass::text, attname) AS s\n"                 \
    "            FROM pg_attribute JOIN pg_class c ON c.oid = attrelid\n"                          \
    "            WHERE c.relnamespace = 'public'::regnamespace AND attidentity <> '' LOOP\n"       \
    "        EXECUTE format('SELECT setval(%L, coalesce(max(%I), 1), max(%I) IS NOT NULL)'\n"      \
    "            ' FROM %s', one.s, one.a, one.a, one.t);\n"                                       \
    "    END LOOP;\n"                                                                              \
    "END\n"                                                                                        \
    "$$;\n"

#endif
