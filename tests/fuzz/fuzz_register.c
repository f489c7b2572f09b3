// SPDX-License-Identifier: Apache-2.0
// Fuzz target: the body of a registration, by whoever has an auth code. What is taken to the writer
// is in bounds and arrives there as it was sent.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kts/handlers.h"
#include "kts/limits.h"
#include "kts/request.h"
#include "kts/worker.h"
#include "lib/pki.h"
#include "tests/fuzz/fuzz.h"

static int changes;

// --- in the place of kts/request.c, kts/respond.c and kts/limits.c ---

int kts_limits_check_code(struct kts_request *request, const char *code_id)
{
    (void)request;
    (void)code_id;
    return 0;
}

int kts_change(struct kts_request *request, struct kt_change *change, kts_change_done done)
{
    struct kt_buf out = KT_BUF_INIT(1 << 20), again = KT_BUF_INIT(1 << 20);
    struct kt_change read = {0};

    (void)request;
    (void)done;
    fuzz_must(change->kind == KT_CHANGE_REGISTER && strlen(change->code_id) == 8);
    fuzz_must(change->name[0] != '\0' && strlen(change->name) <= KT_CLIENT_NAME_MAX);
    fuzz_must(change->csr_len > 0 && change->csr_len <= KT_CSR_MAX);
    fuzz_must(change->openpgp_len > 0 && change->openpgp_len <= KT_OPENPGP_KEY_MAX);
    fuzz_must(strlen(change->fingerprint) == 40);
    fuzz_must(kt_change_encode(change, &out) == 0);
    fuzz_must(kt_change_encode(change, &again) == 0);
    fuzz_must(kt_change_decode(&out, &read) == 0);
    kt_buf_reset(&out);
    fuzz_must(kt_change_encode(&read, &out) == 0);
    fuzz_same(kt_buf_ptr(&out), kt_buf_left(&out), kt_buf_ptr(&again), kt_buf_left(&again));
    kt_change_free(&read);
    kt_buf_free(&out);
    kt_buf_free(&again);
    changes++;
    return 0;
}

int kts_fail(struct kts_request *request, int code, const char *fmt, ...)
{
    char text[256];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    return kt_error_set(&request->error, code, NULL, "%s", text);
}

int kts_respond(struct kts_request *request, int status, const char *content_type,
                const char *headers, const void *body, size_t n)
{
    (void)request;
    (void)status;
    (void)content_type;
    (void)headers;
    (void)body;
    (void)n;
    return 0;
}

// The CA whose fingerprint the corpus' auth codes have.
static const char CA[] = "-----BEGIN CERTIFICATE-----\n"
                         "MIIBkjCCATmgAwIBAgIUVCJF1vYEId/k7sdi7xLtXT11t9gwCgYIKoZIzj0EAwIw\n"
                         "HjENMAsGA1UECgwEZnV6ejENMAsGA1UEAwwEZnV6ejAgFw0yNjExMjMwMDM1NDRa\n"
                         "GA8yMTI2MTAzMDAwMzU0NFowHjENMAsGA1UECgwEZnV6ejENMAsGA1UEAwwEZnV6\n"
                         "ejBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABP8lIcYiS7F/C7uGbWU8rPtBY4v/\n"
                         "runKg09CI/Yw4lCf+vyb1oh+Wahz2D8beIvn4zqRLERXxq4CQWeNe/ISfdOjUzBR\n"
                         "MB0GA1UdDgQWBBRJPuSHSWqdWJcq+I6Rki5NjdcEbzAfBgNVHSMEGDAWgBRJPuSH\n"
                         "SWqdWJcq+I6Rki5NjdcEbzAPBgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0cA\n"
                         "MEQCIDsK0K6H5kOX5u2d+7BPNhVlXFL40JfChElVfgiDdm5hAiAmIggDTYAqHbQl\n"
                         "LLhAgoVdFjizKo4tRo5BmFQXRpiU4w==\n"
                         "-----END CERTIFICATE-----\n";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct kts_worker worker;
    struct kts_request request = {.worker = &worker, .body = data, .body_len = size};
    int before = changes, rc;

    fuzz_must(worker.ca || kt_pki_ca_from_pem(CA, sizeof(CA) - 1, &worker.ca) == 0);
    rc = kts_h_client_register(&request);

    fuzz_must((rc == 0) == (changes == before + 1));
    if (rc != 0) // every refusal is one that the client can be told
        fuzz_must(kt_err_info(rc)->http >= 400 && kt_err_info(rc)->http < 500);
    return 0;
}
