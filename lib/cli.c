// SPDX-License-Identifier: Apache-2.0
// Parsing of command lines against the tables of a program, and running the command found.
#include "lib/cli.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cli_inner.h"
#include "lib/nearest.h"

#define VERB_MAX 64

struct given {
    const char *name;
    const char *value;
};

// State of one parse. `given` and `words` have room for every argument.
struct parse {
    const struct kt_cli_program *program;
    const struct kt_cli_command *command; // NULL until the verb is complete
    const char *first;                    // first word of what may be a verb of two
    struct given *given;
    int given_count;
    const char **words; // positional arguments
    int word_count;
    int only_words; // behind "--"
    int help, version;
};

// Prints a usage error; `known` (may be NULL) is what was probably meant.
static int usage(const struct parse *parse, const char *what, const char *arg, const char *known)
{
    fprintf(stderr, "%s: %s", parse->program->name, what);
    if (arg) {
        fputs(" '", stderr);
        kt_cli_put_clean(arg, stderr);
        fputc('\'', stderr);
    }
    fputc('\n', stderr);
    if (known)
        fprintf(stderr, "hint: did you mean '%s'?\n", known);
    else if (parse->command && parse->command->verb[0] != '\0')
        fprintf(stderr, "hint: see '%s %s --help'\n", parse->program->name, parse->command->verb);
    else
        fprintf(stderr, "hint: see '%s --help'\n", parse->program->name);
    return KT_EXIT_USAGE;
}

// --- options ---

static const struct kt_cli_option *find_in(const struct kt_cli_option *table, const char *name,
                                           size_t n, char letter)
{
    for (; table && table->name; table++) {
        if (name ? strlen(table->name) == n && memcmp(table->name, name, n) == 0
                 : letter && table->letter == letter)
            return table;
    }
    return NULL;
}

// By name, or by letter when `name` is NULL. The command's own come first.
static const struct kt_cli_option *find_option(const struct parse *parse, const char *name,
                                               size_t n, char letter)
{
    const struct kt_cli_option *option = NULL;

    if (parse->command)
        option = find_in(parse->command->options, name, n, letter);
    if (!option)
        option = find_in(parse->program->globals, name, n, letter);
    return option ? option : find_in(kt_cli_builtins, name, n, letter);
}

static void offer_options(struct kt_nearest *nearest, const struct kt_cli_option *table)
{
    for (; table && table->name; table++)
        kt_nearest_offer(nearest, table->name);
}

static int unknown_option(const struct parse *parse, const char *arg)
{
    char name[VERB_MAX], known[VERB_MAX + 2];
    struct kt_nearest nearest = KT_NEAREST_INIT(name);

    if (strncmp(arg, "--", 2) != 0)
        return usage(parse, "unknown option", arg, NULL);
    snprintf(name, sizeof(name), "%.*s", (int)strcspn(arg + 2, "="), arg + 2);
    if (parse->command)
        offer_options(&nearest, parse->command->options);
    offer_options(&nearest, parse->program->globals);
    offer_options(&nearest, kt_cli_builtins);
    if (nearest.best)
        snprintf(known, sizeof(known), "--%s", nearest.best);
    if (!nearest.best && !parse->command)
        return usage(parse, "options of a command stand behind it; no global option", arg, NULL);
    return usage(parse, "unknown option", arg, nearest.best ? known : NULL);
}

static void note(struct parse *parse, const struct kt_cli_option *option, const char *value)
{
    if (option == &kt_cli_builtins[0])
        parse->help = 1;
    else if (option == &kt_cli_builtins[1])
        parse->version = 1;
    parse->given[parse->given_count].name = option->name;
    parse->given[parse->given_count].value = value;
    parse->given_count++;
}

// "--name", "--name=value", "--name value". `*i` is moved past a value.
static int long_option(struct parse *parse, int argc, char **argv, int *i)
{
    const char *arg = argv[*i], *name = arg + 2;
    size_t n = strcspn(name, "=");
    const char *value = name[n] == '=' ? name + n + 1 : NULL;
    const struct kt_cli_option *option = find_option(parse, name, n, 0);

    if (!option)
        return unknown_option(parse, arg);
    if (!option->value && value)
        return usage(parse, "the option takes no value:", arg, NULL);
    if (option->value && !value) {
        if (*i + 1 >= argc)
            return usage(parse, "the option needs a value:", arg, NULL);
        value = argv[++*i];
    }
    if (option->value && value[0] == '\0')
        return usage(parse, "the option's value is empty:", arg, NULL);
    note(parse, option, option->value ? value : "yes");
    return 0;
}

