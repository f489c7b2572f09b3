// SPDX-License-Identifier: Apache-2.0
// OpenPGP against a real gpg, in homes that live as long as the test.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/gpg.h"

#define OTHER "keytrustee client other"
#define OWNER "keytrustee client owner"

struct fixture {
    char folder[64];
    char home[128];
    struct kt_gpg *gpg;
    char owner[KT_OPENPGP_FINGERPRINT_TEXT];
    char other[KT_OPENPGP_FINGERPRINT_TEXT];
};

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *walk)
{
    (void)st, (void)type, (void)walk;
    return remove(path);
}

static void must(int rc, const struct kt_error *error)
{
    if (rc != 0)
        print_error("%d: %s\n", rc, error->message);
    assert_int_equal(rc, 0);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct kt_error error = {0};

    *state = f;
    strcpy(f->folder, "/tmp/kt-gpg-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->home, sizeof f->home, "%s/gnupg", f->folder);
    assert_int_equal(mkdir(f->home, 0700), 0);
    must(kt_gpg_new(f->home, &f->gpg, &error), &error);
    must(kt_gpg_generate(f->gpg, KT_GPG_CLIENT, OWNER, f->owner, &error), &error);
    must(kt_gpg_generate(f->gpg, KT_GPG_CLIENT, OTHER, f->other, &error), &error);
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    kt_gpg_free(f->gpg);
    nftw(f->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(f);
    return 0;
}

static void encrypt(struct fixture *f, const char *signer, const char *to, const void *bytes,
                    size_t n, struct kt_buf *out)
{
    const char *const recipients[] = {to, NULL};
    struct kt_error error = {0};

    must(kt_gpg_encrypt(f->gpg, signer, recipients, bytes, n, out, &error), &error);
}

static void a_client_key_has_the_form_the_server_accepts(void **state)
{
    struct fixture *f = *state;
    struct kt_buf key = KT_BUF_INIT(65536);
    struct kt_openpgp_key read;
    struct kt_error error = {0};
    char hex[KT_OPENPGP_FINGERPRINT_TEXT];

    must(kt_gpg_export(f->gpg, f->owner, &key, &error), &error);
    must(kt_openpgp_read_key(kt_buf_ptr(&key), kt_buf_left(&key), &read, &error), &error);
    for (size_t i = 0; i < sizeof read.fingerprint; i++)
        snprintf(hex + 2 * i, 3, "%02X", read.fingerprint[i]);
    assert_string_equal(hex, f->owner);
    assert_int_equal(read.key_id_count, 2); // the primary, and the subkey for encryption
    kt_buf_free(&key);
}

static void what_was_encrypted_comes_back_byte_for_byte(void **state)
{
    struct fixture *f = *state;
    static const size_t sizes[] = {1, 32, 4096, 4097, 1048576};
    struct kt_error error = {0};

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct kt_buf cipher = KT_BUF_INIT(2 << 20);
        struct kt_openpgp_message message;
        struct kt_secret *plain = NULL;
        uint8_t *bytes = malloc(sizes[i]);
        for (size_t k = 0; k < sizes[i]; k++)
            bytes[k] = (uint8_t)(k * 7 + (k >> 8));
        encrypt(f, f->owner, f->owner, bytes, sizes[i], &cipher);
        must(kt_openpgp_check_message(kt_buf_ptr(&cipher), kt_buf_left(&cipher), &message, &error),
             &error);
        assert_int_equal(message.recipients, 1);
        must(kt_gpg_decrypt(f->gpg, f->owner, kt_buf_ptr(&cipher), kt_buf_left(&cipher), &plain,
                            &error),
             &error);
        assert_int_equal(kt_secret_len(plain), sizes[i]);
        assert_memory_equal(kt_secret_data(plain), bytes, sizes[i]);
        kt_secret_free(plain);
        kt_buf_free(&cipher);
        free(bytes);
    }
}

static void content_is_not_compressed(void **state)
{
    struct fixture *f = *state;
    struct kt_buf cipher = KT_BUF_INIT(1 << 20);
    char *zeros = calloc(1, 65536);

    // Compression would tell something of the content by the size of the ciphertext.
    encrypt(f, f->owner, f->owner, zeros, 65536, &cipher);
    assert_true(kt_buf_left(&cipher) > 65536);
    kt_buf_free(&cipher);
    free(zeros);
}

static void a_signature_by_another_key_is_refused(void **state)
{
    struct fixture *f = *state;
    struct kt_buf cipher = KT_BUF_INIT(65536);
    struct kt_secret *plain = NULL;
    struct kt_error error = {0};

    encrypt(f, f->other, f->owner, "secret", 6, &cipher);
    assert_int_equal(
        kt_gpg_decrypt(f->gpg, f->owner, kt_buf_ptr(&cipher), kt_buf_left(&cipher), &plain, &error),
        KT_ERR_SIGNATURE);
    assert_null(plain);
    must(kt_gpg_decrypt(f->gpg, NULL, kt_buf_ptr(&cipher), kt_buf_left(&cipher), &plain, &error),
         &error);
    kt_secret_free(plain);
    kt_buf_free(&cipher);
}

static void content_without_a_signature_is_refused(void **state)
{
    struct fixture *f = *state;
    char command[512];
    struct kt_buf cipher = KT_BUF_INIT(65536);
    uint8_t *where = NULL;
    struct kt_secret *plain = NULL;
    struct kt_error error = {0};

    snprintf(command, sizeof command,
             "printf secret | gpg --homedir %s --batch --quiet --trust-model always -r %s -e",
             f->home, f->owner);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    assert_int_equal(kt_buf_reserve(&cipher, 4096, &where), 0);
    kt_buf_commit(&cipher, fread(where, 1, 4096, pipe));
    assert_int_equal(pclose(pipe), 0);
    assert_int_equal(
        kt_gpg_decrypt(f->gpg, NULL, kt_buf_ptr(&cipher), kt_buf_left(&cipher), &plain, &error),
        KT_ERR_SIGNATURE);
    assert_null(plain);
    kt_buf_free(&cipher);
}

// How often `mark` stands in this process' stack.
static int count_on_stack(const char *mark, size_t n)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    int mem = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    unsigned long long from = 0, to = 0;
    char line[512];
    int count = 0;

    assert_non_null(maps);
    assert_true(mem >= 0);
    while (fgets(line, sizeof line, maps) != NULL) {
        if (strstr(line, "[stack]") == NULL || sscanf(line, "%llx-%llx", &from, &to) != 2)
            continue;
        size_t size = (size_t)(to - from);
        char *copy = malloc(size);
        assert_int_equal(pread(mem, copy, size, (off_t)from), size);
        for (char *at = copy; (at = memmem(at, size - (size_t)(at - copy), mark, n)); at++)
            count++;
        free(copy);
    }
    assert_true(to > from);
    close(mem);
    fclose(maps);
    return count;
}

