#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The main job on one node, and that stock tools see what the documentation says.
. "$KT_SOURCE/tests/support/lib.sh"

key=$KT_TMP/key got=$KT_TMP/got

check "a node is initialised with one command"
new_node kts-01 || give_up "init: $(cat "$KT_TMP/kts-01.init.out")"
has "$KT_TMP/kts-01.init.out" '^Initialized directory for 4096R/[0-9A-F]{40}$'
dir=${NODE_DIR[kts-01]}
fingerprint=$(sed -n 's/^Initialized directory for //p' "$KT_TMP/kts-01.init.out")

check "init run again finds everything done and keeps the identity"
succeeds admin kts-01 init --node kts-01 --port "${NODE_PORT[kts-01]}" \
    --database-port "${NODE_DB_PORT[kts-01]}"
has "$KT_TMP/out" "^Initialized directory for $fingerprint\$"
hasnt "$KT_TMP/err" '\.\.\. done'

check "nobody else can enter the node's folders or read its keys"
is "$(find "$dir" -type d -perm /077 | head -n 5)" "" "folders that others can enter"
is "$(find "$dir" -type f -perm /077 -exec grep -l 'PRIVATE KEY' {} + | head -n 5)" "" "open keys"
is "$(find "$dir/.keytrustee/secrets" -type f -perm /077)" "" "open secrets"

check "the server starts without a database and says that it is not ready"
start_server kts-01
health_answers() {
    request kts-01 none GET /v1/health/ready
    [[ $http == "$1" ]]
}
comes_true 20 health_answers 503

check "the database is started through ktadmin, and the node becomes ready"
comes_true 20 start_database kts-01
comes_true 20 ready kts-01
succeeds admin kts-01 db --status
request kts-01 none GET /v1/health
answers 200
has "$KT_TMP/body" '"standalone"'

check "the fingerprint is answered as operators of the old server probe it"
request kts-01 none GET '/?a=fingerprint'
answers 200
is "$(cat "$KT_TMP/body")" "$fingerprint" "fingerprint"

check "an organisation and auth codes are made"
succeeds admin kts-01 org add acme
succeeds admin kts-01 org list
has "$KT_TMP/out" 'acme'
succeeds admin kts-01 authcode new acme --uses 1 --expires 1h
is "$(wc -l <"$KT_TMP/out")" 1 "lines on stdout"
has "$KT_TMP/out" '^[a-z2-7]{8}-[a-z2-7]{32}-[a-z2-7]{52}$'

check "two clients register, each with its own keys"
new_client kts-01 acme host-1 || problem "$(cat "$KT_TMP/host-1.register.out")"
new_client kts-01 acme host-2 || problem "$(cat "$KT_TMP/host-2.register.out")"
succeeds admin kts-01 client list
has "$KT_TMP/out" 'host-1'
has "$KT_TMP/out" 'host-2'
for file in client-key.pem gnupg; do
    is "$(stat -c %A "$(client_dir host-1)/$file" | cut -c 5-)" "------" "mode of $file"
done

check "status shows the client who it is"
succeeds client host-1 status
has "$KT_TMP/out" 'host-1'
has "$KT_TMP/out" 'acme'

check "a client fetches exactly the bytes that it put"
head -c 4096 /dev/urandom >"$key"
succeeds client host-1 put db/master "$key"
succeeds client host-1 get db/master -o "$got"
same "$key" "$got"
client host-1 get db/master >"$got" 2>"$KT_TMP/err" || problem "get to stdout: $(cat "$KT_TMP/err")"
same "$key" "$got"

check "a secret can come from standard input, with any bytes"
for bytes in '\0' 'a\n\n' '\r\n'; do
    # shellcheck disable=SC2059 # the escapes are meant
    printf "$bytes" >"$key.small"
    client host-1 put small - <"$key.small" >"$KT_TMP/out" 2>"$KT_TMP/err" ||
        problem "put: $(cat "$KT_TMP/err")"
    client host-1 get small >"$got" 2>"$KT_TMP/err" || problem "get: $(cat "$KT_TMP/err")"
    same "$key.small" "$got"
