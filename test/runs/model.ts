// What the specification says of runs, limits and credits, once more and as plainly as can be: no cached figure, every
// window summed over runs. It shares nothing with the database but the rules. Money is in whole 1e-12 dollars.

export type Money = bigint;
/** Of decimal dollars as the database writes them. */
export const asMoney = (text: string): Money => {
  const [whole = '0', rest = ''] = text.split('.');
  return BigInt(whole + rest.padEnd(12, '0').slice(0, 12));
};
export const dollars = (amount: number): Money => BigInt(Math.round(amount * 1e6)) * 1_000_000n;

const minute = 60_000;
const day = 24 * 60 * minute;
const kinds = ['monthly', 'rollover', 'signup', 'bonus', 'purchased'] as const;
type Kind = (typeof kinds)[number];

export type Limits = {
  month: Money | null;
  day: Money | null;
  hour: number | null;
  minute: number | null;
  enforced: boolean;
};
type ModelRow = { multiplier: number; exact: boolean; maxOutput: number } & Price;
/** A token's price by kind. */
export type Price = { input: Money; cached: Money; cacheWrite: Money; output: Money };

type Lot = {
  kind: Kind;
  order: number;
  granted: number;
  remaining: number;
  /** What of it was booked as expired. */
  lost: number;
  expires: number;
  period?: { start: number; end: number };
  rollsInto?: { lot?: Lot };
};
/** `paid` and `refunded` in cents. */
type Purchase = {
  id: string;
  credits: number;
  paid: number;
  refunded: number;
  takenBack: number;
  shortfall: number;
  lot: Lot;
};
export type Run = {
  id: string;
  session: Session;
  model: string;
  status: string;
  startedAt: number;
  price: Price;
  multiplier: number;
  ownTokens: number;
  estimated: number;
  heldInput: number;
  cap: number;
  dropped: number;
  included: number;
  purchased: number;
  counts: boolean;
  holdCost: Money;
  holdExpires: number;
  soFar?: { output: number; input: number | null; answer: string };
  answer: string;
  output: number;
  cost: Money;
  limited: Money;
  charged: [Lot, number][];
  credits: number;
  shortfall: number;
  gaveRequestBack: boolean;
  refunded?: true;
};
export type Session = { id: string; runs: Run[] };
type Throttle = { by: 'limit' | 'operator' | null; until: number | null };

export type Report = {
  ending: 'completed' | 'length' | 'stopped' | 'failed' | 'expired';
  called: boolean;
  input: number | null;
  cached?: number;
  cacheWrite?: number;
  output: number;
  answer: string;
};
export type Wanted = {
  run: string;
  model: string;
  tokens: number;
  wish: number | null;
  session: Session | null;
  dropOldest?: boolean;
};
/** A request: tokens read, as estimated and as held for, and of the answer, wanted and the least that is useful. */
type Sized = {
  model: ModelRow;
  estimated: number;
  heldInput: number;
  wanted: number;
  useful: number;
  dropped: number;
};

const startOf = (unit: 'hour' | 'day' | 'month', now: number) => {
  const at = new Date(now);
  if (unit === 'hour') return Date.UTC(at.getUTCFullYear(), at.getUTCMonth(), at.getUTCDate(), at.getUTCHours());
  return Date.UTC(at.getUTCFullYear(), at.getUTCMonth(), unit === 'day' ? at.getUTCDate() : 1);
};

/** The same day and time a month later, the last day where that month is shorter. */
export function monthLater(instant: number): number {
  const at = new Date(instant);
  const lastDay = new Date(Date.UTC(at.getUTCFullYear(), at.getUTCMonth() + 2, 0)).getUTCDate();
  const sameTime = instant - startOf('day', instant);
  return Date.UTC(at.getUTCFullYear(), at.getUTCMonth() + 1, Math.min(at.getUTCDate(), lastDay)) + sameTime;
}

