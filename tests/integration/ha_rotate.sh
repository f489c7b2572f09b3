#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Two nodes renew their keys and certificates while clients deposit and fetch: nothing fails, replication
# goes on, the old ones are let in no more, and a killed run is finished by the next.
. "$KT_SOURCE/tests/support/cluster.sh"

new_cluster 2
add_clients kts-01
new_cipher

tls_of() {
    echo "${NODE_DIR[$1]}/.keytrustee/tls"
}

# serial_of NODE node|server: of the file.
serial_of() {
    openssl x509 -in "$(tls_of "$1")/$2-cert.pem" -noout -serial
}

# What a connection is shown: by the workers, the agent, PostgreSQL.
shown_serial() {
    local port more=()

    case $2 in
    server) port=${NODE_PORT[$1]} ;;
    agent) port=$AGENT_PORT ;;
    database) port=${NODE_DB_PORT[$1]} more=(-starttls postgres) ;;
    esac
    timeout 5 openssl s_client -connect "${NODE_ADDRESS[$1]}:$port" "${more[@]}" </dev/null 2>/dev/null |
        openssl x509 -noout -serial 2>/dev/null
}

# All who serve on the node show what its files have.
shows_the_files() {
    local server node

    server=$(serial_of "$1" server) node=$(serial_of "$1" node)
    [[ -n $server && -n $node && $(shown_serial "$1" server) == "$server" &&
        $(shown_serial "$1" agent) == "$node" && $(shown_serial "$1" database) == "$node" ]]
}

# Key and certificate belong together, in both pairs.
pairs_fit() {
    local pair

    for pair in node server; do
        same <(openssl x509 -in "$(tls_of "$1")/$pair-cert.pem" -noout -pubkey) \
            <(openssl pkey -in "$(tls_of "$1")/$pair-key.pem" -pubout)
    done
}

is_ended() {
    [[ ! -L $(tls_of "$1")/next && $(find "$(tls_of "$1")" -name 'pairs-*' | wc -l) -le 1 ]]
}

fingerprint_of_cert() {
    openssl x509 -in "$1" -outform DER | sha256sum | cut -c 1-64
}

