// SPDX-License-Identifier: Apache-2.0
// Which key a person means by a name, an address or a fingerprint, and until when it can be used.
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/encode.h"
#include "lib/gpg_inner.h"

enum form {
    FORM_FINGERPRINT,
    FORM_ADDRESS,
    FORM_PART, // of a user id
};

struct wanted {
    enum form form;
    const char *text;
    char fingerprint[KT_OPENPGP_FINGERPRINT_TEXT];
};

// The keys that fit. As the rules differ by whether a key is usable, they are counted apart.
struct found {
    struct kt_gpg_recipient recipient; // the last usable one
    size_t usable, unusable;
    char usable_list[384], unusable_list[384]; // "FINGERPRINT (user id)", parted by ", "
};

static void read_wanted(const char *text, struct wanted *wanted)
{
    size_t n = 0;

    wanted->text = text;
    wanted->form = strchr(text, '@') && !strpbrk(text, " \t") ? FORM_ADDRESS : FORM_PART;
    for (const char *at = text; *at; at++) {
        if (*at == ' ')
            continue;
        if (!isxdigit((unsigned char)*at) || n == KT_OPENPGP_FINGERPRINT_TEXT - 1)
            return;
        wanted->fingerprint[n++] = (char)toupper((unsigned char)*at);
    }
    wanted->fingerprint[n] = '\0';
    if (n == KT_OPENPGP_FINGERPRINT_TEXT - 1)
        wanted->form = FORM_FINGERPRINT;
}

static int fits(const struct wanted *wanted, gpgme_key_t key)
{
    if (wanted->form == FORM_FINGERPRINT)
        return key->fpr != NULL && strcasecmp(key->fpr, wanted->fingerprint) == 0;
    for (gpgme_user_id_t uid = key->uids; uid != NULL; uid = uid->next) {
        if (uid->revoked && !key->revoked) // all user ids of a revoked key show as revoked
            continue;
        if (wanted->form == FORM_ADDRESS && uid->address != NULL &&
            strcasecmp(uid->address, wanted->text) == 0)
            return 1;
        if (wanted->form == FORM_PART && uid->uid != NULL && strcasestr(uid->uid, wanted->text))
            return 1;
    }
    return 0;
}

// The first user id that is valid, or just the first one; as one line of text.
static void take_user_id(gpgme_key_t key, char out[256])
{
    gpgme_user_id_t uid = key->uids;

    while (uid != NULL && uid->next != NULL && (uid->revoked || uid->invalid))
        uid = uid->next;
    if (uid == NULL || uid->revoked || uid->invalid)
        uid = key->uids;
    snprintf(out, 256, "%s", uid != NULL && uid->uid != NULL ? uid->uid : "no user id");
    for (char *at = out; *at; at++)
        if (iscntrl((unsigned char)*at))
            *at = '?';
}

// The earlier of two ends; 0 is never.
static long earlier(long a, long b)
{
    return a == 0 ? b : b == 0 || a < b ? a : b;
}

static int can_be_used(gpgme_subkey_t sub, long now)
{
    return sub->can_encrypt && !sub->revoked && !sub->expired && !sub->disabled && !sub->invalid &&
           sub->timestamp <= now;
}

// Fills keys and the end. NULL, or why the key cannot be encrypted to.
static const char *read_subkeys(gpgme_key_t key, struct kt_gpg_recipient *recipient)
{
    const long now = (long)time(NULL);
    int has_any = 0, is_endless = 0;
    long last = 0;

    if (key->revoked)
        return "it is revoked";
    if (key->expired)
        return "it has expired";
    if (key->disabled)
        return "it is disabled";
    if (key->invalid || key->subkeys == NULL)
        return "it is not valid";
    for (gpgme_subkey_t sub = key->subkeys; sub != NULL; sub = sub->next) {
        long end = earlier(sub->expires, key->subkeys->expires);
        has_any |= sub->can_encrypt;
        if (!can_be_used(sub, now) || recipient->key_id_count == KT_GPG_SUBKEYS_MAX)
            continue;
        recipient->key_ids[recipient->key_id_count++] =
            sub->keyid != NULL ? strtoull(sub->keyid, NULL, 16) : 0;
        is_endless |= end == 0;
        last = end > last ? end : last;
    }
    recipient->expires_us = is_endless ? 0 : (int64_t)last * 1000000;
    if (recipient->key_id_count == 0)
        return has_any ? "its keys for encryption have expired or are revoked"
                       : "it has no key for encryption";
    return NULL;
}

