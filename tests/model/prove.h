// SPDX-License-Identifier: Apache-2.0
// Rules 7, 8 and 12, under the names of lib/rules.h and written as there.

static int prove_row(int o, int r)
{
    int t = now.ot[o], x = report_of(o, WRITER(r)), v = votes_of(o, r),
        R = pc(MEMBERS_(r)) - W_(r) + 1, beside, with = 0, n, ok;
    int untouched = x >= 0 && !is_below(o, x) && is_never_rewound(o, x, r);
    beside = W_(r) > R - 1 ? W_(r) : R - 1;
#ifdef D_WONLY
    beside = W_(r);
#endif
#ifdef D_OLDACTIVE
    untouched = x >= 0;
    beside = 0;
#endif
    if (is_alone(r)) {
        with = untouched;
        ok = untouched && WHO(o, t) == WRITER(r);
    } else if (v >= R)
        ok = 1;
    else {
        with = untouched && v >= beside;
        ok = with;
    }
    if (!ok)
        return 0;
#ifndef D_ANYTARGET
    if (!((MEMBERS_(r) | 1 << WRITER(r)) >> WHO(o, t) & 1))
        return 0;
#endif
    for (n = 0; n < NN; n++)
        if (SEALED(o, n) &&
            (((MEMBERS_(r) >> WHO(o, n) & 1) && !is_below(o, n)) ||
             (with && WHO(o, n) == WRITER(r))) &&
            report_order(o, t, n) < 0) {
#ifndef D_BEHIND
            return 0;
#endif
        }
    return 1;
}
static int kt_rule_prove(int o)
{
    int rows[RM + 1], c = kt_rule_rows_that_count(o, rows), i, t = now.ot[o],
                      ok = c > 0 && SEALED(o, t);
#ifndef D_NOHOLD
    if (ok && row_order(newest_of(o, t), rows[0]))
        ok = 0;
#endif
#ifndef D_INCROW
    if (ok && INC(EPOCH(rows[0])) != INC(now.oe[o]))
        ok = 0;
#endif
#ifndef D_FLOORPICK
    if (ok && FLOOR(o, t) && LEN(o, t) < FLOOR(o, t))
        ok = 0;
#endif
    for (i = 0; ok && i < c; i++)
        ok = prove_row(o, rows[i]);
#if defined(CROSS) && !defined(PLANTED)
    if (TELL(o))
        SAME(ok, kx_prove());
#endif
    return ok;
}
// --- rule 8 ---
static int default_list(int o, int *w, int *ends)
{
    int rows[RM + 1], c = kt_rule_rows_that_count(o, rows), t = WHO(o, now.ot[o]), m;
    *w = 0;
    *ends = 0;
    if (!c)
        return 0;
    if (is_alone(rows[0]) && WRITER(rows[0]) == t) {
        *ends = 1;
        return 0;
    }
    *w = W_(rows[0]);
    m = (MEMBERS_(rows[0]) | 1 << WRITER(rows[0])) & ~(1 << t);
    return m;
}
static int meets(int r, int m, int w, int own, int but, int q)
{
    int fresh = pc(m & ~MEMBERS_(r) & ~but), old = own + (w > fresh ? w - fresh : 0);
    return old + q > pc(MEMBERS_(r));
}
static int is_retired_id(int id)
{
    return RET(NODE_(id)) && ID(NODE_(id)) == id;
}
static int kt_rule_list_allowed(int o, int m, int w)
{
    int rows[RM + 1], c = kt_rule_rows_that_count(o, rows), t = WHO(o, now.ot[o]), i, r, R, q, own,
                      ok = c > 0;
    if (w > pc(m) || (m && w < 1) || (m >> t & 1))
        ok = 0;
    for (i = 0; i < 8; i++)
        if ((m >> i & 1) && is_retired_id(i))
            ok = 0;
#ifdef D_FREEMEM
    return ok;
#endif
    for (i = 0; ok && i < c; i++) {
        r = rows[i];
        R = pc(MEMBERS_(r)) - W_(r) + 1;
        q = W_(r) > R - 1 ? W_(r) : R - 1;
        own = MEMBERS_(r) >> t & 1;
        if (is_alone(r))
            ok = WRITER(r) == t;
        else if (!m)
            ok = !MEMBERS_(r) && WRITER(r) == t;
        else {
            ok = meets(r, m, w, own, 0, R);
#ifndef D_LISTW
            if (WRITER(r) != t)
                ok = ok && meets(r, m, w, own, 1 << WRITER(r), q);
#endif
        }
    }
#if defined(CROSS) && !defined(PLANTED)
    if (TELL(o))
        SAME(ok, kx_list(m, w));
#endif
    return ok;
}
// --- rule 12: 1 setting first, 2 row first, 0 nothing to do, -1 not allowed ---
static int kt_rule_change_order(int a, int m, int w, int m2, int w2, int ends)
{
    int added = pc(m2 & ~m), gone = pc(m & ~m2), order;
    if (w2 > pc(m2) || (m2 && !w2) || (m2 >> ID(a) & 1))
        order = -1;
    else if (m == m2 && w == w2)
        order = 0;
    else if (ends || (!m && pc(m2) == 1))
        order = 1;
    else if (!m || !m2 || added + gone > 1 || (added + gone == 1 && w != w2) ||
             (!added && !gone && w2 != w + 1 && w2 + 1 != w))
        order = -1;
    else
        order = gone || (!added && w2 > w) ? 1 : 2;
#ifdef CROSS
    if (!(m2 >> ID(a) & 1))
        SAME(order, kx_order(m, w, m2, w2, ends));
#endif
#ifdef D_W0
    if (order < 0 && pc(m2) >= w2 && !(m2 >> ID(a) & 1))
        return pc(m2) < pc(m) || w2 > w ? 1 : 2;
#endif
#ifdef D_BOTH
    if (order < 0 && m && m2 && w2 >= 1 && w2 <= pc(m2) && !(m2 >> ID(a) & 1))
        return pc(m2) < pc(m) ? 1 : pc(m2) > pc(m) ? 2 : w2 > w ? 1 : 2;
#endif
#ifdef BUG_ROWFIRST
    if (!m && order == 1)
        return 2;
#endif
#ifdef BUG_ORDER
    if (order > 0 && m)
        return 3 - order;
#endif
    return order;
}
