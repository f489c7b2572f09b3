// SPDX-License-Identifier: Apache-2.0
// Asking the agent of any node: its unix socket, or HTTPS.
#include "lib/node_call.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/agent_call.h"
#include "lib/buf.h"
#include "lib/http_client.h"
#include "lib/pki.h"
#include "lib/secret.h"

#define TEXT_MAX 352
#define PATH     "/v1/cluster/"

struct kt_node {
    char *socket;                  // of this machine's agent, or NULL
    struct kt_http_client *client; // of another's, or NULL
    char *authorization;           // the whole header, a secret, or NULL
    char text[TEXT_MAX];
    size_t max_answer; // 0: KT_AGENT_MESSAGE_MAX
};

// --- making one ---

int kt_node_local(const char *agent_socket, struct kt_node **node)
{
    struct kt_node *made = calloc(1, sizeof(*made));

    if (made)
        made->socket = strdup(agent_socket);
    if (!made || !made->socket) {
        kt_node_free(made);
        return KT_ERR_NO_MEMORY;
    }
    snprintf(made->text, sizeof(made->text), "this node");
    *node = made;
    return 0;
}

int kt_node_remote(const char *host, uint16_t port, const struct kt_node_credentials *credentials,
                   struct kt_node **node, struct kt_error *error)
{
    const struct kt_http_tls tls = {
        .ca_file = credentials->ca_file,
        .ca_sha256 = credentials->ca_sha256,
        .cert_file = credentials->cert_file,
        .key_file = credentials->key_file,
        .name = credentials->member && credentials->member[0] ? credentials->member
                                                              : KT_PKI_NODE_SERVICE_NAME,
        .peer_sha256 = credentials->peer_sha256,
        .peer_count = credentials->peer_count,
    };
    char server[KT_HOST_MAX + 16];
    struct kt_node *made = calloc(1, sizeof(*made));
    int rc = made ? 0 : KT_ERR_NO_MEMORY;

    if (strlen(host) > KT_HOST_MAX)
        rc = kt_error_set(error, KT_ERR_INVALID, NULL, "the address of a node is too long");
    if (rc == 0 && credentials->token &&
        asprintf(&made->authorization, "Authorization: Keytrustee %s", credentials->token) < 0) {
        made->authorization = NULL;
        rc = KT_ERR_NO_MEMORY;
    }
    if (rc == 0) {
        snprintf(server, sizeof(server), strchr(host, ':') ? "[%s]:%u" : "%s:%u", host,
                 (unsigned)port);
        snprintf(made->text, sizeof(made->text), "%s", server);
        rc = kt_http_client_new(server, &tls, &made->client, error);
    }
    if (rc == KT_ERR_NO_MEMORY)
        kt_error_set(error, rc, NULL, "out of memory");
    if (rc)
        kt_node_free(made);
    else
        *node = made;
    return rc;
}

void kt_node_free(struct kt_node *node)
{
    if (!node)
        return;
    if (node->authorization)
        kt_wipe(node->authorization, strlen(node->authorization));
    free(node->authorization);
    kt_http_client_free(node->client);
    free(node->socket);
    free(node);
}

const char *kt_node_text(const struct kt_node *node)
{
    return node->text;
}

void kt_node_set_text(struct kt_node *node, const char *text)
{
    snprintf(node->text, sizeof(node->text), "%s", text);
}

void kt_node_set_max_answer(struct kt_node *node, size_t bytes)
{
    node->max_answer = bytes;
}

// --- one question over HTTPS ---

// The error object of an answer, as the agent's own error.
static int take_error(const struct kt_node *node, int status, const json_t *answer,
                      struct kt_error *error)
{
    const json_t *e = json_object_get(answer, "error");
    const char *message = json_string_value(json_object_get(e, "message"));
    const char *hint = json_string_value(json_object_get(e, "hint"));
    const char *code = json_string_value(json_object_get(e, "code"));
    const struct kt_err_info *info = kt_err_by_name(code);

    if (!code)
        return kt_error_set(error, KT_ERR_PROTOCOL, NULL,
                            "%s answered %d without saying why: is it a node's agent", node->text,
                            status);
    if (!info || !info->code)
        info = kt_err_info(KT_ERR_INTERNAL); // of a newer version
    return kt_error_set(error, info->code, hint, "%s", message ? message : info->text);
}

