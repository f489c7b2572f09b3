# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# shellcheck disable=SC2317 # called through the table
# Whoever would put keys of its own in the place of the cluster's, or be handed the cluster's, by the verbs
# with which a CA, a receipt key and the OpenPGP key are replaced.
attacker rotation load 'who wants another CA, receipt or OpenPGP key, or the ones there are'

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
    prepare_cluster_key
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
# Two OpenPGP keys of the attacker's, under the cluster's name, and a copy of the cluster's own: as whoever
# has taken the active over has them.
prepare_cluster_key() {
    local confdir=${NODE_DIR[kts-01]}/.keytrustee user_id

    GPG_HOME=$KT_TMP/rotation/gpg
    mkdir -m 0700 "$GPG_HOME"
    cp -r "$confdir"/{pubring.kbx,private-keys-v1.d} "$GPG_HOME"
    CLUSTER_KEY=$(openpgp_key_of kts-01)
    SECRET_HALF=$(cd "$confdir" && echo private-keys-v1.d/*.key)
    user_id=$(gpg --homedir "$GPG_HOME" --batch --with-colons --list-keys 2>/dev/null | awk -F: '/^uid/ { print $10; exit }')
    FALSE_KEYS=()
    for _ in 1 2; do
        FALSE_KEYS+=("$(gpg --homedir "$GPG_HOME" --batch --quiet --yes --passphrase '' --status-fd 1 --quick-generate-key \
            "$user_id" rsa2048 sign never 2>/dev/null | awk '/KEY_CREATED/ { print $4 }')")
    done
    [[ ${#CLUSTER_KEY} -eq 40 && ${#FALSE_KEYS[1]} -eq 40 ]] || problem "keys: $CLUSTER_KEY ${FALSE_KEYS[*]}"
}
openpgp_key_of() { sed -n 's/.*"openpgp_fingerprint": *"\([0-9A-F]*\)".*/\1/p' "${NODE_DIR[$1]}/.keytrustee/cluster.json"; }
# key_statement KEY NEXT: as a rotation signs it, by both.
key_statement() {
    local signer

    printf 'keytrustee-cluster-key 1\ncluster %s\nstatement 1\nbefore %064d\nkey %s\nnext %s\nincarnation %s\nrestored %064d\ntime %s\n' \
        "$(sql kts-01 'select cluster_id from cluster')" 0 "$1" "$2" \
        "$(sql kts-01 "select number || '.' || encode(bits, 'hex') from incarnations order by number desc limit 1")" 0 \
        "$(date -u +%Y-%m-%dT%H:%M:%S.000000Z)" >"$KT_TMP/rotation/statement"
    for signer in "$1" "$2"; do
        gpg --homedir "$GPG_HOME" --batch --quiet --local-user "$signer" --clear-sign --digest-algo SHA512 \
            <"$KT_TMP/rotation/statement" 2>/dev/null
        gpg --homedir "$GPG_HOME" --batch --quiet --armor --export "$signer"
    done
}
# key_args KEY PUBLIC KEYGRIP-OF STATEMENT: what cluster_key.take wants; the secret half is rubbish.
key_args() {
    printf '{"fingerprint": "%s", "keygrip": "%s", "sealed": "%s", "public": "%s", "statement": "%s"}' "$1" \
        "$(gpg --homedir "$GPG_HOME" --batch --with-colons --with-keygrip --list-keys "$3" 2>/dev/null |
            awk -F: '/^grp/ { print $10; exit }')" \
        "$(printf '(private-key nothing)' | base64 -w 0 |
            "$KT_BUILD/tests/seal_for" "$(ca_of kts-01)" 'keytrustee cluster key' "$1")" \
        "$(gpg --homedir "$GPG_HOME" --batch --export "$2" | base64 -w 0)" "$(lines_of <<<"$4")"
}
key_id_args() { printf '{"fingerprint": "%s"}' "$1"; }
key_hand_args() { printf '{"fingerprint": "%s", "to": "%s"}' "$CLUSTER_KEY" "$CA_ROOT"; }
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
# false_key_args: a key of the attacker's, named by another one of his.
false_key_args() {
    key_args "${1:-${FALSE_KEYS[0]}}" "${FALSE_KEYS[0]}" "${1:-${FALSE_KEYS[0]}}" \
        "$(key_statement "${FALSE_KEYS[1]}" "${FALSE_KEYS[0]}")"
}
attempt operator-replaces-the-openpgp-key '40[34] @(not_member|route_unknown)' 'an operator would make, hand over, be handed or use an OpenPGP key of the cluster' operator_replaces_the_openpgp_key
operator_replaces_the_openpgp_key() {
    for target in kts-01 kts-02; do
        agent_all "$PKI/rotator" cluster_key.make cluster_key.give cluster_key.fetch cluster_key.list
        agent_call "$PKI/rotator" cluster_key.hand "$(key_hand_args)"
        agent_call "$PKI/rotator" cluster_key.take "$(false_key_args)"
        agent_call "$PKI/rotator" cluster_key.use "$(key_id_args "${FALSE_KEYS[0]}")"
        agent_call "$PKI/rotator" cluster_key.load '{}'
    done
}
attempt passive-rotates-the-openpgp-key '40[34] @(not_member|route_unknown)' 'a passive'"'"'s certificate, to have the active make an OpenPGP key, give, fetch and list it' passive_rotates_the_openpgp_key
passive_rotates_the_openpgp_key() { agent_all "$PASSIVE_NODE" cluster_key.make cluster_key.give cluster_key.fetch cluster_key.list; }
attempt passive-asks-for-the-openpgp-key '403 not_member' 'the same, to be handed the OpenPGP key, to put another in its place, to have one used, and the file read again' passive_asks_for_the_openpgp_key
passive_asks_for_the_openpgp_key() {
    for target in kts-01 kts-02; do
        agent_call "$PASSIVE_NODE" cluster_key.hand "$(key_hand_args)"
        agent_call "$PASSIVE_NODE" cluster_key.take "$(false_key_args)"
        agent_call "$PASSIVE_NODE" cluster_key.use "$(key_id_args "${FALSE_KEYS[0]}")"
        agent_call "$PASSIVE_NODE" cluster_key.use "$(key_id_args "$CLUSTER_KEY")"
        agent_call "$PASSIVE_NODE" cluster_key.load '{}'
    done
}
attempt active-hands-a-false-openpgp-key '500 @(signature|protocol)' 'the active'"'"'s certificate, to hand the passive a key that the one in use does not name, or one in the place of that itself' active_hands_a_false_openpgp_key
active_hands_a_false_openpgp_key() {
    target=kts-02
    agent_call "$ACTIVE_NODE" cluster_key.take "$(false_key_args)"
    agent_call "$ACTIVE_NODE" cluster_key.take "$(false_key_args "$CLUSTER_KEY")"
    agent_call "$ACTIVE_NODE" cluster_key.take "$(key_args "${FALSE_KEYS[0]}" "${FALSE_KEYS[0]}" "${FALSE_KEYS[0]}" '')"
}
attempt halves-of-different-keys '@(400|500) @(invalid|crypto)' 'the same with the OpenPGP key itself: a public half of another key, a keygrip of another or of the one in use, a secret half that is none' halves_of_different_keys
halves_of_different_keys() {
    local named

    target=kts-02
    named=$(key_statement "$CLUSTER_KEY" "${FALSE_KEYS[0]}")
    agent_call "$ACTIVE_NODE" cluster_key.take "$(key_args "${FALSE_KEYS[0]}" "${FALSE_KEYS[1]}" "${FALSE_KEYS[0]}" "$named")"
    agent_call "$ACTIVE_NODE" cluster_key.take "$(key_args "${FALSE_KEYS[0]}" "${FALSE_KEYS[0]}" "${FALSE_KEYS[1]}" "$named")"
    agent_call "$ACTIVE_NODE" cluster_key.take "$(key_args "${FALSE_KEYS[0]}" "${FALSE_KEYS[0]}" "$CLUSTER_KEY" "$named")"
    agent_call "$ACTIVE_NODE" cluster_key.take "$(key_args "${FALSE_KEYS[0]}" "${FALSE_KEYS[0]}" "${FALSE_KEYS[0]}" "$named")"
    GNUPGHOME=$GPG_HOME gpgconf --kill gpg-agent
}
attempt use-of-an-unlisted-openpgp-key '@(4[0-9][0-9]|503) *' 'the same certificate, to have a key used that the database does not list' use_of_an_unlisted_openpgp_key
use_of_an_unlisted_openpgp_key() {
    target=kts-02
    agent_call "$ACTIVE_NODE" cluster_key.use "$(key_id_args "${FALSE_KEYS[0]}")"
    agent_call "$ACTIVE_NODE" cluster_key.use '{"fingerprint": "../../../../etc/passwd"}'
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
attempt keys-are-as-they-were 'as before' 'after all that: CA, receipt and OpenPGP keys of both nodes' keys_are_as_they_were
keys_are_as_they_were() {
    local node

    for node in kts-01 kts-02; do
        [[ $(grep -c BEGIN "$(ca_of "$node")") -eq 1 && ! -e ${NODE_DIR[$node]}/.keytrustee/ca/next-key.pem &&
            ! -e ${NODE_DIR[$node]}/.keytrustee/receipt/next.pem ]] ||
            observe "$node has another key"
        [[ $(openpgp_key_of "$node") == "$CLUSTER_KEY" && ! -e ${NODE_DIR[$node]}/.keytrustee/cluster-key.json &&
            $(cd "${NODE_DIR[$node]}/.keytrustee" && echo private-keys-v1.d/*.key) == "$SECRET_HALF" ]] &&
            cmp -s "${NODE_DIR[$node]}/.keytrustee/$SECRET_HALF" "$GPG_HOME/$SECRET_HALF" ||
            observe "$node has another OpenPGP key"
    done
    if cmp -s "$(ca_of kts-01)" "$(ca_of kts-02)"; then
        observe 'as before'
    else
        observe 'the nodes have different CAs'
    fi
}
