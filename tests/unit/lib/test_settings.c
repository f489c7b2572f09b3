// SPDX-License-Identifier: Apache-2.0
// The settings file: defaults, units, bounds, and everything that is refused.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "lib/settings.h"
#include "tests/unit/lib/temp_dir.h"

// Loads `text` as a settings file.
static int load(const char *text, struct kt_settings **settings, struct kt_error *error)
{
    *settings = NULL;
    memset(error, 0, sizeof(*error));
    return kt_settings_load(temp_text("keytrustee.conf", text), settings, error);
}

static void expect_refused(const char *text, const char *message, const char *hint)
{
    struct kt_settings *settings;
    struct kt_error error;

    assert_int_equal(load(text, &settings, &error), KT_ERR_SETTINGS);
    assert_null(settings);
    if (!strstr(error.message, message))
        fail_msg("'%s' is not in '%s'", message, error.message);
    if (hint && !strstr(error.hint, hint))
        fail_msg("'%s' is not in '%s'", hint, error.hint);
}

static int64_t number_of(const char *text, enum kt_setting id)
{
    struct kt_settings *settings;
    struct kt_error error;

    if (load(text, &settings, &error) != 0)
        fail_msg("%s", error.message);
    int64_t number = kt_settings_number(settings, id);
    kt_settings_free(settings);
    return number;
}

static void defaults_are_those_of_the_manual(void **state)
{
    struct kt_settings *s;

    (void)state;
    assert_int_equal(kt_settings_new(&s), 0);
    assert_string_equal(kt_settings_text(s, KT_SET_HTTPS_ADDRESS), "0.0.0.0");
    assert_int_equal(kt_settings_number(s, KT_SET_HTTPS_PORT), 11371);
    assert_int_equal(kt_settings_number(s, KT_SET_AGENT_PORT), 11372);
    assert_int_equal(kt_settings_number(s, KT_SET_DATABASE_PORT), 11381);
    assert_int_equal(kt_settings_number(s, KT_SET_LIMIT_HEADER), 8192);
    assert_int_equal(kt_settings_number(s, KT_SET_LIMIT_BODY), 1048576);
    assert_int_equal(kt_settings_number(s, KT_SET_TIMEOUT_IDLE), 75000);
    assert_true(kt_settings_number(s, KT_SET_CLIENT_CERTIFICATE_LIFETIME) == INT64_C(34300800000));
    assert_int_equal(kt_settings_number(s, KT_SET_LOG_LEVEL), 3);
    assert_string_equal(kt_settings_text(s, KT_SET_LOG_FILE), "");
    for (int id = 0; id < KT_SET_COUNT; id++)
        assert_false(kt_settings_is_set(s, (enum kt_setting)id));
    kt_settings_free(s);
    kt_settings_free(NULL);
}

static void every_row_stands_at_its_place_and_has_words(void **state)
{
    (void)state;
    for (int id = 0; id < KT_SET_COUNT; id++) {
        const struct kt_setting_info *info = kt_setting_info((enum kt_setting)id);
        assert_int_equal(info->id, id);
        assert_non_null(info->section);
        assert_non_null(info->name);
        assert_non_null(info->default_text);
        assert_true(strlen(info->text) > 10);
        assert_int_equal(info->text[strlen(info->text) - 1], '.');
        assert_true((info->type == KT_TYPE_CHOICE) == (info->choices != NULL));
    }
    assert_null(kt_setting_info(KT_SET_COUNT));
}

static void values_of_the_file_replace_defaults(void **state)
{
    struct kt_settings *s;
    struct kt_error error;

    (void)state;
    assert_int_equal(load("# comment\n; comment\n\n[https]\naddress = ::1\nport=1234 ; why\n"
                          "[database]\ndirectory = /srv/pg data\n[log]\r\nlevel = debug\r\n"
                          "[https]\nbacklog: 7",
                          &s, &error),
                     0);
    assert_string_equal(kt_settings_text(s, KT_SET_HTTPS_ADDRESS), "::1");
    assert_int_equal(kt_settings_number(s, KT_SET_HTTPS_PORT), 1234);
    assert_int_equal(kt_settings_number(s, KT_SET_HTTPS_BACKLOG), 7);
    assert_string_equal(kt_settings_text(s, KT_SET_DATABASE_DIRECTORY), "/srv/pg data");
    assert_int_equal(kt_settings_number(s, KT_SET_LOG_LEVEL), 4);
    assert_true(kt_settings_is_set(s, KT_SET_HTTPS_PORT));
    assert_false(kt_settings_is_set(s, KT_SET_AGENT_PORT));
    kt_settings_free(s);
}

