// SPDX-License-Identifier: Apache-2.0
// Choosing audit records, and writing them so that what strangers put in stays data.
#include "ktadmin/audit_filter.h"

#include <stdlib.h>
#include <string.h>

#include "lib/json.h"

static int find_client(const struct kt_cli_run *run, const char *text, char id[KT_UUID_TEXT],
                       struct kt_error *error)
{
    struct kta_node node;
    int rc = kta_open(run, KTA_AGENT, &node, error);

    if (rc == 0)
        rc = kta_client_id(&node, text, id, error);
    kta_close(&node);
    return rc;
}

int kta_audit_time(const char *option, const char *text, char out[KT_TIME_TEXT],
                   struct kt_error *error)
{
    char form[] = "0000-00-00T00:00:00.000000Z";
    size_t n = strlen(text);
    int64_t us, ago = 0;

    if (n > 0 && text[n - 1] == 'Z' && n > 10)
        n--;
    if (n == 10 || n == 16 || n == 19 || n == 26) {
        memcpy(form, text, n);
        if (n > 10 && form[10] == ' ')
            form[10] = 'T';
        if (kt_time_parse(form, &us) == 0) {
            memcpy(out, form, sizeof(form));
            return 0;
        }
    }
    if (kta_duration(option, text, &ago, NULL) == 0) {
        kt_time_format(kt_time_now() - ago * 1000000, out);
        return 0;
    }
    return kt_error_set(error, KT_ERR_USAGE,
                        "write it as 2026-11-22, 2026-11-22T06:11:43Z (UTC), or 24h for a day ago",
                        "--%s: '%.40s' is not a time", option, text);
}

int kta_audit_filter_take(const struct kt_cli_run *run, struct kta_audit_filter *filter,
                          struct kt_error *error)
{
    const char *client = kt_cli_value(run, "client"), *since = kt_cli_value(run, "since"),
               *until = kt_cli_value(run, "until");
    int rc = 0;

    memset(filter, 0, sizeof(*filter));
    filter->handle = kt_cli_value(run, "handle");
    filter->event = kt_cli_value(run, "event");
    filter->result = kt_cli_value(run, "result");
    if (filter->result && strcmp(filter->result, "allowed") != 0 &&
        strcmp(filter->result, "denied") != 0 && strcmp(filter->result, "failed") != 0)
        rc = kt_error_set(error, KT_ERR_USAGE, NULL,
                          "--result: '%.40s' is none of allowed, denied, failed", filter->result);
    if (rc == 0 && since)
        rc = kta_audit_time("since", since, filter->since, error);
    if (rc == 0 && until)
        rc = kta_audit_time("until", until, filter->until, error);
    if (rc == 0 && client)
        rc = find_client(run, client, filter->client, error);
    return rc;
}

// `wanted` may end in '*'.
static int has_value(const json_t *record, const char *member, const char *wanted)
{
    const char *value = json_string_value(json_object_get(record, member));
    size_t n = strlen(wanted);

    if (!value)
        return 0;
    if (n > 0 && wanted[n - 1] == '*')
        return strncmp(value, wanted, n - 1) == 0;
    return strcmp(value, wanted) == 0;
}

int kta_audit_filter_fits(const struct kta_audit_filter *filter, const json_t *record)
{
    const char *time = json_string_value(json_object_get(record, "time"));

    if (filter->since[0] && (!time || strcmp(time, filter->since) < 0))
        return 0;
    if (filter->until[0] && (!time || strcmp(time, filter->until) >= 0))
        return 0;
    return (!filter->client[0] || has_value(record, "client", filter->client)) &&
           (!filter->handle || has_value(record, "handle", filter->handle)) &&
           (!filter->event || has_value(record, "event", filter->event)) &&
           (!filter->result || has_value(record, "result", filter->result));
}

char *kta_audit_line(const json_t *record)
{
    static const char DEL[] = "\\u007f"; // the one control character that jansson leaves
    char *text =
        json_dumps(record, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENSURE_ASCII | JSON_ENCODE_ANY);
    char *out, *to;
    size_t count = 0;

    for (const char *at = text; at && *at; at++)
        count += *at == 0x7f;
    if (count == 0)
        return text;
    out = to = malloc(strlen(text) + count * (sizeof(DEL) - 2) + 1);
    for (const char *at = text; out && *at; at++) {
        if (*at == 0x7f) {
            memcpy(to, DEL, sizeof(DEL) - 1);
            to += sizeof(DEL) - 1;
        } else {
            *to++ = *at;
        }
    }
    if (out)
        *to = '\0';
    free(text);
    return out;
}
