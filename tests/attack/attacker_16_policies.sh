# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# shellcheck disable=SC2317 # called through the table
# A client that may retrieve, and does not wait for what a release policy demands. The victim deposits;
# peer has the right to retrieve; stolen-2 and stolen-3 are trustees.
attacker policies load 'a client that goes around release policies'

RETRIEVERS=20 RETRIEVALS=3

client_id_of() {
    sql kts-01 "select client_id from clients where name = '$1'"
}

# held HANDLE FIELD...: a deposit of the victim with a policy; sets $held_id.
held() {
    local handle=$1 fields=() field
    shift

    held_id=$(new_uuid)
    for field in "$@"; do
        fields+=(-H "$field")
    done
    quietly put victim "$handle" "$KT_TMP/cipher" "$held_id" "${fields[@]}"
    [[ $http == 201 ]] || problem "$handle: $(answer_text)"
}
prepare_policies() {
    succeeds admin kts-01 grant acme retrieve,browse --client peer --prefix policy/
    TRUSTEES=$(client_id_of stolen-2),$(client_id_of stolen-3)
    held policy/early "KT-Not-Before: $(date -u -d '+1 hour' +%FT%TZ)"
    EARLY_ID=$held_id
    held policy/why 'KT-Justification: required'
    held policy/counted "KT-Max-Retrievals: $RETRIEVALS"
    held policy/voted "KT-Votes: 2" "KT-Trustees: $TRUSTEES,$(client_id_of peer)"
    held policy/reasoned 'KT-Justification: required' "KT-Votes: 2" "KT-Trustees: $TRUSTEES"
    has_policies() {
        request kts-02 peer HEAD /v1/deposits/policy%2Fvoted
        [[ $http == 200 ]]
    }
    comes_true 10 has_policies
}
request_of_last() {
    sed -n 's/^KT-Request: \([0-9a-f-]*\).*/\1/p' "$KT_TMP/header"
}
vote() {
    ask "$1" POST "/v1/requests/$2/vote" -H 'Content-Type: application/json' --data-binary "{\"approve\": ${3:-true}}"
}

control policy-fulfilled '200' 'who says what for is handed what wants a justification' policy_fulfilled
policy_fulfilled() { ask peer GET /v1/deposits/policy%2Fwhy -H 'KT-Justification: recovery'; }
attempt policy-too-early '403 release_too_early' 'by name, version and id, at both nodes, before its time' policy_too_early
policy_too_early() {
    ask_both peer GET /v1/deposits/policy%2Fearly '/v1/deposits/policy%2Fearly?version=1' "/v1/deposits/by-id/$EARLY_ID"
    ask_both victim GET /v1/deposits/policy%2Fearly
    target=kts-01
    ask peer GET /v1/deposits/policy%2Fearly -H "Date: $(date -u -d '+2 days' -R)" -H 'KT-Not-Before: 2020-01-01T00:00:00Z'
}
attempt policy-unjustified '40[03] @(justification_required|bad_request)' 'without a justification, with an empty one, with NUL and line ends' policy_unjustified
policy_unjustified() {
    local text

    ask_both peer GET /v1/deposits/policy%2Fwhy
    target=kts-01
    for text in '' %00 %0a %ff "$(printf 'x%.0s' {1..600})"; do
        ask peer GET /v1/deposits/policy%2Fwhy -H "KT-Justification;" -H "KT-Justification: $text"
    done
}
attempt policy-at-the-passive '503 passive' 'what is counted or voted on, at a node that cannot count' policy_at_the_passive
policy_at_the_passive() {
    target=kts-02
    ask_all peer GET /v1/deposits/policy%2Fcounted /v1/deposits/policy%2Fvoted
}
attempt policy-raced "$RETRIEVALS win, $((RETRIEVERS - RETRIEVALS)) lose" "$RETRIEVERS at once for $RETRIEVALS retrievals" policy_raced
policy_raced() {
    local n

    for ((n = 0; n < RETRIEVERS; n++)); do
        printf 'url = "%s/v1/deposits/policy%%2Fcounted"\noutput = "/dev/null"\n' "$(url_of kts-01)"
    done >"$KT_TMP/race.curl"
    curl_node kts-01 -s -Z --parallel-immediate --parallel-max "$RETRIEVERS" --http1.1 --max-time 30 --interface "$from" \
        --cacert "$(ca_of kts-01)" --cert "$(client_prefix peer)-cert.pem" --key "$(client_prefix peer)-key.pem" \
        -w '%{http_code}\n' -K "$KT_TMP/race.curl" >"$KT_TMP/race.out" 2>/dev/null
    observe "$(grep -c '^200$' "$KT_TMP/race.out") win, $(grep -c '^403$' "$KT_TMP/race.out") lose"
}
attempt policy-votes '40[34] @(votes_required|not_granted|request_not_found)' 'without votes, with its own, with those of others who are no trustees' policy_votes
policy_votes() {
    ask peer GET /v1/deposits/policy%2Fvoted
    VOTED=$(request_of_last)
    vote peer "$VOTED"
    vote browser "$VOTED"
    vote rival "$VOTED"
    vote peer "$(new_uuid)"
    quietly vote stolen-2 "$VOTED"
    ask peer GET /v1/deposits/policy%2Fvoted
}
attempt policy-other-words '403 justification_differs' 'a retrieval that waits for votes, with other words than the trustees were shown' policy_other_words
policy_other_words() {
    local words waiting

    quietly ask peer GET /v1/deposits/policy%2Freasoned -H 'KT-Justification: audit'
    waiting=$(request_of_last)
    quietly vote stolen-2 "$waiting"
    quietly vote stolen-3 "$waiting"
    for words in Audit audit. audit%20 theft; do
        ask peer GET /v1/deposits/policy%2Freasoned -H "KT-Justification: $words"
    done
    quietly ask peer GET /v1/deposits/policy%2Freasoned -H 'KT-Justification: audit'
    [[ $http == 200 ]] || problem "with the words that were approved: $(answer_text)"
}
attempt policy-of-another '403 votes_required' 'a retrieval that was approved, by somebody else, and twice' policy_of_another
policy_of_another() {
    quietly vote stolen-3 "$VOTED"
    ask victim GET /v1/deposits/policy%2Fvoted
    quietly ask peer GET /v1/deposits/policy%2Fvoted
    [[ $http == 200 ]] || problem "the approved retrieval: $(answer_text)"
    ask peer GET /v1/deposits/policy%2Fvoted
}
attempt policy-removed '409 deposit_id_conflict' 'the same deposit once more, without its policy' policy_removed
policy_removed() { put victim policy/early "$KT_TMP/cipher" "$EARLY_ID"; }
attempt requests-of-others 'tells nothing' 'the list of requests, as somebody who neither asks nor votes' requests_of_others
requests_of_others() {
    local who

    for who in rival browser bare; do
        quietly ask "$who" GET /v1/requests
        observe_words "$VOTED" policy/
    done
}
attempt role-lifts-policies refused 'policies and counts, changed by the server'"'"'s roles' roles_refused \
    'update release_policies set max_retrievals = null' 'delete from release_policies' 'delete from releases' 'truncate releases'
