# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# shellcheck disable=SC2317 # called through the table
# The network: whoever reaches the port, sees the bytes, or stands between. Tricks of HTTP are tried with
# a client's certificate, so that the reader of heads refuses them and not the missing certificate.
attacker network load 'the network, and whoever can reach the port'

prepare_network() {
    printf 'x%.0s' {1..9000} >"$KT_TMP/long"
}

every_call_without_certificate() {
    ask_both none GET /v1/deposits /v1/deposits/private%2Fmaster "/v1/deposits/by-id/$VICTIM_ID" \
        /v1/deposits/private%2Fmaster/receipt /v1/clients/self /v1/metrics "/v1/clients/$(fingerprint_of victim)/openpgp"
    ask_both none HEAD /v1/deposits/private%2Fmaster
    ask_both none DELETE /v1/deposits/private%2Fmaster
    target=kts-01
    put none stranger "$KT_TMP/cipher"
}

control open-to-anyone '200' 'anybody may ask for the health' ask_both none GET /v1/health
control client-is-served '200' 'a client fetches its own deposit' ask_both peer GET /v1/deposits/peer%2Fown
attempt no-certificate '401 certificate_missing' 'every call of a client, without a certificate' every_call_without_certificate

# --- two readers of one head must not see two requests ---

good_request="GET /v1/deposits/peer%%2Fown HTTP/1.1\r\nHost: k\r\n\r\n"
smuggled="GET /v1/deposits/peer%%2Fown HTTP/1.1\r\nHost: k\r\n\r\n"
put_head="PUT /v1/deposits/smuggled HTTP/1.1\r\nHost: k\r\nContent-Type: application/pgp-encrypted\r\n"

control pipelining '200 200, open' 'two good requests at once have two answers' \
    raw_each "$good_request$good_request"
attempt smuggle-chunked '4@(00|11) @(bad_request|length_required), closed' 'a chunked body' \
    raw_each "${put_head}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n$smuggled"
attempt smuggle-cl-te '4@(00|11) @(bad_request|length_required), closed' 'Content-Length and Transfer-Encoding, in both orders' \
    raw_each "${put_head}Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n$smuggled" \
    "${put_head}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\n$smuggled"
attempt smuggle-hidden-te '4@(00|11) @(bad_request|length_required), closed' 'Transfer-Encoding in disguises' \
    raw_each "${put_head}Content-Length: 4\r\nTransfer-Encoding : chunked\r\n\r\n$smuggled" \
    "${put_head}Content-Length: 4\r\nTransfer-Encoding:\tchunked\r\n\r\n$smuggled" \
    "${put_head}Content-Length: 4\r\nTransfer-Encoding: xchunked\r\n\r\n$smuggled" \
    "${put_head}Content-Length: 4\r\nX: y\rTransfer-Encoding: chunked\r\n\r\n$smuggled" \
    "${put_head}Content-Length: 4\r\n Transfer-Encoding: chunked\r\n\r\n$smuggled"
attempt smuggle-two-lengths '400 bad_request, closed' 'two lengths, equal or not, or a list of them' \
    raw_each "${put_head}Content-Length: 4\r\nContent-Length: 90\r\n\r\n$smuggled" \
    "${put_head}Content-Length: 4\r\nContent-Length: 4\r\n\r\n$smuggled" \
    "${put_head}Content-Length: 4, 4\r\n\r\n$smuggled"
attempt smuggle-odd-lengths '400 bad_request, closed' 'lengths that readers understand differently' \
    raw_each "${put_head}Content-Length: +4\r\n\r\n$smuggled" "${put_head}Content-Length: -4\r\n\r\n$smuggled" \
    "${put_head}Content-Length: 0x4\r\n\r\n$smuggled" "${put_head}Content-Length: 4 4\r\n\r\n$smuggled" \
    "${put_head}Content-Length: 4.0\r\n\r\n$smuggled" "${put_head}Content-Length: \r\n\r\n$smuggled"
attempt length-overflow '4@(00|13) @(bad_request|body_too_large), closed' 'lengths around 2^31, 2^32, 2^63, 2^64' \
    raw_each "${put_head}Content-Length: 2147483648\r\n\r\nx" "${put_head}Content-Length: 4294967300\r\n\r\nx" \
    "${put_head}Content-Length: 9223372036854775808\r\n\r\nx" "${put_head}Content-Length: 18446744073709551620\r\n\r\nx"
