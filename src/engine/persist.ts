import { setTimeout as sleep } from 'node:timers/promises';
import { isPassing } from '../errors/database.ts';

const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 2_000;

/**
 * Does an idempotent write again and again while the database is away or cannot do it. Throws other errors at once, and the
 * last one when `signal` is aborted or the time is over.
 */
export async function persist<T>(write: () => Promise<T>, timeoutMs: number, signal: AbortSignal): Promise<T> {
  const deadline = Date.now() + timeoutMs;
  for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(pause * 2, LONGEST_PAUSE_MS)) {
    try {
      return await write();
    } catch (error) {
      if (!isPassing(error) || signal.aborted || Date.now() + pause > deadline) throw error;
      await sleep(pause, undefined, { signal }).catch(() => undefined);
    }
  }
}
