# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# shellcheck disable=SC2317 # called through the table
# A malicious client of another organisation, with all rights on its own.
attacker foreigner load 'a malicious client of another organisation'

control own-organisation '20[01]' 'it deposits and fetches in its own organisation' own_organisation
own_organisation() {
    put rival rival/own "$KT_TMP/cipher"
    ask rival GET /v1/deposits/rival%2Fown
}
attempt foreign-handle '404 deposit_not_found' 'the same names, fetched, asked for, deleted, receipts' foreign_handle
foreign_handle() {
    local handle paths=()

    for handle in private%2Fmaster private%2Fraw team%2Fplan; do
        paths+=("/v1/deposits/$handle" "/v1/deposits/$handle/receipt" "/v1/deposits/$handle?version=1")
    done
    ask_both rival GET "${paths[@]}"
    ask_both rival HEAD /v1/deposits/private%2Fmaster /v1/deposits/team%2Fplan
    target=kts-01
    ask_all rival DELETE /v1/deposits/private%2Fmaster /v1/deposits/private%2Fraw /v1/deposits/team%2Fplan
}
attempt foreign-id '404 deposit_not_found' 'ids that it has learned, and 50 guessed ones' foreign_id
foreign_id() {
    local n paths=("/v1/deposits/by-id/$VICTIM_ID" "/v1/deposits/by-id/$VICTIM_TEAM_ID")

    for ((n = 0; n < 50; n++)); do
        paths+=("/v1/deposits/by-id/$(new_uuid)")
    done
    ask_both rival GET "${paths[@]}"
}
attempt foreign-oracle 'same answer: 404 *' 'learning from differences of answers what another organisation has' foreign_oracle
foreign_oracle() {
    same_answer rival GET /v1/deposits/private%2Fmaster /v1/deposits/private%2Fnothing
    same_answer rival HEAD /v1/deposits/private%2Fmaster /v1/deposits/private%2Fnothing
    same_answer rival GET "/v1/deposits/by-id/$VICTIM_ID" "/v1/deposits/by-id/$(new_uuid)"
    same_answer rival GET "/v1/clients/$(fingerprint_of victim)/openpgp" "/v1/clients/$(printf 'A%.0s' {1..40})/openpgp"
    same_answer rival DELETE /v1/deposits/private%2Fmaster /v1/deposits/private%2Fnothing
}
attempt foreign-list 'tells nothing' 'lists with all prefixes' foreign_list
foreign_list() {
    local query

    for target in kts-01 kts-02; do
        for query in '' '?prefix=private' '?after=peer' '?prefix=team%2F'; do
            quietly ask rival GET "/v1/deposits$query"
            observe_words private/ team/ load- kept- "$VICTIM_ID"
        done
    done
}
attempt foreign-openpgp '404 client_not_found' 'OpenPGP keys of clients of another organisation' foreign_openpgp
foreign_openpgp() { ask_both rival GET "/v1/clients/$(fingerprint_of victim)/openpgp"; }
attempt foreign-same-name 'its own' 'depositing under the victim'"'"'s names and ids touches only its own organisation' foreign_same_name
foreign_same_name() {
    local got

    quietly put rival private/master "$KT_TMP/cipher" "$VICTIM_ID"
    grep -q '"version": *1\b' "$KT_TMP/body" && [[ $http == 201 ]] && observe 'its own' || observe "$http $(head -c 200 "$KT_TMP/body")"
    quietly ask rival GET "/v1/deposits/by-id/$VICTIM_ID"
    got=$(sed -n 's/^KT-Handle: \([^\r]*\).*/\1/p' "$KT_TMP/header")
    [[ $got == private/master ]] && observe 'its own' || observe "it gets $got"
    quietly ask victim GET "/v1/deposits/by-id/$VICTIM_ID"
    got=$(sed -n 's/^KT-Handle: \([^\r]*\).*/\1/p' "$KT_TMP/header")
    [[ $got == private/raw ]] && observe 'its own' || observe "the victim gets $got"
    quietly ask rival DELETE /v1/deposits/private%2Fmaster
    run client victim get private/master -o "$KT_TMP/victim.got"
    cmp -s "$KT_TMP/victim.got" "$KT_TMP/secret.victim" && observe 'its own' || observe "the victim's deposit is another: $(head -c 200 "$KT_TMP/err")"
}
