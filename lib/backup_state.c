// SPDX-License-Identifier: Apache-2.0
// backup.json: what became of the last backups, checks and drills.
#include "lib/backup_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/encode.h"
#include "lib/file.h"
#include "lib/json.h"

#define FORMAT_VERSION 1
#define FILE_MAX       16384

// What members of the state are, for reading and writing alike.
enum type {
    TYPE_TEXT,
    TYPE_U64,
    TYPE_TIME, // microseconds, not before 1970
    TYPE_FLAG,
    TYPE_SHA256,
};
static const struct member {
    const char *name;
    enum type type;
    size_t offset, size;
} MEMBERS[] = {
#define MEMBER(type, name)                                                                         \
    {                                                                                              \
#name, type, offsetof(struct kt_backup_state, name),                                       \
            sizeof(((struct kt_backup_state *)0)->name)                                            \
    }
    MEMBER(TYPE_TIME, made_us),
    MEMBER(TYPE_TEXT, path),
    MEMBER(TYPE_U64, bytes),
    MEMBER(TYPE_U64, deposits),
    MEMBER(TYPE_U64, sequence),
    MEMBER(TYPE_U64, log_index),
    MEMBER(TYPE_SHA256, manifest_sha256),
    MEMBER(TYPE_FLAG, is_proven),
    MEMBER(TYPE_TIME, failed_us),
    MEMBER(TYPE_TEXT, failure),
    MEMBER(TYPE_TIME, verified_us),
    MEMBER(TYPE_TEXT, verified),
    MEMBER(TYPE_TEXT, verified_how),
    MEMBER(TYPE_TIME, drilled_us),
    MEMBER(TYPE_TEXT, drilled),
    MEMBER(TYPE_FLAG, drill_passed),
    MEMBER(TYPE_U64, drill_log_index),
    MEMBER(TYPE_TIME, proven_us),
#undef MEMBER
};
#define MEMBER_COUNT (sizeof(MEMBERS) / sizeof(MEMBERS[0]))

int kt_backup_state_path(const struct kt_paths *paths, char out[KT_PATH_MAX])
{
    return kt_path_join(out, KT_PATH_MAX, paths->node, "backup.json");
}

static int read_member(const json_t *object, const struct member *member,
                       struct kt_backup_state *state, struct kt_error *error)
{
    char *at = (char *)state + member->offset;
    const char *text = NULL;
    int64_t number = 0;
    int rc = 0;

    switch (member->type) {
    case TYPE_TEXT:
        rc = kt_json_string(object, member->name, 0, member->size - 1, &text, error);
        if (rc == 0 && text)
            memcpy(at, text, strlen(text) + 1);
        else if (rc == 0)
            rc = kt_error_set(error, KT_ERR_BAD_REQUEST, NULL, "member '%s' is missing",
                              member->name);
        return rc;
    case TYPE_U64:
    case TYPE_TIME:
        rc = kt_json_integer(object, member->name, 0, INT64_MAX, 1, &number, error);
        memcpy(at, &number, sizeof(number)); // not negative: the same as unsigned
        return rc;
    case TYPE_FLAG:
        if (!json_is_boolean(json_object_get(object, member->name)))
            return kt_error_set(error, KT_ERR_BAD_REQUEST, NULL, "member '%s' is not true or false",
                                member->name);
        *(int *)(void *)at = kt_json_boolean(object, member->name, 0);
        return 0;
    case TYPE_SHA256:
        rc = kt_json_string(object, member->name, KT_SHA256_TEXT - 1, KT_SHA256_TEXT - 1, &text,
                            error);
        if (rc == 0 && kt_hex_decode(text, (uint8_t *)at, KT_SHA256_LEN) != 0)
            rc = kt_error_set(error, KT_ERR_BAD_REQUEST, NULL, "member '%s' is malformed",
                              member->name);
        return rc;
    }
    return KT_ERR_INTERNAL;
}

