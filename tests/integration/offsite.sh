#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The second copy: a real sshd on loopback, and a server's key that may add backups there and nothing
# else. packaging/offsite/receive is the forced command, packaging/offsite/send what cron runs.
# shellcheck source=tests/support/lib.sh
. "$KT_SOURCE/tests/support/lib.sh"
# shellcheck source=tests/support/backup.sh
. "$KT_SOURCE/tests/support/backup.sh"

sshd=/usr/sbin/sshd
if [[ ! -x $sshd ]]; then
    skip "openssh-server is not installed"
    finish
fi
send=$KT_ROOT/usr/share/keytrustee/offsite/send
receive=$KT_ROOT/usr/share/keytrustee/offsite/receive
out=$KT_TMP/backups vault=$KT_TMP/vault ssh=$KT_TMP/ssh
mkdir -m 0700 "$out" "$vault" "$vault/kts-01" "$vault/kts-02" "$ssh" "$KT_TMP/keys"
new_recipient 'John Doe' john.doe@example.com
# A folder of keys that needs no node: what is copied matters here, not what is in it.
head -c 300000 /dev/urandom >"$KT_TMP/keys/secring.gpg"

# --- the other machine ---

new_key() {
    ssh-keygen -q -t ed25519 -N '' -C "$1" -f "$ssh/$1" || give_up "ssh-keygen"
}

start_sshd() {
    new_key host
    new_key server
    new_key stranger
    echo "restrict,command=\"$receive $vault/kts-01\" $(cat "$ssh/server.pub")" >"$ssh/authorized_keys"
    free_port
    cat >"$ssh/sshd_config" <<END
Port $port
ListenAddress 127.0.0.1
HostKey $ssh/host
AuthorizedKeysFile $ssh/authorized_keys
PidFile $ssh/sshd.pid
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
AllowTcpForwarding yes
PermitTTY yes
Subsystem sftp internal-sftp
# Folders below /tmp are never strict enough.
StrictModes no
END
    cat >"$ssh/config" <<END
Host offsite
    HostName 127.0.0.1
    Port $port
    User $(id -un)
    IdentityFile $ssh/server
    IdentitiesOnly yes
    UserKnownHostsFile $ssh/known_hosts
    GlobalKnownHostsFile /dev/null
END
    echo "[127.0.0.1]:$port $(cat "$ssh/host.pub")" >"$ssh/known_hosts"
    "$sshd" -D -e -f "$ssh/sshd_config" >"$ssh/sshd.log" 2>&1 </dev/null &
    KT_PIDS[$!]=sshd
    wait_until 20 can_connect "$port" || give_up "sshd: $(cat "$ssh/sshd.log")"
}

# As whoever has the server's key: any command, any option. What should be refused and is not may last.
as_server() {
    timeout 60 ssh -F "$ssh/config" -o BatchMode=yes "$@"
}

put() {
    as_server offsite put "$@"
}

sha_of() {
    sha256sum <"$1" | cut -c 1-64
}

# What the folder holds, name and content: nothing may change it.
seen() {
    (cd "$vault" && find . -type f ! -name '.part-*' -exec sha256sum {} + | sort)
    ls -A "$vault/kts-01" "$vault/kts-02"
}

make_backup() {
    "$KTBACKUP" -c "$KT_TMP/keys" --gpg-recipient=john.doe@example.com --output="$out" --quiet "$@"
}

start_sshd

# --- what it is for ---

check "send copies a new backup, archive and manifest, and says nothing"
file=$(make_backup) || give_up "no backup"
stem=$(basename "$file" .tar.gpg)
succeeds "$send" -F "$ssh/config" offsite "$out"
# The account that runs the tests may have no home; that of the other machine has.
is "$(cat "$KT_TMP/out" "$KT_TMP/err" | grep -v '^Could not chdir to home directory')" "" "output"
same "$file" "$vault/kts-01/$stem.tar.gpg"
same "$out/$stem.manifest" "$vault/kts-01/$stem.manifest"
is "$(ls -A "$vault/kts-01" | wc -l)" 2 "files there"
is "$(stat -c %a "$vault/kts-01/$stem.tar.gpg")" 600 "mode"

