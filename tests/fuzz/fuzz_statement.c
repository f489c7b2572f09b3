// SPDX-License-Identifier: Apache-2.0
// Fuzz target: statements about new incarnations and about cluster keys. What is accepted is spelt
// back.
#include <string.h>

#include "lib/key_statement.h"
#include "lib/statement.h"
#include "tests/fuzz/fuzz.h"

static void try_key(const uint8_t *data, size_t size)
{
    struct kt_key_statement statement;
    struct kt_buf again = KT_BUF_INIT(4096);

    if (kt_key_statement_parse((const char *)data, size, &statement) == 0) {
        fuzz_must(strcmp(statement.key, statement.next) != 0);
        fuzz_must(kt_key_statement_format(&statement, &again) == 0);
        fuzz_same(data, size, kt_buf_ptr(&again), kt_buf_left(&again));
    }
    kt_buf_reset(&again);
    // With the armor around it, unchecked.
    if (kt_key_statement_read(data, size, &statement) == 0)
        fuzz_must(kt_key_statement_format(&statement, &again) == 0);
    kt_buf_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kt_statement statement;
    struct kt_buf again = KT_BUF_INIT(4096);

    if (kt_statement_parse((const char *)data, size, &statement) == 0) {
        fuzz_must(statement.incarnation.number > statement.previous.number);
        fuzz_must(kt_statement_format(&statement, &again) == 0);
        fuzz_same(data, size, kt_buf_ptr(&again), kt_buf_left(&again));
    }
    kt_buf_free(&again);
    try_key(data, size);
    return 0;
}
