// SPDX-License-Identifier: Apache-2.0
// The filters: what each profile needs works, what it must not do is refused with EPERM.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kts/sandbox.h"

// Runs `body` in a child inside the filter. Its result, or 1000 + the signal that ended it.
static int inside(enum kts_sandbox_profile profile, int (*body)(void))
{
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0)
        _exit(kts_sandbox_enter(profile, NULL) ? 99 : body());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}

// Each step is numbered by its line, so that a failing one can be found; lines are under 256 apart.
#define NEED(condition)                                                                            \
    if (!(condition))                                                                              \
    return __LINE__ - first_line
#define REFUSED(call)                                                                              \
    errno = 0;                                                                                     \
    NEED((call) == -1 && errno == EPERM)

static int listener = -1, listener_port;

static void make_listener(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(address);

    listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(listener, 4), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &n), 0);
    listener_port = address.sin_port;
}

// --- what must work ---

static int memory_clock_and_randomness(void)
{
    const int first_line = __LINE__;
    struct timespec now;
    unsigned char bytes[32];

    for (size_t size = 16; size < 64u << 20; size *= 2) {
        char *p = malloc(size);
        NEED(p);
        memset(p, 1, size);
        p = realloc(p, size * 2);
        NEED(p);
        free(p);
    }
    NEED(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    NEED(RAND_bytes(bytes, sizeof(bytes)) == 1);
    NEED(EVP_Digest("x", 1, bytes, NULL, EVP_sha256(), NULL) == 1);
    NEED(prctl(PR_SET_NAME, "kts: test") == 0);
    return 0;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    event_base_loopbreak(arg);
}

static int loop_with_timer_and_sockets(void)
{
    const int first_line = __LINE__;
    struct timeval tv = {.tv_usec = 1000};
    struct event_base *base = event_base_new();
    struct iovec part = {&tv, 4};
    int fds[2], size = 0;
    socklen_t n = sizeof(size);
    char bytes[8];

    NEED(base);
    NEED(event_base_once(base, -1, EV_TIMEOUT, on_timer, base, &tv) == 0);
    NEED(event_base_dispatch(base) == 0);
    event_base_free(base);
    NEED(pipe2(fds, O_CLOEXEC | O_NONBLOCK) == 0);
    NEED(writev(fds[1], &part, 1) == 4);
    part = (struct iovec){bytes, 4};
    NEED(readv(fds[0], &part, 1) == 4);
    NEED(poll(&(struct pollfd){.fd = fds[0], .events = POLLIN}, 1, 0) == 0);
    NEED(getsockopt(listener, SOL_SOCKET, SO_RCVBUF, &size, &n) == 0);
    NEED(fcntl(fds[0], F_GETFL) & O_NONBLOCK);
    struct stat st;
    NEED(fstat(fds[0], &st) == 0);
    struct rlimit limit;
    NEED(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    NEED(close(fds[0]) == 0);
    return 0;
}

static int worker_accepts_and_talks(void)
{
    const int first_line = __LINE__;
    char byte = 0;
    int s = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    NEED(s >= 0);
    NEED(poll(&(struct pollfd){.fd = s, .events = POLLIN}, 1, 5000) == 1);
    NEED(recv(s, &byte, 1, 0) == 1 && byte == 'x');
    NEED(send(s, "y", 1, MSG_NOSIGNAL) == 1);
    NEED(shutdown(s, SHUT_WR) == 0);
    NEED(close(s) == 0);
    return 0;
}

static int aborts(void)
{
    abort();
}

static void ordinary_work_goes_on(void **state)
{
    (void)state;
    for (int profile = KTS_SANDBOX_WORKER; profile <= KTS_SANDBOX_AUDIT; profile++) {
        assert_int_equal(inside((enum kts_sandbox_profile)profile, memory_clock_and_randomness), 0);
        assert_int_equal(inside((enum kts_sandbox_profile)profile, loop_with_timer_and_sockets), 0);
    }
}

static void can_accept(enum kts_sandbox_profile profile)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = (in_port_t)listener_port};
    int s = socket(AF_INET, SOCK_STREAM, 0);
    char byte = 0;

    assert_int_equal(connect(s, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(send(s, "x", 1, 0), 1);
    assert_int_equal(inside(profile, worker_accepts_and_talks), 0);
    assert_int_equal(recv(s, &byte, 1, 0), 1);
    assert_int_equal(byte, 'y');
    close(s);
}

static void worker_and_door_can_accept(void **state)
{
    (void)state;
    can_accept(KTS_SANDBOX_WORKER);
    can_accept(KTS_SANDBOX_DOOR);
}

static void abort_still_ends_the_process(void **state)
{
    (void)state;
    assert_int_equal(inside(KTS_SANDBOX_WORKER, aborts), 1000 + SIGABRT);
}

static char folder[] = "/tmp/kts-sandbox-XXXXXX";

static int audit_writes_renames_syncs(void)
{
    const int first_line = __LINE__;
    char one[64], two[64];
    struct stat st;

    snprintf(one, sizeof(one), "%s/one", folder);
    snprintf(two, sizeof(two), "%s/two", folder);
    int fd = open(one, O_WRONLY | O_CREAT | O_APPEND, 0600);
    NEED(fd >= 0);
    NEED(write(fd, "line\n", 5) == 5);
    NEED(fdatasync(fd) == 0);
    NEED(ftruncate(fd, 2) == 0);
    NEED(fstat(fd, &st) == 0 && st.st_size == 2);
    NEED(rename(one, two) == 0);
    NEED(stat(two, &st) == 0);
    NEED(unlink(two) == 0);
    return 0;
}

static void audit_can_write_its_files(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(folder));
    assert_int_equal(inside(KTS_SANDBOX_AUDIT, audit_writes_renames_syncs), 0);
    assert_int_equal(rmdir(folder), 0);
}

#ifndef KT_SANITIZE // whose run time needs more: see sandbox.c

// --- what must not ---

static int no_new_processes_or_programs(void)
{
    const int first_line = __LINE__;
    char *const none[] = {NULL};

    REFUSED(execve("/bin/true", none, none));
    REFUSED(fork());
    REFUSED((int)syscall(SYS_clone3, NULL, 0));
    REFUSED(kill(getppid(), 0));
    REFUSED(kill(getpid(), 0));
    REFUSED((int)syscall(SYS_tgkill, getppid(), getppid(), 0));
    REFUSED((int)ptrace(PTRACE_ATTACH, getppid(), NULL, NULL));
    REFUSED((int)syscall(SYS_process_vm_readv, getppid(), NULL, 0, NULL, 0, 0));
    REFUSED((int)syscall(SYS_pidfd_open, getppid(), 0));
    REFUSED(fcntl(0, F_SETOWN, getppid()));
    REFUSED(fcntl(0, F_SETSIG, SIGKILL));
    return 0;
}

static int no_sockets(void)
{
    const int first_line = __LINE__;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = (in_port_t)listener_port};
    int fds[2];

    REFUSED(socket(AF_INET, SOCK_STREAM, 0));
    REFUSED(socket(AF_UNIX, SOCK_STREAM, 0));
    REFUSED(socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
    REFUSED(connect(listener, (struct sockaddr *)&address, sizeof(address)));
    REFUSED(bind(listener, (struct sockaddr *)&address, sizeof(address)));
    return 0;
}

static int no_code_and_no_new_powers(void)
{
    const int first_line = __LINE__;
    struct rlimit limit = {0, 0};
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    NEED(p != MAP_FAILED);
    REFUSED(mprotect(p, 4096, PROT_READ | PROT_EXEC));
    errno = 0;
    NEED(mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
             MAP_FAILED &&
         errno == EPERM);
    REFUSED(prctl(PR_SET_DUMPABLE, 1));
    REFUSED(setuid(getuid()));
    REFUSED(setrlimit(RLIMIT_CORE, &limit));
    REFUSED((int)syscall(SYS_bpf, 0, NULL, 0));
    REFUSED((int)syscall(SYS_io_uring_setup, 1, NULL));
    REFUSED((int)syscall(SYS_memfd_create, "x", 0));
    REFUSED((int)syscall(SYS_unshare, 0));
    REFUSED((int)syscall(SYS_ioctl, 0, 0x5412 /* TIOCSTI */, "x"));
    return 0;
}

static int caller_runs_writes_and_signals_nothing(void)
{
    const int first_line = __LINE__;
    char *const none[] = {NULL};

    REFUSED(execve("/bin/true", none, none));
    REFUSED((int)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL));
    REFUSED(kill(getppid(), 0));
    REFUSED((int)ptrace(PTRACE_ATTACH, getppid(), NULL, NULL));
    REFUSED((int)syscall(SYS_process_vm_readv, getppid(), NULL, 0, NULL, 0, 0));
    REFUSED(open("/tmp/nothing", O_WRONLY | O_CREAT, 0600));
    REFUSED(open("/tmp", O_RDWR));
    REFUSED(unlink("/tmp/nothing"));
    REFUSED(rename("/tmp/nothing", "/tmp/nothing else"));
    REFUSED(chmod("/tmp/nothing", 0777));
    REFUSED(listen(listener, 1));
    REFUSED(accept4(listener, NULL, NULL, 0));
    REFUSED((int)syscall(SYS_memfd_create, "x", 0));
    REFUSED((int)syscall(SYS_bpf, 0, NULL, 0));
    void *p =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    NEED(p == MAP_FAILED && errno == EPERM);
    NEED(open("/etc/passwd", O_RDONLY) >= 0);
    NEED(socket(AF_INET, SOCK_STREAM, 0) >= 0);
    REFUSED(socket(AF_UNIX, SOCK_STREAM, 0)); // the agent's and the database's
    return 0;
}

