// SPDX-License-Identifier: Apache-2.0
// rotate --receipt-key: the active makes a key and hands it to every node; it is listed; the writer
// signs by it; those before it are retired, and overwritten everywhere. Any step may be the last of a
// run: the next one finishes it.
#include "ktadmin/rotate_receipt.h"

#include <string.h>

#include "lib/json.h"
#include "lib/pki.h"
#include "lib/receipt_key.h"

#define STEP_MS  30000
#define WAIT_US  15000000
#define PAUSE_MS 100

struct rotation {
    const struct kt_cli_run *run;
    struct kta_nodes nodes;
    size_t active;
    char before[KT_KEY_ID_TEXT]; // signed when the command was given
    char id[KT_KEY_ID_TEXT];     // is to sign
    int finishes;                // what an earlier run has begun
};

// --- what the nodes have ---

const char *kta_receipt_text(const struct kta_member *member, const char *name)
{
    const char *text =
        json_string_value(json_object_get(json_object_get(member->state, "receipt_key"), name));

    return text ? text : "";
}

static const char *has(const struct rotation *r, size_t i, const char *name)
{
    return kta_receipt_text(&r->nodes.list[i], name);
}

static json_int_t open_keys(const struct kta_member *member)
{
    return json_integer_value(
        json_object_get(json_object_get(member->state, "receipt_key"), "open"));
}

static int has_unlisted_next(const struct kta_member *member)
{
    return kta_receipt_text(member, "next")[0] &&
           !json_is_true(json_object_get(json_object_get(member->state, "receipt_key"), "known"));
}

int kta_receipt_is_settled(const struct kta_member *member)
{
    return strcmp(kta_receipt_text(member, "key"), kta_receipt_text(member, "newest")) == 0 &&
           !kta_receipt_text(member, "next")[0] && open_keys(member) == 1;
}

int kta_receipt_is_of_older_ca(const struct kt_paths *paths)
{
    X509 *ca = NULL, *newest = NULL, *cert = NULL;
    int is_older = kt_pki_ca_load(paths->ca_cert, &ca, NULL) == 0 &&
                   kt_pki_ca_make(&ca, 1, &newest) == 0 &&
                   kt_pki_cert_load(paths->receipt_cert, &cert, NULL) == 0 &&
                   kt_pki_cert_check(cert, newest, kt_time_now()) == KT_ERR_CERTIFICATE_UNKNOWN_CA;

    X509_free(ca);
    X509_free(newest);
    X509_free(cert);
    return is_older;
}

// What a killed run has left is finished first, unless nobody could have signed by it yet: then it is
// gone on with on the active, and replaced elsewhere.
static int is_finished(const struct rotation *r)
{
    for (size_t i = 0; i < r->nodes.count; i++) {
        const struct kta_member *member = &r->nodes.list[i];
        int is_begun = has_unlisted_next(member) && open_keys(member) == 1 &&
                       strcmp(has(r, i, "key"), has(r, i, "newest")) == 0;
        if (member->state && !is_begun && !kta_receipt_is_settled(member))
            return 0;
    }
    return 1;
}

// node.state says what was listed a moment ago; this is of now. A node that does not answer any more
// keeps what it said.
static void look(struct rotation *r)
{
    for (size_t i = 0; i < r->nodes.count; i++) {
        json_t *now = NULL;
        if (r->nodes.list[i].state &&
            kta_nodes_call(&r->nodes, i, "receipt.state", NULL, STEP_MS, &now, NULL) == 0)
            json_object_set(r->nodes.list[i].state, "receipt_key", now);
        json_decref(now);
    }
}

// --- finding the nodes ---

static int is_left_out(const struct rotation *r, const char *name)
{
    int n = kt_cli_count(r->run, "without");

    for (int i = 0; i < n; i++) {
        if (strcmp(kt_cli_nth(r->run, "without", i), name) == 0)
            return 1;
    }
    return 0;
}

// Who has left the cluster, or was removed, needs no key.
static int is_awaited(const struct rotation *r, size_t i)
{
    const struct kta_member *member = &r->nodes.list[i];

    return !member->state && !member->is_removed && !member->peer.removed &&
           !is_left_out(r, member->name);
}

