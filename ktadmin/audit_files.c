// SPDX-License-Identifier: Apache-2.0
// Walking the audit files: each record's hash, the numbers, and the tie from file to file.
#include "ktadmin/audit_files.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/file.h"
#include "lib/json.h"
#include "lib/paths.h"

#define NAME_FORM "audit-%06u.log"
#define NAME_ROOM 32
#define LOST_MARK "lost" // left by the server when a file was touched while it was in use

struct walk {
    const char *dir;
    kta_audit_record record;
    void *arg;
    struct kta_audit_report *report;
    struct kt_error *error;
    unsigned number; // of the file
    uint64_t line;
    int64_t offset; // behind the last whole line
    int last_file;
    int resume; // behind a break: the next file's first record is believed
};

// Notes the first problem; always KT_ERR_SIGNATURE.
static int problem(struct walk *walk, const char *what)
{
    char name[NAME_ROOM];

    walk->resume = 1;
    if (walk->report->problem[0])
        return KT_ERR_SIGNATURE;
    snprintf(name, sizeof(name), NAME_FORM, walk->number);
    if (walk->line)
        snprintf(walk->report->where, sizeof(walk->report->where), "%s:%llu", name,
                 (unsigned long long)walk->line);
    else
        snprintf(walk->report->where, sizeof(walk->report->where), "%s", name);
    snprintf(walk->report->problem, sizeof(walk->report->problem), "%s", what);
    return KT_ERR_SIGNATURE;
}

// The number in "audit-000012.log", 0 for any other name.
static unsigned number_of(const char *name)
{
    char again[NAME_ROOM];
    unsigned number = 0;

    if (sscanf(name, "audit-%9u.log", &number) != 1 || number == 0)
        return 0;
    snprintf(again, sizeof(again), NAME_FORM, number);
    return strcmp(again, name) == 0 ? number : 0;
}

// First and last number of the files in the folder, and how many there are.
static int find_files(const char *dir, unsigned *first, unsigned *last, unsigned *count,
                      struct kt_error *error)
{
    struct dirent *entry;
    DIR *folder = opendir(dir);

    *first = *last = *count = 0;
    if (!folder && errno == ENOENT)
        return kt_error_set(error, KT_ERR_NOT_INITIALISED, "run ktadmin init, or give --confdir",
                            "no audit folder '%s'", dir);
    if (!folder)
        return kt_error_errno(error, "cannot open the audit folder '%s'", dir);
    while ((entry = readdir(folder))) {
        unsigned n = number_of(entry->d_name);
        if (n == 0)
            continue;
        if (*count == 0 || n < *first)
            *first = n;
        if (n > *last)
            *last = n;
        ++*count;
    }
    closedir(folder);
    if (*count == 0)
        return kt_error_set(error, KT_ERR_NOT_FOUND, "the server writes the first one at its start",
                            "no audit files in '%s'", dir);
    return 0;
}

// The first record of a file names the hash that it follows. It must be the last one of the file
// before; nothing at all for the very first.
static int check_opening(struct walk *walk, const char *json, size_t n,
                         uint8_t previous[KT_SHA256_LEN])
{
    struct kta_audit_report *report = walk->report;
    const char *event = NULL, *hex = NULL, *broken = NULL, *why = NULL;
    json_t *object = NULL;
    char text[192];
    int rc = 0;

    if (kt_json_parse_object(json, n, &object, NULL) != 0 ||
        kt_json_string(object, "event", 1, 64, &event, NULL) != 0 ||
        strcmp(event, "audit.open") != 0 ||
        kt_json_string(object, "previous", 2 * KT_SHA256_LEN, 2 * KT_SHA256_LEN, &hex, NULL) != 0 ||
        kt_hex_decode(hex, previous, KT_SHA256_LEN) != 0)
        rc = problem(walk, "the file does not begin with an \"audit.open\" record");
    if (rc == 0 && kt_json_string(object, "broken", 0, 64, &broken, NULL) == 0 && broken) {
        if (kt_json_string(object, "problem", 0, 100, &why, NULL) != 0)
            why = NULL;
        snprintf(text, sizeof(text), "the server found \"%.40s\" broken: %.100s", broken,
                 why ? why : "no reason given");
        (void)problem(walk, text); // this record itself is good
    }
    if (rc == 0 && !walk->resume && memcmp(previous, report->last_hash, KT_SHA256_LEN) != 0)
        rc = problem(walk, walk->number == 1 ? "the first file claims to follow another"
                                             : "the file does not follow the one before it: "
                                               "records are missing at the end of that");
    json_decref(object);
    return rc;
}

static int check_line(struct walk *walk, const char *line, size_t n)
{
    struct kta_audit_report *report = walk->report;
    uint8_t hash[KT_SHA256_LEN], expected[KT_SHA256_LEN], previous[KT_SHA256_LEN];
    const char *json;
    size_t json_len;
    uint64_t seq;
    int rc = 0;

    if (kt_audit_line_parse(line, n, &seq, hash, &json, &json_len) != 0)
        return problem(walk, "not an audit record");
    memcpy(previous, report->last_hash, sizeof(previous));
    if (walk->line == 1)
        rc = check_opening(walk, json, json_len, previous);
    if (rc)
        return rc;
    if (seq != report->last_seq + 1 && !(walk->line == 1 && walk->resume))
        return problem(walk, "its number does not follow the one before: records are missing");
    if (kt_audit_hash(previous, seq, json, json_len, expected) != 0 ||
        memcmp(hash, expected, sizeof(hash)) != 0)
        return problem(walk, "its hash does not fit: this record, or the one before, was changed");
    walk->resume = 0;
    if (report->records++ == 0)
        report->first_seq = seq;
    report->last_seq = seq;
    memcpy(report->last_hash, hash, sizeof(hash));
    return walk->record ? walk->record(walk->arg, seq, hash, json, json_len) : 0;
}

