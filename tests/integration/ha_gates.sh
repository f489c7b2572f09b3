#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Two nodes: what an active that its passive cannot hear acknowledges and shows, what weakened settings
# change, what a node without the end of its log proves, when a newcomer begins to count (P1 to P3).
# Each case loses a deposit when one rule of the failover is left out: tests/chaos/bugs.txt.
. "$KT_SOURCE/tests/support/cluster.sh"

if ! has_networks; then
    skip "cut links: this machine does not let users make networks"
    finish
fi
new_cluster 2
add_clients kts-01
new_cipher

# in_background NODE HANDLE: a deposit under way; `deposit_ended` sets $http.
in_background() {
    local id

    id=$(new_uuid)
    curl_node "$1" -s --max-time 20 --cacert "$(ca_of "$1")" -o /dev/null -w '%{http_code}' \
        --cert "$(client_dir host-1)/client-cert.pem" --key "$(client_dir host-1)/client-key.pem" \
        -X PUT --data-binary "@$KT_TMP/cipher" -H 'Expect:' -H "KT-Deposit-Id: $id" \
        -H 'Content-Type: application/pgp-encrypted' \
        -H "KT-SHA256: $(sha256sum "$KT_TMP/cipher" | cut -c 1-64)" \
        "$(url_of "$1")/v1/deposits/$(escape "$2")" >"$KT_TMP/background" &
    background=$!
    KT_PIDS[$background]="deposit $2"
}

deposit_ended() {
    wait "$background"
    unset "KT_PIDS[$background]"
    http=$(cat "$KT_TMP/background")
}

is_not_acknowledged() {
    [[ $http != 20[01] ]] || problem "'$1' was acknowledged by $2 alone"
}

is_not_shown() {
    request "$1" host-1 GET "/v1/deposits/$2"
    [[ $http != 200 ]] || problem "'$2' is shown by $1, and on no other node"
}

waiting_commits() {
    sql "$1" "select pid from pg_stat_activity where usename = 'kts_writer' and wait_event = 'SyncRep'" 2>/dev/null
}

waits_for_passive() {
    [[ -n $(waiting_commits "$1") ]]
}