static int check_names(const struct rotation *r, struct kt_error *error)
{
    int n = kt_cli_count(r->run, "without");

    for (int i = 0; i < n; i++) {
        if (kta_nodes_find(&r->nodes, kt_cli_nth(r->run, "without", i)) < 0)
            return kt_error_set(error, KT_ERR_NOT_FOUND, "see ktadmin status",
                                "there is no node '%s'", kt_cli_nth(r->run, "without", i));
    }
    return 0;
}

static int find_nodes(struct rotation *r, struct kt_error *error)
{
    int rc = kta_nodes_open_active(r->run, &r->nodes, &r->active, error);

    if (rc == 0)
        rc = check_names(r, error);
    for (size_t i = 0; rc == 0 && i < r->nodes.count; i++) {
        if (is_awaited(r, i))
            rc =
                kt_error_set(error, KT_ERR_NOT_PROVEN,
                             "start it, or give --without with its name: it then cannot take "
                             "deposits as the active until the command is run again",
                             "node '%s' does not answer and would not get the new key; nothing has "
                             "changed",
                             r->nodes.list[i].name);
    }
    if (rc == 0)
        look(r);
    if (rc == 0 && !has(r, r->active, "newest")[0])
        rc = kt_error_set(error, KT_ERR_DATABASE_UNAVAILABLE, NULL,
                          "the active has not read which receipt keys there are");
    if (rc == 0)
        snprintf(r->before, sizeof(r->before), "%s", has(r, r->active, "newest"));
    return rc;
}

// --- the steps ---

static int ask(struct rotation *r, size_t node, const char *verb, json_t *args, json_t **result,
               struct kt_error *error)
{
    json_t *answer = NULL;
    struct kt_error why = {0};
    int rc = kta_nodes_call_when_free(&r->nodes, node, verb, args, STEP_MS, &answer, &why);

    if (rc)
        kt_error_set(error, rc, why.hint[0] ? why.hint : "run it again: it goes on", "%s: %s",
                     r->nodes.list[node].name, why.message);
    if (rc == 0 && result)
        *result = answer;
    else
        json_decref(answer);
    return rc;
}

static int ask_for(struct rotation *r, size_t node, const char *verb, const char *member,
                   struct kt_error *error)
{
    return ask(r, node, verb, json_pack("{s:s, s:s*}", "id", r->id, "member", member), NULL, error);
}

// From a node that has it: the active was not there when it was made.
static int fetch(struct rotation *r, struct kt_error *error)
{
    for (size_t i = 0; i < r->nodes.count; i++) {
        if (r->nodes.list[i].state &&
            (strcmp(has(r, i, "key"), r->id) == 0 || strcmp(has(r, i, "next"), r->id) == 0))
            return ask_for(r, r->active, "receipt.fetch", r->nodes.list[i].peer.member, error);
    }
    return kt_error_set(error, KT_ERR_NOT_FOUND,
                        "start a node that has it, or put receipt/ back from a backup of the "
                        "confdir that has it, then run it again",
                        "no node that answers has the receipt key '%s'", r->id);
}

static int make(struct rotation *r, struct kt_error *error)
{
    int fresh = is_finished(r), is_there = 0;
    json_t *made = NULL;
    const char *id = NULL;
    int rc = ask(r, r->active, "receipt.make", json_pack("{s:b}", "fresh", fresh), &made, error);

    if (rc == 0)
        rc = kt_json_string(made, "id", KT_KEY_ID_TEXT - 1, KT_KEY_ID_TEXT - 1, &id, error);
    if (rc == 0) {
        memcpy(r->id, id, sizeof(r->id));
        is_there = json_is_true(json_object_get(made, "has"));
    }
    r->finishes = json_is_true(json_object_get(made, "listed"));
    json_decref(made);
    return rc == 0 && !is_there ? fetch(r, error) : rc;
}

static int give(struct rotation *r, struct kt_error *error)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < r->nodes.count; i++) {
        if (i != r->active && r->nodes.list[i].state && strcmp(has(r, i, "key"), r->id) != 0 &&
            strcmp(has(r, i, "next"), r->id) != 0)
            rc = ask_for(r, r->active, "receipt.give", r->nodes.list[i].peer.member, error);
    }
    return rc;
}

// Until every node that answers says `id` under `name`; the active alone has what signs.
static int wait_until(struct rotation *r, const char *name, int only_active, const char *what,
                      struct kt_error *error)
{
    int64_t until = kt_monotonic_now() + WAIT_US;

