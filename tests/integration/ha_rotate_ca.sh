#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Two nodes get another CA while clients deposit and fetch: nothing fails, who knows the older root only
# goes on, a killed run is finished by the next, a false root is not believed.
. "$KT_SOURCE/tests/support/cluster.sh"

new_cluster 2
add_clients kts-01
new_cipher

cp "$(ca_of kts-01)" "$KT_TMP/old-root.pem"
cp "${NODE_DIR[kts-01]}/.keytrustee/ca/key.pem" "$KT_TMP/old-key.pem"
new_auth_code kts-01 acme "$KT_TMP/code.before"
mkdir -p "$KT_TMP/clients"
cp -r "$(client_dir host-2)" "$(client_dir old)" # never learns anything: its folder is put back

ca_key_of() {
    echo "${NODE_DIR[$1]}/.keytrustee/ca/key.pem"
}

next_key_of() {
    echo "${NODE_DIR[$1]}/.keytrustee/ca/next-key.pem"
}

sha256_of() {
    openssl x509 -in "$1" -outform DER | sha256sum | cut -c 1-64
}

# roots_in FILE: self-signed certificates of a PEM file, SHA-256 each, in order.
roots_in() {
    rm -f "$KT_TMP"/split-*
    csplit -s -z -f "$KT_TMP/split-" "$1" '/BEGIN CERTIFICATE/' '{*}'
    for one in "$KT_TMP"/split-*; do
        openssl verify -partial_chain -CAfile "$one" "$one" >/dev/null 2>&1 &&
            openssl verify -CAfile "$one" "$one" >/dev/null 2>&1 && sha256_of "$one"
    done | tr '\n' ' '
}

signs() {
    same <(openssl x509 -in "$(ca_of "$1")" -noout -pubkey) <(openssl pkey -in "$(ca_key_of "$1")" -pubout)
}

# --- clients that never stop: one trusts the older root only and keeps its certificate, one is usual ---

begin_load() {
    rm -f "$KT_TMP"/load.*
    (
        n=0
        until [[ -e $KT_TMP/load.stop ]]; do
            n=$((n + 1))
            for node in kts-01 kts-02; do
                code=$(curl_node "$node" -s --max-time 20 --cacert "$KT_TMP/old-root.pem" -o /dev/null \
                    -w '%{http_code}' --cert "$(client_dir old)/client-cert.pem" \
                    --key "$(client_dir old)/client-key.pem" "$(url_of "$node")/v1/clients/self")
                [[ $code == 200 ]] || echo "self $n at $node: $code" >>"$KT_TMP/load.failed"
            done
            code=$(curl_node kts-01 -s --max-time 20 --cacert "$KT_TMP/old-root.pem" -o /dev/null \
                -w '%{http_code}' --cert "$(client_dir old)/client-cert.pem" \
                --key "$(client_dir old)/client-key.pem" -X PUT --data-binary "@$KT_TMP/cipher-old" \
                -H 'Expect:' -H "KT-Deposit-Id: $(new_uuid)" -H 'Content-Type: application/pgp-encrypted' \
                -H "KT-SHA256: $(sha256sum "$KT_TMP/cipher-old" | cut -c 1-64)" \
                "$(url_of kts-01)/v1/deposits/load-$n")
            [[ $code == 201 ]] || echo "deposit $n: $code" >>"$KT_TMP/load.failed"
            client host-1 get first -o "$KT_TMP/load.got" >"$KT_TMP/load.out" 2>&1 ||
                echo "get $n: $(tr '\n' '~' <"$KT_TMP/load.out")" >>"$KT_TMP/load.failed"
            echo "$n" >"$KT_TMP/load.done"
        done
    ) &
    load=$!
    KT_PIDS[$load]="load"
}

has_loaded() {
    [[ $(cat "$KT_TMP/load.done" 2>/dev/null || echo 0) -ge $1 ]]
}

