// SPDX-License-Identifier: Apache-2.0
// After a backup: old ones, the state file, metrics, what is printed.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ktbackup/metrics.h"
#include "ktbackup/progress.h"
#include "ktbackup/run.h"
#include "lib/json.h"

int ktb_run_roll(struct ktb_run *backup)
{
    const struct kt_manifest *larger;
    struct ktb_catalog catalog = {0};
    int rc;

    if (backup->retention.keep == 0)
        return 0;
    backup->retention.cluster_id = backup->place.cluster_id;
    backup->retention.owner = backup->place.owner;
    rc = ktb_catalog_read(backup->output.path, &backup->trust.trust, &catalog, &backup->kept);
    // At each run, as long as such a backup is there: only a person knows whether that is right.
    larger = rc ? NULL : ktb_find_larger(&catalog, &backup->retention, &backup->manifest);
    if (larger)
        rc = kt_error_set(&backup->kept, KT_ERR_REFUSED_BY_USER,
                          "if that is right, remove that one by hand; the next run rolls again",
                          "the new backup has much less in it than '%s': old ones stay",
                          larger->artefact);
    if (rc == 0)
        rc = ktb_roll(&backup->output, &catalog, &backup->retention, &backup->removed,
                      &backup->kept);
    ktb_catalog_free(&catalog);
    return rc;
}

// Neither the state file nor the metrics are worth a backup that was made: a warning.
static void save_state(const struct ktb_run *backup, const struct kt_backup_state *state)
{
    const char *metrics = kt_cli_value(backup->run, "metrics");
    struct kt_error error = {0};

    if (backup->place.state[0] && kt_backup_state_save(backup->place.state, state, &error) != 0)
        fprintf(stderr, "ktbackup: warning: %s\n", error.message);
    if (metrics && ktb_metrics_write(metrics, state, &error) != 0)
        fprintf(stderr, "ktbackup: warning: %s\n", error.message);
}

void ktb_run_note_made(struct ktb_run *backup)
{
    struct kt_backup_state *state = &backup->state;

    state->made_us = backup->manifest.time_us;
    snprintf(state->path, sizeof(state->path), "%s", backup->path);
    state->bytes = backup->manifest.bytes;
    state->deposits = kt_manifest_rows(&backup->manifest, "deposits");
    state->sequence = backup->manifest.sequence;
    state->log_index = backup->manifest.log_index;
    state->is_proven = backup->manifest.is_proven;
    state->failed_us = 0;
    state->failure[0] = '\0';
    state->verified_us = kt_time_now();
    snprintf(state->verified, sizeof(state->verified), "%s", backup->manifest.artefact);
    snprintf(state->verified_how, sizeof(state->verified_how), "keyless");
    save_state(backup, state);
}

void ktb_run_note_failed(struct ktb_run *backup, const struct kt_error *error)
{
    if (backup->place.state[0] == '\0')
        return;
    // Of what it knows nothing changes but that this run has failed.
    struct kt_backup_state state;
    if (kt_backup_state_load(backup->place.state, &state, NULL) != 0)
        return;
    state.failed_us = kt_time_now();
    snprintf(state.failure, sizeof(state.failure), "%.255s", error->message);
    save_state(backup, &state);
}

static void print_json(const struct ktb_run *backup)
{
    json_t *object = json_pack(
        "{s:s, s:I, s:I, s:I, s:b, s:I}", "path", backup->path, "bytes",
        (json_int_t)backup->manifest.bytes, "sequence", (json_int_t)backup->manifest.sequence,
        "deposits", (json_int_t)kt_manifest_rows(&backup->manifest, "deposits"), "proven",
        backup->manifest.is_proven, "removed", (json_int_t)backup->removed);

    json_dumpf(object, stdout, JSON_INDENT(2) | JSON_SORT_KEYS);
    putchar('\n');
    json_decref(object);
}

void ktb_run_print(const struct ktb_run *backup)
{
    char size[KTB_SIZE_TEXT];

    if (kt_cli_flag(backup->run, "json")) {
        print_json(backup);
        return;
    }
    if (kt_cli_flag(backup->run, "quiet")) {
        printf("%s\n", backup->path);
        return;
    }
    ktb_size_format(backup->manifest.bytes, size);
    printf("%s\n", backup->path);
    printf("  %s", size);
    if (backup->database)
        printf(", %" PRIu64 " deposits, log index %" PRIu64 ", position: %s",
               kt_manifest_rows(&backup->manifest, "deposits"), backup->manifest.log_index,
               backup->manifest.is_proven ? "proven" : "unproven");
    putchar('\n');
    for (size_t i = 0; i < backup->recipient_count; i++)
        printf("  opened by %s (%s)\n", backup->recipients[i].user_id,
               backup->recipients[i].fingerprint);
    if (backup->recipient_count == 0)
        printf("  CLEAR TEXT: whoever reads this file has the private keys in it\n");
    if (backup->removed > 0)
        printf("  %zu older backups removed\n", backup->removed);
    if (backup->database && !backup->manifest.is_proven)
        printf("note: %s\n", backup->unproven.message);
}
