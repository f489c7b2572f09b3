#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Recovery keys: deposits are encrypted to them too, the server refuses those that are not, and a server
# cannot slip in a key that nobody accepted.
. "$KT_SOURCE/tests/support/lib.sh"

# new_key NAME: a key in a keyring of its own; sets $fingerprint, and $KT_TMP/NAME.pgp is its public half.
new_key() {
    mkdir -m 0700 "$KT_TMP/gnupg.$1"
    gpg --homedir "$KT_TMP/gnupg.$1" --batch --quiet --passphrase '' --quick-gen-key "$1 <$1@acme>" \
        "${2:-future-default}" 2>>"$KT_TMP/gpg.err"
    gpg --homedir "$KT_TMP/gnupg.$1" --batch --export >"$KT_TMP/$1.pgp"
    fingerprint=$(gpg --homedir "$KT_TMP/gnupg.$1" --batch --with-colons --list-keys 2>/dev/null |
        awk -F: '$1 == "fpr" { print $10; exit }')
}
# The ids of the keys that a body is encrypted to.
recipients_of() {
    gpg --homedir "$KT_TMP/gnupg.look" --batch --list-packets --list-only "$1" 2>/dev/null |
        sed -n 's/^:pubkey enc packet:.*keyid \([0-9A-F]*\).*/\1/p' | sort
}
subkey_of() {
    gpg --homedir "$KT_TMP/gnupg.$1" --batch --with-colons --list-keys 2>/dev/null |
        awk -F: '$1 == "sub" { print $5; exit }'
}
# A body that is on the server, as it is.
body_of() {
    request kts-01 host-1 GET "/v1/deposits/$(escape "$1")"
    cp "$KT_TMP/body" "$KT_TMP/stored"
}

mkdir -m 0700 "$KT_TMP/gnupg.look"
new_node_with_clients kts-01
head -c 64 /dev/urandom >"$KT_TMP/key"
new_key alice && alice=$fingerprint
new_key mallory && mallory=$fingerprint
succeeds client host-1 put before "$KT_TMP/key"

check "what is no public key, signs only, is armored, or is the cluster's own is no recovery key"
new_key signer ed25519/sign
exits some admin kts-01 recovery add acme "$KT_TMP/signer.pgp"
has "$KT_TMP/err" 'no part that encrypts'
gpg --homedir "$KT_TMP/gnupg.alice" --batch --armor --export >"$KT_TMP/alice.asc"
exits some admin kts-01 recovery add acme "$KT_TMP/alice.asc"
has "$KT_TMP/err" 'without --armor'
gpg --homedir "$KT_TMP/gnupg.alice" --batch --pinentry-mode loopback --passphrase '' --export-secret-keys \
    >"$KT_TMP/alice.secret" 2>/dev/null
exits some admin kts-01 recovery add acme "$KT_TMP/alice.secret"
has "$KT_TMP/err" 'secret key'
gpg --homedir "${NODE_DIR[kts-01]}/.keytrustee" --batch --export >"$KT_TMP/cluster.pgp" 2>/dev/null
exits some admin kts-01 recovery add acme "$KT_TMP/cluster.pgp"
has "$KT_TMP/err" "a key of the cluster's own"
exits 3 admin kts-01 recovery add nobody "$KT_TMP/alice.pgp"

check "with a recovery key in force a deposit without it is refused, and the client says which to accept"
succeeds admin kts-01 recovery add acme "$KT_TMP/alice.pgp"
succeeds admin kts-01 recovery list acme
has "$KT_TMP/out" "$alice *acme *in force"
exits 4 client host-1 put mine "$KT_TMP/key"
has "$KT_TMP/err" "$alice"
has "$KT_TMP/err" 'keytrustee recovery accept'
request kts-01 host-1 HEAD /v1/deposits/mine
is "$http" 404 "status"
is "$(find "$(client_dir host-1)/pending" -type f | wc -l)" 0 "pending deposits"
succeeds client host-1 recovery list
has "$KT_TMP/out" "$alice  NOT ACCEPTED"

