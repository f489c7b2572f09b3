#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The log of deposits from end to end: an honest server passes, one that was set back, rewritten or
# changed behind its back is found out by the client alone.
. "$KT_SOURCE/tests/support/lib.sh"

new_node_with_clients kts-01
dir=${NODE_DIR[kts-01]}

# put HANDLE...: as host-1.
put() {
    local handle

    for handle in "$@"; do
        client host-1 put "$handle" <<<"secret of $handle" >"$KT_TMP/put.out" 2>&1 ||
            problem "put $handle: $(cat "$KT_TMP/put.out")"
    done
}

# member NAME: of the JSON object in $KT_TMP/out.
member() {
    sed -n "s/.*\"$1\": *\"\\{0,1\\}\\([^\",]*\\).*/\\1/p" "$KT_TMP/out" | head -n 1
}

# As a superuser who knows what the triggers are.
tamper() {
    sql kts-01 "SET session_replication_role = replica; $1" >/dev/null || problem "sql: $1"
}

head_file() {
    echo "$(client_dir "$1")/log-head"
}

# The writer opens again, with what the database says now.
restart() {
    stop_node kts-01
    start_node kts-01
}

check "an empty log has no head yet, and is well"
succeeds client host-1 log check
has "$KT_TMP/out" 'no deposits yet'
[[ ! -e $(head_file host-1) ]] || problem "a head was kept"

check "the first head is kept, and the next one continues it"
put a/1 a/2 a/3
succeeds client host-1 log check --json
is "$(member size)" 3 size
is "$(member known_size)" 0 "known before"
has "$(head_file host-1)" '^keytrustee-tree-head 1$'
is "$(stat -c %a "$(head_file host-1)")" 600 mode
put a/4 a/1
succeeds client host-1 log check --json
is "$(member size)" 5 size
is "$(member known_size)" 3 "known before"

check "each receipt is proven on request; another client needs no receipts"
succeeds client host-1 log check --receipts --json
is "$(member receipts)" 5 receipts
is "$(member proven)" 5 proven
succeeds client host-2 log check --receipts --json
is "$(member size)" 5 size
is "$(member receipts)" 0 receipts

check "a restart of the server and deletions change nothing"
client host-1 delete --yes a/2 >/dev/null 2>&1
restart
put a/5
succeeds client host-1 log check --receipts
has "$KT_TMP/out" 'continues the 5 deposits'

check "what the log's calls are asked must make sense"
for path in '/v1/log/proof?index=0&size=5' '/v1/log/proof?index=2' '/v1/log/proof?index=6&size=5' \
    '/v1/log/proof?index=1&size=9007199254740992' '/v1/log/proof?index=-1&size=5' \
    '/v1/log/consistency?from=3&to=2' '/v1/log/consistency?from=1&to=99999999999999999999' \
    '/v1/log/consistency?from=&to=2' '/v1/log/head?size=1'; do
    request kts-01 host-1 GET "$path"
    answers 400 bad_request
done
request kts-01 host-1 GET '/v1/log/proof?index=1&size=7'
answers 404 deposit_not_found
request kts-01 host-1 GET '/v1/log/consistency?from=1&to=9007199254740991'
answers 404 deposit_not_found
request kts-01 none GET /v1/log/head
answers 401 certificate_missing
request kts-01 host-2 GET '/v1/log/proof?index=1&size=6' -H 'KT-Freshness: barrier'
answers 200
has "$KT_TMP/header" '^KT-Freshness: barrier'

check "a head that is replayed does not cover the receipts of what came later"
sql kts-01 'CREATE TABLE old_head AS SELECT * FROM tree_heads' >/dev/null
put b/1
tamper "UPDATE tree_heads SET size = o.size, root = o.root, made_at = o.made_at, signature = o.signature
    FROM old_head o"
cp "$(head_file host-1)" "$KT_TMP/head"
exits 7 client host-1 log check
has "$KT_TMP/err" 'log index 7: behind the end of the log'
same "$(head_file host-1)" "$KT_TMP/head"

