// SPDX-License-Identifier: Apache-2.0
// HTTPS requests through libcurl: one connection kept to one server, verified by our own CA.
#include "lib/http_client.h"

#include <curl/curl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "lib/encode.h"
#include "lib/http_inner.h"
#include "lib/pki.h"
#include "lib/secret.h"
#include "lib/tls.h"
#include "lib/version.h"

struct kt_http_client {
    CURL *curl;
    struct curl_slist *connect_to;
    char server[320]; // "host:port" for messages
    char address[64]; // "ip:port" of the last connection
    uint16_t port;
    char *name; // in the URL, and thus the one verified
    char *ca_file;
    char *cert_file;
    char *key_file;
    int pinned;
    uint8_t ca_sha256[KT_SHA256_LEN];
    size_t peer_count; // 0: the server's own certificate is not compared
    uint8_t peer_sha256[KT_TLS_PEERS_MAX][KT_SHA256_LEN];
    int sent;
    char why[CURL_ERROR_SIZE];
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int global_ready;

static void init_curl(void)
{
    global_ready = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
}

// --- making a client ---

static char *copy(const char *text)
{
    return text ? strdup(text) : NULL;
}

// The name in the URL, and thus the one verified, is the cluster's own; the connection goes to the
// server all the same.
static int set_server(struct kt_http_client *client, const char *server, struct kt_error *error)
{
    char host[256], rule[640];

    if (kt_http_server_parse(server, host, sizeof host, &client->port) != 0)
        return kt_error_set(error, KT_ERR_INVALID, "write HOST, HOST:PORT or [IPV6]:PORT",
                            "\"%.200s\" is not a server", server);
    int v6 = strchr(host, ':') != NULL;
    snprintf(client->server, sizeof client->server, v6 ? "[%s]:%u" : "%s:%u", host,
             (unsigned)client->port);
    snprintf(rule, sizeof rule, "%s:%u:%s", client->name, (unsigned)client->port, client->server);
    client->connect_to = curl_slist_append(NULL, rule);
    return client->connect_to != NULL ? 0 : KT_ERR_NO_MEMORY;
}

int kt_http_client_new(const char *server, const struct kt_http_tls *tls,
                       struct kt_http_client **client, struct kt_error *error)
{
    struct kt_http_client *made = NULL;
    int rc = 0;

