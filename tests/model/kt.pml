/* SPDX-License-Identifier: Apache-2.0
 * The failover protocol as the code has it (docs/failover.md). One guarded action per step, the scheduler
 * is the adversary: a partition, a slow node, a stopped process or a killed operator is an action
 * that is never chosen. rules.h and prove.h hold the rules under the names of lib/rules.h,
 * model.h logs and checks, the other files what can happen.
 * Switches: D_... leaves a repair out, BUG_... plants a bug; cases.txt has one case for each.
 */
#ifndef NN
#define NN 3            /* nodes, at most 4 */
#endif
#ifndef LM
#define LM 8            /* length of a log */
#endif
#define RM 5            /* rows in a report */
#ifndef ND
#define ND 1            /* deposits */
#endif
#ifndef EM
#define EM 3            /* highest epoch an operator chooses */
#endif
#ifndef M0
#define M0 6            /* members at the start, a mask; node 0 is the active */
#endif
#ifndef W0
#define W0 1
#endif
#ifndef FO
#define FO 2            /* attempts to fail over */
#endif
#ifndef CR
#define CR 0            /* crashes of a running active */
#endif
#ifndef RJ
#define RJ 1            /* rewinds */
#endif
#ifndef MC
#define MC 0            /* changes of membership */
#endif
#ifndef DL
#define DL 0            /* disks lost */
#endif
#ifndef BB
#define BB 0            /* base backups of nodes that had a log */
#endif
#ifndef RT
#define RT 0            /* passives retired */
#endif
#ifndef OV
#define OV 0            /* overrides --destroyed, with --standalone or a newcomer */
#endif
#ifndef RS
#define RS 0            /* restores from a backup: the next incarnation */
#endif
#ifndef MP
#define MP 0            /* standbys pointed at the wrong active by hand */
#endif

/* A node: its log, upstream and name there, promise, floor, role, member id, settings, what its
 * members have acknowledged. */
byte ln[NN]; int lg[NN*LM];
byte up[NN]; byte nep[NN]; byte prom[NN]; byte pt[NN]; byte flr[NN]; byte role[NN]; byte life[NN];
byte own[NN]; byte sete[NN]; byte setm[NN]; byte setw[NN]; byte tl[NN]; byte est[NN]; byte rel[NN];
byte vw[NN*NN];
byte le[NN]; byte lx[NN]; /* the epoch (e, X) that the log was last written or followed in */
byte endn[NN];          /* the next row ends those before it */
byte ret; byte rfe[NN]; byte rfa[NN];
/* Two operators, each with an attempt (e, T) and sealed reports that may be out of date. */
byte opc[2]; byte oe[2]; byte ot[2]; byte os[2];
byte oln[2*NN]; byte ofl[2*NN]; byte osi[2*NN]; byte omi[2*NN];
int orw[2*NN*RM];
/* What the checks remember; acked and evis for each of two incarnations. */
byte acked[2]; byte evis[2]; byte rolled; byte rolle; byte esta[8]; byte estd[8]; byte ackn[8];
byte promoted; byte bad;
byte bfo = FO; byte bcr = CR; byte brj = RJ; byte bmc = MC; byte bdl = DL; byte bbb = BB;
byte brt = RT; byte bov = OV; byte brs = RS; byte bmp = MP;

c_code {
#include "model.h"
#include "rules.h"
#include "prove.h"
#include "replicate.h"
#include "operate.h"
#include "members.h"
#include "retry.h"
}

#define DO(g, x) :: d_step { c_expr { (g) } -> c_code { x; show(); } ; assert(bad == 0) }
#define CAN(name, ...) DO(may_##name(__VA_ARGS__), name(__VA_ARGS__))

