// SPDX-License-Identifier: Apache-2.0
// OpenPGP for backups: the caller's own keyring, recipients by name, streams of any length, and
// signed text that stock gpg --verify reads.
#ifndef KT_GPG_STREAM_H
#define KT_GPG_STREAM_H

#include "lib/gpg.h"

// Opens a person's or account's own keyring: `home`, or NULL for GnuPG's default (GNUPGHOME,
// ~/.gnupg, which is made when missing). Unlike kt_gpg_new it leaves the agent alone, and questions
// for a passphrase go to its pinentry.
int kt_gpg_new_own(const char *home, struct kt_gpg **gpg, struct kt_error *error) KT_MUST_CHECK;
// A passphrase to be given to the agent instead of a question (loopback). Kept by the caller until
// kt_gpg_free.
void kt_gpg_set_passphrase(struct kt_gpg *gpg, const struct kt_secret *passphrase);
// The agent, if one runs, forgets what it was told: a passphrase that is given must be the right one,
// and must not stay behind.
void kt_gpg_forget_passphrases(const struct kt_gpg *gpg);
// A fresh 0700 folder with a keyring that holds only `key` (binary or armored public key), to check
// signatures with. `fingerprint` receives the key's. Freed with kt_gpg_free_temporary, which
// removes the folder.
int kt_gpg_new_temporary(const void *key, size_t n, struct kt_gpg **gpg,
                         char fingerprint[KT_OPENPGP_FINGERPRINT_TEXT],
                         struct kt_error *error) KT_MUST_CHECK;
void kt_gpg_free_temporary(struct kt_gpg *gpg);

#define KT_GPG_SUBKEYS_MAX 16
struct kt_gpg_recipient {
    char fingerprint[KT_OPENPGP_FINGERPRINT_TEXT]; // of the primary key
    char user_id[256];                             // its first one that is valid
    int64_t expires_us; // when it can no longer be encrypted to; 0: never
    size_t key_id_count;
    uint64_t key_ids[KT_GPG_SUBKEYS_MAX]; // its keys that can encrypt now
};
// Finds the one key that `text` means: 40 hex digits (spaces allowed): exactly that fingerprint; an
// address (has '@', no space): a user id with exactly that address, letters alike; else a user id
// that contains the text, letters alike. Keys that are revoked, expired, disabled, or cannot encrypt
// do not count, unless there is no other. KT_ERR_NOT_FOUND: none; KT_ERR_INVALID: two or more (the
// message lists fingerprints and user ids), or one that cannot be used, and why.
int kt_gpg_find_recipient(struct kt_gpg *gpg, const char *text, struct kt_gpg_recipient *recipient,
                          struct kt_error *error) KT_MUST_CHECK;

// Takes the next bytes of a stream; what it returns other than 0 ends the stream with that code.
typedef int (*kt_gpg_sink)(void *arg, const void *bytes, size_t n, struct kt_error *error);
// Encrypts what `in_fd` gives until its end to exactly these recipients: binary, not compressed,
// not signed, always-trust, no encrypt-to. gpg's own options file cannot add recipients unseen: the
// caller looks at the result (lib/openpgp_file.h).
int kt_gpg_encrypt_stream(struct kt_gpg *gpg, const struct kt_gpg_recipient *recipients,
                          size_t count, int in_fd, kt_gpg_sink sink, void *arg,
                          struct kt_error *error) KT_MUST_CHECK;
// Decrypts `in_fd` and hands the plaintext on as it comes, before the message's end (and with it
// its integrity) is known: nothing may be believed until this returned 0. KT_ERR_NOT_FOUND: none of
// the secret keys is here; the message names the key ids. KT_ERR_NOT_CIPHERTEXT: it is not one whole
// encrypted message in form (lib/openpgp.h). KT_ERR_SIGNATURE: its integrity does not show.
int kt_gpg_decrypt_stream(struct kt_gpg *gpg, int in_fd, kt_gpg_sink sink, void *arg,
                          struct kt_error *error) KT_MUST_CHECK;
// 1 when a secret key of the keyring can decrypt for one of these ids.
int kt_gpg_has_secret(struct kt_gpg *gpg, const uint64_t *key_ids, size_t count);

// The public key as armored text, appended to `out`. KT_ERR_NOT_FOUND.
int kt_gpg_export_text(struct kt_gpg *gpg, const char *fingerprint, struct kt_buf *out,
                       struct kt_error *error) KT_MUST_CHECK;
// Text with a signature around it ("-----BEGIN PGP SIGNED MESSAGE-----"). `text` is UTF-8 and ends
// with a newline; no line of it begins with '-' or ends with a space.
int kt_gpg_sign_text(struct kt_gpg *gpg, const char *signer, const char *text, struct kt_buf *out,
                     struct kt_error *error) KT_MUST_CHECK;
// The text inside, appended to `text` with "\n" at line ends and behind the last line.
// KT_ERR_SIGNATURE unless there is exactly one signature, good, by `signer` (a fingerprint of a
// primary key), and nothing but it and the text.
int kt_gpg_verify_text(struct kt_gpg *gpg, const char *signer, const void *bytes, size_t n,
                       struct kt_buf *text, struct kt_error *error) KT_MUST_CHECK;

#endif