static void indented_line_is_a_setting_of_its_own(void **state)
{
    (void)state;
    assert_int_equal(number_of("[https]\n  backlog = 9\n\tport = 4000\n", KT_SET_HTTPS_PORT), 4000);
}

static void units_multiply(void **state)
{
    (void)state;
    assert_int_equal(number_of("[limits]\nheader_size = 2048B\n", KT_SET_LIMIT_HEADER), 2048);
    assert_int_equal(number_of("[limits]\nheader_size = 2KiB\n", KT_SET_LIMIT_HEADER), 2048);
    assert_int_equal(number_of("[limits]\nbody_size = 2MiB\n", KT_SET_LIMIT_BODY), 2097152);
    assert_true(number_of("[audit]\nfile_size = 2GiB\n", KT_SET_AUDIT_FILE_SIZE) ==
                INT64_C(2147483648));
    assert_int_equal(number_of("[timeouts]\nread = 500ms\n", KT_SET_TIMEOUT_READ), 500);
    assert_int_equal(number_of("[timeouts]\nread = 2s\n", KT_SET_TIMEOUT_READ), 2000);
    assert_int_equal(number_of("[timeouts]\nread = 3min\n", KT_SET_TIMEOUT_READ), 180000);
    assert_int_equal(number_of("[timeouts]\nidle = 2h\n", KT_SET_TIMEOUT_IDLE), 7200000);
    assert_int_equal(number_of("[timeouts]\nidle = 1d\n", KT_SET_TIMEOUT_IDLE), 86400000);
    assert_int_equal(number_of("[timeouts]\nstop = 0\n", KT_SET_TIMEOUT_STOP), 0);
}

static void setting_with_unknown_key_is_refused_with_nearest_name(void **state)
{
    (void)state;
    expect_refused("[https]\n\nadress = ::\n", ":3: unknown setting 'adress' in [https]",
                   "did you mean 'address'?");
    expect_refused("[server]\nmax_conections = 5\n", ":2: unknown setting", "'max_connections'");
}

static void setting_in_the_wrong_section_is_refused_with_its_own(void **state)
{
    (void)state;
    expect_refused("[log]\nbacklog = 5\n", ":2: unknown setting 'backlog'", "belongs into [https]");
}

static void unknown_section_is_refused_with_nearest_name(void **state)
{
    (void)state;
    expect_refused("[timeout]\nread = 5s\n", ":2: unknown section [timeout]", "[timeouts]");
    expect_refused("[zzzzzz]\nread = 5s\n", "unknown section [zzzzzz]", NULL);
}

static void setting_before_the_first_section_is_refused(void **state)
{
    (void)state;
    expect_refused("port = 5\n", ":1: 'port' stands before the first [section]", NULL);
}

static void setting_given_twice_is_refused_with_both_lines(void **state)
{
    (void)state;
    expect_refused("[https]\nport = 5\n[log]\n[https]\nport = 6\n", ":5: 'port' in [https]", NULL);
    expect_refused("[https]\nport = 5\nport = 5\n", "set on line 2 already", NULL);
}

static void line_that_is_no_setting_is_refused(void **state)
{
    (void)state;
    expect_refused("[https]\nport = 5\njust words\n", ":3: not a setting", NULL);
    expect_refused("[https]\njust words\nadress = 5\n", ":2: not a setting", NULL);
    expect_refused("[https\nport = 5\n", ":1: not a section", NULL);
    expect_refused("[https] port = 5\n", ":1: not a section", NULL);
    assert_int_equal(number_of(" [https] ; why\nport = 5\n", KT_SET_HTTPS_PORT), 5);
}

