// SPDX-License-Identifier: Apache-2.0
// Stands in libFuzzer's place where there is no clang: runs a target over the files that are named
// and those of the folders that are named, in order. At least one must be there.
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/buf.h"
#include "lib/file.h"
#include "tests/fuzz/fuzz.h"

#define INPUT_MAX ((size_t)1 << 20)

static int count;

static int run_file(const char *path)
{
    struct kt_buf bytes = KT_BUF_INIT(INPUT_MAX);
    struct kt_error error = {0};
    size_t n;
    uint8_t *copy;

    if (kt_file_read(path, &bytes, &error) != 0) {
        fprintf(stderr, "%s: %s\n", path, error.message);
        return 1;
    }
    n = kt_buf_left(&bytes);
    copy = malloc(n > 0 ? n : 1); // of just the size, so that sanitizers see a step too far
    if (copy == NULL)
        return 1;
    if (n > 0)
        memcpy(copy, kt_buf_ptr(&bytes), n);
    kt_buf_free(&bytes);
    printf("%s\n", path); // the last one that was named is the one that a crash is of
    fflush(stdout);
    (void)LLVMFuzzerTestOneInput(copy, n);
    free(copy);
    count++;
    return 0;
}

static int run_folder(const char *path)
{
    struct dirent **entries = NULL;
    int n = scandir(path, &entries, NULL, alphasort), rc = n < 0;

    for (int i = 0; i < n; i++) {
        char name[4096];
        if (entries[i]->d_name[0] != '.' && rc == 0) {
            snprintf(name, sizeof(name), "%s/%s", path, entries[i]->d_name);
            rc = run_file(name);
        }
        free(entries[i]);
    }
    free(entries);
    return rc;
}

int main(int argc, char **argv)
{
    int rc = 0;

    for (int i = 1; i < argc && rc == 0; i++) {
        struct stat st;
        if (stat(argv[i], &st) != 0) {
            perror(argv[i]);
            return 1;
        }
        rc = S_ISDIR(st.st_mode) ? run_folder(argv[i]) : run_file(argv[i]);
    }
    printf("%d inputs\n", count);
    return rc != 0 || count == 0;
}
