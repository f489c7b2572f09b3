/* SPDX-License-Identifier: Apache-2.0 */
/* What can happen: may_X says when, X does it. */

/* --- replication: flushing and its acknowledgement are steps of their own --- */
static int may_stream(int n) {
  int a = now.up[n];
  return a != NONE && now.role[n] == STANDBY && now.role[a] == ACTIVE && now.ln[n] < now.ln[a] && streams(n, a);
}
static void stream(int n) {
  int a = now.up[n];
  if (!is_same_log(n, a)) violate(6, "S5 two logs are mixed: their timelines have the same numbers");
  append(n, REC(a, now.ln[n]));
  if (now.ln[n] >= now.flr[n]) now.flr[n] = 0;
  LOG("stream %c->%c record %d\n", NM(a), NM(n), now.ln[n]);
}
static int may_flush(int n) {
  int a = now.up[n];
  if (a == NONE || now.role[n] != STANDBY || now.role[a] != ACTIVE || !(now.setm[a] >> ID(n) & 1)) return 0;
#ifndef BUG_NONAME /* names without the epoch */
  if (now.nep[n] != now.sete[a]) return 0;
#endif
  return streams(n, a) && now.ln[n] > now.vw[a * NN + n];
}
static void flush(int n) {
  int a = now.up[n];
  if (!is_same_log(n, a)) violate(6, "S5 a position is acknowledged that holds another log");
  now.vw[a * NN + n] = now.ln[n];
  LOG("flush acknowledged %c->%c at %d\n", NM(n), NM(a), now.ln[n]);
  release(a);
}

/* --- deposits: PREPARE, quorum, COMMIT PREPARED and answer; rule 11 settles the same way --- */
static int may_put(int a, int d) {
  return now.role[a] == ACTIVE && now.est[a] && !(now.acked[INC(now.sete[a])] >> d & 1) && !find(a, P, d) && now.ln[a] < LM && all_settled(a);
}
static void put(int a, int d) {
  append(a, mk(P, now.sete[a], ID(a), d, now.tl[a]));
  LOG("PREPARE %d on %c\n", d, NM(a));
  if (!now.setw[a]) release(a);
#ifdef BUG_ACKFIRST
  sure(a, d, 0, 1);
#endif
}
static int may_commit(int a, int d) {
  int p = find(a, P, d);
  if (now.role[a] != ACTIVE || !p || find(a, C, d) || now.ln[a] >= LM || ((now.rolled >> d & 1) && now.sete[a] >= now.rolle)) return 0;
#ifdef BUG_EARLYSETTLE
  if (!now.est[a]) return 1;
#endif
  return now.est[a] && p <= now.rel[a];
}
static void commit(int a, int d) {
  int r = REC(a, find(a, P, d) - 1);
  append(a, mk(C, now.sete[a], ID(a), d, now.tl[a]));
  LOG("COMMIT PREPARED %d on %c (visible%s)\n", d, NM(a), EPOCH(r) == now.sete[a] ? ", acknowledged" : "");
  sure(a, d, 1, EPOCH(r) == now.sete[a]);
}
static int may_roll_back(int a, int d) {
#ifdef BUG_ROLLBACK
  int p = find(a, P, d);
  return now.role[a] == ACTIVE && now.est[a] && p && !find(a, C, d) && !(now.rolled >> d & 1) && EPOCH(REC(a, p - 1)) < now.sete[a];
#else
  return 0;
#endif
}
static void roll_back(int a, int d) {
  now.rolled |= 1 << d;
  now.rolle = now.sete[a];
  LOG("settle on %c: ROLLBACK PREPARED %d\n", NM(a), d);
  if ((now.acked[0] | now.evis[0]) >> d & 1) violate(4, "S4 settling rolls back a shown or acknowledged deposit");
}

