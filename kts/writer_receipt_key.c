// SPDX-License-Identifier: Apache-2.0
// The keys by which the writer signs receipts: read at its start, and brought by a reload when one
// is rotated, as a confined writer opens no file.
#include "kts/writer_inner.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/pki.h"
#include "lib/receipt_key.h"

// The next one first: when it takes the other's place meanwhile, it is found there.
int kts_writer_load_receipt_keys(struct kts_writer *writer, struct kt_error *error)
{
    const struct kt_paths *paths = writer->start->paths;
    struct kt_receipt_pair next = {.key = NULL};
    struct kt_error why = {0};
    int rc = kt_receipt_pair_load(paths, 1, &next, &why);

    if (rc == 0) {
        writer->next_receipt_key = next.key;
        next.key = NULL;
        kt_receipt_pair_free(&next);
    } else if (rc != KT_ERR_NOT_FOUND) {
        kt_log_error(&why, "the receipt key that is to be the next cannot be used");
    }
    return kt_pki_key_load(paths->receipt_key, &writer->receipt_key, error);
}

void kts_writer_bring_receipt_key(struct kts_writer *writer, const void *pem, size_t n)
{
    EVP_PKEY *key = NULL;

    if (n == 0)
        return;
    if (kt_pki_key_from_pem(pem, n, &key) != 0) {
        kt_log(KT_LOG_ERROR, "the receipt key of a reload cannot be read");
        return;
    }
    EVP_PKEY_free(writer->brought_receipt_key);
    writer->brought_receipt_key = key;
}

int kts_writer_use_receipt_key(struct kts_writer *writer)
{
    EVP_PKEY *key = writer->brought_receipt_key;
    struct kt_error why = {0};
    int signs = 0, rc;

    if (key == NULL)
        return 0;
    writer->brought_receipt_key = NULL;
    rc = db_writer_use_receipt_key(writer->db, key, &signs, &why);
    if (rc != 0) {
        kt_log_error(&why, "the receipt key stays as it was");
        EVP_PKEY_free(key);
        return rc == KT_ERR_NOT_OURS || rc == KT_ERR_NO_MEMORY ? 0 : KT_ERR_DATABASE_UNAVAILABLE;
    }
    if (!signs) { // the one in use, or one that is not listed (yet)
        EVP_PKEY_free(key);
        return 0;
    }
    EVP_PKEY_free(writer->receipt_key);
    EVP_PKEY_free(writer->next_receipt_key);
    writer->receipt_key = key;
    writer->next_receipt_key = NULL;
    kts_writer_show_receipt_key(writer);
    kt_log(KT_LOG_NOTICE, "receipts are signed by another key from now on");
    return 0;
}

void kts_writer_show_receipt_key(const struct kts_writer *writer)
{
    const uint8_t *id = db_writer_receipt_key_id(writer->db);
    uint64_t number = 0;

    for (int i = 0; i < KT_KEY_ID_LEN; i++)
        number = number << 8 | id[i];
    atomic_store(&writer->start->status->receipt_key, number);
}

void kts_writer_free_receipt_keys(struct kts_writer *writer)
{
    EVP_PKEY_free(writer->receipt_key);
    EVP_PKEY_free(writer->next_receipt_key);
    EVP_PKEY_free(writer->brought_receipt_key);
}
