// SPDX-License-Identifier: Apache-2.0
// GET and HEAD of one deposit: the ciphertext, or its metadata only.
#include <stdio.h>

#include "kts/handlers.h"
#include "kts/request.h"

#define HEADERS_MAX 704

static void format_headers(const struct db_deposit *deposit, char out[HEADERS_MAX])
{
    char sha256[KT_SHA256_TEXT], id[KT_UUID_TEXT], group[KT_UUID_TEXT];
    int n;

    kt_hex_encode(deposit->sha256, KT_SHA256_LEN, sha256);
    kt_uuid_format(&deposit->deposit_id, id);
    n = snprintf(out, HEADERS_MAX,
                 "ETag: \"%s\"\r\nKT-Deposit-Id: %s\r\nKT-Handle: %s\r\nKT-Version: %u\r\n"
                 "KT-Index: %llu\r\n%s",
                 sha256, id, deposit->handle, deposit->receipt.leaf.version,
                 (unsigned long long)deposit->receipt.leaf.log_index,
                 deposit->has_policy ? "KT-Release-Policy: yes\r\n" : "");
    if (kt_uuid_is_nil(&deposit->key_group))
        return;
    kt_uuid_format(&deposit->key_group, group);
    snprintf(out + n, HEADERS_MAX - (size_t)n, "KT-Key-Group: %s\r\n", group);
}

static int hand_out(struct kts_request *request, const struct db_answer *answer)
{
    char headers[HEADERS_MAX];

    // Granted and present, but the statement held the body back: it found the caller not in good
    // standing a moment later than the dispatcher, or the release a moment too old.
    if (!answer->bytes)
        return KT_ERR_DATABASE_UNAVAILABLE;
    format_headers(&answer->deposits[0], headers);
    return kts_respond(request, 200, answer->deposits[0].content_type, headers, answer->bytes,
                       answer->len);
}

static int answer_body(struct kts_request *request, const struct db_answer *answer)
{
    if (answer->deposits[0].has_policy && !answer->bytes)
        return kts_release(request, answer, hand_out);
    return hand_out(request, answer);
}

static int answer_head(struct kts_request *request, const struct db_answer *answer)
{
    char headers[HEADERS_MAX];

    format_headers(&answer->deposits[0], headers);
    return kts_respond_head(request, answer->deposits[0].content_type, headers,
                            answer->deposits[0].size);
}

int kts_h_deposit_get(struct kts_request *request)
{
    struct kts_query query = {.kind = KTS_READ_DEPOSIT};
    int rc = kts_request_version(request, &query.version);

    return rc ? rc : kts_read(request, &query, answer_body);
}

int kts_h_deposit_get_by_id(struct kts_request *request)
{
    struct kts_query query = {.kind = KTS_READ_BY_ID};

    return kts_read(request, &query, answer_body);
}

int kts_h_deposit_head(struct kts_request *request)
{
    struct kts_query query = {.kind = KTS_READ_HEAD};
    int rc = kts_request_version(request, &query.version);

    return rc ? rc : kts_read(request, &query, answer_head);
}
