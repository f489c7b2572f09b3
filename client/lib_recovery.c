// SPDX-License-Identifier: Apache-2.0
// Recovery keys: those of the organisation that this client's user accepted are recipients too. Only
// a fingerprint that was compared by a person counts: a server may name any key, and leave any out.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/client.h"
#include "lib/json.h"

#define HINT_ACCEPT                                                                                \
    "compare each with the organisation's administrator, then: keytrustee recovery accept "        \
    "FINGERPRINT"
#define HINT_FORGET                                                                                \
    "ask the organisation's administrator, not the server's; if it was retired: keytrustee "       \
    "recovery forget "

// --- what the server says ---

// Takes a key into our keyring: one that the user accepted, and that has that very fingerprint. Its
// parts for encryption are bound to it by signatures, which GnuPG checks.
static int import(struct keytrustee *client, const char *fingerprint, const char *base64,
                  struct kt_error *error)
{
    char is[KT_OPENPGP_FINGERPRINT_TEXT];
    struct kt_openpgp_key key;
    size_t n = strlen(base64);
    uint8_t *bytes = malloc(n + 1);
    int rc = bytes ? kt_base64_decode(base64, strlen(base64), bytes, &n) : KT_ERR_NO_MEMORY;

    if (rc == 0)
        rc = kt_openpgp_read_key(bytes, n, &key, error);
    if (rc == 0) {
        kt_hex_encode(key.fingerprint, sizeof key.fingerprint, is);
        rc = strcasecmp(is, fingerprint) == 0 ? 0 : KT_ERR_SIGNATURE;
    }
    if (rc == 0)
        rc = ktc_need_gpg(client, error);
    if (rc == 0)
        rc = kt_gpg_import(client->gpg, bytes, n, is, error);
    if (rc == 0 && strcmp(is, fingerprint) != 0)
        rc = KT_ERR_SIGNATURE;
    free(bytes);
    if (rc != 0 && rc != KT_ERR_NO_MEMORY && rc != KT_ERR_SYSTEM)
        return kt_error_set(error, KT_ERR_SIGNATURE, "tell the organisation's administrator",
                            "what the server gives as recovery key %s is not that key",
                            fingerprint);
    return rc;
}

// Sets what is in force, and nothing else.
static int take_keys(struct keytrustee *client, const json_t *self, struct ktc_recovery *recovery,
                     struct kt_error *error)
{
    const json_t *list = json_object_get(self, "recovery"), *one;
    size_t i;
    int rc = 0;

    recovery->in_force.count = 0;
    json_array_foreach(list, i, one)
    {
        const char *text = NULL, *base64 = NULL;
        char fingerprint[KT_OPENPGP_FINGERPRINT_TEXT];
        rc = kt_json_string(one, "fingerprint", 1, 60, &text, error);
        if (rc == 0)
            rc = kt_json_string(one, "openpgp", 1, KTC_JSON_MAX, &base64, error);
        if (rc == 0 && ktc_fingerprint_read(text, fingerprint, NULL) != 0)
            rc = kt_error_set(error, KT_ERR_BAD_REQUEST, NULL, "a malformed fingerprint");
        if (rc == 0)
            rc = ktc_fingerprints_add(&recovery->in_force, fingerprint);
        if (rc == 0 && ktc_fingerprints_have(&recovery->accepted, fingerprint))
            rc = import(client, fingerprint, base64, error);
        if (rc != 0)
            return rc;
    }
    return 0;
}

int ktc_recovery_refresh(struct keytrustee *client, int barrier, struct ktc_recovery *recovery,
                         struct kt_error *error)
{
    const struct ktc_call call = {.method = "GET", .path = "/v1/clients/self", .barrier = barrier};
    struct ktc_recovery fresh = {.in_force = {.count = 0}};
    struct ktc_answer answer = {0};
    json_t *self = NULL;
    int fd = -1, was_in_force = 0;
    int rc = ktc_call_json(client, &call, &answer, &self, error);

    // The user may have accepted or forgotten a key while the server was asked: what is accepted
    // stands in the file, and only there.
    if (rc == 0)
        rc = ktc_lock(client, &fd, error);
    if (rc == 0)
        rc = ktc_recovery_load(client, &fresh, error);
    if (rc == 0) {
        was_in_force = fresh.in_force.count > 0;
        rc = ktc_protocol(error, answer.server, take_keys(client, self, &fresh, error));
    }
    if (rc == 0 && (fresh.accepted.count > 0 || was_in_force))
        rc = ktc_recovery_save(client, &fresh, error);
    if (rc == 0)
        *recovery = fresh;
    if (fd >= 0)
        close(fd);
    json_decref(self);
    ktc_answer_free(&answer);
    return rc;
}

