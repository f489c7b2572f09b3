#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Three nodes: writes go on with any one of them gone; failover, switchover, growing and shrinking,
# cut links, a rewound survivor, restore from a passive (P1 to P4).
. "$KT_SOURCE/tests/support/cluster.sh"

new_cluster 3
add_clients kts-01
new_cipher

# Sets $active; gives up when there is none.
find_active() {
    local name

    for name in "${NODES[@]}"; do
        is_role "$name" active && active=$name && return
    done
    return 1
}

# The others of the three.
others_of() {
    local name

    for name in kts-01 kts-02 kts-03; do
        [[ $name == "$1" ]] || echo "$name"
    done
}

check "three nodes: one active, two passives that count"
shows_role kts-01 active
for name in kts-02 kts-03; do
    shows_role "$name" passive
    counts kts-01 "$name" || problem "$name does not count"
done
deposits_at kts-01 first

check "nothing needs the passive that joined first any more when both are members"
kill_node kts-02
does kts-01 switchover --to kts-03
comes_true 10 takes_deposits kts-03
start_node kts-02
does kts-02 rejoin
comes_true 20 counts kts-03 kts-02
comes_true 20 counts kts-03 kts-01
does kts-03 switchover --to kts-01
comes_true 10 takes_deposits kts-01
comes_true 20 counts kts-01 kts-02
comes_true 20 counts kts-01 kts-03

check "writes go on when a passive dies, whichever it is"
for name in kts-02 kts-03; do
    kill_node "$name"
    comes_true 5 takes_deposits kts-01
    deposits_at kts-01 "without/$name"
    start_node "$name"
    shows_role "$name" passive
    comes_true 20 is_ready_as "$name" 473
    comes_true 10 serves "$name" "without/$name"
done

check "when the active dies, one command lets the writes go on, with the third node's help"
kill_node kts-01
start=${EPOCHREALTIME/[.,]/}
does kts-02 failover --to kts-02
until takes_deposits kts-02 || [[ $((${EPOCHREALTIME/[.,]/} - start)) -gt 20000000 ]]; do
    :
done
ms=$(((${EPOCHREALTIME/[.,]/} - start) / 1000))
echo "from the order to the first acknowledged write: $ms ms"
[[ $ms -lt 5000 || ${KT_SANITIZED:-no} == yes ]] || problem "it took $ms ms"
shows_role kts-02 active
shows_role kts-03 passive
serves_all kts-02 first without/kts-02 without/kts-03

check "the old active is fenced, and a passive again after its rejoin"
start_node kts-01
shows_role kts-01 fenced
does kts-01 rejoin
shows_role kts-01 passive
comes_true 20 counts kts-02 kts-01
deposits_at kts-02 second
comes_true 10 serves kts-01 second

check "a switchover moves the writes, and no read through the client fails in it"
reads_fail() {
    while [[ ! -e $KT_TMP/stop.reads ]]; do
        client host-1 get watched -o "$KT_TMP/watched.got" 2>>"$KT_TMP/reads.err" || echo failed
        echo read >>"$KT_TMP/reads.count"
    done >"$KT_TMP/reads.failed"
}
succeeds put_as host-1 watched "a secret"
reads_fail &
reader=$!
KT_PIDS[$reader]="reader"
start=${EPOCHREALTIME/[.,]/}
does kts-02 switchover --to kts-03
comes_true 10 takes_deposits kts-03
echo "switchover, from the order to the first write: $(((${EPOCHREALTIME/[.,]/} - start) / 1000)) ms"
shows_role kts-03 active
for name in kts-01 kts-02; do
    shows_role "$name" passive
done
: >"$KT_TMP/stop.reads"
wait "$reader"
unset "KT_PIDS[$reader]"
is "$(wc -l <"$KT_TMP/reads.failed")" 0 "reads that failed of $(wc -l <"$KT_TMP/reads.count")"
serves_all kts-03 first second

