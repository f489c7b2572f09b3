// SPDX-License-Identifier: Apache-2.0
// Put before every source by KT_ANALYZE: analysers look at one file at a time and do not know that
// these give back the code that they are given, which is never 0.
#ifndef KT_ANALYZER_H
#define KT_ANALYZER_H

#ifndef KT_ERR_ITSELF
#include "lib/err.h"

static inline int kt_analyzer_code(int result, int code)
{
    (void)result;
    if (code == 0)
        __builtin_unreachable();
    return code;
}

#define kt_error_set(error, code, ...)                                                             \
    kt_analyzer_code(kt_error_set(error, code, __VA_ARGS__), code)
#define kt_error_errno(...) kt_analyzer_code(kt_error_errno(__VA_ARGS__), KT_ERR_SYSTEM)
#endif

#endif
