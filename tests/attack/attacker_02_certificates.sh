# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# shellcheck disable=SC2317 # called through the table
# A stranger who has some certificate, but not one that the cluster gave to a client.
attacker certificates load 'a stranger with a certificate that is no client'"'"'s'

fetch_with() {
    local prefix

    for prefix in "$@"; do
        ask_both "$prefix" GET /v1/deposits/private%2Fmaster /v1/deposits
    done
}
of_other_ca() {
    certificate "$1" "$2" "$(subject_of victim)" "${@:3}"
    fetch_with "$PKI/$1"
}
control own-certificate '200' 'the certificate that the cluster gave to the victim' \
    ask_both victim GET /v1/deposits/private%2Fmaster
attempt other-ca '401 certificate_unknown_ca' 'the victim'"'"'s name from another CA' of_other_ca copied other
attempt twin-ca '401 certificate_unknown_ca' 'the victim'"'"'s name from a CA that bears our CA'"'"'s name' of_other_ca twin-copied twin
attempt self-signed '401 certificate_unknown_ca' 'a self-signed certificate' fetch_with_ca
fetch_with_ca() {
    new_ca selfsigned "$(subject_of victim)"
    fetch_with "$PKI/selfsigned"
}
# Who has the CA's key can sign: what no row lists is nobody all the same.
attempt unlisted '401 certificate_unknown' 'the victim'"'"'s name, signed by our own CA, but in no list' of_other_ca unlisted ours
attempt expired '401 certificate_expired' 'signed by our own CA, and over' of_other_ca expired ours \
    "$(date -u -d '1 year ago' +%Y%m%d%H%M%SZ)" "$(date -u -d '1 hour ago' +%Y%m%d%H%M%SZ)"
attempt not-yet-valid '401 certificate_expired' 'signed by our own CA, and of tomorrow' of_other_ca future ours \
    "$(date -u -d '1 day' +%Y%m%d%H%M%SZ)" "$(date -u -d '1 year' +%Y%m%d%H%M%SZ)"
attempt server-as-client '401 certificate_*' 'the server'"'"'s and the node'"'"'s own certificate as a client'"'"'s' fetch_with_ours
fetch_with_ours() {
    fetch_with "${NODE_DIR[kts-01]}/.keytrustee/tls/server" "${NODE_DIR[kts-01]}/.keytrustee/tls/node" \
        "${NODE_DIR[kts-02]}/.keytrustee/tls/node"
}
below_a_client() {
    # a client's certificate as a CA
    cp "$(client_prefix peer)-cert.pem" "$PKI/peer-cert.pem" && cp "$(client_prefix peer)-key.pem" "$PKI/peer-key.pem"
    certificate grandchild peer "$(subject_of victim)"
    cat "$PKI/peer-cert.pem" >>"$PKI/grandchild-cert.pem"
    fetch_with "$PKI/grandchild"
}
attempt signed-by-a-client '401 certificate_unknown_ca' 'the victim'"'"'s name, signed with a client'"'"'s key' below_a_client
attempt forged-fields '401 certificate_missing' 'the victim'"'"'s certificate in header fields of proxies' forged_fields
forged_fields() {
    local pem

    pem=$(grep -v '^-' "$(client_prefix victim)-cert.pem" | tr -d '\n')
    ask_both none GET /v1/deposits/private%2Fmaster -H "X-Client-Cert: $pem" -H "X-SSL-Client-Cert: $pem" \
        -H 'X-SSL-Client-Verify: SUCCESS' -H "X-Forwarded-Client-Cert: Cert=\"$pem\"" -H 'X-Forwarded-For: 127.0.0.1' \
        -H 'X-Real-IP: 127.0.0.1' -H 'Forwarded: for=127.0.0.1' -H "Client-Cert: :$pem:" -H 'Authorization: Basic a2V5dHJ1c3RlZQ=='
}
operators_certificate() {
    succeeds admin kts-01 operator new curious -o "$KT_TMP/curious.pem"
    split_bundle "$KT_TMP/curious.pem" "$PKI/curious"
    fetch_with "$PKI/curious"
}
# A file with certificate, key and CA: into PREFIX-cert.pem and PREFIX-key.pem.
split_bundle() {
    openssl x509 -in "$1" -out "$2-cert.pem" 2>/dev/null && openssl pkey -in "$1" -out "$2-key.pem" 2>/dev/null ||
        problem "no operator's certificate: $(head -c 200 "$1" | tr '\n' '~')"
}
attempt operator-as-client '40[13] *' 'an operator'"'"'s certificate to fetch deposits' operators_certificate
huge_chain() {
    local n

    certificate chained other '/CN=chain'
    for ((n = 0; n < 150; n++)); do
        cat "$PKI/other-cert.pem"
    done >"$PKI/many"
    cat "$PKI/many" >>"$PKI/chained-cert.pem"
    raw_bytes 'GET /v1/deposits HTTP/1.1\r\nHost: a\r\n\r\n' cert="$PKI/chained"
}
attempt huge-chain '@(*closed|handshake refused)' 'a chain of 150 certificates' huge_chain
