// SPDX-License-Identifier: Apache-2.0
// Runs commands of ktadmin inside of a test: as an ordinary account, with captured output. Include
// behind cmocka.h.
#ifndef KT_TEST_KTADMIN_COMMANDS_H
#define KT_TEST_KTADMIN_COMMANDS_H

#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ktadmin/commands.h"
#include "lib/file.h"
#include "tests/unit/lib/temp_dir.h"

#define NOBODY   65534
#define TEXT_MAX 65536

static char out_text[TEXT_MAX], err_text[TEXT_MAX];

// ktadmin becomes the owner of the confdir and refuses root's; PostgreSQL refuses root.
static inline int become_ordinary(void)
{
    return geteuid() == 0 && (setgroups(0, NULL) != 0 || setresgid(NOBODY, NOBODY, NOBODY) != 0 ||
                              setresuid(NOBODY, NOBODY, NOBODY) != 0)
               ? -1
               : 0;
}

static inline void take_file(const char *path, char *out)
{
    FILE *file = fopen(path, "re");
    size_t n;

    assert_non_null(file);
    n = fread(out, 1, TEXT_MAX - 1, file);
    out[n] = '\0';
    fclose(file);
}

// Words of the command behind "ktadmin -c <temp_dir>/.keytrustee"; NULL-terminated. The exit code;
// what was printed is in out_text and err_text.
static inline int ktadmin(const struct kt_cli_command *command, const char *const *words)
{
    static const struct kt_cli_option GLOBALS[] = {{"confdir", 'c', "DIR", ""},
                                                   {"json", 0, NULL, ""},
                                                   {"yes", 0, NULL, ""},
                                                   {"quiet", 'q', NULL, ""},
                                                   {NULL}};
    const struct kt_cli_command *const commands[] = {command, NULL};
    const struct kt_cli_program program = {
        .name = "ktadmin", .summary = "", .globals = GLOBALS, .commands = commands, .version = ""};
    char confdir[300], *argv[24] = {strdup("ktadmin"), strdup("-c"), confdir};
    int argc = 3, rc, saved_out = dup(1), saved_err = dup(2), cwd = open(".", O_RDONLY | O_CLOEXEC);

    snprintf(confdir, sizeof(confdir), "%s/.keytrustee", temp_dir);
    while (*words)
        argv[argc++] = strdup(*words++);
    fflush(stdout);
    fflush(stderr);
    assert_non_null(freopen(temp_path("out.txt"), "w", stdout));
    assert_non_null(freopen(temp_path("err.txt"), "w", stderr));
    rc = kt_cli_main(&program, argc, argv);
    fflush(stdout);
    fflush(stderr);
    assert_true(dup2(saved_out, 1) == 1 && dup2(saved_err, 2) == 2);
    close(saved_out);
    close(saved_err);
    (void)!fchdir(cwd); // commands stand in "/"
    close(cwd);
    take_file(temp_path("out.txt"), out_text);
    take_file(temp_path("err.txt"), err_text);
    unlink(temp_path("out.txt"));
    unlink(temp_path("err.txt"));
    for (int i = 0; i < argc; i++)
        if (i != 2)
            free(argv[i]);
    return rc;
}

#define RUN(command, ...) ktadmin(&(command), (const char *const[]){__VA_ARGS__, NULL})

#endif
