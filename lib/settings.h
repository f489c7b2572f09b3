// SPDX-License-Identifier: Apache-2.0
// keytrustee.conf: one table drives the parser, the defaults, reload, `config show`, the sample
// file and the man page.
#ifndef KT_SETTINGS_H
#define KT_SETTINGS_H

#include <stdint.h>
#include <stdio.h>

#include "lib/err.h"

enum kt_setting_type {
    KT_TYPE_STRING,
    KT_TYPE_PATH, // absolute; empty = derived from the base directory
    KT_TYPE_INTEGER,
    KT_TYPE_SIZE,     // bytes: 8KiB, 1MiB, 1GiB, 100B
    KT_TYPE_DURATION, // milliseconds inside; 500ms, 10s, 5min, 1h, 90d
    KT_TYPE_BOOLEAN,  // yes, no
    KT_TYPE_CHOICE,   // one of the words of `choices`
};

// To add a setting: a line here, a row in settings.c, a paragraph in keytrustee.conf(5) and in the
// sample file (a test compares them all).
enum kt_setting {
    KT_SET_HTTPS_ADDRESS, // [https] address
    KT_SET_HTTPS_PORT,
    KT_SET_HTTPS_BACKLOG,
    KT_SET_NODE_ADDRESS,        // [node] address: where the other nodes and clients reach this one
    KT_SET_PASSIVE_MAX_SILENCE, // a passive that is cut off for longer serves no client; 0 = for ever
    KT_SET_AGENT_PORT,          // [agent] port: peers and operators (join, failover)
    KT_SET_DATABASE_DIRECTORY, // [database]
    KT_SET_DATABASE_PORT,
    KT_SET_DATABASE_NAME,
    KT_SET_DATABASE_BIN_DIRECTORY, // where initdb and postgres are; empty = found
    KT_SET_WORKERS,                // [server] workers, 0 = cores - 1, at least 1
    KT_SET_MAX_CONNECTIONS,        // per worker
    KT_SET_NETWORK_USER,           // account of the workers when started by root
    KT_SET_LIMIT_HEADER,           // [limits]
    KT_SET_LIMIT_BODY,
    KT_SET_LIMIT_BODIES,  // all bodies that a worker is taking in or working on
    KT_SET_LIMIT_ANSWERS, // all answers of a worker that are not taken at once
    KT_SET_LIMIT_RATE,    // least bytes a second of a body or an answer
    KT_SET_LIMIT_LIST,
    KT_SET_LIMIT_ADDRESS_CONNECTIONS, // of one address, in one worker
    KT_SET_LIMIT_ADDRESS_HANDSHAKES,  // of one address, a second
    KT_SET_LIMIT_FAILURES,            // a minute
    KT_SET_LIMIT_CLIENT_REQUESTS,     // under way in one worker
    KT_SET_LIMIT_ORG_REQUESTS,
    KT_SET_TIMEOUT_HANDSHAKE, // [timeouts]
    KT_SET_TIMEOUT_HEADER,
    KT_SET_TIMEOUT_BODY,
    KT_SET_TIMEOUT_ANSWER, // until the caller has taken it
    KT_SET_TIMEOUT_IDLE,
    KT_SET_TIMEOUT_READ,                // database answer of a read
    KT_SET_TIMEOUT_WRITE,               // durable answer of a change
    KT_SET_TIMEOUT_STOP,                // in-flight requests at a stop
    KT_SET_GROUP_MAX,                   // [writer] changes in one group
    KT_SET_CLIENT_CERTIFICATE_LIFETIME, // [certificates]
    KT_SET_NODE_CERTIFICATE_LIFETIME,
    KT_SET_AUTH_CODE_LIFETIME, // default of `authcode new --expires`
    KT_SET_AUDIT_FILE_SIZE,    // [audit] a new file is begun beyond it
    KT_SET_AUDIT_SYSLOG,       // socket that gets copies of the records; empty = none
    KT_SET_LOG_LEVEL,          // [log]
    KT_SET_LOG_FILE,           // empty = standard error (the journal under systemd)
    KT_SET_COUNT
};

struct kt_setting_info {
    enum kt_setting id;
    const char *section;
    const char *name;
    enum kt_setting_type type;
    const char *default_text;
    int64_t min, max;    // for numbers, in the inner unit
    const char *choices; // "error warning notice info debug"
    int reloadable;      // 0: needs a restart; reload says so and keeps the old value
    const char *text;    // one sentence for the sample file and `config show`
};

struct kt_settings;

const struct kt_setting_info *kt_setting_info(enum kt_setting id);
// Defaults only.
int kt_settings_new(struct kt_settings **settings) KT_MUST_CHECK;
// Defaults, then the file. Missing file: KT_ERR_NOT_FOUND. Unknown sections and keys, duplicate
// keys, wrong units, values out of range, a file over 64 KiB, or one that others may write:
// KT_ERR_SETTINGS with file, line and the nearest known name in `error`.
int kt_settings_load(const char *path, struct kt_settings **settings,
                     struct kt_error *error) KT_MUST_CHECK;
void kt_settings_free(struct kt_settings *settings);
// Sets one value as if it stood in the file (options of init use it).
int kt_settings_set(struct kt_settings *settings, enum kt_setting id, const char *text,
                    struct kt_error *error) KT_MUST_CHECK;

// The value in its inner unit (booleans 0 or 1, choices the index of the word), or as text, which
// stays owned by `settings`.
int64_t kt_settings_number(const struct kt_settings *settings, enum kt_setting id);
const char *kt_settings_text(const struct kt_settings *settings, enum kt_setting id);
// 1 when the value came from the file or kt_settings_set.
int kt_settings_is_set(const struct kt_settings *settings, enum kt_setting id);

// Writes the sample file: every setting, commented out, except those that are set.
int kt_settings_write_sample(const struct kt_settings *settings, FILE *out) KT_MUST_CHECK;

#endif