attempt body-is-a-request '4@(13|15) @(body_too_large|content_type), closed' 'a request inside the body of a refused one' \
    raw_each "PUT /v1/deposits/smuggled HTTP/1.1\r\nHost: k\r\nContent-Type: text/plain\r\nContent-Length: 54\r\n\r\n$smuggled" \
    "GET /v1/health HTTP/1.1\r\nHost: k\r\nContent-Length: 54\r\n\r\n$smuggled"
attempt pipelined-behind '400 bad_request, closed' 'a good request behind a malformed one' \
    raw_each "GARBAGE\r\n\r\n$good_request" "GET / HTTP/1.1\r\nNo colon\r\n\r\n$good_request"
attempt two-hosts '400 bad_request, closed' 'two Host fields, or none' \
    raw_each "GET /v1/health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n$smuggled" "GET /v1/health HTTP/1.1\r\n\r\n$smuggled"
attempt lines-ended-by-lf '400 bad_request, closed' 'lines that end in LF alone, or in CR alone' \
    raw_each "GET /v1/health HTTP/1.1\nHost: a\n\n$smuggled" "GET /v1/health HTTP/1.1\r\nHost: a\nX: y\r\n\r\n$smuggled" \
    "GET /v1/health HTTP/1.1\rHost: a\r\r\n\r\n$smuggled"
attempt nul-bytes '400 bad_request, closed' 'NUL in target, name and value' \
    raw_each "GET /v1/deposits/peer%%2Fown\\0 HTTP/1.1\r\nHost: a\r\n\r\n" "GET /v1/health HTTP/1.1\r\nHo\\0st: a\r\nHost: a\r\n\r\n" \
    "GET /v1/health HTTP/1.1\r\nHost: a\\0b\r\n\r\n"
attempt folded-fields '400 bad_request, closed' 'folded fields, and white space before the colon' \
    raw_each "GET /v1/health HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n" "GET /v1/health HTTP/1.1\r\nHost : a\r\n\r\n" \
    "GET /v1/health HTTP/1.1\r\n Host: a\r\n\r\n"
attempt other-targets '400 bad_request, closed' 'absolute URIs, authorities, an asterisk, no path' \
    raw_each "GET http://keytrustee/v1/health HTTP/1.1\r\nHost: a\r\n\r\n" "CONNECT localhost:5432 HTTP/1.1\r\nHost: a\r\n\r\n" \
    "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n" "GET v1/health HTTP/1.1\r\nHost: a\r\n\r\n" "GET  /v1/health HTTP/1.1\r\nHost: a\r\n\r\n"
attempt other-methods '40[05] @(bad_request|method_not_allowed), @(closed|open)' 'TRACE, PATCH, lower case, a method of 5000 letters' \
    raw_each "TRACE /v1/deposits/x HTTP/1.1\r\nHost: a\r\n\r\n" "PATCH /v1/deposits/x HTTP/1.1\r\nHost: a\r\n\r\n" \
    "get /v1/health HTTP/1.1\r\nHost: a\r\n\r\n" "$(printf 'G%.0s' {1..5000}) /v1/health HTTP/1.1\r\nHost: a\r\n\r\n" \
    "DELETE /v1/health HTTP/1.1\r\nHost: a\r\n\r\n"
attempt other-versions '@(400 bad_request|505 version_not_supported), closed' 'HTTP/0.9, HTTP/2 and its preface, HTTP/1.10' \
    raw_each "GET /v1/health\r\n\r\n" "GET /v1/health HTTP/2.0\r\nHost: a\r\n\r\n" "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" \
    "GET /v1/health HTTP/1.10\r\nHost: a\r\n\r\n"
attempt beyond-ascii '400 bad_request, closed' 'bytes beyond ASCII in head and target' \
    raw_each "GET /v1/health HTTP/1.1\r\nHost: a\r\nX: \\377\\376\r\n\r\n" "GET /v1/deposits/\\303\\244 HTTP/1.1\r\nHost: a\r\n\r\n" \
    "GET /v1/health\\302\\240HTTP/1.1\r\nHost: a\r\n\r\n"

huge_heads() {
    raw_bytes "GET /v1/health HTTP/1.1\r\nHost: a\r\nX: $(cat "$KT_TMP/long")\r\n\r\n$smuggled"
    raw_bytes "GET /v1/deposits/$(cat "$KT_TMP/long") HTTP/1.1\r\nHost: a\r\n\r\n"
    raw_bytes "GET /v1/health HTTP/1.1\r\nHost: a\r\n$(for ((n = 0; n < 70; n++)); do printf 'X-%d: y\\r\\n' "$n"; done)\r\n"
    raw < <(head -c 3000000 /dev/zero | tr '\0' A)
}
attempt huge-heads '4@(00|31) @(bad_request|header_too_large), closed' 'a head of 9000 bytes, of 70 fields, of 3 MB without an end' huge_heads

