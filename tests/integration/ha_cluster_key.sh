#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Three nodes replace the cluster's OpenPGP key while clients fetch: nothing fails, clients follow, old
# backups verify, a killed run is finished by the next, a node that was off gets the key, and what the
# older key says afterwards is not believed.
. "$KT_SOURCE/tests/support/cluster.sh"

new_cluster 3
add_clients kts-01
new_cipher
# shellcheck source=tests/support/backup.sh
. "$KT_SOURCE/tests/support/backup.sh" # it has other ideas of whose fingerprints there are
mkdir -m 0700 "$KT_TMP/old" "$KT_TMP/new"
new_recipient 'John Doe' john.doe@example.com
nodes="kts-01 kts-02 kts-03"

confdir_of() {
    echo "${NODE_DIR[$1]}/.keytrustee"
}

key_of() {
    sed -n 's/.*"openpgp_fingerprint": *"\([0-9A-F]*\)".*/\1/p' "$(confdir_of "$1")/cluster.json"
}

# The one that is to follow, on that node's disk.
next_of() {
    sed -n 's/.*"fingerprint":"\([0-9A-F]*\)".*/\1/p' "$(confdir_of "$1")/cluster-key.json" 2>/dev/null
}

# What a client has pinned.
pinned_by() {
    sed -n 's/.*"cluster_fingerprint": *"\([0-9A-F]*\)".*/\1/p' "$(client_dir "$1")/client.json"
}

shows_key() {
    [[ $(curl_node "$1" -s --cacert "$(ca_of "$1")" "$(url_of "$1")/?a=fingerprint") == "4096R/$2" ]]
}

listed() {
    sql "$1" "select coalesce((select fingerprint from cluster_keys order by number desc limit 1), '')"
}

is_settled_on() {
    [[ $(key_of "$1") == "$2" && ! -e $(confdir_of "$1")/cluster-key.json ]] && shows_key "$1" "$2" &&
        [[ $(listed "$1") == "$2" && $(find "$(confdir_of "$1")/private-keys-v1.d" -name '*.key' | wc -l) == 1 ]]
}

# settled KEY NODES...: it is the key of these nodes, and no other secret key of the cluster is there.
settled() {
    local node

    for node in "${@:2}"; do
        wait_until 15 is_settled_on "$node" "$1" ||
            problem "$node: key $(key_of "$node"), listed $(listed "$node"), next $(next_of "$node"), $(
                find "$(confdir_of "$node")/private-keys-v1.d" -name '*.key' | wc -l) secret keys"
    done
}

makes_backup() {
    succeeds on_node kts-01 "$KTBACKUP" -c "$(confdir_of kts-01)" --gpg-recipient=john.doe@example.com \
        --output="$1" --quiet
    made=$(cat "$KT_TMP/out")
}

begin_load() {
    (
        n=0
        until [[ -e $KT_TMP/load.stop ]]; do
            n=$((n + 1))
            for node in $nodes; do
                code=$(curl_node "$node" -s --max-time 20 --cacert "$(ca_of "$node")" -o /dev/null \
                    -w '%{http_code}' --cert "$(client_dir host-1)/client-cert.pem" \
                    --key "$(client_dir host-1)/client-key.pem" "$(url_of "$node")/v1/deposits/first")
                [[ $code == 200 ]] || echo "fetch $n at $node: $code" >>"$KT_TMP/load.failed"
            done
            client host-1 get kept -o "$KT_TMP/load.got" >"$KT_TMP/load.out" 2>&1 ||
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
        problem "$(wc -l <"$KT_TMP/load.failed") fetches failed: $(head -n 5 "$KT_TMP/load.failed" | tr '\n' '~')"
}

# killed CONDITION...: a run on the active that is killed as soon as the condition is true.
killed() {
    local rotating

    exec_on_node kts-01 "$KTADMIN" --confdir "${NODE_DIR[kts-01]}" rotate --cluster-key \
        >"$KT_TMP/killed" 2>&1 &
    rotating=$!
    KT_PIDS[$rotating]=rotate
    until "$@" || ! is_running "$rotating"; do :; done
    kill -KILL "$rotating" 2>/dev/null
    forget_process "$rotating"
}

has_next() {
    [[ -n $(next_of "$1") ]]
}

deposits_at kts-01 first
succeeds client host-1 put kept "$KT_TMP/key"
comes_true 20 serves kts-02 first
comes_true 20 serves kts-03 first
first=$(key_of kts-01)
cp -r "$(client_dir host-2)" "$(client_dir late)" # follows later
cp -r "$(client_dir host-2)" "$(client_dir later)"
makes_backup "$KT_TMP/old"
old_backup=$made
mkdir -m 0700 "$KT_TMP/thief"
cp -r "$(confdir_of kts-01)"/{pubring.kbx,private-keys-v1.d} "$KT_TMP/thief"

check "--dry-run names the key and changes nothing; a passive refuses"
succeeds admin_for 20 kts-01 rotate --cluster-key --dry-run
has "$KT_TMP/out" "4096R/$first; the next run makes another"
exits some admin_for 20 kts-02 rotate --cluster-key
has "$KT_TMP/err" "the active is 'kts-01'"
for node in $nodes; do
    is "$(key_of "$node")" "$first" "key of $node"
done
is "$(listed kts-01)" "" "listed key"

check "all nodes have another key while clients fetch, and the older secret key is on no disk"
begin_load
comes_true 20 has_loaded 1
succeeds admin_for 90 kts-01 rotate --cluster-key --json
second=$(sed -n 's/.*"cluster_key": *"\([0-9A-F]*\)".*/\1/p' "$KT_TMP/out")
has "$KT_TMP/out" "\"before\": *\"$first\""
end_load
settled "$second" $nodes
for file in "$KT_TMP"/thief/private-keys-v1.d/*.key; do
    for node in $nodes; do
        [[ ! -e $(confdir_of "$node")/private-keys-v1.d/${file##*/} ]] || problem "$node has the old key"
    done
