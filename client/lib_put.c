// SPDX-License-Identifier: Apache-2.0
// Depositing: encrypt, keep the ciphertext, send it until it is
// settled, verify and keep the receipt.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/client.h"
#include "lib/json.h"

// The name inside the encryption binds a ciphertext to its handle
// and deposit id: see ktc_bind_name.
static int encrypt(struct keytrustee *client, const struct ktc_recovery *recovery,
                   const char *handle, const void *secret, size_t len, struct ktc_pending *pending,
                   struct kt_error *error)
{
    const char *recipients[1 + KTC_RECOVERY_MAX + 1] = {client->state.fingerprint};
    char name[KTC_BIND_TEXT];
    int rc = ktc_need_gpg(client, error);

    ktc_recovery_recipients(recovery, recipients + 1);
    kt_buf_free(&pending->body); // of a try before
    pending->body = (struct kt_buf)KT_BUF_INIT(KTC_BODY_MAX);

    if (rc == 0)
        rc = ktc_bind_name(handle, &pending->id, name);
    if (rc == 0)
        rc = kt_gpg_encrypt_named(client->gpg, client->state.fingerprint, recipients, name, secret,
                                  len, &pending->body, error);
    if (rc == KT_ERR_NOT_FOUND) // of a key, not of a deposit
        rc = kt_error_set(error, KT_ERR_CRYPTO, "restore the confdir from a backup",
                          "this client's OpenPGP key %s is not in \"%s/gnupg\"",
                          client->state.fingerprint, client->confdir);
    if (rc == 0)
        rc = kt_sha256(kt_buf_ptr(&pending->body), kt_buf_left(&pending->body), pending->sha256);
    return rc;
}

// The receipt must be for what was sent, by us.
static int check_receipt(struct keytrustee *client, const struct ktc_pending *pending,
                         const char *text, struct kt_receipt *receipt, struct kt_error *error)
{
    char owner[KT_UUID_TEXT];
    int rc = ktc_receipt_accept(client, text, receipt, error);

    if (rc == 0)
        rc = ktc_receipt_matches(receipt, pending->handle, 0, &pending->id, pending->sha256,
                                 kt_buf_left(&pending->body), error);
    if (rc != 0)
        return rc;
    kt_uuid_format(&receipt->leaf.client_id, owner);
    if (strcmp(owner, client->state.client) != 0)
        return kt_error_set(error, KT_ERR_SIGNATURE, NULL, "the receipt names another client");
    return 0;
}

// `*settled` becomes 1 when the outcome is known: stored, or surely not.
static int send_it(struct keytrustee *client, const struct ktc_pending *pending, int *settled,
                   struct keytrustee_deposit *deposit, struct kt_error *error)
{
    char id[KT_UUID_TEXT], hex[KT_SHA256_TEXT], id_header[64], hash_header[96], group_header[64];
    char policy[KTC_POLICY_TEXT];
    const char *headers[5 + KTC_POLICY_HEADERS] = {"Content-Type: application/pgp-encrypted",
                                                   id_header, hash_header};
    int first = 3;
    char *path = ktc_deposit_path(pending->handle, "", 0);
    struct ktc_call call = {.method = "PUT",
                            .path = path,
                            .headers = headers,
                            .body = kt_buf_ptr(&pending->body),
                            .body_len = kt_buf_left(&pending->body),
                            .has_body = 1,
                            .change = 1};
    struct ktc_answer answer = {0};
    struct kt_receipt receipt;
    const char *text = NULL;
    json_t *object = NULL;
    int rc = 0;

