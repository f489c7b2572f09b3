#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A short round of the fault campaign with two nodes; tests/chaos/run makes long ones, and says with how
# many (P1 to P4).
. "$KT_SOURCE/tests/chaos/campaign.sh"
