#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A whole cluster is lost, and comes back out of a backup: what it holds, what it lists as lost, who
# believes it, and when it refuses.
. "$KT_SOURCE/tests/support/cluster.sh"
# shellcheck source=tests/support/backup.sh
. "$KT_SOURCE/tests/support/backup.sh"

out=$KT_TMP/backups
mkdir -m 0700 "$out"
new_recipient 'John Doe' john.doe@example.com
new_cluster 2
add_clients kts-01
for i in 1 2 3 4 5; do
    put_as host-1 "covered/$i" "secret $i" >/dev/null 2>&1 || give_up "put $i"
done

# makes NODE ARGUMENTS...: ktbackup on that node.
makes() {
    succeeds on_node "$1" "$KTBACKUP" -c "${NODE_DIR[$1]}/.keytrustee" --gpg-recipient=john.doe@example.com \
        --output="$out" --quiet "${@:2}"
    made=$(cat "$KT_TMP/out")
    [[ -f $made ]] || give_up "no backup"
}

# restores NODE FILE ARGUMENTS...: on the bare machine NODE.
restores() {
    on_node "$1" timeout 120 "$KTADMIN" --confdir "${NODE_DIR[$1]}" restore "$2" \
        --address "${NODE_ADDRESS[$1]}" --advertise "${NODE_ADDRESS[$1]}" "${@:3}"
}

# has_deposit NODE HANDLE: it serves it.
has_deposit() {
    request "$1" host-1 GET "/v1/deposits/$(escape "$2")"
    [[ $http == 200 ]]
}

# A machine of that name and address, with nothing on it.
bare() {
    rm -rf "${NODE_DIR[$1]}"
    mkdir -m 0700 "${NODE_DIR[$1]}"
}

check "a backup of the passive is proven, and holds what the active had acknowledged"
makes kts-02 --require-proof
has "${made%.tar.gpg}.manifest" '^rows deposits 5$'
has "${made%.tar.gpg}.manifest" '^role passive$'

check "and so is one of the active"
makes kts-01 --require-proof
backup_file=$made
has "${made%.tar.gpg}.manifest" '^proven yes$'

put_as host-1 later/6 "secret 6" >/dev/null 2>&1 || give_up "put 6"
put_as host-1 later/7 "secret 7" >/dev/null 2>&1 || give_up "put 7"
client host-1 receipts export >"$KT_TMP/receipts" 2>/dev/null || give_up "receipts export"
client host-1 log check >/dev/null 2>"$KT_TMP/err" || give_up "log check: $(cat "$KT_TMP/err")"

check "while a node of the cluster is alive, a restore refuses, names it, and leaves nothing behind"
prepare_node kts-03
exits some restores kts-03 "$backup_file" --node kts-03
has "$KT_TMP/err" 'alive: .*kts-0'
has "$KT_TMP/err" 'accept-loss'
[[ ! -e ${NODE_DIR[kts-03]}/node/promise ]] || problem "there is a promise"
is "$(find "${NODE_DIR[kts-03]}" -type f ! -name init.lock | wc -l)" 0 "files left"
postmaster_of kts-03 && problem "PostgreSQL runs"

check "a node that hangs is alive too"
if has_networks; then
    kill_node kts-02
    freeze_node kts-01
    exits some restores kts-03 "$backup_file" --node kts-03
    has "$KT_TMP/err" 'alive: kts-01 .*does not answer'
    thaw_node kts-01
    start_node kts-02
    comes_true 30 counts kts-01 kts-02
fi

check "over a node that is there it refuses"
exits some restores kts-01 "$backup_file"
has "$KT_TMP/err" "already"

kill_node kts-01
kill_node kts-02

check "a backup of another cluster than --key names is refused"
bare kts-01
gpg --export john.doe@example.com >"$KT_TMP/other.pub"
exits 7 restores kts-01 "$backup_file" --key "$KT_TMP/other.pub"
is "$(find "${NODE_DIR[kts-01]}" -type f ! -name init.lock | wc -l)" 0 "files left"

check "a dry run reads all of it, says what would be, and writes nothing"
bare kts-01
succeeds restores kts-01 "$backup_file" --dry-run
has "$KT_TMP/out" 'would be +incarnation 2'
has "$KT_TMP/out" '5 deposits, log index 5'
is "$(find "${NODE_DIR[kts-01]}" -mindepth 1 | wc -l)" 0 "files in the folder"

check "without the private key it says which key it needs, and nothing is made"
exits some restores kts-01 "$backup_file" --gnupg-home "$KT_TMP/gnupg-empty"
has "$KT_TMP/err" 'secret key|private key|No secret'
[[ ! -e ${NODE_DIR[kts-01]}/.keytrustee/cluster.json ]] || problem "a cluster is there"