static int read_state(const json_t *object, struct kt_backup_state *state, struct kt_error *error)
{
    const char *names[MEMBER_COUNT + 2] = {"version"};
    int64_t version = 0;
    int rc = kt_json_integer(object, "version", FORMAT_VERSION, FORMAT_VERSION, 1, &version, error);

    for (size_t i = 0; i < MEMBER_COUNT; i++)
        names[i + 1] = MEMBERS[i].name;
    if (rc == 0)
        rc = kt_json_only(object, names, error);
    for (size_t i = 0; rc == 0 && i < MEMBER_COUNT; i++)
        rc = read_member(object, &MEMBERS[i], state, error);
    return rc;
}

int kt_backup_state_load(const char *path, struct kt_backup_state *state, struct kt_error *error)
{
    struct kt_backup_state read = {.made_us = 0};
    struct kt_error why = {0};
    json_t *object = NULL;
    char *text = NULL;
    int rc = kt_file_read_text(path, FILE_MAX, &text, &why);

    if (rc == KT_ERR_NOT_FOUND) {
        memset(state, 0, sizeof(*state));
        return 0;
    }
    if (rc == 0)
        rc = kt_json_parse_object(text, strlen(text), &object, &why);
    if (rc == 0)
        rc = read_state(object, &read, &why);
    if (rc == 0)
        *state = read;
    else
        rc = kt_error_set(error, rc == KT_ERR_BAD_REQUEST ? KT_ERR_INVALID : rc,
                          "remove it: the next backup makes it again",
                          "the state of backups '%s' cannot be read: %s", path, why.message);
    json_decref(object);
    free(text);
    return rc;
}

// Names of files may be no UTF-8, which JSON must be: what is not is shown as '?'.
static json_t *text_to_json(const char *text, size_t size)
{
    char copy[KT_PATH_MAX];
    size_t n = strnlen(text, size - 1);
    json_t *value;

    memcpy(copy, text, n);
    copy[n] = '\0';
    value = json_string(copy);
    if (value)
        return value;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)copy[i] >= 0x80)
            copy[i] = '?';
    return json_string(copy);
}

static json_t *member_to_json(const struct kt_backup_state *state, const struct member *member)
{
    const char *at = (const char *)state + member->offset;
    char hex[KT_SHA256_TEXT];
    int64_t number;

    switch (member->type) {
    case TYPE_TEXT:
        return text_to_json(at, member->size);
    case TYPE_U64:
    case TYPE_TIME:
        memcpy(&number, at, sizeof(number));
        return json_integer(number);
    case TYPE_FLAG:
        return json_boolean(*(const int *)(const void *)at);
    case TYPE_SHA256:
        kt_hex_encode(at, KT_SHA256_LEN, hex);
        return json_string(hex);
    }
    return NULL;
}

int kt_backup_state_save(const char *path, const struct kt_backup_state *state,
                         struct kt_error *error)
{
    json_t *object = json_pack("{s:i}", "version", FORMAT_VERSION);
    struct kt_backup_state read = {.made_us = 0};
    struct kt_error why = {0};
    char *text = NULL;
    int rc = object ? 0 : KT_ERR_NO_MEMORY;

    for (size_t i = 0; rc == 0 && i < MEMBER_COUNT; i++)
        if (json_object_set_new(object, MEMBERS[i].name, member_to_json(state, &MEMBERS[i])) != 0)
            rc = KT_ERR_NO_MEMORY;
    text = rc == 0 ? json_dumps(object, JSON_INDENT(2) | JSON_PRESERVE_ORDER) : NULL;
    if (!text)
        rc = kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory for '%s'", path);
    else if (read_state(object, &read, &why) != 0) // what could not be loaded again
        rc = kt_error_set(error, KT_ERR_INVALID, NULL, "no state of backups: %s", why.message);
    else
        rc = kt_file_replace(path, text, strlen(text), 0600, error);
    free(text);
    json_decref(object);
    return rc;
}