done

check "status names the key and since when, and nothing wants attention"
is_well() { run admin_for 10 kts-02 status --json && [[ $status -eq 0 ]]; }
comes_true 20 is_well
has "$KT_TMP/out" "\"fingerprint\": *\"$second\""
has "$KT_TMP/out" '"since": *"20'
hasnt "$KT_TMP/out" 'different OpenPGP keys'

check "the rotation is in the audit log and in the database, and the key in neither"
has <(cat "${NODE_DIR[kts-02]}"/audit/*) "\"cluster_key\":\"$second\".*\"event\":\"cluster_key.take\""
is "$(sql kts-03 "select string_agg(event, ' ') from change_log where event like 'cluster_key.%'")" \
    "cluster_key.add" "changes"
grep -rq 'private-key' "${NODE_DIR[kts-01]}"/{audit,logs} "${NODE_DIR[kts-02]}"/{audit,logs} &&
    problem "the secret key is in a log"

check "a client that registered before has followed the key, and a new one knows it from the start"
is "$(pinned_by host-1)" "$second" "key of host-1"
is "$(pinned_by late)" "$first" "key of late"
new_client kts-01 acme host-3 || problem "register: $(cat "$KT_TMP/host-3.register.out" 2>&1)"
is "$(pinned_by host-3)" "$second" "key of host-3"

check "the older backup verifies, and says by which key; a new one is signed by the new key"
succeeds backup kts-02 verify "$old_backup"
has "$KT_TMP/out" 'signature *good, by a key that the cluster has had before'
makes_backup "$KT_TMP/new"
has "${made%.tar.gpg}.manifest" "^signer $second"
succeeds backup kts-01 verify "$made"
has "$KT_TMP/out" 'signature *good$'

check "a backup by a key that only lies in the keyring, under the cluster's name, is refused"
mkdir -m 0700 "$KT_TMP/false"
user_id=$(gpg --homedir "$KT_TMP/thief" --batch --with-colons --list-keys 2>/dev/null | awk -F: '/^uid/ { print $10; exit }')
planted=$(gpg --homedir "$KT_TMP/thief" --batch --quiet --yes --passphrase '' --status-fd 1 --quick-generate-key \
    "$user_id" rsa2048 sign never 2>"$KT_TMP/gpg.err" | awk '/KEY_CREATED/ { print $4 }')
gpg --homedir "$KT_TMP/thief" --batch --export "$planted" |
    on_node kts-02 gpg --homedir "$(confdir_of kts-02)" --batch --quiet --no-autostart --import 2>"$KT_TMP/gpg.err" ||
    problem "gpg: $(cat "$KT_TMP/gpg.err")"
cp "${old_backup%.tar.gpg}".* "$KT_TMP/false/"
false_backup=$KT_TMP/false/${old_backup##*/}
gpg --homedir "$KT_TMP/thief" --batch --quiet -d "${old_backup%.tar.gpg}.manifest" 2>"$KT_TMP/gpg.err" |
    sed "s/^signer .*/signer $planted/" >"$KT_TMP/false.text"
gpg --homedir "$KT_TMP/thief" --batch --quiet --local-user "$planted" --clear-sign --digest-algo SHA512 \
    <"$KT_TMP/false.text" >"${false_backup%.tar.gpg}.manifest" 2>"$KT_TMP/gpg.err" || problem "gpg: $(cat "$KT_TMP/gpg.err")"
