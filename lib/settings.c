// SPDX-License-Identifier: Apache-2.0
// The table of settings, and the checked values of one configuration.
#include "lib/settings.h"

#include <stdlib.h>
#include <string.h>

#include "lib/encode.h"
#include "lib/nearest.h"

#define KIB INT64_C(1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)
#define SEC INT64_C(1000)
#define MIN (60 * SEC)
#define DAY (24 * 60 * MIN)

#define TEXT_MAX 160 // of a string or path, in bytes; with its name it fits on one of inih's lines

// Columns: id, section, name, type, default, min, max, choices, reloadable, text.
// For strings min and max bound the length.
static const struct kt_setting_info TABLE[KT_SET_COUNT] = {
    {KT_SET_HTTPS_ADDRESS, "https", "address", KT_TYPE_STRING, "0.0.0.0", 1, TEXT_MAX, NULL, 0,
     "Address that clients connect to; [::] listens on IPv4 and IPv6."},
    {KT_SET_HTTPS_PORT, "https", "port", KT_TYPE_INTEGER, "11371", 1, 65535, NULL, 0,
     "Port of the HTTPS service."},
    {KT_SET_HTTPS_BACKLOG, "https", "backlog", KT_TYPE_INTEGER, "1024", 1, 65535, NULL, 0,
     "Connections that may wait to be accepted."},
    {KT_SET_NODE_ADDRESS, "node", "address", KT_TYPE_STRING, "", 0, TEXT_MAX, NULL, 0,
     "Host name or address under which other nodes and clients reach this one; empty is the host's "
     "name."},
    {KT_SET_PASSIVE_MAX_SILENCE, "node", "passive_max_silence", KT_TYPE_DURATION, "3d", 0,
     3650 * DAY, NULL, 1,
     "Time for which a passive without its active's data goes on serving clients; 0 is for ever."},
    {KT_SET_AGENT_PORT, "agent", "port", KT_TYPE_INTEGER, "11372", 1, 65535, NULL, 0,
     "Port of the agent, for other nodes and operators."},
    {KT_SET_DATABASE_DIRECTORY, "database", "directory", KT_TYPE_PATH, "", 0, TEXT_MAX, NULL, 0,
     "Data directory of PostgreSQL; empty is db beside the confdir."},
    {KT_SET_DATABASE_PORT, "database", "port", KT_TYPE_INTEGER, "11381", 1, 65535, NULL, 0,
     "Port of PostgreSQL, for its socket and for replication."},
    {KT_SET_DATABASE_NAME, "database", "name", KT_TYPE_STRING, "keytrustee", 1, 63, NULL, 0,
     "Name of the database."},
    {KT_SET_DATABASE_BIN_DIRECTORY, "database", "bin_directory", KT_TYPE_PATH, "", 0, TEXT_MAX,
     NULL, 0, "Folder with initdb and postgres; empty looks in the usual places."},
    {KT_SET_WORKERS, "server", "workers", KT_TYPE_INTEGER, "0", 0, 64, NULL, 0,
     "Worker processes; 0 is one less than there are cores, at least 1."},
    {KT_SET_MAX_CONNECTIONS, "server", "max_connections", KT_TYPE_INTEGER, "12000", 1, 100000, NULL,
     0, "Connections of one worker; beyond it the one that waits longest is closed for a new one."},
    {KT_SET_NETWORK_USER, "server", "network_user", KT_TYPE_STRING, "keytrustee-net", 1, 63, NULL,
     0, "Account of workers and door when the server is started by root."},
    {KT_SET_LIMIT_HEADER, "limits", "header_size", KT_TYPE_SIZE, "8KiB", KIB, 64 * KIB, NULL, 1,
     "Largest header of a request."},
    {KT_SET_LIMIT_BODY, "limits", "body_size", KT_TYPE_SIZE, "1MiB", KIB, 16 * MIB, NULL, 1,
     "Largest body of a deposit."},
    {KT_SET_LIMIT_BODIES, "limits", "bodies", KT_TYPE_SIZE, "256MiB", MIB, 4096 * MIB, NULL, 1,
     "Bytes of all request bodies that a worker holds at one time; beyond it requests with a body "
     "get 503."},
    {KT_SET_LIMIT_ANSWERS, "limits", "answers", KT_TYPE_SIZE, "256MiB", MIB, 4096 * MIB, NULL, 1,
     "Bytes of answers that a worker holds for callers who take them slowly; beyond it the slowest "
     "are cut."},
    {KT_SET_LIMIT_RATE, "limits", "rate", KT_TYPE_SIZE, "1KiB", 0, MIB, NULL, 1,
     "Least bytes a second at which a body must come and an answer be taken, looked at every 10 s; "
     "0 is none."},
    {KT_SET_LIMIT_LIST, "limits", "list", KT_TYPE_INTEGER, "1000", 1, 10000, NULL, 1,
     "Most entries in one page of a listing."},
    {KT_SET_LIMIT_ADDRESS_CONNECTIONS, "limits", "address_connections", KT_TYPE_INTEGER, "10000", 1,
     100000, NULL, 1,
     "Connections of one worker from one address (of IPv6: one /64); beyond it the one that waits "
     "longest is closed for a new one."},
    {KT_SET_LIMIT_ADDRESS_HANDSHAKES, "limits", "address_handshakes", KT_TYPE_INTEGER, "500", 1,
     100000, NULL, 1,
     "New connections a second from one address; after a quiet time 20 times as many at once."},
    {KT_SET_LIMIT_FAILURES, "limits", "failures", KT_TYPE_INTEGER, "100", 1, 1000000, NULL, 1,
     "Failures a minute of one kind (auth codes, certificates, malformed requests) from one "
     "address, "
     "or with one auth code or certificate; beyond it that is answered 429."},
    {KT_SET_LIMIT_CLIENT_REQUESTS, "limits", "client_requests", KT_TYPE_INTEGER, "1000", 1, 100000,
     NULL, 1, "Requests of one client that a worker has under way; more are answered 429."},
    {KT_SET_LIMIT_ORG_REQUESTS, "limits", "organisation_requests", KT_TYPE_INTEGER, "5000", 1,
     100000, NULL, 1,
     "Requests of one organisation that a worker has under way; more are answered 429."},
    {KT_SET_TIMEOUT_HANDSHAKE, "timeouts", "handshake", KT_TYPE_DURATION, "10s", 100, 60 * MIN,
     NULL, 1, "Time for the TLS handshake."},
    {KT_SET_TIMEOUT_HEADER, "timeouts", "header", KT_TYPE_DURATION, "10s", 100, 60 * MIN, NULL, 1,
     "Time from the first byte of a request to the end of its header."},
    {KT_SET_TIMEOUT_BODY, "timeouts", "body", KT_TYPE_DURATION, "30s", 100, 60 * MIN, NULL, 1,
     "Time from the end of the header to the end of the body."},
    {KT_SET_TIMEOUT_ANSWER, "timeouts", "answer", KT_TYPE_DURATION, "30s", 100, 60 * MIN, NULL, 1,
     "Time for the caller to take an answer."},
    {KT_SET_TIMEOUT_IDLE, "timeouts", "idle", KT_TYPE_DURATION, "75s", 100, DAY, NULL, 1,
     "Time a connection is kept open between requests."},
    {KT_SET_TIMEOUT_READ, "timeouts", "read", KT_TYPE_DURATION, "5s", 100, 60 * MIN, NULL, 1,
     "Time for the database to answer a read."},
    {KT_SET_TIMEOUT_WRITE, "timeouts", "write", KT_TYPE_DURATION, "10s", 100, 60 * MIN, NULL, 1,
     "Time for a change to become durable; then it is answered 503."},
    {KT_SET_TIMEOUT_STOP, "timeouts", "stop", KT_TYPE_DURATION, "30s", 0, 50 * SEC, NULL, 1,
     "Time for requests in flight to end at a stop."},
    {KT_SET_GROUP_MAX, "writer", "group_max", KT_TYPE_INTEGER, "128", 1, 1024, NULL, 1,
     "Most changes in one transaction."},
    {KT_SET_CLIENT_CERTIFICATE_LIFETIME, "certificates", "client_lifetime", KT_TYPE_DURATION,
     "397d", MIN, 3650 * DAY, NULL, 1, "Validity of a client's certificate."},
    {KT_SET_NODE_CERTIFICATE_LIFETIME, "certificates", "node_lifetime", KT_TYPE_DURATION, "825d",
     MIN, 3650 * DAY, NULL, 1, "Validity of a node's certificates."},
    {KT_SET_AUTH_CODE_LIFETIME, "certificates", "auth_code_lifetime", KT_TYPE_DURATION, "24h", SEC,
     365 * DAY, NULL, 1, "Validity of an auth code made without --expires."},
    {KT_SET_AUDIT_FILE_SIZE, "audit", "file_size", KT_TYPE_SIZE, "64MiB", 64 * KIB, 16 * GIB, NULL,
     1, "Size beyond which a new audit file is begun."},
    {KT_SET_AUDIT_SYSLOG, "audit", "syslog", KT_TYPE_PATH, "", 0, 107, NULL, 1,
     "Socket of syslog or journald that gets a copy of each audit record, mostly /dev/log; empty "
     "sends none."},
    {KT_SET_LOG_LEVEL, "log", "level", KT_TYPE_CHOICE, "info", 0, 0,
     "error warning notice info debug", 1, "Least important messages that are logged."},
    {KT_SET_LOG_FILE, "log", "file", KT_TYPE_PATH, "", 0, TEXT_MAX, NULL, 1,
     "File of the log; empty is standard error (the journal under systemd)."},
};

