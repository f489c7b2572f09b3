# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# shellcheck disable=SC2317 # called through the table
# A malicious operator, or root on the server: changes what is stored, as the owner of the database and with
# its guards off. It can destroy; it cannot make a client believe. stolen-2 is the client that is lied to.
attacker operator after 'a malicious operator with the whole server'

forge_rows() {
    sql kts-01 "set session_replication_role = 'replica'; $1" >/dev/null
}
# both nodes show it: the client may ask either.
everywhere() {
    is_everywhere() { [[ $(sql kts-02 "$1") == "$2" ]]; }
    comes_true 20 is_everywhere "$1" "$2"
}
prepare_operator() {
    local n

    LIED_TO=stolen-2
    for n in 1 2 3; do
        head -c 40 /dev/urandom >"$KT_TMP/lie.$n"
        client "$LIED_TO" put "lie/$n" "$KT_TMP/lie.$n" >/dev/null 2>"$KT_TMP/err" || problem "put: $(cat "$KT_TMP/err")"
    done
    client "$LIED_TO" put lie/3 "$KT_TMP/lie.1" >/dev/null 2>"$KT_TMP/err" || problem "put: $(cat "$KT_TMP/err")"
}
gets_lied_to() {
    run timeout 60 "$KEYTRUSTEE" get "$@" -o "$KT_TMP/lied.got"
    # 7: what came is not what was deposited
    observe "$([[ $status -eq 7 ]] && echo refused || echo "status $status: $(head -c 300 "$KT_TMP/err" | tr '\n' ' ')")"
    [[ ! -s $KT_TMP/lied.got ]] || observe "the client took it"
    rm -f "$KT_TMP/lied.got"
}
# What a thief of a passive, of its disk or of a dump has. The names are found, so the search finds.
control_at_leisure disk-holds-names 'found' 'the names of deposits are on the disk of each node, and in a dump' disk_search private/master
attempt_at_leisure disk-holds-no-secret 'not found' 'the victim'"'"'s secret, on the disk of each node and in a dump' disk_search_secret
disk_search() {
    local name

    for name in kts-01 kts-02; do
        sql "$name" checkpoint >/dev/null
        grep -rqaF -- "$1" "${NODE_DIR[$name]}/db" "${NODE_DIR[$name]}/audit" "${NODE_DIR[$name]}/logs" "${NODE_DIR[$name]}/.keytrustee" 2>/dev/null &&
            observe found || observe 'not found'
    done
    pg_dump -h "${NODE_DIR[kts-01]}/run" -p "${NODE_DB_PORT[kts-01]}" -U keytrustee keytrustee >"$KT_TMP/dump" 2>"$KT_TMP/err" ||
        problem "pg_dump: $(cat "$KT_TMP/err")"
    grep -qaF -- "$1" "$KT_TMP/dump" && observe found || observe 'not found'
}
disk_search_secret() {
    disk_search "$VICTIM_WORD"
    disk_search "$(base64 -w 0 "$KT_TMP/secret.victim" | head -c 40)"
    disk_search "$(od -An -v -tx1 "$KT_TMP/secret.victim" | tr -d ' \n' | head -c 60)"
}
control honest-server done 'as long as nothing is changed the client fetches its secret' honest_server
honest_server() {
    observe_success client "$LIED_TO" get lie/1 -o "$KT_TMP/honest.got"
    cmp -s "$KT_TMP/honest.got" "$KT_TMP/lie.1" || observe "another secret"
}
attempt operator-swaps-bodies refused 'the body of another deposit of the same client, with hash and size to fit' swaps_bodies
swaps_bodies() {
    forge_rows "update deposits d set body = b.body, sha256 = b.sha256, size = b.size from deposits b where d.handle = 'lie/1' and b.handle = 'lie/2'"
    everywhere "select count(*) from deposits a, deposits b where a.handle = 'lie/1' and b.handle = 'lie/2' and a.body = b.body" 1
    export KEYTRUSTEE_CONFDIR
    KEYTRUSTEE_CONFDIR=$(client_dir "$LIED_TO")
    gets_lied_to lie/1
    # also on a host that has lost its receipts: the name is inside the encryption
    rm -rf "$KT_TMP/clients/forgetful" && cp -r "$(client_dir "$LIED_TO")" "$KT_TMP/clients/forgetful"
    rm -rf "$KT_TMP/clients/forgetful/receipts"/*
    KEYTRUSTEE_CONFDIR=$KT_TMP/clients/forgetful
    gets_lied_to lie/1
    unset KEYTRUSTEE_CONFDIR
}
attempt operator-makes-body refused 'a body of its own, encrypted to the client'"'"'s public key' makes_body
makes_body() {
    # The same form, with the same key, signed by nobody.
    printf 'not your secret' >"$KT_TMP/forged"
    encrypt_to "$LIED_TO" "$KT_TMP/forged" "$KT_TMP/forged.pgp"
    forge_rows "update deposits set body = decode('$(base64 -w 0 "$KT_TMP/forged.pgp")', 'base64'),
        sha256 = decode('$(sha256sum "$KT_TMP/forged.pgp" | cut -c 1-64)', 'hex'), size = $(stat -c %s "$KT_TMP/forged.pgp") where handle = 'lie/2'"
    everywhere "select encode(sha256, 'hex') from deposits where handle = 'lie/2'" "$(sha256sum "$KT_TMP/forged.pgp" | cut -c 1-64)"
    export KEYTRUSTEE_CONFDIR
    KEYTRUSTEE_CONFDIR=$(client_dir "$LIED_TO")
    gets_lied_to lie/2
    rm -rf "$KT_TMP/clients/forgetful/receipts"/*
    KEYTRUSTEE_CONFDIR=$KT_TMP/clients/forgetful
    gets_lied_to lie/2
    unset KEYTRUSTEE_CONFDIR
}
attempt operator-hides-newest refused 'an older version as the latest, the newest removed from the database' hides_newest
hides_newest() {
    forge_rows "delete from deposits where handle = 'lie/3' and version = 2"
    everywhere "select count(*) from deposits where handle = 'lie/3'" 1
    export KEYTRUSTEE_CONFDIR
    KEYTRUSTEE_CONFDIR=$(client_dir "$LIED_TO")
    gets_lied_to lie/3
    unset KEYTRUSTEE_CONFDIR
}
attempt_at_leisure operator-loses-deposits refused 'a deposit that is missing, when the client'"'"'s receipts are checked' loses_deposits
loses_deposits() {
    client "$LIED_TO" receipts export -o "$KT_TMP/lied.receipts" 2>/dev/null
    observe_failure admin kts-01 receipts check "$KT_TMP/lied.receipts"
    grep -q lie/3 "$KT_TMP/out" "$KT_TMP/err" || [[ ${observed[-1]} == refused ]] || observe "it is not named"
}
attempt_at_leisure replayed-receipt refused 'receipts with another name, hash, id or size, and of another cluster' replayed_receipt
replayed_receipt() {
    local name=$KT_TMP/receipts

    client victim receipts export -o "$name" 2>/dev/null
    observe_success admin kts-01 receipts check "$name"
    [[ ${observed[-1]} == done ]] && unset 'observed[-1]'
    for expression in 's/^\(sha256[: ]*\)[0-9a-f]\{4\}/\1dead/' "s/[0-9a-f]\{8\}\(-[0-9a-f-]*\)/00000000\1/" 's/^\(size[: ]*\)[0-9]*/\17/' \
        's/^\(epoch[: ]*\)[0-9]*/\19/' 's/^\(index[: ]*\)[0-9]*/\199999/'; do
        sed "$expression" "$name" >"$name.changed"
        cmp -s "$name" "$name.changed" && continue
        observe_failure admin kts-01 receipts check "$name.changed"
    done
}
