#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The CA's key was stolen, and the cluster has another one: who answers or asks in the place of a node that is
# away, with a certificate that he made by that key, is handed no key, and gets into no table.
. "$KT_SOURCE/tests/support/cluster.sh"

new_cluster 2
old=$KT_TMP/old # what was stolen
tls=${NODE_DIR[kts-02]}/.keytrustee/tls
peers=${NODE_DIR[kts-02]}/node/peers.json
log=${NODE_DIR[kts-01]}/logs/kts.log
member=$(member_of kts-02)
mkdir -p "$old"
cp "$(ca_of kts-01)" "$old/root.pem"
cp "${NODE_DIR[kts-01]}/.keytrustee/ca/key.pem" "$old/key.pem"

key_of() { echo "${NODE_DIR[$1]}/.keytrustee/ca/key.pem"; }
row_of_it() { sql kts-01 "select encode(cert_sha256, 'hex') from nodes where member = '$member'"; }
refusals() { grep -c "the next CA is not handed to '$member': the certificate of .* is not the one that the table of nodes has" "$log"; }
has_refused() { [[ $(refusals) -gt $1 ]]; }
# ask VERB JSON: as the member, at the active, by the forged certificate.
ask() {
    http=$(curl -s -o "$KT_TMP/answer" -w '%{http_code}' -k --cert "$old/node.pem" --key "$old/node.key" \
        --connect-to "::${NODE_ADDRESS[kts-01]}:$AGENT_PORT" -H 'Content-Type: application/json' --data "$2" \
        "https://keytrustee-node:$AGENT_PORT/v1/cluster/$1")
}

printf '%s\n' "subjectAltName=DNS:keytrustee,DNS:keytrustee-node,DNS:localhost,IP:127.0.0.1,DNS:$member" \
    extendedKeyUsage=serverAuth,clientAuth keyUsage=critical,digitalSignature authorityKeyIdentifier=keyid >"$old/node.ext"
openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$old/node.key" \
    -subj "/OU=keytrustee node/CN=$member" -out "$old/node.csr" 2>/dev/null
openssl x509 -req -in "$old/node.csr" -CA "$old/root.pem" -CAkey "$old/key.pem" -days 30 \
    -set_serial "0x$(openssl rand -hex 15)" -extfile "$old/node.ext" -out "$old/node.pem" 2>/dev/null || problem "cannot forge"
forged=$(openssl x509 -in "$old/node.pem" -outform DER | sha256sum | cut -c 1-64)

check "another CA is made while a node is away"
stop_node kts-02
succeeds admin_for 60 kts-01 rotate --ca --without kts-02
listed=$(row_of_it)

answer_in_its_place() {
    ! server_runs kts-02 || stop_node kts-02
    cp -P "$tls/node-cert.pem" "$tls/node-key.pem" "$KT_TMP/"
    rm "$tls/node-cert.pem" "$tls/node-key.pem"
    cat "$old/node.pem" "$old/root.pem" >"$tls/node-cert.pem"
    install -m 0600 "$old/node.key" "$tls/node-key.pem"
}

check "who answers in its place, by a certificate of the CA for that member, is handed nothing"
answer_in_its_place
start_node kts-02
comes_true 30 has_refused 1
same "$(ca_of kts-02)" "$old/root.pem"
same "$(key_of kts-02)" "$old/key.pem"
[[ ! -e ${NODE_DIR[kts-02]}/.keytrustee/ca/next-key.pem ]] || problem "the key of the next CA is there"
has "$log" 'hint: see ktadmin status; when that node got another certificate'

check "the node itself is handed the CA when it is back"
stop_node kts-02
rm "$tls/node-cert.pem" "$tls/node-key.pem"
cp -P "$KT_TMP/node-cert.pem" "$KT_TMP/node-key.pem" "$tls/"
start_node kts-02
has_the_ca() {
    cmp -s "$(ca_of kts-01)" "$(ca_of kts-02)" && cmp -s "$(key_of kts-01)" "$(key_of kts-02)"
}
comes_true 40 has_the_ca
comes_true 40 counts kts-01 kts-02

check "who answers in its place is handed nothing when other nodes' lists have his certificate"
answer_in_its_place
cp "$peers" "$KT_TMP/peers.json"
jq --arg member "$member" --arg forged "$forged" \
    '(.peers[] | select(.member == $member)) |= (.cert_sha256 = $forged | .revision += 10 | del(.cert_before))' \
    "$KT_TMP/peers.json" >"$peers" || problem "jq"
start_node kts-02
is_believed() {
    ask node.state '{}'
    [[ $http == 200 ]]
}
comes_true 30 is_believed
for key in receipt-key cluster-key; do
    exits some admin_for 60 kts-01 rotate "--$key"
    has "$KT_TMP/err" "the certificate of .* is not the one that the table of nodes has"
done
[[ ! -e ${NODE_DIR[kts-02]}/.keytrustee/receipt/next.pem ]] || problem "the next receipt key is there"

check "nor does he get or bring a key by asking, nor into the table"
for verb in ca.take receipt.take receipt.hand cluster_key.take cluster_key.hand cluster_key.use; do
    ask "$verb" '{}'
    is "$http" 403 "$verb"
    has "$KT_TMP/answer" 'is not the one that the table of nodes has for it'
done
ask node.renew "$(jq -n --arg member "$member" --rawfile cert "$old/node.pem" '{member: $member, cert: $cert}')"
is "$http" 403 node.renew
has "$KT_TMP/answer" "the table of nodes has another certificate for '$member'"
ask node.add "$(jq -n --arg member "$member" --arg forged "$forged" --rawfile cert "$old/node.pem" \
    '{cert: $cert, peer: {member: $member, address: "127.0.0.1", agent_port: 1, database_port: 1, https_port: 1,
        cert_sha256: $forged, revision: 99, removed: false}}')"
is "$http" 403 node.add
has "$KT_TMP/answer" "the table of nodes has another certificate for '$member'"
is "$(row_of_it)" "$listed" "the row"

finish
