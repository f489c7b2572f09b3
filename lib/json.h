// SPDX-License-Identifier: Apache-2.0
// Small, strict helpers on jansson for input from strangers.
#ifndef KT_JSON_H
#define KT_JSON_H

#include <stdint.h>

#include <jansson.h>

#include "lib/err.h"

// One object, UTF-8, no duplicate keys, depth bounded by jansson, nothing behind it.
// KT_ERR_BAD_REQUEST with position in `error`. The caller json_decref()s.
int kt_json_parse_object(const void *bytes, size_t n, json_t **object,
                         struct kt_error *error) KT_MUST_CHECK;
// A string member of min..max bytes without NUL; owned by `object`. Missing: KT_ERR_BAD_REQUEST, or
// *out = NULL when min is 0.
int kt_json_string(const json_t *object, const char *name, size_t min, size_t max, const char **out,
                   struct kt_error *error) KT_MUST_CHECK;
// An integer member in [min, max]; `*out` keeps its value when the member is missing and
// `required` is 0.
int kt_json_integer(const json_t *object, const char *name, int64_t min, int64_t max, int required,
                    int64_t *out, struct kt_error *error) KT_MUST_CHECK;
int kt_json_boolean(const json_t *object, const char *name, int fallback);
// KT_ERR_BAD_REQUEST, naming the first member that is not in the NULL-terminated list.
int kt_json_only(const json_t *object, const char *const *names,
                 struct kt_error *error) KT_MUST_CHECK;
// Compact text with sorted keys; the caller frees. NULL when out of memory.
char *kt_json_text(const json_t *object);
// What jansson frees is wiped from now on in this process: answers may have secrets in them.
void kt_json_wipe_freed(void);

#endif