// "-c value", "-cvalue", flags in one word: "-qv".
static int short_options(struct parse *parse, int argc, char **argv, int *i)
{
    const char *arg = argv[*i];

    for (const char *p = arg + 1; *p; p++) {
        const struct kt_cli_option *option = find_option(parse, NULL, 0, *p);
        const char *value = "yes";
        if (!option)
            return unknown_option(parse, arg);
        if (option->value) {
            if (p[1] == '\0' && *i + 1 >= argc)
                return usage(parse, "the option needs a value:", arg, NULL);
            value = p[1] ? p + 1 : argv[++*i];
            if (value[0] == '\0')
                return usage(parse, "the option's value is empty:", arg, NULL);
        }
        note(parse, option, value);
        if (option->value)
            break;
    }
    return 0;
}

// --- verbs ---

static const struct kt_cli_command *find_verb(const struct kt_cli_program *program,
                                              const char *first, const char *second)
{
    char verb[VERB_MAX];
    int n = snprintf(verb, sizeof(verb), second ? "%s %s" : "%s", first, second);

    for (size_t i = 0; n < VERB_MAX && program->commands[i]; i++) {
        if (strcmp(program->commands[i]->verb, verb) == 0)
            return program->commands[i];
    }
    return NULL;
}

// Whether `word` begins verbs of two words.
static int begins_verb(const struct kt_cli_program *program, const char *word)
{
    size_t n = strlen(word);

    for (size_t i = 0; program->commands[i]; i++) {
        const char *verb = program->commands[i]->verb;
        if (strncmp(verb, word, n) == 0 && verb[n] == ' ')
            return 1;
    }
    return 0;
}

static int unknown_verb(const struct parse *parse, const char *first, const char *second)
{
    char typed[2 * VERB_MAX], group[VERB_MAX];
    struct kt_nearest nearest = KT_NEAREST_INIT(typed);

    snprintf(typed, sizeof(typed), second ? "%.60s %.60s" : "%.60s", first, second);
    for (size_t i = 0; parse->program->commands[i]; i++) {
        const char *verb = parse->program->commands[i]->verb;
        kt_nearest_offer(&nearest, verb);
        if (!second && strchr(verb, ' ')) { // "orgg" for "org add"
            snprintf(group, sizeof(group), "%.*s", (int)strcspn(verb, " "), verb);
            size_t before = nearest.distance;
            kt_nearest_offer(&nearest, group);
            if (nearest.distance < before)
                nearest.best = verb;
        }
    }
    return usage(parse, "unknown command", typed, nearest.best);
}

// "org" alone: names what it may be followed by.
static int incomplete_verb(const struct parse *parse)
{
    size_t n = strlen(parse->first);
    const char *between = "";

    fprintf(stderr, "%s: '%s' needs a second word\nhint: one of ", parse->program->name,
            parse->first);
    for (size_t i = 0; parse->program->commands[i]; i++) {
        const char *verb = parse->program->commands[i]->verb;
        if (strncmp(verb, parse->first, n) != 0 || verb[n] != ' ')
            continue;
        fprintf(stderr, "%s'%s'", between, verb);
        between = ", ";
    }
    fputc('\n', stderr);
    return KT_EXIT_USAGE;
}

static void add_word(struct parse *parse, const char *word)
{
    parse->words[parse->word_count++] = word;
}

// In a program that has a command without a verb, a first word is the verb of another one.
static int leave_default(struct parse *parse, const char *word)
{
    const struct kt_cli_command *command = find_verb(parse->program, word, NULL);

    if (strcmp(word, "help") == 0) {
        parse->help = 1;
        return 0;
    }
    if (!command)
        return unknown_verb(parse, word, NULL);
    parse->command = command;
    for (int i = 0; i < parse->given_count; i++) {
        const char *name = parse->given[i].name;
        if (!find_option(parse, name, strlen(name), 0))
            return usage(parse, "the command does not take the option:", name, NULL);
    }
    return 0;
}

// A word that is no option: part of the verb, or an argument.
static int take_word(struct parse *parse, const char *word)
{
    if (parse->command && parse->command->verb[0] == '\0' && !kt_cli_single(parse->program) &&
        !parse->only_words)
        return leave_default(parse, word);
    if (parse->command) {
        add_word(parse, word);
        return 0;
    }
    if (!parse->first) {
        if (strcmp(word, "help") == 0 && !parse->help && !find_verb(parse->program, word, NULL)) {
            parse->help = 1;
            return 0;
        }
        if (begins_verb(parse->program, word)) {
            parse->first = word;
            return 0;
        }
        parse->command = find_verb(parse->program, word, NULL);
        return parse->command ? 0 : unknown_verb(parse, word, NULL);
    }
    parse->command = find_verb(parse->program, parse->first, word);
    if (parse->command)
        return 0;
    parse->command = find_verb(parse->program, parse->first, NULL);
    if (!parse->command)
        return unknown_verb(parse, parse->first, word);
    add_word(parse, word);
    return 0;
}

