# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Helpers of the integration tests: cases, waiting, nodes, clients, requests.
#
# A test script sources this, calls `check "sentence"` before each case, then expectations
# (succeeds, exits, same, is, has, hasnt, answers), and `finish` at its end. An expectation that is
# not met fails the case and lets the script go on; `give_up` ends it.
# tests/run sets KT_TMP (scratch, owned by this user), KT_ROOT (where the programs are installed),
# KT_SOURCE, KT_BUILD and KT_SANITIZED.
set -uo pipefail

: "${KT_TMP:?run this through tests/run --only NAME}" "${KT_ROOT:?}" "${KT_SOURCE:?}"
KTS=$KT_ROOT/usr/sbin/kts
KTADMIN=$KT_ROOT/usr/bin/ktadmin
KEYTRUSTEE=$KT_ROOT/usr/bin/keytrustee
KTBACKUP=$KT_ROOT/usr/bin/ktbackup
export HOME=$KT_TMP/home LC_ALL=C.UTF-8
unset GNUPGHOME KEYTRUSTEE_CONFDIR
mkdir -p "$HOME"

# --- cases ---

kt_case='' kt_problems='' kt_passed=0 kt_failed=0 kt_skipped=0

kt_close_case() {
    # What goes wrong between cases is a failure too.
    [[ -z $kt_case && -z $kt_problems ]] && return
    kt_case=${kt_case:-what the cases stand on is there}
    if [[ -z $kt_problems ]]; then
        echo "ok - $kt_case"
        kt_passed=$((kt_passed + 1))
    else
        printf '%s' "$kt_problems"
        echo "FAIL - $kt_case"
        kt_failed=$((kt_failed + 1))
    fi
    kt_case='' kt_problems=''
}

# Begins a case: a sentence that is true when the case passes.
check() {
    kt_close_case
    kt_case=$1
}

# Leaves a case out, with the reason.
skip() {
    kt_case='' kt_problems=''
    echo "skip - $1"
    kt_skipped=$((kt_skipped + 1))
}

problem() {
    kt_problems+="    $1"$'\n'
    return 1
}

finish() {
    kt_close_case
    stop_everything
    end_gpg_agents
    echo "cases: $kt_passed passed, $kt_failed failed, $kt_skipped skipped"
    trap - EXIT
    [[ $kt_failed -eq 0 ]] || exit 1
    exit 0
}

give_up() {
    problem "gives up: $1"
    finish
}

# --- expectations ---

kt_show() {
    [[ -s $1 ]] && problem "$2: $(head -c 600 "$1" | tr -d '\0' | tr '\n' '~')"
}

# Runs a command with its output in $KT_TMP/out and $KT_TMP/err; the status is in $status.
run() {
    status=0
    "$@" >"$KT_TMP/out" 2>"$KT_TMP/err" </dev/null || status=$?
}

succeeds() {
    run "$@"
    [[ $status -eq 0 ]] && return
    kt_show "$KT_TMP/err" "stderr"
    problem "status $status of: $*"
}

# exits STATUS COMMAND...: 'some' means any but 0, signals excluded.
exits() {
    local want=$1
    shift

    run "$@"
    [[ $status == "$want" || $want == some && $status -gt 0 && $status -lt 126 ]] && return
    kt_show "$KT_TMP/out" "stdout"
    kt_show "$KT_TMP/err" "stderr"
    problem "status $status instead of $want of: $*"
}

same() {
    cmp "$1" "$2" >"$KT_TMP/cmp" 2>&1 || problem "differ: $(cat "$KT_TMP/cmp")"
}

# is GOT WANT [WHAT]
is() {
    [[ $1 == "$2" ]] || problem "${3:-value} is '$1', not '$2'"
}

# has FILE PATTERN (extended regular expression); hasnt is its opposite.
has() {
    grep -aqE -- "$2" "$1" && return
    kt_show "$1" "content of $1"
    problem "'$2' is not in $1"
}

hasnt() {
    ! grep -aqE -- "$2" "$1" || problem "'$2' is in $1: $(grep -aE -- "$2" "$1" | head -n 3)"
}

# --- waiting: for a condition, never for a time ---

exec {kt_silence}<> <(:)

