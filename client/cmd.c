// SPDX-License-Identifier: Apache-2.0
// What the commands of keytrustee share: opening the client, saying what went wrong, JSON.
#include "client/cmd.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/encode.h"

#define TIMEOUT_MAX_MS 3600000

// Warnings of the library, unless --quiet.
static void warn(void *arg, const char *message, const char *hint)
{
    const struct kt_cli_run *run = arg;

    if (kt_cli_flag(run, "quiet"))
        return;
    fprintf(stderr, "%s: warning: %s\n", run->program->name, message);
    if (hint[0] != '\0')
        fprintf(stderr, "hint: %s\n", hint);
}

// Seconds, or a duration as the settings of the server have them: "30", "2s", "1min", "500ms".
static int parse_time(const char *text, uint64_t least_ms, uint64_t *ms)
{
    static const struct {
        const char *unit;
        uint64_t ms;
    } units[] = {{"", 1000}, {"ms", 1}, {"s", 1000}, {"min", 60000}, {"h", 3600000}};
    size_t digits = strspn(text, "0123456789");
    uint64_t count = 0;
    char number[8];

    if (digits >= sizeof number)
        return KT_ERR_INVALID;
    snprintf(number, sizeof number, "%.*s", (int)digits, text);
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(text + digits, units[i].unit) != 0)
            continue;
        int rc = kt_u64_parse(number, 1, TIMEOUT_MAX_MS / units[i].ms, &count);
        *ms = count * units[i].ms;
        return rc == 0 && *ms < least_ms ? KT_ERR_INVALID : rc;
    }
    return KT_ERR_INVALID;
}

int ktc_cmd_open(const struct kt_cli_run *run, struct keytrustee **client)
{
    struct keytrustee_options options = {.size = sizeof options};
    struct keytrustee_error error;
    const char *timeout = kt_cli_value(run, "timeout");
    const char *connect = kt_cli_value(run, "connect-timeout");
    union { // the callback's argument is not const; warn only reads it
        const struct kt_cli_run *from;
        void *to;
    } arg = {.from = run};
    uint64_t timeout_ms = 0, connect_ms = 0;

    if (timeout != NULL && parse_time(timeout, 1000, &timeout_ms) != 0)
        return ktc_cmd_say(run, KT_ERR_USAGE, "give seconds or a duration: --timeout 30, 2min",
                           "--timeout takes 1 to %d seconds", TIMEOUT_MAX_MS / 1000);
    if (connect != NULL && parse_time(connect, 10, &connect_ms) != 0)
        return ktc_cmd_say(run, KT_ERR_USAGE,
                           "give seconds or a duration: --connect-timeout 2, 300ms",
                           "--connect-timeout takes 10 ms to %d seconds", TIMEOUT_MAX_MS / 1000);
    options.confdir = kt_cli_value(run, "confdir");
    options.timeout_ms = (int)timeout_ms;
    options.connect_timeout_ms = (int)connect_ms;
    options.warn = warn;
    options.warn_arg = arg.to;
    if (keytrustee_open(&options, client, &error) != KEYTRUSTEE_OK)
        return ktc_cmd_fail(run, &error);
    return 0;
}

int ktc_cmd_fail(const struct kt_cli_run *run, const struct keytrustee_error *error)
{
    const struct kt_err_info *info = kt_err_by_name(error->name);
    struct kt_error inner = {.code = info ? info->code : KT_ERR_INTERNAL};

    snprintf(inner.message, sizeof inner.message, "%s", error->message);
    snprintf(inner.hint, sizeof inner.hint, "%s", error->hint);
    return kt_cli_fail(run, &inner);
}

int ktc_cmd_say(const struct kt_cli_run *run, int code, const char *hint, const char *fmt, ...)
{
    struct kt_error error = {0};
    char message[sizeof error.message];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(message, sizeof message, fmt, ap);
    va_end(ap);
    kt_error_set(&error, code, hint, "%s", message);
    return kt_cli_fail(run, &error);
}

int ktc_cmd_number(const struct kt_cli_run *run, const char *name, uint64_t max, uint64_t *number)
{
    const char *text = kt_cli_value(run, name);

    *number = 0;
    if (text != NULL && kt_u64_parse(text, 1, max, number) != 0)
        return ktc_cmd_say(run, KT_ERR_USAGE, NULL, "--%s takes a number from 1 to %llu", name,
                           (unsigned long long)max);
    return 0;
}

int ktc_cmd_version(const struct kt_cli_run *run, uint32_t *version)
{
    const char *text = kt_cli_value(run, "version");
    uint64_t number = 0;

    if (text != NULL && kt_u64_parse(text, 1, UINT32_MAX, &number) != 0)
        return ktc_cmd_say(run, KT_ERR_USAGE, "versions are 1, 2, 3 and so on",
                           "--version takes a number");
    *version = (uint32_t)number;
    return 0;
}

json_t *ktc_cmd_deposit_json(const struct keytrustee_deposit *deposit)
{
    json_t *object =
        json_pack("{s:s, s:I, s:s, s:s, s:I, s:I, s:b, s:b}", "handle", deposit->handle, "version",
                  (json_int_t)deposit->version, "id", deposit->id, "sha256", deposit->sha256,
                  "size", (json_int_t)deposit->size, "index", (json_int_t)deposit->log_index,
                  "deleted", deposit->deleted, "receipt_verified", deposit->receipt);
    int bad = object == NULL;

    // What the call did not tell is left out, not shown as empty.
    if (!bad && deposit->incarnation[0] != '\0')
        bad |= json_object_set_new(object, "incarnation", json_string(deposit->incarnation));
    if (!bad && deposit->epoch != 0)
        bad |= json_object_set_new(object, "epoch", json_integer((json_int_t)deposit->epoch));
    if (!bad && deposit->time[0] != '\0')
        bad |= json_object_set_new(object, "time", json_string(deposit->time));
    if (!bad && deposit->client[0] != '\0')
        bad |= json_object_set_new(object, "client", json_string(deposit->client));
    if (!bad && deposit->key_group[0] != '\0')
        bad |= json_object_set_new(object, "key_group", json_string(deposit->key_group));
    if (!bad && deposit->copies != 0)
        bad |= json_object_set_new(object, "copies", json_integer((json_int_t)deposit->copies));
    if (!bad && deposit->policy)
        bad |= json_object_set_new(object, "policy", json_true());
    if (bad) {
        json_decref(object);
        return NULL;
    }
    return object;
}

int ktc_cmd_print_json(const struct kt_cli_run *run, json_t *object)
{
    int rc = KT_EXIT_OK;

    if (object == NULL)
        return ktc_cmd_say(run, KT_ERR_NO_MEMORY, NULL, "out of memory");
    if (json_dumpf(object, stdout, JSON_INDENT(2) | JSON_SORT_KEYS) != 0 || putchar('\n') == EOF)
        rc = KT_EXIT_FAILURE; // kt_cli_main says so
    json_decref(object);
    return rc;
}
