// SPDX-License-Identifier: Apache-2.0
// Manifests: the example of docs/backup-format.md, and that only its one spelling is accepted.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/file.h"
#include "lib/manifest.h"

#define FINGERPRINT "2A8A5A110415BA59EF0ABF96A6E3E8D180F9C6D8"

// The example of the page; the caller frees.
static char *example(void)
{
    static const char MARK[] = "<!-- vector: manifest -->\n```text\n";
    struct kt_error error = {0};
    char *page = NULL, *from, *end, *text;

    if (kt_file_read_text(KT_SOURCE_DIR "/docs/backup-format.md", 1 << 20, &page, &error) != 0)
        fail_msg("%s", error.message);
    from = strstr(page, MARK);
    assert_non_null(from);
    from += strlen(MARK);
    end = strstr(from, "```");
    assert_non_null(end);
    text = strndup(from, (size_t)(end - from));
    free(page);
    return text;
}

static void read_example(struct kt_manifest *manifest)
{
    struct kt_error error = {0};
    char *text = example();

    if (kt_manifest_parse(text, strlen(text), manifest, &error) != 0)
        fail_msg("%s", error.message);
    free(text);
}

static void the_example_has_the_values_of_the_page(void **state)
{
    static struct kt_manifest m;
    static const uint8_t HEAD[] = {0xa3, 0xdd, 0x8b, 0x94};

    (void)state;
    read_example(&m);
    assert_int_equal(m.kind, KT_BACKUP_SERVER);
    assert_string_equal(m.artefact, "kts_bak_kts01_example_com_2026-11-22_03-00-07.tar.gpg");
    assert_true(m.bytes == UINT64_C(2147614720));
    assert_int_equal(m.sha256[0], 0x71);
    assert_false(m.is_cleartext);
    assert_string_equal(m.signer, "6A2C1B0F95D84E7733C1A0D24F5E6B7C8D9E0F11");
    assert_int_equal(m.cluster_id.bytes[0], 0x0e);
    assert_string_equal(m.owner, "kts-01");
    assert_int_equal(m.sequence, 42);
    assert_int_equal(m.previous[0], 0x1e);
    assert_string_equal(m.program, "0.1.0");
    assert_int_equal(m.recipient_count, 2);
    assert_string_equal(m.recipients[0].fingerprint, FINGERPRINT);
    assert_int_equal(m.recipients[1].key_id_count, 2);
    assert_true(m.recipients[1].key_ids[1] == UINT64_C(0x0F1E2D3C4B5A6978));
    assert_string_equal(m.member, "kts-01.0a1b2c3d");
    assert_int_equal(m.incarnation.number, 1);
    assert_int_equal(m.epoch, 3);
    assert_true(m.is_passive);
    assert_true(m.lsn == UINT64_C(0x16B374D848));
    assert_int_equal(m.timeline, 3);
    assert_true(m.is_proven);
    assert_int_equal(m.log_index, 1200345);
    assert_memory_equal(m.log_head, HEAD, sizeof HEAD);
    assert_int_equal(m.schema, 7);
    assert_string_equal(m.postgresql, "15.20");
    assert_int_equal(m.table_count, 2);
    assert_int_equal(kt_manifest_rows(&m, "deposit"), 1200345);
    assert_int_equal(kt_manifest_rows(&m, "client"), 12);
    assert_int_equal(kt_manifest_rows(&m, "depos"), 0);
}

static void all_kinds_come_back(void **state)
{
    static struct kt_manifest m, again;
    struct kt_error error = {0};

    (void)state;
    for (int kind = KT_BACKUP_SERVER; kind <= KT_BACKUP_FILES; kind++) {
        for (int clear = 0; clear <= 1; clear++) {
            struct kt_buf text = KT_BUF_INIT(65536);
            read_example(&m);
            m.kind = (enum kt_backup_kind)kind;
            if (kind == KT_BACKUP_FILES) {
                m.signer[0] = '\0';
                memset(&m.cluster_id, 0, sizeof m.cluster_id);
            }
            if (clear) {
                m.is_cleartext = 1;
                m.recipient_count = 0;
                strcpy(m.artefact, "kts_bak_a_2026-11-22_03-00-07.tar");
            }
            assert_int_equal(kt_manifest_format(&m, &text), 0);
            if (kt_manifest_parse((char *)text.data, text.len, &again, &error) != 0)
                fail_msg("%s", error.message);
            assert_int_equal(again.kind, kind);
            assert_int_equal(again.is_cleartext, clear);
            assert_int_equal(again.epoch, kind == KT_BACKUP_SERVER ? 3 : 0);
            for (size_t i = 0; i < text.len; i++) // signed in the clear
                assert_false(text.data[i] == '\n' && i + 1 < text.len && text.data[i + 1] == '-');
            kt_buf_free(&text);
        }
    }
}

