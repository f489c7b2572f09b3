#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Idle connections, slow senders and slow readers beside clients who only want to be served: these are,
# all of them, and memory stays bounded. The long form is tests/bench/connections.sh.
. "$KT_SOURCE/tests/support/lib.sh"
. "$KT_SOURCE/tests/support/crowd.sh"

new_node_with_clients kts-01
head -c 700000 /dev/urandom >"$KT_TMP/large"
head -c 64 /dev/urandom >"$KT_TMP/key"
succeeds client host-1 put crowd/key "$KT_TMP/key"
succeeds client host-1 put crowd/large "$KT_TMP/large"
key=/v1/deposits/crowd%2Fkey large=/v1/deposits/crowd%2Flarge

check "beside 1,000 idle and 100 slow connections every request is served, and memory is bounded"
served kts-01 host-1 "$key" 2 16
before=$(worker_memory kts-01)
crowd_begins kts-01 --idle 1000 --slow 100 --addresses 50 --first 127.0.5.1
served kts-01 host-1 "$key" 3 16
after=$(worker_memory kts-01)
echo "# $rate a second, p99 $p99 ms; memory of the workers $before KiB before, $after KiB with the crowd"
if [[ $KT_SANITIZED != yes ]]; then
    [[ $((after - before)) -lt $((1100 * 64)) ]] || problem "1,100 connections cost $((after - before)) KiB"
fi
crowd_ends

check "a full worker gives up those that wait, of the address with most of them, and serves newcomers"
stop_node kts-01
set_setting kts-01 server max_connections 200
set_setting kts-01 server workers 1
set_setting kts-01 timeouts header 60s
set_setting kts-01 timeouts handshake 60s
start_node kts-01
exec {quiet}<>"/dev/tcp/127.0.0.1/${NODE_PORT[kts-01]}" # one quiet client from another address
crowd_begins kts-01 --idle 250 --slow 50 --addresses 1 --first 127.0.5.1
served kts-01 host-1 "$key" 3 16
# What the kernel has in its backlog is among them, for a moment.
is_bounded() {
    [[ $(connections kts-01) -le 200 ]]
}
comes_true 20 is_bounded
# The time of its handshake is not over, and it is alone at its address: it is still there.
status=0
read -r -t 0.1 -u "$quiet" _ || status=$?
[[ $status -gt 128 ]] || problem "the quiet client was turned out"
exec {quiet}>&-
crowd_ends
has "$KT_TMP/crowd.out" '^idle: 250 came, .* [1-9][0-9]* ended'

check "who does not take an answer is cut, and what it did not take is given back"
stop_node kts-01
set_setting kts-01 timeouts answer 2s
set_setting kts-01 timeouts header 10s
start_node kts-01
succeeds "$CROWD" "${NODE_PORT[kts-01]}" --seconds 1 --load 1 --client "$(client_dir host-1)" "$large"
back() {
    [[ $(connections kts-01) -le 1 ]]
}
"$CROWD" "${NODE_PORT[kts-01]}" --hold yes --seconds 60 --stall 20 --stall-seconds 50 \
    --flooder "$(client_dir host-1)" "$large" < <(sleep 60) >"$KT_TMP/stall.out" 2>&1 &
KT_PIDS[$!]="readers that do not read"
readers=$!
holds() {
    [[ $(connections kts-01) -ge 20 ]]
}
comes_true 10 holds
comes_true 8 back
is_running "$readers" || problem "the readers went away by themselves: $(cat "$KT_TMP/stall.out")"
end_process "$readers"

check "what slow readers hold is bounded in all: the slowest goes for the next"
stop_node kts-01
set_setting kts-01 timeouts answer 60s
set_setting kts-01 limits rate 0
set_setting kts-01 limits answers 4MiB
start_node kts-01
before=$(worker_memory kts-01)
"$CROWD" "${NODE_PORT[kts-01]}" --hold yes --seconds 60 --stall 60 --stall-seconds 50 \
    --flooder "$(client_dir host-1)" "$large" < <(sleep 60) >"$KT_TMP/stall.out" 2>&1 &
KT_PIDS[$!]="readers that do not read"
readers=$!
some_cut() {
    [[ $(connections kts-01) -ge 3 && $(connections kts-01) -le 12 ]]
}
all_came() {
    [[ $(ss -Htn "dport = :${NODE_PORT[kts-01]}" | wc -l) -ge 60 ]]
}
comes_true 15 all_came
comes_true 15 some_cut
served kts-01 host-1 "$key" 2 8
after=$(worker_memory kts-01)
echo "# memory of the worker $before KiB before, $after KiB with 60 answers of 700 kB that nobody takes"
[[ $KT_SANITIZED == yes || $((after - before)) -lt 40000 ]] || problem "it grew by $((after - before)) KiB"
end_process "$readers"

finish