static void caller_connects_and_reads_and_nothing_else(void **state)
{
    (void)state;
    assert_int_equal(inside(KTS_SANDBOX_CALLER, memory_clock_and_randomness), 0);
    assert_int_equal(inside(KTS_SANDBOX_CALLER, caller_runs_writes_and_signals_nothing), 0);
}

// One that can be spoilt: the socket is the child's own.
static int spare_listener = -1;

static void make_spare_listener(void)
{
    spare_listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(spare_listener >= 0);
    assert_int_equal(listen(spare_listener, 1), 0);
}

// What is no longer a listener could be connected by a message to an address.
static ssize_t message_to_listener(int flags)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = (in_port_t)listener_port,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char byte = 'x';
    struct iovec part = {&byte, 1};
    struct msghdr message = {
        .msg_name = &address, .msg_namelen = sizeof(address), .msg_iov = &part, .msg_iovlen = 1};

    return sendmsg(spare_listener, &message, flags | MSG_DONTWAIT | MSG_NOSIGNAL);
}

static int no_sending_to_an_address(void)
{
    const int first_line = __LINE__;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = (in_port_t)listener_port};

    REFUSED(
        (int)sendto(listener, "x", 1, MSG_FASTOPEN, (struct sockaddr *)&address, sizeof(address)));
    NEED(shutdown(spare_listener, SHUT_RD) == 0);
    REFUSED((int)message_to_listener(MSG_FASTOPEN));
    REFUSED((int)syscall(SYS_sendmmsg, spare_listener, NULL, 0, MSG_FASTOPEN));
    errno = 0;
    NEED(message_to_listener(0) == -1 && errno == EPIPE); // it is not connected, and is not now
    return 0;
}

