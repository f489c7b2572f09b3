// SPDX-License-Identifier: Apache-2.0
// Tables for people: padded columns under a header in capitals.
#include "lib/cli.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

struct kt_table {
    size_t columns;
    size_t rows;  // the header is the first
    char **cells; // rows * columns
    size_t *widths;
};

// Characters, not bytes: names of organisations may be UTF-8.
static size_t text_width(const char *s)
{
    size_t n = 0;

    for (; *s; s++)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

static char *copy_cell(const char *cell)
{
    char *copy = strdup(cell && cell[0] ? cell : "-");

    for (char *p = copy; p && *p; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7f) // would break the line or the terminal
            *p = '?';
    }
    return copy;
}

static int add_row(struct kt_table *table, const char *const *cells, int is_header)
{
    size_t start = table->rows * table->columns;
    char **more = realloc(table->cells, (start + table->columns) * sizeof(*more));

    if (!more)
        return KT_ERR_NO_MEMORY;
    table->cells = more;
    for (size_t i = 0; i < table->columns; i++) {
        more[start + i] = copy_cell(cells[i]);
        if (!more[start + i]) {
            while (i-- > 0)
                free(more[start + i]);
            return KT_ERR_NO_MEMORY;
        }
        for (char *p = more[start + i]; is_header && *p; p++)
            *p = (char)toupper((unsigned char)*p);
    }
    for (size_t i = 0; i < table->columns; i++) {
        size_t width = text_width(more[start + i]);
        if (width > table->widths[i])
            table->widths[i] = width;
    }
    table->rows++;
    return 0;
}

struct kt_table *kt_table_new(const char *const *headers)
{
    struct kt_table *table = calloc(1, sizeof(*table));

    if (!table)
        return NULL;
    while (headers[table->columns])
        table->columns++;
    table->widths = calloc(table->columns + 1, sizeof(*table->widths));
    if (!table->widths || add_row(table, headers, 1) != 0) {
        kt_table_free(table);
        return NULL;
    }
    return table;
}

int kt_table_row(struct kt_table *table, const char *const *cells)
{
    return add_row(table, cells, 0);
}

void kt_table_print(const struct kt_table *table, FILE *out)
{
    for (size_t row = 0; row < table->rows; row++) {
        for (size_t i = 0; i < table->columns; i++) {
            const char *cell = table->cells[row * table->columns + i];
            fputs(cell, out);
            if (i + 1 == table->columns) // no blanks at the end of a line
                break;
            for (size_t n = text_width(cell); n < table->widths[i] + 2; n++)
                fputc(' ', out);
        }
        fputc('\n', out);
    }
}

void kt_table_free(struct kt_table *table)
{
    if (!table)
        return;
    for (size_t i = 0; table->cells && i < table->rows * table->columns; i++)
        free(table->cells[i]);
    free(table->cells);
    free(table->widths);
    free(table);
}
