#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Locks, legal holds, deletion, undeletion, purge and the clock: what a client may, and what nobody
# may, through the server and with the clients' and operators' commands.
. "$KT_SOURCE/tests/support/lib.sh"

new_node_with_clients kts-01
new_client kts-01 acme officer || give_up "register: $(cat "$KT_TMP/officer.register.out")"
id_of() { client "$1" --json status | sed -n 's/^ *"client": "\(.*\)".*/\1/p' | head -n 1; }
host=$(id_of host-1)
officer=$(id_of officer)

# grants CLIENT RIGHTS OBJECT...
grants() {
    run admin kts-01 grant acme "$2" --client "$1" "${@:3}"
    [[ $status -eq 0 ]] || give_up "grant: $(cat "$KT_TMP/err")"
}
grants "$host" lock,undelete,purge --own
head -c 32 /dev/urandom >"$KT_TMP/key"
for name in a governance compliance hold bin delay late jump gone; do
    client host-1 put "r/$name" "$KT_TMP/key" >/dev/null 2>&1 || give_up "put r/$name"
done

# lock CLIENT HANDLE JSON [CURL OPTIONS...]
lock() {
    request kts-01 "$1" PUT "/v1/deposits/$(escape "$2")/lock" -H 'Content-Type: application/json' \
        --data "$3" "${@:4}"
}
# post CLIENT HANDLE WHAT
post() {
    request kts-01 "$1" POST "/v1/deposits/$(escape "$2")/$3"
}
delete() {
    request kts-01 "$1" DELETE "/v1/deposits/$(escape "$2")"
}
# in_days N: as the protocol writes it.
in_days() {
    date -u -d "$1 days" +%Y-%m-%dT%H:%M:%S.000000Z
}
bypass='KT-Bypass-Governance: yes'
# is_now SQL VALUE
is_now() {
    [[ $(sql kts-01 "$1") == "$2" ]]
}
# has_body HANDLE: it is stored.
has_body() {
    is_now "SELECT body IS NOT NULL FROM deposits WHERE handle = '$1'" t
}
# What status says, and exits with.
warns() {
    run admin kts-01 status
    [[ $status -eq 8 ]] && grep -q 'clock confirm' "$KT_TMP/out"
}
is_fine() {
    admin kts-01 status >"$KT_TMP/out" 2>&1
}
is_purged() {
    is_now "SELECT body IS NULL AND octet_length(sha256) = 32 FROM deposits WHERE handle = '$1'" t
}

check "a locked deposit is not deleted, before its lock is over"
lock host-1 r/governance "{\"mode\": \"governance\", \"until\": \"$(in_days 3)\"}"
answers 200
delete host-1 r/governance
answers 409 deposit_locked
request kts-01 host-1 GET /v1/deposits/r%2Fgovernance
answers 200
request kts-01 host-1 HEAD /v1/deposits/r%2Fgovernance
has "$KT_TMP/header" '^KT-Lock: governance'

check "a governance lock is made longer with the right lock alone, and not shorter"
lock host-1 r/governance "{\"mode\": \"governance\", \"until\": \"$(in_days 4)\"}"
answers 200
lock host-1 r/governance "{\"until\": \"$(in_days 1)\"}" -H "$bypass"
answers 403 not_granted
lock host-1 r/governance '{"mode": "none"}' -H "$bypass"
answers 403 not_granted

check "it is lifted by a client with the right bypass, and only with the header"
grants "$officer" bypass,browse --prefix r/
lock officer r/governance '{"mode": "none"}'
answers 409 deposit_locked
lock officer r/governance "{\"until\": \"$(in_days 9)\"}"
answers 403 not_granted
lock officer r/governance "{\"until\": \"$(in_days 1)\"}" -H "$bypass"
answers 200
lock officer r/governance '{"mode": "none"}' -H "$bypass"
answers 200
delete host-1 r/governance
answers 200
is "$(sql kts-01 "SELECT count(*) FROM change_log WHERE event = 'deposit.lock' AND client_id = '$officer' AND detail ->> 'bypass' = 'true'")" 2

check "a compliance lock becomes longer, and nobody makes it shorter or weaker"
lock host-1 r/compliance "{\"mode\": \"governance\", \"until\": \"$(in_days 2)\"}"
answers 200
lock host-1 r/compliance '{"mode": "compliance"}'
answers 200
grants "$officer" lock --prefix r/
lock officer r/compliance '{"mode": "none"}' -H "$bypass"
answers 409 deposit_locked
# by the writer's check: not only by the guard on the table, which is behind it
has "$KT_TMP/body" 'a compliance lock can only be made longer'
lock officer r/compliance "{\"until\": \"$(in_days 1)\"}" -H "$bypass"
answers 409 deposit_locked
has "$KT_TMP/body" 'a compliance lock can only be made longer'
lock officer r/compliance "{\"mode\": \"governance\", \"until\": \"$(in_days 5)\"}" -H "$bypass"
answers 409 deposit_locked
lock officer r/compliance "{\"until\": \"$(in_days 5)\"}"
answers 200
delete host-1 r/compliance
answers 409 deposit_locked

