# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What attempts are made with: requests, raw bytes, calls to agents, statements, certificates.

RAW_TLS=$KT_BUILD/tests/raw_tls
target=kts-01 # the node that is attacked; each attempt begins with the active
from=''       # the attacker's address: another one for each attempt, so that no limit by address hides a hole

attacker_count=0
prepare_addresses() {
    local n

    has_networks || return 0
    for ((n = 100; n < 200; n++)); do
        echo "addr add 10.77.0.$n/24 dev kt0"
    done | ip -batch - || give_up "cannot make addresses"
}

next_address() {
    attacker_count=$((attacker_count + 1))
    if has_networks; then
        from=10.77.0.$((100 + attacker_count % 100))
    else
        from=127.0.2.$((1 + attacker_count % 250))
    fi
}

client_prefix() {
    echo "$(client_dir "$1")/client"
}

# --- HTTP ---

# The last answer of curl as "STATUS CODE".
answer_text() {
    local code

    code=$(sed -n 's/^KT-Error: \([a-z0-9_]*\).*/\1/p' "$KT_TMP/header" | tail -n 1)
    echo "$http${code:+ $code}"
}

# ask WHO METHOD PATH [CURL OPTIONS...]: at $target. WHO as in `request`.
ask() {
    request "$target" "$1" "$2" "$3" --interface "$from" "${@:4}"
    observe "$(answer_text)"
}

