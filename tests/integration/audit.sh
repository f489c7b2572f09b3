#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The audit log of one node: what it holds, how it is filtered, followed, copied and signed, and that
# nothing is served while its disk fails (P6).
. "$KT_SOURCE/tests/support/lib.sh"

new_node kts-01 || give_up "init: $(cat "$KT_TMP/kts-01.init.out")"
dir=${NODE_DIR[kts-01]}
set_setting kts-01 audit syslog "$KT_TMP/syslog"
if [[ $KT_SANITIZED != yes ]]; then # a sanitizer wants to be loaded first
    export KT_DISK_FAULT=$KT_TMP/fault
    preload=$KT_BUILD/tests/libdisk_faults.so
    KTS_PLAIN=$KTS KTS=$KT_TMP/kts-with-faults
    printf '#!/bin/sh\nLD_PRELOAD=%q exec %q "$@"\n' "$preload" "$KTS_PLAIN" >"$KTS"
    chmod +x "$KTS"
fi
start_node kts-01 || give_up "the node does not start"
succeeds admin kts-01 org add acme
new_client kts-01 acme host-1 || give_up "register: $(cat "$KT_TMP/host-1.register.out")"
new_client kts-01 acme host-2 || give_up "register: $(cat "$KT_TMP/host-2.register.out")"
head -c 32 /dev/urandom >"$KT_TMP/key"
succeeds client host-1 put db/one "$KT_TMP/key"
succeeds client host-1 put db/two "$KT_TMP/key"
succeeds client host-1 put other "$KT_TMP/key"

uuid_of() {
    admin kts-01 client list --json | awk -v name="\"$1\"" '
        /"client_id"/ { id = $2 } /"name"/ && index($2, name) { print id }' | tr -d '",'
}

# --- what is recorded ---

check "a record names who, what, from where, with which result and why, by the id of the answer"
request kts-01 host-2 GET /v1/deposits/db%2Fone
answers 404 # that there is such a deposit is not told; the record says why
id=$(tr -d '\r' <"$KT_TMP/header" | sed -n 's/^[Kk][Tt]-[Rr]equest-[Ii][Dd]: //p')
succeeds admin kts-01 audit export --result denied
grep -F "\"$id\"" "$KT_TMP/out" >"$KT_TMP/record"
has "$KT_TMP/record" '"event":"deposit.get"'
has "$KT_TMP/record" '"handle":"db/one"'
has "$KT_TMP/record" '"reason":"not_granted"'
has "$KT_TMP/record" '"peer":"127\.0\.0\.1:[0-9]+"'
has "$KT_TMP/record" "\"client\":\"$(uuid_of host-2)\""

check "changes of operators that are refused say whom they were to change, and why"
unknown=$(new_uuid)
exits 3 admin kts-01 client revoke "$unknown" --yes
succeeds admin kts-01 audit export --event client.revoke
has "$KT_TMP/out" "\"client\":\"$unknown\".*\"operator\":\".*\"reason\":\"[a-z_]+\".*\"result\":\"denied\""

check "each allowed change of rights and clients has its row in the database's log, and its record"
succeeds admin kts-01 grant acme browse --client host-2 --prefix db/
succeeds admin kts-01 org add short-lived
succeeds admin kts-01 org disable short-lived --yes
sql kts-01 'select event from change_log' | sort | uniq -c >"$KT_TMP/rows"
succeeds admin kts-01 audit export --result allowed
for event in organisation.add organisation.disable grant.add client.register authcode.new; do
    rows=$(awk -v event="$event" '$2 == event { print $1 }' "$KT_TMP/rows")
    records=$(grep -c "\"event\":\"$event\"" "$KT_TMP/out")
    [[ ${rows:-0} -gt 0 && ${rows:-0} == "$records" ]] || problem "$event: ${rows:-0} rows, $records records"
done

check "the row of the epoch that the node serves under has a record"
succeeds admin kts-01 audit export --event epoch
has "$KT_TMP/out" '"active":"kts-01\.[0-9a-f]{8}".*"epoch":1,'

# --- filters ---

