// SPDX-License-Identifier: Apache-2.0
// Arguments and answers of the cluster's verbs.
#include "kts/agent_cluster.h"
#include "lib/json.h"

int kts_args_epoch(const json_t *args, struct kt_incarnation *incarnation, uint64_t *epoch,
                   struct kt_error *error)
{
    const char *text = NULL;
    int64_t number = 0;
    int rc = kt_json_string(args, "incarnation", 1, KT_INCARNATION_TEXT - 1, &text, error);

    if (rc == 0)
        rc = kt_json_integer(args, "epoch", 1, INT64_MAX, 1, &number, error);
    if (rc)
        return rc;
    if (kt_incarnation_parse(text, incarnation))
        return kt_error_set(error, KT_ERR_BAD_REQUEST, NULL, "'%s' is not an incarnation", text);
    *epoch = (uint64_t)number;
    return 0;
}

int kts_args_node(const json_t *args, const char *name, const char **node, struct kt_error *error)
{
    int rc = kt_json_string(args, name, 1, KT_NODE_NAME_MAX, node, error);

    if (rc == 0 && kt_name_check(*node, KT_NODE_NAME_MAX))
        rc = kt_error_set(error, KT_ERR_BAD_REQUEST, NULL, "%s: '%s' is not a node's name", name,
                          *node);
    return rc;
}

int kts_args_member(const json_t *args, const char *name, int required, const char **member,
                    struct kt_error *error)
{
    int rc = kt_json_string(args, name, required ? 1 : 0, KT_MEMBER_TEXT - 1, member, error);

    if (rc == 0 && *member && kt_member_check(*member))
        rc = kt_error_set(error, KT_ERR_BAD_REQUEST, NULL, "%s: '%s' is not a member", name,
                          *member);
    return rc;
}

int kts_json_lsn(const json_t *object, const char *name, uint64_t *lsn, struct kt_error *error)
{
    const char *text = NULL;
    int rc = kt_json_string(object, name, 1, KT_LSN_TEXT, &text, error);

    if (rc == 0 && kt_lsn_parse(text, lsn))
        rc = kt_error_set(error, KT_ERR_PROTOCOL, NULL, "%s: '%s' is not a position", name, text);
    return rc;
}

void kts_json_set_lsn(json_t *object, const char *name, uint64_t lsn)
{
    char text[KT_LSN_TEXT];

    kt_lsn_format(lsn, text);
    json_object_set_new(object, name, json_string(text));
}

void kts_json_set_incarnation(json_t *object, const char *name,
                              const struct kt_incarnation *incarnation)
{
    char text[KT_INCARNATION_TEXT];

    kt_incarnation_format(incarnation, text);
    json_object_set_new(object, name, json_string(text));
}
