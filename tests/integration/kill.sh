#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Processes and database are killed while clients work: nothing acknowledged is lost (P1), and
# nothing leaves the node without an audit record (P6).
. "$KT_SOURCE/tests/support/lib.sh"

# process_of NAME: sets $pid to the child of the server with that title ("writer", "worker").
process_of() {
    local child

    for child in $(pgrep -P "${NODE_PID[kts-01]}"); do
        [[ $(cat "/proc/$child/comm" 2>/dev/null) == "kts: $1"* ]] && is_running "$child" &&
            pid=$child && return
    done
    return 1
}

replaced() {
    process_of "$1" && [[ $pid != "$2" ]]
}

# Deposits under new handles until told to stop; notes each that was acknowledged with its receipt.
# Any other answer is fine: the client would ask again. One file of the client's ciphertext serves all.
depositor() {
    local i id code

    for ((i = 1; ; i++)); do
        [[ -e $KT_TMP/stop.$1 ]] && break
        id=$(new_uuid)
        code=$(curl -s --max-time 20 --cacert "$(ca_of kts-01)" -o "$KT_TMP/answer.$1" -w '%{http_code}' \
            --cert "$(client_dir host-1)/client-cert.pem" --key "$(client_dir host-1)/client-key.pem" \
            -X PUT --data-binary "@$KT_TMP/cipher" -H 'Expect:' -H "KT-Deposit-Id: $id" \
            -H 'Content-Type: application/pgp-encrypted' \
            -H "KT-SHA256: $(sha256sum "$KT_TMP/cipher" | cut -c 1-64)" \
            "$(url_of kts-01)/v1/deposits/load-$1-$i")
        echo "$code" >>"$KT_TMP/codes.$1"
        [[ $code == 20[01] ]] && echo "load-$1-$i $id" >>"$KT_TMP/acknowledged.$1"
    done
}

load_pids=()
start_load() {
    local n

    rm -f "$KT_TMP"/stop.*
    load_pids=()
    for n in 1 2 3; do
        depositor "$n" &
        load_pids+=("$!")
        KT_PIDS[$!]="depositor $n"
    done
}

stop_load() {
    local n

    for n in 1 2 3; do
        : >"$KT_TMP/stop.$n"
    done
    for n in "${load_pids[@]}"; do
        wait "$n"
        unset "KT_PIDS[$n]"
    done
}

acknowledged_count() {
    cat "$KT_TMP"/acknowledged.* 2>/dev/null | wc -l
}

# Work goes on: more deposits are acknowledged than before.
goes_on() {
    [[ $(acknowledged_count) -gt $1 ]]
}

# Every acknowledged deposit is a row with its body.
nothing_lost() {
    local lost

    cat "$KT_TMP"/acknowledged.* | sort >"$KT_TMP/acknowledged"
    sql kts-01 "select handle || ' ' || deposit_id from deposits where body is not null" |
        sort >"$KT_TMP/stored" || problem "the database cannot be asked"
    lost=$(comm -23 "$KT_TMP/acknowledged" "$KT_TMP/stored" | wc -l)
    is "$lost" 0 "acknowledged deposits that are lost"
}

no_gaps() {
    is "$(sql kts-01 'select max(log_index) - count(*) from deposits')" 0 "gaps in the log index"
    is "$(sql kts-01 'select count(*) from pg_prepared_xacts')" 0 "prepared transactions left over"
}

new_node_with_clients kts-01
dir=${NODE_DIR[kts-01]}
head -c 32 /dev/urandom >"$KT_TMP/key"
encrypt_to host-1 "$KT_TMP/key" "$KT_TMP/cipher" || give_up "gpg"
succeeds client host-1 put before "$KT_TMP/key"

check "deposits are acknowledged while nothing happens"
start_load
comes_true 20 goes_on 20

for name in writer audit agent worker; do
    check "kill -9 of the $name while deposits are made: it is replaced, and work goes on"
    for round in 1 2 3; do
        process_of "$name" || { problem "no process '$name'"; break; }
        old=$pid
        kill -KILL "$old"
        comes_true 20 replaced "$name" "$old"
        count=$(acknowledged_count)
        comes_true 30 goes_on "$((count + 5))"
    done
    [[ -d /proc/${NODE_PID[kts-01]} ]] || give_up "the master has ended"
