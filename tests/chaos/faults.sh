# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# The faults of a campaign: one function each, fault_NAME. A fault leaves the cluster as it is then;
# `repair` (operator.sh) puts it right. A fault that does not fit the moment returns 1.

# weight, name, what it needs: -, 3 (three nodes), net (networks of our own)
FAULTS='
3 kill_node -
3 kill_postgres -
2 kill_server -
4 kill_process -
3 kill_backend -
3 kill_waiting_backend net
3 cancel_waiting net
3 terminate_waiting net
2 fast_stop_waiting net
2 immediate_stop_waiting net
2 fast_stop -
2 immediate_stop -
3 freeze_node -
2 freeze_postgres -
2 freeze_receiver -
4 isolate_active net
3 cut_pair net
3 one_way net
3 failover -
3 switchover -
4 kill_and_failover -
4 isolate_and_failover net
3 freeze_and_failover -
4 old_active_alone net
3 point_back 3
3 weaken -
2 disk_full net
4 two_operators -
5 killed_operator -
3 killed_rejoin -
3 power_loss -
2 failovers_in_a_row -
2 lost_disk 3
2 change_w 3
2 shrink_and_grow 3
'

draw() {
    drawn=$((RANDOM % $1))
}

# Waits up to MILLISECONDS.
pause_drawn() {
    draw "$1"
    read -r -t "$((drawn / 1000)).$(printf '%03d' $((drawn % 1000)))" -u "$kt_silence" _
    true
}

draw_node() {
    draw "${#NODES[@]}"
    node=${NODES[$drawn]}
}

# Sets $active to the node that takes writes, or last did; 1 when there is none.
find_active() {
    local name role

    active=''
    for name in "${NODES[@]}"; do
        role=$(role_of "$name")
        [[ $role == active || $role == standalone || $role == unestablished ]] && active=$name && return
    done
    return 1
}

