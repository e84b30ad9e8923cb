import { doNext } from './billing/due.ts';
import type { World } from './world.ts';

/**
 * The time that this Stripe lives in. It stands still until it is advanced, or goes with the wall clock. What falls due on
 * the way is done in order, each at its own time.
 */
export class Clock {
  readonly #world: () => World;
  readonly #isRealTime: boolean;
  readonly #settled: () => Promise<void>;
  /** While something that was due earlier is being done. */
  #pinnedMs: number | null = null;

  /** `settled`: waits until the webhooks of a step have been delivered, where they go by themselves. */
  constructor(world: () => World, isRealTime: boolean, settled: () => Promise<void>) {
    this.#world = world;
    this.#isRealTime = isRealTime;
    this.#settled = settled;
  }

  /** Milliseconds since the epoch. */
  ms(): number {
    const { now } = this.#world().state;
    return this.#pinnedMs ?? (this.#isRealTime ? Date.now() + now : now);
  }

  now(): Date {
    return new Date(this.ms());
  }

  /** By milliseconds, or to a time. Never back. */
  async advance(by: number | Date): Promise<void> {
    const start = this.ms();
    const target = by instanceof Date ? by.getTime() : start + by;
    if (!(target >= start)) throw new RangeError('The clock does not go back.');
    try {
      while (this.#step(target)) await this.#settled();
    } finally {
      this.#pinnedMs = null;
    }
    this.#world().state.now += target - start;
  }

  /** Does what has fallen due while the wall clock went on. */
  catchUp(): void {
    if (!this.#isRealTime || this.#pinnedMs !== null) return;
    const now = this.ms();
    while (this.#step(now));
    this.#pinnedMs = null;
  }

  #step(target: number): boolean {
    return doNext(this.#world(), Math.floor(target / 1000), (seconds) => {
      this.#pinnedMs = Math.max(this.ms(), seconds * 1000);
    });
  }
}
