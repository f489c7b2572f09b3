#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Bad input of every kind gets a clear answer, nothing is lost, and the server goes on (P9).
. "$KT_SOURCE/tests/support/lib.sh"
ulimit -n "$(ulimit -Hn)"

# raw CLIENT [S_CLIENT OPTIONS...]: sends standard input over TLS as it is; sets $http to the status
# of the first answer. Answers are in $KT_TMP/body.
raw() {
    local who=$1 certificate=()
    shift

    [[ $who == none ]] || certificate=(-cert "$(client_dir "$who")/client-cert.pem"
        -key "$(client_dir "$who")/client-key.pem")
    timeout 60 openssl s_client -quiet -ign_eof -no_ticket -connect "127.0.0.1:${NODE_PORT[kts-01]}" \
        "${certificate[@]}" "$@" >"$KT_TMP/body" 2>"$KT_TMP/s_client.err"
    http=$(sed -n '1s,^HTTP/1\.1 \([0-9]*\) .*,\1,p' "$KT_TMP/body")
}

put_raw() {
    request kts-01 host-1 PUT "$1" "${@:2}" -H 'Content-Type: application/pgp-encrypted'
}

new_node_with_clients kts-01
# All that is bad comes from one address here: tests/integration/limits.sh has the limit.
set_setting kts-01 limits failures 1000000
kill -HUP "${NODE_PID[kts-01]}"
dir=${NODE_DIR[kts-01]} pid=${NODE_PID[kts-01]}
head -c 64 /dev/urandom >"$KT_TMP/key"
encrypt_to host-1 "$KT_TMP/key" "$KT_TMP/cipher" || give_up "gpg: $(cat "$KT_TMP/gpg.err")"

# --- auth codes ---

register_as() {
    client "$1" register --server "127.0.0.1:${NODE_PORT[kts-01]}" --auth-code-file "$2" --name "$1"
}

check "a wrong auth code is refused"
new_auth_code kts-01 acme "$KT_TMP/code"
(umask 077; tr 'a-m2-7n-z' 'n-za-m2-7' <"$KT_TMP/code" | cut -c 1-42 | tr -d '\n' >"$KT_TMP/code.wrong"
    cut -c 43- "$KT_TMP/code" >>"$KT_TMP/code.wrong")
exits 4 register_as intruder "$KT_TMP/code.wrong"
has "$KT_TMP/err" 'auth code'

check "text that is no auth code is refused before anything is sent"
(umask 077; echo hello >"$KT_TMP/code.wrong")
exits 4 register_as intruder "$KT_TMP/code.wrong"

check "an auth code of another cluster does not make the client trust this one"
(umask 077; tr -d '\n' <"$KT_TMP/code" | cut -c 1-42 | tr -d '\n' >"$KT_TMP/code.wrong"
    printf 'a%.0s' {1..52} | sed 's/.$/a/' >>"$KT_TMP/code.wrong")
exits some register_as intruder "$KT_TMP/code.wrong"

check "an expired auth code is refused"
new_auth_code kts-01 acme "$KT_TMP/code.short" --expires 1s
expires=$(($(date +%s) + 2))
later() { [[ $(date +%s) -ge $expires ]]; }
comes_true 5 later
exits 4 register_as late "$KT_TMP/code.short"
has "$KT_TMP/err" 'expired'

check "a used-up auth code is refused, and a repeated registration is not a second use"
exits 0 register_as host-3 "$KT_TMP/code"
exits 0 register_as host-3 "$KT_TMP/code"
exits 4 register_as host-4 "$KT_TMP/code"
has "$KT_TMP/err" 'no uses left'

check "a withdrawn auth code is refused, and who registered with it before is served"
code_state() {
    admin kts-01 authcode list --all acme --json >"$KT_TMP/codes" && jq -r ".[] | select(.id == \"$1\") | .state" "$KT_TMP/codes"
}
new_auth_code kts-01 acme "$KT_TMP/code.wide" --uses 3
id=$(cut -c 1-8 "$KT_TMP/code.wide")
succeeds register_as host-7 "$KT_TMP/code.wide"
is "$(code_state "$id")" good
succeeds admin kts-01 authcode list acme
has "$KT_TMP/out" "^$id +acme +good +1 +3 "
hasnt "$KT_TMP/out" "$(cut -c 10-41 "$KT_TMP/code.wide")"
succeeds admin kts-01 authcode revoke "$id"
is "$(code_state "$id")" withdrawn
exits 4 register_as late "$KT_TMP/code.wide"
has "$KT_TMP/err" 'auth code'
succeeds register_as host-7 "$KT_TMP/code.wide"
succeeds admin kts-01 authcode revoke "$id"
succeeds admin kts-01 authcode list acme
hasnt "$KT_TMP/out" "$id"
exits 3 admin kts-01 authcode revoke aaaaaaaa
exits 2 admin kts-01 authcode revoke "$(cat "$KT_TMP/code.wide")"
is "$(sql kts-01 "select count(*) from change_log where event = 'authcode.revoke' and detail->>'id' = '$id'")" 1 "entries"
has "${NODE_DIR[kts-01]}/audit/audit-"* "\"code\":\"$id\",\"event\":\"authcode.revoke\""

