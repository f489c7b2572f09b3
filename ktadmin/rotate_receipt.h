// SPDX-License-Identifier: Apache-2.0
// rotate --receipt-key: another key signs receipts, on all nodes.
#ifndef KTA_ROTATE_RECEIPT_H
#define KTA_ROTATE_RECEIPT_H

#include "ktadmin/nodes.h"

// Carries it out, or finishes what a killed run has begun, and prints what came of it. The exit code.
int kta_rotate_receipt_key(const struct kt_cli_run *run);
// Text of node.state's "receipt_key"; "" when the node did not say, or has none.
const char *kta_receipt_text(const struct kta_member *member, const char *name);
// 1 when the node has the newest key in its place, and no other one.
int kta_receipt_is_settled(const struct kta_member *member);
// 1 when the CA that signs now is not the one that certified this node's receipt key.
int kta_receipt_is_of_older_ca(const struct kt_paths *paths);

#endif
