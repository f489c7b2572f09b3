// SPDX-License-Identifier: Apache-2.0
// What this node's own signed heads say of its audit log, looked at before the log is taken up.
#include <string.h>

#include "kts/audit_file.h"
#include "lib/audit_heads.h"
#include "lib/epoch.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/pki.h"

// Of this node, under whatever member id: the log goes on when that changes.
static int is_own(const struct kt_audit_head *head, const struct kt_cluster_info *info)
{
    char node[KT_NODE_NAME_MAX + 1];

    kt_member_node(head->member, node);
    return memcmp(&head->cluster, &info->cluster_id, sizeof(head->cluster)) == 0 &&
           strcmp(node, info->node) == 0;
}

static void take(const char *dir, const char *name, const struct kt_cluster_info *info, X509 *ca,
                 struct kts_audit_known *known)
{
    struct kt_audit_heads heads = {0};
    struct kt_error why = {0};
    char path[KT_PATH_MAX];

    if (kt_path_join(path, sizeof(path), dir, name))
        return;
    if (kt_audit_heads_load(path, &heads, &why)) {
        kt_log_error(&why, "signed audit heads cannot be read");
        return;
    }
    if (heads.damaged)
        kt_log(KT_LOG_ERROR, "'%s' is damaged behind its %zu heads", path, heads.count);
    for (size_t i = 0; i < heads.count; i++) {
        const struct kt_audit_head *head = &heads.heads[i];
        if (!is_own(head, info) || head->seq <= known->head.seq)
            continue;
        if (kt_audit_head_verify_kept(head, ca)) {
            kt_log(KT_LOG_ERROR, "'%s': the head %llu is not signed by this node", path,
                   (unsigned long long)head->seq);
            continue;
        }
        known->head.seq = head->seq;
        memcpy(known->head.hash, head->hash, KT_SHA256_LEN);
        known->file = head->file;
    }
    kt_audit_heads_free(&heads);
}

void kts_audit_known_load(const struct kt_paths *paths, const struct kt_cluster_info *info,
                          struct kts_audit_known *known)
{
    struct kt_error why = {0};
    X509 *ca = NULL;

    if (kt_pki_ca_load(paths->ca_cert, &ca, &why)) {
        kt_log_error(&why, "signed audit heads cannot be checked");
        return;
    }
    take(paths->audit, KT_AUDIT_HEADS_NAME, info, ca, known);
    take(paths->node, KT_AUDIT_HEADS_KNOWN, info, ca, known);
    X509_free(ca);
}
