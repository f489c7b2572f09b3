// SPDX-License-Identifier: Apache-2.0
// Looking at audit files: which is the last, and does its chain hold.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kts/audit_file.h"
#include "lib/buf.h"
#include "lib/json.h"

#define READ_STEP (256u << 10)
#define PREFIX    "audit-"
#define SUFFIX    ".log"

void kts_audit_file_name(unsigned number, char out[32])
{
    snprintf(out, 32, PREFIX "%06u" SUFFIX, number);
}

unsigned kts_audit_file_number(const char *name)
{
    char digits[16], again[32];
    size_t n = strlen(name), fixed = strlen(PREFIX) + strlen(SUFFIX);
    uint64_t value = 0;

    if (n <= fixed || n - fixed >= sizeof(digits) || strncmp(name, PREFIX, strlen(PREFIX)) != 0)
        return 0;
    memcpy(digits, name + strlen(PREFIX), n - fixed);
    digits[n - fixed] = '\0';
    if (strspn(digits, "0123456789") != n - fixed)
        return 0;
    value = strtoull(digits, NULL, 10);
    if (value == 0 || value > 999999999)
        return 0;
    kts_audit_file_name((unsigned)value, again);
    return strcmp(again, name) == 0 ? (unsigned)value : 0;
}

int kts_audit_last_number(const char *dir, unsigned *number, struct kt_error *error)
{
    unsigned last = 0;
    DIR *d = opendir(dir);

    if (!d)
        return kt_error_errno(error, "cannot open the audit folder '%s'", dir);
    for (struct dirent *entry = readdir(d); entry; entry = readdir(d)) {
        unsigned n = kts_audit_file_number(entry->d_name);
        if (n > last)
            last = n;
    }
    closedir(d);
    *number = last;
    return 0;
}

// The first record of a file says which record came before it.
static int take_previous(const char *json, size_t n, uint8_t previous[KT_SHA256_LEN])
{
    json_t *object = NULL;
    const char *event, *hex;
    int rc = kt_json_parse_object(json, n, &object, NULL);

    if (rc)
        return rc;
    event = json_string_value(json_object_get(object, "event"));
    hex = json_string_value(json_object_get(object, "previous"));
    if (!event || strcmp(event, "audit.open") != 0 || !hex)
        rc = KT_ERR_INVALID;
    else
        rc = kt_hex_decode(hex, previous, KT_SHA256_LEN);
    json_decref(object);
    return rc;
}

// Checks one line (without its newline) against the head, and moves the head on.
static int check_line(struct kts_audit_check *check, const char *line, size_t n)
{
    uint8_t hash[KT_SHA256_LEN], expected[KT_SHA256_LEN];
    const char *json;
    size_t json_len;
    uint64_t seq;

    if (kt_audit_line_parse(line, n, &seq, hash, &json, &json_len)) {
        snprintf(check->problem, sizeof(check->problem), "not a record");
        return KT_ERR_INVALID;
    }
    if (check->good == 0 && take_previous(json, json_len, check->head.hash)) {
        snprintf(check->problem, sizeof(check->problem),
                 "no \"audit.open\" record at the beginning");
        return KT_ERR_INVALID;
    }
    if (check->good > 0 && seq != check->head.seq + 1) {
        snprintf(check->problem, sizeof(check->problem), "a record is missing");
        return KT_ERR_INVALID;
    }
    if (kt_audit_hash(check->head.hash, seq, json, json_len, expected) ||
        memcmp(hash, expected, sizeof(hash)) != 0) {
        snprintf(check->problem, sizeof(check->problem), "the hash chain does not hold");
        return KT_ERR_INVALID;
    }
    if (check->wanted && check->wanted->seq == seq)
        check->differs = memcmp(check->wanted->hash, hash, sizeof(hash)) != 0;
    check->head.seq = seq;
    memcpy(check->head.hash, hash, sizeof(hash));
    check->good += (int64_t)n + 1;
    return 0;
}

// Checks the whole lines in `buf` and consumes them.
static int check_lines(struct kts_audit_check *check, struct kt_buf *buf)
{
    while (kt_buf_left(buf) > 0) {
        const char *line = (const char *)kt_buf_ptr(buf);
        const char *end = memchr(line, '\n', kt_buf_left(buf));
        if (!end)
            return 0;
        int rc = check_line(check, line, (size_t)(end - line));
        if (rc == 0)
            rc = kt_buf_consume(buf, (size_t)(end - line) + 1);
        if (rc)
            return rc;
    }
    return 0;
}

int kts_audit_check_file(const char *path, const struct kts_audit_head *wanted,
                         struct kts_audit_check *check, struct kt_error *error)
{
    struct kts_audit_check fresh = {.wanted = wanted};
    struct kt_buf buf = KT_BUF_INIT(READ_STEP + KT_AUDIT_LINE_MAX);
    struct stat st;
    int rc = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

    if (fd < 0 || fstat(fd, &st)) {
        rc = kt_error_errno(error, "cannot read '%s'", path);
        if (fd >= 0)
            close(fd);
        return rc;
    }
    fresh.size = st.st_size;
    for (;;) {
        uint8_t *where;
        ssize_t n;
        if (kt_buf_reserve(&buf, READ_STEP, &where)) {
            snprintf(fresh.problem, sizeof(fresh.problem), "a line is too long");
            break;
        }
        n = read(fd, where, READ_STEP);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            rc = kt_error_errno(error, "cannot read '%s'", path);
        if (n <= 0)
            break;
        kt_buf_commit(&buf, (size_t)n);
        if (check_lines(&fresh, &buf))
            break;
    }
    // A crash can leave the beginning of the last line, never less than the first one: a file gets
    // its name when that is on disk.
    fresh.torn = !fresh.problem[0] && kt_buf_left(&buf) > 0 && fresh.good > 0;
    if (!fresh.problem[0] && fresh.good == 0)
        snprintf(fresh.problem, sizeof(fresh.problem), "no whole record");
    close(fd);
    kt_buf_free(&buf);
    if (rc == 0)
        *check = fresh;
    return rc;
}
