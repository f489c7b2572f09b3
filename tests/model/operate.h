// SPDX-License-Identifier: Apache-2.0
// Two operators who fail over: may_X says when, X does it.

// --- failover: two operators ---
static int may_begin(int o, int t, int e)
{
#ifdef SCRIPT2 // to B, then to the last node
    if (!((o == 0 && t == 1 && e == 2) || (o == 1 && t == NN - 1 && e == 3)))
        return 0;
#endif
#ifdef SCRIPT3 // to the last node, then to B
    if (!((o == 0 && t == NN - 1 && e == 2) || (o == 1 && t == 1 && e == 3)))
        return 0;
#endif
#ifdef SCRIPTC /* to B and to C, at the same time */
    if (!((o == 0 && t == 1 && e == 2) || (o == 1 && t == 2 && e == 3)))
        return 0;
#endif
#ifdef SCRIPTB /* to B; again to B with a newcomer; a third to anyone */
    if (!((now.bfo == FO && t == 1 && e == 2) || (now.bfo == FO - 1 && t == 1 && e == 3) ||
          (now.bfo < FO - 1 && e == 4)))
        return 0;
#endif
    return now.bfo && !now.opc[o] && (o == 0 || now.opc[0]) && kt_rule_choose(e) == e;
}
static void begin(int o, int t, int e)
{
    now.bfo--;
    now.opc[o] = 1;
    now.oe[o] = e;
    now.ot[o] = t;
    LOG("operator %d: failover --to %c, epoch %d\n", o, NM(t), e);
}
static void unreport(int o, int n)
{
    int k;
    now.oln[o * NN + n] = 0;
    now.ofl[o * NN + n] = 0;
    now.osi[o * NN + n] = 0;
    now.omi[o * NN + n] = 0;
    for (k = 0; k < RM; k++)
        ROW(o, n, k) = 0;
}
static void end_attempt(int o)
{
    int n;
    now.opc[o] = 0;
    now.oe[o] = 0;
    now.ot[o] = 0;
    now.os[o] = 0;
    for (n = 0; n < NN; n++)
        unreport(o, n);
}
static void report(int o, int n)
{
    int rows[LM], c = rows_of(n, rows), k, from = 0;
    unreport(o, n);
    if (c > RM)
        from = c - RM;
    now.oln[o * NN + n] = now.ln[n];
    now.ofl[o * NN + n] = now.flr[n];
    now.osi[o * NN + n] = now.own[n];
    now.omi[o * NN + n] = ID(n);
    for (k = from; k < c; k++)
        ROW(o, n, k - from) = rows[k];
    now.os[o] |= 1 << n;
}
static int may_seal(int o, int n)
{
    return now.opc[o] && !SEALED(o, n) && kt_rule_may_seal(n, now.oe[o]);
}
static void seal(int o, int n)
{
#ifdef BUG_SKIPSEAL
    if (n == now.ot[o])
#endif
    {
        now.prom[n] = now.oe[o];
        now.pt[n] = now.ot[o];
#ifdef D_RECVALIVE /* the position is reported before the WAL receiver is gone */
        if (now.role[n] == ACTIVE || n == now.ot[o])
#endif
        {
            now.up[n] = NONE;
            now.nep[n] = 0;
        }
        if (now.role[n] == ACTIVE) {
            now.role[n] = DOWN;
            forget(n);
        }
    }
    report(o, n);
    LOG("operator %d seals %c for epoch %d\n", o, NM(n), now.oe[o]);
}
static int still_sealed(int o, int n)
{
    return SEALED(o, n) && WHO(o, n) == ID(n) && now.prom[n] == now.oe[o] &&
           now.pt[n] == now.ot[o] && now.role[n] != ACTIVE && now.up[n] == NONE;
}
// Rule 6. PostgreSQL sends what its timelines allow, the rule says whether it is the same log.
static void take_from(int o, int n, int s)
{
    if (!is_same_log(n, s))
        violate(6, "S5 two logs are mixed in catching up");
    while (now.ln[n] < now.ln[s])
        append(n, REC(s, now.ln[n]));
    if (now.ln[n] >= now.flr[n])
        now.flr[n] = 0;
    now.le[n] = now.le[s];
    now.lx[n] = now.lx[s];
    report(o, n);
    LOG("operator %d: %c catches up from %c\n", o, NM(n), NM(s));
}
static int can_take(int o, int n, int s)
{
    return still_sealed(o, n) && still_sealed(o, s) && now.ln[n] < now.ln[s] && streams(n, s) &&
           kt_rule_is_prefix(n, s);
}
static int may_catch_up(int o, int s)
{
    int t = now.ot[o];
    if (!now.opc[o] || !SEALED(o, s) || s == t)
        return 0;
#ifdef ANYDONOR
    return can_take(o, t, s);
#endif
    return kt_rule_donor(o) == s && can_take(o, t, s);
}
static void catch_up(int o, int s)
{
    take_from(o, now.ot[o], s);
}
static int may_pass_floor(int o, int n)
{
    int s;
    return now.opc[o] && SEALED(o, n) && n != now.ot[o] && (s = kt_rule_floor_donor(o, n)) >= 0 &&
           can_take(o, n, s);
}
static void pass_floor(int o, int n)
{
    take_from(o, n, kt_rule_floor_donor(o, n));
}

// A list is given by nodes; -1 is the default one.
static int list_of(int o, int m, int *w, int *ends)
{
    int n, ids = 0, mine = *w, none;
    if (m < 0)
        return default_list(o, w, ends);
    default_list(o, &none, ends);
    *w = mine;
    for (n = 0; n < NN; n++)
        if (m >> n & 1)
            ids |= 1 << ID(n);
    return ids;
}
static int may_promote(int o, int m, int w)
{
    int t = now.ot[o], ends = 0, ids;
    if (!now.opc[o] || !SEALED(o, t) || RET(t) || now.role[t] == ACTIVE || now.up[t] != NONE ||
        now.prom[t] != now.oe[o] || now.pt[t] != t || now.flr[t] || WHO(o, t) != ID(t) ||
        now.ln[t] >= LM || !kt_rule_prove(o))
        return 0;
    ids = list_of(o, m, &w, &ends);
#ifdef D_ANYTARGET
    return 1;
#endif
    return kt_rule_list_allowed(o, ids, w);
}
static int next_line(int n)
{
    int i, l = 0;
    for (i = 0; i < now.ln[n]; i++)
        if (TL(REC(n, i)) > l)
            l = TL(REC(n, i));
    return l + 1;
}
static void promote(int o, int m, int w)
{
    int t = now.ot[o], ends = 0, ids = list_of(o, m, &w, &ends), e = now.oe[o];
    now.role[t] = ACTIVE;
#ifdef D_OWNRESET
    now.own[t] = e;
#else
    if (!now.own[t])
        now.own[t] = e;
#endif
    now.up[t] = NONE;
    now.nep[t] = 0;
    now.sete[t] = e;
    now.setm[t] = ids;
    now.setw[t] = w;
    now.endn[t] = ends;
    forget(t);
    now.tl[t] = next_line(t);
    append(t, mk(K, e, ID(t), 0, now.tl[t]));
    now.le[t] = e;
    now.lx[t] = t;
    if (e > now.promoted)
        now.promoted = e;
    if (!w)
        release(t);
    LOG("operator %d: proven, %c is promoted in epoch %d, members %x W %d\n", o, NM(t), e, ids, w);
    end_attempt(o);
}