const sum = <T>(list: T[], value: (item: T) => number) => list.reduce((total, item) => total + value(item), 0);
const total = <T>(list: T[], value: (item: T) => Money) => list.reduce((all, item) => all + value(item), 0n);
const least = (...values: (Money | null)[]): Money | null =>
  values.reduce((a, b) => (a === null ? b : b === null ? a : a < b ? a : b), null);

/** What everyone shares: the operator's tables. */
export type Rules = {
  models: Record<string, ModelRow>;
  tiers: Record<string, Limits>;
  maxRollover: number;
  promptTokens: number;
};

export class Person {
  tier = 'free';
  waivedUntil = 0;
  throttle: Throttle | null = null;
  readonly lots: Lot[] = [];
  readonly purchases: Purchase[] = [];
  readonly runs: Run[] = [];
  readonly sessions: Session[] = [];
  open: Run[] = [];
  private attempts = { count: 0, until: 0 };
  private granted = 0;
  readonly id: string;
  private readonly rules: Rules;

  constructor(id: string, rules: Rules, signup: number) {
    this.id = id;
    this.rules = rules;
    this.grant('signup', signup, Number.POSITIVE_INFINITY);
  }

  // ── credits ──

  grant(kind: Kind, amount: number, expires: number): Lot {
    const lot: Lot = { kind, order: this.granted++, granted: amount, remaining: amount, lost: 0, expires };
    if (amount > 0) this.lots.push(lot);
    return lot;
  }

  private inOrder(): Lot[] {
    return this.lots
      .filter((lot) => lot.remaining > 0)
      .sort(
        (a, b) =>
          kinds.indexOf(a.kind) - kinds.indexOf(b.kind) ||
          (a.expires === b.expires ? a.order - b.order : a.expires - b.expires),
      );
  }

  credits(purchased: boolean): number {
    return sum(
      this.lots.filter((lot) => (lot.kind === 'purchased') === purchased),
      (lot) => lot.remaining,
    );
  }
  held(purchased: boolean): number {
    return sum(this.open, (run) => (purchased ? run.purchased : run.included));
  }
  free(purchased: boolean): number {
    return this.credits(purchased) - this.held(purchased);
  }

  /** Each lot with what running runs hold in it: holds bind what would be spent first. */
  private heldByLot(): [Lot, number][] {
    const left = { true: this.held(true), false: this.held(false) };
    return this.inOrder().map((lot) => {
      const side = lot.kind === 'purchased' ? 'true' : 'false';
      const held = Math.min(lot.remaining, left[side]);
      left[side] -= held;
      return [lot, held];
    });
  }

  /** Takes what has expired or is asked back, but for what running runs hold (4.3, 4.5, 4.6). */
  private tidy(now: number) {
    const isDue = ([lot, held]: [Lot, number]) => lot.expires <= now && lot.remaining > held;
    // What rolls over late may roll into what has expired itself.
    for (let due = this.heldByLot().filter(isDue); due.length > 0; due = this.heldByLot().filter(isDue)) {
      for (const [lot, held] of due) {
        const rest = lot.remaining - held;
        lot.remaining = held;
        if (lot.rollsInto !== undefined) this.rollOver(lot, lot.rollsInto, rest);
        else lot.lost += rest;
      }
    }
    for (const purchase of this.purchases) if (purchase.shortfall > 0) this.refund(purchase, purchase.refunded);
  }

  private rollOver(from: Lot, target: { lot?: Lot }, amount: number) {
    const rolled = Math.min(amount, Math.max(0, this.rules.maxRollover - (target.lot?.granted ?? 0)));
    if (rolled === 0) return;
    if (target.lot === undefined) {
      target.lot = this.grant('rollover', rolled, monthLater(from.period?.end ?? 0));
      if (from.period) target.lot.period = from.period;
    } else {
      target.lot.granted += rolled;
      target.lot.remaining += rolled;
    }
  }

