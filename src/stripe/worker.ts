import { setTimeout as sleep } from 'node:timers/promises';
import { claimStripeWork, failStripeWork, finishStripeWork, stripeLimits, type Work } from '../calls/billing.ts';
import type { Sql } from '../database/client.ts';
import { describeError, isFinal, isKeyRefused } from '../errors/stripe.ts';
import type { Log } from '../telemetry/log.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { StripeAccount } from './client.ts';
import { applyEvent } from './webhook.ts';
import { type Ask, perform } from './work.ts';

/** How many are claimed at once, and how many of them are done at once. */
const MOST_CLAIMED = 20;
const AT_ONCE = 4;
/** What was claimed longer ago than this is not begun any more: its claim of two minutes could end before it does. */
const BEGIN_WITHIN_MS = 45_000;
/** For how long the outcome of a piece of work is known. */
const REMEMBER_MS = 60_000;
const STOP_MS = 5_000;

/** `error` is what went wrong: tried again later, unless it `isFinal`. */
type Outcome = { done: true } | { done: false; isFinal: boolean; error: unknown };

/** Its claim ends, and then it is due again. */
const NOT_BEGUN: Outcome = { done: false, isFinal: false, error: new Error('it was not begun in time') };

export type StripeWorker = {
  /** There may be something to do. */
  nudge(): void;
  /** Until nothing is under way and nothing is due now. */
  idle(): Promise<void>;
  /** Does one piece of work at once; undefined where another server is doing it. */
  perform(workId: string): Promise<Outcome | undefined>;
  /** Begins nothing any more, and waits 5 s at most for what is under way. The claims of the rest end by themselves. */
  stop(): Promise<void>;
};

type WorkerParts = { sql: Sql; account: StripeAccount; log: Log; metrics?: Metrics | undefined };

/** Does at Stripe what the database has queued, and hands back what Stripe answered. Spec 6.1, 6.4. */
export function createWorker({ sql, account, log, metrics }: WorkerParts): StripeWorker {
  const stopping = new AbortController();
  const slots = createSlots(AT_ONCE);
  const pace = createPace();
  const known = new Map<string, Promise<Outcome>>();
  let claiming: Promise<void> = Promise.resolve();
  let working: Promise<void> | undefined;
  let isWanted = false;

  const ask: Ask = async (call) => {
    await pace.turn(stopping.signal);
    return call();
  };

  async function carryOut(work: Work, claimedAt: number): Promise<Outcome> {
    const { workId, kind, key } = work;
    if (stopping.signal.aborted || Date.now() - claimedAt > BEGIN_WITHIN_MS) return NOT_BEGUN;
    try {
      if (kind === 'apply_event') await applyEvent(sql, key, log);
      const result = kind === 'apply_event' ? null : await perform((await account.load()).stripe, work, ask);
      await finishStripeWork(sql, work, result);
      metrics?.stripeWork(kind, 'done');
      log.debug({ workId, kind, key }, 'Stripe work done');
      return { done: true };
    } catch (error) {
      return fail(work, error);
    }
  }

  async function fail({ workId, kind, key }: Work, error: unknown): Promise<Outcome> {
    const outcome = { done: false, isFinal: isFinal(error), error } as const;
    if (stopping.signal.aborted) return outcome;
    metrics?.stripeWork(kind, outcome.isFinal ? 'failed' : 'retried');
    log[outcome.isFinal || isKeyRefused(error) ? 'error' : 'warn']({ error, workId, kind, key }, 'Stripe work failed');
    try {
      await failStripeWork(sql, workId, describeError(error), outcome.isFinal);
    } catch (inBooks) {
      log.warn({ error: inBooks, workId }, 'failed Stripe work could not be booked; its claim will end');
    }
    return outcome;
  }

  /** What was claimed, each already under way or in line. */
  function claim(most: number, only: string | null, begin: typeof slots): Promise<Promise<Outcome>[]> {
    const claimed = claimStripeWork(sql, most, only).then((works) => {
      const now = Date.now();
      return works.map((work) =>
        remember(
          work.workId,
          begin(() => carryOut(work, now)),
        ),
      );
    });
    claiming = Promise.allSettled([claiming, claimed]).then(() => undefined);
    return claimed;
  }

  function remember(workId: string, outcome: Promise<Outcome>): Promise<Outcome> {
    known.set(workId, outcome);
    const forget = () => {
      if (known.get(workId) === outcome) known.delete(workId);
    };
    void outcome.then(() => setTimeout(forget, REMEMBER_MS).unref());
    return outcome;
  }

  async function workOff(): Promise<void> {
    do {
      isWanted = false;
      try {
        pace.perSecond((await stripeLimits(sql)).maxRps);
        while (!stopping.signal.aborted) {
          const begun = await claim(MOST_CLAIMED, null, slots);
          if (begun.length === 0) break;
          await Promise.all(begun);
        }
      } catch (error) {
        if (!stopping.signal.aborted) log.warn({ error }, 'Stripe work could not be looked at');
      }
    } while (isWanted && !stopping.signal.aborted);
    working = undefined;
  }

  function nudge(): void {
    isWanted = true;
    if (!stopping.signal.aborted) working ??= workOff();
  }

  return {
    nudge,

    async idle() {
      nudge();
      await working;
      await Promise.all(known.values());
    },

    async perform(workId) {
      const [outcome] = await claim(1, workId, (work) => work());
      if (outcome !== undefined) return outcome;
      await claiming; // it may have been claimed here a moment ago
      return known.get(workId);
    },

    async stop() {
      stopping.abort();
      const over = new AbortController();
      const late = sleep(STOP_MS, undefined, { signal: over.signal }).catch(() => undefined);
      await Promise.race([Promise.all([working, ...known.values()]), late]);
      over.abort();
    },
  };
}

/** Lets `most` go on at once, the others in line. */
function createSlots(most: number): <T>(work: () => Promise<T>) => Promise<T> {
  const waiting: (() => void)[] = [];
  let free = most;
  return async (work) => {
    if (free > 0) free -= 1;
    else await new Promise<void>((begin) => waiting.push(begin));
    try {
      return await work();
    } finally {
      const next = waiting.shift();
      if (next === undefined) free += 1;
      else next();
    }
  };
}

/** Gives out turns, evenly, so many a second. */
function createPace(): { perSecond(most: number): void; turn(signal: AbortSignal): Promise<void> } {
  let gapMs = 100;
  let next = 0;
  return {
    perSecond: (most) => {
      gapMs = 1_000 / most;
    },
    async turn(signal) {
      const now = performance.now();
      const mine = Math.max(now, next);
      next = mine + gapMs;
      if (mine > now) await sleep(mine - now, undefined, { signal });
    },
  };
}
