// SPDX-License-Identifier: Apache-2.0
// Put before every source by tests/static/run: analysers look at one file at a time and do not know
// that these give back an error, never 0.
#ifndef KT_ANALYZER_H
#define KT_ANALYZER_H

#include "lib/err.h"

static inline int kt_analyzer_code(int code)
{
    if (code == 0)
        __builtin_unreachable();
    return code;
}

#ifndef KT_ERR_ITSELF // which defines them
#define kt_error_set(error, code, ...) kt_analyzer_code((kt_error_set)(error, code, __VA_ARGS__))
#define kt_error_errno(...)            kt_analyzer_code((kt_error_errno)(__VA_ARGS__))
#endif

#endif
