// SPDX-License-Identifier: Apache-2.0
// keytrustee put: encrypts a secret and deposits it.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/cmd.h"
#include "lib/secret.h"

static int too_large(const struct kt_cli_run *run)
{
    return ktc_cmd_say(run, KT_ERR_USAGE,
                       "a key trustee keeps keys: encrypt the data and deposit its key",
                       "the secret is larger than %d bytes", KEYTRUSTEE_SECRET_MAX);
}

// Everything of `fd`, exactly.
static int read_all(const struct kt_cli_run *run, int fd, const char *name,
                    struct kt_secret **secret)
{
    struct kt_secret *made = NULL;
    size_t used = 0;
    ssize_t n = 0;
    char more = 0;

    if (kt_secret_new(KEYTRUSTEE_SECRET_MAX, &made) != 0)
        return ktc_cmd_say(run, KT_ERR_NO_MEMORY, NULL, "out of memory");
    do {
        if (used < KEYTRUSTEE_SECRET_MAX)
            n = read(fd, kt_secret_data(made) + used, KEYTRUSTEE_SECRET_MAX - used);
        else
            n = read(fd, &more, 1);
        if (n > 0 && used == KEYTRUSTEE_SECRET_MAX) {
            kt_wipe(&more, 1);
            kt_secret_free(made);
            return too_large(run);
        }
        if (n > 0)
            used += (size_t)n;
    } while (n > 0 || (n < 0 && errno == EINTR));
    if (n < 0) {
        int why = errno;
        kt_secret_free(made);
        return ktc_cmd_say(run, KT_ERR_SYSTEM, NULL, "cannot read \"%s\": %s", name, strerror(why));
    }
    kt_secret_truncate(made, used);
    *secret = made;
    return 0;
}

// From FILE, from standard input, or asked for when that is a terminal.
static int read_secret(const struct kt_cli_run *run, const char *path, struct kt_secret **secret)
{
    struct kt_error error = {0};
    int fd = -1;
    int rc = 0;

    if (path == NULL && isatty(STDIN_FILENO)) {
        rc = kt_secret_prompt("Secret: ", secret, &error);
        if (rc != 0 && error.code == 0)
            kt_error_set(&error, rc, NULL, "cannot read the secret: %s", kt_err_text(rc));
        return rc == 0 ? 0 : kt_cli_fail(run, &error);
    }
    if (path == NULL || strcmp(path, "-") == 0)
        return read_all(run, STDIN_FILENO, "standard input", secret);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return ktc_cmd_say(run, KT_ERR_SYSTEM, NULL, "cannot open \"%s\": %s", path,
                           strerror(errno));
    rc = read_all(run, fd, path, secret);
    close(fd);
    return rc;
}

static int print_deposit(const struct kt_cli_run *run, const struct keytrustee_deposit *deposit)
{
    if (kt_cli_flag(run, "quiet"))
        return KT_EXIT_OK;
    if (kt_cli_flag(run, "json"))
        return ktc_cmd_print_json(run, ktc_cmd_deposit_json(deposit));
    printf("%s version %u deposit %s\n", deposit->handle, (unsigned)deposit->version, deposit->id);
    return KT_EXIT_OK;
}

static int print_each(void *arg, const struct keytrustee_deposit *deposit)
{
    print_deposit(arg, deposit);
    return 0;
}

static int resume(struct kt_cli_run *run)
{
    struct keytrustee *client = NULL;
    struct keytrustee_error error;
    int rc = 0;

    if (run->argc > 0 || kt_cli_value(run, "deposit-id") != NULL ||
        kt_cli_value(run, "group") != NULL)
        return ktc_cmd_say(run, KT_ERR_USAGE, NULL,
                           "--resume takes no handle, file, deposit id or group");
    rc = ktc_cmd_open(run, &client);
    if (rc == 0 && keytrustee_resume(client, print_each, run, &error) != KEYTRUSTEE_OK)
        rc = ktc_cmd_fail(run, &error);
    keytrustee_close(client);
    return rc;
}

static int run_put(struct kt_cli_run *run)
{
    struct keytrustee *client = NULL;
    struct keytrustee_put_options options = {.size = sizeof options,
                                             .deposit_id = kt_cli_value(run, "deposit-id"),
                                             .key_group = kt_cli_value(run, "group")};
    struct ktc_cmd_policy room;
    struct keytrustee_deposit deposit;
    struct keytrustee_error error;
    struct kt_secret *secret = NULL;
    int rc = 0;

    if (kt_cli_flag(run, "resume"))
        return resume(run);
    if (run->argc == 0)
        return ktc_cmd_say(run, KT_ERR_USAGE, "keytrustee put HANDLE [FILE|-]", "no handle");
    rc = ktc_cmd_policy(run, &room);
    if (rc == 0)
        rc = ktc_cmd_open(run, &client);
    if (rc == 0)
        rc = read_secret(run, run->argc > 1 ? run->argv[1] : NULL, &secret);
    if (rc != 0)
        goto out;
    options.policy = room.given ? &room.policy : NULL;
    if (keytrustee_put_with(client, run->argv[0], kt_secret_text(secret), kt_secret_len(secret),
                            &options, &deposit, &error) != KEYTRUSTEE_OK)
        rc = ktc_cmd_fail(run, &error);
    else
        rc = print_deposit(run, &deposit);
out:
    kt_secret_free(secret);
    keytrustee_close(client);
    return rc;
}

static const struct kt_cli_option options[] = {
    {"deposit-id", 0, "UUID", "name this deposit, so that repeating the command stores it once"},
    {"group", 'g', "GROUP",
     "put it into this key group: its id, or the name of one with grants to us"},
    {"resume", 0, NULL, "send again what was interrupted"},
    {"not-before", 0, "TIME", "hand it out from then on only: 2027-01-31, +7d"},
    {"not-after", 0, "TIME", "do not hand it out any more from then on"},
    {"max-retrievals", 0, "N", "hand it out so often, to all clients together"},
    {"justification", 0, NULL, "hand it out only to who says what for"},
    {"trustee", 0, "CLIENT", "a client that votes on each retrieval (repeatable)"},
    {"votes", 0, "M", "hand it out when so many trustees approve"},
    {"request-lifetime", 0, "TIME", "how long a request and its approval last: 1d"},
    {NULL},
};

const struct kt_cli_command ktc_cmd_put = {
    .verb = "put",
    .arguments = "HANDLE [FILE|-]",
    .summary = "deposit a secret as the next version of a handle",
    .help = "Without FILE the secret is read from standard input, or asked for on a terminal.\n"
            "It is signed and encrypted on this host. Exit 0 means that the receipt was verified\n"
            "and kept; exit 6 that the deposit is in doubt: run keytrustee put --resume.",
    .options = options,
    .min_args = 0,
    .max_args = 2,
    .run = run_put,
};
