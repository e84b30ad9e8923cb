import type { Method } from './route.ts';

export type Fault = {
  /** How many calls; 1 if not said. */
  times?: number;
  method?: Method;
  /** As in `/v1/refunds`, and `/v1/subscriptions/*`. */
  path?: string;
  /**
   * `network`: the connection breaks before anything is done. `after`: all is done, but no answer comes. A status: that
   * error is answered, nothing is done, and an idempotency key does not keep it, unless `keep`.
   */
  how: 'network' | 'after' | 409 | 429 | 500 | 503;
  keep?: boolean;
};

/** Faults that wait for the calls that they fit. */
export class Faults {
  #waiting: Required<Pick<Fault, 'how' | 'times' | 'keep'>>[] = [];
  readonly #patterns = new WeakMap<object, { method: Method | undefined; path: RegExp }>();
  delayMs = 0;

  add({ times = 1, how, keep = false, method, path = '*' }: Fault): void {
    const fault = { times, how, keep };
    const escaped = path.replace(/[.+?^${}()|[\]\\]/g, '\\$&').replaceAll('*', '.*');
    this.#patterns.set(fault, { method, path: new RegExp(`^${escaped}$`) });
    this.#waiting.push(fault);
  }

  clear(): void {
    this.#waiting = [];
    this.delayMs = 0;
  }

  /** The first that fits this call, once. */
  take(method: string, path: string): { how: Fault['how']; keep: boolean } | null {
    const fault = this.#waiting.find((waiting) => {
      const wanted = this.#patterns.get(waiting);
      return wanted?.path.test(path) && (wanted.method === undefined || wanted.method === method);
    });
    if (!fault) return null;
    fault.times -= 1;
    if (fault.times <= 0) this.#waiting = this.#waiting.filter((waiting) => waiting !== fault);
    return fault;
  }
}
