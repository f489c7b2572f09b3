// SPDX-License-Identifier: Apache-2.0
// Bounded reads, durable replacement, checks of owners and modes, locks.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <sys/wait.h>

#include "lib/file.h"
#include "tests/unit/lib/temp_dir.h"

static int entries(void)
{
    DIR *dir = opendir(temp_dir);
    int n = 0;

    assert_non_null(dir);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n - 2;
}

static mode_t mode_of(const char *path)
{
    struct stat st;

    assert_int_equal(lstat(path, &st), 0);
    return st.st_mode & 07777;
}

// Runs `check` in a child without root, where modes mean something; 0 = all was as it should be.
static int as_nobody(int (*check)(void))
{
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        if (geteuid() == 0 && setresuid(65534, 65534, 65534) != 0)
            _exit(100);
        _exit(check());
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void file_is_read_whole_behind_what_was_there(void **state)
{
    struct kt_buf buf = KT_BUF_INIT(100000);
    static char big[60000];

    (void)state;
    memset(big, 'x', sizeof(big));
    assert_int_equal(kt_buf_put(&buf, "head", 4), 0);
    assert_int_equal(kt_file_read(temp_file("f", big, sizeof(big), 0600), &buf, NULL), 0);
    assert_int_equal(kt_buf_left(&buf), 4 + sizeof(big));
    assert_memory_equal(kt_buf_ptr(&buf), "headxxx", 7);
    kt_buf_free(&buf);
}

static void file_at_the_bound_is_read_and_one_byte_more_is_too_large(void **state)
{
    struct kt_buf buf = KT_BUF_INIT(5);
    struct kt_error error;

    (void)state;
    assert_int_equal(kt_file_read(temp_text("f", "12345"), &buf, &error), 0);
    assert_memory_equal(kt_buf_ptr(&buf), "12345", 5);
    kt_buf_reset(&buf);
    assert_int_equal(kt_file_read(temp_text("f", "123456"), &buf, &error), KT_ERR_TOO_LARGE);
    assert_non_null(strstr(error.message, "5 bytes"));
    kt_buf_free(&buf);
}

static void missing_file_is_not_found_and_folder_is_invalid(void **state)
{
    struct kt_buf buf = KT_BUF_INIT(5);
    struct kt_error error;

    (void)state;
    assert_int_equal(kt_file_read(temp_path("none"), &buf, &error), KT_ERR_NOT_FOUND);
    assert_non_null(strstr(error.message, "/none'"));
    temp_text("f", "x");
    assert_int_equal(kt_file_read(temp_path("f/below"), &buf, &error), KT_ERR_NOT_FOUND);
    assert_int_equal(kt_file_read(temp_dir, &buf, &error), KT_ERR_INVALID);
}

static int read_of_private(void)
{
    struct kt_buf buf = KT_BUF_INIT(5);

    return kt_file_read(temp_path("f"), &buf, NULL) == KT_ERR_PERMISSION ? 0 : 1;
}

static void file_without_right_to_read_is_permission(void **state)
{
    (void)state;
    assert_int_equal(chmod(temp_dir, 0755), 0);
    temp_file("f", "x", 1, 0);
    assert_int_equal(as_nobody(read_of_private), 0);
}

static void text_is_terminated_and_nul_is_invalid(void **state)
{
    struct kt_error error;
    char *text = NULL;

    (void)state;
    assert_int_equal(kt_file_read_text(temp_text("f", "line\n"), 100, &text, &error), 0);
    assert_string_equal(text, "line\n");
    free(text);
    assert_int_equal(kt_file_read_text(temp_text("f", ""), 100, &text, &error), 0);
    assert_string_equal(text, "");
    free(text);
    text = NULL;
    assert_int_equal(kt_file_read_text(temp_file("f", "a\0b", 3, 0600), 100, &text, &error),
                     KT_ERR_INVALID);
    assert_int_equal(kt_file_read_text(temp_text("f", "long"), 3, &text, &error), KT_ERR_TOO_LARGE);
    assert_int_equal(kt_file_read_text(temp_path("none"), 3, &text, &error), KT_ERR_NOT_FOUND);
    assert_null(text);
}

static void replace_writes_content_and_mode_and_leaves_no_temporary_file(void **state)
{
    struct kt_buf buf = KT_BUF_INIT(100);
    mode_t before = umask(0777);

    (void)state;
    assert_int_equal(kt_file_replace(temp_path("f"), "one", 3, 0640, NULL), 0);
    umask(before);
    assert_int_equal(mode_of(temp_path("f")), 0640);
    assert_int_equal(kt_file_replace(temp_path("f"), "second", 6, 0600, NULL), 0);
    assert_int_equal(mode_of(temp_path("f")), 0600);
    assert_int_equal(entries(), 1);
    assert_int_equal(kt_file_read(temp_path("f"), &buf, NULL), 0);
    assert_int_equal(kt_buf_left(&buf), 6);
    assert_memory_equal(kt_buf_ptr(&buf), "second", 6);
    kt_buf_free(&buf);
}

static void replace_takes_the_place_of_a_link_and_not_of_its_target(void **state)
{
    char *text;

    (void)state;
    temp_text("target", "old");
    assert_int_equal(symlink(temp_path("target"), temp_path("link")), 0);
    assert_int_equal(kt_file_replace(temp_path("link"), "new", 3, 0600, NULL), 0);
    assert_int_equal(kt_file_read_text(temp_path("target"), 10, &text, NULL), 0);
    assert_string_equal(text, "old");
    free(text);
}

static void failed_replace_leaves_old_content_and_no_temporary_file(void **state)
{
    struct kt_error error;

    (void)state;
    assert_int_equal(mkdir(temp_path("d"), 0700), 0);
    temp_text("d/inside", "x");
    assert_int_equal(kt_file_replace(temp_path("d"), "new", 3, 0600, &error), KT_ERR_SYSTEM);
    assert_int_equal(entries(), 1);
    assert_int_equal(kt_file_replace(temp_path("none/f"), "new", 3, 0600, &error), KT_ERR_SYSTEM);
    assert_non_null(strstr(error.message, strerror(ENOENT)));
    assert_int_equal(kt_file_replace(temp_path("d/"), "new", 3, 0600, &error), KT_ERR_INVALID);
}

static void replace_of_too_long_a_path_is_refused(void **state)
{
    static char path[5000];

    (void)state;
    memset(path, 'a', sizeof(path) - 1);
    assert_int_equal(kt_file_replace(path, "x", 1, 0600, NULL), KT_ERR_TOO_LARGE);
    path[4800] = '/';
    assert_int_equal(kt_file_replace(path, "x", 1, 0600, NULL), KT_ERR_INVALID);
}

static void full_disk_is_storage_full(void **state)
{
    int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);

    (void)state;
    if (fd < 0)
        skip();
    assert_int_equal(kt_write_all(fd, "x", 1), KT_ERR_STORAGE_FULL);
    close(fd);
    assert_int_equal(kt_write_all(-1, "x", 1), KT_ERR_SYSTEM);
    assert_int_equal(kt_write_all(-1, "x", 0), 0);
}

