// What a person's books must be, told once more from the specification and from what the world outside knows: the provider's
// own count of tokens, Stripe's own payments, and what operators were told. Nothing of it comes from sums in the database.
import { monthLater } from '../runs/model.ts';

/** Dollars a million tokens. */
export type Price = { input: number; output: number };

/** A period that was paid at Stripe: instants in milliseconds, refunds in cents. */
type PaidPeriod = { start: number; end: number; paid: number; refunded: number; subscription: string };
/** A pack that was paid at Stripe, in cents. */
type PaidPack = { purchase: string; paid: number; refunded: number };
/** Credits that runs took from one lot, net of what operators gave back. */
type Spent = ReadonlyMap<string, number>;

/** What the world knows of one person. `spent` by lot: signup, bonus, a purchase's id, or monthly/start, rollover/start. */
export type Facts = {
  now: number;
  signup: number;
  granted: number;
  packs: readonly PaidPack[];
  periods: readonly PaidPeriod[];
  /** Subscriptions that have ended: what is left of their last period ends with it. */
  ended: ReadonlySet<string>;
  spent: Spent;
};

export type Expected = { signup: number; bonus: number; purchased: number; monthly: number; rollover: number };

const DAY = 86_400_000;
const MONTHLY = 100;
const PACK = 100;
const MOST_ROLLED = 200;
const GRACE = 3 * DAY;

/** Spec 1.1, at one credit for 5,000 tokens and a multiplier of one. */
export const creditsFor = (tokens: number): number => Math.max(1, Math.ceil(tokens / 5_000));

/** In whole 1e-12 dollars. */
export const costOf = (tokens: { input: number; output: number }, price: Price): bigint =>
  BigInt(tokens.input) * BigInt(price.input) * 1_000_000n + BigInt(tokens.output) * BigInt(price.output) * 1_000_000n;

/** Credits by kind, in closed form, when nothing is held: the order in which all became known changes nothing (spec 4.3 to 4.6). */
export function expectedCredits(facts: Facts): Expected {
  const spent = (lot: string) => facts.spent.get(lot) ?? 0;
  const back = (credits: number, { paid, refunded }: { paid: number; refunded: number }) =>
    paid === 0 ? 0 : Math.floor((credits * refunded) / paid);
  const left = (credits: number) => Math.max(0, credits);

  const periods = facts.periods.toSorted((a, b) => a.start - b.start);
  let [monthly, rollover] = [0, 0];
  for (const [i, period] of periods.entries()) {
    const unspent = MONTHLY - spent(`monthly/${period.start}`) - back(MONTHLY, period);
    const next = periods[i + 1];
    if (next === undefined) {
      const ends = facts.ended.has(period.subscription) ? period.end : period.end + GRACE;
      if (facts.now < ends) monthly += left(unspent);
    } else if (period.end > next.start - DAY) {
      const ends = Math.min(monthLater(period.end), periods[i + 2]?.start ?? Number.POSITIVE_INFINITY);
      const rolled = Math.min(MOST_ROLLED, left(unspent));
      if (facts.now < ends) rollover += left(rolled - spent(`rollover/${period.start}`));
    }
  }
  return {
    signup: facts.signup - spent('signup'),
    bonus: facts.granted - spent('bonus'),
    purchased: facts.packs.reduce((all, pack) => all + left(PACK - spent(pack.purchase) - back(PACK, pack)), 0),
    monthly,
    rollover,
  };
}

/** Whether the paid periods entitle: true, false, or null within the grace, which turns on more than they say (spec 2.5). */
export function isEntitled({ now, periods, ended }: Facts): boolean | null {
  const last = periods.reduce<PaidPeriod | null>((a, b) => (a === null || b.end > a.end ? b : a), null);
  if (last === null || now >= last.end + GRACE) return false;
  if (now < last.end) return true;
  return ended.has(last.subscription) ? false : null;
}
