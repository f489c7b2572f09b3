#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Many requests, idle connections and slow senders: no descriptor and no memory grows, others are
# served meanwhile (P9).
. "$KT_SOURCE/tests/support/lib.sh"

LOAD=$KT_BUILD/tests/load_client
requests=${KT_LOAD_REQUESTS:-30000} # 100,000 and more: KT_LOAD_REQUESTS=100000 tests/run --only load
[[ $KT_SANITIZED == yes ]] && requests=20000

new_node_with_clients kts-01
port=${NODE_PORT[kts-01]}
head -c 1024 /dev/urandom >"$KT_TMP/secret"
client host-1 put load/key "$KT_TMP/secret" >"$KT_TMP/put.out" 2>&1 || give_up "$(cat "$KT_TMP/put.out")"

children_of() {
    cat /proc/"$1"/task/*/children 2>/dev/null
}

# What the master and its children have open. The kernel hides their descriptors from this account, as
# they are not dumpable; it tells how large each one's table is, which grows by doubling and never
# shrinks, and every connection at the node's ports that a process still holds.
descriptors() {
    local pid

    for pid in ${NODE_PID[kts-01]} $(children_of "${NODE_PID[kts-01]}"); do
        awk -v pid="$pid" '/^FDSize/ { print pid, $2 }' "/proc/$pid/status"
    done | sort
}

# Established, or closed by the other side only.
connections() {
    awk -v port="$(printf ':%04X' "$port")" 'index($2, port) && ($4 == "01" || $4 == "08")' \
        /proc/net/tcp /proc/net/tcp6 | wc -l
}

# KiB of the master and its children, all together.
memory() {
    local pid total=0

    for pid in ${NODE_PID[kts-01]} $(children_of "${NODE_PID[kts-01]}"); do
        total=$((total + $(awk '/^VmRSS/ { print $2 }' "/proc/$pid/status")))
    done
    echo "$total"
}

same_descriptors() {
    [[ $(descriptors) == "$descriptors_before" ]]
}
no_connection() {
    [[ $(connections) -eq 0 ]]
}

fetch() {
    "$LOAD" "$port" "$(client_dir host-1)" get "$@"
}

check "$requests fetches cost no descriptor and no memory"
succeeds fetch 5000 /v1/deposits/load%2Fkey # what is allocated once is allocated now
descriptors_before=$(descriptors) memory_before=$(memory)
succeeds fetch "$requests" /v1/deposits/load%2Fkey
has "$KT_TMP/out" "^$requests of $requests answered 200"
echo "# $(cat "$KT_TMP/out"); memory $memory_before KiB before, $(memory) KiB after"
[[ -n $descriptors_before ]] || problem "nothing is known of the descriptors"
comes_true 10 same_descriptors
comes_true 10 no_connection
if [[ $KT_SANITIZED != yes ]]; then # a sanitizer keeps freed memory on purpose
    [[ $(memory) -le $((memory_before + 2048)) ]] ||
        problem "memory went from $memory_before to $(memory) KiB"
fi

check "every one of them has its audit record"
succeeds admin kts-01 audit verify
records=$(cat "${NODE_DIR[kts-01]}"/audit/audit-*.log | grep -c '"event":"deposit.get".*"result":"allowed"')
is "$records" $((requests + 5000)) "records of allowed fetches"

check "1,000 idle connections leave room for others, and still answer afterwards"
mkfifo "$KT_TMP/go"
"$LOAD" "$port" "$(client_dir host-1)" idle 1000 <"$KT_TMP/go" >"$KT_TMP/idle.out" 2>&1 &
KT_PIDS[$!]="idle connections"
idle=$!
exec {go}>"$KT_TMP/go"
comes_true 60 grep -q 'are open' "$KT_TMP/idle.out"
[[ $(connections) -ge 1000 ]] || problem "only $(connections) connections are seen"
succeeds client host-1 get load/key
same "$KT_TMP/out" "$KT_TMP/secret"
echo go >&"$go"
exec {go}>&-
wait "$idle" || problem "$(cat "$KT_TMP/idle.out")"
unset "KT_PIDS[$idle]"
has "$KT_TMP/idle.out" '^1000 of 1000 idle connections still answered'
comes_true 20 no_connection

check "a slow sender is cut off with 408 at the deadline of the header, and others are served meanwhile"
"$LOAD" "$port" "$(client_dir host-1)" slow 200 >"$KT_TMP/slow.out" 2>&1 &
slow=$!
KT_PIDS[$!]="slow sender"
succeeds fetch 500 /v1/deposits/load%2Fkey
wait "$slow" || problem "$(cat "$KT_TMP/slow.out")"
unset "KT_PIDS[$slow]"
has "$KT_TMP/slow.out" '^cut off after 1[0-9]\.[0-9] s with status 408'

finish
