// SPDX-License-Identifier: Apache-2.0
// Reads tar archives of strangers: every member is checked before it is shown.
#include "lib/archive_inner.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <archive.h>
#include <archive_entry.h>
#include <openssl/err.h>
#include <openssl/evp.h>

#define BLOCK      ((size_t)1 << 20)
#define TAR_BLOCK  512
#define END_MARKER 1024 // two blocks of zeros

struct kt_archive_reader {
    struct archive *archive;
    struct archive_entry *entry;
    EVP_MD_CTX *hash;
    locale_t locale;
    uint8_t *block;
    int fd;
    int read_errno;    // why reading fd failed
    int is_starved;    // libarchive wanted more than there was
    uint64_t total;    // bytes read from fd
    uint64_t all_zero; // from here on, up to `total`
    int state;         // 1: there may be another member; 0: the end; negative: an error
    uint64_t members;
    uint64_t left; // of the member's data
    int is_hashed; // the member's data so far
    int is_begun;  // its data has been asked for
};

static size_t end_of_content(const uint8_t *bytes, size_t n)
{
    static const uint8_t ZEROS[4096];

    while (n >= sizeof(ZEROS) && memcmp(bytes + n - sizeof(ZEROS), ZEROS, sizeof(ZEROS)) == 0)
        n -= sizeof(ZEROS);
    while (n > 0 && bytes[n - 1] == 0)
        n--;
    return n;
}

// The next bytes of the descriptor; 0 at its end.
static ssize_t fill(struct kt_archive_reader *reader)
{
    ssize_t n;

    do
        n = read(reader->fd, reader->block, BLOCK);
    while (n < 0 && errno == EINTR);
    if (n < 0) {
        reader->read_errno = errno;
    } else if (n > 0) {
        size_t content = end_of_content(reader->block, (size_t)n);
        if (content > 0)
            reader->all_zero = reader->total + content;
        reader->total += (uint64_t)n;
    }
    return n;
}

static la_ssize_t read_block(struct archive *archive, void *arg, const void **bytes)
{
    struct kt_archive_reader *reader = arg;
    ssize_t n = fill(reader);

    *bytes = reader->block;
    if (n < 0)
        archive_set_error(archive, reader->read_errno, "cannot read");
    reader->is_starved |= n == 0;
    return n;
}

// After an error of libarchive: a descriptor that failed, an end that came too early, or damage.
static int fail(struct kt_archive_reader *reader, struct kt_error *error)
{
    const char *why = archive_error_string(reader->archive);

    if (reader->read_errno != 0) {
        errno = reader->read_errno;
        reader->state = kt_error_errno(error, "cannot read the archive");
    } else if (reader->is_starved) {
        reader->state = kt_error_set(error, KT_ERR_TRUNCATED, NULL, "the archive is truncated");
    } else {
        reader->state = kt_error_set(error, KT_ERR_INVALID, NULL, "the archive is damaged: %s",
                                     why ? why : "it cannot be read");
    }
    return reader->state;
}

static int refuse(struct kt_archive_reader *reader, struct kt_error *error, const char *what)
{
    reader->state = kt_error_set(error, KT_ERR_INVALID, NULL, "member %llu of the archive: %s",
                                 (unsigned long long)reader->members, what);
    return reader->state;
}

int kt_archive_reader_new(int fd, struct kt_archive_reader **reader, struct kt_error *error)
{
    struct kt_archive_reader *made = calloc(1, sizeof(*made));
    int rc = KT_ERR_NO_MEMORY;

    if (!made)
        return kt_error_set(error, rc, NULL, "out of memory for an archive");
    made->fd = fd;
    made->state = 1;
    made->locale = kt_archive_locale_new();
    made->block = malloc(BLOCK);
    made->archive = archive_read_new();
    made->entry = archive_entry_new();
    made->hash = EVP_MD_CTX_new();
    if (!made->archive || !made->entry || !made->hash || !made->block ||
        archive_read_support_format_tar(made->archive) != ARCHIVE_OK) {
        kt_error_set(error, rc, NULL, "out of memory for an archive");
        goto out;
    }
    *reader = made;
    made = NULL;
    rc = 0;
out:
    kt_archive_reader_free(made);
    return rc;
}

