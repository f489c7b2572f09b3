// SPDX-License-Identifier: Apache-2.0
// All receipts of this host, for an operator who wants to know whether anything is missing.
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/client.h"
#include "lib/file.h"

#define SUFFIX ".receipt"

static int is_receipt(const struct dirent *entry)
{
    size_t n = strlen(entry->d_name), suffix = strlen(SUFFIX);

    return n == KT_UUID_TEXT - 1 + suffix && strcmp(entry->d_name + n - suffix, SUFFIX) == 0;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

// One file: exactly one receipt, as it was signed. `*stop` becomes 1 when the caller has enough.
static int give_one(const struct keytrustee *client, const char *name, keytrustee_receipt_fn each,
                    void *arg, int *stop, struct kt_error *error)
{
    struct kt_receipt receipt;
    char path[KT_PATH_MAX];
    char *text = NULL;
    int rc = ktc_path_in(client, "receipts", name, "", path);

    if (rc == 0)
        rc = kt_file_read_text(path, 2 * KT_RECEIPT_TEXT, &text, error);
    if (rc == 0 && kt_receipt_parse(text, strlen(text), &receipt) != 0)
        rc = kt_error_set(error, KT_ERR_SIGNATURE, NULL, "receipt \"%s\" is damaged", path);
    if (rc == 0)
        *stop = each(arg, text, strlen(text)) != 0;
    free(text);
    return rc;
}

int ktc_receipts_each(const struct keytrustee *client, keytrustee_receipt_fn each, void *arg,
                      struct kt_error *error)
{
    struct dirent **names = NULL;
    char path[KT_PATH_MAX];
    int count = 0, stop = 0, first = 0;
    int rc = ktc_need_registration(client, error);

    if (rc == 0)
        rc = ktc_path(client, "receipts", path);
    if (rc != 0)
        return rc;
    count = scandir(path, &names, is_receipt, by_name);
    if (count < 0)
        return kt_error_errno(error, "cannot read \"%s\"", path);
    for (int i = 0; i < count; i++) {
        struct kt_error why = {0};
        rc = stop ? 0 : give_one(client, names[i]->d_name, each, arg, &stop, &why);
        if (rc != 0 && first == 0) {
            first = rc;
            *error = why;
        }
        free(names[i]);
    }
    free(names);
    return first;
}

int keytrustee_receipts(struct keytrustee *client, keytrustee_receipt_fn each, void *arg,
                        struct keytrustee_error *error)
{
    struct kt_error why = {0};

    return ktc_end(NULL, ktc_receipts_each(client, each, arg, &why), &why, error);
}
