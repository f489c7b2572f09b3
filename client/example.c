/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deposits a secret and fetches it back with libkeytrustee:
 *   cc example.c $(pkg-config --cflags --libs keytrustee) -o example && ./example
 * This host must be registered: keytrustee register --server HOST --auth-code-file FILE
 */
#include <keytrustee.h>
#include <stdio.h>
#include <string.h>

int main(void)
{
    static const char key[] = "0123456789abcdef";
    struct keytrustee *client = NULL;
    struct keytrustee_secret *secret = NULL;
    struct keytrustee_deposit deposit;
    struct keytrustee_error error;
    int rc = keytrustee_open(NULL, &client, &error);

    if (rc == KEYTRUSTEE_OK)
        rc = keytrustee_put(client, "example/key", key, strlen(key), NULL, &deposit, &error);
    if (rc == KEYTRUSTEE_OK) {
        printf("stored as version %u\n", (unsigned)deposit.version);
        rc = keytrustee_get(client, "example/key", deposit.version, &secret, NULL, &error);
    }
    if (rc == KEYTRUSTEE_OK) {
        int same = keytrustee_secret_length(secret) == strlen(key) &&
                   memcmp(keytrustee_secret_bytes(secret), key, strlen(key)) == 0;
        printf("fetched it back: %s\n", same ? "the same bytes" : "other bytes");
    } else {
        fprintf(stderr, "example: %s\nhint: %s\n", error.message, error.hint);
    }
    keytrustee_free(secret); /* wipes */
    keytrustee_close(client);
    return rc;
}
