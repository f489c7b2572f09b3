// SPDX-License-Identifier: Apache-2.0
// recovery add, recovery list, recovery retire: keys to which an organisation's deposits must be
// encrypted too.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ktadmin/commands.h"
#include "lib/change.h"
#include "lib/file.h"
#include "lib/openpgp.h"

// The file's key in base64, and its fingerprint. It is read before the agent is asked, by whoever
// called.
static int read_key(const char *path, char **base64, char fingerprint[KT_OPENPGP_FINGERPRINT_TEXT],
                    struct kt_error *error)
{
    struct kt_buf bytes = KT_BUF_INIT(KT_OPENPGP_KEY_MAX);
    struct kt_openpgp_key key;
    int rc = kt_file_read(path, &bytes, error);

    if (rc == 0)
        rc = kt_openpgp_read_key(kt_buf_ptr(&bytes), kt_buf_left(&bytes), &key, error);
    if (rc == 0 && !(*base64 = malloc(4 * ((kt_buf_left(&bytes) + 2) / 3) + 1)))
        rc = kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    if (rc == 0) {
        kt_base64_encode(kt_buf_ptr(&bytes), kt_buf_left(&bytes), *base64);
        kt_hex_encode(key.fingerprint, sizeof(key.fingerprint), fingerprint);
    }
    kt_buf_free(&bytes);
    return rc;
}

static int run_add(struct kt_cli_run *run)
{
    char fingerprint[KT_OPENPGP_FINGERPRINT_TEXT], done[512];
    struct kt_error error = {0};
    char *base64 = NULL;
    int rc = read_key(run->argv[1], &base64, fingerprint, &error);

    if (rc)
        return kt_cli_fail(run, &error);
    snprintf(done, sizeof(done),
             "Added recovery key %s to organisation %.63s\n"
             "next: its clients compare the fingerprint with you, and run\n"
             "    keytrustee recovery accept %s\n"
             "until then their deposits are refused",
             fingerprint, run->argv[0], fingerprint);
    rc = kta_change(run, "recovery.add",
                    json_pack("{s:s, s:s}", "organisation", run->argv[0], "openpgp", base64), done);
    free(base64);
    return rc;
}

static int run_list(struct kt_cli_run *run)
{
    static const struct kta_column COLUMNS[] = {
        {"fingerprint", "fingerprint"},
        {"organisation", "organisation"},
        {"state", "state"},
        {"key ids", "key_ids"},
        {"added", "created_at"},
        {"by", "created_by"},
        {"retired", "retired_at"},
        {NULL, NULL},
    };
    json_t *rows = NULL;
    int rc =
        kta_ask(run, "recovery.list",
                json_pack("{s:s*}", "organisation", run->argc > 0 ? run->argv[0] : NULL), &rows);

    if (rc == 0)
        rc = kta_print_rows(run, rows, COLUMNS);
    json_decref(rows);
    return rc;
}

static int run_retire(struct kt_cli_run *run)
{
    char done[160];

    snprintf(done, sizeof(done), "Retired recovery key %.40s of organisation %.63s", run->argv[1],
             run->argv[0]);
    return kta_change(
        run, "recovery.retire",
        json_pack("{s:s, s:s}", "organisation", run->argv[0], "fingerprint", run->argv[1]), done);
}

const struct kt_cli_command kta_cmd_recovery_add = {
    .verb = "recovery add",
    .arguments = "ORGANISATION KEYFILE",
    .summary = "have deposits encrypted to a recovery key too",
    .help =
        "KEYFILE is a binary public OpenPGP key (gpg --export FINGERPRINT). Whoever has its\n"
        "private half can open every deposit that is made from now on: keep it off the servers.\n"
        "Adding a key again takes over its new parts, and puts it in force again.",
    .min_args = 2,
    .max_args = 2,
    .run = run_add,
};
const struct kt_cli_command kta_cmd_recovery_list = {
    .verb = "recovery list",
    .arguments = "[ORGANISATION]",
    .summary = "list the recovery keys",
    .max_args = 1,
    .run = run_list,
};
const struct kt_cli_command kta_cmd_recovery_retire = {
    .verb = "recovery retire",
    .arguments = "ORGANISATION FINGERPRINT",
    .summary = "ask for a recovery key no more",
    .help = "Deposits that are encrypted to it stay so.",
    .min_args = 2,
    .max_args = 2,
    .run = run_retire,
};
