# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# shellcheck disable=SC2317 # called through the table
# A stolen client: a thief with a client's whole folder, and the operator who has just revoked it.
attacker stolen load 'a thief with a client'"'"'s folder, revoked while the thief is connected'

REVOKED='40[13] @(client|certificate)_revoked'

# Three connections of stolen-1 stay open over the revocation: two to the active, one to the passive. Two
# more leave a session.
prepare_stolen() {
    local name get='GET /v1/clients/self HTTP/1.1\r\nHost: a\r\n\r\n'

    mkdir -p "$KT_TMP/stolen"
    rm -rf "$KT_TMP/clients/thief" && cp -r "$(client_dir stolen-1)" "$KT_TMP/clients/thief"
    deposit kts-01 stolen-1 stolen/own "$KT_TMP/cipher" "${STOLEN_ID:=$(new_uuid)}"
    for name in kts-01 kts-02; do
        target=$name
        raw_quietly cert="$(client_prefix stolen-1)" session-out="$KT_TMP/stolen/$name.session" wait=300 < <(printf "$get")
        [[ -s $KT_TMP/stolen/$name.session ]] || problem "no session at $name"
        keep_alive "$name" "$get"
    done
    target=kts-01
    succeeds admin kts-01 client revoke stolen-1 --yes
}

declare -gA KEPT_FD=() KEPT_PID=()
keep_alive() {
    mkfifo "$KT_TMP/stolen/$1.in"
    "$RAW_TLS" "${NODE_ADDRESS[$1]}" "$HTTPS_PORT" cert="$(client_prefix stolen-1)" wait=2000 <"$KT_TMP/stolen/$1.in" \
        >"$KT_TMP/stolen/$1.out" 2>"$KT_TMP/stolen/$1.err" &
    KEPT_PID[$1]=$!
    exec {kept_fd}>"$KT_TMP/stolen/$1.in"
    KEPT_FD[$1]=$kept_fd
    # shellcheck disable=SC2059 # the bytes are the format
    printf "$2" >&"$kept_fd"
    is_served() { grep -qa '^HTTP/1.1 200 ' "$KT_TMP/stolen/$1.out"; }
    comes_true 20 is_served "$1"
}

# go_on NODE BYTES: the next request on the connection that was kept.
go_on() {
    local fd=${KEPT_FD[$1]}

    # shellcheck disable=SC2059 # the bytes are the format
    printf "$2" >&"$fd"
    exec {fd}>&-
    wait "${KEPT_PID[$1]}"
    observe "$(grep -aoE 'HTTP/1\.1 [0-9]{3}|^KT-Error: [a-z_]+' "$KT_TMP/stolen/$1.out" | sed 's/.* //' | tail -n +2 | paste -sd ' ')"
}
get_stolen='GET /v1/deposits/stolen%%2Fown HTTP/1.1\r\nHost: a\r\n\r\n'

# The families' own client is revoked above: that it was served before is in prepare_stolen.
control not-stolen '200' 'a client that was not revoked goes on' ask_both stolen-2 GET /v1/clients/self
attempt revoked-passive-at-once "$REVOKED" 'the next request on a connection to the passive, right after the command returned' \
    go_on kts-02 "$get_stolen"
attempt revoked-kept-alive "$REVOKED" 'the next request on a connection to the active that was open before' go_on kts-01 "$get_stolen"
resumed_sessions() {
    for target in kts-01 kts-02; do
        raw_quietly session-in="$KT_TMP/stolen/$target.session" < <(printf "$get_stolen")
        grep -q '^resumed' "$KT_TMP/raw.err" || problem "the session of $target was not resumed"
        observe "$(raw_text)"
    done
}
attempt revoked-resumed "$REVOKED, resumed, *" 'TLS sessions from before, resumed at both nodes' resumed_sessions
all_calls_of_thief() {
    ask_both thief GET /v1/deposits/stolen%2Fown "/v1/deposits/by-id/$STOLEN_ID" /v1/deposits /v1/deposits/stolen%2Fown/receipt \
        "/v1/clients/$(fingerprint_of victim)/openpgp"
    ask_both thief HEAD /v1/deposits/stolen%2Fown
    target=kts-01
    put thief stolen/new "$KT_TMP/cipher"
    ask thief DELETE /v1/deposits/stolen%2Fown
}
attempt revoked-everywhere "$REVOKED" 'every call with the revoked certificate, at both nodes' all_calls_of_thief
renewal_of_thief() {
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=x -keyout "$KT_TMP/stolen/key" \
        -out "$KT_TMP/stolen/csr" 2>/dev/null
    printf '{"csr": "%s"}' "$(awk '{ printf "%s\\n", $0 }' "$KT_TMP/stolen/csr")" >"$KT_TMP/stolen/json"
    ask thief POST /v1/clients/self/renew -H 'Content-Type: application/json' --data-binary "@$KT_TMP/stolen/json"
}
attempt revoked-renews "$REVOKED" 'a fresh certificate for the revoked one' renewal_of_thief
second_registration() {
    observe_failure_for 'revoked|no uses left' client thief register --server "${NODE_ADDRESS[kts-01]}:$HTTPS_PORT" \
        --auth-code-file "$KT_TMP/code.stolen-1" --name stolen-1
}
attempt revoked-registers-again refused 'registering again with the code and keys of the folder' second_registration
attempt client-reads-metrics '403 not_granted' 'the operators'"'"' figures with a client'"'"'s certificate' \
    ask_both stolen-2 GET /v1/metrics
disabled_organisation() {
    local name

    succeeds admin kts-01 org add shortlived
    register shortlived-1 shortlived deposit,browse,retrieve,delete || problem "register: $(cat "$KT_TMP/shortlived-1.register.out")"
    quietly put shortlived-1 x "$KT_TMP/cipher"
    [[ $http == 201 ]] || problem "deposit: $http"
    succeeds admin kts-01 org disable shortlived --yes
    ask shortlived-1 GET /v1/deposits/x
    put shortlived-1 y "$KT_TMP/cipher"
}
attempt_at_leisure disabled-organisation '403 organisation_disabled' 'a client whose organisation was disabled' disabled_organisation
revoked_grant() {
    succeeds admin kts-01 grant acme retrieve,browse --client stolen-3 --prefix team/
    quietly ask stolen-3 GET /v1/deposits/team%2Fplan
    [[ $http == 200 ]] || problem "before: $http"
    for grant in $(admin kts-01 grants acme --client stolen-3 --json | awk '/"grant_id"/ { id = $2 } /"prefix": "team\// { print id } ' | tr -d '",'); do
        succeeds admin kts-01 revoke "$grant" --yes
    done
    ask stolen-3 GET /v1/deposits/team%2Fplan
    ask stolen-3 GET "/v1/deposits/by-id/$VICTIM_TEAM_ID"
}
attempt revoked-grant '404 deposit_not_found' 'what a grant allowed, right after it was taken back' revoked_grant