done

check "a second put makes a second version and keeps the first"
head -c 32 /dev/urandom >"$key.2"
succeeds client host-1 put db/master "$key.2"
succeeds client host-1 get db/master -o "$got"
same "$key.2" "$got"
succeeds client host-1 get db/master --version 1 -o "$got"
same "$key" "$got"

check "list shows the client's handles, and those under a prefix"
succeeds client host-1 put web/tls "$key.2"
succeeds client host-1 list
has "$KT_TMP/out" '^db/master +2 '
has "$KT_TMP/out" '^web/tls +1 '
succeeds client host-1 list web/
has "$KT_TMP/out" '^web/tls '
hasnt "$KT_TMP/out" 'db/master'

check "info shows a deposit without fetching it"
succeeds client host-1 info db/master
has "$KT_TMP/out" 'db/master'

check "another client of the organisation can neither fetch nor see the deposit"
exits 3 client host-2 get db/master
is "$(wc -c <"$KT_TMP/out")" 0 "bytes on stdout"
succeeds client host-2 list
hasnt "$KT_TMP/out" 'db/master'
request kts-01 host-2 GET /v1/deposits/db%2Fmaster
answers 404 deposit_not_found
hasnt "$KT_TMP/body" 'BEGIN|client_id'

check "another client cannot put a version under the handle"
exits 4 client host-2 put db/master "$key.2"

check "a grant lets the other client fetch the ciphertext, which it cannot open"
succeeds admin kts-01 grant acme browse,retrieve --client host-2 --prefix db/
request kts-01 host-2 GET /v1/deposits/db%2Fmaster
answers 200
exits some client host-2 get db/master
is "$(wc -c <"$KT_TMP/out")" 0 "bytes on stdout"

check "get with its output closed fails"
KEYTRUSTEE_CONFDIR=$(client_dir host-1) "$KEYTRUSTEE" get db/master >&- 2>"$KT_TMP/err" &&
    problem "exit status 0"

check "the owner of a handle keeps it when another client, by a grant, has made the newest version"
succeeds client host-1 put shared/key "$key"
succeeds admin kts-01 grant acme deposit --client host-2 --prefix shared/
succeeds client host-2 put shared/key "$key.2"
exits 4 client host-1 get shared/key
request kts-01 host-1 GET /v1/deposits/shared%2Fkey
answers 403 not_granted
succeeds client host-1 get shared/key --version 1
succeeds client host-1 put shared/key "$key"
succeeds client host-1 get shared/key
same "$KT_TMP/out" "$key"

check "the same grant given twice is one grant"
succeeds admin kts-01 grant acme browse,retrieve --client host-2 --prefix db/
is "$(sql kts-01 "select count(*) from grants where prefix = 'db/' and revoked_at is null")" 2 "grants"

check "a grant that is taken back no longer holds at the next request"
for grant in $(sql kts-01 "select grant_id from grants where prefix = 'db/'"); do
    succeeds admin kts-01 revoke "$grant" --yes
done
request kts-01 host-2 GET /v1/deposits/db%2Fmaster
answers 404 deposit_not_found

check "a client whose certificate has expired gets a new one with a new auth code, and is who it was"
succeeds client host-1 put late/key "$key"
sql kts-01 "update client_certificates set not_after = now() - interval '1 day'
    where client_id = (select client_id from clients where name = 'host-1')" >/dev/null
exits 4 client host-1 get late/key
new_auth_code kts-01 acme "$KT_TMP/code.again"
succeeds client host-1 register --server "127.0.0.1:${NODE_PORT[kts-01]}" \
    --auth-code-file "$KT_TMP/code.again" --name host-1
