// SPDX-License-Identifier: Apache-2.0
// A session in PostgreSQL whose handshake is held up: its server process is there, and has heard nothing.
//
//   stalled_session CONNINFO
// Connects and says "stalled"; goes on with the first byte of stdin; says "in", or "refused"; then waits for
// the session's end and says "ended".
#include <libpq-fe.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

static void say(const char *word)
{
    puts(word);
    fflush(stdout);
}

static void wait_for(int fd, short events)
{
    struct pollfd one = {.fd = fd, .events = events};

    while (poll(&one, 1, -1) < 1) {
    }
}

int main(int argc, char **argv)
{
    PGconn *conn = argc == 2 ? PQconnectStart(argv[1]) : NULL;
    PostgresPollingStatusType status = PGRES_POLLING_WRITING;
    char byte;

    if (!conn || PQsocket(conn) < 0)
        return 2;
    wait_for(PQsocket(conn), POLLOUT); // no byte before that
    say("stalled");
    if (read(STDIN_FILENO, &byte, 1) < 0)
        return 2;
    while (status != PGRES_POLLING_OK && status != PGRES_POLLING_FAILED) {
        wait_for(PQsocket(conn), status == PGRES_POLLING_READING ? POLLIN : POLLOUT);
        status = PQconnectPoll(conn);
    }
    if (status == PGRES_POLLING_FAILED) {
        fputs(PQerrorMessage(conn), stderr);
        say("refused");
        PQfinish(conn);
        return 1;
    }
    say("in");
    while (PQconsumeInput(conn) && PQstatus(conn) == CONNECTION_OK)
        wait_for(PQsocket(conn), POLLIN);
    say("ended");
    PQfinish(conn);
    return 0;
}
