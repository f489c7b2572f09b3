// SPDX-License-Identifier: Apache-2.0
// Opening and closing a client, and what every call of the library does first and last.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "client/client.h"
#include "lib/file.h"
#include "lib/version.h"

#define DEFAULT_TIMEOUT_MS 30000
#define DEFAULT_CONNECT_MS 1000
#define ROOT_CONFDIR       "/var/lib/keytrustee-client"

const char *keytrustee_version(void)
{
    return KT_VERSION;
}

int ktc_confdir_default(char *out, size_t size, struct kt_error *error)
{
    const char *named = getenv("KEYTRUSTEE_CONFDIR");
    const char *home = getenv("HOME");
    int n = 0;

    if (named != NULL && named[0] != '\0')
        n = snprintf(out, size, "%s", named);
    else if (geteuid() == 0)
        n = snprintf(out, size, "%s", ROOT_CONFDIR);
    else if (home != NULL && home[0] == '/')
        n = snprintf(out, size, "%s/.config/keytrustee", home);
    else
        return kt_error_set(error, KT_ERR_USAGE, "give --confdir, or set KEYTRUSTEE_CONFDIR",
                            "no home directory to keep the client's keys in");
    if (n < 0 || (size_t)n >= size)
        return kt_error_set(error, KT_ERR_TOO_LARGE, NULL, "the confdir's path is too long");
    return 0;
}

int ktc_path(const struct keytrustee *client, const char *name, char out[KT_PATH_MAX])
{
    return kt_path_join(out, KT_PATH_MAX, client->confdir, name);
}

int ktc_path_in(const struct keytrustee *client, const char *folder, const char *name,
                const char *suffix, char out[KT_PATH_MAX])
{
    int n = snprintf(out, KT_PATH_MAX, "%s/%s/%s%s", client->confdir, folder, name, suffix);

    return n > 0 && n < KT_PATH_MAX ? 0 : KT_ERR_TOO_LARGE;
}

void ktc_warn(const struct keytrustee *client, const char *hint, const char *fmt, ...)
{
    char message[512];
    va_list ap;

    if (client->warn == NULL)
        return;
    va_start(ap, fmt);
    vsnprintf(message, sizeof message, fmt, ap);
    va_end(ap);
    client->warn(client->warn_arg, message, hint ? hint : "");
}

// Copies the caller's options over the defaults; an older caller's structure is shorter.
static void take_options(const struct keytrustee_options *from, struct keytrustee_options *to)
{
    memset(to, 0, sizeof *to);
    if (from != NULL && from->size >= sizeof from->size)
        memcpy(to, from, from->size < sizeof *to ? from->size : sizeof *to);
    if (to->timeout_ms <= 0)
        to->timeout_ms = DEFAULT_TIMEOUT_MS;
    if (to->connect_timeout_ms <= 0)
        to->connect_timeout_ms = DEFAULT_CONNECT_MS;
}

static int open_client(const struct keytrustee_options *options, struct keytrustee **client,
                       struct kt_error *error)
{
    struct keytrustee_options given;
    char path[KT_PATH_MAX];
    struct keytrustee *made = calloc(1, sizeof *made);
    int rc = 0;

    if (made == NULL)
        return KT_ERR_NO_MEMORY;
    take_options(options, &given);
    made->timeout_ms = given.timeout_ms;
    made->connect_timeout_ms = given.connect_timeout_ms;
    made->warn = given.warn;
    made->warn_arg = given.warn_arg;
    if (given.confdir == NULL || given.confdir[0] == '\0')
        rc = ktc_confdir_default(made->confdir, sizeof made->confdir, error);
    else if (strlen(given.confdir) >= sizeof made->confdir)
        rc = kt_error_set(error, KT_ERR_TOO_LARGE, NULL, "the confdir's path is too long");
    else
        snprintf(made->confdir, sizeof made->confdir, "%s", given.confdir);
    if (rc == 0)
        rc = ktc_path(made, "client.json", path);
    if (rc == 0 && kt_file_exists(path)) {
        rc = kt_file_check_private(path, 0, error);
        if (rc == 0)
            rc = ktc_state_load(path, &made->state, error);
    }
    if (rc == 0 && given.servers != NULL)
        rc = ktc_choose_servers(given.servers, &made->state, error);
    if (rc == 0) {
        ktc_servers_load(made);
        *client = made;
    } else {
        free(made);
    }
    return rc;
}

