// SPDX-License-Identifier: Apache-2.0
// Fuzz target: JSON of strangers. What is accepted means the same when it is written and read again.
#include <stdlib.h>
#include <string.h>

#include "lib/json.h"
#include "tests/fuzz/fuzz.h"

static void read_members(const json_t *object)
{
    static const char *const NAMES[] = {"a", "b", "c", NULL};
    const char *text = NULL;
    int64_t number = 7;
    struct kt_error error = {0};

    if (kt_json_string(object, "a", 1, 16, &text, &error) == 0)
        fuzz_must(text != NULL && strlen(text) >= 1 && strlen(text) <= 16);
    if (kt_json_string(object, "b", 0, 3, &text, &error) == 0 && text != NULL)
        fuzz_must(strlen(text) <= 3);
    if (kt_json_integer(object, "c", -5, 1000, 0, &number, &error) == 0)
        fuzz_must(number >= -5 && number <= 1000);
    else
        fuzz_must(number == 7);
    if (kt_json_only(object, NAMES, &error) == 0)
        fuzz_must(json_object_size(object) <= 3);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *object = NULL, *again = NULL;
    struct kt_error error = {0};
    char *text;

    if (kt_json_parse_object(data, size, &object, &error) != 0) {
        fuzz_must(object == NULL && error.message[0] != '\0');
        return 0;
    }
    fuzz_must(json_is_object(object));
    read_members(object);
    text = kt_json_text(object);
    fuzz_must(text != NULL);
    fuzz_must(kt_json_parse_object(text, strlen(text), &again, &error) == 0);
    fuzz_must(json_equal(object, again));
    free(text);
    json_decref(again);
    json_decref(object);
    return 0;
}
