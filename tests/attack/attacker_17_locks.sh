# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# shellcheck disable=SC2317 # called through the table
# Somebody who wants locked deposits gone, or in or out of a key group, or unreadable for those who must be
# able to recover them. The victim locks; peer may lock, delete, undelete and purge under lock/, browser may
# bypass governance there, and stolen-2 may retrieve what lies in the key group.
attacker locks load 'who wants to be rid of locked deposits'

LOCKED=(lock%2Fgovernance lock%2Fcompliance lock%2Fhold)
BYPASS='KT-Bypass-Governance: yes'

lock_until() {
    date -u -d "$1 days" +%Y-%m-%dT%H:%M:%S.000000Z
}
# set_lock WHO PATH JSON [CURL OPTIONS...]: PATH is escaped.
set_lock() {
    ask "$1" PUT "/v1/deposits/$2/lock" -H 'Content-Type: application/json' --data "$3" "${@:4}"
}
locked() {
    quietly put victim "lock/$1" "$KT_TMP/cipher" "$(new_uuid)"
    [[ $http == 201 ]] || problem "lock/$1: $(answer_text)"
    [[ -z ${2:-} ]] || quietly set_lock victim "lock%2F$1" "$2"
    [[ -z ${2:-} || $http == 200 ]] || problem "the lock of lock/$1: $(answer_text)"
}
prepare_locks() {
    succeeds admin kts-01 grant acme lock,undelete,purge --client victim --own
    succeeds admin kts-01 grant acme browse,lock,delete,undelete,purge --client peer --prefix lock/
    succeeds admin kts-01 grant acme browse,bypass --client browser --prefix lock/
    succeeds admin kts-01 group add acme vault
    succeeds admin kts-01 grant acme deposit,browse --client victim --key-group vault
    succeeds admin kts-01 grant acme retrieve,browse --client stolen-2 --key-group vault
    locked governance "{\"mode\": \"governance\", \"until\": \"$(lock_until 30)\"}"
    locked compliance "{\"mode\": \"compliance\", \"until\": \"$(lock_until 30)\"}"
    locked hold '{"hold": true}'
    locked plain
    VAULT=$(sql kts-01 "select key_group_id from key_groups where name = 'vault'")
    quietly put victim vault/key "$KT_TMP/cipher" "$(new_uuid)" -H "KT-Key-Group: $VAULT"
    [[ $http == 201 ]] || problem "vault/key: $(answer_text)"
    has_vault() {
        request kts-02 stolen-2 GET /v1/deposits/vault%2Fkey
        [[ $http == 200 ]]
    }
    comes_true 10 has_vault
}

control lock-lengthened 200 'who may lock makes a compliance lock longer' lock_lengthened
lock_lengthened() { set_lock peer lock%2Fcompliance "{\"until\": \"$(lock_until 31)\"}"; }
attempt lock-deleted '409 deposit_locked' 'deleting what is locked or held, also by version, also as its owner' lock_deleted
lock_deleted() {
    local handle

    for handle in "${LOCKED[@]}"; do
        ask_all victim DELETE "/v1/deposits/$handle" "/v1/deposits/$handle?version=1"
        ask_all peer DELETE "/v1/deposits/$handle" "/v1/deposits/$handle?version=1"
    done
}
attempt lock-deleted-by-header '40[039] *' 'deleting what is locked with the header that lifts locks' lock_deleted_by_header
lock_deleted_by_header() {
    local handle who

    for handle in "${LOCKED[@]}"; do
        for who in victim peer browser; do
            ask "$who" DELETE "/v1/deposits/$handle" -H "$BYPASS"
        done
    done
}
attempt lock-purged '409 @(not_deleted|deposit_locked)' 'purging what is locked, or was not deleted' lock_purged
lock_purged() {
    local handle

    for handle in "${LOCKED[@]}" lock%2Fplain; do
        ask_all victim POST "/v1/deposits/$handle/purge"
        ask_all peer POST "/v1/deposits/$handle/purge"
    done
}
attempt governance-lifted '40[39] @(not_granted|deposit_locked)' 'lifting a governance lock or a hold without the right, or without the header' governance_lifted
governance_lifted() {
    local who

    for who in victim peer; do
        set_lock "$who" lock%2Fgovernance '{"mode": "none"}'
        set_lock "$who" lock%2Fgovernance '{"mode": "none"}' -H "$BYPASS"
        set_lock "$who" lock%2Fgovernance "{\"until\": \"$(lock_until 1)\"}" -H "$BYPASS"
        set_lock "$who" lock%2Fhold '{"hold": false}'
        set_lock "$who" lock%2Fhold '{"hold": false}' -H "$BYPASS"
    done
    set_lock browser lock%2Fgovernance '{"mode": "none"}'
    set_lock browser lock%2Fhold '{"hold": false}'
}
attempt compliance-lifted '40[39] @(not_granted|deposit_locked)' 'a compliance lock lifted, made shorter or weaker, by those with lock or bypass' compliance_lifted
compliance_lifted() {
    local who json

    for who in victim peer browser; do
        for json in '{"mode": "none"}' "{\"until\": \"$(lock_until 1)\"}" "{\"mode\": \"governance\", \"until\": \"$(lock_until 40)\"}"; do
            set_lock "$who" lock%2Fcompliance "$json" -H "$BYPASS"
        done
    done
}
attempt bypass-makes-locks '403 not_granted' 'who may bypass makes locks of its own' bypass_makes_locks
bypass_makes_locks() {
    local mode

    for mode in governance compliance; do
        set_lock browser lock%2Fplain "{\"mode\": \"$mode\", \"until\": \"$(lock_until 5000)\"}"
        set_lock browser lock%2Fplain "{\"mode\": \"$mode\", \"until\": \"$(lock_until 5000)\"}" -H "$BYPASS"
    done
    set_lock browser lock%2Fplain '{"hold": true}' -H "$BYPASS"
}
attempt lock-of-another '404 deposit_not_found' 'locking, undeleting and purging, without a right on the name' lock_of_another
lock_of_another() {
    local who

    for who in rival bare remover; do
        set_lock "$who" lock%2Fplain '{"hold": true}' -H "$BYPASS"
        ask_all "$who" POST /v1/deposits/lock%2Fplain/{purge,undelete}
    done
}
attempt lock-at-the-passive '503 passive' 'a lock lifted at the passive' lock_at_the_passive
lock_at_the_passive() {
    target=kts-02
    set_lock browser lock%2Fgovernance '{"mode": "none"}' -H "$BYPASS"
    ask peer POST /v1/deposits/lock%2Fplain/purge
}
attempt role-lifts-locks '@(refused|@ true KT001*)' 'locks, holds, purges and the clock, changed by the server'"'"'s roles' roles_refused \
    "update deposits set lock_mode = null, lock_until = null where handle = 'lock/compliance'" \
    "update deposits set lock_until = now() where handle = 'lock/compliance'" \
    "update deposits set deleted_at = now() where handle = 'lock/compliance'" \
    "update deposits set body = null where handle = 'lock/compliance'" \
    "delete from deposits where handle = 'lock/compliance'" \
    "update clock set highest = now() + interval '100 years'"
