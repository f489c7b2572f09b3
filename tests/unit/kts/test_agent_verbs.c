// SPDX-License-Identifier: Apache-2.0
// The table of the agent's verbs: each is there once, complete, and
// open to no more than it should be.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kts/agent_job.h"
#include "lib/file.h"

#define ALL                                                                                        \
    ((unsigned)(KTS_CALLER_LOCAL | KTS_CALLER_NODE | KTS_CALLER_OPERATOR | KTS_CALLER_TOKEN |      \
                KTS_CALLER_REMOVED))

static void check_complete(const struct kts_verb *verb, void *arg)
{
    int *count = arg;

    ++*count;
    if (!verb->run == !verb->job)
        fail_msg("'%s' needs one of run and job", verb->name);
    if (verb->callers == 0 || (verb->callers & ~ALL))
        fail_msg("'%s' has no proper callers", verb->name);
    if (verb->run && (verb->flags & (KTS_JOB_ALONE | KTS_JOB_HOLDS)))
        fail_msg("'%s' has a job's flags, but no job", verb->name);
    if (strspn(verb->name, "abcdefghijklmnopqrstuvwxyz._") != strlen(verb->name) ||
        strlen(verb->name) > 64)
        fail_msg("'%s' is no name that the door for nodes takes", verb->name);
    if (kts_verb_find(verb->name) != verb)
        fail_msg("'%s' is there twice", verb->name);
}

static void every_verb_is_complete_and_there_once(void **state)
{
    int count = 0;

    (void)state;
    kts_verbs_walk(check_complete, &count);
    assert_true(count > 20);
    assert_null(kts_verb_find("no.such"));
}

static void check_token(const struct kts_verb *verb, void *arg)
{
    (void)arg;
    if ((verb->callers & KTS_CALLER_TOKEN) &&
        (strcmp(verb->name, "join.begin") != 0 || verb->callers != KTS_CALLER_TOKEN))
        fail_msg("'%s' is open to who has a token", verb->name);
}

static void a_token_opens_nothing_but_joining(void **state)
{
    (void)state;
    kts_verbs_walk(check_token, NULL);
    assert_int_equal(kts_verb_find("join.begin")->callers, KTS_CALLER_TOKEN);
}

static void check_removed(const struct kts_verb *verb, void *arg)
{
    (void)arg;
    if ((verb->callers & KTS_CALLER_REMOVED) &&
        (strcmp(verb->name, "node.removed") != 0 || verb->callers != KTS_CALLER_REMOVED))
        fail_msg("'%s' is open to removed nodes", verb->name);
}

static void a_removed_node_is_told_that_and_nothing_else(void **state)
{
    (void)state;
    kts_verbs_walk(check_removed, NULL);
    assert_int_equal(kts_verb_check(NULL, KTS_CALLER_REMOVED, NULL), KT_ERR_NOT_MEMBER);
}

// What changes clients, organisations and operators goes through the machine's own account only.
static void check_local(const struct kts_verb *verb, void *arg)
{
    static const char *const PREFIXES[] = {"org.",      "authcode.", "client.", "grant.",
                                           "operator.", "db.",       "cert.",   NULL};

    (void)arg;
    for (size_t i = 0; PREFIXES[i]; i++) {
        if (strncmp(verb->name, PREFIXES[i], strlen(PREFIXES[i])) == 0 &&
            verb->callers != KTS_CALLER_LOCAL)
            fail_msg("'%s' is open to other machines", verb->name);
    }
}

static void organisations_and_operators_are_changed_on_the_machine_itself(void **state)
{
    (void)state;
    kts_verbs_walk(check_local, NULL);
}

// A job that runs alone, or that holds the writer, changes something.
static void check_recorded(const struct kts_verb *verb, void *arg)
{
    (void)arg;
    if ((verb->flags & (KTS_JOB_ALONE | KTS_JOB_HOLDS)) && !verb->event)
        fail_msg("'%s' changes something without a record", verb->name);
    if ((verb->flags & KTS_JOB_HOLDS) && !(verb->flags & KTS_JOB_ALONE))
        fail_msg("'%s' holds the writer, but not alone", verb->name);
    if (verb->event && strcmp(verb->event, verb->name) != 0)
        fail_msg("the record of '%s' has another name", verb->name);
}

