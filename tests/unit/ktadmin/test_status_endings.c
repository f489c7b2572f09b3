// SPDX-License-Identifier: Apache-2.0
// What status makes of certificates that end: of the receipt key, of operators, of clients.
#include "fake_nodes.h"

#include "ktadmin/status.h"

struct fixture {
    struct fakes fakes;
    struct kta_nodes nodes;
    struct kt_error error;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    *state = f;
    if (!f)
        return -1;
    fakes_make(&f->fakes, &f->nodes, 2, 1);
    return kta_nodes_look(&f->nodes, &f->error);
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    fakes_free(&f->fakes, &f->nodes);
    free(f);
    return 0;
}

static json_t *of(int count, const char *first)
{
    return json_pack("{s:i, s:s, s:s}", "count", count, "first", first, "not_after",
                     "2027-01-02T03:04:05.000000Z");
}

static void tell(struct fixture *f, size_t i, int days, json_t *operators, json_t *clients)
{
    json_object_set_new(f->nodes.list[i].state, "endings",
                        json_pack("{s:{s:i}, s:o, s:o}", "receipt_key", "days", days, "operators",
                                  operators, "clients", clients));
}

// How many lines of attention have the text.
static int lines(struct fixture *f, const char *text)
{
    int code = 0, n = 0;
    json_t *list = kta_status_attention(&f->nodes, NULL, &code), *one;
    size_t i;

    json_array_foreach(list, i, one) n += strstr(json_string_value(one), text) != NULL;
    json_decref(list);
    return n;
}

static void nothing_is_said_of_what_lasts_or_is_not_known(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(lines(f, "certificate"), 0);
    tell(f, 0, 30, of(0, ""), json_null());
    tell(f, 1, 30, json_null(), of(0, ""));
    assert_int_equal(lines(f, "certificate"), 0);
}

static void clients_have_one_line_however_many_they_are(void **state)
{
    struct fixture *f = *state;

    tell(f, 0, 300, of(0, ""), of(70000, "host-1"));
    tell(f, 1, 300, of(0, ""), of(70000, "host-1")); // the same of another node
    assert_int_equal(lines(f, "certificate"), 1);
    assert_int_equal(
        lines(f, "70000 clients' certificates end within 30 days (first: host-1 on 2027-01-02)"),
        1);
}

static void operators_and_receipt_key_have_lines_of_their_own(void **state)
{
    struct fixture *f = *state;

    tell(f, 0, 29, of(1, "ada"), of(0, ""));
    tell(f, 1, 29, of(1, "ada"), of(0, ""));
    assert_int_equal(lines(f, "the certificate of the operator ada ends on 2027-01-02"), 1);
    assert_int_equal(lines(f, "receipt key's certificate is good for 29 more days: run ktadmin "
                              "rotate --receipt-key"),
                     1);
}

static void a_name_drives_no_terminal(void **state)
{
    struct fixture *f = *state;

    tell(f, 0, 300, of(0, ""), of(2, "a\x1b[2Jb"));
    tell(f, 1, 300, of(0, ""), of(2, "a\x1b[2Jb"));
    assert_int_equal(lines(f, "first: a?[2Jb on"), 1);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(nothing_is_said_of_what_lasts_or_is_not_known),
        CASE(clients_have_one_line_however_many_they_are),
        CASE(operators_and_receipt_key_have_lines_of_their_own),
        CASE(a_name_drives_no_terminal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
