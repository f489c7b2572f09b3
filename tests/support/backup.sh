# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Helpers of the tests of ktbackup and restore: keys of recipients, backups, what is in them.

export GNUPGHOME=$KT_TMP/gnupg TMPDIR=$KT_TMP/tmp
mkdir -m 0700 -p "$GNUPGHOME" "$TMPDIR" "$KT_TMP/gnupg-empty"

# new_recipient NAME ADDRESS [EXPIRY]: a key pair in the account's own keyring.
new_recipient() {
    gpg --batch --quiet --passphrase '' --quick-generate-key "$1 <$2>" default default "${3:-never}" \
        2>"$KT_TMP/gpg.err" || give_up "gpg: $(cat "$KT_TMP/gpg.err")"
}

fingerprint_of() {
    gpg --batch --with-colons --list-keys "$1" 2>/dev/null | awk -F: '/^fpr/ { print $10; exit }'
}

# backup NODE ARGUMENTS...: ktbackup with that node's confdir.
backup() {
    "$KTBACKUP" --confdir "${NODE_DIR[$1]}/.keytrustee" "${@:2}"
}

# newest FOLDER: the artefact whose manifest has the highest sequence.
newest() {
    local manifest sequence best=0 found=''

    for manifest in "$1"/*.manifest; do
        sequence=$(awk '/^sequence / { print $2 }' "$manifest")
        [[ $sequence -gt $best ]] && best=$sequence found=$manifest
    done
    ls "${found%.manifest}".tar*
}

# oldest FOLDER: the one with the lowest.
oldest() {
    local manifest sequence best=999999 found=''

    for manifest in "$1"/*.manifest; do
        sequence=$(awk '/^sequence / { print $2 }' "$manifest")
        [[ $sequence -lt $best ]] && best=$sequence found=$manifest
    done
    ls "${found%.manifest}".tar*
}

# json FILE|- NAME: the value of the first member of that name, in indented JSON.
json() {
    sed -n 's/^ *"'"$2"'": *"\{0,1\}\([^",]*\)"\{0,1\},\{0,1\}$/\1/p' "$1" | head -n 1
}

# Whether this user may trace a program from its start.
may_trace() {
    strace -qq -o /dev/null -e trace=none true 2>/dev/null
}

# traced OPTIONS... PROGRAM ARGUMENTS...: under strace, where LeakSanitizer does not work.
traced() {
    ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0 strace -qq "$@"
}

# A program that lets nobody look into it shows its memory to a tracer only that had more rights from
# the start: those of a user namespace of its own.
may_trace_memory() {
    traced_memory -o /dev/null -e trace=none true 2>/dev/null
}

traced_memory() {
    ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0 unshare -U \
        --map-user="$(id -u)" --map-group="$(id -g)" --keep-caps strace -qq "$@"
}
