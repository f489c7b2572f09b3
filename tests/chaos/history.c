// SPDX-License-Identifier: Apache-2.0
// Lines of a history, read and written.
#include "tests/chaos/history.h"

#include <stdio.h>
#include <string.h>

#include "lib/encode.h"

static const char *const EVS[] = {"invoke", "ok", "fail", "unknown"};
static const char *const KINDS[] = {"put", "get", "final"};

static int number(const char *text, uint64_t *out)
{
    return kt_u64_parse(text, 0, UINT64_MAX, out) == 0 ? 0 : -1;
}

static int whole(const char *text, int *out)
{
    uint64_t n = 0;

    if (kt_u64_parse(text, 0, 999, &n) != 0)
        return -1;
    *out = (int)n;
    return 0;
}

int chaos_word(const char *text, char out[CHAOS_WORD])
{
    size_t n = strlen(text);

    if (n >= CHAOS_WORD)
        return -1;
    memcpy(out, text, n + 1);
    return 0;
}

static int one_of(const char *text, const char *const *list, int count)
{
    for (int i = 0; i < count; i++)
        if (strcmp(text, list[i]) == 0)
            return i;
    return -1;
}

static int take(const char *name, const char *value, struct chaos_event *event)
{
    int n;

    if (strcmp(name, "t") == 0)
        return number(value, &event->t);
    if (strcmp(name, "p") == 0)
        return chaos_word(value, event->process);
    if (strcmp(name, "op") == 0)
        return number(value, &event->op);
    if (strcmp(name, "ev") == 0) {
        event->ev = (enum chaos_ev)(n = one_of(value, EVS, 4));
        return n < 0 ? -1 : 0;
    }
    if (strcmp(name, "kind") == 0) {
        event->kind = (enum chaos_kind)(n = one_of(value, KINDS, 3));
        return n < 0 ? -1 : 0;
    }
    if (strcmp(name, "node") == 0)
        return chaos_word(value, event->node);
    if (strcmp(name, "id") == 0)
        return chaos_word(value, event->id);
    if (strcmp(name, "sha") == 0)
        return chaos_word(value, event->sha);
    if (strcmp(name, "status") == 0)
        return whole(value, &event->status);
    if (strcmp(name, "found") == 0)
        return whole(value, &event->found);
    if (strcmp(name, "barrier") == 0)
        return whole(value, &event->barrier);
    if (strcmp(name, "inc") == 0)
        return chaos_word(value, event->incarnation);
    if (strcmp(name, "epoch") == 0)
        return number(value, &event->epoch);
    if (strcmp(name, "index") == 0)
        return number(value, &event->index);
    if (strcmp(name, "code") == 0)
        return chaos_word(value, event->code);
    return -1;
}

int chaos_event_parse(const char *line, struct chaos_event *event)
{
    char copy[1024], *rest = copy, *part;
    int seen_ev = 0, seen_kind = 0;
    size_t n = strlen(line);

    memset(event, 0, sizeof(*event));
    if (n >= sizeof(copy))
        return -1;
    memcpy(copy, line, n + 1);
    copy[strcspn(copy, "\n")] = 0;
    while ((part = strsep(&rest, " ")) != NULL) {
        char *value = strchr(part, '=');

        if (value == NULL)
            return -1;
        *value++ = 0;
        if (take(part, value, event) != 0)
            return -1;
        seen_ev |= strcmp(part, "ev") == 0;
        seen_kind |= strcmp(part, "kind") == 0;
    }
    return seen_ev && seen_kind && event->id[0] && event->node[0] && event->process[0] ? 0 : -1;
}

void chaos_event_format(const struct chaos_event *event, char *out, unsigned size)
{
    int n = snprintf(out, size, "t=%llu p=%s op=%llu ev=%s kind=%s node=%s id=%s",
                     (unsigned long long)event->t, event->process, (unsigned long long)event->op,
                     EVS[event->ev], KINDS[event->kind], event->node, event->id);
    unsigned used = n > 0 ? (unsigned)n : 0;

#define ADD(...)                                                                                   \
    do {                                                                                           \
        if (used < size && (n = snprintf(out + used, size - used, __VA_ARGS__)) > 0)               \
            used += (unsigned)n;                                                                   \
    } while (0)
    if (event->sha[0])
        ADD(" sha=%s", event->sha);
    if (event->status)
        ADD(" status=%d", event->status);
    if (event->kind != CHAOS_PUT && event->ev == CHAOS_OK)
        ADD(" found=%d", event->found);
    if (event->barrier)
        ADD(" barrier=1");
    if (event->incarnation[0])
        ADD(" inc=%s epoch=%llu index=%llu", event->incarnation, (unsigned long long)event->epoch,
            (unsigned long long)event->index);
    if (event->code[0])
        ADD(" code=%s", event->code);
#undef ADD
}
