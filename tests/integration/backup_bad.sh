#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Bad backups: damaged, exchanged, and made by somebody who has even the cluster's own key. Each is
# found, with one line that says what is wrong, exit code 7 and nothing written (P8, P9).
# shellcheck source=tests/support/lib.sh
. "$KT_SOURCE/tests/support/lib.sh"
# shellcheck source=tests/support/backup.sh
. "$KT_SOURCE/tests/support/backup.sh"

out=$KT_TMP/backups bad=$KT_TMP/bad
mkdir -m 0700 "$out" "$bad"
new_node_with_clients n1
new_recipient 'John Doe' john.doe@example.com
new_recipient 'Jane Roe' jane.roe@example.com
head -c 60000 /dev/urandom >"$KT_TMP/plain"
client host-1 put disks/sd1 "$KT_TMP/plain" >/dev/null 2>"$KT_TMP/err" || give_up "put: $(cat "$KT_TMP/err")"
id=$(client host-1 info disks/sd1 --json | json - id)

# The cluster's own signing key, in a keyring that may have others as well.
confdir=${NODE_DIR[n1]}/.keytrustee
signer=$(gpg --homedir "$confdir" --batch --with-colons --list-keys 2>/dev/null | awk -F: '/^fpr/ { print $10; exit }')
ring=$KT_TMP/gnupg-cluster
mkdir -m 0700 "$ring"
cp -r "$confdir/private-keys-v1.d" "$confdir/pubring.kbx" "$ring"
gpg --homedir "$ring" --batch --quiet --passphrase '' --quick-generate-key 'Other <other@example.com>' \
    ed25519 sign never 2>/dev/null
gpg --homedir "$ring" --batch --export "$signer" >"$KT_TMP/cluster.pub" 2>/dev/null

# sign_with KEY... <TEXT >MANIFEST
sign_with() {
    local users=() key

    for key in "$@"; do
        users+=(--local-user "$key")
    done
    gpg --homedir "$ring" --batch --quiet --trust-model always "${users[@]}" --clear-sign 2>"$KT_TMP/gpg.err"
}

text_of() {
    sed -e '1,/^$/d' -e '/^-----BEGIN PGP SIGNATURE/,$d' "$1"
}

# Three real ones: clear text, another of that with one deposit more, and an encrypted one.
make_clear() {
    backup n1 --cleartext --accept-cleartext-risk --output="$out" --quiet 2>/dev/null
}
good=$(make_clear)
client host-1 put disks/sd2 "$KT_TMP/plain" >/dev/null 2>&1
other=$(make_clear)
sealed=$(backup n1 --gpg-recipient=john.doe@example.com --output="$out" --quiet)
[[ -s $good && -s $other && -s $sealed ]] || give_up "no backups to begin with"
stem=$(basename "$good" .tar)
text_of "$out/$stem.manifest" >"$KT_TMP/good.txt"
text_of "${sealed%.tar.gpg}.manifest" >"$KT_TMP/sealed.txt"

# forge ARTEFACT TEXT [SED]: a pair in $bad whose manifest has the artefact's real length and hash, and
# the cluster's own signature. Sets $pair.
forge() {
    local name

    rm -f "$bad"/*
    name=$(sed -n 's/^artefact //p' "$2")
    pair=$bad/$name
    cp "$1" "$pair"
    sed -e "s/^bytes .*/bytes $(stat -c %s "$1")/" \
        -e "s/^sha256 .*/sha256 $(sha256sum "$1" | cut -c 1-64)/" ${3:+-e "$3"} "$2" >"$KT_TMP/text"
    sign_with "$signer" <"$KT_TMP/text" >"${pair%.tar*}.manifest"
}

# is_bad PATTERN COMMAND...: status 7, one line of error (and a hint), no output, no files left.
is_bad() {
    exits 7 "${@:2}"
    is "$(cat "$KT_TMP/out" | wc -c)" 0 "bytes on standard output"
    is "$(grep -vc '^hint:' "$KT_TMP/err")" 1 "lines of error"
    has "$KT_TMP/err" "$1"
    is "$(ls -A "$TMPDIR" | wc -l)" 0 "files left in the scratch folder"
    is "$(ls -A "$bad" | wc -l)" 2 "files beside the backup"
}

