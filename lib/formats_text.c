// SPDX-License-Identifier: Apache-2.0
// Line reader of the text formats.
#include "lib/formats_text.h"

#include <string.h>

int kt_text_literal(struct kt_text *text, const char *literal)
{
    size_t n = strlen(literal);
    if (text->left < n || memcmp(text->at, literal, n) != 0)
        return KT_ERR_INVALID;
    text->at += n;
    text->left -= n;
    return 0;
}

int kt_text_line(struct kt_text *text, const char *name, char value[KT_TEXT_VALUE])
{
    struct kt_text rest = *text;
    int rc = kt_text_literal(&rest, name);
    if (rc == 0)
        rc = kt_text_literal(&rest, " ");
    if (rc != 0)
        return rc;
    const char *end = memchr(rest.at, '\n', rest.left);
    if (end == NULL || end - rest.at >= KT_TEXT_VALUE)
        return KT_ERR_INVALID;
    size_t n = (size_t)(end - rest.at);
    if (n == 0 || memchr(rest.at, '\0', n) != NULL)
        return KT_ERR_INVALID;
    memcpy(value, rest.at, n);
    value[n] = '\0';
    text->at = end + 1;
    text->left = rest.left - n - 1;
    return 0;
}

int kt_text_u64(struct kt_text *text, const char *name, uint64_t min, uint64_t max, uint64_t *value)
{
    char line[KT_TEXT_VALUE];
    int rc = kt_text_line(text, name, line);
    if (rc == 0 && kt_u64_parse(line, min, max, value) != 0)
        rc = KT_ERR_INVALID;
    return rc;
}

int kt_text_u32(struct kt_text *text, const char *name, uint32_t min, uint32_t *value)
{
    uint64_t wide = 0;
    int rc = kt_text_u64(text, name, min, UINT32_MAX, &wide);
    if (rc == 0)
        *value = (uint32_t)wide;
    return rc;
}

int kt_text_hex(struct kt_text *text, const char *name, uint8_t *value, size_t n)
{
    char line[KT_TEXT_VALUE];
    int rc = kt_text_line(text, name, line);
    if (rc == 0 && kt_hex_decode(line, value, n) != 0)
        rc = KT_ERR_INVALID;
    return rc;
}

int kt_text_uuid(struct kt_text *text, const char *name, struct kt_uuid *value)
{
    char line[KT_TEXT_VALUE];
    int rc = kt_text_line(text, name, line);
    if (rc == 0 && kt_uuid_parse(line, value) != 0)
        rc = KT_ERR_INVALID;
    return rc;
}

int kt_text_incarnation(struct kt_text *text, const char *name, struct kt_incarnation *value)
{
    char line[KT_TEXT_VALUE];
    int rc = kt_text_line(text, name, line);
    if (rc == 0 && kt_incarnation_parse(line, value) != 0)
        rc = KT_ERR_INVALID;
    return rc;
}

int kt_text_part(struct kt_text *text, size_t len, char separator, const char **part)
{
    size_t taken = separator != '\0' ? len + 1 : len;
    if (text->left < taken || (separator != '\0' && text->at[len] != separator))
        return KT_ERR_INVALID;
    *part = text->at;
    text->at += taken;
    text->left -= taken;
    return 0;
}
