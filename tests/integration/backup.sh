#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# ktbackup on a real node: what it makes, what it refuses, and what stock tools make of it.
# shellcheck source=tests/support/lib.sh
. "$KT_SOURCE/tests/support/lib.sh"
# shellcheck source=tests/support/backup.sh
. "$KT_SOURCE/tests/support/backup.sh"

out=$KT_TMP/backups
mkdir -m 0700 "$out"
new_node_with_clients n1
new_recipient 'John Doe' john.doe@example.com
new_recipient 'Jane Roe' jane.roe@example.com
for i in 1 2 3; do
    echo "secret number $i" >"$KT_TMP/plain.$i"
    client host-1 put "disks/sd$i" "$KT_TMP/plain.$i" >/dev/null 2>"$KT_TMP/err" ||
        give_up "put: $(cat "$KT_TMP/err")"
done
john=$(fingerprint_of john.doe@example.com)

# --- one backup, and what it is ---

check "a backup for one recipient is made, and only its path is printed with --quiet"
succeeds backup n1 --gpg-recipient='John Doe' --output="$out" --quiet
file=$(cat "$KT_TMP/out")
is "$(wc -l <"$KT_TMP/out")" 1 "lines on standard output"
is "$(cat "$KT_TMP/err")" "" "standard error"
stem=$(basename "$file" .tar.gpg)
[[ $stem =~ ^kts_bak_[A-Za-z0-9_-]+_[0-9]{4}-[0-9]{2}-[0-9]{2}_[0-9]{2}-[0-9]{2}-[0-9]{2}$ ]] ||
    problem "the name is '$stem'"
is "$(stat -c %a "$file")" 600 "mode of the artefact"
is "$(ls "$out" | wc -l)" 2 "files in the folder"

check "the manifest is signed by the cluster's key, as stock gpg sees it, and tells the artefact's hash"
succeeds gpg --homedir "${NODE_DIR[n1]}/.keytrustee" --verify "$out/$stem.manifest"
has "$out/$stem.manifest" "^sha256 $(sha256sum "$file" | cut -c 1-64)\$"
has "$out/$stem.manifest" "^bytes $(stat -c %s "$file")\$"
has "$out/$stem.manifest" '^rows deposits 3$'
has "$out/$stem.manifest" '^sequence 1$'
has "$out/$stem.manifest" '^proven yes$'
has "$out/$stem.manifest" "^recipient $john "

check "stock gpg and tar open it; the list at its end is right for sha256sum"
mkdir -m 0700 "$KT_TMP/unpacked"
succeeds gpg --batch -d -o "$KT_TMP/plain.tar" "$file"
succeeds tar -C "$KT_TMP/unpacked" -xf "$KT_TMP/plain.tar"
inside=$KT_TMP/unpacked${NODE_DIR[n1]}
(cd "$KT_TMP/unpacked" && sha256sum -c --quiet "$inside/$stem.sha256") >"$KT_TMP/sums" 2>&1 ||
    problem "sha256sum: $(head -c 300 "$KT_TMP/sums")"
[[ -f $inside/.keytrustee/keytrustee.conf && -f $inside/$stem.sql && -f $inside/$stem.d/deposits.bin ]] ||
    problem "members: $(tar -tf "$KT_TMP/plain.tar" | tr '\n' ' ')"
is "$(find "$KT_TMP/unpacked" -type l -o -type s -o -type p | wc -l)" 0 "links and the like"

check "private keys of the cluster are in it, and the promise file is not"
[[ -s $inside/.keytrustee/ca/key.pem && -s $inside/.keytrustee/receipt/key.pem ]] || problem "no keys"
tar -tf "$KT_TMP/plain.tar" >"$KT_TMP/members"
hasnt "$KT_TMP/members" 'node/promise|S\.gpg-agent|backup\.json$.*node'

check "a table for people says what was made, and --json the same for machines"
succeeds backup n1 --gpg-recipient=john.doe@example.com --output="$out"
has "$KT_TMP/out" '3 deposits, log index 3, position: proven'
has "$KT_TMP/out" "opened by John Doe <john.doe@example.com> \($john\)"
succeeds backup n1 --gpg-recipient="$john" --output="$out" --json
is "$(json "$KT_TMP/out" sequence)" 3 sequence

# --- verify, list, cat ---

check "verify without the private key finds it whole, signed and in the chain"
second=$(newest "$out")
succeeds env GNUPGHOME="$KT_TMP/gnupg-empty" "$KTBACKUP" -c "${NODE_DIR[n1]}" verify "$second"
has "$KT_TMP/out" '^signature +good'
has "$KT_TMP/out" '^chain +sequence 3; follows'

check "verify --decrypt reads every member"
succeeds backup n1 verify --decrypt "$second"
has "$KT_TMP/out" 'every member, decrypted'

