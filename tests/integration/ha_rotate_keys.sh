#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Two nodes rotate the receipt key while clients deposit and fetch: nothing fails, old receipts hold, the
# old key is gone from every disk, a killed run is finished by the next, and a node that was away does
# not sign by a retired key.
. "$KT_SOURCE/tests/support/cluster.sh"

new_cluster 2
add_clients kts-01
new_cipher
active=kts-01 other=kts-02

receipt_dir() {
    echo "${NODE_DIR[$1]}/.keytrustee/receipt"
}

# The id of the key of a PEM file: the first bytes of the SHA-256 of the raw public key.
id_of_key() {
    openssl pkey -in "$1" -pubout -outform DER 2>/dev/null | tail -c 32 | sha256sum | cut -c 1-16
}

# Keys in the table that are not retired, the newest first.
open_keys() {
    sql "$1" "select string_agg(encode(key_id, 'hex'), ' ' order by created_at desc) from receipt_keys
        where retired_at is null"
}

signed_by() {
    sql "$1" "select encode(receipt_key_id, 'hex') from deposits order by log_index desc limit 1"
}

# settled ID: it alone is listed as not retired, and is all that the nodes have on disk.
settled() {
    local node

    for node in kts-01 kts-02; do
        is "$(open_keys "$node")" "$1" "keys at $node that are not retired"
        is "$(id_of_key "$(receipt_dir "$node")/key.pem")" "$1" "key of $node"
        is "$(find "$(receipt_dir "$node")" -type f | wc -l)" 2 "files in receipt/ of $node"
        same <(openssl x509 -in "$(receipt_dir "$node")/cert.pem" -noout -pubkey) \
            <(openssl pkey -in "$(receipt_dir "$node")/key.pem" -pubout)
    done
}

# Deposits at the active are signed by that key.
signs_by() {
    comes_true 20 takes_deposits "$active"
    is "$(signed_by "$active")" "$1" "key of the last receipt"
}

# on_disk ID_FILE: somewhere on a node the private key that a copy of key.pem has.
on_disk() {
    grep -rqF "$(sed -n 2p "$1")" "${NODE_DIR[kts-01]}/.keytrustee" "${NODE_DIR[kts-02]}/.keytrustee"
}

# verb NODE VERB ARGS: with the certificate of the other node, as ktadmin there asks.
verb() {
    local tls

    tls=${NODE_DIR[$([[ $1 == kts-01 ]] && echo kts-02 || echo kts-01)]}/.keytrustee/tls
    curl -s --max-time 20 --cacert "$(ca_of "$1")" --cert "${4:-$tls/node-cert.pem}" \
        --key "${5:-$tls/node-key.pem}" -X POST -H 'Content-Type: application/json' -d "$3" \
        --connect-to "::${NODE_ADDRESS[$1]}:$AGENT_PORT" \
        "https://keytrustee-node:$AGENT_PORT/v1/cluster/$2" >"$KT_TMP/verb"
    ! grep -q '"error"' "$KT_TMP/verb"
}

makes_key() {
    verb "$active" receipt.make '{"fresh": true}' || return
    id=$(grep -o '"id": *"[0-9a-f]*"' "$KT_TMP/verb" | grep -o '[0-9a-f]\{16\}')
    [[ -n $id ]]
}

writer_signs() {
    verb "$active" node.state '{}' && grep -q "\"signs\": *\"$id\"" "$KT_TMP/verb"
}

# One step of a rotation, as the command asks for it.
step() {
    case $1 in
    make) wait_until 10 makes_key ;;
    give) wait_until 10 verb "$active" receipt.give "{\"id\": \"$id\", \"member\": \"$(member_of "$other")\"}" ;;
    list) verb "$active" receipt.list "{\"id\": \"$id\"}" ;;
    load) verb "$active" receipt.load '{}' && wait_until 10 writer_signs ;;
    retire) verb "$active" receipt.retire "{\"id\": \"$id\"}" ;;
    use) wait_until 10 verb "$other" receipt.use "{\"id\": \"$id\"}" ;;
    esac || problem "step $1: $(head -c 300 "$KT_TMP/verb")"
}

