// SPDX-License-Identifier: Apache-2.0
// OpenPGP homes and their agent, and encryption and decryption, through GPGME.
#include "lib/gpg_inner.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/encode.h"
#include "lib/file.h"
#include "lib/gpg_stream.h"
#include "lib/paths.h"
#include "lib/proc.h"

// The agent's longest socket is its main one with this behind it.
#define LONGEST_SUFFIX   ".browser"
#define CHILD_TIMEOUT_MS 20000

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void init_gpgme(void)
{
    // GPGME asks for this call before any other.
    gpgme_check_version(NULL);
}

void kt_gpg_init(void)
{
    pthread_once(&once, init_gpgme);
}

void kt_gpg_guard_enter(struct kt_gpg_guard *guard)
{
    sigset_t set;

    sigpending(&set);
    guard->was_pending = sigismember(&set, SIGPIPE) == 1;
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &set, &guard->old);
}

void kt_gpg_guard_leave(const struct kt_gpg_guard *guard)
{
    sigset_t set;
    const struct timespec now = {0, 0};

    sigpending(&set);
    if (!guard->was_pending && sigismember(&set, SIGPIPE) == 1) {
        sigemptyset(&set);
        sigaddset(&set, SIGPIPE);
        (void)sigtimedwait(&set, NULL, &now);
    }
    pthread_sigmask(SIG_SETMASK, &guard->old, NULL);
}

int kt_gpg_fail(struct kt_error *error, gpgme_error_t err, const char *what)
{
    char text[160] = "";

    gpgme_strerror_r(err, text, sizeof text);
    if (gpgme_err_code(err) == GPG_ERR_ENOMEM)
        return kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "%s: out of memory", what);
    if (gpgme_err_code(err) == GPG_ERR_INV_ENGINE)
        return kt_error_set(error, KT_ERR_CRYPTO, "install GnuPG (package gnupg)",
                            "%s: no usable gpg program", what);
    return kt_error_set(error, KT_ERR_CRYPTO, NULL, "%s: %s", what, text);
}

static ssize_t write_to_buf(void *handle, const void *bytes, size_t n)
{
    if (kt_buf_put(handle, bytes, n) != 0) {
        errno = EFBIG;
        return -1;
    }
    return (ssize_t)n;
}

int kt_gpg_data_to_buf(struct kt_buf *buf, gpgme_data_t *data)
{
    static struct gpgme_data_cbs callbacks = {.write = write_to_buf};

    return gpgme_data_new_from_cbs(data, &callbacks, buf) == 0 ? 0 : KT_ERR_NO_MEMORY;
}

// --- the agent ---

// Runs gpgconf on the home; `output` may be NULL.
static int run_gpgconf(const char *home, const char *verb, const char *what, struct kt_buf *output,
                       struct kt_error *error)
{
    const char *program = gpgme_get_dirinfo("gpgconf-name");
    const char *argv[] = {program ? program : "gpgconf", "--homedir", home, verb, what, NULL};
    struct kt_buf errors = KT_BUF_INIT(4096);
    struct kt_proc proc = {
        .argv = argv, .output = output, .errors = &errors, .timeout_ms = CHILD_TIMEOUT_MS};
    int rc = kt_proc_run(&proc, NULL, error);

    kt_buf_free(&errors);
    return rc;
}

void kt_gpg_forget_passphrases(const struct kt_gpg *gpg)
{
    struct kt_error ignored;

    (void)!run_gpgconf(gpg->home, "--reload", "gpg-agent", NULL, &ignored);
}

// Where the agent of `home` listens: below /run/user when the administrator has made a folder for
// this home there (gpgconf --create-socketdir), else in the home itself.
static int agent_socket(const char *home, char *path, size_t size, struct kt_error *error)
{
    struct kt_buf out = KT_BUF_INIT(4096);
    size_t used = 0;
    int rc = run_gpgconf(home, "--list-dirs", "agent-socket", &out, error);

    if (rc != 0)
        goto out;
    const uint8_t *text = kt_buf_ptr(&out);
    size_t n = kt_buf_left(&out);
    for (size_t i = 0; i < n && text[i] != '\n' && used + 1 < size; i++) {
        uint8_t byte = text[i];
        char hex[3] = {0};
        if (byte == '%' && i + 2 < n) { // gpgconf escapes ':' and '%'
            memcpy(hex, text + i + 1, 2);
            if (kt_hex_decode(hex, &byte, 1) == 0)
                i += 2;
        }
        path[used++] = (char)byte;
    }
    path[used] = '\0';
    if (used == 0)
        rc = kt_error_set(error, KT_ERR_CHILD, NULL, "gpgconf names no agent socket");
out:
    kt_buf_free(&out);
    return rc;
}

