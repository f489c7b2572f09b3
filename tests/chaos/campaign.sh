# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# One round of the fault campaign: a cluster, clients that log what they see, faults drawn from a
# seeded sequence, an operator who repairs, and the checker at the end. Sourced by a script that
# tests/run or tests/chaos/run starts.
#   KT_CHAOS_NODES    2 or 3
#   KT_CHAOS_SECONDS  how long faults are made
#   KT_CHAOS_SEED     of the sequence of faults; what the cluster does in between is not repeatable
#   KT_CHAOS_FAULTS   only these, by name
#   KT_CHAOS_KEEP     a folder to which history and logs are copied when something is wrong
. "$KT_SOURCE/tests/support/cluster.sh"
. "$KT_SOURCE/tests/chaos/faults.sh"
. "$KT_SOURCE/tests/chaos/operator.sh"

nodes=${KT_CHAOS_NODES:-2} seconds=${KT_CHAOS_SECONDS:-40} seed=${KT_CHAOS_SEED:-1}
history=$KT_TMP/history faults_log=$KT_TMP/faults operator_log=$KT_TMP/operator
load_pid=''
: >"$history"
declare -A fault_count=()
RANDOM=$seed

# The kernel's monotonic clock in microseconds, as in the history: what happened when.
log_fault() {
    local up

    read -r up _ </proc/uptime
    echo "${up/./}0000 $*" >>"$faults_log"
}

write_nodes() {
    local name

    for name in "${NODES[@]}"; do
        echo "$name ${NODE_ADDRESS[$name]} ${NODE_PORT[$name]}"
    done >"$KT_TMP/nodes"
}

start_load() {
    write_nodes
    "$CHAOS_LOAD" run "$KT_TMP/nodes" "$(client_dir host-1)" "$KT_TMP/cipher" "$history" \
        3 3 "$seed" 2>"$KT_TMP/load.err" &
    load_pid=$!
    KT_PIDS[$load_pid]="load"
}

stop_load() {
    end_process "$load_pid"
    [[ ! -s $KT_TMP/load.err ]] || problem "the clients: $(cat "$KT_TMP/load.err")"
}

count_acknowledged() {
    grep -c "ev=ok kind=put" "$history" 2>/dev/null
}

goes_on() {
    [[ $(count_acknowledged) -gt $1 ]]
}

# Draws faults until the time is over; after each the operator repairs, sometimes after two.
make_faults() {
    local end=$((SECONDS + seconds)) fault

    while [[ $SECONDS -lt $end ]]; do
        draw_fault
        log_fault "fault $fault"
        if "fault_$fault"; then
            fault_count[$fault]=$((${fault_count[$fault]:-0} + 1))
            pause_drawn 2500
            draw 4
            [[ $drawn -eq 0 && $SECONDS -lt $end ]] && continue
        fi
        repair || return 1
        pause_drawn 1500
    done
}

keep_evidence() {
    local to=${KT_CHAOS_KEEP:-} name

    [[ -n $to ]] || return 0
    mkdir -p "$to"
    cp "$history" "$faults_log" "$operator_log" "$KT_TMP/check.out" "$to" 2>/dev/null
    for name in "${NODES[@]}"; do
        mkdir -p "$to/$name"
        cp -r "${NODE_DIR[$name]}/logs" "${NODE_DIR[$name]}/node" "$to/$name" 2>/dev/null
        cp -r "${NODE_DIR[$name]}"/db/log "$to/$name/db-log" 2>/dev/null
    done
    echo "history and logs are in $to"
}

report() {
    local fault line=''

    for fault in $(printf '%s\n' "${!fault_count[@]}" | sort); do
        line+=" $fault ${fault_count[$fault]},"
    done
    echo "campaign: $nodes nodes, seed $seed, $seconds s of faults"
    echo "faults:${line%,}"
    echo "left out: ${left_out:-nothing}"
    cat "$KT_TMP/check.out"
}

KT_NODE_DISK=1536m
new_cluster "$nodes"
add_clients kts-01
new_cipher
prepare_faults

check "clients work before anything happens"
start_load
comes_true 20 goes_on 10

check "after every fault the operator's commands bring the cluster back (seed $seed, $nodes nodes)"
make_faults || problem "the cluster did not come back: see $operator_log"
repair || problem "the cluster did not come back at the end"
comes_true 20 goes_on "$(count_acknowledged)"

check "what was acknowledged is on every node, and nobody saw what the promises forbid"
stop_load
comes_true 20 all_in_step
run "$CHAOS_LOAD" final "$KT_TMP/nodes" "$(client_dir host-1)" "$history"
[[ $status -eq 0 ]] || problem "the last reads: $(cat "$KT_TMP/err")"
status=0
"$CHAOS_CHECK" "$history" >"$KT_TMP/check.out" || status=$?
[[ $status -eq 0 ]] || problem "the checker exits with $status: $(grep -v 'ok .*fail' "$KT_TMP/check.out" | head -n 5 | tr '\n' '~')"
report
[[ -z $kt_problems && $kt_failed -eq 0 ]] || keep_evidence
finish
