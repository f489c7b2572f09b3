// SPDX-License-Identifier: Apache-2.0
// The route table, and the search in it.
#include "kts/routes.h"

#include <string.h>

#include "kts/handlers.h"
#include "lib/change.h"

// A request for a certificate, an OpenPGP key in base64, names, and JSON around them.
#define REGISTER_MAX (KT_CSR_MAX * 2 + KT_OPENPGP_KEY_MAX * 4 / 3 + 4096)
#define RENEW_MAX    (KT_CSR_MAX * 2 + 1024)
#define VOTE_MAX     (KT_JUSTIFICATION_MAX * 6 + 256) // each byte of a comment may be escaped
#define LOCK_MAX     1024

// clang-format off
static const struct kts_route ROUTES[] = {
    // event, method, pattern, query, start,
    //     right, class, caller, freshness, body, accepts, audited
    {"fingerprint", KTS_GET, "/", "a", kts_h_fingerprint,
        NULL, KTS_READ, KTS_ANYONE, 0, 0, KTS_ACCEPTS_NOTHING, 0},
    {"health", KTS_GET, "/v1/health", "", kts_h_health,
        NULL, KTS_READ, KTS_ANYONE, 0, 0, KTS_ACCEPTS_NOTHING, 0},
    {"health.ready", KTS_GET, "/v1/health/ready", "", kts_h_health_ready,
        NULL, KTS_READ, KTS_ANYONE, 0, 0, KTS_ACCEPTS_NOTHING, 0},
    {"health.write", KTS_GET, "/v1/health/write", "", kts_h_health_write,
        NULL, KTS_READ, KTS_ANYONE, 0, 0, KTS_ACCEPTS_NOTHING, 0},
    {"incarnations", KTS_GET, "/v1/incarnations", "", kts_h_incarnations,
        NULL, KTS_READ, KTS_ANYONE, 0, 0, KTS_ACCEPTS_NOTHING, 0},
    {"cluster_keys", KTS_GET, "/v1/cluster-keys", "", kts_h_cluster_keys,
        NULL, KTS_READ, KTS_ANYONE, 0, 0, KTS_ACCEPTS_NOTHING, 0},
    {"client.register", KTS_POST, "/v1/clients", "", kts_h_client_register,
        NULL, KTS_CHANGE, KTS_AUTH_CODE, 0, REGISTER_MAX, KTS_ACCEPTS_JSON, 0},
    {"client.self", KTS_GET, "/v1/clients/self", "", kts_h_client_self,
        NULL, KTS_READ, KTS_CLIENT_PENDING_OK, 1, 0, KTS_ACCEPTS_NOTHING, 0},
    {"client.renew", KTS_POST, "/v1/clients/self/renew", "", kts_h_client_renew,
        NULL, KTS_CHANGE, KTS_CLIENT, 0, RENEW_MAX, KTS_ACCEPTS_JSON, 0},
    {"client.openpgp", KTS_GET, "/v1/clients/{fingerprint}/openpgp", "", kts_h_client_openpgp,
        NULL, KTS_READ, KTS_CLIENT, 1, 0, KTS_ACCEPTS_NOTHING, 1},
    {"deposit.list", KTS_GET, "/v1/deposits", "prefix after limit", kts_h_deposit_list,
        "browse", KTS_READ, KTS_CLIENT, 1, 0, KTS_ACCEPTS_NOTHING, 1},
    {"deposit.get", KTS_GET, "/v1/deposits/by-id/{uuid}", "", kts_h_deposit_get_by_id,
        "retrieve", KTS_READ, KTS_CLIENT, 1, 0, KTS_ACCEPTS_NOTHING, 1},
    {"deposit.put", KTS_PUT, "/v1/deposits/{handle}", "", kts_h_deposit_put,
        "deposit", KTS_CHANGE, KTS_CLIENT, 0, KTS_BODY_SETTING, KTS_ACCEPTS_CIPHERTEXT, 0},
    {"deposit.get", KTS_GET, "/v1/deposits/{handle}", "version", kts_h_deposit_get,
        "retrieve", KTS_READ, KTS_CLIENT, 1, 0, KTS_ACCEPTS_NOTHING, 1},
    {"deposit.head", KTS_HEAD, "/v1/deposits/{handle}", "version", kts_h_deposit_head,
        "browse", KTS_READ, KTS_CLIENT, 1, 0, KTS_ACCEPTS_NOTHING, 1},
    {"deposit.delete", KTS_DELETE, "/v1/deposits/{handle}", "version", kts_h_deposit_delete,
        "delete", KTS_CHANGE, KTS_CLIENT, 0, 0, KTS_ACCEPTS_NOTHING, 0},
    {"deposit.lock", KTS_PUT, "/v1/deposits/{handle}/lock", "version", kts_h_deposit_lock,
        "lock", KTS_CHANGE, KTS_CLIENT, 0, LOCK_MAX, KTS_ACCEPTS_JSON, 0},
    {"deposit.undelete", KTS_POST, "/v1/deposits/{handle}/undelete", "version",
        kts_h_deposit_undelete,
        "undelete", KTS_CHANGE, KTS_CLIENT, 0, 0, KTS_ACCEPTS_NOTHING, 0},
    {"deposit.purge", KTS_POST, "/v1/deposits/{handle}/purge", "version", kts_h_deposit_purge,
        "purge", KTS_CHANGE, KTS_CLIENT, 0, 0, KTS_ACCEPTS_NOTHING, 0},
    {"deposit.receipt", KTS_GET, "/v1/deposits/{handle}/receipt", "version", kts_h_deposit_receipt,
        "browse", KTS_READ, KTS_CLIENT, 1, 0, KTS_ACCEPTS_NOTHING, 1},
    {"request.list", KTS_GET, "/v1/requests", "state after limit", kts_h_request_list,
        NULL, KTS_READ, KTS_CLIENT, 1, 0, KTS_ACCEPTS_NOTHING, 1},
    {"request.vote", KTS_POST, "/v1/requests/{uuid}/vote", "", kts_h_request_vote,
        NULL, KTS_CHANGE, KTS_CLIENT, 0, VOTE_MAX, KTS_ACCEPTS_JSON, 0},
    {"log.head", KTS_GET, "/v1/log/head", "", kts_h_log_head,
        NULL, KTS_READ, KTS_CLIENT, 1, 0, KTS_ACCEPTS_NOTHING, 0},
    {"log.proof", KTS_GET, "/v1/log/proof", "index size", kts_h_log_proof,
        NULL, KTS_READ, KTS_CLIENT, 1, 0, KTS_ACCEPTS_NOTHING, 0},
    {"log.consistency", KTS_GET, "/v1/log/consistency", "from to", kts_h_log_consistency,
        NULL, KTS_READ, KTS_CLIENT, 1, 0, KTS_ACCEPTS_NOTHING, 0},
    {"metrics", KTS_GET, "/v1/metrics", "", kts_h_metrics,
        NULL, KTS_READ, KTS_OPERATOR, 0, 0, KTS_ACCEPTS_NOTHING, 0},
};
// clang-format on