int keytrustee_open(const struct keytrustee_options *options, struct keytrustee **client,
                    struct keytrustee_error *error)
{
    struct kt_error why = {0};

    return ktc_end(NULL, open_client(options, client, &why), &why, error);
}

void keytrustee_set_timeouts(struct keytrustee *client, int timeout_ms, int connect_timeout_ms)
{
    if (timeout_ms > 0)
        client->timeout_ms = timeout_ms;
    if (connect_timeout_ms > 0)
        client->connect_timeout_ms = connect_timeout_ms;
}

void keytrustee_answered_by(const struct keytrustee *client, struct keytrustee_source *source)
{
    *source = client->source;
}

void keytrustee_close(struct keytrustee *client)
{
    if (client == NULL)
        return;
    ktc_servers_disconnect(client);
    kt_gpg_free(client->gpg);
    free(client);
}

void ktc_begin(struct keytrustee *client)
{
    client->request[0] = '\0';
    client->deadline = kt_monotonic_now() + (int64_t)client->timeout_ms * 1000;
}

int ktc_time_left(const struct keytrustee *client)
{
    int64_t left = (client->deadline - kt_monotonic_now()) / 1000;

    if (left < 0)
        return 0;
    return left > INT_MAX ? INT_MAX : (int)left;
}

int ktc_end(struct keytrustee *client, int rc, const struct kt_error *why,
            struct keytrustee_error *error)
{
    const struct kt_err_info *info = kt_err_info(rc);

    if (client != NULL)
        ktc_ca_catch_up(client);
    if (rc == 0 && client != NULL) {
        struct keytrustee_source source = client->source;
        ktc_certificate_renew(client);
        client->source = source;
    } else if (client != NULL) {
        ktc_certificate_warn(client);
    }
    if (error == NULL)
        return info->exit;
    memset(error, 0, sizeof *error);
    error->result = info->exit;
    if (rc == 0)
        return KEYTRUSTEE_OK;
    if (rc == KT_ERR_VOTES_REQUIRED && client != NULL)
        snprintf(error->request, sizeof error->request, "%s", client->request);
    // Words of an earlier, mended failure must not go with another code.
    int same = why != NULL && why->code == rc && why->message[0] != '\0';
    snprintf(error->name, sizeof error->name, "%s", info->name);
    snprintf(error->message, sizeof error->message, "%s", same ? why->message : info->text);
    snprintf(error->hint, sizeof error->hint, "%s",
             same ? why->hint : (info->hint ? info->hint : ""));
    return error->result;
}

int ktc_need_registration(const struct keytrustee *client, struct kt_error *error)
{
    if (client->state.client[0] != '\0' && client->state.server_count > 0)
        return 0;
    return kt_error_set(error, KT_ERR_CERTIFICATE_MISSING,
                        "run keytrustee register, or check --confdir and KEYTRUSTEE_CONFDIR",
                        "no registered client in \"%s\"", client->confdir);
}

int ktc_need_gpg(struct keytrustee *client, struct kt_error *error)
{
    char home[KT_PATH_MAX];
    int rc = 0;

    if (client->gpg != NULL)
        return 0;
    rc = ktc_path(client, "gnupg", home);
    if (rc == 0)
        rc = kt_gpg_new(home, &client->gpg, error);
    return rc;
}

int ktc_lock(const struct keytrustee *client, int *fd, struct kt_error *error)
{
    char path[KT_PATH_MAX];
    int rc = ktc_path(client, ".lock", path);
    int lock = -1;

    if (rc != 0)
        return rc;
    lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (lock < 0)
        return kt_error_errno(error, "cannot open \"%s\"", path);
    while (flock(lock, LOCK_EX) != 0) {
        if (errno != EINTR) {
            rc = kt_error_errno(error, "cannot lock \"%s\"", path);
            close(lock);
            return rc;
        }
    }
    *fd = lock;
    return 0;
}

void ktc_printable(char *text)
{
    unsigned char *p = (unsigned char *)text;

    for (; *p != 0; p++) {
        if (*p < 0x20 || *p == 0x7f)
            *p = '?';
        else if (*p == 0xc2 && p[1] >= 0x80 && p[1] <= 0x9f) // U+0080 to U+009F
            p[0] = p[1] = '?';
    }
}
