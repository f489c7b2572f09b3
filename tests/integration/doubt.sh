#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Groups in doubt: what a writer leaves prepared is committed by the next one, never rolled back, and
# its log index is never given twice (P1, P2). Weakened settings are refused.
. "$KT_SOURCE/tests/support/lib.sh"

new_node_with_clients kts-01
dir=${NODE_DIR[kts-01]}
head -c 300 /dev/urandom >"$KT_TMP/secret"
succeeds client host-1 put doubt/first "$KT_TMP/secret"

process() {
    local pid

    for pid in $(cat /proc/"${NODE_PID[kts-01]}"/task/*/children); do
        [[ $(cat "/proc/$pid/comm") == "kts: $1" ]] && echo "$pid" && return
    done
    return 1
}

takes_deposits() {
    client host-1 --timeout 2 put doubt/probe "$KT_TMP/secret" >"$KT_TMP/out" 2>"$KT_TMP/err"
}

# psql as the writer's role, by its own secret, as the writer connects.
as_writer() {
    PGPASSWORD=$(cat "$dir/.keytrustee/secrets/kts_writer") psql -X -q -h "$dir/run" \
        -p "${NODE_DB_PORT[kts-01]}" -U kts_writer -d keytrustee -v ON_ERROR_STOP=1 -v handle="$1"
}

# A copy of the last deposit under a new handle and the next index, not yet ended.
insert_next='
begin;
insert into deposits select gen_random_uuid(), organisation_id, client_id, :'"'handle'"', 1,
    content_type, decode($$01$$, $$hex$$), sha256, size, key_group_id, (select max(log_index) + 1 from deposits),
    incarnation, epoch, deposited_at, w, receipt_key_id, receipt_signature from deposits
    order by log_index desc limit 1;'
gid=kt:$(sql kts-01 "select number || '.' || encode(bits, 'hex') from incarnations"):1

check "a group that was left prepared is settled by the next writer"
server=${NODE_PID[kts-01]}
kill -STOP "$server" # the master: no new writer meanwhile
kill -KILL "$(process writer)"
# as a writer does that is killed between its two phases
as_writer doubt/left >"$KT_TMP/psql.out" 2>&1 <<<"$insert_next prepare transaction '$gid:99';" ||
    problem "$(cat "$KT_TMP/psql.out")"
is "$(sql kts-01 "select count(*) from pg_prepared_xacts")" 1 "prepared groups"
is "$(sql kts-01 "select count(*) from deposits where handle = 'doubt/left'")" 0 "visible rows"
kill -CONT "$server"
comes_true 20 takes_deposits
is "$(sql kts-01 "select count(*) from deposits where handle = 'doubt/left'")" 1 "visible rows"
is "$(sql kts-01 "select count(*) from pg_prepared_xacts")" 0 "prepared groups"
is "$(sql kts-01 'select count(*) = max(log_index) from deposits')" t "log without gaps"

check "the session of an old writer is ended before its late PREPARE can use an index twice"
kill -STOP "$server"
kill -KILL "$(process writer)"
(echo "$insert_next select pg_sleep(600); prepare transaction '$gid:100';" | as_writer doubt/late) \
    >"$KT_TMP/late.out" 2>&1 &
late=$!
KT_PIDS[$late]="late session"
sleeps() {
    [[ $(sql kts-01 "select count(*) from pg_stat_activity where wait_event = 'PgSleep'") -eq 1 ]]
}
comes_true 10 sleeps
kill -CONT "$server"
comes_true 20 takes_deposits
wait "$late" && problem "the late session went on"
unset "KT_PIDS[$late]"
has "$KT_TMP/late.out" 'terminating connection'
is "$(sql kts-01 "select count(*) from deposits where handle = 'doubt/late'")" 0 "late rows"
is "$(sql kts-01 'select count(*) = max(log_index) from deposits')" t "log without gaps"

check "fsync off, or another synchronous_standby_names, and every change is refused"
sql kts-01 "alter system set fsync = off" >/dev/null
sql kts-01 "select pg_reload_conf()" >/dev/null
refused_as_unsafe() {
    client host-1 --timeout 2 put doubt/unsafe "$KT_TMP/secret" >"$KT_TMP/out" 2>"$KT_TMP/err" && return 1
    grep -q 'settings' "$KT_TMP/err"
}
comes_true 20 refused_as_unsafe
succeeds client host-1 get doubt/first
sql kts-01 "alter system reset fsync" >/dev/null
sql kts-01 "select pg_reload_conf()" >/dev/null
comes_true 20 takes_deposits
is "$(sql kts-01 "select count(*) from deposits where handle = 'doubt/unsafe'")" 0 "unsafe rows"
is "$(sql kts-01 'select count(*) = max(log_index) from deposits')" t "log without gaps"

check "a database that belongs to another cluster is not written to"
sql kts-01 "update cluster set cluster_id = gen_random_uuid()" >/dev/null
kill -KILL "$(process writer)"
comes_true 20 grep -q 'belongs to another cluster' "$dir/logs/kts.log"
# 6 when it reached a writer that was about to end.
run client host-1 --timeout 2 put doubt/foreign "$KT_TMP/secret"
[[ $status -eq 5 || $status -eq 6 ]] || problem "status $status: $(cat "$KT_TMP/err")"
is "$(sql kts-01 "select count(*) from deposits where handle = 'doubt/foreign'")" 0 "deposits"

finish
