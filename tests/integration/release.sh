#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Release policies: times, justifications, counted retrievals, votes of trustees; nothing leaves that a
# policy holds back, and no count is wrong, also when processes are killed.
. "$KT_SOURCE/tests/support/lib.sh"

id_of() {
    sql kts-01 "select client_id from clients where name = '$1'"
}

# held HANDLE HEADER...: a deposit of host-1 with the header fields of a policy.
held() {
    local handle=$1 field fields=()
    shift

    for field in "$@"; do
        fields+=(-H "$field")
    done
    request kts-01 host-1 PUT "/v1/deposits/$(escape "$handle")" --data-binary "@$KT_TMP/cipher" \
        -H 'Content-Type: application/pgp-encrypted' -H "KT-Deposit-Id: ${held_id:-$(new_uuid)}" \
        -H "KT-SHA256: $(sha256sum "$KT_TMP/cipher" | cut -c 1-64)" "${fields[@]}"
}

# fetch CLIENT HANDLE [HEADER...]
fetch() {
    local who=$1 handle=$2 field fields=()
    shift 2

    for field in "$@"; do
        fields+=(-H "$field")
    done
    request kts-01 "$who" GET "/v1/deposits/$(escape "$handle")" "${fields[@]}"
    [[ $http == 200 ]] && same "$KT_TMP/cipher" "$KT_TMP/body"
    [[ $http == 200 ]] || is "$(head -c 9 "$KT_TMP/body")" '{"error":' "body of a refusal"
}

# The request that the last answer names.
named_request() {
    tr -d '\r' <"$KT_TMP/header" | sed -n 's/^[Kk][Tt]-[Rr]equest: //p'
}

# vote CLIENT REQUEST true|false
vote() {
    request kts-01 "$1" POST "/v1/requests/$2/vote" -H 'Content-Type: application/json' -d "{\"approve\": $3}"
}

state_of() {
    sed -n 's/.*"state":"\([a-z]*\)".*/\1/p' "$KT_TMP/body" | head -n 1
}

released() {
    sql kts-01 "select count(*) from releases join deposits using (organisation_id, deposit_id) where handle = '$1'"
}

process_of() {
    local child

    for child in $(pgrep -P "${NODE_PID[kts-01]}"); do
        [[ $(cat "/proc/$child/comm" 2>/dev/null) == "kts: $1"* ]] && is_running "$child" && pid=$child && return
    done
    return 1
}

new_node_with_clients kts-01
for name in alice bob carol; do
    new_client kts-01 acme "$name" || give_up "register: $(cat "$KT_TMP/$name.register.out")"
done
alice=$(id_of alice) bob=$(id_of bob) carol=$(id_of carol)
succeeds admin kts-01 grant acme browse,retrieve --client host-2 --prefix policy/
head -c 32 /dev/urandom >"$KT_TMP/key"
encrypt_to host-1 "$KT_TMP/key" "$KT_TMP/cipher" || give_up "gpg"
soon=$(date -u -d '+1 hour' +%FT%TZ) past=$(date -u -d '-1 hour' +%FT%TZ)

check "a policy that contradicts itself, or is out of its bounds, is refused with the reason"
for field in "KT-Not-Before: tomorrow" "KT-Max-Retrievals: 0" "KT-Max-Retrievals: -1" "KT-Votes: 1" \
    "KT-Votes: 17" "KT-Trustees: $alice" "KT-Trustees: x" "KT-Justification: maybe" "KT-Request-Lifetime: 3600" \
    "KT-Not-After: $past" "KT-Not-After: 2026-02-31T00:00:00Z" "KT-Max-Retrievals: 99999999999999999999999999"; do
    held policy/bad "$field"
    [[ $http == 400 ]] || problem "$field: $http"
done
held policy/bad "KT-Not-Before: $soon" "KT-Not-After: $soon"
answers 400 bad_request
held policy/bad "KT-Votes: 2" "KT-Trustees: $alice"
answers 400 bad_request
held policy/bad "KT-Votes: 1" "KT-Trustees: $alice,$alice"
answers 400 bad_request
held policy/bad "KT-Votes: 1" "KT-Votes: 2" "KT-Trustees: $alice,$bob"
answers 400 bad_request
held policy/bad "KT-Votes: 1" "KT-Trustees: $(new_uuid)"
answers 404 client_not_found
is "$(sql kts-01 "select count(*) from deposits where handle = 'policy/bad'")" 0 deposits

check "a repeat with the same policy is the same deposit, with another policy a conflict"
held_id=$(new_uuid)
held policy/repeat "KT-Max-Retrievals: 2"
answers 201
held policy/repeat "KT-Max-Retrievals: 2"
answers 200
held policy/repeat "KT-Max-Retrievals: 3"
answers 409 deposit_id_conflict
held policy/repeat
answers 409 deposit_id_conflict
unset held_id