  payPeriod(start: number, end: number, credits: number, paidAt: number, now: number) {
    const rollsInto = {};
    for (const lot of this.lots) {
      if (!lot.period || lot.period.start >= start) continue;
      lot.expires = Math.min(lot.expires, start);
      if (lot.kind !== 'monthly' || lot.rollsInto || lot.period.end <= start - day || paidAt > lot.period.end + 3 * day)
        continue;
      lot.rollsInto = rollsInto;
      lot.remaining += lot.lost;
      lot.lost = 0;
    }
    this.tidy(now);
    this.grant('monthly', credits, end + 3 * day).period = { start, end };
    this.tidy(now); // holds bind the new credits first
  }

  buy(id: string, credits: number, paid: number) {
    const lot = this.grant('purchased', credits, Number.POSITIVE_INFINITY);
    this.purchases.push({ id, credits, paid, refunded: 0, takenBack: 0, shortfall: 0, lot });
  }

  refund(purchase: Purchase, refunded: number) {
    const due = Math.floor((purchase.credits * refunded) / purchase.paid) - purchase.takenBack;
    const held = this.heldByLot().find(([lot]) => lot === purchase.lot)?.[1] ?? 0;
    const taken = Math.min(due, purchase.lot.remaining - held);
    purchase.refunded = refunded;
    purchase.lot.remaining -= taken;
    purchase.takenBack += taken;
    purchase.shortfall = Math.max(0, due - taken);
  }

  /** What could be revoked now: expired credits are none, and rolled over ones are. */
  revocable(now: number): number {
    const lost = sum(this.heldByLot(), ([lot, held]) => (lot.expires <= now ? lot.remaining - held : 0));
    return this.free(false) + this.free(true) - lost;
  }

  revoke(amount: number, now: number) {
    this.tidy(now);
    let left = amount;
    for (const [lot, held] of this.heldByLot()) {
      const part = Math.min(left, lot.remaining - held);
      lot.remaining -= part;
      left -= part;
    }
  }

  // ── windows ──

  private runsSince(unit: 'hour' | 'day' | 'month', now: number): Run[] {
    const from = startOf(unit, now);
    return this.runs.filter((run) => run.startedAt >= from);
  }
  cost(unit: 'day' | 'month', now: number): Money {
    return total(this.runsSince(unit, now), (run) => run.cost);
  }
  limited(unit: 'day' | 'month', now: number): Money {
    return total(this.runsSince(unit, now), (run) => run.limited);
  }
  heldCost(unit: 'day' | 'month', now: number): Money {
    return total(this.runsSince(unit, now), (run) => (run.counts && this.open.includes(run) ? run.holdCost : 0n));
  }
  requests(now: number): number {
    return this.runsSince('hour', now).filter((run) => !run.gaveRequestBack).length;
  }

  get limits(): Limits {
    const limits = this.rules.tiers[this.tier];
    if (limits === undefined) throw new Error(`no tier ${this.tier}`);
    return limits;
  }

  private heldByOperator(now: number): boolean {
    const { throttle } = this;
    if (throttle === null) return false;
    return throttle.by === null || (throttle.by === 'operator' && (throttle.until ?? Number.POSITIVE_INFINITY) > now);
  }

  /** Sets or ends the throttle of a used-up window (3.4). */
  judge(now: number) {
    if (this.heldByOperator(now)) return;
    const enough =
      256n * Object.values(this.rules.models).reduce((a, { output }) => (output < a ? output : a), dollars(9));
    const { limits } = this;
    const usedUp = (unit: 'day' | 'month') => {
      const limit = limits[unit];
      return limit !== null && limit - this.limited(unit, now) < enough;
    };
    const over = limits.enforced && this.waivedUntil <= now && (usedUp('day') || usedUp('month'));
    const until = usedUp('month') ? startOf('month', monthLater(startOf('month', now))) : startOf('day', now) + day;
    this.throttle = over ? { by: 'limit', until } : null;
  }

  /** What the job does for throttles that are past their end. */
  endThrottle(now: number) {
    if (this.throttle !== null && this.throttle.until !== null && this.throttle.until <= now) this.judge(now);
  }

  // ── runs ──

