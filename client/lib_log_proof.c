// SPDX-License-Identifier: Apache-2.0
// Proofs of the log of deposits: asked for, and checked by the rules of lib/merkle.h.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "client/client.h"
#include "lib/json.h"
#include "lib/merkle.h"

struct proof {
    size_t count;
    uint8_t hashes[KT_MERKLE_PROOF * KT_SHA256_LEN];
    uint8_t leaf[KT_SHA256_LEN]; // of an inclusion
};

static int take_hash(const json_t *value, uint8_t out[KT_SHA256_LEN])
{
    const char *text = json_string_value(value);

    return text != NULL && kt_hex_decode(text, out, KT_SHA256_LEN) == 0 ? 0 : KT_ERR_BAD_REQUEST;
}

static int take_proof(const json_t *object, int with_leaf, struct proof *proof,
                      struct kt_error *error)
{
    const json_t *list = json_object_get(object, "proof");
    size_t count = json_array_size(list);
    int rc = json_is_array(list) && count <= KT_MERKLE_PROOF ? 0 : KT_ERR_BAD_REQUEST;

    for (size_t i = 0; i < count && rc == 0; i++)
        rc = take_hash(json_array_get(list, i), proof->hashes + i * KT_SHA256_LEN);
    if (rc == 0 && with_leaf)
        rc = take_hash(json_object_get(object, "leaf"), proof->leaf);
    proof->count = count;
    return rc == 0 ? 0 : kt_error_set(error, rc, NULL, "malformed proof");
}

// Which node answers does not matter: a proof is right or it is not.
static int ask(struct keytrustee *client, const char *path, int with_leaf, struct proof *proof,
               struct kt_error *error)
{
    const struct ktc_call call = {.method = "GET", .path = path};
    struct ktc_answer answer = {0};
    json_t *object = NULL;
    int rc = ktc_call_json(client, &call, &answer, &object, error);

    if (rc == 0)
        rc = ktc_protocol(error, answer.server, take_proof(object, with_leaf, proof, error));
    // The active has signed a head of that size, and says now that it has less.
    if (rc == KT_ERR_DEPOSIT_NOT_FOUND)
        rc = kt_error_set(error, KT_ERR_SIGNATURE, NULL,
                          "the log is shorter than the head that was signed for it");
    json_decref(object);
    ktc_answer_free(&answer);
    return rc;
}

int ktc_log_inclusion(struct keytrustee *client, const struct kt_tree_head *head, uint64_t index,
                      const uint8_t leaf[KT_SHA256_LEN], struct kt_error *error)
{
    struct proof proof = {0};
    char path[128];
    int rc = 0;

    snprintf(path, sizeof path, "/v1/log/proof?index=%" PRIu64 "&size=%" PRIu64, index, head->size);
    rc = ask(client, path, 1, &proof, error);
    if (rc != 0)
        return rc;
    rc = kt_merkle_check_inclusion(index - 1, head->size, leaf, head->root, proof.hashes,
                                   proof.count);
    if (rc != 0)
        return kt_error_set(error, rc, NULL, "deposit %" PRIu64 " is not in the log", index);
    if (memcmp(proof.leaf, leaf, sizeof proof.leaf) != 0)
        return kt_error_set(error, KT_ERR_DEPOSIT_ID_CONFLICT, NULL,
                            "deposit %" PRIu64 " is not what it was", index);
    return 0;
}

int ktc_log_consistency(struct keytrustee *client, const struct kt_tree_head *known,
                        const struct kt_tree_head *head, struct kt_error *error)
{
    struct proof proof = {0};
    char path[128];
    int rc = 0;

    snprintf(path, sizeof path, "/v1/log/consistency?from=%" PRIu64 "&to=%" PRIu64, known->size,
             head->size);
    if (known->size < head->size) // trees of one size need no proof: their roots are equal
        rc = ask(client, path, 0, &proof, error);
    if (rc == 0)
        rc = kt_merkle_check_consistency(known->size, head->size, known->root, head->root,
                                         proof.hashes, proof.count);
    return rc;
}