check "before its time a deposit is not handed out, to nobody and by no way"
held policy/early "KT-Not-Before: $soon"
answers 201
id=$(sql kts-01 "select deposit_id from deposits where handle = 'policy/early'")
fetch host-1 policy/early
answers 403 release_too_early
fetch host-2 policy/early
answers 403 release_too_early
request kts-01 host-1 GET "/v1/deposits/by-id/$id"
answers 403 release_too_early
request kts-01 host-1 GET "/v1/deposits/policy%2Fearly?version=1"
answers 403 release_too_early

check "behind its time neither"
held policy/late "KT-Not-After: $soon"
fetch host-1 policy/late
answers 200
sql kts-01 "update release_policies set not_after = now() where not_after is not null and max_retrievals is null" >/dev/null
fetch host-1 policy/late
answers 403 release_expired

check "a justification that is wanted must be there and be text; it is in the record as it was sent"
held policy/why "KT-Justification: required"
fetch host-1 policy/why
answers 403 justification_required
fetch host-1 policy/why "KT-Justification: Gr%C3%B6%C3%9Fe%20%22z%C3%A4hlt%22"
answers 200
has "${NODE_DIR[kts-01]}/audit/audit-"* '"justification":"Gr\\u00F6\\u00DFe \\"z\\u00E4hlt\\""'
for text in '%00' '%0a' 'a%7fb' '%ff' '%c3' '%c0%80' '%ed%a0%80' "$(printf 'x%.0s' {1..513})" '%'; do
    fetch host-1 policy/why "KT-Justification: $text"
    [[ $http == 400 ]] || problem "'${text:0:20}': $http"
done

check "HEAD, list, info and receipt tell of the policy"
request kts-01 host-1 HEAD /v1/deposits/policy%2Fearly
answers 200
has "$KT_TMP/header" '^KT-Release-Policy: yes'
succeeds client host-1 list policy/
has "$KT_TMP/out" 'policy/early .* policy *$'
succeeds client host-1 info policy/repeat
has "$KT_TMP/out" '^retrievals +0 of 2$'
request kts-01 host-1 GET /v1/deposits/policy%2Fearly/receipt
has "$KT_TMP/body" '"policy":\{"justification":false,"max_retrievals":null,"not_after":null,"not_before":"20'

# retrieve N HANDLE: one retrieval with an id of its own, asked again until it is decided: the answer may
# be lost, or a node with much to do say that it cannot now.
retrieve() {
    local n=$1 id code

    id=$(new_uuid)
    for _ in {1..40}; do
        code=$(curl -s --max-time 20 --cacert "$(ca_of kts-01)" -o "$KT_TMP/got.$n" -w '%{http_code}' \
            --cert "$(client_dir host-1)/client-cert.pem" --key "$(client_dir host-1)/client-key.pem" \
            -H "KT-Retrieval-Id: $id" "$(url_of kts-01)/v1/deposits/$(escape "$2")")
        [[ $code == 200 || $code == 403 ]] && break
        kt_breath
    done
    echo "$code $id" >"$KT_TMP/decided.$n"
}

check "fifty clients at once get a deposit that may be handed out seven times, exactly seven times"
held policy/seven "KT-Max-Retrievals: 7"
answers 201
fetchers=()
for n in {1..50}; do
    retrieve "$n" policy/seven &
    fetchers+=("$!")
done
wait "${fetchers[@]}"
is "$(cat "$KT_TMP"/decided.* | grep -c '^200 ')" 7 "answers with the body"
is "$(cat "$KT_TMP"/decided.* | grep -c '^403 ')" 43 "refusals"
rm "$KT_TMP"/decided.*
is "$(released policy/seven)" 7 "releases"
fetch host-2 policy/seven
answers 403 release_used_up

check "a repeat with the same retrieval id is the same retrieval, for this client and this deposit"
held policy/once "KT-Max-Retrievals: 1"
retrieval=$(new_uuid)
fetch host-1 policy/once "KT-Retrieval-Id: $retrieval"
answers 200
fetch host-1 policy/once "KT-Retrieval-Id: $retrieval"
answers 200
fetch host-2 policy/once "KT-Retrieval-Id: $retrieval"
answers 403 release_used_up
fetch host-1 policy/once
answers 403 release_used_up
fetch host-1 policy/once "KT-Retrieval-Id: xyz"
answers 400 bad_request
is "$(released policy/once)" 1 "releases"
sql kts-01 "update releases set released_at = released_at - interval '6 minutes'" >/dev/null
fetch host-1 policy/once "KT-Retrieval-Id: $retrieval"
answers 403 release_used_up