  begin(asked: Wanted, now: number): { refusal: string } | { run: Run } {
    this.comeTo(now);
    this.attempts.count += 1;
    const answer = this.admit(asked, now);
    if ('refusal' in answer && answer.refusal.endsWith('cost_limit')) this.judge(now);
    return answer;
  }

  /** All sides or none (5.8). A refusal says which side, counted from 1, could not be run alone; null: all together cannot. */
  compare(sides: Wanted[], now: number): { refusal: string; side: number | null } | { runs: Run[] } {
    this.comeTo(now);
    const refused = (refusal: string, side: number | null) => {
      this.attempts.count += 1;
      if (refusal.endsWith('cost_limit')) this.judge(now);
      return { refusal, side };
    };
    const sized: Sized[] = [];
    for (const [place, side] of sides.entries()) {
      const answer = this.weigh(side, now, this.attempts.count + 1);
      if ('refusal' in answer) return refused(answer.refusal, place + 1);
      sized.push(answer);
    }
    const { minute: attempts, hour } = this.limits;
    if (attempts !== null && this.attempts.count + sides.length > attempts) return refused('rate_limited', null);
    if (hour !== null && this.requests(now) + sides.length > hour) return refused('hourly_request_limit', null);
    const division = this.divide(sized, now);
    if ('refusal' in division) return refused(division.refusal, null);

    const before = this.throttle;
    const count = this.attempts.count;
    const runs: Run[] = [];
    for (const [turn, { place, cap }] of division.turns.entries()) {
      const [side, run] = [sides[place], sides[turn]?.run];
      if (side === undefined || run === undefined) throw new Error('a turn is a side');
      this.attempts.count += 1;
      const answer = this.admit({ ...side, run, wish: cap }, now);
      if ('refusal' in answer) {
        for (const one of Object.values(runs)) this.takeBack(one);
        this.throttle = before;
        this.attempts.count = count;
        return refused(answer.refusal, place + 1);
      }
      runs[place] = answer.run;
    }
    return { runs };
  }

  /** What has passed since the last use. */
  private comeTo(now: number) {
    this.expire(now);
    this.tidy(now);
    if (now >= this.attempts.until) this.attempts = { count: 0, until: now + minute };
  }

  private takeBack(run: Run) {
    this.runs.splice(this.runs.indexOf(run), 1);
    this.open = this.open.filter((other) => other !== run);
    run.session.runs.splice(run.session.runs.indexOf(run), 1);
    if (run.session.runs.length === 0) this.sessions.splice(this.sessions.indexOf(run.session), 1);
  }

  /** What a cost window has left, holds counted or not; null where nothing bounds it. */
  private left(unit: 'day' | 'month', holds: boolean, now: number): Money | null {
    const limit = this.limits[unit];
    if (limit === null || !this.limits.enforced || this.waivedUntil > now) return null;
    return limit - this.limited(unit, now) - (holds ? this.heldCost(unit, now) : 0n);
  }
  private leftOfBoth(holds: boolean, now: number): Money | null {
    return least(this.left('day', holds, now), this.left('month', holds, now));
  }

  /** How large it is, or why it cannot be run whatever credits and windows can bear. */
  private size(asked: Wanted, now: number, attempts: number): { refusal: string } | Sized {
    const { limits } = this;
    if (limits.minute !== null && attempts > limits.minute) return { refusal: 'rate_limited' };
    if (this.heldByOperator(now)) return { refusal: 'throttled' };
    if (limits.hour !== null && this.requests(now) >= limits.hour) return { refusal: 'hourly_request_limit' };
    const model = this.rules.models[asked.model];
    if (model === undefined) return { refusal: 'model_not_found' };
    const { session } = asked;
    if (session?.runs.at(-1)?.status === 'running') return { refusal: 'session_busy' };

    const wish = asked.wish ?? 1e9;
    const longest = Math.min(wish, model.maxOutput, 4_096);
    const useful = Math.min(256, wish);
    const own = asked.tokens + this.rules.promptTokens;
    let said = session?.runs.filter((run) => run.answer !== '') ?? [];
    const all = said.length;
    if (asked.dropOldest) {
      const rest = 20_000 - own;
      said = newest(said, Math.min(rest - useful, Math.max(rest - longest, Math.trunc(rest / 2))));
    }
    const exact = model.exact && said.every((run) => run.model === asked.model);
    const estimated = own + sum(said, shareOf);
    const heldInput = exact ? estimated : Math.ceil((estimated * 13) / 10);
    const wanted = Math.min(longest, 20_000 - estimated);
    return { model, estimated, heldInput, wanted, useful, dropped: all - said.length };
  }

