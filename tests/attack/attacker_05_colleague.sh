# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# shellcheck disable=SC2317 # called through the table
# A malicious client of the same organisation: without any right, with all rights on its own, and with each
# single right, on its own deposits and on what is named team/...
attacker colleague load 'a malicious client of the same organisation'

control owner-may-all '20[01]' 'the owner fetches, lists and deposits' owner_does_all
owner_does_all() {
    ask_both victim GET /v1/deposits/private%2Fraw
    ask_both victim GET "/v1/deposits/by-id/$VICTIM_ID"
    ask_both victim HEAD /v1/deposits/private%2Fraw
    ask_both victim GET /v1/deposits/private%2Fraw/receipt
    ask_both victim GET /v1/deposits
    target=kts-01
    put victim private/raw "$KT_TMP/cipher"
}

# --- others' deposits, which no grant names ---

SPIES=(bare peer depositor reader browser remover)
each_spy() {
    local spy

    for spy in "${SPIES[@]}"; do
        "$1" "$spy" "${@:2}"
    done
}
attempt others-handle '404 deposit_not_found' 'fetching, asking for, and the receipt of others'"'"' deposits, with every right and none' others_handle
others_handle() {
    each_spy ask_both GET /v1/deposits/private%2Fmaster '/v1/deposits/private%2Fraw?version=1' /v1/deposits/private%2Fmaster/receipt
    each_spy ask_both HEAD /v1/deposits/private%2Fmaster
}
others_id() { each_spy ask_both GET "/v1/deposits/by-id/$VICTIM_ID"; }
attempt others-id '404 deposit_not_found' 'fetching others'"'"' deposits by their ids' others_id
next_version() {
    local spy

    for spy in peer depositor; do
        put "$spy" private/raw "$KT_TMP/cipher"
        put "$spy" private/master "$KT_TMP/cipher"
    done
}
attempt next-version '409 handle_taken' 'a next version of others'"'"' deposits' next_version
no_right_to_deposit() {
    local spy

    for spy in bare reader browser remover; do
        put "$spy" private/raw "$KT_TMP/cipher"
        put "$spy" "new/$spy" "$KT_TMP/cipher"
    done
}
attempt deposit-without-right '403 not_granted' 'depositing without the right to, under others'"'"' names and new ones' no_right_to_deposit
delete_others() {
    each_spy ask_all DELETE /v1/deposits/private%2Fraw '/v1/deposits/private%2Fraw?version=1'
}
attempt delete-others '404 deposit_not_found' 'deleting others'"'"' deposits' delete_others
listing() {
    local spy query

    for spy in "${SPIES[@]}"; do
        for target in kts-01 kts-02; do
            for query in '' '?prefix=private&limit=100000' '?after=private'; do
                quietly ask "$spy" GET "/v1/deposits$query"
                observe_words private/ "$VICTIM_ID"
            done
        done
    done
}
attempt list-others 'tells nothing' 'listing others'"'"' deposits' listing
wildcards() {
    local spy prefix

    for spy in peer browser; do
        for prefix in _ private_ '.*' + -; do
            quietly ask "$spy" GET "/v1/deposits?prefix=$prefix"
            observe_words private/ "$VICTIM_ID"
        done
        for prefix in '%25' '%25private' "'" "'%20or%20true%20--" '%5C' '%22' '%24%24' '%C3%A4'; do
            quietly ask "$spy" GET "/v1/deposits?prefix=$prefix"
            observe_words private/ "$VICTIM_ID"
            quietly ask "$spy" GET "/v1/deposits?after=$prefix"
            observe_words private/ "$VICTIM_ID"
        done
    done
}
attempt_at_leisure list-wildcards 'tells nothing' 'patterns, quotes and statements as prefix' wildcards
existence() {
    local spy

    for spy in peer browser; do
        target=kts-01
        same_answer "$spy" GET /v1/deposits/private%2Fmaster /v1/deposits/private%2Fnothing
        same_answer "$spy" HEAD /v1/deposits/private%2Fmaster /v1/deposits/private%2Fnothing
        same_answer "$spy" GET '/v1/deposits/private%2Fmaster?version=1' '/v1/deposits/private%2Fmaster?version=9'
        same_answer "$spy" GET /v1/deposits/private%2Fmaster/receipt /v1/deposits/private%2Fnothing/receipt
        same_answer "$spy" DELETE /v1/deposits/private%2Fmaster /v1/deposits/private%2Fnothing
        same_answer "$spy" GET "/v1/deposits/by-id/$VICTIM_ID" "/v1/deposits/by-id/$(new_uuid)"
        target=kts-02
        same_answer "$spy" GET /v1/deposits/private%2Fmaster /v1/deposits/private%2Fnothing
        same_answer "$spy" GET "/v1/deposits/by-id/$VICTIM_ID" "/v1/deposits/by-id/$(new_uuid)"
    done
}
attempt existence-oracle 'same answer: 404 *' 'learning from differences of answers whether a name or id exists' existence
same_id() {
    put peer peer/same-id "$KT_TMP/cipher" "$VICTIM_ID"
    observe_words private/ "$(sha256sum "$KT_TMP/cipher" | cut -c 1-64)"
    [[ ${observed[-1]} == 'tells nothing' ]] && unset 'observed[-1]'
}
attempt others-deposit-id '409 deposit_id_conflict' 'a deposit under an id that another has' same_id
taken_handle_race() {
    local n codes=() handle

    for n in 1 2 3 4 5; do
        handle=race/$RANDOM$n
        for who in peer stolen-2 depositor; do
            (deposit_into "$who" "$handle") &
        done
        wait_for_jobs
        observe "$(sort "$KT_TMP"/race.* | uniq -c | awk '{ printf "%s%s x %s", (NR > 1 ? ", " : ""), $1, $2 }')"
    done
}
# A curl of its own: `request` keeps its answers in files that are shared.
deposit_into() {
    curl_node kts-01 -s --max-time 30 --interface "$from" --cacert "$(ca_of kts-01)" -o /dev/null \
        --cert "$(client_prefix "$1")-cert.pem" --key "$(client_prefix "$1")-key.pem" -w '%{http_code}\n' -X PUT \
        --data-binary "@$KT_TMP/cipher" -H 'Expect:' -H 'Content-Type: application/pgp-encrypted' \
        -H "KT-Deposit-Id: $(new_uuid)" -H "KT-SHA256: $(sha256sum "$KT_TMP/cipher" | cut -c 1-64)" \
        "$(url_of kts-01)/v1/deposits/$(escape "$2")" >"$KT_TMP/race.$1"
}
attempt handle-race '1 x 201, 2 x 409' 'three clients make the same new handle at once' taken_handle_race
attempt openpgp-unknown '404 client_not_found' 'OpenPGP keys by invented fingerprints' unknown_fingerprints
unknown_fingerprints() {
    ask_both peer GET "/v1/clients/$(printf '0%.0s' {1..40})/openpgp"
    ask_both peer GET "/v1/clients/$(head -c 20 /dev/urandom | od -An -tx1 | tr -d ' \n')/openpgp"
}
attempt method-override '404 deposit_not_found' 'DELETE in the disguise of another method' method_override
method_override() {
    ask browser GET /v1/deposits/private%2Fmaster -H 'X-HTTP-Method-Override: DELETE' -H 'X-HTTP-Method: PUT' -H 'X-Method-Override: DELETE'
}