# --- certificates ---

# certificate NAME CA FROM UNTIL: signs a new key's certificate; CA is PREFIX of -cert.pem, -key.pem.
certificate() {
    local at=$KT_TMP/pki/$1

    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$at-key.pem" \
        -subj "/CN=$(new_uuid)" -out "$at.csr" 2>/dev/null
    : >"$KT_TMP/pki/index.txt"
    printf '[ca]\ndefault_ca = d\n[d]\ndatabase = %s\nnew_certs_dir = %s\ndefault_md = sha256\n' \
        "$KT_TMP/pki/index.txt" "$KT_TMP/pki" >"$KT_TMP/pki/ca.cnf"
    printf 'policy = p\nrand_serial = yes\n[p]\ncommonName = supplied\n' >>"$KT_TMP/pki/ca.cnf"
    printf '[e]\nextendedKeyUsage = clientAuth\n' >>"$KT_TMP/pki/ca.cnf"
    openssl ca -batch -notext -config "$KT_TMP/pki/ca.cnf" -extensions e -cert "$2-cert.pem" \
        -keyfile "$2-key.pem" -in "$at.csr" -out "$at-cert.pem" -startdate "$3" -enddate "$4" \
        2>"$KT_TMP/pki/err" || problem "openssl ca: $(tail -n 3 "$KT_TMP/pki/err")"
}

mkdir "$KT_TMP/pki"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj '/CN=other cluster' \
    -keyout "$KT_TMP/pki/other-ca-key.pem" -out "$KT_TMP/pki/other-ca-cert.pem" 2>/dev/null
cp "$dir/.keytrustee/ca/key.pem" "$KT_TMP/pki/our-ca-key.pem"
cp "$dir/.keytrustee/ca/cert.pem" "$KT_TMP/pki/our-ca-cert.pem"
now=$(date -u +%Y%m%d%H%M%SZ)
year_ago=$(date -u -d '1 year ago' +%Y%m%d%H%M%SZ)
hour_ago=$(date -u -d '1 hour ago' +%Y%m%d%H%M%SZ)
in_a_year=$(date -u -d '1 year' +%Y%m%d%H%M%SZ)

check "no certificate: 401 in JSON, not a broken connection"
request kts-01 none GET /v1/deposits/a
answers 401 certificate_missing
has "$KT_TMP/body" '"hint"'
has "$KT_TMP/body" '"request_id"'

check "a certificate of another cluster is refused in JSON"
certificate other "$KT_TMP/pki/other-ca" "$hour_ago" "$in_a_year"
request kts-01 "$KT_TMP/pki/other" GET /v1/deposits/a
answers 401 certificate_unknown_ca

check "a self-signed certificate is refused"
request kts-01 "$KT_TMP/pki/other-ca" GET /v1/deposits/a
answers 401 certificate_unknown_ca

check "of many refusals to strangers some have their audit record, and one record counts the others"
curl -s --max-time 60 --cacert "$(ca_of kts-01)" --cert "$KT_TMP/pki/other-ca-cert.pem" \
    --key "$KT_TMP/pki/other-ca-key.pem" -w '%{http_code}\n' -o /dev/null \
    "$(url_of kts-01)/v1/deposits/flood-[1-1500]" >"$KT_TMP/flood"
is "$(grep -c '^401$' "$KT_TMP/flood")" 1500 "refusals"
recorded() { grep -rhaF '"handle":"flood-' "$dir/audit" | wc -l; }
all_counted() {
    local count sum

    sum=$(recorded)
    for count in $(grep -rhao '"count":[0-9]*,"event":"audit.skipped"' "$dir/audit" | tr -dc '0-9\n'); do
        ((sum += count))
    done
    [[ $sum -eq 1500 ]]
}
comes_true 10 all_counted
[[ $(recorded) -lt 1500 ]] || problem "each refusal has its record"
succeeds admin kts-01 audit verify

