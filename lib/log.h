// SPDX-License-Identifier: Apache-2.0
// The log: levelled lines to standard error (journal prefixes when systemd reads it) or a file.
#ifndef KT_LOG_H
#define KT_LOG_H

#include "lib/err.h"

enum kt_log_level {
    KT_LOG_ERROR = 3,
    KT_LOG_WARNING = 4,
    KT_LOG_NOTICE = 5,
    KT_LOG_INFO = 6,
    KT_LOG_DEBUG = 7
};

// `program` names the process in each line and must stay valid. `file` NULL = standard error.
// Lines are one write(2), control characters are escaped. Call again to reopen after rotation.
int kt_log_open(const char *program, enum kt_log_level level, const char *file) KT_MUST_CHECK;
// Changes the name (after a fork), keeping level and destination.
void kt_log_rename(const char *program);
void kt_log_set_level(enum kt_log_level level);
// The descriptor that lines go to (2 until a file is opened).
int kt_log_fd(void);

// Lower case, no full stop, values quoted. Never secrets, bodies, headers, statement parameters.
void kt_log(enum kt_log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
// As kt_log, with ": <text of code>" appended.
void kt_log_code(enum kt_log_level level, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
// As kt_log, with the message and hint of `error` appended.
void kt_log_error(const struct kt_error *error, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
