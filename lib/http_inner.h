// SPDX-License-Identifier: Apache-2.0
// What the parts of the HTTP client share.
#ifndef KT_HTTP_INNER_H
#define KT_HTTP_INNER_H

#include "lib/http_client.h"

struct kt_http_receiver {
    struct kt_http_answer *answer;
    int code; // why receiving stopped
};

// Callbacks of libcurl's form; `arg` is a struct kt_http_receiver.
size_t kt_http_on_body(char *bytes, size_t size, size_t n, void *arg);
size_t kt_http_on_header(char *line, size_t size, size_t n, void *arg);

#endif
