#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Full disks: the database's, and the audit log's. Refused clearly, nothing lost, and work goes on by
# itself when there is room again (P1, P6, P9).
if [[ ${KT_IN_NAMESPACE:-} != yes ]]; then
    # small disks are tmpfs mounts in a mount namespace of this script's own
    if unshare -U -m --map-user="$(id -u)" --map-group="$(id -g)" --keep-caps true 2>/dev/null; then
        export KT_IN_NAMESPACE=yes
        exec unshare -U -m --map-user="$(id -u)" --map-group="$(id -g)" --keep-caps bash "$0"
    fi
    . "$KT_SOURCE/tests/support/lib.sh"
    skip "full disks: this machine does not let users make mount namespaces"
    finish
fi
. "$KT_SOURCE/tests/support/lib.sh"

mkdir "$KT_TMP/small"
mount -t tmpfs -o size=192m,mode=0700 tmpfs "$KT_TMP/small" || give_up "cannot mount"

dir=$KT_TMP/kts-01
mkdir -m 0700 "$dir"
NODE_DIR[kts-01]=$dir
free_port
NODE_PORT[kts-01]=$port
free_port
NODE_DB_PORT[kts-01]=$port
succeeds admin kts-01 init --node kts-01 --port "${NODE_PORT[kts-01]}" \
    --database-port "${NODE_DB_PORT[kts-01]}" --pg-rootdir "$KT_TMP/small/db"
[[ $status -eq 0 ]] || give_up "init fails"
mount -t tmpfs -o size=2m,mode=0700 tmpfs "$dir/audit" || give_up "cannot mount"
start_node kts-01 || give_up "the node does not start"
succeeds admin kts-01 org add acme
new_client kts-01 acme host-1 || give_up "no client"

# A file of the size that leaves KIB free on the disk of DIR.
fill() {
    local free
    free=$(df --output=avail -k "$1" | tail -n 1)
    head -c $(((free - $2) * 1024)) /dev/zero >"$1/filler" 2>/dev/null || true
}

put() {
    client host-1 --timeout 2 put "$1" "$2"
}

head -c 400000 /dev/urandom >"$KT_TMP/secret"

check "a deposit that the database's disk has no room for is refused"
succeeds put full/0 "$KT_TMP/secret"
fill "$KT_TMP/small" 600
acknowledged=(full/0) refused=''
for i in $(seq 1 12); do
    run put "full/$i" "$KT_TMP/secret"
    if [[ $status -eq 0 ]]; then
        acknowledged+=("full/$i")
    else
        refused=full/$i
        cp "$KT_TMP/err" "$KT_TMP/refusal"
        break
    fi
done
[[ -n $refused ]] || problem "the disk never filled up"
has "$KT_TMP/refusal" 'disk|database|storage|doubt|writer'

check "reads of what is there go on, if PostgreSQL still runs"
if postmaster_of kts-01 2>/dev/null || [[ -e $KT_TMP/small/db/postmaster.pid ]]; then
    wait_until 20 ready kts-01
    succeeds client host-1 get full/0
    same "$KT_TMP/out" "$KT_TMP/secret"
fi

check "with room again deposits are taken, without a restart of the server"
rm "$KT_TMP/small/filler"
[[ -e $KT_TMP/small/db/postmaster.pid ]] || start_database kts-01
takes_deposits() {
    put full/after "$KT_TMP/secret" >"$KT_TMP/out" 2>"$KT_TMP/err"
}
comes_true 30 takes_deposits
acknowledged+=(full/after)

check "everything acknowledged is there, and the log has no gap"
for handle in "${acknowledged[@]}"; do
    succeeds client host-1 get "$handle"
    same "$KT_TMP/out" "$KT_TMP/secret"
done
is "$(sql kts-01 'select count(*) = max(log_index) from deposits')" t "log without gaps"

check "when the audit log's disk is full, no deposit leaves the node and none is taken"
fill "$dir/audit" 0
printf x >>"$dir/audit/filler" 2>/dev/null || true
for _ in $(seq 1 40); do # what is left of the last page is written full by records
    run client host-1 get full/0
    [[ $status -ne 0 ]] && break
done
is "$status" 5 "status of get"
is "$(wc -c <"$KT_TMP/out")" 0 "bytes that came out"
exits some put full/unaudited "$KT_TMP/secret"
has "$KT_TMP/err" 'audit'
is "$(sql kts-01 "select count(*) from deposits where handle = 'full/unaudited'")" 0 "rows"

check "with room again both go on by themselves, and the audit log verifies"
rm "$dir/audit/filler"
fetches() {
    client host-1 get full/0 >"$KT_TMP/out" 2>"$KT_TMP/err"
}
comes_true 30 fetches
comes_true 30 takes_deposits
succeeds admin kts-01 audit verify

succeeds admin kts-01 db --stop
stop_everything
umount "$dir/audit" "$KT_TMP/small"
finish