# What a list of nodes has of NODE, each fingerprint with a space behind it: one, or two while it renews.
listed_for() {
    awk -v member="\"$1\\." '/"member":/ { ours = $0 ~ member }
        ours && /"cert_(sha256|before)":/ { gsub(/[",]/, ""); printf "%s ", $2 }' "$2"
}

# numbers_of MEMBER FILE: of JSON as ktadmin prints it.
numbers_of() {
    sed -n "s/^ *\"$1\": *\([0-9-]*\),*\$/\1/p" "$2" | paste -sd ' '
}

# Both agents, and the table, list this certificate alone for the node.
is_listed_alone() {
    local name

    for name in kts-01 kts-02; do
        [[ $(listed_for "$1" "${NODE_DIR[$name]}/node/peers.json") == "$2 " ]] || return
        [[ $(sql "$name" "select count(*) || ' ' || max(encode(sha256, 'hex')) from node_certificates
            where kind = 'node' and name = '$1' and revoked_at is null") == "1 $2" ]] || return
    done
}

# not_let_in PAIR NODE: the agent of NODE refuses the pair that lies in PAIR-cert.pem and PAIR-key.pem.
not_let_in() {
    [[ $(curl_agent "$2" "$1") == 403 ]]
}

curl_agent() {
    curl -s -o /dev/null -w '%{http_code}' --max-time 5 --cacert "$(ca_of "$1")" \
        --cert "$2-cert.pem" --key "$2-key.pem" -X POST -H 'Content-Type: application/json' -d '{}' \
        --connect-to "::${NODE_ADDRESS[$1]}:$AGENT_PORT" "https://keytrustee-node:$AGENT_PORT/v1/cluster/node.state"
}

keep_pair() {
    cp "$(tls_of "$1")/node-cert.pem" "$KT_TMP/$2-cert.pem"
    cp "$(tls_of "$1")/node-key.pem" "$KT_TMP/$2-key.pem"
}

# --- clients that never stop: each fetch and each deposit that is not answered well is a line ---

begin_load() {
    rm -f "$KT_TMP/load.stop" "$KT_TMP/load.failed" "$KT_TMP/load.done"
    (
        n=0
        until [[ -e $KT_TMP/load.stop ]]; do
            n=$((n + 1))
            for node in kts-01 kts-02; do
                code=$(curl_node "$node" -s --max-time 20 --cacert "$(ca_of "$node")" -o /dev/null \
                    -w '%{http_code}' --cert "$(client_dir host-1)/client-cert.pem" \
                    --key "$(client_dir host-1)/client-key.pem" "$(url_of "$node")/v1/deposits/first")
                [[ $code == 200 ]] || echo "fetch $n at $node: $code" >>"$KT_TMP/load.failed"
            done
            code=$(curl_node "$active" -s --max-time 20 --cacert "$(ca_of "$active")" -o /dev/null \
                -w '%{http_code}' --cert "$(client_dir host-1)/client-cert.pem" \
                --key "$(client_dir host-1)/client-key.pem" -X PUT --data-binary "@$KT_TMP/cipher" \
                -H 'Expect:' -H "KT-Deposit-Id: $(new_uuid)" -H 'Content-Type: application/pgp-encrypted' \
                -H "KT-SHA256: $(sha256sum "$KT_TMP/cipher" | cut -c 1-64)" \
                "$(url_of "$active")/v1/deposits/load-$1-$n")
            [[ $code == 201 ]] || echo "deposit $n: $code" >>"$KT_TMP/load.failed"
            echo "$n" >"$KT_TMP/load.done"
        done
    ) &
    load=$!
    KT_PIDS[$load]="load"
}

has_loaded() {
    [[ $(cat "$KT_TMP/load.done" 2>/dev/null || echo 0) -ge $1 ]]
}

end_load() {
    local done_now

    done_now=$(cat "$KT_TMP/load.done" 2>/dev/null || echo 0)
    comes_true 20 has_loaded $((done_now + 2)) # also after the renewal
    touch "$KT_TMP/load.stop"
    wait "$load"
    unset "KT_PIDS[$load]"
    [[ ! -s $KT_TMP/load.failed ]] || problem "$(wc -l <"$KT_TMP/load.failed") requests failed: $(head -n 5 "$KT_TMP/load.failed" | tr '\n' '~')"
}

# The passive connects anew, with what its files have.
reconnects() {
    local before

    before=$(sql kts-02 "select pid from pg_stat_wal_receiver")
    [[ -n $before ]] || problem "the passive has no receiver"
    kill -TERM "$before"
    is_another_receiver() {
        [[ $(sql kts-02 "select status from pg_stat_wal_receiver where pid <> $before" 2>/dev/null) == streaming ]]
    }
    comes_true 30 is_another_receiver
    comes_true 30 counts kts-01 kts-02
    comes_true 20 takes_deposits kts-01
}

active=kts-01
deposits_at kts-01 first
comes_true 20 serves kts-02 first

check "--dry-run shows the days and changes nothing"
old=$(serial_of kts-02 node)
succeeds admin_for 20 kts-02 rotate --dry-run
has "$KT_TMP/out" '^node +[0-9]+ +[0-9]+'
has "$KT_TMP/out" '^server +[0-9]+ +[0-9]+'
is "$(serial_of kts-02 node)" "$old"

for node in kts-02 kts-01; do
    check "$node renews both certificates, and no client notices"
    keep_pair "$node" "old-$node"
    old_node=$(serial_of "$node" node) old_server=$(serial_of "$node" server)
    names=$(openssl x509 -in "$(tls_of "$node")/server-cert.pem" -noout -ext subjectAltName)
    subject=$(openssl x509 -in "$(tls_of "$node")/node-cert.pem" -noout -subject)
    pids="$(pgrep -P "${NODE_PID[$node]}" | sort | tr '\n' ' ')"
    begin_load "$node"
    comes_true 20 has_loaded 2
    succeeds admin_for 60 "$node" rotate --json
    [[ $(numbers_of days_before "$KT_TMP/out") =~ ^[0-9]+\ [0-9]+$ &&
        $(numbers_of days_after "$KT_TMP/out") =~ ^[0-9]+\ [0-9]+$ ]] ||
        problem "no days before and after: $(tr '\n' '~' <"$KT_TMP/out")"
    end_load
    [[ $(serial_of "$node" node) != "$old_node" ]] || problem "the node certificate is the old one"
    [[ $(serial_of "$node" server) != "$old_server" ]] || problem "the server certificate is the old one"
    is "$(openssl x509 -in "$(tls_of "$node")/server-cert.pem" -noout -ext subjectAltName)" "$names" names
    is "$(openssl x509 -in "$(tls_of "$node")/node-cert.pem" -noout -subject)" "$subject" subject
    pairs_fit "$node"
    comes_true 5 shows_the_files "$node"
    is_ended "$node" || problem "left behind: $(ls -A "$(tls_of "$node")" | tr '\n' ' ')"
    is "$(pgrep -P "${NODE_PID[$node]}" | sort | tr '\n' ' ' | wc -w)" "$(wc -w <<<"$pids")" "number of processes"

    check "the old certificate of $node is let in no more, the new one is, but not by $node itself"
    is_listed_alone "$node" "$(fingerprint_of_cert "$(tls_of "$node")/node-cert.pem")" ||
        problem "the old one is listed still"
    for other in kts-01 kts-02; do
        comes_true 10 not_let_in "$KT_TMP/old-$node" "$other"
        is "$(curl_agent "$other" "$(tls_of "$node")/node")" "$([[ $other == "$node" ]] && echo 403 || echo 200)" \
            "status for the new one at $other"
    done

    check "the passive streams again with a new connection, after $node has renewed"
    reconnects
done

check "both nodes restart with what was renewed"
for node in kts-02 kts-01; do
    stop_node "$node"
    start_node "$node"
done
comes_true 40 counts kts-01 kts-02
comes_true 20 takes_deposits kts-01
comes_true 10 shows_the_files kts-01

check "--server-cert renews that one only"
old=$(serial_of kts-02 node) old_server=$(serial_of kts-02 server)
succeeds admin_for 60 kts-02 rotate --server-cert
has "$KT_TMP/out" '^node +[0-9]+ +- '
is "$(serial_of kts-02 node)" "$old"
[[ $(serial_of kts-02 server) != "$old_server" ]] || problem "the server certificate is the old one"
comes_true 5 shows_the_files kts-02

check "status warns of a certificate near its end, and not after it is renewed"
set_setting kts-02 certificates node_lifetime 10d
kill -HUP "${NODE_PID[kts-02]}"
has_short_life() {
    admin_for 60 kts-02 rotate --json >"$KT_TMP/short" 2>&1
    [[ $(numbers_of days_after "$KT_TMP/short") =~ ^[0-9]\  ]]
}
comes_true 30 has_short_life
admin_for 10 kts-01 status >"$KT_TMP/status" 2>&1
has "$KT_TMP/status" 'kts-02: the node certificate is good for [89] more days'
set_setting kts-02 certificates node_lifetime 365d
kill -HUP "${NODE_PID[kts-02]}"
has_long_life() {
    admin_for 60 kts-02 rotate --json >"$KT_TMP/long" 2>&1
    [[ $(numbers_of days_after "$KT_TMP/long") == 36[45]\ * ]]
}
comes_true 30 has_long_life
warns_no_more() {
    admin_for 10 kts-01 status >"$KT_TMP/status" 2>&1
    ! grep -q 'certificate is good for' "$KT_TMP/status"
}
comes_true 10 warns_no_more

# killed_when NODE CONDITION...: the node loses its power in the middle of a renewal. The run is stopped
# first: one that had ended is not the one that is looked for.
killed_when() {
    local node=$1 rotating attempt
    shift

    for attempt in 1 2 3 4 5; do
        exec_on_node "$node" "$KTADMIN" --confdir "${NODE_DIR[$node]}" rotate >"$KT_TMP/killed" 2>&1 &
        rotating=$!
        KT_PIDS[$rotating]=rotate
        until "$@" || ! is_running "$rotating"; do :; done
        kill -STOP "$rotating" 2>/dev/null
        "$@" && break
        kill -CONT "$rotating" 2>/dev/null
        wait "$rotating" # it was quicker
        unset "KT_PIDS[$rotating]"
    done
    "$@" || problem "no renewal was caught in $attempt runs: $(tr '\n' '~' <"$KT_TMP/killed")"
    kill_node "$node"
    kill -KILL "$rotating" 2>/dev/null
    wait "$rotating"
    unset "KT_PIDS[$rotating]"
    "$@" || problem "the renewal had ended before the power was lost"
}

is_made() {
    [[ -L $(tls_of "$1")/next ]]
}

warns_of_renewal() {
    admin_for 10 kts-01 status >"$KT_TMP/status" 2>&1
    grep -q "$1: a renewal of its certificates has not ended" "$KT_TMP/status"
}

is_in_use() {
    is_made "$1" && [[ $(readlink "$(tls_of "$1")/next") == "$(readlink "$(tls_of "$1")/current")" ]]
}

for moment in is_made is_in_use; do
    for node in kts-02 kts-01; do
        check "$node loses its power when the new pairs are there ($moment), and goes on with pairs that fit"
        killed_when "$node" "$moment" "$node"
        pairs_fit "$node"
        start_node "$node"
        comes_true 60 counts kts-01 kts-02
        comes_true 10 warns_of_renewal "$node"
        comes_true 20 takes_deposits kts-01
        comes_true 10 shows_the_files "$node"
        succeeds admin_for 60 "$node" rotate
        pairs_fit "$node"
        is_ended "$node" || problem "left behind: $(ls -A "$(tls_of "$node")" | tr '\n' ' ')"
        comes_true 10 is_listed_alone "$node" "$(fingerprint_of_cert "$(tls_of "$node")/node-cert.pem")"
        comes_true 10 shows_the_files "$node"
        reconnects
    done
done

check "without the active nothing changes, and it is said why"
old=$(serial_of kts-02 node)
kill_node kts-01
exits some admin_for 60 kts-02 rotate
has "$KT_TMP/err" 'active'
has "$KT_TMP/err" 'hint: '
is "$(serial_of kts-02 node)" "$old"
start_node kts-01
comes_true 60 counts kts-01 kts-02
shows_role kts-01 active
comes_true 30 takes_deposits kts-01
succeeds admin_for 60 kts-02 rotate
[[ $(serial_of kts-02 node) != "$old" ]] || problem "the node certificate is the old one"

check "who does not read its file again is named, and the old certificate is let in as long"
keep_pair kts-02 old-unread
kill -STOP "${NODE_PID[kts-02]}" # the master, which tells the others
exits some admin_for 60 kts-02 rotate
has "$KT_TMP/err" 'the server does not show the certificate of its file'
has "$KT_TMP/err" 'hint: '
is "$(curl_agent kts-01 "$KT_TMP/old-unread")" 200 "status for the old one"
kill -CONT "${NODE_PID[kts-02]}"
succeeds admin_for 60 kts-02 rotate
comes_true 10 shows_the_files kts-02
is "$(curl_agent kts-01 "$KT_TMP/old-unread")" 403 "status for the old one, as soon as rotate has ended"

check "a node whose certificate has expired comes back"
expired=yes
mv "$(tls_of kts-02)/node-cert.pem" "$KT_TMP/kept-link"
openssl x509 -in "$(tls_of kts-02)/current/node-cert.pem" -noout -ext subjectAltName >"$KT_TMP/san"
openssl req -new -key "$(tls_of kts-02)/node-key.pem" -subj "/OU=keytrustee node/CN=$(member_of kts-02)" \
    -out "$KT_TMP/expired.csr" 2>/dev/null
printf 'subjectAltName=DNS:keytrustee,DNS:localhost,IP:127.0.0.1,IP:::1,DNS:keytrustee-node,DNS:%s\nextendedKeyUsage=serverAuth,clientAuth\nkeyUsage=critical,digitalSignature\n' \
    "$(member_of kts-02)" >"$KT_TMP/expired.ext"
openssl x509 -req -in "$KT_TMP/expired.csr" -CA "$(ca_of kts-02)" \
    -CAkey "${NODE_DIR[kts-02]}/.keytrustee/ca/key.pem" -set_serial 0x1234567890 -days -1 \
    -extfile "$KT_TMP/expired.ext" -out "$(tls_of kts-02)/node-cert.pem" 2>"$KT_TMP/expired.err" ||
    { skip "an expired certificate: this openssl makes none"
        mv "$KT_TMP/kept-link" "$(tls_of kts-02)/node-cert.pem"
        expired=no; }
expire_in_table() {
    sql kts-01 "set synchronous_commit = local; update node_certificates set not_after = now() - interval '1 day'
        where sha256 = (select cert_sha256 from nodes where member = '$(member_of kts-02)')" >/dev/null
}
if [[ $expired == yes ]]; then
    stop_node kts-02
    start_node kts-02
    is_cut_off() { ! counts kts-01 kts-02; }
    comes_true 30 is_cut_off
    # whoever has the CA's key could make one for a node whose listed certificate is good
    exits some admin_for 90 kts-02 rotate
    has "$KT_TMP/err" "the table of nodes has another certificate for '$(member_of kts-02)'"
    succeeds expire_in_table
    succeeds admin_for 90 kts-02 rotate
    comes_true 60 counts kts-01 kts-02
    comes_true 20 takes_deposits kts-01
    comes_true 10 is_listed_alone kts-02 "$(fingerprint_of_cert "$(tls_of kts-02)/node-cert.pem")"
    comes_true 10 shows_the_files kts-02
fi

check "without the CA's key it refuses, and says what to do"
mv "${NODE_DIR[kts-02]}/.keytrustee/ca/key.pem" "$KT_TMP/ca-key"
old=$(serial_of kts-02 node)
exits some admin_for 30 kts-02 rotate
has "$KT_TMP/err" "does not have the CA's key"
has "$KT_TMP/err" 'hint: put it back'
is "$(serial_of kts-02 node)" "$old"
mv "$KT_TMP/ca-key" "${NODE_DIR[kts-02]}/.keytrustee/ca/key.pem"

check "with the server stopped it refuses, and says what to do"
stop_node kts-02
exits some admin_for 30 kts-02 rotate
has "$KT_TMP/err" "server does not answer"
has "$KT_TMP/err" 'hint: start it first'

finish
