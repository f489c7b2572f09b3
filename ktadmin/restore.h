// SPDX-License-Identifier: Apache-2.0
// restore FILE: a node of a new incarnation out of a backup. Each part can be run again after a
// kill; the promise file, without which nothing starts, is written last.
#ifndef KTA_RESTORE_H
#define KTA_RESTORE_H

#include "db/load.h"
#include "ktadmin/init.h"
#include "ktadmin/nodes.h"
#include "lib/backup_read.h"

// A small file of the backup that is not written where it was.
struct kta_kept {
    char *text; // NUL-terminated; NULL: it was not there
    size_t n;
};
// A file that all nodes have in common: held in memory until it is known that it may be written.
#define KTA_SHARED_MAX 128
struct kta_shared {
    char path[KT_PATH_MAX]; // in the confdir
    struct kt_secret *content;
    size_t n; // filled so far
};
enum kta_kept_file {
    KTA_KEPT_SETTINGS,
    KTA_KEPT_CLUSTER,
    KTA_KEPT_NODE_KEY,
    KTA_KEPT_NODE_CERT,
    KTA_KEPT_KEY_LINE, // lib/key_line.h
    KTA_KEPT_NEXT_KEY, // lib/cluster_key.h
    KTA_KEPT_COUNT
};

struct kta_restore {
    struct kta_init init; // paths, settings, identity, account, lock: as init has them
    int is_dry, accepts_loss;
    struct kt_backup_file file;
    int fd; // the artefact, or standard input
    struct kt_backup_stream *stream;
    struct kt_secret *passphrase;
    struct kt_buf key; // of --key: the cluster's public key; empty: none was given
    struct kt_backup_about about;
    struct kta_kept kept[KTA_KEPT_COUNT];
    struct kta_shared shared[KTA_SHARED_MAX];
    size_t shared_count;
    // what confdir/restore.json fixes
    struct kt_incarnation incarnation;
    uint64_t epoch;
    int is_other;            // a run before was of another backup, and committed nothing
    int is_done;             // a run before has come to its end, and left its note
    int is_loaded;           // the database has it all
    struct kta_nodes *nodes; // of the cluster that was
    size_t answered, sealed;
    struct db_load *load;
    uint64_t others; // files that are not restored
    enum kta_kept_file keeping;
    int is_keeping, is_sharing, is_table; // what the member being read is
    int has_identity;                     // all of the confdir has come
    int64_t shown_us;                     // progress
    struct db_backup_facts facts;         // of the loaded database
    char *key_rows;                       // that it is to list of the cluster's keys
    int is_begun;                         // PostgreSQL was started for this
    int was_stopped;                      // and was not running before (adopt)
};

// Prints "what" as a step that has been done, unless --quiet.
void kta_restore_say(const struct kta_restore *restore, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

// --- restore_note.c: confdir/restore.json ---
// Fixes member, incarnation and epoch at the first run, and reads them at the others. KT_ERR_EXISTS:
// another backup was restored here all but the end.
int kta_restore_note(struct kta_restore *restore, const struct kt_incarnation *before,
                     uint64_t epoch, struct kt_error *error) KT_MUST_CHECK;
// 1 when there is one.
int kta_restore_is_begun(const struct kt_paths *paths);
int kta_restore_note_remove(struct kta_restore *restore, struct kt_error *error) KT_MUST_CHECK;

// --- restore_take.c: the members, as they come ---
int kta_restore_take(struct kta_restore *restore, struct kt_error *error) KT_MUST_CHECK;
// The shared file of that path, or NULL.
const struct kta_shared *kta_restore_shared(const struct kta_restore *restore, const char *path);
// Writes all of them into the confdir.
int kta_restore_write_shared(struct kta_restore *restore, struct kt_error *error) KT_MUST_CHECK;
void kta_restore_forget(struct kta_restore *restore);

// --- restore_identity.c ---
// All of the confdir has come: settings, names, certificates, an empty database that runs.
int kta_restore_identity(struct kta_restore *restore, struct kt_error *error) KT_MUST_CHECK;
// The promise, and the note goes.
int kta_restore_finish(struct kta_restore *restore, struct kt_error *error) KT_MUST_CHECK;
// What the database is to say of the new incarnation; `statement` is freed by the caller.
int kta_restore_rows(struct kta_restore *restore, const struct kt_incarnation *previous,
                     uint64_t previous_epoch, const struct db_line *line, const char *note,
                     struct db_restored *rows, struct kt_peer *self, char **statement,
                     struct kt_error *error) KT_MUST_CHECK;

// --- restore_key.c: which of the cluster's OpenPGP keys ---
// By the statements of the confdir that is restored. KT_ERR_SIGNATURE: that key never counted.
int kta_restore_had_key(const struct kta_restore *restore, const char *fingerprint,
                        struct kt_error *error) KT_MUST_CHECK;
// By those in the backup, of which nothing is written yet: whether the key that the operator trusts
// leads to the one that signed. KT_ERR_SIGNATURE.
int kta_restore_key_leads(const struct kta_restore *restore, const char *trusted,
                          struct kt_error *error) KT_MUST_CHECK;
// Behind `facts`: the key that counts is named in init.info from then on, and what the database lacks of
// its line in key_rows. KT_ERR_NOT_FOUND: the database lists a key that is not here.
int kta_restore_key_choose(struct kta_restore *restore, struct kt_error *error) KT_MUST_CHECK;
// Behind the commit: cluster.json names it. May be repeated.
int kta_restore_key_use(struct kta_restore *restore, struct kt_error *error) KT_MUST_CHECK;

// A file that only exists in memory, as long as this process; `path` names it.
int kta_memory_file(const void *bytes, size_t n, char path[64],
                    struct kt_error *error) KT_MUST_CHECK;

// --- restore_nodes.c: those of the cluster that was ---
// Asks all that the backup knew, with the backup's node's own certificate. KT_ERR_EXISTS when one
// answers, unless the loss is accepted by typing the cluster id.
int kta_restore_look(struct kta_restore *restore, const struct kt_peers *peers,
                     struct kt_error *error) KT_MUST_CHECK;
// Again, before what cannot be taken back: one may have come up meanwhile.
int kta_restore_look_again(struct kta_restore *restore, struct kt_error *error) KT_MUST_CHECK;
// Those that answered promise the new incarnation: what they had is history then.
int kta_restore_seal(struct kta_restore *restore, struct kt_error *error) KT_MUST_CHECK;

// --- restore_adopt.c ---
int kta_restore_adopt(struct kt_cli_run *run);
// --- restore_file.c ---
int kta_restore_file(struct kt_cli_run *run);
void kta_restore_free(struct kta_restore *restore);

#endif
