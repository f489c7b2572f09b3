// SPDX-License-Identifier: Apache-2.0
// Logs, deposits, following and copies: may_X says when, X does it.

// --- replication: flushing and its acknowledgement are steps of their own ---
static int may_stream(int n)
{
    int a = now.up[n];
    return a != NONE && now.role[n] == STANDBY && now.role[a] == ACTIVE && now.ln[n] < now.ln[a] &&
           streams(n, a);
}
static void stream(int n)
{
    int a = now.up[n];
    if (!is_same_log(n, a))
        violate(6, "S5 two logs are mixed: their timelines have the same numbers");
    append(n, REC(a, now.ln[n]));
    if (now.ln[n] >= now.flr[n])
        now.flr[n] = 0;
    LOG("stream %c->%c record %d\n", NM(a), NM(n), now.ln[n]);
}
static int may_flush(int n)
{
    int a = now.up[n];
    if (a == NONE || now.role[n] != STANDBY || now.role[a] != ACTIVE || !(now.setm[a] >> ID(n) & 1))
        return 0;
#ifndef BUG_NONAME /* names without the epoch */
    if (now.nep[n] != now.sete[a])
        return 0;
#endif
    return streams(n, a) && now.ln[n] > now.vw[a * NN + n];
}
static void flush(int n)
{
    int a = now.up[n];
    if (!is_same_log(n, a))
        violate(6, "S5 a position is acknowledged that holds another log");
    now.vw[a * NN + n] = now.ln[n];
    LOG("flush acknowledged %c->%c at %d\n", NM(n), NM(a), now.ln[n]);
    release(a);
}

// --- deposits: PREPARE, quorum, COMMIT PREPARED and answer; rule 11 settles the same way ---
static int may_put(int a, int d)
{
    return now.role[a] == ACTIVE && now.est[a] && !(now.acked[INC(now.sete[a])] >> d & 1) &&
           !find(a, P, d) && now.ln[a] < LM && all_settled(a);
}
static void put(int a, int d)
{
    append(a, mk(P, now.sete[a], ID(a), d, now.tl[a]));
    LOG("PREPARE %d on %c\n", d, NM(a));
    if (!now.setw[a])
        release(a);
#ifdef BUG_ACKFIRST
    sure(a, d, 0, 1);
#endif
}
static int may_commit(int a, int d)
{
    int p = find(a, P, d);
    if (now.role[a] != ACTIVE || !p || find(a, C, d) || now.ln[a] >= LM ||
        ((now.rolled >> d & 1) && now.sete[a] >= now.rolle))
        return 0;
#ifdef BUG_EARLYSETTLE
    if (!now.est[a])
        return 1;
#endif
    return now.est[a] && p <= now.rel[a];
}
static void commit(int a, int d)
{
    int r = REC(a, find(a, P, d) - 1);
    append(a, mk(C, now.sete[a], ID(a), d, now.tl[a]));
    LOG("COMMIT PREPARED %d on %c (visible%s)\n", d, NM(a),
        EPOCH(r) == now.sete[a] ? ", acknowledged" : "");
    sure(a, d, 1, EPOCH(r) == now.sete[a] && now.est[a]);
}
static int may_roll_back(int a, int d)
{
#ifdef BUG_ROLLBACK
    int p = find(a, P, d);
    return now.role[a] == ACTIVE && now.est[a] && p && !find(a, C, d) && !(now.rolled >> d & 1) &&
           EPOCH(REC(a, p - 1)) < now.sete[a];
#else
    return 0;
#endif
}
static void roll_back(int a, int d)
{
    now.rolled |= 1 << d;
    now.rolle = now.sete[a];
    LOG("settle on %c: ROLLBACK PREPARED %d\n", NM(a), d);
    if ((now.acked[0] | now.evis[0]) >> d & 1)
        violate(4, "S4 settling rolls back a shown or acknowledged deposit");
}