  /** The same, and that credits and windows can bear it where nothing else begins. */
  private weigh(asked: Wanted, now: number, attempts: number): { refusal: string } | Sized {
    const sized = this.size(asked, now, attempts);
    if ('refusal' in sized) return sized;
    const { useful } = sized;
    const fit = fitted(sized, this.free(false), this.free(true), this.leftOfBoth(true, now));
    if (fit.cap >= useful) return sized;
    if (20_000 - sized.estimated < useful) return { refusal: 'request_too_large' };
    const unheld = fitted(sized, this.credits(false), this.credits(true), this.leftOfBoth(false, now));
    if (unheld.cap >= useful) return { refusal: 'held_by_other_runs' };
    if (this.credits(false) + this.credits(true) < chargeOf(sized, useful)) return { refusal: 'insufficient_credits' };
    const monthLeft = this.left('month', false, now);
    const isMonth = monthLeft !== null && monthLeft < costOf(sized, useful);
    return { refusal: isMonth ? 'monthly_cost_limit' : 'daily_cost_limit' };
  }

  /** What is left above the least of each side is divided evenly; the one that needs least comes first (5.8). */
  private divide(sides: Sized[], now: number): { refusal: string } | { turns: { place: number; cap: number }[] } {
    const needs = sides.map((side, place) => {
      return { side, place, credits: chargeOf(side, side.useful), cost: costOf(side, side.useful) };
    });
    needs.sort((a, b) => a.credits - b.credits || Number(a.cost - b.cost) || a.place - b.place);
    let credits = sum(needs, (one) => one.credits);
    let cost = total(needs, (one) => one.cost);
    const needed = { credits, cost };
    let [included, purchased] = [this.free(false), this.free(true)];
    let costLeft = this.leftOfBoth(true, now);
    const turns: { place: number; cap: number }[] = [];
    for (const [turn, { side, place, ...least }] of needs.entries()) {
      const count = needs.length - turn;
      const spare = Math.trunc((included + purchased - credits) / count);
      if (included + purchased < credits) return { refusal: this.cannotBear(needed, now) };
      const allowed = least.credits + spare;
      const ofIncluded = Math.min(included, allowed);
      const share = costLeft === null ? null : least.cost + (costLeft - cost) / BigInt(count);
      let fit = fitted(side, ofIncluded, allowed - ofIncluded, share);
      if (fit.cap < side.wanted && purchased > 0) {
        const most = least.credits + Math.trunc(Math.max(0, purchased - credits) / count);
        const alone = fitted(side, 0, Math.min(purchased, most), null);
        if (alone.cap > fit.cap) fit = { cap: alone.cap, alone: true };
      }
      if (fit.cap < side.useful) return { refusal: this.cannotBear(needed, now) };
      const charged = chargeOf(side, fit.cap);
      const fromIncluded = fit.alone ? 0 : Math.min(ofIncluded, charged);
      included -= fromIncluded;
      purchased -= charged - fromIncluded;
      if (fromIncluded > 0 && costLeft !== null) costLeft -= costOf(side, fit.cap);
      credits -= least.credits;
      cost -= least.cost;
      turns.push({ place, cap: fit.cap });
    }
    return { turns };
  }

