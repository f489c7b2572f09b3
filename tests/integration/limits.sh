#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Who fails too often, comes too often or goes wild is held back, and nobody else is: auth codes cannot
# be guessed, also not over many connections and several workers.
. "$KT_SOURCE/tests/support/lib.sh"

CROWD=$KT_BUILD/tests/crowd

new_node kts-01 || give_up "init: $(cat "$KT_TMP/kts-01.init.out")"
set_setting kts-01 server workers 2
set_setting kts-01 limits failures 10
set_setting kts-01 limits client_requests 40
start_node kts-01 || give_up "the node does not start"
succeeds admin kts-01 org add acme
succeeds admin kts-01 org add other
for name in host-1 host-2; do
    new_client kts-01 acme "$name" || give_up "register: $(cat "$KT_TMP/$name.register.out")"
done
new_client kts-01 other host-3 || give_up "register: $(cat "$KT_TMP/host-3.register.out")"
head -c 64 /dev/urandom >"$KT_TMP/key"
for name in host-1 host-3; do
    succeeds client "$name" put "limits/$name" "$KT_TMP/key"
done

# Header field of the last answer.
field() {
    sed -n "s/^$1: *\([^\r]*\).*/\1/Ip" "$KT_TMP/header" | head -n 1
}

# A registration with everything right but the code's secret; from ADDRESS, on a connection of its own.
openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$KT_TMP/guess.key" \
    -subj /CN=guess -out "$KT_TMP/guess.csr" 2>/dev/null
gpg --homedir "$(client_dir host-1)/gnupg" --batch --export 2>/dev/null | base64 -w 0 >"$KT_TMP/openpgp"
code_of() {
    grep -oE '[a-z2-7]{8}-[a-z2-7]{32}-[a-z2-7]{52}' "$KT_TMP/code.$1" | head -n 1
}
ca=$(code_of host-1 | cut -d- -f3)
guess_body() {
    printf '{"auth_code":"%s-%s-%s","name":"guess","csr":"%s","openpgp":"%s"}' "$1" "$2" "$ca" \
        "$(awk '{ printf "%s\\n", $0 }' "$KT_TMP/guess.csr")" "$(cat "$KT_TMP/openpgp")"
}
guess() {
    guess_body "$2" "$3" >"$KT_TMP/guess.json"
    request kts-01 none POST /v1/clients --interface "$1" -H 'Content-Type: application/json' \
        --data-binary "@$KT_TMP/guess.json"
}

new_auth_code kts-01 acme "$KT_TMP/code.goal" || problem "no auth code"
code=$(code_of goal)
code_id=${code%%-*} wrong=$(printf 'a%.0s' {1..32})
secret=$(cut -d- -f2 <<<"$code")

check "wrong auth codes from one address are counted together, whatever connection and worker they come by"
refused=0 limited=0
for attempt in {1..22}; do
    guess 127.0.0.1 "$(printf 'zzzz%04d' "$attempt" | tr 0-9 a-j)" "$wrong"
    case $http in
    403) refused=$((refused + 1)) ;;
    429) limited=$((limited + 1)) ;;
    *) problem "attempt $attempt: $http $(error_code)" ;;
    esac
done
# 10 at once, and as many again a minute meanwhile
[[ $refused -ge 10 && $refused -le 18 ]] || problem "$refused of 22 had a verdict"
answers 429 too_many_requests
[[ $(field Retry-After) =~ ^[0-9]+$ && $(field Retry-After) -ge 1 && $(field Retry-After) -le 60 ]] ||
    problem "Retry-After: '$(field Retry-After)'"
is "$(field Connection)" close

check "over the limit not even the right code has a verdict, and it is good afterwards and elsewhere"
guess 127.0.0.1 "$code_id" "$secret"
answers 429 too_many_requests
guess 127.0.0.9 zzzzzzzz "$secret"
answers 403 auth_code_invalid

check "everything else from that address goes on: others are behind it"
succeeds client host-1 get limits/host-1
same "$KT_TMP/out" "$KT_TMP/key"
request kts-01 none GET /v1/health
answers 200

check "one code is guarded against guesses from many addresses"
refused=0 limited=0
for attempt in {1..22}; do
    guess "127.0.1.$attempt" "$code_id" "$wrong"
    [[ $http == 403 ]] && refused=$((refused + 1))
    [[ $http == 429 ]] && limited=$((limited + 1))
done
[[ $limited -ge 3 && $refused -ge 10 && $refused -le 18 ]] || problem "$refused verdicts, $limited limited"

