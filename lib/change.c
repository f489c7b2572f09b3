// SPDX-License-Identifier: Apache-2.0
// Puts changes and outcomes into messages between the server's processes, and takes them out.
#include "lib/change.h"

#include <stdlib.h>
#include <string.h>

#include "lib/secret.h"

#define CHANGE_BODY_MAX (17u << 20)
#define CHANGE_TEXT_MAX (1u << 20)

const char *kt_change_event(enum kt_change_kind kind)
{
    static const char *const events[KT_CHANGE_KIND_COUNT] = {
        [KT_CHANGE_BARRIER] = "barrier",
        [KT_CHANGE_DEPOSIT] = "deposit.put",
        [KT_CHANGE_DELETE] = "deposit.delete",
        [KT_CHANGE_REGISTER] = "client.register",
        [KT_CHANGE_RENEW] = "client.renew",
        [KT_CHANGE_ORG_ADD] = "organisation.add",
        [KT_CHANGE_ORG_DISABLE] = "organisation.disable",
        [KT_CHANGE_AUTHCODE_NEW] = "authcode.new",
        [KT_CHANGE_CLIENT_APPROVE] = "client.approve",
        [KT_CHANGE_CLIENT_REVOKE] = "client.revoke",
        [KT_CHANGE_GRANT] = "grant.add",
        [KT_CHANGE_GRANT_REVOKE] = "grant.revoke",
        [KT_CHANGE_OPERATOR_ADD] = "operator.add",
        [KT_CHANGE_OPERATOR_REVOKE] = "operator.revoke",
        [KT_CHANGE_UNDELETE] = "deposit.undelete",
        [KT_CHANGE_PURGE] = "deposit.purge",
        [KT_CHANGE_LOCK] = "deposit.lock",
        [KT_CHANGE_RETRIEVE] = "deposit.release",
        [KT_CHANGE_VOTE] = "request.vote",
        [KT_CHANGE_ORG_SET] = "organisation.set",
        [KT_CHANGE_KEY_GROUP_ADD] = "keygroup.add",
        [KT_CHANGE_RECOVERY_ADD] = "recovery.add",
        [KT_CHANGE_RECOVERY_RETIRE] = "recovery.retire",
        [KT_CHANGE_CLOCK_CONFIRM] = "clock.confirm",
        [KT_CHANGE_RECEIPT_KEY_ADD] = "receipt_key.add",
        [KT_CHANGE_RECEIPT_KEY_CERTIFY] = "receipt_key.certify",
        [KT_CHANGE_RECEIPT_KEY_RETIRE] = "receipt_key.retire",
        [KT_CHANGE_AUTHCODE_REVOKE] = "authcode.revoke",
        [KT_CHANGE_CLUSTER_KEY_ADD] = "cluster_key.add",
        [KT_CHANGE_TICK] = "clock.tick",
    };
    return (unsigned)kind < KT_CHANGE_KIND_COUNT ? events[kind] : "unknown";
}

enum kt_change_origin kt_change_origin(enum kt_change_kind kind)
{
    switch (kind) {
    case KT_CHANGE_BARRIER:
        return KT_FROM_ANY;
    case KT_CHANGE_DEPOSIT:
    case KT_CHANGE_DELETE:
    case KT_CHANGE_REGISTER:
    case KT_CHANGE_RENEW:
    case KT_CHANGE_UNDELETE:
    case KT_CHANGE_PURGE:
    case KT_CHANGE_LOCK:
    case KT_CHANGE_RETRIEVE:
    case KT_CHANGE_VOTE:
        return KT_FROM_CLIENT;
    case KT_CHANGE_ORG_ADD:
    case KT_CHANGE_ORG_DISABLE:
    case KT_CHANGE_AUTHCODE_NEW:
    case KT_CHANGE_CLIENT_APPROVE:
    case KT_CHANGE_CLIENT_REVOKE:
    case KT_CHANGE_GRANT:
    case KT_CHANGE_GRANT_REVOKE:
    case KT_CHANGE_OPERATOR_ADD:
    case KT_CHANGE_OPERATOR_REVOKE:
    case KT_CHANGE_ORG_SET:
    case KT_CHANGE_KEY_GROUP_ADD:
    case KT_CHANGE_RECOVERY_ADD:
    case KT_CHANGE_RECOVERY_RETIRE:
    case KT_CHANGE_CLOCK_CONFIRM:
    case KT_CHANGE_RECEIPT_KEY_ADD:
    case KT_CHANGE_RECEIPT_KEY_CERTIFY:
    case KT_CHANGE_RECEIPT_KEY_RETIRE:
    case KT_CHANGE_AUTHCODE_REVOKE:
    case KT_CHANGE_CLUSTER_KEY_ADD:
        return KT_FROM_OPERATOR;
    case KT_CHANGE_TICK:
    case KT_CHANGE_KIND_COUNT:
        break;
    }
    return KT_FROM_WRITER;
}

