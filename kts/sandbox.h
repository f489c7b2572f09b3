// SPDX-License-Identifier: Apache-2.0
// The system calls that a process may make from now on (seccomp); everything else gives EPERM.
#ifndef KTS_SANDBOX_H
#define KTS_SANDBOX_H

#include "lib/err.h"

enum kts_sandbox_profile {
    KTS_SANDBOX_WORKER, // talks on sockets it has or accepts; opens, connects, executes nothing
    KTS_SANDBOX_DOOR,   // the same, without a database
    KTS_SANDBOX_WRITER, // talks on sockets it has
    KTS_SANDBOX_AUDIT,  // opens, writes, renames and fsyncs files; no sockets made or connected
    KTS_SANDBOX_CALLER, // a child that asks other nodes: connects and reads files; executes nothing,
                        // listens nowhere, writes no file, touches no process
};

// Makes the process not dumpable, sets no_new_privs and installs the filter; for good.
// Sanitizer builds add the calls listed in sandbox.c (their run time needs them).
int kts_sandbox_enter(enum kts_sandbox_profile profile, struct kt_error *error) KT_MUST_CHECK;

#endif