succeeds client host-1 get late/key
same "$KT_TMP/out" "$key"
is "$(sql kts-01 "select count(*) from clients where name = 'host-1'")" 1 "clients of that name"

check "delete is asked for, and then the deposit is gone for its client"
exits some client host-1 delete web/tls
succeeds client host-1 delete web/tls --yes
exits 3 client host-1 get web/tls
is "$(wc -c <"$KT_TMP/out")" 0 "bytes on stdout"

check "a deleted deposit's ciphertext is still stored: delete is not purge"
is "$(sql kts-01 "select count(*) from deposits where handle = 'web/tls' and body is not null and deleted_at is not null")" 1

check "a stock curl with the client's certificate fetches the ciphertext"
request kts-01 host-1 GET /v1/deposits/db%2Fmaster?version=1
answers 200
has "$KT_TMP/header" '^[Cc]ontent-[Tt]ype: application/pgp-encrypted'
has "$KT_TMP/header" '^KT-Freshness: local'
cp "$KT_TMP/body" "$KT_TMP/cipher"
etag=$(tr -d '\r' <"$KT_TMP/header" | sed -n 's/^[Ee][Tt][Aa][Gg]: *"\(.*\)"$/\1/p')
is "$etag" "$(sha256sum "$KT_TMP/cipher" | cut -c 1-64)" "ETag"

check "stock gpg -d opens the fetched body, with the client's keys only"
succeeds gpg --homedir "$(client_dir host-1)/gnupg" --batch --trust-model always \
    --output "$got" --yes --decrypt "$KT_TMP/cipher"
has "$KT_TMP/err" 'Good signature'
same "$key" "$got"
exits some gpg --homedir "$(client_dir host-2)/gnupg" --batch --decrypt "$KT_TMP/cipher"

check "HEAD shows the metadata and no body"
request kts-01 host-1 HEAD /v1/deposits/db%2Fmaster
is "$http" 200 "status"

check "openssl s_client sees TLS 1.3 and the cluster's CA asked for, and no old protocol"
succeeds openssl s_client -connect "127.0.0.1:${NODE_PORT[kts-01]}" -CAfile "$(ca_of kts-01)" \
    -verify_return_error -verify_hostname keytrustee -cert "$(client_dir host-1)/client-cert.pem" \
    -key "$(client_dir host-1)/client-key.pem"
has "$KT_TMP/out" 'TLSv1\.3'
has "$KT_TMP/out" 'Acceptable client certificate CA names'
has "$KT_TMP/out" 'Verify return code: 0'
exits some openssl s_client -connect "127.0.0.1:${NODE_PORT[kts-01]}" -tls1_1 \
    -cipher DEFAULT@SECLEVEL=0
exits some openssl s_client -connect "127.0.0.1:${NODE_PORT[kts-01]}" -tls1_2 -cipher AES128-SHA
succeeds openssl s_client -connect "127.0.0.1:${NODE_PORT[kts-01]}" -tls1_2

check "psql as the account sees the private database"
succeeds sql kts-01 "select handle || ' ' || version from deposits order by 1"
has "$KT_TMP/out" '^db/master 1$'

check "a stock pg_dump -c of the private database can be loaded again"
succeeds pg_dump -c -h "$dir/run" -p "${NODE_DB_PORT[kts-01]}" -U keytrustee keytrustee
cp "$KT_TMP/out" "$KT_TMP/dump.sql"
has "$KT_TMP/dump.sql" 'COPY public.deposits'
succeeds createdb -h "$dir/run" -p "${NODE_DB_PORT[kts-01]}" -U keytrustee again
succeeds psql -X -q -h "$dir/run" -p "${NODE_DB_PORT[kts-01]}" -U keytrustee -d again \
    -v ON_ERROR_STOP=1 -c 'drop schema public cascade' -c 'create schema public' \
    -f <(sed -E 's/^(DROP|ALTER TABLE ONLY .* DROP|REVOKE USAGE ON SCHEMA)/-- \1/' "$KT_TMP/dump.sql")