static void decrypted_content_is_in_locked_memory_only(void **state)
{
    enum { SIZE = 3000, MARK = 32 };
    struct fixture *f = *state;
    struct kt_buf cipher = KT_BUF_INIT(65536);
    struct kt_secret *plain = NULL;
    struct kt_error error = {0};
    char *text = malloc(SIZE);

    memset(text, 'Q', SIZE); // on the heap, and no literal: the search must not find itself
    encrypt(f, f->owner, f->owner, text, SIZE, &cipher);
    must(
        kt_gpg_decrypt(f->gpg, f->owner, kt_buf_ptr(&cipher), kt_buf_left(&cipher), &plain, &error),
        &error);
    assert_int_equal(kt_secret_len(plain), SIZE);
    assert_int_equal(count_on_stack(text, MARK), 0);
    kt_secret_free(plain);
    kt_buf_free(&cipher);
    free(text);
}

static void a_changed_byte_anywhere_is_refused(void **state)
{
    struct fixture *f = *state;
    struct kt_buf cipher = KT_BUF_INIT(65536);
    struct kt_error error = {0};

    encrypt(f, f->owner, f->owner, "secret", 6, &cipher);
    for (size_t at = 0; at < cipher.len; at += cipher.len / 8) {
        struct kt_secret *plain = NULL;
        cipher.data[at] ^= 1;
        assert_int_not_equal(
            kt_gpg_decrypt(f->gpg, f->owner, cipher.data, cipher.len, &plain, &error), 0);
        assert_null(plain);
        cipher.data[at] ^= 1;
    }
    kt_buf_free(&cipher);
}

static void content_of_nobody_here_is_refused(void **state)
{
    struct fixture *f = *state;
    char home[160];
    struct kt_gpg *second = NULL;
    struct kt_buf key = KT_BUF_INIT(65536), cipher = KT_BUF_INIT(65536);
    char fingerprint[KT_OPENPGP_FINGERPRINT_TEXT], imported[KT_OPENPGP_FINGERPRINT_TEXT];
    struct kt_secret *plain = NULL;
    struct kt_error error = {0};

    snprintf(home, sizeof home, "%s/second", f->folder);
    assert_int_equal(mkdir(home, 0700), 0);
    must(kt_gpg_new(home, &second, &error), &error);
    must(kt_gpg_generate(second, KT_GPG_CLIENT, "somebody else", fingerprint, &error), &error);
    must(kt_gpg_export(second, fingerprint, &key, &error), &error);
    must(kt_gpg_import(f->gpg, kt_buf_ptr(&key), kt_buf_left(&key), imported, &error), &error);
    assert_string_equal(imported, fingerprint);
    encrypt(f, f->owner, fingerprint, "secret", 6, &cipher); // never trusted, and yet
    assert_int_equal(
        kt_gpg_decrypt(f->gpg, f->owner, kt_buf_ptr(&cipher), kt_buf_left(&cipher), &plain, &error),
        KT_ERR_CRYPTO);
    assert_null(plain);
    kt_gpg_free(second);
    kt_buf_free(&key);
    kt_buf_free(&cipher);
}

