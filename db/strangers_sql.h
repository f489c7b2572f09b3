// SPDX-License-Identifier: Apache-2.0
// Which prepared transactions are not the writer's, in statements: `x` is a row of
// pg_prepared_xacts.
#ifndef DB_STRANGERS_SQL_H
#define DB_STRANGERS_SQL_H

// A superuser's, under a name as the writer gives them: nothing that rolls it back could be kept from
// rolling back a group of the writer's that has taken the same name meanwhile. It is left alone.
#define DB_SPARED                                                                                  \
    "(starts_with(x.gid, 'kt:') AND EXISTS (SELECT FROM pg_roles p"                                \
    " WHERE p.rolname = x.owner AND p.rolsuper))"
// All others; `owner` is NULL when the role is gone.
#define DB_STRANGERS "(x.owner IS DISTINCT FROM 'kts_writer' AND NOT " DB_SPARED ")"

#endif
