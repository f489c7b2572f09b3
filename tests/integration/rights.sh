#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Rights (P7): each right, to a client and to everyone, on own deposits, a prefix and a key group: what
# is granted is possible at every call, and nothing else. Then what the commands say of them.
. "$KT_SOURCE/tests/support/lib.sh"

new_node_with_clients kts-01
for name in asker other; do
    new_client kts-01 acme "$name" || give_up "register: $(cat "$KT_TMP/$name.register.out")"
done
head -c 64 /dev/urandom >"$KT_TMP/key"
encrypt_to host-1 "$KT_TMP/key" "$KT_TMP/cipher" || give_up "gpg: $(cat "$KT_TMP/gpg.err")"

new_group() {
    run admin kts-01 group add acme "$1"
    [[ $status -eq 0 ]] || give_up "group add: $(cat "$KT_TMP/err")"
    group=$(cat "$KT_TMP/out")
}
id_of() {
    sql kts-01 "select client_id from clients where name = '$1'"
}
new_group team && team=$group
new_group else && else_group=$group
asker=$(id_of asker)

# grouped CLIENT HANDLE GROUP [CURL OPTIONS...]: a deposit into a key group.
grouped() {
    request kts-01 "$1" PUT "/v1/deposits/$(escape "$2")" --data-binary "@$KT_TMP/cipher" \
        -H 'Content-Type: application/pgp-encrypted' -H "KT-Deposit-Id: $(new_uuid)" \
        -H "KT-SHA256: $(sha256sum "$KT_TMP/cipher" | cut -c 1-64)" ${3:+-H "KT-Key-Group: $3"} "${@:4}"
}

check "a key group is made with a name and without, listed, and a name is good once"
admin kts-01 group add acme >"$KT_TMP/nameless"
has "$KT_TMP/nameless" '^[0-9a-f-]{36}$'
succeeds admin kts-01 group list acme
has "$KT_TMP/out" "$team *team *acme"
exits 1 admin kts-01 group add acme team
exits 3 admin kts-01 group add nobody x
exits some admin kts-01 group add acme 'Not A Name'
exits some admin kts-01 group add acme abcdef01-0000-4000-8000-000000000000

# Targets: of host-1 in the prefix, in the two groups and in none; of the asker itself.
succeeds admin kts-01 grant acme deposit --client host-1 --key-group team
succeeds admin kts-01 grant acme deposit --client host-1 --key-group "$else_group"
deposit kts-01 host-1 p/one "$KT_TMP/cipher"
answers 201
deposit kts-01 host-1 plain "$KT_TMP/cipher"
answers 201
grouped host-1 in/team "$team"
answers 201
grouped host-1 in/else "$else_group"
answers 201
deposit kts-01 asker mine "$KT_TMP/cipher"
answers 201
declare -A TARGET=([prefix]=p/one [key_group]=in/team [own]=mine [none]=plain [foreign]=in/else)
declare -A ID=()
for target in "${!TARGET[@]}"; do
    ID[$target]=$(sql kts-01 "select deposit_id from deposits where handle = '${TARGET[$target]}'")
done

check "a deposit goes only into a key group of the organisation that the client may deposit into"
succeeds admin kts-01 org add evil
run admin kts-01 group add evil theirs
theirs=$(cat "$KT_TMP/out")
grouped host-1 new/one "$theirs"
answers 404 key_group_not_found
grouped host-1 new/one "$(new_uuid)"
answers 404 key_group_not_found
grouped asker new/two "$team"
answers 403 not_granted
grouped host-1 new/one not-a-uuid
answers 400 bad_request
grouped host-1 new/one 00000000-0000-0000-0000-000000000000
answers 400 bad_request
grouped host-1 new/one "$team" -H "KT-Key-Group: $else_group"
answers 400
is "$(sql kts-01 "select count(*) from deposits where handle like 'new/%'")" 0 "deposits"

check "naming a key group gives no right to a handle that is in another one, or in none"
succeeds admin kts-01 grant acme deposit --client other --key-group team
for handle in plain in/else mine; do
    grouped other "$handle" "$team"
    answers 409 handle_taken
done
grouped other in/team
answers 201
grouped other fresh/one "$team"
answers 201

# From here on all but host-1 have nothing.
sql kts-01 "update grants set revoked_at = now() where client_id <> '$(id_of host-1)'"

# --- the matrix ---

