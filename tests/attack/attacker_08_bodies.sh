# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# shellcheck disable=SC2317 # called through the table
# Bodies: what is no ciphertext, what lies about itself, what grows. The attacker may deposit.
attacker bodies load 'a client that sends bad bodies'
row_short=no # tests/integration/bad_input.sh

prepare_bodies() {
    local dir=$KT_TMP/bodies home

    home=$(client_dir peer)/gnupg
    mkdir -p "$dir"
    head -c 3000 /dev/urandom >"$dir/plain"
    yes 'the secret in plain text' | head -c 3000 >"$dir/text"
    gpg --homedir "$home" --batch --quiet --trust-model always --armor --recipient "$(fingerprint_of peer)" \
        --output "$dir/armored" --encrypt "$dir/plain" 2>/dev/null
    gpg --homedir "$home" --batch --quiet --output "$dir/signed" --sign "$dir/plain" 2>/dev/null
    gpg --homedir "$home" --batch --quiet --store --output "$dir/literal" "$dir/plain" 2>/dev/null
    gpg --homedir "$home" --batch --quiet --passphrase x --pinentry-mode loopback --output "$dir/symmetric" \
        --symmetric "$dir/plain" 2>/dev/null
    gpg --homedir "$home" --batch --export >"$dir/key" 2>/dev/null
    encrypt_to peer "$dir/plain" "$dir/good"
    # 100 MB of zeros in a compressed packet of some kilobytes
    head -c 100000000 /dev/zero | gpg --homedir "$home" --batch --quiet --compress-algo zlib --store \
        --output "$dir/bomb" 2>/dev/null
}

put_each() {
    local file

    for file in "$@"; do
        put peer bad "$KT_TMP/bodies/$file"
    done
}
control good-body '201' 'a message that is encrypted is taken' put_good
put_good() { put peer bodies/good "$KT_TMP/bodies/good"; }
attempt plaintext '422 not_ciphertext' 'random bytes, text, a public key' put_each plain text key
attempt unencrypted-messages '422 not_ciphertext' 'messages that are armored, only signed, stored, or encrypted with a word' \
    put_each armored signed literal symmetric
attempt decompression-bomb '422 not_ciphertext' '100 MB in a compressed packet' put_each bomb
truncated() {
    local n size

    size=$(stat -c %s "$KT_TMP/bodies/good")
    for n in 1 2 3 5 20 80 $((size / 2)) $((size - 1)); do
        head -c "$n" "$KT_TMP/bodies/good" >"$KT_TMP/bodies/cut"
        put_each cut
    done
}
attempt truncated-packets '422 not_ciphertext' 'a message that is cut anywhere' truncated
followed() {
    local dir=$KT_TMP/bodies

    cat "$dir/good" "$dir/text" >"$dir/tail"
    cat "$dir/good" "$dir/literal" >"$dir/literal-tail"
    cat "$dir/literal" "$dir/good" >"$dir/literal-head"
    cat "$dir/good" "$dir/good" >"$dir/twice"
    put_each tail literal-tail literal-head twice
}
attempt bytes-beside '422 not_ciphertext' 'a good message with plaintext before or behind it, or twice' followed
odd_lengths() {
    local dir=$KT_TMP/bodies

    printf '\377\377\377\377\377\377' >"$dir/odd-1"
    printf '\301\377\377\377\377\377x' >"$dir/odd-2"
    printf '\301\360%s' "$(head -c 40 /dev/zero | tr '\0' x)" >"$dir/odd-3"
    { printf '\322'; for ((n = 0; n < 2000; n++)); do printf '\340x'; done; } >"$dir/odd-4"
    printf '\207%s' "$(head -c 500 /dev/zero | tr '\0' x)" >"$dir/odd-5"
    { printf '\301\377\200\000\000\000'; head -c 200 /dev/zero; } >"$dir/odd-6"
    head -c 100000 /dev/zero >"$dir/odd-7"
    head -c 100000 /dev/zero | tr '\0' '\301' >"$dir/odd-8"
    put_each odd-{1..8}
}
attempt odd-packet-lengths '422 not_ciphertext' 'lengths of 4 GB, partial lengths without end, of one byte, indeterminate' odd_lengths
to_the_cluster() {
    local cluster dir=$KT_TMP/bodies i

    quietly ask none GET '/?a=fingerprint'
    cluster=$(sed 's,^4096R/,,' "$KT_TMP/body")
    (head -c 3 "$dir/good"; for ((i = 24; i < 40; i += 2)); do printf '%b' "\\x${cluster:i:2}"; done
        tail -c +12 "$dir/good") >"$dir/to-cluster"
    put_each to-cluster
}
attempt encrypted-to-the-cluster '422 encrypted_to_cluster' 'a body that the server itself is named in' to_the_cluster
wrong_hash() {
    ask peer PUT /v1/deposits/bad --data-binary "@$KT_TMP/bodies/good" -H 'Content-Type: application/pgp-encrypted' \
        -H "KT-Deposit-Id: $(new_uuid)" -H "KT-SHA256: $(sha256sum "$KT_TMP/bodies/plain" | cut -c 1-64)"
}
attempt wrong-hash '422 hash_mismatch' 'another hash than the body has' wrong_hash
bad_fields() {
    local fields

    for fields in 'KT-Deposit-Id: x' "KT-Deposit-Id: $(new_uuid)x" 'KT-Deposit-Id: 00000000-0000-0000-0000-000000000000' \
        'KT-SHA256: 12' "KT-SHA256: $(printf 'z%.0s' {1..64})" 'X: y'; do
        ask peer PUT /v1/deposits/bad --data-binary "@$KT_TMP/bodies/good" -H 'Content-Type: application/pgp-encrypted' -H "$fields"
    done
}
attempt bad-deposit-fields '400 bad_request' 'a deposit without id or hash, or with bad ones' bad_fields
too_large() {
    head -c $((1024 * 1024 + 1)) /dev/urandom >"$KT_TMP/bodies/large"
    put_each large
    ask none POST /v1/clients -H 'Content-Type: application/json' --data-binary "@$KT_TMP/bodies/large"
}
attempt too-large '413 body_too_large' 'a body over the limit, with and without a certificate' too_large
empty_body() {
    : >"$KT_TMP/bodies/empty"
    put_each empty
}
attempt empty-body '422 body_empty' 'nothing' empty_body
length_lies() {
    local head

    head="PUT /v1/deposits/lies HTTP/1.1\r\nHost: a\r\nContent-Type: application/pgp-encrypted\r\nKT-Deposit-Id: $(new_uuid)\r\nKT-SHA256: $(sha256sum "$KT_TMP/bodies/good" | cut -c 1-64)\r\n"
    # shellcheck disable=SC2059 # the bytes are the format
    raw cert="$(client_prefix peer)" < <(printf "${head}Content-Length: 30\r\n\r\n"; cat "$KT_TMP/bodies/good")
}
attempt length-too-small '422 @(hash_mismatch|not_ciphertext)*closed' 'a length that is smaller than the body: the rest is no request' length_lies
types() {
    local type

    for type in text/plain application/json 'application/pgp-encrypted, text/plain' multipart/form-data application/octet-stream \
        'application/pgp-encrypted-not' '*/*'; do
        ask peer PUT /v1/deposits/bad --data-binary "@$KT_TMP/bodies/good" -H "Content-Type: $type" \
            -H "KT-Deposit-Id: $(new_uuid)" -H "KT-SHA256: $(sha256sum "$KT_TMP/bodies/good" | cut -c 1-64)"
    done
    ask none POST /v1/clients -H 'Content-Type: application/xml' --data-binary '<a/>'
    ask none POST /v1/clients -H 'Content-Type: application/x-www-form-urlencoded' --data-binary 'auth_code=x'
}
attempt content-types '415 content_type' 'other content types, lists of them, forms, XML' types
encodings() {
    gzip -c "$KT_TMP/bodies/text" >"$KT_TMP/bodies/gz"
    put peer bad "$KT_TMP/bodies/gz" "$(new_uuid)" -H 'Content-Encoding: gzip'
}
attempt content-encoding '4@(00|15|22) *' 'a body that says it is compressed' encodings

