#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What a taken-over process of the server could do, and could not.
. "$KT_SOURCE/tests/support/lib.sh"

# As a database role, with its own secret: what one of the processes could send.
as_role() {
    # Read-only is a default of the workers' role that a session may change: the rights must hold.
    PGPASSWORD=$(cat "$dir/.keytrustee/secrets/$1") PGOPTIONS='-c default_transaction_read_only=off' psql -X -h "$dir/run" -p "${NODE_DB_PORT[kts-01]}" \
        -U "$1" -d keytrustee -v ON_ERROR_STOP=1 -At -c "$2"
}

# refused ROLE STATEMENT
refused() {
    run as_role "$1" "$2"
    [[ $status -ne 0 ]] && grep -q 'permission denied\|must be superuser\|must be owner' "$KT_TMP/err" && return
    problem "$1 was not refused: $2 ($(head -n 1 "$KT_TMP/err"))"
}

new_node_with_clients kts-01
dir=${NODE_DIR[kts-01]}
head -c 32 /dev/urandom >"$KT_TMP/key"
succeeds client host-1 put a "$KT_TMP/key"

if [[ $KT_SANITIZED == no ]]; then
    check "a worker's place allows none of what an intruder would try"
    [[ -x $KT_BUILD/tests/worker_probe ]] || problem "worker_probe was not built"
    succeeds "$KT_BUILD/tests/worker_probe" "$dir" "${NODE_DB_PORT[kts-01]}"
    hasnt "$KT_TMP/out" 'POSSIBLE'
    [[ $(grep -c 'refused' "$KT_TMP/out") -ge 15 ]] || problem "too few attempts were made"
fi

if [[ $KT_SANITIZED == no ]]; then
    check "the door's place allows none of it either"
    succeeds "$KT_BUILD/tests/worker_probe" "$dir" "${NODE_DB_PORT[kts-01]}" door
    hasnt "$KT_TMP/out" 'POSSIBLE'
    [[ $(grep -c 'refused' "$KT_TMP/out") -ge 15 ]] || problem "too few attempts were made"
fi

check "workers, door, writer and audit run under a system call filter and cannot gain rights"
doors=0
for child in $(pgrep -P "${NODE_PID[kts-01]}"); do
    name=$(cat "/proc/$child/comm")
    case $name in
    'kts: agent'*) continue ;;
    'kts: door'*) doors=$((doors + 1)) ;;
    esac
    has "/proc/$child/status" '^Seccomp:[[:space:]]+2$'
    has "/proc/$child/status" '^NoNewPrivs:[[:space:]]+1$'
done
is "$doors" 1 "doors"
[[ $(pgrep -P "${NODE_PID[kts-01]}" | wc -l) -ge 5 ]] || problem "not all processes are there"

check "the account itself cannot look into the server's processes: they are not dumpable and leave no core"
for process in "${NODE_PID[kts-01]}" $(pgrep -P "${NODE_PID[kts-01]}"); do
    if [[ $EUID -ne 0 ]] && cat "/proc/$process/maps" >/dev/null 2>&1; then
        problem "$(cat "/proc/$process/comm") can be looked into"
    fi
done
cat "/proc/$$/maps" >/dev/null || problem "the test cannot look into itself"

check "no role of the server is a superuser, or may make roles, databases or replicate"
is "$(sql kts-01 "select count(*) from pg_roles where rolname ~ '^kts_' and (rolsuper or rolcreaterole or rolcreatedb or rolreplication or rolbypassrls)")" 0
is "$(sql kts-01 "select count(*) from pg_roles where rolname ~ '^kts_' and rolcanlogin")" 3 "roles"

check "the workers' role reads what it needs and changes nothing"
succeeds as_role kts_reader 'select count(*) from deposits'
for statement in "update deposits set deleted_at = now()" "delete from deposits" "truncate deposits" \
    "insert into change_log (changed_at, event, by_whom, detail) values (now(), 'x', 'x', '{}')" \
    "select secret_sha256 from auth_codes" "select * from change_log" "create table public.x (i int)" \
    "copy deposits to '/tmp/x'" "select pg_read_file('/etc/passwd')" "alter system set fsync = off" \
    "select pg_reload_conf()" "copy (select 1) to program 'true'" "drop table deposits" \
    "alter table deposits disable trigger all" "insert into releases select * from releases" \
    "update release_requests set state = 'used'" "update release_policies set votes = 0"; do
    refused kts_reader "$statement"
done

check "the writer's role inserts, and can change no body, receipt or history"
for statement in "update deposits set body = 'x'" "update deposits set receipt_signature = 'x'" \
    "update deposits set handle = 'x'" "delete from deposits" "truncate deposits" "delete from change_log" \
    "update change_log set event = 'x'" "update epochs set w = 0" "insert into epochs select * from epochs" \
    "delete from grants" "update grants set client_id = null" "alter system set fsync = off" \
    "copy deposits to '/tmp/x'" "create table public.x (i int)" \
    "update client_certificates set certificate = 'x'" "update clients set organisation_id = null" \
    "update release_policies set votes = 0" "delete from release_policies" "delete from releases" \
    "update releases set released_at = now()" "delete from release_votes" "update release_requests set expires_at = now()"; do
    refused kts_writer "$statement"
done

check "the agent's role sees no body and no auth code's hash"
for statement in "select body from deposits" "select secret_sha256 from auth_codes" "delete from deposits" \
    "insert into clients select * from clients" "select * from deposits"; do
    refused kts_agent "$statement"
done
succeeds as_role kts_agent 'select count(handle) from deposits'

