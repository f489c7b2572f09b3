// SPDX-License-Identifier: Apache-2.0
// rotate: new keys and certificates for this node, while it serves. The agent makes them; the
// active lists the new node certificate beside the old one; then the files change, all at once, and
// everybody reads them again; then the old one is listed no more. A killed run is finished by the
// next.
#include <signal.h>
#include <string.h>

#include "ktadmin/commands.h"
#include "ktadmin/nodes.h"
#include "ktadmin/rotate.h"
#include "ktadmin/rotate_cluster_key.h"
#include "ktadmin/rotate_receipt.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/pki.h"
#include "lib/tls_pairs.h"
#include "lib/tls_shown.h"

#define STEP_MS  30000
#define KNOWN_US 15000000 // for all nodes that answer to hear of the new certificate
#define FINAL_US 20000000
#define SHOWN_US 15000000 // for all that serve on this node to show the new certificates
#define SHOWN_MS 2000     // one of them
#define PAUSE_MS 100
#define DAY_MS   (INT64_C(86400) * 1000)

struct rotation {
    const struct kt_cli_run *run;
    struct kta_nodes nodes;
    size_t self;  // index of this node
    json_t *made; // the agent's answer to cert.make
};

static const char *text_of(const struct rotation *r, const char *name)
{
    return json_string_value(json_object_get(r->made, name));
}

static int is_true(const struct rotation *r, const char *name)
{
    return json_is_true(json_object_get(r->made, name));
}

// --- finding the nodes ---

static int find_self(struct rotation *r, struct kt_error *error)
{
    int rc = kta_nodes_look(&r->nodes, error);

    for (size_t i = 0; i < r->nodes.count; i++) {
        if (r->nodes.list[i].is_local)
            r->self = i;
    }
    if (rc == 0 && !r->nodes.list[r->self].state)
        rc = KT_ERR_NOT_RUNNING;
    return rc == 0 ? 0
                   : kt_error_set(error, KT_ERR_NOT_RUNNING,
                                  "start it first: systemctl start keytrusteed; certificates are "
                                  "renewed while it serves",
                                  "this node's server does not answer");
}

static int open_nodes(struct rotation *r, struct kt_error *error)
{
    int rc = kta_nodes_open(r->run, &r->nodes, error);

    return rc ? rc : find_self(r, error);
}

// Anew, so that no connection is left that shows the old certificate.
static int open_again(struct rotation *r, struct kt_error *error)
{
    kta_nodes_close(&r->nodes);
    return open_nodes(r, error);
}

// --- asking ---

// This node's agent. While another change is under way it is asked again.
static int ask_self(struct rotation *r, const char *verb, const json_t *args, json_t **result,
                    struct kt_error *error)
{
    json_t *answer = NULL;
    int rc = kta_nodes_call_when_free(&r->nodes, r->self, verb, args ? json_deep_copy(args) : NULL,
                                      STEP_MS, &answer, error);

    if (rc == 0 && result)
        *result = answer;
    else
        json_decref(answer);
    return rc;
}

// The active's list: the new certificate, and `before` (may be NULL) as long as it is still used.
static int tell_once(struct rotation *r, const char *before, struct kt_error *error)
{
    json_t *answer = NULL,
           *args = json_pack("{s:s, s:s, s:s*}", "member", r->nodes.list[r->self].peer.member,
                             "cert", text_of(r, "cert"), "before", before);
    size_t active = 0;
    int rc = kta_nodes_active(&r->nodes, &active, error);

    if (rc)
        json_decref(args);
    else
        rc = kta_nodes_call(&r->nodes, active, "node.renew", args, STEP_MS, &answer, error);
    json_decref(answer);
    return rc;
}

static int tell(struct rotation *r, const char *before, int is_final, struct kt_error *error)
{
    int64_t until = kt_monotonic_now() + (is_final ? FINAL_US : KNOWN_US);

    for (;;) {
        int rc = tell_once(r, before, error);
        int is_passing = rc == KT_ERR_BUSY || (is_final && rc != KT_ERR_INVALID);
        if (rc == 0 || !is_passing || kt_monotonic_now() > until)
            return rc;
        kta_pause_ms(PAUSE_MS);
        (void)!kta_nodes_look(&r->nodes, error);
    }
}

// --- what the others know ---

// `alone`: and no other one.
static int knows(const struct kta_member *member, const char *self, const char *sha256, int alone)
{
    const json_t *list = json_object_get(member->state, "peers"), *one;
    size_t i;

    json_array_foreach(list, i, one)
    {
        const char *id = json_string_value(json_object_get(one, "member"));
        const char *hash = json_string_value(json_object_get(one, "cert_sha256"));
        if (id && hash && strcmp(id, self) == 0)
            return strcmp(hash, sha256) == 0 &&
                   !(alone && json_is_string(json_object_get(one, "cert_before")));
    }
    return 0;
}