expect_tricks() {
    raw_bytes "${put_head}Content-Length: 99999999\r\nExpect: 100-continue\r\n\r\n" cert="$(client_prefix peer)"
    raw_bytes "${put_head}Content-Length: 10\r\nExpect: 200-maybe\r\n\r\n" cert="$(client_prefix peer)"
    raw_bytes "${put_head}Content-Length: 10\r\nExpect: 100-continue\r\nExpect: 100-continue\r\n\r\n" cert="$(client_prefix peer)"
}
attempt expect-tricks '4@(00|13|17) *, closed' 'Expect with a body that is too large, with another word, twice' expect_tricks

# --- TLS ---

control tls-1-2 '200, *' 'TLS 1.2 with an AEAD suite is spoken' \
    raw_bytes "GET /v1/health HTTP/1.1\r\nHost: a\r\n\r\n" max=1.2
attempt plain-http 'closed' 'HTTP without TLS on the port' raw_bytes "GET /v1/health HTTP/1.1\r\nHost: a\r\n\r\n" plain=yes
attempt_at_leisure tls-garbage 'closed' 'SSL 2, a record that is too large, and noise' raw_garbage
raw_garbage() {
    raw_bytes '\200\056\001\000\002\000\025\000\000\000\020\001\000\200' plain=yes wait=12000
    raw_bytes '\026\003\001\377\377\001\000\000\000' plain=yes wait=12000
    raw plain=yes wait=12000 < <(head -c 4000 /dev/urandom)
}
old_versions() {
    raw_bytes 'x' max=1.0 "ciphers=ALL:@SECLEVEL=0"
    raw_bytes 'x' max=1.1 "ciphers=ALL:@SECLEVEL=0"
}
attempt tls-downgrade 'handshake refused' 'TLS 1.0 and 1.1' old_versions
weak_suites() {
    local suite

    for suite in ECDHE-ECDSA-AES128-SHA ECDHE-ECDSA-AES256-SHA384 AES128-GCM-SHA256 AES256-SHA aNULL eNULL; do
        raw_bytes 'x' max=1.2 "ciphers=$suite:@SECLEVEL=0"
    done
}
attempt tls-weak-suites 'handshake refused' 'TLS 1.2 with CBC, RSA key exchange, without authentication, without encryption' weak_suites
attempt tls-renegotiation 'handshake refused' 'renegotiation, which costs the server a handshake each time' \
    raw_bytes 'x' max=1.2 renegotiate=yes
attempt alpn-h2 '@(400 bad_request|505 version_not_supported), closed' 'ALPN h2, and then its preface' \
    raw_bytes 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\000\000\000\004\000\000\000\000\000' alpn=h2
odd_names() {
    local name

    for name in keytrustee-node localhost "$(printf 'a%.0s' {1..250})" '../../etc/passwd'; do
        raw_bytes "GET /v1/deposits HTTP/1.1\r\nHost: a\r\n\r\n" "sni=$name"
    done
}
attempt sni-oddities '401 certificate_missing, open' 'names of others in SNI open no other service' odd_names

tickets() {
    raw_quietly cert="$(client_prefix peer)" session-out="$KT_TMP/ticket" wait=300 \
        < <(printf 'GET /v1/clients/self HTTP/1.1\r\nHost: a\r\n\r\n')
    [[ -s $KT_TMP/ticket ]] || problem "no ticket was given"
    "$@"
}
resume_here() { raw_bytes "GET /v1/clients/self HTTP/1.1\r\nHost: a\r\n\r\n" session-in="$KT_TMP/ticket"; }
resume_elsewhere() {
    target=kts-02
    resume_here
}
early_data() { raw_bytes "GET /v1/clients/self HTTP/1.1\r\nHost: a\r\n\r\n" session-in="$KT_TMP/ticket" early=yes; }
control ticket-resumes '200, resumed, *' 'its owner resumes a session' tickets resume_here
attempt ticket-elsewhere '401 certificate_missing, open' 'a ticket of one node shown to the other, without the certificate' tickets resume_elsewhere
attempt early-data 'early data refused' 'a request as early data, which could be replayed' tickets early_data

# --- slow ones: all of them wait at once, and somebody else is served meanwhile ---

