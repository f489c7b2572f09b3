#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What the HTTPS service and the agent's door take of TLS, and what they refuse: tried with stock
# openssl, lowered to its weakest.
. "$KT_SOURCE/tests/support/lib.sh"

new_node kts-01 || give_up "init: $(cat "$KT_TMP/kts-01.init.out")"
agent_port=${NODE_DOOR_PORT[kts-01]}
start_node kts-01 || give_up "the node does not start"
succeeds admin kts-01 org add acme
new_client kts-01 acme host-1 || give_up "register: $(cat "$KT_TMP/host-1.register.out")"
echo secret >"$KT_TMP/key"
succeeds client host-1 put tls "$KT_TMP/key"

# handshake PORT OPTIONS...: 0 when one came about; what openssl says is in $KT_TMP/tls.
handshake() {
    local to=$1
    shift

    timeout 10 openssl s_client -connect "127.0.0.1:$to" -servername keytrustee -CAfile "$(ca_of kts-01)" \
        "$@" </dev/null >"$KT_TMP/tls" 2>&1
    grep -qE '^ *(New|Reused), TLSv' "$KT_TMP/tls" && ! grep -q 'Cipher is (NONE)' "$KT_TMP/tls"
}

taken() {
    handshake "$@" || problem "refused: $* ($(grep -m 1 -i 'error' "$KT_TMP/tls"))"
}

refused() {
    ! handshake "$@" || problem "taken: $* ($(grep -m 1 'Cipher is' "$KT_TMP/tls"))"
}
https=${NODE_PORT[kts-01]}

check "TLS 1.3, and 1.2 with ECDHE and AEAD, are spoken; the agent speaks 1.3 only"
taken "$https" -tls1_3
for cipher in ECDHE-ECDSA-AES128-GCM-SHA256 ECDHE-ECDSA-AES256-GCM-SHA384 ECDHE-ECDSA-CHACHA20-POLY1305; do
    taken "$https" -tls1_2 -cipher "$cipher"
done
taken "$agent_port" -tls1_3
refused "$agent_port" -tls1_2

check "older versions are refused, also to a client that would take anything"
for to in "$https" "$agent_port"; do
    refused "$to" -tls1 -cipher ALL:@SECLEVEL=0
    has "$KT_TMP/tls" 'alert protocol version|protocol version'
    refused "$to" -tls1_1 -cipher ALL:@SECLEVEL=0
done

check "suites without forward secrecy, without AEAD, or without encryption are refused"
for cipher in ECDHE-ECDSA-AES128-SHA ECDHE-ECDSA-AES256-SHA384 ECDHE-ECDSA-AES128-SHA256 AES128-GCM-SHA256 \
    AES256-SHA kRSA DHE-RSA-AES128-GCM-SHA256 aNULL eNULL ECDHE-ECDSA-AES128-CCM8; do
    refused "$https" -tls1_2 -cipher "$cipher:@SECLEVEL=0"
    hasnt "$KT_TMP/tls" "no cipher match|no ciphers available" # else the client itself has refused
done

check "weak groups and SHA-1 signatures are refused"
for group in P-224 P-192 secp256k1; do
    handshake "$https" -tls1_2 -cipher 'ALL:@SECLEVEL=0' -groups "$group" && problem "the group $group is taken"
done
refused "$https" -tls1_2 -cipher ALL:@SECLEVEL=0 -sigalgs ECDSA+SHA1

check "nothing is compressed, renegotiated or taken early"
taken "$https" -tls1_2
has "$KT_TMP/tls" 'Compression: NONE'
printf 'R\n' | timeout 10 openssl s_client -connect "127.0.0.1:$https" -servername keytrustee -tls1_2 \
    -CAfile "$(ca_of kts-01)" >"$KT_TMP/tls" 2>&1
has "$KT_TMP/tls" 'RENEGOTIATING'
has "$KT_TMP/tls" 'no renegotiation|handshake failure|unexpected|:error:|^[0-9A-F]+:error'
taken "$https" -tls1_3 -sess_out "$KT_TMP/session"
printf 'GET /v1/health HTTP/1.1\r\nHost: x\r\n\r\n' >"$KT_TMP/early"
(printf 'GET /v1/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'; read -r -t 2 -u "$kt_silence" _) |
    timeout 10 openssl s_client -connect "127.0.0.1:$https" -servername keytrustee -tls1_3 \
        -CAfile "$(ca_of kts-01)" -ign_eof -sess_out "$KT_TMP/session" >"$KT_TMP/tls" 2>&1
[[ -s $KT_TMP/session ]] || problem "no session to resume"
openssl sess_id -in "$KT_TMP/session" -noout -text >"$KT_TMP/session.txt" 2>&1
hasnt "$KT_TMP/session.txt" 'Max Early Data: [1-9]'

# certificate NAME KEY-OPTIONS DIGEST: of a CA of its own, and as weak as asked.
certificate() {
    local name=$1 digest=$2
    shift 2
    openssl req -x509 "$@" -nodes -keyout "$KT_TMP/$name-key.pem" -out "$KT_TMP/$name-cert.pem" -days 1 \
        -subj "/O=acme/CN=$name" "-$digest" 2>"$KT_TMP/req.err" || problem "$name: $(cat "$KT_TMP/req.err")"
}

# with_certificate NAME: the status that a request with it gets; 000 when there is no handshake.
with_certificate() {
    http=$(curl -s --max-time 10 --cacert "$(ca_of kts-01)" --ciphers 'ALL:@SECLEVEL=0' --cert "$KT_TMP/$1-cert.pem" \
        --key "$KT_TMP/$1-key.pem" -o /dev/null -w '%{http_code}' "$(url_of kts-01)/v1/deposits/tls")
}

check "client certificates with a short RSA key, a SHA-1 signature or any RSA key get no answer but a refusal"
certificate short sha256 -newkey rsa:1024
certificate sha1 sha1 -newkey ec -pkeyopt ec_paramgen_curve:P-256
certificate rsa sha256 -newkey rsa:2048
for name in short sha1 rsa; do
    with_certificate "$name"
    [[ $http == 000 || $http == 401 ]] || problem "$name: $http"
done
certificate good sha256 -newkey ec -pkeyopt ec_paramgen_curve:P-256
with_certificate good
is "$http" 401 "a good one of another CA"
request kts-01 host-1 GET /v1/deposits/tls
is "$http" 200 "that of a client"

finish
