// SPDX-License-Identifier: Apache-2.0
// Fuzz target: OpenPGP messages and keys of any shape are read within their bounds.
#include <stdlib.h>

#include "lib/openpgp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kt_openpgp_message message;
    struct kt_openpgp_key key;
    struct kt_error error = {0};
    if (kt_openpgp_check_message(data, size, &message, &error) == 0) {
        if (message.recipients == 0 || message.recipients > KT_OPENPGP_RECIPIENTS_MAX)
            abort();
        for (size_t i = 0; i < message.recipients; i++)
            if (message.key_ids[i] == 0)
                abort();
        // What is one whole message is none when its last byte is missing.
        if (kt_openpgp_check_message(data, size - 1, &message, NULL) == 0)
            abort();
    } else if (error.message[0] == '\0') {
        abort();
    }
    if (kt_openpgp_read_key(data, size, &key, NULL) == 0 &&
        (key.key_id_count == 0 || key.key_id_count > 16))
        abort();
    return 0;
}
