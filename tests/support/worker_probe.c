// SPDX-License-Identifier: Apache-2.0
// Stands in a worker's or the door's place, inside its filter and with descriptors like its own,
// and tries what one that was taken over would try. One line an attempt; exit code 1 when any was
// possible.
//
// usage: worker_probe CONFDIR DATABASE_PORT [door]   (as the server's account, the server running)
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kts/sandbox.h"
#include "kts/writer_inner.h"
#include "lib/paths.h"

static struct kt_paths paths;
static char database_socket[KT_PATH_MAX];
static int spare_socket = -1; // made before the filter: connect() itself is tried
static int listener = -1;     // as the one that it was given; it is connected to `target`
static struct sockaddr_in target = {.sin_family = AF_INET};
static int writer_link = -1; // a worker has one: what it sends is another matter
static pid_t parent;
static int in_doors_place;

static int open_ca_key(void)
{
    return open(paths.ca_key, O_RDONLY);
}

// The door has the key's bytes; whoever can open the file could put another one there.
static int write_node_key(void)
{
    return open(paths.node_key, O_WRONLY);
}

static int open_promise(void)
{
    return open(paths.promise, O_RDWR);
}

static int open_role_secrets(void)
{
    return open(paths.secrets, O_RDONLY | O_DIRECTORY);
}

static int open_any_file(void)
{
    return open("/etc/passwd", O_RDONLY);
}

static int write_any_file(void)
{
    return open("/tmp/worker_probe", O_WRONLY | O_CREAT, 0600);
}

static int connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    snprintf(address.sun_path, sizeof(address.sun_path), "%.*s", (int)sizeof(address.sun_path) - 1,
             path);
    return connect(spare_socket, (struct sockaddr *)&address, sizeof(address));
}

static int connect_to_agent(void)
{
    return connect_to(paths.agent_socket);
}

static int connect_to_database(void)
{
    return connect_to(database_socket);
}

static int connect_the_listener(void)
{
    char byte = 'x';
    struct iovec part = {&byte, 1};
    struct msghdr message = {
        .msg_name = &target, .msg_namelen = sizeof(target), .msg_iov = &part, .msg_iovlen = 1};

    if (shutdown(listener, SHUT_RD))
        return 0;
    return (int)sendmsg(listener, &message, MSG_FASTOPEN | MSG_DONTWAIT | MSG_NOSIGNAL);
}

static int make_unix_socket(void)
{
    return socket(AF_UNIX, SOCK_STREAM, 0);
}

static int make_inet_socket(void)
{
    return socket(AF_INET, SOCK_STREAM, 0);
}

static int run_program(void)
{
    char *const argv[] = {NULL};

    return execve("/bin/true", argv, argv);
}

static int make_process(void)
{
    pid_t pid = fork();

    if (pid == 0)
        _exit(0);
    return pid;
}

static int ptrace_parent(void)
{
    return (int)ptrace(PTRACE_SEIZE, parent, NULL, NULL);
}

static int read_parents_memory(void)
{
    char bytes[8];
    struct iovec here = {bytes, sizeof(bytes)}, there = {&paths, sizeof(bytes)};

    return (int)process_vm_readv(parent, &here, 1, &there, 1, 0);
}

static int kill_parent(void)
{
    return kill(parent, 0); // 0: whether it may, without doing it
}

static int kill_parent_by_tgkill(void)
{
    return (int)syscall(SYS_tgkill, parent, parent, 0);
}

static int kill_parent_by_owner_signal(void)
{
    return fcntl(spare_socket, F_SETOWN, parent);
}

static int make_memory_executable(void)
{
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return p == MAP_FAILED ? -1 : mprotect(p, 4096, PROT_READ | PROT_EXEC);
}

