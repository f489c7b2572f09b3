// SPDX-License-Identifier: Apache-2.0
// Reading and replacing files of signed audit heads.
#include "lib/audit_heads.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/file.h"

#define BEGINNING "keytrustee-audit-head 1\n" // of each head

void kt_audit_heads_free(struct kt_audit_heads *heads)
{
    free(heads->heads);
    memset(heads, 0, sizeof(*heads));
}

int kt_audit_heads_add(struct kt_audit_heads *heads, const struct kt_audit_head *head)
{
    if (heads->count == heads->room) {
        size_t room = heads->room ? 2 * heads->room : 16;
        struct kt_audit_head *more = realloc(heads->heads, room * sizeof(*more));
        if (!more)
            return KT_ERR_NO_MEMORY;
        heads->heads = more;
        heads->room = room;
    }
    heads->heads[heads->count++] = *head;
    return 0;
}

// The last KT_AUDIT_HEADS_FILE_MAX bytes of a file that has more. KT_ERR_INVALID: no text.
static int read_end(const char *path, char **text, struct kt_error *error)
{
    char *bytes = calloc(1, KT_AUDIT_HEADS_FILE_MAX + 1);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY), rc = 0;
    size_t n = 0;
    struct stat st;
    off_t from = 0;

    if (!bytes)
        rc = kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    else if (fd < 0 || fstat(fd, &st))
        rc = kt_error_errno(error, "cannot read '%s'", path);
    else if (st.st_size > (off_t)KT_AUDIT_HEADS_FILE_MAX)
        from = st.st_size - (off_t)KT_AUDIT_HEADS_FILE_MAX;
    while (rc == 0 && n < KT_AUDIT_HEADS_FILE_MAX) {
        ssize_t got = pread(fd, bytes + n, KT_AUDIT_HEADS_FILE_MAX - n, from + (off_t)n);
        if (got == 0)
            break;
        if (got > 0)
            n += (size_t)got;
        else if (errno != EINTR)
            rc = kt_error_errno(error, "cannot read '%s'", path);
    }
    if (rc == 0 && strlen(bytes) != n)
        rc = kt_error_set(error, KT_ERR_INVALID, NULL, "'%s' is no text", path);
    if (fd >= 0)
        close(fd);
    if (rc)
        free(bytes);
    else
        *text = bytes;
    return rc;
}

// *at is where the first whole head begins.
static int read_text(const char *path, char **text, const char **at, int *cut,
                     struct kt_error *error)
{
    int rc = kt_file_read_text(path, KT_AUDIT_HEADS_FILE_MAX, text, error);

    *cut = rc == KT_ERR_TOO_LARGE;
    if (*cut)
        rc = read_end(path, text, error);
    if (rc)
        return rc;
    *at = *text;
    if (!*cut)
        return 0;
    *at = strstr(*text, "\n" BEGINNING);
    if (*at)
        (*at)++;
    return *at ? 0 : kt_error_set(error, KT_ERR_INVALID, NULL, "'%s' has no heads", path);
}

int kt_audit_heads_load(const char *path, struct kt_audit_heads *heads, struct kt_error *error)
{
    struct kt_audit_heads fresh = {0};
    struct kt_audit_head *one = malloc(sizeof(*one));
    const char *at = NULL;
    char *text = NULL;
    size_t left = 0;
    int rc = one ? read_text(path, &text, &at, &fresh.cut, error)
                 : kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");

    left = rc == 0 ? strlen(at) : 0;
    while (rc == 0 && left > 0) {
        size_t used = 0;
        rc = kt_audit_head_parse(at, left, one, &used);
        if (rc == 0 && (rc = kt_audit_heads_add(&fresh, one)) != 0)
            kt_error_set(error, rc, NULL, "out of memory");
        fresh.torn = rc == KT_ERR_TRUNCATED;
        fresh.damaged = rc == KT_ERR_INVALID;
        if (fresh.torn || fresh.damaged) {
            rc = 0;
            break;
        }
        at += used;
        left -= used;
    }
    free(text);
    free(one);
    if (rc == KT_ERR_INVALID) // no text of ours
        fresh.damaged = 1;
    if (rc == KT_ERR_NOT_FOUND || fresh.damaged)
        rc = 0;
    if (rc)
        kt_audit_heads_free(&fresh);
    else
        *heads = fresh;
    return rc;
}

int kt_audit_heads_save(const char *path, const struct kt_audit_heads *heads,
                        struct kt_error *error)
{
    struct kt_buf buf = KT_BUF_INIT(KT_AUDIT_HEADS_FILE_MAX);
    char text[KT_AUDIT_HEAD_TEXT];
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < heads->count; i++) {
        rc = kt_audit_head_format(&heads->heads[i], text);
        if (rc == 0)
            rc = kt_buf_put(&buf, text, strlen(text));
    }
    if (rc)
        kt_error_set(error, rc, NULL, "the audit heads cannot be written: %s", kt_err_text(rc));
    else
        rc = kt_file_replace(path, kt_buf_ptr(&buf), kt_buf_left(&buf), 0600, error);
    kt_buf_free(&buf);
    return rc;
}
