// SPDX-License-Identifier: Apache-2.0
// The cluster's OpenPGP key on a node's disk while it is replaced. The one in use is the one that
// cluster.json names; beside it:
//
//   private-keys-v1.d/<keygrip>.key   the next one's secret half, in GnuPG's home
//   cluster-key.json                  which one that is, and the statement that names it
//
// Both are written before the database lists the next key. When it does, cluster.json names it, then
// all older secret halves are overwritten, then cluster-key.json goes: whichever is the last that
// happens, the same steps may be taken again.
#ifndef KT_CLUSTER_KEY_H
#define KT_CLUSTER_KEY_H

#include "lib/cluster_info.h"
#include "lib/gpg.h"
#include "lib/key_statement.h"
#include "lib/paths.h"

#define KT_CLUSTER_KEYS_MAX     64 // that a cluster can have had; clients follow no longer line
#define KT_CLUSTER_KEY_FILE_MAX 32768
#define KT_CLUSTER_USER_ID      (sizeof("keytrustee cluster ") + KT_UUID_TEXT)

// The user id of all keys that a cluster ever had.
void kt_cluster_key_user_id(const struct kt_uuid *cluster_id, char out[KT_CLUSTER_USER_ID]);

struct kt_cluster_key_next {
    char fingerprint[KT_OPENPGP_FINGERPRINT_TEXT];
    char keygrip[KT_OPENPGP_FINGERPRINT_TEXT];
    char *statement; // NULL: a node that was away got the key when it was listed already
};
void kt_cluster_key_next_free(struct kt_cluster_key_next *next);
// KT_ERR_NOT_FOUND; KT_ERR_INVALID with the file's name.
int kt_cluster_key_next_load(const struct kt_paths *paths, struct kt_cluster_key_next *next,
                             struct kt_error *error) KT_MUST_CHECK;
int kt_cluster_key_next_save(const struct kt_paths *paths, const struct kt_cluster_key_next *next,
                             struct kt_error *error) KT_MUST_CHECK;
// 1 for 40 upper-case hex digits, as fingerprints and keygrips are.
int kt_cluster_key_is_id(const char *text);
// The file of a secret half.
int kt_cluster_key_path(const struct kt_paths *paths, const char *keygrip, char out[KT_PATH_MAX],
                        struct kt_error *error) KT_MUST_CHECK;
// Makes that secret half and the public keys durable: GnuPG does not.
int kt_cluster_key_sync(const struct kt_paths *paths, const char *keygrip,
                        struct kt_error *error) KT_MUST_CHECK;
// Names `fingerprint`, whose secret half must be in `gpg`, in cluster.json; erases those of all other
// keys of the cluster; forgets cluster-key.json. Nothing of that when it is in use and another one is
// to follow it. May be repeated after a kill anywhere.
int kt_cluster_key_use(const struct kt_paths *paths, struct kt_gpg *gpg, const char *fingerprint,
                       struct kt_error *error) KT_MUST_CHECK;

#endif