GNUPGHOME=$KT_TMP/thief gpgconf --kill gpg-agent
exits some backup kts-02 verify "$false_backup"
has "$KT_TMP/err" "signed by key $planted, not by $second"

check "a run that is killed at any step is gone on with by the next, with the same key"
killed has_next kts-01
third=$(next_of kts-01)
[[ -n $third && $third != "$second" ]] || problem "the next key is '$third'"
for node in kts-02 kts-03; do mkdir "$(confdir_of "$node")/cluster-key.json"; done # it cannot be written
exits some admin_for 60 kts-01 rotate --cluster-key
for node in kts-02 kts-03; do
    has "$KT_TMP/err" "$node was not handed the next key"
    rmdir "$(confdir_of "$node")/cluster-key.json"
done
is "$(listed kts-01)" "$second" "listed key"
killed has_next kts-02
is "$(next_of kts-01)" "$third" "next key of the second run"
is_listed() { [[ $(listed kts-01) == "$third" ]]; }
killed is_listed
is_used() { [[ $(key_of kts-02) == "$third" ]]; }
killed is_used
succeeds admin_for 60 kts-01 rotate --cluster-key
settled "$third" $nodes

check "a node that does not answer is named, and nothing changes"
stop_server kts-03
exits some admin_for 60 kts-01 rotate --cluster-key
has "$KT_TMP/err" "'kts-03' does not answer"
has "$KT_TMP/err" 'hint: .*--without'
settled "$third" kts-01 kts-02

check "with --without it is left out, and the active hands it the key when it is back"
succeeds admin_for 60 kts-01 rotate --cluster-key --without kts-03 --without kts-02
has "$KT_TMP/out" 'kts-03 was left out'
has "$KT_TMP/out" 'kts-02 answers, so it was handed the key too'
fourth=$(key_of kts-01)
[[ $fourth != "$third" ]] || problem "the key is the same"
settled "$fourth" kts-01 kts-02
start_server kts-03
comes_true 20 can_reach kts-03
settled "$fourth" kts-03

check "a client that was away follows three keys at once"
run client late status
is "$(pinned_by late)" "$fourth" "key of late"

check "only the active hands the key over, and takes it"
tls=${NODE_DIR[kts-03]}/.keytrustee/tls
for verb in hand take; do
    curl -s --max-time 20 --cacert "$(ca_of kts-02)" --cert "$tls/node-cert.pem" --key "$tls/node-key.pem" \
        -X POST -H 'Content-Type: application/json' -d "{\"fingerprint\": \"$fourth\"}" \
        --connect-to "::${NODE_ADDRESS[kts-02]}:$AGENT_PORT" \
        "https://keytrustee-node:$AGENT_PORT/v1/cluster/cluster_key.$verb" >"$KT_TMP/verb"
    has "$KT_TMP/verb" not_member
done

check "a line that forks is not followed by who knew the stolen key only, and said so"
gpg --homedir "$KT_TMP/thief" --batch --quiet --passphrase '' --quick-generate-key thief rsa2048 sign never \
    2>"$KT_TMP/gpg.err" || problem "gpg: $(cat "$KT_TMP/gpg.err")"
thief=$(gpg --homedir "$KT_TMP/thief" --batch --with-colons --list-keys thief 2>/dev/null |
    awk -F: '/^fpr/ { print $10; exit }')
sql kts-01 "select statement from cluster_keys where number = 1" | sed -n '/^keytrustee-cluster-key/,/^time /p' |
    sed -n '1,/^time /p' | sed "s/^next .*/next $thief/" >"$KT_TMP/forged.text"
for signer in "$first" "$thief"; do
    gpg --homedir "$KT_TMP/thief" --batch --quiet --local-user "$signer" --clear-sign --digest-algo SHA512 \
        <"$KT_TMP/forged.text"
    gpg --homedir "$KT_TMP/thief" --batch --quiet --armor --export "$signer"
done >"$KT_TMP/forged" 2>"$KT_TMP/gpg.err"
GNUPGHOME=$KT_TMP/thief gpgconf --kill gpg-agent
sql kts-01 "insert into cluster_keys (number, fingerprint, before, statement, made_at)
    values (60, '$thief', '$first', \$\$$(cat "$KT_TMP/forged")
\$\$, now())" >/dev/null
has_forged() { [[ $(listed "$1") == "$thief" ]]; }
comes_true 10 has_forged kts-02
comes_true 10 has_forged kts-03
exits some on_node kts-01 "$KTBACKUP" -c "$(confdir_of kts-01)" --gpg-recipient=john.doe@example.com --output="$KT_TMP/new"
has "$KT_TMP/err" "lists the cluster's OpenPGP key $thief, which this node does not use yet"
run client later status
has "$KT_TMP/err" "two keys, .*$thief.* claim to follow the cluster's OpenPGP key $first"
is "$(pinned_by later)" "$first" "key of later"
run client host-1 status
hasnt "$KT_TMP/err" "claim to follow"
is "$(pinned_by host-1)" "$fourth" "key of host-1"
sql kts-01 "delete from cluster_keys where number = 60" >/dev/null

