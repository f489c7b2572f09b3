// SPDX-License-Identifier: Apache-2.0
// Taking up the audit files at a start: which one is written to, where the chain stands, and what
// was done to it meanwhile.
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kts/audit_inner.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/log.h"

int kts_audit_finish_record(const struct kts_audit_file *file, json_t *record, char **text)
{
    char time[KT_TIME_TEXT];

    kt_time_format(kt_time_now(), time);
    if (json_object_set_new(record, "time", json_string(time)) ||
        json_object_set_new(record, "node", json_string(file->node)))
        return KT_ERR_NO_MEMORY;
    // ASCII only: what clients put into names and justifications is data wherever a record is shown.
    *text = json_dumps(record, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENSURE_ASCII);
    return *text ? 0 : KT_ERR_NO_MEMORY;
}

int kts_audit_next_line(struct kts_audit_head *head, const char *json, char line[KT_AUDIT_LINE_MAX],
                        size_t *len)
{
    struct kts_audit_head next = {.seq = head->seq + 1};
    size_t n = strlen(json);
    int rc = n > KT_AUDIT_JSON_MAX ? KT_ERR_PROTOCOL : 0;

    // No number is used twice, nor one that cannot be read again.
    if (rc == 0 && head->seq >= KT_AUDIT_SEQ_MAX)
        rc = KT_ERR_TOO_LARGE;
    if (rc == 0)
        rc = kt_audit_hash(head->hash, next.seq, json, n, next.hash);
    if (rc == 0)
        rc = kt_audit_line_format(next.seq, next.hash, json, n, line, len);
    if (rc == 0)
        *head = next;
    return rc;
}

int kts_audit_begin(struct kts_audit_file *file, unsigned number, struct kts_audit_head head,
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
    rc = record ? kts_audit_finish_record(file, record, &text) : KT_ERR_NO_MEMORY;
    if (rc == 0)
        rc = kts_audit_next_line(&head, text, line, &len);
    json_decref(record);
    free(text);
    if (rc)
        return kt_error_set(error, rc, NULL, "cannot make the first audit record: %s",
                            kt_err_text(rc));
    // Whole or not at all: a file that exists has its first record.
    rc = kt_file_create(path, line, len, 0600, error);
    fd = rc == 0 ? open(path, O_RDWR | O_APPEND | O_CLOEXEC | O_NOFOLLOW) : -1;
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
    return kts_audit_note_own(file) ? kt_error_errno(error, "cannot read '%s'", path) : 0;
}

// Goes on with a file whose beginning of check->good bytes is good.
static int resume_file(struct kts_audit_file *file, unsigned number, const char *path,
                       const struct kts_audit_check *check, struct kt_error *error)
{
    int fd = open(path, O_RDWR | O_APPEND | O_CLOEXEC | O_NOFOLLOW);

    if (fd < 0)
        return kt_error_errno(error, "cannot open '%s'", path);
    if (check->torn) {
        kt_log(KT_LOG_WARNING,
               "'%s' ends in a torn record after a crash, cut off %" PRId64 " bytes", path,
               check->size - check->good);
        if (ftruncate(fd, check->good)) {
            int rc = kt_error_errno(error, "cannot cut '%s'", path);
            close(fd);
            return rc;
        }
    }
    // What a killed process wrote last may be in memory only, and is about to count.
    if (fdatasync(fd)) {
        int rc = kt_error_errno(error, "cannot sync '%s'", path);
        close(fd);
        return rc;
    }
    file->fd = fd;
    file->number = number;
    file->size = check->good;
    file->head = file->ahead = check->head;
    snprintf(file->path, sizeof(file->path), "%s", path);
    return kts_audit_note_own(file) ? kt_error_errno(error, "cannot read '%s'", path) : 0;
}

// Reads the marker: "<file name> <seq> <hash> <what was done>". KT_ERR_NOT_FOUND when there is none.
static int read_marker(const char *path, char name[32], struct kts_audit_head *head, char what[32])
{
    char *text = NULL, hex[KT_SHA256_TEXT];
    int rc = kt_file_read_text(path, 256, &text, NULL);

    if (rc)
        return rc;
    if (sscanf(text, "%31s %" SCNu64 " %64s %31s", name, &head->seq, hex, what) != 4 ||
        head->seq > KT_AUDIT_SEQ_MAX || kt_hex_decode(hex, head->hash, KT_SHA256_LEN))
        rc = KT_ERR_INVALID;
    free(text);
    return rc;
}

