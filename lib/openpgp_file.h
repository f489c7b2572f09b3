// SPDX-License-Identifier: Apache-2.0
// kt_openpgp_check_message for files of any size (only headers are read) and for streams.
#ifndef KT_OPENPGP_FILE_H
#define KT_OPENPGP_FILE_H

#include "lib/openpgp.h"

// Checks that the open file (from its beginning; its offset is not used) is exactly one encrypted
// OpenPGP message in form, by the rules of kt_openpgp_check_message, and gives its recipients.
// KT_ERR_NOT_CIPHERTEXT, KT_ERR_TOO_LARGE (too many recipients), KT_ERR_SYSTEM.
int kt_openpgp_check_file(int fd, struct kt_openpgp_message *message,
                          struct kt_error *error) KT_MUST_CHECK;

// The same of bytes that come one after the other. An error shows with the byte that makes it.
struct kt_openpgp_stream;
int kt_openpgp_stream_new(struct kt_openpgp_stream **stream) KT_MUST_CHECK;
void kt_openpgp_stream_free(struct kt_openpgp_stream *stream);
int kt_openpgp_stream_put(struct kt_openpgp_stream *stream, const void *bytes, size_t n,
                          struct kt_error *error) KT_MUST_CHECK;
// 1 when what has come is a whole message.
int kt_openpgp_stream_is_whole(const struct kt_openpgp_stream *stream);
// The recipients; all zero while the session keys have not come.
const struct kt_openpgp_message *kt_openpgp_stream_message(const struct kt_openpgp_stream *stream);
// The input has ended. KT_ERR_NOT_CIPHERTEXT unless it was a whole message.
int kt_openpgp_stream_end(struct kt_openpgp_stream *stream, struct kt_error *error) KT_MUST_CHECK;

#endif
