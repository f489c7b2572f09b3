// SPDX-License-Identifier: Apache-2.0
// The table of accepted ciphertext forms.
#include "kts/ciphertext.h"

#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "lib/openpgp.h"

struct form {
    const char *content_type;
    int (*check)(const void *body, size_t n, const struct kts_own_keys *own,
                 struct kts_recipients *recipients, struct kt_error *error);
};

static int check_pgp_encrypted(const void *body, size_t n, const struct kts_own_keys *own,
                               struct kts_recipients *recipients, struct kt_error *error)
{
    struct kt_openpgp_message message;
    int rc = kt_openpgp_check_message(body, n, &message, error);

    // More recipients than a deposit could sensibly have: as little a deposit as plain text is.
    if (rc == KT_ERR_TOO_LARGE || (rc == 0 && message.recipients > KT_RECIPIENTS_MAX))
        return kt_error_set(error, KT_ERR_NOT_CIPHERTEXT, NULL, "too many recipients");
    if (rc)
        return rc;
    for (size_t i = 0; i < message.recipients; i++) {
        for (size_t k = 0; k < own->count; k++) {
            if (message.key_ids[i] == own->key_ids[k])
                return kt_error_set(error, KT_ERR_ENCRYPTED_TO_CLUSTER, NULL,
                                    "encrypted to the cluster's own key %016" PRIX64,
                                    message.key_ids[i]);
        }
    }
    recipients->count = message.recipients;
    memcpy(recipients->key_ids, message.key_ids, message.recipients * sizeof(message.key_ids[0]));
    return 0;
}

// To accept another form: a row here, and a paragraph in docs/protocol.md.
static const struct form FORMS[] = {
    {"application/pgp-encrypted", check_pgp_encrypted},
};

static const struct form *find(const char *content_type)
{
    for (size_t i = 0; i < sizeof(FORMS) / sizeof(FORMS[0]); i++) {
        if (strcasecmp(FORMS[i].content_type, content_type) == 0)
            return &FORMS[i];
    }
    return NULL;
}

const char *kts_ciphertext_type(const char *content_type)
{
    const struct form *form = find(content_type);

    return form ? form->content_type : NULL;
}

int kts_ciphertext_check(const char *content_type, const void *body, size_t n,
                         const struct kts_own_keys *own, struct kts_recipients *recipients,
                         struct kt_error *error)
{
    const struct form *form = find(content_type);

    if (!form)
        return kt_error_set(error, KT_ERR_CONTENT_TYPE, NULL, "'%s' is not a form of ciphertext",
                            content_type);
    return form->check(body, n, own, recipients, error);
}