is "$(psql -X -At -h "$dir/run" -p "${NODE_DB_PORT[kts-01]}" -U keytrustee -d again \
    -c 'select count(*) from deposits')" "$(sql kts-01 'select count(*) from deposits')" "deposits"
run psql -X -h "$dir/run" -p "${NODE_DB_PORT[kts-01]}" -U keytrustee -d keytrustee \
    -c 'drop database again'

check "a registered key and certificate survive in the client's folder alone"
cp -a "$(client_dir host-1)" "$(client_dir moved)"
succeeds client moved get db/master --version 1 -o "$got"
same "$key" "$got"

check "the audit log holds every retrieval and verifies"
succeeds admin kts-01 audit verify
succeeds admin kts-01 audit show
has "$KT_TMP/out" 'deposit.get'
has "$KT_TMP/out" 'db/master'

check "ktadmin status and health say that the node stands alone"
succeeds admin kts-01 status
has "$KT_TMP/out" 'standalone'

check "SIGHUP reloads settings, and connections that are open go on"
exec {held}<> "/dev/tcp/127.0.0.1/${NODE_PORT[kts-01]}"
set_setting kts-01 log level debug
kill -HUP "${NODE_PID[kts-01]}"
reloaded() {
    grep -q 'reload' "$dir/logs/kts.log"
}
comes_true 10 reloaded
comes_true 10 ready kts-01
is_running "${NODE_PID[kts-01]}" || problem "the server has ended"
exec {held}>&-

check "the server stops cleanly when asked, answers a connection that was just made, and leaves the database running"
mkfifo "$KT_TMP/words"
timeout 30 openssl s_client -ign_eof -no_ticket -connect "127.0.0.1:${NODE_PORT[kts-01]}" \
    <"$KT_TMP/words" >"$KT_TMP/said" 2>/dev/null &
KT_PIDS[$!]="openssl s_client"
exec {words}>"$KT_TMP/words"
comes_true 10 grep -q '^SSL handshake has read' "$KT_TMP/said"
kill -TERM "${NODE_PID[kts-01]}"
comes_true 10 grep -q 'notice: stopping' "$dir/logs/kts.log"
printf 'GET /v1/health HTTP/1.1\r\nHost: kts\r\n\r\n' >&"$words"
comes_true 5 grep -q '^HTTP/1.1 200' "$KT_TMP/said"
exec {words}>&-
stop_server kts-01
postmaster_of kts-01 || problem "PostgreSQL has stopped with the server"

check "after a restart of server and database everything is there"
set_setting kts-01 certificates client_lifetime 20min # for a client that comes later
start_server kts-01
comes_true 20 ready kts-01
succeeds admin kts-01 db --stop
comes_true 20 start_database kts-01
comes_true 20 ready kts-01
succeeds client host-1 get db/master --version 1 -o "$got"
same "$key" "$got"
succeeds client host-1 put db/master "$key"
succeeds client host-1 get db/master --version 3 -o "$got"
same "$key" "$got"

check "a client whose certificate is about to expire says so once where it renews nothing, and not with --quiet"
new_client kts-01 acme short || problem "register: $(cat "$KT_TMP/short.register.out")"
exits 3 client short get none
is "$(grep -c 'warning: this client.s certificate expires in 0 days' "$KT_TMP/err")" 1 "warnings"
has "$KT_TMP/err" 'hint: any command that reaches the active renews it'
exits 3 client short --quiet get none
hasnt "$KT_TMP/err" 'certificate'
exits 3 client host-1 get none
hasnt "$KT_TMP/err" 'certificate'
succeeds client short status --json
has "$KT_TMP/out" '"expires_soon": true'
succeeds client host-1 status --json
has "$KT_TMP/out" '"expires_soon": false'

check "a node that is stopped leaves no process behind"
stop_node kts-01
is "$(pgrep -f "$dir" | wc -l)" 0 "processes left behind"

finish
