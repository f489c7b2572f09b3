// SPDX-License-Identifier: Apache-2.0
// Command lines: options, verbs, help, exit codes, questions, tables.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pty.h>
#include <sys/wait.h>

#include "lib/cli.h"
#include "tests/unit/lib/temp_dir.h"

// What the command saw, and what it gives back.
static char seen[1024];
static int command_result;

static int run_any(struct kt_cli_run *run)
{
    size_t n = 0;

    n += (size_t)snprintf(seen + n, sizeof(seen) - n, "[%s]", run->command->verb);
    for (int i = 0; i < run->argc; i++)
        n += (size_t)snprintf(seen + n, sizeof(seen) - n, " %s", run->argv[i]);
    static const char *const NAMES[] = {"confdir", "quiet", "verbose", "recipient", "yes", NULL};
    for (size_t i = 0; NAMES[i]; i++) {
        for (int at = 0; at < kt_cli_count(run, NAMES[i]); at++)
            n += (size_t)snprintf(seen + n, sizeof(seen) - n, " %s=%s", NAMES[i],
                                  kt_cli_nth(run, NAMES[i], at));
    }
    fputs("output\n", stdout);
    return command_result;
}

static int run_confirm(struct kt_cli_run *run)
{
    return kt_cli_confirm(run, "Really?") ? 10 : 11;
}

static const struct kt_cli_option GLOBALS[] = {
    {"confdir", 'c', "DIR", "where the cluster lives"},
    {"quiet", 'q', NULL, "print less"},
    {"verbose", 'v', NULL, "print more"},
    {NULL},
};
static const struct kt_cli_option ADD_OPTIONS[] = {
    {"recipient", 'r', "KEY", "encrypt to it; can be repeated"},
    {"yes", 0, NULL, "do not ask"},
    {NULL},
};
static const struct kt_cli_command ORG_ADD = {
    "org add", "NAME [TEXT]", "add an organisation", "More words on it.", ADD_OPTIONS, 1,
    2,         run_any};
static const struct kt_cli_command ORG_LIST = {
    "org list", "", "list organisations", NULL, NULL, 0, 0, run_any};
static const struct kt_cli_command STATUS = {"status", "", "show the state", NULL, NULL,
                                             0,        0,  run_any};
static const struct kt_cli_command ASK = {"ask", "", "ask", NULL, ADD_OPTIONS, 0, 0, run_confirm};
static const struct kt_cli_command TOKEN = {"token", "[X]", "token", NULL, NULL, 0, 1, run_any};
static const struct kt_cli_command TOKEN_NEW = {"token new", "", "new token", NULL,
                                                NULL,        0,  0,           run_any};
static const struct kt_cli_command *const COMMANDS[] = {&ORG_ADD, &ORG_LIST,  &STATUS, &ASK,
                                                        &TOKEN,   &TOKEN_NEW, NULL};
static const struct kt_cli_program PROGRAM = {.name = "prog",
                                              .summary = "A program.",
                                              .globals = GLOBALS,
                                              .commands = COMMANDS,
                                              .version = "1.2"};

static const struct kt_cli_command BARE = {"", "[FILE]", "", "Words.", ADD_OPTIONS, 0, 1, run_any};
static const struct kt_cli_command *const BARE_COMMANDS[] = {&BARE, NULL};
static const struct kt_cli_program SINGLE = {.name = "bare",
                                             .summary = "A bare program.",
                                             .synopsis = "[FILE]",
                                             .globals = GLOBALS,
                                             .commands = BARE_COMMANDS,
                                             .version = "1.2"};

static char out_text[8192], err_text[8192];

static void slurp(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, text, size - 1);

    close(fd);
    text[n > 0 ? n : 0] = '\0';
}

