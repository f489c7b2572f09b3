// SPDX-License-Identifier: Apache-2.0
// Older heads of the log that this host has seen and found good: a restore that has lost the last
// one has to go on from one of these.
#include <stdlib.h>
#include <string.h>

#include "client/client.h"
#include "lib/file.h"

#define PAST_FILE "log-heads"
#define PAST_MAX  64
#define MARK      "keytrustee-tree-head "

struct past {
    size_t count;
    char text[PAST_MAX][KT_TREE_HEAD_TEXT];
    struct kt_tree_head head[PAST_MAX];
};

static int add(struct past *past, const char *text, size_t n)
{
    if (past->count == PAST_MAX || n >= KT_TREE_HEAD_TEXT ||
        kt_tree_head_parse(text, n, &past->head[past->count]) != 0)
        return KT_ERR_INVALID;
    memcpy(past->text[past->count], text, n);
    past->text[past->count++][n] = '\0';
    return 0;
}

// One behind the other. A file that is damaged is worth nothing, and no reason to stop: the head of
// now is not in it alone.
static int load(const struct keytrustee *client, struct past *past)
{
    char path[KT_PATH_MAX], *text = NULL;
    int rc = ktc_path(client, PAST_FILE, path);

    past->count = 0;
    if (rc == 0 && kt_file_exists(path))
        rc = kt_file_read_text(path, (size_t)PAST_MAX * KT_TREE_HEAD_TEXT, &text, NULL);
    for (const char *at = text; rc == 0 && at != NULL && *at != '\0';) {
        const char *next = strstr(at + 1, "\n" MARK);
        size_t n = next != NULL ? (size_t)(next + 1 - at) : strlen(at);
        rc = add(past, at, n);
        at += n;
    }
    if (rc != 0) {
        past->count = 0;
        ktc_warn(client, NULL, "the older heads of the log in \"%s\" cannot be read", PAST_FILE);
    }
    free(text);
    return rc;
}

// The newer half stays whole; of the older one every second goes, so that what is left reaches back
// ever further in ever longer steps.
static void thin(struct past *past)
{
    size_t kept = 0;

    for (size_t i = 0; i < past->count; i++) {
        if (i < PAST_MAX / 2 && i % 2 == 1)
            continue;
        if (kept != i) {
            memcpy(past->text[kept], past->text[i], sizeof past->text[i]);
            past->head[kept] = past->head[i];
        }
        kept++;
    }
    past->count = kept;
}

int ktc_log_past_add(const struct keytrustee *client, const char *text, struct kt_error *error)
{
    struct past *past = calloc(1, sizeof *past);
    struct kt_buf out = KT_BUF_INIT((size_t)PAST_MAX * KT_TREE_HEAD_TEXT);
    char path[KT_PATH_MAX];
    int rc = past ? ktc_path(client, PAST_FILE, path) : KT_ERR_NO_MEMORY;

    if (rc == 0)
        (void)load(client, past); // a new one then begins
    if (rc == 0 && past->count == PAST_MAX)
        thin(past);
    if (rc == 0)
        rc = add(past, text, strlen(text));
    if (rc == 0 && past->count > 1 &&
        strcmp(past->text[past->count - 2], past->text[past->count - 1]) == 0)
        goto out;
    for (size_t i = 0; rc == 0 && i < past->count; i++)
        rc = kt_buf_put(&out, past->text[i], strlen(past->text[i]));
    if (rc == 0)
        rc = kt_file_replace(path, (const char *)kt_buf_ptr(&out), kt_buf_left(&out), 0600, error);
    else
        kt_error_set(error, rc, NULL, "the head of the log cannot be kept: %s", kt_err_text(rc));
out:
    kt_buf_free(&out);
    free(past);
    return rc;
}

int ktc_log_past_best(const struct keytrustee *client, const struct ktc_line *line,
                      struct kt_tree_head *best)
{
    struct past *past = calloc(1, sizeof *past);
    int rc = past ? load(client, past) : KT_ERR_NO_MEMORY;

    best->size = 0;
    for (size_t i = 0; rc == 0 && i < past->count; i++) {
        const struct kt_tree_head *head = &past->head[i];
        if (head->size > best->size && head->size <= ktc_line_last(line, &head->incarnation))
            *best = *head;
    }
    free(past);
    return rc;
}
