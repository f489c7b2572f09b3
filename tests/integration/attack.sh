#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The attempts of tests/attack in their short form, beside a load that must not notice; tests/attack/run
# makes all of them (P5 to P7, P9).
export KT_ATTACK_SHORT=${KT_ATTACK_SHORT:-yes}
. "$KT_SOURCE/tests/attack/round.sh"