static void the_largest_manifest_fits(void **state)
{
    static struct kt_manifest m, again;
    struct kt_buf text = KT_BUF_INIT(KT_MANIFEST_FILE_MAX);
    struct kt_error error = {0};

    (void)state;
    read_example(&m);
    m.recipient_count = KT_MANIFEST_RECIPIENTS_MAX;
    for (size_t i = 0; i < m.recipient_count; i++) {
        snprintf(m.recipients[i].fingerprint, sizeof m.recipients[i].fingerprint, "%040zX", i);
        m.recipients[i].key_id_count = KT_MANIFEST_KEY_IDS_MAX;
        for (size_t k = 0; k < KT_MANIFEST_KEY_IDS_MAX; k++)
            m.recipients[i].key_ids[k] = UINT64_MAX - k;
    }
    m.table_count = KT_MANIFEST_TABLES_MAX;
    for (size_t i = 0; i < m.table_count; i++) {
        snprintf(m.tables[i].name, sizeof m.tables[i].name, "t%062zu", i);
        m.tables[i].rows = UINT64_MAX;
    }
    assert_int_equal(kt_manifest_format(&m, &text), 0);
    if (kt_manifest_parse((char *)text.data, text.len, &again, &error) != 0)
        fail_msg("%s", error.message);
    assert_memory_equal(&m, &again, sizeof m);
    m.recipient_count++;
    assert_int_equal(kt_manifest_format(&m, &text), KT_ERR_INVALID);
    m.recipient_count--;
    m.table_count++;
    assert_int_equal(kt_manifest_format(&m, &text), KT_ERR_INVALID);
    kt_buf_free(&text);
}

// Replaces a piece of the example and parses it.
static int parse_changed(const char *piece, const char *with, struct kt_error *error)
{
    static struct kt_manifest m;
    char *text = example(), *at = strstr(text, piece), *changed = NULL;
    int rc;

    assert_non_null(at);
    assert_true(asprintf(&changed, "%.*s%s%s", (int)(at - text), text, with, at + strlen(piece)) >
                0);
    rc = kt_manifest_parse(changed, strlen(changed), &m, error);
    free(changed);
    free(text);
    return rc;
}

