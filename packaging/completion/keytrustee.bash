# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Completion for keytrustee, ktadmin, kts and ktbackup: it asks the program's own help, so it cannot be stale.

# Prints the commands that PROGRAM --help lists, two words in one line where a command has two.
_keytrustee_commands() {
    "$1" --help 2>/dev/null | sed -n '/^\(Other c\|C\)ommands:$/,/^$/s/^  \([a-z]\+\( [a-z]\+\)\?\)  .*/\1/p'
}

# Prints the long options in the help of PROGRAM [COMMAND...]; those with a value end in "=".
_keytrustee_options() {
    "$@" --help 2>/dev/null |
        sed -n 's/^ .*\(--[a-z-]\+=\?\).*/\1/p' | sort -u
}

_keytrustee() {
    local program=$1 word=$2 words=() i commands verb=()

    # What the program's name stands for may not be on the PATH, or be a function of the shell.
    command -v "$program" >/dev/null || return
    for ((i = 1; i < COMP_CWORD; i++)); do
        [[ ${COMP_WORDS[i]} == -* || ${COMP_WORDS[i]} == = || ${COMP_WORDS[i - 1]} == = ]] && continue
        [[ ${COMP_WORDS[i - 1]} == -[co] ]] && continue
        words+=("${COMP_WORDS[i]}")
    done
    commands=$(_keytrustee_commands "$program")
    if [[ ${#words[@]} -ge 2 ]] && grep -qx "${words[0]} ${words[1]}" <<<"$commands"; then
        verb=("${words[@]:0:2}")
    elif [[ ${#words[@]} -ge 1 ]] && grep -qx "${words[0]}" <<<"$commands"; then
        verb=("${words[0]}")
    fi

    if [[ $word == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$(_keytrustee_options "$program" "${verb[@]}")" -- "$word")
        [[ ${COMPREPLY[0]:-} == *= ]] && compopt -o nospace
    elif [[ ${#verb[@]} -eq 0 && ${#words[@]} -eq 0 ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$(cut -d ' ' -f 1 <<<"$commands")" -- "$word")
    elif [[ ${#verb[@]} -eq 0 && ${#words[@]} -eq 1 ]]; then
        mapfile -t COMPREPLY < <(compgen -W \
            "$(sed -n "s/^${words[0]} //p" <<<"$commands")" -- "$word")
    elif [[ $program == *keytrustee && ${verb[0]} =~ ^(get|info|delete|list)$ ]]; then
        # Handles that this client sees; their colons would split words, so those are left out.
        mapfile -t COMPREPLY < <(compgen -W "$(timeout 2 "$program" --timeout 2 --quiet list "$word" \
            2>/dev/null </dev/null | awk 'NR > 1 && $1 !~ /:/ { print $1 }')" -- "$word")
    else
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
    fi
}

complete -F _keytrustee keytrustee ktadmin kts ktbackup
