# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# shellcheck disable=SC2317 # called through the table
# Whoever wants to be enrolled: guessed, worn, stolen and shared auth codes, and requests that ask for more
# than a client's certificate.
attacker codes load 'who tries to be enrolled'

RACERS=50 RACE_USES=3

prepare_codes() {
    mkdir -p "$KT_TMP/codes"
    gpg --homedir "$(client_dir peer)/gnupg" --batch --export 2>/dev/null >"$KT_TMP/codes/peer.pgp"
    new_request first && new_auth_code kts-01 acme "$KT_TMP/codes/open" --uses 5
}

# new_request NAME [SUBJECT] [OPENSSL OPTIONS...]: key and certificate request; an OpenPGP key that nobody
# has: another second of creation makes another fingerprint.
new_request() {
    local at=$KT_TMP/codes/$1 subject=${2:-/CN=$1}

    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "$subject" -keyout "$at.key" \
        -out "$at.csr" "${@:3}" 2>/dev/null || return
    cp "$KT_TMP/codes/peer.pgp" "$at.pgp"
    # The packet's header has 2 or 3 bytes, then the version, then four bytes of time.
    head -c 4 /dev/urandom | dd of="$at.pgp" bs=1 seek="$(key_time_at "$at.pgp")" conv=notrunc status=none
}

key_time_at() {
    case $(od -An -tu1 -N1 "$1" | tr -d ' ') in
    152) echo 3 ;;
    153) echo 4 ;;
    *) echo 3 ;;
    esac
}

registration() {
    printf '{"auth_code": "%s", "name": "%s", "csr": "%s", "openpgp": "%s"}' "$1" "$2" \
        "$(awk '{ printf "%s\\n", $0 }' "$KT_TMP/codes/$2.csr")" "$(base64 -w 0 "$KT_TMP/codes/$2.pgp")"
}

# enrol CODE NAME [CURL OPTIONS...]
enrol() {
    registration "$1" "$2" >"$KT_TMP/codes/json"
    ask none POST /v1/clients -H 'Content-Type: application/json' --data-binary "@$KT_TMP/codes/json" "${@:3}"
}

random_base32() {
    head -c "$1" /dev/urandom | base32 -w 0 | tr -d = | tr A-Z a-z
}

# A code is ID-SECRET-CA.
good_code() { cat "$KT_TMP/codes/open"; }
guesses() {
    local id secret ca n

    IFS=- read -r id secret ca < <(good_code)
    for n in 1 2 3; do
        enrol "$(random_base32 5)-$(random_base32 20)-$ca" first
        enrol "$id-$(random_base32 20)-$ca" first
        # the right secret but for its last letter
        enrol "$id-${secret:0:31}$([[ $secret == *a ]] && echo b || echo a)-$ca" first
    done
}
control good-code '201' 'a good code enrols a client' good_registration
good_registration() { enrol "$(good_code)" first; }
attempt guessed-code '403 auth_code_invalid' 'guessed codes, and the right id with guessed secrets' guesses

code_oracle() {
    local id secret ca one two

    IFS=- read -r id secret ca < <(good_code)
    quietly enrol "$(random_base32 5)-$(random_base32 20)-$ca" first
    one=$(sed -E 's/[0-9a-f]{32}//' "$KT_TMP/body")
    quietly enrol "$id-$(random_base32 20)-$ca" first
    two=$(sed -E 's/[0-9a-f]{32}//' "$KT_TMP/body")
    observe "$([[ $one == "$two" ]] && echo 'same answer' || echo "$one / $two")"
}
attempt code-oracle 'same answer' 'learning from the answer whether an id exists' code_oracle
malformed_codes() {
    local code

    for code in '' - a-b-c "$(good_code)x" "$(printf 'a%.0s' {1..8000})" "$(good_code | tr a-z A-Z)x" \
        "' or true --" '\u0000' "$(good_code)\\u0000"; do
        enrol "$code" first
    done
}
attempt malformed-code '@(403 auth_code_invalid|400 bad_request)' 'codes that are none' malformed_codes
foreign_code() {
    local id secret ca

    IFS=- read -r id secret ca < <(good_code)
    enrol "$id-$secret-$(random_base32 32)" first
    # a client does not even ask a server whose CA is not the code's
    (umask 077 && echo "$id-$secret-$(printf 'a%.0s' {1..51})q" >"$KT_TMP/codes/foreign")
    run client intruder register --server "${NODE_ADDRESS[kts-01]}:$HTTPS_PORT" --auth-code-file "$KT_TMP/codes/foreign" --name x
    [[ $status -ne 0 && ! -e $(client_prefix intruder)-cert.pem ]] || observe "the client registered"
}
attempt foreign-code '403 auth_code_invalid' 'a code that names the CA of another cluster' foreign_code

