# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# shellcheck disable=SC2317 # called through the table
# A thief of backups, and whoever can change them on their way or where they lie.
attacker backup load 'a thief of backups, or whoever can change them'

prepare_backup() {
    export GNUPGHOME=$KT_TMP/gnupg TMPDIR=$KT_TMP/tmp
    mkdir -m 0700 -p "$GNUPGHOME" "$TMPDIR" "$KT_TMP/gnupg-thief" "$KT_TMP/backups" "$KT_TMP/exchanged"
    gpg --batch --quiet --passphrase '' --quick-generate-key 'John Doe <john.doe@example.com>' default default never \
        2>"$KT_TMP/gpg.err" || problem "gpg: $(cat "$KT_TMP/gpg.err")"
    gpg --homedir "$KT_TMP/gnupg-thief" --batch --quiet --passphrase '' --quick-generate-key 'Thief <thief@example.com>' \
        default default never 2>/dev/null
    BACKUP=$(make_backup) && OTHER_BACKUP=$(make_backup) && [[ -s $BACKUP && -s $OTHER_BACKUP && $BACKUP != "$OTHER_BACKUP" ]] ||
        problem "no backups: $(cat "$KT_TMP/backup.err")"
}
# The name has the second in it: a second one follows when there is a name for it.
make_backup() {
    "$KTBACKUP" --confdir "${NODE_DIR[kts-01]}/.keytrustee" --gpg-recipient=john.doe@example.com \
        --output="$KT_TMP/backups" --quiet 2>"$KT_TMP/backup.err"
}
# On a machine that knows the cluster's key.
verify_here() {
    "$KTBACKUP" verify --confdir "${NODE_DIR[kts-01]}/.keytrustee" "$1"
}
control_at_leisure recipient-reads done 'the recipient checks a backup, and reads what is in it' recipient_reads
recipient_reads() {
    observe_success verify_here "$BACKUP"
    observe_success gpg --batch --quiet --output "$KT_TMP/backup.tar" --decrypt "$BACKUP"
    observe_success grep -aq 'private/master' "$KT_TMP/backup.tar"
    rm -f "$KT_TMP/backup.tar"
}
attempt_at_leisure stolen-backup refused 'opening a backup with another key, with none, with ktbackup' stolen_backup
stolen_backup() {
    observe_failure gpg --homedir "$KT_TMP/gnupg-thief" --batch --quiet --output "$KT_TMP/stolen.tar" --decrypt "$BACKUP"
    GNUPGHOME=$KT_TMP/gnupg-thief observe_failure "$KTBACKUP" cat "$BACKUP"
    [[ ! -s $KT_TMP/stolen.tar ]] || observe 'something came out'
}
attempt_at_leisure backup-tells-nothing 'nothing' 'names, certificates and keys in the bytes of backup and manifest' backup_tells
backup_tells() {
    local word

    for word in private/master team/plan host-1 acme BEGIN "$VICTIM_ID"; do
        if grep -aqF -- "$word" "$BACKUP" || sed '/BEGIN PGP/d' "${BACKUP%.tar.gpg}.manifest" | grep -aqF -- "$word"; then
            observe "tells '$word'"
        else
            observe nothing
        fi
    done
}
attempt_at_leisure changed-backup refused 'a backup with one byte changed, cut, or with bytes behind it' changed_backup
changed_backup() {
    local at=$KT_TMP/exchanged size

    size=$(stat -c %s "$BACKUP")
    fresh_pair
    printf '\001' | dd of="$at/$(basename "$BACKUP")" bs=1 seek=$((size / 2)) conv=notrunc status=none
    observe_failure_for 'SHA-256|hash|differs|damaged' verify_here "$at/$(basename "$BACKUP")"
    fresh_pair
    truncate -s $((size - 1)) "$at/$(basename "$BACKUP")"
    observe_failure verify_here "$at/$(basename "$BACKUP")"
    fresh_pair
    echo more >>"$at/$(basename "$BACKUP")"
    observe_failure verify_here "$at/$(basename "$BACKUP")"
}
fresh_pair() {
    rm -f "$KT_TMP/exchanged"/*
    cp "$BACKUP" "${BACKUP%.tar.gpg}.manifest" "$KT_TMP/exchanged/"
}
attempt_at_leisure swapped-manifest refused 'a backup with the manifest of another, and an old one under a newer name' swapped_manifest
swapped_manifest() {
    local at=$KT_TMP/exchanged

    fresh_pair
    cp "${OTHER_BACKUP%.tar.gpg}.manifest" "$at/$(basename "${BACKUP%.tar.gpg}").manifest"
    observe_failure verify_here "$at/$(basename "$BACKUP")"
    rm -f "$at"/*
    # the old artefact and its own good manifest, both under the newer name
    cp "$BACKUP" "$at/$(basename "$OTHER_BACKUP")"
    cp "${BACKUP%.tar.gpg}.manifest" "$at/$(basename "${OTHER_BACKUP%.tar.gpg}").manifest"
    observe_failure verify_here "$at/$(basename "$OTHER_BACKUP")"
}
attempt_at_leisure changed-manifest refused 'a manifest with another hash, sequence or epoch, or signed by somebody else' changed_manifest
changed_manifest() {
    local expression manifest

    manifest=$KT_TMP/exchanged/$(basename "${BACKUP%.tar.gpg}").manifest
    for expression in 's/^sequence .*/sequence 999/' 's/^epoch .*/epoch 99/' 's/^sha256 ./sha256 0/' 's/^created .*/created 2020-01-01T00:00:00Z/'; do
        fresh_pair
        sed -i "$expression" "$manifest"
        cmp -s "$manifest" "${BACKUP%.tar.gpg}.manifest" && continue
        observe_failure verify_here "${manifest%.manifest}.tar.gpg"
    done
    fresh_pair
    sed -e '1,/^$/d' -e '/^-----BEGIN PGP SIGNATURE/,$d' "$manifest" >"$KT_TMP/manifest.text"
    gpg --homedir "$KT_TMP/gnupg-thief" --batch --quiet --yes --clear-sign --output "$manifest" "$KT_TMP/manifest.text" 2>/dev/null
    observe_failure verify_here "${manifest%.manifest}.tar.gpg"
}
attempt_at_leisure restore-over-a-node refused 'restoring an old backup over a node that lives' restore_over
restore_over() {
    observe_failure admin kts-01 restore "$BACKUP" --gnupg-home "$GNUPGHOME" --yes
    takes_writes kts-01 || observe "kts-01 takes no deposits any more"
}
