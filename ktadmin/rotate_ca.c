// SPDX-License-Identifier: Apache-2.0
// rotate --ca: another CA for the cluster, beside the one it has. First every node trusts both; only
// then does the new one sign, on the active last; then this node's own certificates are renewed. A
// killed run is finished by the next.
#include <string.h>

#include "ktadmin/rotate_ca.h"
#include "ktadmin/rotate_receipt.h"
#include "lib/json.h"

#define STEP_MS  60000
#define KNOWN_US 15000000 // until all that answer show what they were handed
#define PAUSE_MS 100

static const json_t *ca_of(const struct kta_member *member)
{
    return json_object_get(member->state, "ca");
}

const char *kta_ca_text(const struct kta_member *member, const char *name)
{
    const char *text = json_string_value(json_object_get(ca_of(member), name));

    return text ? text : "";
}

static const json_t *roots_of(const struct kta_member *member)
{
    return json_object_get(ca_of(member), "roots");
}

// And the older one counts still: there is no third until it has ended.
static int is_replaced(const struct kta_member *member)
{
    int64_t until_us = 0;

    return strcmp(kta_ca_text(member, "phase"), "both") == 0 &&
           kt_time_parse(kta_ca_text(member, "until"), &until_us) == 0 && until_us > kt_time_now();
}

int kta_ca_is_left_out(const struct kt_cli_run *run, const struct kta_member *member)
{
    for (int i = 0; i < kt_cli_count(run, "without"); i++) {
        const char *name = kt_cli_nth(run, "without", i);
        if (strcmp(name, member->name) == 0 || strcmp(name, member->peer.member) == 0)
            return 1;
    }
    return 0;
}

static json_t *without_of(const struct kt_cli_run *run)
{
    json_t *list = json_array();

    for (int i = 0; i < kt_cli_count(run, "without"); i++)
        json_array_append_new(list, json_string(kt_cli_nth(run, "without", i)));
    return list;
}

// --- what there is ---

// Every node must be there: one that has not heard of a CA refuses what that has signed.
static int check_nodes(const struct kt_cli_run *run, const struct kta_nodes *nodes,
                       struct kt_error *error)
{
    for (int i = 0; i < kt_cli_count(run, "without"); i++) {
        const char *name = kt_cli_nth(run, "without", i);
        int found = kta_nodes_find(nodes, name);
        if (found < 0)
            return kt_error_set(error, KT_ERR_NOT_FOUND, "see ktadmin status",
                                "there is no node '%s'", name);
        if (nodes->list[found].is_local)
            return kt_error_set(error, KT_ERR_USAGE, NULL, "'%s' is this node", name);
    }
    for (size_t i = 0; i < nodes->count; i++) {
        const struct kta_member *member = &nodes->list[i];
        if (member->is_removed || kta_ca_is_left_out(run, member))
            continue;
        if (!member->state)
            return kt_error_set(error, KT_ERR_NETWORK,
                                "bring it back first; or go on with --without NODE: it is handed "
                                "the CA when it is back, and until then refuses new certificates",
                                "node '%s' does not answer", member->name);
        if (!roots_of(member))
            return kt_error_set(error, KT_ERR_PROTOCOL, "install the same version on all nodes",
                                "node '%s' is of a version that cannot replace the CA",
                                member->name);
    }
    return 0;
}

static int open_active(const struct kt_cli_run *run, struct kta_nodes *nodes, size_t *self,
                       struct kt_error *error)
{
    int rc = kta_nodes_open_active(run, nodes, self, error);

    if (rc == 0 && !nodes->list[*self].is_local)
        rc = kt_error_set(error, KT_ERR_PASSIVE, "run it there", "the active is '%s'",
                          nodes->list[*self].name);
    return rc ? rc : check_nodes(run, nodes, error);
}

// --- the steps ---

static int ask(struct kta_nodes *nodes, size_t self, const char *verb, json_t *args,
               json_t **result, struct kt_error *error)
{
    json_t *answer = NULL;
    int rc = kta_nodes_call_when_free(nodes, self, verb, args, STEP_MS, &answer, error);

    if (rc == 0 && result)
        *result = answer;
    else
        json_decref(answer);
    return rc;
}

int kta_ca_hand(const struct kt_cli_run *run, struct kta_nodes *nodes, size_t self, int use,
                struct kt_error *error)
{
    json_t *answer = NULL;
    const json_t *first;
    int rc = ask(nodes, self, "ca.hand",
                 json_pack("{s:o, s:b}", "without", without_of(run), "use", use), &answer, error);

    first = json_array_get(json_object_get(answer, "failed"), 0);
    if (rc == 0 && first)
        rc = kt_error_set(error, KT_ERR_NETWORK, "mend that, then run it again: it goes on",
                          "'%s' has not taken the next CA: %s",
                          json_string_value(json_object_get(first, "member")),
                          json_string_value(json_object_get(first, "why")));
    json_decref(answer);
    return rc;
}

static int has_root(const json_t *roots, const json_t *root)
{
    json_t *one;
    size_t i;

    json_array_foreach(roots, i, one)
    {
        if (json_equal(one, root))
            return 1;
    }
    return 0;
}