# Sets $passive to another node than $active.
draw_passive() {
    local others=() name

    for name in "${NODES[@]}"; do
        [[ $name == "$active" ]] || others+=("$name")
    done
    [[ ${#others[@]} -gt 0 ]] || return 1
    draw "${#others[@]}"
    passive=${others[$drawn]}
}

find_pair() {
    find_active && draw_passive
}

# The faults that this machine and cluster allow; what is left out is said in the report.
prepare_faults() {
    local weight name needs i

    fault_list=() left_out='clock jumps (no libfaketime), storage that hangs'
    has_networks || left_out+=', links and full disks (no namespaces)'
    while read -r weight name needs; do
        [[ -n $name ]] || continue
        [[ $needs == 3 && ${#NODES[@]} -lt 3 ]] && continue
        [[ $needs == net ]] && ! has_networks && continue
        [[ -n ${KT_CHAOS_FAULTS:-} && " $KT_CHAOS_FAULTS " != *" $name "* ]] && continue
        for ((i = 0; i < weight; i++)); do
            fault_list+=("$name")
        done
    done <<<"$FAULTS"
}

draw_fault() {
    draw "${#fault_list[@]}"
    fault=${fault_list[$drawn]}
}

# --- processes ---

fault_kill_node() {
    draw_node
    log_fault "kill $node"
    kill_node "$node"
}

fault_kill_postgres() {
    draw_node
    postmaster_of "$node" || return 1
    log_fault "kill -9 postmaster of $node"
    kill -KILL "$pid"
}

fault_kill_server() {
    draw_node
    server_runs "$node" || return 1
    log_fault "kill -9 master of $node"
    kill -KILL "${NODE_PID[$node]}"
}

# A child of the server by its title.
kts_process() {
    local child

    for child in $(pgrep -P "${NODE_PID[$1]}"); do
        [[ $(cat "/proc/$child/comm" 2>/dev/null) == "kts: $2"* ]] && pid=$child && return
    done
    return 1
}

fault_kill_process() {
    local kinds=(writer worker audit agent) kind

    draw_node
    draw 4
    kind=${kinds[$drawn]}
    server_runs "$node" && kts_process "$node" "$kind" || return 1
    log_fault "kill -9 $kind of $node"
    kill -KILL "$pid"
}

# Sets $pid to a drawn child of PostgreSQL whose title matches, or any.
draw_backend() {
    local all

    postmaster_of "$1" || return 1
    mapfile -t all < <(pgrep -P "$pid" -f "${2:-.}")
    [[ ${#all[@]} -gt 0 ]] || return 1
    draw "${#all[@]}"
    pid=${all[$drawn]}
}

fault_kill_backend() {
    draw_node
    draw_backend "$node" || return 1
    log_fault "kill -9 $(tr -d '\0' <"/proc/$pid/cmdline") of $node"
    kill -KILL "$pid"
}

# --- while commits wait for a passive that cannot answer ---

begin_waiting() {
    find_active || return 1
    log_fault "isolate $active"
    isolate "$active"
    pause_drawn 1000
}

fault_kill_waiting_backend() {
    begin_waiting && draw_backend "$active" kts_writer || return 1
    kill -KILL "$pid"
    pause_drawn 2000
}

end_sessions() {
    begin_waiting || return 1
    sql "$active" "select $1(pid) from pg_stat_activity where usename = 'kts_writer'" >/dev/null 2>&1
    pause_drawn 2000
}

fault_cancel_waiting() {
    end_sessions pg_cancel_backend
}

fault_terminate_waiting() {
    end_sessions pg_terminate_backend
}

signal_postgres() {
    postmaster_of "$2" || return 1
    log_fault "SIG$1 to postmaster of $2"
    kill "-$1" "$pid"
}

fault_fast_stop_waiting() {
    begin_waiting && signal_postgres INT "$active" && pause_drawn 2000
}

fault_immediate_stop_waiting() {
    begin_waiting && signal_postgres QUIT "$active" && pause_drawn 2000
}

fault_fast_stop() {
    draw_node
    signal_postgres INT "$node"
}

fault_immediate_stop() {
    draw_node
    signal_postgres QUIT "$node"
}

# --- stopped, not dead ---

fault_freeze_node() {
    draw_node
    log_fault "SIGSTOP all of $node"
    freeze_node "$node"
    pause_drawn 5000
}

fault_freeze_postgres() {
    draw_node
    postmaster_of "$node" || return 1
    log_fault "SIGSTOP PostgreSQL of $node"
    mapfile -t frozen < <(family_of "$pid")
    kill -STOP "${frozen[@]}" 2>/dev/null
    pause_drawn 5000
}

# Between a passive's flush and its word of it.
fault_freeze_receiver() {
    find_pair && draw_backend "$passive" walreceiver || return 1
    log_fault "SIGSTOP walreceiver of $passive"
    kill -STOP "$pid"
    pause_drawn 3000
}

# --- links ---

fault_isolate_active() {
    find_active || return 1
    log_fault "isolate $active"
    isolate "$active"
    pause_drawn 6000
}

fault_cut_pair() {
    find_pair || return 1
    log_fault "cut $active $passive"
    cut_link "$active" "$passive"
    pause_drawn 6000
}

fault_one_way() {
    local from to

    find_pair || return 1
    from=$active to=$passive
    draw 2
    [[ $drawn -eq 0 ]] && from=$passive to=$active
    log_fault "cut one way $from to $to"
    cut_one_way "$from" "$to"
    pause_drawn 6000
}

# --- commands of operators ---

# order NODE ARGUMENTS...: an operator's command that may fail; its words go to the operator's log.
order() {
    local result=0

    log_fault "order at $1: ${*:2}"
    echo "--- at $1: ${*:2}" >>"$operator_log"
    admin_for 30 "$@" >>"$operator_log" 2>&1 || result=$?
    echo "--- exit $result" >>"$operator_log"
    log_fault "exit $result"
    return "$result"
}

fault_failover() {
    draw_node
    order "$node" failover --to "$node"
    true
}

fault_switchover() {
    find_pair || return 1
    order "$active" switchover --to "$passive"
    true
}

fault_kill_and_failover() {
    find_pair || return 1
    log_fault "kill $active"
    kill_node "$active"
    order "$passive" failover --to "$passive"
    pause_drawn 3000
}

fault_isolate_and_failover() {
    find_pair || return 1
    log_fault "isolate $active"
    isolate "$active"
    pause_drawn 500
    order "$passive" failover --to "$passive"
    pause_drawn 3000
}

fault_freeze_and_failover() {
    find_pair || return 1
    log_fault "SIGSTOP all of $active"
    freeze_node "$active"
    order "$passive" failover --to "$passive"
    pause_drawn 2000
    log_fault "SIGCONT all of $active"
    thaw_node "$active"
    pause_drawn 2000
}

fault_old_active_alone() {
    local old

    find_pair || return 1
    old=$active
    log_fault "kill $old"
    kill_node "$old"
    order "$passive" failover --to "$passive"
    isolate "$old"
    log_fault "boot $old alone"
    boot_node "$old"
    pause_drawn 4000
    log_fault "heal"
    heal
    pause_drawn 2000
}

# A passive is pointed back at the old active by hand, under its old name or the new one.
fault_point_back() {
    local third conninfo name

    find_pair || return 1
    for third in "${NODES[@]}"; do
        [[ $third != "$active" && $third != "$passive" ]] && break
    done
    conninfo=$(sql "$third" 'show primary_conninfo' 2>/dev/null)
    [[ -n $conninfo ]] || return 1
    isolate "$active"
    order "$passive" failover --to "$passive" || return 0
    pause_drawn 1000
    draw 2
    if [[ $drawn -eq 0 ]]; then
        name=$(sql "$third" 'show primary_conninfo' 2>/dev/null | grep -o "application_name='*[^' ]*'*")
        [[ -n $name ]] && conninfo=$(sed "s/application_name='*[^' ]*'*/$name/" <<<"$conninfo")
    fi
    heal
    cut_link "$third" "$passive"
    log_fault "point $third back at $active: $conninfo"
    sql "$third" "alter system set primary_conninfo = '${conninfo//\'/\'\'}'" >/dev/null 2>&1
    sql "$third" 'select pg_reload_conf()' >/dev/null 2>&1
    pause_drawn 4000
    true
}

# Settings that somebody weakens on the active.
fault_weaken() {
    local all=("alter system set synchronous_standby_names = ''"
        "alter system set synchronous_commit = 'local'"
        "alter role kts_writer set synchronous_commit = off"
        "alter database keytrustee set synchronous_commit = off"
        "alter system set fsync = off")

    find_active || return 1
    draw "${#all[@]}"
    log_fault "$active: ${all[$drawn]}"
    sql "$active" "${all[$drawn]}" >/dev/null 2>&1
    sql "$active" 'select pg_reload_conf()' >/dev/null 2>&1
    draw 2
    if [[ $drawn -eq 0 ]]; then
        sql "$active" "select pg_terminate_backend(pid) from pg_stat_activity
            where usename = 'kts_writer'" >/dev/null 2>&1
    fi
    pause_drawn 2500
}

fault_disk_full() {
    draw_node
    [[ -d ${NODE_DIR[$node]}/db/pg_wal ]] && mountpoint -q "${NODE_DIR[$node]}" || return 1
    log_fault "disk of $node is full"
    head -c 2G /dev/zero >"${NODE_DIR[$node]}/filler" 2>/dev/null
    pause_drawn 4000
    rm -f "${NODE_DIR[$node]}/filler"
    log_fault "disk of $node has room"
}

fault_two_operators() {
    local one two first

    find_pair || return 1
    draw_node
    first=$node
    log_fault "two operators: to $first, to $passive"
    admin_for 30 "$first" failover --to "$first" >>"$operator_log.1" 2>&1 &
    one=$!
    admin_for 30 "$passive" failover --to "$passive" >>"$operator_log.2" 2>&1 &
    two=$!
    wait "$one"
    log_fault "first exits $?"
    wait "$two"
    log_fault "second exits $?"
}

# killed NODE MILLISECONDS ARGUMENTS...: the command is killed after a while.
killed() {
    local name=$1 ms=$2 operator process

    shift 2
    log_fault "killed after at most $ms ms at $name: $*"
    admin_for 30 "$name" "$@" >>"$operator_log" 2>&1 &
    operator=$!
    pause_drawn "$ms"
    for process in $(family_of "$operator"); do
        kill -KILL "$process" 2>/dev/null
    done
    wait "$operator" 2>/dev/null
    true
}

fault_killed_operator() {
    find_pair || return 1
    draw 3
    case $drawn in
    0) killed "$active" 800 switchover --to "$passive" ;;
    1) killed "$passive" 800 failover --to "$passive" ;;
    2) killed "$active" 800 failover --to "$active" ;;
    esac
}

# The old active's return is cut short: its agent, its database or the machine dies under it.
fault_killed_rejoin() {
    local old

    find_pair || return 1
    old=$active
    kill_node "$old"
    order "$passive" failover --to "$passive" || return 0
    start_node "$old"
    admin_for 30 "$old" rejoin >>"$operator_log" 2>&1 &
    local operator=$!
    pause_drawn 1500
    draw 3
    log_fault "rejoin of $old is cut short ($drawn)"
    case $drawn in
    0) kts_process "$old" agent && kill -KILL "$pid" ;;
    1) postmaster_of "$old" && kill -KILL "$pid" ;;
    2) kill_node "$old" ;;
    esac
    wait "$operator" 2>/dev/null
    true
}

fault_power_loss() {
    local name order=()

    log_fault "power loss"
    for name in "${NODES[@]}"; do
        kill_node "$name"
    done
    mapfile -t order < <(printf '%s\n' "${NODES[@]}" | awk -v from=$((RANDOM % ${#NODES[@]})) -v back=$((RANDOM % 2)) \
        '{ all[NR] = $0 } END { for (i = 0; i < NR; i++) print all[(from + (back ? NR - i : i)) % NR + 1] }')
    for name in "${order[@]}"; do
        log_fault "boot $name"
        boot_node "$name"
        pause_drawn 3000
    done
}

fault_failovers_in_a_row() {
    local i

    for ((i = 0; i < 5; i++)); do
        draw_node
        order "$node" failover --to "$node"
        repair || return 0
    done
}

# --- members ---

# The disk of a passive is lost: the member is removed, and a new one joins under the node's name.
fault_lost_disk() {
    find_pair || return 1
    log_fault "the disk of $passive is lost"
    kill_node "$passive"
    order "$active" remove "$passive" || return 0
    empty_disk "$passive"
    replace_node "$passive" "$active"
}

# Two must have each change, or one: by a failover of the active to itself.
fault_change_w() {
    local others=() name list

    find_active || return 1
    for name in "${NODES[@]}"; do
        [[ $name == "$active" ]] || others+=("$name")
    done
    list=$(IFS=,; echo "${others[*]}")
    draw 2
    order "$active" failover --to "$active" --members "$list" --w $((drawn + 1))
    true
}

fault_shrink_and_grow() {
    find_pair || return 1
    draw 2
    if [[ $drawn -eq 0 ]]; then
        killed "$active" 600 remove "$passive"
    fi
    order "$active" remove "$passive" || return 0
    stop_node "$passive"
    empty_disk "$passive"
    replace_node "$passive" "$active"
}
