#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What fails under ktbackup while it works: the disk, gpg, its agent, PostgreSQL. Each time there is one
# line of error, nothing under a final name, no part, and the old backups are as they were (P8). And
# clocks that go back: sequences and manifests' times decide what goes, not files' times.
# shellcheck source=tests/support/lib.sh
. "$KT_SOURCE/tests/support/lib.sh"
# shellcheck source=tests/support/backup.sh
. "$KT_SOURCE/tests/support/backup.sh"

may_trace || {
    skip "faults under ktbackup: this machine does not let users trace their programs"
    finish
}
out=$KT_TMP/backups
mkdir -m 0700 "$out"
new_node_with_clients n1
new_recipient 'John Doe' john.doe@example.com
confdir=${NODE_DIR[n1]}/.keytrustee
options=(--confdir "$confdir" --gpg-recipient=john.doe@example.com --output="$out" --quiet)
head -c 100000 /dev/urandom >"$KT_TMP/plain"
client host-1 put disks/sd1 "$KT_TMP/plain" >/dev/null 2>"$KT_TMP/err" || give_up "put: $(cat "$KT_TMP/err")"
for i in 1 2; do
    "$KTBACKUP" "${options[@]}" >/dev/null 2>"$KT_TMP/err" || give_up "backup: $(cat "$KT_TMP/err")"
done

# What is in the folder, bytes and all.
state_of() {
    (cd "$1" && sha256sum -- * 2>/dev/null)
}

# fails STATUS PATTERN COMMAND...: a run that fails leaves the folder as it was, and says one line.
fails() {
    local before

    before=$(state_of "$out")
    exits "$1" "${@:3}"
    is "$(cat "$KT_TMP/out")" "" "standard output"
    is "$(grep -vc '^hint:' "$KT_TMP/err")" 1 "lines of error"
    has "$KT_TMP/err" "$2"
    is "$(state_of "$out")" "$before" "the folder after: ${*:3:6}"
}

goes_on() {
    succeeds "$KTBACKUP" "${options[@]}"
    succeeds backup n1 verify "$(cat "$KT_TMP/out")"
}

# --- the disk ---

# injected SYSCALL FAULT N: options of strace.
injected() {
    traced -o "$KT_TMP/strace" -e "trace=$1" -e "inject=$1:$2:when=$3" "$KTBACKUP" "${options[@]}" --roll=1
}

check "without a fault the same run under strace succeeds"
succeeds traced -o "$KT_TMP/strace.all" -e trace=write,fsync "$KTBACKUP" "${options[@]}"

check "a disk that is full at any write up to the manifest's ends it"
# How many writes there are differs from run to run: on until three runs ended before the one that
# would fail. After the backup is made come those of the state and of the path on standard output.
failed=0 complete=0
for ((n = 1; n < 200 && complete < 3; n++)); do
    before=$(state_of "$out")
    run injected write error=ENOSPC "$n"
    ! grep -q 'standard output' "$KT_TMP/err" || continue
    if [[ $status -eq 0 ]]; then
        complete=$((complete + 1))
        continue
    fi
    failed=$((failed + 1))
    is "$(cat "$KT_TMP/out")" "" "standard output after write $n"
    has "$KT_TMP/err" 'No space left'
    is "$(state_of "$out")" "$before" "the folder after write $n"
done
[[ $complete -eq 3 ]] || problem "no three runs get to their end"
[[ $failed -ge 2 ]] || problem "only $failed writes failed"
goes_on

check "a disk that is full or broken at a rename ends it, and a name that was given is taken back"
for n in 1 2; do
    fails 5 'No space left' injected renameat error=ENOSPC "$n"
    fails 1 'Input/output error' injected renameat error=EIO "$n"
done
goes_on

check "what cannot be made durable has no name afterwards"
total=$(grep -c '^fsync' "$KT_TMP/strace.all")
for ((n = 1; n <= 5; n++)); do # the folder, the artefact, the manifest, the folder before and after
    fails 1 'Input/output error' injected fsync error=EIO "$n"