# The answer to a call on a target, as yes or no.
verdict_of() { # CALL TARGET STATUS BODY
    verdict=$3
    [[ $1 == list && $3 == 200 ]] && ! grep -q "\"handle\": *\"${TARGET[$2]}\"" "$4" && verdict=404
    case $verdict in
    20?) verdict=yes ;;
    40[349]) verdict=no ;;
    esac
}

# path_of CALL TARGET: sets $method and $path.
path_of() {
    path=/v1/deposits/$(escape "${TARGET[$2]}") method=GET
    case $1 in
    version) path+='?version=1' ;;
    by-id) path=/v1/deposits/by-id/${ID[$2]} ;;
    head) method=HEAD ;;
    receipt) path+=/receipt ;;
    list) path=/v1/deposits ;;
    put) method=PUT ;;
    delete) method=DELETE ;;
    esac
}

# Whether the client may make the call on that target now: sets $verdict.
probe() {
    local who=$1 call=$2 target=$3

    path_of "$call" "$target"
    [[ $call == put ]] && grouped "$who" "${TARGET[$target]}" || request kts-01 "$who" "$method" "$path"
    verdict_of "$call" "$target" "$http" "$KT_TMP/body"
}

# probe_all CLIENT TARGET...: every call on each of them, over one connection; those that change
# something last. Sets VERDICT[call target].
declare -A VERDICT=()
probe_all() {
    local who=$1 call target n=0 config=$KT_TMP/probes status list=()
    shift

    : >"$config"
    for call in get version by-id head receipt list put delete; do
        for target in "$@"; do
            path_of "$call" "$target"
            list+=("$call $target")
            [[ $n -gt 0 ]] && echo next >>"$config"
            cat >>"$config" <<CONFIG
url = "$(url_of kts-01)$path"
cacert = "$(ca_of kts-01)"
cert = "$(client_dir "$who")/client-cert.pem"
key = "$(client_dir "$who")/client-key.pem"
silent
path-as-is
max-time = 30
output = "$KT_TMP/probe.$n"
write-out = "%{http_code}\\n"
header = "Expect:"
CONFIG
            case $call in
            head) echo head ;;
            delete) echo 'request = "DELETE"' ;;
            put)
                printf '%s\n' 'request = "PUT"' "data-binary = \"@$KT_TMP/cipher\"" \
                    'header = "Content-Type: application/pgp-encrypted"' \
                    "header = \"KT-Deposit-Id: $(new_uuid)\"" "header = \"KT-SHA256: $cipher_sha256\""
                ;;
            esac >>"$config"
            n=$((n + 1))
        done
    done
    n=0
    while read -r status; do
        # shellcheck disable=SC2086 # call and target
        verdict_of ${list[n]} "$status" "$KT_TMP/probe.$n"
        VERDICT[${list[n]}]=$verdict
        n=$((n + 1))
    done < <(curl -K "$config")
    probes=$((probes + n))
    [[ $n -eq ${#list[@]} ]] || problem "$n answers of ${#list[@]}"
}
cipher_sha256=$(sha256sum "$KT_TMP/cipher" | cut -c 1-64)

declare -A CALLS=([deposit]=put [browse]="head receipt list" [retrieve]="get version by-id" [delete]=delete)
expected() { # RIGHT OBJECT CALL TARGET
    [[ " ${CALLS[$1]} " == *" $3 "* && $2 == "$4" ]] && echo yes || echo no
}

probes=0
# Depositing last: it leaves versions of the asker's own.
for right in browse retrieve delete deposit; do
    for subject in client everyone; do
        for object in own prefix key_group; do
            check "$right granted to ${subject/client/a client} on ${object/_/ } lets it do exactly that"
            options=()
            [[ $subject == client ]] && options+=(--client "$asker") || options+=(--everyone)
            case $object in
            own) options+=(--own) ;;
            prefix) options+=(--prefix p/) ;;
            key_group) options+=(--key-group "$team") ;;
            esac
            run admin kts-01 grant acme "$right" "${options[@]}" --json
            grant=$(sed -n 's/.*"grant": *"\([^"]*\)".*/\1/p' "$KT_TMP/out")
            probe_all asker own prefix key_group none foreign
            for target in own prefix key_group none foreign; do
                for call in get version by-id head receipt list put delete; do
                    is "${VERDICT[$call $target]}" "$(expected "$right" "$object" "$call" "$target")" \
                        "$call of $target"
                done
            done
            if [[ $subject == client ]]; then
                probe_all other prefix key_group
                for call in get version by-id head receipt list put delete; do
                    is "${VERDICT[$call prefix]}${VERDICT[$call key_group]}" nono "$call by another client"
                done
            fi
            succeeds admin kts-01 revoke "$grant"
            # what was deleted is there again
            sql kts-01 "update deposits set deleted_at = null, deleted_by = null" >/dev/null
        done
    done
