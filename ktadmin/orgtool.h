// SPDX-License-Identifier: Apache-2.0
// Key Trustee's keytrustee-orgtool: ktadmin under that name.
#ifndef KTA_ORGTOOL_H
#define KTA_ORGTOOL_H

#include "lib/cli.h"

#define KTA_ORGTOOL_NAME "keytrustee-orgtool"
extern const struct kt_cli_program kta_orgtool;

#endif