check "a legal hold keeps a deposit until it is lifted with bypass"
lock host-1 r/hold '{"hold": true}'
answers 200
delete host-1 r/hold
answers 409 deposit_locked
lock host-1 r/hold '{"hold": false}' -H "$bypass"
answers 403 not_granted
lock officer r/hold '{"hold": false}'
answers 409 deposit_locked
lock officer r/hold '{"hold": false}' -H "$bypass"
answers 200
delete host-1 r/hold
answers 200

check "what is malformed is refused with a reason, and leaves the lock as it is"
for json in '{}' '[]' '{"mode": "forever"}' '{"mode": "governance"}' '{"until": "2040-01-01T00:00:00.000000Z"}' \
    '{"mode": "governance", "until": "tomorrow"}' '{"mode": "governance", "until": "2020-01-01T00:00:00.000000Z"}' \
    '{"mode": "governance", "until": "2999-01-01T00:00:00.000000Z"}' '{"hold": 1}' '{"hold": true, "by": "me"}' \
    '{"mode": "none", "until": "2040-01-01T00:00:00.000000Z"}'; do
    lock host-1 r/a "$json"
    answers 400 bad_request
done
lock host-1 r/a '{"hold": true}' -H 'KT-Bypass-Governance: maybe'
answers 400 bad_request
lock host-1 r/a '{"hold": true}' -H "$bypass" -H "$bypass"
answers 400
is "$(sql kts-01 "SELECT lock_mode IS NULL AND NOT legal_hold FROM deposits WHERE handle = 'r/a'")" t

check "who may not browse a name does not learn from lock, undelete or purge that it exists"
for handle in r/a r/hold r/none; do
    for what in undelete purge; do
        post host-2 "$handle" "$what"
        answers 404 deposit_not_found
    done
    lock host-2 "$handle" '{"hold": true}'
    answers 404 deposit_not_found
done
grants "$(id_of host-2)" browse --prefix r/
post host-2 r/a purge
answers 403 not_granted
lock host-2 r/a '{"hold": true}'
answers 403 not_granted

check "a deletion is taken back by who was granted that"
delete host-1 r/bin
answers 200
request kts-01 host-1 GET /v1/deposits/r%2Fbin
answers 404 deposit_not_found
post officer r/bin undelete
answers 403 not_granted
post host-1 r/bin undelete
answers 200
has "$KT_TMP/body" '"undeleted": *1'
post host-1 r/bin undelete
answers 200
has "$KT_TMP/body" '"undeleted": *0'
succeeds client host-1 get r/bin -o "$KT_TMP/got"
same "$KT_TMP/key" "$KT_TMP/got"

check "only what was deleted is purged, and not before the organisation's delay"
post host-1 r/delay purge
answers 409 not_deleted
delete host-1 r/delay
post host-1 r/delay purge
answers 200
has "$KT_TMP/body" '"purge_after"'
is "$(sql kts-01 "SELECT purge_after BETWEEN now() + interval '6 days 23 hours' AND now() + interval '7 days' FROM deposits WHERE handle = 'r/delay'")" t
succeeds admin kts-01 --yes clock confirm
comes_true 10 is_now "SELECT highest >= confirmed_at FROM clock" t
has_body r/delay || problem "it was erased"
post host-1 r/delay undelete
answers 200
request kts-01 host-1 GET /v1/deposits/r%2Fdelay
answers 200
is "$(sql kts-01 "SELECT purge_after IS NULL AND purge_by IS NULL FROM deposits WHERE handle = 'r/delay'")" t

check "without a delay it is erased at once, with a record of who asked; its hash and receipt stay"
succeeds admin kts-01 org set acme --purge-delay none
delete host-1 r/gone
post host-1 r/gone purge
answers 200
comes_true 10 is_purged r/gone
request kts-01 host-1 GET /v1/deposits/r%2Fgone
answers 410 deposit_purged
request kts-01 host-1 GET "/v1/deposits/r%2Fgone?version=1"
answers 410 deposit_purged
request kts-01 host-1 HEAD /v1/deposits/r%2Fgone
is "$http" 410
request kts-01 officer GET /v1/deposits/r%2Fgone
answers 403 not_granted
new_client kts-01 acme stranger || problem "register"
request kts-01 stranger GET /v1/deposits/r%2Fgone
answers 404 deposit_not_found
succeeds client host-1 info r/gone
has "$KT_TMP/out" '^purged '
post host-1 r/gone undelete
answers 410 deposit_purged
is "$(sql kts-01 "SELECT client_id FROM change_log WHERE event = 'deposit.purged' AND detail ->> 'handle' = 'r/gone'")" "$host"
succeeds admin kts-01 --json audit show
has "$KT_TMP/out" "\"event\": ?\"deposit.purged\""
exits 3 client host-1 get r/gone -o "$KT_TMP/none"
has "$KT_TMP/err" 'purged'

