# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Helpers of the tests with several nodes: sourced instead of lib.sh, which it sources.
#
# Where users may make namespaces, the script starts itself again in namespaces of its own, and each
# node has a network of its own on a bridge: 10.77.0.1 for kts-01 and so on, the same ports everywhere,
# the script at 10.77.0.254. Links between nodes can then be cut (`cut_link`, `cut_one_way`, `isolate`,
# `heal`), small disks be mounted, and a node's processes are those in its network. Elsewhere nodes have
# the loopback addresses 127.0.1.1, ...; `has_networks` is then false, and what needs links is skipped.
if [[ ${KT_IN_NAMESPACE:-} != yes && ${KT_NO_NAMESPACE:-} != yes ]] && command -v ip >/dev/null &&
    unshare -U -m -n --map-user="$(id -u)" --map-group="$(id -g)" --keep-caps \
        ip link add kt0 type bridge 2>/dev/null; then
    export KT_IN_NAMESPACE=yes
    exec unshare -U -m -n --map-user="$(id -u)" --map-group="$(id -g)" --keep-caps bash "$0" "$@"
fi
. "$KT_SOURCE/tests/support/lib.sh"

CHAOS_LOAD=$KT_BUILD/tests/chaos_load
CHAOS_CHECK=$KT_BUILD/tests/chaos_check

declare -A NODE_ADDRESS=() NODE_HOLDER=() NODE_SUPERVISOR=()
NODES=() # names, in the order in which they were made

has_networks() {
    [[ ${KT_IN_NAMESPACE:-} == yes ]]
}

if has_networks; then
    ip link set lo up && ip link add kt0 type bridge && ip link set kt0 up &&
        ip addr add 10.77.0.254/24 dev kt0 || give_up "cannot make a network"
    HTTPS_PORT=11371 AGENT_PORT=11372 DATABASE_PORT=11381
else
    free_port && HTTPS_PORT=$port
    free_port && AGENT_PORT=$port
    free_port && DATABASE_PORT=$port
fi

# --- networks ---

