// SPDX-License-Identifier: Apache-2.0
// Where an upstream is, in numbers: the name that libpq is given is
// the one to check in its certificate.
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "db/replication_inner.h"
#include "lib/log.h"

int db_host_is_address(const char *host)
{
    unsigned char bytes[sizeof(struct in6_addr)];

    return inet_pton(AF_INET, host, bytes) == 1 || inet_pton(AF_INET6, host, bytes) == 1;
}

static void join(const struct addrinfo *found, char out[DB_ADDRESSES_TEXT])
{
    size_t n = 0;

    out[0] = '\0';
    for (int i = 0; found && i < DB_ADDRESSES_MAX; found = found->ai_next) {
        char text[INET6_ADDRSTRLEN];
        // A zone ("%eth0") is told by nobody: such an address is of no use.
        if (getnameinfo(found->ai_addr, found->ai_addrlen, text, sizeof(text), NULL, 0,
                        NI_NUMERICHOST) != 0 ||
            !db_host_is_address(text))
            continue;
        n += (size_t)snprintf(out + n, DB_ADDRESSES_TEXT - n, "%s%s", i ? "," : "", text);
        i++;
    }
}

int db_host_resolve(const char *host, char out[DB_ADDRESSES_TEXT], struct kt_error *error)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int rc;

    out[0] = '\0';
    if (db_host_is_address(host)) {
        snprintf(out, DB_ADDRESSES_TEXT, "%s", host);
        return 0;
    }
    rc = getaddrinfo(host, NULL, &hints, &found);
    if (rc == 0) {
        join(found, out);
        freeaddrinfo(found);
    }
    if (out[0])
        return 0;
    return kt_error_set(error, KT_ERR_NETWORK, NULL, "no address of '%s' is found: %s", host,
                        rc ? gai_strerror(rc) : "it has none");
}

void db_replication_resolve(struct db_replication *replication)
{
    char found[DB_ADDRESSES_TEXT];
    struct kt_error why = {0};

    if (replication->mode != DB_MODE_FOLLOW || db_host_is_address(replication->host))
        replication->addresses[0] = '\0';
    else if (db_host_resolve(replication->host, found, &why))
        kt_log_error(&why, "the node to follow is not found by its name");
    else
        memcpy(replication->addresses, found, sizeof(found));
}
