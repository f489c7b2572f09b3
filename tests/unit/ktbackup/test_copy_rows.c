// SPDX-License-Identifier: Apache-2.0
// COPY's binary format as it comes in pieces, and what is not it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "ktbackup/copy_rows.h"

#define HEADER "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0"
#define ROW1   "\0\2\0\0\0\3abc\377\377\377\377" // "abc", NULL
#define ROW2   "\0\1\0\0\0\0"                    // ""
#define END    "\377\377"
#define WHOLE  HEADER ROW1 ROW2 END

static char seen[256];

static int take(void *arg, const struct ktb_row *row, struct kt_error *error)
{
    (void)error;
    for (size_t i = 0; i < row->count; i++) {
        size_t n = strlen(seen);
        if (row->values[i])
            snprintf(seen + n, sizeof(seen) - n, "[%.*s]", (int)row->lengths[i],
                     (const char *)row->values[i]);
        else
            snprintf(seen + n, sizeof(seen) - n, "NULL");
    }
    strcat(seen, ";");
    return *(int *)arg;
}

// Puts `n` bytes in pieces of `piece`; the result of the first call that fails, or of the end.
static int put_all(const char *bytes, size_t n, size_t piece, int answer)
{
    struct kt_error error = {0};
    struct ktb_rows rows;
    int rc = 0;

    seen[0] = '\0';
    ktb_rows_begin(&rows, take, &answer);
    for (size_t at = 0; at < n && rc == 0; at += piece)
        rc = ktb_rows_put(&rows, bytes + at, n - at < piece ? n - at : piece, &error);
    if (rc == 0)
        rc = ktb_rows_end(&rows, &error);
    ktb_rows_free(&rows);
    assert_true(rc == 0 || rc == answer || error.code == rc);
    return rc;
}

static void rows_come_whole_whatever_the_pieces(void **state)
{
    (void)state;
    for (size_t piece = 1; piece <= sizeof(WHOLE); piece++) {
        assert_int_equal(put_all(WHOLE, sizeof(WHOLE) - 1, piece, 0), 0);
        assert_string_equal(seen, "[abc]NULL;[];");
    }
}

static void any_end_that_is_too_early_is_found(void **state)
{
    (void)state;
    for (size_t n = 0; n < sizeof(WHOLE) - 1; n++)
        assert_int_equal(put_all(WHOLE, n, 5, 0), KT_ERR_TRUNCATED);
}

static void bytes_behind_the_end_are_refused(void **state)
{
    (void)state;
    assert_int_equal(put_all(WHOLE "x", sizeof(WHOLE), sizeof(WHOLE), 0), KT_ERR_INVALID);
    assert_int_equal(put_all(WHOLE "x", sizeof(WHOLE), 1, 0), KT_ERR_INVALID);
}

static void another_signature_flags_or_an_extension_are_refused(void **state)
{
    (void)state;
    for (size_t at = 0; at < 19; at++) {
        char bytes[sizeof(WHOLE)] = WHOLE;
        bytes[at] ^= 1;
        assert_int_equal(put_all(bytes, sizeof(WHOLE) - 1, 7, 0), KT_ERR_INVALID);
        assert_string_equal(seen, "");
    }
}

static void more_columns_or_longer_values_than_there_can_be_are_refused(void **state)
{
    (void)state;
    assert_int_equal(put_all(HEADER "\0\101", 21, 21, 0), KT_ERR_INVALID);
    assert_int_equal(put_all(HEADER "\0\1\177\377\377\377", 25, 25, 0), KT_ERR_INVALID);
    assert_int_equal(put_all(HEADER "\0\1\4\0\0\1", 25, 25, 0), KT_ERR_INVALID);
}

static void answer_of_the_taker_ends_it(void **state)
{
    (void)state;
    assert_int_equal(put_all(WHOLE, sizeof(WHOLE) - 1, sizeof(WHOLE), KT_ERR_SIGNATURE),
                     KT_ERR_SIGNATURE);
    assert_string_equal(seen, "[abc]NULL;");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_come_whole_whatever_the_pieces),
        cmocka_unit_test(any_end_that_is_too_early_is_found),
        cmocka_unit_test(bytes_behind_the_end_are_refused),
        cmocka_unit_test(another_signature_flags_or_an_extension_are_refused),
        cmocka_unit_test(more_columns_or_longer_values_than_there_can_be_are_refused),
        cmocka_unit_test(answer_of_the_taker_ends_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
