// SPDX-License-Identifier: Apache-2.0
// The memory that all processes of a node share.
#include "kts/status.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

// Atomics with a hidden lock would work within one process only.
_Static_assert(ATOMIC_INT_LOCK_FREE == 2 && ATOMIC_LLONG_LOCK_FREE == 2 &&
                   ATOMIC_LONG_LOCK_FREE == 2,
               "the shared status needs lock-free 32 and 64 bit atomics");

const char *kts_role_name(enum kts_role role)
{
    static const char *const NAMES[] = {
        [KTS_ROLE_UNKNOWN] = "unknown",
        [KTS_ROLE_STANDALONE] = "standalone",
        [KTS_ROLE_ACTIVE] = "active",
        [KTS_ROLE_PASSIVE] = "passive",
        [KTS_ROLE_UNESTABLISHED] = "unestablished",
        [KTS_ROLE_FENCED] = "fenced",
        [KTS_ROLE_REMOVED] = "removed",
    };

    return (unsigned)role < sizeof(NAMES) / sizeof(NAMES[0]) ? NAMES[role] : "unknown";
}

int kts_status_new(struct kts_status **status)
{
    void *p =
        mmap(NULL, sizeof(**status), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED)
        return KT_ERR_NO_MEMORY;
    *status = p; // zeroed by the kernel
    return 0;
}

// The seal leaves the mapping that is there as it is, and lets no other be writable, nor become so.
int kts_audit_pages_new(struct kts_audit_pages *pages)
{
    int fd = memfd_create("kts-audit", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    void *writable = MAP_FAILED, *readable = MAP_FAILED;
    size_t n = sizeof(struct kts_audit_page);
    int rc = fd < 0 || ftruncate(fd, (off_t)n) ? KT_ERR_SYSTEM : 0;

    if (rc == 0)
        writable = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (writable == MAP_FAILED ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL))
        rc = KT_ERR_SYSTEM;
    if (rc == 0)
        readable = mmap(NULL, n, PROT_READ, MAP_SHARED, fd, 0);
    if (readable == MAP_FAILED)
        rc = KT_ERR_SYSTEM;
    if (fd >= 0)
        close(fd);
    if (rc) {
        if (writable != MAP_FAILED)
            munmap(writable, n);
        return rc;
    }
    pages->writable = writable;
    pages->readable = readable;
    return 0;
}

void kts_audit_pages_give_up(struct kts_audit_pages *pages)
{
    if (pages->writable)
        munmap(pages->writable, sizeof(*pages->writable));
    pages->writable = NULL;
}

_Atomic uint32_t *kts_status_connections_of(struct kts_status *status, int worker)
{
    return &status->connections[(unsigned)worker % KTS_STATUS_WORKERS];
}

uint64_t kts_status_connections(struct kts_status *status)
{
    uint64_t sum = 0;

    for (int i = 0; i < KTS_STATUS_WORKERS; i++)
        sum += atomic_load(kts_status_connections_of(status, i));
    return sum;
}

// A writer counts what it gave up itself, and what is prepared while one is open is its own group,
// whose end it will say. With none open it is a group that lost its writer: of one that was killed,
// or of before a restart, when nothing else remembers it. An open writer has settled all of those.
uint32_t kts_status_in_doubt(const struct kts_status *status)
{
    uint32_t given_up = atomic_load(&status->gave_in_doubt);
    uint32_t left = atomic_load(&status->writer_open) ? 0 : atomic_load(&status->left_prepared);

    return given_up > left ? given_up : left;
}

// Of a few nanoseconds each: a worker that was taken over may keep a sequence moving for ever.
#define TRIES 1000

void kts_status_set_text(struct kts_status_text *text, const char *value)
{
    uint32_t odd = atomic_load(&text->sequence) | 1; // also behind a writer that died half-way
    size_t i = 0;

    atomic_store(&text->sequence, odd);
    for (; value[i] && i + 1 < sizeof(text->text) / sizeof(text->text[0]); i++)
        atomic_store(&text->text[i], value[i]);
    atomic_store(&text->text[i], '\0');
    atomic_store(&text->sequence, odd + 1);
}

void kts_status_get_text(const struct kts_status_text *text, char out[256])
{
    for (int i = 0; i < TRIES; i++) {
        uint32_t before = atomic_load(&text->sequence);

        for (size_t k = 0; k < 256; k++)
            out[k] = atomic_load(&text->text[k]);
        out[255] = '\0';
        if (before % 2 == 0 && before == atomic_load(&text->sequence))
            return;
    }
}

void kts_status_set_head(struct kts_status_head *head, uint32_t file, uint64_t seq,
                         const uint8_t hash[KT_SHA256_LEN])
{
    uint32_t odd = atomic_load(&head->sequence) | 1; // also behind a writer that died half-way
    uint64_t words[KT_SHA256_LEN / 8];

    memcpy(words, hash, sizeof(words));
    atomic_store(&head->sequence, odd);
    atomic_store(&head->file, file);
    atomic_store(&head->seq, seq);
    for (size_t i = 0; i < KT_SHA256_LEN / 8; i++)
        atomic_store(&head->hash[i], words[i]);
    atomic_store(&head->sequence, odd + 1);
}

int kts_status_get_head(const struct kts_status_head *head, uint32_t *file, uint64_t *seq,
                        uint8_t hash[KT_SHA256_LEN])
{
    for (int i = 0; i < TRIES; i++) {
        uint32_t before = atomic_load(&head->sequence), number = atomic_load(&head->file);
        uint64_t last = atomic_load(&head->seq), words[KT_SHA256_LEN / 8];

        for (size_t k = 0; k < KT_SHA256_LEN / 8; k++)
            words[k] = atomic_load(&head->hash[k]);
        if (before % 2 != 0 || atomic_load(&head->sequence) != before)
            continue;
        if (last == 0)
            return KT_ERR_NOT_FOUND;
        *file = number;
        *seq = last;
        memcpy(hash, words, sizeof(words));
        return 0;
    }
    return KT_ERR_AGAIN;
}