done
[[ $total -ge 7 ]] || problem "$total calls of fsync"
goes_on

check "a backup whose state cannot be kept is a backup all the same, with a warning"
run injected rename error=ENOSPC 1
is "$status" 0 status
has "$KT_TMP/err" 'warning'
succeeds backup n1 verify "$(cat "$KT_TMP/out")"
goes_on
is "$(cat "$out"/*.manifest | awk '/^sequence / { print $2 }' | sort | uniq -d)" "" "sequences twice"

check "a disk with room for less than the backup ends it at whatever byte that is"
# A disk of its own for the folder, in a mount namespace of the run's own.
on_small_disk() {
    unshare -U -m --map-user="$(id -u)" --map-group="$(id -g)" --keep-caps bash -c '
        mount -t tmpfs -o "size=$1,mode=0700" tmpfs "$2" || exit 99
        "${@:3}" >"$KT_TMP/small.out" 2>"$KT_TMP/small.err"
        echo "$? $(ls -A "$2" | wc -l)"' - "$1" "$KT_TMP/small" \
        "$KTBACKUP" --confdir "$confdir" --gpg-recipient=john.doe@example.com --output="$KT_TMP/small" --quiet
}
mkdir "$KT_TMP/small"
export KT_TMP
run on_small_disk 64m
if [[ $status -ne 0 || $(cat "$KT_TMP/out") == 99* ]]; then
    skip "small disks: this machine does not let users make mount namespaces"
else
    is "$(cat "$KT_TMP/out")" "0 2" "with room: status and files"
    for size in 4k 8k 64k 128k 190k; do
        run on_small_disk "$size"
        is "$(cat "$KT_TMP/out")" "5 0" "with $size: status and files"
        has "$KT_TMP/small.err" 'No space left'
        is "$(wc -c <"$KT_TMP/small.out")" 0 "bytes on standard output"
    done
fi

# --- children ---

# Rows that take a while, and more than all pipes between the processes hold.
sql n1 "CREATE TABLE filler AS SELECT * FROM deposits" >/dev/null
sql n1 "UPDATE filler SET body = (SELECT decode(string_agg(md5(i::text), ''), 'hex') FROM generate_series(1, 60000) i)" >/dev/null
columns="organisation_id, client_id, version, content_type, body, sha256, size, key_group_id, incarnation,
    epoch, deposited_at, w, receipt_key_id, receipt_signature"
sql n1 "INSERT INTO deposits (deposit_id, handle, log_index, $columns)
    SELECT gen_random_uuid(), handle || i, log_index + i, $columns FROM filler, generate_series(1, 60) i" \
    >"$KT_TMP/fill.out" 2>&1 || give_up "fill: $(head -n 3 "$KT_TMP/fill.out")"
sql n1 "DROP TABLE filler" >/dev/null

is_stopped() {
    grep -q 'stopped by SIGSTOP' "$KT_TMP/strace" 2>/dev/null && backup_pid=$(pgrep -P "$1" -x ktbackup)
}

# stopped_in_the_middle: a run that stops itself in the middle of the deposits; sets $backup_pid.
stopped_in_the_middle() {
    before=$(state_of "$out")
    rm -f "$KT_TMP/strace"
    ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0 strace -qq -o "$KT_TMP/strace" \
        -e trace=write -e "inject=write:signal=STOP:when=$middle" \
        "$KTBACKUP" "${options[@]}" --roll=1 >"$KT_TMP/out" 2>"$KT_TMP/err" </dev/null &
    tracer=$!
    KT_PIDS[$tracer]="strace"
    wait_until 30 is_stopped "$tracer" || give_up "it does not stop: $(cat "$KT_TMP/err")"
}

# goes_wrong STATUS PATTERN: after the fault the run goes on, and fails as fails() wants it.
goes_wrong() {
    kill -CONT "$backup_pid"
    status=0
    wait_until 60 is_gone "$tracer" || kill -KILL "$backup_pid"
    wait "$tracer" || status=$?
    unset "KT_PIDS[$tracer]"
    [[ $status == "$1" ]] || problem "status $status, not $1"
    is "$(cat "$KT_TMP/out")" "" "standard output"
    is "$(grep -vc '^hint:' "$KT_TMP/err")" 1 "lines of error"
    has "$KT_TMP/err" "$2"
    is "$(state_of "$out")" "$before" "the folder"
}