void kt_archive_reader_free(struct kt_archive_reader *reader)
{
    if (!reader)
        return;
    archive_read_free(reader->archive);
    archive_entry_free(reader->entry);
    EVP_MD_CTX_free(reader->hash);
    if (reader->locale)
        freelocale(reader->locale);
    free(reader->block);
    free(reader);
}

// libarchive takes the end of the input for the end of the archive. Behind the last member, which
// ended at `end`, there must be the end marker and nothing else.
static int check_end(struct kt_archive_reader *reader, uint64_t end, struct kt_error *error)
{
    ssize_t n;

    do
        n = fill(reader);
    while (n > 0);
    if (n < 0)
        return fail(reader, error);
    if (reader->all_zero > end) {
        reader->state = kt_error_set(error, KT_ERR_INVALID, NULL,
                                     "there are bytes behind the end of the archive");
        return reader->state;
    }
    if (reader->total < end + END_MARKER || reader->total % TAR_BLOCK != 0) {
        reader->state = kt_error_set(error, KT_ERR_TRUNCATED, NULL, "the archive is truncated");
        return reader->state;
    }
    reader->state = 0;
    return 0;
}

static void take_name(const char *from, char out[33])
{
    size_t n = from ? strnlen(from, 33) : 33;

    out[0] = '\0';
    if (n <= 32 && n > 0 && kt_archive_path_check(from) == 0 && strchr(from, '/') == NULL)
        memcpy(out, from, n + 1);
}

static int take_member(struct kt_archive_reader *reader, struct kt_archive_member *member,
                       struct kt_error *error)
{
    struct archive_entry *entry = reader->entry;
    const char *path = archive_entry_pathname(entry);
    const mode_t type = archive_entry_filetype(entry);
    struct kt_archive_member taken = {.is_dir = type == AE_IFDIR};
    size_t len = path ? strnlen(path, sizeof(taken.path) + 1) : 0;

    if (archive_entry_hardlink(entry) || archive_entry_symlink(entry) || type == AE_IFLNK)
        return refuse(reader, error, "it is a link");
    if (type != AE_IFREG && type != AE_IFDIR)
        return refuse(reader, error, "neither a file nor a folder");
    if (taken.is_dir && len > 1 && path[len - 1] == '/')
        len--;
    if (len == 0 || len >= sizeof(taken.path))
        return refuse(reader, error, "its path is missing or too long");
    memcpy(taken.path, path, len);
    if (kt_archive_path_check(taken.path) != 0)
        return refuse(reader, error, "its path is not a plain relative one");
    if (archive_entry_sparse_count(entry) > 0)
        return refuse(reader, error, "it is a sparse file");
    if (!archive_entry_size_is_set(entry) || archive_entry_size(entry) < 0 ||
        (uint64_t)archive_entry_size(entry) > KT_ARCHIVE_SIZE_MAX)
        return refuse(reader, error, "its size is out of bounds");
    if (taken.is_dir && archive_entry_size(entry) != 0)
        return refuse(reader, error, "a folder with data");
    taken.size = (uint64_t)archive_entry_size(entry);
    taken.mode = archive_entry_perm(entry) & 07777; // a damaged header may carry more bits
    if (archive_entry_mtime(entry) < INT64_MAX / 1000000 - 1 &&
        archive_entry_mtime(entry) > INT64_MIN / 1000000 + 1)
        taken.mtime_us =
            (int64_t)archive_entry_mtime(entry) * 1000000 + archive_entry_mtime_nsec(entry) / 1000;
    take_name(archive_entry_uname(entry), taken.owner);
    take_name(archive_entry_gname(entry), taken.group);
    *member = taken;
    return 0;
}

