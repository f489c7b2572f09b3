// SPDX-License-Identifier: Apache-2.0
// The checker of the fault campaign. Deposits never change and their ids are unique, so one pass
// over the history suffices: a set per node at the end, and a few facts for each id.
#include "tests/chaos/check.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define NODES_MAX     16
#define EXPLAINED_MAX 20

// What is known of one deposit id.
struct item {
    struct item *next; // in its bucket
    char id[CHAOS_WORD];
    char sha[CHAOS_WORD]; // as sent, or as first read
    char incarnation[CHAOS_WORD];
    uint64_t epoch, index;
    int acknowledged, was_read;
    unsigned present, absent; // at the end, a bit a node
};

// One fact under a name, in a chained hash table: receipts by place, actives by epoch, open reads.
struct fact {
    struct fact *next;
    char key[3 * CHAOS_WORD];
    char value[CHAOS_WORD];
};

#define BUCKETS 65536
struct chaos_check {
    FILE *out;
    struct item *items[BUCKETS];
    struct fact *facts[BUCKETS];
    char nodes[NODES_MAX][CHAOS_WORD];
    size_t node_count, acknowledged;
    size_t violations[CHAOS_VIOLATION_COUNT];
    size_t operations[3][4];
};

static const char *const NAMES[] = {"lost",        "vanished",    "stale",
                                    "changed",     "disagree",    "two_receipts",
                                    "new_receipt", "two_actives", "unread"};

const char *chaos_violation_name(enum chaos_violation kind)
{
    return NAMES[kind];
}

static unsigned hash_of(const char *text)
{
    unsigned h = 2166136261u;

    for (; *text; text++)
        h = (h ^ (unsigned char)*text) * 16777619u;
    return h % BUCKETS;
}

static void *must(void *memory)
{
    if (memory == NULL)
        abort();
    return memory;
}

// Words of events, which fit.
static void keep(char out[CHAOS_WORD], const char *word)
{
    if (chaos_word(word, out) != 0)
        abort();
}

static struct item *item_of(struct chaos_check *check, const char *id)
{
    struct item **at = &check->items[hash_of(id)];

    for (; *at; at = &(*at)->next)
        if (strcmp((*at)->id, id) == 0)
            return *at;
    *at = must(calloc(1, sizeof(**at)));
    keep((*at)->id, id);
    return *at;
}

// The value under a key; it is `value` when there was none. The caller may change it.
static char *fact_of(struct chaos_check *check, const char *key, const char *value)
{
    struct fact **at = &check->facts[hash_of(key)];

    for (; *at; at = &(*at)->next)
        if (strcmp((*at)->key, key) == 0)
            return (*at)->value;
    *at = must(calloc(1, sizeof(**at)));
    snprintf((*at)->key, sizeof((*at)->key), "%s", key);
    snprintf((*at)->value, sizeof((*at)->value), "%s", value);
    return (*at)->value;
}

