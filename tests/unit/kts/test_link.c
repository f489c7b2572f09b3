// SPDX-License-Identifier: Apache-2.0
// Framed messages over a link: whole, in order, bounded, and honest about the end.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kts/link.h"
#include "lib/secret.h"

struct pair {
    struct kts_link *a, *b;
    int raw; // the descriptor of a, for writing nonsense
};

static int set_up(void **state)
{
    struct pair *pair = calloc(1, sizeof(*pair));
    int fds[2];

    assert_non_null(pair);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(kts_link_new(fds[0], &pair->a), 0);
    assert_int_equal(kts_link_new(fds[1], &pair->b), 0);
    pair->raw = fds[0];
    *state = pair;
    return 0;
}

static int tear_down(void **state)
{
    struct pair *pair = *state;

    kts_link_free(pair->a);
    kts_link_free(pair->b);
    free(pair);
    return 0;
}

static void write_raw(const struct pair *pair, const void *bytes, size_t n)
{
    assert_int_equal(write(pair->raw, bytes, n), n);
}

static void messages_arrive_whole_and_in_order(void **state)
{
    struct pair *pair = *state;
    struct kts_message m;

    assert_int_equal(kts_link_send(pair->a, KTS_MSG_CHANGE, 7, "first", 5), 0);
    assert_int_equal(kts_link_send(pair->a, KTS_MSG_AUDIT, UINT64_MAX, NULL, 0), 0);
    assert_int_equal(kts_link_receive(pair->b), 0);
    assert_int_equal(kts_link_next(pair->b, &m), 1);
    assert_int_equal(m.type, KTS_MSG_CHANGE);
    assert_int_equal(m.id, 7);
    assert_int_equal(kt_buf_left(&m.payload), 5);
    assert_memory_equal(kt_buf_ptr(&m.payload), "first", 5);
    assert_int_equal(kts_link_next(pair->b, &m), 1);
    assert_int_equal(m.type, KTS_MSG_AUDIT);
    assert_true(m.id == UINT64_MAX);
    assert_int_equal(kt_buf_left(&m.payload), 0);
    assert_int_equal(kts_link_next(pair->b, &m), 0);
}

static void nothing_there_is_no_error(void **state)
{
    struct pair *pair = *state;
    struct kts_message m;

    assert_int_equal(kts_link_receive(pair->b), 0);
    assert_int_equal(kts_link_next(pair->b, &m), 0);
}

static void message_in_pieces_is_put_together(void **state)
{
    static const uint8_t FRAME[] = {0, 0, 0, 3, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 'a', 'b', 'c'};
    struct pair *pair = *state;
    struct kts_message m;

    for (size_t i = 0; i < sizeof(FRAME); i++) {
        assert_int_equal(kts_link_next(pair->b, &m), 0);
        write_raw(pair, FRAME + i, 1);
        assert_int_equal(kts_link_receive(pair->b), 0);
    }
    assert_int_equal(kts_link_next(pair->b, &m), 1);
    assert_int_equal(m.type, KTS_MSG_SIGN);
    assert_int_equal(m.id, 9);
    assert_memory_equal(kt_buf_ptr(&m.payload), "abc", 3);
}

static void largest_message_passes_a_small_socket(void **state)
{
    struct pair *pair = *state;
    uint8_t *big = malloc(KTS_MESSAGE_MAX);
    struct kts_message m;
    int rc = 0;

    assert_non_null(big);
    for (size_t i = 0; i < KTS_MESSAGE_MAX; i++)
        big[i] = (uint8_t)(i * 7 + i / 251);
    assert_int_equal(kts_link_send(pair->a, KTS_MSG_CHANGE, 1, big, KTS_MESSAGE_MAX), 0);
    assert_int_equal(kts_link_send(pair->a, KTS_MSG_CHANGE, 2, "x", 1), 0);
    assert_true(kts_link_wants_write(pair->a));
    while ((rc = kts_link_next(pair->b, &m)) == 0) {
        int flushed = kts_link_flush(pair->a);
        assert_true(flushed == 0 || flushed == KT_ERR_AGAIN);
        assert_int_equal(kts_link_receive(pair->b), 0);
    }
    assert_int_equal(rc, 1);
    assert_int_equal(kt_buf_left(&m.payload), KTS_MESSAGE_MAX);
    assert_memory_equal(kt_buf_ptr(&m.payload), big, KTS_MESSAGE_MAX);
    while ((rc = kts_link_next(pair->b, &m)) == 0) {
        (void)!kts_link_flush(pair->a);
        assert_int_equal(kts_link_receive(pair->b), 0);
    }
    assert_int_equal(m.id, 2);
    assert_false(kts_link_wants_write(pair->a));
    free(big);
}