  private cannotBear(needed: { credits: number; cost: Money }, now: number): string {
    const balance = this.credits(false) + this.credits(true);
    const bounds = this.leftOfBoth(false, now);
    const canPay = bounds === null || needed.cost <= bounds || needed.credits <= this.credits(true);
    if (this.open.length > 0 && needed.credits <= balance && canPay) return 'held_by_other_runs';
    if (balance < needed.credits) return 'insufficient_credits';
    const [month, today] = [this.left('month', false, now), this.left('day', false, now)];
    if (this.credits(false) > 0 && month !== null && month < needed.cost) return 'monthly_cost_limit';
    if (this.credits(false) > 0 && today !== null && today < needed.cost) return 'daily_cost_limit';
    return 'purchased_credit_cost';
  }

  private admit(asked: Wanted, now: number): { refusal: string } | { run: Run } {
    const sized = this.weigh(asked, now, this.attempts.count);
    if ('refusal' in sized) return sized;
    const { model, estimated, heldInput, dropped } = sized;
    const { session } = asked;
    const fit = fitted(sized, this.free(false), this.free(true), this.leftOfBoth(true, now));
    const credits = chargeOf(sized, fit.cap);
    const included = fit.alone ? 0 : Math.min(this.free(false), credits);
    const run: Run = {
      ...{ id: asked.run, model: asked.model, status: 'running', startedAt: now, multiplier: model.multiplier },
      ...{ price: { ...model }, ownTokens: asked.tokens, estimated, heldInput, cap: fit.cap, dropped },
      ...{
        included,
        purchased: credits - included,
        counts: included > 0,
        holdCost: costOf(sized, fit.cap),
        holdExpires: now + minute,
      },
      ...{
        answer: '',
        output: 0,
        cost: 0n,
        limited: 0n,
        charged: [],
        credits: 0,
        shortfall: 0,
        gaveRequestBack: false,
      },
      session: session ?? { id: asked.run, runs: [] },
    };
    run.session.runs.push(run);
    if (session === null) this.sessions.push(run.session);
    this.runs.push(run);
    this.open.push(run);
    if (this.throttle !== null) this.judge(now);
    return { run };
  }

  /** Ends runs whose hold has expired: with text charged, without it not. */
  expire(now: number) {
    for (const run of this.open.filter(({ holdExpires }) => holdExpires <= now)) {
      const { output = 0, input = null, answer = '' } = run.soFar ?? {};
      this.settle(run, { ending: 'expired', called: true, input, output, answer }, now);
    }
  }

  /** A run that was taken for dead ends after all: undo what the expiry booked, hold what is free by now (5.3). */
  private reopen(run: Run) {
    for (const [lot, part] of run.charged) lot.remaining += part;
    run.included = Math.min(run.included, Math.max(0, this.free(false)));
    run.purchased = run.counts && run.included === 0 ? 0 : Math.min(run.purchased, Math.max(0, this.free(true)));
    if (run.included + run.purchased === 0) run.counts = true; // nothing purchased is left to pay it
    run.cost = 0n;
    run.limited = 0n;
    run.charged = [];
    run.holdCost = 0n;
    run.status = 'running';
    this.open.push(run);
  }

  /** An operator gives its credits back; its cost stays. */
  refundRun(run: Run, now: number) {
    for (const [lot, part] of run.charged) lot.remaining += part;
    Object.assign(run, { charged: [], credits: 0, shortfall: 0, refunded: true });
    this.tidy(now);
  }

