// SPDX-License-Identifier: Apache-2.0
// What archive_write.c and archive_read.c share; for nobody else.
#ifndef KT_ARCHIVE_INNER_H
#define KT_ARCHIVE_INNER_H

#include <locale.h>

#include "lib/archive.h"

#define KT_ARCHIVE_SIZE_MAX ((uint64_t)1 << 46)

// libarchive converts names from and to the locale's character set and would mangle UTF-8 in the C
// locale: its calls run in a UTF-8 locale, which is this thread's only.
locale_t kt_archive_locale_new(void);
locale_t kt_archive_locale_enter(locale_t locale);
void kt_archive_locale_leave(locale_t before);

#endif