check "a restore that is killed at any moment is repeated with the same command"
bare kts-01
began=${EPOCHREALTIME/[.,]/}
run restores kts-01 "$backup_file"
[[ $status -eq 0 ]] || { kt_show "$KT_TMP/err" stderr; problem "status $status"; }
whole=$(((${EPOCHREALTIME/[.,]/} - began) / 1000))
bare kts-01
for percent in 3 5 7 10 20 35 50 65 75 80 84 88 91 94 97 100; do
    limit=$(awk "BEGIN { print $whole * $percent / 100000 }")
    on_node kts-01 timeout -s KILL "$limit" "$KTADMIN" --confdir "${NODE_DIR[kts-01]}" restore "$backup_file" \
        --address "${NODE_ADDRESS[kts-01]}" --advertise "${NODE_ADDRESS[kts-01]}" >/dev/null 2>&1 </dev/null && break
done
[[ ! -e ${NODE_DIR[kts-01]}/.keytrustee/restore.json && -e ${NODE_DIR[kts-01]}/node/promise ]] ||
    succeeds restores kts-01 "$backup_file"
is "$(ls "${NODE_DIR[kts-01]}/.keytrustee" | grep -c '^restore')" 0 "notes left in the confdir"
postmaster_of kts-01 && problem "PostgreSQL was left running"
bare kts-01
run restores kts-01 "$backup_file" --receipts "$KT_TMP/receipts"
[[ $status -eq 7 ]] || { kt_show "$KT_TMP/err" stderr; problem "status $status"; }

check "receipts that are newer than the backup are listed exactly"
is "$(grep -c ': missing: ' "$KT_TMP/out")" 2 "missing receipts"
has "$KT_TMP/out" 'missing: .*log index 6,'
has "$KT_TMP/out" 'missing: .*log index 7,'
has "$KT_TMP/out" '7 receipts: 2 not proven'
has "$KT_TMP/out" 'No decrypted copy'

check "every deposit of the backup is fetched and decrypted by its client"
start_node kts-01
wait_until 30 takes_writes kts-01 || give_up "the restored node takes no deposits: $(log_of kts-01)"
for i in 1 2 3 4 5; do
    succeeds gets host-1 "covered/$i" "secret $i"
    [[ $i == 1 ]] && cp "$KT_TMP/err" "$KT_TMP/first.err"
done

check "the client accepts the restored cluster once, by its signed statement, and says so"
has "$KT_TMP/first.err" 'restored from a backup'
hasnt "$KT_TMP/err" 'restored from a backup'
has "$(client_dir host-1)/client.json" '"incarnation": "2\.'

check "what came after the backup is not there, and the client knows that it was acknowledged"
run client host-1 get later/6
[[ $status -ne 0 ]] || problem "later/6 is there"

check "the log ends where the statement says: what this host had seen of it is told as lost, with its receipts"
exits 7 client host-1 log check --receipts
is "$(grep -c 'lost in a restore' "$KT_TMP/err")" 2 "receipts told as lost"
has "$KT_TMP/err" 'log index 6: lost in a restore'
has "$KT_TMP/err" '2 of the 7 deposits that were in the log'
has "$(client_dir host-1)/log-head" '^size 5$'
is "$(cat "$(client_dir host-1)"/log-head.1.* | sed -n 's/^size //p')" 7 "head of before"

# statement_of N: what the statement of incarnation N says, into $KT_TMP/statement; its file's hash.
statement_of() {
    sql kts-01 "SELECT convert_from(statement, 'UTF8') FROM incarnations WHERE number = $1" >"$KT_TMP/statement"
    sql kts-01 "SELECT encode(sha256(statement), 'hex') FROM incarnations WHERE number = $1"
}

check "the statement names the root of the log that survived, and is the first one of the cluster"
statement_of 2 >/dev/null
has "$KT_TMP/statement" '^log-index 5$'
has "$KT_TMP/statement" "^root $(sql kts-01 "SELECT encode(log_node(0, 5), 'hex')")\$"
has "$KT_TMP/statement" '^statement 1$'
has "$KT_TMP/statement" '^before 0{64}$'

check "it is a new incarnation: log indexes go on from the backup, and deposits are taken"
succeeds put_as host-1 after/1 "secret 8"
succeeds client host-1 info after/1
has "$KT_TMP/out" 'of incarnation 2\.'
is "$(sql kts-01 "SELECT max(log_index) FROM deposits")" 6 "newest index"
is "$(sql kts-01 "SELECT ends FROM epochs WHERE incarnation = 2 ORDER BY sequence LIMIT 1")" t "ends"

check "the log of the new incarnation continues that of the backup, and whoever has lost nothing is well"
succeeds client host-2 log check
has "$KT_TMP/out" '6 deposits, epoch .* of incarnation 2\.'
exits 7 client host-1 log check --receipts
is "$(grep -c 'lost in a restore' "$KT_TMP/err")" 2 "receipts told as lost"
hasnt "$KT_TMP/err" 'were in the log|not in the log'
has "$(client_dir host-1)/log-head" '^incarnation 2\.'