static void wrong_values_are_refused_with_what_is_wanted(void **state)
{
    static const struct {
        const char *text, *message;
    } WRONG[] = {
        {"[https]\nport = 0\n", "must be between 1 and 65535"},
        {"[https]\nport = 65536\n", "must be between 1 and 65535"},
        {"[https]\nport = -1\n", "give a whole number"},
        {"[https]\nport = 80x\n", "give a whole number"},
        {"[https]\nport =\n", "give a whole number"},
        {"[https]\nport = 99999999999999999999999\n", "give a whole number"},
        {"[https]\nport = 0x10\n", "give a whole number"},
        {"[https]\naddress =\n", "must not be empty"},
        {"[limits]\nbody_size = 1\n", "one of B, KiB, MiB, GiB"},
        {"[limits]\nbody_size = 1MB\n", "one of B, KiB, MiB, GiB"},
        {"[limits]\nbody_size = 1 MiB\n", "one of B, KiB, MiB, GiB"},
        {"[limits]\nbody_size = 17MiB\n", "must be between 1KiB and 16MiB"},
        {"[limits]\nbody_size = 9223372036854775807GiB\n", "must be between 1KiB and 16MiB"},
        {"[timeouts]\nread = 10\n", "one of ms, s, min, h, d"},
        {"[timeouts]\nread = 10m\n", "one of ms, s, min, h, d"},
        {"[timeouts]\nread = 0\n", "must be between 100ms and 1h"},
        {"[timeouts]\nread = 1.5s\n", "one of ms, s, min, h, d"},
        {"[timeouts]\nstop = 2h\n", "must be between 0ms and 50s"},
        {"[log]\nlevel = verbose\n", "one of: error warning notice info debug"},
        {"[log]\nlevel = inf\n", "one of: error warning notice info debug"},
        {"[log]\nlevel =\n", "one of: error warning notice info debug"},
        {"[log]\nfile = relative/path\n", "must be an absolute path"},
        {"[database]\nname = a\x01z\n", "control character"},
        {"[https]\naddress=;\n", "a word that begins with ';'"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(WRONG) / sizeof(WRONG[0]); i++)
        expect_refused(WRONG[i].text, WRONG[i].message, NULL);
}

static void too_long_a_line_is_refused_and_not_cut(void **state)
{
    char text[1024] = "[log]\nfile = /";
    size_t start = strlen(text);

    (void)state;
    memset(text + start, 'a', 600);
    expect_refused(text, ":2: the line is longer than", NULL);
    memcpy(text, "[log]\n# comment", 15);
    strcat(text, "\nlevel = error\n");
    assert_int_equal(number_of(text, KT_SET_LOG_LEVEL), 0);
}

static void too_long_a_name_is_refused(void **state)
{
    (void)state;
    expect_refused("[database]\nname = "
                   "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n",
                   "is too long", NULL);
}

static void missing_file_is_not_found(void **state)
{
    struct kt_settings *s = NULL;
    struct kt_error error;

    (void)state;
    assert_int_equal(kt_settings_load(temp_path("none"), &s, &error), KT_ERR_NOT_FOUND);
    assert_null(s);
}

static void file_over_64_kib_is_refused(void **state)
{
    static char text[64 * 1024 + 2];

    (void)state;
    memset(text, '\n', sizeof(text) - 1);
    expect_refused(text, "is larger than", NULL);
    text[64 * 1024] = '\0';
    assert_int_equal(number_of(text, KT_SET_HTTPS_PORT), 11371);
}

static void file_that_others_can_write_is_refused(void **state)
{
    static const mode_t MODES[] = {0620, 0602, 0666};
    struct kt_settings *s = NULL;
    struct kt_error error;

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        const char *path = temp_file("f", "", 0, MODES[i]);
        assert_int_equal(kt_settings_load(path, &s, &error), KT_ERR_SETTINGS);
        assert_non_null(strstr(error.hint, "chmod"));
    }
    assert_int_equal(kt_settings_load(temp_file("f", "", 0, 0644), &s, &error), 0);
    kt_settings_free(s);
}

static void file_with_a_nul_byte_is_refused(void **state)
{
    struct kt_settings *s = NULL;
    struct kt_error error;

    (void)state;
    assert_int_equal(kt_settings_load(temp_file("f", "[log]\0\n", 7, 0600), &s, &error),
                     KT_ERR_SETTINGS);
}