# A case per place at which a run may end: the steps before it were carried out, and then nothing more.
steps_until() {
    local name

    for name in make give list load retire use; do
        step "$name"
        [[ $name == "$1" ]] && return
    done
}

# --- clients that never stop: what is not answered well is a line ---

load_by_curl() {
    local n=0 node code

    until [[ -e $KT_TMP/load.stop ]]; do
        n=$((n + 1))
        for node in kts-01 kts-02; do
            code=$(curl_node "$node" -s --max-time 20 --cacert "$(ca_of "$node")" -o /dev/null \
                -w '%{http_code}' --cert "$(client_dir host-1)/client-cert.pem" \
                --key "$(client_dir host-1)/client-key.pem" "$(url_of "$node")/v1/deposits/first")
            [[ $code == 200 ]] || echo "fetch $n at $node: $code" >>"$KT_TMP/load.failed"
        done
        code=$(curl_node "$active" -s --max-time 20 --cacert "$(ca_of "$active")" -o /dev/null \
            -w '%{http_code}' --cert "$(client_dir host-1)/client-cert.pem" \
            --key "$(client_dir host-1)/client-key.pem" -X PUT --data-binary "@$KT_TMP/cipher" \
            -H 'Expect:' -H "KT-Deposit-Id: $(new_uuid)" -H 'Content-Type: application/pgp-encrypted' \
            -H "KT-SHA256: $(sha256sum "$KT_TMP/cipher" | cut -c 1-64)" "$(url_of "$active")/v1/deposits/load-$n")
        [[ $code == 201 ]] || echo "deposit $n: $code" >>"$KT_TMP/load.failed"
        echo "$n" >"$KT_TMP/load.curl"
    done
}

# With the stock client, which verifies each receipt and knows the first key alone.
load_by_client() {
    local n=0

    until [[ -e $KT_TMP/load.stop ]]; do
        n=$((n + 1))
        client host-2 put "stock/$n" "$KT_TMP/key" >"$KT_TMP/stock.out" 2>&1 ||
            echo "put $n: $(tail -n 1 "$KT_TMP/stock.out")" >>"$KT_TMP/load.failed"
        echo "$n" >"$KT_TMP/load.client"
    done
}

has_loaded() {
    [[ $(cat "$KT_TMP/load.$1" 2>/dev/null || echo 0) -ge $2 ]]
}

begin_load() {
    load_by_curl &
    curl_load=$!
    load_by_client &
    client_load=$!
    KT_PIDS[$curl_load]=load KT_PIDS[$client_load]=load
    comes_true 20 has_loaded curl 2
    comes_true 20 has_loaded client 1
}

end_load() {
    comes_true 20 has_loaded curl $(($(cat "$KT_TMP/load.curl") + 2)) # also behind the rotation
    comes_true 20 has_loaded client $(($(cat "$KT_TMP/load.client") + 2))
    touch "$KT_TMP/load.stop"
    wait "$curl_load" "$client_load"
    unset "KT_PIDS[$curl_load]" "KT_PIDS[$client_load]"
    [[ ! -s $KT_TMP/load.failed ]] ||
        problem "$(wc -l <"$KT_TMP/load.failed") requests failed: $(head -n 5 "$KT_TMP/load.failed" | tr '\n' '~')"
}

deposits_at kts-01 first
comes_true 20 serves kts-02 first
succeeds client host-1 put kept/1 "$KT_TMP/key"
first_key=$(id_of_key "$(receipt_dir kts-01)/key.pem")
cp "$(receipt_dir kts-01)/key.pem" "$KT_TMP/first.pem"
is "$(open_keys kts-01)" "$first_key" "the key of init"