check "the next deposit brings a head again that is right"
put b/2
succeeds client host-1 log check --receipts
has "$KT_TMP/out" 'signed|continues'
sql kts-01 'DROP TABLE old_head' >/dev/null

check "a head with another signature, or by another key, is refused and kept as evidence"
sql kts-01 'CREATE TABLE good_head AS SELECT * FROM tree_heads' >/dev/null
tamper "UPDATE tree_heads SET signature = set_byte(signature, 5, get_byte(signature, 5) # 1)"
exits 7 client host-1 log check
has "$KT_TMP/err" 'does not verify'
is "$(grep -c ^signature "$(head_file host-1).refused")" 1 "refused head"
tamper "INSERT INTO receipt_keys (key_id, certificate, created_at)
    SELECT '\\x0102030405060708', certificate, now() FROM receipt_keys;
    UPDATE tree_heads SET receipt_key_id = '\\x0102030405060708'"
exits some client host-1 log check
tamper "DELETE FROM receipt_keys WHERE key_id = '\\x0102030405060708'"
exits 7 client host-1 log check
has "$KT_TMP/err" 'not certified'
tamper "UPDATE tree_heads SET receipt_key_id = g.receipt_key_id, signature = g.signature FROM good_head g"
succeeds client host-1 log check
sql kts-01 'DROP TABLE good_head' >/dev/null

check "a row that the superuser has changed is found by its receipt"
tamper "UPDATE deposits SET size = size + 1 WHERE log_index = 2"
exits 7 client host-1 log check --receipts
has "$KT_TMP/err" 'log index 2: changed in the database'
has "$KT_TMP/err" 'log index 1: not in the log'

check "and by whoever has kept a head, without any receipt, as soon as the log has grown"
put c/1
exits 7 client host-2 log check
has "$KT_TMP/err" 'rewritten'
tamper "UPDATE deposits SET size = size - 1 WHERE log_index = 2"
succeeds client host-2 log check
succeeds client host-1 log check --receipts

check "the writer signs nothing over rows that are not those of its head"
tamper "UPDATE deposits SET version = 7 WHERE log_index = 3"
stop_node kts-01
start_server kts-01
wait_until 20 start_database kts-01
comes_true 20 grep -q 'not those that the newest tree head was signed for' "$dir/logs/kts.log"
tamper "UPDATE deposits SET version = 1 WHERE log_index = 3"
comes_true 20 ready kts-01
succeeds client host-1 log check --receipts

check "a database that was set back to an older copy is found out"
stop_node kts-01
cp -a "$dir/db" "$dir/db.old"
start_node kts-01
put d/1 d/2
succeeds client host-1 log check
succeeds client host-2 log check
stop_node kts-01
mv "$dir/db" "$dir/db.good"
cp -a "$dir/db.old" "$dir/db"
start_node kts-01
exits 7 client host-2 log check
has "$KT_TMP/err" 'rolled back'
has "$KT_TMP/err" 'hint: .*operator'
exits 7 client host-1 log check
has "$KT_TMP/err" 'rolled back'

check "and it stays so when another history has grown longer than the one that was seen"
for i in 1 2 3; do
    client host-2 put "fork/$i" <<<fork >/dev/null 2>&1 || problem "put fork/$i"
done
exits 7 client host-1 log check
has "$KT_TMP/err" 'rewritten'
exits 7 client host-2 log check
has "$KT_TMP/err" 'rewritten'
is "$(sed -n 's/^size //p' "$(head_file host-2)")" 11 "head that is kept"
is "$(sed -n 's/^size //p' "$(head_file host-2).refused")" 12 "head that was refused"

check "the right database is right again"
stop_node kts-01
rm -rf "$dir/db" "$dir/db.old"
mv "$dir/db.good" "$dir/db"
start_node kts-01
succeeds client host-1 log check --receipts

check "a kept head that is damaged is no reason to believe anything"
cp "$(head_file host-1)" "$KT_TMP/head"
echo damaged >"$(head_file host-1)"
exits 7 client host-1 log check
cp "$KT_TMP/head" "$(head_file host-1)"

stop_node kts-01
finish
