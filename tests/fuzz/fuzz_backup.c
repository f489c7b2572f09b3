// SPDX-License-Identifier: Apache-2.0
// Fuzz target: what is in a backup. A first byte of 0: the text of backup.json, spelt back; else the
// archive itself, walked over. A walk that succeeds has seen a list that confirms every member.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/backup_read.h"
#include "tests/fuzz/fuzz.h"

#define STEM "kts_bak_host_2026-01-02_03-04-05"

static void check_about(const uint8_t *text, size_t n)
{
    struct kt_backup_about *about = calloc(2, sizeof(*about));
    struct kt_buf once = KT_BUF_INIT(1 << 20), twice = KT_BUF_INIT(1 << 20);
    struct kt_error error = {0};

    fuzz_must(about != NULL);
    if (kt_backup_about_parse((const char *)text, n, &about[0], &error) == 0) {
        fuzz_must(about->base[0] == '/' && about->confdir[0] == '/');
        fuzz_must(kt_backup_about_format(&about[0], &once) == 0);
        fuzz_must(kt_backup_about_parse((const char *)kt_buf_ptr(&once), kt_buf_left(&once),
                                        &about[1], &error) == 0);
        fuzz_must(kt_backup_about_format(&about[1], &twice) == 0);
        fuzz_same(kt_buf_ptr(&once), kt_buf_left(&once), kt_buf_ptr(&twice), kt_buf_left(&twice));
        fuzz_must(kt_peers_equal(&about[0].peers, &about[1].peers));
    } else {
        fuzz_must(error.message[0] != '\0');
    }
    kt_buf_free(&once);
    kt_buf_free(&twice);
    free(about);
}

struct visit {
    int is_open;
    uint64_t left;
};

static int begin(void *arg, const struct kt_backup_about *about,
                 const struct kt_backup_member *member, struct kt_error *error)
{
    struct visit *visit = arg;

    (void)error;
    fuzz_must(!visit->is_open && member->path[0] != '/' &&
              strstr(member->path, "..") != member->path);
    fuzz_must(about != NULL || member->part == KT_PART_ABOUT);
    visit->is_open = !member->member->is_dir;
    visit->left = member->member->size;
    return 0;
}

static int data(void *arg, const void *bytes, size_t n, struct kt_error *error)
{
    struct visit *visit = arg;

    (void)bytes;
    (void)error;
    fuzz_must(visit->is_open && n <= visit->left);
    visit->left -= n;
    return 0;
}

static int end(void *arg, struct kt_error *error)
{
    struct visit *visit = arg;

    (void)error;
    fuzz_must(visit->is_open && visit->left == 0);
    visit->is_open = 0;
    return 0;
}

static void walk(const uint8_t *bytes, size_t n)
{
    struct kt_backup_file *file = calloc(1, sizeof(*file));
    struct visit visit = {0};
    const struct kt_backup_visitor visitor = {begin, data, end, NULL, &visit};
    struct kt_error error = {0};
    int fd = fuzz_fd(bytes, n);

    fuzz_must(file != NULL);
    memcpy(file->stem, STEM, sizeof(STEM));
    file->manifest.kind = KT_BACKUP_SERVER;
    if (kt_backup_walk(fd, file, &visitor, &error) == 0)
        fuzz_must(!visit.is_open);
    else
        fuzz_must(error.message[0] != '\0');
    close(fd);
    free(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (size > 0 && bytes[0] == 0)
        check_about(bytes + 1, size - 1);
    else if (size > 0)
        walk(bytes + 1, size - 1);
    return 0;
}