// The fixed-size members, in the order of the wire.
static int encode_fixed(const struct kt_change *c, struct kt_buf *out)
{
    int r;

    if ((r = kt_buf_put_u8(out, (uint8_t)c->kind)) != 0 ||
        (r = kt_buf_put_u64(out, c->organisation_share)) != 0 ||
        (r = kt_buf_put_u64(out, c->client_share)) != 0 ||
        (r = kt_buf_put_cstr(out, c->request_id)) != 0 ||
        (r = kt_buf_put_cstr(out, c->peer)) != 0 || (r = kt_buf_put_cstr(out, c->actor)) != 0 ||
        (r = kt_buf_put(out, c->certificate_sha256, KT_SHA256_LEN)) != 0 ||
        (r = kt_buf_put(out, c->deposit_id.bytes, 16)) != 0 ||
        (r = kt_buf_put_cstr(out, c->handle)) != 0 || (r = kt_buf_put_u32(out, c->version)) != 0 ||
        (r = kt_buf_put_cstr(out, c->content_type)) != 0 ||
        (r = kt_buf_put(out, c->sha256, KT_SHA256_LEN)) != 0 ||
        (r = kt_buf_put(out, c->key_group.bytes, 16)) != 0 ||
        (r = kt_buf_put_cstr(out, c->code_id)) != 0 ||
        (r = kt_buf_put(out, c->code_hash, KT_SHA256_LEN)) != 0 ||
        (r = kt_buf_put_cstr(out, c->name)) != 0 ||
        (r = kt_buf_put(out, c->key_sha256, KT_SHA256_LEN)) != 0 ||
        (r = kt_buf_put_cstr(out, c->fingerprint)) != 0 ||
        (r = kt_buf_put_u8(out, c->needs_approval != 0)) != 0 ||
        (r = kt_buf_put_u8(out, c->undo != 0)) != 0 ||
        (r = kt_buf_put_u32(out, c->max_uses)) != 0 ||
        (r = kt_buf_put_u64(out, (uint64_t)c->lifetime_s)) != 0 ||
        (r = kt_buf_put_cstr(out, c->rights)) != 0 || (r = kt_buf_put_cstr(out, c->object)) != 0 ||
        (r = kt_buf_put(out, c->client_id.bytes, 16)) != 0 ||
        (r = kt_buf_put(out, c->grant_id.bytes, 16)) != 0)
        return r;
    return 0;
}

