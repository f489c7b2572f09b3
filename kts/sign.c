// SPDX-License-Identifier: Apache-2.0
// The writer's request to the agent for a client certificate, as bytes.
#include <string.h>

#include "kts/process.h"
#include "lib/change.h"

int kts_sign_encode(const struct kts_sign_request *request, struct kt_buf *out)
{
    int rc = kt_buf_put_cstr(out, request->common_name);

    if (rc == 0)
        rc = kt_buf_put_cstr(out, request->organisation);
    if (rc == 0)
        rc = kt_buf_put_u64(out, (uint64_t)request->lifetime_s);
    if (rc == 0)
        rc = kt_buf_put_block(out, request->csr, request->csr_len);
    return rc;
}

int kts_sign_decode(struct kt_buf *in, struct kts_sign_request *request)
{
    struct kts_sign_request fresh = {.lifetime_s = 0};
    uint64_t lifetime = 0;

    if (kt_buf_get_cstr(in, fresh.common_name, sizeof(fresh.common_name)) ||
        kt_buf_get_cstr(in, fresh.organisation, sizeof(fresh.organisation)) ||
        kt_buf_get_u64(in, &lifetime) ||
        kt_buf_get_block(in, &fresh.csr, &fresh.csr_len, KT_CSR_MAX) || kt_buf_left(in) != 0)
        return KT_ERR_PROTOCOL;
    if (lifetime == 0 || lifetime > INT64_MAX / 1000000 || !fresh.common_name[0])
        return KT_ERR_PROTOCOL;
    fresh.lifetime_s = (int64_t)lifetime;
    *request = fresh;
    return 0;
}
