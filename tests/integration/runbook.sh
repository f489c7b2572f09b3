#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The old runbook with stock tools alone: gpg -d, tar, drop and create the database, psql -f. What it
# restores serves reads only, until it is adopted.
# shellcheck source=tests/support/lib.sh
. "$KT_SOURCE/tests/support/lib.sh"
# shellcheck source=tests/support/backup.sh
. "$KT_SOURCE/tests/support/backup.sh"

out=$KT_TMP/backups
mkdir -m 0700 "$out"
new_recipient 'John Doe' john.doe@example.com
new_node_with_clients n1
for i in 1 2 3; do
    echo "secret number $i" >"$KT_TMP/plain.$i"
    client host-1 put "disks/sd$i" "$KT_TMP/plain.$i" >/dev/null 2>&1 || give_up "put $i"
done
backup n1 --gpg-recipient='John Doe' --output="$out" --quiet >"$KT_TMP/path" 2>&1 ||
    give_up "backup: $(cat "$KT_TMP/path")"
file=$(cat "$KT_TMP/path")
stem=$(basename "$file" .tar.gpg)
base=${NODE_DIR[n1]}
echo "after the backup" >"$KT_TMP/plain.4"
client host-1 put disks/sd4 "$KT_TMP/plain.4" >/dev/null 2>&1 || give_up "put 4"

# As the account's profile has it: then psql -p PORT is enough.
export PGHOST=$base/run PGUSER=keytrustee PGDATABASE=keytrustee
stock() {
    psql -X -p "${NODE_DB_PORT[n1]}" "$@"
}

# A group that was prepared and not committed when the server died.
stop_server n1
sql n1 "BEGIN; INSERT INTO change_log (changed_at, event, by_whom, detail) VALUES (now(), 'x', 'x', '{}');
    PREPARE TRANSACTION 'kt:1.0123456789abcdef:1:77'" >/dev/null

check "the tarball is decrypted and unpacked to where it came from"
succeeds gpg --batch -d -o "$KT_TMP/backup.tar" "$file"
succeeds tar tvf "$KT_TMP/backup.tar"
has "$KT_TMP/out" "\.keytrustee/keytrustee\.conf$"
succeeds tar xvf "$KT_TMP/backup.tar" -C /
[[ -f $base/$stem.sql && -f $base/$stem.d/deposits.bin ]] || problem "not unpacked"

check "over the database that is there the script refuses, and changes nothing"
exits some stock -f "$base/$stem.sql"
has "$KT_TMP/err" 'prepared|drop and create'
is "$(sql n1 "SELECT count(*) FROM deposits")" 4 "deposits"

check "a group that was left prepared keeps the database from being dropped, and can be rolled back"
exits some stock -d postgres -c 'DROP DATABASE keytrustee'
has "$KT_TMP/err" 'prepared'
gid=$(sql n1 "SELECT gid FROM pg_prepared_xacts")
succeeds stock -c "ROLLBACK PREPARED '$gid'"

check "the script that misses a file stops there with an error, and leaves nothing half-way"
succeeds stock -d postgres -c 'DROP DATABASE keytrustee' -c 'CREATE DATABASE keytrustee'
mv "$base/$stem.d/clients.bin" "$KT_TMP/"
exits some stock -f "$base/$stem.sql"
is "$(stock -Atc "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")" 0 "tables"
mv "$KT_TMP/clients.bin" "$base/$stem.d/"

check "psql -f restores the database"
succeeds stock -f "$base/$stem.sql"
is "$(sql n1 "SELECT count(*) FROM deposits")" 3 "deposits"
is "$(sql n1 "SELECT state FROM cluster")" restored "state"

