// SPDX-License-Identifier: Apache-2.0
// rotate --ca --finish: the older root of the CA ends now. First what would be cut off by that is
// looked for; then the receipt keys are certified anew, the active ends the root, and every node is
// told. A killed run is finished by the next.
#include <string.h>

#include "ktadmin/nodes.h"
#include "ktadmin/rotate_ca.h"
#include "lib/json.h"

#define LOOK_MS  120000
#define CUT_US   30000000
#define PAUSE_MS 100
#define TEXT_MAX 512

struct finish {
    const struct kt_cli_run *run;
    struct kta_nodes *nodes;
    size_t self;
    json_t *left;   // what ca.left has found; NULL when the root has ended already
    json_int_t cut; // sessions that were ended
};

static const struct kta_member *own(const struct finish *f)
{
    return &f->nodes->list[f->self];
}

static const json_t *found(const struct finish *f, const char *name)
{
    return json_object_get(f->left, name);
}

static json_int_t client_count(const struct finish *f)
{
    return json_integer_value(json_object_get(found(f, "clients"), "count"));
}

// --- what there is ---

static int is_ended(const struct finish *f)
{
    return strcmp(kta_ca_text(own(f), "phase"), "one") == 0;
}

static int check_phase(const struct finish *f, struct kt_error *error)
{
    const json_t *ca = json_object_get(own(f)->state, "ca");

    if (strcmp(kta_ca_text(own(f), "phase"), "begun") == 0)
        return kt_error_set(error, KT_ERR_NOT_PROVEN, "run ktadmin rotate --ca, which goes on",
                            "a replacement of the CA has begun and not ended");
    if (is_ended(f) && json_array_size(json_object_get(ca, "ended")) == 0)
        return kt_error_set(error, KT_ERR_NOT_FOUND, "ktadmin rotate --ca makes a next CA",
                            "there is no older CA to end");
    return 0;
}

// A node with certificates of the older CA would be let in nowhere any more, nor let anybody in.
static int check_certificates(const struct finish *f, struct kt_error *error)
{
    const json_t *roots = json_object_get(json_object_get(own(f)->state, "ca"), "roots");

    for (size_t i = 0; i < f->nodes->count; i++) {
        const struct kta_member *member = &f->nodes->list[i];
        const json_t *ca = json_object_get(member->state, "ca");
        if (member->is_removed || kta_ca_is_left_out(f->run, member))
            continue;
        if (!json_equal(json_object_get(ca, "roots"), roots))
            return kt_error_set(error, KT_ERR_NOT_PROVEN, "run ktadmin rotate --ca first",
                                "node '%s' has not the same CA as the active", member->name);
        if (json_is_true(json_object_get(ca, "renew")))
            return kt_error_set(error, KT_ERR_NOT_PROVEN, "run ktadmin rotate there first",
                                "the certificates of node '%s' are of the older CA", member->name);
    }
    if (!json_is_true(found(f, "signs")))
        return kt_error_set(error, KT_ERR_NOT_PROVEN, "run ktadmin rotate --receipt-key first",
                            "receipts are signed by a key that the older CA has certified");
    return 0;
}

static void list_names(const json_t *names, char *out, size_t size)
{
    size_t n = 0, i;
    json_t *one;

    out[0] = '\0';
    json_array_foreach(names, i, one)
    {
        const char *name = json_string_value(one);
        if (i < 5 && name && n < size)
            n += (size_t)snprintf(out + n, size - n, "%s%s", i ? ", " : "", name);
    }
}

static int check_others(const struct finish *f, struct kt_error *error)
{
    char names[TEXT_MAX];

    if (kt_cli_flag(f->run, "force"))
        return 0;
    if (json_array_size(found(f, "operators")) > 0) {
        list_names(found(f, "operators"), names, sizeof(names));
        return kt_error_set(error, KT_ERR_NOT_PROVEN,
                            "make them new ones with ktadmin operator new; or go on with --force: "
                            "they are refused from then on",
                            "%zu operators have certificates of the older CA only: %s",
                            json_array_size(found(f, "operators")), names);
    }
    if (client_count(f) == 0)
        return 0;
    list_names(json_object_get(found(f, "clients"), "names"), names, sizeof(names));
    return kt_error_set(
        error, KT_ERR_NOT_PROVEN,
        "each renews by itself when it is used; or go on with --force: they are refused "
        "from then on, and need a new auth code",
        "%lld clients have certificates of the older CA only: %s", (long long)client_count(f),
        names);
}

static int look(struct finish *f, struct kt_error *error)
{
    int rc = check_phase(f, error);

    if (rc || is_ended(f))
        return rc;
    rc = kta_nodes_call_when_free(f->nodes, f->self, "ca.left", NULL, LOOK_MS, &f->left, error);
    return rc ? rc : check_certificates(f, error);
}

// --- the steps ---

static int ask(struct finish *f, const char *verb, json_t *args, struct kt_error *error)
{
    json_t *answer = NULL;
    int rc = kta_nodes_call_when_free(f->nodes, f->self, verb, args, LOOK_MS, &answer, error);

    json_decref(answer);
    return rc;
}

// Before the end: a client drops the root in the moment when it hears of it.
static int certify(struct finish *f, struct kt_error *error)
{
    json_t *one;
    size_t i;

    json_array_foreach(found(f, "receipt_keys"), i, one)
    {
        int rc = ask(f, "ca.certify", json_incref(one), error);
        if (rc)
            return rc;
    }
    return 0;
}