static void create_makes_a_file_once(void **state)
{
    struct kt_error error;
    char *text;

    (void)state;
    assert_int_equal(kt_file_create(temp_path("f"), "one", 3, 0600, &error), 0);
    assert_int_equal(kt_file_create(temp_path("f"), "two", 3, 0600, &error), KT_ERR_EXISTS);
    assert_int_equal(kt_file_create(temp_path("no/f"), "two", 3, 0600, &error), KT_ERR_SYSTEM);
    assert_int_equal(entries(), 1);
    assert_int_equal(kt_file_read_text(temp_path("f"), 10, &text, NULL), 0);
    assert_string_equal(text, "one");
    free(text);
}

static void folder_sync_of_a_missing_folder_fails(void **state)
{
    (void)state;
    assert_int_equal(kt_dir_sync(temp_dir, NULL), 0);
    assert_int_equal(kt_dir_sync(temp_path("none"), NULL), KT_ERR_SYSTEM);
    assert_int_equal(kt_dir_sync(temp_text("f", ""), NULL), KT_ERR_SYSTEM);
}

static void folder_is_made_with_its_mode_and_accepted_again(void **state)
{
    mode_t before = umask(0777);

    (void)state;
    assert_int_equal(kt_dir_make(temp_path("d"), 0750, NULL), 0);
    umask(before);
    assert_int_equal(mode_of(temp_path("d")), 0750);
    assert_int_equal(kt_dir_make(temp_path("d"), 0750, NULL), 0);
    assert_int_equal(kt_dir_make(temp_path("no/d"), 0750, NULL), KT_ERR_SYSTEM);
}

static int make_of_foreign(void)
{
    return kt_dir_make(temp_path("d"), 0700, NULL) == KT_ERR_NOT_OURS ? 0 : 1;
}

static void folder_that_others_made_or_can_write_is_not_ours(void **state)
{
    struct kt_error error;

    (void)state;
    assert_int_equal(kt_dir_make(temp_path("d"), 0700, NULL), 0);
    assert_int_equal(chmod(temp_path("d"), 0770), 0);
    assert_int_equal(kt_dir_make(temp_path("d"), 0700, &error), KT_ERR_NOT_OURS);
    assert_non_null(strstr(error.message, "0770"));
    assert_int_equal(kt_dir_make(temp_text("f", ""), 0700, &error), KT_ERR_NOT_OURS);
    assert_int_equal(chmod(temp_path("d"), 0755), 0);
    assert_int_equal(chmod(temp_dir, 0755), 0);
    if (geteuid() == 0)
        assert_int_equal(as_nobody(make_of_foreign), 0);
}

