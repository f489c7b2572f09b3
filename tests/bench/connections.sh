#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The load with and without 10,000 idle and 1,000 slow connections beside it, side by side in one run.
# The clients and the crowd run on the same cores as the server: the ratio counts, not the rate.
. "$KT_SOURCE/tests/support/lib.sh"
. "$KT_SOURCE/tests/support/crowd.sh"

KT_CROWD_WAIT=400
IDLE=${KT_CROWD_IDLE:-10000} SLOW=${KT_CROWD_SLOW:-1000} ROUNDS=${KT_CROWD_ROUNDS:-3} SECONDS_EACH=10 LOAD=64

[[ $(ulimit -Hn) -ge $((IDLE + SLOW + 200)) ]] || give_up "ulimit -Hn is $(ulimit -Hn)"
new_node kts-01 || give_up "init: $(cat "$KT_TMP/kts-01.init.out")"
# Idle ones stay, however long it takes until all are there.
set_setting kts-01 timeouts idle 1h
start_node kts-01 || give_up "the node does not start"
succeeds admin kts-01 org add acme
new_client kts-01 acme host-1 || give_up "register: $(cat "$KT_TMP/host-1.register.out")"
head -c 1024 /dev/urandom >"$KT_TMP/key"
succeeds client host-1 put crowd/key "$KT_TMP/key"
path=/v1/deposits/crowd%2Fkey

median() {
    sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
}

check "legitimate requests are all served beside the crowd, with a p99 of at most three times"
served kts-01 host-1 "$path" 5 "$LOAD" # what is allocated once is allocated now
before=$(worker_memory kts-01)
for ((round = 0; round < ROUNDS; round++)); do
    served kts-01 host-1 "$path" "$SECONDS_EACH" "$LOAD"
    echo "# alone:    $rate a second, p50 $p50 ms, p99 $p99 ms"
    echo "$rate" >>"$KT_TMP/rate.alone"
    echo "$p99" >>"$KT_TMP/p99.alone"
    began=$SECONDS
    crowd_begins kts-01 --idle "$IDLE" --slow "$SLOW" --addresses 200 --first 127.0.5.1
    echo "# the crowd is there after $((SECONDS - began)) s"
    served kts-01 host-1 "$path" "$SECONDS_EACH" "$LOAD"
    echo "# crowded:  $rate a second, p50 $p50 ms, p99 $p99 ms, memory of the workers $(worker_memory kts-01) KiB, connections $(connections kts-01)"
    echo "$rate" >>"$KT_TMP/rate.crowd"
    echo "$p99" >>"$KT_TMP/p99.crowd"
    worker_memory kts-01 >>"$KT_TMP/memory.crowd"
    crowd_ends
    sed 's/^/#   /' "$KT_TMP/crowd.out"
done
alone=$(median <"$KT_TMP/p99.alone") crowded=$(median <"$KT_TMP/p99.crowd") with=$(median <"$KT_TMP/memory.crowd")
echo "# median p99 $alone ms alone, $crowded ms beside the crowd: ratio $(awk "BEGIN { printf \"%.2f\", $crowded / $alone }")"
echo "# median rate $(median <"$KT_TMP/rate.alone") alone, $(median <"$KT_TMP/rate.crowd") beside the crowd"
echo "# memory of the workers: $before KiB before, $with KiB with the crowd, $(((with - before) * 1024 / (IDLE + SLOW))) bytes a connection"
awk "BEGIN { exit !($crowded <= 3 * $alone) }" || problem "p99 $alone ms alone, $crowded ms beside the crowd"

check "memory is bounded: less than 64 KiB a connection"
[[ $((with - before)) -lt $(((IDLE + SLOW) * 64)) ]] || problem "$((with - before)) KiB"

finish
