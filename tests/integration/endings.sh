#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Before the certificates of clients, of operators and of the receipt key end, status and the metrics
# say so.
. "$KT_SOURCE/tests/support/lib.sh"

new_node_with_clients kts-01

status_says() { # what the agent saw is minutes old: it looks again when it starts
    admin kts-01 status >"$KT_TMP/status" 2>&1
    grep -qE "$1" "$KT_TMP/status"
}
knows() { admin kts-01 status --json | grep -q '"endings": *{'; }

check "of certificates that last nothing is said"
comes_true 10 knows
admin kts-01 status >"$KT_TMP/status" 2>&1
hasnt "$KT_TMP/status" "certificates? (of|end)|receipt key's certificate"

check "a client whose certificate ends within 30 days is named, and one that has another is not"
succeeds admin kts-01 operator new watcher --output "$KT_TMP/watcher.pem"
sql kts-01 "update client_certificates set not_after = now() + interval '9 d', created_at = now() - interval '380 d'
    where client_id = (select client_id from clients where name = 'host-1')" >/dev/null
sql kts-01 "insert into client_certificates select sha256('old'), client_id, key_sha256, certificate,
    now() + interval '5 d', null, now() - interval '390 d' from client_certificates
    where client_id = (select client_id from clients where name = 'host-2')" >/dev/null
stop_server kts-01
start_server kts-01
comes_true 20 status_says "the certificate of the client host-1 ends on 20[0-9-]+: "
hasnt "$KT_TMP/status" "host-2|operators'"

check "many clients and many operators have a line each, with the first"
sql kts-01 "update client_certificates set not_after = now() + interval '3 d', created_at = now() - interval '390 d'
    where client_id = (select client_id from clients where name = 'host-2')" >/dev/null
sql kts-01 "update node_certificates set not_after = now() + interval '20 d', created_at = now() - interval '70 d'
    where kind = 'operator'" >/dev/null
sql kts-01 "insert into node_certificates select sha256('ada'), kind, 'ada', now() + interval '10 d', null, created_at
    from node_certificates where name = 'watcher'" >/dev/null
stop_server kts-01
start_server kts-01
comes_true 20 status_says "2 clients' certificates end within 30 days \(first: host-2 on 20[0-9-]+\)"
has "$KT_TMP/status" "2 operators' certificates end within 30 days \(first: ada on 20[0-9-]+\): give a new one"

check "the metrics count them, and know the end of the receipt key's certificate"
comes_true 20 ready kts-01
cp "$KT_TMP/watcher.pem" "$KT_TMP/watcher-cert.pem"
cp "$KT_TMP/watcher.pem" "$KT_TMP/watcher-key.pem"
request kts-01 "$KT_TMP/watcher" GET /v1/metrics
is "$http" 200 "status"
has "$KT_TMP/body" '^keytrustee_client_certificates_ending 2$'
has "$KT_TMP/body" '^keytrustee_operator_certificates_ending 2$'
end=$(date -d "$(openssl x509 -noout -enddate -in "${NODE_DIR[kts-01]}/.keytrustee/receipt/cert.pem" |
    cut -d= -f2)" +%s)
has "$KT_TMP/body" "^keytrustee_receipt_key_not_after_timestamp_seconds $end\.000000$"

finish