// Runs a command line (split at blanks; "_" stands for an empty argument) with both outputs caught.
static int run_program(const struct kt_cli_program *program, const char *line)
{
    static char words[512];
    char *argv[32];
    int argc = 0;

    snprintf(words, sizeof(words), "%s %s", program->name, line);
    for (char *p = strtok(words, " "); p; p = strtok(NULL, " "))
        argv[argc++] = strcmp(p, "_") == 0 ? p + 1 : p;
    argv[argc] = NULL;
    seen[0] = '\0';
    fflush(NULL);
    int kept_out = dup(1), kept_err = dup(2);
    int out = open(temp_path("out"), O_CREAT | O_TRUNC | O_WRONLY, 0600);
    int err = open(temp_path("err"), O_CREAT | O_TRUNC | O_WRONLY, 0600);
    dup2(out, 1);
    dup2(err, 2);
    int rc = kt_cli_main(program, argc, argv);
    fflush(NULL);
    dup2(kept_out, 1);
    dup2(kept_err, 2);
    close(kept_out);
    close(kept_err);
    close(out);
    close(err);
    slurp(temp_path("out"), out_text, sizeof(out_text));
    slurp(temp_path("err"), err_text, sizeof(err_text));
    return rc;
}

static void expect_start(const char *want)
{
    if (strncmp(out_text, want, strlen(want)) != 0)
        fail_msg("'%s' does not begin with '%s'", out_text, want);
}

static void expect_seen(const char *line, const char *want)
{
    int rc = run_program(&PROGRAM, line);

    if (rc != 0)
        fail_msg("'%s' gave %d: %s", line, rc, err_text);
    assert_string_equal(seen, want);
}

static void expect_usage(const char *line, const char *message, const char *hint)
{
    assert_int_equal(run_program(&PROGRAM, line), KT_EXIT_USAGE);
    assert_string_equal(seen, "");
    assert_string_equal(out_text, "");
    if (!strstr(err_text, message) || (hint && !strstr(err_text, hint)))
        fail_msg("'%s' and '%s' are not in '%s'", message, hint ? hint : "", err_text);
}

static void verbs_of_one_and_two_words_are_found(void **state)
{
    (void)state;
    expect_seen("status", "[status]");
    expect_seen("org add acme", "[org add] acme");
    expect_seen("org list", "[org list]");
    assert_string_equal(out_text, "output\n");
}

static void longer_verb_wins_and_shorter_takes_arguments(void **state)
{
    (void)state;
    expect_seen("token", "[token]");
    expect_seen("token new", "[token new]");
    expect_seen("token other", "[token] other");
}

static void options_are_taken_in_every_form(void **state)
{
    (void)state;
    expect_seen("status --confdir /x", "[status] confdir=/x");
    expect_seen("status --confdir=/x=y", "[status] confdir=/x=y");
    expect_seen("status -c /x", "[status] confdir=/x");
    expect_seen("status -c/x", "[status] confdir=/x");
    expect_seen("status -qvc /x", "[status] confdir=/x quiet=yes verbose=yes");
    expect_seen("status --confdir -- -q", "[status] confdir=-- quiet=yes");
}

static void global_options_stand_anywhere(void **state)
{
    (void)state;
    expect_seen("-c /x status", "[status] confdir=/x");
    expect_seen("org -c /x add -q acme", "[org add] acme confdir=/x quiet=yes");
    expect_seen("-qv org add acme", "[org add] acme quiet=yes verbose=yes");
}

static void repeated_options_are_counted_and_the_last_wins(void **state)
{
    (void)state;
    expect_seen("org add a -r 1 --recipient=2 -r3",
                "[org add] a recipient=1 recipient=2 recipient=3");
}

static void dashes_end_options_and_one_dash_is_an_argument(void **state)
{
    (void)state;
    expect_seen("org add -- -q", "[org add] -q");
    expect_seen("org add a -", "[org add] a -");
}

static int check_last(struct kt_cli_run *run)
{
    assert_string_equal(kt_cli_value(run, "recipient"), "2");
    assert_null(kt_cli_value(run, "confdir"));
    assert_null(kt_cli_nth(run, "recipient", 2));
    assert_null(kt_cli_nth(run, "recipient", -1));
    assert_true(kt_cli_flag(run, "recipient"));
    assert_false(kt_cli_flag(run, "quiet"));
    assert_ptr_equal(run->program->context, &command_result);
    return 0;
}

static void value_is_the_last_and_null_when_not_given(void **state)
{
    const struct kt_cli_command command = {"x", "", "x", NULL, ADD_OPTIONS, 0, 0, check_last};
    const struct kt_cli_command *const commands[] = {&command, NULL};
    const struct kt_cli_program program = {.name = "prog",
                                           .summary = "",
                                           .globals = GLOBALS,
                                           .commands = commands,
                                           .version = "",
                                           .context = &command_result};

    (void)state;
    assert_int_equal(run_program(&program, "x -r 1 -r 2"), 0);
}