static void a_listener_is_made_no_connection(void **state)
{
    (void)state;
    for (int profile = KTS_SANDBOX_WORKER; profile <= KTS_SANDBOX_AUDIT; profile++) {
        make_spare_listener();
        assert_int_equal(inside((enum kts_sandbox_profile)profile, no_sending_to_an_address), 0);
        assert_int_equal(close(spare_listener), 0);
    }
}

// A datagram socket that is there already, as the audit process has one for syslog.
static int datagrams[2] = {-1, -1};
static struct sockaddr_un datagram_to = {.sun_family = AF_UNIX};

static void make_datagrams(void)
{
    snprintf(datagram_to.sun_path, sizeof(datagram_to.sun_path), "/tmp/kts-sandbox-%d", getpid());
    for (int i = 0; i < 2; i++)
        datagrams[i] = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(datagrams[1], (struct sockaddr *)&datagram_to, sizeof(datagram_to)), 0);
}

static ssize_t send_datagram(void)
{
    return sendto(datagrams[0], "x", 1, MSG_DONTWAIT | MSG_NOSIGNAL,
                  (struct sockaddr *)&datagram_to, sizeof(datagram_to));
}

static int no_datagrams(void)
{
    const int first_line = __LINE__;

    REFUSED((int)send_datagram());
    return 0;
}

static int a_datagram(void)
{
    const int first_line = __LINE__;

    NEED(send_datagram() == 1);
    return 0;
}

static void only_the_audit_process_sends_copies_and_makes_no_connection(void **state)
{
    char byte = 0;

    (void)state;
    make_datagrams();
    assert_int_equal(inside(KTS_SANDBOX_WORKER, no_datagrams), 0);
    assert_int_equal(inside(KTS_SANDBOX_WRITER, no_datagrams), 0);
    assert_int_equal(recv(datagrams[1], &byte, 1, 0), -1);
    assert_int_equal(inside(KTS_SANDBOX_AUDIT, a_datagram), 0);
    assert_int_equal(recv(datagrams[1], &byte, 1, 0), 1);
    assert_int_equal(inside(KTS_SANDBOX_AUDIT, no_sockets), 0);
    for (int i = 0; i < 2; i++)
        close(datagrams[i]);
    assert_int_equal(unlink(datagram_to.sun_path), 0);
}