used_up() {
    new_auth_code kts-01 acme "$KT_TMP/codes/once"
    new_request second && new_request third
    quietly enrol "$(cat "$KT_TMP/codes/once")" second
    [[ $http == 201 ]] || problem "the first use is answered $http"
    enrol "$(cat "$KT_TMP/codes/once")" third
}
attempt used-up-code '403 auth_code_used_up' 'a code whose only use is gone' used_up
expired_code() {
    local over=$((SECONDS + 2))

    new_auth_code kts-01 acme "$KT_TMP/codes/short" --expires 1s
    is_later() { [[ $SECONDS -gt $over ]]; }
    comes_true 10 is_later
    new_request late
    enrol "$(cat "$KT_TMP/codes/short")" late
}
attempt_at_leisure expired-code '403 auth_code_expired' 'a code that is over' expired_code
withdrawn_code() {
    new_auth_code kts-01 acme "$KT_TMP/codes/withdrawn"
    sql kts-01 "update auth_codes set revoked_at = now() where code_id = '$(cut -d - -f 1 "$KT_TMP/codes/withdrawn")'" >/dev/null
    new_request fourth
    enrol "$(cat "$KT_TMP/codes/withdrawn")" fourth
}
attempt withdrawn-code '403 auth_code_*' 'a code that was withdrawn' withdrawn_code
closed_organisation() {
    succeeds admin kts-01 org add closing
    new_auth_code kts-01 closing "$KT_TMP/codes/closing"
    succeeds admin kts-01 org disable closing --yes
    new_request fifth
    enrol "$(cat "$KT_TMP/codes/closing")" fifth
}
attempt_at_leisure closed-organisation '403 @(organisation_disabled|auth_code_invalid)' 'a good code of a disabled organisation' closed_organisation
at_the_passive() {
    target=kts-02
    enrol "$(good_code)" first
    new_request sixth
    enrol "$(good_code)" sixth
}
attempt code-at-the-passive '503 passive' 'a code spent at the node that takes no changes' at_the_passive

race() {
    local n code won lost

    new_auth_code kts-01 acme "$KT_TMP/codes/raced" --uses "$RACE_USES"
    code=$(cat "$KT_TMP/codes/raced")
    : >"$KT_TMP/codes/race.curl"
    for ((n = 0; n < RACERS; n++)); do
        new_request "racer-$n"
        registration "$code" "racer-$n" >"$KT_TMP/codes/racer-$n.json"
        [[ $n -eq 0 ]] || echo next
        printf 'url = "%s/v1/clients"\nheader = "Content-Type: application/json"\ndata-binary = "@%s"\noutput = "%s"\n' \
            "$(url_of kts-01)" "$KT_TMP/codes/racer-$n.json" "$KT_TMP/codes/racer-$n.out"
        printf 'cacert = "%s"\nconnect-to = "::%s:%s"\nwrite-out = "%%{http_code}\\n"\nmax-time = 30\ninterface = "%s"\nhttp1.1\n' \
            "$(ca_of kts-01)" "${NODE_ADDRESS[kts-01]}" "$HTTPS_PORT" "$from"
    done >"$KT_TMP/codes/race.curl"
    curl -s -Z --parallel-immediate --parallel-max "$RACERS" -K "$KT_TMP/codes/race.curl" >"$KT_TMP/codes/race.out" 2>&1
    won=$(grep -c '^201$' "$KT_TMP/codes/race.out") lost=$(grep -c '^403$' "$KT_TMP/codes/race.out")
    observe "$won win, $lost lose"
    grep -L auth_code_used_up "$KT_TMP"/codes/racer-*.out | wc -l | grep -qx "$RACE_USES" || observe "refused otherwise: $(sort "$KT_TMP/codes/race.out" | uniq -c | tr '\n' ' ')"
    is "$(sql kts-01 "select uses from auth_codes where code_id = '${code%%-*}'")" "$RACE_USES" "uses in the database"
}
attempt raced-code "$RACE_USES win, $((RACERS - RACE_USES)) lose" "$RACERS at once with a code of $RACE_USES uses" race

