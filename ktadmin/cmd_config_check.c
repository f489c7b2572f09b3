// SPDX-License-Identifier: Apache-2.0
// config check: what has to be right before the server is started, and what will soon be wrong.
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "db/cluster.h"
#include "ktadmin/commands.h"
#include "ktadmin/init.h"
#include "lib/agent_call.h"
#include "lib/file.h"
#include "lib/pki.h"

#define DAY_US     INT64_C(86400000000)
#define WARN_DAYS  30
#define DETAIL_MAX 160

// What the checks look at. A check fills `detail` with what is worth knowing when all is well.
struct check {
    const struct kta_node *node;
    struct db_cluster *cluster; // NULL when PostgreSQL was not found
    char detail[DETAIL_MAX];
    int warn; // set by a check that is fine today
};

static int check_identity(struct check *check, struct kt_error *error)
{
    struct kt_cluster_info info;
    struct kt_promise promise;
    int rc = kt_cluster_info_load(check->node->paths.cluster, &info, error);

    if (rc == 0)
        rc = kt_promise_load(check->node->paths.promise, &promise, error);
    if (rc == 0)
        snprintf(check->detail, DETAIL_MAX, "node %s, member %s", info.node, promise.member);
    return rc;
}

static int check_paths(struct check *check, struct kt_error *error)
{
    return kta_init_check_paths(&check->node->paths, error);
}

static int check_private_files(struct check *check, struct kt_error *error)
{
    const struct kt_paths *paths = &check->node->paths;
    const char *const secret[] = {paths->confdir,  paths->ca_key,      paths->server_key,
                                  paths->node_key, paths->receipt_key, paths->secrets,
                                  paths->run};
    const char *const written[] = {paths->base,    paths->settings, paths->cluster,
                                   paths->ca_cert, paths->promise,  paths->audit};
    char path[KT_PATH_MAX];
    int rc = 0;

    for (size_t i = 0; i < sizeof(secret) / sizeof(secret[0]) && rc == 0; i++)
        rc = kt_file_check_private(secret[i], 1, error);
    for (int role = 0; role < DB_ROLE_COUNT && rc == 0; role++)
        rc = kt_path_join(path, sizeof(path), paths->secrets, db_role_name((enum db_role)role)) == 0
                 ? kt_file_check_private(path, 1, error)
                 : kt_error_set(error, KT_ERR_TOO_LARGE, NULL,
                                "the path of the secrets is too long");
    for (size_t i = 0; i < sizeof(written) / sizeof(written[0]) && rc == 0; i++)
        rc = kt_file_check_private(written[i], 0, error);
    return rc;
}

// Key and certificate belong together, the CA signed it, and how long it still holds.
static int check_pair(struct check *check, const char *key_path, const char *cert_path,
                      struct kt_error *error)
{
    int64_t from, until, now = kt_time_now();
    X509 *cert = NULL, *ca = NULL;
    int rc = kta_init_check_pair(&check->node->paths, key_path, cert_path, error);

    if (rc == 0)
        rc = kt_pki_cert_load(cert_path, &cert, error);
    if (rc == 0)
        rc = kt_pki_ca_load(check->node->paths.ca_cert, &ca, error);
    if (rc == 0 && kt_pki_cert_validity(cert, &from, &until) != 0)
        rc = kt_error_set(error, KT_ERR_CRYPTO, NULL, "'%s' has no validity", cert_path);
    if (rc == 0 && (now < from || now >= until))
        rc = kt_error_set(error, KT_ERR_CERTIFICATE_EXPIRED, "check the clock of this machine",
                          "'%s' is outside its validity", cert_path);
    if (rc == 0) {
        snprintf(check->detail, DETAIL_MAX, "%lld days left", (long long)((until - now) / DAY_US));
        check->warn = (until - now) / DAY_US < WARN_DAYS;
    }
    X509_free(cert);
    X509_free(ca);
    return rc;
}

static int check_ca(struct check *check, struct kt_error *error)
{
    return check_pair(check, check->node->paths.ca_key, check->node->paths.ca_cert, error);
}

static int check_server_cert(struct check *check, struct kt_error *error)
{
    return check_pair(check, check->node->paths.server_key, check->node->paths.server_cert, error);
}

static int check_node_cert(struct check *check, struct kt_error *error)
{
    return check_pair(check, check->node->paths.node_key, check->node->paths.node_cert, error);
}

static int check_receipt(struct check *check, struct kt_error *error)
{
    const struct kt_paths *paths = &check->node->paths;

    if (kt_file_exists(paths->receipt_next)) {
        snprintf(check->detail, DETAIL_MAX,
                 "it is being rotated: ktadmin rotate --receipt-key ends that");
        check->warn = 1;
        return kt_file_check_private(paths->receipt_next, 1, error);
    }
    return check_pair(check, paths->receipt_key, paths->receipt_cert, error);
}

static int check_postgresql(struct check *check, struct kt_error *error)
{
    struct db_cluster *again = NULL;
    int rc = db_cluster_open(&check->node->paths, check->node->settings, &again, error);

    if (rc == 0)
        snprintf(check->detail, DETAIL_MAX, "%.140s", db_cluster_bin(again));
    db_cluster_close(again);
    return rc;
}

static int check_database_files(struct check *check, struct kt_error *error)
{
    if (!check->cluster)
        return kt_error_set(error, KT_ERR_NOT_FOUND, NULL, "not checked without PostgreSQL");
    return db_cluster_config_check(check->cluster, error);
}

