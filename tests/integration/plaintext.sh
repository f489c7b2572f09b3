#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The server never holds a plaintext: random markers, in any usual encoding, are nowhere in the node's
# files (P5). The search itself is proven on files that do hold them.
. "$KT_SOURCE/tests/support/lib.sh"

# The texts by which the bytes of a file would be recognised: hex in both cases, and base64 at each
# of the three alignments, without the ends that depend on what stands beside.
patterns_of() {
    local hex shift text

    hex=$(od -An -v -tx1 "$1" | tr -d ' \n')
    echo "$hex"
    echo "${hex^^}"
    for shift in 0 1 2; do
        text=$( (head -c "$shift" /dev/zero; cat "$1") | base64 -w 0 | tr -d =)
        text=${text:4:$((${#text} - 8))}
        echo "$text"
        tr '+/' '-_' <<<"$text" # base64url
    done | sort -u
}

# Prints those of the files below a folder that hold the bytes of another file, whatever they are.
raw_holders_of() {
    find "$2" -type f -exec perl -e '
        sub slurp { open(my $f, "<:raw", $_[0]) or return ""; local $/; my $all = <$f>; $all // "" }
        my $bytes = slurp(shift);
        index(slurp($_), $bytes) < 0 or print "$_\n" for @ARGV;' "$1" {} +
}

# Prints the files below the folders given that hold the marker, raw or as text. A part near its
# beginning stands for the whole: a large one is stored in pieces.
holders_of() {
    local part=$KT_TMP/part folder
    head -c 56 "$1" | tail -c 32 >"$part"
    shift

    patterns_of "$part" >"$KT_TMP/patterns"
    {
        grep -rlaF -f "$KT_TMP/patterns" "$@"
        for folder in "$@"; do
            raw_holders_of "$part" "$folder"
        done
    } 2>/dev/null | sort -u
}

new_node_with_clients kts-01
dir=${NODE_DIR[kts-01]}

check "the search finds a marker raw, as hex and as base64 in any place"
head -c 48 /dev/urandom >"$KT_TMP/control"
mkdir "$KT_TMP/planted"
(echo before; cat "$KT_TMP/control"; echo behind) >"$KT_TMP/planted/raw"
od -An -v -tx1 "$KT_TMP/control" | tr -d ' \n' >"$KT_TMP/planted/hex"
od -An -v -tx1 "$KT_TMP/control" | tr -d ' \n' | tr a-f A-F >"$KT_TMP/planted/hex-upper"
for shift in 0 1 2; do
    (head -c "$shift" /dev/urandom; cat "$KT_TMP/control") | base64 -w 0 >"$KT_TMP/planted/b64-$shift"
done
is "$(holders_of "$KT_TMP/control" "$KT_TMP/planted" | wc -l)" 6 "files found"

check "secrets of several sizes are deposited and fetched"
count=0
for size in 32 48 500 5000 100000; do
    for round in 1 2 3; do
        marker=$KT_TMP/marker.$size.$round
        head -c "$size" /dev/urandom >"$marker"
        succeeds client host-1 put "plain/$size" "$marker"
        count=$((count + 1))
    done
    succeeds client host-1 get "plain/$size" -o "$KT_TMP/got"
    same "$marker" "$KT_TMP/got"
done
is "$(sql kts-01 "select count(*) from deposits where handle like 'plain/%'")" "$count" "deposits"

check "a text secret that is refused leaves no trace either"
head -c 48 /dev/urandom | base64 -w 0 | head -c 48 >"$KT_TMP/marker.refused.1"
deposit kts-01 host-1 plain/refused "$KT_TMP/marker.refused.1"
answers 422 not_ciphertext

check "the handles are found in database, WAL and audit log: the search reaches them"
sql kts-01 checkpoint >/dev/null || problem "checkpoint"
echo -n plain/100000 >"$KT_TMP/handle"
for part in db/base db/pg_wal audit; do
    [[ -n $(grep -rlaF plain/100000 "$dir/$part" | head -n 1) ]] || problem "not in $part"
done

check "no marker is in any file of the node while it runs"
for marker in "$KT_TMP"/marker.*; do
    is "$(holders_of "$marker" "$dir")" "" "files that hold $(basename "$marker")"
done

check "no marker is in the memory images that a dump of the database shows"
pg_dump -h "$dir/run" -p "${NODE_DB_PORT[kts-01]}" -U keytrustee keytrustee >"$KT_TMP/planted/dump"
[[ -s $KT_TMP/planted/dump ]] || problem "the dump is empty"
for marker in "$KT_TMP"/marker.*; do
    is "$(holders_of "$marker" "$KT_TMP/planted/dump")" "" "dump that holds $(basename "$marker")"
done

check "no marker is in any file of the node after a stop"
stop_node kts-01
for marker in "$KT_TMP"/marker.*; do
    is "$(holders_of "$marker" "$dir")" "" "files that hold $(basename "$marker")"
done

check "the private keys of the clients are not in the node's files"
for name in host-1 host-2; do
    sed '/-----/d' "$(client_dir "$name")/client-key.pem" | tr -d '\n' | base64 -d >"$KT_TMP/der"
    # The secret number of a P-256 key in PKCS#8 stands behind the octet string header 04 20.
    dd if="$KT_TMP/der" of="$KT_TMP/number" bs=1 skip=36 count=32 status=none
    is "$(holders_of "$KT_TMP/number" "$dir")" "" "files that hold the TLS key of $name"
    [[ $(holders_of "$KT_TMP/number" "$KT_TMP/der") ]] || problem "the search misses it where it is"
    for file in "$(client_dir "$name")"/gnupg/private-keys-v1.d/*.key; do
        line=$(tr -d '\0' <"$file" | grep -aoE '#[0-9A-F]{60,}#' | tail -n 1 | tr -d '#')
        [[ -n $line ]] && is "$(grep -rlaiF "$line" "$dir")" "" "files that hold an OpenPGP key"
    done
done

finish