check "an expired certificate is refused, also when a client is listed with it"
certificate expired "$KT_TMP/pki/our-ca" "$year_ago" "$hour_ago"
request kts-01 "$KT_TMP/pki/expired" GET /v1/deposits/a
answers 401 certificate_expired

check "a certificate that is not yet valid is refused: one of the clocks is wrong"
certificate future "$KT_TMP/pki/our-ca" "$(date -u -d '1 day' +%Y%m%d%H%M%SZ)" "$in_a_year"
request kts-01 "$KT_TMP/pki/future" GET /v1/deposits/a
answers 401 certificate_expired

check "a certificate that the CA signed but no client has is refused"
certificate unlisted "$KT_TMP/pki/our-ca" "$now" "$in_a_year"
request kts-01 "$KT_TMP/pki/unlisted" GET /v1/deposits/a
answers 401 certificate_unknown

check "the node's own certificate is nobody's client certificate"
cp "$dir/.keytrustee/tls/node-cert.pem" "$KT_TMP/pki/node-cert.pem"
cp "$dir/.keytrustee/tls/node-key.pem" "$KT_TMP/pki/node-key.pem"
request kts-01 "$KT_TMP/pki/node" GET /v1/deposits/a
answers 401 'certificate_*'

check "health needs no certificate, and a bad one does not hinder it"
request kts-01 "$KT_TMP/pki/other" GET /v1/health/ready
answers 200

get_request=$'GET /v1/clients/self HTTP/1.1\r\nHost: kt\r\nConnection: close\r\n\r\n'
check "a revoked client is refused at the next request, on a resumed session too"
head -c 16 /dev/urandom >"$KT_TMP/small"
succeeds client host-3 put three "$KT_TMP/small"
for version in -tls1_3 -tls1_2; do
    timeout 60 openssl s_client -quiet -ign_eof -connect "127.0.0.1:${NODE_PORT[kts-01]}" "$version" \
        -cert "$(client_dir host-3)/client-cert.pem" -key "$(client_dir host-3)/client-key.pem" \
        -sess_out "$KT_TMP/session$version" <<<"$get_request" >"$KT_TMP/body" 2>"$KT_TMP/err"
    has "$KT_TMP/body" '^HTTP/1.1 200 '
    [[ -s $KT_TMP/session$version ]] || problem "no session was given with $version"
done
succeeds admin kts-01 client revoke host-3 --yes
request kts-01 host-3 GET /v1/deposits/three
[[ $http == 403 || $http == 401 ]] || problem "answered $http"
has "$KT_TMP/body" '"(client|certificate)_revoked"'
for version in -tls1_3 -tls1_2; do
    timeout 60 openssl s_client -ign_eof -connect "127.0.0.1:${NODE_PORT[kts-01]}" "$version" \
        -sess_in "$KT_TMP/session$version" <<<"${get_request/clients\/self/deposits\/three}" \
        >"$KT_TMP/body" 2>"$KT_TMP/err"
    has "$KT_TMP/body" '^Reused, '
    has "$KT_TMP/body" '"(client|certificate)_revoked"'
    hasnt "$KT_TMP/body" '^HTTP/1.1 200'
done

# --- handles ---

check "handles with bad characters are refused"
for handle in %20 a%00b a%0ab %ff %c3%a4 a%2G a% a%2 'a%25' '%3Cscript%3E'; do
    request kts-01 host-1 GET "/v1/deposits/$handle"
    [[ $http == 400 && $(error_code) == @(handle_invalid|bad_request) ]] ||
        problem "'$handle': $http $(error_code)"
done

check "a handle of 255 bytes is taken, one of 256 is not"
long=$(printf 'x%.0s' {1..255})
deposit kts-01 host-1 "$long" "$KT_TMP/cipher"
answers 201
deposit kts-01 host-1 "${long}x" "$KT_TMP/cipher"
answers 400 handle_invalid

check "an empty handle is refused"
deposit kts-01 host-1 '' "$KT_TMP/cipher"
[[ $http == 4?? ]] || problem "answered $http"

check "dots in a handle are bytes, not a path"
deposit kts-01 host-1 ../../etc/passwd "$KT_TMP/cipher"
answers 201
request kts-01 host-1 GET /v1/deposits/..%2F..%2Fetc%2Fpasswd
answers 200
request kts-01 host-1 GET /v1/deposits/../health
answers 404 route_unknown

