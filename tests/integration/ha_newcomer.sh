#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Coming and going: an operator's new bundle is good at once, a name that is taken costs nothing, a
# node that has left says so.
. "$KT_SOURCE/tests/support/cluster.sh"

joins_as() {
    admin_for 120 kts-03 join "$token" --node "$1" --address "${NODE_ADDRESS[kts-03]}" \
        --port "$HTTPS_PORT" --agent-port "$AGENT_PORT" --database-port "$DATABASE_PORT"
}

new_cluster 2
bundle=$KT_TMP/alice.pem

check "an operator's bundle is taken as soon as it is there"
succeeds admin_for 30 kts-01 operator new alice --output "$bundle"
succeeds admin_for 20 kts-01 status --operator "$bundle"

check "a name that is taken costs neither the token nor the folder"
new_token kts-01
prepare_node kts-03
exits some joins_as kts-01
has "$KT_TMP/err" "is the name of the node that was asked"
succeeds admin_for 10 kts-01 token list
has "$KT_TMP/out" ' open '
exits some admin_for 10 kts-03 status
has "$KT_TMP/err" 'a join was not finished'
exits some admin_for 10 kts-03 db --start
has "$KT_TMP/err" 'a join was not finished'
succeeds joins_as kts-03
succeeds admin_for 10 kts-01 token list
has "$KT_TMP/out" ' used .*kts-03\.'

check "a bundle is taken by all nodes that answer"
start_node kts-03
comes_true 40 counts kts-01 kts-03
comes_true 20 takes_writes kts-01
succeeds admin_for 30 kts-01 operator new bob --output "$KT_TMP/bob.pem"
run admin_for 20 kts-01 status --operator "$KT_TMP/bob.pem"
hasnt "$KT_TMP/out" refuse

check "a node that leaves says that it has left, also when it is told again"
comes_true 20 counts kts-01 kts-02
does kts-03 leave
succeeds admin_for 30 kts-01 status
hasnt "$KT_TMP/out" 'kts-03 is fenced'
succeeds admin_for 30 kts-03 leave
has "$KT_TMP/out" 'kts-03\..* has left the cluster before'
run admin_for 20 kts-03 status
has "$KT_TMP/out" 'kts-03 was removed from the cluster, or has left it'
hasnt "$KT_TMP/out" 'systemctl start'
has "$KT_TMP/err" 'wipe it'
start_server kts-03
run admin_for 20 kts-03 status
has "$KT_TMP/out" 'kts-03 was removed from the cluster, or has left it'
hasnt "$KT_TMP/out" 'failover$|rejoin'
new_token kts-01
exits some joins_as kts-03
has "$KT_TMP/err" 'wipe or move it away'

finish
