// SPDX-License-Identifier: Apache-2.0
// Signed text, and public keys as text, that stock gpg reads and writes.
#include <string.h>
#include <strings.h>

#include "lib/gpg_inner.h"

#define BEGIN_TEXT      "-----BEGIN PGP SIGNED MESSAGE-----"
#define BEGIN_SIGNATURE "-----BEGIN PGP SIGNATURE-----"
#define END_SIGNATURE   "-----END PGP SIGNATURE-----"

struct line {
    const char *at;
    size_t len; // without the newline
};

// Cuts a line off. 0 when there is none that ends with a newline.
static int next_line(const char **rest, size_t *left, struct line *line)
{
    const char *end = *left > 0 ? memchr(*rest, '\n', *left) : NULL;

    if (end == NULL)
        return 0;
    line->at = *rest;
    line->len = (size_t)(end - *rest);
    *left -= line->len + 1;
    *rest = end + 1;
    return 1;
}

static int line_is(const struct line *line, const char *text)
{
    return line->len == strlen(text) && memcmp(line->at, text, line->len) == 0;
}

// A signature covers neither what stands at the end of a line nor how the line ends, and a dash in
// front of one would be changed: text that we sign and accept has nothing of that.
static int text_line_is_plain(const struct line *line)
{
    char last = line->len > 0 ? line->at[line->len - 1] : 'x';

    return (line->len == 0 || line->at[0] != '-') && last != ' ' && last != '\t' &&
           memchr(line->at, '\r', line->len) == NULL && memchr(line->at, '\0', line->len) == NULL;
}

int kt_gpg_export_text(struct kt_gpg *gpg, const char *fingerprint, struct kt_buf *out,
                       struct kt_error *error)
{
    int rc;

    gpgme_set_armor(gpg->ctx, 1);
    rc = kt_gpg_export(gpg, fingerprint, out, error);
    gpgme_set_armor(gpg->ctx, 0);
    return rc;
}

static int check_text(const char *text, struct kt_error *error)
{
    size_t left = strlen(text);
    struct line line;

    if (left == 0)
        return kt_error_set(error, KT_ERR_INVALID, NULL, "there is no text to sign");
    while (next_line(&text, &left, &line))
        if (!text_line_is_plain(&line))
            return kt_error_set(error, KT_ERR_INVALID, NULL, "a line cannot be signed as it is");
    if (left > 0)
        return kt_error_set(error, KT_ERR_INVALID, NULL, "the text's last line does not end");
    return 0;
}

int kt_gpg_sign_text(struct kt_gpg *gpg, const char *signer, const char *text, struct kt_buf *out,
                     struct kt_error *error)
{
    gpgme_data_t plain = NULL, signed_text = NULL;
    gpgme_key_t key = NULL;
    struct kt_gpg_guard guard;
    int rc = check_text(text, error);

    if (rc != 0)
        return rc;
    kt_gpg_guard_enter(&guard);
    gpgme_signers_clear(gpg->ctx);
    rc = kt_gpg_get_key(gpg, signer, 1, &key, error);
    if (rc == 0)
        rc = kt_gpg_data_to_buf(out, &signed_text);
    if (rc == 0) {
        gpgme_error_t err = gpgme_signers_add(gpg->ctx, key);
        if (err == 0)
            err = kt_gpg_use_passphrase(gpg);
        if (err == 0)
            err = gpgme_data_new_from_mem(&plain, text, strlen(text), 0);
        if (err == 0)
            err = gpgme_op_sign(gpg->ctx, plain, signed_text, GPGME_SIG_MODE_CLEAR);
        gpgme_sign_result_t result = err == 0 ? gpgme_op_sign_result(gpg->ctx) : NULL;
        if (err != 0)
            rc = kt_gpg_fail(error, err, "cannot sign");
        else if (result == NULL || result->signatures == NULL || result->signatures->next != NULL)
            rc = kt_error_set(error, KT_ERR_CRYPTO, NULL, "cannot sign: no signature was made");
    }
    if (key != NULL)
        gpgme_key_unref(key);
    gpgme_data_release(plain);
    gpgme_data_release(signed_text);
    kt_gpg_guard_leave(&guard);
    return rc;
}

// --- checking ---

static int not_signed_so(struct kt_error *error, const char *what)
{
    return kt_error_set(error, KT_ERR_SIGNATURE, NULL, "the signed text is not accepted: %s", what);
}

