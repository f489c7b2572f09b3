// SPDX-License-Identifier: Apache-2.0
// Writes pax archives, each member exactly as long as it was announced.
#include "lib/archive_inner.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <archive.h>
#include <archive_entry.h>
#include <openssl/err.h>
#include <openssl/evp.h>

#include "lib/file.h"

#define TAR_RECORD 10240              // the archive's length is a multiple of it
#define BLOCK      (100 * TAR_RECORD) // bytes of one write

struct kt_archive_writer {
    struct archive *archive;
    struct archive_entry *entry;
    EVP_MD_CTX *hash;
    locale_t locale;
    int fd;
    int write_errno; // why writing to fd failed
    int failed;      // code of the first error: nothing more is written
    int is_dropped;  // nothing of what is left may reach fd
    int inside;      // of a member
    uint64_t left;   // bytes that the member still needs
    uint64_t members;
    char path[KT_PATH_MAX]; // of the member
};

static la_ssize_t write_block(struct archive *archive, void *arg, const void *bytes, size_t n)
{
    struct kt_archive_writer *writer = arg;

    if (writer->is_dropped)
        return -1;
    if (kt_write_all(writer->fd, bytes, n) != 0) {
        writer->write_errno = errno;
        archive_set_error(archive, errno, "cannot write");
        return -1;
    }
    return (la_ssize_t)n;
}

// After an error of libarchive or of the descriptor.
static int fail(struct kt_archive_writer *writer, const char *what, struct kt_error *error)
{
    const char *why = archive_error_string(writer->archive);

    if (writer->write_errno != 0) {
        errno = writer->write_errno;
        writer->failed = kt_error_errno(error, "cannot write the archive");
    } else {
        writer->failed = kt_error_set(error, KT_ERR_INTERNAL, NULL, "cannot %s of the archive: %s",
                                      what, why ? why : "libarchive does not say why");
    }
    return writer->failed;
}

static int failed_before(const struct kt_archive_writer *writer, struct kt_error *error)
{
    return kt_error_set(error, writer->failed, NULL, "the archive could not be written before");
}

// What the caller did wrong makes the archive useless just the same.
static int refuse(struct kt_archive_writer *writer, int code, struct kt_error *error,
                  const char *what)
{
    writer->failed = code;
    return kt_error_set(error, code, NULL, "member '%s' of the archive: %s", writer->path, what);
}

int kt_archive_writer_new(int fd, struct kt_archive_writer **writer, struct kt_error *error)
{
    struct kt_archive_writer *made = calloc(1, sizeof(*made));
    int rc = KT_ERR_NO_MEMORY;

    if (!made)
        return kt_error_set(error, rc, NULL, "out of memory for an archive");
    made->fd = fd;
    made->locale = kt_archive_locale_new();
    made->archive = archive_write_new();
    made->entry = archive_entry_new();
    made->hash = EVP_MD_CTX_new();
    if (!made->archive || !made->entry || !made->hash) {
        kt_error_set(error, rc, NULL, "out of memory for an archive");
        goto out;
    }
    if (archive_write_set_format_pax_restricted(made->archive) != ARCHIVE_OK ||
        archive_write_add_filter_none(made->archive) != ARCHIVE_OK ||
        archive_write_set_bytes_per_block(made->archive, BLOCK) != ARCHIVE_OK ||
        archive_write_set_bytes_in_last_block(made->archive, TAR_RECORD) != ARCHIVE_OK ||
        archive_write_open(made->archive, made, NULL, write_block, NULL) != ARCHIVE_OK) {
        rc = fail(made, "begin writing", error);
        goto out;
    }
    *writer = made;
    made = NULL;
    rc = 0;
out:
    kt_archive_writer_free(made);
    return rc;
}

void kt_archive_writer_free(struct kt_archive_writer *writer)
{
    if (!writer)
        return;
    if (writer->archive) {
        // libarchive would end the archive as if it were whole; not closing it leaks its block.
        writer->is_dropped = 1;
        archive_write_close(writer->archive);
        archive_write_free(writer->archive);
    }
    archive_entry_free(writer->entry);
    EVP_MD_CTX_free(writer->hash);
    if (writer->locale)
        freelocale(writer->locale);
    free(writer);
}