# The passive has the group, and the old active shows it and answers only after the promotion.
check "a late answer of the old active is only for what the new one holds, and settles"
deposits_at kts-01 first
comes_true 10 serves kts-02 first
session=$(sql kts-01 "select pid from pg_stat_activity where usename = 'kts_writer'
    and query like 'COMMIT PREPARED%' order by state_change desc limit 1")
[[ -n $session ]] || problem "no session that commits"
kill -STOP "$session"
in_background kts-01 late
prepared() {
    [[ $(sql kts-01 "select count(*) from pg_prepared_xacts, pg_stat_replication
        where flush_lsn >= pg_current_wal_flush_lsn()") -ge 1 ]]
}
comes_true 5 prepared
isolate kts-01
exits 9 admin_for 90 kts-02 failover --to kts-02
kill -CONT "$session"
deposit_ended
late=$http
request kts-01 host-1 GET /v1/deposits/late
[[ $http == 200 ]] && late=shown
heal
does kts-01 rejoin
comes_true 20 takes_deposits kts-02
serves_all kts-02 first
echo "the old active's answer: $late"
[[ $late == 503 ]] || serves_all kts-02 late
does kts-02 switchover --to kts-01
comes_true 20 takes_deposits kts-01

check "what no passive has flushed is neither acknowledged nor shown"
isolate kts-01
deposit kts-01 host-1 alone "$KT_TMP/cipher"
is_not_acknowledged alone kts-01
is_not_shown kts-01 alone
heal
comes_true 20 takes_deposits kts-01

check "nor when the wait is cancelled by hand"
isolate kts-01
in_background kts-01 cancelled
comes_true 5 waits_for_passive kts-01
for pid in $(waiting_commits kts-01); do
    sql kts-01 "select pg_cancel_backend($pid)" >/dev/null
done
deposit_ended
is_not_acknowledged cancelled kts-01
is_not_shown kts-01 cancelled
deposit kts-01 host-1 behind "$KT_TMP/cipher"
is_not_acknowledged behind kts-01

check "nor when settings are weakened meanwhile"
for statement in "alter system set synchronous_standby_names = ''" \
    "alter system set synchronous_commit = 'local'"; do
    sql kts-01 "$statement" >/dev/null
    sql kts-01 "select pg_reload_conf()" >/dev/null
    for n in 1 2 3; do
        deposit kts-01 host-1 "weak-$n" "$KT_TMP/cipher"
        is_not_acknowledged "weak-$n" kts-01
        is_not_shown kts-01 "weak-$n"
    done
done

check "a restart of its database alone settles nothing"
postmaster_of kts-01 && kill -QUIT "$pid"
database_is_down() { ! database_runs kts-01; }
comes_true 20 database_is_down
sql_answers() { sql kts-01 "select 1" >/dev/null 2>&1; }
supervisor_runs kts-01 || start_supervisor kts-01
comes_true 30 sql_answers
comes_true 10 serves kts-01 first
# as long as a writer needs to open, and more
for n in 1 2 3 4 5 6 7 8; do
    for handle in cancelled behind; do
        is_not_shown kts-01 "$handle"
    done
    read -r -t 1 -u "$kt_silence" _
done

# After that only PostgreSQL remembers them: what was `no_quorum` to a client would be undone to it.
check "a restart of the whole node alone does not call undone what is left in doubt"
kill_node kts-01
start_node kts-01
shows_role kts-01 active
left=$(sql kts-01 "select count(*) from pg_prepared_xacts")
[[ $left -gt 0 ]] || problem "nothing is prepared"
deposit kts-01 host-1 cancelled "$KT_TMP/cipher"
answers 503 in_doubt
is "$(health_of kts-01 in_doubt)" "$left" "groups in doubt"
is "$(state_of kts-01 | sed -n 's/^.*"in_doubt": *\([0-9]*\).*/\1/p' | head -n 1)" "$left" "groups in doubt by ktadmin status"
is_not_shown kts-01 cancelled

check "the passive is promoted, and what was acknowledged is there"
exits 9 admin_for 90 kts-02 failover --to kts-02
serves_all kts-02 first
heal
sql kts-01 "alter system reset all" >/dev/null 2>&1
does kts-01 rejoin
comes_true 20 takes_deposits kts-02
serves_all kts-02 first

# Makes kts-01's database what it was before a deposit, as a rewind does until the node has caught up:
# its promise says how far it has to come before it has a vote.
check "a node whose log ends before its floor is not promoted"
stop_node kts-01
cp -a "${NODE_DIR[kts-01]}/db" "$KT_TMP/db.before"
start_node kts-01
comes_true 20 takes_deposits kts-02
deposits_at kts-02 second
comes_true 10 serves kts-01 second
end=$(end_of_log kts-02)
stop_node kts-01
rm -rf "${NODE_DIR[kts-01]}/db"
mv "$KT_TMP/db.before" "${NODE_DIR[kts-01]}/db"
set_floor kts-01 "$end"
kill_node kts-02
start_node kts-01
exits some admin_for 90 kts-01 failover --to kts-01
[[ $status -ne 9 ]] || problem "it was promoted"
start_node kts-02
if ! wait_until 20 takes_deposits kts-02; then
    run admin_for 90 kts-02 failover --to kts-02
    run admin_for 90 kts-01 rejoin
    run admin_for 90 kts-02 rejoin
fi
comes_true 10 serves kts-02 second
comes_true 30 serves kts-01 second
comes_true 20 takes_deposits kts-02

check "a newcomer counts only when the members before it know of it"
join_node kts-03 kts-02
freeze_node kts-01
start_node kts-03
streams() { [[ $(sql kts-02 "select count(*) from pg_stat_replication where usename like 'kts-03.%'") == 1 ]]; }
comes_true 20 streams
acknowledged=()
for n in $(seq 1 12); do
    deposit kts-02 host-1 "grow-$n" "$KT_TMP/cipher"
    [[ $http == 20[01] ]] && acknowledged+=("grow-$n")
    read -r -t 1 -u "$kt_silence" _
done
kill_node kts-02
kill_node kts-03
thaw_node kts-01
comes_true 20 serves kts-01 second
run admin_for 90 kts-01 failover --to kts-01
if [[ $status -eq 0 || $status -eq 9 ]]; then
    serves_all kts-01 first second "${acknowledged[@]}"
fi

finish