static void set_checks_as_the_file_does_and_keeps_the_old_value(void **state)
{
    struct kt_settings *s;
    struct kt_error error;

    (void)state;
    assert_int_equal(kt_settings_new(&s), 0);
    assert_int_equal(kt_settings_set(s, KT_SET_HTTPS_PORT, "443", &error), 0);
    assert_int_equal(kt_settings_set(s, KT_SET_HTTPS_PORT, "0", &error), KT_ERR_SETTINGS);
    assert_non_null(strstr(error.message, "https.port"));
    assert_int_equal(kt_settings_set(s, KT_SET_DATABASE_NAME, "a\nb", &error), KT_ERR_SETTINGS);
    assert_int_equal(kt_settings_set(s, KT_SET_COUNT, "1", &error), KT_ERR_SETTINGS);
    assert_int_equal(kt_settings_number(s, KT_SET_HTTPS_PORT), 443);
    assert_true(kt_settings_is_set(s, KT_SET_HTTPS_PORT));
    kt_settings_free(s);
}

static void sample_names_every_setting_and_loads_to_the_same_values(void **state)
{
    struct kt_settings *s, *back;
    struct kt_error error;
    char *sample = NULL, line[128];
    size_t size;

    (void)state;
    assert_int_equal(kt_settings_new(&s), 0);
    assert_int_equal(kt_settings_set(s, KT_SET_HTTPS_PORT, "443", NULL), 0);
    assert_int_equal(kt_settings_set(s, KT_SET_LOG_FILE, "", NULL), 0);
    FILE *out = open_memstream(&sample, &size);
    assert_int_equal(kt_settings_write_sample(s, out), 0);
    fclose(out);
    assert_non_null(strstr(sample, "\nport = 443\n"));
    assert_non_null(strstr(sample, "\n#port = 11372\n"));
    assert_non_null(strstr(sample, "\nfile =\n"));
    for (int id = 0; id < KT_SET_COUNT; id++) {
        const struct kt_setting_info *info = kt_setting_info((enum kt_setting)id);
        snprintf(line, sizeof(line),
                 "%s%s =", kt_settings_is_set(s, (enum kt_setting)id) ? "\n" : "\n#", info->name);
        assert_non_null(strstr(sample, line));
    }
    assert_int_equal(load(sample, &back, &error), 0);
    for (int id = 0; id < KT_SET_COUNT; id++) {
        enum kt_setting which = (enum kt_setting)id;
        assert_string_equal(kt_settings_text(s, which), kt_settings_text(back, which));
        assert_int_equal(kt_settings_is_set(s, which), kt_settings_is_set(back, which));
    }
    // with the comment signs taken away, the defaults must pass their own checks
    for (char *p = sample; (p = strstr(p, "\n#")); p++) {
        if (p[2] != ' ')
            p[1] = ' ';
    }
    kt_settings_free(back);
    assert_int_equal(load(sample, &back, &error), 0);
    kt_settings_free(back);
    kt_settings_free(s);
    free(sample);
}

static void sample_on_a_full_disk_fails(void **state)
{
    struct kt_settings *s;
    FILE *out = fopen("/dev/full", "w");

    (void)state;
    if (!out)
        skip();
    setbuf(out, NULL);
    assert_int_equal(kt_settings_new(&s), 0);
    assert_int_equal(kt_settings_write_sample(s, out), KT_ERR_SYSTEM);
    fclose(out);
    kt_settings_free(s);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, temp_dir_setup, temp_dir_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(defaults_are_those_of_the_manual),
        CASE(every_row_stands_at_its_place_and_has_words),
        CASE(values_of_the_file_replace_defaults),
        CASE(indented_line_is_a_setting_of_its_own),
        CASE(units_multiply),
        CASE(setting_with_unknown_key_is_refused_with_nearest_name),
        CASE(setting_in_the_wrong_section_is_refused_with_its_own),
        CASE(unknown_section_is_refused_with_nearest_name),
        CASE(setting_before_the_first_section_is_refused),
        CASE(setting_given_twice_is_refused_with_both_lines),
        CASE(line_that_is_no_setting_is_refused),
        CASE(wrong_values_are_refused_with_what_is_wanted),
        CASE(too_long_a_line_is_refused_and_not_cut),
        CASE(too_long_a_name_is_refused),
        CASE(missing_file_is_not_found),
        CASE(file_over_64_kib_is_refused),
        CASE(file_that_others_can_write_is_refused),
        CASE(file_with_a_nul_byte_is_refused),
        CASE(set_checks_as_the_file_does_and_keeps_the_old_value),
        CASE(sample_names_every_setting_and_loads_to_the_same_values),
        CASE(sample_on_a_full_disk_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
