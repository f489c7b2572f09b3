// SPDX-License-Identifier: Apache-2.0
// Takes the image of a running process' memory, as root could: all readable ranges, to a file.
//
// usage: memory_image PID OUT   It reads by process_vm_readv, which asks for no more than the right
// to trace; whoever made the user namespace that the process lives in has that, as root has.
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define STEP      (1u << 20)
#define IMAGE_MAX (UINT64_C(4) << 30)

static char bytes[STEP];

// What cannot be read (guard pages, device memory) is passed over, page by page.
static uint64_t copy(pid_t pid, uint64_t from, uint64_t to, FILE *out)
{
    uint64_t copied = 0;

    while (from < to) {
        size_t want = to - from < STEP ? (size_t)(to - from) : STEP;
        struct iovec here = {bytes, want}, there = {0};
        ssize_t n;

        memcpy(&there.iov_base, &from, sizeof(there.iov_base)); // an address in the other process
        there.iov_len = want;
        n = process_vm_readv(pid, &here, 1, &there, 1, 0);
        if (n <= 0) {
            from += 4096;
            continue;
        }
        if (fwrite(bytes, 1, (size_t)n, out) != (size_t)n)
            return 0;
        copied += (uint64_t)n;
        from += (uint64_t)n;
    }
    return copied;
}

int main(int argc, char **argv)
{
    char path[64], line[1024], *end = NULL;
    uint64_t total = 0;
    FILE *maps, *out;
    long pid = argc == 3 ? strtol(argv[1], &end, 10) : 0;

    if (pid <= 0 || *end != '\0') {
        fprintf(stderr, "usage: memory_image PID OUT\n");
        return 2;
    }
    snprintf(path, sizeof(path), "/proc/%ld/maps", pid);
    maps = fopen(path, "r");
    out = fopen(argv[2], "w");
    if (maps == NULL || out == NULL) {
        perror(maps ? argv[2] : path);
        return 1;
    }
    while (fgets(line, sizeof(line), maps) && total < IMAGE_MAX) {
        char *dash = NULL, *space = NULL;
        uint64_t from = strtoull(line, &dash, 16), to;

        if (dash == NULL || *dash != '-')
            continue;
        to = strtoull(dash + 1, &space, 16);
        if (space && space[0] == ' ' && space[1] == 'r' && !strstr(line, "[v"))
            total += copy((pid_t)pid, from, to, out);
    }
    fclose(maps);
    if (fclose(out) != 0 || total == 0) {
        fprintf(stderr, "memory_image: nothing could be read of process %ld\n", pid);
        return 1;
    }
    printf("%llu bytes\n", (unsigned long long)total);
    return 0;
}
