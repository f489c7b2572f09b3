// SPDX-License-Identifier: Apache-2.0
// Join tokens: made, listed, revoked, and used once. Of a token only its secret's hash is kept, in
// a file of this node, so that a node without a working database can let a newcomer in too.
#include "kts/agent_token.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kts/agent_peers.h"
#include "kts/agent_view.h"
#include "lib/epoch.h"
#include "lib/file.h"
#include "lib/json.h"

#define TOKENS_MAX   64
#define FILE_MAX     (64u << 10)
#define LIFETIME_S   (24 * 3600)
#define LIFETIME_MAX (30 * 24 * 3600)
#define KEPT_US      (30LL * 24 * 3600 * 1000000) // after its end, for the list

struct stored {
    char id[9];
    uint8_t sha256[KT_SHA256_LEN];
    int64_t created_us, expires_us;
    char created_by[KT_ACTOR_TEXT];
    char used_by[KT_MEMBER_TEXT];  // "" = not yet
    char used_key[KT_SHA256_TEXT]; // of the key that it was used for, in hex
};

struct tokens {
    struct stored stored[TOKENS_MAX];
    size_t count;
};

static int hash(const struct kt_join_token *token, uint8_t out[KT_SHA256_LEN])
{
    struct kt_buf text = KT_BUF_INIT(128);
    int rc = kt_buf_putf(&text, "keytrustee-jointoken 1\n%s\n", token->id);

    if (rc == 0)
        rc = kt_buf_put(&text, token->secret, sizeof(token->secret));
    if (rc == 0)
        rc = kt_sha256(kt_buf_ptr(&text), kt_buf_left(&text), out);
    kt_buf_free(&text); // wipes
    return rc;
}

// --- the file ---

static int read_time(const json_t *object, const char *name, int64_t *us, struct kt_error *error)
{
    const char *text = NULL;
    int rc = kt_json_string(object, name, 1, KT_TIME_TEXT - 1, &text, error);

    return rc ? rc : kt_time_parse(text, us);
}

static int read_one(const json_t *object, struct stored *stored, struct kt_error *error)
{
    const char *id = NULL, *sha256 = NULL, *by = NULL, *used = NULL, *key = NULL;
    int rc = kt_json_string(object, "id", 8, 8, &id, error);

    if (rc == 0)
        rc = kt_json_string(object, "sha256", KT_SHA256_TEXT - 1, KT_SHA256_TEXT - 1, &sha256,
                            error);
    if (rc == 0)
        rc = kt_json_string(object, "created_by", 0, sizeof(stored->created_by) - 1, &by, error);
    if (rc == 0)
        rc = kt_json_string(object, "used_by", 0, sizeof(stored->used_by) - 1, &used, error);
    if (rc == 0)
        rc = kt_json_string(object, "used_key", 0, sizeof(stored->used_key) - 1, &key, error);
    if (rc == 0)
        rc = read_time(object, "created", &stored->created_us, error);
    if (rc == 0)
        rc = read_time(object, "expires", &stored->expires_us, error);
    if (rc == 0)
        rc = kt_hex_decode(sha256, stored->sha256, KT_SHA256_LEN);
    if (rc)
        return rc;
    snprintf(stored->id, sizeof(stored->id), "%s", id);
    snprintf(stored->created_by, sizeof(stored->created_by), "%s", by ? by : "");
    snprintf(stored->used_by, sizeof(stored->used_by), "%s", used ? used : "");
    snprintf(stored->used_key, sizeof(stored->used_key), "%s", key ? key : "");
    return 0;
}