# A fraction of a second, between two looks at a condition.
kt_breath() {
    read -r -t 0.05 -u "$kt_silence" _
    true
}

# wait_until SECONDS COMMAND...: 0 as soon as the command succeeds. Sanitizers get more time.
wait_until() {
    local limit=$1 end
    shift

    [[ ${KT_SANITIZED:-no} == yes ]] && limit=$((limit * 4))
    end=$((SECONDS + limit))
    until "$@"; do
        [[ $SECONDS -ge $end ]] && return 1
        kt_breath
    done
}

# As wait_until; the case fails when it does not come true.
comes_true() {
    wait_until "$@" || problem "not within $1 s: ${*:2}"
}

# --- processes and ports ---

declare -A KT_PIDS=() # what this script has started: pid -> what

is_running() {
    [[ -d /proc/$1 && $(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null) != Z* ]]
}

is_gone() {
    ! is_running "$1"
}

# Asks a process to end, and makes it after a while.
end_process() {
    local pid=$1

    is_running "$pid" && kill -TERM "$pid" 2>/dev/null
    if ! wait_until 20 is_gone "$pid"; then
        kill -KILL "$pid" 2>/dev/null
        problem "${KT_PIDS[$pid]:-process} $pid did not end when asked to"
    fi
    wait "$pid" 2>/dev/null
    unset "KT_PIDS[$pid]"
}

can_connect() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

declare -A KT_PORTS=()

