#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Every example line of the old script's document, as written: default places of a server and of a
# client's host, crontab lines, the old KMS, folders of other programs.
if [[ ${KT_IN_NAMESPACE:-} != yes ]]; then
    # The usual places, made of memory and seen by this test only.
    if ! unshare -U -m --map-user="$(id -u)" --map-group="$(id -g)" --keep-caps true 2>/dev/null; then
        echo "skip - the old document's lines: users may not make namespaces here"
        echo "cases: 0 passed, 0 failed, 1 skipped"
        exit 0
    fi
    export KT_IN_NAMESPACE=yes
    exec unshare -U -m --map-user="$(id -u)" --map-group="$(id -g)" --keep-caps bash "$0" "$@"
fi
# shellcheck source=tests/support/lib.sh
. "$KT_SOURCE/tests/support/lib.sh"
# shellcheck source=tests/support/backup.sh
. "$KT_SOURCE/tests/support/backup.sh"

mount -t tmpfs -o mode=0755 tmpfs /var/lib && mount -t tmpfs -o mode=0755 tmpfs /opt ||
    give_up "cannot mount"
parcel=/opt/cloudera/parcels/KEYTRUSTEE_SERVER/bin
keyprovider=$KT_TMP/share/keytrustee-keyprovider/bin # instead of /usr/share, which PostgreSQL needs
mkdir -p "$parcel" "$keyprovider" /opt/cloudera/parcels/KEYTRUSTEE/bin
for place in "$parcel" "$keyprovider" /opt/cloudera/parcels/KEYTRUSTEE/bin; do
    ln -s "$KTBACKUP.sh" "$place/ktbackup.sh"
done
export PATH=$KT_ROOT/usr/bin:$PATH KEYTRUSTEE_SCHEMA_DIR=$KT_ROOT/usr/share/keytrustee/schema
[[ ! -e /tmp/backups ]] || give_up "/tmp/backups is there"
mkdir -m 0700 /tmp/backups
eval "end_$(declare -f finish)"
finish() {
    rm -rf /tmp/backups
    end_finish
}

new_recipient 'John Doe' john.doe@example.com
mkdir -m 0700 /var/lib/keytrustee
NODE_DIR[n1]=/var/lib/keytrustee
free_port
NODE_PORT[n1]=$port
free_port
agent=$port
NODE_DB_PORT[n1]=12345
can_connect 12345 && give_up "port 12345 is taken"
"$KTADMIN" init --node n1 --port "${NODE_PORT[n1]}" --agent-port "$agent" --database-port 12345 \
    >"$KT_TMP/init" 2>&1 || give_up "init: $(cat "$KT_TMP/init")"
start_node n1

# as_written COMMAND: a line of the document, through the shell.
as_written() {
    succeeds sh -c "$1"
}

check "a server is backed up by the recipient's name, with all defaults"
as_written "/opt/cloudera/parcels/KEYTRUSTEE_SERVER/bin/ktbackup.sh --gpg-recipient='John Doe'"
[[ -n $(ls /var/lib/keytrustee/kts_bak_*.tar.gpg) ]] || problem "no backup in /var/lib/keytrustee"

check "a server's database on another port is found by it"
as_written "ktbackup.sh --database-port=12345 --gpg-recipient=john.doe@example.com"
exits 5 sh -c "ktbackup.sh --database-port=12346 --gpg-recipient=john.doe@example.com"

check "the server's crontab line runs as written, silently but for the path, and rolls"
line="/opt/cloudera/parcels/KEYTRUSTEE_SERVER/bin/ktbackup.sh --gpg-recipient='John Doe' --quiet --output=/tmp/backups --roll=10"
for i in 1 2 3; do
    as_written "$line"
    is "$(cat "$KT_TMP/err")" "" "standard error"
    is "$(cat "$KT_TMP/out")" "$(newest /tmp/backups)" "standard output"
done
stop_node n1

