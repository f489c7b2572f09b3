// SPDX-License-Identifier: Apache-2.0
// One plain retry from any state, for the cases with LIVE; and the first state.

// --- L1: everything up, one deterministic retry ---
static int without = -1; // the node that heal() must do without
static int try_to(int t)
{
    int n, m = -1, w = 0;
    begin(0, t, now.promoted < RI ? RI - 1 : 7);
    for (n = 0; n < NN; n++)
        if (n != without && may_seal(0, n))
            seal(0, n);
    for (n = 0; n < NN; n++)
        if (may_pass_floor(0, n))
            pass_floor(0, n);
    for (n = 0; n < NN; n++)
        while (may_catch_up(0, n))
            catch_up(0, n);
    for (n = 0; n < NN; n++)
        if (may_pass_floor(0, n))
            pass_floor(0, n);
#ifdef HEALLIST
    {
        int mm;
        for (mm = 0; mm < 1 << NN; mm++)
            if (!(mm & now.ret) && (without < 0 || !(mm >> without & 1)) &&
                may_promote(0, mm, mm ? 1 : 0)) {
                m = mm;
                w = mm ? 1 : 0;
            }
    }
#endif
    if (m < 0 && !may_promote(0, -1, 0))
        return 0;
    promote(0, m, w);
    if (now.ln[t] >= LM)
        return 1;
#ifdef PROMOTEOK
    return 1;
#endif
    for (n = 0; n < NN; n++)
        if (n != without && may_attach(n, t))
            attach(n, t);
    for (n = 0; n < NN; n++)
        if (n != without && may_rejoin(n, t, 0))
            rejoin(n, t, 0);
    for (n = 0; n < NN; n++)
        if (n != without)
            while (may_stream(n))
                stream(n);
    if (may_write_row(t))
        write_row(t);
    for (n = 0; n < NN; n++)
        if (n != without)
            while (may_stream(n))
                stream(n);
    for (n = 0; n < NN; n++)
        if (n != without && may_flush(n))
            flush(n);
    return now.est[t];
}
static int heal(void)
{
    State saved, tried;
    int t, ok = 0, was = is_shown;
    memcpy(&saved, &now, sizeof(State));
    is_shown = 0;
    now.bfo = 1;
    now.brj = 9;
    end_attempt(0);
    end_attempt(1);
    for (t = 0; t < NN && !ok; t++) {
        if (t == without)
            continue;
        memcpy(&tried, &now, sizeof(State));
        ok = try_to(t);
        memcpy(&now, &tried, sizeof(State));
    }
    memcpy(&now, &saved, sizeof(State));
    is_shown = was;
    return ok;
}
static int stuck(void)
{
    int a, n, r = 0;
    (void)a;
    (void)n;
    without = -1;
#if LIVE == 1 // everybody up
    return !heal();
#endif
#if LIVE == 2 // A gone for good before it followed B: B with the newcomer must open
    if (now.prom[0] != 1 || now.ln[0] == 0 || (now.role[0] == ACTIVE && now.setm[0] != M0))
        return 0;
    without = 0;
    r = !heal();
    without = -1;
#endif
#if LIVE == 3 // a pair in step, nothing under way: the passive is promotable without the active
    if (now.opc[0] || now.opc[1])
        return 0;
    for (a = 0; a < NN && !r; a++)
        if (now.role[a] == ACTIVE && now.est[a] && now.prom[a] == now.sete[a] && as_row(a) &&
            now.rel[a] == now.ln[a] && pc(now.setm[a]) == 1)
            for (n = 0; n < NN; n++)
                if ((now.setm[a] >> ID(n) & 1) && !RET(n) && now.up[n] == a &&
                    now.prom[n] == now.sete[a] && now.vw[a * NN + n] == now.ln[a] &&
                    is_same_log(n, a) && now.ln[n] == now.ln[a]) {
                    without = a;
                    r = !heal();
                    without = -1;
                }
#endif
#if LIVE == 4 // a first passive lost for good before any log held a row that names it
    for (n = 0; n < NN; n++)
        for (a = 0; a < now.ln[n]; a++)
            if (TYPE(REC(n, a)) == E && MEMBERS_(REC(n, a)))
                return 0;
    without = 1;
    r = !heal();
    without = -1;
#endif
    return r;
}

static void start(void)
{
    int n;
    is_shown = getenv("KT_TRAIL") != 0;
    for (n = 0; n < NN; n++) {
        now.up[n] = NONE;
        now.role[n] = STANDBY;
    }
    now.role[0] = ACTIVE;
    now.own[0] = 1;
    now.sete[0] = 1;
    now.setm[0] = M0;
    now.setw[0] = W0;
    now.tl[0] = 1;
    now.promoted = 1;
    for (n = 0; n < NN; n++)
        if (n == 0 || (M0 >> n & 1)) {
            now.prom[n] = 1;
            now.le[n] = 1;
            if (n) {
                now.up[n] = 0;
                now.nep[n] = 1;
                now.vw[n] = 1;
            }
            append(n, mk(E, 1, 0, M0, 1) | W0 << 16 | 1 << 26);
        }
    release(0);
}
