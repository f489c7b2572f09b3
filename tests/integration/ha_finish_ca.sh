#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The older CA's key was stolen before it was replaced: until its end the thief gets in where nothing else
# is asked for, from then on nowhere, whatever links he shows and whichever connections he has open.
. "$KT_SOURCE/tests/support/cluster.sh"

new_cluster 2
add_clients kts-01
new_cipher
new_client kts-01 acme late || give_up "register: $(cat "$KT_TMP/late.register.out")"
new_client kts-01 acme lost || give_up "register: $(cat "$KT_TMP/lost.register.out")"
new_auth_code kts-01 acme "$KT_TMP/code.older"
succeeds admin kts-01 operator new olga -o "$KT_TMP/olga"

old=$KT_TMP/old # what was stolen
mkdir -p "$old"
cp "$(ca_of kts-01)" "$old/root.pem"
cp "${NODE_DIR[kts-01]}/.keytrustee/ca/key.pem" "$old/key.pem"
head -c 64 /dev/urandom >"$KT_TMP/first"
succeeds client host-1 put first "$KT_TMP/first"

# forge NAME SUBJECT EXTENSIONS...: of the stolen key, with $serial when it is set.
serial=
forge() {
    local name=$1 subject=$2

    printf '%s\n' "${@:3}" 'keyUsage=critical,digitalSignature' authorityKeyIdentifier=keyid >"$old/$name.ext"
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$old/$name.key" \
        -subj "$subject" -out "$old/$name.csr" 2>/dev/null
    openssl x509 -req -in "$old/$name.csr" -CA "$old/root.pem" -CAkey "$old/key.pem" -days 30 \
        -set_serial "0x${serial:-$(openssl rand -hex 15)}" -extfile "$old/$name.ext" -out "$old/$name.pem" 2>/dev/null ||
        problem "cannot forge $name"
}

# As whom the thief comes: with the links that every server has shown, behind his certificate.
with_links() {
    cat "$old/$1.pem" "$old/links.pem" >"$old/$1.chain"
}

root_of() {
    openssl x509 -in "$1" -outform DER | sha256sum | cut -c 1-64
}

status_by() { # CERTIFICATE KEY URL [CURL'S OPTIONS...]
    curl_node kts-01 -s -o "$KT_TMP/answer" -w '%{http_code}' --cacert "$(ca_of kts-01)" --cert "$1" --key "$2" \
        "${@:4}" "$3"
}

agent_by() { # CERTIFICATE KEY
    curl -s -o "$KT_TMP/answer" -w '%{http_code}' -k --cert "$1" --key "$2" -X POST \
        --connect-to "::${NODE_ADDRESS[kts-01]}:$AGENT_PORT" -H 'Content-Type: application/json' \
        --data '{}' "https://keytrustee-node:$AGENT_PORT/v1/cluster/node.state"
}

# NAME [ROOT]: one statement in the protocol of replication, with that certificate.
replicate() {
    psql -X -w "host=${NODE_ADDRESS[kts-01]} port=${NODE_DB_PORT[kts-01]} user=$member replication=true \
        connect_timeout=5 sslmode=require sslrootcert=${2:-$(ca_of kts-01)} sslcert=$old/$1 sslkey=$old/node.key" \
        -c IDENTIFY_SYSTEM
}

# NAME NODE CERTIFICATE KEY: a session whose handshake is held up until `go_on NAME`.
declare -A stall
begin_session() {
    mkfifo "$KT_TMP/to-$1"
    "$KT_BUILD/tests/stalled_session" "host=${NODE_ADDRESS[$2]} port=${NODE_DB_PORT[$2]} user=$member \
        replication=true sslmode=require sslcert=$3 sslkey=$4" <"$KT_TMP/to-$1" >"$KT_TMP/$1.out" 2>&1 &
    KT_PIDS[$!]=$1
    exec {stall[$1]}>"$KT_TMP/to-$1"
    comes_true 10 grep -q stalled "$KT_TMP/$1.out"
}
go_on() {
    echo >&"${stall[$1]}"
}

