// SPDX-License-Identifier: Apache-2.0
// rotate --cluster-key: the active makes the next OpenPGP key and hands it to every node; it is listed
// with the statement by which the older one names it; then every node uses it and erases the older
// one, the active last. Any step may be the last of a run: the next one finishes it.
#include "ktadmin/rotate_cluster_key.h"

#include <string.h>

#include "lib/cluster_key.h"
#include "lib/json.h"

#define STEP_MS  60000 // an RSA key of 4096 bits takes its time
#define WAIT_US  15000000
#define PAUSE_MS 100

struct rotation {
    const struct kt_cli_run *run;
    struct kta_nodes nodes;
    size_t active;
    char before[KT_OPENPGP_FINGERPRINT_TEXT]; // of when the command was given
    char next[KT_OPENPGP_FINGERPRINT_TEXT];
    int finishes; // what an earlier run has begun
};

static const char *has(const struct rotation *r, size_t i, const char *name)
{
    return kta_cluster_key_text(&r->nodes.list[i], name);
}

// A key is listed that some node does not use yet. One that is not listed has never counted, and is
// gone on with.
static int is_unfinished(const struct rotation *r)
{
    for (size_t i = 0; i < r->nodes.count; i++) {
        const char *newest = has(r, i, "newest");
        if (r->nodes.list[i].state && newest[0] &&
            (strcmp(has(r, i, "key"), newest) != 0 || strcmp(has(r, i, "next"), newest) == 0))
            return 1;
    }
    return 0;
}

// node.state says what was listed a moment ago; this is of now.
static void look(struct rotation *r)
{
    for (size_t i = 0; i < r->nodes.count; i++) {
        json_t *now = NULL;
        if (r->nodes.list[i].state &&
            kta_nodes_call(&r->nodes, i, "cluster_key.state", NULL, STEP_MS, &now, NULL) == 0)
            json_object_set(r->nodes.list[i].state, "cluster_key", now);
        json_decref(now);
    }
}

// --- finding the nodes ---

static int is_left_out(const struct rotation *r, const struct kta_member *member)
{
    for (int i = 0; i < kt_cli_count(r->run, "without"); i++) {
        const char *name = kt_cli_nth(r->run, "without", i);
        if (strcmp(name, member->name) == 0 || strcmp(name, member->peer.member) == 0)
            return 1;
    }
    return 0;
}

static int is_gone(const struct kta_member *member)
{
    return member->is_removed || member->peer.removed;
}

static int check_names(const struct rotation *r, struct kt_error *error)
{
    for (int i = 0; i < kt_cli_count(r->run, "without"); i++) {
        const char *name = kt_cli_nth(r->run, "without", i);
        int found = kta_nodes_find(&r->nodes, name);
        if (found < 0)
            return kt_error_set(error, KT_ERR_NOT_FOUND, "see ktadmin status",
                                "there is no node '%s'", name);
        if (r->nodes.list[found].is_local)
            return kt_error_set(error, KT_ERR_USAGE, NULL, "'%s' is this node", name);
    }
    return 0;
}

static int check_nodes(const struct rotation *r, struct kt_error *error)
{
    for (size_t i = 0; i < r->nodes.count; i++) {
        const struct kta_member *member = &r->nodes.list[i];
        if (is_gone(member))
            continue;
        if (!member->state && !is_left_out(r, member))
            return kt_error_set(error, KT_ERR_NOT_PROVEN,
                                "start it, or give --without with its name: it is handed the key "
                                "when it is back",
                                "node '%s' does not answer and would not get the new key; nothing "
                                "has changed",
                                member->name);
        if (member->state && !has(r, i, "key")[0])
            return kt_error_set(error, KT_ERR_PROTOCOL, "install the same version on all nodes",
                                "node '%s' is of a version that cannot replace the cluster's key",
                                member->name);
    }
    return 0;
}

static int find_nodes(struct rotation *r, struct kt_error *error)
{
    int rc = kta_nodes_open_active(r->run, &r->nodes, &r->active, error);

    if (rc == 0 && !r->nodes.list[r->active].is_local)
        rc = kt_error_set(error, KT_ERR_PASSIVE, "run it there", "the active is '%s'",
                          r->nodes.list[r->active].name);
    if (rc == 0)
        rc = check_names(r, error);
    if (rc)
        return rc;
    look(r);
    snprintf(r->before, sizeof(r->before), "%s", has(r, r->active, "key"));
    return check_nodes(r, error);
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
    return ask(r, node, verb, json_pack("{s:s, s:s*}", "fingerprint", r->next, "member", member),
               NULL, error);
}

// From a node that has it: the active was away when it was made.
static int fetch(struct rotation *r, struct kt_error *error)
{
    for (size_t i = 0; i < r->nodes.count; i++) {
        if (r->nodes.list[i].state &&
            (strcmp(has(r, i, "key"), r->next) == 0 || strcmp(has(r, i, "next"), r->next) == 0))
            return ask_for(r, r->active, "cluster_key.fetch", r->nodes.list[i].peer.member, error);
    }
    return kt_error_set(error, KT_ERR_NOT_FOUND,
                        "start a node that has it, then run it again; when none is left, restore a "
                        "backup that was made with it",
                        "no node that answers has the cluster's key %s", r->next);
}