end_load() {
    comes_true 20 has_loaded $(($(cat "$KT_TMP/load.done" 2>/dev/null || echo 0) + 2))
    touch "$KT_TMP/load.stop"
    wait "$load"
    unset "KT_PIDS[$load]"
    [[ ! -s $KT_TMP/load.failed ]] ||
        problem "$(wc -l <"$KT_TMP/load.failed") requests failed: $(head -n 5 "$KT_TMP/load.failed" | tr '\n' '~')"
}

head -c 64 /dev/urandom >"$KT_TMP/first"
encrypt_to host-2 "$KT_TMP/first" "$KT_TMP/cipher-old"
succeeds client host-1 put first "$KT_TMP/first"

check "a node that does not answer is named, and nothing changes"
freeze_node kts-02
exits some admin_for 30 kts-01 rotate --ca
has "$KT_TMP/err" "kts-02"
has "$KT_TMP/err" 'hint: .*--without'
[[ ! -e $(next_key_of kts-01) ]] || problem "a CA was made"
thaw_node kts-02
comes_true 30 takes_deposits kts-01

check "the passive refuses: the active replaces the CA"
exits some admin_for 30 kts-02 rotate --ca
has "$KT_TMP/err" "the active is 'kts-01'"

check "a run that is killed between the two steps leaves a CA that signs, and status says so"
begin_load
comes_true 20 has_loaded 1
exec_on_node kts-01 "$KTADMIN" --confdir "${NODE_DIR[kts-01]}" rotate --ca >"$KT_TMP/killed" 2>&1 &
rotating=$!
KT_PIDS[$rotating]=rotate
until [[ -e $(next_key_of kts-01) ]] || ! is_running "$rotating"; do :; done
kill -KILL "$rotating" 2>/dev/null
wait "$rotating"
unset "KT_PIDS[$rotating]"
[[ -e $(next_key_of kts-01) ]] || problem "it had ended: $(cat "$KT_TMP/killed")"
signs kts-01
is "$(roots_in "$(ca_of kts-01)" | wc -w)" 2 "roots"
says_begun() {
    admin_for 10 kts-01 status >"$KT_TMP/status" 2>&1
    grep -q 'a replacement of the CA has begun on .* run ktadmin rotate --ca on kts-01' "$KT_TMP/status"
}
comes_true 10 says_begun

check "a run that fails between the passive's step and the active's leaves both serving, and is gone on with"
chmod 0500 "${NODE_DIR[kts-01]}/.keytrustee/ca"
exits some admin_for 60 kts-01 rotate --ca
chmod 0700 "${NODE_DIR[kts-01]}/.keytrustee/ca"
[[ -e $(next_key_of kts-01) && ! -e $(next_key_of kts-02) ]] || problem "it ended elsewhere: $(cat "$KT_TMP/err")"

check "the next run ends it: both nodes sign with the next CA, trust both, and no client notices"
does kts-01 rotate --ca
has "$KT_TMP/out" "receipt key's certificate is of the older CA: run ktadmin rotate --receipt-key"
end_load
for node in kts-01 kts-02; do
    signs "$node"
    [[ ! -e $(next_key_of "$node") ]] || problem "$node has two keys"
    is "$(roots_in "$(ca_of "$node")" | wc -w)" 2 "roots"
done
same "$(ca_of kts-01)" "$(ca_of kts-02)"
same "$(ca_key_of kts-01)" "$(ca_key_of kts-02)"
new_root=$(sha256_of "$(ca_of kts-01)")
[[ $new_root != "$(sha256_of "$KT_TMP/old-root.pem")" ]] || problem "the CA is the older one"
admin_for 10 kts-01 status >"$KT_TMP/status" 2>&1
has "$KT_TMP/status" 'note: the CA was replaced on .*; the older one counts until '
has "$KT_TMP/status" 'kts-02: its certificates are of the older CA: run ktadmin rotate there'

check "a node that was away meanwhile is handed the CA when it is back"
stop_node kts-02
cp "$KT_TMP/old-root.pem" "$(ca_of kts-02)"
cp "$KT_TMP/old-key.pem" "$(ca_key_of kts-02)"
start_node kts-02
has_the_ca() {
    cmp -s "$(ca_of kts-01)" "$(ca_of kts-02)" && cmp -s "$(ca_key_of kts-01)" "$(ca_key_of kts-02)"
}
comes_true 30 has_the_ca
comes_true 40 counts kts-01 kts-02
comes_true 20 takes_deposits kts-01

