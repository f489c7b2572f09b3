// SPDX-License-Identifier: Apache-2.0
// The commands, one file each, and exit codes beside those of lib/cli.h.
#ifndef KTB_COMMANDS_H
#define KTB_COMMANDS_H

#include <stdint.h>

#include "lib/cli.h"

enum ktb_exit {
    KTB_EXIT_NOT_ROLLED = 8, // the backup is made; old ones were to go and have stayed
    KTB_EXIT_BUSY = 9,       // another run is at work in the same folder
};

extern const struct kt_cli_command ktb_cmd_backup, ktb_cmd_verify, ktb_cmd_list, ktb_cmd_cat;

#define KTB_KEY_OPTION                                                                             \
    {                                                                                              \
        "key", 0, "FILE",                                                                          \
            "check signatures with the public key in FILE, instead of the confdir's own"           \
    }
#define KTB_DECRYPT_OPTIONS                                                                        \
    {"gnupg-home", 0, "DIR", "keyring with the private key (GnuPG's default)"},                    \
    {                                                                                              \
        "passphrase-file", 0, "FILE", "the private key's passphrase; - is standard input"          \
    }

// 30, 90d, 12h: as the settings have durations, in microseconds. KT_ERR_USAGE.
int ktb_duration(const char *option, const char *text, int64_t *us,
                 struct kt_error *error) KT_MUST_CHECK;

#endif