static const struct kta_member *find_uncut(struct finish *f)
{
    f->cut = 0;
    for (size_t i = 0; i < f->nodes->count; i++) {
        const struct kta_member *member = &f->nodes->list[i];
        const json_t *ca = json_object_get(member->state, "ca");
        if (member->is_removed || kta_ca_is_left_out(f->run, member))
            continue;
        if (!json_is_true(json_object_get(ca, "cut")))
            return member;
        f->cut += json_integer_value(json_object_get(ca, "sessions"));
    }
    return NULL;
}

// PostgreSQL asks for a certificate at the beginning of a session only. Each agent sees to its own.
static int wait_until_cut(struct finish *f, struct kt_error *error)
{
    int64_t until = kt_monotonic_now() + CUT_US;
    const struct kta_member *member;

    while ((member = find_uncut(f)) != NULL) {
        int rc;
        if (kt_monotonic_now() > until)
            return kt_error_set(error, KT_ERR_TIMEOUT, "look at its log, then run it again",
                                "node '%s' still has sessions of before in PostgreSQL",
                                member->name);
        kta_pause_ms(PAUSE_MS);
        rc = kta_nodes_look(f->nodes, error);
        if (rc)
            return rc;
    }
    return 0;
}

static int end(struct finish *f, struct kt_error *error)
{
    int rc = f->left ? certify(f, error) : 0;

    if (rc == 0)
        rc = ask(f, "ca.end", NULL, error);
    if (rc == 0)
        rc = ask(f, "ca.load", NULL, error);
    if (rc == 0)
        rc = kta_ca_hand(f->run, f->nodes, f->self, 1, error);
    if (rc == 0)
        rc = kta_ca_wait_until_known(f->run, f->nodes, f->self, 1, error);
    return rc ? rc : wait_until_cut(f, error);
}

// --- what is shown ---

static void show_json(const struct finish *f, int is_dry)
{
    json_t *all = json_pack("{s:b, s:b, s:O?, s:O?, s:O?, s:i, s:I}", "dry_run", is_dry, "ended",
                            !is_dry || is_ended(f), "clients", found(f, "clients"), "operators",
                            found(f, "operators"), "auth_codes", found(f, "codes"), "receipt_keys",
                            (int)json_array_size(found(f, "receipt_keys")), "sessions", f->cut);

    kta_print_json(all);
    json_decref(all);
}

static void show_found(const struct finish *f)
{
    char names[TEXT_MAX];
    json_int_t codes = json_integer_value(found(f, "codes"));

    list_names(json_object_get(found(f, "clients"), "names"), names, sizeof(names));
    printf("%lld clients have certificates of the older CA only%s%s\n", (long long)client_count(f),
           names[0] ? ": " : "", names);
    list_names(found(f, "operators"), names, sizeof(names));
    printf("%zu operators have certificates of the older CA only%s%s\n",
           json_array_size(found(f, "operators")), names[0] ? ": " : "", names);
    if (codes)
        printf("%lld unused auth codes name the older CA: they are good for nothing then\n",
               (long long)codes);
    if (json_array_size(found(f, "receipt_keys")) > 0)
        printf("%zu receipt keys are certified anew\n", json_array_size(found(f, "receipt_keys")));
}

static void show(const struct finish *f, int is_dry)
{
    if (kt_cli_flag(f->run, "json")) {
        show_json(f, is_dry);
        return;
    }
    if (kt_cli_flag(f->run, "quiet"))
        return;
    if (f->left)
        show_found(f);
    if (is_dry) {
        printf("%s\n", is_ended(f) ? "The older CA has ended already."
                                   : "The older CA would end, on all nodes.");
        return;
    }
    printf("The older CA has ended: nothing that it has signed counts any more.\n");
    if (f->cut)
        printf("%lld sessions of before were ended in PostgreSQL; the nodes' own come back.\n",
               (long long)f->cut);
    for (size_t i = 0; i < f->nodes->count; i++) {
        const struct kta_member *member = &f->nodes->list[i];
        if (!member->is_removed && kta_ca_is_left_out(f->run, member))
            printf("%s was left out: it trusts the older CA until it is back and is told.\n",
                   member->name);
    }
    printf("Make a backup now.\n");
}

static int confirm(const struct finish *f, struct kt_error *error)
{
    char question[TEXT_MAX];

    if (!f->left) // confirmed in the run that was stopped
        return 0;
    snprintf(question, sizeof(question),
             "End the older CA? All that it has signed is refused at once, and for good: the "
             "certificates of %lld clients and %zu operators, and %lld auth codes.",
             (long long)client_count(f), json_array_size(found(f, "operators")),
             (long long)json_integer_value(found(f, "codes")));
    return kt_cli_confirm(f->run, question)
               ? 0
               : kt_error_set(error, KT_ERR_REFUSED_BY_USER, NULL, "not confirmed");
}

int kta_ca_finish(const struct kt_cli_run *run, struct kta_nodes *nodes, size_t self,
                  struct kt_error *error)
{
    struct finish f = {.run = run, .nodes = nodes, .self = self};
    int is_dry = kt_cli_flag(run, "dry-run"), rc = look(&f, error);

    if (rc == 0 && !is_dry)
        rc = check_others(&f, error);
    if (rc == 0 && !is_dry)
        rc = confirm(&f, error);
    if (rc == 0 && !is_dry)
        rc = end(&f, error);
    if (rc == 0)
        show(&f, is_dry);
    json_decref(f.left);
    return rc;
}
