// SPDX-License-Identifier: Apache-2.0
// The commands of keytrustee, one a file, and what they share (cmd.c).
#ifndef KTC_CMD_H
#define KTC_CMD_H

#include <jansson.h>

#include "client/keytrustee.h"
#include "lib/cli.h"

// To add a command: a file cmd_<verb>.c, a line here, a row in
// main.c, a paragraph in keytrustee(1).
extern const struct kt_cli_command ktc_cmd_register;
extern const struct kt_cli_command ktc_cmd_put;
extern const struct kt_cli_command ktc_cmd_get;
extern const struct kt_cli_command ktc_cmd_info;
extern const struct kt_cli_command ktc_cmd_list;
extern const struct kt_cli_command ktc_cmd_delete;
extern const struct kt_cli_command ktc_cmd_requests;
extern const struct kt_cli_command ktc_cmd_approve;
extern const struct kt_cli_command ktc_cmd_deny;
extern const struct kt_cli_command ktc_cmd_undelete;
extern const struct kt_cli_command ktc_cmd_purge;
extern const struct kt_cli_command ktc_cmd_lock;
extern const struct kt_cli_command ktc_cmd_status;
extern const struct kt_cli_command ktc_cmd_servers_list;
extern const struct kt_cli_command ktc_cmd_servers_add;
extern const struct kt_cli_command ktc_cmd_servers_remove;
extern const struct kt_cli_command ktc_cmd_receipts_export;
extern const struct kt_cli_command ktc_cmd_log_check;
extern const struct kt_cli_command ktc_cmd_recovery_list;
extern const struct kt_cli_command ktc_cmd_recovery_accept;
extern const struct kt_cli_command ktc_cmd_recovery_forget;

// Opens the client by the global options. Returns 0, or an exit code after printing why.
int ktc_cmd_open(const struct kt_cli_run *run, struct keytrustee **client) KT_MUST_CHECK;
// Prints message and hint of a library error and gives the exit code.
int ktc_cmd_fail(const struct kt_cli_run *run, const struct keytrustee_error *error);
// Prints a message of our own and gives the exit code of `code`. `hint` may be NULL.
int ktc_cmd_say(const struct kt_cli_run *run, int code, const char *hint, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
// The value of --version; 0 when not given. Returns 0, or an exit code after printing why.
int ktc_cmd_version(const struct kt_cli_run *run, uint32_t *version) KT_MUST_CHECK;
// The option --NAME, which takes a number from 1 to `max`; 0 when not given. Returns 0, or an exit
// code after printing why.
int ktc_cmd_number(const struct kt_cli_run *run, const char *name, uint64_t max,
                   uint64_t *number) KT_MUST_CHECK;
// A release policy from the options of put (cmd_policy.c). `policy` points into `run` and `room`;
// *given tells whether there is one. Returns 0, or an exit code after printing why.
struct ktc_cmd_policy {
    struct keytrustee_policy policy;
    char not_before[32], not_after[32];
    const char *trustees[17];
    int given;
};
int ktc_cmd_policy(const struct kt_cli_run *run, struct ktc_cmd_policy *room) KT_MUST_CHECK;
// The lines of info about a release policy, and the same as JSON; NULL when out of memory.
void ktc_cmd_print_release(const struct keytrustee_release *release);
json_t *ktc_cmd_release_json(const struct keytrustee_release *release);
// A time of the library as text.
#define KTC_CMD_TIME 32
void ktc_cmd_time(int64_t us, char out[KTC_CMD_TIME]);
// "governance" and so on; "none".
const char *ktc_cmd_lock_mode(int mode);
// A deposit as JSON; NULL when out of memory.
json_t *ktc_cmd_deposit_json(const struct keytrustee_deposit *deposit);
// What a command lists, as it comes (cmd_listing.c).
struct ktc_cmd_listing {
    struct kt_table *table; // or NULL
    json_t *array;          // with --json, else NULL
    int failed;
};
typedef int (*ktc_cmd_listing_fn)(const struct kt_cli_run *run, struct keytrustee *client,
                                  struct ktc_cmd_listing *listing, struct keytrustee_error *error);
// Opens the client, has `ask` ask the library, and prints what was added: an array with --json, else
// a table with these headers; with `headers` NULL `ask` prints lines itself. Gives the exit code.
int ktc_cmd_listing_print(const struct kt_cli_run *run, const char *const *headers,
                          ktc_cmd_listing_fn ask);
// Adds to the array (the object is released) or to the table. 0, or 1 when out of memory.
int ktc_cmd_listing_json(struct ktc_cmd_listing *listing, json_t *object);
int ktc_cmd_listing_row(struct ktc_cmd_listing *listing, const char *const *cells);
// Prints an object (which is released) and gives the exit code.
int ktc_cmd_print_json(const struct kt_cli_run *run, json_t *object);

#endif