    *settled = 0;
    if (path == NULL)
        return KT_ERR_NO_MEMORY;
    kt_uuid_format(&pending->id, id);
    kt_hex_encode(pending->sha256, sizeof pending->sha256, hex);
    snprintf(id_header, sizeof id_header, "KT-Deposit-Id: %s", id);
    snprintf(hash_header, sizeof hash_header, "KT-SHA256: %s", hex);
    memcpy(policy, pending->policy, sizeof policy);
    snprintf(group_header, sizeof group_header, "KT-Key-Group: %s", pending->key_group);
    if (pending->key_group[0] != '\0')
        headers[first++] = group_header;
    ktc_policy_lines(policy, headers + first);
    rc = ktc_call_json(client, &call, &answer, &object, error);
    if (rc != 0) {
        *settled = !answer.doubt || ktc_is_refusal_of_content(rc);
        goto out;
    }
    rc = kt_json_string(object, "receipt", 1, 2 * KT_RECEIPT_TEXT, &text, error);
    if (rc != 0)
        rc = ktc_protocol(error, answer.server, rc);
    if (rc == 0)
        rc = check_receipt(client, pending, text, &receipt, error);
    if (rc == 0)
        rc = ktc_receipt_keep(client, pending->handle, &receipt, text, error);
    if (rc == 0) {
        *settled = 1;
        ktc_deposit_from_receipt(&receipt, pending->handle, deposit);
    } else if (rc != KT_ERR_SIGNATURE) { // the server said that it is stored
        rc = ktc_in_doubt(error, rc);
    }
out:
    json_decref(object);
    ktc_answer_free(&answer);
    free(path);
    return rc;
}

int ktc_pending_send(struct keytrustee *client, const struct ktc_pending *pending, int resumed,
                     struct keytrustee_deposit *deposit, struct kt_error *error)
{
    int settled = 0;
    int rc = send_it(client, pending, &settled, deposit, error);

    if (settled && (rc == 0 || !resumed || ktc_is_refusal_of_content(rc))) {
        ktc_pending_remove(client, &pending->id);
        if (rc != 0)
            ktc_check_remove(client, &pending->id);
    }
    if (rc == KT_ERR_IN_DOUBT && error != NULL)
        snprintf(error->hint, sizeof error->hint,
                 "run keytrustee put --resume: the ciphertext is kept, and is stored at most once");
    return rc;
}

// Takes one for sending; see ktc_pending_lock.
static int claim(const struct keytrustee *client, const struct kt_uuid *id, int *fd,
                 struct kt_error *error)
{
    int lock = -1;
    int rc = ktc_lock(client, &lock, error);

    if (rc == 0)
        rc = ktc_pending_lock(client, id, fd, error);
    if (lock >= 0)
        close(lock);
    return rc;
}

// Saves a new one and takes it for sending.
static int save(const struct keytrustee *client, const struct ktc_pending *pending, int *fd,
                struct kt_error *error)
{
    int lock = -1, saved = 0;
    int rc = ktc_lock(client, &lock, error);

    if (rc == 0)
        rc = ktc_pending_save(client, pending, error);
    saved = rc == 0;
    if (rc == 0)
        rc = ktc_pending_lock(client, &pending->id, fd, error);
    if (rc != 0 && saved) // it will not be sent
        ktc_pending_remove(client, &pending->id);
    if (lock >= 0)
        close(lock);
    return rc;
}

// Sends one that was interrupted, when it is of `handle` (NULL: of any).
static int resume_one(struct keytrustee *client, const struct kt_uuid *id, const char *handle,
                      int *sent, struct keytrustee_deposit *deposit, struct kt_error *error)
{
    struct ktc_pending pending = {0};
    int fd = -1;
    int rc = claim(client, id, &fd, error);

    *sent = 0;
    if (rc == 0)
        rc = ktc_pending_load(client, id, &pending, error);
    if (rc == KT_ERR_NOT_FOUND || rc == KT_ERR_BUSY) { // another process has settled it, or will
        rc = 0;
    } else if (rc == KT_ERR_INVALID && handle != NULL) {
        ktc_warn(client, error->hint, "%s", error->message); // whose it was cannot be told
        rc = 0;
    } else if (rc == 0 && (handle == NULL || strcmp(handle, pending.handle) == 0)) {
        rc = ktc_pending_send(client, &pending, 1, deposit, error);
        *sent = rc == 0;
    }
    ktc_pending_free(&pending);
    if (fd >= 0)
        close(fd);
    return rc;
}

