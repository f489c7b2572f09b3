# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# shellcheck disable=SC2317 # called through the table
# Whoever reaches the agents' port 11372, which leads to the keys: strangers, clients, former operators and
# nodes, and who has a join token that is none any more.
attacker agent load 'whoever reaches the agents'"'"' port'

prepare_agent() {
    mkdir -p "$KT_TMP/agent"
    succeeds admin kts-01 operator new steady -o "$KT_TMP/agent/steady.pem"
    split_bundle "$KT_TMP/agent/steady.pem" "$PKI/steady"
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=x -keyout "$KT_TMP/agent/key" \
        -out "$KT_TMP/agent/csr" 2>/dev/null
    JOIN_ARGS=$(printf '{"node": "kts-09", "member": "kts-09.0123abcd", "csr": "%s", "address": "10.77.0.9", "agent_port": %d, "database_port": %d, "https_port": %d}' \
        "$(awk '{ printf "%s\\n", $0 }' "$KT_TMP/agent/csr")" "$AGENT_PORT" "$DATABASE_PORT" "$HTTPS_PORT")
}

VERBS=(node.state node.rows node.seal node.catch_up node.promote node.follow node.establish node.rejoin node.retire
    node.checkpoint writer.hold writer.release member.add member.remove member.w member.floor token.new token.list
    token.revoke join.begin join.floor node.add node.renew ping status org.add org.list client.list client.revoke
    client.approve grant.add grant.revoke grant.list authcode.new operator.new db.status nonsense audit.heads audit.sign
    ca.begin ca.hand ca.take ca.use ca.load ca.left ca.certify ca.end ca.ended cert.make cert.use cert.load cert.end
    receipt.state receipt.make receipt.give receipt.fetch receipt.list receipt.retire receipt.load receipt.use receipt.take receipt.hand
    cluster_key.state cluster_key.make cluster_key.give cluster_key.fetch cluster_key.list cluster_key.take cluster_key.hand
    cluster_key.use cluster_key.load recovery.add recovery.list
    clock.confirm node.removed)
all_verbs() { agent_all "$1" "${VERBS[@]}"; }
control operator-is-let-in '200 ' 'an operator asks for the state of both nodes' operator_asks
operator_asks() {
    for target in kts-01 kts-02; do
        agent_call "$PKI/steady" node.state '{}'
    done
}
attempt agent-stranger '40[34] @(not_member|route_unknown)' 'every verb, without a certificate' all_verbs none
attempt agent-client '403 not_member' 'every verb, with a client'"'"'s certificate' all_verbs peer
attempt agent-client-passive '403 not_member' 'the same at the passive' agent_client_passive
agent_client_passive() {
    target=kts-02
    all_verbs peer
}
agent_certificates() {
    certificate copied-node other "/OU=keytrustee node/CN=$(member_of kts-01)"
    certificate twin-node twin "/OU=keytrustee node/CN=$(member_of kts-01)"
    certificate unlisted-node ours "/OU=keytrustee node/CN=$(member_of kts-01)"
    certificate unlisted-operator ours '/CN=steady'
    for target in kts-01 kts-02; do
        for who in copied-node twin-node unlisted-node unlisted-operator; do
            agent_call "$PKI/$who" node.state '{}'
            agent_call "$PKI/$who" member.remove '{"member": "kts-02.00000000"}'
        done
        agent_call "${NODE_DIR[kts-01]}/.keytrustee/tls/server" node.state '{}'
    done
}
attempt agent-certificates '@(403 not_member|401 certificate_unknown_ca)' 'nodes'"'"' and operators'"'"' names from other CAs, unlisted from ours, and the server'"'"'s certificate' agent_certificates
operator_at_local_verbs() {
    agent_all "$PKI/steady" org.add client.revoke grant.add authcode.new operator.new client.list cert.make cert.use audit.sign \
        recovery.add clock.confirm node.add node.renew
}
attempt operator-over-the-network '40[34] @(not_member|route_unknown)' 'verbs of the node'"'"'s own operator, over the network' operator_at_local_verbs
revoked_operator() {
    succeeds admin kts-01 operator new former -o "$KT_TMP/agent/former.pem"
    split_bundle "$KT_TMP/agent/former.pem" "$PKI/former"
    operator_counts() {
        quietly agent_call "$PKI/former" node.state '{}'
        [[ $http == "$1" ]]
    }
    comes_true 20 operator_counts 200
    sql kts-01 "update node_certificates set revoked_at = now() where kind = 'operator' and name = 'former'" >/dev/null
    comes_true 40 operator_counts 403
    agent_call "$PKI/former" node.state '{}'
    agent_call "$PKI/former" token.new '{}'
    target=kts-02
    comes_true 40 operator_counts 403
    agent_call "$PKI/former" node.state '{}'
    ask_both "$PKI/former" GET /v1/metrics
}
attempt_at_leisure revoked-operator '40[13] @(not_member|not_granted|certificate_*)' 'a revoked operator, at both agents and for the figures' revoked_operator
removed_node() {
    for target in kts-01 kts-02; do
        agent_all "$KT_TMP/removed/node" node.state node.rows node.seal node.promote member.add member.floor node.add node.renew join.floor
    done
}
attempt_at_leisure removed-node '403 not_member' 'the certificate of a node that was removed' removed_node
rotated_node() {
    cp "${NODE_DIR[kts-02]}/.keytrustee/tls/node-cert.pem" "$KT_TMP/agent/rotated-cert.pem"
    cp "${NODE_DIR[kts-02]}/.keytrustee/tls/node-key.pem" "$KT_TMP/agent/rotated-key.pem"
    quietly agent_call "$KT_TMP/agent/rotated" node.state '{}'
    [[ $http == 200 ]] || problem "before: $http"
    succeeds admin_for 60 kts-02 rotate --node-cert
    for target in kts-01 kts-02; do
        is_let_out() {
            quietly agent_call "$KT_TMP/agent/rotated" node.state '{}'
            [[ $http == 403 ]]
        }
        comes_true 20 is_let_out
        agent_call "$KT_TMP/agent/rotated" node.state '{}'
        agent_call "$KT_TMP/agent/rotated" node.seal '{}'
    done
}
attempt_at_leisure rotated-node '403 not_member' 'a node'"'"'s old key and certificate after they were renewed' rotated_node