done

check "a database backend that is killed makes PostgreSQL restart; work goes on by itself"
for role in kts_writer kts_reader; do
    backend=$(sql kts-01 "select pid from pg_stat_activity where usename = '$role' limit 1")
    [[ -n $backend ]] || { problem "no session of $role"; continue; }
    kill -KILL "$backend"
    gone() { ! [[ -d /proc/$backend ]]; }
    comes_true 10 gone
    comes_true 60 ready kts-01
    count=$(acknowledged_count)
    comes_true 60 goes_on "$((count + 5))"
done

check "sessions of the writer that are ended from outside do not stop the work"
for round in 1 2 3; do
    sql kts-01 "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'kts_writer'" \
        >/dev/null
    count=$(acknowledged_count)
    comes_true 60 goes_on "$((count + 5))"
done

check "everything acknowledged so far is there, without gaps"
stop_load
comes_true 30 ready kts-01
nothing_lost
no_gaps
[[ $(acknowledged_count) -ge 100 ]] || problem "only $(acknowledged_count) deposits were made"

check "without the database, reads and changes are refused at once with 503, and health says so"
start_load
count=$(acknowledged_count)
comes_true 20 goes_on "$count"
succeeds admin kts-01 db --stop
not_ready() { ! ready kts-01; }
comes_true 10 not_ready
begun=$SECONDS
request kts-01 host-1 GET /v1/deposits/before
[[ $http == 503 ]] || problem "GET: $http"
deposit kts-01 host-1 without "$KT_TMP/cipher"
[[ $http == 503 ]] || problem "PUT: $http"
[[ $((SECONDS - begun)) -le 10 ]] || problem "it took $((SECONDS - begun)) s"
request kts-01 none GET /v1/health
is "$http" 200 "status of /v1/health"

check "when the database is back, work goes on without a restart of the server"
comes_true 20 start_database kts-01
comes_true 30 ready kts-01
count=$(acknowledged_count)
comes_true 30 goes_on "$((count + 5))"

check "an immediate stop of PostgreSQL (as by a power failure) loses nothing acknowledged"
postmaster_of kts-01 && kill -QUIT "$pid"
stopped() { ! postmaster_of kts-01; }
comes_true 20 stopped
comes_true 20 start_database kts-01
comes_true 60 ready kts-01
count=$(acknowledged_count)
comes_true 30 goes_on "$((count + 5))"
stop_load
nothing_lost
no_gaps

check "kill -9 of the whole server while deposits are made loses nothing acknowledged"
start_load
count=$(acknowledged_count)
comes_true 20 goes_on "$((count + 5))"
mapfile -t children < <(pgrep -P "${NODE_PID[kts-01]}")
kill -KILL "${NODE_PID[kts-01]}"
wait "${NODE_PID[kts-01]}" 2>/dev/null
unset "KT_PIDS[${NODE_PID[kts-01]}]"
stop_load
for pid in "${children[@]}"; do
    wait_until 10 is_gone "$pid" || problem "process $pid outlived its master"
done
start_server kts-01
comes_true 30 ready kts-01
nothing_lost
no_gaps

# --- P6 ---

check "while the audit process is held, no deposit leaves the node; afterwards they do"
process_of audit || give_up "no audit process"
audit=$pid
kill -STOP "$audit"
http=000
curl -s --max-time 3 --cacert "$(ca_of kts-01)" -o "$KT_TMP/held" -w '%{http_code}' \
    --cert "$(client_dir host-1)/client-cert.pem" --key "$(client_dir host-1)/client-key.pem" \
    "$(url_of kts-01)/v1/deposits/before" >"$KT_TMP/held.code"
[[ $(cat "$KT_TMP/held.code") != 200 ]] || problem "answered without an audit record"
[[ ! -s $KT_TMP/held ]] || grep -q audit "$KT_TMP/held" || problem "bytes left the node"
exits some client host-1 --timeout 2 put unrecorded "$KT_TMP/key"
is "$(sql kts-01 "select count(*) from deposits where handle = 'unrecorded'")" 0 "deposits without a record"
kill -CONT "$audit"
served() { request kts-01 host-1 GET /v1/deposits/before && [[ $http == 200 ]]; }
comes_true 20 served