static void a_name_inside_the_encryption_comes_back(void **state)
{
    struct fixture *f = *state;
    const char *const recipients[] = {f->owner, NULL};
    struct kt_buf cipher = KT_BUF_INIT(65536);
    struct kt_secret *plain = NULL;
    struct kt_error error = {0};
    char name[32] = "x";

    must(kt_gpg_encrypt_named(f->gpg, f->owner, recipients, "keytrustee:00ff", "s", 1, &cipher,
                              &error),
         &error);
    must(kt_gpg_decrypt_named(f->gpg, f->owner, kt_buf_ptr(&cipher), kt_buf_left(&cipher), name,
                              sizeof name, &plain, &error),
         &error);
    assert_string_equal(name, "keytrustee:00ff");
    kt_secret_free(plain);
    plain = NULL;
    must(kt_gpg_decrypt_named(f->gpg, f->owner, kt_buf_ptr(&cipher), kt_buf_left(&cipher), name, 4,
                              &plain, &error),
         &error);
    assert_string_equal(name, ""); // did not fit
    kt_secret_free(plain);
    kt_buf_free(&cipher);
}

static void garbage_is_refused(void **state)
{
    struct fixture *f = *state;
    struct kt_secret *plain = NULL;
    char fingerprint[KT_OPENPGP_FINGERPRINT_TEXT];
    struct kt_error error = {0};

    assert_int_equal(kt_gpg_decrypt(f->gpg, NULL, "no OpenPGP", 10, &plain, &error), KT_ERR_CRYPTO);
    assert_null(plain);
    assert_int_equal(kt_gpg_import(f->gpg, "no OpenPGP", 10, fingerprint, &error),
                     KT_ERR_OPENPGP_KEY_INVALID);
}

static void a_key_is_found_by_its_exact_user_id(void **state)
{
    struct fixture *f = *state;
    char fingerprint[KT_OPENPGP_FINGERPRINT_TEXT];
    struct kt_error error = {0};

    must(kt_gpg_find_secret(f->gpg, OWNER, fingerprint, &error), &error);
    assert_string_equal(fingerprint, f->owner);
    must(kt_gpg_find_secret(f->gpg, OTHER, fingerprint, &error), &error);
    assert_string_equal(fingerprint, f->other);
    assert_int_equal(kt_gpg_find_secret(f->gpg, "keytrustee client", fingerprint, &error),
                     KT_ERR_NOT_FOUND);
}

static void unknown_keys_are_not_found(void **state)
{
    struct fixture *f = *state;
    static const char nobody[] = "0123456789ABCDEF0123456789ABCDEF01234567";
    const char *const recipients[] = {nobody, NULL};
    const char *const own[] = {f->owner, NULL};
    struct kt_buf out = KT_BUF_INIT(65536);
    struct kt_error error = {0};

    assert_int_equal(kt_gpg_export(f->gpg, nobody, &out, &error), KT_ERR_NOT_FOUND);
    assert_int_equal(kt_gpg_encrypt(f->gpg, f->owner, recipients, "s", 1, &out, &error),
                     KT_ERR_NOT_FOUND);
    assert_int_equal(kt_gpg_encrypt(f->gpg, nobody, own, "s", 1, &out, &error), KT_ERR_NOT_FOUND);
    kt_buf_free(&out);
}

static void output_beyond_its_bound_is_refused(void **state)
{
    struct fixture *f = *state;
    const char *const recipients[] = {f->owner, NULL};
    struct kt_buf out = KT_BUF_INIT(64);
    struct kt_error error = {0};

    assert_int_not_equal(kt_gpg_encrypt(f->gpg, f->owner, recipients, "s", 1, &out, &error), 0);
    kt_buf_free(&out);
}

static void a_home_that_others_can_read_is_refused(void **state)
{
    struct fixture *f = *state;
    char home[160];
    struct kt_gpg *gpg = NULL;
    struct kt_error error = {0};

    snprintf(home, sizeof home, "%s/open", f->folder);
    assert_int_equal(mkdir(home, 0755), 0);
    assert_int_equal(chmod(home, 0755), 0);
    assert_int_equal(kt_gpg_new(home, &gpg, &error), KT_ERR_PERMISSION);
    snprintf(home, sizeof home, "%s/missing", f->folder);
    assert_int_not_equal(kt_gpg_new(home, &gpg, &error), 0);
    assert_null(gpg);
}

