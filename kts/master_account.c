// SPDX-License-Identifier: Apache-2.0
// Started by root: whose files these are, and touching them with that account's rights only.
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kts/master.h"
#include "lib/log.h"

int kts_master_find_accounts(struct kts_master *master, struct kt_error *error)
{
    struct stat confdir;

    master->started_as_root = geteuid() == 0;
    if (!master->started_as_root)
        return 0;
    if (stat(master->paths->confdir, &confdir))
        return kt_error_set(error, KT_ERR_NOT_INITIALISED, "run ktadmin init",
                            "there is no cluster in '%s'", master->paths->confdir);
    if (confdir.st_uid == 0)
        return kt_error_set(error, KT_ERR_PERMISSION,
                            "give it to the service account: chown -R keytrustee: FOLDER",
                            "'%s' belongs to root", master->paths->confdir);
    master->owner = confdir.st_uid;
    master->owner_group = confdir.st_gid;
    return 0;
}

void kts_master_find_network_user(struct kts_master *master)
{
    const char *name = kt_settings_text(master->settings, KT_SET_NETWORK_USER);

    if (!master->started_as_root)
        return;
    master->has_network_user = getpwnam(name) != NULL;
    if (!master->has_network_user)
        kt_log(KT_LOG_WARNING,
               "there is no account '%s' (server.network_user): the workers and the door run as "
               "the owner of "
               "the confdir",
               name);
}

// The owner names files in the settings, and may put links where we expect files: with root's
// rights each of them would be a way to any file of the machine.
void kts_master_as_owner(const struct kts_master *master)
{
    if (master->started_as_root &&
        (setgroups(0, NULL) || setegid(master->owner_group) || seteuid(master->owner)))
        abort(); // never go on with rights that were to be laid down
}

void kts_master_as_root(const struct kts_master *master)
{
    if (master->started_as_root && (seteuid(0) || setegid(0)))
        abort();
}