# --- tokens ---

join_with() {
    agent_call none join.begin "${2:-$JOIN_ARGS}" -H "Authorization: Keytrustee $1"
}
guessed_tokens() {
    local id secret ca rest token

    new_token kts-01
    IFS=- read -r _ id secret ca rest <<<"$token"
    join_with "ktj1-$(random_base32 5)-$(random_base32 16)-$ca-$rest"
    join_with "ktj1-$id-$(random_base32 16)-$ca-$rest"
    join_with "ktj1-$id-${secret:0:25}$([[ $secret == *a ]] && echo e || echo a)-$ca-$rest"
    join_with x
    join_with "$(printf 'a%.0s' {1..4000})"
}
attempt guessed-token '40[03] @(token_invalid|not_member|bad_request)' 'guessed join tokens, and the right id with guessed secrets' guessed_tokens
stale_tokens() {
    local token id

    new_token kts-01
    id=$(cut -d - -f 2 <<<"$token")
    succeeds admin kts-01 token revoke "$id"
    join_with "$token"
    token=$(tr -d '\n' <"$KT_TMP/token.used")
    join_with "$token"
    admin_for 20 kts-01 token new --expires 1s >"$KT_TMP/token" 2>"$KT_TMP/token.err" || problem "token new: $(cat "$KT_TMP/token.err")"
    token=$(grep -o 'ktj1-[^ ]*' "$KT_TMP/token" | head -n 1)
    token_is_over() { admin kts-01 token list 2>/dev/null | grep "$(cut -d - -f 2 <<<"$token")" | grep -q expired; }
    comes_true 10 token_is_over
    join_with "$token"
}
attempt_at_leisure stale-token '403 token_invalid' 'join tokens that were revoked, used by another member, or are over' stale_tokens
token_elsewhere() {
    local token

    new_token kts-01
    for verb in node.state token.new member.remove node.seal status; do
        agent_call none "$verb" '{}' -H "Authorization: Keytrustee $token"
    done
}
attempt token-for-other-verbs '40[34] @(not_member|route_unknown|token_invalid)' 'a good join token for anything but joining' token_elsewhere
greedy_joins() {
    local token args

    new_token kts-01
    for args in "${JOIN_ARGS/kts-09.0123abcd/$(member_of kts-02)}" "${JOIN_ARGS//kts-09/kts-02}" "${JOIN_ARGS/kts-09.0123abcd/../../etc}" \
        "${JOIN_ARGS/\"kts-09\"/\"-rf\"}" "${JOIN_ARGS/BEGIN CERT/BEGIN PRIV}" '{}' '[]'; do
        join_with "$token" "$args"
    done
    succeeds admin kts-01 token revoke "$(cut -d - -f 2 <<<"$token")"
}
attempt greedy-join '4[0-9][0-9] *' 'a good token to become a member that there is, or with bad names' greedy_joins

# --- HTTP and TLS there ---

agent_raw() {
    local bytes raw_port=$AGENT_PORT

    for bytes in "$@"; do
        raw_bytes "$bytes" cert="$(client_prefix peer)"
    done
}
agent_post='POST /v1/cluster/node.state HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n'
attempt agent-smuggling '4@(00|03|11|13) *, closed' 'two lengths, chunks, LF alone, a huge head, a huge length' \
    agent_raw "${agent_post}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}" "${agent_post}Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n" \
    "POST /v1/cluster/node.state HTTP/1.1\nHost: a\n\n" "${agent_post}Content-Length: 99999999999\r\n\r\n{}" \
    "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n" "GARBAGE\r\n\r\n${agent_post}Content-Length: 2\r\n\r\n{}"
agent_huge_head() {
    local raw_port=$AGENT_PORT

    raw < <(head -c 300000 /dev/zero | tr '\0' A)
}
attempt agent-huge-head '4@(00|31) *, closed' 'a head of 300 kB without an end' agent_huge_head
agent_old_tls() {
    local raw_port=$AGENT_PORT

    raw_bytes x max=1.2
    raw_bytes x max=1.1 'ciphers=ALL:@SECLEVEL=0'
}
attempt agent-tls-1-2 'handshake refused' 'anything below TLS 1.3' agent_old_tls
service_paths() {
    local path

    for path in /v1/deposits /v1/health /../../etc/passwd /v1/cluster/ /v1/cluster/../deposits; do
        agent_call peer "$path" '{}' --path-as-is
    done
}
attempt agent-other-paths '40[034] *' 'other paths at that port' service_paths
