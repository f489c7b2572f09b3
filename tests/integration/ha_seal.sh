#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Three nodes, of which the old active cannot hear the new one, but can hear the third: a failover under
# load, and the third node pointed back at the old active by hand (P1, P3).
# Each case loses a deposit when one rule of the failover is left out: tests/chaos/bugs.txt.
. "$KT_SOURCE/tests/support/cluster.sh"

if ! has_networks; then
    skip "cut links: this machine does not let users make networks"
    finish
fi
new_cluster 3
add_clients kts-01
new_cipher
history=$KT_TMP/history
: >"$history"

acknowledged() {
    grep -c "ev=ok kind=put" "$history" 2>/dev/null
}

goes_on() {
    [[ $(acknowledged) -gt $1 ]]
}

check "from the seal on, the third node takes nothing more from the old active"
for name in "${NODES[@]}"; do
    echo "$name ${NODE_ADDRESS[$name]} ${NODE_PORT[$name]}"
done >"$KT_TMP/nodes"
"$CHAOS_LOAD" run "$KT_TMP/nodes" "$(client_dir host-1)" "$KT_TMP/cipher" "$history" 4 2 1 &
load=$!
KT_PIDS[$load]=load
comes_true 20 goes_on 50
cut_link kts-01 kts-02
count=$(acknowledged)
comes_true 20 goes_on "$((count + 20))"
run admin_for 90 kts-02 failover --to kts-02
[[ $status -eq 0 || $status -eq 9 ]] || problem "failover: $(cat "$KT_TMP/err")"
read -r -t 2 -u "$kt_silence" _
end_process "$load"
heal
for name in kts-03 kts-01; do
    is_ready_as "$name" 473 || run admin_for 90 "$name" rejoin
done
for name in kts-01 kts-03; do
    comes_true 30 counts kts-02 "$name"
done
comes_true 30 takes_deposits kts-02
in_step() {
    [[ $(sql "$1" "select pg_last_wal_replay_lsn() >= '$(sql kts-02 'select pg_current_wal_flush_lsn()')'") == t ]]
}
comes_true 20 in_step kts-01
comes_true 20 in_step kts-03
succeeds "$CHAOS_LOAD" final "$KT_TMP/nodes" "$(client_dir host-1)" "$history"
succeeds "$CHAOS_CHECK" "$history"

# The operator slips: the third node follows the new active, and only the host of its upstream is
# changed. The old active's agent hangs, so that nothing but the names can tell.
check "a node that is pointed back at the old active under its new name does not count there"
deposits_at kts-02 before/names
member=$(member_of kts-03)
conninfo=$(sql kts-03 "show primary_conninfo")
old_name=$(grep -o "application_name='*[^' ]*" <<<"$conninfo" | sed "s/application_name='*//")
[[ $old_name == "$member"* ]] || problem "kts-03 streams as '$old_name'"
cut_link kts-01 kts-02
agent=''
for child in $(pgrep -P "${NODE_PID[kts-02]}"); do
    [[ $(cat "/proc/$child/comm") == "kts: agent"* ]] && agent=$child
done
[[ -n $agent ]] || give_up "no agent"
: >"$KT_TMP/failover.out"
admin_for 60 kts-01 failover --to kts-01 >"$KT_TMP/failover.out" 2>&1 &
operator=$!
KT_PIDS[$operator]=failover
# as soon as kts-03's report has served, it hears of nobody any more: it is sealed, and follows nobody
until [[ $(<"$KT_TMP/failover.out") == *proven* ]] || ! is_running "$operator"; do
    :
done
kill -STOP "$agent"
cut_link kts-03 kts-01
wait "$operator"
unset "KT_PIDS[$operator]"
epoch=$(promise_of kts-03)
epoch=${epoch%% *}
new_name=${member}_e${epoch}_kts-01
sql kts-03 "alter system set primary_conninfo = '$(sed "s/$old_name/$new_name/; s/'/''/g" <<<"$conninfo")'" >/dev/null
sql kts-03 "select pg_reload_conf()" >/dev/null
streams() { [[ $(sql kts-02 "select count(*) from pg_stat_replication where usename like 'kts-03.%' and state = 'streaming'") -ge 1 ]]; }
acknowledged=()
if wait_until 10 streams; then
    for n in 1 2 3 4 5; do
        deposit kts-02 host-1 "names-$n" "$KT_TMP/cipher"
        [[ $http == 20[01] ]] && problem "kts-02 has acknowledged 'names-$n' in an older epoch" &&
            acknowledged+=("names-$n")
    done
else
    echo "kts-03 does not stream from the old active: $(sql kts-03 'show primary_conninfo')"
fi
kill -CONT "$agent"
sql kts-03 "alter system reset all" >/dev/null
sql kts-03 "select pg_reload_conf()" >/dev/null
heal
for name in kts-03 kts-02; do
    wait_until 5 is_ready_as "$name" 473 || run admin_for 90 "$name" rejoin
done
comes_true 30 takes_deposits kts-01
serves_all kts-01 before/names "${acknowledged[@]}"

# What the old disk held and swore is gone: the machine that comes in its place must not be taken for it.
check "a node whose disk was lost comes back as another member"
comes_true 30 counts kts-01 kts-02
before=$(member_of kts-03)
kill_node kts-03
find "${NODE_DIR[kts-03]}" -mindepth 1 -delete
comes_true 20 takes_deposits kts-01
does kts-01 remove kts-03
join_node kts-03 kts-01
start_node kts-03
comes_true 40 counts kts-01 kts-03
[[ $(member_of kts-03) != "$before" ]] || problem "the lost disk's member id is used again"
comes_true 10 serves kts-03 before/names

finish
