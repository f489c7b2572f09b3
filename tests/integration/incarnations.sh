#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Which lines of history a cluster shows with which statements, on the active and on a passive, to
# anybody; and what status says as long as there is no backup.
. "$KT_SOURCE/tests/support/cluster.sh"

if ! has_networks; then
    skip "a passive: this machine does not let users make networks"
    finish
fi
new_cluster 2

incarnations() {
    request "$1" none GET /v1/incarnations
    [[ $http == 200 ]]
}

shows() {
    incarnations "$1" && grep -qF -- "$2" "$KT_TMP/body"
}

check "anybody is shown the first incarnation, which needs no statement"
for name in kts-01 kts-02; do
    incarnations "$name" || problem "$name answers $http"
    line=$(sed -n 's/^KT-Incarnation: \([0-9a-f.]*\).*/\1/p' "$KT_TMP/header")
    has "$KT_TMP/header" '^Content-Type: application/json'
    is "$(tr -d ' ' <"$KT_TMP/body" | sed 's/"20[^"]*Z"/TIME/')" \
        "{\"incarnations\":[{\"incarnation\":\"$line\",\"started_at\":TIME,\"statement\":null}]}" "$name"
done

check "a statement is shown as it was written, by the passive too, newest last"
sql kts-01 "insert into incarnations (number, bits, statement)
    values (2, '\\x00000000000000cd', convert_to(E'-----BEGIN \"PGP\"\\nline\\n', 'UTF8'))" >/dev/null
for name in kts-01 kts-02; do
    comes_true 10 shows "$name" '"-----BEGIN \"PGP\"\nline\n"'
    has "$KT_TMP/body" "\"$line\".*\"2.00000000000000cd\""
done

check "what is no statement disturbs nobody: other bytes, too many of them"
sql kts-01 "insert into incarnations (number, bits, statement)
    values (3, '\\x00000000000000ce', '\\x00ff80'::bytea),
        (4, '\\x00000000000000cf', convert_to(repeat('x', 32769), 'UTF8')),
        (5, '\\x00000000000000d0', convert_to(repeat('y', 32768), 'UTF8'))" >/dev/null
for name in kts-01 kts-02; do
    comes_true 10 shows "$name" '"5.00000000000000d0"'
    hasnt "$KT_TMP/body" xxxx
    has "$KT_TMP/body" 'yyyy'
    has "$KT_TMP/body" '"4.00000000000000cf"[^}]*null'
done

check "at most the newest 64 are shown"
sql kts-01 "insert into incarnations (number, bits)
    select n, '\\x00000000000000d1' from generate_series(6, 66) n" >/dev/null
comes_true 10 shows kts-02 '"66.00000000000000d1"'
is "$(grep -o '"started_at"' "$KT_TMP/body" | wc -l)" 64 "incarnations"
hasnt "$KT_TMP/body" '"2.00000000000000cd"'
has "$KT_TMP/body" '"3.00000000000000ce"'
sql kts-01 "delete from incarnations where number > 1" >/dev/null

check "the call takes no parameters and has one method"
request kts-01 none GET '/v1/incarnations?x=1'
answers 400 bad_request
request kts-01 none POST /v1/incarnations
answers 405 method_not_allowed

check "without a backup status notes it, and is well"
exits 0 admin kts-01 status
has "$KT_TMP/out" '^backup  *none yet'
has "$KT_TMP/out" '^note: no backup yet'
hasnt "$KT_TMP/out" '^attention:'
exits 0 admin kts-02 status --json
has "$KT_TMP/out" '"backup": *{'
incarnations kts-01
request kts-01 none GET /v1/health
has "$KT_TMP/body" '"backup_age_s": *null'

stop_node kts-02
stop_node kts-01
finish
