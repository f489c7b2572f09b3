// SPDX-License-Identifier: Apache-2.0
// Between rotate_ca.c (another CA beside the one there is) and rotate_ca_finish.c (the older one ends).
#ifndef KTA_ROTATE_CA_H
#define KTA_ROTATE_CA_H

#include "ktadmin/nodes.h"
#include "ktadmin/rotate.h"

// --- rotate_ca.c ---
// Of the member "ca" of its state; "" without.
const char *kta_ca_text(const struct kta_member *member, const char *name);
// By --without.
int kta_ca_is_left_out(const struct kt_cli_run *run, const struct kta_member *member);
// All nodes but this one are handed what this one has. `use`: its newest root signs.
int kta_ca_hand(const struct kt_cli_run *run, struct kta_nodes *nodes, size_t self, int use,
                struct kt_error *error) KT_MUST_CHECK;
// Until each of them says that it has the same roots as this node, and (`in_order`) uses the same one.
int kta_ca_wait_until_known(const struct kt_cli_run *run, struct kta_nodes *nodes, size_t self,
                            int in_order, struct kt_error *error) KT_MUST_CHECK;

// --- rotate_ca_finish.c ---
// `nodes` were checked, `self` is the active and here.
int kta_ca_finish(const struct kt_cli_run *run, struct kta_nodes *nodes, size_t self,
                  struct kt_error *error) KT_MUST_CHECK;

#endif
