// SPDX-License-Identifier: Apache-2.0
// Giving up root, and keeping a process from being looked into.
#include "lib/proc.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static int drop(const struct passwd *account, struct kt_error *error)
{
    uid_t uid = account->pw_uid;
    gid_t gid = account->pw_gid;

    if (uid == 0)
        return kt_error_set(error, KT_ERR_PERMISSION, NULL, "the account '%s' is root",
                            account->pw_name);
    // Groups first: without root they cannot be changed any more.
    if (initgroups(account->pw_name, gid) != 0 || setresgid(gid, gid, gid) != 0 ||
        setresuid(uid, uid, uid) != 0)
        return kt_error_errno(error, "cannot become '%s'", account->pw_name);
    if (setuid(0) == 0 || geteuid() == 0) // a kernel or sandbox that only pretends
        return kt_error_set(error, KT_ERR_PERMISSION, NULL, "root did not go away");
    if (setenv("HOME", account->pw_dir, 1) != 0)
        return kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "no memory for HOME");
    return 0;
}

int kt_proc_drop_to_owner(const char *path, struct kt_error *error)
{
    const struct passwd *account;
    struct stat st;

    if (geteuid() != 0)
        return 0;
    if (stat(path, &st) != 0)
        return kt_error_errno(error, "cannot look at '%s'", path);
    if (st.st_uid == 0)
        return kt_error_set(error, KT_ERR_PERMISSION,
                            "give it to the service account: chown -R keytrustee: FOLDER",
                            "'%s' belongs to root", path);
    account = getpwuid(st.st_uid);
    if (!account)
        return kt_error_set(error, KT_ERR_PERMISSION, NULL,
                            "'%s' belongs to uid %u, which has no account", path,
                            (unsigned)st.st_uid);
    return drop(account, error);
}

int kt_proc_drop_to_user(const char *name, struct kt_error *error)
{
    const struct passwd *account;

    if (geteuid() != 0)
        return 0;
    account = getpwnam(name);
    if (!account)
        return kt_error_set(error, KT_ERR_NOT_FOUND, "make it: useradd --system NAME",
                            "there is no account '%s'", name);
    return drop(account, error);
}

int kt_proc_harden(void)
{
    struct rlimit none = {0, 0};

    umask(077);
    if (setrlimit(RLIMIT_CORE, &none) != 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
        return KT_ERR_SYSTEM;
    return 0;
}

void kt_proc_user_name(char *out, size_t size)
{
    const struct passwd *account = getpwuid(geteuid());

    if (account)
        snprintf(out, size, "%s", account->pw_name);
    else
        snprintf(out, size, "uid %u", (unsigned)geteuid());
}
