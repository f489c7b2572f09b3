// SPDX-License-Identifier: Apache-2.0
// What command lines say to people: help, errors, questions.
#include "lib/cli.h"

#include <ctype.h>
#include <string.h>
#include <unistd.h>

#include "lib/cli_inner.h"

#define COLUMN_MAX 34

// cli.c knows them by their place.
const struct kt_cli_option kt_cli_builtins[] = {
    {"help", 'h', NULL, "show this help"},
    {"version", 0, NULL, "show the version"},
    {NULL},
};

int kt_cli_single(const struct kt_cli_program *program)
{
    return program->commands[0] && program->commands[0]->verb[0] == '\0' && !program->commands[1];
}

void kt_cli_put_clean(const char *text, FILE *out)
{
    for (const char *p = text; *p; p++) {
        unsigned char c = (unsigned char)*p;
        if (c >= 0x20 && c != 0x7f)
            fputc(c, out);
        else
            fprintf(out, "\\x%02x", (unsigned)c);
    }
}

// "  -c, --confdir=DIR"
static int option_head(const struct kt_cli_option *option, char *out, size_t size)
{
    char letter[8] = "    ";

    if (option->letter)
        snprintf(letter, sizeof(letter), "-%c, ", option->letter);
    return snprintf(out, size, "  %s--%s%s%s", letter, option->name, option->value ? "=" : "",
                    option->value ? option->value : "");
}

static int widest(const struct kt_cli_option *table, int width)
{
    char head[128];

    for (; table && table->name; table++) {
        int n = option_head(table, head, sizeof(head));
        if (n > width && n <= COLUMN_MAX)
            width = n;
    }
    return width;
}

static int has(const struct kt_cli_option *table, const struct kt_cli_option *wanted)
{
    for (; table && table->name; table++) {
        if (strcmp(table->name, wanted->name) == 0)
            return 1;
    }
    return 0;
}

static void put_options(const struct kt_cli_option *table, const struct kt_cli_option *hidden,
                        int width, FILE *out)
{
    char head[128];

    for (; table && table->name; table++) {
        if (has(hidden, table))
            continue;
        option_head(table, head, sizeof(head));
        fprintf(out, "%-*s   %s\n", width, head, table->text);
    }
}

// The program's options and those that every program has, except those that a command replaces.
static void put_globals(const struct kt_cli_program *program, const struct kt_cli_option *own,
                        int width, FILE *out)
{
    put_options(program->globals, own, width, out);
    for (const struct kt_cli_option *option = kt_cli_builtins; option->name; option++) {
        const struct kt_cli_option one[] = {*option, {NULL}};
        if (!has(program->globals, option))
            put_options(one, own, width, out);
    }
}

static int widest_of(const struct kt_cli_program *program, const struct kt_cli_option *own)
{
    return widest(own, widest(program->globals, widest(kt_cli_builtins, 0)));
}

static void put_help_text(const char *help, FILE *out)
{
    size_t n = strlen(help);

    fprintf(out, "\n%s%s", help, n > 0 && help[n - 1] == '\n' ? "" : "\n");
}

static void put_commands(const struct kt_cli_program *program, const char *group, FILE *out);

// Of a program with a command without a verb, and perhaps others.
static void help_default(const struct kt_cli_program *program, FILE *out)
{
    const struct kt_cli_command *command = program->commands[0];
    const char *arguments = program->synopsis ? program->synopsis : command->arguments;
    int width = widest_of(program, command->options);

    fprintf(out, "Usage: %s [OPTION...]%s%s\n\n%s\n", program->name,
            arguments && arguments[0] ? " " : "", arguments ? arguments : "", program->summary);
    if (command->help)
        put_help_text(command->help, out);
    if (!kt_cli_single(program)) {
        fputs("\nOther commands:\n", out);
        put_commands(program, NULL, out);
    }
    fputs("\nOptions:\n", out);
    put_options(command->options, NULL, width, out);
    put_globals(program, command->options, width, out);
    if (!kt_cli_single(program))
        fprintf(out, "\n'%s COMMAND --help' shows the options of a command; see also 'man %s'.\n",
                program->name, program->name);
}