check "unpacked elsewhere it is restored by the line that the script itself gives"
mkdir -m 0700 "$KT_TMP/elsewhere" && cp "$base/$stem.d"/*.bin "$KT_TMP/elsewhere/"
line=$(sed -n 's/^-- *\(sed .*\)$/\1/p' "$base/$stem.sql")
line=${line//\/some\/where/$KT_TMP/elsewhere}
(cd "$KT_TMP" && sh -c "${line//THIS_FILE/$base/$stem.sql}") || problem "of: $line"
succeeds stock -d postgres -c 'CREATE DATABASE look'
mv "$base/$stem.d" "$base/$stem.d.away"
succeeds stock -d look -f "$KT_TMP/other.sql"
is "$(stock -d look -Atc "SELECT count(*) FROM deposits")" 3 "deposits"
mv "$base/$stem.d.away" "$base/$stem.d"
succeeds stock -d postgres -c 'DROP DATABASE look'

check "until it is adopted the node serves reads and refuses changes"
start_server n1
reads_again() { client host-1 get disks/sd2 -o "$KT_TMP/got" 2>"$KT_TMP/err"; }
comes_true 20 reads_again
same "$KT_TMP/got" "$KT_TMP/plain.2"
exits some client host-1 --timeout 3 put disks/sd5 "$KT_TMP/plain.1"
has "$KT_TMP/err" 'too few nodes|ktadmin status'
run admin n1 status
has "$KT_TMP/out" 'attention: .*ktadmin restore --adopt'

check "adoption wants the server stopped, and the cluster id"
exits some admin n1 restore --adopt --cluster-id "$(sql n1 'SELECT cluster_id FROM cluster')"
has "$KT_TMP/err" 'server is running'
postmaster_of n1 || problem "its database was stopped"
stop_server n1
exits some admin n1 restore --adopt
has "$KT_TMP/err" 'cluster id|cluster-id'

check "adopted it is a new incarnation that takes changes; the client believes it once"
id=$(sed -n 's/.*"cluster_id": *"\([^"]*\)".*/\1/p' "$base/.keytrustee/cluster.json")
succeeds admin n1 restore --adopt --cluster-id "$id"
has "$KT_TMP/out" 'incarnation 2'
start_node n1
succeeds client host-1 put disks/sd5 "$KT_TMP/plain.1"
has "$KT_TMP/err" 'restored from a backup'
succeeds client host-1 get disks/sd1
hasnt "$KT_TMP/err" 'restored from a backup'
is "$(sql n1 "SELECT state FROM cluster")" normal "state"

check "there is nothing to adopt twice"
stop_node n1
exits some admin n1 restore --adopt --cluster-id "$id"
has "$KT_TMP/err" 'nothing to adopt|in use'
start_node n1

check "a backup with --plain-sql is one script, and restores the same way"
succeeds backup n1 --gpg-recipient='John Doe' --output="$out" --plain-sql --quiet
plain=$(cat "$KT_TMP/out")
succeeds backup n1 verify --decrypt "$plain"
gpg --batch -d "$plain" 2>/dev/null | tar -x -C / || problem "gpg or tar failed"
stem=$(basename "$plain" .tar.gpg)
[[ ! -e $base/$stem.d/deposits.bin ]] || problem "there are files of tables"
stop_server n1
succeeds stock -d postgres -c 'DROP DATABASE keytrustee' -c 'CREATE DATABASE keytrustee'
succeeds stock -f "$base/$stem.sql"
is "$(sql n1 "SELECT count(*) FROM deposits")" 4 "deposits"

check "an adoption that is killed behind its commit is finished by the same command"
# The role of a member of before goes behind the commit; the prepared transaction keeps it.
sql n1 "CREATE ROLE \"kts-09.00000009\" LOGIN REPLICATION IN ROLE kts_members" >/dev/null
sql n1 "BEGIN READ WRITE; COMMENT ON ROLE \"kts-09.00000009\" IS 'kept'; PREPARE TRANSACTION 'keeps it'" >/dev/null
"$KTADMIN" --confdir "$base" restore --adopt --cluster-id "$id" >"$KT_TMP/killed" 2>&1 &
adopting=$!
KT_PIDS[$adopting]=adopt
waits_for_the_role() {
    is_running "$adopting" || give_up "it had ended: $(cat "$KT_TMP/killed")"
    [[ $(sql n1 "SELECT count(*) FROM pg_locks WHERE locktype = 'object' AND NOT granted" 2>&1) == 1 ]]
}
comes_true 30 waits_for_the_role
kill -KILL "$adopting"
wait "$adopting" 2>/dev/null
unset "KT_PIDS[$adopting]"
is "$(sql n1 "SELECT state FROM cluster")" normal "state"
[[ -e $base/.keytrustee/restore.json ]] || problem "there is no note"
sql n1 "ROLLBACK PREPARED 'keeps it'" >/dev/null
certificate=$(sha256sum <"$base/.keytrustee/tls/node-cert.pem")
succeeds admin n1 restore --adopt --cluster-id "$id"
has "$KT_TMP/out" 'incarnation 3'
is "$(sha256sum <"$base/.keytrustee/tls/node-cert.pem")" "$certificate" "the certificate that the rows name"
start_node n1
is "$(sql n1 "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'kts-09.%'")" 0 "roles of members of before"
succeeds client host-1 get disks/sd5
has "$KT_TMP/err" 'restored from a backup'
succeeds client host-1 put disks/sd6 "$KT_TMP/plain.1"
succeeds client host-1 get disks/sd6 -o "$KT_TMP/got"
same "$KT_TMP/got" "$KT_TMP/plain.1"
finish
