// SPDX-License-Identifier: Apache-2.0
// Membership, retiring, overrides, lost disks, restores: may_X says when, X does it.

// --- rule 12: membership ---
enum { ADD, REMOVE, W_UP, W_DOWN, BOTH };
static int as_row(int a)
{
    return MEMBERS_(row(a)) == now.setm[a] && W_(row(a)) == now.setw[a];
}
static int wanted(int a, int kind, int arg, int *w)
{
    int m = now.setm[a];
    *w = now.setw[a];
    if (kind == ADD) {
        m |= 1 << ID(arg);
        if (!now.setm[a])
            *w = 1;
    }
    if (kind == REMOVE)
        m &= ~(1 << arg);
    if (kind == W_UP)
        ++*w;
    if (kind == W_DOWN)
        --*w;
#ifdef D_BOTH /* swap one name, or one name and W */
    if (kind == BOTH) {
        if (*w > 1) {
            m &= ~(1 << ID(arg));
            --*w;
        } else
            m = 1 << ID(arg);
    }
#endif
    return m;
}
static int may_change(int a, int kind, int arg)
{
    int w, m;
    if (!now.bmc || now.role[a] != ACTIVE || now.ln[a] >= LM || arg >= 4 + NN || (arg & 3) >= NN ||
        (kind == ADD && RET(arg)))
        return 0;
#ifndef D_MCUNEST
    if (!now.est[a])
        return 0;
#endif
    if (!as_row(a))
        return 0;
#ifndef D_BOTH
    if (kind == BOTH)
        return 0;
#endif
    m = wanted(a, kind, arg, &w);
    if (w < 0 || w > 3 || (kind == ADD && ID(arg) == ID(a)))
        return 0;
    return kt_rule_change_order(a, now.setm[a], now.setw[a], m, w, 0) > 0;
}
static void change(int a, int kind, int arg)
{
    int w, m = wanted(a, kind, arg, &w),
           order = kt_rule_change_order(a, now.setm[a], now.setw[a], m, w, 0);
#ifdef BUG_ATONCE
    order = 3;
#endif
    now.bmc--;
    if (order & 1) {
        now.setm[a] = m;
        now.setw[a] = w;
        now.rel[a] = 0;
        LOG("%c: setting := %x W %d\n", NM(a), m, w);
    }
    if (order & 2) {
        append(a, mk_row(a, m, w, 0));
        LOG("%c: row := %x W %d\n", NM(a), m, w);
    }
    release(a);
}
// Setting first: the probe is that all so far is flushed under the new setting.
static int may_finish(int a)
{
    if (now.role[a] != ACTIVE || as_row(a) || now.ln[a] >= LM || EPOCH(row(a)) != now.sete[a] ||
        (!now.est[a] && !now.endn[a]))
        return 0;
#ifdef D_NOPROBE
    return 1;
#endif
    return now.rel[a] >= now.ln[a];
}
static void finish(int a)
{
    append(a, mk_row(a, now.setm[a], now.setw[a], now.endn[a]));
    now.endn[a] = 0;
    LOG("%c: row := setting (%x W %d)\n", NM(a), now.setm[a], now.setw[a]);
    release(a);
}
// Row first, and undoing a setting: when the row is acknowledged.
static int may_follow_row(int a)
{
    return now.role[a] == ACTIVE && now.est[a] && !as_row(a) && EPOCH(row(a)) == now.sete[a] &&
           !now.endn[a] && row_at(a) <= now.rel[a];
}
static void follow_row(int a)
{
    now.setm[a] = MEMBERS_(row(a));
    now.setw[a] = W_(row(a));
    LOG("%c: setting := row\n", NM(a));
    release(a);
}
static int row_before(int a)
{
    int i;
    for (i = row_at(a) - 1; i > 0; i--)
        if (TYPE(REC(a, i - 1)) == E)
            return REC(a, i - 1);
    return 0;
}
// A row that was written first is acknowledged by the list before, and its setting in force: it is
// written once more. By then no log can be without it that would do for the list before, and where
// W of this one hold the second the first need not be looked behind any more (rule 5).
static int may_confirm(int a)
{
    int q = row_before(a), r = row(a);
    if (now.role[a] != ACTIVE || !now.est[a] || !q || now.ln[a] >= LM || EPOCH(q) != now.sete[a] ||
        EPOCH(r) != now.sete[a] || now.endn[a] ||
        kt_rule_change_order(a, MEMBERS_(q), W_(q), MEMBERS_(r), W_(r), 0) != 2)
        return 0;
#ifdef BUG_CONFIRM /* before anybody of the list before has acknowledged it */
    return 1;
#endif
    return as_row(a) && row_at(a) <= now.rel[a];
}
static void confirm(int a)
{
    int r = row(a);
    append(a, mk_row(a, MEMBERS_(r), W_(r), 0));
    LOG("%c: row once more (%x W %d)\n", NM(a), MEMBERS_(r), W_(r));
    release(a);
}
// A run that does not see its own waiting row, and undoes.
static int may_undo_blindly(int a)
{
#ifdef BUG_BLIND
    int q = row_before(a);
    return now.role[a] == ACTIVE && now.est[a] && q && row_at(a) > now.rel[a] &&
           EPOCH(row(a)) == EPOCH(q) && as_row(a) &&
           (MEMBERS_(q) != now.setm[a] || W_(q) != now.setw[a]);
#else
    return 0;
#endif
}
static void undo_blindly(int a)
{
    int q = row_before(a);
    now.setm[a] = MEMBERS_(q);
    now.setw[a] = W_(q);
    LOG("%c: waiting row not seen, setting := %x W %d\n", NM(a), now.setm[a], now.setw[a]);
    release(a);
}