static int check_database_live(struct check *check, struct kt_error *error)
{
    enum db_run_state state;
    long pid;
    int rc;

    if (!check->cluster)
        return kt_error_set(error, KT_ERR_NOT_FOUND, NULL, "not checked without PostgreSQL");
    rc = db_cluster_state(check->cluster, &state, &pid, error);
    if (rc == 0 && state == DB_RUNNING)
        return db_cluster_live_check(check->cluster, error);
    if (rc == 0)
        snprintf(check->detail, DETAIL_MAX, "it is not running");
    return rc;
}

// 1 when a server of this node answers: the ports are then its own.
static int server_answers(const struct kta_node *node)
{
    json_t *answer = NULL;
    int rc = kt_agent_call(node->paths.agent_socket, "status", NULL, 5000, &answer, NULL);

    json_decref(answer);
    return rc == 0;
}

static int try_port(const struct check *check, const char *address, int port,
                    struct kt_error *error)
{
    struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    char text[16], bare[256];
    int rc = 0, one = 1, fd;

    snprintf(text, sizeof(text), "%d", port);
    // "[::]" is how the settings write an IPv6 address
    snprintf(bare, sizeof(bare), "%s", address[0] == '[' ? address + 1 : address);
    if (address[0] == '[')
        bare[strcspn(bare, "]")] = '\0';
    if (getaddrinfo(bare, text, &hints, &list) != 0)
        return kt_error_set(error, KT_ERR_SETTINGS, "see https.address in keytrustee.conf(5)",
                            "'%s' is not an address of this machine", address);
    fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0)
        rc = kt_error_errno(error, "cannot make a socket");
    else if (bind(fd, list->ai_addr, list->ai_addrlen) != 0 && errno == EADDRINUSE)
        rc = server_answers(check->node)
                 ? 0
                 : kt_error_set(error, KT_ERR_BUSY, "find out who: ss -ltnp",
                                "port %d is used by another program", port);
    else if (errno == EADDRNOTAVAIL)
        rc = kt_error_set(error, KT_ERR_SETTINGS, "see https.address in keytrustee.conf(5)",
                          "'%s' is not an address of this machine", address);
    if (fd >= 0)
        close(fd);
    freeaddrinfo(list);
    return rc;
}

static int check_ports(struct check *check, struct kt_error *error)
{
    const struct kt_settings *settings = check->node->settings;
    const char *address = kt_settings_text(settings, KT_SET_HTTPS_ADDRESS);
    int https = (int)kt_settings_number(settings, KT_SET_HTTPS_PORT);
    int agent = (int)kt_settings_number(settings, KT_SET_AGENT_PORT);
    int rc;

    if (https == agent)
        return kt_error_set(error, KT_ERR_SETTINGS, NULL, "https.port and agent.port are both %d",
                            https);
    rc = try_port(check, address, https, error);
    if (rc == 0)
        rc = try_port(check, address, agent, error);
    if (rc == 0)
        snprintf(check->detail, DETAIL_MAX, "%d and %d", https, agent);
    return rc;
}

// To add a check: a function and a row.
static const struct {
    const char *text;
    int (*run)(struct check *check, struct kt_error *error);
} CHECKS[] = {
    {"identity of cluster and node", check_identity},
    {"lengths of paths", check_paths},
    {"modes of files", check_private_files},
    {"certificate of the CA", check_ca},
    {"certificate of the server", check_server_cert},
    {"certificate of the node", check_node_cert},
    {"certificate of the receipt key", check_receipt},
    {"PostgreSQL's programs", check_postgresql},
    {"PostgreSQL's files", check_database_files},
    {"PostgreSQL's settings in use", check_database_live},
    {"ports free, or used by this node", check_ports},
};

static void report(const struct kt_cli_run *run, json_t *list, const char *text,
                   const struct check *check, int rc, const struct kt_error *error)
{
    const char *word = rc ? "FAIL" : check->warn ? "warning" : "ok";
    const char *message = rc ? error->message : check->detail;
    const char *hint = rc && error->hint[0] ? error->hint : NULL;

    if (list) {
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:s, s:s*}", "check", text, "result",
                                        rc ? "fail" : word, "message", message, "hint", hint));
        return;
    }
    if (rc == 0 && !check->warn && kt_cli_flag(run, "quiet"))
        return;
    printf("%-8s %s%s%s\n", word, text, *message ? ": " : "", message);
    if (hint)
        printf("         hint: %s\n", hint);
}

static int run_check(struct kt_cli_run *run)
{
    struct kt_error error = {0};
    struct kta_node node;
    struct check check = {.node = &node};
    json_t *list = kt_cli_flag(run, "json") ? json_array() : NULL;
    int failed = 0, rc = kta_open(run, KTA_FILES, &node, &error);

    if (rc) {
        kta_close(&node);
        json_decref(list);
        return kt_cli_fail(run, &error);
    }
    (void)!db_cluster_open(&node.paths, node.settings, &check.cluster, NULL); // has its own check
    for (size_t i = 0; i < sizeof(CHECKS) / sizeof(CHECKS[0]); i++) {
        check.detail[0] = '\0';
        check.warn = 0;
        memset(&error, 0, sizeof(error));
        rc = CHECKS[i].run(&check, &error);
        failed += rc != 0;
        report(run, list, CHECKS[i].text, &check, rc, &error);
    }
    if (list)
        kta_print_json(list);
    json_decref(list);
    db_cluster_close(check.cluster);
    kta_close(&node);
    return failed ? KT_EXIT_FAILURE : KT_EXIT_OK;
}

const struct kt_cli_command kta_cmd_config_check = {
    .verb = "config check",
    .arguments = "",
    .summary = "check settings, files, certificates and PostgreSQL",
    .help = "Prints one line for each check. Exits with 2 when the settings file is wrong, with 1 "
            "when\nanother check fails.",
    .run = run_check,
};