# --- bodies ---

check "an empty body is refused"
: >"$KT_TMP/empty"
deposit kts-01 host-1 bad "$KT_TMP/empty"
answers 422 body_empty

check "a body over the limit is refused before it is read"
head -c $((1024 * 1024 + 1)) /dev/urandom >"$KT_TMP/large"
deposit kts-01 host-1 bad "$KT_TMP/large"
answers 413 body_too_large
raw host-1 <<<$'PUT /v1/deposits/bad HTTP/1.1\r\nHost: kt\r\nContent-Length: 99999999999\r\n\r\n'
answers 413 body_too_large
raw host-1 <<<$'PUT /v1/deposits/bad HTTP/1.1\r\nHost: kt\r\nContent-Length: 99999999999999999999\r\n\r\n'
[[ $http == 4?? ]] || problem "answered $http"

check "plaintext, armor, signed-only and random bytes are refused as not ciphertext"
gpg --homedir "$(client_dir host-1)/gnupg" --batch --quiet --trust-model always --armor \
    --recipient "$(fingerprint_of host-1)" --output "$KT_TMP/armored" --encrypt "$KT_TMP/key"
gpg --homedir "$(client_dir host-1)/gnupg" --batch --quiet --output "$KT_TMP/signed" --sign "$KT_TMP/key"
gpg --homedir "$(client_dir host-1)/gnupg" --batch --quiet --passphrase x --pinentry-mode loopback \
    --output "$KT_TMP/symmetric" --symmetric "$KT_TMP/key"
for file in key armored signed symmetric; do
    deposit kts-01 host-1 bad "$KT_TMP/$file"
    [[ $http == 422 && $(error_code) == not_ciphertext ]] || problem "$file: $http $(error_code)"
    has "$KT_TMP/body" '"hint"'
done

check "an OpenPGP message that is cut short anywhere, or has bytes behind it, is refused"
size=$(stat -c %s "$KT_TMP/cipher")
for length in 1 2 3 10 50 95 $((size / 2)) $((size - 1)); do
    head -c "$length" "$KT_TMP/cipher" >"$KT_TMP/cut"
    deposit kts-01 host-1 bad "$KT_TMP/cut"
    [[ $http == 422 && $(error_code) == not_ciphertext ]] || problem "$length bytes: $http $(error_code)"
done
(cat "$KT_TMP/cipher"; echo more) >"$KT_TMP/cut"
deposit kts-01 host-1 bad "$KT_TMP/cut"
answers 422 not_ciphertext

check "a body encrypted to the cluster's own key is refused"
request kts-01 none GET '/?a=fingerprint'
cluster=$(sed 's,^4096R/,,' "$KT_TMP/body")
# The session-key packet of the client's message, with the cluster's key id in its place.
(head -c 3 "$KT_TMP/cipher"; for ((i = 24; i < 40; i += 2)); do printf '%b' "\\x${cluster:i:2}"; done
    tail -c +12 "$KT_TMP/cipher") >"$KT_TMP/to-cluster"
is "$(stat -c %s "$KT_TMP/to-cluster")" "$size" "size"
deposit kts-01 host-1 bad "$KT_TMP/to-cluster"
answers 422 encrypted_to_cluster

check "a wrong SHA-256 is refused"
put_raw /v1/deposits/bad --data-binary "@$KT_TMP/cipher" -H "KT-Deposit-Id: $(new_uuid)" \
    -H "KT-SHA256: $(sha256sum "$KT_TMP/key" | cut -c 1-64)"
answers 422 hash_mismatch

check "missing and malformed deposit headers are refused"
for headers in 'KT-Deposit-Id: x' 'KT-Deposit-Id: 00000000-0000-0000-0000-00000000000g' \
    'KT-SHA256: 12' "KT-SHA256: $(printf 'z%.0s' {1..64})" 'X-Nothing: 1'; do
    put_raw /v1/deposits/bad --data-binary "@$KT_TMP/cipher" -H "$headers"
    [[ $http == 400 ]] || problem "'$headers': $http $(error_code)"
done

check "a content type that is no ciphertext form is refused"
request kts-01 host-1 PUT /v1/deposits/bad --data-binary "@$KT_TMP/cipher" -H 'Content-Type: text/plain' \
    -H "KT-Deposit-Id: $(new_uuid)" -H "KT-SHA256: $(sha256sum "$KT_TMP/cipher" | cut -c 1-64)"