done
echo "    $probes calls were tried"
check "the matrix was tried as a whole"
[[ $probes -eq 1152 ]] || problem "only $probes"

check "each right of its own: not granted, not possible, whatever else is granted on the same deposit"
for right in deposit browse retrieve delete; do
    rest=$(sed "s/\b$right\b//; s/,,/,/; s/^,//; s/,$//" <<<deposit,browse,retrieve,delete)
    run admin kts-01 grant acme "$rest" --client "$asker" --prefix p/ --json
    mapfile -t grants < <(sed -n 's/.*"grant": *"\([^"]*\)".*/\1/p' "$KT_TMP/out")
    is "${#grants[@]}" 3 "grants"
    for call in ${CALLS[$right]}; do
        probe asker "$call" prefix
        is "$verdict" no "$call without $right"
    done
    for grant in "${grants[@]}"; do
        succeeds admin kts-01 revoke "$grant"
    done
done

check "a prefix is of bytes: p covers p/one and plain, p/ covers p/one only"
run admin kts-01 grant acme browse --client "$asker" --prefix p --json
grant=$(sed -n 's/.*"grant": *"\([^"]*\)".*/\1/p' "$KT_TMP/out")
for target in prefix none; do
    probe asker head "$target"
    is "$verdict" yes "$target"
done
probe asker head key_group
is "$verdict" no "in/team"
succeeds admin kts-01 revoke "$grant"

# --- groups of versions, and what shows them ---

check "a later version without the header is in the group of the one before; info and list show it"
deposit kts-01 host-1 in/team "$KT_TMP/cipher"
answers 201
is "$(sql kts-01 "select count(*) from deposits where handle = 'in/team' and key_group_id is distinct from '$team'")" \
    0 "versions in no group"
succeeds client host-1 put --group team groups/x "$KT_TMP/key"
succeeds client host-1 put groups/x "$KT_TMP/key"
succeeds client host-1 info groups/x
has "$KT_TMP/out" "^version *2"
has "$KT_TMP/out" "^key group *$team"
succeeds client host-1 list groups/
has "$KT_TMP/out" "$team"
request kts-01 host-1 HEAD /v1/deposits/groups%2Fx
has "$KT_TMP/header" "^KT-Key-Group: $team"
exits 3 client host-1 put --group nowhere groups/y "$KT_TMP/key"
has "$KT_TMP/err" 'no grant on a key group'

check "a repeat into another group is another deposit"
id=$(new_uuid)
grouped host-1 twice "$team" -H "KT-Deposit-Id: $id"
answers 400
request kts-01 host-1 PUT /v1/deposits/twice --data-binary "@$KT_TMP/cipher" -H "KT-Deposit-Id: $id" \
    -H 'Content-Type: application/pgp-encrypted' -H "KT-SHA256: $(sha256sum "$KT_TMP/cipher" | cut -c 1-64)" \
    -H "KT-Key-Group: $team"
answers 201
request kts-01 host-1 PUT /v1/deposits/twice --data-binary "@$KT_TMP/cipher" -H "KT-Deposit-Id: $id" \
    -H 'Content-Type: application/pgp-encrypted' -H "KT-SHA256: $(sha256sum "$KT_TMP/cipher" | cut -c 1-64)" \
    -H "KT-Key-Group: $else_group"
answers 409 deposit_id_conflict

# --- what the commands say ---

check "grant --dry-run shows handles now and then, and changes nothing"
before=$(sql kts-01 "select count(*) from grants; select count(*) from change_log")
succeeds admin kts-01 grant acme retrieve --client asker --prefix p/ --dry-run
has "$KT_TMP/out" "asker .*retrieve +0 +1"
succeeds admin kts-01 grant acme retrieve --everyone --key-group team --dry-run --json
is "$(grep -c '"client":' "$KT_TMP/out")" 4 "clients"
has "$KT_TMP/out" '"then": [1-9]'
is "$(sql kts-01 "select count(*) from grants; select count(*) from change_log")" "$before" "rows"
exits 3 admin kts-01 grant nobody retrieve --everyone --own --dry-run

