// SPDX-License-Identifier: Apache-2.0
// The walk over a backup's members: which part each is, and whether the list at the end confirms it.
#include "lib/backup_read.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/json.h"

#define PIECE     ((size_t)1 << 18)
#define ABOUT_MAX ((size_t)1 << 20)

// --- backup.json ---

int kt_backup_about_format(const struct kt_backup_about *about, struct kt_buf *out)
{
    json_t *peers = kt_peers_to_json(&about->peers);
    json_t *object = json_pack("{s:i, s:s, s:s, s:s, s:s, s:b, s:o}", "version", 1, "base",
                               about->base, "confdir", about->confdir, "node", about->node, "key",
                               about->key, "plain_sql", about->is_plain_sql, "peers", peers);
    char *text = object ? json_dumps(object, JSON_INDENT(2) | JSON_SORT_KEYS) : NULL;
    int rc = text ? kt_buf_putf(out, "%s\n", text) : KT_ERR_NO_MEMORY;

    free(text);
    json_decref(object);
    return rc;
}

static int take_path(const json_t *object, const char *name, char out[KT_PATH_MAX],
                     struct kt_error *error)
{
    const char *text = NULL;
    int rc = kt_json_string(object, name, 1, KT_PATH_MAX - 1, &text, error);

    if (rc)
        return rc;
    if (text[0] != '/' || (text[1] && kt_archive_path_check(text + 1) != 0))
        return kt_error_set(error, KT_ERR_INVALID, NULL, "'%s' is no absolute path", name);
    memcpy(out, text, strlen(text) + 1);
    return 0;
}

int kt_backup_about_parse(const char *text, size_t n, struct kt_backup_about *about,
                          struct kt_error *error)
{
    struct kt_error why = {0};
    json_t *object = NULL;
    const char *node = NULL, *key = NULL;
    int64_t version = 0;
    int rc = kt_json_parse_object(text, n, &object, &why);

    memset(about, 0, sizeof(*about));
    if (rc == 0)
        rc = kt_json_integer(object, "version", 1, 1, 1, &version, &why);
    if (rc == 0)
        rc = take_path(object, "base", about->base, &why);
    if (rc == 0)
        rc = take_path(object, "confdir", about->confdir, &why);
    if (rc == 0)
        rc = kt_json_string(object, "node", 0, KT_NODE_NAME_MAX, &node, &why);
    if (rc == 0)
        rc = kt_json_string(object, "key", 0, KT_BACKUP_KEY - 1, &key, &why);
    if (rc == 0 && !key)
        rc = KT_ERR_INVALID;
    if (rc == 0 && (!node || (node[0] && kt_name_check(node, KT_NODE_NAME_MAX) != 0)))
        rc = KT_ERR_INVALID;
    if (rc == 0)
        rc = kt_peers_from_json(json_object_get(object, "peers"), &about->peers, &why);
    if (rc == 0) {
        memcpy(about->node, node, strlen(node) + 1);
        memcpy(about->key, key, strlen(key) + 1);
        about->is_plain_sql = kt_json_boolean(object, "plain_sql", 0);
    } else {
        rc = kt_error_set(error, KT_ERR_INVALID, NULL, "backup.json: %.300s",
                          why.message[0] ? why.message : kt_err_text(rc));
    }
    json_decref(object);
    return rc;
}

int kt_backup_list_line(struct kt_buf *list, const char *path, const uint8_t sha256[KT_SHA256_LEN])
{
    char hash[KT_SHA256_TEXT];

    kt_hex_encode(sha256, KT_SHA256_LEN, hash);
    return kt_buf_putf(list, "%s  %s\n", hash, path);
}

// --- the walk ---

struct walk {
    const struct kt_backup_file *file;
    const struct kt_backup_visitor *visitor;
    struct kt_archive_reader *reader;
    char prefix[KT_PATH_MAX]; // "var/lib/keytrustee/", "" for "/"
    struct kt_backup_about about;
    int has_about, has_list;
    size_t tables;      // seen so far, in the manifest's order
    struct kt_buf list; // what the list at the end must be
    uint64_t read;
    uint8_t *piece;
};

static int malformed(struct kt_error *error, const char *path, const char *what)
{
    return kt_error_set(error, KT_ERR_INVALID, "use another backup", "'%.300s' in the backup %s",
                        path, what);
}