/* --- rule 10: the row of a new epoch, when W of its members stream --- */
static int streaming(int a) {
  int n, c = 0;
  for (n = 0; n < NN; n++) if ((now.setm[a] >> ID(n) & 1) && now.up[n] == a && now.nep[n] == now.sete[a] && now.role[n] == STANDBY && streams(n, a)) c++;
  return c;
}
static int mk_row(int a, int m, int w, int ends) {
  int p = row_at(a), i, seq = 1, start = left_at(a);
  for (i = 0; i < now.ln[a]; i++) if (TYPE(REC(a, i)) == E && EPOCH(REC(a, i)) == now.sete[a]) seq++;
  if (p && TL(REC(a, p - 1)) == now.tl[a]) start = START(REC(a, p - 1));
  return mk(E, now.sete[a], ID(a), m, now.tl[a]) | w << 16 | ends << 21 | start << 22 | seq << 26;
}
static int may_write_row(int a) {
  if (now.role[a] != ACTIVE || now.ln[a] >= LM || now.sete[a] < 2 || EPOCH(row(a)) == now.sete[a]) return 0;
#ifndef D_R10
  if (streaming(a) < now.setw[a]) return 0;
#endif
  return 1;
}
static void write_row(int a) {
  append(a, mk_row(a, now.setm[a], now.setw[a], now.endn[a]));
  now.endn[a] = 0;
  LOG("row of epoch %d on %c\n", now.sete[a], NM(a));
  release(a);
}

/* --- crash and restart of an active (rule 16); it asks nobody --- */
static int may_crash(int a) { return now.bcr && now.role[a] == ACTIVE; }
static void crash(int a) { now.bcr--; now.role[a] = DOWN; forget(a); LOG("crash %c\n", NM(a)); }
static int may_restart(int a) {
  return !RET(a) && now.role[a] == DOWN && now.up[a] == NONE && now.sete[a] && now.prom[a] == now.sete[a] && now.pt[a] == a && EPOCH(row(a)) <= now.sete[a];
}
static void restart(int a) { now.role[a] = ACTIVE; forget(a); if (!now.setw[a]) release(a); LOG("restart %c as active of epoch %d\n", NM(a), now.sete[a]); }

/* --- rules 2, 13 and 14: follow, rejoin, copy --- */
static void follow(int n, int a) {
  now.prom[n] = now.sete[a];
  now.pt[n] = a;
  now.up[n] = a;
  now.nep[n] = now.sete[a];
  now.role[n] = STANDBY;
  now.le[n] = now.sete[a];
  now.lx[n] = a;
}
static void unset(int n) { now.own[n] = 0; now.sete[n] = 0; now.setm[n] = 0; now.setw[n] = 0; now.tl[n] = 0; now.endn[n] = 0; forget(n); }
static int may_attach(int n, int a) {
  return n != a && now.role[a] == ACTIVE && now.role[n] != ACTIVE && !(now.up[n] == a && now.nep[n] == now.sete[a]) &&
    kt_rule_may_promise(n, now.sete[a], a) &&
    kt_rule_is_prefix(n, a);
}
/* Then its log only grows with a's: it is not compared again. */
static int follows(int n, int a) { return now.up[n] == a && now.nep[n] == now.sete[a] && now.role[n] == STANDBY; }
static void attach(int n, int a) {
  follow(n, a);
  if (!now.ln[n]) now.flr[n] = now.ln[a];
  LOG("attach %c to %c as %c_e%d\n", NM(n), NM(a), NM(n), now.sete[a]);
}
static int may_misattach(int n, int a) {
  return !RET(n) && now.bmp && n != a && now.role[a] == ACTIVE && now.role[n] == STANDBY && now.prom[n] > now.sete[a] && is_same_log(n, a);
}
static void misattach(int n, int a) { now.bmp--; now.up[n] = a; now.nep[n] = now.prom[n]; LOG("somebody points %c (named e%d) at %c\n", NM(n), now.nep[n], NM(a)); }
/* What `a` lacks of n's log is lost to n: nothing that was shown or acknowledged in a's incarnation may be. */
static void drop(int n, int a) {
  int i, r, k = INC(now.sete[a]);
  for (i = 0; i < now.ln[n]; i++) {
    r = REC(n, i);
    if ((TYPE(r) == P || TYPE(r) == C) && INC(EPOCH(r)) == k && ((now.acked[k] | now.evis[k]) >> DEPOSIT_(r) & 1) && !find(a, P, DEPOSIT_(r)))
      violate(4, "S4 a rewind drops a shown or acknowledged deposit");
  }
}
static void cut(int n, int to) { int i; for (i = to; i < LM; i++) now.lg[n * LM + i] = 0; now.ln[n] = to; }
/* pg_rewind: to the fork, or k records below it. */
static int may_rejoin(int n, int a, int k) {
  if (!now.brj || n == a || now.role[a] != ACTIVE || now.role[n] == ACTIVE || common(n, a) < k || now.ln[n] == 0 || follows(n, a)) return 0;
#ifdef REJ_EST_ONLY
  if (!now.est[a]) return 0;
#endif
  return kt_rule_may_promise(n, now.sete[a], a) && !kt_rule_is_prefix(n, a);
}
static void rejoin(int n, int a, int k) {
  now.brj--;
  drop(n, a);
  cut(n, common(n, a) - k);
  now.flr[n] = now.ln[a];
#ifdef BUG_NOFLOOR
  now.flr[n] = 0;
#endif
  follow(n, a);
  unset(n);
  if (now.ln[n] >= now.flr[n]) now.flr[n] = 0;
  LOG("rewind %c onto %c, back to %d, floor %d\n", NM(n), NM(a), now.ln[n], now.flr[n]);
}
/* A base backup of n from s: a standby that keeps its member id, or one that lost its disk. It takes over the
 * donor's promise as a value, and a floor from the active of that promise. */
