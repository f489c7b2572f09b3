# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# shellcheck disable=SC2317 # called through the table
# Names that are read differently by different eyes. The attacker is a client with all rights on its own.
attacker handles load 'a client that plays with names'
row_short=no # tests/integration/bad_input.sh

control odd-but-good '20[01]' 'slashes, dots, colons, plus signs and 255 letters are a name' odd_but_good
odd_but_good() {
    local handle

    for handle in ../../etc/passwd . .. a:b+c@d "$(printf 'n%.0s' {1..255})" //x/ by-id; do
        put peer "$handle" "$KT_TMP/cipher"
        ask peer GET "/v1/deposits/$(escape "$handle")"
    done
}
get_each() { ask_both peer GET "$@"; }
attempt path-dots '404 route_unknown' 'dots as path segments, plain' \
    get_each /v1/deposits/../health /v1/../v1/deposits/x/../y /../../etc/passwd /v1/deposits/peer/own /v1//health /v1/health/
attempt path-escaped-dots '40[04] *' 'dots and slashes, escaped' \
    get_each /v1/%2e%2e/%2e%2e/etc/passwd /v1/deposits/%2e%2e%2f%2e%2e%2fetc%2fshadow /%2e%2e/.keytrustee/ca/key.pem \
    /v1%2Fdeposits%2Fpeer%2Fown /v1/deposits/..%5c..%5cx
attempt double-encoding '400 handle_invalid' 'encoded twice' get_each /v1/deposits/peer%252Fown /v1/deposits/%25252e /v1/deposits/a%2500
attempt bad-escapes '400 @(handle_invalid|bad_request)' 'escapes that are none, and bytes that no name has' \
    get_each /v1/deposits/a%2G /v1/deposits/a% /v1/deposits/a%2 /v1/deposits/%00 /v1/deposits/peer%2Fown%00 \
    /v1/deposits/a%0a /v1/deposits/a%0d%0aX:%20y /v1/deposits/%20 /v1/deposits/a%7f
attempt other-alphabets '400 handle_invalid' 'UTF-8, overlong UTF-8, look-alikes' \
    get_each /v1/deposits/%c3%a4 /v1/deposits/%c0%ae%c0%ae%c0%af /v1/deposits/peer%c0%afown /v1/deposits/peer%e2%88%95own \
    /v1/deposits/%ff%fe /v1/deposits/p%d0%b5er%2Fown /v1/deposits/%ef%bc%8e%ef%bc%8e
attempt name-too-long '400 handle_invalid' 'names of 256, 1000 and no letters' too_long
too_long() {
    put peer "$(printf 'n%.0s' {1..256})" "$KT_TMP/cipher"
    put peer "$(printf 'n%.0s' {1..1000})" "$KT_TMP/cipher"
    put peer '' "$KT_TMP/cipher"
}
attempt markup '400 @(handle_invalid|bad_request)' 'quotes, statements, markup, shell and format characters' \
    get_each "/v1/deposits/'%20or%201=1--" '/v1/deposits/%3Cscript%3E' '/v1/deposits/$(id)' '/v1/deposits/%60id%60' \
    '/v1/deposits/%25s%25n' '/v1/deposits/a;b' '/v1/deposits/a|b' '/v1/deposits/x*' '/v1/deposits/%7B%7D'
attempt queries '400 bad_request' 'parameters twice, unknown, empty, too large, with NUL' \
    get_each '/v1/deposits/peer%2Fown?version=1&version=2' '/v1/deposits/peer%2Fown?version=' '/v1/deposits/peer%2Fown?version=0' \
    '/v1/deposits/peer%2Fown?version=-1' '/v1/deposits/peer%2Fown?version=1%00' '/v1/deposits/peer%2Fown?version=99999999999999999999' \
    '/v1/deposits/peer%2Fown?version=1;version=2' '/v1/deposits/peer%2Fown?Version=1' '/v1/deposits/peer%2Fown?version=0x1' \
    '/v1/deposits/peer%2Fown?client=victim' '/v1/deposits?prefix=a&prefix=b' '/v1/deposits?limit=0' '/v1/deposits?limit=-1' \
    '/v1/deposits?limit=1e3' '/v1/deposits?organisation=rival'
attempt ids '40[04] *' 'ids that are none, in capitals, with braces' \
    get_each /v1/deposits/by-id/x /v1/deposits/by-id/ "/v1/deposits/by-id/%7B$(new_uuid)%7D" /v1/deposits/by-id/../peer%2Fown \
    "/v1/deposits/by-id/$(new_uuid)/receipt" "/v1/deposits/by-id/00000000-0000-0000-0000-000000000000"
answer_splitting() {
    # Names come back in a header field.
    put peer "$(printf 'a\r\nSet-Cookie: x')" "$KT_TMP/cipher"
    ask peer GET '/v1/deposits/a%0d%0aKT-Epoch:%20999'
    grep -qi 'cookie\|999' "$KT_TMP/header" && observe 'a field was added'
}
attempt answer-splitting '400 handle_invalid' 'line ends in names, to add fields to an answer' answer_splitting
