// SPDX-License-Identifier: Apache-2.0
// Writing the members: what it is, the confdir, the database, and last the list of all with hashes.
#include "ktbackup/produce.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/backup_read.h"
#include "lib/file.h"
#include "lib/version.h"

#define PIECE      ((size_t)1 << 18)
#define PIPE_BYTES (1 << 20)
#define LOCK_US    60000000
#define ABOUT_MAX  ((size_t)1 << 20)

struct ktb_producer {
    struct ktb_content content;
    struct kt_archive_writer *writer;
    struct kt_buf list;
    uint8_t *piece;
    int fd; // the pipe's end to write to
    _Atomic uint64_t done;
    pthread_t thread;
    int rc;
    struct kt_error error;
};

// --- members ---

static void fill_member(const struct ktb_producer *producer, struct kt_archive_member *member,
                        mode_t mode, uint64_t size)
{
    memset(member, 0, sizeof(*member));
    member->mode = mode;
    member->size = size;
    member->mtime_us = kt_time_now();
    snprintf(member->owner, sizeof(member->owner), "%s", producer->content.place->user);
    snprintf(member->group, sizeof(member->group), "%s", producer->content.place->group);
}

// <base>/<stem><suffix>, as archives name it: without the first slash.
static int name_member(const struct ktb_producer *producer, const char *suffix,
                       struct kt_archive_member *member, struct kt_error *error)
{
    const char *base = producer->content.place->base;
    int n = snprintf(member->path, sizeof(member->path), "%s%s%s%s", base + 1, base[1] ? "/" : "",
                     producer->content.stem, suffix);

    return n > 0 && n < (int)sizeof(member->path)
               ? 0
               : kt_error_set(error, KT_ERR_TOO_LARGE, NULL, "a path in the backup is too long");
}

static int put(void *arg, const void *bytes, size_t n, struct kt_error *error)
{
    struct ktb_producer *producer = arg;
    int rc = kt_archive_put(producer->writer, bytes, n, error);

    atomic_fetch_add(&producer->done, n);
    return rc;
}

static int end_member(struct ktb_producer *producer, const char *path, struct kt_error *error)
{
    uint8_t sha256[KT_SHA256_LEN];
    int rc = kt_archive_end(producer->writer, sha256, error);

    if (rc == 0 && kt_backup_list_line(&producer->list, path, sha256) != 0)
        rc = kt_error_set(error, KT_ERR_TOO_LARGE, NULL, "the backup has too many files");
    return rc;
}

static int put_folder(struct ktb_producer *producer, const char *suffix, struct kt_error *error)
{
    struct kt_archive_member member;
    int rc;

    fill_member(producer, &member, 0700, 0);
    member.is_dir = 1;
    rc = name_member(producer, suffix, &member, error);
    if (rc == 0)
        rc = kt_archive_begin(producer->writer, &member, error);
    return rc ? rc : kt_archive_end(producer->writer, NULL, error);
}

static int put_text(struct ktb_producer *producer, const char *suffix, const struct kt_buf *text,
                    int is_listed, struct kt_error *error)
{
    struct kt_archive_member member;
    int rc;

    fill_member(producer, &member, 0600, kt_buf_left(text));
    rc = name_member(producer, suffix, &member, error);
    if (rc == 0)
        rc = kt_archive_begin(producer->writer, &member, error);
    if (rc == 0 && kt_buf_left(text) > 0)
        rc = kt_archive_put(producer->writer, kt_buf_ptr(text), kt_buf_left(text), error);
    if (rc == 0)
        rc = is_listed ? end_member(producer, member.path, error)
                       : kt_archive_end(producer->writer, NULL, error);
    return rc;
}

// --- what it is ---

static int put_about(struct ktb_producer *producer, struct kt_error *error)
{
    const struct ktb_place *place = producer->content.place;
    struct kt_buf text = KT_BUF_INIT(ABOUT_MAX);
    struct kt_backup_about *about = calloc(1, sizeof(*about));
    int rc = about ? 0 : KT_ERR_NO_MEMORY;

    if (rc == 0) {
        memcpy(about->base, place->base, sizeof(about->base));
        memcpy(about->confdir, place->confdir, sizeof(about->confdir));
        memcpy(about->node, place->info.node, sizeof(about->node));
        if (producer->content.database)
            about->peers = db_backup_facts(producer->content.database)->peers;
        memcpy(about->key, place->key, sizeof(about->key));
        about->is_plain_sql = producer->content.is_plain_sql;
        rc = kt_backup_about_format(about, &text);
    }
    if (rc)
        kt_error_set(error, rc, NULL, "cannot say what the backup is of");
    if (rc == 0)
        rc = put_folder(producer, ".d", error);
    if (rc == 0)
        rc = put_text(producer, ".d/backup.json", &text, 1, error);
    kt_buf_free(&text);
    free(about);
    return rc;
}

// --- files ---

