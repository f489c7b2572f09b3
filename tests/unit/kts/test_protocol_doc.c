// SPDX-License-Identifier: Apache-2.0
// docs/protocol.md says what the code does: its tables of calls and of errors.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kts/ciphertext.h"
#include "kts/routes.h"
#include "lib/file.h"

static char *doc;

static int read_doc(void **state)
{
    struct kt_error error = {0};

    (void)state;
    return kt_file_read_text(KT_SOURCE_DIR "/docs/protocol.md", 1 << 20, &doc, &error);
}

static int free_doc(void **state)
{
    (void)state;
    free(doc);
    return 0;
}

// How often the text stands there as a whole line.
static size_t lines_with(const char *line)
{
    size_t n = strlen(line), count = 0;

    for (const char *p = doc; (p = strstr(p, line)) != NULL; p += n) {
        if ((p == doc || p[-1] == '\n') && (p[n] == '\n' || p[n] == '\0'))
            count++;
    }
    return count;
}

// Lines that begin with "| `" between two headings.
static size_t rows_between(const char *from, const char *to)
{
    const char *p = strstr(doc, from), *end = p ? strstr(p, to) : NULL;
    size_t count = 0;

    assert_non_null(p);
    assert_non_null(end);
    while ((p = strstr(p, "\n| `")) != NULL && p < end) {
        count++;
        p++;
    }
    return count;
}

static void format_body(const struct kts_route *route, char *out, size_t size)
{
    if (route->body_max == KTS_BODY_SETTING)
        snprintf(out, size, "limits.body_size");
    else
        snprintf(out, size, "%zu", route->body_max);
}

static void every_call_stands_in_the_document_as_it_is(void **state)
{
    size_t count;
    const struct kts_route *routes = kts_routes_all(&count);

    (void)state;
    for (size_t i = 0; i < count; i++) {
        const struct kts_route *r = &routes[i];
        char line[512], body[32];
        format_body(r, body, sizeof(body));
        snprintf(line, sizeof(line), "| `%s %s` | %s | %s | %s | %s | %s | %s |",
                 kts_method_name(r->method), r->pattern, r->event, kts_caller_name(r->caller),
                 r->right ? r->right : "-", r->freshness ? "yes" : "no", body,
                 r->class == KTS_CHANGE ? "writer"
                 : r->audited           ? "yes"
                                        : "no");
        if (lines_with(line) != 1)
            fail_msg("docs/protocol.md needs this line once:\n%s", line);
    }
    assert_int_equal(rows_between("## Calls", "### "), count);
}

static void every_error_on_the_wire_stands_in_the_document_as_it_is(void **state)
{
    size_t count, on_the_wire = 0;
    const struct kt_err_info *all = kt_err_all(&count);

    (void)state;
    for (size_t i = 0; i < count; i++) {
        char line[1024];
        if (all[i].http == 0)
            continue;
        on_the_wire++;
        snprintf(line, sizeof(line), "| `%s` | %d | %s | %s |", all[i].name, all[i].http,
                 all[i].text, all[i].hint);
        if (lines_with(line) != 1)
            fail_msg("docs/protocol.md needs this line once:\n%s", line);
    }
    assert_int_equal(rows_between("## Errors", "## Time limits"), on_the_wire);
}

static void every_content_type_in_the_document_is_accepted(void **state)
{
    const char *p = strstr(doc, "| content type | must be |");
    const char *end = p ? strstr(p, "\n\n") : NULL;
    size_t rows = 0;

    (void)state;
    assert_non_null(end);
    while ((p = strstr(p, "\n| `")) != NULL && p < end) {
        char type[64] = "";
        assert_int_equal(sscanf(p, "\n| `%63[^`]`", type), 1);
        assert_non_null(kts_ciphertext_type(type));
        rows++;
        p++;
    }
    assert_true(rows > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_call_stands_in_the_document_as_it_is),
        cmocka_unit_test(every_error_on_the_wire_stands_in_the_document_as_it_is),
        cmocka_unit_test(every_content_type_in_the_document_is_accepted),
    };
    return cmocka_run_group_tests(tests, read_doc, free_doc);
}
