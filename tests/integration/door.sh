#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The door for nodes and operators: a process of its own, which may die, wait for its port, or lose
# the agent behind it, and takes nothing else with it.
. "$KT_SOURCE/tests/support/lib.sh"

# process_of NAME: prints the id of the server's child with that title.
process_of() {
    local child

    for child in $(pgrep -P "${NODE_PID[kts-01]}"); do
        [[ $(cat "/proc/$child/comm" 2>/dev/null) == "kts: $1"* ]] && is_running "$child" &&
            echo "$child" && return
    done
    return 1
}

replaced() {
    local now
    now=$(process_of "$1") && [[ $now != "$2" ]]
}

# asks VERB: the status of the answer, and its error code, to a stranger.
asks() {
    curl -s --max-time 5 --cacert "$(ca_of kts-01)" --resolve "keytrustee-node:$agent_port:127.0.0.1" \
        -X POST -H 'Content-Type: application/json' -d '{}' -o "$KT_TMP/answer" -w '%{http_code}' \
        "https://keytrustee-node:$agent_port/v1/cluster/$1"
}

answers() {
    [[ $(asks node.add) == 403 ]] && grep -q '"not_member"' "$KT_TMP/answer"
}

refusals() {
    cat "${NODE_DIR[kts-01]}"/audit/audit-*.log | grep -c '"event":"cluster.call"'
}

more_refusals() {
    [[ $(refusals) -gt $before ]]
}

new_node kts-01 || give_up "init: $(cat "$KT_TMP/kts-01.init.out")"
agent_port=${NODE_DOOR_PORT[kts-01]}

perl -MSocket -e '
    socket(my $s, AF_INET, SOCK_STREAM, 0) or die; setsockopt($s, SOL_SOCKET, SO_REUSEADDR, 1);
    bind($s, sockaddr_in($ARGV[0], INADDR_LOOPBACK)) or die "bind: $!";
    listen($s, 1); sleep 600' "$agent_port" &
occupant=$!
KT_PIDS[$occupant]="occupant of the agent's port"
comes_true 10 can_connect "$agent_port"
start_node kts-01 || give_up "the node does not start"
log=${NODE_DIR[kts-01]}/logs/kts.log

check "while the agent's port is taken the node serves, and there is no door"
has "$log" "agent's port cannot be opened"
succeeds admin kts-01 org add acme
new_client kts-01 acme host-1 || problem "register: $(cat "$KT_TMP/host-1.register.out")"
process_of door >/dev/null && problem "there is a door without a port"

check "the port is opened when it is free"
end_process "$occupant"
comes_true 15 answers
has "$log" "agent's port is open now"

check "a refusal at the port has an audit record with the verb, which the agent made"
before=$(refusals)
is "$(asks token.new)" 403
comes_true 5 more_refusals
cat "${NODE_DIR[kts-01]}"/audit/audit-*.log >"$KT_TMP/audit"
has "$KT_TMP/audit" '"event":"cluster.call".*"verb":"token.new"'

check "a door that dies is replaced, and the agent does not notice"
agent=$(process_of agent) door=$(process_of door)
kill -KILL "$door"
comes_true 10 replaced door "$door"
comes_true 10 answers
is "$(process_of agent)" "$agent" "agent"

check "a door whose agent dies is replaced with it"
door=$(process_of door)
kill -KILL "$agent"
comes_true 10 replaced agent "$agent"
comes_true 10 replaced door "$door"
comes_true 10 answers

check "what the door does not answer itself it cannot answer without the agent"
agent=$(process_of agent)
kill -STOP "$agent"
is "$(asks no_such/verb)" 404 "a path that is none"
is "$(asks node.add)" 000 "a verb"
kill -CONT "$agent"
comes_true 10 answers

check "a stopped server has no port for nodes"
stop_node kts-01
can_connect "$agent_port" && problem "somebody listens"

finish