# ask_all WHO METHOD PATH...: one after the other on one connection, each observed.
ask_all() {
    local who=$1 method=$2 path certificate=() line
    shift 2

    case $who in
    none) ;;
    /*) certificate=(--cert "$who-cert.pem" --key "$who-key.pem") ;;
    *) certificate=(--cert "$(client_prefix "$who")-cert.pem" --key "$(client_prefix "$who")-key.pem") ;;
    esac
    [[ $method == GET ]] || certificate+=(--request "$method")
    [[ $method != HEAD ]] || certificate+=(--head)
    for path in "$@"; do
        printf 'url = "%s%s"\noutput = "/dev/null"\n' "$(url_of "$target")" "$path"
    done >"$KT_TMP/paths"
    while IFS= read -r line; do
        line=${line//$'\r'/}
        observe "${line% }"
    done < <(curl_node "$target" -s --globoff --path-as-is --max-time 30 --interface "$from" --cacert "$(ca_of "$target")" \
        "${certificate[@]}" -H 'Expect:' -w '%{http_code} %header{kt-error}\n' -K "$KT_TMP/paths")
}

# The same at both nodes.
ask_both() {
    for target in kts-01 kts-02; do
        if [[ " ${*:4} " == *' -H '* ]]; then
            ask "$@"
        else
            ask_all "$@"
        fi
    done
}

# put WHO HANDLE FILE [ID] [CURL OPTIONS...]: a deposit with everything right.
put() {
    ask "$1" PUT "/v1/deposits/$(escape "$2")" --data-binary "@$3" -H "KT-Deposit-Id: ${4:-$(new_uuid)}" \
        -H 'Content-Type: application/pgp-encrypted' -H "KT-SHA256: $(sha256sum "$3" | cut -c 1-64)" "${@:5}"
}

# A request whose outcome is not the point.
quietly() {
    local before=("${observed[@]}")

    "$@"
    observed=("${before[@]}")
}

# same_answer WHO METHOD PATH PATH: the two cannot be told apart, but for what is different in every answer.
same_answer() {
    local one two

    quietly ask "$1" "$2" "$3"
    one=$(answer_text; answer_without_its_own)
    quietly ask "$1" "$2" "$4"
    two=$(answer_text; answer_without_its_own)
    if [[ $one == "$two" ]]; then
        observe "same answer: ${one%%$'\n'*}"
    else
        observe "differs: $(diff <(echo "$one") <(echo "$two") | tr '\r\n' '  ')"
    fi
}

answer_without_its_own() {
    # curl shows the head of a HEAD's answer in both files
    cat "$KT_TMP/body" "$KT_TMP/header" | sed -E 's/[0-9a-f]{32}//' | grep -avi '^date:'
}

# Whether the last answer says one of these words.
observe_words() {
    local word

    for word in "$@"; do
        if grep -aqF -- "$word" "$KT_TMP/body" "$KT_TMP/header"; then
            observe "tells '$word'"
            return
        fi
    done
    observe "tells nothing"
}

# mislead CLIENT COPY ADDRESS:PORT: a copy of a client's folder that knows one server only, that one.
mislead() {
    [[ $1 == "$2" ]] || { rm -rf "$KT_TMP/clients/$2" && cp -r "$(client_dir "$1")" "$KT_TMP/clients/$2"; }
    sed -i -E "s/\"[0-9.]+:[0-9]+\"/\"$3\"/" "$KT_TMP/clients/$2/client.json" "$KT_TMP/clients/$2/servers.json"
}

# --- raw bytes ---

# raw [NAME=VALUE...] <BYTES: every answer in turn, and whether the server closed: "400 bad_request, closed".
raw() {
    raw_quietly "$@"
    observe "$(raw_text)"
}

raw_quietly() {
    timeout 40 "$RAW_TLS" "${NODE_ADDRESS[$target]}" "${raw_port:-${NODE_PORT[$target]}}" from="$from" "$@" \
        >"$KT_TMP/raw" 2>"$KT_TMP/raw.err"
}

raw_text() {
    local answers end

    answers=$(grep -aoE 'HTTP/1\.1 [0-9]{3}|^KT-Error: [a-z0-9_]+' "$KT_TMP/raw" | sed 's/.* //' | paste -sd ' ')
    end=$(tail -n 1 "$KT_TMP/raw.err")
    echo "${answers:+$answers, }${end/not resumed, /}"
}

# raw_bytes FORMAT [NAME=VALUE...]: as printf makes them.
raw_bytes() {
    # shellcheck disable=SC2059 # the bytes are the format
    raw "${@:2}" < <(printf "$1")
}

# raw_each EACH...: one connection for each of them, as a client with a certificate. A test of the
# reader of heads must not end at the missing certificate.
raw_each() {
    local bytes

    for bytes in "$@"; do
        raw_bytes "$bytes" cert="$(client_prefix peer)"
    done
}

# --- the agent's port ---

# agent_call WHO VERB JSON [CURL OPTIONS...]: WHO as in `request`, at $target.
agent_call() {
    local certificate=()

    case $1 in
    none) ;;
    /*) certificate=(--cert "$1-cert.pem" --key "$1-key.pem") ;;
    *) certificate=(--cert "$(client_prefix "$1")-cert.pem" --key "$(client_prefix "$1")-key.pem") ;;
    esac
    : >"$KT_TMP/body"
    http=$(curl -s --max-time 20 --interface "$from" --cacert "$(ca_of "$target")" "${certificate[@]}" \
        -o "$KT_TMP/body" -w '%{http_code}' -H 'Content-Type: application/json' --data-binary "$3" \
        --connect-to "::${NODE_ADDRESS[$target]}:$AGENT_PORT" "${@:4}" \
        "https://keytrustee-node:$AGENT_PORT/v1/cluster/$2")
    observe "$http $(error_code)"
}

# agent_all WHO VERB...: the same for many verbs on one connection, with no arguments.
agent_all() {
    local who=$1 certificate=() verb n=0 codes
    shift

    case $who in
    none) ;;
    /*) certificate=(--cert "$who-cert.pem" --key "$who-key.pem") ;;
    *) certificate=(--cert "$(client_prefix "$who")-cert.pem" --key "$(client_prefix "$who")-key.pem") ;;
    esac
    rm -f "$KT_TMP"/verb.*
    for verb in "$@"; do
        n=$((n + 1))
        printf 'url = "https://keytrustee-node:%d/v1/cluster/%s"\noutput = "%s"\n' "$AGENT_PORT" "$verb" "$KT_TMP/verb.$n"
    done >"$KT_TMP/verbs"
    mapfile -t codes < <(curl -s --max-time 30 --interface "$from" --cacert "$(ca_of "$target")" "${certificate[@]}" \
        -w '%{http_code}\n' -H 'Content-Type: application/json' --data-binary '{}' \
        --connect-to "::${NODE_ADDRESS[$target]}:$AGENT_PORT" -K "$KT_TMP/verbs")
    for ((n = 1; n <= $#; n++)); do
        observe "${codes[n - 1]:-no answer} $(sed -n 's/.*"code": *"\([a-z0-9_]*\)".*/\1/p' "$KT_TMP/verb.$n" 2>/dev/null)"
    done
}

