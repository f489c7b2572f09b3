// SPDX-License-Identifier: Apache-2.0
// The line of a cluster's keys: read back from the newest, by hashes.
#include "lib/key_line.h"

#include <stdlib.h>
#include <string.h>

#include "lib/file.h"
#include "lib/json.h"

#define VERSION 1

void kt_key_line_free(struct kt_key_line *line)
{
    for (size_t i = 0; i < line->count; i++)
        free(line->links[i].text);
    line->count = 0;
}

// --- reading back ---

static int no_memory(struct kt_error *error)
{
    return kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
}

// Behind the others: turned round at the end.
static int add(struct kt_key_line *line, const char *text, const struct kt_key_statement *statement,
               struct kt_error *error)
{
    struct kt_key_link *link = &line->links[line->count];

    link->text = strdup(text);
    if (!link->text)
        return no_memory(error);
    link->statement = *statement;
    line->count++;
    return 0;
}

static void turn_round(struct kt_key_line *line)
{
    for (size_t i = 0; i < line->count / 2; i++) {
        struct kt_key_link one = line->links[i];
        line->links[i] = line->links[line->count - 1 - i];
        line->links[line->count - 1 - i] = one;
    }
}

// The last one: of all that name the key, one that it has signed itself.
static int find_last(const json_t *list, const struct kt_uuid *cluster_id, const char *key,
                     struct kt_key_line *line, struct kt_error *error)
{
    struct kt_key_statement read;
    const json_t *one;
    size_t i;
    int rc = 0;

    json_array_foreach(list, i, one)
    {
        const char *text = json_string_value(one);
        if (!text || kt_key_statement_read(text, strlen(text), &read) != 0 ||
            strcmp(read.next, key) != 0 ||
            memcmp(&read.cluster_id, cluster_id, sizeof(*cluster_id)) != 0)
            continue;
        rc = kt_key_statement_verify(text, strlen(text), &read, error);
        if (rc == 0)
            return add(line, text, &read, error);
    }
    return rc;
}

static int find_before(const json_t *list, struct kt_key_line *line, struct kt_error *error)
{
    const struct kt_key_statement *after = &line->links[line->count - 1].statement;
    struct kt_key_statement read;
    uint8_t hash[KT_SHA256_LEN];
    const json_t *one;
    size_t i;

    json_array_foreach(list, i, one)
    {
        const char *text = json_string_value(one);
        if (text && kt_sha256(text, strlen(text), hash) == 0 &&
            memcmp(hash, after->before, sizeof(hash)) == 0 &&
            kt_key_statement_read(text, strlen(text), &read) == 0 &&
            strcmp(read.next, after->key) == 0 && read.number + 1 == after->number)
            return add(line, text, &read, error);
    }
    return kt_error_set(error, KT_ERR_SIGNATURE, NULL,
                        "the statement that names the cluster's key %s is missing", after->key);
}

static int read_back(const json_t *list, const struct kt_uuid *cluster_id, const char *key,
                     struct kt_key_line *line, struct kt_error *error)
{
    int rc = find_last(list, cluster_id, key, line, error);

    while (rc == 0 && line->count > 0 && line->links[line->count - 1].statement.number > 1)
        rc = line->count < KT_CLUSTER_KEYS_MAX
                 ? find_before(list, line, error)
                 : kt_error_set(error, KT_ERR_SIGNATURE, NULL, "the line of keys is too long");
    if (rc)
        kt_key_line_free(line);
    else
        turn_round(line);
    return rc;
}

int kt_key_line_parse(const char *text, size_t n, const struct kt_uuid *cluster_id, const char *key,
                      struct kt_key_line *line, struct kt_error *error)
{
    static const char *const NAMES[] = {"version", "statements", NULL};
    struct kt_error why = {0};
    json_t *object = NULL;
    int64_t version = 0;
    int rc = kt_json_parse_object(text, n, &object, &why);

    line->count = 0;
    if (rc == 0)
        rc = kt_json_only(object, NAMES, &why);
    if (rc == 0)
        rc = kt_json_integer(object, "version", VERSION, VERSION, 1, &version, &why);
    if (rc == 0 && !json_is_array(json_object_get(object, "statements")))
        rc = kt_error_set(&why, KT_ERR_INVALID, NULL, "'statements' is not an array");
    if (rc)
        rc = kt_error_set(error, KT_ERR_INVALID, NULL, "no list of the cluster's keys: %.300s",
                          why.message);
    else
        rc = read_back(json_object_get(object, "statements"), cluster_id, key, line, error);
    json_decref(object);
    return rc;
}

// --- the file ---

static int path_of(const struct kt_paths *paths, char out[KT_PATH_MAX], struct kt_error *error)
{
    return kt_path_join(out, KT_PATH_MAX, paths->confdir, KT_KEY_LINE_FILE)
               ? kt_error_set(error, KT_ERR_TOO_LARGE, NULL, "a path in the confdir is too long")
               : 0;
}

int kt_key_line_load(const struct kt_paths *paths, const struct kt_uuid *cluster_id,
                     const char *key, struct kt_key_line *line, struct kt_error *error)
{
    struct kt_error why = {0};
    char path[KT_PATH_MAX], *text = NULL;
    int rc = path_of(paths, path, error);

    line->count = 0;
    if (rc)
        return rc;
    rc = kt_file_read_text(path, KT_KEY_LINE_MAX, &text, &why);
    if (rc == KT_ERR_NOT_FOUND)
        return 0;
    if (rc == 0)
        rc = kt_key_line_parse(text, strlen(text), cluster_id, key, line, &why);
    if (rc)
        kt_error_set(error, rc, "remove it: a node that runs writes it again", "'%s': %.300s", path,
                     why.message);
    free(text);
    return rc;
}

int kt_key_line_save(const struct kt_paths *paths, const char *text, struct kt_error *error)
{
    char path[KT_PATH_MAX], *there = NULL;
    int is_same, rc = path_of(paths, path, error);

    if (rc)
        return rc;
    is_same =
        kt_file_read_text(path, KT_KEY_LINE_MAX, &there, NULL) == 0 && strcmp(there, text) == 0;
    free(there);
    return is_same ? 0 : kt_file_replace(path, text, strlen(text), 0600, error);
}

// --- what it says ---

int kt_key_line_has(const struct kt_key_line *line, const char *fingerprint)
{
    for (size_t i = 0; i < line->count; i++) {
        if (strcmp(line->links[i].statement.key, fingerprint) == 0)
            return 1;
    }
    return 0;
}

int kt_key_line_follow(const struct kt_key_line *line, const char *key, struct kt_error *error)
{
    struct kt_key_statement checked;
    size_t i = 0;
    int rc = 0;

    while (i < line->count && strcmp(line->links[i].statement.key, key) != 0)
        i++;
    if (i == line->count)
        return kt_error_set(error, KT_ERR_NOT_FOUND, NULL, "no statement leads on from the key %s",
                            key);
    for (; rc == 0 && i < line->count; i++)
        rc = kt_key_statement_verify(line->links[i].text, strlen(line->links[i].text), &checked,
                                     error);
    return rc;
}
