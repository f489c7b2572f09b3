#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What the documents say is what the programs do: help against man pages, error codes against the
# protocol, settings against the sample and the man page, includes against the guide.
. "$KT_SOURCE/tests/support/lib.sh"

man_text() {
    mandoc -T ascii -O width=200 "$KT_SOURCE/docs/man/$1" 2>/dev/null | sed 's/.\x08//g'
}

# Long options and commands as PROGRAM --help (and the help of each command) lists them.
options_in_help() {
    "$@" --help | grep -oE '^ .*--[a-z][a-z-]+' | grep -oE -- '--[a-z][a-z-]+$|--[a-z][a-z-]+' | sort -u
}

commands_in_help() {
    "$1" --help | sed -n '/^\(Other c\|C\)ommands:$/,/^$/s/^  \([a-z]\+\( [a-z]\+\)\?\)  .*/\1/p'
}

compare_program() {
    local program=$1 page=$2 command option text

    check "every command and option of $(basename "$program") is in its man page, and no other"
    [[ -f $KT_SOURCE/docs/man/$page ]] || { problem "docs/man/$page is missing"; return; }
    man_text "$page" >"$KT_TMP/page"
    {
        options_in_help "$program"
        while read -r command; do
            grep -qE "(^|[^a-z-])$command([^a-z-]|\$)" "$KT_TMP/page" ||
                problem "the man page misses the command '$command'"
            # shellcheck disable=SC2086 # two words
            options_in_help "$program" $command </dev/null
        done < <(commands_in_help "$program")
    } | sort -u >"$KT_TMP/options"
    [[ $(wc -l <"$KT_TMP/options") -ge 3 ]] || problem "the help lists no options"
    while read -r option; do
        grep -qE -- "$option([^a-z-]|\$)" "$KT_TMP/page" ||
            problem "the man page misses $option"
    done <"$KT_TMP/options"
    # The other way round: what the page marks as an option of its own must exist.
    text=$(grep -oE '^ +(-[a-z], )?--[a-z][a-z-]+' "$KT_TMP/page" | grep -oE -- '--[a-z-]+' | sort -u)
    for option in $text; do
        grep -qxF -- "$option" "$KT_TMP/options" || problem "no command has $option, as the page says"
    done
}

compare_program "$KTS" kts.8
compare_program "$KTADMIN" ktadmin.8
compare_program "$KEYTRUSTEE" keytrustee.1
compare_program "$KTBACKUP" ktbackup.1

check "the commands print protocol and schema with their version"
for program in "$KTS" "$KTADMIN" "$KEYTRUSTEE" "$KTBACKUP"; do
    succeeds "$program" --version
    has "$KT_TMP/out" '[0-9]+\.[0-9]+\.[0-9]+ \(protocol [0-9]+, schema [0-9]+\)$'
done

check "a wrong option or command names the nearest one and exits 2"
exits 2 "$KTADMIN" --confdri /tmp status
has "$KT_TMP/err" 'confdir'
exits 2 "$KEYTRUSTEE" gte
has "$KT_TMP/err" 'get'
exits 2 "$KTS" --chekc
has "$KT_TMP/err" 'check'
exits 2 "$KTBACKUP" --gpg-recipent=john
has "$KT_TMP/err" 'gpg-recipient'

check "every error code that reaches the wire is in the protocol, with its status"
table=$(sed -n 's/^ *{KT_[A-Z_]*, "\([a-z_]*\)", \([0-9]*\), .*/\1 \2/p' "$KT_SOURCE/lib/err.c")
[[ $(wc -l <<<"$table") -ge 50 ]] || problem "lib/err.c was not understood"
while read -r name status; do
    [[ $status == 0 ]] && continue
    grep -E "\`$name\`" "$KT_SOURCE/docs/protocol.md" 2>/dev/null | grep -q "$status" ||
        problem "docs/protocol.md does not have $name with $status"
done <<<"$table"

check "every call of the route table is in the protocol"
while IFS='"' read -r method pattern; do
    grep -qF "$pattern" "$KT_SOURCE/docs/protocol.md" 2>/dev/null ||
        problem "docs/protocol.md does not have $method $pattern"
