// SPDX-License-Identifier: Apache-2.0
// keytrustee get: fetches a secret; exact bytes, or nothing.
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/cmd.h"
#include "lib/encode.h"
#include "lib/file.h"

#define WAIT_MAX_S 31536000
#define PAUSE_MS   2000 // between two looks whether trustees have decided

// Into what is there and is no file of its own: a device, a pipe, or a link such as /dev/stdout.
// None is made or replaced. What a link to a file leads to must be ours, as the file will be.
static int write_in_place(const char *path, const void *bytes, size_t n, struct kt_error *error)
{
    struct stat to, out;
    int fd = open(path, O_WRONLY | O_NOCTTY | O_CLOEXEC);
    int rc = 0;

    if (fd < 0)
        return kt_error_errno(error, "cannot open \"%s\"", path);
    if (fstat(fd, &to) != 0) {
        rc = kt_error_errno(error, "cannot look at \"%s\"", path);
    } else if (fstat(STDOUT_FILENO, &out) == 0 && out.st_dev == to.st_dev &&
               out.st_ino == to.st_ino) {
        rc = kt_write_all(STDOUT_FILENO, bytes, n); // behind what it has already
    } else if (S_ISREG(to.st_mode) && to.st_uid != geteuid()) {
        rc = kt_error_set(error, KT_ERR_PERMISSION, NULL,
                          "\"%s\" is a link to a file of somebody else", path);
    } else {
        if (S_ISREG(to.st_mode) && (fchmod(fd, 0600) != 0 || ftruncate(fd, 0) != 0))
            rc = kt_error_errno(error, "cannot empty \"%s\"", path);
        if (rc == 0)
            rc = kt_write_all(fd, bytes, n);
    }
    if (close(fd) != 0 && rc == 0)
        rc = kt_error_errno(error, "cannot write \"%s\"", path);
    if (rc != 0 && error->code == 0)
        rc = kt_error_set(error, rc, NULL, "cannot write to \"%s\"", path);
    return rc;
}

static int write_secret(const struct kt_cli_run *run, const struct keytrustee_secret *secret)
{
    const char *path = kt_cli_value(run, "output");
    const void *bytes = keytrustee_secret_bytes(secret);
    size_t n = keytrustee_secret_length(secret);
    struct kt_error error = {0};
    struct stat st;

    if (path != NULL && strcmp(path, "-") != 0) {
        int rc = lstat(path, &st) == 0 && !S_ISREG(st.st_mode)
                     ? write_in_place(path, bytes, n, &error)
                     : kt_file_replace(path, bytes, n, 0600, &error);
        return rc == 0 ? KT_EXIT_OK : kt_cli_fail(run, &error);
    }
    // Not through stdio, whose buffer would keep a copy.
    if (kt_write_all(STDOUT_FILENO, bytes, n) != 0)
        return ktc_cmd_say(run, KT_ERR_SYSTEM, NULL, "cannot write to standard output");
    return KT_EXIT_OK;
}

// Asks until trustees have decided, or for so many seconds.
static int fetch(const struct kt_cli_run *run, struct keytrustee *client, uint32_t version,
                 uint64_t wait_s, struct keytrustee_secret **secret, struct keytrustee_error *error)
{
    struct keytrustee_get_options options = {.size = sizeof options,
                                             .justification = kt_cli_value(run, "why"),
                                             .retrieval_id = kt_cli_value(run, "retrieval-id")};
    int64_t until = kt_monotonic_now() + (int64_t)wait_s * 1000000;
    int told = 0;

    for (;;) {
        int rc = keytrustee_get_with(client, run->argv[0], version, &options, secret, NULL, error);

        if (rc != KEYTRUSTEE_REFUSED || strcmp(error->name, "votes_required") != 0)
            return rc;
        if (!told++)
            fprintf(stderr, "request %s\n", error->request);
        if (kt_monotonic_now() + PAUSE_MS * INT64_C(1000) >= until)
            return rc;
        (void)poll(NULL, 0, PAUSE_MS);
    }
}

static int run_get(struct kt_cli_run *run)
{
    struct keytrustee *client = NULL;
    struct keytrustee_secret *secret = NULL;
    struct keytrustee_error error;
    uint32_t version = 0;
    uint64_t wait_s = 0;
    int rc = ktc_cmd_version(run, &version);

    if (rc == 0)
        rc = ktc_cmd_number(run, "wait", WAIT_MAX_S, &wait_s);
    if (rc == 0)
        rc = ktc_cmd_open(run, &client);
    if (rc != 0)
        return rc;
    if (fetch(run, client, version, wait_s, &secret, &error) != KEYTRUSTEE_OK)
        rc = ktc_cmd_fail(run, &error);
    else
        rc = write_secret(run, secret);
    keytrustee_free(secret);
    keytrustee_close(client);
    return rc;
}

static const struct kt_cli_option options[] = {
    {"version", 0, "N", "this version instead of the latest"},
    {"output", 'o', "FILE", "write to FILE (mode 0600) instead of standard output"},
    {"why", 0, "TEXT", "what for; it is recorded, and trustees read it"},
    {"wait", 0, "SECONDS", "wait so long for the votes of trustees"},
    {"retrieval-id", 0, "UUID", "name this retrieval, so that repeating the command counts once"},
    {NULL},
};

const struct kt_cli_command ktc_cmd_get = {
    .verb = "get",
    .arguments = "HANDLE",
    .summary = "fetch a secret and print its exact bytes",
    .help = "Hash, receipt and signature are checked first: on any failure nothing is written and\n"
            "the exit code is not 0.",
    .options = options,
    .min_args = 1,
    .max_args = 1,
    .run = run_get,
};