    for (;;) {
        const char *missing = NULL;

        look(r);
        for (size_t i = 0; i < r->nodes.count; i++) {
            if (r->nodes.list[i].state && (i == r->active || !only_active) &&
                strcmp(has(r, i, name), r->id) != 0)
                missing = r->nodes.list[i].name;
        }
        if (!missing)
            return 0;
        if (kt_monotonic_now() > until)
            return kt_error_set(error, KT_ERR_TIMEOUT,
                                "look at ktadmin status, then run it again: it goes on", "%s %s",
                                missing, what);
        kta_pause_ms(PAUSE_MS);
    }
}

// Clients ask any node for the new key as soon as it signs.
static int list(struct rotation *r, struct kt_error *error)
{
    int rc = 0;

    // The writer may be closed because this node did not have a key that is listed.
    if (strcmp(has(r, r->active, "newest"), r->id) != 0)
        rc = ask_for(r, r->active, "receipt.list", NULL, error);
    return rc ? rc
              : wait_until(r, "newest", 0,
                           "has not heard of the new receipt key; nothing is signed by it yet",
                           error);
}

static int sign(struct rotation *r, struct kt_error *error)
{
    int rc = ask_for(r, r->active, "receipt.load", NULL, error);

    if (rc == 0)
        rc = wait_until(r, "signs", 1, "does not sign by the new key", error);
    return rc ? rc : ask_for(r, r->active, "receipt.retire", NULL, error);
}

// On a node that is a moment behind it is asked again.
static int use_on(struct rotation *r, size_t i, struct kt_error *error)
{
    int rc = ask_for(r, i, "receipt.use", NULL, error);

    return rc == KT_ERR_BUSY
               ? kt_error_set(error, rc, "see ktadmin status, then run it again: it goes on",
                              "receipts are signed by the new key, but node '%s' still has the old "
                              "one: it is behind, or at work on something else",
                              r->nodes.list[i].name)
               : rc;
}

static int use(struct rotation *r, struct kt_error *error)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < r->nodes.count; i++) {
        if (r->nodes.list[i].state)
            rc = use_on(r, i, error);
    }
    return rc;
}

// --- what is shown ---

static void show_left_out(const struct rotation *r)
{
    for (size_t i = 0; i < r->nodes.count; i++) {
        const struct kta_member *member = &r->nodes.list[i];
        if (!member->state && !member->is_removed && !member->peer.removed)
            printf("%s does not have the key: run the command again when it answers\n",
                   member->name);
    }
}

static int show(const struct rotation *r, int is_dry)
{
    json_t *all;

    if (kt_cli_flag(r->run, "json")) {
        all = json_pack("{s:b, s:s, s:s*, s:b}", "dry_run", is_dry, "before", r->before,
                        "receipt_key", is_dry ? NULL : r->id, "finished", r->finishes);
        kta_print_json(all);
        json_decref(all);
        return 0;
    }
    if (kt_cli_flag(r->run, "quiet"))
        return 0;
    if (is_dry)
        printf(r->finishes ? "A rotation has begun and not ended: the next run ends it; the newest "
                             "receipt key is %s\n"
                           : "Receipts are signed by %s; the next run makes another key\n",
               r->before);
    else if (r->finishes)
        printf("A rotation that had begun is ended: receipts are signed by %s\n", r->id);
    else
        printf("Receipts were signed by %s and are signed by %s now\n", r->before, r->id);
    show_left_out(r);
    return 0;
}

int kta_rotate_receipt_key(const struct kt_cli_run *run)
{
    struct rotation r = {.run = run};
    struct kt_error error = {0};
    int is_dry = kt_cli_flag(run, "dry-run"), rc = find_nodes(&r, &error);

    if (rc == 0 && is_dry)
        r.finishes = !is_finished(&r);
    if (rc == 0 && !is_dry)
        rc = make(&r, &error);
    if (rc == 0 && !is_dry)
        rc = give(&r, &error);
    if (rc == 0 && !is_dry)
        rc = list(&r, &error);
    if (rc == 0 && !is_dry)
        rc = sign(&r, &error);
    if (rc == 0 && !is_dry)
        rc = use(&r, &error);
    if (rc == 0)
        rc = show(&r, is_dry);
    kta_nodes_close(&r.nodes);
    return rc ? kt_cli_fail(run, &error) : KT_EXIT_OK;
}