# The pair that was forged last is refused by all that reads members.
reading_refuses() {
    is_bad "$1" backup n1 verify --decrypt "$pair"
    is_bad "$1" backup n1 cat --id "$id" "$pair"
}

# --- an archive, member by member ---

mkdir "$KT_TMP/tree" "$KT_TMP/tree2"
tar -tf "$good" | sed 's|/$||' >"$KT_TMP/order"
folder=$(head -n 1 "$KT_TMP/order")
base=${folder%"/$stem.d"}

# A fresh tree to change, and the archive that stock tar makes of it in that order.
fresh_tree() {
    rm -rf "$KT_TMP/tree" && mkdir "$KT_TMP/tree" && tar -xf "$good" -C "$KT_TMP/tree"
}
pack() {
    tar --no-recursion --format=ustar -cf "$KT_TMP/bad.tar" -C "$KT_TMP/tree" -T "${1:-$KT_TMP/order}"
}

field() {
    printf '%b' "$1"
    head -c $(($2 - $(printf '%b' "$1" | wc -c))) /dev/zero
}

# tar_header PATH TYPE SIZE [LINK]: one header; SIZE as it stands in it, with printf's escapes.
tar_header() {
    local part sum

    for part in '        ' ''; do
        [[ -z $part ]] && part=$(printf '%06o' "$sum")'\0 '
        {
            field "$1" 100
            field '0000600' 8 && field '0000000' 8 && field '0000000' 8
            field "$3" 12 && field '00000000000' 12
            field "$part" 8
            field "$2" 1 && field "${4:-}" 100
            field 'ustar' 6 && field '00' 2 && field keytrustee 32 && field keytrustee 32
            field '0000000' 8 && field '0000000' 8 && field '' 155 && field '' 12
        } >"$KT_TMP/header"
        sum=$(od -An -v -tu1 "$KT_TMP/header" | awk '{ for (i = 1; i <= NF; i++) s += $i } END { print s }')
    done
    cat "$KT_TMP/header"
}

block_of() {
    tar -tRf "$good" | sed -n "s|^block \([0-9]*\): .*$1\$|\1|p" | head -n 1
}

# with_member FILE: $KT_TMP/bad.tar is the good one with the blocks of FILE in front of the script.
with_member() {
    local at
    at=$(block_of "$stem.sql")

    {
        head -c $((at * 512)) "$good"
        cat "$1"
        tail -c +$((at * 512 + 1)) "$good"
    } >"$KT_TMP/bad.tar"
}

# hostile SENTENCE PATTERN PATH TYPE SIZE [LINK]: a member that stock tar would follow.
hostile() {
    check "a backup with $1 is refused, though its manifest is signed"
    tar_header "${@:3}" >"$KT_TMP/member"
    with_member "$KT_TMP/member"
    forge "$KT_TMP/bad.tar" "$KT_TMP/good.txt"
    reading_refuses "$2"
}

check "what is forged without a fault is taken: the faults are what is found below"
fresh_tree
pack
forge "$KT_TMP/bad.tar" "$KT_TMP/good.txt"
succeeds backup n1 verify --decrypt "$pair"
has "$KT_TMP/out" '^signature +good'
succeeds backup n1 cat --id "$id" "$pair"
tar_header "$base/.keytrustee/none" 5 00000000000 >"$KT_TMP/member"
with_member "$KT_TMP/member"
forge "$KT_TMP/bad.tar" "$KT_TMP/good.txt"
succeeds backup n1 verify --decrypt "$pair"
forge "$sealed" "$KT_TMP/sealed.txt"
succeeds backup n1 verify --decrypt "$pair"

