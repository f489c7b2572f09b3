// SPDX-License-Identifier: Apache-2.0
// Appending to the audit files.
#include "kts/audit_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/file.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/paths.h"

// Left beside the files when one was found tampered with while it was written: the head that was
// lost, so that a restart does not take a shortened file for a whole one.
#define MARKER "lost"

struct kts_audit_file {
    char dir[KT_PATH_MAX];
    char cluster_id[KT_UUID_TEXT];
    char node[KT_NODE_NAME_MAX + 1];
    int64_t file_size;
    int fd;
    unsigned number;
    char path[KT_PATH_MAX];
    int64_t size;                // of what is durable
    struct kts_audit_head head;  // durable
    struct kts_audit_head ahead; // with the batch
    struct kt_buf batch;
    int count;
    int dirty; // a failed batch may have left bytes behind `size`
    int lost;
};

void kts_audit_file_free(struct kts_audit_file *file)
{
    if (!file)
        return;
    if (file->fd >= 0)
        close(file->fd);
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

// Adds time and node, and gives the record's text (the caller frees it).
static int finish_record(const struct kts_audit_file *file, json_t *record, char **text)
{
    char time[KT_TIME_TEXT];

    kt_time_format(kt_time_now(), time);
    if (json_object_set_new(record, "time", json_string(time)) ||
        json_object_set_new(record, "node", json_string(file->node)))
        return KT_ERR_NO_MEMORY;
    *text = kt_json_text(record);
    return *text ? 0 : KT_ERR_NO_MEMORY;
}

// Formats the line that follows `head` and moves `head` on.
static int next_line(struct kts_audit_head *head, const char *json, char line[KT_AUDIT_LINE_MAX],
                     size_t *len)
{
    struct kts_audit_head next = {.seq = head->seq + 1};
    size_t n = strlen(json);
    int rc = n > KT_AUDIT_JSON_MAX ? KT_ERR_PROTOCOL : 0;

    if (rc == 0)
        rc = kt_audit_hash(head->hash, next.seq, json, n, next.hash);
    if (rc == 0)
        rc = kt_audit_line_format(next.seq, next.hash, json, n, line, len);
    if (rc == 0)
        *head = next;
    return rc;
}

// Begins file `number` with the record that ties it to `head`, the last of the one before.
// `broken` (may be NULL) and `problem` say what became of that.
static int begin_file(struct kts_audit_file *file, unsigned number, struct kts_audit_head head,
                      const char *broken, const char *problem, struct kt_error *error)
{
    char name[32], path[KT_PATH_MAX], previous[KT_SHA256_TEXT], line[KT_AUDIT_LINE_MAX];
    char *text = NULL;
    size_t len = 0;
    json_t *record;
    int fd, rc;

    kts_audit_file_name(number, name);
    rc = kt_path_join(path, sizeof(path), file->dir, name);
    if (rc)
        return kt_error_set(error, rc, NULL, "the audit folder's path is too long");
    kt_hex_encode(head.hash, KT_SHA256_LEN, previous);
    record =
        json_pack("{s:s, s:s, s:s, s:s*, s:s*}", "event", "audit.open", "cluster", file->cluster_id,
                  "previous", previous, "broken", broken, "problem", broken ? problem : NULL);
    rc = record ? finish_record(file, record, &text) : KT_ERR_NO_MEMORY;
    if (rc == 0)
        rc = next_line(&head, text, line, &len);
    json_decref(record);
    free(text);
    if (rc)
        return kt_error_set(error, rc, NULL, "cannot make the first audit record: %s",
                            kt_err_text(rc));
    // Whole or not at all: a file that exists has its first record.
    rc = kt_file_create(path, line, len, 0600, error);
    fd = rc == 0 ? open(path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW) : -1;
    if (rc == 0 && fd < 0)
        rc = kt_error_errno(error, "cannot open '%s'", path);
    if (rc) {
        if (rc != KT_ERR_EXISTS) // else the old file would go on beside its successor
            unlink(path);
        return rc;
    }
    if (file->fd >= 0)
        close(file->fd);
    file->fd = fd;
    file->number = number;
    file->size = (int64_t)len;
    file->head = file->ahead = head;
    file->dirty = file->lost = 0;
    memcpy(file->path, path, sizeof(path));
    return 0;
}

// Goes on with a file whose beginning of check->good bytes is good.
static int resume_file(struct kts_audit_file *file, unsigned number, const char *path,
                       const struct kts_audit_check *check, struct kt_error *error)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW);

    if (fd < 0)
        return kt_error_errno(error, "cannot open '%s'", path);
    if (check->torn) {
        kt_log(KT_LOG_WARNING,
               "'%s' ends in a torn record after a crash, cut off %" PRId64 " bytes", path,
               check->size - check->good);
        if (ftruncate(fd, check->good) || fdatasync(fd)) {
            int rc = kt_error_errno(error, "cannot cut '%s'", path);
            close(fd);
            return rc;
        }
    }
    file->fd = fd;
    file->number = number;
    file->size = check->good;
    file->head = file->ahead = check->head;
    snprintf(file->path, sizeof(file->path), "%s", path);
    return 0;
}