// --- rule 10: the row of a new epoch, when W of its members stream ---
static int streaming(int a)
{
    int n, c = 0;
    for (n = 0; n < NN; n++)
        if ((now.setm[a] >> ID(n) & 1) && now.up[n] == a && now.nep[n] == now.sete[a] &&
            now.role[n] == STANDBY && streams(n, a))
            c++;
    return c;
}
static int mk_row(int a, int m, int w, int ends)
{
    int p = row_at(a), i, seq = 1, start = left_at(a);
    for (i = 0; i < now.ln[a]; i++)
        if (TYPE(REC(a, i)) == E && EPOCH(REC(a, i)) == now.sete[a])
            seq++;
    if (p && TL(REC(a, p - 1)) == now.tl[a])
        start = START(REC(a, p - 1));
    return mk(E, now.sete[a], ID(a), m, now.tl[a]) | w << 16 | ends << 21 | start << 22 | seq << 26;
}
static int may_write_row(int a)
{
    if (now.role[a] != ACTIVE || now.ln[a] >= LM || now.sete[a] < 2 || EPOCH(row(a)) == now.sete[a])
        return 0;
#ifndef D_R10
    if (streaming(a) < now.setw[a])
        return 0;
#endif
    return 1;
}
static void write_row(int a)
{
    append(a, mk_row(a, now.setm[a], now.setw[a], now.endn[a]));
    now.endn[a] = 0;
    LOG("row of epoch %d on %c\n", now.sete[a], NM(a));
    release(a);
}

// --- crash and restart of an active (rule 16); it asks nobody ---
static int may_crash(int a)
{
    return now.bcr && now.role[a] == ACTIVE;
}
static void crash(int a)
{
    now.bcr--;
    now.role[a] = DOWN;
    forget(a);
    LOG("crash %c\n", NM(a));
}
static int may_restart(int a)
{
    return !RET(a) && now.role[a] == DOWN && now.up[a] == NONE && now.sete[a] &&
           now.prom[a] == now.sete[a] && now.pt[a] == a && EPOCH(row(a)) <= now.sete[a];
}
static void restart(int a)
{
    now.role[a] = ACTIVE;
    forget(a);
    if (!now.setw[a])
        release(a);
    LOG("restart %c as active of epoch %d\n", NM(a), now.sete[a]);
}

