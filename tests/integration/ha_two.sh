#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Two nodes, the shape that most users run: join, death of each, failover, the old active's return, a
# newcomer instead of it, overrides, power loss, two operators (P1 to P4).
. "$KT_SOURCE/tests/support/cluster.sh"

# A failover, which may have to wait for a member (9).
promotes() {
    run admin_for 90 "$1" failover --to "$1"
    [[ $status -eq 0 || $status -eq 9 ]] && return
    kt_show "$KT_TMP/err" "stderr"
    problem "status $status of failover --to $1"
}

new_cluster 2
add_clients kts-01
new_cipher

check "a node joins with a token, follows, and counts"
shows_role kts-01 active
shows_role kts-02 passive
is "$(ready_status kts-01)" 200 "ready of the active"
is "$(ready_status kts-02)" 473 "ready of the passive"
is "$(health_of kts-01 w)" 1 "w"

check "a token is good for one node only, and a made-up one for none"
new_token kts-01
exits some "$KTADMIN" --confdir "$KT_TMP/stranger" join "${token%%-*}-aaaaaaaa-${token#ktj1-*-}" \
    --node kts-09 --address 127.0.0.1 --port 1 --agent-port 2 --database-port 3
rm -rf "$KT_TMP/stranger"

check "what is acknowledged is on both nodes: the receipt says so, and the passive serves it"
deposits_at kts-01 first
has "$KT_TMP/body" '"w": *1'
comes_true 5 serves kts-02 first
comes_true 5 takes_writes kts-01

check "a passive refuses changes, and the client finds the active by itself"
deposit kts-02 host-1 elsewhere "$KT_TMP/cipher"
answers 503 passive
succeeds put_as host-1 through/client "a secret"
succeeds gets host-1 through/client "a secret"

check "ktadmin status names both nodes, from either"
for name in kts-01 kts-02; do
    succeeds admin_for 10 "$name" status
    has "$KT_TMP/out" kts-01
    has "$KT_TMP/out" kts-02
    has "$KT_TMP/out" active
    has "$KT_TMP/out" passive
done

check "without its passive the active refuses changes within 0.2 s, and goes on serving"
kill_node kts-02
comes_true 10 is_ready_as kts-01 503
refuses_at_once kts-01 no_quorum
serves_all kts-01 first
is_fresh kts-01 first && problem "a fresh answer without a quorum"
answers 503

check "when the passive is back, changes are taken by themselves"
start_node kts-02
comes_true 20 takes_deposits kts-01
shows_role kts-02 passive

check "when the active dies, the client still fetches everything"
deposits_at kts-01 second
kill_node kts-01
succeeds gets host-1 through/client "a secret"
comes_true 5 serves kts-02 second
comes_true 20 is_ready_as kts-02 474
refuses_at_once kts-02

check "the passive is promoted with one command: reads, but no changes while it is alone"
exits 9 admin_for 90 kts-02 failover --to kts-02
shows_role kts-02 unestablished
is "$(ready_status kts-02)" 503 "ready of an unestablished node"
serves_all kts-02 first second
refuses_at_once kts-02

check "the old active that reboots alone serves what it has, and changes and proves nothing"
kill_node kts-02
start_node kts-01
comes_true 20 serves kts-01 second
refuses_at_once kts-01
is_fresh kts-01 first && problem "a fresh answer from a node that was replaced"

check "as soon as it hears of the newer epoch it is fenced"
start_node kts-02
shows_role kts-01 fenced 20
is "$(ready_status kts-01)" 530 "ready of a fenced node"
refuses_at_once kts-01
shows_role kts-02 unestablished

check "the old active's rejoin opens the writes again"
does kts-01 rejoin
shows_role kts-02 active
shows_role kts-01 passive
comes_true 10 takes_deposits kts-02
serves_all kts-02 first second
comes_true 10 serves kts-01 second
succeeds put_as host-1 after/failover "another secret"
succeeds gets host-1 after/failover "another secret"

check "a switchover brings it back, and loses nothing"
deposits_at kts-02 third
does kts-02 switchover --to kts-01
shows_role kts-01 active
shows_role kts-02 passive
comes_true 10 takes_deposits kts-01
serves_all kts-01 first second third

check "power loss of both, in every order of starting, comes back without a person"
for order in "kts-01 kts-02" "kts-02 kts-01"; do
    deposits_at kts-01 "before/${order/ /-}"
    kill_node kts-01
    kill_node kts-02
    for name in $order; do
        start_node "$name"
    done
    comes_true 40 takes_deposits kts-01
    comes_true 5 serves kts-01 "before/${order/ /-}"
    serves_all kts-01 first
done
kill_node kts-02
kill_node kts-01
start_server kts-01
start_server kts-02
start_node kts-01
start_node kts-02
comes_true 40 takes_deposits kts-01

