// SPDX-License-Identifier: Apache-2.0
// Fuzz target: settings files. What is accepted is read again, the same, from the file that is
// written of it.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/settings.h"
#include "tests/fuzz/fuzz.h"

static void compare(const struct kt_settings *a, const struct kt_settings *b)
{
    for (int i = 0; i < KT_SET_COUNT; i++) {
        enum kt_setting id = (enum kt_setting)i;
        enum kt_setting_type type = kt_setting_info(id)->type;
        fuzz_must(kt_settings_is_set(a, id) == kt_settings_is_set(b, id));
        fuzz_must(strcmp(kt_settings_text(a, id), kt_settings_text(b, id)) == 0);
        if (type != KT_TYPE_STRING && type != KT_TYPE_PATH)
            fuzz_must(kt_settings_number(a, id) == kt_settings_number(b, id));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kt_settings *settings = NULL, *again = NULL;
    struct kt_error error = {0};
    char *text = NULL;
    size_t n = 0;
    FILE *out;

    if (kt_settings_load(fuzz_file("keytrustee.conf", data, size), &settings, &error) != 0) {
        fuzz_must(settings == NULL && error.message[0] != '\0');
        return 0;
    }
    out = open_memstream(&text, &n);
    fuzz_must(out != NULL);
    fuzz_must(kt_settings_write_sample(settings, out) == 0 && fclose(out) == 0);
    fuzz_must(kt_settings_load(fuzz_file("again.conf", text, n), &again, &error) == 0);
    compare(settings, again);
    kt_settings_free(settings);
    kt_settings_free(again);
    free(text);
    return 0;
}