check "killed workers and writers neither give an eighth nor lose one that was counted"
held policy/killed "KT-Max-Retrievals: 7"
retrievals=()
for n in {1..16}; do
    retrieve "$n" policy/killed &
    retrievals+=("$!")
done
for name in writer worker writer worker writer; do
    process_of "$name" && kill -KILL "$pid"
    kt_breath
done
wait "${retrievals[@]}"
is "$(cat "$KT_TMP"/decided.* | grep -c '^200 ')" 7 "retrievals that were let through"
is "$(cat "$KT_TMP"/decided.* | grep -c '^403 ')" 9 "refusals"
is "$(released policy/killed)" 7 "releases"
comes_true 20 ready kts-01

check "each retrieval that was let through has the writer's record and the worker's"
while read -r code id; do
    [[ $code == 200 ]] || continue
    for event in deposit.release deposit.get; do
        cat "${NODE_DIR[kts-01]}"/audit/audit-*.log | grep -F "\"$id\"" |
            grep -q "\"event\":\"$event\".*\"result\":\"allowed\"" || problem "no record $event of $id"
    done
done < <(cat "$KT_TMP"/decided.*)

check "while the audit process is held nothing is let through, and nothing is counted"
held policy/silent "KT-Max-Retrievals: 1"
process_of audit || give_up "no audit process"
kill -STOP "$pid"
curl -s --max-time 2 --cacert "$(ca_of kts-01)" -o "$KT_TMP/silent" \
    --cert "$(client_dir host-1)/client-cert.pem" --key "$(client_dir host-1)/client-key.pem" \
    "$(url_of kts-01)/v1/deposits/policy%2Fsilent"
[[ ! -s $KT_TMP/silent ]] || is "$(head -c 9 "$KT_TMP/silent")" '{"error":' "answer"
is "$(released policy/silent)" 0 "releases"
kill -CONT "$pid"
comes_true 20 ready kts-01

trustees="KT-Trustees: $alice, $bob,$carol"
check "with trustees a retrieval makes a request, and finds the same one again"
held policy/votes "KT-Votes: 2" "$trustees" "KT-Justification: required"
answers 201
fetch host-2 policy/votes "KT-Justification: disk%20died"
answers 403 votes_required
asked=$(named_request)
[[ -n $asked ]] || problem "no KT-Request"
fetch host-2 policy/votes "KT-Justification: disk%20died"
answers 403 votes_required
is "$(named_request)" "$asked" "request"

check "trustees and the one that asks see the request, others do not"
for name in alice host-2; do
    request kts-01 "$name" GET /v1/requests
    answers 200
    has "$KT_TMP/body" "$asked"
    has "$KT_TMP/body" 'disk died'
done
request kts-01 host-1 GET /v1/requests
hasnt "$KT_TMP/body" "$asked"
request kts-01 alice GET '/v1/requests?state=used'
hasnt "$KT_TMP/body" "$asked"
request kts-01 alice GET '/v1/requests?state=open'
answers 400 bad_request
request kts-01 none GET /v1/requests
answers 401 certificate_missing

check "nobody votes but trustees, and the one that asks not at all"
for name in host-1 host-2; do
    vote "$name" "$asked" true
    [[ $http == 404 || $http == 403 ]] || problem "$name votes: $http"
done
vote alice "$(new_uuid)" true
answers 404 request_not_found
request kts-01 alice POST "/v1/requests/$asked/vote" -H 'Content-Type: application/json' -d '{"approve": 1}'
answers 400 bad_request
request kts-01 alice POST "/v1/requests/$asked/vote" -H 'Content-Type: application/json' -d '{"comment": "x"}'
answers 400 bad_request
is "$(sql kts-01 'select count(*) from release_votes')" 0 "votes"

check "with enough approvals the deposit is handed out once, to the client that asked"
vote alice "$asked" true
answers 200
is "$(state_of)" waiting
vote alice "$asked" true
is "$(state_of)" waiting
fetch host-2 policy/votes "KT-Justification: disk%20died"
answers 403 votes_required
vote bob "$asked" true
is "$(state_of)" approved
vote carol "$asked" false
answers 409 request_closed
fetch host-1 policy/votes "KT-Justification: mine"
answers 403 votes_required
[[ $(named_request) != "$asked" ]] || problem "another client has the request"
fetch host-2 policy/votes "KT-Justification: disk%20died."
answers 403 justification_differs
has "$KT_TMP/body" "$asked"
fetch host-2 policy/votes "KT-Justification: disk%20died"
answers 200
fetch host-2 policy/votes "KT-Justification: please"
answers 403 votes_required
[[ $(named_request) != "$asked" ]] || problem "an approval is good for two"