// Settles earlier deposits of `handle` that were interrupted, so that versions keep their order;
// NULL: all, going on behind one that fails. `each` may be NULL.
static int resume(struct keytrustee *client, const char *handle, keytrustee_deposit_fn each,
                  void *arg, struct kt_error *error)
{
    struct kt_uuid *ids = calloc(KTC_PENDING_MAX, sizeof *ids);
    size_t count = 0;
    int first = 0;
    int rc = ids ? ktc_pending_list(client, ids, KTC_PENDING_MAX, &count, error) : KT_ERR_NO_MEMORY;

    for (size_t i = 0; rc == 0 && i < count; i++) {
        struct keytrustee_deposit deposit;
        struct kt_error why = {0};
        int sent = 0;
        int one = resume_one(client, &ids[i], handle, &sent, &deposit, &why);
        if (one != 0 && first == 0) {
            first = one;
            *error = why;
        }
        if (handle != NULL && one != 0)
            break;
        if (sent && handle != NULL)
            ktc_warn(client, NULL, "an earlier, interrupted deposit is now version %u of \"%s\"",
                     (unsigned)deposit.version, handle);
        if (sent && each != NULL && each(arg, &deposit) != 0)
            break;
    }
    free(ids);
    return rc != 0 ? rc : first;
}

// An earlier deposit of the handle must be settled before a later one is sent, or it
// could become the latest version. When it cannot be, the later one was not taken,
// and must not sound as if it were.
static int settle_earlier(struct keytrustee *client, const char *handle, struct kt_error *error)
{
    struct kt_error why = {0};
    int rc = resume(client, handle, NULL, NULL, &why);

    if (rc == 0)
        return 0;
    return kt_error_set(error, rc == KT_ERR_IN_DOUBT ? KT_ERR_NETWORK : rc,
                        "run keytrustee put --resume, then put this secret again",
                        "not deposited: an earlier deposit of \"%s\" is not settled: %.200s",
                        handle, why.message[0] ? why.message : kt_err_text(rc));
}

int keytrustee_resume(struct keytrustee *client, keytrustee_deposit_fn each, void *arg,
                      struct keytrustee_error *error)
{
    struct kt_error why = {0};
    int rc = 0;

    ktc_begin(client);
    rc = ktc_need_registration(client, &why);
    if (rc == 0)
        rc = resume(client, NULL, each, arg, &why);
    return ktc_end(client, rc, &why, error);
}

// The caller's deposit id, or a new one. `*done` becomes 1 when that deposit was acknowledged
// before: `deposit` is then filled from its receipt.
static int choose_id(struct keytrustee *client, const char *handle, const char *text,
                     struct kt_uuid *id, int *done, struct keytrustee_deposit *deposit,
                     struct kt_error *error)
{
    struct kt_receipt receipt;
    int rc = 0;

    *done = 0;
    if (text == NULL)
        return kt_uuid_random(id);
    if (kt_uuid_parse(text, id) != 0)
        return kt_error_set(error, KT_ERR_USAGE, "a UUID has the form 8-4-4-4-12 hex digits",
                            "the deposit id is not a UUID");
    rc = ktc_receipt_load(client, id, &receipt, error);
    if (rc == KT_ERR_NOT_FOUND)
        return 0;
    if (rc == 0 && ktc_receipt_matches(&receipt, handle, 0, id, receipt.leaf.sha256,
                                       receipt.leaf.size, NULL) != 0)
        rc = kt_error_set(error, KT_ERR_DEPOSIT_ID_CONFLICT, NULL,
                          "deposit %s was made under another handle", text);
    if (rc == 0) {
        ktc_deposit_from_receipt(&receipt, handle, deposit);
        *done = 1;
    }
    return rc;
}

static int check_arguments(const struct keytrustee *client, const char *handle, size_t len,
                           struct kt_error *error)
{
    int rc = ktc_check_handle(handle, error);

    if (rc == 0 && len == 0)
        rc = kt_error_set(error, KT_ERR_USAGE, "check the file or the command that should give it",
                          "the secret is empty");
    if (rc == 0 && len > KEYTRUSTEE_SECRET_MAX)
        rc = kt_error_set(error, KT_ERR_USAGE,
                          "a key trustee keeps keys: encrypt the data and deposit its key",
                          "the secret is larger than %d bytes", KEYTRUSTEE_SECRET_MAX);
    if (rc == 0)
        rc = ktc_need_registration(client, error);
    return rc;
}