check "the server looks at the recipients of the body, whoever made it"
encrypt_to host-1 "$KT_TMP/key" "$KT_TMP/cipher"
deposit kts-01 host-1 raw "$KT_TMP/cipher"
answers 422 recovery_missing
gpg --homedir "$(client_dir host-1)/gnupg" --batch --quiet --import "$KT_TMP/alice.pgp" 2>/dev/null
both() {
    gpg --homedir "$(client_dir host-1)/gnupg" --batch --yes --quiet --trust-model always --compress-algo none \
        "$@" --encrypt --output "$KT_TMP/both" "$KT_TMP/key" 2>"$KT_TMP/gpg.err"
}
own=$(fingerprint_of host-1)
both --recipient "$own" --hidden-recipient "$alice" # id 0 is nobody's
deposit kts-01 host-1 raw "$KT_TMP/both"
answers 422
both --recipient "$own" --recipient "$alice"
deposit kts-01 host-1 raw "$KT_TMP/both"
answers 201

check "an accepted recovery key is a recipient: both the client and its holder open the deposit"
succeeds client host-1 recovery accept "$(sed 's/..../& /g' <<<"${alice,,}")"
succeeds client host-1 recovery list
has "$KT_TMP/out" "$alice  accepted$"
succeeds client host-1 put mine "$KT_TMP/key"
succeeds client host-1 get mine -o "$KT_TMP/got"
same "$KT_TMP/key" "$KT_TMP/got"
body_of mine
is "$(recipients_of "$KT_TMP/stored" | grep -c .)" 2 "recipients"
gpg --homedir "$KT_TMP/gnupg.alice" --batch --quiet --decrypt "$KT_TMP/stored" >"$KT_TMP/recovered" 2>/dev/null
same "$KT_TMP/key" "$KT_TMP/recovered"
succeeds client host-1 get before -o "$KT_TMP/got"

check "a key that the server adds by itself is not encrypted to: the client stops, and nothing is sent"
sql kts-01 "insert into recovery_keys (organisation_id, fingerprint, key_ids, public_key, created_at, created_by)
    select organisation_id, '$mallory', '{1}', decode('$(base64 -w0 "$KT_TMP/mallory.pgp")', 'base64'), now(), 'x'
    from organisations where name = 'acme'" >/dev/null
exits 4 client host-1 put stop "$KT_TMP/key"
has "$KT_TMP/err" "$mallory"
hasnt "$KT_TMP/err" "$alice"
is "$(sql kts-01 "select count(*) from deposits where handle = 'stop'")" 0 "deposits"
# and when it hides behind an accepted fingerprint
sql kts-01 "delete from recovery_keys where fingerprint = '$mallory'" >/dev/null
sql kts-01 "update recovery_keys set public_key = decode('$(base64 -w0 "$KT_TMP/mallory.pgp")', 'base64')" >/dev/null
exits 7 client host-1 put stop "$KT_TMP/key"
has "$KT_TMP/err" "is not that key"

check "a part that the accepted key did not sign is not encrypted to"
mkdir "$KT_TMP/split" && (cd "$KT_TMP/split" && gpgsplit -p a ../alice.pgp && gpgsplit -p m ../mallory.pgp)
cat "$KT_TMP"/split/a*.public_key "$KT_TMP"/split/a*.user_id "$KT_TMP"/split/a*[0-9]3-002.sig \
    "$KT_TMP"/split/m*.public_subkey "$KT_TMP"/split/m*5-002.sig >"$KT_TMP/forged.pgp" 2>"$KT_TMP/split.err" ||
    problem "no forged key: $(ls "$KT_TMP/split" | tr '\n' ' ')"
sql kts-01 "update recovery_keys set public_key = decode('$(base64 -w0 "$KT_TMP/forged.pgp")', 'base64')" >/dev/null
new_client kts-01 acme host-3 || problem "register: $(cat "$KT_TMP/host-3.register.out")"
succeeds client host-3 recovery accept "$alice"
run client host-3 put forged "$KT_TMP/key" # knows no part of alice's to encrypt to
[[ $status -ne 0 ]] || problem "encrypted to a key that only the forged part belongs to"
run client host-1 put forged "$KT_TMP/key" # knows the right part
for handle in forged; do
    body_of "$handle"
    recipients_of "$KT_TMP/stored" | grep -qi "$(subkey_of mallory)" && problem "encrypted to the forged part"
done
succeeds admin kts-01 recovery add acme "$KT_TMP/alice.pgp"

check "the client takes no fingerprint that is none, nor the cluster's"
exits 2 client host-1 recovery accept 1234
cluster=$(client host-1 status --json | sed -n 's/.*"cluster_fingerprint": *"\([^"]*\)".*/\1/p')
cluster=${cluster:-$(sed -n 's/.*"cluster_fingerprint": *"\([^"]*\)".*/\1/p' "$(client_dir host-1)/client.json")}
exits some client host-1 recovery accept "$cluster"
has "$KT_TMP/err" "key of the cluster itself"
exits 3 client host-1 recovery forget "$mallory"

