#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Times of ktbackup and restore beside the same by hand, in one run: a real node, deposits of 2 KB.
# usage: tests/run --bench backup  (KT_BENCH_GIB=2, KT_BENCH_ROUNDS=3)
# shellcheck source=tests/support/lib.sh
. "$KT_SOURCE/tests/support/lib.sh"
# shellcheck source=tests/support/backup.sh
. "$KT_SOURCE/tests/support/backup.sh"

gib=${KT_BENCH_GIB:-2} rounds=${KT_BENCH_ROUNDS:-3}
rows=${KT_BENCH_ROWS:-$((gib * 1024 * 1024 / 2))}
out=$KT_TMP/backups
mkdir -m 0700 "$out"
new_recipient 'John Doe' john.doe@example.com
new_node_with_clients n1
echo secret >"$KT_TMP/plain"
client host-1 put first "$KT_TMP/plain" >/dev/null 2>&1 || give_up put

# Copies of the first deposit with bodies of random bytes, as ciphertext is.
sql n1 "
INSERT INTO deposits SELECT gen_random_uuid(), d.organisation_id, d.client_id, 'bench/' || g, 1,
    d.content_type, b.body, sha256(b.body), length(b.body), NULL, 1 + g, d.incarnation, d.epoch, now(),
    d.w, d.receipt_key_id, d.receipt_signature
FROM deposits d, generate_series(1, $rows) g, LATERAL (SELECT string_agg(sha256((g * 64 + k)::text::bytea), '')
    AS body FROM generate_series(1, 64) k) b WHERE d.handle = 'first'" >/dev/null || give_up "cannot fill"
sql n1 "VACUUM ANALYZE deposits" >/dev/null
echo "database: $(sql n1 "SELECT pg_size_pretty(pg_database_size('keytrustee'))"), $rows deposits"

# took COMMAND...: seconds, wall clock; peak resident kilobytes of the largest process of the tree.
took() {
    local begin=${EPOCHREALTIME/[.,]/}

    "$@" || problem "status $?: $*"
    seconds=$(((${EPOCHREALTIME/[.,]/} - begin) / 1000))
}

by_hand() {
    pg_dump -h "${NODE_DIR[n1]}/run" -p "${NODE_DB_PORT[n1]}" -U keytrustee keytrustee | zstd -q -3 |
        gpg --batch --trust-model always -z 0 -e -r john.doe@example.com >"$KT_TMP/hand.gpg"
    sync -f "$KT_TMP/hand.gpg"
}

peak_of() {
    awk '/^VmHWM/ { print $2 }' "/proc/$1/status" 2>/dev/null
}

ours() {
    local pid peak=0 now

    "$KTBACKUP" -c "${NODE_DIR[n1]}/.keytrustee" --gpg-recipient=john.doe@example.com --output="$out" --roll=1 --quiet >"$KT_TMP/path" &
    pid=$!
    while is_running "$pid"; do
        now=$(peak_of "$pid")
        [[ ${now:-0} -gt $peak ]] && peak=$now
        kt_breath
    done
    wait "$pid" || problem "ktbackup failed"
    echo "$peak" >"$KT_TMP/peak"
}

check "ktbackup takes no longer than pg_dump, zstd and gpg by hand, and less than 100 MiB"
hand=() own=()
for ((i = 0; i < rounds; i++)); do
    took by_hand
    hand+=("$seconds")
    took ours
    own+=("$seconds")
    echo "round $i: by hand ${hand[i]} ms, ktbackup ${own[i]} ms, peak $(cat "$KT_TMP/peak") KiB"
    [[ $(cat "$KT_TMP/peak") -lt 102400 ]] || problem "peak of $(cat "$KT_TMP/peak") KiB"
done
median() {
    printf '%s\n' "$@" | sort -n | sed -n "$((($# + 1) / 2))p"
}
h=$(median "${hand[@]}") o=$(median "${own[@]}")
echo "backup: median by hand $h ms, ktbackup $o ms, ratio $(awk "BEGIN { printf \"%.2f\", $o / $h }")"
[[ $o -le $h ]] || problem "ktbackup is slower"

check "restore takes no longer than psql -f of a plain dump"
pg_dump -h "${NODE_DIR[n1]}/run" -p "${NODE_DB_PORT[n1]}" -U keytrustee keytrustee >"$KT_TMP/dump.sql"
file=$(cat "$KT_TMP/path")
plain_restore() {
    psql -X -q -h "${NODE_DIR[n1]}/run" -p "${NODE_DB_PORT[n1]}" -U keytrustee -d scratch -f "$KT_TMP/dump.sql" \
        >/dev/null 2>&1
    psql -X -q -h "${NODE_DIR[n1]}/run" -p "${NODE_DB_PORT[n1]}" -U keytrustee -d scratch -c CHECKPOINT
}
restore_ours() {
    rm -rf "$KT_TMP/n2"
    mkdir -m 0700 "$KT_TMP/n2"
    "$KTADMIN" --confdir "$KT_TMP/n2" restore "$file" --node n2 --port 1 --agent-port 2 \
        --database-port "$other" --quiet --accept-loss \
        --cluster-id "$(sql n1 'SELECT cluster_id FROM cluster')" >/dev/null
}
free_port
other=$port
hand=() own=()
stop_server n1 # the cluster that is restored must be gone
for ((i = 0; i < rounds; i++)); do
    psql -X -q -h "${NODE_DIR[n1]}/run" -p "${NODE_DB_PORT[n1]}" -U keytrustee -d postgres \
        -c 'DROP DATABASE IF EXISTS scratch' -c 'CREATE DATABASE scratch' >/dev/null
    took plain_restore
    hand+=("$seconds")
    took restore_ours
    own+=("$seconds")
    echo "round $i: psql -f ${hand[i]} ms, ktadmin restore ${own[i]} ms"
done
h=$(median "${hand[@]}") o=$(median "${own[@]}")
echo "restore: median psql -f $h ms, ktadmin restore $o ms, ratio $(awk "BEGIN { printf \"%.2f\", $o / $h }")"
[[ $o -le $h ]] || problem "the restore is slower"
finish
