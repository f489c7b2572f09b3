// SPDX-License-Identifier: Apache-2.0
// What the commands that list something share: a table, lines, or one array of JSON.
#include "client/cmd.h"

int ktc_cmd_listing_json(struct ktc_cmd_listing *listing, json_t *object)
{
    listing->failed = object == NULL || json_array_append_new(listing->array, object) != 0;
    return listing->failed;
}

int ktc_cmd_listing_row(struct ktc_cmd_listing *listing, const char *const *cells)
{
    listing->failed = kt_table_row(listing->table, cells) != 0;
    return listing->failed;
}

int ktc_cmd_listing_print(const struct kt_cli_run *run, const char *const *headers,
                          ktc_cmd_listing_fn ask)
{
    struct ktc_cmd_listing listing = {NULL, NULL, 0};
    struct keytrustee *client = NULL;
    struct keytrustee_error error;
    int json = kt_cli_flag(run, "json");
    int rc = ktc_cmd_open(run, &client);

    if (rc != 0)
        return rc;
    if (json)
        listing.array = json_array();
    else if (headers != NULL)
        listing.table = kt_table_new(headers);
    listing.failed = (json && listing.array == NULL) || (!json && headers && !listing.table);
    if (!listing.failed && ask(run, client, &listing, &error) != KEYTRUSTEE_OK) {
        rc = ktc_cmd_fail(run, &error);
    } else if (listing.failed) {
        rc = ktc_cmd_say(run, KT_ERR_NO_MEMORY, NULL, "out of memory");
    } else if (json) {
        rc = ktc_cmd_print_json(run, listing.array);
        listing.array = NULL;
    } else if (listing.table != NULL) {
        kt_table_print(listing.table, stdout);
    }
    json_decref(listing.array);
    kt_table_free(listing.table);
    keytrustee_close(client);
    return rc;
}
