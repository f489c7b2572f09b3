// SPDX-License-Identifier: Apache-2.0
// The heads of the log of deposits that are in the confdir: the last good one, the last that was
// refused, and those that a restore has made too long.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/client.h"
#include "lib/file.h"

#define HEAD_FILE    "log-head"
#define REFUSED_FILE HEAD_FILE ".refused"

int ktc_log_known(const struct keytrustee *client, char text[KT_TREE_HEAD_TEXT],
                  struct kt_tree_head *head, struct kt_error *error)
{
    char path[KT_PATH_MAX];
    char *read = NULL;
    int rc = ktc_path(client, HEAD_FILE, path);

    text[0] = '\0';
    if (rc != 0 || !kt_file_exists(path))
        return rc;
    rc = kt_file_read_text(path, KT_TREE_HEAD_TEXT - 1, &read, error);
    if (rc == 0 && kt_tree_head_parse(read, strlen(read), head) != 0)
        rc = kt_error_set(
            error, KT_ERR_SIGNATURE,
            "restore it from a backup of the confdir; without it this host begins anew",
            "\"%s\" is damaged: what the log was before is not known", path);
    if (rc == 0)
        snprintf(text, KT_TREE_HEAD_TEXT, "%s", read);
    free(read);
    return rc;
}

static int save(const struct keytrustee *client, const char *name, const char *text,
                struct kt_error *error)
{
    char path[KT_PATH_MAX];
    int rc = ktc_path(client, name, path);

    return rc == 0 ? kt_file_replace(path, text, strlen(text), 0600, error) : rc;
}

int ktc_log_refused(const struct keytrustee *client, const char *text, struct kt_error *error)
{
    return save(client, REFUSED_FILE, text, error);
}

static int put_aside(const struct keytrustee *client, const struct kt_tree_head *head,
                     const char *text, struct kt_error *error)
{
    char incarnation[KT_INCARNATION_TEXT], name[sizeof HEAD_FILE + KT_INCARNATION_TEXT + 1];

    kt_incarnation_format(&head->incarnation, incarnation);
    snprintf(name, sizeof name, HEAD_FILE ".%s", incarnation);
    return save(client, name, text, error);
}

int ktc_log_keep(const struct keytrustee *client, const char *before, const char *text, int aside,
                 struct kt_error *error)
{
    char now[KT_TREE_HEAD_TEXT];
    struct kt_tree_head head = {.size = 0};
    int fd = -1;
    int rc = ktc_lock(client, &fd, error);

    if (rc == 0)
        rc = ktc_log_known(client, now, &head, error);
    if (rc == 0 && strcmp(now, before) == 0) {
        if (aside)
            rc = put_aside(client, &head, now, error);
        if (rc == 0)
            rc = ktc_log_past_add(client, text, error);
        if (rc == 0)
            rc = save(client, HEAD_FILE, text, error);
    }
    if (fd >= 0)
        close(fd);
    return rc;
}
