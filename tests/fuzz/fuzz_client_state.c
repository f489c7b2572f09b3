// SPDX-License-Identifier: Apache-2.0
// Fuzz target: files in a client's confdir: client.json, servers.json, deposits on their way, receipts,
// and what is kept beside them. The first byte chooses.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/client.h"
#include "tests/fuzz/fuzz.h"

static struct keytrustee client;
static const struct kt_uuid id = {{1, 2, 3}};
#define ID_TEXT "01020300-0000-0000-0000-000000000000"

static void check_state(const uint8_t *bytes, size_t n)
{
    struct ktc_state state = {0}, again = {0};
    struct kt_error error = {0};

    if (ktc_state_load(fuzz_file("client.json", bytes, n), &state, &error) != 0) {
        fuzz_must(error.message[0] != '\0');
        return;
    }
    for (size_t i = 0; i < state.server_count; i++)
        fuzz_must(kt_http_server_check(state.servers[i]) == 0);
    fuzz_must(ktc_state_save(fuzz_path("again.json"), &state, &error) == 0);
    fuzz_must(ktc_state_load(fuzz_path("again.json"), &again, &error) == 0);
    fuzz_must(state.server_count == again.server_count && state.epoch == again.epoch);
    fuzz_must(memcmp(state.servers, again.servers, sizeof(state.servers)) == 0);
    fuzz_must(strcmp(state.client, again.client) == 0 && strcmp(state.name, again.name) == 0);
    fuzz_must(strcmp(state.organisation, again.organisation) == 0);
    fuzz_must(strcmp(state.fingerprint, again.fingerprint) == 0);
    fuzz_must(strcmp(state.cluster_fingerprint, again.cluster_fingerprint) == 0);
    fuzz_must(state.incarnation.number == again.incarnation.number &&
              (state.incarnation.number == 0 || state.incarnation.bits == again.incarnation.bits));
}

static void check_servers(const uint8_t *bytes, size_t n)
{
    (void)fuzz_file("servers.json", bytes, n);
    client.state.server_count = 2;
    snprintf(client.state.servers[0], KTC_SERVER_TEXT, "one.example");
    snprintf(client.state.servers[1], KTC_SERVER_TEXT, "two.example:11371");
    ktc_servers_load(&client);
    fuzz_must(client.servers.count >= 2 && client.servers.count <= KTC_NODES_MAX);
    fuzz_must(client.servers.preferred == KTC_NONE ||
              client.servers.preferred < client.servers.count);
    fuzz_must(client.servers.active == KTC_NONE || client.servers.active < client.servers.count);
    for (size_t i = 0; i < client.servers.count; i++)
        fuzz_must(kt_http_server_check(client.servers.list[i].name) == 0);
}

static void check_pending(const uint8_t *bytes, size_t n)
{
    struct ktc_pending pending = {.handle = ""}, again = {.handle = ""};
    struct kt_error error = {0};

    (void)fuzz_file("pending/" ID_TEXT, bytes, n);
    if (ktc_pending_load(&client, &id, &pending, &error) != 0) {
        fuzz_must(error.message[0] != '\0');
        return;
    }
    fuzz_must(kt_handle_check(pending.handle) == 0);
    fuzz_must(unlink(fuzz_path("pending/" ID_TEXT)) == 0);
    fuzz_must(ktc_pending_save(&client, &pending, &error) == 0);
    fuzz_must(ktc_pending_load(&client, &id, &again, &error) == 0);
    fuzz_must(strcmp(pending.handle, again.handle) == 0);
    fuzz_same(kt_buf_ptr(&pending.body), kt_buf_left(&pending.body), kt_buf_ptr(&again.body),
              kt_buf_left(&again.body));
    ktc_pending_free(&pending);
    ktc_pending_free(&again);
}

static void check_receipts(const uint8_t *bytes, size_t n)
{
    struct kt_receipt receipt;
    struct kt_error error = {0};
    char text[KT_RECEIPT_TEXT];

    (void)fuzz_file("receipts/" ID_TEXT ".receipt", bytes, n);
    (void)fuzz_file("receipts/" ID_TEXT ".check", bytes, n);
    // SHA-256 of "h"
    (void)fuzz_file("receipts/latest/"
                    "aaa9402664f1a41f40ebbc52c9993eb66aeb366602958fdfaa283b71e64db123",
                    bytes, n);
    (void)ktc_receipt_latest(&client, "h");
    (void)!ktc_check_compare(&client, &id, "s", 1, &error);
    if (ktc_receipt_load(&client, &id, &receipt, &error) == 0) {
        kt_receipt_format(&receipt, text);
        fuzz_same(bytes, n, text, strlen(text));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    unsigned which = fuzz_byte(&input) % 4;

    if (client.confdir[0] == '\0') {
        snprintf(client.confdir, sizeof(client.confdir), "%s", fuzz_folder());
        fuzz_must(mkdir(fuzz_path("pending"), 0700) == 0);
        fuzz_must(mkdir(fuzz_path("receipts"), 0700) == 0);
        fuzz_must(mkdir(fuzz_path("receipts/latest"), 0700) == 0);
    }
    if (which == 0)
        check_state(input.at, input.left);
    else if (which == 1)
        check_servers(input.at, input.left);
    else if (which == 2)
        check_pending(input.at, input.left);
    else
        check_receipts(input.at, input.left);
    return 0;
}