static int changed(const struct ktb_file *file, struct kt_error *error)
{
    return kt_error_set(error, KT_ERR_BUSY, "run ktbackup again",
                        "'%s' was changed while it was read", file->path);
}

static int put_data(struct ktb_producer *producer, int fd, const struct ktb_file *file,
                    uint64_t size, struct kt_error *error)
{
    uint64_t left = size;
    int rc = 0;

    while (rc == 0) {
        ssize_t n = read(fd, producer->piece, PIECE);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return kt_error_errno(error, "cannot read '%s'", file->path);
        if (n == 0)
            break;
        if ((uint64_t)n > left)
            return changed(file, error);
        rc = put(producer, producer->piece, (size_t)n, error);
        left -= (uint64_t)n;
    }
    return rc == 0 && left > 0 ? changed(file, error) : rc;
}

// As long as it is when it is opened: since the plan was made others may have written it.
static int put_opened(struct ktb_producer *producer, int fd, const struct ktb_file *file,
                      struct kt_archive_member *member, struct kt_error *error)
{
    struct stat st;
    int rc;

    if (fstat(fd, &st) != 0)
        return kt_error_errno(error, "cannot look at '%s'", file->path);
    if (!S_ISREG(st.st_mode))
        return changed(file, error);
    member->size = (uint64_t)st.st_size;
    rc = kt_archive_begin(producer->writer, member, error);
    if (rc == 0)
        rc = put_data(producer, fd, file, member->size, error);
    return rc ? rc : end_member(producer, member->path, error);
}

static int put_file(struct ktb_producer *producer, const struct ktb_file *file,
                    struct kt_error *error)
{
    struct kt_archive_member member;
    int fd, rc;

    fill_member(producer, &member, file->mode & 0777, 0);
    member.is_dir = file->is_dir;
    member.mtime_us = file->mtime_us;
    memcpy(member.path, file->path + 1, strlen(file->path)); // the plan has checked it
    if (file->is_dir) {
        rc = kt_archive_begin(producer->writer, &member, error);
        return rc ? rc : kt_archive_end(producer->writer, NULL, error);
    }
    fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return errno == ENOENT ? changed(file, error)
                               : kt_error_errno(error, "cannot open '%s'", file->path);
    rc = put_opened(producer, fd, file, &member, error);
    close(fd);
    return rc;
}

// Where tls/current leads to: it moves when certificates are renewed.
static void read_pairs(const struct ktb_place *place, char out[KT_PATH_MAX])
{
    char path[KT_PATH_MAX];
    ssize_t n = -1;

    if (kt_path_join(path, sizeof(path), place->confdir, "tls/current") == 0)
        n = readlink(path, out, KT_PATH_MAX - 1);
    out[n > 0 ? n : 0] = '\0';
}