# --- PostgreSQL ---

# over_tcp USER DATABASE STATEMENT WORD...: psql to $target's network address; "refused" or what came.
over_tcp() {
    observe_failure timeout 20 psql -X -w "host=${NODE_ADDRESS[$target]} port=${NODE_DB_PORT[$target]} user=$1 \
        dbname=$2 connect_timeout=5 sslrootcert=$(ca_of kts-01) ${*:4}" -At -c "$3"
}

# as_role ROLE STATEMENT: in the place of a process of the server, with its secret, at the socket.
as_role() {
    PGPASSWORD=$(cat "${NODE_DIR[kts-01]}/.keytrustee/secrets/$1") \
        PGOPTIONS='-c default_transaction_read_only=off' timeout 20 psql -X -h "${NODE_DIR[kts-01]}/run" \
        -p "${NODE_DB_PORT[kts-01]}" -U "$1" -d keytrustee -v ON_ERROR_STOP=1 -At -c "$2"
}

# statements_refused ROLE STATEMENT...: for want of rights (SQLSTATE 42501), and for no other reason.
statements_refused() {
    local role=$1 statement result
    shift

    printf '%s;\n\\echo @ :ERROR :SQLSTATE\n' "$@" >"$KT_TMP/statements"
    mapfile -t results < <(PGPASSWORD=$(cat "${NODE_DIR[kts-01]}/.keytrustee/secrets/$role") \
        PGOPTIONS='-c default_transaction_read_only=off' timeout 30 psql -X -h "${NODE_DIR[kts-01]}/run" \
        -p "${NODE_DB_PORT[kts-01]}" -U "$role" -d keytrustee -At -f "$KT_TMP/statements" 2>/dev/null | grep '^@ ')
    for statement in "$@"; do
        result=${results[0]:-not run}
        results=("${results[@]:1}")
        [[ $result == '@ true 42501' ]] && observe refused || observe "$result for $role: $statement"
    done
}

# roles_refused STATEMENT...: to each of the server's roles.
roles_refused() {
    local role

    for role in kts_reader kts_writer kts_agent; do
        statements_refused "$role" "$@"
    done
}

# --- certificates ---

PKI=$KT_TMP/pki

# A CA that is not the cluster's: new_ca NAME SUBJECT makes $PKI/NAME-cert.pem and its key.
new_ca() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "$2" -days 30 \
        -keyout "$PKI/$1-key.pem" -out "$PKI/$1-cert.pem" 2>/dev/null
}

# certificate NAME CA SUBJECT [FROM UNTIL] [EXTENSIONS]: CA is a prefix below $PKI.
certificate() {
    local at=$PKI/$1 ca=$PKI/$2 begin=${4:-} end=${5:-}

    : "${begin:=$(date -u -d '1 hour ago' +%Y%m%d%H%M%SZ)}" "${end:=$(date -u -d '1 year' +%Y%m%d%H%M%SZ)}"
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$at-key.pem" \
        -subj "$3" -out "$at.csr" 2>/dev/null
    : >"$PKI/index.txt"
    cat >"$PKI/ca.cnf" <<END
[ca]
default_ca = d
[d]
database = $PKI/index.txt
new_certs_dir = $PKI
default_md = sha256
policy = p
rand_serial = yes
unique_subject = no
[p]
organizationName = optional
organizationalUnitName = optional
commonName = optional
[e]
${6:-extendedKeyUsage = clientAuth}
END
    openssl ca -batch -notext -config "$PKI/ca.cnf" -extensions e -cert "$ca-cert.pem" -keyfile "$ca-key.pem" \
        -in "$at.csr" -out "$at-cert.pem" -startdate "$begin" -enddate "$end" 2>"$PKI/err" ||
        problem "openssl ca: $(tail -n 3 "$PKI/err")"
}

subject_of() {
    openssl x509 -in "$(client_prefix "$1")-cert.pem" -noout -subject -nameopt compat | sed 's/^subject= *//'
}

member_json() {
    sed -n 's/^ *"'"$1"'": *"\{0,1\}\([^",}]*\)"\{0,1\},\{0,1\}$/\1/p' | head -n 1
}
