// SPDX-License-Identifier: Apache-2.0
// What status tells of a whole cluster.
#ifndef KTA_STATUS_H
#define KTA_STATUS_H

#include "ktadmin/nodes.h"

// --- status_proofs.c ---
// Who could be promoted, and with whom, if the nodes that answer were sealed now: [{"node", "with":
// [["kts-03"], ...] (the smallest sets; [] in it: alone), "why" (when with none)}]. Asks all for
// node.rows.
json_t *kta_status_proofs(struct kta_nodes *nodes);
void kta_status_print_proofs(const json_t *proofs);

// --- status_table.c ---
// [{"node", "member", "reachable", "error", "state"}]
json_t *kta_status_nodes(const struct kta_nodes *nodes);
void kta_status_print_nodes(const struct kta_nodes *nodes);

// --- status_attention.c ---
// What wants attention, a sentence each; `proofs` is kta_status_proofs's. *exit_code receives 0,
// one of enum kta_exit, or KT_EXIT_REFUSED when nodes that may know better refuse the caller.
json_t *kta_status_attention(const struct kta_nodes *nodes, const json_t *proofs, int *exit_code);
// Overrides that the cluster's rows keep for ever.
json_t *kta_status_overrides(const struct kta_nodes *nodes);

// --- status_backup.c ---
// `backup` is what this node's agent says of its backups: a line for each thing worth knowing.
void kta_status_print_backup(const json_t *backup);
// Adds what wants attention: of one node, and of the last backup of them all.
void kta_status_look_at_backup(const struct kta_member *member, json_t *list);
void kta_status_look_at_backups(const struct kta_nodes *nodes, json_t *list);
// What is worth knowing and not wrong with the cluster: a sentence each. Does not count for the exit
// code.
json_t *kta_status_notes(const struct kta_nodes *nodes);

// --- status_endings.c ---
// What wants attention of the certificates of receipt key, operators and clients, as that node says.
void kta_status_look_at_endings(const struct kta_member *member, json_t *list);

// --- status_ca.c ---
// What wants attention of a replacement of the CA.
void kta_status_look_at_ca(const struct kta_nodes *nodes, size_t active, json_t *list);
// Since when two roots count.
void kta_status_note_ca(const struct kta_nodes *nodes, json_t *list);

#endif