// Reads the marker: "<file name> <seq> <hash>". KT_ERR_NOT_FOUND when there is none.
static int read_marker(const char *path, char name[32], struct kts_audit_head *head)
{
    char *text = NULL, hex[KT_SHA256_TEXT];
    int rc = kt_file_read_text(path, 256, &text, NULL);

    if (rc)
        return rc;
    if (sscanf(text, "%31s %" SCNu64 " %64s", name, &head->seq, hex) != 3 ||
        kt_hex_decode(hex, head->hash, KT_SHA256_LEN))
        rc = KT_ERR_INVALID;
    free(text);
    return rc;
}

static int begin_after_break(struct kts_audit_file *file, unsigned number,
                             struct kts_audit_head head, const char *broken, const char *problem,
                             struct kt_error *error)
{
    kt_log(KT_LOG_ERROR, "'%s/%s' is broken: %s; a new file is begun, the old one stays as it is",
           file->dir, broken, problem);
    return begin_file(file, number, head, broken, problem, error);
}

// Which file to write to, and where the chain stands.
static int take_up(struct kts_audit_file *file, uint64_t least_seq, struct kt_error *error)
{
    char name[32] = "", lost[32] = "", path[KT_PATH_MAX], marker[KT_PATH_MAX];
    struct kts_audit_check check = {.good = 0};
    struct kts_audit_head head = {.seq = 0};
    unsigned number = 0;
    int rc = kts_audit_last_number(file->dir, &number, error);

    if (rc)
        return rc;
    kts_audit_file_name(number, name);
    if (kt_path_join(path, sizeof(path), file->dir, name) ||
        kt_path_join(marker, sizeof(marker), file->dir, MARKER))
        return kt_error_set(error, KT_ERR_TOO_LARGE, NULL, "the audit folder's path is too long");
    rc = read_marker(marker, lost, &head);
    if (rc == 0) {
        if (kts_audit_file_number(lost) > number)
            number = kts_audit_file_number(lost); // removed: its number is not used again
        rc = begin_after_break(file, number + 1, head, lost, "removed or changed while in use",
                               error);
        if (rc == 0 && unlink(marker))
            kt_log(KT_LOG_WARNING, "cannot remove '%s'", marker);
        return rc;
    }
    if (rc != KT_ERR_NOT_FOUND)
        kt_log(KT_LOG_WARNING, "'%s' cannot be read, it is left alone", marker);
    if (number == 0 && least_seq == 0)
        return begin_file(file, 1, head, NULL, NULL, error);
    if (number > 0) {
        rc = kts_audit_check_file(path, &check, error);
        if (rc)
            return rc;
    }
    head = check.head;
    if (check.problem[0])
        return begin_after_break(file, number + 1, head, name, check.problem, error);
    if (head.seq < least_seq) {
        head.seq = least_seq; // the gap in the numbers shows how much is gone
        return begin_after_break(file, number + 1, head, name, "records at its end are gone",
                                 error);
    }
    return resume_file(file, number, path, &check, error);
}

