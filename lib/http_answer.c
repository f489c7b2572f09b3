// SPDX-License-Identifier: Apache-2.0
// Answers of HTTP servers as they arrive: bounded bodies, and the few headers that are kept.
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/http_inner.h"

#define HEADER_VALUE_MAX 1024

// The headers an answer keeps, and all that begin with KT-; the rest is dropped.
static const char *const kept_headers[] = {"ETag", "Content-Type", "Content-Length", "Retry-After"};

size_t kt_http_on_body(char *bytes, size_t size, size_t n, void *arg)
{
    struct kt_http_receiver *receiver = arg;

    receiver->code = kt_buf_put(&receiver->answer->body, bytes, size * n);
    return receiver->code == 0 ? size * n : 0;
}

static int is_kept(const char *name, size_t n)
{
    if (n > 3 && strncasecmp(name, "KT-", 3) == 0)
        return 1;
    for (size_t i = 0; i < sizeof kept_headers / sizeof kept_headers[0]; i++)
        if (strlen(kept_headers[i]) == n && strncasecmp(kept_headers[i], name, n) == 0)
            return 1;
    return 0;
}

static void forget_headers(struct kt_http_answer *answer)
{
    for (size_t i = 0; i < answer->header_count; i++) {
        free(answer->header_names[i]);
        free(answer->header_values[i]);
    }
    answer->header_count = 0;
}

size_t kt_http_on_header(char *line, size_t size, size_t n, void *arg)
{
    struct kt_http_receiver *receiver = arg;
    struct kt_http_answer *answer = receiver->answer;
    size_t len = size * n;
    const char *colon = memchr(line, ':', len);

    if (len >= 5 && strncmp(line, "HTTP/", 5) == 0) // another status line: 100 Continue came first
        forget_headers(answer);
    if (colon == NULL || !is_kept(line, (size_t)(colon - line)))
        return len;
    const char *value = colon + 1, *end = line + len;
    while (value < end && (*value == ' ' || *value == '\t'))
        value++;
    while (end > value && (end[-1] == '\r' || end[-1] == '\n' || end[-1] == ' ' || end[-1] == '\t'))
        end--;
    if (end - value > HEADER_VALUE_MAX || answer->header_count == KT_HTTP_ANSWER_HEADERS) {
        receiver->code = KT_ERR_TOO_LARGE;
        return 0;
    }
    char *name = strndup(line, (size_t)(colon - line));
    char *text = strndup(value, (size_t)(end - value));
    if (name == NULL || text == NULL) {
        free(name);
        free(text);
        receiver->code = KT_ERR_NO_MEMORY;
        return 0;
    }
    answer->header_names[answer->header_count] = name;
    answer->header_values[answer->header_count++] = text;
    return len;
}

const char *kt_http_answer_header(const struct kt_http_answer *answer, const char *name)
{
    for (size_t i = 0; i < answer->header_count; i++)
        if (strcasecmp(answer->header_names[i], name) == 0)
            return answer->header_values[i];
    return NULL;
}

void kt_http_answer_free(struct kt_http_answer *answer)
{
    if (answer == NULL)
        return;
    forget_headers(answer);
    kt_buf_free(&answer->body);
}
