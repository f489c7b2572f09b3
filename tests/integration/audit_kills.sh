#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A short run of tests/audit/kills: no answer without its record, whatever is killed (P6).
# KT_AUDIT_KILLS asks for more kills.
. "$KT_SOURCE/tests/audit/kills" --kills "${KT_AUDIT_KILLS:-25}"