static void add_to_list(char *list, size_t size, const struct kt_gpg_recipient *recipient,
                        const char *why)
{
    size_t used = strlen(list);

    snprintf(list + used, size - used, "%s%s (%.80s)%s%s", used > 0 ? ", " : "",
             recipient->fingerprint, recipient->user_id, why ? ": " : "", why ? why : "");
}

static void look_at(const struct wanted *wanted, gpgme_key_t key, struct found *found)
{
    struct kt_gpg_recipient recipient = {.key_id_count = 0};
    const char *why;

    if (!fits(wanted, key))
        return;
    // What has no version 4 fingerprint cannot be named in a manifest.
    if (kt_gpg_take_fingerprint(key->fpr, recipient.fingerprint, NULL) != 0)
        return;
    take_user_id(key, recipient.user_id);
    why = read_subkeys(key, &recipient);
    if (why != NULL) {
        found->unusable++;
        add_to_list(found->unusable_list, sizeof found->unusable_list, &recipient, why);
        return;
    }
    found->usable++;
    add_to_list(found->usable_list, sizeof found->usable_list, &recipient, NULL);
    found->recipient = recipient;
}

static int decide(const struct wanted *wanted, const struct found *found, const char *home,
                  struct kt_error *error)
{
    if (found->usable == 1)
        return 0;
    if (found->usable > 1)
        return kt_error_set(error, KT_ERR_INVALID, "name one of them by its fingerprint",
                            "%zu keys fit \"%.64s\": %s", found->usable, wanted->text,
                            found->usable_list);
    if (found->unusable > 0)
        return kt_error_set(error, KT_ERR_INVALID,
                            "import a newer version of the key, or use another",
                            "cannot encrypt to \"%.64s\": %s", wanted->text, found->unusable_list);
    return kt_error_set(error, KT_ERR_NOT_FOUND, "import it (gpg --import FILE)",
                        "no OpenPGP key for \"%.64s\" in \"%s\"", wanted->text, home);
}

int kt_gpg_find_recipient(struct kt_gpg *gpg, const char *text, struct kt_gpg_recipient *recipient,
                          struct kt_error *error)
{
    struct wanted wanted;
    struct found found = {.usable = 0};
    gpgme_key_t key = NULL;
    struct kt_gpg_guard guard;
    int rc = 0;

    if (text[strspn(text, " \t")] == '\0')
        return kt_error_set(error, KT_ERR_INVALID, NULL, "an empty name of an OpenPGP key");
    read_wanted(text, &wanted);
    kt_gpg_guard_enter(&guard);
    gpgme_error_t err = gpgme_op_keylist_start(gpg->ctx, NULL, 0);
    while (err == 0 && (err = gpgme_op_keylist_next(gpg->ctx, &key)) == 0) {
        look_at(&wanted, key, &found);
        gpgme_key_unref(key);
    }
    gpgme_op_keylist_end(gpg->ctx);
    kt_gpg_guard_leave(&guard);
    if (gpgme_err_code(err) != GPG_ERR_EOF)
        return kt_gpg_fail(error, err, "cannot list OpenPGP keys");
    rc = decide(&wanted, &found, gpg->home, error);
    if (rc == 0)
        *recipient = found.recipient;
    return rc;
}