static void a_home_too_deep_for_the_agent_is_refused(void **state)
{
    struct fixture *f = *state;
    char home[256];
    struct kt_gpg *gpg = NULL;
    struct kt_error error = {0};

    snprintf(home, sizeof home, "%s/%090d", f->folder, 0);
    assert_int_equal(mkdir(home, 0700), 0);
    assert_int_equal(kt_gpg_new(home, &gpg, &error), KT_ERR_TOO_LARGE);
    assert_non_null(strstr(error.message, home));
}

static int agent_runs(const char *home)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s/S.gpg-agent", home);
    int runs = connect(fd, (struct sockaddr *)&address, sizeof address) == 0;

    close(fd);
    return runs;
}

// Ending is asked for and not waited for: look again until a deadline.
static int agent_ends(const char *home)
{
    for (int i = 0; i < 1000 && agent_runs(home); i++)
        (void)poll(NULL, 0, 10);
    return !agent_runs(home);
}

static void the_agent_ends_with_the_last_user_of_the_home(void **state)
{
    struct fixture *f = *state;
    char home[160], fingerprint[KT_OPENPGP_FINGERPRINT_TEXT];
    struct kt_gpg *first = NULL, *second = NULL;
    struct kt_error error = {0};

    snprintf(home, sizeof home, "%s/agent", f->folder);
    assert_int_equal(mkdir(home, 0700), 0);
    must(kt_gpg_new(home, &first, &error), &error);
    must(kt_gpg_generate(first, KT_GPG_CLIENT, OWNER, fingerprint, &error), &error);
    assert_true(agent_runs(home));
    must(kt_gpg_new(home, &second, &error), &error);
    kt_gpg_free(first); // who started it goes first
    assert_true(agent_runs(home));
    kt_gpg_free(second);
    assert_true(agent_ends(home));
}

static void an_agent_that_was_there_before_stays(void **state)
{
    struct fixture *f = *state;
    char home[160], command[256];
    struct kt_gpg *gpg = NULL;
    struct kt_error error = {0};

    snprintf(home, sizeof home, "%s/agent", f->folder);
    assert_int_equal(mkdir(home, 0700), 0);
    snprintf(command, sizeof command, "gpgconf --homedir %s --launch gpg-agent", home);
    assert_int_equal(system(command), 0);
    must(kt_gpg_new(home, &gpg, &error), &error);
    kt_gpg_free(gpg);
    assert_true(agent_runs(home));
    snprintf(command, sizeof command, "gpgconf --homedir %s --kill gpg-agent", home);
    assert_int_equal(system(command), 0);
}

static void the_cluster_key_signs_and_does_not_encrypt(void **state)
{
    struct fixture *f = *state;
    char fingerprint[KT_OPENPGP_FINGERPRINT_TEXT];
    const char *const recipients[] = {fingerprint, NULL};
    struct kt_buf out = KT_BUF_INIT(65536);
    struct kt_openpgp_key key;
    struct kt_error error = {0};

    must(kt_gpg_generate(f->gpg, KT_GPG_CLUSTER, "keytrustee cluster", fingerprint, &error),
         &error);
    must(kt_gpg_export(f->gpg, fingerprint, &out, &error), &error);
    must(kt_openpgp_read_key(kt_buf_ptr(&out), kt_buf_left(&out), &key, &error), &error);
    assert_int_equal(key.key_id_count, 1);
    kt_buf_reset(&out);
    assert_int_not_equal(kt_gpg_encrypt(f->gpg, fingerprint, recipients, "s", 1, &out, &error), 0);
    kt_buf_reset(&out);
    encrypt(f, fingerprint, f->owner, "signed by the cluster", 21, &out);
    kt_buf_free(&out);
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_client_key_has_the_form_the_server_accepts),
        CASE(what_was_encrypted_comes_back_byte_for_byte),
        CASE(content_is_not_compressed),
        CASE(a_signature_by_another_key_is_refused),
        CASE(content_without_a_signature_is_refused),
        CASE(a_changed_byte_anywhere_is_refused),
        CASE(content_of_nobody_here_is_refused),
        CASE(a_name_inside_the_encryption_comes_back),
        CASE(garbage_is_refused),
        CASE(a_key_is_found_by_its_exact_user_id),
        CASE(unknown_keys_are_not_found),
        CASE(decrypted_content_is_in_locked_memory_only),
        CASE(output_beyond_its_bound_is_refused),
        CASE(a_home_that_others_can_read_is_refused),
        CASE(a_home_too_deep_for_the_agent_is_refused),
        CASE(the_agent_ends_with_the_last_user_of_the_home),
        CASE(an_agent_that_was_there_before_stays),
        CASE(the_cluster_key_signs_and_does_not_encrypt),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
