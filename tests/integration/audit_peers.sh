#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Nodes hear each other's signed audit heads: a log that was cut or written anew is found, also when
# whoever did it removed all that the node itself knows (P6).
. "$KT_SOURCE/tests/support/cluster.sh"

new_cluster 2
add_clients kts-01
new_cipher
deposits_at kts-01 first
log=${NODE_DIR[kts-02]}/audit
member=$(member_of kts-02)

known_of() { # what kts-01 has on disk of kts-02
    awk -v member="$member" '/^member / { mine = $2 == member } /^seq / && mine && $2 > most { most = $2 }
        END { print most + 0 }' "${NODE_DIR[kts-01]}/node/audit-heads"
}

last_of() {
    admin "$1" audit head 2>/dev/null | cut -d : -f 1
}

knows_last() {
    [[ $(known_of) -eq $(last_of kts-02) ]]
}

# with kts-01 not running, nothing is told to anybody
check "each node keeps the newest head of the other on disk, within seconds"
for _ in 1 2 3 4 5; do
    serves kts-02 first || problem "not served"
done
comes_true 15 knows_last
succeeds admin kts-02 audit verify --json
has "$KT_TMP/out" '"ok": true'
has "$KT_TMP/out" '"heads": [1-9]'
hasnt "$KT_TMP/out" '"error"'

check "a failover and its rows are on the record of both nodes"
succeeds admin_for 60 kts-01 switchover --to kts-02
comes_true 20 is_role kts-02 active
for name in kts-01 kts-02; do
    recorded() { admin "$name" audit export --event epoch | grep -q '"active":"kts-02\..*"epoch":2,'; }
    comes_true 10 recorded
done
succeeds admin kts-02 audit export --event node.promote
has "$KT_TMP/out" '"operator":"'

check "with the peer away, verify says that it was not asked"
last=$(last_of kts-02)
knows_enough() { [[ $(known_of) -ge $last ]]; }
comes_true 15 knows_enough
stop_node kts-02
known=$(known_of)
run admin kts-02 audit verify
is "$status" 0 "status of verify"

check "a log that was cut, with all that its node knew of it, is found by what the peer knows"
file=$(find "$log" -name 'audit-*.log' | sort | tail -n 1)
lines=$(wc -l <"$file")
head -n $((lines - 5)) "$file" >"$KT_TMP/shorter"
cp "$KT_TMP/shorter" "$file"
rm "$log/heads" "${NODE_DIR[kts-02]}/node/audit-heads"
left=$(tail -n 1 "$file" | cut -d ' ' -f 2)
exits 7 admin kts-02 audit verify
has "$KT_TMP/out" "^records $((left + 1)) to $known are gone: node kts-01 knows record $known"
exits 0 admin kts-02 audit verify --local

check "the peer notices that the log went back, and keeps what it knew"
start_node kts-02
went_back() {
    grep -q "audit log of node '$member' went back from record $known" "${NODE_DIR[kts-01]}/logs/kts.log"
}
comes_true 20 went_back
[[ $(known_of) -ge $known ]] || problem "only $(known_of) is known, not $known"
succeeds admin kts-01 audit export --event audit.back
has "$KT_TMP/out" "\"known\":$known,.*\"member\":\"$member\""

check "the node itself hears of it, says so in its log and its status"
hears() { admin kts-02 audit export --event audit.behind 2>/dev/null | grep -q "\"known\":$known"; }
comes_true 20 hears
run admin kts-02 status
has "$KT_TMP/out" "records of its audit log are gone that kts-01.* knows of"

check "a log that has grown beyond the old end again is found by its hashes"
for _ in 1 2 3 4 5 6 7 8 9 10; do
    request kts-02 host-1 GET /v1/deposits/first
done
grown() { [[ $(last_of kts-02) -gt $known ]]; }
comes_true 20 grown
exits 7 admin kts-02 audit verify
has "$KT_TMP/out" "^record [0-9]+ is another one than node kts-01 knows.*written anew behind record [0-9]+"

check "a log that is cut a second time is told a second time"
comes_true 15 knows_last
stop_node kts-02
file=$(find "$log" -name 'audit-*.log' | sort | tail -n 1)
head -n $(($(wc -l <"$file") - 6)) "$file" >"$KT_TMP/shorter"
cp "$KT_TMP/shorter" "$file"
rm "$log/heads" "${NODE_DIR[kts-02]}/node/audit-heads"
start_node kts-02
told_twice() { [[ $(admin kts-01 audit export --event audit.back | grep -c "\"member\":\"$member\"") -eq 2 ]]; }
comes_true 20 told_twice

finish