# --- one right alone, where it was given: on its own, and by the prefix team/ ---

control single-rights '20[01]' 'each right lets its owner do what it says' single_rights
single_rights() {
    put depositor team/by-depositor "$KT_TMP/cipher"
    ask_both browser HEAD /v1/deposits/team%2Fplan
    ask_both browser GET '/v1/deposits?prefix=team%2F'
    ask_both browser GET /v1/deposits/team%2Fplan/receipt
    target=kts-01
    put depositor depositor/own "$KT_TMP/cipher"
}
attempt deposit-only '40[34] @(not_granted|deposit_not_found)' 'who may only deposit: fetches, lists, deletes, asks for receipts, also of its own' deposit_only
deposit_only() {
    local handle paths=("/v1/deposits/by-id/$VICTIM_TEAM_ID") own=()

    for handle in depositor%2Fown team%2Fplan team%2Fby-depositor; do
        paths+=("/v1/deposits/$handle" "/v1/deposits/$handle/receipt")
        own+=("/v1/deposits/$handle")
    done
    ask_both depositor GET "${paths[@]}"
    ask_both depositor HEAD "${own[@]}"
    target=kts-01
    ask_all depositor DELETE "${own[@]}"
}
attempt deposit-only-lists 'tells nothing' 'who may only deposit: lists, also its own' deposit_only_lists
deposit_only_lists() {
    for target in kts-01 kts-02; do
        quietly ask depositor GET /v1/deposits
        observe_words team/ depositor/
    done
}
attempt browse-only '40[34] *' 'who may only browse: fetches, deletes, deposits' browse_only
browse_only() {
    ask_both browser GET /v1/deposits/team%2Fplan "/v1/deposits/by-id/$VICTIM_TEAM_ID"
    target=kts-01
    put browser team/plan "$KT_TMP/cipher"
    put browser team/new "$KT_TMP/cipher"
    ask browser DELETE /v1/deposits/team%2Fplan
}
attempt retrieve-only '40[34] *' 'who may only retrieve: asks for receipts and metadata, deletes, deposits' retrieve_only
retrieve_only() {
    ask_both reader HEAD /v1/deposits/team%2Fplan
    ask_both reader GET /v1/deposits/team%2Fplan/receipt
    target=kts-01
    put reader team/plan "$KT_TMP/cipher"
    put reader team/new "$KT_TMP/cipher"
    ask reader DELETE /v1/deposits/team%2Fplan
}
attempt delete-only '40[34] *' 'who may only delete: fetches, asks for metadata, deposits' delete_only
delete_only() {
    ask_both remover GET /v1/deposits/team%2Fplan /v1/deposits/team%2Fplan/receipt "/v1/deposits/by-id/$VICTIM_TEAM_ID"
    ask_both remover HEAD /v1/deposits/team%2Fplan
    target=kts-01
    put remover team/plan "$KT_TMP/cipher"
}
attempt beside-the-prefix '404 deposit_not_found' 'names beside a granted prefix' beside_the_prefix
beside_the_prefix() {
    quietly put victim teamwork/x "$KT_TMP/cipher"
    quietly put victim TEAM/x "$KT_TMP/cipher"
    quietly put victim /team/x "$KT_TMP/cipher"
    quietly put victim team/../private "$KT_TMP/cipher"
    ask_all browser GET /v1/deposits/{teamwork%2Fx,TEAM%2Fx,%2Fteam%2Fx,private%2Fmaster,team%2F..%2Fprivate%2Fmaster}
    ask_all browser HEAD /v1/deposits/{teamwork%2Fx,TEAM%2Fx,%2Fteam%2Fx,private%2Fmaster,team%2F..%2Fprivate%2Fmaster}
}
after_all_that() {
    quietly ask victim GET /v1/deposits/private%2Fraw
    observe "$(cmp -s "$KT_TMP/body" "$KT_TMP/cipher" && echo unchanged)"
    run client victim get private/master -o "$KT_TMP/victim.got"
    observe "$(cmp -s "$KT_TMP/victim.got" "$KT_TMP/secret.victim" && echo unchanged)"
}
attempt colleague-changed-nothing unchanged 'all of the above have changed what the victim keeps' after_all_that
