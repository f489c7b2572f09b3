# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# shellcheck disable=SC2317 # called through the table
# PostgreSQL's port for nodes, and its roles in the hands of a taken-over process of the server.
attacker database load 'whoever reaches PostgreSQL, or has taken over a process with a role there'

USERS_OF_IT=(keytrustee postgres kts_reader kts_writer kts_agent kts_members)

prepare_database() {
    TLS_OF_1=${NODE_DIR[kts-01]}/.keytrustee/tls
    MEMBER=$(member_of kts-01)
}
with_pair() {
    echo "sslcert=$1-cert.pem sslkey=$1-key.pem"
}
control member-comes-in done 'a member connects with its node certificate' member_comes_in
member_comes_in() {
    observe_success psql -X -w "host=${NODE_ADDRESS[kts-01]} port=${NODE_DB_PORT[kts-01]} user=$MEMBER dbname=keytrustee \
        sslmode=verify-ca sslrootcert=$(ca_of kts-01) $(with_pair "$TLS_OF_1/node")" -c 'select 1'
}
db_no_certificate() {
    local user words

    for user in "$MEMBER" keytrustee kts_reader kts_writer; do
        for words in sslmode=disable sslmode=require; do
            over_tcp "$user" keytrustee 'select 1' $words
        done
    done
}
attempt db-no-certificate refused 'every user, without a certificate, with and without TLS' db_no_certificate
db_other_certificates() {
    local user pair

    certificate db-copied other "/OU=keytrustee node/CN=$MEMBER"
    for pair in "$(client_prefix peer)" "$TLS_OF_1/server" "$PKI/db-copied"; do
        chmod 0600 "$pair-key.pem"
        for user in "$MEMBER" keytrustee kts_writer; do
            # shellcheck disable=SC2046 # two words
            over_tcp "$user" keytrustee 'select 1' sslmode=require $(with_pair "$pair")
        done
    done
}
attempt db-other-certificates refused 'a client'"'"'s, the server'"'"'s and another CA'"'"'s certificate' db_other_certificates
db_as_somebody_else() {
    local user

    for user in "${USERS_OF_IT[@]}" "$(member_of kts-02)"; do
        # shellcheck disable=SC2046 # two words
        over_tcp "$user" keytrustee 'select 1' sslmode=require $(with_pair "$TLS_OF_1/node")
    done
}
attempt db-as-somebody-else refused 'a member'"'"'s certificate for the owner, for roles and other members' db_as_somebody_else
db_removed() {
    # shellcheck disable=SC2046 # two words
    over_tcp "$REMOVED_MEMBER" keytrustee 'select 1' sslmode=require $(with_pair "$KT_TMP/removed/node")
    observe_failure timeout 20 psql -X -w "host=${NODE_ADDRESS[kts-01]} port=${NODE_DB_PORT[kts-01]} user=$REMOVED_MEMBER \
        replication=true connect_timeout=5 sslmode=require $(with_pair "$KT_TMP/removed/node")" -c 'IDENTIFY_SYSTEM'
}
attempt_at_leisure db-removed-node refused 'the role of a node that was removed, with its certificate, also for replication' db_removed
db_passwords() {
    local user word

    for user in keytrustee kts_reader kts_writer; do
        for word in keytrustee password "$(cat "${NODE_DIR[kts-01]}/.keytrustee/secrets/kts_writer")" \
            "$(cat "${NODE_DIR[kts-01]}/.keytrustee/secrets/kts_reader")"; do
            PGPASSWORD=$word over_tcp "$user" keytrustee 'select 1' sslmode=require
        done
    done
}
attempt_at_leisure db-passwords refused 'passwords over the network, also the roles'"'"' real secrets' db_passwords
db_member_reads() {
    local statement

    for statement in 'select count(*) from deposits' 'select * from pg_authid' "select pg_read_binary_file('/etc/passwd')" \
        "select pg_read_file('/etc/passwd')" "copy (select 1) to program 'true'" 'create table public.x (i int)' \
        'select pg_promote()' "alter system set fsync = off" 'set role kts_writer' "select lo_import('/etc/passwd')"; do
        # shellcheck disable=SC2046 # two words
        over_tcp "$MEMBER" keytrustee "$statement" sslmode=require $(with_pair "$TLS_OF_1/node")
        [[ ${observed[-1]} == refused ]] || observed[-1]+=" ($statement)"
    done
    # shellcheck disable=SC2046 # two words
    over_tcp "$MEMBER" postgres 'select 1' sslmode=require $(with_pair "$TLS_OF_1/node")
}
attempt db-member-reads refused 'a member that reads tables, files of the machine, other databases, or runs programs' db_member_reads