#define COUNT (sizeof(ROUTES) / sizeof(ROUTES[0]))

const struct kts_route *kts_routes_all(size_t *count)
{
    *count = COUNT;
    return ROUTES;
}

const char *kts_caller_name(enum kts_caller caller)
{
    switch (caller) {
    case KTS_ANYONE:
        return "anyone";
    case KTS_AUTH_CODE:
        return "auth code";
    case KTS_CLIENT:
        return "client";
    case KTS_CLIENT_PENDING_OK:
        return "client, also pending";
    case KTS_OPERATOR:
        return "operator";
    }
    return "unknown";
}

static int take_fingerprint(struct kts_span segment, struct kts_match *match)
{
    char text[sizeof(match->fingerprint)];
    uint8_t bytes[20];

    if (kts_percent_decode(segment, text, sizeof(text)) || kt_hex_decode(text, bytes, 20))
        return KT_ERR_BAD_REQUEST;
    for (size_t i = 0; i < sizeof(text); i++)
        match->fingerprint[i] = text[i] >= 'a' && text[i] <= 'f' ? (char)(text[i] - 32) : text[i];
    return 0;
}

static int take_parameter(struct kts_span name, struct kts_span segment, struct kts_match *match)
{
    char text[KT_UUID_TEXT];

    if (kts_span_equal(name, "{handle}")) {
        int rc = kts_percent_decode(segment, match->handle, sizeof(match->handle));
        if (rc == 0)
            rc = kt_handle_check(match->handle);
        return rc ? KT_ERR_HANDLE_INVALID : 0;
    }
    if (kts_span_equal(name, "{fingerprint}"))
        return take_fingerprint(segment, match);
    if (kts_percent_decode(segment, text, sizeof(text)) || kt_uuid_parse(text, &match->uuid))
        return KT_ERR_BAD_REQUEST;
    return 0;
}

// Takes the segment behind the '/' that `rest` begins with; 0 when nothing is left.
static int next_segment(struct kts_span *rest, struct kts_span *segment)
{
    const char *slash;

    if (rest->len == 0 || rest->at[0] != '/')
        return 0;
    slash = memchr(rest->at + 1, '/', rest->len - 1);
    segment->at = rest->at + 1;
    segment->len = slash ? (size_t)(slash - segment->at) : rest->len - 1;
    *rest = (struct kts_span){segment->at + segment->len, rest->len - 1 - segment->len};
    return 1;
}

// 1 when the path has the form of the pattern; then *rc says whether its parameters are right.
static int matches(const char *pattern, struct kts_span path, struct kts_match *match, int *rc)
{
    struct kts_span form = {pattern, strlen(pattern)}, want, have;

    *rc = 0;
    for (;;) {
        int more = next_segment(&form, &want);
        if (more != next_segment(&path, &have))
            return 0;
        if (!more)
            return 1;
        if (want.len > 0 && want.at[0] == '{') {
            int wrong = take_parameter(want, have, match);
            if (*rc == 0)
                *rc = wrong;
        } else if (want.len != have.len || memcmp(want.at, have.at, want.len) != 0) {
            return 0;
        }
    }
}

// A row whose parameters are wrong does not hide a later one that fits: "by-id" is a handle too.
int kts_route_find(enum kts_method method, struct kts_span path, struct kts_match *match)
{
    int wrong = 0, rc;

    memset(match, 0, sizeof(*match));
    for (size_t i = 0; i < COUNT; i++) {
        struct kts_match found = {0};
        if (!matches(ROUTES[i].pattern, path, &found, &rc))
            continue;
        if (rc) {
            wrong = wrong ? wrong : rc;
            continue;
        }
        if (ROUTES[i].method == method) {
            found.route = &ROUTES[i];
            *match = found;
            return 0;
        }
        match->allow |= (unsigned)ROUTES[i].method;
    }
    if (match->allow)
        return KT_ERR_METHOD_NOT_ALLOWED;
    return wrong ? wrong : KT_ERR_ROUTE_UNKNOWN;
}