check "guessing at full speed gets no more than the limit's verdicts a minute: the rate and the years"
guess_body zzzzzzzz "$wrong" >"$KT_TMP/guess.json"
succeeds "$CROWD" "${NODE_PORT[kts-01]}" --seconds 5 --guess 32 --body "$KT_TMP/guess.json" --first 127.0.2.1
tries=$(sed -n 's/^guess: .* \([0-9]*\) answers.*/\1/p' "$KT_TMP/out")
verdicts=$(sed -n 's/^guess: .* \([0-9]*\) refused.*/\1/p' "$KT_TMP/out")
echo "# $tries guesses in 5 s over 32 connections, $verdicts with a verdict"
[[ $tries -gt 300 ]] || problem "only $tries guesses were made"
# The 32 that are under way when the limit is reached have their verdict withheld, too.
[[ $verdicts -le 15 ]] || problem "$verdicts verdicts"
awk 'BEGIN { a = 10 * 60 * 24 * 365.25; printf "# at %d a minute one address tries all 2^160 secrets in %.1g years\n", 10, 2 ^ 160 / a }'

check "a certificate of another CA is refused, then limited; those of the cluster are not"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$KT_TMP/foreign-key.pem" \
    -out "$KT_TMP/foreign-cert.pem" -days 1 -subj /CN=foreign 2>/dev/null
codes=''
for attempt in {1..16}; do
    request kts-01 "$KT_TMP/foreign" GET /v1/deposits
    codes+="$http "
done
is "$(tr ' ' '\n' <<<"$codes" | sort | uniq -c | awk '$2 == 401 && $1 >= 10 && $1 < 16 { print "y" }')" y "$codes"
answers 429 too_many_requests
succeeds client host-1 get limits/host-1

check "a revoked client is limited by its certificate, before the database is asked, and its neighbours are not"
id=$(sql kts-01 "select client_id from clients where name = 'host-2'")
succeeds admin kts-01 client revoke "$id" --yes
for attempt in {1..16}; do
    request kts-01 host-2 GET /v1/deposits
done
answers 429 too_many_requests
request kts-01 host-1 GET /v1/deposits
answers 200

check "malformed requests are answered 400, then 429, and well-formed ones go on"
malformed() {
    printf 'GET  / HTTP/1.1\r\nHost: x\r\n\r\n' | timeout 10 openssl s_client -quiet -connect \
        "127.0.0.1:${NODE_PORT[kts-01]}" -servername keytrustee -CAfile "$(ca_of kts-01)" 2>/dev/null |
        head -n 1
}
for attempt in {1..14}; do
    malformed >>"$KT_TMP/malformed"
done
has "$KT_TMP/malformed" '^HTTP/1.1 400'
has "$KT_TMP/malformed" '^HTTP/1.1 429'
request kts-01 none GET /v1/health
answers 200

check "a client with too many requests under way is told so, and another organisation is served meanwhile"
get_path=/v1/deposits/limits%2F
succeeds "$CROWD" "${NODE_PORT[kts-01]}" --seconds 4 --flood 200 --flooder "$(client_dir host-1)" "${get_path}host-1" \
    --load 4 --client "$(client_dir host-3)" "${get_path}host-3"
sed 's/^/# /' "$KT_TMP/out"
has "$KT_TMP/out" '^load: .* 0 failed'
has "$KT_TMP/out" '^flood: .* [1-9][0-9]* good.* [1-9][0-9]* limited'

check "what was held back can be seen in the metrics"
watcher=$KT_TMP/watcher
succeeds admin kts-01 operator new watcher --output "$watcher.pem"
cp "$watcher.pem" "$watcher-cert.pem"
cp "$watcher.pem" "$watcher-key.pem"
request kts-01 "$watcher" GET /v1/metrics
answers 200
has "$KT_TMP/body" '^keytrustee_requests_limited_total [1-9]'

check "an address that opens too many connections a second is closed before the handshake; another one is not"
set_setting kts-01 limits address_handshakes 1
kill -HUP "${NODE_PID[kts-01]}"
comes_true 10 grep -q 'has new settings' "${NODE_DIR[kts-01]}/logs/kts.log"
refused_some() {
    local attempt
    for attempt in {1..10}; do
        request kts-01 none GET /v1/health --interface 127.0.3.1
        [[ $http == 000 ]] && return 0
    done
    return 1
}
comes_true 20 refused_some
request kts-01 none GET /v1/health --interface 127.0.3.2
answers 200
has "${NODE_DIR[kts-01]}/logs/kts.log" 'connections were closed at once.*address_handshakes'

finish
