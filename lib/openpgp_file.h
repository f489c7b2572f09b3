// SPDX-License-Identifier: Apache-2.0
// kt_openpgp_check_message for files of any size: only headers are read.
#ifndef KT_OPENPGP_FILE_H
#define KT_OPENPGP_FILE_H

#include "lib/openpgp.h"

// Checks that the open file (from its beginning; its offset is not used) is exactly one encrypted
// OpenPGP message in form, by the rules of kt_openpgp_check_message, and gives its recipients.
// KT_ERR_NOT_CIPHERTEXT, KT_ERR_SYSTEM.
int kt_openpgp_check_file(int fd, struct kt_openpgp_message *message,
                          struct kt_error *error) KT_MUST_CHECK;

#endif
