# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# The table of attempts: how a row is written, how one is made, and what is printed.
#
# Each file of this folder that begins with "attacker" is a family: one kind of attacker, what it needs,
# and its rows. A row is
#
#     attempt NAME 'EXPECTED' 'what is tried' COMMAND...
#
# COMMAND makes the attempt and calls `observe TEXT` for whatever came of it, at least once; each text
# must match the pattern EXPECTED. Texts of answers are "STATUS CODE": '403 not_granted'. A row that
# begins with `control` shows that the same thing is done for who may do it: without, a refusal would
# prove nothing. What
# is said `_at_leisure` takes long, or is in other tests too: the short form leaves it out, and a family
# that sets row_short=no.

FAMILIES=() FAMILY_ATTACKER=() FAMILY_PHASE=()
ROW_SHORT=() ROW_KIND=() ROW_FAMILY=() ROW_NAME=() ROW_EXPECTED=() ROW_WHAT=() ROW_COMMAND=()
row_short=yes

# attacker NAME PHASE WHO: begins a family. PHASE: `load` while legitimate clients are at work, `after`
# for what takes nodes away from them.
attacker() {
    row_short=yes
    FAMILIES+=("$1")
    FAMILY_PHASE+=("$2")
    FAMILY_ATTACKER+=("$3")
}

add_row() {
    ROW_SHORT+=("$row_short")
    ROW_KIND+=("$1")
    ROW_FAMILY+=($((${#FAMILIES[@]} - 1)))
    ROW_NAME+=("$2")
    ROW_EXPECTED+=("$3")
    ROW_WHAT+=("$4")
    ROW_COMMAND+=("$(printf '%q ' "${@:5}")")
}

control() { add_row control "$@"; }
attempt() { add_row attempt "$@"; }
attempt_at_leisure() { row_short=no attempt "$@"; }
control_at_leisure() { row_short=no control "$@"; }

load_table() {
    local file

    for file in "$1"/attacker_*.sh; do
        # shellcheck source=/dev/null
        . "$file"
    done
}

# For --list: a line for each row.
list_table() {
    local i

    for ((i = 0; i < ${#ROW_NAME[@]}; i++)); do
        printf '%-28s %-12s %s -> %s\n' "${ROW_NAME[i]}" \
            "$([[ ${ROW_KIND[i]} == control ]] && echo control || echo "${FAMILIES[ROW_FAMILY[i]]}")" \
            "${ROW_WHAT[i]}" "${ROW_EXPECTED[i]}"
    done
}

# --- making an attempt ---

observed=() attempts_made=0 attempts_refused=0 controls_made=0 attempts_skipped=0
JSON_ROWS=$KT_TMP/attempts.json

observe() {
    observed+=("$1")
}

# What a command that must fail came to: "refused", or what it said when it was not.
observe_failure() {
    run "$@"
    if [[ $status -ne 0 && $status -lt 124 ]]; then
        observe refused
    else
        observe "status $status: $(head -c 200 "$KT_TMP/out" | tr '\0\n' '  ')"
    fi
}

# As observe_failure; the reason must be the one that is meant: observe_failure_for PATTERN COMMAND...
observe_failure_for() {
    observe_failure "${@:2}"
    [[ ${observed[-1]} != refused ]] && return
    cat "$KT_TMP/out" >>"$KT_TMP/err"
    grep -aqE -- "$1" "$KT_TMP/err" || observed[-1]="refused for another reason: $(head -c 300 "$KT_TMP/err" | tr '\0\n' '  ')"
}

observe_success() {
    run "$@"
    if [[ $status -eq 0 ]]; then
        observe done
    else
        observe "status $status: $(head -c 300 "$KT_TMP/err" | tr '\0\n' '  ')"
    fi
}

# An attempt that this machine does not allow to be made.
cannot_try() {
    not_tried=$1
}

json_text() {
    local text=$1

    text=${text//\\/\\\\}
    text=${text//\"/\\\"}
    tr -d '\000-\037' <<<"$text"
}

# make_row INDEX
make_row() {
    local i=$1 text wrong='' kind=${ROW_KIND[$1]} expected=${ROW_EXPECTED[$1]} began=${EPOCHREALTIME/[.,]/} ms

    observed=() not_tried=''
    next_address
    target=kts-01
    check "$([[ $kind == control ]] && echo 'allowed:' || echo 'refused:') ${ROW_NAME[i]}: ${ROW_WHAT[i]}"
    eval "${ROW_COMMAND[i]}"
    if [[ -n $not_tried ]]; then
        skip "${ROW_NAME[i]}: $not_tried"
        attempts_skipped=$((attempts_skipped + 1))
        return
    fi
    [[ ${#observed[@]} -gt 0 ]] || wrong="nothing was observed"
    for text in "${observed[@]}"; do
        # shellcheck disable=SC2053 # a pattern is meant
        [[ $text == $expected ]] || wrong=${wrong:-$text}
    done
    [[ -z $wrong ]] || problem "expected $expected, got $wrong"
    if [[ $kind == control ]]; then
        controls_made=$((controls_made + 1))
    else
        attempts_made=$((attempts_made + 1))
        [[ -n $kt_problems ]] || attempts_refused=$((attempts_refused + 1))
    fi
    ms=$(((${EPOCHREALTIME/[.,]/} - began) / 1000))
    printf '{"name": "%s", "attacker": "%s", "kind": "%s", "tried": "%s", "expected": "%s", "got": "%s", "as_expected": %s, "ms": %d}\n' \
        "${ROW_NAME[i]}" "${FAMILIES[ROW_FAMILY[i]]}" "$kind" "$(json_text "${ROW_WHAT[i]}")" \
        "$(json_text "$expected")" "$(json_text "${wrong:-${observed[-1]}}")" \
        "$([[ -z $kt_problems ]] && echo true || echo false)" "$ms" >>"$JSON_ROWS"
    kt_close_case
    [[ $ms -lt 10000 ]] || echo "    (${ROW_NAME[i]} took $ms ms)"
}

is_wanted() {
    local i=$1 f=${ROW_FAMILY[$1]}

    [[ ${FAMILY_PHASE[f]} == "$2" ]] || return 1
    [[ ${KT_ATTACK_SHORT:-no} == yes && ${ROW_SHORT[i]} == no ]] && return 1
    # shellcheck disable=SC2053 # a pattern is meant
    [[ ${ROW_NAME[i]} == ${KT_ATTACK_ONLY:-*} || ${FAMILIES[f]} == ${KT_ATTACK_ONLY:-*} ]]
}

# Whether a row will be made in some phase: its scene may cost something.
row_will_be_made() {
    local i

    for ((i = 0; i < ${#ROW_NAME[@]}; i++)); do
        [[ ${ROW_NAME[i]} == "$1" ]] && { is_wanted "$i" load || is_wanted "$i" after; } && return
    done
    return 1
}

# make_phase PHASE: a family is prepared when its first row is made, and cleaned up after its last.
make_phase() {
    local i f last=-1

    for ((i = 0; i < ${#ROW_NAME[@]}; i++)); do
        is_wanted "$i" "$1" || continue
        f=${ROW_FAMILY[i]}
        if [[ $f -ne $last ]]; then
            echo "--- ${FAMILY_ATTACKER[f]}"
            if declare -F "prepare_${FAMILIES[f]}" >/dev/null; then
                "prepare_${FAMILIES[f]}" || problem "the family ${FAMILIES[f]} cannot be prepared"
            fi
            last=$f
        fi
        make_row "$i"
    done
}
