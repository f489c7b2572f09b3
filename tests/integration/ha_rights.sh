#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Rights in a cluster (P7): a revocation holds on every connected node when its command has returned, and
# a passive that is cut off serves for as long as it is set, no longer.
. "$KT_SOURCE/tests/support/cluster.sh"

new_cluster 2
add_clients kts-01
new_cipher
deposits_at kts-01 p/one
comes_true 10 serves kts-02 p/one
host_2=$(sql kts-01 "select client_id from clients where name = 'host-2'")

# fetches NODE CLIENT: the status of a fetch there, at the first try.
fetches() {
    request "$1" "$2" GET /v1/deposits/p%2Fone
}
grants() {
    run admin_for 30 kts-01 grant acme retrieve --client "$host_2" --prefix p/ --json
    [[ $status -eq 0 ]] || problem "grant: $(cat "$KT_TMP/err")"
    grant=$(sed -n 's/.*"grant": *"\([^"]*\)".*/\1/p' "$KT_TMP/out")
}

check "a grant and its revocation hold on the passive at once when the command has returned"
for round in 1 2 3 4 5; do
    grants
    has "$KT_TMP/out" '"reached"'
    fetches kts-02 host-2
    answers 200
    succeeds admin_for 30 kts-01 revoke "$grant"
    fetches kts-02 host-2
    answers 404
    fetches kts-01 host-2
    answers 404
done
has "$KT_TMP/out" 'In force here and on kts-02'
hasnt "$KT_TMP/err" 'warning'

check "also on a passive that replays late: the command waits for what is replayed, not only received"
grants
succeeds sql kts-02 "select pg_wal_replay_pause()"
paused() { [[ $(sql kts-02 "select pg_get_wal_replay_pause_state()") == paused ]]; }
resume_soon() {
    is_revoked() { [[ $(sql kts-01 "select revoked_at is not null from grants where grant_id = '$grant'") == t ]]; }
    wait_until 20 is_revoked
    sql kts-02 "select pg_wal_replay_resume()" >/dev/null
}
# a record must come for the pause to take hold
deposits_at kts-01 p/two
comes_true 10 paused
resume_soon &
waker=$!
KT_PIDS[$waker]="the one that resumes"
run admin_for 30 kts-01 revoke "$grant"
fetches kts-02 host-2
answers 404
is "$status" 0 "status of revoke"
hasnt "$KT_TMP/err" 'warning'
wait "$waker"
unset "KT_PIDS[$waker]"

check "a passive that does not replay is named after some seconds, with exit code 0"
grants
succeeds sql kts-02 "select pg_wal_replay_pause()"
deposits_at kts-01 p/three
comes_true 10 paused
run admin_for 30 kts-01 revoke "$grant"
is "$status" 0 "status"
has "$KT_TMP/err" 'warning: not reached: kts-02'
fetches kts-01 host-2
answers 404
succeeds sql kts-02 "select pg_wal_replay_resume()"
is_refused() { fetches kts-02 host-2 && [[ $http == 404 ]]; }
comes_true 10 is_refused

check "a client's revocation and a disabled organisation hold on the passive when the command has returned"
succeeds admin_for 30 kts-01 org disable acme --yes
fetches kts-02 host-1
answers 403 organisation_disabled
succeeds admin_for 30 kts-01 org disable acme --undo
fetches kts-02 host-1
answers 200
succeeds admin_for 30 kts-01 client revoke "$host_2" --yes
fetches kts-02 host-2
answers 401 certificate_revoked

check "an operator's revocation holds at the agents of both nodes when the command has returned"
succeeds admin_for 30 kts-01 operator new ada -o "$KT_TMP/ada"
for part in CERTIFICATE 'PRIVATE KEY'; do
    sed -n "/-----BEGIN $part-----/,/-----END $part-----/p" "$KT_TMP/ada"
done >"$KT_TMP/ada.pem"
asks() { # NODE: sets $http
    http=$(curl --connect-to "::${NODE_ADDRESS[$1]}:$AGENT_PORT" -s -o "$KT_TMP/body" -w '%{http_code}' \
        --max-time 10 -k --cert "$KT_TMP/ada.pem" --key "$KT_TMP/ada.pem" -H 'Content-Type: application/json' \
        -X POST -d '{}' "https://keytrustee-node:$AGENT_PORT/v1/cluster/node.rows")
}
for name in kts-01 kts-02; do
    asks "$name"
    answers 200
done
succeeds admin_for 30 kts-01 operator revoke ada --yes
for name in kts-01 kts-02; do
    asks "$name"
    answers 403 not_member
done

# --- cut off ---

check "a passive that is cut off goes on serving, and stops after node.passive_max_silence"
set_setting kts-02 node passive_max_silence 8s
kill -HUP "${NODE_PID[kts-02]}"
comes_true 10 is_ready_as kts-02 473
serves kts-02 p/one || problem "not served: $http"
is "$(health_of kts-02 serves)" true "serves"
kill_node kts-01
comes_true 20 is_ready_as kts-02 474
fetches kts-02 host-1
answers 200
comes_true 30 is_ready_as kts-02 503
fetches kts-02 host-1
answers 503 cut_off
has "$KT_TMP/body" 'use another node'
request kts-02 host-1 GET /v1/clients/self
answers 503 cut_off
is "$(health_of kts-02 serves)" false "serves"
is "$(health_of kts-02 cut_off)" true "cut_off"
exits 5 client host-1 -t 3 get p/one -o "$KT_TMP/got"

check "a restart makes it no younger"
stop_node kts-02
start_node kts-02
decided() { # the first answer that the database has a part in
    fetches kts-02 host-1
    [[ $http == 200 || $(error_code) == cut_off ]]
}
comes_true 20 decided
answers 503 cut_off

check "for ever, when it is set so; and again as soon as the active is back"
set_setting kts-02 node passive_max_silence 0
kill -HUP "${NODE_PID[kts-02]}"
comes_true 10 serves kts-02 p/one
set_setting kts-02 node passive_max_silence 8s
kill -HUP "${NODE_PID[kts-02]}"
comes_true 10 is_ready_as kts-02 503
start_node kts-01
comes_true 30 is_ready_as kts-02 473
serves kts-02 p/one || problem "not served: $http"

check "a passive that receives and does not replay counts as silent too"
succeeds sql kts-02 "select pg_wal_replay_pause()"
deposits_at kts-01 p/four
comes_true 30 is_ready_as kts-02 503
fetches kts-02 host-1
answers 503 cut_off
succeeds sql kts-02 "select pg_wal_replay_resume()"
comes_true 20 is_ready_as kts-02 473

check "a passive that stopped serving is promoted like any other, and then serves"
kill_node kts-01
comes_true 30 is_ready_as kts-02 503
exits 9 admin_for 90 kts-02 failover --to kts-02
serves_all kts-02 p/one p/four

finish