answers 415 content_type

check "nothing that was refused was stored"
is "$(sql kts-01 "select count(*) from deposits where handle = 'bad'")" 0 "deposits"

check "the same deposit id with the same body gets the same bytes back"
id=$(new_uuid)
deposit kts-01 host-1 twice "$KT_TMP/cipher" "$id"
answers 201
cp "$KT_TMP/body" "$KT_TMP/first"
deposit kts-01 host-1 twice "$KT_TMP/cipher" "$id"
answers 200
same "$KT_TMP/first" "$KT_TMP/body"
is "$(sql kts-01 "select count(*) from deposits where handle = 'twice'")" 1 "versions"

check "the same deposit id with another body, or under another handle, is a conflict"
encrypt_to host-1 "$KT_TMP/small" "$KT_TMP/cipher.2"
deposit kts-01 host-1 twice "$KT_TMP/cipher.2" "$id"
answers 409 deposit_id_conflict
deposit kts-01 host-1 thrice "$KT_TMP/cipher" "$id"
answers 409 deposit_id_conflict

check "another client's deposit id is a conflict and tells nothing of the deposit"
encrypt_to host-2 "$KT_TMP/small" "$KT_TMP/cipher.host-2"
deposit kts-01 host-2 mine "$KT_TMP/cipher.host-2" "$id"
answers 409 deposit_id_conflict
hasnt "$KT_TMP/body" 'twice'

check "what another client has does not show in the refusal of a deletion"
for query in '' '?version=1' '?version=7'; do
    request kts-01 host-2 DELETE "/v1/deposits/twice$query"
    answers 404 deposit_not_found
done
request kts-01 host-1 DELETE '/v1/deposits/twice?version=7'
answers 404 version_not_found

check "an OpenPGP key that a client has is not registered for another"
new_auth_code kts-01 acme "$KT_TMP/code.mallory"
openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=x \
    -keyout "$KT_TMP/mallory.key" -out "$KT_TMP/mallory.csr" 2>/dev/null
gpg --homedir "$(client_dir host-1)/gnupg" --batch --export 2>/dev/null | base64 -w 0 >"$KT_TMP/mallory.pgp"
printf '{"auth_code": "%s", "name": "mallory", "csr": "%s", "openpgp": "%s"}' \
    "$(cat "$KT_TMP/code.mallory")" "$(awk '{ printf "%s\\n", $0 }' "$KT_TMP/mallory.csr")" \
    "$(cat "$KT_TMP/mallory.pgp")" >"$KT_TMP/mallory.json"
request kts-01 none POST /v1/clients -H 'Content-Type: application/json' \
    --data-binary "@$KT_TMP/mallory.json"
answers 409 client_exists

check "unknown and malformed versions are told apart"
request kts-01 host-1 GET '/v1/deposits/twice?version=7'
answers 404 version_not_found
for version in 0 -1 x 99999999999999999999 1x ''; do
    request kts-01 host-1 GET "/v1/deposits/twice?version=$version"
    [[ $http == 400 ]] || problem "version '$version': $http $(error_code)"
done

check "an unknown deposit, path and method have their codes"
request kts-01 host-1 GET /v1/deposits/none
answers 404 deposit_not_found
request kts-01 host-1 GET /v2/deposits/none
answers 404 route_unknown
request kts-01 host-1 PATCH /v1/deposits/none
[[ $http == 405 || $http == 400 ]] || problem "PATCH: $http"
request kts-01 host-1 DELETE /v1/health
answers 405 method_not_allowed
has "$KT_TMP/header" '^[Aa]llow: '

# --- JSON, headers, chunks ---

check "malformed JSON is refused with the place"
for json in '{' '[]' '""' '{"auth_code": 1}' '{"a":1,"a":2}' '{} x' $'{"auth_code":"\xff"}' ''; do
    request kts-01 none POST /v1/clients -H 'Content-Type: application/json' --data-binary "$json"
    [[ $http == 400 || $http == 403 || $http == 422 ]] || problem "'$json': $http $(error_code)"
done
request kts-01 none POST /v1/clients -H 'Content-Type: application/json' --data-binary '{'
answers 400 bad_request
depth=$(printf '[%.0s' {1..5000})
request kts-01 none POST /v1/clients -H 'Content-Type: application/json' --data-binary "{\"auth_code\":$depth"
answers 400 bad_request