static int may_copy(int n, int s) {
  int a = now.pt[s];
  if (n == s || now.role[n] == ACTIVE || !now.ln[s] || a >= NN || !kt_rule_may_promise(n, now.prom[s], a)) return 0;
  if (now.ln[n] ? !now.bbb || a == n : !DL && !BB) return 0;
  return now.role[a] == ACTIVE && now.sete[a] == now.prom[s] && now.pt[a] == a && now.prom[a] == now.prom[s] && (!now.est[a] || now.rel[a] == now.ln[a]) &&
    (!now.ln[n] || (!follows(n, a) && !kt_rule_is_prefix(n, a))); /* else it only follows */
}
static void copy(int n, int s) {
  int a = now.pt[s], i;
  if (now.ln[n]) { now.bbb--; drop(n, a); }
  cut(n, 0);
  for (i = 0; i < now.ln[s]; i++) append(n, REC(s, i));
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
  if (now.ln[n] >= now.flr[n]) now.flr[n] = 0;
  LOG("base backup of %c from %c, floor %d\n", NM(n), NM(s), now.flr[n]);
}

/* --- failover: two operators --- */
static int may_begin(int o, int t, int e) {
#ifdef SCRIPT2 /* to B, then to the last node */
  if (!((o == 0 && t == 1 && e == 2) || (o == 1 && t == NN - 1 && e == 3))) return 0;
#endif
#ifdef SCRIPT3 /* to the last node, then to B */
  if (!((o == 0 && t == NN - 1 && e == 2) || (o == 1 && t == 1 && e == 3))) return 0;
#endif
#ifdef SCRIPTC /* to B and to C, at the same time */
  if (!((o == 0 && t == 1 && e == 2) || (o == 1 && t == 2 && e == 3))) return 0;
#endif
#ifdef SCRIPTB /* to B; again to B with a newcomer; a third to anyone */
  if (!((now.bfo == FO && t == 1 && e == 2) || (now.bfo == FO - 1 && t == 1 && e == 3) || (now.bfo < FO - 1 && e == 4))) return 0;
#endif
  return now.bfo && !now.opc[o] && (o == 0 || now.opc[0]) && kt_rule_choose(e) == e;
}
static void begin(int o, int t, int e) { now.bfo--; now.opc[o] = 1; now.oe[o] = e; now.ot[o] = t; LOG("operator %d: failover --to %c, epoch %d\n", o, NM(t), e); }
static void unreport(int o, int n) { int k; now.oln[o * NN + n] = 0; now.ofl[o * NN + n] = 0; now.osi[o * NN + n] = 0; now.omi[o * NN + n] = 0; for (k = 0; k < RM; k++) ROW(o, n, k) = 0; }
static void end_attempt(int o) { int n; now.opc[o] = 0; now.oe[o] = 0; now.ot[o] = 0; now.os[o] = 0; for (n = 0; n < NN; n++) unreport(o, n); }
static void report(int o, int n) {
  int rows[LM], c = rows_of(n, rows), k, from = 0;
  unreport(o, n);
  if (c > RM) from = c - RM;
  now.oln[o * NN + n] = now.ln[n];
  now.ofl[o * NN + n] = now.flr[n];
  now.osi[o * NN + n] = now.own[n];
  now.omi[o * NN + n] = ID(n);
  for (k = from; k < c; k++) ROW(o, n, k - from) = rows[k];
  now.os[o] |= 1 << n;
}
static int may_seal(int o, int n) { return now.opc[o] && !SEALED(o, n) && kt_rule_may_seal(n, now.oe[o]); }
static void seal(int o, int n) {
#ifdef BUG_SKIPSEAL
  if (n == now.ot[o])
#endif
  {
    now.prom[n] = now.oe[o];
    now.pt[n] = now.ot[o];
#ifdef D_RECVALIVE /* the position is reported before the WAL receiver is gone */
    if (now.role[n] == ACTIVE || n == now.ot[o])
#endif
    { now.up[n] = NONE; now.nep[n] = 0; }
    if (now.role[n] == ACTIVE) { now.role[n] = DOWN; forget(n); }
  }
  report(o, n);
  LOG("operator %d seals %c for epoch %d\n", o, NM(n), now.oe[o]);
}
static int still_sealed(int o, int n) { return SEALED(o, n) && WHO(o, n) == ID(n) && now.prom[n] == now.oe[o] && now.pt[n] == now.ot[o] && now.role[n] != ACTIVE && now.up[n] == NONE; }
/* Rule 6. PostgreSQL sends what its timelines allow, the rule says whether it is the same log. */
static void take_from(int o, int n, int s) {
  if (!is_same_log(n, s)) violate(6, "S5 two logs are mixed in catching up");
  while (now.ln[n] < now.ln[s]) append(n, REC(s, now.ln[n]));
  if (now.ln[n] >= now.flr[n]) now.flr[n] = 0;
  now.le[n] = now.le[s];
  now.lx[n] = now.lx[s];
  report(o, n);
  LOG("operator %d: %c catches up from %c\n", o, NM(n), NM(s));
}
static int can_take(int o, int n, int s) { return still_sealed(o, n) && still_sealed(o, s) && now.ln[n] < now.ln[s] && streams(n, s) && kt_rule_is_prefix(n, s); }
static int may_catch_up(int o, int s) {
  int t = now.ot[o];
  if (!now.opc[o] || !SEALED(o, s) || s == t) return 0;
#ifdef ANYDONOR
  return can_take(o, t, s);
#endif
  return kt_rule_donor(o) == s && can_take(o, t, s);
}
static void catch_up(int o, int s) { take_from(o, now.ot[o], s); }
static int may_pass_floor(int o, int n) { int s; return now.opc[o] && SEALED(o, n) && n != now.ot[o] && (s = kt_rule_floor_donor(o, n)) >= 0 && can_take(o, n, s); }
static void pass_floor(int o, int n) { take_from(o, n, kt_rule_floor_donor(o, n)); }

