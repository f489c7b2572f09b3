#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Every role may prepare transactions, and take all places for them: the agent rolls back what is not
# the writer's, and deposits go on (P4, P7).
. "$KT_SOURCE/tests/support/lib.sh"

new_node_with_clients kts-01
dir=${NODE_DIR[kts-01]}
head -c 300 /dev/urandom >"$KT_TMP/secret"
succeeds client host-1 put before "$KT_TMP/secret"
places=$(sql kts-01 "show max_prepared_transactions")

as_role() { # ROLE: psql with the secret of that process
    PGPASSWORD=$(cat "$dir/.keytrustee/secrets/$1") PGOPTIONS='-c default_transaction_read_only=off' \
        psql -X -q -h "$dir/run" -p "${NODE_DB_PORT[kts-01]}" -U "$1" -d keytrustee
}

# fill NAME: statements that take every place; the names have what a literal could stumble over.
fill() {
    local i

    for ((i = 0; i < places; i++)); do
        echo "begin; lock deposits in access share mode; prepare transaction 'kt:$1''\\%s $i';"
    done
}

process() {
    local pid

    for pid in $(cat /proc/"${NODE_PID[kts-01]}"/task/*/children); do
        [[ $(cat "/proc/$pid/comm") == "kts: $1" ]] && echo "$pid" && return
    done
    return 1
}

left() {
    sql kts-01 "select count(*) from pg_prepared_xacts where owner <> 'kts_writer'"
}
none_left() {
    [[ $(left) -eq 0 ]]
}
full_was_seen() {
    grep -q 'maximum number of prepared transactions reached' "$KT_TMP/fill.err"
}
takes_deposits() {
    client host-1 --timeout 2 put "after/$RANDOM$RANDOM" "$KT_TMP/secret" >"$KT_TMP/out" 2>"$KT_TMP/err"
}

check "a worker's role that takes all places for prepared transactions has them for seconds only"
server=${NODE_PID[kts-01]}
agent=$(process agent)
kill -STOP "$agent" # so that all places are taken at one moment
(fill a && fill b) | as_role kts_reader >"$KT_TMP/fill.out" 2>"$KT_TMP/fill.err"
full_was_seen || problem "the places were not taken: $(tail -n 1 "$KT_TMP/fill.err")"
takes_deposits && problem "a deposit went through beside them"
kill -CONT "$agent"
comes_true 10 takes_deposits
comes_true 10 none_left
succeeds client host-1 get before

check "log, audit log and status say so"
has "$dir/logs/kts.log" "$places prepared transactions of the role 'kts_reader' are rolled back"
recorded() { admin kts-01 audit export --event database.strangers | grep -q "\"role\":\"kts_reader\""; }
comes_true 10 recorded
run admin kts-01 status
has "$KT_TMP/out" "kts-01: $places transactions that the role kts_reader had prepared were rolled back"

check "who goes on preparing loses its session, and deposits go on"
(while fill again; do :; done) 2>/dev/null | as_role kts_reader >"$KT_TMP/fill.out" 2>"$KT_TMP/fill.err" &
filler=$!
KT_PIDS[$filler]="filler"
ended() { ! kill -0 "$filler" 2>/dev/null; }
comes_true 15 ended
wait "$filler"
unset "KT_PIDS[$filler]"
has "$KT_TMP/fill.err" 'terminating connection|connection .*(closed|lost)'
comes_true 15 takes_deposits
comes_true 10 none_left

check "a group of the writer's own is left to the writer"
kill -STOP "$server"
kill -KILL "$(process writer)"
echo "begin; select 1; prepare transaction 'kt:left:99';" | as_role kts_writer >"$KT_TMP/out" 2>&1
fill c | head -n 1 | as_role kts_reader >>"$KT_TMP/out" 2>&1
hasnt "$KT_TMP/out" 'ERROR'
rolled_back() {
    grep -q 'warning: 1 prepared transactions of the role' "$dir/logs/kts.log"
}
comes_true 10 rolled_back
comes_true 10 none_left
is "$(sql kts-01 "select count(*) from pg_prepared_xacts where gid = 'kt:left:99'")" 1 "groups of the writer"
sql kts-01 "rollback prepared 'kt:left:99'" >/dev/null
kill -CONT "$server"
comes_true 20 takes_deposits

check "what a role that is gone has prepared goes too, under whatever name"
agent=$(process agent)
kill -STOP "$agent"
sql kts-01 "set default_transaction_read_only = off; create role gone" >/dev/null
sql kts-01 "set session authorization gone; begin; select 1; prepare transaction 'kt:gone:1'" >/dev/null
sql kts-01 "set default_transaction_read_only = off; drop role gone" >/dev/null
is "$(sql kts-01 "select count(*) from pg_prepared_xacts where owner is null")" 1 "of nobody's"
kill -CONT "$agent"
gone_too() {
    [[ $(sql kts-01 "select count(*) from pg_prepared_xacts where owner is null") -eq 0 ]]
}
comes_true 10 gone_too
has "$dir/logs/kts.log" "1 prepared transactions of the role '\(removed\)' are rolled back"

check "a superuser's that is named as the writer's is left, and the log says so once"
before=$(grep -c 'are rolled back' "$dir/logs/kts.log")
sql kts-01 "begin; select 1; prepare transaction 'kt:by:hand'" >/dev/null
says_spared() { grep -q '1 prepared transactions of a superuser are named as the writer' "$dir/logs/kts.log"; }
comes_true 10 says_spared
takes_deposits || problem "no deposit beside it"
looks() { run admin kts-01 status; }
looks && looks
is "$(grep -c 'of a superuser are named' "$dir/logs/kts.log")" 1 "times in the log"
is "$(grep -c 'are rolled back' "$dir/logs/kts.log")" "$before" "nothing rolled back"
is "$(sql kts-01 "select count(*) from pg_prepared_xacts where gid = 'kt:by:hand'")" 1 "left"
sql kts-01 "rollback prepared 'kt:by:hand'" >/dev/null

finish