static void describe(struct archive_entry *entry, const struct kt_archive_member *member)
{
    int64_t seconds = member->mtime_us / 1000000;

    if (member->mtime_us % 1000000 < 0)
        seconds--;
    archive_entry_clear(entry);
    archive_entry_copy_pathname(entry, member->path);
    archive_entry_set_filetype(entry, member->is_dir ? AE_IFDIR : AE_IFREG);
    archive_entry_set_perm(entry, member->mode & 07777);
    archive_entry_set_size(entry, member->is_dir ? 0 : (la_int64_t)member->size);
    archive_entry_set_mtime(entry, (time_t)seconds, 0);
    archive_entry_set_uid(entry, 0); // the names count: numbers differ between machines
    archive_entry_set_gid(entry, 0);
    if (member->owner[0])
        archive_entry_copy_uname(entry, member->owner);
    if (member->group[0])
        archive_entry_copy_gname(entry, member->group);
}

int kt_archive_begin(struct kt_archive_writer *writer, const struct kt_archive_member *member,
                     struct kt_error *error)
{
    locale_t before;
    int rc;

    if (writer->failed)
        return failed_before(writer, error);
    if (writer->inside)
        return refuse(writer, KT_ERR_INVALID, error, "it has not ended");
    memcpy(writer->path, member->path, sizeof(writer->path));
    writer->path[sizeof(writer->path) - 1] = '\0';
    if (kt_archive_path_check(member->path) != 0)
        return refuse(writer, KT_ERR_INVALID, error, "not a path that an archive may have");
    if (member->size > KT_ARCHIVE_SIZE_MAX)
        return refuse(writer, KT_ERR_TOO_LARGE, error, "it is too large");
    if (writer->members == KT_ARCHIVE_MEMBERS_MAX)
        return refuse(writer, KT_ERR_TOO_LARGE, error, "one more than an archive may have");
    describe(writer->entry, member);
    before = kt_archive_locale_enter(writer->locale);
    rc = archive_write_header(writer->archive, writer->entry);
    kt_archive_locale_leave(before);
    if (rc != ARCHIVE_OK)
        return fail(writer, "write a header", error);
    if (EVP_DigestInit_ex(writer->hash, EVP_sha256(), NULL) != 1) {
        ERR_clear_error();
        return refuse(writer, KT_ERR_CRYPTO, error, "no SHA-256");
    }
    writer->inside = 1;
    writer->left = member->is_dir ? 0 : member->size;
    writer->members++;
    return 0;
}

int kt_archive_put(struct kt_archive_writer *writer, const void *bytes, size_t n,
                   struct kt_error *error)
{
    const uint8_t *at = bytes;

    if (writer->failed)
        return failed_before(writer, error);
    if (!writer->inside)
        return kt_error_set(error, KT_ERR_INVALID, NULL, "data outside of the archive's members");
    if (n > writer->left)
        return refuse(writer, KT_ERR_TOO_LARGE, error, "it is longer than was announced");
    if (EVP_DigestUpdate(writer->hash, bytes, n) != 1) {
        ERR_clear_error();
        return refuse(writer, KT_ERR_CRYPTO, error, "no SHA-256");
    }
    while (n > 0) {
        la_ssize_t done = archive_write_data(writer->archive, at, n);
        if (done <= 0)
            return fail(writer, "write data", error);
        at += done;
        n -= (size_t)done;
        writer->left -= (uint64_t)done;
    }
    return 0;
}

int kt_archive_end(struct kt_archive_writer *writer, uint8_t sha256[KT_SHA256_LEN],
                   struct kt_error *error)
{
    uint8_t digest[EVP_MAX_MD_SIZE];

    if (writer->failed)
        return failed_before(writer, error);
    if (!writer->inside)
        return kt_error_set(error, KT_ERR_INVALID, NULL, "no member of the archive was begun");
    if (writer->left > 0)
        return refuse(writer, KT_ERR_TRUNCATED, error, "it is shorter than was announced");
    if (archive_write_finish_entry(writer->archive) != ARCHIVE_OK)
        return fail(writer, "end a member", error);
    if (EVP_DigestFinal_ex(writer->hash, digest, NULL) != 1) {
        ERR_clear_error();
        return refuse(writer, KT_ERR_CRYPTO, error, "no SHA-256");
    }
    writer->inside = 0;
    if (sha256)
        memcpy(sha256, digest, KT_SHA256_LEN);
    return 0;
}

int kt_archive_finish(struct kt_archive_writer *writer, struct kt_error *error)
{
    if (writer->failed)
        return failed_before(writer, error);
    if (writer->inside)
        return refuse(writer, KT_ERR_TRUNCATED, error, "the archive ends inside of it");
    if (archive_write_close(writer->archive) != ARCHIVE_OK)
        return fail(writer, "write the end", error);
    writer->failed = KT_ERR_INVALID; // nothing can follow
    return 0;
}
