// SPDX-License-Identifier: Apache-2.0
// cat: one deposit's ciphertext out of a backup, without a server or a database.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ktbackup/commands.h"
#include "ktbackup/copy_rows.h"
#include "ktbackup/source.h"
#include "lib/file.h"

// Columns of `deposits` (db/schema/001_initial.sql); the body's hash shows that they are these.
enum { COLUMN_ID = 0, COLUMN_HANDLE = 3, COLUMN_VERSION = 4, COLUMN_BODY = 6, COLUMN_SHA256 = 7 };

struct cat {
    struct kt_uuid id;
    int is_deposits; // the member being read
    struct ktb_rows rows;
    struct kt_buf body;
    int is_found, is_purged;
};

static int take_row(void *arg, const struct ktb_row *row, struct kt_error *error)
{
    struct cat *cat = arg;
    uint8_t sha256[KT_SHA256_LEN];
    int rc;

    if (row->count <= COLUMN_SHA256 || row->lengths[COLUMN_ID] != sizeof(cat->id) ||
        !row->values[COLUMN_ID])
        return kt_error_set(error, KT_ERR_INVALID, "use the program that made it",
                            "the deposits in the backup have an unknown form");
    if (memcmp(row->values[COLUMN_ID], cat->id.bytes, sizeof(cat->id)) != 0)
        return 0;
    cat->is_found = 1;
    cat->is_purged = row->values[COLUMN_BODY] == NULL;
    if (cat->is_purged)
        return 0;
    rc = kt_sha256(row->values[COLUMN_BODY], row->lengths[COLUMN_BODY], sha256);
    if (rc == 0 && (row->lengths[COLUMN_SHA256] != sizeof(sha256) || !row->values[COLUMN_SHA256] ||
                    memcmp(row->values[COLUMN_SHA256], sha256, sizeof(sha256)) != 0))
        return kt_error_set(error, KT_ERR_SIGNATURE, "use another backup",
                            "the deposit's body has not the hash that its row gives it");
    kt_buf_reset(&cat->body);
    return rc ? rc : kt_buf_put(&cat->body, row->values[COLUMN_BODY], row->lengths[COLUMN_BODY]);
}

static int begin(void *arg, const struct kt_backup_about *about,
                 const struct kt_backup_member *member, struct kt_error *error)
{
    struct cat *cat = arg;

    if (about->is_plain_sql)
        return kt_error_set(error, KT_ERR_USAGE, "look for it in the .sql: gpg -d FILE | tar -xO",
                            "a backup that was made with --plain-sql has no table of deposits");
    cat->is_deposits = member->part == KT_PART_TABLE && strcmp(member->path, "deposits") == 0;
    if (cat->is_deposits)
        ktb_rows_begin(&cat->rows, take_row, cat);
    return 0;
}

static int data(void *arg, const void *bytes, size_t n, struct kt_error *error)
{
    struct cat *cat = arg;

    return cat->is_deposits ? ktb_rows_put(&cat->rows, bytes, n, error) : 0;
}

static int end(void *arg, struct kt_error *error)
{
    struct cat *cat = arg;
    int rc = cat->is_deposits ? ktb_rows_end(&cat->rows, error) : 0;

    if (cat->is_deposits)
        ktb_rows_free(&cat->rows);
    cat->is_deposits = 0;
    return rc;
}

static int read_all(struct cat *cat, struct ktb_source *source, struct kt_error *error)
{
    const struct kt_backup_visitor visitor = {.begin = begin, .data = data, .end = end, .arg = cat};
    char id[KT_UUID_TEXT];
    // The list at the end is of whoever encrypted it, which anybody can; the manifest is signed.
    int rc = kt_backup_check(source->fd, &source->file.manifest, NULL, NULL, error);

    if (rc == 0)
        rc = kt_backup_read(source->stream, &source->file, &visitor, error);
    if (cat->is_deposits) // ended in the middle
        ktb_rows_free(&cat->rows);
    kt_uuid_format(&cat->id, id);
    if (rc == 0 && !cat->is_found)
        rc = kt_error_set(error, KT_ERR_DEPOSIT_NOT_FOUND,
                          "the client knows ids: keytrustee info; newer deposits are in newer "
                          "backups",
                          "the backup has no deposit %s", id);
    if (rc == 0 && cat->is_purged)
        rc = kt_error_set(error, KT_ERR_DEPOSIT_NOT_FOUND, "look into an older backup",
                          "deposit %s had been purged when the backup was made", id);
    return rc;
}

// Only what all of the backup has confirmed is written.
static int write_body(const struct kt_cli_run *run, struct cat *cat, struct kt_error *error)
{
    const char *file = kt_cli_value(run, "file");

    if (file)
        return kt_file_create(file, kt_buf_ptr(&cat->body), kt_buf_left(&cat->body), 0600, error);
    return kt_write_all(STDOUT_FILENO, kt_buf_ptr(&cat->body), kt_buf_left(&cat->body)) == 0
               ? 0
               : kt_error_errno(error, "cannot write to standard output");
}

static int run_cat(struct kt_cli_run *run)
{
    const char *id = kt_cli_value(run, "id");
    struct cat cat = {.body = KT_BUF_INIT((size_t)64 << 20)};
    struct ktb_source *source = calloc(1, sizeof(*source));
    struct kt_error error = {0};
    int rc = 0;

    if (!source)
        return KT_EXIT_FAILURE;
    source->fd = -1;
    if (!id || kt_uuid_parse(id, &cat.id) != 0)
        rc = kt_error_set(&error, KT_ERR_USAGE, "the deposit id is a UUID: keytrustee info HANDLE",
                          "--id: '%.40s' is no deposit id", id ? id : "");
    if (rc == 0)
        rc = ktb_source_open(run, run->argv[0], 1, source, &error);
    if (rc == 0 && source->file.manifest.kind != KT_BACKUP_SERVER)
        rc = kt_error_set(&error, KT_ERR_INVALID, "give the backup of a node",
                          "there are no deposits in a client's backup");
    if (rc == 0 && kt_manifest_rows(&source->file.manifest, "deposits") == 0)
        rc = kt_error_set(&error, KT_ERR_DEPOSIT_NOT_FOUND, NULL, "the backup has no deposits");
    if (rc == 0)
        rc = read_all(&cat, source, &error);
    if (rc == 0)
        rc = write_body(run, &cat, &error);
    kt_buf_free(&cat.body);
    ktb_source_close(source);
    free(source);
    if (rc)
        error.code = rc;
    return rc ? ktb_source_fail(run, &error) : KT_EXIT_OK;
}

static const struct kt_cli_option OPTIONS[] = {
    {"id", 0, "UUID", "the deposit"},
    {"file", 'o', "FILE", "write it to this new file instead of standard output"},
    KTB_KEY_OPTION,
    KTB_DECRYPT_OPTIONS,
    {NULL},
};

const struct kt_cli_command ktb_cmd_cat = {
    .verb = "cat",
    .arguments = "FILE",
    .summary = "print one deposit's ciphertext out of a backup",
    .help = "Needs the private key that opens the backup; what is printed is still encrypted to "
            "the client that\ndeposited it. All of the backup is read and checked before anything "
            "is printed.",
    .options = OPTIONS,
    .min_args = 1,
    .max_args = 1,
    .run = run_cat,
};
