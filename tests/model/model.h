// SPDX-License-Identifier: Apache-2.0
// Records, logs, and the promises that are checked at each step.
static int is_shown; // print the steps of a counterexample
#define LOG(...)                                                                                   \
    do {                                                                                           \
        if (is_shown)                                                                              \
            printf(__VA_ARGS__);                                                                   \
    } while (0)
#define NONE 7
enum { DOWN, STANDBY, ACTIVE };
enum { K, P, C, E }; // what promotion writes, PREPARE, COMMIT PREPARED, row of `epochs`

// A record; a member id is node + 4 * life (a lost disk is a lost member).
#define TYPE(r)     ((r)&3)
#define EPOCH(r)    (((r) >> 2) & 7)
#define WRITER(r)   (((r) >> 5) & 7)
#define MEMBERS_(r) (((r) >> 8) & 255)
#define DEPOSIT_(r) (((r) >> 8) & 3)
#define W_(r)       (((r) >> 16) & 3)
#define TL(r)       (((r) >> 18) & 7)
#define ENDS(r)     (((r) >> 21) & 1)
#define START(r)    (((r) >> 22) & 15)
#define SEQ(r)      (((r) >> 26) & 7)
#define REC(n, i)   (now.lg[(n)*LM + (i)])
#define ID(n)       ((n) + 4 * now.life[n])
#define NODE_(id)   ((id)&3)
#define RET(n)      ((now.ret >> (n)) & 1)
#define NM(n)       ("ABCD"[n])

// Epochs from RI on are of the second incarnation: promises compare (incarnation, e) in this order.
#define RI     6
#define INC(e) ((e) >= RI)
#ifdef BUG_NOINC /* promises compared by epoch alone, which begins anew in an incarnation */
#define ORD(e) ((e) >= RI ? (e)-RI + 1 : (e))
#else
#define ORD(e) (e)
#endif

static int pc(int m)
{
    return __builtin_popcount((unsigned)m);
}
static int mk(int t, int e, int w, int pay, int line)
{
    return t | e << 2 | w << 5 | pay << 8 | (line & 7) << 18;
}
static void append(int n, int r)
{
    now.lg[n * LM + now.ln[n]++] = r;
}

static void show(void)
{
    int n, i, r;
    if (!is_shown)
        return;
    for (n = 0; n < NN; n++) {
        printf("      %c%d %s promise %d/%c len %d floor %d up %c_e%d set(e%d m%x w%d) rel %d est "
               "%d own %d [",
               NM(n), now.life[n],
               now.role[n] == DOWN     ? "down"
               : now.role[n] == ACTIVE ? "ACT "
                                       : "stby",
               now.prom[n], NM(now.pt[n] & 3), now.ln[n], now.flr[n],
               now.up[n] == NONE ? '-' : NM(now.up[n]), now.nep[n], now.sete[n], now.setm[n],
               now.setw[n], now.rel[n], now.est[n], now.own[n]);
        for (i = 0; i < now.ln[n]; i++) {
            r = REC(n, i);
            if (TYPE(r) == E)
                printf(" E%d.%d(%c m%x w%d t%d s%d%s)", EPOCH(r), SEQ(r), NM(WRITER(r) & 3),
                       MEMBERS_(r), W_(r), TL(r), START(r), ENDS(r) ? " ends" : "");
            else
                printf(" %c%d.e%d%c.t%d", "KPC"[TYPE(r)], DEPOSIT_(r), EPOCH(r), NM(WRITER(r) & 3),
                       TL(r));
        }
        printf(" ]\n");
    }
}

