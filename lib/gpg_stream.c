// SPDX-License-Identifier: Apache-2.0
// Encryption and decryption of streams of any length.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "lib/gpg_inner.h"
#include "lib/openpgp_file.h"

static int exited_well(const struct kt_gpg_child *child)
{
    return WIFEXITED(child->exit_status) && WEXITSTATUS(child->exit_status) == 0;
}

static int explain(const struct kt_gpg_child *child, int code, const char *hint, const char *what,
                   struct kt_error *error)
{
    if (WIFSIGNALED(child->exit_status))
        return kt_error_set(error, KT_ERR_CHILD, NULL, "%s: gpg was ended by signal %d", what,
                            WTERMSIG(child->exit_status));
    return kt_error_set(error, code, hint, "%s: %s", what,
                        child->last_line[0] ? child->last_line : "gpg does not say why");
}

int kt_gpg_encrypt_stream(struct kt_gpg *gpg, const struct kt_gpg_recipient *recipients,
                          size_t count, int in_fd, kt_gpg_sink sink, void *arg,
                          struct kt_error *error)
{
    // The last word against the keyring's own options: what they add must not change the form.
    static const char *const FIXED[] = {"--no-encrypt-to",     "--no-throw-keyids",
                                        "--no-armor",
                                        "--no-textmode", // and mimemode: they change line ends
                                        "--trust-model",       "always",
                                        "--compress-algo",     "none",
                                        "--set-filename",      "",
                                        "--no-auto-key-locate"};
    const char *args[16 + 2 * KT_OPENPGP_RECIPIENTS_MAX];
    struct kt_gpg_child child = {.args = args, .in_fd = in_fd, .sink = sink, .sink_arg = arg};
    size_t n = 0;
    int rc;

    if (count == 0 || count > 16)
        return kt_error_set(error, KT_ERR_INVALID, NULL, "%zu recipients, not 1 to 16", count);
    for (size_t i = 0; i < sizeof FIXED / sizeof FIXED[0]; i++)
        args[n++] = FIXED[i];
    for (size_t i = 0; i < count; i++) {
        args[n++] = "--recipient";
        args[n++] = recipients[i].fingerprint;
    }
    args[n++] = "--encrypt";
    args[n] = NULL;
    rc = kt_gpg_child_run(gpg, &child, error);
    if (rc != 0)
        return rc;
    if (child.status.invalid_recipient > 0)
        return explain(&child, KT_ERR_CRYPTO, NULL, "a recipient's key cannot be used", error);
    if (!exited_well(&child) || child.status.end_encryption != 1)
        return explain(&child, KT_ERR_CRYPTO, NULL, "cannot encrypt", error);
    return 0;
}

static int look(void *arg, const void *bytes, size_t n, struct kt_error *error)
{
    if (n == 0)
        return kt_openpgp_stream_end(arg, error);
    return kt_openpgp_stream_put(arg, bytes, n, error);
}

// gpg found no session key: there is no secret key for it, or it cannot be used.
static int explain_no_key(struct kt_gpg *gpg, const struct kt_gpg_child *child,
                          const struct kt_openpgp_message *message, struct kt_error *error)
{
    char ids[256] = "";

    if (kt_gpg_has_secret(gpg, message->key_ids, message->recipients))
        return explain(child, KT_ERR_CRYPTO,
                       gpg->passphrase ? "the passphrase is probably wrong" : NULL,
                       "the secret key is here but cannot be used", error);
    for (size_t i = 0, used = 0; i < message->recipients && used + 20 < sizeof ids; i++)
        used += (size_t)snprintf(ids + used, sizeof ids - used, "%s%016" PRIX64, i > 0 ? ", " : "",
                                 message->key_ids[i]);
    return kt_error_set(error, KT_ERR_NOT_FOUND,
                        "import the secret key of one of them (gpg --import) and run it again",
                        "no secret key for it in \"%s\"; it is encrypted to %s", gpg->home, ids);
}

int kt_gpg_decrypt_stream(struct kt_gpg *gpg, int in_fd, kt_gpg_sink sink, void *arg,
                          struct kt_error *error)
{
    static const char *const ARGS[] = {"--no-auto-key-retrieve", "--decrypt", NULL};
    struct kt_openpgp_stream *stream = NULL;
    struct kt_gpg_child child = {
        .args = ARGS, .in_fd = in_fd, .look = look, .sink = sink, .sink_arg = arg};
    const struct kt_gpg_status *status = &child.status;
    int rc = kt_openpgp_stream_new(&stream);

    if (rc != 0)
        return kt_error_set(error, rc, NULL, "out of memory for gpg");
    child.look_arg = stream;
    rc = kt_gpg_child_run(gpg, &child, error);
    if (rc != 0)
        goto out;
    // Not gpg's exit status alone: an option of the keyring can make it content without integrity.
    if (exited_well(&child) && status->decryption_okay == 1 && status->good_mdc == 1 &&
        status->bad_mdc == 0 && kt_openpgp_stream_is_whole(stream))
        goto out;
    if (status->decryption_info == 0 && !WIFSIGNALED(child.exit_status))
        rc = explain_no_key(gpg, &child, kt_openpgp_stream_message(stream), error);
    else
        rc = explain(&child, KT_ERR_SIGNATURE, NULL,
                     "the encrypted content is damaged or not authentic", error);
out:
    kt_openpgp_stream_free(stream);
    return rc;
}

int kt_gpg_has_secret(struct kt_gpg *gpg, const uint64_t *key_ids, size_t count)
{
    gpgme_key_t key = NULL;
    struct kt_gpg_guard guard;
    int found = 0;

    kt_gpg_guard_enter(&guard);
    gpgme_error_t err = gpgme_op_keylist_start(gpg->ctx, NULL, 1);
    while (err == 0 && !found && (err = gpgme_op_keylist_next(gpg->ctx, &key)) == 0) {
        for (gpgme_subkey_t sub = key->subkeys; sub != NULL; sub = sub->next) {
            uint64_t id = sub->keyid ? strtoull(sub->keyid, NULL, 16) : 0;
            for (size_t i = 0; sub->secret && i < count; i++)
                found |= id == key_ids[i];
        }
        gpgme_key_unref(key);
    }
    gpgme_op_keylist_end(gpg->ctx);
    kt_gpg_guard_leave(&guard);
    return found;
}
