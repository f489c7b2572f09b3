// SPDX-License-Identifier: Apache-2.0
// The process that decrypts a backup: it keeps the caller's keyring and rights, and hands plaintext
// to one that may have less.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/backup_read.h"
#include "lib/file.h"

#define COPY_PIECE ((size_t)1 << 18)
#define PIPE_BYTES (1 << 20) // as large as the system lets anybody have: fewer switches

struct kt_backup_stream {
    pid_t pid; // 0: it has been waited for
    int out;   // plaintext
    int words; // its struct kt_error, should it fail
};

static int write_out(void *arg, const void *bytes, size_t n, struct kt_error *error)
{
    const int *fd = arg;

    return kt_write_all(*fd, bytes, n) == 0
               ? 0
               : kt_error_set(error, KT_ERR_AGAIN, NULL, "nobody reads the decrypted backup");
}

static int copy_out(int in, int out, struct kt_error *error)
{
    uint8_t *piece = malloc(COPY_PIECE);
    int rc = piece ? 0 : kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");

    while (rc == 0) {
        ssize_t n = read(in, piece, COPY_PIECE);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            rc = kt_error_errno(error, "cannot read the backup");
        if (n <= 0)
            break;
        rc = write_out(&out, piece, (size_t)n, error);
    }
    free(piece);
    return rc;
}

static int decrypt(int in, int out, int is_cleartext, const char *home,
                   const struct kt_secret *passphrase, struct kt_error *error)
{
    struct kt_gpg *gpg = NULL;
    int rc;

    if (is_cleartext)
        return copy_out(in, out, error);
    rc = kt_gpg_new_own(home, &gpg, error);
    if (rc == 0) {
        if (passphrase) {
            kt_gpg_set_passphrase(gpg, passphrase);
            kt_gpg_forget_passphrases(gpg);
        }
        rc = kt_gpg_decrypt_stream(gpg, in, write_out, &out, error);
        if (passphrase)
            kt_gpg_forget_passphrases(gpg);
    }
    kt_gpg_free(gpg);
    return rc;
}

__attribute__((noreturn)) static void become_decryptor(int in, int out, int words, pid_t parent,
                                                       int is_cleartext, const char *home,
                                                       const struct kt_secret *passphrase)
{
    struct kt_error error = {0};
    int rc;

    signal(SIGPIPE, SIG_IGN);
    if (prctl(PR_SET_PDEATHSIG, SIGTERM) != 0 || getppid() != parent)
        _exit(1);
    rc = decrypt(in, out, is_cleartext, home, passphrase, &error);
    if (rc) {
        error.code = rc;
        if (error.message[0] == '\0')
            snprintf(error.message, sizeof(error.message), "%s", kt_err_text(rc));
        (void)!kt_write_all(words, &error, sizeof(error));
    }
    _exit(rc ? 1 : 0);
}

int kt_backup_stream_new(int fd, int is_cleartext, const char *gnupg_home,
                         const struct kt_secret *passphrase, struct kt_backup_stream **stream,
                         struct kt_error *error)
{
    struct kt_backup_stream *fresh = calloc(1, sizeof(*fresh));
    int out[2] = {-1, -1}, words[2] = {-1, -1};
    pid_t parent = getpid();

    if (!fresh)
        return kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    if (pipe2(out, O_CLOEXEC) != 0 || pipe2(words, O_CLOEXEC) != 0)
        goto failed;
    (void)fcntl(out[1], F_SETPIPE_SZ, PIPE_BYTES);
    (void)lseek(fd, 0, SEEK_SET); // standard input may be a pipe
    fresh->pid = fork();
    if (fresh->pid < 0)
        goto failed;
    if (fresh->pid == 0) {
        close(out[0]);
        close(words[0]);
        become_decryptor(fd, out[1], words[1], parent, is_cleartext, gnupg_home, passphrase);
    }
    close(out[1]);
    close(words[1]);
    fresh->out = out[0];
    fresh->words = words[0];
    *stream = fresh;
    return 0;
failed:
    kt_error_errno(error, "cannot make the process that decrypts");
    for (int i = 0; i < 2; i++) {
        if (out[i] >= 0)
            close(out[i]);
        if (words[i] >= 0)
            close(words[i]);
    }
    free(fresh);
    return KT_ERR_SYSTEM;
}

int kt_backup_stream_fd(const struct kt_backup_stream *stream)
{
    return stream->out;
}

// The child's own words, or how it ended.
static int read_words(struct kt_backup_stream *stream, int status, struct kt_error *error)
{
    struct kt_error said = {0};
    ssize_t n = read(stream->words, &said, sizeof(said));

    if (n == (ssize_t)sizeof(said) && said.code < 0) {
        said.message[sizeof(said.message) - 1] = said.hint[sizeof(said.hint) - 1] = '\0';
        return kt_error_set(error, said.code, said.hint[0] ? said.hint : NULL, "%s", said.message);
    }
    if (WIFSIGNALED(status))
        return kt_error_set(error, KT_ERR_CHILD, NULL,
                            "the process that decrypts was ended by signal %d", WTERMSIG(status));
    return kt_error_set(error, KT_ERR_CHILD, NULL, "the process that decrypts has failed");
}

int kt_backup_stream_finish(struct kt_backup_stream *stream, struct kt_error *error)
{
    int status = 0;
    char rest[4096];
    ssize_t n;

    // It is done when nobody need take anything from it any more.
    while ((n = read(stream->out, rest, sizeof(rest))) > 0 || (n < 0 && errno == EINTR))
        ;
    explicit_bzero(rest, sizeof(rest));
    while (waitpid(stream->pid, &status, 0) < 0 && errno == EINTR)
        ;
    stream->pid = 0;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : read_words(stream, status, error);
}

int kt_backup_read(struct kt_backup_stream *stream, const struct kt_backup_file *file,
                   const struct kt_backup_visitor *visitor, struct kt_error *error)
{
    struct kt_error why = {0}, said = {0};
    int rc = kt_backup_walk(stream->out, file, visitor, &why), ended;

    if (rc) { // the child must not wait for a reader
        int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        if (null_fd >= 0) {
            (void)dup3(null_fd, stream->out, O_CLOEXEC);
            close(null_fd);
        }
    }
    ended = kt_backup_stream_finish(stream, &said);
    if (ended && (rc == 0 || ended != KT_ERR_AGAIN))
        return kt_error_set(error, ended, said.hint, "%s", said.message);
    return rc ? kt_error_set(error, rc, why.hint[0] ? why.hint : NULL, "%s",
                             why.message[0] ? why.message : kt_err_text(rc))
              : 0;
}

void kt_backup_stream_free(struct kt_backup_stream *stream)
{
    if (!stream)
        return;
    close(stream->out); // it ends at the next write
    close(stream->words);
    if (stream->pid > 0) {
        kill(stream->pid, SIGTERM);
        while (waitpid(stream->pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    free(stream);
}