static int load(struct kts_agent *agent, struct tokens *tokens, struct kt_error *error)
{
    const char *path = agent->start->paths->tokens;
    json_t *file = NULL, *list;
    char *text = NULL;
    int rc;

    tokens->count = 0;
    if (!kt_file_exists(path))
        return 0;
    rc = kt_file_check_private(path, 1, error);
    if (rc == 0)
        rc = kt_file_read_text(path, FILE_MAX, &text, error);
    if (rc)
        return rc;
    rc = kt_json_parse_object(text, strlen(text), &file, error);
    list = json_object_get(file, "tokens");
    if (rc == 0 && (json_integer_value(json_object_get(file, "version")) != 1 ||
                    json_array_size(list) > TOKENS_MAX))
        rc = KT_ERR_INVALID;
    for (size_t i = 0; rc == 0 && i < json_array_size(list); i++)
        rc = read_one(json_array_get(list, i), &tokens->stored[tokens->count++], error);
    if (rc)
        rc = kt_error_set(error, KT_ERR_INVALID, "remove it: its tokens are void then",
                          "'%s' cannot be read", path);
    json_decref(file);
    free(text);
    return rc;
}

static const char *state_of(const struct stored *stored)
{
    return stored->used_by[0] ? "used" : stored->expires_us <= kt_time_now() ? "expired" : "open";
}

static json_t *one_to_json(const struct stored *stored, int with_hash)
{
    char created[KT_TIME_TEXT], expires[KT_TIME_TEXT], sha256[KT_SHA256_TEXT];

    kt_time_format(stored->created_us, created);
    kt_time_format(stored->expires_us, expires);
    kt_hex_encode(stored->sha256, KT_SHA256_LEN, sha256);
    return json_pack("{s:s, s:s*, s:s*, s:s, s:s, s:s, s:s*, s:s*}", "id", stored->id, "sha256",
                     with_hash ? sha256 : NULL, "state", with_hash ? NULL : state_of(stored),
                     "created", created, "expires", expires, "created_by", stored->created_by,
                     "used_by", stored->used_by[0] ? stored->used_by : NULL, "used_key",
                     with_hash && stored->used_key[0] ? stored->used_key : NULL);
}

