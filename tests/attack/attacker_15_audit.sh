# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# shellcheck disable=SC2317 # called through the table
# Whoever wants the audit log to forget: cuts, changes and replaces it while the server runs.
attacker audit after 'who wants the audit log to forget'

prepare_audit() {
    AUDITED=kts-02
    AUDIT_DIR=${NODE_DIR[$AUDITED]}/audit
    target=$AUDITED
    make_records 4
    HEAD_BEFORE=$(admin "$AUDITED" audit head 2>/dev/null | grep -oE '[0-9]+:[0-9a-f]{64}' | head -n 1)
    rm -rf "$KT_TMP/audit.kept" && cp -r "$AUDIT_DIR" "$KT_TMP/audit.kept"
}
make_records() {
    local n

    for ((n = 0; n < $1; n++)); do
        request "$AUDITED" victim GET /v1/deposits/private%2Fraw
    done
}
newest_log() {
    find "$AUDIT_DIR" -name 'audit-*.log' | sort | tail -n 1
}
# The file as it was, by the same inode: what the server has appended meanwhile stays behind it.
altered() {
    local log

    log=$(newest_log)
    cp "$log" "$KT_TMP/audit.before"
    "$@" "$log"
    observe_failure admin "$AUDITED" audit verify
    cat "$KT_TMP/audit.before" >"$log"
}
control audit-is-whole done 'an untouched log is found to be whole' audit_is_whole
audit_is_whole() { observe_success admin "$AUDITED" audit verify; }
change_record() { sed -i '3s/"allowed"/"refused"/; 3s/"time":"2/"time":"3/; 3s/"result":"./"result":"X/' "$1"; }
drop_record() { sed -i 3d "$1"; }
swap_records() { sed -i '3{h;d};4{G}' "$1"; }
repeat_record() { sed -i 3p "$1"; }
half_record() { truncate -s -7 "$1"; }
attempt audit-changed refused 'one record changed' altered change_record
attempt audit-dropped refused 'one record taken out' altered drop_record
attempt audit-swapped refused 'two records in another order, one repeated' audit_order
audit_order() {
    altered swap_records
    altered repeat_record
}
attempt audit-cut refused 'the end cut off, compared with a head kept elsewhere' audit_cut
audit_cut() {
    local log

    log=$(newest_log)
    make_records 2
    cp "$log" "$KT_TMP/audit.before"
    head -n 2 "$KT_TMP/audit.before" >"$log"
    observe_failure admin "$AUDITED" audit verify --head "$HEAD_BEFORE"
    cat "$KT_TMP/audit.before" >"$log"
}

# The last ones: what the server appends now goes where nobody looks.
attempt audit-replaced refused 'the file exchanged for a shorter copy while the server runs' audit_replaced
audit_replaced() {
    local log

    log=$(newest_log)
    head -n 2 "$log" >"$KT_TMP/audit.short" && chmod 0600 "$KT_TMP/audit.short"
    cp "$log" "$KT_TMP/audit.before"
    mv "$KT_TMP/audit.short" "$log"
    make_records 1
    observe_failure admin "$AUDITED" audit verify --head "$HEAD_BEFORE"
}
attempt audit-unlinked refused 'the file removed while the server runs' audit_unlinked
audit_unlinked() {
    rm -f "$(newest_log)"
    make_records 1
    observe_failure admin "$AUDITED" audit verify --head "$HEAD_BEFORE"
}