static int become_dumpable(void)
{
    return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

// A change that only an operator may make, on a worker's link to the writer.
static int send_operators_change(void)
{
    struct kt_change change = {
        .kind = KT_CHANGE_GRANT, .actor = "root (uid 0)", .object = "prefix"};
    struct kt_buf out = KT_BUF_INIT(65536);
    struct kts_link *link = NULL;
    int rc = kts_link_new(writer_link, &link);

    if (rc == 0)
        rc = kt_change_encode(&change, &out);
    if (rc == 0)
        rc = kts_link_send(link, KTS_MSG_CHANGE, 1, kt_buf_ptr(&out), kt_buf_left(&out));
    if (rc == 0)
        rc = kts_link_flush(link);
    kt_buf_free(&out);
    return rc;
}

// The writer's side of that link, in the parent. 1: it took the change, 0: it has dropped the link.
static int writer_takes(int fd)
{
    static struct kts_writer writer;
    uint8_t payload[] = {KTS_WORKER, KTS_WRITER, 0, 0};
    struct kts_control_message message = {.type = KTS_CTL_LINK, .fd = fd};

    message.payload = (struct kt_buf)KT_BUF_INIT(sizeof(payload));
    if (kts_fair_new(&writer.fair) || kt_buf_put(&message.payload, payload, sizeof(payload)) ||
        kts_writer_take_link(&writer, &message) || writer.askers[0].link == NULL)
        return 1;
    kts_writer_receive(&writer, 0);
    return writer.queued != 0 || writer.askers[0].link != NULL;
}

static const struct {
    const char *name;
    int (*attempt)(void);
} ATTEMPTS[] = {
    {"open the CA key", open_ca_key},
    {"write the node's key", write_node_key},
    {"open the promise", open_promise},
    {"open the folder of the database secrets", open_role_secrets},
    {"open any file", open_any_file},
    {"make a file", write_any_file},
    {"connect to the agent's socket", connect_to_agent},
    {"connect to PostgreSQL's socket", connect_to_database},
    {"connect the socket it listens on", connect_the_listener},
    {"make a unix socket", make_unix_socket},
    {"make an inet socket", make_inet_socket},
    {"execute a program", run_program},
    {"make a process", make_process},
    {"ptrace the parent", ptrace_parent},
    {"read the parent's memory", read_parents_memory},
    {"kill the parent", kill_parent},
    {"kill the parent by tgkill", kill_parent_by_tgkill},
    {"have the kernel signal the parent", kill_parent_by_owner_signal},
    {"make memory executable", make_memory_executable},
    {"become dumpable again", become_dumpable},
};

static int try_all(void)
{
    struct kt_error error = {0};
    int possible = 0;

    if (kts_sandbox_enter(in_doors_place ? KTS_SANDBOX_DOOR : KTS_SANDBOX_WORKER, &error)) {
        fprintf(stderr, "worker_probe: %s\n", error.message);
        return 2;
    }
    for (size_t i = 0; i < sizeof(ATTEMPTS) / sizeof(ATTEMPTS[0]); i++) {
        errno = 0;
        int refused = ATTEMPTS[i].attempt() < 0 && errno == EPERM;
        printf("%-40s %s\n", ATTEMPTS[i].name, refused ? "refused" : "POSSIBLE");
        possible |= !refused;
    }
    if (!in_doors_place && send_operators_change()) {
        fprintf(stderr, "worker_probe: the change could not be sent\n");
        return 2;
    }
    fflush(stdout);
    return possible;
}

// Two on loopback: `listener`, and the one that `target` names.
static int make_listeners(void)
{
    socklen_t n = sizeof(target);
    int other = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    target.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return listener >= 0 && other >= 0 && bind(other, (struct sockaddr *)&target, n) == 0 &&
           getsockname(other, (struct sockaddr *)&target, &n) == 0 && listen(other, 1) == 0 &&
           listen(listener, 1) == 0;
}

// What is to be refused must be there, or the refusals would prove nothing.
static int is_there(const char *path)
{
    if (access(path, F_OK) == 0)
        return 1;
    fprintf(stderr, "worker_probe: '%s': %s\n", path, strerror(errno));
    return 0;
}

int main(int argc, char **argv)
{
    struct kt_error error = {0};
    int status, link[2], taken, has_listeners;
    pid_t pid;

    in_doors_place = argc == 4 && strcmp(argv[3], "door") == 0;
    if (argc != 3 && !in_doors_place) {
        fprintf(stderr, "usage: worker_probe CONFDIR DATABASE_PORT [door]\n");
        return 2;
    }
    if (kt_paths_resolve(argv[1], &paths, &error)) {
        fprintf(stderr, "worker_probe: %s\n", error.message);
        return 2;
    }
    snprintf(database_socket, sizeof(database_socket), "%.900s/.s.PGSQL.%.8s", paths.run, argv[2]);
    if (!is_there(paths.ca_key) || !is_there(paths.secrets) || !is_there(paths.node_key) ||
        !is_there(paths.promise) || !is_there(paths.agent_socket) || !is_there(database_socket))
        return 2;
    spare_socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    has_listeners = make_listeners();
    parent = getpid();
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, link) == 0)
        writer_link = link[0];
    fflush(stdout);
    pid = fork();
    if (pid < 0 || spare_socket < 0 || writer_link < 0 || !has_listeners)
        return 2;
    if (pid == 0)
        _exit(try_all());
    if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
        return 2;
    if (in_doors_place)
        return WEXITSTATUS(status);
    // link[0] stays open here: the writer must drop it for what was sent, not for its end.
    taken = writer_takes(link[1]);
    printf("%-40s %s\n", "make an operator's change", taken ? "POSSIBLE" : "refused");
    return WEXITSTATUS(status) ? WEXITSTATUS(status) : taken;
}
