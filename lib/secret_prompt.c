// SPDX-License-Identifier: Apache-2.0
// Asking for a secret on the terminal, without echo.
#include "lib/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "lib/file.h"

#define PROMPT_MAX 1024

// The signal that came while the terminal was silent; sent again once it is as it was.
static volatile sig_atomic_t caught;

static void on_signal(int number)
{
    caught = number;
}

// Waits for a key, with signals open only meanwhile: none is lost between a look and a wait.
static ssize_t read_key(int fd, const sigset_t *open_mask, uint8_t *key)
{
    struct pollfd ready = {fd, POLLIN, 0};

    while (!caught) {
        if (ppoll(&ready, 1, NULL, open_mask) > 0)
            return read(fd, key, 1);
        if (errno != EINTR)
            return -1;
    }
    return -1;
}

// Reads key by key up to the end of the line into `secret`; edits like a terminal line.
static int read_line(int fd, const sigset_t *open_mask, struct kt_secret *secret, size_t *len,
                     struct kt_error *error)
{
    uint8_t *data = kt_secret_data(secret);
    size_t n = 0;
    uint8_t key;

    for (;;) {
        if (read_key(fd, open_mask, &key) <= 0 || key == 3) // a signal, hung up, or ^C
            return kt_error_set(error, KT_ERR_REFUSED_BY_USER, NULL, "nothing was entered");
        if (key == '\n' || key == '\r' || key == 4)
            break;
        if (key == 8 || key == 127) {
            if (n > 0)
                data[--n] = 0;
        } else if (key == 21) { // ^U
            kt_wipe(data, n);
            n = 0;
        } else if (n == kt_secret_len(secret)) {
            return kt_error_set(error, KT_ERR_TOO_LARGE, NULL, "more than %d characters",
                                PROMPT_MAX);
        } else {
            data[n++] = key;
        }
    }
    kt_wipe(&key, 1);
    if (n == 0)
        return kt_error_set(error, KT_ERR_REFUSED_BY_USER, NULL, "nothing was entered");
    *len = n;
    return 0;
}

static int ask(int fd, const char *prompt, struct kt_secret *secret, size_t *len,
               struct kt_error *error)
{
    static const int NUMBERS[] = {SIGTERM, SIGHUP, SIGINT};
    struct sigaction old[3], catching = {.sa_handler = on_signal};
    struct termios before, silent;
    sigset_t blocked, open_mask;
    int rc;

    if (tcgetattr(fd, &before) != 0)
        return kt_error_errno(error, "cannot read the state of the terminal");
    caught = 0;
    sigemptyset(&blocked);
    for (size_t i = 0; i < 3; i++)
        sigaddset(&blocked, NUMBERS[i]);
    sigprocmask(SIG_BLOCK, &blocked, &open_mask);
    for (size_t i = 0; i < 3; i++)
        sigaction(NUMBERS[i], &catching, &old[i]);
    silent = before;
    // ISIG off: ^Z must not leave a shell without echo, ^C is read as a key.
    silent.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | ISIG);
    silent.c_cc[VMIN] = 1;
    silent.c_cc[VTIME] = 0;
    if (tcsetattr(fd, TCSAFLUSH, &silent) != 0) {
        rc = kt_error_errno(error, "cannot switch off the terminal's echo");
    } else {
        rc = kt_write_all(fd, prompt, strlen(prompt));
        if (rc)
            kt_error_set(error, rc, NULL, "cannot write to the terminal");
        else
            rc = read_line(fd, &open_mask, secret, len, error);
        if (kt_write_all(fd, "\n", 1) != 0 && rc == 0)
            rc = kt_error_set(error, KT_ERR_SYSTEM, NULL, "cannot write to the terminal");
        tcsetattr(fd, TCSAFLUSH, &before);
    }
    for (size_t i = 0; i < 3; i++)
        sigaction(NUMBERS[i], &old[i], NULL);
    if (caught)
        raise(caught);
    sigprocmask(SIG_SETMASK, &open_mask, NULL); // a raised signal, or one that waits, comes here
    return rc;
}

int kt_secret_prompt(const char *prompt, struct kt_secret **secret, struct kt_error *error)
{
    struct kt_secret *line = NULL;
    size_t len = 0;
    int fd, rc;

    fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return kt_error_set(error, KT_ERR_USAGE, "give the secret in a file or on standard input",
                            "there is no terminal to ask for a secret on");
    rc = kt_secret_new(PROMPT_MAX, &line);
    if (rc)
        kt_error_set(error, rc, NULL, "no memory for the answer");
    else
        rc = ask(fd, prompt, line, &len, error);
    if (rc == 0) {
        kt_secret_truncate(line, len);
        *secret = line;
        line = NULL;
    }
    kt_secret_free(line);
    close(fd);
    return rc;
}