// The first member is the folder <base>/<stem>.d: it says where the others lie.
static int take_prefix(struct walk *walk, const struct kt_archive_member *member,
                       struct kt_error *error)
{
    char name[KT_BACKUP_STEM + 4];
    size_t n = strlen(member->path), length;

    length = (size_t)snprintf(name, sizeof(name), "%s.d", walk->file->stem);
    if (!member->is_dir || n < length || strcmp(member->path + n - length, name) != 0 ||
        (n > length && member->path[n - length - 1] != '/'))
        return malformed(error, member->path, "is not where a backup begins");
    memcpy(walk->prefix, member->path, n - length);
    walk->prefix[n - length] = '\0';
    return 0;
}

// 1 when `path` is <prefix><stem><suffix>.
static int is_own(const struct walk *walk, const char *path, const char *suffix)
{
    size_t n = strlen(walk->prefix), stem = strlen(walk->file->stem);

    return strncmp(path, walk->prefix, n) == 0 && strncmp(path + n, walk->file->stem, stem) == 0 &&
           strcmp(path + n + stem, suffix) == 0;
}

// Whether `path` lies in `folder` (absolute) or is it; `inside` then is what follows.
static int lies_in(const char *path, const char *folder, const char **inside)
{
    size_t n = strlen(folder) - 1; // without the first slash

    if (strncmp(path, folder + 1, n) != 0 || (path[n] != '/' && path[n] != '\0'))
        return 0;
    *inside = path[n] ? path + n + 1 : path + n;
    return 1;
}

// "<prefix><stem>.d/<table>.bin": the manifest's next table.
static int is_table(const struct walk *walk, const char *path, char name[KT_PATH_MAX])
{
    char folder[KT_BACKUP_STEM + 4];
    size_t n = strlen(walk->prefix), length;
    const char *rest;

    length = (size_t)snprintf(folder, sizeof(folder), "%s.d/", walk->file->stem);
    if (strncmp(path, walk->prefix, n) != 0 || strncmp(path + n, folder, length) != 0)
        return 0;
    rest = path + n + length;
    length = strlen(rest);
    if (length < 5 || strcmp(rest + length - 4, ".bin") != 0)
        return 0;
    memcpy(name, rest, length - 4);
    name[length - 4] = '\0';
    return 1;
}

static int classify(struct walk *walk, const struct kt_archive_member *member,
                    struct kt_backup_member *part, struct kt_error *error)
{
    const struct kt_manifest *manifest = &walk->file->manifest;
    const char *inside = NULL;

    part->member = member;
    part->path[0] = '\0';
    if (!walk->has_about) {
        part->part = KT_PART_ABOUT;
        return is_own(walk, member->path, ".d/backup.json") && !member->is_dir
                   ? 0
                   : malformed(error, member->path, "stands before backup.json");
    }
    if (is_own(walk, member->path, ".sql") && !member->is_dir) {
        part->part = KT_PART_SCRIPT;
        return 0;
    }
    if (is_table(walk, member->path, part->path) && !member->is_dir) {
        part->part = KT_PART_TABLE;
        if (walk->tables >= manifest->table_count ||
            strcmp(manifest->tables[walk->tables].name, part->path) != 0)
            return malformed(error, member->path, "is not the manifest's next table");
        walk->tables++;
        return 0;
    }
    part->part =
        lies_in(member->path, walk->about.confdir, &inside) ? KT_PART_CONFDIR : KT_PART_OTHER;
    if (part->part == KT_PART_OTHER)
        inside = member->path;
    snprintf(part->path, sizeof(part->path), "%s", inside);
    return 0;
}

// All of a small file.
static int read_small(struct walk *walk, struct kt_buf *out, uint8_t sha256[KT_SHA256_LEN],
                      struct kt_error *error)
{
    size_t n = 0;

    for (;;) {
        int rc = kt_archive_read(walk->reader, walk->piece, PIECE, &n, sha256, error);
        if (rc || n == 0)
            return rc;
        if (kt_buf_put(out, walk->piece, n) != 0)
            return kt_error_set(error, KT_ERR_INVALID, NULL,
                                "a list in the backup is far too long");
    }
}

static int take_about(struct walk *walk, const struct kt_archive_member *member,
                      struct kt_error *error)
{
    struct kt_buf text = KT_BUF_INIT(ABOUT_MAX);
    uint8_t sha256[KT_SHA256_LEN];
    int rc = read_small(walk, &text, sha256, error);

