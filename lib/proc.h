// SPDX-License-Identifier: Apache-2.0
// Children and privileges: run a program with argv, a clean environment and a deadline.
#ifndef KT_PROC_H
#define KT_PROC_H

#include <sys/types.h>

#include "lib/buf.h"
#include "lib/err.h"

struct kt_proc {
    const char *const *argv; // argv[0] is a path or is looked up in PATH; NULL-terminated
    const char *const *env;  // "NAME=value" added to PATH, HOME, LANG=C.UTF-8, TZ; may be NULL
    const void *input;       // written to stdin, which is /dev/null when NULL
    size_t input_len;
    struct kt_buf *output; // receives stdout up to its max (more: see below), NULL to discard
    struct kt_buf *errors; // receives stderr up to its max (rest dropped), or NULL to inherit
    int timeout_ms;        // 0 = none; the whole process group is killed after it
    int log_fd;            // > 0: stdout and stderr go there instead
    int dies_with_us;      // killed when this process ends before it
};

// Runs to the end. 0 only when it exited 0; otherwise KT_ERR_CHILD (KT_ERR_TIMEOUT, KT_ERR_SYSTEM)
// with program, status and the last line of its stderr in `error`. `*status` (may be NULL)
// receives the raw wait status. KT_ERR_TOO_LARGE when it exited 0
// but its output was cut at the max.
int kt_proc_run(const struct kt_proc *proc, int *status, struct kt_error *error) KT_MUST_CHECK;

// When running as root: becomes the owner of `path` (user, group, supplementary groups, HOME).
// Does nothing when not root. Refuses when the owner is root. Never returns to root.
int kt_proc_drop_to_owner(const char *path, struct kt_error *error) KT_MUST_CHECK;
// When running as root: becomes the named account.
int kt_proc_drop_to_user(const char *name, struct kt_error *error) KT_MUST_CHECK;
// Not dumpable, no core, umask 077.
int kt_proc_harden(void) KT_MUST_CHECK;
// Name of the effective user; "uid 1234" when it has none.
void kt_proc_user_name(char *out, size_t size);

#endif
