#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What somebody does to the audit files or their folder is found while the node runs, also when nobody
# asks for anything; nothing is served from then on; a restart goes on, with the break on record (P6).
. "$KT_SOURCE/tests/support/lib.sh"

new_node_with_clients kts-01
dir=${NODE_DIR[kts-01]} log=${NODE_DIR[kts-01]}/audit
head -c 32 /dev/urandom >"$KT_TMP/key"
succeeds client host-1 put other "$KT_TMP/key"

current() {
    find "$log" -name 'audit-*.log' | sort | tail -n 1
}

refused() {
    request kts-01 host-1 GET /v1/deposits/other && [[ $http == 503 && $(error_code) == audit_unavailable ]]
}

served() {
    request kts-01 host-1 GET /v1/deposits/other && [[ $http == 200 ]]
}

status_says() {
    admin kts-01 status >"$KT_TMP/status" 2>&1
    grep -q "cannot write its audit log.*$1" "$KT_TMP/status"
}

# found_idle WHAT: nothing is asked of the node until its status says what was done; then nothing is
# served any more.
found_idle() {
    comes_true 6 status_says "$1 by somebody else"
    refused || problem "not refused: $http"
    deposit kts-01 host-1 refused "$KT_TMP/key"
    answers 503 audit_unavailable
    request kts-01 none GET /v1/health/ready
    is "$http" 507 "readiness"
}

# on_record FILE WHAT: after a restart a new file says what became of the one before.
on_record() {
    stop_server kts-01
    start_server kts-01
    comes_true 20 served
    exits 7 admin kts-01 audit verify --local
    admin kts-01 audit export --event audit.open 2>/dev/null | tail -n 1 >"$KT_TMP/opened"
    has "$KT_TMP/opened" "\"broken\":\"$1\".*\"problem\":\"$2"
}

check "a file that somebody removes is missed, also by an idle node"
file=$(current)
cp -p "$file" "$KT_TMP/kept"
rm "$file"
found_idle removed
cp -p "$KT_TMP/kept" "$file"
on_record "$(basename "$file")" "removed while in use"

check "a file that is cut is found"
file=$(current)
truncate -s -10 "$file"
found_idle cut
on_record "$(basename "$file")" "cut while in use"

check "a file that is replaced by a copy of itself is found"
file=$(current)
cp "$file" "$KT_TMP/copy"
mv "$KT_TMP/copy" "$file"
found_idle replaced
on_record "$(basename "$file")" "replaced while in use"

check "bytes in the middle of a file that are overwritten in place are found"
file=$(current)
offset=$(grep -abo '"node":"kts-01"' "$file" | sed -n '1s/:.*//p')
printf 'X' | dd of="$file" bs=1 seek="$((offset + 9))" conv=notrunc status=none
found_idle changed
on_record "$(basename "$file")" "changed while in use"

check "the last bytes, put in place with the times of before, are found"
file=$(current)
cp -p "$file" "$KT_TMP/kept"
printf ' ' | dd of="$file" bs=1 seek="$(($(stat -c %s "$file") - 3))" conv=notrunc status=none
touch -r "$KT_TMP/kept" "$file"
found_idle changed
on_record "$(basename "$file")" "changed while in use"

check "a folder that is renamed, and back, is found"
file=$(current)
mv "$log" "$log.away"
comes_true 6 status_says "moved by somebody else"
mv "$log.away" "$log"
found_idle moved
on_record "$(basename "$file")" "moved while in use"

check "changing a file's mode and times changes no record, and is no reason to stop"
file=$(current)
chmod 0400 "$file"
touch "$file"
comes_true 5 grep -q "touched by somebody else, its records are as they were" "$dir/logs/kts.log"
served || problem "not served: $http"
chmod 0600 "$file"

check "records cut off while the server was stopped are missed at the next start"
succeeds client host-1 get other
stop_server kts-01
file=$(current)
lines=$(wc -l <"$file")
head -n $((lines - 3)) "$file" >"$KT_TMP/shorter"
cat "$KT_TMP/shorter" >"$file"
exits 7 admin kts-01 audit verify --local
has "$KT_TMP/out" 'records [0-9]+ to [0-9]+ are gone: its own signed head knows record'
start_server kts-01
comes_true 20 served
admin kts-01 audit export --event audit.open 2>/dev/null | tail -n 1 >"$KT_TMP/opened"
has "$KT_TMP/opened" "\"problem\":\"records at its end are gone"

check "a whole audit folder that was removed is missed at the next start, and no number is used again"
succeeds admin kts-01 audit head --sign
last=$(sed -n 's/^seq //p' "$KT_TMP/out")
stop_server kts-01
mv "$log" "$KT_TMP/all"
start_server kts-01
comes_true 20 served
head -n 1 "$(current)" >"$KT_TMP/opened"
has "$KT_TMP/opened" "\"problem\":\"records at its end are gone"
[[ $(cut -d ' ' -f 2 "$KT_TMP/opened") -gt $last ]] || problem "number $(cut -d ' ' -f 2 "$KT_TMP/opened") again"
exits 7 admin kts-01 audit verify --local

finish
