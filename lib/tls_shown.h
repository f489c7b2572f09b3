// SPDX-License-Identifier: Apache-2.0
// Which certificate a port shows to who connects. Nothing is verified: it is compared with one's
// own file.
#ifndef KT_TLS_SHOWN_H
#define KT_TLS_SHOWN_H

#include <stdint.h>

#include "lib/digest.h"
#include "lib/err.h"

// SHA-256 of the certificate. `is_database`: asks PostgreSQL for TLS first. `timeout_ms` is for
// each step. KT_ERR_NETWORK with what failed.
int kt_tls_shown(const char *host, uint16_t port, int is_database, int timeout_ms,
                 uint8_t sha256[KT_SHA256_LEN], struct kt_error *error) KT_MUST_CHECK;

#endif