post_json() {
    local text

    for text in "$@"; do
        printf '%s' "$text" >"$KT_TMP/bodies/json"
        ask none POST /v1/clients -H 'Content-Type: application/json' --data-binary "@$KT_TMP/bodies/json"
    done
}
deep_json() {
    post_json "{\"auth_code\":$(printf '[%.0s' {1..40000})" "$(printf '{"a":%.0s' {1..10000})1$(printf '}%.0s' {1..10000})" \
        "$(printf '[%.0s' {1..30000})$(printf ']%.0s' {1..30000})"
}
attempt json-deep '400 bad_request' 'JSON of 40000 levels' deep_json
attempt json-numbers '400 bad_request' 'numbers of a thousand digits, exponents, no numbers' \
    post_json "{\"auth_code\": $(printf '9%.0s' {1..1000})}" '{"auth_code": 1e999999}' '{"auth_code": NaN}' '{"auth_code": -}' '{"auth_code": 01}'
attempt json-twice '400 bad_request' 'members twice, unknown members, wrong types' \
    post_json '{"auth_code":"a","auth_code":"b","name":"x","csr":"c","openpgp":"b"}' '{"auth_code":"a","name":"x","csr":"c","openpgp":"b","admin":true}' \
    '{"auth_code":["a"],"name":"x","csr":"c","openpgp":"b"}' '[]' 'null' '""' '{}' '{"auth_code":{}}'
bad_utf8() {
    local bytes

    for bytes in '{"auth_code":"\377"}' '{"auth_code":"\300\200"}' '{"auth_code":"\355\240\200"}' '{"auth_code":"a' '{"auth_code":"a"}\000' \
        '\357\273\277{}' '{"auth_code":"\\u0000"}' '{"auth_code":"\\ud800"}'; do
        # shellcheck disable=SC2059 # the bytes are the format
        printf "$bytes" >"$KT_TMP/bodies/json"
        ask none POST /v1/clients -H 'Content-Type: application/json' --data-binary "@$KT_TMP/bodies/json"
    done
}
attempt json-utf8 '400 bad_request' 'invalid UTF-8, NUL, lone surrogates, a byte order mark' bad_utf8
nothing_stored() {
    observe "$(sql kts-01 "select count(*) from deposits where handle in ('bad', 'lies', 'slow', 'smuggled', 'stranger')") stored"
}
attempt nothing-was-stored '0 stored' 'of all that was refused something is in the database' nothing_stored