check "of two operators at once one wins, and the other is told"
admin_for 60 kts-01 failover --to kts-01 >"$KT_TMP/one.out" 2>&1 &
one=$!
admin_for 60 kts-02 failover --to kts-02 >"$KT_TMP/two.out" 2>&1 &
two=$!
first=0 second=0
wait "$one" || first=$?
wait "$two" || second=$?
# both may lose: then nothing has changed for the worse, and the next attempt wins
[[ $first -ne 0 || $second -ne 0 ]] || problem "both were told that they had won"
promotes kts-02
wait_until 15 is_role kts-02 active || does kts-01 rejoin
shows_role kts-02 active
comes_true 20 takes_deposits kts-02
serves_all kts-02 first second third

check "a failover that is killed at any moment is run again and succeeds"
to=kts-01 from=kts-02
for ms in 5 40 80 120 200 300 450 600; do
    admin_for 60 "$to" failover --to "$to" >"$KT_TMP/killed.out" 2>&1 &
    operator=$!
    read -r -t "0.$(printf '%03d' "$ms")" -u "$kt_silence" _
    for pid in $(family_of "$operator"); do
        kill -KILL "$pid" 2>/dev/null
    done
    wait "$operator" 2>/dev/null
    promotes "$to"
    wait_until 10 is_role "$to" active || does "$from" rejoin
    shows_role "$to" active
    comes_true 20 takes_deposits "$to"
    swap=$to to=$from from=$swap
done
serves_all "$from" first second third

check "a lost active is restored on the bare machine with one command, from the passive"
deposits_at "$from" before/restore
comes_true 5 serves "$to" before/restore
kill_node "$from"
find "${NODE_DIR[$from]}" -mindepth 1 -delete
new_token "$to"
does "$from" restore --from "$token" --node "$from" --address "${NODE_ADDRESS[$from]}" \
    --port "$HTTPS_PORT" --agent-port "$AGENT_PORT" --database-port "$DATABASE_PORT"
start_node "$from"
shows_role "$to" active 40
comes_true 20 takes_deposits "$to"
comes_true 10 serves "$from" before/restore
swap=$to to=$from from=$swap

check "a newcomer takes the old active's place, on the node that was promoted"
active=$from gone=$to
deposits_at "$active" before/newcomer
comes_true 5 serves "$gone" before/newcomer
kill_node "$active"
exits 9 admin_for 90 "$gone" failover --to "$gone"
shows_role "$gone" unestablished
join_node kts-03 "$gone"
start_node kts-03
shows_role "$gone" active 40
shows_role kts-03 passive
comes_true 20 takes_deposits "$gone"
comes_true 10 serves kts-03 before/newcomer

check "the old active that comes back then is fenced, and can be removed for good"
start_node "$active"
shows_role "$active" fenced
does "$gone" remove "$active"
kill_node "$active"
comes_true 20 takes_deposits "$gone"

check "a passive that is gone for good: only the recorded override lets the active go on, alone"
active=$gone
kill_node kts-03
comes_true 10 is_ready_as "$active" 503
fails_on "$active" remove kts-03
fails_on "$active" remove kts-03 --destroyed --standalone --cluster-id "$(new_uuid)"
refuses_at_once "$active"
does "$active" remove kts-03 --destroyed --standalone --cluster-id "$(cluster_id_of "$active")"
shows_role "$active" standalone
comes_true 20 takes_deposits "$active"
serves_all "$active" first second third before/newcomer
succeeds admin_for 10 "$active" status
has "$KT_TMP/out" 'destroyed|override|standalone'

check "a standalone node gets a passive again"
join_node kts-04 "$active"
start_node kts-04
shows_role "$active" active 40
comes_true 20 counts "$active" kts-04
comes_true 20 takes_deposits "$active"

check "a passive whose agent answers is retired, and need not be given up as destroyed"
does kts-04 db --stop
comes_true 10 is_ready_as "$active" 503
fails_on "$active" remove kts-04
does "$active" remove kts-04 --standalone --cluster-id "$(cluster_id_of "$active")"
shows_role "$active" standalone 40
comes_true 20 takes_deposits "$active"
start_supervisor kts-04
comes_true 10 is_gone "${NODE_SUPERVISOR[kts-04]}"
database_runs kts-04 && problem "a retired node has started"

check "everything acknowledged is there, by its receipts"
find "$(client_dir host-1)" -name '*receipt*' -type f >"$KT_TMP/receipts"
if [[ -s $KT_TMP/receipts ]]; then
    mapfile -t files <"$KT_TMP/receipts"
    succeeds admin_for 20 "$active" receipts check "${files[@]}"
else
    problem "the client has kept no receipts"
fi
serves_all "$active" first second third

finish