// Until every node that answers would let the new certificate in; `alone`: and the old one no more.
static int wait_until_known(struct rotation *r, int alone, struct kt_error *error)
{
    const char *sha256 = text_of(r, "sha256"), *missing = NULL;
    int64_t until = kt_monotonic_now() + KNOWN_US;

    for (;;) {
        const char *self = r->nodes.list[r->self].peer.member;
        int rc = find_self(r, error);
        if (rc)
            return rc;
        missing = NULL;
        for (size_t i = 0; i < r->nodes.count; i++) {
            if (r->nodes.list[i].state && !knows(&r->nodes.list[i], self, sha256, alone))
                missing = r->nodes.list[i].name;
        }
        if (!missing)
            return 0;
        if (kt_monotonic_now() > until)
            return kt_error_set(error, KT_ERR_TIMEOUT,
                                "look at ktadmin status, then run it again: it goes on",
                                alone ? "the new certificates are in use, and node '%s' still lets "
                                        "the old one in too"
                                      : "node '%s' has not heard of the new certificate; nothing "
                                        "has changed yet",
                                missing);
        kta_pause_ms(PAUSE_MS);
    }
}

// Before the files change. With an expired certificate no other node lets this one in: then they
// change first, and the others hear of it from this node.
static int announce(struct rotation *r, struct kt_error *error)
{
    const char *before = text_of(r, "before");
    const json_t *first = json_array_get(json_object_get(r->made, "certificates"), 0);
    struct kt_error why = {0};
    int rc;

    if (!before || is_true(r, "used"))
        return 0;
    if (json_is_true(json_object_get(json_object_get(first, "before"), "expired")))
        return 0;
    rc = tell(r, before, 0, &why);
    if (rc)
        return kt_error_set(
            error, rc,
            "it must list the new certificate before this node uses it: see that it "
            "runs and takes changes, then run it again",
            "the active does not take it: %s", why.message);
    return wait_until_known(r, 0, error);
}

// --- what is shown to those who connect ---

static int shows(const struct kta_node *own, size_t who, const char *name, struct kt_error *error)
{
    static const enum kt_setting PORTS[] = {KT_SET_HTTPS_PORT, KT_SET_AGENT_PORT,
                                            KT_SET_DATABASE_PORT};
    const char *file = who == 0 ? own->paths.server_cert : own->paths.node_cert;
    uint8_t shown[KT_SHA256_LEN], wanted[KT_SHA256_LEN];
    X509 *cert = NULL;
    int rc = kt_tls_shown(kt_settings_text(own->settings, KT_SET_HTTPS_ADDRESS),
                          (uint16_t)kt_settings_number(own->settings, PORTS[who]), who == 2,
                          SHOWN_MS, shown, error);

    if (rc == 0)
        rc = kt_pki_cert_load(file, &cert, error);
    if (rc == 0)
        rc = kt_pki_cert_sha256(cert, wanted);
    X509_free(cert);
    if (rc == 0 && memcmp(shown, wanted, sizeof(shown)) != 0)
        rc = kt_error_set(error, KT_ERR_TIMEOUT, NULL, "%s shows another certificate", name);
    return rc;
}

// Before the old one is let in no more: who still shows it would be cut off.
static int wait_until_shown(struct rotation *r, struct kt_error *error)
{
    static const char *const NAMES[] = {"the server", "the agent", "PostgreSQL"};
    int has_database = strcmp(kta_state_text(&r->nodes.list[r->self], "database"), "up") == 0;
    int64_t until = kt_monotonic_now() + SHOWN_US;
    struct kt_error why = {0};

    signal(SIGPIPE, SIG_IGN); // a handshake that is broken off
    for (size_t who = 0; who < 2 + (size_t)has_database;) {
        int rc = shows(&r->nodes.own, who, NAMES[who], &why);
        if (rc == 0)
            who++;
        else if (kt_monotonic_now() > until)
            return kt_error_set(error, rc, "look at its log, then run it again: it goes on",
                                "%s does not show the certificate of its file: %s", NAMES[who],
                                why.message);
        else
            kta_pause_ms(PAUSE_MS);
    }
    return 0;
}

static int conclude(struct rotation *r, struct kt_error *error)
{
    struct kt_error why = {0};
    int rc = tell(r, NULL, 1, &why);

    if (rc)
        return kt_error_set(error, rc, "run it again when the active answers: it ends the renewal",
                            "the new certificates are in use, and the active still lists the old "
                            "one too: %s",
                            why.message);
    rc = wait_until_known(r, 1, error);
    return rc ? rc : ask_self(r, "cert.end", NULL, NULL, error);
}

// --- what is shown ---

static void put(json_t *row, const char *name, const json_t *object, const char *member)
{
    json_t *value = json_object_get(object, member);

    json_object_set(row, name, value ? value : json_null());
}

