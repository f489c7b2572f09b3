#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The server never holds a plaintext in memory either (P5): images of all its processes, and of
# PostgreSQL's, taken while it runs with the rights that root has over it; and no process leaves a core.
#
# The node lives in a user namespace. Whoever made that has over its processes what root has over all:
# this script, which stays outside. So nobody has to be root for it.
. "$KT_SOURCE/tests/support/lib.sh"

IMAGE=$KT_BUILD/tests/memory_image

if ! unshare -U --map-current-user true 2>/dev/null; then
    skip "memory images: no user namespaces here"
    trap - EXIT
    echo "cases: 0 passed, 0 failed, 1 skipped"
    exit 0
fi

# As in lib.sh, inside the namespace.
start_server() {
    local name=$1 dir=${NODE_DIR[$1]}

    unshare -U --map-current-user "$KTS" --confdir "$dir" >>"$dir/logs/kts.log" 2>&1 </dev/null &
    NODE_PID[$name]=$!
    KT_PIDS[$!]="kts of $name"
}

start_database() {
    unshare -U --map-current-user "$KTADMIN" --confdir "${NODE_DIR[$1]}" db --start --background \
        >"$KT_TMP/$1.db.out" 2>&1
}

# Each process of the node: "pid name".
processes() {
    local pid

    postmaster_of kts-01 || problem "no postmaster"
    for pid in "${NODE_PID[kts-01]}" $(pgrep -P "${NODE_PID[kts-01]}") "$pid" $(pgrep -P "$pid"); do
        echo "$pid $(tr ' /' '__' <"/proc/$pid/comm")"
    done
}

# The images of all, below $KT_TMP/images.
take_images() {
    local pid name

    rm -rf "$KT_TMP/images"
    mkdir "$KT_TMP/images"
    while read -r pid name; do
        "$IMAGE" "$pid" "$KT_TMP/images/$name.$pid" >>"$KT_TMP/image.out" 2>&1 ||
            is_gone "$pid" || problem "no image of $name ($pid): $(tail -n 1 "$KT_TMP/image.out")"
    done < <(processes)
}