check "malformed requests are answered 400"
n=$'\r\n'
for bytes in "GARBAGE$n$n" "GET$n$n" "GET / HTTP/1.1$n broken$n$n" "GET / HTTP/1.1${n}No colon$n$n" \
    "GET / HTTP/1.1${n}Name : x$n$n" "GET / HTTP/1.1${n}Host: a${n}Content-Length: 1${n}Content-Length: 2$n$n" \
    "GET / HTTP/1.1${n}Host: a${n}Content-Length: -1$n$n" "GET  /  HTTP/1.1$n$n" \
    "GET http://a/ HTTP/1.1$n$n" "GET /"$'\x01'" HTTP/1.1${n}Host: a$n$n" $'GET / HTTP/1.1\nHost: a\n\n' \
    "GET / HTTP/1.1${n}Host: a${n}X: "$'\x80\x00'"$n$n"; do
    raw host-1 <<<"$bytes"
    [[ $http == 400 ]] || problem "$(head -c 40 <<<"$bytes" | tr -d '\r' | tr '\n' '~'): '$http' $(error_code)"
done
raw host-1 <<<"GET / HTTP/2.0${n}Host: a$n$n"
[[ $http == 505 || $http == 400 ]] || problem "HTTP/2.0: $http"

check "transfer codings are refused, also together with a length"
raw host-1 <<<"PUT /v1/deposits/bad HTTP/1.1${n}Host: a${n}Transfer-Encoding: chunked$n${n}5${n}hello${n}0$n$n"
[[ $http == 411 || $http == 400 ]] || problem "chunked: $http $(error_code)"
raw host-1 <<<"PUT /v1/deposits/bad HTTP/1.1${n}Host: a${n}Transfer-Encoding: chunked${n}Content-Length: 5$n${n}hello"
[[ $http == 411 || $http == 400 ]] || problem "chunked with length: $http $(error_code)"
raw host-1 <<<"PUT /v1/deposits/bad HTTP/1.1${n}Host: a${n}Content-Type: application/pgp-encrypted$n$n"
[[ $http == 411 || $http == 400 ]] || problem "no length: $http $(error_code)"

check "a header over the limit is refused"
big=$(head -c 9000 /dev/zero | tr '\0' x)
request kts-01 host-1 GET /v1/deposits/a -H "X-Big: $big"
answers 431 header_too_large
request kts-01 host-1 GET "/v1/deposits/$big"
[[ $http == 431 || $http == 400 ]] || problem "long path: $http"

check "garbage behind a good request does not spoil its answer and closes the connection"
raw host-1 <<<"GET /v1/health/ready HTTP/1.1${n}Host: a$n${n}GET /v1/health/ready HTTP/1.1${n}Host: a$n${n}"$'\x16\x03\x01'"garbage$n$n"
is "$http" 200 "first answer"
is "$(grep -ao 'HTTP/1.1 200' "$KT_TMP/body" | wc -l)" 2 "good answers"
is "$(grep -ao 'HTTP/1.1 400' "$KT_TMP/body" | wc -l)" 1 "refusals"

check "requests sent ahead behind a large body are answered too"
head -c 600000 /dev/urandom >"$KT_TMP/ahead.key"
encrypt_to host-1 "$KT_TMP/ahead.key" "$KT_TMP/ahead.cipher" || give_up "gpg: $(cat "$KT_TMP/gpg.err")"
{
    printf '%s\r\n' 'PUT /v1/deposits/ahead HTTP/1.1' 'Host: a' 'Content-Type: application/pgp-encrypted' \
        "KT-Deposit-Id: $(new_uuid)" "KT-SHA256: $(sha256sum "$KT_TMP/ahead.cipher" | cut -c 1-64)" \
        "Content-Length: $(stat -c %s "$KT_TMP/ahead.cipher")" ''
    cat "$KT_TMP/ahead.cipher"
    for ((i = 0; i < 200; i++)); do
        printf 'HEAD /v1/deposits/ahead HTTP/1.1\r\nHost: a\r\n\r\n'
    done
    printf 'GET /v1/health/ready HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
} >"$KT_TMP/ahead"
raw host-1 <"$KT_TMP/ahead"
is "$http" 201 "first answer"
is "$(grep -ao 'HTTP/1.1 200' "$KT_TMP/body" | wc -l)" 201 "answers behind it"