static json_t *rows_of(const json_t *list)
{
    json_t *rows = json_array();
    const json_t *one;
    size_t i;

    json_array_foreach(list, i, one)
    {
        const json_t *before = json_object_get(one, "before"),
                     *after = json_object_get(one, "after");
        json_t *row = json_object();
        put(row, "certificate", one, "name");
        put(row, "days_before", before, "days");
        put(row, "days_after", after, "days");
        put(row, "serial_before", before, "serial");
        put(row, "serial_after", after, "serial");
        put(row, "not_after", after, "not_after");
        json_array_append_new(rows, row);
    }
    return rows;
}

static int show(const struct rotation *r, json_t *rows, int is_dry)
{
    static const struct kta_column COLUMNS[] = {{"CERTIFICATE", "certificate"},
                                                {"DAYS BEFORE", "days_before"},
                                                {"DAYS AFTER", "days_after"},
                                                {"SERIAL", "serial_after"},
                                                {NULL, NULL}};
    const struct kta_member *self = &r->nodes.list[r->self];
    json_t *ca = json_object_get(json_object_get(self->state, "certificates"), "ca_days"), *all;
    int rc = 0;

    if (kt_cli_flag(r->run, "json")) {
        all = json_pack("{s:s, s:b, s:b, s:O?, s:O}", "node", self->name, "dry_run", is_dry,
                        "goes_on", is_true(r, "goes_on"), "ca_days", ca, "certificates", rows);
        kta_print_json(all);
        json_decref(all);
        return 0;
    }
    rc = kta_print_rows(r->run, rows, COLUMNS);
    if (kt_cli_flag(r->run, "quiet"))
        return rc;
    for (size_t i = 0; i < r->nodes.count; i++) {
        if (!r->nodes.list[i].state)
            printf("%s does not answer: it hears of the new certificate when it runs again\n",
                   r->nodes.list[i].name);
    }
    printf("The CA's certificate is good for %lld more days; ktadmin rotate --ca replaces it.\n",
           (long long)json_integer_value(ca));
    return rc;
}

// One that another CA has signed is not renewed.
static int is_of_ca(const struct kt_paths *paths)
{
    X509 *cert = NULL, *ca = NULL;
    int is_ours = kt_pki_cert_load(paths->server_cert, &cert, NULL) == 0 &&
                  kt_pki_ca_load(paths->ca_cert, &ca, NULL) == 0 &&
                  kt_pki_cert_check(cert, ca, kt_time_now()) != KT_ERR_CERTIFICATE_UNKNOWN_CA;

    X509_free(cert);
    X509_free(ca);
    return is_ours;
}

// --dry-run: from what the agent says of itself, and the setting; no certificate outlives the CA's.
static int plan(struct rotation *r, int wants[KT_PAIRS], struct kt_error *error)
{
    static const char *const NAMES[KT_PAIRS] = {"node", "server"}, *const DAYS[KT_PAIRS] = {
                                                                       "node_days", "server_days"};
    const json_t *days = json_object_get(r->nodes.list[r->self].state, "certificates");
    int64_t life =
        kt_settings_number(r->nodes.own.settings, KT_SET_NODE_CERTIFICATE_LIFETIME) / DAY_MS;
    int64_t ca_days = json_integer_value(json_object_get(days, "ca_days"));
    int is_begun = kt_pairs_is_begun(&r->nodes.own.paths, NULL);
    json_t *rows = json_array();
    size_t active = 0;
    int rc = kta_nodes_active(&r->nodes, &active, error);

    if (rc == 0 && !is_begun && !kt_file_exists(r->nodes.own.paths.ca_key))
        rc = kt_error_set(error, KT_ERR_NOT_FOUND,
                          "put it back for the run: every node has the same one",
                          "this node does not have the CA's key '%s'", r->nodes.own.paths.ca_key);
    for (int i = 0; i < KT_PAIRS && rc == 0; i++) {
        json_t *row = json_pack("{s:s}", "certificate", NAMES[i]);
        put(row, "days_before", days, DAYS[i]);
        if (wants[i] && (i != KT_PAIR_SERVER || is_of_ca(&r->nodes.own.paths)))
            json_object_set_new(row, "days_after",
                                json_integer((json_int_t)(life < ca_days ? life : ca_days)));
        json_array_append_new(rows, row);
    }
    if (rc == 0 && is_begun && !kt_cli_flag(r->run, "quiet") && !kt_cli_flag(r->run, "json"))
        printf("A renewal has begun and not ended: the next run ends it, whatever its options.\n");
    if (rc == 0)
        rc = show(r, rows, 1);
    json_decref(rows);
    return rc;
}

// --- the command ---

