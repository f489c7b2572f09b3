// SPDX-License-Identifier: Apache-2.0
// Which audit records are shown: the options that audit show and audit export share.
#ifndef KTA_AUDIT_FILTER_H
#define KTA_AUDIT_FILTER_H

#include "ktadmin/common.h"

struct kta_audit_filter {
    char client[KT_UUID_TEXT];  // "": any
    const char *handle, *event; // NULL: any; a '*' at the end: whatever begins so
    const char *result;         // NULL: any
    char since[KT_TIME_TEXT], until[KT_TIME_TEXT]; // "": no bound; until is not in it any more
};

// Rows of a command's table.
#define KTA_AUDIT_FILTER_OPTIONS                                                                   \
    {"client", 0, "CLIENT", "only those of this client (id or name)"},                             \
        {"handle", 0, "HANDLE", "only those about this handle; HANDLE* for all that begin so"},    \
        {"event", 0, "EVENT", "only these, for example deposit.get or 'deposit.*'"},               \
        {"result", 0, "RESULT", "only allowed, denied or failed ones"},                            \
        {"since", 0, "TIME", "not before: 2026-11-22, 2026-11-22T06:11:43Z, or 24h ago as 24h"},   \
    {                                                                                              \
        "until", 0, "TIME", "only before that time"                                                \
    }

// From the command's options. A client's name is looked up, which needs the server. KT_ERR_USAGE.
int kta_audit_filter_take(const struct kt_cli_run *run, struct kta_audit_filter *filter,
                          struct kt_error *error) KT_MUST_CHECK;
int kta_audit_filter_fits(const struct kta_audit_filter *filter, const json_t *record);
// "2026-11-22", "2026-11-22T06:11", "2026-11-22T06:11:43Z" or a duration, back from now, as records
// have times. KT_ERR_USAGE.
int kta_audit_time(const char *option, const char *text, char out[KT_TIME_TEXT],
                   struct kt_error *error) KT_MUST_CHECK;
// A record as one line of JSON in ASCII (no newline), whatever is in it: no value can begin a line
// or speak to a terminal. The caller frees; NULL: no memory.
char *kta_audit_line(const json_t *record);

#endif