# --- restores ---

makes_backup "$KT_TMP/new"
new_backup=$made

restores() {
    on_node kts-01 timeout 120 "$KTADMIN" --confdir "${NODE_DIR[kts-01]}" restore "$@" \
        --address "${NODE_ADDRESS[kts-01]}" --advertise "${NODE_ADDRESS[kts-01]}"
}

bare() {
    rm -rf "${NODE_DIR[kts-01]}"
    mkdir -m 0700 "${NODE_DIR[kts-01]}"
}

check "a restore of a backup by the older key is refused by who knows the newer one"
for node in $nodes; do stop_node "$node"; done
gpg --homedir "$KT_TMP/thief" --batch --export "$first" >"$KT_TMP/first.pub"
gpg --homedir "$(confdir_of kts-01)" --batch --no-autostart --export "$fourth" >"$KT_TMP/fourth.pub"
bare
exits some restores "$old_backup" --key "$KT_TMP/fourth.pub"
has "$KT_TMP/err" "of the cluster with key $first, not $fourth"
bare
succeeds restores "$old_backup"
start_node kts-01
is "$(key_of kts-01)" "$first" "key of the restored cluster"
comes_true 20 can_reach kts-01
exits some client host-1 get kept -o "$KT_TMP/got"
has "$KT_TMP/err" "its statement of it is not good.*signed by key $first, not by the cluster's, which is $fourth"
is "$(pinned_by host-1)" "$fourth" "key of host-1"
stop_node kts-01

check "a restore of the newest backup, which the operator's oldest key leads to, is believed by that client"
bare
succeeds restores "$new_backup" --key "$KT_TMP/first.pub"
has "$KT_TMP/err" "the key $first, which leads to the cluster's"
start_node kts-01
comes_true 20 can_reach kts-01
succeeds client host-1 get kept -o "$KT_TMP/got"
same "$KT_TMP/key" "$KT_TMP/got"
has "$KT_TMP/err" 'was restored from a backup'

check "after another rotation the statement of that restore holds, by the word of the newer key"
comes_true 20 takes_deposits kts-01
succeeds on_node kts-01 "$KTBACKUP" -c "$(confdir_of kts-01)" --gpg-recipient=john.doe@example.com \
    --output="$KT_TMP/new" --plain-sql --quiet
plain=$(cat "$KT_TMP/out")
cp -r "$(client_dir host-1)" "$(client_dir away)"
does kts-01 rotate --cluster-key
succeeds client host-1 get kept -o "$KT_TMP/got"
is "$(pinned_by host-1)" "$(key_of kts-01)" "key of host-1"
succeeds client host-1 log check

check "a database of before a rotation, adopted, has the newer key: who followed goes on, and who was away"
fifth=$(key_of kts-01)
mkdir "$KT_TMP/unpacked"
gpg --batch -d "$plain" 2>"$KT_TMP/gpg.err" | tar -x -C "$KT_TMP/unpacked" || problem "gpg: $(cat "$KT_TMP/gpg.err")"
stop_server kts-01
stock() { psql -X -h "${NODE_DIR[kts-01]}/run" -p "${NODE_DB_PORT[kts-01]}" -U keytrustee "$@"; }
succeeds stock -d postgres -c 'DROP DATABASE keytrustee' -c 'CREATE DATABASE keytrustee'
succeeds stock -d keytrustee -f "$(find "$KT_TMP/unpacked" -name '*.sql')"
is "$(listed kts-01)" "$fourth" "listed key"
succeeds admin_for 120 kts-01 restore --adopt --cluster-id "$(sql kts-01 'select cluster_id from cluster')"
start_node kts-01
comes_true 20 can_reach kts-01
settled "$fifth" kts-01
succeeds client host-1 get kept -o "$KT_TMP/got"
has "$KT_TMP/err" 'was restored from a backup'
is "$(pinned_by host-1)" "$fifth" "key of host-1"
succeeds client away get kept -o "$KT_TMP/got"
is "$(pinned_by away)" "$fifth" "key of away"
makes_backup "$KT_TMP/new"
has "${made%.tar.gpg}.manifest" "^signer $fifth"

stop_node kts-01
finish