static int decode_fixed(struct kt_buf *in, struct kt_change *c)
{
    uint8_t kind = 0, needs_approval = 0, undo = 0;
    uint64_t lifetime = 0;
    int r;

    if ((r = kt_buf_get_u8(in, &kind)) != 0 ||
        (r = kt_buf_get_u64(in, &c->organisation_share)) != 0 ||
        (r = kt_buf_get_u64(in, &c->client_share)) != 0 ||
        (r = kt_buf_get_cstr(in, c->request_id, sizeof(c->request_id))) != 0 ||
        (r = kt_buf_get_cstr(in, c->peer, sizeof(c->peer))) != 0 ||
        (r = kt_buf_get_cstr(in, c->actor, sizeof(c->actor))) != 0 ||
        (r = kt_buf_get(in, c->certificate_sha256, KT_SHA256_LEN)) != 0 ||
        (r = kt_buf_get(in, c->deposit_id.bytes, 16)) != 0 ||
        (r = kt_buf_get_cstr(in, c->handle, sizeof(c->handle))) != 0 ||
        (r = kt_buf_get_u32(in, &c->version)) != 0 ||
        (r = kt_buf_get_cstr(in, c->content_type, sizeof(c->content_type))) != 0 ||
        (r = kt_buf_get(in, c->sha256, KT_SHA256_LEN)) != 0 ||
        (r = kt_buf_get(in, c->key_group.bytes, 16)) != 0 ||
        (r = kt_buf_get_cstr(in, c->code_id, sizeof(c->code_id))) != 0 ||
        (r = kt_buf_get(in, c->code_hash, KT_SHA256_LEN)) != 0 ||
        (r = kt_buf_get_cstr(in, c->name, sizeof(c->name))) != 0 ||
        (r = kt_buf_get(in, c->key_sha256, KT_SHA256_LEN)) != 0 ||
        (r = kt_buf_get_cstr(in, c->fingerprint, sizeof(c->fingerprint))) != 0 ||
        (r = kt_buf_get_u8(in, &needs_approval)) != 0 || (r = kt_buf_get_u8(in, &undo)) != 0 ||
        (r = kt_buf_get_u32(in, &c->max_uses)) != 0 || (r = kt_buf_get_u64(in, &lifetime)) != 0 ||
        (r = kt_buf_get_cstr(in, c->rights, sizeof(c->rights))) != 0 ||
        (r = kt_buf_get_cstr(in, c->object, sizeof(c->object))) != 0 ||
        (r = kt_buf_get(in, c->client_id.bytes, 16)) != 0 ||
        (r = kt_buf_get(in, c->grant_id.bytes, 16)) != 0)
        return KT_ERR_PROTOCOL;
    if (kind >= KT_CHANGE_KIND_COUNT || lifetime > INT64_MAX)
        return KT_ERR_PROTOCOL;
    c->kind = (enum kt_change_kind)kind;
    c->needs_approval = needs_approval;
    c->undo = undo;
    c->lifetime_s = (int64_t)lifetime;
    return 0;
}

static int encode_policy(const struct kt_release_policy *p, struct kt_buf *out)
{
    int r;

    if ((r = kt_buf_put_u64(out, (uint64_t)p->not_before_us)) != 0 ||
        (r = kt_buf_put_u64(out, (uint64_t)p->not_after_us)) != 0 ||
        (r = kt_buf_put_u32(out, p->max_retrievals)) != 0 ||
        (r = kt_buf_put_u32(out, p->votes)) != 0 ||
        (r = kt_buf_put_u64(out, (uint64_t)p->request_lifetime_s)) != 0 ||
        (r = kt_buf_put_u8(out, p->justification)) != 0 ||
        (r = kt_buf_put_u8(out, p->trustee_count)) != 0)
        return r;
    for (size_t i = 0; i < p->trustee_count && r == 0; i++)
        r = kt_buf_put(out, p->trustees[i].bytes, 16);
    return r;
}

static int decode_policy(struct kt_buf *in, struct kt_release_policy *p)
{
    uint64_t not_before = 0, not_after = 0, lifetime = 0;

    if (kt_buf_get_u64(in, &not_before) != 0 || kt_buf_get_u64(in, &not_after) != 0 ||
        kt_buf_get_u32(in, &p->max_retrievals) != 0 || kt_buf_get_u32(in, &p->votes) != 0 ||
        kt_buf_get_u64(in, &lifetime) != 0 || kt_buf_get_u8(in, &p->justification) != 0 ||
        kt_buf_get_u8(in, &p->trustee_count) != 0 || p->trustee_count > KT_TRUSTEES_MAX ||
        not_before > INT64_MAX || not_after > INT64_MAX || lifetime > INT64_MAX)
        return KT_ERR_PROTOCOL;
    for (size_t i = 0; i < p->trustee_count; i++)
        if (kt_buf_get(in, p->trustees[i].bytes, 16) != 0)
            return KT_ERR_PROTOCOL;
    p->not_before_us = (int64_t)not_before;
    p->not_after_us = (int64_t)not_after;
    p->request_lifetime_s = (int64_t)lifetime;
    return 0;
}