// The fingerprints of `these` that `those` has not, for a message. How many there are.
static size_t name_missing(const struct ktc_fingerprints *these,
                           const struct ktc_fingerprints *those, char *names, size_t size)
{
    size_t used = 0, count = 0;

    for (size_t i = 0; i < these->count; i++) {
        if (ktc_fingerprints_have(those, these->texts[i]))
            continue;
        if (used < size)
            used += (size_t)snprintf(names + used, size - used, "%s%s", count ? ", " : "",
                                     these->texts[i]);
        count++;
    }
    return count;
}

int ktc_recovery_check(const struct keytrustee *client, const struct ktc_recovery *recovery,
                       struct kt_error *error)
{
    char names[300], hint[256];

    if (name_missing(&recovery->in_force, &recovery->accepted, names, sizeof names) > 0)
        return kt_error_set(error, KT_ERR_RECOVERY_MISSING, HINT_ACCEPT,
                            "organisation \"%s\" wants deposits encrypted to recovery keys that "
                            "this client has not accepted: %s",
                            client->state.organisation, names);
    if (name_missing(&recovery->accepted, &recovery->in_force, names, sizeof names) == 0)
        return 0;
    snprintf(hint, sizeof hint, HINT_FORGET "%.40s", names);
    return kt_error_set(error, KT_ERR_RECOVERY_WITHDRAWN, hint,
                        "not deposited: the server does not ask for recovery keys that this client "
                        "has accepted, nobody could recover the secret with them: %s",
                        names);
}

void ktc_recovery_recipients(const struct ktc_recovery *recovery,
                             const char *recipients[KTC_RECOVERY_MAX])
{
    size_t n = 0;

    for (size_t i = 0; i < recovery->in_force.count; i++)
        if (ktc_fingerprints_have(&recovery->accepted, recovery->in_force.texts[i]))
            recipients[n++] = recovery->in_force.texts[i];
    if (n < KTC_RECOVERY_MAX)
        recipients[n] = NULL;
}

int ktc_recovery_find(struct keytrustee *client, struct ktc_recovery *recovery,
                      struct kt_error *error)
{
    struct kt_error why = {0};
    int rc = ktc_recovery_load(client, recovery, error), asked = 0;

    if (rc != 0 || recovery->accepted.count == 0)
        return rc;
    asked = ktc_recovery_refresh(client, 0, recovery, &why);
    rc = ktc_recovery_check(client, recovery, error); // as last heard
    if (asked == 0 && rc == KT_ERR_RECOVERY_WITHDRAWN) {
        // A node that is behind has not heard of a new key yet.
        asked = ktc_recovery_refresh(client, 1, recovery, &why);
        rc = ktc_recovery_check(client, recovery, error);
    }
    if (asked != 0 &&
        (kt_err_info(asked)->exit != KEYTRUSTEE_UNAVAILABLE || rc == KT_ERR_RECOVERY_WITHDRAWN)) {
        *error = why;
        return asked;
    }
    return rc;
}

// --- the public call ---

int keytrustee_recovery_list(struct keytrustee *client, keytrustee_recovery_fn each, void *arg,
                             struct keytrustee_error *error)
{
    struct ktc_recovery recovery = {.in_force = {.count = 0}};
    struct kt_error why = {0};
    int ends = 0, rc;

    ktc_begin(client);
    rc = ktc_need_registration(client, &why);
    if (rc == 0)
        rc = ktc_recovery_load(client, &recovery, &why);
    if (rc == 0)
        rc = ktc_recovery_refresh(client, 0, &recovery, &why);
    for (size_t i = 0; rc == 0 && !ends && i < recovery.in_force.count; i++) {
        const char *text = recovery.in_force.texts[i];
        ends = each(arg, text, 1, ktc_fingerprints_have(&recovery.accepted, text));
    }
    for (size_t i = 0; rc == 0 && !ends && i < recovery.accepted.count; i++) {
        const char *text = recovery.accepted.texts[i];
        if (!ktc_fingerprints_have(&recovery.in_force, text))
            ends = each(arg, text, 0, 1);
    }
    return ktc_end(client, rc, &why, error);
}