static void any_other_spelling_is_refused(void **state)
{
    static const char *const CHANGES[][2] = {
        {"keytrustee-backup 1", "keytrustee-backup 2"},
        {"kind server", "kind other"},
        {"kind server", "kind files"},
        {"artefact kts", "artefact ../kts"},
        {"artefact kts", "artefact /kts"},
        {".tar.gpg", ".tar"},
        {".tar.gpg", ".tar.gpg "},
        {"03-00-07", "03:00:07"},
        {"bytes 2", "bytes 02"},
        {"bytes 2", "bytes +2"},
        {"bytes 2147614720", "bytes 18446744073709551616"},
        {"sha256 717dd", "sha256 717DD"},
        {"sha256 717dd", "sha256 717d"},
        {"encrypted yes", "encrypted no"},
        {"encrypted yes", "encrypted maybe"},
        {"signer 6A2C", "signer 6a2c"},
        {"signer 6A2C", "signer 6A2"},
        {"signer 6A2C1B0F95D84E7733C1A0D24F5E6B7C8D9E0F11", "signer none"},
        {"cluster 0e37df36-f698-41e6-88dd-2c1f2e5c2f5b",
         "cluster 00000000-0000-0000-0000-000000000000"},
        {"owner kts-01", "owner kts 01"},
        {"owner kts-01", "owner "},
        {"owner kts-01", "owner k\xc3\xa4"},
        {"sequence 42", "sequence 0"},
        {"previous 1e", "previous 1"},
        {"time 2026-11-22T", "time 2026-13-22T"},
        {"program 0.1.0", "program 0.1.0 (x)"},
        {"recipient " FINGERPRINT " ", "recipient " FINGERPRINT "  "},
        {"B923F16FC4E69B27", "B923F16FC4E69B2"},
        {"B923F16FC4E69B27", "b923f16fc4e69b27"},
        {"B923F16FC4E69B27", "B923F16FC4E69B27,"},
        {"B923F16FC4E69B27", "0000000000000000"},
        {"recipient 9DCE78FCB567D6F81533E422BB594338DBA7EBE8", "recipient " FINGERPRINT},
        {"member kts-01.0a1b2c3d", "member kts-01"},
        {"incarnation 1.", "incarnation 01."},
        {"role passive", "role standby"},
        {"position 16/B374D848", "position 16/b374d848"},
        {"position 16/B374D848", "position 16B374D848"},
        {"timeline 3", "timeline 4294967296"},
        {"proven yes", "proven 1"},
        {"log-index 1200345", "log-index 0"},
        {"log-head a3dd", "log-head a3d"},
        {"schema 7", "schema seven"},
        {"rows client 12", "rows client 12 "},
        {"rows client 12", "rows Client 12"},
        {"rows client 12", "rows client"},
        {"rows client 12", "rows deposit 12"},
        {"rows client 12\n", "rows client 12\n\n"},
        {"rows deposit 1200345\n", "rows deposit 1200345\nmore 1\n"},
        {"rows deposit 1200345\n", "rows deposit 1200345"},
        {"epoch 3\nrole passive\n", "role passive\nepoch 3\n"},
        {"\nepoch 3\n", "\nepoch 3\nepoch 3\n"},
        {"\nepoch 3\n", "\r\nepoch 3\n"},
    };
    struct kt_error error = {0};

    (void)state;
    assert_int_equal(parse_changed("kind server", "kind server", &error), 0);
    for (size_t i = 0; i < sizeof CHANGES / sizeof CHANGES[0]; i++)
        if (parse_changed(CHANGES[i][0], CHANGES[i][1], &error) != KT_ERR_INVALID)
            fail_msg("accepted: \"%s\" for \"%s\"", CHANGES[i][1], CHANGES[i][0]);
    assert_int_equal(parse_changed("bytes 2", "byte 2", &error), KT_ERR_INVALID);
    assert_non_null(strstr(error.message, "line 4 "));
}

static void every_truncation_is_refused(void **state)
{
    static struct kt_manifest m;
    struct kt_error error = {0};
    char *text = example();
    size_t whole = strlen(text);

    (void)state;
    for (size_t n = 0; n < whole; n++) {
        char *copy = malloc(n > 0 ? n : 1);
        memcpy(copy, text, n);
        // The lines of tables may be fewer: those are manifests of their own.
        if (kt_manifest_parse(copy, n, &m, &error) == 0 && strncmp(text + n, "rows ", 5) != 0)
            fail_msg("accepted with %zu of %zu bytes", n, whole);
        free(copy);
    }
    free(text);
    text = calloc(1, KT_MANIFEST_FILE_MAX + 1);
    assert_int_equal(kt_manifest_parse(text, KT_MANIFEST_FILE_MAX + 1, &m, &error), KT_ERR_INVALID);
    free(text);
}