check "export writes one JSON object a line, and filters by client, handle, event, result and time"
succeeds admin kts-01 audit export --client "$(uuid_of host-1)" --handle 'db/*' --event deposit.put
is "$(wc -l <"$KT_TMP/out")" 2 "records"
has "$KT_TMP/out" '"handle":"db/two"'
succeeds admin kts-01 audit export --client host-1 --handle other --since 1h --until 2100-01-01
is "$(wc -l <"$KT_TMP/out")" 1 "records"
succeeds admin kts-01 audit export --since 2100-01-01T00:00:00Z
is "$(wc -l <"$KT_TMP/out")" 0 "records of the future"
exits 2 admin kts-01 audit export --since yesterday
exits 2 admin kts-01 audit export --result maybe
succeeds admin kts-01 audit show --handle 'db/*' --event 'deposit.*' --last 1
is "$(wc -l <"$KT_TMP/out")" 1 "records shown"

check "export --follow goes on with what is recorded from then on"
"$KTADMIN" --confdir "$dir" audit export --follow --handle followed >"$KT_TMP/followed" 2>&1 &
follower=$!
KT_PIDS[$follower]="audit export --follow"
succeeds client host-1 put followed "$KT_TMP/key"
comes_true 10 grep -q '"event":"deposit.put"' "$KT_TMP/followed"
succeeds client host-1 get followed
comes_true 10 grep -q '"event":"deposit.get"' "$KT_TMP/followed"
end_process "$follower"

# --- copies ---

check "syslog gets a copy of each record, also when it was away for a while; without it nobody waits"
succeeds client host-1 get other
"$KT_BUILD/tests/syslog_sink" "$KT_TMP/syslog" >"$KT_TMP/copies" &
sink=$!
KT_PIDS[$sink]="syslog"
comes_true 5 test -S "$KT_TMP/syslog"
succeeds client host-1 get db/two
comes_true 5 grep -q '^<86>keytrustee-audit\[[0-9]*\]: kta1 [0-9]* [0-9a-f]* {.*"deposit.get".*db/two' "$KT_TMP/copies"
end_process "$sink"
rm -f "$KT_TMP/syslog"
succeeds client host-1 get db/two

# --- signed heads ---

check "the node signs its heads, stock openssl agrees, and verify compares them with the log"
succeeds admin kts-01 audit head --sign
cp "$KT_TMP/out" "$KT_TMP/head"
grep -v '^signature ' "$KT_TMP/head" >"$KT_TMP/signed"
sed -n 's/^signature //p' "$KT_TMP/head" | base64 -d >"$KT_TMP/signature"
sed -n 's/^certificate //p' "$KT_TMP/head" | base64 -d |
    openssl x509 -inform der -pubkey -noout >"$KT_TMP/signer"
succeeds openssl dgst -sha256 -verify "$KT_TMP/signer" -signature "$KT_TMP/signature" "$KT_TMP/signed"
succeeds admin kts-01 audit verify --head "$KT_TMP/head"
has "$KT_TMP/out" 'compared with [1-9][0-9]* signed'
succeeds admin kts-01 audit verify --json
has "$KT_TMP/out" '"ok": true'

# --- failures of the disk ---

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

if [[ $KT_SANITIZED != yes ]]; then
    check "a disk that answers with an error refuses requests, and they go on when it is good again"
    echo eio >"$KT_DISK_FAULT"
    comes_true 5 refused
    comes_true 6 status_says 'Input/output error'
    deposit kts-01 host-1 unrecorded "$KT_TMP/head" # the form is not even looked at
    [[ $http == [45]* ]] || problem "PUT: $http"
    rm "$KT_DISK_FAULT"
    comes_true 5 served
    succeeds admin kts-01 audit export --event audit.resumed
    has "$KT_TMP/out" 'Input/output error'

    check "a disk that became read-only is found while nobody asks for anything"
    echo readonly >"$KT_DISK_FAULT"
    comes_true 6 status_says read-only
    refused || problem "not refused: $http"
    rm "$KT_DISK_FAULT"
    comes_true 5 served
fi
succeeds admin kts-01 audit verify

finish