static int find(int n, int t, int d)
{
    int i;
    for (i = 0; i < now.ln[n]; i++)
        if (TYPE(REC(n, i)) == t && DEPOSIT_(REC(n, i)) == d)
            return i + 1;
    return 0;
}
static int row_at(int n)
{ // 1 + index of the newest row
    int i;
    for (i = now.ln[n]; i > 0; i--)
        if (TYPE(REC(n, i - 1)) == E)
            return i;
    return 0;
}
static int row(int n)
{
    int p = row_at(n);
    return p ? REC(n, p - 1) : 0;
}
static int deposits(int n)
{
    int d, m = 0;
    for (d = 0; d < ND; d++)
        if (find(n, P, d))
            m |= 1 << d;
    return m;
}
static int common(int n, int a)
{
    int i;
    for (i = 0; i < now.ln[n] && i < now.ln[a] && REC(n, i) == REC(a, i); i++)
        ;
    return i;
}
static int is_same_log(int n, int a)
{
    return common(n, a) == now.ln[n];
}
// What PostgreSQL itself compares before it streams: the number of the timeline on which n's log
// ends must be in a's history, and must not end there before n's position. Not where it begins.
static int streams(int n, int a)
{
    int i, t = now.ln[n] ? TL(REC(n, now.ln[n] - 1)) : 0;
    for (i = now.ln[a]; t && i > 0 && TL(REC(a, i - 1)) != t; i--)
        ;
    return now.ln[n] <= now.ln[a] && (!t || i >= now.ln[n]);
}
// Where a log left the timeline of its newest row; 0 when it did not.
static int left_at(int n)
{
    int p = row_at(n), i;
    if (!p)
        return 0;
#ifdef D_STARTLAST /* the start of the last timeline instead */
    for (i = now.ln[n]; i > p; i--)
        if (TYPE(REC(n, i - 1)) == K)
            return i - 1;
#else
    for (i = p; i < now.ln[n]; i++)
        if (TL(REC(n, i)) != TL(REC(n, p - 1)))
            return i;
#endif
    return 0;
}
static int all_settled(int a)
{
    int i;
    for (i = 0; i < now.ln[a]; i++)
        if (TYPE(REC(a, i)) == P && !find(a, C, DEPOSIT_(REC(a, i))))
            return 0;
    return 1;
}

// --- the promises ---
static void violate(int b, const char *s)
{
    if (!now.bad) {
        now.bad = b;
        LOG("   *** VIOLATION %s\n", s);
    }
}
static void forget(int n)
{
    int m;
    now.est[n] = 0;
    now.rel[n] = 0;
    for (m = 0; m < NN; m++)
        now.vw[n * NN + m] = 0;
}

static void established(int a)
{
    int e = now.sete[a], n, i = INC(e);
    now.est[a] = 1;
    LOG("   established: %c in epoch %d\n", NM(a), e);
    if (now.esta[e] && now.esta[e] != a + 1)
        violate(3, "S3 two nodes established in one epoch");
    for (n = e + 1; n < 8; n++)
        if (INC(n) == i && now.esta[n] && !now.esta[e])
            violate(3, "S3 lower epoch established after a higher one");
    if (now.esta[e])
        return;
    now.esta[e] = a + 1;
    now.estd[e] = deposits(a);
    if (now.acked[i] & ~now.estd[e])
        violate(1, "S1 acknowledged deposit not in the established active");
    if (now.evis[i] & ~now.estd[e])
        violate(2, "S2 visible deposit not in the established active");
}
// The position that W members have; an own row below it makes the node established.
static void release(int a)
{
    int l, n, c, i;
    for (l = now.ln[a]; l > now.rel[a]; l--) {
        for (c = 0, n = 0; n < NN; n++)
            if ((now.setm[a] >> ID(n) & 1) && now.vw[a * NN + n] >= l)
                c++;
        if (c >= now.setw[a]) {
            now.rel[a] = l;
            break;
        }
    }
    for (i = 0; !now.est[a] && i < now.rel[a]; i++)
        if (TYPE(REC(a, i)) == E && EPOCH(REC(a, i)) == now.sete[a] && WRITER(REC(a, i)) == ID(a))
            established(a);
}
static void sure(int a, int d, int shown, int ack)
{
    int e = now.sete[a], i = INC(e), n, c = 0;
    if (shown)
        now.evis[i] |= 1 << d;
    if (ack)
        now.acked[i] |= 1 << d;
    if (now.rolled >> d & 1)
        violate(4, "S4 shown or acknowledged after another active rolled it back");
    for (n = e + 1; n < 8; n++)
        if (INC(n) == i && now.esta[n] && !(now.estd[n] >> d & 1))
            violate(ack ? 1 : 2,
                    "S1/S2 shown or acknowledged, but a higher established epoch lacks it");
    if (!ack)
        return;
    for (n = 0; n < NN; n++)
        if (find(n, P, d))
            c++;
    if (c < 2 && now.setm[a] && now.bdl == DL)
        violate(5, "P1 acknowledged with a single copy");
#ifdef D_S3LIT
    for (n = e + 1; n < 8; n++)
        if (INC(n) == i && now.esta[n])
            violate(3, "S3 (literal) acknowledgement in an epoch below an established one");
#endif
    if (now.ackn[e] && now.ackn[e] != a + 1)
        violate(3, "S3 two nodes acknowledge in one epoch");
    now.ackn[e] = a + 1;
}
