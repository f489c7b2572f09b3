// SPDX-License-Identifier: Apache-2.0
// Copies of audit records as datagrams, to a socket that is named anew each time: whoever listens
// there may be restarted.
#include "kts/audit_syslog.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/encode.h"
#include "lib/formats.h"
#include "lib/log.h"

#define PRIORITY    "<86>" // authpriv.info
#define PROGRAM     "keytrustee-audit"
#define COMPLAIN_US 60000000

static int fd = -1;
static struct sockaddr_un to = {.sun_family = AF_UNIX};
static uint64_t dropped;
static int64_t complained_us;

void kts_audit_syslog_open(void)
{
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

void kts_audit_syslog_set(const char *path)
{
    if (strlen(path) >= sizeof(to.sun_path)) {
        kt_log(KT_LOG_ERROR, "audit.syslog: '%s' is too long for a socket, no copies are sent",
               path);
        path = "";
    }
    memset(to.sun_path, 0, sizeof(to.sun_path));
    memcpy(to.sun_path, path, strlen(path));
}

static void complain(void)
{
    int64_t now = kt_monotonic_now();

    if (dropped == 0 || (complained_us && now < complained_us + COMPLAIN_US))
        return;
    kt_log(KT_LOG_WARNING, "%llu copies of audit records did not reach '%s'",
           (unsigned long long)dropped, to.sun_path);
    complained_us = now;
    dropped = 0;
}

static void send_line(const char *line, size_t n)
{
    char message[sizeof(PRIORITY PROGRAM "[]: ") + 20 + KT_AUDIT_LINE_MAX];
    int len = snprintf(message, sizeof(message), PRIORITY PROGRAM "[%ld]: %.*s", (long)getpid(),
                       (int)n, line);

    if (len < 0 || (size_t)len >= sizeof(message) ||
        sendto(fd, message, (size_t)len, MSG_DONTWAIT | MSG_NOSIGNAL, (const struct sockaddr *)&to,
               sizeof(to)) < 0)
        dropped++;
}

void kts_audit_syslog_send(const char *lines, size_t n)
{
    const char *end;

    if (fd < 0 || !to.sun_path[0])
        return;
    for (; n > 0 && (end = memchr(lines, '\n', n)) != NULL; lines = end + 1) {
        send_line(lines, (size_t)(end - lines));
        n -= (size_t)(end + 1 - lines);
    }
    complain();
}
