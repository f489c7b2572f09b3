#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What cmake --install put below KT_ROOT: layout, units, accounts, folders, notification.
. "$KT_SOURCE/tests/support/lib.sh"

usr=$KT_ROOT/usr
sanitize=()
[[ $KT_SANITIZED == yes ]] && sanitize=(-fsanitize=address -fsanitize=undefined)

check "everything is installed at its place"
for file in sbin/kts bin/ktadmin bin/keytrustee bin/ktbackup include/keytrustee.h share/keytrustee/schema/001_initial.sql \
    share/keytrustee/keytrustee.conf.sample share/keytrustee/profile lib/systemd/system/keytrusteed.service \
    lib/systemd/system/keytrustee-db.service lib/systemd/system/keytrustee-backup.service \
    lib/systemd/system/keytrustee-backup.timer share/keytrustee/keytrustee-backup.default \
    share/keytrustee/offsite/send share/keytrustee/offsite/receive lib/sysusers.d/keytrustee.conf lib/tmpfiles.d/keytrustee.conf \
    share/man/man8/kts.8 share/man/man8/ktadmin.8 share/man/man1/keytrustee.1 share/man/man1/ktbackup.1 share/man/man5/keytrustee.conf.5 \
    share/doc/keytrustee/README.md share/doc/keytrustee/restore.md share/doc/keytrustee/backup-format.md share/doc/keytrustee/example.c share/doc/keytrustee/LICENSE \
    share/bash-completion/completions/keytrustee share/bash-completion/completions/ktadmin \
    share/bash-completion/completions/ktbackup; do
    [[ -f $usr/$file ]] || problem "$file is missing"
done
is "$(find "$KT_ROOT" -mindepth 1 -maxdepth 1 -printf '%f ')" "usr " "folders at the root"
is "$(readlink "$usr/bin/ktbackup.sh")" ktbackup "link of the old name"

check "nothing that was installed can be changed by others, or gives rights to who runs it"
is "$(find "$KT_ROOT" ! -type l -perm /022)" "" "writable files"
is "$(find "$KT_ROOT" -perm /6000)" "" "setuid files"

check "the programs need no library of the build folder and no run path"
for program in "$KTS" "$KTADMIN" "$KEYTRUSTEE" "$KTBACKUP"; do
    hasnt <(readelf -d "$program") 'RPATH|RUNPATH'
    hasnt <(ldd "$program") 'not found'
done

check "the programs are hardened: position independent, full RELRO, stack protector, no executable stack"
for program in "$KTS" "$KTADMIN" "$KEYTRUSTEE" "$KTBACKUP"; do
    has <(readelf -h "$program") 'DYN'
    has <(readelf -d "$program") 'BIND_NOW|NOW'
    has <(readelf -lW "$program") 'GNU_RELRO'
    has <(readelf -lW "$program") 'GNU_STACK +0x[0-9a-f]+ 0x[0-9a-f]+ 0x[0-9a-f]+ 0x[0-9a-f]+ 0x[0-9a-f]+ RW '
    has <(readelf -sW "$program") '__stack_chk_fail'
done

check "a program can be built with the installed library, its header and its pkg-config file"
export PKG_CONFIG_SYSROOT_DIR=$KT_ROOT
pc=$(dirname "$(find "$usr" -name keytrustee.pc)")
succeeds env PKG_CONFIG_LIBDIR="$pc" PKG_CONFIG_PATH="$pc" PKG_CONFIG_ALLOW_SYSTEM_CFLAGS=1 \
    PKG_CONFIG_ALLOW_SYSTEM_LIBS=1 pkg-config --cflags --libs keytrustee
read -r -a flags <"$KT_TMP/out"
unset PKG_CONFIG_SYSROOT_DIR
[[ $KT_SANITIZED == yes ]] && flags+=("${sanitize[@]}")
succeeds cc -Wall -Wextra -Werror -o "$KT_TMP/example" "$usr/share/doc/keytrustee/example.c" "${flags[@]}"
# Not registered yet: it must say so.
exits 4 env LD_LIBRARY_PATH="$(dirname "$pc")" KEYTRUSTEE_CONFDIR="$KT_TMP/none" "$KT_TMP/example"
has "$KT_TMP/err" '^hint: '

check "the library shows its public functions only"
hasnt <(nm -D --defined-only "$(dirname "$pc")/libkeytrustee.so" | awk '{ print $3 }') '^(kt_|ktc_|db_)'
has <(nm -D --defined-only "$(dirname "$pc")/libkeytrustee.so" | awk '{ print $3 }') '^keytrustee_open'

check "the sample settings are what the table of settings says"
# shellcheck disable=SC2046 # flags
succeeds cc "${sanitize[@]}" -I"$KT_SOURCE" -o "$KT_TMP/sample" "$KT_SOURCE/tests/support/settings_sample.c" \
    "$KT_BUILD/libkt.a" $(pkg-config --libs openssl jansson inih gpgme libcurl)
succeeds "$KT_TMP/sample"
same "$KT_TMP/out" "$usr/share/keytrustee/keytrustee.conf.sample"