// Bytes of the next line, its newline included, NULs and all; at most `size`. 0 at the end.
static size_t read_line(FILE *file, char *line, size_t size)
{
    size_t n = 0;
    int c;

    while (n < size && (c = getc_unlocked(file)) != EOF) {
        line[n++] = (char)c;
        if (c == '\n')
            break;
    }
    return n;
}

static int open_file(struct walk *walk, FILE **file)
{
    char name[NAME_ROOM], path[KT_PATH_MAX];
    struct stat st;

    snprintf(name, sizeof(name), NAME_FORM, walk->number);
    if (kt_path_join(path, sizeof(path), walk->dir, name) != 0)
        return kt_error_set(walk->error, KT_ERR_TOO_LARGE, NULL,
                            "the audit folder's path is too long");
    *file = fopen(path, "re");
    if (!*file && errno == ENOENT)
        return problem(walk, "the file is missing");
    if (!*file || fstat(fileno(*file), &st) || fseeko(*file, walk->offset, SEEK_SET))
        return kt_error_errno(walk->error, "cannot read '%s'", path);
    return st.st_size < walk->offset ? problem(walk, "the file was cut") : 0;
}

// Goes on behind walk->offset.
static int walk_file(struct walk *walk)
{
    char line[KT_AUDIT_LINE_MAX + 1];
    FILE *file = NULL;
    size_t n;
    int rc = open_file(walk, &file);

    walk->report->unfinished = 0;
    while (rc == 0 && (n = read_line(file, line, sizeof(line))) > 0) {
        walk->line++;
        if (line[n - 1] == '\n') {
            walk->offset += (int64_t)n;
            rc = check_line(walk, line, n - 1);
        } else if (feof(file) && walk->last_file && walk->line > 1) {
            walk->report->unfinished = (int64_t)n;
            walk->line--;
        } else {
            rc = problem(walk, n > KT_AUDIT_LINE_MAX ? "the line is too long"
                                                     : "the record is not whole");
        }
    }
    if (rc == 0 && ferror(file))
        rc = kt_error_errno(walk->error, "cannot read the audit files");
    if (rc == 0 && walk->line == 0)
        rc = problem(walk, "the file is empty");
    if (file)
        fclose(file);
    return rc;
}

static int next_file(struct walk *walk)
{
    walk->number++;
    walk->line = 0;
    walk->offset = 0;
    return walk_file(walk);
}

static int go_on(struct walk *walk, int (*idle)(void *arg))
{
    unsigned first, last, count;
    int rc = idle(walk->arg);

    while (rc == 0) {
        rc = find_files(walk->dir, &first, &last, &count, walk->error);
        walk->last_file = walk->number >= last;
        if (rc == 0)
            rc = walk_file(walk);
        if (rc == 0 && !walk->last_file)
            rc = next_file(walk);
        else if (rc == 0)
            rc = idle(walk->arg);
        walk->report->files = count;
    }
    return rc > 0 || (rc == KT_ERR_SIGNATURE && walk->report->problem[0]) ? 0 : rc;
}

static int walk_all(struct walk *walk, int (*idle)(void *arg))
{
    struct kta_audit_report *report = walk->report;
    unsigned first, last, count;
    char mark[KT_PATH_MAX];
    int rc;

    memset(report, 0, sizeof(*report));
    rc = find_files(walk->dir, &first, &last, &count, walk->error);
    if (rc)
        return rc;
    report->files = count;
    while (walk->number < last && rc == 0) {
        walk->last_file = walk->number + 1 == last;
        rc = next_file(walk);
        if (rc == KT_ERR_SIGNATURE && report->problem[0])
            rc = 0; // what the later files hold is wanted all the same
    }
    if (rc == 0 && kt_path_join(mark, sizeof(mark), walk->dir, LOST_MARK) == 0 &&
        kt_file_exists(mark)) {
        uint64_t line = walk->line;
        walk->line = 0;
        (void)problem(walk, "the server noticed that a file was removed or changed while in use");
        walk->line = line;
    }
    return rc == 0 && idle ? go_on(walk, idle) : rc;
}

int kta_audit_walk(const char *dir, kta_audit_record record, void *arg,
                   struct kta_audit_report *report, struct kt_error *error)
{
    struct walk walk = {.dir = dir, .record = record, .arg = arg, .report = report, .error = error};

    return walk_all(&walk, NULL);
}

int kta_audit_follow(const char *dir, kta_audit_record record, int (*idle)(void *arg), void *arg,
                     struct kta_audit_report *report, struct kt_error *error)
{
    struct walk walk = {.dir = dir, .record = record, .arg = arg, .report = report, .error = error};

    return walk_all(&walk, idle);
}