# slow NAME FORMAT [NAME=VALUE...]: says that and no more, with its input left open; sets $slow_fd, $slow_pid.
slow() {
    mkfifo "$KT_TMP/slow/$1.in"
    timeout 40 "$RAW_TLS" "${NODE_ADDRESS[$target]}" "$HTTPS_PORT" from="$from" "${@:3}" <"$KT_TMP/slow/$1.in" \
        >"$KT_TMP/slow/$1" 2>"$KT_TMP/slow/$1.err" &
    slow_pid=$!
    exec {slow_fd}>"$KT_TMP/slow/$1.in"
    # shellcheck disable=SC2059 # the bytes are the format
    printf "$2" >&"$slow_fd"
}

slow_senders() {
    local what pids=() fds=()

    mkdir -p "$KT_TMP/slow"
    slow head 'GET /v1/health HTTP/1.1\r\nHos'
    pids+=("$slow_pid") fds+=("$slow_fd")
    slow body "${put_head}Content-Length: 500\r\nKT-Deposit-Id: $(new_uuid)\r\nKT-SHA256: $(printf '0%.0s' {1..64})\r\n\r\nabc" \
        cert="$(client_prefix peer)"
    pids+=("$slow_pid") fds+=("$slow_fd")
    answered() { grep -qa '^KT-Error: ' "$KT_TMP/slow/$1"; }
    for what in head body; do
        wait_until 25 answered "$what"
        observe "$(grep -aoE 'HTTP/1\.1 [0-9]{3}|^KT-Error: [a-z_]+' "$KT_TMP/slow/$what" | sed 's/.* //' | paste -sd ' ')"
    done
    for what in "${fds[@]}"; do
        exec {what}>&-
    done
    for what in "${pids[@]}"; do
        wait "$what"
    done
}
attempt_at_leisure slow-senders '408 request_timeout' 'a head and a body that never end' slow_senders

silent_connection() { raw plain=yes wait=25000 </dev/null; }
attempt_at_leisure silent-connection 'closed' 'a connection that never begins its handshake' silent_connection

# It asks for more than the kernel holds, and reads nothing. What it sees says nothing: the end of the
# connection waits behind the bytes it does not take. The server's side is looked at.
slow_reader() {
    local reader

    head -c 900000 /dev/urandom >"$KT_TMP/large"
    encrypt_to peer "$KT_TMP/large" "$KT_TMP/large.cipher"
    quietly put peer large "$KT_TMP/large.cipher"
    (raw_quietly cert="$(client_prefix peer)" deaf=yes wait=35000 \
        < <(for ((n = 0; n < 60; n++)); do printf 'GET /v1/deposits/large HTTP/1.1\r\nHost: a\r\n\r\n'; done)) &
    reader=$!
    reader_is() {
        [[ $(on_node kts-01 ss -Htn state established "sport = :$HTTPS_PORT and dst = $from" | wc -l) -eq $1 ]]
    }
    comes_true 10 reader_is 1
    wait_until 25 reader_is 0 && observe closed || observe open
    kill "$reader" 2>/dev/null
    wait "$reader"
}
attempt_at_leisure slow-reader 'closed' 'a client that asks for 50 MB and takes nothing' slow_reader

# --- in the server's place ---

# pose PREFIX REASON: a server with that certificate stands where the client looks for the node; the client
# gives up for that reason.
pose() {
    local fake

    free_port
    # shellcheck disable=SC2031
    timeout 30 openssl s_server -accept "127.0.0.1:$port" -cert "$1-cert.pem" -key "$1-key.pem" -www \
        >"$KT_TMP/fake.out" 2>&1 </dev/null &
    fake=$!
    KT_PIDS[$fake]="a false server"
    listens() { can_connect "$port"; }
    comes_true 10 listens
    mislead victim misled "127.0.0.1:$port"
    observe_failure_for "$2" client misled get private/master -o "$KT_TMP/misled.got"
    [[ ! -s $KT_TMP/misled.got ]] || observe "the client took what it was given"
    end_process "$fake"
}
impostors() {
    certificate impostor other '/CN=keytrustee' '' '' 'subjectAltName = DNS:keytrustee'
    pose "$PKI/impostor" 'certificate|CA'
    pose "$(client_prefix peer)" 'certificate|CA|name'
}
# The server's own pair gets past this check, so it is the certificate that the others fail by.
right_pair_elsewhere() {
    pose "${NODE_DIR[kts-01]}/.keytrustee/tls/server" 'KT-Epoch is missing'
}
control impostor-is-reached refused 'with the right certificate a false server is heard, and fails by its answers' right_pair_elsewhere
attempt impostor 'refused' 'posing as the server with a certificate of another CA, and with that of a client' impostors
