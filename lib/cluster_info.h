// SPDX-License-Identifier: Apache-2.0
// confdir/cluster.json: who this cluster and this node are. Public facts only, no secrets.
#ifndef KT_CLUSTER_INFO_H
#define KT_CLUSTER_INFO_H

#include "lib/encode.h"
#include "lib/openpgp.h"

struct kt_cluster_info {
    struct kt_uuid cluster_id;
    char node[KT_NODE_NAME_MAX + 1];
    char openpgp_fingerprint[KT_OPENPGP_FINGERPRINT_TEXT]; // upper-case hex
    uint64_t openpgp_key_id;                               // its last 8 bytes
};

// Another key takes the place of the present one; what is no fingerprint changes nothing.
void kt_cluster_info_set_key(struct kt_cluster_info *info, const char *fingerprint);
// KT_ERR_NOT_INITIALISED when the file is missing.
int kt_cluster_info_load(const char *path, struct kt_cluster_info *info,
                         struct kt_error *error) KT_MUST_CHECK;
int kt_cluster_info_save(const char *path, const struct kt_cluster_info *info,
                         struct kt_error *error) KT_MUST_CHECK;

#endif