// Commands, all or (`group` not NULL) those of two words that begin with it.
static void put_commands(const struct kt_cli_program *program, const char *group, FILE *out)
{
    size_t length = group ? strlen(group) : 0;
    int width = 0;

    for (int prints = 0; prints < 2; prints++)
        for (size_t i = 0; program->commands[i]; i++) {
            const char *verb = program->commands[i]->verb;
            int n = (int)strlen(verb);
            if (n == 0 || (group && (strncmp(verb, group, length) != 0 || verb[length] != ' ')))
                continue;
            if (prints)
                fprintf(out, "  %-*s   %s\n", width, verb, program->commands[i]->summary);
            else if (n > width)
                width = n;
        }
}

void kt_cli_help_group(const struct kt_cli_program *program, const char *group, FILE *out)
{
    fprintf(out, "Usage: %s %s COMMAND [ARGUMENT...]\n\nCommands:\n", program->name, group);
    put_commands(program, group, out);
    fprintf(out, "\n'%s help %s COMMAND' shows the options of a command.\n", program->name, group);
}

void kt_cli_help_program(const struct kt_cli_program *program, FILE *out)
{
    if (program->commands[0] && program->commands[0]->verb[0] == '\0') {
        help_default(program, out);
        return;
    }
    fprintf(out, "Usage: %s [OPTION...] COMMAND [ARGUMENT...]\n\n%s\n\nCommands:\n", program->name,
            program->summary);
    put_commands(program, NULL, out);
    fputs("\nOptions:\n", out);
    put_globals(program, NULL, widest_of(program, NULL), out);
    fprintf(out, "\n'%s help COMMAND' shows the options of a command; see also 'man %s'.\n",
            program->name, program->name);
}

void kt_cli_help_command(const struct kt_cli_program *program, const struct kt_cli_command *command,
                         FILE *out)
{
    const char *arguments = command->arguments ? command->arguments : "";
    int width = widest_of(program, command->options);

    fprintf(out, "Usage: %s %s [OPTION...]%s%s\n\n", program->name, command->verb,
            arguments[0] ? " " : "", arguments);
    fprintf(out, "%c%s\n", toupper((unsigned char)command->summary[0]),
            command->summary[0] ? command->summary + 1 : "");
    if (command->help)
        put_help_text(command->help, out);
    if (command->options && command->options->name) {
        fputs("\nOptions:\n", out);
        put_options(command->options, NULL, width, out);
    }
    fputs("\nGlobal options:\n", out);
    put_globals(program, command->options, width, out);
}

int kt_cli_fail(const struct kt_cli_run *run, const struct kt_error *error)
{
    fflush(stdout);
    fprintf(stderr, "%s: ", run->program->name);
    kt_cli_put_clean(error->message[0] ? error->message : kt_err_text(error->code), stderr);
    fputc('\n', stderr);
    if (error->hint[0]) {
        fputs("hint: ", stderr);
        kt_cli_put_clean(error->hint, stderr);
        fputc('\n', stderr);
    }
    int code = kt_err_info(error->code)->exit;
    return code == KT_EXIT_OK ? KT_EXIT_FAILURE : code; // a failure never looks like success
}

int kt_cli_confirm(const struct kt_cli_run *run, const char *question)
{
    char line[16];
    size_t n;

    if (kt_cli_flag(run, "yes"))
        return 1;
    if (!isatty(STDIN_FILENO)) {
        fprintf(stderr, "%s: not confirmed\nhint: without a terminal give --yes\n",
                run->program->name);
        return 0;
    }
    fflush(stdout);
    fprintf(stderr, "%s [y/N] ", question);
    fflush(stderr);
    if (!fgets(line, sizeof(line), stdin))
        return 0;
    n = strcspn(line, "\r\n");
    line[n] = '\0';
    return strcasecmp(line, "y") == 0 || strcasecmp(line, "yes") == 0;
}