// Encrypts, keeps and sends. `*refused` becomes 1 when the server misses a recovery key; then nothing
// is left of it.
static int put_once(struct keytrustee *client, const struct ktc_recovery *recovery,
                    const void *secret, size_t len, struct ktc_pending *pending,
                    struct keytrustee_deposit *deposit, int *refused, struct kt_error *error)
{
    int fd = -1;
    int rc = encrypt(client, recovery, pending->handle, secret, len, pending, error);

    *refused = 0;
    if (rc == 0)
        rc = save(client, pending, &fd, error);
    if (rc == 0) {
        rc = ktc_check_keep(client, &pending->id, secret, len, error);
        if (rc != 0) // not sent yet
            ktc_pending_remove(client, &pending->id);
        else {
            rc = ktc_pending_send(client, pending, 0, deposit, error);
            *refused = rc == KT_ERR_RECOVERY_MISSING;
        }
    }
    if (fd >= 0)
        close(fd);
    return rc;
}

static int put(struct keytrustee *client, const char *handle, const void *secret, size_t len,
               const struct keytrustee_put_options *options, struct keytrustee_deposit *deposit,
               struct kt_error *error)
{
    struct ktc_pending pending = {.body = KT_BUF_INIT(KTC_BODY_MAX)};
    struct ktc_recovery recovery;
    int done = 0, refused = 0;
    int rc = check_arguments(client, handle, len, error);

    if (rc == 0)
        rc = ktc_policy_text(options->policy, pending.policy, error);
    if (rc == 0) // may store the very deposit that `deposit_id` names
        rc = settle_earlier(client, handle, error);
    if (rc == 0)
        rc = choose_id(client, handle, options->deposit_id, &pending.id, &done, deposit, error);
    if (rc == 0 && done)
        rc = ktc_check_compare(client, &pending.id, secret, len, error);
    if (rc != 0 || done)
        return rc;
    snprintf(pending.handle, sizeof pending.handle, "%s", handle);
    if (options->key_group != NULL)
        rc = ktc_group_find(client, options->key_group, pending.key_group, error);
    if (rc == 0)
        rc = ktc_recovery_find(client, &recovery, error);
    if (rc == 0)
        rc = put_once(client, &recovery, secret, len, &pending, deposit, &refused, error);
    if (refused) {
        struct kt_error why = {0};
        int asked = ktc_recovery_refresh(client, 1, &recovery, &why);
        if (asked == 0)
            asked = ktc_recovery_check(client, &recovery, &why);
        if (asked == 0)
            rc = put_once(client, &recovery, secret, len, &pending, deposit, &refused, error);
        else if (asked == KT_ERR_RECOVERY_MISSING || asked == KT_ERR_RECOVERY_WITHDRAWN ||
                 asked == KT_ERR_SIGNATURE) {
            rc = asked;
            *error = why;
        }
    }
    ktc_pending_free(&pending);
    return rc;
}

int keytrustee_put_with(struct keytrustee *client, const char *handle, const void *secret,
                        size_t len, const struct keytrustee_put_options *options,
                        struct keytrustee_deposit *deposit, struct keytrustee_error *error)
{
    struct keytrustee_put_options wanted = {.size = 0};
    struct keytrustee_deposit made;
    struct kt_error why = {0};

    if (options != NULL)
        memcpy(&wanted, options, options->size < sizeof wanted ? options->size : sizeof wanted);
    memset(&made, 0, sizeof made);
    ktc_begin(client);
    int rc = put(client, handle, secret, len, &wanted, &made, &why);
    if (rc == 0 && deposit != NULL)
        *deposit = made;
    return ktc_end(client, rc, &why, error);
}

int keytrustee_put(struct keytrustee *client, const char *handle, const void *secret, size_t len,
                   const char *deposit_id, struct keytrustee_deposit *deposit,
                   struct keytrustee_error *error)
{
    const struct keytrustee_put_options options = {.size = sizeof options,
                                                   .deposit_id = deposit_id};

    return keytrustee_put_with(client, handle, secret, len, &options, deposit, error);
}
