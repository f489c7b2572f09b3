// SPDX-License-Identifier: Apache-2.0
// Between cmd_rotate.c (a node's own certificates) and rotate_ca.c (the cluster's CA).
#ifndef KTA_ROTATE_H
#define KTA_ROTATE_H

#include "ktadmin/common.h"
#include "lib/tls_pairs.h"

// New certificates for this node, from the CA that signs now; or with --dry-run what would be.
int kta_rotate_own(const struct kt_cli_run *run, int wants[KT_PAIRS],
                   struct kt_error *error) KT_MUST_CHECK;
// --ca.
int kta_rotate_ca(const struct kt_cli_run *run, struct kt_error *error) KT_MUST_CHECK;

#endif