    pthread_once(&once, init_curl);
    if (!global_ready)
        return kt_error_set(error, KT_ERR_INTERNAL, NULL, "libcurl does not start");
    if (tls->ca_file == NULL && tls->ca_sha256 == NULL)
        return kt_error_set(error, KT_ERR_INVALID, NULL, "neither a CA file nor a pin was given");
    if (tls->peer_sha256 != NULL && (tls->peer_count == 0 || tls->peer_count > KT_TLS_PEERS_MAX))
        return kt_error_set(error, KT_ERR_INVALID, NULL,
                            "no certificate was given that the server may have, or too many");
    made = calloc(1, sizeof *made);
    if (made == NULL)
        return KT_ERR_NO_MEMORY;
    made->name = strdup(tls->name ? tls->name : KT_PKI_SERVICE_NAME);
    rc = made->name ? set_server(made, server, error) : KT_ERR_NO_MEMORY;
    if (rc != 0)
        goto out;
    made->ca_file = copy(tls->ca_file);
    made->cert_file = copy(tls->cert_file);
    made->key_file = copy(tls->key_file);
    made->curl = curl_easy_init();
    if (made->curl == NULL || (tls->ca_file && !made->ca_file) ||
        (tls->cert_file && !made->cert_file) || (tls->key_file && !made->key_file)) {
        rc = KT_ERR_NO_MEMORY;
        goto out;
    }
    if (tls->ca_sha256 != NULL) {
        memcpy(made->ca_sha256, tls->ca_sha256, KT_SHA256_LEN);
        made->pinned = 1;
    }
    if (tls->peer_sha256 != NULL) {
        memcpy(made->peer_sha256, tls->peer_sha256, tls->peer_count * KT_SHA256_LEN);
        made->peer_count = tls->peer_count;
    }
    *client = made;
    made = NULL;
out:
    kt_http_client_free(made);
    return rc;
}

void kt_http_client_free(struct kt_http_client *client)
{
    if (client == NULL)
        return;
    if (client->curl != NULL)
        curl_easy_cleanup(client->curl);
    curl_slist_free_all(client->connect_to);
    free(client->name);
    free(client->ca_file);
    free(client->cert_file);
    free(client->key_file);
    free(client);
}

// --- one request ---

static CURLcode on_ssl_ctx(CURL *curl, void *ssl_ctx, void *arg)
{
    struct kt_http_client *client = arg;

    (void)curl;
    if (client->pinned && kt_tls_pin_ca(ssl_ctx, client->ca_sha256) != 0)
        return CURLE_SSL_CERTPROBLEM;
    if (client->peer_count > 0 &&
        kt_tls_pin_peer(ssl_ctx, client->peer_sha256, client->peer_count) != 0)
        return CURLE_SSL_CERTPROBLEM;
    return CURLE_OK;
}

// What is watched during one request.
struct watch {
    int dead_after_ms, silence_ms;
    int64_t begun, since; // monotonic: the request, and when the last byte moved
    curl_off_t bytes;
    int silent; // it was why the transfer ended
};

// libcurl tries a kept connection that broke again on a new one. One that broke because the other
// host is gone has cost a connect timeout already: there is no second one.
static curl_socket_t on_open(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    const struct watch *watch = arg;
    unsigned int ms = (unsigned int)watch->dead_after_ms;
    int fd = -1;

    (void)purpose;
    if (ms > 0 && kt_monotonic_now() - watch->begun >= (int64_t)ms * 900)
        return CURL_SOCKET_BAD;
    fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    if (fd < 0)
        return CURL_SOCKET_BAD;
    if (ms > 0) // best effort: where it cannot be set the system's own patience holds
        (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof ms);
    return fd;
}

// Notices silence: libcurl calls it at least once a second.
static int on_progress(void *arg, curl_off_t down_total, curl_off_t down, curl_off_t up_total,
                       curl_off_t up)
{
    struct watch *watch = arg;
    int64_t now = kt_monotonic_now();

    (void)down_total, (void)up_total;
    if (down + up != watch->bytes) {
        watch->bytes = down + up;
        watch->since = now;
    }
    watch->silent = now - watch->since >= (int64_t)watch->silence_ms * 1000;
    return watch->silent;
}

static CURLcode set_watch(struct kt_http_client *client, const struct kt_http_request *request,
                          struct watch *watch)
{
    CURL *curl = client->curl;
    CURLcode bad = CURLE_OK;

    watch->dead_after_ms = request->dead_after_ms > 0 ? request->dead_after_ms : 0;
    watch->silence_ms = request->silence_ms;
    watch->begun = watch->since = kt_monotonic_now();
    bad |= curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, on_open);
    bad |= curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, watch);
    if (request->silence_ms > 0) {
        bad |= curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
        bad |= curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
        bad |= curl_easy_setopt(curl, CURLOPT_XFERINFODATA, watch);
    }
    return bad;
}

// Whom to trust, and who we are. `bad` collects what libcurl refused.
static CURLcode set_tls(struct kt_http_client *client)
{
    CURL *curl = client->curl;
    CURLcode bad = CURLE_OK;

    bad |= curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    bad |= curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1L);
    bad |= curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 2L);
    bad |= curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
    bad |= curl_easy_setopt(curl, CURLOPT_CAINFO, client->ca_file);
    if (client->pinned || client->peer_count > 0) {
        bad |= curl_easy_setopt(curl, CURLOPT_SSL_CTX_FUNCTION, on_ssl_ctx);
        bad |= curl_easy_setopt(curl, CURLOPT_SSL_CTX_DATA, client);
    }
    if (client->peer_count > 0) // a resumed session shows no certificate
        bad |= curl_easy_setopt(curl, CURLOPT_SSL_SESSIONID_CACHE, 0L);
    if (client->cert_file != NULL)
        bad |= curl_easy_setopt(curl, CURLOPT_SSLCERT, client->cert_file);
    if (client->key_file != NULL)
        bad |= curl_easy_setopt(curl, CURLOPT_SSLKEY, client->key_file);
    return bad;
}

