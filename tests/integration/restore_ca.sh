#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The CA is replaced while a node is away, and the cluster is lost while both roots count: what a backup
# of each phase brings back, and whom the restored node serves.
. "$KT_SOURCE/tests/support/cluster.sh"
# shellcheck source=tests/support/backup.sh
. "$KT_SOURCE/tests/support/backup.sh"

out=$KT_TMP/backups
mkdir -m 0700 "$out"
new_recipient 'John Doe' john.doe@example.com
new_cluster 3
add_clients kts-01
new_client kts-01 acme host-3 || give_up "register: $(cat "$KT_TMP/host-3.register.out")"
new_client kts-01 acme host-5 || give_up "register: $(cat "$KT_TMP/host-5.register.out")"
for name in 1 2 3 5; do
    put_as "host-$name" "of-host-$name" "secret $name" >/dev/null 2>&1 || give_up "put $name"
done
confdir=${NODE_DIR[kts-01]}/.keytrustee
cp "$confdir/ca/cert.pem" "$KT_TMP/old-root.pem"
cp "$confdir/ca/key.pem" "$KT_TMP/old-key.pem"

# makes NAME: a backup of kts-01, in $KT_TMP/NAME.
makes() {
    succeeds on_node kts-01 "$KTBACKUP" -c "$confdir" --gpg-recipient=john.doe@example.com \
        --output="$out" --quiet
    cp "$KT_TMP/out" "$KT_TMP/$1"
    [[ -f $(cat "$KT_TMP/$1") ]] || give_up "no backup: $(cat "$KT_TMP/err")"
}

# restores NAME: on the bare machine kts-01.
restores() {
    rm -rf "${NODE_DIR[kts-01]}"
    mkdir -m 0700 "${NODE_DIR[kts-01]}"
    succeeds on_node kts-01 timeout 120 "$KTADMIN" --confdir "${NODE_DIR[kts-01]}" restore \
        "$(cat "$KT_TMP/$1")" --address "${NODE_ADDRESS[kts-01]}" --advertise "${NODE_ADDRESS[kts-01]}"
    start_node kts-01
    comes_true 30 takes_writes kts-01
}

# roots_in FILE: self-signed certificates of a PEM file, SHA-256 each, in order.
roots_in() {
    rm -f "$KT_TMP"/split-*
    csplit -s -z -f "$KT_TMP/split-" "$1" '/BEGIN CERTIFICATE/' '{*}'
    for one in "$KT_TMP"/split-*; do
        openssl verify -CAfile "$one" "$one" >/dev/null 2>&1 &&
            openssl x509 -in "$one" -outform DER | sha256sum | cut -c 1-64
    done | tr '\n' ' '
}

signs() {
    same <(openssl x509 -in "$(ca_of "$1")" -noout -pubkey) \
        <(openssl pkey -in "${NODE_DIR[$1]}/.keytrustee/ca/key.pem" -pubout)
}

# goes_on CLIENT: gets what it has put, and puts something.
goes_on() {
    succeeds client "$1" get "of-$1" -o "$KT_TMP/got"
    is "$(cat "$KT_TMP/got")" "secret ${1#host-}" "the deposit of $1"
    succeeds put_as "$1" "of-$1-$RANDOM$RANDOM" "another one"
}

# by_root FILE: a client with a certificate of before is let in, and knows the node by that root.
by_root() {
    is "$(curl_node kts-01 -s -o /dev/null -w '%{http_code}' --cacert "$1" \
        --cert "$KT_TMP/old-client/client-cert.pem" --key "$KT_TMP/old-client/client-key.pem" \
        "$(url_of kts-01)/v1/clients/self")" 200 "by $(basename "$1")"
}
cp -r "$(client_dir host-2)" "$KT_TMP/old-client"

check "--without wants a node of the cluster that is not this one"
exits some admin_for 30 kts-01 rotate --ca --without kts-09
has "$KT_TMP/err" "there is no node 'kts-09'"
exits some admin_for 30 kts-01 rotate --ca --without kts-01
has "$KT_TMP/err" "'kts-01' is this node"

check "a node that does not answer keeps the CA as it is, unless it is left out by name"
kill_node kts-02
exits some admin_for 30 kts-01 rotate --ca
has "$KT_TMP/err" "node 'kts-02' does not answer"
has "$KT_TMP/err" 'hint: .*--without'
exits some admin_for 30 kts-01 rotate --ca --without kts-03
has "$KT_TMP/err" "node 'kts-02' does not answer"
succeeds admin_for 30 kts-01 rotate --ca --without kts-02 --dry-run
has "$KT_TMP/out" 'A CA would be made'
[[ ! -e $confdir/ca/next-key.pem ]] || problem "a CA was made"
same "$confdir/ca/cert.pem" "$KT_TMP/old-root.pem"

check "a backup of between the steps has the next key too"
chmod 0500 "${NODE_DIR[kts-03]}/.keytrustee/ca" # it cannot take it
exits some admin_for 60 kts-01 rotate --ca --without kts-02
has "$KT_TMP/err" "'kts-03\..*' has not taken the next CA"
has "$KT_TMP/err" 'hint: .*run it again'
chmod 0700 "${NODE_DIR[kts-03]}/.keytrustee/ca"
is "$(roots_in "$confdir/ca/cert.pem" | wc -w)" 2 "roots"
signs kts-01
[[ -e $confdir/ca/next-key.pem ]] || problem "there is no next key"
makes begun