// --- rule 15: retired, destroyed, standalone ---
static int is_free(int a)
{
    return row(a) && (as_row(a) || EPOCH(row(a)) < now.sete[a]);
}
static int may_retire(int n)
{
    int a;
    if (!now.brt || RET(n))
        return 0;
    for (a = 0; a < NN; a++)
        if (a != n && now.role[a] == ACTIVE && now.setm[a] == 1 << ID(n) && is_free(a)) {
#ifdef BUG_RETANY
            return a + 1;
#endif
            if (kt_rule_may_promise(n, now.sete[a], a))
                return a + 1;
        }
    return 0;
}
static void retire(int n)
{
    int a = may_retire(n) - 1;
    now.brt--;
    now.rfe[n] = now.sete[a];
    now.rfa[n] = a;
    now.ret |= 1 << n;
    forget(n);
    now.role[n] = DOWN;
    now.up[n] = NONE;
    now.nep[n] = 0;
    LOG("%c retired for %c in epoch %d\n", NM(n), NM(a), now.rfe[n]);
}
// The override: the operator says that the only member is gone for good and was never promoted.
// True when its disk is lost and nobody was promoted since.
static int is_destroyed(int a)
{
    int id = __builtin_ctz(now.setm[a] | 256);
#ifdef D_DESTROYALIVE
    return 1;
#endif
    return id < 8 && now.life[NODE_(id)] > id / 4 && now.promoted <= now.sete[a];
}
static int may_go_on(int a, int m)
{
    int id, n;
    if (now.role[a] != ACTIVE || now.ln[a] >= LM || pc(now.setm[a]) != 1 || (m >> a & 1) ||
        m >= 1 << NN || (m & now.ret) || !is_free(a))
        return 0;
    id = __builtin_ctz(now.setm[a]);
    n = NODE_(id);
    if (m && (now.setm[a] >> ID(__builtin_ctz(m)) & 1))
        return 0;
    if (RET(n) && ID(n) == id)
#ifdef D_RETANYONE
        return RT > 0;
#else
        return RT && now.rfa[n] == a && now.rfe[n] == now.sete[a];
#endif
    return now.bov && is_destroyed(a);
}
static void go_on(int a, int m)
{
    int id = __builtin_ctz(now.setm[a]);
    if (!RET(NODE_(id)))
        now.bov--;
    now.setm[a] = m ? 1 << ID(__builtin_ctz(m)) : 0;
    now.setw[a] = m ? 1 : 0;
    now.rel[a] = 0;
    now.endn[a] = 1;
#ifdef D_NOENDS /* an override whose row does not say so */
    now.endn[a] = 0;
#endif
    LOG("%c goes on: setting := %x W %d\n", NM(a), now.setm[a], now.setw[a]);
    release(a);
}

// --- a lost disk is a lost member; a restore begins the next incarnation ---
static int may_lose(int n)
{
    return now.bdl && now.life[n] == 0 && !RET(n);
}
static void lose(int n)
{
    int i;
    now.bdl--;
    cut(n, 0);
#ifndef D_SAMENAME
    now.life[n] = 1;
#endif
    now.prom[n] = 0;
    now.pt[n] = 0;
    now.le[n] = 0;
    now.lx[n] = 0;
    now.flr[n] = 0;
    now.up[n] = NONE;
    now.nep[n] = 0;
    now.role[n] = STANDBY;
    unset(n);
    for (i = 0; i < NN; i++)
        if (i != n)
            now.vw[i * NN + n] = 0;
    LOG("disk of %c lost\n", NM(n));
}
static int may_restore(int n)
{
    return now.brs && now.life[n] == 0 && now.ln[n] > 1 && now.ln[n] <= LM - 2 && !RET(n) && row(n);
}
static void restore(int n)
{
    int d;
    now.brs--;
    now.life[n] = 1;
    for (d = 0; d < ND; d++)
        if (find(n, C, d))
            now.evis[1] |= 1 << d;
    for (d = 0; d < NN; d++)
        if (d != n)
            now.vw[d * NN + n] = 0;
    unset(n);
    now.up[n] = NONE;
    now.nep[n] = 0;
    now.flr[n] = 0;
    now.prom[n] = RI;
    now.pt[n] = n;
    now.own[n] = RI;
    now.promoted = RI;
    now.role[n] = ACTIVE;
    now.sete[n] = RI;
    now.le[n] = RI;
    now.lx[n] = n;
    now.tl[n] = next_line(n);
    append(n, mk(K, RI, ID(n), 0, now.tl[n]));
#ifdef D_RSENDS
    append(n, mk_row(n, 0, 0, 0));
#else
    append(n, mk_row(n, 0, 0, 1));
#endif
    LOG("%c is restored from a backup: incarnation 2, alone\n", NM(n));
    release(n);
}
