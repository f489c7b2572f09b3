// SPDX-License-Identifier: Apache-2.0
// Whose backup it is: a node's, a client's, or that of somebody else's folders.
#ifndef KTB_PLACE_H
#define KTB_PLACE_H

#include "lib/backup_read.h"
#include "lib/cli.h"
#include "lib/cluster_info.h"
#include "lib/settings.h"

struct ktb_place {
    enum kt_backup_kind kind;
    char confdir[KT_PATH_MAX]; // absolute, no links
    char base[KT_PATH_MAX];    // the folder above it
    char output[KT_PATH_MAX];  // where backups go unless --output says otherwise; "" = say it
    char state[KT_PATH_MAX];   // backup.json (lib/backup_state.h); "" = none is kept
    char gnupg[KT_PATH_MAX];   // the keyring that signs manifests; "" for KT_BACKUP_FILES
    char signer[KT_OPENPGP_FINGERPRINT_TEXT];
    char key[KT_BACKUP_KEY]; // the signer's public key, armored; filled by ktb_place_export
    struct kt_uuid cluster_id;
    char owner[64];               // as the manifest has it
    char host[256];               // for names of files
    char user[33], group[33];     // of the confdir's owner: for the archive
    struct kt_paths paths;        // of a node
    struct kt_settings *settings; // of a node, else NULL
    struct kt_cluster_info info;  // of a node
};

// Finds the confdir: --confdir, or the first of the places where one usually is. As root becomes
// its owner, unless that is root. KT_ERR_NOT_INITIALISED, KT_ERR_PERMISSION.
int ktb_place_open(const struct kt_cli_run *run, struct ktb_place *place,
                   struct kt_error *error) KT_MUST_CHECK;
void ktb_place_close(struct ktb_place *place);
// place->key, out of the keyring of `trust`.
int ktb_place_export(struct ktb_place *place, struct kt_gpg *gpg,
                     struct kt_error *error) KT_MUST_CHECK;
// The same for commands that can do without: 0 with place->confdir "" when there is none.
int ktb_place_try(const struct kt_cli_run *run, struct ktb_place *place,
                  struct kt_error *error) KT_MUST_CHECK;

// What manifests are checked with: --key FILE (a public key), or the place's own. Neither:
// trust->gpg NULL. Closed by ktb_trust_close.
struct ktb_trust {
    struct kt_backup_trust trust;
    int is_temporary;
};
int ktb_trust_open(const struct kt_cli_run *run, const struct ktb_place *place,
                   struct ktb_trust *trust, struct kt_error *error) KT_MUST_CHECK;
void ktb_trust_close(struct ktb_trust *trust);

// Absolute, links resolved. KT_ERR_NOT_FOUND.
int ktb_real_path(const char *path, char out[KT_PATH_MAX], struct kt_error *error) KT_MUST_CHECK;

#endif
