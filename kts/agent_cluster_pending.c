// SPDX-License-Identifier: Apache-2.0
// node/pending_row.json: the row that a promoted node writes as soon as W of its members stream.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kts/agent_cluster.h"
#include "lib/file.h"
#include "lib/json.h"

#define FILE_NAME "pending_row.json"
#define FILE_MAX  8192

static int path_of(const struct kt_paths *paths, char out[KT_PATH_MAX], struct kt_error *error)
{
    int rc = kt_path_join(out, KT_PATH_MAX, paths->node, FILE_NAME);

    return rc ? kt_error_set(error, rc, NULL, "the path of '%s' is too long", paths->node) : 0;
}

int kts_pending_row_load(const struct kt_paths *paths, struct kt_epoch_row *row,
                         struct kt_error *error)
{
    char path[KT_PATH_MAX], *text = NULL;
    json_t *object = NULL;
    int rc = path_of(paths, path, error);

    if (rc == 0)
        rc = kt_file_read_text(path, FILE_MAX, &text, error);
    if (rc == 0)
        rc = kt_json_parse_object(text, strlen(text), &object, error);
    if (rc == 0)
        rc = kt_epoch_row_from_json(object, row, error);
    json_decref(object);
    free(text);
    return rc;
}

int kts_local_is_promoted(const struct kts_local *local, const struct kt_epoch_rows *rows,
                          int in_recovery)
{
    struct kt_epoch_row pending;

    if (in_recovery || strcmp(local->promise.active, local->node) != 0)
        return 0;
    if (kt_epoch_row_is_own(kt_epoch_rows_newest(rows), &local->promise))
        return 1;
    return kts_pending_row_load(local->paths, &pending, NULL) == 0 &&
           kt_epoch_row_is_own(&pending, &local->promise);
}

int kts_pending_row_save(const struct kt_paths *paths, const struct kt_epoch_row *row,
                         struct kt_error *error)
{
    char path[KT_PATH_MAX], *text = NULL;
    json_t *object = kt_epoch_row_to_json(row);
    int rc = path_of(paths, path, error);

    if (rc == 0) {
        text = object ? kt_json_text(object) : NULL;
        rc = text ? kt_file_replace(path, text, strlen(text), 0600, error)
                  : kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    }
    free(text);
    json_decref(object);
    return rc;
}

int kts_pending_row_remove(const struct kt_paths *paths, struct kt_error *error)
{
    char path[KT_PATH_MAX];
    int rc = path_of(paths, path, error);

    if (rc)
        return rc;
    if (unlink(path) && errno != ENOENT)
        return kt_error_errno(error, "cannot remove '%s'", path);
    return kt_dir_sync(paths->node, error);
}
