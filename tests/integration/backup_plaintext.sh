#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# No plaintext of a backup is ever written to a file: every file that ktbackup or a child of it opens
# for writing is known, and what is written to it has nothing of the keys and rows in it (P5, P8).
# shellcheck source=tests/support/lib.sh
. "$KT_SOURCE/tests/support/lib.sh"
# shellcheck source=tests/support/backup.sh
. "$KT_SOURCE/tests/support/backup.sh"

may_trace_memory || {
    skip "plaintext of backups: this machine does not let users trace what their programs write"
    finish
}
out=$KT_TMP/backups
mkdir -m 0700 "$out"
new_node_with_clients n1
new_recipient 'John Doe' john.doe@example.com
confdir=${NODE_DIR[n1]}/.keytrustee

# What must not be found: of a setting, of a private key, of a row.
marker=marker-$(new_uuid)
echo "# $marker-of-the-settings" >>"$confdir/keytrustee.conf"
echo secret >"$KT_TMP/plain"
client host-1 put "disks/$marker-of-a-row" "$KT_TMP/plain" >/dev/null 2>"$KT_TMP/err" ||
    give_up "put: $(cat "$KT_TMP/err")"
printf '%s\n' "$marker-of-the-settings" "$marker-of-a-row" "$(sed -n 2p "$confdir/ca/key.pem")" \
    "$(sed -n 2p "$confdir/receipt/key.pem")" >"$KT_TMP/markers"

# Which markers a file has, one a line.
markers_in() {
    grep -aoF -f "$KT_TMP/markers" "$1" | sort -u
}

# trace_backup OPTIONS...: sets $made, the artefact. In $KT_TMP/opened are the names of files that
# were opened for writing, in $KT_TMP/written what was written to them, in $KT_TMP/all to anything.
trace_backup() {
    rm -rf "$KT_TMP/trace" && mkdir "$KT_TMP/trace"
    # One file for each thread: no line is cut in two.
    succeeds traced_memory -ff -o "$KT_TMP/trace/t" -s 4000000 --seccomp-bpf \
        -e trace=open,openat,openat2,creat,memfd_create,close,write,writev,pwrite64,pwritev,sendfile,splice,copy_file_range \
        "$KTBACKUP" --confdir "$confdir" --output="$out" --quiet "$@"
    made=$(cat "$KT_TMP/out")
    : >"$KT_TMP/opened"
    : >"$KT_TMP/written"
    cat "$KT_TMP/trace"/t.* >"$KT_TMP/all"
    for file in "$KT_TMP/trace"/t.*; do
        awk -v opened="$KT_TMP/opened" -v written="$KT_TMP/written" '
            function descriptor(line) { sub(/^.*\) = /, "", line); return line + 0 }
            /^(open|openat|creat|openat2)\(.*\) = [0-9]+$/ {
                delete name[descriptor($0)]
                if (!/O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_APPEND|O_TMPFILE|^creat/) next
                match($0, /"[^"]*"/)
                path = substr($0, RSTART + 1, RLENGTH - 2)
                if (path == "/dev/null") next
                name[descriptor($0)] = path
                print path >>opened
            }
            /^memfd_create|^sendfile|^copy_file_range/ { print >>opened }
            /^close\(/ { fd = $0; sub(/^close\(/, "", fd); delete name[fd + 0] }
            /^(write|writev|pwrite64|pwritev)\(/ {
                fd = $0; sub(/^[a-z0-9]*\(/, "", fd)
                if (fd + 0 in name) print name[fd + 0] ": " $0 >>written
            }' "$file"
    done
}

check "the trace sees plaintext on its way to gpg: all that is looked for can be found"
trace_backup --gpg-recipient=john.doe@example.com
is "$(markers_in "$KT_TMP/all" | wc -l)" 4 "markers in what was written to pipes"
has "$KT_TMP/written" '^kts_bak_.*\.tar\.gpg\.part: write'

check "it and its children open for writing only parts, the state and the keyrings' own files"
gnupg='(\.#lk[^/]*|trustdb\.gpg|random_seed)'
grep -vE -e '^kts_bak_[A-Za-z0-9_-]+\.(tar\.gpg|manifest)\.part$' \
    -e "^$GNUPGHOME/$gnupg\$" -e "^$confdir/($gnupg|\.users)\$" \
    -e "^${NODE_DIR[n1]}/node/\.backup\.json\.[0-9a-f]+\.tmp\$" "$KT_TMP/opened" >"$KT_TMP/others"
is "$(cat "$KT_TMP/others")" "" "other files"
is "$(grep -c 'tar.gpg.part$' "$KT_TMP/opened")" 1 "artefacts in the making"

check "nothing that was written to a file has plaintext in it, nor have the files afterwards"
is "$(markers_in "$KT_TMP/written")" "" "plaintext"
for file in "$made" "${made%.tar.gpg}.manifest" "$GNUPGHOME"/* "$KT_TMP/tmp"/*; do
    [[ -f $file ]] || continue
    is "$(markers_in "$file")" "" "plaintext in $file"
done
is "$(ls -A "$KT_TMP/tmp")" "" "files in the folder for temporary ones"

check "a backup in clear text would have been noticed"
trace_backup --cleartext --accept-cleartext-risk
is "$(markers_in "$KT_TMP/written" | wc -l)" 4 "markers in what was written to files"
is "$(markers_in "$made" | wc -l)" 4 "markers in the artefact"
finish
