// SPDX-License-Identifier: Apache-2.0
// Reading and writing confdir/cluster.json.
#include "lib/cluster_info.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/file.h"
#include "lib/json.h"

#define FORMAT_VERSION 1
#define FILE_MAX       4096

// The key id is the end of the fingerprint (RFC 4880 section 12.2).
static int set_fingerprint(struct kt_cluster_info *info, const char *text)
{
    uint8_t bytes[KT_OPENPGP_FINGERPRINT_LEN];

    if (kt_hex_decode(text, bytes, sizeof(bytes)) != 0)
        return KT_ERR_INVALID;
    for (size_t i = 0; i < sizeof(bytes); i++)
        snprintf(info->openpgp_fingerprint + 2 * i, 3, "%02X", bytes[i]);
    info->openpgp_key_id = 0;
    for (size_t i = sizeof(bytes) - 8; i < sizeof(bytes); i++)
        info->openpgp_key_id = info->openpgp_key_id << 8 | bytes[i];
    return 0;
}

void kt_cluster_info_set_key(struct kt_cluster_info *info, const char *fingerprint)
{
    if (set_fingerprint(info, fingerprint) != 0)
        return;
}

static int read_members(const json_t *object, struct kt_cluster_info *info, struct kt_error *why)
{
    static const char *const NAMES[] = {"version", "cluster_id", "node", "openpgp_fingerprint",
                                        NULL};
    const char *id, *node, *fingerprint;
    int64_t version = 0;
    int rc;

    // The version first: a newer one may have other members.
    rc = kt_json_integer(object, "version", FORMAT_VERSION, FORMAT_VERSION, 1, &version, why);
    if (rc == 0)
        rc = kt_json_only(object, NAMES, why);
    if (rc == 0)
        rc = kt_json_string(object, "cluster_id", 1, KT_UUID_TEXT - 1, &id, why);
    if (rc == 0)
        rc = kt_json_string(object, "node", 1, KT_NODE_NAME_MAX, &node, why);
    if (rc == 0)
        rc = kt_json_string(object, "openpgp_fingerprint", 1, KT_OPENPGP_FINGERPRINT_TEXT - 1,
                            &fingerprint, why);
    if (rc)
        return rc;
    if (kt_uuid_parse(id, &info->cluster_id) != 0)
        return kt_error_set(why, KT_ERR_INVALID, NULL, "'cluster_id' is not a UUID");
    if (kt_name_check(node, KT_NODE_NAME_MAX) != 0)
        return kt_error_set(why, KT_ERR_INVALID, NULL, "'node' is not the name of a node");
    if (set_fingerprint(info, fingerprint) != 0)
        return kt_error_set(why, KT_ERR_INVALID, NULL,
                            "'openpgp_fingerprint' is not a fingerprint");
    snprintf(info->node, sizeof(info->node), "%s", node);
    return 0;
}

int kt_cluster_info_load(const char *path, struct kt_cluster_info *info, struct kt_error *error)
{
    struct kt_cluster_info fresh = {0};
    struct kt_error why = {0};
    json_t *object = NULL;
    char *text = NULL;
    int rc;

    rc = kt_file_read_text(path, FILE_MAX, &text, &why);
    if (rc == KT_ERR_NOT_FOUND)
        return kt_error_set(error, KT_ERR_NOT_INITIALISED, NULL, "there is no '%s'", path);
    if (rc)
        return kt_error_set(error, rc, why.hint, "%s", why.message);
    rc = kt_json_parse_object(text, strlen(text), &object, &why);
    if (rc == 0)
        rc = read_members(object, &fresh, &why);
    if (rc)
        rc = kt_error_set(error, KT_ERR_INVALID, "restore the file from a backup of the confdir",
                          "'%s': %s", path, why.message);
    else
        *info = fresh;
    json_decref(object);
    free(text);
    return rc;
}

int kt_cluster_info_save(const char *path, const struct kt_cluster_info *info,
                         struct kt_error *error)
{
    struct kt_cluster_info checked = {0};
    char id[KT_UUID_TEXT], text[512];
    int n;

    if (kt_name_check(info->node, KT_NODE_NAME_MAX) != 0 ||
        set_fingerprint(&checked, info->openpgp_fingerprint) != 0)
        return kt_error_set(error, KT_ERR_INVALID, NULL,
                            "the node's name or the OpenPGP fingerprint has the wrong form");
    kt_uuid_format(&info->cluster_id, id);
    // All values are of alphabets that need no escapes.
    n = snprintf(text, sizeof(text),
                 "{\n  \"version\": %d,\n  \"cluster_id\": \"%s\",\n  \"node\": \"%s\",\n"
                 "  \"openpgp_fingerprint\": \"%s\"\n}\n",
                 FORMAT_VERSION, id, info->node, checked.openpgp_fingerprint);
    if (n < 0 || (size_t)n >= sizeof(text))
        return kt_error_set(error, KT_ERR_INTERNAL, NULL, "cluster.json does not fit");
    return kt_file_replace(path, text, (size_t)n, 0644, error);
}