check "a lock that comes after the deletion keeps what is to be purged"
succeeds admin kts-01 org set acme --purge-delay 7d
delete host-1 r/late
post host-1 r/late purge
answers 200
lock host-1 r/late "{\"mode\": \"governance\", \"until\": \"$(in_days 1)\"}"
answers 200
post host-1 r/late purge
answers 409 deposit_locked
# seven days go by: the purge is due, the lock is not over
sql kts-01 "ALTER TABLE deposits DISABLE TRIGGER deposits_guard; UPDATE deposits SET purge_after = now() - interval '1 day' WHERE handle = 'r/late'; ALTER TABLE deposits ENABLE TRIGGER deposits_guard" >/dev/null
before=$(sql kts-01 "SELECT highest FROM clock")
succeeds admin kts-01 --yes clock confirm
comes_true 10 is_now "SELECT highest > '$before' FROM clock" t
has_body r/late || problem "it was erased"

check "a step of the clock by more than an hour stops purges until an operator confirms the time"
delete host-1 r/jump
post host-1 r/jump purge
answers 200
sql kts-01 "ALTER TABLE deposits DISABLE TRIGGER deposits_guard; UPDATE deposits SET purge_after = now() WHERE handle = 'r/jump'; ALTER TABLE deposits ENABLE TRIGGER deposits_guard; UPDATE clock SET highest = now() - interval '2 hours'" >/dev/null
stop_node kts-01
start_node kts-01
comes_true 20 is_now "SELECT jumped_to IS NOT NULL FROM clock" t
has_body r/jump || problem "it was erased"
comes_true 10 warns
succeeds admin kts-01 clock show
has "$KT_TMP/out" '^long step to +2'
exits some admin kts-01 clock confirm # nobody can be asked
has_body r/jump || problem "it was erased"
succeeds admin kts-01 --yes clock confirm
comes_true 10 is_purged r/jump
comes_true 10 is_fine

check "new deposits have their organisation's default lock"
exits 2 admin kts-01 org set acme --lock forever
exits 2 admin kts-01 org set acme
succeeds admin kts-01 org set acme --lock compliance:30 --purge-delay 36h
succeeds admin kts-01 org list
has "$KT_TMP/out" 'compliance 30d +36h'
succeeds client host-1 put r/default "$KT_TMP/key"
is "$(sql kts-01 "SELECT lock_mode, lock_until BETWEEN now() + interval '719 hours' AND now() + interval '720 hours' FROM deposits WHERE handle = 'r/default'")" 'compliance|t'
exits 4 client host-1 delete r/default --yes
succeeds admin kts-01 org set acme --lock none
succeeds client host-1 put r/free "$KT_TMP/key"
is "$(sql kts-01 "SELECT lock_mode IS NULL FROM deposits WHERE handle = 'r/free'")" t
is "$(sql kts-01 "SELECT count(*) FROM change_log WHERE event = 'organisation.set'")" 4

check "the client's commands lock, show the lock, lift it, delete, undelete and purge"
succeeds client host-1 lock r/free --mode governance --until +2
succeeds client host-1 lock r/free --hold
succeeds client host-1 info r/free
has "$KT_TMP/out" '^lock +governance until 20'
has "$KT_TMP/out" '^legal hold +yes'
exits 4 client host-1 delete r/free --yes
has "$KT_TMP/err" 'locked'
exits 4 client host-1 lock r/free --mode none --release-hold --bypass
succeeds client officer lock r/free --mode none --release-hold --bypass
succeeds client host-1 --json info r/free
hasnt "$KT_TMP/out" '"lock"|"hold"'
succeeds client host-1 delete r/free --yes
exits 1 client host-1 purge r/free # nobody can be asked
succeeds client host-1 purge r/free --yes
has "$KT_TMP/out" 'will be erased after'
succeeds client host-1 info r/free
has "$KT_TMP/out" '^purge +after 20'
succeeds client host-1 undelete r/free
succeeds client host-1 get r/free -o "$KT_TMP/got"
same "$KT_TMP/key" "$KT_TMP/got"
exits 1 client host-1 lock r/free --mode compliance --until +1
exits 2 client host-1 lock r/free --until yesterday
exits 2 client host-1 lock r/free

finish
