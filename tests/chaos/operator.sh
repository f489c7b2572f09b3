# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# The operator of a campaign: after faults, brings the cluster back with the commands that the
# documents give a person.

# Undoes what was done to machines, links and settings; starts what does not run.
mend_machines() {
    local name

    log_fault "heal"
    heal
    for name in "${NODES[@]}"; do
        thaw_node "$name"
        rm -f "${NODE_DIR[$name]}/filler"
        rm -rf "${NODE_DIR[$name]}"/db.[0-9]* "${NODE_DIR[$name]}"/node/aside-* # kept by rejoin
        if ! server_runs "$name" && [[ -n ${NODE_PID[$name]:-} ]]; then
            log_fault "clear and boot $name" # the master is gone: so is the machine, for us
            kill_node "$name"
        fi
        boot_node "$name" || true
    done
}

mend_settings() {
    local name

    for name in "${NODES[@]}"; do
        database_runs "$name" || continue
        sql "$name" 'alter system reset all' >/dev/null 2>&1
        sql "$name" 'select pg_reload_conf()' >/dev/null 2>&1
        [[ $(sql "$name" 'select pg_is_in_recovery()' 2>/dev/null) == f ]] || continue
        sql "$name" 'set synchronous_commit = local; set default_transaction_read_only = off;
            alter role kts_writer reset synchronous_commit;
            alter database keytrustee reset synchronous_commit' >/dev/null 2>&1
    done
}

# Everyone but one node is a passive that streams, and that one takes writes.
all_well() {
    local name role writers=0

    for name in "${NODES[@]}"; do
        role=$(role_of "$name")
        case $role in
        active) takes_writes "$name" || return 1
            writers=$((writers + 1)) ;;
        passive) is_ready_as "$name" 473 || return 1 ;;
        *) return 1 ;;
        esac
    done
    [[ $writers -eq 1 ]]
}

# Every passive has replayed the active's log.
all_in_step() {
    local name end

    all_well && find_active || return 1
    end=$(sql "$active" 'select pg_current_wal_flush_lsn()' 2>/dev/null) || return 1
    for name in "${NODES[@]}"; do
        [[ $name == "$active" ]] && continue
        [[ $(sql "$name" "select pg_last_wal_replay_lsn() >= '$end'" 2>/dev/null) == t ]] || return 1
    done
}

# One look at the cluster, and the command that a person would give then.
operate() {
    local name role

    for name in "${NODES[@]}"; do
        database_runs "$name" && continue
        supervisor_runs "$name" || start_supervisor "$name"
    done
    if ! find_active; then
        draw_node
        order "$node" failover --to "$node"
        return
    fi
    for name in "${NODES[@]}"; do
        [[ $name == "$active" ]] && continue
        role=$(role_of "$name")
        if [[ $role == fenced || $role == unestablished || $role == active ]] ||
            { [[ $role == passive ]] && ! is_ready_as "$name" 473; }; then
            order "$name" rejoin
        fi
    done
}

# A node says that it waits for a person.
wants_operator() {
    local name role

    find_active || return 0
    for name in "${NODES[@]}"; do
        role=$(role_of "$name")
        [[ $role == fenced || $role == unestablished ]] && return
    done
    return 1
}

# 0 when the cluster is well again. First it is left alone: most faults need no person.
repair() {
    local try

    mend_machines
    mend_settings
    wait_until 3 all_well && log_fault "well" && return
    wants_operator || { wait_until 6 all_well && log_fault "well" && return; }
    for ((try = 0; try < 10; try++)); do
        operate
        wait_until 5 all_well && log_fault "well" && return
    done
    log_fault "not well"
    show_cluster >>"$operator_log"
    return 1
}

show_cluster() {
    local name

    for name in "${NODES[@]}"; do
        echo "$name: role $(role_of "$name"), ready $(ready_status "$name"), promise $(promise_of "$name")," \
            "server $(server_runs "$name" && echo runs), database $(database_runs "$name" && echo runs)"
        admin_for 10 "$name" status 2>&1 | sed 's/^/    /'
        tail -n 5 "${NODE_DIR[$name]}/logs/kts.log" | sed 's/^/    log: /'
    done
}

# What a node held is gone: the machine is as bare as a new one.
empty_disk() {
    find "${NODE_DIR[$1]}" -mindepth 1 -delete 2>/dev/null
}

# replace_node NAME VIA: a bare machine joins under a name that was there before.
replace_node() {
    new_token "$2" || return 0
    order "$1" join "$token" --node "$1" --address "${NODE_ADDRESS[$1]}" --port "$HTTPS_PORT" \
        --agent-port "$AGENT_PORT" --database-port "$DATABASE_PORT"
    boot_node "$1"
}
