// SPDX-License-Identifier: Apache-2.0
// What members have said of their audit logs: bounded, in the order in which it was heard.
#include "kts/agent_heads.h"

#include <stdlib.h>
#include <string.h>

#include "lib/audit_heads.h"
#include "lib/epoch.h"
#include "lib/log.h"
#include "lib/paths.h"

struct kts_heads {
    char path[KT_PATH_MAX];
    struct kt_audit_heads list; // of all members, each one's in the order of hearing
    int dirty;
};

static int same_record(const struct kt_audit_head *a, const struct kt_audit_head *b)
{
    return a->seq == b->seq && memcmp(a->hash, b->hash, sizeof(a->hash)) == 0;
}

// Places of the member's heads; their number.
static size_t places_of(const struct kts_heads *heads, const char *member,
                        size_t places[KTS_HEADS_EACH + 1])
{
    size_t n = 0;

    for (size_t i = 0; i < heads->list.count && n <= KTS_HEADS_EACH; i++) {
        if (strcmp(heads->list.heads[i].member, member) == 0)
            places[n++] = i;
    }
    return n;
}

static void remove_at(struct kts_heads *heads, size_t i)
{
    struct kt_audit_heads *list = &heads->list;

    memmove(&list->heads[i], &list->heads[i + 1], (list->count - i - 1) * sizeof(*list->heads));
    list->count--;
}

const struct kt_audit_head *kts_heads_newest(const struct kts_heads *heads, const char *member)
{
    const struct kt_audit_head *newest = NULL;

    for (size_t i = 0; i < heads->list.count; i++) {
        const struct kt_audit_head *head = &heads->list.heads[i];
        if (strcmp(head->member, member) == 0 && (!newest || head->seq > newest->seq))
            newest = head;
    }
    return newest;
}

// Room for one more of the member: of those in the middle the one goes that its neighbours say most
// nearly. One that was followed by a lower one, and that lower one, are what a log that went back
// is found by: they stay.
static void thin(struct kts_heads *heads, const char *member)
{
    const struct kt_audit_head *all = heads->list.heads;
    size_t places[KTS_HEADS_EACH + 1], n = places_of(heads, member, places), victim = 0;
    uint64_t least = UINT64_MAX;

    if (n < KTS_HEADS_EACH)
        return;
    for (size_t i = 1; i + 1 < n; i++) {
        const struct kt_audit_head *before = &all[places[i - 1]], *after = &all[places[i + 1]];
        if (all[places[i]].seq >= after->seq || all[places[i]].seq <= before->seq)
            continue;
        if (after->seq - before->seq < least) {
            least = after->seq - before->seq;
            victim = i;
        }
    }
    // All of them went back: the lowest goes, never the highest.
    for (size_t i = 1; victim == 0 && i + 1 < n; i++) {
        if (&all[places[i]] != kts_heads_newest(heads, member) && all[places[i]].seq < least) {
            least = all[places[i]].seq;
            victim = i;
        }
    }
    remove_at(heads, places[victim]);
}

int kts_heads_hear(struct kts_heads *heads, const struct kt_audit_head *head,
                   struct kt_audit_head *before)
{
    const struct kt_audit_head *newest = kts_heads_newest(heads, head->member);
    size_t places[KTS_HEADS_EACH + 1], n = places_of(heads, head->member, places);
    int result = KTS_HEARD_NEW;

    if (n > 0 && same_record(&heads->list.heads[places[n - 1]], head))
        return KTS_HEARD_NOTHING_NEW;
    if (newest && head->seq <= newest->seq) {
        const struct kt_audit_head *last = &heads->list.heads[places[n - 1]];
        if (before)
            *before = *last;
        result =
            head->seq > last->seq && head->seq < newest->seq ? KTS_HEARD_BELOW : KTS_HEARD_BACK;
    }
    thin(heads, head->member);
    if (kt_audit_heads_add(&heads->list, head))
        return KT_ERR_NO_MEMORY;
    heads->dirty = 1;
    return result;
}

void kts_heads_trim(struct kts_heads *heads, int (*is_known)(void *arg, const char *member),
                    void *arg)
{
    for (size_t i = 0;
         heads->list.count > KTS_HEADS_MEMBERS * KTS_HEADS_EACH / 2 && i < heads->list.count;) {
        if (is_known(arg, heads->list.heads[i].member)) {
            i++;
            continue;
        }
        remove_at(heads, i);
        heads->dirty = 1;
    }
}

int kts_heads_save(struct kts_heads *heads, struct kt_error *error)
{
    int rc = heads->dirty ? kt_audit_heads_save(heads->path, &heads->list, error) : 0;

    if (rc == 0)
        heads->dirty = 0;
    return rc;
}

static json_t *to_json(const struct kt_audit_head *head)
{
    char text[KT_AUDIT_HEAD_TEXT], hash[KT_SHA256_TEXT], time[KT_TIME_TEXT];

    if (kt_audit_head_format(head, text))
        return NULL;
    kt_hex_encode(head->hash, KT_SHA256_LEN, hash);
    kt_time_format(head->time_us, time);
    return json_pack("{s:s, s:I, s:I, s:s, s:s, s:s}", "member", head->member, "file",
                     (json_int_t)head->file, "seq", (json_int_t)head->seq, "hash", hash, "time",
                     time, "text", text);
}

// `wanted`: a member id, or the name of a node.
static int is_of(const char *member, const char *wanted)
{
    char node[KT_NODE_NAME_MAX + 1];

    kt_member_node(member, node);
    return strcmp(member, wanted) == 0 || strcmp(node, wanted) == 0;
}

json_t *kts_heads_to_json(const struct kts_heads *heads, const char *member)
{
    json_t *array = json_array();

    for (size_t i = 0; array && i < heads->list.count; i++) {
        const struct kt_audit_head *head = &heads->list.heads[i];
        if (!member || is_of(head->member, member))
            json_array_append_new(array, to_json(head));
    }
    return array;
}

json_t *kts_heads_highest(const struct kts_heads *heads,
                          int (*is_known)(void *arg, const char *member), void *arg)
{
    json_t *object = json_object();
    char text[KT_AUDIT_HEAD_TEXT];

    for (size_t i = 0; object && i < heads->list.count; i++) {
        const char *member = heads->list.heads[i].member;
        if (!json_object_get(object, member) && is_known(arg, member) &&
            kt_audit_head_format(kts_heads_newest(heads, member), text) == 0)
            json_object_set_new(object, member, json_string(text));
    }
    return object;
}

int kts_heads_open(const char *path, struct kts_heads **heads, struct kt_error *error)
{
    struct kts_heads *fresh = calloc(1, sizeof(*fresh));
    int rc = fresh ? 0 : kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");

    if (rc == 0 && strlen(path) >= sizeof(fresh->path))
        rc = kt_error_set(error, KT_ERR_TOO_LARGE, NULL, "the path '%s' is too long", path);
    if (rc == 0) {
        memcpy(fresh->path, path, strlen(path) + 1);
        rc = kt_audit_heads_load(path, &fresh->list, error);
    }
    if (rc) {
        kts_heads_free(fresh);
        return rc;
    }
    if (fresh->list.torn || fresh->list.damaged)
        kt_log(KT_LOG_ERROR, "'%s' is damaged behind its %zu heads", path, fresh->list.count);
    *heads = fresh;
    return 0;
}

void kts_heads_free(struct kts_heads *heads)
{
    if (!heads)
        return;
    kt_audit_heads_free(&heads->list);
    free(heads);
}
