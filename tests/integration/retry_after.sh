#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A client that comes too often waits as long as the server asks, and no longer than it may; what it
# does then is done once.
. "$KT_SOURCE/tests/support/lib.sh"

new_node kts-01 || give_up "init: $(cat "$KT_TMP/kts-01.init.out")"
set_setting kts-01 server workers 1
set_setting kts-01 limits failures 10
set_setting kts-01 limits client_requests 1
set_setting kts-01 timeouts body 60s
start_node kts-01 || give_up "the node does not start"
succeeds admin kts-01 org add acme
new_client kts-01 acme host-1 || give_up "register: $(cat "$KT_TMP/host-1.register.out")"
head -c 64 /dev/urandom >"$KT_TMP/key"

# hold: the client host-1 has as many requests under way as it may; let_go ends that.
hold() {
    mkfifo "$KT_TMP/held"
    timeout 60 openssl s_client -quiet -ign_eof -connect "127.0.0.1:${NODE_PORT[kts-01]}" \
        -cert "$(client_dir host-1)/client-cert.pem" -key "$(client_dir host-1)/client-key.pem" \
        <"$KT_TMP/held" >"$KT_TMP/held.out" 2>&1 &
    holder=$!
    KT_PIDS[$holder]="openssl s_client"
    exec {held_fd}>"$KT_TMP/held"
    printf 'PUT /v1/deposits/held HTTP/1.1\r\nHost: a\r\nContent-Type: application/pgp-encrypted\r\n' >&"$held_fd"
    printf 'Expect: 100-continue\r\nContent-Length: 500\r\n\r\n' >&"$held_fd"
    comes_true 20 grep -qa '100 Continue' "$KT_TMP/held.out"
}
let_go() {
    exec {held_fd}>&-
    end_process "$holder"
    rm "$KT_TMP/held"
}
# in_background NAME COMMAND...: as the client host-1; is over when $KT_TMP/NAME.status is there.
in_background() {
    (client host-1 "${@:2}" >"$KT_TMP/$1.out" 2>"$KT_TMP/$1.err" && echo 0 >"$KT_TMP/$1.status" ||
        echo "$?" >"$KT_TMP/$1.status") </dev/null &
    KT_PIDS[$!]="keytrustee $2"
}
is_over() {
    [[ -s $KT_TMP/$1.status ]]
}

check "a client that has too many requests under way waits until there is room, and deposits once"
hold
in_background put put later "$KT_TMP/key"
comes_true 20 grep -q 'trying again in 1 s, as the server asks' "$KT_TMP/put.err"
is_over put && problem "it did not wait"
let_go
comes_true 30 is_over put
is "$(cat "$KT_TMP/put.status")" 0 "$(cat "$KT_TMP/put.err")"
is "$(sql kts-01 "select count(*) from deposits where handle = 'later'")" 1 "deposits"
succeeds client host-1 get later
same "$KT_TMP/out" "$KT_TMP/key"

check "a read waits likewise"
hold
in_background get get later
comes_true 20 grep -q 'as the server asks' "$KT_TMP/get.err"
let_go
comes_true 30 is_over get
same "$KT_TMP/get.out" "$KT_TMP/key"

check "when there is no room until its deadline it says so, what to do, and that is all"
hold
exits 5 client host-1 --timeout 3 put never "$KT_TMP/key"
has "$KT_TMP/err" 'too many requests under way'
has "$KT_TMP/err" 'asked [0-9]+ time'
has "$KT_TMP/err" '[-]-timeout'
let_go
is "$(find "$(client_dir host-1)/pending" -type f | wc -l)" 0 "pending deposits"
succeeds client host-1 put never "$KT_TMP/key"
is "$(sql kts-01 "select count(*) from deposits where handle = 'never'")" 1 "deposits"

check "who registers behind an address with too many wrong auth codes is told when to come, and then let in"
new_auth_code kts-01 acme "$KT_TMP/code.wrong"
sed -E 's/-[a-z2-7]{32}-/-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-/' "$KT_TMP/code.wrong" >"$KT_TMP/code.guess"
chmod 600 "$KT_TMP/code.guess"
refused_for_long() {
    client guess --timeout 1 register --server "127.0.0.1:${NODE_PORT[kts-01]}" --auth-code-file \
        "$KT_TMP/code.guess" --name guess >"$KT_TMP/guess.out" 2>&1
    grep -q 'wrong auth codes\|failures with this auth code' "$KT_TMP/guess.out"
}
for _ in {1..30}; do
    refused_for_long && break
done
has "$KT_TMP/guess.out" 'asked 1 time\b'
has "$KT_TMP/guess.out" '[-]-timeout'
new_auth_code kts-01 acme "$KT_TMP/code.late"
succeeds client late --timeout 30 register --server "127.0.0.1:${NODE_PORT[kts-01]}" --auth-code-file \
    "$KT_TMP/code.late" --name late
has "$KT_TMP/err" 'trying again in [1-9][0-9]* s, as the server asks'

finish