done < <(sed -n 's/^ *{"[a-z.]*", KTS_\([A-Z]*\), "\([^"]*\)".*/\1"\2/p' "$KT_SOURCE/kts/routes.c")
[[ $(grep -c '^ *{"[a-z.]*", KTS_' "$KT_SOURCE/kts/routes.c") -ge 10 ]] || problem "no routes found"

check "every setting is in the sample file and in keytrustee.conf(5)"
[[ -f $KT_SOURCE/docs/man/keytrustee.conf.5 ]] || problem "docs/man/keytrustee.conf.5 is missing"
man_text keytrustee.conf.5 >"$KT_TMP/page"
while read -r name; do
    grep -qE "^#$name =" "$KT_SOURCE/packaging/keytrustee.conf.sample" ||
        problem "the sample misses $name"
    grep -qE "(^|[^a-z_])$name([^a-z_]|\$)" "$KT_TMP/page" || problem "the man page misses $name"
done < <(sed -n 's/^ *{KT_SET_[A-Z_]*, "[a-z]*", "\([a-z_]*\)".*/\1/p' "$KT_SOURCE/lib/settings.c")

check "every fuzz target is in the table of security.md, with seeds, and its totals are those counted"
while read -r name; do
    grep -qE "^\| .*\`$name\`.* \| .* \| .* \|\$" "$KT_SOURCE/docs/security.md" ||
        problem "docs/security.md does not have the target $name"
    compgen -G "$KT_SOURCE/tests/fuzz/corpus/$name/*" >/dev/null || problem "$name has no seeds"
done < <("$KT_SOURCE/tests/fuzz/run" --list)
[[ $("$KT_SOURCE/tests/fuzz/run" --list | wc -l) -ge 20 ]] || problem "no targets found"
"$KT_SOURCE/tests/fuzz/run" --totals >"$KT_TMP/totals"
sed -n '/^<!-- totals -->$/,/^<!-- \/totals -->$/{//!p}' "$KT_SOURCE/docs/security.md" >"$KT_TMP/told"
same "$KT_TMP/totals" "$KT_TMP/told"

check "the links in the documents lead somewhere"
for file in "$KT_SOURCE"/README.md "$KT_SOURCE"/docs/*.md; do
    while read -r target; do
        [[ $target == http* || -e $(dirname "$file")/${target%%#*} ]] ||
            problem "$(basename "$file") links to $target"
    done < <(grep -oE '\]\([^)#][^)]*\)' "$file" | sed 's/^](//; s/)$//')
done

check "the files that the guides name exist"
for file in "$KT_SOURCE"/README.md "$KT_SOURCE"/docs/{architecture,security,coding,contributing,backup-format,restore}.md; do
    while read -r target; do
        compgen -G "$KT_SOURCE/$target" >/dev/null || problem "$(basename "$file") names $target"
    done < <(grep -oE '`(lib|db|kts|ktadmin|ktbackup|client|packaging|tests|docs|\.ci)/[a-zA-Z0-9_./*-]*`' "$file" |
        tr -d '`' | sort -u)
done

check "the attempts that the threat model names are made, and every attacker of the attack is in it"
"$KT_SOURCE/tests/attack/run" --list >"$KT_TMP/attempts"
sed -n '/^## Threat model/,/^## Who/s/^|.*|\([^|]*\)|$/\1/p' "$KT_SOURCE/docs/security.md" >"$KT_TMP/shown"
named=0
while read -r name; do
    named=$((named + 1))
    grep -qE "^${name//\*/[a-z0-9-]*} " "$KT_TMP/attempts" || problem "docs/security.md names the attempt $name"
done < <(grep -oE '`[a-z0-9*-]+`' "$KT_TMP/shown" | tr -d '`' | sort -u)
[[ $named -ge 20 ]] || problem "$named attempts are named"
for file in "$KT_SOURCE"/tests/attack/attacker_*.sh; do
    family=$(sed -n 's/^attacker \([a-z_]*\) .*/\1/p' "$file")
    grep -qF "*$family*" "$KT_TMP/shown" || problem "docs/security.md does not name the attacker $family"
done

finish