# --- more than a client's certificate ---

# What the certificate says that was given for a request.
given_certificate() {
    local pem=$KT_TMP/codes/given.pem said

    grep -ao '"certificate": *"[^"]*"' "$KT_TMP/body" | head -n 1 | sed 's/.*"\(-----BEGIN.*\)"/\1/; s/\\n/\n/g' >"$pem"
    said=$(openssl x509 -in "$pem" -noout -subject -nameopt compat -ext subjectAltName,basicConstraints,extendedKeyUsage 2>/dev/null)
    if [[ $http != 20[01] ]]; then
        observe "not given"
    elif [[ -z $said ]]; then
        observe "no certificate can be read from the answer"
    elif grep -qE 'keytrustee node|CN ?= ?(keytrustee|curious)|CA:TRUE|TLS Web Server|DNS:' <<<"$said" ||
        [[ $said == *"$(subject_of victim)"* ]]; then
        observe "given: $(tr '\n' ' ' <<<"$said")"
    else
        observe "not given"
    fi
}
greedy_requests() {
    local n=0 subject

    new_auth_code kts-01 acme "$KT_TMP/codes/greedy" --uses 9
    for subject in "/OU=keytrustee node/CN=$(member_of kts-01)" '/CN=keytrustee' "$(subject_of victim)" '/CN=curious'; do
        n=$((n + 1))
        new_request "greedy-$n" "$subject" -addext 'basicConstraints=critical,CA:TRUE' \
            -addext 'subjectAltName=DNS:keytrustee,DNS:keytrustee-node' -addext 'extendedKeyUsage=serverAuth' || problem "openssl req"
        quietly enrol "$(cat "$KT_TMP/codes/greedy")" "greedy-$n"
        given_certificate
    done
}
attempt greedy-request 'not given' 'requests for the certificate of a node, a server, a CA, another client, an operator' greedy_requests
stolen_key_registered() {
    new_request seventh
    gpg --homedir "$(client_dir victim)/gnupg" --batch --export 2>/dev/null >"$KT_TMP/codes/seventh.pgp"
    enrol "$(good_code)" seventh
}
attempt openpgp-of-another '409 client_exists' 'the victim'"'"'s OpenPGP key as its own' stolen_key_registered
bad_requests() {
    new_request weak
    openssl req -new -newkey rsa:1024 -nodes -subj /CN=x -keyout /dev/null -out "$KT_TMP/codes/weak.csr" 2>/dev/null
    enrol "$(good_code)" weak
    # the signature of another request
    new_request forged
    { openssl req -in "$KT_TMP/codes/first.csr" -outform DER | head -c -20; head -c 20 /dev/urandom; } |
        base64 -w 64 | { echo '-----BEGIN CERTIFICATE REQUEST-----'; cat; echo '-----END CERTIFICATE REQUEST-----'; } >"$KT_TMP/codes/forged.csr"
    enrol "$(good_code)" forged
}
attempt bad-request-for-certificate '422 csr_invalid' 'a request with a weak key, and one that its key did not sign' bad_requests