static int parse_all(struct parse *parse, int argc, char **argv)
{
    int rc = 0;

    for (int i = 1; i < argc && rc == 0; i++) {
        const char *arg = argv[i];
        if (parse->only_words || arg[0] != '-' || arg[1] == '\0')
            rc = take_word(parse, arg);
        else if (strcmp(arg, "--") == 0)
            parse->only_words = 1;
        else if (arg[1] == '-')
            rc = long_option(parse, argc, argv, &i);
        else
            rc = short_options(parse, argc, argv, &i);
    }
    if (rc == 0 && !parse->command && parse->first)
        parse->command = find_verb(parse->program, parse->first, NULL);
    return rc;
}

static int run_command(struct parse *parse)
{
    const struct kt_cli_command *command = parse->command;
    struct kt_cli_run run = {parse->program, command, parse->word_count, parse->words, parse};
    int rc;

    if (parse->word_count < command->min_args)
        return usage(parse,
                     command->arguments && command->arguments[0] ? "missing argument:"
                                                                 : "missing argument",
                     command->arguments && command->arguments[0] ? command->arguments : NULL, NULL);
    if (parse->word_count > command->max_args)
        return usage(parse, "unexpected argument", parse->words[command->max_args], NULL);
    rc = command->run(&run);
    // A full disk or a closed pipe shows only now; exit 0 must mean that all was written.
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "%s: cannot write to standard output\n", parse->program->name);
        if (rc == KT_EXIT_OK)
            rc = KT_EXIT_FAILURE;
    }
    return rc;
}

// A program started with one of its standard descriptors closed would get the next file or
// socket in its place, and write a secret into it. /dev/null takes the place, opened the wrong
// way round, so that using it fails.
static int hold_standard_descriptors(void)
{
    for (int fd = 0; fd < 3; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) != fd)
            return KT_ERR_SYSTEM;
    }
    return 0;
}

int kt_cli_main(const struct kt_cli_program *program, int argc, char **argv)
{
    struct parse parse = {.program = program};
    size_t room = 1; // short options can stand several in a word
    int rc;

    if (hold_standard_descriptors())
        return KT_EXIT_FAILURE;
    for (int i = 1; i < argc; i++)
        room += strlen(argv[i]) + 1;
    parse.given = calloc(room, sizeof(*parse.given));
    parse.words = calloc((size_t)(argc > 0 ? argc : 1), sizeof(*parse.words));
    if (!parse.given || !parse.words) {
        fprintf(stderr, "%s: out of memory\n", program->name);
        rc = KT_EXIT_FAILURE;
        goto out;
    }
    if (program->commands[0] && program->commands[0]->verb[0] == '\0')
        parse.command = program->commands[0];
    rc = parse_all(&parse, argc, argv);
    if (rc)
        goto out;
    if (parse.version) {
        printf("%s %s\n", program->name, program->version);
    } else if (parse.help && parse.command && parse.command->verb[0] != '\0') {
        kt_cli_help_command(program, parse.command, stdout);
    } else if (parse.help && parse.first) {
        kt_cli_help_group(program, parse.first, stdout);
    } else if (parse.help) {
        kt_cli_help_program(program, stdout);
    } else if (parse.command) {
        rc = run_command(&parse);
        goto out;
    } else {
        rc = parse.first ? incomplete_verb(&parse) : usage(&parse, "no command given", NULL, NULL);
        goto out;
    }
    rc = fflush(stdout) == 0 ? KT_EXIT_OK : KT_EXIT_FAILURE;
out:
    free(parse.given);
    free(parse.words);
    return rc;
}

// --- for commands ---

const char *kt_cli_nth(const struct kt_cli_run *run, const char *name, int i)
{
    const struct parse *parse = run->values;

    for (int at = 0; parse && at < parse->given_count; at++) {
        if (strcmp(parse->given[at].name, name) == 0 && i-- == 0)
            return parse->given[at].value;
    }
    return NULL;
}

int kt_cli_count(const struct kt_cli_run *run, const char *name)
{
    const struct parse *parse = run->values;
    int count = 0;

    for (int at = 0; parse && at < parse->given_count; at++)
        count += strcmp(parse->given[at].name, name) == 0;
    return count;
}

const char *kt_cli_value(const struct kt_cli_run *run, const char *name)
{
    return kt_cli_nth(run, name, kt_cli_count(run, name) - 1);
}

int kt_cli_flag(const struct kt_cli_run *run, const char *name)
{
    return kt_cli_count(run, name) > 0;
}