check "a copy is as good as the original"
succeeds "$KTBACKUP" verify "$vault/kts-01/$stem.tar.gpg"

check "send sends what is new, and what is confirmed again changes nothing"
make_backup >/dev/null || problem "no backup"
inode=$(stat -c %i "$vault/kts-01/$stem.tar.gpg")
succeeds "$send" -F "$ssh/config" offsite "$out"
is "$(ls -A "$vault/kts-01" | wc -l)" 4 "files there"
rm "$out/.offsite-offsite"
before=$(seen)
succeeds "$send" -F "$ssh/config" offsite "$out"
is "$(seen)" "$before" "content"
is "$(stat -c %i "$vault/kts-01/$stem.tar.gpg")" "$inode" "inode"

check "what --roll removes here stays there"
make_backup --roll=1 >/dev/null || problem "no backup"
is "$(ls "$out" | wc -l)" 2 "files here"
succeeds "$send" -F "$ssh/config" offsite "$out"
is "$(ls -A "$vault/kts-01" | wc -l)" 6 "files there"
is "$(wc -l <"$out/.offsite-offsite")" 1 "backups noted"

check "a clear-text backup is not copied, nor one without its manifest"
make_backup --accept-cleartext-risk --cleartext >/dev/null 2>&1
"$KTBACKUP" -c "$KT_TMP/keys" --cleartext --accept-cleartext-risk --output="$out" --quiet >/dev/null ||
    problem "no clear backup"
cp "$(newest "$out")" "$out/kts_bak_half_2026-01-01_00-00-00.tar.gpg"
before=$(seen)
succeeds "$send" -F "$ssh/config" offsite "$out"
is "$(seen)" "$before" "content"

# --- what whoever has the server's key cannot do ---

before=$(seen)
unchanged() {
    is "$(seen)" "$before" "content"
}

check "a name that is taken stays as it is"
exits 3 put "$stem.tar.gpg" "$(sha_of /dev/null)"
unchanged

check "a hash of other bytes, or half of the bytes, gives no file"
head -c 1000 "$file" >"$KT_TMP/half" 2>/dev/null || head -c 1000 "$vault/kts-01/$stem.tar.gpg" >"$KT_TMP/half"
status=0
put kts_bak_new_2026-01-01_00-00-00.tar.gpg "$(sha_of "$vault/kts-01/$stem.tar.gpg")" \
    <"$KT_TMP/half" >"$KT_TMP/out" 2>"$KT_TMP/err" || status=$?
is "$status" 4 "status"
unchanged

check "a connection that dies in the middle leaves nothing"
parts() {
    compgen -G "$vault/kts-01/.part-*" >/dev/null
}
no_parts() {
    ! parts
}
mkfifo "$KT_TMP/slow"
ssh -F "$ssh/config" -o BatchMode=yes offsite put kts_bak_new_2026-01-01_00-00-01.tar.gpg \
    "$(sha_of "$KT_TMP/half")" <"$KT_TMP/slow" 2>/dev/null &
client=$!
exec {slow}>"$KT_TMP/slow"
head -c 500 "$KT_TMP/half" >&"$slow"
comes_true 20 parts
kill -KILL "$client"
wait "$client" 2>/dev/null
comes_true 20 no_parts
exec {slow}>&-
unchanged

