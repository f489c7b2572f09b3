// SPDX-License-Identifier: Apache-2.0
// Stands in syslog's place: prints each datagram that comes to the socket PATH as a line.
//   syslog_sink PATH
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    static char message[65536];
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    ssize_t n;

    if (argc != 2 || strlen(argv[1]) >= sizeof(at.sun_path) || fd < 0)
        return 2;
    memcpy(at.sun_path, argv[1], strlen(argv[1]) + 1);
    unlink(argv[1]);
    if (bind(fd, (struct sockaddr *)&at, sizeof(at)) != 0) {
        perror("syslog_sink");
        return 1;
    }
    while ((n = recv(fd, message, sizeof(message), 0)) >= 0) {
        printf("%.*s\n", (int)n, message);
        fflush(stdout);
    }
    return 1;
}