  settle(run: Run, report: Report, now: number) {
    if (run.status === 'expired') this.reopen(run);
    if (run.status !== 'running') return;
    this.tidy(now);
    const cached = report.called ? (report.cached ?? 0) : 0;
    const cacheWrite = report.called ? (report.cacheWrite ?? 0) : 0;
    const input = report.called ? Math.max(report.input ?? run.estimated, cached + cacheWrite) : 0;
    const output = report.called ? report.output : 0;
    const charged =
      report.answer !== '' ||
      ['completed', 'length'].includes(report.ending) ||
      (report.ending === 'stopped' && report.called);
    const due = charged ? charge(input + output, run.multiplier) : 0;

    // Its own hold first, included before purchased; above it what nobody holds, in the order that pays it.
    const pays = { included: Math.min(due, run.included), purchased: 0 };
    pays.purchased = Math.min(due - pays.included, run.purchased);
    const order = run.included === 0 ? (['purchased', 'included'] as const) : (['included', 'purchased'] as const);
    const freeAtEnd = { included: this.free(false), purchased: this.free(true) };
    for (const side of order) {
      pays[side] += Math.min(due - pays.included - pays.purchased, freeAtEnd[side]);
    }

    run.charged = [];
    const owed = { ...pays };
    for (const lot of this.inOrder()) {
      const side = lot.kind === 'purchased' ? 'purchased' : 'included';
      const part = Math.min(owed[side], lot.remaining);
      if (part === 0) continue;
      owed[side] -= part;
      lot.remaining -= part;
      run.charged.push([lot, part]);
    }

    run.credits = pays.included + pays.purchased;
    run.shortfall = due - run.credits;
    run.cost =
      BigInt(input - cached - cacheWrite) * run.price.input +
      BigInt(cached) * run.price.cached +
      BigInt(cacheWrite) * run.price.cacheWrite +
      BigInt(output) * run.price.output;
    run.limited = !run.counts && pays.included === 0 ? 0n : share(run.cost, due - pays.purchased, due);
    run.output = output;
    run.answer = report.answer;
    run.status =
      report.ending === 'expired'
        ? 'expired'
        : !charged
          ? 'released'
          : report.ending === 'length'
            ? 'completed'
            : report.ending;
    run.gaveRequestBack = run.status === 'released' && report.ending === 'failed';
    this.open = this.open.filter((other) => other !== run);
    this.tidy(now);
    if (run.cost > 0n || this.throttle !== null) this.judge(now);
    if (run.refunded) this.refundRun(run, now);
  }
}

/** 1.1: each begun 5,000 tokens is one, times the multiplier, rounded up. */
function charge(tokens: number, multiplier: number): number {
  return Math.ceil(Math.max(1, Math.ceil(tokens / 5_000)) * multiplier);
}

/** cost × part / whole to twelve decimals; all of it where there is nothing to divide. */
function share(cost: Money, part: number, whole: number): Money {
  if (part === whole) return cost;
  return (2n * cost * BigInt(part) + BigInt(whole)) / (2n * BigInt(whole));
}

const costOf = ({ model, heldInput }: Sized, output: number): Money =>
  BigInt(heldInput) * (model.input > model.cacheWrite ? model.input : model.cacheWrite) + BigInt(output) * model.output;
const chargeOf = ({ model, heldInput }: Sized, output: number) => charge(heldInput + output, model.multiplier);

/** The longest answer that so many credits, and dollars where they are bounded, can bear in the worst case; -1: none. */
function longestFor(sized: Sized, credits: number, dollarsLeft: Money | null): number {
  const fits = (output: number) =>
    chargeOf(sized, output) <= credits && (dollarsLeft === null || costOf(sized, output) <= dollarsLeft);
  let [low, high] = [-1, Math.max(-1, sized.wanted)];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (fits(middle)) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** The same with included credits before purchased ones, or on purchased ones alone where that allows more (3.3). */
function fitted(sized: Sized, included: number, purchased: number, dollarsLeft: Money | null) {
  const mixed = included > 0 ? longestFor(sized, included + purchased, dollarsLeft) : -1;
  const alone = longestFor(sized, purchased, null);
  const cut = included === 0 || mixed < longestFor(sized, included + purchased, null);
  return cut && alone > mixed ? { cap: alone, alone: true } : { cap: mixed, alone: false };
}

/** What an exchange adds to the next request of its session. */
const shareOf = (run: Run) => run.ownTokens + run.output + 8;

/** The newest exchanges that fit into so many tokens; ids stand for the order of time. */
function newest(said: Run[], room: number): Run[] {
  const kept: Run[] = [];
  for (const run of said.toSorted((a, b) => (a.id < b.id ? 1 : -1))) {
    if (sum(kept, shareOf) + shareOf(run) > room) break;
    kept.push(run);
  }
  return kept;
}