// 1: a header was read into the entry; 0: the end, behind which nothing was looked at yet.
static int next_header(struct kt_archive_reader *reader, uint64_t *end)
{
    int rc = ARCHIVE_OK;

    *end = 0;
    if (reader->members == 0)
        rc = archive_read_open(reader->archive, reader, NULL, read_block, NULL);
    else
        rc = archive_read_data_skip(reader->archive);
    if (rc != ARCHIVE_OK && rc != ARCHIVE_EOF)
        return -1;
    if (reader->members > 0)
        *end = (uint64_t)archive_filter_bytes(reader->archive, -1);
    // Warnings too are errors: a header that libarchive reads only in part is none of ours.
    rc = archive_read_next_header2(reader->archive, reader->entry);
    return rc == ARCHIVE_OK ? 1 : rc == ARCHIVE_EOF ? 0 : -1;
}

int kt_archive_next(struct kt_archive_reader *reader, struct kt_archive_member *member,
                    struct kt_error *error)
{
    struct kt_archive_member taken = {.is_dir = 0};
    uint64_t end = 0;
    locale_t before;
    int rc;

    if (reader->state <= 0)
        return reader->state == 0 ? 0
                                  : kt_error_set(error, reader->state, NULL,
                                                 "the archive could not be read before");
    before = kt_archive_locale_enter(reader->locale);
    rc = next_header(reader, &end);
    if (rc == 0)
        rc = check_end(reader, end, error);
    else if (rc < 0)
        rc = fail(reader, error);
    else if (++reader->members > KT_ARCHIVE_MEMBERS_MAX)
        rc = refuse(reader, error, "one more than an archive may have");
    else
        rc = take_member(reader, &taken, error) == 0 ? 1 : reader->state;
    kt_archive_locale_leave(before);
    if (rc != 1)
        return rc;
    reader->left = taken.size;
    reader->is_begun = 0;
    reader->is_hashed = 0;
    *member = taken;
    return 1;
}

static int hash(struct kt_archive_reader *reader, const void *bytes, size_t n, uint8_t *sha256,
                struct kt_error *error)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    int ok = 1;

    if (!reader->is_begun && sha256) {
        ok = EVP_DigestInit_ex(reader->hash, EVP_sha256(), NULL);
        reader->is_hashed = 1;
    }
    reader->is_begun = 1;
    if (ok == 1 && reader->is_hashed && n > 0)
        ok = EVP_DigestUpdate(reader->hash, bytes, n);
    if (ok == 1 && n == 0 && sha256) {
        if (!reader->is_hashed) // asked for too late, or twice
            return refuse(reader, error, "its hash was not asked for from the beginning");
        ok = EVP_DigestFinal_ex(reader->hash, digest, NULL);
        reader->is_hashed = 0;
    }
    if (ok != 1) {
        ERR_clear_error();
        reader->state = kt_error_set(error, KT_ERR_CRYPTO, NULL, "no SHA-256");
        return reader->state;
    }
    if (n == 0 && sha256)
        memcpy(sha256, digest, KT_SHA256_LEN);
    return 0;
}

int kt_archive_read(struct kt_archive_reader *reader, void *bytes, size_t size, size_t *n,
                    uint8_t sha256[KT_SHA256_LEN], struct kt_error *error)
{
    la_ssize_t got = 0;
    int rc;

    if (reader->state <= 0 || reader->members == 0)
        return kt_error_set(error, reader->state < 0 ? reader->state : KT_ERR_INVALID, NULL,
                            "there is no member of the archive to be read");
    if (size == 0)
        return kt_error_set(error, KT_ERR_INVALID, NULL, "no room for data of the archive");
    if (size > reader->left)
        size = (size_t)reader->left;
    if (size > 0) {
        got = archive_read_data(reader->archive, bytes, size);
        if (got < 0)
            return fail(reader, error);
        if (got == 0) {
            reader->state = kt_error_set(error, KT_ERR_TRUNCATED, NULL, "the archive is truncated");
            return reader->state;
        }
    }
    rc = hash(reader, bytes, (size_t)got, sha256, error);
    if (rc != 0)
        return rc;
    reader->left -= (uint64_t)got;
    *n = (size_t)got;
    return 0;
}