/* A list is given by nodes; -1 is the default one. */
static int list_of(int o, int m, int *w, int *ends) {
  int n, ids = 0, mine = *w, none;
  if (m < 0) return default_list(o, w, ends);
  default_list(o, &none, ends);
  *w = mine;
  for (n = 0; n < NN; n++) if (m >> n & 1) ids |= 1 << ID(n);
  return ids;
}
static int may_promote(int o, int m, int w) {
  int t = now.ot[o], ends = 0, ids;
  if (!now.opc[o] || !SEALED(o, t) || RET(t) || now.role[t] == ACTIVE || now.up[t] != NONE || now.prom[t] != now.oe[o] || now.pt[t] != t || now.flr[t] || WHO(o, t) != ID(t) ||
    now.ln[t] >= LM || !kt_rule_prove(o)) return 0;
  ids = list_of(o, m, &w, &ends);
#ifdef D_ANYTARGET
  return 1;
#endif
  return kt_rule_list_allowed(o, ids, w);
}
static int next_line(int n) { int i, l = 0; for (i = 0; i < now.ln[n]; i++) if (TL(REC(n, i)) > l) l = TL(REC(n, i)); return l + 1; }
static void promote(int o, int m, int w) {
  int t = now.ot[o], ends = 0, ids = list_of(o, m, &w, &ends), e = now.oe[o];
  now.role[t] = ACTIVE;
#ifdef D_OWNRESET
  now.own[t] = e;
#else
  if (!now.own[t]) now.own[t] = e;
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
  if (e > now.promoted) now.promoted = e;
  if (!w) release(t);
  LOG("operator %d: proven, %c is promoted in epoch %d, members %x W %d\n", o, NM(t), e, ids, w);
  end_attempt(o);
}

