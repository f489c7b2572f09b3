// SPDX-License-Identifier: Apache-2.0
// Which of the cluster's OpenPGP keys a restored cluster has: the newest of those that the database
// lists and the confdir leads to. So a restore goes no step back on the line that clients follow.
#include <stdlib.h>
#include <string.h>

#include "ktadmin/restore.h"
#include "lib/json.h"
#include "lib/key_line.h"

static int no_memory(struct kt_error *error)
{
    return kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
}

static int load_line(const struct kta_restore *restore, struct kt_key_line **line,
                     struct kt_error *error)
{
    const struct kt_cluster_info *info = &restore->init.info;

    *line = calloc(1, sizeof(**line));
    return *line ? kt_key_line_load(&restore->init.paths, &info->cluster_id,
                                    info->openpgp_fingerprint, *line, error)
                 : no_memory(error);
}

static void free_line(struct kt_key_line *line)
{
    if (line)
        kt_key_line_free(line);
    free(line);
}

int kta_restore_had_key(const struct kta_restore *restore, const char *fingerprint,
                        struct kt_error *error)
{
    struct kt_key_line *line = NULL;
    int rc = load_line(restore, &line, error);

    if (rc == 0 && !kt_key_line_has(line, fingerprint))
        rc = kt_error_set(error, KT_ERR_SIGNATURE, NULL,
                          "it is signed by key %s, which is none of the cluster's", fingerprint);
    free_line(line);
    return rc;
}

int kta_restore_key_leads(const struct kta_restore *restore, const char *trusted,
                          struct kt_error *error)
{
    const struct kta_kept *kept = &restore->kept[KTA_KEPT_KEY_LINE];
    const struct kt_cluster_info *info = &restore->init.info;
    struct kt_key_line *line = calloc(1, sizeof(*line));
    struct kt_error why = {0};
    int rc = line ? 0 : no_memory(&why);

    if (rc == 0 && kept->text)
        rc = kt_key_line_parse(kept->text, kept->n, &info->cluster_id, info->openpgp_fingerprint,
                               line, &why);
    if (rc == 0)
        rc = kt_key_line_follow(line, trusted, &why);
    free_line(line);
    if (rc == KT_ERR_NO_MEMORY)
        return kt_error_set(error, rc, NULL, "%s", why.message);
    return rc ? kt_error_set(error, KT_ERR_SIGNATURE, "use another backup",
                             "the backup is of the cluster with key %s, not %s: %.200s",
                             info->openpgp_fingerprint, trusted, why.message)
              : 0;
}

// The rows of a line, for db_restored.
static char *rows_of(const struct kt_key_line *line)
{
    json_t *list = json_array();
    char when[KT_TIME_TEXT], *text;

    for (size_t i = 0; i < line->count; i++) {
        const struct kt_key_statement *statement = &line->links[i].statement;
        kt_time_format(statement->time_us, when);
        json_array_append_new(list, json_pack("{s:I, s:s, s:s, s:s, s:s}", "number",
                                              (json_int_t)statement->number, "fingerprint",
                                              statement->next, "before", statement->key,
                                              "statement", line->links[i].text, "made_at", when));
    }
    text = list ? json_dumps(list, JSON_COMPACT) : NULL;
    json_decref(list);
    return text;
}

// The one that was handed to this node in a rotation that had been listed, and not ended here. The key
// in use must name it; its secret half is proved by what it signs.
static int take_next(struct kta_restore *restore, const char *listed, struct kt_error *error)
{
    struct kt_cluster_info *info = &restore->init.info;
    struct kt_cluster_key_next next = {.statement = NULL};
    struct kt_key_statement statement;
    int rc = kt_cluster_key_next_load(&restore->init.paths, &next, NULL);

    if (rc == 0 && (strcmp(next.fingerprint, listed) != 0 || !next.statement))
        rc = KT_ERR_NOT_FOUND;
    if (rc == 0)
        rc = kt_key_statement_verify(next.statement, strlen(next.statement), &statement, NULL);
    if (rc == 0 &&
        (strcmp(statement.key, info->openpgp_fingerprint) != 0 ||
         strcmp(statement.next, listed) != 0 ||
         memcmp(&statement.cluster_id, &info->cluster_id, sizeof(info->cluster_id)) != 0))
        rc = KT_ERR_SIGNATURE;
    kt_cluster_key_next_free(&next);
    if (rc)
        return kt_error_set(error, KT_ERR_NOT_FOUND,
                            "restore the confdir of a node that has that key, or a database that "
                            "is not newer than the confdir; nothing has changed",
                            "the database lists the cluster's OpenPGP key %.40s, and the confdir "
                            "has only %s, which it replaced",
                            listed, info->openpgp_fingerprint);
    kt_cluster_info_set_key(info, listed);
    return 0;
}

int kta_restore_key_choose(struct kta_restore *restore, struct kt_error *error)
{
    const char *listed = restore->facts.cluster_key, *own = restore->init.info.openpgp_fingerprint;
    struct kt_key_line *line = NULL;
    int rc = load_line(restore, &line, error);

    if (rc == 0 && listed[0] && strcmp(listed, own) != 0 && !kt_key_line_has(line, listed))
        rc = take_next(restore, listed, error);
    else if (rc == 0 && !(restore->key_rows = rows_of(line)))
        rc = no_memory(error);
    free_line(line);
    return rc;
}

int kta_restore_key_use(struct kta_restore *restore, struct kt_error *error)
{
    const struct kta_init *init = &restore->init;
    struct kt_cluster_info there;
    struct kt_gpg *gpg = NULL;
    int rc = kt_cluster_info_load(init->paths.cluster, &there, error);

    if (rc || strcmp(there.openpgp_fingerprint, init->info.openpgp_fingerprint) == 0)
        return rc;
    rc = kt_gpg_new(init->paths.gnupg, &gpg, error);
    if (rc == 0)
        rc = kt_cluster_key_use(&init->paths, gpg, init->info.openpgp_fingerprint, error);
    kt_gpg_free(gpg);
    if (rc == 0)
        kta_restore_say(restore, "the cluster's OpenPGP key %s, which the database lists",
                        init->info.openpgp_fingerprint);
    return rc;
}