static void violation(struct chaos_check *check, enum chaos_violation kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void violation(struct chaos_check *check, enum chaos_violation kind, const char *format, ...)
{
    va_list args;

    if (check->out != NULL && check->violations[kind] < EXPLAINED_MAX) {
        fprintf(check->out, "%s: ", NAMES[kind]);
        va_start(args, format);
        vfprintf(check->out, format, args);
        va_end(args);
        fputc('\n', check->out);
    }
    check->violations[kind]++;
}

struct chaos_check *chaos_check_new(FILE *out)
{
    struct chaos_check *check = must(calloc(1, sizeof(*check)));

    check->out = out;
    return check;
}

void chaos_check_free(struct chaos_check *check)
{
    if (check == NULL)
        return;
    for (size_t i = 0; i < BUCKETS; i++) {
        for (struct item *item = check->items[i], *next; item; item = next) {
            next = item->next;
            free(item);
        }
        for (struct fact *fact = check->facts[i], *next; fact; fact = next) {
            next = fact->next;
            free(fact);
        }
    }
    free(check);
}

static unsigned node_bit(struct chaos_check *check, const char *node)
{
    size_t i = 0;

    while (i < check->node_count && strcmp(check->nodes[i], node) != 0)
        i++;
    if (i == NODES_MAX)
        abort();
    if (i == check->node_count)
        keep(check->nodes[check->node_count++], node);
    return 1u << i;
}

static void same_bytes(struct chaos_check *check, struct item *item,
                       const struct chaos_event *event)
{
    if (item->sha[0] == 0)
        keep(item->sha, event->sha);
    else if (event->sha[0] && strcmp(item->sha, event->sha) != 0)
        violation(check, CHAOS_CHANGED, "%s on %s is %s, was deposited as %s", event->id,
                  event->node, event->sha, item->sha);
}

// A receipt was given out.
static void on_receipt(struct chaos_check *check, struct item *item,
                       const struct chaos_event *event)
{
    char key[3 * CHAOS_WORD], *other;

    if (item->acknowledged && (item->index != event->index || item->epoch != event->epoch ||
                               strcmp(item->incarnation, event->incarnation) != 0))
        violation(check, CHAOS_NEW_RECEIPT, "%s: first %s/%llu/%llu, then %s/%llu/%llu from %s",
                  event->id, item->incarnation, (unsigned long long)item->epoch,
                  (unsigned long long)item->index, event->incarnation,
                  (unsigned long long)event->epoch, (unsigned long long)event->index, event->node);
    check->acknowledged += !item->acknowledged;
    item->acknowledged = 1;
    item->epoch = event->epoch;
    item->index = event->index;
    keep(item->incarnation, event->incarnation);
    // the index is dense across epochs, so this is more than one (incarnation, epoch, index)
    snprintf(key, sizeof(key), "place %s %llu", event->incarnation,
             (unsigned long long)event->index);
    other = fact_of(check, key, event->id);
    if (strcmp(other, event->id) != 0)
        violation(check, CHAOS_TWO_RECEIPTS, "%s index %llu is %s and %s", event->incarnation,
                  (unsigned long long)event->index, other, event->id);
    if (event->status != 201) // 200 repeats what an earlier active may have acknowledged
        return;
    snprintf(key, sizeof(key), "active %s %llu", event->incarnation,
             (unsigned long long)event->epoch);
    other = fact_of(check, key, event->node);
    if (strcmp(other, event->node) != 0)
        violation(check, CHAOS_TWO_ACTIVES, "%s and %s acknowledged in %s epoch %llu", other,
                  event->node, event->incarnation, (unsigned long long)event->epoch);
}

static void on_put(struct chaos_check *check, struct item *item, const struct chaos_event *event)
{
    if (event->ev == CHAOS_INVOKE)
        same_bytes(check, item, event);
    else if (event->ev == CHAOS_OK)
        on_receipt(check, item, event);
}

// What a read has to find is decided when it begins.
static char *open_read(struct chaos_check *check, const struct chaos_event *event)
{
    char key[3 * CHAOS_WORD];

    snprintf(key, sizeof(key), "read %s %llu", event->process, (unsigned long long)event->op);
    return fact_of(check, key, "");
}

static void on_get(struct chaos_check *check, struct item *item, const struct chaos_event *event)
{
    if (event->ev == CHAOS_INVOKE) {
        keep(open_read(check, event), item->acknowledged ? "acknowledged"
                                      : item->was_read   ? "read"
                                                         : "");
    } else if (event->ev == CHAOS_OK && event->found) {
        same_bytes(check, item, event);
        item->was_read = 1;
    } else if (event->ev == CHAOS_OK && event->barrier && *open_read(check, event)) {
        violation(check, CHAOS_STALE, "%s was %s, then absent in a fresh read at %s", event->id,
                  open_read(check, event), event->node);
    }
}

static void on_final(struct chaos_check *check, struct item *item, const struct chaos_event *event)
{
    if (event->ev != CHAOS_OK)
        return;
    if (event->found) {
        same_bytes(check, item, event);
        item->present |= node_bit(check, event->node);
        return;
    }
    item->absent |= node_bit(check, event->node);
    if (item->acknowledged)
        violation(check, CHAOS_LOST, "%s (%s epoch %llu index %llu) is not on %s", event->id,
                  item->incarnation, (unsigned long long)item->epoch,
                  (unsigned long long)item->index, event->node);
    else if (item->was_read)
        violation(check, CHAOS_VANISHED, "%s was read, and is not on %s", event->id, event->node);
}

void chaos_check_event(struct chaos_check *check, const struct chaos_event *event)
{
    struct item *item = item_of(check, event->id);

    check->operations[event->kind][event->ev]++;
    if (event->kind == CHAOS_PUT)
        on_put(check, item, event);
    else if (event->kind == CHAOS_GET)
        on_get(check, item, event);
    else
        on_final(check, item, event);
}

void chaos_check_finish(struct chaos_check *check)
{
    for (int kind = 0; kind < 3; kind++) {
        size_t *n = check->operations[kind], ended = n[CHAOS_OK] + n[CHAOS_FAIL] + n[CHAOS_UNKNOWN];

        if (n[CHAOS_INVOKE] > ended)
            n[CHAOS_UNKNOWN] += n[CHAOS_INVOKE] - ended;
    }
    for (size_t i = 0; i < BUCKETS; i++) {
        for (const struct item *item = check->items[i]; item; item = item->next) {
            if (item->acknowledged && !item->present && !item->absent)
                violation(check, CHAOS_UNREAD, "%s was read from no node at the end", item->id);
            if (!item->acknowledged && item->present && item->absent)
                violation(check, CHAOS_DISAGREE, "%s is on some nodes and not on others", item->id);
        }
    }
}

size_t chaos_check_count(const struct chaos_check *check, enum chaos_violation kind)
{
    return check->violations[kind];
}

size_t chaos_check_violations(const struct chaos_check *check)
{
    size_t sum = 0;

    for (int i = 0; i < CHAOS_VIOLATION_COUNT; i++)
        sum += check->violations[i];
    return sum;
}

size_t chaos_check_operations(const struct chaos_check *check, enum chaos_kind kind,
                              enum chaos_ev ev)
{
    return check->operations[kind][ev];
}

size_t chaos_check_acknowledged(const struct chaos_check *check)
{
    return check->acknowledged;
}

size_t chaos_check_final_nodes(const struct chaos_check *check)
{
    return check->node_count;
}