static void message_over_the_bound_is_not_sent(void **state)
{
    struct pair *pair = *state;
    uint8_t *big = calloc(1, KTS_MESSAGE_MAX + 1);

    assert_int_equal(kts_link_send(pair->a, KTS_MSG_CHANGE, 1, big, KTS_MESSAGE_MAX + 1),
                     KT_ERR_TOO_LARGE);
    assert_false(kts_link_wants_write(pair->a));
    free(big);
}

static void length_over_the_bound_breaks_the_link(void **state)
{
    static const uint8_t FRAME[16] = {0x01, 0x40, 0x00, 0x01, 0, 1}; // 20 MiB + 1
    struct pair *pair = *state;
    struct kts_message m;

    write_raw(pair, FRAME, sizeof(FRAME));
    assert_int_equal(kts_link_receive(pair->b), 0);
    assert_int_equal(kts_link_next(pair->b, &m), KT_ERR_PROTOCOL);
    assert_int_equal(kts_link_next(pair->b, &m), KT_ERR_PROTOCOL);
    assert_int_equal(kts_link_receive(pair->b), KT_ERR_PROTOCOL);
    assert_int_equal(kts_link_send(pair->b, KTS_MSG_AUDIT, 1, NULL, 0), KT_ERR_PROTOCOL);
}

static void reserved_bytes_must_be_zero(void **state)
{
    static const uint8_t FRAME[16] = {0, 0, 0, 0, 0, 1, 0, 1};
    struct pair *pair = *state;
    struct kts_message m;

    write_raw(pair, FRAME, sizeof(FRAME));
    assert_int_equal(kts_link_receive(pair->b), 0);
    assert_int_equal(kts_link_next(pair->b, &m), KT_ERR_PROTOCOL);
}

static void end_is_told_after_the_last_message(void **state)
{
    struct pair *pair = *state;
    struct kts_message m;

    assert_int_equal(kts_link_send(pair->a, KTS_MSG_AUDIT, 3, "last", 4), 0);
    kts_link_free(pair->a);
    pair->a = NULL;
    assert_int_equal(kts_link_receive(pair->b), 0);
    assert_int_equal(kts_link_next(pair->b, &m), 1);
    assert_memory_equal(kt_buf_ptr(&m.payload), "last", 4);
    assert_int_equal(kts_link_receive(pair->b), KT_ERR_NETWORK);
    assert_int_equal(kts_link_next(pair->b, &m), 0);
}

static void sending_to_nobody_is_an_error_but_what_came_is_read(void **state)
{
    struct pair *pair = *state;
    struct kts_message m;

    assert_int_equal(kts_link_send(pair->a, KTS_MSG_AUDIT, 4, "kept", 4), 0);
    kts_link_free(pair->a);
    pair->a = NULL;
    assert_int_equal(kts_link_send(pair->b, KTS_MSG_AUDIT, 1, "x", 1), KT_ERR_NETWORK);
    assert_int_equal(kts_link_flush(pair->b), KT_ERR_NETWORK);
    assert_int_equal(kts_link_receive(pair->b), 0);
    assert_int_equal(kts_link_next(pair->b, &m), 1);
    assert_int_equal(m.id, 4);
}

static void queue_of_a_slow_reader_is_bounded(void **state)
{
    struct pair *pair = *state;
    const size_t size = 4u << 20;
    uint8_t *block = calloc(1, size);
    int sent = 0, rc;

    while ((rc = kts_link_send(pair->a, KTS_MSG_CHANGE, 1, block, size)) == 0)
        assert_true(++sent < 20);
    assert_int_equal(rc, KT_ERR_BUSY);
    assert_true(sent >= 16);
    free(block);
}

// --- what is left behind ---

static int holds(const struct kt_buf *buf, size_t cap, const char *text)
{
    return memmem(buf->data, cap, text, strlen(text)) != NULL;
}