check "the node of before that comes back is not believed, and does not get in the way"
start_server kts-02
comes_true 20 server_runs kts-02
succeeds gets host-1 covered/1 "secret 1"
stop_node kts-02

check "the other node joins it as a new member, and counts"
bare kts-02
join_node kts-02 kts-01
start_node kts-02
comes_true 60 counts kts-01 kts-02
succeeds put_as host-1 after/2 "secret 9"
comes_true 10 has_deposit kts-02 after/2

check "a backup of the restored cluster continues the sequence of that folder"
makes kts-01 --require-proof
has "${made%.tar.gpg}.manifest" '^incarnation 2\.'
has "${made%.tar.gpg}.manifest" '^sequence [23]$'

check "a drill restores it beside the node, compares, and status shows when"
client host-1 receipts export >"$KT_TMP/receipts.now" 2>/dev/null
succeeds admin kts-01 drill restore --latest
has "$KT_TMP/out" 'is what the node has'
run admin kts-01 status
has "$KT_TMP/out" 'last proven restore|proven restore'
is "$(find "${NODE_DIR[kts-01]}" -maxdepth 1 -name '*scratch*' | wc -l)" 0 "scratch folders left"

check "with receipts it finds what the backup lost: those of the cluster before, and no others"
exits 7 admin kts-01 drill restore "$made" --receipts "$KT_TMP/receipts.now"
is "$(grep -c ': missing: ' "$KT_TMP/out")" 2 "missing receipts"

check "with one node alive the loss must be asked for by the cluster id; the node is sealed then"
kill_node kts-01
bare kts-01
exits some restores kts-01 "$made"
exits some restores kts-01 "$made" --accept-loss --cluster-id 00000000-0000-0000-0000-000000000000

check "a backup that turns out wrong at its end has sealed nobody"
mkdir -m 0700 "$KT_TMP/forged"
cp "$made" "$KT_TMP/forged/"
gpg --homedir "${NODE_DIR[kts-02]}/.keytrustee" --batch -d "${made%.tar.gpg}.manifest" 2>/dev/null |
    sed 's/^log-index .*/log-index 99/' |
    gpg --homedir "${NODE_DIR[kts-02]}/.keytrustee" --batch --clear-sign 2>/dev/null \
        >"$KT_TMP/forged/$(basename "$made" .tar.gpg).manifest"
gpgconf --homedir "${NODE_DIR[kts-02]}/.keytrustee" --kill gpg-agent
cp "${NODE_DIR[kts-02]}/node/promise" "$KT_TMP/promise"
exits 7 restores kts-01 "$KT_TMP/forged/$(basename "$made")" --accept-loss --cluster-id "$(cluster_id_of kts-02)"
has "$KT_TMP/err" "log's head"
same "${NODE_DIR[kts-02]}/node/promise" "$KT_TMP/promise"
exits 7 restores kts-01 "$KT_TMP/forged/$(basename "$made")" --accept-loss --cluster-id "$(cluster_id_of kts-02)"

check "with its cluster id it is given up: the node is sealed, and the restored one serves"
succeeds restores kts-01 "$made" --accept-loss --cluster-id "$(cluster_id_of kts-02)"
start_node kts-01
comes_true 30 takes_writes kts-01
has "${NODE_DIR[kts-02]}/node/promise" '^incarnation [3-9]\.'
fails_on kts-02 failover --to kts-02
comes_true 10 has_deposit kts-01 after/2

check "the next statement names the one before it, and clients of both incarnations go on"
before=$(statement_of 2)
statement_of "$(sql kts-01 'SELECT max(number) FROM incarnations')" >/dev/null
has "$KT_TMP/statement" '^statement 2$'
has "$KT_TMP/statement" "^before $before\$"
has "$KT_TMP/statement" "^root $(sql kts-01 "SELECT encode(log_node(0, max(log_index)), 'hex') FROM deposits")\$"
succeeds client host-2 log check

check "a note that a finished restore left behind undoes nothing of a node that lives"
cp "${NODE_DIR[kts-01]}/node/promise" "$KT_TMP/promise"
awk -v backup="$(basename "$made" .tar.gpg)" '/^(member|incarnation|epoch) / { value[$1] = $2 } END {
    printf "{\"member\": \"%s\", \"incarnation\": \"%s\", \"epoch\": %s, \"backup\": \"%s\"}\n",
        value["member"], value["incarnation"], value["epoch"], backup }' "$KT_TMP/promise" \
    >"${NODE_DIR[kts-01]}/.keytrustee/restore.json"
succeeds restores kts-01 "$made"
has "$KT_TMP/out" 'already'
same "${NODE_DIR[kts-01]}/node/promise" "$KT_TMP/promise"
[[ ! -e ${NODE_DIR[kts-01]}/.keytrustee/restore.json ]] || problem "the note is there"
takes_writes kts-01 || problem "it takes no deposits"
finish
