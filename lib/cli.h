// SPDX-License-Identifier: Apache-2.0
// Command lines as tables: verbs, options, help and version of all programs.
#ifndef KT_CLI_H
#define KT_CLI_H

#include <stdio.h>

#include "lib/err.h"

// Exit codes, the same for all programs (documented in each man page).
enum kt_exit {
    KT_EXIT_OK = 0,
    KT_EXIT_FAILURE = 1,     // it did not work; the message says why
    KT_EXIT_USAGE = 2,       // wrong command line or settings
    KT_EXIT_NOT_FOUND = 3,   // no such deposit, client, organisation
    KT_EXIT_REFUSED = 4,     // not permitted: certificate, grant, approval, auth code
    KT_EXIT_UNAVAILABLE = 5, // server, agent or database cannot be reached or cannot now; try again
    KT_EXIT_IN_DOUBT = 6,    // a change may or may not have taken effect; run the command again
    KT_EXIT_INTEGRITY = 7,   // a signature, hash or chain does not verify
};

struct kt_cli_option {
    const char *name;  // "confdir"; NULL ends the table
    char letter;       // 'c' or 0
    const char *value; // "DIR", or NULL for a flag
    const char *text;  // one line of help
};

struct kt_cli_run;

struct kt_cli_command {
    const char *verb;                    // "org add" (one or two words); NULL ends the table
    const char *arguments;               // "NAME" or "HANDLE [FILE|-]" or ""
    const char *summary;                 // one line
    const char *help;                    // further paragraphs for --help, or NULL
    const struct kt_cli_option *options; // or NULL
    int min_args, max_args;
    int (*run)(struct kt_cli_run *run); // an exit code
};

struct kt_cli_program {
    const char *name; // "ktadmin"
    const char *summary;
    const char *synopsis;                // for programs without verbs: the arguments; else NULL
    const struct kt_cli_option *globals; // before or behind the verb
    // NULL-terminated list of pointers: each command is declared in its own file. The first one may
    // have the verb "": it is meant when no verb is given.
    const struct kt_cli_command *const *commands;
    const char *version; // printed by --version
    void *context;       // for the commands
};

// What a command sees.
struct kt_cli_run {
    const struct kt_cli_program *program;
    const struct kt_cli_command *command;
    int argc; // positional arguments
    const char **argv;
    void *values; // inner
};

// Parses, answers --help and --version, finds the command, runs it. Unknown options and verbs give
// KT_EXIT_USAGE and the nearest known name. Programs without verbs have one command with verb "".
int kt_cli_main(const struct kt_cli_program *program, int argc, char **argv);
// The option's value, NULL when not given ("" never); flags give "yes". Last one wins.
const char *kt_cli_value(const struct kt_cli_run *run, const char *name);
int kt_cli_flag(const struct kt_cli_run *run, const char *name);
// How often a repeatable option was given, and its i-th value.
int kt_cli_count(const struct kt_cli_run *run, const char *name);
const char *kt_cli_nth(const struct kt_cli_run *run, const char *name, int i);
// Prints "PROGRAM: message" and "hint: ..." to stderr and gives the exit code of error->code.
int kt_cli_fail(const struct kt_cli_run *run, const struct kt_error *error);
// Asks "... [y/N]" on the terminal; 1 = yes. Without a terminal, or when --yes was given: see text.
// With --yes: 1. Without a terminal and without --yes: 0 and a hint on stderr.
int kt_cli_confirm(const struct kt_cli_run *run, const char *question);

// A table for people: columns padded, header in capitals, "-" for empty cells.
struct kt_table;
struct kt_table *kt_table_new(const char *const *headers); // NULL-terminated; NULL = no memory
int kt_table_row(struct kt_table *table, const char *const *cells) KT_MUST_CHECK;
void kt_table_print(const struct kt_table *table, FILE *out);
void kt_table_free(struct kt_table *table);

#endif