struct unit {
    const char *name;
    int64_t factor;
};

// Largest first: bounds are shown in the largest unit that divides them.
static const struct unit SIZES[] = {{"GiB", GIB}, {"MiB", MIB}, {"KiB", KIB}, {"B", 1}, {NULL, 0}};
static const struct unit DURATIONS[] = {{"d", DAY}, {"h", 60 * MIN}, {"min", MIN},
                                        {"s", SEC}, {"ms", 1},       {NULL, 0}};
static const struct unit PLAIN[] = {{"", 1}, {NULL, 0}};

struct kt_settings {
    struct {
        char *text;
        int64_t number;
        int is_set;
    } values[KT_SET_COUNT];
};

const struct kt_setting_info *kt_setting_info(enum kt_setting id)
{
    return (unsigned)id < KT_SET_COUNT ? &TABLE[id] : NULL;
}

static const struct unit *units_of(enum kt_setting_type type)
{
    return type == KT_TYPE_SIZE ? SIZES : type == KT_TYPE_DURATION ? DURATIONS : PLAIN;
}

static void show_number(const struct kt_setting_info *info, int64_t number, char *out, size_t size)
{
    const struct unit *unit = units_of(info->type);

    while (unit[1].name && (number == 0 || number % unit->factor != 0))
        unit++;
    snprintf(out, size, "%lld%s", (long long)(number / unit->factor), unit->name);
}

