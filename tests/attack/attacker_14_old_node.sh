# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# shellcheck disable=SC2317 # called through the table
# A replayed old node: the active of an older epoch goes on answering, cut off from the one that replaced it.
# Takes the lead away from kts-01; nothing behind this may count on it.
attacker old_node after 'the active of an older epoch, which goes on answering'

prepare_old_node() {
    has_networks || return 0
    isolate kts-01
    # Promoted, and without a partner that counts: 9.
    run admin_for 90 kts-02 failover --to kts-02
    [[ $status -eq 0 || $status -eq 9 ]] || problem "failover ends with $status: $(head -c 300 "$KT_TMP/err")"
    shows_role kts-02 unestablished 40
    mislead victim elder "${NODE_ADDRESS[kts-01]}:$HTTPS_PORT"
}
needs_networks() {
    if has_networks; then
        "$@"
    else
        cannot_try 'this machine does not let users make networks'
    fi
}
attempt_at_leisure old-node-writes '503 @(in_doubt|no_quorum|fenced|writer_unavailable)' 'a deposit at the old active' needs_networks old_node_writes
old_node_writes() {
    put peer old/write "$KT_TMP/cipher"
    ask peer DELETE /v1/deposits/peer%2Fown
}
# What it has it may hand out: deposits do not change. That something is not there is another matter.
control_at_leisure old-node-has 'done' 'a client is handed what the old node has' needs_networks old_node_has
old_node_has() { observe_success client elder get private/master -o "$KT_TMP/elder.got"; }
attempt_at_leisure old-node-absence 'not believed' 'telling a client that something is not there' needs_networks old_node_absence
old_node_absence() {
    run client elder get private/nothing -o "$KT_TMP/elder.got"
    # 3 would be: there is no such deposit
    observe "$([[ $status -eq 5 ]] && echo 'not believed' || echo "status $status: $(head -c 200 "$KT_TMP/err" | tr '\n' ' ')")"
}
attempt_at_leisure old-node-fresh '503 @(no_quorum|fenced)' 'what it has, said to be fresh' needs_networks old_node_fresh
old_node_fresh() {
    ask peer GET /v1/deposits/peer%2Fown -H 'KT-Freshness: barrier'
    ask peer GET /v1/deposits/none -H 'KT-Freshness: barrier'
}
attempt_at_leisure old-node-operator refused 'changes by its own operator' needs_networks old_node_operator
old_node_operator() {
    observe_failure admin_for 30 kts-01 org add late
    observe_failure admin_for 30 kts-01 client revoke victim --yes
}
attempt_at_leisure old-node-fenced '503 *' 'changes at the old active once it hears of the new one' needs_networks old_node_fenced
old_node_fenced() {
    heal
    shows_role kts-01 fenced 40
    put peer old/write-2 "$KT_TMP/cipher"
    observe "$(ready_status kts-01) as health"
    [[ ${observed[-1]} == '530 as health' ]] && unset 'observed[-1]'
}