middle=45 # of 56 and more, of 58 MB: none is longer than 1 MiB

check "gpg that is killed in the middle ends the run"
stopped_in_the_middle
child=$(pgrep -P "$backup_pid" -x gpg) || problem "no gpg"
kill -KILL "$child"
goes_wrong 1 'gpg was ended by signal 9'

check "the backend of PostgreSQL that is ended in the middle of a table ends the run"
stopped_in_the_middle
is "$(sql n1 "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query LIKE 'COPY%deposits%'")" 1 "backends"
goes_wrong 5 'deposits|database|terminat|connection'

check "PostgreSQL that is killed in the middle ends the run"
stopped_in_the_middle
postmaster_of n1 && stop_database_hard "$pid"
goes_wrong 5 'deposits|database|terminat|connection'
start_database n1 || kt_show "$KT_TMP/n1.db.out" "db --start"
wait_until 30 ready n1 || problem "not ready again"

check "without an agent that could sign the manifest there is no backup"
stopped_in_the_middle
gpgconf --homedir "$confdir" --kill gpg-agent
echo 'agent-program /bin/false' >"$confdir/gpg.conf"
goes_wrong 1 'cannot sign'
fails 1 'cannot sign' "$KTBACKUP" "${options[@]}" --roll=1
rm "$confdir/gpg.conf"

check "a run that is asked to end in the middle leaves nothing that the next one does not put right"
stopped_in_the_middle
kill -TERM "$backup_pid"
kill -CONT "$backup_pid"
wait "$tracer"
unset "KT_PIDS[$tracer]"
is "$(ls "$out" | grep -v 'part$' | sed 's/ /_/g' | wc -l)" "$(wc -l <<<"$before")" "files with a final name"
goes_on
compgen -G "$out/*.part" >/dev/null && problem "parts are left"

# --- clocks ---

check "files' times do not matter to --roll and --keep-within, sequences and manifests' times do"
last=$(newest "$out")
touch -d '2001-01-01' "$last" "${last%.tar.gpg}.manifest"
touch -d '2099-01-01' "$(ls "$out"/*.tar.gpg | head -n 1)"
succeeds "$KTBACKUP" "${options[@]}" --roll=2
is "$(ls "$out"/*.tar.gpg | wc -l)" 2 "backups"
[[ -e $last ]] || problem "the newest but one is gone"

check "a backup of a clock that went ahead keeps its place in the sequence"
first=$(cat "$KT_TMP/out")
ring=$KT_TMP/gnupg-cluster
mkdir -m 0700 "$ring"
cp -r "$confdir/private-keys-v1.d" "$confdir/pubring.kbx" "$ring"
sed -e '1,/^$/d' -e '/^-----BEGIN PGP SIGNATURE/,$d' -e 's/^time .*/time 2099-01-01T00:00:00.000000Z/' \
    "${first%.tar.gpg}.manifest" | gpg --homedir "$ring" --batch --quiet --trust-model always --clear-sign \
    >"$KT_TMP/signed" 2>"$KT_TMP/gpg.err" && cat "$KT_TMP/signed" >"${first%.tar.gpg}.manifest"
succeeds "$KTBACKUP" "${options[@]}" --roll=2
new=$(cat "$KT_TMP/out")
[[ -e $new && -e $first && ! -e $last ]] || problem "there are $(ls "$out")"
succeeds "$KTBACKUP" "${options[@]}" --keep-within=1h
[[ -e $(cat "$KT_TMP/out") && -e $new && -e $first ]] || problem "there are $(ls "$out")"
succeeds "$KTBACKUP" "${options[@]}" --roll=1
is "$(ls "$out"/*.tar.gpg)" "$(cat "$KT_TMP/out")" "what is left"
finish
