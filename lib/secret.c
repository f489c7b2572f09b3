// SPDX-License-Identifier: Apache-2.0
// Secret bytes on pages of their own: locked, left out of cores, wiped when freed.
#include "lib/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/encode.h"

#define SECRET_MAX (1024 * 1024)

// Stands at the start of the mapping; the bytes follow, then a NUL.
struct kt_secret {
    size_t mapped; // bytes of the mapping
    size_t len;
    uint8_t data[];
};

void kt_wipe(void *p, size_t n)
{
    if (p && n)
        explicit_bzero(p, n);
}

int kt_equal_secret(const void *a, const void *b, size_t n)
{
    const volatile uint8_t *x = a, *y = b;
    uint8_t difference = 0;

    for (size_t i = 0; i < n; i++)
        difference |= (uint8_t)(x[i] ^ y[i]);
    return difference == 0;
}

static int allocate(size_t len, struct kt_secret **out)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t mapped = (sizeof(struct kt_secret) + len + 1 + page - 1) / page * page;
    struct kt_secret *secret =
        mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (secret == MAP_FAILED)
        return KT_ERR_NO_MEMORY;
    // Both are best effort: a small RLIMIT_MEMLOCK must not stop the program.
    (void)mlock(secret, mapped);
    (void)madvise(secret, mapped, MADV_DONTDUMP);
    secret->mapped = mapped;
    secret->len = len;
    *out = secret;
    return 0;
}

int kt_secret_new(size_t len, struct kt_secret **secret)
{
    if (len == 0)
        return KT_ERR_INVALID;
    if (len > SECRET_MAX)
        return KT_ERR_TOO_LARGE;
    return allocate(len, secret);
}

int kt_secret_from_bytes(const void *bytes, size_t len, struct kt_secret **secret)
{
    struct kt_secret *fresh;
    int rc = kt_secret_new(len, &fresh);

    if (rc)
        return rc;
    memcpy(fresh->data, bytes, len);
    *secret = fresh;
    return 0;
}

int kt_secret_random(size_t len, struct kt_secret **secret)
{
    struct kt_secret *fresh;
    size_t done = 0;
    int rc = kt_secret_new(len, &fresh);

    if (rc)
        return rc;
    while (done < len) {
        ssize_t n = getrandom(fresh->data + done, len - done, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            kt_secret_free(fresh);
            return KT_ERR_SYSTEM;
        }
        done += (size_t)n;
    }
    *secret = fresh;
    return 0;
}

int kt_secret_random_hex(size_t bytes, struct kt_secret **secret)
{
    struct kt_secret *raw = NULL, *text = NULL;
    int rc;

    if (bytes > SECRET_MAX / 2)
        return KT_ERR_TOO_LARGE;
    rc = kt_secret_random(bytes, &raw);
    if (rc == 0)
        rc = kt_secret_new(2 * bytes, &text);
    if (rc == 0) {
        kt_hex_encode(raw->data, bytes, (char *)text->data);
        *secret = text;
    }
    kt_secret_free(raw);
    return rc;
}

// Refuses what others can read. Pipes and terminals have no mode that says anything.
static int check_mode(int fd, const char *path, struct kt_error *error)
{
    struct stat st;

    if (fstat(fd, &st) != 0)
        return kt_error_errno(error, "cannot look at '%s'", path);
    if (S_ISDIR(st.st_mode))
        return kt_error_set(error, KT_ERR_INVALID, NULL, "'%s' is a folder", path);
    if (S_ISREG(st.st_mode) && (st.st_mode & 077))
        return kt_error_set(error, KT_ERR_PERMISSION, "make it private: chmod 600 FILE",
                            "'%s' can be read or changed by others (mode %04o)", path,
                            (unsigned)(st.st_mode & 07777));
    return 0;
}

// Reads to the end of file into `secret`, whose length becomes what was read.
static int read_all(int fd, const char *path, struct kt_secret *secret, struct kt_error *error)
{
    size_t done = 0;

    while (done < secret->len) {
        ssize_t n = read(fd, secret->data + done, secret->len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return kt_error_errno(error, "cannot read '%s'", path);
        if (n == 0)
            break;
        done += (size_t)n;
    }
    kt_secret_truncate(secret, done);
    return 0;
}

int kt_secret_from_file(const char *path, size_t max, int as_text, struct kt_secret **secret,
                        struct kt_error *error)
{
    int is_stdin = strcmp(path, "-") == 0;
    const char *name = is_stdin ? "standard input" : path;
    struct kt_secret *whole = NULL;
    int fd = STDIN_FILENO;
    int rc = 0;

    if (max > SECRET_MAX)
        max = SECRET_MAX;
    if (!is_stdin) {
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (fd < 0 && errno == ENOENT)
            return kt_error_set(error, KT_ERR_NOT_FOUND, NULL, "no file '%s'", path);
        if (fd < 0)
            return kt_error_errno(error, "cannot open '%s'", path);
        rc = check_mode(fd, path, error);
    }
    // Two more: the newline that is dropped, and the byte that shows that there is too much.
    if (rc == 0 && (rc = allocate(max + 2, &whole)) != 0)
        kt_error_set(error, rc, NULL, "no memory for the secret in '%s'", name);
    if (rc == 0)
        rc = read_all(fd, name, whole, error);
    if (rc)
        goto out;
    if (as_text && whole->len > 0 && whole->data[whole->len - 1] == '\n')
        kt_secret_truncate(whole, whole->len - 1);
    if (whole->len > max)
        rc =
            kt_error_set(error, KT_ERR_TOO_LARGE, NULL, "'%s' is longer than %zu bytes", name, max);
    else if (whole->len == 0)
        rc = kt_error_set(error, KT_ERR_INVALID, NULL, "'%s' is empty", name);
    else if (as_text && memchr(whole->data, 0, whole->len))
        rc = kt_error_set(error, KT_ERR_INVALID, NULL, "'%s' is not text: it has a NUL byte", name);
    if (rc == 0) {
        *secret = whole;
        whole = NULL;
    }
out:
    kt_secret_free(whole);
    if (!is_stdin)
        close(fd);
    return rc;
}

uint8_t *kt_secret_data(struct kt_secret *secret)
{
    return secret->data;
}

const char *kt_secret_text(const struct kt_secret *secret)
{
    return (const char *)secret->data;
}

size_t kt_secret_len(const struct kt_secret *secret)
{
    return secret->len;
}

void kt_secret_truncate(struct kt_secret *secret, size_t len)
{
    if (len >= secret->len)
        return;
    kt_wipe(secret->data + len, secret->len - len);
    secret->len = len;
}

void kt_secret_free(struct kt_secret *secret)
{
    if (!secret)
        return;
    size_t mapped = secret->mapped;
    kt_wipe(secret, mapped);
    munmap(secret, mapped);
}
