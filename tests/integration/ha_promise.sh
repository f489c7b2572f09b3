#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Two nodes, and steps of the protocol that end between two of their writes: what a node has sworn
# must hold, and must be no more than it has sworn (P1, P3).
. "$KT_SOURCE/tests/support/cluster.sh"

new_cluster 2
add_clients kts-01
new_cipher
deposits_at kts-01 first

checkpointer_of() {
    sql "$1" "select pid from pg_stat_activity where backend_type = 'checkpointer'"
}

# The agent's process of a node.
agent_of() {
    local child

    for child in $(pgrep -P "${NODE_PID[$1]}"); do
        [[ $(cat "/proc/$child/comm" 2>/dev/null) == "kts: agent"* ]] && echo "$child" && return
    done
    return 1
}

is_standby() {
    [[ $(sql "$1" 'select pg_is_in_recovery()' 2>/dev/null) == t ]]
}

promises() {
    [[ $(promise_of "$1") == "$2" ]]
}

# Its seal begins with a checkpoint; while that hangs, the agent is killed.
check "an active that was asked to seal for itself, and did not stop, is nobody's active"
checkpointer=$(checkpointer_of kts-01)
kill -STOP "$checkpointer"
admin_for 60 kts-01 failover --to kts-01 >"$KT_TMP/seal.out" 2>&1 &
order=$!
KT_PIDS[$order]=order
comes_true 10 promises kts-01 '2 kts-01'
kill -KILL "$(agent_of kts-01)"
wait "$order"
is "$([[ $? -ne 0 ]] && echo refused)" refused "the failover that was broken off"
unset "KT_PIDS[$order]"
kill -CONT "$checkpointer"
database_runs kts-01 || problem "PostgreSQL of kts-01 has stopped: nothing was tried"
is "$(sql kts-01 'select pg_is_in_recovery()')" f "still a primary"
shows_role kts-01 fenced 20
fails_on kts-02 rejoin
counts kts-01 kts-02 && problem "kts-02 follows it"
deposit kts-01 host-1 second "$KT_TMP/cipher"
answers 503 '*'

check "nor when it starts again; a failover settles it, and nothing is lost"
kill_node kts-01
start_node kts-01
comes_true 20 is_standby kts-01
does kts-02 failover --to kts-02
[[ $(role_of kts-01) == passive ]] || does kts-01 rejoin
comes_true 30 counts kts-02 kts-01
comes_true 20 takes_deposits kts-02
serves_all kts-02 first
deposits_at kts-02 second

# The writer's hold of a switchover is for that switchover.
check "who gets the lead back at once takes changes at once"
does kts-02 switchover --to kts-01
comes_true 10 takes_deposits kts-01
comes_true 10 counts kts-01 kts-02
does kts-01 switchover --to kts-02
comes_true 5 takes_deposits kts-02
comes_true 10 counts kts-02 kts-01

# As when the active is killed between the passive's oath and the row that says so.
check "a passive that was retired takes nothing more that only it could give back"
incarnation=$(sql kts-02 "select i.number || '.' || encode(i.bits, 'hex') from incarnations i")
tls=${NODE_DIR[kts-02]}/.keytrustee/tls
on_node kts-02 curl -s --max-time 20 --connect-to "::${NODE_ADDRESS[kts-01]}:$AGENT_PORT" \
    --cacert "$(ca_of kts-02)" --cert "$tls/node-cert.pem" --key "$tls/node-key.pem" \
    -H 'Content-Type: application/json' \
    -d "{\"incarnation\": \"$incarnation\", \"epoch\": $(epoch_of kts-02), \"by\": \"kts-02\"}" \
    "https://keytrustee:$AGENT_PORT/v1/cluster/node.retire" >"$KT_TMP/retire.out"
has "$KT_TMP/retire.out" retired_by
counts kts-02 kts-01 && problem "kts-01 still streams, and counts"
comes_true 5 is_ready_as kts-02 503
refuses_at_once kts-02
does kts-02 remove kts-01 --standalone --cluster-id "$(cluster_id_of kts-02)"
comes_true 20 takes_deposits kts-02
serves_all kts-02 first second

finish