check "what trustees deny stays denied until the request ends"
asked=$(named_request)
vote alice "$asked" false
vote bob "$asked" false
is "$(state_of)" denied
fetch host-2 policy/votes "KT-Justification: please"
answers 403 release_denied
vote bob "$asked" true
answers 409 request_closed
sql kts-01 "update release_requests set created_at = now() - interval '2 days', expires_at = now() where request_id = '$asked'" >/dev/null
fetch host-2 policy/votes "KT-Justification: late"
answers 403 votes_required

check "an approval that has expired lets nothing through"
asked=$(named_request)
vote alice "$asked" true
vote carol "$asked" true
is "$(state_of)" approved
sql kts-01 "update release_requests set created_at = now() - interval '2 days', expires_at = now() where request_id = '$asked'" >/dev/null
fetch host-2 policy/votes "KT-Justification: anew"
answers 403 votes_required
request kts-01 alice GET '/v1/requests?state=expired'
has "$KT_TMP/body" "$asked"

check "a revoked trustee's vote counts no more"
fetch host-2 policy/votes "KT-Justification: anew"
asked=$(named_request)
vote alice "$asked" true
vote carol "$asked" true
is "$(state_of)" approved
succeeds admin kts-01 client revoke "$carol" --yes
fetch host-2 policy/votes "KT-Justification: anew"
answers 403 votes_required
vote bob "$asked" true
is "$(state_of)" approved
fetch host-2 policy/votes "KT-Justification: anew"
answers 200

check "votes are recorded, with who and what for"
cat "${NODE_DIR[kts-01]}"/audit/audit-*.log >"$KT_TMP/audit"
has "$KT_TMP/audit" "\"approve\":true.*\"client\":\"$bob\".*\"event\":\"request.vote\".*\"release_request\":\"$asked\""
has "$KT_TMP/audit" '"event":"deposit.release".*"justification":"disk died".*"reason":"votes_required"'

check "keytrustee puts, asks, waits, approves and denies"
succeeds client host-1 put cli/votes "$KT_TMP/key" --trustee "$alice" --trustee "$bob" --votes 1 --justification \
    --not-before 2020-01-01 --not-after +7d --max-retrievals 2 --request-lifetime 1h
succeeds client host-1 info cli/votes
has "$KT_TMP/out" '^wants +1 of 2 trustees, who have 3600 s'
exits 4 client host-1 get cli/votes
has "$KT_TMP/err" 'justification'
exits 4 client host-1 get cli/votes --why 'the disk died'
asked=$(sed -n 's/^request //p' "$KT_TMP/err")
succeeds client alice requests --state waiting
has "$KT_TMP/out" "$asked .*cli/votes.*the disk died"
client host-1 get cli/votes --why 'the disk died' --wait 60 -o "$KT_TMP/waited" 2>"$KT_TMP/waited.err" &
waiter=$!
KT_PIDS[$waiter]=waiter
asks_again() { grep -q '^request ' "$KT_TMP/waited.err"; }
comes_true 20 asks_again
exits 4 client host-1 get cli/votes --why 'a disk died'
has "$KT_TMP/err" "request $asked was made with another justification"
has "$KT_TMP/err" 'keytrustee requests'
succeeds client alice approve "$asked"
has "$KT_TMP/out" "$asked is approved"
wait "$waiter" || problem "status $? of get --wait: $(cat "$KT_TMP/waited.err")"
unset "KT_PIDS[$waiter]"
same "$KT_TMP/key" "$KT_TMP/waited"
exits 4 client host-1 get cli/votes --why 'and again'
asked=$(sed -n 's/^request //p' "$KT_TMP/err")
succeeds client bob deny "$asked" --comment 'not today'
has "$KT_TMP/out" "$asked is waiting"
succeeds client alice --json deny "$asked"
has "$KT_TMP/out" denied
exits 4 client host-1 get cli/votes --why 'and again'
has "$KT_TMP/err" 'denied'
exits 4 client bob approve "$asked"
exits 3 client bob approve "$(new_uuid)"
exits 2 client host-1 put cli/bad "$KT_TMP/key" --votes 1
exits 2 client host-1 put cli/bad "$KT_TMP/key" --not-before yesterday

check "a deposit without a policy is handed out as before"
succeeds client host-1 put cli/plain "$KT_TMP/key"
succeeds client host-1 get cli/plain -o "$KT_TMP/got"
same "$KT_TMP/key" "$KT_TMP/got"
succeeds admin kts-01 audit verify

finish