// A run that was stopped may have left them in another order: some use the next root already.
static int has_same(const json_t *theirs, const json_t *ours, int in_order)
{
    json_t *one;
    size_t i;

    if (in_order || json_array_size(theirs) != json_array_size(ours))
        return json_equal(theirs, ours);
    json_array_foreach(ours, i, one)
    {
        if (!has_root(theirs, one))
            return 0;
    }
    return 1;
}

int kta_ca_wait_until_known(const struct kt_cli_run *run, struct kta_nodes *nodes, size_t self,
                            int in_order, struct kt_error *error)
{
    int64_t until = kt_monotonic_now() + KNOWN_US;

    for (;;) {
        const char *missing = NULL;
        int rc = kta_nodes_look(nodes, error);
        if (rc)
            return rc;
        for (size_t i = 0; i < nodes->count; i++) {
            const struct kta_member *member = &nodes->list[i];
            if (!member->is_removed && !kta_ca_is_left_out(run, member) &&
                (!member->state ||
                 !has_same(roots_of(member), roots_of(&nodes->list[self]), in_order)))
                missing = member->name;
        }
        if (!missing)
            return 0;
        if (kt_monotonic_now() > until)
            return kt_error_set(error, KT_ERR_TIMEOUT, "look at its log, then run it again",
                                "node '%s' does not show the CA that it was handed", missing);
        kta_pause_ms(PAUSE_MS);
    }
}

static int trust_both(const struct kt_cli_run *run, struct kta_nodes *nodes, size_t self,
                      struct kt_error *error)
{
    int rc = ask(nodes, self, "ca.begin", NULL, NULL, error);

    if (rc == 0)
        rc = ask(nodes, self, "ca.load", NULL, NULL, error);
    if (rc == 0)
        rc = kta_ca_hand(run, nodes, self, 0, error);
    return rc ? rc : kta_ca_wait_until_known(run, nodes, self, 0, error);
}

// The active last: it is the one that signs for clients.
static int use_next(const struct kt_cli_run *run, struct kta_nodes *nodes, size_t self,
                    struct kt_error *error)
{
    int rc = kta_ca_hand(run, nodes, self, 1, error);

    if (rc == 0)
        rc = ask(nodes, self, "ca.use", NULL, NULL, error);
    if (rc == 0)
        rc = ask(nodes, self, "ca.load", NULL, NULL, error);
    return rc ? rc : kta_ca_wait_until_known(run, nodes, self, 1, error);
}

static void show(const struct kt_cli_run *run, const struct kta_nodes *nodes, size_t self)
{
    if (kt_cli_flag(run, "quiet") || kt_cli_flag(run, "json"))
        return;
    printf("The next CA signs since %s; the older one counts until %s.\n",
           kta_ca_text(&nodes->list[self], "since"), kta_ca_text(&nodes->list[self], "until"));
    for (size_t i = 0; i < nodes->count; i++) {
        const struct kta_member *member = &nodes->list[i];
        if (i == self || member->is_removed)
            continue;
        if (kta_ca_is_left_out(run, member))
            printf("%s was left out: it is handed the CA when it is back.\n", member->name);
        else if (json_is_true(json_object_get(ca_of(member), "renew")))
            printf("On %s run ktadmin rotate: its certificates are of the older CA.\n",
                   member->name);
    }
    if (kta_receipt_is_of_older_ca(&nodes->own.paths))
        printf("The receipt key's certificate is of the older CA: run ktadmin rotate --receipt-key "
               "before that ends.\n");
    printf(
        "Clients renew theirs by themselves; ktadmin rotate --ca --finish ends the older one then. "
        "Make a backup now.\n");
}

static int show_plan(const struct kta_nodes *nodes, size_t self)
{
    const struct kta_member *own = &nodes->list[self];

    printf("%s\n", is_replaced(own) ? "The CA was replaced already; --finish ends the older one."
                   : strcmp(kta_ca_text(own, "phase"), "begun") == 0
                       ? "A run was stopped: the next one ends it."
                       : "A CA would be made, and handed to all nodes.");
    return 0;
}

int kta_rotate_ca(const struct kt_cli_run *run, struct kt_error *error)
{
    int wants[KT_PAIRS] = {[KT_PAIR_NODE] = 1, [KT_PAIR_SERVER] = 1};
    struct kta_nodes nodes = {.count = 0};
    size_t self = 0;
    int rc = open_active(run, &nodes, &self, error);

    if (rc == 0 && kt_cli_flag(run, "finish")) {
        rc = kta_ca_finish(run, &nodes, self, error);
        goto out;
    }
    if (rc == 0 && kt_cli_flag(run, "dry-run")) {
        rc = show_plan(&nodes, self);
        goto out;
    }
    // In "both" a node may still be behind, or this node's certificates: that is what is left then.
    if (rc == 0 && !is_replaced(&nodes.list[self]))
        rc = trust_both(run, &nodes, self, error);
    if (rc == 0)
        rc = use_next(run, &nodes, self, error);
    if (rc == 0 && json_is_true(json_object_get(ca_of(&nodes.list[self]), "renew")))
        rc = kta_rotate_own(run, wants, error);
    if (rc == 0)
        show(run, &nodes, self);
out:
    kta_nodes_close(&nodes);
    return rc;
}
