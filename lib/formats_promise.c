// SPDX-License-Identifier: Apache-2.0
// The promise file: what a node has sworn about epochs, outside PGDATA and in no backup.
#include "lib/formats.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/file.h"
#include "lib/formats_text.h"

#define MEMBER_RANDOM 8 // hex digits behind the dot

// "<node>.<8 hex>"
static int check_member(const char *member)
{
    char node[KT_NODE_NAME_MAX + 1];
    const char *dot = strchr(member, '.');
    if (dot == NULL || (size_t)(dot - member) >= sizeof(node))
        return KT_ERR_INVALID;
    memcpy(node, member, (size_t)(dot - member));
    node[dot - member] = '\0';
    if (kt_name_check(node, KT_NODE_NAME_MAX) != 0 || strlen(dot + 1) != MEMBER_RANDOM ||
        strspn(dot + 1, "0123456789abcdef") != MEMBER_RANDOM)
        return KT_ERR_INVALID;
    return 0;
}

// "" or "<epoch> <node>"
static int check_retired(const char *retired)
{
    char epoch[24];
    uint64_t value = 0;
    const char *space = strchr(retired, ' ');
    if (retired[0] == '\0')
        return 0;
    if (space == NULL || (size_t)(space - retired) >= sizeof(epoch))
        return KT_ERR_INVALID;
    memcpy(epoch, retired, (size_t)(space - retired));
    epoch[space - retired] = '\0';
    if (kt_u64_parse(epoch, 0, UINT64_MAX, &value) != 0 ||
        kt_name_check(space + 1, KT_NODE_NAME_MAX) != 0)
        return KT_ERR_INVALID;
    return 0;
}

// PostgreSQL's form of a log position, the lower half padded; "0/0" for none.
static void format_lsn(uint64_t lsn, char out[24])
{
    if (lsn == 0)
        snprintf(out, 24, "0/0");
    else
        snprintf(out, 24, "%" PRIX32 "/%08" PRIX32, (uint32_t)(lsn >> 32), (uint32_t)lsn);
}

// The caller compares the spelling by formatting it again.
static int parse_lsn(const char *text, uint64_t *lsn)
{
    uint32_t high = 0, low = 0;
    if (sscanf(text, "%8" SCNx32 "/%8" SCNx32, &high, &low) != 2)
        return KT_ERR_INVALID;
    *lsn = (uint64_t)high << 32 | low;
    return 0;
}

int kt_promise_format(const struct kt_promise *promise, char out[KT_PROMISE_TEXT])
{
    char incarnation[KT_INCARNATION_TEXT], lsn[24], hash[KT_SHA256_TEXT];
    uint8_t digest[KT_SHA256_LEN];
    int retired = promise->retired_by[0] != '\0';
    if (check_member(promise->member) != 0 ||
        kt_name_check(promise->active, KT_NODE_NAME_MAX) != 0 ||
        check_retired(promise->retired_by) != 0)
        return KT_ERR_INVALID;
    kt_incarnation_format(&promise->incarnation, incarnation);
    format_lsn(promise->floor_lsn, lsn);
    int n = snprintf(out, KT_PROMISE_TEXT,
                     "keytrustee-promise 1\n"
                     "member %s\n"
                     "incarnation %s\n"
                     "epoch %" PRIu64 "\n"
                     "active %s\n"
                     "floor %s\n"
                     "active-since %" PRIu64 "\n"
                     "%s%s%s",
                     promise->member, incarnation, promise->epoch, promise->active, lsn,
                     promise->active_since, retired ? "retired-by " : "", promise->retired_by,
                     retired ? "\n" : "");
    if (n < 0 || n > KT_PROMISE_TEXT - 80)
        return KT_ERR_TOO_LARGE;
    int rc = kt_sha256(out, (size_t)n, digest);
    if (rc != 0)
        return rc;
    kt_hex_encode(digest, sizeof(digest), hash);
    snprintf(out + n, KT_PROMISE_TEXT - (size_t)n, "sha256 %s\n", hash);
    return 0;
}

// Copies a line's value into a member of `size` bytes.
static int read_name(struct kt_text *text, const char *name, char *out, size_t size)
{
    char line[KT_TEXT_VALUE];
    int rc = kt_text_line(text, name, line);
    if (rc != 0)
        return rc;
    if (strlen(line) >= size)
        return KT_ERR_INVALID;
    memcpy(out, line, strlen(line) + 1);
    return 0;
}

int kt_promise_parse(const char *text, size_t n, struct kt_promise *promise)
{
    struct kt_text rest = {text, n};
    struct kt_promise parsed = {0};
    char line[KT_TEXT_VALUE], again[KT_PROMISE_TEXT];
    int rc = kt_text_literal(&rest, "keytrustee-promise 1\n");
    if (rc == 0)
        rc = read_name(&rest, "member", parsed.member, sizeof(parsed.member));
    if (rc == 0)
        rc = kt_text_incarnation(&rest, "incarnation", &parsed.incarnation);
    if (rc == 0)
        rc = kt_text_u64(&rest, "epoch", 0, UINT64_MAX, &parsed.epoch);
    if (rc == 0)
        rc = read_name(&rest, "active", parsed.active, sizeof(parsed.active));
    if (rc == 0)
        rc = kt_text_line(&rest, "floor", line);
    if (rc == 0)
        rc = parse_lsn(line, &parsed.floor_lsn);
    if (rc == 0)
        rc = kt_text_u64(&rest, "active-since", 0, UINT64_MAX, &parsed.active_since);
    if (rc != 0)
        return rc;
    // The line is there only when set; when it is malformed the comparison below fails.
    if (read_name(&rest, "retired-by", parsed.retired_by, sizeof(parsed.retired_by)) != 0)
        parsed.retired_by[0] = '\0';
    if (kt_promise_format(&parsed, again) != 0 || strlen(again) != n ||
        memcmp(again, text, n) != 0) // compares the last line, the hash, too
        return KT_ERR_INVALID;
    *promise = parsed;
    return 0;
}

int kt_promise_load(const char *path, struct kt_promise *promise, struct kt_error *error)
{
    char *text = NULL;
    int rc = kt_file_read_text(path, KT_PROMISE_TEXT, &text, error);
    if (rc != 0)
        return rc;
    rc = kt_promise_parse(text, strlen(text), promise);
    if (rc != 0)
        rc = kt_error_set(error, rc,
                          "never copy or edit it; remove this node and add it as a new member",
                          "promise file '%s' is damaged", path);
    free(text);
    return rc;
}

int kt_promise_save(const char *path, const struct kt_promise *promise, struct kt_error *error)
{
    char text[KT_PROMISE_TEXT];
    int rc = kt_promise_format(promise, text);
    if (rc != 0)
        return kt_error_set(error, rc, NULL, "promise of '%s' cannot be written: %s", path,
                            kt_err_text(rc));
    return kt_file_replace(path, text, strlen(text), 0600, error);
}