hostile "a path that climbs out" 'not a plain relative one' "$base/.keytrustee/../../evil" 0 00000000000
hostile "an absolute path" 'not a plain relative one' "/$base/.keytrustee/evil" 0 00000000000
hostile "a symbolic link" 'it is a link' "$base/.keytrustee/evil" 2 00000000000 /etc/passwd
hostile "a hard link" 'it is a link' "$base/.keytrustee/evil" 1 00000000000 "$base/.keytrustee/ca/key.pem"
hostile "a device" 'neither a file nor a folder' "$base/.keytrustee/evil" 3 00000000000
hostile "a pipe" 'neither a file nor a folder' "$base/.keytrustee/evil" 6 00000000000
hostile "a control character in a path" 'not a plain relative one' "$base/.keytrustee/e\\nvil" 0 00000000000
hostile "a member of 64 TiB and more" 'out of bounds' "$base/.keytrustee/evil" 0 '\0200\0\0\0\0\0100\0\0\0\0\0001'
hostile "a member that is longer than all of it" 'truncated|damaged' "$base/.keytrustee/evil" 0 77777777777
hostile "a file that the list has not" 'not those of the list' "$base/.keytrustee/evil" 0 00000000000

check "an archive without its end, or with something behind it, is refused"
end=$(tar -tRf "$good" | sed -n 's/^block \([0-9]*\): \*\* Block of NULs.*/\1/p' | head -n 1)
for blocks in "$end" $((end + 1)) $((end - 1)) $((end - 10)) 1; do
    head -c $((blocks * 512)) "$good" >"$KT_TMP/bad.tar"
    forge "$KT_TMP/bad.tar" "$KT_TMP/good.txt"
    reading_refuses 'truncated|ends before'
done
: >"$KT_TMP/bad.tar"
forge "$KT_TMP/bad.tar" "$KT_TMP/good.txt"
is_bad 'truncated|ends before|damaged' backup n1 verify --decrypt "$pair"
(cat "$good" && echo 'more') >"$KT_TMP/bad.tar"
forge "$KT_TMP/bad.tar" "$KT_TMP/good.txt"
reading_refuses 'behind the end'
cat "$good" "$good" >"$KT_TMP/bad.tar"
forge "$KT_TMP/bad.tar" "$KT_TMP/good.txt"
reading_refuses 'behind the end'

check "members of another backup of the same cluster are found in this one"
other_stem=$(basename "$other" .tar)
tar -xf "$other" -C "$KT_TMP/tree2"
fresh_tree
cp "$KT_TMP/tree2/$base/$other_stem.d/deposits.bin" "$KT_TMP/tree/$folder/deposits.bin"
pack
forge "$KT_TMP/bad.tar" "$KT_TMP/good.txt"
reading_refuses 'not those of the list'
is_bad 'not those of the list' backup n1 verify --restore "$pair"

check "a table that is consistent with the list, but has other rows than the manifest says, is not restored"
sed "s|^[0-9a-f]*\(  .*/deposits.bin\)|$(sha256sum "$KT_TMP/tree/$folder/deposits.bin" | cut -c 1-64)\1|" \
    -i "$KT_TMP/tree/$base/$stem.sha256"
pack
forge "$KT_TMP/bad.tar" "$KT_TMP/good.txt"
is_bad 'not what its manifest says' backup n1 verify --restore "$pair"

check "a list that lacks a line, has one more or another order is refused"
list=$KT_TMP/tree/$base/$stem.sha256
for change in 3d 2p '2{h;d};3G'; do
    fresh_tree
    sed -i "$change" "$list"
    pack
    forge "$KT_TMP/bad.tar" "$KT_TMP/good.txt"
    reading_refuses 'not those of the list'
done

check "members that are missing, twice, in another order or behind the list are refused"
fresh_tree
for change in '/deposits.bin$/d' '/epochs.bin$/p' '/epochs.bin$/{h;d};/key_groups.bin$/G' \
    '/\.sha256$/d' '/\.d$/d' '/backup.json$/d' '/\.sha256$/{p;s|.*|'"$base"'/.keytrustee/ca/cert.pem|}'; do
    sed "$change" "$KT_TMP/order" >"$KT_TMP/order.bad"
    cmp -s "$KT_TMP/order" "$KT_TMP/order.bad" && problem "'$change' changes nothing"
    pack "$KT_TMP/order.bad"
    forge "$KT_TMP/bad.tar" "$KT_TMP/good.txt"
    reading_refuses '.'