static CURLcode set_transport(struct kt_http_client *client, const struct kt_http_request *request,
                              const char *url, struct curl_slist *headers,
                              struct kt_http_receiver *receiver)
{
    CURL *curl = client->curl;
    CURLcode bad = CURLE_OK;

    bad |= curl_easy_setopt(curl, CURLOPT_URL, url);
    bad |= curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L); // a handle may be ".."
    bad |= curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https");
    bad |= curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    bad |= curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    bad |= curl_easy_setopt(curl, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    bad |= curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    bad |= curl_easy_setopt(curl, CURLOPT_CONNECT_TO, client->connect_to);
    bad |= curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    bad |= curl_easy_setopt(curl, CURLOPT_TCP_NODELAY, 1L);
    bad |= curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)request->timeout_ms);
    bad |= curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)request->connect_timeout_ms);
    bad |= curl_easy_setopt(curl, CURLOPT_USERAGENT, "keytrustee/" KT_VERSION);
    bad |= curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, client->why);
    bad |= curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    bad |= curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, kt_http_on_header);
    bad |= curl_easy_setopt(curl, CURLOPT_HEADERDATA, receiver);
    bad |= curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, kt_http_on_body);
    bad |= curl_easy_setopt(curl, CURLOPT_WRITEDATA, receiver);
    if (strcmp(request->method, "HEAD") == 0) {
        bad |= curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    } else if (request->has_body) {
        bad |= curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_len);
        bad |= curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request->body_len ? request->body : "");
        bad |= curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->method);
    } else {
        bad |= curl_easy_setopt(curl, CURLOPT_HTTPGET, 1L);
        bad |= curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->method);
    }
    return bad;
}

static int add_header(struct curl_slist **list, const char *text)
{
    struct curl_slist *longer = curl_slist_append(*list, text);

    if (longer == NULL)
        return KT_ERR_NO_MEMORY;
    *list = longer;
    return 0;
}

// One of them may be a token.
static void free_headers(struct curl_slist *list)
{
    for (struct curl_slist *at = list; at; at = at->next)
        kt_wipe(at->data, strlen(at->data));
    curl_slist_free_all(list);
}

static int make_headers(const struct kt_http_request *request, struct curl_slist **list)
{
    int has_type = 0;
    int rc = add_header(list, "Expect:"); // our bodies are small: no round trip for 100 Continue

    for (size_t i = 0; rc == 0 && request->headers && request->headers[i]; i++) {
        has_type |= strncasecmp(request->headers[i], "Content-Type:", 13) == 0;
        rc = add_header(list, request->headers[i]);
    }
    if (rc == 0 && request->has_body && !has_type) // libcurl would claim a form
        rc = add_header(list, "Content-Type:");
    return rc;
}

// The server's certificate is the CA's for that name, and is not the one that is listed.
static int is_not_listed(const struct kt_http_client *client)
{
    long verdict = 0;

    return client->peer_count > 0 &&
           curl_easy_getinfo(client->curl, CURLINFO_SSL_VERIFYRESULT, &verdict) == CURLE_OK &&
           verdict == KT_TLS_NOT_LISTED;
}

static int explain(const struct kt_http_client *client, CURLcode result,
                   const struct kt_http_receiver *receiver, const struct kt_http_request *request,
                   struct kt_error *error)
{
    const char *why = client->why[0] ? client->why : curl_easy_strerror(result);