check "no read through the client fails while the active dies and another is promoted"
rm -f "$KT_TMP/stop.reads" "$KT_TMP/reads.count"
reads_fail &
reader=$!
KT_PIDS[$reader]="reader"
kill_node kts-03
does kts-01 failover --to kts-01
comes_true 10 takes_deposits kts-01
: >"$KT_TMP/stop.reads"
wait "$reader"
unset "KT_PIDS[$reader]"
is "$(wc -l <"$KT_TMP/reads.failed")" 0 "reads that failed of $(wc -l <"$KT_TMP/reads.count")"
start_node kts-03
does kts-03 rejoin
shows_role kts-03 passive
comes_true 20 counts kts-01 kts-03

check "without both passives changes are refused within 0.2 s; with either one they are taken"
kill_node kts-02
kill_node kts-03
comes_true 10 is_ready_as kts-01 503
refuses_at_once kts-01 no_quorum
start_node kts-03
comes_true 20 takes_deposits kts-01
start_node kts-02
comes_true 20 counts kts-01 kts-02

check "one survivor of three proves nothing: it is refused, and the answer names who would settle it"
deposits_at kts-01 third
comes_true 5 serves kts-02 third
kill_node kts-01
kill_node kts-03
fails_on kts-02 failover --to kts-02
has "$KT_TMP/err" 'kts-0[13]'
serves_all kts-02 first second third
start_node kts-03
does kts-02 failover --to kts-02
shows_role kts-02 active
serves_all kts-02 first second third
start_node kts-01
does kts-01 rejoin
comes_true 20 counts kts-02 kts-01

if has_networks; then
    check "an active that is cut off from both passives takes nothing and proves nothing"
    isolate kts-02
    comes_true 15 is_ready_as kts-02 503
    refuses_at_once kts-02
    is_fresh kts-02 first && problem "a fresh answer without a quorum"
    serves_all kts-02 first

    check "the others go on without it; when it hears of them it is fenced"
    does kts-03 failover --to kts-03
    comes_true 10 takes_deposits kts-03
    deposits_at kts-03 fourth
    refuses_at_once kts-02
    is_fresh kts-02 fourth && problem "a fresh answer from a node that was replaced"
    heal
    shows_role kts-02 fenced
    does kts-02 rejoin
    comes_true 20 counts kts-03 kts-02
    serves_all kts-03 first second third fourth

    check "of a link that is cut in one direction only nothing is lost"
    cut_one_way kts-03 kts-02
    deposits_at kts-03 one/way
    heal
    cut_one_way kts-01 kts-03
    comes_true 10 takes_deposits kts-03
    heal
    comes_true 30 is_ready_as kts-01 473
    comes_true 30 is_ready_as kts-02 473
    comes_true 10 serves kts-02 one/way
    comes_true 10 serves kts-01 one/way
else
    skip "cut links: this machine does not let users make networks"
fi

check "an active that is frozen while another is promoted has nothing to say when it wakes"
find_active || give_up "no active"
old=$active
mapfile -t rest < <(others_of "$old")
freeze_node "$old"
does "${rest[0]}" failover --to "${rest[0]}"
comes_true 15 takes_deposits "${rest[0]}"
deposits_at "${rest[0]}" while/frozen
thaw_node "$old"
deposit "$old" host-1 woken "$KT_TMP/cipher"
answers 503
is_fresh "$old" while/frozen && problem "a fresh answer from a node that was replaced"
shows_role "$old" fenced
does "$old" rejoin
active=${rest[0]}
comes_true 20 counts "$active" "$old"

check "a fourth node joins, and leaves again"
join_node kts-04 "$active"
start_node kts-04
comes_true 40 counts "$active" kts-04
comes_true 10 takes_deposits "$active"
comes_true 10 serves kts-04 first

check "an active that works is not sealed for a proof that cannot be had"
mapfile -t rest < <(others_of "$active")
stop_node "${rest[0]}"
stop_node "${rest[1]}"
fails_on "$active" switchover --to kts-04
has "$KT_TMP/err" "bring up one of"
fails_on "$active" failover --to kts-04
has "$KT_TMP/err" "nothing was changed"
is_role "$active" active || problem "$active is not the active any more"
comes_true 10 takes_deposits "$active"
start_node "${rest[0]}"
start_node "${rest[1]}"
comes_true 30 counts "$active" "${rest[0]}"
comes_true 30 counts "$active" "${rest[1]}"