check "a KMS host's confdir is backed up by the address: keys and settings, no database"
mkdir -p /var/lib/kms-keytrustee/keytrustee/.keytrustee
chmod -R go-rwx /var/lib/kms-keytrustee
echo '{"LOCAL_FINGERPRINT": "2048R/0936CB67"}' >/var/lib/kms-keytrustee/keytrustee/.keytrustee/keytrustee.conf
head -c 2000 /dev/urandom >/var/lib/kms-keytrustee/keytrustee/.keytrustee/secring.gpg
as_written "$keyprovider/ktbackup.sh -c /var/lib/kms-keytrustee/keytrustee/.keytrustee --output=/var/lib/kms-keytrustee --gpg-recipient=john.doe@example.com"
file=$(newest /var/lib/kms-keytrustee)
gpg --batch -d "$file" 2>/dev/null | tar -t >"$KT_TMP/members"
has "$KT_TMP/members" '^var/lib/kms-keytrustee/keytrustee/.keytrustee/secring.gpg$'
hasnt "$KT_TMP/members" '\.sql$'
succeeds ktbackup verify --decrypt "$file"

check "the KMS's crontab line runs as written, and finds the confdir by itself"
mv /var/lib/keytrustee /var/lib/elsewhere
as_written "/opt/cloudera/parcels/KEYTRUSTEE/bin/ktbackup.sh --gpg-recipient='John Doe' --quiet --output=/tmp/backups --roll=10"
gpg --batch -d "$(cat "$KT_TMP/out")" 2>/dev/null | tar -t >"$KT_TMP/members"
has "$KT_TMP/members" 'secring.gpg$'
is "$(ls /tmp/backups | grep -c 'gpg$')" 4 "artefacts: those of the server have stayed"
mv /var/lib/elsewhere /var/lib/keytrustee

check "a client of ours is backed up with a signed manifest; unpacked it works again"
start_node n1
run admin n1 org add acme
new_client n1 acme host-1 || give_up "register"
cp -a "$(client_dir host-1)" /var/lib/keytrustee-client
export KEYTRUSTEE_CONFDIR=/var/lib/keytrustee-client
echo "a secret" >"$KT_TMP/plain"
succeeds keytrustee put disks/sda "$KT_TMP/plain"
mkdir -p -m 0700 "$KT_TMP/clientbackups" "$KT_TMP/navencrypt/links"
echo 'settings of another program' >"$KT_TMP/navencrypt/ztab"
ln -s ztab "$KT_TMP/navencrypt/links/ztab"
succeeds ktbackup -c /var/lib/keytrustee-client --gpg-recipient=john.doe@example.com \
    --output="$KT_TMP/clientbackups" --include "$KT_TMP/navencrypt" --quiet
file=$(cat "$KT_TMP/out")
succeeds ktbackup -c /var/lib/keytrustee-client verify --decrypt "$file"
has "$KT_TMP/out" '^signature +good'
rm -rf /var/lib/keytrustee-client "$KT_TMP/navencrypt"
gpg --batch -d "$file" 2>/dev/null | tar -x -C / || problem "gpg or tar failed"
succeeds keytrustee get disks/sda -o "$KT_TMP/got"
same "$KT_TMP/got" "$KT_TMP/plain"
has "$KT_TMP/navencrypt/ztab" 'another program'

check "a folder with a device, or a name that no archive holds, is refused by name"
mkdir -m 0700 "$KT_TMP/strange" && mkfifo "$KT_TMP/strange/pipe"
exits some ktbackup -c /var/lib/keytrustee-client --gpg-recipient=john.doe@example.com \
    --output="$KT_TMP/clientbackups" --include "$KT_TMP/strange"
has "$KT_TMP/err" 'strange/pipe'
rm "$KT_TMP/strange/pipe" && touch "$KT_TMP/strange/"$'new\nline'
exits some ktbackup -c /var/lib/keytrustee-client --gpg-recipient=john.doe@example.com \
    --output="$KT_TMP/clientbackups" --include "$KT_TMP/strange"
has "$KT_TMP/err" 'cannot be kept'
is "$(ls "$KT_TMP/clientbackups" | wc -l)" 2 "files"
finish