static int refuse(const struct kt_setting_info *info, const char *text, const char *want,
                  struct kt_error *error)
{
    return kt_error_set(error, KT_ERR_SETTINGS, NULL, "%s.%s = '%.80s': %s", info->section,
                        info->name, text, want);
}

static int parse_number(const struct kt_setting_info *info, const char *text, int64_t *number,
                        struct kt_error *error)
{
    static const char *const FORMS[] = {
        [KT_TYPE_INTEGER] = "give a whole number",
        [KT_TYPE_SIZE] = "give a number and one of B, KiB, MiB, GiB, as in 8KiB",
        [KT_TYPE_DURATION] = "give a number and one of ms, s, min, h, d, as in 10s",
    };
    const char *form = FORMS[info->type];
    size_t n = strspn(text, "0123456789");
    const struct unit *unit = units_of(info->type);
    char digits[20], low[32], high[32], want[128];
    uint64_t value;

    if (n == 0 || n >= sizeof(digits))
        return refuse(info, text, form, error);
    memcpy(digits, text, n);
    digits[n] = '\0';
    while (unit->name && strcmp(unit->name, text + n) != 0)
        unit++;
    if (kt_u64_parse(digits, 0, INT64_MAX, &value) != 0)
        return refuse(info, text, form, error);
    if (!unit->name && value != 0) // 0 needs no unit
        return refuse(info, text, form, error);
    if (!unit->name && text[n] != '\0')
        return refuse(info, text, form, error);
    int64_t factor = unit->name ? unit->factor : 1;
    if ((int64_t)value > info->max / factor || (int64_t)value * factor < info->min) {
        show_number(info, info->min, low, sizeof(low));
        show_number(info, info->max, high, sizeof(high));
        snprintf(want, sizeof(want), "must be between %s and %s", low, high);
        return refuse(info, text, want, error);
    }
    *number = (int64_t)value * factor;
    return 0;
}

