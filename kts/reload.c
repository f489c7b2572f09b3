// SPDX-License-Identifier: Apache-2.0
// The payload of KTS_CTL_RELOAD.
#include "kts/reload.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TEXT_MAX (64u << 10)
#define PEM_MAX  (32u << 10)

int kts_reload_encode(const struct kts_reload_source *source, struct kt_buf *out)
{
    struct kt_buf text = KT_BUF_INIT(TEXT_MAX);
    int rc = 0;

    for (int i = 0; rc == 0 && i < KT_SET_COUNT; i++) {
        const struct kt_setting_info *info = kt_setting_info((enum kt_setting)i);
        if (kt_settings_is_set(source->settings, info->id))
            rc = kt_buf_putf(&text, "%s.%s=%s\n", info->section, info->name,
                             kt_settings_text(source->settings, info->id));
    }
    if (rc == 0)
        rc = kt_buf_put_block(out, kt_buf_ptr(&text), kt_buf_left(&text));
    if (rc == 0)
        rc = source->cert
                 ? kt_buf_put_block(out, kt_buf_ptr(source->cert), kt_buf_left(source->cert))
                 : kt_buf_put_cstr(out, NULL);
    if (rc == 0)
        rc = source->key
                 ? kt_buf_put_block(out, kt_secret_text(source->key), kt_secret_len(source->key))
                 : kt_buf_put_cstr(out, NULL);
    if (rc == 0)
        rc = source->ca ? kt_buf_put_block(out, kt_buf_ptr(source->ca), kt_buf_left(source->ca))
                        : kt_buf_put_cstr(out, NULL);
    if (rc == 0)
        rc = kt_buf_put_cstr(out, source->fingerprint);
    kt_buf_free(&text);
    return rc;
}

static int set_line(struct kt_settings *settings, char *line, struct kt_error *error)
{
    char *value = strchr(line, '=');

    if (!value)
        return kt_error_set(error, KT_ERR_PROTOCOL, NULL, "reload: a line without \"=\"");
    *value++ = '\0';
    for (int i = 0; i < KT_SET_COUNT; i++) {
        const struct kt_setting_info *info = kt_setting_info((enum kt_setting)i);
        size_t n = strlen(info->section);
        if (strncmp(line, info->section, n) == 0 && line[n] == '.' &&
            strcmp(line + n + 1, info->name) == 0)
            return kt_settings_set(settings, info->id, value, error);
    }
    return kt_error_set(error, KT_ERR_PROTOCOL, NULL, "reload: unknown setting '%s'", line);
}

static int decode_settings(const uint8_t *bytes, size_t n, struct kt_settings **settings,
                           struct kt_error *error)
{
    char *text = strndup((const char *)bytes, n);
    struct kt_settings *fresh = NULL;
    char *rest = text, *line;
    int rc = text ? kt_settings_new(&fresh) : KT_ERR_NO_MEMORY;

    if (rc)
        kt_error_set(error, rc, NULL, "reload: %s", kt_err_text(rc));
    while (rc == 0 && (line = strsep(&rest, "\n")) != NULL) {
        if (*line)
            rc = set_line(fresh, line, error);
    }
    free(text);
    if (rc)
        kt_settings_free(fresh);
    else
        *settings = fresh;
    return rc;
}

int kts_reload_decode(struct kt_buf *payload, struct kts_reload *reload, struct kt_error *error)
{
    struct kts_reload fresh = {.settings = NULL};
    const uint8_t *text;
    size_t n;
    int rc;

    if (kt_buf_get_block(payload, &text, &n, TEXT_MAX) ||
        kt_buf_get_block(payload, &fresh.cert, &fresh.cert_len, PEM_MAX) ||
        kt_buf_get_block(payload, &fresh.key, &fresh.key_len, PEM_MAX) ||
        kt_buf_get_block(payload, &fresh.ca, &fresh.ca_len, PEM_MAX) ||
        kt_buf_get_cstr(payload, fresh.fingerprint, sizeof(fresh.fingerprint)))
        return kt_error_set(error, KT_ERR_PROTOCOL, NULL, "reload: malformed message");
    rc = decode_settings(text, n, &fresh.settings, error);
    if (rc == 0)
        *reload = fresh;
    return rc;
}

void kts_reload_log(int fd)
{
    if (fd < 0)
        return;
    if (fd != kt_log_fd()) {
        // Over the old number: nothing else has to be told, and the sandbox lets no file be opened.
        if (dup2(fd, kt_log_fd()) < 0)
            kt_log(KT_LOG_WARNING, "log: the new file could not be taken over");
        close(fd);
    }
}

void kts_reload_info(struct kt_cluster_info *info, const struct kts_reload *reload)
{
    kt_cluster_info_set_key(info, reload->fingerprint);
}

enum kt_log_level kts_log_level(const struct kt_settings *settings)
{
    static const struct {
        const char *name;
        enum kt_log_level level;
    } LEVELS[] = {
        {"error", KT_LOG_ERROR}, {"warning", KT_LOG_WARNING}, {"notice", KT_LOG_NOTICE},
        {"info", KT_LOG_INFO},   {"debug", KT_LOG_DEBUG},
    };
    const char *text = kt_settings_text(settings, KT_SET_LOG_LEVEL);

    for (size_t i = 0; text && i < sizeof(LEVELS) / sizeof(LEVELS[0]); i++) {
        if (strcmp(text, LEVELS[i].name) == 0)
            return LEVELS[i].level;
    }
    return KT_LOG_INFO;
}

void kts_reload_level(const struct kt_settings *settings)
{
    kt_log_set_level(kts_log_level(settings));
}
