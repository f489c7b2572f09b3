// SPDX-License-Identifier: Apache-2.0
// Fuzz target: audit files. The server's check of its last file and the walk of `ktadmin audit verify`
// say the same. The first byte chooses: 0 the file as it is; 1 each line is a record's JSON, to which
// number and hash are made; 2 the same, then the bit that the next four bytes name is changed.
#include <stdlib.h>
#include <string.h>

#include "kts/audit_file.h"
#include "ktadmin/audit_files.h"
#include "lib/buf.h"
#include "lib/json.h"
#include "tests/fuzz/fuzz.h"

#define FILE_MAX (1u << 20)

static const char OPEN[] = "{\"event\":\"audit.open\",\"previous\":"
                           "\"0000000000000000000000000000000000000000000000000000000000000000\"}";

static void put_record(struct kt_buf *file, struct kts_audit_head *head, const char *json, size_t n)
{
    char line[KT_AUDIT_LINE_MAX];
    size_t len = 0;
    uint8_t hash[KT_SHA256_LEN];

    if (kt_audit_hash(head->hash, head->seq + 1, json, n, hash) != 0 ||
        kt_audit_line_format(head->seq + 1, hash, json, n, line, &len) != 0 ||
        kt_buf_put(file, line, len) != 0)
        return;
    head->seq++;
    memcpy(head->hash, hash, sizeof(hash));
}

static void make_file(struct fuzz_input *input, struct kt_buf *file, struct kts_audit_head *head)
{
    put_record(file, head, OPEN, strlen(OPEN));
    while (input->left > 0) {
        char *json = fuzz_line(input);
        put_record(file, head, json, strlen(json));
        free(json);
    }
}

static int count_record(void *arg, uint64_t seq, const uint8_t hash[KT_SHA256_LEN],
                        const char *json, size_t n)
{
    struct kts_audit_head *last = arg;

    (void)json;
    fuzz_must(n <= KT_AUDIT_JSON_MAX);
    last->seq = seq;
    memcpy(last->hash, hash, KT_SHA256_LEN);
    return 0;
}

// Whether the first record says that a file before it was found broken: the walk reports that, and
// it is no problem of this file.
static int names_a_broken_one(const struct kta_audit_report *report)
{
    return strncmp(report->problem, "the server found ", 17) == 0;
}

// What only the walk minds, which begins at record 1 and takes no long piece of a line for one that
// a crash has cut off.
static int is_of_the_walk(const struct kta_audit_report *report)
{
    return strncmp(report->problem, "the first file claims", 21) == 0 ||
           strncmp(report->problem, "its number does not follow", 26) == 0 ||
           strcmp(report->problem, "the line is too long") == 0;
}

static void compare(const struct kt_buf *file, const struct kts_audit_head *head)
{
    const char *path = fuzz_file("audit-000001.log", kt_buf_ptr(file), kt_buf_left(file));
    struct kts_audit_check check = {.good = 0};
    struct kts_audit_head last = {.seq = 0};
    struct kta_audit_report report;
    struct kt_error error = {0};

    fuzz_must(kts_audit_check_file(path, NULL, &check, &error) == 0);
    fuzz_must(check.good <= check.size && check.size == (int64_t)kt_buf_left(file));
    fuzz_must(kta_audit_walk(fuzz_folder(), count_record, &last, &report, &error) == 0);
    if (report.problem[0] == '\0') { // the walk also wants that nothing came before number 1
        fuzz_must(check.problem[0] == '\0' && check.head.seq == last.seq);
        fuzz_same(check.head.hash, KT_SHA256_LEN, last.hash, KT_SHA256_LEN);
        fuzz_must(check.torn == (report.unfinished > 0));
    }
    if (check.problem[0] == '\0')
        fuzz_must(report.problem[0] == '\0' || names_a_broken_one(&report) ||
                  is_of_the_walk(&report));
    if (head != NULL && !names_a_broken_one(&report)) {
        fuzz_must(check.problem[0] == '\0' && !check.torn && report.problem[0] == '\0');
        fuzz_must(check.head.seq == head->seq && report.records == head->seq);
        fuzz_same(check.head.hash, KT_SHA256_LEN, head->hash, KT_SHA256_LEN);
    }
}

// One bit of a good file is another one: neither believes the file whole.
static void change_bit(struct kt_buf *file, uint32_t at, const struct kts_audit_head *head)
{
    struct kts_audit_check check = {.good = 0};
    struct kt_error error = {0};

    at %= (uint32_t)(8 * kt_buf_left(file));
    file->data[file->off + at / 8] ^= (uint8_t)(1u << at % 8);
    compare(file, NULL);
    fuzz_must(kts_audit_check_file(fuzz_path("audit-000001.log"), NULL, &check, &error) == 0);
    fuzz_must(check.problem[0] != '\0' || check.torn);
    fuzz_must(check.head.seq < head->seq);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kt_buf file = KT_BUF_INIT(FILE_MAX);
    struct kts_audit_head head = {.seq = 0};
    struct fuzz_input input = {data, size};
    unsigned which = fuzz_byte(&input) % 3;
    uint32_t at = 0;

    if (which == 0) {
        fuzz_must(kt_buf_put(&file, input.at, input.left) == 0 || input.left > FILE_MAX);
        compare(&file, NULL);
    } else {
        for (int i = 0; which == 2 && i < 4; i++)
            at = at << 8 | fuzz_byte(&input);
        make_file(&input, &file, &head);
        if (which == 1)
            compare(&file, &head);
        else
            change_bit(&file, at, &head);
    }
    kt_buf_free(&file);
    return 0;
}