check "a role cannot be used without its secret, nor become another"
for role in kts_reader kts_writer kts_agent; do
    exits some env PGPASSWORD=wrong psql -X -w -h "$dir/run" -p "${NODE_DB_PORT[kts-01]}" -U "$role" \
        -d keytrustee -c 'select 1'
    run as_role "$role" 'set role keytrustee'
    [[ $status -ne 0 ]] || problem "$role becomes the owner"
done

check "a role can neither fill the disk with large objects or WAL, nor keep the next writer out"
for role in kts_reader kts_agent; do
    for call in 'lo_creat(-1)' "lo_from_bytea(0, 'x')" "pg_logical_emit_message(true, 'x', 'x')" \
        'pg_advisory_lock(7308604759847039585)' 'pg_try_advisory_lock_shared(7308604759847039585)'; do
        run as_role "$role" "select $call"
        [[ $status -ne 0 ]] || problem "$role may $call"
    done
done
run as_role kts_writer 'select body from deposits'
[[ $status -ne 0 ]] || problem "kts_writer reads bodies"

check "the secrets are random and stored as SCRAM only"
is "$(sort "$dir"/.keytrustee/secrets/kts_* | uniq | wc -l)" 3 "different secrets"
is "$(sql kts-01 "select count(*) from pg_authid where rolname ~ '^kts_' and rolpassword like 'SCRAM-SHA-256\$%'")" 3

# over_tcp USER DATABASE [WORD...]: psql to PostgreSQL's network address.
over_tcp() {
    run psql -X -w "host=127.0.0.1 port=${NODE_DB_PORT[kts-01]} user=$1 dbname=$2 connect_timeout=5 \
        sslrootcert=$dir/.keytrustee/ca/cert.pem ${*:3}" -c 'select 1'
}

check "over the network PostgreSQL takes a member's node certificate, and nothing else"
tls=$dir/.keytrustee/tls
member=$(sql kts-01 'select member from nodes')
over_tcp "$member" keytrustee sslmode=verify-ca "sslcert=$tls/node-cert.pem" "sslkey=$tls/node-key.pem"
is "$status" 0 "the node's own certificate"
for user in "$member" keytrustee kts_reader kts_writer kts_agent kts_members; do
    for words in sslmode=disable sslmode=require \
        "sslmode=require sslcert=$tls/server-cert.pem sslkey=$tls/server-key.pem"; do
        over_tcp "$user" keytrustee "$words"
        [[ $status -ne 0 ]] || problem "$user comes in with $words"
    done
    [[ $user == "$member" ]] && continue
    over_tcp "$user" keytrustee sslmode=require "sslcert=$tls/node-cert.pem" "sslkey=$tls/node-key.pem"
    [[ $status -ne 0 ]] || problem "$user comes in with the node's certificate"
done
over_tcp "$member" postgres sslmode=require "sslcert=$tls/node-cert.pem" "sslkey=$tls/node-key.pem"
[[ $status -ne 0 ]] || problem "a member comes into another database"

# What a passive connects with; `tell` makes PostgreSQL show another certificate meanwhile.
as_node="host=keytrustee-node hostaddr=127.0.0.1 sslmode=verify-full"
tell() {
    sql kts-01 "$1" >/dev/null
    sql kts-01 "select pg_reload_conf()" >/dev/null
    sleep 1
}
check "with the server's key, which the workers hold, nobody is a node to its passives"
over_tcp "$member" keytrustee "$as_node" "sslcert=$tls/node-cert.pem" "sslkey=$tls/node-key.pem"
is "$status" 0 "the node shows a node's certificate"
tell "alter system set ssl_cert_file = '$tls/server-cert.pem'"
tell "alter system set ssl_key_file = '$tls/server-key.pem'"
over_tcp "$member" keytrustee sslmode=verify-ca "sslcert=$tls/node-cert.pem" "sslkey=$tls/node-key.pem"
is "$status" 0 "it shows the server's, which is of the same CA"
over_tcp "$member" keytrustee "$as_node" "sslcert=$tls/node-cert.pem" "sslkey=$tls/node-key.pem"
[[ $status -ne 0 ]] || problem "a passive takes the server's certificate for a node's"
tell "alter system reset all"

check "a database role's secret is worth nothing over the network"
for role in kts_reader kts_writer kts_agent; do
    run env PGPASSWORD="$(cat "$dir/.keytrustee/secrets/$role")" psql -X -w -h 127.0.0.1 \
        -p "${NODE_DB_PORT[kts-01]}" -U "$role" -d keytrustee -c 'select 1'
    [[ $status -ne 0 ]] || problem "$role comes in with its secret"
done

check "a member reads no table, and no file outside of the data directory"
for statement in 'select count(*) from deposits' 'select count(*) from pg_authid' \
    "select pg_read_binary_file('/etc/passwd')" 'select pg_reload_conf()' 'select pg_promote()'; do
    run psql -X -w "host=127.0.0.1 port=${NODE_DB_PORT[kts-01]} user=$member dbname=keytrustee \
        sslmode=verify-ca sslrootcert=$dir/.keytrustee/ca/cert.pem sslcert=$tls/node-cert.pem \
        sslkey=$tls/node-key.pem" -c "$statement"
    [[ $status -ne 0 ]] || problem "a member may: $statement"
done
is "$(stat -c %a "$dir/run")" 700 "mode of the sockets' folder"

check "no key of the server is readable through its own HTTPS service"
for path in /.keytrustee/ca/key.pem /../../etc/passwd /%2e%2e/%2e%2e/etc/passwd //etc/passwd; do
    request kts-01 host-1 GET "$path"
    [[ $http == 404 || $http == 400 ]] || problem "$path: $http"
done

finish