// The storage that the view points into is kept for the next message.
static void a_message_is_wiped_once_it_was_handled(void **state)
{
    struct pair *pair = *state;
    struct kts_message first, second, none;

    assert_int_equal(kts_link_send(pair->a, KTS_MSG_BODY, 1, "first key", 9), 0);
    assert_int_equal(kts_link_send(pair->a, KTS_MSG_BODY, 2, "second key", 10), 0);
    assert_int_equal(kts_link_receive(pair->b), 0);
    assert_int_equal(kts_link_next(pair->b, &first), 1);
    assert_memory_equal(kt_buf_ptr(&first.payload), "first key", 9);
    assert_int_equal(kts_link_next(pair->b, &second), 1);
    assert_false(holds(&first.payload, 9, "first"));
    assert_memory_equal(kt_buf_ptr(&second.payload), "second key", 10);
    assert_int_equal(kts_link_next(pair->b, &none), 0);
    assert_false(holds(&second.payload, 10, "second"));
}

static void the_last_message_is_wiped_by_the_next_receive_too(void **state)
{
    struct pair *pair = *state;
    struct kts_message m;

    assert_int_equal(kts_link_send(pair->a, KTS_MSG_BODY, 1, "the key", 7), 0);
    assert_int_equal(kts_link_receive(pair->b), 0);
    assert_int_equal(kts_link_next(pair->b, &m), 1);
    assert_int_equal(kts_link_receive(pair->b), 0);
    assert_false(holds(&m.payload, 7, "key"));
}

// Bytes that stand nowhere but where a message has been: they are computed where they are looked for.
static volatile unsigned step = 37;

static uint8_t byte_at(size_t i)
{
    return (uint8_t)(i * step + 11);
}

static int begins_at(const uint8_t *p)
{
    size_t i = 0;

    while (i < 32 && p[i] == byte_at(i))
        i++;
    return i == 32;
}

// In all memory of this process that can be written.
static int copies(void)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[512];
    int found = 0;

    assert_non_null(maps);
    while (fgets(line, sizeof(line), maps)) {
        uintptr_t from, to;
        if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " rw-p", &from, &to) != 2 ||
            !strstr(line, " rw-p"))
            continue;
        for (const uint8_t *p = (const uint8_t *)from; p + 32 <= (const uint8_t *)to; p++)
            found += begins_at(p);
    }
    assert_int_equal(fclose(maps), 0);
    return found;
}

static void nothing_of_a_message_is_left_at_either_end(void **state)
{
    struct pair *pair = *state;
    const size_t size = 400u << 10; // the socket does not take it at once; the storage is kept
    uint8_t *block = malloc(size);
    struct kts_message m;
    int rc;

    assert_non_null(block);
    for (size_t i = 0; i < size; i++)
        block[i] = byte_at(i);
    assert_true(copies() > 0);
    assert_int_equal(kts_link_send(pair->a, KTS_MSG_BODY, 1, "before", 6), 0);
    assert_int_equal(kts_link_send(pair->a, KTS_MSG_BODY, 2, block, size), 0);
    kt_wipe(block, size);
    free(block);
    assert_true(kts_link_wants_write(pair->a));
    while ((rc = kts_link_next(pair->b, &m)) != 1 || m.id != 2) {
        assert_true(rc >= 0);
        (void)!kts_link_flush(pair->a);
        assert_int_equal(kts_link_receive(pair->b), 0);
    }
    assert_false(kts_link_wants_write(pair->a));
    assert_int_equal(kt_buf_left(&m.payload), size);
    assert_true(copies() > 0);
    assert_int_equal(kts_link_next(pair->b, &m), 0);
    assert_int_equal(copies(), 0);
}

// --- calls ---

static void call_gives_the_answer(void **state)
{
    struct pair *pair = *state;
    struct kts_message answer;

    // The answer is on its way before the question: nobody else is needed here.
    assert_int_equal(kts_link_send(pair->b, KTS_MSG_SIGNED, 5, "cert", 4), 0);
    assert_int_equal(
        kts_link_call(pair->a, KTS_MSG_SIGN, 5, "csr", 3, KTS_MSG_SIGNED, 1000, &answer), 0);
    assert_memory_equal(kt_buf_ptr(&answer.payload), "cert", 4);
}

