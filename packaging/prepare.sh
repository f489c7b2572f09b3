# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Sourced by quickstart and tests/run: packages of the distribution and the service account.

PREPARE_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PREPARE_ACCOUNT=keytrustee

prepare_note() {
    printf '%s\n' "$*" >&2
}

# Any version's server will do; the programs check that it is new enough.
prepare_has_postgresql() {
    compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null
}

# Names of the packages for the given uses ("build", "run", "test") that are not installed, a line each.
prepare_missing() {
    local uses=" $* " name use rest

    while read -r name use rest; do
        [[ -z $name || $name == \#* || $uses != *" $use "* ]] && continue
        [[ $name == postgresql ]] && prepare_has_postgresql && continue
        [[ $(dpkg-query -W -f='${db:Status-Abbrev}' "$name" 2>/dev/null) == ii* ]] || echo "$name"
    done <"$PREPARE_DIR/debian-packages"
}

# Installs what is missing for the given uses. Without root: prints the list and returns 2.
prepare_packages() {
    local missing=()

    if ! command -v dpkg-query >/dev/null; then
        prepare_note "this is not a Debian system: packages are not checked;" \
            "packaging/debian-packages says what is needed"
        return 0
    fi
    mapfile -t missing < <(prepare_missing "$@")
    [[ ${#missing[@]} -eq 0 ]] && return 0
    if [[ $EUID -ne 0 ]]; then
        prepare_note "these packages are missing:"
        printf '    %s\n' "${missing[@]}" >&2
        prepare_note "hint: let root install them: apt-get install ${missing[*]}"
        return 2
    fi
    prepare_note "installing packages of the distribution: ${missing[*]}"
    prepare_install "${missing[@]}"
}

prepare_apt() {
    DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 \
        --no-install-recommends "$@" </dev/null
}

# PostgreSQL's package makes and starts a cluster of its own unless it is told not to first.
prepare_install() {
    local conf=/etc/postgresql-common/createcluster.conf log

    log=$(mktemp)
    if ! prepare_apt update >"$log" 2>&1; then
        cat "$log" >&2
        prepare_note "hint: apt-get update failed; check the machine's network and apt sources"
        rm -f "$log"
        return 1
    fi
    if [[ " $* " == *" postgresql "* ]]; then
        if ! prepare_apt install postgresql-common >"$log" 2>&1; then
            tail -n 20 "$log" >&2
            rm -f "$log"
            return 1
        fi
        prepare_note "setting create_main_cluster = false in $conf:" \
            "PostgreSQL is not to start a cluster of the machine's own"
        sed -i '/^[[:space:]]*#*[[:space:]]*create_main_cluster[[:space:]]*=/d' "$conf"
        printf 'create_main_cluster = false\n' >>"$conf"
    fi
    if ! prepare_apt install "$@" >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        rm -f "$log"
        return 1
    fi
    rm -f "$log"
}

# As root: the service account, from the same description that packages use.
prepare_account() {
    [[ $EUID -ne 0 ]] && return 0
    getent passwd "$PREPARE_ACCOUNT" >/dev/null && getent passwd "$PREPARE_ACCOUNT-net" >/dev/null &&
        return 0
    prepare_note "making the accounts $PREPARE_ACCOUNT and $PREPARE_ACCOUNT-net"
    if command -v systemd-sysusers >/dev/null; then
        systemd-sysusers "$PREPARE_DIR/sysusers.d/keytrustee.conf" && return 0
    fi
    getent passwd "$PREPARE_ACCOUNT" >/dev/null ||
        useradd --system --user-group --home-dir /var/lib/keytrustee --no-create-home \
            --shell /bin/bash "$PREPARE_ACCOUNT" || return 1
    getent passwd "$PREPARE_ACCOUNT-net" >/dev/null ||
        useradd --system --user-group --home-dir / --no-create-home \
            --shell /usr/sbin/nologin "$PREPARE_ACCOUNT-net"
}

# As root: runs the rest as the service account, with a home directory of its own; else plainly.
prepare_as_account() {
    local home=$1
    shift

    if [[ $EUID -ne 0 ]]; then
        "$@"
        return
    fi
    local variables=() name

    for name in $(compgen -e); do
        [[ $name =~ ^(KT_|ASAN_|UBSAN_|LSAN_|TERM$) ]] && variables+=("$name=${!name}")
    done
    # setpriv and not su: no login shell, no session, the status and signals are the program's.
    # Nothing else of root's environment goes along (GnuPG and libpq would listen to it).
    setpriv --reuid="$PREPARE_ACCOUNT" --regid="$PREPARE_ACCOUNT" --init-groups \
        env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
        HOME="$home" USER="$PREPARE_ACCOUNT" LOGNAME="$PREPARE_ACCOUNT" "${variables[@]}" "$@"
}

# Whether the service account (or this user) can reach and read a path.
prepare_can_read() {
    prepare_as_account / test -r "$1"
}
