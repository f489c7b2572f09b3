// SPDX-License-Identifier: Apache-2.0
// Appending to the audit files.
#include "kts/audit_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kts/audit_inner.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/log.h"

void kts_audit_file_free(struct kts_audit_file *file)
{
    if (!file)
        return;
    if (file->fd >= 0)
        close(file->fd);
    if (file->dir_fd >= 0)
        close(file->dir_fd);
    kt_buf_free(&file->batch);
    free(file);
}

void kts_audit_file_set_size(struct kts_audit_file *file, int64_t file_size)
{
    file->file_size = file_size;
}

int kts_audit_file_is_lost(const struct kts_audit_file *file)
{
    return file->lost;
}

uint64_t kts_audit_file_seq(const struct kts_audit_file *file)
{
    return file->head.seq;
}

const struct kts_audit_head *kts_audit_file_head(const struct kts_audit_file *file)
{
    return &file->head;
}

unsigned kts_audit_file_current(const struct kts_audit_file *file)
{
    return file->number;
}

const char *kts_audit_file_written(const struct kts_audit_file *file, size_t *n)
{
    *n = file->written;
    return (const char *)file->batch.data;
}

int kts_audit_file_add(struct kts_audit_file *file, const void *json, size_t n)
{
    const struct kts_audit_head before = file->ahead;
    char line[KT_AUDIT_LINE_MAX];
    json_t *record = NULL;
    char *text = NULL;
    size_t len = 0;
    int rc;

    if (file->count == KTS_AUDIT_BATCH_MAX)
        return KT_ERR_BUSY;
    if (n > KT_AUDIT_JSON_MAX || kt_json_parse_object(json, n, &record, NULL))
        return KT_ERR_PROTOCOL;
    rc = kts_audit_finish_record(file, record, &text);
    if (rc == 0)
        rc = kts_audit_next_line(&file->ahead, text, line, &len);
    if (rc == 0) {
        rc = kt_buf_put(&file->batch, line, len);
        if (rc) // the head has moved on, the line did not get in
            file->ahead = before;
        file->count += rc == 0;
    }
    json_decref(record);
    free(text);
    return rc == 0 || rc == KT_ERR_NO_MEMORY ? rc : KT_ERR_PROTOCOL;
}

static int write_batch(struct kts_audit_file *file, struct kt_error *error)
{
    int64_t n = (int64_t)kt_buf_left(&file->batch);
    int rc = kts_audit_check_untouched(file, error);

    if (rc)
        return rc;
    // What a failed batch left. Also after a failed fdatasync: the kernel may have forgotten those
    // pages, so they are written anew rather than synced again.
    if (file->dirty && (ftruncate(file->fd, file->size) || fdatasync(file->fd)))
        return kt_error_errno(error, "cannot cut '%s'", file->path);
    file->dirty = 1;
    rc = kt_write_all(file->fd, kt_buf_ptr(&file->batch), kt_buf_left(&file->batch));
    if (rc)
        rc = kt_error_errno(error, "cannot write to '%s'", file->path);
    else if (fdatasync(file->fd))
        rc = kt_error_errno(error, "cannot sync '%s'", file->path);
    if (rc == 0) {
        file->size += n;
        rc = kts_audit_note_own(file);
        file->size -= n;
        if (rc)
            rc = kt_error_errno(error, "cannot read '%s'", file->path);
    }
    if (rc == 0) {
        file->dirty = 0;
        return 0;
    }
    if (ftruncate(file->fd, file->size) == 0 && fdatasync(file->fd) == 0 &&
        kts_audit_note_own(file) == 0)
        file->dirty = 0;
    return rc;
}

// One that fails is tried again with the next batch; the records are safe where they are.
static void rotate(struct kts_audit_file *file)
{
    struct kt_error why = {0};
    unsigned last = file->number;
    int rc = kts_audit_last_number(file->dir, &last, &why);

    if (rc == 0)
        rc = kts_audit_begin(file, last + 1, file->head, NULL, NULL, &why);
    if (rc)
        kt_log_error(&why, "cannot begin a new file");
}

int kts_audit_file_commit(struct kts_audit_file *file, struct kt_error *error)
{
    int rc = file->count > 0 ? write_batch(file, error) : 0;

    file->written = rc == 0 && file->count > 0 ? kt_buf_left(&file->batch) : 0;
    if (rc == 0 && file->count > 0) {
        file->size += (int64_t)kt_buf_left(&file->batch);
        file->head = file->ahead;
    }
    file->ahead = file->head;
    file->batch.len = file->batch.off =
        0; // records are no secrets: no need to wipe the whole buffer
    file->count = 0;
    if (rc)
        return KT_ERR_AUDIT_UNAVAILABLE;
    if (file->size > file->file_size)
        rotate(file);
    return 0;
}
