// SPDX-License-Identifier: Apache-2.0
// The payload of KTS_CTL_RELOAD: settings and TLS material for children that can open no files.
#ifndef KTS_RELOAD_H
#define KTS_RELOAD_H

#include "lib/buf.h"
#include "lib/cluster_info.h"
#include "lib/log.h"
#include "lib/secret.h"
#include "lib/settings.h"

// The master's side. Settings go as "section.name=value" lines, those that are set only.
// `cert`, `key` and `ca` are PEM: TLS material for workers and the door; for the writer the CA's
// certificates, and `key` alone, by which it is to sign receipts; empty for all others.
struct kts_reload_source {
    const struct kt_settings *settings;
    const struct kt_buf *cert;   // or NULL
    const struct kt_secret *key; // or NULL
    const struct kt_buf *ca;     // or NULL
    const char *fingerprint;     // of the cluster's OpenPGP key
};
int kts_reload_encode(const struct kts_reload_source *source, struct kt_buf *out) KT_MUST_CHECK;

// The child's side: new settings (the caller frees them) and views into the payload.
struct kts_reload {
    struct kt_settings *settings;
    const uint8_t *cert, *key, *ca;
    size_t cert_len, key_len, ca_len; // 0: not for this child
    char fingerprint[KT_OPENPGP_FINGERPRINT_TEXT];
};
int kts_reload_decode(struct kt_buf *payload, struct kts_reload *reload,
                      struct kt_error *error) KT_MUST_CHECK;
// The message may bring the descriptor of the newly opened log file: it takes the place of the old
// one. Closes `fd`; -1 is fine.
void kts_reload_log(int fd);
// Takes over the cluster's OpenPGP key.
void kts_reload_info(struct kt_cluster_info *info, const struct kts_reload *reload);
// Takes over log.level.
void kts_reload_level(const struct kt_settings *settings);
// "error" ... "debug" of log.level as a level.
enum kt_log_level kts_log_level(const struct kt_settings *settings);

#endif
