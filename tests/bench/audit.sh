#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Fetches a second with the audit log on against off, at 64 connections: two nodes on one machine, one
# with the server as it is shipped, one with a server of this build that answers reads without a record
# (kts_unaudited, never installed). They are measured in turns, so that both see the same machine.
#   KT_BENCH_SLICES   turns of each (7)      KT_BENCH_SECONDS   of one turn (4)
. "$KT_SOURCE/tests/support/lib.sh"

LOAD=$KT_BUILD/tests/audit_load
slices=${KT_BENCH_SLICES:-7} seconds=${KT_BENCH_SECONDS:-4}
head -c 1024 /dev/urandom >"$KT_TMP/key"

new_node kts-01 || give_up "init"
new_node kts-02 || give_up "init"
start_node kts-01
KTS=$KT_BUILD/tests/kts_unaudited start_node kts-02
for n in 1 2; do
    run admin "kts-0$n" org add acme
    new_client "kts-0$n" acme "host-$n" || give_up "no client"
    succeeds client "host-$n" put before "$KT_TMP/key"
done

measure() { # NODE CLIENT
    "$LOAD" bench "${NODE_PORT[$1]}" "$(client_dir "$2")" /v1/deposits/before 64 "$seconds"
}

median() {
    sort -n "$1" | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
}

check "the server without a log is one: its fetches leave no record, the other's do"
for n in 1 2; do
    succeeds client "host-$n" get before
    admin "kts-0$n" audit export --event deposit.get 2>/dev/null | wc -l >"$KT_TMP/count.$n"
done
[[ $(cat "$KT_TMP/count.1") -gt 0 ]] || problem "no record where there should be one"
is "$(cat "$KT_TMP/count.2")" 0 "records of the server without a log"

check "with the audit log on, at least 0.8 of the fetches a second are answered"
measure kts-01 host-1 >/dev/null # what is done once is done
measure kts-02 host-2 >/dev/null
for ((i = 0; i < slices; i++)); do
    measure kts-01 host-1 >>"$KT_TMP/on"
    measure kts-02 host-2 >>"$KT_TMP/off"
done
on=$(median "$KT_TMP/on") off=$(median "$KT_TMP/off")
share=$(awk -v on="$on" -v off="$off" 'BEGIN { printf "%.2f", (off > 0) ? on / off : 0 }')
echo "# fetches a second at 64 connections, median of $slices turns of $seconds s: $on with the log, $off without: $share"
echo "# with: $(tr '\n' ' ' <"$KT_TMP/on") without: $(tr '\n' ' ' <"$KT_TMP/off")"
awk -v share="$share" 'BEGIN { exit (share >= 0.8) ? 0 : 1 }' || problem "$share"

check "each fetch has its record"
succeeds admin kts-01 audit verify
finish
