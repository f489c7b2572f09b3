#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# As chaos, with three nodes.
KT_CHAOS_NODES=3
. "$KT_SOURCE/tests/chaos/campaign.sh"