// --- rules 2, 13 and 14: follow, rejoin, copy ---
static void follow(int n, int a)
{
    now.prom[n] = now.sete[a];
    now.pt[n] = a;
    now.up[n] = a;
    now.nep[n] = now.sete[a];
    now.role[n] = STANDBY;
    now.le[n] = now.sete[a];
    now.lx[n] = a;
}
static void unset(int n)
{
    now.own[n] = 0;
    now.sete[n] = 0;
    now.setm[n] = 0;
    now.setw[n] = 0;
    now.tl[n] = 0;
    now.endn[n] = 0;
    forget(n);
}
static int may_attach(int n, int a)
{
    return n != a && now.role[a] == ACTIVE && now.role[n] != ACTIVE &&
           !(now.up[n] == a && now.nep[n] == now.sete[a]) &&
           kt_rule_may_promise(n, now.sete[a], a) && kt_rule_is_prefix(n, a);
}
// Then its log only grows with a's: it is not compared again.
static int follows(int n, int a)
{
    return now.up[n] == a && now.nep[n] == now.sete[a] && now.role[n] == STANDBY;
}
static void attach(int n, int a)
{
    follow(n, a);
    if (!now.ln[n])
        now.flr[n] = now.ln[a];
    LOG("attach %c to %c as %c_e%d\n", NM(n), NM(a), NM(n), now.sete[a]);
}
static int may_misattach(int n, int a)
{
    return !RET(n) && now.bmp && n != a && now.role[a] == ACTIVE && now.role[n] == STANDBY &&
           now.prom[n] > now.sete[a] && is_same_log(n, a);
}
static void misattach(int n, int a)
{
    now.bmp--;
    now.up[n] = a;
    now.nep[n] = now.prom[n];
    LOG("somebody points %c (named e%d) at %c\n", NM(n), now.nep[n], NM(a));
}
// What `a` lacks of n's log is lost to n: nothing that was shown or acknowledged may be.
static void drop(int n, int a)
{
    int i, r, k = INC(now.sete[a]);
    for (i = 0; i < now.ln[n]; i++) {
        r = REC(n, i);
        if ((TYPE(r) == P || TYPE(r) == C) && INC(EPOCH(r)) == k &&
            ((now.acked[k] | now.evis[k]) >> DEPOSIT_(r) & 1) && !find(a, P, DEPOSIT_(r)))
            violate(4, "S4 a rewind drops a shown or acknowledged deposit");
    }
}
static void cut(int n, int to)
{
    int i;
    for (i = to; i < LM; i++)
        now.lg[n * LM + i] = 0;
    now.ln[n] = to;
}
// pg_rewind: to the fork, or k records below it.
static int may_rejoin(int n, int a, int k)
{
    if (!now.brj || n == a || now.role[a] != ACTIVE || now.role[n] == ACTIVE || common(n, a) < k ||
        now.ln[n] == 0 || follows(n, a))
        return 0;
#ifdef REJ_EST_ONLY
    if (!now.est[a])
        return 0;
#endif
    return kt_rule_may_promise(n, now.sete[a], a) && !kt_rule_is_prefix(n, a);
}
static void rejoin(int n, int a, int k)
{
    now.brj--;
    drop(n, a);
    cut(n, common(n, a) - k);
    now.flr[n] = now.ln[a];
#ifdef BUG_NOFLOOR
    now.flr[n] = 0;
#endif
    follow(n, a);
    unset(n);
    if (now.ln[n] >= now.flr[n])
        now.flr[n] = 0;
    LOG("rewind %c onto %c, back to %d, floor %d\n", NM(n), NM(a), now.ln[n], now.flr[n]);
}
// A base backup of n from s: a standby that keeps its member id, or one that lost its disk. It
// takes over the donor's promise as a value, and a floor from the active of that promise.
static int may_copy(int n, int s)
{
    int a = now.pt[s];
    if (n == s || now.role[n] == ACTIVE || !now.ln[s] || a >= NN ||
        !kt_rule_may_promise(n, now.prom[s], a))
        return 0;
    if (now.ln[n] ? !now.bbb || a == n : !DL && !BB)
        return 0;
    return now.role[a] == ACTIVE && now.sete[a] == now.prom[s] && now.pt[a] == a &&
           now.prom[a] == now.prom[s] && (!now.est[a] || now.rel[a] == now.ln[a]) &&
           (!now.ln[n] || (!follows(n, a) && !kt_rule_is_prefix(n, a))); // else it only follows
}
static void copy(int n, int s)
{
    int a = now.pt[s], i;
    if (now.ln[n]) {
        now.bbb--;
        drop(n, a);
    }
    cut(n, 0);
    for (i = 0; i < now.ln[s]; i++)
        append(n, REC(s, i));
#ifndef D_BBPROM
    now.prom[n] = now.prom[s];
    now.pt[n] = now.pt[s];
#endif
    unset(n);
    now.up[n] = NONE;
    now.nep[n] = 0;
    now.role[n] = STANDBY;
    now.le[n] = now.le[s];
    now.lx[n] = now.lx[s];
    now.flr[n] = now.ln[a];
#ifdef D_BBFLOOR /* the donor's end of log instead of the active's */
    now.flr[n] = 0;
#endif
    if (now.ln[n] >= now.flr[n])
        now.flr[n] = 0;
    LOG("base backup of %c from %c, floor %d\n", NM(n), NM(s), now.flr[n]);
}
