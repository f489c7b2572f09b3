# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# shellcheck disable=SC2317 # called through the table
# Whoever would put keys of its own in the place of the cluster's, or be handed the cluster's, by the verbs
# with which a CA and a receipt key are replaced.
attacker rotation load 'who wants another CA or receipt key, or the ones there are'

prepare_rotation() {
    local name

    mkdir -p "$KT_TMP/rotation"
    succeeds admin kts-01 operator new rotator -o "$KT_TMP/rotation/rotator.pem"
    split_bundle "$KT_TMP/rotation/rotator.pem" "$PKI/rotator"
    for name in false twin; do
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -keyout "$KT_TMP/rotation/$name.key" \
            -out "$KT_TMP/rotation/$name.pem" -addext 'keyUsage=critical,keyCertSign,cRLSign' \
            -subj "$(openssl x509 -in "$(ca_of kts-01)" -noout -subject -nameopt compat | sed 's/^subject=//')" 2>/dev/null ||
            problem "the certificate $name cannot be made"
    done
    PASSIVE_NODE=${NODE_DIR[kts-02]}/.keytrustee/tls/node
    ACTIVE_NODE=${NODE_DIR[kts-01]}/.keytrustee/tls/node
    CA_ROOT=$(openssl x509 -in "$(ca_of kts-01)" -noout -fingerprint -sha256 | sed 's/.*=//; s/://g' | tr A-F a-f)
    RECEIPT_ID=$(sql kts-01 "select encode(key_id, 'hex') from receipt_keys where retired_at is null limit 1")
}
lines_of() { awk '{ printf "%s\\n", $0 }' "$@"; }
# Sealing wants no secret: the CA's certificate is everybody's.
sealed_key() { "$KT_BUILD/tests/seal_for" "$(ca_of kts-01)" 'keytrustee next CA' <"$KT_TMP/rotation/false.key"; }
# A CA of the attacker's, as ca.take wants it: alone, or with the cluster's before it.
false_ca() {
    printf '{"sealed": "%s", "certificates": "%s", "use": true}' "$(sealed_key)" \
        "$(lines_of "$KT_TMP/rotation/false.pem" "$@")"
}
hand_args() { printf '{"id": "%s", "to": "%s"}' "$RECEIPT_ID" "$CA_ROOT"; }

control operator-sees-receipt-keys '200 ' 'an operator asks both nodes for the state of their receipt keys' operator_sees_receipt_keys
operator_sees_receipt_keys() {
    for target in kts-01 kts-02; do
        agent_call "$PKI/rotator" receipt.state '{}'
    done
}
attempt operator-takes-keys '403 not_member' 'an operator would hand over a CA or a receipt key, or be handed one' operator_takes_keys
operator_takes_keys() {
    for target in kts-01 kts-02; do
        agent_call "$PKI/rotator" ca.take "$(false_ca)"
        agent_call "$PKI/rotator" ca.load '{}'
        agent_call "$PKI/rotator" receipt.hand "$(hand_args)"
        agent_call "$PKI/rotator" receipt.take "{\"id\": \"$RECEIPT_ID\", \"sealed\": \"$(lines_of "$KT_TMP/rotation/false.key")\"}"
    done
}
attempt operator-rotates-the-ca '40[34] @(not_member|route_unknown)' 'an operator would begin, hand out and use another CA over the network' operator_rotates_the_ca
operator_rotates_the_ca() {
    for target in kts-01 kts-02; do
        agent_all "$PKI/rotator" ca.begin ca.hand ca.use
    done
}
attempt passive-hands-a-ca '403 not_member' 'a passive'"'"'s certificate, to hand the active a CA of its own' passive_hands_a_ca
passive_hands_a_ca() {
    agent_call "$PASSIVE_NODE" ca.take "$(false_ca)"
    agent_call "$PASSIVE_NODE" ca.take "$(false_ca "$(ca_of kts-01)")"
}
attempt passive-hands-itself-a-ca '403 not_member' 'the same certificate, at the passive itself' passive_hands_itself_a_ca
passive_hands_itself_a_ca() {
    target=kts-02
    agent_call "$PASSIVE_NODE" ca.take "$(false_ca)"
}
attempt active-hands-a-false-ca '500 signature' 'the active'"'"'s certificate, to hand the passive a CA that its own does not vouch for' active_hands_a_false_ca
active_hands_a_false_ca() {
    target=kts-02
    agent_call "$ACTIVE_NODE" ca.take "$(false_ca)"
    agent_call "$ACTIVE_NODE" ca.take "$(false_ca "$(ca_of kts-01)")"
    agent_call "$ACTIVE_NODE" ca.take "$(false_ca "$KT_TMP/rotation/twin.pem")"
}
attempt bad-ca '4[0-9][0-9] *' 'no PEM, a key alone, a huge set, other members' bad_ca
bad_ca() {
    target=kts-02
    agent_call "$ACTIVE_NODE" ca.take '{"sealed": "x", "certificates": "y", "use": true}'
    agent_call "$ACTIVE_NODE" ca.take "{\"sealed\": \"$(sealed_key)\", \"certificates\": \"\", \"use\": true}"
    agent_call "$ACTIVE_NODE" ca.take "{\"sealed\": \"x\", \"certificates\": \"$(head -c 40000 /dev/zero | tr '\0' A)\", \"use\": true}"
    agent_call "$ACTIVE_NODE" ca.take '{"path": "/etc/passwd"}'
}
attempt passive-asks-for-the-receipt-key '40[39] *' 'a passive'"'"'s certificate, to be handed the receipt key, or to put one in its place' passive_asks_for_the_receipt_key
passive_asks_for_the_receipt_key() {
    for target in kts-01 kts-02; do
        agent_call "$PASSIVE_NODE" receipt.hand "$(hand_args)"
        agent_call "$PASSIVE_NODE" receipt.take "{\"id\": \"$RECEIPT_ID\", \"sealed\": \"$(lines_of "$KT_TMP/rotation/false.key" "$KT_TMP/rotation/false.pem")\"}"
    done
}
attempt own-node-at-its-own-door '403 not_member' 'a node'"'"'s own certificate, which its door holds, at that door: for any verb of nodes, and the receipt key' own_node_at_its_own_door
own_node_at_its_own_door() {
    local own verb

    for target in kts-01 kts-02; do
        own=${NODE_DIR[$target]}/.keytrustee/tls/node
        agent_call "$own" receipt.hand "$(hand_args)"
        for verb in node.state receipt.state ca.load receipt.load node.add; do
            agent_call "$own" "$verb" '{}'
        done
    done
}
attempt keys-are-as-they-were 'as before' 'after all that: CA and receipt keys of both nodes' keys_are_as_they_were
keys_are_as_they_were() {
    local node

    for node in kts-01 kts-02; do
        [[ $(grep -c BEGIN "$(ca_of "$node")") -eq 1 && ! -e ${NODE_DIR[$node]}/.keytrustee/ca/next-key.pem &&
            ! -e ${NODE_DIR[$node]}/.keytrustee/receipt/next.pem ]] || observe "$node has another key"
    done
    if cmp -s "$(ca_of kts-01)" "$(ca_of kts-02)"; then
        observe 'as before'
    else
        observe 'the nodes have different CAs'
    fi
}