static int make(struct rotation *r, struct kt_error *error)
{
    const char *fingerprint = NULL;
    int is_there = 0;
    json_t *made = NULL;
    int rc = ask(r, r->active, "cluster_key.make", json_pack("{s:b}", "fresh", !is_unfinished(r)),
                 &made, error);

    if (rc == 0)
        rc = kt_json_string(made, "fingerprint", KT_OPENPGP_FINGERPRINT_TEXT - 1,
                            KT_OPENPGP_FINGERPRINT_TEXT - 1, &fingerprint, error);
    if (rc == 0) {
        memcpy(r->next, fingerprint, sizeof(r->next));
        is_there = json_is_true(json_object_get(made, "has"));
    }
    r->finishes = json_is_true(json_object_get(made, "listed"));
    json_decref(made);
    return rc == 0 && !is_there ? fetch(r, error) : rc;
}

// Each takes it only when it can sign with it. All are asked, so that one run tells of all that is to
// be mended; as long as one of them lacks it nothing is listed.
static int give(struct rotation *r, struct kt_error *error)
{
    struct kt_error first = {0};
    size_t failed = 0;

    for (size_t i = 0; i < r->nodes.count; i++) {
        struct kt_error why = {0};
        if (i == r->active || !r->nodes.list[i].state || is_gone(&r->nodes.list[i]) ||
            strcmp(has(r, i, "key"), r->next) == 0 ||
            ask_for(r, r->active, "cluster_key.give", r->nodes.list[i].peer.member, &why) == 0)
            continue;
        fprintf(stderr, "ktadmin: %s was not handed the next key: %s\n", r->nodes.list[i].name,
                why.message);
        if (failed++ == 0)
            first = why;
    }
    if (failed == 0)
        return 0;
    return kt_error_set(error, first.code, first.hint[0] ? first.hint : "run it again: it goes on",
                        "nodes that answer, but lack the cluster's next key: %zu", failed);
}

// Until every node that answers says the key under `name`.
static int wait_until(struct rotation *r, const char *name, const char *what,
                      struct kt_error *error)
{
    int64_t until = kt_monotonic_now() + WAIT_US;

    for (;;) {
        const char *missing = NULL;

        look(r);
        for (size_t i = 0; i < r->nodes.count; i++) {
            if (r->nodes.list[i].state && !is_gone(&r->nodes.list[i]) &&
                strcmp(has(r, i, name), r->next) != 0)
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

// From here on it counts.
static int list(struct rotation *r, struct kt_error *error)
{
    int rc = r->finishes ? 0 : ask_for(r, r->active, "cluster_key.list", NULL, error);

    return rc ? rc : wait_until(r, "newest", "has not heard of the cluster's new key", error);
}

// The active last: as long as it has the older one, it leaves the others to this run.
static int use(struct rotation *r, struct kt_error *error)
{
    int rc = 0;

    for (size_t k = 0; rc == 0 && k < r->nodes.count; k++) {
        size_t i = (r->active + 1 + k) % r->nodes.count;
        if (!r->nodes.list[i].state || is_gone(&r->nodes.list[i]))
            continue;
        rc = ask_for(r, i, "cluster_key.use", NULL, error);
        if (rc == 0)
            rc = ask(r, i, "cluster_key.load", json_object(), NULL, error);
    }
    return rc ? rc : wait_until(r, "key", "does not show the key that it was told to use", error);
}

// --- what is shown ---

static int show(const struct rotation *r, int is_dry)
{
    json_t *all;

    if (kt_cli_flag(r->run, "json")) {
        all = json_pack("{s:b, s:s, s:s*, s:b}", "dry_run", is_dry, "before", r->before,
                        "cluster_key", is_dry ? NULL : r->next, "finished", r->finishes);
        kta_print_json(all);
        json_decref(all);
        return 0;
    }
    if (kt_cli_flag(r->run, "quiet"))
        return 0;
    if (is_dry)
        printf(r->finishes
                   ? "A rotation has begun and not ended: the next run ends it; this node's "
                     "key is 4096R/%s\n"
                   : "The cluster's OpenPGP key is 4096R/%s; the next run makes another\n",
               r->before);
    else if (r->finishes)
        printf("A rotation that had begun is ended: the cluster's OpenPGP key is 4096R/%s\n",
               r->next);
    else
        printf("The cluster's OpenPGP key was 4096R/%s and is 4096R/%s now\n", r->before, r->next);
    for (size_t i = 0; i < r->nodes.count; i++) {
        const struct kta_member *member = &r->nodes.list[i];
        if (!member->state && !is_gone(member))
            printf("%s was left out: it is handed the key when it is back.\n", member->name);
        else if (!is_dry && member->state && is_left_out(r, member))
            printf("%s answers, so it was handed the key too.\n", member->name);
    }
    if (!is_dry)
        printf(
            "Clients follow by themselves. Make a backup now: one that is older brings the older "
            "key back.\n");
    return 0;
}

int kta_rotate_cluster_key(const struct kt_cli_run *run)
{
    struct rotation r = {.run = run};
    struct kt_error error = {0};
    int is_dry = kt_cli_flag(run, "dry-run"), rc = find_nodes(&r, &error);

    if (rc == 0 && is_dry)
        r.finishes = is_unfinished(&r);
    if (rc == 0 && !is_dry)
        rc = make(&r, &error);
    if (rc == 0 && !is_dry)
        rc = give(&r, &error);
    if (rc == 0 && !is_dry)
        rc = list(&r, &error);
    if (rc == 0 && !is_dry)
        rc = use(&r, &error);
    if (rc == 0)
        rc = show(&r, is_dry);
    kta_nodes_close(&r.nodes);
    return rc ? kt_cli_fail(run, &error) : KT_EXIT_OK;
}
