// SPDX-License-Identifier: Apache-2.0
// What a restore that was killed must go on with: the names of the new member and incarnation. Nodes
// may have promised them already.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ktadmin/restore.h"
#include "lib/epoch.h"
#include "lib/file.h"
#include "lib/json.h"

#define NOTE_MAX 8192

static int note_path(const struct kt_paths *paths, char out[KT_PATH_MAX], struct kt_error *error)
{
    int rc = kt_path_join(out, KT_PATH_MAX, paths->confdir, KTA_RESTORE_NOTE);

    return rc ? kt_error_set(error, rc, "choose a shorter confdir", "a path is too long") : 0;
}

int kta_restore_is_begun(const struct kt_paths *paths)
{
    char path[KT_PATH_MAX];

    return note_path(paths, path, NULL) == 0 && kt_file_exists(path);
}

static int take(struct kta_restore *restore, const json_t *object, struct kt_error *error)
{
    const char *member = NULL, *incarnation = NULL, *backup = NULL;
    int64_t epoch = 0;
    int rc = kt_json_string(object, "member", 1, KT_MEMBER_TEXT - 1, &member, error);

    if (rc == 0)
        rc = kt_json_string(object, "incarnation", 1, KT_INCARNATION_TEXT - 1, &incarnation, error);
    if (rc == 0)
        rc = kt_json_integer(object, "epoch", 1, INT64_MAX, 1, &epoch, error);
    if (rc == 0)
        rc = kt_json_string(object, "backup", 0, KT_BACKUP_STEM - 1, &backup, error);
    if (rc == 0 && (!backup || kt_member_check(member) != 0 ||
                    kt_incarnation_parse(incarnation, &restore->incarnation) != 0))
        rc = KT_ERR_INVALID;
    if (rc)
        return rc;
    memcpy(restore->init.promise.member, member, strlen(member) + 1);
    kt_member_node(member, restore->init.info.node);
    restore->epoch = (uint64_t)epoch;
    restore->is_other = strcmp(backup, restore->file.stem) != 0;
    if (restore->is_other && db_cluster_is_populated(restore->init.cluster))
        return kt_error_set(error, KT_ERR_EXISTS, "finish it with that one",
                            "'%s' was restored here all but the end", backup);
    return 0;
}

static int load(struct kta_restore *restore, const char *path, struct kt_error *error)
{
    char *text = NULL;
    json_t *object = NULL;
    int rc = kt_file_read_text(path, NOTE_MAX, &text, error);

    if (rc)
        return rc;
    rc = kt_json_parse_object(text, strlen(text), &object, NULL);
    if (rc == 0)
        rc = take(restore, object, error);
    if (rc && rc != KT_ERR_EXISTS)
        rc = kt_error_set(error, KT_ERR_NOT_OURS, "move it away", "'%s' is not restore's", path);
    json_decref(object);
    free(text);
    return rc;
}

static int save(const struct kta_restore *restore, struct kt_error *error)
{
    char path[KT_PATH_MAX], incarnation[KT_INCARNATION_TEXT];
    json_t *object;
    char *text;
    int rc = note_path(&restore->init.paths, path, error);

    kt_incarnation_format(&restore->incarnation, incarnation);
    object =
        json_pack("{s:s, s:s, s:I, s:s}", "member", restore->init.promise.member, "incarnation",
                  incarnation, "epoch", (json_int_t)restore->epoch, "backup", restore->file.stem);
    text = object ? json_dumps(object, JSON_INDENT(2) | JSON_SORT_KEYS) : NULL;
    if (rc == 0)
        rc = text ? kt_file_replace(path, text, strlen(text), 0600, error)
                  : kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    free(text);
    json_decref(object);
    return rc;
}

int kta_restore_note(struct kta_restore *restore, const struct kt_incarnation *before,
                     uint64_t epoch, struct kt_error *error)
{
    const char *given = kt_cli_value(restore->init.run, "incarnation");
    struct kt_promise *promise = &restore->init.promise;
    char path[KT_PATH_MAX];
    uint64_t number = (uint64_t)before->number + 1;
    int rc = note_path(&restore->init.paths, path, error);

    if (rc == 0 && kt_file_exists(path)) {
        rc = load(restore, path, error);
        // Behind the backup's own: or the load would fail when the old nodes are sealed already.
        if (rc == 0 && (restore->incarnation.number < before->number ||
                        (restore->incarnation.number == before->number &&
                         restore->incarnation.bits != before->bits)))
            rc = kt_error_set(error, KT_ERR_EXISTS, "wipe what is there, and begin anew",
                              "a restore of an older incarnation was begun here");
        // Nothing of another backup was committed: its names serve this one.
        if (rc == 0 && restore->is_other && before->number > 0)
            rc = save(restore, error);
        if (rc == 0 && kt_cli_value(restore->init.run, "node") &&
            strcmp(restore->init.node, restore->init.info.node) != 0)
            rc = kt_error_set(error, KT_ERR_EXISTS, "leave --node out; a node keeps its name",
                              "this node is named '%s' already", restore->init.info.node);
    } else if (rc == 0) {
        if (given && kt_u64_parse(given, (uint64_t)before->number + 1, INT32_MAX, &number) != 0)
            return kt_error_set(error, KT_ERR_USAGE, NULL,
                                "--incarnation: it must be a number above %u, the backup's",
                                (unsigned)before->number);
        if (number > INT32_MAX)
            return kt_error_set(error, KT_ERR_INVALID, NULL, "there is no incarnation above %u",
                                (unsigned)before->number);
        restore->incarnation.number = (uint32_t)number;
        restore->epoch = epoch + 1;
        rc = kt_member_new(restore->init.info.node, promise->member);
        if (rc == 0)
            rc = kt_random(&restore->incarnation.bits, sizeof(restore->incarnation.bits));
        if (rc)
            return kt_error_set(error, rc, NULL, "no random bytes for the new incarnation");
        rc = save(restore, error);
    }
    promise->incarnation = restore->incarnation;
    promise->epoch = promise->active_since = restore->epoch;
    memcpy(promise->active, restore->init.info.node, sizeof(restore->init.info.node));
    return rc;
}

int kta_restore_note_remove(struct kta_restore *restore, struct kt_error *error)
{
    char path[KT_PATH_MAX];
    int rc = note_path(&restore->init.paths, path, error);

    if (rc == 0 && unlink(path) != 0 && kt_file_exists(path))
        rc = kt_error_errno(error, "cannot remove '%s'", path);
    return rc ? rc : kt_dir_sync(restore->init.paths.confdir, error);
}