// Finds the text inside, and sees to it that there is nothing around it but the signature.
static int split(const char *bytes, size_t n, struct line *text, struct kt_error *error)
{
    const char *rest = bytes;
    size_t left = n;
    struct line line;

    if (!next_line(&rest, &left, &line) || !line_is(&line, BEGIN_TEXT))
        return not_signed_so(error, "it does not begin with \"" BEGIN_TEXT "\"");
    while (next_line(&rest, &left, &line) && line.len > 0)
        if (line.len < 6 || memcmp(line.at, "Hash: ", 6) != 0)
            return not_signed_so(error, "something stands in front of the text");
    text->at = rest;
    for (;;) {
        const char *before = rest;
        if (!next_line(&rest, &left, &line))
            return not_signed_so(error, "no signature follows");
        if (line_is(&line, BEGIN_SIGNATURE)) {
            text->len = (size_t)(before - text->at);
            break;
        }
        if (!text_line_is_plain(&line))
            return not_signed_so(error, "a line that is not plain text");
    }
    for (;;) { // an armor header (Version, Comment) and base64; gpg reads them
        if (!next_line(&rest, &left, &line))
            return not_signed_so(error, "the signature does not end");
        if (line_is(&line, END_SIGNATURE))
            break;
        if (line.len > 0 && line.at[0] == '-')
            return not_signed_so(error, "something stands inside of the signature");
    }
    return left == 0 ? 0 : not_signed_so(error, "something stands behind the signature");
}

// One signature, good, by a key whose primary key is `signer`.
static int check_result(struct kt_gpg *gpg, const char *signer, struct kt_error *error)
{
    gpgme_verify_result_t result = gpgme_op_verify_result(gpg->ctx);
    gpgme_signature_t sig = result != NULL ? result->signatures : NULL;
    gpgme_key_t key = NULL;
    int same;

    if (sig == NULL || sig->next != NULL)
        return not_signed_so(error, "it has not exactly one signature");
    if (gpgme_err_code(sig->status) == GPG_ERR_NO_PUBKEY)
        return not_signed_so(error, "it is signed by another key");
    if (gpgme_err_code(sig->status) != GPG_ERR_NO_ERROR || sig->fpr == NULL)
        return not_signed_so(error, "the signature is not good");
    same = strcasecmp(sig->fpr, signer) == 0;
    if (!same && kt_gpg_get_key(gpg, sig->fpr, 0, &key, NULL) == 0) { // perhaps by a subkey
        same = key->fpr != NULL && strcasecmp(key->fpr, signer) == 0;
        gpgme_key_unref(key);
    }
    return same ? 0 : not_signed_so(error, "it is signed by another key");
}

// What gpg took for the text: our reading must be the same, but for the last newline, which the
// signature does not cover.
static int check_same(const struct kt_buf *plain, const struct line *text, struct kt_error *error)
{
    size_t n = kt_buf_left(plain);

    if (n > 0 && n + 1 == text->len && text->at[n] == '\n')
        return memcmp(kt_buf_ptr(plain), text->at, n) == 0
                   ? 0
                   : not_signed_so(error, "gpg reads another text");
    if (n != text->len || n == 0 || memcmp(kt_buf_ptr(plain), text->at, n) != 0)
        return not_signed_so(error, "gpg reads another text");
    return 0;
}

int kt_gpg_verify_text(struct kt_gpg *gpg, const char *signer, const void *bytes, size_t n,
                       struct kt_buf *text, struct kt_error *error)
{
    gpgme_data_t input = NULL, output = NULL;
    struct kt_buf plain = KT_BUF_INIT(n + 16);
    struct kt_gpg_guard guard;
    struct line inner = {NULL, 0};
    int rc = split(bytes, n, &inner, error);

    if (rc != 0)
        return rc;
    kt_gpg_guard_enter(&guard);
    rc = kt_gpg_data_to_buf(&plain, &output);
    if (rc == 0) {
        gpgme_error_t err = gpgme_data_new_from_mem(&input, bytes, n, 0);
        if (err == 0)
            err = gpgme_op_verify(gpg->ctx, input, NULL, output);
        if (gpgme_err_code(err) == GPG_ERR_NO_DATA || gpgme_err_code(err) == GPG_ERR_BAD_DATA)
            rc = not_signed_so(error, "gpg finds no signature");
        else if (err != 0)
            rc = kt_gpg_fail(error, err, "cannot check a signature");
    }
    if (rc == 0)
        rc = check_result(gpg, signer, error);
    if (rc == 0)
        rc = check_same(&plain, &inner, error);
    if (rc == 0)
        rc = kt_buf_put(text, inner.at, inner.len);
    gpgme_data_release(input);
    gpgme_data_release(output);
    kt_buf_free(&plain);
    kt_gpg_guard_leave(&guard);
    return rc;
}
