// SPDX-License-Identifier: Apache-2.0
// Reading what is in a backup: a process of its own that decrypts, and a walk over the members that
// believes none of them before the list at the end has confirmed all.
#ifndef KT_BACKUP_READ_H
#define KT_BACKUP_READ_H

#include "lib/archive.h"
#include "lib/backup_file.h"
#include "lib/peers.h"

// --- the stream ---
struct kt_backup_stream;
// Begins to decrypt (a clear-text one: to copy) `fd` into a pipe, in a child that stays who the
// caller is now: the caller may give up its privileges afterwards. `gnupg_home` NULL: the default
// one. `passphrase` may be NULL. Not while other threads run.
int kt_backup_stream_new(int fd, int is_cleartext, const char *gnupg_home,
                         const struct kt_secret *passphrase, struct kt_backup_stream **stream,
                         struct kt_error *error) KT_MUST_CHECK;
// The end of the pipe to read from.
int kt_backup_stream_fd(const struct kt_backup_stream *stream);
// Waits for the child: 0 only when all was decrypted and handed over.
int kt_backup_stream_finish(struct kt_backup_stream *stream, struct kt_error *error) KT_MUST_CHECK;
// Ends the child. NULL is fine.
void kt_backup_stream_free(struct kt_backup_stream *stream);

// --- the members ---
// <base>/<stem>.d/backup.json, the first file of a node's or client's backup.
#define KT_BACKUP_KEY 16384
struct kt_backup_about {
    char base[KT_PATH_MAX];          // absolute: what the members lie below, "/var/lib/keytrustee"
    char confdir[KT_PATH_MAX];       // absolute
    char node[KT_NODE_NAME_MAX + 1]; // "" of a client
    struct kt_peers peers;           // none of a client
    int is_plain_sql;                // all rows stand in the script
    char key[KT_BACKUP_KEY]; // the public key that signs manifests, armored; "" when nobody signs
};
int kt_backup_about_format(const struct kt_backup_about *about, struct kt_buf *out) KT_MUST_CHECK;
int kt_backup_about_parse(const char *text, size_t n, struct kt_backup_about *about,
                          struct kt_error *error) KT_MUST_CHECK;

enum kt_backup_part {
    KT_PART_ABOUT,   // backup.json
    KT_PART_CONFDIR, // a file or folder of the confdir; path is inside of it, "" itself
    KT_PART_SCRIPT,  // <stem>.sql
    KT_PART_TABLE,   // <stem>.d/<table>.bin; path is the table's name
    KT_PART_OTHER,   // of --include: path is absolute without the first slash
};
struct kt_backup_member {
    enum kt_backup_part part;
    char path[KT_PATH_MAX];
    const struct kt_archive_member *member;
};
// What the walk calls; each may be NULL. `about` is set from the second member on.
struct kt_backup_visitor {
    int (*begin)(void *arg, const struct kt_backup_about *about,
                 const struct kt_backup_member *member, struct kt_error *error);
    int (*data)(void *arg, const void *bytes, size_t n, struct kt_error *error);
    int (*end)(void *arg, struct kt_error *error); // of a file
    kt_backup_progress progress;                   // bytes read so far; total 0
    void *arg;
};
// Walks over the archive that `fd` gives. 0: every member was there with the hash that the list at
// the end gives it, in its order, and the manifest's tables are those (none, with --plain-sql). Nothing that the visitor was
// given may be believed before that, and before kt_backup_stream_finish. KT_ERR_SIGNATURE,
// KT_ERR_INVALID, KT_ERR_TRUNCATED.
int kt_backup_walk(int fd, const struct kt_backup_file *file,
                   const struct kt_backup_visitor *visitor, struct kt_error *error) KT_MUST_CHECK;

// Both: walks over what the stream gives, and waits for its child. When both fail the child's words
// are given: a broken message is why members are missing.
int kt_backup_read(struct kt_backup_stream *stream, const struct kt_backup_file *file,
                   const struct kt_backup_visitor *visitor, struct kt_error *error) KT_MUST_CHECK;

// The line of the list at the end, appended: "<64 hex>  <path>\n", as sha256sum -c reads it.
#define KT_BACKUP_LIST_MAX ((size_t)16 << 20)
int kt_backup_list_line(struct kt_buf *list, const char *path,
                        const uint8_t sha256[KT_SHA256_LEN]) KT_MUST_CHECK;

#endif
