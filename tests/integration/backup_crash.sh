#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# ktbackup killed at every step that changes a file, and at any time: nothing under a final name is
# incomplete, no good backup is lost, and the next run puts everything right (P8).
# KT_CRASH_TIMES is how often it is killed by time (10); KT_CRASH_WRITES how many of its writes (4).
# shellcheck source=tests/support/lib.sh
. "$KT_SOURCE/tests/support/lib.sh"
# shellcheck source=tests/support/backup.sh
. "$KT_SOURCE/tests/support/backup.sh"

may_trace || {
    skip "crash points of ktbackup: this machine does not let users trace their programs"
    finish
}
out=$KT_TMP/backups
mkdir -m 0700 "$out"
new_node_with_clients n1
new_recipient 'John Doe' john.doe@example.com
# More than the pipes hold: the artefact is written in several pieces.
for i in 1 2 3 4; do
    head -c 900000 /dev/urandom >"$KT_TMP/body"
    client host-1 put "disks/sd$i" "$KT_TMP/body" >/dev/null 2>"$KT_TMP/err" ||
        give_up "put: $(cat "$KT_TMP/err")"
done

declare -A known=()    # artefact that was verified -> hash of both files
declare -A sequences=() # sequence -> stem

hash_of() {
    cat "$1" "${1%.tar.gpg}.manifest" | sha256sum
}

# Verified without the private key; those that were before must be the same bytes.
look_at() {
    local file=$1 stem sequence

    stem=$(basename "$file" .tar.gpg)
    sequence=$(awk '/^sequence / { print $2 }' "${file%.tar.gpg}.manifest")
    [[ ${sequences[$sequence]:=$stem} == "$stem" ]] ||
        problem "sequence $sequence twice: $stem, ${sequences[$sequence]}"
    if [[ -n ${known[$file]:-} ]]; then
        [[ $(hash_of "$file") == "${known[$file]}" ]] || problem "$stem was changed"
        return
    fi
    run backup n1 verify "$file"
    [[ $status -eq 0 ]] || problem "$stem does not verify: $(head -n 1 "$KT_TMP/err")"
    known[$file]=$(hash_of "$file")
}

# What a kill may leave: good pairs, parts, an artefact whose manifest lacks its name only, and of
# those that were to go a manifest. Sets $good.
look_around() {
    local file

    good=0
    for file in "${!known[@]}"; do # the name of one that is gone may be taken again
        [[ -e $file ]] || unset "known[$file]"
    done
    for file in "$out"/*.tar.gpg; do
        [[ -e $file ]] || continue
        if [[ -e ${file%.tar.gpg}.manifest ]]; then
            look_at "$file"
            good=$((good + 1))
        else
            [[ -e ${file%.tar.gpg}.manifest.part ]] || problem "$1: $file has no manifest at all"
        fi
    done
}

# Those that were good before and must be there still: all but what --roll may take.
kept() {
    local file

    for file in "$@"; do
        [[ -e $file && -e ${file%.tar.gpg}.manifest ]] || problem "$where: $file is gone"
    done
}

make_backup() {
    backup n1 --gpg-recipient=john.doe@example.com --output="$out" --quiet "$@"
}

# The next run: succeeds, leaves no part, and all that has a name is complete.
next_run() {
    run make_backup
    [[ $status -eq 0 ]] || problem "$1: the next run fails: $(head -n 1 "$KT_TMP/err")"
    compgen -G "$out/*.part" >/dev/null && problem "$1: parts are left: $(ls "$out")"
    look_around "$1"
    for file in "$out"/*.tar.gpg; do
        [[ -e ${file%.tar.gpg}.manifest ]] || problem "$1: $file is without a manifest"
    done
}

# killed SYSCALL N: a run with --roll=2 that is killed when it begins its Nth such call. Fails when
# there is no Nth.
killed() {
    local before=("$out"/*.tar.gpg)

    where="$1 $2"
    run strace -qq -o "$KT_TMP/strace" -e "trace=$1" -e "inject=$1:signal=KILL:when=$2" \
        "$KTBACKUP" --confdir "${NODE_DIR[n1]}/.keytrustee" \
        --gpg-recipient=john.doe@example.com --output="$out" --quiet --roll=2
    [[ $status -eq 0 ]] && return 1
    [[ $status -eq 137 ]] || problem "$where: status $status: $(head -n 1 "$KT_TMP/err")"
    points=$((points + 1))
    [[ $1 == write || -s $KT_TMP/out ]] && hasnt "$KT_TMP/out" 'kts_bak'
    look_around "$where"
    [[ $good -ge 2 ]] || problem "$where: $good good ones are left"
    # Before the new one has its name nothing old may go.
    [[ $good -lt ${#before[@]} || -e ${before[0]} ]] || kept "${before[@]}"
}

# Three old ones lie there before each run: one of them is to go.
fill_up() {
    local there=("$out"/*.tar.gpg)

    while [[ ${#there[@]} -lt 3 || ! -e ${there[0]} ]]; do
        next_run "filling up"
        there=("$out"/*.tar.gpg)
    done
}

for call in fsync renameat rename unlinkat; do
    check "killed before each of its calls of $call, it leaves only complete backups, two at least"
    points=0
    fill_up
    n=1
    while killed "$call" "$n"; do
        next_run "$where"
        fill_up
        n=$((n + 1))
        [[ $n -lt 60 ]] || { problem "no run completes"; break; }
    done
    [[ $points -ge 1 ]] || problem "it was never killed"
    [[ $call != renameat || $points -eq 2 ]] || problem "killed $points times"
    echo "    $call: killed $points times"
done

check "killed while it writes the artefact and the manifest, likewise"
fill_up
run strace -qq -o "$KT_TMP/strace" -e trace=write "$KTBACKUP" -c "${NODE_DIR[n1]}" \
    --gpg-recipient=john.doe@example.com --output="$out" --quiet --roll=3
total=$(grep -c '^write' "$KT_TMP/strace")
[[ $total -ge 8 ]] || problem "only $total writes"
points=0
for ((i = 0; i < ${KT_CRASH_WRITES:-4}; i++)); do
    killed write $((1 + i * total / ${KT_CRASH_WRITES:-4})) || problem "write: not killed"
    next_run "$where"
    fill_up
done
killed write "$total" # the state, or the path on standard output
next_run "the last write"
echo "    write: killed $points times of $total"

check "killed with all its children at any time, likewise"
points=0
for ((i = 1; i <= ${KT_CRASH_TIMES:-10}; i++)); do
    fill_up
    where="after $((i * 300 / ${KT_CRASH_TIMES:-10})) ms"
    run timeout --signal=KILL "$(printf '0.%03d' $((i * 300 / ${KT_CRASH_TIMES:-10})))" \
        "$KTBACKUP" --confdir "${NODE_DIR[n1]}/.keytrustee" \
        --gpg-recipient=john.doe@example.com --output="$out" --quiet --roll=2
    [[ $status -ne 0 ]] && points=$((points + 1))
    look_around "$where"
    [[ $good -ge 2 ]] || problem "$where: $good good ones are left"
    next_run "$where"
done
[[ $points -ge 1 ]] || problem "it was never killed"
echo "    by time: killed $points times of $((i - 1))"

check "after all that the newest one is restored into a database"
succeeds backup n1 --gpg-recipient=john.doe@example.com --output="$out" --quiet --roll=2
succeeds backup n1 verify --restore "$(newest "$out")"
is "$(ls "$out"/*.tar.gpg | wc -l)" 2 "backups"
is "$(ls "$out" | grep -c 'manifest$')" 2 "manifests"
finish
