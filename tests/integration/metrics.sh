#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Monitoring: who may have the metrics, that Prometheus can read them, and what health says.
. "$KT_SOURCE/tests/support/lib.sh"

new_node_with_clients kts-01
watcher=$KT_TMP/watcher

value() {
    sed -n "s/^$1 //p" "$KT_TMP/body"
}

check "an operator's certificate reads the metrics"
succeeds admin kts-01 operator new watcher --output "$watcher.pem"
cp "$watcher.pem" "$watcher-cert.pem"
cp "$watcher.pem" "$watcher-key.pem"
request kts-01 "$watcher" GET /v1/metrics
is "$http" 200 "status"
has "$KT_TMP/header" '^Content-Type: text/plain; version=0.0.4; charset=utf-8'
has "$KT_TMP/body" '^# TYPE keytrustee_requests_total counter$'
is "$(value 'keytrustee_role{role="standalone"}')" 1 "role"
is "$(value keytrustee_writer_open)" 1 "writer open"
is "$(value keytrustee_members_required)" 0 "members required"

check "counters grow, and the log index is that of the last deposit"
before=$(value keytrustee_requests_total) index=$(value keytrustee_deposit_log_index)
echo secret >"$KT_TMP/secret"
succeeds client host-1 put disk/1 "$KT_TMP/secret"
request kts-01 "$watcher" GET /v1/metrics
[[ $(value keytrustee_requests_total) -gt $before ]] || problem "requests did not grow"
is "$(value keytrustee_deposit_log_index)" $((index + 1)) "log index"
[[ $(value keytrustee_last_commit_timestamp_seconds) != 0.000000 ]] || problem "no time of a commit"

check "promtool finds nothing to complain about"
if command -v promtool >/dev/null; then
    succeeds promtool check metrics <"$KT_TMP/body"
else
    skip "promtool is not installed"
fi

check "nobody else reads them: no certificate, a client's, a revoked operator's"
request kts-01 none GET /v1/metrics
answers 401 certificate_missing
request kts-01 host-1 GET /v1/metrics
answers 403 not_granted
hasnt "$KT_TMP/body" keytrustee_
sql kts-01 "update node_certificates set revoked_at = now() where kind = 'operator'" >/dev/null
request kts-01 "$watcher" GET /v1/metrics
answers 401 certificate_revoked
hasnt "$KT_TMP/body" keytrustee_

check "an operator's certificate is no client's"
request kts-01 "$watcher" GET /v1/clients/self
answers 401 certificate_unknown

check "health says what the node is, and names the active"
request kts-01 none GET /v1/health/ready
is "$http" 200 "status"
has "$KT_TMP/body" '"role": *"standalone"'
has "$KT_TMP/body" '"lag_bytes": *null'
has "$KT_TMP/body" '"last_barrier_ms": *[0-9]'
has "$KT_TMP/body" '"active": *"[^"]*:'"${NODE_PORT[kts-01]}"'"'
has "$KT_TMP/header" "^KT-Active: .*:${NODE_PORT[kts-01]}"
request kts-01 none GET /v1/health/write
is "$http" 200 "a real barrier"
has "$KT_TMP/header" '^KT-Freshness: barrier'

stop_node kts-01
finish