int kts_audit_file_open(const struct kts_audit_settings *settings, struct kts_audit_file **file,
                        struct kt_error *error)
{
    struct kts_audit_file *fresh = calloc(1, sizeof(*fresh));
    int rc;

    if (!fresh)
        return kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    fresh->fd = -1;
    fresh->file_size = settings->file_size;
    fresh->batch = (struct kt_buf)KT_BUF_INIT(KTS_AUDIT_BATCH_MAX * (size_t)KT_AUDIT_LINE_MAX);
    snprintf(fresh->dir, sizeof(fresh->dir), "%s", settings->dir);
    snprintf(fresh->cluster_id, sizeof(fresh->cluster_id), "%s", settings->cluster_id);
    snprintf(fresh->node, sizeof(fresh->node), "%s", settings->node);
    rc = take_up(fresh, settings->least_seq, error);
    if (rc) {
        kts_audit_file_free(fresh);
        return rc;
    }
    *file = fresh;
    return 0;
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
    rc = finish_record(file, record, &text);
    if (rc == 0)
        rc = next_line(&file->ahead, text, line, &len);
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

static int mark_lost(struct kts_audit_file *file, const char *what, struct kt_error *error)
{
    char text[256], hex[KT_SHA256_TEXT], name[32], marker[KT_PATH_MAX];
    struct kt_error why = {0};

    file->lost = 1;
    kt_hex_encode(file->head.hash, KT_SHA256_LEN, hex);
    kts_audit_file_name(file->number, name);
    snprintf(text, sizeof(text), "%s %" PRIu64 " %s\n", name, file->head.seq, hex);
    if (kt_path_join(marker, sizeof(marker), file->dir, MARKER) == 0 &&
        kt_file_replace(marker, text, strlen(text), 0600, &why))
        kt_log_error(&why, "the loss cannot be marked");
    return kt_error_set(error, KT_ERR_AUDIT_UNAVAILABLE,
                        "find out who touched the audit folder, then restart kts",
                        "'%s' was %s by somebody else", file->path, what);
}

// The file must be the one we made and hold what we wrote, no more and no less.
static int check_untouched(struct kts_audit_file *file, struct kt_error *error)
{
    struct stat ours, named;

    if (file->lost)
        return kt_error_set(error, KT_ERR_AUDIT_UNAVAILABLE, NULL, "'%s' was lost", file->path);
    if (fstat(file->fd, &ours))
        return kt_error_errno(error, "cannot look at '%s'", file->path);
    if (ours.st_nlink == 0)
        return mark_lost(file, "removed", error);
    if (stat(file->path, &named) || named.st_ino != ours.st_ino || named.st_dev != ours.st_dev)
        return mark_lost(file, "moved or replaced", error);
    if (ours.st_size < file->size || (ours.st_size > file->size && !file->dirty))
        return mark_lost(file, ours.st_size < file->size ? "cut" : "extended", error);
    return 0;
}

static int write_batch(struct kts_audit_file *file, struct kt_error *error)
{
    int rc = check_untouched(file, error);

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
        file->dirty = 0;
        return 0;
    }
    if (ftruncate(file->fd, file->size) == 0 && fdatasync(file->fd) == 0)
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
        rc = begin_file(file, last + 1, file->head, NULL, NULL, &why);
    if (rc)
        kt_log_error(&why, "cannot begin a new file");
}

int kts_audit_file_commit(struct kts_audit_file *file, struct kt_error *error)
{
    int rc = file->count > 0 ? write_batch(file, error) : 0;

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
