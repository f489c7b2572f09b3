// SPDX-License-Identifier: Apache-2.0
// The allow-lists of system calls, by purpose.
//
// A filter sees numbers, not the memory they point to: it cannot tell one path from another. So a
// worker, the door and the writer get no call at all that takes a path; what they need they hold already.
#include "kts/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define END (-0x7fff) // no system call and none of libseccomp's pseudo numbers

// Every process, whatever it does.
static const int BASE[] = {
    // memory; mmap and mprotect are below: never executable
    SCMP_SYS(brk),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    SCMP_SYS(mlock),
    SCMP_SYS(mlock2),
    SCMP_SYS(munlock),
    // bytes on descriptors that are there
    SCMP_SYS(read),
    SCMP_SYS(write),
    SCMP_SYS(readv),
    SCMP_SYS(writev),
    SCMP_SYS(lseek),
    SCMP_SYS(close),
    SCMP_SYS(fstat),
    SCMP_SYS(dup),
    SCMP_SYS(dup2),
    SCMP_SYS(dup3),
    // sockets that are there: the links, the control socket, libpq's, a worker's connections
    SCMP_SYS(recvfrom), // sendto and sendmsg are below
    SCMP_SYS(recvmsg),
    SCMP_SYS(getsockopt),
    SCMP_SYS(setsockopt),
    SCMP_SYS(getsockname),
    SCMP_SYS(getpeername),
    SCMP_SYS(shutdown),
    // waiting: libevent, libpq, our own loops
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(select),
    SCMP_SYS(pselect6),
    SCMP_SYS(epoll_create1),
    SCMP_SYS(epoll_ctl),
    SCMP_SYS(epoll_wait),
    SCMP_SYS(epoll_pwait),
    SCMP_SYS(epoll_pwait2),
    SCMP_SYS(timerfd_create),
    SCMP_SYS(timerfd_settime),
    SCMP_SYS(timerfd_gettime),
    SCMP_SYS(eventfd2),
    SCMP_SYS(pipe2),
    SCMP_SYS(nanosleep),
    SCMP_SYS(clock_nanosleep),
    // clocks and randomness (mostly the vDSO; OpenSSL asks getrandom)
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_getres),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(time),
    SCMP_SYS(getrandom),
    // signals to itself; libpq blocks SIGPIPE around its writes
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(rt_sigpending),
    SCMP_SYS(rt_sigtimedwait),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(signalfd4),
    SCMP_SYS(restart_syscall),
    // who am I
    SCMP_SYS(getpid),
    SCMP_SYS(getppid),
    SCMP_SYS(gettid),
    SCMP_SYS(getuid),
    SCMP_SYS(geteuid),
    SCMP_SYS(getgid),
    SCMP_SYS(getegid),
    SCMP_SYS(getrusage),
    SCMP_SYS(uname),
    SCMP_SYS(sysinfo),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(getcpu),
    // locks of the C library, and the end
    SCMP_SYS(futex),
    SCMP_SYS(sched_yield),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(rseq),
    SCMP_SYS(membarrier),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    END,
};

static const int WORKER[] = {
    SCMP_SYS(accept4),
    SCMP_SYS(accept), // connections of clients, on the socket it was given
    END,
};

// Connections of nodes and operators, on the socket it was given.
static const int DOOR[] = {
    SCMP_SYS(accept4),
    SCMP_SYS(accept),
    END,
};

static const int WRITER[] = {
    END,
};

// Files of the audit folder, and the log after a rotation. Not: socket, connect, execve.
static const int AUDIT[] = {
    SCMP_SYS(openat),
    SCMP_SYS(open),
    SCMP_SYS(newfstatat),
    SCMP_SYS(stat),
    SCMP_SYS(lstat),
    SCMP_SYS(statx),
    SCMP_SYS(getdents64),
    SCMP_SYS(pread64),
    SCMP_SYS(pwrite64),
    SCMP_SYS(fdatasync),
    SCMP_SYS(fsync),
    SCMP_SYS(ftruncate),
    SCMP_SYS(fallocate),
    SCMP_SYS(fchmod),
    SCMP_SYS(umask),
    // is there room
    SCMP_SYS(fstatfs),
    SCMP_SYS(rename),
    SCMP_SYS(renameat),
    SCMP_SYS(renameat2),
    SCMP_SYS(link),
    SCMP_SYS(linkat),
    SCMP_SYS(unlink),
    SCMP_SYS(unlinkat),
    END,
};