# A client that deposits without a pause; how long the slowest took, in ms.
begin_load() {
    rm -f "$KT_TMP"/load.*
    (
        n=0 slowest=0
        until [[ -e $KT_TMP/load.stop ]]; do
            begun=${EPOCHREALTIME/./}
            client host-2 put "load/$1-$((n + 1))" "$KT_TMP/first" >"$KT_TMP/load.out" 2>&1 ||
                echo "deposit $n: $(tr '\n' '~' <"$KT_TMP/load.out")" >>"$KT_TMP/load.failed"
            took=$(((${EPOCHREALTIME/./} - begun) / 1000))
            ((took <= slowest)) || slowest=$took
            n=$((n + 1))
            echo "$n $slowest" >"$KT_TMP/load.done.new"
            mv "$KT_TMP/load.done.new" "$KT_TMP/load.done"
        done
    ) &
    load=$!
    KT_PIDS[$load]="load"
}
has_loaded() {
    [[ $(cut -d ' ' -f 1 "$KT_TMP/load.done" 2>/dev/null || echo 0) -ge $1 ]]
}
end_load() {
    local n slowest one

    read -r n _ <"$KT_TMP/load.done"
    comes_true 20 has_loaded $((n + 2))
    touch "$KT_TMP/load.stop"
    wait "$load"
    unset "KT_PIDS[$load]"
    read -r n slowest <"$KT_TMP/load.done"
    echo "$n deposits, the slowest took $slowest ms"
    [[ ! -s $KT_TMP/load.failed ]] ||
        problem "$(wc -l <"$KT_TMP/load.failed") deposits failed: $(head -n 5 "$KT_TMP/load.failed" | tr '\n' '~')"
    for one in 1 $((n / 2)) "$n"; do succeeds client host-2 get "load/$1-$one" -o "$KT_TMP/got"; done
    is "$(sql kts-01 "select count(*) from deposits where handle like 'load/$1-%'")" "$n" "deposits that were acknowledged"
}

# PORT CERTIFICATE: a false server, on this machine.
false_server() {
    openssl s_server -quiet -accept "127.0.0.1:$1" -cert "$old/server.pem" -key "$old/server.key" \
        ${2:+-cert_chain "$2"} -www >"$KT_TMP/s_server.log" 2>&1 &
    KT_PIDS[$!]="false server"
    wait_until 10 can_connect "$1" || problem "no false server"
}

asks_false_server() { # PORT ROOTS
    curl -s -o /dev/null --cacert "$2" --connect-to "::127.0.0.1:$1" "https://keytrustee:$1/"
}

check "without a CA that was replaced there is none to end"
exits some admin_for 30 kts-01 --yes rotate --ca --finish
has "$KT_TMP/err" 'there is no older CA to end'
exits 2 admin_for 30 kts-01 rotate --finish

check "in a replacement that was killed when it had begun nothing can be ended yet"
exec_on_node kts-01 "$KTADMIN" --confdir "${NODE_DIR[kts-01]}" rotate --ca >"$KT_TMP/killed" 2>&1 &
beginning=$!
KT_PIDS[$beginning]=begin
until [[ -e ${NODE_DIR[kts-01]}/.keytrustee/ca/next-key.pem ]] || ! is_running "$beginning"; do :; done
kill -KILL "$beginning" 2>/dev/null
wait "$beginning"
unset "KT_PIDS[$beginning]"
is_begun() {
    admin_for 10 kts-01 status >"$KT_TMP/status" 2>&1
    grep -q 'a replacement of the CA has begun' "$KT_TMP/status"
}
comes_true 10 is_begun
exits some admin_for 30 kts-01 --yes rotate --ca --finish
has "$KT_TMP/err" 'has begun and not ended'
succeeds admin kts-01 operator new ole -o "$KT_TMP/ole"
new_auth_code kts-01 acme "$KT_TMP/code.begun"

