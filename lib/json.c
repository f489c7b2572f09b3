// SPDX-License-Identifier: Apache-2.0
// Strict helpers on jansson: every member is checked for type, size and range.
#include "lib/json.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "lib/secret.h"

#define NAME_SHOWN 64 // bytes of a stranger's member name that go into a message

int kt_json_parse_object(const void *bytes, size_t n, json_t **object, struct kt_error *error)
{
    json_error_t why;
    json_t *value = json_loadb(bytes ? bytes : "", n, JSON_REJECT_DUPLICATES, &why);

    if (!value) {
        // why.text quotes the input, which may be secret: only the position goes on
        const char *what = json_error_code(&why) == json_error_duplicate_key
                               ? "a member is there twice"
                               : "not valid JSON";
        return kt_error_set(error, KT_ERR_BAD_REQUEST, NULL, "%s at line %d, column %d", what,
                            why.line, why.column);
    }
    if (!json_is_object(value)) {
        json_decref(value);
        return kt_error_set(error, KT_ERR_BAD_REQUEST, NULL, "the JSON value is not an object");
    }
    *object = value;
    return 0;
}

int kt_json_string(const json_t *object, const char *name, size_t min, size_t max, const char **out,
                   struct kt_error *error)
{
    const json_t *value = json_object_get(object, name);
    const char *text = json_string_value(value);
    size_t len;

    if (!value && min > 0)
        return kt_error_set(error, KT_ERR_BAD_REQUEST, NULL, "member '%s' is missing", name);
    if (!value) {
        *out = NULL;
        return 0;
    }
    if (!text)
        return kt_error_set(error, KT_ERR_BAD_REQUEST, NULL, "member '%s' is not a string", name);
    len = json_string_length(value);
    if (strlen(text) != len)
        return kt_error_set(error, KT_ERR_BAD_REQUEST, NULL, "member '%s' has a NUL character",
                            name);
    if (len < min || len > max)
        return kt_error_set(error, KT_ERR_BAD_REQUEST, NULL,
                            "member '%s' must have %zu to %zu bytes", name, min, max);
    *out = text;
    return 0;
}

int kt_json_integer(const json_t *object, const char *name, int64_t min, int64_t max, int required,
                    int64_t *out, struct kt_error *error)
{
    const json_t *value = json_object_get(object, name);
    json_int_t number;

    if (!value && required)
        return kt_error_set(error, KT_ERR_BAD_REQUEST, NULL, "member '%s' is missing", name);
    if (!value)
        return 0;
    number = json_integer_value(value);
    if (!json_is_integer(value))
        return kt_error_set(error, KT_ERR_BAD_REQUEST, NULL, "member '%s' is not a whole number",
                            name);
    if (number < min || number > max)
        return kt_error_set(error, KT_ERR_BAD_REQUEST, NULL,
                            "member '%s' must be between %lld and %lld", name, (long long)min,
                            (long long)max);
    *out = number;
    return 0;
}

int kt_json_boolean(const json_t *object, const char *name, int fallback)
{
    const json_t *value = json_object_get(object, name);

    return json_is_boolean(value) ? json_is_true(value) : fallback;
}

// Bytes of `s` to show: at most NAME_SHOWN, and no half of a UTF-8 character.
static int shown(const char *s)
{
    size_t n = strnlen(s, NAME_SHOWN + 1);

    if (n > NAME_SHOWN) {
        n = NAME_SHOWN;
        while (n > 0 && ((unsigned char)s[n] & 0xc0) == 0x80)
            n--;
    }
    return (int)n;
}

int kt_json_only(const json_t *object, const char *const *names, struct kt_error *error)
{
    union { // jansson's iterator takes a non-const object and changes nothing
        const json_t *in;
        json_t *out;
    } plain = {.in = object};

    for (void *it = json_object_iter(plain.out); it; it = json_object_iter_next(plain.out, it)) {
        const char *key = json_object_iter_key(it);
        size_t i = 0;
        while (names[i] && strcmp(names[i], key) != 0)
            i++;
        if (!names[i])
            return kt_error_set(error, KT_ERR_BAD_REQUEST, NULL, "unknown member '%.*s'",
                                shown(key), key);
    }
    return 0;
}

char *kt_json_text(const json_t *object)
{
    return json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS);
}

static void wipe_and_free(void *p)
{
    if (p)
        kt_wipe(p, malloc_usable_size(p));
    free(p);
}

void kt_json_wipe_freed(void)
{
    json_set_alloc_funcs(malloc, wipe_and_free);
}