attempt group-outside '40[34] @(deposit_not_found|not_granted)' 'by a right on a key group: what lies outside of it' group_outside
group_outside() { ask_both stolen-2 GET /v1/deposits/lock%2Fplain /v1/deposits/private%2Fmaster "/v1/deposits/by-id/$VICTIM_ID"; }
attempt group-without-right '40[34] *' 'depositing into a key group, deleting there, without that right' group_without_right
group_without_right() {
    put stolen-2 vault/mine "$KT_TMP/cipher" "$(new_uuid)" -H "KT-Key-Group: $VAULT"
    put peer vault/mine "$KT_TMP/cipher" "$(new_uuid)" -H "KT-Key-Group: $VAULT"
    put rival vault/mine "$KT_TMP/cipher" "$(new_uuid)" -H "KT-Key-Group: $VAULT"
    ask_all stolen-2 DELETE /v1/deposits/vault%2Fkey
}
attempt group-malformed '400 bad_request' 'no UUID as key group, and two of them' group_malformed
group_malformed() {
    local text

    for text in vault "$VAULT'--" "{$VAULT}" "$VAULT $VAULT"; do
        put victim vault/x "$KT_TMP/cipher" "$(new_uuid)" -H "KT-Key-Group: $text"
    done
    put victim vault/x "$KT_TMP/cipher" "$(new_uuid)" -H "KT-Key-Group: $VAULT" -H "KT-Key-Group: $VAULT"
}
attempt recovery-left-out '422 recovery_missing' 'a body that the recovery key cannot open' recovery_left_out
recovery_left_out() {
    mkdir -m 0700 "$KT_TMP/gnupg.recovery"
    gpg --homedir "$KT_TMP/gnupg.recovery" --batch --quiet --passphrase '' --quick-gen-key 'recovery <r@rival>' \
        future-default 2>/dev/null
    gpg --homedir "$KT_TMP/gnupg.recovery" --batch --export >"$KT_TMP/recovery.pgp"
    gpgconf --homedir "$KT_TMP/gnupg.recovery" --kill all
    succeeds admin kts-01 recovery add rival "$KT_TMP/recovery.pgp"
    put rival rival/unrecoverable "$KT_TMP/cipher"
}
attempt log-out-of-bounds '40[04] *' 'proofs of the log with numbers that it does not have' log_out_of_bounds
log_out_of_bounds() {
    local last=18446744073709551615

    ask_all victim GET "/v1/log/proof?index=$last&size=$last" '/v1/log/proof?index=-1&size=2' '/v1/log/proof?index=5&size=4' \
        "/v1/log/consistency?from=$last&to=1" '/v1/log/consistency?from=3&to=2' '/v1/log/consistency?from=0x1&to=2' \
        '/v1/log/proof?index=1%20or%201&size=2' '/v1/log/proof?index=0&size=9223372036854775807'
}
attempt locks-still-hold unchanged 'all of the above have left locks and bodies as they were' locks_still_hold
locks_still_hold() {
    local handle

    observe "$(is "$(sql kts-01 "select string_agg(handle || coalesce(' ' || lock_mode, '') || case when legal_hold then ' hold' else '' end, ',' order by handle)
        from deposits where handle like 'lock/%' and deleted_at is null")" \
        'lock/compliance compliance,lock/governance governance,lock/hold hold,lock/plain' && echo unchanged)"
    for handle in "${LOCKED[@]}" lock%2Fplain; do
        quietly ask victim GET "/v1/deposits/$handle"
        observe "$(cmp -s "$KT_TMP/body" "$KT_TMP/cipher" && echo unchanged)"
    done
}