static int no_files(void)
{
    const int first_line = __LINE__;
    struct stat st;

    REFUSED(open("/etc/passwd", O_RDONLY));
    REFUSED((int)syscall(SYS_open, "/etc/passwd", O_RDONLY));
    REFUSED((int)syscall(SYS_openat2, -100, "/etc/passwd", NULL, 0));
    REFUSED(stat("/etc/passwd", &st));
    REFUSED(unlink("/tmp/nothing"));
    REFUSED(mkdir("/tmp/nothing", 0700));
    REFUSED(chdir("/"));
    return 0;
}

static int no_accept(void)
{
    const int first_line = __LINE__;

    REFUSED(accept4(listener, NULL, NULL, 0));
    return 0;
}

static void no_profile_makes_processes_sockets_or_code(void **state)
{
    (void)state;
    for (int profile = KTS_SANDBOX_WORKER; profile <= KTS_SANDBOX_AUDIT; profile++) {
        enum kts_sandbox_profile p = (enum kts_sandbox_profile)profile;
        assert_int_equal(inside(p, no_new_processes_or_programs), 0);
        assert_int_equal(inside(p, no_sockets), 0);
        assert_int_equal(inside(p, no_code_and_no_new_powers), 0);
    }
}

static void worker_and_writer_open_no_files(void **state)
{
    (void)state;
    assert_int_equal(inside(KTS_SANDBOX_WORKER, no_files), 0);
    assert_int_equal(inside(KTS_SANDBOX_DOOR, no_files), 0);
    assert_int_equal(inside(KTS_SANDBOX_WRITER, no_files), 0);
}

static void only_the_worker_accepts(void **state)
{
    (void)state;
    assert_int_equal(inside(KTS_SANDBOX_WRITER, no_accept), 0);
    assert_int_equal(inside(KTS_SANDBOX_AUDIT, no_accept), 0);
}

#endif

// Enters as an ordinary account, tells, and waits for its end.
static void wait_inside(int told, int until)
{
    char byte;

    if (geteuid() == 0 && setuid(65534))
        _exit(1);
    prctl(PR_SET_DUMPABLE, 1); // a change of the account takes it away: put it back for the test
    if (kts_sandbox_enter(KTS_SANDBOX_WORKER, NULL))
        _exit(1);
    _exit(write(told, "x", 1) == 1 && read(until, &byte, 1) == 0 ? 0 : 1);
}

static void process_is_not_dumpable(void **state)
{
    int told[2], until[2], status;
    char path[64], byte;
    struct stat st;
    pid_t pid;

    (void)state;
    assert_int_equal(pipe(told), 0);
    assert_int_equal(pipe(until), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(until[1]);
        wait_inside(told[1], until[0]);
    }
    close(told[1]);
    assert_int_equal(read(told[0], &byte, 1), 1);
    // The kernel gives what it shows of such a process to root instead of the process' account.
    snprintf(path, sizeof(path), "/proc/%ld/environ", (long)pid);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_uid, 0);
    close(until[0]);
    close(until[1]);
    close(told[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void process_gains_no_privileges(void **state)
{
    int status;
    pid_t pid = fork();

    (void)state;
    assert_true(pid >= 0);
    if (pid == 0) {
        // The audit profile may read: its own status file tells.
        char text[4096] = "";
        if (kts_sandbox_enter(KTS_SANDBOX_AUDIT, NULL))
            _exit(1);
        int fd = open("/proc/self/status", O_RDONLY);
        if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
            _exit(2);
        _exit(strstr(text, "NoNewPrivs:\t1") && strstr(text, "Seccomp:\t2") ? 0 : 3);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void unknown_profile_is_refused(void **state)
{
    (void)state;
    assert_int_equal(kts_sandbox_enter((enum kts_sandbox_profile)99, NULL), KT_ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ordinary_work_goes_on),
        cmocka_unit_test(worker_and_door_can_accept),
        cmocka_unit_test(abort_still_ends_the_process),
        cmocka_unit_test(audit_can_write_its_files),
#ifndef KT_SANITIZE
        cmocka_unit_test(no_profile_makes_processes_sockets_or_code),
        cmocka_unit_test(a_listener_is_made_no_connection),
        cmocka_unit_test(worker_and_writer_open_no_files),
        cmocka_unit_test(only_the_worker_accepts),
        cmocka_unit_test(only_the_audit_process_sends_copies_and_makes_no_connection),
        cmocka_unit_test(caller_connects_and_reads_and_nothing_else),
#endif
        cmocka_unit_test(process_is_not_dumpable),
        cmocka_unit_test(process_gains_no_privileges),
        cmocka_unit_test(unknown_profile_is_refused),
    };

    make_listener();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