check "verify --restore makes a database of it and compares"
succeeds backup n1 verify --restore "$second"
has "$KT_TMP/out" 'a database was restored from it'
is "$(ls -A "$KT_TMP/tmp" 2>/dev/null | wc -l)" 0 "files left in the scratch folder"

check "verify on a host without the confdir takes the cluster's public key from a file"
gpg --homedir "${NODE_DIR[n1]}/.keytrustee" --export >"$KT_TMP/cluster.pub" 2>/dev/null
cp "$second" "${second%.tar.gpg}.manifest" "$KT_TMP/"
succeeds env -u GNUPGHOME "$KTBACKUP" verify --key "$KT_TMP/cluster.pub" "$KT_TMP/$(basename "$second")"
has "$KT_TMP/out" '^signature +good'
gpg --export john.doe@example.com >"$KT_TMP/john.pub" 2>/dev/null
exits 7 env -u GNUPGHOME "$KTBACKUP" verify --key "$KT_TMP/john.pub" "$KT_TMP/$(basename "$second")"

check "list shows all of them, verified, and the missing one between"
succeeds backup n1 list --output "$out"
is "$(grep -c ' verified ' "$KT_TMP/out")" 3 "verified backups"
mkdir "$KT_TMP/aside" && mv "$out"/*"$(sed -n 2p <<<"$(ls "$out" | grep gpg)" | sed 's/.tar.gpg//')"* "$KT_TMP/aside/"
succeeds backup n1 list --output "$out"
has "$KT_TMP/out" '1 backups of n1 are missing'
mv "$KT_TMP/aside"/* "$out"
succeeds backup n1 list --output "$out" --json
is "$(grep -c '"state": "verified"' "$KT_TMP/out")" 3 "verified backups in JSON"

check "cat gives one deposit's ciphertext, byte for byte"
id=$(client host-1 info disks/sd2 --json | json - id)
request n1 host-1 GET "/v1/deposits/disks%2Fsd2"
succeeds backup n1 cat --id "$id" "$second"
same "$KT_TMP/out" "$KT_TMP/body"
exits 3 backup n1 cat --id "$(new_uuid)" "$second"
exits 2 backup n1 cat "$second"

# --- recipients ---

check "each of several recipients can open it, nobody else"
succeeds backup n1 --gpg-recipient='John Doe' --gpg-recipient=jane.roe@example.com --output="$out" --quiet
both=$(cat "$KT_TMP/out")
gpg --batch --list-packets --list-only "$both" >"$KT_TMP/packets" 2>/dev/null
is "$(grep -c ':pubkey enc packet' "$KT_TMP/packets")" 2 "session keys"

check "no recipient and no --cleartext is a usage error that says what to give"
exits 2 backup n1 --output="$out"
has "$KT_TMP/err" 'gpg-recipient'

check "a recipient that is unknown, ambiguous, sign-only, expired or revoked is refused before anything is made"
before=$(ls "$out" | wc -l)
new_recipient 'John Doe Junior' junior@example.com
exits 3 backup n1 --gpg-recipient=nobody@example.com --output="$out"
exits some backup n1 --gpg-recipient='John Doe' --output="$out"
has "$KT_TMP/err" "$john"
succeeds backup n1 --gpg-recipient=john.doe@example.com --output="$out"
gpg --batch --quiet --passphrase '' --quick-generate-key 'Sign Only <sign@example.com>' default sign 2>/dev/null
exits some backup n1 --gpg-recipient=sign@example.com --output="$out"
has "$KT_TMP/err" 'encrypt'
gpg --batch --quiet --faked-system-time 20200101T000000 --passphrase '' \
    --quick-generate-key 'Late <late@example.com>' default default 1y 2>/dev/null
exits some backup n1 --gpg-recipient=late@example.com --output="$out"
has "$KT_TMP/err" 'expired'
is "$(ls "$out" | wc -l)" $((before + 2)) "files in the folder"

check "a key that expires soon is warned of"
new_recipient 'Soon' soon@example.com 10d
succeeds backup n1 --gpg-recipient=soon@example.com --output="$out"
has "$KT_TMP/err" 'expires in 9 days'

check "a recipient that gpg.conf adds in hiding is found, and nothing is made"
before=$(ls "$out" | wc -l)
echo "recipient $(fingerprint_of jane.roe@example.com)" >"$GNUPGHOME/gpg.conf"
exits some backup n1 --gpg-recipient=john.doe@example.com --output="$out"
has "$KT_TMP/err" 'nobody asked for|recipient'
is "$(ls "$out" | wc -l)" "$before" "files in the folder"
rm "$GNUPGHOME/gpg.conf"

check "whatever gpg.conf says, a backup that is made can be read"
for line in textmode mimemode armor throw-keyids 'compress-level 9' 'comment x' no-literal rfc2440 openpgp \
    dry-run 'set-filename x' for-your-eyes-only 'encrypt-to jane.roe@example.com'; do
    echo "$line" >"$GNUPGHOME/gpg.conf"
    run backup n1 --gpg-recipient=john.doe@example.com --output="$out" --quiet
    rm "$GNUPGHOME/gpg.conf"
    [[ $status -ne 0 ]] && continue
    odd=$(cat "$KT_TMP/out")
    succeeds backup n1 verify --decrypt "$odd" || problem "with $line"
done

check "clear text wants a second consent and says what it risks"
exits 2 backup n1 --cleartext --output="$out"
has "$KT_TMP/err" 'accept-cleartext-risk'
succeeds backup n1 --cleartext --accept-cleartext-risk --output="$out"
has "$KT_TMP/out" 'CLEAR TEXT'
clear=$(head -n 1 "$KT_TMP/out")
succeeds tar -tf "$clear"
succeeds backup n1 verify --restore "$clear"

# --- where it goes ---

check "a folder that is missing, a file, or read-only is refused with what to do"
exits some backup n1 --gpg-recipient=john.doe@example.com --output="$KT_TMP/none"
has "$KT_TMP/err" 'mkdir'
exits some backup n1 --gpg-recipient=john.doe@example.com --output="$file"
mkdir -m 0500 "$KT_TMP/readonly"
exits some backup n1 --gpg-recipient=john.doe@example.com --output="$KT_TMP/readonly"

check "a folder behind a link, with spaces and a newline in its name, is taken"
strange=$KT_TMP/$'with space\nand newline'
mkdir -m 0700 "$strange" && ln -s "$strange" "$KT_TMP/link"
succeeds backup n1 --gpg-recipient=john.doe@example.com --output="$KT_TMP/link"
is "$(ls "$strange" | wc -l)" 2 "files behind the link"

check "a second run in the same folder says that one is at work, and makes nothing"
exec {held}<"$out"
flock "$held"
exits 9 backup n1 --gpg-recipient=john.doe@example.com --output="$out"
has "$KT_TMP/err" 'another ktbackup is at work'
flock -u "$held"
exec {held}<&-

check "ktbackup.sh is the same program, and --roll=1 leaves only the new one"
succeeds "$KTBACKUP.sh" -c "${NODE_DIR[n1]}/.keytrustee" --gpg-recipient=john.doe@example.com \
    --output="$out" --roll=1
is "$(ls "$out" | grep -c 'gpg$')" 1 "artefacts"
is "$(ls "$out" | grep -c 'manifest$')" 1 "manifests"

check "with ten there, --roll=10 makes the eleventh and deletes the oldest"
for i in 2 3 4 5 6 7 8 9 10; do
    backup n1 --gpg-recipient=john.doe@example.com --output="$out" --quiet >/dev/null || problem "run $i"
done
oldest=$(basename "$(oldest "$out")")
is "$(ls "$out" | grep -c 'gpg$')" 10 "artefacts before"
echo 'not ours' >"$out/kts_bak_of_mine.txt"
touch -d '2001-01-01' "$out"/*"$(basename "$(newest "$out")" .tar.gpg)"*
succeeds backup n1 --gpg-recipient=john.doe@example.com --output="$out" --roll=10
is "$(ls "$out" | grep -c 'gpg$')" 10 "artefacts after"
[[ ! -e $out/$oldest ]] || problem "the oldest is there"
[[ -e $out/kts_bak_of_mine.txt ]] || problem "an unknown file is gone"

check "a new backup with much less in it keeps the old ones, and the exit code says so"
sql n1 "DELETE FROM deposits" >/dev/null
for i in 11 12; do # and the next time
    exits 8 backup n1 --gpg-recipient=john.doe@example.com --output="$out" --roll=1
    has "$KT_TMP/err" 'much less'
    is "$(ls "$out" | grep -c 'gpg$')" "$i" "artefacts"
done

# --- without the server, without the database ---

check "without a quorum or a server it is made all the same and says unproven; --require-proof refuses"
stop_server n1
exits 5 backup n1 --gpg-recipient=john.doe@example.com --output="$out" --require-proof
succeeds backup n1 --gpg-recipient=john.doe@example.com --output="$out"
has "$KT_TMP/out" 'position: unproven'
has "$(newest "$out" | sed 's/.tar.gpg/.manifest/')" '^proven no$'

check "without the database it fails with one line and a hint, and leaves nothing"
admin n1 db --stop >/dev/null 2>&1
before=$(ls "$out" | wc -l)
exits 5 backup n1 --gpg-recipient=john.doe@example.com --output="$out" --quiet
is "$(cat "$KT_TMP/out")" "" "standard output"
is "$(ls "$out" | wc -l)" "$before" "files in the folder"
finish
