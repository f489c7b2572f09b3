#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# How long failover, switchover and refusals take, and whether reads fail meanwhile: three nodes, each
# measured KT_TIMES_RUNS times. Prints medians; tests/chaos/run --times starts it.
. "$KT_SOURCE/tests/support/cluster.sh"

runs=${KT_TIMES_RUNS:-20}

now_us() {
    echo "${EPOCHREALTIME/[.,]/}"
}

# The median and the range of the numbers of a file, in ms.
median_of() {
    sort -n "$1" | awk '{ v[NR] = $1 } END {
        m = NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2
        printf "%d ms (%d to %d, %d runs)", m, v[1], v[NR], NR }'
}

active_of() {
    local name

    for name in "${NODES[@]}"; do
        is_role "$name" active && echo "$name" && return
    done
}

# The first node of the list that is not the given one.
other_than() {
    local name

    for name in "${NODES[@]}"; do
        [[ $name != "$1" ]] && echo "$name" && return
    done
}

all_count() {
    local name

    for name in "${NODES[@]}"; do
        [[ $name == "$1" ]] || counts "$1" "$name" || return 1
    done
}

# Fetches through the client until told to stop; a line for each read that failed.
read_on() {
    while [[ ! -e $KT_TMP/stop.reads ]]; do
        client host-1 get watched -o "$KT_TMP/watched.got" 2>>"$KT_TMP/reads.err" || echo failed
        echo read >>"$KT_TMP/reads.count"
    done >>"$KT_TMP/reads.failed"
}

# Deposits one after the other at NODE until it takes one.
until_taken() {
    local end=$((SECONDS + 30))

    until takes_deposits "$1"; do
        [[ $SECONDS -lt $end ]] || return 1
    done
}

new_cluster 3
add_clients kts-01
new_cipher
succeeds put_as host-1 watched "a secret"
: >"$KT_TMP/reads.failed"
read_on &
reader=$!
KT_PIDS[$reader]=reader

check "failovers and switchovers were measured"
for ((i = 0; i < runs; i++)); do
    active=$(active_of)
    to=$(other_than "$active")
    kill_node "$active"
    start=$(now_us)
    does "$to" failover --to "$to"
    until_taken "$to" || problem "$to takes nothing after the failover"
    echo $((($(now_us) - start) / 1000)) >>"$KT_TMP/failover"
    start_node "$active"
    does "$active" rejoin
    comes_true 60 all_count "$to" || break

    next=$(other_than "$to")
    start=$(now_us)
    does "$to" switchover --to "$next"
    until_taken "$next" || problem "$next takes nothing after the switchover"
    echo $((($(now_us) - start) / 1000)) >>"$KT_TMP/switchover"
    sed -n 's/^writes paused for \([0-9]*\)\.\([0-9][0-9]\) s$/\1\20/p' "$KT_TMP/out" >>"$KT_TMP/pause"
    comes_true 60 all_count "$next" || break
done
: >"$KT_TMP/stop.reads"
wait "$reader"
unset "KT_PIDS[$reader]"

check "refusals without a quorum were measured"
active=$(active_of)
for name in "${NODES[@]}"; do
    [[ $name == "$active" ]] || kill_node "$name"
done
comes_true 10 is_ready_as "$active" 503
for ((i = 0; i < runs; i++)); do
    start=$(now_us)
    deposit "$active" host-1 "refused/$i" "$KT_TMP/cipher"
    echo $((($(now_us) - start) / 1000)) >>"$KT_TMP/refusal"
    answers 503 '*'
done
kt_close_case

echo "times: order to the first acknowledged write in a failover: $(median_of "$KT_TMP/failover")"
echo "times: order to the first acknowledged write in a switchover: $(median_of "$KT_TMP/switchover")"
[[ -s $KT_TMP/pause ]] && echo "times: pause of writes in a switchover, as it says: $(median_of "$KT_TMP/pause")"
echo "times: refusal without a quorum: $(median_of "$KT_TMP/refusal")"
echo "times: reads through the client meanwhile: $(wc -l <"$KT_TMP/reads.count"), failed: $(wc -l <"$KT_TMP/reads.failed")"
finish