// The gap in the numbers shows how much is gone: none is used twice.
static int begin_after_break(struct kts_audit_file *file, const struct kts_audit_known *known,
                             unsigned last, struct kts_audit_head head, const char *problem,
                             struct kt_error *error)
{
    unsigned number = last > known->file ? last : known->file;
    char broken[32];

    kts_audit_file_name(number ? number : 1, broken);
    if (head.seq < known->head.seq)
        head.seq = known->head.seq;
    kt_log(KT_LOG_ERROR, "'%s/%s' is broken: %s; a new file is begun, the old one stays as it is",
           file->dir, broken, problem);
    return kts_audit_begin(file, number + 1, head, broken, problem, error);
}

// Behind a loss that was noticed while the file was in use.
static int take_up_lost(struct kts_audit_file *file, const struct kts_audit_known *known,
                        unsigned last, const char *marker, struct kt_error *error)
{
    char lost[32] = "", what[32] = "", problem[96];
    struct kts_audit_head head = {.seq = 0};
    int rc = read_marker(marker, lost, &head, what);

    if (rc)
        return rc;
    if (kts_audit_file_number(lost) > last)
        last = kts_audit_file_number(lost);
    snprintf(problem, sizeof(problem), "%.31s while in use", what);
    rc = begin_after_break(file, known, last, head, problem, error);
    if (rc == 0 && unlink(marker))
        kt_log(KT_LOG_WARNING, "cannot remove '%s'", marker);
    return rc == KT_ERR_NOT_FOUND ? KT_ERR_SYSTEM : rc;
}

// Which file to write to, and where the chain stands.
static int take_up(struct kts_audit_file *file, const struct kts_audit_known *known,
                   struct kt_error *error)
{
    char name[32] = "", path[KT_PATH_MAX], marker[KT_PATH_MAX];
    struct kts_audit_check check = {.good = 0};
    const struct kts_audit_head *wanted;
    unsigned number = 0;
    int rc = kts_audit_last_number(file->dir, &number, error);

    if (rc)
        return rc;
    kts_audit_file_name(number, name);
    if (kt_path_join(path, sizeof(path), file->dir, name) ||
        kt_path_join(marker, sizeof(marker), file->dir, KTS_AUDIT_MARKER))
        return kt_error_set(error, KT_ERR_TOO_LARGE, NULL, "the audit folder's path is too long");
    rc = take_up_lost(file, known, number, marker, error);
    if (rc == KT_ERR_INVALID)
        kt_log(KT_LOG_WARNING, "'%s' cannot be read, it is left alone", marker);
    else if (rc != KT_ERR_NOT_FOUND)
        return rc;
    if (number == 0 && known->head.seq == 0)
        return kts_audit_begin(file, 1, check.head, NULL, NULL, error);
    wanted = known->file > 0 && known->file == number ? &known->head : NULL;
    rc = number > 0 ? kts_audit_check_file(path, wanted, &check, error) : 0;
    if (rc)
        return rc;
    if (check.problem[0])
        return begin_after_break(file, known, number, check.head, check.problem, error);
    if (check.head.seq < known->head.seq)
        return begin_after_break(file, known, number, check.head, "records at its end are gone",
                                 error);
    if (check.differs)
        return begin_after_break(file, known, number, check.head,
                                 "a record is another than the one that was signed", error);
    return resume_file(file, number, path, &check, error);
}

int kts_audit_file_open(const struct kts_audit_settings *settings, struct kts_audit_file **file,
                        struct kt_error *error)
{
    struct kts_audit_file *fresh = calloc(1, sizeof(*fresh));
    int rc;

    if (!fresh)
        return kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    fresh->fd = fresh->dir_fd = -1;
    fresh->file_size = settings->file_size;
    fresh->batch = (struct kt_buf)KT_BUF_INIT(KTS_AUDIT_BATCH_MAX * (size_t)KT_AUDIT_LINE_MAX);
    snprintf(fresh->dir, sizeof(fresh->dir), "%s", settings->dir);
    snprintf(fresh->cluster_id, sizeof(fresh->cluster_id), "%s", settings->cluster_id);
    snprintf(fresh->node, sizeof(fresh->node), "%s", settings->node);
    fresh->dir_fd = open(settings->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    rc = fresh->dir_fd < 0
             ? kt_error_errno(error, "cannot open the audit folder '%s'", settings->dir)
             : take_up(fresh, &settings->known, error);
    if (rc) {
        kts_audit_file_free(fresh);
        return rc;
    }
    *file = fresh;
    return 0;
}
