# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What is attacked: a cluster of two nodes, clients of two organisations, a removed node's certificate,
# and the legitimate load whose every request must succeed.

ATTACK_LOAD=$KT_BUILD/tests/attack_load
GROWTH_MAX_KIB=$((96 * 1024)) # of all processes of a node, over one run

# Clients of the organisation acme with rights on their own deposits: name and rights.
CAST=(
    "host-1 deposit,browse,retrieve,delete" # at work all the time
    "victim deposit,browse,retrieve,delete"
    "peer deposit,browse,retrieve,delete"   # a colleague who may everything with its own
    "bare browse"                           # loses its only right below
    "depositor deposit"
    "reader retrieve"
    "browser browse"
    "remover delete"
    "stolen-1 deposit,browse,retrieve,delete"
    "stolen-2 deposit,browse,retrieve,delete"
    "stolen-3 deposit,browse,retrieve,delete"
)

grant_ids_of() {
    admin kts-01 grants "$1" --client "$2" --json 2>/dev/null | sed -n 's/^ *"grant_id": *"\([^"]*\)".*/\1/p'
}

register() {
    local name=$1 organisation=$2 rights=$3

    new_auth_code kts-01 "$organisation" "$KT_TMP/code.$name" --rights "$rights" &&
        client "$name" register --server "${NODE_ADDRESS[kts-01]}:$HTTPS_PORT" \
            --server "${NODE_ADDRESS[kts-02]}:$HTTPS_PORT" --auth-code-file "$KT_TMP/code.$name" --name "$name" \
            >"$KT_TMP/$name.register.out" 2>&1
}

# Two at a time; each has its own files.
make_cast() {
    local line name rights running=0

    mkdir -p "$KT_TMP/clients"
    succeeds admin kts-01 org add acme
    succeeds admin kts-01 org add rival
    for line in "${CAST[@]}"; do
        read -r name rights _ <<<"$line"
        register "$name" acme "$rights" &
        running=$((running + 1))
        [[ $((running % 3)) -ne 0 ]] || wait_for_jobs
    done
    register rival rival deposit,browse,retrieve,delete &
    wait_for_jobs
    for line in "${CAST[@]}" "rival -"; do
        read -r name _ <<<"$line"
        [[ -s $(client_prefix "$name")-cert.pem ]] || give_up "register $name: $(cat "$KT_TMP/$name.register.out")"
    done
    succeeds admin kts-01 revoke "$(grant_ids_of acme bare)" --yes
    # One right each on what is named team/...
    succeeds admin kts-01 grant acme deposit --client depositor --prefix team/
    succeeds admin kts-01 grant acme retrieve --client reader --prefix team/
    succeeds admin kts-01 grant acme browse --client browser --prefix team/
    succeeds admin kts-01 grant acme delete --client remover --prefix team/
}

# Jobs of this shell that are not servers.
wait_for_jobs() {
    local job

    for job in $(jobs -p); do
        [[ -n ${KT_PIDS[$job]:-} ]] || wait "$job"
    done
}

VICTIM_ID='' VICTIM_TEAM_ID='' VICTIM_WORD=''
make_deposits() {
    new_cipher
    VICTIM_WORD=secret-$(new_uuid)
    echo "$VICTIM_WORD" >"$KT_TMP/secret.victim"
    succeeds client victim put private/master "$KT_TMP/secret.victim"
    VICTIM_ID=$(new_uuid) VICTIM_TEAM_ID=$(new_uuid)
    deposit kts-01 victim private/raw "$KT_TMP/cipher" "$VICTIM_ID"
    [[ $http == 201 ]] || give_up "deposit: $http"
    deposit kts-01 victim team/plan "$KT_TMP/cipher" "$VICTIM_TEAM_ID"
    [[ $http == 201 ]] || give_up "deposit: $http"
    deposit kts-01 peer peer/own "$KT_TMP/cipher"
    [[ $http == 201 ]] || give_up "deposit: $http"
    passive_has_it() {
        request kts-02 peer GET /v1/deposits/peer%2Fown
        [[ $http == 200 ]]
    }
    comes_true 20 passive_has_it
}

# A node that was a member and is none any more: its folder keeps key and certificate.
make_removed_node() {
    join_node kts-03 kts-01 || give_up "kts-03 cannot join"
    start_node kts-03
    wait_until 60 counts kts-01 kts-03 || give_up "kts-03 is no member"
    REMOVED_MEMBER=$(member_of kts-03)
    mkdir -p "$KT_TMP/removed"
    cp "${NODE_DIR[kts-03]}"/.keytrustee/tls/node-{cert,key}.pem "$KT_TMP/removed/"
    does kts-01 remove kts-03
    stop_node kts-03
    knows_removal() {
        [[ $(sql "$1" "select count(*) from nodes where removed_at is not null") == 1 ]]
    }
    comes_true 20 knows_removal kts-01
    comes_true 20 knows_removal kts-02
}