# A node's network: a process that sleeps in it, and a cable to the bridge.
new_network() {
    local name=$1 number=$((10#${1##*-})) holder

    NODE_ADDRESS[$name]=127.0.1.$number
    has_networks || return 0
    NODE_ADDRESS[$name]=10.77.0.$number
    unshare -n sleep infinity </dev/null &
    holder=$!
    NODE_HOLDER[$name]=$holder
    KT_PIDS[$holder]="network of $name"
    has_own_network() { [[ $(readlink "/proc/$1/ns/net") != "$(readlink /proc/self/ns/net)" ]]; }
    wait_until 10 has_own_network "$holder" &&
        ip link add "kt$number" type veth peer name eth0 netns "$holder" &&
        ip link set "kt$number" master kt0 up &&
        nsenter -t "$holder" -n sh -c "ip link set lo up && ip link set eth0 up &&
            ip addr add ${NODE_ADDRESS[$name]}/24 dev eth0" ||
        give_up "cannot make the network of $name"
}

# Becomes a program on a node: in its network, without the rights that this script has in its
# namespace. For jobs: `exec_on_node NAME PROGRAM... &` leaves the program's id in $!.
exec_on_node() {
    local name=$1
    shift

    if has_networks; then
        exec nsenter -t "${NODE_HOLDER[$name]}" -n setpriv --ambient-caps=-all --inh-caps=-all -- "$@"
    fi
    exec "$@"
}

on_node() {
    (exec_on_node "$@")
}

# What FROM sends to TO gets lost; what TO sends arrives.
cut_one_way() {
    nsenter -t "${NODE_HOLDER[$1]}" -n \
        ip neigh replace "${NODE_ADDRESS[$2]}" lladdr 02:00:00:00:00:99 nud permanent dev eth0
}

cut_link() {
    cut_one_way "$1" "$2"
    cut_one_way "$2" "$1"
}

isolate() {
    local other

    for other in "${NODES[@]}"; do
        [[ $other == "$1" ]] || cut_link "$1" "$other"
    done
}

# All links work again.
heal() {
    local from to

    has_networks || return 0
    for from in "${NODES[@]}"; do
        for to in "${NODES[@]}"; do
            [[ $from == "$to" ]] || nsenter -t "${NODE_HOLDER[$from]}" -n \
                ip neigh del "${NODE_ADDRESS[$to]}" dev eth0 2>/dev/null
        done
    done
    true
}

# --- what lib.sh does for one node, for a node with an address ---

admin() {
    on_node "$1" "$KTADMIN" --confdir "${NODE_DIR[$1]}" "${@:2}"
}

# As admin; asks nobody, and ends after SECONDS: admin_for SECONDS NODE ARGUMENTS...
admin_for() {
    local limit=$1 name=$2
    shift 2

    [[ ${KT_SANITIZED:-no} == yes ]] && limit=$((limit * 4))
    on_node "$name" timeout --kill-after=5 "$limit" "$KTADMIN" --confdir "${NODE_DIR[$name]}" "$@"
}

# Certificates carry the name keytrustee; where it leads is curl's affair.
url_of() {
    echo "https://keytrustee:${NODE_PORT[$1]}"
}

curl_node() {
    curl --connect-to "::${NODE_ADDRESS[$1]}:${NODE_PORT[$1]}" "${@:2}"
}

can_reach() {
    (exec 3<>"/dev/tcp/${NODE_ADDRESS[$1]}/${NODE_PORT[$1]}") 2>/dev/null
}

# As in lib.sh; a PostgreSQL that is frozen keeps nobody waiting for ever.
sql() {
    timeout --kill-after=1 10 psql -X -h "${NODE_DIR[$1]}/run" -p "${NODE_DB_PORT[$1]}" -U keytrustee \
        -d keytrustee -v ON_ERROR_STOP=1 -At -c "$2"
}

start_server() {
    local name=$1 dir=${NODE_DIR[$1]}

    exec_on_node "$name" "$KTS" --confdir "$dir" >>"$dir/logs/kts.log" 2>&1 </dev/null &
    NODE_PID[$name]=$!
    KT_PIDS[$!]="kts of $name"
}

server_runs() {
    [[ -n ${NODE_PID[$1]:-} ]] && is_running "${NODE_PID[$1]}"
}

database_runs() {
    local pid

    postmaster_of "$1"
}

# As the unit keytrustee-db does: the supervisor stays in the foreground, of a job.
start_supervisor() {
    local name=$1 dir=${NODE_DIR[$1]}

    exec_on_node "$name" "$KTADMIN" --confdir "$dir" db --start >>"$dir/logs/db-start.log" 2>&1 </dev/null &
    NODE_SUPERVISOR[$name]=$!
    KT_PIDS[$!]="db --start of $name"
}

supervisor_runs() {
    [[ -n ${NODE_SUPERVISOR[$1]:-} ]] && is_running "${NODE_SUPERVISOR[$1]}"
}

# Server and database, as at the machine's boot; does not wait for a role.
boot_node() {
    local name=$1

    server_runs "$name" || start_server "$name"
    wait_until 20 can_reach "$name" || problem "$name does not answer: $(log_of "$name")"
    supervisor_runs "$name" || start_supervisor "$name"
}

# Asks for the database again while the agent is not yet ready to allow it.
start_node() {
    boot_node "$1"
    database_is_up() {
        database_runs "$1" && return
        supervisor_runs "$1" || start_supervisor "$1"
        kt_breath
        database_runs "$1"
    }
    wait_until 30 database_is_up "$1" && return
    problem "PostgreSQL of $1 does not start: $(tail -n 3 "${NODE_DIR[$1]}/logs/db-start.log" |
        tr '\n' '~'), $(log_of "$1")"
}

log_of() {
    tail -n 5 "${NODE_DIR[$1]}/logs/kts.log" | tr '\n' '~'
}

forget_process() {
    wait "$1" 2>/dev/null
    unset "KT_PIDS[$1]"
}

# In order: PostgreSQL, then the server.
stop_node() {
    local name=$1

    if server_runs "$name"; then
        admin_for 60 "$name" db --stop >"$KT_TMP/$name.db.out" 2>&1
    fi
    if supervisor_runs "$name"; then
        end_process "${NODE_SUPERVISOR[$name]}"
    elif [[ -n ${NODE_SUPERVISOR[$name]:-} ]]; then
        forget_process "${NODE_SUPERVISOR[$name]}"
    fi
    unset "NODE_SUPERVISOR[$name]"
    postmaster_of "$name" && stop_database_hard "$pid"
    [[ -n ${NODE_PID[$name]:-} ]] && stop_server "$name"
    true
}

# Ids of all processes of a node, a line each.
processes_of() {
    local name=$1 pid holder=${NODE_HOLDER[$1]:-}

    if has_networks; then
        find -L /proc/[0-9]*/ns/net -maxdepth 0 -samefile "/proc/$holder/ns/net" 2>/dev/null |
            cut_pid | grep -vx "$holder"
        return
    fi
    {
        family_of "${NODE_PID[$name]:-}"
        family_of "${NODE_SUPERVISOR[$name]:-}"
        postmaster_of "$name" && family_of "$pid"
        for pid in /proc/[0-9]*; do
            [[ $(readlink "$pid/cwd" 2>/dev/null) == "${NODE_DIR[$name]}"* ]] && echo "${pid#/proc/}"
        done
    } | sort -un
}

cut_pid() {
    sed 's,^/proc/\([0-9]*\)/.*,\1,'
}

# A process and its children, and theirs.
family_of() {
    local child

    [[ -n $1 ]] && is_running "$1" || return 0
    echo "$1"
    for child in $(pgrep -P "$1"); do
        family_of "$child"
    done
}

nothing_runs() {
    local left

    mapfile -t left < <(processes_of "$1")
    [[ ${#left[@]} -eq 0 ]] && return
    kill -KILL "${left[@]}" 2>/dev/null
    return 1
}

# The power fails: kill -9 of all that the node runs, at once.
kill_node() {
    local name=$1 left pid

    mapfile -t left < <(processes_of "$name")
    [[ ${#left[@]} -gt 0 ]] && kill -KILL "${left[@]}" 2>/dev/null
    wait_until 10 nothing_runs "$name" || problem "$name still runs"
    for pid in "${NODE_PID[$name]:-}" "${NODE_SUPERVISOR[$name]:-}"; do
        [[ -n $pid ]] && forget_process "$pid"
    done
    unset "NODE_PID[$name]" "NODE_SUPERVISOR[$name]"
}

freeze_node() {
    mapfile -t frozen < <(processes_of "$1")
    kill -STOP "${frozen[@]}" 2>/dev/null
}

thaw_node() {
    local left

    mapfile -t left < <(processes_of "$1")
    kill -CONT "${left[@]}" 2>/dev/null
}

stop_everything() {
    local name

    heal
    for name in "${NODES[@]}"; do
        thaw_node "$name" 2>/dev/null
        nothing_runs_orderly "$name"
    done
    for pid in "${!KT_PIDS[@]}"; do
        [[ ${KT_PIDS[$pid]} == "network of "* ]] || end_process "$pid"
    done
    for pid in "${NODE_HOLDER[@]}"; do
        kill -KILL "$pid" 2>/dev/null
        forget_process "$pid"
    done
    check_sanitizers
}

# The end of a test: PostgreSQL first, so that its supervisor need not be asked.
nothing_runs_orderly() {
    local name=$1 pid

    postmaster_of "$name" && kill -INT "$pid" 2>/dev/null
    [[ -n ${NODE_SUPERVISOR[$name]:-} ]] && kill -TERM "${NODE_SUPERVISOR[$name]}" 2>/dev/null
    [[ -n ${NODE_PID[$name]:-} ]] && kill -TERM "${NODE_PID[$name]}" 2>/dev/null
    database_is_down() { ! database_runs "$1"; }
    wait_until 20 database_is_down "$name" || { postmaster_of "$name" && kill -QUIT "$pid"; }
}

# --- clusters ---

prepare_node() {
    local name=$1

    [[ -n ${NODE_DIR[$name]:-} ]] && return
    NODE_DIR[$name]=$KT_TMP/$name
    NODE_PORT[$name]=$HTTPS_PORT
    NODE_DB_PORT[$name]=$DATABASE_PORT
    NODES+=("$name")
    new_network "$name"
    mkdir -m 0700 "${NODE_DIR[$name]}"
    # KT_NODE_DISK: each node has a disk of that size, which can be filled
    [[ -z ${KT_NODE_DISK:-} ]] || ! has_networks ||
        mount -t tmpfs -o "size=$KT_NODE_DISK,mode=0700" tmpfs "${NODE_DIR[$name]}" ||
        give_up "cannot mount"
}

# first_node NAME: initialises a cluster with that node.
first_node() {
    local name=$1

    prepare_node "$name"
    admin "$name" init --node "$name" --address "${NODE_ADDRESS[$name]}" \
        --advertise "${NODE_ADDRESS[$name]}" --port "$HTTPS_PORT" --agent-port "$AGENT_PORT" \
        --database-port "$DATABASE_PORT" >"$KT_TMP/$name.init.out" 2>&1 ||
        give_up "init: $(tail -n 3 "$KT_TMP/$name.init.out")"
}

# new_token NODE: sets $token.
new_token() {
    admin_for 20 "$1" token new >"$KT_TMP/token" 2>"$KT_TMP/token.err" &&
        token=$(grep -o 'ktj1-[^ ]*' "$KT_TMP/token" | head -n 1) && [[ -n $token ]] && return
    kt_show "$KT_TMP/token.err" "token new"
    problem "no token from $1"
}

# join_node NAME VIA: a bare machine becomes a node, by a token of VIA.
join_node() {
    local name=$1 via=$2 token

    new_token "$via" || return
    prepare_node "$name"
    # a name that was just removed is free as soon as every agent knows it
    joins() {
        admin_for 120 "$name" join "$token" --node "$name" --address "${NODE_ADDRESS[$name]}" \
            --port "$HTTPS_PORT" --agent-port "$AGENT_PORT" --database-port "$DATABASE_PORT" \
            >"$KT_TMP/$name.join.out" 2>&1 || ! grep -q 'already$' "$KT_TMP/$name.join.out"
    }
    wait_until 5 joins
    admin_for 10 "$name" config show >/dev/null 2>&1 && [[ -f ${NODE_DIR[$name]}/node/promise ]] && return
    kt_show "$KT_TMP/$name.join.out" "join"
    problem "$name cannot join"
}

# new_cluster N: kts-01 is active, the others follow it and count. W is 1.
new_cluster() {
    local n name

    first_node kts-01
    start_node kts-01
    wait_until 30 takes_writes kts-01 || give_up "kts-01 is $(role_of kts-01): $(log_of kts-01)"
    for ((n = 2; n <= $1; n++)); do
        name=$(printf 'kts-%02d' "$n")
        join_node "$name" kts-01 || give_up "no cluster"
        start_node "$name"
        wait_until 60 counts kts-01 "$name" || give_up "$name is no member: $(log_of kts-01) $(log_of "$name")"
    done
    wait_until 30 takes_writes kts-01 || give_up "kts-01 is $(role_of kts-01): $(log_of kts-01)"
}

# As new_node_with_clients of lib.sh: an organisation and two clients that know all nodes.
add_clients() {
    run admin "$1" org add acme
    [[ $status -eq 0 ]] || give_up "org add: $(cat "$KT_TMP/err")"
    new_client "$1" acme host-1 || give_up "register: $(cat "$KT_TMP/host-1.register.out")"
    new_client "$1" acme host-2 || give_up "register: $(cat "$KT_TMP/host-2.register.out")"
}

# new_client NODE ORGANISATION NAME: with an auth code of its own; knows every node there is.
new_client() {
    local name servers=()

    servers=(--server "${NODE_ADDRESS[$1]}:${NODE_PORT[$1]}")
    for name in "${NODES[@]}"; do
        [[ $name == "$1" ]] || servers+=(--server "${NODE_ADDRESS[$name]}:${NODE_PORT[$name]}")
    done
    mkdir -p "$KT_TMP/clients"
    new_auth_code "$1" "$2" "$KT_TMP/code.$3" || return
    client "$3" register "${servers[@]}" --auth-code-file "$KT_TMP/code.$3" --name "$3" \
        >"$KT_TMP/$3.register.out" 2>&1
}

# --- what nodes say ---

# health_of NODE MEMBER: of the JSON that anyone may ask for; "" when the node does not answer.
health_of() {
    curl_node "$1" -s --max-time 3 --cacert "$(ca_of "$1")" "$(url_of "$1")/v1/health" 2>/dev/null |
        sed -n "s/.*\"$2\": *\"\{0,1\}\([^,\"}]*\).*/\1/p"
}

role_of() {
    health_of "$1" role
}

epoch_of() {
    health_of "$1" epoch
}

is_role() {
    [[ $(role_of "$1") == "$2" ]]
}

# A status of GET /v1/health/ready.
ready_status() {
    curl_node "$1" -s -o /dev/null -w '%{http_code}' --max-time 5 --cacert "$(ca_of "$1")" \
        "$(url_of "$1")/v1/health/ready"
}

is_ready_as() {
    [[ $(ready_status "$1") == "$2" ]]
}

# takes_writes NODE: behind a real barrier.
takes_writes() {
    [[ $(curl_node "$1" -s -o /dev/null -w '%{http_code}' --max-time 5 --cacert "$(ca_of "$1")" \
        "$(url_of "$1")/v1/health/write") == 200 ]]
}

# The node's own view, as JSON, from its agent.
state_of() {
    admin_for 10 "$1" status --json 2>/dev/null
}

# counts ACTIVE NODE: NODE is a member of the newest row, and streams.
counts() {
    [[ $(sql "$1" "select exists (select from unnest((select members from epochs
            order by incarnation desc, epoch desc, sequence desc limit 1)) m where m like '$2.%')
        and exists (select from pg_stat_replication
            where state = 'streaming' and usename like '$2.%')" 2>/dev/null) == t ]]
}

# The member id of a node, from its promise file.
member_of() {
    sed -n 's/^member //p' "${NODE_DIR[$1]}/node/promise" 2>/dev/null
}

# What a node has sworn: "<epoch> <active>".
promise_of() {
    sed -n 's/^epoch //p; s/^active //p' "${NODE_DIR[$1]}/node/promise" | paste -sd ' '
}

# --- deposits with the stock client ---

# put_as CLIENT HANDLE TEXT [OPTIONS...]
put_as() {
    printf '%s' "$3" >"$KT_TMP/secret"
    client "$1" "${@:4}" put "$2" "$KT_TMP/secret"
}

# gets CLIENT HANDLE TEXT: fetched through the client, from whatever node answers.
gets() {
    client "$1" get "$2" -o "$KT_TMP/got" && [[ $(cat "$KT_TMP/got") == "$3" ]]
}

# --- what operators do, and what is expected of it ---

# An order that finds another under way on its node is given again, as its hint says.
order_again() {
    run admin_for 90 "$@"
    ! grep -q 'is under way on this node' "$KT_TMP/err"
}

# does NODE ARGUMENTS...: ktadmin there succeeds. fails_on: it does not.
does() {
    wait_until 20 order_again "$@"
    [[ $status -eq 0 ]] && return
    kt_show "$KT_TMP/err" "stderr"
    problem "status $status of: ktadmin at $*"
}

fails_on() {
    exits some admin_for 90 "$@"
}

# The typed cluster id that overrides want.
cluster_id_of() {
    sed -n 's/.*"cluster_id": *"\([^"]*\)".*/\1/p' "${NODE_DIR[$1]}/.keytrustee/cluster.json"
}

# One ciphertext of host-1, for deposits by curl.
new_cipher() {
    head -c 64 /dev/urandom >"$KT_TMP/key" && encrypt_to host-1 "$KT_TMP/key" "$KT_TMP/cipher" ||
        give_up "gpg: $(cat "$KT_TMP/gpg.err")"
}

# deposits_at NODE HANDLE: taken there, at the first try.
deposits_at() {
    deposit "$1" host-1 "$2" "$KT_TMP/cipher"
    [[ $http == 201 ]] || problem "deposit '$2' at $1: $http $(error_code) $(head -c 300 "$KT_TMP/body")"
}

takes_deposits() {
    deposit "$1" host-1 "probe/$RANDOM$RANDOM" "$KT_TMP/cipher"
    [[ $http == 201 ]]
}

# serves NODE HANDLE: it answers with the bytes.
serves() {
    request "$1" host-1 GET "/v1/deposits/$(escape "$2")"
    [[ $http == 200 ]] && cmp -s "$KT_TMP/body" "$KT_TMP/cipher"
}

serves_all() {
    local handle

    for handle in "${@:2}"; do
        serves "$1" "$handle" || problem "$1 answers $http $(error_code)$(<"$KT_TMP/no_answer") for '$handle'"
    done
}

# refuses_at_once NODE [CODE]: a deposit is refused with 503 within 0.2 s.
refuses_at_once() {
    local start ms

    start=${EPOCHREALTIME/[.,]/}
    deposit "$1" host-1 "refused/$RANDOM$RANDOM" "$KT_TMP/cipher" "$(new_uuid)"
    ms=$(((${EPOCHREALTIME/[.,]/} - start) / 1000))
    answers 503 "${2:-*}"
    [[ $ms -lt 200 || ${KT_SANITIZED:-no} == yes ]] || problem "the refusal took $ms ms"
}

# A read behind a barrier.
is_fresh() {
    request "$1" host-1 GET "/v1/deposits/$(escape "$2")" -H 'KT-Freshness: barrier'
    [[ $http == 200 ]]
}

# shows_role NODE ROLE [SECONDS]
shows_role() {
    wait_until "${3:-20}" is_role "$1" "$2" || problem "$1 is '$(role_of "$1")', not $2: $(log_of "$1")"
}

# The active's end of log, as promise files spell it.
end_of_log() {
    sql "$1" "select upper(split_part(l, '/', 1)) || '/' || lpad(upper(split_part(l, '/', 2)), 8, '0')
        from (select pg_current_wal_flush_lsn()::text l) x"
}

# set_floor NODE POSITION: its promise file as a rewind leaves it until the node has caught up with what
# it lost: no vote before POSITION, and not active since.
set_floor() {
    local file=${NODE_DIR[$1]}/node/promise

    sed -e '/^sha256 /d' -e "s,^floor .*,floor $2," -e 's/^active-since .*/active-since 0/' \
        "$file" >"$KT_TMP/promise" &&
        printf 'sha256 %s\n' "$(sha256sum <"$KT_TMP/promise" | cut -c 1-64)" >>"$KT_TMP/promise" &&
        cat "$KT_TMP/promise" >"$file"
}
