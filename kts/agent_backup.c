// SPDX-License-Identifier: Apache-2.0
// The backups of this node, as ktbackup and ktadmin drill leave word of them: for status, health
// and metrics. Workers cannot open files.
#include "kts/agent_backup.h"

#include <string.h>
#include <sys/stat.h>

#include "lib/backup_state.h"
#include "lib/log.h"

#define LOOK_US 2000000
#define SECOND  1000000

// One agent a process.
static struct {
    struct kt_backup_state state; // zero when there is no file, or none that can be read
    struct kt_error error;        // why not; code 0: it can
    struct stat file;             // what was read; zero: none
    int64_t looked_us;
} seen;

// It is replaced as a whole: another one is another inode, or has another time at least.
static int is_same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
           a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static void publish(struct kts_status *status)
{
    const struct kt_backup_state *state = &seen.state;

    atomic_store(&status->backup_bytes, state->bytes);
    atomic_store(&status->backup_deposits, state->deposits);
    atomic_store(&status->backup_made_us, state->made_us);
    atomic_store(&status->backup_verified_us, state->verified_us);
    atomic_store(&status->backup_failed_us, state->failed_us);
    atomic_store(&status->restore_proven_us, state->proven_us);
}

static void read_again(struct kts_agent *agent)
{
    struct kt_error error = {0};
    struct stat file = {0};
    char path[KT_PATH_MAX];
    int rc = kt_backup_state_path(agent->start->paths, path);

    if (rc == 0 && stat(path, &file) != 0)
        memset(&file, 0, sizeof(file));
    if (rc || !is_same(&file, &seen.file)) {
        memset(&seen.state, 0, sizeof(seen.state));
        if (rc == 0)
            rc = kt_backup_state_load(path, &seen.state, &error);
        if (rc) {
            memset(&seen.state, 0, sizeof(seen.state));
            kt_error_set(&seen.error, rc, NULL, "%s",
                         error.message[0] ? error.message : kt_err_text(rc));
            kt_log_error(&seen.error, "what became of the backups is not known");
        } else {
            memset(&seen.error, 0, sizeof(seen.error));
        }
        seen.file = file;
    }
    publish(agent->start->status);
}

void kts_agent_backup_look(struct kts_agent *agent)
{
    int64_t now_us = kt_monotonic_now();

    if (seen.looked_us != 0 && now_us < seen.looked_us + LOOK_US)
        return;
    seen.looked_us = now_us;
    read_again(agent);
}

// --- for operators ---

static json_t *time_or_null(int64_t us)
{
    char text[KT_TIME_TEXT];

    if (us == 0)
        return json_null();
    kt_time_format(us, text);
    return json_string(text);
}

static json_t *number_or_null(int is_known, uint64_t number)
{
    return is_known ? json_integer((json_int_t)number) : json_null();
}

static json_t *text_or_null(int is_known, const char *text)
{
    return is_known ? json_string(text) : json_null();
}

json_t *kts_agent_backup_json(struct kts_agent *agent)
{
    const struct kt_backup_state *state = &seen.state;
    int64_t age_us = 0;
    json_t *object;
    int made;

    read_again(agent);
    made = state->made_us != 0;
    age_us = kt_time_now() - state->made_us;
    object = json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "made",
                       time_or_null(state->made_us), "age_s",
                       number_or_null(made, age_us > 0 ? (uint64_t)age_us / SECOND : 0), "bytes",
                       number_or_null(made, state->bytes), "deposits",
                       number_or_null(made, state->deposits), "sequence",
                       number_or_null(made, state->sequence), "proven",
                       made ? json_boolean(state->is_proven) : json_null(), "failed",
                       time_or_null(state->failed_us), "failure",
                       text_or_null(state->failed_us != 0, state->failure), "verified",
                       time_or_null(state->verified_us), "verified_how",
                       text_or_null(state->verified_us != 0, state->verified_how), "drilled",
                       time_or_null(state->drilled_us), "drill_passed",
                       state->drilled_us ? json_boolean(state->drill_passed) : json_null(),
                       "last_proven_restore", time_or_null(state->proven_us));
    if (object && seen.error.code)
        json_object_set_new(object, "error", json_string(seen.error.message));
    return object;
}