static int agent_answers(const char *socket_path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int answers = 0;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return 0;
    memcpy(address.sun_path, socket_path, strlen(socket_path)); // kt_gpg_new checked the length
    answers = connect(fd, (struct sockaddr *)&address, sizeof address) == 0;
    close(fd);
    return answers;
}

// Every user of a home holds a shared lock on home/.users. Who finds no agent running writes a byte
// into it: the agent will be ours. The last one out ends an agent that is ours.
static int join_users(struct kt_gpg *gpg, const char *socket_path, struct kt_error *error)
{
    char path[KT_PATH_MAX];
    int rc = kt_path_join(path, sizeof path, gpg->home, ".users");

    if (rc != 0)
        return kt_error_set(error, rc, NULL, "path of \"%s\" is too long", gpg->home);
    gpg->users_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (gpg->users_fd < 0)
        return kt_error_errno(error, "cannot open \"%s\"", path);
    while (flock(gpg->users_fd, LOCK_SH) != 0)
        if (errno != EINTR)
            return kt_error_errno(error, "cannot lock \"%s\"", path);
    if (!agent_answers(socket_path) && pwrite(gpg->users_fd, "k\n", 2, 0) != 2)
        return kt_error_errno(error, "cannot write \"%s\"", path);
    return 0;
}

static void leave_users(struct kt_gpg *gpg)
{
    struct stat st;

    if (gpg->users_fd < 0)
        return;
    if (flock(gpg->users_fd, LOCK_EX | LOCK_NB) == 0 && fstat(gpg->users_fd, &st) == 0 &&
        st.st_size > 0 && run_gpgconf(gpg->home, "--kill", "gpg-agent", NULL, NULL) == 0 &&
        ftruncate(gpg->users_fd, 0) != 0) {
        // The next user will end the agent once more; nothing else depends on it.
    }
    close(gpg->users_fd);
}

static int make_context(struct kt_gpg *gpg, struct kt_error *error)
{
    gpgme_error_t err = gpgme_new(&gpg->ctx);

    if (err == 0)
        err = gpgme_set_protocol(gpg->ctx, GPGME_PROTOCOL_OpenPGP);
    if (err == 0)
        err = gpgme_ctx_set_engine_info(gpg->ctx, GPGME_PROTOCOL_OpenPGP, NULL, gpg->home);
    if (err == 0) // our keys have no passphrase: a question would hang a daemon
        err = gpgme_set_pinentry_mode(gpg->ctx, GPGME_PINENTRY_MODE_ERROR);
    if (err == 0)
        err = gpgme_set_keylist_mode(gpg->ctx, GPGME_KEYLIST_MODE_LOCAL);
    if (err != 0)
        return kt_gpg_fail(error, err, "cannot start GnuPG");
    gpgme_set_offline(gpg->ctx, 1);
    gpgme_set_armor(gpg->ctx, 0);
    return 0;
}

int kt_gpg_new(const char *home, struct kt_gpg **gpg, struct kt_error *error)
{
    char path[KT_PATH_MAX];
    struct stat st;
    const size_t room = sizeof((struct sockaddr_un *)0)->sun_path - 1 - strlen(LONGEST_SUFFIX);
    struct kt_gpg *made = NULL;
    int rc = 0;

    kt_gpg_init();
    if (stat(home, &st) != 0)
        return kt_error_errno(error, "cannot use GnuPG home \"%s\"", home);
    if (!S_ISDIR(st.st_mode) || (st.st_mode & 077) != 0)
        return kt_error_set(error, KT_ERR_PERMISSION, "it must be a folder of mode 0700",
                            "GnuPG home \"%s\" is open to others", home);
    made = calloc(1, sizeof *made);
    if (made == NULL)
        return KT_ERR_NO_MEMORY;
    made->users_fd = -1;
    made->home = realpath(home, NULL);
    if (made->home == NULL) {
        rc = kt_error_errno(error, "cannot use GnuPG home \"%s\"", home);
        goto out;
    }
    rc = agent_socket(made->home, path, sizeof path, error);
    if (rc != 0)
        goto out;
    if (strlen(path) > room) {
        rc = kt_error_set(error, KT_ERR_TOO_LARGE, "use a confdir with a shorter path",
                          "socket path \"%s\" of the gpg-agent is longer than %zu characters", path,
                          room);
        goto out;
    }
    rc = join_users(made, path, error);
    if (rc == 0)
        rc = make_context(made, error);
    if (rc != 0)
        goto out;
    *gpg = made;
    made = NULL;
out:
    kt_gpg_free(made);
    return rc;
}

