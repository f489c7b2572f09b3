#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# ktbackup killed at every step that changes a file, and at any time: nothing under a final name is
# incomplete, no good backup is lost, and the next run puts everything right (P8).
# KT_CRASH_TIMES is how often it is killed by time (6); KT_CRASH_WRITES how many of its writes (4).
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
for i in 1 2; do
    head -c 900000 /dev/urandom >"$KT_TMP/body"
    client host-1 put "disks/sd$i" "$KT_TMP/body" >/dev/null 2>"$KT_TMP/err" ||
        give_up "put: $(cat "$KT_TMP/err")"
done

options=(--confdir "${NODE_DIR[n1]}/.keytrustee" --gpg-recipient=john.doe@example.com
    --output="$out" --quiet)

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

make_backup() {
    "$KTBACKUP" "${options[@]}" "$@"
}

# The shell's own words about a killed program go where the program's go.
quietly() {
    ("$@"; exit $?)
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
    local before=("$out"/*.tar.gpg) last file

    last=$(newest "$out")
    where="$1 $2"
    run quietly traced -o "$KT_TMP/strace" -e "trace=$1" -e "inject=$1:signal=KILL:when=$2" \
        "$KTBACKUP" "${options[@]}" --roll=2
    if [[ $status -eq 0 ]]; then
        look_around "$where"
        return 1
    fi
    [[ $status -eq 137 ]] || problem "$where: status $status: $(head -n 1 "$KT_TMP/err")"
    points=$((points + 1))
    is "$(cat "$KT_TMP/out")" "" "$where: standard output"
    look_around "$where"
    [[ $good -ge 2 ]] || problem "$where: $good good ones are left"
    # Nothing old goes before the new one has its names, and the newest of them never.
    [[ -e $last && -e ${last%.tar.gpg}.manifest ]] || problem "$where: $last is gone"
    for file in "$out"/*.tar.gpg; do
        [[ " ${before[*]} " == *" $file "* || ! -e ${file%.tar.gpg}.manifest ]] || return 0
    done
    [[ $good -eq ${#before[@]} ]] || problem "$where: $good are left of ${#before[@]}"
}

# Two old ones at least lie there before each run: one of them is to go.
fill_up() {
    local there=("$out"/*.tar.gpg)

    while [[ ${#there[@]} -lt 2 || ! -e ${there[0]} ]]; do
        next_run "filling up"
        there=("$out"/*.tar.gpg)
    done
}

# Folder, artefact, manifest, names, state; the two names, one that goes; the state; one that goes.
declare -A least=([fsync]=6 [renameat]=3 [rename]=1 [unlinkat]=2)
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
    [[ $points -ge ${least[$call]} ]] || problem "killed only $points times"
    echo "    $call: killed $points times"
done

check "killed while it writes the artefact and the manifest, likewise"
fill_up
run traced -o "$KT_TMP/strace" -e trace=write "$KTBACKUP" "${options[@]}" --roll=3
look_around "with --roll=3"
total=$(grep -c '^write' "$KT_TMP/strace")
[[ $total -ge 8 ]] || problem "only $total writes"
points=0
# How many there are depends on how much gpg hands over at a time: the first half are always there.
for ((i = 0; i < ${KT_CRASH_WRITES:-4}; i++)); do
    killed write $((1 + i * total / 2 / ${KT_CRASH_WRITES:-4})) || problem "write: not killed"
    next_run "$where"
    fill_up
done
killed write "$total" # the state, or the path on standard output
next_run "the last write"
echo "    write: killed $points times of $total"

check "killed with all its children at any time, likewise"
fill_up
points=0
begun=${EPOCHREALTIME/[.,]/}
next_run "one that is not killed"
took=$(((${EPOCHREALTIME/[.,]/} - begun) / 1000))
for ((i = 1; i <= ${KT_CRASH_TIMES:-6}; i++)); do
    fill_up
    ms=$((i * took / ${KT_CRASH_TIMES:-6}))
    where="after $ms ms"
    run quietly timeout --signal=KILL "$((ms / 1000)).$(printf '%03d' $((ms % 1000)))" \
        "$KTBACKUP" "${options[@]}" --roll=2
    [[ $status -ne 0 ]] && points=$((points + 1))
    look_around "$where"
    [[ $good -ge 2 ]] || problem "$where: $good good ones are left"
    next_run "$where"
done
[[ $points -ge 1 ]] || problem "it was never killed"
echo "    by time: killed $points times of $((i - 1))"

check "after all that the newest one is restored into a database"
succeeds make_backup --roll=2
succeeds backup n1 verify --restore "$(newest "$out")"
is "$(ls "$out"/*.tar.gpg | wc -l)" 2 "backups"
is "$(ls "$out" | grep -c 'manifest$')" 2 "manifests"
finish
