// SPDX-License-Identifier: Apache-2.0
// The rotation of the cluster's OpenPGP key, and what status says of it.
#ifndef KTA_ROTATE_CLUSTER_KEY_H
#define KTA_ROTATE_CLUSTER_KEY_H

#include "ktadmin/nodes.h"

// rotate --cluster-key; the exit code.
int kta_rotate_cluster_key(const struct kt_cli_run *run);
// A text of the node's "cluster_key", or "".
const char *kta_cluster_key_text(const struct kta_member *member, const char *name);
// What wants attention: a rotation that has not ended, a node that lacks the key, or has another one.
void kta_status_look_at_cluster_key(const struct kta_nodes *nodes, json_t *list);
// The key that counts, and since when.
void kta_status_note_cluster_key(const struct kta_nodes *nodes, json_t *status);
void kta_status_print_cluster_key(const json_t *status);

#endif