static void unknown_option_is_usage_with_nearest_name(void **state)
{
    (void)state;
    expect_usage("status --confidr=x", "unknown option '--confidr=x'", "did you mean '--confdir'?");
    expect_usage("org add a --recipent x", "unknown option", "did you mean '--recipient'?");
    expect_usage("status --zzzzzzz", "unknown option '--zzzzzzz'", "see 'prog status --help'");
    expect_usage("status -z", "unknown option '-z'", "see 'prog status --help'");
    expect_usage("status --yes", "unknown option '--yes'", NULL);
}

static void option_of_a_command_before_the_verb_is_usage(void **state)
{
    (void)state;
    expect_usage("--recipient x org add a", "options of a command stand behind it", "prog --help");
}

static void option_with_wrong_value_is_usage(void **state)
{
    (void)state;
    expect_usage("status --confdir", "the option needs a value: '--confdir'", NULL);
    expect_usage("status -c", "the option needs a value: '-c'", NULL);
    expect_usage("status --confdir=", "value is empty", NULL);
    expect_usage("status --confdir _", "value is empty", NULL);
    expect_usage("status -c _", "value is empty", NULL);
    expect_usage("status --quiet=1", "takes no value", NULL);
}

static void unknown_verb_is_usage_with_nearest_name(void **state)
{
    (void)state;
    expect_usage("statsu", "unknown command 'statsu'", "did you mean 'status'?");
    expect_usage("org lsit", "unknown command 'org lsit'", "did you mean 'org list'?");
    expect_usage("orgg", "unknown command 'orgg'", "did you mean 'org add'?");
    expect_usage("xyzzyxyz", "unknown command 'xyzzyxyz'", "see 'prog --help'");
}

static void half_a_verb_is_usage_with_the_others(void **state)
{
    (void)state;
    expect_usage("org", "'org' needs a second word", "'org add', 'org list'");
}

static void no_command_is_usage(void **state)
{
    (void)state;
    expect_usage("", "no command given", "see 'prog --help'");
}

static void wrong_number_of_arguments_is_usage(void **state)
{
    (void)state;
    expect_usage("org add", "missing argument: 'NAME [TEXT]'", "see 'prog org add --help'");
    expect_usage("org add a b c", "unexpected argument 'c'", "see 'prog org add --help'");
    expect_usage("status x", "unexpected argument 'x'", NULL);
}

static void control_characters_of_arguments_are_escaped(void **state)
{
    (void)state;
    expect_usage("status \x1b[2J", "unexpected argument '\\x1b[2J'", NULL);
}

static void help_of_the_program_lists_commands_and_options(void **state)
{
    static const char *const LINES[] = {"--help", "-h", "help", "--help -q"};

    (void)state;
    for (size_t i = 0; i < sizeof(LINES) / sizeof(LINES[0]); i++) {
        assert_int_equal(run_program(&PROGRAM, LINES[i]), 0);
        assert_string_equal(err_text, "");
        assert_string_equal(seen, "");
        expect_start("Usage: prog [OPTION...] COMMAND [ARGUMENT...]\n\nA program.\n");
        assert_non_null(strstr(out_text, "\n  org add     add an organisation\n"));
        assert_non_null(strstr(out_text, "\n  token new   new token\n"));
        assert_non_null(strstr(out_text, "\n  -c, --confdir=DIR   where the cluster lives\n"));
        assert_non_null(strstr(out_text, "\n  -h, --help          show this help\n"));
        assert_non_null(strstr(out_text, "\n      --version       show the version\n"));
    }
}

static void help_of_a_first_word_lists_what_follows_it(void **state)
{
    (void)state;
    assert_int_equal(run_program(&PROGRAM, "org --help"), 0);
    assert_non_null(strstr(out_text, "Usage: prog org COMMAND"));
    assert_non_null(strstr(out_text, "\n  org add "));
    assert_null(strstr(out_text, "\n  status"));
}

