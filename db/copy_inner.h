// SPDX-License-Identifier: Apache-2.0
// What base backup and rewind share.
#ifndef DB_COPY_INNER_H
#define DB_COPY_INNER_H

#include <fcntl.h>

#include "db/replication_inner.h"

#define DB_COPY_STAMP 24 // "20261122T061143Z"
void db_copy_stamp(char out[DB_COPY_STAMP]);
// node/rewinding: there while the data directory is neither what it was nor what it will be.
int db_copy_mark_path(const struct db_cluster *cluster, char out[KT_PATH_MAX],
                      struct kt_error *error) KT_MUST_CHECK;
// Stopped, ours or missing, and not root.
int db_copy_may(struct db_cluster *cluster, struct kt_error *error) KT_MUST_CHECK;
// NUL-terminated in `out`.
int db_copy_conninfo(const struct db_cluster *cluster, const struct db_source *source,
                     const char *database, struct kt_buf *out,
                     struct kt_error *error) KT_MUST_CHECK;
// Renders what the copy brought over, when the node's files say already what it is to be.
int db_copy_render(struct db_cluster *cluster, struct kt_error *error) KT_MUST_CHECK;
// WAL from `fork_lsn` on and the history files, to node/aside-<time>.
int db_copy_aside(const struct db_cluster *cluster, uint64_t fork_lsn,
                  struct kt_error *error) KT_MUST_CHECK;

#endif