check "the other node renews its own, and clients that know either root verify every node"
does kts-02 rotate
is_calm() {
    admin_for 10 kts-01 status >"$KT_TMP/status" 2>&1
    ! grep -q 'older CA: run' "$KT_TMP/status"
}
comes_true 20 is_calm
openssl x509 -in "$(ca_of kts-01)" >"$KT_TMP/new-root.pem"
for node in kts-01 kts-02; do
    for root in old-root new-root; do
        is "$(curl_node "$node" -s -o /dev/null -w '%{http_code}' --cacert "$KT_TMP/$root.pem" \
            "$(url_of "$node")/v1/health")" 200 "status of $node by $root"
    done
done

check "a client that only gets learns the next root from the one that it trusts, and renews its certificate"
is "$(roots_in "$(client_dir host-2)/ca.pem" | wc -w)" 1 "roots of one that does nothing"
succeeds client host-1 get first -o "$KT_TMP/got"
is "$(roots_in "$(client_dir host-1)/ca.pem")" "$new_root $(sha256_of "$KT_TMP/old-root.pem") " "roots"
openssl verify -CAfile "$KT_TMP/new-root.pem" "$(client_dir host-1)/client-cert.pem" >"$KT_TMP/out" 2>&1 ||
    problem "not of the next CA: $(cat "$KT_TMP/out")"
succeeds client host-1 put second "$KT_TMP/first"
succeeds client host-1 get first -o "$KT_TMP/got"
same "$KT_TMP/first" "$KT_TMP/got"

check "auth codes of before and after register clients that verify every node"
servers=(--server "${NODE_ADDRESS[kts-01]}:${NODE_PORT[kts-01]}" --server "${NODE_ADDRESS[kts-02]}:${NODE_PORT[kts-02]}")
new_auth_code kts-01 acme "$KT_TMP/code.after"
for when in before after; do
    succeeds client "$when" register "${servers[@]}" --auth-code-file "$KT_TMP/code.$when" --name "$when"
    is "$(roots_in "$(client_dir "$when")/ca.pem" | wc -w)" 2 "roots"
    succeeds client "$when" put "of/$when" "$KT_TMP/first"
    succeeds client "$when" get "of/$when" -o "$KT_TMP/got"
    same "$KT_TMP/first" "$KT_TMP/got"
done

check "a machine that joins now gets both roots, and clients of either verify it"
join_node kts-03 kts-01
start_node kts-03
comes_true 60 counts kts-01 kts-03
same "$(ca_of kts-01)" "$(ca_of kts-03)"
for root in old-root new-root; do
    is "$(curl_node kts-03 -s -o /dev/null -w '%{http_code}' --cacert "$KT_TMP/$root.pem" \
        "$(url_of kts-03)/v1/health")" 200 "status of kts-03 by $root"
done

check "a second run changes nothing, and says nothing of a receipt key that the next CA has certified"
cp "$(ca_of kts-01)" "$KT_TMP/before.pem"
does kts-01 rotate --receipt-key
does kts-01 rotate --ca
hasnt "$KT_TMP/out" 'receipt key'
same "$KT_TMP/before.pem" "$(ca_of kts-01)"

check "after a failover all clients go on, the one that knows the older root too"
kill_node kts-01
run admin_for 90 kts-02 failover --to kts-02
[[ $status -eq 0 || $status -eq 9 ]] || problem "failover: $status"
succeeds client host-1 get first -o "$KT_TMP/got"
start_node kts-01
does kts-01 rejoin
comes_true 40 takes_deposits kts-02
for node in kts-01 kts-02; do
    is "$(curl_node "$node" -s --cacert "$KT_TMP/old-root.pem" -o /dev/null -w '%{http_code}' \
        --cert "$(client_dir old)/client-cert.pem" --key "$(client_dir old)/client-key.pem" \
        "$(url_of "$node")/v1/clients/self")" 200 "status of $node"
done
succeeds client after put of/failover "$KT_TMP/first"

finish