# Sets $port to one that nobody listens on, below the range the kernel takes ports from. Scripts that
# run at the same time have KT_PORT_RANGE from tests/run, so that none takes the port of another's
# node that is down.
free_port() {
    local first=${KT_PORT_RANGE:-20000-29999} last

    last=${first#*-} first=${first%-*}
    while port=$((first + RANDOM % (last - first + 1))); do
        [[ -z ${KT_PORTS[$port]:-} ]] && ! can_connect "$port" && break
    done
    KT_PORTS[$port]=1
}

# --- nodes: NAME is a folder below KT_TMP ---

declare -A NODE_DIR=() NODE_PORT=() NODE_DB_PORT=() NODE_DOOR_PORT=() NODE_PID=()

admin() {
    "$KTADMIN" --confdir "${NODE_DIR[$1]}" "${@:2}"
}

# new_node NAME: initialises a node, with ports of its own.
new_node() {
    local name=$1

    NODE_DIR[$name]=$KT_TMP/$name
    mkdir -m 0700 "${NODE_DIR[$name]}"
    free_port
    NODE_PORT[$name]=$port
    free_port
    NODE_DB_PORT[$name]=$port
    free_port
    NODE_DOOR_PORT[$name]=$port
    admin "$name" init --node "$name" --port "${NODE_PORT[$name]}" --agent-port "$port" \
        --database-port "${NODE_DB_PORT[$name]}" >"$KT_TMP/$name.init.out" 2>&1
}

settings_file() {
    echo "${NODE_DIR[$1]}/.keytrustee/keytrustee.conf"
}

# set_setting NODE SECTION NAME VALUE: as an operator would, with an editor.
set_setting() {
    local file
    file=$(settings_file "$1")

    awk -v section="[$2]" -v name="$3" -v value="$4" '
        { line = $0 }
        /^\[/ { if (inside && !done) { print name " = " value; done = 1 } inside = ($0 == section) }
        inside && line ~ "^#? ?" name " *=" { if (!done) print name " = " value; done = 1; next }
        { print }
        END { if (!done) { if (!inside) print section; print name " = " value } }' \
        "$file" >"$KT_TMP/settings.new" && cat "$KT_TMP/settings.new" >"$file"
}

# Starts kts alone.
start_server() {
    local name=$1 dir=${NODE_DIR[$1]}

    "$KTS" --confdir "$dir" >>"$dir/logs/kts.log" 2>&1 </dev/null &
    NODE_PID[$name]=$!
    KT_PIDS[$!]="kts of $name"
}

stop_server() {
    end_process "${NODE_PID[$1]}"
    unset "NODE_PID[$1]"
}

start_database() {
    admin "$1" db --start --background >"$KT_TMP/$1.db.out" 2>&1
}

# Starts the database as soon as the server's agent can be asked.
start_node() {
    start_server "$1"
    wait_until 20 start_database "$1" && wait_until 20 ready "$1" && return
    kt_show "$KT_TMP/$1.db.out" "ktadmin db --start"
    problem "log: $(tail -n 5 "${NODE_DIR[$1]}/logs/kts.log" | tr '\n' '~')"
}

stop_node() {
    admin "$1" db --stop >"$KT_TMP/$1.db.out" 2>&1 || problem "db --stop: $(cat "$KT_TMP/$1.db.out")"
    [[ -n ${NODE_PID[$1]:-} ]] && stop_server "$1"
}

# A curl whose connections go to that node.
curl_node() {
    curl "${@:2}"
}

ready() {
    [[ $(curl_node "$1" -s -o /dev/null -w '%{http_code}' --max-time 5 --cacert "$(ca_of "$1")" \
        "$(url_of "$1")/v1/health/ready") == 200 ]]
}

ca_of() {
    echo "${NODE_DIR[$1]}/.keytrustee/ca/cert.pem"
}

url_of() {
    echo "https://127.0.0.1:${NODE_PORT[$1]}"
}

# postmaster_of NODE: sets $pid, or fails when PostgreSQL is not running.
postmaster_of() {
    read -r pid 2>/dev/null <"${NODE_DIR[$1]}/db/postmaster.pid" && is_running "$pid"
}

# As the owner of the private database, with the stock client.
sql() {
    psql -X -h "${NODE_DIR[$1]}/run" -p "${NODE_DB_PORT[$1]}" -U keytrustee -d keytrustee \
        -v ON_ERROR_STOP=1 -At -c "$2"
}

stop_everything() {
    local name

    for name in "${!NODE_DIR[@]}"; do
        postmaster_of "$name" && stop_database_hard "$pid"
    done
    for pid in "${!KT_PIDS[@]}"; do
        end_process "$pid"
    done
    check_sanitizers
}

# Fast stop of the postmaster itself: the agent may be gone already.
stop_database_hard() {
    kill -INT "$1" 2>/dev/null
    wait_until 20 is_gone "$1" || kill -QUIT "$1" 2>/dev/null
}

# What a sanitizer reported in any log is a failure of the whole script.
check_sanitizers() {
    local file

    while read -r file; do
        echo "sanitizer report in $file:"
        grep -aE -A 12 'ERROR: (Address|Leak)Sanitizer|runtime error:' "$file" | head -n 40
        echo "FAIL - no sanitizer complains"
        kt_failed=$((kt_failed + 1))
    done < <(grep -rlaE --include='*.log' --include=err \
        'ERROR: (Address|Leak)Sanitizer|runtime error:' "$KT_TMP" 2>/dev/null)
}

# --- clients: NAME is a folder below KT_TMP/clients ---

client_dir() {
    echo "$KT_TMP/clients/$1"
}

# client NAME ARGUMENTS...: the command as that client.
client() {
    KEYTRUSTEE_CONFDIR=$(client_dir "$1") "$KEYTRUSTEE" "${@:2}"
}

# new_auth_code NODE ORGANISATION FILE [OPTIONS...]
new_auth_code() {
    (umask 077 && admin "$1" authcode new "$2" "${@:4}" >"$3" 2>"$KT_TMP/authcode.err")
}

# new_client NODE ORGANISATION NAME: with an auth code of its own.
new_client() {
    mkdir -p "$KT_TMP/clients"
    new_auth_code "$1" "$2" "$KT_TMP/code.$3" || return
    client "$3" register --server "127.0.0.1:${NODE_PORT[$1]}" --auth-code-file "$KT_TMP/code.$3" \
        --name "$3" >"$KT_TMP/$3.register.out" 2>&1
}

# A node, an organisation "acme" and its clients host-1 and host-2: what most tests stand on.
new_node_with_clients() {
    local name=$1

    new_node "$name" || give_up "init: $(cat "$KT_TMP/$name.init.out")"
    start_node "$name" || give_up "the node does not start"
    run admin "$name" org add acme
    [[ $status -eq 0 ]] || give_up "org add: $(cat "$KT_TMP/err")"
    new_client "$name" acme host-1 || give_up "register: $(cat "$KT_TMP/host-1.register.out")"
    new_client "$name" acme host-2 || give_up "register: $(cat "$KT_TMP/host-2.register.out")"
}

# --- requests with a stock curl ---

# request NODE CLIENT METHOD PATH [CURL OPTIONS...]: CLIENT is a client's name, or "none", or a path
# prefix of a certificate (PREFIX-cert.pem, PREFIX-key.pem). Sets $http; body in $KT_TMP/body, header
# in $KT_TMP/header. http is 000 when no answer came; then $KT_TMP/no_answer says why.
request() {
    local node=$1 who=$2 method=$3 path=$4 certificate=()
    shift 4

    case $who in
    none) ;;
    /*) certificate=(--cert "$who-cert.pem" --key "$who-key.pem") ;;
    *) certificate=(--cert "$(client_dir "$who")/client-cert.pem"
        --key "$(client_dir "$who")/client-key.pem") ;;
    esac
    [[ $method == HEAD ]] && certificate+=(--head)
    [[ $method != GET && $method != HEAD ]] && certificate+=(--request "$method")
    : >"$KT_TMP/body"
    : >"$KT_TMP/header"
    http=$(curl_node "$node" -sS --path-as-is --max-time 30 --cacert "$(ca_of "$node")" "${certificate[@]}" \
        -H 'Expect:' -D "$KT_TMP/header" -o "$KT_TMP/body" -w '%{http_code}' "$@" \
        "$(url_of "$node")$path" 2>"$KT_TMP/no_answer")
}

# deposit NODE CLIENT HANDLE FILE [ID]: the PUT with everything right; sets $http.
deposit() {
    request "$1" "$2" PUT "/v1/deposits/$(escape "$3")" --data-binary "@$4" \
        -H 'Content-Type: application/pgp-encrypted' -H "KT-Deposit-Id: ${5:-$(new_uuid)}" \
        -H "KT-SHA256: $(sha256sum "$4" | cut -c 1-64)"
}

# The error code of the last answer.
error_code() {
    sed -n 's/.*"code": *"\([a-z0-9_]*\)".*/\1/p' "$KT_TMP/body" | head -n 1
}

# answers STATUS [CODE]: of the last request. CODE may be a pattern: 'certificate_*'.
answers() {
    local code
    code=$(error_code)

    # shellcheck disable=SC2053 # a pattern is meant
    [[ $http == "$1" && (-z ${2:-} || $code == $2) ]] && return
    kt_show "$KT_TMP/body" "body"
    problem "answered $http '$code' instead of $1 '${2:-}'"
}

escape() {
    local text=$1 out='' i char

    for ((i = 0; i < ${#text}; i++)); do
        char=${text:i:1}
        case $char in
        [A-Za-z0-9._~-]) out+=$char ;;
        *) out+=$(printf '%%%02X' "'$char") ;;
        esac
    done
    echo "$out"
}

new_uuid() {
    cat /proc/sys/kernel/random/uuid
}

# encrypt_to CLIENT FILE OUT: with the stock gpg and the client's own key, binary.
encrypt_to() {
    gpg --homedir "$(client_dir "$1")/gnupg" --batch --yes --quiet --trust-model always \
        --compress-algo none --recipient "$(fingerprint_of "$1")" --encrypt --output "$3" "$2" \
        2>"$KT_TMP/gpg.err"
}

fingerprint_of() {
    gpg --homedir "$(client_dir "$1")/gnupg" --batch --with-colons --list-secret-keys 2>/dev/null |
        awk -F: '$1 == "fpr" { print $10; exit }'
}

# Ends the gpg-agents that tests have caused.
end_gpg_agents() {
    local dir

    for dir in "$KT_TMP"/clients/*/gnupg "$KT_TMP"/gnupg*; do
        [[ -d $dir ]] && gpgconf --homedir "$dir" --kill all 2>/dev/null
    done
    true
}

# A script that ends on its own account has failed; whatever happens, nothing is left running.
trap 'kt_case=${kt_case:-the script runs to its end}; problem "ended early"; finish' EXIT
trap 'exit 143' TERM INT HUP