static json_t *to_json(const struct tokens *tokens, int with_hash)
{
    json_t *list = json_array();

    for (size_t i = 0; list && i < tokens->count; i++) {
        if (json_array_append_new(list, one_to_json(&tokens->stored[i], with_hash))) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static int save(struct kts_agent *agent, const struct tokens *tokens, struct kt_error *error)
{
    json_t *list = to_json(tokens, 1);
    json_t *file = list ? json_pack("{s:i, s:o}", "version", 1, "tokens", list) : NULL;
    char *text = file ? kt_json_text(file) : NULL;
    int rc = text ? kt_file_replace(agent->start->paths->tokens, text, strlen(text), 0600, error)
                  : kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");

    free(text);
    json_decref(file);
    return rc;
}

static struct stored *find(struct tokens *tokens, const char *id)
{
    for (size_t i = 0; i < tokens->count; i++) {
        if (strcmp(tokens->stored[i].id, id) == 0)
            return &tokens->stored[i];
    }
    return NULL;
}

static void forget_old(struct tokens *tokens, int64_t now_us)
{
    size_t kept = 0;

    for (size_t i = 0; i < tokens->count; i++) {
        if (tokens->stored[i].expires_us + KEPT_US > now_us)
            tokens->stored[kept++] = tokens->stored[i];
    }
    tokens->count = kept;
}

// --- showing one ---

static int refuse(struct kt_error *error)
{
    return kt_error_set(error, KT_ERR_TOKEN_INVALID, NULL, "%s", kt_err_text(KT_ERR_TOKEN_INVALID));
}

// Once the newcomer has a vote there is nothing left to repeat.
static int is_spent(const struct kts_agent *agent, const struct stored *stored)
{
    const struct kt_epoch_rows *rows = agent->view ? &agent->view->rows : NULL;

    for (size_t i = 0; stored->used_by[0] && rows && i < rows->count; i++) {
        const struct kt_epoch_row *row = &rows->rows[i];
        if (strcmp(row->active, stored->used_by) == 0 ||
            kt_epoch_row_has_member(row, stored->used_by))
            return 1;
    }
    return 0;
}

static int look_up(struct kts_agent *agent, const struct kt_join_token *token,
                   struct tokens *tokens, struct stored **stored, struct kt_error *error)
{
    uint8_t sha256[KT_SHA256_LEN];
    int rc = load(agent, tokens, error);

    if (rc == 0)
        rc = hash(token, sha256);
    if (rc)
        return rc;
    *stored = find(tokens, token->id);
    if (!*stored || !kt_equal_secret((*stored)->sha256, sha256, KT_SHA256_LEN) ||
        (*stored)->expires_us <= kt_time_now() || is_spent(agent, *stored))
        return refuse(error);
    return 0;
}

int kts_token_check(struct kts_agent *agent, const struct kt_join_token *token,
                    struct kt_error *error)
{
    static struct tokens tokens;
    struct stored *stored;

    return look_up(agent, token, &tokens, &stored, error);
}

// *stored receives the token's entry in `tokens`.
static int may_use(struct kts_agent *agent, const struct kt_join_token *token, const char *member,
                   const char *key, struct tokens *tokens, struct stored **stored, int *again,
                   struct kt_error *error)
{
    int rc = look_up(agent, token, tokens, stored, error);

    if (rc)
        return rc;
    *again = strcmp((*stored)->used_by, member) == 0 && strcmp((*stored)->used_key, key) == 0;
    return (*stored)->used_by[0] && !*again ? refuse(error) : 0;
}

int kts_token_may_use(struct kts_agent *agent, const struct kt_join_token *token,
                      const char *member, const uint8_t key_sha256[KT_SHA256_LEN], int *again,
                      struct kt_error *error)
{
    static struct tokens tokens;
    char key[KT_SHA256_TEXT];
    struct stored *stored;

    kt_hex_encode(key_sha256, KT_SHA256_LEN, key);
    return may_use(agent, token, member, key, &tokens, &stored, again, error);
}

int kts_token_use(struct kts_agent *agent, const struct kt_join_token *token, const char *member,
                  const uint8_t key_sha256[KT_SHA256_LEN], struct kt_error *error)
{
    static struct tokens tokens;
    char key[KT_SHA256_TEXT];
    struct stored *stored;
    int again = 0, rc;

    kt_hex_encode(key_sha256, KT_SHA256_LEN, key);
    rc = may_use(agent, token, member, key, &tokens, &stored, &again, error);
    if (rc || again)
        return rc;
    snprintf(stored->used_by, sizeof(stored->used_by), "%s", member);
    snprintf(stored->used_key, sizeof(stored->used_key), "%s", key);
    return save(agent, &tokens, error);
}

// --- verbs ---

// Where the newcomer reaches this node.
static int put_address(const struct kts_agent *agent, struct kt_join_token *token,
                       struct kt_error *error)
{
    struct kt_peer own;
    int rc = kts_agent_self(agent, &own, error);

    if (rc)
        return rc;
    memcpy(token->host, own.address, sizeof(own.address));
    token->port = own.agent_port;
    return 0;
}

static int make(struct kts_agent *agent, struct kt_join_token *token, char text[KT_TOKEN_TEXT],
                struct kt_error *error)
{
    uint8_t id[5];
    int rc = put_address(agent, token, error);

    if (rc)
        return rc;
    rc = kt_random(id, sizeof(id));
    if (rc == 0)
        rc = kt_random(token->secret, sizeof(token->secret));
    kt_base32_encode(id, sizeof(id), token->id);
    memcpy(token->ca_sha256, agent->ca_sha256, KT_SHA256_LEN);
    if (rc == 0)
        rc = kt_join_token_format(token, text);
    return rc ? kt_error_set(error, rc, "see whether node.address is a host name or an address",
                             "the token cannot be made")
              : 0;
}

static int add(struct kts_agent *agent, const struct kt_join_token *token, const char *actor,
               int64_t lifetime_s, int64_t *expires_us, struct kt_error *error)
{
    static struct tokens tokens;
    struct stored *stored;
    int rc = load(agent, &tokens, error);

    if (rc)
        return rc;
    forget_old(&tokens, kt_time_now());
    if (tokens.count == TOKENS_MAX)
        return kt_error_set(error, KT_ERR_TOO_LARGE, "revoke those that are not needed",
                            "there are %d join tokens already", TOKENS_MAX);
    stored = &tokens.stored[tokens.count++];
    *stored = (struct stored){.created_us = kt_time_now()};
    stored->expires_us = stored->created_us + lifetime_s * 1000000;
    memcpy(stored->id, token->id, sizeof(stored->id));
    snprintf(stored->created_by, sizeof(stored->created_by), "%s", actor);
    rc = hash(token, stored->sha256);
    *expires_us = stored->expires_us;
    return rc ? rc : save(agent, &tokens, error);
}

static int run_new(struct kts_call *call, const json_t *args, json_t **result,
                   struct kt_error *error)
{
    static const char *const MEMBERS[] = {"expires_s", NULL};
    struct kts_agent *agent = kts_call_agent(call);
    char text[KT_TOKEN_TEXT] = "", expires[KT_TIME_TEXT];
    struct kt_join_token token = {0};
    int64_t lifetime_s = LIFETIME_S, expires_us = 0;
    int rc = kt_json_only(args, MEMBERS, error);

    if (rc == 0)
        rc = kt_json_integer(args, "expires_s", 1, LIFETIME_MAX, 0, &lifetime_s, error);
    if (rc == 0)
        rc = make(agent, &token, text, error);
    if (rc == 0)
        rc = add(agent, &token, kts_call_actor(call), lifetime_s, &expires_us, error);
    if (rc == 0) {
        kt_time_format(expires_us, expires);
        *result = json_pack("{s:s, s:s, s:s}", "token", text, "id", token.id, "expires", expires);
    }
    kt_wipe(text, sizeof(text));
    kt_wipe(&token, sizeof(token));
    return rc;
}

static int run_list(struct kts_call *call, const json_t *args, json_t **result,
                    struct kt_error *error)
{
    static struct tokens tokens;
    int rc = load(kts_call_agent(call), &tokens, error);

    (void)args;
    if (rc == 0)
        *result = to_json(&tokens, 0);
    return rc;
}

static int run_revoke(struct kts_call *call, const json_t *args, json_t **result,
                      struct kt_error *error)
{
    static const char *const MEMBERS[] = {"id", NULL};
    struct kts_agent *agent = kts_call_agent(call);
    static struct tokens tokens;
    struct stored *stored;
    const char *id = NULL;
    int rc = kt_json_only(args, MEMBERS, error);

    if (rc == 0)
        rc = kt_json_string(args, "id", 1, 16, &id, error);
    if (rc == 0)
        rc = load(agent, &tokens, error);
    if (rc)
        return rc;
    stored = find(&tokens, id);
    if (!stored)
        return kt_error_set(error, KT_ERR_NOT_FOUND, "list them with ktadmin token list",
                            "there is no join token '%s' on this node", id);
    *stored = tokens.stored[--tokens.count];
    rc = save(agent, &tokens, error);
    if (rc == 0)
        *result = json_object();
    return rc;
}

#define OPERATORS (KTS_CALLER_LOCAL | KTS_CALLER_OPERATOR)

const struct kts_verb kts_token_verbs[] = {
    {"token.new", OPERATORS, KTS_VERB_CLOSED, run_new, NULL, "token.new"},
    {"token.list", OPERATORS, 0, run_list, NULL, NULL},
    {"token.revoke", OPERATORS, 0, run_revoke, NULL, "token.revoke"},
    {NULL, 0, 0, NULL, NULL, NULL},
};