static void help_of_a_command_has_its_options_and_the_global_ones(void **state)
{
    static const char *const LINES[] = {"org add --help", "help org add",
                                        "org add -h too many args", "--help org add"};

    (void)state;
    for (size_t i = 0; i < sizeof(LINES) / sizeof(LINES[0]); i++) {
        assert_int_equal(run_program(&PROGRAM, LINES[i]), 0);
        assert_string_equal(seen, "");
        expect_start("Usage: prog org add [OPTION...] NAME [TEXT]\n\nAdd an organisation\n"
                     "\nMore words on it.\n");
        assert_non_null(
            strstr(out_text, "\nOptions:\n  -r, --recipient=KEY   encrypt to it; can be repeated\n"
                             "      --yes             do not ask\n"
                             "\nGlobal options:\n  -c, --confdir=DIR"));
    }
}

static void version_is_printed(void **state)
{
    (void)state;
    assert_int_equal(run_program(&PROGRAM, "--version"), 0);
    assert_string_equal(out_text, "prog 1.2\n");
    assert_int_equal(run_program(&SINGLE, "--version"), 0);
    assert_string_equal(out_text, "bare 1.2\n");
}

static void program_without_verbs_takes_arguments_at_once(void **state)
{
    (void)state;
    assert_int_equal(run_program(&SINGLE, "-r k file -c /x"), 0);
    assert_string_equal(seen, "[] file confdir=/x recipient=k");
    assert_int_equal(run_program(&SINGLE, ""), 0);
    assert_int_equal(run_program(&SINGLE, "help"), 0);
    assert_string_equal(seen, "[] help");
    assert_int_equal(run_program(&SINGLE, "a b"), KT_EXIT_USAGE);
    assert_non_null(strstr(err_text, "bare: unexpected argument 'b'\nhint: see 'bare --help'\n"));
    assert_int_equal(run_program(&SINGLE, "--help"), 0);
    expect_start("Usage: bare [OPTION...] [FILE]\n\nA bare program.\n\nWords.\n\nOptions:\n");
    assert_non_null(strstr(out_text, "  -r, --recipient=KEY   encrypt"));
    assert_non_null(strstr(out_text, "  -q, --quiet           print less\n"));
    assert_non_null(strstr(out_text, "  -h, --help            show this help\n"));
}

static void result_of_the_command_is_the_exit_code(void **state)
{
    (void)state;
    command_result = KT_EXIT_IN_DOUBT;
    int rc = run_program(&PROGRAM, "status");
    command_result = 0;
    assert_int_equal(rc, KT_EXIT_IN_DOUBT);
}

static int run_on_full_disk(void)
{
    char name[] = "prog", verb[] = "status";
    char *argv[] = {name, verb, NULL};
    int full = open("/dev/full", O_WRONLY);

    if (full < 0)
        return KT_EXIT_FAILURE;
    dup2(full, 1);
    dup2(full, 2);
    return kt_cli_main(&PROGRAM, 2, argv);
}

static void output_that_cannot_be_written_is_a_failure(void **state)
{
    int status;

    (void)state;
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(run_on_full_disk());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == KT_EXIT_FAILURE);
}

static struct kt_error failure;

static int run_fail(struct kt_cli_run *run)
{
    return kt_cli_fail(run, &failure);
}

static void failure_prints_message_and_hint_and_gives_the_exit_code(void **state)
{
    const struct kt_cli_command command = {"", "", "", NULL, NULL, 0, 0, run_fail};
    const struct kt_cli_command *const commands[] = {&command, NULL};
    const struct kt_cli_program program = {
        .name = "prog", .summary = "", .commands = commands, .version = ""};

    (void)state;
    kt_error_set(&failure, KT_ERR_NOT_GRANTED, "ask \x1b", "no\nway");
    assert_int_equal(run_program(&program, ""), KT_EXIT_REFUSED);
    assert_string_equal(err_text, "prog: no\\x0away\nhint: ask \\x1b\n");
    failure = (struct kt_error){.code = KT_ERR_EXISTS};
    assert_int_equal(run_program(&program, ""), KT_EXIT_FAILURE);
    assert_string_equal(err_text, "prog: exists already\n");
    failure = (struct kt_error){.code = KT_OK};
    assert_int_equal(run_program(&program, ""), KT_EXIT_FAILURE);
}

