# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# shellcheck disable=SC2317 # called through the table
# Another account on the server's machine. Needs root to become one: tests/attack/run as root.
attacker local load 'another account on the machine'

other_count=0
# other COMMAND: as nobody, through a shell; sets $status, output in $KT_TMP/out.
other() {
    other_count=$((other_count + 1))
    [[ -n ${other_fd:-} ]] || exec {other_fd}>"$KT_ATTACK_OTHER/other/ask"
    echo "$1" >"$KT_ATTACK_OTHER/other/$other_count"
    echo "$other_count" >&"$other_fd"
    is_answered() { [[ -s $KT_ATTACK_OTHER/answers/$other_count ]]; }
    wait_until 30 is_answered || problem "the other account does not answer"
    status=$(cat "$KT_ATTACK_OTHER/answers/$other_count")
    cp "$KT_ATTACK_OTHER/answers/$other_count.out" "$KT_TMP/out"
}
others_try() {
    local command

    if [[ -z ${KT_ATTACK_OTHER:-} ]]; then
        cannot_try 'only root can become another account'
        return
    fi
    for command in "$@"; do
        other "$command"
        # a command that is not there would prove nothing
        if [[ $status -ne 0 && $status -ne 127 && $status -lt 124 ]]; then
            observe refused
        else
            observe "status $status of $command: $(head -c 200 "$KT_TMP/out" | tr '\n' ' ')"
        fi
    done
}
other_works() {
    if [[ -z ${KT_ATTACK_OTHER:-} ]]; then
        cannot_try 'only root can become another account'
        return
    fi
    echo open >"$KT_TMP/open" && chmod 0644 "$KT_TMP/open"
    other "cat $KT_TMP/open && $KTADMIN --version && test \$(id -u) -ne $(id -u)"
    observe "$([[ $status -eq 0 ]] && echo done || cat "$KT_TMP/out")"
}
on_each_node() {
    local name commands=() template

    for name in kts-01 kts-02; do
        for template in "$@"; do
            template=${template//DIR/${NODE_DIR[$name]}}
            template=${template//PORT/${NODE_DB_PORT[$name]}}
            commands+=("${template//PID/${NODE_PID[$name]}}")
        done
    done
    others_try "${commands[@]}"
}
control_at_leisure other-account done 'another account runs programs, and reads what is open to all' other_works
attempt_at_leisure local-keys refused 'reading keys, secrets, the promise, settings' on_each_node 'cat DIR/.keytrustee/ca/key.pem' \
    'cat DIR/.keytrustee/tls/node-key.pem' 'cat DIR/.keytrustee/receipt/key.pem' 'cat DIR/.keytrustee/secrets/kts_reader' 'cat DIR/node/promise' \
    'cat DIR/.keytrustee/keytrustee.conf' 'ls DIR' 'ls DIR/run'
attempt_at_leisure local-data refused 'reading the database'"'"'s files, the audit log and the logs' on_each_node 'cat DIR/db/PG_VERSION' \
    'cat DIR/audit/audit-000001.log' 'cat DIR/logs/kts.log' 'touch DIR/x' 'touch DIR/audit/x' 'mv DIR DIR.x'
attempt_at_leisure local-sockets refused 'the sockets of agent and PostgreSQL, and ktadmin' on_each_node \
    "$KTADMIN --confdir DIR status" "$KTADMIN --confdir DIR org list" "psql -X -w -h DIR/run -p PORT -U keytrustee keytrustee -c 'select 1'"
loosened_folder() {
    local name

    if [[ -z ${KT_ATTACK_OTHER:-} ]]; then
        cannot_try 'only root can become another account'
        return
    fi
    # Somebody has opened the folders: what lies behind must hold by itself.
    chmod 0711 "${NODE_DIR[kts-02]}" && chmod 0711 "${NODE_DIR[kts-02]}/run" "${NODE_DIR[kts-02]}/.keytrustee"
    others_try "$KTADMIN --confdir ${NODE_DIR[kts-02]} status" "cat ${NODE_DIR[kts-02]}/.keytrustee/ca/key.pem" \
        "psql -X -w -h ${NODE_DIR[kts-02]}/run -p ${NODE_DB_PORT[kts-02]} -U keytrustee keytrustee -c 'select 1'" \
        "psql -X -w -h ${NODE_DIR[kts-02]}/run -p ${NODE_DB_PORT[kts-02]} -U kts_reader keytrustee -c 'select 1'"
    chmod 0700 "${NODE_DIR[kts-02]}" "${NODE_DIR[kts-02]}/run" "${NODE_DIR[kts-02]}/.keytrustee"
}
attempt_at_leisure local-loosened-folder refused 'keys and sockets behind folders that were opened by mistake' loosened_folder
attempt_at_leisure local-processes refused 'memory, descriptors and signals of the server'"'"'s processes' on_each_node \
    'cat /proc/PID/maps' 'ls /proc/PID/fd' 'cat /proc/PID/environ' 'head -c 1 /proc/PID/mem' 'kill -0 PID' 'kill -TERM PID'
# As on_node starts programs: without the rights that this script has in its namespace.
account_looks_in() {
    local pid

    observe_failure on_node kts-01 test ! -r "/proc/$$/maps"
    for pid in "${NODE_PID[kts-01]}" $(pgrep -P "${NODE_PID[kts-01]}"); do
        observe_failure on_node kts-01 cat "/proc/$pid/maps"
        observe_failure on_node kts-01 head -c 1 "/proc/$pid/mem"
        observe_failure on_node kts-01 ls "/proc/$pid/fd/"
    done
}
attempt account-looks-in refused 'the account itself, from outside: memory of the server'"'"'s processes' account_looks_in