static void missing_or_bare_folder_is_empty(void **state)
{
    (void)state;
    assert_int_equal(kt_dir_is_empty(temp_dir, NULL), 1);
    assert_int_equal(kt_dir_is_empty(temp_path("none"), NULL), 1);
    temp_text(".hidden", "");
    assert_int_equal(kt_dir_is_empty(temp_dir, NULL), 0);
    assert_int_equal(kt_dir_is_empty(temp_path(".hidden"), NULL), KT_ERR_SYSTEM);
}

static void file_exists_says_so(void **state)
{
    (void)state;
    assert_false(kt_file_exists(temp_path("f")));
    temp_text("f", "");
    assert_true(kt_file_exists(temp_path("f")));
}

static void file_that_others_can_read_or_write_is_not_private(void **state)
{
    static const struct {
        mode_t mode;
        int secret, rc;
    } WANT[] = {
        {0600, 1, 0},
        {0400, 1, 0},
        {0640, 1, KT_ERR_PERMISSION},
        {0604, 1, KT_ERR_PERMISSION},
        {0620, 1, KT_ERR_PERMISSION},
        {0644, 0, 0},
        {0664, 0, KT_ERR_PERMISSION},
        {0646, 0, KT_ERR_PERMISSION},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(WANT) / sizeof(WANT[0]); i++) {
        temp_file("f", "", 0, WANT[i].mode);
        assert_int_equal(kt_file_check_private(temp_path("f"), WANT[i].secret, NULL), WANT[i].rc);
        unlink(temp_path("f"));
    }
    assert_int_equal(kt_file_check_private(temp_path("f"), 0, NULL), KT_ERR_NOT_FOUND);
}

static void lock_is_held_until_its_descriptor_is_closed(void **state)
{
    struct kt_error error;
    int first, second;

    (void)state;
    assert_int_equal(kt_file_lock(temp_path("lock"), &first, &error), 0);
    assert_int_equal(kt_file_lock(temp_path("lock"), &second, &error), KT_ERR_BUSY);
    close(first);
    assert_int_equal(kt_file_lock(temp_path("lock"), &second, &error), 0);
    close(second);
    assert_int_equal(kt_file_lock(temp_path("no/lock"), &second, &error), KT_ERR_SYSTEM);
}

static void lock_does_not_follow_a_link(void **state)
{
    int fd;

    (void)state;
    assert_int_equal(symlink(temp_path("target"), temp_path("lock")), 0);
    assert_int_equal(kt_file_lock(temp_path("lock"), &fd, NULL), KT_ERR_SYSTEM);
    assert_false(kt_file_exists(temp_path("target")));
}

static void joined_path_has_one_slash_and_must_fit(void **state)
{
    char out[8];

    (void)state;
    assert_int_equal(kt_path_join(out, sizeof(out), "/a", "b"), 0);
    assert_string_equal(out, "/a/b");
    assert_int_equal(kt_path_join(out, sizeof(out), "/", "b"), 0);
    assert_string_equal(out, "/b");
    assert_int_equal(kt_path_join(out, sizeof(out), "/abc", "def"), KT_ERR_TOO_LARGE);
    assert_int_equal(kt_path_join(out, sizeof(out), "/abc", "de"), 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, temp_dir_setup, temp_dir_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(file_is_read_whole_behind_what_was_there),
        CASE(file_at_the_bound_is_read_and_one_byte_more_is_too_large),
        CASE(missing_file_is_not_found_and_folder_is_invalid),
        CASE(file_without_right_to_read_is_permission),
        CASE(text_is_terminated_and_nul_is_invalid),
        CASE(replace_writes_content_and_mode_and_leaves_no_temporary_file),
        CASE(replace_takes_the_place_of_a_link_and_not_of_its_target),
        CASE(failed_replace_leaves_old_content_and_no_temporary_file),
        CASE(replace_of_too_long_a_path_is_refused),
        CASE(full_disk_is_storage_full),
        CASE(create_makes_a_file_once),
        CASE(folder_sync_of_a_missing_folder_fails),
        CASE(folder_is_made_with_its_mode_and_accepted_again),
        CASE(folder_that_others_made_or_can_write_is_not_ours),
        CASE(missing_or_bare_folder_is_empty),
        CASE(file_exists_says_so),
        CASE(file_that_others_can_read_or_write_is_not_private),
        CASE(lock_is_held_until_its_descriptor_is_closed),
        CASE(lock_does_not_follow_a_link),
        CASE(joined_path_has_one_slash_and_must_fit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
