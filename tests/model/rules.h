// SPDX-License-Identifier: Apache-2.0
// Rules 2 to 6, under the names of lib/rules.h and written as there. With -DCROSS each verdict is
// compared with that of the C function itself (code.c).

#ifdef CROSS
extern void kx_begin(int target, int epoch);
extern void kx_report(int id, int lsn, int floor, int since, int retired_epoch, int retired_by,
                      int count, const int *rows);
extern int kx_prove(void), kx_list(int members, int w), kx_donor(void), kx_floor_donor(int id);
extern int kx_prefix(int count, const int *rows, int lsn, int start, int count_a, const int *rows_a,
                     int start_a);
extern int kx_order(int m, int w, int m_next, int w_next, int ends);
extern int kx_promise(int epoch, int active, int retired, int e, int x),
    kx_seal(int epoch, int retired, int newest, int e);
#define SAME(mine, code)                                                                           \
    do {                                                                                           \
        int m_ = (mine), c_ = (code);                                                              \
        if (m_ != c_) {                                                                            \
            printf("model %d, code %d: " #code "\n", m_, c_);                                      \
            violate(7, "the model and the code differ: " #code);                                   \
        }                                                                                          \
    } while (0)
#else
#define SAME(mine, code) (void)(mine)
#endif

// Order of rows: epoch (with its incarnation), sequence, active.
static int row_order(int r, int s)
{
    int a = EPOCH(r) << 6 | SEQ(r) << 3 | WRITER(r), b = EPOCH(s) << 6 | SEQ(s) << 3 | WRITER(s);
    return a < b ? -1 : a > b;
}
static int rows_of(int n, int *rows)
{
    int i, c = 0;
    for (i = 0; i < now.ln[n]; i++)
        if (TYPE(REC(n, i)) == E)
            rows[c++] = REC(n, i);
    return c;
}

// --- rule 2 ---
static int kt_rule_may_promise(int n, int e, int x)
{
    int ok = !RET(n) && (ORD(now.prom[n]) < ORD(e) || (now.prom[n] == e && now.pt[n] == x));
#ifdef D_NOTARGET
    return !RET(n) && ORD(now.prom[n]) <= ORD(e);
#endif
#ifndef BUG_NOINC
    SAME(ok, kx_promise(now.prom[n], now.pt[n], RET(n), e, x));
#endif
    return ok;
}
static int kt_rule_is_prefix(int n, int a)
{
    int own[LM], act[LM], c = rows_of(n, own), ca = rows_of(a, act), i, ok = 1;
    int start = left_at(a), own_start = left_at(n), left = start, newest = c ? own[c - 1] : 0;
#ifdef TLIONLY /* numbers and positions of timelines alone, as PostgreSQL */
    return streams(n, a);
#endif
#ifdef D_TAIL /* an epoch that never got its row is not looked at in the own log */
    own_start = 0;
#endif
    if (now.ln[n] == 0)
        return 1;
#ifndef D_LAST /* both were last in the same epoch: one log is the beginning of the other */
    if (now.le[n] == now.le[a] && now.lx[n] == now.lx[a])
        return 1;
#endif
    if (c > ca)
        ok = 0;
    for (i = 0; ok && i < c; i++)
        if (row_order(own[i], act[i]) || TL(own[i]) != TL(act[i]) || START(own[i]) != START(act[i]))
            ok = 0;
    if (ok && own_start > (c ? START(newest) : 0))
        ok = 0;
    if (ok) {
        if (c < ca && c && TL(act[c]) == TL(newest))
            ;
        else if (c == ca && c && start <= START(newest))
            ;
        else {
            if (c < ca)
                left = START(act[c]);
            ok = now.ln[n] <= left;
        }
    }
#if !defined(D_TAIL)
    SAME(ok, kx_prefix(c, own, now.ln[n], own_start, ca, act, start));
#endif
    return ok;
}
// --- rules 3 and 4 ---
static int kt_rule_choose(int e)
{
    return e;
} /* an operator without sight may choose any: sealing refuses */
static int kt_rule_may_seal(int n, int e)
{
    int newest = row(n),
        ok = !RET(n) && ORD(now.prom[n]) < ORD(e) && !(newest && ORD(EPOCH(newest)) >= ORD(e));
#ifdef BUG_GEPROMISE
    return !RET(n) && now.prom[n] <= e && !(newest && EPOCH(newest) >= e);
#endif
#ifdef D_EPLOG
    return !RET(n) && now.prom[n] < e;
#endif
#ifndef BUG_NOINC
    SAME(ok, kx_seal(now.prom[n], RET(n), newest ? EPOCH(newest) : 0, e));
#endif
    return ok;
}
// --- rules 5 to 7, on the reports of an attempt ---
#define SEALED(o, n) ((now.os[o] >> (n)) & 1)
#define LEN(o, n)    (now.oln[(o)*NN + (n)])
#define FLOOR(o, n)  (now.ofl[(o)*NN + (n)])
#define SINCE(o, n)  (now.osi[(o)*NN + (n)])
#define WHO(o, n)    (now.omi[(o)*NN + (n)])
#define ROW(o, n, k) (now.orw[((o)*NN + (n)) * RM + (k)])
static int report_of(int o, int id)
{
    int n;
    for (n = 0; n < NN; n++)
        if (SEALED(o, n) && WHO(o, n) == id)
            return n;
    return -1;
}
static int count_of(int o, int n)
{
    int k = 0;
    while (k < RM && ROW(o, n, k))
        k++;
    return k;
}
static int newest_of(int o, int n)
{
    int k = count_of(o, n);
    return k ? ROW(o, n, k - 1) : 0;
}
static int is_below(int o, int n)
{
#ifdef D_FLOORPICK
    return 0;
#endif
    return FLOOR(o, n) && LEN(o, n) < FLOOR(o, n);
}
static int report_order(int o, int n, int m)
{
    int c = row_order(newest_of(o, n), newest_of(o, m));
    return c ? c : LEN(o, n) < LEN(o, m) ? -1 : LEN(o, n) > LEN(o, m);
}
static int holds(int o, int n, int r)
{
    int k;
    for (k = 0; k < count_of(o, n); k++)
        if (!row_order(ROW(o, n, k), r))
            return 1;
    return 0;
}
static int votes_of(int o, int r)
{
    int i, v = 0, n;
    for (i = 0; i < 8; i++)
        if (MEMBERS_(r) >> i & 1) {
            n = report_of(o, i);
            if (n >= 0 && !is_below(o, n))
                v++;
        }
    return v;
}
static int is_never_rewound(int o, int n, int r)
{
    return SINCE(o, n) && SINCE(o, n) <= EPOCH(r);
}
// Its only member is retired for its active.
static int is_alone(int r)
{
    int n = NODE_(__builtin_ctz(MEMBERS_(r) | 256));
    if (pc(MEMBERS_(r)) != 1 || !RET(n) || !(MEMBERS_(r) >> ID(n) & 1))
        return 0;
#ifdef D_RETCOUNT
    return 0;
#endif
#ifdef D_RETANYONE
    return 1;
#endif
    return now.rfa[n] == NODE_(WRITER(r)) && now.rfe[n] >= EPOCH(r);
}
static int is_replaced(int o, int s, int r)
{
    int i, h = 0, n;
    for (i = 0; i < 8; i++)
        if (MEMBERS_(s) >> i & 1) {
            n = report_of(o, i);
#ifndef D_R5W
            if (i == WRITER(r)) {
                h++;
                continue;
            }
#endif
            if (n >= 0 && !is_below(o, n) && holds(o, n, r))
                h++;
        }
    return h >= W_(s) || is_alone(s);
}
static int kt_rule_rows_that_count(int o, int *rows)
{
    int n, k, h = -1, c = 0;
    for (n = 0; n < NN; n++)
        if (SEALED(o, n) && count_of(o, n) &&
            (h < 0 || row_order(newest_of(o, n), newest_of(o, h)) > 0))
            h = n;
#ifdef D_NOHOLD
    if (h >= 0) {
        rows[0] = newest_of(o, h);
        return 1;
    }
#endif
    for (k = h < 0 ? 0 : count_of(o, h); k > 0; k--) {
        rows[c++] = ROW(o, h, k - 1);
#ifdef D_NOJOINT
        break;
#endif
#ifndef D_RFIN
        if (ENDS(ROW(o, h, k - 1)))
            break;
#endif
        if (k > 1 && is_replaced(o, ROW(o, h, k - 2), ROW(o, h, k - 1)))
            break;
    }
    return c;
}
#ifdef CROSS
static void tell(int o)
{
    int n;
    kx_begin(WHO(o, now.ot[o]), now.oe[o]);
    for (n = 0; n < NN; n++) {
        if (SEALED(o, n))
            kx_report(WHO(o, n), LEN(o, n), FLOOR(o, n), SINCE(o, n), 0, 0, count_of(o, n),
                      &ROW(o, n, 0));
        if (RET(n) && !(SEALED(o, n) && WHO(o, n) == ID(n)))
            kx_report(ID(n), 0, 0, 0, now.rfe[n], now.rfa[n], 0, 0);
    }
}
static int is_sealed_retired(int o)
{
    int n;
    for (n = 0; n < NN; n++)
        if (RET(n) && SEALED(o, n))
            return 1;
    return 0;
}
#define TELL(o) (now.os[o] >> now.ot[o] & 1 && !is_sealed_retired(o) ? (tell(o), 1) : 0)
#endif
static int floor_donor_of(int o, int b)
{
    int n, best = -1;
    for (n = 0; n < NN; n++)
        if (SEALED(o, n) && n != b && !is_below(o, n) && LEN(o, n) >= FLOOR(o, b) &&
            report_order(o, n, b) > 0 && (best < 0 || report_order(o, n, best) > 0))
            best = n;
    return best;
}
static int kt_rule_floor_donor(int o, int b)
{
    int d = SEALED(o, b) && FLOOR(o, b) && LEN(o, b) < FLOOR(o, b) ? floor_donor_of(o, b) : -1;
#ifdef CROSS
    if (SEALED(o, b) && TELL(o))
        SAME(d < 0 ? -1 : WHO(o, d), kx_floor_donor(WHO(o, b)));
#endif
    return d;
}
static int matters(int o, int c, const int *rows, int n, int t)
{
    int i;
    if (!holds(o, t, rows[0]) && holds(o, n, rows[0]))
        return 1;
    for (i = 0; i < c; i++)
        if (((MEMBERS_(rows[i]) | 1 << WRITER(rows[i])) >> WHO(o, n)) & 1)
            return 1;
    return 0;
}
static int kt_rule_donor(int o)
{
    int rows[RM + 1], t = now.ot[o], c, n, best = -1;
    if (!SEALED(o, t))
        return -1;
    c = kt_rule_rows_that_count(o, rows);
    if (c && is_below(o, t))
        best = floor_donor_of(o, t);
    else if (c)
        for (n = 0; n < NN; n++)
            if (SEALED(o, n) && report_order(o, n, t) > 0 && matters(o, c, rows, n, t) &&
                (best < 0 || report_order(o, n, best) > 0))
                best = n;
#if defined(CROSS) && !defined(PLANTED)
    if (TELL(o))
        SAME(best < 0 ? -1 : WHO(o, best), kx_donor());
#endif
    return best;
}
