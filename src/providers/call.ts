import { setTimeout as sleep } from 'node:timers/promises';
import { unavailable, withoutNul } from './failure.ts';
import type { Adapter, CallOptions, Failure, ProviderCall, ProviderResult, Sink, TokenCounts } from './provider.ts';

/** Waits before the second and the third attempt, where the provider names none; milliseconds. */
const BACKOFF_MS = [200, 600];
/** A provider that asks for a longer pause than this is not asked again; the caller is told instead. */
const LONGEST_PAUSE_MS = 2_000;

const TIMED_OUT: Failure = {
  code: 'provider_timeout',
  reason: 'The provider did not answer in time.',
  retryAfterSeconds: null,
  credentialsRejected: false,
};
const CUT_OFF = unavailable('The answer broke off.');
/** More than any call can use. What is reported above it, the database's integers might not hold. */
const MOST_TOKENS = 100_000_000;

/**
 * One call with its clock, its retries and its end. Whatever happens, what was streamed and reported so far is in the
 * result. Spec 5.4.
 */
export async function callThrough(adapter: Adapter, call: ProviderCall, options: CallOptions): Promise<ProviderResult> {
  const started = performance.now();
  const elapsed = () => performance.now() - started;
  const attempt = new AbortController();

  let text = '';
  let usage: TokenCounts | null = null;
  let usageComplete = false;
  let ended: 'complete' | 'length' | null = null;
  let called = false;
  let billed = false;
  let firstTokenMs: number | null = null;
  let endedBy: 'caller' | 'clock' | null = null;
  let callersError: { error: unknown } | null = null;

  const finish = (ending: ProviderResult['ending'], failure: Failure | null = null): ProviderResult => ({
    text,
    usage,
    usageComplete,
    ending,
    failure,
    called,
    firstTokenMs,
    durationMs: elapsed(),
  });

  if (options.signal.aborted) return finish('stopped');

  const end = (by: 'caller' | 'clock') => {
    endedBy ??= by;
    attempt.abort();
  };
  const stop = () => end('caller');
  let timer = setTimeout(end, Math.min(call.firstTokenTimeoutMs, call.timeoutMs), 'clock');
  options.signal.addEventListener('abort', stop, { once: true });

  const tell = <T>(listener: ((value: T) => void) | undefined, value: T) => {
    try {
      listener?.(value);
    } catch (error) {
      callersError ??= { error };
      stop();
    }
  };

  const sink: Sink = {
    text(delta) {
      // The SDKs still hand over what they had buffered when they were aborted.
      if (delta === '' || attempt.signal.aborted) return;
      this.otherContent();
      const shown = withoutNul(delta);
      text += shown;
      tell(options.onText, shown);
    },
    otherContent() {
      if (firstTokenMs !== null) return;
      firstTokenMs = elapsed();
      clearTimeout(timer);
      timer = setTimeout(end, call.timeoutMs - firstTokenMs, 'clock');
    },
    usage(counts, complete) {
      if (!sound(counts)) return;
      usage = counts;
      usageComplete = complete;
      tell(options.onUsage, counts);
    },
    ended(how) {
      ended = how;
    },
  };

  /** The failure of all attempts together, or null where the stream came to an end of whatever kind. */
  const attempts = async (): Promise<Failure | null> => {
    for (let tries = 0; ; tries += 1) {
      try {
        called = true;
        await adapter.stream(call, attempt.signal, sink);
        return null;
      } catch (error) {
        if (attempt.signal.aborted) return null;
        const { mayRetry, mayBill, ...failure } = adapter.failure(error);
        billed ||= mayBill;
        called = billed;
        const pause = failure.retryAfterSeconds === null ? backoff(tries) : failure.retryAfterSeconds * 1_000;
        const worthwhile = pause <= LONGEST_PAUSE_MS && elapsed() + pause < call.firstTokenTimeoutMs / 2;
        if (!mayRetry || tries >= BACKOFF_MS.length || !worthwhile) return failure;
        await sleep(pause, undefined, { signal: attempt.signal }).catch(() => undefined);
        if (attempt.signal.aborted) return null;
      }
    }
  };

  const failure = await attempts();
  clearTimeout(timer);
  options.signal.removeEventListener('abort', stop);

  if (callersError !== null) throw (callersError as { error: unknown }).error; // assigned in a closure, which tsc does not follow
  if (endedBy === 'caller') return finish('stopped');
  // The provider has said why it stopped: the answer is whole, even where what follows (the usage report) was lost.
  if (ended !== null) return finish(ended);
  if (endedBy === 'clock') return finish('failed', TIMED_OUT);
  return finish('failed', failure ?? CUT_OFF);
}

/** A report that says what cannot be is no report. */
function sound({ input, cached, cacheWrite, output }: TokenCounts): boolean {
  const can = (n: number) => Number.isInteger(n) && n >= 0 && n <= MOST_TOKENS;
  return [input, cached, cacheWrite, output].every(can) && cached + cacheWrite <= input;
}

function backoff(tries: number): number {
  return (BACKOFF_MS[tries] ?? 0) * (0.75 + Math.random() / 2);
}