// Locks, releases and recovery, behind the fixed members.
static int encode_rules(const struct kt_change *c, struct kt_buf *out)
{
    int r;

    if ((r = kt_buf_put_cstr(out, c->label)) != 0 ||
        (r = kt_buf_put_cstr(out, c->lock_mode)) != 0 ||
        (r = kt_buf_put_u64(out, (uint64_t)c->lock_until_us)) != 0 ||
        (r = kt_buf_put_u8(out, c->hold)) != 0 || (r = kt_buf_put_u8(out, c->bypass)) != 0 ||
        (r = kt_buf_put_cstr(out, c->justification)) != 0 ||
        (r = kt_buf_put(out, c->retrieval_id.bytes, 16)) != 0 ||
        (r = kt_buf_put(out, c->vote_id.bytes, 16)) != 0 ||
        (r = kt_buf_put_u8(out, c->approve)) != 0 || (r = encode_policy(&c->policy, out)) != 0 ||
        (r = kt_buf_put_cstr(out, c->lock_default)) != 0 ||
        (r = kt_buf_put_u64(out, (uint64_t)c->purge_delay_s)) != 0 ||
        (r = kt_buf_put_u32(out, c->recipient_count)) != 0)
        return r;
    for (size_t i = 0; i < c->recipient_count && r == 0; i++)
        r = kt_buf_put_u64(out, c->recipients[i]);
    return r;
}

static int decode_rules(struct kt_buf *in, struct kt_change *c)
{
    uint64_t until = 0, delay = 0;

    if (kt_buf_get_cstr(in, c->label, sizeof(c->label)) != 0 ||
        kt_buf_get_cstr(in, c->lock_mode, sizeof(c->lock_mode)) != 0 ||
        kt_buf_get_u64(in, &until) != 0 || until > INT64_MAX || kt_buf_get_u8(in, &c->hold) != 0 ||
        kt_buf_get_u8(in, &c->bypass) != 0 ||
        kt_buf_get_cstr(in, c->justification, sizeof(c->justification)) != 0 ||
        kt_buf_get(in, c->retrieval_id.bytes, 16) != 0 ||
        kt_buf_get(in, c->vote_id.bytes, 16) != 0 || kt_buf_get_u8(in, &c->approve) != 0 ||
        decode_policy(in, &c->policy) != 0 ||
        kt_buf_get_cstr(in, c->lock_default, sizeof(c->lock_default)) != 0 ||
        kt_buf_get_u64(in, &delay) != 0 || kt_buf_get_u32(in, &c->recipient_count) != 0 ||
        c->recipient_count > KT_RECIPIENTS_MAX)
        return KT_ERR_PROTOCOL;
    for (size_t i = 0; i < c->recipient_count; i++)
        if (kt_buf_get_u64(in, &c->recipients[i]) != 0)
            return KT_ERR_PROTOCOL;
    c->lock_until_us = (int64_t)until;
    c->purge_delay_s = (int64_t)delay;
    return 0;
}

int kt_change_encode(const struct kt_change *change, struct kt_buf *out)
{
    int r;

    if ((r = encode_fixed(change, out)) != 0 || (r = encode_rules(change, out)) != 0 ||
        (r = kt_buf_put_block(out, change->body, change->body_len)) != 0 ||
        (r = kt_buf_put_block(out, change->csr, change->csr_len)) != 0 ||
        (r = kt_buf_put_block(out, change->openpgp, change->openpgp_len)) != 0 ||
        (r = kt_buf_put_cstr(out, change->contacts)) != 0)
        return r;
    return 0;
}