static void call_gives_up_at_its_deadline(void **state)
{
    struct pair *pair = *state;
    struct kts_message answer;

    assert_int_equal(kts_link_call(pair->a, KTS_MSG_SIGN, 5, "csr", 3, KTS_MSG_SIGNED, 20, &answer),
                     KT_ERR_TIMEOUT);
}

static void late_answer_to_an_earlier_call_is_dropped(void **state)
{
    struct pair *pair = *state;
    struct kts_message answer;

    assert_int_equal(kts_link_send(pair->b, KTS_MSG_SIGNED, 5, "late", 4), 0);
    assert_int_equal(kts_link_send(pair->b, KTS_MSG_SIGNED, 6, "mine", 4), 0);
    assert_int_equal(
        kts_link_call(pair->a, KTS_MSG_SIGN, 6, "csr", 3, KTS_MSG_SIGNED, 1000, &answer), 0);
    assert_memory_equal(kt_buf_ptr(&answer.payload), "mine", 4);
}

static void foreign_message_in_a_call_is_refused(void **state)
{
    struct pair *pair = *state;
    struct kts_message answer;

    assert_int_equal(kts_link_send(pair->b, KTS_MSG_AUDIT_DONE, 5, "", 0), 0);
    assert_int_equal(
        kts_link_call(pair->a, KTS_MSG_SIGN, 5, "csr", 3, KTS_MSG_SIGNED, 1000, &answer),
        KT_ERR_PROTOCOL);
}

static void call_to_a_process_that_died_is_an_error(void **state)
{
    struct pair *pair = *state;
    struct kts_message answer;

    kts_link_free(pair->b);
    pair->b = NULL;
    assert_int_equal(
        kts_link_call(pair->a, KTS_MSG_SIGN, 5, "csr", 3, KTS_MSG_SIGNED, 1000, &answer),
        KT_ERR_NETWORK);
}

static void echo_all(struct kts_link *link)
{
    struct kts_message m;

    for (;;) {
        int rc = kts_link_next(link, &m);
        if (rc == 0)
            rc = kts_link_receive(link) ? -1 : 0;
        else if (rc == 1)
            rc = kts_link_send(link, KTS_MSG_OUTCOME, m.id, kt_buf_ptr(&m.payload),
                               kt_buf_left(&m.payload));
        if (rc == 0)
            rc = kts_link_flush(link);
        if (rc && rc != KT_ERR_AGAIN)
            _exit(0);
    }
}

static void large_calls_go_both_ways_between_processes(void **state)
{
    struct pair *pair = *state;
    const size_t size = 3u << 20;
    uint8_t *block = malloc(size);
    struct kts_message answer;
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        kts_link_free(pair->a);
        echo_all(pair->b);
    }
    for (uint64_t id = 1; id <= 5; id++) {
        memset(block, (int)id, size);
        assert_int_equal(kts_link_call(pair->a, KTS_MSG_CHANGE, id, block, size, KTS_MSG_OUTCOME,
                                       20000, &answer),
                         0);
        assert_int_equal(kt_buf_left(&answer.payload), size);
        assert_memory_equal(kt_buf_ptr(&answer.payload), block, size);
    }
    kts_link_free(pair->b);
    pair->b = NULL;
    kts_link_free(pair->a);
    pair->a = NULL;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    free(block);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(messages_arrive_whole_and_in_order),
        CASE(nothing_there_is_no_error),
        CASE(message_in_pieces_is_put_together),
        CASE(largest_message_passes_a_small_socket),
        CASE(message_over_the_bound_is_not_sent),
        CASE(length_over_the_bound_breaks_the_link),
        CASE(reserved_bytes_must_be_zero),
        CASE(end_is_told_after_the_last_message),
        CASE(sending_to_nobody_is_an_error_but_what_came_is_read),
        CASE(queue_of_a_slow_reader_is_bounded),
        CASE(a_message_is_wiped_once_it_was_handled),
        CASE(the_last_message_is_wiped_by_the_next_receive_too),
        CASE(nothing_of_a_message_is_left_at_either_end),
        CASE(call_gives_the_answer),
        CASE(call_gives_up_at_its_deadline),
        CASE(late_answer_to_an_earlier_call_is_dropped),
        CASE(foreign_message_in_a_call_is_refused),
        CASE(call_to_a_process_that_died_is_an_error),
        CASE(large_calls_go_both_ways_between_processes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
