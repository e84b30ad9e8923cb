import { ApiError } from '../errors.ts';
import type { KeptAnswer, State } from '../state.ts';

const DAY_MS = 24 * 60 * 60 * 1000;

/** Keys of requests that are being carried out just now. */
export class Idempotency {
  readonly #busy = new Set<string>();

  /** The answer that this key has had; null if it is new, and then it is in use until `end`. */
  begin(state: State, key: string, fingerprint: string, nowMs: number): KeptAnswer | null {
    if (this.#busy.has(key)) {
      throw new ApiError(409, `There is currently another in-progress request using this Idempotency Key (${key}).`, {
        type: 'idempotency_error',
        code: 'idempotency_key_in_use',
        began: false,
      });
    }
    const kept = Object.hasOwn(state.keys, key) ? state.keys[key] : undefined;
    if (kept && nowMs - kept.at < DAY_MS) {
      if (kept.fingerprint === fingerprint) return kept;
      const message =
        'Keys for idempotent requests can only be used with the same parameters they were first used with.';
      throw new ApiError(400, `${message} Try using a key other than '${key}'.`, {
        type: 'idempotency_error',
        began: false,
      });
    }
    this.#busy.add(key);
    return null;
  }

  /** `answer` is kept for a day; null where the work never began, and then the key is as if it had not been used. */
  end(state: State, key: string, answer: KeptAnswer | null): void {
    this.#busy.delete(key);
    if (!answer) return;
    state.keys[key] = answer;
    for (const [old, { at }] of Object.entries(state.keys)) {
      if (answer.at - at < DAY_MS) break; // they stand in the order in which they were used
      delete state.keys[old];
    }
  }
}
