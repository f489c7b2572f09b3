// SPDX-License-Identifier: Apache-2.0
// What manifest.c and manifest_parse.c share; for nobody else.
#ifndef KT_MANIFEST_INNER_H
#define KT_MANIFEST_INNER_H

#include "lib/manifest.h"

// In the order of enum kt_backup_kind; NULL-terminated.
extern const char *const kt_manifest_kinds[];

#endif