static int parse_choice(const struct kt_setting_info *info, const char *text, int64_t *number,
                        struct kt_error *error)
{
    size_t len = strlen(text);
    int64_t index = 0;
    char want[160];

    for (const char *word = info->choices; *word; index++) {
        size_t n = strcspn(word, " ");
        if (n == len && memcmp(word, text, n) == 0) {
            *number = index;
            return 0;
        }
        word += n;
        word += strspn(word, " ");
    }
    snprintf(want, sizeof(want), "must be one of: %s", info->choices);
    return refuse(info, text, want, error);
}

static int parse_text(const struct kt_setting_info *info, const char *text, struct kt_error *error)
{
    size_t len = strlen(text);

    if (len == 0 && info->min > 0)
        return refuse(info, text, "must not be empty", error);
    if (len > (size_t)info->max)
        return refuse(info, text, "is too long", error);
    for (const char *p = text; *p; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return kt_error_set(error, KT_ERR_SETTINGS, NULL, "%s.%s has a control character",
                                info->section, info->name);
        if (*p == ';' &&
            (p == text || p[-1] == ' ')) // written behind "= " it would begin a comment
            return refuse(info, text, "must not have a word that begins with ';'", error);
    }
    if (info->type == KT_TYPE_PATH && len > 0 && text[0] != '/')
        return refuse(info, text, "must be an absolute path", error);
    return 0;
}

static int parse(const struct kt_setting_info *info, const char *text, int64_t *number,
                 struct kt_error *error)
{
    switch (info->type) {
    case KT_TYPE_STRING:
    case KT_TYPE_PATH:
        return parse_text(info, text, error);
    case KT_TYPE_INTEGER:
    case KT_TYPE_SIZE:
    case KT_TYPE_DURATION:
        return parse_number(info, text, number, error);
    case KT_TYPE_BOOLEAN:
        if (strcmp(text, "yes") != 0 && strcmp(text, "no") != 0)
            return refuse(info, text, "must be yes or no", error);
        *number = text[0] == 'y';
        return 0;
    case KT_TYPE_CHOICE:
        return parse_choice(info, text, number, error);
    }
    return KT_ERR_INTERNAL;
}

static int store(struct kt_settings *settings, enum kt_setting id, const char *text, int is_set,
                 struct kt_error *error)
{
    int64_t number = 0;
    char *copy;
    int rc = parse(&TABLE[id], text, &number, error);

    if (rc)
        return rc;
    copy = strdup(text);
    if (!copy)
        return kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "no memory for the settings");
    free(settings->values[id].text);
    settings->values[id].text = copy;
    settings->values[id].number = number;
    settings->values[id].is_set = is_set;
    return 0;
}

int kt_settings_new(struct kt_settings **settings)
{
    struct kt_settings *fresh = calloc(1, sizeof(*fresh));
    int rc = fresh ? 0 : KT_ERR_NO_MEMORY;

    for (int id = 0; rc == 0 && id < KT_SET_COUNT; id++)
        rc = store(fresh, (enum kt_setting)id, TABLE[id].default_text, 0, NULL);
    if (rc)
        kt_settings_free(fresh);
    else
        *settings = fresh;
    return rc;
}

void kt_settings_free(struct kt_settings *settings)
{
    if (!settings)
        return;
    for (int id = 0; id < KT_SET_COUNT; id++)
        free(settings->values[id].text);
    free(settings);
}

int kt_settings_set(struct kt_settings *settings, enum kt_setting id, const char *text,
                    struct kt_error *error)
{
    if ((unsigned)id >= KT_SET_COUNT || !text)
        return kt_error_set(error, KT_ERR_SETTINGS, NULL, "no such setting");
    return store(settings, id, text, 1, error);
}

int64_t kt_settings_number(const struct kt_settings *settings, enum kt_setting id)
{
    return settings->values[id].number;
}

const char *kt_settings_text(const struct kt_settings *settings, enum kt_setting id)
{
    return settings->values[id].text;
}

int kt_settings_is_set(const struct kt_settings *settings, enum kt_setting id)
{
    return settings->values[id].is_set;
}