# Files of a folder that hold the bytes of a file, raw; or as hex or base64 at any alignment.
holders() {
    perl -e '
        use MIME::Base64;
        sub slurp { open(my $f, "<:raw", $_[0]) or return ""; local $/; my $all = <$f>; $all // "" }
        my $marker = slurp(shift);
        my @forms = ($marker, unpack("H*", $marker), uc unpack("H*", $marker));
        for my $shift (0 .. 2) {
            my $text = encode_base64(("\0" x $shift) . $marker, "");
            push @forms, substr($text, 4, length($text) - 8);
            (my $url = $forms[-1]) =~ tr|+/|-_|;
            push @forms, $url;
        }
        for my $file (@ARGV) {
            my $all = slurp($file);
            print "$file\n" if grep { index($all, $_) >= 0 } @forms;
        }' "$1" "${@:2}"
}

new_node_with_clients kts-01

check "secrets are deposited and fetched while images are taken"
for round in 1 2 3 4; do
    head -c 32 /dev/urandom >"$KT_TMP/marker.$round"
    succeeds client host-1 put "remembered-handle/$round" "$KT_TMP/marker.$round"
    succeeds client host-1 get "remembered-handle/$round" -o "$KT_TMP/got"
    same "$KT_TMP/got" "$KT_TMP/marker.$round"
done
take_images
[[ $(find "$KT_TMP/images" -size +500k | wc -l) -ge 9 ]] || problem "too few images: $(ls "$KT_TMP/images")"

check "the search reaches memory: the handle is in the worker's, the writer's, the audit's and PostgreSQL's"
printf 'remembered-handle' >"$KT_TMP/handle"
found=$(holders "$KT_TMP/handle" "$KT_TMP"/images/*)
for name in kts:_worker kts:_writer kts:_audit postgres; do
    grep -q "/$name" <<<"$found" || problem "not in $name: $found"
done
cp "$KT_TMP/marker.1" "$KT_TMP/control"
is "$(holders "$KT_TMP/marker.1" "$KT_TMP/control")" "$KT_TMP/control" "a file that holds it"

check "no secret is in the memory of any process of the server"
for round in 1 2 3 4; do
    is "$(holders "$KT_TMP/marker.$round" "$KT_TMP"/images/*)" "" "images that hold a secret"
done

check "what has passed through the door it holds no longer: the tokens that an operator was given and has sent"
succeeds admin kts-01 operator new watcher --output "$KT_TMP/watcher.pem"
# ask VERB BODY OPTION...
ask() {
    curl -s --max-time 20 --cacert "$(ca_of kts-01)" --resolve "keytrustee-node:${NODE_DOOR_PORT[kts-01]}:127.0.0.1" \
        -H 'Content-Type: application/json' -d "$2" "${@:3}" \
        "https://keytrustee-node:${NODE_DOOR_PORT[kts-01]}/v1/cluster/$1" >"$KT_TMP/verb"
}
token() {
    ask token.new '{}' --cert "$KT_TMP/watcher.pem"
    grep -o '"token": *"[^"]*"' "$KT_TMP/verb" | cut -d'"' -f4 | tr -d '\n' >"$1"
    [[ $(wc -c <"$1") -gt 40 ]] || problem "no token: $(cat "$KT_TMP/verb")"
}
token "$KT_TMP/passed.1"
sed 's/.$/!/' "$KT_TMP/passed.1" | tr -d '\n' >"$KT_TMP/passed.2"
ask join.begin '{}' -H "Authorization: Keytrustee $(cat "$KT_TMP/passed.2")"
has "$KT_TMP/verb" '"error"'
printf '{"expires_s": "%s"}' "$(head -c 3000 /dev/urandom | base64 -w 0)" >"$KT_TMP/body.3"
ask token.new "@$KT_TMP/body.3" --cert "$KT_TMP/watcher.pem"
has "$KT_TMP/verb" '"error"'
head -c 3000 "$KT_TMP/body.3" | tail -c 64 >"$KT_TMP/passed.3"
token "$KT_TMP/passed.4" # the last: nothing has come over it yet
take_images
for round in 1 2 3 4; do
    is "$(holders "$KT_TMP/passed.$round" "$KT_TMP"/images/kts:_door.*)" "" "images that hold what passed ($round)"
done

check "the account itself cannot take an image: the processes are not dumpable"
plain=$(pgrep -P "${NODE_PID[kts-01]}" | head -n 1)
exits some unshare -U --map-current-user "$IMAGE" "$plain" "$KT_TMP/forbidden"

check "no process may leave a core, and a worker that is made to crash leaves none"
while read -r pid name; do
    [[ $name == kts* ]] || continue
    has "/proc/$pid/limits" '^Max core file size +0 +0 '
done < <(processes)
worker=$(processes | awk '/kts:_worker/ { print $1; exit }')
# As root: the limit is lifted, where that is possible here. A process that is not dumpable leaves no core.
prlimit --pid "$worker" --core=unlimited 2>/dev/null && echo "# the worker's limit was lifted"
kill -SEGV "$worker"
comes_true 10 is_gone "$worker"
comes_true 20 ready kts-01
is "$(find "$KT_TMP" / -xdev -maxdepth 4 -name 'core*' -newer "$KT_TMP/handle" -type f -user "$(id -un)" 2>/dev/null)" "" "cores"
if command -v gcore >/dev/null; then
    worker=$(processes | awk '/kts:_worker/ { print $1; exit }')
    if gcore -o "$KT_TMP/forced" "$worker" >"$KT_TMP/gcore.out" 2>&1; then
        for round in 1 2 3 4; do
            is "$(holders "$KT_TMP/marker.$round" "$KT_TMP/forced.$worker")" "" "a forced core holds a secret"
        done
        client host-1 get remembered-handle/1 >/dev/null 2>&1
    else
        echo "# gcore: $(tail -n 1 "$KT_TMP/gcore.out")"
    fi
fi

finish