/* --- rule 12: membership --- */
enum { ADD, REMOVE, W_UP, W_DOWN, BOTH };
static int as_row(int a) { return MEMBERS_(row(a)) == now.setm[a] && W_(row(a)) == now.setw[a]; }
static int wanted(int a, int kind, int arg, int *w) {
  int m = now.setm[a];
  *w = now.setw[a];
  if (kind == ADD) { m |= 1 << ID(arg); if (!now.setm[a]) *w = 1; }
  if (kind == REMOVE) m &= ~(1 << arg);
  if (kind == W_UP) ++*w;
  if (kind == W_DOWN) --*w;
#ifdef D_BOTH /* swap one name, or one name and W */
  if (kind == BOTH) { if (*w > 1) { m &= ~(1 << ID(arg)); --*w; } else m = 1 << ID(arg); }
#endif
  return m;
}
static int may_change(int a, int kind, int arg) {
  int w, m;
  if (!now.bmc || now.role[a] != ACTIVE || now.ln[a] >= LM || arg >= 4 + NN || (arg & 3) >= NN || (kind == ADD && RET(arg))) return 0;
#ifndef D_MCUNEST
  if (!now.est[a]) return 0;
#endif
  if (!as_row(a)) return 0;
#ifndef D_BOTH
  if (kind == BOTH) return 0;
#endif
  m = wanted(a, kind, arg, &w);
  if (w < 0 || w > 3 || (kind == ADD && ID(arg) == ID(a))) return 0;
  return kt_rule_change_order(a, now.setm[a], now.setw[a], m, w, 0) > 0;
}
static void change(int a, int kind, int arg) {
  int w, m = wanted(a, kind, arg, &w), order = kt_rule_change_order(a, now.setm[a], now.setw[a], m, w, 0);
#ifdef BUG_ATONCE
  order = 3;
#endif
  now.bmc--;
  if (order & 1) { now.setm[a] = m; now.setw[a] = w; now.rel[a] = 0; LOG("%c: setting := %x W %d\n", NM(a), m, w); }
  if (order & 2) { append(a, mk_row(a, m, w, 0)); LOG("%c: row := %x W %d\n", NM(a), m, w); }
  release(a);
}
/* Setting first: the probe is that all so far is flushed under the new setting. */
static int may_finish(int a) {
  if (now.role[a] != ACTIVE || as_row(a) || now.ln[a] >= LM || EPOCH(row(a)) != now.sete[a] || (!now.est[a] && !now.endn[a])) return 0;
#ifdef D_NOPROBE
  return 1;
#endif
  return now.rel[a] >= now.ln[a];
}
static void finish(int a) {
  append(a, mk_row(a, now.setm[a], now.setw[a], now.endn[a]));
  now.endn[a] = 0;
  LOG("%c: row := setting (%x W %d)\n", NM(a), now.setm[a], now.setw[a]);
  release(a);
}
/* Row first, and undoing a setting: when the row is acknowledged. */
static int may_follow_row(int a) { return now.role[a] == ACTIVE && now.est[a] && !as_row(a) && EPOCH(row(a)) == now.sete[a] && !now.endn[a] && row_at(a) <= now.rel[a]; }
static void follow_row(int a) { now.setm[a] = MEMBERS_(row(a)); now.setw[a] = W_(row(a)); LOG("%c: setting := row\n", NM(a)); release(a); }
/* A run that does not see its own waiting row, and undoes. */
static int row_before(int a) { int i; for (i = row_at(a) - 1; i > 0; i--) if (TYPE(REC(a, i - 1)) == E) return REC(a, i - 1); return 0; }
static int may_undo_blindly(int a) {
#ifdef BUG_BLIND
  int q = row_before(a);
  return now.role[a] == ACTIVE && now.est[a] && q && row_at(a) > now.rel[a] && EPOCH(row(a)) == EPOCH(q) && as_row(a) && (MEMBERS_(q) != now.setm[a] || W_(q) != now.setw[a]);
#else
  return 0;
#endif
}
static void undo_blindly(int a) { int q = row_before(a); now.setm[a] = MEMBERS_(q); now.setw[a] = W_(q); LOG("%c: waiting row not seen, setting := %x W %d\n", NM(a), now.setm[a], now.setw[a]); release(a); }

