// SPDX-License-Identifier: Apache-2.0
// What members of an archive may be called, and the locale that libarchive works in.
#include "lib/archive_inner.h"

#include <string.h>

locale_t kt_archive_locale_new(void)
{
    locale_t locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);

    return locale ? locale : newlocale(LC_CTYPE_MASK, "en_US.UTF-8", (locale_t)0);
}

locale_t kt_archive_locale_enter(locale_t locale)
{
    return locale ? uselocale(locale) : (locale_t)0;
}

void kt_archive_locale_leave(locale_t before)
{
    if (before)
        uselocale(before);
}

// Bytes of the UTF-8 character at `at`; 0 when it is none, or a control character (C0, DEL, C1).
static size_t character(const unsigned char *at)
{
    static const unsigned LEAST[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned value = at[0];
    size_t n = value < 0x80 ? 1 : value < 0xc0 ? 0 : value < 0xe0 ? 2 : value < 0xf0 ? 3 : 4;

    if (n == 1)
        return value >= 0x20 && value != 0x7f;
    if (n == 0 || value > 0xf4)
        return 0;
    value &= 0x7fu >> n;
    for (size_t i = 1; i < n; i++) { // stops at the NUL
        if ((at[i] & 0xc0) != 0x80)
            return 0;
        value = value << 6 | (at[i] & 0x3fu);
    }
    if (value < LEAST[n] || value < 0xa0 || value > 0x10ffff || (value >> 11) == 0x1b)
        return 0;
    return n;
}

int kt_archive_path_check(const char *path)
{
    size_t len = strnlen(path, KT_PATH_MAX), n;
    const char *at = path;

    if (len == 0 || len == KT_PATH_MAX)
        return KT_ERR_INVALID;
    for (size_t i = 0; i < len; i += n) {
        n = character((const unsigned char *)path + i);
        if (n == 0)
            return KT_ERR_INVALID;
    }
    for (;;) { // an empty part: absolute, "a//b", or a slash at the end
        n = strcspn(at, "/");
        if (n == 0 || (n == 1 && at[0] == '.') || (n == 2 && at[0] == '.' && at[1] == '.'))
            return KT_ERR_INVALID;
        if (at[n] == '\0')
            return 0;
        at += n + 1;
    }
}