// A client holds its lock for moments; one that hangs must not hang its backups.
static int wait_for_lock(int fd, const char *path, struct kt_error *error)
{
    const struct timespec pause = {.tv_nsec = 50000000};
    int64_t until = kt_monotonic_now() + LOCK_US;

    while (flock(fd, LOCK_SH | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return kt_error_errno(error, "cannot lock '%s'", path);
        if (kt_monotonic_now() > until)
            return kt_error_set(error, KT_ERR_BUSY, "look for a keytrustee that does not end",
                                "the client holds its lock '%s' for too long", path);
        nanosleep(&pause, NULL);
    }
    return 0;
}

static int put_files(struct ktb_producer *producer, struct kt_error *error)
{
    const struct ktb_place *place = producer->content.place;
    const struct ktb_plan *plan = producer->content.plan;
    char path[KT_PATH_MAX], before[KT_PATH_MAX], after[KT_PATH_MAX];
    int lock = -1, rc = 0;

    // A client's files change together under its lock.
    if (place->kind == KT_BACKUP_CLIENT &&
        kt_path_join(path, sizeof(path), place->confdir, ".lock") == 0) {
        lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        rc = lock < 0 ? kt_error_errno(error, "cannot open '%s'", path)
                      : wait_for_lock(lock, path, error);
    }
    read_pairs(place, before);
    for (size_t i = 0; i < plan->count && rc == 0; i++)
        rc = put_file(producer, &plan->files[i], error);
    read_pairs(place, after);
    if (rc == 0 && strcmp(before, after) != 0)
        rc = kt_error_set(error, KT_ERR_BUSY, "run ktbackup again",
                          "the node's certificates were renewed meanwhile");
    if (lock >= 0)
        close(lock);
    return rc;
}

// --- the database ---

static int script(const struct ktb_content *content, db_sink sink, void *arg, uint64_t *bytes,
                  struct kt_error *error)
{
    const char *base = content->place->base;
    static const char HEADER[] =
        "Backup of a key trustee's database, made by ktbackup " KT_VERSION ".\n"
        "Afterwards the database serves reads only, until 'ktadmin restore --adopt'.";
    char folder[KT_PATH_MAX];
    int n = snprintf(folder, sizeof(folder), "%s/%s.d", base[1] ? base : "", content->stem);

    if (n < 0 || n >= (int)sizeof(folder))
        return kt_error_set(error, KT_ERR_TOO_LARGE, NULL, "a path in the backup is too long");
    return db_backup_script(content->database, content->is_plain_sql ? NULL : folder, HEADER, sink,
                            arg, bytes, error);
}

static int put_script(struct ktb_producer *producer, struct kt_error *error)
{
    struct kt_archive_member member;
    uint64_t bytes = 0;
    int rc = script(&producer->content, NULL, NULL, &bytes, error);

    fill_member(producer, &member, 0600, bytes);
    if (rc == 0)
        rc = name_member(producer, ".sql", &member, error);
    if (rc == 0)
        rc = kt_archive_begin(producer->writer, &member, error);
    if (rc == 0)
        rc = script(&producer->content, put, producer, &bytes, error);
    return rc ? rc : end_member(producer, member.path, error);
}

static int put_table(struct ktb_producer *producer, size_t i, struct kt_error *error)
{
    const struct db_backup_table *table = &db_backup_facts(producer->content.database)->tables[i];
    struct kt_archive_member member;
    char suffix[sizeof(table->name) + 16];
    int rc;

    snprintf(suffix, sizeof(suffix), ".d/%s.bin", table->name);
    fill_member(producer, &member, 0600, table->bytes);
    rc = name_member(producer, suffix, &member, error);
    if (rc == 0)
        rc = kt_archive_begin(producer->writer, &member, error);
    if (rc == 0)
        rc = db_backup_copy(producer->content.database, i, put, producer, error);
    return rc ? rc : end_member(producer, member.path, error);
}

static int put_database(struct ktb_producer *producer, struct kt_error *error)
{
    const struct db_backup_facts *facts = db_backup_facts(producer->content.database);
    int rc = put_script(producer, error);

    for (size_t i = 0; i < facts->table_count && rc == 0 && !producer->content.is_plain_sql; i++)
        rc = put_table(producer, i, error);
    return rc;
}

// --- all of it ---

static int produce(struct ktb_producer *producer, struct kt_error *error)
{
    int rc = kt_archive_writer_new(producer->fd, &producer->writer, error);

    if (rc == 0)
        rc = put_about(producer, error);
    if (rc == 0)
        rc = put_files(producer, error);
    if (rc == 0 && producer->content.database)
        rc = put_database(producer, error);
    if (rc == 0)
        rc = put_text(producer, ".sha256", &producer->list, 0, error);
    return rc ? rc : kt_archive_finish(producer->writer, error);
}

static void *run(void *arg)
{
    struct ktb_producer *producer = arg;

    producer->rc = produce(producer, &producer->error);
    kt_archive_writer_free(producer->writer);
    producer->writer = NULL;
    close(producer->fd); // the reader's end: complete or not is said by ktb_producer_finish
    return NULL;
}

int ktb_content_size(const struct ktb_content *content, uint64_t *bytes, struct kt_error *error)
{
    uint64_t sum = content->plan->bytes, text = 0;
    int rc = content->database ? script(content, NULL, NULL, &text, error) : 0;

    if (rc)
        return rc;
    if (content->database && !content->is_plain_sql) {
        const struct db_backup_facts *facts = db_backup_facts(content->database);
        for (size_t i = 0; i < facts->table_count; i++)
            sum += facts->tables[i].bytes;
    }
    *bytes = sum + text;
    return 0;
}

int ktb_producer_start(const struct ktb_content *content, struct ktb_producer **producer, int *fd,
                       struct kt_error *error)
{
    struct ktb_producer *fresh = calloc(1, sizeof(*fresh));
    int ends[2] = {-1, -1};

    if (!fresh || !(fresh->piece = malloc(PIECE))) {
        free(fresh);
        return kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    }
    fresh->content = *content;
    fresh->list = (struct kt_buf)KT_BUF_INIT(KT_BACKUP_LIST_MAX);
    if (pipe2(ends, O_CLOEXEC) != 0) {
        free(fresh->piece);
        free(fresh);
        return kt_error_errno(error, "cannot make a pipe");
    }
    (void)fcntl(ends[1], F_SETPIPE_SZ, PIPE_BYTES);
    fresh->fd = ends[1];
    if (pthread_create(&fresh->thread, NULL, run, fresh) != 0) {
        close(ends[0]);
        close(ends[1]);
        free(fresh->piece);
        free(fresh);
        return kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "cannot make a thread");
    }
    *producer = fresh;
    *fd = ends[0];
    return 0;
}

uint64_t ktb_producer_done(const struct ktb_producer *producer)
{
    return atomic_load(&producer->done);
}

int ktb_producer_finish(struct ktb_producer *producer, struct kt_error *error)
{
    int rc;

    pthread_join(producer->thread, NULL);
    rc = producer->rc;
    if (rc && error)
        *error = producer->error;
    kt_buf_free(&producer->list);
    explicit_bzero(producer->piece, PIECE); // keys passed through it
    free(producer->piece);
    free(producer);
    return rc;
}