check "plain HTTP on the port, and TLS garbage, hurt nobody"
for bytes in "GET / HTTP/1.1$n$n" $'\x16\x03\x01\xff\xff\x01' $'\x80\x80\x80\x80'; do
    exec {plain}<> "/dev/tcp/127.0.0.1/${NODE_PORT[kts-01]}"
    printf '%s' "$bytes" >&"$plain"
    exec {plain}>&-
done
ready kts-01 || problem "the server is not ready"

# --- time and numbers ---

check "a slow sender is answered 408 and closed; others are served meanwhile"
set_setting kts-01 timeouts header 1s
set_setting kts-01 timeouts body 1s
kill -HUP "$pid"
slow() {
    mkfifo "$KT_TMP/slow.$1"
    timeout 60 openssl s_client -quiet -ign_eof -connect "127.0.0.1:${NODE_PORT[kts-01]}" \
        -cert "$(client_dir host-1)/client-cert.pem" -key "$(client_dir host-1)/client-key.pem" \
        <"$KT_TMP/slow.$1" >"$KT_TMP/slow.$1.out" 2>&1 &
    KT_PIDS[$!]="openssl s_client"
    exec {slow_fd}>"$KT_TMP/slow.$1"
    printf '%s' "$2" >&"$slow_fd"
}
slow header $'GET /v1/health HTTP/1.1\r\nHos'
slow body $'PUT /v1/deposits/bad HTTP/1.1\r\nHost: a\r\nContent-Type: application/pgp-encrypted\r\nContent-Length: 500\r\n\r\nabc'
timed_out() { grep -qa '^HTTP/1.1 4[0-9][0-9]' "$KT_TMP/slow.$1.out"; }
ready kts-01 || problem "others are not served"
comes_true 20 timed_out header
has "$KT_TMP/slow.header.out" 'request_timeout'
comes_true 20 timed_out body

check "the bodies of all requests together are bounded, and those of one organisation, which has room again afterwards"
set_setting kts-01 timeouts body 30s
set_setting kts-01 limits bodies 1MiB
kill -HUP "$pid"
slow large $'PUT /v1/deposits/large HTTP/1.1\r\nHost: a\r\nContent-Type: application/pgp-encrypted\r\nExpect: 100-continue\r\nContent-Length: 1048500\r\n\r\n'
large=$!
large_fd=$slow_fd
comes_true 20 grep -qa '100 Continue' "$KT_TMP/slow.large.out"
deposit kts-01 host-1 bounded "$KT_TMP/cipher"
answers 429 too_many_requests
request kts-01 host-1 GET /v1/deposits/none
answers 404
exec {large_fd}>&-
end_process "$large"
room_again() { deposit kts-01 host-1 bounded "$KT_TMP/cipher"; [[ $http == 201 ]]; }
comes_true 20 room_again

check "bodies of callers without a certificate have a small share of their own; clients go on"
head -c 100000 /dev/zero | tr '\0' ' ' >"$KT_TMP/stranger"
slow stranger $'POST /v1/clients HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: 100000\r\n\r\n'
stranger=$!
stranger_fd=$slow_fd
comes_true 20 grep -qa '100 Continue' "$KT_TMP/slow.stranger.out"
request kts-01 none POST /v1/clients --data-binary "@$KT_TMP/stranger" -H 'Content-Type: application/json'
answers 503 too_many_connections
deposit kts-01 host-1 beside-strangers "$KT_TMP/cipher"
answers 201
exec {stranger_fd}>&-
end_process "$stranger"
set_setting kts-01 limits bodies 256MiB
kill -HUP "$pid"

check "a thousand idle connections do not keep others from being served, and are closed in time"
set_setting kts-01 timeouts handshake 2s
kill -HUP "$pid"
connections_of() { ss -Htn state established "sport = :${NODE_PORT[kts-01]}" 2>/dev/null | wc -l; }
held=()
for ((i = 0; i < 1000; i++)); do
    exec {fd}<> "/dev/tcp/127.0.0.1/${NODE_PORT[kts-01]}" || { problem "connection $i"; break; }
    held+=("$fd")
done
is "${#held[@]}" 1000 "connections"
deposit kts-01 host-1 crowd "$KT_TMP/cipher"
answers 201
few() { [[ $(connections_of) -lt 50 ]]; }
comes_true 20 few
for fd in "${held[@]}"; do
    exec {fd}>&-
done
ready kts-01 || problem "the server is not ready"

# --- the operator's side ---

