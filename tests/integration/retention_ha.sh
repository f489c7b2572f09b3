#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Locks, purges and the clock survive a kill, a failover, and a restore from a backup.
. "$KT_SOURCE/tests/support/cluster.sh"
# shellcheck source=tests/support/backup.sh
. "$KT_SOURCE/tests/support/backup.sh"

mkdir -m 0700 "$KT_TMP/backups"
new_recipient 'John Doe' john.doe@example.com
new_cluster 3
add_clients kts-01
for name in locked held due; do
    put_as host-1 "r/$name" "secret $name" >/dev/null 2>&1 || give_up "put $name"
done
host=$(client host-1 --json status | sed -n 's/^ *"client": "\(.*\)".*/\1/p' | head -n 1)
run admin kts-01 grant acme lock,undelete,purge --client "$host" --own
[[ $status -eq 0 ]] || give_up "grant: $(cat "$KT_TMP/err")"

# is_now NODE SQL VALUE
is_now() {
    [[ $(sql "$1" "$2") == "$3" ]]
}
is_erased() {
    is_now "$1" "SELECT body IS NULL FROM deposits WHERE handle = 'r/due'" t
}
warns() {
    run admin "$1" status
    grep -q 'clock confirm' "$KT_TMP/out"
}
# What no right of this client takes away.
stay_locked() {
    exits 4 client host-1 delete r/locked --yes
    has "$KT_TMP/err" 'locked'
    exits 4 client host-1 delete r/held --yes
    has "$KT_TMP/err" 'locked'
}

check "locks hold on the node that is promoted when the active dies"
succeeds client host-1 lock r/locked --mode compliance --until +9 --yes
succeeds client host-1 lock r/held --hold
succeeds client host-1 delete r/due --yes
succeeds client host-1 purge r/due --yes
# the purge is due, by a clock that has made a step of two hours
sql kts-01 "ALTER TABLE deposits DISABLE TRIGGER deposits_guard; UPDATE deposits SET purge_after = now() WHERE handle = 'r/due'; ALTER TABLE deposits ENABLE TRIGGER deposits_guard; UPDATE clock SET highest = now() - interval '2 hours'" >/dev/null
kill_node kts-01
run admin_for 90 kts-02 failover --to kts-02
comes_true 30 takes_writes kts-02
stay_locked

check "and what a step of the clock stopped stays stopped there, until it is confirmed"
comes_true 20 is_now kts-02 "SELECT jumped_to IS NOT NULL FROM clock" t
comes_true 10 warns kts-02
is_erased kts-02 && problem "it was erased"
exits some admin kts-03 --yes clock confirm # a passive
is_erased kts-02 && problem "it was erased"
succeeds admin kts-02 --yes clock confirm
comes_true 10 is_erased kts-02
comes_true 10 is_erased kts-03
succeeds admin kts-02 audit show --json
has "$KT_TMP/out" 'deposit.purged'

check "a restore from a backup brings locks, the clock and what was purged back as they were"
succeeds on_node kts-02 "$KTBACKUP" -c "${NODE_DIR[kts-02]}/.keytrustee" --gpg-recipient=john.doe@example.com \
    --output="$KT_TMP/backups" --quiet
made=$(cat "$KT_TMP/out")
rows="SELECT string_agg(concat_ws(' ', handle, lock_mode, lock_until, legal_hold, deleted_at, purge_by, purged_at), ',' ORDER BY handle) FROM deposits"
before=$(sql kts-02 "$rows")
highest=$(sql kts-02 "SELECT highest FROM clock")
kill_node kts-02
kill_node kts-03
rm -rf "${NODE_DIR[kts-01]}"
mkdir -m 0700 "${NODE_DIR[kts-01]}"
succeeds on_node kts-01 timeout 120 "$KTADMIN" --confdir "${NODE_DIR[kts-01]}" restore "$made" \
    --address "${NODE_ADDRESS[kts-01]}" --advertise "${NODE_ADDRESS[kts-01]}"
start_node kts-01
wait_until 30 takes_writes kts-01 || problem "the restored node takes no changes"
is "$(sql kts-01 "$rows")" "$before"
is "$(sql kts-01 "SELECT highest >= '$highest' FROM clock")" t
stay_locked
request kts-01 host-1 GET /v1/deposits/r%2Fdue
answers 410 deposit_purged

finish
