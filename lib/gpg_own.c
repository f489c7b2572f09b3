// SPDX-License-Identifier: Apache-2.0
// Keyrings that are not the cluster's: a person's own one, and one made to check a signature with.
#include <errno.h>
#include <ftw.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/file.h"
#include "lib/gpg_inner.h"
#include "lib/paths.h"

// The agent of a temporary home would be somebody's to end: none is ever started.
#define NO_AGENT "no-autostart\n"

// What GnuPG takes for its home when nobody names one.
static int default_home(char path[KT_PATH_MAX], struct kt_error *error)
{
    const char *home = getenv("GNUPGHOME");
    const struct passwd *account;
    int n;

    if (home && home[0]) {
        n = snprintf(path, KT_PATH_MAX, "%s", home);
    } else {
        home = getenv("HOME");
        account = home && home[0] ? NULL : getpwuid(geteuid());
        if (account)
            home = account->pw_dir;
        if (!home || !home[0])
            return kt_error_set(error, KT_ERR_NOT_FOUND, "set HOME or GNUPGHOME",
                                "no home folder, so no GnuPG keyring");
        n = snprintf(path, KT_PATH_MAX, "%s/.gnupg", home);
    }
    if (n < 0 || n >= KT_PATH_MAX)
        return kt_error_set(error, KT_ERR_TOO_LARGE, NULL,
                            "the path of the GnuPG home is too long");
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return kt_error_errno(error, "cannot make the GnuPG home \"%s\"", path);
    return 0;
}

static int make_context(struct kt_gpg *gpg, struct kt_error *error)
{
    gpgme_error_t err = gpgme_new(&gpg->ctx);

    if (err == 0)
        err = gpgme_set_protocol(gpg->ctx, GPGME_PROTOCOL_OpenPGP);
    if (err == 0)
        err = gpgme_ctx_set_engine_info(gpg->ctx, GPGME_PROTOCOL_OpenPGP, NULL, gpg->home);
    if (err == 0)
        err = gpgme_set_keylist_mode(gpg->ctx, GPGME_KEYLIST_MODE_LOCAL);
    if (err != 0)
        return kt_gpg_fail(error, err, "cannot start GnuPG");
    gpgme_set_offline(gpg->ctx, 1);
    return 0;
}

int kt_gpg_new_own(const char *home, struct kt_gpg **gpg, struct kt_error *error)
{
    char path[KT_PATH_MAX];
    struct stat st;
    struct kt_gpg *made = NULL;
    int rc = 0;

    kt_gpg_init();
    if (home == NULL) {
        rc = default_home(path, error);
        if (rc != 0)
            return rc;
        home = path;
    }
    if (stat(home, &st) != 0)
        return kt_error_errno(error, "cannot use GnuPG home \"%s\"", home);
    if (!S_ISDIR(st.st_mode))
        return kt_error_set(error, KT_ERR_INVALID, NULL, "GnuPG home \"%s\" is not a folder", home);
    made = calloc(1, sizeof *made);
    if (made == NULL)
        return kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory for GnuPG");
    made->users_fd = -1;
    made->home = realpath(home, NULL);
    rc = made->home ? make_context(made, error)
                    : kt_error_errno(error, "cannot use GnuPG home \"%s\"", home);
    if (rc == 0) {
        *gpg = made;
        made = NULL;
    }
    kt_gpg_free(made);
    return rc;
}

void kt_gpg_set_passphrase(struct kt_gpg *gpg, const struct kt_secret *passphrase)
{
    gpg->passphrase = passphrase;
}

static gpgme_error_t give_passphrase(void *arg, const char *hint, const char *info, int was_bad,
                                     int fd)
{
    const struct kt_secret *passphrase = arg;

    (void)hint, (void)info;
    if (was_bad)
        return gpgme_error(GPG_ERR_CANCELED);
    if (gpgme_io_writen(fd, kt_secret_text(passphrase), kt_secret_len(passphrase)) != 0 ||
        gpgme_io_writen(fd, "\n", 1) != 0)
        return gpgme_error_from_errno(errno);
    return 0;
}

gpgme_error_t kt_gpg_use_passphrase(struct kt_gpg *gpg)
{
    union { // GPGME hands the argument back as it is
        const struct kt_secret *in;
        void *out;
    } plain = {.in = gpg->passphrase};

    if (gpg->passphrase == NULL)
        return 0;
    gpgme_set_passphrase_cb(gpg->ctx, give_passphrase, plain.out);
    return gpgme_set_pinentry_mode(gpg->ctx, GPGME_PINENTRY_MODE_LOOPBACK);
}

// --- temporary keyrings ---

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *walk)
{
    (void)st, (void)type, (void)walk;
    return remove(path);
}

static void remove_home(const char *home)
{
    (void)nftw(home, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

// Exactly one public key and nothing secret.
static int import_only(struct kt_gpg *gpg, const void *key, size_t n,
                       char fingerprint[KT_OPENPGP_FINGERPRINT_TEXT], struct kt_error *error)
{
    gpgme_data_t data = NULL;
    gpgme_import_result_t result;
    struct kt_gpg_guard guard;
    int rc = 0;

    kt_gpg_guard_enter(&guard);
    gpgme_error_t err = gpgme_data_new_from_mem(&data, key, n, 0);
    if (err == 0)
        err = gpgme_op_import(gpg->ctx, data);
    result = err == 0 ? gpgme_op_import_result(gpg->ctx) : NULL;
    if (err != 0 && gpgme_err_code(err) != GPG_ERR_NO_DATA)
        rc = kt_gpg_fail(error, err, "cannot import an OpenPGP key");
    else if (result == NULL || result->considered != 1 || result->imported != 1 ||
             result->secret_read != 0 || result->imports == NULL || result->imports->result != 0)
        rc = kt_error_set(error, KT_ERR_OPENPGP_KEY_INVALID, NULL, "not one OpenPGP public key");
    else
        rc = kt_gpg_take_fingerprint(result->imports->fpr, fingerprint, error);
    gpgme_data_release(data);
    kt_gpg_guard_leave(&guard);
    return rc;
}

int kt_gpg_new_temporary(const void *key, size_t n, struct kt_gpg **gpg,
                         char fingerprint[KT_OPENPGP_FINGERPRINT_TEXT], struct kt_error *error)
{
    char home[KT_PATH_MAX], options[KT_PATH_MAX];
    const char *above = getenv("TMPDIR");
    struct kt_gpg *made = NULL;
    int rc = kt_path_join(home, sizeof home, above && above[0] ? above : "/tmp", "kt-gpg-XXXXXX");

    if (rc != 0)
        return kt_error_set(error, rc, NULL, "TMPDIR is too long");
    if (mkdtemp(home) == NULL)
        return kt_error_errno(error, "cannot make a folder like \"%s\"", home);
    rc = kt_path_join(options, sizeof options, home, "gpg.conf");
    if (rc == 0)
        rc = kt_file_create(options, NO_AGENT, strlen(NO_AGENT), 0600, error);
    if (rc == 0)
        rc = kt_gpg_new_own(home, &made, error);
    if (rc == 0)
        rc = import_only(made, key, n, fingerprint, error);
    if (rc != 0) {
        kt_gpg_free(made);
        remove_home(home);
        return rc;
    }
    *gpg = made;
    return 0;
}

void kt_gpg_free_temporary(struct kt_gpg *gpg)
{
    char *home;

    if (gpg == NULL)
        return;
    home = gpg->home;
    gpg->home = NULL;
    kt_gpg_free(gpg);
    remove_home(home);
    free(home);
}
