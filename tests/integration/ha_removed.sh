#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A node that was off when it was removed: it hears so from the others, and serves nothing more (P3, P7).
. "$KT_SOURCE/tests/support/cluster.sh"

new_cluster 3
add_clients kts-01
new_cipher
deposits_at kts-01 first
comes_true 10 serves kts-03 first

check "what nobody hears of the others is no removal: it serves what it has"
kill_node kts-03
does kts-01 remove kts-03
knows() { [[ $(sql kts-02 "select count(*) from nodes where removed_at is not null") == 1 ]]; }
comes_true 10 knows
kill_node kts-01
kill_node kts-02
start_node kts-03
shows_role kts-03 passive
comes_true 20 is_ready_as kts-03 474
comes_true 10 serves kts-03 first

check "as soon as one that knows answers it calls itself removed, and serves nothing more"
start_node kts-02
shows_role kts-03 removed
request kts-03 host-1 GET /v1/deposits/first
answers 503 fenced
deposit kts-03 host-1 late "$KT_TMP/cipher"
answers 503 fenced
is "$(ready_status kts-03)" 530 "ready of a removed node"
run admin_for 20 kts-03 status
has "$KT_TMP/out" 'kts-03 +removed'
has "$KT_TMP/out" 'kts-03 was removed from the cluster'
is "$(grep -c 'this node was removed from the cluster, ' "${NODE_DIR[kts-03]}/logs/kts.log")" 1 "times logged"
fails_on kts-03 failover --to kts-03

check "also after a restart that nobody answers"
kill_node kts-03
kill_node kts-02
start_node kts-03
shows_role kts-03 removed
request kts-03 host-1 GET /v1/deposits/first
answers 503 fenced

check "the others go on without it, and a wiped machine joins as a new node"
start_node kts-01
start_node kts-02
comes_true 20 takes_deposits kts-01
serves_all kts-01 first
kill_node kts-03
find "${NODE_DIR[kts-03]}" -mindepth 1 -delete
join_node kts-03 kts-01
start_node kts-03
comes_true 40 counts kts-01 kts-03
comes_true 10 serves kts-03 first

finish