check "a node leaves"
does kts-04 leave
comes_true 20 takes_deposits "$active"
counts "$active" kts-04 && problem "kts-04 still counts"
nothing_runs kts-04 || problem "kts-04 still runs"
unset "NODE_PID[kts-04]" "NODE_SUPERVISOR[kts-04]"
NODES=(kts-01 kts-02 kts-03)

check "how many members a change waits for can be changed while clients write"
does "$active" quorum
has "$KT_TMP/out" "1 of 2 members have"
fails_on "$active" quorum 3
fails_on "$active" quorum none
does "$active" quorum 2
has "$KT_TMP/out" "2 of 2 members have"
comes_true 10 takes_deposits "$active"
mapfile -t rest < <(others_of "$active")
stop_node "${rest[0]}"
comes_true 10 is_ready_as "$active" 503
refuses_at_once "$active"
start_node "${rest[0]}"
comes_true 30 takes_deposits "$active"
does "$active" quorum 1 --json
has "$KT_TMP/out" '"w": 1'
stop_node "${rest[0]}"
comes_true 10 takes_deposits "$active"
start_node "${rest[0]}"
comes_true 30 counts "$active" "${rest[0]}"

check "a passive whose disk is lost is removed and joins again under a new member id"
mapfile -t rest < <(others_of "$active")
lost=${rest[0]}
before=$(member_of "$lost")
kill_node "$lost"
find "${NODE_DIR[$lost]}" -mindepth 1 -delete
comes_true 5 takes_deposits "$active"
does "$active" remove "$lost"
does "$active" remove "$lost" # again, as after a kill: it is done
join_node "$lost" "$active"
start_node "$lost"
comes_true 40 counts "$active" "$lost"
[[ $(member_of "$lost") != "$before" ]] || problem "the lost disk's member id is used again"
comes_true 10 serves "$lost" first

check "a node that lost part of its log has no vote: as only survivor with it nothing is promoted"
# what a rewind leaves until the node has caught up: a floor beyond the end of its log. With the other's
# help it gets past it, and then has a vote.
mapfile -t rest < <(others_of "$active")
low=${rest[1]} high=${rest[0]}
stop_node "$low"
deposits_at "$active" above/floor
comes_true 5 serves "$high" above/floor
set_floor "$low" "$(end_of_log "$active")"
kill_node "$active"
kill_node "$high"
start_node "$low"
fails_on "$low" failover --to "$low"
start_node "$high"
does "$high" failover --to "$high"
start_node "$active"
does "$active" rejoin
swap=$active active=$high
comes_true 20 takes_deposits "$active"
serves_all "$active" first second third while/frozen above/floor
comes_true 30 counts "$active" "$swap"

check "a lost active is restored on a bare machine with one command"
gone=$active
mapfile -t rest < <(others_of "$active")
deposits_at "$active" before/restore
comes_true 5 serves "${rest[0]}" before/restore
comes_true 5 serves "${rest[1]}" before/restore
kill_node "$gone"
find "${NODE_DIR[$gone]}" -mindepth 1 -delete
new_token "${rest[0]}"
does "$gone" restore --from "$token" --node "$gone" --address "${NODE_ADDRESS[$gone]}" \
    --port "$HTTPS_PORT" --agent-port "$AGENT_PORT" --database-port "$DATABASE_PORT"
start_node "$gone"
shows_role "${rest[0]}" active
comes_true 40 counts "${rest[0]}" "$gone"
comes_true 20 takes_deposits "${rest[0]}"
comes_true 10 serves "$gone" before/restore

check "everything is on every node at the end"
for name in "${NODES[@]}"; do
    for handle in first second third while/frozen before/restore; do
        comes_true 10 serves "$name" "$handle"
    done
done

finish
