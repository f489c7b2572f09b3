// SPDX-License-Identifier: Apache-2.0
// Fuzz target: manifests of backups, and names of backup files. What is accepted is spelt as
// kt_manifest_format spells it.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/manifest.h"
#include "tests/fuzz/fuzz.h"

static void check_name(const char *name)
{
    char stem[KT_BACKUP_STEM], again[2 * KT_BACKUP_STEM];

    if (!kt_backup_name_is(name, ".tar.gpg", stem))
        return;
    fuzz_must(strlen(stem) + strlen(".tar.gpg") == strlen(name));
    snprintf(again, sizeof(again), "%s.tar.gpg", stem);
    fuzz_must(strcmp(again, name) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kt_buf again = KT_BUF_INIT(KT_MANIFEST_FILE_MAX);
    struct kt_error error = {0};
    struct fuzz_input input = {data, size};
    struct kt_manifest *manifest = calloc(1, sizeof(*manifest));
    char *line = fuzz_line(&input);

    fuzz_must(manifest != NULL);
    check_name(line);
    if (size > 0 && kt_manifest_parse((const char *)data, size, manifest, &error) == 0) {
        fuzz_must(manifest->recipient_count <= KT_MANIFEST_RECIPIENTS_MAX);
        fuzz_must(manifest->table_count <= KT_MANIFEST_TABLES_MAX);
        if (size <= KT_MANIFEST_FILE_MAX) {
            fuzz_must(kt_manifest_format(manifest, &again) == 0);
            fuzz_same(data, size, kt_buf_ptr(&again), kt_buf_left(&again));
        }
        (void)kt_manifest_rows(manifest, "deposits");
    } else if (size > 0) {
        fuzz_must(error.message[0] != '\0');
    }
    kt_buf_free(&again);
    free(manifest);
    free(line);
    return 0;
}