check "revoke --dry-run shows what is lost, also where another grant keeps it"
run admin kts-01 grant acme retrieve --client asker --prefix p/ --json
grant=$(sed -n 's/.*"grant": *"\([^"]*\)".*/\1/p' "$KT_TMP/out")
succeeds admin kts-01 revoke "$grant" --dry-run
has "$KT_TMP/out" "asker .*retrieve +1 +0"
succeeds admin kts-01 grant acme retrieve --everyone --prefix p/o
succeeds admin kts-01 revoke "$grant" --dry-run
has "$KT_TMP/out" "asker .*retrieve +1 +1"
probe asker get prefix
is "$verdict" yes "the grant is still there"
exits 3 admin kts-01 revoke "$(new_uuid)" --dry-run

check "grants --effective says by which grant a client can do what, on all and on one handle"
succeeds admin kts-01 grants --effective --client asker
has "$KT_TMP/out" "retrieve .*p/ .*client .*$grant"
has "$KT_TMP/out" "retrieve .*p/o .*everyone"
succeeds admin kts-01 grants --effective --client asker --handle p/two
has "$KT_TMP/out" "$grant"
hasnt "$KT_TMP/out" 'everyone'
succeeds admin kts-01 grants --effective --client asker --handle in/team --json
is "$(grep -c grant_id "$KT_TMP/out")" 0 "grants on in/team"
exits 2 admin kts-01 grants --effective
exits 2 admin kts-01 grants --handle x --client asker

# --- from the next request on ---

check "a deposit that is under way when its client is revoked is refused: the writer looks at the end"
mkfifo "$KT_TMP/body.fifo"
size=$(stat -c %s "$KT_TMP/cipher")
curl -s --max-time 30 --cacert "$(ca_of kts-01)" --cert "$(client_dir other)/client-cert.pem" \
    --key "$(client_dir other)/client-key.pem" -T - -H "Content-Length: $size" -H 'Transfer-Encoding:' \
    -H 'Expect:' -H 'Content-Type: application/pgp-encrypted' -H "KT-Deposit-Id: $(new_uuid)" \
    -H "KT-SHA256: $(sha256sum "$KT_TMP/cipher" | cut -c 1-64)" -o "$KT_TMP/slow.body" -w '%{http_code}' \
    "$(url_of kts-01)/v1/deposits/slow" <"$KT_TMP/body.fifo" >"$KT_TMP/slow.status" &
slow=$!
KT_PIDS[$slow]="slow deposit"
exec {fifo}>"$KT_TMP/body.fifo"
requests() { curl_node kts-01 -s --cacert "$(ca_of kts-01)" "$(url_of kts-01)/v1/health" | grep -c .; }
head -c 10 "$KT_TMP/cipher" >&"$fifo"
connected() { [[ $(ss -Htn state established "sport = :${NODE_PORT[kts-01]}" | wc -l) -ge 1 ]]; }
comes_true 10 connected
succeeds admin kts-01 client revoke other --yes
tail -c +11 "$KT_TMP/cipher" >&"$fifo"
exec {fifo}>&-
wait "$slow"
unset "KT_PIDS[$slow]"
is "$(cat "$KT_TMP/slow.status")" 403 "status"
has "$KT_TMP/slow.body" 'client_revoked'

check "a connection that is open outlives no revocation"
succeeds admin kts-01 revoke "$grant"
run sql kts-01 "update grants set revoked_at = now() where access = 'retrieve' and client_id is null"
probe asker get prefix
is "$verdict" no "asker"

check "changes of rights are in the audit log, with the key group"
succeeds admin kts-01 audit show --last 10000
has "$KT_TMP/out" "keygroup.add"
grep -rhq "\"event\":\"grant.add\".*\"key_group\":\"$team\"" "${NODE_DIR[kts-01]}/audit" ||
    grep -rhq "\"key_group\":\"$team\"" "${NODE_DIR[kts-01]}/audit" || problem "no record with the group"
is "$(sql kts-01 "select count(*) > 0 from change_log where event = 'grant.add' and detail->>'key_group' = '$team'")" t \
    "change_log"

finish