    if (receiver->code == KT_ERR_TOO_LARGE)
        return kt_error_set(error, KT_ERR_TOO_LARGE, NULL,
                            "the answer of %s is larger than %zu bytes", client->server,
                            request->max_answer);
    if (receiver->code != 0)
        return receiver->code;
    switch ((int)result) {
    case CURLE_OPERATION_TIMEDOUT:
        return kt_error_set(error, KT_ERR_TIMEOUT, NULL, "%s does not answer: %s", client->server,
                            why);
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_ISSUER_ERROR:
        if (is_not_listed(client))
            return kt_error_set(error, KT_ERR_CRYPTO,
                                "see ktadmin status; when that node got another certificate run "
                                "ktadmin rotate on it; when it did not, somebody answers in its "
                                "place who has the CA's key",
                                "the certificate of %s is not the one that the table of nodes has",
                                client->server);
        return kt_error_set(error, KT_ERR_CRYPTO,
                            "this is not a node of the cluster this client belongs to, or "
                            "somebody is between",
                            "certificate of %s refused: %s", client->server, why);
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CIPHER:
    case CURLE_NOT_BUILT_IN:
    case CURLE_UNKNOWN_OPTION:
        return kt_error_set(error, KT_ERR_CRYPTO, NULL, "cannot use TLS with %s: %s",
                            client->server, why);
    case CURLE_OUT_OF_MEMORY:
        return kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_UNSUPPORTED_PROTOCOL:
        return kt_error_set(error, KT_ERR_PROTOCOL, NULL, "%s does not speak HTTPS as expected: %s",
                            client->server, why);
    default:
        return kt_error_set(error, KT_ERR_NETWORK, NULL, "%s: %s", client->server, why);
    }
}

static void note_address(struct kt_http_client *client)
{
    const char *ip = NULL;
    long port = 0;

    if (curl_easy_getinfo(client->curl, CURLINFO_PRIMARY_IP, &ip) != CURLE_OK || ip == NULL ||
        ip[0] == '\0' || curl_easy_getinfo(client->curl, CURLINFO_PRIMARY_PORT, &port) != CURLE_OK)
        return;
    snprintf(client->address, sizeof client->address,
             strchr(ip, ':') != NULL ? "[%.50s]:%ld" : "%.50s:%ld", ip, port);
}

int kt_http_client_run(struct kt_http_client *client, const struct kt_http_request *request,
                       struct kt_http_answer *answer, struct kt_error *error)
{
    struct kt_http_receiver receiver = {answer, 0};
    struct curl_slist *headers = NULL;
    struct watch watch = {0};
    char url[4096];
    long status = 0, sent = 0;
    CURLcode result = CURLE_OK;
    int rc = 0;

    memset(answer, 0, sizeof *answer);
    answer->body.max = request->max_answer;
    client->sent = 0;
    client->why[0] = '\0';
    int n = snprintf(url, sizeof url, "https://%s:%u%s", client->name, (unsigned)client->port,
                     request->path);
    if (n < 0 || (size_t)n >= sizeof url)
        return kt_error_set(error, KT_ERR_TOO_LARGE, NULL, "the path of the request is too long");
    rc = make_headers(request, &headers);
    if (rc != 0)
        goto out;
    curl_easy_reset(client->curl); // options only: the connection stays
    if (set_tls(client) != CURLE_OK || set_watch(client, request, &watch) != CURLE_OK ||
        set_transport(client, request, url, headers, &receiver) != CURLE_OK) {
        rc = kt_error_set(error, KT_ERR_INTERNAL, NULL, "this libcurl lacks an option we need");
        goto out;
    }
    result = curl_easy_perform(client->curl);
    curl_easy_getinfo(client->curl, CURLINFO_REQUEST_SIZE, &sent);
    client->sent = sent > 0;
    note_address(client);
    if (watch.silent) {
        rc = kt_error_set(error, KT_ERR_TIMEOUT, NULL, "%s says nothing for %d ms", client->server,
                          request->silence_ms);
        goto out;
    }
    if (result != CURLE_OK) {
        rc = explain(client, result, &receiver, request, error);
        goto out;
    }
    curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &status);
    answer->status = (int)status;
out:
    // The handle must not keep pointers into this frame.
    curl_easy_reset(client->curl);
    free_headers(headers);
    if (rc != 0)
        kt_http_answer_free(answer);
    return rc;
}

int kt_http_client_sent(const struct kt_http_client *client)
{
    return client->sent;
}

const char *kt_http_client_server(const struct kt_http_client *client)
{
    return client->server;
}

const char *kt_http_client_address(const struct kt_http_client *client)
{
    return client->address;
}