/* --- rule 15: retired, destroyed, standalone --- */
static int is_free(int a) { return row(a) && (as_row(a) || EPOCH(row(a)) < now.sete[a]); }
static int may_retire(int n) {
  int a;
  if (!now.brt || RET(n)) return 0;
  for (a = 0; a < NN; a++) if (a != n && now.role[a] == ACTIVE && now.setm[a] == 1 << ID(n) && is_free(a)) {
#ifdef BUG_RETANY
    return a + 1;
#endif
    if (kt_rule_may_promise(n, now.sete[a], a)) return a + 1;
  }
  return 0;
}
static void retire(int n) {
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
/* The override: the operator says that the only member is gone for good and was never promoted. True when its disk is
 * lost and nobody was promoted since. */
static int is_destroyed(int a) {
  int id = __builtin_ctz(now.setm[a] | 256);
#ifdef D_DESTROYALIVE
  return 1;
#endif
  return id < 8 && now.life[NODE_(id)] > id / 4 && now.promoted <= now.sete[a];
}
static int may_go_on(int a, int m) {
  int id, n;
  if (now.role[a] != ACTIVE || now.ln[a] >= LM || pc(now.setm[a]) != 1 || (m >> a & 1) || m >= 1 << NN || (m & now.ret) || !is_free(a)) return 0;
  id = __builtin_ctz(now.setm[a]);
  n = NODE_(id);
  if (m && (now.setm[a] >> ID(__builtin_ctz(m)) & 1)) return 0;
  if (RET(n) && ID(n) == id)
#ifdef D_RETANYONE
    return RT > 0;
#else
    return RT && now.rfa[n] == a && now.rfe[n] == now.sete[a];
#endif
  return now.bov && is_destroyed(a);
}
static void go_on(int a, int m) {
  int id = __builtin_ctz(now.setm[a]);
  if (!RET(NODE_(id))) now.bov--;
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

/* --- a lost disk is a lost member; a restore begins the next incarnation --- */
static int may_lose(int n) { return now.bdl && now.life[n] == 0 && !RET(n); }
static void lose(int n) {
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
  for (i = 0; i < NN; i++) if (i != n) now.vw[i * NN + n] = 0;
  LOG("disk of %c lost\n", NM(n));
}
static int may_restore(int n) { return now.brs && now.life[n] == 0 && now.ln[n] > 1 && now.ln[n] <= LM - 2 && !RET(n) && row(n); }
static void restore(int n) {
  int d;
  now.brs--;
  now.life[n] = 1;
  for (d = 0; d < ND; d++) if (find(n, C, d)) now.evis[1] |= 1 << d;
  for (d = 0; d < NN; d++) if (d != n) now.vw[d * NN + n] = 0;
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

/* --- L1: everything up, one deterministic retry --- */
static int without = -1; /* the node that heal() must do without */
static int try_to(int t) {
  int n, m = -1, w = 0;
  begin(0, t, now.promoted < RI ? RI - 1 : 7);
  for (n = 0; n < NN; n++) if (n != without && may_seal(0, n)) seal(0, n);
  for (n = 0; n < NN; n++) if (may_pass_floor(0, n)) pass_floor(0, n);
  for (n = 0; n < NN; n++) while (may_catch_up(0, n)) catch_up(0, n);
  for (n = 0; n < NN; n++) if (may_pass_floor(0, n)) pass_floor(0, n);
#ifdef HEALLIST
  { int mm; for (mm = 0; mm < 1 << NN; mm++) if (!(mm & now.ret) && (without < 0 || !(mm >> without & 1)) && may_promote(0, mm, mm ? 1 : 0)) { m = mm; w = mm ? 1 : 0; } }
#endif
  if (m < 0 && !may_promote(0, -1, 0)) return 0;
  promote(0, m, w);
  if (now.ln[t] >= LM) return 1;
#ifdef PROMOTEOK
  return 1;
#endif
  for (n = 0; n < NN; n++) if (n != without && may_attach(n, t)) attach(n, t);
  for (n = 0; n < NN; n++) if (n != without && may_rejoin(n, t, 0)) rejoin(n, t, 0);
  for (n = 0; n < NN; n++) if (n != without) while (may_stream(n)) stream(n);
  if (may_write_row(t)) write_row(t);
  for (n = 0; n < NN; n++) if (n != without) while (may_stream(n)) stream(n);
  for (n = 0; n < NN; n++) if (n != without && may_flush(n)) flush(n);
  return now.est[t];
}
static int heal(void) {
  State saved, tried;
  int t, ok = 0, was = is_shown;
  memcpy(&saved, &now, sizeof(State));
  is_shown = 0;
  now.bfo = 1;
  now.brj = 9;
  end_attempt(0);
  end_attempt(1);
  for (t = 0; t < NN && !ok; t++) {
    if (t == without) continue;
    memcpy(&tried, &now, sizeof(State));
    ok = try_to(t);
    memcpy(&now, &tried, sizeof(State));
  }
  memcpy(&now, &saved, sizeof(State));
  is_shown = was;
  return ok;
}
static int stuck(void) {
  int a, n, r = 0;
  (void)a;
  (void)n;
  without = -1;
#if LIVE == 1 /* everybody up */
  return !heal();
#endif
#if LIVE == 2 /* A gone for good before it followed B: B with the newcomer must open */
  if (now.prom[0] != 1 || now.ln[0] == 0 || (now.role[0] == ACTIVE && now.setm[0] != M0)) return 0;
  without = 0;
  r = !heal();
  without = -1;
#endif
#if LIVE == 3 /* an established pair in step, nothing under way: the passive must be promotable without the active */
  if (now.opc[0] || now.opc[1]) return 0;
  for (a = 0; a < NN && !r; a++) if (now.role[a] == ACTIVE && now.est[a] && now.prom[a] == now.sete[a] && as_row(a) && now.rel[a] == now.ln[a] && pc(now.setm[a]) == 1)
    for (n = 0; n < NN; n++) if ((now.setm[a] >> ID(n) & 1) && !RET(n) && now.up[n] == a && now.prom[n] == now.sete[a] && now.vw[a * NN + n] == now.ln[a] && is_same_log(n, a) && now.ln[n] == now.ln[a]) {
      without = a;
      r = !heal();
      without = -1;
    }
#endif
#if LIVE == 4 /* a first passive lost for good before any log held a row that names it */
  for (n = 0; n < NN; n++) for (a = 0; a < now.ln[n]; a++) if (TYPE(REC(n, a)) == E && MEMBERS_(REC(n, a))) return 0;
  without = 1;
  r = !heal();
  without = -1;
#endif
  return r;
}

static void start(void) {
  int n;
  is_shown = getenv("KT_TRAIL") != 0;
  for (n = 0; n < NN; n++) { now.up[n] = NONE; now.role[n] = STANDBY; }
  now.role[0] = ACTIVE;
  now.own[0] = 1;
  now.sete[0] = 1;
  now.setm[0] = M0;
  now.setw[0] = W0;
  now.tl[0] = 1;
  now.promoted = 1;
  for (n = 0; n < NN; n++) if (n == 0 || (M0 >> n & 1)) {
    now.prom[n] = 1;
    now.le[n] = 1;
    if (n) { now.up[n] = 0; now.nep[n] = 1; now.vw[n] = 1; }
    append(n, mk(E, 1, 0, M0, 1) | W0 << 16 | 1 << 26);
  }
  release(0);
}