// A copy with a NUL behind it, or NULL for an empty block.
static int take_block(struct kt_buf *in, size_t max, uint8_t **bytes, size_t *len)
{
    const uint8_t *from = NULL;
    size_t n = 0;
    uint8_t *copy;

    if (kt_buf_get_block(in, &from, &n, max) != 0)
        return KT_ERR_PROTOCOL;
    *bytes = NULL;
    *len = 0;
    if (n == 0)
        return 0;
    copy = malloc(n + 1);
    if (copy == NULL)
        return KT_ERR_NO_MEMORY;
    memcpy(copy, from, n);
    copy[n] = 0;
    *bytes = copy;
    *len = n;
    return 0;
}

int kt_change_decode(struct kt_buf *in, struct kt_change *change)
{
    uint8_t *contacts = NULL;
    size_t contacts_len = 0;
    int r;

    memset(change, 0, sizeof(*change));
    if ((r = decode_fixed(in, change)) != 0 || (r = decode_rules(in, change)) != 0 ||
        (r = take_block(in, CHANGE_BODY_MAX, &change->body, &change->body_len)) != 0 ||
        (r = take_block(in, KT_CSR_MAX, &change->csr, &change->csr_len)) != 0 ||
        (r = take_block(in, KT_OPENPGP_KEY_MAX, &change->openpgp, &change->openpgp_len)) != 0 ||
        (r = take_block(in, 4096, &contacts, &contacts_len)) != 0)
        goto out;
    change->contacts = (char *)contacts;
    contacts = NULL;
    if (kt_buf_left(in) != 0 || (change->contacts && strlen(change->contacts) != contacts_len))
        r = KT_ERR_PROTOCOL;
out:
    free(contacts);
    if (r != 0)
        kt_change_free(change);
    return r;
}

void kt_change_free(struct kt_change *change)
{
    if (change == NULL)
        return;
    free(change->body);
    free(change->csr);
    free(change->openpgp);
    free(change->contacts);
    kt_wipe(change, sizeof(*change));
}

int kt_outcome_encode(const struct kt_outcome *outcome, struct kt_buf *out)
{
    char receipt[KT_RECEIPT_TEXT] = "";
    int r;

    if (outcome->receipt.leaf.log_index != 0)
        kt_receipt_format(&outcome->receipt, receipt);
    if ((r = kt_buf_put_u32(out, (uint32_t)-outcome->code)) != 0 ||
        (r = kt_buf_put_cstr(out, outcome->message)) != 0 ||
        (r = kt_buf_put_u8(out, outcome->repeated != 0)) != 0 ||
        (r = kt_buf_put_u64(out, outcome->count)) != 0 ||
        (r = kt_buf_put_cstr(out, receipt)) != 0 || (r = kt_buf_put_cstr(out, outcome->text)) != 0)
        return r;
    return 0;
}

int kt_outcome_decode(struct kt_buf *in, struct kt_outcome *outcome)
{
    char receipt[KT_RECEIPT_TEXT];
    uint32_t code = 0;
    uint8_t repeated = 0;
    uint8_t *text = NULL;
    size_t text_len = 0;
    int r;

    memset(outcome, 0, sizeof(*outcome));
    if (kt_buf_get_u32(in, &code) != 0 || code > 1000 ||
        kt_buf_get_cstr(in, outcome->message, sizeof(outcome->message)) != 0 ||
        kt_buf_get_u8(in, &repeated) != 0 || kt_buf_get_u64(in, &outcome->count) != 0 ||
        kt_buf_get_cstr(in, receipt, sizeof(receipt)) != 0)
        return KT_ERR_PROTOCOL;
    if ((r = take_block(in, CHANGE_TEXT_MAX, &text, &text_len)) != 0)
        return r;
    outcome->text = (char *)text;
    outcome->code = -(int)code;
    outcome->repeated = repeated;
    if (kt_buf_left(in) != 0 ||
        (receipt[0] && kt_receipt_parse(receipt, strlen(receipt), &outcome->receipt) != 0)) {
        kt_outcome_free(outcome);
        return KT_ERR_PROTOCOL;
    }
    return 0;
}

void kt_outcome_free(struct kt_outcome *outcome)
{
    if (outcome == NULL)
        return;
    free(outcome->text);
    outcome->text = NULL;
}