    if (rc == 0)
        rc = kt_backup_about_parse((const char *)kt_buf_ptr(&text), kt_buf_left(&text),
                                   &walk->about, error);
    if (rc == 0 && kt_backup_list_line(&walk->list, member->path, sha256) != 0)
        rc = kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    walk->has_about = rc == 0;
    walk->read += kt_buf_left(&text);
    kt_buf_free(&text);
    return rc;
}

static int take_list(struct walk *walk, struct kt_error *error)
{
    struct kt_buf text = KT_BUF_INIT(KT_BACKUP_LIST_MAX);
    int rc = read_small(walk, &text, NULL, error);

    if (rc == 0 && (kt_buf_left(&text) != kt_buf_left(&walk->list) ||
                    memcmp(kt_buf_ptr(&text), kt_buf_ptr(&walk->list), kt_buf_left(&text)) != 0))
        rc = kt_error_set(error, KT_ERR_SIGNATURE, "use another backup",
                          "the members are not those of the list at the backup's end");
    walk->has_list = rc == 0;
    kt_buf_free(&text);
    return rc;
}

static int hand_over(struct walk *walk, const struct kt_backup_member *part, struct kt_error *error)
{
    const struct kt_backup_visitor *visitor = walk->visitor;
    uint8_t sha256[KT_SHA256_LEN];
    size_t n = 0;
    int rc = visitor->begin ? visitor->begin(visitor->arg, &walk->about, part, error) : 0;

    if (rc || part->member->is_dir)
        return rc;
    do {
        rc = kt_archive_read(walk->reader, walk->piece, PIECE, &n, sha256, error);
        if (rc == 0 && n > 0 && visitor->data)
            rc = visitor->data(visitor->arg, walk->piece, n, error);
        walk->read += n;
        if (rc == 0 && visitor->progress)
            visitor->progress(visitor->arg, walk->read, 0);
    } while (rc == 0 && n > 0);
    if (rc == 0 && visitor->end)
        rc = visitor->end(visitor->arg, error);
    if (rc == 0 && kt_backup_list_line(&walk->list, part->member->path, sha256) != 0)
        rc = kt_error_set(error, KT_ERR_INVALID, NULL, "the backup has too many members");
    return rc;
}

static int take_member(struct walk *walk, const struct kt_archive_member *member, size_t number,
                       struct kt_error *error)
{
    struct kt_backup_member part;
    int rc;

    if (walk->has_list)
        return malformed(error, member->path, "stands behind the list of members");
    if (number == 0)
        return take_prefix(walk, member, error);
    if (walk->has_about && !member->is_dir && is_own(walk, member->path, ".sha256"))
        return take_list(walk, error);
    rc = classify(walk, member, &part, error);
    if (rc)
        return rc;
    if (part.part == KT_PART_ABOUT)
        return take_about(walk, member, error);
    return hand_over(walk, &part, error);
}

int kt_backup_walk(int fd, const struct kt_backup_file *file,
                   const struct kt_backup_visitor *visitor, struct kt_error *error)
{
    struct kt_archive_member member;
    struct walk *walk = calloc(1, sizeof(*walk));
    size_t number = 0;
    int rc = 0;

    if (!walk || !(walk->piece = malloc(PIECE))) {
        free(walk);
        return kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    }
    walk->file = file;
    walk->visitor = visitor;
    walk->list = (struct kt_buf)KT_BUF_INIT(KT_BACKUP_LIST_MAX);
    rc = kt_archive_reader_new(fd, &walk->reader, error);
    while (rc == 0 && (rc = kt_archive_next(walk->reader, &member, error)) == 1)
        rc = take_member(walk, &member, number++, error);
    // With the rows in the script there are no files of tables at all.
    if (rc == 0 &&
        (!walk->has_list || (walk->tables != 0 && walk->tables != file->manifest.table_count)))
        rc = kt_error_set(error, KT_ERR_TRUNCATED, "use another backup",
                          "the backup ends before its list of members");
    kt_archive_reader_free(walk->reader);
    kt_buf_free(&walk->list);
    explicit_bzero(walk->piece, PIECE); // keys passed through it
    free(walk->piece);
    free(walk);
    return rc;
}