check "there is no shell, no other command, and nothing in a command is expanded"
exits 2 as_server offsite
exits 255 as_server -tt offsite # no terminal either
for command in 'ls' 'cat *' "rm $stem.tar.gpg" 'sh -c id' 'put' 'put a' "put x $(sha_of /dev/null)" \
    "get $stem.tar.gpg" "put $stem.tar.gpg" "scp -t ." 'rsync --server -e.LsfxCIvu . .' \
    "put $stem.tar.gpg $(sha_of /dev/null) more" \
    "put ../kts-02/kts_bak_x_2026-01-01_00-00-00.tar.gpg $(sha_of /dev/null)" \
    "put /tmp/kts_bak_x_2026-01-01_00-00-00.tar.gpg $(sha_of /dev/null)" \
    "put kts_bak_x/../../kts-02/y_2026-01-01_00-00-00.tar.gpg $(sha_of /dev/null)" \
    "put .ssh $(sha_of /dev/null)" "put kts_bak_x_2026-01-01_00-00-00.tar $(sha_of /dev/null)" \
    "put kts_bak_*_2026-01-01_00-00-00.tar.gpg $(sha_of /dev/null)" \
    "put \$(touch${IFS:0:1}$vault/kts-01/x) y; touch $vault/kts-01/x" \
    $'put\nkts_bak_x_2026-01-01_00-00-00.tar.gpg; touch x' \
    "put kts_bak_x_2026-01-01_00-00-00.tar.gpg zz" \
    "put kts_bak_x_2026-01-01_00-00-00.tar.gpg $(sha_of /dev/null | tr a-f A-F)" '-c put a b'; do
    exits 2 as_server -- offsite "$command"
    is "$(cat "$KT_TMP/out")" "" "standard output of '$command'"
done
unchanged

check "sftp and scp get nowhere"
echo ls | sftp -F "$ssh/config" -q -b - offsite >"$KT_TMP/out" 2>&1 && problem "sftp works"
hasnt "$KT_TMP/out" 'kts_bak'
exits 255 scp -F "$ssh/config" -q "$vault/kts-01/$stem.tar.gpg" offsite:x
exits 255 scp -F "$ssh/config" -q "offsite:$stem.tar.gpg" "$KT_TMP/stolen"
unchanged

check "no port is forwarded, in either direction"
exits 255 as_server -W "127.0.0.1:$port" offsite
has "$KT_TMP/err" 'prohibited|forward'
exits 255 as_server -o ExitOnForwardFailure=yes -N -R "127.0.0.1:0:127.0.0.1:$port" offsite
unchanged

check "another key is let in nowhere"
sed "s,$ssh/server,$ssh/stranger," "$ssh/config" >"$ssh/config.stranger"
exits 255 ssh -F "$ssh/config.stranger" -o BatchMode=yes offsite put \
    kts_bak_x_2026-01-01_00-00-00.tar.gpg "$(sha_of /dev/null)"
unchanged

check "a key is tied to its own folder"
(find "$vault/kts-02" -mindepth 1 | grep -q .) && problem "there is something in the other folder"

# --- faults of the other machine ---

check "while the other machine cannot write, send fails with a line, and makes up for it later"
make_backup >/dev/null || problem "no backup"
latest=$(basename "$(ls "$out"/*.tar.gpg | grep -v half | tail -n 1)" .tar.gpg)
chmod 0500 "$vault/kts-01"
exits 1 "$send" -F "$ssh/config" offsite "$out"
has "$KT_TMP/err" "send: $latest was not copied to offsite"
chmod 0700 "$vault/kts-01"
succeeds "$send" -F "$ssh/config" offsite "$out"
same "$out/$latest.tar.gpg" "$vault/kts-01/$latest.tar.gpg"

check "a host with another key gets nothing"
make_backup >/dev/null || problem "no backup"
cp "$ssh/known_hosts" "$ssh/known_hosts.right"
echo "[127.0.0.1]:$port $(cat "$ssh/stranger.pub")" >"$ssh/known_hosts"
before=$(seen)
exits 1 "$send" -F "$ssh/config" offsite "$out"
unchanged
mv "$ssh/known_hosts.right" "$ssh/known_hosts"
succeeds "$send" -F "$ssh/config" offsite "$out"

check "a second send beside the first says so"
exec {held}>>"$out/.offsite-offsite"
flock "$held"
exits 9 "$send" -F "$ssh/config" offsite "$out"
exec {held}>&-

check "a wrong command line is refused"
exits 2 "$send" offsite
exits 2 "$send" -oProxyCommand=false "$out"
exits 2 env -i SSH_ORIGINAL_COMMAND="put a b" "$receive"
exits 1 env -i "$receive" "$KT_TMP/none"
finish
