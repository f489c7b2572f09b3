// SPDX-License-Identifier: Apache-2.0
// status: the certificates of others than the nodes that end soon.
#include <string.h>

#include "ktadmin/status.h"

#define DAYS_LEAST    30
#define NAME_MAX_TEXT 80

// Names are what clients call themselves: without what could drive a terminal.
static void clean(const char *text, char out[NAME_MAX_TEXT])
{
    snprintf(out, NAME_MAX_TEXT, "%s", text ? text : "");
    for (char *at = out; *at; at++)
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            *at = '?';
}

static void look_at(const json_t *endings, const char *whose, const char *one, const char *what,
                    json_t *list)
{
    const json_t *of = json_object_get(endings, whose);
    json_int_t count = json_integer_value(json_object_get(of, "count"));
    char first[NAME_MAX_TEXT], date[NAME_MAX_TEXT];

    if (count <= 0)
        return;
    clean(json_string_value(json_object_get(of, "first")), first);
    clean(json_string_value(json_object_get(of, "not_after")), date);
    if (count == 1)
        json_array_append_new(list, json_sprintf("the certificate of the %s %s ends on %.10s: %s",
                                                 one, first, date, what));
    else
        json_array_append_new(list, json_sprintf("%lld %s' certificates end within 30 days (first: "
                                                 "%s on %.10s): %s",
                                                 (long long)count, whose, first, date, what));
}

void kta_status_look_at_endings(const struct kta_member *member, json_t *list)
{
    const json_t *endings = json_object_get(member->state, "endings");
    const json_t *receipt = json_object_get(endings, "receipt_key");
    const json_t *days = json_object_get(receipt, "days");

    if (json_is_integer(days) && json_integer_value(days) < DAYS_LEAST)
        json_array_append_new(
            list, json_sprintf("the receipt key's certificate is good for %lld more days: run "
                               "ktadmin rotate --receipt-key",
                               (long long)json_integer_value(days)));
    look_at(endings, "operators", "operator", "give a new one with ktadmin operator new", list);
    look_at(endings, "clients", "client",
            "a client renews its own when keytrustee is run on its host", list);
}