static void confirmation_without_a_terminal_needs_yes(void **state)
{
    int kept = dup(0), null = open("/dev/null", O_RDONLY);

    (void)state;
    dup2(null, 0);
    int without = run_program(&PROGRAM, "ask");
    char text[256];
    snprintf(text, sizeof(text), "%.200s", err_text);
    int with = run_program(&PROGRAM, "ask --yes");
    dup2(kept, 0);
    close(kept);
    close(null);
    assert_int_equal(without, 11);
    assert_non_null(strstr(text, "give --yes"));
    assert_int_equal(with, 10);
}

// Answers the question on a terminal; gives what the command made of it.
static int answer(const char *keys)
{
    char text[512] = "", name[] = "prog", verb[] = "ask";
    char *argv[] = {name, verb, NULL};
    size_t n = 0;
    int fd, status;

    fflush(NULL);
    pid_t pid = forkpty(&fd, NULL, NULL, NULL);
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(kt_cli_main(&PROGRAM, 2, argv));
    while (!strstr(text, "Really? [y/N] ")) {
        ssize_t got = read(fd, text + n, sizeof(text) - n - 1);
        assert_true(got > 0);
        n += (size_t)got;
        text[n] = '\0';
    }
    assert_int_equal(write(fd, keys, strlen(keys)), strlen(keys));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    close(fd);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void only_yes_on_the_terminal_confirms(void **state)
{
    (void)state;
    assert_int_equal(answer("y\n"), 10);
    assert_int_equal(answer("YES\n"), 10);
    assert_int_equal(answer("n\n"), 11);
    assert_int_equal(answer("\n"), 11);
    assert_int_equal(answer("yesterday\n"), 11);
    assert_int_equal(answer("\x04"), 11);
}

static void table_is_padded_with_header_in_capitals(void **state)
{
    static const char *const HEADERS[] = {"Name", "State", "Text", NULL};
    static const char *const ONE[] = {"a", "active", "", NULL};
    static const char *const TWO[] = {"caf\xc3\xa9-longer", NULL, "x\ny", NULL};
    struct kt_table *table = kt_table_new(HEADERS);
    char *text = NULL;
    size_t size;

    (void)state;
    assert_non_null(table);
    assert_int_equal(kt_table_row(table, ONE), 0);
    assert_int_equal(kt_table_row(table, TWO), 0);
    FILE *out = open_memstream(&text, &size);
    kt_table_print(table, out);
    fclose(out);
    assert_string_equal(text, "NAME         STATE   TEXT\n"
                              "a            active  -\n"
                              "caf\xc3\xa9-longer  -       x?y\n");
    free(text);
    kt_table_free(table);
    kt_table_free(NULL);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, temp_dir_setup, temp_dir_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(verbs_of_one_and_two_words_are_found),
        CASE(longer_verb_wins_and_shorter_takes_arguments),
        CASE(options_are_taken_in_every_form),
        CASE(global_options_stand_anywhere),
        CASE(repeated_options_are_counted_and_the_last_wins),
        CASE(dashes_end_options_and_one_dash_is_an_argument),
        CASE(value_is_the_last_and_null_when_not_given),
        CASE(unknown_option_is_usage_with_nearest_name),
        CASE(option_of_a_command_before_the_verb_is_usage),
        CASE(option_with_wrong_value_is_usage),
        CASE(unknown_verb_is_usage_with_nearest_name),
        CASE(half_a_verb_is_usage_with_the_others),
        CASE(no_command_is_usage),
        CASE(wrong_number_of_arguments_is_usage),
        CASE(control_characters_of_arguments_are_escaped),
        CASE(help_of_the_program_lists_commands_and_options),
        CASE(help_of_a_first_word_lists_what_follows_it),
        CASE(help_of_a_command_has_its_options_and_the_global_ones),
        CASE(version_is_printed),
        CASE(program_without_verbs_takes_arguments_at_once),
        CASE(result_of_the_command_is_the_exit_code),
        CASE(output_that_cannot_be_written_is_a_failure),
        CASE(failure_prints_message_and_hint_and_gives_the_exit_code),
        CASE(confirmation_without_a_terminal_needs_yes),
        CASE(only_yes_on_the_terminal_confirms),
        CASE(table_is_padded_with_header_in_capitals),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