check "a settings file with an unknown key, a wrong unit, or open to writers is refused with the place"
cp "$(settings_file kts-01)" "$KT_TMP/settings.good"
for bad in '[timeouts]|headr = 1s|header' '[timeouts]|header = 5 parsecs|header' '[tiemouts]|header = 1s|timeouts' \
    '[https]|port = 70000|port'; do
    IFS='|' read -r section line word <<<"$bad"
    (cat "$KT_TMP/settings.good"; echo "$section"; echo "$line") >"$(settings_file kts-01)"
    exits 2 "$KTS" --confdir "$dir" --check
    has "$KT_TMP/err" "$word"
    has "$KT_TMP/err" 'keytrustee.conf'
    exits some admin kts-01 config check
done
cp "$KT_TMP/settings.good" "$(settings_file kts-01)"
chmod 0666 "$(settings_file kts-01)"
exits some "$KTS" --confdir "$dir" --check
chmod 0600 "$(settings_file kts-01)"
succeeds "$KTS" --confdir "$dir" --check

check "a reload with a wrong settings file keeps the old settings and says so"
(cat "$KT_TMP/settings.good"; echo '[https]'; echo 'prot = 1') >"$(settings_file kts-01)"
kill -HUP "$pid"
said() { grep -q 'prot' "$dir/logs/kts.log"; }
comes_true 10 said
ready kts-01 || problem "the server is not ready"
cp "$KT_TMP/settings.good" "$(settings_file kts-01)"

check "a secret that others can read is found by the checks, which name it"
for file in ca/key.pem tls/server-key.pem tls/node-key.pem receipt/key.pem secrets/kts_writer; do
    chmod 0644 "$dir/.keytrustee/$file"
    exits some admin kts-01 config check
    cat "$KT_TMP/err" >>"$KT_TMP/out"
    has "$KT_TMP/out" "$file"
    [[ $file != tls/server-key.pem ]] || exits some "$KTS" --confdir "$dir" --check
    chmod 0600 "$dir/.keytrustee/$file"
done
succeeds admin kts-01 config check

check "a second server on the same node, and another node on a taken port, are refused"
exits some timeout 20 "$KTS" --confdir "$dir"
has "$KT_TMP/err" 'kts'
NODE_DIR[kts-02]=$KT_TMP/kts-02
mkdir -m 0700 "${NODE_DIR[kts-02]}"
free_port
succeeds admin kts-02 init --node kts-02 --port "${NODE_PORT[kts-01]}" --database-port "$port"
exits some timeout 20 "$KTS" --confdir "$KT_TMP/kts-02"
has "$KT_TMP/err" "${NODE_PORT[kts-01]}"

check "init refuses a folder of somebody else's and leaves it as it was"
mkdir -p "$KT_TMP/other/db"
echo precious >"$KT_TMP/other/db/PG_VERSION"
exits some "$KTADMIN" --confdir "$KT_TMP/other" init --node kts-03 --port 1 --database-port 2
is "$(cat "$KT_TMP/other/db/PG_VERSION")" precious
mkdir -p "$KT_TMP/other2/.keytrustee"
echo precious >"$KT_TMP/other2/.keytrustee/keytrustee.conf"
exits some "$KTADMIN" --confdir "$KT_TMP/other2" init --node kts-03
is "$(cat "$KT_TMP/other2/.keytrustee/keytrustee.conf")" precious
is "$(find "$KT_TMP/other2" | wc -l)" 3 "files"

check "init refuses a path that is too long for sockets"
exits some "$KTADMIN" --confdir "$KT_TMP/$(printf 'x%.0s' {1..90})" init --node kts-03
has "$KT_TMP/err" 'longer than'

check "an organisation cannot be added twice, nor with a bad name"
exits 1 admin kts-01 org add acme
for name in Acme 'a b' "a'; drop table deposits" '' 1a; do
    exits some admin kts-01 org add "$name"
done

check "unknown clients, grants and organisations are named"
exits 3 admin kts-01 client revoke nobody --yes
exits 3 admin kts-01 revoke "$(new_uuid)" --yes
exits 3 admin kts-01 authcode new nobody

check "after all that the server is the one that was started, and has lost nothing"
is_running "$pid" || problem "the server has ended"
request kts-01 host-1 GET /v1/deposits/twice
answers 200
same "$KT_TMP/cipher" "$KT_TMP/body"
hasnt "$dir/logs/kts.log" 'crash|signal 11|SIGSEGV|assert'
succeeds admin kts-01 audit verify

finish