void kt_gpg_free(struct kt_gpg *gpg)
{
    if (gpg == NULL)
        return;
    if (gpg->ctx != NULL)
        gpgme_release(gpg->ctx);
    leave_users(gpg);
    free(gpg->home);
    free(gpg);
}

// --- encryption ---

static int add_recipients(struct kt_gpg *gpg, const char *const *recipients, gpgme_key_t *keys,
                          size_t room, struct kt_error *error)
{
    size_t n = 0;

    for (; recipients[n] != NULL; n++) {
        if (n + 1 >= room)
            return kt_error_set(error, KT_ERR_TOO_LARGE, NULL, "more than %zu recipients",
                                room - 1);
        int rc = kt_gpg_get_key(gpg, recipients[n], 0, &keys[n], error);
        if (rc != 0)
            return rc;
        if (!keys[n]->can_encrypt)
            return kt_error_set(error, KT_ERR_CRYPTO, NULL, "key %s cannot encrypt", recipients[n]);
    }
    return n > 0 ? 0 : kt_error_set(error, KT_ERR_INVALID, NULL, "no recipient");
}

int kt_gpg_encrypt_named(struct kt_gpg *gpg, const char *signer, const char *const *recipients,
                         const char *name, const void *bytes, size_t n, struct kt_buf *out,
                         struct kt_error *error)
{
    gpgme_key_t keys[KT_OPENPGP_RECIPIENTS_MAX + 1] = {NULL};
    gpgme_key_t signing = NULL;
    gpgme_data_t plain = NULL, cipher = NULL;
    gpgme_error_t err = 0;
    struct kt_gpg_guard guard;
    const gpgme_encrypt_flags_t flags =
        GPGME_ENCRYPT_ALWAYS_TRUST | GPGME_ENCRYPT_NO_COMPRESS | GPGME_ENCRYPT_NO_ENCRYPT_TO;
    const size_t room = sizeof keys / sizeof keys[0];
    int rc = 0;

    kt_gpg_guard_enter(&guard);
    gpgme_signers_clear(gpg->ctx);
    rc = add_recipients(gpg, recipients, keys, room, error);
    if (rc == 0)
        rc = kt_gpg_get_key(gpg, signer, 1, &signing, error);
    if (rc != 0)
        goto out;
    err = gpgme_signers_add(gpg->ctx, signing);
    if (err == 0) // not copied: the plaintext stays where the caller locked it
        err = gpgme_data_new_from_mem(&plain, bytes, n, 0);
    if (err == 0 && name != NULL)
        err = gpgme_data_set_file_name(plain, name);
    if (err != 0) {
        rc = kt_gpg_fail(error, err, "cannot encrypt");
        goto out;
    }
    rc = kt_gpg_data_to_buf(out, &cipher);
    if (rc != 0)
        goto out;
    err = gpgme_op_encrypt_sign(gpg->ctx, keys, flags, plain, cipher);
    if (err != 0)
        rc = kt_gpg_fail(error, err, "cannot encrypt");
out:
    for (size_t i = 0; i < room && keys[i] != NULL; i++)
        gpgme_key_unref(keys[i]);
    if (signing != NULL)
        gpgme_key_unref(signing);
    gpgme_data_release(plain);
    gpgme_data_release(cipher);
    kt_gpg_guard_leave(&guard);
    return rc;
}

int kt_gpg_encrypt(struct kt_gpg *gpg, const char *signer, const char *const *recipients,
                   const void *bytes, size_t n, struct kt_buf *out, struct kt_error *error)
{
    return kt_gpg_encrypt_named(gpg, signer, recipients, NULL, bytes, n, out, error);
}
