// SPDX-License-Identifier: Apache-2.0
// The table `epochs` in statements: its rows as the JSON that lib/epoch.h reads, so that a column
// has one text and one reader.
#ifndef DB_EPOCH_SQL_H
#define DB_EPOCH_SQL_H

// What to select from. `e` is a row of epochs, `i` its incarnation.
#define DB_EPOCH_FROM "epochs e JOIN incarnations i ON i.number = e.incarnation"
// One row: kt_epoch_row_from_json.
#define DB_EPOCH_ROW                                                                               \
    "json_build_object('incarnation', i.number || '.' || encode(i.bits, 'hex'),"                   \
    " 'epoch', e.epoch, 'sequence', e.sequence, 'active', e.active, 'members', e.members,"         \
    " 'w', e.w, 'start_lsn', e.start_lsn, 'timeline', e.timeline, 'ends', e.ends,"                 \
    " 'note', coalesce(e.note, ''))"
// All of them, oldest first, as a scalar: kt_epoch_rows_from_json.
#define DB_EPOCH_ROWS                                                                              \
    "(SELECT coalesce(json_agg(" DB_EPOCH_ROW " ORDER BY e.incarnation, e.epoch, e.sequence),"     \
    " '[]') FROM " DB_EPOCH_FROM ")"

#endif
