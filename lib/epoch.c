// SPDX-License-Identifier: Apache-2.0
// Rows of the failover protocol: their order, their list, and the names that are made of them.
#include "lib/epoch.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEMBER_RANDOM  8  // hex digits behind the dot
#define NAME_BYTES_MAX 63 // NAMEDATALEN - 1

static int order_u64(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

int kt_epoch_row_compare(const struct kt_epoch_row *a, const struct kt_epoch_row *b)
{
    int order = order_u64(a->incarnation.number, b->incarnation.number);

    if (order == 0)
        order = order_u64(a->incarnation.bits, b->incarnation.bits);
    if (order == 0)
        order = order_u64(a->epoch, b->epoch);
    if (order == 0)
        order = order_u64(a->sequence, b->sequence);
    if (order == 0) // two attempts may have chosen the same number: an epoch is the pair (e, X)
        order = strcmp(a->active, b->active);
    return order;
}

int kt_epoch_row_has_member(const struct kt_epoch_row *row, const char *member)
{
    for (uint32_t i = 0; i < row->count; i++) {
        if (strcmp(row->members[i], member) == 0)
            return 1;
    }
    return 0;
}

int kt_epoch_row_is_own(const struct kt_epoch_row *row, const struct kt_promise *promise)
{
    return row && row->incarnation.number == promise->incarnation.number &&
           row->incarnation.bits == promise->incarnation.bits && row->epoch == promise->epoch &&
           strcmp(row->active, promise->member) == 0;
}

int kt_epoch_rows_add(struct kt_epoch_rows *rows, const struct kt_epoch_row *row)
{
    const struct kt_epoch_row *newest = kt_epoch_rows_newest(rows);
    struct kt_epoch_row *grown;

    if (rows->count >= KT_EPOCH_ROWS_MAX)
        return KT_ERR_TOO_LARGE;
    if (newest && ((newest->incarnation.number == row->incarnation.number &&
                    newest->incarnation.bits != row->incarnation.bits) ||
                   kt_epoch_row_compare(newest, row) >= 0))
        return KT_ERR_INVALID;
    grown = reallocarray(rows->rows, rows->count + 1, sizeof(*grown));
    if (!grown)
        return KT_ERR_NO_MEMORY;
    grown[rows->count] = *row;
    rows->rows = grown;
    rows->count++;
    return 0;
}

void kt_epoch_rows_free(struct kt_epoch_rows *rows)
{
    if (!rows)
        return;
    free(rows->rows);
    rows->rows = NULL;
    rows->count = 0;
}

const struct kt_epoch_row *kt_epoch_rows_newest(const struct kt_epoch_rows *rows)
{
    return rows->count > 0 ? &rows->rows[rows->count - 1] : NULL;
}

void kt_lsn_format(uint64_t lsn, char out[KT_LSN_TEXT])
{
    snprintf(out, KT_LSN_TEXT, "%" PRIX32 "/%" PRIX32, (uint32_t)(lsn >> 32), (uint32_t)lsn);
}

// 1 to 8 hex digits; gives their number.
static size_t read_half(const char *text, uint32_t *half)
{
    size_t n = strspn(text, "0123456789abcdefABCDEF");

    if (n >= 1 && n <= 8)
        *half = (uint32_t)strtoul(text, NULL, 16);
    return n;
}

int kt_lsn_parse(const char *text, uint64_t *lsn)
{
    uint32_t high = 0, low = 0;
    size_t n = read_half(text, &high);

    if (n < 1 || n > 8 || text[n] != '/')
        return KT_ERR_INVALID;
    text += n + 1;
    n = read_half(text, &low);
    if (n < 1 || n > 8 || text[n] != '\0')
        return KT_ERR_INVALID;
    *lsn = (uint64_t)high << 32 | low;
    return 0;
}

int kt_timeline_left(const char *history, uint32_t timeline, uint64_t *lsn)
{
    char line[64], *end;

    while (*history != '\0') {
        size_t n = strcspn(history, "\n"), kept = n < sizeof(line) ? n : sizeof(line) - 1;
        memcpy(line, history, kept); // what is behind the position is a reason, for people
        line[kept] = '\0';
        history += history[n] == '\n' ? n + 1 : n;
        char *at = line + strspn(line, " \t");
        if (*at == '\0' || *at == '#')
            continue;
        uint64_t number = strtoull(at, &end, 10), found = 0;
        if (end == at || (*end != '\t' && *end != ' '))
            return KT_ERR_INVALID;
        at = end + strspn(end, " \t");
        at[strcspn(at, " \t\r")] = '\0';
        if (kt_lsn_parse(at, &found) != 0)
            return KT_ERR_INVALID;
        if (number == timeline) {
            *lsn = found;
            return 0;
        }
    }
    return KT_ERR_NOT_FOUND;
}

int kt_member_check(const char *member)
{
    char node[KT_NODE_NAME_MAX + 1];
    const char *dot = strchr(member, '.');

    if (!dot || (size_t)(dot - member) >= sizeof(node))
        return KT_ERR_INVALID;
    memcpy(node, member, (size_t)(dot - member));
    node[dot - member] = '\0';
    if (kt_name_check(node, KT_NODE_NAME_MAX) != 0 || strlen(dot + 1) != MEMBER_RANDOM ||
        strspn(dot + 1, "0123456789abcdef") != MEMBER_RANDOM)
        return KT_ERR_INVALID;
    return 0;
}

void kt_member_node(const char *member, char out[KT_NODE_NAME_MAX + 1])
{
    snprintf(out, KT_NODE_NAME_MAX + 1, "%.*s", (int)strcspn(member, "."), member);
}

int kt_member_new(const char *node, char out[KT_MEMBER_TEXT])
{
    uint8_t bits[MEMBER_RANDOM / 2];
    char hex[MEMBER_RANDOM + 1];
    int rc;

    if (kt_name_check(node, KT_NODE_NAME_MAX) != 0)
        return KT_ERR_INVALID;
    rc = kt_random(bits, sizeof(bits));
    if (rc != 0)
        return rc;
    kt_hex_encode(bits, sizeof(bits), hex);
    snprintf(out, KT_MEMBER_TEXT, "%s.%s", node, hex);
    return 0;
}

int kt_replication_name(const char *member, uint64_t epoch, const char *active_node,
                        char out[KT_REPLICATION_NAME_TEXT])
{
    char name[128];
    int n = snprintf(name, sizeof(name), "%s_e%" PRIu64 "_%s", member, epoch, active_node);

    if (n < 0 || n > NAME_BYTES_MAX)
        return KT_ERR_TOO_LARGE;
    memcpy(out, name, (size_t)n + 1);
    return 0;
}

int kt_standby_names(const struct kt_epoch_row *row, char out[KT_STANDBY_NAMES_TEXT])
{
    char text[KT_STANDBY_NAMES_TEXT], name[KT_REPLICATION_NAME_TEXT];
    char node[KT_NODE_NAME_MAX + 1];
    size_t used = 0;

    out[0] = '\0';
    if (row->count == 0)
        return 0;
    kt_member_node(row->active, node);
    for (uint32_t i = 0; i < row->count; i++) {
        int rc = kt_replication_name(row->members[i], row->epoch, node, name), n;
        if (rc != 0)
            return rc;
        if (i == 0)
            n = snprintf(text, sizeof(text), "ANY %" PRIu32 " (\"%s\"", row->w, name);
        else
            n = snprintf(text + used, sizeof(text) - used, ", \"%s\"", name);
        if (n < 0 || (size_t)n + 1 >= sizeof(text) - used) // room for the bracket
            return KT_ERR_TOO_LARGE;
        used += (size_t)n;
    }
    memcpy(text + used, ")", 2);
    memcpy(out, text, used + 2);
    return 0;
}

void kt_slot_name(const char *member, char out[KT_MEMBER_TEXT])
{
    snprintf(out, KT_MEMBER_TEXT, "%s", member);
    for (char *c = out; *c; c++) {
        if (*c == '-' || *c == '.')
            *c = '_';
    }
}