#define DEPOSIT(n, d) CAN(put, n, d) CAN(commit, n, d) CAN(roll_back, n, d)
#if ND > 1
#define DEPOSITS(n) DEPOSIT(n, 0) DEPOSIT(n, 1)
#else
#define DEPOSITS(n) DEPOSIT(n, 0)
#endif
#define OPERATE(o, n) CAN(seal, o, n) CAN(catch_up, o, n) CAN(pass_floor, o, n)
#define BEGIN1(n, e) CAN(begin, 0, n, e) CAN(begin, 1, n, e)
#if RS
#define BEGIN(n) BEGIN1(n, 2) BEGIN1(n, 3) BEGIN1(n, 7)
#elif EM > 3
#define BEGIN(n) BEGIN1(n, 2) BEGIN1(n, 3) BEGIN1(n, 4)
#elif EM > 2
#define BEGIN(n) BEGIN1(n, 2) BEGIN1(n, 3)
#else
#define BEGIN(n) BEGIN1(n, 2)
#endif
#if MC
#define MEMBER(n, m) CAN(change, n, ADD, m) CAN(change, n, REMOVE, m) CAN(change, n, REMOVE, m + 4) \
  CAN(change, n, BOTH, m)
#define MEMBERS(n) CAN(change, n, W_UP, 0) CAN(change, n, W_DOWN, 0) MEMBER(n, 0) MEMBER(n, 1) MEMBER(n, 2) \
  CAN(confirm, n)
#else
#define MEMBERS(n)
#endif
#if RT || OV
#define GO_ON(n) CAN(go_on, n, 0) CAN(go_on, n, 1) CAN(go_on, n, 2) CAN(go_on, n, 4) CAN(retire, n)
#else
#define GO_ON(n)
#endif
#define NODE(n) CAN(stream, n) CAN(flush, n) CAN(write_row, n) CAN(crash, n) CAN(restart, n) DEPOSITS(n) \
  CAN(lose, n) CAN(restore, n) CAN(finish, n) CAN(follow_row, n) CAN(undo_blindly, n) \
  OPERATE(0, n) OPERATE(1, n) BEGIN(n) MEMBERS(n) GO_ON(n)
#define PAIR(n, a) CAN(attach, n, a) CAN(misattach, n, a) CAN(rejoin, n, a, 0) CAN(rejoin, n, a, 1) \
  CAN(copy, n, a)
#if defined(LISTS) && NN > 3
#define PROMOTES(o) CAN(promote, o, -1, 0) CAN(promote, o, 8, 1) CAN(promote, o, 9, 1)
#elif defined(LISTS)
#define PROMOTES(o) CAN(promote, o, -1, 0) CAN(promote, o, 0, 0) CAN(promote, o, 1, 1) \
  CAN(promote, o, 2, 1) CAN(promote, o, 4, 1) CAN(promote, o, 3, 1) CAN(promote, o, 5, 1) \
  CAN(promote, o, 6, 1) CAN(promote, o, 3, 2) CAN(promote, o, 5, 2) CAN(promote, o, 6, 2)
#else
#define PROMOTES(o) CAN(promote, o, -1, 0)
#endif

active proctype world() {
  c_code { start(); };
  do
  NODE(0) NODE(1) PAIR(0,1) PAIR(1,0)
#if NN > 2
  NODE(2) PAIR(0,2) PAIR(2,0) PAIR(1,2) PAIR(2,1)
#endif
#if NN > 3
  NODE(3) PAIR(0,3) PAIR(3,0) PAIR(1,3) PAIR(3,1) PAIR(2,3) PAIR(3,2)
#endif
  PROMOTES(0) PROMOTES(1)
  :: d_step { opc[0] -> c_code { end_attempt(0); if (is_shown) printf("operator 0 killed\n"); } }
  :: d_step { opc[1] -> c_code { end_attempt(1); if (is_shown) printf("operator 1 killed\n"); } }
#ifdef LIVE
  :: d_step { c_expr { (stuck()) } ->
    c_code { violate(9, "L1 no retry can make the cluster writable"); }; assert(bad == 0) }
#endif
#ifdef REACH
  :: d_step { c_expr { (REACH) } -> c_code { violate(8, "reached"); }; assert(bad == 0) }
#endif
  od
}