# --- as each of the server's processes ---

control roles-work done 'each role does its work with its secret' roles_work
roles_work() {
    observe_success as_role kts_reader 'select count(body) from deposits'
    observe_success as_role kts_writer 'select count(handle) from deposits'
    observe_success as_role kts_agent 'select count(handle) from deposits'
}
attempt role-becomes-superuser refused 'becoming the owner, a superuser, or another role' roles_refused \
    'set role keytrustee' 'set session authorization keytrustee' 'alter role current_user superuser' 'create role x superuser login' \
    'grant keytrustee to current_user' "alter role keytrustee password 'x'" 'reassign owned by keytrustee to current_user'
attempt role-changes-bodies refused 'changing or removing stored bodies, receipts, history' roles_refused \
    "update deposits set body = 'x'" "update deposits set sha256 = '\\x00'" "update deposits set receipt_signature = 'x'" \
    "update deposits set handle = 'x'" 'delete from deposits' 'truncate deposits' "update change_log set event = 'x'" \
    'delete from change_log' 'update epochs set w = 0' 'drop table deposits'
attempt role-lifts-the-guards refused 'switching the guards of the database off' roles_refused \
    "set session_replication_role = 'replica'" 'alter table deposits disable trigger all' 'drop trigger deposits_guard on deposits' \
    'alter table deposits owner to current_user' 'alter system set fsync = off' 'select pg_reload_conf()' \
    'alter table deposits drop column body'
attempt role-makes-code refused 'making functions, tables, extensions, triggers' roles_refused \
    "create function public.f() returns int language sql as 'select 1'" \
    "create function public.f() returns int language c as '/tmp/x.so', 'f'" 'create table public.t (i int)' \
    'create extension file_fdw' 'create schema x' 'alter function kt_now() owner to current_user'
attempt role-runs-programs refused 'programs and files through COPY and functions' roles_refused \
    "copy (select 1) to program 'true'" "copy deposits to '/tmp/x'" "copy deposits from program 'true'" \
    "select pg_read_file('/etc/passwd')" "select pg_read_binary_file('/etc/passwd')" "select pg_ls_dir('/')" \
    "select lo_import('/etc/passwd')" "select lo_export(1, '/tmp/x')" "select pg_terminate_backend(pg_backend_pid()) from pg_read_file('x')"
role_reads_secrets() {
    statements_refused kts_reader 'select secret_sha256 from auth_codes' 'select rolpassword from pg_authid'
    statements_refused kts_writer 'select body from deposits' 'select rolpassword from pg_authid'
    statements_refused kts_agent 'select secret_sha256 from auth_codes' 'select body from deposits' 'select rolpassword from pg_authid'
}
attempt role-reads-secrets refused 'hashes of auth codes as worker and agent, bodies as writer and agent, passwords' role_reads_secrets
reader_writes() {
    statements_refused kts_reader 'insert into grants select * from grants' "update clients set state = 'active'" 'delete from grants' \
        'update auth_codes set uses = 0' 'select * from change_log' 'do $$ begin lock table deposits; end $$' 'create temp table t (i int)' \
        'select pg_advisory_lock(7308604759847039585)' "select pg_logical_emit_message(true, 'x', 'x')" \
        'select lo_creat(-1)' 'insert into deposits select * from deposits'
}
attempt worker-writes refused 'a worker'"'"'s role that writes anything' reader_writes
probe() {
    if [[ ${KT_SANITIZED:-no} == yes ]]; then
        cannot_try 'the filter is wider with sanitizers'
        return
    fi
    run "$KT_BUILD/tests/worker_probe" "${NODE_DIR[kts-01]}" "${NODE_DB_PORT[kts-01]}"
    observe "$([[ $status -eq 0 ]] && ! grep -q POSSIBLE "$KT_TMP/out" && [[ $(grep -c refused "$KT_TMP/out") -ge 15 ]] && echo refused || head -c 400 "$KT_TMP/out")"
}
attempt worker-place refused 'what an intruder in a worker'"'"'s place would try: keys, sockets, programs, other processes' probe
