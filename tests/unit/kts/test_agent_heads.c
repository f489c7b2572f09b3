// SPDX-License-Identifier: Apache-2.0
// What a node keeps of the others' audit heads: never less than before, bounded, on disk.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kts/agent_heads.h"
#include "kts/status.h"
#include "lib/pki.h"

#define MEMBER "kts-02.1a2b3c4d"

static char path[64];
static struct kts_heads *heads;

static int set_up(void **state)
{
    int fd;

    (void)state;
    snprintf(path, sizeof(path), "/tmp/kts-heads-XXXXXX");
    fd = mkstemp(path);
    if (fd < 0)
        return -1;
    close(fd);
    return kts_heads_open(path, &heads, NULL);
}

static int tear_down(void **state)
{
    (void)state;
    kts_heads_free(heads);
    return unlink(path);
}

static struct kt_audit_head head(uint64_t seq, uint8_t hash)
{
    // Not signed by anybody: whoever hears has checked that.
    return (struct kt_audit_head){.member = MEMBER,
                                  .file = 1,
                                  .seq = seq,
                                  .hash = {hash},
                                  .certificate = {1},
                                  .certificate_len = 1,
                                  .signature = {1},
                                  .signature_len = 1};
}

static int hear(uint64_t seq, uint8_t hash)
{
    struct kt_audit_head one = head(seq, hash);

    return kts_heads_hear(heads, &one, NULL);
}

static void a_higher_head_is_new_and_the_same_one_is_not(void **state)
{
    (void)state;
    assert_null(kts_heads_newest(heads, MEMBER));
    assert_int_equal(hear(10, 1), KTS_HEARD_NEW);
    assert_int_equal(hear(10, 1), KTS_HEARD_NOTHING_NEW);
    assert_int_equal(hear(11, 2), KTS_HEARD_NEW);
    assert_true(kts_heads_newest(heads, MEMBER)->seq == 11);
    assert_null(kts_heads_newest(heads, "kts-03.1a2b3c4d"));
}

static void a_head_that_goes_back_is_told_and_takes_nothing_away(void **state)
{
    struct kt_audit_head lower = head(101, 9), before;

    (void)state;
    assert_int_equal(hear(140, 1), KTS_HEARD_NEW);
    assert_int_equal(kts_heads_hear(heads, &lower, &before), KTS_HEARD_BACK);
    assert_true(before.seq == 140);
    assert_true(kts_heads_newest(heads, MEMBER)->seq == 140);
    assert_int_equal(hear(140, 2), KTS_HEARD_BACK); // the same number, another record
}

static void a_log_that_is_cut_once_more_is_told_once_more(void **state)
{
    struct kt_audit_head lower = head(60, 3), before;

    (void)state;
    assert_int_equal(hear(140, 1), KTS_HEARD_NEW);
    assert_int_equal(hear(101, 2), KTS_HEARD_BACK);
    assert_int_equal(hear(102, 2), KTS_HEARD_BELOW); // it grows, which is no news
    assert_int_equal(hear(120, 2), KTS_HEARD_BELOW);
    assert_int_equal(kts_heads_hear(heads, &lower, &before), KTS_HEARD_BACK);
    assert_true(before.seq == 120);
    assert_int_equal(hear(61, 3), KTS_HEARD_BELOW);
    assert_int_equal(hear(141, 3), KTS_HEARD_NEW);
    assert_int_equal(hear(130, 4), KTS_HEARD_BACK);
}

static int everybody(void *arg, const char *member)
{
    (void)arg;
    (void)member;
    return 1;
}

static void the_heads_of_a_node_are_those_of_all_its_member_ids(void **state)
{
    struct kt_audit_head old = head(5, 1), other = head(6, 1);
    json_t *list;

    (void)state;
    strcpy(old.member, "kts-02.00000001");
    strcpy(other.member, "kts-022.00000001");
    assert_int_equal(hear(9, 1), KTS_HEARD_NEW);
    assert_int_equal(kts_heads_hear(heads, &old, NULL), KTS_HEARD_NEW);
    assert_int_equal(kts_heads_hear(heads, &other, NULL), KTS_HEARD_NEW);
    list = kts_heads_to_json(heads, "kts-02");
    assert_int_equal(json_array_size(list), 2);
    json_decref(list);
    list = kts_heads_to_json(heads, MEMBER);
    assert_int_equal(json_array_size(list), 1);
    json_decref(list);
}

static void what_went_back_stays_known_however_much_follows(void **state)
{
    json_t *all;
    int found = 0;

    (void)state;
    for (uint64_t seq = 1; seq < 140; seq++)
        assert_int_equal(hear(seq, 1), KTS_HEARD_NEW);
    assert_int_equal(hear(140, 1), KTS_HEARD_NEW);
    assert_int_equal(hear(101, 2), KTS_HEARD_BACK);
    for (uint64_t seq = 102; seq < 1000; seq++)
        assert_true(hear(seq, 2) >= 0);
    all = kts_heads_to_json(heads, MEMBER);
    assert_true(json_array_size(all) <= KTS_HEADS_EACH);
    for (size_t i = 0; i < json_array_size(all); i++) {
        const json_t *one = json_array_get(all, i);
        found |= json_integer_value(json_object_get(one, "seq")) == 140 &&
                 strncmp(json_string_value(json_object_get(one, "hash")), "01", 2) == 0;
    }
    assert_true(found);
    assert_true(kts_heads_newest(heads, MEMBER)->seq == 999);
    json_decref(all);
}

