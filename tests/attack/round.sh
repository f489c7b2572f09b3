#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# One round of all attempts: scene, load, attempts, and the count. Started by tests/attack/run and by the
# integration test "attack".
#   KT_ATTACK_ONLY    only attempts or families of that name (a pattern)
#   KT_ATTACK_SHORT   yes: leaves out the attempts that take long
#   KT_ATTACK_JSON    a file for the results
#   KT_ATTACK_OTHER   a folder in which another account of this machine runs what it is told (other_account.sh)
. "$KT_SOURCE/tests/support/cluster.sh"
. "$KT_SOURCE/tests/attack/table.sh"
. "$KT_SOURCE/tests/attack/tools.sh"
. "$KT_SOURCE/tests/attack/scene.sh"

load_table "$KT_SOURCE/tests/attack"
: >"$JSON_ROWS"
make_scene
begin_load
make_phase load
end_load
make_phase after

if [[ -n ${KT_ATTACK_JSON:-} ]]; then
    { echo '['; sed '$!s/$/,/' "$JSON_ROWS"; echo ']'; } >"$KT_ATTACK_JSON"
fi
echo "attempts: $attempts_made made, $attempts_refused refused as expected, $controls_made controls," \
    "$attempts_skipped not made; load: $load_counts"
finish
