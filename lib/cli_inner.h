// SPDX-License-Identifier: Apache-2.0
// What cli.c and cli_help.c share.
#ifndef KT_CLI_INNER_H
#define KT_CLI_INNER_H

#include <stdio.h>

#include "lib/cli.h"

// Options that every program has.
extern const struct kt_cli_option kt_cli_builtins[];

// 1 when the program has no verbs (one command with verb "").
int kt_cli_single(const struct kt_cli_program *program);
// Writes the help of the program (its commands and global options), or of one command.
void kt_cli_help_program(const struct kt_cli_program *program, FILE *out);
void kt_cli_help_command(const struct kt_cli_program *program, const struct kt_cli_command *command,
                         FILE *out);
// Of the commands that begin with a word that is none by itself: "org".
void kt_cli_help_group(const struct kt_cli_program *program, const char *group, FILE *out);
// Writes text with control characters escaped: it may come from a server or a file name.
void kt_cli_put_clean(const char *text, FILE *out);

#endif