check "with --without it is ended, and says who was left out"
succeeds admin_for 60 kts-01 rotate --ca --without kts-02
has "$KT_TMP/out" '^kts-02 was left out: it is handed the CA when it is back\.'
has "$KT_TMP/out" 'On kts-03 run ktadmin rotate'
hasnt "$KT_TMP/out" 'On kts-02'
signs kts-01
signs kts-03
same "$(ca_of kts-01)" "$(ca_of kts-03)"
same "$(ca_of kts-02)" "$KT_TMP/old-root.pem"
[[ ! -e $confdir/ca/next-key.pem ]] || problem "there are two keys"
succeeds put_as host-1 of-host-1-later "one more"
by_root "$KT_TMP/old-root.pem"

check "who knows the next root goes on, and a backup is made of both"
succeeds client host-1 status
is "$(roots_in "$(client_dir host-1)/ca.pem" | wc -w)" 2 "roots of host-1"
new_client kts-01 acme host-4 || problem "register: $(cat "$KT_TMP/host-4.register.out")"
succeeds put_as host-4 of-host-4 "secret 4"
both=$(roots_in "$(ca_of kts-01)")
cp "$(ca_of kts-01)" "$KT_TMP/both.pem"
openssl x509 -in "$(ca_of kts-01)" >"$KT_TMP/new-root.pem"
makes both

check "the node that was left out is handed the CA when it is back, and counts again"
start_node kts-02
has_the_ca() {
    cmp -s "$(ca_of kts-01)" "$(ca_of kts-02)" &&
        cmp -s "$confdir/ca/key.pem" "${NODE_DIR[kts-02]}/.keytrustee/ca/key.pem"
}
comes_true 30 has_the_ca
comes_true 40 counts kts-01 kts-02
succeeds admin_for 60 kts-02 rotate
openssl verify -CAfile "$KT_TMP/new-root.pem" "${NODE_DIR[kts-02]}/.keytrustee/tls/node-cert.pem" \
    >"$KT_TMP/out" 2>&1 || problem "its certificate is of the older CA: $(cat "$KT_TMP/out")"

for name in kts-01 kts-02 kts-03; do
    kill_node "$name"
done

check "a backup of both roots makes a node that serves clients of either, old certificates too"
restores both
is "$(roots_in "$(ca_of kts-01)")" "$both" "roots"
same "$(ca_of kts-01)" "$KT_TMP/both.pem"
signs kts-01
for root in old-root new-root; do
    by_root "$KT_TMP/$root.pem"
done
goes_on host-1
goes_on host-4

check "who knew the older root alone learns the next one of the restored node, and renews"
is "$(roots_in "$(client_dir host-3)/ca.pem" | wc -w)" 1 "roots before"
succeeds client host-3 get of-host-3 -o "$KT_TMP/got"
is "$(roots_in "$(client_dir host-3)/ca.pem")" "$both" "roots after"
openssl verify -CAfile "$KT_TMP/new-root.pem" "$(client_dir host-3)/client-cert.pem" >"$KT_TMP/out" 2>&1 ||
    problem "its certificate is of the older CA: $(cat "$KT_TMP/out")"
goes_on host-3

run admin_for 20 kts-01 status
has "$KT_TMP/out" 'the CA was replaced on .*; the older one counts until '
hasnt "$KT_TMP/out" 'run ktadmin rotate'
kill_node kts-01

check "a backup of between the steps makes a node that goes on with them"
restores begun
is "$(roots_in "$(ca_of kts-01)" | xargs -n 1 | sort)" "$(xargs -n 1 <<<"$both" | sort)" "roots"
signs kts-01
by_root "$KT_TMP/old-root.pem"
goes_on host-2
run admin_for 20 kts-01 status
has "$KT_TMP/out" 'a replacement of the CA has begun'
stop_server kts-01 # a run that is killed between its two files leaves them so
cp "$confdir/ca/cert.pem" "$KT_TMP/begun.pem"
cp "$KT_TMP/both.pem" "$confdir/ca/cert.pem"
same "$confdir/ca/key.pem" "$KT_TMP/old-key.pem"
makes between
cp "$KT_TMP/begun.pem" "$confdir/ca/cert.pem"
start_server kts-01
comes_true 30 takes_writes kts-01
succeeds admin_for 60 kts-01 rotate --ca
is "$(roots_in "$(ca_of kts-01)")" "$both" "roots"
signs kts-01
by_root "$KT_TMP/old-root.pem"
by_root "$KT_TMP/new-root.pem"
goes_on host-2
kill_node kts-01

check "and so does one of the moment between the CA's two files"
restores between
is "$(roots_in "$(ca_of kts-01)")" "$both" "roots"
signs kts-01
[[ ! -e $confdir/ca/next-key.pem ]] || problem "there are two keys"
by_root "$KT_TMP/old-root.pem"
goes_on host-5 # host-2 has renewed since, by the next root

finish