done

# --- damage ---

# flip FILE OFFSET: the lowest bit of one byte.
flip() {
    local byte
    byte=$(od -An -tu1 -j "$2" -N 1 "$1")

    printf '%b' "\\0$(printf '%o' $((byte ^ 1)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

copy_sealed() {
    rm -f "$bad"/*
    cp "$sealed" "${sealed%.tar.gpg}.manifest" "$bad"
    pair=$bad/$(basename "$sealed")
}

check "one flipped bit anywhere in the artefact is found without the private key"
size=$(stat -c %s "$sealed")
for at in 0 1 2 5 300 600 $((size / 3)) $((size / 2)) $((size - 30)) $((size - 1)); do
    copy_sealed
    flip "$pair" "$at"
    is_bad '.' backup n1 verify "$pair"
done
is_bad 'SHA-256|not a backup' backup n1 cat --id "$id" "$pair"

check "one flipped bit is found with the private key even when the manifest vouches for it"
for at in 10 300 600 $((size / 2)) $((size - 30)) $((size - 1)); do
    cp "$sealed" "$KT_TMP/bad.gpg"
    flip "$KT_TMP/bad.gpg" "$at"
    forge "$KT_TMP/bad.gpg" "$KT_TMP/sealed.txt"
    is_bad '.' backup n1 verify --decrypt "$pair"
done

check "an artefact that is cut off or longer is found, with the manifest and without"
for length in 0 1 300 $((size / 2)) $((size - 1)); do
    copy_sealed
    truncate -s "$length" "$pair"
    is_bad 'its length' backup n1 verify "$pair"
    head -c "$length" "$sealed" >"$KT_TMP/bad.gpg"
    forge "$KT_TMP/bad.gpg" "$KT_TMP/sealed.txt"
    is_bad '.' backup n1 verify "$pair"
done
copy_sealed
echo >>"$pair"
is_bad 'its length' backup n1 verify "$pair"
(cat "$sealed" && echo) >"$KT_TMP/bad.gpg"
forge "$KT_TMP/bad.gpg" "$KT_TMP/sealed.txt"
is_bad '.' backup n1 verify "$pair"

check "one flipped bit in any line of a manifest is found, and so is one that is cut off"
copy_sealed
at=0 lines=0
while IFS= read -r line; do
    middle=$((at + ${#line} / 2))
    at=$((at + ${#line} + 1))
    [[ $line == =* ]] && break # behind it only the armor's end follows
    copy_sealed
    flip "${pair%.tar.gpg}.manifest" "$middle"
    is_bad '.' backup n1 verify "$pair"
    lines=$((lines + 1))
done <"${sealed%.tar.gpg}.manifest"
[[ $lines -ge 40 ]] || problem "only $lines lines"
for length in 0 40 400 1200 $(($(stat -c %s "${sealed%.tar.gpg}.manifest") - 1)); do
    copy_sealed
    truncate -s "$length" "${pair%.tar.gpg}.manifest"
    is_bad '.' backup n1 verify "$pair"
done

# --- manifests ---

check "a manifest that lacks a line, or has one twice, is refused though it is signed"
count=$(grep -vc '^rows ' "$KT_TMP/good.txt")
for ((i = 1; i <= count; i++)); do
    for change in "${i}d" "${i}p"; do
        forge "$good" "$KT_TMP/good.txt" "$change"
        is_bad 'manifest' backup n1 verify "$pair"
    done
done
forge "$good" "$KT_TMP/good.txt" '/^rows deposits/p'
is_bad 'manifest' backup n1 verify "$pair"
forge "$good" "$KT_TMP/good.txt" '/^rows deposits/d'
is_bad "next table" backup n1 verify --decrypt "$pair"

check "a manifest that nobody, another key or two keys have signed is refused"
forge "$good" "$KT_TMP/good.txt"
cp "$KT_TMP/text" "${pair%.tar}.manifest"
is_bad 'not signed' backup n1 verify "$pair"
forge "$good" "$KT_TMP/good.txt" "s/^signer .*/signer $(fingerprint_of john.doe@example.com)/"
is_bad 'signed by key' backup n1 verify "$pair"
sign_with other@example.com <"$KT_TMP/text" >"${pair%.tar}.manifest"
is_bad 'another key|signed by key' backup n1 verify "$pair"
sign_with "$signer" other@example.com <"$KT_TMP/text" >"${pair%.tar}.manifest"
is_bad 'exactly one signature|another key|signed by key' backup n1 verify "$pair"
is_bad 'exactly one signature|another key|signed by key' backup n1 cat --id "$id" "$pair"

check "a manifest of another cluster is not taken for one of ours"
sed -e "s/^signer .*/signer $(gpg --homedir "$ring" --batch --with-colons --list-keys other@example.com 2>/dev/null |
    awk -F: '/^fpr/ { print $10; exit }')/" -e "s/^cluster .*/cluster $(new_uuid)/" "$KT_TMP/text" |
    sign_with other@example.com >"${pair%.tar}.manifest"
is_bad 'another key|signed by key' backup n1 verify --key "$KT_TMP/cluster.pub" "$pair"
is_bad 'signed by key' backup n1 verify "$pair"

check "a manifest of another backup is refused under this one's name, and so is its hash"
copy_sealed
cp "$out/$stem.manifest" "${pair%.tar.gpg}.manifest"
is_bad 'is of' backup n1 verify "$pair"
copy_sealed
sed "s/^artefact .*/artefact $(basename "$sealed")/; s/^encrypted .*/encrypted yes/" "$KT_TMP/good.txt" |
    awk -v line="$(grep '^recipient' "$KT_TMP/sealed.txt")" '{ print } /^program/ { print line }' |
    sign_with "$signer" >"${pair%.tar.gpg}.manifest"
is_bad 'its length' backup n1 verify "$pair"

# --- recipients ---

# encrypt OPTIONS...: what is in the sealed one, encrypted anew, with a manifest that fits.
gpg --batch --quiet -d -o "$KT_TMP/sealed.tar" "$sealed" 2>/dev/null
encrypt() {
    gpg --batch --yes --quiet --trust-model always --compress-algo none "$@" \
        --output "$KT_TMP/bad.gpg" "$KT_TMP/sealed.tar" 2>"$KT_TMP/gpg.err" || problem "$(cat "$KT_TMP/gpg.err")"
    forge "$KT_TMP/bad.gpg" "$KT_TMP/sealed.txt"
}

check "an artefact for others than the manifest says is found without the private key"
encrypt -r john.doe@example.com -e
succeeds backup n1 verify "$pair"
encrypt -r jane.roe@example.com -e
is_bad 'other recipients' backup n1 verify "$pair"
encrypt -r john.doe@example.com -r jane.roe@example.com -e
is_bad 'other recipients' backup n1 verify "$pair"
encrypt -R john.doe@example.com -e
is_bad 'other recipients|not a backup' backup n1 verify "$pair"

check "an artefact that a passphrase opens too is found without the private key"
encrypt --pinentry-mode loopback --passphrase guess -r john.doe@example.com -e --symmetric
is_bad 'other recipients' backup n1 verify "$pair"
encrypt --pinentry-mode loopback --passphrase guess --symmetric
is_bad 'other recipients|not a backup' backup n1 verify "$pair"

check "an archive that anybody could have encrypted to the recipient is not read by cat"
encrypt -r john.doe@example.com -e
cp "${sealed%.tar.gpg}.manifest" "$bad"
is_bad 'its length|its SHA-256' backup n1 cat --id "$id" "$pair"
finish