check "nodes and receipt key that hang on the older CA are named, with what to run"
does kts-01 rotate --ca
succeeds admin kts-01 operator new nina -o "$KT_TMP/nina"
cp "$(ca_of kts-01)" "$KT_TMP/both.pem"
exits some admin_for 30 kts-01 --yes rotate --ca --finish
has "$KT_TMP/err" "the certificates of node 'kts-02' are of the older CA"
does kts-02 rotate
comes_true 20 takes_deposits kts-01
exits some admin_for 30 kts-01 --yes rotate --ca --finish
has "$KT_TMP/err" 'hint: run ktadmin rotate --receipt-key first'
does kts-01 rotate --receipt-key

check "clients and operators that would be cut off are counted and named, and --dry-run shows them"
succeeds client host-1 get first -o "$KT_TMP/got"
succeeds client host-2 status
is "$(root_of "$(client_dir host-1)/ca.pem")" "$(root_of "$(ca_of kts-01)")"
exits some admin_for 30 kts-01 --yes rotate --ca --finish
has "$KT_TMP/err" '2 operators have certificates of the older CA only: ole, olga$'
succeeds admin kts-01 --yes operator revoke olga
succeeds admin kts-01 --yes operator revoke ole
exits some admin_for 30 kts-01 --yes rotate --ca --finish
has "$KT_TMP/err" '2 clients have certificates of the older CA only: acme/l'
has "$KT_TMP/err" 'hint: each renews by itself .*--force'
does kts-01 rotate --ca --finish --dry-run
has "$KT_TMP/out" '2 clients have certificates of the older CA only: acme/l.*, acme/l'
has "$KT_TMP/out" '2 unused auth codes name the older CA'
has "$KT_TMP/out" '1 receipt keys are certified anew'
succeeds admin_for 30 kts-01 --json rotate --ca --finish --dry-run
is "$(jq -c '[.dry_run, .ended, .clients.count]' "$KT_TMP/out")" '[true,false,2]'
exits some admin_for 30 kts-01 rotate --ca --finish --force </dev/null
has "$KT_TMP/err" 'not confirmed'
same "$KT_TMP/both.pem" "$(ca_of kts-01)"

check "before the end the thief is let in: to PostgreSQL, to a client, and to an answer of the agent"
member=$(member_of kts-02)
# without the two roots: at one that is not trusted OpenSSL would look no further
awk '/BEGIN/ { n++ } n > 2' "$KT_TMP/both.pem" >"$old/links.pem"
serial=$(openssl x509 -in "${NODE_DIR[kts-02]}/.keytrustee/tls/node-cert.pem" -noout -serial | cut -d = -f 2)
forge node "/OU=keytrustee node/CN=$member" \
    "subjectAltName=DNS:keytrustee,DNS:keytrustee-node,DNS:$member" extendedKeyUsage=serverAuth,clientAuth
