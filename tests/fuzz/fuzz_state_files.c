// SPDX-License-Identifier: Apache-2.0
// Fuzz target: files that a node finds at its start: peers.json, cluster.json, backup.json and the
// promise. What is read is written as it was. The first byte chooses.
#include <stdlib.h>
#include <string.h>

#include "lib/backup_state.h"
#include "lib/cluster_info.h"
#include "lib/file.h"
#include "lib/formats.h"
#include "lib/peers.h"
#include "tests/fuzz/fuzz.h"

static void check_peers(const char *path, const char *again)
{
    struct kt_peers *peers = calloc(2, sizeof(*peers));
    struct kt_error error = {0};

    fuzz_must(peers != NULL);
    if (kt_peers_load(path, &peers[0], &error) == 0) {
        fuzz_must(kt_peers_save(again, &peers[0], &error) == 0);
        fuzz_must(kt_peers_load(again, &peers[1], &error) == 0);
        fuzz_must(kt_peers_equal(&peers[0], &peers[1]));
    }
    free(peers);
}

static void check_info(const char *path, const char *again)
{
    struct kt_cluster_info info = {.openpgp_key_id = 0}, read = {.openpgp_key_id = 0};
    struct kt_error error = {0};

    if (kt_cluster_info_load(path, &info, &error) != 0)
        return;
    fuzz_must(kt_cluster_info_save(again, &info, &error) == 0);
    fuzz_must(kt_cluster_info_load(again, &read, &error) == 0);
    fuzz_must(memcmp(&info.cluster_id, &read.cluster_id, sizeof(info.cluster_id)) == 0);
    fuzz_must(strcmp(info.node, read.node) == 0 && info.openpgp_key_id == read.openpgp_key_id);
    fuzz_must(strcmp(info.openpgp_fingerprint, read.openpgp_fingerprint) == 0);
}

static void check_backup(const char *path, const char *again)
{
    struct kt_backup_state *state = calloc(2, sizeof(*state));
    struct kt_error error = {0};

    fuzz_must(state != NULL);
    if (kt_backup_state_load(path, &state[0], &error) == 0) {
        fuzz_must(kt_backup_state_save(again, &state[0], &error) == 0);
        fuzz_must(kt_backup_state_load(again, &state[1], &error) == 0);
        fuzz_must(state[0].made_us == state[1].made_us && state[0].bytes == state[1].bytes);
        fuzz_must(strcmp(state[0].path, state[1].path) == 0);
        fuzz_must(strcmp(state[0].failure, state[1].failure) == 0);
        fuzz_must(state[0].drill_passed == state[1].drill_passed);
        fuzz_must(state[0].proven_us == state[1].proven_us);
    }
    free(state);
}

static void check_promise(const char *path, const char *again)
{
    struct kt_promise promise = {.epoch = 0}, read = {.epoch = 0};
    struct kt_error error = {0};
    char text[KT_PROMISE_TEXT], text_again[KT_PROMISE_TEXT];

    if (kt_promise_load(path, &promise, &error) != 0)
        return;
    fuzz_must(kt_promise_save(again, &promise, &error) == 0);
    fuzz_must(kt_promise_load(again, &read, &error) == 0);
    fuzz_must(kt_promise_format(&promise, text) == 0 && kt_promise_format(&read, text_again) == 0);
    fuzz_must(strcmp(text, text_again) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const CHECKS[])(const char *, const char *) = {check_peers, check_info,
                                                                 check_backup, check_promise};
    struct fuzz_input input = {data, size};
    unsigned which = fuzz_byte(&input) % 4;

    CHECKS[which](fuzz_file("state", input.at, input.left), fuzz_path("again"));
    return 0;
}