make_scene() {
    prepare_addresses
    first_node kts-01
    # Slow senders are cut off while somebody watches.
    set_setting kts-01 timeouts header 4s
    set_setting kts-01 timeouts body 4s
    start_node kts-01
    wait_until 30 takes_writes kts-01 || give_up "kts-01 is $(role_of kts-01): $(log_of kts-01)"
    join_node kts-02 kts-01 || give_up "no cluster"
    grep -o 'ktj1-[^ ]*' "$KT_TMP/token" | head -n 1 >"$KT_TMP/token.used"
    set_setting kts-02 timeouts header 4s
    set_setting kts-02 timeouts body 4s
    start_node kts-02
    wait_until 60 counts kts-01 kts-02 || give_up "kts-02 is no member: $(log_of kts-02)"
    wait_until 30 takes_writes kts-01 || give_up "kts-01 is $(role_of kts-01): $(log_of kts-01)"
    if row_will_be_made removed-node || row_will_be_made db-removed-node; then
        make_removed_node
    fi
    make_cast
    make_deposits
    mkdir -p "$PKI"
    cp "$(ca_of kts-01)" "$PKI/ours-cert.pem"
    cp "${NODE_DIR[kts-01]}/.keytrustee/ca/key.pem" "$PKI/ours-key.pem"
    new_ca other '/CN=another cluster' && new_ca twin "$(openssl x509 -in "$PKI/ours-cert.pem" -noout -subject \
        -nameopt compat | sed 's/^subject= *//')" || give_up "openssl makes no CA"
}

# --- the load, and what must not happen beside it ---

declare -A PROCESSES=() MEMORY=()

memory_of() {
    local pid sum=0 kib

    for pid in "${NODE_PID[$1]}" $(pgrep -P "${NODE_PID[$1]}"); do
        kib=$(awk '/^VmRSS:/ { print $2 }' "/proc/$pid/status" 2>/dev/null)
        sum=$((sum + ${kib:-0}))
    done
    echo "$sum"
}

# The server's lasting processes; children of the agent come and go.
server_processes() {
    local pid

    for pid in $(pgrep -P "${NODE_PID[$1]}" | sort -n); do
        echo "$pid $(cat "/proc/$pid/comm" 2>/dev/null)"
    done | grep -E 'kts: (worker|door|writer|audit|agent)'
}

begin_load() {
    local name clients=(2 4)

    printf '%s %s %s\n' kts-01 "${NODE_ADDRESS[kts-01]}" "${NODE_PORT[kts-01]}" \
        kts-02 "${NODE_ADDRESS[kts-02]}" "${NODE_PORT[kts-02]}" >"$KT_TMP/nodes"
    # In the whole run of all tests the machine has other things to do as well.
    [[ ${KT_ATTACK_SHORT:-no} == no ]] || clients=(1 2)
    "$ATTACK_LOAD" "$KT_TMP/nodes" "$(client_dir host-1)" "$KT_TMP/cipher" "${clients[@]}" \
        >"$KT_TMP/load.out" 2>"$KT_TMP/load.err" &
    load_pid=$!
    KT_PIDS[$load_pid]="load"
    load_has_begun() { grep -q '^ready$' "$KT_TMP/load.out" 2>/dev/null || is_gone "$load_pid"; }
    wait_until 60 load_has_begun && is_running "$load_pid" || give_up "no load: $(cat "$KT_TMP/load.err")"
    for name in kts-01 kts-02; do
        PROCESSES[$name]=$(server_processes "$name")
        MEMORY[$name]=$(memory_of "$name")
    done
}

# Adds up to what the last line of the load says.
end_load() {
    local name grown pid

    check "beside the attack no request of a legitimate client failed"
    pid=$load_pid
    kill -TERM "$pid"
    wait_until 30 is_gone "$pid" || problem "the load does not end"
    wait "$pid" || problem "the load ends with status $?: $(grep -v '^ready' "$KT_TMP/load.out" | head -n 8 | tr '\n' '~') $(cat "$KT_TMP/load.err")"
    unset "KT_PIDS[$pid]"
    load_counts=$(tail -n 1 "$KT_TMP/load.out")
    [[ $load_counts =~ ^puts\ ([0-9]+)\ gets\ ([0-9]+)\ failed\ 0$ && ${BASH_REMATCH[1]} -ge 10 && ${BASH_REMATCH[2]} -ge 10 ]] ||
        problem "the load counts: $load_counts"
    for name in kts-01 kts-02; do
        check "no process of $name died, complained or grew without bound"
        is "$(server_processes "$name")" "${PROCESSES[$name]}" "processes"
        hasnt "${NODE_DIR[$name]}/logs/kts.log" 'crash|signal 11|SIGSEGV|SIGABRT|assert'
        grown=$(($(memory_of "$name") - MEMORY[$name]))
        echo "    memory of $name: ${MEMORY[$name]} KiB at the beginning, $grown KiB more at the end"
        [[ $grown -lt $GROWTH_MAX_KIB || ${KT_SANITIZED:-no} == yes ]] || problem "$grown KiB more than at the beginning"
        # those of the attackers are gone
        no_connection_is_left() {
            [[ $(on_node "$1" ss -Htn state established "sport = :${NODE_PORT[$1]}" 2>/dev/null | wc -l) -le 4 ]]
        }
        comes_true 30 no_connection_is_left "$name"
    done
}