check "--dry-run names the key that signs and changes nothing"
succeeds admin_for 20 kts-02 rotate --receipt-key --dry-run
has "$KT_TMP/out" "$first_key"
settled "$first_key"

check "another key signs, asked for on the passive, and no client notices"
on_disk "$KT_TMP/first.pem" || problem "the key is not found where it is"
begin_load
succeeds admin_for 60 kts-02 rotate --receipt-key --json
id=$(sed -n 's/.*"receipt_key": *"\([0-9a-f]*\)".*/\1/p' "$KT_TMP/out")
has "$KT_TMP/out" "\"before\": *\"$first_key\""
[[ -n $id && $id != "$first_key" ]] || problem "the key is '$id'"
end_load
settled "$id"
is "$(signed_by kts-01)" "$id" "key of the last receipt"

check "the first key is gone from both disks, and its certificate is still given out"
on_disk "$KT_TMP/first.pem" && problem "the first private key is still there"
is "$(sql kts-02 "select count(*) from receipt_keys where retired_at is not null
    and encode(key_id, 'hex') = '$first_key'")" 1 "retired keys"
request kts-02 host-1 GET /v1/clients/self
answers 200
has "$KT_TMP/body" "$first_key"
has "$KT_TMP/body" "$id"

check "the rotation is in the audit log and in the database, and the private key in neither"
has <(cat "${NODE_DIR[kts-01]}"/audit/*) "\"event\":\"receipt_key.add\".*\"receipt_key\":\"$id\""
has <(cat "${NODE_DIR[kts-02]}"/audit/*) '"event":"receipt.take"'
is "$(sql kts-01 "select string_agg(event, ' ' order by changed_at) from change_log
    where event like 'receipt_key.%'")" "receipt_key.add receipt_key.retire" "changes"
grep -rqF "$(sed -n 2p "$(receipt_dir kts-01)/key.pem")" "${NODE_DIR[kts-01]}"/{audit,logs} "${NODE_DIR[kts-02]}"/{audit,logs} &&
    problem "the private key is in a log"

check "old and new receipts are verified, by a client that registered before and one that came after"
succeeds client host-1 put kept/2 "$KT_TMP/key"
succeeds client host-1 get kept/1 -o "$KT_TMP/got"
same "$KT_TMP/key" "$KT_TMP/got"
succeeds client host-1 log check --receipts
succeeds client host-1 receipts export
cp "$KT_TMP/out" "$KT_TMP/receipts"
has "$KT_TMP/receipts" "^key $first_key"
has "$KT_TMP/receipts" "^key $id"
succeeds admin_for 30 kts-02 receipts check "$KT_TMP/receipts"
new_client kts-01 acme host-3 || problem "register: $(cat "$KT_TMP/host-3.register.out" 2>&1)"
succeeds client host-3 put late "$KT_TMP/key"
[[ -f $(client_dir host-3)/receipt-keys/$first_key.pem ]] || problem "the newcomer does not know the first key"

check "with a rotation that has begun status says so, and what to do"
steps_until list
says_unfinished() {
    admin_for 10 kts-01 status >"$KT_TMP/status" 2>&1
    grep -q "$1.*ktadmin rotate --receipt-key" "$KT_TMP/status"
}
comes_true 10 says_unfinished 'a rotation of the receipt key has not ended'
signs_by "$(open_keys kts-01 | cut -d ' ' -f 2)"
succeeds admin_for 60 kts-01 rotate --receipt-key
has "$KT_TMP/out" "had begun is ended"
settled "$id"
signs_by "$id"

for last in make give load retire use; do
    check "a run that was killed behind the step '$last' is finished by the next, with the same key"
    steps_until "$last"
    succeeds admin_for 60 kts-02 rotate --receipt-key
    settled "$id"
    signs_by "$id"
done

check "without the writer's signature by the new key the old one is not retired"
steps_until list
verb kts-01 receipt.retire "{\"id\": \"$id\"}" && problem "it was retired"
has "$KT_TMP/verb" busy

check "the power fails between the two keys: the node that is promoted signs by the new one"
kill_node kts-01 2>/dev/null
wait_until 20 order_again kts-02 failover --to kts-02
is "$status" 9 "exit code of a failover to a node alone"
start_node kts-01
comes_true 20 can_reach kts-01
does kts-02 rejoin kts-01
active=kts-02 other=kts-01
comes_true 60 counts kts-02 kts-01
signs_by "$id"
succeeds admin_for 60 kts-01 rotate --receipt-key
has "$KT_TMP/out" "had begun is ended"
settled "$id"

check "a node that does not answer is named, and nothing changes"
stop_server kts-01
exits some admin_for 60 kts-02 rotate --receipt-key
has "$KT_TMP/err" "'kts-01' does not answer"
has "$KT_TMP/err" 'hint: .*--without'
is "$(open_keys kts-02)" "$id" "keys"
exits some admin_for 60 kts-02 rotate --receipt-key --without kts-07
has "$KT_TMP/err" "no node 'kts-07'"

check "with --without it is left out, and status says that it lacks the key"
away_key=$id
succeeds admin_for 60 kts-02 rotate --receipt-key --without kts-01
has "$KT_TMP/out" 'kts-01 does not have the key'
id=$(open_keys kts-02)
[[ $id != "$away_key" ]] || problem "the key is the same"
signs_by "$id"
start_server kts-01
comes_true 20 can_reach kts-01
comes_true 20 says_unfinished "kts-01 does not have the receipt key $id"

check "as the active it does not sign by the retired key, and the next run brings it the new one"
wait_until 20 order_again kts-02 switchover --to kts-01
is "$status" 9 "exit code of a switchover to a node that takes no deposits"
active=kts-01 other=kts-02
shows_role kts-01 active
refuses_deposit() {
    deposit kts-01 host-1 "refused/$RANDOM" "$KT_TMP/cipher"
    [[ $http == 503 ]]
}
comes_true 20 refuses_deposit
has "${NODE_DIR[kts-01]}/logs/kts.log" "receipt key '$away_key' of this node was retired"
succeeds admin_for 60 kts-01 rotate --receipt-key
settled "$id"
signs_by "$id"

check "only the active is given keys, or gives them"
root=$(openssl x509 -in "$(ca_of kts-01)" -noout -fingerprint -sha256 | sed 's/.*=//; s/://g' | tr A-F a-f)
verb kts-01 receipt.hand "{\"id\": \"$id\", \"to\": \"$root\"}" && problem "the passive got the key"
has "$KT_TMP/verb" 'not_member'
verb kts-01 receipt.take "{\"id\": \"$id\", \"sealed\": \"x\"}" && problem "the passive gave a key"
has "$KT_TMP/verb" 'not_member'
verb kts-02 receipt.take "{\"id\": \"$id\", \"sealed\": \"x\"}" && problem "no key was taken for one"
hasnt "$KT_TMP/verb" 'not_member'
verb kts-02 receipt.use '{"id": "0123456789abcdef"}' && problem "a key that is not listed is used"
settled "$id"

check "a key is handed to agents only: no door on the way can read it"
verb kts-02 receipt.hand "{\"id\": \"$id\", \"to\": \"$root\"}" || problem "$(cat "$KT_TMP/verb")"
has "$KT_TMP/verb" '"sealed"'
hasnt "$KT_TMP/verb" 'PRIVATE KEY'
hasnt <(grep -oE '[A-Za-z0-9+/=]{200,}' "$KT_TMP/verb" | base64 -d | strings) 'PRIVATE KEY'
verb kts-02 receipt.hand "{\"id\": \"$id\", \"to\": \"${root:1}0\"}" && problem "it is sealed to any key"
has "$KT_TMP/verb" 'certificate_unknown_ca'

finish