check "a client that registers with --recovery deposits at once"
new_auth_code kts-01 acme "$KT_TMP/code.new"
succeeds client fresh register --server "127.0.0.1:${NODE_PORT[kts-01]}" --auth-code-file "$KT_TMP/code.new" \
    --name fresh --recovery "$alice"
succeeds client fresh put fresh/one "$KT_TMP/key"
new_auth_code kts-01 acme "$KT_TMP/code.bad"
exits 2 client bad register --server "127.0.0.1:${NODE_PORT[kts-01]}" --auth-code-file "$KT_TMP/code.bad" \
    --name bad --recovery zz

check "every key in force must be among the recipients; one that is retired need not, and is not used"
new_key bob && bob=$fingerprint
succeeds admin kts-01 recovery add acme "$KT_TMP/bob.pgp"
exits 4 client fresh put fresh/two "$KT_TMP/key"
has "$KT_TMP/err" "$bob"
succeeds client fresh recovery accept "$bob"
succeeds client fresh put fresh/two "$KT_TMP/key"
request kts-01 fresh GET /v1/deposits/fresh%2Ftwo
is "$(recipients_of "$KT_TMP/body" | grep -c .)" 3 "recipients"
succeeds admin kts-01 recovery retire acme "${alice,,}"
exits 4 client fresh put fresh/three "$KT_TMP/key"
has "$KT_TMP/err" "does not ask for recovery keys that this client has accepted.*$alice"
has "$KT_TMP/err" "keytrustee recovery forget $alice"
hasnt "$KT_TMP/err" "$bob"
is "$(sql kts-01 "select count(*) from deposits where handle = 'fresh/three'")" 0 "deposits"
succeeds client fresh recovery list
has "$KT_TMP/out" "$alice  accepted, NOT ASKED FOR"
has "$KT_TMP/out" "$bob  accepted$"
succeeds client fresh recovery forget "$alice"
succeeds client fresh put fresh/three "$KT_TMP/key"
request kts-01 fresh GET /v1/deposits/fresh%2Fthree
is "$(recipients_of "$KT_TMP/body" | sort)" \
    "$(printf '%s\n' "$(subkey_of bob)" "$(gpg --homedir "$(client_dir fresh)/gnupg" --batch --with-colons --list-secret-keys 2>/dev/null | awk -F: '$1 == "ssb" { print $5; exit }')" | sort)" \
    "recipients"
succeeds client fresh recovery list
hasnt "$KT_TMP/out" "$alice"

check "a server that silently leaves out an accepted key gets no deposit without it"
sql kts-01 "create table left_out as select * from recovery_keys; delete from recovery_keys" >/dev/null
exits 4 client fresh put fresh/four "$KT_TMP/key"
has "$KT_TMP/err" "$bob"
new_auth_code kts-01 acme "$KT_TMP/code.first"
succeeds client first register --server "127.0.0.1:${NODE_PORT[kts-01]}" --auth-code-file "$KT_TMP/code.first" \
    --name first --recovery "$bob"
exits 4 client first put first/one "$KT_TMP/key" # it has never been told of bob's key by the server
has "$KT_TMP/err" "$bob"
is "$(sql kts-01 "select count(*) from deposits where handle in ('fresh/four', 'first/one')")" 0 "deposits"
sql kts-01 "insert into recovery_keys select * from left_out; drop table left_out" >/dev/null
succeeds client fresh put fresh/four "$KT_TMP/key"
succeeds client first put first/one "$KT_TMP/key"

check "another organisation's recovery keys are not asked for"
succeeds admin kts-01 org add other
new_client kts-01 other elsewhere || problem "register: $(cat "$KT_TMP/elsewhere.register.out")"
succeeds client elsewhere put theirs "$KT_TMP/key"
succeeds client elsewhere recovery list
is "$(wc -c <"$KT_TMP/out")" 0 "bytes of list"

check "changes of recovery keys are audited, and in the log of changes"
succeeds admin kts-01 audit show --last 10000 --event recovery.add
has "$KT_TMP/out" 'recovery.add'
is "$(sql kts-01 "select count(*) from change_log where event like 'recovery.%'")" 4 "rows"

finish
