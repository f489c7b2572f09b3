// SPDX-License-Identifier: Apache-2.0
// Printing answers, and reading what options hold.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ktadmin/common.h"

#define CELL_MAX 512

void kta_print_json(const json_t *value)
{
    json_dumpf(value, stdout,
               JSON_INDENT(2) | JSON_SORT_KEYS | JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
    putchar('\n');
}

// "2026-11-22T06:11:43.123456Z" to the second.
static void trim_time(char *text)
{
    size_t n = strlen(text);

    if (n == KT_TIME_TEXT - 5 && text[10] == 'T' && text[19] == '.' && text[n - 1] == 'Z')
        memcpy(text + 19, "Z", 2);
}

static void value_text(const json_t *value, char *out, size_t size)
{
    size_t used = 0, i;
    json_t *item;

    out[0] = '\0';
    if (json_is_string(value)) {
        snprintf(out, size, "%s", json_string_value(value));
        trim_time(out);
    } else if (json_is_integer(value)) {
        snprintf(out, size, "%lld", (long long)json_integer_value(value));
    } else if (json_is_real(value)) {
        snprintf(out, size, "%g", json_real_value(value));
    } else if (json_is_boolean(value)) {
        snprintf(out, size, "%s", json_is_true(value) ? "yes" : "no");
    } else if (json_is_array(value)) {
        json_array_foreach(value, i, item)
        {
            char one[CELL_MAX];
            value_text(item, one, sizeof(one));
            if (used < size)
                used += (size_t)snprintf(out + used, size - used, "%s%s", i ? "," : "", one);
        }
    } else if (json_is_object(value)) {
        char *text = json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS);
        snprintf(out, size, "%s", text ? text : "");
        free(text);
    }
    if (out[0] == '\0')
        snprintf(out, size, "-");
}

void kta_text_of(const json_t *object, const char *member, char *out, size_t size)
{
    value_text(json_object_get(object, member), out, size);
}

int kta_print_rows(const struct kt_cli_run *run, const json_t *rows,
                   const struct kta_column *columns)
{
    char cells[KTA_COLUMNS_MAX][CELL_MAX];
    const char *titles[KTA_COLUMNS_MAX + 1] = {NULL}, *texts[KTA_COLUMNS_MAX + 1] = {NULL};
    struct kt_table *table;
    size_t i, n = 0;
    json_t *row;
    int rc = 0;

    if (kt_cli_flag(run, "json")) {
        kta_print_json(rows);
        return KT_EXIT_OK;
    }
    for (; n < KTA_COLUMNS_MAX && columns[n].title; n++) {
        titles[n] = columns[n].title;
        texts[n] = cells[n];
    }
    table = kt_table_new(titles);
    if (!table)
        rc = KT_ERR_NO_MEMORY;
    json_array_foreach(rows, i, row)
    {
        for (size_t k = 0; k < n; k++)
            kta_text_of(row, columns[k].member, cells[k], sizeof(cells[k]));
        if (rc == 0)
            rc = kt_table_row(table, texts);
    }
    if (rc == 0 && json_array_size(rows) > 0)
        kt_table_print(table, stdout);
    else if (rc == 0 && !kt_cli_flag(run, "quiet"))
        fprintf(stderr, "none\n");
    kt_table_free(table);
    if (rc) {
        struct kt_error error = {0};
        kt_error_set(&error, rc, NULL, "cannot print the table");
        return kt_cli_fail(run, &error);
    }
    return KT_EXIT_OK;
}

int kta_duration(const char *option, const char *text, int64_t *seconds, struct kt_error *error)
{
    struct kt_settings *settings = NULL;
    int rc = kt_settings_new(&settings);

    // The same parser as in the settings file: this row has the right unit and bounds.
    if (rc == 0)
        rc = kt_settings_set(settings, KT_SET_AUTH_CODE_LIFETIME, text, NULL);
    if (rc == 0)
        *seconds = kt_settings_number(settings, KT_SET_AUTH_CODE_LIFETIME) / 1000;
    kt_settings_free(settings);
    if (rc)
        return kt_error_set(error, KT_ERR_USAGE, "write it as 30min, 24h or 7d",
                            "--%s: '%.40s' is not a duration between 1s and 365d", option, text);
    return 0;
}

int kta_number(const char *option, const char *text, uint64_t min, uint64_t max, uint64_t *number,
               struct kt_error *error)
{
    if (kt_u64_parse(text, min, max, number) == 0)
        return 0;
    return kt_error_set(error, KT_ERR_USAGE, NULL,
                        "--%s: '%.40s' is not a number between %llu and %llu", option, text,
                        (unsigned long long)min, (unsigned long long)max);
}

int kta_rights_check(const char *text, struct kt_error *error)
{
    static const char *const KNOWN[] = {"deposit",  "browse", "retrieve", "delete",
                                        "undelete", "purge",  "lock",     "bypass"};

    for (const char *at = text;; at++) {
        size_t n = strcspn(at, ","), i = 0;
        while (i < 8 && (strlen(KNOWN[i]) != n || memcmp(at, KNOWN[i], n) != 0))
            i++;
        if (i == 8)
            return kt_error_set(error, KT_ERR_USAGE,
                                "rights are deposit, browse, retrieve, delete, undelete, purge, "
                                "lock, bypass, with commas between them",
                                "'%.*s' is not a right", (int)(n > 40 ? 40 : n), at);
        at += n;
        if (*at == '\0')
            return 0;
    }
}