serial=
forge server "/OU=keytrustee server/CN=kts-01" subjectAltName=DNS:keytrustee extendedKeyUsage=serverAuth
forge client "/O=acme/OU=keytrustee client/CN=$(new_uuid)" extendedKeyUsage=clientAuth
for name in node client; do with_links "$name"; done
chmod 600 "$old"/*.key
succeeds replicate node.pem
succeeds replicate node.chain
free_port && alone=$port
free_port && linked=$port
false_server "$alone"
false_server "$linked" "$old/links.pem"
succeeds asks_false_server "$alone" "$(client_dir host-1)/ca.pem"
succeeds asks_false_server "$linked" "$(client_dir host-1)/ca.pem"
is "$(agent_by "$old/node.pem" "$old/node.key")" 403 "a forged node, which is not listed"
is "$(status_by "$old/client.pem" "$old/client.key" "$(url_of kts-01)/v1/clients/self")" 401 "a forged client"
has "$KT_TMP/answer" '"certificate_unknown"'
late=$(client_dir late)
is "$(status_by "$late/client-cert.pem" "$late/client-key.pem" "$(url_of kts-01)/v1/clients/self")" 200 "a client of before"

# What is open at the end: replication, a client's connection that is used again, and its session.
mkfifo "$KT_TMP/to-psql" "$KT_TMP/to-tls"
psql -X -w "host=${NODE_ADDRESS[kts-01]} port=${NODE_DB_PORT[kts-01]} user=$member replication=true \
    sslmode=require sslcert=$old/node.pem sslkey=$old/node.key" <"$KT_TMP/to-psql" >"$KT_TMP/psql.out" 2>&1 &
KT_PIDS[$!]=psql
exec 8>"$KT_TMP/to-psql"
by_session() {
    openssl s_client -quiet -ign_eof -connect "${NODE_ADDRESS[kts-01]}:${NODE_PORT[kts-01]}" \
        -cert "$late/client-cert.pem" -key "$late/client-key.pem" "$@"
}
by_session <"$KT_TMP/to-tls" >"$KT_TMP/tls.out" 2>/dev/null &
KT_PIDS[$!]="s_client"
exec 9>"$KT_TMP/to-tls"
asks() { printf 'GET /v1/clients/self HTTP/1.1\r\nHost: keytrustee\r\n%s\r\n' "$1"; }
asks "" >&9
asks $'Connection: close\r\n' | by_session -sess_out "$KT_TMP/session" >"$KT_TMP/resumed" 2>&1
has "$KT_TMP/resumed" '200 OK'
echo 'IDENTIFY_SYSTEM;' >&8
is_open() { grep -q 'HTTP/1.1 200' "$KT_TMP/tls.out" && grep -q systemid "$KT_TMP/psql.out"; }
comes_true 10 is_open
asks $'Connection: close\r\n' | by_session -sess_in "$KT_TMP/session" >"$KT_TMP/resumed" 2>&1
has "$KT_TMP/resumed" '200 OK'

# A server process that was there before, and has been told nothing yet; its patience is stretched.
sql kts-01 "alter system set authentication_timeout = '60s'" >/dev/null
sql kts-01 'select pg_reload_conf()' >/dev/null
is_patient() { [[ $(sql kts-01 'show authentication_timeout') == 1min ]]; }
comes_true 10 is_patient
begin_session stalled kts-01 "$old/node.pem" "$old/node.key"

begin_load before
comes_true 20 has_loaded 1

check "a run that is killed as soon as the root has ended is finished by the next"
receipt_certificate() { sql "$1" "select string_agg(md5(certificate), ' ' order by created_at) from receipt_keys"; }
certificates=$(receipt_certificate kts-01)
ends=$(stat -c %i "$(ca_of kts-01)")
exec_on_node kts-01 "$KTADMIN" --confdir "${NODE_DIR[kts-01]}" --yes rotate --ca --finish --force \
    >"$KT_TMP/killed" 2>&1 &
ending=$!
KT_PIDS[$ending]=finish
until [[ $(stat -c %i "$(ca_of kts-01)") != "$ends" ]] || ! is_running "$ending"; do :; done
kill -KILL "$ending" 2>/dev/null
wait "$ending"
unset "KT_PIDS[$ending]"
does kts-01 --yes rotate --ca --finish --force
has "$KT_TMP/out" '[1-9][0-9]* sessions of before were ended in PostgreSQL'
for node in kts-01 kts-02; do
    is "$(openssl storeutl -noout -text -certs "$(ca_of "$node")" | grep -c 'Issuer: .*keytrustee CA')" 3 \
        "root, link and end at $node"
    openssl verify -CAfile "$(ca_of "$node")" -untrusted "$old/links.pem" "$old/root.pem" >/dev/null 2>&1 &&
        problem "$node trusts the older root"
done
same "$(ca_of kts-01)" "$(ca_of kts-02)"
[[ $(receipt_certificate kts-01) != "$certificates" ]] || problem "the receipt keys are not certified anew"
run admin_for 10 kts-01 status
hasnt "$KT_TMP/out" 'older CA'
comes_true 20 takes_deposits kts-01

check "replication by the stolen key is refused, and what was open has been ended"
for name in node.pem node.chain; do
    exits some replicate "$name"
    has "$KT_TMP/err" 'unknown ca|certificate'
done
echo 'IDENTIFY_SYSTEM;' >&8
was_ended() { grep -qiE 'terminat|closed the connection' "$KT_TMP/psql.out"; }
comes_true 10 was_ended

check "a handshake that was held up over the end is let in by PostgreSQL, and ended"
go_on stalled
comes_true 10 grep -q '^in' "$KT_TMP/stalled.out"
comes_true 20 grep -q '^ended' "$KT_TMP/stalled.out"

check "deposits have gone on, none failed, and none that was acknowledged is missing"
end_load before
comes_true 20 takes_deposits kts-01

check "a client's certificate of the older root is refused: anew, resumed, and on a connection of before"
asks "" >&9
was_refused() { grep -q certificate_unknown_ca "$KT_TMP/tls.out"; }
comes_true 10 was_refused
is "$(grep -c 'HTTP/1.1 200' "$KT_TMP/tls.out")" 1 "answers"
for session in "" "-sess_in $KT_TMP/session"; do
    # shellcheck disable=SC2086
    asks $'Connection: close\r\n' | by_session $session >"$KT_TMP/resumed" 2>&1
    has "$KT_TMP/resumed" certificate_unknown_ca
done
is "$(status_by "$old/client.chain" "$old/client.key" "$(url_of kts-01)/v1/clients/self")" 401 "a forged client"
has "$KT_TMP/answer" certificate_unknown_ca

check "a node's certificate by the stolen key is of an unknown CA to the agent, with all links"
for name in node.pem node.chain; do
    is "$(agent_by "$old/$name" "$old/node.key")" 401 "$name"
    has "$KT_TMP/answer" certificate_unknown_ca
done

check "a client drops the root at its next answer, and a false server then shows it its links for nothing"
succeeds asks_false_server "$linked" "$(client_dir host-1)/ca.pem" # so that the next lines mean something
succeeds client host-1 get first -o "$KT_TMP/got"
for port in "$alone" "$linked"; do
    exits 60 asks_false_server "$port" "$(client_dir host-1)/ca.pem"
    exits 60 asks_false_server "$port" "$(ca_of kts-01)"
done
succeeds client host-1 put second "$KT_TMP/first"

check "receipts of before are verified, by clients of before and by who registers now"
succeeds client host-1 get first -o "$KT_TMP/got"
same "$KT_TMP/first" "$KT_TMP/got"
succeeds client host-1 info first
new_client kts-01 acme newcomer || problem "register: $(cat "$KT_TMP/newcomer.register.out")"
succeeds admin kts-01 --yes grant acme browse,retrieve --client newcomer --prefix first
succeeds client newcomer info first

check "an auth code of before is refused, and a client that was cut off comes back by a new one"
exits some client other register --server "${NODE_ADDRESS[kts-01]}:${NODE_PORT[kts-01]}" \
    --auth-code-file "$KT_TMP/code.older" --name other
exits some client late status
new_auth_code kts-01 acme "$KT_TMP/code.again"
succeeds client late register --server "${NODE_ADDRESS[kts-01]}:${NODE_PORT[kts-01]}" \
    --auth-code-file "$KT_TMP/code.again" --name late
succeeds client late status

check "a further CA can be made at once, and ended; a node that hears of it from another ends its sessions too"
does kts-01 rotate --ca
succeeds client host-1 status
does kts-02 rotate
does kts-01 rotate --receipt-key
cp "${NODE_DIR[kts-02]}"/.keytrustee/tls/node-{cert,key}.pem "$KT_TMP/"
begin_session open kts-02 "$KT_TMP/node-cert.pem" "$KT_TMP/node-key.pem"
go_on open
comes_true 10 grep -q '^in' "$KT_TMP/open.out"
begin_load further
comes_true 20 has_loaded 1
does kts-01 --yes rotate --ca --finish --force --without kts-02
comes_true 30 grep -q '^ended' "$KT_TMP/open.out"
comes_true 10 cmp -s "$(ca_of kts-01)" "$(ca_of kts-02)"
end_load further
succeeds client host-1 get first -o "$KT_TMP/got"
same "$KT_TMP/first" "$KT_TMP/got"
exits some replicate node.chain
succeeds admin_for 60 kts-01 audit verify

finish