static int read_answer(const struct kt_node *node, const struct kt_http_answer *answer,
                       json_t **result, struct kt_error *error)
{
    // kt_buf_ptr may be NULL when there is nothing.
    json_t *value = kt_buf_left(&answer->body)
                        ? json_loadb((const char *)kt_buf_ptr(&answer->body),
                                     kt_buf_left(&answer->body), JSON_REJECT_DUPLICATES, NULL)
                        : NULL;
    int rc = 0;

    if (answer->status != 200)
        rc = take_error(node, answer->status, value, error);
    else if (!value)
        rc = kt_error_set(error, KT_ERR_PROTOCOL, NULL, "the answer of %s is not JSON", node->text);
    if (rc)
        json_decref(value);
    else
        *result = value;
    return rc;
}

static int ask(struct kt_node *node, const char *path, const char *body, int connect_ms,
               int timeout_ms, json_t **result, struct kt_error *error)
{
    const char *const headers[] = {"Content-Type: application/json", node->authorization, NULL};
    const struct kt_http_request request = {
        .method = "POST",
        .path = path,
        .headers = headers,
        .body = body,
        .body_len = strlen(body),
        .has_body = 1,
        .timeout_ms = timeout_ms,
        .connect_timeout_ms = connect_ms,
        .max_answer = node->max_answer ? node->max_answer : KT_AGENT_MESSAGE_MAX,
    };
    struct kt_http_answer answer = {0};
    struct kt_error why = {0};
    int rc = kt_http_client_run(node->client, &request, &answer, &why);

    if (rc && rc != KT_ERR_CRYPTO && kt_http_client_sent(node->client))
        rc = kt_error_set(error, KT_ERR_IN_DOUBT, "look at the node's state, then run it again",
                          "%s was asked and did not answer: %s", node->text,
                          why.message[0] ? why.message : kt_err_text(rc));
    else if (rc)
        kt_error_set(error, rc, why.hint[0] ? why.hint : NULL, "%s",
                     why.message[0] ? why.message : kt_err_text(rc));
    else
        rc = read_answer(node, &answer, result, error);
    kt_http_answer_free(&answer); // wipes
    return rc;
}

int kt_node_call(struct kt_node *node, const char *verb, json_t *args, int connect_ms,
                 int timeout_ms, json_t **result, struct kt_error *error)
{
    char path[128], *body;
    int n, rc;

    if (node->socket)
        return kt_agent_call(node->socket, verb, args, timeout_ms, result, error);
    n = snprintf(path, sizeof(path), PATH "%s", verb);
    body = args ? json_dumps(args, JSON_COMPACT) : strdup("{}");
    json_decref(args);
    if (n < 0 || (size_t)n >= sizeof(path))
        rc = kt_error_set(error, KT_ERR_INVALID, NULL, "the verb's name is too long");
    else if (!body)
        rc = kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    else
        rc = ask(node, path, body, connect_ms, timeout_ms, result, error);
    if (body)
        kt_wipe(body, strlen(body));
    free(body);
    return rc;
}

// --- several at the same time ---

struct question {
    struct kt_node *node;
    const char *verb;
    json_t *args;
    int connect_ms, timeout_ms;
    json_t **result;
    struct kt_error *error;
    pthread_t thread;
    int is_running;
};

static void *run_question(void *arg)
{
    struct question *q = arg;
    int rc =
        kt_node_call(q->node, q->verb, q->args, q->connect_ms, q->timeout_ms, q->result, q->error);

    if (rc && !q->error->code)
        kt_error_set(q->error, rc, NULL, "%s", kt_err_text(rc));
    return NULL;
}

void kt_node_call_all(struct kt_node *const *nodes, size_t count, const char *verb,
                      const json_t *args, int connect_ms, int timeout_ms, json_t **results,
                      struct kt_error *errors)
{
    struct question *questions = calloc(count ? count : 1, sizeof(*questions));

    for (size_t i = 0; i < count; i++) {
        results[i] = NULL;
        errors[i] = (struct kt_error){0};
        if (!questions)
            kt_error_set(&errors[i], KT_ERR_NO_MEMORY, NULL, "out of memory");
    }
    // Each has arguments of its own: jansson's counting need not be safe between threads.
    for (size_t i = 0; questions && i < count; i++)
        questions[i] = (struct question){.node = nodes[i],
                                         .verb = verb,
                                         .args = args ? json_deep_copy(args) : NULL,
                                         .connect_ms = connect_ms,
                                         .timeout_ms = timeout_ms,
                                         .result = &results[i],
                                         .error = &errors[i]};
    for (size_t i = 0; questions && i < count; i++) {
        struct question *q = &questions[i];
        q->is_running = pthread_create(&q->thread, NULL, run_question, q) == 0;
    }
    for (size_t i = 0; questions && i < count; i++) {
        if (questions[i].is_running)
            pthread_join(questions[i].thread, NULL);
        else
            run_question(&questions[i]);
    }
    free(questions);
}