// Of a child that asks other nodes, through libcurl: name resolution takes threads, files and
// sockets of its own. Files are opened for reading only (below).
static const int CALLER[] = {
    SCMP_SYS(socketpair), SCMP_SYS(connect),    SCMP_SYS(sendto),     SCMP_SYS(sendmmsg),
    SCMP_SYS(recvmmsg),
    SCMP_SYS(bind), // netlink, for the order of addresses; listen() is not there
    SCMP_SYS(newfstatat), SCMP_SYS(stat),       SCMP_SYS(lstat),      SCMP_SYS(statx),
    SCMP_SYS(access),     SCMP_SYS(faccessat),  SCMP_SYS(faccessat2), SCMP_SYS(readlink),
    SCMP_SYS(readlinkat), SCMP_SYS(getdents64), SCMP_SYS(pread64),    SCMP_SYS(set_tid_address),
    SCMP_SYS(flock),      SCMP_SYS(getresuid),  SCMP_SYS(getresgid),  END,
};

#ifdef KT_SANITIZE
// What AddressSanitizer's, UndefinedBehaviorSanitizer's and LeakSanitizer's run time does: maps its
// shadow, reads /proc/self/maps and calls a symboliser for a report, and looks for leaks at the
// exit from a cloned task that ptraces its parent. The filter itself is tested in the plain build.
static const int SANITIZER[] = {
    SCMP_SYS(sendto),     SCMP_SYS(mmap),       SCMP_SYS(mprotect),
    SCMP_SYS(mincore),    SCMP_SYS(openat),     SCMP_SYS(open),
    SCMP_SYS(newfstatat), SCMP_SYS(readlink),   SCMP_SYS(readlinkat),
    SCMP_SYS(getdents),   SCMP_SYS(getdents64), SCMP_SYS(clone),
    SCMP_SYS(fork),       SCMP_SYS(vfork),      SCMP_SYS(wait4),
    SCMP_SYS(ptrace),     SCMP_SYS(kill),       SCMP_SYS(tgkill),
    SCMP_SYS(prctl),      SCMP_SYS(pipe),       SCMP_SYS(execve),
    SCMP_SYS(prlimit64),  SCMP_SYS(getrlimit),  SCMP_SYS(process_vm_readv),
    SCMP_SYS(stat),       SCMP_SYS(lstat),      END,
};
#endif

static int allow_list(scmp_filter_ctx ctx, const int *list)
{
    for (; *list != END; list++) {
        // A negative number is a call that this architecture does not have.
        if (*list >= 0 && seccomp_rule_add(ctx, SCMP_ACT_ALLOW, *list, 0))
            return KT_ERR_SYSTEM;
    }
    return 0;
}

#define ALLOW(call, count, ...)                                                                    \
    if (rc == 0 && seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(call), count, __VA_ARGS__))      \
    rc = KT_ERR_SYSTEM

