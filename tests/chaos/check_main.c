// SPDX-License-Identifier: Apache-2.0
// chaos_check HISTORY: checks a campaign's history. Prints the operations, then each violation.
// Exit code 0: none. 1: at least one. 2: the history cannot be read, or proves nothing.
#include "tests/chaos/check.h"

static int read_history(struct chaos_check *check, FILE *file, const char *name)
{
    char line[1100];

    for (unsigned long n = 1; fgets(line, sizeof(line), file) != NULL; n++) {
        struct chaos_event event;

        if (chaos_event_parse(line, &event) != 0) {
            fprintf(stderr, "chaos_check: %s:%lu: not a line of a history\n", name, n);
            return -1;
        }
        chaos_check_event(check, &event);
    }
    return ferror(file) ? -1 : 0;
}

static void print_operations(const struct chaos_check *check, enum chaos_kind kind,
                             const char *text)
{
    printf("%-12s %8zu ok %8zu fail %8zu unknown\n", text,
           chaos_check_operations(check, kind, CHAOS_OK),
           chaos_check_operations(check, kind, CHAOS_FAIL),
           chaos_check_operations(check, kind, CHAOS_UNKNOWN));
}

int main(int argc, char **argv)
{
    FILE *file = argc == 2 ? fopen(argv[1], "re") : NULL;
    struct chaos_check *check = chaos_check_new(stdout);
    int status;

    if (file == NULL || read_history(check, file, argv[1]) != 0) {
        fprintf(stderr, "chaos_check: usage: chaos_check HISTORY\n");
        status = 2;
    } else {
        chaos_check_finish(check);
        print_operations(check, CHAOS_PUT, "deposits");
        print_operations(check, CHAOS_GET, "reads");
        print_operations(check, CHAOS_FINAL, "final reads");
        printf("acknowledged %zu, read at the end from %zu nodes\n",
               chaos_check_acknowledged(check), chaos_check_final_nodes(check));
        for (int i = 0; i < CHAOS_VIOLATION_COUNT; i++)
            if (chaos_check_count(check, (enum chaos_violation)i) > 0)
                printf("%zu %s\n", chaos_check_count(check, (enum chaos_violation)i),
                       chaos_violation_name((enum chaos_violation)i));
        printf("violations: %zu\n", chaos_check_violations(check));
        status = chaos_check_violations(check) != 0     ? 1
                 : chaos_check_acknowledged(check) == 0 ? 2
                 : chaos_check_final_nodes(check) == 0  ? 2
                                                        : 0;
    }
    if (file != NULL)
        fclose(file);
    chaos_check_free(check);
    return status;
}