static void values_that_the_format_cannot_hold_are_refused(void **state)
{
    static struct kt_manifest good, m;
    struct kt_buf text = KT_BUF_INIT(65536), small = KT_BUF_INIT(100);

    (void)state;
    read_example(&good);
    m = good;
    m.kind = (enum kt_backup_kind)7;
    assert_int_equal(kt_manifest_format(&m, &text), KT_ERR_INVALID);
    m = good;
    strcpy(m.owner, "a\nb");
    assert_int_equal(kt_manifest_format(&m, &text), KT_ERR_INVALID);
    memset(m.owner, 'a', sizeof m.owner); // without its end
    assert_int_equal(kt_manifest_format(&m, &text), KT_ERR_INVALID);
    m = good;
    strcpy(m.artefact, "kts.tar.gpg");
    assert_int_equal(kt_manifest_format(&m, &text), KT_ERR_INVALID);
    m = good;
    m.recipients[0].key_id_count = 0;
    assert_int_equal(kt_manifest_format(&m, &text), KT_ERR_INVALID);
    m = good;
    m.kind = KT_BACKUP_FILES;
    assert_int_equal(kt_manifest_format(&m, &text), KT_ERR_INVALID); // has a signer
    assert_int_equal(text.len, 0);
    assert_int_equal(kt_manifest_format(&good, &small), KT_ERR_TOO_LARGE);
    kt_buf_free(&text);
    kt_buf_free(&small);
}

static void a_stem_is_named_as_ever(void **state)
{
    static const char *const HOSTS[][2] = {
        {"kts01.example.com", "kts_bak_kts01_example_com_2016-02-10_11-14-37"},
        {"a-b_C9", "kts_bak_a-b_C9_2016-02-10_11-14-37"},
        {"k\xc3\xa4/..", "kts_bak_k______2016-02-10_11-14-37"},
        {"", "kts_bak_unknown_2016-02-10_11-14-37"},
    };
    char stem[KT_BACKUP_STEM], name[KT_BACKUP_STEM + 16], found[KT_BACKUP_STEM], host[300];

    (void)state;
    setenv("TZ", "UTC-2", 1); // two hours east of Greenwich
    tzset();
    for (size_t i = 0; i < sizeof HOSTS / sizeof HOSTS[0]; i++) {
        kt_backup_stem(HOSTS[i][0], INT64_C(1455095677999999), stem);
        assert_string_equal(stem, HOSTS[i][1]);
    }
    memset(host, 'h', sizeof host - 1);
    host[sizeof host - 1] = '\0';
    static const int64_t TIMES[] = {0, INT64_MIN, INT64_MAX, INT64_C(1455095677000000)};
    for (size_t i = 0; i < sizeof TIMES / sizeof TIMES[0]; i++) {
        kt_backup_stem(host, TIMES[i], stem);
        snprintf(name, sizeof name, "%s.tar.gpg", stem);
        assert_int_equal(kt_backup_name_is(name, ".tar.gpg", found), 1);
        assert_string_equal(found, stem);
    }
}

static void names_of_backups_are_told_from_others(void **state)
{
    static const char *const OTHERS[] = {
        "",
        ".tar",
        "kts_bak_2016-02-10_11-14-37.tar",
        "kts_bak__2016-02-10_11-14-37.tar",
        "kts_bak_a_2016-02-10_11-14-37.tar.gpg",
        "kts_bak_a_2016-02-10_11-14-37.tar.part",
        "kts_bak_a_2016-02-10_11-14-3x.tar",
        "kts_bak_a_2016-02-10 11-14-37.tar",
        "kts_bak_a.b_2016-02-10_11-14-37.tar",
        "kts_bak_a/b_2016-02-10_11-14-37.tar",
        "/kts_bak_a_2016-02-10_11-14-37.tar",
        "xkts_bak_a_2016-02-10_11-14-37.tar",
        "kts_bak_a_2016-02-10_11-14-37.tar\n",
    };

    (void)state;
    assert_int_equal(kt_backup_name_is("kts_bak_a_2016-02-10_11-14-37.tar", ".tar", NULL), 1);
    for (size_t i = 0; i < sizeof OTHERS / sizeof OTHERS[0]; i++)
        if (kt_backup_name_is(OTHERS[i], ".tar", NULL))
            fail_msg("\"%s\"", OTHERS[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_example_has_the_values_of_the_page),
        cmocka_unit_test(all_kinds_come_back),
        cmocka_unit_test(the_largest_manifest_fits),
        cmocka_unit_test(any_other_spelling_is_refused),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(values_that_the_format_cannot_hold_are_refused),
        cmocka_unit_test(a_stem_is_named_as_ever),
        cmocka_unit_test(names_of_backups_are_told_from_others),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
