// SPDX-License-Identifier: Apache-2.0
// SIGHUP: new settings, new TLS files, the log opened again; all of it, or for each part the old.
#include <fcntl.h>
#include <string.h>

#include "kts/master.h"
#include "kts/notify.h"
#include "kts/reload.h"
#include "lib/file.h"
#include "lib/log.h"

#define RECEIPT_MAX 16384

// Settings that need a restart keep their values; the log names those that would have changed.
static int keep_fixed(const struct kt_settings *old, struct kt_settings *fresh)
{
    struct kt_error why = {0};

    for (int i = 0; i < KT_SET_COUNT; i++) {
        const struct kt_setting_info *info = kt_setting_info((enum kt_setting)i);
        const char *before = kt_settings_text(old, info->id);
        if (info->reloadable || strcmp(before, kt_settings_text(fresh, info->id)) == 0)
            continue;
        kt_log(KT_LOG_WARNING, "%s.%s has changed and takes effect at the next restart",
               info->section, info->name);
        if (kt_settings_set(fresh, info->id, before, &why)) {
            kt_log_error(&why, "reload");
            return why.code;
        }
    }
    return 0;
}

// 1 when there are new settings, 0 when the old ones stay.
static int reload_settings(struct kts_master *master)
{
    struct kt_settings *fresh = NULL;
    struct kt_error why = {0};

    if (kt_settings_load(master->paths->settings, &fresh, &why)) {
        kt_log_error(&why, "the settings stay as they were");
        return 0;
    }
    if (keep_fixed(master->settings, fresh)) {
        kt_settings_free(fresh);
        return 0;
    }
    kt_settings_free(master->settings);
    master->settings = fresh;
    return 1;
}

void kts_master_open_log(struct kts_master *master)
{
    const char *file = kt_settings_text(master->settings, KT_SET_LOG_FILE);
    int rc = kt_log_open("kts", kts_log_level(master->settings), file);

    if (rc)
        kt_log_code(KT_LOG_ERROR, rc, "cannot open the log file '%s'", file);
}

// The key that the writer is to sign receipts by, if it is listed: the next one while it is rotated.
// NULL: the writer keeps the one it has.
static struct kt_secret *read_receipt_key(const struct kts_master *master)
{
    const struct kt_paths *paths = master->paths;
    int is_next = kt_file_exists(paths->receipt_next);
    struct kt_secret *key = NULL;
    struct kt_error why = {0};

    if (kt_secret_from_file(is_next ? paths->receipt_next : paths->receipt_key, RECEIPT_MAX, 0,
                            &key, &why))
        kt_log_error(&why, "the receipt key stays as it was");
    return key;
}

static void send_to_children(struct kts_master *master, const struct kt_secret *receipt_key)
{
    const char *key = master->info.openpgp_fingerprint;
    struct kts_reload_source source = {.settings = master->settings, .fingerprint = key};
    // The writer hands the CA to new clients.
    struct kts_reload_source signing = {.settings = master->settings,
                                        .key = receipt_key,
                                        .ca = &master->ca_cert,
                                        .fingerprint = key};
    struct kts_reload_source full = {master->settings, &master->server_cert, master->server_key,
                                     &master->ca_cert, key};
    struct kts_reload_source node = {master->settings, &master->node_cert, master->node_key,
                                     &master->ca_cert, key};
    struct kt_buf plain = KT_BUF_INIT(KTS_CONTROL_MAX), secret = KT_BUF_INIT(KTS_CONTROL_MAX),
                  writers = KT_BUF_INIT(KTS_CONTROL_MAX), doors = KT_BUF_INIT(KTS_CONTROL_MAX);
    int rc = kts_reload_encode(&source, &plain);

    if (rc == 0)
        rc = kts_reload_encode(&full, &secret);
    if (rc == 0)
        rc = kts_reload_encode(&signing, &writers);
    if (rc == 0)
        rc = kts_reload_encode(&node, &doors);
    if (rc)
        kt_log_code(KT_LOG_ERROR, rc, "the children keep their settings");
    for (struct kts_child *c = master->children; rc == 0 && c; c = c->next) {
        const struct kt_buf *payload = c->process == KTS_WORKER   ? &secret
                                       : c->process == KTS_WRITER ? &writers
                                       : c->process == KTS_DOOR   ? &doors
                                                                  : &plain;
        if (c->pid)
            kts_child_send(c, KTS_CTL_RELOAD, kt_buf_ptr(payload), kt_buf_left(payload),
                           fcntl(kt_log_fd(), F_DUPFD_CLOEXEC, 3));
    }
    kt_buf_free(&plain);
    kt_buf_free(&secret);
    kt_buf_free(&writers);
    kt_buf_free(&doors);
}

// Of the file that a rotation of the cluster's key replaces; node and cluster stay as they are.
static void reload_cluster_key(struct kts_master *master)
{
    struct kt_cluster_info fresh;
    struct kt_error why = {0};

    if (kt_cluster_info_load(master->paths->cluster, &fresh, &why))
        kt_log_error(&why, "the cluster's OpenPGP key stays as it was");
    else
        kt_cluster_info_set_key(&master->info, fresh.openpgp_fingerprint);
}

void kts_master_reload(struct kts_master *master)
{
    struct kt_secret *receipt_key;
    struct kt_error why = {0};
    int fresh;

    kts_notify_reloading();
    kts_master_as_owner(master);
    fresh = reload_settings(master);
    kts_master_open_log(master);
    if (kts_master_load_tls(master, &why))
        kt_log_error(&why, "the TLS files stay as they were");
    why = (struct kt_error){0};
    if (master->node_key && kts_master_load_node_tls(master, &why))
        kt_log_error(&why, "the agent's port keeps its certificate");
    reload_cluster_key(master);
    receipt_key = read_receipt_key(master);
    kts_master_as_root(master);
    send_to_children(master, receipt_key);
    kt_secret_free(receipt_key);
    if (fresh)
        kt_log(KT_LOG_NOTICE, "settings reloaded");
    if (master->ready)
        kts_notify_ready("serving");
}
