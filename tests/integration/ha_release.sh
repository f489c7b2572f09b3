#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Counted retrievals and votes on two nodes: a passive refuses them, and the count is right behind a
# failover in their middle.
. "$KT_SOURCE/tests/support/cluster.sh"

new_cluster 2
add_clients kts-01
new_cipher

# held NODE HANDLE FIELD...
held() {
    local node=$1 handle=$2 field fields=()
    shift 2

    for field in "$@"; do
        fields+=(-H "$field")
    done
    request "$node" host-1 PUT "/v1/deposits/$(escape "$handle")" --data-binary "@$KT_TMP/cipher" \
        -H 'Content-Type: application/pgp-encrypted' -H "KT-Deposit-Id: $(new_uuid)" \
        -H "KT-SHA256: $(sha256sum "$KT_TMP/cipher" | cut -c 1-64)" "${fields[@]}"
}

released() {
    sql "$1" 'select count(*) from releases'
}

# One retrieval with an id of its own, asked again at both nodes until it is decided.
one_retrieval() {
    local n=$1 id node code=000

    id=$(new_uuid)
    until [[ -e $KT_TMP/give-up ]]; do
        for node in kts-01 kts-02; do
            code=$(curl_node "$node" -s --max-time 5 --cacert "$(ca_of kts-01)" -o "$KT_TMP/got.$n" \
                -w '%{http_code}' --cert "$(client_dir host-1)/client-cert.pem" \
                --key "$(client_dir host-1)/client-key.pem" -H "KT-Retrieval-Id: $id" \
                "$(url_of "$node")/v1/deposits/counted")
            [[ $code == 200 || $code == 403 ]] && break 2
        done
        kt_breath
    done
    echo "$code" >"$KT_TMP/decided.$n"
}

check "a passive refuses what must be counted, names the active, and says what to do"
held kts-01 counted "KT-Max-Retrievals: 7"
answers 201
held kts-01 timed "KT-Not-After: $(date -u -d '+1 hour' +%FT%TZ)"
answers 201
comes_true 10 serves kts-02 timed
request kts-02 host-1 GET /v1/deposits/counted
answers 503 passive
has "$KT_TMP/header" '^KT-Active: '
has "$KT_TMP/body" 'ask the active'
is "$(head -c 9 "$KT_TMP/body")" '{"error":'
is "$(released kts-01)" 0 "releases"

check "what a passive can judge by itself it hands out"
request kts-02 host-1 GET /v1/deposits/timed
answers 200
same "$KT_TMP/cipher" "$KT_TMP/body"

check "the client finds the active by itself"
printf 'a secret' >"$KT_TMP/key"
succeeds client host-1 put cli/counted "$KT_TMP/key" --max-retrievals 3
for n in 1 2 3; do
    succeeds client host-1 get cli/counted -o "$KT_TMP/got"
    same "$KT_TMP/key" "$KT_TMP/got"
done
exits 4 client host-1 get cli/counted
has "$KT_TMP/err" 'as often as its policy allows'

check "a failover in the middle of counted retrievals gives neither an eighth nor loses one"
before=$(released kts-01)
retrievals=()
for n in {1..3}; do
    one_retrieval "$n" &
    retrievals+=("$!")
    KT_PIDS[$!]="retrieval $n"
done
one_is_through() { cat "$KT_TMP"/decided.* 2>/dev/null | grep -q 200; }
comes_true 20 one_is_through
for n in {4..14}; do
    one_retrieval "$n" &
    retrievals+=("$!")
    KT_PIDS[$!]="retrieval $n"
done
kill_node kts-01
run admin_for 90 kts-02 failover --to kts-02
[[ $status -eq 0 || $status -eq 9 ]] || problem "failover: $status"
start_node kts-01
does kts-01 rejoin
comes_true 40 takes_deposits kts-02
all_decided() { [[ $(cat "$KT_TMP"/decided.* 2>/dev/null | wc -l) -eq 14 ]]; }
comes_true 60 all_decided
: >"$KT_TMP/give-up"
for n in "${retrievals[@]}"; do
    wait "$n"
    unset "KT_PIDS[$n]"
done
is "$(cat "$KT_TMP"/decided.* | grep -c '^200$')" 7 "retrievals that were let through"
is "$(cat "$KT_TMP"/decided.* | grep -c '^403$')" 7 "refusals"
is "$(($(released kts-02) - before))" 7 "releases"

check "the count holds on the new active"
request kts-02 host-1 GET /v1/deposits/counted
answers 403 release_used_up

finish