// Calls that are right or wrong by an argument.
static int allow_by_argument(scmp_filter_ctx ctx)
{
    const scmp_datum_t self = (scmp_datum_t)getpid();
    int rc = 0;

#ifndef KT_SANITIZE
    // Memory that is writable now never becomes code.
    ALLOW(mmap, 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    ALLOW(mprotect, 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    // abort() and raise() signal their own thread.
    ALLOW(tgkill, 1, SCMP_A0(SCMP_CMP_EQ, self));
    // fstat() of glibc 2.33 to 2.38.
    ALLOW(newfstatat, 1, SCMP_A3(SCMP_CMP_EQ, AT_EMPTY_PATH));
    ALLOW(prctl, 1, SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME));
    // send(); with an address it could connect (MSG_FASTOPEN).
    ALLOW(sendto, 1, SCMP_A4(SCMP_CMP_EQ, 0));
    // Limits may be read, not set, and only its own.
    ALLOW(prlimit64, 2, SCMP_A0(SCMP_CMP_EQ, 0), SCMP_A2(SCMP_CMP_EQ, 0));
    ALLOW(getrlimit, 1, SCMP_A0(SCMP_CMP_GE, 0));
#endif
    // With MSG_FASTOPEN it connects, to the address in the memory that it points to: a listener too,
    // once shutdown() has ended its listening.
    ALLOW(sendmsg, 1, SCMP_A2(SCMP_CMP_MASKED_EQ, MSG_FASTOPEN, 0));
    // Not F_SETOWN and F_SETSIG: with them the kernel signals any process of the account.
    static const int FCNTL[] = {F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC};
    for (size_t i = 0; i < sizeof(FCNTL) / sizeof(FCNTL[0]); i++)
        ALLOW(fcntl, 1, SCMP_A1(SCMP_CMP_EQ, (scmp_datum_t)FCNTL[i]));
    // Not TIOCSTI and the like: the descriptor might be the terminal kts was started from.
    ALLOW(ioctl, 1, SCMP_A1(SCMP_CMP_EQ, FIONBIO));
    ALLOW(ioctl, 1, SCMP_A1(SCMP_CMP_EQ, FIONREAD));
    ALLOW(ioctl, 1, SCMP_A1(SCMP_CMP_EQ, TCGETS));
    (void)self;
    return rc;
}

// Threads, not processes; files to be read; libraries that the resolver loads (nsswitch).
static int allow_caller(scmp_filter_ctx ctx)
{
    // Not AF_UNIX: behind such sockets are the agent and the database, which know the account.
    static const int FAMILIES[] = {AF_INET, AF_INET6, AF_NETLINK};
    int rc = 0;

    for (size_t i = 0; i < sizeof(FAMILIES) / sizeof(FAMILIES[0]); i++)
        ALLOW(socket, 1, SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)FAMILIES[i]));
    ALLOW(openat, 1, SCMP_A2(SCMP_CMP_MASKED_EQ, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY));
    ALLOW(open, 1, SCMP_A1(SCMP_CMP_MASKED_EQ, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY));
    ALLOW(clone, 1, SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
    // glibc tries clone3 first, whose flags a filter cannot see, and is content without.
    if (rc == 0 && seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0))
        rc = KT_ERR_SYSTEM;
    ALLOW(mmap, 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC | PROT_WRITE, PROT_EXEC));
    ALLOW(mprotect, 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC | PROT_WRITE, PROT_EXEC));
    return rc;
}

// Copies for syslog go by a datagram socket that was made before.
static int allow_audit(scmp_filter_ctx ctx)
{
    int rc = 0;

    ALLOW(sendto, 1, SCMP_A3(SCMP_CMP_MASKED_EQ, MSG_FASTOPEN, 0));
    return rc;
}

static const int *list_of(enum kts_sandbox_profile profile)
{
    switch (profile) {
    case KTS_SANDBOX_WORKER:
        return WORKER;
    case KTS_SANDBOX_DOOR:
        return DOOR;
    case KTS_SANDBOX_WRITER:
        return WRITER;
    case KTS_SANDBOX_AUDIT:
        return AUDIT;
    case KTS_SANDBOX_CALLER:
        return CALLER;
    }
    return NULL;
}

int kts_sandbox_enter(enum kts_sandbox_profile profile, struct kt_error *error)
{
    const int *own = list_of(profile);
    scmp_filter_ctx ctx;
    int rc;

    if (!own)
        return kt_error_set(error, KT_ERR_INVALID, NULL, "sandbox: unknown profile");
    // Not dumpable: a process of the same account can neither ptrace this one nor read its memory.
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return kt_error_errno(error, "sandbox: prctl");
    ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    if (!ctx)
        return kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "sandbox: out of memory");
    rc = allow_list(ctx, BASE);
    if (rc == 0)
        rc = allow_list(ctx, own);
    if (rc == 0)
        rc = allow_by_argument(ctx);
    if (rc == 0 && profile == KTS_SANDBOX_CALLER)
        rc = allow_caller(ctx);
    if (rc == 0 && profile == KTS_SANDBOX_AUDIT)
        rc = allow_audit(ctx);
#ifdef KT_SANITIZE
    if (rc == 0)
        rc = allow_list(ctx, SANITIZER);
#endif
    if (rc)
        kt_error_set(error, rc, NULL, "sandbox: the filter cannot be made");
    else if (seccomp_load(ctx))
        rc = kt_error_set(error, KT_ERR_SYSTEM,
                          "the kernel must have seccomp filters (CONFIG_SECCOMP_FILTER)",
                          "sandbox: the kernel refuses the filter");
    seccomp_release(ctx);
    return rc;
}