static int rotate(struct rotation *r, int wants[KT_PAIRS], struct kt_error *error)
{
    json_t *args = json_pack("{s:b, s:b}", "node", wants[KT_PAIR_NODE], "server",
                             wants[KT_PAIR_SERVER]),
           *rows;
    int rc = ask_self(r, "cert.make", args, &r->made, error);

    json_decref(args);
    if (rc == 0 && !text_of(r, "cert"))
        rc = kt_error_set(error, KT_ERR_PROTOCOL, "restart kts, which is of another version",
                          "the agent's answer has no certificate");
    if (rc == 0)
        rc = announce(r, error);
    if (rc == 0)
        rc = ask_self(r, "cert.use", NULL, NULL, error);
    if (rc == 0)
        rc = ask_self(r, "cert.load", NULL, NULL, error);
    if (rc == 0)
        rc = open_again(r, error);
    if (rc == 0)
        rc = wait_until_shown(r, error);
    if (rc == 0)
        rc = conclude(r, error);
    if (rc)
        return rc;
    rows = rows_of(json_object_get(r->made, "certificates"));
    rc = show(r, rows, 0);
    json_decref(rows);
    return rc;
}

int kta_rotate_own(const struct kt_cli_run *run, int wants[KT_PAIRS], struct kt_error *error)
{
    struct rotation r = {.run = run};
    int rc = open_nodes(&r, error);

    if (rc == 0)
        rc = kt_cli_flag(run, "dry-run") ? plan(&r, wants, error) : rotate(&r, wants, error);
    kta_nodes_close(&r.nodes);
    json_decref(r.made);
    return rc;
}

static int run_rotate(struct kt_cli_run *run)
{
    int node = kt_cli_flag(run, "node-cert"), server = kt_cli_flag(run, "server-cert");
    int wants[KT_PAIRS] = {[KT_PAIR_NODE] = node || !server, [KT_PAIR_SERVER] = server || !node};
    struct kt_error error = {0};
    int ca = kt_cli_flag(run, "ca"), receipt = kt_cli_flag(run, "receipt-key"),
        cluster = kt_cli_flag(run, "cluster-key"), rc;

    if (receipt + ca + cluster + (node || server) > 1)
        rc = kt_error_set(&error, KT_ERR_USAGE, NULL,
                          "--receipt-key, --cluster-key and --ca stand alone, --ca renews "
                          "certificates too");
    else if (kt_cli_count(run, "without") && !receipt && !ca && !cluster)
        rc = kt_error_set(&error, KT_ERR_USAGE, NULL,
                          "--without goes with --receipt-key, --cluster-key or --ca");
    else if (kt_cli_flag(run, "finish") && !ca)
        rc = kt_error_set(&error, KT_ERR_USAGE, NULL, "--finish goes with --ca");
    else if (kt_cli_flag(run, "force") && !kt_cli_flag(run, "finish"))
        rc = kt_error_set(&error, KT_ERR_USAGE, NULL, "--force goes with --finish");
    else if (cluster)
        return kta_rotate_cluster_key(run);
    else if (receipt)
        return kta_rotate_receipt_key(run);
    else
        rc = ca ? kta_rotate_ca(run, &error) : kta_rotate_own(run, wants, &error);
    return rc ? kt_cli_fail(run, &error) : KT_EXIT_OK;
}

static const struct kt_cli_option OPTIONS[] = {
    {"node-cert", 0, NULL, "only the one that other nodes and PostgreSQL see"},
    {"server-cert", 0, NULL, "only the one that clients see"},
    {"receipt-key", 0, NULL, "not certificates: the key that signs receipts, on all nodes"},
    {"ca", 0, NULL, "replace the cluster's CA, on all nodes; on the active"},
    {"finish", 0, NULL, "with --ca: end the older CA now, on all nodes; on the active"},
    {"force", 0, NULL, "with --finish: though clients or operators have no other certificate yet"},
    {"cluster-key", 0, NULL, "replace the cluster's OpenPGP key, on all nodes; on the active"},
    {"without", 0, "NODE", "with these three: go on though it does not answer; repeatable"},
    {"dry-run", 0, NULL, "show what would be renewed, and for how long; change nothing"},
    {NULL},
};

const struct kt_cli_command kta_cmd_rotate = {
    .verb = "rotate",
    .arguments = "",
    .summary = "renew this node's keys and certificates, while it serves",
    .help = "New keys and certificates of the cluster's CA with the same names: for nodes and "
            "PostgreSQL,\nand for clients. Nothing is restarted and no client notices. A run that "
            "was stopped at any\npoint is repeated with the same command.\n\nWith --ca the cluster "
            "gets another CA, beside the one it has. From then on it signs all that is\nnew; the "
            "older one counts until it ends, so that clients have the time to renew; --ca --finish "
            "ends it.",
    .options = OPTIONS,
    .run = run_rotate,
};