# --- systemd ---

units=$usr/lib/systemd/system
check "no unit takes PostgreSQL's shared memory away, or hides PostgreSQL from its operators"
hasnt "$units/keytrusteed.service" '^RemoveIPC='
hasnt "$units/keytrustee-db.service" '^(RemoveIPC|PrivateUsers)='

check "systemd waits longer for a stop than timeouts.stop can be"
has "$units/keytrusteed.service" '^TimeoutStopSec=60$'
mkdir -m 0700 "$KT_TMP/long-stop" "$KT_TMP/long-stop/.keytrustee"
printf '[timeouts]\nstop = 51s\n' >"$KT_TMP/long-stop/.keytrustee/keytrustee.conf"
exits some "$KTADMIN" -c "$KT_TMP/long-stop" init --node kts-09
has "$KT_TMP/err" 'timeouts.stop.*must be between'

# The tools look below a root folder of their own, which is no root folder in truth.
analyze() {
    systemd-analyze --no-pager --man=no "$@"
}

if command -v systemd-analyze >/dev/null; then
    check "systemd finds nothing wrong with the units"
    # The programs must exist where the units look for them.
    mkdir "$KT_TMP/units"
    for unit in keytrusteed keytrustee-db keytrustee-backup; do
        sed "s,=/usr/,=$usr/," "$units/$unit.service" >"$KT_TMP/units/$unit.service"
    done
    cp "$units/keytrustee-backup.timer" "$KT_TMP/units/"
    succeeds analyze verify "$KT_TMP/units"/*
    is "$(cat "$KT_TMP/out" "$KT_TMP/err")" "" "complaints"

    for unit in keytrusteed keytrustee-db keytrustee-backup; do
        check "the unit $unit is exposed 1.5 or less"
        succeeds analyze security --offline=true --threshold=15 "$units/$unit.service"
        has "$KT_TMP/out" 'Overall exposure level for'
    done

    check "the threshold is one that an unhardened unit does not pass"
    printf '[Service]\nExecStart=/bin/true\n' >"$KT_TMP/units/bare.service"
    exits some analyze security --offline=true --threshold=15 "$KT_TMP/units/bare.service"

    check "the accounts are made as described: the service's with a shell, the other without"
    mkdir -p "$KT_TMP/sysroot/etc" "$KT_TMP/sysroot/usr/lib/sysusers.d"
    cp "$usr/lib/sysusers.d/keytrustee.conf" "$KT_TMP/sysroot/usr/lib/sysusers.d/"
    succeeds systemd-sysusers --dry-run "$usr/lib/sysusers.d/keytrustee.conf"
    has "$usr/lib/sysusers.d/keytrustee.conf" '^u keytrustee +- .* /var/lib/keytrustee +/bin/bash$'
    has "$usr/lib/sysusers.d/keytrustee.conf" '^u keytrustee-net +- '

    check "the folder is private and gets a profile for psql"
    has "$usr/lib/tmpfiles.d/keytrustee.conf" '^d /var/lib/keytrustee +0700 keytrustee keytrustee'
    mkdir -p "$KT_TMP/tmpfiles/var/lib"
    sed "s,keytrustee keytrustee -,$(id -un) $(id -gn) -,; s,/usr/share,$usr/share,; s, /var/lib, $KT_TMP/tmpfiles/var/lib," \
        "$usr/lib/tmpfiles.d/keytrustee.conf" >"$KT_TMP/tmpfiles.conf"
    succeeds systemd-tmpfiles --create "$KT_TMP/tmpfiles.conf"
    is "$(stat -c %a "$KT_TMP/tmpfiles/var/lib/keytrustee")" 700 "mode"
    same "$KT_TMP/tmpfiles/var/lib/keytrustee/.profile" "$usr/share/keytrustee/profile"
else
    skip "the units: systemd-analyze is not installed"
fi

check "a login shell with the profile reaches the database's folder, port and name"
succeeds env -i HOME="$KT_TMP" PATH="$PATH" bash -c \
    ". '$usr/share/keytrustee/profile'; echo \$PGHOST \$PGPORT \$PGDATABASE"
is "$(cat "$KT_TMP/out")" "/var/lib/keytrustee/run 11381 keytrustee" "profile"

# --- the ExecStart line, by hand ---

# Receives what a service tells systemd, a line each.
listen_for_notifications() {
    perl -MSocket -e '
        socket(my $s, AF_UNIX, SOCK_DGRAM, 0) or die; unlink $ARGV[0];
        bind($s, sockaddr_un($ARGV[0])) or die "bind: $!";
        $| = 1;
        while (defined recv($s, my $text, 4096, 0)) { print "$text\n" }' "$1" >"$2" &
    KT_PIDS[$!]="notification socket"
    bound() { [[ -S $KT_TMP/notify ]]; }
    comes_true 10 bound
}

told() {
    grep -qE "$1" "$KT_TMP/told"
}

check "ExecStart runs as it stands, and tells systemd when it is ready, reloads and stops"
new_node kts-01 || give_up "init: $(cat "$KT_TMP/kts-01.init.out")"
dir=${NODE_DIR[kts-01]}
listen_for_notifications "$KT_TMP/notify" "$KT_TMP/told"
# start_as_unit UNIT: what ExecStart says, with this node's confdir; sets $unit_pid.
start_as_unit() {
    local line words

    line=$(sed -n 's/^ExecStart=//p' "$units/$1.service")
    line=${line//\/usr\//$usr/}
    line=${line//\/var\/lib\/keytrustee/$dir}
    read -r -a words <<<"$line"
    NOTIFY_SOCKET=$KT_TMP/notify "${words[@]}" >>"$dir/logs/kts.log" 2>&1 </dev/null &
    unit_pid=$!
    KT_PIDS[$unit_pid]="$1"
}
start_as_unit keytrusteed
server=$unit_pid
comes_true 20 told '^READY=1'
kill -HUP "$server"
comes_true 20 told '^RELOADING=1'

check "the database's unit runs in the foreground, tells when it is ready, and stops on SIGINT"
: >"$KT_TMP/told"
start_as_unit keytrustee-db
database=$unit_pid
comes_true 20 ready kts-01
postmaster_of kts-01 && is "$(cut -d ' ' -f 4 "/proc/$pid/stat")" "$database" "the postmaster's parent"
if ldd "$(find /usr/lib/postgresql -name postgres -path '*/bin/*' | sort -V | tail -n 1)" 2>/dev/null |
    grep -q libsystemd; then
    comes_true 20 told '^READY=1'
fi
has "$units/keytrustee-db.service" '^KillSignal=SIGINT$'
has "$units/keytrustee-db.service" '^NotifyAccess=all$' # it is the child that tells

check "the library's example deposits and fetches"
succeeds admin kts-01 org add acme
new_client kts-01 acme host-1 || problem "$(cat "$KT_TMP/host-1.register.out")"
succeeds env LD_LIBRARY_PATH="$(dirname "$pc")" KEYTRUSTEE_CONFDIR="$(client_dir host-1)" "$KT_TMP/example"
has "$KT_TMP/out" 'the same bytes'

check "a restart of the server leaves the database alone"
end_process "$server"
comes_true 10 told 'STOPPING=1'
is_running "$database" || problem "the database has ended with the server"
start_as_unit keytrusteed
server=$unit_pid
comes_true 20 ready kts-01
kill -INT "$database"
comes_true 20 is_gone "$database"
end_process "$server"

check "the backup's unit runs ktbackup as it stands with the options of the sample, and fails loudly without any"
gpg --batch --quiet --passphrase '' --quick-generate-key 'John Doe <john.doe@example.com>' default default never \
    2>"$KT_TMP/gpg.err" || problem "gpg: $(cat "$KT_TMP/gpg.err")"
mkdir -m 0700 "$KT_TMP/backups"
read -r -a words < <(sed -n 's/^ExecStart=//p' "$units/keytrustee-backup.service" | sed "s,/usr/,$usr/,")
is "${words[*]:1}" "--quiet \$KTBACKUP_OPTIONS" "arguments"
has "$units/keytrustee-backup.service" '^EnvironmentFile=-/etc/default/keytrustee-backup$'
# The sample's line, as systemd splits it, with this test's folder.
options=$(sed -n 's/^#KTBACKUP_OPTIONS="\(.*\)"$/\1/p' "$usr/share/keytrustee/keytrustee-backup.default")
read -r -a options <<<"${options//\/backup\/kts/$KT_TMP/backups}"
is "${#options[@]}" 4 "options in the sample"
start_database kts-01 || problem "the database does not start"
succeeds "${words[0]}" --confdir "$dir" --quiet "${options[@]}"
[[ -s $(cat "$KT_TMP/out") ]] || problem "no backup"
exits 2 "${words[0]}" --confdir "$dir" --quiet
has "$KT_TMP/err" 'gpg-recipient'
stop_database_hard "$(head -n 1 "$dir/db/postmaster.pid")"
gpgconf --kill all

check "completion offers commands and options from the programs' own help"
complete_line() {
    PATH=$usr/bin:$usr/sbin:$PATH bash -c '
        . "$1"; shift
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
        compopt() { :; }
        _keytrustee "$1" "${@: -1}"; printf "%s\n" "${COMPREPLY[@]}"' _ \
        "$usr/share/bash-completion/completions/keytrustee" "$@"
}
succeeds complete_line keytrustee re
has "$KT_TMP/out" '^register$'
succeeds complete_line ktadmin audit ve
has "$KT_TMP/out" '^verify$'
succeeds complete_line ktadmin init --da
has "$KT_TMP/out" '^--database-port='
succeeds complete_line kts --ch
has "$KT_TMP/out" '^--check'
succeeds complete_line ktbackup ve
has "$KT_TMP/out" '^verify$'
succeeds complete_line ktbackup --gp
has "$KT_TMP/out" '^--gpg-recipient='

finish
