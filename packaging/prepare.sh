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

# PostgreSQL's package makes and starts a cluster of its own unless it is told not to first. It is told
# for this installation only: what the machine's administrator installs later is none of our business.
PREPARE_CREATECLUSTER=/etc/postgresql-common/createcluster.conf
PREPARE_DROP_IN=/etc/postgresql-common/createcluster.d/keytrustee.conf

prepare_withhold_cluster() {
    install -d -m 0755 "${PREPARE_DROP_IN%/*/*}" "${PREPARE_DROP_IN%/*}" &&
        printf 'create_main_cluster = false\n' >"$PREPARE_DROP_IN" && chmod 0644 "$PREPARE_DROP_IN" &&
        [[ $(<"$PREPARE_DROP_IN") == 'create_main_cluster = false' ]] && return
    prepare_note "cannot write $PREPARE_DROP_IN: PostgreSQL would start a cluster of its own"
    prepare_note "hint: let root install postgresql as the machine's policy wants it"
    return 1
}

# Asked as the package's own script will ask, once postgresql-common is there.
prepare_is_withheld() {
    [[ $(pg_conftool "$PREPARE_CREATECLUSTER" show -bs create_main_cluster 2>/dev/null) == off ]] && return
    prepare_note "$PREPARE_CREATECLUSTER does not lead to $PREPARE_DROP_IN:" \
        "PostgreSQL would start a cluster of its own"
    prepare_note "hint: put include_dir '${PREPARE_DROP_IN%/*}' at its end"
    return 1
}

prepare_allow_cluster() {
    rm -f "$PREPARE_DROP_IN"
    rmdir "${PREPARE_DROP_IN%/*}" 2>/dev/null
    true
}

# openssh-server's package opens port 22 unless this file, which its service asks for, is there first.
# It stays: who wants the service removes it.
PREPARE_NO_SSHD=/etc/ssh/sshd_not_to_be_run

prepare_withhold_sshd() {
    install -d -m 0755 "${PREPARE_NO_SSHD%/*}" && : >"$PREPARE_NO_SSHD" || return 1
    prepare_note "$PREPARE_NO_SSHD keeps the ssh service off: tests only need its program"
}

# prepare_apt whose output only matters when it fails.
prepare_apt_quietly() {
    local log status=0

    log=$(mktemp) || return 1
    prepare_apt "$@" >"$log" 2>&1 || status=1
    [[ $status -eq 0 ]] || tail -n 20 "$log" >&2
    rm -f "$log"
    return "$status"
}

prepare_install() {
    local status=0

    if ! prepare_apt_quietly update; then
        prepare_note "hint: apt-get update failed; check the machine's network and apt sources"
        return 1
    fi
    if [[ " $* " == *" openssh-server "* ]]; then
        prepare_withhold_sshd || return 1
    fi
    if [[ " $* " != *" postgresql "* ]]; then
        prepare_apt_quietly install "$@"
        return
    fi
    # In a shell of its own, so that an interrupt leaves nothing behind either.
    (
        trap prepare_allow_cluster EXIT
        trap 'exit 1' INT TERM HUP
        prepare_withhold_cluster && prepare_apt_quietly install postgresql-common &&
            prepare_is_withheld && prepare_apt_quietly install "$@"
    ) || status=1
    return "$status"
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