# Fetches until told to stop; notes the request id of each answer with a body.
fetcher() {
    local code

    while [[ ! -e $KT_TMP/stop.fetch ]]; do
        code=$(curl -s --max-time 20 --cacert "$(ca_of kts-01)" -o /dev/null -D "$KT_TMP/fetched.header" \
            -w '%{http_code}' --cert "$(client_dir host-1)/client-cert.pem" \
            --key "$(client_dir host-1)/client-key.pem" "$(url_of kts-01)/v1/deposits/before")
        [[ $code == 200 ]] && tr -d '\r' <"$KT_TMP/fetched.header" |
            sed -n 's/^[Kk][Tt]-[Rr]equest-[Ii][Dd]: //p' >>"$KT_TMP/fetched"
        echo "$code" >>"$KT_TMP/fetched.codes"
    done
}

check "every deposit fetched while the audit process was killed again and again has its record"
: >"$KT_TMP/fetched"
fetcher &
fetcher_pid=$!
KT_PIDS[$fetcher_pid]=fetcher
fetched_more() { [[ $(wc -l <"$KT_TMP/fetched") -gt $1 ]]; }
for round in 1 2 3 4 5 6; do
    process_of audit || { problem "no audit process"; break; }
    old=$pid
    kill -KILL "$old"
    comes_true 20 replaced audit "$old"
    count=$(wc -l <"$KT_TMP/fetched")
    comes_true 30 fetched_more "$((count + 3))"
done
: >"$KT_TMP/stop.fetch"
wait "$fetcher_pid"
unset "KT_PIDS[$fetcher_pid]"
is "$(grep -c . "$KT_TMP/fetched")" "$(grep -c '^200$' "$KT_TMP/fetched.codes")" "request ids noted"
while read -r id; do
    grep -rqF "$id" "$dir/audit" || problem "no audit record of request $id"
done <"$KT_TMP/fetched"

check "the audit log verifies after all the kills"
succeeds admin kts-01 audit verify

check "a changed and a removed audit record are found"
file=$(find "$dir/audit" -type f -size +0 -exec grep -l '^kta1 ' {} + | sort | head -n 1)
cp "$file" "$KT_TMP/audit.good"
stop_server kts-01
sed -i '5s/before/befoer/; 5s/load-/laod-/; 5s/acme/amce/; 5s/kts-01/kts-10/' "$file"
exits 7 admin kts-01 audit verify
cp "$KT_TMP/audit.good" "$file"
sed -i 6d "$file"
exits 7 admin kts-01 audit verify
cp "$KT_TMP/audit.good" "$file"
succeeds admin kts-01 audit verify

check "every deposit in the database has its audit record"
start_node kts-01
sql kts-01 'select deposit_id from deposits order by 1' >"$KT_TMP/deposits"
cat "$dir"/audit/audit-*.log | sed -n 's/.*"deposit":"\([0-9a-f-]*\)","event":"deposit.put".*"result":"allowed".*/\1/p' |
    sort -u >"$KT_TMP/recorded"
is "$(comm -23 "$KT_TMP/deposits" "$KT_TMP/recorded" | wc -l)" 0 "deposits without a record"
[[ $(wc -l <"$KT_TMP/deposits") -gt 10 ]] || problem "too few deposits to say so"
stop_server kts-01

check "everything the client ever deposited is fetched, and opens"
set_setting kts-01 timeouts read 1s
start_server kts-01
comes_true 30 ready kts-01
succeeds client host-1 get before -o "$KT_TMP/got"
same "$KT_TMP/key" "$KT_TMP/got"
nothing_lost

check "a database that hangs is given up: reads are refused at once, and go on when it answers again"
postmaster_of kts-01 || give_up "no PostgreSQL"
mapfile -t hung < <(echo "$pid"; pgrep -P "$pid")
kill -STOP "${hung[@]}"
given_up() { request kts-01 host-1 GET /v1/deposits/before && [[ $(error_code) == database_unavailable ]]; }
comes_true 20 given_up
kill -CONT "${hung[@]}"
comes_true 30 ready kts-01
comes_true 20 served
nothing_lost

finish