static void what_changes_something_is_recorded_first(void **state)
{
    static const char *const CHANGING[] = {
        "token.new",     "token.revoke", "join.begin",    "node.add",    "node.seal",
        "node.promote",  "node.follow",  "node.rejoin",   "node.retire", "node.establish",
        "node.catch_up", "member.add",   "member.remove", "member.w",    NULL};

    (void)state;
    kts_verbs_walk(check_recorded, NULL);
    for (size_t i = 0; CHANGING[i]; i++) {
        const struct kts_verb *verb = kts_verb_find(CHANGING[i]);
        if (!verb || !verb->event)
            fail_msg("'%s' must be there, and recorded", CHANGING[i]);
    }
}

static void a_caller_without_the_right_is_told_so(void **state)
{
    struct kt_error error = {0};

    (void)state;
    assert_int_equal(kts_verb_check(kts_verb_find("ping"), KTS_CALLER_LOCAL, &error), 0);
    assert_int_equal(kts_verb_check(kts_verb_find("ping"), KTS_CALLER_NODE, &error),
                     KT_ERR_NOT_MEMBER);
    assert_int_equal(kts_verb_check(NULL, KTS_CALLER_NODE, &error), KT_ERR_ROUTE_UNKNOWN);
    assert_int_equal(kts_verb_check(NULL, KTS_CALLER_TOKEN, &error), KT_ERR_NOT_MEMBER);
}

// --- the document ---

static char *doc;

static int read_doc(void **state)
{
    (void)state;
    return kt_file_read_text(KT_SOURCE_DIR "/docs/protocol.md", 1 << 20, &doc, NULL);
}

static int free_doc(void **state)
{
    (void)state;
    free(doc);
    return 0;
}

static void check_documented(const struct kts_verb *verb, void *arg)
{
    static const struct {
        unsigned caller;
        const char *name;
    } NAMES[] = {{KTS_CALLER_NODE, "node"},
                 {KTS_CALLER_OPERATOR, "operator"},
                 {KTS_CALLER_TOKEN, "token"},
                 {KTS_CALLER_REMOVED, "removed"}};
    char line[160], callers[64] = "";
    int *count = arg;

    for (size_t i = 0; i < sizeof(NAMES) / sizeof(NAMES[0]); i++) {
        size_t used = strlen(callers);
        if (verb->callers & NAMES[i].caller)
            snprintf(callers + used, sizeof(callers) - used, "%s%s", used ? ", " : "",
                     NAMES[i].name);
    }
    if (!callers[0])
        return; // the unix socket's only
    ++*count;
    snprintf(line, sizeof(line), "\n| `%s` | %s | %s |", verb->name, callers,
             verb->event ? "yes" : "no");
    if (!strstr(doc, line))
        fail_msg("docs/protocol.md needs a row that begins with:%s", line);
}

static void verbs_of_other_machines_stand_in_the_document(void **state)
{
    const char *from = strstr(doc, "## Calls between nodes");
    const char *end = from ? strstr(from + 1, "\n## ") : NULL;
    int count = 0, rows = 0;

    (void)state;
    assert_non_null(from);
    kts_verbs_walk(check_documented, &count);
    while ((from = strstr(from, "\n| `")) != NULL && (!end || from < end)) {
        rows++;
        from++;
    }
    assert_int_equal(rows, count);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_verb_is_complete_and_there_once),
        cmocka_unit_test(a_token_opens_nothing_but_joining),
        cmocka_unit_test(a_removed_node_is_told_that_and_nothing_else),
        cmocka_unit_test(organisations_and_operators_are_changed_on_the_machine_itself),
        cmocka_unit_test(what_changes_something_is_recorded_first),
        cmocka_unit_test(a_caller_without_the_right_is_told_so),
        cmocka_unit_test_setup_teardown(verbs_of_other_machines_stand_in_the_document, read_doc,
                                        free_doc),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
