// SPDX-License-Identifier: Apache-2.0
// What the master takes hold of before it forks: the listening socket and the pid file.
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kts/master.h"
#include "lib/file.h"

static int bind_error(const char *address, const char *port, const char *setting,
                      struct kt_error *error)
{
    char hint[128];

    switch (errno) {
    case EADDRINUSE:
        snprintf(hint, sizeof(hint), "stop what listens there, or choose another %s", setting);
        return kt_error_set(error, KT_ERR_BUSY, hint, "port %s of address '%s' is taken", port,
                            address);
    case EADDRNOTAVAIL:
        return kt_error_set(error, KT_ERR_SETTINGS,
                            "set https.address to an address of this machine",
                            "address '%s' is not this machine's", address);
    case EACCES:
        snprintf(hint, sizeof(hint),
                 "choose a %s over 1023, or give the service CAP_NET_BIND_SERVICE", setting);
        return kt_error_set(error, KT_ERR_PERMISSION, hint, "port %s needs root", port);
    default:
        return kt_error_errno(error, "cannot listen on '%s' port %s", address, port);
    }
}

static int listen_on(const struct addrinfo *where, int backlog, int *fd)
{
    int on = 1, off = 0;
    int s = socket(where->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (s < 0)
        return -1;
    // The wildcard of IPv6 takes IPv4 too, as the setting's text says.
    if (setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
        (where->ai_family == AF_INET6 &&
         setsockopt(s, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off))) ||
        bind(s, where->ai_addr, where->ai_addrlen) || listen(s, backlog)) {
        int saved = errno;
        close(s);
        errno = saved;
        return -1;
    }
    *fd = s;
    return 0;
}

int kts_listen(const char *address, int number, int backlog, const char *setting, int *fd,
               struct kt_error *error)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    char port[8], host[256];
    int rc;

    snprintf(port, sizeof(port), "%d", number);
    snprintf(host, sizeof(host), "%s", address);
    if (host[0] == '[' && host[strlen(host) - 1] == ']') { // brackets as in URLs
        memmove(host, host + 1, strlen(host));
        host[strlen(host) - 1] = '\0';
    }
    rc = getaddrinfo(host, port, &hints, &found);
    if (rc)
        return kt_error_set(error, KT_ERR_SETTINGS, "correct https.address",
                            "cannot find the address '%s': %s", address, gai_strerror(rc));
    errno = EADDRNOTAVAIL;
    rc = -1;
    for (struct addrinfo *a = found; a && rc; a = a->ai_next)
        rc = listen_on(a, backlog, fd);
    if (rc)
        rc = bind_error(address, port, setting, error);
    freeaddrinfo(found);
    return rc;
}

int kts_master_listen(const struct kt_settings *settings, int *fd, struct kt_error *error)
{
    return kts_listen(kt_settings_text(settings, KT_SET_HTTPS_ADDRESS),
                      (int)kt_settings_number(settings, KT_SET_HTTPS_PORT),
                      (int)kt_settings_number(settings, KT_SET_HTTPS_BACKLOG), "https.port", fd,
                      error);
}

int kts_master_lock(const char *pid_file, int *fd, struct kt_error *error)
{
    char text[32];
    int got = -1, n;
    int rc = kt_file_lock(pid_file, &got, error);

    if (rc == KT_ERR_BUSY) {
        char *pid = NULL;
        if (kt_file_read_text(pid_file, 32, &pid, NULL) == 0)
            pid[strcspn(pid, "\n")] = '\0';
        rc = kt_error_set(error, KT_ERR_BUSY, "stop it first, or leave it running",
                          "already running, pid %s", pid && pid[0] ? pid : "unknown");
        free(pid);
        return rc;
    }
    if (rc)
        return rc;
    n = snprintf(text, sizeof(text), "%ld\n", (long)getpid());
    if (ftruncate(got, 0) || pwrite(got, text, (size_t)n, 0) != n) {
        rc = kt_error_errno(error, "cannot write '%s'", pid_file);
        close(got);
        return rc;
    }
    *fd = got;
    return 0;
}
