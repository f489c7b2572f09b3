// SPDX-License-Identifier: Apache-2.0
// What the jobs of the cluster key's rotation share.
#ifndef KTS_AGENT_CLUSTER_KEY_INNER_H
#define KTS_AGENT_CLUSTER_KEY_INNER_H

#include "kts/agent_cluster_key.h"
#include "lib/cluster_key.h"
#include "lib/gpg_stream.h"

#define KTS_CLUSTER_KEY_SEALED     "keytrustee cluster key" // purpose, as in lib/seal.h
#define KTS_CLUSTER_KEY_BASE64_MAX (4 * ((KT_CLUSTER_KEY_FILE_MAX + 2) / 3))

struct kts_cluster_keys {
    struct kt_gpg *gpg;
    struct kt_gpg_named list[KT_CLUSTER_KEYS_MAX]; // the cluster's with their secret half here
    size_t count;
    char user_id[KT_CLUSTER_USER_ID];
};

// The member of a job's arguments, "" without one.
const char *kts_cluster_key_text(const json_t *args, const char *name);
// Opens the home and lists; the caller frees keys->gpg.
int kts_cluster_keys_open(const struct kts_job *job, struct kts_cluster_keys *keys,
                          struct kt_error *error) KT_MUST_CHECK;
// Reads the list again.
int kts_cluster_keys_list(struct kts_cluster_keys *keys, struct kt_error *error) KT_MUST_CHECK;
// NULL: not there.
const struct kt_gpg_named *kts_cluster_keys_find(const struct kts_cluster_keys *keys,
                                                 const char *fingerprint);

#endif
