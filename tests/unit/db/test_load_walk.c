// SPDX-License-Identifier: Apache-2.0
// COPY's binary format, read for its form.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "db/load_inner.h"

// Two rows of three columns: a value of five bytes, NULL and an empty one; then the end.
#define ROW                                                                                        \
    "\0\3"                                                                                         \
    "\0\0\0\5"                                                                                     \
    "value"                                                                                        \
    "\377\377\377\377"                                                                             \
    "\0\0\0\0"
static const char TABLE[] = "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0" ROW ROW "\377\377";
#define LENGTH (sizeof(TABLE) - 1)

// The same answer whatever the pieces are.
static int walk(const char *bytes, size_t n, size_t piece, struct db_walk *walked)
{
    int rc = 0;

    memset(walked, 0, sizeof(*walked));
    for (size_t at = 0; at < n && rc == 0; at += piece)
        rc = db_walk(walked, bytes + at, n - at < piece ? n - at : piece);
    return rc;
}

static void a_table_is_walked_in_any_pieces(void **state)
{
    (void)state;
    for (size_t piece = 1; piece < 40; piece++) {
        struct db_walk walked;

        assert_int_equal(walk(TABLE, LENGTH, piece, &walked), 0);
        assert_true(db_walk_is_whole(&walked));
        assert_int_equal(walked.rows, 2);
        for (size_t n = 0; n < LENGTH; n++) {
            assert_int_equal(walk(TABLE, n, piece, &walked), 0);
            assert_false(db_walk_is_whole(&walked));
        }
    }
}

static void what_is_no_table_is_refused(void **state)
{
    static const struct {
        size_t at;
        char byte;
    } CHANGES[] = {
        {0, 'Q'},     // signature
        {11, 1},      // a critical flag
        {14, 1},      // an unknown flag
        {15, '\x7f'}, // an extension of 2 GB
        {19, '\x7f'}, // columns of the first row
        {20, 0},      // none
        {21, '\x7f'}, // a value of 2 GB
        {39, 2},      // the second row has fewer
    };
    struct db_walk walked;
    char bytes[LENGTH];

    (void)state;
    for (size_t i = 0; i < sizeof(CHANGES) / sizeof(CHANGES[0]); i++) {
        memcpy(bytes, TABLE, LENGTH);
        bytes[CHANGES[i].at] = CHANGES[i].byte;
        assert_int_equal(walk(bytes, LENGTH, 7, &walked), KT_ERR_INVALID);
    }
    assert_int_equal(walk(TABLE, LENGTH, 5, &walked), 0);
    assert_int_equal(db_walk(&walked, "", 1), KT_ERR_INVALID); // behind the end
}

static void an_extension_of_the_head_is_skipped(void **state)
{
    char bytes[LENGTH + 3];
    struct db_walk walked;

    (void)state;
    memcpy(bytes, TABLE, 19);
    bytes[18] = 3;
    memcpy(bytes + 19, "ext", 3);
    memcpy(bytes + 22, TABLE + 19, LENGTH - 19);
    assert_int_equal(walk(bytes, sizeof(bytes), 4, &walked), 0);
    assert_true(db_walk_is_whole(&walked));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_table_is_walked_in_any_pieces),
        cmocka_unit_test(what_is_no_table_is_refused),
        cmocka_unit_test(an_extension_of_the_head_is_skipped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
