// SPDX-License-Identifier: Apache-2.0
// The log: one levelled, escaped line a write(2), to standard error or a file.
#include "lib/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MESSAGE_MAX 2048
#define LINE_MAX_   4096 // a line is one write, and pipes keep those whole up to PIPE_BUF

static const char *program_name = "keytrustee";
static enum kt_log_level level_max = KT_LOG_INFO;
static int log_fd = STDERR_FILENO;
static int to_journal;

// systemd names the device and inode of the stream it reads; a redirected stderr is another one.
static int stderr_is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    unsigned long long device, inode;
    struct stat st;

    if (!stream || sscanf(stream, "%llu:%llu", &device, &inode) != 2)
        return 0;
    return fstat(STDERR_FILENO, &st) == 0 && (unsigned long long)st.st_dev == device &&
           (unsigned long long)st.st_ino == inode;
}

int kt_log_open(const char *program, enum kt_log_level level, const char *file)
{
    if (file && file[0]) {
        int fd = open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640);
        if (fd < 0)
            return errno == EACCES || errno == EPERM ? KT_ERR_PERMISSION : KT_ERR_SYSTEM;
        if (log_fd == STDERR_FILENO) {
            log_fd = fd;
        } else { // the number stays: children may have been given it
            int rc = dup3(fd, log_fd, O_CLOEXEC) < 0 ? KT_ERR_SYSTEM : 0;
            close(fd);
            if (rc)
                return rc;
        }
        to_journal = 0;
    } else {
        if (log_fd != STDERR_FILENO)
            close(log_fd);
        log_fd = STDERR_FILENO;
        to_journal = stderr_is_journal();
    }
    program_name = program;
    level_max = level;
    return 0;
}

void kt_log_rename(const char *program)
{
    program_name = program;
}

void kt_log_set_level(enum kt_log_level level)
{
    level_max = level;
}

int kt_log_fd(void)
{
    return log_fd;
}

static const char *level_word(enum kt_log_level level)
{
    switch (level) {
    case KT_LOG_ERROR:
        return "error";
    case KT_LOG_WARNING:
        return "warning";
    case KT_LOG_NOTICE:
        return "notice";
    case KT_LOG_INFO:
        return "info";
    case KT_LOG_DEBUG:
        return "debug";
    }
    return "error";
}

static size_t put_head(char *line, size_t size, enum kt_log_level level)
{
    char when[32] = "";
    int n;

    if (to_journal) {
        n = snprintf(line, size, "<%d>%s[%d] %s: ", (int)level, program_name, (int)getpid(),
                     level_word(level));
    } else {
        time_t now = time(NULL);
        struct tm tm;
        if (gmtime_r(&now, &tm))
            strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
        n = snprintf(line, size, "%s %s[%d] %s: ", when, program_name, (int)getpid(),
                     level_word(level));
    }
    return n < 0 ? 0 : (size_t)n < size ? (size_t)n : size - 1;
}

static void write_line(enum kt_log_level level, const char *message)
{
    static const char HEX[] = "0123456789abcdef";
    char line[LINE_MAX_];
    size_t n = put_head(line, 256, level);

    // What strangers sent must not start a line of its own or move a terminal's cursor.
    for (const char *p = message; *p; p++) {
        unsigned char c = (unsigned char)*p;
        if (n > sizeof(line) - 8) {
            memcpy(line + n, "...", 3);
            n += 3;
            break;
        }
        if (c >= 0x20 && c != 0x7f) {
            line[n++] = *p;
        } else {
            line[n++] = '\\';
            line[n++] = 'x';
            line[n++] = HEX[c >> 4];
            line[n++] = HEX[c & 15];
        }
    }
    line[n++] = '\n';
    // Nowhere to report a failing log to; the signal handlers' EINTR is the one case worth a retry.
    while (write(log_fd, line, n) < 0 && errno == EINTR)
        ;
}

// Formats into `message` and appends the tail.
__attribute__((format(printf, 2, 0))) static void emit(enum kt_log_level level, const char *fmt,
                                                       va_list args, const char *text,
                                                       const char *hint)
{
    int saved = errno; // logging must not disturb the caller's error handling
    char message[MESSAGE_MAX];
    int n = vsnprintf(message, sizeof(message), fmt, args);
    size_t len = n < 0 ? 0 : (size_t)n < sizeof(message) ? (size_t)n : sizeof(message) - 1;

    if (text && text[0])
        len += (size_t)snprintf(message + len, sizeof(message) - len, ": %s", text);
    if (len < sizeof(message) && hint && hint[0])
        snprintf(message + len, sizeof(message) - len, "; hint: %s", hint);
    write_line(level, message);
    errno = saved;
}

void kt_log(enum kt_log_level level, const char *fmt, ...)
{
    va_list args;

    if (level > level_max)
        return;
    va_start(args, fmt);
    emit(level, fmt, args, NULL, NULL);
    va_end(args);
}

void kt_log_code(enum kt_log_level level, int code, const char *fmt, ...)
{
    va_list args;

    if (level > level_max)
        return;
    va_start(args, fmt);
    emit(level, fmt, args, kt_err_text(code), NULL);
    va_end(args);
}

void kt_log_error(const struct kt_error *error, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    emit(KT_LOG_ERROR, fmt, args, error->message[0] ? error->message : kt_err_text(error->code),
         error->hint);
    va_end(args);
}
