// SPDX-License-Identifier: Apache-2.0
// A line of cluster keys, made with a real gpg: for tests of who trusts which key.
#ifndef KT_TEST_KEY_LINES_H
#define KT_TEST_KEY_LINES_H

#include <stdlib.h>
#include <string.h>

#include "lib/key_line.h"

struct lines {
    struct kt_gpg *gpg;
    struct kt_uuid cluster_id;
    char keys[3][KT_OPENPGP_FINGERPRINT_TEXT]; // the cluster's, the newest last
    char other[KT_OPENPGP_FINGERPRINT_TEXT];   // of the same name, in the same keyring, and no more
    char *statements[2];
};

// The statement that leads from `key` to `next`; `before` NULL: the first. The caller frees.
static inline char *line_statement(const struct lines *lines, const char *before, uint32_t number,
                                   const char *key, const char *next)
{
    struct kt_key_statement statement = {.cluster_id = lines->cluster_id,
                                         .number = number,
                                         .incarnation = {.number = 1, .bits = 1},
                                         .time_us = kt_time_now()};
    struct kt_buf out = KT_BUF_INIT(KT_KEY_STATEMENT_MAX);
    char *text = NULL;

    memcpy(statement.key, key, sizeof(statement.key));
    memcpy(statement.next, next, sizeof(statement.next));
    if ((!before || kt_sha256(before, strlen(before), statement.before) == 0) &&
        kt_key_statement_sign(lines->gpg, &statement, &out, NULL) == 0)
        text = strndup((const char *)kt_buf_ptr(&out), kt_buf_left(&out));
    kt_buf_free(&out);
    return text;
}

// The file's text with these, NULL among them left out. The caller frees.
static inline char *line_text(const char *const *statements, size_t count)
{
    json_t *list = json_array(), *object;
    char *text;

    for (size_t i = 0; i < count; i++) {
        if (statements[i])
            json_array_append_new(list, json_string(statements[i]));
    }
    object = json_pack("{s:i, s:o}", "version", 1, "statements", list);
    text = json_dumps(object, JSON_COMPACT);
    json_decref(object);
    return text;
}

// 0 when all of it could be made in `home`.
static inline int lines_make(struct lines *lines, const char *home,
                             const struct kt_uuid *cluster_id, struct kt_error *error)
{
    char user_id[KT_CLUSTER_USER_ID];
    int rc = kt_gpg_new(home, &lines->gpg, error);

    lines->cluster_id = *cluster_id;
    kt_cluster_key_user_id(cluster_id, user_id);
    for (size_t i = 0; rc == 0 && i < 3; i++)
        rc = kt_gpg_generate(lines->gpg, KT_GPG_CLIENT, user_id, lines->keys[i], error);
    if (rc == 0)
        rc = kt_gpg_generate(lines->gpg, KT_GPG_CLIENT, user_id, lines->other, error);
    if (rc)
        return rc;
    lines->statements[0] = line_statement(lines, NULL, 1, lines->keys[0], lines->keys[1]);
    lines->statements[1] =
        line_statement(lines, lines->statements[0], 2, lines->keys[1], lines->keys[2]);
    return lines->statements[0] && lines->statements[1] ? 0 : KT_ERR_CRYPTO;
}

static inline void lines_free(struct lines *lines)
{
    free(lines->statements[0]);
    free(lines->statements[1]);
    kt_gpg_free(lines->gpg);
}

#endif
