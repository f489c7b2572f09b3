// SPDX-License-Identifier: Apache-2.0
// Pairs of files as they are found, and session keys against the recipients that were asked for.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>

#include "lib/backup_file.h"
#include "tests/unit/lib/temp_dir.h"

static const struct kt_gpg_recipient TWO[2] = {
    {.fingerprint = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
     .key_ids = {1, 2},
     .key_id_count = 2},
    {.fingerprint = "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB", .key_ids = {3}, .key_id_count = 1},
};

static int match(const struct kt_openpgp_message *message, size_t count)
{
    static struct kt_manifest manifest;
    struct kt_error error = {0};
    int rc = kt_backup_match_recipients(message, TWO, count, &manifest, &error);

    assert_int_equal(error.code, rc);
    if (rc == 0)
        assert_int_equal(manifest.recipient_count, count);
    return rc;
}

static void each_recipient_has_a_session_key_and_nobody_else(void **state)
{
    const struct kt_openpgp_message both = {.recipients = 2, .key_ids = {2, 3}};
    const struct kt_openpgp_message twice = {.recipients = 3, .key_ids = {1, 3, 2}};

    (void)state;
    assert_int_equal(match(&both, 2), 0);
    assert_int_equal(match(&twice, 2), 0);
}

static void session_key_that_nobody_asked_for_is_refused(void **state)
{
    const struct kt_openpgp_message more = {.recipients = 3, .key_ids = {1, 3, 9}};
    const struct kt_openpgp_message hidden = {.recipients = 2, .key_ids = {1, 0}};
    const struct kt_openpgp_message both = {.recipients = 2, .key_ids = {1, 3}};

    (void)state;
    assert_int_equal(match(&more, 2), KT_ERR_SIGNATURE);
    assert_int_equal(match(&hidden, 2), KT_ERR_SIGNATURE);
    assert_int_equal(match(&both, 1), KT_ERR_SIGNATURE);
}

static void recipient_without_a_session_key_is_noticed(void **state)
{
    const struct kt_openpgp_message one = {.recipients = 1, .key_ids = {1}};

    (void)state;
    assert_int_equal(match(&one, 2), KT_ERR_SIGNATURE);
}

static void passphrase_beside_the_recipients_is_refused(void **state)
{
    const struct kt_openpgp_message message = {
        .recipients = 2, .key_ids = {1, 3}, .passphrases = 1};

    (void)state;
    assert_int_equal(match(&message, 2), KT_ERR_SIGNATURE);
}

static int find(const char *path)
{
    struct kt_backup_file file;
    struct kt_error error = {0};
    int rc = kt_backup_find(path, NULL, &file, &error);

    assert_int_equal(error.code, rc);
    return rc;
}

static void what_is_no_pair_is_not_found_or_refused(void **state)
{
    (void)state;
    assert_int_equal(find("backup.zip"), KT_ERR_USAGE);
    assert_int_equal(find(".tar.gpg"), KT_ERR_USAGE);
    assert_int_equal(find(temp_path("a.tar.gpg")), KT_ERR_NOT_FOUND);
    (void)temp_text("a.manifest", "nothing of ours\n");
    assert_int_equal(find(temp_path("a.tar.gpg")), KT_ERR_INVALID);
    (void)temp_text("a.manifest", "-----BEGIN PGP SIGNED MESSAGE-----\n\nx\n");
    assert_int_equal(find(temp_path("a.manifest")), KT_ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_recipient_has_a_session_key_and_nobody_else),
        cmocka_unit_test(session_key_that_nobody_asked_for_is_refused),
        cmocka_unit_test(recipient_without_a_session_key_is_noticed),
        cmocka_unit_test(passphrase_beside_the_recipients_is_refused),
        cmocka_unit_test_setup_teardown(what_is_no_pair_is_not_found_or_refused, temp_dir_setup,
                                        temp_dir_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