static void they_are_there_again_after_a_restart(void **state)
{
    const char *text;
    json_t *highest;

    (void)state;
    assert_int_equal(hear(5, 1), KTS_HEARD_NEW);
    assert_int_equal(hear(6, 1), KTS_HEARD_NEW);
    assert_int_equal(kts_heads_save(heads, NULL), 0);
    assert_int_equal(hear(7, 1), KTS_HEARD_NEW); // not saved
    kts_heads_free(heads);
    assert_int_equal(kts_heads_open(path, &heads, NULL), 0);
    assert_true(kts_heads_newest(heads, MEMBER)->seq == 6);
    highest = kts_heads_highest(heads, everybody, NULL);
    text = json_string_value(json_object_get(highest, MEMBER));
    assert_non_null(text);
    assert_non_null(strstr(text, "\nseq 6\n"));
    json_decref(highest);
}

static int nobody(void *arg, const char *member)
{
    (void)arg;
    return strcmp(member, MEMBER) == 0;
}

static void only_members_that_are_gone_make_room(void **state)
{
    struct kt_audit_head one = head(1, 1);

    (void)state;
    assert_int_equal(hear(1, 1), KTS_HEARD_NEW);
    for (int i = 0; i < 400; i++) {
        snprintf(one.member, sizeof(one.member), "kts-03.%08x", (unsigned)i);
        assert_int_equal(kts_heads_hear(heads, &one, NULL), KTS_HEARD_NEW);
    }
    kts_heads_trim(heads, nobody, NULL);
    assert_non_null(kts_heads_newest(heads, MEMBER));
    assert_null(kts_heads_newest(heads, "kts-03.00000000"));
    assert_non_null(kts_heads_newest(heads, "kts-03.0000018f"));
}

static struct kts_audit_pages new_pages(void)
{
    struct kts_audit_pages pages = {NULL, NULL};

    assert_int_equal(kts_audit_pages_new(&pages), 0);
    return pages;
}

static void the_published_head_is_of_one_moment(void **state)
{
    struct kts_audit_pages pages = new_pages();
    const struct kts_status_head *shown = &pages.readable->head;
    struct kts_status_head *head = &pages.writable->head;
    uint8_t hash[KT_SHA256_LEN], out[KT_SHA256_LEN];
    uint64_t seq = 0;
    uint32_t file = 0;

    (void)state;
    assert_int_equal(kts_status_get_head(shown, &file, &seq, out), KT_ERR_NOT_FOUND);
    memset(hash, 7, sizeof(hash));
    kts_status_set_head(head, 2, 99, hash);
    assert_int_equal(kts_status_get_head(shown, &file, &seq, out), 0);
    assert_true(file == 2 && seq == 99);
    assert_memory_equal(out, hash, sizeof(hash));
    // a writer died in the middle: nothing is believed until the next one has written
    atomic_fetch_add(&head->sequence, 1);
    assert_int_equal(kts_status_get_head(shown, &file, &seq, out), KT_ERR_AGAIN);
    kts_status_set_head(head, 2, 100, hash);
    assert_int_equal(kts_status_get_head(shown, &file, &seq, out), 0);
    assert_true(seq == 100);
    kts_audit_pages_give_up(&pages);
}

// Of this process: whether any mapping of the page can be written, or made so.
static int can_write(const struct kts_audit_pages *pages)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[512];
    int found = 0;

    if (!maps)
        return 1;
    while (fgets(line, sizeof(line), maps))
        found |= strstr(line, "kts-audit") && strstr(line, " rw-s ");
    fclose(maps);
    return found || mprotect((void *)(uintptr_t)pages->readable, sizeof(struct kts_audit_page),
                             PROT_READ | PROT_WRITE) == 0;
}

static void a_process_that_is_not_the_audit_process_cannot_write_the_head(void **state)
{
    struct kts_audit_pages pages = new_pages();
    uint8_t hash[KT_SHA256_LEN] = {1}, out[KT_SHA256_LEN];
    int status = 0, told[2];
    uint64_t seq = 0;
    uint32_t file = 0;
    char byte = 0;

    (void)state;
    assert_int_equal(pipe(told), 0);
    assert_true(can_write(&pages));
    pid_t pid = fork();
    if (pid == 0) {
        kts_audit_pages_give_up(&pages);
        if (pages.writable || read(told[0], &byte, 1) != 1)
            _exit(2);
        // and yet it sees what is written
        if (kts_status_get_head(&pages.readable->head, &file, &seq, out) || seq != 5)
            _exit(3);
        _exit(can_write(&pages) ? 4 : 0);
    }
    kts_status_set_head(&pages.writable->head, 1, 5, hash);
    assert_int_equal(write(told[1], "x", 1), 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    kts_audit_pages_give_up(&pages);
    close(told[0]);
    close(told[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_higher_head_is_new_and_the_same_one_is_not, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_head_that_goes_back_is_told_and_takes_nothing_away,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_log_that_is_cut_once_more_is_told_once_more, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(the_heads_of_a_node_are_those_of_all_its_member_ids, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_went_back_stays_known_however_much_follows, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(they_are_there_again_after_a_restart, set_up, tear_down),
        cmocka_unit_test_setup_teardown(only_members_that_are_gone_make_room, set_up, tear_down),
        cmocka_unit_test(the_published_head_is_of_one_moment),
        cmocka_unit_test(a_process_that_is_not_the_audit_process_cannot_write_the_head),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
