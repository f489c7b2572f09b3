# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Crowds of connections beside clients who only want to be served (tests/support/crowd.c).
CROWD=$KT_BUILD/tests/crowd

workers_of() {
    local pid

    for pid in $(pgrep -P "${NODE_PID[$1]}"); do
        [[ $(cat "/proc/$pid/comm" 2>/dev/null) == 'kts: worker'* ]] && echo "$pid"
    done
}

# KiB of memory of all workers of a node.
worker_memory() {
    local pid total=0

    for pid in $(workers_of "$1"); do
        total=$((total + $(awk '/^VmRSS/ { print $2 }' "/proc/$pid/status")))
    done
    echo "$total"
}

# Connections that the server has open: its descriptors nobody but root may count.
connections() {
    ss -Htn state established "sport = :${NODE_PORT[$1]}" | wc -l
}

# crowd_begins NODE OPTIONS...: until crowd_ends; what it says is in $KT_TMP/crowd.out.
crowd_begins() {
    local node=$1
    shift

    rm -f "$KT_TMP/crowd.stdin"
    mkfifo "$KT_TMP/crowd.stdin"
    "$CROWD" "${NODE_PORT[$node]}" --hold yes --seconds 600 "$@" <"$KT_TMP/crowd.stdin" >"$KT_TMP/crowd.out" 2>&1 &
    crowd=$!
    KT_PIDS[$crowd]="crowd"
    exec {crowd_stdin}>"$KT_TMP/crowd.stdin"
    comes_true "${KT_CROWD_WAIT:-120}" grep -q '^there' "$KT_TMP/crowd.out"
}

crowd_ends() {
    exec {crowd_stdin}>&-
    wait "$crowd" || problem "the crowd: $(cat "$KT_TMP/crowd.out")"
    unset "KT_PIDS[$crowd]"
}

# served NODE CLIENT PATH SECONDS CONNECTIONS: fails when one request does; $rate, $p50, $p99 in ms.
served() {
    succeeds "$CROWD" "${NODE_PORT[$1]}" --seconds "$4" --load "$5" --client "$(client_dir "$2")" "$3"
    has "$KT_TMP/out" '^load: .* 0 failed$'
    read -r rate p50 p99 < <(sed -n 's/^latency: \([0-9]*\) a second, p50 \([0-9.]*\) ms, p99 \([0-9.]*\) ms.*/\1 \2 \3/p' "$KT_TMP/out")
}
